//! What a literal is once a statement's clock is known.

use super::time;
use crate::calendar::{MICROS_PER_DAY, add_interval, days_of};
use crate::predicate::Literal;
use crate::value::Value;
use crate::{Error, Result};
use jiff::tz::TimeZone;
use std::borrow::Cow;

/// What a literal stands beside, which decides as what `now()` is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// A DATE or TIMESTAMP: `now()` is what clocks of its zone show.
    Local,
    /// A TIMESTAMPTZ: a day begins at the zone's midnight.
    Instant,
    /// A function: `now()` is a TIMESTAMPTZ, `current_date` a DATE.
    Function,
}

/// The value of a literal when the clock shows `now_micros`.
pub(crate) fn resolve(literal: &Literal, now_micros: i64, beside: Beside) -> Result<Cow<'_, Value>> {
    let (offsets, date, zone) = match literal {
        Literal::Value(value) => return Ok(Cow::Borrowed(value)),
        Literal::Now { offsets, date, zone } => (offsets, *date, zone),
    };
    let zone = match zone {
        None => TimeZone::UTC,
        Some(name) => {
            time::zone_named(name).ok_or_else(|| Error::Invalid(format!("there is no time zone {name:?}")))?
        }
    };
    let beyond = || Error::Invalid("a time computed from now() lies beyond what a timestamp can hold".into());
    let local = |instant| time::to_local(&zone, instant).ok_or_else(beyond);
    if date {
        // A day of the calendar, moved as a time without a zone is.
        let midnight = days_of(local(now_micros)?).checked_mul(MICROS_PER_DAY).ok_or_else(beyond)?;
        let moved = offsets.iter().try_fold(midnight, add_interval).ok_or_else(beyond)?;
        return Ok(Cow::Owned(match beside {
            Beside::Local => Value::Timestamp(moved),
            Beside::Instant => Value::TimestampTz(time::to_instant(&zone, moved).ok_or_else(beyond)?),
            Beside::Function if offsets.is_empty() => Value::Date(days_of(moved) as i32),
            Beside::Function => Value::Timestamp(moved),
        }));
    }
    let mut instant = now_micros;
    for offset in offsets {
        instant = time::moved(&zone, instant, offset).ok_or_else(beyond)?;
    }
    Ok(Cow::Owned(match beside {
        Beside::Local => Value::Timestamp(local(instant)?),
        Beside::Instant | Beside::Function => Value::TimestampTz(instant),
    }))
}
