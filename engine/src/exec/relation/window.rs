//! What neighbours say of a row: rows with equal values of a partition, in an order.

use super::frame::Framed;
use super::{Computed, Order, RowSet, Run, bytes_of};
use crate::control::{Held, allocation, row_bytes, value_bytes};
use crate::expr::Expr;
use crate::predicate::{SortKey, WindowCall, WindowFunction};
use crate::schema::ColumnId;
use crate::value::Value;
use crate::{Error, Result};
use hashbrown::HashMap;
use std::cmp::Ordering;

/// What a partition takes in a list and in a table that may be half empty, beside its key and its rows.
const PARTITION_BYTES: usize = 2 * (size_of::<(Vec<u8>, usize)>() + 1 + size_of::<Neighbours>());

/// Neighbours in order: what they are ordered by, and where they stand.
pub(super) type Neighbours = Vec<(Vec<Value>, usize)>;

impl Run<'_> {
    pub(super) fn window(
        &self,
        rows: &RowSet,
        partition: &[Expr],
        order: &[SortKey],
        outputs: &[(ColumnId, WindowCall)],
    ) -> Result<RowSet> {
        let (partition, order) = (self.all_computed(partition, rows)?, self.order(order, rows)?);
        let mut held = self.cancel.holder("the neighbours of rows");
        let neighbours = self.neighbours(rows, &partition, &order, &mut held)?;
        let mut answers: Vec<Vec<Value>> = Vec::with_capacity(outputs.len());
        for (_, call) in outputs {
            let arguments = self.all_computed(&call.arguments, rows)?;
            let framed = call.frame.as_ref().map(|frame| self.framed(frame, rows)).transpose()?;
            held.add(rows.len() * size_of::<Value>())?;
            let mut answer = vec![Value::Null; rows.len()];
            for (at, some) in neighbours.iter().enumerate() {
                self.look(at)?;
                self.answer(call.function, &arguments, framed.as_ref(), rows, &order, some, &mut answer)?;
            }
            held.add(answer.iter().map(value_bytes).sum())?;
            answers.push(answer);
        }
        let columns = rows.columns.iter().copied().chain(outputs.iter().map(|(id, _)| *id));
        let mut made = RowSet::new(columns.collect(), self.cancel);
        for at in 0..rows.len() {
            self.look(at)?;
            let more = answers.iter_mut().map(|answer| std::mem::replace(&mut answer[at], Value::Null));
            made.push(rows.row(at).iter().cloned().chain(more))?;
        }
        Ok(made)
    }

    fn neighbours(
        &self,
        rows: &RowSet,
        partition: &[Computed],
        order: &Order,
        held: &mut Held,
    ) -> Result<Vec<Neighbours>> {
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut neighbours: Vec<Neighbours> = Vec::new();
        let mut bytes = Vec::new();
        for at in 0..rows.len() {
            self.look(at)?;
            bytes_of(partition, rows.row(at), &mut bytes)?;
            let place = match places.get(&bytes) {
                Some(place) => *place,
                None => {
                    held.add(PARTITION_BYTES + allocation(bytes.len()))?;
                    neighbours.push(Vec::new());
                    places.insert(bytes.clone(), neighbours.len() - 1);
                    neighbours.len() - 1
                }
            };
            let values = order.values(rows.row(at))?;
            held.add(size_of::<(Vec<Value>, usize)>() + row_bytes(&values))?;
            neighbours[place].push((values, at));
        }
        for some in &mut neighbours {
            self.cancel.check()?;
            some.sort_by(|a, b| order.compare(&a.0, &b.0));
        }
        Ok(neighbours)
    }

    #[expect(clippy::too_many_arguments, reason = "a step of one loop")]
    fn answer(
        &self,
        function: WindowFunction,
        arguments: &[Computed],
        framed: Option<&Framed>,
        rows: &RowSet,
        order: &Order,
        neighbours: &Neighbours,
        answer: &mut [Value],
    ) -> Result<()> {
        let row = |at: usize| neighbours.get(at).map(|(_, place)| rows.row(*place));
        match function {
            WindowFunction::RowNumber | WindowFunction::Ntile(_) => {
                for (at, (_, place)) in neighbours.iter().enumerate() {
                    let number = match function {
                        WindowFunction::Ntile(parts) => part_of(at, neighbours.len(), parts)?,
                        _ => at + 1,
                    };
                    answer[*place] = Value::Integer(number as i64);
                }
            }
            WindowFunction::Rank | WindowFunction::DenseRank => {
                let (mut rank, mut dense) = (0, 0);
                for (at, (values, place)) in neighbours.iter().enumerate() {
                    let before = at.checked_sub(1).and_then(|before| neighbours.get(before));
                    let is_new =
                        before.is_none_or(|(before, _)| order.compare(before, values) != Ordering::Equal);
                    if is_new {
                        (rank, dense) = (at + 1, dense + 1);
                    }
                    let shown = if function == WindowFunction::Rank { rank } else { dense };
                    answer[*place] = Value::Integer(shown as i64);
                }
            }
            WindowFunction::Lag(by) | WindowFunction::Lead(by) => {
                let argument = arguments.first().ok_or_else(without_argument)?;
                for (at, (_, place)) in neighbours.iter().enumerate() {
                    let by = by as usize;
                    let other = match function {
                        WindowFunction::Lag(_) => at.checked_sub(by),
                        _ => at.checked_add(by),
                    };
                    answer[*place] = match (other.and_then(row), arguments.get(1)) {
                        (Some(other), _) => argument.of(other)?,
                        (None, Some(default)) => default.of(rows.row(*place))?,
                        (None, None) => Value::Null,
                    };
                }
            }
            WindowFunction::Fold(function) => {
                let frames = self.frames(framed, rows, order, neighbours)?;
                self.folded(function, arguments.first(), rows, neighbours, &frames, answer)?;
            }
            WindowFunction::FirstValue | WindowFunction::LastValue | WindowFunction::NthValue(_) => {
                let argument = arguments.first().ok_or_else(without_argument)?;
                let frames = self.frames(framed, rows, order, neighbours)?;
                for (frame, (_, place)) in frames.into_iter().zip(neighbours) {
                    let at = match function {
                        WindowFunction::FirstValue => Some(frame.start),
                        WindowFunction::NthValue(number) => {
                            (number as usize).checked_sub(1).map(|number| frame.start.saturating_add(number))
                        }
                        _ => frame.end.checked_sub(1),
                    };
                    let other = at.filter(|at| frame.contains(at)).and_then(row);
                    answer[*place] = other.map_or(Ok(Value::Null), |other| argument.of(other))?;
                }
            }
        }
        Ok(())
    }
}

fn without_argument() -> Error {
    Error::Invalid("a window function takes a value: this condition is damaged".into())
}

/// The part of a row, from 1: parts differ by one row at most, and the first ones are the greater.
fn part_of(at: usize, rows: usize, parts: u32) -> Result<usize> {
    let parts = parts as usize;
    if parts == 0 {
        return Err(Error::Invalid("ntile takes a number from 1".into()));
    }
    let (least, over) = (rows / parts, rows % parts);
    let greater = over * (least + 1);
    Ok(if at < greater { at / (least + 1) + 1 } else { over + (at - greater) / least.max(1) + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_differ_by_one_row_at_most() {
        for rows in 1..40 {
            for parts in 1..9 {
                let all: Vec<usize> = (0..rows).map(|at| part_of(at, rows, parts as u32).unwrap()).collect();
                let sizes = (1..=parts).map(|part| all.iter().filter(|found| **found == part).count());
                let sizes: Vec<usize> = sizes.collect();
                assert!(all.is_sorted() && sizes.is_sorted_by(|a, b| a >= b), "{rows} in {parts}: {all:?}");
                assert!(sizes[0] - sizes[parts - 1] <= 1, "{rows} in {parts}: {sizes:?}");
            }
        }
    }
}
