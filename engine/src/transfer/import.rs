//! Rows in: batches are cut into chunks, each column of a chunk encoded on its own, sections appended to parts.
//!
//! ```text
//! source thread: RowSource ─ Rechunker ─┬─ bounded channel ─ columns in parallel ─ sections ─ part of 64 chunks ─ sync
//!                                       └─ (at most CHUNKS_AHEAD chunks wait; the source blocks)
//! then: dictionaries ─ rows that belong to somebody in the order of their owners ([`super::cluster`]) ─ key index
//! (duplicates refused) ─ the caller commits everything under one LSN
//! ```
//!
//! Rows that belong to somebody wait for their order in memory ([`super::held`]), or where that is too much in loose parts.
//!
//! Until that commit nothing names the new files: a failure, Ctrl-C or a crash leaves the database as it was.

use super::cluster;
use super::held::{Held, Taken};
use super::near::Near;
use super::order::{self, Loose, Order, Sorter};
use super::rechunk::{Rechunker, text_of};
use crate::batch::{Batch, ColumnValues, Place, RowSource};
use crate::catalog::TableRecord;
use crate::control::{Cancel, OnProgress, Progress};
use crate::database::open_table;
use crate::index::encode::{ColumnEncoder, EncodedSection, set_section, words_of};
use crate::member::{Key, KeyCollector, KeyLayout};
use crate::schema::{Column, ColumnId, DataType, KEY_BYTES_MAX, Owner, TableId, TableSchema};
use crate::table::TableState;
use crate::{Error, Result};
use crossbeam::channel::bounded;
use muster_storage::format::{CHUNK_MEMBERS, RANGE_CHUNKS, SectionKind};
use muster_storage::manifest::{PartId, PartRef, PartRole, part_file_name};
use muster_storage::part::{FinishedPart, PartWriter};
use muster_storage::store::Store;
use rayon::prelude::*;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Chunks that may wait between the source and the encoders; more would only hold memory.
const CHUNKS_AHEAD: usize = 2;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// The most rows a table can have: ordinals are 32 bits.
const ROWS_MAX: u64 = 1 << 32;

/// Parts written, not yet named by any manifest.
pub struct Imported {
    /// The new parts.
    pub parts: Vec<PartRef>,
    /// The table with its new row count.
    pub record: TableRecord,
    /// Rows that belong to nobody, of a table that belongs to another one.
    pub nobodys: u64,
}

/// Imports all rows of a source into a table without rows. `columns[i]` is the table's column of the source's column i.
///
/// Rows that belong to those of `owners` are put in their order. On an error the parts already written are discarded.
pub fn import(
    store: &Store,
    schema: &TableSchema,
    owners: Option<&TableState>,
    columns: &[ColumnId],
    source: &mut dyn RowSource,
    cancel: &Cancel,
    progress: OnProgress<'_>,
) -> Result<Imported> {
    let mut allocated = Vec::new();
    let result = Import::new(store, schema, owners, columns, cancel, &mut allocated).run(source, progress);
    if result.is_err() {
        for part in allocated {
            // What cannot be removed now is removed when the database is next opened.
            let _ = store.discard_part(part);
        }
    }
    result
}

/// Writes the rows of a table anew, in the order of owners who were not there when it was imported: they get other ordinals. The
/// caller commits the parts in the place of those that the table has, but for its dictionaries.
///
/// No row may have been changed or have gone. On an error the parts already written are discarded.
pub(crate) fn cluster_again(
    store: &Store,
    table: &TableState,
    record: &TableRecord,
    owners: &TableState,
    cancel: &Cancel,
    progress: OnProgress<'_>,
) -> Result<Imported> {
    let mut allocated = Vec::new();
    let import = Import::new(store, &record.schema, Some(owners), &[], cancel, &mut allocated);
    let result = import.again(table, record, progress);
    if result.is_err() {
        for part in allocated {
            // What cannot be removed now is removed when the database is next opened.
            let _ = store.discard_part(part);
        }
    }
    result
}

struct Import<'a> {
    store: &'a Store,
    schema: &'a TableSchema,
    owners: Option<&'a TableState>,
    /// Per column of the table: which column of the source.
    sources: Vec<Option<usize>>,
    cancel: &'a Cancel,
    allocated: &'a mut Vec<PartId>,
    encoders: Vec<ColumnEncoder>,
    keys: KeyCollector,
    rows: u64,
    /// Rows whose order is not known yet, while they are held in memory.
    held: Option<Held>,
}

/// Makes the sections of a chunk, column by column, when they are to be written.
type Made = Box<dyn FnOnce(&[ColumnEncoder], &TableSchema) -> Vec<Vec<EncodedSection>>>;

struct OpenPart {
    id: PartId,
    range: u32,
    writer: PartWriter,
}

impl<'a> Import<'a> {
    fn new(
        store: &'a Store,
        schema: &'a TableSchema,
        owners: Option<&'a TableState>,
        columns: &[ColumnId],
        cancel: &'a Cancel,
        allocated: &'a mut Vec<PartId>,
    ) -> Import<'a> {
        let sources = schema.columns.iter().map(|c| columns.iter().position(|id| *id == c.id)).collect();
        let encoders = schema
            .columns
            .iter()
            .map(|c| ColumnEncoder::new(c.data_type, schema.key == Some(c.id), schema.is_indexed(c.id)))
            .collect();
        let keys = KeyCollector::default();
        let held = (schema.owner.is_some() && owners.is_some() && Held::takes(schema)).then(Held::default);
        Import { store, schema, owners, sources, cancel, allocated, encoders, keys, rows: 0, held }
    }

    fn run(mut self, source: &mut dyn RowSource, progress: OnProgress<'_>) -> Result<Imported> {
        let mut parts = self.rows_to_parts(source, progress)?;
        let mut record = TableRecord::imported(self.schema.clone(), self.rows, KeyLayout::None);
        let entries: Vec<usize> = self.encoders.iter().map(ColumnEncoder::entries).collect();
        let dictionaries = self.write_dictionaries()?;
        let mut order = None;
        if let (Some(owner), Some(owners), 1..) = (&self.schema.owner, self.owners, self.rows) {
            (parts, order) = self
                .clustered(owner, owners, (parts, &entries), dictionaries.as_ref(), progress)
                .map(|(p, o)| (p, Some(o)))?;
            record.schema.owner = Some(Owner { known: owners.extent().ordinals as u32, ..*owner });
        }
        if let Some(key) = self.schema.key {
            record.keys = self.keys.layout();
            progress(Progress { rows: self.rows, rows_total: Some(self.rows), share: 1.0, phase: "keys" });
            if record.keys == KeyLayout::Hashed {
                let place =
                    |row: u32| source.place(u64::from(order.as_ref().map_or(row, |order| order.came(row))));
                let skips = source.skipped().is_some();
                parts.push(self.write_keys(key, &parts, &record, &place, skips)?);
            }
        }
        progress(Progress { rows: self.rows, rows_total: Some(self.rows), share: 1.0, phase: "sync" });
        parts.extend(dictionaries);
        self.cancel.check()?;
        let nobodys = order.map_or(0, |order| order.nobodys());
        Ok(Imported { parts, record, nobodys })
    }

    /// A table whose rows are where they came, in the order of their owners, in new parts.
    fn again(
        mut self,
        table: &TableState,
        before: &TableRecord,
        progress: OnProgress<'_>,
    ) -> Result<Imported> {
        let (Some(owner), Some(owners)) = (self.schema.owner, self.owners) else {
            return Err(Error::Invalid(format!("the rows of \"{}\" are nobody's", self.schema.name)));
        };
        self.rows = table.rows();
        let entries = self.schema.columns.iter().map(|column| match table.dictionary(column.id) {
            Some(dictionary) => Ok(dictionary.view()?.len()),
            None => Ok(0),
        });
        let entries = entries.collect::<Result<Vec<usize>>>()?;
        let (mut parts, order) = self.in_order(table, None, &entries, &owner, owners, progress)?;
        let mut schema = before.schema.clone();
        schema.owner = Some(Owner { known: owners.extent().ordinals as u32, ..owner });
        schema.ordinal_epoch += 1;
        let mut record = TableRecord::imported(schema, self.rows, KeyLayout::None);
        if let Some(key) = self.schema.key {
            record.keys = self.keys.layout();
            if record.keys == KeyLayout::Hashed {
                parts.push(self.write_keys(key, &parts, &record, &|_| None, false)?);
            }
        }
        self.cancel.check()?;
        Ok(Imported { parts, record, nobodys: order.nobodys() })
    }

    /// The rows of parts in the order of their owners, in new parts; the old ones go.
    fn clustered(
        &mut self,
        owner: &Owner,
        owners: &TableState,
        (parts, entries): (Vec<PartRef>, &[usize]),
        dictionaries: Option<&PartRef>,
        progress: OnProgress<'_>,
    ) -> Result<(Vec<PartRef>, Order)> {
        let record = TableRecord::imported(self.schema.clone(), self.rows, KeyLayout::None);
        let all: Vec<PartRef> = parts.iter().chain(dictionaries).cloned().collect();
        let table = open_table(self.store, &record, &all, &HashMap::new())?;
        let held = self.held.take();
        let ordered = self.in_order(&table, held, entries, owner, owners, progress)?;
        drop(table);
        for part in parts {
            // What cannot be removed now is removed when the database is next opened.
            let _ = self.store.discard_part(part.id);
        }
        Ok(ordered)
    }

    /// Writes the rows of a table in the order of their owners, and what is kept of these. Where rows are held it has none itself.
    fn in_order(
        &mut self,
        table: &TableState,
        held: Option<Held>,
        entries: &[usize],
        owner: &Owner,
        owners: &TableState,
        progress: OnProgress<'_>,
    ) -> Result<(Vec<PartRef>, Order)> {
        let (rows, schema) = (self.rows, self.schema);
        let tell = |share: f64| Progress { rows, rows_total: Some(rows), share, phase: "owners" };
        progress(tell(0.0));
        let whose = order::whose(table, held.as_ref(), owner, owners, self.cancel)?;
        let near = held.map(|held| Near::of(held, &whose, self.cancel)).transpose()?;
        let loose = near.as_ref().map_or(Loose::Parts(table), |near| Loose::Near(near, schema));
        let (mut order, sorter) = (Order::new(loose, whose), Sorter::new(loose, owner)?);
        let mut keys = KeyCollector::default();
        let ordered = std::thread::scope(|scope| {
            // Parts are made durable beside the work on the next.
            let mut finishing = Vec::new();
            let columns: Vec<u32> =
                std::iter::once(ColumnId::LIVE.0).chain(self.schema.columns.iter().map(|c| c.id.0)).collect();
            let mut clustered = cluster::Clustered::new(schema, loose, entries, owner)?;
            let chunks = order.rows.len().div_ceil(CHUNK_MEMBERS);
            for first in (0..chunks).step_by(RANGE_CHUNKS) {
                let range = (first / RANGE_CHUNKS) as u32;
                let (mut part, mut ordinals) = (self.open_part(range)?, self.open_part(range)?);
                let here = first..chunks.min(first + RANGE_CHUNKS);
                order.reach(here.end * CHUNK_MEMBERS, &sorter, self.cancel)?;
                clustered.write(
                    &order,
                    here,
                    &mut part.writer,
                    &mut ordinals.writer,
                    &mut keys,
                    self.cancel,
                )?;
                progress(tell(first as f64 / chunks as f64));
                for (part, columns) in [(part, columns.clone()), (ordinals, vec![owner.ordinals.0])] {
                    let table = self.schema.id;
                    finishing.push(scope.spawn(move || finished(part, PartRole::Base, table, columns)));
                }
            }
            let summaries = cluster::Summaries::new(table, loose, owner, owners, &order)?;
            for first in (0..summaries.chunks()).step_by(RANGE_CHUNKS) {
                self.cancel.check()?;
                let mut part = self.open_part((first / RANGE_CHUNKS) as u32)?;
                summaries.write(first..summaries.chunks().min(first + RANGE_CHUNKS), &mut part.writer)?;
                let (table, columns) = (self.schema.id, summaries.columns());
                finishing.push(scope.spawn(move || finished(part, PartRole::Base, table, columns)));
            }
            finishing.into_iter().map(|handle| join(handle.join())?).collect::<Result<Vec<_>>>()
        })?;
        self.keys = keys;
        Ok((ordered, order))
    }

    /// The main pass: every row into base parts.
    fn rows_to_parts(
        &mut self,
        source: &mut dyn RowSource,
        progress: OnProgress<'_>,
    ) -> Result<Vec<PartRef>> {
        let (send, receive) = bounded::<Result<(Batch, Option<u64>, f64)>>(CHUNKS_AHEAD);
        let mut refused = None;
        let parts = std::thread::scope(|scope| {
            let producer = scope.spawn(|| {
                let (send, mut chunks) = (send, Rechunker::default());
                loop {
                    let next = source.next();
                    let end = matches!(next, Ok(None) | Err(_));
                    let (total, share) = source.progress();
                    let ready = match next {
                        Ok(batch) => chunks.take(batch),
                        Err(error) => {
                            let _ = send.send(Err(error));
                            break;
                        }
                    };
                    for chunk in ready {
                        // A closed channel means that the importer gave up.
                        if send.send(Ok((chunk, total, share))).is_err() {
                            return;
                        }
                    }
                    if end {
                        break;
                    }
                }
            });
            let mut finishing = Vec::new();
            let result = (|| {
                let (mut open, mut chunk, mut told) = (None, 0u32, Instant::now());
                for received in &receive {
                    let (batch, rows_total, share) = received?;
                    self.cancel.check()?;
                    if self.rows + batch.rows as u64 > ROWS_MAX {
                        return Err(Error::Invalid(format!("a table holds at most {ROWS_MAX} rows")));
                    }
                    if let Err(row) = self.check(&batch) {
                        refused = Some(row);
                        return Err(Error::Cancelled);
                    }
                    for (rows, sections) in self.loose_sections(&batch)? {
                        let mut part = match open.take() {
                            Some(part) => part,
                            None => self.open_part(chunk / RANGE_CHUNKS as u32)?,
                        };
                        let sections = sections(&self.encoders, self.schema);
                        self.append_chunk(
                            &mut part.writer,
                            (chunk as usize % RANGE_CHUNKS) as u16,
                            rows,
                            sections,
                        )?;
                        chunk += 1;
                        if (chunk as usize).is_multiple_of(RANGE_CHUNKS) {
                            finishing.push(self.finish_part(scope, part));
                        } else {
                            open = Some(part);
                        }
                    }
                    self.rows += batch.rows as u64;
                    if told.elapsed() > PROGRESS_EVERY {
                        told = Instant::now();
                        progress(Progress { rows: self.rows, rows_total, share, phase: "rows" });
                    }
                }
                finishing.extend(open.map(|part| self.finish_part(scope, part)));
                Ok(())
            })();
            drop(receive);
            let parts = finishing.into_iter().map(|handle| join(handle.join())?).collect::<Result<Vec<_>>>();
            join(producer.join())?;
            result.and(parts)
        });
        match refused {
            Some(row) => Err(row.into_error(source)),
            None => parts,
        }
    }

    fn open_part(&mut self, range: u32) -> Result<OpenPart> {
        let id = self.store.allocate_part()?;
        self.allocated.push(id);
        let database = self.store.manifest().database_id;
        let name = part_file_name(id);
        let writer = PartWriter::create(&**self.store.disk(), &name, database, id.0, self.schema.id.0)?;
        Ok(OpenPart { id, range, writer })
    }

    /// Syncs a part beside the work on the next; one whose rows are yet to be put in order goes without.
    fn finish_part<'scope>(
        &self,
        scope: &'scope std::thread::Scope<'scope, '_>,
        part: OpenPart,
    ) -> std::thread::ScopedJoinHandle<'scope, Result<PartRef>> {
        let columns =
            std::iter::once(ColumnId::LIVE.0).chain(self.schema.columns.iter().map(|c| c.id.0)).collect();
        let (table, id, range) = (self.schema.id.0, part.id, part.range);
        let passing = self.schema.owner.is_some() && self.owners.is_some();
        scope.spawn(move || {
            let FinishedPart { bytes, toc_checksum } =
                if passing { part.writer.finish_passing()? } else { part.writer.finish()? };
            Ok(PartRef { id, role: PartRole::Base, table, range, columns, bytes, toc_checksum })
        })
    }

    /// Looks for NULLs and keys that may not be.
    fn check(&self, batch: &Batch) -> std::result::Result<(), RefusedRow> {
        for (column, source) in self.schema.columns.iter().zip(&self.sources) {
            let is_key = self.schema.key == Some(column.id);
            let refuse = |row: usize, reason: String| {
                Err(RefusedRow {
                    row: self.rows + row as u64,
                    column: column.name.clone(),
                    value: None,
                    reason,
                })
            };
            let Some(values) = source.map(|s| &batch.columns[s]) else {
                if batch.rows > 0 && (is_key || !column.nullable) {
                    return refuse(0, "the input has no such column, and it may not be NULL".into());
                }
                continue;
            };
            if (is_key || !column.nullable)
                && let Some(row) = values.nulls.as_ref().and_then(|nulls| nulls.iter().position(|null| *null))
            {
                let what = if is_key { "a key" } else { "this column" };
                return refuse(row, format!("{what} may not be NULL"));
            }
            if is_key && column.data_type == DataType::Text {
                let too_long =
                    (0..batch.rows).find(|row| text_of(&values.values, *row).len() > KEY_BYTES_MAX);
                if let Some(row) = too_long {
                    return refuse(row, format!("a key is at most {KEY_BYTES_MAX} bytes long"));
                }
            }
        }
        Ok(())
    }

    /// The chunks that are to be written now: none while rows are held; all that were held and these when that ends.
    fn loose_sections(&mut self, batch: &Batch) -> Result<Vec<(usize, Made)>> {
        let Some(mut held) = self.held.take() else {
            let sections = self.encoded(batch);
            return Ok(vec![(batch.rows, Box::new(|_, _| sections))]);
        };
        let this = held.take(batch, &self.schema.columns, &self.sources, &mut self.encoders);
        if this.is_none() && !held.is_full() {
            self.held = Some(held);
            return Ok(Vec::new());
        }
        let before = held.into_chunks().map(|columns| columns.into_iter().map(Taken::Held).collect());
        let chunks = before.chain(this).map(|columns: Vec<Taken>| {
            let rows = columns.iter().find_map(Taken::rows).unwrap_or(batch.rows);
            let made: Made = Box::new(|encoders: &[ColumnEncoder], schema: &TableSchema| {
                let each = columns.into_par_iter().zip(encoders).zip(&schema.columns).with_max_len(1);
                each.map(|((taken, encoder), column)| taken.sections(column.data_type, encoder.entries()))
                    .collect()
            });
            (rows, made)
        });
        Ok(chunks.collect())
    }

    /// Encodes a chunk of rows that are where they are to be, or go to loose parts.
    fn encoded(&mut self, batch: &Batch) -> Vec<Vec<EncodedSection>> {
        // Of rows that are yet to be put in order they are taken then.
        let key = self.schema.key.filter(|_| self.schema.owner.is_none());
        let key = key.and_then(|key| self.schema.columns.iter().position(|c| c.id == key));
        let key_values = key.and_then(|key| self.sources[key]).map(|source| &batch.columns[source].values);
        let (keys, encoders, sources, columns) =
            (&mut self.keys, &mut self.encoders, &self.sources, &self.schema.columns);
        let (sections, ()) = rayon::join(
            || {
                encoders
                    .par_iter_mut()
                    .zip(sources)
                    .zip(columns)
                    .with_max_len(1)
                    .map(|((encoder, source), column)| match source {
                        Some(source) => {
                            let values = &batch.columns[*source];
                            encoder.encode(&values.values, values.nulls.as_deref())
                        }
                        None => encode_absent(encoder, column, batch.rows),
                    })
                    .collect::<Vec<_>>()
            },
            || {
                if let Some(values) = key_values {
                    collect_keys(keys, values, batch.rows);
                }
            },
        );
        sections
    }

    fn append_chunk(
        &self,
        part: &mut PartWriter,
        chunk: u16,
        rows: usize,
        sections: Vec<Vec<EncodedSection>>,
    ) -> Result<()> {
        let live = set_section(SectionKind::Sets, &words_of((0..rows).map(|_| true)));
        append(part, ColumnId::LIVE, chunk, live)?;
        for (column, sections) in self.schema.columns.iter().zip(sections) {
            append(part, column.id, chunk, sections)?;
        }
        Ok(())
    }

    fn write_keys(
        &mut self,
        key: ColumnId,
        parts: &[PartRef],
        record: &TableRecord,
        place: &dyn Fn(u32) -> Option<Place>,
        skips: bool,
    ) -> Result<PartRef> {
        // Equal hashes are settled by the keys as stored, read back from the parts just written.
        let unindexed = TableRecord { keys: KeyLayout::None, ..record.clone() };
        let table = open_table(self.store, &unindexed, parts, &HashMap::new())?;
        let mut keys = std::mem::take(&mut self.keys);
        if let Some(duplicate) = keys.sort(&table, key)? {
            let reader = table.reader(key)?;
            let value = crate::exec::value_at(&reader, None, duplicate.second)?;
            let first = match place(duplicate.first) {
                Some(place) => format!("{}, line {}", place.file, place.line),
                None => format!("row {}", u64::from(duplicate.first) + 1),
            };
            // Repeated keys are found when all rows are written, too late to leave one out.
            let even_so = if skips { ", and a repeated one cannot be skipped" } else { "" };
            return Err(Error::Row {
                place: place(duplicate.second),
                column: self.schema.column(key).map(|c| c.name.clone()),
                value: Some(value.to_string()),
                reason: format!("this key was already given by {first}; keys are unique{even_so}"),
            });
        }
        self.cancel.check()?;
        let mut part = self.open_part(0)?;
        keys.write(key, &mut part.writer)?;
        self.small_part(part, PartRole::KeyIndex, vec![key.0])
    }

    fn write_dictionaries(&mut self) -> Result<Option<PartRef>> {
        let encoders = std::mem::take(&mut self.encoders);
        let with: Vec<_> = (self.schema.columns.iter().zip(&encoders))
            .filter_map(|(column, encoder)| Some((column.id, encoder.dictionary()?)))
            .collect();
        if with.is_empty() {
            return Ok(None);
        }
        let mut part = self.open_part(0)?;
        for (column, dictionary) in &with {
            dictionary.write(column.0, &mut part.writer)?;
        }
        self.small_part(part, PartRole::Dictionary, with.iter().map(|(column, _)| column.0).collect())
            .map(Some)
    }

    fn small_part(&self, part: OpenPart, role: PartRole, columns: Vec<u32>) -> Result<PartRef> {
        finished(part, role, self.schema.id, columns)
    }
}

fn finished(part: OpenPart, role: PartRole, table: TableId, columns: Vec<u32>) -> Result<PartRef> {
    let FinishedPart { bytes, toc_checksum } = part.writer.finish()?;
    Ok(PartRef { id: part.id, role, table: table.0, range: part.range, columns, bytes, toc_checksum })
}

fn join<T>(joined: std::thread::Result<T>) -> Result<T> {
    // A panic of a thread is a bug; it goes on in the importing thread.
    Ok(joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

struct RefusedRow {
    row: u64,
    column: String,
    value: Option<String>,
    reason: String,
}

impl RefusedRow {
    fn into_error(self, source: &dyn RowSource) -> Error {
        let place = source.place(self.row);
        Error::Row { place, column: Some(self.column), value: self.value, reason: self.reason }
    }
}

pub(super) fn append(
    part: &mut PartWriter,
    column: ColumnId,
    chunk: u16,
    sections: impl IntoIterator<Item = EncodedSection>,
) -> Result<()> {
    for section in sections {
        part.append(column.0, section.kind, chunk, &section.bytes, section.stats)?;
    }
    Ok(())
}

/// A column that the source does not deliver is NULL throughout.
fn encode_absent(encoder: &mut ColumnEncoder, column: &Column, rows: usize) -> Vec<EncodedSection> {
    let row = [crate::value::Value::Null];
    let rows_of_null = std::iter::repeat_n(row.to_vec(), rows).collect::<Vec<_>>();
    let batch = crate::batch::batch_of_values(&[column.data_type], &rows_of_null);
    encoder.encode(&batch.columns[0].values, batch.columns[0].nulls.as_deref())
}

fn collect_keys(keys: &mut KeyCollector, values: &ColumnValues, rows: usize) {
    match values {
        ColumnValues::Code(codes) => codes.iter().for_each(|code| keys.push(Key::Integer(*code))),
        values => (0..rows).for_each(|row| keys.push(Key::Text(text_of(values, row)))),
    }
}
