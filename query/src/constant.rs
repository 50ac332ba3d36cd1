//! Constants: reading literals, and folding arithmetic over numbers, dates, times and intervals as PostgreSQL does.
//!
//! A string literal stays [`Constant::Unknown`] until its other side gives it a type. `now()` stays symbolic: only
//! intervals are added to it, in order. DATE ± INTERVAL is a TIMESTAMP, DATE ± integer a DATE.

use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::statement::Constant;
use muster_engine::calendar::{MICROS_PER_DAY, add_interval, days_of};
use muster_engine::expr::{Compiled, Expr, Function};
use muster_engine::predicate::Interval;
use muster_engine::schema::DataType;
use muster_engine::value::{Value, hexadecimal};

/// The operators that are folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Plus,
    Minus,
    Multiply,
    Divide,
    Modulo,
    Concat,
}

impl Operator {
    /// What computes it.
    pub(crate) fn function(self) -> Function {
        match self {
            Operator::Plus => Function::Add,
            Operator::Minus => Function::Subtract,
            Operator::Multiply => Function::Multiply,
            Operator::Divide => Function::Divide,
            Operator::Modulo => Function::Modulo,
            Operator::Concat => Function::Concat,
        }
    }

    /// As it is written.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Operator::Plus => "+",
            Operator::Minus => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Modulo => "%",
            Operator::Concat => "||",
        }
    }
}

/// The most digits a number literal keeps exactly; longer ones are doubles.
const EXACT_DIGITS_MAX: usize = 38;

/// A number literal: an integer where it fits 64 bits, else an exact decimal, else a double.
pub(crate) fn number(digits: &str, negative: bool, span: Span) -> Result<Constant> {
    if let Ok(integer) = digits.parse::<i64>() {
        return Ok(Constant::Value(Value::Integer(if negative { -integer } else { integer })));
    }
    let signed = if negative { format!("-{digits}") } else { digits.to_owned() };
    numeric(&signed, span)
}

/// A text as PostgreSQL's NUMERIC: what a number literal with a point is, and a string beside a DECIMAL column.
pub(crate) fn numeric(text: &str, span: Span) -> Result<Constant> {
    let refuse = || value_error(span, format!("{text:?} is not a number"));
    let trimmed = text.trim();
    if let Ok(integer) = trimmed.parse::<i64>() {
        return Ok(Constant::Value(Value::Integer(integer)));
    }
    let (mantissa, exponent) = match trimmed.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| refuse())?),
        None => (trimmed, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let unsigned = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let well_formed = (unsigned.len() + fraction.len() > 0)
        && unsigned.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !well_formed {
        return Err(refuse());
    }
    let scale = fraction.len() as i64 - i64::from(exponent);
    let exact = format!("{whole}{fraction}").parse::<i128>().ok().and_then(|unscaled| match scale {
        0..=EXACT_SCALE_MAX => Some(Value::Decimal { unscaled, scale: scale as u8 }),
        _ if (-EXACT_SCALE_MAX..0).contains(&scale) => {
            let unscaled = unscaled.checked_mul(10_i128.checked_pow(scale.unsigned_abs() as u32)?)?;
            Some(i64::try_from(unscaled).map_or(Value::Decimal { unscaled, scale: 0 }, Value::Integer))
        }
        _ => None,
    });
    match exact {
        Some(value) => Ok(Constant::Value(value)),
        None => trimmed.parse().map(|double| Constant::Value(Value::Double(double))).map_err(|_| refuse()),
    }
}

const EXACT_SCALE_MAX: i64 = EXACT_DIGITS_MAX as i64;

/// `TYPE 'text'`, `'text'::TYPE`, `CAST('text' AS TYPE)`.
pub(crate) fn typed(text: &str, data_type: DataType, span: Span) -> Result<Constant> {
    if let DataType::Decimal { .. } = data_type {
        return numeric(text, span);
    }
    match Value::parse(text, data_type) {
        Ok(value) => Ok(Constant::Value(value)),
        Err(error) => Err(value_error(span, error.reason)),
    }
}

/// `-constant`
pub(crate) fn negate(constant: Constant, span: Span) -> Result<Constant> {
    let value = match constant {
        Constant::Null => return Ok(Constant::Null),
        Constant::Interval(interval) => return negate_interval(interval, span).map(Constant::Interval),
        Constant::Value(Value::Integer(integer)) => integer.checked_neg().map(Value::Integer),
        Constant::Value(Value::Decimal { unscaled, scale }) => {
            unscaled.checked_neg().map(|unscaled| match i64::try_from(unscaled) {
                // 9223372036854775808 is a decimal, its negation the least BIGINT.
                Ok(integer) if scale == 0 => Value::Integer(integer),
                _ => Value::Decimal { unscaled, scale },
            })
        }
        Constant::Value(Value::Double(double)) => Some(Value::Double(-double)),
        other => return Err(type_error(span, format!("{} has no negative", describe(&other)))),
    };
    value.map(Constant::Value).ok_or_else(|| out_of_range(span))
}

/// `left operator right`
pub(crate) fn fold(left: Constant, operator: Operator, right: Constant, span: Span) -> Result<Constant> {
    use Operator::{Minus, Multiply, Plus};
    if left == Constant::Null || right == Constant::Null {
        return Ok(Constant::Null);
    }
    if operator == Operator::Concat {
        let text = |constant: Constant| match constant {
            Constant::Unknown(text) => Ok(text),
            Constant::Value(value) => Ok(value.to_string()),
            other => Err(type_error(span, format!("{} cannot be joined to a text", describe(&other)))),
        };
        return Ok(Constant::Value(Value::Text(text(left)? + &text(right)?)));
    }
    match (left, operator, right) {
        (Constant::Interval(a), Plus | Minus, Constant::Interval(b)) => {
            let b = if operator == Minus { negate_interval(b, span)? } else { b };
            add_intervals(a, b).map(Constant::Interval).ok_or_else(|| out_of_range(span))
        }
        (Constant::Interval(interval), Multiply, Constant::Value(Value::Integer(times)))
        | (Constant::Value(Value::Integer(times)), Multiply, Constant::Interval(interval)) => {
            scale_interval(interval, times).map(Constant::Interval).ok_or_else(|| out_of_range(span))
        }
        (Constant::Interval(interval), Plus, time) => shift(time, interval, span),
        (time, Plus, Constant::Interval(interval)) => shift(time, interval, span),
        (time, Minus, Constant::Interval(interval)) => shift(time, negate_interval(interval, span)?, span),
        (
            date @ (Constant::Value(Value::Date(_)) | Constant::Now { .. }),
            Plus,
            Constant::Value(Value::Integer(days)),
        )
        | (
            Constant::Value(Value::Integer(days)),
            Plus,
            date @ (Constant::Value(Value::Date(_)) | Constant::Now { .. }),
        ) => shift_days(date, days, span),
        (
            date @ (Constant::Value(Value::Date(_)) | Constant::Now { .. }),
            Minus,
            Constant::Value(Value::Integer(days)),
        ) => shift_days(date, days.checked_neg().ok_or_else(|| out_of_range(span))?, span),
        (Constant::Value(Value::Date(a)), Minus, Constant::Value(Value::Date(b))) => {
            Ok(Constant::Value(Value::Integer(i64::from(a) - i64::from(b))))
        }
        (Constant::Value(a), _, Constant::Value(b)) if is_number(&a) && is_number(&b) => {
            calculate(a, operator, b, span)
        }
        (left, _, right) => {
            let message = format!("no such operation on {} and {}", describe(&left), describe(&right));
            let error = type_error(span, message);
            let unknown = matches!(left, Constant::Unknown(_)) || matches!(right, Constant::Unknown(_));
            Err(if unknown {
                error.advise("give the text a type: DATE '…', TIMESTAMP '…', INTERVAL '…'")
            } else {
                error
            })
        }
    }
}

fn shift(time: Constant, interval: Interval, span: Span) -> Result<Constant> {
    let moved = |micros: i64| add_interval(micros, &interval).ok_or_else(|| out_of_range(span));
    Ok(match time {
        // A DATE becomes a TIMESTAMP, as in PostgreSQL.
        Constant::Value(Value::Date(days)) => {
            let midnight = i64::from(days).checked_mul(MICROS_PER_DAY).ok_or_else(|| out_of_range(span))?;
            Constant::Value(Value::Timestamp(moved(midnight)?))
        }
        Constant::Value(Value::Timestamp(micros)) => Constant::Value(Value::Timestamp(moved(micros)?)),
        Constant::Value(Value::TimestampTz(micros)) => Constant::Value(Value::TimestampTz(moved(micros)?)),
        Constant::Now { mut offsets, date, .. } => {
            offsets.push(interval);
            Constant::Now { offsets, date, is_date: false }
        }
        other => {
            let error = type_error(span, format!("an INTERVAL cannot be added to {}", describe(&other)));
            return Err(error.advise("write DATE '…' or TIMESTAMP '…' before the text"));
        }
    })
}

fn shift_days(date: Constant, days: i64, span: Span) -> Result<Constant> {
    let days = i32::try_from(days).map_err(|_| out_of_range(span))?;
    match date {
        Constant::Value(Value::Date(start)) => start
            .checked_add(days)
            .map(|day| Constant::Value(Value::Date(day)))
            .ok_or_else(|| out_of_range(span)),
        Constant::Now { mut offsets, date, is_date: true } => {
            offsets.push(Interval { days, ..Interval::default() });
            Ok(Constant::Now { offsets, date, is_date: true })
        }
        other => {
            let message = format!("an integer cannot be added to {}", describe(&other));
            Err(type_error(span, message).advise("write INTERVAL '30 days'"))
        }
    }
}

/// `constant::DATE`, and the other casts between constants that have a type. `None` where it is left to be computed: what
/// rounds, what the session's time zone decides, and the clock's times.
pub(crate) fn cast(constant: Constant, data_type: DataType, span: Span) -> Result<Option<Constant>> {
    let value = match constant {
        Constant::Null => return Ok(Some(Constant::Null)),
        Constant::Unknown(text) => match hexadecimal(&text).filter(|_| data_type.is_integer()) {
            Some(integer) => Value::Integer(integer),
            None => return typed_cast(&text, data_type, span),
        },
        Constant::Now { offsets, .. } => {
            // Months and days leave the time of day alone, so cutting first or last is the same.
            let cut = data_type == DataType::Date && offsets.iter().all(|offset| offset.micros == 0);
            return Ok(cut.then_some(Constant::Now { offsets, date: true, is_date: true }));
        }
        Constant::Interval(_) => return Err(type_error(span, format!("an INTERVAL is no {data_type}"))),
        Constant::Value(value) => value,
    };
    Ok(match (value, data_type) {
        (Value::Timestamp(micros), DataType::Date) => {
            i32::try_from(days_of(micros)).ok().map(|days| Constant::Value(Value::Date(days)))
        }
        (Value::Date(days), DataType::Timestamp) => i64::from(days)
            .checked_mul(MICROS_PER_DAY)
            .map(|micros| Constant::Value(Value::Timestamp(micros))),
        (number, DataType::Double) if is_number(&number) => {
            Some(Constant::Value(Value::Double(as_double(&number))))
        }
        (value @ Value::Boolean(_), DataType::Boolean)
        | (value @ Value::Date(_), DataType::Date)
        | (value @ Value::Timestamp(_), DataType::Timestamp)
        | (value @ Value::TimestampTz(_), DataType::TimestampTz)
        | (value @ Value::Text(_), DataType::Text)
        | (value @ Value::Tags(_), DataType::TextArray) => Some(Constant::Value(value)),
        (Value::Integer(integer), _) if data_type.is_integer() => {
            Some(typed(&integer.to_string(), data_type, span)?)
        }
        (other, DataType::Text) if !matches!(other, Value::Tags(_)) => {
            Some(Constant::Value(Value::Text(other.to_string())))
        }
        _ => None,
    })
}

/// A text as a type: [`typed`], except for what is left to be computed.
pub(crate) fn typed_cast(text: &str, data_type: DataType, span: Span) -> Result<Option<Constant>> {
    match data_type {
        // Rounded to its scale.
        DataType::Decimal { .. } => Ok(None),
        // Without a zone of its own it is read in the session's.
        DataType::TimestampTz if Value::parse(text, DataType::Timestamp).is_ok() => Ok(None),
        _ => typed(text, data_type, span).map(Some),
    }
}

/// True where `a operator b` is left to be computed: what the clock says less a date is left to the clock, and days and
/// months later than an instant to the session's time zone; a set of tags is no text.
pub(crate) fn is_left_to_be_computed(a: &Constant, operator: Operator, b: &Constant) -> bool {
    let is_date = |constant: &Constant| {
        matches!(constant, Constant::Now { is_date: true, .. } | Constant::Value(Value::Date(_)))
    };
    let is_clock = |constant: &Constant| matches!(constant, Constant::Now { .. });
    let is_instant = |constant: &Constant| matches!(constant, Constant::Value(Value::TimestampTz(_)));
    let is_tags = |constant: &Constant| matches!(constant, Constant::Value(Value::Tags(_)));
    let moves_days = |constant: &Constant| matches!(constant, Constant::Interval(interval) if interval.months != 0 || interval.days != 0);
    (operator == Operator::Minus && (is_clock(a) || is_clock(b)) && is_date(a) && is_date(b))
        || (is_instant(a) && moves_days(b))
        || (moves_days(a) && is_instant(b))
        || (operator == Operator::Concat && (is_tags(a) || is_tags(b)))
}

fn negate_interval(interval: Interval, span: Span) -> Result<Interval> {
    interval.checked_neg().ok_or_else(|| out_of_range(span))
}

fn scale_interval(interval: Interval, times: i64) -> Option<Interval> {
    let times_small = i32::try_from(times).ok()?;
    Some(Interval {
        months: interval.months.checked_mul(times_small)?,
        days: interval.days.checked_mul(times_small)?,
        micros: interval.micros.checked_mul(times)?,
    })
}

fn add_intervals(a: Interval, b: Interval) -> Option<Interval> {
    Some(Interval {
        months: a.months.checked_add(b.months)?,
        days: a.days.checked_add(b.days)?,
        micros: a.micros.checked_add(b.micros)?,
    })
}

/// Numbers, computed as of columns.
fn calculate(a: Value, operator: Operator, b: Value, span: Span) -> Result<Constant> {
    let computed =
        Compiled::new(&Expr::call(operator.function(), [Expr::value(a), Expr::value(b.clone())]), 0);
    match computed.as_ref().map(Compiled::constant) {
        Ok(Some(value)) => Ok(Constant::Value(value.clone())),
        _ if as_double(&b) == 0.0 && matches!(operator, Operator::Divide | Operator::Modulo) => {
            Err(value_error(span, "division by zero"))
        }
        _ => Err(out_of_range(span)),
    }
}

/// A number as the nearest double, by way of its digits, so that it is rounded once.
pub(crate) fn as_double(value: &Value) -> f64 {
    match value {
        Value::Double(double) => *double,
        number => number.to_string().parse().unwrap_or(f64::NAN),
    }
}

pub(crate) fn is_number(value: &Value) -> bool {
    matches!(value, Value::Integer(_) | Value::Decimal { .. } | Value::Double(_))
}

/// The constant's type with an article, for messages.
pub(crate) fn describe(constant: &Constant) -> &'static str {
    match constant {
        Constant::Null => "NULL",
        Constant::Unknown(_) | Constant::Value(Value::Text(_)) => "a text",
        Constant::Interval(_) => "an INTERVAL",
        Constant::Now { is_date: true, .. } | Constant::Value(Value::Date(_)) => "a DATE",
        Constant::Now { .. } | Constant::Value(Value::TimestampTz(_)) => "a TIMESTAMPTZ",
        Constant::Value(Value::Null) => "NULL",
        Constant::Value(Value::Boolean(_)) => "a boolean",
        Constant::Value(Value::Integer(_) | Value::Decimal { .. } | Value::Double(_)) => "a number",
        Constant::Value(Value::Timestamp(_)) => "a TIMESTAMP",
        Constant::Value(Value::Tags(_)) => "an array",
    }
}

fn out_of_range(span: Span) -> Error {
    value_error(span, "the result is out of range")
}

fn value_error(span: Span, message: impl Into<String>) -> Error {
    Error::query(QueryErrorKind::Value, span, message)
}

fn type_error(span: Span, message: impl Into<String>) -> Error {
    Error::query(QueryErrorKind::Type, span, message)
}
