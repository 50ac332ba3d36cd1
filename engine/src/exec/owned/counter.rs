//! Counts of rows: bytes, or 32 bits where a byte is too few.

use crate::kernel;
use muster_storage::chunk::Words;
use muster_storage::format::CHUNK_MEMBERS;
use std::ops::BitOrAssign;

/// Places in a line of the cache, and how many lines ahead of their use they are asked for: a tenth less time.
const PLACES_A_LINE: usize = 32;
const LINES_AHEAD: usize = 16;

/// A count of rows.
///
/// The bits of all counts that were made are kept, ORed: a count that would wrap has had its highest bit before.
pub(super) trait Counter: Copy + Default + PartialEq + BitOrAssign {
    /// What it never exceeds.
    const MAX: u64;
    /// One more.
    fn next(self) -> Self;
    fn number(self) -> u64;
    /// True of bits of counts of which one may have wrapped since.
    fn may_wrap(self) -> bool;
    /// Counts a row for each place; returns the bits of the counts it made.
    fn count(counts: &mut [Self; CHUNK_MEMBERS], places: &[u16]) -> Self;
    /// The same, without a word on what was made: [`Self::drain`] tells whether a count wrapped.
    fn add(counts: &mut [Self; CHUNK_MEMBERS], places: &[u16]);
    /// Writes which counts lie between two numbers, and sets all to 0; returns their sum.
    fn drain(counts: &mut [Self], low: u64, high: u64, out: &mut Words) -> u64;
    /// Writes which counts lie between two numbers.
    fn within(counts: &[Self], low: u64, high: u64, out: &mut Words);
}

/// Calls `hear` with each place, of which lines further on are asked for.
#[inline(always)]
fn for_each(places: &[u16], mut hear: impl FnMut(usize)) {
    for (line, some) in places.chunks(PLACES_A_LINE).enumerate() {
        kernel::prefetch(places, (line + LINES_AHEAD) * PLACES_A_LINE);
        some.iter().for_each(|place| hear(usize::from(*place)));
    }
}

macro_rules! counter {
    ($type:ty, $within:path, $drain:path) => {
        impl Counter for $type {
            const MAX: u64 = <$type>::MAX as u64;

            #[inline(always)]
            fn next(self) -> Self {
                self.wrapping_add(1)
            }

            #[inline(always)]
            fn number(self) -> u64 {
                u64::from(self)
            }

            fn may_wrap(self) -> bool {
                self > <$type>::MAX / 2
            }

            /// Alone in its function: among others its three pointers did not stay in registers, which took half the time.
            #[inline(never)]
            fn count(counts: &mut [Self; CHUNK_MEMBERS], places: &[u16]) -> Self {
                let mut bits = 0;
                for_each(places, |place| {
                    counts[place] = counts[place].wrapping_add(1);
                    bits |= counts[place];
                });
                bits
            }

            #[inline(never)]
            fn add(counts: &mut [Self; CHUNK_MEMBERS], places: &[u16]) {
                for_each(places, |place| counts[place] = counts[place].wrapping_add(1));
            }

            fn drain(counts: &mut [Self], low: u64, high: u64, out: &mut Words) -> u64 {
                // Nobody has more rows than counts can hold.
                let (low, high) = match <$type>::try_from(low) {
                    Ok(low) => (low, high.min(<Self as Counter>::MAX) as $type),
                    Err(_) => (1, 0),
                };
                $drain(counts, low, high, out)
            }

            fn within(counts: &[Self], low: u64, high: u64, out: &mut Words) {
                match <$type>::try_from(low) {
                    Ok(low) => $within(counts, low, high.min(<Self as Counter>::MAX) as $type, out),
                    Err(_) => out.fill(0),
                }
            }
        }
    };
}

counter!(u8, kernel::within_u8, kernel::drain_u8);
counter!(u32, kernel::within_u32, kernel::drain_u32);
