//! Rows of members: which, in which order, and the values they show.

use super::{Ask, Direction, HOLDS_ROWS, window};
use crate::error::Result;
use crate::order::order_directed;
use muster_engine::ColumnId;
use muster_engine::control::row_bytes;
use muster_engine::exec::{First, Members, OrderBy, Stats, Top, project};
use muster_engine::expr::{Compiled, Expr};
use muster_engine::value::Value;

/// Members whose columns are read between two looks at the cancel flag, and the values of these.
const PROJECTED_AT_ONCE: usize = 65_536;
const VALUES_AT_ONCE: usize = 1 << 18;

/// SELECT without groups.
pub(crate) struct Rows {
    outputs: Vec<Expr>,
    order: Vec<(Expr, Direction)>,
}

impl Rows {
    pub(super) fn new(outputs: Vec<Expr>, order: Vec<(Expr, Direction)>) -> Rows {
        Rows { outputs, order }
    }

    /// What each row shows.
    pub(super) fn outputs(&self) -> &[Expr] {
        &self.outputs
    }

    /// What they are ordered by.
    pub(super) fn order(&self) -> &[(Expr, Direction)] {
        &self.order
    }

    /// The members that are shown, in order.
    pub(super) fn ordinals(
        &self,
        ask: &Ask<'_>,
        offset: usize,
        limit: Option<usize>,
    ) -> Result<(Vec<u32>, Stats)> {
        let needed = limit.map_or(usize::MAX, |limit| limit.saturating_add(offset));
        let (mut ordinals, stats) = if self.order.is_empty() {
            ask.evaluate(&First { limit: needed })?
        } else if let Some(order) = self.plain_order() {
            ask.evaluate(&Top { order, limit: needed })?
        } else {
            self.sorted(ask, needed)?
        };
        let shown = window(ordinals.len(), offset, limit);
        ordinals.truncate(shown.end);
        ordinals.drain(..shown.start);
        Ok((ordinals, stats))
    }

    /// ORDER BY of plain columns.
    fn plain_order(&self) -> Option<Vec<OrderBy>> {
        let one = |(expr, direction): &(Expr, Direction)| match expr {
            Expr::Column(column) => Some(OrderBy {
                column: *column,
                descending: direction.descending,
                nulls_first: direction.nulls_first,
            }),
            _ => None,
        };
        self.order.iter().map(one).collect()
    }

    /// ORDER BY of computed values: all members, sorted here. Ties go by ordinal.
    fn sorted(&self, ask: &Ask<'_>, needed: usize) -> Result<(Vec<u32>, Stats)> {
        let (members, stats) = ask.evaluate(&Members)?;
        let mut held = ask.cancel.holder("what the rows are ordered by");
        held.add(members.len() as usize * size_of::<u32>())?;
        let ordinals: Vec<u32> = members.iter().collect();
        drop(members);
        let exprs: Vec<Expr> = self.order.iter().map(|(expr, _)| expr.clone()).collect();
        let mut keyed = Vec::with_capacity(ordinals.len());
        let mut values = Values::new(ask, &exprs)?;
        held.add(ordinals.len() * size_of::<(Vec<Value>, u32)>())?;
        for some in ordinals.chunks(values.at_once()) {
            ask.cancel.check()?;
            let portion = values.of(ask, some)?;
            held.add(portion.iter().map(row_bytes).sum())?;
            keyed.extend(portion.into_iter().zip(some.iter().copied()));
        }
        let compare = |a: &(Vec<Value>, u32), b: &(Vec<Value>, u32)| {
            let each = a.0.iter().zip(&b.0).zip(&self.order);
            let mut each = each.map(|((a, b), (_, direction))| order_directed(a, b, *direction));
            each.find(|order| order.is_ne()).unwrap_or_else(|| a.1.cmp(&b.1))
        };
        if needed < keyed.len() {
            keyed.select_nth_unstable_by(needed, compare);
            keyed.truncate(needed);
        }
        keyed.sort_unstable_by(compare);
        Ok((keyed.into_iter().map(|(_, ordinal)| ordinal).collect(), stats))
    }

    /// Answers in portions of rows.
    pub(super) fn run(
        &self,
        ask: &Ask<'_>,
        offset: usize,
        limit: Option<usize>,
        hear: &mut dyn FnMut(Vec<Vec<Value>>) -> Result<()>,
    ) -> Result<Stats> {
        let (ordinals, stats) = self.ordinals(ask, offset, limit)?;
        let mut held = ask.cancel.holder(HOLDS_ROWS);
        held.add(ordinals.capacity() * size_of::<u32>())?;
        let mut values = Values::new(ask, &self.outputs)?;
        for some in ordinals.chunks(values.at_once()) {
            ask.cancel.check()?;
            ask.snapshot.check()?;
            let portion = values.of(ask, some)?;
            let _held = ask.cancel.hold_rows(HOLDS_ROWS, &portion)?;
            hear(portion)?;
        }
        Ok(stats)
    }
}

/// The values of some expressions of some members.
struct Values {
    /// The columns that are read.
    columns: Vec<ColumnId>,
    /// `None` where the expressions are these columns.
    compiled: Option<Vec<(Compiled, Vec<usize>)>>,
}

impl Values {
    fn new(ask: &Ask<'_>, exprs: &[Expr]) -> Result<Values> {
        let plain = exprs.iter().map(|expr| if let Expr::Column(id) = expr { Some(*id) } else { None });
        if let Some(columns) = plain.collect() {
            return Ok(Values { columns, compiled: None });
        }
        let mut columns: Vec<ColumnId> = Vec::new();
        let mut compiled = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let one = Compiled::new(expr, ask.snapshot.now_micros())?;
            let inputs = one.columns().iter().map(|column| {
                columns.iter().position(|known| known == column).unwrap_or_else(|| {
                    columns.push(*column);
                    columns.len() - 1
                })
            });
            let inputs = inputs.collect();
            compiled.push((one, inputs));
        }
        Ok(Values { columns, compiled: Some(compiled) })
    }

    /// How many members are read at once.
    fn at_once(&self) -> usize {
        (VALUES_AT_ONCE / self.columns.len().max(1)).clamp(1_024, PROJECTED_AT_ONCE)
    }

    fn of(&mut self, ask: &Ask<'_>, ordinals: &[u32]) -> Result<Vec<Vec<Value>>> {
        let rows = project(ask.snapshot, ask.table, ordinals, &self.columns)?;
        let Some(compiled) = &self.compiled else { return Ok(rows) };
        let mut computed = Vec::with_capacity(rows.len());
        let mut arguments = Vec::new();
        for (row, ordinal) in rows.iter().zip(ordinals) {
            let mut values = Vec::with_capacity(compiled.len());
            for (one, inputs) in compiled {
                arguments.clear();
                arguments.extend(inputs.iter().map(|input| row[*input].clone()));
                values.push(one.eval(*ordinal, &arguments)?);
            }
            computed.push(values);
        }
        Ok(computed)
    }
}
