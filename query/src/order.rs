//! The order of values: of groups in an answer, and of constants in a comparison.

use crate::select::Direction;
use muster_engine::calendar::MICROS_PER_DAY;
use muster_engine::code::double_to_code;
use muster_engine::value::Value;
use std::cmp::Ordering;

/// Compares two values that are not NULL; `None` where they cannot be compared. Numbers are compared as numbers, a
/// date with a time as its midnight, text by its UTF-8 bytes, false before true.
pub(crate) fn compare_values(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Value::Boolean(a), Value::Boolean(b)) => Some(a.cmp(b)),
        (Value::Tags(a), Value::Tags(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => Some(double_to_code(*a).cmp(&double_to_code(*b))),
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => Some(compare_numbers(a, b)),
            _ => Some(micros(a)?.cmp(&micros(b)?)),
        },
    }
}

/// The order of an answer's rows by one column: NULLs count as greater than everything.
pub(crate) fn order_values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (a, b) => compare_values(a, b).unwrap_or(Ordering::Equal),
    }
}

/// The order of two values in a direction that also says where NULLs go.
pub(crate) fn order_directed(a: &Value, b: &Value, direction: Direction) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) if direction.nulls_first => Ordering::Less,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => order_directed(b, a, direction).reverse(),
        _ if direction.descending => order_values(b, a),
        _ => order_values(a, b),
    }
}

enum Number {
    Exact(i128, u8),
    Double(f64),
}

fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Integer(integer) => Some(Number::Exact(i128::from(*integer), 0)),
        Value::Decimal { unscaled, scale } => Some(Number::Exact(*unscaled, *scale)),
        Value::Double(double) => Some(Number::Double(*double)),
        _ => None,
    }
}

fn compare_numbers(a: Number, b: Number) -> Ordering {
    let double = |number: &Number| match number {
        Number::Exact(unscaled, scale) => *unscaled as f64 / 10_f64.powi(i32::from(*scale)),
        Number::Double(double) => *double,
    };
    if let (Number::Exact(a, a_scale), Number::Exact(b, b_scale)) = (&a, &b) {
        let scale = (*a_scale).max(*b_scale);
        let grown =
            |unscaled: i128, from: u8| unscaled.checked_mul(10_i128.checked_pow(u32::from(scale - from))?);
        if let (Some(a), Some(b)) = (grown(*a, *a_scale), grown(*b, *b_scale)) {
            return a.cmp(&b);
        }
    }
    // A double's side, or digits beyond 38: compared as PostgreSQL compares numeric with double precision.
    double_to_code(double(&a)).cmp(&double_to_code(double(&b)))
}

fn micros(value: &Value) -> Option<i128> {
    match value {
        Value::Date(days) => Some(i128::from(*days) * i128::from(MICROS_PER_DAY)),
        Value::Timestamp(micros) | Value::TimestampTz(micros) => Some(i128::from(*micros)),
        _ => None,
    }
}
