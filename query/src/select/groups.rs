//! Groups: aggregates by keys, HAVING, order and window.

use super::{Ask, Direction, HOLDS_ROWS, window};
use crate::error::Result;
use crate::order::{order_directed, order_values};
use muster_engine::control::{allocation, row_bytes};
use muster_engine::exec::{Grouping, Stats, key_bytes};
use muster_engine::expr::{Compiled, Expr};
use muster_engine::predicate::{GroupAggregate, slot_id};
use muster_engine::schema::ColumnId;
use muster_engine::value::Value;
use std::cmp::Ordering;
use std::collections::HashSet;

/// SELECT with groups. Expressions after the aggregation name its values as columns: [`slot_id`].
pub(crate) struct Groups {
    pub(super) keys: Vec<Expr>,
    pub(super) aggregates: Vec<GroupAggregate>,
    pub(super) outputs: Vec<Expr>,
    pub(super) having: Option<Expr>,
    pub(super) order: Vec<(Expr, Direction)>,
    /// SELECT DISTINCT over the groups' rows.
    pub(super) distinct: bool,
}

impl Groups {
    /// Answers with the rows of the window.
    pub(super) fn run(
        &self,
        ask: &Ask<'_>,
        offset: usize,
        limit: Option<usize>,
    ) -> Result<(Vec<Vec<Value>>, Stats)> {
        let grouping = Grouping { keys: self.keys.clone(), aggregates: self.aggregates.clone() };
        let (groups, stats) = grouping.evaluate(ask.snapshot, ask.table, ask.predicate, ask.cancel)?;
        let _groups_held = ask.cancel.hold_rows("the groups", &groups)?;
        let mut held = ask.cancel.holder(HOLDS_ROWS);
        let now = ask.snapshot.now_micros();
        let prepare = |expr: &Expr| -> Result<Compiled> { Ok(Compiled::new(expr, now)?) };
        let having = self.having.as_ref().map(prepare).transpose()?;
        let outputs = self.outputs.iter().map(prepare).collect::<Result<Vec<_>>>()?;
        let order = self.order.iter().map(|(expr, _)| prepare(expr)).collect::<Result<Vec<_>>>()?;
        held.add(groups.len() * size_of::<Shown>())?;
        let mut shown: Vec<Shown> = Vec::with_capacity(groups.len());
        let mut known = HashSet::new();
        for group in groups {
            if let Some(having) = &having
                && value_of(having, &group)? != Value::Boolean(true)
            {
                continue;
            }
            let row = outputs.iter().map(|one| value_of(one, &group)).collect::<Result<Vec<_>>>()?;
            if self.distinct {
                let bytes = bytes_of(&row);
                let bytes_held = 2 * (size_of::<Vec<u8>>() + 1) + allocation(bytes.capacity());
                if !known.insert(bytes) {
                    continue;
                }
                held.add(bytes_held)?;
            }
            let order = order.iter().map(|one| value_of(one, &group)).collect::<Result<Vec<_>>>()?;
            held.add(row_bytes(&row) + row_bytes(&order))?;
            shown.push(Shown { order, key: group, row });
        }
        let keys = self.keys.len();
        let compare = |a: &Shown, b: &Shown| -> Ordering {
            let by_order = a.order.iter().zip(&b.order).zip(&self.order);
            let by_order = by_order.map(|((a, b), (_, direction))| order_directed(a, b, *direction));
            let by_key = a.key[..keys].iter().zip(&b.key[..keys]).map(|(a, b)| order_values(a, b));
            by_order.chain(by_key).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        };
        let window = window(shown.len(), offset, limit);
        // Only what is shown needs its order: the rest is cut off first.
        if window.end < shown.len() {
            shown.select_nth_unstable_by(window.end, compare);
            shown.truncate(window.end);
        }
        shown.sort_unstable_by(compare);
        Ok((shown.drain(window).map(|shown| shown.row).collect(), stats))
    }
}

/// A group's row, with what it is ordered by.
struct Shown {
    order: Vec<Value>,
    key: Vec<Value>,
    row: Vec<Value>,
}

fn value_of(compiled: &Compiled, group: &[Value]) -> Result<Value> {
    let slot = |column: &ColumnId| group.get(column.0 as usize - slot_id(0).0 as usize).cloned();
    let inputs: Vec<Value> = compiled.columns().iter().map(|id| slot(id).unwrap_or(Value::Null)).collect();
    Ok(compiled.eval(0, &inputs)?)
}

fn bytes_of(values: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| key_bytes(value, &mut bytes));
    bytes
}
