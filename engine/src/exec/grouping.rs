//! Groups with aggregates of every kind, made in passes: those without FILTER together, those of one FILTER together, and each
//! `count(DISTINCT column)` as a grouping by that column too. Passes meet by the bytes of their keys.

use super::related::resolve_at;
use super::{
    Aggregate, Count, Fold, FoldAggregate, FoldFunction, Group, Groups, Scope, Sink, Stats,
    evaluate_resolved, key_bytes,
};
use crate::control::{Cancel, Held, allocation, row_bytes};
use crate::expr::Expr;
use crate::predicate::{GroupAggregate, Predicate};
use crate::schema::{ColumnId, DataType, TableId};
use crate::value::Value;
use crate::{Result, Snapshot};
use hashbrown::HashMap;

/// GROUP BY keys, with aggregates.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// The keys; without them there is one group, even of no rows.
    pub keys: Vec<Expr>,
    /// The aggregates.
    pub aggregates: Vec<GroupAggregate>,
}

/// What is grouped.
struct Rows<'a> {
    snapshot: &'a Snapshot,
    table: TableId,
    predicate: &'a Predicate,
    cancel: &'a Cancel,
    tables: usize,
}

/// Aggregates that are made together.
struct Pass {
    filter: Option<Predicate>,
    /// The column of `count(DISTINCT column)`.
    distinct: Option<ColumnId>,
    /// Which of the grouping's.
    aggregates: Vec<usize>,
}

impl GroupAggregate {
    /// The column of `count(DISTINCT column)`.
    fn distinct_column(&self) -> Option<ColumnId> {
        match &self.argument {
            Some(Expr::Column(column)) if self.distinct && self.function == FoldFunction::Count => {
                Some(*column)
            }
            _ => None,
        }
    }

    /// As it is made of plain columns.
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
}

impl Grouping {
    /// The groups of a predicate's rows in no particular order, each as its keys and then its aggregates.
    ///
    /// Cost: an evaluation for each pass; memory for the groups.
    pub fn evaluate(
        &self,
        snapshot: &Snapshot,
        table: TableId,
        predicate: &Predicate,
        cancel: &Cancel,
    ) -> Result<(Vec<Vec<Value>>, Stats)> {
        self.evaluate_at(snapshot, table, predicate, cancel, 0)
    }

    /// [`Self::evaluate`] of rows that are asked so many tables away.
    pub(super) fn evaluate_at(
        &self,
        snapshot: &Snapshot,
        table: TableId,
        predicate: &Predicate,
        cancel: &Cancel,
        tables: usize,
    ) -> Result<(Vec<Vec<Value>>, Stats)> {
        // Once for all passes.
        let (predicate, mut stats) = resolve_at(snapshot, table, predicate, cancel, tables)?;
        let rows = Rows { snapshot, table, predicate: &predicate, cancel, tables };
        let passes = self.passes();
        if let [only] = passes.as_slice()
            && only.filter.is_none()
            && only.distinct.is_none()
        {
            // The aggregates of one pass are in the order asked.
            let groups = self.pass(&rows, only, &mut stats)?;
            let mut held = hold(&groups, cancel)?;
            held.add(groups.len() * size_of::<Vec<Value>>())?;
            let whole = groups.into_iter().map(|mut group| {
                group.key.append(&mut group.values);
                group.key
            });
            return Ok((whole.collect(), stats));
        }
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut whole: Vec<Vec<Value>> = Vec::new();
        let mut held = cancel.holder(Groups::HOLDS);
        for pass in &passes {
            let groups = self.pass(&rows, pass, &mut stats)?;
            let _held = hold(&groups, cancel)?;
            for group in groups {
                let bytes = bytes_of(&group.key);
                let key_bytes = allocation(bytes.capacity());
                let before = whole.len();
                let place = *places.entry(bytes).or_insert_with(|| {
                    let nothing = self.aggregates.iter().map(GroupAggregate::of_nothing);
                    whole.push(group.key.iter().cloned().chain(nothing).collect());
                    whole.len() - 1
                });
                if place == before {
                    held.add(KEYED_BYTES + key_bytes + row_bytes(&whole[place]))?;
                }
                for (at, value) in pass.aggregates.iter().zip(group.values) {
                    whole[place][self.keys.len() + at] = value;
                }
            }
        }
        Ok((whole, stats))
    }

    /// The passes; the first is over all rows, so that it finds every group.
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

    fn pass(&self, rows: &Rows<'_>, pass: &Pass, stats: &mut Stats) -> Result<Vec<Group>> {
        let narrowed = pass.filter.as_ref().map(|filter| rows.predicate.clone().and(filter.clone()));
        let rows = Rows { predicate: narrowed.as_ref().unwrap_or(rows.predicate), ..*rows };
        let specs = || pass.aggregates.iter().map(|at| &self.aggregates[*at]);
        let plain_keys: Option<Vec<ColumnId>> = self.keys.iter().map(|key| rows.plain_key(key)).collect();
        if let (Some(keys), Some(column)) = (&plain_keys, pass.distinct) {
            return rows.distinct_counts(keys, column, pass.aggregates.len(), stats);
        }
        let plain: Option<Vec<Aggregate>> = specs().map(GroupAggregate::plain).collect();
        match (plain_keys, plain) {
            (Some(keys), Some(aggregates))
                if keys.is_empty() && aggregates.iter().all(|a| *a == Aggregate::CountAll) =>
            {
                let values = vec![Value::Integer(rows.evaluate(&Count, stats)? as i64); aggregates.len()];
                Ok(vec![Group { key: Vec::new(), values }])
            }
            (Some(keys), Some(aggregates)) => rows.evaluate(&Groups { keys, aggregates }, stats),
            _ => {
                let aggregates: Vec<FoldAggregate> = specs()
                    .map(|spec| FoldAggregate {
                        function: spec.function,
                        argument: spec.argument.clone(),
                        distinct: spec.distinct,
                    })
                    .collect();
                rows.evaluate(&Fold::new(&self.keys, &aggregates, rows.snapshot.now_micros())?, stats)
            }
        }
    }
}

impl Rows<'_> {
    fn evaluate<S: Sink>(&self, sink: &S, stats: &mut Stats) -> Result<S::Output> {
        let scope = Scope::default();
        let Rows { snapshot, table, predicate, cancel, tables } = *self;
        let resolved = resolve_at(snapshot, table, predicate, cancel, tables)?;
        let (output, cost) = evaluate_resolved(snapshot, table, resolved, &scope, cancel, sink, tables)?;
        stats.add(cost);
        Ok(output)
    }

    /// A key that is grouped by its codes.
    fn plain_key(&self, key: &Expr) -> Option<ColumnId> {
        let Expr::Column(column) = key else { return None };
        let data_type = self.snapshot.column_type(self.table, *column)?;
        (data_type != DataType::TextArray).then_some(*column)
    }

    /// `count(DISTINCT column)`: the groups of the keys and the column, counted.
    fn distinct_counts(
        &self,
        keys: &[ColumnId],
        column: ColumnId,
        times: usize,
        stats: &mut Stats,
    ) -> Result<Vec<Group>> {
        let keys: Vec<ColumnId> = keys.iter().copied().chain([column]).collect();
        let groups = self.evaluate(&Groups { keys, aggregates: Vec::new() }, stats)?;
        let mut held = hold(&groups, self.cancel)?;
        let mut counts: HashMap<Vec<u8>, (Vec<Value>, i64)> = HashMap::new();
        for mut group in groups {
            let value = group.key.pop();
            let bytes = bytes_of(&group.key);
            if !counts.contains_key(&bytes) {
                held.add(KEYED_BYTES + allocation(bytes.capacity()))?;
            }
            let count = counts.entry(bytes).or_insert((group.key, 0));
            count.1 += i64::from(value.is_some_and(|value| value != Value::Null));
        }
        let groups = counts
            .into_values()
            .map(|(key, count)| Group { key, values: vec![Value::Integer(count); times] });
        Ok(groups.collect())
    }
}

/// What a key takes in a table that may be half empty, beside its bytes and its values.
const KEYED_BYTES: usize = 2 * (size_of::<(Vec<u8>, (Vec<Value>, i64))>() + 1);

/// A holder of groups that an evaluation handed over.
fn hold(groups: &[Group], cancel: &Cancel) -> Result<Held> {
    let mut held = cancel.holder(Groups::HOLDS);
    held.add(size_of_val(groups))?;
    for group in groups {
        held.add(row_bytes(&group.key) + row_bytes(&group.values))?;
    }
    Ok(held)
}

fn bytes_of(values: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| key_bytes(value, &mut bytes));
    bytes
}
