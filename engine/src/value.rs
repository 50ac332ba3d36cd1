//! One value of one member: typed, owned, printed and parsed as PostgreSQL does.
//!
//! What is printed is parsed back to the same value (NULL and text aside, which carry no quotes here). Comparing and
//! storing values is not done here: that is `code` and the planner.

mod parse;
mod tags;

use parse::quoted;
pub(crate) use parse::{Reason, boolean, code, shortened};
pub(crate) use tags::{Element, for_each_tag, json_string};

use crate::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days};
use crate::schema::DataType;
use std::fmt;

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

impl Value {
    /// A set of tags, sorted and deduplicated.
    pub fn tags(tags: impl IntoIterator<Item = String>) -> Value {
        let mut tags: Vec<String> = tags.into_iter().collect();
        tags.sort_unstable();
        tags.dedup();
        Value::Tags(tags)
    }

    /// Reads a text as PostgreSQL's input functions do; never gives [`Value::Null`].
    ///
    /// Spaces around everything but TEXT are ignored. A value that the type cannot hold exactly is refused instead of
    /// rounded: a DECIMAL with more digits after the point than its scale, a time finer than microseconds. A zone in a
    /// TIMESTAMP is refused; a TIMESTAMPTZ without one is UTC. TEXT[] is `{a,"b c"}` or JSON's `["a","b c"]`.
    ///
    /// ```
    /// use muster_engine::{DataType, Value};
    /// assert_eq!(Value::parse("1969-12-31", DataType::Date), Ok(Value::Date(-1)));
    /// let refused = Value::parse("1.239", DataType::Decimal { precision: 5, scale: 2 }).unwrap_err();
    /// assert_eq!(refused.reason, "\"1.239\" has more than 2 digits after the point");
    /// ```
    pub fn parse(text: &str, data_type: DataType) -> Result<Value, ValueError> {
        let refuse = |reason| ValueError { reason: format!("{} {reason}", quoted(text.as_bytes())) };
        match data_type {
            DataType::Boolean => boolean(text.as_bytes()).map(Value::Boolean).map_err(refuse),
            DataType::Text => Ok(Value::Text(text.to_owned())),
            DataType::TextArray => {
                let mut tags = Vec::new();
                for_each_tag(text, &mut String::new(), |tag| tags.push(tag.to_owned())).map_err(refuse)?;
                Ok(Value::tags(tags))
            }
            _ => code(text.as_bytes(), data_type)
                .map(|code| crate::code::decode(data_type, code))
                .map_err(refuse),
        }
    }
}

/// The whole number of a text like `0x1f`: what a cast takes, and no file.
pub fn hexadecimal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| i64::from_str_radix(digits, 16).ok()).flatten()
}

/// PostgreSQL's text form, with `true`/`false` for booleans and `NULL` for NULL.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Boolean(boolean) => write!(f, "{boolean}"),
            Value::Integer(integer) => write!(f, "{integer}"),
            Value::Decimal { unscaled, scale } => write_decimal(f, *unscaled, *scale),
            Value::Double(double) => write_double(f, *double),
            Value::Text(text) => f.write_str(text),
            Value::Date(days) => {
                let era = write_date(f, i64::from(*days))?;
                f.write_str(era)
            }
            Value::Timestamp(micros) => write_timestamp(f, *micros, ""),
            Value::TimestampTz(micros) => write_timestamp(f, *micros, "+00"),
            Value::Tags(tags) => {
                f.write_str("{")?;
                for (i, tag) in tags.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { "," } else { "" }, Element(tag))?;
                }
                f.write_str("}")
            }
        }
    }
}

fn write_decimal(f: &mut fmt::Formatter<'_>, unscaled: i128, scale: u8) -> fmt::Result {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    write!(f, "{sign}{whole}{}{fraction}", if scale > 0 { "." } else { "" })
}

/// The shortest digits that read back to the same double, with an exponent where PostgreSQL writes one.
fn write_double(f: &mut fmt::Formatter<'_>, double: f64) -> fmt::Result {
    if double.is_nan() {
        return f.write_str("NaN");
    }
    if double.is_infinite() {
        return f.write_str(if double < 0.0 { "-Infinity" } else { "Infinity" });
    }
    let scientific = format!("{double:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..15).contains(&exponent) {
        write!(f, "{double}")
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(f, "{mantissa}e{sign}{:02}", exponent.abs())
    }
}

/// Writes the date and returns what must stand at the very end: ` BC` before the year 1.
fn write_date(f: &mut fmt::Formatter<'_>, days: i64) -> Result<&'static str, fmt::Error> {
    let (year, month, day) = civil_from_days(days);
    let (shown, era) = if year <= 0 { (1 - year, " BC") } else { (year, "") };
    write!(f, "{shown:04}-{month:02}-{day:02}")?;
    Ok(era)
}

fn write_timestamp(f: &mut fmt::Formatter<'_>, micros: i64, zone: &str) -> fmt::Result {
    let era = write_date(f, micros.div_euclid(MICROS_PER_DAY))?;
    let within = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, fraction) = (within / MICROS_PER_SECOND, within % MICROS_PER_SECOND);
    write!(f, " {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    if fraction != 0 {
        f.write_str(format!(".{fraction:06}").trim_end_matches('0'))?;
    }
    write!(f, "{zone}{era}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn shows(value: Value, text: &str) {
        assert_eq!(value.to_string(), text);
    }

    #[test]
    fn values_print_as_postgresql_prints_them() {
        shows(Value::Null, "NULL");
        shows(Value::Boolean(true), "true");
        shows(Value::Decimal { unscaled: -5, scale: 2 }, "-0.05");
        shows(Value::Decimal { unscaled: 12_345, scale: 2 }, "123.45");
        shows(Value::Decimal { unscaled: 7, scale: 0 }, "7");
        shows(Value::Double(1.0), "1");
        shows(Value::Double(0.1), "0.1");
        shows(Value::Double(1e15), "1e+15");
        shows(Value::Double(123_456_789_012_345.0), "123456789012345");
        shows(Value::Double(0.0001), "0.0001");
        shows(Value::Double(-0.000_012), "-1.2e-05");
        shows(Value::Double(1.5e300), "1.5e+300");
        shows(Value::Double(f64::NEG_INFINITY), "-Infinity");
        shows(Value::Date(0), "1970-01-01");
        shows(Value::Date(-719_163), "0001-12-31 BC");
        shows(Value::Timestamp(-1), "1969-12-31 23:59:59.999999");
        shows(Value::Timestamp(1_793_491_200_000_000), "2026-11-01 00:00:00");
        shows(Value::TimestampTz(500_000), "1970-01-01 00:00:00.5+00");
        shows(
            Value::tags(["b c", "a", "", "NULL", "q\"", "a"].map(String::from)),
            r#"{"","NULL",a,"b c","q\""}"#,
        );
        shows(Value::tags([]), "{}");
    }

    fn any_value() -> impl Strategy<Value = (Value, DataType)> {
        let decimal = (0u8..=18, -999_999_999_999_999_999i128..=999_999_999_999_999_999).prop_map(
            |(scale, unscaled)| {
                (Value::Decimal { unscaled, scale }, DataType::Decimal { precision: 18, scale })
            },
        );
        prop_oneof![
            any::<bool>().prop_map(|v| (Value::Boolean(v), DataType::Boolean)),
            any::<i16>().prop_map(|v| (Value::Integer(v.into()), DataType::SmallInt)),
            any::<i32>().prop_map(|v| (Value::Integer(v.into()), DataType::Integer)),
            any::<i64>().prop_map(|v| (Value::Integer(v), DataType::BigInt)),
            decimal,
            any::<f64>()
                .prop_filter("NaN", |v| !v.is_nan())
                .prop_map(|v| (Value::Double(v), DataType::Double)),
            any::<String>().prop_map(|v| (Value::Text(v), DataType::Text)),
            any::<i32>().prop_map(|v| (Value::Date(v), DataType::Date)),
            any::<i64>().prop_map(|v| (Value::Timestamp(v), DataType::Timestamp)),
            (-1i64 << 52..1 << 52).prop_map(|v| (Value::Timestamp(v), DataType::Timestamp)),
            any::<i64>().prop_map(|v| (Value::TimestampTz(v), DataType::TimestampTz)),
            prop::collection::vec(any::<String>(), 0..4).prop_map(|v| (Value::tags(v), DataType::TextArray)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_is_parsed_back((value, data_type) in any_value()) {
            prop_assert_eq!(Value::parse(&value.to_string(), data_type), Ok(value));
        }
    }
}
