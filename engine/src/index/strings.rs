//! The `Strings` section: a string per row, back to back, for text that hardly ever repeats (names, e-mails, keys).
//!
//! ```text
//! rows u32 │ fixed u32 │ 0… to 64 B │ ends u32×rows, unless fixed │ bytes
//! ```
//!
//! `fixed` is the one length all strings share (UUIDs, phone numbers), or `u32::MAX`. NULL rows hold an empty string, or
//! zeros where the length is fixed.

use memchr::memmem::Finder;
use muster_storage::chunk::Malformed;
use zerocopy::{FromBytes, IntoBytes};

const HEADER_BYTES: usize = 64;
const NOT_FIXED: u32 = u32::MAX;

/// A `Strings` section (or one of a dictionary), read in place.
#[derive(Clone, Copy)]
pub struct StringsRef<'a> {
    count: usize,
    fixed: Option<usize>,
    ends: &'a [u32],
    bytes: &'a [u8],
}

impl<'a> StringsRef<'a> {
    /// No strings.
    pub const EMPTY: StringsRef<'static> = StringsRef { count: 0, fixed: None, ends: &[], bytes: &[] };

    /// Opens a section. Cost: one cache line.
    pub fn open(section: &'a [u8]) -> Result<StringsRef<'a>, Malformed> {
        let malformed = Malformed("a header of strings");
        let word = |at: usize| {
            section.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes).ok_or(malformed)
        };
        let (count, fixed) = (word(0)? as usize, word(4)?);
        let body = section.get(HEADER_BYTES..).ok_or(malformed)?;
        if fixed != NOT_FIXED {
            return Ok(StringsRef { count, fixed: Some(fixed as usize), ends: &[], bytes: body });
        }
        let ends = body.get(..4 * count).ok_or(malformed)?;
        let ends = <[u32]>::ref_from_bytes(ends).map_err(|_| malformed)?;
        Ok(StringsRef { count, fixed: None, ends, bytes: &body[4 * count..] })
    }

    /// The number of strings.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True without strings.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// String `index`; empty where the section is malformed or ends before it.
    #[inline]
    pub fn get(&self, index: usize) -> &'a [u8] {
        let (start, end) = match self.fixed {
            Some(length) => (index * length, (index + 1) * length),
            None => {
                let start = if index == 0 {
                    0
                } else {
                    self.ends.get(index - 1).copied().unwrap_or(u32::MAX) as usize
                };
                (start, self.ends.get(index).copied().unwrap_or(0) as usize)
            }
        };
        self.bytes.get(start..end).unwrap_or(&[])
    }

    /// The strings that contain a needle, ascending. Cost: one pass over the bytes, and little per string found.
    pub fn containing(&self, finder: &Finder<'_>) -> Vec<u32> {
        let needle = finder.needle().len();
        if needle == 0 {
            return (0..self.count as u32).collect();
        }
        let (mut found, mut index, mut from) = (Vec::new(), 0, 0);
        while let Some(at) = self.bytes.get(from..).and_then(|rest| finder.find(rest)).map(|at| from + at) {
            index = self.index_at(at, index);
            if index >= self.count {
                break;
            }
            let end = match self.fixed {
                Some(length) => (index + 1) * length,
                None => self.ends[index] as usize,
            };
            // A needle that lies across two strings is in neither.
            if at + needle <= end {
                found.push(index as u32);
                from = end;
            } else {
                from = at + 1;
            }
        }
        found
    }

    /// The string that a byte is in, at `index` or after it; `count` or more where there is none.
    fn index_at(&self, at: usize, index: usize) -> usize {
        if let Some(length) = self.fixed {
            return at.checked_div(length).unwrap_or(self.count);
        }
        // Finds follow each other closely, so the search begins with small steps.
        let (mut step, mut below) = (1, index);
        while self.ends.get(below + step - 1).is_some_and(|end| *end as usize <= at) {
            below += step;
            step *= 2;
        }
        let above = (below + step).min(self.count);
        below + self.ends[below..above].partition_point(|end| *end as usize <= at)
    }

    /// Asks the cache for the first bytes of string `index`.
    pub fn prefetch_bytes(&self, index: usize) {
        let start = match self.fixed {
            Some(length) => index * length,
            None => self.ends.get(index.wrapping_sub(1)).copied().unwrap_or(0) as usize,
        };
        crate::kernel::prefetch(self.bytes, start);
    }
}

/// The section of these strings, in order.
pub fn strings_section<'a>(strings: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<u8> {
    let count = strings.clone().count();
    let first = strings.clone().next().map_or(0, <[u8]>::len);
    let fixed = count > 0 && strings.clone().all(|s| s.len() == first);
    let mut section = Vec::new();
    section.extend_from_slice(&(count as u32).to_le_bytes());
    section.extend_from_slice(&if fixed { first as u32 } else { NOT_FIXED }.to_le_bytes());
    section.resize(HEADER_BYTES, 0);
    if !fixed {
        let mut end = 0u32;
        let ends: Vec<u32> = (strings.clone())
            .map(|s| {
                end += s.len() as u32;
                end
            })
            .collect();
        section.extend_from_slice(ends.as_bytes());
    }
    strings.for_each(|s| section.extend_from_slice(s));
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_storage::disk::Bytes;

    #[test]
    fn strings_come_back_fixed_or_not() {
        for strings in
            [vec![], vec!["", "", ""], vec!["abc", "def"], vec!["", "你好", "x", ""], vec!["a", "bb"]]
        {
            let section = Bytes::copied(&strings_section(strings.iter().map(|s| s.as_bytes())));
            let read = StringsRef::open(&section).unwrap();
            assert_eq!(read.len(), strings.len());
            assert!(strings.iter().enumerate().all(|(i, s)| read.get(i) == s.as_bytes()));
        }
    }
}
