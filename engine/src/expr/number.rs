//! Arithmetic: exact on integers and decimals, IEEE 754 where a double takes part; what does not fit is an error.

use super::Function;
use super::apply::wrong;
use crate::schema::DataType;
use crate::value::Value;
use crate::{Error, Result};

/// The most digits after the point that a product keeps.
const SCALE_MAX: u8 = 38;

fn overflow() -> Error {
    Error::Invalid("a number is out of range: the result of the arithmetic does not fit its type".into())
}

fn by_zero() -> Error {
    Error::Invalid("division by zero".into())
}

/// An integer or a decimal.
#[derive(Clone, Copy)]
struct Exact {
    unscaled: i128,
    scale: u8,
    integer: bool,
}

impl Exact {
    fn of(value: &Value) -> Option<Exact> {
        match value {
            Value::Integer(integer) => {
                Some(Exact { unscaled: i128::from(*integer), scale: 0, integer: true })
            }
            Value::Decimal { unscaled, scale } => {
                Some(Exact { unscaled: *unscaled, scale: *scale, integer: false })
            }
            _ => None,
        }
    }

    fn value(self) -> Result<Value> {
        if self.integer {
            return i64::try_from(self.unscaled).map(Value::Integer).map_err(|_| overflow());
        }
        Ok(Value::Decimal { unscaled: self.unscaled, scale: self.scale })
    }

    fn with(self, unscaled: Option<i128>) -> Result<Value> {
        Exact { unscaled: unscaled.ok_or_else(overflow)?, ..self }.value()
    }

    /// Brought to a scale; digits that go are rounded, ties away from zero.
    fn scaled(self, scale: u8) -> Option<i128> {
        if scale >= self.scale {
            return ten(scale - self.scale)?.checked_mul(self.unscaled);
        }
        let Some(unit) = ten(self.scale - scale) else { return Some(0) };
        let (whole, rest) = (self.unscaled / unit, self.unscaled % unit);
        let up = rest.unsigned_abs() >= unit.unsigned_abs() - rest.unsigned_abs();
        Some(if up { whole + self.unscaled.signum() } else { whole })
    }
}

fn ten(power: u8) -> Option<i128> {
    10_i128.checked_pow(u32::from(power))
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Double(double) => Some(*double),
        Value::Integer(integer) => Some(*integer as f64),
        // Through its digits: the nearest double, where a quotient of two doubles can be its neighbour.
        Value::Decimal { .. } => value.to_string().parse().ok(),
        _ => None,
    }
}

pub(super) fn apply(function: &Function, arguments: &[Value]) -> Result<Value> {
    match arguments {
        [a] => unary(function, a),
        [Value::Date(_), _] | [_, Value::Date(_)] => of_dates(function, arguments),
        [a, b] => match (Exact::of(a), Exact::of(b)) {
            (Some(a), Some(b)) => exact(function, a, b),
            _ => match (double(a), double(b)) {
                (Some(a), Some(b)) => doubles(function, a, b),
                _ => Err(wrong(function, arguments)),
            },
        },
        _ => Err(wrong(function, arguments)),
    }
}

fn of_dates(function: &Function, arguments: &[Value]) -> Result<Value> {
    let date = |days: Option<i64>| {
        let days = days.and_then(|days| i32::try_from(days).ok()).map(Value::Date);
        days.ok_or_else(|| Error::Invalid("a computed date lies beyond what a DATE can hold".into()))
    };
    match (function, arguments) {
        (
            Function::Add,
            [Value::Date(days), Value::Integer(more)] | [Value::Integer(more), Value::Date(days)],
        ) => date(i64::from(*days).checked_add(*more)),
        (Function::Subtract, [Value::Date(days), Value::Integer(less)]) => {
            date(i64::from(*days).checked_sub(*less))
        }
        (Function::Subtract, [Value::Date(a), Value::Date(b)]) => {
            Ok(Value::Integer(i64::from(*a) - i64::from(*b)))
        }
        _ => Err(wrong(function, arguments)),
    }
}

fn exact(function: &Function, a: Exact, b: Exact) -> Result<Value> {
    let integer = a.integer && b.integer;
    let scale = a.scale.max(b.scale);
    let aligned = || Some((a.scaled(scale)?, b.scaled(scale)?));
    let result = Exact { unscaled: 0, scale, integer };
    match function {
        Function::Add => result.with(aligned().and_then(|(a, b)| a.checked_add(b))),
        Function::Subtract => result.with(aligned().and_then(|(a, b)| a.checked_sub(b))),
        Function::Multiply => {
            let scale = a.scale.saturating_add(b.scale);
            let product = Exact { unscaled: 0, scale, integer };
            if scale > SCALE_MAX {
                return Err(overflow());
            }
            product.with(a.unscaled.checked_mul(b.unscaled))
        }
        Function::Divide | Function::Modulo if b.unscaled == 0 => Err(by_zero()),
        Function::Divide if integer => result.with(a.unscaled.checked_div(b.unscaled)),
        Function::Modulo => result.with(aligned().and_then(|(a, b)| a.checked_rem(b))),
        Function::Round => {
            let digits = if b.integer { b.unscaled } else { return Err(overflow()) };
            if digits >= i128::from(a.scale) {
                return a.value();
            }
            if digits >= 0 {
                let scale = digits as u8;
                return Exact { scale, ..a }.with(a.scaled(scale));
            }
            // Before the point: rounded to tens, hundreds, …
            let zeros = u8::try_from(-digits).unwrap_or(u8::MAX);
            let whole = Exact { scale: a.scale.saturating_add(zeros), ..a }.scaled(0);
            let unit = ten(zeros).unwrap_or(0);
            Exact { scale: 0, ..a }.with(whole.and_then(|whole| whole.checked_mul(unit)))
        }
        _ => {
            let value = |exact: Exact| exact.value().ok().as_ref().and_then(double).unwrap_or(f64::NAN);
            doubles(function, value(a), value(b))
        }
    }
}

fn doubles(function: &Function, a: f64, b: f64) -> Result<Value> {
    let result = match function {
        Function::Add => a + b,
        Function::Subtract => a - b,
        Function::Multiply => a * b,
        Function::Divide if b == 0.0 => return Err(by_zero()),
        Function::Divide => a / b,
        Function::Power => a.powf(b),
        Function::Round => {
            let unit = 10_f64.powf(b);
            let scaled = (a * unit).round() / unit;
            if scaled.is_finite() { scaled } else { a }
        }
        other => return Err(wrong(other, &[Value::Double(a), Value::Double(b)])),
    };
    finite(result, a.is_finite() && b.is_finite())
}

fn finite(result: f64, arguments_finite: bool) -> Result<Value> {
    if arguments_finite && !result.is_finite() { Err(overflow()) } else { Ok(Value::Double(result)) }
}

fn unary(function: &Function, a: &Value) -> Result<Value> {
    if let Some(exact) = Exact::of(a) {
        match function {
            Function::Negate => return exact.with(exact.unscaled.checked_neg()),
            Function::Abs => return exact.with(exact.unscaled.checked_abs()),
            Function::Round => return Exact { scale: 0, ..exact }.with(exact.scaled(0)),
            Function::Floor | Function::Ceil => {
                let unit = ten(exact.scale).ok_or_else(overflow)?;
                let floor = exact.unscaled.div_euclid(unit);
                let up = *function == Function::Ceil && floor * unit != exact.unscaled;
                return Exact { scale: 0, ..exact }.with(Some(floor + i128::from(up)));
            }
            _ => {}
        }
    }
    let Some(number) = double(a) else { return Err(wrong(function, std::slice::from_ref(a))) };
    let outside = |what: &str| Err(Error::Invalid(format!("{what} of {a} is not defined")));
    let result = match function {
        Function::Negate => -number,
        Function::Abs => number.abs(),
        Function::Floor => number.floor(),
        Function::Ceil => number.ceil(),
        Function::Round => number.round(),
        Function::Sqrt if number < 0.0 => return outside("the square root"),
        Function::Sqrt => number.sqrt(),
        Function::Ln | Function::Log10 if number <= 0.0 => return outside("the logarithm"),
        Function::Ln => number.ln(),
        Function::Log10 => number.log10(),
        Function::Sin => number.sin(),
        Function::Cos => number.cos(),
        Function::Radians => number.to_radians(),
        Function::Asin | Function::Acos if number.abs() > 1.0 => return outside("the angle"),
        Function::Asin => number.asin(),
        Function::Acos => number.acos(),
        other => return Err(wrong(other, std::slice::from_ref(a))),
    };
    finite(result, number.is_finite())
}

/// A number as another type of number; digits that do not fit are rounded, ties away from zero.
pub(super) fn cast(value: &Value, to: DataType) -> Result<Value> {
    if to == DataType::Double {
        return double(value).map(Value::Double).ok_or_else(overflow);
    }
    let (scale, limit) = match to {
        DataType::SmallInt => (0, i128::from(i16::MAX)),
        DataType::Integer => (0, i128::from(i32::MAX)),
        DataType::Decimal { precision, scale } => {
            (scale, ten(precision).map_or(i128::MAX, |limit| limit - 1))
        }
        _ => (0, i128::from(i64::MAX)),
    };
    let unscaled = match (value, Exact::of(value)) {
        (_, Some(exact)) => exact.scaled(scale),
        (Value::Double(double), _) => {
            let scaled = double * 10_f64.powi(i32::from(scale));
            (scaled.is_finite() && scaled.abs() < 1.7e38).then_some(scaled.round() as i128)
        }
        _ => None,
    };
    let integer = to.is_integer();
    // Integers have one more below zero than above.
    let fits = |unscaled: &i128| (-limit - i128::from(integer)..=limit).contains(unscaled);
    let Some(unscaled) = unscaled.filter(fits) else {
        return Err(Error::Invalid(format!("{value} is out of range for {to}")));
    };
    Exact { unscaled, scale, integer }.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(unscaled: i128, scale: u8) -> Value {
        Value::Decimal { unscaled, scale }
    }

    #[track_caller]
    fn gives(function: Function, arguments: &[Value], expected: Value) {
        assert_eq!(apply(&function, arguments).unwrap(), expected);
    }

    #[test]
    fn numbers_are_exact_until_a_double_takes_part() {
        let integer = Value::Integer;
        gives(Function::Add, &[integer(2), decimal(150, 2)], decimal(350, 2));
        gives(Function::Subtract, &[decimal(1, 1), decimal(1, 3)], decimal(99, 3));
        gives(Function::Multiply, &[decimal(15, 1), decimal(15, 1)], decimal(225, 2));
        gives(Function::Divide, &[integer(-7), integer(2)], integer(-3));
        gives(Function::Modulo, &[integer(-7), integer(2)], integer(-1));
        gives(Function::Divide, &[decimal(7, 0), integer(2)], Value::Double(3.5));
        gives(Function::Add, &[Value::Double(0.5), decimal(25, 1)], Value::Double(3.0));
        gives(Function::Subtract, &[Value::Date(10), Value::Date(3)], integer(7));
        gives(Function::Add, &[Value::Date(10), integer(-3)], Value::Date(7));
        gives(Function::Round, &[decimal(-125, 2), integer(1)], decimal(-13, 1));
        gives(Function::Round, &[integer(1250), integer(-2)], integer(1300));
        gives(Function::Floor, &[decimal(-15, 1)], decimal(-2, 0));
        gives(Function::Ceil, &[decimal(-15, 1)], decimal(-1, 0));
        gives(Function::Power, &[integer(2), integer(10)], Value::Double(1024.0));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let max = Value::Integer(i64::MAX);
        for (function, arguments) in [
            (Function::Add, vec![max.clone(), Value::Integer(1)]),
            (Function::Multiply, vec![max.clone(), max.clone()]),
            (Function::Negate, vec![Value::Integer(i64::MIN)]),
            (Function::Divide, vec![Value::Integer(i64::MIN), Value::Integer(-1)]),
            (Function::Divide, vec![Value::Integer(1), Value::Integer(0)]),
            (Function::Modulo, vec![Value::Integer(1), decimal(0, 2)]),
            (Function::Add, vec![decimal(i128::MAX, 0), decimal(1, 0)]),
            (Function::Add, vec![decimal(i128::MAX, 0), decimal(1, 1)]),
            (Function::Multiply, vec![Value::Double(1e300), Value::Double(1e300)]),
            (Function::Add, vec![Value::Date(i32::MAX), Value::Integer(1)]),
            (Function::Ln, vec![Value::Integer(0)]),
            (Function::Add, vec![Value::Text("1".into()), Value::Integer(0)]),
        ] {
            assert!(apply(&function, &arguments).is_err(), "{function:?} {arguments:?}");
        }
        assert!(cast(&Value::Integer(40_000), DataType::SmallInt).is_err());
        assert!(cast(&Value::Double(f64::NAN), DataType::BigInt).is_err());
        assert!(cast(&decimal(99_999, 1), DataType::Decimal { precision: 5, scale: 2 }).is_err());
        assert_eq!(cast(&Value::Integer(-32_768), DataType::SmallInt).unwrap(), Value::Integer(-32_768));
        assert_eq!(cast(&decimal(25, 1), DataType::BigInt).unwrap(), Value::Integer(3));
        assert_eq!(cast(&Value::Double(-2.5), DataType::Integer).unwrap(), Value::Integer(-3));
    }
}
