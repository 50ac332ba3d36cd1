//! What each function makes of its arguments: the meaning of expressions, on values.
//!
//! The executor computes whole batches where it can and comes here for the rest, so this is also what it is tested
//! against. A NULL argument makes NULL, except for the functions that say otherwise and are looked at first.

use super::{Function, TimeField, bucket, number, text, time};
use crate::calendar::{MICROS_PER_DAY, add_interval, days_of};
use crate::eval::{compare, holds, kind_of};
use crate::predicate::Interval;
use crate::schema::DataType;
use crate::value::{Value, hexadecimal};
use crate::{Error, Result};
use std::cmp::Ordering;

/// The value of a function. [`Function::Like`] and [`Function::AtZone`] are prepared by [`super::Compiled`] and do not
/// come here.
pub(crate) fn apply(function: &Function, arguments: &[Value]) -> Result<Value> {
    if !keeps_null(function)
        && let Some(value) = of_nulls(function, arguments)?
    {
        return Ok(value);
    }
    if arguments.contains(&Value::Null) {
        return Ok(Value::Null);
    }
    match (function, arguments) {
        (Function::Compare(op), [a, b]) => {
            Ok(compare(a, b)?.map_or(Value::Null, |ordering| Value::Boolean(holds(*op, ordering))))
        }
        (Function::Not, [Value::Boolean(boolean)]) => Ok(Value::Boolean(!boolean)),
        (Function::HasAny(wanted), [Value::Tags(tags)]) => {
            Ok(Value::Boolean(wanted.iter().any(|tag| tags.contains(tag))))
        }
        (Function::HasAll(wanted), [Value::Tags(tags)]) => {
            Ok(Value::Boolean(wanted.iter().all(|tag| tags.contains(tag))))
        }
        (Function::Cardinality, [Value::Tags(tags)]) => Ok(Value::Integer(tags.len() as i64)),
        (Function::AddTags, [a, b]) => {
            let mut tags = tags_of(function, a)?;
            tags.extend(tags_of(function, b)?);
            Ok(Value::tags(tags))
        }
        (Function::RemoveTag, [Value::Tags(tags), Value::Text(gone)]) => {
            Ok(Value::Tags(tags.iter().filter(|tag| *tag != gone).cloned().collect()))
        }
        (Function::Bucket { salt, buckets }, [key]) => bucket::of_value(key, salt, *buckets),
        (Function::Cast(data_type), [value]) => cast(value, *data_type),
        (
            Function::Add
            | Function::Subtract
            | Function::Multiply
            | Function::Divide
            | Function::Modulo
            | Function::Negate
            | Function::Abs
            | Function::Floor
            | Function::Ceil
            | Function::Round
            | Function::Power
            | Function::Sqrt
            | Function::Ln
            | Function::Log10
            | Function::Sin
            | Function::Cos
            | Function::Asin
            | Function::Acos
            | Function::Radians,
            _,
        ) => number::apply(function, arguments),
        (
            Function::Lower
            | Function::Upper
            | Function::Length
            | Function::Trim
            | Function::Concat
            | Function::Substr
            | Function::Replace
            | Function::SplitPart
            | Function::Md5,
            _,
        ) => text(function, arguments),
        (Function::AddInterval(interval), [value]) => moved(value, interval),
        (Function::DateTrunc(unit), [value]) => {
            let cut = time::truncated(*unit, micros_of(value)?).ok_or_else(beyond)?;
            Ok(if let Value::TimestampTz(_) = value {
                Value::TimestampTz(cut)
            } else {
                Value::Timestamp(cut)
            })
        }
        (Function::Extract(field), [value]) => extract(*field, micros_of(value)?),
        (Function::Years, [from, to]) => Ok(Value::Integer(time::full_years(days_in(from)?, days_in(to)?))),
        (Function::DaysToBirthday, [birth, at]) => {
            Ok(Value::Integer(time::days_to_birthday(days_in(birth)?, days_in(at)?)))
        }
        (function, arguments) => Err(wrong(function, arguments)),
    }
}

/// True of the functions that are NULL where an argument is.
pub(crate) fn keeps_null(function: &Function) -> bool {
    !matches!(
        function,
        Function::IsNull
            | Function::Same
            | Function::And
            | Function::Or
            | Function::In
            | Function::Coalesce
            | Function::NullIf
            | Function::Case
            | Function::Greatest
            | Function::Least
            | Function::AddTags
            | Function::RemoveTag
    )
}

/// The functions that do something else with NULLs than become NULL.
fn of_nulls(function: &Function, arguments: &[Value]) -> Result<Option<Value>> {
    Ok(Some(match (function, arguments) {
        (Function::IsNull, [value]) => Value::Boolean(*value == Value::Null),
        (Function::Same, [a, b]) => Value::Boolean(match compare(a, b)? {
            Some(ordering) => ordering.is_eq(),
            None => a == b,
        }),
        (Function::And | Function::Or, terms) => {
            let decisive = *function == Function::Or;
            let mut result = Value::Boolean(!decisive);
            for term in terms {
                match term {
                    Value::Boolean(boolean) if *boolean == decisive => {
                        return Ok(Some(Value::Boolean(decisive)));
                    }
                    Value::Boolean(_) => {}
                    Value::Null => result = Value::Null,
                    _ => return Err(wrong(function, arguments)),
                }
            }
            result
        }
        (Function::In, [needle, list @ ..]) => {
            let mut result = Value::Boolean(false);
            for item in list {
                match compare(needle, item)? {
                    Some(Ordering::Equal) => return Ok(Some(Value::Boolean(true))),
                    Some(_) => {}
                    None => result = Value::Null,
                }
            }
            result
        }
        (Function::Coalesce, values) => {
            values.iter().find(|value| **value != Value::Null).cloned().unwrap_or(Value::Null)
        }
        (Function::NullIf, [a, b]) => match compare(a, b)? {
            Some(Ordering::Equal) => Value::Null,
            _ => a.clone(),
        },
        (Function::Case, branches) => {
            let pairs = branches.chunks_exact(2);
            let rest = pairs.remainder().first();
            let taken = pairs.into_iter().find(|pair| pair[0] == Value::Boolean(true)).map(|pair| &pair[1]);
            taken.or(rest).cloned().unwrap_or(Value::Null)
        }
        // A set holds no NULL: there is none to be added or removed.
        (Function::AddTags, [Value::Null, value] | [value, Value::Null]) if *value != Value::Null => {
            Value::tags(tags_of(function, value)?)
        }
        (Function::RemoveTag, [tags @ Value::Tags(_), Value::Null]) => tags.clone(),
        (Function::Greatest | Function::Least, values) => {
            let wanted = if *function == Function::Greatest { Ordering::Greater } else { Ordering::Less };
            let mut best = Value::Null;
            for value in values {
                if best == Value::Null || compare(value, &best)? == Some(wanted) {
                    best = value.clone();
                }
            }
            best
        }
        _ => return Ok(None),
    }))
}

/// A set of tags as it is, a text as the one tag of a set.
fn tags_of(function: &Function, value: &Value) -> Result<Vec<String>> {
    match value {
        Value::Tags(tags) => Ok(tags.clone()),
        Value::Text(tag) => Ok(vec![tag.clone()]),
        other => Err(wrong(function, std::slice::from_ref(other))),
    }
}

pub(super) fn wrong(function: &Function, arguments: &[Value]) -> Error {
    let kinds: Vec<&str> = arguments.iter().map(kind_of).collect();
    Error::Invalid(format!("{function:?} does not take {}", kinds.join(" and ")))
}

fn beyond() -> Error {
    Error::Invalid("a computed time lies beyond what a timestamp can hold".into())
}

/// A date or time as microseconds.
fn micros_of(value: &Value) -> Result<i64> {
    match value {
        Value::Date(days) => i64::from(*days).checked_mul(MICROS_PER_DAY).ok_or_else(beyond),
        Value::Timestamp(micros) | Value::TimestampTz(micros) => Ok(*micros),
        other => Err(Error::Invalid(format!("expected a date or time, found {}", kind_of(other)))),
    }
}

/// The day that a date or time lies in.
fn days_in(value: &Value) -> Result<i64> {
    match value {
        // Not by way of microseconds, which do not reach every DATE.
        Value::Date(days) => Ok(i64::from(*days)),
        time => micros_of(time).map(days_of),
    }
}

fn moved(value: &Value, interval: &Interval) -> Result<Value> {
    let micros = add_interval(micros_of(value)?, interval).ok_or_else(beyond)?;
    Ok(if let Value::TimestampTz(_) = value { Value::TimestampTz(micros) } else { Value::Timestamp(micros) })
}

fn extract(field: TimeField, micros: i64) -> Result<Value> {
    Ok(match field {
        TimeField::Second => Value::Decimal { unscaled: i128::from(micros.rem_euclid(60_000_000)), scale: 6 },
        TimeField::Epoch => Value::Decimal { unscaled: i128::from(micros), scale: 6 },
        whole => time::whole_field(whole, micros).map_or(Value::Null, Value::Integer),
    })
}

fn text(function: &Function, arguments: &[Value]) -> Result<Value> {
    Ok(match (function, arguments) {
        (Function::Length, [Value::Text(text)]) => Value::Integer(text::length(text)),
        (Function::Concat, parts) => {
            let mut whole = String::new();
            for part in parts {
                match part {
                    Value::Text(text) => whole.push_str(text),
                    other => whole.push_str(&other.to_string()),
                }
            }
            Value::Text(whole)
        }
        (function, [Value::Text(text), rest @ ..]) => match text::changed(function, text, rest) {
            Some(changed) => Value::Text(changed?.into_owned()),
            None => return Err(wrong(function, arguments)),
        },
        (function, arguments) => return Err(wrong(function, arguments)),
    })
}

fn cast(value: &Value, to: DataType) -> Result<Value> {
    let refuse = || Error::Invalid(format!("{value} ({}) cannot become {to}", kind_of(value)));
    Ok(match (value, to) {
        (Value::Text(text), to) if to.is_integer() && hexadecimal(text).is_some() => {
            number::cast(&Value::Integer(hexadecimal(text).unwrap_or_default()), to)?
        }
        (Value::Text(text), to) => Value::parse(text, to)
            .map_err(|error| Error::Invalid(format!("{}; it cannot become {to}", error.reason)))?,
        (value, DataType::Text) => Value::Text(value.to_string()),
        (Value::Boolean(boolean), to) if to.is_integer() => Value::Integer(i64::from(*boolean)),
        (Value::Integer(integer), DataType::Boolean) => Value::Boolean(*integer != 0),
        (Value::Boolean(_), DataType::Boolean) | (Value::Tags(_), DataType::TextArray) => value.clone(),
        (Value::Integer(_) | Value::Decimal { .. } | Value::Double(_), to) if to.is_number() => {
            number::cast(value, to)?
        }
        (value, DataType::Date) if is_time(value) => Value::Date(days_of(micros_of(value)?) as i32),
        (value, DataType::Timestamp) if is_time(value) => Value::Timestamp(micros_of(value)?),
        (value, DataType::TimestampTz) if is_time(value) => Value::TimestampTz(micros_of(value)?),
        _ => return Err(refuse()),
    })
}

fn is_time(value: &Value) -> bool {
    matches!(value, Value::Date(_) | Value::Timestamp(_) | Value::TimestampTz(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The days of a DATE went by way of microseconds, which the first and last of them exceed: a member computed alone was
    /// refused where a batch of members was answered.
    #[test]
    fn every_date_has_a_birthday() {
        for days in [i32::MIN, i32::MAX] {
            let of = |function| apply(&function, &[Value::Date(days), Value::Date(0)]).unwrap();
            assert!(matches!(of(Function::DaysToBirthday), Value::Integer(0..=366)));
            assert!(matches!(of(Function::Years), Value::Integer(years) if years.abs() > 5_000_000));
        }
    }

    #[test]
    fn tags_are_a_set_and_null_is_no_tag() {
        let tags = |tags: &[&str]| Value::tags(tags.iter().map(|tag| (*tag).to_owned()));
        let text = |text: &str| Value::Text(text.to_owned());
        let add = |a: Value, b: Value| apply(&Function::AddTags, &[a, b]).unwrap();
        let without = |a: Value, b: Value| apply(&Function::RemoveTag, &[a, b]).unwrap();
        assert_eq!(add(tags(&["b"]), text("a")), tags(&["a", "b"]));
        assert_eq!(add(text("b"), tags(&["b"])), tags(&["b"]));
        assert_eq!(add(tags(&["b"]), tags(&["a", "b"])), tags(&["a", "b"]));
        assert_eq!(add(Value::Null, text("a")), tags(&["a"]));
        assert_eq!(add(tags(&["a"]), Value::Null), tags(&["a"]));
        assert_eq!(add(Value::Null, Value::Null), Value::Null);
        assert_eq!(without(tags(&["a", "b"]), text("a")), tags(&["b"]));
        assert_eq!(without(tags(&["a"]), text("c")), tags(&["a"]));
        assert_eq!(without(tags(&["a"]), Value::Null), tags(&["a"]));
        assert_eq!(without(Value::Null, text("a")), Value::Null);
        assert!(apply(&Function::AddTags, &[tags(&[]), Value::Integer(1)]).is_err());
        assert!(apply(&Function::AddTags, &[Value::Null, Value::Integer(1)]).is_err());
    }

    /// The digits after the point of a product were added in eight bits.
    #[test]
    fn a_product_with_more_digits_than_are_kept_is_refused() {
        let tiny = Value::Decimal { unscaled: 1, scale: 255 };
        for other in [tiny.clone(), Value::Integer(1)] {
            assert!(apply(&Function::Multiply, &[tiny.clone(), other]).is_err());
        }
    }
}
