//! Executes every statement of docs/QUERY.md, and of docs/RETAILER.md, in order, each page in one session, from the folder `query/tests`, and
//! compares what the page shows with what is answered. `BLESS=1 cargo test -p musterdb --test document` writes the answers into
//! the pages.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use musterdb::{Database, Outcome, Session, Value};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Rows of an answer that the page shows.
const ROWS_SHOWN: usize = 8;

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// A fenced block: its language, and its text's lines in the page.
struct Block {
    language: String,
    lines: std::ops::Range<usize>,
}

fn blocks(lines: &[&str]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, usize)> = None;
    for (number, line) in lines.iter().enumerate() {
        match (&open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.to_owned(), number + 1)),
            (Some((language, start)), Some(_)) => {
                blocks.push(Block { language: language.clone(), lines: *start..number });
                open = None;
            }
            _ => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// An answer as the page shows it.
fn shown(outcome: &Outcome) -> String {
    let Outcome::Rows { columns, rows, .. } = outcome else {
        let Outcome::Done { message } = outcome else { return String::new() };
        return format!("{message}\n");
    };
    let cell = |value: &Value| match value {
        Value::Double(double) => {
            let digits = format!("{double:.4}");
            digits.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        value => value.to_string(),
    };
    let mut table: Vec<Vec<String>> = vec![columns.iter().map(|column| column.name.clone()).collect()];
    table.extend(rows.iter().take(ROWS_SHOWN).map(|row| row.iter().map(cell).collect()));
    let width = |at: usize| table.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for row in &table {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join(" | ");
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    if rows.len() > ROWS_SHOWN {
        writeln!(text, "… {} rows", rows.len()).unwrap();
    }
    text
}

/// What takes time differs from run to run: the page shows it once, the test looks at the rest.
fn timeless(text: &str) -> String {
    let timed = text.lines().next().is_some_and(|header| header.ends_with("| ms"));
    let without = |line: &str| line.rsplit_once(" | ").map_or(line, |(rest, _)| rest).trim_end().to_owned();
    if timed { text.lines().map(without).collect::<Vec<_>>().join("\n") + "\n" } else { text.to_owned() }
}

fn execute(session: &mut Session, sql: &str) -> String {
    let mut answers = String::new();
    for statement in musterdb::split_statements(sql) {
        match session.execute(statement) {
            Ok(outcome) => answers += &shown(&outcome),
            Err(error) => answers += &error.render(statement),
        }
        if !answers.ends_with('\n') {
            answers.push('\n');
        }
    }
    answers
}

#[test]
fn every_statement_of_the_language_is_answered_as_it_shows() {
    the_audiences_have_their_members(&checked("QUERY.md").1);
}

#[test]
fn every_statement_of_the_retailer_is_answered_as_it_shows() {
    let (_directory, db) = checked("RETAILER.md");
    for (audience, answers) in
        [("regulars", "M11"), ("lapsing", "M15"), ("declining", "H35"), ("dropped", "H32"), ("best", "H30")]
    {
        assert_eq!(members(&db, audience), answered(answers), "{audience}");
    }
}

/// Executes a page; its database comes back.
fn checked(name: &str) -> (tempfile::TempDir, Database) {
    std::env::set_current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    let text = std::fs::read_to_string(page(name)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let blocks = blocks(&lines);
    let bless = std::env::var_os("BLESS").is_some();
    let mut written = String::new();
    let (mut copied, mut executed) = (0, 0);
    for (at, block) in blocks.iter().enumerate().filter(|(_, block)| block.language == "sql") {
        let sql = lines[block.lines.clone()].join("\n");
        let answers = execute(&mut session, &sql);
        executed += musterdb::split_statements(&sql).len();
        if bless {
            eprintln!("{sql}\n{answers}");
        }
        let expected = blocks
            .get(at + 1)
            .filter(|next| next.language == "text" && next.lines.start <= block.lines.end + 3);
        let Some(expected) = expected else {
            assert!(!answers.starts_with("error"), "{sql}\n{answers}");
            continue;
        };
        if bless {
            written += &lines[copied..expected.lines.start]
                .iter()
                .map(|line| format!("{line}\n"))
                .collect::<String>();
            written += &answers;
            copied = expected.lines.end;
            continue;
        }
        let page = lines[expected.lines.clone()].iter().map(|line| format!("{line}\n")).collect::<String>();
        assert_eq!(timeless(&answers), timeless(&page), "{sql}");
    }
    assert!(executed > 20, "only {executed} statements were found");
    if bless {
        written += &lines[copied..].iter().map(|line| format!("{line}\n")).collect::<String>();
        std::fs::write(page(name), written).unwrap();
    }
    drop(session);
    (directory, db)
}

/// The audiences `s01`, … of the page have exactly the members that an independent engine computed.
fn the_audiences_have_their_members(db: &Database) {
    for name in ["S01", "S03", "S04", "S05", "S06", "S07", "S09", "S10"] {
        assert_eq!(members(db, name), answered(name), "{name}");
    }
}

/// The members that an independent engine computed.
fn answered(name: &str) -> BTreeSet<i64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/retailer/answers/{name}.csv"));
    let answers = std::fs::read_to_string(&path).unwrap();
    answers.lines().skip(1).map(|line| line.trim().parse().unwrap()).collect()
}

fn members(db: &Database, audience: &str) -> BTreeSet<i64> {
    let mut session = db.session();
    session.execute("SET now = '2026-06-30 10:00:00'").unwrap();
    let found = session.execute(&format!("SELECT id FROM {audience}")).unwrap();
    found.rows().map(|row| row.get::<i64>(0).unwrap()).collect()
}
