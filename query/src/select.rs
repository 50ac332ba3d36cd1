//! The shapes of a SELECT: a count, groups, or rows; how each is planned from names and answered by the engine.
//!
//! | statement | sink |
//! |---|---|
//! | only `count(*)`, no GROUP BY | `Count` |
//! | GROUP BY, or other aggregates | `Groups`, ordered and cut here |
//! | columns with ORDER BY | `Top`, then the columns of those members |
//! | columns | `First`, then the columns of those members |
//!
//! Answers are the same from run to run: ties of ORDER BY go by ordinal for rows, and by the grouping columns for groups.

use crate::bind::{self, Names};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::order::order_values;
use crate::outcome::{Outcome, OutcomeColumn};
use crate::statement::{AggregateCall, ColumnName, Function, Item, Key, Name, Output, Select};
use muster_engine::exec::{
    Aggregate, Count, First, Group, Groups, Members, OrderBy, Scope, Stats, Top, evaluate, project,
};
use muster_engine::schema::{Column, DataType, TableSchema};
use muster_engine::value::Value;
use muster_engine::{Cancel, ColumnId, Predicate, Snapshot, TableId};
use roaring::RoaringBitmap;
use std::cmp::Ordering;
use std::ops::Range;

/// Members whose columns are read between two looks at the cancel flag.
const PROJECTED_AT_ONCE: usize = 65_536;

/// A SELECT with its names resolved.
pub(crate) struct Plan {
    table: TableId,
    predicate: Predicate,
    columns: Vec<OutcomeColumn>,
    shape: Shape,
    limit: Option<usize>,
    offset: usize,
}

enum Shape {
    Count,
    Groups {
        keys: Vec<ColumnId>,
        aggregates: Vec<Aggregate>,
        outputs: Vec<Source>,
        order: Vec<(Source, bool)>,
    },
    Rows {
        columns: Vec<ColumnId>,
        order: Vec<OrderBy>,
    },
}

/// Where a value of a group stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Key(usize),
    Aggregate(usize),
}

/// An entry of the select list, resolved.
struct Entry<'a> {
    name: String,
    bound: Bound<'a>,
    span: Span,
}

#[derive(Clone, Copy)]
enum Bound<'a> {
    Column(&'a Column),
    Aggregate(Aggregate, DataType),
}

impl Bound<'_> {
    fn same(&self, other: &Bound<'_>) -> bool {
        match (self, other) {
            (Bound::Column(a), Bound::Column(b)) => a.id == b.id,
            (Bound::Aggregate(a, _), Bound::Aggregate(b, _)) => a == b,
            _ => false,
        }
    }
}

/// Resolves the names of a SELECT.
pub(crate) fn plan(select: Select, snapshot: &Snapshot) -> Result<Plan> {
    let schema = bind::table(snapshot, &select.table)?;
    let names = Names { schema: &schema, alias: select.alias.as_ref().map(|alias| alias.text.as_str()) };
    let binder = Binder { names, schema: &schema };
    let entries = binder.entries(select.items)?;
    let group_by = binder.group_by(&select.group_by, &entries)?;
    let order_by = select
        .order_by
        .iter()
        .map(|order| Ok((binder.order_key(&order.key, &entries)?, order.descending)))
        .collect::<Result<Vec<_>>>()?;
    let predicate =
        select.filter.map_or_else(|| Ok(Predicate::everyone()), |filter| names.predicate(filter))?;
    let is_aggregate = |bound: &Bound<'_>| matches!(bound, Bound::Aggregate(..));
    let grouped = !group_by.is_empty()
        || entries.iter().any(|entry| is_aggregate(&entry.bound))
        || order_by.iter().any(|((bound, _), _)| is_aggregate(bound));
    let shape = if grouped { groups(&group_by, &entries, order_by)? } else { rows(&entries, order_by)? };
    let columns =
        entries.into_iter().map(|entry| OutcomeColumn { data_type: type_of(&entry.bound), name: entry.name });
    Ok(Plan {
        table: schema.id,
        predicate,
        columns: columns.collect(),
        shape,
        limit: select.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        offset: usize::try_from(select.offset).unwrap_or(usize::MAX),
    })
}

fn type_of(bound: &Bound<'_>) -> DataType {
    match bound {
        Bound::Column(column) => column.data_type,
        Bound::Aggregate(_, data_type) => *data_type,
    }
}

type Ordered<'a> = Vec<((Bound<'a>, Span), bool)>;

fn groups(group_by: &[&Column], entries: &[Entry<'_>], order_by: Ordered<'_>) -> Result<Shape> {
    let counts = |entry: &Entry<'_>| matches!(entry.bound, Bound::Aggregate(Aggregate::CountAll, _));
    if group_by.is_empty() && order_by.is_empty() && entries.iter().all(counts) {
        return Ok(Shape::Count);
    }
    let keys: Vec<ColumnId> = group_by.iter().map(|column| column.id).collect();
    let mut aggregates: Vec<Aggregate> = Vec::new();
    let mut source = |bound: &Bound<'_>, span: Span| match bound {
        Bound::Column(column) => {
            keys.iter().position(|key| *key == column.id).map(Source::Key).ok_or_else(|| {
                let message = format!("column \"{}\" is neither grouped by nor aggregated", column.name);
                Error::query(QueryErrorKind::Grouping, span, message)
                    .advise(format!("add it to GROUP BY, or write max(\"{}\")", column.name))
            })
        }
        Bound::Aggregate(aggregate, _) => {
            let known = aggregates.iter().position(|known| known == aggregate);
            Ok(Source::Aggregate(known.unwrap_or_else(|| {
                aggregates.push(*aggregate);
                aggregates.len() - 1
            })))
        }
    };
    let outputs = entries.iter().map(|entry| source(&entry.bound, entry.span)).collect::<Result<Vec<_>>>()?;
    let order = order_by
        .iter()
        .map(|((bound, span), descending)| Ok((source(bound, *span)?, *descending)))
        .collect::<Result<Vec<_>>>()?;
    Ok(Shape::Groups { keys, aggregates, outputs, order })
}

fn rows(entries: &[Entry<'_>], order_by: Ordered<'_>) -> Result<Shape> {
    let columns =
        entries.iter().map(|entry| plain_column(&entry.bound, entry.span)).collect::<Result<Vec<_>>>()?;
    let order = order_by
        .iter()
        .map(|((bound, span), descending)| {
            let column = plain_column(bound, *span)?;
            Ok(OrderBy { column, descending: *descending, nulls_first: *descending })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Shape::Rows { columns, order })
}

fn plain_column(bound: &Bound<'_>, span: Span) -> Result<ColumnId> {
    match bound {
        Bound::Column(column) => Ok(column.id),
        Bound::Aggregate(..) => {
            Err(Error::query(QueryErrorKind::Grouping, span, "an aggregate cannot stand here"))
        }
    }
}

struct Binder<'a> {
    names: Names<'a>,
    schema: &'a TableSchema,
}

impl<'a> Binder<'a> {
    fn entries(&self, items: Vec<Item>) -> Result<Vec<Entry<'a>>> {
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Item::Star { qualifier, span } => {
                    self.names.check_qualifier(qualifier.as_ref())?;
                    entries.extend(self.schema.columns.iter().map(|column| Entry {
                        name: column.name.clone(),
                        bound: Bound::Column(column),
                        span,
                    }));
                }
                Item::Output { output, alias, span } => {
                    let bound = self.output(&output)?;
                    let name = match (alias, &output) {
                        (Some(alias), _) => alias.text,
                        (None, Output::Column(column)) => column.name.text.clone(),
                        (None, Output::Aggregate(call)) => call.function.name().to_owned(),
                    };
                    entries.push(Entry { name, bound, span });
                }
            }
        }
        Ok(entries)
    }

    fn output(&self, output: &Output) -> Result<Bound<'a>> {
        match output {
            Output::Column(name) => self.names.column(name).map(Bound::Column),
            Output::Aggregate(call) => self.aggregate(call),
        }
    }

    fn aggregate(&self, call: &AggregateCall) -> Result<Bound<'a>> {
        let Some(name) = &call.column else {
            return Ok(Bound::Aggregate(Aggregate::CountAll, DataType::BigInt));
        };
        let column = self.names.column(name)?;
        let refuse = |takes: &str| {
            let message = format!(
                "{}() takes {takes}; column \"{}\" is {}",
                call.function.name(),
                column.name,
                column.data_type
            );
            Err(Error::query(QueryErrorKind::Type, call.span, message))
        };
        let sum = match column.data_type {
            DataType::Double => DataType::Double,
            DataType::Decimal { scale, .. } => DataType::Decimal { precision: 38, scale },
            _ => DataType::Decimal { precision: 38, scale: 0 },
        };
        let ordered = !matches!(column.data_type, DataType::Boolean | DataType::TextArray);
        Ok(match call.function {
            Function::Count => Bound::Aggregate(Aggregate::Count(column.id), DataType::BigInt),
            Function::Sum | Function::Avg if !column.data_type.is_number() => return refuse("numbers"),
            Function::Sum => Bound::Aggregate(Aggregate::Sum(column.id), sum),
            Function::Avg => Bound::Aggregate(Aggregate::Avg(column.id), DataType::Double),
            Function::Min | Function::Max if !ordered => return refuse("numbers, texts, dates and times"),
            Function::Min => Bound::Aggregate(Aggregate::Min(column.id), column.data_type),
            Function::Max => Bound::Aggregate(Aggregate::Max(column.id), column.data_type),
        })
    }

    /// GROUP BY: a column of the table first, then an alias, as PostgreSQL has it.
    fn group_by(&self, keys: &[Key], entries: &[Entry<'a>]) -> Result<Vec<&'a Column>> {
        let mut columns: Vec<&'a Column> = Vec::with_capacity(keys.len());
        for key in keys {
            let (bound, span) = match key {
                Key::Position(position, span) => (at_position(*position, *span, entries)?, *span),
                Key::Output(Output::Aggregate(call)) => (self.aggregate(call)?, call.span),
                Key::Output(Output::Column(name)) => {
                    let bound = match self.names.column(name) {
                        Ok(column) => Bound::Column(column),
                        Err(unknown) => aliased(name, entries)?.ok_or(unknown)?,
                    };
                    (bound, name.name.span)
                }
            };
            let Bound::Column(column) = bound else {
                return Err(Error::query(
                    QueryErrorKind::Grouping,
                    span,
                    "an aggregate cannot be grouped by",
                ));
            };
            if column.data_type == DataType::TextArray {
                let message = format!("column \"{}\" is TEXT[] and cannot be grouped by", column.name);
                return Err(Error::unsupported(span, message)
                    .advise("count one tag at a time with 'vip' = ANY(tags)"));
            }
            if !columns.iter().any(|known| known.id == column.id) {
                columns.push(column);
            }
        }
        Ok(columns)
    }

    /// ORDER BY: an alias or a name of the select list first, then a column of the table, as PostgreSQL has it.
    fn order_key(&self, key: &Key, entries: &[Entry<'a>]) -> Result<(Bound<'a>, Span)> {
        let (bound, span) = match key {
            Key::Position(position, span) => (at_position(*position, *span, entries)?, *span),
            Key::Output(Output::Aggregate(call)) => (self.aggregate(call)?, call.span),
            Key::Output(Output::Column(name)) => {
                let bound = match aliased(name, entries)? {
                    Some(bound) => bound,
                    None => Bound::Column(self.names.column(name)?),
                };
                (bound, name.name.span)
            }
        };
        match bound {
            Bound::Column(column) if column.data_type == DataType::TextArray => {
                let message = format!("column \"{}\" is TEXT[] and has no order", column.name);
                Err(Error::query(QueryErrorKind::Type, span, message))
            }
            bound => Ok((bound, span)),
        }
    }
}

fn at_position<'a>(position: usize, span: Span, entries: &[Entry<'a>]) -> Result<Bound<'a>> {
    let entry = position.checked_sub(1).and_then(|index| entries.get(index)).ok_or_else(|| {
        let message = format!("there is no column {position} in the select list");
        Error::query(QueryErrorKind::UnknownColumn, span, message)
            .advise(format!("it has 1 to {}", entries.len()))
    })?;
    Ok(entry.bound)
}

fn aliased<'a>(name: &ColumnName, entries: &[Entry<'a>]) -> Result<Option<Bound<'a>>> {
    if name.qualifier.is_some() {
        return Ok(None);
    }
    let mut found = entries.iter().filter(|entry| entry.name == name.name.text);
    let Some(first) = found.next() else { return Ok(None) };
    if found.any(|other| !other.bound.same(&first.bound)) {
        return Err(ambiguous(&name.name));
    }
    Ok(Some(first.bound))
}

fn ambiguous(name: &Name) -> Error {
    let message = format!("\"{}\" names several columns of the select list", name.text);
    Error::query(QueryErrorKind::Duplicate, name.span, message).advise("use positions: ORDER BY 2")
}

impl Plan {
    /// Answers the statement.
    pub(crate) fn run(self, snapshot: &Snapshot, cancel: &Cancel) -> Result<Outcome> {
        let ask = Ask { snapshot, table: self.table, predicate: &self.predicate, cancel };
        let (offset, limit) = (self.offset, self.limit);
        let (rows, stats) = match self.shape {
            Shape::Count => {
                let (count, stats) = ask.evaluate(&Count)?;
                let row = vec![Value::Integer(count as i64); self.columns.len()];
                let shown = window(1, offset, limit).len();
                (std::iter::repeat_n(row, shown).collect(), stats)
            }
            Shape::Groups { keys, aggregates, outputs, order } => {
                let (groups, stats) = ask.evaluate(&Groups { keys, aggregates })?;
                (shown_groups(groups, &outputs, &order, offset, limit), stats)
            }
            Shape::Rows { columns, order } => {
                let needed = limit.map_or(usize::MAX, |limit| limit.saturating_add(offset));
                let (ordinals, stats) = if order.is_empty() {
                    ask.evaluate(&First { limit: needed })?
                } else {
                    ask.evaluate(&Top { order, limit: needed })?
                };
                (ask.project(&ordinals[window(ordinals.len(), offset, limit)], &columns)?, stats)
            }
        };
        Ok(Outcome::Rows { columns: self.columns, rows, stats })
    }

    /// The members of the WHERE clause as ordinals; refused where the statement groups, orders or cuts.
    pub(crate) fn members(self, snapshot: &Snapshot, cancel: &Cancel) -> Result<RoaringBitmap> {
        let plain = matches!(&self.shape, Shape::Rows { order, .. } if order.is_empty());
        if !plain || self.limit.is_some() || self.offset > 0 {
            return Err(Error::unsupported(
                None,
                "an audience is all members of a condition, without aggregates, order and limit",
            )
            .advise("write SELECT id FROM members WHERE …"));
        }
        let ask = Ask { snapshot, table: self.table, predicate: &self.predicate, cancel };
        Ok(ask.evaluate(&Members)?.0)
    }
}

struct Ask<'a> {
    snapshot: &'a Snapshot,
    table: TableId,
    predicate: &'a Predicate,
    cancel: &'a Cancel,
}

impl Ask<'_> {
    fn evaluate<S: muster_engine::exec::Sink>(&self, sink: &S) -> Result<(S::Output, Stats)> {
        Ok(evaluate(self.snapshot, self.table, self.predicate, &Scope::default(), self.cancel, sink)?)
    }

    fn project(&self, ordinals: &[u32], columns: &[ColumnId]) -> Result<Vec<Vec<Value>>> {
        let mut rows = Vec::with_capacity(ordinals.len());
        for some in ordinals.chunks(PROJECTED_AT_ONCE) {
            self.cancel.check()?;
            rows.append(&mut project(self.snapshot, self.table, some, columns)?);
        }
        Ok(rows)
    }
}

/// The part of `rows` rows that OFFSET and LIMIT show.
fn window(rows: usize, offset: usize, limit: Option<usize>) -> Range<usize> {
    let start = offset.min(rows);
    start..limit.map_or(rows, |limit| start.saturating_add(limit).min(rows))
}

fn shown_groups(
    mut groups: Vec<Group>,
    outputs: &[Source],
    order: &[(Source, bool)],
    offset: usize,
    limit: Option<usize>,
) -> Vec<Vec<Value>> {
    let compare = |a: &Group, b: &Group| {
        let by_order = order.iter().map(|(source, descending)| {
            let order = order_values(value_of(a, *source), value_of(b, *source));
            if *descending { order.reverse() } else { order }
        });
        let by_key = a.key.iter().zip(&b.key).map(|(a, b)| order_values(a, b));
        by_order.chain(by_key).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    let shown = window(groups.len(), offset, limit);
    // Only what is shown needs its order: the rest is cut off first.
    if shown.end < groups.len() {
        groups.select_nth_unstable_by(shown.end, compare);
        groups.truncate(shown.end);
    }
    groups.sort_unstable_by(compare);
    let row = |group: &Group| outputs.iter().map(|source| value_of(group, *source).clone()).collect();
    groups[shown].iter().map(row).collect()
}

fn value_of(group: &Group, source: Source) -> &Value {
    match source {
        Source::Key(index) => &group.key[index],
        Source::Aggregate(index) => &group.values[index],
    }
}
