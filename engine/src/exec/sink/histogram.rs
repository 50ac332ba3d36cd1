//! Counting a chunk's rows by the residual of their code.

use crate::index::values::{Residuals, with_planes};
use crate::kernel;

/// How far ahead of its use a row's code is asked of the cache.
const PREFETCH_AHEAD: usize = 24;

/// Adds each row to the count of its residual; false where residuals are of a form that is not counted so. A residual beyond the counts,
/// as damaged bytes may have, is passed over.
pub fn count_residuals(residuals: Residuals<'_>, rows: &[u16], counts: &mut [u64]) -> bool {
    macro_rules! count {
        ($residuals:expr) => {
            count!($residuals, |row: usize| $residuals[row])
        };
        ($residuals:expr, $residual:expr) => {
            for (at, row) in rows.iter().enumerate() {
                if let Some(ahead) = rows.get(at + PREFETCH_AHEAD) {
                    kernel::prefetch($residuals, usize::from(*ahead));
                }
                if let Some(count) = counts.get_mut($residual(usize::from(*row)) as usize) {
                    *count += 1;
                }
            }
        };
    }
    match residuals {
        Residuals::None => {
            if let Some(count) = counts.first_mut() {
                *count += rows.len() as u64;
            }
        }
        Residuals::U8(residuals) => count!(residuals),
        // One plane is the commonest: without the loop over planes.
        Residuals::Planes(low, [high]) => {
            count!(low, |row: usize| with_planes(low[row], std::slice::from_ref(high), row));
        }
        Residuals::Planes(low, high) => count!(low, |row: usize| with_planes(low[row], high, row)),
        Residuals::U16(residuals) => count!(residuals),
        Residuals::U32(residuals) => count!(residuals),
        Residuals::U64(_) | Residuals::WidePlanes(..) | Residuals::Excepted(..) => return false,
    }
    true
}
