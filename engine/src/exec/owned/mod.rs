//! Rows by their owners, one chunk of owners at a time: counted and summed in arrays that a cache holds.
//!
//! ```text
//! runs of the chunk ─ those whose time can be asked for ─ tests by vector ─ rows ─ counts[owner], sums[owner] ─ check ─ owners
//! ```
//!
//! Counts begin at 0 for each chunk. Sums do not: the first value of an owner takes the place of what was there.

mod counter;
mod in_owners;
mod loose;
mod pass;

pub(in crate::exec) use in_owners::write_in_owners;
pub(crate) use loose::Loose;

use crate::Result;
use crate::exec::FoldFunction;
use crate::kernel;
use crate::plan::{Aggregates, Check, Makes, Owned, Slot};
use crate::predicate::Truth;
use counter::Counter;
use muster_storage::chunk::Words;
use muster_storage::format::BITSET_WORDS;
use pass::PassWorker;

/// Below so many rows of a chunk of owners, those that have one are listed, and gone through rather than all owners.
const FEW_ROWS: usize = 4_096;

/// What one thread needs to ask the rows of owners.
///
/// Counts are bytes as long as nobody has rows by the hundred; the chunks of others are asked again with 32 bits.
pub(in crate::exec) struct OwnedWorker<'p, 'a> {
    owned: &'p Owned<'a>,
    narrow: Gathered<'p, 'a, u8>,
    wide: Option<Gathered<'p, 'a, u32>>,
}

impl<'p, 'a> OwnedWorker<'p, 'a> {
    pub(in crate::exec) fn new(owned: &'p Owned<'a>) -> OwnedWorker<'p, 'a> {
        OwnedWorker { owned, narrow: Gathered::of(owned), wide: None }
    }

    /// Writes the owners of a chunk that have the wanted outcome, also those that are gone; returns the bytes read. Where `only`
    /// some are asked, ascending, what is written of others is nothing.
    pub(in crate::exec) fn write(
        &mut self,
        owners: u32,
        only: Option<&[u16]>,
        out: &mut Words,
    ) -> Result<u64> {
        let mut bytes = self.narrow.gather(self.owned, owners, only)?;
        if !self.narrow.write(self.owned, out)? {
            let wide = self.wide.get_or_insert_with(|| Gathered::of(self.owned));
            bytes += wide.gather(self.owned, owners, only)?;
            wide.write(self.owned, out)?;
        }
        Ok(bytes)
    }
}

/// What is asked of the rows of the only condition, of those who have some: where it is one interval, what is made of them is
/// forgotten as it is compared. Nobody is asked about whose aggregate is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// How many there are.
    Count { low: u64, high: u64 },
    /// The sum of the only lane, in which none is NULL.
    Sum { low: i64, high: i64 },
    /// Anything else.
    More,
}

impl Asked {
    fn of(owned: &Owned<'_>) -> Asked {
        let ([pass], Check::Within { slot, low, high }) = (&*owned.passes, &owned.check) else {
            return Asked::More;
        };
        if !owned.wanted || owned.of_nothing || owned.not_in || low > high || (*low..=*high).contains(&0) {
            return Asked::More;
        }
        match (owned.slots[*slot].function, &*pass.lanes) {
            (FoldFunction::Count, []) if *low > 0 => {
                Asked::Count { low: low.unsigned_abs(), high: high.unsigned_abs() }
            }
            (FoldFunction::Sum, [lane]) if lane.total && lane.makes == Makes::Sum => {
                Asked::Sum { low: *low, high: *high }
            }
            _ => Asked::More,
        }
    }
}

/// The aggregates of the owners of one chunk.
struct Gathered<'p, 'a, C> {
    asked: Asked,
    passes: Vec<PassWorker<'p, 'a, C>>,
}

impl<'p, 'a, C: Counter> Gathered<'p, 'a, C> {
    fn of(owned: &'p Owned<'a>) -> Gathered<'p, 'a, C> {
        let asked = Asked::of(owned);
        Gathered { asked, passes: owned.passes.iter().map(|pass| PassWorker::new(pass, asked)).collect() }
    }

    fn gather(&mut self, owned: &'p Owned<'a>, owners: u32, only: Option<&[u16]>) -> Result<u64> {
        let both = self.passes.iter_mut().zip(&owned.passes);
        both.map(|(state, pass)| state.gather(pass, owners, only)).sum()
    }

    /// Writes the owners that have the wanted outcome, and forgets their rows; false where some had more than counts can hold, so
    /// that it says nothing.
    fn write(&mut self, owned: &Owned<'_>, out: &mut Words) -> Result<bool> {
        let fits = match (self.asked, &mut *self.passes) {
            (Asked::Count { low, high }, [state]) if !state.is_few() => state.drain_counts(low, high, out),
            (Asked::Sum { low, high }, [state]) if state.is_few() => {
                out.fill(0);
                state.drain_sums(low, high, out);
                true
            }
            // Lanes count no more than their pass does.
            (_, passes) if passes.iter().any(|state| state.bits.may_wrap()) => false,
            _ => {
                self.write_any(owned, out)?;
                true
            }
        };
        self.passes.iter_mut().for_each(PassWorker::reset);
        Ok(fits)
    }

    fn write_any(&self, owned: &Owned<'_>, out: &mut Words) -> Result<()> {
        let passes = if owned.is_in { &self.passes[..1] } else { &self.passes[..] };
        match passes.iter().map(PassWorker::listed).collect::<Option<Vec<_>>>() {
            Some(listed) => self.write_listed(owned, &listed, out)?,
            None => self.write_all(owned, passes, out)?,
        }
        if owned.not_in {
            out.iter_mut().for_each(|word| *word = !*word);
        }
        Ok(())
    }

    /// Writes those of listed owners that have the wanted outcome, and all others where that is so of them.
    fn write_listed(&self, owned: &Owned<'_>, listed: &[&[u16]], out: &mut Words) -> Result<()> {
        out.fill(0);
        let mut rest = [0; BITSET_WORDS];
        match self.terms(owned).as_deref() {
            Some([first, others @ ..]) => {
                listed.iter().for_each(|owners| first.write(owners, out));
                for term in others {
                    rest.fill(0);
                    listed.iter().for_each(|owners| term.write(owners, &mut rest));
                    out.iter_mut().zip(&rest).for_each(|(word, rest)| *word &= rest);
                }
            }
            _ => {
                // An owner once, whose check may be costly.
                listed.iter().for_each(|owners| kernel::set_members(&mut rest, owners, true));
                select_bits(&rest, out, |owner| owned.holds(&At { passes: &self.passes, owner }))?;
            }
        }
        if owned.of_nothing {
            rest.fill(u64::MAX);
            listed.iter().for_each(|owners| kernel::set_members(&mut rest, owners, false));
            out.iter_mut().zip(&rest).for_each(|(word, rest)| *word |= rest);
        }
        Ok(())
    }

    /// Writes the owners that have the wanted outcome, of whom some passes have many rows.
    fn write_all(&self, owned: &Owned<'_>, passes: &[PassWorker<'_, '_, C>], out: &mut Words) -> Result<()> {
        let by_vector = owned.check.by_vector(&owned.slots);
        // Who has no row is told by the check.
        let by_check = by_vector && !owned.of_nothing && !owned.check_of_nothing;
        let mut some = [0; BITSET_WORDS];
        for state in passes.iter().filter(|state| state.found > 0 && !by_check) {
            let mut here = [0; BITSET_WORDS];
            C::within(&state.counts, 1, C::MAX, &mut here);
            kernel::union_into(&here, &mut some);
        }
        if by_vector {
            self.check(owned, &owned.check, owned.wanted, out);
        } else {
            select_bits(&some, out, |owner| owned.holds(&At { passes: &self.passes, owner }))?;
        }
        if by_vector && !by_check {
            out.iter_mut().zip(&some).for_each(|(word, some)| *word &= some);
        }
        if owned.of_nothing {
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
            let counts = self.counts(slot);
            // Who is listed has a row, and so a value where there is one pass and no NULL.
            let listed = matches!(&*self.passes, [pass] if std::ptr::eq(counts, &*pass.counts));
            (owned.wanted && numbers).then_some(Term { counts, listed, made, low: *low, high: *high })
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
    /// True where nobody without a value is asked about.
    listed: bool,
    /// The numbers; `None` where the count is asked.
    made: Option<&'s [i64]>,
    low: i64,
    high: i64,
}

impl<C: Counter> Term<'_, C> {
    /// Adds those of some owners for whom it holds, without a branch on that: hardly one of either would be foreseen.
    fn write(&self, owners: &[u16], out: &mut Words) {
        let (low, high) = (self.low, self.high);
        let within = |number: i64| (low <= number) & (number <= high);
        let mut put =
            |owner: u16, holds: bool| out[usize::from(owner) / 64] |= u64::from(holds) << (owner % 64);
        let count = |owner: u16| self.counts[usize::from(owner)].number();
        match self.made {
            None => owners.iter().for_each(|owner| put(*owner, within(count(*owner) as i64))),
            Some(made) if self.listed => {
                owners.iter().for_each(|owner| put(*owner, within(made[usize::from(*owner)])));
            }
            Some(made) => owners.iter().for_each(|owner| {
                put(*owner, (count(*owner) > 0) & within(made[usize::from(*owner)]));
            }),
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
        self.passes[slot.pass].get(self.owner, slot.lane)
    }
}
