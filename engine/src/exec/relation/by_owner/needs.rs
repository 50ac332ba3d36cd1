//! What some row of an owner has to be for a condition on groups to hold: who has none is not asked at all.
//!
//! A funnel that comes to its third step has a row of each of three steps, and few owners do: three conditions of single rows, which
//! indexes and comparisons by vector answer, leave out nearly everybody before a row is put beside another.

use super::tree::for_each_term;
use crate::control::Cancel;
use crate::events::Strays;
use crate::exec::chunk::Worker;
use crate::exec::{FoldFunction, resolve_at};
use crate::expr::{Expr, Function};
use crate::kernel;
use crate::plan::Plan;
use crate::predicate::{CompareOp, Literal, Predicate, Relation, RowAggregate, RowFunction, Scan};
use crate::schema::{Owner, TableId};
use crate::table::ColumnReader;
use crate::value::Value;
use crate::{Result, Snapshot};
use muster_storage::chunk::Words;
use muster_storage::format::BITSET_WORDS;
use std::sync::Arc;

/// Low halves of ordinals in a line of the cache.
const HALVES_A_LINE: usize = 32;

/// Rows of which an owner needs one.
pub(super) struct Need<'a> {
    plan: Plan<'a>,
    ordinals: ColumnReader<'a>,
    strays: Arc<Strays>,
    /// Owners of rows that were written since the import, ascending: they are asked in any case.
    written: Vec<u32>,
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
    for (scan, condition) in found {
        let owner = snapshot.schema(scan.table)?.owner.filter(|owner| owner.table == owners);
        let Some(owner) = owner else { continue };
        if let Some(need) = Need::new(snapshot, scan, &owner, condition, cancel, tables)? {
            needs.push(need);
        }
    }
    Ok(needs)
}

/// Gathers rows that are needed: the table, and the condition.
fn find<'r>(relation: &'r Relation, found: &mut Vec<(&'r Scan, Expr)>) {
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
    aggregates: &[(crate::schema::ColumnId, RowAggregate)],
    found: &mut Vec<(&'r Scan, Expr)>,
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
    let each: &[Expr] = match (aggregate.function, aggregate.arguments.as_slice()) {
        (
            RowFunction::Funnel { .. } | RowFunction::WindowFunnel { .. } | RowFunction::Consecutive { .. },
            [_, steps @ ..],
        ) => &steps[..least.min(steps.len())],
        (RowFunction::Fold(FoldFunction::Count), []) if least > 0 => &[],
        _ => return,
    };
    let stored = |expr: &Expr| {
        expr.with_columns(&|id| {
            scan.columns.iter().find(|(_, known)| *known == id).map(|(column, _)| *column)
        })
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
    found.extend(steps.map(|step| (scan, step)));
    if let (true, Some(filter)) = (each.is_empty() && least > 0, filter) {
        found.push((scan, filter));
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

impl<'a> Need<'a> {
    /// `None` where rows would be computed one by one.
    fn new(
        snapshot: &'a Snapshot,
        scan: &Scan,
        owner: &Owner,
        condition: Expr,
        cancel: &Cancel,
        tables: usize,
    ) -> Result<Option<Need<'a>>> {
        let table = snapshot.table(scan.table)?;
        let condition = scan.condition.clone().and(predicate_of(condition));
        let (condition, _) = resolve_at(snapshot, scan.table, &condition, cancel, tables)?;
        let plan = Plan::in_snapshot(snapshot, scan.table, &condition, cancel, tables)?;
        if plan.has_computed(&plan.root) {
            return Ok(None);
        }
        let strays = snapshot.strays(scan.table)?;
        let mut written: Vec<u32> = strays.owned().iter().map(|(_, owner)| *owner).collect();
        written.sort_unstable();
        Ok(Some(Need { plan, ordinals: table.reader(owner.ordinals)?, strays, written }))
    }

    pub(super) fn worker(&self) -> Worker<'_, 'a> {
        Worker::new(&self.plan)
    }

    /// Keeps the owners of a chunk that may have what is needed.
    pub(super) fn retain<'s>(
        &'s self,
        worker: &mut Worker<'s, 'a>,
        owners: u32,
        asked: &mut Words,
    ) -> Result<()> {
        let mut have = [0; BITSET_WORDS];
        for chunk in self.strays.chunks_of(owners) {
            let Some(stored) = self.ordinals.owners(chunk)? else { continue };
            let mut mask = Box::new([0; BITSET_WORDS]);
            stored.runs_of(owners).for_each(|(_, rows)| {
                kernel::set_run(&mut mask, rows.start as u16, (rows.end - 1) as u16);
                // Whose they are is asked when it is known which of them count: on the way by then.
                rows.step_by(HALVES_A_LINE).for_each(|row| kernel::prefetch(stored.halves, row));
            });
            worker.begin(chunk..chunk + 1);
            let answer = worker.members(chunk, Some(&mask))?;
            let mut buffer = Vec::new();
            let found = answer.found(self.plan.table.chunk_rows(chunk));
            for row in found.rows(&mut buffer) {
                let half = stored.halves.get(usize::from(*row)).copied().unwrap_or_default();
                have[usize::from(half) / 64] |= 1 << (half % 64);
            }
            worker.recycle(answer);
        }
        let from = self.written.partition_point(|owner| owner >> 16 < owners);
        let written = self.written[from..].iter().take_while(|owner| **owner >> 16 == owners);
        written.for_each(|owner| have[(owner & 0xffff) as usize / 64] |= 1 << (owner % 64));
        asked.iter_mut().zip(&have).for_each(|(asked, have)| *asked &= have);
        Ok(())
    }
}
