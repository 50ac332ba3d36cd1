//! A predicate tree on one chunk: everything stays in L1 and L2, nothing is decided per member.
//!
//! An AND is a [`Conjunction`]: it collects bitsets to be intersected in one fused pass, falls over to a short list of
//! members as soon as one clause is small, and asks the clauses that are left about those members only.

use super::clause::{Clause, Conjunction, with_operands};
use super::codeset::CodeSet;
use super::leafset::SCANNED_INTERVALS_MIN;
use super::overlay::Scratch;
use super::owned::OwnedWorker;
use super::ranks::Ranks;
use super::relation::ByOwnerWorker;
use super::{Found, Stats};
use crate::Result;
use crate::kernel;
use crate::plan::{Node, Plan, Test};
use hashbrown::HashMap;
use muster_storage::chunk::{ChunkRef, Words};
use muster_storage::format::{BITSET_WORDS, SectionKind};
use std::borrow::Cow;
use std::sync::Arc;

/// When fewer members than this are expected to be left, a clause is asked member by member. A probe is a cache line and
/// its latency; the set of a range is two bitmaps and some two thousand single bits, about 20 KiB in sequence.
const PROBE_BELOW: f64 = 256.0;

/// A range is covered rather than made exactly where at most this many members are expected to be left before it …
const COVER_MAX: f64 = 1024.0;
/// … and at least this many: fewer are not worth reading the sets around it.
const COVER_MIN: f64 = 128.0;

/// What one thread needs to evaluate chunks: the plan, and buffers that are reused.
pub(super) struct Worker<'p, 'a> {
    pub(super) plan: &'p Plan<'a>,
    pub(super) ranks: Vec<Ranks<'a>>,
    /// The chunks of the task at hand, whose ranks are resolved together.
    pub(super) task: std::ops::Range<u32>,
    pub(super) stats: Stats,
    /// The codes of leaves that ask for many, once they were wanted; `None` where they have no such set.
    pub(super) code_sets: HashMap<usize, Option<Arc<CodeSet>>>,
    /// For leaves with changed rows.
    pub(super) scratch: Scratch,
    /// For leaves that ask rows of other tables, once they were asked.
    pub(super) owned: HashMap<usize, OwnedWorker<'p, 'a>>,
    /// For leaves that ask rows made of the members' rows.
    pub(super) by_owner: HashMap<usize, ByOwnerWorker<'p, 'a>>,
    /// The leaf and the chunk of owners that were asked for last, and the owners.
    pub(super) owners: Option<(usize, u32, Option<Cow<'p, Words>>)>,
    /// The words of a chunk's sets that matter: beyond, a leaf may leave its members out.
    pub(super) window: std::ops::Range<usize>,
    pool: Vec<Box<Words>>,
}

/// A chunk's members.
pub(super) enum Answer {
    Nobody,
    Everyone,
    Members(Vec<u16>),
    Words(Box<Words>, u32),
}

impl Answer {
    pub(super) fn found(&self, rows: usize) -> Found<'_> {
        match self {
            Answer::Nobody => Found::Members(&[]),
            Answer::Everyone => Found::Everyone(rows),
            Answer::Members(members) => Found::Members(members),
            Answer::Words(words, cardinality) => Found::Words(words, *cardinality),
        }
    }
}

impl<'p, 'a> Worker<'p, 'a> {
    pub(super) fn new(plan: &'p Plan<'a>) -> Worker<'p, 'a> {
        let ranks = plan.leaves.iter().map(|_| Ranks::default()).collect();
        Worker {
            plan,
            ranks,
            task: 0..0,
            stats: Stats::default(),
            code_sets: HashMap::new(),
            scratch: Scratch::default(),
            owned: HashMap::new(),
            by_owner: HashMap::new(),
            owners: None,
            pool: Vec::new(),
            window: 0..BITSET_WORDS,
        }
    }

    /// Begins a task of neighbouring chunks.
    pub(super) fn begin(&mut self, chunks: std::ops::Range<u32>) {
        self.task = chunks;
        self.ranks.iter_mut().for_each(Ranks::forget);
    }

    /// A buffer of unspecified content.
    pub(super) fn buffer(&mut self) -> Box<Words> {
        self.pool.pop().unwrap_or_else(|| Box::new([0; BITSET_WORDS]))
    }

    pub(super) fn give_back(&mut self, words: Box<Words>) {
        self.pool.push(words);
    }

    /// Takes back an answer's buffer.
    pub(super) fn recycle(&mut self, answer: Answer) {
        if let Answer::Words(words, _) = answer {
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
                Node::Everyone => return self.live_cardinality(chunk),
                Node::Leaf { leaf, negated } => {
                    if let Some(cardinality) = self.leaf_cardinality(*leaf, chunk)? {
                        return Ok(if *negated {
                            let nulls = match plan.leaves[*leaf].test {
                                Test::Null => 0,
                                _ => self.null_cardinality(*leaf, chunk)?,
                            };
                            self.live_cardinality(chunk)? - cardinality - nulls
                        } else {
                            cardinality
                        });
                    }
                }
                Node::And(_) | Node::Or(_) => {}
            }
        }
        self.in_window_of(mask, |worker| {
            let mut conjunction = Conjunction::new(1.0);
            match worker.narrow_root(&mut conjunction, &plan.root, chunk, mask)? {
                true => worker.finish_count(conjunction, chunk),
                false => Ok(0),
            }
        })
    }

    /// Does something of which only the members in `mask` matter.
    fn in_window_of<T>(&mut self, mask: Option<&Words>, run: impl FnOnce(&mut Self) -> T) -> T {
        let all = 0..BITSET_WORDS;
        self.window = mask.map_or(all.clone(), |mask| {
            let first = mask.iter().position(|word| *word != 0).unwrap_or(BITSET_WORDS);
            first..mask.iter().rposition(|word| *word != 0).map_or(first, |last| last + 1)
        });
        let made = run(self);
        self.window = all;
        made
    }

    /// The live members of a chunk that satisfy the plan, within `mask`.
    pub(super) fn members(&mut self, chunk: u32, mask: Option<&Words>) -> Result<Answer> {
        self.members_under(&self.plan.root, chunk, mask)
    }

    /// [`Self::members`] of another tree over the plan's leaves.
    pub(super) fn members_under(&mut self, root: &Node, chunk: u32, mask: Option<&Words>) -> Result<Answer> {
        self.stats.chunks += 1;
        self.in_window_of(mask, |worker| {
            let mut conjunction = Conjunction::new(1.0);
            match worker.narrow_root(&mut conjunction, root, chunk, mask)? {
                true => worker.finish(conjunction, chunk),
                false => Ok(Answer::Nobody),
            }
        })
    }

    fn narrow_root(
        &mut self,
        into: &mut Conjunction<'a>,
        root: &Node,
        chunk: u32,
        mask: Option<&Words>,
    ) -> Result<bool> {
        if let Some(mask) = mask {
            let mut clause = Clause::new(false);
            clause.made(self).0.copy_from_slice(mask);
            into.clauses.push(clause);
        }
        if !self.all_live(chunk)? {
            // Columns still hold what rows had that are gone.
            let mut clause = Clause::new(false);
            self.live_into(chunk, &mut clause)?;
            into.clauses.push(clause);
        }
        self.narrow(into, root, chunk)
    }

    /// The cardinality of a leaf's TRUE set where it is known without making the set.
    fn leaf_cardinality(&mut self, leaf: usize, chunk: u32) -> Result<Option<u32>> {
        if !self.all_live(chunk)? {
            return Ok(None);
        }
        let base = self.base_cardinality(leaf, chunk)?;
        if !self.is_overlaid(leaf, chunk) {
            return Ok(base);
        }
        let gained = self.gained(leaf, chunk)?;
        Ok(base.map(|base| (i64::from(base) + gained) as u32))
    }

    /// [`Self::leaf_cardinality`] in the base.
    fn base_cardinality(&mut self, leaf: usize, chunk: u32) -> Result<Option<u32>> {
        let plan = self.plan;
        let reader = plan.reader(&plan.leaves[leaf]);
        Ok(match &plan.leaves[leaf].test {
            Test::True => Some(reader.entry(chunk, SectionKind::Sets).map_or(0, |entry| entry.cardinality)),
            Test::Null => Some(reader.entry(chunk, SectionKind::Nulls).map_or(0, |entry| entry.cardinality)),
            Test::Never => Some(0),
            // So many are scanned for.
            Test::Codes(intervals) if intervals.len() > SCANNED_INTERVALS_MIN => None,
            Test::Codes(intervals) => match self.ranges(leaf, chunk)? {
                Some(ranges) => Some(ranges.iter().map(|(low, high)| high - low).sum()),
                None => {
                    let rows = |interval| Ok(reader.between(chunk, interval)?.map(|between| between.rows()));
                    intervals.iter().copied().map(rows).sum::<Result<Option<u32>>>()?
                }
            },
            _ => self.stored(leaf, chunk)?.map(|set| {
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
                let (mut covered, mut later) = (Vec::new(), Vec::new());
                for child in children {
                    if let Node::Leaf { leaf, negated: false } = child
                        && self.cover(into, *leaf, chunk)?
                    {
                        covered.push(*leaf);
                    } else if into.members.is_none() && self.few(into, chunk) && !self.is_stored(child) {
                        // It would make a list of the members: first come the stored sets that are left.
                        later.push(child);
                    } else if !self.narrow(into, child, chunk)? {
                        return Ok(false);
                    }
                }
                for child in later {
                    if !self.narrow(into, child, chunk)? {
                        return Ok(false);
                    }
                }
                if covered.is_empty() {
                    return Ok(true);
                }
                let mut members = self.listed(into, chunk)?;
                for leaf in covered {
                    self.probe_leaf(leaf, false, chunk, &mut members)?;
                }
                let some = !members.is_empty();
                into.members = Some(members);
                Ok(some)
            }
            Node::Or(children) => {
                if self.sparse(into, chunk)? {
                    return self.probe_all(into, node, chunk);
                }
                let mut clause = Clause::new(false);
                let mut outside = 1.0;
                for child in children {
                    let members = self.unite(child, chunk, &mut clause)?;
                    outside *= 1.0 - self.share_of(members, chunk);
                }
                Ok(self.keep(into, clause, 1.0 - outside))
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
        if self.is_overlaid(leaf, chunk) && into.members.is_none() && !self.few(into, chunk) {
            if !negated || !self.has_nulls(leaf, chunk) {
                let mut clause = Clause::new(negated);
                let members = self.overlaid_into(leaf, chunk, &mut clause)?;
                let share = self.share_of(members, chunk);
                if !negated {
                    return Ok(self.keep(into, clause, share));
                }
                into.share *= 1.0 - share;
                into.clauses.push(clause);
                return Ok(true);
            }
            let words = self.overlaid(leaf, negated, chunk)?;
            let share = self.share_of(kernel::cardinality(&words), chunk);
            let mut clause = Clause::new(false);
            clause.add_words(words, self);
            return Ok(self.keep(into, clause, share));
        }
        let set = match self.direct(leaf, chunk)? {
            Some(set) => set,
            None => {
                // Steps over rows cost more than any list of members.
                let slow = matches!(plan.leaves[leaf].test, Test::ByOwner(_));
                if slow && into.members.is_none() && !into.clauses.is_empty() {
                    into.members = Some(self.listed(into, chunk)?);
                }
                if self.sparse(into, chunk)? {
                    return self.probe_all(into, &Node::Leaf { leaf, negated }, chunk);
                }
                let mut clause = Clause::new(negated);
                let members = self.leaf_into(leaf, chunk, &mut clause)?;
                let share = self.share_of(members, chunk);
                if !negated {
                    return Ok(self.keep(into, clause, share));
                }
                into.share *= 1.0 - share;
                into.clauses.push(clause);
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

    /// The share of a chunk that some of its members are.
    fn share_of(&self, members: u32, chunk: u32) -> f64 {
        (f64::from(members) / self.plan.table.chunk_rows(chunk) as f64).min(1.0)
    }

    /// Keeps the members of a clause that is not negated; `share` of the chunk is an estimate, but 0 is exact.
    fn keep(&mut self, into: &mut Conjunction<'a>, clause: Clause<'a>, share: f64) -> bool {
        if share == 0.0 {
            clause.release(self);
            return false;
        }
        into.share *= share;
        if let Some(members) = &mut into.members {
            clause.retain(members);
            clause.release(self);
            return !members.is_empty();
        }
        into.clauses.push(clause);
        true
    }

    /// Keeps the members of a stored container.
    fn keep_stored(&mut self, into: &mut Conjunction<'a>, set: ChunkRef<'a>, chunk: u32) -> Result<bool> {
        if set.cardinality() as usize == self.plan.table.chunk_rows(chunk) {
            return Ok(true);
        }
        let ChunkRef::Array(array) = set else {
            let mut clause = Clause::new(false);
            clause.add(set, self);
            return Ok(self.keep(into, clause, self.share_of(set.cardinality(), chunk)));
        };
        self.stats.bytes += set.bytes() as u64;
        let mut members = match into.members.take() {
            Some(mut members) => {
                intersect(&mut members, array);
                members
            }
            None => array.to_vec(),
        };
        for clause in std::mem::take(&mut into.clauses) {
            clause.retain(&mut members);
            clause.release(self);
        }
        for removed in into.removed.drain(..) {
            subtract(&mut members, removed);
        }
        let some = !members.is_empty();
        into.members = Some(members);
        Ok(some)
    }

    /// Removes the members of a stored container.
    fn remove(&mut self, into: &mut Conjunction<'a>, set: ChunkRef<'a>, chunk: u32) -> Result<bool> {
        if set.cardinality() == 0 {
            return Ok(true);
        }
        let share = self.share_of(set.cardinality(), chunk);
        if share == 1.0 {
            return Ok(false);
        }
        into.share *= 1.0 - share;
        if let ChunkRef::Array(array) = set {
            self.stats.bytes += set.bytes() as u64;
            match &mut into.members {
                Some(members) => subtract(members, array),
                None => into.removed.push(array),
            }
            return Ok(into.members.as_ref().is_none_or(|m| !m.is_empty()));
        }
        let mut clause = Clause::new(true);
        clause.add(set, self);
        if let Some(members) = &mut into.members {
            clause.retain(members);
            clause.release(self);
            return Ok(!members.is_empty());
        }
        into.clauses.push(clause);
        Ok(true)
    }

    /// True where the members are a list, made one now if few enough are expected.
    fn sparse(&mut self, into: &mut Conjunction<'a>, chunk: u32) -> Result<bool> {
        if into.members.is_some() {
            return Ok(true);
        }
        if !self.few(into, chunk) {
            return Ok(false);
        }
        into.members = Some(self.listed(into, chunk)?);
        Ok(true)
    }

    /// True where so few members are expected to be left that they are better asked one by one.
    fn few(&self, into: &Conjunction<'a>, chunk: u32) -> bool {
        !into.clauses.is_empty() && into.share * self.plan.table.chunk_rows(chunk) as f64 <= PROBE_BELOW
    }

    /// True of a leaf whose members are one stored set.
    fn is_stored(&self, node: &Node) -> bool {
        let Node::Leaf { leaf, .. } = node else { return false };
        match &self.plan.leaves[*leaf].test {
            Test::True | Test::Null | Test::Never => true,
            Test::Tags(codes) | Test::Text { codes, .. } => codes.len() <= 1,
            Test::Codes(_)
            | Test::Ordinals(_)
            | Test::Computed(_)
            | Test::Rows(_)
            | Test::InOwners(_)
            | Test::ByOwner(_) => false,
        }
    }

    /// Takes the members so far as a list; the conjunction goes on without clauses.
    fn listed(&mut self, into: &mut Conjunction<'a>, chunk: u32) -> Result<Vec<u16>> {
        let taken = std::mem::replace(into, Conjunction::new(into.share));
        Ok(match self.finish(taken, chunk)? {
            Answer::Members(members) => members,
            Answer::Words(words, cardinality) => {
                let mut members = Vec::with_capacity(cardinality as usize + 64);
                kernel::decode_members(&words, cardinality, &mut members);
                self.give_back(words);
                members
            }
            Answer::Nobody => Vec::new(),
            Answer::Everyone => (0..self.plan.table.chunk_rows(chunk)).map(|row| row as u16).collect(),
        })
    }

    /// Narrows to stored sets around a range where few members are expected to be left then: filter now, refine later.
    /// True where it did; the leaf is then still to be asked of each member that all clauses leave.
    ///
    /// The exact set of a range is a copy of these sets and some thousand single bits; asking a few members is less.
    fn cover(&mut self, into: &mut Conjunction<'a>, leaf: usize, chunk: u32) -> Result<bool> {
        let rows = self.plan.table.chunk_rows(chunk) as f64;
        let expected = into.share * rows;
        if into.members.is_some() || into.clauses.is_empty() || !(COVER_MIN..=COVER_MAX).contains(&expected) {
            return Ok(false);
        }
        let plan = self.plan;
        let one = matches!(&plan.leaves[leaf].test, Test::Codes(intervals) if intervals.len() == 1);
        if !one || self.is_overlaid(leaf, chunk) {
            return Ok(false);
        }
        let Some(&[(low, high)]) = self.ranges(leaf, chunk)? else { return Ok(false) };
        let Some(order) = plan.reader(&plan.leaves[leaf]).order(chunk)? else { return Ok(false) };
        let Some(cover) = order.cover(low as usize, high as usize) else { return Ok(false) };
        self.ranks[leaf].covered = true;
        let share = into.share * cover.rows as f64 / rows;
        into.share = share;
        for (words, negated) in [(cover.within, false), (cover.without, true)] {
            if let Some(words) = words {
                let mut clause = Clause::new(negated);
                clause.add(ChunkRef::Bitset { words, cardinality: cover.rows as u32 }, self);
                into.clauses.push(clause);
            }
        }
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
                let mut hits = Clause::new(false);
                for child in children {
                    let mut some = members.clone();
                    self.probe(child, chunk, &mut some)?;
                    hits.add_made(ChunkRef::Array(&some), self);
                }
                hits.retain(members);
                hits.release(self);
            }
            Node::Leaf { leaf, negated } => self.probe_leaf(*leaf, *negated, chunk, members)?,
        }
        Ok(())
    }

    /// Keeps those of a list that are live.
    pub(super) fn retain_live(&mut self, chunk: u32, members: &mut Vec<u16>) -> Result<()> {
        if !self.all_live(chunk)? {
            let mut clause = Clause::new(false);
            self.live_into(chunk, &mut clause)?;
            clause.retain(members);
            clause.release(self);
        }
        Ok(())
    }

    /// Adds a node's members to a clause; at most so many are they.
    fn unite(&mut self, node: &Node, chunk: u32, clause: &mut Clause<'a>) -> Result<u32> {
        if let Node::Leaf { leaf, negated: false } = node {
            return self.leaf_into(*leaf, chunk, clause);
        }
        let mut conjunction = Conjunction::new(1.0);
        let answer = if self.narrow(&mut conjunction, node, chunk)? {
            self.finish(conjunction, chunk)?
        } else {
            Answer::Nobody
        };
        let members = match &answer {
            Answer::Nobody => 0,
            Answer::Everyone => {
                self.live_into(chunk, clause)?;
                self.live_cardinality(chunk)?
            }
            Answer::Members(members) => members.len() as u32,
            Answer::Words(_, cardinality) => *cardinality,
        };
        clause.add_answer(answer, self);
        Ok(members)
    }

    /// Puts the live set in where nothing else bounds the members from above.
    fn bound(&mut self, conjunction: &mut Conjunction<'a>, chunk: u32) -> Result<()> {
        if conjunction.clauses.iter().any(|clause| !clause.negated)
            || self.live_cardinality(chunk)? == 1 << 16
        {
            return Ok(());
        }
        let mut clause = Clause::new(false);
        self.live_into(chunk, &mut clause)?;
        conjunction.clauses.push(clause);
        Ok(())
    }

    fn finish_count(&mut self, mut conjunction: Conjunction<'a>, chunk: u32) -> Result<u32> {
        if let Some(members) = conjunction.members {
            return Ok(members.len() as u32);
        }
        if conjunction.clauses.is_empty() && conjunction.removed.is_empty() {
            return self.live_cardinality(chunk);
        }
        if conjunction.removed.len() > 1 {
            let answer = self.finish(conjunction, chunk)?;
            let count = answer.found(0).cardinality() as u32;
            self.recycle(answer);
            return Ok(count);
        }
        self.bound(&mut conjunction, chunk)?;
        let count = with_operands(&conjunction.clauses, kernel::intersection_count);
        let removed = conjunction.removed.first().map_or(0, |removed| {
            let mut inside = removed.to_vec();
            conjunction.clauses.iter().for_each(|clause| clause.retain(&mut inside));
            inside.len() as u32
        });
        conjunction.clauses.into_iter().for_each(|clause| clause.release(self));
        Ok(count - removed)
    }

    fn finish(&mut self, mut conjunction: Conjunction<'a>, chunk: u32) -> Result<Answer> {
        if let Some(members) = conjunction.members {
            return Ok(if members.is_empty() { Answer::Nobody } else { Answer::Members(members) });
        }
        if conjunction.clauses.is_empty() && conjunction.removed.is_empty() {
            return Ok(if self.live_cardinality(chunk)? == 0 { Answer::Nobody } else { Answer::Everyone });
        }
        self.bound(&mut conjunction, chunk)?;
        let mut words = self.buffer();
        let mut cardinality =
            with_operands(&conjunction.clauses, |operands| kernel::intersection_into(operands, &mut words));
        if !conjunction.removed.is_empty() {
            conjunction.removed.iter().for_each(|removed| kernel::set_members(&mut words, removed, false));
            cardinality = kernel::cardinality(&words);
        }
        conjunction.clauses.into_iter().for_each(|clause| clause.release(self));
        if cardinality == 0 {
            self.give_back(words);
            return Ok(Answer::Nobody);
        }
        Ok(Answer::Words(words, cardinality))
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

#[cfg(test)]
mod tests;
