//! Rows as CSV: PostgreSQL's text of each value, quoted only where it must be.

use super::file::TextFile;
use super::{ExportOptions, RowSink};
use crate::value::Value;
use crate::{Error, Result};
use std::fmt::Write;
use std::path::Path;

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 64 << 10;

/// Writes a CSV file.
pub(crate) struct CsvSink {
    file: TextFile,
    options: ExportOptions,
    line: String,
    field: String,
}

impl CsvSink {
    pub(crate) fn create(path: &Path, names: &[String], options: &ExportOptions) -> Result<CsvSink> {
        let special =
            |byte: &u8| *byte == options.delimiter || *byte == options.quote || matches!(byte, b'\r' | b'\n');
        if let Some(byte) = options.null.bytes().find(|byte| special(byte)) {
            let message =
                format!("the text of NULL may not hold {:?}, which delimits or quotes", char::from(byte));
            return Err(Error::Invalid(message));
        }
        let file = TextFile::create(path)?;
        let mut sink = CsvSink { file, options: options.clone(), line: String::new(), field: String::new() };
        if options.header {
            let names: Vec<Value> = names.iter().map(|name| Value::Text(name.clone())).collect();
            sink.row(&names)?;
            sink.flush()?;
        }
        Ok(sink)
    }

    fn row(&mut self, row: &[Value]) -> Result<()> {
        for (i, value) in row.iter().enumerate() {
            if i > 0 {
                self.line.push(char::from(self.options.delimiter));
            }
            if *value == Value::Null {
                self.line.push_str(&self.options.null);
                continue;
            }
            self.field.clear();
            // Writing to a String does not fail.
            let _ = write!(self.field, "{value}");
            append(&mut self.line, &self.field, &self.options);
        }
        self.line.push('\n');
        if self.line.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write(self.line.as_bytes())?;
        self.line.clear();
        Ok(())
    }
}

impl RowSink for CsvSink {
    fn write(&mut self, rows: &[Vec<Value>]) -> Result<()> {
        rows.iter().try_for_each(|row| self.row(row))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.flush()?;
        self.file.commit()
    }
}

/// Appends a field, in quotes where it would else be read as something other: a NULL, two fields, a byte order mark.
fn append(line: &mut String, field: &str, options: &ExportOptions) {
    let (delimiter, quote) = (options.delimiter, options.quote);
    let special = |byte: u8| byte == delimiter || byte == quote || matches!(byte, b'\r' | b'\n');
    if field != options.null
        && !field.is_empty()
        && !field.bytes().any(special)
        && !field.starts_with('\u{feff}')
    {
        line.push_str(field);
        return;
    }
    let (quote, escape) = (char::from(quote), char::from(options.escape.unwrap_or(quote)));
    line.push(quote);
    for part in field.split_inclusive([quote, escape]) {
        match part.chars().next_back().filter(|last| *last == quote || *last == escape) {
            Some(last) => {
                line.push_str(&part[..part.len() - last.len_utf8()]);
                line.extend([escape, last]);
            }
            None => line.push_str(part),
        }
    }
    line.push(quote);
}
