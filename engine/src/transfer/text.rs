//! Files of text, CSV or JSON lines, as a [`RowSource`]: file after file, record after record, straight into columns.
//!
//! Values are read by [`Value::parse`](crate::Value::parse)'s rules. The first bad row stops the source; where
//! [`ReadOptions::rejects`] names a file, a bad row is written there instead and the next one is read. What concerns a
//! whole file (its header, its compression, a disk that fails) stops the source in any case.

use super::column::ColumnBuilder;
use super::csv::CsvRows;
use super::jsonl::JsonRows;
use super::mapping::{self, Mapping};
use super::places::Places;
use super::rejects::Rejects;
use super::{BATCH_ROWS, Format, ReadOptions, Target, csv, input_error};
use crate::batch::{Batch, ColumnBatch, Place, RowSource};
use crate::value::Reason;
use crate::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Text of a batch, in bytes: rows of long texts make shorter batches.
const BATCH_BYTES: usize = 64 << 20;

/// Reads text files one after the other. Holds one batch and a read buffer.
pub struct TextSource {
    files: Vec<PathBuf>,
    format: Format,
    mappings: Vec<Mapping>,
    targets: Vec<Target>,
    delivers: Vec<usize>,
    options: ReadOptions,
    builders: Vec<ColumnBuilder>,
    current: Option<Rows>,
    files_opened: usize,
    places: Places,
    /// The first row of each file opened so far.
    file_rows: Vec<u64>,
    rejects: Option<Rejects>,
    bytes_read: Arc<AtomicU64>,
    bytes_total: u64,
}

/// The file being read.
enum Rows {
    Csv(Box<CsvRows>),
    Jsonl(Box<JsonRows>),
}

/// Why a record is refused.
pub(super) struct Refusal {
    /// The builder to blame, if one is.
    pub(super) builder: Option<usize>,
    /// Its text, cut where it is long.
    pub(super) value: Option<String>,
    pub(super) reason: Reason,
}

impl Refusal {
    /// The whole record is to blame.
    pub(super) fn of_record(reason: impl Into<Reason>) -> Refusal {
        Refusal { builder: None, value: None, reason: reason.into() }
    }
}

impl Rows {
    fn advance(&mut self) -> Result<bool> {
        match self {
            Rows::Csv(rows) => rows.advance(),
            Rows::Jsonl(rows) => rows.advance(),
        }
    }

    /// Appends the record to the columns. After a refusal some have it and some do not.
    fn push(&mut self, builders: &mut [ColumnBuilder]) -> std::result::Result<(), Refusal> {
        match self {
            Rows::Csv(rows) => rows.push(builders),
            Rows::Jsonl(rows) => rows.push(builders),
        }
    }

    fn line(&self) -> u64 {
        match self {
            Rows::Csv(rows) => rows.line(),
            Rows::Jsonl(rows) => rows.line(),
        }
    }

    fn raw(&self) -> &[u8] {
        match self {
            Rows::Csv(rows) => rows.raw(),
            Rows::Jsonl(rows) => rows.raw(),
        }
    }
}

impl TextSource {
    /// Opens the files, reads their headers where they have any and maps their columns; see [`super::open_source`].
    pub fn open(files: &[PathBuf], options: &ReadOptions, targets: &[Target]) -> Result<TextSource> {
        let format = Format::of_files(files, options.format)?;
        let mut mappings = Vec::with_capacity(files.len());
        let mut bytes_total = 0;
        for file in files {
            bytes_total += file.metadata().map_err(|error| input_error(file, error))?.len();
            let header = if format == Format::Csv { csv::header(file, options)? } else { None };
            let names = match (header, &options.columns) {
                (Some(names), _) => names,
                (None, Some(names)) => names.clone(),
                (None, None) => targets.iter().map(|target| target.name.clone()).collect(),
            };
            // The names of JSON lines stand in each line; these are the table's, which are not renamed.
            mappings.push(match format {
                Format::Jsonl => mapping::map(file, &names, &ReadOptions::default(), targets)?,
                _ => mapping::map(file, &names, options, targets)?,
            });
        }
        let mapped: Vec<_> = files.iter().map(PathBuf::as_path).zip(&mappings).collect();
        let delivers = mapping::delivered(&mapped, targets)?;
        Ok(TextSource {
            files: files.to_vec(),
            format,
            builders: delivers.iter().map(|target| ColumnBuilder::new(&targets[*target])).collect(),
            mappings,
            targets: targets.to_vec(),
            delivers,
            options: options.clone(),
            current: None,
            files_opened: 0,
            places: Places::default(),
            file_rows: Vec::new(),
            rejects: options.rejects.as_deref().map(Rejects::new),
            bytes_read: Arc::default(),
            bytes_total,
        })
    }

    /// Which target each column of a batch is.
    pub fn delivers(&self) -> &[usize] {
        &self.delivers
    }

    /// Opens the next file past its header; false where there is none.
    fn open_next(&mut self) -> Result<bool> {
        if self.files_opened == self.files.len() {
            return Ok(false);
        }
        self.current = Some(self.rows_of(self.files_opened, self.bytes_read.clone())?);
        self.files_opened += 1;
        self.file_rows.push(self.places.rows());
        Ok(true)
    }

    fn rows_of(&self, file: usize, bytes_read: Arc<AtomicU64>) -> Result<Rows> {
        let (path, targets) = (&self.files[file], &self.targets);
        Ok(match self.format {
            Format::Csv => {
                let (mapping, delivers) = (&self.mappings[file], &self.delivers);
                let rows = CsvRows::open(path, &self.options, mapping, delivers, targets, bytes_read)?;
                Rows::Csv(Box::new(rows))
            }
            _ => {
                let rows = JsonRows::open(path, &self.options, &self.delivers, targets, bytes_read)?;
                Rows::Jsonl(Box::new(rows))
            }
        })
    }

    /// The error of a record of the current file.
    fn refused(&self, refusal: Refusal, line: u64) -> Error {
        let file = self.files[self.files_opened - 1].display().to_string();
        Error::Row {
            place: Some(Place { file, line }),
            column: refusal.builder.map(|builder| self.targets[self.delivers[builder]].name.clone()),
            value: refusal.value,
            reason: refusal.reason.into_owned(),
        }
    }

    /// Reads a file again, up to a row of it.
    fn find_again(&self, row: u64) -> Option<Place> {
        let file = self.file_rows.partition_point(|first| *first <= row) - 1;
        let mut rows = self.rows_of(file, Arc::default()).ok()?;
        for _ in 0..=row - self.file_rows[file] {
            rows.advance().ok().filter(|more| *more)?;
        }
        Some(Place { file: self.files[file].display().to_string(), line: rows.line() })
    }
}

impl RowSource for TextSource {
    fn next(&mut self) -> Result<Option<Batch>> {
        let (mut rows, mut bytes) = (0, 0);
        while rows < BATCH_ROWS && bytes < BATCH_BYTES {
            let Some(current) = &mut self.current else {
                if self.open_next()? {
                    continue;
                }
                break;
            };
            let taken = match current.advance() {
                Ok(false) => {
                    self.current = None;
                    continue;
                }
                Ok(true) => current.push(&mut self.builders).map_err(|refusal| (refusal, current.line())),
                Err(refused @ Error::Row { .. }) if self.rejects.is_some() => {
                    let Error::Row { reason, .. } = refused else { continue };
                    Err((Refusal::of_record(reason), current.line()))
                }
                Err(error) => return Err(error),
            };
            match taken {
                Ok(()) => {
                    bytes += current.raw().len();
                    self.places.push(self.files_opened - 1, current.line());
                    rows += 1;
                }
                Err((refusal, line)) => {
                    let error = self.refused(refusal, line);
                    let (Some(rejects), Some(current)) = (&mut self.rejects, &self.current) else {
                        return Err(error);
                    };
                    rejects.write(&error, current.raw())?;
                    self.builders.iter_mut().for_each(|builder| builder.truncate(rows));
                }
            }
        }
        if rows == 0 {
            if let Some(rejects) = &mut self.rejects {
                rejects.finish()?;
            }
            return Ok(None);
        }
        let columns: Vec<ColumnBatch> = self.builders.iter_mut().map(ColumnBuilder::finish).collect();
        Ok(Some(Batch { rows, columns }))
    }

    fn place(&self, row: u64) -> Option<Place> {
        match self.places.find(row) {
            Some((file, line)) => Some(Place { file: self.files[file].display().to_string(), line }),
            // Refused rows are not counted, so that a row cannot be found by counting again.
            None if row < self.places.rows() && self.skipped().unwrap_or(0) == 0 => self.find_again(row),
            None => None,
        }
    }

    fn progress(&self) -> (Option<u64>, f64) {
        let read = self.bytes_read.load(Ordering::Relaxed);
        (None, if self.bytes_total == 0 { 1.0 } else { (read as f64 / self.bytes_total as f64).min(1.0) })
    }

    fn skipped(&self) -> Option<u64> {
        self.rejects.as_ref().map(Rejects::rows)
    }
}
