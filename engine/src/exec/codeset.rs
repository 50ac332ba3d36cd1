//! Thousands of codes asked for at once, as LIKE on a large dictionary gives: a bit for each code that there may be, so that
//! a row costs one look instead of a search.

use crate::index::values::{Residuals, ValuesRef};
use muster_storage::chunk::Words;

/// Bits of a set at most: 8 MiB, which a second-level cache or the third holds. Numbers further apart are searched for.
const BITS_MAX: u64 = 1 << 26;

/// Some of the codes of a column.
pub(super) struct CodeSet {
    /// The code of bit 0.
    base: i64,
    bits: Vec<u64>,
}

impl CodeSet {
    /// The set of intervals, ascending and disjoint, as far as they lie between the least and the greatest code of the
    /// column; `None` where these are too far apart.
    pub(super) fn new(
        intervals: impl Iterator<Item = (i64, i64)>,
        (least, greatest): (i64, i64),
    ) -> Option<CodeSet> {
        let span = greatest.checked_sub(least).and_then(|span| u64::try_from(span).ok())?;
        if span >= BITS_MAX {
            return None;
        }
        let mut bits = vec![0u64; span as usize / 64 + 1];
        for (low, high) in intervals {
            let (low, high) = (low.max(least), high.min(greatest));
            if low > high {
                continue;
            }
            let (first, last) = ((low - least) as usize, (high - least) as usize);
            let (from, to) = (u64::MAX << (first % 64), u64::MAX >> (63 - last % 64));
            let (start, end) = (first / 64, last / 64);
            if start == end {
                bits[start] |= from & to;
            } else {
                bits[start] |= from;
                bits[start + 1..end].fill(u64::MAX);
                bits[end] |= to;
            }
        }
        Some(CodeSet { base: least, bits })
    }

    /// Bit `index`; those beyond the end are 0.
    #[inline(always)]
    fn bit(&self, index: u64) -> u64 {
        self.bits.get((index >> 6) as usize).map_or(0, |word| word >> (index & 63) & 1)
    }

    /// True where the set has the code.
    #[inline(always)]
    pub(super) fn has(&self, code: i64) -> bool {
        self.bit(code.wrapping_sub(self.base) as u64) == 1
    }

    /// Writes the rows whose code is in the set, sixty-four at a time. NULL rows are taken for what they hold.
    pub(super) fn scan(&self, values: &ValuesRef<'_>, out: &mut Words) {
        let (frame, first) = (values.frame, values.frame.base.wrapping_sub(self.base) as u64);
        macro_rules! each {
            ($residuals:expr) => {
                for (word, residuals) in out.iter_mut().zip($residuals.chunks(64)) {
                    let bit =
                        |residual: u64| self.bit(first.wrapping_add(frame.divisor.wrapping_mul(residual)));
                    *word = (0..).zip(residuals).fold(0, |word, (row, r)| word | bit(*r as u64) << row);
                }
            };
        }
        out.fill(0);
        match values.residuals {
            Residuals::U8(residuals) if frame.slope == 0 => each!(residuals),
            Residuals::U16(residuals) if frame.slope == 0 => each!(residuals),
            Residuals::U32(residuals) if frame.slope == 0 => each!(residuals),
            Residuals::Excepted(low, exceptions) if frame.slope == 0 => {
                each!(low);
                for (row, _) in exceptions.within(0..values.rows) {
                    let (word, bit) = (&mut out[row / 64], 1 << (row % 64));
                    *word = *word & !bit | u64::from(self.has(values.get(row))) << (row % 64);
                }
            }
            _ => (0..values.rows).for_each(|row| {
                if let Some(word) = out.get_mut(row / 64) {
                    *word |= u64::from(self.has(values.get(row))) << (row % 64);
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::exceptions::small_section;
    use crate::index::values::{codes_section, frame_of, values_section};
    use muster_storage::disk::Bytes;
    use muster_storage::format::BITSET_WORDS;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sets_have_the_codes_of_their_intervals(ends in proptest::collection::btree_set(-400i64..400, 0..40), open in any::<bool>(), codes in proptest::collection::vec(-500i64..500, 1..300), step in prop_oneof![Just(1i64), Just(7), Just(1_000)], far in prop_oneof![Just(3i64), Just(66_000)]) {
            let ends: Vec<i64> = ends.into_iter().collect();
            let mut intervals: Vec<(i64, i64)> = ends.chunks_exact(2).map(|pair| (pair[0] * step, pair[1] * step)).collect();
            if open && let Some(first) = intervals.first_mut() {
                first.0 = i64::MIN;
            }
            // The last one is far from the others.
            let codes: Vec<i64> = codes.into_iter().map(|code| code * step).chain([far * step]).collect();
            let bounds = (*codes.iter().min().unwrap(), *codes.iter().max().unwrap());
            let set = CodeSet::new(intervals.iter().copied(), bounds).unwrap();
            let expected = |code: i64| intervals.iter().any(|(low, high)| (*low..=*high).contains(&code));
            let framed = frame_of(&codes, None);
            for section in [values_section(&framed), codes_section(&framed), small_section(&framed)] {
                let section = Bytes::copied(&section);
                let mut out = [u64::MAX; BITSET_WORDS];
                set.scan(&ValuesRef::open(&section).unwrap(), &mut out);
                for (row, code) in codes.iter().enumerate() {
                    prop_assert_eq!(set.has(*code), expected(*code), "{}", code);
                    prop_assert_eq!(out[row / 64] >> (row % 64) & 1 == 1, expected(*code), "row {}", row);
                }
                prop_assert_eq!(out.iter().map(|word| word.count_ones() as usize).sum::<usize>(), codes.iter().filter(|code| expected(**code)).count());
            }
        }
    }

    #[test]
    fn codes_too_far_apart_have_no_set() {
        assert!(CodeSet::new([(0, 1)].into_iter(), (i64::MIN, i64::MAX)).is_none());
        assert!(CodeSet::new([(0, 1)].into_iter(), (0, BITS_MAX as i64)).is_none());
        let set = CodeSet::new([(i64::MIN, i64::MAX)].into_iter(), (i64::MAX - 70, i64::MAX)).unwrap();
        assert!(set.has(i64::MAX) && set.has(i64::MAX - 70) && !set.has(i64::MIN));
    }
}
