//! The way from keys to ordinals: hash, bucket, entries, and the stored key, which has the last word.
//!
//! A few keys take each step together, so that their cache misses overlap. A large batch goes through the index by hash and
//! through the stored keys by ordinal, each time grouped so that a thread stays within a few pages at a time.

use super::{Key, KeyIndex, Segment, top_bits};
use crate::index::strings::StringsRef;
use crate::index::values::ValuesRef;
use crate::kernel::prefetch;
use crate::schema::{ColumnId, DataType};
use crate::table::TableState;
use crate::{Error, Result};
use muster_storage::chunk::Malformed;
use muster_storage::format::SectionKind;
use muster_storage::part::PartReader;
use rayon::prelude::*;

/// Up to this many keys go through the steps together; more are grouped first.
const FEW: usize = 32;
/// Digits of a grouping: more would scatter it over more streams than a cache follows.
const DIGITS_MAX: usize = 1 << 11;
/// Keys of a grouped batch that a thread takes at a time.
const SLICE: usize = 4_096;
/// How many keys ahead of its use a line is asked of the cache.
const AHEAD: usize = 12;

/// The ordinals of some keys, in their order; `None` for a key that no member has.
///
/// Cost: about a microsecond for one key when warm; in a large batch, which is shared among the cores, a fifth of that.
pub fn lookup(table: &TableState, keys: &[Key<'_>]) -> Result<Vec<Option<u32>>> {
    let Some(column) = table.schema().key else {
        return Err(Error::Invalid(format!("table \"{}\" has no key", table.schema().name)));
    };
    let mut found = indexed(table, column, keys)?;
    let fresh = &table.new_keys;
    if !fresh.is_empty() {
        let both = found.iter_mut().zip(keys);
        both.for_each(|(found, key)| *found = fresh.get(*key).or(*found));
    }
    if table.has_dead() {
        // A member that is gone is still in the index.
        let live = table.reader(ColumnId::LIVE)?;
        for ordinal in found.iter_mut() {
            if let Some(one) = *ordinal
                && !live.is_true(one)?
            {
                *ordinal = None;
            }
        }
    }
    Ok(found)
}

/// The ordinals that members with some keys have or had among those that were imported.
pub(crate) fn lookup_imported(table: &TableState, keys: &[Key<'_>]) -> Result<Vec<Option<u32>>> {
    match table.schema().key {
        Some(column) => indexed(table, column, keys),
        None => Ok(vec![None; keys.len()]),
    }
}

/// The ordinals that the key index gives, also of members that are gone.
fn indexed(table: &TableState, column: ColumnId, keys: &[Key<'_>]) -> Result<Vec<Option<u32>>> {
    let part = match table.keys() {
        KeyIndex::None => return Ok(vec![None; keys.len()]),
        KeyIndex::Sequence(first) => {
            let found = |key: &Key<'_>| match key {
                Key::Integer(integer) => (integer.checked_sub(*first))
                    .filter(|distance| (0..table.extent().indexed as i64).contains(distance))
                    .map(|distance| distance as u32),
                Key::Text(_) => None,
            };
            return Ok(keys.iter().map(found).collect());
        }
        KeyIndex::Hashed(part) => part,
    };
    let keys_of = StoredKeys { table, column, kind: StoredKeys::kind(table, column) };
    let index = Index::new(part, column);
    if keys.len() <= FEW { few(&index, &keys_of, keys) } else { many(&index, &keys_of, keys) }
}

/// The key index, open.
struct Index<'a> {
    part: &'a PartReader,
    sections: muster_storage::part::Sections<'a>,
    segment_bits: u32,
}

impl<'a> Index<'a> {
    fn new(part: &'a PartReader, column: ColumnId) -> Index<'a> {
        let sections = part.sections(column.0, SectionKind::Keys);
        Index { part, sections, segment_bits: sections.entries().len().trailing_zeros() }
    }

    /// The segment that a hash belongs to, and its bucket there.
    fn bucket(&self, hash: u64) -> Result<(Segment<'a>, usize)> {
        let high = (hash >> 32) as u32;
        let number = top_bits(high, self.segment_bits) as u16;
        let bytes = self.sections.bytes(number)?.unwrap_or(&[]);
        let segment = Segment::open(bytes).ok_or_else(|| {
            let offset = self.sections.entry(number).map_or(0, |entry| entry.offset);
            self.part.malformed(offset, Malformed("a segment of the key index"))
        })?;
        Ok((segment, segment.bucket(high, self.segment_bits)))
    }
}

/// The keys as they are stored with the members.
struct StoredKeys<'a> {
    table: &'a TableState,
    column: ColumnId,
    kind: SectionKind,
}

/// The keys of one chunk.
#[derive(Clone, Copy)]
enum ChunkKeys<'a> {
    Texts(StringsRef<'a>),
    Integers(ValuesRef<'a>),
    /// The chunk has no such section.
    None,
}

impl<'a> StoredKeys<'a> {
    fn kind(table: &TableState, column: ColumnId) -> SectionKind {
        match table.schema().column(column).map(|column| column.data_type) {
            Some(DataType::Text) => SectionKind::Strings,
            _ => SectionKind::Values,
        }
    }

    fn chunk(&self, chunk: u32) -> Result<ChunkKeys<'a>> {
        let Some((part, offset, bytes)) = self.table.section(self.column, self.kind, chunk)? else {
            return Ok(ChunkKeys::None);
        };
        let keys = match self.kind {
            SectionKind::Strings => StringsRef::open(bytes).map(ChunkKeys::Texts),
            _ => ValuesRef::open(bytes).map(ChunkKeys::Integers),
        };
        keys.map_err(|what| part.malformed(offset, what).into())
    }
}

impl ChunkKeys<'_> {
    /// True where the member of this row has the key.
    fn holds(&self, row: usize, key: Key<'_>) -> bool {
        match (self, key) {
            (ChunkKeys::Texts(strings), Key::Text(text)) => strings.get(row) == text,
            (ChunkKeys::Integers(values), Key::Integer(integer)) => {
                row < values.rows && values.get(row) == integer
            }
            _ => false,
        }
    }

    fn prefetch(&self, row: usize) {
        match self {
            ChunkKeys::Texts(strings) => strings.prefetch_bytes(row),
            ChunkKeys::Integers(values) if row < values.rows => values.residuals.prefetch(row),
            ChunkKeys::Integers(_) | ChunkKeys::None => {}
        }
    }
}

fn few(index: &Index<'_>, stored: &StoredKeys<'_>, keys: &[Key<'_>]) -> Result<Vec<Option<u32>>> {
    let mut steps = Vec::with_capacity(keys.len());
    for key in keys {
        let hash = key.hash();
        let (segment, bucket) = index.bucket(hash)?;
        prefetch(segment.ends, bucket);
        steps.push((segment, bucket, hash as u32));
    }
    for (segment, bucket, _) in &steps {
        let entries = segment.entries_of(*bucket);
        prefetch(entries, 0);
        prefetch(entries, entries.len().saturating_sub(1));
    }
    // Nearly always none or one a key.
    let mut candidates = Vec::with_capacity(keys.len());
    for (at, (segment, bucket, tag)) in steps.iter().enumerate() {
        for entry in segment.entries_of(*bucket).iter().filter(|entry| entry.tag == *tag) {
            let chunk = stored.chunk(entry.ordinal >> 16)?;
            chunk.prefetch((entry.ordinal & 0xffff) as usize);
            candidates.push((at, entry.ordinal, chunk));
        }
    }
    let mut found = vec![None; keys.len()];
    for (at, ordinal, chunk) in candidates {
        if chunk.holds((ordinal & 0xffff) as usize, keys[at]) {
            found[at] = Some(ordinal);
        }
    }
    Ok(found)
}

fn many(index: &Index<'_>, stored: &StoredKeys<'_>, keys: &[Key<'_>]) -> Result<Vec<Option<u32>>> {
    let hashed: Vec<(u64, u32)> =
        keys.par_iter().enumerate().map(|(at, key)| (key.hash(), at as u32)).collect();
    let hashed = grouped(&hashed, DIGITS_MAX, |(hash, _)| (hash >> (64 - DIGITS_MAX.ilog2())) as usize);
    let candidates = (hashed.par_chunks(SLICE))
        .map(|slice| {
            let mut buckets = Vec::with_capacity(slice.len());
            for (hash, _) in slice {
                let (segment, bucket) = index.bucket(*hash)?;
                prefetch(segment.ends, bucket);
                buckets.push((segment, bucket));
            }
            let mut candidates = Vec::with_capacity(slice.len());
            for (number, ((hash, at), (segment, bucket))) in slice.iter().zip(&buckets).enumerate() {
                if let Some((segment, bucket)) = buckets.get(number + AHEAD) {
                    let entries = segment.entries_of(*bucket);
                    prefetch(entries, 0);
                    prefetch(entries, entries.len().saturating_sub(1));
                }
                let entries = segment.entries_of(*bucket).iter();
                candidates.extend(entries.filter(|e| e.tag == *hash as u32).map(|e| (e.ordinal, *at)));
            }
            Ok(candidates)
        })
        .collect::<Result<Vec<_>>>()?;
    let chunks = stored.table.chunks() as usize;
    let digits = chunks.clamp(1, DIGITS_MAX);
    let candidates = grouped(&candidates.concat(), digits, |(ordinal, _)| {
        // An ordinal beyond the table belongs to damaged bytes, and will match nothing.
        ((*ordinal as usize >> 16) * digits / chunks.max(1)).min(digits - 1)
    });
    let matched = (candidates.par_chunks(SLICE))
        .map(|slice| {
            let mut opened = Vec::with_capacity(slice.len());
            let mut last = None;
            for (ordinal, _) in slice {
                let chunk = match last {
                    Some((number, chunk)) if number == ordinal >> 16 => chunk,
                    _ => stored.chunk(ordinal >> 16)?,
                };
                last = Some((ordinal >> 16, chunk));
                opened.push(chunk);
            }
            let mut matched = Vec::with_capacity(slice.len());
            for (number, (ordinal, at)) in slice.iter().enumerate() {
                if let Some((ahead, key)) = slice.get(number + AHEAD) {
                    opened[number + AHEAD].prefetch((ahead & 0xffff) as usize);
                    if let Key::Text(text) = keys[*key as usize] {
                        prefetch(text, 0);
                    }
                }
                if opened[number].holds((ordinal & 0xffff) as usize, keys[*at as usize]) {
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

/// Brings items of one digit (below `digits`) together: one pass that counts, one that places.
fn grouped<T: Copy>(items: &[T], digits: usize, digit: impl Fn(&T) -> usize) -> Vec<T> {
    let mut starts = vec![0u32; digits];
    items.iter().for_each(|item| starts[digit(item)] += 1);
    let mut start = 0;
    for count in &mut starts {
        (*count, start) = (start, start + *count);
    }
    let mut placed = items.to_vec();
    for item in items {
        let slot = &mut starts[digit(item)];
        placed[*slot as usize] = *item;
        *slot += 1;
    }
    placed
}
