//! Rows put chunk of owners by chunk of owners, so that all that is read of one chunk is near.
//!
//! ```text
//! owner of each row ─ counted into chunks of owners ─ a slot for each row ─ held columns written at their slots, in one frame each
//! ```
//!
//! Rows that come in another order than their owners' stand all over memory: read in the new order they are a miss of the cache
//! each, for each column. Written as they come they are as many streams as there are chunks of owners, whose open ends the cache holds.

use super::held::{Held, HeldColumn, Narrow, divisor_of};
use crate::Result;
use crate::control::Cancel;
use crate::index::values::Frame;
use crate::kernel;
use muster_storage::format::CHUNK_MEMBERS;
use rayon::prelude::*;

/// Whose a row is that is nobody's.
pub(super) const NO_OWNER: u32 = u32::MAX;

/// Rows that are counted together.
const ROWS_AT_ONCE: usize = 1 << 22;

/// Where rows stand when those of each chunk of owners are together, as they came; nobody's are last.
pub(super) struct Slots {
    /// Of each row as it came.
    of: Vec<u32>,
    /// The low half of each row's owner, of rows as they came; 0 of nobody's.
    halves: Vec<u16>,
    /// The first slot of each chunk of owners, and the end.
    pub(super) starts: Vec<usize>,
}

impl Slots {
    /// The slots of rows whose owners these are, of so many chunks. Cost: two passes over the rows.
    pub(super) fn of(mut owner_of: Vec<u32>, owner_chunks: usize) -> Slots {
        let chunk_of = |owner: u32| if owner == NO_OWNER { owner_chunks } else { (owner >> 16) as usize };
        let counts = owner_of.par_chunks(ROWS_AT_ONCE).map(|owners| {
            let mut counts = vec![0u32; owner_chunks + 1];
            owners.iter().for_each(|owner| counts[chunk_of(*owner)] += 1);
            counts
        });
        // The next slot of each chunk for the rows of each piece.
        let mut next: Vec<Vec<u32>> = counts.collect();
        let (mut starts, mut end) = (Vec::with_capacity(owner_chunks + 2), 0usize);
        for chunk in 0..=owner_chunks {
            starts.push(end);
            for piece in &mut next {
                end += std::mem::replace(&mut piece[chunk], end as u32) as usize;
            }
        }
        starts.push(end);
        let mut halves = vec![0u16; owner_of.len()];
        let pieces = owner_of.par_chunks_mut(ROWS_AT_ONCE).zip(halves.par_chunks_mut(ROWS_AT_ONCE));
        pieces.zip(next).for_each(|((owners, halves), mut next)| {
            for (owner, half) in owners.iter_mut().zip(halves) {
                *half = if *owner == NO_OWNER { 0 } else { *owner as u16 };
                let slot = &mut next[chunk_of(*owner)];
                *owner = *slot;
                *slot = slot.wrapping_add(1);
            }
        });
        Slots { of: owner_of, halves, starts }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// The halves of the owners, slot by slot.
    pub(super) fn halves(&self) -> Vec<u16> {
        self.put(self.halves.iter().copied())
    }

    /// The rows as they came, slot by slot.
    pub(super) fn rows(&self) -> Vec<u32> {
        self.put(0..)
    }

    fn put<T: Copy + Default>(&self, values: impl Iterator<Item = T>) -> Vec<T> {
        let mut placed = vec![T::default(); self.of.len()];
        self.of.iter().zip(values).for_each(|(slot, value)| placed[*slot as usize] = value);
        placed
    }
}

/// The columns of a table, in the schema's order, each with its rows at their slots.
pub(super) struct Near {
    pub(super) columns: Vec<NearColumn>,
}

impl Near {
    /// Puts rows at their slots, column by column: each thread has one of them twice in memory meanwhile.
    pub(super) fn of(held: Held, slots: &Slots, cancel: &Cancel) -> Result<Near> {
        let columns = held.into_columns().into_par_iter().with_max_len(1).map(|chunks| {
            cancel.check()?;
            Ok(NearColumn::of(&chunks, slots))
        });
        Ok(Near { columns: columns.collect::<Result<_>>()? })
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
    fn of(chunks: &[HeldColumn], slots: &Slots) -> NearColumn {
        let bounds = || chunks.iter().filter_map(|chunk| chunk.bounds);
        let (low, high) = (bounds().map(|(low, _)| low).min(), bounds().map(|(_, high)| high).max());
        let (base, most) = match (low, high) {
            (Some(low), Some(high)) => (low, high.wrapping_sub(low) as u64),
            _ => (0, 0),
        };
        let divisor = divisor_of(most, |divisor| chunks.iter().all(|chunk| chunk.divides(divisor, base)));
        macro_rules! put {
            ($type:ty) => {{
                let mut placed = vec![0; slots.of.len()];
                for (chunk, slots) in chunks.iter().zip(slots.of.chunks(CHUNK_MEMBERS)) {
                    let (offset, times) = (chunk.frame.base.wrapping_sub(base) as u64, chunk.frame.divisor);
                    let distance = |residual: u64| offset.wrapping_add(times.wrapping_mul(residual));
                    match divisor {
                        divisor if divisor == times => {
                            let offset = offset / divisor;
                            put(chunk, slots, &mut placed, |residual| offset.wrapping_add(residual) as $type);
                        }
                        1 => put(chunk, slots, &mut placed, |residual| distance(residual) as $type),
                        divisor => {
                            put(chunk, slots, &mut placed, |residual| (distance(residual) / divisor) as $type)
                        }
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
        let nulls = chunks.iter().any(|chunk| chunk.nulls().is_some()).then(|| {
            let mut bits = vec![0u64; slots.of.len().div_ceil(64)];
            for (chunk, slots) in chunks.iter().zip(slots.of.chunks(CHUNK_MEMBERS)) {
                let Some(nulls) = chunk.nulls() else { continue };
                let of_nulls = slots.iter().enumerate().filter(|(row, _)| kernel::has(nulls, *row as u16));
                of_nulls.for_each(|(_, slot)| bits[*slot as usize / 64] |= 1 << (slot % 64));
            }
            bits
        });
        NearColumn { frame: Frame { base, divisor, slope: 0 }, residuals, nulls }
    }

    /// A column whose slots are rows as they came.
    #[cfg(test)]
    pub(super) fn as_it_came(codes: &[i64], nulls: Option<&[bool]>) -> NearColumn {
        NearColumn::of(&[HeldColumn::of(codes, nulls)], &Slots::of(vec![0; codes.len()], 1))
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

/// Writes the residuals of a chunk at the slots of its rows.
fn put<T>(chunk: &HeldColumn, slots: &[u32], placed: &mut [T], narrowed: impl Fn(u64) -> T) {
    macro_rules! each {
        ($residuals:expr) => {
            for (slot, residual) in slots.iter().zip($residuals) {
                placed[*slot as usize] = narrowed(residual);
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
            let slots = Slots::of(owner_of.clone(), 3);
            let chunk = |row: &u32| (owner_of[*row as usize] >> 16).min(3);
            let mut rows: Vec<u32> = (0..owner_of.len() as u32).collect();
            rows.sort_by_key(chunk);
            prop_assert_eq!(slots.rows(), rows.clone());
            let half = |row: &u32| if chunk(row) == 3 { 0 } else { owner_of[*row as usize] as u16 };
            prop_assert_eq!(slots.halves(), rows.iter().map(half).collect::<Vec<_>>());
            let starts = (0..=4).map(|at| rows.partition_point(|row| chunk(row) < at)).collect::<Vec<_>>();
            prop_assert_eq!(slots.starts, starts);
        }

        /// Chunks of one kind of codes each, so that their frames differ.
        #[test]
        fn codes_come_back_from_their_slots(
            kinds in proptest::collection::vec((code(), 0u8..4), 1..4),
            nulls in proptest::collection::vec(any::<bool>(), 9),
            seed in any::<u64>(),
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
            let slots = Slots::of(owner_of.collect(), 4);
            let column = NearColumn::of(&chunks, &slots);
            let rows = slots.rows();
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
        let chunks = [HeldColumn::of(&day(0), None), HeldColumn::of(&day(90_000_000), None)];
        let column = NearColumn::of(&chunks, &Slots::of(vec![0; 2 * CHUNK_MEMBERS], 1));
        assert!(matches!(&column.residuals, Narrow::U32(_)));
        assert_eq!(column.gather(&[CHUNK_MEMBERS as u32 + 1]).0, [90_000_001 * 1_000_000]);
    }
}
