//! Small numbers by threshold: of each of the first few, the rows that hold as much or more (range-encoded bitmaps: Chan, Ioannidis,
//! Bitmap Index Design and Evaluation, SIGMOD 1998). See docs/adr/0023-thresholds.md.
//!
//! ```text
//! numbers of rows  0 2 1 5 0     at least 1  · x x x ·     at least 2  · x · x ·     at least 3  · · · x ·   …
//! from 1 to 2 are those of at least 1 who are not of at least 3
//! ```

use super::encode::EncodedSection;
use super::values::ValuesRef;
use crate::kernel;
use muster_storage::chunk::{ChunkRef, Malformed, SetsBuilder, SetsRef, members_of};
use muster_storage::format::{BITSET_WORDS, SectionKind};
use muster_storage::part::SectionStats;

/// The greatest threshold that gets a set.
pub const THRESHOLD_MAX: u8 = 8;

/// The section of a chunk's numbers, of which none is NULL or negative. There is none where all are 0.
pub fn thresholds_section(numbers: &[i64]) -> Option<EncodedSection> {
    // What is beyond the greatest threshold is told from it by none.
    let small: Vec<u8> =
        numbers.iter().map(|number| (*number).clamp(0, THRESHOLD_MAX.into()) as u8).collect();
    let mut sets = SetsBuilder::default();
    for threshold in 1..=THRESHOLD_MAX {
        let mut words = [0; BITSET_WORDS];
        kernel::within_u8(&small, threshold, u8::MAX, &mut words);
        sets.push_words(threshold.into(), &words);
    }
    let stats = SectionStats { cardinality: small.len() as u32, low: 1, high: THRESHOLD_MAX.into() };
    (!sets.is_empty()).then(|| EncodedSection { kind: SectionKind::Thresholds, bytes: sets.finish(), stats })
}

/// A section, read in place.
#[derive(Clone, Copy)]
pub struct ThresholdsRef<'a> {
    sets: SetsRef<'a>,
    numbered: u32,
    /// The greatest threshold that has a set; sets of nobody are not stored.
    most: u32,
}

/// The rows of a set that are not in another, which is part of it.
#[derive(Clone, Copy)]
pub struct Between<'a> {
    /// All rows that have a number where there is none: the first ones.
    pub within: Option<ChunkRef<'a>>,
    /// How many these are.
    pub numbered: u32,
    /// Empty where nobody is left out.
    pub without: ChunkRef<'a>,
}

impl Between<'_> {
    /// How many rows that are.
    pub fn rows(&self) -> u32 {
        let within = self.within.map_or(self.numbered, |set| set.cardinality());
        within.saturating_sub(self.without.cardinality())
    }
}

impl<'a> ThresholdsRef<'a> {
    /// Opens a section of so many rows, with thresholds up to `most`. Cost: bounds checks.
    pub fn open(section: &'a [u8], numbered: u32, most: i64) -> Result<ThresholdsRef<'a>, Malformed> {
        let most = u8::try_from(most).map_err(|_| Malformed("small thresholds"))?;
        Ok(ThresholdsRef { sets: SetsRef::open(section)?, numbered, most: most.into() })
    }

    /// The rows whose number is from `low` to `high`; `None` where no sets say it.
    pub fn between(&self, low: i64, high: i64) -> Result<Option<Between<'a>>, Malformed> {
        if low > high || high < 0 {
            let nobody = ChunkRef::EMPTY;
            return Ok(Some(Between { within: Some(nobody), numbered: self.numbered, without: nobody }));
        }
        let within = if low <= 0 { None } else { self.at_least(low)? };
        if low > 0 && within.is_none() {
            return Ok(None);
        }
        let without = match high.checked_add(1) {
            None => Some(ChunkRef::EMPTY),
            Some(above) => self.at_least(above)?,
        };
        Ok(without.map(|without| Between { within, numbered: self.numbered, without }))
    }

    /// The rows whose number is at least one that is greater than 0.
    fn at_least(&self, threshold: i64) -> Result<Option<ChunkRef<'a>>, Malformed> {
        let known = u32::try_from(threshold).ok().filter(|threshold| *threshold <= self.most);
        known.map(|threshold| self.sets.get(threshold)).transpose()
    }

    /// Whether these are the sets of some numbers. Cost: a look at all numbers for each threshold.
    pub fn check(&self, numbers: &ValuesRef<'_>) -> Result<(), Malformed> {
        let holding = |least: i64| {
            let mut words = [u64::MAX; BITSET_WORDS];
            numbers.retain_within(least, i64::MAX, 0, &mut words);
            words
        };
        let mut right = kernel::cardinality(&holding(i64::MIN)) == self.numbered;
        right &= self.sets.codes().iter().all(|code| (1..=self.most).contains(code));
        for threshold in 1..=self.most {
            let (set, words) = (self.sets.get(threshold)?, holding(threshold.into()));
            set.check()?;
            right &= kernel::cardinality(&words) == set.cardinality();
            right &= members_of(&words).all(|row| set.contains(row));
        }
        if right { Ok(()) } else { Err(Malformed("of each threshold the rows that hold as much")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::values::{frame_of, values_section};
    use muster_storage::disk::Bytes;
    use proptest::prelude::*;

    /// Checks what is said of a range of numbers, or that nothing is.
    fn check(numbers: &[i64], low: i64, high: i64) {
        let Some(section) = thresholds_section(numbers) else {
            return assert!(numbers.iter().all(|number| *number == 0));
        };
        let bytes = Bytes::copied(&section.bytes);
        let thresholds = ThresholdsRef::open(&bytes, section.stats.cardinality, section.stats.high).unwrap();
        let said = thresholds.between(low, high).unwrap();
        let is_known = |threshold: i64| threshold <= THRESHOLD_MAX.into();
        let answered = low > high || high < 0 || is_known(low) && (high == i64::MAX || is_known(high + 1));
        assert_eq!(said.is_some(), answered, "{low}..={high}");
        let Some(between) = said else { return };
        let within =
            |row: u16| between.within.is_none_or(|set| set.contains(row)) && !between.without.contains(row);
        let rows: Vec<usize> = (0..between.numbered as usize).filter(|row| within(*row as u16)).collect();
        let expected: Vec<usize> =
            (0..numbers.len()).filter(|row| (low..=high).contains(&numbers[*row])).collect();
        assert_eq!(rows, expected, "{low}..={high}");
        assert_eq!(between.rows() as usize, expected.len(), "{low}..={high}");
    }

    proptest! {
        #[test]
        fn ranges_of_small_numbers(
            numbers in proptest::collection::vec(prop_oneof![0i64..4, 0i64..14, Just(1 << 40)], 0..3_000),
            ends in proptest::collection::vec(prop_oneof![-2i64..12, Just(i64::MIN), Just(i64::MAX)], 2),
        ) {
            check(&numbers, ends[0], ends[1]);
        }
    }

    /// Sets of other numbers, or of more rows, are told from those of these.
    #[test]
    fn sets_of_other_numbers_are_found() {
        let numbers: Vec<i64> = (0..5_000).map(|row| row % 13).collect();
        let section = Bytes::copied(&values_section(&frame_of(&numbers, None)));
        let values = ValuesRef::open(&section).unwrap();
        let checked = |numbers: &[i64]| {
            let section = thresholds_section(numbers).unwrap();
            let bytes = Bytes::copied(&section.bytes);
            let thresholds = ThresholdsRef::open(&bytes, section.stats.cardinality, section.stats.high);
            thresholds.unwrap().check(&values)
        };
        checked(&numbers).unwrap();
        for (row, number) in [(0, 1), (4_999, 3), (7, 6), (8, 0)] {
            let mut others = numbers.clone();
            others[row] = number;
            assert!(checked(&others).is_err(), "row {row}");
        }
        assert!(checked(&numbers[..4_999]).is_err());
        assert!(checked(&[numbers, vec![0]].concat()).is_err());
    }

    #[test]
    fn full_chunks_and_those_of_nothing() {
        let numbers: Vec<i64> = (0..65_536).map(|row| (row * row) % 11).collect();
        for (low, high) in [
            (1, i64::MAX),
            (8, i64::MAX),
            (9, i64::MAX),
            (0, 0),
            (i64::MIN, 7),
            (3, 3),
            (0, i64::MAX),
            (5, 4),
        ] {
            check(&numbers, low, high);
            check(&vec![1; 65_536], low, high);
            check(&[0; 100], low, high);
        }
        assert!(ThresholdsRef::open(&[0; 8], 1, 256).is_err());
        assert!(ThresholdsRef::open(&[0; 3], 1, 8).is_err());
    }
}
