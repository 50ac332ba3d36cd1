//! What some row of an owner has to be for a condition on groups to hold: who has none is not asked at all.
//!
//! A funnel that comes to its third step has a row of each of three steps, and few owners do: three conditions of single rows, which
//! indexes and comparisons by vector answer, leave out nearly everybody before a row is put beside another. The three have to happen soon
//! after each other, too. When a row happened is known about as exactly as its run is short, without reading a time, and of those
//! who have all three hardly anybody has them in runs that lie so close ([`super::near`]).

use super::near::{STEPS_MAX, Stepped, TimedRun, Timeline, retain_with_all};
use super::tree::for_each_term;
use crate::calendar::MICROS_PER_DAY;
use crate::control::Cancel;
use crate::events::Strays;
use crate::exec::chunk::Worker;
use crate::exec::{FoldFunction, Found, resolve_at};
use crate::expr::{Expr, Function};
use crate::index::owners::{OwnersRef, RunBounds};
use crate::kernel;
use crate::plan::Plan;
use crate::predicate::{
    CompareOp, FunnelModes, Literal, Predicate, Relation, RowAggregate, RowFunction, Scan,
};
use crate::schema::{ColumnId, DataType, Owner, TableId};
use crate::table::ColumnReader;
use crate::value::Value;
use crate::{Result, Snapshot};
use muster_storage::chunk::Words;
use muster_storage::format::BITSET_WORDS;
use std::sync::Arc;

/// Low halves of ordinals in a line of the cache.
const HALVES_A_LINE: usize = 32;

/// Rows of which an owner needs one of each step.
pub(super) struct Need<'a> {
    steps: Vec<Plan<'a>>,
    /// The most time from the first of them to the last, as its codes are; `None` where that does not matter.
    within: Option<i64>,
    ordinals: ColumnReader<'a>,
    strays: Arc<Strays>,
    /// Owners of rows that were written since the import, ascending: they are asked in any case.
    written: Vec<u32>,
}

/// The same, as a relation says it.
struct Asked<'r> {
    scan: &'r Scan,
    steps: Vec<Expr>,
    /// A time, and the most microseconds from the first to the last.
    within: Option<(ColumnId, i64)>,
}

/// What the owners of a relation's rows need, as far as it is told without computing anything row by row.
pub(super) fn needs_of<'a>(
    snapshot: &'a Snapshot,
    owners: TableId,
    relation: &Relation,
    cancel: &Cancel,
    tables: usize,
) -> Result<Vec<Need<'a>>> {
    let (mut found, mut needs) = (Vec::new(), Vec::new());
    find(relation, &mut found);
    for asked in found {
        let owner = snapshot.schema(asked.scan.table)?.owner.filter(|owner| owner.table == owners);
        let Some(owner) = owner else { continue };
        let within = asked.within_of(snapshot, &owner)?;
        let mut plans = Vec::with_capacity(asked.steps.len());
        for step in asked.steps {
            plans.extend(planned(snapshot, asked.scan, step, cancel, tables)?);
        }
        let at_once = if within.is_some() { STEPS_MAX } else { 1 };
        while !plans.is_empty() {
            let steps = plans.drain(..at_once.min(plans.len())).collect();
            needs.push(Need::new(snapshot, asked.scan, &owner, steps, within)?);
        }
    }
    Ok(needs)
}

/// Gathers rows that are needed: the table, and the condition.
fn find<'r>(relation: &'r Relation, found: &mut Vec<Asked<'r>>) {
    match relation {
        Relation::Scan(_) | Relation::Append { .. } => {}
        Relation::Compute { input, .. }
        | Relation::Window { input, .. }
        | Relation::Sort { input, .. }
        | Relation::Group { input, .. } => find(input, found),
        Relation::Join(join) => find(&join.left, found),
        Relation::Filter { input, condition } => {
            if let Relation::Group { input: rows, aggregates, .. } = &**input
                && let Relation::Scan(scan) = &**rows
            {
                for_each_term(condition, &mut |term| needed(term, scan, aggregates, found));
            }
            find(input, found);
        }
    }
}

/// What is needed for a comparison of an aggregate to be TRUE.
fn needed<'r>(
    term: &Expr,
    scan: &'r Scan,
    aggregates: &[(ColumnId, RowAggregate)],
    found: &mut Vec<Asked<'r>>,
) {
    let Expr::Call { function: Function::Compare(op), arguments } = term else { return };
    let [Expr::Column(id), Expr::Literal(Literal::Value(Value::Integer(number)))] = arguments.as_slice()
    else {
        return;
    };
    let least = match op {
        CompareOp::Ge | CompareOp::Eq => *number,
        CompareOp::Gt => number.saturating_add(1),
        CompareOp::Lt | CompareOp::Le | CompareOp::Ne => return,
    };
    let Some((_, aggregate)) = aggregates.iter().find(|(known, _)| known == id) else { return };
    let Ok(least) = usize::try_from(least) else { return };
    let column = |id| scan.columns.iter().find(|(_, known)| *known == id).map(|(column, _)| *column);
    let stored = |expr: &Expr| expr.with_columns(&column);
    let (each, within): (&[Expr], _) = match (aggregate.function, aggregate.arguments.as_slice()) {
        // The level that a step which comes again leaves behind is that of the row before, whatever steps stand before it.
        (RowFunction::WindowFunnel { modes, .. }, _) if modes.has(FunnelModes::STRICT_DEDUPLICATION) => {
            return;
        }
        (
            RowFunction::Funnel { micros, .. }
            | RowFunction::WindowFunnel { micros, .. }
            | RowFunction::Consecutive { micros },
            [time, steps @ ..],
        ) => {
            let time = if let Expr::Column(id) = time { column(*id) } else { None };
            (&steps[..least.min(steps.len())], time.map(|time| (time, micros)))
        }
        (RowFunction::Fold(FoldFunction::Count), []) if least > 0 => (&[], None),
        _ => return,
    };
    let filter = aggregate.filter.as_ref().map(stored);
    if let Some(None) = filter {
        return;
    }
    let filter = filter.flatten();
    let steps = each.iter().filter_map(stored).map(|step| match &filter {
        Some(filter) => Expr::call(Function::And, [filter.clone(), step]),
        None => step,
    });
    let mut steps: Vec<Expr> = steps.collect();
    if let (true, Some(filter)) = (each.is_empty() && least > 0, filter) {
        steps.push(filter);
    }
    found.push(Asked { scan, steps, within });
}

impl Asked<'_> {
    /// The most time from the first to the last, where the order of the rows tells anything of it.
    fn within_of(&self, snapshot: &Snapshot, owner: &Owner) -> Result<Option<i64>> {
        let Some((time, micros)) = self.within.filter(|(time, _)| owner.time == Some(*time)) else {
            return Ok(None);
        };
        let column = snapshot.schema(self.scan.table)?.column(time);
        Ok(match column.map(|column| column.data_type) {
            Some(DataType::Timestamp | DataType::TimestampTz) => Some(micros),
            Some(DataType::Date) => Some(micros.div_euclid(MICROS_PER_DAY)),
            _ => None,
        })
    }
}

/// A condition as one of a table: comparisons with constants are leaves, which comparisons by vector answer.
fn predicate_of(expr: Expr) -> Predicate {
    let Expr::Call { function, arguments } = expr else { return Predicate::Holds(expr) };
    match (function, arguments.as_slice()) {
        (Function::And, _) => Predicate::And(arguments.into_iter().map(predicate_of).collect()),
        (Function::Or, _) => Predicate::Or(arguments.into_iter().map(predicate_of).collect()),
        (Function::Compare(op), [Expr::Column(column), Expr::Literal(literal)]) => {
            Predicate::Compare { column: *column, op, literal: literal.clone() }
        }
        (Function::Compare(op), [Expr::Literal(literal), Expr::Column(column)]) => {
            Predicate::Compare { column: *column, op: op.flipped(), literal: literal.clone() }
        }
        (function, _) => Predicate::Holds(Expr::Call { function, arguments }),
    }
}

/// The plan of a step; `None` where rows would be computed one by one.
fn planned<'a>(
    snapshot: &'a Snapshot,
    scan: &Scan,
    step: Expr,
    cancel: &Cancel,
    tables: usize,
) -> Result<Option<Plan<'a>>> {
    let condition = scan.condition.clone().and(predicate_of(step));
    let (condition, _) = resolve_at(snapshot, scan.table, &condition, cancel, tables)?;
    let plan = Plan::in_snapshot(snapshot, scan.table, &condition, cancel, tables)?;
    Ok((!plan.has_computed(&plan.root)).then_some(plan))
}

impl<'a> Need<'a> {
    fn new(
        snapshot: &'a Snapshot,
        scan: &Scan,
        owner: &Owner,
        steps: Vec<Plan<'a>>,
        within: Option<i64>,
    ) -> Result<Need<'a>> {
        let strays = snapshot.strays(scan.table)?;
        let mut written: Vec<u32> = strays.owned().iter().map(|(_, owner)| *owner).collect();
        written.sort_unstable();
        let ordinals = snapshot.table(scan.table)?.reader(owner.ordinals)?;
        Ok(Need { steps, within, ordinals, strays, written })
    }

    /// One for each step.
    pub(super) fn workers(&self) -> impl Iterator<Item = Worker<'_, 'a>> {
        self.steps.iter().map(Worker::new)
    }

    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Keeps the owners of a chunk that may have what is needed.
    pub(super) fn retain<'s>(
        &'s self,
        workers: &mut [Worker<'s, 'a>],
        owners: u32,
        asked: &mut Words,
    ) -> Result<()> {
        let mut have = [0; BITSET_WORDS];
        match self.within {
            Some(within) if workers.len() > 1 => self.near(workers, owners, within, &mut have)?,
            _ => self.any(workers, owners, &mut have)?,
        }
        let from = self.written.partition_point(|owner| owner >> 16 < owners);
        let written = self.written[from..].iter().take_while(|owner| **owner >> 16 == owners);
        written.for_each(|owner| have[(owner & 0xffff) as usize / 64] |= 1 << (owner % 64));
        asked.iter_mut().zip(&have).for_each(|(asked, have)| *asked &= have);
        Ok(())
    }

    /// Adds the owners of a chunk that have a row of the only step.
    fn any<'s>(&'s self, workers: &mut [Worker<'s, 'a>], owners: u32, have: &mut Words) -> Result<()> {
        for chunk in self.strays.chunks_of(owners) {
            let Some(stored) = self.ordinals.owners(chunk)? else { continue };
            let mask = mask_of(&stored, owners);
            let mut buffer = Vec::new();
            for step in workers.iter_mut().zip(&self.steps) {
                rows_of(step, chunk, &mask, |found| {
                    for row in found.rows(&mut buffer) {
                        let half = stored.halves.get(usize::from(*row)).copied().unwrap_or_default();
                        have[usize::from(half) / 64] |= 1 << (half % 64);
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Adds the owners of a chunk that have a row of each step in runs that are close to each other.
    fn near<'s>(
        &'s self,
        workers: &mut [Worker<'s, 'a>],
        owners: u32,
        within: i64,
        have: &mut Words,
    ) -> Result<()> {
        let (mut chunks, mut runs) = (Vec::new(), Vec::new());
        for chunk in self.strays.chunks_of(owners) {
            let Some(stored) = self.ordinals.owners(chunk)? else { continue };
            let mask = mask_of(&stored, owners);
            let mut steps = Vec::with_capacity(workers.len());
            for step in workers.iter_mut().zip(&self.steps) {
                rows_of(step, chunk, &mask, |found| {
                    let rows = stored.runs_of(owners).map(|(_, rows)| rows);
                    steps.push(Stepped::new(stored.halves, &found.words(), rows));
                })?;
            }
            let of_run = |(place, (run, _)): (usize, (RunBounds, _))| {
                let chunk = chunks.len();
                TimedRun { times: run.times, chunk, place }
            };
            runs.extend(stored.runs_of(owners).enumerate().map(of_run));
            chunks.push(steps);
        }
        retain_with_all(&mut chunks);
        Timeline::new(runs, within).add_near(&chunks, have);
        Ok(())
    }
}

/// The rows of a chunk that belong to some owners. Whose they are is asked when it is known which of them count: on the way by then.
fn mask_of(stored: &OwnersRef<'_>, owners: u32) -> Box<Words> {
    let mut mask = Box::new([0; BITSET_WORDS]);
    stored.runs_of(owners).for_each(|(_, rows)| {
        kernel::set_run(&mut mask, rows.start as u16, (rows.end - 1) as u16);
        rows.step_by(HALVES_A_LINE).for_each(|row| kernel::prefetch(stored.halves, row));
    });
    mask
}

/// Hears of the rows of a chunk that a plan is of, among some.
fn rows_of<'s, 'a>(
    (worker, plan): (&mut Worker<'s, 'a>, &Plan<'a>),
    chunk: u32,
    mask: &Words,
    hear: impl FnOnce(Found<'_>),
) -> Result<()> {
    worker.begin(chunk..chunk + 1);
    let answer = worker.members(chunk, Some(mask))?;
    hear(answer.found(plan.table.chunk_rows(chunk)));
    worker.recycle(answer);
    Ok(())
}
