//! Parquet files as a [`RowSource`].
//!
//! Row groups are decoded ahead by [`WORKERS`] threads, row group t by thread t mod [`WORKERS`], and delivered in order:
//!
//! ```text
//! thread 0: row group 0 ─┬─ queue 0 ─┐
//!           row group 2 ─┘           ├─ next(): group 0 from queue 0, group 1 from queue 1, group 2 from queue 0 …
//! thread 1: row group 1 ─┬─ queue 1 ─┘
//! ```
//!
//! Memory: a queue holds at most [`QUEUE_BYTES`] of batches (at least one batch, of about [`BATCH_BYTES`] at most), and
//! each thread one batch and one page of every column besides. A thread that finds its queue full waits.
//!
//! A string column of which every page has a dictionary is asked for as a dictionary, so its strings are never copied
//! row by row. Columns that the table does not take are not read.
//!
//! Where bad rows are skipped, a batch that has one is halved until each part is sound or a single bad row.

use super::arrow::{self, Refused};
use super::mapping::{self, Mapping};
use super::rejects::Rejects;
use super::{BATCH_ROWS, ReadOptions, Target, input_error};
use crate::batch::{Batch, Place, RowSource};
use crate::schema::DataType;
use crate::{Error, Result};
use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use ::parquet::basic::{Encoding, Type as PhysicalType};
use ::parquet::file::metadata::ParquetMetaData;
use arrow_array::RecordBatch;
use arrow_schema::{DataType as ArrowType, Field, Schema, SchemaRef, TimeUnit};
use crossbeam::channel::{Receiver, Sender, bounded};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Threads that decode.
const WORKERS: usize = 2;

/// Decoded bytes that may wait in one thread's queue.
const QUEUE_BYTES: usize = 128 << 20;

/// Batches that may wait in one thread's queue: a row group of a million rows.
const QUEUE_BATCHES: usize = 16;

/// A batch is cut below [`BATCH_ROWS`] where it would grow beyond this many bytes.
const BATCH_BYTES: usize = 64 << 20;

/// Reads Parquet files one after the other.
pub struct ParquetSource {
    plan: Arc<Plan>,
    delivers: Vec<usize>,
    rows_total: u64,
    rows_delivered: u64,
    /// The row group being delivered.
    group: usize,
    queues: Vec<Receiver<Message>>,
    threads: Vec<JoinHandle<()>>,
    rejects: Option<Rejects>,
    /// For each refused row how many rows were delivered before it.
    delivered_before: Vec<u64>,
}

struct Plan {
    files: Vec<PlannedFile>,
    groups: Vec<RowGroup>,
    /// The delivered columns.
    targets: Vec<Target>,
    batch_rows: usize,
    queue_batches: usize,
    skips_bad_rows: bool,
}

struct PlannedFile {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    projection: ProjectionMask,
    /// For each delivered column the column of the record batch; `None` where this file has none.
    columns: Vec<Option<usize>>,
}

struct RowGroup {
    file: usize,
    group_in_file: usize,
    first_row: u64,
    first_row_in_file: u64,
}

enum Message {
    Batch(Batch),
    /// A row that is skipped.
    Refused(Error),
    EndOfGroup,
    Failed(Error),
}

impl ParquetSource {
    /// Opens the files, reads their footers and maps their columns; see [`super::open_source`]. Threads start with the
    /// first batch.
    pub fn open(files: &[PathBuf], options: &ReadOptions, targets: &[Target]) -> Result<ParquetSource> {
        let mut opened = Vec::with_capacity(files.len());
        for path in files {
            let metadata = metadata(path, ArrowReaderOptions::new())?;
            let names: Vec<String> = metadata.schema().fields().iter().map(|f| f.name().clone()).collect();
            let mapping = mapping::map(path, &names, options, targets)?;
            check_types(path, metadata.schema(), &mapping, targets)?;
            opened.push((path, metadata, mapping));
        }
        let mappings: Vec<_> = opened.iter().map(|(path, _, mapping)| (path.as_path(), mapping)).collect();
        let delivers = mapping::delivered(&mappings, targets)?;
        let (mut planned, mut groups, mut rows_total, mut row_bytes) = (Vec::new(), Vec::new(), 0, 0);
        for (file, (path, metadata, mapping)) in opened.iter().enumerate() {
            let mut first_row_in_file = 0;
            for (group_in_file, group) in metadata.metadata().row_groups().iter().enumerate() {
                groups.push(RowGroup { file, group_in_file, first_row: rows_total, first_row_in_file });
                rows_total += group.num_rows() as u64;
                first_row_in_file += group.num_rows() as u64;
            }
            row_bytes = row_bytes.max(row_bytes_of(metadata, mapping, targets));
            planned.push(planned_file(path, metadata, mapping, &delivers, targets)?);
        }
        let batch_rows = (BATCH_BYTES / row_bytes.max(1)).clamp(1024, BATCH_ROWS);
        let plan = Plan {
            files: planned,
            groups,
            targets: delivers.iter().map(|target| targets[*target].clone()).collect(),
            batch_rows,
            skips_bad_rows: options.rejects.is_some(),
            queue_batches: (QUEUE_BYTES / (batch_rows * row_bytes).max(1)).clamp(1, QUEUE_BATCHES),
        };
        Ok(ParquetSource {
            plan: Arc::new(plan),
            delivers,
            rows_total,
            rows_delivered: 0,
            group: 0,
            queues: Vec::new(),
            threads: Vec::new(),
            rejects: options.rejects.as_deref().map(Rejects::new),
            delivered_before: Vec::new(),
        })
    }

    /// Which target each column of a batch is.
    pub fn delivers(&self) -> &[usize] {
        &self.delivers
    }

    fn start(&mut self) -> Result<()> {
        for worker in 0..WORKERS.min(self.plan.groups.len()) {
            let (sender, receiver) = bounded(self.plan.queue_batches);
            let plan = Arc::clone(&self.plan);
            let thread = std::thread::Builder::new()
                .name(format!("parquet-{worker}"))
                .spawn(move || decode(&plan, worker, &sender))
                .map_err(|error| Error::Invalid(format!("cannot start a thread to read Parquet: {error}")))?;
            self.queues.push(receiver);
            self.threads.push(thread);
        }
        Ok(())
    }
}

impl RowSource for ParquetSource {
    fn next(&mut self) -> Result<Option<Batch>> {
        if self.queues.is_empty() {
            self.start()?;
        }
        while let Some(group) = self.plan.groups.get(self.group) {
            match self.queues[self.group % self.queues.len()].recv() {
                Ok(Message::Batch(batch)) => {
                    self.rows_delivered += batch.rows as u64;
                    return Ok(Some(batch));
                }
                Ok(Message::Refused(error)) => match &mut self.rejects {
                    Some(rejects) => {
                        rejects.write(&error, &[])?;
                        self.delivered_before.push(self.rows_delivered);
                    }
                    None => return Err(error),
                },
                Ok(Message::EndOfGroup) => self.group += 1,
                Ok(Message::Failed(error)) => return Err(error),
                // A thread that ends without a word has panicked on bytes its library did not expect.
                Err(_) => {
                    let reason =
                        format!("decoding row group {} failed (is it damaged?)", group.group_in_file);
                    return Err(input_error(&self.plan.files[group.file].path, reason));
                }
            }
        }
        if let Some(rejects) = &mut self.rejects {
            rejects.finish()?;
        }
        Ok(None)
    }

    fn place(&self, row: u64) -> Option<Place> {
        let row = row + self.delivered_before.partition_point(|before| *before <= row) as u64;
        if row >= self.rows_total {
            return None;
        }
        let group = &self.plan.groups[self.plan.groups.partition_point(|group| group.first_row <= row) - 1];
        Some(self.plan.place(group, row - group.first_row))
    }

    fn progress(&self) -> (Option<u64>, f64) {
        let read = self.rows_delivered + self.delivered_before.len() as u64;
        let share = if self.rows_total == 0 { 1.0 } else { read as f64 / self.rows_total as f64 };
        (Some(self.rows_total), share)
    }

    fn skipped(&self) -> Option<u64> {
        self.rejects.as_ref().map(Rejects::rows)
    }
}

impl Drop for ParquetSource {
    fn drop(&mut self) {
        // Without receivers the threads stop at their next batch.
        self.queues.clear();
        for thread in self.threads.drain(..) {
            // A panic has already been reported by `next`.
            let _ = thread.join();
        }
    }
}

impl Plan {
    fn place(&self, group: &RowGroup, row_in_group: u64) -> Place {
        let file = self.files[group.file].path.display().to_string();
        Place { file, line: group.first_row_in_file + row_in_group + 1 }
    }

    /// Converts some rows: one batch, or the first bad row's error; or, where bad rows are skipped, batches and bad rows
    /// in their order.
    fn messages(
        &self,
        group: &RowGroup,
        first_row: u64,
        record_batch: &RecordBatch,
        messages: &mut Vec<Message>,
    ) -> Result<()> {
        match self.batch(group, first_row, record_batch) {
            Ok(batch) => messages.push(Message::Batch(batch)),
            Err(error @ Error::Row { .. }) if self.skips_bad_rows => {
                let rows = record_batch.num_rows();
                if rows == 1 {
                    messages.push(Message::Refused(error));
                    return Ok(());
                }
                let half = rows / 2;
                self.messages(group, first_row, &record_batch.slice(0, half), messages)?;
                let second = record_batch.slice(half, rows - half);
                self.messages(group, first_row + half as u64, &second, messages)?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn batch(&self, group: &RowGroup, first_row: u64, record_batch: &RecordBatch) -> Result<Batch> {
        let rows = record_batch.num_rows();
        let absent: arrow_array::ArrayRef = Arc::new(arrow_array::NullArray::new(rows));
        let column = |(target, column): (&Target, &Option<usize>)| {
            let array = column.map_or(&absent, |column| record_batch.column(column));
            arrow::convert(array, target).map_err(|Refused { row, value, reason }| Error::Row {
                place: Some(self.place(group, first_row + row as u64)),
                column: Some(target.name.clone()),
                value,
                reason: reason.into_owned(),
            })
        };
        let columns =
            self.targets.iter().zip(&self.files[group.file].columns).map(column).collect::<Result<_>>()?;
        Ok(Batch { rows, columns })
    }
}

/// One thread: its share of the row groups, in order.
fn decode(plan: &Plan, worker: usize, queue: &Sender<Message>) {
    for group in plan.groups.iter().skip(worker).step_by(WORKERS) {
        let end = match decode_group(plan, group, queue) {
            Ok(true) => Message::EndOfGroup,
            Ok(false) => return,
            Err(error) => Message::Failed(error),
        };
        let failed = matches!(end, Message::Failed(_));
        if queue.send(end).is_err() || failed {
            return;
        }
    }
}

/// False where nobody listens any more.
fn decode_group(plan: &Plan, group: &RowGroup, queue: &Sender<Message>) -> Result<bool> {
    let file = &plan.files[group.file];
    // Each thread opens the file for itself: clones of a handle would share its position.
    let handle = File::open(&file.path).map_err(|error| input_error(&file.path, error))?;
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(handle, file.metadata.clone())
        .with_projection(file.projection.clone())
        .with_row_groups(vec![group.group_in_file])
        .with_batch_size(plan.batch_rows)
        .build()
        .map_err(|error| input_error(&file.path, error))?;
    let mut first_row = 0;
    for record_batch in reader {
        let record_batch = record_batch.map_err(|error| {
            input_error(&file.path, format!("row group {} (is it damaged?): {error}", group.group_in_file))
        })?;
        let mut messages = Vec::with_capacity(1);
        plan.messages(group, first_row, &record_batch, &mut messages)?;
        first_row += record_batch.num_rows() as u64;
        for message in messages {
            if queue.send(message).is_err() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn metadata(path: &Path, options: ArrowReaderOptions) -> Result<ArrowReaderMetadata> {
    let file = File::open(path).map_err(|error| input_error(path, error))?;
    ArrowReaderMetadata::load(&file, options).map_err(|error| input_error(path, error))
}

/// The Arrow schema of a file.
pub(super) fn schema(path: &Path) -> Result<SchemaRef> {
    Ok(metadata(path, ArrowReaderOptions::new())?.schema().clone())
}

fn check_types(path: &Path, schema: &Schema, mapping: &Mapping, targets: &[Target]) -> Result<()> {
    for (field, target) in schema.fields().iter().zip(mapping) {
        let Some(target) = target.map(|target| &targets[target]) else { continue };
        if !arrow::is_readable(field.data_type(), target.data_type) {
            let (name, from, into) = (field.name(), field.data_type(), target.data_type);
            let reason = format!(
                "column {name:?} has the type {from}, which cannot be read as {into} (convert or skip it)"
            );
            return Err(input_error(path, reason));
        }
    }
    Ok(())
}

/// Reads the footer again, now asking for the types that are cheapest to convert.
fn planned_file(
    path: &Path,
    loaded: &ArrowReaderMetadata,
    mapping: &Mapping,
    delivers: &[usize],
    targets: &[Target],
) -> Result<PlannedFile> {
    let footer = loaded.metadata();
    let fields: Vec<Arc<Field>> = (loaded.schema().fields().iter().zip(mapping).enumerate())
        .map(|(root, (field, target))| match target {
            Some(target) => {
                let wanted = wanted_type(field.data_type(), targets[*target].data_type, footer, root);
                Arc::new(field.as_ref().clone().with_data_type(wanted))
            }
            None => Arc::clone(field),
        })
        .collect();
    let hints = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    let metadata =
        ArrowReaderMetadata::try_new(Arc::clone(footer), hints).map_err(|error| input_error(path, error))?;
    let roots: Vec<usize> = (0..mapping.len()).filter(|root| mapping[*root].is_some()).collect();
    let column = |target: &usize| roots.iter().position(|root| mapping[*root] == Some(*target));
    Ok(PlannedFile {
        path: path.to_owned(),
        columns: delivers.iter().map(column).collect(),
        projection: ProjectionMask::roots(footer.file_metadata().schema_descr(), roots.iter().copied()),
        metadata,
    })
}

fn wanted_type(arrow: &ArrowType, into: DataType, footer: &ParquetMetaData, root: usize) -> ArrowType {
    let string = |into: DataType| {
        if matches!(into, DataType::Text | DataType::TextArray) && is_dictionary_only(footer, root) {
            ArrowType::Dictionary(Box::new(ArrowType::Int32), Box::new(ArrowType::Utf8))
        } else {
            ArrowType::Utf8
        }
    };
    let item = |item: &Field| Arc::new(item.clone().with_data_type(string(DataType::TextArray)));
    match arrow {
        // An array written as text is parsed row by row.
        text if arrow::is_text(text) && into == DataType::TextArray => ArrowType::Utf8,
        text if arrow::is_text(text) => string(into),
        ArrowType::List(field) if arrow::is_text(field.data_type()) => ArrowType::List(item(field)),
        ArrowType::LargeList(field) if arrow::is_text(field.data_type()) => ArrowType::LargeList(item(field)),
        // INT96 counts nanoseconds within a day number; as nanoseconds since 1970 it would overflow in 2262.
        ArrowType::Timestamp(TimeUnit::Nanosecond, zone) if is_int96(footer, root) => {
            ArrowType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        other => other.clone(),
    }
}

/// The leaf columns of a root.
fn leaves(footer: &ParquetMetaData, root: usize) -> impl Iterator<Item = usize> {
    let schema = footer.file_metadata().schema_descr();
    (0..schema.num_columns()).filter(move |leaf| schema.get_column_root_idx(*leaf) == root)
}

fn is_int96(footer: &ParquetMetaData, root: usize) -> bool {
    let schema = footer.file_metadata().schema_descr();
    leaves(footer, root).any(|leaf| schema.column(leaf).physical_type() == PhysicalType::INT96)
}

/// True where every page of a column is coded by a dictionary: asking for one is then free, and else costs a hash per
/// value. Files without statistics of encodings are judged by size: codes are short.
fn is_dictionary_only(footer: &ParquetMetaData, root: usize) -> bool {
    footer.num_row_groups() > 0
        && leaves(footer, root).all(|leaf| {
            footer.row_groups().iter().map(|group| group.column(leaf)).all(|chunk| {
                match chunk.page_encoding_stats_mask() {
                    Some(mask) => {
                        mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY)
                    }
                    None => {
                        let codes_bytes_max = chunk.num_values().saturating_mul(4);
                        chunk.dictionary_page_offset().is_some()
                            && chunk.uncompressed_size() < codes_bytes_max
                    }
                }
            })
        })
}

/// About how many bytes a row of a batch takes.
fn row_bytes_of(metadata: &ArrowReaderMetadata, mapping: &Mapping, targets: &[Target]) -> usize {
    let footer = metadata.metadata();
    let schema = footer.file_metadata().schema_descr();
    let rows = footer.file_metadata().num_rows().max(1);
    let mut bytes = 0;
    for leaf in 0..schema.num_columns() {
        let Some(target) = mapping.get(schema.get_column_root_idx(leaf)).copied().flatten() else { continue };
        bytes += match targets[target].data_type {
            DataType::Boolean => 2,
            DataType::Text | DataType::TextArray => {
                let stored: i64 =
                    footer.row_groups().iter().map(|g| g.column(leaf).uncompressed_size()).sum();
                8 + usize::try_from(stored / rows).unwrap_or(0)
            }
            _ => 9,
        };
    }
    bytes
}
