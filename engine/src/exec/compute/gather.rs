//! Columns of computed values put together and taken apart.

use super::lanes::{Kind, Lane};
use super::numbers::Numbers;
use crate::exec::key_bytes;
use crate::value::Value;
use std::sync::Arc;

/// The place of a row that there is none of.
pub(in crate::exec) const NONE: u32 = u32::MAX;

impl<'a> Lane<'a> {
    /// The values of some rows, in their order; NULL in the place of [`NONE`].
    pub(in crate::exec) fn select(&self, rows: &[u32]) -> Lane<'a> {
        fn of<T: Clone>(values: &[Option<T>], rows: &[u32]) -> Vec<Option<T>> {
            rows.iter().map(|row| values.get(*row as usize).cloned().flatten()).collect()
        }
        match self {
            Lane::Same(value) if *value == Value::Null || !rows.contains(&NONE) => Lane::Same(value.clone()),
            Lane::Exact(kind, numbers) => Lane::Exact(*kind, numbers.select(rows)),
            Lane::Coded(kind, coded) => Lane::Coded(*kind, coded.select(rows)),
            Lane::Double(doubles) => Lane::Double(doubles.select(rows)),
            Lane::Text(texts) => Lane::Text(of(texts, rows)),
            Lane::Truth(truths) => Lane::Truth(of(truths, rows)),
            Lane::Same(_) | Lane::Values(_) => {
                let value = |row: &u32| if *row == NONE { Value::Null } else { self.value(*row as usize) };
                Lane::Values(rows.iter().map(value).collect())
            }
        }
    }

    /// The same with numbers in the place of codes, which loops over numbers know nothing of.
    pub(in crate::exec) fn wide(lane: &Arc<Lane<'a>>) -> Arc<Lane<'a>> {
        match &**lane {
            Lane::Coded(kind, coded) => Arc::new(Lane::Exact(*kind, coded.iter().collect())),
            _ => Arc::clone(lane),
        }
    }

    /// True where two rows have the same value: as keys of groups, of which NULL is one.
    pub(in crate::exec) fn is_same(&self, a: usize, b: usize) -> bool {
        match self {
            Lane::Same(_) => true,
            Lane::Exact(_, numbers) => numbers.get(a) == numbers.get(b),
            Lane::Coded(_, coded) => coded.codes[a] == coded.codes[b],
            Lane::Truth(truths) => truths[a] == truths[b],
            Lane::Text(texts) => texts[a] == texts[b],
            Lane::Double(_) | Lane::Values(_) => bytes_of(&self.value(a)) == bytes_of(&self.value(b)),
        }
    }

    /// True where a row's value equals that of a row of another lane; NULL equals nothing.
    pub(in crate::exec) fn is_equal(&self, row: usize, other: &Lane<'_>, other_row: usize) -> bool {
        match (self, other) {
            (Lane::Exact(kind, numbers), Lane::Exact(other_kind, others)) if kind == other_kind => {
                numbers.get(row).is_some_and(|number| others.get(other_row) == Some(number))
            }
            _ if self.is_null(row) || other.is_null(other_row) => false,
            _ => bytes_of(&self.value(row)) == bytes_of(&other.value(other_row)),
        }
    }

    /// Lanes of so many values each, one after another.
    pub(in crate::exec) fn concat(mut parts: Vec<(Arc<Lane<'a>>, usize)>) -> Arc<Lane<'a>> {
        parts.retain(|(_, count)| *count > 0);
        if parts.len() < 2 {
            return parts.pop().map_or_else(|| Arc::new(Lane::Same(Value::Null)), |(lane, _)| lane);
        }
        parts.iter_mut().for_each(|(lane, _)| *lane = Lane::wide(lane));
        let first = parts.iter().find(|(lane, _)| !matches!(**lane, Lane::Same(Value::Null)));
        let Some((first, _)) = first else { return Arc::new(Lane::Same(Value::Null)) };
        macro_rules! numbers {
            ($part:pat $(if $same:expr)? => $numbers:expr, $variant:expr) => {{
                let mut all = Numbers::default();
                let each = parts.iter().map(|(lane, count)| match &**lane {
                    $part $(if $same)? => Some(all.append($numbers)),
                    Lane::Same(Value::Null) => Some(all.append(&Numbers::none(*count))),
                    _ => None,
                });
                each.collect::<Option<Vec<()>>>().map(|_| $variant(all))
            }};
        }
        macro_rules! joined {
            ($variant:path) => {
                parts
                    .iter()
                    .map(|(lane, count)| match &**lane {
                        $variant(values) => Some(values.clone()),
                        Lane::Same(Value::Null) => Some(vec![None; *count]),
                        _ => None,
                    })
                    .collect::<Option<Vec<_>>>()
                    .map(|all| $variant(all.concat()))
            };
        }
        let joined = match &**first {
            Lane::Exact(kind, _) => {
                numbers!(Lane::Exact(other, some) if other == kind => some, |all| Lane::Exact(*kind, all))
            }
            Lane::Double(_) => numbers!(Lane::Double(some) => some, Lane::Double),
            Lane::Text(_) => joined!(Lane::Text),
            Lane::Truth(_) => joined!(Lane::Truth),
            Lane::Same(_) | Lane::Coded(..) | Lane::Values(_) => None,
        };
        let values = || parts.iter().flat_map(|(lane, count)| (0..*count).map(|i| lane.value(i))).collect();
        Arc::new(joined.unwrap_or_else(|| Lane::Values(values())))
    }

    /// Values of one kind as numbers, where they are.
    pub(in crate::exec) fn of_values(values: Vec<Value>) -> Lane<'static> {
        let kind = values.iter().find(|value| **value != Value::Null).and_then(Kind::of_value);
        let number = |value: &Value| match (value, kind) {
            (Value::Null, _) => Some(None),
            (value, kind) if Kind::of_value(value) == kind => crate::code::encode(value).map(Some),
            _ => None,
        };
        if let Some(kind) = kind
            && let Some(numbers) = values.iter().map(number).collect::<Option<Numbers>>()
        {
            return Lane::Exact(kind, numbers);
        }
        let truth = |value: &Value| match value {
            Value::Null => Some(None),
            Value::Boolean(truth) => Some(Some(*truth)),
            _ => None,
        };
        match values.iter().map(truth).collect::<Option<Vec<_>>>() {
            Some(truths) => Lane::Truth(truths),
            None => Lane::Values(values),
        }
    }
}

fn bytes_of(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    key_bytes(value, &mut bytes);
    bytes
}
