//! The range index of a chunk: the rows in the order of their values. A range of values becomes two ranks, two ranks a
//! set.
//!
//! ```text
//! Order  : count u32 │ step u32 │ bitmaps u32 │ 0… to 64 B │ rank bitmaps, 8 KiB each │ permutation u16×count
//! Fences : base i64 │ divisor u64 │ count u32 │ width u8 │ 0… to 64 B │ coarse │ fine
//! ```
//!
//! `permutation[rank]` is the row of that rank; NULL rows have none. Rank bitmap k holds the rows of rank below
//! `(k + 1) × step`: a set of any rank is the nearest bitmap and on average a quarter step of single rows. `fine` holds
//! the residual of every [`FENCE_STEP`]th rank, `coarse` of every [`COARSE_STEP`]th; the values between two fences are
//! looked up through permutation and `Values`, so no sorted copy of the values is kept.
//!
//! A count needs the fences and a handful of rows, about 1.5 KiB a chunk. Six other layouts were weighed; see
//! docs/adr/0002-range-index.md.

use super::values::{Frame, Framed, Residuals, VALUES_HEADER_BYTES, extend_narrowed};
use crate::kernel;
use muster_storage::chunk::{Malformed, Words};
use muster_storage::format::{BITSET_BYTES, BITSET_WORDS, CHUNK_MEMBERS};
use zerocopy::{FromBytes, IntoBytes};

/// Ranks from one fine fence to the next.
pub const FENCE_STEP: usize = 8;
/// Ranks from one coarse fence to the next.
pub const COARSE_STEP: usize = 512;
/// A chunk with fewer values than this has no rank bitmaps: walking the permutation is as fast.
pub const RANK_BITMAP_VALUES_MIN: usize = 4096;
/// Rank bitmaps of a chunk that has them; one more, of all rows with a value, where that is not every row of a full chunk.
pub const RANK_BITMAPS: usize = 15;

const HEADER_BYTES: usize = 64;

/// An `Order` section, read in place.
#[derive(Clone, Copy)]
pub struct OrderRef<'a> {
    step: usize,
    bitmaps: &'a [Words],
    permutation: &'a [u16],
}

/// The rows below a rank, as stored.
#[derive(Clone, Copy)]
enum Below<'a> {
    Nobody,
    Words(&'a Words),
    Everybody,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

impl<'a> OrderRef<'a> {
    /// Opens a section.
    pub fn open(section: &'a [u8]) -> Result<OrderRef<'a>, Malformed> {
        let malformed = Malformed("a permutation that fits its section");
        let (count, step, bitmaps) = (word(section, 0), word(section, 4), word(section, 8));
        let bitmaps_end = HEADER_BYTES + bitmaps as usize * BITSET_BYTES;
        let bitmaps = section.get(HEADER_BYTES..bitmaps_end).ok_or(malformed)?;
        let permutation = section.get(bitmaps_end..bitmaps_end + 2 * count as usize).ok_or(malformed)?;
        Ok(OrderRef {
            step: step as usize,
            bitmaps: <[Words]>::ref_from_bytes(bitmaps).map_err(|_| malformed)?,
            permutation: <[u16]>::ref_from_bytes(permutation).map_err(|_| malformed)?,
        })
    }

    /// The permutation alone, which ends the section: no byte of it is touched, not even the header.
    pub fn permutation_of(section: &'a [u8], count: usize) -> Result<&'a [u16], Malformed> {
        let malformed = Malformed("a permutation that fits its section");
        let start = section.len().checked_sub(2 * count).ok_or(malformed)?;
        <[u16]>::ref_from_bytes(&section[start..]).map_err(|_| malformed)
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

    /// Asks the cache for what [`Self::write_range`] of these ranks will read.
    pub fn prefetch_range(&self, low: usize, high: usize) {
        for rank in [low, high] {
            let (near, below) = self.nearest(rank);
            if let Below::Words(words) = below {
                (0..BITSET_WORDS).step_by(8).for_each(|at| kernel::prefetch(words, at));
            }
            let (from, to) = (near.min(rank), near.max(rank));
            (from..to).step_by(32).for_each(|at| kernel::prefetch(self.permutation, at));
        }
    }
}

/// A `Fences` section, read in place.
#[derive(Clone, Copy)]
pub struct FencesRef<'a> {
    frame: Frame,
    count: usize,
    coarse: Residuals<'a>,
    fine: Residuals<'a>,
}

impl<'a> FencesRef<'a> {
    /// Opens a section.
    pub fn open(section: &'a [u8]) -> Result<FencesRef<'a>, Malformed> {
        let malformed = Malformed("a header of fences");
        let header = section.get(..HEADER_BYTES).ok_or(malformed)?;
        let long = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes).map_err(|_| malformed);
        let (count, width) = (word(header, 16) as usize, header[20]);
        let frame = Frame { base: long(0)? as i64, divisor: long(8)?, slope: 0 };
        if frame.divisor == 0 {
            return Err(Malformed("a divisor other than 0"));
        }
        let body = &section[HEADER_BYTES..];
        let coarse = Residuals::read(body, width, count.div_ceil(COARSE_STEP))?;
        let fine_at = count.div_ceil(COARSE_STEP) * usize::from(width);
        let fine = Residuals::read(body.get(fine_at..).ok_or(malformed)?, width, count.div_ceil(FENCE_STEP))?;
        Ok(FencesRef { frame, count, coarse, fine })
    }

    /// Values in the chunk.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The residuals of the `Values` section that goes with these fences: their width is the same, so the section's
    /// own header need not be touched.
    pub fn residuals_of(&self, values: &'a [u8]) -> Result<Residuals<'a>, Malformed> {
        let residuals = values.get(VALUES_HEADER_BYTES..).ok_or(Malformed("a header of values"))?;
        let width = self.fine.width();
        let rows = residuals.len().checked_div(width).unwrap_or(0);
        Residuals::read(residuals, width as u8, rows)
    }
}

/// A search for the rank of a bound in one chunk: how many values are below it.
///
/// The steps are separate so that a caller can take each for many chunks before the next: the cache misses of one step
/// overlap instead of waiting for each other.
pub struct RankSearch<'a> {
    fences: FencesRef<'a>,
    permutation: &'a [u16],
    values: Residuals<'a>,
    residual: u64,
    /// Fine fences below the bound lie before this one.
    fence: usize,
    rank: Option<usize>,
}

impl<'a> RankSearch<'a> {
    /// Begins the search for the number of values below `bound`, or with `inclusive` at most `bound`. The rest is that of
    /// the chunk: [`OrderRef::permutation_of`], [`FencesRef::residuals_of`].
    pub fn begin(
        fences: FencesRef<'a>,
        permutation: &'a [u16],
        values: Residuals<'a>,
        bound: i64,
        inclusive: bool,
    ) -> RankSearch<'a> {
        let (mut residual, mut rank) = (0, None);
        match if inclusive { bound.checked_add(1) } else { Some(bound) } {
            Some(bound) => residual = fences.frame.residual_at_least(bound),
            None => rank = Some(fences.count),
        }
        if residual == 0 {
            rank = rank.or(Some(0));
        }
        let search = RankSearch { fences, permutation, values, residual, fence: 0, rank };
        if search.rank.is_none() {
            search.prefetch_residuals(search.fences.coarse, 0, search.fences.count.div_ceil(COARSE_STEP));
        }
        search
    }

    fn prefetch_residuals(&self, residuals: Residuals<'_>, start: usize, count: usize) {
        match residuals {
            Residuals::None => {}
            Residuals::U8(values) => (0..count).step_by(64).for_each(|i| kernel::prefetch(values, start + i)),
            Residuals::U16(values) => {
                (0..count).step_by(32).for_each(|i| kernel::prefetch(values, start + i));
            }
            Residuals::U32(values) => {
                (0..count).step_by(16).for_each(|i| kernel::prefetch(values, start + i));
            }
            Residuals::U64(values) => (0..count).step_by(8).for_each(|i| kernel::prefetch(values, start + i)),
        }
    }

    fn below(residuals: Residuals<'_>, range: std::ops::Range<usize>, bound: u64) -> usize {
        match residuals {
            Residuals::None => 0,
            Residuals::U8(values) => u8::try_from(bound)
                .map_or(range.len(), |bound| kernel::count_below(&values[range.clone()], bound)),
            Residuals::U16(values) => u16::try_from(bound)
                .map_or(range.len(), |bound| kernel::count_below(&values[range.clone()], bound)),
            Residuals::U32(values) => u32::try_from(bound)
                .map_or(range.len(), |bound| kernel::count_below(&values[range.clone()], bound)),
            Residuals::U64(values) => kernel::count_below(&values[range], bound),
        }
    }

    /// Step 1: the coarse fences.
    pub fn coarse(&mut self) {
        if self.rank.is_some() {
            return;
        }
        let coarse_count = self.fences.count.div_ceil(COARSE_STEP);
        if matches!(self.fences.coarse, Residuals::None) {
            // One value in the whole chunk, residual 0, and the bound is above it.
            self.rank = Some(self.fences.count);
            return;
        }
        let below = Self::below(self.fences.coarse, 0..coarse_count, self.residual);
        if below == 0 {
            self.rank = Some(0);
            return;
        }
        self.fence = (below - 1) * (COARSE_STEP / FENCE_STEP);
        self.prefetch_residuals(self.fences.fine, self.fence, COARSE_STEP / FENCE_STEP);
    }

    /// Step 2: the fine fences between two coarse ones.
    pub fn fine(&mut self) {
        if self.rank.is_some() {
            return;
        }
        let fine_count = self.fences.count.div_ceil(FENCE_STEP);
        let end = (self.fence + COARSE_STEP / FENCE_STEP).min(fine_count);
        // The first of them equals the coarse fence, so at least one is below the bound.
        self.fence += Self::below(self.fences.fine, self.fence..end, self.residual);
        kernel::prefetch(self.permutation, (self.fence - 1) * FENCE_STEP);
    }

    fn between(&self) -> &'a [u16] {
        let first = (self.fence.max(1) - 1) * FENCE_STEP;
        let rows = self.permutation;
        &rows[first.min(rows.len())..(first + FENCE_STEP).min(rows.len())]
    }

    /// Step 3: asks for the values between two fine fences.
    pub fn fetch(&mut self) {
        if self.rank.is_none() {
            let rows = self.between().iter().map(|row| usize::from(*row));
            match self.values {
                Residuals::None => {}
                Residuals::U8(values) => rows.for_each(|row| kernel::prefetch(values, row)),
                Residuals::U16(values) => rows.for_each(|row| kernel::prefetch(values, row)),
                Residuals::U32(values) => rows.for_each(|row| kernel::prefetch(values, row)),
                Residuals::U64(values) => rows.for_each(|row| kernel::prefetch(values, row)),
            }
        }
    }

    /// Bytes looked at, for statistics: the fences, the permutation and the values between two fences.
    pub fn bytes(&self) -> u64 {
        let width = self.fences.fine.width();
        if self.rank.is_some() {
            return HEADER_BYTES as u64;
        }
        (HEADER_BYTES + 2 * (COARSE_STEP / FENCE_STEP) * width + FENCE_STEP * (2 + 64)) as u64
    }

    /// Step 4: the rank.
    pub fn finish(&self) -> usize {
        self.rank.unwrap_or_else(|| {
            let residuals = self.values;
            let below =
                self.between().iter().filter(|r| residuals.get(usize::from(**r)) < self.residual).count();
            (self.fence.max(1) - 1) * FENCE_STEP + below
        })
    }

    /// All steps at once.
    pub fn run(mut self) -> usize {
        self.coarse();
        self.fine();
        self.finish()
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
    let full = count == CHUNK_MEMBERS;
    let (step, bitmaps) = match count {
        0..RANK_BITMAP_VALUES_MIN => (0, 0),
        _ => (count.div_ceil(RANK_BITMAPS + 1), RANK_BITMAPS + usize::from(!full)),
    };

    let mut order = Vec::with_capacity(HEADER_BYTES + bitmaps * BITSET_BYTES + 2 * count);
    for word in [count as u32, step as u32, bitmaps as u32] {
        order.extend_from_slice(&word.to_le_bytes());
    }
    order.resize(HEADER_BYTES, 0);
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

    let mut fences = Vec::new();
    fences.extend_from_slice(&framed.frame.base.to_le_bytes());
    fences.extend_from_slice(&framed.frame.divisor.to_le_bytes());
    fences.extend_from_slice(&(count as u32).to_le_bytes());
    fences.push(framed.width);
    fences.resize(HEADER_BYTES, 0);
    for step in [COARSE_STEP, FENCE_STEP] {
        let sampled = rows.iter().step_by(step).map(|row| framed.residuals[usize::from(*row)]);
        extend_narrowed(&mut fences, framed.width, sampled);
    }
    (order, fences)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let permutation = OrderRef::permutation_of(&order, fences.count()).unwrap();
        let order = OrderRef::open(&order).unwrap();
        let values = fences.residuals_of(&values).unwrap();
        assert_eq!(order.rows(), permutation);
        for (low, high) in ranges {
            let first = RankSearch::begin(fences, permutation, values, *low, false).run();
            let last = RankSearch::begin(fences, permutation, values, *high, true).run();
            let expected: Vec<u16> = (0..codes.len())
                .filter(|row| nulls.is_none_or(|n| !n[*row]) && (*low..=*high).contains(&codes[*row]))
                .map(|row| row as u16)
                .collect();
            assert_eq!(last.saturating_sub(first), expected.len(), "{low}..={high}");
            let mut words = [u64::MAX; BITSET_WORDS];
            order.write_range(first, last.max(first), &mut words);
            assert!(muster_storage::chunk::members_of(&words).eq(expected), "{low}..={high}");
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
