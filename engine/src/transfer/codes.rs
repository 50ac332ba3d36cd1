//! The codes of a column of loose rows, wherever they are, and many of them at once in any order.
//!
//! Rows that are put in order are read from all over the table: each read is a miss of the cache, and what makes them bearable
//! is that many are under way at a time.

use super::held::HeldColumn;
use super::near::NearColumn;
use crate::Result;
use crate::exec::words_of;
use crate::index::values::{Residuals, ValuesRef};
use crate::kernel;
use crate::table::{ColumnReader, TableState};
use muster_storage::chunk::Words;

/// How many rows ahead of its use a code is asked of the cache: a miss takes about as long as so many codes.
const AHEAD: usize = 32;

/// The codes of a column of rows that are to be put in order.
pub(super) enum Codes<'t> {
    /// Of rows as they came.
    Chunked(Chunked<'t>),
    /// Of rows at their slots.
    Near(&'t NearColumn),
}

impl Codes<'_> {
    /// The codes of some rows, or slots, in their order, 0 where NULL, and which are.
    pub(super) fn gather(&self, rows: &[u32]) -> (Vec<i64>, Vec<bool>) {
        match self {
            Codes::Chunked(codes) => codes.gather(rows),
            Codes::Near(column) => column.gather(rows),
        }
    }
}

/// The codes of a column of unchanged rows, chunk by chunk.
pub(super) struct Chunked<'t> {
    values: Vec<Option<ValuesRef<'t>>>,
    nulls: Vec<Option<NullSet<'t>>>,
}

enum NullSet<'t> {
    Read(Box<Words>),
    Held(&'t Words),
}

impl NullSet<'_> {
    fn words(&self) -> &Words {
        match self {
            NullSet::Read(words) => words,
            NullSet::Held(words) => words,
        }
    }
}

impl<'t> Chunked<'t> {
    /// The codes that the parts of a table have. Cost: a look at each chunk.
    pub(super) fn of(table: &TableState, reader: &ColumnReader<'t>) -> Result<Chunked<'t>> {
        let (mut values, mut nulls) = (Vec::new(), Vec::new());
        for chunk in 0..table.chunks() {
            values.push(reader.values(chunk)?);
            let stored = reader.nulls(chunk)?;
            nulls.push((stored.cardinality() > 0).then(|| NullSet::Read(Box::new(words_of(stored)))));
        }
        Ok(Chunked { values, nulls })
    }

    /// The codes of a column in memory.
    pub(super) fn held<'c>(chunks: impl Iterator<Item = &'c HeldColumn>) -> Chunked<'c> {
        let (mut values, mut nulls) = (Vec::new(), Vec::new());
        for chunk in chunks {
            values.push(Some(chunk.values()));
            nulls.push(chunk.nulls().map(NullSet::Held));
        }
        Chunked { values, nulls }
    }

    /// The code of a row; `None` where it is NULL.
    #[inline]
    pub(super) fn get(&self, row: u32) -> Option<i64> {
        let (chunk, within) = ((row >> 16) as usize, (row & 0xffff) as usize);
        let nulls = self.nulls.get(chunk)?;
        if nulls.as_ref().is_some_and(|nulls| kernel::has(nulls.words(), row as u16)) {
            return None;
        }
        let values = self.values.get(chunk)?.as_ref().filter(|values| within < values.rows)?;
        Some(values.get(within))
    }

    /// The codes of some rows in their order, 0 where NULL, and which are. Cost: some nanoseconds a row wherever it is.
    pub(super) fn gather(&self, rows: &[u32]) -> (Vec<i64>, Vec<bool>) {
        let mut codes = Vec::with_capacity(rows.len());
        let alike = self.gather_as(rows, &mut codes, |values| match values.residuals {
            Residuals::U8(residuals) => Some(residuals),
            _ => None,
        }) || self.gather_as(rows, &mut codes, |values| match values.residuals {
            Residuals::U16(residuals) => Some(residuals),
            _ => None,
        }) || self.gather_as(rows, &mut codes, |values| match values.residuals {
            Residuals::U32(residuals) => Some(residuals),
            _ => None,
        });
        let mut nulls = vec![false; rows.len()];
        if alike {
            return (codes, nulls);
        }
        for (at, row) in rows.iter().enumerate() {
            if let Some(ahead) = rows.get(at + AHEAD)
                && let Some(Some(values)) = self.values.get((ahead >> 16) as usize)
            {
                values.residuals.prefetch((ahead & 0xffff) as usize);
            }
            let code = self.get(*row);
            if code.is_none() {
                nulls[at] = true;
            }
            codes.push(code.unwrap_or(0));
        }
        (codes, nulls)
    }

    /// [`Self::gather`] where no row is NULL and all chunks are of one width: which it is is then looked at once. False, and
    /// nothing done, elsewhere.
    fn gather_as<T: Copy + Into<u64> + 't>(
        &self,
        rows: &[u32],
        codes: &mut Vec<i64>,
        of: impl Fn(&ValuesRef<'t>) -> Option<&'t [T]>,
    ) -> bool {
        if self.nulls.iter().any(Option::is_some) {
            return false;
        }
        let chunk = |values: &Option<ValuesRef<'t>>| {
            let values = values.as_ref().filter(|values| values.frame.slope == 0)?;
            Some((of(values)?, values.frame.base, values.frame.divisor))
        };
        let Some(chunks) = self.values.iter().map(chunk).collect::<Option<Vec<_>>>() else { return false };
        let within = |row: u32| (row & 0xffff) as usize;
        if chunks.is_empty()
            || rows
                .iter()
                .any(|row| chunks.get((row >> 16) as usize).is_none_or(|chunk| within(*row) >= chunk.0.len()))
        {
            return false;
        }
        for (at, row) in rows.iter().enumerate() {
            if let Some(ahead) = rows.get(at + AHEAD) {
                kernel::prefetch(chunks[(ahead >> 16) as usize].0, within(*ahead));
            }
            let (residuals, base, divisor) = chunks[(row >> 16) as usize];
            let residual: u64 = residuals[within(*row)].into();
            codes.push(base.wrapping_add(divisor.wrapping_mul(residual) as i64));
        }
        true
    }
}
