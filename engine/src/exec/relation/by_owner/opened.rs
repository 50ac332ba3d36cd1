//! The rows of a table that belong to some owners side by side: in the order of their owners, those of one as they are stored.
//!
//! ```text
//! runs of the chunk, each in the order of owners      owners 0..2048        owners 2048..4096
//!   January   0 0 3 7 … 2047 │ 2050 … │ …       ─▶   0 0 0 2 3 3 7 …  ─▶  2049 2050 2050 …
//!   February  0 2 3   …      │ 2049 … │ …            (counted, then each row to its place)
//! ```
//!
//! What some owners have is a piece of each run, so values are read in the order in which they are stored and put in their places
//! within a first-level cache.

use super::batch::{Batch, Segment};
use super::found::Found;
use super::source::Source;
use crate::exec::compute::{self, Inputs, Kind, Lane, Numbers};
use crate::exec::words_of;
use crate::index::values::{Residuals, ValuesRef};
use crate::kernel;
use crate::value::Value;
use crate::{Error, Result};
use muster_storage::chunk::Words;
use std::cell::{OnceCell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

const LINE_BYTES: usize = 64;

/// A table, open at a chunk of owners.
pub(super) struct Opened<'s, 'a> {
    source: &'s Source<'a>,
    found: Found,
    /// Rows in the order of their owners.
    runs: Vec<Range<usize>>,
    /// The columns that were asked for.
    columns: Vec<OnceCell<Column<'a>>>,
    last: RefCell<Last<'a>>,
}

/// What was asked for last: several steps may read the same rows, and the next are right behind.
#[derive(Default)]
struct Last<'a> {
    span: Range<u32>,
    rows: Rc<Rows<'a>>,
    /// Where each run goes on.
    cursors: Vec<usize>,
}

/// The rows of some owners.
#[derive(Default)]
struct Rows<'a> {
    segments: Vec<Segment>,
    /// Where they were found.
    pieces: Vec<Range<usize>>,
    /// Where each goes, in the order in which they were found.
    places: Vec<u32>,
    ordinals: OnceCell<Vec<u32>>,
    lanes: Vec<OnceCell<Arc<Lane<'a>>>>,
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
    pub(super) fn new(source: &'s Source<'a>, mut found: Found) -> Opened<'s, 'a> {
        let runs = found.runs();
        let columns = source.readers.iter().map(|_| OnceCell::new()).collect();
        let cursors = runs.iter().map(|run| run.start).collect();
        let last = RefCell::new(Last { cursors, ..Last::default() });
        Opened { source, found, runs, columns, last }
    }

    pub(super) fn rows_found(&self) -> u64 {
        self.found.rows.len() as u64
    }

    /// The rows of some owners, of `only` those where not all are asked: the values at these places, where they are `wanted`.
    pub(super) fn rows(
        &self,
        span: &Range<u32>,
        only: Option<&Words>,
        places: &[Option<usize>],
        wanted: &[bool],
    ) -> Result<Batch<'a>> {
        let rows = self.all(span);
        let lanes = places.iter().zip(wanted).map(|(place, wanted)| match place {
            _ if !wanted || rows.places.is_empty() => Ok(Arc::new(Lane::Same(Value::Null))),
            None => {
                let ordinals = self.ordinals(&rows).iter().map(|row| i64::from(*row));
                Ok(Arc::new(Lane::Exact(Kind::Integer, ordinals.collect::<Vec<_>>().into())))
            }
            Some(column) => self.lane(&rows, *column),
        });
        let batch = Batch {
            lanes: lanes.collect::<Result<_>>()?,
            len: rows.places.len(),
            segments: rows.segments.clone(),
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

    /// All rows of some owners.
    fn all(&self, span: &Range<u32>) -> Rc<Rows<'a>> {
        let last = &mut *self.last.borrow_mut();
        if last.span == *span {
            return Rc::clone(&last.rows);
        }
        let halves = &self.found.halves;
        if last.span.end != span.start {
            for (cursor, run) in last.cursors.iter_mut().zip(&self.runs) {
                let before = halves[run.clone()].partition_point(|half| u32::from(*half) < span.start);
                *cursor = run.start + before;
            }
        }
        let mut next = vec![0u32; span.len()];
        let place = |half: &u16| u32::from(*half).wrapping_sub(span.start) as usize;
        let (mut pieces, mut found) = (Vec::with_capacity(self.runs.len()), 0);
        for (cursor, run) in last.cursors.iter_mut().zip(&self.runs) {
            let (start, mut end) = (*cursor, *cursor);
            for half in &halves[start..run.end] {
                let Some(count) = next.get_mut(place(half)) else { break };
                *count += 1;
                end += 1;
            }
            if end > start {
                found += end - start;
                pieces.push(start..end);
            }
            *cursor = end;
        }
        let mut segments = vec![Segment { half: 0, end: 0 }; found.min(span.len()) + 1];
        let (mut owners, mut end) = (0, 0);
        for (half, next) in span.clone().zip(&mut next) {
            let count = std::mem::replace(next, end);
            end += count;
            segments[owners] = Segment { half: half as u16, end };
            owners += usize::from(count > 0);
        }
        segments.truncate(owners);
        let mut places = Vec::with_capacity(found);
        for piece in &pieces {
            places.extend(halves[piece.clone()].iter().map(|half| {
                let next = &mut next[place(half)];
                *next += 1;
                *next - 1
            }));
        }
        let lanes = self.columns.iter().map(|_| OnceCell::new()).collect();
        let rows = Rows { segments, pieces, places, ordinals: OnceCell::new(), lanes };
        (last.span, last.rows) = (span.clone(), Rc::new(rows));
        Rc::clone(&last.rows)
    }

    fn ordinals<'r>(&self, rows: &'r Rows<'a>) -> &'r [u32] {
        rows.ordinals.get_or_init(|| {
            let mut ordinals = vec![0; rows.places.len()];
            let stored = rows.pieces.iter().flat_map(|piece| &self.found.rows[piece.clone()]);
            rows.places.iter().zip(stored).for_each(|(place, row)| ordinals[*place as usize] = *row);
            ordinals
        })
    }

    /// The values of a column.
    fn lane(&self, rows: &Rows<'a>, column: usize) -> Result<Arc<Lane<'a>>> {
        if let Some(lane) = rows.lanes[column].get() {
            return Ok(Arc::clone(lane));
        }
        if self.columns[column].get().is_none() {
            let opened = self.open(column)?;
            self.columns[column].get_or_init(|| opened);
        }
        let lane = match self.columns[column].get() {
            Some(Column::Exact(kind, parts)) => {
                Arc::new(Lane::Exact(*kind, self.exact(rows, column, parts)?))
            }
            _ => self.read(self.ordinals(rows), column)?,
        };
        Ok(Arc::clone(rows.lanes[column].get_or_init(|| lane)))
    }

    /// Opens a column where rows were found.
    fn open(&self, column: usize) -> Result<Column<'a>> {
        let reader = &self.source.readers[column].0;
        let Some(kind) = Kind::of(reader.data_type()) else { return Ok(Column::Read) };
        let mut parts: Vec<Part<'a>> = Vec::with_capacity(self.runs.len());
        let chunk_of = |run: &Range<usize>| self.found.rows[run.start] >> 16;
        for some in self.runs.chunk_by(|a, b| chunk_of(a) == chunk_of(b)) {
            let chunk = chunk_of(&some[0]);
            let last = some.last().map_or(0, |run| self.found.rows[run.end - 1] & 0xffff) as usize;
            let values = reader.values(chunk)?;
            let part =
                if reader.is_changed(chunk) || values.as_ref().is_some_and(|values| last >= values.rows) {
                    Part::Changed
                } else if let Some(values) = values {
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
        let mut values = vec![0i64; rows.places.len()];
        let mut nulls: Option<Vec<bool>> = None;
        let (mut done, mut run) = (0, 0);
        for piece in &rows.pieces {
            while self.runs[run].end <= piece.start {
                run += 1;
            }
            let (found, places) = (&self.found.rows[piece.clone()], &rows.places[done..done + piece.len()]);
            done += piece.len();
            match &parts[run] {
                Part::Stored(stored, of_chunk) => {
                    put_stored(stored, found, places, &mut values);
                    if let Some(of_chunk) = of_chunk {
                        let nulls = nulls.get_or_insert_with(|| vec![false; values.len()]);
                        for (place, row) in places.iter().zip(found) {
                            nulls[*place as usize] = kernel::has(of_chunk, *row as u16);
                        }
                    }
                }
                Part::Null => {
                    let nulls = nulls.get_or_insert_with(|| vec![false; values.len()]);
                    places.iter().for_each(|place| nulls[*place as usize] = true);
                }
                Part::Changed => {
                    let lane = self.read_chunk(found, column)?;
                    let Lane::Exact(_, numbers) = &*lane else {
                        return Err(Error::Invalid("numbers were read as something else".into()));
                    };
                    for (place, number) in places.iter().zip(numbers.iter()) {
                        values[*place as usize] = number.unwrap_or_default();
                        if number.is_none() {
                            nulls.get_or_insert_with(|| vec![false; values.len()])[*place as usize] = true;
                        }
                    }
                }
            }
        }
        Ok(Numbers::with_nulls(values, nulls))
    }

    /// A column of some rows of one chunk.
    fn read_chunk(&self, rows: &[u32], column: usize) -> Result<Arc<Lane<'a>>> {
        let (reader, dictionary) = &self.source.readers[column];
        let chunk = rows.first().map_or(0, |row| row >> 16);
        let inputs = Inputs::Members { columns: vec![(reader, *dictionary)], chunk };
        let mut lanes = compute::columns(&inputs, rows.iter().map(|row| row & 0xffff).collect(), 1)?;
        Ok(lanes.pop().unwrap_or_else(|| Arc::new(Lane::Same(Value::Null))))
    }

    /// A column of some rows, read chunk by chunk.
    fn read(&self, rows: &[u32], column: usize) -> Result<Arc<Lane<'a>>> {
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        order.sort_unstable_by_key(|at| rows[*at as usize]);
        let mut parts = Vec::new();
        for some in order.chunk_by(|a, b| rows[*a as usize] >> 16 == rows[*b as usize] >> 16) {
            let here: Vec<u32> = some.iter().map(|at| rows[*at as usize]).collect();
            parts.push((self.read_chunk(&here, column)?, some.len()));
        }
        let mut place = vec![0u32; rows.len()];
        (0..).zip(&order).for_each(|(at, row)| place[*row as usize] = at);
        Ok(Arc::new(Lane::concat(parts).select(&place)))
    }
}

/// Puts the numbers of some rows of a chunk, ascending, in their places.
fn put_stored(stored: &ValuesRef<'_>, rows: &[u32], places: &[u32], out: &mut [i64]) {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return };
    let first = (first & 0xffff) as usize;
    let side_by_side = (last & 0xffff) as usize - first == rows.len() - 1;
    let (base, divisor) = (stored.frame.base, stored.frame.divisor);
    if side_by_side {
        // The next owners have about as many, right behind; of dozens of runs no processor foresees that.
        let a_line = LINE_BYTES / stored.residuals.width().max(1);
        let behind = first + rows.len()..(first + 2 * rows.len()).min(stored.rows);
        behind.step_by(a_line).for_each(|row| stored.residuals.prefetch(row));
    }
    macro_rules! put {
        ($residuals:expr) => {{
            let number = |residual: u64| base.wrapping_add(divisor.wrapping_mul(residual) as i64);
            if side_by_side && let Some(residuals) = $residuals.get(first..first + rows.len()) {
                for (place, residual) in places.iter().zip(residuals) {
                    out[*place as usize] = number(u64::from(*residual));
                }
            } else {
                for (place, row) in places.iter().zip(rows) {
                    if let Some(residual) = $residuals.get((row & 0xffff) as usize) {
                        out[*place as usize] = number(u64::from(*residual));
                    }
                }
            }
        }};
    }
    match stored.residuals {
        Residuals::U8(residuals) if stored.frame.slope == 0 => put!(residuals),
        Residuals::U16(residuals) if stored.frame.slope == 0 => put!(residuals),
        Residuals::U32(residuals) if stored.frame.slope == 0 => put!(residuals),
        _ => {
            for (place, row) in places.iter().zip(rows) {
                out[*place as usize] = stored.get((row & 0xffff) as usize);
            }
        }
    }
}
