//! Counts, bitmaps, the first ordinals.

use super::{Found, Sink};
use crate::Result;
use crate::table::TableState;
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

    fn take(&self, (): &(), partial: &mut u64, _: u32, found: Found<'_>) -> Result<u64> {
        *partial += found.cardinality() as u64;
        Ok(0)
    }

    fn take_count(&self, partial: &mut u64, count: u32) {
        *partial += u64::from(count);
    }

    fn merge(&self, into: &mut u64, from: u64) {
        *into += from;
    }

    fn finish(&self, (): &(), partial: u64) -> Result<u64> {
        Ok(partial)
    }
}

/// The members as a Roaring bitmap of ordinals.
pub struct Members;

impl Sink for Members {
    type Reader<'a> = ();
    type Partial = RoaringBitmap;
    type Output = RoaringBitmap;

    fn open(&self, _: &TableState) -> Result<()> {
        Ok(())
    }

    fn begin(&self) -> RoaringBitmap {
        RoaringBitmap::new()
    }

    fn take(&self, (): &(), partial: &mut RoaringBitmap, chunk: u32, found: Found<'_>) -> Result<u64> {
        let first = chunk << 16;
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
        Ok(0)
    }

    fn merge(&self, into: &mut RoaringBitmap, from: RoaringBitmap) {
        *into |= from;
    }

    fn finish(&self, (): &(), partial: RoaringBitmap) -> Result<RoaringBitmap> {
        Ok(partial)
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

    fn open(&self, _: &TableState) -> Result<()> {
        Ok(())
    }

    fn begin(&self) -> Vec<u32> {
        Vec::new()
    }

    fn take(&self, (): &(), partial: &mut Vec<u32>, chunk: u32, found: Found<'_>) -> Result<u64> {
        let mut buffer = Vec::new();
        let rows = found.rows(&mut buffer);
        let wanted = rows.len().min(self.limit - partial.len());
        partial.extend(rows[..wanted].iter().map(|row| chunk << 16 | u32::from(*row)));
        Ok(0)
    }

    fn merge(&self, into: &mut Vec<u32>, from: Vec<u32>) {
        into.extend(from);
        into.truncate(self.limit);
    }

    fn is_full(&self, partial: &Vec<u32>) -> bool {
        partial.len() >= self.limit
    }

    fn finish(&self, (): &(), partial: Vec<u32>) -> Result<Vec<u32>> {
        Ok(partial)
    }
}
