//! The functions of the language: their names, what they take, what they give.

use super::value::{Typed, decimal, no_remainder, scale, wide};
use super::{Names, type_error};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::suggest;
use muster_engine::expr::{Compiled, Expr, Function, Pattern, TimeField, TimeUnit};
use muster_engine::predicate::{CompareOp, Literal};
use muster_engine::schema::DataType;
use muster_engine::value::Value;
use std::sync::Arc;

/// Every function of the language, by name, with what it takes: for messages, help and completion.
pub const FUNCTIONS: &[(&str, &str)] = &[
    ("abs", "abs(number)"),
    ("acos", "acos(number)"),
    ("age_in_years", "age_in_years(birth [, at])"),
    ("array_append", "array_append(tags, tag)"),
    ("array_cat", "array_cat(tags, tags)"),
    ("array_prepend", "array_prepend(tag, tags)"),
    ("array_remove", "array_remove(tags, tag)"),
    ("asin", "asin(number)"),
    ("bucket", "bucket(key, 'salt', buckets)"),
    ("cardinality", "cardinality(tags)"),
    ("ceil", "ceil(number)"),
    ("coalesce", "coalesce(value, …)"),
    ("concat", "concat(text, …)"),
    ("cos", "cos(radians)"),
    ("date_part", "date_part('field', time)"),
    ("date_trunc", "date_trunc('unit', time)"),
    ("days_to_birthday", "days_to_birthday(birth [, at])"),
    ("floor", "floor(number)"),
    ("greatest", "greatest(value, …)"),
    ("least", "least(value, …)"),
    ("left", "left(text, characters)"),
    ("length", "length(text)"),
    ("ln", "ln(number)"),
    ("log10", "log10(number)"),
    ("lower", "lower(text)"),
    ("md5", "md5(text)"),
    ("mod", "mod(number, number)"),
    ("nullif", "nullif(value, value)"),
    ("power", "power(number, number)"),
    ("radians", "radians(degrees)"),
    ("replace", "replace(text, from, to)"),
    ("round", "round(number [, digits])"),
    ("sin", "sin(radians)"),
    ("split_part", "split_part(text, separator, n)"),
    ("sqrt", "sqrt(number)"),
    ("substr", "substr(text, from [, characters])"),
    ("trim", "trim(text)"),
    ("upper", "upper(text)"),
];

/// Other names of some functions.
fn canonical(name: &str) -> &str {
    match name {
        "char_length" | "character_length" => "length",
        "substring" => "substr",
        "btrim" => "trim",
        "ceiling" => "ceil",
        "pow" => "power",
        "log" => "log10",
        name => name,
    }
}

/// Binds a call.
pub(super) fn call(names: &Names<'_>, name: &str, arguments: Vec<Typed>, span: Span) -> Result<Typed> {
    let name = canonical(name);
    let Some((_, shape)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
        let error = Error::unsupported(span, format!("unknown function {name}"));
        let known = FUNCTIONS.iter().map(|(known, _)| *known);
        return Err(match suggest::advice(name, known, "the functions are") {
            Some(advice) => error.advise(advice),
            None => error,
        });
    };
    let wrong = |message: String| Err(type_error(span, message).advise(format!("write {shape}")));
    let fits = match name {
        "coalesce" | "greatest" | "least" | "concat" => !arguments.is_empty(),
        "age_in_years" | "days_to_birthday" | "round" => matches!(arguments.len(), 1 | 2),
        "substr" => matches!(arguments.len(), 2 | 3),
        "bucket" | "replace" | "split_part" => arguments.len() == 3,
        "array_append" | "array_cat" | "array_prepend" | "array_remove" | "date_part" | "date_trunc"
        | "left" | "mod" | "nullif" | "power" => arguments.len() == 2,
        _ => arguments.len() == 1,
    };
    if !fits {
        return wrong(format!("{name} does not take {} arguments", arguments.len()));
    }
    let text = |typed: Typed| -> Result<Expr> {
        let typed = names.as_type(typed, DataType::Text)?;
        match typed.data_type {
            None | Some(DataType::Text) => Ok(typed.expr),
            Some(_) => Err(type_error(typed.span, format!("expected a text, found {}", typed.describe()))
                .advise("CAST(value AS TEXT) makes one")),
        }
    };
    let whole = |typed: Typed| -> Result<Expr> {
        let typed = names.as_type(typed, DataType::BigInt)?;
        match typed.data_type {
            None | Some(DataType::SmallInt | DataType::Integer | DataType::BigInt) => Ok(typed.expr),
            Some(_) => {
                Err(type_error(typed.span, format!("expected a whole number, found {}", typed.describe())))
            }
        }
    };
    let give = |function: Function, arguments: Vec<Expr>, data_type: DataType| {
        Ok(Typed::new(Expr::call(function, arguments), data_type, span))
    };
    let all = arguments.clone();
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next().ok_or_else(|| type_error(span, format!("write {shape}")));
    match name {
        "lower" => give(Function::Lower, vec![text(next()?)?], DataType::Text),
        "upper" => give(Function::Upper, vec![text(next()?)?], DataType::Text),
        "trim" => give(Function::Trim, vec![text(next()?)?], DataType::Text),
        "length" => give(Function::Length, vec![text(next()?)?], DataType::BigInt),
        "substr" => {
            let mut taken = vec![text(next()?)?, whole(next()?)?];
            if all.len() == 3 {
                taken.push(whole(next()?)?);
            }
            give(Function::Substr, taken, DataType::Text)
        }
        "left" => {
            let (from, characters) = (text(next()?)?, next()?);
            let taken = match characters.whole_number() {
                Some(number) if number >= 0 => characters.expr,
                _ => taken_from_left(&from, whole(characters)?),
            };
            give(Function::Substr, vec![from, Expr::value(Value::Integer(1)), taken], DataType::Text)
        }
        "replace" => {
            give(Function::Replace, vec![text(next()?)?, text(next()?)?, text(next()?)?], DataType::Text)
        }
        "split_part" => {
            give(Function::SplitPart, vec![text(next()?)?, text(next()?)?, whole(next()?)?], DataType::Text)
        }
        "concat" => {
            // As PostgreSQL's function and unlike ||, NULLs are passed over.
            let empty = || Expr::value(Value::Text(String::new()));
            let parts = all.into_iter().map(|typed| Expr::call(Function::Coalesce, [typed.expr, empty()]));
            give(Function::Concat, parts.collect(), DataType::Text)
        }
        "cardinality" => {
            let tags = next()?;
            if tags.data_type != Some(DataType::TextArray) {
                return wrong(format!("expected a TEXT[] column, found {}", tags.describe()));
            }
            give(Function::Cardinality, vec![tags.expr], DataType::BigInt)
        }
        "array_append" | "array_prepend" | "array_cat" | "array_remove" => {
            let (a, b) = (next()?, next()?);
            let arguments = match name {
                "array_prepend" => vec![names.tag(a)?, names.tags(b)?],
                "array_cat" => vec![names.tags(a)?, names.tags(b)?],
                _ => vec![names.tags(a)?, names.tag(b)?],
            };
            let function = if name == "array_remove" { Function::RemoveTag } else { Function::AddTags };
            give(function, arguments, DataType::TextArray)
        }
        "abs" | "floor" | "ceil" => {
            let number = next()?;
            let data_type = wide(names.number(&number)?);
            let (function, data_type) = match (name, data_type) {
                ("abs", data_type) => (Function::Abs, data_type),
                ("floor", DataType::Decimal { .. }) => (Function::Floor, decimal(0)),
                ("floor", data_type) => (Function::Floor, data_type),
                (_, DataType::Decimal { .. }) => (Function::Ceil, decimal(0)),
                (_, data_type) => (Function::Ceil, data_type),
            };
            give(function, vec![number.expr], data_type)
        }
        "round" => {
            let number = next()?;
            let data_type = wide(names.number(&number)?);
            if all.len() == 1 {
                let data_type = if let DataType::Decimal { .. } = data_type { decimal(0) } else { data_type };
                return give(Function::Round, vec![number.expr], data_type);
            }
            let digits = next()?;
            let kept = digits.whole_number();
            let data_type = match (data_type, kept) {
                (DataType::Decimal { scale, .. }, Some(kept)) => decimal(scale.min(kept.clamp(0, 38) as u8)),
                (data_type, _) => data_type,
            };
            give(Function::Round, vec![number.expr, whole(digits)?], data_type)
        }
        "md5" => give(Function::Md5, vec![text(next()?)?], DataType::Text),
        "sqrt" | "ln" | "log10" | "sin" | "cos" | "asin" | "acos" | "radians" => {
            let number = next()?;
            names.number(&number)?;
            let function = match name {
                "sqrt" => Function::Sqrt,
                "ln" => Function::Ln,
                "sin" => Function::Sin,
                "cos" => Function::Cos,
                "asin" => Function::Asin,
                "acos" => Function::Acos,
                "radians" => Function::Radians,
                _ => Function::Log10,
            };
            give(function, vec![number.expr], DataType::Double)
        }
        "power" => {
            let (a, b) = (next()?, next()?);
            names.number(&a)?;
            names.number(&b)?;
            give(Function::Power, vec![a.expr, b.expr], DataType::Double)
        }
        "mod" => {
            let (a, b) = (next()?, next()?);
            let (x, y) = (wide(names.number(&a)?), wide(names.number(&b)?));
            if x == DataType::Double || y == DataType::Double {
                return Err(no_remainder(span));
            }
            let data_type = if x == y { x } else { decimal(scale(x).max(scale(y))) };
            give(Function::Modulo, vec![a.expr, b.expr], data_type)
        }
        "coalesce" | "greatest" | "least" => {
            let data_type = names.common_type(all.iter(), span)?;
            let taken = all.into_iter().map(|typed| names.brought_to(typed, data_type));
            let function = match name {
                "coalesce" => Function::Coalesce,
                "greatest" => Function::Greatest,
                _ => Function::Least,
            };
            give(function, taken.collect::<Result<_>>()?, data_type)
        }
        "nullif" => {
            let (a, b) = (next()?, next()?);
            let data_type = a.known_type();
            let (a, b) = names.comparable(a, b)?;
            give(Function::NullIf, vec![a, b], data_type)
        }
        "date_trunc" => {
            let (unit, of) = (next()?, next()?);
            let Some(found) = unit.text().and_then(time_unit) else {
                return Err(type_error(unit.span, "expected a unit of time in single quotes")
                    .advise("'minute', 'hour', 'day', 'week', 'month', 'quarter' or 'year'"));
            };
            names.truncated(Function::DateTrunc(found), of)
        }
        "date_part" => {
            let (field, of) = (next()?, next()?);
            extract(names, field, of, span)
        }
        "age_in_years" | "days_to_birthday" => {
            let birth = names.as_type(next()?, DataType::Date)?;
            let at = match all.len() {
                1 => {
                    let zone = names.context.zone.map(|zone| Arc::clone(&zone.name));
                    Expr::Literal(Literal::Now { offsets: Vec::new(), date: true, zone })
                }
                _ => names.local(names.as_type(next()?, DataType::Date)?)?,
            };
            let function = if name == "age_in_years" { Function::Years } else { Function::DaysToBirthday };
            give(function, vec![names.local(birth)?, at], DataType::BigInt)
        }
        _ => {
            let (key, salt, buckets) = (next()?, next()?, next()?);
            let key = names.as_type(key, DataType::Text)?;
            let hashed = key.data_type.is_none_or(|t| t.is_integer() || t == DataType::Text);
            if !hashed {
                return wrong(format!("bucket hashes integers and texts, not {}", key.describe()));
            }
            let Some(salt) = salt.text().map(str::to_owned) else {
                return wrong("the salt of bucket is a text in single quotes".to_owned());
            };
            let Some(buckets) = buckets.whole_number().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0)
            else {
                return wrong(format!("the number of buckets is a constant from 1 to {}", u32::MAX));
            };
            give(Function::Bucket { salt, buckets }, vec![key.expr], DataType::BigInt)
        }
    }
}

/// How many characters `left(text, characters)` takes: below zero all but the last ones.
fn taken_from_left(text: &Expr, characters: Expr) -> Expr {
    let zero = || Expr::value(Value::Integer(0));
    let all = Expr::call(Function::Length, [text.clone()]);
    let all_but =
        Expr::call(Function::Greatest, [zero(), Expr::call(Function::Add, [all, characters.clone()])]);
    let below = Expr::call(Function::Compare(CompareOp::Lt), [characters.clone(), zero()]);
    Expr::call(Function::Case, [below, all_but, characters])
}

/// `extract(field FROM time)`
pub(super) fn extract(names: &Names<'_>, field: Typed, of: Typed, span: Span) -> Result<Typed> {
    let Some(found) = field.text().and_then(time_field) else {
        return Err(type_error(field.span, "expected a field of a time").advise(
            "year, quarter, month, week, isoyear, day, dow, isodow, doy, hour, minute, second or epoch",
        ));
    };
    let data_type = match found {
        TimeField::Second | TimeField::Epoch => decimal(6),
        _ => DataType::BigInt,
    };
    // Seconds since 1970 are an instant's own; the other fields are what clocks show.
    let zoned = of.data_type == Some(DataType::TimestampTz);
    let of = if found == TimeField::Epoch && zoned { of.expr } else { names.local(of)? };
    Ok(Typed::new(Expr::call(Function::Extract(found), [of]), data_type, span))
}

fn time_unit(name: &str) -> Option<TimeUnit> {
    Some(match name.to_lowercase().trim_end_matches('s') {
        "microsecond" => TimeUnit::Microseconds,
        "millisecond" => TimeUnit::Milliseconds,
        "second" => TimeUnit::Second,
        "minute" => TimeUnit::Minute,
        "hour" => TimeUnit::Hour,
        "day" => TimeUnit::Day,
        "week" => TimeUnit::Week,
        "month" => TimeUnit::Month,
        "quarter" => TimeUnit::Quarter,
        "year" => TimeUnit::Year,
        _ => return None,
    })
}

fn time_field(name: &str) -> Option<TimeField> {
    Some(match name.to_lowercase().as_str() {
        "year" => TimeField::Year,
        "quarter" => TimeField::Quarter,
        "month" => TimeField::Month,
        "week" => TimeField::Week,
        "isoyear" => TimeField::IsoYear,
        "day" => TimeField::Day,
        "dow" => TimeField::DayOfWeek,
        "isodow" => TimeField::IsoDayOfWeek,
        "doy" => TimeField::DayOfYear,
        "hour" => TimeField::Hour,
        "minute" => TimeField::Minute,
        "second" => TimeField::Second,
        "epoch" => TimeField::Epoch,
        _ => return None,
    })
}

/// Refuses a pattern that cannot be compiled, at its place.
pub(super) fn check_pattern(pattern: &Pattern, span: Span) -> Result<()> {
    let matched = Expr::call(Function::Like(pattern.clone()), [Expr::value(Value::Text(String::new()))]);
    match Compiled::new(&matched, 0) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::query(QueryErrorKind::Value, span, error.to_string())),
    }
}
