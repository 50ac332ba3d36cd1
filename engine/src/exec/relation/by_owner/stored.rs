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
use super::known::{self, Known};
use super::opened::{Opened, Place, Rows};
use super::source::Source;
use super::steps::{Chunk, computed, kept};
use super::tree::{Formula, Node, Step, Windowed};
use crate::exec::compute::{Kind, Lane, NONE, Numbers};
use crate::predicate::{JoinKind, WindowFunction};
use crate::{Error, Result};
use muster_storage::format::CHUNK_MEMBERS;
use std::sync::Arc;

/// Rows that are taken at once: a dozen lanes of them stay in a second-level cache, beside what is known of owners.
const ROWS_AT_ONCE: usize = 8_192;

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
    Window(Box<Flow<'n, 'a>>, &'n Windowed, Before),
    Join(Box<Flow<'n, 'a>>, Known<'a>, Option<&'n Formula>, &'n [bool]),
}

/// What came before the next rows.
pub(super) struct Before {
    /// Rows of each owner.
    rows: OfOwners<u32>,
    /// What each owner's last row has in the arguments of each call.
    last: Vec<Option<Last>>,
}

struct Last {
    numbers: OfOwners<i64>,
    nulls: Option<OfOwners<bool>>,
}

/// True where rows of a node can be taken as they are stored.
pub(super) fn flows(sources: &[Source<'_>], node: &Node) -> bool {
    match &node.step {
        Step::Source(..) => true,
        Step::Filter(input, _) | Step::Compute(input, _) => flows(sources, input),
        Step::Window(input, windowed) => flows(sources, input) && looks_back(sources, input, windowed),
        Step::Join { kind: JoinKind::Inner, left, right, others, .. } => {
            others.is_empty() && flows(sources, left) && known::is_known(sources, right)
        }
        _ => false,
    }
}

/// True where that is worth it: rows are numbered, or stand beside groups.
pub(super) fn is_worth_it(node: &Node) -> bool {
    match &node.step {
        Step::Window(..) | Step::Join { .. } => true,
        Step::Filter(input, _) | Step::Compute(input, _) | Step::Group(input, _) => is_worth_it(input),
        _ => false,
    }
}

/// True where rows of an owner have to come as time goes on.
pub(super) fn needs_time(node: &Node) -> bool {
    match &node.step {
        Step::Window(..) => true,
        Step::Filter(input, _) | Step::Compute(input, _) | Step::Group(input, _) => needs_time(input),
        Step::Join { left, right, .. } => needs_time(left) || needs_time(right),
        _ => false,
    }
}

/// True of values that an owner's rows, as time goes on, have one after another: none comes back after another one.
pub(super) fn goes_on(sources: &[Source<'_>], node: &Node, formula: &Formula) -> bool {
    let Some(at) = formula.column() else { return false };
    match &node.step {
        Step::Source(number, places) => sources[*number].is_of_time(places[at]),
        Step::Filter(input, _) => goes_on(sources, input, formula),
        Step::Compute(input, formulas) => goes_on(sources, input, &formulas[at]),
        Step::Window(input, _) => at < input.columns.len() && goes_on(sources, input, formula),
        Step::Join { left, .. } => at >= left.columns.len() || goes_on(sources, left, formula),
        _ => false,
    }
}

/// Where the source below has a value.
fn place_of(node: &Node, formula: &Formula) -> Option<(usize, Place)> {
    let at = formula.column()?;
    match &node.step {
        Step::Source(number, places) => Some((*number, places[at])),
        Step::Filter(input, _) => place_of(input, formula),
        Step::Compute(input, formulas) => place_of(input, &formulas[at]),
        Step::Window(input, _) if at < input.columns.len() => place_of(input, formula),
        Step::Join { left, .. } if at < left.columns.len() => place_of(left, formula),
        _ => None,
    }
}

/// True where what neighbours say is told by rows that came before, as time goes on.
fn looks_back(sources: &[Source<'_>], input: &Node, windowed: &Windowed) -> bool {
    let by_time = match (windowed.keys.as_slice(), windowed.order.as_slice()) {
        ([key], [order]) => {
            let is_time = |(number, place): (usize, Place)| sources[number].is_time(place);
            !order.descending && place_of(input, key).is_some_and(is_time)
        }
        _ => false,
    };
    let is_exact = |argument: &Formula| match place_of(input, argument) {
        Some((number, Place::Column(column))) => {
            Kind::of(sources[number].readers[column].0.data_type()).is_some()
        }
        _ => false,
    };
    let mut calls = windowed.outputs.iter().zip(&windowed.arguments);
    by_time
        && windowed.others.is_empty()
        && calls.all(|((_, call), arguments)| match (call.function, arguments.as_slice()) {
            _ if call.frame.is_some() => false,
            (WindowFunction::RowNumber, []) => true,
            (WindowFunction::Lag(1), [argument]) => is_exact(argument),
            _ => false,
        })
}

/// Hears of the rows of a node as they are stored, or of those made of groups; false, and nothing heard, where these have no loop.
pub(super) fn heard<'a>(
    chunk: &Chunk<'_, 'a>,
    node: &Node,
    hear: &mut impl FnMut(batch::Rows<'_, 'a>) -> Result<()>,
) -> Result<bool> {
    if let Some(flow) = Flow::begin(chunk, node)? {
        flow.each(chunk, |rows| hear(batch::Rows::Stored(&rows)))?;
        return Ok(true);
    }
    let Some(rows) = known::rows_of(chunk, node)? else { return Ok(false) };
    if rows.len > 0 {
        hear(batch::Rows::ByOwner(&rows))?;
    }
    Ok(true)
}

impl<'n, 'a> Flow<'n, 'a> {
    /// Of a node of which [`flows`] says so, before its first rows; `None` where groups have no loop.
    pub(super) fn begin(chunk: &Chunk<'_, 'a>, node: &'n Node) -> Result<Option<Flow<'n, 'a>>> {
        let below = |input| Ok::<_, Error>(Flow::begin(chunk, input)?.map(Box::new));
        Ok(match &node.step {
            Step::Source(number, places) => {
                Some(Flow::Source { number: *number, places, wanted: &node.wanted })
            }
            Step::Filter(input, terms) => below(input)?.map(|flow| Flow::Filter(flow, terms, &node.wanted)),
            Step::Compute(input, formulas) => {
                below(input)?.map(|flow| Flow::Compute(flow, formulas, &node.wanted))
            }
            Step::Window(input, windowed) => {
                let last = windowed.arguments.iter().map(|arguments| {
                    (!arguments.is_empty()).then(|| Last { numbers: of_owners(0), nulls: None })
                });
                let before = Before { rows: of_owners(0), last: last.collect() };
                below(input)?.map(|flow| Flow::Window(flow, windowed, before))
            }
            Step::Join { left, right, condition, .. } => match (below(left)?, Known::of(chunk, right)?) {
                (Some(flow), Some(known)) => Some(Flow::Join(flow, known, condition.as_ref(), &node.wanted)),
                _ => None,
            },
            _ => None,
        })
    }

    /// Hears of all rows.
    pub(super) fn each(
        mut self,
        chunk: &Chunk<'_, 'a>,
        mut hear: impl FnMut(Stored<'a>) -> Result<()>,
    ) -> Result<()> {
        let opened = chunk.source(self.source());
        for (halves, rows) in opened.as_stored(ROWS_AT_ONCE) {
            chunk.check()?;
            let rows = self.next(opened, halves, &rows)?;
            if !rows.halves.is_empty() {
                hear(rows)?;
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
    fn next(&mut self, opened: &Opened<'_, 'a>, halves: Vec<u16>, rows: &Rows<'a>) -> Result<Stored<'a>> {
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
            Flow::Window(below, windowed, before) => {
                let mut stored = below.next(opened, halves, rows)?;
                let mut count = |half: &u16| {
                    let rows = &mut before.rows[usize::from(*half)];
                    *rows += 1;
                    *rows
                };
                let numbers: Vec<u32> = stored.halves.iter().map(&mut count).collect();
                for (arguments, last) in windowed.arguments.iter().zip(&mut before.last) {
                    let lane = match (arguments.first(), last) {
                        (Some(argument), Some(last)) => {
                            let argument = argument.of(&stored.lanes, stored.halves.len())?;
                            last.lag(&stored.halves, &numbers, &argument)?
                        }
                        _ => Lane::Exact(
                            Kind::Integer,
                            numbers.iter().map(|number| i64::from(*number)).collect::<Vec<_>>().into(),
                        ),
                    };
                    stored.lanes.push(Arc::new(lane));
                }
                Ok(stored)
            }
            Flow::Join(below, known, condition, wanted) => {
                let mut stored = below.next(opened, halves, rows)?;
                let mut needed = wanted.to_vec();
                condition.iter().flat_map(|condition| condition.inputs()).for_each(|at| needed[*at] = true);
                let mut places = known.places(&stored.halves);
                if places.contains(&NONE) {
                    let left: Vec<u32> =
                        (0..places.len() as u32).filter(|row| places[*row as usize] != NONE).collect();
                    places.retain(|place| *place != NONE);
                    stored = stored.retained(&left, &needed);
                }
                let of_known = selected(known.lanes(), &places, &needed[stored.lanes.len()..]);
                stored.lanes.extend(of_known);
                Ok(match condition {
                    Some(condition) => stored.filtered(std::slice::from_ref(*condition), wanted)?,
                    None => stored,
                })
            }
        }
    }
}

impl Last {
    /// The values of the rows before, and then of these, whose numbers among their owners' are known.
    fn lag<'a>(&mut self, halves: &[u16], numbers: &[u32], lane: &Lane<'a>) -> Result<Lane<'a>> {
        let (kind, values) = match lane {
            Lane::Exact(kind, values) => (*kind, values),
            _ => return Err(Error::Invalid("numbers were read as something else".into())),
        };
        let before = halves.iter().zip(values.values());
        let before =
            before.map(|(half, value)| std::mem::replace(&mut self.numbers[usize::from(*half)], *value));
        let before: Vec<i64> = before.collect();
        let mut nulls: Vec<bool> = numbers.iter().map(|number| *number == 1).collect();
        if values.nulls().is_some() || self.nulls.is_some() {
            let of_owners = self.nulls.get_or_insert_with(|| of_owners(false));
            for (row, (half, null)) in halves.iter().zip(&mut nulls).enumerate() {
                *null |= std::mem::replace(&mut of_owners[usize::from(*half)], values.is_null(row));
            }
        }
        Ok(Lane::Exact(kind, Numbers::with_nulls(before, Some(nulls))))
    }
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
    fn retained(self, rows: &[u32], wanted: &[bool]) -> Stored<'a> {
        if rows.len() == self.halves.len() {
            return self;
        }
        let halves = rows.iter().map(|row| self.halves[*row as usize]).collect();
        Stored { lanes: selected(&self.lanes, rows, wanted), halves }
    }
}
