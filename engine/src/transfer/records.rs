//! The records of one CSV file: opened, unzipped, split into fields, each with the line it starts on.
//!
//! Splitting is `csv-core`'s, the machine under the `csv` crate. This loop around it keeps a record's raw bytes until
//! the next one, which is what `csv` hides and what we need: the physical line of a record (after quoted newlines, blank
//! lines and `\r\n`), whether a field was quoted (an empty text is not NULL), and a bound on what a forgotten closing
//! quote can swallow.
//!
//! Lines end in `\n` or `\r\n`. Blank lines are skipped. A UTF-8 byte order mark is skipped. Nothing is known of types.

use super::input;
use crate::batch::Place;
use crate::{Error, Result};
use csv_core::ReadRecordResult;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is read from a file at a time.
const READ_BYTES: usize = 256 << 10;

/// The longest record, in bytes: a quote that is never closed must not swallow a file of any size.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 20;

/// Reads a file record by record.
pub(super) struct Records {
    path: PathBuf,
    source: Box<dyn Read + Send>,
    core: csv_core::Reader,
    delimiter: u8,
    /// `buffer[start..consumed]` is the record, `buffer[consumed..filled]` is read and not yet split.
    buffer: Vec<u8>,
    start: usize,
    consumed: usize,
    filled: usize,
    at_end: bool,
    line: u64,
    /// The fields of the record, unquoted, back to back; field i ends at `ends[i]`.
    fields: Vec<u8>,
    ends: Vec<usize>,
    len: usize,
    /// Which fields were quoted, once somebody asked; empty before.
    quoted: Vec<bool>,
}

impl Records {
    /// Opens a file, unzipping it where its first bytes are gzip's. `bytes_read` counts what is read of the file itself.
    pub(super) fn open(path: &Path, delimiter: u8, bytes_read: Arc<AtomicU64>) -> Result<Records> {
        let failed = |error: std::io::Error| input(path, error);
        let counted = Counted { file: File::open(path).map_err(failed)?, bytes_read };
        let mut raw = BufReader::with_capacity(READ_BYTES, counted);
        let head = raw.fill_buf().map_err(failed)?;
        let source: Box<dyn Read + Send> = match head {
            [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
            [b'P', b'A', b'R', b'1', ..] => return Err(input(path, "it is a Parquet file, not CSV")),
            _ => Box::new(raw),
        };
        let mut records = Records {
            path: path.to_owned(),
            source,
            core: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            delimiter,
            buffer: vec![0; READ_BYTES],
            start: 0,
            consumed: 0,
            filled: 0,
            at_end: false,
            line: 1,
            fields: vec![0; 1024],
            ends: vec![0; 64],
            len: 0,
            quoted: Vec::new(),
        };
        records.skip_byte_order_mark()?;
        Ok(records)
    }

    fn skip_byte_order_mark(&mut self) -> Result<()> {
        while self.filled < 3 && !self.at_end {
            self.fill()?;
        }
        match &self.buffer[..self.filled] {
            [0xef, 0xbb, 0xbf, ..] => self.consumed = 3,
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
                return Err(input(&self.path, "it is UTF-16 (convert it to UTF-8)"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Moves on to the next record; false at the end of the file.
    pub(super) fn advance(&mut self) -> Result<bool> {
        if !self.skip_line_ends()? {
            return Ok(false);
        }
        self.start = self.consumed;
        self.line = self.core.line();
        self.quoted.clear();
        let (mut written, mut ended) = (0, 0);
        loop {
            let (result, read, bytes, ends) = self.core.read_record(
                &self.buffer[self.consumed..self.filled],
                &mut self.fields[written..],
                &mut self.ends[ended..],
            );
            self.consumed += read;
            written += bytes;
            ended += ends;
            match result {
                ReadRecordResult::InputEmpty => self.fill()?,
                ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(false),
            }
        }
        self.len = ended;
        if self.at_end && self.consumed == self.filled && self.find_quoted() {
            return Err(self.refused("a quote of this record is never closed"));
        }
        Ok(true)
    }

    /// Skips `\r` and `\n` before a record, counting lines; false at the end of the file.
    fn skip_line_ends(&mut self) -> Result<bool> {
        loop {
            match self.buffer[self.consumed..self.filled].first() {
                Some(b'\n') => self.core.set_line(self.core.line() + 1),
                Some(b'\r') => {}
                Some(_) => return Ok(true),
                None if self.at_end => return Ok(false),
                None => {
                    self.start = self.consumed;
                    self.fill()?;
                    continue;
                }
            }
            self.consumed += 1;
        }
    }

    /// Reads more, keeping the record that has begun.
    fn fill(&mut self) -> Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.consumed -= self.start;
            self.filled -= self.start;
            self.start = 0;
        }
        if self.filled == self.buffer.len() {
            if self.filled >= RECORD_BYTES_MAX {
                let mib = RECORD_BYTES_MAX >> 20;
                return Err(
                    self.refused(&format!("the record is longer than {mib} MiB (is a quote never closed?)"))
                );
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = loop {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| input(&self.path, error))?,
            }
        };
        self.filled += read;
        self.at_end = read == 0;
        Ok(())
    }

    /// The number of fields.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Field `i`, unquoted.
    pub(super) fn field(&self, i: usize) -> &[u8] {
        &self.fields[if i == 0 { 0 } else { self.ends[i - 1] }..self.ends[i]]
    }

    /// The bytes of the record as they stand in the file.
    pub(super) fn raw(&self) -> &[u8] {
        &self.buffer[self.start..self.consumed]
    }

    /// True where field `i` stood in quotes.
    pub(super) fn is_quoted(&mut self, i: usize) -> bool {
        if self.quoted.is_empty() {
            self.find_quoted();
        }
        self.quoted.get(i).copied().unwrap_or(false)
    }

    /// Finds the quoted fields; true where the last one is still open at the record's end.
    fn find_quoted(&mut self) -> bool {
        let raw = &self.buffer[self.start..self.consumed];
        self.quoted.clear();
        if !raw.contains(&b'"') {
            self.quoted.resize(self.len, false);
            return false;
        }
        let mut rest = raw;
        loop {
            let quoted = rest.first() == Some(&b'"');
            self.quoted.push(quoted);
            if quoted {
                rest = &rest[1..];
                // A doubled quote reads as the end of one quoted stretch and the start of the next.
                loop {
                    let Some(close) = rest.iter().position(|b| *b == b'"') else { return true };
                    rest = &rest[close + 1..];
                    if rest.first() != Some(&b'"') {
                        break;
                    }
                    rest = &rest[1..];
                }
            }
            match rest.iter().position(|b| *b == self.delimiter) {
                Some(delimiter) => rest = &rest[delimiter + 1..],
                None => return false,
            }
        }
    }

    /// Where the record starts; 1 is the first line.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The same, for an error.
    pub(super) fn place(&self) -> Place {
        Place { file: self.path.display().to_string(), line: self.line }
    }

    /// An error about the record as a whole.
    pub(super) fn refused(&self, reason: &str) -> Error {
        Error::Row { place: Some(self.place()), column: None, value: None, reason: reason.to_owned() }
    }
}

/// A file that counts what is read of it.
struct Counted {
    file: File,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(into)?;
        self.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn open(bytes: &[u8]) -> Result<(tempfile::NamedTempFile, Records)> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let records = Records::open(file.path(), b',', Arc::default())?;
        Ok((file, records))
    }

    fn lines(bytes: &[u8]) -> Vec<(u64, String)> {
        let (_file, mut records) = open(bytes).unwrap();
        let mut lines = Vec::new();
        while records.advance().unwrap() {
            lines.push((records.line(), String::from_utf8_lossy(records.field(0)).into_owned()));
        }
        lines
    }

    #[test]
    fn lines_are_physical_lines() {
        let at =
            |expected: &[(u64, &str)]| expected.iter().map(|(l, t)| (*l, t.to_string())).collect::<Vec<_>>();
        assert_eq!(lines(b"a\nb\nc"), at(&[(1, "a"), (2, "b"), (3, "c")]));
        assert_eq!(lines(b"a\r\nb\r\n\r\nc\r\n"), at(&[(1, "a"), (2, "b"), (4, "c")]));
        assert_eq!(lines(b"\n\na,1\n\"x\ny\r\nz\",2\nb,3\n"), at(&[(3, "a"), (4, "x\ny\r\nz"), (7, "b")]));
        assert_eq!(lines(b"\xef\xbb\xbfa\nb"), at(&[(1, "a"), (2, "b")]));
        assert_eq!(lines(b""), at(&[]));
        assert_eq!(lines(b"\xef\xbb\xbf\r\n"), at(&[]));
    }

    /// A record that straddles reads, and one longer than the buffer, must come out whole.
    #[test]
    fn records_of_any_length_straddle_reads() {
        let text =
            |i: usize| format!("{i}\"\"{}", "x".repeat(if i == 500 { 3 * READ_BYTES } else { i % 1900 }));
        let file: String = (0..1000).map(|i| format!("\"{}\",\"\",,{i}\n", text(i))).collect();
        let (_file, mut records) = open(file.as_bytes()).unwrap();
        for i in 0..1000 {
            assert!(records.advance().unwrap());
            assert_eq!(records.field(0), text(i).replace("\"\"", "\"").as_bytes());
            assert_eq!((records.line(), records.len()), (i as u64 + 1, 4));
            let quoted: Vec<bool> = (0..4).map(|field| records.is_quoted(field)).collect();
            assert_eq!(quoted, [true, true, false, false]);
        }
        assert!(!records.advance().unwrap());
    }

    #[test]
    fn an_open_quote_is_refused() {
        for text in ["a,b\nc,\"d\ne,f\n", "a,b\nc,\"d", "a\nb,\""] {
            let (_file, mut records) = open(text.as_bytes()).unwrap();
            assert!(records.advance().unwrap());
            let error = records.advance().unwrap_err().to_string();
            assert!(error.ends_with("line 2: a quote of this record is never closed"), "{error}");
        }
        let (_file, mut records) = open(b"5\" pipe,\"a\"\"b\"").unwrap();
        assert!(records.advance().unwrap());
        assert_eq!((records.field(0), records.field(1)), (&b"5\" pipe"[..], &b"a\"b"[..]));
    }

    #[test]
    fn other_encodings_are_named() {
        assert!(open(b"\xff\xfea\0").err().unwrap().to_string().contains("UTF-16"));
        assert!(open(b"PAR1....").err().unwrap().to_string().contains("Parquet"));
    }
}
