//! From intervals of codes to ranks, for the chunks of a task together: their cache misses overlap.

use crate::Result;
use crate::index::fences::{Bound, RankSearch};
use crate::table::ColumnReader;
use muster_storage::format::SectionKind;
use std::ops::Range;

/// Cache lines of a full chunk's header and coarse fences, at four bytes a fence.
const FENCE_LINES: usize = 3;

/// The ranks of a leaf's intervals in some chunks. The buffers are used again from task to task.
#[derive(Default)]
pub(super) struct Ranks<'a> {
    /// The chunks whose ranks are here.
    chunks: Range<u32>,
    /// Those of them that have a range index.
    indexed: Vec<bool>,
    /// Intervals a chunk.
    intervals: usize,
    /// The first and the last rank of each interval, chunk by chunk.
    pairs: Vec<(u32, u32)>,
    searches: Vec<(Slot, RankSearch<'a>)>,
    /// True once the leaf was covered by stored sets instead of made exactly: it will be again.
    pub(super) covered: bool,
}

/// Where a search's rank belongs: a pair, and whether it is the last rank.
type Slot = (u32, bool);

impl<'a> Ranks<'a> {
    pub(super) fn forget(&mut self) {
        self.chunks = 0..0;
    }

    /// True where the ranks of a chunk have been resolved.
    pub(super) fn know(&self, chunk: u32) -> bool {
        self.chunks.contains(&chunk)
    }

    /// The ranks of a chunk; `None` where it has no range index, or is not known.
    pub(super) fn of(&self, chunk: u32) -> Option<&[(u32, u32)]> {
        let at = chunk.checked_sub(self.chunks.start)? as usize;
        if !self.know(chunk) || !self.indexed[at] {
            return None;
        }
        Some(&self.pairs[at * self.intervals..(at + 1) * self.intervals])
    }

    /// Finds the ranks of every interval in every chunk, step by step for all of them; returns the bytes looked at.
    pub(super) fn resolve(
        &mut self,
        reader: &ColumnReader<'a>,
        chunks: Range<u32>,
        intervals: &[(i64, i64)],
    ) -> Result<u64> {
        self.forget();
        self.indexed.clear();
        self.pairs.clear();
        self.searches.clear();
        self.intervals = intervals.len();
        chunks.clone().for_each(|chunk| reader.prefetch(chunk, SectionKind::Fences, FENCE_LINES));
        for chunk in chunks.clone() {
            let zone = reader.zone(chunk);
            self.indexed.push(zone.is_some());
            let Some(zone) = zone else {
                self.pairs.resize(self.pairs.len() + intervals.len(), (0, 0));
                continue;
            };
            // What the table of sections does not settle is searched.
            let mut ranked = None;
            for (low, high) in intervals {
                let slot = self.pairs.len() as u32;
                let mut rank = |bound, last| -> Result<u32> {
                    match zone.rank(bound) {
                        Ok(rank) => Ok(rank),
                        Err(code) => {
                            if ranked.is_none() {
                                ranked = reader.ranked(chunk)?;
                            }
                            let search = ranked.as_ref().map(|ranked| ranked.search(code));
                            self.searches.extend(search.map(|search| ((slot, last), search)));
                            Ok(0)
                        }
                    }
                };
                let pair = (rank(Bound::Below(*low), false)?, rank(Bound::up_to(*high), true)?);
                self.pairs.push(pair);
            }
        }
        let searches = &mut self.searches;
        searches.iter_mut().for_each(|(_, search)| search.coarse());
        searches.iter_mut().for_each(|(_, search)| search.middle());
        searches.iter_mut().for_each(|(_, search)| search.fine());
        for _ in 0..RankSearch::HALVINGS {
            searches.iter_mut().for_each(|(_, search)| search.halve());
        }
        let mut bytes = 0;
        for ((slot, last), search) in searches {
            bytes += search.bytes();
            let (low, high) = &mut self.pairs[*slot as usize];
            *(if *last { high } else { low }) = search.finish();
        }
        self.pairs.iter_mut().for_each(|(low, high)| *high = (*high).max(*low));
        self.chunks = chunks;
        Ok(bytes)
    }
}
