//! A checkpoint: what changed in memory becomes parts, beside readers and writers.
//!
//! ```text
//! freeze  (writer, an instant)  the newest layers of all tables are closed, new ones begun: everything up to LSN L
//! write   (nobody waits)        patch parts of the closed layers, range by range; where patches outgrow their base, the
//!                               range anew as a base part (`fold.rs`)
//! switch  (writer, one commit)  the manifest names them, checkpoint = L; the closed layers go
//! ```
//!
//! A patch part takes those patch parts of its range in that are not much larger than itself, as digits carry in a binary
//! counter: a change is written again a logarithmic number of times, and a reader meets as many patches.

use super::{Database, State};
use crate::catalog::Catalog;
use crate::control::Cancel;
use crate::delta::{CellRef, Layer, NO_CODES, Patch, PatchRef, TEXTS};
use crate::schema::{ColumnId, TableId, TableSchema};
use crate::table::{Extent, TableState};
use crate::{Error, Result};
use muster_storage::format::{RANGE_CHUNKS, SectionKind};
use muster_storage::manifest::{PartId, PartRef, PartRole, part_file_name};
use muster_storage::part::{FinishedPart, PartWriter, SectionStats};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

/// Where the patches of a range are more than this share of its base, the range is to be written anew: until then the
/// changes that are read and written again take less than the base would.
const FOLDED_SHARE: f64 = 1.0 / 8.0;

/// Where so many of a range's rows are gone, too: their values are to take no space for long.
const DEAD_SHARE: f64 = 1.0 / 4.0;

/// Of the ranges that are to be written anew, one of so many goes with each checkpoint, those first that need it most. So a
/// checkpoint has about the same to do each time, and is not minutes behind the writers when all ranges are ripe at once.
const FOLDED_OF: usize = 6;

/// A range so many times over its share does not wait.
const FOLDED_AT_ONCE: f64 = 4.0;

/// What a checkpoint did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpointed {
    /// Every change up to this LSN is in parts.
    pub lsn: u64,
    /// Parts written.
    pub parts: usize,
    /// Ranges written anew.
    pub folded: usize,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// What a checkpoint comes to: parts that come, parts that go.
#[derive(Default)]
pub(super) struct Outcome {
    new: Vec<PartRef>,
    gone: BTreeSet<PartId>,
    folded: usize,
}

impl Database {
    /// Writes all changes in memory to parts, and lets the log before them go. Readers and writers go on meanwhile. Does
    /// nothing where nothing changed.
    ///
    /// Cost: the bytes of the changes, and of those ranges that are written anew.
    pub fn checkpoint(&self, cancel: &Cancel) -> Result<Checkpointed> {
        let _one = self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        let outcome = self.make_checkpoint(cancel);
        self.checkpoints.note(began, &outcome);
        outcome
    }

    fn make_checkpoint(&self, cancel: &Cancel) -> Result<Checkpointed> {
        let frozen = self.freeze(cancel)?;
        let logged = frozen.logged;
        if frozen.tables.values().all(|table| table.layers.is_empty()) {
            self.pressure.checkpointed(logged);
            return Ok(Checkpointed { lsn: frozen.lsn.0, ..Checkpointed::default() });
        }
        let mut outcome = Outcome::default();
        let written =
            self.write_parts(&frozen, &mut outcome, cancel).and_then(|()| self.switch(&frozen, &outcome));
        if let Err(error) = written {
            for part in &outcome.new {
                // What cannot be removed now is removed when the database is next opened.
                let _ = self.store.discard_part(part.id);
            }
            return Err(error);
        }
        let lsn = frozen.lsn.0;
        drop(frozen);
        self.pressure.checkpointed(logged);
        // Nobody but snapshots has what was replaced now.
        self.horizon.end_the_old();
        Ok(Checkpointed {
            lsn,
            parts: outcome.new.len(),
            folded: outcome.folded,
            bytes: outcome.new.iter().map(|part| part.bytes).sum(),
        })
    }

    /// Closes the newest layers. What comes back is the state up to there, whose layers are all closed: one that is still
    /// empty stays open, and is none of them.
    fn freeze(&self, cancel: &Cancel) -> Result<State> {
        let _writer = self.writer.take(cancel)?;
        let mut next = State::clone(&self.state());
        let mut frozen = next.clone();
        for (id, table) in &mut next.tables {
            let Some(newest) = table.layers.last() else { continue };
            if newest.is_empty() {
                let mut closed = TableState::clone(table);
                closed.layers.pop();
                frozen.tables.insert(*id, Arc::new(closed));
            } else {
                let mut begun = TableState::clone(table);
                begun.layers.push(Arc::default());
                *table = Arc::new(begun);
            }
        }
        self.show(next);
        Ok(frozen)
    }

    fn write_parts(&self, frozen: &State, outcome: &mut Outcome, cancel: &Cancel) -> Result<()> {
        for (id, table) in frozen.tables.iter().filter(|(_, table)| !table.layers.is_empty()) {
            let parts: Vec<&PartRef> = frozen.part_refs.iter().filter(|part| part.table == id.0).collect();
            let ranges = (table.chunks() as usize).div_ceil(RANGE_CHUNKS);
            let ripe = ripe_ranges(table, &parts)?;
            for range in 0..ranges {
                cancel.check()?;
                if ripe.contains(&range) {
                    self.fold(*id, table, range, outcome, cancel)?;
                    outcome.replace_range(table, &parts, range);
                } else {
                    self.write_patches(*id, table, &parts, range, outcome)?;
                }
            }
            self.write_dictionaries(*id, table, &parts, outcome)?;
        }
        Ok(())
    }

    /// Writes the changes of a range to a patch part.
    fn write_patches(
        &self,
        id: TableId,
        table: &TableState,
        parts: &[&PartRef],
        range: usize,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let in_memory: usize = table.layers.iter().map(|layer| bytes_of(layer, range)).sum();
        if in_memory == 0 {
            return Ok(());
        }
        let here = |role| parts.iter().filter(move |part| part.role == role && part.range as usize == range);
        // The last parts first: each is taken in that is not much larger than all after it.
        let mut taken: Vec<&PartRef> = Vec::new();
        let mut bytes = in_memory as u64;
        for part in here(PartRole::Patch).copied().collect::<Vec<_>>().into_iter().rev() {
            if part.bytes > 2 * bytes {
                break;
            }
            bytes += part.bytes;
            taken.insert(0, part);
        }
        let mut columns: BTreeSet<u32> = taken.iter().flat_map(|part| &part.columns).copied().collect();
        for layer in &table.layers {
            let some = layer.columns().filter(|(_, layer)| layer.range(range).is_some());
            columns.extend(some.map(|(column, _)| column.0));
        }
        columns.retain(|column| {
            *column == ColumnId::LIVE.0 || table.schema().column(ColumnId(*column)).is_some()
        });
        let readers = taken.iter().map(|part| {
            let missing = || Error::Invalid(format!("part {} is not open", part.id));
            self.state().parts.get(&part.id).cloned().ok_or_else(missing)
        });
        let readers = readers.collect::<Result<Vec<_>>>()?;
        let mut part = self.begin_part(id, outcome)?;
        for column in &columns {
            for within in 0..RANGE_CHUNKS {
                let mut patches = Vec::new();
                for reader in &readers {
                    let sections = reader.sections(*column, SectionKind::Patch);
                    if let Some(section) = sections.bytes(within as u16)? {
                        let offset = sections.entry(within as u16).map_or(0, |entry| entry.offset);
                        patches.push(PatchRef::open(section).map_err(|what| reader.malformed(offset, what))?);
                    }
                }
                let ranges =
                    table.layers.iter().filter_map(|layer| layer.column(ColumnId(*column))?.range(range));
                patches.extend(ranges.filter_map(|range| range.patch(within)).map(|patch| patch.by_ref()));
                if patches.is_empty() {
                    continue;
                }
                let merged = Patch::merged(&patches);
                let patch = merged.by_ref();
                let (low, high) = if patch.has_texts() { TEXTS } else { patch.bounds().unwrap_or(NO_CODES) };
                let stats = SectionStats { cardinality: patch.rows.len() as u32, low, high };
                part.writer.append(*column, SectionKind::Patch, within as u16, &patch.section(), stats)?;
            }
        }
        outcome.gone.extend(taken.iter().map(|part| part.id));
        part.finish(PartRole::Patch, id, range, columns.into_iter().collect(), outcome)
    }

    /// Writes the dictionaries that have strings in memory, whole.
    fn write_dictionaries(
        &self,
        id: TableId,
        table: &TableState,
        parts: &[&PartRef],
        outcome: &mut Outcome,
    ) -> Result<()> {
        let mut fresh: Vec<u32> =
            table.dictionaries.iter().filter(|(_, one)| one.is_fresh()).map(|(column, _)| column.0).collect();
        fresh.retain(|column| table.schema().column(ColumnId(*column)).is_some());
        if fresh.is_empty() {
            return Ok(());
        }
        // A part of several columns goes as a whole, so its other columns move along.
        let touched = |part: &&&PartRef| {
            part.role == PartRole::Dictionary && part.columns.iter().any(|c| fresh.contains(c))
        };
        let replaced: Vec<&PartRef> = parts.iter().filter(touched).copied().collect();
        let mut columns: Vec<u32> =
            replaced.iter().flat_map(|part| &part.columns).chain(&fresh).copied().collect();
        columns.sort_unstable();
        columns.dedup();
        let mut part = self.begin_part(id, outcome)?;
        for column in &columns {
            if let Some(dictionary) = table.dictionary(ColumnId(*column)) {
                dictionary.write(*column, &mut part.writer)?;
            }
        }
        outcome.gone.extend(replaced.iter().map(|part| part.id));
        part.finish(PartRole::Dictionary, id, 0, columns, outcome)
    }

    pub(super) fn begin_part(&self, table: TableId, outcome: &mut Outcome) -> Result<NewPart> {
        let id = self.store.allocate_part()?;
        let (database, name) = (self.store.manifest().database_id, part_file_name(id));
        let role = PartRole::Patch;
        // Known before it is written, so that it is discarded whatever happens.
        let unfinished =
            PartRef { id, role, table: table.0, range: 0, columns: Vec::new(), bytes: 0, toc_checksum: 0 };
        outcome.new.push(unfinished);
        let writer = PartWriter::create(&**self.store.disk(), &name, database, id.0, table.0)?;
        Ok(NewPart { id, writer })
    }

    /// Makes the parts those of the database, with everything that was written, defined and dropped meanwhile.
    fn switch(&self, frozen: &State, outcome: &Outcome) -> Result<()> {
        let mut writer = self.writer.take(&Cancel::default())?;
        let now = self.state();
        let mut catalog = Catalog::clone(&now.catalog);
        for (id, table) in frozen.tables.iter().filter(|(_, table)| !table.layers.is_empty()) {
            if let Ok(record) = catalog.table_mut(*id) {
                let Extent { rows, ordinals, .. } = table.extent();
                (record.rows, record.ordinals) = (rows, ordinals);
            }
        }
        let kept = now.part_refs.iter().filter(|part| !outcome.gone.contains(&part.id));
        let mut parts: Vec<PartRef> = kept.chain(&outcome.new).cloned().collect();
        // What was dropped while the parts were written is not theirs any more.
        parts.retain(|part| catalog.table(TableId(part.table)).is_ok());
        for part in &mut parts {
            let Ok(record) = catalog.table(TableId(part.table)) else { continue };
            let frozen_schema = frozen.catalog.table(TableId(part.table)).map(|record| &record.schema);
            let has = |schema: &TableSchema, id: ColumnId| {
                schema.column(id).is_some()
                    || schema.owner.is_some_and(|owner| owner.ordinals == id)
                    || schema.summaries.iter().any(|summary| summary.column == id)
            };
            let dropped = |column: u32| {
                let id = ColumnId(column);
                !has(&record.schema, id) && frozen_schema.as_ref().is_ok_and(|schema| has(schema, id))
            };
            part.columns.retain(|column| !dropped(*column));
        }
        parts.retain(|part| !part.columns.is_empty());
        let mut old = State::clone(&now);
        for (id, table) in &mut old.tables {
            let closed = frozen.tables.get(id).map_or(&[][..], |table| &table.layers);
            let same =
                table.layers.iter().zip(closed).take_while(|(now, then)| Arc::ptr_eq(now, then)).count();
            if same < closed.len() {
                return Err(Error::Invalid("a checkpoint was to remove changes that are in no part".into()));
            }
            let mut rest = TableState::clone(table);
            rest.layers.drain(..same);
            *table = Arc::new(rest);
        }
        self.publish_at(&old, &catalog, parts, Some(frozen.lsn), super::unchecked)?;
        if let Some(log) = writer.log() {
            // What cannot be removed now is removed by the next checkpoint, or when the database is next opened.
            let _ = log.remove_before(self.store.manifest().checkpoint);
        }
        Ok(())
    }
}

impl Outcome {
    /// A range was written anew: what stood for it goes.
    fn replace_range(&mut self, table: &TableState, parts: &[&PartRef], range: usize) {
        let replaced = parts.iter().filter(|part| {
            let ordinals = table.schema().owner.map(|owner| owner.ordinals);
            let rewritten =
                |column: &u32| !table.is_hidden(ColumnId(*column)) || ordinals == Some(ColumnId(*column));
            let rewritten = part.columns.iter().any(rewritten);
            part.range as usize == range && matches!(part.role, PartRole::Base | PartRole::Patch) && rewritten
        });
        self.gone.extend(replaced.map(|part| part.id));
        self.folded += 1;
    }
}

/// The ranges of a table that this checkpoint writes anew.
fn ripe_ranges(table: &TableState, parts: &[&PartRef]) -> Result<Vec<usize>> {
    let ranges = (table.chunks() as usize).div_ceil(RANGE_CHUNKS);
    let mut ripe: Vec<(f64, usize)> = Vec::new();
    for range in 0..ranges {
        let bytes = |role| -> u64 {
            // What is kept of owners, and of static audiences, is no base of the rows.
            let of_rows =
                |part: &&&PartRef| part.columns.iter().any(|column| !table.is_hidden(ColumnId(*column)));
            let here = parts.iter().filter(|part| part.role == role && part.range as usize == range);
            here.filter(of_rows).map(|part| part.bytes).sum()
        };
        let in_memory: usize = table.layers.iter().map(|layer| bytes_of(layer, range)).sum();
        let patched = bytes(PartRole::Patch) + in_memory as u64;
        if patched == 0 {
            continue;
        }
        // Infinite without a base: rows that are in none are asked one by one, so they get one at once.
        let by_bytes = patched as f64 / bytes(PartRole::Base) as f64 / FOLDED_SHARE;
        let by_rows = dead_share(table, range)? / DEAD_SHARE;
        let ripeness = by_bytes.max(by_rows);
        if ripeness > 1.0 {
            ripe.push((ripeness, range));
        }
    }
    ripe.sort_by(|a, b| b.0.total_cmp(&a.0));
    let wanted = ranges.div_ceil(FOLDED_OF);
    let at_once = ripe.partition_point(|(ripeness, _)| *ripeness > FOLDED_AT_ONCE);
    Ok(ripe.into_iter().take(wanted.max(at_once)).map(|(_, range)| range).collect())
}

/// How many of a range's rows are gone since it was written.
fn dead_share(table: &TableState, range: usize) -> Result<f64> {
    let live = table.reader(ColumnId::LIVE)?;
    let first = (range * RANGE_CHUNKS) as u32;
    let (mut rows, mut dead) = (0, 0);
    for chunk in first..table.chunks().min(first + RANGE_CHUNKS as u32) {
        rows += table.chunk_rows(chunk);
        for patch in live.changes(chunk)? {
            dead += patch.new.iter().filter(|cell| *cell == CellRef::Truth(false)).count();
        }
    }
    Ok(dead as f64 / rows.max(1) as f64)
}

/// Bytes that a layer has in a range.
fn bytes_of(layer: &Layer, range: usize) -> usize {
    let ranges = layer.columns().filter_map(|(_, layer)| layer.range(range));
    ranges.flat_map(|range| range.patches().map(|(_, patch)| patch.bytes()).collect::<Vec<_>>()).sum()
}

/// A part being written.
pub(super) struct NewPart {
    id: PartId,
    writer: PartWriter,
}

impl NewPart {
    pub(super) fn append(
        &mut self,
        column: ColumnId,
        chunk: u32,
        section: &crate::index::encode::EncodedSection,
    ) -> Result<()> {
        let within = (chunk as usize % RANGE_CHUNKS) as u16;
        Ok(self.writer.append(column.0, section.kind, within, &section.bytes, section.stats)?)
    }

    pub(super) fn finish(
        self,
        role: PartRole,
        table: TableId,
        range: usize,
        columns: Vec<u32>,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let FinishedPart { bytes, toc_checksum } = self.writer.finish()?;
        let range = range as u32;
        let finished = PartRef { id: self.id, role, table: table.0, range, columns, bytes, toc_checksum };
        if let Some(part) = outcome.new.iter_mut().find(|part| part.id == self.id) {
            *part = finished;
        }
        Ok(())
    }
}
