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
}
