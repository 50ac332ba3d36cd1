//! What is made of the rows of a group, one row after another.

use super::funnel::{Stepped, consecutive, funnel, window_funnel};
use super::{Computed, RowSet, Run, bytes_of, is_true, sequence};
use crate::control::{allocation, value_bytes};
use crate::eval::{compare, kind_of};
use crate::exec::sink::Folding;
use crate::expr::Expr;
use crate::predicate::{
    FunnelModes, Literal, PATTERN_CONDITIONS_MAX, RowAggregate, RowFunction, SequencePattern,
};
use crate::value::Value;
use crate::{Error, Result};
use std::cmp::Ordering;
use std::collections::HashSet;

/// The most steps of a funnel.
pub const FUNNEL_STEPS_MAX: usize = 32;

/// An aggregate, ready.
pub(super) struct Aggregate {
    function: RowFunction,
    arguments: Vec<Computed>,
    distinct: bool,
    filter: Option<Computed>,
    fixed: Fixed,
}

/// What an aggregate takes that is the same for every row.
enum Fixed {
    Nothing,
    Pattern(SequencePattern),
    Fraction(f64),
}

/// What an aggregate knows of a group so far.
pub(super) enum State {
    Fold(Folding),
    /// The value to show, and the one that it was chosen by.
    Best(Option<(Value, Value)>),
    Numbers(Vec<f64>),
    /// The times of rows, and which steps or conditions each is.
    Steps(Vec<Stepped>),
    Values(Vec<Value>),
    /// The bytes of values.
    Distinct(HashSet<Vec<u8>>),
}

impl Aggregate {
    pub(super) fn new(run: &Run<'_>, aggregate: &RowAggregate, rows: &RowSet) -> Result<Aggregate> {
        let given = aggregate.arguments.len();
        let fits = match aggregate.function {
            RowFunction::Fold(_) => given <= 1,
            RowFunction::ArgMin | RowFunction::ArgMax => given == 2,
            RowFunction::Median | RowFunction::Mode { .. } => given == 1,
            RowFunction::QuantileCont | RowFunction::QuantileDisc { .. } => given == 2,
            RowFunction::CountDistinct => given > 0,
            RowFunction::Funnel { .. }
            | RowFunction::WindowFunnel { .. }
            | RowFunction::Consecutive { .. } => (2..=FUNNEL_STEPS_MAX + 1).contains(&given),
            RowFunction::Sequence { .. } => (3..=PATTERN_CONDITIONS_MAX + 2).contains(&given),
        };
        if !fits {
            return Err(Error::Invalid(format!("{:?} does not take {given} values", aggregate.function)));
        }
        let mut arguments = aggregate.arguments.as_slice();
        let fixed = match aggregate.function {
            RowFunction::Sequence { .. } => {
                let Value::Text(text) = constant(arguments.first())? else {
                    return Err(Error::Invalid("a pattern is a text: this condition is damaged".into()));
                };
                arguments = &arguments[1..];
                Fixed::Pattern(SequencePattern::parse(text, arguments.len() - 1).map_err(Error::Invalid)?)
            }
            RowFunction::QuantileCont | RowFunction::QuantileDisc { .. } => {
                let fraction = fraction_of(constant(arguments.get(1))?)?;
                arguments = &arguments[..1];
                Fixed::Fraction(fraction)
            }
            _ => Fixed::Nothing,
        };
        Ok(Aggregate {
            function: aggregate.function,
            fixed,
            arguments: run.all_computed(arguments, rows)?,
            distinct: aggregate.distinct,
            filter: aggregate.filter.as_ref().map(|filter| run.computed(filter, rows)).transpose()?,
        })
    }

    pub(super) fn begin(&self) -> State {
        match self.function {
            RowFunction::Fold(function) => State::Fold(Folding::new(function, self.distinct)),
            RowFunction::ArgMin | RowFunction::ArgMax => State::Best(None),
            RowFunction::Median | RowFunction::QuantileCont => State::Numbers(Vec::new()),
            RowFunction::QuantileDisc { .. } | RowFunction::Mode { .. } => State::Values(Vec::new()),
            RowFunction::CountDistinct => State::Distinct(HashSet::new()),
            RowFunction::Funnel { .. }
            | RowFunction::WindowFunnel { .. }
            | RowFunction::Consecutive { .. }
            | RowFunction::Sequence { .. } => State::Steps(Vec::new()),
        }
    }

    /// Takes a row; returns the bytes that are held for it from now on.
    pub(super) fn take(&self, state: &mut State, row: &[Value]) -> Result<usize> {
        if let Some(filter) = &self.filter
            && !is_true(&filter.of(row)?)
        {
            return Ok(0);
        }
        if let State::Distinct(known) = state {
            let mut bytes = Vec::new();
            if bytes_of(&self.arguments, row, &mut bytes)?.is_none() || known.contains(&bytes) {
                return Ok(0);
            }
            let held = 2 * (size_of::<Vec<u8>>() + 1) + allocation(bytes.capacity());
            known.insert(bytes);
            return Ok(held);
        }
        let mut held = 0;
        let mut values = self.arguments.iter().map(|argument| argument.of(row));
        match (state, values.next().transpose()?) {
            (State::Fold(folding), None) => folding.take_row(),
            (State::Fold(folding), Some(value)) => held = folding.take(value)?,
            (State::Best(best), Some(shown)) => {
                let by = values.next().transpose()?.unwrap_or(Value::Null);
                if shown == Value::Null || by == Value::Null {
                    return Ok(0);
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
            (State::Numbers(_) | State::Values(_), Some(Value::Null)) => {}
            (State::Values(known), Some(value)) => {
                held = size_of::<Value>() + value_bytes(&value);
                known.push(value);
            }
            (State::Numbers(numbers), Some(value)) => {
                held = size_of::<f64>();
                numbers.push(double_of(&value)?);
            }
            (State::Steps(steps), Some(time)) => {
                let mut mask = 0;
                for (step, truth) in values.enumerate() {
                    mask |= u32::from(is_true(&truth?)) << step;
                }
                if let (Some(time), true) = (micros_of(&time)?, mask != 0 || minds_others(self.function)) {
                    held = size_of::<Stepped>();
                    steps.push((time, mask));
                }
            }
            (State::Distinct(_), Some(_)) | (_, None) => {}
        }
        Ok(held)
    }

    pub(super) fn value(&self, state: State) -> Result<Value> {
        Ok(match state {
            State::Fold(folding) => folding.value()?,
            State::Best(best) => best.map_or(Value::Null, |(shown, _)| shown),
            State::Numbers(numbers) => continuous(numbers, self.fraction()),
            State::Values(values) => match self.function {
                RowFunction::QuantileDisc { descending } => discrete(values, self.fraction(), descending)?,
                RowFunction::Mode { descending } => mode(values, descending)?,
                _ => Value::Null,
            },
            State::Distinct(known) => Value::Integer(known.len() as i64),
            State::Steps(rows) => self.steps(rows),
        })
    }

    fn steps(&self, rows: Vec<Stepped>) -> Value {
        let steps = self.arguments.len() - 1;
        Value::Integer(match (self.function, &self.fixed) {
            (RowFunction::Funnel { micros, strict }, _) => funnel(rows, steps, micros, strict),
            (RowFunction::Consecutive { micros }, _) => consecutive(rows, steps, micros),
            (RowFunction::WindowFunnel { micros, modes }, _) => window_funnel(rows, steps, micros, modes),
            (RowFunction::Sequence { counts: true }, Fixed::Pattern(pattern)) => {
                sequence::count(pattern, rows, false)
            }
            (RowFunction::Sequence { counts: false }, Fixed::Pattern(pattern)) => {
                return Value::Boolean(sequence::count(pattern, rows, true) > 0);
            }
            _ => return Value::Null,
        })
    }

    /// Half the way, unless it says otherwise.
    fn fraction(&self) -> f64 {
        if let Fixed::Fraction(fraction) = self.fixed { fraction } else { 0.5 }
    }
}

/// True where rows that are no step are of account.
pub(super) fn minds_others(function: RowFunction) -> bool {
    match function {
        RowFunction::Consecutive { .. } => true,
        RowFunction::WindowFunnel { modes, .. } => modes.has(FunnelModes::STRICT_ORDER),
        _ => false,
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

/// The value at a part of the way from the least to the greatest, between two of them in proportion.
fn continuous(mut numbers: Vec<f64>, fraction: f64) -> Value {
    let Some(most) = numbers.len().checked_sub(1) else { return Value::Null };
    numbers.sort_by(f64::total_cmp);
    let place = most as f64 * fraction;
    let (lower, part) = (place.floor() as usize, place.fract());
    let (low, high) = (numbers[lower.min(most)], numbers[(lower + 1).min(most)]);
    Value::Double(if part == 0.0 {
        low
    } else if part == 0.5 {
        f64::midpoint(low, high)
    } else {
        low + (high - low) * part
    })
}

/// The first value that at least this part of all are not after.
fn discrete(mut values: Vec<Value>, fraction: f64, descending: bool) -> Result<Value> {
    sort(&mut values, descending)?;
    let place = (values.len() as f64 * fraction).ceil() as usize;
    let at = place.max(1).min(values.len());
    Ok(at.checked_sub(1).and_then(|at| values.get(at)).cloned().unwrap_or(Value::Null))
}

/// The most frequent value, of several the least one (the greatest, if descending).
fn mode(mut values: Vec<Value>, descending: bool) -> Result<Value> {
    sort(&mut values, descending)?;
    let mut most: Option<(&Value, usize)> = None;
    for some in values.chunk_by(|a, b| compare(a, b).ok().flatten() == Some(Ordering::Equal)) {
        if most.is_none_or(|(_, count)| some.len() > count) {
            most = some.first().map(|value| (value, some.len()));
        }
    }
    Ok(most.map_or(Value::Null, |(value, _)| value.clone()))
}

/// Values of one kind in order.
fn sort(values: &mut [Value], descending: bool) -> Result<()> {
    let mut failed = None;
    values.sort_by(|a, b| match compare(a, b) {
        Ok(order) if descending => order.unwrap_or(Ordering::Equal).reverse(),
        Ok(order) => order.unwrap_or(Ordering::Equal),
        Err(error) => {
            failed = Some(error);
            Ordering::Equal
        }
    });
    failed.map_or(Ok(()), Err)
}

/// The constant that a function takes besides its values.
fn constant(expr: Option<&Expr>) -> Result<&Value> {
    match expr {
        Some(Expr::Literal(Literal::Value(value))) => Ok(value),
        _ => Err(Error::Invalid("an aggregate takes a constant here: this condition is damaged".into())),
    }
}

fn fraction_of(value: &Value) -> Result<f64> {
    match value {
        Value::Double(fraction) if (0.0..=1.0).contains(fraction) => Ok(*fraction),
        _ => Err(Error::Invalid("a quantile takes a number from 0 to 1".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_of_two_is_their_mean() {
        assert_eq!(continuous(vec![], 0.5), Value::Null);
        assert_eq!(continuous(vec![3.0, 1.0, 2.0], 0.5), Value::Double(2.0));
        assert_eq!(continuous(vec![4.0, 1.0], 0.5), Value::Double(2.5));
        assert_eq!(continuous(vec![1.0, 2.0, 3.0, 4.0, 11.0], 0.75), Value::Double(4.0));
        assert_eq!(continuous(vec![1.0, 3.0], 0.25), Value::Double(1.5));
    }
}
