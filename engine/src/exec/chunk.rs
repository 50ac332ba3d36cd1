//! A predicate tree on one chunk: everything stays in L1 and L2, nothing is decided per member.
//!
//! An AND is a [`Conjunction`]: it collects bitsets to be intersected in one fused pass, falls over to a short list of
//! members as soon as one clause is small, and asks the clauses that are left about those members only.

use super::leafset::Ranks;
use super::{Found, Stats};
use crate::Result;
use crate::kernel::{self, Operand};
use crate::plan::{Node, Plan, Test};
use muster_storage::chunk::{ChunkRef, Words};
use muster_storage::format::{BITSET_WORDS, SectionKind};

/// When fewer members than this are expected to be left, a clause is asked member by member. A probe is a cache line and
/// its latency; the set of a range is two bitmaps and some two thousand single bits, about 20 KiB in sequence.
const PROBE_BELOW: f64 = 256.0;

/// A bitset in a part, or in a buffer of the worker's pool.
pub(super) enum Set<'a> {
    Stored(&'a Words),
    Pooled(Box<Words>),
}

impl Set<'_> {
    pub(super) fn words(&self) -> &Words {
        match self {
            Set::Stored(words) => words,
            Set::Pooled(words) => words,
        }
    }
}

/// What one thread needs to evaluate chunks: the plan, and buffers that are reused.
pub(super) struct Worker<'p, 'a> {
    pub(super) plan: &'p Plan<'a>,
    pub(super) ranks: Vec<Ranks>,
    /// The chunks of the task at hand, whose ranks are resolved together.
    pub(super) task: std::ops::Range<u32>,
    pub(super) stats: Stats,
    pool: Vec<Box<Words>>,
}

/// The members that satisfy all clauses so far.
#[derive(Default)]
pub(super) struct Conjunction<'a> {
    /// All of them, once they are few.
    members: Option<Vec<u16>>,
    /// Otherwise: they are in all of these (or, `true`, outside) …
    operands: Vec<(Set<'a>, bool)>,
    /// … and in none of these.
    removed: Vec<&'a [u16]>,
    /// The share of the chunk expected to be left, if clauses are independent.
    share: f64,
}

/// A chunk's members.
pub(super) enum Answer<'a> {
    Nobody,
    Everyone,
    Members(Vec<u16>),
    Words(Set<'a>, u32),
}

impl Answer<'_> {
    pub(super) fn found(&self, rows: usize) -> Found<'_> {
        match self {
            Answer::Nobody => Found::Members(&[]),
            Answer::Everyone => Found::Everyone(rows),
            Answer::Members(members) => Found::Members(members),
            Answer::Words(set, cardinality) => Found::Words(set.words(), *cardinality),
        }
    }
}

impl<'p, 'a> Worker<'p, 'a> {
    pub(super) fn new(plan: &'p Plan<'a>) -> Worker<'p, 'a> {
        let ranks = plan.leaves.iter().map(|_| Ranks::default()).collect();
        Worker { plan, ranks, task: 0..0, stats: Stats::default(), pool: Vec::new() }
    }

    /// Begins a task of neighbouring chunks.
    pub(super) fn begin(&mut self, chunks: std::ops::Range<u32>) {
        self.task = chunks;
        self.ranks.iter_mut().for_each(Ranks::forget);
    }

    /// An empty buffer.
    pub(super) fn zeroed(&mut self) -> Box<Words> {
        let mut words = self.buffer();
        words.fill(0);
        words
    }

    /// A buffer of unspecified content.
    pub(super) fn buffer(&mut self) -> Box<Words> {
        self.pool.pop().unwrap_or_else(|| Box::new([0; BITSET_WORDS]))
    }

    pub(super) fn give_back(&mut self, words: Box<Words>) {
        self.pool.push(words);
    }

    /// Takes back an answer's buffer.
    pub(super) fn recycle(&mut self, answer: Answer<'_>) {
        if let Answer::Words(Set::Pooled(words), _) = answer {
            self.pool.push(words);
        }
    }

    /// How many live members of a chunk satisfy the plan, within `mask`.
    pub(super) fn count(&mut self, chunk: u32, mask: Option<&Words>) -> Result<u32> {
        self.stats.chunks += 1;
        let plan = self.plan;
        if mask.is_none() {
            match &plan.root {
                Node::Nobody => return Ok(0),
                Node::Everyone => return Ok(self.live_cardinality(chunk)),
                Node::Leaf { leaf, negated } => {
                    if let Some(cardinality) = self.leaf_cardinality(*leaf, chunk)? {
                        return Ok(if *negated {
                            let nulls = match plan.leaves[*leaf].test {
                                Test::Null => 0,
                                _ => self.null_cardinality(*leaf, chunk),
                            };
                            self.live_cardinality(chunk) - cardinality - nulls
                        } else {
                            cardinality
                        });
                    }
                }
                Node::Or(children) => {
                    let words = self.union(children, chunk)?;
                    let cardinality = kernel::cardinality(&words);
                    self.give_back(words);
                    return Ok(cardinality);
                }
                Node::And(_) => {}
            }
        }
        let mut conjunction = Conjunction { share: 1.0, ..Conjunction::default() };
        if self.narrow_root(&mut conjunction, chunk, mask)? {
            self.finish_count(conjunction, chunk)
        } else {
            Ok(0)
        }
    }

    /// The live members of a chunk that satisfy the plan, within `mask`.
    pub(super) fn members(&mut self, chunk: u32, mask: Option<&Words>) -> Result<Answer<'a>> {
        self.stats.chunks += 1;
        let mut conjunction = Conjunction { share: 1.0, ..Conjunction::default() };
        if self.narrow_root(&mut conjunction, chunk, mask)? {
            self.finish(conjunction, chunk)
        } else {
            Ok(Answer::Nobody)
        }
    }

    fn narrow_root(&mut self, into: &mut Conjunction<'a>, chunk: u32, mask: Option<&Words>) -> Result<bool> {
        if let Some(mask) = mask {
            let mut words = self.buffer();
            words.copy_from_slice(mask);
            into.operands.push((Set::Pooled(words), false));
        }
        let plan = self.plan;
        self.narrow(into, &plan.root, chunk)
    }

    fn live_cardinality(&self, chunk: u32) -> u32 {
        self.plan.live.entry(chunk, SectionKind::Sets).map_or(0, |entry| entry.cardinality)
    }

    fn null_cardinality(&self, leaf: usize, chunk: u32) -> u32 {
        let reader = self.plan.reader(&self.plan.leaves[leaf]);
        reader.entry(chunk, SectionKind::Nulls).map_or(0, |entry| entry.cardinality)
    }

    /// The cardinality of a leaf's TRUE set where it is known without making the set.
    fn leaf_cardinality(&mut self, leaf: usize, chunk: u32) -> Result<Option<u32>> {
        let plan = self.plan;
        let reader = plan.reader(&plan.leaves[leaf]);
        Ok(match &plan.leaves[leaf].test {
            Test::True => Some(reader.entry(chunk, SectionKind::Sets).map_or(0, |entry| entry.cardinality)),
            Test::Null => Some(reader.entry(chunk, SectionKind::Nulls).map_or(0, |entry| entry.cardinality)),
            Test::Never => Some(0),
            Test::Codes(_) => {
                self.ranges(leaf, chunk)?.map(|ranges| ranges.iter().map(|(low, high)| high - low).sum())
            }
            _ => self.direct(leaf, chunk)?.map(|set| {
                self.stats.bytes += 64;
                set.cardinality()
            }),
        })
    }

    /// Narrows to the members for which `node` holds too; false once nobody is left.
    pub(super) fn narrow(&mut self, into: &mut Conjunction<'a>, node: &Node, chunk: u32) -> Result<bool> {
        match node {
            Node::Nobody => Ok(false),
            Node::Everyone => Ok(true),
            Node::And(children) => {
                for child in children {
                    if !self.narrow(into, child, chunk)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Node::Or(children) => {
                if self.sparse(into, chunk)? {
                    return self.probe_all(into, node, chunk);
                }
                let words = self.union(children, chunk)?;
                let cardinality = kernel::cardinality(&words);
                Ok(self.keep(into, Set::Pooled(words), cardinality, chunk))
            }
            Node::Leaf { leaf, negated } => self.narrow_leaf(into, *leaf, *negated, chunk),
        }
    }

    fn narrow_leaf(
        &mut self,
        into: &mut Conjunction<'a>,
        leaf: usize,
        negated: bool,
        chunk: u32,
    ) -> Result<bool> {
        let plan = self.plan;
        let set = match self.direct(leaf, chunk)? {
            Some(set) => set,
            None => {
                if self.sparse(into, chunk)? {
                    return self.probe_all(into, &Node::Leaf { leaf, negated }, chunk);
                }
                let mut words = self.buffer();
                self.leaf_into(leaf, chunk, &mut words, true)?;
                let cardinality = kernel::cardinality(&words);
                if !negated {
                    return Ok(self.keep(into, Set::Pooled(words), cardinality, chunk));
                }
                into.share *= 1.0 - f64::from(cardinality) / plan.table.chunk_rows(chunk) as f64;
                into.operands.push((Set::Pooled(words), true));
                let nulls = plan.reader(&plan.leaves[leaf]).nulls(chunk)?;
                return self.remove(into, nulls, chunk);
            }
        };
        if !negated {
            return self.keep_stored(into, set, chunk);
        }
        if !self.remove(into, set, chunk)? {
            return Ok(false);
        }
        match plan.leaves[leaf].test {
            Test::Null => Ok(true),
            _ => {
                let nulls = plan.reader(&plan.leaves[leaf]).nulls(chunk)?;
                self.remove(into, nulls, chunk)
            }
        }
    }

    /// Keeps the members of a bitset.
    fn keep(&mut self, into: &mut Conjunction<'a>, set: Set<'a>, cardinality: u32, chunk: u32) -> bool {
        if cardinality == 0 {
            return false;
        }
        into.share *= f64::from(cardinality) / self.plan.table.chunk_rows(chunk) as f64;
        if let Some(members) = &mut into.members {
            kernel::retain_members(members, set.words(), false);
            self.release(set);
            return !members.is_empty();
        }
        into.operands.push((set, false));
        true
    }

    fn release(&mut self, set: Set<'_>) {
        if let Set::Pooled(words) = set {
            self.pool.push(words);
        }
    }

    /// Keeps the members of a stored container.
    fn keep_stored(&mut self, into: &mut Conjunction<'a>, set: ChunkRef<'a>, chunk: u32) -> Result<bool> {
        self.stats.bytes += set.bytes() as u64;
        match set {
            ChunkRef::Bitset { words, cardinality } => {
                Ok(self.keep(into, Set::Stored(words), cardinality, chunk))
            }
            ChunkRef::Runs { cardinality, .. }
                if cardinality as usize == self.plan.table.chunk_rows(chunk) =>
            {
                Ok(true)
            }
            ChunkRef::Runs { runs, cardinality } => {
                let mut words = self.zeroed();
                runs.iter().for_each(|run| kernel::set_run(&mut words, run[0], run[1]));
                Ok(self.keep(into, Set::Pooled(words), cardinality, chunk))
            }
            ChunkRef::Array(array) => {
                let mut members = match into.members.take() {
                    Some(mut members) => {
                        intersect(&mut members, array);
                        members
                    }
                    None => array.to_vec(),
                };
                for (set, negated) in std::mem::take(&mut into.operands) {
                    kernel::retain_members(&mut members, set.words(), negated);
                    self.release(set);
                }
                for removed in into.removed.drain(..) {
                    subtract(&mut members, removed);
                }
                let some = !members.is_empty();
                into.members = Some(members);
                Ok(some)
            }
        }
    }

    /// Removes the members of a stored container.
    fn remove(&mut self, into: &mut Conjunction<'a>, set: ChunkRef<'a>, chunk: u32) -> Result<bool> {
        if set.cardinality() == 0 {
            return Ok(true);
        }
        self.stats.bytes += set.bytes() as u64;
        let rows = self.plan.table.chunk_rows(chunk);
        if set.cardinality() as usize == rows {
            return Ok(false);
        }
        into.share *= 1.0 - f64::from(set.cardinality()) / rows as f64;
        let set = match set {
            ChunkRef::Array(array) => {
                match &mut into.members {
                    Some(members) => subtract(members, array),
                    None => into.removed.push(array),
                }
                return Ok(into.members.as_ref().is_none_or(|m| !m.is_empty()));
            }
            ChunkRef::Bitset { words, .. } => Set::Stored(words),
            ChunkRef::Runs { runs, .. } => {
                let mut words = self.zeroed();
                runs.iter().for_each(|run| kernel::set_run(&mut words, run[0], run[1]));
                Set::Pooled(words)
            }
        };
        if let Some(members) = &mut into.members {
            kernel::retain_members(members, set.words(), true);
            self.release(set);
            return Ok(!members.is_empty());
        }
        into.operands.push((set, true));
        Ok(true)
    }

    /// True where the members are a list, made one now if few enough are expected.
    fn sparse(&mut self, into: &mut Conjunction<'a>, chunk: u32) -> Result<bool> {
        if into.members.is_some() {
            return Ok(true);
        }
        if into.operands.is_empty() || into.share * self.plan.table.chunk_rows(chunk) as f64 > PROBE_BELOW {
            return Ok(false);
        }
        let taken = std::mem::replace(into, Conjunction { share: into.share, ..Conjunction::default() });
        into.members = Some(match self.finish(taken, chunk)? {
            Answer::Members(members) => members,
            Answer::Words(set, cardinality) => {
                let mut members = Vec::with_capacity(cardinality as usize + 64);
                kernel::decode_members(set.words(), cardinality, &mut members);
                self.release(set);
                members
            }
            Answer::Nobody => Vec::new(),
            Answer::Everyone => (0..self.plan.table.chunk_rows(chunk)).map(|row| row as u16).collect(),
        });
        Ok(true)
    }

    fn probe_all(&mut self, into: &mut Conjunction<'a>, node: &Node, chunk: u32) -> Result<bool> {
        let mut members = into.members.take().unwrap_or_default();
        self.probe(node, chunk, &mut members)?;
        let some = !members.is_empty();
        into.members = Some(members);
        Ok(some)
    }

    /// Keeps those of a list for which `node` holds.
    pub(super) fn probe(&mut self, node: &Node, chunk: u32, members: &mut Vec<u16>) -> Result<()> {
        if members.is_empty() {
            return Ok(());
        }
        match node {
            Node::Nobody => members.clear(),
            Node::Everyone => {}
            Node::And(children) => {
                for child in children {
                    self.probe(child, chunk, members)?;
                }
            }
            Node::Or(children) => {
                let mut hits = self.zeroed();
                for child in children {
                    let mut some = members.clone();
                    self.probe(child, chunk, &mut some)?;
                    kernel::set_members(&mut hits, &some, true);
                }
                kernel::retain_members(members, &hits, false);
                self.give_back(hits);
            }
            Node::Leaf { leaf, negated } => self.probe_leaf(*leaf, *negated, chunk, members)?,
        }
        Ok(())
    }

    /// The union of some nodes.
    pub(super) fn union(&mut self, children: &[Node], chunk: u32) -> Result<Box<Words>> {
        let mut words = self.buffer();
        let mut fresh = true;
        for child in children {
            self.union_child(child, chunk, &mut words, &mut fresh)?;
        }
        if fresh {
            words.fill(0);
        }
        Ok(words)
    }

    /// Adds a node's members to `words`, whose content counts for nothing while `fresh`.
    fn union_child(&mut self, node: &Node, chunk: u32, words: &mut Words, fresh: &mut bool) -> Result<()> {
        if let Node::Leaf { leaf, negated: false } = node {
            match self.direct(*leaf, chunk)? {
                Some(set) => {
                    self.stats.bytes += set.bytes() as u64;
                    add(set, words, *fresh);
                }
                None => self.leaf_into(*leaf, chunk, words, *fresh)?,
            }
            *fresh = false;
            return Ok(());
        }
        let mut conjunction = Conjunction { share: 1.0, ..Conjunction::default() };
        let answer = if self.narrow(&mut conjunction, node, chunk)? {
            self.finish(conjunction, chunk)?
        } else {
            Answer::Nobody
        };
        match &answer {
            Answer::Nobody => return Ok(()),
            Answer::Everyone => add(self.plan.live.set(chunk, 0)?, words, *fresh),
            Answer::Members(members) => add(ChunkRef::Array(members), words, *fresh),
            Answer::Words(set, cardinality) => {
                add(ChunkRef::Bitset { words: set.words(), cardinality: *cardinality }, words, *fresh);
            }
        }
        *fresh = false;
        self.recycle(answer);
        Ok(())
    }

    /// Puts the live set in where nothing else bounds the members from above.
    fn bound(&mut self, conjunction: &mut Conjunction<'a>, chunk: u32) -> Result<()> {
        if conjunction.operands.iter().any(|(_, negated)| !negated) || self.live_cardinality(chunk) == 1 << 16
        {
            return Ok(());
        }
        let mut words = self.zeroed();
        add(self.plan.live.set(chunk, 0)?, &mut words, false);
        conjunction.operands.push((Set::Pooled(words), false));
        Ok(())
    }

    fn finish_count(&mut self, mut conjunction: Conjunction<'a>, chunk: u32) -> Result<u32> {
        if let Some(members) = conjunction.members {
            return Ok(members.len() as u32);
        }
        if conjunction.operands.is_empty() && conjunction.removed.is_empty() {
            return Ok(self.live_cardinality(chunk));
        }
        if conjunction.removed.len() > 1 {
            let answer = self.finish(conjunction, chunk)?;
            let count = match &answer {
                Answer::Nobody => 0,
                Answer::Everyone => self.live_cardinality(chunk),
                Answer::Members(members) => members.len() as u32,
                Answer::Words(_, cardinality) => *cardinality,
            };
            self.recycle(answer);
            return Ok(count);
        }
        self.bound(&mut conjunction, chunk)?;
        let operands: Vec<Operand<'_>> = operands_of(&conjunction);
        let count = match operands.as_slice() {
            [] => 1 << 16,
            [a, b] => kernel::pair_count(*a, *b),
            [a, b, c] => kernel::triple_count(*a, *b, *c),
            all => kernel::intersection_count(all),
        };
        let removed = match conjunction.removed.first() {
            Some(removed) => {
                let mut inside = removed.to_vec();
                operands.iter().for_each(|o| kernel::retain_members(&mut inside, o.words, o.negated));
                inside.len() as u32
            }
            None => 0,
        };
        drop(operands);
        conjunction.operands.into_iter().for_each(|(set, _)| self.release(set));
        Ok(count - removed)
    }

    fn finish(&mut self, mut conjunction: Conjunction<'a>, chunk: u32) -> Result<Answer<'a>> {
        if let Some(members) = conjunction.members {
            return Ok(if members.is_empty() { Answer::Nobody } else { Answer::Members(members) });
        }
        if conjunction.operands.is_empty() && conjunction.removed.is_empty() {
            return Ok(if self.live_cardinality(chunk) == 0 { Answer::Nobody } else { Answer::Everyone });
        }
        self.bound(&mut conjunction, chunk)?;
        let mut words = self.buffer();
        let mut cardinality = kernel::intersection_into(&operands_of(&conjunction), &mut words);
        if !conjunction.removed.is_empty() {
            conjunction.removed.iter().for_each(|removed| kernel::set_members(&mut words, removed, false));
            cardinality = kernel::cardinality(&words);
        }
        conjunction.operands.into_iter().for_each(|(set, _)| self.release(set));
        if cardinality == 0 {
            self.give_back(words);
            return Ok(Answer::Nobody);
        }
        Ok(Answer::Words(Set::Pooled(words), cardinality))
    }
}

fn operands_of<'s>(conjunction: &'s Conjunction<'_>) -> Vec<Operand<'s>> {
    conjunction
        .operands
        .iter()
        .map(|(set, negated)| Operand { words: set.words(), negated: *negated })
        .collect()
}

/// Adds a container to a bitset, or with `fresh` replaces it.
pub(super) fn add(set: ChunkRef<'_>, words: &mut Words, fresh: bool) {
    if let ChunkRef::Bitset { words: stored, .. } = set {
        return if fresh { words.copy_from_slice(stored) } else { kernel::union_into(stored, words) };
    }
    if fresh {
        words.fill(0);
    }
    match set {
        ChunkRef::Array(members) => kernel::set_members(words, members, true),
        ChunkRef::Runs { runs, .. } => runs.iter().for_each(|run| kernel::set_run(words, run[0], run[1])),
        ChunkRef::Bitset { .. } => {}
    }
}

/// Keeps the members that are also in `other`; both ascending.
fn intersect(members: &mut Vec<u16>, other: &[u16]) {
    let mut at = 0;
    members.retain(|member| {
        while at < other.len() && other[at] < *member {
            at += 1;
        }
        other.get(at) == Some(member)
    });
}

/// Keeps the members that are not in `other`; both ascending.
fn subtract(members: &mut Vec<u16>, other: &[u16]) {
    let mut at = 0;
    members.retain(|member| {
        while at < other.len() && other[at] < *member {
            at += 1;
        }
        other.get(at) != Some(member)
    });
}
