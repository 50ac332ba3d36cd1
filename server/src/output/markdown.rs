//! A table in Markdown, for documents and tickets.

use super::text::visible;
use musterdb::{OutcomeColumn, Value};
use std::io::{self, Write};

pub(super) fn write(
    out: &mut dyn Write,
    columns: &[OutcomeColumn],
    rows: &[Vec<Value>],
    null: &str,
) -> io::Result<()> {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    writeln!(out, "{}", line(columns.iter().map(|column| escaped(&column.name)).collect()))?;
    for column in columns {
        write!(out, "{}", if column.data_type.is_number() { "|---:" } else { "|---" })?;
    }
    writeln!(out, "|")?;
    for row in rows {
        let cell = |value: &Value| match value {
            Value::Null => escaped(null),
            other => escaped(&other.to_string()),
        };
        writeln!(out, "{}", line(row.iter().map(cell).collect()))?;
    }
    Ok(())
}

/// What would end a cell or a row, or begin a tag, is written so that it does not.
fn escaped(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for (l, line) in text.lines().enumerate() {
        cell.push_str(if l > 0 { "<br>" } else { "" });
        for letter in visible(line).chars() {
            match letter {
                '|' | '\\' | '<' | '*' | '_' | '`' | '[' => cell.extend(['\\', letter]),
                other => cell.push(other),
            }
        }
    }
    cell
}
