//! The one door to answers: [`evaluate`] takes a predicate to its members, chunk by chunk and on all cores, and pours them
//! into a [`Sink`].
//!
//! ```text
//! Plan ─ tasks of 16 chunks ─ Worker (one chunk at a time) ─ Sink::take ─ partial results merge ─ finish
//! ```

mod chunk;
mod clause;
mod codeset;
pub(crate) mod compute;
mod front;
mod grouping;
mod leafset;
mod overlap;
mod overlay;
mod owned;
mod project;
mod ranks;
mod related;
mod relation;
mod share;
mod sink;

pub(crate) use clause::{nulls_of, trues_of, words_of};
pub use grouping::Grouping;
pub use overlap::{OVERLAP_SETS_MAX, Overlap, overlap};
pub(crate) use owned::Loose;
pub use project::{are_true, project, value_at};
pub(crate) use project::{code_at, codes_at};
pub use related::{RELATED_DEPTH_MAX, RELATED_VALUES_MAX, resolve, resolve_naively};
pub(crate) use related::{check_depth, is_in_list, resolve_at};
pub(crate) use relation::{ByOwner, takes_derived};
pub use relation::{FUNNEL_STEPS_MAX, ROWS_VALUES_MAX, RowSet, rows_of};
pub(crate) use sink::Chosen;
pub use sink::{
    Aggregate, Count, First, Fold, FoldAggregate, FoldFunction, Group, Groups, Members, OrderBy,
    PROFILE_VALUES_MAX, Profile, Sink, Top, key_bytes,
};

use crate::control::{Cancel, Held};
use crate::plan::{Node, Plan, Test};
use crate::predicate::Predicate;
use crate::schema::TableId;
use crate::table::ColumnReader;
use crate::{Result, Snapshot};
use chunk::Worker;
use muster_storage::chunk::Words;
use muster_storage::format::{BITSET_WORDS, CHUNK_MEMBERS, SectionKind};
use roaring::RoaringBitmap;
use share::share;
use sink::Choose;
use std::borrow::Cow;
use std::ops::Range;

/// Chunks whose ranks are resolved together, and the least that a thread takes.
const TASK_CHUNKS: u32 = 16;

/// Which part of the table is asked: a span of chunks, and optionally only members of a mask.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Chunks; `None` is all.
    pub chunks: Option<Range<u32>>,
    /// Ordinals that count (a role's rows, a commit's dirty members); `None` is all.
    pub mask: Option<RoaringBitmap>,
}

/// What an evaluation cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Chunks looked at.
    pub chunks: u64,
    /// Bytes of sections read, estimated by the containers, ranks and cache lines touched.
    pub bytes: u64,
}

impl Stats {
    /// Adds what something else cost.
    pub fn add(&mut self, other: Stats) {
        self.chunks += other.chunks;
        self.bytes += other.bytes;
    }
}

/// The members of one chunk, as a sink gets them.
#[derive(Clone, Copy)]
pub enum Found<'s> {
    /// All rows from 0 to this.
    Everyone(usize),
    /// A bitset and its cardinality.
    Words(&'s Words, u32),
    /// Ascending members.
    Members(&'s [u16]),
}

impl Found<'_> {
    /// The number of members.
    pub fn cardinality(&self) -> usize {
        match self {
            Found::Everyone(rows) => *rows,
            Found::Words(_, cardinality) => *cardinality as usize,
            Found::Members(members) => members.len(),
        }
    }

    /// The members as a bitset.
    pub(crate) fn words(&self) -> Cow<'_, Words> {
        let mut words = [0; BITSET_WORDS];
        match self {
            Found::Words(found, _) => return Cow::Borrowed(found),
            Found::Members(members) => crate::kernel::set_members(&mut words, members, true),
            Found::Everyone(0) => {}
            Found::Everyone(rows) => crate::kernel::set_run(&mut words, 0, (rows - 1) as u16),
        }
        Cow::Owned(words)
    }

    /// The members as a list, in a buffer where they are not one already.
    pub fn rows<'b>(&'b self, buffer: &'b mut Vec<u16>) -> &'b [u16] {
        match self {
            Found::Members(members) => members,
            Found::Words(words, cardinality) => {
                buffer.clear();
                crate::kernel::decode_members(words, *cardinality, buffer);
                buffer
            }
            Found::Everyone(rows) => {
                buffer.clear();
                buffer.extend((0..*rows).map(|row| row as u16));
                buffer
            }
        }
    }
}

/// The least and the greatest code of a column's values as they were imported, of so many chunks; `None` where there is none.
fn values_bounds(reader: &ColumnReader<'_>, chunks: u32) -> Option<(i64, i64)> {
    let zones = (0..chunks).filter_map(|chunk| reader.entry(chunk, SectionKind::Values));
    let bounds = zones.filter(|entry| entry.cardinality > 0).map(|entry| (entry.low, entry.high));
    bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// The members of `predicate` within `scope`, poured into `sink`.
///
/// Cost: what the clauses touch, see docs/BENCHMARKS.md; memory is a few buffers of 8 KiB a thread and the sink's own, which counts
/// into what `cancel` lets a statement take until the output is handed over.
///
/// Errors: an unknown table or column, a literal that cannot be compared with its column, damaged bytes, cancellation, memory.
pub fn evaluate<S: Sink>(
    snapshot: &Snapshot,
    table: TableId,
    predicate: &Predicate,
    scope: &Scope,
    cancel: &Cancel,
    sink: &S,
) -> Result<(S::Output, Stats)> {
    let _kept = cancel.keeping();
    let resolved = resolve(snapshot, table, predicate, cancel)?;
    evaluate_resolved(snapshot, table, resolved, scope, cancel, sink, 0)
}

/// The members that satisfy a predicate, asked so many tables away from the question.
pub(crate) fn members_of(
    snapshot: &Snapshot,
    table: TableId,
    predicate: &Predicate,
    cancel: &Cancel,
    tables: usize,
) -> Result<Chosen> {
    let resolved = resolve_at(snapshot, table, predicate, cancel, tables)?;
    let scope = Scope::default();
    Ok(evaluate_resolved(snapshot, table, resolved, &scope, cancel, &Choose, tables)?.0)
}

/// [`evaluate`] of what [`resolve`] made, so many tables away from the question.
fn evaluate_resolved<S: Sink>(
    snapshot: &Snapshot,
    table: TableId,
    (predicate, resolving): (Cow<'_, Predicate>, Stats),
    scope: &Scope,
    cancel: &Cancel,
    sink: &S,
    tables: usize,
) -> Result<(S::Output, Stats)> {
    let plan = Plan::in_snapshot(snapshot, table, &predicate, cancel, tables)?;
    let table = plan.table;
    let reader = sink.open(table)?;
    let all = 0..table.chunks();
    let span = scope.chunks.clone().unwrap_or(all.clone());
    let chunks = span.start.min(all.end)..span.end.min(all.end);
    let run = Run { plan: &plan, mask: scope.mask.as_ref(), cancel, sink, reader: &reader };

    if let Some((order, limit)) = sink.front()
        && let Some(front) = front::find(&plan, run.mask, chunks.clone(), order, limit, cancel)?
    {
        let (mut partial, mut stats, mut held) = (sink.begin(), front.stats, cancel.holder(S::HOLDS));
        stats.add(resolving);
        for (chunk, rows) in front.chunks() {
            stats.bytes += sink.take(&reader, &mut partial, chunk, Found::Members(&rows), &mut held)?;
        }
        return Ok((sink.finish(&reader, partial, &mut held)?, stats));
    }
    let tasks = match plan.chunks_named() {
        Some(named) => named.into_iter().filter(|c| chunks.contains(c)).map(|c| c..c + 1).collect(),
        None => tasks_of(chunks),
    };
    let asked: f64 = tasks.iter().map(|task| task.len() as f64).sum();
    let nanos = asked * chunk_nanos::<S>(&plan, scope.mask.is_some());
    let nanos = if S::SEQUENTIAL { 0.0 } else { nanos };
    let states = share(
        &tasks,
        nanos,
        || run.begin(),
        |state, task| match sink.is_full(&state.partial) {
            true => Ok(false),
            false => run.task(state, task).map(|()| true),
        },
    )?;
    let mut states = states.into_iter();
    let RunState { worker, mut partial, mut held } = states.next().unwrap_or_else(|| run.begin());
    let mut stats = worker.stats;
    stats.add(resolving);
    for state in states {
        sink.merge(&mut partial, state.partial);
        held.absorb(state.held)?;
        stats.add(state.worker.stats);
    }
    Ok((sink.finish(&reader, partial, &mut held)?, stats))
}

/// Tasks of neighbouring chunks.
fn tasks_of(chunks: Range<u32>) -> Vec<Range<u32>> {
    (chunks.start..chunks.end.max(chunks.start))
        .step_by(TASK_CHUNKS as usize)
        .map(|start| start..(start + TASK_CHUNKS).min(chunks.end))
        .collect()
}

/// What a chunk is expected to take, to a factor of two: enough to say whether to wake anybody.
fn chunk_nanos<S: Sink>(plan: &Plan<'_>, masked: bool) -> f64 {
    const BYTES_A_NANO: f64 = 15.0;
    let counted = S::COUNTS && !masked;
    match &plan.root {
        Node::Nobody | Node::Everyone if counted => 10.0,
        Node::Leaf { leaf, .. } if counted => {
            let leaf = &plan.leaves[*leaf];
            let has = |kind| plan.reader(leaf).entry(plan.table.chunks() / 2, kind).is_some();
            match &leaf.test {
                Test::True | Test::Null | Test::Never => 10.0,
                Test::Tags(codes) | Test::Text { codes, .. }
                    if codes.len() <= 1 && has(SectionKind::Sets) =>
                {
                    100.0
                }
                Test::Codes(intervals) if has(SectionKind::Order) || plan.has_thresholds(leaf, intervals) => {
                    150.0 * intervals.len() as f64
                }
                _ => 100.0 + plan.chunk_bytes / BYTES_A_NANO,
            }
        }
        _ => {
            let taken = if S::COUNTS { 0.0 } else { plan.share * CHUNK_MEMBERS as f64 };
            100.0 + plan.chunk_bytes / BYTES_A_NANO + taken
        }
    }
}

struct Run<'r, 'a, S: Sink> {
    plan: &'r Plan<'a>,
    mask: Option<&'r RoaringBitmap>,
    cancel: &'r Cancel,
    sink: &'r S,
    reader: &'r S::Reader<'a>,
}

struct RunState<'r, 'a, S: Sink> {
    worker: Worker<'r, 'a>,
    partial: S::Partial,
    held: Held,
}

impl<'r, 'a, S: Sink> Run<'r, 'a, S> {
    fn begin(&self) -> RunState<'r, 'a, S> {
        let (worker, held) = (Worker::new(self.plan), self.cancel.holder(S::HOLDS));
        RunState { worker, partial: self.sink.begin(), held }
    }

    fn task(&self, state: &mut RunState<'r, 'a, S>, chunks: Range<u32>) -> Result<()> {
        let RunState { worker, partial, held } = state;
        // The count of a single leaf comes from cardinalities and ranks.
        let makes_sets =
            !S::COUNTS || self.mask.is_some() || matches!(self.plan.root, Node::And(_) | Node::Or(_));
        worker.begin(chunks.clone());
        for chunk in chunks {
            self.cancel.check()?;
            if makes_sets {
                worker.prefetch(chunk);
            } else {
                worker.prefetch_count(chunk);
            }
            let mask = match self.mask {
                Some(mask) => match mask_of(mask, chunk, self.plan.table.chunk_rows(chunk)) {
                    Some(words) => Some(words),
                    None => continue,
                },
                None => None,
            };
            if S::COUNTS {
                let count = worker.count(chunk, mask.as_deref())?;
                self.sink.take_count(partial, count);
                continue;
            }
            let answer = worker.members(chunk, mask.as_deref())?;
            let found = answer.found(self.plan.table.chunk_rows(chunk));
            if found.cardinality() > 0 {
                worker.stats.bytes += self.sink.take(self.reader, partial, chunk, found, held)?;
            }
            worker.recycle(answer);
        }
        Ok(())
    }
}

/// A mask's members in a chunk of some rows, if it has any. Ordinals beyond the last row are nobody.
fn mask_of(mask: &RoaringBitmap, chunk: u32, rows: usize) -> Option<Box<Words>> {
    let mut words = Box::new([0u64; BITSET_WORDS]);
    let mut any = false;
    let first = chunk << 16;
    for ordinal in mask.range(first..=first + (rows as u32 - 1)) {
        words[(ordinal & 0xffff) as usize / 64] |= 1 << (ordinal % 64);
        any = true;
    }
    any.then_some(words)
}
