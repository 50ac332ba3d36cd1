//! Keys of rows that the key index does not know yet, in memory.
//!
//! Blocks of keys, each smaller than half the one before, as in a binary counter: a commit adds a block and shares the
//! others with the snapshots that have them, and a key is looked for in a few.

use super::Key;
use hashbrown::HashTable;
use std::sync::Arc;

/// A key that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    Integer(i64),
    Text(Box<[u8]>),
}

impl Held {
    fn by_ref(&self) -> Key<'_> {
        match self {
            Held::Integer(integer) => Key::Integer(*integer),
            Held::Text(text) => Key::Text(text),
        }
    }
}

type Block = HashTable<(Held, u32)>;

/// From keys to ordinals.
#[derive(Clone, Default)]
pub struct NewKeys {
    blocks: Vec<Arc<Block>>,
}

impl NewKeys {
    /// The ordinal that was given to a key last.
    pub fn get(&self, key: Key<'_>) -> Option<u32> {
        if self.blocks.is_empty() {
            return None;
        }
        let hash = key.hash();
        let newest_first = self.blocks.iter().rev();
        newest_first
            .filter_map(|block| block.find(hash, |(held, _)| held.by_ref() == key))
            .map(|(_, ordinal)| *ordinal)
            .next()
    }

    /// Adds keys; one that was there gets the new ordinal.
    pub fn add<'k>(&mut self, keys: impl IntoIterator<Item = (Key<'k>, u32)>) {
        let mut block = Block::new();
        for (key, ordinal) in keys {
            let held = match key {
                Key::Integer(integer) => Held::Integer(integer),
                Key::Text(text) => Held::Text(text.into()),
            };
            put(&mut block, held, ordinal);
        }
        if block.is_empty() {
            return;
        }
        while let Some(before) = self.blocks.pop_if(|before| before.len() <= 2 * block.len()) {
            let newer = std::mem::replace(&mut block, Arc::unwrap_or_clone(before));
            newer.into_iter().for_each(|(held, ordinal)| put(&mut block, held, ordinal));
        }
        self.blocks.push(Arc::new(block));
    }

    /// How many keys are held, those given anew counted each time.
    pub fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.len()).sum()
    }

    /// True without keys.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}

fn put(block: &mut Block, held: Held, ordinal: u32) {
    let hash = held.by_ref().hash();
    match block.find_mut(hash, |(other, _)| *other == held) {
        Some((_, there)) => *there = ordinal,
        None => {
            block.insert_unique(hash, (held, ordinal), |(held, _)| held.by_ref().hash());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_last_ordinal_of_a_key_is_its(
            batches in vec(vec((0..200_i64, any::<u32>()), 0..40), 0..30),
            texts in any::<bool>(),
        ) {
            let text = |key: i64| format!("key {key}").into_bytes();
            let (mut keys, mut expected, mut snapshots) = (NewKeys::default(), HashMap::new(), Vec::new());
            for batch in &batches {
                let named: Vec<(i64, Vec<u8>, u32)> =
                    batch.iter().map(|(key, ordinal)| (*key, text(*key), *ordinal)).collect();
                keys.add(named.iter().map(|(key, text, ordinal)| {
                    (if texts { Key::Text(text) } else { Key::Integer(*key) }, *ordinal)
                }));
                expected.extend(batch.iter().copied());
                snapshots.push((keys.clone(), expected.clone()));
                prop_assert!(keys.blocks.len() <= 10, "{} blocks", keys.blocks.len());
                prop_assert!(keys.len() >= expected.len());
                prop_assert_eq!(keys.is_empty(), expected.is_empty());
            }
            // Those taken earlier go on saying what was.
            for (keys, expected) in &snapshots {
                for key in 0..200 {
                    let text = text(key);
                    let (own, other) = (Key::Integer(key), Key::Text(&text));
                    let (own, other) = if texts { (other, own) } else { (own, other) };
                    prop_assert_eq!(keys.get(own), expected.get(&key).copied());
                    prop_assert_eq!(keys.get(other), None);
                }
            }
        }
    }
}
