//! The front of an order: the members that ORDER BY … LIMIT can want, found by walking the range index from its end instead
//! of making the set of all members.
//!
//! ```text
//! chunk 0   … 812 815 │ 830 844      ranks from the front backwards, eight at a time: each row is asked whether it is a
//! chunk 1   … 790 801 │ 802 920      member; a chunk is left once its next value is behind the threshold, the value of
//! chunk 2   … 640     │ 655 700      the limit-th member found so far
//! ```
//!
//! Chunks are walked in passes: in the first so deep that about twice the limit of members should turn up, then twice as deep
//! each time in those that can still have better ones. The first pass nearly always settles it, and no member is looked
//! at before the threshold is worth something. Only the values of members are read; where to stop is told by the fences.
//!
//! Ties with the threshold are all kept: further columns or the ordinal decide among them, which is the sink's affair. The
//! walk is given up where it would be longer than making the sets: few members, many ties, chunks without a range index.

use super::chunk::Worker;
use super::sink::OrderBy;
use super::{Stats, share, tasks_of};
use crate::Result;
use crate::control::Cancel;
use crate::delta::CellRef;
use crate::index::fences::FENCE_STEP;
use crate::plan::{Plan, Test};
use crate::table::ColumnReader;
use muster_storage::format::SectionKind;
use roaring::RoaringBitmap;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// At most this share of the rows is walked: beyond, sets are faster than asking row by row.
const WALKED_SHARE_MAX: f64 = 1.0 / 32.0;
/// What asking a row takes, and what visiting a chunk.
const ROW_NANOS: f64 = 10.0;
const CHUNK_NANOS: f64 = 250.0;

/// Lines of changed rows that are asked for ahead of a search among them: about one row of a hundred.
const ROWS_LINES: usize = 24;

/// The members that can be among the first.
pub(super) struct Front {
    /// Ascending ordinals.
    ordinals: Vec<u32>,
    pub(super) stats: Stats,
}

impl Front {
    /// Chunk by chunk.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (u32, Vec<u16>)> + '_ {
        self.ordinals
            .chunk_by(|a, b| a >> 16 == b >> 16)
            .map(|some| (some[0] >> 16, some.iter().map(|ordinal| *ordinal as u16).collect()))
    }
}

/// How far the walk of one chunk is.
struct Walk {
    /// Ranks walked, from the front.
    done: AtomicU32,
    /// No value from here on is in front of this one, as [`Order::place`] has it.
    bound: AtomicI64,
}

/// Which end of the range index is the front.
#[derive(Clone, Copy)]
struct Order {
    descending: bool,
}

impl Order {
    /// A value as a number that is the greater, the further in front it is.
    fn place(self, code: i64) -> i64 {
        if self.descending { code } else { !code }
    }

    /// The codes whose place is this one, or in front of it: from and to.
    fn codes_from(self, place: i64) -> (i64, i64) {
        if self.descending { (place, i64::MAX) } else { (i64::MIN, !place) }
    }

    /// The ranks from `done` on to about `more` further, and the rank whose value bounds what is behind them, if any is.
    fn ranks(self, count: usize, done: usize, more: usize) -> (Range<usize>, Option<usize>) {
        if self.descending {
            let end = count.saturating_sub(done);
            // Down to a rank that has a fence.
            let start = end.saturating_sub(more.max(1)) / FENCE_STEP * FENCE_STEP;
            (start..end, (start > 0).then_some(start))
        } else {
            let end = (done + more.max(1)).next_multiple_of(FENCE_STEP).min(count);
            (done.min(count)..end, (end < count).then_some(end))
        }
    }
}

/// What one thread has found.
struct Finder<'p, 'a> {
    worker: Worker<'p, 'a>,
    /// Place and ordinal of members.
    found: Vec<(i64, u32)>,
    walked: u64,
}

/// The members that can be among the first `limit`; `None` where making sets is the better way.
pub(super) fn find(
    plan: &Plan<'_>,
    mask: Option<&RoaringBitmap>,
    chunks: Range<u32>,
    order: OrderBy,
    limit: usize,
    cancel: &Cancel,
) -> Result<Option<Front>> {
    // Rows of other tables are asked for a chunk of members at once.
    if plan
        .leaves
        .iter()
        .any(|leaf| matches!(leaf.test, Test::Rows(_) | Test::InOwners(_) | Test::ByOwner(_)))
    {
        return Ok(None);
    }
    let rows = plan.table.rows().min(u64::from(chunks.end.saturating_sub(chunks.start)) << 16) as f64;
    let expected = limit as f64 / plan.share.max(1e-9);
    if limit == 0 || 2.0 * expected > rows * WALKED_SHARE_MAX {
        return Ok(None);
    }
    let reader = plan.table.reader(order.column)?;
    let Some(walks) = walks(&reader, chunks.clone(), order) else { return Ok(None) };
    let search = Search {
        plan,
        reader: &reader,
        mask,
        cancel,
        order: Order { descending: order.descending },
        limit,
        first: chunks.start,
        walks: &walks,
        threshold: AtomicI64::new(i64::MIN),
    };
    let (mut all, mut stats, mut walked) = (Vec::new(), Stats::default(), 0);
    let mut depth = (2.0 * expected / walks.len() as f64).ceil() as usize;
    loop {
        let (tasks, alive) = search.alive();
        if alive == 0 {
            break;
        }
        if walked as f64 > rows * WALKED_SHARE_MAX {
            return Ok(None);
        }
        let nanos = alive as f64 * (CHUNK_NANOS + ROW_NANOS * depth as f64);
        let begin = || Finder { worker: Worker::new(plan), found: Vec::new(), walked: 0 };
        for finder in share(&tasks, nanos, begin, |finder, task| search.task(finder, task, depth))? {
            all.extend(finder.found);
            stats.add(finder.worker.stats);
            walked += finder.walked;
        }
        search.prune(&mut all);
        depth *= 2;
    }
    // Changed rows are in no range index; by now the threshold excludes most of them.
    let tasks = tasks_of(chunks.clone());
    let tasks: Vec<_> =
        tasks.into_iter().filter(|task| task.clone().any(|chunk| reader.is_changed(chunk))).collect();
    let begin = || Finder { worker: Worker::new(plan), found: Vec::new(), walked: 0 };
    let nanos = (tasks.len() * 16) as f64 * CHUNK_NANOS;
    for finder in share(&tasks, nanos, begin, |finder, task| search.changed(finder, task))? {
        all.extend(finder.found);
        stats.add(finder.worker.stats);
    }
    search.prune(&mut all);
    // With fewer members than asked for, those without a value come last.
    if all.len() < limit && walks_have_nulls(&reader, chunks) {
        return Ok(None);
    }
    let mut ordinals: Vec<u32> = all.into_iter().map(|(_, ordinal)| ordinal).collect();
    ordinals.sort_unstable();
    Ok(Some(Front { ordinals, stats }))
}

fn walks_have_nulls(reader: &ColumnReader<'_>, mut chunks: Range<u32>) -> bool {
    chunks.any(|chunk| reader.entry(chunk, SectionKind::Nulls).is_some() || reader.has_changed_nulls(chunk))
}

/// A walk of every chunk; `None` where one has no range index, or NULLs are in front.
fn walks(reader: &ColumnReader<'_>, chunks: Range<u32>, order: OrderBy) -> Option<Vec<Walk>> {
    // The codes of a text are in the order of their arrival.
    if !reader.data_type().is_numeric_code()
        || (order.nulls_first && walks_have_nulls(reader, chunks.clone()))
    {
        return None;
    }
    chunks
        .map(|chunk| {
            let Some(zone) = reader.zone(chunk) else {
                // A chunk that the base has no value of can have changed rows.
                let walk = Walk { done: AtomicU32::new(0), bound: AtomicI64::new(i64::MIN) };
                return (!reader.has_values(chunk)).then_some(walk);
            };
            let best = if order.descending { zone.high } else { zone.low };
            let place = Order { descending: order.descending }.place(best);
            Some(Walk { done: AtomicU32::new(0), bound: AtomicI64::new(place) })
        })
        .collect()
}

/// All that a walk needs to know.
struct Search<'s, 'a> {
    plan: &'s Plan<'a>,
    reader: &'s ColumnReader<'a>,
    mask: Option<&'s RoaringBitmap>,
    cancel: &'s Cancel,
    order: Order,
    limit: usize,
    first: u32,
    walks: &'s [Walk],
    /// Behind this place nobody is wanted.
    threshold: AtomicI64,
}

impl<'a> Search<'_, 'a> {
    fn walk(&self, chunk: u32) -> &Walk {
        &self.walks[(chunk - self.first) as usize]
    }

    fn is_alive(&self, chunk: u32) -> bool {
        let walk = self.walk(chunk);
        let count = self.reader.zone(chunk).map_or(0, |zone| zone.count);
        walk.done.load(Ordering::Relaxed) < count
            && walk.bound.load(Ordering::Relaxed) >= self.threshold.load(Ordering::Relaxed)
    }

    /// The tasks that have chunks to be walked further, the best first, and how many chunks those are.
    fn alive(&self) -> (Vec<Range<u32>>, usize) {
        let mut count = 0;
        let mut tasks: Vec<(i64, Range<u32>)> = Vec::new();
        for task in tasks_of(self.first..self.first + self.walks.len() as u32) {
            let alive = task.clone().filter(|chunk| self.is_alive(*chunk));
            let bounds = alive.map(|chunk| self.walk(chunk).bound.load(Ordering::Relaxed));
            if let Some(best) = bounds.inspect(|_| count += 1).max() {
                tasks.push((best, task));
            }
        }
        tasks.sort_by_key(|(best, _)| std::cmp::Reverse(*best));
        (tasks.into_iter().map(|(_, task)| task).collect(), count)
    }

    fn task(&self, finder: &mut Finder<'_, 'a>, chunks: Range<u32>, depth: usize) -> Result<bool> {
        finder.worker.begin(chunks.clone());
        for chunk in chunks {
            self.cancel.check()?;
            if self.is_alive(chunk) {
                self.prefetch(chunk + 1);
                self.step(finder, chunk, depth)?;
            }
        }
        if finder.found.len() > 2 * self.limit + 1_024 {
            self.prune(&mut finder.found);
        }
        Ok(true)
    }

    /// Asks the cache for the changed rows of a chunk, in which members are looked for.
    fn prefetch(&self, chunk: u32) {
        let readers = std::iter::once(self.reader).chain(&self.plan.readers);
        readers.for_each(|reader| reader.prefetch_changes(chunk, ROWS_LINES));
    }

    /// Finds the members among the changed rows of some chunks.
    fn changed(&self, finder: &mut Finder<'_, 'a>, chunks: Range<u32>) -> Result<bool> {
        finder.worker.begin(chunks.clone());
        for chunk in chunks.filter(|chunk| self.reader.is_changed(*chunk)) {
            self.cancel.check()?;
            let threshold = self.threshold.load(Ordering::Relaxed);
            let wanted = self.order.codes_from(threshold);
            if self.reader.changed_zone(chunk).is_some_and(|(low, high)| high < wanted.0 || wanted.1 < low) {
                continue;
            }
            let changes = self.reader.changes(chunk)?;
            let (mut both, mut marks): (Vec<(u16, i64)>, Vec<bool>) = Default::default();
            for (nth, patch) in changes.iter().enumerate() {
                patch.new.mark_within(std::iter::once(wanted), false, &mut marks);
                for (place, row) in patch.rows.iter().enumerate().filter(|(place, _)| marks[*place]) {
                    let written_again = || changes[nth + 1..].iter().any(|later| later.cell(*row).is_some());
                    let masked = || self.mask.is_none_or(|mask| mask.contains(chunk << 16 | u32::from(*row)));
                    if let CellRef::Code(code) = patch.new.get(place)
                        && masked()
                        && !written_again()
                    {
                        both.push((*row, self.order.place(code)));
                    }
                }
            }
            both.sort_unstable();
            if both.is_empty() {
                continue;
            }
            let mut members: Vec<u16> = both.iter().map(|(row, _)| *row).collect();
            finder.worker.probe(&self.plan.root, chunk, &mut members)?;
            finder.worker.retain_live(chunk, &mut members)?;
            let found = both.iter().filter(|(row, _)| members.binary_search(row).is_ok());
            finder.found.extend(found.map(|(row, place)| (*place, chunk << 16 | u32::from(*row))));
        }
        Ok(true)
    }

    /// Walks one chunk further.
    fn step(&self, finder: &mut Finder<'_, 'a>, chunk: u32, depth: usize) -> Result<()> {
        let walk = self.walk(chunk);
        let done = walk.done.load(Ordering::Relaxed) as usize;
        let Some(order) = self.reader.ranked(chunk)? else { return Ok(()) };
        let (ranks, behind) = self.order.ranks(order.permutation.len(), done, depth);
        let mut members = order.permutation[ranks.clone()].to_vec();
        walk.done.store((done + members.len()) as u32, Ordering::Relaxed);
        finder.walked += members.len() as u64;
        if let Some(code) = behind.and_then(|rank| order.fences.at(rank)) {
            walk.bound.store(self.order.place(code), Ordering::Relaxed);
        }
        finder.worker.stats.chunks += u64::from(done == 0);
        finder.worker.stats.bytes += 64 * 3 + 2 * members.len() as u64;
        if let Some(mask) = self.mask {
            members.retain(|member| mask.contains(chunk << 16 | u32::from(*member)));
        }
        if self.plan.readers.iter().any(|reader| reader.is_changed(chunk)) {
            members.sort_unstable();
        }
        if self.reader.is_changed(chunk) {
            let mut changed = vec![false; members.len()];
            members.sort_unstable();
            self.reader.overlay(chunk, &members, |at, _| changed[at] = true)?;
            let mut changed = changed.into_iter();
            members.retain(|_| changed.next() == Some(false));
        }
        finder.worker.probe(&self.plan.root, chunk, &mut members)?;
        finder.worker.retain_live(chunk, &mut members)?;
        let Some(values) = self.reader.values(chunk)? else { return Ok(()) };
        let threshold = self.threshold.load(Ordering::Relaxed);
        for member in members {
            let place = self.order.place(values.get(usize::from(member)));
            if place >= threshold {
                finder.found.push((place, chunk << 16 | u32::from(member)));
            }
        }
        Ok(())
    }

    /// Drops what is behind the limit, with ties kept, and moves the threshold there.
    fn prune(&self, found: &mut Vec<(i64, u32)>) {
        if found.len() < self.limit {
            return;
        }
        let (_, last, _) =
            found.select_nth_unstable_by_key(self.limit - 1, |(place, _)| std::cmp::Reverse(*place));
        let last = last.0;
        found.retain(|(place, _)| *place >= last);
        self.threshold.fetch_max(last, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_meet_every_rank_once_and_stop_at_fences() {
        for count in [0, 1, 7, 8, 9, 1023, 4095, 4096, 4097, 65_535, 65_536] {
            for (descending, depth) in
                [(true, 1), (false, 1), (true, 8), (false, 8), (true, 100), (false, 100)]
            {
                let (mut done, mut seen) = (0, vec![false; count]);
                while done < count {
                    let (ranks, behind) = Order { descending }.ranks(count, done, depth);
                    assert!(!ranks.is_empty(), "{count} {descending} {depth}: no progress at {done}");
                    assert!(ranks.len() < depth + FENCE_STEP);
                    done += ranks.len();
                    assert!(seen[ranks.clone()].iter_mut().all(|seen| !std::mem::replace(seen, true)));
                    assert_eq!(behind.is_none(), done == count, "{count} {descending} {depth}");
                    if let Some(rank) = behind {
                        assert!(rank.is_multiple_of(FENCE_STEP));
                        assert_eq!(rank, if descending { ranks.start } else { ranks.end });
                    }
                }
                assert!(seen.into_iter().all(|seen| seen));
            }
        }
    }
}
