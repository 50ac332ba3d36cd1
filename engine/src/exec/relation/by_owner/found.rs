//! Where the rows of owners are: those of a chunk of owners, found in a table, or by way of another one's rows.

use super::opened::{Run, RunRows};
use crate::events::Strays;
use crate::index::owners::{Bounds, OwnersRef, RunBounds};
use crate::kernel;
use crate::schema::{Owner, TableId};
use crate::table::ColumnReader;
use crate::{Result, Snapshot};
use muster_storage::chunk::Words;
use muster_storage::format::{BITSET_WORDS, CHUNK_MEMBERS};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// So many owners of a chunk are looked up in each run; of more, all rows are gone through.
const OWNERS_LOOKED_UP: u32 = 24;

/// So many halves are compared with those before them at once.
const HALVES_AT_ONCE: usize = 64;

/// So many strays of a chunk of owners are runs of their own.
const STRAYS_APART: usize = 128;

/// Runs of fewer rows on average are not worth having.
const RUN_ROWS_MIN: usize = 16;

/// The rows of a table in the order of their owners, and those that are not in it.
pub(super) struct Ordered<'a> {
    ordinals: ColumnReader<'a>,
    strays: Arc<Strays>,
    /// Strays that are asked: their owner, the row; ascending.
    loose: Vec<(u32, u32)>,
}

impl<'a> Ordered<'a> {
    /// Of all rows, or of the strays that are said.
    pub(super) fn new(
        snapshot: &'a Snapshot,
        table: TableId,
        owner: &Owner,
        loose: Option<Vec<(u32, u32)>>,
    ) -> Result<Ordered<'a>> {
        let strays = snapshot.strays(table)?;
        let all = || strays.owned().iter().map(|(row, owner)| (*owner, *row)).collect();
        let mut loose: Vec<(u32, u32)> = loose.unwrap_or_else(all);
        loose.sort_unstable();
        Ok(Ordered { ordinals: snapshot.table(table)?.reader(owner.ordinals)?, strays, loose })
    }

    /// The rows of a chunk of owners that count, the strays apart; `only` are some of these owners. `hear` is told of a chunk of rows, the
    /// runs there, and the rows that do not count.
    pub(super) fn for_each_chunk(
        &self,
        owners: u32,
        only: Option<&Words>,
        can_have: impl Fn(&RunBounds) -> bool,
        mut hear: impl FnMut(u32, &OwnersRef<'a>, Vec<(Bounds, Range<usize>)>, Option<&Words>) -> Result<()>,
    ) -> Result<()> {
        let few = only.map(kernel::cardinality).filter(|asked| *asked <= OWNERS_LOOKED_UP);
        let mut members = Vec::new();
        if let (Some(only), Some(asked)) = (only, few) {
            kernel::decode_members(only, asked, &mut members);
        }
        for chunk in self.strays.chunks_of(owners) {
            let Some(stored) = self.ordinals.owners(chunk)? else { continue };
            let runs = stored.runs_of(owners).filter(|(run, _)| can_have(run));
            let runs = runs.map(|(run, rows)| (run.times, rows));
            let of_few = |(times, rows)| stored.rows_of(rows, &members).map(move |rows| (times, rows));
            let runs: Vec<(Bounds, Range<usize>)> = match few {
                None => runs.collect(),
                Some(_) => runs.flat_map(of_few).collect(),
            };
            if !runs.is_empty() {
                hear(chunk, &stored, runs, self.strays.excluded(chunk))?;
            }
        }
        Ok(())
    }

    /// All rows of a chunk of owners: runs as they were imported, cut where a row does not count, and each stray by itself. `None` where
    /// there are so many strays that a list of all rows is better.
    pub(super) fn runs(
        &self,
        owners: u32,
        can_have: impl Fn(&RunBounds) -> bool,
    ) -> Result<Option<Vec<Run<'a>>>> {
        let loose = self.loose_of(owners);
        let (mut all, mut cuts) = (Vec::new(), loose.len());
        if cuts > STRAYS_APART {
            return Ok(None);
        }
        self.for_each_chunk(owners, None, can_have, |chunk, stored, runs, excluded| {
            let mut add = |times: Bounds, rows: Range<usize>| {
                if !rows.is_empty() {
                    let halves = Cow::Borrowed(&stored.halves[rows.clone()]);
                    all.push(Run { chunk, halves, rows: RunRows::From(rows.start as u32), times });
                }
            };
            let mut out = Vec::new();
            if let Some(excluded) = excluded {
                kernel::decode_members(excluded, kernel::cardinality(excluded), &mut out);
            }
            for (times, rows) in runs {
                let mut start = rows.start;
                let from = out.partition_point(|row| usize::from(*row) < rows.start);
                for row in out[from..].iter().map(|row| usize::from(*row)).take_while(|row| *row < rows.end) {
                    add(times, start..row);
                    start = row + 1;
                    cuts += 1;
                }
                add(times, start..rows.end);
            }
            Ok(())
        })?;
        if cuts > STRAYS_APART {
            return Ok(None);
        }
        all.extend(loose.iter().map(|(owner, row)| Run {
            chunk: row >> 16,
            halves: vec![*owner as u16].into(),
            rows: RunRows::Listed(vec![*row as u16]),
            times: Bounds::of_nulls(),
        }));
        if !loose.is_empty() {
            all.sort_by_key(|run| (run.chunk, run.row(0)));
        }
        Ok(Some(all))
    }

    /// The strays of a chunk of owners.
    fn loose_of(&self, owners: u32) -> &[(u32, u32)] {
        let from = self.loose.partition_point(|(owner, _)| owner >> 16 < owners);
        let to = self.loose.partition_point(|(owner, _)| owner >> 16 <= owners);
        &self.loose[from..to]
    }

    /// Adds the strays of a chunk of owners.
    pub(super) fn add_strays(&self, owners: u32, found: &mut Found) {
        for (owner, row) in self.loose_of(owners) {
            found.halves.push(*owner as u16);
            found.rows.push(*row);
        }
    }

    /// All rows of a chunk of owners, of `only` some where not all are asked: what belongs to others may be among them.
    pub(super) fn found(&self, owners: u32, only: Option<&Words>) -> Result<Found> {
        let mut found = Found::default();
        self.for_each_chunk(
            owners,
            only,
            |_| true,
            |chunk, stored, runs, excluded| {
                for (_, rows) in runs {
                    let stays = |row: &usize| excluded.is_none_or(|out| !kernel::has(out, *row as u16));
                    for row in rows.filter(stays) {
                        found.halves.push(stored.halves[row]);
                        found.rows.push(chunk << 16 | row as u32);
                    }
                }
                Ok(())
            },
        )?;
        self.add_strays(owners, &mut found);
        if let Some(only) = only {
            found.retain(only);
        }
        Ok(found)
    }
}

/// Rows of a chunk of owners, and the low halves of their owners' ordinals.
#[derive(Default)]
pub(super) struct Found {
    pub(super) halves: Vec<u16>,
    pub(super) rows: Vec<u32>,
    /// When they happened, as far as the runs that they were found in tell: where those of each end. Not known of rows behind these.
    pub(super) timed: Vec<(Bounds, usize)>,
}

impl Found {
    /// Keeps the rows of some owners.
    pub(super) fn retain(&mut self, only: &Words) {
        let (mut kept, mut from) = (0, 0);
        let timed = std::mem::take(&mut self.timed);
        for (times, end) in
            timed.into_iter().map(|(times, end)| (Some(times), end)).chain([(None, self.rows.len())])
        {
            for at in from..end {
                (self.rows[kept], self.halves[kept]) = (self.rows[at], self.halves[at]);
                kept += usize::from(kernel::has(only, self.halves[at]));
            }
            from = end;
            self.timed.extend(times.map(|times| (times, kept)));
        }
        self.rows.truncate(kept);
        self.halves.truncate(kept);
    }

    /// When some of the rows happened, which are in the order of their owners: of those of one, as time goes on. NULLs' bounds where that is
    /// not known.
    fn times(&self, rows: Range<usize>) -> Bounds {
        let mut all = Bounds::of_nulls();
        let from = self.timed.partition_point(|(_, end)| *end <= rows.start);
        for (times, end) in &self.timed[from..] {
            if times.low > times.high || times.low < all.high {
                break;
            }
            all = all.and(*times);
            if *end >= rows.end {
                return all;
            }
        }
        Bounds::of_nulls()
    }

    fn sort_by(&mut self, key: impl Fn(u32, u16) -> (u32, u16, u32)) {
        self.timed.clear();
        let mut both: Vec<(u32, u16)> = self.rows.drain(..).zip(self.halves.drain(..)).collect();
        both.sort_unstable_by_key(|(row, half)| key(*row, *half));
        (self.rows, self.halves) = both.into_iter().unzip();
    }

    /// The rows as they are stored, cut where one is of another chunk, or its owner before that of the row before: runs, where they are as
    /// they were imported. Where all in all they would be cut everywhere, those of each chunk are put in the order of their owners instead.
    pub(super) fn into_runs<'a>(mut self) -> Vec<Run<'a>> {
        if !self.rows.is_sorted() {
            self.sort_by(|row, _| (row >> 16, 0, row));
        }
        // Counted of rows as they are stored: strays are found in the order of their owners, and were written in none.
        let pairs = self.halves.iter().zip(self.halves.iter().skip(1));
        if pairs.filter(|(before, half)| half < before).count() > self.rows.len() / RUN_ROWS_MIN {
            self.sort_by(|row, half| (row >> 16, half, row));
        }
        let (mut runs, mut start) = (Vec::new(), 0);
        let run = |rows: Range<usize>| Run {
            chunk: self.rows[rows.start] >> 16,
            halves: self.halves[rows.clone()].to_vec().into(),
            rows: RunRows::Listed(self.rows[rows.clone()].iter().map(|row| *row as u16).collect()),
            times: self.times(rows),
        };
        for chunk in self.rows.chunk_by(|a, b| a >> 16 == b >> 16) {
            let end = start + chunk.len();
            for first in (start + 1..end).step_by(HALVES_AT_ONCE) {
                let some = &self.halves[first - 1..(first + HALVES_AT_ONCE).min(end)];
                // Hardly ever is one less than that before it: most are not looked at one by one.
                let pairs = some.iter().zip(&some[1..]);
                if pairs.clone().fold(false, |any, (before, half)| any | (half < before)) {
                    for (at, _) in (first..).zip(pairs).filter(|(_, (before, half))| half < before) {
                        runs.push(run(start..at));
                        start = at;
                    }
                }
            }
            runs.push(run(start..end));
            start = end;
        }
        runs
    }

    /// The rows that belong to these rows, and so to the owners of these; `next` finds those of some rows of a chunk.
    pub(super) fn through(self, mut next: impl FnMut(u32, &Words) -> Result<Found>) -> Result<Found> {
        let mut between: Vec<(u32, u16)> = self.rows.into_iter().zip(self.halves).collect();
        if !between.is_sorted() {
            between.sort_unstable();
        }
        let (mut all, mut owner_of) = (Found::default(), vec![0u16; CHUNK_MEMBERS]);
        for some in between.chunk_by(|a, b| a.0 >> 16 == b.0 >> 16) {
            let mut asked = Box::new([0; BITSET_WORDS]);
            for (row, half) in some {
                let low = (row & 0xffff) as usize;
                asked[low / 64] |= 1 << (low % 64);
                owner_of[low] = *half;
            }
            let mut here = next(some[0].0 >> 16, &asked)?;
            here.retain(&asked);
            all.halves.extend(here.halves.iter().map(|half| owner_of[usize::from(*half)]));
            all.rows.append(&mut here.rows);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Strays are found in the order of their owners, where nothing is cut; as they are stored nearly every row would be a run of
    /// its own, which made questions over a table that was never imported twenty times slower.
    #[test]
    fn rows_that_were_written_in_no_order_are_one_run() {
        let half = |row: u32| (row.wrapping_mul(0x9e37_79b9) >> 16) as u16;
        let mut found: Vec<(u16, u32)> = (0..4_096).map(|row| (half(row), row)).collect();
        found.sort_unstable();
        let (halves, rows) = found.iter().copied().unzip();
        let runs = Found { halves, rows, timed: Vec::new() }.into_runs();
        assert_eq!(runs.len(), 1);
        assert!(runs[0].halves.is_sorted() && runs[0].halves.len() == found.len());
    }

    /// Rows of an owner come as they are stored, whichever way they were found.
    #[test]
    fn a_few_strays_leave_runs_as_they_are() {
        let imported = (0..4_096u32).map(|row| ((row / 2 % 1_024) as u16, row));
        let strays = (0..8u32).map(|stray| (stray as u16 * 100, 65_536 + (7 - stray)));
        let (halves, rows): (Vec<u16>, Vec<u32>) = imported.chain(strays).unzip();
        let runs = Found { halves, rows, timed: Vec::new() }.into_runs();
        assert!(runs.len() <= 2 + 8, "{}", runs.len());
        assert!(runs.iter().all(|run| run.halves.is_sorted()));
        assert_eq!(runs.iter().map(|run| run.halves.len()).sum::<usize>(), 4_096 + 8);
    }

    /// A run is known to go on in time where those that it was found in do, and all of its rows have a time.
    #[test]
    fn runs_of_found_rows_tell_time() {
        let times = |low, high| Bounds { low, high };
        let found = |timed: &[(Bounds, usize)]| Found {
            halves: (0..24).chain(0..24).collect(),
            rows: (0..48).collect(),
            timed: timed.to_vec(),
        };
        let of = |found: Found| found.into_runs().iter().map(|run| run.times).collect::<Vec<_>>();
        let unknown = Bounds::of_nulls();
        let all = [(times(0, 5), 9), (times(5, 8), 24), (times(9, 9), 48)];
        assert_eq!(of(found(&all)), [times(0, 8), times(9, 9)]);
        assert_eq!(of(found(&[(times(0, 5), 9), (times(4, 8), 24), all[2]])), [unknown, times(9, 9)]);
        assert_eq!(of(found(&[all[0], (unknown, 24), (times(9, 9), 47)])), [unknown, unknown]);
        assert_eq!(of(found(&[(times(0, 5), 24)])), [times(0, 5), unknown]);
        let mut some = found(&all);
        let mut only = [0; BITSET_WORDS];
        [1, 9].into_iter().for_each(|half| only[half / 64] |= 1 << (half % 64));
        some.retain(&only);
        assert_eq!((some.rows.as_slice(), some.halves.as_slice()), (&[1, 9, 25, 33][..], &[1, 9, 1, 9][..]));
        assert_eq!(some.timed, [(times(0, 5), 1), (times(5, 8), 2), (times(9, 9), 4)]);
    }
}
