//! What rows of other tables say of their owners, where what is kept of each owner answers: leaves like those of any column.
//!
//! ```text
//! what is kept, with patches for owners whose rows were written since ([`crate::events`]) ─ a leaf a comparison
//! ```

use super::owned::{Check, RunsBy, Slot};
use super::{Node, Owned, Planner, Test, combine, constant};
use crate::Result;
use crate::exec::FoldFunction;
use crate::expr::Expr;
use crate::predicate::{Related, RelatedRows, Truth};
use crate::schema::{ColumnId, Summary, SummaryKind, TableId};
use crate::table::TableState;
use muster_storage::format::SectionKind;

/// Beyond the ids of columns: readers of other tables' columns are numbered from here.
const FOREIGN: u32 = 1 << 30;

/// An outcome that is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    True,
    False,
    /// FALSE or unknown.
    NotTrue,
}

impl<'a> Planner<'a, '_> {
    /// The tree that answers by what is kept; `None` where that is not enough.
    pub(super) fn summarised(
        &mut self,
        table: &'a TableState,
        related: &Related,
        owned: &Owned<'a>,
    ) -> Result<Option<Node>> {
        let ([rows], [pass]) = (related.rows.as_slice(), owned.passes.as_slice()) else { return Ok(None) };
        if rows.aggregates.iter().any(|aggregate| aggregate.filter.is_some()) {
            return Ok(None);
        }
        let outcome = if owned.not_in {
            Outcome::NotTrue
        } else if owned.wanted {
            Outcome::True
        } else {
            Outcome::False
        };
        if let Some(since) = owned.since(related.is_in, rows) {
            return self.since(table, since, outcome);
        }
        if !pass.tests.is_empty() || pass.rest != Node::Everyone {
            return Ok(None);
        }
        let Some(tree) = self.tree(table, &owned.check, &owned.slots, rows, outcome)? else {
            return Ok(None);
        };
        if !related.is_in {
            return Ok(Some(tree));
        }
        let listed = if matches!(tree, Node::Everyone | Node::Nobody)
            && let Some(last) = find(table, SummaryKind::Last)
            && has_times(table)?
        {
            // Whoever has rows has a last one: a stored set says so.
            match self.kept(table, last, Test::Null)? {
                Node::Leaf { leaf, .. } => Node::Leaf { leaf, negated: !owned.not_in },
                node => node,
            }
        } else {
            let Some(count) = find(table, SummaryKind::Count) else { return Ok(None) };
            let rows_of_listed = if owned.not_in { (i64::MIN, 0) } else { (1, i64::MAX) };
            self.kept(table, count, Test::Codes(vec![rows_of_listed]))?
        };
        let all = !owned.not_in;
        let implied = all && self.implies_rows(&tree, &listed);
        let mut children = match tree {
            Node::And(terms) if all => terms,
            Node::Or(terms) if !all => terms,
            tree => vec![tree],
        };
        children.extend((!implied).then_some(listed));
        Ok(Some(combine(self.merged(children, all)?, all)))
    }

    /// True of conditions that nobody without rows meets: who has none has no sum, first or last one. How many they are is merged.
    fn implies_rows(&self, tree: &Node, listed: &Node) -> bool {
        let Node::Leaf { leaf: count, .. } = listed else { return false };
        let terms = if let Node::And(terms) = tree { terms } else { std::slice::from_ref(tree) };
        let is_another = |leaf: usize| self.leaves[leaf].reader != self.leaves[*count].reader;
        let leaf_of = |term: &Node| match term {
            Node::Leaf { leaf, negated: false } => Some(*leaf),
            _ => None,
        };
        let mut leaves = terms.iter().filter_map(leaf_of);
        leaves.any(|leaf| is_another(leaf) && matches!(self.leaves[leaf].test, Test::Codes(_)))
    }

    /// Whether there are rows since some time: whether the last is of then.
    fn since(&mut self, table: &'a TableState, since: i64, outcome: Outcome) -> Result<Option<Node>> {
        let Some(last) = find(table, SummaryKind::Last) else { return Ok(None) };
        if outcome == Outcome::True {
            return self.kept(table, last, Test::Codes(vec![(since, i64::MAX)])).map(Some);
        }
        // Whoever has no row has no last one.
        let mut nodes = vec![self.kept(table, last, Test::Null)?];
        if let Some(before) = since.checked_sub(1) {
            nodes.push(self.kept(table, last, Test::Codes(vec![(i64::MIN, before)]))?);
        }
        Ok(Some(combine(nodes, false)))
    }

    fn tree(
        &mut self,
        table: &'a TableState,
        check: &Check,
        slots: &[Slot],
        rows: &RelatedRows,
        outcome: Outcome,
    ) -> Result<Option<Node>> {
        Ok(Some(match check {
            Check::Const(truth) => constant(match outcome {
                Outcome::True => *truth == Truth::True,
                Outcome::False => *truth == Truth::False,
                Outcome::NotTrue => *truth != Truth::True,
            }),
            Check::And(terms) | Check::Or(terms) => {
                let mut nodes = Vec::with_capacity(terms.len());
                for term in terms {
                    let Some(node) = self.tree(table, term, slots, rows, outcome)? else { return Ok(None) };
                    nodes.push(node);
                }
                combine(nodes, matches!(check, Check::And(_)) == (outcome == Outcome::True))
            }
            Check::Not(inner) => match outcome {
                Outcome::True => return self.tree(table, inner, slots, rows, Outcome::False),
                Outcome::False => return self.tree(table, inner, slots, rows, Outcome::True),
                Outcome::NotTrue => return Ok(None),
            },
            Check::Within { slot, low, high } => {
                let Some(summary) = slots[*slot].summary(table, rows, *slot) else { return Ok(None) };
                let inside = if low <= high { vec![(*low, *high)] } else { Vec::new() };
                let mut outside = Vec::new();
                if low > high {
                    outside.push((i64::MIN, i64::MAX));
                } else {
                    outside.extend(low.checked_sub(1).map(|below| (i64::MIN, below)));
                    outside.extend(high.checked_add(1).map(|above| (above, i64::MAX)));
                }
                let codes = if outcome == Outcome::True { inside } else { outside };
                let within = if codes.is_empty() {
                    Node::Nobody
                } else {
                    self.kept(table, summary, Test::Codes(codes))?
                };
                if outcome == Outcome::NotTrue && summary.kind != SummaryKind::Count {
                    let unknown = self.kept(table, summary, Test::Null)?;
                    combine(vec![within, unknown], false)
                } else {
                    within
                }
            }
            Check::Null { slot } => {
                let Some(summary) = slots[*slot].summary(table, rows, *slot) else { return Ok(None) };
                match self.kept(table, summary, Test::Null)? {
                    Node::Leaf { leaf, .. } => Node::Leaf { leaf, negated: outcome != Outcome::True },
                    node => node,
                }
            }
            Check::Computed(_) => return Ok(None),
        }))
    }

    /// A leaf of what is kept of each owner's rows.
    fn kept(&mut self, table: &'a TableState, summary: Summary, test: Test) -> Result<Node> {
        let place = (table.schema().id, summary.column);
        let at = match self.foreign.iter().position(|known| *known == place) {
            Some(at) => at,
            None => {
                self.foreign.push(place);
                self.readers.push(table.reader(summary.column)?);
                self.columns.push(ColumnId(FOREIGN + self.foreign.len() as u32 - 1));
                self.foreign.len() - 1
            }
        };
        self.leaf(ColumnId(FOREIGN + at as u32), test, false)
    }
}

/// The columns of other tables that a planner reads.
pub(super) type Foreign = Vec<(TableId, ColumnId)>;

/// True where every row is stored with a time.
fn has_times(table: &TableState) -> Result<bool> {
    let Some(time) = table.schema().owner.and_then(|owner| owner.time) else { return Ok(false) };
    let reader = table.reader(time)?;
    Ok((0..table.chunks()).all(|chunk| {
        reader.has_values(chunk)
            && reader.entry(chunk, SectionKind::Nulls).is_none()
            && !reader.is_changed(chunk)
    }))
}

fn find(table: &TableState, kind: SummaryKind) -> Option<Summary> {
    table.schema().summaries.iter().find(|summary| summary.kind == kind).copied()
}

impl Slot {
    /// What is kept that is this aggregate of all rows.
    fn summary(&self, table: &TableState, rows: &RelatedRows, slot: usize) -> Option<Summary> {
        let aggregate = rows.aggregates.get(slot)?;
        let time = table.schema().owner.and_then(|owner| owner.time);
        let kind = match (self.function, &aggregate.argument) {
            (FoldFunction::Count, None) => SummaryKind::Count,
            (FoldFunction::Sum, Some(Expr::Column(column))) => SummaryKind::Sum(*column),
            (FoldFunction::Min, Some(Expr::Column(column))) if Some(*column) == time => SummaryKind::First,
            (FoldFunction::Max, Some(Expr::Column(column))) if Some(*column) == time => SummaryKind::Last,
            _ => return None,
        };
        find(table, kind)
    }
}

impl Owned<'_> {
    /// False where what is kept cannot answer, by what is asked alone.
    pub(super) fn may_be_kept(&self, related: &Related) -> bool {
        let ([rows], [pass]) = (related.rows.as_slice(), self.passes.as_slice()) else { return false };
        rows.aggregates.iter().all(|aggregate| aggregate.filter.is_none())
            && (self.since(related.is_in, rows).is_some()
                || (pass.tests.is_empty() && pass.rest == Node::Everyone))
    }

    /// The time from which on rows are asked for, where all that is asked is whether there are any.
    fn since(&self, is_in: bool, rows: &RelatedRows) -> Option<i64> {
        let ([pass], aggregates) = (self.passes.as_slice(), rows.aggregates.as_slice()) else {
            return None;
        };
        let [test] = pass.tests.as_slice() else { return None };
        let some = match &self.check {
            Check::Const(truth) => is_in && *truth == Truth::True,
            Check::Within { slot, low: 1, high: i64::MAX } => {
                aggregates.get(*slot).is_some_and(|one| one.argument.is_none())
            }
            _ => false,
        };
        match test.intervals.as_slice() {
            [(low, i64::MAX)] if some && pass.rest == Node::Everyone && test.by == RunsBy::Time => Some(*low),
            _ => None,
        }
    }
}
