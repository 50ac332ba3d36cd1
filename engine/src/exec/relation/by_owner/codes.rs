//! Small codes in the place of keys: where the keys of groups have few different values, a group's place in a table is told by the
//! codes of its keys side by side, without a hash or a comparison of all of them.

use crate::exec::compute::{Coded, NONE, Numbers};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::borrow::Cow;

/// Bits of the codes of all keys: a table of more groups would leave the second-level cache.
const CODE_BITS_MAX: u32 = 16;

/// Of so many pairs of codes there is a table: what is looked at of it are those that there are.
const PAIRS_MAX: usize = 1 << 18;

/// Values of a key that are found without the table of all: as many as a first-level cache holds of two keys.
const RECENT_BITS: u32 = 10;

/// What numbers are mixed by.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The groups by the codes of all keys.
#[derive(Default)]
pub(super) struct Codes {
    keys: Vec<Domain>,
    /// The bits that each key's codes have now.
    bits: Vec<u32>,
    /// The group of each code, or [`NONE`].
    groups: Vec<u32>,
    /// True where keys have too many values.
    given_up: bool,
    pairs: Pairs,
}

/// The groups of two keys that have codes already, by these: one look instead of three.
#[derive(Default)]
struct Pairs {
    of: [CodesMet; 2],
    /// Of each code of the first key those of all of the second, or [`NONE`].
    groups: Vec<u32>,
}

/// The codes of a key from the least to the greatest that was met.
#[derive(Clone, Copy, Default)]
struct CodesMet {
    /// What kind of numbers they are of, and which.
    kind: u8,
    of: &'static [i64],
    least: u16,
    count: usize,
}

/// The values of one key so far: 0 is NULL's code.
#[derive(Default)]
struct Domain {
    /// The kind of the recent ones.
    kind: u8,
    /// Values that were found last, with their codes, by some bits of what they are mixed to.
    recent: Vec<(i64, u32)>,
    codes: HashMap<(u8, i64), u32, FixedState>,
    /// The kind of numbers that have codes already, these, and the code of each here, or [`NONE`].
    coded: (u8, &'static [i64]),
    of_coded: Vec<u32>,
}

/// A key: numbers of a kind.
pub(super) enum Key<'l> {
    /// NULL in all rows.
    Null,
    Numbers(u8, Cow<'l, Numbers>),
    /// Numbers that have codes already.
    Coded(u8, &'l Coded),
}

impl Key<'_> {
    /// The kind and the number of a row.
    pub(super) fn get(&self, row: usize) -> Option<(u8, i64)> {
        match self {
            Key::Null => None,
            Key::Numbers(kind, numbers) => Some((*kind, numbers.get(row)?)),
            Key::Coded(kind, coded) => Some((*kind, coded.get(row)?)),
        }
    }
}

impl Codes {
    /// The bytes that it holds.
    pub(super) fn held(&self) -> usize {
        let of_key = |key: &Domain| {
            key.recent.capacity() * size_of::<(i64, u32)>()
                + key.codes.allocation_size()
                + key.of_coded.capacity() * size_of::<u32>()
        };
        let tables = self.groups.capacity() + self.pairs.groups.capacity();
        self.keys.iter().map(of_key).sum::<usize>() + tables * size_of::<u32>()
    }

    /// Finds the group of each of some rows; `new` that of a row whose codes have none. False, and nothing found, where keys have
    /// too many values.
    pub(super) fn find(
        &mut self,
        keys: &[Key<'_>],
        rows: usize,
        of: &mut Vec<u32>,
        mut new: impl FnMut(usize) -> u32,
    ) -> bool {
        of.clear();
        if self.given_up {
            return false;
        }
        if self.pairs.find(keys, of) {
            return true;
        }
        of.clear();
        of.resize(rows, 0);
        self.keys.resize_with(keys.len(), Domain::default);
        self.bits.resize(keys.len(), 0);
        let (mut shift, mut grown) = (0, self.groups.is_empty());
        for ((domain, bits), key) in self.keys.iter_mut().zip(&mut self.bits).zip(keys) {
            match key {
                Key::Null => {}
                Key::Numbers(kind, numbers) => domain.add(*kind, numbers, shift, of),
                Key::Coded(kind, coded) => domain.add_coded(*kind, coded, shift, of),
            }
            let needed = usize::BITS - domain.codes.len().leading_zeros();
            grown |= needed > *bits;
            *bits = needed;
            shift += needed;
            if shift > CODE_BITS_MAX {
                self.given_up = true;
                of.clear();
                return false;
            }
        }
        if grown {
            self.groups.clear();
            self.groups.resize(1 << shift, NONE);
        }
        let groups = self.groups.as_mut_slice();
        for (row, of) in of.iter_mut().enumerate() {
            let group = &mut groups[*of as usize];
            if *group == NONE {
                *group = new(row);
            }
            *of = *group;
        }
        self.pairs.learn(keys, of);
        true
    }
}

impl Pairs {
    /// Finds the group of each of some rows; false where that of some pair is not known.
    fn find(&self, keys: &[Key<'_>], of: &mut Vec<u32>) -> bool {
        let [Key::Coded(kind_a, a), Key::Coded(kind_b, b)] = keys else { return false };
        if self.groups.is_empty() || !self.of[0].is(*kind_a, a) || !self.of[1].is(*kind_b, b) {
            return false;
        }
        let (low_a, low_b) = (self.of[0].least, self.of[1].least);
        let (groups, width) = (self.groups.as_slice(), self.of[1].count);
        of.clear();
        of.extend(a.codes.iter().zip(&b.codes).map(|(a, b)| {
            let (a, b) = (usize::from(a.wrapping_sub(low_a)), usize::from(b.wrapping_sub(low_b)));
            let place = if b < width { a * width + b } else { usize::MAX };
            groups.get(place).copied().unwrap_or(NONE)
        }));
        !of.contains(&NONE)
    }

    /// Keeps the groups of the pairs of some rows, where there may be a table of all between the least and the greatest.
    fn learn(&mut self, keys: &[Key<'_>], of: &[u32]) {
        let [Key::Coded(kind_a, a), Key::Coded(kind_b, b)] = keys else { return };
        let (of_a, of_b) = (self.of[0].with(*kind_a, a), self.of[1].with(*kind_b, b));
        if !of_a.is_same(&self.of[0]) || !of_b.is_same(&self.of[1]) {
            self.of = [of_a, of_b];
            self.groups.clear();
            if of_a.count * of_b.count <= PAIRS_MAX {
                self.groups.resize(of_a.count * of_b.count, NONE);
            }
        }
        if !self.groups.is_empty() {
            let place =
                |(a, b): (&u16, &u16)| usize::from(a - of_a.least) * of_b.count + usize::from(b - of_b.least);
            let places = a.codes.iter().zip(&b.codes).map(place);
            places.zip(of).for_each(|(place, group)| self.groups[place] = *group);
        }
    }
}

impl CodesMet {
    fn is(&self, kind: u8, coded: &Coded) -> bool {
        self.kind == kind && std::ptr::eq(self.of, coded.of)
    }

    fn is_same(&self, other: &CodesMet) -> bool {
        let met = |codes: &CodesMet| (codes.kind, codes.of.as_ptr(), codes.least, codes.count);
        met(self) == met(other)
    }

    /// With those of more rows; only these, where they are codes of something else.
    fn with(self, kind: u8, coded: &Coded) -> CodesMet {
        let codes = || coded.codes.iter().copied();
        let (Some(mut least), Some(mut greatest)) = (codes().min(), codes().max()) else { return self };
        if self.is(kind, coded) && self.count > 0 {
            least = least.min(self.least);
            greatest = greatest.max(self.least + (self.count - 1) as u16);
        }
        CodesMet { kind, of: coded.of, least, count: usize::from(greatest - least) + 1 }
    }
}

impl Domain {
    /// True where numbers of these codes have codes here, or would get them.
    fn knows(&self, kind: u8, coded: &Coded) -> bool {
        self.coded.0 == kind && std::ptr::eq(self.coded.1, coded.of) && !self.of_coded.is_empty()
    }

    /// Adds to each row the code here of a number that has a code already, above so many bits: few such numbers are met.
    fn add_coded(&mut self, kind: u8, coded: &Coded, shift: u32, rows: &mut [u32]) {
        if !self.knows(kind, coded) {
            self.coded = (kind, coded.of);
            self.of_coded.clear();
            self.of_coded.resize(coded.of.len() + 1, NONE);
            self.of_coded[coded.of.len()] = 0;
        }
        let of_coded = self.of_coded.as_mut_slice();
        for (row, code) in rows.iter_mut().zip(&coded.codes) {
            let of = &mut of_coded[usize::from(*code)];
            if *of == NONE {
                let new = self.codes.len() as u32 + 1;
                *of = *self.codes.entry((kind, coded.of[usize::from(*code)])).or_insert(new);
            }
            *row |= *of << shift;
        }
    }

    /// Adds to each row the code of a number.
    fn add(&mut self, kind: u8, numbers: &Numbers, shift: u32, rows: &mut [u32]) {
        if self.recent.is_empty() || self.kind != kind {
            self.recent.clear();
            self.recent.resize(1 << RECENT_BITS, (0, NONE));
            self.kind = kind;
        }
        let recent = self.recent.as_mut_slice();
        let mut code_of = |number: &i64| {
            let place = ((*number as u64).wrapping_mul(ODD) >> (u64::BITS - RECENT_BITS)) as usize;
            let (known, code) = recent[place];
            if known == *number && code != NONE {
                return code;
            }
            let new = self.codes.len() as u32 + 1;
            let code = *self.codes.entry((kind, *number)).or_insert(new);
            recent[place] = (*number, code);
            code
        };
        let rows = rows.iter_mut().zip(numbers.values());
        match numbers.nulls() {
            None => rows.for_each(|(row, number)| *row |= code_of(number) << shift),
            Some(nulls) => rows.zip(nulls).for_each(|((row, number), null)| {
                *row |= (code_of(number) * u32::from(!null)) << shift;
            }),
        }
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
        let mut of = Vec::new();
        let found = codes.find(keys, rows, &mut of, |row| {
            let key: Vec<Option<i64>> =
                keys.iter().map(|key| key.get(row).map(|(_, number)| number)).collect();
            let place = known.iter().position(|other| *other == key).unwrap_or_else(|| {
                known.push(key);
                known.len() - 1
            });
            place as u32
        });
        assert!(found);
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
                &[Key::Numbers(1, Cow::Borrowed(&a)), Key::Numbers(2, Cow::Borrowed(&b))],
                500,
                &mut known,
            );
            for (row, group) in found.iter().enumerate() {
                assert_eq!(known[*group as usize], [a.get(row), b.get(row)], "row {row} of round {round}");
            }
        }
    }

    /// A unit of times that lie beyond the units with numbers comes as a number, in the next rows as a code again.
    #[test]
    fn numbers_and_their_codes_are_one_key() {
        static OF: [i64; 3] = [-7, 20, 31];
        let (mut codes, mut known) = (Codes::default(), Vec::new());
        let coded = Coded { codes: vec![2, 3, 0, 2, 1], of: &OF };
        let numbers: Numbers = [Some(31), Some(5), None, Some(-7)].into_iter().collect();
        assert_eq!(groups(&mut codes, &[Key::Coded(3, &coded)], 5, &mut known), [0, 1, 2, 0, 3]);
        assert_eq!(
            groups(&mut codes, &[Key::Numbers(3, Cow::Borrowed(&numbers))], 4, &mut known),
            [0, 4, 1, 2]
        );
        assert_eq!(groups(&mut codes, &[Key::Coded(3, &coded)], 5, &mut known), [0, 1, 2, 0, 3]);
    }

    /// The groups of rows come from the table of pairs once these are known, from the codes of the keys until then: they are the same.
    #[test]
    fn pairs_of_codes_are_of_the_groups_of_their_numbers() {
        const fn ascending(first: i64) -> [i64; 40] {
            let (mut all, mut at) = ([first; 40], 0);
            while at < 40 {
                all[at] += at as i64;
                at += 1;
            }
            all
        }
        static OF: [[i64; 40]; 2] = [ascending(0), ascending(9)];
        let (mut codes, mut known) = (Codes::default(), Vec::new());
        let mut from_pairs = 0;
        for round in 0..60_u16 {
            // Few codes, more of them, and those of other numbers; 40 is NULL.
            let most = if round < 20 { 3 + round } else { 41 };
            let coded = |by: u16, of: &'static [i64]| Coded {
                codes: (0..300).map(|row: u16| (row * by + round / 4) % most).collect(),
                of,
            };
            let (a, b) = (coded(7, &OF[0]), coded(3, &OF[usize::from(round / 30)]));
            let keys = [Key::Coded(2, &a), Key::Coded(3, &b)];
            from_pairs += usize::from(codes.pairs.find(&keys, &mut Vec::new()));
            let found = groups(&mut codes, &keys, 300, &mut known);
            for (row, group) in found.iter().enumerate() {
                assert_eq!(known[*group as usize], [a.get(row), b.get(row)], "row {row} of round {round}");
            }
        }
        assert!(from_pairs > 10, "of all rounds {from_pairs} were found by pairs");
    }

    #[test]
    fn a_key_of_too_many_values_is_given_up() {
        let mut codes = Codes::default();
        let many = Numbers::from((0..1 << CODE_BITS_MAX).collect::<Vec<i64>>());
        let mut find = |keys: &[Key<'_>], rows| codes.find(keys, rows, &mut Vec::new(), |_| 0);
        assert!(!find(&[Key::Numbers(1, Cow::Owned(many))], 1 << CODE_BITS_MAX));
        assert!(!find(&[Key::Numbers(1, Cow::Owned(vec![1].into()))], 1));
        // Four keys, of which the first two are too many.
        let some = Numbers::from((0..4_096).collect::<Vec<i64>>());
        let keys = [1, 2, 3, 4].map(|kind| Key::Numbers(kind, Cow::Borrowed(&some)));
        assert!(!Codes::default().find(&keys, 4_096, &mut Vec::new(), |_| 0));
    }

    #[test]
    fn without_keys_all_rows_are_of_one_group() {
        assert_eq!(groups(&mut Codes::default(), &[], 3, &mut Vec::new()), [0, 0, 0]);
    }
}
