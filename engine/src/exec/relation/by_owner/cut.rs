//! Times cut to months, or to other units of days: where the rows of a run happened in one of them, it is known without a look.
//!
//! What steps ask of a time is cut first, where that is the same: the month of the least time is the least of the months. A time
//! of which nothing else is asked is then not read, and a month is a code of two bytes instead of eight.

use super::shape::Owners;
use crate::calendar::days_of;
use crate::exec::FoldFunction;
use crate::exec::compute::{self, Kind, Lane};
use crate::expr::time::{Units, units};
use crate::expr::{Compiled, Expr, Function, TimeUnit};
use crate::index::owners::Bounds;
use crate::predicate::{Relation, RowFunction};
use crate::schema::{ColumnId, DataType};
use crate::{Result, Snapshot};
use std::sync::Arc;

/// The ids of values that are cut: below the one that stands for owners, far above those of any tree.
const CUTS_BELOW: u32 = u32::MAX;

/// A column of times, cut when it is read.
pub(super) struct Cut {
    /// The column's reader.
    pub(super) column: usize,
    unit: TimeUnit,
    pub(super) kind: Kind,
    /// The units that have codes.
    pub(super) units: Option<&'static Units>,
    is_days: bool,
    compiled: Compiled,
}

impl Cut {
    pub(super) fn new(column: usize, unit: TimeUnit, data_type: DataType) -> Result<Cut> {
        let time = ColumnId(0);
        let compiled = Compiled::new(&cut_of(unit, time), 0)?;
        let kind = if data_type == DataType::TimestampTz { Kind::TimestampTz } else { Kind::Timestamp };
        Ok(Cut { column, unit, kind, units: units(unit), is_days: data_type == DataType::Date, compiled })
    }

    pub(super) fn is_of(&self, column: usize, unit: TimeUnit) -> bool {
        self.column == column && self.unit == unit
    }

    /// The code of the unit that a stored time lies in; `None` where it has none.
    #[inline]
    pub(super) fn code(&self, time: i64) -> Option<u16> {
        let day = if self.is_days { time } else { days_of(time) };
        self.units?.of_day.get(usize::try_from(day).ok()?).copied()
    }

    /// The code of all times between two; `None` where they differ, or none are known.
    pub(super) fn code_within(&self, times: Bounds) -> Option<u16> {
        let code = if times.low <= times.high { self.code(times.low) } else { None };
        code.filter(|code| self.code(times.high) == Some(*code))
    }

    /// Of times that were read.
    pub(super) fn of<'a>(&self, times: Arc<Lane<'a>>, count: usize) -> Result<Arc<Lane<'a>>> {
        compute::lane(&self.compiled, &[times], count)
    }
}

/// A value that is a time of a table, cut to a unit.
#[derive(Clone, Copy)]
pub(super) struct CutTime {
    pub(super) id: ColumnId,
    pub(super) unit: TimeUnit,
    /// The time as it is.
    of: ColumnId,
}

/// The same steps, with times cut where they are asked for: as whole relations take them, to which the values that are cut are times.
pub(super) fn cut_late(relation: &Relation, cuts: &[CutTime]) -> Relation {
    let mut relation = relation.clone();
    for cut in cuts {
        relation.change_exprs(&mut |expr| replace(expr, &Expr::Column(cut.id), &cut_of(cut.unit, cut.of)));
    }
    relation
}

fn cut_of(unit: TimeUnit, time: ColumnId) -> Expr {
    Expr::call(Function::DateTrunc(unit), [Expr::Column(time)])
}

/// The same rows, with the times of clustered rows cut as they are read; and the values that are such. `None` where none are.
///
/// Rows that a later step leaves out are cut, too: if that makes an error, the relation as it was is to be asked.
pub(super) fn cut_early(
    snapshot: &Snapshot,
    owners: Owners,
    relation: &Relation,
) -> Result<Option<(Relation, Vec<CutTime>)>> {
    if has_append(relation) {
        return Ok(None);
    }
    let mut times: Vec<(ColumnId, ColumnId)> = Vec::new();
    let mut failed: Result<()> = Ok(());
    relation.for_each_scan(&mut |scan| match snapshot.schema(scan.table) {
        Ok(schema) => {
            let owner = schema.owner.filter(|owner| owner.table == owners.table);
            let time = owner.and_then(|owner| owner.time);
            times.extend(scan.columns.iter().filter(|(column, _)| Some(*column) == time));
        }
        Err(error) => failed = Err(error),
    });
    failed?;
    if times.is_empty() {
        return Ok(None);
    }
    let mut relation = relation.clone();
    let mut bests = Vec::new();
    bests_of(&relation, &times, &mut bests);
    for best in bests {
        let mut cut: Option<TimeUnit> = None;
        let mut alone = true;
        relation.for_each_expr_below(&mut |expr| {
            alone &= is_only_cut(expr, best, &mut cut);
        });
        if let (Some(unit), true) = (cut, alone) {
            relation.change_exprs(&mut |expr| replace(expr, &cut_of(unit, best), &Expr::Column(best)));
            cut_argument(&mut relation, best, unit);
        }
    }
    let mut cuts: Vec<CutTime> = Vec::new();
    for (time, id) in times {
        let mut asked = Vec::new();
        relation.for_each_expr_below(&mut |expr| units_asked(expr, id, &mut asked));
        for unit in asked {
            let cut = ColumnId(CUTS_BELOW - 1 - cuts.len() as u32);
            relation.change_exprs(&mut |expr| replace(expr, &cut_of(unit, id), &Expr::Column(cut)));
            add_column(&mut relation, id, (time, cut));
            cuts.push(CutTime { id: cut, unit, of: id });
        }
    }
    Ok((!cuts.is_empty()).then_some((relation, cuts)))
}

/// True where values of several trees go by one name.
fn has_append(relation: &Relation) -> bool {
    matches!(relation, Relation::Append { .. }) || relation.inputs().into_iter().any(has_append)
}

/// Finds the least and greatest times of groups.
fn bests_of(relation: &Relation, times: &[(ColumnId, ColumnId)], found: &mut Vec<ColumnId>) {
    if let Relation::Group { aggregates, .. } = relation {
        for (id, aggregate) in aggregates {
            if let (RowFunction::Fold(FoldFunction::Min | FoldFunction::Max), [Expr::Column(of)]) =
                (aggregate.function, aggregate.arguments.as_slice())
                && times.iter().any(|(_, time)| time == of)
            {
                found.push(*id);
            }
        }
    }
    relation.inputs().into_iter().for_each(|input| bests_of(input, times, found));
}

/// False where a value is asked for but to be cut, or to be cut to several units.
fn is_only_cut(expr: &Expr, value: ColumnId, cut: &mut Option<TimeUnit>) -> bool {
    match expr {
        Expr::Column(id) => *id != value,
        Expr::Call { function: Function::DateTrunc(unit), arguments }
            if *arguments == [Expr::Column(value)] =>
        {
            *cut.get_or_insert(*unit) == *unit
        }
        Expr::Call { arguments, .. } => arguments.iter().all(|argument| is_only_cut(argument, value, cut)),
        Expr::Literal(_) | Expr::Ordinal => true,
    }
}

/// Finds what a time is cut to, of what has codes.
fn units_asked(expr: &Expr, time: ColumnId, asked: &mut Vec<TimeUnit>) {
    let Expr::Call { function, arguments } = expr else { return };
    match function {
        Function::DateTrunc(unit) if *arguments == [Expr::Column(time)] => {
            if units(*unit).is_some() && !asked.contains(unit) {
                asked.push(*unit);
            }
        }
        _ => arguments.iter().for_each(|argument| units_asked(argument, time, asked)),
    }
}

fn replace(expr: &mut Expr, known: &Expr, other: &Expr) {
    if expr == known {
        *expr = other.clone();
    } else if let Expr::Call { arguments, .. } = expr {
        arguments.iter_mut().for_each(|argument| replace(argument, known, other));
    }
}

/// Cuts what the best is found of.
fn cut_argument(relation: &mut Relation, best: ColumnId, unit: TimeUnit) {
    if let Relation::Group { aggregates, .. } = relation {
        for (_, aggregate) in aggregates.iter_mut().filter(|(id, _)| *id == best) {
            for argument in &mut aggregate.arguments {
                let time = std::mem::replace(argument, Expr::Ordinal);
                *argument = Expr::call(Function::DateTrunc(unit), [time]);
            }
        }
    }
    relation.inputs_mut().into_iter().for_each(|input| cut_argument(input, best, unit));
}

/// Adds a column to the scan that has a value.
fn add_column(relation: &mut Relation, beside: ColumnId, column: (ColumnId, ColumnId)) {
    match relation {
        Relation::Scan(scan) if scan.columns.iter().any(|(_, id)| *id == beside) => {
            scan.columns.push(column);
        }
        relation => {
            relation.inputs_mut().into_iter().for_each(|input| add_column(input, beside, column));
        }
    }
}
