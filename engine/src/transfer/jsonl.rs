//! The rows of one file of JSON lines: an object a line, its members into columns.
//!
//! An absent member is NULL, as `null` is. An array of texts is a TEXT[]; other nested values are refused. Numbers keep
//! every digit: they are read as they are written. A text is read by the column's type, so dates, exact decimals and
//! `"NaN"` may stand in quotes. Blank lines are skipped.

use super::column::ColumnBuilder;
use super::encoding::TextEncoding;
use super::json::{Json, Scratch, for_each_member};
use super::records::RECORD_BYTES_MAX;
use super::text::Refusal;
use super::{ReadOptions, Target, csv, input, input_error, mapping};
use crate::Result;
use crate::batch::Place;
use crate::schema::DataType;
use crate::value::{Reason, code, shortened};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Names remembered.
const NAMES_KNOWN_MAX: usize = 10_000;

/// Reads a file line by line.
pub(super) struct Lines {
    path: PathBuf,
    source: BufReader<Box<dyn Read + Send>>,
    encoding: TextEncoding,
    text: Vec<u8>,
    line: u64,
}

impl Lines {
    pub(super) fn open(path: &Path, options: &ReadOptions, bytes_read: Arc<AtomicU64>) -> Result<Lines> {
        let (source, encoding) = input::open(path, options.encoding, bytes_read)?;
        let source = BufReader::with_capacity(input::READ_BYTES, source);
        Ok(Lines { path: path.to_owned(), source, encoding, text: Vec::new(), line: 0 })
    }

    /// Moves on to the next line that is not blank; false at the end of the file.
    pub(super) fn advance(&mut self) -> Result<bool> {
        loop {
            self.text.clear();
            let limit = RECORD_BYTES_MAX as u64 + 1;
            let read = self.source.by_ref().take(limit).read_until(b'\n', &mut self.text);
            read.map_err(|error| input_error(&self.path, error))?;
            if self.text.is_empty() {
                return Ok(false);
            }
            self.line += 1;
            if self.text.len() > RECORD_BYTES_MAX {
                let (line, mib) = (self.line, RECORD_BYTES_MAX >> 20);
                return Err(input_error(&self.path, format!("line {line}: it is longer than {mib} MiB")));
            }
            if !self.text.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    /// The line as text.
    pub(super) fn text(&self) -> std::result::Result<&str, Refusal> {
        std::str::from_utf8(&self.text).map_err(|error| {
            let reason = format!("is not valid UTF-8 (from its byte {} on)", error.valid_up_to() + 1);
            Refusal {
                builder: None,
                value: Some(shortened(&self.text)),
                reason: csv::reason_in(self.encoding, &self.text, reason.into()),
            }
        })
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }

    pub(super) fn place(&self) -> Place {
        Place { file: self.path.display().to_string(), line: self.line }
    }
}

/// Reads the lines of a file into columns.
pub(super) struct JsonRows {
    lines: Lines,
    scratch: Scratch,
    names: Names,
    /// Per column the line that filled it last.
    filled: Vec<u64>,
}

/// What the names in the lines stand for.
struct Names {
    options: ReadOptions,
    targets: Vec<Target>,
    delivers: Vec<usize>,
    /// Names already looked up: the builder, or `None` for one to skip.
    known: HashMap<String, Option<usize>>,
}

impl JsonRows {
    pub(super) fn open(
        path: &Path,
        options: &ReadOptions,
        delivers: &[usize],
        targets: &[Target],
        bytes_read: Arc<AtomicU64>,
    ) -> Result<JsonRows> {
        let names = Names {
            options: options.clone(),
            targets: targets.to_vec(),
            delivers: delivers.to_vec(),
            known: HashMap::new(),
        };
        let lines = Lines::open(path, options, bytes_read)?;
        Ok(JsonRows { lines, scratch: Scratch::default(), names, filled: vec![0; delivers.len()] })
    }

    pub(super) fn advance(&mut self) -> Result<bool> {
        self.lines.advance()
    }

    pub(super) fn push(&mut self, builders: &mut [ColumnBuilder]) -> std::result::Result<(), Refusal> {
        let JsonRows { lines, scratch, names, filled } = self;
        let line = lines.line();
        for_each_member(lines.text()?, scratch, |name, value| {
            let Some(builder) = names.builder(name)? else { return Ok(()) };
            if filled[builder] == line {
                return Err(Refusal::of_record(format!("has two members {name:?}")));
            }
            filled[builder] = line;
            let data_type = names.targets[names.delivers[builder]].data_type;
            push_value(&mut builders[builder], data_type, value).map_err(|reason| Refusal {
                builder: Some(builder),
                value: shown(value),
                reason,
            })
        })?;
        for (builder, column) in builders.iter_mut().enumerate() {
            if filled[builder] != line {
                column.push_null().map_err(|reason| Refusal {
                    builder: Some(builder),
                    value: None,
                    reason,
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn line(&self) -> u64 {
        self.lines.line()
    }

    pub(super) fn raw(&self) -> &[u8] {
        &self.lines.text
    }
}

impl From<&'static str> for Refusal {
    fn from(reason: &'static str) -> Refusal {
        Refusal::of_record(reason)
    }
}

impl Names {
    fn builder(&mut self, name: &str) -> std::result::Result<Option<usize>, Refusal> {
        if let Some(known) = self.known.get(name) {
            return Ok(*known);
        }
        let options = &self.options;
        let builder = if options.skip.iter().any(|skipped| skipped == name) {
            None
        } else {
            let renamed = options.rename.iter().find(|(from, _)| from == name).map_or(name, |(_, to)| to);
            match mapping::find(renamed, &self.targets) {
                Ok(target) => self.delivers.iter().position(|delivered| *delivered == target),
                // Where the statement lists the columns, others are left out.
                Err(_) if options.columns.is_some() => None,
                Err(reason) => return Err(Refusal::of_record(reason)),
            }
        };
        // Files with ever new names that are left out must not fill the memory.
        if self.known.len() < NAMES_KNOWN_MAX {
            self.known.insert(name.to_owned(), builder);
        }
        Ok(builder)
    }
}

fn push_value(
    column: &mut ColumnBuilder,
    data_type: DataType,
    value: Json<'_>,
) -> std::result::Result<(), Reason> {
    match value {
        Json::Null => column.push_null(),
        Json::Boolean(boolean) => column.push(if boolean { b"true" } else { b"false" }),
        // JSON knows one kind of number: 1.0 and 1e2 are integers.
        Json::Number(number) if data_type.is_integer() && number.contains(['.', 'e', 'E']) => {
            let whole = code(number.as_bytes(), DataType::Decimal { precision: 18, scale: 0 });
            column.push(whole.map_err(|_| "is not an integer")?.to_string().as_bytes())
        }
        Json::Number(number) => column.push(number.as_bytes()),
        Json::Text(text) => column.push(text.as_bytes()),
        Json::Array(array) if data_type == DataType::TextArray => column.push(array.as_bytes()),
        Json::Array(_) => Err(format!("is an array, which a {data_type} column cannot hold").into()),
        Json::Object => Err("is an object, and nested values are not supported (flatten or skip it)".into()),
    }
}

/// A value as errors show it.
fn shown(value: Json<'_>) -> Option<String> {
    match value {
        Json::Null => None,
        Json::Boolean(boolean) => Some(boolean.to_string()),
        Json::Number(text) | Json::Text(text) | Json::Array(text) => Some(shortened(text.as_bytes())),
        Json::Object => Some("{…}".to_owned()),
    }
}
