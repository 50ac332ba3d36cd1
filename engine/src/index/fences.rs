//! From a bound to its rank in a chunk: sampled values in three levels, then the rows between two samples.
//!
//! ```text
//! base i64 │ divisor u64 │ count u32 │ width u8 │ 0… to 64 B │ coarse │ middle │ fine
//! ```
//!
//! `coarse` holds the residual of every [`COARSE_STEP`]th rank, `middle` of every [`MIDDLE_STEP`]th, `fine` of every
//! [`FENCE_STEP`]th: at four bytes a value, what a search reads of each is a cache line or two. The values between two
//! fine fences are looked up through the permutation and `Values`, so no sorted copy of the values is kept. A rank costs
//! nine cache lines, whatever the number of rows, and with it a count.

use super::values::{Frame, Framed, Residuals, VALUES_HEADER_BYTES, extend_narrowed};
use crate::kernel;
use muster_storage::chunk::Malformed;

/// Ranks from one coarse fence to the next.
pub const COARSE_STEP: usize = 2048;
/// Ranks from one middle fence to the next.
pub const MIDDLE_STEP: usize = 128;
/// Ranks from one fine fence to the next; a power of two, so that the rows between are halved down to one.
pub const FENCE_STEP: usize = 8;

const HEADER_BYTES: usize = 64;

/// A `Fences` section, read in place.
#[derive(Clone, Copy)]
pub struct FencesRef<'a> {
    frame: Frame,
    count: usize,
    coarse: Residuals<'a>,
    middle: Residuals<'a>,
    fine: Residuals<'a>,
}

impl<'a> FencesRef<'a> {
    /// Opens a section.
    pub fn open(section: &'a [u8]) -> Result<FencesRef<'a>, Malformed> {
        let malformed = Malformed("a header of fences");
        let header = section.get(..HEADER_BYTES).ok_or(malformed)?;
        let long = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes).map_err(|_| malformed);
        let count = header[16..20].try_into().map(u32::from_le_bytes).map_err(|_| malformed)? as usize;
        let width = header[20];
        let frame = Frame { base: long(0)? as i64, divisor: long(8)?, slope: 0 };
        if frame.divisor == 0 {
            return Err(Malformed("a divisor other than 0"));
        }
        let mut body = &section[HEADER_BYTES..];
        let mut level = |step: usize| {
            let fences = count.div_ceil(step);
            let residuals = Residuals::read(body, width, fences)?;
            body = &body[fences * usize::from(width)..];
            Ok(residuals)
        };
        let (coarse, middle, fine) = (level(COARSE_STEP)?, level(MIDDLE_STEP)?, level(FENCE_STEP)?);
        Ok(FencesRef { frame, count, coarse, middle, fine })
    }

    /// Values in the chunk.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The residuals of the `Values` section that goes with these fences: their width is the same, so the section's
    /// own header need not be touched.
    pub fn residuals_of(&self, values: &'a [u8]) -> Result<Residuals<'a>, Malformed> {
        let residuals = values.get(VALUES_HEADER_BYTES..).ok_or(Malformed("a header of values"))?;
        let width = self.fine.width();
        let rows = residuals.len().checked_div(width).unwrap_or(0);
        Residuals::read(residuals, width as u8, rows)
    }
}

/// The `Fences` section of framed rows, given in the order of their residuals.
pub fn fences_section(framed: &Framed, rows: &[u16]) -> Vec<u8> {
    let mut fences = Vec::new();
    fences.extend_from_slice(&framed.frame.base.to_le_bytes());
    fences.extend_from_slice(&framed.frame.divisor.to_le_bytes());
    fences.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    fences.push(framed.width);
    fences.resize(HEADER_BYTES, 0);
    for step in [COARSE_STEP, MIDDLE_STEP, FENCE_STEP] {
        let sampled = rows.iter().step_by(step).map(|row| framed.residuals[usize::from(*row)]);
        extend_narrowed(&mut fences, framed.width, sampled);
    }
    fences
}

/// A search for the rank of a bound in one chunk: how many values are below it.
///
/// The steps are separate so that a caller can take each for many chunks before the next: the cache misses of one step
/// overlap instead of waiting for each other. Each step asks the cache for what the next one reads.
pub struct RankSearch<'a> {
    fences: FencesRef<'a>,
    permutation: &'a [u16],
    values: Residuals<'a>,
    residual: u64,
    /// The value of this rank is below the bound …
    low: usize,
    /// … and that of the rank so many further on is not.
    span: usize,
    /// The answer, where it is known without a search.
    known: Option<usize>,
}

impl<'a> RankSearch<'a> {
    /// How often [`Self::halve`] is called, after the other steps.
    pub const HALVINGS: u32 = FENCE_STEP.trailing_zeros() + 1;

    /// Begins the search for the number of values below `bound`, or with `inclusive` at most `bound`. The rest is that of
    /// the chunk: [`super::order::OrderRef::rows`], [`FencesRef::residuals_of`].
    pub fn begin(
        fences: FencesRef<'a>,
        permutation: &'a [u16],
        values: Residuals<'a>,
        bound: i64,
        inclusive: bool,
    ) -> RankSearch<'a> {
        let (residual, known) = match if inclusive { bound.checked_add(1) } else { Some(bound) } {
            None => (0, Some(fences.count)),
            Some(bound) => match fences.frame.residual_at_least(bound) {
                0 => (0, Some(0)),
                residual => (residual, None),
            },
        };
        // Fences of no width are those of one value in the whole chunk, residual 0, and the bound is above it.
        let known = match fences.fine {
            Residuals::None => known.or(Some(fences.count)),
            _ => known,
        };
        RankSearch { fences, permutation, values, residual, low: 0, span: fences.count, known }
    }

    /// Narrows the search by the fences of one level; `step` is theirs.
    fn narrow(&mut self, level: Residuals<'a>, step: usize) {
        if self.known.is_some() {
            return;
        }
        // What has been narrowed to begins with a fence of this level too, and ends before one or with the chunk.
        let (first, end) = (self.low / step, (self.low + self.span).div_ceil(step));
        let below = below(level, first..end, self.residual);
        if below == 0 {
            // Only at the first level: the least value is not below the bound.
            self.known = Some(0);
            return;
        }
        let limit = self.low + self.span;
        self.low = (first + below - 1) * step;
        self.span = step.min(limit - self.low);
    }

    /// Step 1: the coarse fences.
    pub fn coarse(&mut self) {
        self.narrow(self.fences.coarse, COARSE_STEP);
        if self.known.is_none() {
            prefetch(self.fences.middle, self.low / MIDDLE_STEP, COARSE_STEP / MIDDLE_STEP);
        }
    }

    /// Step 2: the middle fences between two coarse ones.
    pub fn middle(&mut self) {
        self.narrow(self.fences.middle, MIDDLE_STEP);
        if self.known.is_none() {
            prefetch(self.fences.fine, self.low / FENCE_STEP, MIDDLE_STEP / FENCE_STEP);
        }
    }

    /// Step 3: the fine fences between two middle ones.
    pub fn fine(&mut self) {
        self.narrow(self.fences.fine, FENCE_STEP);
        if self.known.is_none() {
            kernel::prefetch(self.permutation, self.low);
        }
        // From here on the ranks that are looked at are powers of two apart; those beyond the chunk are passed over.
        self.span = 2 * FENCE_STEP;
    }

    /// Steps from 4 on, [`Self::HALVINGS`] times: one row, half way; the first of them only asks for it.
    pub fn halve(&mut self) {
        if self.known.is_some() {
            return;
        }
        let half = self.span / 2;
        if half < FENCE_STEP
            && let Some(row) = self.permutation.get(self.low + half)
            && self.values.get(usize::from(*row)) < self.residual
        {
            self.low += half;
        }
        self.span = half;
        if half > 1
            && let Some(row) = self.permutation.get(self.low + half / 2)
        {
            prefetch(self.values, usize::from(*row), 1);
        }
    }

    /// Bytes looked at, for statistics, in cache lines.
    pub fn bytes(&self) -> u64 {
        if self.known.is_some() {
            return HEADER_BYTES as u64;
        }
        let width = self.fences.fine.width();
        let lines = |values: usize| (values * width).div_ceil(64);
        let fences = lines(self.fences.count.div_ceil(COARSE_STEP))
            + lines(COARSE_STEP / MIDDLE_STEP)
            + lines(MIDDLE_STEP / FENCE_STEP);
        64 * (1 + fences + 1 + FENCE_STEP.trailing_zeros() as usize) as u64
    }

    /// The rank, after all steps.
    pub fn finish(&self) -> usize {
        self.known.unwrap_or(self.low + 1)
    }

    /// All steps at once.
    pub fn run(mut self) -> usize {
        self.coarse();
        self.middle();
        self.fine();
        (0..Self::HALVINGS).for_each(|_| self.halve());
        self.finish()
    }
}

/// How many of some ascending residuals are below `bound`.
fn below(residuals: Residuals<'_>, range: std::ops::Range<usize>, bound: u64) -> usize {
    match residuals {
        Residuals::None => 0,
        // Planes are not for what has fences.
        Residuals::Planes(..) => 0,
        Residuals::U8(values) => u8::try_from(bound)
            .map_or(range.len(), |bound| kernel::count_below(&values[range.clone()], bound)),
        Residuals::U16(values) => u16::try_from(bound)
            .map_or(range.len(), |bound| kernel::count_below(&values[range.clone()], bound)),
        Residuals::U32(values) => u32::try_from(bound)
            .map_or(range.len(), |bound| kernel::count_below(&values[range.clone()], bound)),
        Residuals::U64(values) => kernel::count_below(&values[range], bound),
    }
}

/// Asks the cache for some residuals.
fn prefetch(residuals: Residuals<'_>, start: usize, count: usize) {
    let step = 64 / residuals.width().max(1);
    (start..start + count).step_by(step).for_each(|index| residuals.prefetch(index));
}
