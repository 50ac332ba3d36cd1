//! Answers as text: a table for people, CSV and JSON for programs.
//!
//! CSV and JSON are exact: a DECIMAL keeps its digits, NULL and an empty text differ (CSV: an empty field is NULL, `""`
//! a text), dates and times are PostgreSQL's text. A table shows control characters as escapes, so that a value
//! cannot write to the terminal.

use comfy_table::{Cell, CellAlignment, Table, presets};
use musterdb::{DataType, Outcome, OutcomeColumn, Value};
use std::collections::HashSet;
use std::io::{self, Write};

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    Table,
    /// CSV with a header.
    Csv,
    /// A JSON array of objects, one a line.
    Json,
}

/// Writes an answer. Errors: what the writer says.
pub(crate) fn write(out: &mut dyn Write, outcome: &Outcome, format: Format) -> io::Result<()> {
    match (outcome, format) {
        (Outcome::Done { message }, Format::Json) => writeln!(out, "[{{\"done\":{}}}]", json_text(message)),
        (Outcome::Done { message }, _) => writeln!(out, "{message}"),
        (Outcome::Rows { columns, rows, .. }, Format::Table) => write_table(out, columns, rows),
        (Outcome::Rows { columns, rows, .. }, Format::Csv) => write_csv(out, columns, rows),
        (Outcome::Rows { columns, rows, .. }, Format::Json) => write_json(out, columns, rows),
    }
}

fn write_table(out: &mut dyn Write, columns: &[OutcomeColumn], rows: &[Vec<Value>]) -> io::Result<()> {
    let alignment = |c: usize| {
        if columns[c].data_type.is_number() { CellAlignment::Right } else { CellAlignment::Left }
    };
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(columns.iter().map(|column| visible(&column.name)));
    for row in rows {
        let cell = |(c, value): (usize, &Value)| Cell::new(shown(value)).set_alignment(alignment(c));
        table.add_row(row.iter().enumerate().map(cell));
    }
    writeln!(out, "{table}")
}

/// A value as people read it.
pub(crate) fn shown(value: &Value) -> String {
    visible(&value.to_string())
}

fn visible(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

fn write_csv(out: &mut dyn Write, columns: &[OutcomeColumn], rows: &[Vec<Value>]) -> io::Result<()> {
    let names: Vec<String> = columns.iter().map(|column| csv_text(&column.name)).collect();
    writeln!(out, "{}", names.join(","))?;
    for row in rows {
        for (c, value) in row.iter().enumerate() {
            out.write_all(if c > 0 { b"," } else { b"" })?;
            match value {
                Value::Null => {}
                other => out.write_all(csv_text(&other.to_string()).as_bytes())?,
            }
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// A field, quoted where it must be. An empty text is quoted, because an empty field is NULL.
fn csv_text(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn write_json(out: &mut dyn Write, columns: &[OutcomeColumn], rows: &[Vec<Value>]) -> io::Result<()> {
    let names = distinct(columns);
    out.write_all(b"[")?;
    for (r, row) in rows.iter().enumerate() {
        out.write_all(if r > 0 { b",\n " } else { b"" })?;
        for (c, value) in row.iter().enumerate() {
            let opening = if c > 0 { "," } else { "{" };
            write!(out, "{opening}{}:{}", names[c], json(value, columns[c].data_type))?;
        }
        out.write_all(b"}")?;
    }
    out.write_all(b"]\n")
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

/// A value as JSON. Numbers keep all their digits; NaN and the infinities, which JSON lacks, are texts.
pub(crate) fn json(value: &Value, data_type: DataType) -> String {
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

fn json_text(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Outcome {
        let column = |name: &str, data_type| OutcomeColumn { name: name.into(), data_type };
        Outcome::Rows {
            columns: vec![
                column("count", DataType::BigInt),
                column("spend", DataType::Decimal { precision: 12, scale: 2 }),
                column("city", DataType::Text),
                column("born", DataType::Date),
                column("tags", DataType::TextArray),
                column("count", DataType::BigInt),
            ],
            rows: vec![
                vec![
                    Value::Integer(i64::MAX),
                    Value::Decimal { unscaled: 123_456_789_012_345_678_901_230, scale: 2 },
                    Value::Text("a \"b\", c\u{1b}[2J".into()),
                    Value::Date(0),
                    Value::tags(["vip".to_owned(), "new".to_owned()]),
                    Value::Null,
                ],
                vec![
                    Value::Null,
                    Value::Null,
                    Value::Text(String::new()),
                    Value::Null,
                    Value::Null,
                    Value::Null,
                ],
            ],
            stats: Default::default(),
        }
    }

    fn written(outcome: &Outcome, format: Format) -> String {
        let mut out = Vec::new();
        write(&mut out, outcome, format).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_reads_back_and_tells_null_from_empty() {
        let text = written(&answer(), Format::Csv);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let row = reader.records().next().unwrap().unwrap();
        assert_eq!(&row[0], "9223372036854775807");
        assert_eq!(&row[1], "1234567890123456789012.30");
        assert_eq!(&row[2], "a \"b\", c\u{1b}[2J");
        assert_eq!([&row[3], &row[4], &row[5]], ["1970-01-01", "{new,vip}", ""]);
        assert_eq!(text.lines().last().unwrap(), ",,\"\",,,");
    }

    #[test]
    fn json_is_exact_and_keeps_every_column() {
        let text = written(&answer(), Format::Json);
        assert!(text.contains("\"spend\":1234567890123456789012.30,"), "{text}");
        let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(rows[0]["tags"], serde_json::json!(["new", "vip"]));
        assert_eq!(rows[0]["count"], serde_json::json!(i64::MAX));
        assert_eq!(rows[0]["count_2"], serde_json::Value::Null);
        assert_eq!(rows[1]["city"], serde_json::json!(""));
    }

    #[test]
    fn a_table_shows_escapes_instead_of_obeying_them() {
        let text = written(&answer(), Format::Table);
        assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}[2J"), "{text}");
        assert!(text.contains("NULL"));
    }

    #[test]
    fn no_rows_are_an_empty_array_and_a_lone_header() {
        let columns = vec![OutcomeColumn { name: "id".into(), data_type: DataType::BigInt }];
        let nothing = Outcome::Rows { columns, rows: Vec::new(), stats: Default::default() };
        assert_eq!(written(&nothing, Format::Json), "[]\n");
        assert_eq!(written(&nothing, Format::Csv), "id\n");
    }
}
