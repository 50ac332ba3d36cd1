//! The `Lists` section: each row's tags as a list of dictionary codes, so that a member can be shown.
//!
//! ```text
//! rows u32 │ codes u32 │ code width u8 │ count width u8 │ 0… to 64 B │ starts u32 per 64 rows │ codes │ counts
//! ```
//!
//! A row's place is the start of its 64 rows plus the counts before it: a byte a row instead of four. Membership is not
//! answered from here but from the `Sets` section.

use super::values::{Residuals, extend_narrowed};
use muster_storage::chunk::Malformed;
use zerocopy::FromBytes;

const HEADER_BYTES: usize = 64;
const BLOCK_ROWS: usize = 64;

/// A `Lists` section, read in place.
#[derive(Clone, Copy)]
pub struct ListsRef<'a> {
    rows: usize,
    starts: &'a [u32],
    codes: Residuals<'a>,
    counts: Residuals<'a>,
}

impl<'a> ListsRef<'a> {
    /// Opens a section.
    pub fn open(section: &'a [u8]) -> Result<ListsRef<'a>, Malformed> {
        let malformed = Malformed("a header of lists");
        let header = section.get(..HEADER_BYTES).ok_or(malformed)?;
        let word = |at: usize| header[at..at + 4].try_into().map(u32::from_le_bytes).map_err(|_| malformed);
        let (rows, codes) = (word(0)? as usize, word(4)? as usize);
        let (code_width, count_width) = (header[8], header[9]);
        let starts_end = HEADER_BYTES + 4 * rows.div_ceil(BLOCK_ROWS);
        let starts = section.get(HEADER_BYTES..starts_end).ok_or(malformed)?;
        let starts = <[u32]>::ref_from_bytes(starts).map_err(|_| malformed)?;
        let codes_bytes = (codes * usize::from(code_width)).next_multiple_of(4);
        let counts = section.get(starts_end + codes_bytes..).ok_or(malformed)?;
        Ok(ListsRef {
            rows,
            starts,
            codes: Residuals::read(&section[starts_end..], code_width, codes)?,
            counts: Residuals::read(counts, count_width, rows)?,
        })
    }

    /// Calls `each` with the codes of a row, ascending; of a row beyond the chunk's, never. Cost: up to 63 counts before it.
    pub fn for_each(&self, row: usize, mut each: impl FnMut(u32)) {
        if row >= self.rows {
            return;
        }
        let block = row / BLOCK_ROWS;
        let before: u64 = (block * BLOCK_ROWS..row).map(|r| self.counts.get(r)).sum();
        let start = self.starts[block] as usize + before as usize;
        (start..start + self.counts.get(row) as usize).for_each(|i| each(self.codes.get(i) as u32));
    }
}

/// The section of lists: row i has `codes[ends[i-1]..ends[i]]`.
pub fn lists_section(ends: &[u32], codes: &[u32]) -> Vec<u8> {
    let start = |row: usize| if row == 0 { 0 } else { ends[row - 1] };
    let count = |row: usize| ends[row] - start(row);
    let width = |greatest: u32, zero: u8| match greatest {
        0 => zero,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    };
    let code_width = width(codes.iter().copied().max().unwrap_or(0), 1);
    let count_width = width((0..ends.len()).map(count).max().unwrap_or(0), 0);
    let mut section = Vec::new();
    section.extend_from_slice(&(ends.len() as u32).to_le_bytes());
    section.extend_from_slice(&(codes.len() as u32).to_le_bytes());
    section.extend_from_slice(&[code_width, count_width]);
    section.resize(HEADER_BYTES, 0);
    for row in (0..ends.len()).step_by(BLOCK_ROWS) {
        section.extend_from_slice(&start(row).to_le_bytes());
    }
    // Codes and then counts would misalign wide counts behind an odd number of codes: the section is padded.
    extend_narrowed(&mut section, code_width, codes.iter().map(|c| u64::from(*c)));
    section.resize(section.len().next_multiple_of(4), 0);
    extend_narrowed(&mut section, count_width, (0..ends.len()).map(|row| u64::from(count(row))));
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_storage::disk::Bytes;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_come_back(lists in proptest::collection::vec(proptest::collection::vec(0u32..70_000, 0..5), 0..200), long in 0usize..400) {
            let mut lists = lists;
            lists.push((0..long as u32).collect());
            let codes: Vec<u32> = lists.iter().flatten().copied().collect();
            let mut end = 0;
            let ends: Vec<u32> = lists.iter().map(|l| { end += l.len() as u32; end }).collect();
            let section = Bytes::copied(&lists_section(&ends, &codes));
            let read = ListsRef::open(&section).unwrap();
            for (row, list) in lists.iter().enumerate() {
                let mut got = Vec::new();
                read.for_each(row, |code| got.push(code));
                prop_assert_eq!(&got, list);
            }
        }
    }
}
