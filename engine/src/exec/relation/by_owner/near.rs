//! Who has a row of each of some steps soon after each other, told by the runs that these rows stand in.
//!
//! ```text
//! runs as time goes on      1     2     3     4     5          a byte for each owner and step: its last run
//!   rows of step 0          a           b                      a  1 · ·  ─▶ 1 · 5   the runs 1 and 5 are further apart than asked
//!   rows of step 1                      b                      b  · 3 ·  ─▶ 3 3 ·   both are there: b may have them in time
//!   rows of step 2                            a
//! ```
//!
//! When a row happened is known as exactly as the bounds of its run, without reading it: who has all steps in time is among those that are
//! found, and hardly anybody else is.

use crate::index::owners::Bounds;
use crate::kernel;
use muster_storage::chunk::Words;
use muster_storage::format::{BITSET_WORDS, CHUNK_MEMBERS};
use std::ops::Range;

/// As many steps have a byte each.
pub(super) const STEPS_MAX: usize = size_of::<u32>();

/// Numbers that runs have. The top bit of a byte is free for comparing all of them at once.
const NUMBERS: usize = 127;

/// A byte of 1 for each step.
const ONES: u32 = 0x0101_0101;

/// The top bits of the bytes.
const TOPS: u32 = 0x8080_8080;

/// Rows of some owners, in the order of these, and when they happened.
pub(super) struct TimedRun {
    pub(super) times: Bounds,
    /// The place of its chunk among those that are looked at, and its own there.
    pub(super) chunk: usize,
    pub(super) place: usize,
}

/// The rows of a chunk that are of a step, run by run.
pub(super) struct Stepped {
    /// The low halves of their owners' ordinals.
    halves: Vec<u16>,
    /// Where those of each run end.
    ends: Vec<usize>,
}

impl Stepped {
    /// Those that are marked, of some runs of a chunk whose rows belong to these.
    pub(super) fn new(halves: &[u16], marked: &Words, runs: impl Iterator<Item = Range<usize>>) -> Stepped {
        let (mut selected, mut some) = (Vec::new(), Vec::new());
        let ends = runs.map(|rows| {
            let words = rows.start / 64..rows.end.div_ceil(64);
            some.clear();
            some.extend_from_slice(&marked[words.clone()]);
            if let Some(first) = some.first_mut() {
                *first &= u64::MAX << (rows.start % 64);
            }
            if let (Some(last), over @ 1..) = (some.last_mut(), rows.end % 64) {
                *last &= !(u64::MAX << over);
            }
            kernel::select_u16(
                &halves[words.start * 64..halves.len().min(words.end * 64)],
                &some,
                &mut selected,
            );
            selected.len()
        });
        let ends = ends.collect();
        Stepped { halves: selected, ends }
    }

    /// Keeps those of some owners.
    fn retain(&mut self, owners: &Words) {
        let mut kept = vec![0; self.halves.len().div_ceil(64)];
        kernel::has_each(owners, &self.halves, &mut kept);
        let mut halves = Vec::with_capacity(self.halves.len());
        kernel::select_u16(&self.halves, &kept, &mut halves);
        let (mut word, mut before) = (0, 0);
        for end in &mut self.ends {
            let whole = *end / 64;
            before += kept[word..whole].iter().map(|word| word.count_ones() as usize).sum::<usize>();
            let below = kept.get(whole).map_or(0, |word| word & !(u64::MAX << (*end % 64)));
            (word, *end) = (whole, before + below.count_ones() as usize);
        }
        self.halves = halves;
    }

    /// Whose those of a run are.
    fn of(&self, run: usize) -> &[u16] {
        let start = run.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.halves[start..self.ends[run]]
    }
}

/// Keeps the rows of owners who have one of each step, in chunks with as many steps each; those of the step with the fewest are looked
/// at first, and those of another only where there is one of each before.
pub(super) fn retain_with_all(chunks: &mut [Vec<Stepped>]) {
    let count = |step: usize| chunks.iter().map(|steps| steps[step].halves.len()).sum::<usize>();
    let mut order: Vec<(usize, usize)> =
        (0..chunks.first().map_or(0, Vec::len)).map(|step| (count(step), step)).collect();
    order.sort_unstable();
    let mut with_all: Option<Words> = None;
    // At last once more, of those who have the last one, too.
    for (_, step) in order.iter().chain(order.iter().rev().skip(1)) {
        let mut owners = [0; BITSET_WORDS];
        for steps in chunks.iter_mut() {
            if let Some(with_all) = &with_all {
                steps[*step].retain(with_all);
            }
            kernel::set_members(&mut owners, &steps[*step].halves, true);
        }
        with_all = Some(owners);
    }
}

/// Runs as time goes on.
pub(super) struct Timeline {
    runs: Vec<TimedRun>,
    /// So many that follow each other have one number, from 1 on.
    at_once: usize,
    /// By number: the least one with rows that may be close enough to those of it, and to later ones.
    reach: Vec<u8>,
}

impl Timeline {
    /// Of runs in any order; rows are close where at most `within` is between them. What has no time is close to nothing.
    pub(super) fn new(mut runs: Vec<TimedRun>, within: i64) -> Timeline {
        runs.retain(|run| run.times.low <= run.times.high);
        runs.sort_unstable_by_key(|run| run.times.low);
        let at_once = runs.len().div_ceil(NUMBERS).max(1);
        let times = |some: &[TimedRun]| some.iter().fold(Bounds::of_nulls(), |all, run| all.and(run.times));
        let bounds: Vec<Bounds> = runs.chunks(at_once).map(times).collect();
        let mut least = 0;
        let reach = bounds.iter().map(|times| {
            let from = times.low.saturating_sub(within.max(0));
            // It ends at these runs themselves at the latest.
            while bounds[least].high < from {
                least += 1;
            }
            least as u8 + 1
        });
        let reach = reach.collect();
        Timeline { runs, at_once, reach }
    }

    /// Adds the owners of rows of each step that may be close to each other, of chunks with so many steps each: at most
    /// [`STEPS_MAX`].
    pub(super) fn add_near(&self, chunks: &[Vec<Stepped>], near: &mut Words) {
        let steps = chunks.first().map_or(0, Vec::len);
        let tops = TOPS & u32::MAX.checked_shr(u32::BITS - 8 * steps as u32).unwrap_or(0);
        let mut last = vec![0u32; CHUNK_MEMBERS];
        for (at, run) in self.runs.iter().enumerate() {
            let number = at / self.at_once;
            let least = u32::from(self.reach[number]) * ONES;
            for (step, stepped) in chunks[run.chunk].iter().enumerate() {
                let (others, this) = (!(0xff << (8 * step)), (number as u32 + 1) << (8 * step));
                for half in stepped.of(run.place) {
                    let last = &mut last[usize::from(*half)];
                    *last = *last & others | this;
                    // No byte borrows of the next, as its top bit is set, which stays where the byte is not below the least.
                    if (*last | TOPS).wrapping_sub(least) & tops == tops {
                        near[usize::from(*half) / 64] |= 1 << (half % 64);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A row: its owner, its time, and the steps that it is, a bit each.
    type Row = (u16, i64, u8);

    /// Some rows stored run by run, a run by span of time, and who is found.
    fn near(rows: &[Row], span: i64, steps: usize, within: i64) -> Words {
        let mut stored = rows.to_vec();
        stored.sort_unstable_by_key(|(owner, time, _)| (time.div_euclid(span), *owner));
        let halves: Vec<u16> = stored.iter().map(|(owner, ..)| *owner).collect();
        let of_step = |step: usize, runs: &[Range<usize>]| {
            let rows = stored.iter().enumerate().filter(|(_, (_, _, mask))| mask >> step & 1 == 1);
            let mut words = [0; BITSET_WORDS];
            rows.for_each(|(row, _)| words[row / 64] |= 1 << (row % 64));
            Stepped::new(&halves, &words, runs.iter().cloned())
        };
        let (mut runs, mut rows, mut start) = (Vec::new(), Vec::new(), 0);
        for some in stored.chunk_by(|a, b| a.1.div_euclid(span) == b.1.div_euclid(span)) {
            let times = some
                .iter()
                .fold(Bounds::of_nulls(), |all, (_, time, _)| all.and(Bounds { low: *time, high: *time }));
            runs.push(TimedRun { times, chunk: 0, place: runs.len() });
            rows.push(start..start + some.len());
            start += some.len();
        }
        runs.reverse();
        runs.push(TimedRun { times: Bounds::of_nulls(), chunk: 0, place: runs.len() });
        rows.push(start..start);
        let mut chunks = [(0..steps).map(|step| of_step(step, &rows)).collect()];
        let (mut near, mut of_all) = ([0; BITSET_WORDS], [0; BITSET_WORDS]);
        let timeline = Timeline::new(runs, within);
        timeline.add_near(&chunks, &mut of_all);
        retain_with_all(&mut chunks);
        timeline.add_near(&chunks, &mut near);
        assert_eq!(near, of_all);
        near
    }

    /// True of who has all steps in rows of which `within` is between the first and the last.
    fn has(rows: &[Row], owner: u16, steps: usize, within: i64) -> bool {
        let own = || rows.iter().filter(|row| row.0 == owner);
        let all = (1u8 << steps) - 1;
        own().any(|(_, first, _)| {
            let close = own().filter(|(_, time, _)| (*first..=first.saturating_add(within)).contains(time));
            close.fold(0, |masks, (_, _, mask)| masks | mask) & all == all
        })
    }

    proptest! {
        #[test]
        fn who_has_all_steps_in_time_is_found(
            rows in proptest::collection::vec((0u16..12, -400i64..400, 0u8..16), 0..200),
            span in 1i64..90,
            steps in 2usize..=STEPS_MAX,
            within in 0i64..120,
        ) {
            let found = near(&rows, span, steps, within);
            for owner in 0..12 {
                prop_assert!(kernel::has(&found, owner) || !has(&rows, owner, steps, within), "{}", owner);
                // Where runs are single moments, and have a number each, nobody else is.
                if span == 1 && rows.len() <= NUMBERS {
                    prop_assert_eq!(kernel::has(&found, owner), has(&rows, owner, steps, within), "{}", owner);
                }
            }
        }
    }

    #[test]
    fn rows_of_a_step_are_those_that_are_marked_in_their_run() {
        let halves: Vec<u16> = (0..=u16::MAX).map(|row| row.wrapping_mul(7)).collect();
        let mut marked = [0; BITSET_WORDS];
        let is_marked = |row: usize| row.is_multiple_of(3) || row % 64 == 63;
        (0..CHUNK_MEMBERS).filter(|row| is_marked(*row)).for_each(|row| marked[row / 64] |= 1 << (row % 64));
        for len in [CHUNK_MEMBERS, 4_097] {
            let ends = [0, 1, 63, 64, 65, 65, 200, 4_096, len];
            let runs: Vec<Range<usize>> = ends.windows(2).map(|two| two[0]..two[1]).collect();
            let stepped = Stepped::new(&halves[..len], &marked, runs.iter().cloned());
            for (place, rows) in runs.into_iter().enumerate() {
                let expected: Vec<u16> = rows.filter(|row| is_marked(*row)).map(|row| halves[row]).collect();
                assert_eq!(stepped.of(place), expected, "run {place}");
            }
        }
    }

    #[test]
    fn only_rows_of_owners_with_all_steps_are_left() {
        // Two chunks of three runs each: an owner of all steps is told by both.
        let stepped = |runs: [&[u16]; 3]| {
            let mut ends = Vec::new();
            let mut halves: Vec<u16> = Vec::new();
            for run in runs {
                halves.extend(run);
                ends.push(halves.len());
            }
            Stepped { halves, ends }
        };
        let many: Vec<u16> = (100..400).collect();
        let mut chunks = [
            vec![stepped([&[1, 4], &[], &[9]]), stepped([&[4], &many, &[9, 200]])],
            vec![stepped([&[], &[200], &[]]), stepped([&[], &[1], &[2]])],
        ];
        retain_with_all(&mut chunks);
        let left = |chunk: usize, step: usize| [0, 1, 2].map(|run| chunks[chunk][step].of(run).to_vec());
        assert_eq!(left(0, 0), [vec![1, 4], vec![], vec![9]]);
        assert_eq!(left(0, 1), [vec![4], vec![200], vec![9, 200]]);
        assert_eq!(left(1, 0), [vec![], vec![200], vec![]]);
        assert_eq!(left(1, 1), [vec![], vec![1], vec![]]);
        retain_with_all(&mut []);
    }

    #[test]
    fn runs_that_are_further_apart_leave_an_owner_out() {
        let rows = [(65_535, 0, 1), (65_535, 95, 2), (7, 95, 1), (7, 99, 2), (8, 40, 2)];
        let found = near(&rows, 10, 2, 60);
        assert_eq!(kernel::cardinality(&found), 1);
        assert!(kernel::has(&found, 7));
        assert_eq!(kernel::cardinality(&near(&rows, 10, 2, 95)), 2);
        assert_eq!(kernel::cardinality(&near(&[], 10, 2, 95)), 0);
    }
}
