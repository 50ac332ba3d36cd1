//! The few large numbers among small ones: two bytes a row, and a list of the rows that these are too little for (patched frame of
//! reference: Zukowski, Héman, Nes, Boncz, Super-Scalar RAM-CPU Cache Compression, ICDE 2006). See docs/adr/0022-exceptions.md.
//!
//! ```text
//! residuals u16 a row  7 │ 65535 │ 12 │ 65535 │ …     exceptions  row 1: 70,000 │ row 3: 1,884,000 │ …
//! ```

use super::values::{Framed, values_section};
use muster_storage::chunk::Malformed;
use muster_storage::format::CHUNK_MEMBERS;
use std::ops::Range;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// In the place of the number of planes where rows have exceptions instead.
pub const EXCEPTIONS: u8 = 255;

/// What rows with an exception hold among the others, whose residuals are less.
pub const EXCEPTION_MARK: u16 = 65_535;

/// At most one row in so many has an exception: six bytes each, and a search for who wants it alone.
pub const EXCEPTION_ROWS_MIN: usize = 32;

/// Bytes of one.
pub const EXCEPTION_BYTES: usize = size_of::<Exception>();

/// The residuals of the rows that two bytes are too little for, by their rows.
#[derive(Clone, Copy, Debug)]
pub struct Exceptions<'a>(&'a [Exception]);

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Exception {
    row: u16,
    low: u16,
    high: u16,
}

impl Exception {
    fn residual(&self) -> u64 {
        u64::from(self.high) << 16 | u64::from(self.low)
    }
}

impl<'a> Exceptions<'a> {
    /// Reads them from all of some bytes.
    pub fn read(bytes: &'a [u8]) -> Result<Exceptions<'a>, Malformed> {
        let all =
            <[Exception]>::ref_from_bytes(bytes).map_err(|_| Malformed("as many exceptions as are said"))?;
        Ok(Exceptions(all))
    }

    /// Whether they are of the rows that say so, and of these only. Cost: a look at every row.
    pub fn check(&self, low: &[u16]) -> Result<(), Malformed> {
        let marked = low.iter().enumerate().filter(|(_, low)| **low == EXCEPTION_MARK).map(|(row, _)| row);
        let rows = self.0.iter().map(|exception| usize::from(exception.row));
        let large = self.0.iter().all(|exception| exception.residual() >= u64::from(EXCEPTION_MARK));
        match marked.eq(rows) && large {
            true => Ok(()),
            false => {
                Err(Malformed("an exception, of a residual beyond the others, for each row that says so"))
            }
        }
    }

    /// The residual of a row that holds these two bytes.
    #[inline(always)]
    pub fn residual(&self, low: u16, row: usize) -> u64 {
        if low == EXCEPTION_MARK { self.of(row) } else { u64::from(low) }
    }

    #[cold]
    fn of(&self, row: usize) -> u64 {
        let exception = self.0.get(self.place(row)).filter(|exception| usize::from(exception.row) == row);
        exception.map_or(0, Exception::residual)
    }

    /// Those of some rows, and by how much each is more than what the row holds among the others.
    pub fn within(&self, rows: Range<usize>) -> impl Iterator<Item = (usize, u64)> + 'a {
        let more = |exception: &Exception| exception.residual().wrapping_sub(u64::from(EXCEPTION_MARK));
        let all = self.0[self.place(rows.start)..].iter();
        let before_end = all.take_while(move |exception| usize::from(exception.row) < rows.end);
        // Those of damaged bytes need not ascend.
        let here = before_end.filter(move |exception| usize::from(exception.row) >= rows.start);
        here.map(move |exception| (usize::from(exception.row), more(exception)))
    }

    /// The first that is not of a row before this one. Rows with exceptions mostly lie as close together anywhere: it is looked for
    /// from where it would be then, so that one or two lines are read.
    fn place(&self, row: usize) -> usize {
        let Exceptions(all) = self;
        let is_before = |at: usize| all.get(at).is_some_and(|exception| usize::from(exception.row) < row);
        let (mut from, mut step) = (row * all.len() / CHUNK_MEMBERS, 1);
        while from > 0 && !is_before(from - 1) {
            (from, step) = (from.saturating_sub(step), 2 * step);
        }
        let mut to = from;
        step = 1;
        while is_before(to) {
            (from, to, step) = (to + 1, to + step, 2 * step);
        }
        let to = to.min(all.len());
        from + all[from.min(to)..to].partition_point(|exception| usize::from(exception.row) < row)
    }
}

/// The `Values` section of numbers that no order beside them repeats: with exceptions where most are small.
pub fn small_section(framed: &Framed) -> Vec<u8> {
    let large = |residual: &u64| *residual >= u64::from(EXCEPTION_MARK);
    let count = framed.residuals.iter().filter(|residual| large(residual)).count();
    if framed.width != 4 || count > framed.residuals.len() / EXCEPTION_ROWS_MIN {
        return values_section(framed);
    }
    let residuals = framed.residuals.iter().map(|residual| (*residual).min(EXCEPTION_MARK.into())).collect();
    let mut section = values_section(&Framed { width: 2, residuals, ..*framed });
    section[29] = EXCEPTIONS;
    section[32..36].copy_from_slice(&(count as u32).to_le_bytes());
    for (row, residual) in framed.residuals.iter().enumerate().filter(|(_, residual)| large(residual)) {
        let exception = Exception { row: row as u16, low: *residual as u16, high: (residual >> 16) as u16 };
        section.extend_from_slice(exception.as_bytes());
    }
    section
}

#[cfg(test)]
mod tests {
    use super::super::values::{Residuals, VALUES_HEADER_BYTES, ValuesRef, frame_of};
    use super::*;
    use muster_storage::disk::Bytes;
    use proptest::prelude::*;

    #[test]
    fn numbers_that_are_small_but_for_a_few_have_exceptions() {
        let codes = |few: usize| -> Vec<i64> {
            let code = |row: i64| if row % few as i64 == 1 { 65_535 + row * 7 } else { row % 65_535 };
            (0..60_000).map(code).collect()
        };
        for (few, excepted) in [(33, true), (31, false), (1_000, true)] {
            let codes = codes(few);
            let section = Bytes::copied(&small_section(&frame_of(&codes, None)));
            let read = ValuesRef::open(&section).unwrap();
            assert_eq!(matches!(read.residuals, Residuals::Excepted(..)), excepted, "one in {few}");
            assert!(codes.iter().enumerate().all(|(row, code)| read.get(row) == *code));
            let (rows, mut gathered) = ([0, 1, 2, 34, 1_001, 59_999], Vec::new());
            read.gather(&rows, &mut gathered);
            assert_eq!(gathered, rows.map(|row| codes[usize::from(row)]));
            for (low, high) in [(3, 500), (500, 65_534), (65_535, i64::MAX), (3, 200_000), (90_000, 90_100)] {
                let mut selected = vec![u64::MAX; 300];
                read.retain_within(low, high, 64, &mut selected);
                let holds = |row: usize| selected[row / 64 - 64] >> (row % 64) & 1 == 1;
                assert!(
                    (64 * 64..64 * 364).all(|row| holds(row) == (low..=high).contains(&codes[row])),
                    "{low}"
                );
            }
            assert!(read.check().is_ok());
            if excepted {
                // The last row that has one says that it has none, and the other way around.
                for (row, low) in [(59_400 - 59_400 % few + 1, 7u16), (5, u16::MAX)] {
                    let mut other = section.to_vec();
                    other[VALUES_HEADER_BYTES + 2 * row..][..2].copy_from_slice(&low.to_le_bytes());
                    assert!(ValuesRef::open(&Bytes::copied(&other)).unwrap().check().is_err());
                }
                let mut cut = section.to_vec();
                cut[28] = 4;
                assert!(ValuesRef::open(&Bytes::copied(&cut)).is_err());
                let cut = &section[..section.len() - 1];
                assert!(ValuesRef::open(&Bytes::copied(cut)).is_err());
            }
        }
        assert_eq!(small_section(&frame_of(&[0, 70_001, 80_000], None)).len(), VALUES_HEADER_BYTES + 12);
    }

    proptest! {
        #[test]
        fn a_few_large_numbers_are_found_where_they_are(
            codes in proptest::collection::vec(0i64..65_600, 1..400),
            large in proptest::collection::btree_map(0usize..400, 65_500i64..1 << 32, 0..14),
            null in any::<u8>(),
            bounds in (0i64..70_000, 0i64..1 << 32),
            first in 0usize..7,
        ) {
            let mut codes: Vec<i64> = codes.into_iter().cycle().take(400).collect();
            large.iter().for_each(|(row, code)| codes[*row] = *code);
            let nulls: Vec<bool> = (0..400).map(|row| row % 256 == usize::from(null)).collect();
            let section = Bytes::copied(&small_section(&frame_of(&codes, Some(&nulls))));
            let values = ValuesRef::open(&section).unwrap();
            prop_assert!(values.check().is_ok());
            let rows: Vec<u16> = (0..400).filter(|row| !nulls[usize::from(*row)]).collect();
            let mut gathered = Vec::new();
            values.gather(&rows, &mut gathered);
            let expected: Vec<i64> = rows.iter().map(|row| codes[usize::from(*row)]).collect();
            prop_assert_eq!(&gathered, &expected);
            prop_assert!(rows.iter().zip(&expected).all(|(row, code)| values.get(usize::from(*row)) == *code));
            let (low, high) = (bounds.0.min(bounds.1), bounds.0.max(bounds.1));
            let mut selected = vec![u64::MAX; 400_usize.div_ceil(64) - first];
            values.retain_within(low, high, first, &mut selected);
            for row in rows.iter().map(|row| usize::from(*row)).filter(|row| *row >= 64 * first) {
                let holds = selected[row / 64 - first] >> (row % 64) & 1 == 1;
                prop_assert_eq!(holds, (low..=high).contains(&codes[row]), "row {}", row);
            }
        }
    }
}
