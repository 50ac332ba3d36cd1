//! The strays of one chunk of rows.

use crate::Result;
use crate::dictionary::Dictionary;
use crate::exec::{codes_at, trues_of, words_of};
use crate::index::owners::NOBODYS;
use crate::kernel;
use crate::schema::{ColumnId, DataType, Owner};
use crate::table::{ColumnReader, TableState};
use muster_storage::chunk::Words;
use muster_storage::format::{BITSET_WORDS, SectionKind};
use std::sync::Arc;

/// What is found of a chunk of rows.
#[derive(Clone, Default)]
pub(super) struct ChunkStrays {
    /// Rows of the chunk then.
    pub(super) rows: usize,
    /// The first and the last chunk of owners, where rows are clustered.
    pub(super) clustered: Option<(u32, u32)>,
    /// Clustered rows that are gone or hold something else now.
    pub(super) excluded: Option<Arc<Words>>,
    /// Rows whose owner is found by the key that they hold; ascending.
    pub(super) found: Vec<Stray>,
    /// Whose the excluded rows were when they were clustered.
    pub(super) left: Vec<u32>,
}

/// A row that is found by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) row: u16,
    /// The code of its key; `None` where it is NULL, or a text.
    pub(super) key: Option<i64>,
    pub(super) whose: Whose,
}

/// Whose a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// That is to be looked up.
    Unknown,
    Nobody,
    Of(u32),
}

impl ChunkStrays {
    /// A row that is found by its key.
    pub(super) fn stray(&self, row: u16) -> Option<&Stray> {
        self.found.binary_search_by_key(&row, |stray| stray.row).ok().map(|at| &self.found[at])
    }
}

/// What is needed to look at chunks.
pub(super) struct Finder<'a> {
    table: &'a TableState,
    pub(super) ordinals: ColumnReader<'a>,
    live: ColumnReader<'a>,
    columns: Vec<ColumnReader<'a>>,
    /// The column that holds the owners' keys.
    pub(super) keys: ColumnReader<'a>,
    pub(super) dictionary: Option<&'a Dictionary>,
    grown: bool,
}

impl<'a> Finder<'a> {
    pub(super) fn of(table: &'a TableState, owner: &Owner, grown: bool) -> Result<Finder<'a>> {
        let columns = table.schema().columns.iter().map(|column| table.reader(column.id));
        Ok(Finder {
            table,
            ordinals: table.reader(owner.ordinals)?,
            live: table.reader(ColumnId::LIVE)?,
            columns: columns.collect::<Result<Vec<_>>>()?,
            keys: table.reader(owner.column)?,
            dictionary: table.dictionary(owner.column),
            grown,
        })
    }

    /// True of a row that certainly has no key.
    pub(super) fn is_null(&self, stray: &Stray) -> bool {
        stray.key.is_none() && self.has_codes()
    }

    /// True where keys are numbers.
    fn has_codes(&self) -> bool {
        self.keys.data_type() != DataType::Text
    }

    /// Finds the strays of a chunk. Whose they are is taken from `known` where the row held the same key; the others are to be
    /// looked up.
    pub(super) fn chunk(&self, chunk: u32, known: Option<&ChunkStrays>) -> Result<ChunkStrays> {
        let rows = self.table.chunk_rows(chunk);
        let stored = self.ordinals.owners(chunk)?;
        let mut found = ChunkStrays { rows, ..ChunkStrays::default() };
        if let Some(runs) = stored.map(|stored| stored.runs)
            && let (Some(first), Some(last)) = (runs.first(), runs.last())
        {
            found.clustered = Some((first.owners, last.owners));
        }
        let clustered = stored.map_or(0, |stored| stored.halves.len()).min(rows);
        let changed = std::iter::once(&self.live).chain(&self.columns).any(|reader| reader.is_changed(chunk));
        let folded = self.ordinals.nulls(chunk)?;
        let mut strays: Vec<u16> = Vec::new();
        if changed || clustered < rows || folded.cardinality() > 0 {
            let lives = trues_of(&self.live, chunk)?;
            let mut written = words_of(folded);
            for reader in &self.columns {
                let patches = reader.changes(chunk)?;
                patches.iter().for_each(|patch| kernel::set_members(&mut written, patch.rows, true));
            }
            let mut excluded = [0; BITSET_WORDS];
            for (index, (word, lives)) in excluded.iter_mut().zip(&lives).enumerate() {
                let in_order = kernel::first_bits(clustered, index);
                *word = (written[index] | !lives) & in_order;
                let mut left = lives & (written[index] | !in_order) & kernel::first_bits(rows, index);
                while left != 0 {
                    strays.push((index * 64) as u16 | left.trailing_zeros() as u16);
                    left &= left - 1;
                }
            }
            if excluded.iter().any(|word| *word != 0) {
                found.excluded = Some(Arc::new(excluded));
            }
        } else if self
            .live
            .entry(chunk, SectionKind::Sets)
            .is_none_or(|entry| (entry.cardinality as usize) < rows)
        {
            let mut excluded = [0; BITSET_WORDS];
            kernel::complement_into(&trues_of(&self.live, chunk)?, &mut excluded);
            found.excluded = Some(Arc::new(excluded));
        }
        let excluded = found.excluded.as_deref();
        let is_excluded = |row: u16| excluded.is_some_and(|excluded| kernel::has(excluded, row));
        if self.grown
            && let Some(stored) = stored
        {
            // Without a key nobody ever comes.
            let keyless = words_of(self.keys.nulls(chunk)?);
            let nobodys = stored.runs_of(NOBODYS).flat_map(|(_, rows)| rows).map(|row| row as u16);
            strays.extend(nobodys.filter(|row| !kernel::has(&keyless, *row) && !is_excluded(*row)));
            strays.sort_unstable();
        }
        if let (Some(stored), Some(excluded)) = (stored, excluded) {
            for (index, word) in excluded.iter().enumerate().filter(|(_, word)| **word != 0) {
                let mut left = *word;
                while left != 0 {
                    found.left.extend(stored.owner_of(index * 64 + left.trailing_zeros() as usize));
                    left &= left - 1;
                }
            }
            found.left.sort_unstable();
            found.left.dedup();
        }
        found.found = self.keyed(chunk, &strays, known)?;
        Ok(found)
    }

    fn keyed(&self, chunk: u32, rows: &[u16], known: Option<&ChunkStrays>) -> Result<Vec<Stray>> {
        if !self.has_codes() {
            let unknown = |row: &u16| Stray { row: *row, key: None, whose: Whose::Unknown };
            return Ok(rows.iter().map(unknown).collect());
        }
        let mut known = known.map_or(&[][..], |known| &known.found).iter().peekable();
        let keys = codes_at(&self.keys, chunk, rows)?;
        let strays = rows.iter().zip(keys).map(|(row, key)| {
            while known.next_if(|stray| stray.row < *row).is_some() {}
            let same = known.peek().filter(|stray| stray.row == *row && stray.key == key);
            let whose = match key {
                None => Whose::Nobody,
                Some(_) => same.map_or(Whose::Unknown, |stray| stray.whose),
            };
            Stray { row: *row, key, whose }
        });
        Ok(strays.collect())
    }
}
