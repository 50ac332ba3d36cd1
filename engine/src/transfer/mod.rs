//! Rows across the border: files of CSV, JSON lines or Parquet in, as a [`RowSource`] of batches the importer consumes,
//! and rows out into such files ([`export`]).
//!
//! ```text
//! in : files ─ infer (a new table only) ─ mapping (names → columns) ─┬─ input ─ csv | jsonl ─ text ─┬─ Batch ─ import
//!                                                                    └─ parquet ────────────────────┘
//! out: rows of values ─ export::{csv, jsonl, parquet, roaring} ─ a file that appears when it is whole
//! ```
//!
//! A source either delivers every row exactly as the file has it or stops with an error that names file, line (Parquet:
//! row), column, value and reason; where [`ReadOptions::rejects`] says so, a bad row goes to a file instead and the rest
//! is read. Nothing is rounded, cut or guessed; what a column's type cannot hold is refused. Whether keys are unique is
//! the importer's to find out: it asks the source for the [`crate::batch::Place`] of a row.

mod arrow;
mod cluster;
mod codes;
mod column;
mod csv;
mod encoding;
mod evidence;
pub mod export;
mod files;
mod groups;
mod held;
pub(crate) mod import;
mod infer;
mod input;
mod intern;
mod json;
mod jsonl;
pub mod keys;
mod mapping;
mod near;
mod order;
mod parquet;
mod places;
mod rechunk;
mod records;
mod rejects;
mod text;

pub use self::encoding::TextEncoding;
pub use self::files::expand;
pub use self::infer::{Ambiguity, Inference, SAMPLE_ROWS, infer};
pub use self::parquet::ParquetSource;
pub use self::text::TextSource;

use crate::batch::RowSource;
use crate::schema::{ColumnSpec, DataType, TableSchema};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Rows of a batch, unless a wide table makes that too many bytes.
pub(crate) const BATCH_ROWS: usize = 65_536;

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values, plain, gzip or zstd (recognised by content, not by name).
    Csv,
    /// Apache Parquet.
    Parquet,
    /// An object of JSON a line, plain, gzip or zstd.
    Jsonl,
}

impl Format {
    /// The format that a file's name promises: `.parquet` and `.pq`; `.csv`, `.jsonl` and `.ndjson`, each also with
    /// `.gz` or `.zst` after it.
    pub fn of_path(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "parquet" | "pq" => Some(Format::Parquet),
            "csv" => Some(Format::Csv),
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            _ => None,
        }
    }

    /// The one format of all files: the stated one, or what their names promise.
    pub fn of_files(files: &[PathBuf], stated: Option<Format>) -> Result<Format> {
        let mut format = stated;
        for file in files {
            let promised = stated.or_else(|| Format::of_path(file)).ok_or_else(|| {
                let reason = "its name ends in none of .parquet, .csv, .jsonl and .ndjson, perhaps with .gz or .zst \
                              (state the format)";
                input_error(file, reason)
            })?;
            if *format.get_or_insert(promised) != promised {
                return Err(input_error(
                    file,
                    "it has another format than the files before it (import them separately)",
                ));
            }
        }
        format.ok_or_else(|| Error::Invalid("there is no file to read".into()))
    }
}

/// How files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format; `None` goes by the files' names.
    pub format: Option<Format>,
    /// Text: the encoding. A byte order mark wins over it.
    pub encoding: TextEncoding,
    /// CSV: the first record of each file names its columns. Without a header the fields are the table's columns in
    /// order, or those of `columns`.
    pub header: bool,
    /// CSV: what separates fields, one ASCII byte.
    pub delimiter: u8,
    /// CSV: what fields are quoted by, one ASCII byte; `None` where nothing is quoted.
    pub quote: Option<u8>,
    /// CSV: what makes a quote inside a quoted field part of it, and any other byte as well; `None` or the quote itself
    /// where it is doubled.
    pub escape: Option<u8>,
    /// CSV: the unquoted fields that mean NULL. Quoted they are texts.
    pub nulls: Vec<String>,
    /// CSV: names for the fields in order, in place of the header's. JSON lines: the only members that are read.
    pub columns: Option<Vec<String>>,
    /// Columns of the files that have another name in the table: (file's, table's).
    pub rename: Vec<(String, String)>,
    /// Columns of the files that are left out, by the files' names. A Parquet file's are not even read.
    pub skip: Vec<String>,
    /// Where bad rows are written, so that the others are read; `None` where the first bad row is an error.
    pub rejects: Option<PathBuf>,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions {
            format: None,
            encoding: TextEncoding::UTF_8,
            header: true,
            delimiter: b',',
            quote: Some(b'"'),
            escape: None,
            nulls: vec![String::new()],
            columns: None,
            rename: Vec::new(),
            skip: Vec::new(),
            rejects: None,
        }
    }
}

impl ReadOptions {
    /// True where an unquoted field of these bytes is NULL.
    fn is_null(&self, field: &[u8]) -> bool {
        self.nulls.iter().any(|null| null.as_bytes() == field)
    }
}

/// The name of a file for the rows that an import into this table refuses, where none is stated.
pub fn default_rejects(table: &str) -> PathBuf {
    let plain = |letter: char| if letter.is_alphanumeric() || "_-.".contains(letter) { letter } else { '_' };
    let name: String = table.chars().map(plain).collect();
    PathBuf::from(format!("{}.rejects.csv", name.trim_start_matches('.')))
}

/// A column of the table that rows are read for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name that files know it by.
    pub name: String,
    /// The type that values are read as.
    pub data_type: DataType,
    /// False where NULL is refused.
    pub nullable: bool,
    /// True for the PRIMARY KEY: never NULL, its text not over [`crate::schema::KEY_BYTES_MAX`].
    pub key: bool,
}

impl Target {
    /// The columns of a table that exists, in its order.
    pub fn of_table(table: &TableSchema) -> Vec<Target> {
        let target = |column: &crate::schema::Column| Target {
            name: column.name.clone(),
            data_type: column.data_type,
            nullable: column.nullable,
            key: table.key == Some(column.id),
        };
        table.columns.iter().map(target).collect()
    }

    /// The columns of a table that is about to be created; `key` indexes them.
    pub fn of_specs(columns: &[ColumnSpec], key: Option<usize>) -> Vec<Target> {
        let target = |(i, column): (usize, &ColumnSpec)| Target {
            name: column.name.clone(),
            data_type: column.data_type,
            nullable: column.nullable,
            key: key == Some(i),
        };
        columns.iter().enumerate().map(target).collect()
    }
}

/// Opens files as one source, file after file, and says which target each column of its batches is.
///
/// A file's columns find theirs by name: exactly, or else without regard to ASCII case. A column of a file that the
/// table does not have is an error; a target that no file has is left out of the batches (it becomes NULL), which is
/// an error where it refuses NULL; one that only some files have is NULL in the others.
///
/// The names of JSON lines stand in the lines, so there every target is delivered, and an unknown name is a bad row.
///
/// Reads headers and footers only. Memory: one batch for text; for Parquet see [`ParquetSource`].
pub fn open_source(
    files: &[PathBuf],
    options: &ReadOptions,
    targets: &[Target],
) -> Result<(Vec<usize>, Box<dyn RowSource>)> {
    match Format::of_files(files, options.format)? {
        Format::Csv | Format::Jsonl => {
            let source = TextSource::open(files, options, targets)?;
            Ok((source.delivers().to_vec(), Box::new(source)))
        }
        Format::Parquet => {
            let source = ParquetSource::open(files, options, targets)?;
            Ok((source.delivers().to_vec(), Box::new(source)))
        }
    }
}

/// An error about a whole file that is read.
pub(crate) fn input_error(file: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Input { file: file.display().to_string(), reason: reason.to_string() }
}
