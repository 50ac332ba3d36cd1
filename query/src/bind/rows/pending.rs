//! Rows that those at hand are joined with, for a value that is bound on the way.
//!
//! Where what ties them is more than equal values, an aggregate or a first row is of *pairs*: the rows at hand stand a second
//! time on the left of the pairs, and what is made of these comes back to each row by what tells it from others.
//!
//! ```text
//! rows ──────────────────────── LEFT JOIN (by ordinal) ─▶ rows, each with its aggregates
//! rows again ─ JOIN ─ group by ordinal ──┘
//! orders ───────┘ member_id = id AND day > born
//! ```

use super::Binder;
use super::sets::nothing;
use muster_engine::exec::FoldFunction;
use muster_engine::expr::{Expr, Function};
use muster_engine::predicate::{
    CompareOp, Join, JoinKind, Relation, RowAggregate, RowFunction, SortKey, WindowCall, WindowFunction,
};
use muster_engine::schema::ColumnId;
use muster_engine::value::Value;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// Rows that others are joined with.
pub(super) struct Pending {
    pub(super) right: Relation,
    pub(super) kind: JoinKind,
    pub(super) keys: Vec<(Expr, Expr)>,
    pub(super) condition: Option<Expr>,
    /// What is made of the pairs of each row, instead of what `kind` says of single ones.
    pub(super) of_pairs: Option<OfPairs>,
}

/// What is made of the pairs of a row.
pub(super) enum OfPairs {
    /// A group.
    Group {
        /// Values of the right side that are the same in all pairs of a row.
        keys: Vec<(ColumnId, Expr)>,
        aggregates: Vec<(ColumnId, RowAggregate)>,
        /// What groups are joined with.
        pending: Vec<Pending>,
    },
    /// The first one.
    First(Vec<SortKey>),
}

impl Binder<'_> {
    /// Rows joined with others, one after another.
    pub(super) fn joined(&self, mut rows: Relation, pending: Vec<Pending>) -> Relation {
        let mut again = None;
        if pending.iter().any(|pending| pending.of_pairs.is_some()) {
            let identity = self.identified(&mut rows);
            again = Some((rows.clone(), identity));
        }
        pending.into_iter().fold(rows, |left, Pending { right, kind, mut keys, condition, of_pairs }| {
            let (right, condition) = match (of_pairs, &again) {
                (Some(made), Some((again, identity))) => {
                    let pairs = Pending { right, kind: JoinKind::Inner, keys, condition, of_pairs: None };
                    let (ids, right) = self.of_pairs(again, identity, pairs, made);
                    keys = identity.iter().cloned().zip(ids).collect();
                    (right, None)
                }
                _ => (right, condition),
            };
            Relation::Join(Box::new(Join { left, right, kind, keys, condition }))
        })
    }

    /// What is made of the pairs of each row: what tells whose it is, and the rest.
    fn of_pairs(
        &self,
        again: &Relation,
        identity: &[Expr],
        pairs: Pending,
        made: OfPairs,
    ) -> (Vec<Expr>, Relation) {
        let mut known = HashSet::new();
        ids_of(again, &mut known);
        let names = RefCell::new(HashMap::new());
        let name = |id: ColumnId| {
            if known.contains(&id) { *names.borrow_mut().entry(id).or_insert_with(|| self.id()) } else { id }
        };
        let renamed = |expr: &Expr| expr.with_columns(&|id| Some(name(id))).unwrap_or_else(|| expr.clone());
        let identity: Vec<Expr> = identity.iter().map(renamed).collect();
        let keys = pairs.keys.iter().map(|(outer, inner)| (renamed(outer), inner.clone()));
        let pairs = Relation::Join(Box::new(Join {
            left: again.renamed(&name),
            right: pairs.right,
            kind: JoinKind::Inner,
            keys: keys.collect(),
            condition: pairs.condition.as_ref().map(renamed),
        }));
        match made {
            OfPairs::Group { keys, aggregates, pending } => {
                let owners: Vec<(ColumnId, Expr)> =
                    identity.into_iter().map(|expr| (self.id(), expr)).collect();
                let ids = owners.iter().map(|(id, _)| Expr::Column(*id)).collect();
                let aggregates = aggregates.iter().map(|(id, one)| (*id, one.renamed(&name)));
                let aggregates = aggregates.collect();
                let keys = owners.into_iter().chain(keys).collect();
                let group = Relation::Group { input: Box::new(pairs), keys, aggregates };
                (ids, self.joined(group, pending))
            }
            OfPairs::First(order) => {
                let order = order.iter().map(|key| key.renamed(&name)).collect();
                let first = self.first_of(pairs, identity.clone(), order);
                (identity, first)
            }
        }
    }

    /// The first row of each partition.
    pub(super) fn first_of(&self, rows: Relation, partition: Vec<Expr>, order: Vec<SortKey>) -> Relation {
        let (number, input) = (self.id(), Box::new(rows));
        let call = WindowCall { function: WindowFunction::RowNumber, arguments: Vec::new(), frame: None };
        let window = Relation::Window { input, partition, order, outputs: vec![(number, call)] };
        let is_first = Function::Compare(CompareOp::Eq);
        let condition = Expr::call(is_first, [Expr::Column(number), Expr::value(Value::Integer(1))]);
        Relation::Filter { input: Box::new(window), condition }
    }

    /// What tells each row from all others, and is never NULL: the ordinals of what it is made of. A number of the rows would not do:
    /// those that stand twice may come in two orders, as what is asked of them differs.
    fn identified(&self, rows: &mut Relation) -> Vec<Expr> {
        match rows {
            Relation::Scan(scan) => {
                let known = scan.columns.iter().find(|(column, _)| *column == ColumnId::LIVE);
                let id = known.map_or_else(|| self.id(), |(_, id)| *id);
                if known.is_none() {
                    scan.columns.push((ColumnId::LIVE, id));
                }
                vec![Expr::Column(id)]
            }
            Relation::Filter { input, .. } | Relation::Window { input, .. } => self.identified(input),
            Relation::Sort { input, order, .. } => {
                let identity = self.identified(input);
                // Which of equal rows are within a limit is the same wherever they stand.
                let key =
                    |value: &Expr| SortKey { value: value.clone(), descending: false, nulls_first: false };
                order.extend(identity.iter().map(key));
                identity
            }
            Relation::Compute { input, outputs } => {
                let named: Vec<_> = self.identified(input).into_iter().map(|one| (self.id(), one)).collect();
                outputs.extend(named.iter().cloned());
                named.into_iter().map(|(id, _)| Expr::Column(id)).collect()
            }
            Relation::Join(join) => {
                let mut left = self.identified(&mut join.left);
                match join.kind {
                    JoinKind::Inner => left.extend(self.identified(&mut join.right)),
                    JoinKind::Left => {
                        left.extend(self.identified(&mut join.right).into_iter().map(or_nobodys));
                    }
                    JoinKind::Full => {
                        left.extend(self.identified(&mut join.right));
                        left = left.into_iter().map(or_nobodys).collect();
                    }
                    JoinKind::Single | JoinKind::Mark(_) | JoinKind::In(_) => {}
                }
                left
            }
            Relation::Append { columns, inputs } => {
                for (branch, (values, input)) in (0..).zip(inputs) {
                    let identity = side_by_side(Expr::value(Value::Integer(branch)), self.identified(input));
                    let all = values.iter().map(|id| Expr::Column(*id)).chain([identity]);
                    let outputs: Vec<_> = all.map(|one| (self.id(), one)).collect();
                    *values = outputs.iter().map(|(id, _)| *id).collect();
                    let below = std::mem::replace(input, nothing());
                    *input = Relation::Compute { input: Box::new(below), outputs };
                }
                columns.push(self.id());
                columns.last().map(|id| Expr::Column(*id)).into_iter().collect()
            }
            Relation::Group { input, aggregates, .. } => {
                // No row is in two groups. Of no rows there may be one.
                let mut identity = self.identified(input);
                let one = match (identity.pop(), identity.is_empty()) {
                    (Some(only), true) => only,
                    (last, _) => {
                        side_by_side(Expr::value(Value::Integer(0)), identity.into_iter().chain(last))
                    }
                };
                let id = self.id();
                let least = RowAggregate {
                    function: RowFunction::Fold(FoldFunction::Min),
                    arguments: vec![one],
                    distinct: false,
                    filter: None,
                };
                aggregates.push((id, least));
                vec![or_nobodys(Expr::Column(id))]
            }
        }
    }
}

fn or_nobodys(ordinal: Expr) -> Expr {
    Expr::call(Function::Coalesce, [ordinal, Expr::value(Value::Integer(-1))])
}

/// Numbers as one text.
fn side_by_side(first: Expr, rest: impl IntoIterator<Item = Expr>) -> Expr {
    let apart = || Expr::value(Value::Text(" ".into()));
    let rest = rest.into_iter().flat_map(|one| [apart(), one]);
    Expr::call(Function::Concat, std::iter::once(first).chain(rest))
}

/// The ids of all values of a tree.
fn ids_of(rows: &Relation, ids: &mut HashSet<ColumnId>) {
    ids.extend(rows.columns());
    rows.inputs().into_iter().for_each(|input| ids_of(input, ids));
}
