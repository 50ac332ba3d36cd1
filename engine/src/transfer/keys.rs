//! A file of keys: one a line, or the first field of each record of a CSV.
//!
//! The same encodings, compression, quotes and NULL texts as in imports; further fields are ignored, blank lines
//! skipped. [`ReadOptions::header`] says whether the first record is a header: a plain list of keys has none.

use super::csv::reason_in;
use super::records::Records;
use super::{Format, ReadOptions, input_error};
use crate::batch::Place;
use crate::schema::{DataType, KEY_BYTES_MAX};
use crate::value::{Reason, Value, code, shortened};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// The keys of a file in its order, repeated ones included; an error ends them.
pub struct Keys {
    records: Records,
    key_type: DataType,
    nulls: Vec<String>,
    ended: bool,
}

/// Opens a file of keys of a type, BIGINT or TEXT. Memory: a read buffer.
pub fn read_keys(path: &Path, options: &ReadOptions, key_type: DataType) -> Result<Keys> {
    if !matches!(key_type, DataType::BigInt | DataType::Text) {
        return Err(Error::Invalid(format!("a key is BIGINT or TEXT, not {key_type}")));
    }
    if options.format.or_else(|| Format::of_path(path)).is_some_and(|format| format != Format::Csv) {
        return Err(input_error(path, "a file of keys is text with a key a line, or CSV"));
    }
    let mut records = Records::open(path, options, Arc::default())?;
    if options.header {
        records.advance()?;
    }
    Ok(Keys { records, key_type, nulls: options.nulls.clone(), ended: false })
}

impl Keys {
    fn read(&mut self) -> Result<Option<Value>> {
        if !self.records.advance()? {
            return Ok(None);
        }
        let is_null = self.nulls.iter().any(|null| self.records.field(0) == null.as_bytes());
        if is_null && !self.records.is_quoted(0) {
            return Err(self.refused("a key cannot be NULL".into(), false));
        }
        let field = self.records.field(0);
        let value = match self.key_type {
            DataType::Text => std::str::from_utf8(field)
                .map_err(|error| {
                    Reason::from(format!("is not valid UTF-8 (from its byte {} on)", error.valid_up_to() + 1))
                })
                .and_then(|text| match text.len() {
                    bytes if bytes > KEY_BYTES_MAX => {
                        Err(format!("has {bytes} bytes, a key at most {KEY_BYTES_MAX}").into())
                    }
                    _ => Ok(Value::Text(text.to_owned())),
                }),
            _ => code(field, DataType::BigInt).map(Value::Integer),
        };
        value.map(Some).map_err(|reason| {
            let reason = reason_in(self.records.encoding(), self.records.field(0), reason);
            self.refused(reason, true)
        })
    }

    fn refused(&self, reason: Reason, with_value: bool) -> Error {
        let Place { file, line } = self.records.place();
        let value = with_value.then(|| shortened(self.records.field(0)));
        Error::Row { place: Some(Place { file, line }), column: None, value, reason: reason.into_owned() }
    }
}

impl Iterator for Keys {
    type Item = Result<Value>;

    fn next(&mut self) -> Option<Result<Value>> {
        if self.ended {
            return None;
        }
        let read = self.read().transpose();
        self.ended = !matches!(read, Some(Ok(_)));
        read
    }
}
