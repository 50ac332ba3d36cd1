//! From a member's key to its ordinal: the key index.
//!
//! Keys that are a sequence (`first + ordinal`) need no index. All others are hashed:
//!
//! ```text
//! part of role KeyIndex: 2^s segments (sections Keys), by the top s bits of the hash
//! segment: bucket bits u32 │ count u32 │ 0… to 64 B │ bucket ends u32×2^b │ (tag u32, ordinal u32)×count
//! ```
//!
//! The next b bits of the hash choose a bucket of about eight entries, its low 32 bits are the tag. A tag that matches is
//! checked against the member's stored key, so an answer is exact whatever the hash does. A lookup touches four cache
//! lines: bucket end, entries, and the key itself. The hash is XXH3 (64 bits, seed 0) of the key's UTF-8 bytes, or of a
//! BIGINT's eight little-endian bytes.

mod fresh;
mod lookup;

pub use fresh::NewKeys;
pub use lookup::lookup;
pub(crate) use lookup::lookup_imported;

use crate::Result;
use crate::schema::{ColumnId, DataType};
use crate::table::{ColumnReader, TableState};
use crate::value::Value;
use bincode::{Decode, Encode};
use muster_storage::format::SectionKind;
use muster_storage::part::{PartReader, PartWriter, SectionStats};
use rayon::prelude::*;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;
use zerocopy::{FromBytes, IntoBytes};

/// Keys of a segment, on average: about a mebibyte, the unit of verification.
const SEGMENT_KEYS: usize = 1 << 17;
/// Keys of a bucket, on average.
const BUCKET_KEYS: usize = 8;
const HEADER_BYTES: usize = 64;

/// How a table's keys are found; the catalog's record, whose numbers never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[repr(u32)]
pub enum KeyLayout {
    /// The table has no key, or no rows.
    None = 0,
    /// The key of ordinal o is `first + o`.
    Sequence {
        /// The key of ordinal 0.
        first: i64,
    } = 1,
    /// By the key index.
    Hashed = 2,
}

/// The key index of a table.
#[derive(Clone)]
pub enum KeyIndex {
    /// See [`KeyLayout::None`].
    None,
    /// See [`KeyLayout::Sequence`].
    Sequence(i64),
    /// The part that holds the segments.
    Hashed(Arc<PartReader>),
}

/// A key to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// Of a BIGINT key.
    Integer(i64),
    /// Of a TEXT key.
    Text(&'a [u8]),
}

impl Key<'_> {
    fn hash(&self) -> u64 {
        match self {
            Key::Integer(integer) => xxh3_64(&integer.to_le_bytes()),
            Key::Text(text) => xxh3_64(text),
        }
    }
}

impl<'a> Key<'a> {
    /// The key that a value is, if it is one.
    pub fn of_value(value: &'a Value) -> Option<Key<'a>> {
        match value {
            Value::Integer(integer) => Some(Key::Integer(*integer)),
            Value::Text(text) => Some(Key::Text(text.as_bytes())),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
#[repr(C)]
struct Entry {
    tag: u32,
    ordinal: u32,
}

/// A hash in two halves beside its ordinal: 12 bytes a key while they are collected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Collected {
    high: u32,
    low: u32,
    ordinal: u32,
}

/// Gathers the keys of an import.
pub struct KeyCollector {
    sequence: Option<i64>,
    count: u32,
    partitions: Vec<Vec<Collected>>,
}

const PARTITION_BITS: u32 = 8;

/// Two members that have one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The ordinal that had it first.
    pub first: u32,
    /// The ordinal that has it again.
    pub second: u32,
}

impl Default for KeyCollector {
    fn default() -> KeyCollector {
        KeyCollector { sequence: None, count: 0, partitions: vec![Vec::new(); 1 << PARTITION_BITS] }
    }
}

impl KeyCollector {
    /// Takes the next key.
    pub fn push(&mut self, key: Key<'_>) {
        let ordinal = self.count;
        self.count += 1;
        if let Key::Integer(integer) = key {
            if ordinal == 0 {
                self.sequence = Some(integer);
                return;
            }
            if self.sequence.and_then(|first| first.checked_add(i64::from(ordinal))) == Some(integer) {
                return;
            }
        }
        if let Some(first) = self.sequence.take() {
            (0..ordinal).for_each(|o| self.collect(Key::Integer(first + i64::from(o)), o));
        }
        self.collect(key, ordinal);
    }

    fn collect(&mut self, key: Key<'_>, ordinal: u32) {
        let hash = key.hash();
        let collected = Collected { high: (hash >> 32) as u32, low: hash as u32, ordinal };
        self.partitions[(hash >> (64 - PARTITION_BITS)) as usize].push(collected);
    }

    /// How the keys can be found.
    pub fn layout(&self) -> KeyLayout {
        match (self.count, self.sequence) {
            (0, _) => KeyLayout::None,
            (_, Some(first)) => KeyLayout::Sequence { first },
            _ => KeyLayout::Hashed,
        }
    }

    /// Sorts the keys; the first duplicate by position, if there is one. `key_of` reads a stored key.
    pub fn sort(&mut self, table: &TableState, key: ColumnId) -> Result<Option<Duplicate>> {
        let reader = table.reader(key)?;
        let duplicates = (self.partitions.par_iter_mut())
            .map(|partition| {
                partition.sort_unstable();
                let mut found: Option<Duplicate> = None;
                for pair in equal_hash_pairs(partition) {
                    if stored_key_equal(&reader, pair.0, pair.1)? {
                        let duplicate = Duplicate { first: pair.0.min(pair.1), second: pair.0.max(pair.1) };
                        found = found.filter(|f| f.second <= duplicate.second).or(Some(duplicate));
                    }
                }
                Ok(found)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(duplicates.into_iter().flatten().min_by_key(|d| d.second))
    }

    /// Writes the segments. Call [`Self::sort`] first.
    pub fn write(self, key: ColumnId, part: &mut PartWriter) -> Result<()> {
        let segment_bits = (self.count as usize / SEGMENT_KEYS).next_power_of_two().trailing_zeros().min(16);
        let mut sorted = self.partitions.into_iter().flatten().peekable();
        for segment in 0..1u64 << segment_bits {
            let mut keys = Vec::new();
            while let Some(collected) = sorted.next_if(|c| top_bits(c.high, segment_bits) == segment) {
                keys.push(collected);
            }
            let section = segment_section(&keys, segment_bits);
            let stats = SectionStats { cardinality: keys.len() as u32, ..SectionStats::default() };
            part.append(key.0, SectionKind::Keys, segment as u16, &section, stats)?;
        }
        Ok(())
    }
}

fn top_bits(high: u32, bits: u32) -> u64 {
    u64::from(high) << 32 >> (64 - bits.max(1)) >> u32::from(bits == 0)
}

fn bucket_of(high: u32, segment_bits: u32, bucket_bits: u32) -> usize {
    let rest = u64::from(high) << 32 << segment_bits;
    if bucket_bits == 0 { 0 } else { (rest >> (64 - bucket_bits)) as usize }
}

fn equal_hash_pairs(sorted: &[Collected]) -> impl Iterator<Item = (u32, u32)> + '_ {
    sorted.iter().enumerate().flat_map(move |(at, a)| {
        let same = sorted[at + 1..].iter().take_while(move |b| (b.high, b.low) == (a.high, a.low));
        same.map(move |b| (a.ordinal, b.ordinal))
    })
}

fn segment_section(keys: &[Collected], segment_bits: u32) -> Vec<u8> {
    let bucket_bits = (keys.len() / BUCKET_KEYS).next_power_of_two().trailing_zeros().min(32 - segment_bits);
    let mut ends = vec![0u32; 1 << bucket_bits];
    keys.iter().for_each(|k| ends[bucket_of(k.high, segment_bits, bucket_bits)] += 1);
    let mut end = 0;
    for slot in &mut ends {
        end += *slot;
        *slot = end;
    }
    // Keys are sorted by hash, hence by bucket.
    let entries: Vec<Entry> = keys.iter().map(|k| Entry { tag: k.low, ordinal: k.ordinal }).collect();
    let mut section = Vec::with_capacity(HEADER_BYTES + 4 * ends.len() + 8 * entries.len());
    section.extend_from_slice(&bucket_bits.to_le_bytes());
    section.extend_from_slice(&(keys.len() as u32).to_le_bytes());
    section.resize(HEADER_BYTES, 0);
    section.extend_from_slice(ends.as_bytes());
    section.extend_from_slice(entries.as_bytes());
    section
}

fn stored_key_equal(reader: &ColumnReader<'_>, a: u32, b: u32) -> Result<bool> {
    Ok(match reader.data_type() {
        DataType::Text => stored_text(reader, a)? == stored_text(reader, b)?,
        _ => stored_integer(reader, a)? == stored_integer(reader, b)?,
    })
}

fn stored_text<'a>(reader: &ColumnReader<'a>, ordinal: u32) -> Result<&'a [u8]> {
    let strings = reader.strings(ordinal >> 16)?;
    Ok(strings.map_or(&[][..], |strings| strings.get((ordinal & 0xffff) as usize)))
}

fn stored_integer(reader: &ColumnReader<'_>, ordinal: u32) -> Result<Option<i64>> {
    let row = (ordinal & 0xffff) as usize;
    Ok(reader.values(ordinal >> 16)?.filter(|values| row < values.rows).map(|values| values.get(row)))
}

/// One segment, read in place.
#[derive(Clone, Copy)]
struct Segment<'a> {
    bucket_bits: u32,
    ends: &'a [u32],
    entries: &'a [Entry],
}

impl<'a> Segment<'a> {
    fn open(section: &'a [u8]) -> Option<Segment<'a>> {
        let word =
            |at: usize| section.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        let bucket_bits = word(0).filter(|bits| *bits <= 32)?;
        let entries_at = HEADER_BYTES + 4usize.checked_shl(bucket_bits)?;
        let ends = <[u32]>::ref_from_bytes(section.get(HEADER_BYTES..entries_at)?).ok()?;
        let entries = section.get(entries_at..entries_at + 8 * word(4)? as usize)?;
        Some(Segment { bucket_bits, ends, entries: <[Entry]>::ref_from_bytes(entries).ok()? })
    }

    fn bucket(&self, high: u32, segment_bits: u32) -> usize {
        bucket_of(high, segment_bits, self.bucket_bits)
    }

    fn entries_of(&self, bucket: usize) -> &'a [Entry] {
        let start = if bucket == 0 { 0 } else { self.ends[bucket - 1] as usize };
        self.entries.get(start..self.ends[bucket] as usize).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_storage::disk::Bytes;

    /// A shift by 62 bits leaves nothing of the 4 bytes a bucket, and a segment without buckets was opened.
    #[test]
    fn a_segment_of_more_buckets_than_bytes_is_refused() {
        let honest = segment_section(&[Collected { high: 1, low: 2, ordinal: 3 }], 0);
        assert!(Segment::open(&Bytes::copied(&honest)).is_some());
        for bits in [20u32, 32, 33, 61, 62, 63, 64, u32::MAX] {
            let mut section = honest.clone();
            section[..4].copy_from_slice(&bits.to_le_bytes());
            assert!(Segment::open(&Bytes::copied(&section)).is_none(), "{bits} bits");
        }
    }
}
