//! Completion: names, keywords, functions, commands, files, and in quotes the values of the column.
//!
//! ```text
//! text, cursor ─ context (what is wanted, how far it is typed) ─ candidates ─ names (the database) ─ suggestions
//! ```

mod context;
mod names;

use super::commands::COMMANDS;
use super::syntax::STATEMENTS;
use super::words::{self, KEYWORDS, OPENINGS, is_keyword};
pub(super) use context::Relation;
use context::{Request, What, request};
pub(super) use names::{Column, Names};
use reedline::{Completer, CompletionResult, Span, Suggestion};
use std::collections::HashSet;
use std::path::Path;

/// The most values or files that are offered at once.
const OFFERED_MAX: usize = 200;

/// Completes from a database.
pub(super) struct FromDatabase(Box<dyn Names>);

impl FromDatabase {
    pub(super) fn new(names: Box<dyn Names>) -> FromDatabase {
        FromDatabase(names)
    }
}

impl Completer for FromDatabase {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let suggestions = match request(line, pos) {
            Some(request) => suggestions(&*self.0, &request),
            None => Vec::new(),
        };
        CompletionResult::fresh(suggestions)
    }
}

/// Something to choose.
struct Candidate {
    text: String,
    what: String,
    space: bool,
}

fn candidate(text: impl Into<String>, what: impl Into<String>) -> Candidate {
    Candidate { text: text.into(), what: what.into(), space: false }
}

fn suggestions(names: &dyn Names, request: &Request) -> Vec<Suggestion> {
    let mut seen = HashSet::new();
    candidates(names, request)
        .into_iter()
        .filter(|candidate| seen.insert(candidate.text.clone()))
        .map(|candidate| Suggestion {
            value: candidate.text,
            description: (!candidate.what.is_empty()).then_some(candidate.what),
            span: Span::new(request.span.0, request.span.1),
            append_whitespace: candidate.space,
            ..Suggestion::default()
        })
        .collect()
}

fn candidates(names: &dyn Names, request: &Request) -> Vec<Candidate> {
    let prefix = request.prefix.as_str();
    match &request.what {
        What::Command => (COMMANDS.iter())
            .filter(|command| command.name.starts_with(prefix))
            .map(|command| Candidate {
                text: format!("\\{}", command.name),
                what: command.what.to_owned(),
                space: !command.arguments.is_empty(),
            })
            .collect(),
        What::Argument { command } => arguments(names, command, prefix),
        What::Opening => keywords(&OPENINGS, prefix),
        What::Relation(kind) => relations(names, *kind, prefix),
        What::Term { qualifier } => {
            let mut found = columns(names, request, qualifier.as_deref());
            if qualifier.is_some() {
                return found;
            }
            // All of them, where nothing is typed yet, would hide the columns.
            let keywords =
                if prefix.is_empty() && !found.is_empty() { Vec::new() } else { keywords(&KEYWORDS, prefix) };
            // Capital letters are how keywords are written, small ones how functions are.
            if prefix.starts_with(char::is_uppercase) {
                found.extend(keywords);
                found.extend(functions(prefix));
            } else {
                found.extend(functions(prefix));
                found.extend(keywords);
            }
            found
        }
        What::Value { qualifier, column } => {
            let values = values(names, request, qualifier.as_deref(), column);
            values.into_iter().map(|value| candidate(quoted(&value), "")).collect()
        }
        What::Tag => tags(names, request),
        What::Audience => relations(names, Some(Relation::Audience), prefix)
            .into_iter()
            .map(|found| candidate(quoted(&found.text), found.what))
            .collect(),
        What::File => files(prefix).into_iter().map(|file| candidate(open_quoted(&file), "")).collect(),
    }
}

/// What stands behind a command.
fn arguments(names: &dyn Names, command: &str, prefix: &str) -> Vec<Candidate> {
    let of = |words: &[&str]| {
        let matching = words.iter().filter(|word| word.starts_with(prefix));
        matching.map(|word| candidate(*word, "")).collect()
    };
    match command {
        "d" => relations(names, None, prefix),
        "format" => of(&["table", "csv", "json", "jsonl", "markdown"]),
        "timing" => of(&["on", "off"]),
        "x" => of(&["on", "off", "auto"]),
        "chart" => of(&["on", "off"]),
        "pset" => of(&["null", "pager", "format", "expanded"]),
        "h" => (STATEMENTS.iter())
            .flat_map(|statement| statement.names().map(|name| (name.to_lowercase(), statement.what)))
            .filter(|(name, _)| name.starts_with(&prefix.to_lowercase()))
            .map(|(name, what)| candidate(name, what))
            .collect(),
        "copy" => {
            let mut found = relations(names, None, prefix);
            found.extend(files(prefix).into_iter().map(|file| candidate(file, "file")));
            found
        }
        "i" | "o" => files(prefix).into_iter().map(|file| candidate(file, "")).collect(),
        _ => Vec::new(),
    }
}

/// Functions that begin so; none where nothing is typed yet.
fn functions(prefix: &str) -> Vec<Candidate> {
    let lower = prefix.to_lowercase();
    let matching = words::functions().filter(|name| !prefix.is_empty() && name.starts_with(&lower));
    matching.map(|name| candidate(name, "function")).collect()
}

/// Keywords as they are being typed: in small letters where those are.
fn keywords(words: &[&str], prefix: &str) -> Vec<Candidate> {
    let upper = prefix.to_uppercase();
    let small = prefix.starts_with(char::is_lowercase);
    let matching = words.iter().filter(|word| word.starts_with(&upper));
    let text = |word: &&str| if small { word.to_lowercase() } else { (*word).to_owned() };
    matching.map(|word| Candidate { text: text(word), what: String::new(), space: true }).collect()
}

fn relations(names: &dyn Names, kind: Option<Relation>, prefix: &str) -> Vec<Candidate> {
    let of_kind = |found: &(String, Relation)| kind.is_none_or(|kind| kind == found.1);
    let what = |kind| match kind {
        Relation::Table => "table",
        Relation::View => "view",
        Relation::Audience => "audience",
    };
    let found = names.relations().into_iter().filter(of_kind);
    found
        .filter(|(name, _)| begins(name, prefix))
        .map(|(name, kind)| candidate(identifier(&name), what(kind)))
        .collect()
}

/// The columns of the statement's tables, or of all tables where it names none yet.
fn columns(names: &dyn Names, request: &Request, qualifier: Option<&str>) -> Vec<Candidate> {
    let mut found = Vec::new();
    for relation in places(names, request, qualifier) {
        let columns = names.columns(&relation).into_iter();
        found.extend(
            columns
                .filter(|column| begins(&column.name, &request.prefix))
                .map(|column| candidate(identifier(&column.name), column.data_type)),
        );
    }
    found
}

/// The relations that a name without or with its qualifier can belong to.
fn places(names: &dyn Names, request: &Request, qualifier: Option<&str>) -> Vec<String> {
    if let Some(qualifier) = qualifier {
        let named = request.relations.iter().find(|(_, alias)| alias.as_deref() == Some(qualifier));
        return vec![named.map_or(qualifier, |(name, _)| name).to_owned()];
    }
    if request.relations.is_empty() {
        return names.relations().into_iter().map(|(name, _)| name).collect();
    }
    request.relations.iter().map(|(name, _)| name.clone()).collect()
}

/// The values of a column that begin as typed, or where there are none, in the other case of the first letter.
fn values(names: &dyn Names, request: &Request, qualifier: Option<&str>, column: &str) -> Vec<String> {
    for relation in places(names, request, qualifier) {
        if !names.columns(&relation).iter().any(|found| found.name == column) {
            continue;
        }
        for prefix in cases(&request.prefix) {
            let found = names.values(&relation, column, &prefix, OFFERED_MAX);
            if !found.is_empty() {
                return found;
            }
        }
    }
    Vec::new()
}

/// A prefix as typed, and with its first letter or all of them in capitals.
fn cases(prefix: &str) -> Vec<String> {
    let mut letters = prefix.chars();
    let Some(first) = letters.next() else { return vec![String::new()] };
    let capital = first.to_uppercase().chain(letters).collect();
    let mut cases = vec![prefix.to_owned(), capital, prefix.to_uppercase()];
    cases.dedup();
    cases
}

/// The tags of all columns of tags, as whole conditions.
fn tags(names: &dyn Names, request: &Request) -> Vec<Candidate> {
    let mut found = Vec::new();
    for relation in places(names, request, None) {
        for column in names.columns(&relation).into_iter().filter(|column| column.is_tags) {
            let column = column.name;
            let tags = names.values(&relation, &column, &request.prefix, OFFERED_MAX);
            let condition = |tag: &String| format!("{} = ANY({})", quoted(tag), identifier(&column));
            found.extend(tags.iter().map(|tag| candidate(condition(tag), "")));
        }
    }
    found
}

/// The files and folders that begin so.
fn files(prefix: &str) -> Vec<String> {
    let (folder, begun) = prefix.rsplit_once('/').map_or(("", prefix), |(folder, begun)| (folder, begun));
    let place = match (folder, prefix.starts_with('/')) {
        ("", true) => Path::new("/"),
        ("", false) => Path::new("."),
        (folder, _) => Path::new(folder),
    };
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let mut found: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let shown = name.starts_with(begun) && (!name.starts_with('.') || begun.starts_with('.'));
            let slash = if entry.path().is_dir() { "/" } else { "" };
            shown.then(|| format!("{}{name}{slash}", &prefix[..prefix.len() - begun.len()]))
        })
        .collect();
    found.sort();
    found.truncate(OFFERED_MAX);
    found
}

/// True where a name begins so, in any case.
fn begins(name: &str, prefix: &str) -> bool {
    name.to_lowercase().starts_with(&prefix.to_lowercase())
}

/// A name as a statement has to write it.
fn identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_lowercase() || c == '_')
        && name.chars().all(|c| c.is_lowercase() || c.is_numeric() || c == '_');
    if plain && !is_keyword(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A file in quotes; a folder's stay open for what is in it.
fn open_quoted(file: &str) -> String {
    if file.ends_with('/') { format!("'{}", file.replace('\'', "''")) } else { quoted(file) }
}

#[cfg(test)]
mod tests {
    use super::names::Column;
    use super::*;

    struct Shop;

    impl Names for Shop {
        fn relations(&self) -> Vec<(String, Relation)> {
            let of = |name: &str, kind| (name.to_owned(), kind);
            vec![
                of("members", Relation::Table),
                of("orders", Relation::Table),
                of("gold_sh", Relation::Audience),
            ]
        }

        fn columns(&self, relation: &str) -> Vec<Column> {
            let of = |name: &str, data_type: &str| Column {
                name: name.into(),
                data_type: data_type.into(),
                is_tags: data_type == "TEXT[]",
            };
            match relation {
                "members" => {
                    vec![of("id", "BIGINT"), of("city", "TEXT"), of("tags", "TEXT[]"), of("User", "TEXT")]
                }
                "orders" => vec![of("id", "BIGINT"), of("amount", "BIGINT")],
                _ => Vec::new(),
            }
        }

        fn values(&self, _: &str, column: &str, prefix: &str, limit: usize) -> Vec<String> {
            let all: &[&str] = match column {
                "city" => &["Kyoto", "Köln", "L'Aquila", "Lima", "上海"],
                "tags" => &["new", "vip", "vip plus"],
                _ => &[],
            };
            all.iter().filter(|v| v.starts_with(prefix)).take(limit).map(|v| (*v).to_owned()).collect()
        }
    }

    /// What is offered at the `|`.
    fn offered(text: &str) -> Vec<String> {
        let at = text.find('|').unwrap();
        let request = request(&text.replacen('|', "", 1), at);
        request.map_or(Vec::new(), |request| {
            candidates(&Shop, &request).into_iter().map(|candidate| candidate.text).collect()
        })
    }

    #[test]
    fn tables_come_after_from_and_columns_before_it() {
        assert_eq!(offered("SELECT count(*) FROM |"), ["members", "orders", "gold_sh"]);
        assert_eq!(offered("SELECT count(*) FROM ME|"), ["members"]);
        assert_eq!(offered("SELECT | FROM orders"), ["id", "amount"]);
        assert_eq!(offered("SELECT m.c| FROM members m"), ["city"]);
        assert_eq!(offered("SELECT us| FROM members"), ["\"User\"", "user", "users", "using"]);
        assert_eq!(offered("SELECT c| FROM members")[..3], ["city", "cardinality(", "ceil("]);
        assert_eq!(offered("DROP AUDIENCE |"), ["gold_sh"]);
        assert_eq!(offered("sel|"), ["select"]);
        assert_eq!(offered("SELECT 1 FROM members WHERE city IS N|")[..3], ["NOT", "NOTHING", "NULL"]);
    }

    #[test]
    fn values_come_in_quotes() {
        assert_eq!(offered("SELECT 1 FROM members WHERE city = 'K|"), ["'Kyoto'", "'Köln'"]);
        assert_eq!(offered("SELECT 1 FROM members WHERE city = 'k|"), ["'Kyoto'", "'Köln'"]);
        assert_eq!(offered("SELECT 1 FROM members WHERE city IN ('Lima', 'L'|"), Vec::<String>::new());
        assert_eq!(offered("SELECT 1 FROM members WHERE city IN ('Lima', 'L|"), ["'L''Aquila'", "'Lima'"]);
        assert_eq!(offered("SELECT 1 FROM members WHERE '|' = ANY(tags)"), ["'new'", "'vip'", "'vip plus'"]);
        assert_eq!(offered("SELECT 1 FROM members WHERE 'vip |"), ["'vip plus' = ANY(tags)"]);
        assert_eq!(offered("SELECT 1 FROM members WHERE in_audience('|"), ["'gold_sh'"]);
        assert_eq!(offered("SELECT 1 FROM orders WHERE city = '|"), Vec::<String>::new());
    }

    #[test]
    fn commands_and_their_arguments_are_offered() {
        assert_eq!(offered("\\ti|"), ["\\timing"]);
        assert_eq!(offered("\\d o|"), ["orders"]);
        assert_eq!(offered("\\format j|"), ["json", "jsonl"]);
        assert_eq!(offered("\\h sel|"), ["select"]);
    }

    #[test]
    fn nothing_typed_anywhere_makes_it_fail() {
        let letters =
            ["'", "\"", "SELECT ", "FROM ", "members", ".", "(", ",", " IN ", "= ANY(", "\\d ", "城", ";"];
        let mut state = 5_u64;
        for _ in 0..2000 {
            let mut text = String::new();
            for _ in 0..8 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                text += letters[(state >> 33) as usize % letters.len()];
            }
            for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                if let Some(request) = request(&text, at) {
                    for suggestion in suggestions(&Shop, &request) {
                        assert!(text.get(suggestion.span.start..suggestion.span.end).is_some());
                    }
                }
            }
        }
    }
}
