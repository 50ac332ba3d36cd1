//! JSON for programs: an array of objects, or one object a line. Exact: numbers keep all their digits, tags are arrays,
//! NULL is null; NaN and the infinities, which JSON lacks, are texts.

use musterdb::{DataType, OutcomeColumn, Value};
use std::collections::HashSet;
use std::io::{self, Write};

/// An array of objects, one a line.
pub(super) fn write_array(
    out: &mut dyn Write,
    columns: &[OutcomeColumn],
    rows: &[Vec<Value>],
) -> io::Result<()> {
    let names = distinct(columns);
    out.write_all(b"[")?;
    for (r, row) in rows.iter().enumerate() {
        out.write_all(if r > 0 { b",\n " } else { b"" })?;
        write_object(out, &names, columns, row)?;
    }
    out.write_all(b"]\n")
}

/// JSON lines: an object and a line end per row.
pub(super) fn write_lines(
    out: &mut dyn Write,
    columns: &[OutcomeColumn],
    rows: &[Vec<Value>],
) -> io::Result<()> {
    let names = distinct(columns);
    for row in rows {
        write_object(out, &names, columns, row)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn write_object(
    out: &mut dyn Write,
    names: &[String],
    columns: &[OutcomeColumn],
    row: &[Value],
) -> io::Result<()> {
    out.write_all(b"{")?;
    for (c, value) in row.iter().enumerate() {
        let separator = if c > 0 { "," } else { "" };
        write!(out, "{separator}{}:{}", names[c], json(value, columns[c].data_type))?;
    }
    out.write_all(b"}")
}

/// The names as JSON, each once: of two columns called `count` the second is `count_2`. An object cannot have both.
fn distinct(columns: &[OutcomeColumn]) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut names = Vec::with_capacity(columns.len());
    for column in columns {
        let mut name = column.name.clone();
        let mut number = 2;
        while taken.contains(&name) || (name != column.name && columns.iter().any(|other| other.name == name))
        {
            name = format!("{}_{number}", column.name);
            number += 1;
        }
        names.push(json_text(&name));
        taken.insert(name);
    }
    names
}

/// A value as JSON.
fn json(value: &Value, data_type: DataType) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(_) | Value::Integer(_) | Value::Decimal { .. } => value.to_string(),
        Value::Double(double) if double.is_finite() => value.to_string(),
        Value::Tags(tags) => {
            format!("[{}]", tags.iter().map(|tag| json_text(tag)).collect::<Vec<_>>().join(","))
        }
        other => {
            debug_assert!(!data_type.is_integer());
            json_text(&other.to_string())
        }
    }
}

/// A text as JSON.
pub(super) fn json_text(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}
