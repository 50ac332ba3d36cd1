//! Groups: aggregates by keys, HAVING, order and window.
//!
//! The aggregates of a statement are made in passes: those without FILTER together, those of one FILTER together, and each
//! `count(DISTINCT column)` as a grouping by that column too. Passes meet by the bytes of their keys. All see one snapshot.

use super::bound::slot_id;
use super::{Ask, Direction, window};
use crate::error::Result;
use crate::order::{order_directed, order_values};
use muster_engine::Predicate;
use muster_engine::exec::{
    Aggregate, Count, Fold, FoldAggregate, FoldFunction, Group, Groups as PlainGroups, Stats, key_bytes,
};
use muster_engine::expr::{Compiled, Expr};
use muster_engine::schema::{ColumnId, DataType};
use muster_engine::value::Value;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// One aggregate of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AggregateSpec {
    pub(super) function: FoldFunction,
    /// `None` is `count(*)`.
    pub(super) argument: Option<Expr>,
    pub(super) distinct: bool,
    pub(super) filter: Option<Predicate>,
}

impl AggregateSpec {
    /// True of a bare `count(*)`.
    pub(super) fn counts_everyone(&self) -> bool {
        self.function == FoldFunction::Count && self.argument.is_none() && self.filter.is_none()
    }

    /// The column of `count(DISTINCT column)`.
    fn distinct_column(&self) -> Option<ColumnId> {
        match &self.argument {
            Some(Expr::Column(column)) if self.distinct && self.function == FoldFunction::Count => {
                Some(*column)
            }
            _ => None,
        }
    }

    /// As the engine makes it of plain columns.
    fn plain(&self) -> Option<Aggregate> {
        if self.distinct {
            return None;
        }
        Some(match (self.function, &self.argument) {
            (FoldFunction::Count, None) => Aggregate::CountAll,
            (FoldFunction::Count, Some(Expr::Column(column))) => Aggregate::Count(*column),
            (FoldFunction::Sum, Some(Expr::Column(column))) => Aggregate::Sum(*column),
            (FoldFunction::Avg, Some(Expr::Column(column))) => Aggregate::Avg(*column),
            (FoldFunction::Min, Some(Expr::Column(column))) => Aggregate::Min(*column),
            (FoldFunction::Max, Some(Expr::Column(column))) => Aggregate::Max(*column),
            _ => return None,
        })
    }

    /// What it is of no members.
    fn of_nobody(&self) -> Value {
        if self.function == FoldFunction::Count { Value::Integer(0) } else { Value::Null }
    }
}

/// SELECT with groups. Expressions after the aggregation name its values as columns: [`slot_id`].
pub(crate) struct Groups {
    pub(super) keys: Vec<Expr>,
    pub(super) aggregates: Vec<AggregateSpec>,
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
        let mut stats = Stats::default();
        let groups = self.aggregated(ask, &mut stats)?;
        let now = ask.snapshot.now_micros();
        let prepare = |expr: &Expr| -> Result<Compiled> { Ok(Compiled::new(expr, now)?) };
        let having = self.having.as_ref().map(prepare).transpose()?;
        let outputs = self.outputs.iter().map(prepare).collect::<Result<Vec<_>>>()?;
        let order = self.order.iter().map(|(expr, _)| prepare(expr)).collect::<Result<Vec<_>>>()?;
        let mut shown: Vec<Shown> = Vec::with_capacity(groups.len());
        let mut known = HashSet::new();
        for group in groups {
            if let Some(having) = &having
                && value_of(having, &group)? != Value::Boolean(true)
            {
                continue;
            }
            let row = outputs.iter().map(|one| value_of(one, &group)).collect::<Result<Vec<_>>>()?;
            if self.distinct && !known.insert(bytes_of(&row)) {
                continue;
            }
            let order = order.iter().map(|one| value_of(one, &group)).collect::<Result<Vec<_>>>()?;
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

    /// The groups, each as its keys and then its aggregates.
    fn aggregated(&self, ask: &Ask<'_>, stats: &mut Stats) -> Result<Vec<Vec<Value>>> {
        let passes = self.passes();
        if let [only] = passes.as_slice()
            && only.filter.is_none()
            && only.distinct.is_none()
        {
            // The aggregates of one pass are in the order asked.
            let groups = self.pass(ask, only, stats)?;
            return Ok(groups
                .into_iter()
                .map(|mut group| {
                    group.key.append(&mut group.values);
                    group.key
                })
                .collect());
        }
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut whole: Vec<Vec<Value>> = Vec::new();
        for pass in &passes {
            for group in self.pass(ask, pass, stats)? {
                let place = *places.entry(bytes_of(&group.key)).or_insert_with(|| {
                    let nobody = self.aggregates.iter().map(AggregateSpec::of_nobody);
                    whole.push(group.key.iter().cloned().chain(nobody).collect());
                    whole.len() - 1
                });
                for (at, value) in pass.aggregates.iter().zip(group.values) {
                    whole[place][self.keys.len() + at] = value;
                }
            }
        }
        Ok(whole)
    }

    /// The passes; the first is over all members, so that it finds every group.
    fn passes(&self) -> Vec<Pass> {
        let mut passes = vec![Pass { filter: None, distinct: None, aggregates: Vec::new() }];
        let plain_keys = self.keys.iter().all(|key| matches!(key, Expr::Column(_)));
        for (at, one) in self.aggregates.iter().enumerate() {
            let distinct = one.distinct_column().filter(|_| plain_keys);
            let known = passes.iter_mut().find(|pass| pass.filter == one.filter && pass.distinct == distinct);
            match known {
                Some(pass) => pass.aggregates.push(at),
                None => passes.push(Pass { filter: one.filter.clone(), distinct, aggregates: vec![at] }),
            }
        }
        passes
    }

    fn pass(&self, ask: &Ask<'_>, pass: &Pass, stats: &mut Stats) -> Result<Vec<Group>> {
        let narrowed = pass.filter.as_ref().map(|filter| ask.predicate.clone().and(filter.clone()));
        let ask = Ask { predicate: narrowed.as_ref().unwrap_or(ask.predicate), ..*ask };
        let specs = || pass.aggregates.iter().map(|at| &self.aggregates[*at]);
        let plain_keys: Option<Vec<ColumnId>> =
            self.keys.iter().map(|key| self.plain_key(&ask, key)).collect();
        if let (Some(keys), Some(column)) = (&plain_keys, pass.distinct) {
            return self.distinct_counts(&ask, keys, column, pass.aggregates.len(), stats);
        }
        let plain: Option<Vec<Aggregate>> = specs().map(AggregateSpec::plain).collect();
        let (groups, cost) = match (plain_keys, plain) {
            (Some(keys), Some(aggregates))
                if keys.is_empty() && aggregates.iter().all(|a| *a == Aggregate::CountAll) =>
            {
                let (count, cost) = ask.evaluate(&Count)?;
                let values = vec![Value::Integer(count as i64); aggregates.len()];
                (vec![Group { key: Vec::new(), values }], cost)
            }
            (Some(keys), Some(aggregates)) => ask.evaluate(&PlainGroups { keys, aggregates })?,
            _ => {
                let aggregates: Vec<FoldAggregate> = specs()
                    .map(|spec| FoldAggregate {
                        function: spec.function,
                        argument: spec.argument.clone(),
                        distinct: spec.distinct,
                    })
                    .collect();
                ask.evaluate(&Fold::new(&self.keys, &aggregates, ask.snapshot.now_micros())?)?
            }
        };
        add(stats, cost);
        Ok(groups)
    }

    /// A key that the engine groups by its codes.
    fn plain_key(&self, ask: &Ask<'_>, key: &Expr) -> Option<ColumnId> {
        let Expr::Column(column) = key else { return None };
        let data_type = ask.snapshot.column_type(ask.table, *column)?;
        (data_type != DataType::TextArray).then_some(*column)
    }

    /// `count(DISTINCT column)`: the groups of the keys and the column, counted.
    fn distinct_counts(
        &self,
        ask: &Ask<'_>,
        keys: &[ColumnId],
        column: ColumnId,
        times: usize,
        stats: &mut Stats,
    ) -> Result<Vec<Group>> {
        let keys: Vec<ColumnId> = keys.iter().copied().chain([column]).collect();
        let (groups, cost) = ask.evaluate(&PlainGroups { keys, aggregates: Vec::new() })?;
        add(stats, cost);
        let mut counts: HashMap<Vec<u8>, (Vec<Value>, i64)> = HashMap::new();
        for mut group in groups {
            let value = group.key.pop();
            let count = counts.entry(bytes_of(&group.key)).or_insert((group.key, 0));
            count.1 += i64::from(value.is_some_and(|value| value != Value::Null));
        }
        let groups = counts
            .into_values()
            .map(|(key, count)| Group { key, values: vec![Value::Integer(count); times] });
        Ok(groups.collect())
    }
}

/// Aggregates that are made together.
struct Pass {
    filter: Option<Predicate>,
    /// The column of `count(DISTINCT column)`.
    distinct: Option<ColumnId>,
    /// Which of the statement's.
    aggregates: Vec<usize>,
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

fn add(stats: &mut Stats, cost: Stats) {
    stats.chunks += cost.chunks;
    stats.bytes += cost.bytes;
}
