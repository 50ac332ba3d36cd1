//! Steps over rows as they are stored: run after run, as time goes on, with what is known of each owner so far in the owner's place.
//!
//! ```text
//! runs as time goes on            a place for each owner of the chunk: rows so far
//!   January   0 0 3 7 … 65535     2 · · 1 · · · 1 …      row numbers  1 2 1 1 …
//!   February  0 2 3   …           3 · 1 2 · · · 1 …                   3 1 2   …
//! ```
//!
//! Nothing is put in the order of owners: a column is read from its first row to its last. It is the way of steps to which an owner's
//! rows say what came before them (their number, the value of the one before), or that put beside each row what groups by owner
//! say ([`super::known`]).

use super::batch::{self, selected};
use super::before::Before;
use super::known::{self, Known};
use super::opened::{self, Opened, Place, Run};
use super::steps::{Chunk, computed, kept};
use super::tree::{Formula, Node, Step, Windowed};
use crate::exec::compute::Lane;
use crate::{Error, Result};
use muster_storage::format::CHUNK_MEMBERS;
use std::sync::Arc;

/// Rows that are taken at once as they are stored: a dozen lanes of them stay in a second-level cache, beside what is known of owners.
const STORED_AT_ONCE: usize = 8_192;

/// Rows of owners of one chunk, in the order of storing.
pub(super) struct Stored<'a> {
    pub(super) lanes: Vec<Arc<Lane<'a>>>,
    /// The low half of the ordinal of each row's owner.
    pub(super) halves: Vec<u16>,
}

/// A number of each owner of a chunk.
pub(super) type OfOwners<T> = Box<[T; CHUNK_MEMBERS]>;

pub(super) fn of_owners<T: Copy>(value: T) -> OfOwners<T> {
    // Not by way of the stack.
    let Ok(all) = vec![value; CHUNK_MEMBERS].into_boxed_slice().try_into() else {
        unreachable!("as many as a chunk has")
    };
    all
}

/// How the steps below a node go on.
pub(super) enum Flow<'n, 'a> {
    Source { number: usize, places: &'n [Place], wanted: &'n [bool] },
    Filter(Box<Flow<'n, 'a>>, &'n [Formula], &'n [bool]),
    Compute(Box<Flow<'n, 'a>>, &'n [Formula], &'n [bool]),
    Window(Box<Flow<'n, 'a>>, &'n Windowed, &'n [bool], Before),
    Join(Box<Flow<'n, 'a>>, Known<'a>, Option<&'n Formula>, &'n [bool]),
}

/// Hears of the rows of a node as they are stored, or of those made of groups; false, and nothing heard, where these have no loop.
pub(super) fn heard<'a>(
    chunk: &Chunk<'_, 'a>,
    node: &Node,
    hear: &mut impl FnMut(batch::Rows<'_, 'a>) -> Result<()>,
) -> Result<bool> {
    if let Some(flow) = Flow::open(chunk, node)? {
        flow.each(chunk, |rows| hear(batch::Rows::Stored(&rows)).map(|()| true))?;
        return Ok(true);
    }
    let Some(rows) = known::rows_of(chunk, node)? else { return Ok(false) };
    if rows.len > 0 {
        hear(batch::Rows::ByOwner(&rows))?;
    }
    Ok(true)
}

impl<'n, 'a> Flow<'n, 'a> {
    /// Of a node that [`super::as_stored`] takes, before its first rows. What groups say beside these is made now; `None` where that has
    /// no loop.
    pub(super) fn open(chunk: &Chunk<'_, 'a>, node: &'n Node) -> Result<Option<Flow<'n, 'a>>> {
        let below = |input| Ok::<_, Error>(Flow::open(chunk, input)?.map(Box::new));
        Ok(match &node.step {
            Step::Source(number, places) => {
                Some(Flow::Source { number: *number, places, wanted: &node.wanted })
            }
            Step::Filter(input, terms) => below(input)?.map(|flow| Flow::Filter(flow, terms, &node.wanted)),
            Step::Compute(input, formulas) => {
                below(input)?.map(|flow| Flow::Compute(flow, formulas, &node.wanted))
            }
            Step::Window(input, windowed) => {
                let before = Before::new(windowed);
                below(input)?.map(|flow| Flow::Window(flow, windowed, &node.wanted, before))
            }
            Step::Join { left, right, condition, .. } => match Known::of(chunk, right)? {
                Some(known) => {
                    below(left)?.map(|flow| Flow::Join(flow, known, condition.as_ref(), &node.wanted))
                }
                None => None,
            },
            _ => None,
        })
    }

    /// Hears of all rows, as long as `hear` says that it goes on.
    pub(super) fn each(
        mut self,
        chunk: &Chunk<'_, 'a>,
        mut hear: impl FnMut(Stored<'a>) -> Result<bool>,
    ) -> Result<()> {
        let opened = chunk.source(self.source());
        for (halves, rows) in opened.as_stored(STORED_AT_ONCE) {
            chunk.check()?;
            let rows = self.next(opened, halves, &rows)?;
            if !rows.halves.is_empty() && !hear(rows)? {
                break;
            }
        }
        Ok(())
    }

    fn source(&self) -> usize {
        match self {
            Flow::Source { number, .. } => *number,
            Flow::Filter(below, ..)
            | Flow::Compute(below, ..)
            | Flow::Window(below, ..)
            | Flow::Join(below, ..) => below.source(),
        }
    }

    /// What is made of the next rows of the source.
    fn next(
        &mut self,
        opened: &Opened<'_, 'a>,
        halves: Vec<u16>,
        rows: &opened::Rows<'a>,
    ) -> Result<Stored<'a>> {
        match self {
            Flow::Source { places, wanted, .. } => {
                Ok(Stored { lanes: opened.lanes(rows, places, wanted)?, halves })
            }
            Flow::Filter(below, terms, wanted) => below.next(opened, halves, rows)?.filtered(terms, wanted),
            Flow::Compute(below, formulas, wanted) => {
                let stored = below.next(opened, halves, rows)?;
                let lanes = computed(formulas, wanted, &stored.lanes, stored.halves.len())?;
                Ok(Stored { lanes, ..stored })
            }
            Flow::Window(below, windowed, wanted, before) => {
                before.answer(below.next(opened, halves, rows)?, windowed, wanted)
            }
            Flow::Join(below, known, condition, wanted) => {
                let mut stored = below.next(opened, halves, rows)?;
                let mut needed = wanted.to_vec();
                condition.iter().flat_map(|condition| condition.inputs()).for_each(|at| needed[*at] = true);
                if let Some(left) = known.said_of(&stored.halves) {
                    stored = stored.retained(&left, &needed);
                }
                let of_known = known.lanes(&stored.halves, &needed[stored.lanes.len()..]);
                stored.lanes.extend(of_known);
                Ok(match condition {
                    Some(condition) => stored.filtered(std::slice::from_ref(*condition), wanted)?,
                    None => stored,
                })
            }
        }
    }
}

/// True where the rows of each owner are stored as time goes on, and none is without a time; `time` says when a row of a run happened, where that
/// is known.
pub(super) fn in_time(
    runs: &[Run<'_>],
    mut time: impl FnMut(usize, usize) -> Result<Option<i64>>,
) -> Result<bool> {
    if !runs.iter().all(|run| run.times.low <= run.times.high) {
        return Ok(false);
    }
    for (number, two) in runs.windows(2).enumerate() {
        let [before, run] = two else { continue };
        // A run that a chunk's end cuts is two of the same bounds, through which owners ascend.
        let follows = before.times.high <= run.times.low
            || before.times == run.times
                && match (before.halves.last(), run.halves.first()) {
                    (Some(last), Some(first)) if last == first => {
                        let last = time(number, before.halves.len() - 1)?;
                        last.is_some() && last <= time(number + 1, 0)?
                    }
                    (last, first) => last < first,
                };
        if !follows {
            return Ok(false);
        }
    }
    Ok(true)
}

impl<'a> Stored<'a> {
    /// The rows for which each of some terms is TRUE.
    fn filtered(self, terms: &[Formula], wanted: &[bool]) -> Result<Stored<'a>> {
        Ok(match kept(terms, &self.lanes, self.halves.len())? {
            Some(left) => self.retained(&left, wanted),
            None => self,
        })
    }

    /// Some of the rows, ascending; values that are not wanted are left out.
    pub(super) fn retained(self, rows: &[u32], wanted: &[bool]) -> Stored<'a> {
        if rows.len() == self.halves.len() {
            return self;
        }
        let halves = rows.iter().map(|row| self.halves[*row as usize]).collect();
        Stored { lanes: selected(&self.lanes, rows, wanted), halves }
    }
}

#[cfg(test)]
mod tests {
    use super::super::opened::RunRows;
    use super::*;
    use crate::index::owners::Bounds;

    fn run(low: i64, high: i64, halves: &'static [u16]) -> Run<'static> {
        Run { chunk: 0, halves: halves.into(), rows: RunRows::From(0), times: Bounds { low, high } }
    }

    #[test]
    fn runs_are_in_time_where_no_owner_goes_back() {
        let unread = |_, _| panic!("no time has to be read");
        let holds = |runs: &[Run<'_>]| in_time(runs, unread).unwrap();
        assert!(holds(&[]) && holds(&[run(3, 3, &[1, 1])]));
        assert!(holds(&[run(0, 5, &[1, 9]), run(5, 8, &[0, 9]), run(8, 8, &[2])]));
        assert!(!holds(&[run(0, 5, &[1, 9]), run(4, 8, &[0, 9])]));
        // Without a time, in any place.
        for place in 0..3 {
            let mut runs = vec![run(0, 5, &[1]), run(5, 8, &[0])];
            runs.insert(place, Run { times: Bounds::of_nulls(), ..run(0, 0, &[4]) });
            assert!(!holds(&runs));
        }
        // One run in two, with owners that ascend; two of the same bounds.
        assert!(holds(&[run(0, 5, &[1, 9]), run(0, 5, &[10, 11]), run(6, 6, &[0])]));
        assert!(!holds(&[run(0, 5, &[1, 9]), run(0, 5, &[8, 11])]));
    }

    #[test]
    fn an_owner_whom_the_end_of_a_chunk_cuts_is_looked_at() {
        let runs = [run(0, 5, &[1, 9]), run(0, 5, &[9, 11])];
        let holds = |last: Option<i64>, first: Option<i64>| {
            in_time(&runs, |run, at| {
                assert_eq!(at, if run == 0 { 1 } else { 0 });
                Ok(if run == 0 { last } else { first })
            })
            .unwrap()
        };
        assert!(holds(Some(3), Some(3)) && holds(Some(2), Some(3)));
        assert!(!holds(Some(4), Some(3)) && !holds(None, Some(3)) && !holds(None, None));
        // Nobody says that it is later.
        assert!(!holds(Some(4), None));
    }
}
