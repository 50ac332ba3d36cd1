//! SHOW and DESCRIBE: what is defined, as rows.

use super::unknown;
use crate::error::Result;
use crate::outcome::{Outcome, OutcomeColumn};
use crate::statement::Name;
use muster_engine::catalog::{AudienceKind, AudienceRecord, Relation, ViewRecord};
use muster_engine::exec::{Count, Scope, Stats, evaluate};
use muster_engine::schema::{Column, DataType, TableSchema};
use muster_engine::value::Value;
use muster_engine::{Cancel, Error, Predicate, Snapshot};
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
pub(crate) fn show_views(snapshot: &Snapshot) -> Result<Outcome> {
    let mut rows = Vec::new();
    for view in snapshot.views() {
        let columns: Vec<&str> = view.columns.iter().map(|column| column.name.as_str()).collect();
        rows.push(vec![
            text(&view.name),
            text(&snapshot.schema(view.table)?.name),
            text(columns.join(", ")),
            text(one_line(&view.source)),
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
pub(crate) fn show_audiences(snapshot: &Snapshot, cancel: &Cancel) -> Result<Outcome> {
    let mut rows = Vec::new();
    for audience in snapshot.audiences() {
        rows.push(vec![
            text(&audience.name),
            text(&snapshot.schema(audience.table)?.name),
            text(kind(&audience)),
            members(snapshot, &audience, cancel)?,
            Value::TimestampTz(audience.created_micros),
            text(one_line(&audience.source)),
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

/// A definition in a listing: its lines, one after another.
fn one_line(source: &str) -> String {
    source.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

fn kind(audience: &AudienceRecord) -> &'static str {
    match audience.kind {
        AudienceKind::Dynamic(_) => "dynamic",
        AudienceKind::Static { .. } => "static",
    }
}

/// How many belong to an audience now. A definition that fails for some member (a division by zero) has no number; that
/// is no reason not to list the others.
fn members(snapshot: &Snapshot, audience: &AudienceRecord, cancel: &Cancel) -> Result<Value> {
    let predicate = Predicate::Audience(audience.id);
    match evaluate(snapshot, audience.table, &predicate, &Scope::default(), cancel, &Count) {
        Ok((count, _)) => Ok(Value::Integer(count as i64)),
        Err(Error::Invalid(_)) => Ok(Value::Null),
        Err(error) => Err(error.into()),
    }
}

/// `DESCRIBE name`: the columns of a table or view, what is known of an audience.
pub(crate) fn describe(snapshot: &Snapshot, name: &Name, cancel: &Cancel) -> Result<Outcome> {
    match snapshot.named(&name.text) {
        Some(Relation::View(_)) => match snapshot.view_named(&name.text) {
            Some(view) => describe_view(snapshot, &view),
            None => Err(unknown(snapshot, None, name)),
        },
        Some(Relation::Audience(_)) => match snapshot.audience_named(&name.text) {
            Some(audience) => describe_audience(snapshot, &audience, cancel),
            None => Err(unknown(snapshot, None, name)),
        },
        Some(Relation::Table(id)) => {
            let table = snapshot.schema(id)?;
            let columns = table.columns.iter().map(|column| (column.name.as_str(), column));
            Ok(describe_columns(table, columns))
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
    Ok(describe_columns(table, columns))
}

fn describe_columns<'a>(
    table: &TableSchema,
    columns: impl Iterator<Item = (&'a str, &'a Column)>,
) -> Outcome {
    let rows = columns.map(|(name, column)| {
        let data_type = text(column.data_type.to_string());
        vec![
            text(name),
            data_type,
            Value::Boolean(column.nullable),
            Value::Boolean(table.key == Some(column.id)),
        ]
    });
    let columns = [
        ("column", DataType::Text),
        ("type", DataType::Text),
        ("nullable", DataType::Boolean),
        ("key", DataType::Boolean),
    ];
    listing(&columns, rows.collect())
}

fn describe_audience(snapshot: &Snapshot, audience: &AudienceRecord, cancel: &Cancel) -> Result<Outcome> {
    let facts = [
        ("kind", text(kind(audience))),
        ("table", text(&snapshot.schema(audience.table)?.name)),
        ("members", members(snapshot, audience, cancel)?),
        ("created", Value::TimestampTz(audience.created_micros)),
        ("definition", text(&audience.source)),
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
