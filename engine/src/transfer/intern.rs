//! A dictionary of strings under construction: each string once, numbered in order of appearance.

use crate::batch::Strings;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Strings and the hash table that finds them.
#[derive(Default)]
pub(super) struct Interner {
    strings: Strings,
    table: HashTable<u32>,
    hasher: FixedState,
}

impl Interner {
    /// The number of this string, a new one where it is new.
    pub(super) fn intern(&mut self, text: &str) -> u32 {
        let hash = self.hasher.hash_one(text.as_bytes());
        let Interner { strings, table, hasher } = self;
        let found = table.entry(
            hash,
            |i| strings.get(*i as usize) == text.as_bytes(),
            |i| hasher.hash_one(strings.get(*i as usize)),
        );
        match found {
            hashbrown::hash_table::Entry::Occupied(entry) => *entry.get(),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let number = strings.len() as u32;
                entry.insert(number);
                strings.push(text);
                number
            }
        }
    }

    /// The number of strings.
    pub(super) fn len(&self) -> usize {
        self.strings.len()
    }

    /// Forgets all but the first `count` strings.
    pub(super) fn truncate(&mut self, count: usize) {
        for number in count..self.strings.len() {
            let hash = self.hasher.hash_one(self.strings.get(number));
            if let Ok(entry) = self.table.find_entry(hash, |i| *i as usize == number) {
                entry.remove();
            }
        }
        self.strings.truncate(count);
    }

    /// The strings, in the order of their numbers; starts anew.
    pub(super) fn take(&mut self) -> Strings {
        self.table.clear();
        std::mem::take(&mut self.strings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_string_has_one_number() {
        let mut interner = Interner::default();
        let numbers: Vec<u32> = (0..10_000u32).map(|i| interner.intern(&(i % 1000).to_string())).collect();
        assert!(numbers.iter().enumerate().all(|(i, number)| *number == i as u32 % 1000));
        let strings = interner.take();
        assert_eq!((strings.len(), strings.get(999)), (1000, &b"999"[..]));
        assert_eq!(interner.intern("999"), 0);
    }

    #[test]
    fn what_is_forgotten_is_new_again() {
        let mut interner = Interner::default();
        for text in ["a", "b", "c", "a"] {
            interner.intern(text);
        }
        interner.truncate(1);
        assert_eq!(["c", "a", "b"].map(|text| interner.intern(text)), [1, 0, 2]);
        assert_eq!(interner.take().bytes, b"acb");
    }
}
