//! Counts of rows: bytes, or 32 bits where a byte is too few.

use crate::kernel;
use muster_storage::chunk::Words;

/// A count of rows.
pub(super) trait Counter: Copy + Default + PartialEq {
    /// What it never exceeds.
    const MAX: u64;
    /// So many more, or the most there is.
    fn plus(self, more: u8) -> Self;
    fn number(self) -> u64;
    /// Writes which counts lie between two numbers.
    fn within(counts: &[Self], low: u64, high: u64, out: &mut Words);
}

macro_rules! counter {
    ($type:ty, $kernel:path) => {
        impl Counter for $type {
            const MAX: u64 = <$type>::MAX as u64;

            #[inline(always)]
            fn plus(self, more: u8) -> Self {
                self.saturating_add(more.into())
            }

            #[inline(always)]
            fn number(self) -> u64 {
                u64::from(self)
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
