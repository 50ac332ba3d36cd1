//! Counts, bitmaps, the first ordinals.

use super::{Found, Sink};
use crate::Result;
use crate::control::Held;
use crate::table::TableState;
use muster_storage::format::BITSET_WORDS;
use roaring::RoaringBitmap;
use zerocopy::IntoBytes;

/// `count(*)`: a `u64`.
pub struct Count;

impl Sink for Count {
    type Reader<'a> = ();
    type Partial = u64;
    type Output = u64;
    const COUNTS: bool = true;

    fn open(&self, _: &TableState) -> Result<()> {
        Ok(())
    }

    fn begin(&self) -> u64 {
        0
    }

    fn take(&self, (): &(), partial: &mut u64, _: u32, found: Found<'_>, _: &mut Held) -> Result<u64> {
        *partial += found.cardinality() as u64;
        Ok(0)
    }

    fn take_count(&self, partial: &mut u64, count: u32) {
        *partial += u64::from(count);
    }

    fn merge(&self, into: &mut u64, from: u64) {
        *into += from;
    }

    fn finish(&self, (): &(), partial: u64, _: &mut Held) -> Result<u64> {
        Ok(partial)
    }
}

/// A container of a Roaring bitmap beside its members.
const CONTAINER_BYTES: usize = 48;

/// The members as a Roaring bitmap of ordinals.
pub struct Members;

impl Sink for Members {
    type Reader<'a> = ();
    /// The members, and the bytes of their containers.
    type Partial = (RoaringBitmap, usize);
    type Output = RoaringBitmap;

    fn open(&self, _: &TableState) -> Result<()> {
        Ok(())
    }

    fn begin(&self) -> (RoaringBitmap, usize) {
        (RoaringBitmap::new(), 0)
    }

    fn take(
        &self,
        (): &(),
        (partial, bytes): &mut (RoaringBitmap, usize),
        chunk: u32,
        found: Found<'_>,
        held: &mut Held,
    ) -> Result<u64> {
        let first = chunk << 16;
        *bytes += CONTAINER_BYTES + (2 * found.cardinality()).min(8 * BITSET_WORDS);
        match found {
            Found::Everyone(rows) => {
                partial.insert_range(first..=first + (rows as u32 - 1));
            }
            Found::Members(members) => {
                // Chunks come in order, so every ordinal is above those already there.
                let _ = partial.append(members.iter().map(|m| first | u32::from(*m)));
            }
            Found::Words(words, _) => *partial |= RoaringBitmap::from_lsb0_bytes(first, words.as_bytes()),
        }
        held.set(*bytes)?;
        Ok(0)
    }

    fn merge(&self, into: &mut (RoaringBitmap, usize), from: (RoaringBitmap, usize)) {
        into.0 |= from.0;
        into.1 += from.1;
    }

    fn finish(&self, (): &(), partial: (RoaringBitmap, usize), _: &mut Held) -> Result<RoaringBitmap> {
        Ok(partial.0)
    }
}

/// The first `limit` ordinals, ascending.
pub struct First {
    /// How many.
    pub limit: usize,
}

impl Sink for First {
    type Reader<'a> = ();
    type Partial = Vec<u32>;
    type Output = Vec<u32>;
    const SEQUENTIAL: bool = true;
    const HOLDS: &'static str = "the ordinals of the rows";

    fn open(&self, _: &TableState) -> Result<()> {
        Ok(())
    }

    fn begin(&self) -> Vec<u32> {
        Vec::new()
    }

    fn take(
        &self,
        (): &(),
        partial: &mut Vec<u32>,
        chunk: u32,
        found: Found<'_>,
        held: &mut Held,
    ) -> Result<u64> {
        let mut buffer = Vec::new();
        let rows = found.rows(&mut buffer);
        let wanted = rows.len().min(self.limit - partial.len());
        partial.extend(rows[..wanted].iter().map(|row| chunk << 16 | u32::from(*row)));
        held.set(partial.capacity() * size_of::<u32>())?;
        Ok(0)
    }

    fn merge(&self, into: &mut Vec<u32>, from: Vec<u32>) {
        into.extend(from);
        into.truncate(self.limit);
    }

    fn is_full(&self, partial: &Vec<u32>) -> bool {
        partial.len() >= self.limit
    }

    fn finish(&self, (): &(), partial: Vec<u32>, _: &mut Held) -> Result<Vec<u32>> {
        Ok(partial)
    }
}
