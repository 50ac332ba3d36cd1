//! The records of one CSV file: opened, split into fields, each with the line it starts on.
//!
//! Splitting is `csv-core`'s, the machine under the `csv` crate. This loop around it keeps a record's raw bytes until
//! the next one, which is what `csv` hides and what we need: the physical line of a record (after quoted newlines, blank
//! lines and `\r\n`), whether a field was quoted (an empty text is not NULL), and a bound on what a forgotten closing
//! quote can swallow.
//!
//! Lines end in `\n` or `\r\n`. Blank lines are skipped, unless whoever reads takes them for records of one empty field.
//! Nothing is known of types.

use super::encoding::TextEncoding;
use super::input::READ_BYTES;
use super::{ReadOptions, input, input_error};
use crate::batch::Place;
use crate::{Error, Result};
use csv_core::ReadRecordResult;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The longest record, in bytes: a quote that is never closed must not swallow a file of any size.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 20;

/// Reads a file record by record.
pub(super) struct Records {
    path: PathBuf,
    source: Box<dyn Read + Send>,
    encoding: TextEncoding,
    core: csv_core::Reader,
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    blank_lines_are_records: bool,
    /// The record before ended with `\r`, so that a `\n` ahead belongs to the same line end.
    after_return: bool,
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
    /// Opens a file; see [`input::open`]. `bytes_read` counts what is read of the file itself.
    pub(super) fn open(path: &Path, options: &ReadOptions, bytes_read: Arc<AtomicU64>) -> Result<Records> {
        let (source, encoding) = input::open(path, options.encoding, bytes_read)?;
        let escape = options.escape.filter(|escape| Some(*escape) != options.quote);
        let mut core = csv_core::ReaderBuilder::new();
        core.delimiter(options.delimiter).quoting(options.quote.is_some());
        core.escape(escape).double_quote(escape.is_none());
        if let Some(quote) = options.quote {
            core.quote(quote);
        }
        Ok(Records {
            path: path.to_owned(),
            source,
            encoding,
            core: core.build(),
            delimiter: options.delimiter,
            quote: options.quote,
            escape,
            blank_lines_are_records: false,
            after_return: false,
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
        })
    }

    /// From now on a blank line is a record of one empty field. In a file of one column it is a NULL.
    pub(super) fn take_blank_lines(&mut self) {
        self.blank_lines_are_records = true;
    }

    /// Moves on to the next record; false at the end of the file.
    pub(super) fn advance(&mut self) -> Result<bool> {
        if self.blank_lines_are_records {
            if let Some(more) = self.advance_over_blank()? {
                return Ok(more);
            }
        } else if !self.skip_line_ends()? {
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
        self.after_return = self.buffer[self.start..self.consumed].last() == Some(&b'\r');
        if self.at_end && self.consumed == self.filled && self.find_quoted() {
            return Err(self.refused("a quote of this record is never closed"));
        }
        Ok(true)
    }

    /// Passes the end of the line before, and takes a blank line for a record; `None` where something stands ahead.
    fn advance_over_blank(&mut self) -> Result<Option<bool>> {
        self.start = self.consumed;
        if std::mem::take(&mut self.after_return) && self.peek(0)? == Some(b'\n') {
            self.consumed += 1;
            self.start = self.consumed;
            self.core.set_line(self.core.line() + 1);
        }
        let bytes = match (self.peek(0)?, self.peek(1)?) {
            (None, _) => return Ok(Some(false)),
            (Some(b'\n'), _) => 1,
            (Some(b'\r'), Some(b'\n')) => 2,
            _ => return Ok(None),
        };
        self.line = self.core.line();
        self.core.set_line(self.line + 1);
        self.consumed += bytes;
        (self.len, self.ends[0]) = (1, 0);
        self.quoted.clear();
        Ok(Some(true))
    }

    /// The byte that stands `n` after what is consumed.
    fn peek(&mut self, n: usize) -> Result<Option<u8>> {
        while self.consumed + n >= self.filled && !self.at_end {
            self.fill()?;
        }
        Ok(self.buffer[..self.filled].get(self.consumed + n).copied())
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
                let (line, mib) = (self.line, RECORD_BYTES_MAX >> 20);
                let reason =
                    format!("line {line}: the record is longer than {mib} MiB (is a quote never closed?)");
                return Err(input_error(&self.path, reason));
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = loop {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| input_error(&self.path, error))?,
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
        let Some(quote) = self.quote.filter(|quote| raw.contains(quote)) else {
            self.quoted.resize(self.len, false);
            return false;
        };
        let mut rest = raw;
        loop {
            let quoted = rest.first() == Some(&quote);
            self.quoted.push(quoted);
            if quoted {
                rest = &rest[1..];
                // A doubled quote reads as the end of one quoted stretch and the start of the next.
                loop {
                    let closes = |byte: &u8| *byte == quote || Some(*byte) == self.escape;
                    let Some(at) = rest.iter().position(closes) else { return true };
                    if rest[at] != quote {
                        // The escape takes the byte after it along.
                        rest = rest.get(at + 2..).unwrap_or_default();
                        continue;
                    }
                    rest = &rest[at + 1..];
                    if self.escape.is_some() || rest.first() != Some(&quote) {
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

    /// The encoding that the file turned out to have.
    pub(super) fn encoding(&self) -> TextEncoding {
        self.encoding
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn open(bytes: &[u8]) -> Result<(tempfile::NamedTempFile, Records)> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let records = Records::open(file.path(), &ReadOptions::default(), Arc::default())?;
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
    fn a_parquet_file_is_named() {
        assert!(open(b"PAR1\x15\x04..PAR1").err().unwrap().to_string().contains("Parquet"));
        // A random table of texts once began as a Parquet file does, and was refused.
        assert_eq!(lines(b"PAR1\x15\n"), [(1, "PAR1\u{15}".to_owned())]);
        assert_eq!(lines(b"PAR1,x\nPAR1"), [(1, "PAR1".to_owned()), (2, "PAR1".to_owned())]);
    }

    #[test]
    fn blank_lines_can_be_records() {
        let of = |bytes: &[u8]| {
            let (_file, mut records) = open(bytes).unwrap();
            records.take_blank_lines();
            let mut found = Vec::new();
            while records.advance().unwrap() {
                assert_eq!(records.len(), 1);
                let text = String::from_utf8(records.field(0).to_vec()).unwrap();
                found.push((records.line(), text, records.is_quoted(0)));
            }
            found
        };
        let some = |found: &[(u64, &str, bool)]| {
            found.iter().map(|(line, text, quoted)| (*line, text.to_string(), *quoted)).collect::<Vec<_>>()
        };
        let expected =
            some(&[(1, "", false), (2, "a", false), (3, "", false), (4, "", false), (5, "", true)]);
        assert_eq!(of(b"\na\n\n\n\"\"\n"), expected);
        assert_eq!(of(b"\r\na\r\n\r\n\r\n\"\"\r\n"), expected);
        assert_eq!(of(b"a"), some(&[(1, "a", false)]));
        assert_eq!(of(b""), some(&[]));
    }

    #[test]
    fn quotes_and_escapes_are_what_the_options_say() {
        let fields = |bytes: &[u8], quote: Option<u8>, escape: Option<u8>| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(bytes).unwrap();
            let options = ReadOptions { quote, escape, ..ReadOptions::default() };
            let mut records = Records::open(file.path(), &options, Arc::default()).unwrap();
            assert!(records.advance().unwrap());
            let field = |records: &mut Records, i| {
                (String::from_utf8(records.field(i).to_vec()).unwrap(), records.is_quoted(i))
            };
            (0..records.len()).map(|i| field(&mut records, i)).collect::<Vec<_>>()
        };
        let some = |found: &[(&str, bool)]| {
            found.iter().map(|(text, quoted)| (text.to_string(), *quoted)).collect::<Vec<_>>()
        };
        let single = fields(b"'a,''b''',\"c\n", Some(b'\''), None);
        assert_eq!(single, some(&[("a,'b'", true), ("\"c", false)]));
        let escaped = fields(b"\"a\\\",\\\\\",x,\"\"\n", Some(b'"'), Some(b'\\'));
        assert_eq!(escaped, some(&[("a\",\\", true), ("x", false), ("", true)]));
        assert_eq!(fields(b"\"a,b\"\n", None, None), some(&[("\"a", false), ("b\"", false)]));
    }
}
