//! A range written anew, its changes included: about what an import of its rows takes.
//!
//! ```text
//! base sections ┬ values of all rows ─ patches over them ─ NULL for rows that are gone ─ sections
//!               └ as they are, where nothing changed
//! ```

use super::Database;
use super::checkpoint::Outcome;
use crate::Result;
use crate::control::Cancel;
use crate::delta::{Cell, CellRef};
use crate::exec::{nulls_of, trues_of, words_of};
use crate::index::encode::{EncodedSection, encode_cells, encode_codes, set_section};
use crate::kernel;
use crate::schema::{Column, ColumnId, DataType, TableId};
use crate::table::{ColumnReader, TableState};
use crate::writer::apply::Before;
use muster_storage::chunk::Words;
use muster_storage::format::{BITSET_WORDS, RANGE_CHUNKS, SectionKind};
use muster_storage::manifest::PartRole;

impl Database {
    /// Writes a range anew. Rows that are gone hold NULL: what they were takes no more space.
    pub(super) fn fold(
        &self,
        id: TableId,
        table: &TableState,
        range: usize,
        outcome: &mut Outcome,
        cancel: &Cancel,
    ) -> Result<()> {
        let mut part = self.begin_part(id, outcome)?;
        let first = (range * RANGE_CHUNKS) as u32;
        let live = table.reader(ColumnId::LIVE)?;
        let chunks = first..table.chunks().min(first + RANGE_CHUNKS as u32);
        let chunks = chunks.map(|chunk| Chunk::of(table, &live, chunk)).collect::<Result<Vec<Chunk>>>()?;
        for chunk in &chunks {
            if let Some(section) = set_section(SectionKind::Sets, &chunk.live) {
                part.append(ColumnId::LIVE, chunk.number, &section)?;
            }
        }
        for column in &table.schema().columns {
            let folded = FoldedColumn::of(table, column)?;
            for chunk in &chunks {
                cancel.check()?;
                for section in folded.sections(chunk)? {
                    part.append(column.id, chunk.number, &section)?;
                }
            }
        }
        let columns = std::iter::once(ColumnId::LIVE.0).chain(table.schema().columns.iter().map(|c| c.id.0));
        part.finish(PartRole::Base, id, range, columns.collect(), outcome)?;
        self.fold_owners(id, table, range, outcome)
    }

    /// Writes whose the rows of a range are anew: the order stays as it is, and rows that were written since are NULL there.
    fn fold_owners(
        &self,
        id: TableId,
        table: &TableState,
        range: usize,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let Some(owner) = table.schema().owner else { return Ok(()) };
        let ordinals = table.reader(owner.ordinals)?;
        let columns = table.schema().columns.iter().map(|column| table.reader(column.id));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let first = (range * RANGE_CHUNKS) as u32;
        let chunks = first..table.chunks().min(first + RANGE_CHUNKS as u32);
        if !chunks.clone().any(|chunk| ordinals.entry(chunk, SectionKind::Owners).is_some()) {
            return Ok(());
        }
        let mut part = self.begin_part(id, outcome)?;
        for chunk in chunks {
            let Some(stored) = ordinals.owners(chunk)? else { continue };
            let mut written = Box::new(words_of(ordinals.nulls(chunk)?));
            for reader in &columns {
                for patch in reader.changes(chunk)? {
                    kernel::set_members(&mut written, patch.rows, true);
                }
            }
            let clustered = stored.halves.len();
            written
                .iter_mut()
                .enumerate()
                .for_each(|(index, word)| *word &= kernel::first_bits(clustered, index));
            let owners =
                ordinals.stored(chunk)?.into_iter().filter(|section| section.kind == SectionKind::Owners);
            for section in owners.chain(set_section(SectionKind::Nulls, &written)) {
                part.append(owner.ordinals, chunk, &section)?;
            }
        }
        part.finish(PartRole::Base, id, range, vec![owner.ordinals.0], outcome)
    }
}

/// The rows of a chunk.
struct Chunk {
    number: u32,
    rows: usize,
    live: Box<Words>,
}

impl Chunk {
    fn of(table: &TableState, live: &ColumnReader<'_>, number: u32) -> Result<Chunk> {
        let words = Box::new(trues_of(live, number)?);
        Ok(Chunk { number, rows: table.chunk_rows(number), live: words })
    }

    fn all_live(&self) -> bool {
        kernel::cardinality(&self.live) as usize == self.rows
    }

    fn is_live(&self, row: usize) -> bool {
        kernel::has(&self.live, row as u16)
    }
}

/// A column whose chunks are written anew.
struct FoldedColumn<'t> {
    column: &'t Column,
    reader: ColumnReader<'t>,
    before: Before<'t>,
    is_key: bool,
    indexed: bool,
    /// Strings of its dictionary.
    entries: usize,
}

impl<'t> FoldedColumn<'t> {
    fn of(table: &'t TableState, column: &'t Column) -> Result<FoldedColumn<'t>> {
        let dictionary = table.dictionary(column.id).map(|dictionary| dictionary.view()).transpose()?;
        Ok(FoldedColumn {
            column,
            reader: table.reader(column.id)?,
            before: Before::of(table, column.id)?,
            is_key: table.schema().key == Some(column.id),
            indexed: table.schema().is_indexed(column.id),
            entries: dictionary.map_or(0, |view| view.len()),
        })
    }

    fn sections(&self, chunk: &Chunk) -> Result<Vec<EncodedSection>> {
        if chunk.all_live() && !self.reader.is_changed(chunk.number) {
            return self.reader.stored(chunk.number);
        }
        match self.column.data_type {
            DataType::Boolean => self.truths(chunk),
            DataType::TextArray => self.cells(chunk),
            DataType::Text if self.before.is_plain() => self.cells(chunk),
            _ => self.codes(chunk),
        }
    }

    fn truths(&self, chunk: &Chunk) -> Result<Vec<EncodedSection>> {
        let mut trues = Box::new(trues_of(&self.reader, chunk.number)?);
        let mut nulls = Box::new(nulls_of(&self.reader, chunk.number)?);
        let mut there = Box::new([0; BITSET_WORDS]);
        if chunk.rows > 0 {
            kernel::set_run(&mut there, 0, (chunk.rows - 1) as u16);
        }
        for (word, live) in chunk.live.iter().enumerate() {
            trues[word] &= live;
            nulls[word] |= !live & there[word];
        }
        let nulls = set_section(SectionKind::Nulls, &nulls);
        Ok(nulls.into_iter().chain(set_section(SectionKind::Sets, &trues)).collect())
    }

    fn codes(&self, chunk: &Chunk) -> Result<Vec<EncodedSection>> {
        let mut codes = Vec::with_capacity(chunk.rows);
        let mut nulls = vec![true; chunk.rows];
        if let Some(values) = self.reader.values(chunk.number)? {
            let rows: Vec<u16> = (0..values.rows.min(chunk.rows)).map(|row| row as u16).collect();
            values.gather(&rows, &mut codes);
            nulls[..rows.len()].fill(false);
        }
        codes.resize(chunk.rows, 0);
        let stored = self.reader.nulls(chunk.number)?;
        if stored.cardinality() > 0 {
            let stored = words_of(stored);
            nulls.iter_mut().enumerate().for_each(|(row, null)| *null |= kernel::has(&stored, row as u16));
        }
        for patch in self.reader.changes(chunk.number)? {
            for (row, cell) in patch.rows.iter().map(|row| usize::from(*row)).zip(patch.new.iter()) {
                if let (CellRef::Code(code), Some(place)) = (cell, codes.get_mut(row)) {
                    *place = code;
                }
                if let Some(null) = nulls.get_mut(row) {
                    *null = !matches!(cell, CellRef::Code(_));
                }
            }
        }
        // A key stays, so that the index's entry finds it is another's.
        if !self.is_key {
            nulls.iter_mut().enumerate().for_each(|(row, null)| *null |= !chunk.is_live(row));
        }
        codes.iter_mut().zip(&nulls).for_each(|(code, null)| *code = if *null { 0 } else { *code });
        Ok(encode_codes(self.column.data_type, self.indexed, self.entries, &codes, &nulls))
    }

    /// Cell by cell, for what has no size of its own.
    fn cells(&self, chunk: &Chunk) -> Result<Vec<EncodedSection>> {
        let cell = |row: usize| {
            if chunk.is_live(row) || self.is_key {
                self.before.cell(self.column.data_type, chunk.number << 16 | row as u32)
            } else {
                Ok(Cell::Null)
            }
        };
        let cells = (0..chunk.rows).map(cell).collect::<Result<Vec<Cell>>>()?;
        Ok(encode_cells(self.column.data_type, self.indexed, self.entries, &cells))
    }
}
