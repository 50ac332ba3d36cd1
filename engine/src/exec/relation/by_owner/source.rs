//! The rows of a table, some owners at a time: in the order of their owners, those of one owner as they are stored.

use super::batch::{Batch, Segment};
use super::found::{Found, Ordered};
use super::shape::Owners;
use crate::control::Cancel;
use crate::dictionary::Dictionary;
use crate::exec::chunk::{Answer, Worker};
use crate::exec::compute::{self, Inputs, Kind, Lane};
use crate::exec::resolve_at;
use crate::exec::words_of;
use crate::index::values::{Residuals, ValuesRef};
use crate::kernel;
use crate::plan::{Node, Plan, Test};
use crate::predicate::Scan;
use crate::schema::{ColumnId, Owner, TableId};
use crate::table::{ColumnReader, TableState};
use crate::value::Value;
use crate::{Result, Snapshot};
use muster_storage::chunk::Words;
use muster_storage::format::BITSET_WORDS;
use std::ops::Range;
use std::sync::Arc;

/// Chunks of rows that are open at once; rows that were written since are far from the others.
const CHUNKS_OPEN: u32 = 64;

/// Where at least this share of a chunk's rows is read, all its lines are asked of the cache beforehand.
const LINES_SHARE: usize = 16;
const LINE_BYTES: usize = 64;

/// A table that is read.
pub(super) struct Source<'a> {
    table: &'a TableState,
    plan: Plan<'a>,
    /// The columns, but for the ordinal.
    readers: Vec<(ColumnReader<'a>, Option<&'a Dictionary>)>,
    /// Where each value of a row is found: a reader, or the ordinal.
    values: Vec<Option<usize>>,
    owned: Option<Owned<'a>>,
}

/// Rows that belong to others.
struct Owned<'a> {
    /// The table's rows, those among the strays that satisfy the condition.
    rows: Ordered<'a>,
    /// The rows that they belong to by way of others, those of the owners first; with the tables' names.
    between: Vec<(&'a str, Ordered<'a>)>,
    /// The times that rows have to be in.
    times: Vec<(i64, i64)>,
}

impl<'a> Source<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        scan: &Scan,
        owners: Owners,
        cancel: &Cancel,
        tables: usize,
    ) -> Result<Source<'a>> {
        let table = snapshot.table(scan.table)?;
        let (condition, _) = resolve_at(snapshot, scan.table, &scan.condition, cancel, tables)?;
        let plan = Plan::in_snapshot(snapshot, scan.table, &condition, cancel, tables)?;
        let (mut readers, mut values) = (Vec::new(), Vec::new());
        for (column, _) in &scan.columns {
            values.push((*column != ColumnId::LIVE).then_some(readers.len()));
            if *column != ColumnId::LIVE {
                readers.push((table.reader(*column)?, table.dictionary(*column)));
            }
        }
        let way = owners.way_from(snapshot, scan.table)?.unwrap_or_default();
        let owned = way.split_first().map(|((_, owner), way)| Owned::new(snapshot, scan, owner, way, &plan));
        let owned = owned.transpose()?;
        Ok(Source { table, plan, readers, values, owned })
    }

    /// How it is read, for EXPLAIN.
    pub(super) fn way(&self) -> String {
        let mut how = String::new();
        if let Some(owned) = &self.owned {
            how.push_str(" by owner");
            owned.between.iter().rev().for_each(|(table, _)| how.push_str(&format!(" of {table}")));
            if !owned.times.is_empty() {
                how.push_str(", runs by time");
            }
        }
        format!("rows of {}{how}", self.table.schema().name)
    }

    /// Rows of a chunk of owners on average.
    pub(super) fn rows_a_chunk(&self, owner_chunks: u32) -> u64 {
        self.table.rows() / u64::from(owner_chunks.max(1))
    }

    /// Opens a chunk of owners, for `only` some where not all are asked.
    pub(super) fn open<'s>(
        &'s self,
        worker: &mut Worker<'s, 'a>,
        owners: u32,
        only: Option<&Words>,
    ) -> Result<Opened<'s, 'a>> {
        let mut found = Found::default();
        match &self.owned {
            None if owners < self.table.chunks() => {
                worker.begin(owners..owners + 1);
                let answer = worker.members(owners, only)?;
                let selected = selected_of(&answer, self.table.chunk_rows(owners));
                worker.recycle(answer);
                let mut members = Vec::new();
                kernel::decode_members(&selected, kernel::cardinality(&selected), &mut members);
                found.rows.extend(members.iter().map(|member| owners << 16 | u32::from(*member)));
                found.halves = members;
            }
            None => {}
            Some(owned) => {
                found = match owned.between.split_first() {
                    None => self.find(owned, worker, owners, only)?,
                    Some(((_, first), between)) => {
                        let mut rows = first.found(owners, only)?;
                        for (_, next) in between {
                            rows = rows.through(|chunk, some| next.found(chunk, Some(some)))?;
                        }
                        rows.through(|chunk, some| self.find(owned, worker, chunk, Some(some)))?
                    }
                };
            }
        }
        if let Some(only) = only {
            found.retain(only);
        }
        let ascending = found.rows.is_sorted();
        let starts = found.put_in_order(ascending);
        let chunks = found.rows.iter().map(|row| row >> 16);
        let chunks = chunks.fold((u32::MAX, 0), |(low, high), chunk| (low.min(chunk), high.max(chunk)));
        let columns = self.readers.iter().map(|(reader, _)| Column::open(reader, chunks, found.rows.len()));
        let columns = columns.collect::<Result<_>>()?;
        Ok(Opened { source: self, rows: found.rows, starts, columns })
    }

    /// The rows of a chunk of those whose they are at once, for `only` some where not all are asked: there may be more.
    fn find<'s>(
        &'s self,
        owned: &Owned<'a>,
        worker: &mut Worker<'s, 'a>,
        owners: u32,
        only: Option<&Words>,
    ) -> Result<Found> {
        let mut found = Found::default();
        let can_have = |low: i64, high: i64| {
            owned.times.iter().all(|(from, to)| low <= high && low <= *to && *from <= high)
        };
        owned.rows.for_each_chunk(owners, only, can_have, |chunk, stored, runs, excluded| {
            let first = chunk << 16;
            if excluded.is_none() && self.plan.root == Node::Everyone {
                for rows in runs {
                    found.halves.extend_from_slice(&stored.halves[rows.clone()]);
                    found.rows.extend(rows.map(|row| first | row as u32));
                }
                return Ok(());
            }
            let mut mask = Box::new([0; BITSET_WORDS]);
            runs.iter().for_each(|rows| kernel::set_run(&mut mask, rows.start as u16, (rows.end - 1) as u16));
            if let Some(excluded) = excluded {
                mask.iter_mut().zip(excluded).for_each(|(word, out)| *word &= !out);
            }
            worker.begin(chunk..chunk + 1);
            let answer = worker.members(chunk, Some(&mask))?;
            let mut buffer = Vec::new();
            let answered = answer.found(self.table.chunk_rows(chunk));
            let rows = answered.rows(&mut buffer);
            found.halves.extend(rows.iter().map(|row| stored.halves[usize::from(*row)]));
            found.rows.extend(rows.iter().map(|row| first | u32::from(*row)));
            worker.recycle(answer);
            Ok(())
        })?;
        owned.rows.add_strays(owners, &mut found);
        Ok(found)
    }

    pub(super) fn worker(&self) -> Worker<'_, 'a> {
        Worker::new(&self.plan)
    }
}

impl<'a> Owned<'a> {
    fn new(
        snapshot: &'a Snapshot,
        scan: &Scan,
        owner: &Owner,
        way: &[(TableId, Owner)],
        plan: &Plan<'a>,
    ) -> Result<Owned<'a>> {
        let (table, strays) = (snapshot.table(scan.table)?, snapshot.strays(scan.table)?);
        let terms = match &plan.root {
            Node::And(terms) => terms.as_slice(),
            one => std::slice::from_ref(one),
        };
        let times = terms.iter().filter_map(|term| {
            let Node::Leaf { leaf, negated: false } = term else { return None };
            let leaf = &plan.leaves[*leaf];
            match &leaf.test {
                Test::Codes(intervals) if Some(leaf.column) == owner.time => {
                    Some((intervals.first()?.0, intervals.last()?.1))
                }
                _ => None,
            }
        });
        let mut loose = Vec::new();
        let mut worker = Worker::new(plan);
        for some in strays.owned().chunk_by(|a, b| a.0 >> 16 == b.0 >> 16) {
            plan.cancel.check()?;
            let chunk = some[0].0 >> 16;
            let mut mask = Box::new([0; BITSET_WORDS]);
            some.iter().for_each(|(row, _)| mask[(row & 0xffff) as usize / 64] |= 1 << (row % 64));
            worker.begin(chunk..chunk + 1);
            let answer = worker.members(chunk, Some(&mask))?;
            let selected = selected_of(&answer, table.chunk_rows(chunk));
            worker.recycle(answer);
            let here = some.iter().filter(|(row, _)| kernel::has(&selected, *row as u16));
            loose.extend(here.map(|(row, owner)| (*owner, *row)));
        }
        let mut between = Vec::with_capacity(way.len());
        for (table, owner) in way.iter().rev() {
            let name = snapshot.schema(*table)?.name.as_str();
            between.push((name, Ordered::new(snapshot, *table, owner, None)?));
        }
        let rows = Ordered::new(snapshot, scan.table, owner, Some(loose))?;
        Ok(Owned { rows, between, times: times.collect() })
    }
}

fn selected_of(answer: &Answer, rows: usize) -> Box<Words> {
    let mut words = Box::new([0; BITSET_WORDS]);
    match answer {
        Answer::Nobody => {}
        Answer::Everyone => {
            (0..BITSET_WORDS).for_each(|index| words[index] = kernel::first_bits(rows, index));
        }
        Answer::Members(members) => kernel::set_members(&mut words, members, true),
        Answer::Words(answer, _) => words.copy_from_slice(&answer[..]),
    }
    words
}

/// A table, open at a chunk of owners.
pub(super) struct Opened<'s, 'a> {
    source: &'s Source<'a>,
    /// Rows in the order of their owners, those of one as they are stored.
    rows: Vec<u32>,
    /// Where the rows of each owner begin, and the end.
    starts: Vec<u32>,
    columns: Vec<Column<'a>>,
}

/// The numbers of a chunk, and which are NULL where some are.
type Numbers<'a> = (ValuesRef<'a>, Option<Box<Words>>);

/// A column, open where rows were found.
enum Column<'a> {
    /// Numbers, as they were imported: by chunk, from the first that has rows.
    Stored(Kind, u32, Vec<Option<Numbers<'a>>>),
    /// Anything else is read as expressions read it.
    Read,
}

impl<'a> Column<'a> {
    fn open(reader: &ColumnReader<'a>, (first, last): (u32, u32), rows: usize) -> Result<Column<'a>> {
        let Some(kind) = Kind::of(reader.data_type()).filter(|_| last.wrapping_sub(first) < CHUNKS_OPEN)
        else {
            return Ok(Column::Read);
        };
        let mut open = Vec::new();
        for chunk in first..=last {
            if reader.is_changed(chunk) {
                return Ok(Column::Read);
            }
            let nulls = reader.nulls(chunk)?;
            let nulls = (nulls.cardinality() > 0).then(|| Box::new(words_of(nulls)));
            let values = reader.values(chunk)?;
            // Rows are read in the order of their owners, a line of each run at a time: nothing would run ahead of that.
            if let Some(values) = values.filter(|values| rows >= values.rows / LINES_SHARE) {
                let a_line = LINE_BYTES / values.residuals.width().max(1);
                (0..values.rows).step_by(a_line).for_each(|row| values.residuals.prefetch(row));
            }
            open.push(values.map(|values| (values, nulls)));
        }
        Ok(Column::Stored(kind, first, open))
    }
}

impl<'a> Opened<'_, 'a> {
    pub(super) fn rows_found(&self) -> u64 {
        self.rows.len() as u64
    }

    /// The rows of some owners, of `only` those where not all are asked; columns that are not `wanted` are NULL.
    pub(super) fn gather(
        &self,
        span: Range<u32>,
        only: Option<&Words>,
        wanted: &[bool],
    ) -> Result<Batch<'a>> {
        let bounds = &self.starts[span.start as usize..=span.end as usize];
        let (mut segments, mut end, mut left_out) = (Vec::with_capacity(span.len()), 0, false);
        for (half, bounds) in span.clone().zip(bounds.windows(2)) {
            if bounds[0] == bounds[1] {
                continue;
            }
            if only.is_none_or(|only| kernel::has(only, half as u16)) {
                end += bounds[1] - bounds[0];
                segments.push(Segment { half: half as u16, end });
            } else {
                left_out = true;
            }
        }
        let mut some = Vec::new();
        if left_out {
            some.reserve(end as usize);
            let of = |half: u16| {
                self.starts[usize::from(half)] as usize..self.starts[usize::from(half) + 1] as usize
            };
            segments.iter().for_each(|segment| some.extend_from_slice(&self.rows[of(segment.half)]));
        }
        let all = &self.rows[bounds[0] as usize..bounds[bounds.len() - 1] as usize];
        let rows = if left_out { some.as_slice() } else { all };
        let mut lanes = Vec::with_capacity(self.source.values.len());
        for (value, wanted) in self.source.values.iter().zip(wanted) {
            lanes.push(Arc::new(match value {
                _ if !wanted || rows.is_empty() => Lane::Same(Value::Null),
                None => Lane::Exact(Kind::Integer, rows.iter().map(|row| Some(i64::from(*row))).collect()),
                Some(column) => match &self.columns[*column] {
                    Column::Stored(kind, first, open) => Lane::Exact(*kind, stored(rows, *first, open)),
                    Column::Read => {
                        lanes.push(self.read(*column, rows)?);
                        continue;
                    }
                },
            }));
        }
        Ok(Batch { lanes, len: rows.len(), segments })
    }

    /// A column of some rows, read chunk by chunk.
    fn read(&self, column: usize, rows: &[u32]) -> Result<Arc<Lane<'a>>> {
        let (reader, dictionary) = &self.source.readers[column];
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        order.sort_unstable_by_key(|at| rows[*at as usize]);
        let mut parts = Vec::new();
        for some in order.chunk_by(|a, b| rows[*a as usize] >> 16 == rows[*b as usize] >> 16) {
            let inputs =
                Inputs::Members { columns: vec![(reader, *dictionary)], chunk: rows[some[0] as usize] >> 16 };
            let here = some.iter().map(|at| rows[*at as usize] & 0xffff).collect();
            let mut lanes = compute::columns(&inputs, here, 1)?;
            parts.extend(lanes.pop().map(|lane| (lane, some.len())));
        }
        let mut place = vec![0u32; rows.len()];
        (0..).zip(&order).for_each(|(at, row)| place[*row as usize] = at);
        Ok(Arc::new(Lane::concat(parts).select(&place)))
    }
}

/// The numbers of some rows.
fn stored(rows: &[u32], first: u32, open: &[Option<Numbers<'_>>]) -> Vec<Option<i64>> {
    macro_rules! all_of {
        ($width:ident) => {
            let all = open.iter().map(|open| match open {
                Some((ValuesRef { frame, residuals: Residuals::$width(residuals), .. }, None))
                    if frame.slope == 0 =>
                {
                    Some((frame.base, frame.divisor, *residuals))
                }
                _ => None,
            });
            if let Some(all) = all.collect::<Option<Vec<_>>>() {
                // What chunks hold is of one width, and nothing is NULL.
                let number = |row: &u32| {
                    let (base, divisor, residuals) = all[((row >> 16) - first) as usize];
                    let residual = residuals.get((row & 0xffff) as usize)?;
                    Some(base.wrapping_add(divisor.wrapping_mul(*residual as u64) as i64))
                };
                return rows.iter().map(number).collect();
            }
        };
    }
    all_of!(U32);
    all_of!(U16);
    all_of!(U8);
    let number = |row: &u32| {
        let (values, nulls) = open[((row >> 16) - first) as usize].as_ref()?;
        let row = (row & 0xffff) as usize;
        let known = row < values.rows && nulls.as_ref().is_none_or(|nulls| !kernel::has(nulls, row as u16));
        known.then(|| values.get(row))
    };
    rows.iter().map(number).collect()
}
