//! Keys from a file: one a line, or the first column of a CSV file. Empty lines are nobody.

use crate::ddl::KeysFile;
use crate::error::{Error, QueryErrorKind, Result};
use muster_engine::schema::DataType;
use muster_engine::transfer::{Format, ReadOptions, keys};
use muster_engine::value::Value;
use std::collections::HashSet;
use std::path::Path;

/// The different keys of a file.
pub(super) struct Keys {
    /// In the order in which they first stand there.
    pub(super) keys: Vec<Value>,
    /// Lines with a key that an earlier line has.
    pub(super) repeated: u64,
}

/// Reads a file of keys of a type; as in imports it may be compressed, and have a byte order mark.
pub(super) fn read_keys(file: &KeysFile, data_type: DataType) -> Result<Keys> {
    let options = ReadOptions {
        // A list of keys is a CSV of one column, whatever its name.
        format: Some(Format::Csv),
        header: file.header,
        delimiter: file.delimiter,
        ..ReadOptions::default()
    };
    let refused = |error: muster_engine::Error| refuse(file, error);
    let (mut keys, mut seen, mut repeated) = (Vec::new(), HashSet::new(), 0);
    for key in keys::read_keys(Path::new(&file.file), &options, data_type).map_err(refused)? {
        let key = key.map_err(refused)?;
        // Two spellings of a number are one key.
        if seen.insert(key.to_string()) { keys.push(key) } else { repeated += 1 }
    }
    Ok(Keys { keys, repeated })
}

fn refuse(file: &KeysFile, error: muster_engine::Error) -> Error {
    let (message, first) = match &error {
        muster_engine::Error::Row { place: Some(place), value: Some(value), reason, .. } => {
            (format!("{}, line {}: {value:?} {reason}", place.file, place.line), place.line == 1)
        }
        other => (other.to_string(), false),
    };
    let error = Error::query(QueryErrorKind::Value, file.file_span, message);
    if first && !file.header {
        error.advise("add (HEADER) if the first line names the column")
    } else {
        error
    }
}
