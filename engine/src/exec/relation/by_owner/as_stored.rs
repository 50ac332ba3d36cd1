//! Which steps can take rows as they are stored ([`super::stored`]), and what that needs.

use super::opened::Place;
use super::source::Source;
use super::tree::{Aggregating, Formula, Node, Step, Windowed};
use crate::exec::FoldFunction;
use crate::predicate::{JoinKind, RowFunction, WindowFunction};
use muster_storage::format::CHUNK_MEMBERS;

/// Of fewer rows of a chunk of owners it takes longer to make places for all of these.
const ROWS_MIN: u64 = 8_192;

/// What a number of each owner takes, and whether it is one.
const NUMBER_BYTES: usize = (size_of::<i64>() + size_of::<bool>()) * CHUNK_MEMBERS;

/// What the place of a row of each owner takes, or how many there are.
const PLACE_BYTES: usize = size_of::<u32>() * CHUNK_MEMBERS;

/// Steps that take rows as they are stored.
#[derive(Default)]
pub(super) struct AsStored {
    /// The tables whose rows have to come as time goes on.
    pub(super) in_time: Vec<usize>,
    /// What is known of the owners of a chunk takes so many bytes at most.
    pub(super) bytes: usize,
    /// Rows are numbered, or stand beside groups: others are found faster as leaves, or owner by owner.
    is_worth_it: bool,
}

impl AsStored {
    /// Of the rows of a node, or of a row for each owner; `in_time` where who hears of them needs that. `None` where they are not taken so.
    pub(super) fn of(sources: &[Source<'_>], node: &Node, in_time: bool) -> Option<AsStored> {
        let (mut of_rows, mut of_groups) = (AsStored::default(), AsStored::default());
        let mut way = if of_rows.flows(sources, node) {
            of_rows
        } else if of_groups.is_known(sources, node) {
            of_groups
        } else {
            return None;
        };
        way.in_time.extend(source_of(node).filter(|_| in_time));
        way.is_worth_it.then_some(way)
    }

    /// True where so many rows of a chunk of owners are worth it.
    pub(super) fn takes(&self, rows: u64) -> bool {
        rows >= ROWS_MIN
    }

    /// True where rows of a node can be taken as they are stored.
    fn flows(&mut self, sources: &[Source<'_>], node: &Node) -> bool {
        match &node.step {
            Step::Source(..) => true,
            Step::Filter(input, _) | Step::Compute(input, _) => self.flows(sources, input),
            Step::Window(input, windowed) => {
                self.is_worth_it = true;
                self.in_time.extend(source_of(input));
                self.bytes += PLACE_BYTES + windowed.outputs.len() * NUMBER_BYTES;
                looks_back(sources, input, windowed) && self.flows(sources, input)
            }
            Step::Join { kind: JoinKind::Inner, left, right, others, .. } => {
                self.is_worth_it = true;
                self.bytes += PLACE_BYTES;
                others.is_empty() && self.flows(sources, left) && self.is_known(sources, right)
            }
            _ => false,
        }
    }

    /// True where the rows of a node are one for each owner, and made of rows as they are stored.
    fn is_known(&mut self, sources: &[Source<'_>], node: &Node) -> bool {
        match &node.step {
            Step::Filter(input, _) => self.is_known(sources, input),
            Step::Compute(input, _) => {
                self.bytes += 2 * node.columns.len() * NUMBER_BYTES;
                self.is_known(sources, input)
            }
            Step::Group(input, grouped) => {
                // As they are made, or in the places of their owners, and as they are of those who have rows.
                self.bytes += 2 * node.columns.len() * NUMBER_BYTES;
                let has_loop = |making: &Aggregating| has_loop(sources, input, making);
                grouped.named.iter().all(|named| *named)
                    && grouped.making.iter().all(has_loop)
                    && self.flows(sources, input)
            }
            _ => false,
        }
    }
}

/// True where what is made of the rows of a group may have a loop, as far as is known before any is read.
fn has_loop(sources: &[Source<'_>], input: &Node, making: &Aggregating) -> bool {
    let RowFunction::Fold(function) = making.function else { return false };
    let is_best = matches!(function, FoldFunction::Min | FoldFunction::Max);
    match (function, making.arguments.first()) {
        (FoldFunction::Count, _) => !making.distinct,
        (FoldFunction::Sum | FoldFunction::Min | FoldFunction::Max, Some(argument)) => {
            (is_best || !making.distinct)
                && place_of(input, argument).is_none_or(|(number, place)| sources[number].is_exact(place))
        }
        _ => false,
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
    // Of all rows as numbers: what is cut to months may be so, or not.
    let is_number = |argument: &Formula| match place_of(input, argument) {
        Some((number, place @ Place::Column(_))) => sources[number].is_exact(place),
        _ => false,
    };
    let mut calls = windowed.outputs.iter().zip(&windowed.arguments);
    by_time
        && windowed.others.is_empty()
        && calls.all(|((_, call), arguments)| match (call.function, arguments.as_slice()) {
            _ if call.frame.is_some() => false,
            (WindowFunction::RowNumber, []) => true,
            (WindowFunction::Lag(1), [argument]) => is_number(argument),
            _ => false,
        })
}

/// True of values that an owner's rows, as time goes on, have one after another: none comes back after another one. Each is also of one kind in all
/// rows, so that groups of such keys are found in one table.
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

/// The table whose rows a node's are, with more values.
fn source_of(node: &Node) -> Option<usize> {
    match &node.step {
        Step::Source(number, _) => Some(*number),
        Step::Filter(input, _) | Step::Compute(input, _) | Step::Window(input, _) => source_of(input),
        Step::Join { left, .. } => source_of(left),
        _ => None,
    }
}

/// Where that table has a value.
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
