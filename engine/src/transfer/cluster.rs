//! Rows that belong to somebody, put in the order of their owners: what was written as it came is written anew.
//!
//! ```text
//! rows as they came ─ owner of each (by key) ─ counted into chunks of owners ─ each sorted by span, owner, time ─ runs
//!                                                                                   └ columns gathered, chunk by chunk ─ parts
//! ```
//!
//! Cost: two numbers of 32 bits a row in memory, and the columns read in the new order from parts just written, which the
//! system's cache holds as far as it has room.

use super::import::append;
use crate::batch::{ColumnValues, Strings};
use crate::calendar::{MICROS_PER_DAY, civil_from_days, days_of};
use crate::control::Cancel;
use crate::delta::Cell;
use crate::exec::words_of;
use crate::index::encode::{EncodedSection, encode_cells, encode_codes, set_section, words_of as words_of_bits};
use crate::index::owners::{NOBODYS, Run, owners_section};
use crate::index::values::ValuesRef;
use crate::kernel;
use crate::member::{Key, KeyCollector, lookup};
use crate::schema::{Column, ColumnId, DataType, Owner};
use crate::table::{ColumnReader, TableState};
use crate::writer::apply::Before;
use crate::{Error, Result};
use muster_storage::chunk::Words;
use muster_storage::format::{CHUNK_MEMBERS, RANGE_CHUNKS, SectionKind};
use muster_storage::part::{PartWriter, SectionStats};
use rayon::prelude::*;
use std::ops::Range;

/// Keys that are looked up together.
const KEYS_AT_ONCE: usize = 1 << 20;

/// The fewest rows that a run has on average: a span that gives fewer is too fine.
const RUN_ROWS: u64 = 1_024;

const MICROS_PER_HOUR: i64 = MICROS_PER_DAY / 24;

/// Whose a row is that is nobody's.
const NO_OWNER: u32 = u32::MAX;

/// The new order of a table's rows.
pub(super) struct Order {
    /// The rows as they came, in the new order.
    pub(super) rows: Vec<u32>,
    /// The ordinal of each row's owner, in the new order.
    owners: Vec<u32>,
    /// Runs by their first row in the new order.
    runs: Vec<(u64, Run)>,
}

/// How long the times of a run may be apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Span {
    /// From the finest.
    const ALL: [Span; 5] = [Span::Hour, Span::Day, Span::Week, Span::Month, Span::Year];

    /// The number of the span that a time is in.
    fn of(self, data_type: DataType, code: i64) -> i64 {
        let days = if data_type == DataType::Date { code } else { days_of(code) };
        match self {
            Span::Hour if data_type == DataType::Date => days.saturating_mul(24),
            Span::Hour => code.div_euclid(MICROS_PER_HOUR),
            Span::Day => days,
            // Weeks begin on Mondays; 1970-01-01 was a Thursday.
            Span::Week => days.saturating_add(3).div_euclid(7),
            Span::Month => {
                let (year, month, _) = civil_from_days(days);
                year * 12 + i64::from(month)
            }
            Span::Year => civil_from_days(days).0,
        }
    }

    /// The finest span of which runs have enough rows; without a time all rows of a chunk of owners are one.
    fn fitting(data_type: DataType, (low, high): (i64, i64), rows: u64, owner_chunks: u64) -> Span {
        let runs = |span: &Span| {
            let spans = span.of(data_type, high).saturating_sub(span.of(data_type, low)).saturating_add(1);
            owner_chunks.max(1).saturating_mul(spans.max(1) as u64)
        };
        *Span::ALL.iter().find(|span| rows / runs(span).max(1) >= RUN_ROWS).unwrap_or(&Span::Year)
    }
}

/// Finds the order of the rows of a table whose owners these are.
pub(super) fn order(table: &TableState, owner: &Owner, owners: &TableState, cancel: &Cancel) -> Result<Order> {
    let owner_of = owners_of(table, owner, owners, cancel)?;
    let owner_chunks = owners.chunks() as usize;
    let place = |owner: u32| if owner == NO_OWNER { owner_chunks } else { (owner >> 16) as usize };
    let mut starts = vec![0usize; owner_chunks + 2];
    owner_of.iter().for_each(|owner| starts[place(*owner) + 1] += 1);
    (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
    let mut rows = vec![0u32; owner_of.len()];
    let mut next = starts.clone();
    for (row, owner) in owner_of.iter().enumerate() {
        let slot = &mut next[place(*owner)];
        rows[*slot] = row as u32;
        *slot += 1;
    }
    let times = owner.time.map(|time| Times::of(table, time, owner_chunks as u64)).transpose()?;
    let mut rest = rows.as_mut_slice();
    let mut slices = Vec::with_capacity(owner_chunks + 1);
    for chunk in 0..=owner_chunks {
        let (here, after) = rest.split_at_mut(starts[chunk + 1] - starts[chunk]);
        slices.push((chunk, here));
        rest = after;
    }
    let runs = slices.into_par_iter().map(|(chunk, rows)| {
        cancel.check()?;
        let owners = if chunk == owner_chunks { NOBODYS } else { chunk as u32 };
        Ok(sorted(rows, owners, starts[chunk] as u64, &owner_of, times.as_ref()))
    });
    let runs = runs.collect::<Result<Vec<_>>>()?.concat();
    let owners = rows.par_iter().map(|row| owner_of[*row as usize]).collect();
    Ok(Order { rows, owners, runs })
}

/// Sorts the rows of one chunk of owners, which begin at `first`; its runs come back.
fn sorted(
    rows: &mut [u32],
    owners: u32,
    first: u64,
    owner_of: &[u32],
    times: Option<&Times<'_>>,
) -> Vec<(u64, Run)> {
    let time_of = |row: u32| times.map_or(Some((0, 0)), |times| times.of_row(row));
    // Rows without a time come last.
    let key = |row: u32| {
        let (span, time) = time_of(row).unwrap_or((i64::MAX, i64::MAX));
        (span, owner_of[row as usize], time, row)
    };
    let mut keys: Vec<(i64, u32, i64, u32)> = rows.iter().map(|row| key(*row)).collect();
    keys.sort_unstable();
    let mut runs = Vec::new();
    let mut start = 0;
    for run in keys.chunk_by(|a, b| a.0 == b.0) {
        let timed = times.is_some() && run[0].0 != i64::MAX;
        let bounds = run.iter().fold((i64::MAX, i64::MIN), |(low, high), key| (low.min(key.2), high.max(key.2)));
        let (low, high) = if timed { bounds } else { (i64::MAX, i64::MIN) };
        runs.push((first + start as u64, Run { low, high, owners, start: 0 }));
        start += run.len();
    }
    rows.iter_mut().zip(&keys).for_each(|(row, key)| *row = key.3);
    runs
}

/// The ordinal of each row's owner.
fn owners_of(table: &TableState, owner: &Owner, owners: &TableState, cancel: &Cancel) -> Result<Vec<u32>> {
    let reader = table.reader(owner.column)?;
    let mut found = Vec::with_capacity(table.extent().ordinals as usize);
    let mut first = 0;
    while first < table.chunks() {
        cancel.check()?;
        let end = table.chunks().min(first + (KEYS_AT_ONCE / CHUNK_MEMBERS) as u32);
        owners_in(table, owner, &reader, owners, first..end, &mut found)?;
        first = end;
    }
    Ok(found)
}

fn owners_in(
    table: &TableState,
    owner: &Owner,
    reader: &ColumnReader<'_>,
    owners: &TableState,
    chunks: Range<u32>,
    found: &mut Vec<u32>,
) -> Result<()> {
    let view = table.dictionary(owner.column).map(|dictionary| dictionary.view()).transpose()?;
    let mut keys: Vec<Key<'_>> = Vec::new();
    let mut places = Vec::new();
    let begin = found.len();
    for chunk in chunks {
        let rows = table.chunk_rows(chunk);
        let nulls = words_of(reader.nulls(chunk)?);
        let base = found.len();
        found.resize(base + rows, NO_OWNER);
        let (strings, values) = (reader.strings(chunk)?, reader.values(chunk)?);
        for row in (0..rows).filter(|row| !kernel::has(&nulls, *row as u16)) {
            let key = match (strings, values, view) {
                (Some(strings), _, _) => Key::Text(strings.get(row)),
                (None, Some(values), Some(view)) => Key::Text(view.get(values.get(row) as u32)),
                (None, Some(values), None) => Key::Integer(values.get(row)),
                (None, None, _) => continue,
            };
            keys.push(key);
            places.push((base + row - begin) as u32);
        }
    }
    for (place, ordinal) in places.into_iter().zip(lookup(owners, &keys)?) {
        if let Some(ordinal) = ordinal {
            found[begin + place as usize] = ordinal;
        }
    }
    Ok(())
}

/// When rows happened.
struct Times<'t> {
    data_type: DataType,
    span: Span,
    codes: Codes<'t>,
}

impl<'t> Times<'t> {
    fn of(table: &'t TableState, column: ColumnId, owner_chunks: u64) -> Result<Times<'t>> {
        let reader = table.reader(column)?;
        let entries = (0..table.chunks()).filter_map(|chunk| reader.entry(chunk, SectionKind::Values));
        let bounds = entries.filter(|entry| entry.cardinality > 0).map(|entry| (entry.low, entry.high));
        let bounds = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((0, 0));
        let data_type = reader.data_type();
        let span = Span::fitting(data_type, bounds, table.extent().ordinals, owner_chunks);
        Ok(Times { data_type, span, codes: Codes::of(table, &reader)? })
    }

    /// The span and the time of a row.
    fn of_row(&self, row: u32) -> Option<(i64, i64)> {
        let time = self.codes.get(row)?;
        Some((self.span.of(self.data_type, time), time))
    }
}

/// The codes of a column of unchanged rows, chunk by chunk.
struct Codes<'t> {
    values: Vec<Option<ValuesRef<'t>>>,
    nulls: Vec<Option<Box<Words>>>,
}

impl<'t> Codes<'t> {
    fn of(table: &TableState, reader: &ColumnReader<'t>) -> Result<Codes<'t>> {
        let (mut values, mut nulls) = (Vec::new(), Vec::new());
        for chunk in 0..table.chunks() {
            values.push(reader.values(chunk)?);
            let stored = reader.nulls(chunk)?;
            nulls.push((stored.cardinality() > 0).then(|| Box::new(words_of(stored))));
        }
        Ok(Codes { values, nulls })
    }

    fn get(&self, row: u32) -> Option<i64> {
        let (chunk, within) = ((row >> 16) as usize, (row & 0xffff) as usize);
        let null = self.nulls.get(chunk)?.as_ref().is_some_and(|nulls| kernel::has(nulls, row as u16));
        let values = self.values.get(chunk)?.as_ref().filter(|values| !null && within < values.rows)?;
        Some(values.get(within))
    }
}

/// A column that is read in the new order.
enum Source<'t> {
    /// By its codes.
    Codes(Codes<'t>),
    /// Its TRUE rows and its NULLs, chunk by chunk.
    Truths(Vec<(Box<Words>, Box<Words>)>),
    /// Row by row.
    Cells(Before<'t>),
}

/// Writes rows in their order.
pub(super) struct Clustered<'t> {
    columns: Vec<(&'t Column, Source<'t>, usize)>,
    key: Option<usize>,
    ordinals: ColumnId,
    order: &'t Order,
    /// The run that the next chunk begins in.
    run: usize,
}

impl<'t> Clustered<'t> {
    pub(super) fn new(table: &'t TableState, owner: &Owner, order: &'t Order) -> Result<Clustered<'t>> {
        let schema = table.schema();
        let columns = schema.columns.iter().map(|column| {
            let reader = table.reader(column.id)?;
            let before = Before::of(table, column.id)?;
            let entries = match table.dictionary(column.id) {
                Some(dictionary) => dictionary.view()?.len(),
                None => 0,
            };
            let source = match column.data_type {
                DataType::Boolean => Source::Truths(truths(table, &reader)?),
                DataType::TextArray => Source::Cells(before),
                DataType::Text if before.is_plain() || entries == 0 => Source::Cells(before),
                _ => Source::Codes(Codes::of(table, &reader)?),
            };
            Ok((column, source, entries))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let key = schema.columns.iter().position(|column| schema.key == Some(column.id));
        Ok(Clustered { columns, key, ordinals: owner.ordinals, order, run: 0 })
    }

    /// Chunks to be written.
    pub(super) fn chunks(&self) -> usize {
        self.order.rows.len().div_ceil(CHUNK_MEMBERS)
    }

    /// Writes one chunk, in order: its columns to `part`, whose its rows are to `owners`, its keys to `keys`.
    pub(super) fn write(
        &mut self,
        chunk: usize,
        part: &mut PartWriter,
        owners: &mut PartWriter,
        keys: &mut KeyCollector,
    ) -> Result<()> {
        let first = chunk * CHUNK_MEMBERS;
        let span = first..self.order.rows.len().min(first + CHUNK_MEMBERS);
        let within = (chunk % RANGE_CHUNKS) as u16;
        let rows = &self.order.rows[span.clone()];
        let live = set_section(SectionKind::Sets, &words_of_bits(rows.iter().map(|_| true)));
        append(part, ColumnId::LIVE, within, live)?;
        let encoded = self.columns.par_iter().with_max_len(1).enumerate().map(|(at, (column, source, entries))| {
            gathered(column, source, *entries, rows, self.key == Some(at))
        });
        let encoded = encoded.collect::<Result<Vec<_>>>()?;
        for ((column, ..), (sections, values)) in self.columns.iter().zip(encoded) {
            append(part, column.id, within, sections)?;
            match values {
                Some(ColumnValues::Code(codes)) => codes.iter().for_each(|code| keys.push(Key::Integer(*code))),
                Some(ColumnValues::Text(texts)) => {
                    (0..texts.len()).for_each(|row| keys.push(Key::Text(texts.get(row))));
                }
                _ => {}
            }
        }
        append(owners, self.ordinals, within, [self.owners_section(span)])
    }

    fn owners_section(&mut self, rows: Range<usize>) -> EncodedSection {
        let runs = &self.order.runs;
        let mut here = Vec::new();
        while let Some((start, run)) = runs.get(self.run).filter(|(start, _)| (*start as usize) < rows.end) {
            here.push(Run { start: (*start as usize).saturating_sub(rows.start) as u32, ..*run });
            if runs.get(self.run + 1).is_none_or(|(next, _)| *next as usize > rows.end) {
                // It goes on in the next chunk.
                break;
            }
            self.run += 1;
        }
        let halves: Vec<u16> = self.order.owners[rows].iter().map(|owner| *owner as u16).collect();
        let ends = |run: Option<&Run>| run.map_or(i64::from(NOBODYS), |run| i64::from(run.owners));
        let (low, high) = (ends(here.first()), ends(here.last()));
        let stats = SectionStats { cardinality: halves.len() as u32, low, high };
        EncodedSection { kind: SectionKind::Owners, bytes: owners_section(&here, &halves), stats }
    }
}

fn truths(table: &TableState, reader: &ColumnReader<'_>) -> Result<Vec<(Box<Words>, Box<Words>)>> {
    let both = |chunk| {
        Ok((Box::new(words_of(reader.set(chunk, 0)?)), Box::new(words_of(reader.nulls(chunk)?))))
    };
    (0..table.chunks()).map(both).collect()
}

/// The sections of a column for some rows; of the key its values too.
fn gathered(
    column: &Column,
    source: &Source<'_>,
    entries: usize,
    rows: &[u32],
    is_key: bool,
) -> Result<(Vec<EncodedSection>, Option<ColumnValues>)> {
    match source {
        Source::Codes(stored) => {
            let mut nulls = vec![false; rows.len()];
            let codes = rows.iter().zip(&mut nulls).map(|(row, null)| {
                let code = stored.get(*row);
                *null = code.is_none();
                code.unwrap_or(0)
            });
            let codes: Vec<i64> = codes.collect();
            let sections = encode_codes(column.data_type, false, entries, &codes, &nulls);
            Ok((sections, is_key.then_some(ColumnValues::Code(codes))))
        }
        Source::Truths(chunks) => {
            let bits = |nulls: bool| {
                words_of_bits(rows.iter().map(|row| {
                    let of_chunk = chunks.get((row >> 16) as usize);
                    let words = of_chunk.map(|(trues, null)| if nulls { null } else { trues });
                    words.is_some_and(|words| kernel::has(words, *row as u16))
                }))
            };
            let nulls = set_section(SectionKind::Nulls, &bits(true));
            Ok((nulls.into_iter().chain(set_section(SectionKind::Sets, &bits(false))).collect(), None))
        }
        Source::Cells(before) => {
            let cells = rows.iter().map(|row| before.cell(column.data_type, *row)).collect::<Result<Vec<Cell>>>()?;
            let texts = || -> Result<Strings> {
                let mut texts = Strings::default();
                for cell in &cells {
                    let Cell::Text(text) = cell else {
                        return Err(Error::Invalid("a key without a text was written".into()));
                    };
                    texts.bytes.extend_from_slice(text);
                    texts.ends.push(texts.bytes.len() as u32);
                }
                Ok(texts)
            };
            let values = if is_key { Some(ColumnValues::Text(texts()?)) } else { None };
            Ok((encode_cells(column.data_type, false, entries, &cells), values))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::days_from_civil;

    #[test]
    fn spans_are_as_fine_as_their_rows_allow() {
        let (from, to) = (days_from_civil(2022, 1, 1), days_from_civil(2026, 12, 31));
        let micros = (from * MICROS_PER_DAY, to * MICROS_PER_DAY);
        let of = |rows, chunks| Span::fitting(DataType::Timestamp, micros, rows, chunks);
        assert_eq!(of(200_000_000, 1_526), Span::Month);
        assert_eq!(of(200_000_000, 15), Span::Day);
        assert_eq!(of(2_000_000_000, 15), Span::Hour);
        assert_eq!(of(1_000, 1), Span::Year);
        assert_eq!(Span::fitting(DataType::Date, (from, to), 600_000, 1), Span::Week);
    }

    #[test]
    fn spans_follow_the_calendar() {
        let at = |year, month, day| days_from_civil(year, month, day) * MICROS_PER_DAY;
        let month = |code| Span::Month.of(DataType::Timestamp, code);
        assert_eq!(month(at(2026, 2, 28) + MICROS_PER_DAY - 1), month(at(2026, 2, 1)));
        assert_eq!(month(at(2026, 3, 1)), month(at(2026, 2, 1)) + 1);
        assert_eq!(month(at(1969, 12, 31)) + 1, month(at(1970, 1, 1)));
        let week = |day| Span::Week.of(DataType::Date, days_from_civil(2026, 11, day));
        assert_eq!((week(23), week(29)), (week(24), week(24)), "Monday to Sunday");
        assert_eq!(week(30), week(29) + 1);
        assert!(Span::ALL.iter().all(|span| span.of(DataType::Timestamp, i64::MIN) < span.of(DataType::Timestamp, i64::MAX)));
    }
}
