//! Which relations can be evaluated one chunk of owners at a time.
//!
//! Rows that say whose they are never meet those of others where every step keeps to one owner: a condition, a computed value,
//! a join by a name, a group or neighbours of which a name is a key. A *name* is a key or an ordinal of the owner, or of a row
//! that belongs to it: lines that name one order are of one member, whose the order is. Two tables on the way at most.
//!
//! ```text
//! members ◀─ orders.member_id ◀─ lines.order_id
//! names of a line: its order's key, its own key and ordinal; of an order: its member's key, its own key and ordinal
//! ```

use crate::expr::Expr;
use crate::predicate::{JoinKind, Relation};
use crate::schema::{ColumnId, Owner, TableId};
use crate::{Result, Snapshot};
use std::cmp::Reverse;

/// The most tables from rows to their owners, the rows' included: members' orders' lines.
const OWNERS_DEPTH_MAX: usize = 2;

/// Members of a table who own rows, themselves or by way of other rows of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owners {
    pub(super) table: TableId,
    /// Tables from rows to them at most; what is farther has nothing to do with them.
    pub(super) depth: usize,
}

impl Owners {
    /// The tables from one to these owners, each with its owner: nothing of the owners' own; `None` of one that has nothing to
    /// do with them.
    pub(super) fn way_from(
        self,
        snapshot: &Snapshot,
        table: TableId,
    ) -> Result<Option<Vec<(TableId, Owner)>>> {
        let (mut way, mut at) = (Vec::new(), table);
        while at != self.table {
            let owner = snapshot.schema(at)?.owner.filter(|_| way.len() < self.depth);
            let Some(owner) = owner else { return Ok(None) };
            way.push((at, owner));
            at = owner.table;
        }
        Ok(Some(way))
    }
}

/// Who may own the rows that a relation reads: those nearest to the rows first, and of one table with as much as may be.
pub(super) fn candidates(snapshot: &Snapshot, relation: &Relation) -> Vec<Owners> {
    let owner_of = |table| snapshot.schema(table).ok().and_then(|schema| schema.owner);
    // Tables, and how many away the nearest and the farthest rows are.
    let mut found: Vec<(TableId, usize, usize)> = Vec::new();
    relation.for_each_scan(&mut |scan| {
        let mut at = scan.table;
        for depth in 1..=OWNERS_DEPTH_MAX {
            let Some(owner) = owner_of(at) else { break };
            at = owner.table;
            match found.iter_mut().find(|(table, ..)| *table == at) {
                Some((_, near, far)) => (*near, *far) = (depth.min(*near), depth.max(*far)),
                None => found.push((at, depth, depth)),
            }
        }
    });
    let above = |table: TableId| {
        let mut at = table;
        (0..OWNERS_DEPTH_MAX).take_while(|_| owner_of(at).map(|owner| at = owner.table).is_some()).count()
    };
    found.sort_by_key(|(table, ..)| Reverse(above(*table)));
    let depths = |(table, near, far)| (near..=far).rev().map(move |depth| Owners { table, depth });
    found.into_iter().flat_map(depths).collect()
}

/// What a value names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// A row of this table: the owner, or what belongs to it.
    pub(super) table: TableId,
    pub(super) by: NamedBy,
}

/// How a row is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedBy {
    Key,
    Ordinal,
}

/// Values that say whose a row is.
pub(super) type Names = Vec<(ColumnId, Name)>;

/// What a relation comes to.
#[derive(Debug)]
pub(super) enum Shape {
    /// Steps that keep to one owner each.
    Split(Names),
    /// Nothing to do with owners.
    Whole,
    /// Rows of several owners meet.
    Mixed,
}

/// What an expression names.
pub(super) fn name_of(names: &Names, expr: &Expr) -> Option<Name> {
    let Expr::Column(column) = expr else { return None };
    names.iter().find(|(id, _)| id == column).map(|(_, name)| *name)
}

/// What a relation comes to for some owners. Cost: a look at every step.
pub(super) fn shape(snapshot: &Snapshot, owners: Owners, relation: &Relation) -> Result<Shape> {
    let input = |relation: &Relation| shape(snapshot, owners, relation);
    Ok(match relation {
        Relation::Scan(scan) => {
            let Some(way) = owners.way_from(snapshot, scan.table)? else { return Ok(Shape::Whole) };
            let (owner, key) = (way.first().map(|(_, owner)| *owner), snapshot.schema(scan.table)?.key);
            let name = |column: ColumnId| match owner {
                Some(owner) if owner.column == column => Some(Name { table: owner.table, by: NamedBy::Key }),
                _ if column == ColumnId::LIVE => Some(Name { table: scan.table, by: NamedBy::Ordinal }),
                _ => (key == Some(column)).then_some(Name { table: scan.table, by: NamedBy::Key }),
            };
            let names = scan.columns.iter().filter_map(|(column, id)| Some((*id, name(*column)?)));
            Shape::Split(names.collect())
        }
        Relation::Filter { input: below, .. } => input(below)?,
        Relation::Compute { input: below, outputs } => match input(below)? {
            Shape::Split(names) => {
                let kept = outputs.iter().filter_map(|(id, expr)| Some((*id, name_of(&names, expr)?)));
                Shape::Split(kept.collect())
            }
            other => other,
        },
        Relation::Group { input: below, keys, .. } => match input(below)? {
            Shape::Split(names) => {
                let kept = keys.iter().filter_map(|(id, key)| Some((*id, name_of(&names, key)?)));
                let kept: Names = kept.collect();
                if kept.is_empty() { Shape::Mixed } else { Shape::Split(kept) }
            }
            other => other,
        },
        Relation::Window { input: below, partition, .. } => match input(below)? {
            Shape::Split(names) if partition.iter().any(|expr| name_of(&names, expr).is_some()) => {
                Shape::Split(names)
            }
            Shape::Whole => Shape::Whole,
            _ => Shape::Mixed,
        },
        Relation::Sort { input: below, .. } => match input(below)? {
            Shape::Whole => Shape::Whole,
            _ => Shape::Mixed,
        },
        Relation::Append { columns, inputs } => {
            let shapes = inputs.iter().map(|(_, below)| input(below)).collect::<Result<Vec<_>>>()?;
            if shapes.iter().all(|shape| matches!(shape, Shape::Whole)) {
                return Ok(Shape::Whole);
            }
            let mut common: Option<Names> = None;
            for (shape, (values, _)) in shapes.iter().zip(inputs) {
                let Shape::Split(names) = shape else { return Ok(Shape::Mixed) };
                let name =
                    |(id, value): (&ColumnId, &ColumnId)| Some((*id, name_of(names, &Expr::Column(*value))?));
                let here: Names = columns.iter().zip(values).filter_map(name).collect();
                common = Some(match common {
                    None => here,
                    Some(common) => common.into_iter().filter(|name| here.contains(name)).collect(),
                });
            }
            Shape::Split(common.unwrap_or_default())
        }
        Relation::Join(join) => match (input(&join.left)?, input(&join.right)?) {
            (Shape::Whole, Shape::Whole) => Shape::Whole,
            (Shape::Split(left), Shape::Whole) => {
                let alone = join.keys.len() == 1 && join.condition.is_none();
                let fits = match join.kind {
                    JoinKind::Full => false,
                    JoinKind::In(_) => alone,
                    _ => true,
                };
                if fits { Shape::Split(left) } else { Shape::Mixed }
            }
            (Shape::Split(mut left), Shape::Split(right)) => {
                // A miss of IN may be unknown for a NULL that is somebody else's.
                if !join.keys.iter().any(|keys| same_owner(&left, &right, keys))
                    || matches!(join.kind, JoinKind::In(_) | JoinKind::Full)
                {
                    return Ok(Shape::Mixed);
                }
                if join.kind == JoinKind::Inner {
                    left.extend(right);
                }
                Shape::Split(left)
            }
            _ => Shape::Mixed,
        },
    })
}

/// True of keys that are equal where both sides' rows are of one owner.
pub(super) fn same_owner(left: &Names, right: &Names, (a, b): &(Expr, Expr)) -> bool {
    name_of(left, a).is_some_and(|name| name_of(right, b) == Some(name))
}
