//! Answers statements for a program that compares: `answers DATABASE`, one statement a line in, one JSON line out.
//!
//! A line out is `{"rows":[[…],…]}` with every value as its text, or null, or `{"error":"…"}`. `query/tests/duckdb/compare.py`
//! drives it.

use musterdb::{Database, Outcome, Value};
use std::io::{BufRead, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("write: answers DATABASE")?;
    let mut session = Database::open(directory)?.session();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = match session.execute(&line?) {
            Ok(Outcome::Rows { rows, .. }) => {
                let rows = rows.iter().map(|row| list(row.iter().map(json)));
                format!("{{\"rows\":{}}}", list(rows))
            }
            Ok(Outcome::Done { .. }) => "{\"rows\":[]}".to_owned(),
            Err(error) => format!("{{\"error\":{}}}", quoted(&error.to_string())),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

fn json(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        value => quoted(&value.to_string()),
    }
}

/// A text as JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if u32::from(c) < 0x20 => quoted += &format!("\\u{:04x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
