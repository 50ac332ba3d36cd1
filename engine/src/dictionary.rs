//! A column's dictionary: strings to codes and back. Codes are column-wide, given in the order of arrival, never
//! renumbered; the order of the strings stands in a rank table beside them.
//!
//! ```text
//! part of role Dictionary, column c: DictionaryStrings (a strings section by code) │ DictionaryOrder (codes by string, u32 each)
//! ```

use crate::index::strings::StringsRef;
use crate::{Error, Result};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use muster_storage::format::SectionKind;
use muster_storage::part::{PartReader, PartWriter, SectionStats};
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};
use zerocopy::{FromBytes, IntoBytes};

/// A dictionary under construction.
pub struct DictionaryBuilder {
    ends: Vec<u32>,
    bytes: Vec<u8>,
    codes: HashTable<u32>,
    hasher: FixedState,
}

impl Default for DictionaryBuilder {
    fn default() -> DictionaryBuilder {
        let hasher = FixedState::with_seed(0x6d75_7374);
        DictionaryBuilder { ends: Vec::new(), bytes: Vec::new(), codes: HashTable::new(), hasher }
    }
}

fn entry<'a>(ends: &[u32], bytes: &'a [u8], code: u32) -> &'a [u8] {
    let start = if code == 0 { 0 } else { ends[code as usize - 1] as usize };
    &bytes[start..ends[code as usize] as usize]
}

impl DictionaryBuilder {
    /// The code of a string, given now if it is new.
    pub fn code(&mut self, text: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(text);
        let (ends, bytes, hasher) = (&mut self.ends, &mut self.bytes, &self.hasher);
        if let Some(code) = self.codes.find(hash, |code| entry(ends, bytes, *code) == text) {
            return *code;
        }
        let code = ends.len() as u32;
        bytes.extend_from_slice(text);
        ends.push(bytes.len() as u32);
        self.codes.insert_unique(hash, code, |code| hasher.hash_one(entry(ends, bytes, *code)));
        code
    }

    /// The string of a code.
    pub fn get(&self, code: u32) -> &[u8] {
        entry(&self.ends, &self.bytes, code)
    }

    /// The number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without strings.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all strings.
    pub fn text_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Writes the two sections of a column.
    pub fn write(&self, column: u32, part: &mut PartWriter) -> Result<()> {
        let strings =
            crate::index::strings::strings_section((0..self.len() as u32).map(|code| self.get(code)));
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by(|a, b| self.get(*a).cmp(self.get(*b)));
        let stats = SectionStats { cardinality: self.len() as u32, ..SectionStats::default() };
        part.append(column, SectionKind::DictionaryStrings, 0, &strings, stats)?;
        part.append(column, SectionKind::DictionaryOrder, 0, order.as_bytes(), stats)?;
        Ok(())
    }
}

/// A column's dictionary: what a part has of it, read in place, and the strings since.
#[derive(Clone, Default)]
pub struct Dictionary {
    part: Option<(Arc<PartReader>, u32)>,
    fresh: FreshStrings,
}

impl Dictionary {
    /// The dictionary of a column in a part.
    pub fn open(part: Arc<PartReader>, column: u32) -> Dictionary {
        Dictionary { part: Some((part, column)), fresh: FreshStrings::default() }
    }

    /// Strings and codes in order, verified on first use.
    pub fn view(&self) -> Result<DictionaryRef<'_>> {
        let fresh = &self.fresh;
        let Some((part, column)) = &self.part else {
            let strings = StringsRef::EMPTY;
            return Ok(DictionaryRef { strings, order: &[], fresh });
        };
        let section = |kind| part.sections(*column, kind).bytes(0).map(|bytes| bytes.unwrap_or(&[]));
        let (strings, order) =
            (section(SectionKind::DictionaryStrings)?, section(SectionKind::DictionaryOrder)?);
        let strings = StringsRef::open(strings).map_err(|what| Error::from(part.malformed(0, what)))?;
        Ok(DictionaryRef { strings, order: <[u32]>::ref_from_bytes(order).unwrap_or(&[]), fresh })
    }

    /// True where it has strings that are in no part.
    pub fn is_fresh(&self) -> bool {
        !self.fresh.blocks.is_empty()
    }

    /// Takes over the strings that another state of the same dictionary has beyond this one.
    pub fn follow(&mut self, other: &Dictionary) -> Result<()> {
        let same = match (&self.part, &other.part) {
            (Some((ours, _)), Some((theirs, _))) => Arc::ptr_eq(ours, theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        if same {
            self.fresh.clone_from(&other.fresh);
            return Ok(());
        }
        let view = other.view()?;
        let known = self.view()?.len();
        let mut block = Block { first: known as u32, ..Block::default() };
        (known as u32..view.len() as u32).for_each(|code| block.add(view.get(code)));
        self.fresh.push(block);
        Ok(())
    }

    /// Writes the two sections of a column: all strings, those of the part it has too.
    pub fn write(&self, column: u32, part: &mut PartWriter) -> Result<()> {
        let view = self.view()?;
        let strings =
            crate::index::strings::strings_section((0..view.len() as u32).map(|code| view.get(code)));
        let stats = SectionStats { cardinality: view.len() as u32, ..SectionStats::default() };
        part.append(column, SectionKind::DictionaryStrings, 0, &strings, stats)?;
        part.append(column, SectionKind::DictionaryOrder, 0, view.order().as_bytes(), stats)?;
        Ok(())
    }

    /// Gives strings codes; those that have one keep it.
    pub fn add<'t>(&mut self, texts: impl IntoIterator<Item = &'t [u8]>) -> Result<()> {
        let view = self.view()?;
        let mut block = Block { first: view.len() as u32, ..Block::default() };
        for text in texts {
            if view.find(text).is_none() {
                block.add(text);
            }
        }
        self.fresh.push(block);
        Ok(())
    }
}

/// Strings that are in no part yet, in the order of their codes.
///
/// Blocks as in a binary counter, each smaller than half the one before: a commit adds one and shares the others with the
/// snapshots that have them.
#[derive(Clone, Default)]
struct FreshStrings {
    blocks: Vec<Arc<Block>>,
    /// All codes, those of the part too, in the order of their strings; made when first asked for.
    order: OnceLock<Arc<Vec<u32>>>,
}

#[derive(Clone, Default)]
struct Block {
    first: u32,
    texts: Vec<Box<[u8]>>,
    codes: HashMap<Box<[u8]>, u32, FixedState>,
}

impl Block {
    fn add(&mut self, text: &[u8]) {
        if !self.codes.contains_key(text) {
            self.codes.insert(text.into(), self.first + self.texts.len() as u32);
            self.texts.push(text.into());
        }
    }
}

impl FreshStrings {
    fn push(&mut self, mut block: Block) {
        if block.texts.is_empty() {
            return;
        }
        while let Some(before) = self.blocks.pop_if(|before| before.texts.len() <= 2 * block.texts.len()) {
            let mut merged = Arc::unwrap_or_clone(before);
            block.texts.iter().for_each(|text| merged.add(text));
            block = merged;
        }
        self.blocks.push(Arc::new(block));
        self.order = OnceLock::new();
    }

    fn len(&self) -> usize {
        self.blocks.iter().map(|block| block.texts.len()).sum()
    }

    fn get(&self, code: u32) -> &[u8] {
        let block = self.blocks.iter().rev().find(|block| block.first <= code);
        block.and_then(|block| block.texts.get((code - block.first) as usize)).map_or(&[], |text| text)
    }
}

/// An open dictionary.
#[derive(Clone, Copy)]
pub struct DictionaryRef<'a> {
    strings: StringsRef<'a>,
    order: &'a [u32],
    fresh: &'a FreshStrings,
}

impl<'a> DictionaryRef<'a> {
    /// The number of strings.
    pub fn len(&self) -> usize {
        self.order.len() + self.fresh.len()
    }

    /// True without strings.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The string of a code.
    #[inline]
    pub fn get(&self, code: u32) -> &'a [u8] {
        if (code as usize) < self.order.len() {
            self.strings.get(code as usize)
        } else {
            self.fresh.get(code)
        }
    }

    /// How many strings are below `text` by UTF-8 bytes (or, `inclusive`, not above it).
    pub fn rank(&self, text: &[u8], inclusive: bool) -> usize {
        self.rank_in(self.order(), text, inclusive)
    }

    fn rank_in(&self, order: &[u32], text: &[u8], inclusive: bool) -> usize {
        order.partition_point(|code| {
            let here = self.get(*code);
            here < text || (inclusive && here == text)
        })
    }

    /// The code of a string, if it has one. Cost: log₂ n string comparisons.
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        let known = self.order.get(self.rank_in(self.order, text, false)).copied();
        let known = known.filter(|code| self.get(*code) == text);
        known.or_else(|| self.fresh.blocks.iter().find_map(|block| block.codes.get(text).copied()))
    }

    /// The codes of the strings that contain a needle, ascending. The strings are searched as one text: a needle is rarely
    /// in it, and nothing is done per string.
    pub fn containing(&self, finder: &memchr::memmem::Finder<'_>) -> Vec<u32> {
        let mut codes = self.strings.containing(finder);
        let fresh = self.order.len() as u32..self.len() as u32;
        codes.extend(fresh.filter(|code| finder.find(self.get(*code)).is_some()));
        codes
    }

    /// The strings that begin with `prefix`, in order. Cost: log₂ n string comparisons, then one a string.
    pub fn beginning_with(&self, prefix: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (view, order) = (*self, self.order());
        let first = self.rank(prefix, false);
        let texts = order[first..].iter().map(move |code| view.get(*code));
        texts.take_while(move |text| text.starts_with(prefix))
    }

    /// The codes in the order of their strings. Cost: a merge, once, where there are strings that are in no part.
    pub fn order(&self) -> &'a [u32] {
        if self.fresh.blocks.is_empty() {
            return self.order;
        }
        self.fresh.order.get_or_init(|| {
            let mut codes =
                [self.order, &(self.order.len() as u32..self.len() as u32).collect::<Vec<_>>()].concat();
            // Two runs, of which the first is in order: a stable sort merges them.
            codes.sort_by(|a, b| self.get(*a).cmp(self.get(*b)));
            Arc::new(codes)
        })
    }

    /// The rank of each code: for sorting many rows by text.
    pub fn ranks(&self) -> Vec<u32> {
        let order = self.order();
        let mut ranks = vec![0; order.len()];
        order.iter().enumerate().for_each(|(rank, code)| ranks[*code as usize] = rank as u32);
        ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_strings_have_codes_places_and_an_order() {
        let mut dictionary = Dictionary::default();
        let text = |n: usize| format!("t{}", n * 7919 % 1000).into_bytes();
        let mut snapshots = Vec::new();
        for batch in 0..50 {
            let texts: Vec<Vec<u8>> = (0..20).map(|n| text(batch * 20 + n)).collect();
            dictionary.add(texts.iter().map(Vec::as_slice)).unwrap();
            dictionary.add(texts.iter().map(Vec::as_slice)).unwrap();
            snapshots.push(dictionary.clone());
            assert!(dictionary.fresh.blocks.len() <= 8, "{}", dictionary.fresh.blocks.len());
        }
        for (batch, snapshot) in snapshots.iter().enumerate() {
            let view = snapshot.view().unwrap();
            assert_eq!(view.len(), (batch + 1) * 20);
            for n in 0..view.len() {
                assert_eq!(view.get(n as u32), text(n));
                assert_eq!(view.find(&text(n)), Some(n as u32));
            }
            assert_eq!(view.find(b"t1000"), None);
            assert!(view.order().is_sorted_by(|a, b| view.get(*a) < view.get(*b)));
            assert_eq!(view.order().len(), view.len());
        }
    }
}
