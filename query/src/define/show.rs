//! SHOW and DESCRIBE: what is defined, as rows.

use super::unknown;
use crate::analysis::Renderer;
use crate::bind::{Context, Source};
use crate::error::Result;
use crate::outcome::{Outcome, OutcomeColumn};
use crate::select::Plan;
use crate::statement::{Name, Statement};
use crate::{parse, select};
use muster_engine::catalog::{AudienceKind, AudienceRecord, Definition, Relation, ViewRecord};
use muster_engine::exec::{Count, Scope, Stats, evaluate};
use muster_engine::schema::{Column, ColumnId, DataType, SummaryKind, TableId, TableSchema};
use muster_engine::value::Value;
use muster_engine::{Error, Predicate, Snapshot};
use std::sync::Arc;

/// `SHOW TABLES`
pub(crate) fn show_tables(snapshot: &Snapshot) -> Outcome {
    let mut tables = snapshot.tables();
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    let row = |table: Arc<TableSchema>| {
        let key = table
            .key
            .and_then(|id| table.column(id))
            .map_or(Value::Null, |key| Value::Text(key.name.clone()));
        let columns = Value::Integer(table.columns.len() as i64);
        vec![Value::Text(table.name.clone()), columns, key, Value::Integer(snapshot.rows(table.id) as i64)]
    };
    let columns = [
        ("name", DataType::Text),
        ("columns", DataType::BigInt),
        ("key", DataType::Text),
        ("rows", DataType::BigInt),
    ];
    listing(&columns, tables.into_iter().map(row).collect())
}

/// `SHOW VIEWS`
pub(crate) fn show_views(context: &Context<'_>) -> Result<Outcome> {
    let snapshot = context.snapshot;
    let mut rows = Vec::new();
    for view in snapshot.views() {
        let columns: Vec<&str> = view.columns.iter().map(|column| column.name.as_str()).collect();
        rows.push(vec![
            text(&view.name),
            text(&snapshot.schema(view.table)?.name),
            text(columns.join(", ")),
            text(one_line(&view_text(&view, context)?)),
        ]);
    }
    let columns = [
        ("name", DataType::Text),
        ("table", DataType::Text),
        ("columns", DataType::Text),
        ("definition", DataType::Text),
    ];
    Ok(listing(&columns, rows))
}

/// `SHOW AUDIENCES`: with how many members each has now.
pub(crate) fn show_audiences(context: &Context<'_>) -> Result<Outcome> {
    let snapshot = context.snapshot;
    let mut rows = Vec::new();
    for audience in snapshot.audiences() {
        rows.push(vec![
            text(&audience.name),
            text(&snapshot.schema(audience.table)?.name),
            text(kind(&audience)),
            members(&audience, context)?,
            Value::TimestampTz(audience.created_micros),
            text(one_line(&audience_text(&audience, context)?)),
        ]);
    }
    let columns = [
        ("name", DataType::Text),
        ("table", DataType::Text),
        ("kind", DataType::Text),
        ("members", DataType::BigInt),
        ("created", DataType::TimestampTz),
        ("definition", DataType::Text),
    ];
    Ok(listing(&columns, rows))
}

/// `SHOW USERS`: never what their passwords were hashed to.
pub(crate) fn show_users(snapshot: &Snapshot) -> Outcome {
    let rows = snapshot.users().iter().map(|user| vec![text(&user.name), text(user.role.word())]);
    listing(&[("name", DataType::Text), ("role", DataType::Text)], rows.collect())
}

/// A definition in a listing: its lines, one after another.
fn one_line(source: &str) -> String {
    source.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// What a view is defined by: as it was written, where that still means it; else as it is now.
fn view_text(view: &ViewRecord, context: &Context<'_>) -> Result<String> {
    let columns: Vec<(ColumnId, &str)> =
        view.columns.iter().map(|shown| (shown.column, shown.name.as_str())).collect();
    let means_it = |plan: &Plan| {
        let shown = plan.shown_columns();
        shown.is_ok_and(|shown| shown.iter().map(|(id, _)| id).eq(columns.iter().map(|(id, _)| id)))
    };
    if is_meant(&view.source, view.table, &view.definition, context, means_it) {
        return Ok(view.source.clone());
    }
    rendered(view.table, &columns, &view.definition, context)
}

/// What an audience is defined by, likewise; of a static one, what it was made by.
fn audience_text(audience: &AudienceRecord, context: &Context<'_>) -> Result<String> {
    match &audience.kind {
        AudienceKind::Dynamic(definition)
            if !is_meant(&audience.source, audience.table, definition, context, |_| true) =>
        {
            let schema = context.snapshot.schema(audience.table)?;
            let shown = schema.key.and_then(|key| schema.column(key)).or(schema.columns.first());
            let columns: Vec<_> = shown.map(|column| (column.id, column.name.as_str())).into_iter().collect();
            rendered(audience.table, &columns, definition, context)
        }
        _ => Ok(audience.source.clone()),
    }
}

/// Whether a text still means a definition: it does not where what it names has another name now, or where parameters
/// stand in it.
fn is_meant(
    source: &str,
    table: TableId,
    definition: &Definition,
    context: &Context<'_>,
    means_it: impl Fn(&Plan) -> bool,
) -> bool {
    let Ok(Statement::Select(select)) = parse::parse(source, &[]) else { return false };
    let planned = select::plan_kept(*select, context);
    planned.is_ok_and(|(plan, views)| {
        plan.set() == Some((table, definition.predicate())) && views == *definition.views() && means_it(&plan)
    })
}

/// A definition as a SELECT from its table.
fn rendered(
    table: TableId,
    columns: &[(ColumnId, &str)],
    definition: &Definition,
    context: &Context<'_>,
) -> Result<String> {
    let source = Source::of_table(Arc::clone(context.snapshot.schema(table)?));
    let renderer = Renderer { source: &source, snapshot: context.snapshot, slots: &[] };
    Ok(renderer.select(columns, definition.predicate()))
}

fn kind(audience: &AudienceRecord) -> &'static str {
    match audience.kind {
        AudienceKind::Dynamic(_) => "dynamic",
        AudienceKind::Static { .. } => "static",
    }
}

/// How many belong to an audience now. A definition that fails for some member (a division by zero) has no number; that
/// is no reason not to list the others.
fn members(audience: &AudienceRecord, context: &Context<'_>) -> Result<Value> {
    let predicate = Predicate::Audience(audience.id);
    let scope = Scope::default();
    match evaluate(context.snapshot, audience.table, &predicate, &scope, context.cancel, &Count) {
        Ok((count, _)) => Ok(Value::Integer(count as i64)),
        Err(Error::Invalid(_)) => Ok(Value::Null),
        Err(error) => Err(error.into()),
    }
}

/// `DESCRIBE name`: the columns of a table or view, what is known of an audience.
pub(crate) fn describe(name: &Name, context: &Context<'_>) -> Result<Outcome> {
    let snapshot = context.snapshot;
    match snapshot.named(&name.text) {
        Some(Relation::View(_)) => match snapshot.view_named(&name.text) {
            Some(view) => describe_view(snapshot, &view),
            None => Err(unknown(snapshot, None, name)),
        },
        Some(Relation::Audience(_)) => match snapshot.audience_named(&name.text) {
            Some(audience) => describe_audience(&audience, context),
            None => Err(unknown(snapshot, None, name)),
        },
        Some(Relation::Table(id)) => {
            let table = snapshot.schema(id)?;
            let columns = table.columns.iter().map(|column| (column.name.as_str(), column));
            Ok(describe_columns(snapshot, table, columns))
        }
        None => Err(unknown(snapshot, None, name)),
    }
}

fn describe_view(snapshot: &Snapshot, view: &ViewRecord) -> Result<Outcome> {
    let table = snapshot.schema(view.table)?;
    let columns = view.columns.iter().filter_map(|shown| {
        let column = table.column(shown.column)?;
        Some((shown.name.as_str(), column))
    });
    Ok(describe_columns(snapshot, table, columns))
}

fn describe_columns<'a>(
    snapshot: &Snapshot,
    table: &TableSchema,
    columns: impl Iterator<Item = (&'a str, &'a Column)>,
) -> Outcome {
    let rows = columns.map(|(name, column)| {
        let data_type = text(column.data_type.to_string());
        let mut row = vec![
            text(name),
            data_type,
            Value::Boolean(column.nullable),
            Value::Boolean(table.key == Some(column.id)),
        ];
        if !table.references.is_empty() {
            row.push(role(snapshot, table, column.id).map_or(Value::Null, Value::Text));
        }
        row
    });
    let mut columns = vec![
        ("column", DataType::Text),
        ("type", DataType::Text),
        ("nullable", DataType::Boolean),
        ("key", DataType::Boolean),
    ];
    if !table.references.is_empty() {
        columns.push(("role", DataType::Text));
    }
    listing(&columns, rows.collect())
}

/// The most owners of owners that are shown.
const OWNERS_SHOWN: usize = 4;

/// What a column is beside its values: `owner: members (id)`, or `owner: orders (id) → member_id → members (id)`.
fn role(snapshot: &Snapshot, table: &TableSchema, column: ColumnId) -> Option<String> {
    let is_cluster = table.owner.is_some_and(|owner| owner.cluster == Some(column));
    let refers = table.references.iter().find(|(referring, _)| *referring == column);
    let Some((_, other)) = refers else {
        let kept = table.summaries.iter().any(|summary| summary.kind == SummaryKind::Sum(column));
        return match () {
            () if table.owner.is_some_and(|owner| owner.time == Some(column)) => Some("time".to_owned()),
            () if is_cluster && kept => Some("cluster, sum kept".to_owned()),
            () if is_cluster => Some("cluster".to_owned()),
            () => kept.then(|| "sum kept".to_owned()),
        };
    };
    let other = snapshot.schema(*other).ok()?;
    let key = other.key.and_then(|key| other.column(key))?;
    let is_owner = table.owner.is_some_and(|owner| owner.column == column);
    let cluster = if is_cluster { "cluster, " } else { "" };
    let refers = if is_owner { "owner" } else { "refers to" };
    let mut role = format!("{cluster}{refers}: {} ({})", other.name, key.name);
    let mut at = other;
    for _ in 0..OWNERS_SHOWN {
        let Some(owner) = at.owner.filter(|_| is_owner) else { break };
        let next = snapshot.schema(owner.table).ok()?;
        let (column, key) = (at.column(owner.column)?, next.key.and_then(|key| next.column(key))?);
        role.push_str(&format!(" → {} → {} ({})", column.name, next.name, key.name));
        at = next;
    }
    Some(role)
}

fn describe_audience(audience: &AudienceRecord, context: &Context<'_>) -> Result<Outcome> {
    let facts = [
        ("kind", text(kind(audience))),
        ("table", text(&context.snapshot.schema(audience.table)?.name)),
        ("members", members(audience, context)?),
        ("created", Value::TimestampTz(audience.created_micros)),
        ("definition", text(audience_text(audience, context)?)),
    ];
    let rows = facts.into_iter().map(|(name, value)| {
        let value = if value == Value::Null { value } else { text(value.to_string()) };
        vec![text(name), value]
    });
    Ok(listing(&[("property", DataType::Text), ("value", DataType::Text)], rows.collect()))
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

fn listing(columns: &[(&str, DataType)], rows: Vec<Vec<Value>>) -> Outcome {
    let columns = columns
        .iter()
        .map(|(name, data_type)| OutcomeColumn { name: (*name).to_owned(), data_type: *data_type });
    Outcome::Rows { columns: columns.collect(), rows, stats: Stats::default() }
}
