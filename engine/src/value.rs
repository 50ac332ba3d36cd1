//! One value of one member: typed, owned, printed and parsed as PostgreSQL does.

use crate::schema::DataType;

/// A value. Integers of all widths are `Integer`; the column's [`DataType`] carries the width.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL's NULL.
    Null,
    /// BOOLEAN.
    Boolean(bool),
    /// SMALLINT, INTEGER, BIGINT.
    Integer(i64),
    /// An exact decimal: `unscaled / 10^scale`. Sums may exceed a column's 18 digits.
    Decimal {
        /// All digits, as an integer.
        unscaled: i128,
        /// Digits after the point.
        scale: u8,
    },
    /// DOUBLE PRECISION.
    Double(f64),
    /// TEXT.
    Text(String),
    /// DATE: days since 1970-01-01.
    Date(i32),
    /// TIMESTAMP: microseconds since 1970-01-01 00:00:00, no zone.
    Timestamp(i64),
    /// TIMESTAMPTZ: microseconds since 1970-01-01 00:00:00 UTC.
    TimestampTz(i64),
    /// TEXT[]: the tags, sorted by UTF-8 bytes, without duplicates.
    Tags(Vec<String>),
}

/// Why a text is no value of a type. The caller adds file, line and column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ValueError {
    /// A sentence without a full stop, e.g. `"abc" is not an integer`.
    pub reason: String,
}
