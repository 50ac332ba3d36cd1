//! Numbers, dates and times as ordered `i64` codes: the one form in which they are stored, indexed and compared.
//!
//! | type | code |
//! |---|---|
//! | SMALLINT, INTEGER, BIGINT | itself |
//! | DECIMAL(p,s) | the unscaled integer |
//! | DATE | days since 1970-01-01 |
//! | TIMESTAMP, TIMESTAMPTZ | microseconds since 1970-01-01 00:00:00 (UTC) |
//! | DOUBLE PRECISION | the bits, made order-preserving: −0 becomes 0, NaN the greatest value, as PostgreSQL has it |

use crate::schema::DataType;
use crate::value::Value;

/// The code of a double: order-preserving, one code for both zeros, NaN above infinity.
pub fn double_to_code(double: f64) -> i64 {
    let canonical = if double.is_nan() {
        f64::NAN.abs()
    } else if double == 0.0 {
        0.0
    } else {
        double
    };
    let bits = canonical.to_bits() as i64;
    // Negative doubles grow downwards: flip everything but the sign.
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The double of a code.
pub fn code_to_double(code: i64) -> f64 {
    f64::from_bits((code ^ (((code >> 63) as u64) >> 1) as i64) as u64)
}

/// The code of a value; `None` for NULL and for values without one (booleans, text, tags) and for decimals beyond `i64`.
pub fn encode(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(integer) => Some(*integer),
        Value::Decimal { unscaled, .. } => i64::try_from(*unscaled).ok(),
        Value::Double(double) => Some(double_to_code(*double)),
        Value::Date(days) => Some(i64::from(*days)),
        Value::Timestamp(micros) | Value::TimestampTz(micros) => Some(*micros),
        Value::Null | Value::Boolean(_) | Value::Text(_) | Value::Tags(_) => None,
    }
}

/// The value of a code of this type. Panics for BOOLEAN, TEXT and TEXT[], which have no codes.
pub fn decode(data_type: DataType, code: i64) -> Value {
    match data_type {
        DataType::SmallInt | DataType::Integer | DataType::BigInt => Value::Integer(code),
        DataType::Decimal { scale, .. } => Value::Decimal { unscaled: i128::from(code), scale },
        DataType::Double => Value::Double(code_to_double(code)),
        DataType::Date => Value::Date(code as i32),
        DataType::Timestamp => Value::Timestamp(code),
        DataType::TimestampTz => Value::TimestampTz(code),
        DataType::Boolean | DataType::Text | DataType::TextArray => unreachable!("{data_type} has no codes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_keep_their_order() {
        let ordered = [f64::NEG_INFINITY, -1e300, -1.5, -f64::MIN_POSITIVE, 0.0, 5e-324, 1.0, f64::INFINITY];
        assert!(ordered.windows(2).all(|w| double_to_code(w[0]) < double_to_code(w[1])));
        assert_eq!(double_to_code(-0.0), double_to_code(0.0));
        assert!(double_to_code(-f64::NAN) > double_to_code(f64::INFINITY));
        assert!(ordered.iter().all(|d| code_to_double(double_to_code(*d)) == *d));
    }
}
