//! Values computed from a member's columns: what a predicate compares, and what a SELECT shows.
//!
//! Like [`crate::Predicate`], an expression names columns by id and holds literals, never codes; `now()` stays symbolic
//! until a statement's snapshot fixes it. Types are settled when it is bound: an argument of a kind that a function does
//! not take is an error, not a panic.

mod apply;
pub(crate) mod bucket;
pub(crate) mod clock;
mod compiled;
mod number;
mod pattern;
pub(crate) mod text;
pub mod time;

pub(crate) use apply::{apply, keeps_null};
pub use compiled::Compiled;
pub(crate) use compiled::{Node, Terms, at_zone};
pub(crate) use pattern::Matcher;

use crate::predicate::{CompareOp, Interval, Literal};
use crate::schema::{ColumnId, DataType};

/// A value computed from one member.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// The value of a column.
    Column(ColumnId),
    /// A constant, or one that the clock completes.
    Literal(Literal),
    /// The member's ordinal, as a BIGINT: what random samples hash.
    Ordinal,
    /// A function of other expressions. Unless the function says otherwise, a NULL argument makes it NULL.
    Call {
        /// What is computed.
        function: Function,
        /// From what; as many as the function takes.
        arguments: Vec<Expr>,
    },
}

/// A function of values. Its number in the catalog stands in `predicate::codec` and never changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Function {
    /// `a op b`: a BOOLEAN.
    Compare(CompareOp),
    /// `a IS NOT DISTINCT FROM b`: as `=`, but NULLs are equal to each other; never NULL.
    Same,
    /// `a IS NULL`; never NULL.
    IsNull,
    /// `a AND b AND …`, as SQL's three-valued logic has it.
    And,
    /// `a OR b OR …`, three-valued.
    Or,
    /// `NOT a`.
    Not,
    /// `a IN (b, c, …)`, with SQL's rule for a NULL among them.
    In,
    /// `tags && ARRAY[…]`: has any of these tags.
    HasAny(Vec<String>),
    /// `tags @> ARRAY[…]`: has all of these tags.
    HasAll(Vec<String>),
    /// `a + b` of numbers; a DATE plus whole days.
    Add,
    /// `a - b` of numbers; a DATE less whole days; days between two DATEs.
    Subtract,
    /// `a * b`
    Multiply,
    /// `a / b`: of integers the quotient cut towards zero, else a DOUBLE PRECISION. By zero is an error.
    Divide,
    /// `a % b` of integers and decimals, with the sign of `a`. By zero is an error.
    Modulo,
    /// `- a`
    Negate,
    /// The magnitude of a number.
    Abs,
    /// The greatest whole number not above it, of the argument's type.
    Floor,
    /// The least whole number not below it.
    Ceil,
    /// To so many digits after the point (second argument), ties away from zero.
    Round,
    /// `power(a, b)`, a DOUBLE PRECISION.
    Power,
    /// The square root, a DOUBLE PRECISION.
    Sqrt,
    /// The natural logarithm, a DOUBLE PRECISION.
    Ln,
    /// The logarithm to base 10, a DOUBLE PRECISION.
    Log10,
    /// The sine of an angle in radians, a DOUBLE PRECISION.
    Sin,
    /// The cosine of an angle in radians, a DOUBLE PRECISION.
    Cos,
    /// The angle of a sine from -1 to 1, in radians, a DOUBLE PRECISION.
    Asin,
    /// The angle of a cosine from -1 to 1, in radians, a DOUBLE PRECISION.
    Acos,
    /// An angle in degrees as radians, a DOUBLE PRECISION.
    Radians,
    /// `md5(text)`: the hash of its UTF-8 bytes, as 32 hexadecimal digits. For what other systems compute too; `Bucket` is the
    /// faster and better spread one.
    Md5,
    /// A time moved by an interval; a DATE becomes a TIMESTAMP.
    AddInterval(Interval),
    /// `lower(text)`, by Unicode's mapping.
    Lower,
    /// `upper(text)`, by Unicode's mapping.
    Upper,
    /// Characters (not bytes) of a text.
    Length,
    /// `substr(text, from [, length])`, in characters from 1.
    Substr,
    /// Without spaces at both ends.
    Trim,
    /// Texts one after another (`||`).
    Concat,
    /// `replace(text, from, to)`: every occurrence.
    Replace,
    /// `split_part(text, separator, n)`: the n-th part from 1, from the end where n is negative; empty beyond.
    SplitPart,
    /// `text LIKE pattern`: a BOOLEAN.
    Like(Pattern),
    /// Number of tags.
    Cardinality,
    /// Tags of both sides, each a set of tags or a text that is one; a NULL adds none, two are NULL.
    AddTags,
    /// `array_remove(tags, tag)`: the set without it.
    RemoveTag,
    /// A time cut to a unit; a DATE becomes a TIMESTAMP.
    DateTrunc(TimeUnit),
    /// A field of a time: whole numbers, but DOUBLE PRECISION for `epoch` and DECIMAL for `second`.
    Extract(TimeField),
    /// Full years from the first date to the second.
    Years,
    /// Days from the second date to the next yearly return of the first: 0 on the day itself. 29 February returns on
    /// 1 March in common years.
    DaysToBirthday,
    /// Of the key (BIGINT or TEXT) the bucket from 0 to `buckets` - 1 that a hash under this salt puts it in; its hash is
    /// written down in docs/QUERY.md.
    Bucket {
        /// Different salts give independent splits.
        salt: String,
        /// How many.
        buckets: u32,
    },
    /// A TIMESTAMPTZ as the local TIMESTAMP of a zone, or the reverse; the zone's IANA name.
    AtZone(String),
    /// As another type, exactly or with SQL's rounding; what cannot be is an error.
    Cast(DataType),
    /// The first argument that is not NULL.
    Coalesce,
    /// The first where it is not equal to the second, else NULL.
    NullIf,
    /// `CASE`: condition, value, condition, value, …, and a value for the rest.
    Case,
    /// The greatest argument that is not NULL.
    Greatest,
    /// The least argument that is not NULL.
    Least,
}

/// What a text is matched with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// How the pattern is read.
    pub kind: PatternKind,
    /// The pattern.
    pub pattern: String,
}

/// How a pattern is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternKind {
    /// LIKE: `%` any characters, `_` one, `\` takes the next literally.
    Like,
    /// ILIKE: LIKE without regard to case.
    ILike,
    /// `~`: a regular expression anywhere in the text, in time linear in it.
    Regex,
    /// `~*`: `~` without regard to case.
    IRegex,
}

/// What a time is cut to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Microseconds: nothing is cut.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Second,
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
    /// Days.
    Day,
    /// ISO weeks, from Monday.
    Week,
    /// Months.
    Month,
    /// Quarters.
    Quarter,
    /// Years.
    Year,
}

/// A field of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeField {
    /// The year.
    Year,
    /// 1 to 4.
    Quarter,
    /// 1 to 12.
    Month,
    /// The ISO week, 1 to 53.
    Week,
    /// The year that the ISO week belongs to.
    IsoYear,
    /// The day of the month.
    Day,
    /// 0 (Sunday) to 6.
    DayOfWeek,
    /// 1 (Monday) to 7.
    IsoDayOfWeek,
    /// 1 to 366.
    DayOfYear,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
    /// Seconds with their fraction: DECIMAL with six digits after the point.
    Second,
    /// Seconds since 1970-01-01 00:00:00 UTC: DECIMAL with six digits after the point.
    Epoch,
}

impl Expr {
    /// A constant.
    pub fn value(value: crate::Value) -> Expr {
        Expr::Literal(Literal::Value(value))
    }

    /// A function of these.
    pub fn call(function: Function, arguments: impl IntoIterator<Item = Expr>) -> Expr {
        Expr::Call { function, arguments: arguments.into_iter().collect() }
    }

    /// The same of other columns; `None` where `other` has none for one of them.
    pub fn with_columns(&self, other: &dyn Fn(ColumnId) -> Option<ColumnId>) -> Option<Expr> {
        Some(match self {
            Expr::Column(column) => Expr::Column(other(*column)?),
            Expr::Literal(_) | Expr::Ordinal => self.clone(),
            Expr::Call { function, arguments } => {
                let arguments = arguments.iter().map(|argument| argument.with_columns(other));
                Expr::Call { function: function.clone(), arguments: arguments.collect::<Option<_>>()? }
            }
        })
    }

    /// True where it is NULL for certain when some columns are.
    pub fn is_null_with(&self, nulls: &dyn Fn(ColumnId) -> bool) -> bool {
        match self {
            Expr::Column(column) => nulls(*column),
            Expr::Literal(_) | Expr::Ordinal => false,
            Expr::Call { function, arguments } => {
                keeps_null(function) && arguments.iter().any(|argument| argument.is_null_with(nulls))
            }
        }
    }

    /// Names every column that is read, perhaps more than once.
    pub fn for_each_column(&self, hear: &mut impl FnMut(ColumnId)) {
        match self {
            Expr::Column(column) => hear(*column),
            Expr::Literal(_) | Expr::Ordinal => {}
            Expr::Call { arguments, .. } => {
                for argument in arguments {
                    argument.for_each_column(hear);
                }
            }
        }
    }
}
