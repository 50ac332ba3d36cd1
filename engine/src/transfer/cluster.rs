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
use crate::index::encode::{
    EncodedSection, encode_cells, encode_codes, set_section, words_of as words_of_bits,
};
use crate::index::owners::{NOBODYS, Run, owners_section};
use crate::index::values::ValuesRef;
use crate::kernel;
use crate::member::{Key, KeyCollector, lookup};
use crate::schema::{Column, ColumnId, DataType, Owner, Summary, SummaryKind};
use crate::table::{ColumnReader, TableState};
use crate::writer::apply::Before;
use crate::{Error, Result};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use muster_storage::chunk::Words;
use muster_storage::format::{CHUNK_MEMBERS, RANGE_CHUNKS, SectionKind};
use muster_storage::part::{PartWriter, SectionStats};
use rayon::prelude::*;
use std::ops::Range;

/// Keys that are looked up together.
const KEYS_AT_ONCE: usize = 1 << 18;

/// The fewest rows that the runs of a span have on average: one that gives fewer is too fine.
const RUN_ROWS: usize = 1_024;

const MICROS_PER_HOUR: i64 = MICROS_PER_DAY / 24;

/// Chunks that are made while as many are written.
const CHUNKS_AT_ONCE: usize = 4;

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

impl Order {
    /// Rows that belong to nobody.
    pub(super) fn nobodys(&self) -> u64 {
        let last = self.starts.len().saturating_sub(2);
        (self.rows.len() - self.starts.get(last).copied().unwrap_or(0)) as u64
    }
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
pub(super) fn order(
    table: &TableState,
    owner: &Owner,
    owners: &TableState,
    cancel: &Cancel,
) -> Result<Order> {
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
    let spans = times.spans(rows);
    // Rows by their run; those without a time come last.
    let mut starts = vec![0usize; spans.runs.len() + 2];
    let run_of: Vec<u32> = rows.iter().map(|row| spans.run_of(times, *row)).collect();
    run_of.iter().for_each(|run| starts[*run as usize + 1] += 1);
    (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
    let mut next = starts.clone();
    let mut keys = vec![(0u64, 0u32); rows.len()];
    for (row, run) in rows.iter().zip(&run_of) {
        let slot = &mut next[*run as usize];
        let since = times.codes.get(*row).map_or(0, |time| time.wrapping_sub(spans.first) as u64);
        keys[*slot] = (u64::from(owner_of[*row as usize] & 0xffff) << 48 | since & (u64::MAX >> 16), *row);
        *slot += 1;
    }
    for (run, bounds) in starts.windows(2).enumerate().filter(|(_, bounds)| bounds[0] < bounds[1]) {
        let keys = &mut keys[bounds[0]..bounds[1]];
        keys.sort_unstable();
        let codes = keys.iter().filter_map(|(_, row)| times.codes.get(*row));
        let (low, high) =
            codes.fold((i64::MAX, i64::MIN), |(low, high), code| (low.min(code), high.max(code)));
        debug_assert!((run == spans.runs.len()) == (low > high), "rows without a time are in the last run");
        runs.push((first + bounds[0] as u64, Run { low, high, owners, start: 0 }));
    }
    rows.iter_mut().zip(&keys).for_each(|(row, key)| *row = key.1);
    runs
}

/// The ordinal of each row's owner.
fn owners_of(table: &TableState, owner: &Owner, owners: &TableState, cancel: &Cancel) -> Result<Vec<u32>> {
    let reader = table.reader(owner.column)?;
    let mut found = vec![NO_OWNER; table.extent().ordinals as usize];
    found.par_chunks_mut(KEYS_AT_ONCE).enumerate().try_for_each(|(nth, found)| {
        cancel.check()?;
        let first = (nth * KEYS_AT_ONCE / CHUNK_MEMBERS) as u32;
        owners_in(table, owner, &reader, owners, first, found)
    })?;
    Ok(found)
}

/// The ordinals of the owners of the rows of some chunks.
fn owners_in(
    table: &TableState,
    owner: &Owner,
    reader: &ColumnReader<'_>,
    owners: &TableState,
    first: u32,
    found: &mut [u32],
) -> Result<()> {
    let view = table.dictionary(owner.column).map(|dictionary| dictionary.view()).transpose()?;
    let (mut keys, mut places): (Vec<Key<'_>>, Vec<u32>) = (Vec::new(), Vec::new());
    for (chunk, base) in (first..).zip((0..found.len()).step_by(CHUNK_MEMBERS)) {
        let rows = (found.len() - base).min(CHUNK_MEMBERS);
        let nulls = words_of(reader.nulls(chunk)?);
        let (strings, values) = (reader.strings(chunk)?, reader.values(chunk)?);
        for row in (0..rows).filter(|row| !kernel::has(&nulls, *row as u16)) {
            let key = match (strings, values, view) {
                (Some(strings), _, _) => Key::Text(strings.get(row)),
                (None, Some(values), Some(view)) => Key::Text(view.get(values.get(row) as u32)),
                (None, Some(values), None) => Key::Integer(values.get(row)),
                (None, None, _) => continue,
            };
            keys.push(key);
            places.push((base + row) as u32);
        }
    }
    for (place, ordinal) in places.into_iter().zip(lookup(owners, &keys)?) {
        if let Some(ordinal) = ordinal {
            found[place as usize] = ordinal;
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

    /// The runs of some rows.
    fn spans(&self, rows: &[u32]) -> Spans {
        let times = || rows.iter().filter_map(|row| self.codes.get(*row));
        let Some(first) = times().min() else { return Spans { first: 0, runs: Vec::new() } };
        let day_of = |time| Span::Day.of(self.data_type, time);
        let mut days: HashMap<i64, usize, FixedState> = HashMap::default();
        times().for_each(|time| *days.entry(day_of(time)).or_insert(0) += 1);
        let mut days: Vec<(i64, usize)> = days.into_iter().collect();
        days.sort_unstable();
        let mut runs = Vec::new();
        self.split(&days, Span::Year, &mut runs);
        Spans { first, runs }
    }

    /// Splits days with their rows, ascending, into runs of one span each, and those again where finer spans have enough rows:
    /// the first hour of each run, counted from 1970.
    fn split(&self, days: &[(i64, usize)], span: Span, runs: &mut Vec<i64>) {
        let same = |span: Span, a: i64, b: i64| span.of(DataType::Date, a) == span.of(DataType::Date, b);
        for run in days.chunk_by(|a, b| same(span, a.0, b.0)) {
            let rows: usize = run.iter().map(|(_, rows)| rows).sum();
            match span.finer() {
                // Hours are not counted: a day of many rows has all of its.
                Some(Span::Hour) if rows >= 24 * RUN_ROWS && self.data_type != DataType::Date => {
                    runs.extend((0..24).map(|hour| run[0].0 * 24 + hour));
                }
                Some(finer) if finer != Span::Hour && rows >= 2 * RUN_ROWS => {
                    let parts = run.chunk_by(|a, b| same(finer, a.0, b.0)).count();
                    if rows >= parts * RUN_ROWS {
                        self.split(run, finer, runs);
                    } else {
                        runs.push(run[0].0 * 24);
                    }
                }
                _ => runs.push(run[0].0 * 24),
            }
        }
    }
}

/// Where the runs of some rows begin.
struct Spans {
    /// The first time.
    first: i64,
    /// The first hour of each run, ascending.
    runs: Vec<i64>,
}

impl Spans {
    /// The run of a row; that of rows without a time comes after all.
    fn run_of(&self, times: &Times<'_>, row: u32) -> u32 {
        match times.codes.get(row) {
            Some(time) => {
                let hour = Span::Hour.of(times.data_type, time);
                self.runs.partition_point(|first| *first <= hour).saturating_sub(1) as u32
            }
            None => self.runs.len() as u32,
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

    /// Writes the chunks of a range, in order: their columns to `part`, whose their rows are to `owners`, their keys to `keys`.
    /// While some chunks are written, the next are made.
    pub(super) fn write(
        &mut self,
        chunks: Range<usize>,
        part: &mut PartWriter,
        owners: &mut PartWriter,
        keys: &mut KeyCollector,
        cancel: &Cancel,
    ) -> Result<()> {
        let batches: Vec<Range<usize>> = (chunks.clone().step_by(CHUNKS_AT_ONCE))
            .map(|first| first..chunks.end.min(first + CHUNKS_AT_ONCE))
            .collect();
        let mut made: Option<(Range<usize>, Vec<Gathered>)> = None;
        for batch in batches.into_iter().map(Some).chain([None]) {
            cancel.check()?;
            let (written, next) = rayon::join(
                || match made {
                    Some((chunks, made)) => self.append(chunks, made, part, keys),
                    None => Ok(()),
                },
                || batch.map(|batch| self.gather(batch.clone()).map(|made| (batch, made))).transpose(),
            );
            written?;
            made = next?;
        }
        for chunk in chunks {
            let first = chunk * CHUNK_MEMBERS;
            let rows = first..self.order.rows.len().min(first + CHUNK_MEMBERS);
            let section = self.owners_section(rows);
            append(owners, self.ordinals, (chunk % RANGE_CHUNKS) as u16, [section])?;
        }
        Ok(())
    }

    /// The rows of a chunk.
    fn rows(&self, chunk: usize) -> &'t [u32] {
        let first = chunk * CHUNK_MEMBERS;
        &self.order.rows[first..self.order.rows.len().min(first + CHUNK_MEMBERS)]
    }

    /// The sections of some chunks, chunk by chunk and column by column.
    fn gather(&self, chunks: Range<usize>) -> Result<Vec<Gathered>> {
        let (first, width) = (chunks.start, self.columns.len());
        let each = (0..chunks.len() * width).into_par_iter().with_max_len(1).map(|at| {
            let (rows, (column, source, entries)) =
                (self.rows(first + at / width), &self.columns[at % width]);
            gathered(column, source, *entries, rows, self.key == Some(at % width))
        });
        each.collect()
    }

    fn append(
        &self,
        chunks: Range<usize>,
        made: Vec<Gathered>,
        part: &mut PartWriter,
        keys: &mut KeyCollector,
    ) -> Result<()> {
        let mut made = made.into_iter();
        for chunk in chunks {
            let within = (chunk % RANGE_CHUNKS) as u16;
            let live = set_section(SectionKind::Sets, &words_of_bits(self.rows(chunk).iter().map(|_| true)));
            append(part, ColumnId::LIVE, within, live)?;
            for ((column, ..), (sections, values)) in self.columns.iter().zip(&mut made) {
                append(part, column.id, within, sections)?;
                match values {
                    Some(ColumnValues::Code(codes)) => {
                        codes.iter().for_each(|code| keys.push(Key::Integer(*code)));
                    }
                    Some(ColumnValues::Text(texts)) => {
                        (0..texts.len()).for_each(|row| keys.push(Key::Text(texts.get(row))));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
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
    pub(super) fn new(
        table: &'t TableState,
        owner: &Owner,
        owners: &TableState,
        order: &'t Order,
    ) -> Result<Summaries<'t>> {
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
            let sections = chunks
                .clone()
                .into_par_iter()
                .map(|chunk| self.sections(chunk, summary, *data_type, codes.as_ref()));
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
                    Error::Invalid(
                        "the sum of an owner's rows does not fit 64 bits; import without keeping sums".into(),
                    )
                })?,
            };
        }
        // How many there are is a byte that is read through; the first time is asked for less than the last.
        let indexed = matches!(summary.kind, SummaryKind::Last | SummaryKind::Sum(_));
        Ok(encode_codes(data_type, indexed, 0, &kept, &nulls))
    }
}

fn truths(table: &TableState, reader: &ColumnReader<'_>) -> Result<Vec<(Box<Words>, Box<Words>)>> {
    let both =
        |chunk| Ok((Box::new(words_of(reader.set(chunk, 0)?)), Box::new(words_of(reader.nulls(chunk)?))));
    (0..table.chunks()).map(both).collect()
}

/// The sections of a column of a chunk; of the key its values too.
type Gathered = (Vec<EncodedSection>, Option<ColumnValues>);

fn gathered(
    column: &Column,
    source: &Source<'_>,
    entries: usize,
    rows: &[u32],
    is_key: bool,
) -> Result<Gathered> {
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
            let cells =
                rows.iter().map(|row| before.cell(column.data_type, *row)).collect::<Result<Vec<Cell>>>()?;
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
        let (times, january) = (Times { data_type: DataType::Date, codes }, days_from_civil(2026, 1, 1));
        let runs = |days: &[(i64, usize)]| {
            let mut runs = Vec::new();
            times.split(days, Span::Year, &mut runs);
            runs.into_iter().map(|hour| hour / 24 - january).collect::<Vec<_>>()
        };
        assert_eq!(runs(&[(january, 500), (january + 40, 500)]), [0], "a year of few rows");
        assert_eq!(runs(&[(january, 1_500), (january + 40, 1_500)]), [0, 40], "months");
        assert_eq!(runs(&[(january - 1, 1), (january, 1)]), [-1, 0], "years are apart");
        // Thursday and Friday of a week of many rows, and a Monday.
        assert_eq!(runs(&[(january, 3_000), (january + 1, 1_200), (january + 4, 1_100)]), [0, 1, 4]);
        assert!(runs(&[]).is_empty());
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
        assert!(
            Span::ALL
                .iter()
                .all(|span| span.of(DataType::Timestamp, i64::MIN) < span.of(DataType::Timestamp, i64::MAX))
        );
    }
}
