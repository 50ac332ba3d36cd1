//! The one door to answers: [`evaluate`] takes a predicate to its members, chunk by chunk and on all cores, and pours them
//! into a [`Sink`].
//!
//! ```text
//! Plan ─ tasks of 16 chunks ─ Worker (one chunk at a time) ─ Sink::take ─ partial results merge ─ finish
//! ```

mod chunk;
mod clause;
mod compute;
mod leafset;
mod project;
mod ranks;
mod sink;

pub use project::{project, value_at};
pub use sink::{
    Aggregate, Count, First, Fold, FoldAggregate, FoldFunction, Group, Groups, Members, OrderBy, Sink, Top,
    key_bytes,
};

use crate::control::Cancel;
use crate::plan::{Node, Plan, Test};
use crate::pool::{home, pool, processor};
use crate::predicate::Predicate;
use crate::schema::TableId;
use crate::{Result, Snapshot};
use chunk::Worker;
use muster_storage::chunk::Words;
use muster_storage::format::{BITSET_WORDS, CHUNK_MEMBERS, SectionKind};
use rayon::ThreadPool;
use roaring::RoaringBitmap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Chunks whose ranks are resolved together, and the least that a thread takes.
const TASK_CHUNKS: u32 = 16;

/// A question that takes less than this alone is not shared: until a sleeping thread has its processor it would be answered,
/// and then it would have to be waited for.
const WAKE_NANOS: f64 = 60_000.0;

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
    fn add(&mut self, other: Stats) {
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

/// The members of `predicate` within `scope`, poured into `sink`.
///
/// Cost: what the clauses touch, see docs/BENCHMARKS.md; memory is a few buffers of 8 KiB a thread and the sink's own.
///
/// Errors: an unknown table or column, a literal that cannot be compared with its column, damaged bytes, cancellation.
pub fn evaluate<S: Sink>(
    snapshot: &Snapshot,
    table: TableId,
    predicate: &Predicate,
    scope: &Scope,
    cancel: &Cancel,
    sink: &S,
) -> Result<(S::Output, Stats)> {
    let table = snapshot.table(table)?;
    let plan = Plan::new(table, predicate, snapshot.now_micros())?;
    let reader = sink.open(table)?;
    let all = 0..table.chunks();
    let span = scope.chunks.clone().unwrap_or(all.clone());
    let chunks = span.start.min(all.end)..span.end.min(all.end);
    let run = Run { plan: &plan, mask: scope.mask.as_ref(), cancel, sink, reader: &reader };

    let tasks: Vec<Range<u32>> = (chunks.start..chunks.end.max(chunks.start))
        .step_by(TASK_CHUNKS as usize)
        .map(|start| start..(start + TASK_CHUNKS).min(chunks.end))
        .collect();
    let nanos = tasks.len() as f64 * f64::from(TASK_CHUNKS) * chunk_nanos::<S>(&plan, scope.mask.is_some());
    let pool = if S::SEQUENTIAL || tasks.len() < 2 || nanos < WAKE_NANOS { None } else { pool() };
    let whole = run.share(&tasks, pool)?;
    let stats = whole.worker.stats;
    Ok((sink.finish(&reader, whole.partial)?, stats))
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
                Test::Codes(intervals) if has(SectionKind::Order) => 150.0 * intervals.len() as f64,
                _ => 100.0 + plan.chunk_bytes / BYTES_A_NANO,
            }
        }
        _ => {
            let taken = if S::COUNTS { 0.0 } else { plan.share * CHUNK_MEMBERS as f64 };
            100.0 + plan.chunk_bytes / BYTES_A_NANO + taken
        }
    }
}

/// The guard of a lock that nobody has. A panic of somebody who had it left nothing half-done.
fn free(lock: &Mutex<()>) -> Option<MutexGuard<'_, ()>> {
    match lock.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
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
}

impl<'r, 'a, S: Sink> Run<'r, 'a, S> {
    fn begin(&self) -> RunState<'r, 'a, S> {
        RunState { worker: Worker::new(self.plan), partial: self.sink.begin() }
    }

    /// Does all tasks on this thread and, if they are free, those of the pool; each takes the next task that nobody has.
    ///
    /// This thread works instead of waiting: it is awake and has its processor, where a thread of the pool takes as long to
    /// wake as a small question takes to answer.
    fn share(&self, tasks: &[Range<u32>], pool: Option<&ThreadPool>) -> Result<RunState<'r, 'a, S>> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut state = self.begin();
            while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.sink.is_full(&state.partial) {
                    break;
                }
                if let Err(error) = self.task(&mut state, task.clone()) {
                    // The others stop after the task they are at.
                    next.store(tasks.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(state)
        };
        // One question at a time has the pool. Another would wait for it to be free, perhaps for long: it goes on alone.
        static SHARED: Mutex<()> = Mutex::new(());
        let (Some(pool), Some(_shared)) = (pool, free(&SHARED)) else { return work() };
        let others = Mutex::new(Vec::with_capacity(pool.current_num_threads()));
        let here = processor();
        let mine = pool.in_place_scope(|scope| {
            scope.spawn_broadcast(|_, _| {
                // The thread that is kept on this one's processor would only take turns with it.
                let rival = home().is_some() && home() == here;
                if !rival && next.load(Ordering::Relaxed) < tasks.len() {
                    let state = work();
                    others.lock().unwrap_or_else(PoisonError::into_inner).push(state);
                }
            });
            work()
        });
        let mut whole = mine?;
        for other in others.into_inner().unwrap_or_else(PoisonError::into_inner) {
            let other = other?;
            self.sink.merge(&mut whole.partial, other.partial);
            whole.worker.stats.add(other.worker.stats);
        }
        Ok(whole)
    }

    fn task(&self, state: &mut RunState<'r, 'a, S>, chunks: Range<u32>) -> Result<()> {
        let RunState { worker, partial } = state;
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
                worker.stats.bytes += self.sink.take(self.reader, partial, chunk, found)?;
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
