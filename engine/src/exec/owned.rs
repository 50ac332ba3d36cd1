//! Rows by their owners, one chunk of owners at a time: counted and summed in arrays that a cache holds.
//!
//! ```text
//! runs of the chunk ─ those whose time can be asked for ─ tests by vector ─ rows ─ counts[owner], sums[owner] ─ check ─ owners
//! ```
//!
//! Counts begin at 0 for each chunk. Sums do not: the first value of an owner takes the place of what was there.

use super::chunk::{Answer, Worker};
use crate::Result;
use crate::index::owners::{NOBODYS, OwnersRef, Run};
use crate::index::values::{Frame, Residuals, ValuesRef};
use crate::kernel;
use crate::plan::{Aggregates, Check, InOwners, Lane, Makes, Node, Owned, Pass, RowTest, Slot};
use crate::predicate::Truth;
use muster_storage::chunk::Words;
use muster_storage::format::{BITSET_WORDS, CHUNK_MEMBERS};
use roaring::RoaringBitmap;
use std::ops::Range;

/// Below so many rows of a chunk of owners, those that have one are gone through rather than all owners.
const FEW_ROWS: usize = 4_096;

/// How many rows ahead of its use a value is asked of the cache.
const PREFETCH_AHEAD: usize = 16;

/// With so many rows of 64, going through all is faster than finding those.
const DENSE_ROWS: u32 = 24;

/// Rows that are not found by the runs of their owners, and satisfy a pass.
#[derive(Debug, Default)]
pub(crate) struct Loose {
    /// The owner and the row's place in `codes`, ascending.
    rows: Vec<(u32, u32)>,
    /// The codes of each lane, `None` where NULL.
    codes: Vec<Vec<Option<i64>>>,
}

impl Loose {
    /// Asks the strays of a pass.
    pub(crate) fn of(pass: &Pass<'_>) -> Result<Loose> {
        let mut loose = Loose { rows: Vec::new(), codes: vec![Vec::new(); pass.lanes.len()] };
        if pass.strays.owned().is_empty() {
            return Ok(loose);
        }
        let mut worker = Worker::new(&pass.plan);
        for strays in pass.strays.owned().chunk_by(|a, b| a.0 >> 16 == b.0 >> 16) {
            pass.plan.cancel.check()?;
            let chunk = strays[0].0 >> 16;
            let mut mask = Box::new([0; BITSET_WORDS]);
            strays.iter().for_each(|(row, _)| mask[(row & 0xffff) as usize / 64] |= 1 << (row % 64));
            worker.begin(chunk..chunk + 1);
            let answer = worker.members(chunk, Some(&mask))?;
            let found = answer.found(pass.table.chunk_rows(chunk));
            let mut buffer = Vec::new();
            let found = found.rows(&mut buffer);
            for (row, owner) in strays.iter().filter(|(row, _)| found.binary_search(&(*row as u16)).is_ok()) {
                loose.rows.push((*owner, loose.rows.len() as u32));
                for (codes, lane) in loose.codes.iter_mut().zip(&pass.lanes) {
                    codes.push(crate::code::encode(&super::value_at(&lane.reader, None, *row)?));
                }
            }
            worker.recycle(answer);
        }
        loose.rows.sort_unstable();
        Ok(loose)
    }

    /// True where no row is NULL in a lane.
    pub(crate) fn is_total(&self, lane: usize) -> bool {
        self.codes[lane].iter().all(Option::is_some)
    }

    fn of_chunk(&self, owners: u32) -> &[(u32, u32)] {
        let from = self.rows.partition_point(|(owner, _)| owner >> 16 < owners);
        let to = self.rows.partition_point(|(owner, _)| owner >> 16 <= owners);
        &self.rows[from..to]
    }
}

/// What one thread needs to ask the rows of owners.
///
/// Counts are bytes as long as nobody has more rows than a byte holds; the chunks of others are asked again with 32 bits.
pub(super) struct OwnedWorker<'p, 'a> {
    owned: &'p Owned<'a>,
    narrow: Gathered<'p, 'a, u8>,
    wide: Option<Gathered<'p, 'a, u32>>,
}

impl<'p, 'a> OwnedWorker<'p, 'a> {
    pub(super) fn new(owned: &'p Owned<'a>) -> OwnedWorker<'p, 'a> {
        OwnedWorker { owned, narrow: Gathered::of(owned), wide: None }
    }

    /// Writes the owners of a chunk that have the wanted outcome, also those that are gone; returns the bytes read. Where `only`
    /// some are asked, ascending, what is written of others is nothing.
    pub(super) fn write(&mut self, owners: u32, only: Option<&[u16]>, out: &mut Words) -> Result<u64> {
        let mut bytes = self.narrow.gather(self.owned, owners, only)?;
        if self.narrow.overflowed() {
            self.narrow.reset();
            let wide = self.wide.get_or_insert_with(|| Gathered::of(self.owned));
            bytes += wide.gather(self.owned, owners, only)?;
            wide.write(self.owned, out)?;
            wide.reset();
        } else {
            self.narrow.write(self.owned, out)?;
            self.narrow.reset();
        }
        Ok(bytes)
    }
}

/// A count of rows.
trait Counter: Copy + Default + PartialEq {
    /// What it never exceeds.
    const MAX: u64;
    /// So many more, or the most there is.
    fn plus(self, more: u8) -> Self;
    fn number(self) -> u64;
    /// Writes which counts lie between two numbers.
    fn within(counts: &[Self], low: u64, high: u64, out: &mut Words);
}

macro_rules! counter {
    ($type:ty, $kernel:path) => {
        impl Counter for $type {
            const MAX: u64 = <$type>::MAX as u64;

            #[inline(always)]
            fn plus(self, more: u8) -> Self {
                self.saturating_add(more.into())
            }

            #[inline(always)]
            fn number(self) -> u64 {
                u64::from(self)
            }

            fn within(counts: &[Self], low: u64, high: u64, out: &mut Words) {
                match <$type>::try_from(low) {
                    Ok(low) => $kernel(counts, low, high.min(<Self as Counter>::MAX) as $type, out),
                    Err(_) => out.fill(0),
                }
            }
        }
    };
}

counter!(u8, kernel::within_u8);
counter!(u32, kernel::within_u32);

/// The aggregates of the owners of one chunk.
struct Gathered<'p, 'a, C> {
    passes: Vec<PassWorker<'p, 'a, C>>,
}

struct PassWorker<'p, 'a, C> {
    rest: Worker<'p, 'a>,
    /// The last chunk of rows that `rest` was asked of, and its answer.
    answered: Option<(u32, Answer)>,
    /// Rows of each owner.
    counts: Vec<C>,
    lanes: Vec<LaneState<C>>,
    /// Rows found for the present chunk of owners.
    found: usize,
    /// Bits of the rows of a run, and the rows.
    selected: Vec<u64>,
    rows: Vec<u32>,
}

/// What is made of a column for each owner.
struct LaneState<C> {
    /// Values that are not NULL; empty where no row is NULL there, so that the rows are as many.
    counts: Vec<C>,
    /// The sum, the least or the greatest, where there is a value; empty where values are only counted.
    made: Vec<i64>,
}

impl<'p, 'a, C: Counter> Gathered<'p, 'a, C> {
    fn of(owned: &'p Owned<'a>) -> Gathered<'p, 'a, C> {
        let passes = owned.passes.iter().map(|pass| {
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
                selected: vec![0; BITSET_WORDS],
                rows: Vec::new(),
            }
        });
        Gathered { passes: passes.collect() }
    }

    fn gather(&mut self, owned: &'p Owned<'a>, owners: u32, only: Option<&[u16]>) -> Result<u64> {
        let both = self.passes.iter_mut().zip(&owned.passes);
        both.map(|(state, pass)| state.gather(pass, owners, only)).sum()
    }

    /// True where some count may be more than it says.
    fn overflowed(&self) -> bool {
        let most = |counts: &[C]| {
            let mut words = [0; BITSET_WORDS];
            C::within(counts, C::MAX, C::MAX, &mut words);
            words.iter().any(|word| *word != 0)
        };
        // Lanes count no more than their pass does.
        self.passes.iter().any(|state| state.found as u64 >= C::MAX && most(&state.counts))
    }

    fn reset(&mut self) {
        self.passes.iter_mut().for_each(PassWorker::reset);
    }

    /// Writes the owners that have the wanted outcome.
    fn write(&self, owned: &Owned<'_>, out: &mut Words) -> Result<()> {
        let found: usize = self.passes.iter().map(|state| state.found).sum();
        let by_vector = found >= FEW_ROWS && owned.check.by_vector(&owned.slots);
        let mut some = [0; BITSET_WORDS];
        let listed = match () {
            // Who has no row is told by the check.
            () if by_vector && !owned.of_nothing && !owned.check_of_nothing => &[],
            () if owned.is_in => &self.passes[..1],
            () => &self.passes[..],
        };
        for state in listed.iter().filter(|state| state.found > 0) {
            let mut here = [0; BITSET_WORDS];
            C::within(&state.counts, 1, C::MAX, &mut here);
            kernel::union_into(&here, &mut some);
        }
        if found == 0 {
            out.fill(0);
        } else if let (false, Some(terms)) = (by_vector, self.terms(owned)) {
            select_bits(&some, out, |owner| Ok(terms.iter().all(|term| term.holds(owner))))?;
        } else if !by_vector {
            select_bits(&some, out, |owner| owned.holds(&At { passes: &self.passes, owner }))?;
        } else {
            self.check(owned, &owned.check, owned.wanted, out);
            if !listed.is_empty() {
                out.iter_mut().zip(&some).for_each(|(word, some)| *word &= some);
            }
        }
        if owned.not_in {
            out.iter_mut().for_each(|word| *word = !*word);
        } else if owned.of_nothing {
            out.iter_mut().zip(&some).for_each(|(word, some)| *word |= !some);
        }
        Ok(())
    }

    /// The intervals that all aggregates have to be in, where that is all that is asked.
    fn terms<'s>(&'s self, owned: &Owned<'_>) -> Option<Vec<Term<'s, C>>> {
        let checks = match &owned.check {
            Check::And(checks) => checks.as_slice(),
            one => std::slice::from_ref(one),
        };
        let term = |check: &Check| {
            let Check::Within { slot, low, high } = check else { return None };
            let slot = &owned.slots[*slot];
            let lane = slot.lane.filter(|_| slot.makes_number());
            let made = lane.map(|lane| self.passes[slot.pass].lanes[lane].made.as_slice());
            let numbers = made.is_some() == slot.makes_number() && !slot.is_mean();
            (owned.wanted && numbers).then(|| Term {
                counts: self.counts(slot),
                made,
                low: *low,
                high: *high,
            })
        };
        checks.iter().map(term).collect()
    }

    /// Writes the owners whose check has an outcome, of those with rows.
    fn check(&self, owned: &Owned<'_>, check: &Check, wanted: bool, out: &mut Words) {
        match check {
            Check::Const(truth) => {
                let holds = *truth == if wanted { Truth::True } else { Truth::False };
                out.fill(if holds { u64::MAX } else { 0 });
            }
            Check::Not(inner) => self.check(owned, inner, !wanted, out),
            Check::And(terms) | Check::Or(terms) => {
                // Where TRUE of AND is wanted, or FALSE of OR, all terms have to be so.
                let all = matches!(check, Check::And(_)) == wanted;
                out.fill(if all { u64::MAX } else { 0 });
                let mut term_out = [0; BITSET_WORDS];
                for term in terms {
                    self.check(owned, term, wanted, &mut term_out);
                    let both = out.iter_mut().zip(&term_out);
                    both.for_each(|(word, term)| *word = if all { *word & term } else { *word | term });
                }
            }
            Check::Within { slot, low, high } => self.within(&owned.slots[*slot], *low, *high, wanted, out),
            Check::Null { slot } => {
                self.present(&owned.slots[*slot], out);
                if wanted {
                    out.iter_mut().for_each(|word| *word = !*word);
                }
            }
            Check::Computed(_) => out.fill(0),
        }
    }

    /// How many values an aggregate was made of.
    fn counts(&self, slot: &Slot) -> &[C] {
        let state = &self.passes[slot.pass];
        let lane = slot.lane.map(|lane| &state.lanes[lane].counts).filter(|counts| !counts.is_empty());
        lane.unwrap_or(&state.counts)
    }

    /// Writes the owners of whom an aggregate is not NULL.
    fn present(&self, slot: &Slot, out: &mut Words) {
        if slot.makes_number() {
            C::within(self.counts(slot), 1, C::MAX, out);
        } else {
            out.fill(u64::MAX);
        }
    }

    fn within(&self, slot: &Slot, low: i64, high: i64, wanted: bool, out: &mut Words) {
        if low > high {
            out.fill(0);
        } else if slot.makes_number() {
            let Some(lane) = slot.lane.map(|lane| &self.passes[slot.pass].lanes[lane]) else {
                return out.fill(0);
            };
            kernel::within_i64(&lane.made, low, high, out);
        } else {
            match u64::try_from(high) {
                Ok(high) => C::within(self.counts(slot), low.max(0) as u64, high, out),
                Err(_) => out.fill(0),
            }
        }
        if !wanted {
            out.iter_mut().for_each(|word| *word = !*word);
        }
        if slot.makes_number() {
            let mut present = [0; BITSET_WORDS];
            self.present(slot, &mut present);
            out.iter_mut().zip(&present).for_each(|(word, present)| *word &= present);
        }
    }
}

/// An interval that an aggregate has to be in.
struct Term<'s, C> {
    counts: &'s [C],
    /// The numbers; `None` where the count is asked.
    made: Option<&'s [i64]>,
    low: i64,
    high: i64,
}

impl<C: Counter> Term<'_, C> {
    #[inline(always)]
    fn holds(&self, owner: usize) -> bool {
        let count = self.counts[owner].number();
        match self.made {
            Some(made) => count > 0 && (self.low..=self.high).contains(&made[owner]),
            None => (self.low..=self.high).contains(&(count as i64)),
        }
    }
}

/// Writes those of some bits for which `holds`.
fn select_bits(some: &Words, out: &mut Words, mut holds: impl FnMut(usize) -> Result<bool>) -> Result<()> {
    for (index, (word, out)) in some.iter().zip(out).enumerate() {
        let (mut left, mut held) = (*word, 0);
        while left != 0 {
            let bit = left.trailing_zeros();
            held |= u64::from(holds(index * 64 + bit as usize)?) << bit;
            left &= left - 1;
        }
        *out = held;
    }
    Ok(())
}

/// The aggregates of one owner.
struct At<'s, 'p, 'a, C> {
    passes: &'s [PassWorker<'p, 'a, C>],
    owner: usize,
}

impl<C: Counter> Aggregates for At<'_, '_, '_, C> {
    fn get(&self, slot: &Slot) -> (u64, i64) {
        let state = &self.passes[slot.pass];
        let rows = state.counts[self.owner].number();
        let Some(lane) = slot.lane.map(|lane| &state.lanes[lane]) else { return (rows, 0) };
        let count = lane.counts.get(self.owner).map_or(rows, |count| count.number());
        (count, lane.made.get(self.owner).copied().unwrap_or(0))
    }
}

impl<'p, 'a, C: Counter> PassWorker<'p, 'a, C> {
    /// Forgets the present chunk of owners.
    fn reset(&mut self) {
        if self.found > 0 {
            self.counts.fill(C::default());
            self.lanes.iter_mut().for_each(|lane| lane.counts.fill(C::default()));
            self.found = 0;
        }
    }

    /// Takes the rows of a chunk of owners, or only of some.
    fn gather(&mut self, pass: &'p Pass<'a>, owners: u32, only: Option<&[u16]>) -> Result<u64> {
        let mut bytes = 0;
        for chunk in pass.strays.chunks_of(owners) {
            let Some(stored) = pass.ordinals.owners(chunk)? else { continue };
            let runs = stored.runs_of(owners).filter(|(run, _)| pass.can_have(run));
            let asked: Vec<(Run, Range<usize>)> = match only {
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
            self.found += 1;
            self.take_row((owner & 0xffff) as usize, pass.lanes.iter().zip(codes));
        }
        Ok(bytes)
    }

    /// Takes one row: the code of each lane, `None` where NULL.
    #[inline(always)]
    fn take_row<'l>(&mut self, owner: usize, codes: impl Iterator<Item = (&'l Lane<'a>, Option<i64>)>)
    where
        'a: 'l,
    {
        let rows = &mut self.counts[owner];
        for (state, (lane, code)) in self.lanes.iter_mut().zip(codes) {
            if let Some(code) = code {
                state.add(owner, *rows, code, lane.makes);
            }
        }
        *rows = rows.plus(1);
    }

    /// Takes the runs of one chunk of rows.
    fn take_chunk(
        &mut self,
        pass: &'p Pass<'a>,
        chunk: u32,
        stored: &OwnersRef<'_>,
        asked: &[(Run, Range<usize>)],
        few: bool,
    ) -> Result<u64> {
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
        for (run, rows) in asked {
            bytes += 2 * rows.len() as u64;
            let tests: Vec<_> = tests.iter().filter(|(test, ..)| !test.holds_of(run)).collect();
            if tests.is_empty() && !asks_rest && excluded.is_none() {
                self.take_all(stored, rows.clone(), &lanes);
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
                values.retain_within(test.low, test.high, words.start, selected);
                if nulls.cardinality() > 0 {
                    let nulls = super::words_of(*nulls);
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
        self.found += rows.len();
        let halves = &stored.halves[rows.clone()];
        match lanes {
            [] => {
                let counts = array(&mut self.counts);
                halves
                    .iter()
                    .for_each(|half| counts[usize::from(*half)] = counts[usize::from(*half)].plus(1));
            }
            [(lane, Some(values), _)] if lane.total && values.frame.slope == 0 && values.rows >= rows.end => {
                match (values.residuals, lane.makes) {
                    (Residuals::U8(residuals), Makes::Sum) => {
                        self.sum_all(halves, &residuals[rows], values.frame);
                    }
                    (Residuals::U16(residuals), Makes::Sum) => {
                        self.sum_all(halves, &residuals[rows], values.frame);
                    }
                    (Residuals::U32(residuals), Makes::Sum) => {
                        self.sum_all(halves, &residuals[rows], values.frame);
                    }
                    _ => rows.zip(halves).for_each(|(row, half)| {
                        self.take_row(usize::from(*half), std::iter::once((*lane, Some(values.get(row)))));
                    }),
                }
            }
            lanes => rows.zip(halves).for_each(|(row, half)| {
                self.take_row(usize::from(*half), lanes.iter().map(|open| (open.0, code_at(open, row))));
            }),
        }
    }

    /// Counts rows and sums a column of which none is NULL.
    fn sum_all<R: Copy + Into<u64>>(&mut self, halves: &[u16], residuals: &[R], frame: Frame) {
        let counts = array(&mut self.counts);
        let Some(state) = self.lanes.first_mut() else { return };
        let made = array(&mut state.made);
        for (half, residual) in halves.iter().zip(residuals) {
            let owner = usize::from(*half);
            let code = frame.base.wrapping_add(frame.divisor.wrapping_mul((*residual).into()) as i64);
            let before = if counts[owner] == C::default() { 0 } else { made[owner] };
            made[owner] = before.wrapping_add(code);
            counts[owner] = counts[owner].plus(1);
        }
    }

    /// Takes the selected rows of some words.
    fn take_selected(&mut self, stored: &OwnersRef<'_>, words: Range<usize>, lanes: &[OpenLane<'_, 'a>]) {
        if lanes.is_empty() {
            return self.count_selected(stored, words);
        }
        let mut rows = std::mem::take(&mut self.rows);
        rows.clear();
        for_each_bit(&self.selected[words.clone()], words.start, |row| rows.push(row as u32));
        self.found += rows.len();
        if let [(lane, Some(values), _)] = lanes
            && lane.total
            && lane.makes == Makes::Sum
        {
            self.sum_listed(stored, &rows, values);
            self.rows = rows;
            return;
        }
        for (at, row) in rows.iter().enumerate() {
            if let Some(ahead) = rows.get(at + PREFETCH_AHEAD) {
                kernel::prefetch(stored.halves, *ahead as usize);
                for (_, values, _) in lanes {
                    values.iter().for_each(|values| values.residuals.prefetch(*ahead as usize));
                }
            }
            if let Some(half) = stored.halves.get(*row as usize) {
                let codes = lanes.iter().map(|open| (open.0, code_at(open, *row as usize)));
                self.take_row(usize::from(*half), codes);
            }
        }
        self.rows = rows;
    }
}

impl<C: Counter> PassWorker<'_, '_, C> {
    /// Counts the selected rows of some words: where they are most of a word, all are added, the others as 0.
    fn count_selected(&mut self, stored: &OwnersRef<'_>, words: Range<usize>) {
        let counts = array(&mut self.counts);
        for (index, word) in words.clone().zip(&self.selected[words]) {
            self.found += word.count_ones() as usize;
            let rows = index * 64..(index * 64 + 64).min(stored.halves.len());
            let halves = &stored.halves[rows];
            if word.count_ones() < DENSE_ROWS {
                let mut left = *word;
                while left != 0 {
                    if let Some(half) = halves.get(left.trailing_zeros() as usize) {
                        let count = &mut counts[usize::from(*half)];
                        *count = count.plus(1);
                    }
                    left &= left - 1;
                }
            } else {
                for (row, half) in halves.iter().enumerate() {
                    let count = &mut counts[usize::from(*half)];
                    *count = count.plus((word >> row & 1) as u8);
                }
            }
        }
    }
}

impl<C: Counter> PassWorker<'_, '_, C> {
    /// Counts some rows and sums a column of which none is NULL.
    fn sum_listed(&mut self, stored: &OwnersRef<'_>, rows: &[u32], values: &ValuesRef<'_>) {
        let counts = array(&mut self.counts);
        let Some(state) = self.lanes.first_mut() else { return };
        let made = array(&mut state.made);
        let frame = values.frame;
        macro_rules! each {
            ($code:expr) => {
                for (at, row) in rows.iter().enumerate() {
                    if let Some(ahead) = rows.get(at + PREFETCH_AHEAD) {
                        kernel::prefetch(stored.halves, *ahead as usize);
                        values.residuals.prefetch(*ahead as usize);
                    }
                    let row = *row as usize;
                    let (Some(half), Some(code)) = (stored.halves.get(row), $code(row)) else { continue };
                    let owner = usize::from(*half);
                    let before = if counts[owner] == C::default() { 0 } else { made[owner] };
                    made[owner] = before.wrapping_add(code);
                    counts[owner] = counts[owner].plus(1);
                }
            };
        }
        let code = |residual: u64| frame.base.wrapping_add(frame.divisor.wrapping_mul(residual) as i64);
        match values.residuals {
            Residuals::U32(residuals) if frame.slope == 0 => {
                each!(|row: usize| residuals.get(row).map(|residual| code(u64::from(*residual))));
            }
            Residuals::U16(residuals) if frame.slope == 0 => {
                each!(|row: usize| residuals.get(row).map(|residual| code(u64::from(*residual))));
            }
            _ => each!(|row: usize| (row < values.rows).then(|| values.get(row))),
        }
    }
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
            *count = count.plus(1);
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

/// Writes the rows of a chunk whose owners are some members, or those that have an owner's key and are not; `known` holds the
/// members of the chunk of owners that was asked for last.
pub(super) fn write_in_owners(
    asked: &InOwners<'_>,
    (place, chunk): (usize, u32),
    known: &mut Option<(usize, u32, Box<Words>)>,
    out: &mut Words,
) -> Result<()> {
    out.fill(0);
    if let Some(stored) = asked.ordinals.owners(chunk)? {
        let mut runs = stored.runs.iter().peekable();
        while let Some(run) = runs.next().filter(|run| run.owners != NOBODYS) {
            let end = runs.peek().map_or(stored.halves.len(), |next| next.start as usize);
            if known.as_ref().is_none_or(|known| (known.0, known.1) != (place, run.owners)) {
                *known = Some((place, run.owners, members_in(&asked.members, run.owners)));
            }
            let Some((_, _, members)) = known else { continue };
            let mut row = run.start as usize;
            while row < end {
                let next = end.min((row / 64 + 1) * 64);
                let bits = (0..).zip(&stored.halves[row..next]);
                let bits =
                    bits.fold(0, |bits, (at, half)| bits | u64::from(kernel::has(members, *half)) << at);
                out[row / 64] |= bits << (row % 64);
                row = next;
            }
        }
    }
    if let Some(excluded) = asked.strays.excluded(chunk) {
        out.iter_mut().zip(excluded).for_each(|(word, excluded)| *word &= !excluded);
    }
    let strays = asked.strays.owned();
    let from = strays.partition_point(|(row, _)| row >> 16 < chunk);
    for (row, owner) in strays[from..].iter().take_while(|(row, _)| row >> 16 == chunk) {
        let bit = u64::from(asked.members.contains(*owner)) << (row % 64);
        out[(row & 0xffff) as usize / 64] |= bit;
    }
    if !asked.wanted {
        let mut nulls = super::words_of(asked.whose.nulls(chunk)?);
        let mut marks = Vec::new();
        for patch in asked.whose.changes(chunk)? {
            patch.new.mark_nulls(false, &mut marks);
            super::put(&mut nulls, patch.rows, &marks);
        }
        out.iter_mut().zip(&nulls).for_each(|(word, null)| *word = !(*word | null));
    }
    Ok(())
}

/// The members of one chunk.
fn members_in(members: &RoaringBitmap, chunk: u32) -> Box<Words> {
    let mut words = Box::new([0; BITSET_WORDS]);
    for member in members.range(chunk << 16..=chunk << 16 | 0xffff) {
        words[(member & 0xffff) as usize / 64] |= 1 << (member % 64);
    }
    words
}

impl RowTest<'_> {
    /// True where every row of a run satisfies it.
    fn holds_of(&self, run: &Run) -> bool {
        self.is_time && run.low <= run.high && self.low <= run.low && run.high <= self.high
    }
}

impl Pass<'_> {
    /// False where no row of a run can satisfy the tests.
    fn can_have(&self, run: &Run) -> bool {
        let mut times = self.tests.iter().filter(|test| test.is_time);
        times.all(|test| run.low <= run.high && run.low <= test.high && test.low <= run.high)
    }
}
