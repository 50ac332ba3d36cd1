//! The rows of a table, some owners at a time: in the order of their owners, those of one owner as they are stored.

use super::batch::{Batch, Segment};
use crate::control::Cancel;
use crate::dictionary::Dictionary;
use crate::events::Strays;
use crate::exec::chunk::{Answer, Worker};
use crate::exec::compute::{self, Inputs, Kind, Lane};
use crate::exec::{resolve_at, trues_of};
use crate::index::owners::NOBODYS;
use crate::kernel;
use crate::plan::{Node, Plan, Test};
use crate::predicate::Scan;
use crate::schema::{ColumnId, Owner, TableId};
use crate::table::{ColumnReader, TableState};
use crate::{Result, Snapshot};
use muster_storage::chunk::Words;
use muster_storage::format::BITSET_WORDS;
use roaring::RoaringBitmap;
use std::ops::Range;
use std::sync::Arc;

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
    ordinals: ColumnReader<'a>,
    strays: Arc<Strays>,
    /// Strays that satisfy the condition: their owner, the row; ascending.
    loose: Vec<(u32, u32)>,
    /// The times that rows have to be in.
    times: Vec<(i64, i64)>,
}

impl<'a> Source<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        scan: &Scan,
        owners: TableId,
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
        let owned = match table.schema().owner.filter(|owner| owner.table == owners) {
            Some(owner) => Some(Owned::new(snapshot, scan, &owner, &plan)?),
            None => None,
        };
        Ok(Source { table, plan, readers, values, owned })
    }

    /// How it is read, for EXPLAIN.
    pub(super) fn way(&self) -> String {
        let by_time = self.owned.as_ref().is_some_and(|owned| !owned.times.is_empty());
        let how = match &self.owned {
            Some(_) if by_time => " by owner, runs by time",
            Some(_) => " by owner",
            None => "",
        };
        format!("rows of {}{how}", self.table.schema().name)
    }

    /// Rows of a chunk of owners on average.
    pub(super) fn rows_a_chunk(&self, owner_chunks: u32) -> u64 {
        self.table.rows() / u64::from(owner_chunks.max(1))
    }

    /// Opens a chunk of owners.
    pub(super) fn open<'s>(&'s self, worker: &mut Worker<'s, 'a>, owners: u32) -> Result<Opened<'s, 'a>> {
        let mut parts = Vec::new();
        match &self.owned {
            None if owners < self.table.chunks() => {
                worker.begin(owners..owners + 1);
                let answer = worker.members(owners, None)?;
                let selected = selected_of(&answer, self.table.chunk_rows(owners));
                worker.recycle(answer);
                parts.push(Part { chunk: owners, halves: None, selected: Some(selected) });
            }
            None => {}
            Some(owned) => {
                for chunk in owned.strays.chunks_of(owners) {
                    parts.extend(self.part(owned, worker, owners, chunk)?);
                }
            }
        }
        let loose = self.owned.as_ref().map_or(&[][..], |owned| {
            let from = owned.loose.partition_point(|(owner, _)| owner >> 16 < owners);
            let to = owned.loose.partition_point(|(owner, _)| owner >> 16 <= owners);
            &owned.loose[from..to]
        });
        Ok(Opened { source: self, parts, loose })
    }

    /// The rows of a chunk of owners that are in one chunk of rows.
    fn part<'s>(
        &'s self,
        owned: &Owned<'a>,
        worker: &mut Worker<'s, 'a>,
        owners: u32,
        chunk: u32,
    ) -> Result<Option<Part<'a>>> {
        let Some(stored) = owned.ordinals.owners(chunk)? else { return Ok(None) };
        let can_have = |low: i64, high: i64| {
            owned.times.iter().all(|(from, to)| low <= high && low <= *to && *from <= high)
        };
        let runs = stored.runs_of(owners).filter(|(run, _)| can_have(run.low, run.high));
        let runs: Vec<Range<usize>> = runs.map(|(_, rows)| rows).collect();
        if runs.is_empty() {
            return Ok(None);
        }
        let excluded = owned.strays.excluded(chunk);
        let selected = if excluded.is_none() && self.plan.root == Node::Everyone {
            None
        } else {
            let mut mask = Box::new([0; BITSET_WORDS]);
            runs.iter().for_each(|rows| kernel::set_run(&mut mask, rows.start as u16, (rows.end - 1) as u16));
            if let Some(excluded) = excluded {
                mask.iter_mut().zip(excluded).for_each(|(word, out)| *word &= !out);
            }
            worker.begin(chunk..chunk + 1);
            let answer = worker.members(chunk, Some(&mask))?;
            let selected = selected_of(&answer, self.table.chunk_rows(chunk));
            worker.recycle(answer);
            Some(selected)
        };
        Ok(Some(Part { chunk, halves: Some((stored.halves, runs)), selected }))
    }

    pub(super) fn worker(&self) -> Worker<'_, 'a> {
        Worker::new(&self.plan)
    }
}

impl<'a> Owned<'a> {
    fn new(snapshot: &'a Snapshot, scan: &Scan, owner: &Owner, plan: &Plan<'a>) -> Result<Owned<'a>> {
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
        loose.sort_unstable();
        Ok(Owned { ordinals: table.reader(owner.ordinals)?, strays, loose, times: times.collect() })
    }
}

fn selected_of(answer: &Answer, rows: usize) -> Box<Words> {
    let mut words = Box::new([0; BITSET_WORDS]);
    match answer {
        Answer::Nobody => {}
        Answer::Everyone => {
            (0..BITSET_WORDS).for_each(|index| words[index] = kernel::first_bits(rows, index))
        }
        Answer::Members(members) => kernel::set_members(&mut words, members, true),
        Answer::Words(answer, _) => words.copy_from_slice(&answer[..]),
    }
    words
}

/// A table, open at a chunk of owners.
pub(super) struct Opened<'s, 'a> {
    source: &'s Source<'a>,
    parts: Vec<Part<'a>>,
    loose: &'s [(u32, u32)],
}

/// Rows of one chunk.
struct Part<'a> {
    chunk: u32,
    /// The halves of the owners' ordinals, and the runs; owners themselves have none.
    halves: Option<(&'a [u16], Vec<Range<usize>>)>,
    /// Rows that satisfy the condition, where that is not all.
    selected: Option<Box<Words>>,
}

impl<'a> Opened<'_, 'a> {
    /// The rows of some owners, of `only` those where not all are asked.
    pub(super) fn gather(&self, span: Range<u32>, only: Option<&Words>) -> Result<Batch<'a>> {
        let mut found: Vec<(u16, u32)> = Vec::new();
        let asked = |half: u16| only.is_none_or(|only| kernel::has(only, half));
        for part in &self.parts {
            let first = part.chunk << 16;
            let selected =
                |row: usize| part.selected.as_ref().is_none_or(|words| kernel::has(words, row as u16));
            match &part.halves {
                None => {
                    let rows = span.clone().filter(|row| selected(*row as usize) && asked(*row as u16));
                    found.extend(rows.map(|row| (row as u16, first | row)));
                }
                Some((halves, runs)) => {
                    for run in runs {
                        let here = &halves[run.clone()];
                        let from = here.partition_point(|half| u32::from(*half) < span.start);
                        let to = here.partition_point(|half| u32::from(*half) < span.end);
                        let rows = (run.start + from..).zip(&here[from..to]);
                        if part.selected.is_none() && only.is_none() {
                            found.extend(rows.map(|(row, half)| (*half, first | row as u32)));
                        } else {
                            let rows = rows.filter(|(row, half)| selected(*row) && asked(**half));
                            found.extend(rows.map(|(row, half)| (*half, first | row as u32)));
                        }
                    }
                }
            }
        }
        let from = self.loose.partition_point(|(owner, _)| owner & 0xffff < span.start);
        let to = self.loose.partition_point(|(owner, _)| owner & 0xffff < span.end);
        if from < to {
            let here = self.loose[from..to].iter().map(|(owner, row)| (*owner as u16, *row));
            found.extend(here.filter(|(half, _)| asked(*half)));
            found.sort_unstable_by_key(|(_, row)| *row);
        }
        self.batch(found, span)
    }

    /// The rows, which ascend, in the order of their owners.
    fn batch(&self, found: Vec<(u16, u32)>, span: Range<u32>) -> Result<Batch<'a>> {
        let mut starts = vec![0u32; span.len() + 1];
        found.iter().for_each(|(half, _)| starts[(u32::from(*half) - span.start) as usize + 1] += 1);
        let mut segments = Vec::new();
        for (at, half) in (1..).zip(span.clone()) {
            if starts[at] > 0 {
                starts[at] += starts[at - 1];
                segments.push(Segment { half: half as u16, end: starts[at] });
            } else {
                starts[at] = starts[at - 1];
            }
        }
        let mut order = vec![0u32; found.len()];
        for (at, (half, _)) in (0..).zip(&found) {
            let next = &mut starts[(u32::from(*half) - span.start) as usize];
            order[*next as usize] = at;
            *next += 1;
        }
        let (mut read, count) = (Vec::new(), self.source.readers.len());
        for some in found.chunk_by(|a, b| a.1 >> 16 == b.1 >> 16) {
            let columns = self.source.readers.iter().map(|(reader, dictionary)| (reader, *dictionary));
            let inputs = Inputs::Members { columns: columns.collect(), chunk: some[0].1 >> 16 };
            let rows = some.iter().map(|(_, row)| row & 0xffff).collect();
            read.push((compute::columns(&inputs, rows, count)?, some.len()));
        }
        let in_order = order.is_sorted();
        let mut lanes = Vec::with_capacity(self.source.values.len());
        for value in &self.source.values {
            let Some(column) = value else {
                let ordinals = order.iter().map(|at| Some(i64::from(found[*at as usize].1)));
                lanes.push(Arc::new(Lane::Exact(Kind::Integer, ordinals.collect())));
                continue;
            };
            let parts = read.iter().map(|(lanes, rows)| (Arc::clone(&lanes[*column]), *rows));
            let whole = Lane::concat(parts.collect());
            lanes.push(if in_order { whole } else { Arc::new(whole.select(&order)) });
        }
        Ok(Batch { lanes, len: found.len(), segments })
    }
}

/// The live rows of a table that belong to none of its owners.
pub(super) fn nobodys(
    snapshot: &Snapshot,
    table: &TableState,
    owner: &Owner,
    cancel: &Cancel,
) -> Result<RoaringBitmap> {
    let (strays, owners) = (snapshot.strays(table.schema().id)?, snapshot.table(owner.table)?);
    let (ordinals, live) = (table.reader(owner.ordinals)?, table.reader(ColumnId::LIVE)?);
    let owners_live = owners.reader(ColumnId::LIVE)?;
    let mut nobodys = RoaringBitmap::new();
    let mut known: Option<(u32, Words)> = None;
    for chunk in 0..table.chunks() {
        cancel.check()?;
        let mut left = trues_of(&live, chunk)?;
        let mut owned: Words = [0; BITSET_WORDS];
        if let Some(stored) = ordinals.owners(chunk)? {
            for (at, run) in stored.runs.iter().enumerate().filter(|(_, run)| run.owners != NOBODYS) {
                let end = stored.runs.get(at + 1).map_or(stored.halves.len(), |next| next.start as usize);
                let rows = run.start as usize..end;
                if !owners.has_dead() {
                    kernel::set_run(&mut owned, rows.start as u16, (rows.end - 1) as u16);
                    continue;
                }
                if known.as_ref().is_none_or(|(chunk, _)| *chunk != run.owners) {
                    known = Some((run.owners, trues_of(&owners_live, run.owners)?));
                }
                let Some((_, lives)) = &known else { continue };
                for row in rows.filter(|row| kernel::has(lives, stored.halves[*row])) {
                    owned[row / 64] |= 1 << (row % 64);
                }
            }
        }
        if let Some(excluded) = strays.excluded(chunk) {
            owned.iter_mut().zip(excluded).for_each(|(word, excluded)| *word &= !excluded);
        }
        left.iter_mut().zip(&owned).for_each(|(word, owned)| *word &= !owned);
        if left.iter().any(|word| *word != 0) {
            let mut rows = Vec::new();
            kernel::decode_members(&left, kernel::cardinality(&left), &mut rows);
            nobodys.extend(rows.iter().map(|row| chunk << 16 | u32::from(*row)));
        }
    }
    strays.owned().iter().for_each(|(row, _)| {
        nobodys.remove(*row);
    });
    Ok(nobodys)
}
