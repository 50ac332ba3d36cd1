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
    let mut sorted: Vec<u32> = (0..rows.len as u32).collect();
    for (_, owned) in rows.owners() {
        let in_order = match numbers.as_slice() {
            // NULLs are less than numbers here, and last in SQL: with one of them it is looked at closely.
            [(values, key)] if !key.descending => {
                let values = &values[owned.clone()];
                values.is_sorted() && (values.first().is_none_or(Option::is_some))
            }
            _ => false,
        };
        let some = &mut sorted[owned];
        if !in_order && !some.is_sorted_by(|a, b| compare(*a, *b).is_le()) {
            some.sort_by(|a, b| compare(*a, *b));
        }
    }
    let mut lanes = rows.lanes.clone();
    for (arguments, (_, call)) in asked.arguments.iter().zip(&asked.outputs) {
        let arguments = arguments.iter().map(|argument| argument.of(&rows.lanes, rows.len));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let arguments: Vec<&Lane<'a>> = arguments.iter().map(|lane| &**lane).collect();
        match answer(rows, &sorted, compare, call.function, &arguments) {
            Some(lane) => lanes.push(Arc::new(lane)),
            None => return Ok(None),
        }
    }
    Ok(Some(Batch { lanes, len: rows.len, segments: rows.segments.clone() }))
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
    sorted: &[u32],
    compare: impl Fn(u32, u32) -> Ordering,
    function: WindowFunction,
    arguments: &[&Lane<'a>],
) -> Option<Lane<'a>> {
    let mut numbers: Vec<Option<i64>> = vec![None; rows.len];
    match (function, arguments) {
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
