//! The shapes of a SELECT: a count, groups, or rows; how each is planned from names and answered by the engine.
//!
//! | statement | sink |
//! |---|---|
//! | only `count(*)`, no GROUP BY | `Count` |
//! | aggregates, GROUP BY, DISTINCT | [`groups`]: `Groups` of plain columns, `Fold` of anything else |
//! | values with ORDER BY | `Top` of plain columns, then the values of those members; else all, sorted here |
//! | values | `First`, then the values of those members |
//!
//! Answers are the same from run to run: ties of ORDER BY go by ordinal for rows, and by the grouping values for groups.

mod bound;
mod groups;
mod rows;

use crate::analysis::Renderer;
use crate::bind::{Context, Made, Source, rows_of};
use crate::error::{Error, Result, Span};
use crate::outcome::{Outcome, OutcomeColumn};
use crate::statement::Select;
use bound::Bound;
pub(crate) use bound::{aggregate_type, has_aggregate, name_of};
use muster_engine::catalog::ViewId;
use muster_engine::control::row_bytes;
use muster_engine::exec::{Count, Members, Scope, Sink, Stats, evaluate, resolve};
use muster_engine::expr::Expr;
use muster_engine::predicate::{RelatedRows, slot_id};
use muster_engine::value::Value;
use muster_engine::{Cancel, ColumnId, Predicate, Snapshot, TableId};
use roaring::RoaringBitmap;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// What their memory is for, as [`muster_engine::control::Held`] says it.
pub(crate) const HOLDS_ROWS: &str = "the rows of the answer";

/// A SELECT with its names resolved.
pub(crate) struct Plan {
    source: Source,
    predicate: Predicate,
    columns: Vec<OutcomeColumn>,
    shape: Shape,
    limit: Option<usize>,
    offset: usize,
}

enum Shape {
    Count,
    Groups(groups::Groups),
    Rows(rows::Rows),
    /// What is made of rows of tables, whatever the predicate says.
    Made(Box<Made>),
}

/// How rows are ordered by one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Direction {
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

/// Resolves the names of a SELECT.
pub(crate) fn plan(select: Select, context: &Context<'_>) -> Result<Plan> {
    if select.is_relational() {
        return made(&select, context);
    }
    // What is more than a condition and groups may still be made of rows.
    context.either(plain(&select, context), || made(&select, context))
}

/// A SELECT as steps over rows.
fn made(select: &Select, context: &Context<'_>) -> Result<Plan> {
    let made = rows_of(select, context)?;
    let mut first = None;
    made.relation.for_each_scan(&mut |scan| first = first.or(Some(scan.table)));
    let Some(table) = first else {
        return Err(Error::unsupported(None, "a SELECT has a table after FROM"));
    };
    let source = Source::of_table(Arc::clone(context.snapshot.schema(table)?));
    let (predicate, columns) = (Predicate::everyone(), made.columns.clone());
    Ok(Plan { source, predicate, columns, shape: Shape::Made(Box::new(made)), limit: None, offset: 0 })
}

/// A SELECT of the members of one table.
pub(crate) fn plain(select: &Select, context: &Context<'_>) -> Result<Plan> {
    let source = Source::resolve(select.from.clone(), context)?;
    let clauses = bound::Clauses {
        distinct: select.distinct,
        items: &select.items,
        filter: select.filter.as_ref(),
        group_by: &select.group_by,
        having: select.having.as_ref(),
        order_by: &select.order_by,
    };
    let Bound { predicate, columns, shape } = bound::bind(&clauses, &source, context)?;
    let predicate = match &source.members {
        None => predicate,
        Some(members) if predicate == Predicate::everyone() => members.clone(),
        Some(members) => members.clone().and(predicate),
    };
    let size = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
    Ok(Plan { source, predicate, columns, shape, limit: select.limit.map(size), offset: size(select.offset) })
}

/// [`plan`] of a SELECT that is kept as a definition, and the views that it names, anywhere.
pub(crate) fn plan_kept(select: Select, context: &Context<'_>) -> Result<(Plan, BTreeSet<ViewId>)> {
    let (views, second_ways) = (RefCell::default(), AtomicUsize::new(0));
    let plan = plan(select, &Context { kept: Some(&views), second_ways: &second_ways, ..*context })?;
    Ok((plan, views.into_inner()))
}

/// [`plan`] of a SELECT that may be planned again.
pub(crate) fn plan_shared(select: &Arc<Select>, context: &Context<'_>) -> Result<Plan> {
    plan(Select::clone(select), context)
}

impl Plan {
    /// The columns of the answer.
    pub(crate) fn columns(&self) -> &[OutcomeColumn] {
        &self.columns
    }

    /// What is asked.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// The members that are meant.
    pub(crate) fn predicate(&self) -> &Predicate {
        &self.predicate
    }

    /// What is made of the members, in words.
    pub(crate) fn describe(&self, renderer: &Renderer<'_>) -> String {
        let shown = |exprs: &mut dyn Iterator<Item = &Expr>| {
            exprs.map(|expr| renderer.expr(expr)).collect::<Vec<_>>().join(", ")
        };
        match &self.shape {
            Shape::Count => "count".to_owned(),
            Shape::Made(_) => "rows made of rows".to_owned(),
            Shape::Groups(groups) if groups.keys.is_empty() => "aggregates".to_owned(),
            Shape::Groups(groups) => format!("groups by {}", shown(&mut groups.keys.iter())),
            Shape::Rows(rows) => match (rows.order().is_empty(), self.limit) {
                (true, _) => "rows".to_owned(),
                (false, None) => format!("rows ordered by {}", shown(&mut rows.order().iter().map(|o| &o.0))),
                (false, Some(limit)) => {
                    format!("the first {limit} by {}", shown(&mut rows.order().iter().map(|o| &o.0)))
                }
            },
        }
    }

    /// Answers the statement.
    pub(crate) fn run(self, snapshot: &Snapshot, cancel: &Cancel) -> Result<Outcome> {
        let (predicate, resolving) = resolve(snapshot, self.source.schema.id, &self.predicate, cancel)?;
        let ask = Ask { snapshot, table: self.source.schema.id, predicate: &predicate, cancel };
        let (offset, limit) = (self.offset, self.limit);
        let (rows, mut stats) = match self.shape {
            Shape::Count => {
                let (count, stats) = ask.evaluate(&Count)?;
                let row = vec![Value::Integer(count as i64); self.columns.len()];
                (std::iter::repeat_n(row, window(1, offset, limit).len()).collect(), stats)
            }
            Shape::Made(made) => made.run(snapshot, cancel)?,
            Shape::Groups(groups) => groups.run(&ask, offset, limit)?,
            Shape::Rows(rows) => {
                let mut shown = Vec::new();
                let mut held = cancel.holder(HOLDS_ROWS);
                let stats = rows.run(&ask, offset, limit, &mut |mut some| {
                    held.add(some.iter().map(|row| size_of::<Vec<Value>>() + row_bytes(row)).sum())?;
                    shown.append(&mut some);
                    Ok(())
                })?;
                (shown, stats)
            }
        };
        stats.add(resolving);
        Ok(Outcome::Rows { columns: self.columns, rows, stats })
    }

    /// Answers the statement in portions of rows; members are not all held at once.
    pub(crate) fn stream(
        self,
        snapshot: &Snapshot,
        cancel: &Cancel,
        hear: &mut dyn FnMut(Vec<Vec<Value>>) -> Result<()>,
    ) -> Result<Stats> {
        if let Shape::Rows(rows) = &self.shape {
            let (predicate, resolving) = resolve(snapshot, self.source.schema.id, &self.predicate, cancel)?;
            let ask = Ask { snapshot, table: self.source.schema.id, predicate: &predicate, cancel };
            let mut stats = rows.run(&ask, self.offset, self.limit, hear)?;
            stats.add(resolving);
            return Ok(stats);
        }
        match self.run(snapshot, cancel)? {
            Outcome::Rows { rows, stats, .. } => hear(rows).map(|()| stats),
            Outcome::Done { .. } => Ok(Stats::default()),
        }
    }

    /// The members of the statement as ordinals; refused where it groups.
    pub(crate) fn members(self, snapshot: &Snapshot, cancel: &Cancel) -> Result<RoaringBitmap> {
        let ask = Ask { snapshot, table: self.source.schema.id, predicate: &self.predicate, cancel };
        match &self.shape {
            Shape::Rows(_) if self.limit.is_none() && self.offset == 0 => Ok(ask.evaluate(&Members)?.0),
            Shape::Rows(rows) => Ok(rows.ordinals(&ask, self.offset, self.limit)?.0.into_iter().collect()),
            Shape::Count | Shape::Groups(_) | Shape::Made(_) => Err(Error::unsupported(
                None,
                "an audience is all members of a condition, without aggregates and GROUP BY",
            )
            .advise("write SELECT id FROM members WHERE …")),
        }
    }

    /// The table and the condition of a plain set of members; `None` where it groups, or takes only the first ones.
    pub(crate) fn set(&self) -> Option<(TableId, &Predicate)> {
        let plain = matches!(&self.shape, Shape::Rows(_)) && self.limit.is_none() && self.offset == 0;
        plain.then_some((self.source.schema.id, &self.predicate))
    }

    /// The table that is asked.
    pub(crate) fn table(&self) -> TableId {
        self.source.schema.id
    }

    /// The columns that a row shows, each under its name; refused where something else is shown.
    pub(crate) fn shown_columns(&self) -> Result<Vec<(ColumnId, String)>> {
        let refuse = |what: &str| {
            let message = format!("a view shows columns of its table, not {what}");
            Err(Error::unsupported(None, message).advise("write SELECT * FROM members WHERE …"))
        };
        let Shape::Rows(rows) = &self.shape else { return refuse("aggregates") };
        let mut shown = Vec::with_capacity(self.columns.len());
        for (column, output) in self.columns.iter().zip(rows.outputs()) {
            let Expr::Column(id) = output else { return refuse("what is computed of them") };
            shown.push((*id, column.name.clone()));
        }
        Ok(shown)
    }

    /// [`Self::set`], refused where there is none.
    pub(crate) fn predicate_of_set(self) -> Result<(TableId, Predicate)> {
        match self.set() {
            Some((table, _)) => Ok((table, self.predicate)),
            _ => Err(Error::unsupported(
                None,
                "an audience or view is all members of a condition, without aggregates, GROUP BY and LIMIT",
            )
            .advise("write SELECT id FROM members WHERE …, or make the first ones a STATIC AUDIENCE")),
        }
    }

    /// The condition of `SELECT key FROM table …`, where this is one of that table.
    pub(crate) fn set_of_keys(&self, table: TableId, key: ColumnId) -> Option<Predicate> {
        let Shape::Rows(rows) = &self.shape else { return None };
        let of_keys = self.source.schema.id == table && rows.outputs() == [Expr::Column(key)];
        self.set().filter(|_| of_keys).map(|(_, predicate)| predicate.clone())
    }

    /// The rows of a SELECT of one column that are no more than a condition and groups by a column: by their members.
    pub(crate) fn rows_by_column(&self) -> Option<RowsByColumn> {
        if self.limit.is_some() || self.offset > 0 {
            return None;
        }
        let (by, aggregates, outputs, having) = match &self.shape {
            Shape::Rows(rows) => match rows.outputs() {
                [Expr::Column(by)] => (*by, Vec::new(), Vec::new(), None),
                _ => return None,
            },
            Shape::Groups(groups) => {
                let [Expr::Column(by)] = groups.keys.as_slice() else { return None };
                // The key is a group's first value.
                let [Expr::Column(first), outputs @ ..] = groups.outputs.as_slice() else { return None };
                if *first != slot_id(0) {
                    return None;
                }
                (*by, groups.aggregates.clone(), outputs.to_vec(), groups.having.clone())
            }
            Shape::Count | Shape::Made(_) => return None,
        };
        let (table, condition) = (self.source.schema.id, self.predicate.clone());
        Some(RowsByColumn { rows: RelatedRows { table, by, condition, aggregates }, outputs, having })
    }

    /// The rows that it is made of, where it is more than a condition and groups of one table.
    pub(crate) fn made(&self) -> Option<&Made> {
        if let Shape::Made(made) = &self.shape { Some(made) } else { None }
    }

    /// What can be selected from in turn: the members, and the columns that are shown.
    pub(crate) fn into_source(self, context: &Context<'_>, span: Span) -> Result<Source> {
        let Shape::Rows(rows) = &self.shape else { return Err(crate::bind::not_a_set(span)) };
        let mut visible = Vec::with_capacity(self.columns.len());
        for (column, output) in self.columns.iter().zip(rows.outputs()) {
            let Expr::Column(id) = output else {
                let message = format!("\"{}\" is computed, so nothing can be selected from it", column.name);
                return Err(Error::unsupported(span, message).advise("compute it in the outer SELECT"));
            };
            visible.push((column.name.clone(), *id));
        }
        let mut source = self.source.clone();
        let members = match self.set() {
            Some((_, predicate)) => predicate.clone(),
            None => {
                let members = self.members(context.snapshot, context.cancel)?;
                let mut held = context.cancel.holder("the members of a SELECT within FROM");
                held.add(members.serialized_size())?;
                held.keep();
                Predicate::Members(Arc::new(members))
            }
        };
        source.visible = visible;
        source.members = Some(members);
        Ok(source)
    }
}

/// Rows by a column, and what is computed of the aggregates of each group, which follow the key as the columns of a group.
pub(crate) struct RowsByColumn {
    pub(crate) rows: RelatedRows,
    /// The values after the key.
    pub(crate) outputs: Vec<Expr>,
    pub(crate) having: Option<Expr>,
}

/// A predicate on a table, to be asked for several things.
pub(crate) struct Ask<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) table: TableId,
    pub(crate) predicate: &'a Predicate,
    pub(crate) cancel: &'a Cancel,
}

impl Ask<'_> {
    pub(crate) fn evaluate<S: Sink>(&self, sink: &S) -> Result<(S::Output, Stats)> {
        Ok(evaluate(self.snapshot, self.table, self.predicate, &Scope::default(), self.cancel, sink)?)
    }
}

/// The part of `rows` rows that OFFSET and LIMIT show.
pub(crate) fn window(rows: usize, offset: usize, limit: Option<usize>) -> Range<usize> {
    let start = offset.min(rows);
    start..limit.map_or(rows, |limit| start.saturating_add(limit).min(rows))
}
