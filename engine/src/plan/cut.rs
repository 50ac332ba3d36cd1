//! Where a literal falls among a column's codes.
//!
//! A comparison of numbers of different kinds is exact: `integer < 2.5` is `integer <= 2`, a DECIMAL meets a double at
//! the double's true binary value. So every comparison becomes a closed interval of codes, once per statement.

use crate::code::{code_to_double, double_to_code};
use crate::predicate::CompareOp;
use crate::schema::DataType;
use crate::value::Value;
use std::cmp::Ordering;

const DAY_MICROS: i64 = 86_400_000_000;

/// The place of a literal in the order of a column's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Below every code.
    Below,
    /// Exactly a code.
    At(i64),
    /// Above this code, below the next.
    After(i64),
    /// Above every code.
    Above,
}

impl Cut {
    /// The codes for which `code op literal` holds, as a closed interval; `None` is nobody. `Ne` is not an interval.
    pub fn interval(self, op: CompareOp) -> Option<(i64, i64)> {
        let below = |inclusive: bool| match self {
            Cut::Below => None,
            Cut::At(code) if inclusive => Some((i64::MIN, code)),
            Cut::At(code) => code.checked_sub(1).map(|last| (i64::MIN, last)),
            Cut::After(code) => Some((i64::MIN, code)),
            Cut::Above => Some((i64::MIN, i64::MAX)),
        };
        let above = |inclusive: bool| match self {
            Cut::Below => Some((i64::MIN, i64::MAX)),
            Cut::At(code) if inclusive => Some((code, i64::MAX)),
            Cut::At(code) | Cut::After(code) => code.checked_add(1).map(|first| (first, i64::MAX)),
            Cut::Above => None,
        };
        match op {
            CompareOp::Eq | CompareOp::Ne => match self {
                Cut::At(code) => Some((code, code)),
                _ => None,
            },
            CompareOp::Lt => below(false),
            CompareOp::Le => below(true),
            CompareOp::Gt => above(false),
            CompareOp::Ge => above(true),
        }
    }
}

/// The cut of a literal in a column of this type; `None` where they cannot be compared.
pub fn cut(data_type: DataType, literal: &Value) -> Option<Cut> {
    Some(match (data_type, literal) {
        (DataType::SmallInt | DataType::Integer | DataType::BigInt, number) => decimal_cut(0, number)?,
        (DataType::Decimal { scale, .. }, number) => decimal_cut(scale, number)?,
        (DataType::Double, Value::Double(double)) => Cut::At(double_to_code(*double)),
        (DataType::Double, number) => double_cut(number)?,
        (DataType::Date, Value::Date(days)) => Cut::At(i64::from(*days)),
        (DataType::Date, Value::Timestamp(micros) | Value::TimestampTz(micros)) => {
            let days = micros.div_euclid(DAY_MICROS);
            if micros.rem_euclid(DAY_MICROS) == 0 { Cut::At(days) } else { Cut::After(days) }
        }
        (DataType::Timestamp | DataType::TimestampTz, Value::Date(days)) => i64::from(*days)
            .checked_mul(DAY_MICROS)
            .map_or(if *days < 0 { Cut::Below } else { Cut::Above }, Cut::At),
        (
            DataType::Timestamp | DataType::TimestampTz,
            Value::Timestamp(micros) | Value::TimestampTz(micros),
        ) => Cut::At(*micros),
        _ => return None,
    })
}

/// The cut among integers that count units of `10^-scale`.
fn decimal_cut(scale: u8, number: &Value) -> Option<Cut> {
    Some(match number {
        Value::Integer(integer) => whole(i128::from(*integer).checked_mul(power(scale)?), *integer < 0),
        Value::Decimal { unscaled, scale: literal_scale } => {
            if scale >= *literal_scale {
                whole(unscaled.checked_mul(power(scale - literal_scale)?), *unscaled < 0)
            } else {
                match power(literal_scale - scale) {
                    Some(unit) => fraction(unscaled.div_euclid(unit), unscaled.rem_euclid(unit) == 0),
                    // So many digits after the point that the literal is less than one unit from zero.
                    None => fraction(if *unscaled < 0 { -1 } else { 0 }, *unscaled == 0),
                }
            }
        }
        Value::Double(double) if double.is_nan() || *double == f64::INFINITY => Cut::Above,
        Value::Double(double) if *double == f64::NEG_INFINITY => Cut::Below,
        Value::Double(double) => match scaled_floor(*double, scale) {
            Some((floor, exact)) => fraction(floor, exact),
            None if *double < 0.0 => Cut::Below,
            None => Cut::Above,
        },
        _ => return None,
    })
}

fn power(exponent: u8) -> Option<i128> {
    10i128.checked_pow(u32::from(exponent))
}

fn whole(unscaled: Option<i128>, negative: bool) -> Cut {
    unscaled.map_or(if negative { Cut::Below } else { Cut::Above }, |unscaled| fraction(unscaled, true))
}

fn fraction(floor: i128, exact: bool) -> Cut {
    match i64::try_from(floor) {
        Ok(code) if exact => Cut::At(code),
        Ok(code) => Cut::After(code),
        Err(_) if floor < 0 => Cut::Below,
        Err(_) => Cut::Above,
    }
}

/// `floor(double × 10^scale)` and whether nothing was cut off; `None` where it is far beyond `i64`.
fn scaled_floor(double: f64, scale: u8) -> Option<(i128, bool)> {
    if double.abs() >= 2f64.powi(64) {
        return None;
    }
    let bits = double.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, i128::from(bits & ((1 << 52) - 1)));
    let (mantissa, shift) =
        if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
    // 53 bits times 10^18 are 113 bits; the bound above keeps a left shift within 127.
    let scaled = if double < 0.0 { -mantissa } else { mantissa } * power(scale)?;
    if shift >= 0 {
        return Some((scaled.checked_mul(1i128.checked_shl(shift as u32)?)?, true));
    }
    let down = (-shift).min(126) as u32;
    Some((scaled >> down, scaled & ((1i128 << down) - 1) == 0))
}

/// The cut of an integer or decimal among doubles.
fn double_cut(number: &Value) -> Option<Cut> {
    let (unscaled, scale) = match number {
        Value::Integer(integer) => (i128::from(*integer), 0),
        Value::Decimal { unscaled, scale } => (*unscaled, *scale),
        _ => return None,
    };
    // The nearest double by the parser's exact rounding, then one exact comparison says on which side it fell.
    let nearest: f64 = format!("{unscaled}e-{scale}").parse().ok()?;
    let code = double_to_code(nearest);
    let nearest_is = compare_exactly(nearest, unscaled, scale);
    Some(match nearest_is {
        Ordering::Equal => Cut::At(code),
        Ordering::Less => Cut::After(code),
        Ordering::Greater => Cut::After(code_below(code)),
    })
}

/// Compares a finite double with `unscaled / 10^scale`, digit by digit: the decimal expansion of a double is finite.
fn compare_exactly(double: f64, unscaled: i128, scale: u8) -> Ordering {
    if (double < 0.0) != (unscaled < 0) || double == 0.0 || unscaled == 0 {
        return double.partial_cmp(&(unscaled as f64)).unwrap_or(Ordering::Greater);
    }
    let expansion = format!("{:.1074}", double.abs());
    let (whole, fraction) = expansion.split_once('.').unwrap_or((&expansion, ""));
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
    let (literal_whole, literal_fraction) = digits.split_at(digits.len() - usize::from(scale));
    let magnitude = (whole.len().cmp(&literal_whole.len()))
        .then_with(|| whole.cmp(literal_whole))
        .then_with(|| fraction.trim_end_matches('0').cmp(literal_fraction.trim_end_matches('0')));
    if double < 0.0 { magnitude.reverse() } else { magnitude }
}

fn code_below(code: i64) -> i64 {
    // The code before that of zero belongs to no double (it would be minus zero's), which does no harm.
    debug_assert!(!code_to_double(code).is_nan());
    code.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(unscaled: i128, scale: u8) -> Value {
        Value::Decimal { unscaled, scale }
    }

    #[test]
    fn integers_meet_fractions() {
        assert_eq!(cut(DataType::Integer, &decimal(25, 1)), Some(Cut::After(2)));
        assert_eq!(cut(DataType::Integer, &decimal(-25, 1)), Some(Cut::After(-3)));
        assert_eq!(cut(DataType::Integer, &decimal(30, 1)), Some(Cut::At(3)));
        assert_eq!(cut(DataType::BigInt, &Value::Double(-0.5)), Some(Cut::After(-1)));
        assert_eq!(cut(DataType::BigInt, &Value::Double(1e300)), Some(Cut::Above));
        assert_eq!(cut(DataType::BigInt, &Value::Double(5e-324)), Some(Cut::After(0)));
        assert_eq!(
            cut(DataType::BigInt, &Value::Double(9.007_199_254_740_993e15)),
            Some(Cut::At(9_007_199_254_740_992))
        );
        assert_eq!(cut(DataType::BigInt, &Value::Double(2f64.powi(63))), Some(Cut::Above));
        assert_eq!(cut(DataType::BigInt, &Value::Double(-(2f64.powi(63)))), Some(Cut::At(i64::MIN)));
    }

    #[test]
    fn decimals_meet_doubles_at_their_true_value() {
        let tenth = DataType::Decimal { precision: 9, scale: 1 };
        // 0.1 as a double is a little more than a tenth.
        assert_eq!(cut(tenth, &Value::Double(0.1)), Some(Cut::After(1)));
        assert_eq!(cut(tenth, &Value::Double(0.5)), Some(Cut::At(5)));
        assert_eq!(cut(tenth, &Value::Integer(7)), Some(Cut::At(70)));
        assert_eq!(cut(tenth, &decimal(i128::MAX, 0)), Some(Cut::Above));
    }

    #[test]
    fn doubles_meet_decimals_at_their_true_value() {
        let at = |d: f64| Some(Cut::At(double_to_code(d)));
        assert_eq!(cut(DataType::Double, &Value::Integer(3)), at(3.0));
        assert_eq!(cut(DataType::Double, &decimal(5, 1)), at(0.5));
        assert_eq!(cut(DataType::Double, &decimal(1, 1)), Some(Cut::After(double_to_code(0.1) - 1)));
        assert_eq!(
            cut(DataType::Double, &Value::Integer(9_007_199_254_740_993)),
            Some(Cut::After(double_to_code(9_007_199_254_740_992.0)))
        );
        // 10^37 is no double; the nearest one is below or above it, and the cut lies beside that one accordingly.
        let near = double_to_code(1e37);
        let expected = if 1e37 as i128 > 10i128.pow(37) { near - 1 } else { near };
        assert_eq!(cut(DataType::Double, &decimal(10i128.pow(37), 0)), Some(Cut::After(expected)));
        // A literal of 38 digits after the point once overflowed 128 bits on its way to a cut.
        assert!(matches!(cut(DataType::Double, &decimal(1, 38)), Some(Cut::After(_))));
        assert!(matches!(cut(DataType::Double, &decimal(-1, 60)), Some(Cut::After(_))));
        assert_eq!(cut(DataType::Integer, &decimal(-1, 60)), Some(Cut::After(-1)));
    }

    #[test]
    fn times_meet_dates() {
        assert_eq!(cut(DataType::Date, &Value::Timestamp(-1)), Some(Cut::After(-1)));
        assert_eq!(cut(DataType::Timestamp, &Value::Date(1)), Some(Cut::At(DAY_MICROS)));
        assert_eq!(cut(DataType::Date, &Value::Integer(1)), None);
    }
}
