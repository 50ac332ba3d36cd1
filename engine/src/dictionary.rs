//! A column's dictionary: strings to codes and back. Codes are column-wide, given in the order of arrival, never
//! renumbered; the order of the strings stands in a rank table beside them.
//!
//! ```text
//! part of role Dictionary, column c: DictionaryStrings (a strings section by code) │ DictionaryOrder (codes by string, u32 each)
//! ```

use crate::index::strings::StringsRef;
use crate::{Error, Result};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use muster_storage::format::SectionKind;
use muster_storage::part::{PartReader, PartWriter, SectionStats};
use std::hash::BuildHasher;
use std::sync::Arc;
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

/// A column's dictionary, read in place.
#[derive(Clone)]
pub struct Dictionary {
    part: Arc<PartReader>,
    column: u32,
}

impl Dictionary {
    /// The dictionary of a column in a part.
    pub fn open(part: Arc<PartReader>, column: u32) -> Dictionary {
        Dictionary { part, column }
    }

    /// Strings and codes in order, verified on first use.
    pub fn view(&self) -> Result<DictionaryRef<'_>> {
        let section = |kind| self.part.sections(self.column, kind).bytes(0).map(|bytes| bytes.unwrap_or(&[]));
        let (strings, order) =
            (section(SectionKind::DictionaryStrings)?, section(SectionKind::DictionaryOrder)?);
        let strings = StringsRef::open(strings).map_err(|what| Error::from(self.part.malformed(0, what)))?;
        Ok(DictionaryRef { strings, order: <[u32]>::ref_from_bytes(order).unwrap_or(&[]) })
    }
}

/// An open dictionary.
#[derive(Clone, Copy)]
pub struct DictionaryRef<'a> {
    strings: StringsRef<'a>,
    order: &'a [u32],
}

impl<'a> DictionaryRef<'a> {
    /// The number of strings.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True without strings.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The string of a code.
    pub fn get(&self, code: u32) -> &'a [u8] {
        self.strings.get(code as usize)
    }

    /// How many strings are below `text` by UTF-8 bytes (or, `inclusive`, not above it).
    pub fn rank(&self, text: &[u8], inclusive: bool) -> usize {
        self.order.partition_point(|code| {
            let here = self.get(*code);
            here < text || (inclusive && here == text)
        })
    }

    /// The code of a string, if it has one. Cost: log₂ n string comparisons.
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        self.order.get(self.rank(text, false)).copied().filter(|code| self.get(*code) == text)
    }

    /// The codes of the strings that contain a needle, ascending. The strings are searched as one text: a needle is rarely
    /// in it, and nothing is done per string.
    pub fn containing(&self, finder: &memchr::memmem::Finder<'_>) -> Vec<u32> {
        self.strings.containing(finder)
    }

    /// The strings that begin with `prefix`, in order. Cost: log₂ n string comparisons, then one a string.
    pub fn beginning_with(&self, prefix: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (strings, order) = (self.strings, self.order);
        let first = self.rank(prefix, false);
        let texts = order[first..].iter().map(move |code| strings.get(*code as usize));
        texts.take_while(move |text| text.starts_with(prefix))
    }

    /// The codes in the order of their strings.
    pub fn order(&self) -> &'a [u32] {
        self.order
    }

    /// The rank of each code: for sorting many rows by text.
    pub fn ranks(&self) -> Vec<u32> {
        let mut ranks = vec![0; self.order.len()];
        self.order.iter().enumerate().for_each(|(rank, code)| ranks[*code as usize] = rank as u32);
        ranks
    }
}
