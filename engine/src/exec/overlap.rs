//! How much audiences have in common: the size of each and of every intersection of two, in one pass over the chunks.
//!
//! A chunk's sets are made one after the other and stay in the cache while all pairs are counted: bitsets by blocks, each
//! block of one set held in registers against the same block of the others; lists by looking their members up in bitsets,
//! and among each other in a bitset that is set for one list and cleared again. No pair is materialised.

use super::chunk::{Answer, Worker};
use super::{Stats, TASK_CHUNKS, resolve, share, tasks_of};
use crate::control::Cancel;
use crate::kernel::{self, Lanes};
use crate::plan::{Node, Plan};
use crate::predicate::Predicate;
use crate::schema::TableId;
use crate::{Error, Result, Snapshot};
use muster_storage::chunk::{ChunkRef, Words};
use muster_storage::format::BITSET_WORDS;
use std::ops::Range;

/// At most so many sets are compared at once: the pairs grow with their square.
pub const OVERLAP_SETS_MAX: usize = 1_000;

/// A list of more members than this is made a bitset: to look them up in every other set takes longer than to intersect
/// bitsets of the whole chunk.
const LIST_MEMBERS_MAX: usize = 256;

/// What making a set and counting a pair take in a chunk, to a factor of two.
const SET_NANOS: f64 = 500.0;
const PAIR_NANOS: f64 = 60.0;

/// Sizes of sets and of what each two of them have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The number of members of each set, in the order given.
    pub sizes: Vec<u64>,
    /// Of set i with each set before it, i ascending: the pair (i, j < i) stands at `i × (i − 1) / 2 + j`.
    pairs: Vec<u64>,
}

impl Overlap {
    fn of(sets: usize) -> Overlap {
        Overlap { sizes: vec![0; sets], pairs: vec![0; sets * sets.saturating_sub(1) / 2] }
    }

    /// How many members two sets have in common; of a set with itself all. Panics beyond the sets.
    pub fn pair(&self, a: usize, b: usize) -> u64 {
        if a == b { self.sizes[a] } else { self.pairs[place(a, b)] }
    }
}

fn place(a: usize, b: usize) -> usize {
    let (low, high) = (a.min(b), a.max(b));
    high * high.saturating_sub(1) / 2 + low
}

/// The sizes of the predicates' sets and of their pairwise intersections.
///
/// Errors: those of [`super::evaluate`], and more than [`OVERLAP_SETS_MAX`] predicates.
pub fn overlap(
    snapshot: &Snapshot,
    table: TableId,
    predicates: &[Predicate],
    cancel: &Cancel,
) -> Result<(Overlap, Stats)> {
    if predicates.len() > OVERLAP_SETS_MAX {
        return Err(Error::Invalid(format!(
            "{} sets are too many to compare at once: at most {OVERLAP_SETS_MAX}",
            predicates.len()
        )));
    }
    let _kept = cancel.keeping();
    let mut stats = Stats::default();
    let predicates = predicates.iter().map(|predicate| {
        let (predicate, resolving) = resolve(snapshot, table, predicate, cancel)?;
        stats.add(resolving);
        Ok(predicate)
    });
    let predicates = predicates.collect::<Result<Vec<_>>>()?;
    let plans = predicates.iter().map(|predicate| Plan::in_snapshot(snapshot, table, predicate, cancel, 0));
    let table = snapshot.table(table)?;
    let plans = plans.collect::<Result<Vec<_>>>()?;
    let tasks = tasks_of(0..table.chunks());
    let whole = Overlap::of(plans.len());
    let chunk_nanos = plans.len() as f64 * SET_NANOS + whole.pairs.len() as f64 * PAIR_NANOS;
    let nanos = tasks.len() as f64 * f64::from(TASK_CHUNKS) * chunk_nanos;
    let mut held = cancel.holder("the pairs of sets");
    held.add(2 * whole.pairs.len() * (size_of::<u64>() + size_of::<Lanes>()))?;
    let begin = || Counter {
        workers: plans.iter().map(Worker::new).collect(),
        overlap: Overlap::of(plans.len()),
        scratch: Box::new([0; BITSET_WORDS]),
        lanes: vec![Lanes::default(); whole.pairs.len()],
    };
    let counters = share(&tasks, nanos, begin, |counter, task| counter.task(task, cancel))?;
    let mut total = whole;
    for Counter { workers, overlap, lanes, .. } in counters {
        let pairs = overlap.pairs.iter().zip(&lanes).map(|(pair, lanes)| pair + lanes.iter().sum::<u64>());
        total.pairs.iter_mut().zip(pairs).for_each(|(total, pair)| *total += pair);
        total.sizes.iter_mut().zip(overlap.sizes).for_each(|(total, size)| *total += size);
        workers.iter().for_each(|worker| stats.add(worker.stats));
    }
    Ok((total, stats))
}

/// One thread's counts.
struct Counter<'p, 'a> {
    workers: Vec<Worker<'p, 'a>>,
    overlap: Overlap,
    /// All zero between uses.
    scratch: Box<Words>,
    /// Of pairs where both were bitsets.
    lanes: Vec<Lanes>,
}

/// One set in a chunk: stored, or made.
enum Set<'a> {
    Stored(ChunkRef<'a>),
    Made(Answer),
}

impl Counter<'_, '_> {
    fn task(&mut self, chunks: Range<u32>, cancel: &Cancel) -> Result<bool> {
        self.workers.iter_mut().for_each(|worker| worker.begin(chunks.clone()));
        for chunk in chunks {
            cancel.check()?;
            let mut sets = Vec::with_capacity(self.workers.len());
            for worker in &mut self.workers {
                sets.push(set_of(worker, chunk)?);
            }
            let rows = self.workers.first().map_or(0, |worker| worker.plan.table.chunk_rows(chunk));
            self.count(&sets, rows);
            for (worker, set) in self.workers.iter_mut().zip(sets) {
                if let Set::Made(answer) = set {
                    worker.recycle(answer);
                }
            }
        }
        Ok(true)
    }

    fn count(&mut self, sets: &[Set<'_>], rows: usize) {
        let Counter { overlap, scratch, lanes, .. } = self;
        let (mut bitsets, mut lists) = (Vec::with_capacity(sets.len()), Vec::with_capacity(sets.len()));
        let mut everyone = Vec::new();
        for (index, set) in sets.iter().enumerate() {
            let (cardinality, set) = match set {
                Set::Stored(set) => (set.cardinality(), *set),
                Set::Made(Answer::Nobody) => (0, ChunkRef::EMPTY),
                Set::Made(Answer::Members(members)) => (members.len() as u32, ChunkRef::Array(members)),
                Set::Made(Answer::Words(words, cardinality)) => {
                    (*cardinality, ChunkRef::Bitset { words, cardinality: *cardinality })
                }
                Set::Made(Answer::Everyone) => {
                    overlap.sizes[index] += rows as u64;
                    everyone.push(index);
                    continue;
                }
            };
            overlap.sizes[index] += u64::from(cardinality);
            match set {
                ChunkRef::Bitset { words, .. } => bitsets.push((index, words)),
                ChunkRef::Array([]) => {}
                ChunkRef::Array(members) => lists.push((index, members)),
                ChunkRef::Runs { .. } => unreachable!("a set of runs is made a bitset"),
            }
            everyone.iter().for_each(|other| overlap.pairs[place(index, *other)] += u64::from(cardinality));
        }
        // Sets that came before the first that is everyone, and everyone among themselves.
        for (at, all) in everyone.iter().enumerate() {
            let earlier = sets[..*all].iter().enumerate();
            for (index, set) in earlier.filter(|(index, _)| !everyone.contains(index)) {
                overlap.pairs[place(index, *all)] += u64::from(match set {
                    Set::Stored(set) => set.cardinality(),
                    Set::Made(answer) => answer.found(rows).cardinality() as u32,
                });
            }
            everyone[..at].iter().for_each(|other| overlap.pairs[place(*all, *other)] += rows as u64);
        }

        kernel::pair_counts(&bitsets, lanes);
        for (at, (a, members)) in lists.iter().enumerate() {
            for (b, words) in &bitsets {
                overlap.pairs[place(*a, *b)] += u64::from(kernel::count_members(words, members));
            }
            if at == 0 {
                continue;
            }
            kernel::set_members(scratch, members, true);
            for (b, others) in &lists[..at] {
                overlap.pairs[place(*a, *b)] += u64::from(kernel::count_members(scratch, others));
            }
            kernel::set_members(scratch, members, false);
        }
    }
}

/// A plan's members in a chunk, in place where they are one stored bitset or short list.
fn set_of<'a>(worker: &mut Worker<'_, 'a>, chunk: u32) -> Result<Set<'a>> {
    worker.prefetch(chunk);
    let set = stored_or_made(worker, chunk)?;
    let list = match &set {
        Set::Stored(ChunkRef::Array(members)) => *members,
        Set::Made(Answer::Members(members)) => members,
        _ => return Ok(set),
    };
    if list.len() <= LIST_MEMBERS_MAX {
        return Ok(set);
    }
    let mut words = worker.buffer();
    words.fill(0);
    kernel::set_members(&mut words, list, true);
    Ok(Set::Made(Answer::Words(words, list.len() as u32)))
}

fn stored_or_made<'a>(worker: &mut Worker<'_, 'a>, chunk: u32) -> Result<Set<'a>> {
    // A stored set may hold rows that are gone.
    if let Node::Leaf { leaf, negated: false } = worker.plan.root
        && worker.all_live(chunk)?
        && let Some(set @ (ChunkRef::Array(_) | ChunkRef::Bitset { .. })) = worker.direct(leaf, chunk)?
    {
        worker.stats.chunks += 1;
        worker.stats.bytes += set.bytes() as u64;
        return Ok(Set::Stored(set));
    }
    worker.members(chunk, None).map(Set::Made)
}
