//! What is made of the rows of a group, one row after another.

use super::{Computed, RowSet, Run, is_true};
use crate::eval::{compare, kind_of};
use crate::exec::sink::Folding;
use crate::predicate::{RowAggregate, RowFunction};
use crate::value::Value;
use crate::{Error, Result};
use std::cmp::Ordering;

/// The most steps of a funnel.
pub const FUNNEL_STEPS_MAX: usize = 32;

/// An aggregate, ready.
pub(super) struct Aggregate {
    function: RowFunction,
    arguments: Vec<Computed>,
    distinct: bool,
    filter: Option<Computed>,
}

/// What an aggregate knows of a group so far.
pub(super) enum State {
    Fold(Folding),
    /// The value to show, and the one that it was chosen by.
    Best(Option<(Value, Value)>),
    Numbers(Vec<f64>),
    /// The times of steps, and which a row is: a bit each.
    Steps(Vec<(i64, u32)>),
}

impl Aggregate {
    pub(super) fn new(run: &Run<'_>, aggregate: &RowAggregate, rows: &RowSet) -> Result<Aggregate> {
        let given = aggregate.arguments.len();
        let fits = match aggregate.function {
            RowFunction::Fold(_) => given <= 1,
            RowFunction::ArgMin | RowFunction::ArgMax => given == 2,
            RowFunction::Median => given == 1,
            RowFunction::Funnel { .. } => (2..=FUNNEL_STEPS_MAX + 1).contains(&given),
        };
        if !fits {
            return Err(Error::Invalid(format!("{:?} does not take {given} values", aggregate.function)));
        }
        Ok(Aggregate {
            function: aggregate.function,
            arguments: run.all_computed(&aggregate.arguments, rows)?,
            distinct: aggregate.distinct,
            filter: aggregate.filter.as_ref().map(|filter| run.computed(filter, rows)).transpose()?,
        })
    }

    pub(super) fn begin(&self) -> State {
        match self.function {
            RowFunction::Fold(function) => State::Fold(Folding::new(function, self.distinct)),
            RowFunction::ArgMin | RowFunction::ArgMax => State::Best(None),
            RowFunction::Median => State::Numbers(Vec::new()),
            RowFunction::Funnel { .. } => State::Steps(Vec::new()),
        }
    }

    pub(super) fn take(&self, state: &mut State, row: &[Value]) -> Result<()> {
        if let Some(filter) = &self.filter
            && !is_true(&filter.of(row)?)
        {
            return Ok(());
        }
        let mut values = self.arguments.iter().map(|argument| argument.of(row));
        match (state, values.next().transpose()?) {
            (State::Fold(folding), None) => folding.take_row(),
            (State::Fold(folding), Some(value)) => folding.take(value)?,
            (State::Best(best), Some(shown)) => {
                let by = values.next().transpose()?.unwrap_or(Value::Null);
                if shown == Value::Null || by == Value::Null {
                    return Ok(());
                }
                let wanted =
                    if self.function == RowFunction::ArgMin { Ordering::Less } else { Ordering::Greater };
                let better = match best {
                    None => true,
                    Some((_, known)) => compare(&by, known)? == Some(wanted),
                };
                if better {
                    *best = Some((shown, by));
                }
            }
            (State::Numbers(_), Some(Value::Null)) => {}
            (State::Numbers(numbers), Some(value)) => numbers.push(double_of(&value)?),
            (State::Steps(steps), Some(time)) => {
                let mut mask = 0;
                for (step, truth) in values.enumerate() {
                    mask |= u32::from(is_true(&truth?)) << step;
                }
                if let (Some(time), true) = (micros_of(&time)?, mask != 0) {
                    steps.push((time, mask));
                }
            }
            (_, None) => {}
        }
        Ok(())
    }

    pub(super) fn value(&self, state: State) -> Result<Value> {
        Ok(match state {
            State::Fold(folding) => folding.value()?,
            State::Best(best) => best.map_or(Value::Null, |(shown, _)| shown),
            State::Numbers(numbers) => median(numbers),
            State::Steps(steps) => {
                let RowFunction::Funnel { micros, strict } = self.function else { return Ok(Value::Null) };
                Value::Integer(funnel(steps, self.arguments.len() - 1, micros, strict))
            }
        })
    }
}

fn double_of(value: &Value) -> Result<f64> {
    Ok(match value {
        Value::Integer(integer) => *integer as f64,
        Value::Decimal { unscaled, scale } => *unscaled as f64 / 10f64.powi(i32::from(*scale)),
        Value::Double(double) => *double,
        other => return Err(Error::Invalid(format!("median takes numbers, not {}", kind_of(other)))),
    })
}

fn micros_of(time: &Value) -> Result<Option<i64>> {
    Ok(match time {
        Value::Null => None,
        Value::Timestamp(micros) | Value::TimestampTz(micros) => Some(*micros),
        Value::Date(days) => i64::from(*days).checked_mul(crate::calendar::MICROS_PER_DAY),
        other => return Err(Error::Invalid(format!("a funnel takes times, not {}", kind_of(other)))),
    })
}

/// Of two in the middle, the mean.
fn median(mut numbers: Vec<f64>) -> Value {
    if numbers.is_empty() {
        return Value::Null;
    }
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    let upper = numbers[middle];
    Value::Double(if numbers.len() % 2 == 1 { upper } else { f64::midpoint(numbers[middle - 1], upper) })
}

/// The most steps that follow each other in time, the last at most `micros` after the first.
///
/// Of all ways to have come to a step, the one that began last is as good as any other: what it allows to follow is more. So one
/// pass in order of time is enough, with the last beginning for each step. A row takes one step only, so a row's later steps are
/// looked at first; where steps are to be later than those before, rows of one time see only what was before it.
pub(super) fn funnel(mut rows: Vec<(i64, u32)>, steps: usize, micros: i64, strict: bool) -> i64 {
    rows.sort_by_key(|(time, _)| *time);
    let mut began: Vec<Option<i64>> = vec![None; steps];
    let mut start = 0;
    while start < rows.len() {
        let time = rows[start].0;
        let same = rows[start..].iter().take_while(|(other, _)| *other == time).count();
        let together = if strict { same } else { 1 };
        // Rows together are one row with all their steps: each sees what was before all of them.
        let mask = rows[start..start + together].iter().fold(0, |all, (_, mask)| all | mask);
        for step in (0..steps).rev().filter(|step| mask >> step & 1 == 1) {
            let beginning = match step.checked_sub(1) {
                None => Some(time),
                Some(before) => began[before].filter(|first| time.saturating_sub(*first) <= micros),
            };
            began[step] = began[step].max(beginning);
        }
        start += together;
    }
    began.iter().rposition(Option::is_some).map_or(0, |step| step as i64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By trying every way: rows for the steps one after another.
    fn tried(
        rows: &[(i64, u32)],
        steps: usize,
        micros: i64,
        strict: bool,
        step: usize,
        chosen: &[usize],
    ) -> usize {
        let mut most = step;
        if step == steps {
            return most;
        }
        for (at, (time, mask)) in rows.iter().enumerate() {
            let follows = chosen.last().is_none_or(|last| {
                let before = rows[*last].0;
                *time > before || (!strict && *time == before && at > *last)
            });
            let within = chosen.first().is_none_or(|first| time - rows[*first].0 <= micros);
            if mask >> step & 1 == 1 && follows && within {
                let chosen: Vec<usize> = chosen.iter().copied().chain([at]).collect();
                most = most.max(tried(rows, steps, micros, strict, step + 1, &chosen));
            }
        }
        most
    }

    proptest! {
        #[test]
        fn a_funnel_is_the_longest_way(
            rows in proptest::collection::vec((0i64..8, 0u32..8), 0..9),
            micros in 0i64..6,
            strict in any::<bool>(),
        ) {
            let expected = tried(&rows, 3, micros, strict, 0, &[]);
            prop_assert_eq!(funnel(rows, 3, micros, strict), expected as i64);
        }
    }

    #[test]
    fn a_median_of_two_is_their_mean() {
        assert_eq!(median(vec![]), Value::Null);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Value::Double(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Value::Double(2.5));
    }
}
