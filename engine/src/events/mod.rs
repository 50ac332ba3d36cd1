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
//! The strays of two tables as they are at one LSN are found once, by whoever asks first; and of those that are known from
//! another state of the same tables ([`stamp`]) only what differs is found anew: the chunks that have other patches, and in
//! these the rows that hold another key. What is known of the owners of the others is taken where it can be seen to hold: that
//! the owner lives and has the key. Which of two states came first does not matter.

mod chunk;
mod kept;
mod known;
mod rows_of;
mod stamp;
#[cfg(test)]
mod tests;

pub(crate) use known::{KeptTables, KnownStrays};
pub use rows_of::RowsByOwner;

use crate::Result;
use crate::exec::{code_at, value_at};
use crate::kernel;
use crate::member::{self, Key};
use crate::schema::{ColumnId, Owner};
use crate::table::TableState;
use chunk::{ChunkStrays, Finder, Whose};
use hashbrown::HashMap;
use kept::Kept;
use muster_storage::chunk::Words;
use muster_storage::format::RANGE_CHUNKS;
use stamp::RangeStamp;
use std::sync::{Arc, OnceLock};

/// Keys that are looked up together.
const KEYS_AT_ONCE: usize = 1 << 18;

/// The rows of a table that are not found by the runs of their owners.
pub(crate) struct Strays {
    made_of: MadeOf,
    /// What is found of each chunk of rows.
    chunks: Vec<Arc<ChunkStrays>>,
    /// Rows of owners that left, of whom others have the keys now.
    heirs: Arc<Vec<Heir>>,
    /// Rows that have an owner nevertheless: the row, the owner; ascending.
    owned: Vec<(u32, u32)>,
    /// The same by their owners: the owner, the row; ascending.
    by_owner: OnceLock<Vec<(u32, u32)>>,
    /// The chunks of rows that are clustered, with their first and last chunks of owners.
    clustered: Vec<(u32, u32, u32)>,
    /// Owners of whom what was kept when rows were clustered need not be so any more, ascending: some row of theirs was written.
    unsettled: Vec<u32>,
    /// What is kept of owners, as it is now.
    kept: OnceLock<Arc<Kept>>,
    /// What was kept in an earlier state, and the owners of the rows that were written since, ascending.
    kept_before: Option<(Arc<Kept>, Vec<u32>)>,
}

/// The states of two tables.
struct MadeOf {
    owner: Owner,
    columns: Vec<ColumnId>,
    /// True where there are owners that were not there when rows were clustered.
    grown: bool,
    rows: Vec<RangeStamp>,
    /// The owners' keys and who of them lives.
    owners: Vec<RangeStamp>,
    owners_ordinals: u64,
}

/// Who has the key of an owner that is gone.
struct Heir {
    heir: u32,
    /// The rows of that owner.
    rows: Vec<u32>,
}

impl MadeOf {
    fn of(table: &TableState, owner: &Owner, owners: &TableState) -> MadeOf {
        let columns = std::iter::once(ColumnId::LIVE);
        let columns = columns.chain(table.schema().columns.iter().map(|column| column.id));
        let columns: Vec<ColumnId> = columns.chain([owner.ordinals]).collect();
        let of_owners: Vec<ColumnId> = std::iter::once(ColumnId::LIVE).chain(owners.schema().key).collect();
        let owners_ordinals = owners.extent().ordinals;
        MadeOf {
            owner: *owner,
            grown: owners_ordinals > u64::from(owner.known),
            rows: RangeStamp::all(table, &columns),
            owners: RangeStamp::all(owners, &of_owners),
            owners_ordinals,
            columns,
        }
    }

    /// True where owners have the keys that they had, and the same live.
    fn has_owners_of(&self, other: &MadeOf) -> bool {
        self.owners_ordinals == other.owners_ordinals
            && self.owners.len() == other.owners.len()
            && self.owners.iter().zip(&other.owners).all(|(a, b)| a.is(b))
    }

    /// True where all rows are in the parts that they were in.
    fn has_parts_of(&self, other: &MadeOf) -> bool {
        self.rows.len() == other.rows.len()
            && self.rows.iter().zip(&other.rows).all(|(a, b)| a.has_parts_of(b))
    }

    /// Of the chunks of a range, which are as they were.
    fn same_chunks(
        &self,
        other: &MadeOf,
        range: usize,
        first_rows_same: impl Fn(usize) -> bool,
    ) -> [bool; RANGE_CHUNKS] {
        let mut same = [false; RANGE_CHUNKS];
        if let (Some(here), Some(there)) = (self.rows.get(range), other.rows.get(range)) {
            if here.is(there) {
                same.fill(true);
            } else if here.has_parts_of(there) {
                same.iter_mut().enumerate().for_each(|(within, same)| {
                    *same = first_rows_same(within) && here.has_chunk_of(there, within);
                });
            }
        }
        same
    }
}

impl Strays {
    /// Clustered rows of a chunk that no longer count as they are stored.
    pub(crate) fn excluded(&self, chunk: u32) -> Option<&Words> {
        self.chunks.get(chunk as usize)?.excluded.as_deref()
    }

    /// The chunks of rows that have some of a chunk of owners.
    pub(crate) fn chunks_of(&self, owners: u32) -> impl Iterator<Item = u32> + '_ {
        let from = self.clustered.partition_point(|(_, _, last)| *last < owners);
        self.clustered[from..]
            .iter()
            .take_while(move |(_, first, _)| *first <= owners)
            .map(|(chunk, ..)| *chunk)
    }

    /// Rows with their owners, ascending by row.
    pub(crate) fn owned(&self) -> &[(u32, u32)] {
        &self.owned
    }

    /// The same, each behind its owner, ascending. Cost: they are put in this order once.
    pub(crate) fn by_owner(&self) -> &[(u32, u32)] {
        self.by_owner.get_or_init(|| {
            let mut strays: Vec<(u32, u32)> = self.owned.iter().map(|(row, owner)| (*owner, *row)).collect();
            strays.sort_unstable();
            strays
        })
    }

    fn find(
        table: &TableState,
        owner: &Owner,
        owners: &TableState,
        before: Option<&Strays>,
    ) -> Result<Strays> {
        let made_of = MadeOf::of(table, owner, owners);
        let before = before.filter(|before| {
            let then = &before.made_of;
            then.owner == *owner && then.columns == made_of.columns && then.grown == made_of.grown
        });
        let finder = Finder::of(table, owner, made_of.grown)?;
        let same_owners = before.is_some_and(|before| made_of.has_owners_of(&before.made_of));
        let mut chunks = Vec::with_capacity(table.chunks() as usize);
        let mut anew = Vec::new();
        let mut same = [false; RANGE_CHUNKS];
        for chunk in 0..table.chunks() {
            let known = before.and_then(|before| before.chunks.get(chunk as usize));
            let (range, within) = (chunk as usize / RANGE_CHUNKS, chunk as usize % RANGE_CHUNKS);
            if let Some(before) = before.filter(|_| within == 0) {
                same = made_of.same_chunks(&before.made_of, range, |within| {
                    let chunk = range * RANGE_CHUNKS + within;
                    let rows = before.chunks.get(chunk).map(|chunk| chunk.rows);
                    chunk < table.chunks() as usize && rows == Some(table.chunk_rows(chunk as u32))
                });
            }
            match known.filter(|_| same[within]) {
                Some(known) => chunks.push(Arc::clone(known)),
                None => {
                    chunks.push(Arc::new(finder.chunk(chunk, known.map(|known| &**known))?));
                    anew.push(chunk);
                }
            }
        }
        let mut strays = Strays {
            made_of,
            chunks,
            heirs: Arc::default(),
            owned: Vec::new(),
            by_owner: OnceLock::new(),
            clustered: Vec::new(),
            unsettled: Vec::new(),
            kept: OnceLock::new(),
            kept_before: None,
        };
        strays.settle(&finder, owners, same_owners.then_some(&anew))?;
        strays.heirs =
            match before.filter(|before| same_owners && strays.made_of.has_parts_of(&before.made_of)) {
                Some(before) => Arc::clone(&before.heirs),
                None => {
                    strays.list_clustered();
                    Arc::new(strays.find_heirs(&finder, owner, owners)?)
                }
            };
        strays.put_together(owner);
        if let Some(before) = before.filter(|_| same_owners) {
            strays.kept_before = strays.written_since(before, &finder, &anew)?;
        }
        Ok(strays)
    }

    /// Finds the owners of rows by the keys that they hold now; in all chunks but those that are said to be the only new ones
    /// also those of rows whose owner need not be theirs any more.
    fn settle(&mut self, finder: &Finder<'_>, owners: &TableState, only: Option<&Vec<u32>>) -> Result<()> {
        let key = owners.schema().key;
        let (live, keys_of) =
            (owners.reader(ColumnId::LIVE)?, key.map(|key| owners.reader(key)).transpose()?);
        let (ordinals, indexed) = (owners.extent().ordinals, owners.extent().indexed);
        let holds = |one: u32, key: Option<i64>| -> Result<bool> {
            if u64::from(one) >= ordinals || !live.is_true(one)? {
                return Ok(false);
            }
            match (&keys_of, key) {
                _ if u64::from(one) < indexed => Ok(true),
                (Some(keys_of), Some(key)) => Ok(code_at(keys_of, one)? == Some(key)),
                _ => Ok(false),
            }
        };
        let mut asked: Vec<(u32, usize)> = Vec::new();
        let all: Vec<u32>;
        let chunks = match only {
            Some(only) => only,
            None => {
                all = (0..self.chunks.len() as u32).collect();
                &all
            }
        };
        for chunk in chunks {
            for (at, stray) in self.chunks[*chunk as usize].found.iter().enumerate() {
                let ask = match stray.whose {
                    Whose::Unknown => true,
                    Whose::Nobody => only.is_none() && !finder.is_null(stray),
                    Whose::Of(one) => only.is_none() && !holds(one, stray.key)?,
                };
                if ask {
                    asked.push((*chunk, at));
                }
            }
        }
        for asked in asked.chunks(KEYS_AT_ONCE) {
            let mut values = Vec::new();
            for (chunk, at) in asked {
                let stray = &self.chunks[*chunk as usize].found[*at];
                if stray.key.is_none() {
                    let row = chunk << 16 | u32::from(stray.row);
                    values.push(value_at(&finder.keys, finder.dictionary, row)?);
                }
            }
            let mut texts = values.iter();
            let (mut places, mut keys) = (Vec::with_capacity(asked.len()), Vec::with_capacity(asked.len()));
            for place in asked {
                let stray = &self.chunks[place.0 as usize].found[place.1];
                let key = match stray.key {
                    Some(key) => Some(Key::Integer(key)),
                    None => texts.next().and_then(Key::of_value),
                };
                if let Some(key) = key {
                    places.push(*place);
                    keys.push(key);
                } else {
                    Arc::make_mut(&mut self.chunks[place.0 as usize]).found[place.1].whose = Whose::Nobody;
                }
            }
            for ((chunk, at), found) in places.into_iter().zip(member::lookup(owners, &keys)?) {
                let whose = found.map_or(Whose::Nobody, Whose::Of);
                if self.chunks[chunk as usize].found[at].whose != whose {
                    Arc::make_mut(&mut self.chunks[chunk as usize]).found[at].whose = whose;
                }
            }
        }
        Ok(())
    }

    fn list_clustered(&mut self) {
        let ends = (0..).zip(&self.chunks).filter_map(|(chunk, found)| Some((chunk, found.clustered?)));
        self.clustered = ends.map(|(chunk, (first, last))| (chunk, first, last)).collect();
    }

    /// Who of the owners that came later has the key of one that was deleted, whose rows are then theirs.
    fn find_heirs(&self, finder: &Finder<'_>, owner: &Owner, owners: &TableState) -> Result<Vec<Heir>> {
        let may_have = self.made_of.grown && !self.clustered.is_empty() && owners.has_dead();
        let Some(key) = owners.schema().key.filter(|_| may_have) else { return Ok(Vec::new()) };
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
        let mut found = Vec::new();
        for (before, heir) in left {
            let (mut theirs, half) = (Vec::new(), [before as u16]);
            for chunk in self.chunks_of(before >> 16) {
                let Some(stored) = finder.ordinals.owners(chunk)? else { continue };
                for (_, run) in stored.runs_of(before >> 16) {
                    let rows = stored.rows_of(run, &half).flatten();
                    theirs.extend(rows.map(|row| chunk << 16 | row as u32));
                }
            }
            found.push(Heir { heir, rows: theirs });
        }
        Ok(found)
    }

    /// Makes what is asked of what was found chunk by chunk.
    fn put_together(&mut self, owner: &Owner) {
        self.list_clustered();
        let strays: usize = self.chunks.iter().map(|chunk| chunk.found.len()).sum();
        self.owned.reserve(strays);
        self.unsettled.reserve(2 * strays);
        for (chunk, found) in (0u32..).zip(&self.chunks) {
            self.unsettled.extend_from_slice(&found.left);
            for stray in &found.found {
                if let Whose::Of(one) = stray.whose {
                    self.owned.push((chunk << 16 | u32::from(stray.row), one));
                }
            }
        }
        let heirs = Arc::clone(&self.heirs);
        for Heir { heir, rows } in &*heirs {
            let stays = |row: &&u32| {
                self.excluded(**row >> 16).is_none_or(|excluded| !kernel::has(excluded, **row as u16))
            };
            let stay: Vec<(u32, u32)> = rows.iter().filter(stays).map(|row| (*row, *heir)).collect();
            self.owned.extend(stay);
        }
        if !heirs.is_empty() {
            self.owned.sort_unstable();
        }
        self.unsettled.extend(self.owned.iter().map(|(_, owner)| *owner));
        self.unsettled.retain(|one| *one < owner.known);
        self.unsettled.sort_unstable();
        self.unsettled.dedup();
    }

    /// What was kept in an earlier state, and the owners of rows that are not as they were then; `None` where that takes as long
    /// as beginning anew.
    fn written_since(
        &self,
        before: &Strays,
        finder: &Finder<'_>,
        anew: &[u32],
    ) -> Result<Option<(Arc<Kept>, Vec<u32>)>> {
        let (kept, mut written) = match (before.kept.get(), &before.kept_before) {
            (Some(kept), _) => (Arc::clone(kept), Vec::new()),
            (None, Some((kept, written))) => (Arc::clone(kept), written.clone()),
            (None, None) => return Ok(None),
        };
        if !self.made_of.has_parts_of(&before.made_of) || !self.heirs.is_empty() {
            return Ok(None);
        }
        for chunk in anew {
            let (range, within) = (*chunk as usize / RANGE_CHUNKS, *chunk as usize % RANGE_CHUNKS);
            let mut rows = Vec::new();
            self.made_of.rows[range].differing(&before.made_of.rows[range], within, &mut rows);
            // Codes of texts say nothing of two states of which one never came to be: whose a row is does.
            let (here, there) = (&self.chunks[*chunk as usize], before.chunks.get(*chunk as usize));
            let found = here.found.iter().chain(there.map_or(&[][..], |there| &there.found));
            let whose = |chunk: Option<&ChunkStrays>, row| {
                chunk.and_then(|chunk| chunk.stray(row)).map(|stray| stray.whose)
            };
            let there = there.map(|there| &**there);
            rows.extend(
                found.map(|stray| stray.row).filter(|row| whose(Some(here), *row) != whose(there, *row)),
            );
            rows.sort_unstable();
            rows.dedup();
            let stored = finder.ordinals.owners(*chunk)?;
            for row in rows {
                written.extend(stored.and_then(|stored| stored.owner_of(usize::from(row))));
                for strays in [before, self] {
                    let stray = strays.chunks.get(*chunk as usize).and_then(|chunk| chunk.stray(row));
                    written.extend(stray.and_then(|stray| match stray.whose {
                        Whose::Of(one) => Some(one),
                        Whose::Unknown | Whose::Nobody => None,
                    }));
                }
            }
        }
        written.sort_unstable();
        written.dedup();
        Ok(Some((kept, written)))
    }
}
