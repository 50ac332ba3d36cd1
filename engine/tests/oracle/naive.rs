//! The answers, worked out row by row.

use crate::data::Table;
use crate::question::column_of;
use muster_engine::eval::{compare, eval};
use muster_engine::exec::{Aggregate, Group, OrderBy};
use muster_engine::predicate::{Predicate, Truth};
use muster_engine::schema::{ColumnId, DataType};
use muster_engine::value::Value;
use rayon::prelude::*;
use std::cmp::Ordering;
use std::collections::HashMap;

/// The truth of a predicate for every row; unknown of those that are gone, so that neither it nor its NOT has them.
pub fn truths(table: &Table, predicate: &Predicate, now_micros: i64) -> Result<Vec<Truth>, String> {
    (0..table.rows)
        .into_par_iter()
        .map(|row| match table.is_live(row) {
            true => eval(predicate, now_micros, &|id| table.value(column_of(id), row).clone()),
            false => Ok(Truth::Unknown),
        })
        .collect::<Result<Vec<Truth>, _>>()
        .map_err(|error| format!("eval refuses: {error}"))
}

/// The order of two values of one column, NULL greatest.
pub fn order_of(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        _ => compare(left, right).ok().flatten().expect("two values of one column"),
    }
}

/// True where two values are one to SQL: NULLs among themselves, NaNs, both zeros. Kinds must be the same.
pub fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Double(a), Value::Double(b)) => a == b || (a.is_nan() && b.is_nan()),
        _ => left == right,
    }
}

/// The first `limit` of the rows in this order, ties by ordinal.
pub fn top(table: &Table, rows: &[u32], order: &[OrderBy], limit: usize) -> Vec<u32> {
    let mut sorted = rows.to_vec();
    sorted.par_sort_by(|a, b| {
        for by in order {
            let column = &table.columns[column_of(by.column)];
            let (a, b) = (&column[*a as usize], &column[*b as usize]);
            // Whether a NULL is first does not depend on the direction of the rest.
            let ordering = match (*a == Value::Null, *b == Value::Null) {
                (true, false) if by.nulls_first => Ordering::Less,
                (true, false) => Ordering::Greater,
                (false, true) if by.nulls_first => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ if by.descending => order_of(b, a),
                _ => order_of(a, b),
            };
            if ordering != Ordering::Equal {
                return ordering;
            }
        }
        a.cmp(b)
    });
    sorted.truncate(limit);
    sorted
}

/// How often each value of a column is there, in the order of the values, NULL last; of tags each for itself.
pub fn profile(table: &Table, rows: &[u32], column: ColumnId) -> Vec<(Value, u64)> {
    let mut counts: HashMap<Vec<u8>, (Value, u64)> = HashMap::new();
    let mut count = |value: Value| {
        let bytes = group_bytes(std::slice::from_ref(&value));
        counts.entry(bytes).or_insert((value, 0)).1 += 1;
    };
    for row in rows {
        match table.value(column_of(column), *row as usize) {
            Value::Tags(tags) => tags.iter().for_each(|tag| count(Value::Text(tag.clone()))),
            value => count(value.clone()),
        }
    }
    let mut counts: Vec<(Value, u64)> = counts.into_values().collect();
    counts.sort_by(|(a, _), (b, _)| order_of(a, b));
    counts
}

/// A key as bytes: equal where the keys are one group.
pub fn group_bytes(key: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in key {
        match value {
            Value::Null => bytes.push(0),
            Value::Boolean(boolean) => bytes.extend([1, u8::from(*boolean)]),
            Value::Double(double) => {
                let one = if double.is_nan() { f64::NAN } else { double + 0.0 };
                bytes.push(2);
                bytes.extend(one.to_bits().to_le_bytes());
            }
            Value::Text(text) => {
                bytes.push(3);
                bytes.extend(text.len().to_le_bytes());
                bytes.extend(text.as_bytes());
            }
            other => {
                bytes.push(4);
                bytes.extend(format!("{other:?}").as_bytes());
                bytes.push(0);
            }
        }
    }
    bytes
}

/// The groups of these rows, by [`group_bytes`] of their keys.
pub fn groups(
    table: &Table,
    rows: &[u32],
    keys: &[ColumnId],
    aggregates: &[Aggregate],
) -> HashMap<Vec<u8>, Expected> {
    let mut members: HashMap<Vec<u8>, (Vec<Value>, Vec<u32>)> = HashMap::new();
    if keys.is_empty() {
        members.insert(Vec::new(), (Vec::new(), Vec::new()));
    }
    for row in rows {
        let key: Vec<Value> =
            keys.iter().map(|id| table.value(column_of(*id), *row as usize).clone()).collect();
        members.entry(group_bytes(&key)).or_insert_with(|| (key, Vec::new())).1.push(*row);
    }
    let expected = |(bytes, (key, rows)): (Vec<u8>, (Vec<Value>, Vec<u32>))| {
        let values = aggregates.iter().map(|aggregate| aggregate_of(table, &rows, *aggregate)).collect();
        (bytes, Expected { key, values })
    };
    members.into_iter().map(expected).collect()
}

/// A group as it should be.
pub struct Expected {
    pub key: Vec<Value>,
    pub values: Vec<Answer>,
}

/// What an aggregate may answer.
#[derive(Debug)]
pub enum Answer {
    Exactly(Value),
    /// A double, up to the error that the order of its additions makes.
    Near {
        value: f64,
        error: f64,
    },
    /// The sum of the magnitudes overflows, so the answer hangs on the order of the additions.
    Anything,
}

impl Answer {
    pub fn admits(&self, value: &Value) -> bool {
        match (self, value) {
            (Answer::Exactly(expected), value) => same(expected, value),
            (Answer::Near { value: expected, error }, Value::Double(double)) => {
                expected == double
                    || (expected.is_nan() && double.is_nan())
                    || (expected - double).abs() <= *error
            }
            (Answer::Near { .. }, _) => false,
            (Answer::Anything, value) => matches!(value, Value::Double(_)),
        }
    }
}

impl Expected {
    /// What is wrong with a group that was answered, if anything.
    pub fn differs_from(&self, group: &Group) -> Option<String> {
        let keys = self.key.len() == group.key.len()
            && self.key.iter().zip(&group.key).all(|(expected, key)| same(expected, key));
        if !keys {
            return Some(format!("key {:?} instead of {:?}", group.key, self.key));
        }
        if self.values.len() != group.values.len() {
            return Some(format!("{} aggregates instead of {}", group.values.len(), self.values.len()));
        }
        let differs = |(expected, value): (&Answer, &Value)| {
            (!expected.admits(value))
                .then(|| format!("{value:?} instead of {expected:?} in group {:?}", self.key))
        };
        self.values.iter().zip(&group.values).find_map(differs)
    }
}

fn aggregate_of(table: &Table, rows: &[u32], aggregate: Aggregate) -> Answer {
    let present = |id: ColumnId| {
        let column = &table.columns[column_of(id)];
        rows.iter().map(|row| &column[*row as usize]).filter(|value| **value != Value::Null)
    };
    match aggregate {
        Aggregate::CountAll => Answer::Exactly(Value::Integer(rows.len() as i64)),
        Aggregate::Count(id) => Answer::Exactly(Value::Integer(present(id).count() as i64)),
        Aggregate::Min(id) => {
            Answer::Exactly(present(id).min_by(|a, b| order_of(a, b)).cloned().unwrap_or(Value::Null))
        }
        Aggregate::Max(id) => {
            Answer::Exactly(present(id).max_by(|a, b| order_of(a, b)).cloned().unwrap_or(Value::Null))
        }
        Aggregate::Sum(id) | Aggregate::Avg(id) => {
            let count = present(id).count();
            let average = matches!(aggregate, Aggregate::Avg(_));
            if count == 0 {
                return Answer::Exactly(Value::Null);
            }
            match table.specs[column_of(id)].data_type {
                DataType::Double => sum_doubles(present(id), if average { count as f64 } else { 1.0 }),
                data_type => sum_exactly(present(id), data_type, average.then_some(count)),
            }
        }
    }
}

fn sum_doubles<'a>(values: impl Iterator<Item = &'a Value>, divisor: f64) -> Answer {
    let (mut sum, mut magnitude, mut special) = (0.0, 0.0, 0.0);
    for value in values {
        let Value::Double(double) = value else { unreachable!("a column of doubles") };
        if double.is_finite() {
            sum += double;
            magnitude += double.abs();
        } else {
            special += double;
        }
    }
    if special != 0.0 {
        // A sum that overflows before it meets the other infinity would be NaN.
        return if magnitude.is_finite() {
            Answer::Near { value: special, error: 0.0 }
        } else {
            Answer::Anything
        };
    }
    if !f64::is_finite(magnitude) {
        return Answer::Anything;
    }
    Answer::Near { value: sum / divisor, error: magnitude / divisor * 1e-10 }
}

fn sum_exactly<'a>(
    values: impl Iterator<Item = &'a Value>,
    data_type: DataType,
    average_of: Option<usize>,
) -> Answer {
    let unscaled = values
        .map(|value| match value {
            Value::Integer(integer) => i128::from(*integer),
            Value::Decimal { unscaled, .. } => *unscaled,
            other => unreachable!("{other:?} in a column of {data_type}"),
        })
        .sum::<i128>();
    let scale = if let DataType::Decimal { scale, .. } = data_type { scale } else { 0 };
    match average_of {
        None => Answer::Exactly(Value::Decimal { unscaled, scale }),
        Some(count) => {
            let value = unscaled as f64 / count as f64 / 10_f64.powi(i32::from(scale));
            Answer::Near { value, error: value.abs() * 1e-12 }
        }
    }
}
