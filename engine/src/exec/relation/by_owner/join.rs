//! Joins of the rows of owners: with others of the same owner, or with rows that are the same for all.

use super::batch::{Batch, selected};
use super::tree::{Formula, Whole};
use crate::exec::compute::{Lane, NONE};
use crate::exec::key_bytes;
use crate::predicate::JoinKind;
use crate::{Error, Result};
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::super::ROWS_VALUES_MAX;

/// So many pairs of one owner's rows are compared one by one.
const PAIRS_LOOKED_THROUGH: usize = 1 << 12;

/// Pairs of rows that may belong together: places on the left, ascending, and on the right.
type Pairs = (Vec<u32>, Vec<u32>);

/// Rows of one owner on both sides, for which other keys are equal too.
pub(super) fn joined<'a>(
    left: &Batch<'a>,
    right: &Batch<'a>,
    kind: JoinKind,
    (others, condition): (&[(Formula, Formula)], Option<&Formula>),
    wanted: &[bool],
) -> Result<Batch<'a>> {
    // A row for each owner on the right, and nothing else to compare: where an owner's rows are is known without a look at them.
    if others.is_empty()
        && condition.is_none()
        && kind == JoinKind::Inner
        && right.len == right.segments.len()
    {
        return Ok(beside(left, right, wanted));
    }
    let keys = others.iter().map(|(a, b)| Ok((a.of(&left.lanes, left.len)?, b.of(&right.lanes, right.len)?)));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let equal =
        |a: u32, b: u32| keys.iter().all(|(left, right)| left.is_equal(a as usize, right, b as usize));
    let (mut lefts, mut rights): Pairs = (Vec::new(), Vec::new());
    let mut owners = right.owners().peekable();
    for (half, rows) in left.owners() {
        while owners.next_if(|(other, _)| *other < half).is_some() {}
        let Some((_, others)) = owners.peek().filter(|(other, _)| *other == half) else { continue };
        if !keys.is_empty() && rows.len() * others.len() > PAIRS_LOOKED_THROUGH {
            pair_by_keys(&keys, rows, others.clone(), (&mut lefts, &mut rights))?;
            continue;
        }
        for row in rows {
            let some = others.clone().map(|other| other as u32).filter(|other| equal(row as u32, *other));
            rights.extend(some);
            lefts.resize(rights.len(), row as u32);
        }
        check_pairs(lefts.len())?;
    }
    finish(left, &right.lanes, (lefts, rights), (kind, condition), None, wanted)
}

/// Appends the pairs of an owner with many rows: those on the right are found by the bytes of their keys.
fn pair_by_keys(
    keys: &[(Arc<Lane<'_>>, Arc<Lane<'_>>)],
    rows: Range<usize>,
    others: Range<usize>,
    (lefts, rights): (&mut Vec<u32>, &mut Vec<u32>),
) -> Result<()> {
    let mut places: HashMap<Vec<u8>, Vec<u32>> = HashMap::new();
    let mut bytes = Vec::new();
    for other in others.filter(|other| keys.iter().all(|(_, right)| !right.is_null(*other))) {
        bytes.clear();
        keys.iter().for_each(|(_, right)| key_bytes(&right.value(other), &mut bytes));
        places.entry_ref(bytes.as_slice()).or_default().push(other as u32);
    }
    for row in rows.filter(|row| keys.iter().all(|(left, _)| !left.is_null(*row))) {
        bytes.clear();
        keys.iter().for_each(|(left, _)| key_bytes(&left.value(row), &mut bytes));
        rights.extend(places.get(&bytes).into_iter().flatten());
        lefts.resize(rights.len(), row as u32);
        check_pairs(lefts.len())?;
    }
    Ok(())
}

/// The rows of owners of whom there is a row on the right, each beside that.
fn beside<'a>(left: &Batch<'a>, right: &Batch<'a>, wanted: &[bool]) -> Batch<'a> {
    let mut rights = left.numbered();
    let same = left.segments.len() == right.segments.len()
        && left.segments.iter().zip(&right.segments).all(|(a, b)| a.half == b.half);
    let mut kept = Batch { lanes: left.lanes.clone(), len: left.len, segments: left.segments.clone() };
    if !same {
        let (mut place, mut rows) = (0, Vec::with_capacity(left.len));
        let places = left.segments.iter().map(|owner| {
            place += right.segments[place..].partition_point(|other| other.half < owner.half);
            right.segments.get(place).filter(|other| other.half == owner.half).map_or(NONE, |_| place as u32)
        });
        let places: Vec<u32> = places.collect();
        rows.extend((0..left.len as u32).filter(|row| places[rights[*row as usize] as usize] != NONE));
        rights = rows.iter().map(|row| places[rights[*row as usize] as usize]).collect();
        kept = kept.retained(&rows, wanted);
    }
    kept.lanes.extend(selected(&right.lanes, &rights, &wanted[left.lanes.len()..]));
    kept
}

/// Rows with those of the same keys among some that are the same for all owners.
pub(super) fn looked_up<'a>(
    left: &Batch<'a>,
    right: &Whole,
    kind: JoinKind,
    (keys, condition): (&[Formula], Option<&Formula>),
    wanted: &[bool],
) -> Result<Batch<'a>> {
    let keys = keys.iter().map(|key| key.of(&left.lanes, left.len)).collect::<Result<Vec<_>>>()?;
    let (mut lefts, mut rights): Pairs = (Vec::new(), Vec::new());
    let mut bytes = Vec::new();
    for row in 0..left.len {
        if keys.is_empty() {
            rights.extend(0..right.rows as u32);
        } else if keys.iter().all(|key| !key.is_null(row)) {
            bytes.clear();
            keys.iter().for_each(|key| key_bytes(&key.value(row), &mut bytes));
            rights.extend(right.places.get(&bytes).into_iter().flatten());
        }
        lefts.resize(rights.len(), row as u32);
        check_pairs(lefts.len())?;
    }
    let lanes: Vec<Arc<Lane<'a>>> =
        right.lanes.iter().map(|lane| Arc::clone(lane) as Arc<Lane<'a>>).collect();
    // SQL's IN: of nothing FALSE; a miss is unknown beside a NULL on either side.
    let miss = |row: usize| {
        let unknown = right.rows > 0 && (right.has_null || keys.iter().any(|key| key.is_null(row)));
        if unknown { None } else { Some(false) }
    };
    finish(left, &lanes, (lefts, rights), (kind, condition), Some(&miss), wanted)
}

fn check_pairs(pairs: usize) -> Result<()> {
    if pairs <= ROWS_VALUES_MAX {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "a join makes more than {ROWS_VALUES_MAX} pairs of the rows of some owners; narrow it by WHERE or ON"
    )))
}

/// What a join makes of its pairs.
fn finish<'a>(
    left: &Batch<'a>,
    right: &[Arc<Lane<'a>>],
    (mut lefts, mut rights): Pairs,
    (kind, condition): (JoinKind, Option<&Formula>),
    miss: Option<&dyn Fn(usize) -> Option<bool>>,
    wanted: &[bool],
) -> Result<Batch<'a>> {
    if let Some(condition) = condition {
        // Only what the condition is of is put side by side.
        let side = |lanes: &[Arc<Lane<'a>>], rows: &[u32], from: usize| {
            let wanted = |at: usize| condition.inputs().contains(&(from + at));
            let lane = |(at, lane): (usize, &Arc<Lane<'a>>)| {
                if wanted(at) {
                    Arc::new(lane.select(rows))
                } else {
                    Arc::new(Lane::Same(crate::value::Value::Null))
                }
            };
            lanes.iter().enumerate().map(lane).collect::<Vec<_>>()
        };
        let mut both = side(&left.lanes, &lefts, 0);
        both.extend(side(right, &rights, left.lanes.len()));
        let truth = condition.of(&both, lefts.len())?;
        let truths = truth.of_each(lefts.len());
        let mut holds = truths.iter().map(|truth| *truth == Some(true));
        lefts.retain(|_| holds.next() == Some(true));
        let mut holds = truths.iter().map(|truth| *truth == Some(true));
        rights.retain(|_| holds.next() == Some(true));
    }
    if kind == JoinKind::Single && lefts.windows(2).any(|two| two[0] == two[1]) {
        return Err(super::super::join::several());
    }
    match kind {
        JoinKind::Mark(_) | JoinKind::In(_) => {
            let miss = |row| {
                if matches!(kind, JoinKind::In(_)) {
                    miss.map_or(Some(false), |miss| miss(row))
                } else {
                    Some(false)
                }
            };
            let mut truths: Vec<Option<bool>> = (0..left.len).map(miss).collect();
            lefts.iter().for_each(|row| truths[*row as usize] = Some(true));
            let mut lanes = left.lanes.clone();
            lanes.push(Arc::new(Lane::Truth(truths)));
            return Ok(Batch { lanes, len: left.len, segments: left.segments.clone() });
        }
        JoinKind::Left | JoinKind::Single => {
            let (mut all_lefts, mut all_rights) =
                (Vec::with_capacity(left.len), Vec::with_capacity(left.len));
            let mut pairs = lefts.iter().zip(&rights).peekable();
            for row in 0..left.len as u32 {
                let before = all_lefts.len();
                while let Some((_, other)) = pairs.next_if(|(left, _)| **left == row) {
                    all_lefts.push(row);
                    all_rights.push(*other);
                }
                if all_lefts.len() == before {
                    all_lefts.push(row);
                    all_rights.push(NONE);
                }
            }
            (lefts, rights) = (all_lefts, all_rights);
        }
        // A right row without a pair is seen by whole relations only.
        JoinKind::Inner | JoinKind::Full => {}
    }
    let mut lanes = selected(&left.lanes, &lefts, wanted);
    lanes.extend(selected(right, &rights, &wanted[left.lanes.len()..]));
    Ok(Batch { lanes, len: lefts.len(), segments: left.segments_of(&lefts) })
}
