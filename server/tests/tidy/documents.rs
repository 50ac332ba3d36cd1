//! Documents: links, fenced blocks, and the table of dependencies.

use crate::source::{Crate, File, Tree, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// The lines of all blocks fenced as ```` ```language ````, without the fences and empty lines.
pub fn fenced<'a>(text: &'a str, language: &'a str) -> impl Iterator<Item = &'a str> {
    let mut inside = None;
    text.lines().filter(move |line| match (line.strip_prefix("```"), inside) {
        (Some(language), None) => {
            inside = Some(language);
            false
        }
        (Some(_), Some(_)) => {
            inside = None;
            false
        }
        (None, inside) => inside == Some(language) && !line.is_empty(),
    })
}

/// The lines that are in no fenced block.
pub fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

/// The cells of a table's row, without the frame; `None` for other lines and for the line under a header.
pub fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<String> = inner.split('|').map(|cell| cell.trim().replace('`', "")).collect();
    (!cells.iter().all(|cell| cell.chars().all(|c| c == '-' || c == ':'))).then_some(cells)
}

/// The rows of the first table under a heading, without its header.
pub fn table_under(file: &File, heading: &str) -> Vec<Vec<String>> {
    let mut rows = (prose(&file.text).map(|(_, line)| line))
        .skip_while(|line| line.trim_start_matches('#').trim() != heading || !line.starts_with('#'))
        .skip(1)
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .filter_map(cells);
    rows.next().unwrap_or_else(|| panic!("{} has no table under \"{heading}\"", file.path));
    rows.collect()
}

/// Links to files and headings that do not exist, and documents that a source file names and nobody has.
pub fn dead_links(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in tree.markdown() {
        for (number, line) in prose(&file.text) {
            for target in targets(line) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (path, anchor) =
                    target.split_once('#').map_or((target, None), |(path, a)| (path, Some(a)));
                let found = if path.is_empty() { file.path.clone() } else { beside(&file.path, path) };
                if !root().join(&found).exists() {
                    wrong.push(format!("{}:{} links to {target}, which is not there", file.path, number + 1));
                } else if let Some(anchor) = anchor.filter(|a| !headings(tree.file(&found)).contains(*a)) {
                    wrong.push(format!(
                        "{}:{} links to {found}, which has no #{anchor}",
                        file.path,
                        number + 1
                    ));
                }
            }
        }
    }
    for file in tree.rust() {
        for named in file.text.split(|c: char| !c.is_alphanumeric() && !"/._-".contains(c)) {
            if named.starts_with("docs/") && named.ends_with(".md") && !root().join(named).exists() {
                wrong.push(format!("{} names {named}, which is not there", file.path));
            }
        }
    }
    wrong
}

/// The targets of the links in a line, code left out.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    // Every second piece between backticks is code, but a link's text may be code as well: look at the brackets only.
    let mut rest = line;
    while let Some(at) = rest.find("](") {
        let code = line[..line.len() - rest.len() + at].matches('`').count() % 2 == 1;
        let after = &rest[at + 2..];
        let end = after.find(')').unwrap_or(after.len());
        if !code {
            found.push(after[..end].trim());
        }
        rest = &after[end..];
    }
    found
}

/// A path relative to a file's folder, as a path from the root.
fn beside(file: &str, path: &str) -> String {
    let mut whole = PathBuf::new();
    for part in Path::new(file).parent().unwrap_or(Path::new("")).join(path).components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            Component::Normal(name) => whole.push(name),
            _ => {}
        }
    }
    whole.to_str().unwrap_or_default().replace('\\', "/")
}

/// The anchors of a document's headings, as GitHub makes them.
fn headings(file: &File) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(&file.text).filter(|(_, line)| line.starts_with('#')) {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let slug: String = title
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let times = seen.entry(slug.clone()).or_default();
        anchors.insert(if *times == 0 { slug } else { format!("{slug}-{times}") });
        *times += 1;
    }
    anchors
}

/// Direct dependencies without a row, rows without a dependency, and rows that name the wrong crates.
pub fn unexplained_dependencies(tree: &Tree, folders: &[&str]) -> Vec<String> {
    let crates: Vec<(&str, Crate)> = folders.iter().map(|folder| (*folder, Crate::read(folder))).collect();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (folder, this) in &crates {
        for name in this.dependencies.iter().filter(|name| crates.iter().all(|(_, c)| c.name != **name)) {
            used.entry(name.clone()).or_default().insert((*folder).to_owned());
        }
    }
    let rows = table_under(tree.file("docs/DEPENDENCIES.md"), "Direct dependencies");
    let mut wrong = Vec::new();
    for (name, by) in &used {
        match rows.iter().find(|row| row[0] == *name) {
            None => wrong.push(format!("{name}, used by {by:?}, has no row")),
            Some(row) => {
                let said: BTreeSet<String> =
                    row[1].split(',').map(|crate_| crate_.trim().to_owned()).collect();
                if said != *by {
                    wrong.push(format!("{name} is used by {by:?}, the row says {said:?}"));
                }
                if row.len() < 5 || row.iter().any(String::is_empty) {
                    wrong.push(format!(
                        "{name}: a row says what for, why this one, and what to watch out for"
                    ));
                }
            }
        }
    }
    let stale = rows.iter().filter(|row| !used.contains_key(&row[0]));
    wrong.extend(stale.map(|row| format!("{} has a row and is no direct dependency", row[0])));
    wrong
}

#[test]
fn links_are_found_beside_code() {
    assert_eq!(targets("a [b](c.md#d) `[e](f)` [`g`](h)"), ["c.md#d", "h"]);
    assert_eq!(beside("a/b/c.md", "../d.md"), "a/d.md");
}
