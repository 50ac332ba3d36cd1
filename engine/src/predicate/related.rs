//! What the rows of other tables say of a member.
//!
//! ```text
//! members        rows of a table, grouped by one of its columns
//! column = 7 ──▶ by = 7: aggregates a0, a1 ┐
//!                rows of another table     ├─▶ truth: an expression over a0, a1, a2
//!           ──▶  by = 7: aggregate a2      ┘
//! ```
//!
//! That there are rows is `count(*) > 0`. Who has none gets the truth of aggregates of nothing: a count of 0, NULL of all others;
//! so does who is NULL in the column.

use super::Predicate;
use crate::exec::FoldFunction;
use crate::expr::Expr;
use crate::schema::{ColumnId, TableId};
use crate::value::Value;

/// Members by what rows of other tables say of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Related {
    /// The members' column that the rows' columns equal.
    pub column: ColumnId,
    /// The rows, of a table each.
    pub rows: Vec<RelatedRows>,
    /// TRUE, FALSE or NULL of a member. Its columns are the aggregates of all rows, in order, by [`slot_id`].
    pub truth: Expr,
    /// True for SQL's `column IN (SELECT by …)`: where it is not TRUE it is unknown if the column is NULL, or `by` of some row.
    pub is_in: bool,
    /// Where it is TRUE, or FALSE, for certain: that, and nothing unknown.
    pub certainly: Option<bool>,
}

/// Rows of another table, by their members.
#[derive(Clone, Debug, PartialEq)]
pub struct RelatedRows {
    /// The table.
    pub table: TableId,
    /// Its column that says whose they are; NULL is nobody's.
    pub by: ColumnId,
    /// Which rows count.
    pub condition: Predicate,
    /// What is made of a member's.
    pub aggregates: Vec<GroupAggregate>,
}

/// An aggregate of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupAggregate {
    /// What is made.
    pub function: FoldFunction,
    /// Of what; `None` is `count(*)`.
    pub argument: Option<Expr>,
    /// True where equal values count once.
    pub distinct: bool,
    /// Of which rows.
    pub filter: Option<Predicate>,
}

impl Predicate {
    /// Hears of what rows of other tables are asked, but not of what those rows are asked in turn.
    pub fn for_each_related(&self, hear: &mut dyn FnMut(&Related)) {
        match self {
            Predicate::Related(related) => hear(related),
            Predicate::And(terms) | Predicate::Or(terms) => {
                terms.iter().for_each(|term| term.for_each_related(hear));
            }
            Predicate::Not(inner) => inner.for_each_related(hear),
            _ => {}
        }
    }
}

impl GroupAggregate {
    /// `count(*)`
    pub fn count() -> GroupAggregate {
        GroupAggregate { function: FoldFunction::Count, argument: None, distinct: false, filter: None }
    }

    /// What it is of no rows.
    pub fn of_nothing(&self) -> Value {
        if self.function == FoldFunction::Count { Value::Integer(0) } else { Value::Null }
    }
}

/// The column by which an expression names a value of a group: its keys, then its aggregates.
pub fn slot_id(at: usize) -> ColumnId {
    ColumnId(at as u32 + 1)
}
