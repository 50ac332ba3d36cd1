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
use crate::schema::{Column, ColumnId, DataType, Owner, Summary, SummaryKind};
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

/// The fewest rows that the runs of a span have on average: one that gives fewer is too fine.
const RUN_ROWS: usize = 1_024;

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
    /// The first row of each chunk of owners, and the end.
    starts: Vec<usize>,
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

    /// The next finer one.
    fn finer(self) -> Option<Span> {
        Span::ALL.iter().rev().skip_while(|span| **span != self).nth(1).copied()
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
    let times = owner.time.map(|time| Times::of(table, time)).transpose()?;
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
    Ok(Order { rows, owners, runs, starts })
}

/// Sorts the rows of one chunk of owners, which begin at `first`; its runs come back.
fn sorted(
    rows: &mut [u32],
    owners: u32,
    first: u64,
    owner_of: &[u32],
    times: Option<&Times<'_>>,
) -> Vec<(u64, Run)> {
    let mut runs = Vec::new();
    let Some(times) = times else {
        rows.sort_unstable_by_key(|row| (owner_of[*row as usize], *row));
        if !rows.is_empty() {
            runs.push((first, Run { low: i64::MAX, high: i64::MIN, owners, start: 0 }));
        }
        return runs;
    };
    // Rows without a time come last.
    let mut keys: Vec<Timed> = (rows.iter())
        .map(|row| Timed { time: times.codes.get(*row).unwrap_or(i64::MAX), owner: owner_of[*row as usize], row: *row })
        .collect();
    keys.sort_unstable_by_key(|key| (key.time, key.row));
    let timed = keys.partition_point(|key| times.codes.get(key.row).is_some());
    let mut lengths = Vec::new();
    times.split(&keys[..timed], Span::Year, &mut lengths);
    lengths.extend((timed < keys.len()).then(|| keys.len() - timed));
    let mut start = 0;
    for length in lengths {
        let run = &mut keys[start..start + length];
        let (low, high) = if start < timed { (run[0].time, run[length - 1].time) } else { (i64::MAX, i64::MIN) };
        runs.push((first + start as u64, Run { low, high, owners, start: 0 }));
        run.sort_unstable_by_key(|key| (key.owner, key.time, key.row));
        start += length;
    }
    rows.iter_mut().zip(&keys).for_each(|(row, key)| *row = key.row);
    runs
}

/// A row by its time.
struct Timed {
    time: i64,
    owner: u32,
    row: u32,
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
    codes: Codes<'t>,
}

impl<'t> Times<'t> {
    fn of(table: &'t TableState, column: ColumnId) -> Result<Times<'t>> {
        let reader = table.reader(column)?;
        Ok(Times { data_type: reader.data_type(), codes: Codes::of(table, &reader)? })
    }

    /// Splits rows, ascending by time, into runs of one span each, and those again where finer spans have enough rows; the
    /// lengths of the runs come in `lengths`.
    fn split(&self, rows: &[Timed], span: Span, lengths: &mut Vec<usize>) {
        let same = |span: Span, a: &Timed, b: &Timed| span.of(self.data_type, a.time) == span.of(self.data_type, b.time);
        for run in rows.chunk_by(|a, b| same(span, a, b)) {
            match span.finer() {
                Some(finer) if run.len() >= 2 * RUN_ROWS => {
                    let parts = run.chunk_by(|a, b| same(finer, a, b)).count();
                    if run.len() >= parts * RUN_ROWS {
                        self.split(run, finer, lengths);
                    } else {
                        lengths.push(run.len());
                    }
                }
                _ => lengths.push(run.len()),
            }
        }
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

/// What is kept of each owner's rows, by chunks of owners.
pub(super) struct Summaries<'t> {
    order: &'t Order,
    /// Ordinals of owners.
    owners: usize,
    each: Vec<(Summary, DataType, Option<Codes<'t>>)>,
}

impl<'t> Summaries<'t> {
    pub(super) fn new(table: &'t TableState, owner: &Owner, owners: &TableState, order: &'t Order) -> Result<Summaries<'t>> {
        let each = table.schema().summaries.iter().map(|summary| {
            let of = match summary.kind {
                SummaryKind::Count => None,
                SummaryKind::First | SummaryKind::Last => owner.time,
                SummaryKind::Sum(column) => Some(column),
            };
            let codes = match of {
                Some(column) => Some(Codes::of(table, &table.reader(column)?)?),
                None => None,
            };
            Ok((*summary, table.type_of(*summary), codes))
        });
        Ok(Summaries { order, owners: owners.extent().ordinals as usize, each: each.collect::<Result<_>>()? })
    }

    /// Chunks of owners.
    pub(super) fn chunks(&self) -> usize {
        self.owners.div_ceil(CHUNK_MEMBERS)
    }

    /// The columns, as parts name them.
    pub(super) fn columns(&self) -> Vec<u32> {
        self.each.iter().map(|(summary, ..)| summary.column.0).collect()
    }

    /// Writes some chunks of owners, all of one range. A sum that 64 bits do not hold is an error.
    pub(super) fn write(&self, chunks: Range<usize>, part: &mut PartWriter) -> Result<()> {
        for (summary, data_type, codes) in &self.each {
            let sections = chunks.clone().into_par_iter().map(|chunk| self.sections(chunk, summary, *data_type, codes.as_ref()));
            for (chunk, sections) in chunks.clone().zip(sections.collect::<Result<Vec<_>>>()?) {
                append(part, summary.column, (chunk % RANGE_CHUNKS) as u16, sections)?;
            }
        }
        Ok(())
    }

    fn sections(
        &self,
        chunk: usize,
        summary: &Summary,
        data_type: DataType,
        codes: Option<&Codes<'_>>,
    ) -> Result<Vec<EncodedSection>> {
        let here = self.owners.saturating_sub(chunk * CHUNK_MEMBERS).min(CHUNK_MEMBERS);
        let (mut kept, mut nulls) = (vec![0i64; here], vec![summary.kind != SummaryKind::Count; here]);
        for at in self.order.starts[chunk]..self.order.starts[chunk + 1] {
            let owner = (self.order.owners[at] & 0xffff) as usize;
            let Some(codes) = codes else {
                kept[owner] += 1;
                continue;
            };
            let Some(code) = codes.get(self.order.rows[at]) else { continue };
            let first = std::mem::replace(&mut nulls[owner], false);
            let kept = &mut kept[owner];
            *kept = match summary.kind {
                _ if first => code,
                SummaryKind::First => code.min(*kept),
                SummaryKind::Last => code.max(*kept),
                SummaryKind::Sum(_) | SummaryKind::Count => kept.checked_add(code).ok_or_else(|| {
                    Error::Invalid("the sum of an owner's rows does not fit 64 bits; import without keeping sums".into())
                })?,
            };
        }
        // How many there are is a byte that is read through; all else has a range index.
        let indexed = summary.kind != SummaryKind::Count;
        Ok(encode_codes(data_type, indexed, 0, &kept, &nulls))
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
        let codes = Codes { values: Vec::new(), nulls: Vec::new() };
        let times = Times { data_type: DataType::Date, codes };
        let lengths = |days: &[(i64, usize)]| {
            let rows = days.iter().flat_map(|(day, rows)| (0..*rows).map(|_| Timed { time: *day, owner: 0, row: 0 }));
            let mut lengths = Vec::new();
            times.split(&rows.collect::<Vec<_>>(), Span::Year, &mut lengths);
            lengths
        };
        let january = days_from_civil(2026, 1, 1);
        assert_eq!(lengths(&[(january, 500), (january + 40, 500)]), [1_000], "a year of few rows");
        assert_eq!(lengths(&[(january, 1_500), (january + 40, 1_500)]), [1_500, 1_500], "months");
        assert_eq!(lengths(&[(january - 1, 1), (january, 1)]), [1, 1], "years are apart");
        // Thursday and Friday of a week of many rows, and a Monday.
        assert_eq!(lengths(&[(january, 3_000), (january + 1, 1_200), (january + 4, 1_100)]), [3_000, 1_200, 1_100]);
        assert_eq!(lengths(&[]), []);
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
