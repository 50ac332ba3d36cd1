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

use crate::kernel::prefetch;
use crate::schema::{ColumnId, DataType};
use crate::table::{ColumnReader, TableState};
use crate::value::Value;
use crate::{Error, Result};
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
/// Up to this many keys go through the steps together, so that their cache misses overlap; more are sorted first.
const LOOKUP_GROUP: usize = 32;
/// Keys of a sorted batch that a thread takes at a time.
const BATCH_SLICE: usize = 4_096;
/// How many keys ahead of its check a stored key is asked of the cache.
const KEYS_AHEAD: usize = 16;

/// How a table's keys are found; the catalog's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum KeyLayout {
    /// The table has no key, or no rows.
    None,
    /// The key of ordinal o is `first + o`.
    Sequence {
        /// The key of ordinal 0.
        first: i64,
    },
    /// By the key index.
    Hashed,
}

/// The key index of a table.
pub enum KeyIndex {
    /// See [`KeyLayout::None`].
    None,
    /// See [`KeyLayout::Sequence`].
    Sequence(i64),
    /// The part that holds the segments.
    Hashed(Arc<PartReader>),
}

/// A key to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        let bucket_bits = word(0)?;
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

/// The ordinals of some keys, in their order; `None` for a key that no member has.
///
/// Cost: under a microsecond each when warm, less in a batch: a batch is sorted and shared among the cores.
pub fn lookup(table: &TableState, keys: &[Key<'_>]) -> Result<Vec<Option<u32>>> {
    let Some(column) = table.schema().key else {
        return Err(Error::Invalid(format!("table \"{}\" has no key", table.schema().name)));
    };
    let part = match table.keys() {
        KeyIndex::None => return Ok(vec![None; keys.len()]),
        KeyIndex::Sequence(first) => {
            let found = |key: &Key<'_>| match key {
                Key::Integer(integer) => (integer.checked_sub(*first))
                    .filter(|distance| (0..table.rows() as i64).contains(distance))
                    .map(|distance| distance as u32),
                Key::Text(_) => None,
            };
            return Ok(keys.iter().map(found).collect());
        }
        KeyIndex::Hashed(part) => part,
    };
    let reader = table.key_reader(column);
    let sections = part.sections(column.0, SectionKind::Keys);
    let segment_bits = sections.entries().len().trailing_zeros();
    let segment = |number: u64| -> Result<Segment<'_>> {
        let entry = sections.entry(number as u16);
        let bytes = sections.bytes(number as u16)?.unwrap_or(&[]);
        let malformed = muster_storage::chunk::Malformed("a segment of the key index");
        Segment::open(bytes).ok_or_else(|| part.malformed(entry.map_or(0, |e| e.offset), malformed).into())
    };
    let group = |keys: &[Key<'_>]| -> Result<Vec<Option<u32>>> {
        let mut steps = Vec::with_capacity(keys.len());
        for key in keys {
            let hash = key.hash();
            let high = (hash >> 32) as u32;
            let segment = segment(top_bits(high, segment_bits))?;
            let bucket = segment.bucket(high, segment_bits);
            prefetch(segment.ends, bucket);
            steps.push((segment, bucket, hash as u32));
        }
        for (segment, bucket, _) in &steps {
            let entries = segment.entries_of(*bucket);
            prefetch(entries, 0);
            prefetch(entries, entries.len().saturating_sub(1));
        }
        let candidates = |(segment, bucket, tag): &(Segment<'_>, usize, u32)| {
            let tag = *tag;
            segment
                .entries_of(*bucket)
                .iter()
                .filter(move |e| e.tag == tag)
                .map(|e| e.ordinal)
                .collect::<Candidates>()
        };
        let candidates: Vec<Candidates> = steps.iter().map(candidates).collect();
        if reader.data_type() == DataType::Text {
            for ordinal in candidates.iter().flat_map(|c| c.first) {
                if let Some(strings) = reader.strings(ordinal >> 16)? {
                    strings.prefetch_bytes((ordinal & 0xffff) as usize);
                }
            }
        }
        keys.iter()
            .zip(&candidates)
            .map(|(key, candidates)| {
                for ordinal in candidates.first.iter().chain(&candidates.more) {
                    if stored_equals(&reader, *key, *ordinal)? {
                        return Ok(Some(*ordinal));
                    }
                }
                Ok(None)
            })
            .collect()
    };
    if keys.len() <= LOOKUP_GROUP {
        return group(keys);
    }
    // A large batch goes through the index in the order of hashes and through the keys in the order of ordinals: what it
    // touches then lies on neighbouring pages, where the keys' own order would open a new page at every step.
    let mut hashed: Vec<(u64, u32)> =
        keys.par_iter().enumerate().map(|(at, key)| (key.hash(), at as u32)).collect();
    hashed.par_sort_unstable();
    let candidates = (hashed.par_chunks(BATCH_SLICE))
        .map(|slice| {
            let mut candidates = Vec::with_capacity(slice.len());
            for (hash, at) in slice {
                let high = (hash >> 32) as u32;
                let segment = segment(top_bits(high, segment_bits))?;
                let entries = segment.entries_of(segment.bucket(high, segment_bits)).iter();
                candidates.extend(entries.filter(|e| e.tag == *hash as u32).map(|e| (e.ordinal, *at)));
            }
            Ok(candidates)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut candidates = candidates.concat();
    candidates.par_sort_unstable();
    let matched = (candidates.par_chunks(BATCH_SLICE))
        .map(|slice| {
            let mut matched = Vec::with_capacity(slice.len());
            for (number, (ordinal, at)) in slice.iter().enumerate() {
                if let Some((ahead, key)) = slice.get(number + KEYS_AHEAD) {
                    if let Some(strings) = reader.strings(ahead >> 16)? {
                        strings.prefetch_bytes((ahead & 0xffff) as usize);
                    }
                    if let Key::Text(text) = keys[*key as usize] {
                        prefetch(text, 0);
                    }
                }
                if stored_equals(&reader, keys[*at as usize], *ordinal)? {
                    matched.push((*ordinal, *at));
                }
            }
            Ok(matched)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut found = vec![None; keys.len()];
    matched.into_iter().flatten().for_each(|(ordinal, at)| found[at as usize] = Some(ordinal));
    Ok(found)
}

fn stored_equals(reader: &ColumnReader<'_>, key: Key<'_>, ordinal: u32) -> Result<bool> {
    Ok(match key {
        Key::Text(text) => stored_text(reader, ordinal)? == text,
        Key::Integer(integer) => stored_integer(reader, ordinal)? == Some(integer),
    })
}

/// Ordinals whose tag matched: nearly always none or one.
#[derive(Default)]
struct Candidates {
    first: Option<u32>,
    more: Vec<u32>,
}

impl FromIterator<u32> for Candidates {
    fn from_iter<I: IntoIterator<Item = u32>>(ordinals: I) -> Candidates {
        let mut ordinals = ordinals.into_iter();
        Candidates { first: ordinals.next(), more: ordinals.collect() }
    }
}
