//! Rows as JSON lines: numbers as numbers with every digit, NULL as `null`, tags as arrays, times as ISO 8601 in texts.
//!
//! What JSON has no number for (`NaN`, `Infinity`) is a text. Times before the year 1 end in ` BC`, as PostgreSQL has it.

use super::RowSink;
use super::file::TextFile;
use crate::Result;
use crate::value::Value;
use std::fmt::Write;
use std::path::Path;

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 64 << 10;

/// Writes a file of JSON lines.
pub(super) struct JsonlSink {
    file: TextFile,
    /// `"name":` per column.
    names: Vec<String>,
    lines: String,
}

impl JsonlSink {
    pub(super) fn create(path: &Path, names: &[String]) -> Result<JsonlSink> {
        let name = |name: &String| {
            let mut text = String::new();
            append_text(&mut text, name);
            text + ":"
        };
        let names = names.iter().map(name).collect();
        Ok(JsonlSink { file: TextFile::create(path)?, names, lines: String::new() })
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write(self.lines.as_bytes())?;
        self.lines.clear();
        Ok(())
    }
}

impl RowSink for JsonlSink {
    fn write(&mut self, rows: &[Vec<Value>]) -> Result<()> {
        for row in rows {
            for (i, (name, value)) in self.names.iter().zip(row).enumerate() {
                self.lines.push(if i == 0 { '{' } else { ',' });
                self.lines.push_str(name);
                append(&mut self.lines, value);
            }
            self.lines.push_str("}\n");
            if self.lines.len() >= BUFFER_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.flush()?;
        self.file.commit()
    }
}

/// Appends a value. Writing to a String does not fail.
fn append(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Boolean(_) | Value::Integer(_) | Value::Decimal { .. } => {
            let _ = write!(out, "{value}");
        }
        Value::Double(double) if double.is_finite() => {
            let _ = write!(out, "{value}");
        }
        Value::Text(text) => append_text(out, text),
        Value::Double(_) | Value::Date(_) => {
            let _ = write!(out, "\"{value}\"");
        }
        Value::Timestamp(_) => {
            let _ = write!(out, "\"{}\"", value.to_string().replacen(' ', "T", 1));
        }
        Value::TimestampTz(_) => {
            let _ = write!(out, "\"{}\"", value.to_string().replacen(' ', "T", 1).replacen("+00", "Z", 1));
        }
        Value::Tags(tags) => {
            out.push('[');
            for (i, tag) in tags.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                append_text(out, tag);
            }
            out.push(']');
        }
    }
}

/// Appends a text in quotes.
pub(super) fn append_text(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
