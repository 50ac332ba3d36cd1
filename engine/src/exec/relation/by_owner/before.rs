//! What came before the next rows of each owner: how many, and what the last of them has. It is said of rows as they are stored
//! ([`super::stored`]), as time goes on.

use super::stored::{OfOwners, Stored, of_owners};
use super::tree::{Formula, Windowed};
use crate::exec::compute::{Kind, Lane, Numbers};
use crate::value::Value;
use crate::{Error, Result};
use std::sync::Arc;

/// In a word of a count and a value so many bits are the count's; the greatest stands for all beyond.
const COUNT_BITS: u32 = 8;
const COUNT_MAX: i64 = (1 << COUNT_BITS) - 1;

/// What came before the next rows.
pub(super) enum Before {
    /// How many, and the value that the only call asks for, in one word: a line of the cache an owner instead of two.
    Together(OfOwners<i64>),
    /// How many, and what the last has in the argument of each call.
    Apart(OfOwners<u32>, Vec<Option<LastValues>>),
}

/// The value that a call is of in the last row of each owner.
pub(super) struct LastValues {
    numbers: OfOwners<i64>,
    nulls: Option<OfOwners<bool>>,
}

impl Before {
    /// Before the first rows.
    pub(super) fn new(asked: &Windowed) -> Before {
        let with_value = asked.arguments.iter().map(|arguments| !arguments.is_empty());
        let is_one = with_value.clone().filter(|with_value| *with_value).count() == 1;
        match is_one && (asked.row_number().is_none() || asked.let_through.most() < COUNT_MAX) {
            true => Before::Together(of_owners(0)),
            false => {
                let last = with_value.map(|with_value| with_value.then(|| LastValues::from(of_owners(0))));
                Before::Apart(of_owners(0), last.collect())
            }
        }
    }

    /// The next rows that are let through, with what those before say.
    pub(super) fn answer<'a>(
        &mut self,
        rows: Stored<'a>,
        asked: &Windowed,
        wanted: &[bool],
    ) -> Result<Stored<'a>> {
        let argument = |arguments: &Vec<Formula>| {
            arguments.first().map(|argument| argument.of(&rows.lanes, rows.halves.len())).transpose()
        };
        let arguments = asked.arguments.iter().map(argument).collect::<Result<Vec<_>>>()?;
        let values = arguments.iter().map(numbers_of).collect::<Result<Vec<_>>>()?;
        let (mut numbers, said) = self.say(&rows.halves, &values);
        let wanted_calls = &wanted[rows.lanes.len()..];
        let left = asked.let_through.among(&numbers);
        let mut rows = match &left {
            Some(left) => {
                numbers = left.iter().map(|row| numbers[*row as usize]).collect();
                rows.retained(left, wanted)
            }
            None => rows,
        };
        for (said, wanted) in said.into_iter().zip(wanted_calls) {
            rows.lanes.push(Arc::new(match said {
                _ if !wanted => Lane::Same(Value::Null),
                Some((kind, values)) => {
                    let values = match &left {
                        Some(left) => values.select(left),
                        None => values,
                    };
                    // The first row of an owner has none before.
                    Lane::Exact(kind, values.null_where(numbers.iter().map(|number| *number == 1)))
                }
                None => {
                    let numbers: Vec<i64> = numbers.iter().map(|number| i64::from(*number)).collect();
                    Lane::Exact(Kind::Integer, numbers.into())
                }
            }));
        }
        Ok(rows)
    }

    /// The number of each row among its owner's, and, of the values that calls ask for, those of the row before: of an owner's first row
    /// it is any.
    fn say(
        &mut self,
        halves: &[u16],
        values: &[Option<(Kind, &Numbers)>],
    ) -> (Vec<u32>, Vec<Option<(Kind, Numbers)>>) {
        if let Before::Together(last) = self {
            let only = values.iter().flatten().next();
            if let Some((kind, some)) = only.filter(|(_, some)| fit_beside_counts(some)) {
                let (numbers, before) = together(last, halves, some.values());
                let mut before = Some((*kind, Numbers::from(before)));
                return (numbers, values.iter().map(|some| some.and_then(|_| before.take())).collect());
            }
            self.take_apart(values.iter().map(Option::is_some));
        }
        let Before::Apart(rows, last) = self else { unreachable!("taken apart if it was not") };
        let count = |half: &u16| {
            let rows = &mut rows[usize::from(*half)];
            *rows += 1;
            *rows
        };
        let numbers = halves.iter().map(count).collect();
        let said = values.iter().zip(last).map(|(some, last)| match (some, last) {
            (Some((kind, some)), Some(last)) => Some((*kind, last.replace(halves, some))),
            _ => None,
        });
        (numbers, said.collect())
    }

    /// Takes words apart. Of more rows than one counts it is not asked how many there were.
    fn take_apart(&mut self, with_value: impl Iterator<Item = bool>) {
        let mut rows = of_owners(0);
        if let Before::Together(words) = self {
            for (word, rows) in words.iter_mut().zip(&mut *rows) {
                (*rows, *word) = ((*word & COUNT_MAX) as u32, *word >> COUNT_BITS);
            }
        }
        if let Before::Together(values) = std::mem::replace(self, Before::Apart(rows, Vec::new()))
            && let Before::Apart(_, last) = self
        {
            let mut values = Some(LastValues::from(values));
            last.extend(with_value.map(|with_value| if with_value { values.take() } else { None }));
        }
    }
}

fn numbers_of<'l>(lane: &'l Option<Arc<Lane<'_>>>) -> Result<Option<(Kind, &'l Numbers)>> {
    match lane.as_deref() {
        Some(Lane::Exact(kind, numbers)) => Ok(Some((*kind, numbers))),
        Some(_) => Err(Error::Invalid("numbers were read as something else".into())),
        None => Ok(None),
    }
}

/// True of numbers that a word has room for beside a count.
fn fit_beside_counts(numbers: &Numbers) -> bool {
    let bits = numbers.values().iter().fold(0, |bits, number| bits | (number ^ (number >> 63)));
    !numbers.nulls().is_some_and(|nulls| nulls.contains(&true)) && bits >> (i64::BITS - 1 - COUNT_BITS) == 0
}

/// The numbers of rows among their owners', and the values of the rows before them.
fn together(last: &mut OfOwners<i64>, halves: &[u16], values: &[i64]) -> (Vec<u32>, Vec<i64>) {
    let (mut numbers, mut before) = (vec![0; halves.len()], vec![0; halves.len()]);
    let said = numbers.iter_mut().zip(&mut before);
    for ((half, value), (number, before)) in halves.iter().zip(values).zip(said) {
        let word = &mut last[usize::from(*half)];
        let count = ((*word & COUNT_MAX) + 1).min(COUNT_MAX);
        (*number, *before) = (count as u32, *word >> COUNT_BITS);
        *word = value << COUNT_BITS | count;
    }
    (numbers, before)
}

impl From<OfOwners<i64>> for LastValues {
    fn from(numbers: OfOwners<i64>) -> LastValues {
        LastValues { numbers, nulls: None }
    }
}

impl LastValues {
    /// Puts the value of each row in the place of its owner, and returns what was there.
    fn replace(&mut self, halves: &[u16], values: &Numbers) -> Numbers {
        let last = &mut self.numbers;
        let before = halves.iter().zip(values.values());
        let before = before.map(|(half, value)| std::mem::replace(&mut last[usize::from(*half)], *value));
        let before: Vec<i64> = before.collect();
        let nulls = (values.nulls().is_some() || self.nulls.is_some()).then(|| {
            let last = self.nulls.get_or_insert_with(|| of_owners(false));
            let null = |(row, half): (usize, &u16)| {
                std::mem::replace(&mut last[usize::from(*half)], values.is_null(row))
            };
            halves.iter().enumerate().map(null).collect()
        });
        Numbers::with_nulls(before, nulls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of some rows, and the values before where there are rows before.
    fn say(before: &mut Before, halves: &[u16], values: &[Option<i64>]) -> (Vec<u32>, Vec<Option<i64>>) {
        let (numbers, mut said) =
            before.say(halves, &[None, Some((Kind::Integer, &values.iter().copied().collect::<Numbers>()))]);
        assert!(said.len() == 2 && said[0].is_none());
        let (kind, values) = said.remove(1).unwrap();
        assert_eq!(kind, Kind::Integer);
        let values = numbers.iter().zip(values.iter()).map(|(number, value)| value.filter(|_| *number > 1));
        (numbers.clone(), values.collect())
    }

    fn both() -> [Before; 2] {
        let last = LastValues::from(of_owners(0));
        [Before::Together(of_owners(0)), Before::Apart(of_owners(0), vec![None, Some(last)])]
    }

    #[test]
    fn the_value_before_is_that_of_the_owner() {
        for mut before in both() {
            let mut say = |halves: &[u16], values: &[Option<i64>]| say(&mut before, halves, values);
            let least = -1 << 55;
            assert_eq!(
                say(&[1, 1, 7], &[Some(least), Some(-6), Some(7)]),
                (vec![1, 2, 1], vec![None, Some(least), None])
            );
            // Values that fit into no word with a count, then none at all.
            let most = i64::MAX - 3;
            assert_eq!(say(&[1, 65_535], &[Some(most), Some(0)]), (vec![3, 1], vec![Some(-6), None]));
            assert_eq!(
                say(&[1, 7, 7], &[None, Some(8), None]),
                (vec![4, 2, 3], vec![Some(most), Some(7), Some(8)])
            );
            assert_eq!(say(&[1, 7, 8], &[Some(1), Some(2), None]), (vec![5, 4, 1], vec![None; 3]));
            assert_eq!(say(&[8, 7], &[Some(1), Some(2)]), (vec![2, 5], vec![None, Some(2)]));
        }
    }

    #[test]
    fn a_word_of_many_rows_keeps_the_value() {
        let [mut before, _] = both();
        for row in 0..600 {
            let (numbers, values) = say(&mut before, &[3], &[Some(row)]);
            assert_eq!(numbers, [(row + 1).min(COUNT_MAX) as u32]);
            assert_eq!(values, [(row > 0).then_some(row - 1)]);
        }
        // Taken apart it counts on from there: nobody asks for such numbers.
        let (numbers, values) = say(&mut before, &[3, 4], &[None, Some(1)]);
        assert_eq!((numbers, values), (vec![COUNT_MAX as u32 + 1, 1], vec![Some(599), None]));
    }

    #[test]
    fn values_of_56_bits_fit_beside_a_count() {
        let fits = |number: i64| fit_beside_counts(&Numbers::from(vec![1, number]));
        assert!(fits((1 << 55) - 1) && fits(-1 << 55));
        assert!(!fits(1 << 55) && !fits((-1 << 55) - 1) && !fits(i64::MIN) && !fits(i64::MAX));
        assert!(!fit_beside_counts(&[Some(1), None].into_iter().collect()));
    }
}
