//! Answers as text: tables and charts for people, CSV, JSON and Markdown for programs and documents.
//!
//! ```text
//! Outcome ─ Style (format, NULL, width, colour) ─ table │ csv │ json │ markdown ─ a writer
//! ```
//!
//! CSV and JSON are exact: a DECIMAL keeps its digits, NULL and an empty text differ (CSV: an empty field is NULL, `""`
//! a text), dates and times are PostgreSQL's text. A table shows control characters as escapes, so that a value
//! cannot write to the terminal.

pub(crate) mod chart;
mod csv;
mod json;
mod markdown;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use musterdb::{Outcome, Value};
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
    /// An object a line, for programs that read as they go.
    Jsonl,
    /// A table in Markdown.
    Markdown,
}

/// Whether a row takes a line, or each of its columns one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expanded {
    /// A line per row, however wide.
    Off,
    /// A line per column.
    On,
    /// A line per column where the terminal is too narrow for a row.
    Auto,
}

/// All that decides how an answer looks.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    /// The format.
    pub(crate) format: Format,
    /// What NULL is shown as; `None` is `NULL` in a table and nothing in CSV. JSON has its own.
    pub(crate) null: Option<String>,
    /// Rows or records.
    pub(crate) expanded: Expanded,
    /// The cells of the terminal's line, where there is one: tables are cut to fit.
    pub(crate) width: Option<usize>,
    /// True where the reader understands colours.
    pub(crate) colour: bool,
}

impl Style {
    /// The style of a file or a pipe: nothing is cut, nothing is coloured.
    pub(crate) fn plain(format: Format) -> Style {
        Style { format, null: None, expanded: Expanded::Off, width: None, colour: false }
    }
}

/// What had to be done to a table for it to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Nothing.
    Whole,
    /// Long texts were cut.
    Cut,
    /// It was written as records.
    Expanded,
}

/// Writes an answer. Errors: what the writer says.
pub(crate) fn write(out: &mut dyn Write, outcome: &Outcome, style: &Style) -> io::Result<Shape> {
    let Outcome::Rows { columns, rows, .. } = outcome else {
        let Outcome::Done { message } = outcome else { return Ok(Shape::Whole) };
        match style.format {
            Format::Json => writeln!(out, "[{{\"done\":{}}}]", json::json_text(message))?,
            Format::Jsonl => writeln!(out, "{{\"done\":{}}}", json::json_text(message))?,
            Format::Table | Format::Csv | Format::Markdown => writeln!(out, "{message}")?,
        }
        return Ok(Shape::Whole);
    };
    let null = |default| style.null.as_deref().unwrap_or(default);
    match style.format {
        Format::Table => return table::write(out, columns, rows, style),
        Format::Csv => csv::write(out, columns, rows, null(""))?,
        Format::Json => json::write_array(out, columns, rows)?,
        Format::Jsonl => json::write_lines(out, columns, rows)?,
        Format::Markdown => markdown::write(out, columns, rows, null("NULL"))?,
    }
    Ok(Shape::Whole)
}

/// A value as people read it.
pub(crate) fn shown(value: &Value) -> String {
    text::visible(&value.to_string()).into_owned()
}
