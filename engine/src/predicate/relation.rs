//! Rows that are made of the rows of tables: what a SELECT with joins, groups, windows or an order comes to, as a tree.
//!
//! ```text
//! Scan ─ Filter ─┐
//!                ├ Join ─ Group ─ Window ─ Compute ─ Sort ─▶ rows of named values
//! Scan ──────────┘
//! ```
//!
//! Every value of a row has an id that is unique in the tree, so an expression means the same wherever it stands. Rows come in
//! the order in which they are stored, those of a join in the order of its left side and then of its right, groups as their
//! first row comes: ties are decided by it.

use super::{FunnelModes, Predicate};
use crate::exec::FoldFunction;
use crate::expr::Expr;
use crate::schema::{ColumnId, TableId};
use crate::value::Value;
use std::collections::HashSet;

/// The most steps on the way from a table to the rows of a tree, those of trees within its conditions included: reading and
/// evaluating one recurses.
pub const ROWS_DEPTH_MAX: usize = 128;

/// A condition that is asked of rows made anew each time.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    /// The rows.
    pub rows: Relation,
    /// What they say of members.
    pub tie: Tie,
    /// Where it is TRUE, or FALSE, for certain: that, and nothing unknown.
    pub certainly: Option<bool>,
}

/// What rows say of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// SQL's `column IN (SELECT value …)`.
    In {
        /// The members' column.
        column: ColumnId,
        /// The rows' value.
        value: ColumnId,
    },
    /// A row for each member of the table that is asked: its ordinal, and its truth. Who has none is outside.
    Truth {
        /// The value that holds the ordinal.
        ordinal: ColumnId,
        /// TRUE, FALSE or NULL.
        truth: ColumnId,
    },
}

/// Rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Relation {
    /// Rows of a table.
    Scan(Scan),
    /// Those for which a condition is TRUE.
    Filter {
        /// Of these.
        input: Box<Relation>,
        /// The condition.
        condition: Expr,
    },
    /// Other values of the same rows.
    Compute {
        /// Of these.
        input: Box<Relation>,
        /// The values.
        outputs: Vec<(ColumnId, Expr)>,
    },
    /// Rows of two sides.
    Join(Box<Join>),
    /// Rows of several trees, one tree after the other.
    Append {
        /// The values of a row.
        columns: Vec<ColumnId>,
        /// Each tree, behind its values in the order of those.
        inputs: Vec<(Vec<ColumnId>, Relation)>,
    },
    /// A row for each group of equal keys; without keys exactly one, even of no rows.
    Group {
        /// Of these.
        input: Box<Relation>,
        /// The keys.
        keys: Vec<(ColumnId, Expr)>,
        /// What is made of each group.
        aggregates: Vec<(ColumnId, RowAggregate)>,
    },
    /// The same rows, with values that neighbours decide.
    Window {
        /// Of these.
        input: Box<Relation>,
        /// Rows with equal values are neighbours.
        partition: Vec<Expr>,
        /// Their order; ties stay as they come.
        order: Vec<SortKey>,
        /// The values.
        outputs: Vec<(ColumnId, WindowCall)>,
    },
    /// The same rows in an order, or the first ones only.
    Sort {
        /// Of these.
        input: Box<Relation>,
        /// The order; ties stay as they come.
        order: Vec<SortKey>,
        /// Rows that are passed over.
        offset: u64,
        /// The most that follow.
        limit: Option<u64>,
    },
}

/// The rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// The table.
    pub table: TableId,
    /// Which rows.
    pub condition: Predicate,
    /// Its columns, each under its id in the tree; [`ColumnId::LIVE`] is the row's ordinal.
    pub columns: Vec<(ColumnId, ColumnId)>,
}

/// Rows of two sides that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    /// The one side.
    pub left: Relation,
    /// The other.
    pub right: Relation,
    /// What is made of a pair.
    pub kind: JoinKind,
    /// Values of the left that equal those of the right; a NULL equals nothing.
    pub keys: Vec<(Expr, Expr)>,
    /// What else has to be TRUE of both.
    pub condition: Option<Expr>,
}

/// What a join makes of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Each pair.
    Inner,
    /// Each pair, and each left row without one, beside NULLs.
    Left,
    /// As `Left`, and after them each right row without one, beside NULLs.
    Full,
    /// As `Left`, of at most one right row: a second is an error.
    Single,
    /// Each left row, and whether it has a pair: `EXISTS`.
    Mark(ColumnId),
    /// Each left row, and whether its first key is among those of the right rows that the other keys and the condition leave:
    /// `IN`, with SQL's rule for NULL.
    In(ColumnId),
}

/// What rows are ordered by.
#[derive(Clone, Debug, PartialEq)]
pub struct SortKey {
    /// The value.
    pub value: Expr,
    /// True from the greatest to the least.
    pub descending: bool,
    /// True where NULLs come first.
    pub nulls_first: bool,
}

/// What is made of the rows of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct RowAggregate {
    /// What.
    pub function: RowFunction,
    /// Of which values.
    pub arguments: Vec<Expr>,
    /// True where equal values count once.
    pub distinct: bool,
    /// Of which rows.
    pub filter: Option<Expr>,
}

/// An aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFunction {
    /// One that [`crate::exec::Fold`] makes too.
    Fold(FoldFunction),
    /// `arg_min(x, y)`: the `x` of the row with the least `y`, of several the first. Rows with a NULL are passed over.
    ArgMin,
    /// `arg_max(x, y)`: the `x` of the row with the greatest `y`, of several the first.
    ArgMax,
    /// The number in the middle, or the mean of the two there: Double.
    Median,
    /// How many of some steps were taken one after another, whatever the way: BIGINT. The arguments are the time and a condition for
    /// each step.
    Funnel {
        /// The most microseconds from the first step to the last.
        micros: i64,
        /// True where each step is later than the one before; else it may be of the same time, in a row stored after it.
        strict: bool,
    },
    /// The same of rows that are neighbours in time.
    Consecutive {
        /// The most microseconds from the first step to the last.
        micros: i64,
    },
    /// The same, as ClickHouse's `windowFunnel` counts.
    WindowFunnel {
        /// The most microseconds from the first step to the last.
        micros: i64,
        /// How.
        modes: FunnelModes,
    },
    /// A pattern of events ([`super::SequencePattern`]). The arguments are the pattern, a constant text; the time; a condition for each number.
    Sequence {
        /// True for how often it is found (BIGINT), false for whether it is (BOOLEAN).
        counts: bool,
    },
    /// How many different combinations of values there are, those with a NULL apart: BIGINT.
    CountDistinct,
    /// The number at a part of the way from the least to the greatest, between two of them in proportion: Double. The arguments
    /// are the number, and the part: a constant Double from 0 to 1.
    QuantileCont,
    /// The first value in order that at least a part of all values are not after. The arguments are as above.
    QuantileDisc {
        /// True where the order is from the greatest to the least.
        descending: bool,
    },
    /// The most frequent value, of several the least.
    Mode {
        /// True where it is the greatest of several.
        descending: bool,
    },
}

/// What neighbours say of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowCall {
    /// What.
    pub function: WindowFunction,
    /// Of which values.
    pub arguments: Vec<Expr>,
    /// Of which neighbours, where the function asks that; `None` is all.
    pub frame: Option<Frame>,
}

/// Some of the neighbours of a row: from one place in their order to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// What is counted from the row.
    pub unit: FrameUnit,
    /// Where it begins.
    pub start: FrameBound,
    /// Where it ends, that place included.
    pub end: FrameBound,
}

/// What a frame counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameUnit {
    /// Rows.
    Rows,
    /// Rows that are equal in order, as one.
    Groups,
    /// The value that orders; rows that are equal in order stand at one place.
    Range,
}

/// An end of a frame.
#[derive(Clone, Debug, PartialEq)]
pub enum FrameBound {
    /// The first neighbour.
    First,
    /// So far before the row.
    Before(FrameOffset),
    /// The row.
    Current,
    /// So far after the row.
    After(FrameOffset),
    /// The last neighbour.
    Last,
}

/// How far an end of a frame is from its row.
#[derive(Clone, Debug, PartialEq)]
pub enum FrameOffset {
    /// So many rows or groups.
    Count(u32),
    /// At this value of what orders, computed of the row.
    Value(Expr),
}

/// A window function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowFunction {
    /// The row's number, from 1.
    RowNumber,
    /// The number of the first row that is equal in order.
    Rank,
    /// How many different ones come before in order, and one.
    DenseRank,
    /// The number, from 1, of the one of so many equal parts that the row is in; the first parts take what is over.
    Ntile(u32),
    /// The value so many rows before; the second argument where there is none.
    Lag(u32),
    /// The value so many rows after.
    Lead(u32),
    /// An aggregate of the frame.
    Fold(FoldFunction),
    /// The value of the first row of the frame.
    FirstValue,
    /// The value of its last row.
    LastValue,
    /// The value of the row of this number, from 1.
    NthValue(u32),
}

impl RowFunction {
    /// What it is of no rows.
    pub fn of_nothing(self) -> Value {
        match self {
            RowFunction::Fold(FoldFunction::Count)
            | RowFunction::CountDistinct
            | RowFunction::Funnel { .. }
            | RowFunction::Consecutive { .. }
            | RowFunction::WindowFunnel { .. }
            | RowFunction::Sequence { counts: true } => Value::Integer(0),
            RowFunction::Sequence { counts: false } => Value::Boolean(false),
            RowFunction::Fold(_)
            | RowFunction::ArgMin
            | RowFunction::ArgMax
            | RowFunction::Median
            | RowFunction::QuantileCont
            | RowFunction::QuantileDisc { .. }
            | RowFunction::Mode { .. } => Value::Null,
        }
    }
}

impl Relation {
    /// The values of a row, in order.
    pub fn columns(&self) -> Vec<ColumnId> {
        match self {
            Relation::Scan(scan) => scan.columns.iter().map(|(_, id)| *id).collect(),
            Relation::Filter { input, .. } | Relation::Sort { input, .. } => input.columns(),
            Relation::Compute { outputs, .. } => outputs.iter().map(|(id, _)| *id).collect(),
            Relation::Join(join) => {
                let mut columns = join.left.columns();
                match join.kind {
                    JoinKind::Mark(mark) | JoinKind::In(mark) => columns.push(mark),
                    JoinKind::Inner | JoinKind::Left | JoinKind::Full | JoinKind::Single => {
                        columns.extend(join.right.columns());
                    }
                }
                columns
            }
            Relation::Append { columns, .. } => columns.clone(),
            Relation::Group { keys, aggregates, .. } => {
                keys.iter().map(|(id, _)| *id).chain(aggregates.iter().map(|(id, _)| *id)).collect()
            }
            Relation::Window { input, outputs, .. } => {
                input.columns().into_iter().chain(outputs.iter().map(|(id, _)| *id)).collect()
            }
        }
    }

    /// What it is made of.
    pub fn inputs(&self) -> Vec<&Relation> {
        match self {
            Relation::Scan(_) => Vec::new(),
            Relation::Filter { input, .. }
            | Relation::Compute { input, .. }
            | Relation::Group { input, .. }
            | Relation::Window { input, .. }
            | Relation::Sort { input, .. } => vec![input],
            Relation::Join(join) => vec![&join.left, &join.right],
            Relation::Append { inputs, .. } => inputs.iter().map(|(_, input)| input).collect(),
        }
    }

    /// Hears of the tables that are read.
    pub fn for_each_scan(&self, hear: &mut dyn FnMut(&Scan)) {
        if let Relation::Scan(scan) = self {
            hear(scan);
        }
        self.inputs().into_iter().for_each(|input| input.for_each_scan(hear));
    }

    /// Hears of the expressions of this node, without those below.
    fn for_each_expr(&self, hear: &mut dyn FnMut(&Expr)) {
        match self {
            Relation::Scan(_) | Relation::Append { .. } => {}
            Relation::Filter { condition, .. } => hear(condition),
            Relation::Compute { outputs, .. } => outputs.iter().for_each(|(_, expr)| hear(expr)),
            Relation::Join(join) => {
                for (left, right) in &join.keys {
                    hear(left);
                    hear(right);
                }
                join.condition.iter().for_each(hear);
            }
            Relation::Group { keys, aggregates, .. } => {
                keys.iter().for_each(|(_, expr)| hear(expr));
                for (_, aggregate) in aggregates {
                    aggregate.arguments.iter().chain(&aggregate.filter).for_each(&mut *hear);
                }
            }
            Relation::Window { partition, order, outputs, .. } => {
                partition.iter().for_each(&mut *hear);
                order.iter().for_each(|key| hear(&key.value));
                for (_, call) in outputs {
                    call.arguments.iter().for_each(&mut *hear);
                    call.frame.iter().for_each(|frame| frame.for_each_expr(hear));
                }
            }
            Relation::Sort { order, .. } => order.iter().for_each(|key| hear(&key.value)),
        }
    }

    /// Hears of the expressions of this node and of all below.
    pub(crate) fn for_each_expr_below(&self, hear: &mut dyn FnMut(&Expr)) {
        self.for_each_expr(hear);
        self.inputs().into_iter().for_each(|input| input.for_each_expr_below(hear));
    }

    /// Leaves out columns and computed values that nothing above needs: `needed` begins with what is wanted of the rows. What
    /// is left is what the rows depend on.
    pub fn prune(&mut self, needed: &mut HashSet<ColumnId>) {
        match self {
            Relation::Scan(scan) => scan.columns.retain(|(_, id)| needed.contains(id)),
            Relation::Compute { outputs, .. } => outputs.retain(|(id, _)| needed.contains(id)),
            Relation::Group { aggregates, .. } => aggregates.retain(|(id, _)| needed.contains(id)),
            Relation::Window { outputs, .. } => outputs.retain(|(id, _)| needed.contains(id)),
            Relation::Append { columns, inputs } => {
                let kept: Vec<bool> = columns.iter().map(|id| needed.contains(id)).collect();
                let retain = |ids: &mut Vec<ColumnId>| {
                    let mut kept = kept.iter();
                    ids.retain(|_| kept.next().copied().unwrap_or(true));
                };
                retain(columns);
                for (ids, _) in inputs {
                    retain(ids);
                    needed.extend(ids.iter().copied());
                }
            }
            Relation::Filter { .. } | Relation::Join(_) | Relation::Sort { .. } => {}
        }
        self.for_each_expr(&mut |expr| {
            expr.for_each_column(&mut |column| {
                needed.insert(column);
            });
        });
        match self {
            Relation::Scan(_) => {}
            Relation::Filter { input, .. }
            | Relation::Compute { input, .. }
            | Relation::Group { input, .. }
            | Relation::Window { input, .. }
            | Relation::Sort { input, .. } => input.prune(needed),
            Relation::Join(join) => {
                join.left.prune(needed);
                join.right.prune(needed);
            }
            Relation::Append { inputs, .. } => inputs.iter_mut().for_each(|(_, input)| input.prune(needed)),
        }
    }
}

impl Frame {
    fn for_each_expr(&self, hear: &mut dyn FnMut(&Expr)) {
        for bound in [&self.start, &self.end] {
            if let FrameBound::Before(FrameOffset::Value(expr))
            | FrameBound::After(FrameOffset::Value(expr)) = bound
            {
                hear(expr);
            }
        }
    }
}

impl Predicate {
    /// Hears of the conditions about rows that are made anew, but not of those within such rows.
    pub fn for_each_derived(&self, hear: &mut dyn FnMut(&Derived)) {
        match self {
            Predicate::Derived(derived) => hear(derived),
            Predicate::And(terms) | Predicate::Or(terms) => {
                terms.iter().for_each(|term| term.for_each_derived(hear));
            }
            Predicate::Not(inner) => inner.for_each_derived(hear),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_needs_is_not_read() {
        let id = |id| ColumnId(id);
        let scan = Scan {
            table: TableId(1),
            condition: Predicate::everyone(),
            columns: vec![(id(1), id(11)), (id(2), id(12)), (id(3), id(13))],
        };
        let filter =
            Relation::Filter { input: Box::new(Relation::Scan(scan)), condition: Expr::Column(id(12)) };
        let outputs = vec![(id(21), Expr::Column(id(11))), (id(22), Expr::Column(id(13)))];
        let mut rows = Relation::Compute { input: Box::new(filter), outputs };
        rows.prune(&mut HashSet::from([id(21)]));
        assert_eq!(rows.columns(), [id(21)]);
        let mut read = Vec::new();
        rows.for_each_scan(&mut |scan| read.extend(scan.columns.iter().map(|(column, _)| *column)));
        assert_eq!(read, [id(1), id(2)]);
    }
}
