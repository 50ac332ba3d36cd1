//! The `Values` section: one code per row in a fixed width, under a frame of reference.
//!
//! ```text
//! base i64 │ divisor u64 │ slope i64 │ rows u32 │ width u8 │ planes u8 │ 0 u16 │ exceptions u32 │ 0… to 64 B
//! residuals (0, 1, 2, 4 or 8 bytes each) │ planes, or exceptions (row u16, low half u16, high half u16)
//! value(row) = base + slope × row + divisor × residual(row)
//! ```
//!
//! The divisor is the greatest common divisor of the distances to the base: timestamps of whole seconds need four bytes,
//! not six. A sequence (surrogate keys) has a slope and no residuals at all. NULL rows hold residual 0.
//!
//! Dictionary codes a little wider than a byte are stored as a byte and bit planes: of some hundred cities a byte and a bit
//! each, not two bytes. Grouping by such a column reads little more than half of what it would else. So are the keys of owners
//! in rows that are clustered by them, beside two bytes: a chunk of rows has those of one or two chunks of owners.
//!
//! Of numbers most of which are small, as amounts are, the few that two bytes are too little for stand apart ([`super::exceptions`]).

use super::exceptions::{EXCEPTION_BYTES, EXCEPTION_MARK, EXCEPTIONS, Exceptions};
use crate::kernel;
use muster_storage::chunk::{Malformed, Words};
use muster_storage::format::{BITSET_BYTES, BITSET_WORDS, CHUNK_MEMBERS};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Bytes before the residuals.
pub const VALUES_HEADER_BYTES: usize = 64;

/// Bit planes beside a byte: with more, two bytes a row are as good.
pub const PLANES_MAX: u8 = 4;

/// Where less than one row in so many is gathered, rows are asked of the cache …
const GATHERED_FAR: usize = 8;
/// … so many rows ahead of their use.
const GATHER_AHEAD: usize = 32;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// How residuals become values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The value of residual 0 in row 0.
    pub base: i64,
    /// The value of one unit of residual; never 0.
    pub divisor: u64,
    /// What each row adds; 0 but for sequences.
    pub slope: i64,
}

impl Frame {
    /// The value of a residual in a row.
    #[inline(always)]
    pub fn value(&self, row: usize, residual: u64) -> i64 {
        let distance =
            self.divisor.wrapping_mul(residual).wrapping_add((self.slope as u64).wrapping_mul(row as u64));
        self.base.wrapping_add(distance as i64)
    }

    /// The least residual whose value is at least `bound`, of a frame without slope.
    #[inline]
    pub fn residual_at_least(&self, bound: i64) -> u64 {
        if bound <= self.base { 0 } else { (bound.wrapping_sub(self.base) as u64).div_ceil(self.divisor) }
    }
}

/// The residuals of a chunk, by width.
#[derive(Clone, Copy, Debug)]
pub enum Residuals<'a> {
    /// All zero.
    None,
    /// One byte each.
    U8(&'a [u8]),
    /// A byte each, and the bits above it as a bitset each: [`PLANES_MAX`] at most, at least one.
    Planes(&'a [u8], &'a [Words]),
    /// Two bytes each.
    U16(&'a [u16]),
    /// Two bytes each, and the bits above them as a bitset each.
    WidePlanes(&'a [u16], &'a [Words]),
    /// Two bytes each, but of rows whose residual is no less than the greatest of these.
    Excepted(&'a [u16], Exceptions<'a>),
    /// Four bytes each.
    U32(&'a [u32]),
    /// Eight bytes each.
    U64(&'a [u64]),
}

impl<'a> Residuals<'a> {
    /// Reads `count` residuals of `width` bytes at the start of `bytes`.
    #[inline]
    pub fn read(bytes: &'a [u8], width: u8, count: usize) -> Result<Residuals<'a>, Malformed> {
        fn slice<T: FromBytes + Immutable>(bytes: &[u8], count: usize) -> Result<&[T], Malformed> {
            let malformed = Malformed("as many values as rows");
            let bytes = bytes.get(..count * size_of::<T>()).ok_or(malformed)?;
            <[T]>::ref_from_bytes(bytes).map_err(|_| malformed)
        }
        Ok(match width {
            0 => Residuals::None,
            1 => Residuals::U8(slice(bytes, count)?),
            2 => Residuals::U16(slice(bytes, count)?),
            4 => Residuals::U32(slice(bytes, count)?),
            8 => Residuals::U64(slice(bytes, count)?),
            _ => return Err(Malformed("a width of 0, 1, 2, 4 or 8 bytes")),
        })
    }

    /// Residual `index`. Panics beyond the end (never for a row of the chunk).
    #[inline(always)]
    pub fn get(&self, index: usize) -> u64 {
        match self {
            Residuals::None => 0,
            Residuals::U8(values) => u64::from(values[index]),
            Residuals::Planes(low, high) => with_planes(low[index], high, index),
            Residuals::U16(values) => u64::from(values[index]),
            Residuals::WidePlanes(low, high) => above(u64::from(low[index]), 16, high, index),
            Residuals::Excepted(low, exceptions) => exceptions.residual(low[index], index),
            Residuals::U32(values) => u64::from(values[index]),
            Residuals::U64(values) => values[index],
        }
    }

    /// Residual `index`; the greatest beyond the end, where damaged bytes point.
    #[inline(always)]
    pub fn get_or_max(&self, index: usize) -> u64 {
        match self {
            Residuals::None => 0,
            Residuals::U8(values) => values.get(index).map_or(u64::MAX, |value| u64::from(*value)),
            Residuals::Planes(low, high) => {
                low.get(index).map_or(u64::MAX, |low| with_planes(*low, high, index))
            }
            Residuals::U16(values) => values.get(index).map_or(u64::MAX, |value| u64::from(*value)),
            Residuals::WidePlanes(low, high) => {
                low.get(index).map_or(u64::MAX, |low| above(u64::from(*low), 16, high, index))
            }
            Residuals::Excepted(low, exceptions) => {
                low.get(index).map_or(u64::MAX, |low| exceptions.residual(*low, index))
            }
            Residuals::U32(values) => values.get(index).map_or(u64::MAX, |value| u64::from(*value)),
            Residuals::U64(values) => values.get(index).copied().unwrap_or(u64::MAX),
        }
    }

    /// Asks the cache for one.
    #[inline(always)]
    pub fn prefetch(&self, index: usize) {
        match self {
            Residuals::None => {}
            // The planes of a chunk are in the cache after a few rows.
            Residuals::U8(values) | Residuals::Planes(values, _) => kernel::prefetch(values, index),
            Residuals::U16(values) | Residuals::WidePlanes(values, _) | Residuals::Excepted(values, _) => {
                kernel::prefetch(values, index);
            }
            Residuals::U32(values) => kernel::prefetch(values, index),
            Residuals::U64(values) => kernel::prefetch(values, index),
        }
    }

    /// Bytes of one, but for its bits in planes and for exceptions.
    pub fn width(&self) -> usize {
        match self {
            Residuals::None => 0,
            Residuals::U8(_) | Residuals::Planes(..) => 1,
            Residuals::U16(_) | Residuals::WidePlanes(..) | Residuals::Excepted(..) => 2,
            Residuals::U32(_) => 4,
            Residuals::U64(_) => 8,
        }
    }
}

/// A residual from its byte and its bits in the planes.
#[inline(always)]
pub fn with_planes(low: u8, high: &[Words], row: usize) -> u64 {
    above(u64::from(low), 8, high, row)
}

/// The low bits of a residual with those in the planes above them.
#[inline(always)]
fn above(low: u64, bits: usize, high: &[Words], row: usize) -> u64 {
    let bit = |(plane, words): (usize, &Words)| (words[row / 64] >> (row % 64) & 1) << (bits + plane);
    high.iter().enumerate().map(bit).fold(low, |residual, bit| residual | bit)
}

/// A `Values` section, read in place.
#[derive(Clone, Copy, Debug)]
pub struct ValuesRef<'a> {
    /// The frame of reference.
    pub frame: Frame,
    /// Rows of the chunk.
    pub rows: usize,
    /// What is stored of each.
    pub residuals: Residuals<'a>,
}

impl<'a> ValuesRef<'a> {
    /// Opens a section. Cost: one cache line.
    pub fn open(section: &'a [u8]) -> Result<ValuesRef<'a>, Malformed> {
        let malformed = Malformed("a header of values");
        let header = section.get(..VALUES_HEADER_BYTES).ok_or(malformed)?;
        let word = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes).map_err(|_| malformed);
        let rows = (word(24)? & 0xffff_ffff) as usize;
        let frame = Frame { base: word(0)? as i64, divisor: word(8)?, slope: word(16)? as i64 };
        if frame.divisor == 0 {
            return Err(Malformed("a divisor other than 0"));
        }
        let (body, planes) = (&section[VALUES_HEADER_BYTES..], header[29]);
        let residuals = match (Residuals::read(body, header[28], rows)?, planes) {
            (residuals, 0) => residuals,
            (Residuals::U16(low), EXCEPTIONS) => {
                let (at, count) = (2 * rows, (word(32)? & 0xffff_ffff) as usize);
                let exceptions = body.get(at..at + count * EXCEPTION_BYTES).ok_or(malformed)?;
                Residuals::Excepted(low, Exceptions::read(exceptions)?)
            }
            (residuals @ (Residuals::U8(_) | Residuals::U16(_)), 1..=PLANES_MAX) if rows == CHUNK_MEMBERS => {
                let at = rows * residuals.width();
                let high = body.get(at..at + usize::from(planes) * BITSET_BYTES).ok_or(malformed)?;
                let high = <[Words]>::ref_from_bytes(high).map_err(|_| malformed)?;
                match residuals {
                    Residuals::U8(low) => Residuals::Planes(low, high),
                    Residuals::U16(low) => Residuals::WidePlanes(low, high),
                    other => other,
                }
            }
            _ => return Err(Malformed("bit planes beside one or two bytes for each row of a full chunk")),
        };
        Ok(ValuesRef { frame, rows, residuals })
    }

    /// Whether exceptions are of the rows that say so, and of these only. Cost: a look at every row.
    pub fn check(&self) -> Result<(), Malformed> {
        match self.residuals {
            Residuals::Excepted(low, exceptions) => exceptions.check(low),
            _ => Ok(()),
        }
    }

    /// The value of a row. Panics beyond the chunk's rows.
    #[inline(always)]
    pub fn get(&self, row: usize) -> i64 {
        self.frame.value(row, self.residuals.get(row))
    }

    /// Appends the values of some rows; the width is looked at once. Of rows beyond the chunk's some number.
    pub fn gather(&self, rows: &[u16], out: &mut Vec<i64>) {
        let frame = self.frame;
        // Of more rows the processor sees for itself what comes.
        let far = rows.len() < self.rows / GATHERED_FAR;
        macro_rules! each {
            ($values:expr) => {
                each!($values, |stored, _| u64::from(stored))
            };
            ($values:expr, $residual:expr) => {
                out.extend(rows.iter().enumerate().map(|(at, row)| {
                    if far && let Some(ahead) = rows.get(at + GATHER_AHEAD) {
                        kernel::prefetch($values, usize::from(*ahead));
                    }
                    let row = usize::from(*row);
                    frame.value(row, $values.get(row).map_or(0, |stored| $residual(*stored, row)))
                }))
            };
        }
        match self.residuals {
            Residuals::None => out.extend(rows.iter().map(|row| frame.value(usize::from(*row), 0))),
            Residuals::U8(values) => each!(values),
            // A chunk with planes is full.
            Residuals::Planes(..) | Residuals::WidePlanes(..) => {
                out.extend(rows.iter().map(|row| self.get(usize::from(*row))));
            }
            Residuals::U16(values) => each!(values),
            Residuals::Excepted(low, exceptions) => each!(low, |low, row| exceptions.residual(low, row)),
            Residuals::U32(values) => each!(values),
            Residuals::U64(values) => each!(values),
        }
    }

    /// Of rows that are selected, as bits of the words from `first` on, keeps those whose value lies from `low` to `high`.
    pub fn retain_within(&self, low: i64, high: i64, first: usize, selected: &mut [u64]) {
        let frame = self.frame;
        let rows = first * 64..self.rows.min((first + selected.len()) * 64);
        if rows.start >= rows.end || low > high {
            return selected.fill(0);
        }
        if frame.slope != 0
            || matches!(self.residuals, Residuals::Planes(..) | Residuals::WidePlanes(..) | Residuals::U64(_))
        {
            return self.retain_singly(low, high, first, selected);
        }
        let least = frame.residual_at_least(low);
        let greatest = match high.checked_add(1) {
            Some(beyond) => frame.residual_at_least(beyond).checked_sub(1),
            None => Some(u64::MAX),
        };
        let Some(greatest) = greatest.filter(|greatest| least <= *greatest) else { return selected.fill(0) };
        macro_rules! by {
            ($kernel:path, $residuals:expr, $type:ty) => {
                by!($kernel, $residuals, $type, least, greatest)
            };
            ($kernel:path, $residuals:expr, $type:ty, $least:expr, $greatest:expr) => {{
                let Ok(least) = <$type>::try_from($least) else { return selected.fill(0) };
                let greatest = <$type>::try_from($greatest).unwrap_or(<$type>::MAX);
                let mut within = [0; BITSET_WORDS];
                let within = &mut within[..selected.len().min(BITSET_WORDS)];
                $kernel(&$residuals[rows.clone()], least, greatest, within);
                selected.iter_mut().zip(within).for_each(|(word, within)| *word &= *within);
            }};
        }
        match self.residuals {
            Residuals::U8(residuals) => by!(kernel::within_u8, residuals, u8),
            Residuals::U16(residuals) => by!(kernel::within_u16, residuals, u16),
            Residuals::Excepted(low, exceptions) => {
                by!(kernel::within_u16, low, u16, least.min(EXCEPTION_MARK.into()), greatest);
                // All exceptions are in, or none is.
                if greatest >= u64::from(EXCEPTION_MARK) {
                    let residual = |more: u64| u64::from(EXCEPTION_MARK).wrapping_add(more);
                    let beyond = |more: u64| !(least..=greatest).contains(&residual(more));
                    for (row, _) in exceptions.within(rows.clone()).filter(|(_, more)| beyond(*more)) {
                        selected[row / 64 - first] &= !(1 << (row % 64));
                    }
                }
            }
            Residuals::U32(residuals) => by!(kernel::within_u32, residuals, u32),
            _ => self.retain_singly(low, high, first, selected),
        }
    }

    fn retain_singly(&self, low: i64, high: i64, first: usize, selected: &mut [u64]) {
        for (index, word) in selected.iter_mut().enumerate() {
            let mut left = *word;
            while left != 0 {
                let row = (first + index) * 64 + left.trailing_zeros() as usize;
                if row >= self.rows || !(low..=high).contains(&self.get(row)) {
                    *word &= !(left & left.wrapping_neg());
                }
                left &= left - 1;
            }
        }
    }
}

/// The rows of a chunk reduced to residuals: what both the `Values` section and the range index are built from.
pub struct Framed {
    /// The frame of reference.
    pub frame: Frame,
    /// Bytes of a residual.
    pub width: u8,
    /// The residual of each row; NULL rows 0.
    pub residuals: Vec<u64>,
    /// Least and greatest value of the rows that are not NULL.
    pub low: i64,
    /// See `low`.
    pub high: i64,
}

/// Finds the frame of a chunk's codes. `nulls` marks rows whose code is a filler.
pub fn frame_of(codes: &[i64], nulls: Option<&[bool]>) -> Framed {
    let (low, high) = kernel::bounds_of(codes, nulls);
    if low > high {
        // Nothing but NULLs.
        let frame = Frame { base: 0, divisor: 1, slope: 0 };
        return Framed { frame, width: 0, residuals: vec![0; codes.len()], low: 0, high: 0 };
    }
    if let Some(slope) = slope_of(codes).filter(|_| nulls.is_none()) {
        let frame = Frame { base: codes[0], divisor: 1, slope };
        return Framed { frame, width: 0, residuals: vec![0; codes.len()], low, high };
    }
    let mut residuals = vec![0; codes.len()];
    kernel::distances(codes, nulls, low, &mut residuals);
    // Whole seconds are common, and divided by a constant: by a number not known before it takes five times as long.
    let seconds = high.wrapping_sub(low) as u64 >= MICROS_PER_SECOND && kernel::whole_seconds(&mut residuals);
    let mut rest = 0;
    for residual in &residuals {
        if rest == 1 {
            break;
        }
        rest = greatest_common_divisor(*residual, rest);
    }
    let rest = rest.max(1);
    if rest > 1 {
        residuals.iter_mut().for_each(|residual| *residual /= rest);
    }
    let divisor = if seconds { rest * MICROS_PER_SECOND } else { rest };
    let width = match high.wrapping_sub(low) as u64 / divisor {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    };
    Framed { frame: Frame { base: low, divisor, slope: 0 }, width, residuals, low, high }
}

/// The constant, nonzero difference of neighbours, if they all share one.
fn slope_of(codes: &[i64]) -> Option<i64> {
    let slope = codes.get(1)?.checked_sub(codes[0]).filter(|slope| *slope != 0)?;
    codes.windows(2).all(|pair| pair[0].checked_add(slope) == Some(pair[1])).then_some(slope)
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The `Values` section of framed rows.
pub fn values_section(framed: &Framed) -> Vec<u8> {
    let rows = framed.residuals.len();
    let mut section = Vec::with_capacity(VALUES_HEADER_BYTES + rows * usize::from(framed.width));
    section.extend_from_slice(&framed.frame.base.to_le_bytes());
    section.extend_from_slice(&framed.frame.divisor.to_le_bytes());
    section.extend_from_slice(&framed.frame.slope.to_le_bytes());
    section.extend_from_slice(&(rows as u32).to_le_bytes());
    section.push(framed.width);
    section.resize(VALUES_HEADER_BYTES, 0);
    extend_narrowed(&mut section, framed.width, framed.residuals.iter().copied());
    section
}

/// The `Values` section of dictionary codes: with bit planes where a byte is just too narrow.
pub fn codes_section(framed: &Framed) -> Vec<u8> {
    with_planes_above(framed, 1)
}

/// The `Values` section of numbers that are seldom read by vector: with bit planes where two bytes are just too narrow.
pub fn packed_section(framed: &Framed) -> Vec<u8> {
    with_planes_above(framed, 2)
}

/// The `Values` section with so many bytes a row and bit planes above them, where that is what residuals need.
fn with_planes_above(framed: &Framed, width: u8) -> Vec<u8> {
    let (widest, bits) =
        (framed.residuals.iter().fold(0, |all, residual| all | residual), 8 * u32::from(width));
    let planes = (u64::BITS - widest.leading_zeros()).saturating_sub(bits) as usize;
    if !(1..=usize::from(PLANES_MAX)).contains(&planes) || framed.residuals.len() != CHUNK_MEMBERS {
        return values_section(framed);
    }
    let residuals = framed.residuals.iter().map(|residual| residual & ((1 << bits) - 1)).collect();
    let mut section = values_section(&Framed { width, residuals, ..*framed });
    section[29] = planes as u8;
    for plane in 0..planes as u32 {
        let set = framed.residuals.iter().map(|residual| residual >> (bits + plane) & 1 == 1);
        section.extend_from_slice(super::encode::words_of(set).as_bytes());
    }
    section
}

/// Appends residuals in their width.
pub fn extend_narrowed(section: &mut Vec<u8>, width: u8, residuals: impl Iterator<Item = u64>) {
    match width {
        0 => {}
        1 => section.extend(residuals.map(|r| r as u8)),
        2 => section.extend_from_slice(residuals.map(|r| r as u16).collect::<Vec<_>>().as_bytes()),
        4 => section.extend_from_slice(residuals.map(|r| r as u32).collect::<Vec<_>>().as_bytes()),
        _ => section.extend_from_slice(residuals.collect::<Vec<_>>().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::exceptions::small_section;
    use super::*;
    use muster_storage::disk::Bytes;
    use proptest::prelude::*;

    fn round_trip(codes: &[i64]) -> u8 {
        let framed = frame_of(codes, None);
        let section = Bytes::copied(&values_section(&framed));
        let read = ValuesRef::open(&section).unwrap();
        assert!(codes.iter().enumerate().all(|(row, code)| read.get(row) == *code));
        framed.width
    }

    #[test]
    fn frames_are_narrow() {
        assert_eq!(round_trip(&[5, 6, 7, 8]), 0, "a sequence");
        assert_eq!(round_trip(&[i64::MIN, i64::MAX]), 1, "the divisor is the whole distance");
        assert_eq!(round_trip(&[i64::MIN, 0, i64::MAX]), 8);
        assert_eq!(
            round_trip(&[1_700_000_000_000_000, 1_700_000_099_000_000, 1_700_000_001_000_000]),
            1,
            "seconds"
        );
        assert_eq!(round_trip(&[-3, -3, -3]), 0);
        assert_eq!(round_trip(&[0, 300, 7]), 2);
        assert_eq!(round_trip(&[]), 0);
    }

    #[test]
    fn codes_of_nine_to_twelve_bits_have_planes() {
        for (distinct, planes) in [(256, 0), (257, 1), (512, 1), (513, 2), (4_096, 4), (4_097, 0)] {
            let codes: Vec<i64> = (0..CHUNK_MEMBERS as i64).map(|row| 7 + row * 31 % distinct).collect();
            let framed = frame_of(&codes, None);
            let section = Bytes::copied(&codes_section(&framed));
            let read = ValuesRef::open(&section).unwrap();
            let found = if let Residuals::Planes(_, high) = read.residuals { high.len() } else { 0 };
            assert_eq!(found, planes, "{distinct} codes");
            assert!(codes.iter().enumerate().all(|(row, code)| read.get(row) == *code));
            let (rows, mut gathered) = ([0, 1, 65_535], Vec::new());
            read.gather(&rows, &mut gathered);
            assert_eq!(gathered, rows.map(|row| codes[usize::from(row)]));
            let mut cut = section.to_vec();
            cut.pop();
            assert!(ValuesRef::open(&Bytes::copied(&cut)).is_err());
            cut[29] = 5;
            assert!(ValuesRef::open(&Bytes::copied(&cut)).is_err());
        }
    }

    #[test]
    fn numbers_of_seventeen_to_twenty_bits_have_planes_beside_two_bytes() {
        for (distinct, planes) in
            [(1 << 16, 0), ((1 << 16) + 1, 1), (1 << 17, 1), (1 << 20, 4), ((1 << 20) + 1, 0)]
        {
            let codes: Vec<i64> = (0..CHUNK_MEMBERS as i64).map(|row| row * row % (distinct - 1)).collect();
            let codes = [&codes[1..], &[distinct - 1]].concat();
            let section = Bytes::copied(&packed_section(&frame_of(&codes, None)));
            let read = ValuesRef::open(&section).unwrap();
            let found = if let Residuals::WidePlanes(_, high) = read.residuals { high.len() } else { 0 };
            assert_eq!(found, planes, "{distinct} numbers");
            assert!(codes.iter().enumerate().all(|(row, code)| read.get(row) == *code));
            let mut gathered = Vec::new();
            read.gather(&[0, 65_535], &mut gathered);
            assert_eq!(gathered, [codes[0], codes[65_535]]);
            let (low, high, mut selected) = (distinct / 4, distinct / 2, vec![u64::MAX; 1_024]);
            read.retain_within(low, high, 0, &mut selected);
            let holds = |row: usize| selected[row / 64] >> (row % 64) & 1 == 1;
            assert!((0..CHUNK_MEMBERS).all(|row| holds(row) == (low..=high).contains(&codes[row])));
        }
    }

    proptest! {
        #[test]
        fn any_codes_come_back(codes in proptest::collection::vec(any::<i64>(), 0..50), small in proptest::collection::vec(-9i64..9, 0..50)) {
            round_trip(&codes);
            round_trip(&small);
            round_trip(&small.iter().map(|c| c * 86_400_000_000).collect::<Vec<_>>());
        }

        #[test]
        fn rows_are_retained_by_vector_as_one_by_one(codes in proptest::collection::vec(-400i64..400, 1..300), step in prop_oneof![Just(1i64), Just(7), Just(1_000), Just(1 << 30), Just(1 << 53)], low in -500i64..500, span in -2i64..300, open in any::<bool>(), bits in any::<u64>(), first in 0usize..4, small in any::<bool>()) {
            let (low, high) = (low * step, if open { i64::MAX } else { (low + span) * step });
            let codes: Vec<i64> = codes.into_iter().map(|code| code * step).collect();
            let framed = frame_of(&codes, None);
            let section = Bytes::copied(&if small { small_section(&framed) } else { values_section(&framed) });
            let values = ValuesRef::open(&section).unwrap();
            let mut selected = [bits, u64::MAX, bits.rotate_left(9)];
            let before = selected;
            values.retain_within(low, high, first, &mut selected);
            for (index, (word, before)) in selected.iter().zip(before).enumerate() {
                for bit in 0..64 {
                    let row = (first + index) * 64 + bit;
                    let expected = before >> bit & 1 == 1 && codes.get(row).is_some_and(|code| (low..=high).contains(code));
                    prop_assert_eq!(word >> bit & 1 == 1, expected, "row {}", row);
                }
            }
        }

        #[test]
        fn bounds_become_residuals(base in -100i64..100, divisor in 1u64..9, bound in -200i64..400) {
            let frame = Frame { base, divisor, slope: 0 };
            let expected = (0..1000).find(|r| frame.value(0, *r) >= bound).unwrap();
            prop_assert_eq!(frame.residual_at_least(bound), expected);
        }
    }
}
