//! CSV files as a [`RowSource`].
//!
//! Fields are parsed straight into columns by [`Value::parse`](crate::Value::parse)'s rules. An unquoted field equal to
//! the NULL text (by default an empty one) is NULL; quoted, it is a value. The first bad row stops the source.
//!
//! Where rows came from is kept as stretches of records on consecutive lines: one stretch for most files, one for each
//! record after quoted newlines. Beyond [`STRETCHES_MAX`] of them the file is read again to answer.

use super::column::ColumnBuilder;
use super::mapping::{self, Mapping};
use super::records::Records;
use super::{BATCH_ROWS, ReadOptions, Target, input};
use crate::batch::{Batch, ColumnBatch, Place, RowSource};
use crate::value::shortened;
use crate::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Text of a batch, in bytes: rows of long texts make shorter batches.
const BATCH_BYTES: usize = 64 << 20;

/// Stretches remembered, 24 bytes each.
const STRETCHES_MAX: usize = 1 << 20;

/// Reads CSV files one after the other. Holds one batch and a read buffer.
pub struct CsvSource {
    files: Vec<PathBuf>,
    mappings: Vec<Mapping>,
    targets: Vec<Target>,
    delivers: Vec<usize>,
    options: ReadOptions,
    builders: Vec<ColumnBuilder>,
    /// The file being read, and for each of its fields the builder it feeds; builders no field feeds get NULLs.
    current: Option<Current>,
    files_opened: usize,
    rows: u64,
    stretches: Vec<Stretch>,
    /// The first row of each file opened so far.
    file_rows: Vec<u64>,
    bytes_read: Arc<AtomicU64>,
    bytes_total: u64,
}

struct Current {
    records: Records,
    field_builders: Vec<Option<usize>>,
    absent_builders: Vec<usize>,
}

/// Rows from `row` on stand on the lines from `line` on, one each.
struct Stretch {
    row: u64,
    file: usize,
    line: u64,
}

impl CsvSource {
    /// Opens the files, reads their headers and maps their columns; see [`super::open_source`].
    pub fn open(files: &[PathBuf], options: &ReadOptions, targets: &[Target]) -> Result<CsvSource> {
        let mut mappings = Vec::with_capacity(files.len());
        let mut bytes_total = 0;
        for file in files {
            bytes_total += file.metadata().map_err(|error| input(file, error))?.len();
            let names = match (header(file, options)?, &options.columns) {
                (Some(names), _) => names,
                (None, Some(names)) => names.clone(),
                (None, None) => targets.iter().map(|target| target.name.clone()).collect(),
            };
            mappings.push(mapping::map(file, &names, options, targets)?);
        }
        let mapped: Vec<_> = files.iter().map(PathBuf::as_path).zip(&mappings).collect();
        let delivers = mapping::delivered(&mapped, targets)?;
        Ok(CsvSource {
            files: files.to_vec(),
            builders: delivers.iter().map(|target| ColumnBuilder::new(&targets[*target])).collect(),
            mappings,
            targets: targets.to_vec(),
            delivers,
            options: options.clone(),
            current: None,
            files_opened: 0,
            rows: 0,
            stretches: Vec::new(),
            file_rows: Vec::new(),
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
        let Some(path) = self.files.get(self.files_opened) else { return Ok(false) };
        let mut records = Records::open(path, self.options.delimiter, self.bytes_read.clone())?;
        if self.options.header {
            records.advance()?;
        }
        let mapping = &self.mappings[self.files_opened];
        let builder_of = |target: &usize| self.delivers.iter().position(|delivered| delivered == target);
        let field_builders = mapping.iter().map(|target| target.as_ref().and_then(builder_of)).collect();
        let absent_builders =
            (0..self.delivers.len()).filter(|i| !mapping.contains(&Some(self.delivers[*i]))).collect();
        self.current = Some(Current { records, field_builders, absent_builders });
        self.files_opened += 1;
        self.file_rows.push(self.rows);
        Ok(true)
    }

    /// Takes in the next record of the current file; false at its end.
    fn take_record(&mut self) -> Result<bool> {
        let Some(current) = &mut self.current else { return Ok(false) };
        let records = &mut current.records;
        if !records.advance()? {
            self.current = None;
            return Ok(false);
        }
        if records.len() != current.field_builders.len() {
            let expected = current.field_builders.len();
            let than = if self.options.header { "the header" } else { "the table" };
            let plural = if records.len() == 1 { "" } else { "s" };
            return Err(
                records.refused(&format!("{} field{plural}, but {than} has {expected}", records.len()))
            );
        }
        for (field, builder) in current.field_builders.iter().enumerate() {
            let Some(builder) = *builder else { continue };
            let null = records.field(field) == self.options.null.as_bytes() && !records.is_quoted(field);
            let column = &mut self.builders[builder];
            let pushed = if null { column.push_null() } else { column.push(records.field(field)) };
            pushed.map_err(|reason| Error::Row {
                place: Some(records.place()),
                column: Some(self.targets[self.delivers[builder]].name.clone()),
                value: (!null).then(|| shortened(records.field(field))),
                reason: reason.into_owned(),
            })?;
        }
        for builder in &current.absent_builders {
            // The mapping has already refused files that lack a column that must not be NULL.
            self.builders[*builder].push_null().map_err(|reason| records.refused(&reason))?;
        }
        let line = records.line();
        let follows = self.stretches.last().is_some_and(|stretch| {
            stretch.file + 1 == self.files_opened && stretch.line + (self.rows - stretch.row) == line
        });
        if !follows && self.stretches.len() < STRETCHES_MAX {
            self.stretches.push(Stretch { row: self.rows, file: self.files_opened - 1, line });
        }
        self.rows += 1;
        Ok(true)
    }

    /// Reads a file again, up to a row of it.
    fn find_again(&self, file: usize, row_in_file: u64) -> Option<Place> {
        let mut records = Records::open(&self.files[file], self.options.delimiter, Arc::default()).ok()?;
        for _ in 0..=row_in_file + u64::from(self.options.header) {
            records.advance().ok().filter(|more| *more)?;
        }
        Some(records.place())
    }
}

impl RowSource for CsvSource {
    fn next(&mut self) -> Result<Option<Batch>> {
        let (mut rows, mut bytes) = (0, 0);
        while rows < BATCH_ROWS && bytes < BATCH_BYTES {
            if self.take_record()? {
                rows += 1;
                bytes += self.current.as_ref().map_or(0, |current| current.records.raw().len());
            } else if !self.open_next()? {
                break;
            }
        }
        if rows == 0 {
            return Ok(None);
        }
        let columns: Vec<ColumnBatch> = self.builders.iter_mut().map(ColumnBuilder::finish).collect();
        Ok(Some(Batch { rows, columns }))
    }

    fn place(&self, row: u64) -> Option<Place> {
        if row >= self.rows {
            return None;
        }
        if self.stretches.len() == STRETCHES_MAX {
            let file = self.file_rows.partition_point(|first| *first <= row) - 1;
            return self.find_again(file, row - self.file_rows[file]);
        }
        let stretch = &self.stretches[self.stretches.partition_point(|stretch| stretch.row <= row) - 1];
        Some(Place {
            file: self.files[stretch.file].display().to_string(),
            line: stretch.line + (row - stretch.row),
        })
    }

    fn progress(&self) -> (Option<u64>, f64) {
        let read = self.bytes_read.load(Ordering::Relaxed);
        (None, if self.bytes_total == 0 { 1.0 } else { (read as f64 / self.bytes_total as f64).min(1.0) })
    }
}

/// The names in a file's header, or those stated in its place; `None` without a header.
pub(super) fn header(file: &std::path::Path, options: &ReadOptions) -> Result<Option<Vec<String>>> {
    if !options.header {
        return Ok(None);
    }
    let mut records = Records::open(file, options.delimiter, Arc::default())?;
    if !records.advance()? {
        return Err(input(file, "it is empty, without even a header"));
    }
    let mut names = Vec::with_capacity(records.len());
    for i in 0..records.len() {
        let name = std::str::from_utf8(records.field(i))
            .map_err(|_| input(file, format!("name {} of its header is not valid UTF-8", i + 1)))?;
        names.push(name.to_owned());
    }
    match &options.columns {
        Some(stated) if stated.len() != names.len() => Err(input(
            file,
            format!("its header has {} columns, but {} names are stated", names.len(), stated.len()),
        )),
        Some(stated) => Ok(Some(stated.clone())),
        None => Ok(Some(names)),
    }
}
