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
use muster_storage::format::CHUNK_MEMBERS;

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
    /// The fences of all three levels, one after the other.
    levels: Residuals<'a>,
}

impl<'a> FencesRef<'a> {
    /// Opens a section.
    #[inline]
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
        let [_, _, (fine, length)] = levels(count);
        let levels = Residuals::read(&section[HEADER_BYTES..], width, fine + length)?;
        Ok(FencesRef { frame, count, levels })
    }

    /// Values in the chunk.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The value of a rank that is a multiple of [`FENCE_STEP`], if there is such a value.
    pub fn at(&self, rank: usize) -> Option<i64> {
        let (start, count) = levels(self.count)[2];
        let index = rank / FENCE_STEP;
        let known = rank.is_multiple_of(FENCE_STEP) && index < count;
        known.then(|| self.frame.value(0, self.levels.get(start + index)))
    }

    /// The residuals of the `Values` section that goes with these fences: their width is the same, so the section's
    /// own header need not be touched.
    #[inline]
    pub fn residuals_of(&self, values: &'a [u8]) -> Result<Residuals<'a>, Malformed> {
        let residuals = values.get(VALUES_HEADER_BYTES..).ok_or(Malformed("a header of values"))?;
        let width = self.levels.width();
        let rows = residuals.len().checked_div(width).unwrap_or(0);
        Residuals::read(residuals, width as u8, rows)
    }
}

/// Where the coarse, the middle and the fine fences of so many values begin, and how many they are.
#[inline(always)]
fn levels(count: usize) -> [(usize, usize); 3] {
    let [coarse, middle, fine] = [COARSE_STEP, MIDDLE_STEP, FENCE_STEP].map(|step| count.div_ceil(step));
    [(0, coarse), (coarse, middle), (coarse + middle, fine)]
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

/// What the table of sections says of a chunk's values: how many, and between which codes.
#[derive(Clone, Copy)]
pub struct Zone {
    /// Values in the chunk.
    pub count: u32,
    /// The least code.
    pub low: i64,
    /// The greatest code.
    pub high: i64,
}

impl Zone {
    /// How many values are below `bound`, where none or all of them are; else the code that is to be searched for.
    #[inline]
    pub fn rank(&self, bound: Bound) -> Result<u32, i64> {
        match bound {
            Bound::Below(code) if code <= self.low => Ok(0),
            Bound::Below(code) if code <= self.high => Err(code),
            Bound::Below(_) | Bound::Everything => Ok(self.count),
        }
    }
}

/// What is counted: the values below a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Those less than this.
    Below(i64),
    /// All.
    Everything,
}

impl Bound {
    /// The values of at most `code`.
    #[inline]
    pub fn up_to(code: i64) -> Bound {
        code.checked_add(1).map_or(Bound::Everything, Bound::Below)
    }
}

/// A search for the rank of a bound in one chunk: how many values are below it, where neither none nor all of them are
/// ([`Zone::rank`]).
///
/// The steps are separate so that a caller can take each for many chunks before the next: the cache misses of one step
/// overlap instead of waiting for each other. Each step asks the cache for what the next one reads.
pub struct RankSearch<'a> {
    fences: Residuals<'a>,
    permutation: &'a [u16],
    values: Residuals<'a>,
    residual: u64,
    /// The value of this rank is below the bound …
    low: usize,
    /// … and that of the rank so many further on is not.
    span: usize,
}

impl<'a> RankSearch<'a> {
    /// How often [`Self::halve`] is called, after the other steps.
    pub const HALVINGS: u32 = FENCE_STEP.trailing_zeros() + 1;

    /// Begins the search for the number of values below `bound`. The rest is that of the chunk:
    /// [`super::order::OrderRef::rows`], [`FencesRef::residuals_of`].
    #[inline]
    pub fn begin(
        fences: FencesRef<'a>,
        permutation: &'a [u16],
        values: Residuals<'a>,
        bound: i64,
    ) -> RankSearch<'a> {
        let residual = fences.frame.residual_at_least(bound);
        RankSearch { fences: fences.levels, permutation, values, residual, low: 0, span: fences.count }
    }

    /// Narrows the search by the fences of one level, which begin at `start`; `step` is theirs.
    #[inline(always)]
    fn narrow(&mut self, start: usize, step: usize) {
        // What has been narrowed to begins with a fence of this level too, and ends before one or with the chunk.
        let (first, end) = (self.low / step, (self.low + self.span).div_ceil(step));
        let below = below(self.fences, start + first..start + end, self.residual).max(1);
        let limit = self.low + self.span;
        self.low = (first + below - 1) * step;
        self.span = step.min(limit - self.low);
    }

    #[inline(always)]
    fn start_of(&self, level: usize) -> usize {
        levels(self.permutation.len())[level].0
    }

    /// Step 1: the coarse fences.
    #[inline(always)]
    pub fn coarse(&mut self) {
        self.narrow(0, COARSE_STEP);
        let first = self.start_of(1) + self.low / MIDDLE_STEP;
        prefetch_ends(self.fences, first, COARSE_STEP / MIDDLE_STEP);
    }

    /// Step 2: the middle fences between two coarse ones.
    #[inline(always)]
    pub fn middle(&mut self) {
        self.narrow(self.start_of(1), MIDDLE_STEP);
        let first = self.start_of(2) + self.low / FENCE_STEP;
        prefetch_ends(self.fences, first, MIDDLE_STEP / FENCE_STEP);
    }

    /// Step 3: the fine fences between two middle ones.
    #[inline(always)]
    pub fn fine(&mut self) {
        self.narrow(self.start_of(2), FENCE_STEP);
        kernel::prefetch(self.permutation, self.low);
        // From here on the ranks that are looked at are powers of two apart; those beyond the chunk are passed over.
        self.span = 2 * FENCE_STEP;
    }

    /// Steps from 4 on, [`Self::HALVINGS`] times: one row, half way; the first of them only asks for it.
    #[inline(always)]
    pub fn halve(&mut self) {
        let half = self.span / 2;
        if half < FENCE_STEP
            && let Some(row) = self.permutation.get(self.low + half)
            && self.values.get_or_max(usize::from(*row)) < self.residual
        {
            self.low += half;
        }
        self.span = half;
        if half > 1
            && let Some(row) = self.permutation.get(self.low + half / 2)
        {
            self.values.prefetch(usize::from(*row));
        }
    }

    /// Bytes looked at, for statistics: fences, and the lines of the header, the permutation and single values.
    #[inline]
    pub fn bytes(&self) -> u64 {
        const FENCES: usize =
            CHUNK_MEMBERS / COARSE_STEP + COARSE_STEP / MIDDLE_STEP + MIDDLE_STEP / FENCE_STEP;
        const LINES: usize = 1 + 1 + FENCE_STEP.trailing_zeros() as usize;
        (FENCES * self.values.width() + 64 * LINES) as u64
    }

    /// The rank, after all steps.
    #[inline]
    pub fn finish(&self) -> u32 {
        self.low as u32 + 1
    }

    /// All steps at once.
    pub fn run(mut self) -> u32 {
        self.coarse();
        self.middle();
        self.fine();
        (0..Self::HALVINGS).for_each(|_| self.halve());
        self.finish()
    }
}

/// How many of some ascending residuals are below `bound`.
#[inline(always)]
fn below(residuals: Residuals<'_>, range: std::ops::Range<usize>, bound: u64) -> usize {
    match residuals {
        Residuals::None => 0,
        // Neither planes nor exceptions are for what has fences.
        Residuals::Planes(..) | Residuals::WidePlanes(..) | Residuals::Excepted(..) => 0,
        Residuals::U8(values) => u8::try_from(bound)
            .map_or(range.len(), |bound| kernel::count_below(&values[range.clone()], bound)),
        Residuals::U16(values) => u16::try_from(bound)
            .map_or(range.len(), |bound| kernel::count_below(&values[range.clone()], bound)),
        Residuals::U32(values) => u32::try_from(bound)
            .map_or(range.len(), |bound| kernel::count_below(&values[range.clone()], bound)),
        Residuals::U64(values) => kernel::count_below(&values[range], bound),
    }
}

/// Asks the cache for a line or two of residuals, by their first and their last.
#[inline(always)]
fn prefetch_ends(residuals: Residuals<'_>, start: usize, count: usize) {
    residuals.prefetch(start);
    residuals.prefetch(start + count - 1);
}
