//! Columns of computed values, and the loops that make one of others.

use super::Inputs;
use crate::calendar::{MICROS_PER_DAY, add_interval, days_of};
use crate::delta::CellRef;
use crate::eval::holds;
use crate::exec::value_at;
use crate::expr::{Function, Node, at_zone, bucket, time};
use crate::schema::DataType;
use crate::value::Value;
use crate::{Result, code};

/// What the numbers of a lane are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Decimal(u8),
    Date,
    Timestamp,
    TimestampTz,
}

/// The values of a batch.
pub(super) enum Lane {
    /// The same for all.
    Same(Value),
    /// Integers, unscaled decimals, days, microseconds.
    Exact(Kind, Vec<Option<i64>>),
    /// Doubles.
    Double(Vec<Option<f64>>),
    /// Truth values.
    Truth(Vec<Option<bool>>),
    /// Anything.
    Values(Vec<Value>),
}

impl Lane {
    /// The value of the batch's member `i`.
    pub(super) fn value(&self, i: usize) -> Value {
        match self {
            Lane::Same(value) => value.clone(),
            Lane::Exact(kind, numbers) => numbers[i].map_or(Value::Null, |number| match kind {
                Kind::Integer => Value::Integer(number),
                Kind::Decimal(scale) => Value::Decimal { unscaled: i128::from(number), scale: *scale },
                Kind::Date => Value::Date(number as i32),
                Kind::Timestamp => Value::Timestamp(number),
                Kind::TimestampTz => Value::TimestampTz(number),
            }),
            Lane::Double(doubles) => doubles[i].map_or(Value::Null, Value::Double),
            Lane::Truth(truths) => truths[i].map_or(Value::Null, Value::Boolean),
            Lane::Values(values) => values[i].clone(),
        }
    }

    /// As exact numbers of `count` members, where it is one constant or a lane of them.
    fn exact(&self, count: usize) -> Option<(Kind, std::borrow::Cow<'_, [Option<i64>]>)> {
        match self {
            Lane::Exact(kind, numbers) => Some((*kind, numbers.into())),
            Lane::Same(value) => {
                let kind = match value {
                    Value::Integer(_) => Kind::Integer,
                    Value::Decimal { scale, .. } => Kind::Decimal(*scale),
                    Value::Date(_) => Kind::Date,
                    Value::Timestamp(_) => Kind::Timestamp,
                    Value::TimestampTz(_) => Kind::TimestampTz,
                    _ => return None,
                };
                Some((kind, vec![Some(code::encode(value)?); count].into()))
            }
            _ => None,
        }
    }

    fn doubles(&self, count: usize) -> Option<std::borrow::Cow<'_, [Option<f64>]>> {
        match self {
            Lane::Double(doubles) => Some(doubles.into()),
            Lane::Same(Value::Double(double)) => Some(vec![Some(*double); count].into()),
            _ => None,
        }
    }

    fn truths(&self, count: usize) -> Option<std::borrow::Cow<'_, [Option<bool>]>> {
        match self {
            Lane::Truth(truths) => Some(truths.into()),
            Lane::Same(Value::Boolean(truth)) => Some(vec![Some(*truth); count].into()),
            Lane::Same(Value::Null) => Some(vec![None; count].into()),
            _ => None,
        }
    }
}

/// Computes a node for some members of a chunk.
pub(super) fn compute(node: &Node, inputs: &Inputs<'_, '_>, chunk: u32, rows: &[u16]) -> Result<Lane> {
    match node {
        Node::Value(value) => Ok(Lane::Same(value.clone())),
        Node::Ordinal => {
            let ordinals = rows.iter().map(|row| Some(i64::from(chunk << 16 | u32::from(*row))));
            Ok(Lane::Exact(Kind::Integer, ordinals.collect()))
        }
        Node::Input(number) => input(inputs, *number, chunk, rows),
        Node::Match(text, matcher) => {
            let lane = compute(text, inputs, chunk, rows)?;
            let truth = |i| match lane.value(i) {
                Value::Text(text) => Some(matcher.matches(text.as_bytes())),
                _ => None,
            };
            Ok(Lane::Truth((0..rows.len()).map(truth).collect()))
        }
        Node::Zone(value, zone) => {
            let lane = compute(value, inputs, chunk, rows)?;
            let values = (0..rows.len()).map(|i| at_zone(lane.value(i), zone));
            Ok(Lane::Values(values.collect::<Result<_>>()?))
        }
        Node::Among(value, among) => {
            let lane = compute(value, inputs, chunk, rows)?;
            let values = (0..rows.len()).map(|i| among.holds(lane.value(i)));
            Ok(Lane::Values(values.collect::<Result<_>>()?))
        }
        Node::Call(function, arguments) => {
            let mut lanes = Vec::with_capacity(arguments.len());
            for argument in arguments {
                lanes.push(compute(argument, inputs, chunk, rows)?);
            }
            if let Some(lane) = looped(function, &lanes, rows.len()) {
                return Ok(lane);
            }
            let mut values = Vec::with_capacity(rows.len());
            let mut of_one = Vec::with_capacity(lanes.len());
            for i in 0..rows.len() {
                of_one.clear();
                of_one.extend(lanes.iter().map(|lane| lane.value(i)));
                values.push(crate::expr::apply(function, &of_one)?);
            }
            Ok(Lane::Values(values))
        }
    }
}

/// The values of a column.
fn input(inputs: &Inputs<'_, '_>, number: usize, chunk: u32, rows: &[u16]) -> Result<Lane> {
    let (reader, dictionary) = &inputs.columns[number];
    let kind = match reader.data_type() {
        DataType::SmallInt | DataType::Integer | DataType::BigInt => Kind::Integer,
        DataType::Decimal { scale, .. } => Kind::Decimal(scale),
        DataType::Date => Kind::Date,
        DataType::Timestamp => Kind::Timestamp,
        DataType::TimestampTz => Kind::TimestampTz,
        DataType::Boolean => {
            let (set, nulls) = (reader.set(chunk, 0)?, reader.nulls(chunk)?);
            let truth = |row: &u16| (!nulls.contains(*row)).then(|| set.contains(*row));
            let mut truths: Vec<Option<bool>> = rows.iter().map(truth).collect();
            reader.overlay(chunk, rows, |place, cell| {
                truths[place] = if let CellRef::Truth(truth) = cell { Some(truth) } else { None };
            })?;
            return Ok(Lane::Truth(truths));
        }
        DataType::Double => Kind::Integer,
        DataType::Text | DataType::TextArray => {
            let values = rows.iter().map(|row| value_at(reader, *dictionary, chunk << 16 | u32::from(*row)));
            return Ok(Lane::Values(values.collect::<Result<_>>()?));
        }
    };
    let mut codes: Vec<Option<i64>> = match reader.values(chunk)? {
        Some(values) => {
            let nulls = reader.nulls(chunk)?;
            let complete = nulls.cardinality() == 0;
            let code = |row: &u16| {
                let known = usize::from(*row) < values.rows && (complete || !nulls.contains(*row));
                known.then(|| values.get(usize::from(*row)))
            };
            rows.iter().map(code).collect()
        }
        None if !reader.is_changed(chunk) => return Ok(Lane::Same(Value::Null)),
        None => vec![None; rows.len()],
    };
    reader.overlay(chunk, rows, |place, cell| {
        codes[place] = if let CellRef::Code(code) = cell { Some(code) } else { None };
    })?;
    Ok(match reader.data_type() {
        DataType::Double => {
            Lane::Double(codes.into_iter().map(|code| code.map(code::code_to_double)).collect())
        }
        _ => Lane::Exact(kind, codes),
    })
}

/// A function as a loop over numbers; `None` where there is none, or a number does not fit.
fn looped(function: &Function, lanes: &[Lane], count: usize) -> Option<Lane> {
    match (function, lanes) {
        (Function::Compare(op), [a, b]) => {
            if let (Some(a), Some(b)) = (a.doubles(count), b.doubles(count)) {
                let order = |a: f64, b: f64| code::double_to_code(a).cmp(&code::double_to_code(b));
                return Some(Lane::Truth(both(&a, &b, |a, b| Some(holds(*op, order(a, b))))?));
            }
            let (a, b, _) = aligned(a, b, count)?;
            Some(Lane::Truth(both(&a, &b, |a, b| Some(holds(*op, a.cmp(&b))))?))
        }
        (Function::Same, [a, b]) => {
            let (a, b, _) = aligned(a, b, count)?;
            Some(Lane::Truth(a.iter().zip(b.iter()).map(|(a, b)| Some(a == b)).collect()))
        }
        (Function::IsNull, [Lane::Exact(_, numbers)]) => {
            Some(Lane::Truth(numbers.iter().map(|number| Some(number.is_none())).collect()))
        }
        (Function::Not, [a]) => Some(Lane::Truth(a.truths(count)?.iter().map(|a| a.map(|a| !a)).collect())),
        (Function::And | Function::Or, terms) => {
            let decisive = Some(*function == Function::Or);
            let mut result = vec![decisive.map(|truth| !truth); count];
            for term in terms {
                for (result, truth) in result.iter_mut().zip(term.truths(count)?.iter()) {
                    if *result != decisive && (*truth == decisive || truth.is_none()) {
                        *result = *truth;
                    }
                }
            }
            Some(Lane::Truth(result))
        }
        (Function::Add | Function::Subtract, [a, b]) => {
            let add = *function == Function::Add;
            if let (Some(a), Some(b)) = (a.doubles(count), b.doubles(count)) {
                return Some(Lane::Double(both(&a, &b, |a, b| finite(if add { a + b } else { a - b }))?));
            }
            let kind = match (a.exact(count)?.0, b.exact(count)?.0) {
                (Kind::Date, Kind::Integer) => Kind::Date,
                (Kind::Integer, Kind::Date) if add => Kind::Date,
                (Kind::Date, Kind::Date) if !add => Kind::Integer,
                (Kind::Integer | Kind::Decimal(_), Kind::Integer | Kind::Decimal(_)) => {
                    aligned(a, b, count)?.2
                }
                _ => return None,
            };
            let (a, b) = match kind {
                Kind::Decimal(_) => aligned(a, b, count).map(|(a, b, _)| (a, b))?,
                _ => (a.exact(count)?.1, b.exact(count)?.1),
            };
            let sums = both(&a, &b, |a, b| if add { a.checked_add(b) } else { a.checked_sub(b) })?;
            // A date beyond its type is for the one who says so.
            let date = kind == Kind::Date && sums.iter().flatten().any(|days| i32::try_from(*days).is_err());
            (!date).then_some(Lane::Exact(kind, sums))
        }
        (Function::Multiply, [a, b]) => {
            if let (Some(a), Some(b)) = (a.doubles(count), b.doubles(count)) {
                return Some(Lane::Double(both(&a, &b, |a, b| finite(a * b))?));
            }
            let ((a_kind, a), (b_kind, b)) = (a.exact(count)?, b.exact(count)?);
            let kind = match (a_kind, b_kind) {
                (Kind::Integer, Kind::Integer) => Kind::Integer,
                (Kind::Decimal(scale), Kind::Integer) | (Kind::Integer, Kind::Decimal(scale))
                    if scale <= 38 =>
                {
                    Kind::Decimal(scale)
                }
                (Kind::Decimal(a), Kind::Decimal(b)) if a.saturating_add(b) <= 38 => Kind::Decimal(a + b),
                _ => return None,
            };
            Some(Lane::Exact(kind, both(&a, &b, i64::checked_mul)?))
        }
        (Function::Divide | Function::Modulo, [a, b]) => {
            let ((Kind::Integer, a), (Kind::Integer, b)) = (a.exact(count)?, b.exact(count)?) else {
                return None;
            };
            let divide = *function == Function::Divide;
            let numbers = both(&a, &b, |a, b| if divide { a.checked_div(b) } else { a.checked_rem(b) })?;
            Some(Lane::Exact(Kind::Integer, numbers))
        }
        (Function::Negate, [Lane::Exact(kind @ (Kind::Integer | Kind::Decimal(_)), numbers)]) => {
            Some(Lane::Exact(*kind, each(numbers, i64::checked_neg)?))
        }
        (Function::AddInterval(interval), [Lane::Exact(kind, numbers)]) => {
            let kind = time_kind(*kind)?;
            Some(Lane::Exact(
                kind.1,
                each(numbers, |number| add_interval(number.checked_mul(kind.0)?, interval))?,
            ))
        }
        (Function::DateTrunc(unit), [Lane::Exact(kind, numbers)]) => {
            let kind = time_kind(*kind)?;
            Some(Lane::Exact(
                kind.1,
                each(numbers, |number| time::truncated(*unit, number.checked_mul(kind.0)?))?,
            ))
        }
        (Function::Extract(field), [Lane::Exact(kind, numbers)]) => {
            let kind = time_kind(*kind)?;
            let fields = each(numbers, |number| time::whole_field(*field, number.checked_mul(kind.0)?))?;
            Some(Lane::Exact(Kind::Integer, fields))
        }
        (Function::Years | Function::DaysToBirthday, [a, b]) => {
            let ((a_kind, a), (b_kind, b)) = (a.exact(count)?, b.exact(count)?);
            let (a_unit, b_unit) = (time_kind(a_kind)?.0, time_kind(b_kind)?.0);
            let days = |number: i64, unit: i64| if unit == 1 { days_of(number) } else { number };
            let years = *function == Function::Years;
            let of = |a, b| {
                let (a, b) = (days(a, a_unit), days(b, b_unit));
                Some(if years { time::full_years(a, b) } else { time::days_to_birthday(a, b) })
            };
            Some(Lane::Exact(Kind::Integer, both(&a, &b, of)?))
        }
        (Function::Bucket { salt, buckets }, [Lane::Exact(Kind::Integer, keys)]) => {
            let seed = bucket::seed(salt);
            let of = |key: &Option<i64>| key.map(|key| bucket::of_integer(key, seed, *buckets));
            Some(Lane::Exact(Kind::Integer, keys.iter().map(of).collect()))
        }
        (Function::Bucket { salt, buckets }, [Lane::Values(keys)]) => {
            let seed = bucket::seed(salt);
            let of = |key: &Value| match key {
                Value::Text(key) => Some(Some(bucket::of_text(key.as_bytes(), seed, *buckets))),
                Value::Null => Some(None),
                _ => None,
            };
            Some(Lane::Exact(Kind::Integer, keys.iter().map(of).collect::<Option<_>>()?))
        }
        _ => None,
    }
}

/// Microseconds of one unit of a time, and what a function of microseconds gives.
fn time_kind(kind: Kind) -> Option<(i64, Kind)> {
    match kind {
        Kind::Date => Some((MICROS_PER_DAY, Kind::Timestamp)),
        Kind::Timestamp | Kind::TimestampTz => Some((1, kind)),
        Kind::Integer | Kind::Decimal(_) => None,
    }
}

fn finite(double: f64) -> Option<f64> {
    // Infinities are for the one who tells overflow from what was infinite before.
    double.is_finite().then_some(double)
}

/// A number of each; `None` as a whole where one does not fit.
fn each(numbers: &[Option<i64>], of: impl Fn(i64) -> Option<i64>) -> Option<Vec<Option<i64>>> {
    numbers.iter().map(|number| number.map_or(Some(None), |number| of(number).map(Some))).collect()
}

/// A value of each pair, NULL where one is; `None` as a whole where one does not fit.
fn both<T: Copy, U>(
    a: &[Option<T>],
    b: &[Option<T>],
    of: impl Fn(T, T) -> Option<U>,
) -> Option<Vec<Option<U>>> {
    let pair = |(a, b): (&Option<T>, &Option<T>)| match (a, b) {
        (Some(a), Some(b)) => of(*a, *b).map(Some),
        _ => Some(None),
    };
    a.iter().zip(b).map(pair).collect()
}

type Numbers<'l> = std::borrow::Cow<'l, [Option<i64>]>;

/// Two lanes in the same unit: decimals of one scale, times of one resolution.
fn aligned<'l>(a: &'l Lane, b: &'l Lane, count: usize) -> Option<(Numbers<'l>, Numbers<'l>, Kind)> {
    let ((a_kind, a), (b_kind, b)) = (a.exact(count)?, b.exact(count)?);
    let scaled = |numbers: Numbers<'l>, by: i64| -> Option<Numbers<'l>> {
        if by == 1 { Some(numbers) } else { each(&numbers, |number| number.checked_mul(by)).map(Into::into) }
    };
    if let (Some(a_scale), Some(b_scale)) = (scale(a_kind), scale(b_kind)) {
        let ten = |power: u8| 10_i64.checked_pow(u32::from(power));
        let most = a_scale.max(b_scale);
        let kind = if a_kind == b_kind { a_kind } else { Kind::Decimal(most) };
        return Some((scaled(a, ten(most - a_scale)?)?, scaled(b, ten(most - b_scale)?)?, kind));
    }
    let (a_time, b_time) = (time_kind(a_kind)?, time_kind(b_kind)?);
    if a_kind == b_kind {
        return Some((a, b, a_kind));
    }
    Some((scaled(a, a_time.0)?, scaled(b, b_time.0)?, a_time.1))
}

fn scale(kind: Kind) -> Option<u8> {
    match kind {
        Kind::Integer => Some(0),
        Kind::Decimal(scale) => Some(scale),
        Kind::Date | Kind::Timestamp | Kind::TimestampTz => None,
    }
}
