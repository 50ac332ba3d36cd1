//! The `Owners` section: whose the rows of a clustered chunk are.
//!
//! ```text
//! rows u32 │ runs u32 │ 0… to 64 B │ runs (24 B each: least time i64, greatest time i64, chunk of owners u32, first row u32) │ halves (u16 a row)
//! owner of a row = chunk of owners of its run << 16 | its half
//! ```
//!
//! Rows are in the order of their owners' chunk, a span of time, their owner, the time. A *run* is the rows of one chunk of
//! owners and one span: what a question about some days reads of a chunk of owners is the few runs of these days, and counts
//! of a chunk of owners are an array that a cache holds. Where rows have no time, or NULL in it, the least is above the greatest.

use muster_storage::chunk::Malformed;
use muster_storage::format::CHUNK_MEMBERS;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes before the runs.
pub const OWNERS_HEADER_BYTES: usize = 64;

/// The chunk of owners of rows that are nobody's.
pub const NOBODYS: u32 = u32::MAX;

/// Rows of one chunk of owners and one span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Run {
    /// The code of the least time of its rows.
    pub low: i64,
    /// The code of the greatest.
    pub high: i64,
    /// The chunk of owners, [`NOBODYS`] where rows have none.
    pub owners: u32,
    /// The first row.
    pub start: u32,
}

/// An `Owners` section, read in place.
#[derive(Clone, Copy, Debug)]
pub struct OwnersRef<'a> {
    /// The runs, by their first rows.
    pub runs: &'a [Run],
    /// The low half of the ordinal of each row's owner; 0 of nobody's.
    pub halves: &'a [u16],
}

impl<'a> OwnersRef<'a> {
    /// Opens a section. Cost: a look at every run.
    pub fn open(section: &'a [u8]) -> Result<OwnersRef<'a>, Malformed> {
        let malformed = Malformed("a header of owners");
        let number = |at: usize| -> Result<usize, Malformed> {
            let bytes = section.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            Ok(u32::from_le_bytes(bytes.ok_or(malformed)?) as usize)
        };
        let (rows, count) = (number(0)?, number(4)?);
        if rows > CHUNK_MEMBERS || count > rows {
            return Err(Malformed("no more rows than a chunk has, and no more runs than rows"));
        }
        let ends = OWNERS_HEADER_BYTES + count * size_of::<Run>();
        let runs = section.get(OWNERS_HEADER_BYTES..ends).ok_or(malformed)?;
        let halves = section.get(ends..ends + 2 * rows).ok_or(malformed)?;
        let runs = <[Run]>::ref_from_bytes(runs).map_err(|_| malformed)?;
        let halves = <[u16]>::ref_from_bytes(halves).map_err(|_| malformed)?;
        let ascending =
            runs.windows(2).all(|two| two[0].start < two[1].start && two[0].owners <= two[1].owners);
        let covered = runs.first().is_none_or(|run| run.start == 0) && (rows == 0) == runs.is_empty();
        if !ascending || !covered || runs.last().is_some_and(|run| run.start as usize >= rows) {
            return Err(Malformed("runs that ascend and cover all rows"));
        }
        Ok(OwnersRef { runs, halves })
    }

    /// The runs of a chunk of owners, each with its rows.
    pub fn runs_of(&self, owners: u32) -> impl Iterator<Item = (Run, std::ops::Range<usize>)> + 'a {
        let (runs, rows) = (self.runs, self.halves.len());
        let first = runs.partition_point(|run| run.owners < owners);
        let here = runs[first..].iter().enumerate().take_while(move |(_, run)| run.owners == owners);
        here.map(move |(at, run)| {
            let end = runs.get(first + at + 1).map_or(rows, |next| next.start as usize);
            (*run, run.start as usize..end)
        })
    }
}

impl<'a> OwnersRef<'a> {
    /// Whose a row is; `None` of nobody's, and beyond the rows.
    pub fn owner_of(&self, row: usize) -> Option<u32> {
        let half = *self.halves.get(row)?;
        let run = self.runs.partition_point(|run| run.start as usize <= row).checked_sub(1)?;
        let owners = self.runs[run].owners;
        (owners != NOBODYS).then(|| owners << 16 | u32::from(half))
    }

    /// The rows of some owners, ascending halves, within a run, which is in their order.
    pub fn rows_of<'o>(
        &self,
        run: std::ops::Range<usize>,
        halves: &'o [u16],
    ) -> impl Iterator<Item = std::ops::Range<usize>> + use<'a, 'o> {
        let stored = self.halves;
        let mut start = run.start;
        halves.iter().filter_map(move |half| {
            let left = &stored[start..run.end];
            let from = start + left.partition_point(|other| other < half);
            let to = from + stored[from..run.end].partition_point(|other| other == half);
            start = to;
            (from < to).then_some(from..to)
        })
    }
}

/// The section of a chunk's rows.
pub fn owners_section(runs: &[Run], halves: &[u16]) -> Vec<u8> {
    let mut section = Vec::with_capacity(OWNERS_HEADER_BYTES + size_of_val(runs) + 2 * halves.len());
    section.extend_from_slice(&(halves.len() as u32).to_le_bytes());
    section.extend_from_slice(&(runs.len() as u32).to_le_bytes());
    section.resize(OWNERS_HEADER_BYTES, 0);
    section.extend_from_slice(runs.as_bytes());
    section.extend_from_slice(halves.as_bytes());
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_storage::disk::Bytes;
    use proptest::prelude::*;

    fn run(owners: u32, start: u32) -> Run {
        Run { low: -1, high: 7, owners, start }
    }

    #[test]
    fn runs_are_found_with_their_rows() {
        let runs = [run(1, 0), run(1, 3), run(4, 4), run(NOBODYS, 6)];
        let section = Bytes::copied(&owners_section(&runs, &[5, 5, 6, 1, 0, 9, 0]));
        let read = OwnersRef::open(&section).unwrap();
        let of = |owners| read.runs_of(owners).map(|(_, rows)| (rows.start, rows.end)).collect::<Vec<_>>();
        assert_eq!(of(1), [(0, 3), (3, 4)]);
        assert_eq!(of(4), [(4, 6)]);
        assert_eq!((of(0), of(3), of(NOBODYS)), (vec![], vec![], vec![(6, 7)]));
        assert_eq!(read.halves, [5, 5, 6, 1, 0, 9, 0]);
        let owners: Vec<_> = [0, 2, 3, 5, 6, 7].map(|row| read.owner_of(row)).into();
        assert_eq!(owners, [Some(0x1_0005), Some(0x1_0006), Some(0x1_0001), Some(0x4_0009), None, None]);
        let rows = |run, halves: &[u16]| {
            read.rows_of(run, halves).map(|rows| (rows.start, rows.end)).collect::<Vec<_>>()
        };
        assert_eq!(rows(0..3, &[0, 5, 6, 9]), [(0, 2), (2, 3)]);
        assert_eq!(rows(4..6, &[1, 9]), [(5, 6)]);
    }

    #[test]
    fn runs_that_do_not_cover_the_rows_are_refused() {
        for runs in [
            vec![run(1, 1)],
            vec![],
            vec![run(1, 0), run(0, 1)],
            vec![run(1, 0), run(1, 0)],
            vec![run(1, 0), run(1, 3)],
        ] {
            let section = Bytes::copied(&owners_section(&runs, &[1, 2, 3]));
            assert!(OwnersRef::open(&section).is_err(), "{runs:?}");
        }
        assert!(OwnersRef::open(&Bytes::copied(&owners_section(&[], &[]))).unwrap().runs.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), rows in 0u8..9, runs in 0u8..4) {
            if bytes.len() > 8 {
                bytes[..8].copy_from_slice(&[rows, 0, 0, 0, runs, 0, 0, 0]);
            }
            if let Ok(read) = OwnersRef::open(&Bytes::copied(&bytes)) {
                prop_assert!(read.runs_of(1).all(|(_, rows)| rows.end <= read.halves.len()));
            }
        }
    }
}
