//! Rows across the border: files of CSV or Parquet in, as a [`RowSource`] of batches the importer consumes.
//!
//! ```text
//! files ─ infer (a new table only) ─ mapping (names → columns) ─ csv | parquet ─ Batch ─ import
//! ```
//!
//! A source either delivers every row exactly as the file has it or stops with an error that names file, line (Parquet:
//! row), column, value and reason. Nothing is rounded, cut or guessed; what a column's type cannot hold is refused.
//! Whether keys are unique is the importer's to find out: it asks the source for the [`crate::batch::Place`] of a row.

mod arrow;
mod column;
mod csv;
mod evidence;
pub(crate) mod import;
mod infer;
mod intern;
mod mapping;
mod parquet;
mod rechunk;
mod records;

pub use self::csv::CsvSource;
pub use self::infer::{Ambiguity, Inference, SAMPLE_ROWS, infer};
pub use self::parquet::ParquetSource;

use crate::batch::RowSource;
use crate::schema::{ColumnSpec, DataType, TableSchema};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Rows of a batch, unless a wide table makes that too many bytes.
pub(crate) const BATCH_ROWS: usize = 65_536;

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values, plain or gzipped (recognised by content, not by name).
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// The format that a file's name promises: `.parquet` and `.pq`, `.csv` and `.csv.gz`.
    pub fn of_path(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "parquet" | "pq" => Some(Format::Parquet),
            "csv" => Some(Format::Csv),
            _ => None,
        }
    }

    /// The one format of all files: the stated one, or what their names promise.
    pub fn of_files(files: &[PathBuf], stated: Option<Format>) -> Result<Format> {
        let mut format = stated;
        for file in files {
            let promised = stated.or_else(|| Format::of_path(file)).ok_or_else(|| {
                input(file, "its name ends neither in .parquet nor in .csv or .csv.gz (state the format)")
            })?;
            if *format.get_or_insert(promised) != promised {
                return Err(input(
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
    /// CSV: the first record of each file names its columns. Without a header the fields are the table's columns in
    /// order, or those of `columns`.
    pub header: bool,
    /// CSV: what separates fields, one ASCII byte. Fields are quoted by `"`, and a quote inside is doubled.
    pub delimiter: u8,
    /// CSV: the unquoted field that means NULL. Quoted it is a text.
    pub null: String,
    /// CSV: names for the fields in order, in place of the header's.
    pub columns: Option<Vec<String>>,
    /// Columns of the files that have another name in the table: (file's, table's).
    pub rename: Vec<(String, String)>,
    /// Columns of the files that are left out, by the files' names. A Parquet file's are not even read.
    pub skip: Vec<String>,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions {
            format: None,
            header: true,
            delimiter: b',',
            null: String::new(),
            columns: None,
            rename: Vec::new(),
            skip: Vec::new(),
        }
    }
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
/// Reads headers and footers only. Memory: one batch for CSV; for Parquet see [`ParquetSource`].
pub fn open_source(
    files: &[PathBuf],
    options: &ReadOptions,
    targets: &[Target],
) -> Result<(Vec<usize>, Box<dyn RowSource>)> {
    match Format::of_files(files, options.format)? {
        Format::Csv => {
            let source = CsvSource::open(files, options, targets)?;
            Ok((source.delivers().to_vec(), Box::new(source)))
        }
        Format::Parquet => {
            let source = ParquetSource::open(files, options, targets)?;
            Ok((source.delivers().to_vec(), Box::new(source)))
        }
    }
}

/// An error about a whole file.
fn input(file: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Input { file: file.display().to_string(), reason: reason.to_string() }
}
