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
use muster_engine::expr::{Expr, Function};
use muster_engine::predicate::{
    CompareOp, Join, JoinKind, Relation, RowAggregate, SortKey, WindowCall, WindowFunction,
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
        let (number, input) = self.numbered(rows, partition, order);
        let is_first = Function::Compare(CompareOp::Eq);
        let condition = Expr::call(is_first, [Expr::Column(number), Expr::value(Value::Integer(1))]);
        Relation::Filter { input: Box::new(input), condition }
    }

    /// Rows with their numbers.
    fn numbered(&self, rows: Relation, partition: Vec<Expr>, order: Vec<SortKey>) -> (ColumnId, Relation) {
        let number = self.id();
        let call = WindowCall { function: WindowFunction::RowNumber, arguments: Vec::new(), frame: None };
        let (input, outputs) = (Box::new(rows), vec![(number, call)]);
        (number, Relation::Window { input, partition, order, outputs })
    }

    /// What tells each row from all others, and is never NULL: the ordinals of what it is made of, else a number.
    fn identified(&self, rows: &mut Relation) -> Vec<Expr> {
        if let Some(ordinals) = self.ordinals(rows) {
            return ordinals;
        }
        let below = std::mem::replace(rows, Relation::Append { columns: Vec::new(), inputs: Vec::new() });
        let (number, numbered) = self.numbered(below, Vec::new(), Vec::new());
        *rows = numbered;
        vec![Expr::Column(number)]
    }

    /// The ordinals of rows of tables that tell a row from others.
    fn ordinals(&self, rows: &mut Relation) -> Option<Vec<Expr>> {
        match rows {
            Relation::Scan(scan) => {
                let known = scan.columns.iter().find(|(column, _)| *column == ColumnId::LIVE);
                let id = known.map_or_else(|| self.id(), |(_, id)| *id);
                if known.is_none() {
                    scan.columns.push((ColumnId::LIVE, id));
                }
                Some(vec![Expr::Column(id)])
            }
            Relation::Filter { input, .. }
            | Relation::Window { input, .. }
            | Relation::Sort { input, .. } => self.ordinals(input),
            Relation::Join(join) => {
                let nobodys =
                    |ordinal| Expr::call(Function::Coalesce, [ordinal, Expr::value(Value::Integer(-1))]);
                let mut left = self.ordinals(&mut join.left)?;
                match join.kind {
                    JoinKind::Inner => left.extend(self.ordinals(&mut join.right)?),
                    JoinKind::Left => left.extend(self.ordinals(&mut join.right)?.into_iter().map(nobodys)),
                    JoinKind::Full => {
                        left = left.into_iter().chain(self.ordinals(&mut join.right)?).map(nobodys).collect();
                    }
                    JoinKind::Single | JoinKind::Mark(_) | JoinKind::In(_) => {}
                }
                Some(left)
            }
            Relation::Compute { .. } | Relation::Append { .. } | Relation::Group { .. } => None,
        }
    }
}

/// The ids of all values of a tree.
fn ids_of(rows: &Relation, ids: &mut HashSet<ColumnId>) {
    ids.extend(rows.columns());
    rows.inputs().into_iter().for_each(|input| ids_of(input, ids));
}
