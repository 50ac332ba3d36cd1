//! What groups by owner say of each owner of a chunk, made of rows as they are stored: a number in the owner's place.

use super::batch::{self, Batch, Segment};
use super::steps::{Chunk, computed, kept};
use super::stored::{Flow, OfOwners, Stored, of_owners};
use super::tree::{Aggregating, Grouped, Node, Step};
use crate::Result;
use crate::exec::FoldFunction;
use crate::exec::compute::{Coded, Kind, Lane, Numbers};
use crate::kernel;
use crate::predicate::RowFunction;
use crate::value::Value;
use muster_storage::chunk::Words;
use muster_storage::format::{BITSET_WORDS, CHUNK_MEMBERS};

use std::rc::Rc;
use std::sync::Arc;

/// No owner of a chunk.
static NOBODY: [bool; CHUNK_MEMBERS] = [false; CHUNK_MEMBERS];

/// What groups say of each owner, by the low half of its ordinal.
pub(super) struct Known<'a> {
    /// Of those of whom nothing is said, anything.
    lanes: Vec<Arc<Lane<'a>>>,
    said_of: Box<Words>,
}

/// The rows of a node that has one for each owner, as [`super::as_stored`] takes it; `None` where what groups have has no loop.
pub(super) fn rows_of<'a>(chunk: &Chunk<'_, 'a>, node: &Node) -> Result<Option<Batch<'a>>> {
    Ok(match &node.step {
        Step::Filter(input, terms) => match rows_of(chunk, input)? {
            Some(rows) => Some(match kept(terms, &rows.lanes, rows.len)? {
                Some(left) => rows.retained(&left, &node.wanted),
                None => rows,
            }),
            None => None,
        },
        Step::Compute(input, formulas) => match rows_of(chunk, input)? {
            Some(rows) => {
                let lanes = computed(formulas, &node.wanted, &rows.lanes, rows.len)?;
                Some(Batch { lanes, ..rows })
            }
            None => None,
        },
        Step::Group(input, grouped) => match Flow::open(chunk, input)? {
            Some(flow) => grouped_rows(chunk, flow, grouped, &node.wanted)?,
            None => None,
        },
        _ => None,
    })
}

/// A row for each owner.
fn grouped_rows<'a>(
    chunk: &Chunk<'_, 'a>,
    flow: Flow<'_, 'a>,
    grouped: &Grouped,
    wanted: &[bool],
) -> Result<Option<Batch<'a>>> {
    let mut with_rows = of_owners(false);
    let wanted_keys = &wanted[..grouped.formulas.len()];
    // A key that names an owner is the same in all rows of one.
    let mut keys: Vec<Folded> = wanted_keys.iter().map(|_| Folded::Nothing).collect();
    let mut made: Vec<Folded> = grouped.making.iter().map(|_| Folded::Nothing).collect();
    let mut fits = true;
    flow.each(chunk, |rows| {
        rows.halves.iter().for_each(|half| with_rows[usize::from(*half)] = true);
        let count = rows.halves.len();
        for ((key, folded), _) in
            grouped.formulas.iter().zip(&mut keys).zip(wanted_keys).filter(|(_, wanted)| **wanted)
        {
            fits = fits && folded.take(FoldFunction::Min, &rows.halves, &*key.of(&rows.lanes, count)?, None);
        }
        for (making, folded) in grouped.making.iter().zip(&mut made) {
            fits = fits && folded.make(making, &rows)?;
        }
        Ok(fits)
    })?;
    if !fits {
        return Ok(None);
    }
    let mut halves = Vec::new();
    kernel::differing(&*with_rows, &NOBODY, &mut halves);
    let places: Vec<u32> = halves.iter().map(|half| u32::from(*half)).collect();
    let lane = |(folded, wanted): (Folded, &bool)| {
        Arc::new(if *wanted { folded.lane().select(&places) } else { Lane::Same(Value::Null) })
    };
    let lanes = keys.into_iter().chain(made).zip(wanted).map(lane).collect();
    let segments = (1..).zip(&halves).map(|(end, half)| Segment { half: *half, end });
    Ok(Some(Batch { lanes, len: halves.len(), segments: Rc::new(segments.collect()) }))
}

/// What is made of each owner's rows so far.
enum Folded {
    /// Of no row; NULL, if it stays so.
    Nothing,
    Counted(OfOwners<i64>),
    /// A number, and whether it is one.
    Numbers(FoldFunction, Kind, OfOwners<i64>, OfOwners<bool>),
    /// The least code, or the greatest and one: what stands for nothing is behind all, or before.
    Codes(FoldFunction, Kind, OfOwners<u16>, &'static [i64]),
}

impl Folded {
    /// Takes rows; false where there is no loop for that, or a sum does not fit.
    fn make(&mut self, making: &Aggregating, rows: &Stored<'_>) -> Result<bool> {
        let RowFunction::Fold(function) = making.function else { return Ok(false) };
        let count = rows.halves.len();
        let filter = making.filter.as_ref().map(|filter| filter.of(&rows.lanes, count)).transpose()?;
        let filter = filter.as_ref().map(|filter| filter.of_each(count));
        let argument = making.arguments.first();
        let argument = argument.map(|argument| argument.of(&rows.lanes, count)).transpose()?;
        Ok(match (function, argument) {
            (FoldFunction::Count, argument) => {
                if let Folded::Nothing = self {
                    *self = Folded::Counted(of_owners(0));
                }
                let Folded::Counted(counts) = self else { return Ok(false) };
                match (&filter, &argument) {
                    (None, None) => rows.halves.iter().for_each(|half| counts[usize::from(*half)] += 1),
                    _ => {
                        let is_null = |row| argument.as_ref().is_some_and(|argument| argument.is_null(row));
                        let taken =
                            |row: usize| filter.as_ref().is_none_or(|filter| filter[row] == Some(true));
                        for (row, half) in rows.halves.iter().enumerate() {
                            counts[usize::from(*half)] += i64::from(taken(row) && !is_null(row));
                        }
                    }
                }
                true
            }
            (function, Some(argument)) => self.take(function, &rows.halves, &argument, filter.as_deref()),
            _ => false,
        })
    }

    fn take(
        &mut self,
        function: FoldFunction,
        halves: &[u16],
        lane: &Lane<'_>,
        taken: Option<&[Option<bool>]>,
    ) -> bool {
        let least = function == FoldFunction::Min;
        match (&mut *self, lane) {
            (_, Lane::Same(Value::Null)) => return true,
            (Folded::Nothing, Lane::Exact(kind, _)) => {
                if function == FoldFunction::Sum && !matches!(kind, Kind::Integer | Kind::Decimal(_)) {
                    return false;
                }
                let neutral = match function {
                    FoldFunction::Min => i64::MAX,
                    FoldFunction::Max => i64::MIN,
                    _ => 0,
                };
                *self = Folded::Numbers(function, *kind, of_owners(neutral), of_owners(false));
            }
            (Folded::Nothing, Lane::Coded(kind, coded)) if function != FoldFunction::Sum => {
                *self =
                    Folded::Codes(function, *kind, of_owners(if least { coded.null() } else { 0 }), coded.of);
            }
            _ => {}
        }
        match (self, lane) {
            (Folded::Numbers(_, of_kind, numbers, some), Lane::Exact(kind, of_rows)) if of_kind == kind => {
                let rows = halves.iter().zip(of_rows.values());
                if taken.is_none() && of_rows.nulls().is_none() {
                    return fold(function, rows, numbers, some);
                }
                let is_taken = |row: usize| taken.is_none_or(|taken| taken[row] == Some(true));
                let rows = rows.enumerate().filter(|(row, _)| is_taken(*row) && !of_rows.is_null(*row));
                fold(function, rows.map(|(_, row)| row), numbers, some)
            }
            (Folded::Codes(_, of_kind, best, of), Lane::Coded(kind, coded))
                if of_kind == kind && std::ptr::eq(*of, coded.of) =>
            {
                let rows = halves.iter().zip(&coded.codes);
                match taken {
                    None => best_code(least, coded.null(), rows, best),
                    Some(taken) => {
                        let rows = rows.zip(taken).filter(|(_, taken)| **taken == Some(true));
                        best_code(least, coded.null(), rows.map(|(row, _)| row), best);
                    }
                }
                true
            }
            _ => false,
        }
    }

    /// A value for each owner.
    fn lane<'a>(self) -> Lane<'a> {
        match self {
            Folded::Nothing => Lane::Same(Value::Null),
            Folded::Counted(counts) => Lane::Exact(Kind::Integer, in_one(counts).into()),
            Folded::Numbers(function, kind, numbers, some) => {
                let kind = match (function, kind) {
                    (FoldFunction::Sum, Kind::Decimal(scale)) => Kind::Decimal(scale),
                    (FoldFunction::Sum, _) => Kind::Decimal(0),
                    (_, kind) => kind,
                };
                let nulls = some.iter().map(|some| !some).collect();
                Lane::Exact(kind, Numbers::with_nulls(in_one(numbers), Some(nulls)))
            }
            Folded::Codes(function, kind, codes, of) => {
                let null = of.len() as u16;
                let code = |code: &u16| match function {
                    FoldFunction::Min => *code,
                    _ => code.checked_sub(1).unwrap_or(null),
                };
                Lane::Coded(kind, Coded { codes: codes.iter().map(code).collect(), of })
            }
        }
    }
}

/// Folds a number of each of some rows into that of its owner; false where a sum does not fit.
fn fold<'r>(
    function: FoldFunction,
    rows: impl Iterator<Item = (&'r u16, &'r i64)>,
    numbers: &mut [i64; CHUNK_MEMBERS],
    some: &mut [bool; CHUNK_MEMBERS],
) -> bool {
    let mut fits = true;
    match function {
        FoldFunction::Min => fold_with(rows, numbers, some, i64::min),
        FoldFunction::Max => fold_with(rows, numbers, some, i64::max),
        _ => fold_with(rows, numbers, some, |a, b| {
            let (sum, over) = a.overflowing_add(b);
            fits &= !over;
            sum
        }),
    }
    fits
}

#[inline(always)]
fn fold_with<'r>(
    rows: impl Iterator<Item = (&'r u16, &'r i64)>,
    numbers: &mut [i64; CHUNK_MEMBERS],
    some: &mut [bool; CHUNK_MEMBERS],
    mut of_two: impl FnMut(i64, i64) -> i64,
) {
    rows.for_each(|(half, number)| {
        let known = &mut numbers[usize::from(*half)];
        *known = of_two(*known, *number);
        some[usize::from(*half)] = true;
    });
}

/// Takes a code of each of some rows where it is better than that of its owner, as [`Folded::Codes`] has them.
fn best_code<'r>(
    least: bool,
    null: u16,
    rows: impl Iterator<Item = (&'r u16, &'r u16)>,
    best: &mut [u16; CHUNK_MEMBERS],
) {
    match least {
        true => rows.for_each(|(half, code)| {
            let best = &mut best[usize::from(*half)];
            *best = (*best).min(*code);
        }),
        false => rows.for_each(|(half, code)| {
            let best = &mut best[usize::from(*half)];
            *best = (*best).max(if *code == null { 0 } else { code + 1 });
        }),
    }
}

/// The same numbers, not copied.
fn in_one(numbers: OfOwners<i64>) -> Vec<i64> {
    (numbers as Box<[i64]>).into_vec()
}

impl<'a> Known<'a> {
    pub(super) fn of(chunk: &Chunk<'_, 'a>, node: &Node) -> Result<Option<Known<'a>>> {
        let Some(rows) = rows_of(chunk, node)? else { return Ok(None) };
        let (mut places, mut said_of) = (of_owners(0), Box::new([0; BITSET_WORDS]));
        for (place, owner) in (0..).zip(rows.segments.iter()) {
            places[usize::from(owner.half)] = place;
            said_of[usize::from(owner.half) / 64] |= 1 << (owner.half % 64);
        }
        let by_half = |lane: &Arc<Lane<'a>>| match &**lane {
            Lane::Same(_) => Arc::clone(lane),
            _ if rows.len == 0 => Arc::new(Lane::Same(Value::Null)),
            lane => Arc::new(lane.select(&*places)),
        };
        Ok(Some(Known { lanes: rows.lanes.iter().map(by_half).collect(), said_of }))
    }

    /// The rows of owners of whom something is said; `None` where all are.
    pub(super) fn said_of(&self, halves: &[u16]) -> Option<Vec<u32>> {
        let mut said = vec![0; halves.len().div_ceil(64)];
        kernel::has_each(&self.said_of, halves, &mut said);
        let count: u32 = said.iter().map(|word| word.count_ones()).sum();
        (count as usize != halves.len()).then(|| batch::places_of(&said, halves.len()))
    }

    /// What is said of the owners of some rows.
    pub(super) fn lanes(&self, halves: &[u16], wanted: &[bool]) -> Vec<Arc<Lane<'a>>> {
        let places: Vec<u32> = halves.iter().map(|half| u32::from(*half)).collect();
        batch::selected(&self.lanes, &places, wanted)
    }
}
