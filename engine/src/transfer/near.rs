//! Rows put chunk of owners by chunk of owners, so that all that is read of one chunk is near.
//!
//! ```text
//! owner of each row ─ counted by chunks of owners ─ held columns, each row written at its slot, in one frame a column
//! ```
//!
//! Rows that come in another order than their owners' stand all over memory: read in the new order they are a miss of the cache
//! each, for each column. Written as they come they are as many streams as there are chunks of owners, whose open ends the cache holds.
//! In one frame, each is read in the new order without asking for its chunk's: rows that came in the order of their owners are
//! written once more for that alone.

use super::held::{Held, HeldColumn, Narrow, divisor_of};
use crate::Result;
use crate::control::Cancel;
use crate::index::values::Frame;
use muster_storage::chunk::members_of;
use muster_storage::format::CHUNK_MEMBERS;
use rayon::prelude::*;

/// Whose a row is that is nobody's.
pub(super) const NO_OWNER: u32 = u32::MAX;

/// Where rows stand, and whose they are, when those of each chunk of owners are together; nobody's are last.
pub(super) struct Whose {
    /// The slot of each row, as they came; `None` where it is the row itself, as rows came chunk of owners by chunk of owners.
    slots: Option<Vec<u32>>,
    /// The low halves of the owners' ordinals, slot by slot; 0 of nobody's.
    pub(super) halves: Vec<u16>,
    /// The first slot of each chunk of owners, and the end.
    pub(super) starts: Vec<usize>,
}

impl Whose {
    /// Finds a slot for each row, given the ordinals of their owners, of so many chunks. Cost: two passes.
    pub(super) fn new(owner_of: Vec<u32>, owner_chunks: usize) -> Whose {
        let chunk_of = |owner: u32| if owner == NO_OWNER { owner_chunks } else { (owner >> 16) as usize };
        let half_of = |owner: u32| if owner == NO_OWNER { 0 } else { owner as u16 };
        let (mut starts, mut in_order, mut before) = (vec![0; owner_chunks + 2], true, 0);
        for owner in &owner_of {
            let chunk = chunk_of(*owner);
            starts[chunk + 1] += 1;
            in_order &= before <= chunk;
            before = chunk;
        }
        (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
        if in_order {
            let halves = owner_of.into_iter().map(half_of).collect();
            return Whose { slots: None, halves, starts };
        }
        let (mut slots, mut halves, mut next) = (owner_of, Vec::new(), starts.clone());
        halves.resize(slots.len(), 0);
        for one in &mut slots {
            let (owner, slot) = (*one, &mut next[chunk_of(*one)]);
            halves[*slot] = half_of(owner);
            *one = *slot as u32;
            *slot += 1;
        }
        Whose { slots: Some(slots), halves, starts }
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.halves.len()
    }

    /// The rows as they came, slot by slot.
    pub(super) fn rows(&self) -> Vec<u32> {
        let each = 0..self.len() as u32;
        let Some(slots) = &self.slots else { return each.collect() };
        let mut rows = vec![0; slots.len()];
        slots.iter().zip(each).for_each(|(slot, row)| rows[*slot as usize] = row);
        rows
    }
}

/// The columns of a table, in the schema's order, with their rows at their slots.
pub(super) struct Near(Vec<NearColumn>);

impl Near {
    /// Puts rows at their slots, column by column; what is put is held no longer.
    pub(super) fn of(held: Held, whose: &Whose, cancel: &Cancel) -> Result<Near> {
        let columns = held.into_columns().into_par_iter().with_max_len(1).map(|chunks| {
            cancel.check()?;
            Ok(NearColumn::of(chunks, whose))
        });
        Ok(Near(columns.collect::<Result<_>>()?))
    }

    /// A column by its place in the schema.
    pub(super) fn column(&self, place: usize) -> &NearColumn {
        &self.0[place]
    }
}

/// A column of all rows, in one frame.
pub(super) struct NearColumn {
    frame: Frame,
    residuals: Narrow,
    /// The NULL rows' bits, where some are.
    nulls: Option<Vec<u64>>,
}

impl NearColumn {
    fn of(chunks: Vec<HeldColumn>, whose: &Whose) -> NearColumn {
        let bounds = || chunks.iter().filter_map(|chunk| chunk.bounds);
        let (low, high) = (bounds().map(|(low, _)| low).min(), bounds().map(|(_, high)| high).max());
        let (base, most) = match (low, high) {
            (Some(low), Some(high)) => (low, high.wrapping_sub(low) as u64),
            _ => (0, 0),
        };
        let divisor = divisor_of(most, |divisor| chunks.iter().all(|chunk| chunk.divides(divisor, base)));
        let nulls = nulls_of(&chunks, whose);
        macro_rules! put {
            ($type:ty) => {{
                let mut placed = vec![0; whose.len()];
                for (at, chunk) in chunks.into_iter().enumerate() {
                    let rows = at * CHUNK_MEMBERS..whose.len().min((at + 1) * CHUNK_MEMBERS);
                    let placed = match &whose.slots {
                        None => Placed::AsTheyCame(&mut placed[rows]),
                        Some(slots) => Placed::AtSlots(&slots[rows], &mut placed),
                    };
                    let (offset, times) = (chunk.frame.base.wrapping_sub(base) as u64, chunk.frame.divisor);
                    let distance = |residual: u64| offset.wrapping_add(times.wrapping_mul(residual));
                    match divisor {
                        // The chunk was divided by the same.
                        _ if times == divisor => {
                            let offset = offset / divisor;
                            put(&chunk, placed, |one| offset.wrapping_add(one) as $type);
                        }
                        1 => put(&chunk, placed, |one| distance(one) as $type),
                        // By constants it is a multiplication.
                        1_000_000 => put(&chunk, placed, |one| (distance(one) / 1_000_000) as $type),
                        divisor => put(&chunk, placed, |one| (distance(one) / divisor) as $type),
                    }
                }
                placed
            }};
        }
        let residuals = match most / divisor {
            0 => Narrow::None,
            1..=0xff => Narrow::U8(put!(u8)),
            0x100..=0xffff => Narrow::U16(put!(u16)),
            0x1_0000..=0xffff_ffff => Narrow::U32(put!(u32)),
            _ => Narrow::U64(put!(u64)),
        };
        NearColumn { frame: Frame { base, divisor, slope: 0 }, residuals, nulls }
    }

    /// A column whose slots are rows as they came.
    #[cfg(test)]
    pub(super) fn as_it_came(codes: &[i64], nulls: Option<&[bool]>) -> NearColumn {
        NearColumn::of(vec![HeldColumn::of(codes, nulls)], &Whose::new(vec![0; codes.len()], 1))
    }

    /// The codes of some slots in their order, 0 where NULL, and which are.
    pub(super) fn gather(&self, slots: &[u32]) -> (Vec<i64>, Vec<bool>) {
        let Frame { base, divisor, .. } = self.frame;
        let code = |residual: u64| base.wrapping_add(divisor.wrapping_mul(residual) as i64);
        macro_rules! codes {
            ($residuals:ident) => {
                slots.iter().map(|slot| code(u64::from($residuals[*slot as usize]))).collect()
            };
        }
        let mut codes: Vec<i64> = match &self.residuals {
            Narrow::None => vec![base; slots.len()],
            Narrow::U8(residuals) => codes!(residuals),
            Narrow::U16(residuals) => codes!(residuals),
            Narrow::U32(residuals) => codes!(residuals),
            Narrow::U64(residuals) => codes!(residuals),
        };
        let Some(bits) = &self.nulls else { return (codes, vec![false; slots.len()]) };
        let is_null = |slot: &u32| bits[*slot as usize / 64] >> (slot % 64) & 1 == 1;
        let nulls: Vec<bool> = slots.iter().map(is_null).collect();
        codes.iter_mut().zip(&nulls).filter(|(_, null)| **null).for_each(|(code, _)| *code = 0);
        (codes, nulls)
    }
}

/// The bits of the slots whose rows are NULL; `None` where none is.
fn nulls_of(chunks: &[HeldColumn], whose: &Whose) -> Option<Vec<u64>> {
    if chunks.iter().all(|chunk| chunk.nulls().is_none()) {
        return None;
    }
    let mut bits = vec![0u64; whose.len().div_ceil(64)];
    for (at, nulls) in chunks.iter().enumerate().filter_map(|(at, chunk)| Some((at, chunk.nulls()?))) {
        for row in members_of(nulls).map(|row| at * CHUNK_MEMBERS + usize::from(row)) {
            let slot = whose.slots.as_ref().map_or(row, |slots| slots[row] as usize);
            bits[slot / 64] |= 1 << (slot % 64);
        }
    }
    Some(bits)
}

/// Where the rows of a chunk, as they came, are put.
enum Placed<'c, T> {
    /// One behind the other.
    AsTheyCame(&'c mut [T]),
    /// At these slots.
    AtSlots(&'c [u32], &'c mut [T]),
}

/// Writes the residuals of a chunk of rows where these belong.
fn put<T>(chunk: &HeldColumn, mut placed: Placed<'_, T>, narrowed: impl Fn(u64) -> T) {
    macro_rules! each {
        ($residuals:expr) => {
            match &mut placed {
                Placed::AsTheyCame(placed) => {
                    placed.iter_mut().zip($residuals).for_each(|(slot, one)| *slot = narrowed(one));
                }
                Placed::AtSlots(slots, placed) => {
                    slots
                        .iter()
                        .zip($residuals)
                        .for_each(|(slot, one)| placed[*slot as usize] = narrowed(one));
                }
            }
        };
    }
    match &chunk.residuals {
        Narrow::None => each!(std::iter::repeat(0)),
        Narrow::U8(residuals) => each!(residuals.iter().map(|residual| u64::from(*residual))),
        Narrow::U16(residuals) => each!(residuals.iter().map(|residual| u64::from(*residual))),
        Narrow::U32(residuals) => each!(residuals.iter().map(|residual| u64::from(*residual))),
        Narrow::U64(residuals) => each!(residuals.iter().copied()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code() -> impl Strategy<Value = i64> {
        let seconds = (0i64..1 << 40).prop_map(|second| second * 1_000_000);
        prop_oneof![any::<i64>(), -9i64..9, 0i64..70_000, seconds.clone(), seconds, 0i64..1 << 33]
    }

    proptest! {
        #[test]
        fn rows_stand_by_their_owners_chunks_as_they_came(
            owner_of in proptest::collection::vec(prop_oneof![Just(NO_OWNER), 0u32..3 << 16], 0..90),
        ) {
            let whose = Whose::new(owner_of.clone(), 3);
            prop_assert_eq!(whose.slots.is_none(), whose.rows().is_sorted());
            let chunk = |row: &u32| (owner_of[*row as usize] >> 16).min(3);
            let mut rows: Vec<u32> = (0..owner_of.len() as u32).collect();
            rows.sort_by_key(chunk);
            prop_assert_eq!(whose.rows(), rows.clone());
            let half = |row: &u32| if chunk(row) == 3 { 0 } else { owner_of[*row as usize] as u16 };
            prop_assert_eq!(whose.halves, rows.iter().map(half).collect::<Vec<_>>());
            let starts = (0..=4).map(|at| rows.partition_point(|row| chunk(row) < at)).collect::<Vec<_>>();
            prop_assert_eq!(whose.starts, starts);
        }

        /// Chunks of one kind of codes each, so that their frames differ.
        #[test]
        fn codes_come_back_from_their_slots(
            kinds in proptest::collection::vec((code(), 0u8..4), 1..4),
            nulls in proptest::collection::vec(any::<bool>(), 9),
            seed in any::<u64>(),
            in_order in any::<bool>(),
        ) {
            let (mut codes, mut chunks) = (Vec::new(), Vec::new());
            for (at, (code, kind)) in kinds.iter().enumerate() {
                // All chunks but the last are whole.
                let rows = if at + 1 < kinds.len() { CHUNK_MEMBERS } else { 77 };
                let step = [0, 1, 1_000_000, 40_000_000_000][usize::from(*kind)];
                let here: Vec<i64> = (0..rows as i64).map(|row| code.wrapping_add(row % 999 * step)).collect();
                let null: Vec<bool> = (0..rows).map(|row| kind % 2 == 0 && nulls[row % 9]).collect();
                chunks.push(HeldColumn::of(&here, (*kind < 3).then_some(&null[..])));
                codes.extend(here.into_iter().zip(null).map(|(code, null)| (!null).then_some(code)));
            }
            let owner_of = (0..codes.len() as u64).map(|row| (row.wrapping_mul(seed) >> 40) as u32 & 0x3_ffff);
            let mut owner_of: Vec<u32> = owner_of.collect();
            if in_order {
                owner_of.sort_unstable();
            }
            let whose = Whose::new(owner_of, 4);
            let column = NearColumn::of(chunks, &whose);
            let rows = whose.rows();
            let all: Vec<u32> = (0..rows.len() as u32).collect();
            let (found, found_nulls) = column.gather(&all);
            for ((row, code), null) in rows.iter().zip(found).zip(found_nulls) {
                prop_assert_eq!(codes[*row as usize], (!null).then_some(code));
                prop_assert!(!null || code == 0);
            }
        }
    }

    #[test]
    fn times_of_years_are_as_narrow_as_those_of_a_day() {
        let day = |first: i64| {
            (0..CHUNK_MEMBERS as i64).map(|second| (first + second % 3_000) * 1_000_000).collect::<Vec<_>>()
        };
        let chunks = vec![HeldColumn::of(&day(0), None), HeldColumn::of(&day(90_000_000), None)];
        let column = NearColumn::of(chunks, &Whose::new(vec![0; 2 * CHUNK_MEMBERS], 1));
        assert!(matches!(&column.residuals, Narrow::U32(_)));
        assert_eq!(column.gather(&[CHUNK_MEMBERS as u32 + 1]).0, [90_000_001 * 1_000_000]);
    }
}
