//! CSV with a header, for programs: exact, and NULL told from an empty text. An empty field is NULL, `""` a text; where
//! NULL has a text of its own, a value that reads like it is quoted, as PostgreSQL's COPY does.

use musterdb::{OutcomeColumn, Value};
use std::io::{self, Write};

pub(super) fn write(
    out: &mut dyn Write,
    columns: &[OutcomeColumn],
    rows: &[Vec<Value>],
    null: &str,
) -> io::Result<()> {
    let names: Vec<String> = columns.iter().map(|column| field(&column.name, "")).collect();
    writeln!(out, "{}", names.join(","))?;
    for row in rows {
        for (c, value) in row.iter().enumerate() {
            out.write_all(if c > 0 { b"," } else { b"" })?;
            match value {
                Value::Null => out.write_all(null.as_bytes())?,
                other => out.write_all(field(&other.to_string(), null).as_bytes())?,
            }
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// A field, quoted where it must be.
fn field(text: &str, null: &str) -> String {
    if text == null || text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
