//! Keys from a file: one a line, or the first column of a CSV file. Empty lines are nobody.

use crate::ddl::KeysFile;
use crate::error::{Error, QueryErrorKind, Result};
use muster_engine::schema::DataType;
use muster_engine::value::Value;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};

/// The different keys of a file.
pub(super) struct Keys {
    /// In the order in which they first stand there.
    pub(super) keys: Vec<Value>,
    /// Lines with a key that an earlier line has.
    pub(super) repeated: u64,
}

/// Reads a file of keys of a type.
pub(super) fn read_keys(file: &KeysFile, data_type: DataType) -> Result<Keys> {
    let refuse = |message: String| Error::query(QueryErrorKind::Value, file.file_span, message);
    let unreadable = |error: std::io::Error| refuse(format!("cannot read {}: {error}", file.file));
    let mut lines = BufReader::new(File::open(&file.file).map_err(unreadable)?);
    let (mut keys, mut seen, mut repeated) = (Vec::new(), HashSet::new(), 0);
    let (mut line, mut number) = (Vec::new(), 0u64);
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        number += 1;
        let mut rest = line.as_slice();
        if number == 1 {
            rest = rest.strip_prefix("\u{feff}".as_bytes()).unwrap_or(rest);
        }
        let text = first_field(rest, file.delimiter)
            .and_then(|field| String::from_utf8(field).map_err(|_| "is not UTF-8"))
            .map_err(|what| refuse(format!("{}, line {number} {what}", file.file)))?;
        if text.is_empty() || (number == 1 && file.header) {
            continue;
        }
        let key = Value::parse(&text, data_type).map_err(|error| {
            let error = refuse(format!("{}, line {number}: {}", file.file, error.reason));
            if number == 1 { error.advise("add (HEADER) if the first line names the column") } else { error }
        })?;
        // Two spellings of a number are one key.
        if seen.insert(key.to_string()) { keys.push(key) } else { repeated += 1 }
    }
    Ok(Keys { keys, repeated })
}

/// The first field of a line of CSV.
fn first_field(line: &[u8], delimiter: u8) -> std::result::Result<Vec<u8>, &'static str> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(quoted) = line.strip_prefix(b"\"") else {
        return Ok(line.split(|byte| *byte == delimiter).next().unwrap_or_default().to_vec());
    };
    let mut field = Vec::new();
    let mut bytes = quoted.iter().copied().peekable();
    loop {
        match bytes.next() {
            Some(b'"') if bytes.peek() == Some(&b'"') => field.extend(bytes.next()),
            Some(b'"') => break,
            Some(byte) => field.push(byte),
            None => return Err("has a quote that does not end"),
        }
    }
    match bytes.next() {
        None => Ok(field),
        Some(next) if next == delimiter => Ok(field),
        Some(_) => Err("goes on after a closing quote"),
    }
}

#[cfg(test)]
mod tests {
    use super::first_field;

    #[test]
    fn fields_are_read_as_csv() {
        let read = |line: &str| first_field(line.as_bytes(), b';').map(|f| String::from_utf8(f).unwrap());
        assert_eq!(read("7;x\r\n").as_deref(), Ok("7"));
        assert_eq!(read("a,b").as_deref(), Ok("a,b"));
        assert_eq!(read("\"a \"\"b\"\";c\";d\n").as_deref(), Ok("a \"b\";c"));
        assert_eq!(read("\n").as_deref(), Ok(""));
        assert!(read("\"a").is_err() && read("\"a\"b").is_err());
    }
}
