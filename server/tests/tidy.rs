//! Keeps the house: what the documents promise about the source, checked against the source.
//!
//! Reads text only and knows no more Rust than it must: comments, strings, `const` and `enum`. Everything that is wrong
//! with one rule is listed at once.

#![allow(clippy::unwrap_used, reason = "in the functions of a test it is the failure of the test")]

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/format.rs"]
mod format;
#[path = "tidy/source.rs"]
mod source;

use source::{Crate, Tree};
use std::collections::BTreeSet;

/// Where `unsafe` may stand. Three files at most.
const UNSAFE: [&str; 2] = ["storage/src/disk/real.rs", "engine/src/kernel/simd.rs"];

/// Which crates of the house a crate may know, besides itself.
const KNOWS: [(&str, &[&str]); 5] = [
    ("storage", &[]),
    ("engine", &["muster-storage"]),
    ("query", &["muster-engine"]),
    ("server", &["musterdb", "muster-engine"]),
    ("benches", &["musterdb", "muster-engine", "muster-storage"]),
];

const LINES_MAX: usize = 700;

/// Names that say nothing of what a module owns.
const NAMELESS: [&str; 4] = ["utils", "common", "helpers", "manager"];

fn agree(rule: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}

#[test]
fn imports_run_one_way() {
    let tree = Tree::read();
    let house: Vec<(String, String)> =
        KNOWS.iter().map(|(folder, _)| (Crate::read(folder).name, (*folder).to_owned())).collect();
    let mut wrong = Vec::new();
    for (folder, known) in KNOWS {
        let this = Crate::read(folder);
        let allowed = |name: &str| name == this.name || known.contains(&name);
        let listed = this.dependencies.iter().filter(|name| house.iter().any(|(known, _)| known == *name));
        wrong.extend(
            listed.filter(|name| !allowed(name)).map(|name| format!("{folder}/Cargo.toml depends on {name}")),
        );
        for file in tree.rust().filter(|file| file.path.starts_with(&format!("{folder}/"))) {
            for (name, _) in house.iter().filter(|(name, _)| !allowed(name)) {
                let module = name.replace('-', "_");
                wrong.extend(
                    file.lines_with(&module).map(|line| format!("{}:{line} names {module}", file.path)),
                );
            }
        }
    }
    agree("imports run server → query → engine → storage", wrong);
}

#[test]
fn unsafe_stands_in_few_files_each_with_its_proof() {
    const { assert!(UNSAFE.len() <= 3) };
    let mut wrong = Vec::new();
    for file in Tree::read().rust() {
        for line in file.lines_with("unsafe") {
            if !UNSAFE.contains(&file.path.as_str()) {
                wrong.push(format!("{}:{line} is unsafe in a file that may not be", file.path));
            }
            // The proof stands in the lines of comment right above.
            let proof = file.text.lines().take(line - 1).collect::<Vec<_>>();
            let comment = proof.iter().rev().take_while(|line| line.trim_start().starts_with("//"));
            if !comment.clone().any(|line| line.contains("SAFETY:")) {
                wrong.push(format!("{}:{line} has no SAFETY: comment above it", file.path));
            }
        }
        if !UNSAFE.contains(&file.path.as_str()) && file.code.contains("allow(unsafe_code") {
            wrong.push(format!("{} allows unsafe code", file.path));
        }
    }
    agree("unsafe only where it may be, with a proof", wrong);
}

#[test]
fn files_open_with_their_purpose_and_stay_short() {
    let mut wrong = Vec::new();
    for file in Tree::read().rust() {
        if !file.text.starts_with("//!") {
            wrong.push(format!("{} does not open with //!", file.path));
        }
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines, at most {LINES_MAX} are allowed", file.path));
        }
        let named = file.path.split(['/', '.']).find(|part| NAMELESS.contains(part));
        wrong.extend(named.map(|part| format!("{} is called {part}", file.path)));
        for name in NAMELESS {
            wrong.extend(
                [format!("mod {name};"), format!("mod {name} {{")]
                    .iter()
                    .filter(|module| file.code.contains(module.as_str()))
                    .map(|module| format!("{} has a {module}", file.path)),
            );
        }
    }
    agree("files open with //!, stay short, and are called after what they own", wrong);
}

#[test]
fn nothing_is_left_half_done() {
    let mut wrong = Vec::new();
    for file in Tree::read().rust() {
        for left in ["todo!", "unimplemented!", "#[ignore"] {
            if file.code.contains(left) {
                wrong.push(format!("{} contains {left}", file.path));
            }
        }
        // Put together, so that this file is not found.
        for left in [concat!("FIX", "ME"), concat!("X", "XX")] {
            if file.text.contains(left) {
                wrong.push(format!("{} contains {left}", file.path));
            }
        }
    }
    agree("no open ends", wrong);
}

#[test]
fn links_are_alive() {
    agree("links in documents", documents::dead_links(&Tree::read()));
}

#[test]
fn the_example_of_the_readme_is_the_one_that_runs() {
    let tree = Tree::read();
    let example = tree.file("query/examples/sql.rs");
    let lines: BTreeSet<&str> = example.text.lines().map(str::trim).collect();
    let readme = tree.file("README.md");
    let shown: Vec<&str> = documents::fenced(&readme.text, "rust").collect();
    assert!(!shown.is_empty(), "the README shows how the library is used");
    let other = shown.iter().filter(|line| !lines.contains(line.trim())).map(|line| (*line).to_owned());
    agree("lines that query/examples/sql.rs does not have", other.collect());
}

#[test]
fn continuous_integration_runs_what_the_readme_says() {
    let tree = Tree::read();
    let commands: Vec<&str> =
        documents::fenced(&tree.file("README.md").text, "sh").take(2).collect::<Vec<_>>();
    assert_eq!(commands, ["cargo run --release -- demo", "cargo test"]);
    let script = tree.file(".ci/run");
    assert!(script.text.lines().any(|line| line == commands[1]), ".ci/run runs `{}`", commands[1]);
}

#[test]
fn the_changelog_tells_something_of_this_version() {
    let tree = Tree::read();
    let log = tree.file("CHANGELOG.md");
    let heading = format!("## {}", env!("CARGO_PKG_VERSION"));
    let section = log.text.split("\n## ").find(|section| heading[3..] == section[..heading.len() - 3]);
    let section = section.unwrap_or_else(|| panic!("CHANGELOG.md has no heading \"{heading}\""));
    assert!(section.lines().filter(|line| line.starts_with("- ")).count() > 0, "{heading} says nothing");
}

#[test]
fn every_dependency_is_explained_and_used() {
    agree(
        "docs/DEPENDENCIES.md",
        documents::unexplained_dependencies(&Tree::read(), &KNOWS.map(|(folder, _)| folder)),
    );
}

#[test]
fn format_numbers_are_those_of_the_source() {
    agree("docs/FORMAT.md, constants", format::wrong_constants(&Tree::read()));
}

#[test]
fn format_enums_are_those_of_the_source() {
    agree("docs/FORMAT.md, enums", format::wrong_enums(&Tree::read()));
}

#[test]
fn format_records_are_those_of_the_source() {
    agree("docs/FORMAT.md, records", format::wrong_records(&Tree::read()));
}
