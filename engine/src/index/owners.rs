//! The `Owners` section: whose the rows of a clustered chunk are.
//!
//! ```text
//! rows u32 │ runs u32 │ clustered u32 │ 0… to 64 B
//! runs (24 B each: least time i64, greatest time i64, chunk of owners u32, first row u32)
//! where clustered is 1: least and greatest code of the cluster column (i64 each), a run each
//! halves (u16 a row)
//! owner of a row = chunk of owners of its run << 16 | its half
//! ```
//!
//! Rows are in the order of their owners' chunk, a span of time, values of the cluster column if there is one, their owner, the
//! time. A *run* is the rows of one chunk of owners, one span and these values: what a question about some days reads of a chunk
//! of owners is the few runs of these days, and counts of a chunk of owners are an array that a cache holds. Where rows have no
//! time, or NULL in it, the least is above the greatest; the codes of the cluster column likewise.
//!
//! So runs that follow each other need not differ in time, and the rows of one owner are in the order of time within a run only.

use muster_storage::chunk::Malformed;
use muster_storage::format::CHUNK_MEMBERS;
use std::ops::Range;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes before the runs.
pub const OWNERS_HEADER_BYTES: usize = 64;

/// The chunk of owners of rows that are nobody's.
pub const NOBODYS: u32 = u32::MAX;

/// Rows of one chunk of owners, one span of time, and some values of the cluster column.
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

/// The least and the greatest code of some rows; the least is above the greatest where all of them are NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Bounds {
    /// The least.
    pub low: i64,
    /// The greatest.
    pub high: i64,
}

impl Bounds {
    /// Of rows that are all NULL, or of none.
    pub fn of_nulls() -> Bounds {
        Bounds { low: i64::MAX, high: i64::MIN }
    }

    /// False where no row has a code in one of some intervals, which ascend and are disjoint.
    #[inline]
    pub fn may_lie_in(&self, intervals: &[(i64, i64)]) -> bool {
        self.low <= self.high && self.first_of(intervals).is_some_and(|(low, _)| low <= self.high)
    }

    /// [`Self::may_lie_in`] of one interval, without a branch.
    #[inline]
    pub fn may_lie_within(&self, (low, high): (i64, i64)) -> bool {
        (self.low <= self.high) & (low <= self.high) & (self.low <= high)
    }

    /// True where every row has a code between the bounds, none is NULL, and all these lie in one interval of some.
    ///
    /// It is told by the bounds of runs: NULLs are in runs of their own.
    #[inline]
    pub fn lie_in(&self, intervals: &[(i64, i64)]) -> bool {
        let holds = |(low, high): (i64, i64)| low <= self.low && self.high <= high;
        self.low <= self.high && self.first_of(intervals).is_some_and(holds)
    }

    /// The first interval that does not end before the least code.
    #[inline]
    fn first_of(&self, intervals: &[(i64, i64)]) -> Option<(i64, i64)> {
        match intervals {
            [only] => (self.low <= only.1).then_some(*only),
            _ => intervals.get(intervals.partition_point(|(_, high)| *high < self.low)).copied(),
        }
    }

    /// With those of other rows.
    pub fn and(self, other: Bounds) -> Bounds {
        Bounds { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}

/// What the rows of a run have in the columns that they are clustered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunBounds {
    /// When they happened.
    pub times: Bounds,
    /// What they have in the cluster column; `None` where it is not known.
    pub codes: Option<Bounds>,
}

/// An `Owners` section, read in place.
#[derive(Clone, Copy, Debug)]
pub struct OwnersRef<'a> {
    /// The runs, by their first rows.
    pub runs: &'a [Run],
    /// What each has in the cluster column; empty where that is not known.
    codes: &'a [Bounds],
    /// The low half of the ordinal of each row's owner; 0 of nobody's.
    pub halves: &'a [u16],
    /// Runs of the first chunk of owners. Few chunks have rows of more than two: a search in cold memory takes longer than what is asked.
    first_runs: usize,
}

impl<'a> OwnersRef<'a> {
    /// Opens a section. Cost: a look at every run.
    pub fn open(section: &'a [u8]) -> Result<OwnersRef<'a>, Malformed> {
        let owners = OwnersRef::parse(section)?;
        let (runs, rows) = (owners.runs, owners.halves.len());
        // Without a branch a run: all of them are as they should be, nearly always.
        let ascend = |two: &[Run]| (two[0].start < two[1].start) & (two[0].owners <= two[1].owners);
        let ascending = runs.windows(2).fold(true, |all, two| all & ascend(two));
        let covered = runs.first().is_none_or(|run| run.start == 0) && (rows == 0) == runs.is_empty();
        if !ascending || !covered || runs.last().is_some_and(|run| run.start as usize >= rows) {
            return Err(Malformed("runs that ascend and cover all rows"));
        }
        let of_first = |run: &Run| run.owners == runs[0].owners;
        Ok(OwnersRef { first_runs: runs.partition_point(of_first), ..owners })
    }

    /// Opens a section that was opened before, and had so many [`Self::first_runs`]: without a look at every run.
    pub fn reopen(section: &'a [u8], first_runs: u32) -> Result<OwnersRef<'a>, Malformed> {
        let owners = OwnersRef::parse(section)?;
        Ok(OwnersRef { first_runs: (first_runs as usize).min(owners.runs.len()), ..owners })
    }

    /// The runs of the first chunk of owners: so many.
    pub fn first_runs(&self) -> u32 {
        self.first_runs as u32
    }

    fn parse(section: &'a [u8]) -> Result<OwnersRef<'a>, Malformed> {
        let malformed = Malformed("a header of owners");
        let number = |at: usize| -> Result<usize, Malformed> {
            let bytes = section.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            Ok(u32::from_le_bytes(bytes.ok_or(malformed)?) as usize)
        };
        let (rows, count, clustered) = (number(0)?, number(4)?, number(8)?);
        if rows > CHUNK_MEMBERS || count > rows {
            return Err(Malformed("no more rows than a chunk has, and no more runs than rows"));
        }
        if clustered > 1 {
            return Err(Malformed("runs that are clustered by a column, or are not"));
        }
        let ends = OWNERS_HEADER_BYTES + count * size_of::<Run>();
        let codes_end = ends + clustered * count * size_of::<Bounds>();
        let runs = section.get(OWNERS_HEADER_BYTES..ends).ok_or(malformed)?;
        let codes = section.get(ends..codes_end).ok_or(malformed)?;
        let halves = section.get(codes_end..codes_end + 2 * rows).ok_or(malformed)?;
        let runs = <[Run]>::ref_from_bytes(runs).map_err(|_| malformed)?;
        let codes = <[Bounds]>::ref_from_bytes(codes).map_err(|_| malformed)?;
        let halves = <[u16]>::ref_from_bytes(halves).map_err(|_| malformed)?;
        Ok(OwnersRef { runs, codes, halves, first_runs: 0 })
    }

    /// The runs of a chunk of owners, each with its rows.
    pub fn runs_of(&self, owners: u32) -> impl Iterator<Item = (RunBounds, Range<usize>)> + 'a {
        let stored = *self;
        self.places_of(owners).map(move |at| stored.run(at))
    }

    /// Where the runs of a chunk of owners are.
    pub fn places_of(&self, owners: u32) -> Range<usize> {
        let (firsts, others) = self.runs.split_at(self.first_runs);
        match (firsts, others) {
            ([run, ..], _) if run.owners == owners => 0..firsts.len(),
            (_, [run, .., last]) if run.owners == owners && last.owners == owners => {
                firsts.len()..self.runs.len()
            }
            _ => {
                let first = self.runs.partition_point(|run| run.owners < owners);
                first..first + self.runs[first..].partition_point(|run| run.owners == owners)
            }
        }
    }

    /// A run with its rows.
    #[inline]
    pub fn run(&self, at: usize) -> (RunBounds, Range<usize>) {
        let end = self.runs.get(at + 1).map_or(self.halves.len(), |next| next.start as usize);
        (RunBounds { times: self.times(at), codes: self.codes(at) }, self.runs[at].start as usize..end)
    }

    /// When the rows of a run happened.
    #[inline]
    pub fn times(&self, at: usize) -> Bounds {
        Bounds { low: self.runs[at].low, high: self.runs[at].high }
    }

    /// What the rows of a run have in the cluster column, where that is known.
    #[inline]
    pub fn codes(&self, at: usize) -> Option<Bounds> {
        self.codes.get(at).copied()
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
        run: Range<usize>,
        halves: &'o [u16],
    ) -> impl Iterator<Item = Range<usize>> + use<'a, 'o> {
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

/// The section of a chunk's rows; `codes` are what each run has in the cluster column, or nothing.
pub fn owners_section(runs: &[Run], codes: &[Bounds], halves: &[u16]) -> Vec<u8> {
    debug_assert!(codes.is_empty() || codes.len() == runs.len(), "of each run, or of none");
    let bytes = size_of_val(runs) + size_of_val(codes) + size_of_val(halves);
    let mut section = Vec::with_capacity(OWNERS_HEADER_BYTES + bytes);
    for number in [halves.len(), runs.len(), usize::from(!codes.is_empty())] {
        section.extend_from_slice(&(number as u32).to_le_bytes());
    }
    section.resize(OWNERS_HEADER_BYTES, 0);
    section.extend_from_slice(runs.as_bytes());
    section.extend_from_slice(codes.as_bytes());
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
        let section = Bytes::copied(&owners_section(&runs, &[], &[5, 5, 6, 1, 0, 9, 0]));
        let read = OwnersRef::open(&section).unwrap();
        assert!(read.runs_of(1).all(|(bounds, _)| bounds.codes.is_none()));
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
            let section = Bytes::copied(&owners_section(&runs, &[], &[1, 2, 3]));
            assert!(OwnersRef::open(&section).is_err(), "{runs:?}");
        }
        assert!(OwnersRef::open(&Bytes::copied(&owners_section(&[], &[], &[]))).unwrap().runs.is_empty());
        let mut section = owners_section(&[run(1, 0)], &[Bounds::of_nulls()], &[1]);
        assert!(OwnersRef::open(&Bytes::copied(&section)).is_ok());
        section[8] = 2;
        assert!(OwnersRef::open(&Bytes::copied(&section)).is_err());
    }

    #[test]
    fn runs_tell_what_they_have_in_the_cluster_column() {
        let codes = [Bounds { low: 3, high: 3 }, Bounds { low: 4, high: 9 }, Bounds::of_nulls()];
        let runs = [run(1, 0), run(1, 3), run(4, 4)];
        let section = Bytes::copied(&owners_section(&runs, &codes, &[5, 5, 6, 1, 0]));
        let read = OwnersRef::open(&section).unwrap();
        let of = |owners| read.runs_of(owners).filter_map(|(bounds, _)| bounds.codes).collect::<Vec<_>>();
        assert_eq!((of(1), of(4)), (codes[..2].to_vec(), codes[2..].to_vec()));
        assert_eq!(read.runs_of(1).next().unwrap().0.times, Bounds { low: -1, high: 7 });
        assert_eq!(read.halves, [5, 5, 6, 1, 0]);
        let (some, nulls) = (Bounds { low: 4, high: 9 }, Bounds::of_nulls());
        assert!(some.may_lie_in(&[(0, 1), (9, 12)]) && !some.may_lie_in(&[(0, 3), (10, 12)]));
        assert!(some.lie_in(&[(0, 1), (4, 9)]) && !some.lie_in(&[(4, 6), (7, 9)]));
        let all = [(i64::MIN, i64::MAX)];
        assert!(!nulls.may_lie_in(&all) && !nulls.lie_in(&all));
        assert_eq!((some.and(nulls), nulls.and(codes[0])), (some, codes[0]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), rows in 0u8..9, runs in 0u8..4, clustered in 0u8..3) {
            if bytes.len() > 12 {
                bytes[..12].copy_from_slice(&[rows, 0, 0, 0, runs, 0, 0, 0, clustered, 0, 0, 0]);
            }
            if let Ok(read) = OwnersRef::open(&Bytes::copied(&bytes)) {
                prop_assert!(read.runs_of(1).all(|(_, rows)| rows.end <= read.halves.len()));
            }
        }
    }
}
