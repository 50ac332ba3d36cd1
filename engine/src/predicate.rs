//! The narrow waist: a bound description of a set of members.
//!
//! The language lowers to it, embedders build it directly, the planner reads nothing else. It names tables' columns by
//! id and holds literals, never dictionary codes, so it stays true while dictionaries grow; `now()` stays symbolic
//! until a statement's snapshot fixes it.
//!
//! Semantics are SQL's three-valued logic; the members of a predicate are those for which it is TRUE.

pub mod codec;
mod depends;
mod related;
mod relation;
mod renamed;
mod sequence;

pub use depends::Dependency;
pub use related::{GroupAggregate, Related, RelatedRows, slot_id};
pub use relation::{
    Derived, Frame, FrameBound, FrameOffset, FrameUnit, Join, JoinKind, ROWS_DEPTH_MAX, Relation,
    RowAggregate, RowFunction, Scan, SortKey, Tie, WindowCall, WindowFunction,
};
pub use sequence::{FunnelModes, PATTERN_CONDITIONS_MAX, PATTERN_EVENTS_MAX, SequencePattern};
pub(crate) use sequence::{Gap, PatternEvent};

use crate::expr::Expr;
use crate::schema::ColumnId;
use crate::value::Value;
use roaring::RoaringBitmap;
use std::sync::Arc;

/// The id of an audience, unique for the life of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub struct AudienceId(pub u32);

/// SQL's three truth values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// TRUE.
    True,
    /// FALSE.
    False,
    /// NULL: neither.
    Unknown,
}

/// How a column is compared with a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `=`
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl CompareOp {
    /// The comparison with its sides exchanged.
    pub fn flipped(self) -> CompareOp {
        match self {
            CompareOp::Eq => CompareOp::Eq,
            CompareOp::Ne => CompareOp::Ne,
            CompareOp::Lt => CompareOp::Gt,
            CompareOp::Le => CompareOp::Ge,
            CompareOp::Gt => CompareOp::Lt,
            CompareOp::Ge => CompareOp::Le,
        }
    }

    /// The comparison that is TRUE where this one is FALSE.
    pub fn negated(self) -> CompareOp {
        match self {
            CompareOp::Eq => CompareOp::Ne,
            CompareOp::Ne => CompareOp::Eq,
            CompareOp::Lt => CompareOp::Ge,
            CompareOp::Le => CompareOp::Gt,
            CompareOp::Gt => CompareOp::Le,
            CompareOp::Ge => CompareOp::Lt,
        }
    }
}

/// A span of calendar and clock time, as PostgreSQL's INTERVAL: months and days are calendar units, applied in that
/// order, then the microseconds. A month added to 31 January ends on the last day of February.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interval {
    /// Months; years count twelve.
    pub months: i32,
    /// Days; weeks count seven.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

impl Interval {
    /// As long in the other direction; `None` where a part is the least of its type.
    pub fn checked_neg(&self) -> Option<Interval> {
        Some(Interval {
            months: self.months.checked_neg()?,
            days: self.days.checked_neg()?,
            micros: self.micros.checked_neg()?,
        })
    }
}

/// A constant, or one that the statement's clock completes.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// A constant. A NULL makes every comparison unknown.
    Value(Value),
    /// `now()` as a TIMESTAMPTZ, moved by the intervals in order. Compared with a DATE or TIMESTAMP column it is read in
    /// its zone.
    Now {
        /// What is added, in order.
        offsets: Vec<Interval>,
        /// True where it is cut to its day (`current_date`, `CAST(now() AS DATE)`), before the offsets.
        date: bool,
        /// The IANA name of the zone whose calendar cuts and moves it; `None` is UTC.
        zone: Option<Arc<str>>,
    },
}

/// A set of members of one table.
///
/// Literals need not have the column's exact type: numbers are compared as numbers, exactly; dates with timestamps as
/// midnight. A literal that cannot be compared at all (text with a number) is an error of the planner, not a panic.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// The same for every member.
    Const(Truth),
    /// All hold. Empty is TRUE.
    And(Vec<Predicate>),
    /// Any holds. Empty is FALSE.
    Or(Vec<Predicate>),
    /// Kleene's NOT: unknown stays unknown.
    Not(Box<Predicate>),
    /// A BOOLEAN column itself.
    IsTrue(ColumnId),
    /// `column IS NULL`; never unknown.
    IsNull(ColumnId),
    /// `column op literal`; booleans, numbers, times and texts (by UTF-8 bytes).
    Compare {
        /// The column.
        column: ColumnId,
        /// The comparison.
        op: CompareOp,
        /// The constant.
        literal: Literal,
    },
    /// `column IN (literals)`, with SQL's rule: a NULL among them makes a miss unknown. Empty is FALSE.
    In {
        /// The column.
        column: ColumnId,
        /// The list.
        literals: Vec<Literal>,
    },
    /// `tags && ARRAY[…]`: has any of them. One tag is `'vip' = ANY(tags)`. Empty is FALSE where the column is not NULL.
    HasAny {
        /// A TEXT[] column.
        column: ColumnId,
        /// The tags.
        tags: Vec<String>,
    },
    /// `tags @> ARRAY[…]`: has all of them. Empty is TRUE where the column is not NULL.
    HasAll {
        /// A TEXT[] column.
        column: ColumnId,
        /// The tags.
        tags: Vec<String>,
    },
    /// A BOOLEAN expression is TRUE: what has no form above.
    Holds(Expr),
    /// The members of an audience of the same table; never unknown.
    Audience(AudienceId),
    /// What the rows of other tables say of a member.
    Related(Arc<Related>),
    /// What rows that are made of the rows of tables say of a member.
    Derived(Arc<Derived>),
    /// The members of a set of ordinals; never unknown. Of one snapshot, so the catalog does not store it.
    Members(Arc<RoaringBitmap>),
}

impl Predicate {
    /// TRUE for every member.
    pub fn everyone() -> Predicate {
        Predicate::Const(Truth::True)
    }

    /// `self AND other`.
    pub fn and(self, other: Predicate) -> Predicate {
        match self {
            Predicate::And(mut terms) => {
                terms.push(other);
                Predicate::And(terms)
            }
            first => Predicate::And(vec![first, other]),
        }
    }

    /// `self OR other`.
    pub fn or(self, other: Predicate) -> Predicate {
        match self {
            Predicate::Or(mut terms) => {
                terms.push(other);
                Predicate::Or(terms)
            }
            first => Predicate::Or(vec![first, other]),
        }
    }

    /// `NOT self`.
    #[expect(clippy::should_implement_trait, reason = "SQL's NOT, three-valued; `!` would suggest a boolean")]
    pub fn not(self) -> Predicate {
        Predicate::Not(Box::new(self))
    }

    /// `column op value`.
    pub fn compare(column: ColumnId, op: CompareOp, value: Value) -> Predicate {
        Predicate::Compare { column, op, literal: Literal::Value(value) }
    }

    /// `column IN (values)`.
    pub fn any_of(column: ColumnId, values: impl IntoIterator<Item = Value>) -> Predicate {
        Predicate::In { column, literals: values.into_iter().map(Literal::Value).collect() }
    }

    /// `low <= column AND column <= high`.
    pub fn between(column: ColumnId, low: Value, high: Value) -> Predicate {
        Predicate::And(vec![
            Predicate::compare(column, CompareOp::Ge, low),
            Predicate::compare(column, CompareOp::Le, high),
        ])
    }

    /// `tag = ANY(column)`.
    pub fn has_tag(column: ColumnId, tag: impl Into<String>) -> Predicate {
        Predicate::HasAny { column, tags: vec![tag.into()] }
    }
}
