//! What a statement changes: the bound description of a write, as [`crate::Predicate`] is that of a question.

use crate::expr::Expr;
use crate::predicate::Predicate;
use crate::schema::{ColumnId, TableId};
use crate::value::Value;

/// One change of one table's rows. Applied whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub enum Mutation {
    /// New rows.
    Insert(Insert),
    /// New values of some members.
    Update(Update),
    /// Members that go.
    Delete(Delete),
}

/// New rows, and what happens where their key is there already.
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    /// The table.
    pub table: TableId,
    /// The columns that rows give; the others become NULL.
    pub columns: Vec<ColumnId>,
    /// A value per column; its type is the column's, or NULL.
    pub rows: Vec<Vec<Value>>,
    /// What to do with a row whose key a member has.
    pub conflict: OnConflict,
}

/// What to do with a row whose key a member has.
#[derive(Clone, Debug, PartialEq)]
pub enum OnConflict {
    /// The statement is refused.
    Refuse,
    /// The row is passed over.
    Nothing,
    /// The member gets new values. Expressions see the member as it is, and the row by [`ColumnId::excluded`].
    Update(Vec<Assignment>),
}

/// `column = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The column; never the key.
    pub column: ColumnId,
    /// Its new value, computed of the old ones of the member.
    pub value: Expr,
}

/// New values of all members that satisfy a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The table.
    pub table: TableId,
    /// Who is changed.
    pub predicate: Predicate,
    /// What becomes of them; each column at most once.
    pub assignments: Vec<Assignment>,
}

/// All members that satisfy a condition go.
#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    /// The table.
    pub table: TableId,
    /// Who goes.
    pub predicate: Predicate,
}

/// How many rows a mutation has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Rows that are new.
    pub inserted: u64,
    /// Members that were assigned values, also where they had these before.
    pub updated: u64,
    /// Members that are gone.
    pub deleted: u64,
}
