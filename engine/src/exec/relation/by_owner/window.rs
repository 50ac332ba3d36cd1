//! What neighbours of one owner say of a row, by lanes.

use super::batch::Batch;
use super::tree::Windowed;
use crate::Result;
use crate::exec::FoldFunction;
use crate::exec::compute::{Kind, Lane, NONE};
use crate::predicate::{SortKey, WindowFunction};
use std::cmp::Ordering;
use std::sync::Arc;

/// The same rows with what their neighbours say; `None` where there is no loop for it.
pub(super) fn answered<'a>(rows: &Batch<'a>, asked: &Windowed) -> Result<Option<Batch<'a>>> {
    if !asked.others.is_empty() {
        return Ok(None);
    }
    let keys = asked.keys.iter().map(|key| key.of(&rows.lanes, rows.len)).collect::<Result<Vec<_>>>()?;
    let mut numbers = Vec::with_capacity(keys.len());
    for (lane, key) in keys.iter().zip(&asked.order) {
        match &**lane {
            Lane::Exact(_, values) => numbers.push((values.as_slice(), key)),
            Lane::Same(_) => {}
            _ => return Ok(None),
        }
    }
    let compare = |a: u32, b: u32| {
        let each = numbers.iter().map(|(values, key)| directed(values[a as usize], values[b as usize], key));
        each.fold(Ordering::Equal, Ordering::then)
    };
    // Rows by owner, in the order of the keys; those that were so stay.
    let in_order = is_in_order(rows, &numbers);
    let mut sorted: Vec<u32> = Vec::new();
    if !in_order {
        sorted.extend(0..rows.len as u32);
        for (_, owned) in rows.owners() {
            sorted[owned].sort_by(|a, b| compare(*a, *b));
        }
    }
    let mut lanes = rows.lanes.clone();
    for (arguments, (_, call)) in asked.arguments.iter().zip(&asked.outputs) {
        if call.frame.is_some() {
            return Ok(None);
        }
        let arguments = arguments.iter().map(|argument| argument.of(&rows.lanes, rows.len));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let arguments: Vec<&Lane<'a>> = arguments.iter().map(|lane| &**lane).collect();
        match answer(rows, (in_order, &sorted), compare, call.function, &arguments) {
            Some(lane) => lanes.push(Arc::new(lane)),
            None => return Ok(None),
        }
    }
    Ok(Some(Batch { lanes, len: rows.len, segments: rows.segments.clone() }))
}

/// True where the rows of each owner are in the order of some keys already: those of one ascending number without NULL.
fn is_in_order(rows: &Batch<'_>, keys: &[(&[Option<i64>], &SortKey)]) -> bool {
    match keys {
        [] => true,
        [(values, key)] if !key.descending => {
            let (mut ordered, mut before) = (true, i64::MIN);
            for (value, begins) in values.iter().zip(&rows.begins()) {
                let number = value.unwrap_or(i64::MIN);
                ordered &= value.is_some() & ((*begins == 1) | (before <= number));
                before = number;
            }
            ordered
        }
        _ => false,
    }
}

fn directed(a: Option<i64>, b: Option<i64>, key: &SortKey) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if key.descending => b.cmp(&a),
        (Some(a), Some(b)) => a.cmp(&b),
        (None, None) => Ordering::Equal,
        (None, Some(_)) if key.nulls_first => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) if key.nulls_first => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
    }
}

fn answer<'a>(
    rows: &Batch<'a>,
    (in_order, sorted): (bool, &[u32]),
    compare: impl Fn(u32, u32) -> Ordering,
    function: WindowFunction,
    arguments: &[&Lane<'a>],
) -> Option<Lane<'a>> {
    let mut numbers: Vec<Option<i64>> = vec![None; rows.len];
    let all: Vec<u32>;
    let needs_list =
        !matches!(function, WindowFunction::RowNumber | WindowFunction::Lag(_) | WindowFunction::Fold(_));
    let sorted = if in_order && needs_list {
        all = (0..rows.len as u32).collect();
        all.as_slice()
    } else {
        sorted
    };
    match (function, arguments) {
        (WindowFunction::Lag(by), [lane]) if in_order => {
            // How many rows of the owner came before.
            let mut before = u32::MAX;
            let other = |(row, begins): (u32, &u32)| {
                before = if *begins == 1 { 0 } else { before + 1 };
                if before >= by { row - by } else { NONE }
            };
            let others: Vec<u32> = (0..).zip(&rows.begins()).map(other).collect();
            return Some(lane.select(&others));
        }
        (WindowFunction::RowNumber, _) if in_order => {
            let mut number = 0;
            for (row, begins) in numbers.iter_mut().zip(&rows.begins()) {
                number = if *begins == 1 { 1 } else { number + 1 };
                *row = Some(number);
            }
        }
        (WindowFunction::RowNumber, _) => {
            for (_, owned) in rows.owners() {
                (1..).zip(&sorted[owned]).for_each(|(number, row)| numbers[*row as usize] = Some(number));
            }
        }
        (WindowFunction::Rank | WindowFunction::DenseRank, _) => {
            for (_, owned) in rows.owners() {
                let (mut rank, mut dense, mut before) = (0, 0, None);
                for (at, row) in (1..).zip(&sorted[owned]) {
                    if before.is_none_or(|before| compare(before, *row).is_ne()) {
                        (rank, dense) = (at, dense + 1);
                    }
                    before = Some(*row);
                    numbers[*row as usize] =
                        Some(if function == WindowFunction::Rank { rank } else { dense });
                }
            }
        }
        (WindowFunction::Lag(by) | WindowFunction::Lead(by), [lane]) => {
            let mut others = vec![NONE; rows.len];
            for (_, owned) in rows.owners() {
                let here = &sorted[owned];
                let by = by as usize;
                for (at, row) in here.iter().enumerate() {
                    let other = match function {
                        WindowFunction::Lag(_) => at.checked_sub(by),
                        _ => at.checked_add(by),
                    };
                    others[*row as usize] = other.and_then(|other| here.get(other)).copied().unwrap_or(NONE);
                }
            }
            return Some(lane.select(&others));
        }
        (WindowFunction::Fold(FoldFunction::Count), []) => {
            for (_, owned) in rows.owners() {
                let count = owned.len() as i64;
                numbers[owned].fill(Some(count));
            }
        }
        (
            WindowFunction::Fold(function @ (FoldFunction::Min | FoldFunction::Max)),
            [Lane::Exact(kind, values)],
        ) => {
            for (_, owned) in rows.owners() {
                let some = values[owned.clone()].iter().flatten();
                let best = if function == FoldFunction::Min { some.min() } else { some.max() };
                numbers[owned].fill(best.copied());
            }
            return Some(Lane::Exact(*kind, numbers));
        }
        _ => return None,
    }
    Some(Lane::Exact(Kind::Integer, numbers))
}
