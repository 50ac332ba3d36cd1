//! Rows in memory, as narrow columns, until their order is known: what an import of rows that belong to somebody gathers.
//!
//! ```text
//! batch ─ codes (of texts by the dictionary) ─ narrowed chunk by chunk: base + residual × divisor ─ put in order ([`super::near`])
//!                                            └ beyond HELD_BYTES_MAX, or where a text has no code: encoded into loose parts
//! ```
//!
//! A row takes the bytes that its narrowed codes take, some fifteen of an order. So nothing is encoded twice, and nothing is
//! written that is not to stay. A text without a code, TEXT[] and a TEXT key are not held: tables with these take the long way.

use super::codes::Chunked;
use crate::batch::{Batch, ColumnValues};
use crate::index::encode::{
    ColumnEncoder, EncodedSection, encode_codes, set_section, words_of as words_of_bits,
};
use crate::index::values::{Frame, Residuals, ValuesRef};
use crate::kernel;
use crate::schema::{Column, DataType, TableSchema};
use muster_storage::chunk::Words;
use muster_storage::format::SectionKind;
use rayon::prelude::*;

/// Rows take at most so many bytes of memory until they are put in order, and once more then; more are written to parts, and read from there.
pub(super) const HELD_BYTES_MAX: usize = 4 << 30;

/// Distances between times are often multiples of these.
const DIVISORS: [u64; 2] = [1_000_000, 1_000];

/// Rows of a table, chunk by chunk.
#[derive(Default)]
pub(super) struct Held {
    /// A chunk's columns, in the schema's order.
    chunks: Vec<Vec<HeldColumn>>,
    bytes: usize,
}

/// What came of a column of a chunk.
pub(super) enum Taken {
    Held(HeldColumn),
    /// It has no codes.
    Sections(Vec<EncodedSection>),
}

impl Held {
    /// True where the rows of a table can be held, as far as their types tell.
    pub(super) fn takes(schema: &TableSchema) -> bool {
        let is_text = |column: &Column| column.data_type == DataType::Text;
        let named = |column: &Column| {
            schema.key == Some(column.id) || schema.owner.is_some_and(|owner| owner.column == column.id)
        };
        let mut columns = schema.columns.iter();
        columns.all(|column| column.data_type != DataType::TextArray && !(is_text(column) && named(column)))
    }

    /// Takes a chunk of rows. What cannot be held comes back, column by column.
    pub(super) fn take(
        &mut self,
        batch: &Batch,
        columns: &[Column],
        sources: &[Option<usize>],
        encoders: &mut [ColumnEncoder],
    ) -> Option<Vec<Taken>> {
        let taken = encoders.par_iter_mut().zip(sources).zip(columns).with_max_len(1).map(
            |((encoder, source), column)| match source {
                Some(source) => {
                    let values = &batch.columns[*source];
                    let nulls = values.nulls.as_deref().filter(|nulls| nulls.contains(&true));
                    taken(encoder, &values.values, nulls)
                }
                None => {
                    let nulls = vec![true; batch.rows];
                    debug_assert!(column.nullable, "what may not be NULL was looked for");
                    Taken::Held(HeldColumn::of(&vec![0; batch.rows], Some(&nulls)))
                }
            },
        );
        let taken: Vec<Taken> = taken.collect();
        if taken.iter().any(|taken| matches!(taken, Taken::Sections(_))) {
            return Some(taken);
        }
        let held = taken.into_iter().filter_map(|taken| match taken {
            Taken::Held(held) => Some(held),
            Taken::Sections(_) => None,
        });
        let held: Vec<HeldColumn> = held.collect();
        self.bytes += held.iter().map(HeldColumn::bytes).sum::<usize>();
        self.chunks.push(held);
        None
    }

    /// True where no more is to be held.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > HELD_BYTES_MAX
    }

    /// The chunks' columns.
    pub(super) fn into_chunks(self) -> impl Iterator<Item = Vec<HeldColumn>> {
        self.chunks.into_iter()
    }

    /// The codes of a column of the schema, rows as they came.
    pub(super) fn codes(&self, place: usize) -> Chunked<'_> {
        Chunked::held(self.chunks.iter().map(|columns| &columns[place]))
    }

    /// Column by column, the chunks of each.
    pub(super) fn into_columns(self) -> Vec<Vec<HeldColumn>> {
        let mut columns: Vec<Vec<HeldColumn>> = Vec::new();
        for chunk in self.chunks {
            columns.resize_with(chunk.len(), Vec::new);
            columns.iter_mut().zip(chunk).for_each(|(column, chunk)| column.push(chunk));
        }
        columns
    }

    /// Rows.
    pub(super) fn rows(&self) -> usize {
        self.chunks.iter().filter_map(|columns| columns.first()).map(|column| column.rows).sum()
    }
}

fn taken(encoder: &mut ColumnEncoder, values: &ColumnValues, nulls: Option<&[bool]>) -> Taken {
    let codes: Vec<i64> = match values {
        ColumnValues::Code(codes) => return Taken::Held(HeldColumn::of(codes, nulls)),
        ColumnValues::Boolean(truths) => truths.iter().map(|truth| i64::from(*truth)).collect(),
        texts => match encoder.text_codes(texts, nulls) {
            Ok(codes) => codes.into_iter().map(i64::from).collect(),
            Err(sections) => return Taken::Sections(sections),
        },
    };
    Taken::Held(HeldColumn::of(&codes, nulls))
}

impl Taken {
    /// Rows, where it is held.
    pub(super) fn rows(&self) -> Option<usize> {
        match self {
            Taken::Held(held) => Some(held.rows),
            Taken::Sections(_) => None,
        }
    }

    /// The sections of a loose part.
    pub(super) fn sections(self, data_type: DataType, entries: usize) -> Vec<EncodedSection> {
        match self {
            Taken::Held(held) => held.sections(data_type, entries),
            Taken::Sections(sections) => sections,
        }
    }
}

/// A column of a chunk.
pub(super) struct HeldColumn {
    pub(super) frame: Frame,
    /// The least and the greatest code, where some row has one.
    pub(super) bounds: Option<(i64, i64)>,
    rows: usize,
    pub(super) residuals: Narrow,
    nulls: Option<Box<Words>>,
}

/// Residuals by their width.
pub(super) enum Narrow {
    None,
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
}

impl HeldColumn {
    /// Narrows codes; those of NULL rows are whatever.
    pub(super) fn of(codes: &[i64], nulls: Option<&[bool]>) -> HeldColumn {
        let is_null = |row: usize| nulls.is_some_and(|nulls| nulls[row]);
        let present = || codes.iter().enumerate().filter(|(row, _)| !is_null(*row)).map(|(_, code)| *code);
        let (low, high) = kernel::bounds_of(codes, nulls);
        let (base, most) = if low > high { (0, 0) } else { (low, high.wrapping_sub(low) as u64) };
        let distance = |code: i64| code.wrapping_sub(base) as u64;
        let divisor = divisor_of(most, |divisor| divides_all(divisor, present().map(distance)));
        macro_rules! narrow {
            ($type:ty) => {
                match (nulls, divisor) {
                    (None, 1) => codes.iter().map(|code| distance(*code) as $type).collect(),
                    (None, 1_000_000) => {
                        codes.iter().map(|code| (distance(*code) / 1_000_000) as $type).collect()
                    }
                    (_, divisor) => {
                        let narrowed = |(row, code): (usize, &i64)| match is_null(row) {
                            true => 0,
                            false => (distance(*code) / divisor) as $type,
                        };
                        codes.iter().enumerate().map(narrowed).collect()
                    }
                }
            };
        }
        let residuals = match most / divisor {
            0 => Narrow::None,
            1..=0xff => Narrow::U8(narrow!(u8)),
            0x100..=0xffff => Narrow::U16(narrow!(u16)),
            0x1_0000..=0xffff_ffff => Narrow::U32(narrow!(u32)),
            _ => Narrow::U64(narrow!(u64)),
        };
        let nulls = nulls.map(|nulls| words_of_bits(nulls.iter().copied()));
        let (frame, bounds) = (Frame { base, divisor, slope: 0 }, (low <= high).then_some((low, high)));
        HeldColumn { frame, bounds, rows: codes.len(), residuals, nulls }
    }

    /// True where a number divides the distance of every code from `base`.
    pub(super) fn divides(&self, divisor: u64, base: i64) -> bool {
        let offset = self.frame.base.wrapping_sub(base) as u64;
        let distance = |residual: u64| offset.wrapping_add(self.frame.divisor.wrapping_mul(residual));
        match &self.residuals {
            _ if self.bounds.is_none() => true,
            _ if !offset.is_multiple_of(divisor) => false,
            _ if self.frame.divisor.is_multiple_of(divisor) => true,
            Narrow::None => true,
            // Rows that are NULL have the residual 0, whose distance is the offset.
            Narrow::U8(residuals) => {
                divides_all(divisor, residuals.iter().map(|one| distance(u64::from(*one))))
            }
            Narrow::U16(residuals) => {
                divides_all(divisor, residuals.iter().map(|one| distance(u64::from(*one))))
            }
            Narrow::U32(residuals) => {
                divides_all(divisor, residuals.iter().map(|one| distance(u64::from(*one))))
            }
            Narrow::U64(residuals) => divides_all(divisor, residuals.iter().map(|one| distance(*one))),
        }
    }

    /// The codes, read as those of a section.
    pub(super) fn values(&self) -> ValuesRef<'_> {
        let residuals = match &self.residuals {
            Narrow::None => Residuals::None,
            Narrow::U8(residuals) => Residuals::U8(residuals),
            Narrow::U16(residuals) => Residuals::U16(residuals),
            Narrow::U32(residuals) => Residuals::U32(residuals),
            Narrow::U64(residuals) => Residuals::U64(residuals),
        };
        ValuesRef { frame: self.frame, rows: self.rows, residuals }
    }

    /// The rows that are NULL, where some are.
    pub(super) fn nulls(&self) -> Option<&Words> {
        self.nulls.as_deref()
    }

    fn bytes(&self) -> usize {
        self.rows * self.values().residuals.width()
            + self.nulls.as_ref().map_or(0, |nulls| size_of_val(&**nulls))
    }

    /// What a loose part has of it.
    pub(super) fn sections(&self, data_type: DataType, entries: usize) -> Vec<EncodedSection> {
        let values = self.values();
        let codes: Vec<i64> = (0..self.rows).map(|row| values.get(row)).collect();
        let null = |row: usize| self.nulls().is_some_and(|nulls| kernel::has(nulls, row as u16));
        let nulls: Vec<bool> = (0..self.rows).map(null).collect();
        coded_sections(data_type, entries, &codes, &nulls)
    }
}

/// What distances up to `most` are divided by: that which makes 32 bits enough and leaves nothing over, where there is one.
pub(super) fn divisor_of(most: u64, divides: impl Fn(u64) -> bool) -> u64 {
    if most <= u64::from(u32::MAX) {
        return 1;
    }
    let fits = |divisor: &&u64| most / **divisor <= u64::from(u32::MAX) && divides(**divisor);
    DIVISORS.iter().find(fits).copied().unwrap_or(1)
}

fn divides_all(divisor: u64, mut distances: impl Iterator<Item = u64>) -> bool {
    match divisor {
        // By constants it is a multiplication.
        1_000_000 => distances.all(|distance| distance.is_multiple_of(1_000_000)),
        1_000 => distances.all(|distance| distance.is_multiple_of(1_000)),
        divisor => distances.all(|distance| distance.is_multiple_of(divisor)),
    }
}

/// The sections of codes without a range index, those of a BOOLEAN too.
pub(super) fn coded_sections(
    data_type: DataType,
    entries: usize,
    codes: &[i64],
    nulls: &[bool],
) -> Vec<EncodedSection> {
    if data_type != DataType::Boolean {
        return encode_codes(data_type, false, entries, codes, nulls);
    }
    let of_nulls = words_of_bits(nulls.iter().copied());
    let trues = words_of_bits(codes.iter().zip(nulls).map(|(code, null)| *code == 1 && !null));
    let nulls = set_section(SectionKind::Nulls, &of_nulls);
    nulls.into_iter().chain(set_section(SectionKind::Sets, &trues)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn codes_come_back(
            codes in proptest::collection::vec(prop_oneof![any::<i64>(), -9i64..9, (0i64..9).prop_map(|day| day * 86_400_000_000)], 0..50),
            nulls in proptest::collection::vec(any::<bool>(), 50),
            has_nulls in any::<bool>(),
        ) {
            let nulls = has_nulls.then_some(&nulls[..codes.len()]);
            let held = HeldColumn::of(&codes, nulls);
            for (row, code) in codes.iter().enumerate() {
                let null = nulls.is_some_and(|nulls| nulls[row]);
                prop_assert_eq!(held.nulls().is_some_and(|nulls| kernel::has(nulls, row as u16)), null);
                prop_assert!(null || held.values().get(row) == *code);
            }
        }
    }

    #[test]
    fn seconds_are_narrow() {
        let seconds: Vec<i64> = (0..9).map(|at| at * 40_000_000 * 1_000_000).collect();
        assert_eq!(HeldColumn::of(&seconds, None).values().residuals.width(), 4);
        assert_eq!(HeldColumn::of(&[5, 5], None).values().residuals.width(), 0);
        assert_eq!(HeldColumn::of(&[], None).rows, 0);
    }
}
