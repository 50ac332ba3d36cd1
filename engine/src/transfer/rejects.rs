//! The file of refused rows: a CSV with file, line, column, reason and the row as it stood.
//!
//! It comes into being with the first refused row and takes its name when all rows have been read, so that a file of an
//! earlier import is replaced whole. Bytes that are no text are shown as replacement characters in it.

use super::export::csv::CsvSink;
use super::export::{ExportOptions, RowSink};
use crate::schema::DataType;
use crate::value::Value;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

const COLUMNS: [(&str, DataType); 5] = [
    ("file", DataType::Text),
    ("line", DataType::BigInt),
    ("column", DataType::Text),
    ("reason", DataType::Text),
    ("row", DataType::Text),
];

/// Takes refused rows.
pub(super) struct Rejects {
    path: PathBuf,
    rows: u64,
    sink: Option<CsvSink>,
}

impl Rejects {
    /// Nothing is written before the first row.
    pub(super) fn new(path: &Path) -> Rejects {
        Rejects { path: path.to_owned(), rows: 0, sink: None }
    }

    /// How many rows were refused.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes a row and why it was refused; `raw` is the row as it stands in its file, empty where that is no text.
    pub(super) fn write(&mut self, error: &Error, raw: &[u8]) -> Result<()> {
        let Error::Row { place, column, value, reason } = error else {
            unreachable!("only rows are refused: {error}");
        };
        let sink = match &mut self.sink {
            Some(sink) => sink,
            None => {
                let names = COLUMNS.map(|(name, _)| name.to_owned());
                let options = ExportOptions { header: true, ..ExportOptions::default() };
                self.sink.insert(CsvSink::create(&self.path, &names, &options)?)
            }
        };
        let or_null = |text: Option<String>| text.map_or(Value::Null, Value::Text);
        let reason = value.as_ref().map_or_else(|| reason.clone(), |value| format!("{value:?} {reason}"));
        let raw = (!raw.is_empty()).then(|| String::from_utf8_lossy(raw));
        sink.write(&[vec![
            or_null(place.as_ref().map(|place| place.file.clone())),
            place.as_ref().map_or(Value::Null, |place| Value::Integer(place.line as i64)),
            or_null(column.clone()),
            Value::Text(reason),
            or_null(raw.map(|raw| raw.trim_end_matches(['\r', '\n']).to_owned())),
        ]])?;
        self.rows += 1;
        Ok(())
    }

    /// Gives the file its name; where no row was refused there is none.
    pub(super) fn finish(&mut self) -> Result<()> {
        match self.sink.take() {
            Some(sink) => Box::new(sink).finish(),
            None => Ok(()),
        }
    }
}
