//! The rows of one condition, taken run by run: tested by vector, counted and summed by their owners.

use super::counter::Counter;
use super::{Asked, FEW_ROWS};
use crate::Result;
use crate::exec::chunk::{Answer, Worker};
use crate::index::owners::{Bounds, OwnersRef, RunBounds};
use crate::index::values::{Frame, Residuals, ValuesRef};
use crate::kernel;
use crate::plan::{Lane, Makes, Node, Pass, RowTest, RunsBy};
use muster_storage::chunk::Words;
use muster_storage::format::{BITSET_WORDS, CHUNK_MEMBERS, SectionKind};
use std::ops::Range;

/// Lines of a section of owners that are asked for ahead: the first of its runs, the rest comes by the processor's own prefetcher.
const RUNS_LINES_AHEAD: usize = 24;

/// What one thread makes of the rows of one condition.
pub(super) struct PassWorker<'p, 'a, C> {
    rest: Worker<'p, 'a>,
    /// The last chunk of rows that `rest` was asked of, and its answer.
    answered: Option<(u32, Answer)>,
    /// Rows of each owner.
    pub(super) counts: Vec<C>,
    pub(super) lanes: Vec<LaneState<C>>,
    /// Rows found for the present chunk of owners.
    pub(super) found: usize,
    /// Whose they are, row by row, as long as they are fewer than [`FEW_ROWS`].
    listed: Vec<u16>,
    asked: Asked,
    /// True where the numbers of owners without rows are 0, as few rows need them.
    is_clean: bool,
    /// The bits of all counts of that chunk, but of those that are drained.
    pub(super) bits: C,
    /// Bits of rows, the halves of these rows' owners, and what they have in a column, of either width.
    selected: Vec<u64>,
    places: Vec<u16>,
    narrow: Vec<u16>,
    wide: Vec<u32>,
}

/// What is made of a column for each owner.
pub(super) struct LaneState<C> {
    /// Values that are not NULL; empty where no row is NULL there, so that the rows are as many.
    pub(super) counts: Vec<C>,
    /// The sum, the least or the greatest, where there is a value; empty where values are only counted.
    pub(super) made: Vec<i64>,
}

impl<'p, 'a, C: Counter> PassWorker<'p, 'a, C> {
    pub(super) fn new(pass: &'p Pass<'a>, asked: Asked) -> PassWorker<'p, 'a, C> {
        let array = |wanted: bool| vec![C::default(); if wanted { CHUNK_MEMBERS } else { 0 }];
        let lanes = pass.lanes.iter().map(|lane| LaneState {
            counts: array(!lane.total),
            made: vec![0; if lane.makes == Makes::Count { 0 } else { CHUNK_MEMBERS }],
        });
        PassWorker {
            rest: Worker::new(&pass.plan),
            answered: None,
            counts: array(true),
            lanes: lanes.collect(),
            found: 0,
            listed: Vec::with_capacity(FEW_ROWS),
            asked,
            is_clean: true,
            bits: C::default(),
            selected: vec![0; BITSET_WORDS],
            places: Vec::new(),
            narrow: Vec::new(),
            wide: Vec::new(),
        }
    }

    /// Forgets the present chunk of owners.
    pub(super) fn reset(&mut self) {
        let is_few = self.is_few();
        let counts = self.lanes.iter_mut().map(|lane| &mut lane.counts).chain([&mut self.counts]);
        for counts in counts.filter(|counts| !counts.is_empty()) {
            if is_few { clear(array(counts), &self.listed) } else { counts.fill(C::default()) }
        }
        for lane in self.lanes.iter_mut().filter(|lane| !lane.made.is_empty() && is_few) {
            clear(array(&mut lane.made), &self.listed);
        }
        self.is_clean &= is_few;
        self.listed.clear();
        self.found = 0;
        self.bits = C::default();
    }

    /// True where what is made of rows is looked for row by row, not owner by owner.
    pub(super) fn is_few(&self) -> bool {
        self.found < FEW_ROWS
    }

    /// True where rows are counted also while there are few. A sum of those who have a row needs no count.
    fn counts_few(&self) -> bool {
        !matches!(self.asked, Asked::Sum { .. })
    }

    /// Whose the rows found are, row by row; `None` of [`FEW_ROWS`] and more.
    pub(super) fn listed(&self) -> Option<&[u16]> {
        self.is_few().then_some(&*self.listed)
    }

    /// How many values of a lane, or rows, a listed owner has, and what was made of them.
    pub(super) fn get(&self, owner: usize, lane: Option<usize>) -> (u64, i64) {
        let rows = self.counts[owner].number();
        let Some(lane) = lane.map(|lane| &self.lanes[lane]) else { return (rows, 0) };
        let count = lane.counts.get(owner).map_or(rows, |count| count.number());
        (count, lane.made.get(owner).copied().unwrap_or(0))
    }

    /// Writes who has a sum in an interval, where nothing else is asked of few rows, and forgets them. An owner's sum is gone with
    /// the first of its rows.
    pub(super) fn drain_sums(&mut self, low: i64, high: i64, out: &mut Words) {
        let Some(lane) = self.lanes.first_mut() else { return };
        let made = array(&mut lane.made);
        for owner in self.listed.drain(..) {
            let sum = std::mem::take(&mut made[usize::from(owner)]);
            out[usize::from(owner) / 64] |= u64::from((low <= sum) & (sum <= high)) << (owner % 64);
        }
    }

    /// Writes who has a number of rows in an interval, where nothing else is asked, and forgets these rows; false where there were
    /// more than counts can hold.
    pub(super) fn drain_counts(&mut self, low: u64, high: u64, out: &mut Words) -> bool {
        let counted = C::drain(&mut self.counts, low, high, out);
        // Nothing is left to be forgotten.
        self.listed.clear();
        // A count that wraps loses as many as it can hold, and nothing else does.
        counted == std::mem::take(&mut self.found) as u64
    }

    /// Hears of rows that are about to be taken, by their owners: lists them while there are few, and once there are many counts those
    /// of before that needed no count.
    fn find(&mut self, owners: &[u16]) {
        if owners.is_empty() {
            return;
        }
        let was_few = self.is_few();
        self.found += owners.len();
        if self.is_few() {
            self.listed.extend_from_slice(owners);
            if !self.is_clean {
                self.lanes.iter_mut().for_each(|lane| lane.made.fill(0));
                self.is_clean = true;
            }
        } else if was_few && !self.counts_few() {
            self.bits |= C::count(array(&mut self.counts), &self.listed);
        }
    }

    /// Takes the rows of a chunk of owners, or only of some.
    pub(super) fn gather(&mut self, pass: &'p Pass<'a>, owners: u32, only: Option<&[u16]>) -> Result<u64> {
        let mut bytes = 0;
        for chunk in pass.strays.chunks_of(owners) {
            let Some(stored) = pass.ordinals.owners(chunk)? else { continue };
            let runs = pass.runs_asked(&stored, owners).into_iter().map(|at| stored.run(at));
            let asked: Vec<(RunBounds, Range<usize>)> = match only {
                None => runs.collect(),
                Some(only) => runs
                    .flat_map(|(run, rows)| stored.rows_of(rows, only).map(move |rows| (run, rows)))
                    .collect(),
            };
            if !asked.is_empty() {
                bytes += self.take_chunk(pass, chunk, &stored, &asked, only.is_some())?;
            }
        }
        for (owner, place) in pass.loose.of_chunk(owners) {
            let codes = pass.loose.codes.iter().map(|codes| codes[*place as usize]);
            self.find(&[*owner as u16]);
            self.take_row((owner & 0xffff) as usize, pass.lanes.iter().zip(codes));
        }
        Ok(bytes)
    }

    /// Takes one row that was found: the code of each lane, `None` where NULL.
    #[inline(always)]
    fn take_row<'l>(&mut self, owner: usize, codes: impl Iterator<Item = (&'l Lane<'a>, Option<i64>)>)
    where
        'a: 'l,
    {
        if self.is_few() && !self.counts_few() {
            for (state, (_, code)) in self.lanes.iter_mut().zip(codes) {
                state.made[owner] = state.made[owner].wrapping_add(code.unwrap_or(0));
            }
            return;
        }
        let rows = &mut self.counts[owner];
        for (state, (lane, code)) in self.lanes.iter_mut().zip(codes) {
            if let Some(code) = code {
                state.add(owner, *rows, code, lane.makes);
            }
        }
        *rows = rows.next();
        self.bits |= *rows;
    }

    /// Takes the runs of one chunk of rows.
    fn take_chunk(
        &mut self,
        pass: &'p Pass<'a>,
        chunk: u32,
        stored: &OwnersRef<'_>,
        asked: &[(RunBounds, Range<usize>)],
        few: bool,
    ) -> Result<u64> {
        // The next chunk of owners begins where the next chunk of rows ends, most of the time.
        pass.ordinals.prefetch(chunk + 2, SectionKind::Owners, RUNS_LINES_AHEAD);
        let columns =
            pass.tests.iter().map(|test| &test.reader).chain(pass.lanes.iter().map(|lane| &lane.reader));
        columns.for_each(|reader| reader.prefetch(chunk + 2, SectionKind::Values, 1));
        let mut bytes = 0;
        let mut tests = Vec::with_capacity(pass.tests.len());
        for test in &pass.tests {
            // A column without values is NULL here.
            let Some(values) = test.reader.values(chunk)? else { return Ok(bytes) };
            tests.push((test, values, test.reader.nulls(chunk)?));
        }
        let mut lanes = Vec::with_capacity(pass.lanes.len());
        for lane in &pass.lanes {
            lanes.push((lane, lane.reader.values(chunk)?, lane.reader.nulls(chunk)?));
        }
        let excluded = pass.strays.excluded(chunk);
        let asks_rest = pass.rest != Node::Everyone;
        if asks_rest && self.answered.as_ref().is_none_or(|(answered, _)| few || *answered != chunk) {
            if let Some((_, answer)) = self.answered.take() {
                self.rest.recycle(answer);
            }
            let mut mask = [0; BITSET_WORDS];
            if few {
                let rows = asked.iter().filter(|(_, rows)| !rows.is_empty());
                rows.for_each(|(_, rows)| {
                    kernel::set_run(&mut mask, rows.start as u16, (rows.end - 1) as u16);
                });
            }
            self.rest.begin(chunk..chunk + 1);
            let before = self.rest.stats.bytes;
            let answer = self.rest.members_under(&pass.rest, chunk, few.then_some(&mask))?;
            bytes += self.rest.stats.bytes - before;
            // What was asked of some rows says nothing of others.
            self.answered = Some((if few { u32::MAX } else { chunk }, answer));
        }
        // Runs that follow each other and need the same tests are taken as one.
        let alike = |(a, rows): &(RunBounds, Range<usize>), (b, next): &(RunBounds, Range<usize>)| {
            rows.end == next.start && tests.iter().all(|(test, ..)| test.holds_of(a) == test.holds_of(b))
        };
        for runs in asked.chunk_by(alike) {
            let [(run, first), ..] = runs else { continue };
            let rows = first.start..runs.last().map_or(first.end, |(_, last)| last.end);
            bytes += 2 * rows.len() as u64;
            let tests: Vec<_> = tests.iter().filter(|(test, ..)| !test.holds_of(run)).collect();
            if tests.is_empty() && !asks_rest && excluded.is_none() {
                self.take_all(stored, rows, &lanes);
                continue;
            }
            let words = rows.start / 64..rows.end.div_ceil(64);
            let selected = &mut self.selected[words.clone()];
            selected.fill(u64::MAX);
            selected[0] &= u64::MAX << (rows.start % 64);
            if !rows.end.is_multiple_of(64)
                && let Some(last) = selected.last_mut()
            {
                *last &= u64::MAX >> (64 - rows.end % 64);
            }
            if let Some(excluded) = excluded {
                selected.iter_mut().zip(&excluded[words.clone()]).for_each(|(word, out)| *word &= !out);
            }
            for (test, values, nulls) in &tests {
                bytes += (rows.len() * values.residuals.width()) as u64;
                match *test.intervals_of(runs) {
                    [(low, high)] => values.retain_within(low, high, words.start, selected),
                    ref several => {
                        let before = selected.to_vec();
                        selected.fill(0);
                        let mut some = vec![0; before.len()];
                        for (low, high) in several {
                            some.copy_from_slice(&before);
                            values.retain_within(*low, *high, words.start, &mut some);
                            selected.iter_mut().zip(&some).for_each(|(word, some)| *word |= some);
                        }
                    }
                }
                if nulls.cardinality() > 0 {
                    let nulls = crate::exec::words_of(*nulls);
                    selected.iter_mut().zip(&nulls[words.clone()]).for_each(|(word, null)| *word &= !null);
                }
            }
            match self.answered.as_ref().filter(|_| asks_rest).map(|(_, answer)| answer) {
                Some(Answer::Nobody) => selected.fill(0),
                Some(Answer::Words(answer, _)) => {
                    selected.iter_mut().zip(&answer[words.clone()]).for_each(|(word, some)| *word &= some);
                }
                Some(Answer::Members(members)) => {
                    let mut some = [0; BITSET_WORDS];
                    kernel::set_members(&mut some, members, true);
                    selected.iter_mut().zip(&some[words.clone()]).for_each(|(word, some)| *word &= some);
                }
                Some(Answer::Everyone) | None => {}
            }
            self.take_selected(stored, words, &lanes);
        }
        Ok(bytes)
    }

    /// Takes all rows of a span.
    fn take_all(&mut self, stored: &OwnersRef<'_>, rows: Range<usize>, lanes: &[OpenLane<'_, 'a>]) {
        let halves = &stored.halves[rows.clone()];
        self.find(halves);
        match summed(lanes, rows.end) {
            None if lanes.is_empty() => self.count(halves),
            Some((frame, Residuals::U16(residuals))) => self.sum(halves, &residuals[rows], frame),
            Some((frame, Residuals::U32(residuals))) => self.sum(halves, &residuals[rows], frame),
            Some((frame, Residuals::Excepted(low, exceptions))) => {
                self.sum(halves, &low[rows.clone()], frame);
                self.add_exceptions(stored, frame, exceptions.within(rows));
            }
            _ => rows.zip(halves).for_each(|(row, half)| {
                self.take_row(usize::from(*half), lanes.iter().map(|open| (open.0, code_at(open, row))));
            }),
        }
    }

    /// Takes the selected rows of some words: what is asked of them is put in a row first.
    fn take_selected(&mut self, stored: &OwnersRef<'_>, words: Range<usize>, lanes: &[OpenLane<'_, 'a>]) {
        let rows = words.start * 64..(words.end * 64).min(stored.halves.len());
        let all_selected = std::mem::take(&mut self.selected);
        let selected = &all_selected[words.clone()];
        let mut places = std::mem::take(&mut self.places);
        places.clear();
        kernel::select_u16(&stored.halves[rows.clone()], selected, &mut places);
        self.find(&places);
        match summed(lanes, rows.end) {
            None if lanes.is_empty() => self.count(&places),
            Some((frame, residuals @ (Residuals::U16(low) | Residuals::Excepted(low, _)))) => {
                let mut narrow = std::mem::take(&mut self.narrow);
                narrow.clear();
                kernel::select_u16(&low[rows.clone()], selected, &mut narrow);
                self.sum(&places, &narrow, frame);
                self.narrow = narrow;
                if let Residuals::Excepted(_, exceptions) = residuals {
                    let is_selected = |row: usize| all_selected[row / 64] >> (row % 64) & 1 == 1;
                    let some = exceptions.within(rows).filter(|(row, _)| is_selected(*row));
                    self.add_exceptions(stored, frame, some);
                }
            }
            Some((frame, Residuals::U32(residuals))) => {
                let mut wide = std::mem::take(&mut self.wide);
                wide.clear();
                kernel::select_u32(&residuals[rows], selected, &mut wide);
                self.sum(&places, &wide, frame);
                self.wide = wide;
            }
            _ => {
                let mut halves = places.iter();
                for_each_bit(selected, words.start, |row| {
                    if let Some(half) = halves.next() {
                        let codes = lanes.iter().map(|open| (open.0, code_at(open, row)));
                        self.take_row(usize::from(*half), codes);
                    }
                });
            }
        }
        (self.selected, self.places) = (all_selected, places);
    }

    /// Adds by how much the residuals of some rows are more than was summed.
    fn add_exceptions(
        &mut self,
        stored: &OwnersRef<'_>,
        frame: Frame,
        rows: impl Iterator<Item = (usize, u64)>,
    ) {
        let Some(state) = self.lanes.first_mut() else { return };
        for (row, more) in rows {
            if let Some(half) = stored.halves.get(row) {
                let made = &mut state.made[usize::from(*half)];
                *made = made.wrapping_add(frame.divisor.wrapping_mul(more) as i64);
            }
        }
    }

    /// Counts rows.
    fn count(&mut self, owners: &[u16]) {
        let counts = array(&mut self.counts);
        if matches!(self.asked, Asked::Count { .. }) && self.found >= FEW_ROWS {
            C::add(counts, owners);
        } else {
            self.bits |= C::count(counts, owners);
        }
    }

    /// Counts rows and sums a column of which none is NULL.
    fn sum<R: Copy + Into<u64>>(&mut self, owners: &[u16], residuals: &[R], frame: Frame) {
        if self.is_few() {
            self.sum_few(owners, residuals, frame);
        } else {
            self.sum_many(owners, residuals, frame);
        }
    }

    #[inline(never)]
    fn sum_few<R: Copy + Into<u64>>(&mut self, owners: &[u16], residuals: &[R], frame: Frame) {
        let Some(state) = self.lanes.first_mut() else { return };
        let made = array(&mut state.made);
        for (owner, residual) in owners.iter().zip(residuals) {
            let made = &mut made[usize::from(*owner)];
            let code = frame.base.wrapping_add(frame.divisor.wrapping_mul((*residual).into()) as i64);
            *made = made.wrapping_add(code);
        }
        if self.counts_few() {
            self.bits |= C::count(array(&mut self.counts), owners);
        }
    }

    #[inline(never)]
    fn sum_many<R: Copy + Into<u64>>(&mut self, owners: &[u16], residuals: &[R], frame: Frame) {
        let counts = array(&mut self.counts);
        let Some(state) = self.lanes.first_mut() else { return };
        let (made, mut bits) = (array(&mut state.made), self.bits);
        for (owner, residual) in owners.iter().zip(residuals) {
            let owner = usize::from(*owner);
            let code = frame.base.wrapping_add(frame.divisor.wrapping_mul((*residual).into()) as i64);
            let before = if counts[owner] == C::default() { 0 } else { made[owner] };
            made[owner] = before.wrapping_add(code);
            counts[owner] = counts[owner].next();
            bits |= counts[owner];
        }
        self.bits = bits;
    }
}

/// How one column is stored of which nothing but a sum is made and no row is NULL, of the first `rows` rows.
fn summed<'v>(lanes: &[OpenLane<'_, 'v>], rows: usize) -> Option<(Frame, Residuals<'v>)> {
    let [(lane, Some(values), _)] = lanes else { return None };
    let summed = lane.total && lane.makes == Makes::Sum && values.frame.slope == 0 && values.rows >= rows;
    summed.then_some((values.frame, values.residuals))
}

/// The code of a row; `None` where it is NULL.
#[inline(always)]
fn code_at((lane, values, nulls): &OpenLane<'_, '_>, row: usize) -> Option<i64> {
    let values = values.as_ref().filter(|values| row < values.rows)?;
    if !lane.total && nulls.contains(row as u16) { None } else { Some(values.get(row)) }
}

type OpenLane<'l, 'a> = (&'l Lane<'a>, Option<ValuesRef<'a>>, muster_storage::chunk::ChunkRef<'a>);

/// A number for each owner of a chunk: no half of an ordinal is beyond it.
fn array<T>(numbers: &mut [T]) -> &mut [T; CHUNK_MEMBERS] {
    match numbers.try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("arrays of owners have a place for each of a chunk"),
    }
}

fn clear<T: Copy + Default>(numbers: &mut [T; CHUNK_MEMBERS], owners: &[u16]) {
    owners.iter().for_each(|owner| numbers[usize::from(*owner)] = T::default());
}

fn for_each_bit(words: &[u64], first: usize, mut hear: impl FnMut(usize)) {
    for (index, word) in words.iter().enumerate() {
        let mut left = *word;
        while left != 0 {
            hear((first + index) * 64 + left.trailing_zeros() as usize);
            left &= left - 1;
        }
    }
}

impl<C: Counter> LaneState<C> {
    /// Adds the value of a row of an owner who had so many before.
    #[inline(always)]
    fn add(&mut self, owner: usize, rows: C, code: i64, makes: Makes) {
        let mut first = rows == C::default();
        if let Some(count) = self.counts.get_mut(owner) {
            first = *count == C::default();
            *count = count.next();
        }
        let Some(made) = self.made.get_mut(owner) else { return };
        *made = match makes {
            _ if first => code,
            Makes::Sum => made.wrapping_add(code),
            Makes::Min => code.min(*made),
            Makes::Max => code.max(*made),
            Makes::Count => 0,
        };
    }
}

impl RowTest<'_> {
    /// What a run tells of the column.
    fn bounds_of(&self, run: &RunBounds) -> Option<Bounds> {
        match self.by {
            RunsBy::Time => Some(run.times),
            RunsBy::Cluster => run.codes,
            RunsBy::Nothing => None,
        }
    }

    /// True where every row of a run satisfies it.
    fn holds_of(&self, run: &RunBounds) -> bool {
        self.bounds_of(run).is_some_and(|bounds| bounds.lie_in(&self.intervals))
    }

    /// The intervals that rows of some runs may be in: of a long list, those between what the runs have.
    fn intervals_of(&self, runs: &[(RunBounds, Range<usize>)]) -> &[(i64, i64)] {
        if self.intervals.len() == 1 {
            return &self.intervals;
        }
        let bounds = runs.iter().map(|(run, _)| self.bounds_of(run));
        match bounds.reduce(|a, b| Some(a?.and(b?))).flatten() {
            Some(bounds) => {
                let from = self.intervals.partition_point(|(_, high)| *high < bounds.low);
                let to = self.intervals.partition_point(|(low, _)| *low <= bounds.high);
                &self.intervals[from..to.max(from)]
            }
            None => &self.intervals,
        }
    }
}

impl Pass<'_> {
    /// The places of those runs of a chunk of owners of which a row can satisfy the tests.
    fn runs_asked(&self, stored: &OwnersRef<'_>, owners: u32) -> Vec<usize> {
        let places = stored.places_of(owners);
        let mut asked: Vec<usize> = places.collect();
        // Most runs have none of some values, but some of a span of time: what they have in the cluster column is asked first.
        for test in self.tests.iter().rev() {
            match (test.by, &*test.intervals) {
                (RunsBy::Time, [interval]) => {
                    keep(&mut asked, |at| stored.times(at).may_lie_within(*interval));
                }
                (RunsBy::Time, several) => keep(&mut asked, |at| stored.times(at).may_lie_in(several)),
                (RunsBy::Cluster, [interval]) => {
                    keep(&mut asked, |at| {
                        stored.codes(at).is_none_or(|codes| codes.may_lie_within(*interval))
                    });
                }
                (RunsBy::Cluster, several) => {
                    keep(&mut asked, |at| stored.codes(at).is_none_or(|codes| codes.may_lie_in(several)));
                }
                (RunsBy::Nothing, _) => {}
            }
        }
        asked
    }
}

/// Keeps the places for which `may`, without a branch on that.
#[inline(always)]
fn keep(places: &mut Vec<usize>, may: impl Fn(usize) -> bool) {
    let mut kept = 0;
    for at in 0..places.len() {
        let place = places[at];
        places[kept] = place;
        kept += usize::from(may(place));
    }
    places.truncate(kept);
}
