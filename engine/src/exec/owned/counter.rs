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
    /// Writes which counts lie between two numbers.
    fn within(counts: &[Self], low: u64, high: u64, out: &mut Words);
}

macro_rules! counter {
    ($type:ty, $kernel:path) => {
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
                for (line, some) in places.chunks(PLACES_A_LINE).enumerate() {
                    kernel::prefetch(places, (line + LINES_AHEAD) * PLACES_A_LINE);
                    for place in some {
                        let count = &mut counts[usize::from(*place)];
                        *count = count.wrapping_add(1);
                        bits |= *count;
                    }
                }
                bits
            }

            fn within(counts: &[Self], low: u64, high: u64, out: &mut Words) {
                match <$type>::try_from(low) {
                    Ok(low) => $kernel(counts, low, high.min(<Self as Counter>::MAX) as $type, out),
                    Err(_) => out.fill(0),
                }
            }
        }
    };
}

counter!(u8, kernel::within_u8);
counter!(u32, kernel::within_u32);
