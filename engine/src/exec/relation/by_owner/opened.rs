//! The rows of a table that belong to some owners side by side: in the order of their owners, those of one as they are stored; or, where
//! steps take them so, all as they are stored.
//!
//! ```text
//! runs of the chunk, each in the order of owners      owners 0..4096        owners 4096..8192
//!   January   0 0 3 7 … 4095 │ 4098 … │ …       ─▶   0 0 0 2 3 3 7 …  ─▶  4097 4098 4098 …
//!   February  0 2 3   …      │ 4097 … │ …            (counted, then each row to its place)
//! ```
//!
//! What some owners have is a piece of each run, so values are read in the order in which they are stored and put in their places
//! within a cache.

use super::batch::{Batch, Segment, Segments};
use super::cut::Cut;
use super::source::Source;
use super::stored::in_time;
use crate::exec::compute::{self, Coded, Inputs, Kind, Lane, Numbers};
use crate::exec::words_of;
use crate::index::owners::Bounds;
use crate::index::values::{Residuals, ValuesRef};
use crate::kernel;
use crate::value::Value;
use crate::{Error, Result};
use muster_storage::chunk::Words;
use muster_storage::format::BITSET_WORDS;
use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

const LINE_BYTES: usize = 64;

/// Owners of rows that are compared with a bound at once: two lines.
const HALVES_AT_ONCE: usize = 64;

/// With rows of fewer than one owner in so many, owners without are not looked at.
const OWNERS_SHARE: usize = 8;

/// A table, open at a chunk of owners.
pub(super) struct Opened<'s, 'a> {
    source: &'s Source<'a>,
    runs: Vec<Run<'a>>,
    /// The columns that were asked for.
    columns: Vec<OnceCell<Column<'a>>>,
    last: RefCell<Last<'a>>,
}

/// Rows of one chunk that are in the order of their owners, and as they are stored.
pub(super) struct Run<'a> {
    pub(super) chunk: u32,
    /// The low halves of their owners' ordinals.
    pub(super) halves: Cow<'a, [u16]>,
    pub(super) rows: RunRows,
    /// When they happened, where that is known: none of them has NULL then.
    pub(super) times: Bounds,
}

/// Where a table has a value.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// It is the row's ordinal.
    Ordinal,
    /// A column that is read.
    Column(usize),
    /// A time that is cut.
    Cut(usize),
}

/// The low halves of the ordinals of a run's rows.
pub(super) enum RunRows {
    /// All from this one on.
    From(u32),
    Listed(Vec<u16>),
}

/// What was asked for last: several steps may read the same rows, and the next are right behind.
#[derive(Default)]
struct Last<'a> {
    span: Range<u32>,
    rows: Rc<Rows<'a>>,
    /// Where each run goes on.
    cursors: Vec<usize>,
}

/// Some rows.
#[derive(Default)]
pub(super) struct Rows<'a> {
    /// Whose they are, where they are put in the order of their owners.
    segments: Rc<Segments>,
    /// Where they were found: a run, and which of its rows.
    pieces: Vec<(usize, Range<usize>)>,
    len: usize,
    places: Places,
    ordinals: OnceCell<Vec<u32>>,
    lanes: Vec<OnceCell<Arc<Lane<'a>>>>,
    cuts: Vec<OnceCell<Arc<Lane<'a>>>>,
}

/// Where each of some rows goes, in the order in which they were found.
#[derive(Default)]
enum Places {
    /// Behind the one before.
    #[default]
    AsStored,
    Each(Vec<u32>),
}

impl Places {
    /// Of so many rows none has a value yet.
    fn none<T: Copy + Default>(&self, count: usize) -> Vec<T> {
        match self {
            Places::AsStored => Vec::with_capacity(count),
            Places::Each(_) => vec![T::default(); count],
        }
    }

    /// Puts values of some of the rows in their places, those of one behind those of the other.
    #[inline(always)]
    fn put<T: Copy + Default>(&self, rows: Range<usize>, values: impl Iterator<Item = T>, out: &mut Vec<T>) {
        match self {
            Places::AsStored => {
                out.resize(rows.start, T::default());
                out.extend(values);
            }
            Places::Each(places) => {
                places[rows].iter().zip(values).for_each(|(place, value)| out[*place as usize] = value);
            }
        }
    }
}

impl Run<'_> {
    /// The low half of the ordinal of a row.
    pub(super) fn row(&self, at: usize) -> u32 {
        match &self.rows {
            RunRows::From(first) => first + at as u32,
            RunRows::Listed(rows) => u32::from(rows[at]),
        }
    }

    /// The greatest of all.
    fn last(&self) -> u32 {
        match &self.rows {
            RunRows::From(first) => first + self.halves.len().saturating_sub(1) as u32,
            RunRows::Listed(rows) => rows.iter().max().map_or(0, |row| u32::from(*row)),
        }
    }
}

/// A column, open where rows were found.
enum Column<'a> {
    /// Exact numbers: of each run.
    Exact(Kind, Vec<Part<'a>>),
    /// Anything else is read as expressions read it.
    Read,
}

/// The numbers of a chunk.
#[derive(Clone)]
enum Part<'a> {
    /// As they were imported; the rows that are NULL where some are.
    Stored(ValuesRef<'a>, Option<Rc<Words>>),
    /// All are NULL.
    Null,
    /// Some were written since.
    Changed,
}

impl<'s, 'a> Opened<'s, 'a> {
    pub(super) fn new(source: &'s Source<'a>, runs: Vec<Run<'a>>) -> Opened<'s, 'a> {
        let columns = source.readers.iter().map(|_| OnceCell::new()).collect();
        let last = RefCell::new(Last { cursors: vec![0; runs.len()], ..Last::default() });
        Opened { source, runs, columns, last }
    }

    pub(super) fn rows_found(&self) -> u64 {
        self.runs.iter().map(|run| run.halves.len() as u64).sum()
    }

    /// The bytes that the rows found hold; those that are found in their order are read in place.
    pub(super) fn held(&self) -> usize {
        let of_run = |run: &Run<'_>| {
            let halves = if let Cow::Owned(halves) = &run.halves { halves.capacity() } else { 0 };
            let rows = if let RunRows::Listed(rows) = &run.rows { rows.capacity() } else { 0 };
            (halves + rows) * size_of::<u16>()
        };
        self.runs.iter().map(of_run).sum()
    }

    /// The rows of some owners, of `only` those where not all are asked: the values at these places, where they are `wanted`.
    pub(super) fn rows(
        &self,
        span: &Range<u32>,
        only: Option<&Words>,
        places: &[Place],
        wanted: &[bool],
    ) -> Result<Batch<'a>> {
        let rows = self.all(span);
        let batch = Batch {
            lanes: self.lanes(&rows, places, wanted)?,
            len: rows.len,
            segments: Rc::clone(&rows.segments),
        };
        let asked = |half: u16| only.is_none_or(|only| kernel::has(only, half));
        if batch.segments.iter().all(|segment| asked(segment.half)) {
            return Ok(batch);
        }
        let mut some = Vec::with_capacity(batch.len);
        batch.owners().filter(|(half, _)| asked(*half)).for_each(|(_, owned)| {
            some.extend(owned.start as u32..owned.end as u32);
        });
        Ok(batch.retained(&some, wanted))
    }

    /// The values of rows at some places, where they are `wanted`.
    pub(super) fn lanes(
        &self,
        rows: &Rows<'a>,
        places: &[Place],
        wanted: &[bool],
    ) -> Result<Vec<Arc<Lane<'a>>>> {
        let lanes = places.iter().zip(wanted).map(|(place, wanted)| match place {
            _ if !wanted || rows.len == 0 => Ok(Arc::new(Lane::Same(Value::Null))),
            Place::Ordinal => {
                let ordinals = self.ordinals(rows).iter().map(|row| i64::from(*row));
                Ok(Arc::new(Lane::Exact(Kind::Integer, ordinals.collect::<Vec<_>>().into())))
            }
            Place::Column(column) => self.lane(rows, *column),
            Place::Cut(cut) => self.cut(rows, *cut),
        });
        lanes.collect()
    }

    /// True where the rows of each owner are stored as time goes on, and none is without a time.
    pub(super) fn is_in_time(&self) -> Result<bool> {
        in_time(&self.runs, |run, at| self.time(run, at))
    }

    /// When a row of a run happened, where that is read.
    fn time(&self, run: usize, at: usize) -> Result<Option<i64>> {
        let Some(column) = self.source.place_of_time() else { return Ok(None) };
        Ok(match self.opened(column)? {
            Some(Column::Exact(_, parts)) => match &parts[run] {
                Part::Stored(stored, None) => Some(stored.get(self.runs[run].row(at) as usize)),
                _ => None,
            },
            _ => None,
        })
    }

    /// All rows as they are stored, so many at a time, with the low halves of their owners' ordinals.
    pub(super) fn as_stored(&self, at_once: usize) -> impl Iterator<Item = (Vec<u16>, Rows<'a>)> + '_ {
        let (mut number, mut start) = (0, 0);
        std::iter::from_fn(move || {
            let (mut halves, mut pieces) = (Vec::with_capacity(at_once), Vec::new());
            while let Some(run) = self.runs.get(number).filter(|_| halves.len() < at_once) {
                let end = run.halves.len().min(start + at_once - halves.len());
                halves.extend_from_slice(&run.halves[start..end]);
                pieces.push((number, start..end));
                start = end;
                if end == run.halves.len() {
                    (number, start) = (number + 1, 0);
                }
            }
            let rows = self.empty(pieces, halves.len(), Places::AsStored);
            (rows.len > 0).then_some((halves, rows))
        })
    }

    /// Rows of which no value was read.
    fn empty(&self, pieces: Vec<(usize, Range<usize>)>, len: usize, places: Places) -> Rows<'a> {
        let lanes = self.columns.iter().map(|_| OnceCell::new()).collect();
        let cuts = self.source.cuts.iter().map(|_| OnceCell::new()).collect();
        Rows { pieces, len, places, lanes, cuts, ..Rows::default() }
    }

    /// All rows of some owners.
    fn all(&self, span: &Range<u32>) -> Rc<Rows<'a>> {
        let last = &mut *self.last.borrow_mut();
        if last.span == *span {
            return Rc::clone(&last.rows);
        }
        if last.span.end != span.start {
            for (cursor, run) in last.cursors.iter_mut().zip(&self.runs) {
                *cursor = run.halves.partition_point(|half| u32::from(*half) < span.start);
            }
        }
        let (mut pieces, mut found) = (Vec::with_capacity(self.runs.len()), 0);
        for (number, (cursor, run)) in last.cursors.iter_mut().zip(&self.runs).enumerate() {
            let start = *cursor;
            let end = end_of(&run.halves, start, span.end);
            if end > start {
                found += end - start;
                pieces.push((number, start..end));
                // The next owners have about as many, right behind; of dozens of runs no processor foresees that.
                let behind = end..(2 * end - start).min(run.halves.len());
                behind.step_by(LINE_BYTES / 2).for_each(|at| kernel::prefetch(&run.halves, at));
            }
            *cursor = end;
        }
        let (segments, places) = match found < span.len() / OWNERS_SHARE {
            true => self.put_few(span, &pieces, found),
            false => self.put_many(span, &pieces, found),
        };
        let rows = self.empty(pieces, found, Places::Each(places));
        let rows = Rows { segments: Rc::new(segments.into()), ..rows };
        (last.span, last.rows) = (span.clone(), Rc::new(rows));
        Rc::clone(&last.rows)
    }

    /// The owners of some rows, and the place of each row among those of all; a number of each owner is counted.
    fn put_many(
        &self,
        span: &Range<u32>,
        pieces: &[(usize, Range<usize>)],
        found: usize,
    ) -> (Vec<Segment>, Vec<u32>) {
        let mut next = vec![0u32; span.len()];
        for (run, piece) in pieces {
            count(&self.runs[*run].halves[piece.clone()], &mut next);
        }
        let segments = begun(span, found, &mut next);
        let (mut places, mut done) = (vec![0; found], 0);
        for (run, piece) in pieces {
            let of_piece = &mut places[done..done + piece.len()];
            put_in_places(&self.runs[*run].halves[piece.clone()], &mut next, of_piece);
            done += piece.len();
        }
        (segments, places)
    }

    /// [`Self::put_many`], where few of the owners have rows: only of these there are numbers.
    fn put_few(
        &self,
        span: &Range<u32>,
        pieces: &[(usize, Range<usize>)],
        found: usize,
    ) -> (Vec<Segment>, Vec<u32>) {
        // Damaged bytes may have others than those of the span: they are taken for these.
        let halves = pieces.iter().flat_map(|(run, piece)| &self.runs[*run].halves[piece.clone()]);
        let halves = || halves.clone().map(|half| in_span(*half, span));
        let (mut present, mut before) = ([0u64; BITSET_WORDS], [0u32; BITSET_WORDS]);
        halves().for_each(|half| present[usize::from(half) / 64] |= 1 << (half % 64));
        let mut owners = 0;
        for (before, word) in before.iter_mut().zip(&present) {
            (*before, owners) = (owners, owners + word.count_ones());
        }
        let place = |half: u16| {
            let word = usize::from(half) / 64;
            (before[word] + (present[word] & ((1 << (half % 64)) - 1)).count_ones()) as usize
        };
        let mut next = vec![0u32; owners as usize];
        halves().for_each(|half| next[place(half)] += 1);
        let (mut segments, mut end, mut members) = (Vec::with_capacity(next.len()), 0, Vec::new());
        kernel::decode_members(&present, owners, &mut members);
        for (half, next) in members.into_iter().zip(&mut next) {
            end += std::mem::replace(next, end);
            segments.push(Segment { half, end });
        }
        let mut places = Vec::with_capacity(found);
        places.extend(halves().map(|half| {
            let next = &mut next[place(half)];
            std::mem::replace(next, *next + 1)
        }));
        (segments, places)
    }

    fn ordinals<'r>(&self, rows: &'r Rows<'a>) -> &'r [u32] {
        rows.ordinals.get_or_init(|| {
            let mut ordinals = rows.places.none(rows.len);
            let stored = rows.pieces.iter().flat_map(|(run, piece)| {
                let run = &self.runs[*run];
                piece.clone().map(|at| run.chunk << 16 | run.row(at))
            });
            rows.places.put(0..rows.len, stored, &mut ordinals);
            ordinals
        })
    }

    /// The values of a column.
    fn lane(&self, rows: &Rows<'a>, column: usize) -> Result<Arc<Lane<'a>>> {
        if let Some(lane) = rows.lanes[column].get() {
            return Ok(Arc::clone(lane));
        }
        let lane = match self.opened(column)? {
            Some(Column::Exact(kind, parts)) => {
                Arc::new(Lane::Exact(*kind, self.exact(rows, column, parts)?))
            }
            _ => self.read(self.ordinals(rows), column)?,
        };
        Ok(Arc::clone(rows.lanes[column].get_or_init(|| lane)))
    }

    /// Times cut to a unit: of most runs all are the same, so that they are not even read.
    fn cut(&self, rows: &Rows<'a>, number: usize) -> Result<Arc<Lane<'a>>> {
        if let Some(lane) = rows.cuts[number].get() {
            return Ok(Arc::clone(lane));
        }
        let cut = &self.source.cuts[number];
        let coded = match self.opened(cut.column)? {
            Some(Column::Exact(_, parts)) => self.cut_codes(rows, cut, parts),
            _ => None,
        };
        let lane = match coded {
            Some(lane) => Arc::new(lane),
            None => cut.of(self.lane(rows, cut.column)?, rows.len)?,
        };
        Ok(Arc::clone(rows.cuts[number].get_or_init(|| lane)))
    }

    /// The codes of the units that times lie in; `None` where some have none.
    fn cut_codes(&self, rows: &Rows<'a>, cut: &Cut, parts: &[Part<'a>]) -> Option<Lane<'a>> {
        let units = cut.units?;
        let mut codes = rows.places.none(rows.len);
        let mut done = 0;
        for (number, piece) in &rows.pieces {
            let (run, some) = (&self.runs[*number], done..done + piece.len());
            done = some.end;
            let same = match &parts[*number] {
                Part::Stored(stored, nulls) => match cut.code_within(run.times) {
                    Some(code) => code,
                    None => {
                        let is_null =
                            |row: u32| nulls.as_ref().is_some_and(|nulls| kernel::has(nulls, row as u16));
                        let mut all_known = true;
                        let each = piece.clone().map(|at| run.row(at)).map(|row| {
                            let code =
                                if is_null(row) { None } else { Some(cut.code(stored.get(row as usize))) };
                            all_known &= code != Some(None);
                            code.flatten().unwrap_or(units.null())
                        });
                        rows.places.put(some, each, &mut codes);
                        if !all_known {
                            return None;
                        }
                        continue;
                    }
                },
                Part::Null => units.null(),
                Part::Changed => return None,
            };
            rows.places.put(some, piece.clone().map(|_| same), &mut codes);
        }
        Some(Lane::Coded(cut.kind, Coded { codes, of: &units.beginnings }))
    }

    /// A column, open where rows were found.
    fn opened(&self, column: usize) -> Result<Option<&Column<'a>>> {
        if self.columns[column].get().is_none() {
            let opened = self.open(column)?;
            self.columns[column].get_or_init(|| opened);
        }
        Ok(self.columns[column].get())
    }

    /// Opens a column where rows were found.
    fn open(&self, column: usize) -> Result<Column<'a>> {
        let reader = &self.source.readers[column].0;
        let Some(kind) = Kind::of(reader.data_type()) else { return Ok(Column::Read) };
        let mut parts: Vec<Part<'a>> = Vec::with_capacity(self.runs.len());
        for some in self.runs.chunk_by(|a, b| a.chunk == b.chunk) {
            let chunk = some[0].chunk;
            let last = some.iter().map(|run| run.last() as usize).max().unwrap_or(0);
            let values = reader.values(chunk)?;
            let part =
                if reader.is_changed(chunk) || values.as_ref().is_some_and(|values| last >= values.rows) {
                    Part::Changed
                } else if let Some(values) = values {
                    // Rows that are listed lie far from each other: all are asked of the cache at once.
                    for run in some {
                        if let RunRows::Listed(rows) = &run.rows {
                            rows.iter().for_each(|row| values.residuals.prefetch(usize::from(*row)));
                        }
                    }
                    let nulls = reader.nulls(chunk)?;
                    let nulls = (nulls.cardinality() > 0).then(|| Rc::new(words_of(nulls)));
                    Part::Stored(values, nulls)
                } else {
                    Part::Null
                };
            parts.resize(parts.len() + some.len(), part);
        }
        Ok(Column::Exact(kind, parts))
    }

    /// Exact numbers, each in its place.
    fn exact(&self, rows: &Rows<'a>, column: usize, parts: &[Part<'a>]) -> Result<Numbers> {
        let mut values = rows.places.none(rows.len);
        let mut nulls: Option<Vec<bool>> = None;
        let mut done = 0;
        for (number, piece) in &rows.pieces {
            let (run, places, some) = (&self.runs[*number], &rows.places, done..done + piece.len());
            done = some.end;
            let none = || places.none(rows.len);
            match &parts[*number] {
                Part::Stored(stored, of_chunk) => {
                    put_stored(stored, run, piece, (places, some.clone()), &mut values);
                    if let Some(of_chunk) = of_chunk {
                        let is_null = piece.clone().map(|at| kernel::has(of_chunk, run.row(at) as u16));
                        places.put(some, is_null, nulls.get_or_insert_with(none));
                    }
                }
                Part::Null => places.put(some, piece.clone().map(|_| true), nulls.get_or_insert_with(none)),
                Part::Changed => {
                    let rows: Vec<u32> = piece.clone().map(|at| run.chunk << 16 | run.row(at)).collect();
                    let lane = self.read(&rows, column)?;
                    let Lane::Exact(_, numbers) = &*lane else {
                        return Err(Error::Invalid("numbers were read as something else".into()));
                    };
                    places.put(some.clone(), numbers.values().iter().copied(), &mut values);
                    if let Some(of_these) = numbers.nulls() {
                        places.put(some, of_these.iter().copied(), nulls.get_or_insert_with(none));
                    }
                }
            }
        }
        values.resize(rows.len, 0);
        nulls.iter_mut().for_each(|nulls| nulls.resize(rows.len, false));
        Ok(Numbers::with_nulls(values, nulls))
    }

    /// A column of some rows, in any order, read chunk by chunk.
    fn read(&self, rows: &[u32], column: usize) -> Result<Arc<Lane<'a>>> {
        let (reader, dictionary) = &self.source.readers[column];
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        order.sort_unstable_by_key(|at| rows[*at as usize]);
        let mut parts = Vec::new();
        for some in order.chunk_by(|a, b| rows[*a as usize] >> 16 == rows[*b as usize] >> 16) {
            let chunk = rows[some[0] as usize] >> 16;
            let inputs = Inputs::Members { columns: vec![(reader, *dictionary)], chunk };
            let here = some.iter().map(|at| rows[*at as usize] & 0xffff).collect();
            parts.extend(compute::columns(&inputs, here, 1)?.pop().map(|lane| (lane, some.len())));
        }
        let mut place = vec![0u32; rows.len()];
        (0..).zip(&order).for_each(|(at, row)| place[*row as usize] = at);
        Ok(Arc::new(Lane::concat(parts).select(&place)))
    }
}

/// Where the rows of owners before `bound` end, which begin at `start`: not far behind, so that all up to there are compared,
/// by vector and without a branch that nobody foresees.
fn end_of(halves: &[u16], start: usize, bound: u32) -> usize {
    let Ok(bound) = u16::try_from(bound) else { return halves.len() };
    let mut end = start;
    for some in halves[start..].chunks(HALVES_AT_ONCE) {
        let before = some.iter().map(|half| u16::from(*half < bound)).sum::<u16>();
        end += usize::from(before);
        if usize::from(before) < some.len() {
            break;
        }
    }
    end
}

/// An owner of a span, which is aligned and has as many as a power of two: any other is taken for one of these.
fn in_span(half: u16, span: &Range<u32>) -> u16 {
    debug_assert!(span.len().is_power_of_two() && (span.start as usize).is_multiple_of(span.len()));
    (span.start | (u32::from(half) & (span.len() as u32 - 1))) as u16
}

/// Counts rows of owners of a span as [`in_span`] has them.
#[inline(never)]
fn count(halves: &[u16], counts: &mut [u32]) {
    let Some(mask) = counts.len().checked_sub(1) else { return };
    halves.iter().for_each(|half| counts[usize::from(*half) & mask] += 1);
}

/// Takes the next place of the owner of each row, as [`count`] has them.
#[inline(never)]
fn put_in_places(halves: &[u16], next: &mut [u32], places: &mut [u32]) {
    let Some(mask) = next.len().checked_sub(1) else { return };
    for (half, place) in halves.iter().zip(places) {
        let next = &mut next[usize::from(*half) & mask];
        *place = *next;
        *next += 1;
    }
}

/// The owners that have rows, of as many rows as are said of each; in the place of that is put where they begin.
fn begun(span: &Range<u32>, found: usize, next: &mut [u32]) -> Vec<Segment> {
    let mut segments = vec![Segment { half: 0, end: 0 }; found.min(span.len()) + 1];
    let (mut owners, mut end) = (0, 0);
    for (half, next) in span.clone().zip(next) {
        let count = std::mem::replace(next, end);
        end += count;
        segments[owners] = Segment { half: half as u16, end };
        owners += usize::from(count > 0);
    }
    segments.truncate(owners);
    segments
}

/// Puts the numbers of some rows of a run in their places.
fn put_stored(
    stored: &ValuesRef<'_>,
    run: &Run<'_>,
    piece: &Range<usize>,
    (places, some): (&Places, Range<usize>),
    out: &mut Vec<i64>,
) {
    let (base, divisor) = (stored.frame.base, stored.frame.divisor);
    let number = |residual: u64| base.wrapping_add(divisor.wrapping_mul(residual) as i64);
    macro_rules! put {
        ($residuals:expr) => {
            put!($residuals, |stored, _| u64::from(stored))
        };
        ($residuals:expr, $residual:expr) => {
            match &run.rows {
                RunRows::From(first) => {
                    let rows = *first as usize + piece.start..*first as usize + piece.end;
                    // As in the order of owners: the next have about as many, right behind.
                    let a_line = LINE_BYTES / std::mem::size_of_val(&$residuals[0]);
                    let behind = rows.end..(2 * rows.end - rows.start).min($residuals.len());
                    behind.step_by(a_line).for_each(|row| kernel::prefetch($residuals, row));
                    let each = rows.clone().zip(&$residuals[rows]);
                    places.put(some, each.map(|(row, stored)| number($residual(*stored, row))), out);
                }
                RunRows::Listed(rows) => {
                    let each = rows[piece.clone()].iter().map(|row| usize::from(*row));
                    places.put(some, each.map(|row| number($residual($residuals[row], row))), out);
                }
            }
        };
    }
    match stored.residuals {
        Residuals::U8(residuals) if stored.frame.slope == 0 => put!(residuals),
        Residuals::U16(residuals) if stored.frame.slope == 0 => put!(residuals),
        Residuals::U32(residuals) if stored.frame.slope == 0 => put!(residuals),
        Residuals::Excepted(low, exceptions) if stored.frame.slope == 0 => {
            put!(low, |low, row| exceptions.residual(low, row));
        }
        _ => {
            places.put(some, piece.clone().map(|at| stored.get(run.row(at) as usize)), out);
        }
    }
}
