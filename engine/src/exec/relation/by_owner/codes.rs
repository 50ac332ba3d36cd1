//! Small codes in the place of keys: where the keys of groups have few different values, a group's place in a table is told by the
//! codes of its keys side by side, without a hash or a comparison of all of them.

use crate::exec::compute::{NONE, Numbers};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::borrow::Cow;

/// Bits of the codes of all keys: a table of more groups would leave the second-level cache.
const CODE_BITS_MAX: u32 = 16;

/// Values of a key that are found without the table of all: as many as a first-level cache holds of two keys.
const RECENT_BITS: u32 = 10;

/// What numbers are mixed by.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The codes of all keys, and the groups by them.
#[derive(Default)]
pub(super) struct Codes {
    keys: Vec<Domain>,
    /// The bits that each key's codes have now.
    bits: Vec<u32>,
    /// The group of each code, or [`NONE`].
    groups: Vec<u32>,
    /// The code of each row of a batch.
    pub(super) of: Vec<u32>,
    /// True where keys have too many values.
    given_up: bool,
}

/// The values of one key so far: 0 is NULL's code.
#[derive(Default)]
struct Domain {
    /// The kind of the recent ones.
    kind: u8,
    /// Values that were found last, with their codes, by some bits of what they are mixed to.
    recent: Vec<(i64, u32)>,
    codes: HashMap<(u8, i64), u32, FixedState>,
}

/// A key: numbers of a kind; `None` is NULL in all rows.
pub(super) type Key<'l> = Option<(u8, Cow<'l, Numbers>)>;

impl Codes {
    /// Finds the codes of some rows; false where keys have too many values.
    pub(super) fn find(&mut self, keys: &[Key<'_>], rows: usize) -> bool {
        if self.given_up {
            return false;
        }
        self.keys.resize_with(keys.len(), Domain::default);
        self.bits.resize(keys.len(), 0);
        self.of.clear();
        self.of.resize(rows, 0);
        let mut grown = self.groups.is_empty();
        let mut each = Vec::with_capacity(keys.len());
        for ((domain, bits), key) in self.keys.iter_mut().zip(&mut self.bits).zip(keys) {
            let Some((kind, numbers)) = key else {
                each.push(Vec::new());
                continue;
            };
            each.push(domain.find(*kind, numbers));
            let needed = usize::BITS - domain.codes.len().leading_zeros();
            grown |= needed > *bits;
            *bits = needed;
        }
        let all: u32 = self.bits.iter().sum();
        self.given_up = all > CODE_BITS_MAX;
        if self.given_up {
            return false;
        }
        if grown {
            self.groups.clear();
            self.groups.resize(1 << all, NONE);
        }
        let mut shift = 0;
        for (codes, bits) in each.iter().zip(&self.bits) {
            self.of.iter_mut().zip(codes).for_each(|(of, code)| *of |= code << shift);
            shift += bits;
        }
        true
    }

    /// The group of a code; `new` finds it where it is not known.
    #[inline(always)]
    pub(super) fn group(&mut self, row: usize, new: impl FnOnce() -> u32) -> u32 {
        let known = &mut self.groups[self.of[row] as usize];
        if *known == NONE {
            *known = new();
        }
        *known
    }
}

impl Domain {
    /// The codes of some numbers.
    fn find(&mut self, kind: u8, numbers: &Numbers) -> Vec<u32> {
        if self.recent.is_empty() || self.kind != kind {
            self.recent.clear();
            self.recent.resize(1 << RECENT_BITS, (0, NONE));
            self.kind = kind;
        }
        let recent = self.recent.as_mut_slice();
        let all = numbers.values().iter().map(|number| {
            let place = ((*number as u64).wrapping_mul(ODD) >> (u64::BITS - RECENT_BITS)) as usize;
            let (known, code) = recent[place];
            if known == *number && code != NONE {
                return code;
            }
            let new = self.codes.len() as u32 + 1;
            let code = *self.codes.entry((kind, *number)).or_insert(new);
            recent[place] = (*number, code);
            code
        });
        let mut codes: Vec<u32> = all.collect();
        if let Some(nulls) = numbers.nulls() {
            codes.iter_mut().zip(nulls).for_each(|(code, null)| *code *= u32::from(!null));
        }
        codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The groups of rows as they are numbered when they come.
    fn groups(
        codes: &mut Codes,
        keys: &[Key<'_>],
        rows: usize,
        known: &mut Vec<Vec<Option<i64>>>,
    ) -> Vec<u32> {
        assert!(codes.find(keys, rows));
        let mut of = Vec::new();
        for row in 0..rows {
            let key: Vec<Option<i64>> =
                keys.iter().map(|key| key.as_ref().and_then(|(_, key)| key.get(row))).collect();
            of.push(codes.group(row, || {
                known.iter().position(|other| *other == key).unwrap_or_else(|| {
                    known.push(key);
                    known.len() - 1
                }) as u32
            }));
        }
        of
    }

    #[test]
    fn rows_of_the_same_keys_are_of_one_group_also_when_codes_grow() {
        let (mut codes, mut known) = (Codes::default(), Vec::new());
        for round in 1..40_i64 {
            let a: Numbers = (0..500).map(|row| (row % 7 != 0).then_some(row * 31 % round)).collect();
            let b: Numbers = (0..500).map(|row| Some(row % 3 - i64::from(row % 2 == 0) * i64::MAX)).collect();
            let found = groups(
                &mut codes,
                &[Some((1, Cow::Borrowed(&a))), Some((2, Cow::Borrowed(&b)))],
                500,
                &mut known,
            );
            for (row, group) in found.iter().enumerate() {
                assert_eq!(known[*group as usize], [a.get(row), b.get(row)], "row {row} of round {round}");
            }
        }
    }

    #[test]
    fn a_key_of_too_many_values_is_given_up() {
        let mut codes = Codes::default();
        let many = Numbers::from((0..1 << CODE_BITS_MAX).collect::<Vec<i64>>());
        assert!(!codes.find(&[Some((1, Cow::Owned(many)))], 1 << CODE_BITS_MAX));
        assert!(!codes.find(&[Some((1, Cow::Owned(vec![1].into())))], 1));
    }

    #[test]
    fn without_keys_all_rows_are_of_one_group() {
        assert_eq!(groups(&mut Codes::default(), &[], 3, &mut Vec::new()), [0, 0, 0]);
    }
}
