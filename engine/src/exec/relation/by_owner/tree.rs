//! Relations that can be evaluated one chunk of owners at a time, prepared for that.
//!
//! Of the names ([`super::shape`]) those of owners themselves are the same in all rows of one: they are not compared. What has
//! nothing to do with owners (products, a calendar) is made once, whole, and joined with the rows of each.

use super::super::join::{HOLDS_KEYS, KEY_BYTES};
use super::super::{RowSet, Run, bytes_of, place};
use super::cut::CutTime;
use super::numbered::LetThrough;
use super::opened::Place;
use super::shape::{Names, Owners, Shape, name_of, same_owner, shape};
use super::source::Source;
use crate::control::{Held, allocation};
use crate::exec::compute::Lane;
use crate::expr::{Compiled, Expr, Function};
use crate::predicate::{
    Join, JoinKind, Relation, RowAggregate, RowFunction, SortKey, WindowCall, WindowFunction,
};
use crate::schema::ColumnId;
use crate::{Error, Result, Snapshot};
use hashbrown::HashMap;
use std::sync::Arc;

/// A step over the rows of one chunk of owners.
pub(super) struct Node {
    /// The values of its rows.
    pub(super) columns: Vec<ColumnId>,
    /// Values that name the owner of a row: the same in all rows of one.
    pub(super) names: Names,
    /// Which of them a step above needs; others are NULL.
    pub(super) wanted: Vec<bool>,
    pub(super) step: Step,
}

pub(super) enum Step {
    /// Rows of a table: the number of the source, and where it has each value.
    Source(usize, Vec<Place>),
    /// Rows for which each of the terms is TRUE, asked one after another.
    Filter(Box<Node>, Vec<Formula>),
    Compute(Box<Node>, Vec<Formula>),
    /// Rows of several nodes, each with the places of its values.
    Append(Vec<(Node, Vec<usize>)>),
    Group(Box<Node>, Grouped),
    Window(Box<Node>, Windowed),
    /// Rows of one owner on both sides; of other keys, these are equal.
    Join {
        kind: JoinKind,
        left: Box<Node>,
        right: Box<Node>,
        others: Vec<(Formula, Formula)>,
        condition: Option<Formula>,
    },
    /// The right side is the same for all owners.
    Lookup {
        kind: JoinKind,
        left: Box<Node>,
        keys: Vec<Formula>,
        right: Whole,
        condition: Option<Formula>,
    },
}

/// Groups of one owner's rows.
pub(super) struct Grouped {
    pub(super) keys: Vec<(ColumnId, Expr)>,
    pub(super) aggregates: Vec<(ColumnId, RowAggregate)>,
    pub(super) formulas: Vec<Formula>,
    /// Keys that name the owner.
    pub(super) named: Vec<bool>,
    pub(super) making: Vec<Aggregating>,
}

/// Neighbours among one owner's rows.
pub(super) struct Windowed {
    pub(super) partition: Vec<Expr>,
    pub(super) order: Vec<SortKey>,
    pub(super) outputs: Vec<(ColumnId, WindowCall)>,
    /// What beside the owner tells neighbours apart.
    pub(super) others: Vec<Formula>,
    pub(super) keys: Vec<Formula>,
    pub(super) arguments: Vec<Vec<Formula>>,
    /// Of rows that are numbered, those that a condition above lets through.
    pub(super) let_through: LetThrough,
}

impl Windowed {
    /// The call that numbers rows.
    pub(super) fn row_number(&self) -> Option<usize> {
        self.outputs.iter().position(|(_, call)| call.function == WindowFunction::RowNumber)
    }
}

/// What is made of the rows of a group.
pub(super) struct Aggregating {
    pub(super) function: RowFunction,
    pub(super) distinct: bool,
    pub(super) arguments: Vec<Formula>,
    pub(super) filter: Option<Formula>,
    /// The argument names the owner.
    pub(super) of_owner: bool,
}

impl Aggregating {
    pub(super) fn new(aggregate: &RowAggregate, input: &Node, now_micros: i64) -> Result<Aggregating> {
        let formula = |expr| Formula::new(expr, &input.columns, now_micros);
        Ok(Aggregating {
            function: aggregate.function,
            distinct: aggregate.distinct,
            arguments: aggregate.arguments.iter().map(formula).collect::<Result<_>>()?,
            filter: aggregate.filter.as_ref().map(formula).transpose()?,
            of_owner: aggregate
                .arguments
                .first()
                .is_some_and(|argument| name_of(&input.names, argument).is_some()),
        })
    }
}

/// An expression over the rows of a node.
pub(super) struct Formula {
    compiled: Compiled,
    inputs: Vec<usize>,
    /// The column that it is.
    column: Option<usize>,
}

impl Formula {
    pub(super) fn new(expr: &Expr, columns: &[ColumnId], now_micros: i64) -> Result<Formula> {
        let compiled = Compiled::new(expr, now_micros)?;
        let inputs =
            compiled.columns().iter().map(|column| place(columns, *column)).collect::<Result<_>>()?;
        let column = if let Expr::Column(column) = expr { Some(place(columns, *column)?) } else { None };
        Ok(Formula { compiled, inputs, column })
    }

    /// Of rows with these values.
    pub(super) fn of<'a>(&self, lanes: &[Arc<Lane<'a>>], count: usize) -> Result<Arc<Lane<'a>>> {
        if let Some(column) = self.column {
            return Ok(Arc::clone(&lanes[column]));
        }
        let inputs: Vec<Arc<Lane<'a>>> = self.inputs.iter().map(|at| Arc::clone(&lanes[*at])).collect();
        crate::exec::compute::lane(&self.compiled, &inputs, count)
    }

    /// Of some of such rows.
    pub(super) fn of_some<'a>(&self, lanes: &[Arc<Lane<'a>>], rows: &[u32]) -> Result<Arc<Lane<'a>>> {
        let inputs: Vec<Arc<Lane<'a>>> =
            self.inputs.iter().map(|at| Arc::new(lanes[*at].select(rows))).collect();
        match self.column {
            Some(column) => Ok(Arc::new(lanes[column].select(rows))),
            None => crate::exec::compute::lane(&self.compiled, &inputs, rows.len()),
        }
    }

    /// The column that it is, where it is one.
    pub(super) fn column(&self) -> Option<usize> {
        self.column
    }

    /// The columns that it is of.
    pub(super) fn inputs(&self) -> &[usize] {
        &self.inputs
    }
}

/// Hears of the terms of an AND, or of the only one.
pub(super) fn for_each_term<'e>(condition: &'e Expr, hear: &mut dyn FnMut(&'e Expr)) {
    match condition {
        Expr::Call { function: Function::And, arguments } => {
            arguments.iter().for_each(|argument| for_each_term(argument, hear));
        }
        term => hear(term),
    }
}

/// Rows that have nothing to do with owners.
pub(super) struct Whole {
    pub(super) lanes: Vec<Arc<Lane<'static>>>,
    /// Where they are by the bytes of their keys.
    pub(super) places: HashMap<Vec<u8>, Vec<u32>>,
    pub(super) rows: usize,
    /// True where a key of some row is NULL.
    pub(super) has_null: bool,
    _held: Held,
}

/// Prepares a relation of which [`shape`] says that it is split.
pub(super) struct Builder<'b, 'r, 'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) owners: Owners,
    pub(super) run: &'b mut Run<'r>,
    pub(super) sources: Vec<Source<'a>>,
    /// Values that are times of a table cut to a unit.
    pub(super) cuts: &'b [CutTime],
}

impl Builder<'_, '_, '_> {
    pub(super) fn node(&mut self, relation: &Relation) -> Result<Node> {
        let now = self.snapshot.now_micros();
        let Shape::Split(mut names) = shape(self.snapshot, self.owners, relation)? else {
            return Err(Error::Invalid("rows of several owners were asked for owner by owner".into()));
        };
        names.retain(|(_, name)| name.table == self.owners.table);
        let step = match relation {
            Relation::Scan(scan) => {
                // The same rows are found once, however many steps read them.
                let known = self.sources.iter().position(|source| source.is_of(scan));
                if known.is_none() {
                    let (cancel, tables) = (self.run.cancel, self.run.tables + 1);
                    self.sources.push(Source::new(self.snapshot, scan, self.owners, cancel, tables)?);
                }
                let number = known.unwrap_or(self.sources.len() - 1);
                let source = &mut self.sources[number];
                let places = scan.columns.iter().map(|(column, id)| {
                    let cut = self.cuts.iter().find(|cut| cut.id == *id);
                    match cut {
                        Some(cut) => source.place_of_cut(*column, cut.unit),
                        None => source.place(*column),
                    }
                });
                Step::Source(number, places.collect::<Result<_>>()?)
            }
            Relation::Filter { input, condition } => {
                let mut input = Box::new(self.node(input)?);
                let mut terms = Vec::new();
                for_each_term(condition, &mut |term| {
                    if !input.takes_over(term) {
                        terms.push(Formula::new(term, &input.columns, now));
                    }
                });
                Step::Filter(input, terms.into_iter().collect::<Result<_>>()?)
            }
            Relation::Compute { input, outputs } => {
                let input = Box::new(self.node(input)?);
                let formulas = outputs.iter().map(|(_, expr)| Formula::new(expr, &input.columns, now));
                let formulas = formulas.collect::<Result<_>>()?;
                Step::Compute(input, formulas)
            }
            Relation::Group { input, keys, aggregates } => {
                let input = Box::new(self.node(input)?);
                let formulas = keys.iter().map(|(_, key)| Formula::new(key, &input.columns, now));
                let making = aggregates.iter().map(|(_, aggregate)| Aggregating::new(aggregate, &input, now));
                let grouped = Grouped {
                    keys: keys.clone(),
                    aggregates: aggregates.clone(),
                    formulas: formulas.collect::<Result<_>>()?,
                    named: keys.iter().map(|(_, key)| name_of(&input.names, key).is_some()).collect(),
                    making: making.collect::<Result<_>>()?,
                };
                Step::Group(input, grouped)
            }
            Relation::Window { input, partition, order, outputs } => {
                let input = Box::new(self.node(input)?);
                let formula = |expr: &Expr| Formula::new(expr, &input.columns, now);
                let arguments = outputs.iter().map(|(_, call)| call.arguments.iter().map(formula).collect());
                let windowed = Windowed {
                    partition: partition.clone(),
                    order: order.clone(),
                    outputs: outputs.clone(),
                    others: partition
                        .iter()
                        .filter(|expr| name_of(&input.names, expr).is_none())
                        .map(formula)
                        .collect::<Result<_>>()?,
                    keys: order.iter().map(|key| formula(&key.value)).collect::<Result<_>>()?,
                    arguments: arguments.collect::<Result<_>>()?,
                    let_through: LetThrough::default(),
                };
                Step::Window(input, windowed)
            }
            Relation::Append { inputs, .. } => {
                let mut nodes = Vec::with_capacity(inputs.len());
                for (values, below) in inputs {
                    let node = self.node(below)?;
                    let places = values.iter().map(|value| place(&node.columns, *value));
                    let places = places.collect::<Result<_>>()?;
                    nodes.push((node, places));
                }
                Step::Append(nodes)
            }
            Relation::Join(join) => self.join(join)?,
            Relation::Sort { .. } => {
                return Err(Error::Invalid("rows of several owners were to be in one order".into()));
            }
        };
        let columns = relation.columns();
        let wanted = vec![true; columns.len()];
        Ok(Node { columns, names, wanted, step })
    }

    fn join(&mut self, join: &Join) -> Result<Step> {
        let now = self.snapshot.now_micros();
        let (left, kind) = (Box::new(self.node(&join.left)?), join.kind);
        let both: Vec<ColumnId> = left.columns.iter().copied().chain(join.right.columns()).collect();
        let condition =
            join.condition.as_ref().map(|condition| Formula::new(condition, &both, now)).transpose()?;
        if let Shape::Whole = shape(self.snapshot, self.owners, &join.right)? {
            let keys = join.keys.iter().map(|(key, _)| Formula::new(key, &left.columns, now));
            let (keys, right) = (keys.collect::<Result<_>>()?, self.whole(join)?);
            return Ok(Step::Lookup { kind, left, keys, right, condition });
        }
        let right = Box::new(self.node(&join.right)?);
        let others = join.keys.iter().filter(|keys| !same_owner(&left.names, &right.names, keys));
        let others = others
            .map(|(a, b)| Ok((Formula::new(a, &left.columns, now)?, Formula::new(b, &right.columns, now)?)));
        let others = others.collect::<Result<_>>()?;
        Ok(Step::Join { kind, left, right, others, condition })
    }

    /// The rows of the right side of a join, by their keys.
    fn whole(&mut self, join: &Join) -> Result<Whole> {
        let mut rows: RowSet = self.run.rows(&join.right)?;
        let keys: Vec<Expr> = join.keys.iter().map(|(_, right)| right.clone()).collect();
        let computed = self.run.all_computed(&keys, &rows)?;
        let (mut places, mut has_null) = (HashMap::<Vec<u8>, Vec<u32>>::new(), false);
        let mut bytes = Vec::new();
        let mut held = self.run.cancel.holder(HOLDS_KEYS);
        for at in 0..rows.len() {
            self.run.look(at)?;
            if bytes_of(&computed, rows.row(at), &mut bytes)?.is_none() {
                has_null = true;
            } else {
                held.add(if places.contains_key(&bytes) {
                    2 * size_of::<u32>()
                } else {
                    KEY_BYTES + allocation(bytes.len())
                })?;
                places.entry_ref(bytes.as_slice()).or_default().push(at as u32);
            }
        }
        let lanes = rows.lanes().into_iter().map(Arc::new).collect();
        held.absorb(rows.release())?;
        Ok(Whole { lanes, rows: rows.len(), places, has_null, _held: held })
    }
}

impl Node {
    /// Leaves out what no step above needs: of what says whose a row is, its place is enough.
    pub(super) fn want(&mut self, wanted: Vec<bool>) {
        fn below<'f>(node: &Node, formulas: impl Iterator<Item = &'f Formula>) -> Vec<bool> {
            let mut wanted = vec![false; node.columns.len()];
            formulas.flat_map(|formula| &formula.inputs).for_each(|at| wanted[*at] = true);
            wanted
        }
        match &mut self.step {
            Step::Source(..) => {}
            Step::Append(inputs) => {
                for (node, places) in inputs {
                    let mut needed = vec![false; node.columns.len()];
                    places.iter().zip(&wanted).for_each(|(place, wanted)| needed[*place] |= wanted);
                    node.want(needed);
                }
            }
            Step::Filter(input, terms) => {
                let of_terms = below(input, terms.iter());
                input.want(of_terms.iter().zip(&wanted).map(|(a, b)| a | b).collect());
            }
            Step::Compute(input, formulas) => {
                let needed =
                    formulas.iter().zip(&wanted).filter(|(_, wanted)| **wanted).map(|(formula, _)| formula);
                input.want(below(input, needed));
            }
            Step::Group(input, grouped) => {
                let keys = grouped.formulas.iter().zip(&grouped.named).zip(&wanted);
                let keys = keys.filter(|((_, named), wanted)| !**named || **wanted).map(|((key, _), _)| key);
                let making =
                    grouped.making.iter().flat_map(|making| making.arguments.iter().chain(&making.filter));
                input.want(below(input, keys.chain(making)));
            }
            Step::Window(input, windowed) => {
                let others = windowed.others.iter().chain(&windowed.keys);
                let mut needed = below(input, others.chain(windowed.arguments.iter().flatten()));
                needed.iter_mut().zip(&wanted).for_each(|(needed, wanted)| *needed |= wanted);
                input.want(needed);
            }
            Step::Join { left, right, others, condition, .. } => {
                let (of_left, of_right) =
                    (below(left, others.iter().map(|(a, _)| a)), below(right, others.iter().map(|(_, b)| b)));
                let mut both: Vec<bool> = of_left.into_iter().chain(of_right).collect();
                condition.iter().flat_map(|condition| &condition.inputs).for_each(|at| both[*at] = true);
                both.iter_mut()
                    .zip(&wanted)
                    .take(self.columns.len())
                    .for_each(|(needed, wanted)| *needed |= wanted);
                let of_right = both.split_off(left.columns.len());
                left.want(both);
                right.want(of_right);
            }
            Step::Lookup { left, keys, condition, .. } => {
                let mut needed = below(left, keys.iter());
                let some = condition.iter().flat_map(|condition| &condition.inputs);
                some.filter(|at| **at < left.columns.len()).for_each(|at| needed[*at] = true);
                needed.iter_mut().zip(&wanted).for_each(|(needed, wanted)| *needed |= wanted);
                left.want(needed);
            }
        }
        self.wanted = wanted;
    }
}
