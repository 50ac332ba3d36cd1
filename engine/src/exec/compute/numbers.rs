//! Numbers of many rows, and which of them are NULL: apart, so that where none is a loop has no branch and half the bytes.

use super::NONE;
use std::borrow::Cow;

/// A number of each row.
#[derive(Clone, Default)]
pub(crate) struct Numbers<T = i64> {
    /// What stands in the place of a NULL is nothing.
    values: Vec<T>,
    /// Of each row whether it is NULL, where some may be.
    nulls: Option<Vec<bool>>,
}

impl<T> From<Vec<T>> for Numbers<T> {
    fn from(values: Vec<T>) -> Numbers<T> {
        Numbers { values, nulls: None }
    }
}

impl<T: Copy + Default> FromIterator<Option<T>> for Numbers<T> {
    fn from_iter<I: IntoIterator<Item = Option<T>>>(numbers: I) -> Numbers<T> {
        let mut some_null = false;
        let both = numbers.into_iter().map(|number| {
            some_null |= number.is_none();
            (number.unwrap_or_default(), number.is_none())
        });
        let (values, nulls): (Vec<T>, Vec<bool>) = both.unzip();
        Numbers { values, nulls: some_null.then_some(nulls) }
    }
}

impl<T: Copy + Default> Numbers<T> {
    /// Numbers of which some are NULL.
    pub(in crate::exec) fn with_nulls(values: Vec<T>, nulls: Option<Vec<bool>>) -> Numbers<T> {
        Numbers { values, nulls }
    }

    /// The same, but NULL where it is said so.
    pub(in crate::exec) fn null_where(mut self, is_null: impl Iterator<Item = bool>) -> Numbers<T> {
        let nulls: Vec<bool> = match &self.nulls {
            Some(nulls) => nulls.iter().zip(is_null).map(|(null, also)| *null | also).collect(),
            None => is_null.collect(),
        };
        self.nulls = nulls.contains(&true).then_some(nulls);
        self
    }

    /// So many NULLs.
    pub(in crate::exec) fn none(count: usize) -> Numbers<T> {
        Numbers { values: vec![T::default(); count], nulls: Some(vec![true; count]) }
    }

    pub(in crate::exec) fn len(&self) -> usize {
        self.values.len()
    }

    /// All numbers; where NULLs stand, nothing.
    pub(in crate::exec) fn values(&self) -> &[T] {
        &self.values
    }

    /// Of each row whether it is NULL; `None` where none is.
    pub(in crate::exec) fn nulls(&self) -> Option<&[bool]> {
        self.nulls.as_deref()
    }

    #[inline(always)]
    pub(in crate::exec) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls[row])
    }

    #[inline(always)]
    pub(in crate::exec) fn get(&self, row: usize) -> Option<T> {
        (!self.is_null(row)).then(|| self.values[row])
    }

    pub(in crate::exec) fn set(&mut self, row: usize, number: Option<T>) {
        if let Some(number) = number {
            self.values[row] = number;
        }
        if number.is_none() || self.nulls.is_some() {
            let count = self.values.len();
            self.nulls.get_or_insert_with(|| vec![false; count])[row] = number.is_none();
        }
    }

    pub(in crate::exec) fn iter(&self) -> impl Iterator<Item = Option<T>> + '_ {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Those of some rows, in their order; NULL in the place of [`NONE`].
    pub(in crate::exec) fn select(&self, rows: &[u32]) -> Numbers<T> {
        let Some(last) = self.len().checked_sub(1) else { return Numbers::none(rows.len()) };
        // Which rows there are none of is hard to foresee: they take a number, too.
        let values = rows.iter().map(|row| self.values[(*row as usize).min(last)]).collect();
        let nulls = match &self.nulls {
            Some(nulls) => Some(rows.iter().map(|row| nulls.get(*row as usize) != Some(&false)).collect()),
            None if rows.contains(&NONE) => Some(rows.iter().map(|row| *row == NONE).collect()),
            None => None,
        };
        Numbers { values, nulls }
    }

    /// Adds those of another.
    pub(in crate::exec) fn append(&mut self, more: &Numbers<T>) {
        if self.nulls.is_some() || more.nulls.is_some() {
            let nulls = self.nulls.get_or_insert_with(|| vec![false; self.values.len()]);
            match &more.nulls {
                Some(more) => nulls.extend_from_slice(more),
                None => nulls.resize(self.values.len() + more.len(), false),
            }
        }
        self.values.extend_from_slice(&more.values);
    }
}

/// One operand of a loop: the same for all, or one each.
pub(super) enum Operand<'l, T: Copy + Default> {
    Same(T),
    Each(Cow<'l, Numbers<T>>),
}

/// What loops make: numbers, or truths.
pub(super) trait Made<U>: Sized {
    fn of(values: Vec<U>, nulls: Option<Vec<bool>>) -> Self;
}

impl<T: Copy + Default> Made<T> for Numbers<T> {
    fn of(values: Vec<T>, nulls: Option<Vec<bool>>) -> Numbers<T> {
        Numbers { values, nulls }
    }
}

impl Made<bool> for Vec<Option<bool>> {
    fn of(values: Vec<bool>, nulls: Option<Vec<bool>>) -> Vec<Option<bool>> {
        match nulls {
            None => values.into_iter().map(Some).collect(),
            Some(nulls) => values.iter().zip(&nulls).map(|(value, null)| (!null).then_some(*value)).collect(),
        }
    }
}

/// Of each number that is not NULL; `None` as a whole where one does not fit.
pub(super) fn each<T: Copy + Default, U: Copy + Default, M: Made<U>>(
    numbers: &Numbers<T>,
    of: impl Fn(T) -> Option<U>,
) -> Option<M> {
    fitting(numbers.values.iter().copied(), numbers.nulls.clone(), of)
}

/// Of each pair of numbers, NULL where one is; `None` as a whole where one does not fit.
pub(super) fn both<T: Copy + Default, U: Copy + Default, M: Made<U>>(
    a: &Operand<'_, T>,
    b: &Operand<'_, T>,
    of: impl Fn(T, T) -> Option<U>,
) -> Option<M> {
    match (a, b) {
        (Operand::Each(a), Operand::Same(b)) => each(a, |a| of(a, *b)),
        (Operand::Same(a), Operand::Each(b)) => each(b, |b| of(*a, b)),
        (Operand::Each(a), Operand::Each(b)) => {
            let nulls = match (&a.nulls, &b.nulls) {
                (Some(a), Some(b)) => Some(a.iter().zip(b).map(|(a, b)| a | b).collect()),
                (some, None) | (None, some) => some.clone(),
            };
            fitting(a.values.iter().zip(&b.values), nulls, |(a, b)| of(*a, *b))
        }
        // Constants are folded when an expression is prepared.
        (Operand::Same(_), Operand::Same(_)) => None,
    }
}

/// Of each; `None` as a whole where there is none of one that is not NULL. Without a branch on the answer.
fn fitting<T, U: Copy + Default, M: Made<U>>(
    all: impl ExactSizeIterator<Item = T>,
    nulls: Option<Vec<bool>>,
    of: impl Fn(T) -> Option<U>,
) -> Option<M> {
    // Not collected: what says whether all fit would be in memory then, read and written for each.
    let (mut fit, mut values) = (true, vec![U::default(); all.len()]);
    match &nulls {
        None => {
            for (made, one) in values.iter_mut().zip(all) {
                let value = of(one);
                fit &= value.is_some();
                *made = value.unwrap_or_default();
            }
        }
        Some(nulls) => {
            for ((made, one), null) in values.iter_mut().zip(all).zip(nulls) {
                let value = of(one);
                fit &= value.is_some() | null;
                *made = value.unwrap_or_default();
            }
        }
    }
    fit.then(|| M::of(values, nulls))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(numbers: &Numbers) -> Vec<Option<i64>> {
        numbers.iter().collect()
    }

    #[test]
    fn numbers_are_what_they_were_made_of() {
        for of in [vec![], vec![Some(1)], vec![None], vec![Some(3), None, Some(i64::MIN)]] {
            let numbers: Numbers = of.iter().copied().collect();
            assert_eq!((list(&numbers), numbers.nulls().is_some()), (of.clone(), of.contains(&None)));
        }
        let mut numbers = Numbers::from(vec![1, 2, 3]);
        numbers.set(1, None);
        numbers.set(2, Some(9));
        assert_eq!(list(&numbers), [Some(1), None, Some(9)]);
        numbers.set(1, Some(5));
        assert_eq!(list(&numbers), [Some(1), Some(5), Some(9)]);
    }

    #[test]
    fn rows_that_there_are_none_of_are_null() {
        let whole = Numbers::from(vec![4, 5]);
        assert_eq!(list(&whole.select(&[1, 0, NONE])), [Some(5), Some(4), None]);
        assert!(whole.select(&[1, 0]).nulls().is_none());
        let some: Numbers = [None, Some(7)].into_iter().collect();
        assert_eq!(list(&some.select(&[1, NONE, 0])), [Some(7), None, None]);
    }

    #[test]
    fn appended_numbers_keep_their_nulls() {
        let (whole, some) = (Numbers::from(vec![4]), [None, Some(7)].into_iter().collect::<Numbers>());
        for (first, second, expected) in [
            (&whole, &some, vec![Some(4), None, Some(7)]),
            (&some, &whole, vec![None, Some(7), Some(4)]),
            (&whole, &whole, vec![Some(4), Some(4)]),
        ] {
            let mut both = first.clone();
            both.append(second);
            assert_eq!(list(&both), expected);
        }
    }

    #[test]
    fn what_does_not_fit_counts_only_where_it_is_not_null() {
        let some: Numbers = [None, Some(7)].into_iter().collect();
        let inverse = |number: i64| 7_i64.checked_div(number);
        assert_eq!(each::<_, _, Numbers>(&some, inverse).as_ref().map(list), Some(vec![None, Some(1)]));
        assert!(each::<_, _, Numbers>(&Numbers::from(vec![0, 7]), inverse).is_none());
        let (a, b) = (Operand::Each(Cow::Borrowed(&some)), Operand::Same(7));
        let truths: Option<Vec<Option<bool>>> = both(&a, &b, |a, b| Some(a == b));
        assert_eq!(truths, Some(vec![None, Some(true)]));
    }
}
