//! The steps over the rows of some owners: by lanes where there is a loop for it, else row by row, as whole relations are.

use super::super::{RowSet, Run};
use super::Tree;
use super::batch::{Batch, Segment};
use super::opened::Opened;
use super::tree::{Formula, Grouped, Node, Step, Windowed};
use crate::control::Cancel;
use crate::exec::chunk::Worker;
use crate::exec::compute::{Kind, Lane};
use crate::expr::Expr;
use crate::predicate::JoinKind;
use crate::schema::ColumnId;
use crate::value::Value;
use crate::{Result, Snapshot};
use muster_storage::chunk::Words;
use muster_storage::format::BITSET_WORDS;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// Whose a row is, beside the values of a tree: none of these has such an id.
const OWNER: ColumnId = ColumnId(u32::MAX);

/// Steps, with the tables that they read, open at one chunk of owners.
pub(super) struct Chunk<'s, 'a> {
    snapshot: &'a Snapshot,
    cancel: &'s Cancel,
    tables: usize,
    opened: Vec<Opened<'s, 'a>>,
}

impl<'s, 'a> Chunk<'s, 'a> {
    pub(super) fn open(
        tree: &'s Tree<'a>,
        workers: &mut [Worker<'s, 'a>],
        owners: u32,
        only: Option<&Words>,
    ) -> Result<Chunk<'s, 'a>> {
        let opened = tree.sources.iter().zip(workers);
        let opened = opened.map(|(source, worker)| source.open(worker, owners, only));
        let opened = opened.collect::<Result<_>>()?;
        Ok(Chunk { snapshot: tree.snapshot, cancel: &tree.cancel, tables: tree.tables, opened })
    }

    /// A table's rows.
    pub(super) fn source(&self, number: usize) -> &Opened<'s, 'a> {
        &self.opened[number]
    }

    /// An error once nobody waits any more.
    pub(super) fn check(&self) -> Result<()> {
        self.cancel.check()
    }

    /// True where the rows of some tables come as time goes on.
    pub(super) fn are_in_time(&self, sources: &[usize]) -> Result<bool> {
        sources.iter().try_fold(true, |all, source| Ok(all && self.opened[*source].is_in_time()?))
    }

    /// The most rows that a table has of the chunk's owners.
    pub(super) fn rows_found(&self) -> u64 {
        self.opened.iter().map(Opened::rows_found).max().unwrap_or(0)
    }

    /// The bytes that the rows found hold.
    pub(super) fn held(&self) -> usize {
        self.opened.iter().map(Opened::held).sum()
    }

    /// The rows of a node that belong to some owners, of `only` those where not all are asked.
    pub(super) fn rows(&self, node: &Node, span: &Range<u32>, only: Option<&Words>) -> Result<Batch<'a>> {
        match &node.step {
            Step::Source(source, places) => self.opened[*source].rows(span, only, places, &node.wanted),
            Step::Filter(input, terms) => {
                let rows = self.rows(input, span, only)?;
                Ok(match kept(terms, &rows.lanes, rows.len)? {
                    Some(left) => rows.retained(&left, &node.wanted),
                    None => rows,
                })
            }
            Step::Compute(input, formulas) => {
                let rows = self.rows(input, span, only)?;
                let lanes = computed(formulas, &node.wanted, &rows.lanes, rows.len)?;
                Ok(Batch { lanes, len: rows.len, segments: rows.segments })
            }
            Step::Append(inputs) => {
                let mut parts = Vec::with_capacity(inputs.len());
                for (node, places) in inputs {
                    let rows = self.rows(node, span, only)?;
                    let lanes = places.iter().map(|place| Arc::clone(&rows.lanes[*place])).collect();
                    parts.push(Batch { lanes, len: rows.len, segments: rows.segments });
                }
                Ok(Batch::appended(&parts, &node.wanted))
            }
            Step::Group(input, grouped) => {
                let rows = self.rows(input, span, only)?;
                match super::group::grouped(&rows, grouped, &node.wanted)? {
                    Some(groups) => Ok(groups),
                    None => self.group(grouped, input, &rows),
                }
            }
            Step::Window(input, windowed) => {
                let rows = self.rows(input, span, only)?;
                let rows = match super::window::answered(&rows, windowed)? {
                    Some(rows) => rows,
                    None => self.window(windowed, input, &rows)?,
                };
                let left = windowed.row_number().and_then(|call| {
                    let numbers = &rows.lanes[input.columns.len() + call];
                    windowed.let_through.among_lane(numbers, rows.len)
                });
                Ok(match left {
                    Some(left) => rows.retained(&left, &node.wanted),
                    None => rows,
                })
            }
            Step::Join { kind, left, right, others, condition } => {
                // The side that reads owners themselves says who is asked of the other.
                let right_first = matches!(right.step, Step::Source(..)) && *kind == JoinKind::Inner;
                let (left, right) = if right_first {
                    let right = self.rows(right, span, only)?;
                    (self.rows(left, span, Some(&owners_of(&right)))?, right)
                } else {
                    let left = self.rows(left, span, only)?;
                    let right = self.rows(right, span, Some(&owners_of(&left)))?;
                    (left, right)
                };
                let asked = (others.as_slice(), condition.as_ref());
                super::join::joined(&left, &right, *kind, asked, &node.wanted, self.cancel)
            }
            Step::Lookup { kind, left, keys, right, condition } => {
                let left = self.rows(left, span, only)?;
                let asked = (keys.as_slice(), condition.as_ref());
                super::join::looked_up(&left, right, *kind, asked, &node.wanted, self.cancel)
            }
        }
    }

    fn run(&self) -> Run<'_> {
        Run::new(self.snapshot, self.cancel, self.tables)
    }

    /// Groups, row by row, those of each owner apart.
    fn group(&self, grouped: &Grouped, input: &Node, rows: &Batch<'a>) -> Result<Batch<'a>> {
        let mut named = told_apart(input, rows);
        named.lanes.push(halves_of(rows));
        let columns: Vec<ColumnId> = input.columns.iter().copied().chain([OWNER]).collect();
        let keys = std::iter::once((OWNER, Expr::Column(OWNER))).chain(grouped.keys.iter().cloned());
        let keys: Vec<(ColumnId, Expr)> = keys.collect();
        let made = self.run().group(&named.to_rows(&columns, self.cancel)?, &keys, &grouped.aggregates)?;
        let (mut segments, mut at) = (Vec::with_capacity(rows.segments.len()), 0);
        for (half, _) in rows.owners() {
            while at < made.len() && made.row(at)[0] == Value::Integer(i64::from(half)) {
                at += 1;
            }
            segments.push(Segment { half, end: at as u32 });
        }
        Ok(Batch { lanes: lanes_of(&made).split_off(1), len: made.len(), segments: Rc::new(segments.into()) })
    }

    /// What neighbours say, row by row.
    fn window(&self, windowed: &Windowed, input: &Node, rows: &Batch<'a>) -> Result<Batch<'a>> {
        let Windowed { partition, order, outputs, .. } = windowed;
        let named = told_apart(input, rows);
        let made =
            self.run().window(&named.to_rows(&input.columns, self.cancel)?, partition, order, outputs)?;
        Ok(Batch { lanes: lanes_of(&made), len: made.len(), segments: rows.segments.clone() })
    }
}

/// The rows for which each of some terms is TRUE, asked one after another; `None` where there is no term.
pub(super) fn kept(terms: &[Formula], lanes: &[Arc<Lane<'_>>], count: usize) -> Result<Option<Vec<u32>>> {
    let mut left: Option<Vec<u32>> = None;
    for term in terms {
        left = Some(match left {
            None => true_of(0..count as u32, &term.of(lanes, count)?.of_each(count)),
            Some(left) => true_of(left.iter().copied(), &term.of_some(lanes, &left)?.of_each(left.len())),
        });
    }
    Ok(left)
}

/// What is computed of rows, where it is wanted.
pub(super) fn computed<'a>(
    formulas: &[Formula],
    wanted: &[bool],
    lanes: &[Arc<Lane<'a>>],
    count: usize,
) -> Result<Vec<Arc<Lane<'a>>>> {
    let lane = |(formula, wanted): (&Formula, &bool)| match wanted {
        true => formula.of(lanes, count),
        false => Ok(Arc::new(Lane::Same(Value::Null))),
    };
    formulas.iter().zip(wanted).map(lane).collect()
}

/// Those of some rows that are TRUE.
fn true_of(rows: impl ExactSizeIterator<Item = u32>, truths: &[Option<bool>]) -> Vec<u32> {
    let (mut some, mut count) = (vec![0; rows.len()], 0);
    for (row, truth) in rows.zip(truths) {
        some[count] = row;
        count += usize::from(*truth == Some(true));
    }
    some.truncate(count);
    some
}

/// The rows with something else that tells owners apart in the place of names that were left out.
fn told_apart<'a>(input: &Node, rows: &Batch<'a>) -> Batch<'a> {
    let mut lanes = rows.lanes.clone();
    for ((lane, wanted), column) in lanes.iter_mut().zip(&input.wanted).zip(&input.columns) {
        if !wanted && input.names.iter().any(|(name, _)| name == column) {
            *lane = halves_of(rows);
        }
    }
    Batch { lanes, len: rows.len, segments: rows.segments.clone() }
}

/// Whose each row is.
fn halves_of<'a>(rows: &Batch<'_>) -> Arc<Lane<'a>> {
    let mut halves = Vec::with_capacity(rows.len);
    rows.owners().for_each(|(half, owned)| halves.resize(owned.end, i64::from(half)));
    Arc::new(Lane::Exact(Kind::Integer, halves.into()))
}

fn lanes_of<'a>(rows: &RowSet) -> Vec<Arc<Lane<'a>>> {
    rows.lanes().into_iter().map(|lane| Arc::new(lane as Lane<'a>)).collect()
}

/// The owners that have rows.
fn owners_of(rows: &Batch<'_>) -> Words {
    let mut words = [0; BITSET_WORDS];
    rows.segments
        .iter()
        .for_each(|segment| words[usize::from(segment.half) / 64] |= 1 << (segment.half % 64));
    words
}
