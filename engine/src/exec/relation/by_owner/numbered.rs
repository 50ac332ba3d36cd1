//! Conditions on row numbers, asked where rows are numbered: of the rows that they leave out nothing else is made.

use super::batch;
use super::tree::{Node, Step};
use crate::exec::compute::Lane;
use crate::expr::{Expr, Function};
use crate::kernel;
use crate::predicate::{CompareOp, Literal, WindowFunction};
use crate::schema::ColumnId;
use crate::value::Value;
use std::ops::RangeInclusive;

/// Row numbers that conditions let through: all, as long as there is no condition. From 1 on, and none where the end is before the beginning,
/// which is at least 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LetThrough(RangeInclusive<i64>);

impl Default for LetThrough {
    fn default() -> LetThrough {
        LetThrough(1..=i64::MAX)
    }
}

impl LetThrough {
    fn is_all(&self) -> bool {
        *self == LetThrough::default()
    }

    /// The greatest that is let through.
    pub(super) fn most(&self) -> i64 {
        *self.0.end()
    }

    /// The places of those of some row numbers that are let through; `None` where all are.
    pub(super) fn among(&self, numbers: &[u32]) -> Option<Vec<u32>> {
        if self.is_all() {
            return None;
        }
        let mut selected = vec![0u64; numbers.len().div_ceil(64)];
        let (low, high) = (*self.0.start(), (*self.0.end()).min(u32::MAX.into()));
        if let (Ok(low), Ok(high)) = (u32::try_from(low), u32::try_from(high))
            && low <= high
        {
            kernel::within_u32(numbers, low, high, &mut selected);
        }
        Some(batch::places_of(&selected, numbers.len()))
    }

    /// [`Self::among`] row numbers that are a lane.
    pub(super) fn among_lane(&self, numbers: &Lane<'_>, count: usize) -> Option<Vec<u32>> {
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let numbers: Vec<u32> = match numbers {
            Lane::Exact(_, numbers) => numbers.values().iter().copied().map(number).collect(),
            _ => {
                let each = (0..count).map(|row| match numbers.value(row) {
                    Value::Integer(integer) => number(integer),
                    _ => 0,
                });
                each.collect()
            }
        };
        self.among(&numbers)
    }

    /// Lets through only what another does, too.
    fn narrow(&mut self, other: &LetThrough) {
        self.0 = *self.0.start().max(other.0.start())..=*self.0.end().min(other.0.end());
    }

    /// Of a term that compares a column with a number; what other numbers than those from 1 on would say does not matter.
    fn of(term: &Expr) -> Option<(ColumnId, LetThrough)> {
        let Expr::Call { function: Function::Compare(op), arguments } = term else { return None };
        let (column, op, number) = match arguments.as_slice() {
            [Expr::Column(column), Expr::Literal(Literal::Value(Value::Integer(number)))] => {
                (*column, *op, *number)
            }
            [Expr::Literal(Literal::Value(Value::Integer(number))), Expr::Column(column)] => {
                (*column, op.flipped(), *number)
            }
            _ => return None,
        };
        let numbers = match op {
            CompareOp::Eq => number..=number,
            CompareOp::Lt => 1..=number.saturating_sub(1),
            CompareOp::Le => 1..=number,
            CompareOp::Gt => number.checked_add(1)?..=i64::MAX,
            CompareOp::Ge => number..=i64::MAX,
            CompareOp::Ne => return None,
        };
        Some((column, LetThrough(1.max(*numbers.start())..=0.max(*numbers.end()))))
    }
}

impl Node {
    /// Tells the step that numbers rows what a term above lets through; false where the term is not of a row number, and has to be asked.
    pub(super) fn takes_over(&mut self, term: &Expr) -> bool {
        LetThrough::of(term).is_some_and(|(column, numbers)| {
            let place = self.columns.iter().position(|known| *known == column);
            place.is_some_and(|place| self.lets_through(place, &numbers))
        })
    }

    fn lets_through(&mut self, place: usize, numbers: &LetThrough) -> bool {
        match &mut self.step {
            Step::Filter(input, _) => input.lets_through(place, numbers),
            Step::Compute(input, formulas) => {
                formulas[place].column().is_some_and(|place| input.lets_through(place, numbers))
            }
            // What is numbered below another window has to reach that as a whole.
            Step::Window(input, windowed) => {
                let call =
                    place.checked_sub(input.columns.len()).map(|call| windowed.outputs[call].1.function);
                let is_number = call == Some(WindowFunction::RowNumber);
                if is_number {
                    windowed.let_through.narrow(numbers);
                }
                is_number
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(op: CompareOp, number: i64) -> Expr {
        let arguments =
            vec![Expr::Column(ColumnId(7)), Expr::Literal(Literal::Value(Value::Integer(number)))];
        Expr::Call { function: Function::Compare(op), arguments }
    }

    #[test]
    fn a_term_lets_through_what_it_says_of_numbers_from_one_on() {
        use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
        let asked = [1, 2, 3, 4, 5, 6, u32::MAX];
        let through = |op, number: i64, holds: fn(i64, i64) -> bool| {
            let left = LetThrough::of(&compared(op, number)).unwrap().1.among(&asked);
            let left = left.unwrap_or_else(|| (0..asked.len() as u32).collect());
            let expected = (0..).zip(asked).filter(|(_, asked)| holds(i64::from(*asked), number));
            assert_eq!(left, expected.map(|(place, _)| place).collect::<Vec<u32>>(), "{op:?} {number}");
        };
        for number in [i64::MIN, -7, -1, 0, 1, 2, 5, 6, 7, u32::MAX.into(), 1 << 40, i64::MAX - 1] {
            through(Eq, number, |a, b| a == b);
            through(Lt, number, |a, b| a < b);
            through(Le, number, |a, b| a <= b);
            through(Gt, number, |a, b| a > b);
            through(Ge, number, |a, b| a >= b);
        }
        assert_eq!(LetThrough::of(&compared(Ne, 3)), None);
        assert_eq!(LetThrough::of(&compared(Gt, i64::MAX)), None);
        assert!(LetThrough::of(&compared(Gt, 0)).unwrap().1.is_all());
    }

    #[test]
    fn sides_may_be_exchanged_and_terms_narrow_each_other() {
        let Expr::Call { function, mut arguments } = compared(CompareOp::Lt, 2) else { unreachable!() };
        arguments.reverse();
        let (column, mut numbers) = LetThrough::of(&Expr::Call { function, arguments }).unwrap();
        assert_eq!(column, ColumnId(7));
        numbers.narrow(&LetThrough::of(&compared(CompareOp::Le, 4)).unwrap().1);
        assert_eq!(numbers.among(&[1, 2, 3, 4, 5, 3]), Some(vec![2, 3, 5]));
        numbers.narrow(&LetThrough::of(&compared(CompareOp::Eq, 9)).unwrap().1);
        assert_eq!(numbers.among(&[1, 3, 4, 9]), Some(vec![]));
        let (_, mut numbers) = LetThrough::of(&compared(CompareOp::Gt, 3)).unwrap();
        numbers.narrow(&LetThrough::of(&compared(CompareOp::Lt, 0)).unwrap().1);
        assert_eq!(numbers.among(&[1, 3, 4, 9]), Some(vec![]));
    }
}
