//! Rows out: values into a file of CSV, JSON lines or Parquet, or a set of members into a Roaring bitmap.
//!
//! ```text
//! rows in batches ─ RowSink { csv | jsonl | parquet } ─ PartialFile ─ finish: sync, rename
//! ```
//!
//! A file appears under its name when it is whole and on disk, and replaces one that was there; until then it is a
//! hidden file beside it, removed when the sink is dropped. What is written is read back by the imports of
//! [`super`] to the same values.

pub(super) mod csv;
mod file;
mod jsonl;
mod parquet;
mod roaring;

pub use self::roaring::{Members, write_members};

use super::Format;
use crate::schema::DataType;
use crate::value::Value;
use crate::{Error, Result};
use std::path::Path;

/// How rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// CSV: the first record names the columns.
    pub header: bool,
    /// CSV: what separates fields, one ASCII byte.
    pub delimiter: u8,
    /// CSV: what fields are quoted by where they must be, one ASCII byte.
    pub quote: u8,
    /// CSV: what stands before a quote within quotes, and before itself; `None` where a quote is doubled.
    pub escape: Option<u8>,
    /// CSV: the unquoted text that NULL is written as. A value of the same text is quoted.
    pub null: String,
}

impl Default for ExportOptions {
    fn default() -> ExportOptions {
        ExportOptions { header: false, delimiter: b',', quote: b'"', escape: None, null: String::new() }
    }
}

/// Takes rows and makes a file of them. Dropped before [`Self::finish`] it leaves nothing behind.
pub trait RowSink: Send {
    /// Appends rows, each with a value per column.
    fn write(&mut self, rows: &[Vec<Value>]) -> Result<()>;
    /// Brings everything to disk and gives the file its name.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A sink for rows of these columns. CSV and JSON lines are compressed where the path ends in `.gz` or `.zst`.
///
/// A path that exists and is no regular file (a pipe, `/dev/stdout`) is written directly.
pub fn create(
    path: &Path,
    format: Format,
    options: &ExportOptions,
    columns: &[(String, DataType)],
) -> Result<Box<dyn RowSink>> {
    let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
    if format != Format::Csv
        && let Some(twice) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name))
    {
        let message = format!("two columns are called \"{}\" (give one another name with AS)", twice.1);
        return Err(Error::Invalid(message));
    }
    Ok(match format {
        Format::Csv => Box::new(csv::CsvSink::create(path, &names, options)?),
        Format::Jsonl => Box::new(jsonl::JsonlSink::create(path, &names)?),
        Format::Parquet => Box::new(parquet::ParquetSink::create(path, columns)?),
    })
}

/// An error about a file that is written.
fn output_error(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Output { file: path.display().to_string(), reason: reason.to_string() }
}
