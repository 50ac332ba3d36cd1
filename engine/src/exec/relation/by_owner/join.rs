//! Joins of the rows of owners: with others of the same owner, or with rows that are the same for all.

use super::batch::{Batch, selected};
use super::tree::{Formula, Whole};
use crate::control::{Cancel, Held};
use crate::exec::compute::{Lane, NONE};
use crate::exec::key_bytes;
use crate::predicate::JoinKind;
use crate::value::Value;
use crate::{Error, Result};
use hashbrown::HashMap;
use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::super::{LOOK_ROWS, ROWS_VALUES_MAX};

/// Among so many rows of one owner those of equal keys are looked for one by one.
const ROWS_LOOKED_THROUGH: usize = 16;

/// So many pairs are judged together: more would have to be held before most of them go.
const PAIRS_AT_ONCE: usize = 1 << 16;

/// Pairs of rows that belong together: places on the left, ascending, and on the right.
struct Pairs<'l, 'a> {
    left: &'l [Arc<Lane<'a>>],
    right: &'l [Arc<Lane<'a>>],
    condition: Option<&'l Formula>,
    kind: JoinKind,
    lefts: Vec<u32>,
    rights: Vec<u32>,
    /// So many are known to satisfy the condition.
    judged: usize,
    cancel: &'l Cancel,
    held: Held,
}

/// What a value takes in a lane: a number, or a place of a text.
const LANE_VALUE_BYTES: usize = 16;

/// Rows of one owner on both sides, for which other keys are equal too.
pub(super) fn joined<'a>(
    left: &Batch<'a>,
    right: &Batch<'a>,
    kind: JoinKind,
    (others, condition): (&[(Formula, Formula)], Option<&Formula>),
    wanted: &[bool],
    cancel: &Cancel,
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
    let mut pairs = Pairs::new(&left.lanes, &right.lanes, (kind, condition), cancel);
    let mut owners = right.owners().peekable();
    for (half, rows) in left.owners() {
        while owners.next_if(|(other, _)| *other < half).is_some() {}
        let Some((_, others)) = owners.peek().filter(|(other, _)| *other == half) else { continue };
        // One owner may have very many rows: who buys without a name.
        let many = !keys.is_empty() && others.len() > ROWS_LOOKED_THROUGH && rows.len() > ROWS_LOOKED_THROUGH;
        let places = many.then(|| places_of(&keys, others.clone()));
        let mut bytes = Vec::new();
        for row in rows {
            match &places {
                Some(places) => {
                    if key_of(keys.iter().map(|(left, _)| &**left), row, &mut bytes) {
                        pairs.rights.extend(places.get(&bytes).into_iter().flatten());
                    }
                }
                None => {
                    let some = others.clone().map(|other| other as u32);
                    pairs.rights.extend(some.filter(|other| equal(row as u32, *other)));
                }
            }
            pairs.are_of(row)?;
        }
    }
    finish(left, pairs, None, wanted)
}

/// Where rows of one owner are, by the bytes of their keys on the right.
fn places_of<'a>(keys: &[(Arc<Lane<'a>>, Arc<Lane<'a>>)], rows: Range<usize>) -> HashMap<Vec<u8>, Vec<u32>> {
    let (mut places, mut bytes) = (HashMap::<Vec<u8>, Vec<u32>>::new(), Vec::new());
    for row in rows {
        if key_of(keys.iter().map(|(_, right)| &**right), row, &mut bytes) {
            places.entry_ref(bytes.as_slice()).or_default().push(row as u32);
        }
    }
    places
}

/// Puts the bytes of a row's keys in the place of what was there; false where one is NULL, which equals nothing.
fn key_of<'l, 'a: 'l>(mut keys: impl Iterator<Item = &'l Lane<'a>>, row: usize, bytes: &mut Vec<u8>) -> bool {
    bytes.clear();
    keys.all(|key| {
        key_bytes(&key.value(row), bytes);
        !key.is_null(row)
    })
}

/// The rows of owners of whom there is a row on the right, each beside that.
fn beside<'a>(left: &Batch<'a>, right: &Batch<'a>, wanted: &[bool]) -> Batch<'a> {
    let mut rights = Cow::Borrowed(left.numbered());
    let same = left.segments.len() == right.segments.len()
        && left.segments.iter().zip(right.segments.iter()).all(|(a, b)| a.half == b.half);
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
    cancel: &Cancel,
) -> Result<Batch<'a>> {
    let keys = keys.iter().map(|key| key.of(&left.lanes, left.len)).collect::<Result<Vec<_>>>()?;
    let lanes: Vec<Arc<Lane<'a>>> =
        right.lanes.iter().map(|lane| Arc::clone(lane) as Arc<Lane<'a>>).collect();
    let mut pairs = Pairs::new(&left.lanes, &lanes, (kind, condition), cancel);
    let mut bytes = Vec::new();
    for row in 0..left.len {
        if keys.is_empty() {
            pairs.rights.extend(0..right.rows as u32);
        } else if key_of(keys.iter().map(|key| &**key), row, &mut bytes) {
            pairs.rights.extend(right.places.get(&bytes).into_iter().flatten());
        }
        pairs.are_of(row)?;
    }
    // SQL's IN: of nothing FALSE; a miss is unknown beside a NULL on either side.
    let miss = |row: usize| {
        let unknown = right.rows > 0 && (right.has_null || keys.iter().any(|key| key.is_null(row)));
        if unknown { None } else { Some(false) }
    };
    finish(left, pairs, Some(&miss), wanted)
}

impl<'l, 'a> Pairs<'l, 'a> {
    fn new(
        left: &'l [Arc<Lane<'a>>],
        right: &'l [Arc<Lane<'a>>],
        (kind, condition): (JoinKind, Option<&'l Formula>),
        cancel: &'l Cancel,
    ) -> Pairs<'l, 'a> {
        let (lefts, rights, held) = (Vec::new(), Vec::new(), cancel.holder("the pairs of a join"));
        Pairs { left, right, condition, kind, lefts, rights, judged: 0, cancel, held }
    }

    /// The places on the right that were added are of a row on the left.
    fn are_of(&mut self, row: usize) -> Result<()> {
        self.lefts.resize(self.rights.len(), row as u32);
        if self.lefts.len() - self.judged >= PAIRS_AT_ONCE {
            self.judge()?;
        }
        if row.is_multiple_of(LOOK_ROWS) { self.cancel.check() } else { Ok(()) }
    }

    /// Keeps the new pairs of which the condition is TRUE; where it matters only whether there is one, one of each row.
    fn judge(&mut self) -> Result<()> {
        self.cancel.check()?;
        let (lefts, rights) = (self.lefts.split_off(self.judged), self.rights.split_off(self.judged));
        let mut holds = vec![true; lefts.len()];
        if let Some(condition) = self.condition {
            // Only what the condition is of is put side by side.
            let side = |lanes: &[Arc<Lane<'a>>], rows: &[u32], from: usize| {
                let wanted = |at: usize| condition.inputs().contains(&(from + at));
                let lane = |(at, lane): (usize, &Arc<Lane<'a>>)| {
                    Arc::new(if wanted(at) { lane.select(rows) } else { Lane::Same(Value::Null) })
                };
                lanes.iter().enumerate().map(lane).collect::<Vec<_>>()
            };
            let mut both = side(self.left, &lefts, 0);
            both.extend(side(self.right, &rights, self.left.len()));
            let truth = condition.of(&both, lefts.len())?;
            let truths = truth.of_each(lefts.len());
            holds.iter_mut().zip(truths.iter()).for_each(|(holds, truth)| *holds = *truth == Some(true));
        }
        let one_is_enough = matches!(self.kind, JoinKind::Mark(_) | JoinKind::In(_));
        for ((left, right), _) in lefts.iter().zip(&rights).zip(&holds).filter(|(_, holds)| **holds) {
            if !(one_is_enough && self.lefts.last() == Some(left)) {
                self.lefts.push(*left);
                self.rights.push(*right);
            }
        }
        self.judged = self.lefts.len();
        self.held.set((self.lefts.capacity() + self.rights.capacity()) * size_of::<u32>())?;
        if self.judged <= ROWS_VALUES_MAX {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "a join makes more than {ROWS_VALUES_MAX} pairs of the rows of some owners; narrow it by WHERE or ON"
        )))
    }
}

/// What a join makes of its pairs.
fn finish<'a>(
    left: &Batch<'a>,
    mut pairs: Pairs<'_, 'a>,
    miss: Option<&dyn Fn(usize) -> Option<bool>>,
    wanted: &[bool],
) -> Result<Batch<'a>> {
    pairs.judge()?;
    let Pairs { right, kind, mut lefts, mut rights, mut held, .. } = pairs;
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
    held.add(lefts.len() * wanted.iter().filter(|wanted| **wanted).count() * LANE_VALUE_BYTES)?;
    let mut lanes = selected(&left.lanes, &lefts, wanted);
    lanes.extend(selected(right, &rights, &wanted[left.lanes.len()..]));
    Ok(Batch { lanes, len: lefts.len(), segments: Rc::new(left.segments_of(&lefts).into()) })
}
