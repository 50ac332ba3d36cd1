//! docs/FORMAT.md against the source: constants, the values of enums, the fields of records.

use crate::documents::table_under;
use crate::source::{File, Tree};
use std::collections::BTreeMap;

/// Files all of whose public constants are part of the format, hence of the document.
const WHOLE: [&str; 7] = [
    "storage/src/format.rs",
    "storage/src/manifest.rs",
    "engine/src/index/encode.rs",
    "engine/src/index/order.rs",
    "engine/src/index/owners.rs",
    "engine/src/index/values.rs",
    "engine/src/schema.rs",
];

/// Enums whose numbers are on disk: heading, file, name.
const ENUMS: [(&str, &str, &str); 3] = [
    ("Section kinds", "storage/src/format.rs", "SectionKind"),
    ("Container kinds", "storage/src/format.rs", "ContainerKind"),
    ("Part roles", "storage/src/manifest.rs", "PartRole"),
];

/// Records that are read in place: heading, file, name.
const RECORDS: [(&str, &str, &str); 4] = [
    ("Part header", "storage/src/part/toc.rs", "PartHeader"),
    ("Table of sections", "storage/src/part/toc.rs", "TocEntry"),
    ("Segment header", "storage/src/wal/mod.rs", "SegmentHeader"),
    ("Record header", "storage/src/wal/mod.rs", "RecordHeader"),
];

#[derive(Clone, Debug, PartialEq)]
enum Constant {
    Integer(i128),
    Float(f64),
    Text(String),
}

/// Constants whose row is missing or says something else.
pub fn wrong_constants(tree: &Tree) -> Vec<String> {
    let mut rows: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in table_under(tree.file("docs/FORMAT.md"), "Constants") {
        let key = (row[2].clone(), row[0].clone());
        if rows.insert(key, row[1].clone()).is_some() {
            wrong.push(format!("{} of {} has two rows", row[0], row[2]));
        }
    }
    for path in WHOLE {
        for (name, public, _) in constants(tree.file(path)) {
            if public && !rows.contains_key(&(path.to_owned(), name.clone())) {
                wrong.push(format!("{name} of {path} has no row"));
            }
        }
    }
    for ((path, name), said) in &rows {
        let known = constants(tree.file(path));
        let Some((_, _, expression)) = known.iter().find(|(known, _, _)| known == name) else {
            wrong.push(format!("{path} has no constant {name}"));
            continue;
        };
        let value = evaluate(tree, tree.file(path), expression);
        match (value, read(said)) {
            (Some(value), Some(said)) if value == said => {}
            (value, _) => wrong.push(format!("{name} of {path} is {value:?}, not {said}")),
        }
    }
    wrong
}

/// Enums whose table differs.
pub fn wrong_enums(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for (heading, path, name) in ENUMS {
        let said: Vec<(String, String)> = table_under(tree.file("docs/FORMAT.md"), heading)
            .into_iter()
            .map(|row| (row[1].clone(), row[0].clone()))
            .collect();
        let body = block(tree.file(path), &format!("pub enum {name} {{"));
        let actual: Vec<(String, String)> = body
            .lines()
            .filter_map(|line| line.trim().trim_end_matches(',').split_once(" = "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert!(!actual.is_empty(), "{path} numbers the values of {name}");
        if said != actual {
            wrong.push(format!("{heading}: the source has {actual:?}, the document {said:?}"));
        }
    }
    wrong
}

/// Records whose table of offsets differs.
pub fn wrong_records(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for (heading, path, name) in RECORDS {
        let said: Vec<(usize, usize, String)> = table_under(tree.file("docs/FORMAT.md"), heading)
            .into_iter()
            .map(|row| (row[0].parse().unwrap_or(usize::MAX), row[1].parse().unwrap_or(0), row[2].clone()))
            .collect();
        let body = block(tree.file(path), &format!("pub struct {name} {{"));
        let mut actual = Vec::new();
        let mut offset = 0;
        for (field, of_type) in
            body.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once(": "))
        {
            let bytes = bytes_of(of_type);
            actual.push((offset, bytes, field.trim_start_matches("pub ").to_owned()));
            offset += bytes;
        }
        if said != actual {
            wrong.push(format!("{heading}: the source has {actual:?}, the document {said:?}"));
        }
    }
    wrong
}

fn block<'a>(file: &'a File, opening: &str) -> &'a str {
    let start = file.code.find(opening).unwrap_or_else(|| panic!("{} has no {opening}", file.path));
    let body = &file.code[start + opening.len()..];
    &body[..body.find('}').unwrap_or(body.len())]
}

fn bytes_of(of_type: &str) -> usize {
    if let Some((element, count)) = of_type.trim_matches(['[', ']']).split_once("; ") {
        return bytes_of(element) * count.parse::<usize>().unwrap_or(0);
    }
    of_type[1..].parse::<usize>().unwrap_or_else(|_| panic!("the size of {of_type}")) / 8
}

/// Name, whether public, and expression of each constant of one line.
fn constants(file: &File) -> Vec<(String, bool, String)> {
    let mut found = Vec::new();
    for line in file.text.lines().map(str::trim_start) {
        let public = line.starts_with("pub const ");
        let Some(rest) = line.trim_start_matches("pub ").strip_prefix("const ") else { continue };
        if let Some((name, rest)) = rest.split_once(": ")
            && let Some((_, expression)) = rest.split_once(" = ")
            && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            && name != "_"
        {
            found.push((name.to_owned(), public, expression.trim_end_matches(';').to_owned()));
        }
    }
    found
}

/// A value as the document writes it: `65,536`, `0.5`, `"MUSTPART"`.
fn read(said: &str) -> Option<Constant> {
    if let Some(text) = said.strip_prefix('"') {
        return Some(Constant::Text(text.strip_suffix('"')?.to_owned()));
    }
    let plain = said.replace(',', "");
    let integer = plain.parse().ok().map(Constant::Integer);
    integer.or_else(|| plain.parse().ok().map(Constant::Float))
}

/// The value of a constant's expression: a text, a number, or arithmetic on numbers and other constants.
fn evaluate(tree: &Tree, file: &File, expression: &str) -> Option<Constant> {
    let text = expression.trim_start_matches('*').trim_start_matches('b');
    if let Some(text) = text.strip_prefix('"') {
        return Some(Constant::Text(text.strip_suffix('"')?.to_owned()));
    }
    // A newtype around a number, `ColumnId(0)`.
    if let Some((name, inner)) = expression.strip_suffix(')').and_then(|call| call.split_once('('))
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(char::is_alphanumeric)
        && !inner.contains(['(', ')'])
    {
        return evaluate(tree, file, inner);
    }
    if let Some((whole, part)) = expression.split_once('.')
        && (whole.parse::<u64>().is_ok() && part.parse::<u64>().is_ok())
    {
        return expression.parse().ok().map(Constant::Float);
    }
    let mut tokens = tokens(expression);
    tokens.reverse();
    let value = shifts(tree, file, &mut tokens)?;
    tokens.is_empty().then_some(Constant::Integer(value))
}

fn tokens(expression: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let (mut word, mut pushed) = (String::new(), false);
    for c in expression.chars() {
        if c.is_alphanumeric() || c == '_' || c == ':' {
            word.push(c);
            pushed = false;
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        match tokens.last_mut() {
            Some(last) if c == '<' && last == "<" && pushed => last.push(c),
            _ if c != ' ' => tokens.push(c.to_string()),
            _ => {}
        }
        pushed = c == '<';
    }
    if !word.is_empty() {
        tokens.push(word);
    }
    tokens
}

type Operation = fn(i128, i128) -> Option<i128>;
type Level = fn(&Tree, &File, &mut Vec<String>) -> Option<i128>;

fn level(
    tree: &Tree,
    file: &File,
    tokens: &mut Vec<String>,
    next: Level,
    operators: &[(&str, Operation)],
) -> Option<i128> {
    let mut value = next(tree, file, tokens)?;
    while let Some((_, apply)) = tokens.last().and_then(|t| operators.iter().find(|(sign, _)| sign == t)) {
        tokens.pop();
        value = apply(value, next(tree, file, tokens)?)?;
    }
    Some(value)
}

fn shifts(tree: &Tree, file: &File, tokens: &mut Vec<String>) -> Option<i128> {
    level(tree, file, tokens, sums, &[("<<", |a, b| Some(a << b))])
}

fn sums(tree: &Tree, file: &File, tokens: &mut Vec<String>) -> Option<i128> {
    level(tree, file, tokens, products, &[("+", i128::checked_add), ("-", i128::checked_sub)])
}

fn products(tree: &Tree, file: &File, tokens: &mut Vec<String>) -> Option<i128> {
    level(tree, file, tokens, single, &[("*", i128::checked_mul), ("/", i128::checked_div)])
}

fn single(tree: &Tree, file: &File, tokens: &mut Vec<String>) -> Option<i128> {
    let token = tokens.pop()?;
    if token == "(" {
        let value = shifts(tree, file, tokens)?;
        return tokens.pop().filter(|closing| closing == ")").map(|_| value);
    }
    if token == "u32::MAX" {
        return Some(i128::from(u32::MAX));
    }
    if token.starts_with(|c: char| c.is_ascii_digit()) {
        let digits = token.replace('_', "");
        return match digits.strip_prefix("0x") {
            Some(hexadecimal) => i128::from_str_radix(hexadecimal, 16).ok(),
            None => digits.parse().ok(),
        };
    }
    // Another constant: of this file, else of the format.
    [file, tree.file("storage/src/format.rs")].into_iter().find_map(|place| {
        let (_, _, expression) = constants(place).into_iter().find(|(name, _, _)| *name == token)?;
        match evaluate(tree, place, &expression)? {
            Constant::Integer(value) => Some(value),
            _ => None,
        }
    })
}

#[test]
fn expressions_are_evaluated() {
    let tree = Tree::read();
    let file = tree.file("storage/src/format.rs");
    for (expression, value) in [
        ("65_536", 65_536),
        ("1 << 16", 65_536),
        ("4 + 4 * 2 - (3 + 1) / 2", 10),
        ("CHUNK_MEMBERS / 64", 1024),
    ] {
        assert_eq!(evaluate(&tree, file, expression), Some(Constant::Integer(value)), "{expression}");
    }
    assert_eq!(evaluate(&tree, file, "*b\"MUST\""), Some(Constant::Text("MUST".into())));
    assert_eq!(evaluate(&tree, file, "some_call()"), None);
}
