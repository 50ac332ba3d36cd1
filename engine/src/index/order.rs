//! The range index of a chunk: the rows in the order of their values. A range of values becomes two ranks
//! ([`super::fences`]), two ranks a set.
//!
//! ```text
//! rank bitmaps, 8 KiB each │ permutation u16×count
//! ```
//!
//! `permutation[rank]` is the row of that rank; NULL rows have none, and the count stands in the table of sections.
//! Rank bitmap k holds the rows of rank below `(k + 1) × step`: a set of any rank is the nearest bitmap and on average a quarter step of single rows. Six other
//! layouts were weighed; see docs/adr/0002-range-index.md.

use super::fences::fences_section;
use super::values::Framed;
use crate::kernel;
use muster_storage::chunk::{Malformed, Words};
use muster_storage::format::{BITSET_BYTES, BITSET_WORDS, CHUNK_MEMBERS};
use zerocopy::{FromBytes, IntoBytes};

/// A chunk with fewer values than this has no rank bitmaps: walking the permutation is as fast.
pub const RANK_BITMAP_VALUES_MIN: usize = 4096;
/// Rank bitmaps of a chunk that has them; one more, of all rows with a value, where that is not every row of a full chunk.
pub const RANK_BITMAPS: usize = 15;

/// An `Order` section, read in place.
#[derive(Clone, Copy)]
pub struct OrderRef<'a> {
    step: usize,
    bitmaps: &'a [Words],
    permutation: &'a [u16],
}

/// The rows in `within` (or all) that are not in `without`, as stored.
#[derive(Clone, Copy)]
pub struct Cover<'a> {
    /// Everybody where there is none.
    pub within: Option<&'a Words>,
    /// Nobody where there is none.
    pub without: Option<&'a Words>,
    /// How many rows that are.
    pub rows: usize,
}

/// The rows below a rank, as stored.
#[derive(Clone, Copy)]
enum Below<'a> {
    Nobody,
    Words(&'a Words),
    Everybody,
}

/// Ranks from one bitmap to the next (0 where there are none), and the number of bitmaps, of so many values.
fn bitmaps_of(count: usize) -> (usize, usize) {
    match count {
        0..RANK_BITMAP_VALUES_MIN => (0, 0),
        _ => (count.div_ceil(RANK_BITMAPS + 1), RANK_BITMAPS + usize::from(count < CHUNK_MEMBERS)),
    }
}

impl<'a> OrderRef<'a> {
    /// Opens a section of `count` values. No byte of it is touched.
    pub fn open(section: &'a [u8], count: usize) -> Result<OrderRef<'a>, Malformed> {
        let malformed = Malformed("rank bitmaps and a permutation of as many rows as have values");
        let (step, bitmaps) = bitmaps_of(count);
        let (bitmaps, permutation) = section.split_at_checked(bitmaps * BITSET_BYTES).ok_or(malformed)?;
        let permutation = <[u16]>::ref_from_bytes(permutation).map_err(|_| malformed)?;
        let bitmaps = <[Words]>::ref_from_bytes(bitmaps).map_err(|_| malformed)?;
        if permutation.len() != count {
            return Err(malformed);
        }
        Ok(OrderRef { step, bitmaps, permutation })
    }

    /// The rows by rank of a section of `count` values: all that a search for ranks needs of it.
    pub fn rows_of(section: &'a [u8], count: usize) -> Result<&'a [u16], Malformed> {
        let bitmaps = bitmaps_of(count).1 * BITSET_BYTES;
        (section.get(bitmaps..).and_then(|rows| <[u16]>::ref_from_bytes(rows).ok()))
            .filter(|rows| rows.len() == count)
            .ok_or(Malformed("rank bitmaps and a permutation of as many rows as have values"))
    }

    /// The rows by rank: `rows()[0]` has the least value.
    pub fn rows(&self) -> &'a [u16] {
        self.permutation
    }

    /// The stored set nearest to `rank`: its own rank, and the set.
    fn nearest(&self, rank: usize) -> (usize, Below<'a>) {
        if self.step == 0 {
            return (0, Below::Nobody);
        }
        let count = self.permutation.len();
        let k = (rank + self.step / 2) / self.step;
        match k {
            0 => (0, Below::Nobody),
            k if k <= RANK_BITMAPS => match self.bitmaps.get(k - 1) {
                Some(words) => ((k * self.step).min(count), Below::Words(words)),
                None => (0, Below::Nobody),
            },
            // The set below the last rank is every row that has a value: all of a full chunk, else stored as well.
            _ => match self.bitmaps.get(RANK_BITMAPS) {
                Some(words) => (count, Below::Words(words)),
                None => (count, Below::Everybody),
            },
        }
    }

    /// Stored sets that hold the rows of rank `low..high` between them, and up to two steps of others; `None` where the
    /// chunk has none, or the range is empty.
    pub fn cover(&self, low: usize, high: usize) -> Option<Cover<'a>> {
        if self.step == 0 || low >= high {
            return None;
        }
        let (below, above) = (low / self.step, high.div_ceil(self.step));
        let stored = |k: usize| k.checked_sub(1).and_then(|k| self.bitmaps.get(k));
        // The last one is of all values, unless those are all rows.
        let (within, end) = match above <= RANK_BITMAPS {
            true => (stored(above), above * self.step),
            false => (self.bitmaps.get(RANK_BITMAPS), self.permutation.len()),
        };
        let below = below.min(RANK_BITMAPS);
        let start = (below * self.step).min(end);
        Some(Cover { within, without: stored(below), rows: end.min(self.permutation.len()) - start })
    }

    /// Bytes that [`Self::write_range`] will read, for statistics.
    pub fn range_bytes(&self, low: usize, high: usize) -> usize {
        let ((near_low, a), (near_high, b)) = (self.nearest(low), self.nearest(high));
        if high - low <= near_low.abs_diff(low) + near_high.abs_diff(high) {
            return 2 * (high - low);
        }
        let bitmaps = [a, b].iter().filter(|below| matches!(below, Below::Words(_))).count();
        2 * (near_low.abs_diff(low) + near_high.abs_diff(high)) + BITSET_BYTES * bitmaps
    }

    /// Writes the set of the rows of rank `low..high` to `out`.
    pub fn write_range(&self, low: usize, high: usize, out: &mut Words) {
        let high = high.min(self.permutation.len());
        let low = low.min(high);
        let ((near_low, below), (near_high, above)) = (self.nearest(low), self.nearest(high));
        if high - low <= near_low.abs_diff(low) + near_high.abs_diff(high) {
            out.fill(0);
            kernel::set_members(out, &self.permutation[low..high], true);
            return;
        }
        match (above, below) {
            (Below::Nobody, _) => out.fill(0),
            (Below::Words(above), Below::Words(below)) => kernel::difference_into(above, below, out),
            (Below::Words(above), _) => out.copy_from_slice(above),
            (Below::Everybody, Below::Words(below)) => kernel::complement_into(below, out),
            (Below::Everybody, _) => out.fill(u64::MAX),
        }
        if near_high < high {
            kernel::set_members(out, &self.permutation[near_high..high], true);
        } else {
            kernel::set_members(out, &self.permutation[high..near_high], false);
        }
        if near_low < low {
            kernel::set_members(out, &self.permutation[near_low..low], false);
        } else {
            kernel::set_members(out, &self.permutation[low..near_low.min(high)], true);
        }
    }

    /// Asks the cache for what [`Self::write_range`] (`exact`) or [`Self::cover`] of these ranks will read.
    pub fn prefetch_range(&self, low: usize, high: usize, exact: bool) {
        if !exact {
            if let Some(cover) = self.cover(low, high) {
                cover.within.into_iter().chain(cover.without).for_each(kernel::prefetch_start);
            }
            return;
        }
        for rank in [low, high] {
            let (near, below) = self.nearest(rank);
            if let Below::Words(words) = below {
                kernel::prefetch_start(words);
            }
            let (from, to) = (near.min(rank), near.max(rank));
            (from..to).step_by(32).for_each(|at| kernel::prefetch(self.permutation, at));
        }
    }
}

/// The rows that are not NULL, by residual; equal residuals by row.
fn sorted_rows(framed: &Framed, nulls: Option<&[bool]>) -> Vec<u16> {
    let not_null = |row: &usize| nulls.is_none_or(|nulls| !nulls[*row]);
    if framed.width <= 4 {
        // Residual above, row below: one integer sort gives the stable order.
        let mut keyed: Vec<u64> = (0..framed.residuals.len())
            .filter(not_null)
            .map(|row| framed.residuals[row] << 16 | row as u64)
            .collect();
        radix_sort(&mut keyed, 16 + 8 * u32::from(framed.width));
        keyed.into_iter().map(|key| key as u16).collect()
    } else {
        let mut rows: Vec<u16> = (0..framed.residuals.len()).filter(not_null).map(|row| row as u16).collect();
        rows.sort_by_key(|row| framed.residuals[usize::from(*row)]);
        rows
    }
}

/// Sorts by the bits 16 and up to `bits`; what is equal there keeps its order. Least significant digit first.
fn radix_sort(keys: &mut Vec<u64>, bits: u32) {
    const DIGIT: u32 = 11;
    let mut other = vec![0; keys.len()];
    let mut shift = 16;
    let top = keys.iter().fold(0, |all, key| all | key);
    while shift < bits && top >> shift != 0 {
        let digit = |key: u64| (key >> shift) as usize & ((1 << DIGIT) - 1);
        let mut starts = [0u32; 1 << DIGIT];
        keys.iter().for_each(|key| starts[digit(*key)] += 1);
        let mut start = 0;
        for count in &mut starts {
            (*count, start) = (start, start + *count);
        }
        for key in keys.iter() {
            let slot = &mut starts[digit(*key)];
            other[*slot as usize] = *key;
            *slot += 1;
        }
        std::mem::swap(keys, &mut other);
        shift += DIGIT;
    }
}

/// The `Order` and `Fences` sections of framed rows without slope.
pub fn order_sections(framed: &Framed, nulls: Option<&[bool]>) -> (Vec<u8>, Vec<u8>) {
    let rows = sorted_rows(framed, nulls);
    let count = rows.len();
    let (step, bitmaps) = bitmaps_of(count);
    let mut order = Vec::with_capacity(bitmaps * BITSET_BYTES + 2 * count);
    let mut words = [0u64; BITSET_WORDS];
    for k in 0..bitmaps.min(RANK_BITMAPS) {
        let (from, to) = ((k * step).min(count), ((k + 1) * step).min(count));
        kernel::set_members(&mut words, &rows[from..to], true);
        order.extend_from_slice(words.as_bytes());
    }
    if bitmaps > RANK_BITMAPS {
        kernel::set_members(&mut words, &rows[(RANK_BITMAPS * step).min(count)..], true);
        order.extend_from_slice(words.as_bytes());
    }
    order.extend_from_slice(rows.as_bytes());

    let fences = fences_section(framed, &rows);
    (order, fences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::fences::{Bound, FencesRef, RankSearch, Zone};
    use crate::index::values::{frame_of, values_section};
    use muster_storage::disk::Bytes;
    use proptest::prelude::*;

    fn check(codes: &[i64], nulls: Option<&[bool]>, ranges: &[(i64, i64)]) {
        let framed = frame_of(codes, nulls);
        if framed.frame.slope != 0 {
            return;
        }
        let (order, fences) = order_sections(&framed, nulls);
        let (order, fences, values) =
            (Bytes::copied(&order), Bytes::copied(&fences), Bytes::copied(&values_section(&framed)));
        let fences = FencesRef::open(&fences).unwrap();
        let order = OrderRef::open(&order, fences.count()).unwrap();
        let values = fences.residuals_of(&values).unwrap();
        let zone = Zone { count: fences.count() as u32, low: framed.low, high: framed.high };
        for (low, high) in ranges {
            let search = |code| RankSearch::begin(fences, order.rows(), values, code).run();
            let rank = |bound| zone.rank(bound).unwrap_or_else(search) as usize;
            let (first, last) = (rank(Bound::Below(*low)), rank(Bound::up_to(*high)));
            let expected: Vec<u16> = (0..codes.len())
                .filter(|row| nulls.is_none_or(|n| !n[*row]) && (*low..=*high).contains(&codes[*row]))
                .map(|row| row as u16)
                .collect();
            assert_eq!(last.saturating_sub(first), expected.len(), "{low}..={high}");
            let mut words = [u64::MAX; BITSET_WORDS];
            order.write_range(first, last.max(first), &mut words);
            assert!(muster_storage::chunk::members_of(&words).eq(expected.iter().copied()), "{low}..={high}");
            if let Some(Cover { within, without, rows }) = order.cover(first, last) {
                let covers = |row: u16| {
                    let has = |set: &Words| set[usize::from(row / 64)] >> (row % 64) & 1 == 1;
                    within.is_none_or(has) && !without.is_some_and(has)
                };
                assert!(expected.iter().all(|row| covers(*row)), "{low}..={high}");
                assert_eq!(
                    (0..codes.len()).filter(|row| covers(*row as u16)).count(),
                    rows,
                    "{low}..={high}"
                );
                assert!(rows - expected.len() < 2 * order.step, "{low}..={high}");
            }
        }
    }

    #[test]
    fn full_chunks_at_every_step() {
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 33) % below) as i64
        };
        for spread in [1, 2, 200, 5_000, 1 << 20, 1 << 31] {
            for rows in [1, 15, 16, 17, 1023, 1024, 1025, 4095, 4096, 4097, 65_535, 65_536] {
                let codes: Vec<i64> = (0..rows).map(|_| random(spread) - 50).collect();
                let mut ranges =
                    vec![(i64::MIN, i64::MAX), (5, 4), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)];
                ranges.extend((0..12).map(|_| (random(spread) - 60, random(spread) - 40)));
                check(&codes, None, &ranges);
            }
        }
    }

    proptest! {
        #[test]
        fn ranges_with_nulls(rows in proptest::collection::vec((any::<i16>(), any::<bool>()), 0..200), low in any::<i16>(), high in any::<i16>(), scale in prop_oneof![Just(1i64), Just(1_000_000), Just(1 << 47)]) {
            let codes: Vec<i64> = rows.iter().map(|(c, null)| if *null { 0 } else { i64::from(*c) * scale }).collect();
            let nulls: Vec<bool> = rows.iter().map(|(_, null)| *null).collect();
            check(&codes, Some(&nulls), &[(i64::from(low) * scale, i64::from(high) * scale), (i64::from(low) * scale + 1, i64::MAX)]);
        }
    }
}
