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
