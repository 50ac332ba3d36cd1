//! Rows that belong to members: which of them are not where their owner is looked for.
//!
//! An import puts a table's rows in the order of their owners ([`crate::index::owners`]). Whose a row is follows from its column
//! that holds the owner's key, and from nothing else; the order is derived, and what was written since is not in it:
//!
//! ```text
//! clustered, as imported          ─▶ by the runs of its owner's chunk
//! inserted or updated since       ─▶ a stray: its owner is looked up by the key it has now (where updates were folded into the
//!                                    base, its stored owner is NULL)
//! its owner inserted since        ─▶ a stray (adopted)
//! deleted                         ─▶ excluded; rows of a deleted owner are found under nobody who lives
//! ```
//!
//! The strays of two tables as they are at one LSN are found once, by whoever asks first.

use crate::exec::{trues_of, value_at, words_of};
use crate::index::owners::NOBODYS;
use crate::kernel;
use crate::member::{self, Key};
use crate::schema::{ColumnId, Owner, TableId};
use crate::table::{ColumnReader, TableState};
use crate::value::Value;
use crate::{Error, Result};
use hashbrown::HashMap;
use muster_storage::chunk::Words;
use muster_storage::format::{BITSET_WORDS, SectionKind};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Keys that are looked up together.
const KEYS_AT_ONCE: usize = 1 << 18;

/// The rows of a table that are not found by the runs of their owners.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    /// By chunk of rows: those that are clustered, and are gone or hold something else now.
    excluded: HashMap<u32, Box<Words>>,
    /// Rows that have an owner nevertheless: the row, the owner; ascending.
    owned: Vec<(u32, u32)>,
    /// The chunks of rows that are clustered, with their first and last chunks of owners.
    clustered: Vec<(u32, u32, u32)>,
    /// Owners of whom what was kept when rows were clustered need not be so any more, ascending: some row of theirs was written.
    unsettled: Vec<u32>,
}

impl Strays {
    /// Clustered rows of a chunk that no longer count as they are stored.
    pub(crate) fn excluded(&self, chunk: u32) -> Option<&Words> {
        self.excluded.get(&chunk).map(|words| &**words)
    }

    /// The chunks of rows that have some of a chunk of owners.
    pub(crate) fn chunks_of(&self, owners: u32) -> impl Iterator<Item = u32> + '_ {
        let from = self.clustered.partition_point(|(_, _, last)| *last < owners);
        self.clustered[from..]
            .iter()
            .take_while(move |(_, first, _)| *first <= owners)
            .map(|(chunk, ..)| *chunk)
    }

    /// Owners whose summaries do not hold, of those that there were when rows were clustered; ascending.
    pub(crate) fn unsettled(&self) -> &[u32] {
        &self.unsettled
    }

    /// Rows with their owners, ascending by row.
    pub(crate) fn owned(&self) -> &[(u32, u32)] {
        &self.owned
    }

    fn find(table: &TableState, owner: &Owner, owners: &TableState) -> Result<Strays> {
        let mut strays = Strays::default();
        let ordinals = table.reader(owner.ordinals)?;
        let live = table.reader(ColumnId::LIVE)?;
        let columns = table.schema().columns.iter().map(|column| table.reader(column.id));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let keys = table.reader(owner.column)?;
        let grown = owners.extent().ordinals > u64::from(owner.known);
        let mut unsettled: Vec<u32> = Vec::new();
        for chunk in 0..table.chunks() {
            let rows = table.chunk_rows(chunk);
            let stored = ordinals.owners(chunk)?;
            if let Some(runs) = stored.map(|stored| stored.runs)
                && let (Some(first), Some(last)) = (runs.first(), runs.last())
            {
                strays.clustered.push((chunk, first.owners, last.owners));
            }
            let clustered = stored.map_or(0, |stored| stored.halves.len()).min(rows);
            let changed = std::iter::once(&live).chain(&columns).any(|reader| reader.is_changed(chunk));
            let folded = ordinals.nulls(chunk)?;
            if changed || clustered < rows || folded.cardinality() > 0 {
                let lives = trues_of(&live, chunk)?;
                let mut written = words_of(folded);
                for reader in &columns {
                    reader
                        .changes(chunk)?
                        .iter()
                        .for_each(|patch| kernel::set_members(&mut written, patch.rows, true));
                }
                let mut excluded = Box::new([0; BITSET_WORDS]);
                for (index, (word, lives)) in excluded.iter_mut().zip(&lives).enumerate() {
                    let in_order = kernel::first_bits(clustered, index);
                    *word = (written[index] | !lives) & in_order;
                    let mut left = lives & (written[index] | !in_order) & kernel::first_bits(rows, index);
                    while left != 0 {
                        unsettled.push(chunk << 16 | (index * 64) as u32 | left.trailing_zeros());
                        left &= left - 1;
                    }
                }
                if excluded.iter().any(|word| *word != 0) {
                    strays.excluded.insert(chunk, excluded);
                }
            } else if live
                .entry(chunk, SectionKind::Sets)
                .is_none_or(|entry| (entry.cardinality as usize) < rows)
            {
                let mut excluded = Box::new([0; BITSET_WORDS]);
                kernel::complement_into(&trues_of(&live, chunk)?, &mut excluded);
                strays.excluded.insert(chunk, excluded);
            }
            if grown && let Some(stored) = stored {
                let excluded = strays.excluded(chunk);
                // Without a key nobody ever comes.
                let keyless = words_of(keys.nulls(chunk)?);
                let nobodys = stored.runs_of(NOBODYS).flat_map(|(_, rows)| rows).map(|row| row as u16);
                let nobodys = nobodys.filter(|row| !kernel::has(&keyless, *row));
                let nobodys =
                    nobodys.filter(|row| excluded.is_none_or(|excluded| !kernel::has(excluded, *row)));
                unsettled.extend(nobodys.map(|row| chunk << 16 | u32::from(row)));
            }
        }
        strays.settle(&unsettled, table, owner, owners)?;
        if grown {
            strays.adopt(&ordinals, owner, owners)?;
        }
        strays.owned.sort_unstable();
        strays.unsettled.extend(strays.owned.iter().map(|(_, owner)| *owner));
        for (chunk, excluded) in &strays.excluded {
            let Some(stored) = ordinals.owners(*chunk)? else { continue };
            for (at, run) in stored.runs.iter().enumerate().filter(|(_, run)| run.owners != NOBODYS) {
                let end = stored.runs.get(at + 1).map_or(stored.halves.len(), |next| next.start as usize);
                let rows = (run.start as usize..end).filter(|row| kernel::has(excluded, *row as u16));
                strays.unsettled.extend(rows.map(|row| run.owners << 16 | u32::from(stored.halves[row])));
            }
        }
        strays.unsettled.retain(|one| *one < owner.known);
        strays.unsettled.sort_unstable();
        strays.unsettled.dedup();
        Ok(strays)
    }

    /// Finds the owners of rows by the keys that they hold now.
    fn settle(&mut self, rows: &[u32], table: &TableState, owner: &Owner, owners: &TableState) -> Result<()> {
        let (reader, dictionary) = (table.reader(owner.column)?, table.dictionary(owner.column));
        for rows in rows.chunks(KEYS_AT_ONCE) {
            let values = rows.iter().map(|row| value_at(&reader, dictionary, *row));
            let values = values.collect::<Result<Vec<Value>>>()?;
            let keyed =
                rows.iter().zip(&values).filter_map(|(row, value)| Some((*row, Key::of_value(value)?)));
            let (rows, keys): (Vec<u32>, Vec<Key<'_>>) = keyed.unzip();
            let found = member::lookup(owners, &keys)?;
            self.owned.extend(rows.into_iter().zip(found).filter_map(|(row, owner)| Some((row, owner?))));
        }
        Ok(())
    }

    /// Gives the rows of owners that were deleted to those that were inserted later under the same keys.
    fn adopt(&mut self, ordinals: &ColumnReader<'_>, owner: &Owner, owners: &TableState) -> Result<()> {
        let clustered = !self.clustered.is_empty() && owners.has_dead();
        let Some(key) = owners.schema().key.filter(|_| clustered) else { return Ok(()) };
        let (keys_of, live) = (owners.reader(key)?, owners.reader(ColumnId::LIVE)?);
        let mut heirs = Vec::new();
        for heir in owner.known..owners.extent().ordinals as u32 {
            if live.is_true(heir)? {
                heirs.push((heir, value_at(&keys_of, owners.dictionary(key), heir)?));
            }
        }
        let keyed = heirs.iter().filter_map(|(heir, value)| Some((*heir, Key::of_value(value)?)));
        let (heirs, keys): (Vec<u32>, Vec<Key<'_>>) = keyed.unzip();
        let before = member::lookup_imported(owners, &keys)?;
        let mut left: Vec<(u32, u32)> =
            before.into_iter().zip(&heirs).filter_map(|(before, heir)| Some((before?, *heir))).collect();
        // Owners of that time whose keys are in no index.
        let heir_of: HashMap<Key<'_>, u32> = keys.into_iter().zip(heirs).collect();
        for gone in owners.extent().indexed as u32..owner.known {
            if !live.is_true(gone)? {
                let value = value_at(&keys_of, owners.dictionary(key), gone)?;
                let heir = Key::of_value(&value).and_then(|key| heir_of.get(&key));
                left.extend(heir.map(|heir| (gone, *heir)));
            }
        }
        left.retain(|(before, heir)| before != heir && *before < owner.known);
        left.sort_unstable();
        for (before, heir) in left {
            let chunks: Vec<u32> = self.chunks_of(before >> 16).collect();
            for chunk in chunks {
                let Some(stored) = ordinals.owners(chunk)? else { continue };
                let excluded = self.excluded.get(&chunk);
                let half = before as u16;
                for (_, rows) in stored.runs_of(before >> 16) {
                    let halves = &stored.halves[rows.clone()];
                    let from = halves.partition_point(|other| *other < half);
                    let to = halves.partition_point(|other| *other <= half);
                    let here = (rows.start + from..rows.start + to).map(|row| row as u16);
                    let here =
                        here.filter(|row| excluded.is_none_or(|excluded| !kernel::has(excluded, *row)));
                    self.owned.extend(here.map(|row| (chunk << 16 | u32::from(row), heir)));
                }
            }
        }
        Ok(())
    }
}

/// What is known of strays, by the tables as they were when it was found.
#[derive(Clone, Default)]
pub(crate) struct KnownStrays(Arc<Mutex<HashMap<TableId, Vec<Known>>>>);

/// States of a table of which strays are known at once: the present one, and that of a snapshot which somebody holds.
const KNOWN_STATES: usize = 2;

struct Known {
    table: Weak<TableState>,
    owners: Weak<TableState>,
    strays: Arc<Strays>,
}

impl KnownStrays {
    /// The strays of a table. Cost: nothing where they are known; else a look at every chunk, and of each row that was written
    /// since the import its key and a look-up.
    pub(crate) fn of(&self, table: &Arc<TableState>, owners: &Arc<TableState>) -> Result<Arc<Strays>> {
        let Some(owner) = &table.schema().owner else {
            return Err(Error::Invalid(format!("the rows of \"{}\" are nobody's", table.schema().name)));
        };
        let id = table.schema().id;
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_this = |known: &&Known| {
            std::ptr::eq(known.table.as_ptr(), Arc::as_ptr(table))
                && std::ptr::eq(known.owners.as_ptr(), Arc::as_ptr(owners))
        };
        if let Some(known) = lock().get(&id).and_then(|states| states.iter().find(is_this)) {
            return Ok(Arc::clone(&known.strays));
        }
        let strays = Arc::new(Strays::find(table, owner, owners)?);
        let known = Known {
            table: Arc::downgrade(table),
            owners: Arc::downgrade(owners),
            strays: Arc::clone(&strays),
        };
        let mut all = lock();
        // What nobody can ask any more goes, also of tables that were dropped.
        let is_asked = |known: &Known| known.table.strong_count() > 0 && known.owners.strong_count() > 0;
        all.values_mut().for_each(|states| states.retain(is_asked));
        all.retain(|_, states| !states.is_empty());
        let states = all.entry(id).or_default();
        states.insert(0, known);
        states.truncate(KNOWN_STATES);
        Ok(strays)
    }
}
