//! Rows by their owners, one chunk of owners at a time: counted and summed in arrays that a cache holds.
//!
//! ```text
//! runs of the chunk ─ those whose time can be asked for ─ tests by vector ─ rows ─ counts[owner], sums[owner] ─ check ─ owners
//! ```
//!
//! Counts begin at 0 for each chunk. Sums do not: the first value of an owner takes the place of what was there.

use super::chunk::{Answer, Worker};
use crate::Result;
use crate::index::owners::{OwnersRef, Run};
use crate::index::values::{Frame, Residuals, ValuesRef};
use crate::kernel;
use crate::plan::{Aggregates, Check, Lane, Makes, Node, Owned, Pass, RowTest, Slot};
use crate::predicate::Truth;
use muster_storage::chunk::Words;
use muster_storage::format::{BITSET_WORDS, CHUNK_MEMBERS};
use std::ops::Range;

/// Below so many rows of a chunk of owners, those that have one are gone through rather than all owners.
const FEW_ROWS: usize = 8_192;

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
        let mut worker = Worker::new(&pass.whole);
        for strays in pass.strays.owned().chunk_by(|a, b| a.0 >> 16 == b.0 >> 16) {
            pass.whole.cancel.check()?;
            let chunk = strays[0].0 >> 16;
            let mut mask = Box::new([0; BITSET_WORDS]);
            strays.iter().for_each(|(row, _)| mask[(row & 0xffff) as usize / 64] |= 1 << (row % 64));
            worker.begin(chunk..chunk + 1);
            let answer = worker.members(chunk, Some(&mask))?;
            let found = answer.found(pass.whole.table.chunk_rows(chunk));
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

    fn of_chunk(&self, owners: u32) -> &[(u32, u32)] {
        let from = self.rows.partition_point(|(owner, _)| owner >> 16 < owners);
        let to = self.rows.partition_point(|(owner, _)| owner >> 16 <= owners);
        &self.rows[from..to]
    }
}

/// What one thread needs to ask the rows of owners.
pub(super) struct OwnedWorker<'p, 'a> {
    owned: &'p Owned<'a>,
    passes: Vec<PassWorker<'p, 'a>>,
}

struct PassWorker<'p, 'a> {
    rest: Worker<'p, 'a>,
    /// The last chunk of rows that `rest` was asked of, and its answer.
    answered: Option<(u32, Answer)>,
    /// Rows of each owner.
    counts: Vec<u32>,
    lanes: Vec<LaneState>,
    /// Rows found for the present chunk of owners.
    found: usize,
    selected: Vec<u64>,
}

/// What is made of a column for each owner.
struct LaneState {
    /// Values that are not NULL.
    counts: Vec<u32>,
    made: Vec<i64>,
}

impl<'p, 'a> OwnedWorker<'p, 'a> {
    pub(super) fn new(owned: &'p Owned<'a>) -> OwnedWorker<'p, 'a> {
        let passes = owned.passes.iter().map(|pass| {
            let lanes = pass.lanes.iter().map(|lane| LaneState {
                counts: vec![0; CHUNK_MEMBERS],
                made: if lane.makes == Makes::Count { Vec::new() } else { vec![0; CHUNK_MEMBERS] },
            });
            PassWorker {
                rest: Worker::new(&pass.rest),
                answered: None,
                counts: vec![0; CHUNK_MEMBERS],
                lanes: lanes.collect(),
                found: 0,
                selected: vec![0; BITSET_WORDS],
            }
        });
        OwnedWorker { owned, passes: passes.collect() }
    }

    /// Writes the owners of a chunk that have the wanted outcome, also those that are gone; returns the bytes read.
    pub(super) fn write(&mut self, owners: u32, out: &mut Words) -> Result<u64> {
        let mut bytes = 0;
        for (state, pass) in self.passes.iter_mut().zip(&self.owned.passes) {
            bytes += state.gather(pass, owners)?;
        }
        let owned = self.owned;
        let few = self.passes.iter().map(|state| state.found).sum::<usize>() < FEW_ROWS;
        let mut some = [0; BITSET_WORDS];
        for (at, state) in self.passes.iter().enumerate() {
            if !owned.is_in || at == 0 {
                let mut here = [0; BITSET_WORDS];
                kernel::within_u32(&state.counts, 1, u32::MAX, &mut here);
                kernel::union_into(&here, &mut some);
            }
        }
        if few || !owned.check.by_vector(&owned.slots) {
            out.fill(0);
            for (index, word) in some.iter().enumerate() {
                let mut left = *word;
                while left != 0 {
                    let owner = index * 64 + left.trailing_zeros() as usize;
                    if owned.holds(&At { passes: &self.passes, owner })? {
                        out[index] |= left & left.wrapping_neg();
                    }
                    left &= left - 1;
                }
            }
        } else {
            self.check(&owned.check, owned.wanted, out);
            out.iter_mut().zip(&some).for_each(|(word, some)| *word &= some);
        }
        if owned.not_in {
            // NOT IN: everybody but those in the list.
            out.iter_mut().for_each(|word| *word = !*word);
        } else if owned.of_nothing {
            out.iter_mut().zip(&some).for_each(|(word, some)| *word |= !some);
        }
        self.passes.iter_mut().for_each(PassWorker::reset);
        Ok(bytes)
    }

    /// Writes the owners whose check has an outcome, of those with rows.
    fn check(&self, check: &Check, wanted: bool, out: &mut Words) {
        match check {
            Check::Const(truth) => {
                let holds = *truth == if wanted { Truth::True } else { Truth::False };
                out.fill(if holds { u64::MAX } else { 0 });
            }
            Check::Not(inner) => self.check(inner, !wanted, out),
            Check::And(terms) | Check::Or(terms) => {
                // Where TRUE of AND is wanted, or FALSE of OR, all terms have to be so.
                let all = matches!(check, Check::And(_)) == wanted;
                out.fill(if all { u64::MAX } else { 0 });
                let mut term_out = [0; BITSET_WORDS];
                for term in terms {
                    self.check(term, wanted, &mut term_out);
                    let both = out.iter_mut().zip(&term_out);
                    both.for_each(|(word, term)| *word = if all { *word & term } else { *word | term });
                }
            }
            Check::Within { slot, low, high } => self.within(&self.owned.slots[*slot], *low, *high, wanted, out),
            Check::Null { slot } => {
                self.present(&self.owned.slots[*slot], out);
                if wanted {
                    out.iter_mut().for_each(|word| *word = !*word);
                }
            }
            Check::Computed(_) => out.fill(0),
        }
    }

    /// Writes the owners of whom an aggregate is not NULL.
    fn present(&self, slot: &Slot, out: &mut Words) {
        match slot.lane {
            Some(lane) if slot.makes_number() => {
                kernel::within_u32(&self.passes[slot.pass].lanes[lane].counts, 1, u32::MAX, out);
            }
            _ => out.fill(u64::MAX),
        }
    }

    fn within(&self, slot: &Slot, low: i64, high: i64, wanted: bool, out: &mut Words) {
        let state = &self.passes[slot.pass];
        if low > high {
            out.fill(0);
        } else if slot.makes_number() {
            let Some(lane) = slot.lane.map(|lane| &state.lanes[lane]) else { return out.fill(0) };
            kernel::within_i64(&lane.made, low, high, out);
        } else {
            let counts = slot.lane.map_or(&state.counts, |lane| &state.lanes[lane].counts);
            match (u32::try_from(low.max(0)), u32::try_from(high.clamp(-1, i64::from(u32::MAX)))) {
                (Ok(low), Ok(high)) if low <= high => kernel::within_u32(counts, low, high, out),
                _ => out.fill(0),
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

/// The aggregates of one owner.
struct At<'s, 'p, 'a> {
    passes: &'s [PassWorker<'p, 'a>],
    owner: usize,
}

impl Aggregates for At<'_, '_, '_> {
    fn get(&self, slot: &Slot) -> (u64, i64) {
        let state = &self.passes[slot.pass];
        match slot.lane.map(|lane| &state.lanes[lane]) {
            None => (u64::from(state.counts[self.owner]), 0),
            Some(lane) => {
                let made = lane.made.get(self.owner).copied().unwrap_or(0);
                (u64::from(lane.counts[self.owner]), made)
            }
        }
    }
}

impl<'a> PassWorker<'_, 'a> {
    /// Forgets the present chunk of owners.
    fn reset(&mut self) {
        if self.found > 0 {
            self.counts.fill(0);
            self.lanes.iter_mut().for_each(|lane| lane.counts.fill(0));
            self.found = 0;
        }
    }

    /// Takes the rows of a chunk of owners.
    fn gather(&mut self, pass: &Pass<'a>, owners: u32) -> Result<u64> {
        let mut bytes = 0;
        for chunk in pass.strays.chunks_of(owners) {
            let Some(stored) = pass.ordinals.owners(chunk)? else { continue };
            let asked: Vec<(Run, Range<usize>)> =
                stored.runs_of(owners).filter(|(run, _)| pass.can_have(run)).collect();
            if asked.is_empty() {
                continue;
            }
            bytes += self.take_chunk(pass, chunk, &stored, &asked)?;
        }
        for (owner, place) in pass.loose.of_chunk(owners) {
            let owner = (owner & 0xffff) as usize;
            self.counts[owner] += 1;
            self.found += 1;
            for ((state, codes), lane) in self.lanes.iter_mut().zip(&pass.loose.codes).zip(&pass.lanes) {
                if let Some(code) = codes[*place as usize] {
                    state.add(owner, code, lane.makes);
                }
            }
        }
        Ok(bytes)
    }

    /// Takes the runs of one chunk of rows.
    fn take_chunk(
        &mut self,
        pass: &Pass<'a>,
        chunk: u32,
        stored: &OwnersRef<'_>,
        asked: &[(Run, Range<usize>)],
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
        let asks_rest = pass.rest.root != Node::Everyone;
        if asks_rest && self.answered.as_ref().is_none_or(|(answered, _)| *answered != chunk) {
            if let Some((_, answer)) = self.answered.take() {
                self.rest.recycle(answer);
            }
            self.rest.begin(chunk..chunk + 1);
            let before = self.rest.stats.bytes;
            self.answered = Some((chunk, self.rest.members(chunk, None)?));
            bytes += self.rest.stats.bytes - before;
        }
        for (run, rows) in asked {
            bytes += 2 * rows.len() as u64;
            let tests: Vec<_> = tests.iter().filter(|(test, ..)| !test.holds_of(run)).collect();
            let plain = tests.is_empty() && !asks_rest && excluded.is_none();
            if plain {
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
                select(values, test.low, test.high, words.clone(), selected);
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
        let counts = array(&mut self.counts);
        halves.iter().for_each(|half| counts[usize::from(*half)] += 1);
        for (state, (lane, values, nulls)) in self.lanes.iter_mut().zip(lanes) {
            let Some(values) = values else { continue };
            if nulls.cardinality() > 0 || values.rows < rows.end {
                for row in rows.clone().filter(|row| !nulls.contains(*row as u16) && *row < values.rows) {
                    state.add(usize::from(stored.halves[row]), values.get(row), lane.makes);
                }
            } else {
                state.add_all(halves, rows.clone(), values, lane.makes);
            }
        }
    }

    /// Takes the selected rows of some words.
    fn take_selected(&mut self, stored: &OwnersRef<'_>, words: Range<usize>, lanes: &[OpenLane<'_, 'a>]) {
        let PassWorker { counts, lanes: states, selected, found, .. } = self;
        let counts = array(counts);
        for_each_bit(&selected[words.clone()], words.start, |row| {
            counts[usize::from(stored.halves[row])] += 1;
            *found += 1;
        });
        for (state, (lane, values, nulls)) in states.iter_mut().zip(lanes) {
            let Some(values) = values else { continue };
            let has_nulls = nulls.cardinality() > 0;
            for_each_bit(&selected[words.clone()], words.start, |row| {
                if row < values.rows && !(has_nulls && nulls.contains(row as u16)) {
                    state.add(usize::from(stored.halves[row]), values.get(row), lane.makes);
                }
            });
        }
    }
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

impl LaneState {
    #[inline(always)]
    fn add(&mut self, owner: usize, code: i64, makes: Makes) {
        let first = self.counts[owner] == 0;
        self.counts[owner] += 1;
        let Some(made) = self.made.get_mut(owner) else { return };
        *made = match makes {
            _ if first => code,
            Makes::Sum => made.wrapping_add(code),
            Makes::Min => code.min(*made),
            Makes::Max => code.max(*made),
            Makes::Count => 0,
        };
    }

    /// Adds the values of rows that all have one.
    fn add_all(&mut self, halves: &[u16], rows: Range<usize>, values: &ValuesRef<'_>, makes: Makes) {
        macro_rules! each {
            ($residuals:expr, $combine:expr) => {{
                let (counts, made, frame) = (array(&mut self.counts), array(&mut self.made), values.frame);
                for (half, residual) in halves.iter().zip(&$residuals[rows]) {
                    let (owner, code) = (usize::from(*half), code_of(frame, *residual as u64));
                    let before = if counts[owner] == 0 { None } else { Some(made[owner]) };
                    counts[owner] += 1;
                    made[owner] = $combine(before, code);
                }
            }};
        }
        macro_rules! by_width {
            ($combine:expr) => {
                match values.residuals {
                    Residuals::U8(residuals) if values.frame.slope == 0 => each!(residuals, $combine),
                    Residuals::U16(residuals) if values.frame.slope == 0 => each!(residuals, $combine),
                    Residuals::U32(residuals) if values.frame.slope == 0 => each!(residuals, $combine),
                    _ => halves.iter().zip(rows).for_each(|(half, row)| {
                        self.add(usize::from(*half), values.get(row), makes);
                    }),
                }
            };
        }
        match makes {
            Makes::Count => halves.iter().for_each(|half| self.counts[usize::from(*half)] += 1),
            Makes::Sum => by_width!(|before: Option<i64>, code: i64| before.unwrap_or(0).wrapping_add(code)),
            Makes::Min => by_width!(|before: Option<i64>, code: i64| before.map_or(code, |before| before.min(code))),
            Makes::Max => by_width!(|before: Option<i64>, code: i64| before.map_or(code, |before| before.max(code))),
        }
    }
}

/// The code of a residual in a frame without slope.
#[inline(always)]
fn code_of(frame: Frame, residual: u64) -> i64 {
    frame.base.wrapping_add(frame.divisor.wrapping_mul(residual) as i64)
}

/// Keeps those of the selected rows (bits of some words of a chunk) whose code lies within an interval.
fn select(values: &ValuesRef<'_>, low: i64, high: i64, words: Range<usize>, selected: &mut [u64]) {
    let frame = values.frame;
    let rows = words.start * 64..values.rows.min(words.end * 64);
    if rows.start >= rows.end || low > high {
        return selected.fill(0);
    }
    let first = frame.residual_at_least(low);
    let last = match high.checked_add(1) {
        Some(beyond) => frame.residual_at_least(beyond).checked_sub(1),
        None => Some(u64::MAX),
    };
    let Some(last) = last.filter(|last| first <= *last && high >= frame.base) else { return selected.fill(0) };
    macro_rules! by {
        ($kernel:path, $residuals:expr, $type:ty) => {{
            let Ok(first) = <$type>::try_from(first) else { return selected.fill(0) };
            let last = <$type>::try_from(last).unwrap_or(<$type>::MAX);
            let mut within = [0; BITSET_WORDS];
            let within = &mut within[..selected.len()];
            $kernel(&$residuals[rows], first, last, within);
            selected.iter_mut().zip(within).for_each(|(word, within)| *word &= *within);
        }};
    }
    match values.residuals {
        Residuals::U8(residuals) if frame.slope == 0 => by!(kernel::within_u8, residuals, u8),
        Residuals::U16(residuals) if frame.slope == 0 => by!(kernel::within_u16, residuals, u16),
        Residuals::U32(residuals) if frame.slope == 0 => by!(kernel::within_u32, residuals, u32),
        _ => {
            for (index, word) in selected.iter_mut().enumerate() {
                let base = words.start * 64 + index * 64;
                let mut left = *word;
                while left != 0 {
                    let row = base + left.trailing_zeros() as usize;
                    if row >= values.rows || !(low..=high).contains(&values.get(row)) {
                        *word &= !(left & left.wrapping_neg());
                    }
                    left &= left - 1;
                }
            }
        }
    }
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
