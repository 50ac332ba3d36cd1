//! Frames: which neighbours of a row a window function is of.
//!
//! A frame is a range of places in the order of the neighbours. Mostly it begins where that of the row before began and ends later, as sums up to
//! a row do: an aggregate then goes on from there. Any other is folded anew: rows × the length of a frame.

use super::window::Neighbours;
use super::{Computed, Order, RowSet, Run};
use crate::exec::FoldFunction;
use crate::exec::sink::Folding;
use crate::predicate::{Frame, FrameBound, FrameOffset, FrameUnit};
use crate::value::Value;
use crate::{Error, Result};
use std::cmp::Ordering;
use std::ops::Range;

/// A frame, ready.
pub(super) struct Framed {
    frame: Frame,
    /// The values at which it begins and ends, where these are computed.
    start: Option<Computed>,
    end: Option<Computed>,
}

/// Where the neighbours that are equal in order begin, and where the last ones end.
struct Peers {
    /// One more than there are groups.
    starts: Vec<usize>,
    /// The group of each neighbour.
    of: Vec<usize>,
}

impl Run<'_> {
    /// A frame over rows.
    pub(super) fn framed(&self, frame: &Frame, rows: &RowSet) -> Result<Framed> {
        let computed = |bound: &FrameBound| match bound {
            FrameBound::Before(FrameOffset::Value(expr)) | FrameBound::After(FrameOffset::Value(expr)) => {
                self.computed(expr, rows).map(Some)
            }
            _ => Ok(None),
        };
        let (start, end) = (computed(&frame.start)?, computed(&frame.end)?);
        let counts = |bound: &FrameBound| {
            matches!(
                bound,
                FrameBound::Before(FrameOffset::Count(_)) | FrameBound::After(FrameOffset::Count(_))
            )
        };
        let is_range = frame.unit == FrameUnit::Range;
        let fits = if is_range {
            !counts(&frame.start) && !counts(&frame.end)
        } else {
            start.is_none() && end.is_none()
        };
        if !fits {
            return Err(Error::Invalid("a frame counts rows or values: this condition is damaged".into()));
        }
        Ok(Framed { frame: frame.clone(), start, end })
    }

    /// The frame of each neighbour, by their places; all of them where there is none.
    pub(super) fn frames(
        &self,
        framed: Option<&Framed>,
        rows: &RowSet,
        order: &Order,
        neighbours: &Neighbours,
    ) -> Result<Vec<Range<usize>>> {
        let all = neighbours.len();
        let Some(framed) = framed else { return Ok(vec![0..all; all]) };
        let peers = Peers::of(order, neighbours);
        let mut frames = Vec::with_capacity(all);
        for (at, (_, place)) in neighbours.iter().enumerate() {
            self.look(at)?;
            let row = rows.row(*place);
            let start = framed.start.as_ref().map(|computed| computed.of(row)).transpose()?;
            let end = framed.end.as_ref().map(|computed| computed.of(row)).transpose()?;
            let unit = framed.frame.unit;
            let start = begins(unit, &framed.frame.start, at, &peers, order, neighbours, start);
            let end = ends(unit, &framed.frame.end, at, &peers, order, neighbours, end);
            frames.push(start.min(end)..end);
        }
        Ok(frames)
    }

    /// An aggregate of each frame.
    pub(super) fn folded(
        &self,
        function: FoldFunction,
        argument: Option<&Computed>,
        rows: &RowSet,
        neighbours: &Neighbours,
        frames: &[Range<usize>],
        answer: &mut [Value],
    ) -> Result<()> {
        let mut folding = Folding::new(function, false);
        let (mut done, mut taken) = (0..0, 0_usize);
        let mut value = folding.so_far()?;
        for (frame, (_, place)) in frames.iter().zip(neighbours) {
            if frame.start != done.start || frame.end < done.end {
                folding = Folding::new(function, false);
                done = frame.start..frame.start;
                value = folding.so_far()?;
            }
            if frame.end > done.end {
                for (_, other) in &neighbours[done.end..frame.end] {
                    taken += 1;
                    self.look(taken)?;
                    match argument {
                        None => folding.take_row(),
                        Some(argument) => _ = folding.take(argument.of(rows.row(*other))?)?,
                    }
                }
                value = folding.so_far()?;
                done.end = frame.end;
            }
            answer[*place] = value.clone();
        }
        Ok(())
    }
}

fn begins(
    unit: FrameUnit,
    bound: &FrameBound,
    at: usize,
    peers: &Peers,
    order: &Order,
    neighbours: &Neighbours,
    value: Option<Value>,
) -> usize {
    match (bound, unit) {
        (FrameBound::First, _) => 0,
        (FrameBound::Last, _) => neighbours.len(),
        (FrameBound::Current, FrameUnit::Rows) => at,
        (FrameBound::Current, _) => peers.starts[peers.of[at]],
        (FrameBound::Before(FrameOffset::Count(count)), FrameUnit::Groups) => {
            peers.starts[peers.of[at].saturating_sub(*count as usize)]
        }
        (FrameBound::After(FrameOffset::Count(count)), FrameUnit::Groups) => {
            let group = peers.of[at].saturating_add(*count as usize);
            peers.starts[group.min(peers.starts.len() - 1)]
        }
        (FrameBound::Before(FrameOffset::Count(count)), _) => at.saturating_sub(*count as usize),
        (FrameBound::After(FrameOffset::Count(count)), _) => {
            at.saturating_add(*count as usize).min(neighbours.len())
        }
        (FrameBound::Before(FrameOffset::Value(_)) | FrameBound::After(FrameOffset::Value(_)), _) => {
            match searched(neighbours, order, at, value, |found| found == Ordering::Less) {
                Some(place) => place,
                None => peers.starts[peers.of[at]],
            }
        }
    }
}

fn ends(
    unit: FrameUnit,
    bound: &FrameBound,
    at: usize,
    peers: &Peers,
    order: &Order,
    neighbours: &Neighbours,
    value: Option<Value>,
) -> usize {
    match (bound, unit) {
        (FrameBound::First, _) => 0,
        (FrameBound::Last, _) => neighbours.len(),
        (FrameBound::Current, FrameUnit::Rows) => at + 1,
        (FrameBound::Current, _) => peers.starts[peers.of[at] + 1],
        (FrameBound::Before(FrameOffset::Count(count)), FrameUnit::Groups) => {
            peers.of[at].checked_sub(*count as usize).map_or(0, |group| peers.starts[group + 1])
        }
        (FrameBound::After(FrameOffset::Count(count)), FrameUnit::Groups) => {
            let group = peers.of[at].saturating_add(*count as usize).saturating_add(1);
            peers.starts[group.min(peers.starts.len() - 1)]
        }
        (FrameBound::Before(FrameOffset::Count(count)), _) => (at + 1).saturating_sub(*count as usize),
        (FrameBound::After(FrameOffset::Count(count)), _) => {
            (at + 1).saturating_add(*count as usize).min(neighbours.len())
        }
        (FrameBound::Before(FrameOffset::Value(_)) | FrameBound::After(FrameOffset::Value(_)), _) => {
            match searched(neighbours, order, at, value, |found| found != Ordering::Greater) {
                Some(place) => place,
                None => peers.starts[peers.of[at] + 1],
            }
        }
    }
}

/// The first place among the values that order, NULLs apart, which is not so in relation to a value; `None` for a row whose own value is NULL.
fn searched(
    neighbours: &Neighbours,
    order: &Order,
    at: usize,
    value: Option<Value>,
    is_before: impl Fn(Ordering) -> bool,
) -> Option<usize> {
    let is_null =
        |(values, _): &(Vec<Value>, usize)| values.first().is_none_or(|value| *value == Value::Null);
    let value = [value.filter(|value| *value != Value::Null)?];
    if is_null(&neighbours[at]) {
        return None;
    }
    // NULLs are all at one end.
    let nulls_first = neighbours.first().is_some_and(is_null);
    let known = if nulls_first {
        neighbours.partition_point(is_null)..neighbours.len()
    } else {
        0..neighbours.partition_point(|one| !is_null(one))
    };
    let found =
        neighbours[known.clone()].partition_point(|(values, _)| is_before(order.compare(values, &value)));
    Some(known.start + found)
}

impl Peers {
    fn of(order: &Order, neighbours: &Neighbours) -> Peers {
        let (mut starts, mut of) = (Vec::new(), Vec::with_capacity(neighbours.len()));
        for (at, (values, _)) in neighbours.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|before| neighbours.get(before));
            if before.is_none_or(|(before, _)| order.compare(before, values) != Ordering::Equal) {
                starts.push(at);
            }
            of.push(starts.len() - 1);
        }
        starts.push(neighbours.len());
        Peers { starts, of }
    }
}
