//! What neighbours of one owner say of a row, by lanes.

use super::batch::Batch;
use super::tree::Windowed;
use crate::Result;
use crate::exec::FoldFunction;
use crate::exec::compute::{Kind, Lane, NONE, Numbers};
use crate::predicate::{SortKey, WindowFunction};
use std::cmp::Ordering;
use std::sync::Arc;

/// The same rows with what their neighbours say; `None` where there is no loop for it.
pub(super) fn answered<'a>(rows: &Batch<'a>, asked: &Windowed) -> Result<Option<Batch<'a>>> {
    if !asked.others.is_empty() {
        return Ok(None);
    }
    let keys = asked.keys.iter().map(|key| Ok(Lane::wide(&key.of(&rows.lanes, rows.len)?)));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let mut numbers = Vec::with_capacity(keys.len());
    for (lane, key) in keys.iter().zip(&asked.order) {
        match &**lane {
            Lane::Exact(_, values) => numbers.push((values, key)),
            Lane::Same(_) => {}
            _ => return Ok(None),
        }
    }
    let compare = |a: u32, b: u32| {
        let each =
            numbers.iter().map(|(values, key)| directed(values.get(a as usize), values.get(b as usize), key));
        each.fold(Ordering::Equal, Ordering::then)
    };
    // Rows by owner, in the order of the keys; those that were so stay.
    let begins = rows.begins();
    let in_order = is_in_order(&begins, &numbers);
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
        let arguments = arguments.iter().map(|argument| Ok(Lane::wide(&argument.of(&rows.lanes, rows.len)?)));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let arguments: Vec<&Lane<'a>> = arguments.iter().map(|lane| &**lane).collect();
        match answer(rows, &begins, (in_order, &sorted), compare, call.function, &arguments) {
            Some(lane) => lanes.push(Arc::new(lane)),
            None => return Ok(None),
        }
    }
    Ok(Some(Batch { lanes, len: rows.len, segments: rows.segments.clone() }))
}

/// True where the rows of each owner are in the order of some keys already: those of one ascending number without NULL.
fn is_in_order(begins: &[u32], keys: &[(&Numbers, &SortKey)]) -> bool {
    match keys {
        [] => true,
        [(values, key)] if !key.descending => {
            let mut ordered = values.nulls().is_none();
            for (two, begins) in values.values().windows(2).zip(begins.iter().skip(1)) {
                ordered &= (*begins == 1) | (two[0] <= two[1]);
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
    begins: &[u32],
    (in_order, sorted): (bool, &[u32]),
    compare: impl Fn(u32, u32) -> Ordering,
    function: WindowFunction,
    arguments: &[&Lane<'a>],
) -> Option<Lane<'a>> {
    let mut numbers = vec![0i64; rows.len];
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
            // How many rows of the owner came before; without a branch, as owners begin where nobody foresees it.
            let mut before = 0u32;
            let other = |(row, begins): (u32, &u32)| {
                before = before.wrapping_add(1) & begins.wrapping_sub(1);
                row.wrapping_sub(by) | u32::from(before < by).wrapping_neg()
            };
            let others: Vec<u32> = (0..).zip(begins).map(other).collect();
            return Some(lane.select(&others));
        }
        (WindowFunction::RowNumber, _) if in_order => {
            let mut number = 0;
            for (row, begins) in numbers.iter_mut().zip(begins) {
                number = (number & (i64::from(*begins) - 1)) + 1;
                *row = number;
            }
        }
        (WindowFunction::RowNumber, _) => {
            for (_, owned) in rows.owners() {
                (1..).zip(&sorted[owned]).for_each(|(number, row)| numbers[*row as usize] = number);
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
                    numbers[*row as usize] = if function == WindowFunction::Rank { rank } else { dense };
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
                numbers[owned].fill(count);
            }
        }
        (
            WindowFunction::Fold(function @ (FoldFunction::Min | FoldFunction::Max)),
            [Lane::Exact(kind, values)],
        ) => {
            let mut all = Vec::with_capacity(rows.len);
            for (_, owned) in rows.owners() {
                let some = owned.clone().filter_map(|row| values.get(row));
                let best = if function == FoldFunction::Min { some.min() } else { some.max() };
                all.resize(owned.end, best);
            }
            return Some(Lane::Exact(*kind, all.into_iter().collect()));
        }
        _ => return None,
    }
    Some(Lane::Exact(Kind::Integer, numbers.into()))
}
