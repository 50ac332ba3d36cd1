//! From the predicate to what is done per chunk: names become readers, literals intervals and codes, NOT moves to the
//! leaves, and clauses are put in the order in which they pay.
//!
//! Kleene's logic needs no third value here. With NOT at the leaves only, a tree of AND and OR is TRUE exactly where the
//! trees of its leaves' TRUE sets are; and the TRUE set of `NOT leaf` is the live members less the leaf less its NULLs.

mod audience;
mod comparisons;
mod cut;
mod explain;
mod holds;
mod leaf;
mod merge;
mod owned;
mod summary;

pub(crate) use explain::runs_by;
pub use explain::{Explained, explain};
pub use holds::ComputedTest;
pub use leaf::{Leaf, Test, TextMatch};
pub(crate) use owned::{Aggregates, Check, Lane, Makes, Pass, RowTest, RunsBy, Slot, asks_owners, takes};
pub use owned::{InOwners, Owned};

use crate::Result;
use crate::Snapshot;
use crate::control::Cancel;
use crate::exec::ByOwner;
use crate::expr::Expr;
use crate::predicate::{Predicate, Truth};
use crate::schema::{ColumnId, TableId};
use crate::table::{ColumnReader, TableState};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use owned::Asking;
use std::hash::{BuildHasher, Hash, Hasher};
use std::mem::discriminant;

/// A predicate deeper than this is refused: evaluation recurses.
pub const DEPTH_MAX: usize = 1_000;

/// The most audiences that a predicate names, those in the definitions of others counted each time: definitions that
/// name two others each would grow without end.
pub const AUDIENCES_MAX: usize = 10_000;

/// What is done per chunk.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Nobody.
    Nobody,
    /// Every live member.
    Everyone,
    /// All of these, the most useful first. At least two.
    And(Vec<Node>),
    /// Any of these. At least two.
    Or(Vec<Node>),
    /// A leaf of the plan, or its NOT.
    Leaf {
        /// Index into [`Plan::leaves`].
        leaf: usize,
        /// True where the members for which the leaf is FALSE are meant.
        negated: bool,
    },
}

/// A predicate ready to be evaluated on any chunk of one table in one snapshot.
pub struct Plan<'a> {
    /// The table.
    pub table: &'a TableState,
    /// The live set.
    pub live: ColumnReader<'a>,
    /// The columns that leaves read.
    pub readers: Vec<ColumnReader<'a>>,
    /// The leaves.
    pub leaves: Vec<Leaf>,
    /// What leaves ask of the rows of other tables.
    pub owned: Vec<Owned<'a>>,
    /// What leaves ask of the owners of this table's rows.
    pub in_owners: Vec<InOwners<'a>>,
    /// What leaves ask of rows that are made of the members' rows.
    pub(crate) by_owner: Vec<ByOwner<'a>>,
    /// The tree.
    pub root: Node,
    /// The share of members expected to satisfy it.
    pub share: f64,
    /// Bytes that a chunk is expected to cost.
    pub chunk_bytes: f64,
    /// Looked at while something is computed member by member.
    pub cancel: Cancel,
}

impl<'a> Plan<'a> {
    /// Plans a predicate that nobody cancels; see [`Self::cancellable`].
    pub fn new(table: &'a TableState, predicate: &Predicate, now_micros: i64) -> Result<Plan<'a>> {
        Plan::cancellable(table, predicate, now_micros, &Cancel::default())
    }

    /// Plans a predicate. Cost: a few microseconds a leaf; a dictionary search per text, a key look-up per key.
    pub fn cancellable(
        table: &'a TableState,
        predicate: &Predicate,
        now_micros: i64,
        cancel: &Cancel,
    ) -> Result<Plan<'a>> {
        Plan::of(table, predicate, now_micros, cancel, Others::Unasked)
    }

    /// [`Self::cancellable`] of what [`crate::exec::resolve`] leaves: rows of other tables are asked by their owners.
    pub(crate) fn in_snapshot(
        snapshot: &'a Snapshot,
        table: TableId,
        predicate: &Predicate,
        cancel: &Cancel,
        tables: usize,
    ) -> Result<Plan<'a>> {
        let others = Others::Of(Asking { snapshot, cancel, tables }, table);
        Plan::of(snapshot.table(table)?, predicate, snapshot.now_micros(), cancel, others)
    }

    /// The chunks that may have members, ascending, where the plan names its members; `None` is all.
    pub(crate) fn chunks_named(&self) -> Option<Vec<u32>> {
        let of_leaf = |node: &Node| match node {
            Node::Leaf { leaf, negated: false } => match &self.leaves[*leaf].test {
                Test::Ordinals(ordinals) => {
                    let mut chunks: Vec<u32> = ordinals.iter().map(|ordinal| ordinal >> 16).collect();
                    chunks.dedup();
                    Some(chunks)
                }
                _ => None,
            },
            _ => None,
        };
        match &self.root {
            Node::And(children) => children.iter().find_map(of_leaf),
            root => of_leaf(root),
        }
    }

    /// Plans a predicate to see that it can be asked, but for what rows of other tables say.
    pub(crate) fn check(table: &'a TableState, predicate: &Predicate) -> Result<()> {
        Plan::of(table, predicate, 0, &Cancel::default(), Others::Checked).map(drop)
    }

    fn of(
        table: &'a TableState,
        predicate: &Predicate,
        now_micros: i64,
        cancel: &Cancel,
        others: Others<'a, '_>,
    ) -> Result<Plan<'a>> {
        let live = table.reader(ColumnId::LIVE)?;
        let mut planner = Planner {
            table,
            now_micros,
            cancel,
            others,
            owned: Vec::new(),
            in_owners: Vec::new(),
            by_owner: Vec::new(),
            foreign: Vec::new(),
            audiences: 0,
            columns: Vec::new(),
            readers: Vec::new(),
            leaves: Vec::new(),
            places: HashMap::default(),
        };
        let mut root = planner.lower(predicate, false, 0)?;
        planner.prune(&mut root);
        let Planner { readers, leaves, owned, in_owners, by_owner, .. } = planner;
        let mut plan = Plan {
            table,
            live,
            readers,
            leaves,
            owned,
            in_owners,
            by_owner,
            root: Node::Nobody,
            share: 0.0,
            chunk_bytes: 0.0,
            cancel: cancel.clone(),
        };
        (plan.root, plan.share, plan.chunk_bytes) = plan.ordered(root)?;
        Ok(plan)
    }

    /// The reader of a leaf's column.
    pub fn reader(&self, leaf: &Leaf) -> &ColumnReader<'a> {
        &self.readers[leaf.reader]
    }

    /// True where thresholds say which numbers of a leaf lie in some intervals.
    pub(crate) fn has_thresholds(&self, leaf: &Leaf, intervals: &[(i64, i64)]) -> bool {
        let (reader, middle) = (self.reader(leaf), self.table.chunks() / 2);
        intervals.iter().all(|interval| matches!(reader.between(middle, *interval), Ok(Some(_))))
    }

    /// True where a part is computed member by member.
    pub(crate) fn has_computed(&self, node: &Node) -> bool {
        match node {
            Node::Nobody | Node::Everyone => false,
            Node::Leaf { leaf, .. } => self.leaves[*leaf].computed().is_some(),
            Node::And(children) | Node::Or(children) => children.iter().any(|child| self.has_computed(child)),
        }
    }

    /// Sorts the children of every AND; with the node come its estimated share of members and bytes a chunk.
    ///
    /// A clause that costs c and keeps the share s is best asked in ascending order of c / (1 − s): the classic rule
    /// for independent filters.
    fn ordered(&self, node: Node) -> Result<(Node, f64, f64)> {
        Ok(match node {
            Node::Nobody => (Node::Nobody, 0.0, 0.0),
            Node::Everyone => (Node::Everyone, 1.0, 0.0),
            Node::Leaf { leaf, negated } => {
                let (share, bytes) = self.leaves[leaf].estimate(self)?;
                (Node::Leaf { leaf, negated }, if negated { 1.0 - share } else { share }, bytes)
            }
            Node::And(children) => {
                let mut children =
                    children.into_iter().map(|c| self.ordered(c)).collect::<Result<Vec<_>>>()?;
                children.sort_by(|a, b| {
                    // What is computed member by member comes last: it may be an error of members that others exclude.
                    let rank = |(node, share, bytes): &(Node, f64, f64)| {
                        let computed = self.has_computed(node);
                        rank(*share, *bytes) + if computed { COMPUTED_RANK } else { 0.0 }
                    };
                    rank(a).total_cmp(&rank(b))
                });
                let share = children.iter().map(|c| c.1).product();
                let bytes = children.iter().map(|c| c.2).sum();
                (Node::And(children.into_iter().map(|c| c.0).collect()), share, bytes)
            }
            Node::Or(children) => {
                let children = children.into_iter().map(|c| self.ordered(c)).collect::<Result<Vec<_>>>()?;
                let share = 1.0 - children.iter().map(|c| 1.0 - c.1).product::<f64>();
                let bytes = children.iter().map(|c| c.2).sum();
                (Node::Or(children.into_iter().map(|c| c.0).collect()), share, bytes)
            }
        })
    }
}

/// Above every rank of a clause that an index answers.
const COMPUTED_RANK: f64 = 1e12;

/// The place of a clause in a conjunction: its cost by the share of members that it takes away.
fn rank(share: f64, bytes: f64) -> f64 {
    (bytes + 64.0) / (1.0 - share).max(0.01)
}

/// What a planner does about the rows of other tables.
enum Others<'a, 'c> {
    /// They were asked before.
    Unasked,
    /// Nothing is asked of the plan.
    Checked,
    /// They are asked by their owners, who are the members of this table.
    Of(Asking<'a, 'c>, TableId),
}

struct Planner<'a, 'c> {
    table: &'a TableState,
    now_micros: i64,
    /// Looked at before each expression: one can walk a dictionary of a million texts.
    cancel: &'c Cancel,
    others: Others<'a, 'c>,
    owned: Vec<Owned<'a>>,
    in_owners: Vec<InOwners<'a>>,
    by_owner: Vec<ByOwner<'a>>,
    /// Columns of other tables among `columns`.
    foreign: summary::Foreign,
    /// Audiences resolved so far.
    audiences: usize,
    columns: Vec<ColumnId>,
    readers: Vec<ColumnReader<'a>>,
    leaves: Vec<Leaf>,
    /// Leaves by their fingerprint, so that ten thousand different ones are not each compared with all before it.
    places: HashMap<u64, Vec<usize>, FixedState>,
}

impl<'a> Planner<'a, '_> {
    fn lower(&mut self, predicate: &Predicate, negated: bool, depth: usize) -> Result<Node> {
        if depth > DEPTH_MAX {
            return Err(crate::audience::expand::too_deep());
        }
        Ok(match predicate {
            Predicate::Const(Truth::Unknown) => Node::Nobody,
            Predicate::Const(truth) => constant((*truth == Truth::True) != negated),
            Predicate::Not(inner) => self.lower(inner, !negated, depth + 1)?,
            Predicate::And(terms) | Predicate::Or(terms) => {
                let all = matches!(predicate, Predicate::And(_)) != negated;
                let mut children = Vec::with_capacity(terms.len());
                let mut computed = Vec::new();
                for term in terms {
                    if let Some((expr, wanted)) = computed_term(term, !negated) {
                        computed.push((expr.clone(), wanted));
                        continue;
                    }
                    let child = self.lower(term, negated, depth + 1)?;
                    match child {
                        Node::And(nested) if all => children.extend(nested),
                        Node::Or(nested) if !all => children.extend(nested),
                        child => children.push(child),
                    }
                }
                children.extend(self.holds(computed, all)?);
                let children = if all { self.resolved(children) } else { children };
                let children = self.merged(children, all)?;
                combine(children, all)
            }
            Predicate::Holds(expr) => combine(self.holds(vec![(expr.clone(), !negated)], true)?, true),
            Predicate::Audience(id) => self.lower_audience(*id, negated, depth)?,
            leaf => self.lower_leaf(leaf, negated)?,
        })
    }

    /// The reader of a column, opened once.
    fn reader(&mut self, column: ColumnId) -> Result<usize> {
        if let Some(known) = self.columns.iter().position(|known| *known == column) {
            return Ok(known);
        }
        self.readers.push(self.table.reader(column)?);
        self.columns.push(column);
        Ok(self.readers.len() - 1)
    }

    fn leaf(&mut self, column: ColumnId, test: Test, negated: bool) -> Result<Node> {
        let reader = self.reader(column)?;
        let new = Leaf { column, reader, test };
        let places = self.places.entry(fingerprint(&new)).or_default();
        let leaf = match places.iter().find(|place| self.leaves[**place] == new) {
            Some(leaf) => *leaf,
            None => {
                places.push(self.leaves.len());
                self.leaves.push(new);
                self.leaves.len() - 1
            }
        };
        Ok(Node::Leaf { leaf, negated })
    }
}

/// A number that is the same for equal leaves, and hardly ever for others.
fn fingerprint(leaf: &Leaf) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    leaf.reader.hash(&mut hasher);
    match &leaf.test {
        Test::True | Test::Null | Test::Never => discriminant(&leaf.test).hash(&mut hasher),
        Test::Codes(intervals) => intervals.hash(&mut hasher),
        Test::Tags(codes) | Test::Ordinals(codes) => codes.hash(&mut hasher),
        Test::Text { codes, text } => {
            codes.hash(&mut hasher);
            match text {
                TextMatch::In(texts) => texts.hash(&mut hasher),
                TextMatch::Range(low, high) => (low, high).hash(&mut hasher),
                TextMatch::Holds(_) => {}
            }
        }
        Test::Computed(test) => format!("{test:?}").hash(&mut hasher),
        Test::Rows(place) | Test::InOwners(place) | Test::ByOwner(place) => place.hash(&mut hasher),
    }
    hasher.finish()
}

/// The expression that a term is, and the truth that is wanted of it.
fn computed_term(mut term: &Predicate, mut wanted: bool) -> Option<(&Expr, bool)> {
    while let Predicate::Not(inner) = term {
        (term, wanted) = (inner, !wanted);
    }
    if let Predicate::Holds(expr) = term { Some((expr, wanted)) } else { None }
}

fn constant(everyone: bool) -> Node {
    if everyone { Node::Everyone } else { Node::Nobody }
}

/// AND (or OR) of flattened children.
fn combine(children: Vec<Node>, all: bool) -> Node {
    let (absorbing, neutral) =
        if all { (Node::Nobody, Node::Everyone) } else { (Node::Everyone, Node::Nobody) };
    if children.contains(&absorbing) {
        return absorbing;
    }
    let mut kept: Vec<Node> = Vec::with_capacity(children.len());
    for child in children {
        // Ten thousand different terms need no quadratic search for repetitions.
        if child != neutral && (kept.len() > 64 || !kept.contains(&child)) {
            kept.push(child);
        }
    }
    match kept.len() {
        0 => neutral,
        1 => kept.swap_remove(0),
        _ if all => Node::And(kept),
        _ => Node::Or(kept),
    }
}
