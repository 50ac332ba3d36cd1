//! Frames of windows: `ROWS BETWEEN 2 PRECEDING AND CURRENT ROW`, and what a window without one has.

use super::reading::Reading;
use crate::bind::value::Typed;
use crate::bind::{Names, type_error};
use crate::constant::Operator;
use crate::error::{Error, QueryErrorKind, Result};
use crate::statement::{Key, Order, Over, OverBound, OverFrame, Term};
use muster_engine::predicate::{Frame, FrameBound, FrameOffset, FrameUnit};
use muster_engine::schema::DataType;

/// The frame of a window; `None` is the whole partition. As SQL has it, a window in an order and without a frame goes up to the rows
/// that are equal in order.
pub(super) fn frame(reading: &mut Reading<'_>, names: &Names<'_>, over: &Over) -> Result<Option<Frame>> {
    let Some(frame) = &over.frame else {
        let default = Frame { unit: FrameUnit::Range, start: FrameBound::First, end: FrameBound::Current };
        return Ok((!over.order.is_empty()).then_some(default));
    };
    if place(&frame.start) > place(&frame.end)
        || matches!(frame.start, OverBound::Last)
        || matches!(frame.end, OverBound::First)
    {
        let message = "a frame begins before it ends";
        return Err(Error::query(QueryErrorKind::Syntax, frame.span, message)
            .advise("write BETWEEN 2 PRECEDING AND CURRENT ROW"));
    }
    if frame.unit == FrameUnit::Groups && over.order.is_empty() {
        return Err(type_error(frame.span, "GROUPS counts rows that are equal in order: write ORDER BY"));
    }
    let start = bound(reading, names, over, frame, &frame.start)?;
    let end = bound(reading, names, over, frame, &frame.end)?;
    Ok(Some(Frame { unit: frame.unit, start, end }))
}

fn place(bound: &OverBound) -> u8 {
    match bound {
        OverBound::First => 0,
        OverBound::Before(_) => 1,
        OverBound::Current => 2,
        OverBound::After(_) => 3,
        OverBound::Last => 4,
    }
}

fn bound(
    reading: &mut Reading<'_>,
    names: &Names<'_>,
    over: &Over,
    frame: &OverFrame,
    bound: &OverBound,
) -> Result<FrameBound> {
    Ok(match bound {
        OverBound::First => FrameBound::First,
        OverBound::Before(term) => FrameBound::Before(offset(reading, names, over, frame, (term, true))?),
        OverBound::Current => FrameBound::Current,
        OverBound::After(term) => FrameBound::After(offset(reading, names, over, frame, (term, false))?),
        OverBound::Last => FrameBound::Last,
    })
}

/// How far an end of a frame is; true where it is before the row.
fn offset(
    reading: &mut Reading<'_>,
    names: &Names<'_>,
    over: &Over,
    frame: &OverFrame,
    (term, is_before): (&Term, bool),
) -> Result<FrameOffset> {
    let by = names.value(term, reading)?;
    if frame.unit != FrameUnit::Range {
        let count = by.whole_number().and_then(|count| u32::try_from(count).ok());
        return count
            .map(FrameOffset::Count)
            .ok_or_else(|| type_error(by.span, "expected a constant whole number of rows from 0"));
    }
    let is_forward = match by.interval() {
        Some(interval) => interval.months >= 0 && interval.days >= 0 && interval.micros >= 0,
        None => by.constant_number().is_some_and(|number| number >= 0.0),
    };
    if !is_forward {
        return Err(type_error(by.span, "expected a constant number or INTERVAL that is not negative"));
    }
    let [Order { key: Key::Term(key), descending, .. }] = over.order.as_slice() else {
        return Err(type_error(frame.span, "RANGE with a distance takes one value in ORDER BY"));
    };
    let key: Typed = names.value(key, reading)?;
    let data_type = key.known_type();
    if !(data_type.is_number() || data_type.is_time()) || data_type == DataType::TextArray {
        return Err(type_error(key.span, format!("there is no distance between values of {data_type}")));
    }
    // Before in a falling order is above.
    let operator = if is_before == *descending { Operator::Plus } else { Operator::Minus };
    Ok(FrameOffset::Value(names.operator(operator, key, by, term.span)?.expr))
}
