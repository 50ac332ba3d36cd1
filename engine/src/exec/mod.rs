//! stub: the one door to answers

use crate::control::Cancel;
use crate::predicate::Predicate;
use crate::schema::{ColumnId, TableId};
use crate::value::Value;
use crate::{Error, Result, Snapshot};
use roaring::RoaringBitmap;

/// Which part of the table is asked: a span of chunks, and optionally only members of a mask.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Chunks; `None` is all.
    pub chunks: Option<std::ops::Range<u32>>,
    /// Ordinals that count; `None` is all.
    pub mask: Option<RoaringBitmap>,
}

/// What an evaluation cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Chunks looked at.
    pub chunks: u64,
    /// Bytes of sections read.
    pub bytes: u64,
}

/// One aggregate of a grouping. NULLs are passed over, as SQL has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// `count(*)`: BIGINT
    CountAll,
    /// `count(column)`: BIGINT
    Count(ColumnId),
    /// `sum(column)`: exact Decimal (scale 0 for integers), Double for doubles; NULL of no rows
    Sum(ColumnId),
    /// `avg(column)`: Double; NULL of no rows
    Avg(ColumnId),
    /// `min(column)`: any type but BOOLEAN and TEXT[]; NULL of no rows
    Min(ColumnId),
    /// `max(column)`
    Max(ColumnId),
}

/// One group: its key values, its aggregates.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The values of the grouping columns; NULL is a group of its own.
    pub key: Vec<Value>,
    /// The aggregates in the order asked.
    pub values: Vec<Value>,
}

/// One ORDER BY column. NULLs sort as if greater than every value (PostgreSQL): last ascending, first descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// The column; TEXT orders by UTF-8 bytes, BOOLEAN false before true. TEXT[] cannot be ordered by.
    pub column: ColumnId,
    /// True for DESC.
    pub descending: bool,
}

/// Takes members chunk by chunk; partial results merge. (The implementations: count, members, groups, top, first.)
pub trait Sink: Sync {
    /// The result.
    type Output;
}

/// `count(*)`: a `u64`.
pub struct Count;
/// The members as a Roaring bitmap of ordinals.
pub struct Members;
/// GROUP BY: a `Vec<Group>` in no particular order. Without keys exactly one group, even of no rows.
pub struct Groups {
    /// The grouping columns.
    pub keys: Vec<ColumnId>,
    /// The aggregates.
    pub aggregates: Vec<Aggregate>,
}
/// The first `limit` ordinals (`Vec<u32>`) in this order; ties by ordinal.
pub struct Top {
    /// The order.
    pub order: Vec<OrderBy>,
    /// How many; `usize::MAX` sorts everything.
    pub limit: usize,
}
/// The first `limit` ordinals (`Vec<u32>`), ascending.
pub struct First {
    /// How many.
    pub limit: usize,
}

impl Sink for Count {
    type Output = u64;
}
impl Sink for Members {
    type Output = RoaringBitmap;
}
impl Sink for Groups {
    type Output = Vec<Group>;
}
impl Sink for Top {
    type Output = Vec<u32>;
}
impl Sink for First {
    type Output = Vec<u32>;
}

/// The one door to answers: the members of `predicate` within `scope`, poured into `sink`.
///
/// Errors: an unknown table or column, a literal that cannot be compared with its column, damaged bytes, cancellation.
pub fn evaluate<S: Sink>(
    _snapshot: &Snapshot,
    _table: TableId,
    _predicate: &Predicate,
    _scope: &Scope,
    _cancel: &Cancel,
    _sink: &S,
) -> Result<(S::Output, Stats)> {
    Err(Error::Invalid("not built yet".into()))
}

/// The values of some members: a row per ordinal in the order given, a value per column.
pub fn project(
    _snapshot: &Snapshot,
    _table: TableId,
    _ordinals: &[u32],
    _columns: &[ColumnId],
) -> Result<Vec<Vec<Value>>> {
    Err(Error::Invalid("not built yet".into()))
}
