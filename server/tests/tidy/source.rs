//! The files of the repository, and as much of Rust and TOML as the rules need.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("server/ is in the repository").to_owned()
}

/// A text file.
pub struct File {
    /// From the root, with slashes.
    pub path: String,
    /// All of it.
    pub text: String,
    /// Rust without its comments and without what is in quotes, line by line as in `text`.
    pub code: String,
}

impl File {
    /// The numbers (from 1) of the lines whose code has this word.
    pub fn lines_with(&self, word: &str) -> impl Iterator<Item = usize> {
        let has =
            |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word);
        let numbers: Vec<usize> =
            self.code.lines().enumerate().filter(|(_, line)| has(line)).map(|(i, _)| i + 1).collect();
        numbers.into_iter()
    }
}

/// The text files that rules look at: Rust, Markdown, and `.ci/run`.
pub struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Reads them.
    pub fn read() -> Tree {
        let root = root();
        let mut files = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                let (path, name) = (entry.path(), entry.file_name().into_string().unwrap_or_default());
                let hidden = name.starts_with('.') && name != ".ci";
                if path.is_dir() && !hidden && name != "target" {
                    folders.push(path);
                } else if path.is_file() && (name.ends_with(".rs") || name.ends_with(".md") || name == "run")
                {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let code = if name.ends_with(".rs") { code_of(&text) } else { String::new() };
                    let path = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                    files.push(File { path, text, code });
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Tree { files }
    }

    /// All source files.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// All documents.
    pub fn markdown(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".md"))
    }

    /// The file at a path from the root.
    pub fn file(&self, path: &str) -> &File {
        self.files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("there is no {path}"))
    }
}

/// What a crate's Cargo.toml says.
pub struct Crate {
    /// The package's name.
    pub name: String,
    /// The names of all direct dependencies, those of tests too.
    pub dependencies: BTreeSet<String>,
}

impl Crate {
    /// Reads `folder/Cargo.toml`.
    pub fn read(folder: &str) -> Crate {
        let path = root().join(folder).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (mut section, mut name, mut dependencies) = ("", String::new(), BTreeSet::new());
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
            } else if let Some((key, value)) = line.split_once('=') {
                let key = key.trim();
                if section == "[package]" && key == "name" {
                    name = value.trim().trim_matches('"').to_owned();
                } else if section.ends_with("dependencies]") {
                    dependencies.insert(key.split('.').next().unwrap_or(key).to_owned());
                }
            }
        }
        Crate { name, dependencies }
    }
}

/// Rust with spaces for its comments and for what is in quotes.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word_before = code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(hashes) = raw_string(rest).filter(|_| !word_before) {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = rest.find('"').map_or(rest.len(), |at| at + 1);
            rest[open..].find(&end).map_or(rest.len(), |at| open + at + end.len())
        } else if first == '"' {
            quoted(rest)
        } else if first == '\'' {
            character(rest)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let step = if rest[at..].starts_with("/*") {
            depth += 1;
            2
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest[at..].chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The hashes of a raw string that begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character in quotes, or only the quote of a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((after, _))) => rest[after + 1..].find('\'').map_or(1, |at| after + at + 2),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[test]
fn code_is_told_from_comments_and_quotes() {
    let text = "a /* b /* c */ d */ \"e // f\" r#\"g \"h\" \"# 'i' '\\'' '\\u{6a}' &'k l // m\nn";
    let words: Vec<String> = code_of(text).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["a", "&", "k", "l", "n"]);
}
