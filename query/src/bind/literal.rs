//! Literals: a constant read as the type of what it stands beside.

use super::{TAGS_ADVICE, Zone, type_error};
use crate::constant::{self, as_double, describe, is_number};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::order::compare_values;
use crate::statement::{Constant, Term, TermKind};
use muster_engine::calendar::MICROS_PER_DAY;
use muster_engine::expr::time;
use muster_engine::predicate::{CompareOp, Literal, Truth};
use muster_engine::schema::{Column, DataType};
use muster_engine::value::Value;
use std::sync::Arc;

/// A constant as the literal that its column is compared with.
pub(super) fn literal_for(
    column: &Column,
    constant: Constant,
    zone: Option<&Zone>,
    span: Span,
) -> Result<Literal> {
    let data_type = column.data_type;
    let value = match constant {
        Constant::Null => return Ok(Literal::Value(Value::Null)),
        _ if data_type == DataType::TextArray => {
            let message = format!("column \"{}\" is TEXT[] and is not compared like that", column.name);
            return Err(type_error(span, message).advise(TAGS_ADVICE));
        }
        Constant::Unknown(text) => return literal_from_text(column, text, zone, span),
        Constant::Now { offsets, date, .. } if data_type.is_time() => {
            return Ok(Literal::Now { offsets, date, zone: zone.map(|zone| Arc::clone(&zone.name)) });
        }
        other @ (Constant::Now { .. } | Constant::Interval(_)) => {
            return Err(incomparable(column, &other, span));
        }
        Constant::Value(value) => value,
    };
    let beyond =
        || Error::query(QueryErrorKind::Value, span, "the time lies beyond what its zone is known for");
    Ok(Literal::Value(match (data_type, value) {
        (DataType::Boolean, value @ Value::Boolean(_)) | (DataType::Text, value @ Value::Text(_)) => value,
        // PostgreSQL compares a DOUBLE PRECISION column with the double nearest to the literal.
        (DataType::Double, value) if is_number(&value) => Value::Double(as_double(&value)),
        (data_type, value) if data_type.is_number() && is_number(&value) => value,
        (DataType::Date, value @ (Value::Date(_) | Value::Timestamp(_))) => value,
        (DataType::Date | DataType::Timestamp, Value::TimestampTz(micros)) => {
            Value::Timestamp(local(zone, micros).ok_or_else(beyond)?)
        }
        // A day beyond what a TIMESTAMP can hold is still before or after all of them.
        (DataType::Timestamp, day @ Value::Date(_)) => day,
        (DataType::Timestamp, value @ Value::Timestamp(_))
        | (DataType::TimestampTz, value @ Value::TimestampTz(_)) => value,
        (DataType::TimestampTz, day @ Value::Date(_)) if zone.is_none() => day,
        (DataType::TimestampTz, Value::Date(days)) => {
            let midnight = i64::from(days).checked_mul(MICROS_PER_DAY).ok_or_else(beyond)?;
            Value::TimestampTz(instant(zone, midnight).ok_or_else(beyond)?)
        }
        (DataType::TimestampTz, Value::Timestamp(micros)) => {
            Value::TimestampTz(instant(zone, micros).ok_or_else(beyond)?)
        }
        (_, value) => return Err(incomparable(column, &Constant::Value(value), span)),
    }))
}

/// What clocks of the session's zone show at an instant; UTC where it has none.
pub(super) fn local(zone: Option<&Zone>, micros: i64) -> Option<i64> {
    zone.map_or(Some(micros), |zone| time::to_local(&zone.zone, micros))
}

/// The instant at which they show a local time.
pub(super) fn instant(zone: Option<&Zone>, micros: i64) -> Option<i64> {
    zone.map_or(Some(micros), |zone| time::to_instant(&zone.zone, micros))
}

/// A text as a value of a type; a TIMESTAMPTZ without a zone is read in the session's.
pub(super) fn typed(text: &str, data_type: DataType, zone: Option<&Zone>, span: Span) -> Result<Constant> {
    if let (DataType::TimestampTz, Some(_)) = (data_type, zone)
        && let Ok(Value::Timestamp(micros)) = Value::parse(text, DataType::Timestamp)
    {
        let beyond =
            || Error::query(QueryErrorKind::Value, span, "the time lies beyond what its zone is known for");
        return Ok(Constant::Value(Value::TimestampTz(instant(zone, micros).ok_or_else(beyond)?)));
    }
    constant::typed(text, data_type, span)
}

fn literal_from_text(column: &Column, text: String, zone: Option<&Zone>, span: Span) -> Result<Literal> {
    if column.data_type == DataType::Text {
        return Ok(Literal::Value(Value::Text(text)));
    }
    let constant = typed(&text, column.data_type, zone, span);
    match constant {
        Ok(Constant::Value(value)) => Ok(Literal::Value(value)),
        Ok(_) => Ok(Literal::Value(Value::Null)),
        Err(Error::Query { message, .. }) => {
            let message = format!("{message}; column \"{}\" is {}", column.name, column.data_type);
            Err(Error::query(QueryErrorKind::Value, span, message))
        }
        Err(other) => Err(other),
    }
}

fn incomparable(column: &Column, constant: &Constant, span: Span) -> Error {
    let (name, data_type) = (&column.name, column.data_type);
    let error = type_error(
        span,
        format!("column \"{name}\" is {data_type} and cannot be compared with {}", describe(constant)),
    );
    match data_type {
        DataType::Text => error.advise("put the text in single quotes"),
        DataType::Boolean => error.advise(format!("write {name}, NOT {name}, or {name} = TRUE")),
        DataType::Date => error.advise("write DATE '2026-01-31'"),
        DataType::Timestamp | DataType::TimestampTz => error.advise("write TIMESTAMP '2026-01-31 12:00:00'"),
        _ => error.advise("write a number"),
    }
}

/// `constant op constant`: the same for every member.
pub(super) fn compare_constants(a: Constant, op: CompareOp, b: Constant, span: Span) -> Result<Truth> {
    let (a, b) = match (a, b) {
        (Constant::Null, _) | (_, Constant::Null) => return Ok(Truth::Unknown),
        (Constant::Unknown(a), Constant::Unknown(b)) => (Value::Text(a), Value::Text(b)),
        (Constant::Unknown(text), Constant::Value(value)) => (text_as(&text, &value, span)?, value),
        (Constant::Value(value), Constant::Unknown(text)) => {
            let other = text_as(&text, &value, span)?;
            (value, other)
        }
        (Constant::Value(a), Constant::Value(b)) => (a, b),
        _ => {
            return Err(Error::unsupported(span, "this comparison of constants is not supported")
                .advise("compare a column"));
        }
    };
    let Some(order) = compare_values(&a, &b) else {
        let message = format!(
            "{} cannot be compared with {}",
            describe(&Constant::Value(a)),
            describe(&Constant::Value(b))
        );
        return Err(type_error(span, message));
    };
    let holds = match op {
        CompareOp::Eq => order.is_eq(),
        CompareOp::Ne => order.is_ne(),
        CompareOp::Lt => order.is_lt(),
        CompareOp::Le => order.is_le(),
        CompareOp::Gt => order.is_gt(),
        CompareOp::Ge => order.is_ge(),
    };
    Ok(if holds { Truth::True } else { Truth::False })
}

/// A string literal as the type of the constant beside it.
fn text_as(text: &str, beside: &Value, span: Span) -> Result<Value> {
    let data_type = match beside {
        Value::Boolean(_) => DataType::Boolean,
        Value::Date(_) => DataType::Date,
        Value::Timestamp(_) => DataType::Timestamp,
        Value::TimestampTz(_) => DataType::TimestampTz,
        Value::Tags(_) => DataType::TextArray,
        Value::Text(_) | Value::Null => return Ok(Value::Text(text.to_owned())),
        Value::Integer(_) => DataType::BigInt,
        Value::Decimal { .. } => DataType::Decimal { precision: 18, scale: 0 },
        Value::Double(_) => DataType::Double,
    };
    match constant::typed(text, data_type, span)? {
        Constant::Value(value) => Ok(value),
        _ => Ok(Value::Null),
    }
}
pub(super) fn boolean(constant: Constant, span: Span) -> Result<Option<bool>> {
    match constant {
        Constant::Null => Ok(None),
        Constant::Value(Value::Boolean(boolean)) => Ok(Some(boolean)),
        Constant::Unknown(text) => match Value::parse(&text, DataType::Boolean) {
            Ok(Value::Boolean(boolean)) => Ok(Some(boolean)),
            _ => Err(type_error(span, "expected a condition, found a text")
                .advise("put a column's name in double quotes, or in none")),
        },
        other => Err(type_error(span, format!("expected a condition, found {}", describe(&other)))),
    }
}

/// One tag.
pub(super) fn tag_of(constant: Constant, span: Span) -> Result<String> {
    match constant {
        Constant::Unknown(text) | Constant::Value(Value::Text(text)) => Ok(text),
        Constant::Null => {
            Err(type_error(span, "a tag is never NULL").advise("tags IS NULL finds members without a list"))
        }
        other => Err(type_error(span, format!("a tag is a text, not {}", describe(&other)))
            .advise("put it in single quotes")),
    }
}

/// The tags of `'{a,b}'`.
pub(super) fn tags_of_constant(constant: Constant, span: Span) -> Result<Vec<String>> {
    match constant {
        Constant::Unknown(text) => match Value::parse(&text, DataType::TextArray) {
            Ok(Value::Tags(tags)) => Ok(tags),
            Ok(_) => Err(type_error(span, "expected an array")),
            Err(error) => {
                Err(Error::query(QueryErrorKind::Value, span, error.reason).advise("write ARRAY['a', 'b']"))
            }
        },
        Constant::Value(Value::Tags(tags)) => Ok(tags),
        other => Err(type_error(span, format!("expected an array, found {}", describe(&other)))
            .advise("write ARRAY['a', 'b']")),
    }
}

/// The tags of `ARRAY['a', 'b']`, or of a list that came as a parameter.
pub(super) fn tags_of_array(term: &Term) -> Result<Vec<String>> {
    match &term.kind {
        TermKind::List(values) => {
            values.iter().map(|value| tag_of(Constant::Value(value.clone()), term.span)).collect()
        }
        TermKind::Array(items) => items
            .iter()
            .map(|item| match &item.kind {
                TermKind::Constant(constant) => tag_of(constant.clone(), item.span),
                _ => Err(type_error(item.span, "expected a text in single quotes")),
            })
            .collect(),
        _ => Err(type_error(term.span, "expected an array")),
    }
}
