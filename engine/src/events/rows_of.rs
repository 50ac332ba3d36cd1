//! The rows of one owner: what a page about a member shows, and what a standing audience asks of one whose rows were written.
//!
//! ```text
//! owner ─ chunks of rows that have some of its chunk of owners ─ each run there: a guess at its rows, asked of the cache
//!                                                               └ each run again: its rows ─┐
//!       ─ strays, by their owners ──────────────────────────────────────────────────────────┴ by time
//! ```
//!
//! A chunk of owners has some sixty runs of a few thousand rows. Halves of owners are spread evenly over a run, so a row is
//! found a few places from where its half says it is: one line of a cache for each run, and all of them at once.

use super::Strays;
use crate::exec::codes_at;
use crate::kernel;
use crate::member::{self, Key};
use crate::schema::{Owner, TableId};
use crate::table::{ColumnReader, TableState};
use crate::value::Value;
use crate::{Error, Result, Snapshot};
use std::ops::Range;
use std::sync::Arc;

/// The rows of a table by their owners, opened once to be asked often. See [`Snapshot::rows_by_owner`].
pub struct RowsByOwner<'a> {
    table: &'a TableState,
    owner: Owner,
    owners: &'a TableState,
    ordinals: ColumnReader<'a>,
    time: Option<ColumnReader<'a>>,
    strays: Arc<Strays>,
}

impl<'a> RowsByOwner<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, table: TableId) -> Result<RowsByOwner<'a>> {
        let rows: &TableState = snapshot.table(table)?;
        let Some(owner) = rows.schema().owner else {
            let name = &rows.schema().name;
            return Err(Error::Invalid(format!(
                "the rows of \"{name}\" belong to nobody: CREATE TABLE … WITH (owner = …) says whose they are"
            )));
        };
        Ok(RowsByOwner {
            table: rows,
            owner,
            owners: snapshot.table(owner.table)?,
            ordinals: rows.reader(owner.ordinals)?,
            time: owner.time.map(|time| rows.reader(time)).transpose()?,
            strays: snapshot.strays(table)?,
        })
    }

    /// The ordinals of the rows of the owner with a key, as [`Snapshot::rows_of`] gives them; `None` where nobody has it.
    pub fn of_key(&self, key: &Value) -> Result<Option<Vec<u32>>> {
        let Some(known) = Key::of_value(key) else {
            return Err(Error::Invalid(format!("a key is a BIGINT or a TEXT, not {key}")));
        };
        match member::lookup(self.owners, &[known])?.first() {
            Some(Some(owner)) => self.of(*owner).map(Some),
            _ => Ok(None),
        }
    }

    /// The same of a live owner by its ordinal.
    pub fn of(&self, owner: u32) -> Result<Vec<u32>> {
        let mut rows = Vec::new();
        self.add_clustered(owner, &mut rows)?;
        let strays = self.strays.by_owner();
        let from = strays.partition_point(|(known, _)| *known < owner);
        let strays = strays[from..].iter().take_while(|(known, _)| *known == owner);
        rows.extend(strays.map(|(_, row)| *row));
        self.put_in_time(&mut rows)?;
        Ok(rows)
    }

    /// Whose the rows are.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The rows that stand where they were imported, and hold what they held.
    fn add_clustered(&self, owner: u32, rows: &mut Vec<u32>) -> Result<()> {
        let half = owner as u16;
        for chunk in self.strays.chunks_of(owner >> 16) {
            let Some(stored) = self.ordinals.owners(chunk)? else { continue };
            let runs = || stored.runs_of(owner >> 16).map(|(_, run)| run);
            runs().for_each(|run| kernel::prefetch(&stored.halves[run.clone()], guess(run.len(), half)));
            let excluded = self.strays.excluded(chunk);
            for run in runs() {
                let here = span_of(&stored.halves[run.clone()], half);
                let here = (run.start + here.start..run.start + here.end).map(|row| row as u16);
                let stays = here.filter(|row| excluded.is_none_or(|out| !kernel::has(out, *row)));
                rows.extend(stays.map(|row| chunk << 16 | u32::from(row)));
            }
        }
        Ok(())
    }

    /// Puts rows in the order of time: those without one come last, those of one time as they are stored.
    fn put_in_time(&self, rows: &mut [u32]) -> Result<()> {
        rows.sort_unstable();
        let Some(time) = self.time.as_ref().filter(|_| rows.len() > 1) else { return Ok(()) };
        let mut timed: Vec<(bool, i64, u32)> = Vec::with_capacity(rows.len());
        for some in rows.chunk_by(|a, b| a >> 16 == b >> 16) {
            let within: Vec<u16> = some.iter().map(|row| *row as u16).collect();
            let times = codes_at(time, some[0] >> 16, &within)?;
            timed.extend(
                some.iter().zip(times).map(|(row, time)| (time.is_none(), time.unwrap_or_default(), *row)),
            );
        }
        timed.sort_unstable();
        rows.iter_mut().zip(timed).for_each(|(row, (_, _, timed))| *row = timed);
        Ok(())
    }
}

impl std::fmt::Debug for RowsByOwner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowsByOwner").field("table", &self.table.schema().name).finish_non_exhaustive()
    }
}

/// Where a half is, were they spread evenly over a run.
fn guess(rows: usize, half: u16) -> usize {
    (rows * usize::from(half)) >> 16
}

/// The places of a half among ascending ones.
fn span_of(halves: &[u16], half: u16) -> Range<usize> {
    let start = first_from(halves, guess(halves.len(), half), half);
    let here = halves[start..].iter().take_while(|known| **known == half).count();
    start..start + here
}

/// The first place of ascending halves that is not below one, searched from a guess in steps that double.
fn first_from(halves: &[u16], guess: usize, half: u16) -> usize {
    let (mut low, mut high, mut step) = (guess.min(halves.len()), guess.min(halves.len()), 1);
    // All before `low` are below, all from `high` on are not.
    while low > 0 && halves[low - 1] >= half {
        high = low - 1;
        low = low.saturating_sub(step);
        step *= 2;
    }
    while high < halves.len() && halves[high] < half {
        low = high + 1;
        high = (high + step).min(halves.len());
        step *= 2;
    }
    low + halves[low..high].partition_point(|known| *known < half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_half_is_found_wherever_the_search_begins(
            mut halves in proptest::collection::vec(prop_oneof![0u16..20, any::<u16>()], 0..200),
            half in prop_oneof![0u16..20, any::<u16>()],
            guess in 0usize..220,
        ) {
            halves.sort_unstable();
            let first = halves.partition_point(|known| *known < half);
            let end = halves.partition_point(|known| *known <= half);
            prop_assert_eq!(first_from(&halves, guess, half), first);
            prop_assert_eq!(span_of(&halves, half), first..end);
        }
    }
}
