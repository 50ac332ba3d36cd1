//! ALTER TABLE: columns come, go and are renamed. No other column is written anew.
//!
//! A new column has no part in any range, and reads as NULL there ([`crate::table`]). A dropped one leaves the schema and
//! the manifest's list of what parts hold; a part that holds nothing else goes with it, other parts keep its bytes until
//! they are rewritten. Its id stays burnt.

use super::names::{check_column, check_free, check_name};
use super::{Database, unchecked};
use crate::catalog::{Relation, Subject};
use crate::schema::{Column, ColumnId, ColumnSpec, SummaryKind, TableId, TableSchema};
use crate::{Error, Result};
use muster_storage::manifest::PartRef;

/// Whether dependents may go too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// RESTRICT: where there are any, nothing is dropped.
    Refuse,
    /// CASCADE: they are dropped as well.
    Drop,
}

impl Database {
    /// Adds a column, NULL for every member there is. As the key, or without NULLs, only to a table without rows.
    pub fn add_column(&self, table: TableId, spec: &ColumnSpec, is_key: bool) -> Result<ColumnId> {
        self.change(|state, catalog| {
            let record = catalog.table_mut(table)?;
            check_column(spec, is_key)?;
            check_new(&record.schema, &spec.name)?;
            // Those since the last checkpoint count too, which the catalog does not know.
            let rows = state.tables.get(&table).map_or(0, |table| table.rows());
            if rows > 0 && (is_key || !spec.nullable) {
                let what = if is_key { "the key" } else { "NOT NULL" };
                return Err(Error::Invalid(format!(
                    "column \"{}\" cannot be {what}: the {rows} rows of table \"{}\" would have no value there; \
                     add it without, or import into a new table",
                    spec.name, record.schema.name
                )));
            }
            if let Some(key) = record.schema.key.filter(|_| is_key) {
                let key = record.schema.column(key).map_or("?", |column| &column.name);
                return Err(Error::Invalid(format!(
                    "table \"{}\" has a key already: \"{key}\"",
                    record.schema.name
                )));
            }
            let id = take_column_id(&mut record.schema);
            let (name, data_type) = (spec.name.clone(), spec.data_type);
            record.schema.columns.push(Column { id, name, data_type, nullable: spec.nullable && !is_key });
            if is_key {
                record.schema.key = Some(id);
            }
            Ok((id, state.part_refs.to_vec()))
        }, unchecked)
    }

    /// Drops a column and what only it had: its dictionary, parts of its own. With [`Dependents::Drop`] the views and
    /// audiences that need it go too; they are described in the answer.
    pub fn drop_column(
        &self,
        table: TableId,
        column: ColumnId,
        dependents: Dependents,
    ) -> Result<Vec<String>> {
        self.change(|state, catalog| {
            let schema = &catalog.table(table)?.schema;
            let Some(found) = schema.column(column) else {
                return Err(Error::Invalid(format!("no column {} in table \"{}\"", column.0, schema.name)));
            };
            let what = format!("column \"{}\" of table \"{}\"", found.name, schema.name);
            if schema.key == Some(column) {
                return Err(Error::Invalid(format!(
                    "{what} is the key and stays: without it members could not be told apart from outside; \
                     import the other columns into a new table"
                )));
            }
            if schema.columns.len() == 1 {
                return Err(Error::Invalid(format!("{what} is the only one; DROP TABLE drops them all")));
            }
            let mut parts = state.part_refs.to_vec();
            let gone =
                catalog.drop_dependents(&[Subject::Column(table, column)], &what, dependents, &mut parts)?;
            let schema = &mut catalog.table_mut(table)?.schema;
            schema.columns.retain(|other| other.id != column);
            unlink(schema, column, &mut parts);
            forget_column(&mut parts, table, column);
            Ok((gone, parts))
        }, unchecked)
    }

    /// Gives a column another name. Views keep theirs; conditions speak in ids and stay true.
    pub fn rename_column(&self, table: TableId, column: ColumnId, name: &str) -> Result<()> {
        self.change(
            |state, catalog| {
                let schema = &mut catalog.table_mut(table)?.schema;
                check_new(schema, name)?;
                match schema.columns.iter_mut().find(|other| other.id == column) {
                    Some(column) => column.name = name.into(),
                    None => {
                        return Err(Error::Invalid(format!(
                            "no column {} in table \"{}\"",
                            column.0, schema.name
                        )));
                    }
                }
                Ok(((), state.part_refs.to_vec()))
            },
            unchecked,
        )
    }

    /// Gives a table, view or audience another name.
    pub fn rename(&self, relation: Relation, name: &str) -> Result<()> {
        self.change(
            |state, catalog| {
                check_free(catalog, name)?;
                catalog.rename(relation, name)?;
                Ok(((), state.part_refs.to_vec()))
            },
            unchecked,
        )
    }
}

/// A name that no column of the table has.
fn check_new(schema: &TableSchema, name: &str) -> Result<()> {
    check_name(name)?;
    if schema.column_named(name).is_some() {
        return Err(Error::Invalid(format!("table \"{}\" has a column \"{name}\" already", schema.name)));
    }
    Ok(())
}

/// The id of a new column, visible or hidden.
pub(super) fn take_column_id(schema: &mut TableSchema) -> ColumnId {
    let id = schema.next_column;
    schema.next_column = ColumnId(id.0 + 1);
    id
}

/// Forgets what a column of a table refers to, whose the rows are where it says that, and what is kept of it for each owner.
pub(super) fn unlink(schema: &mut TableSchema, column: ColumnId, parts: &mut Vec<PartRef>) {
    schema.references.retain(|(referring, _)| *referring != column);
    let mut hidden = Vec::new();
    let is_time = schema.owner.is_some_and(|owner| owner.time == Some(column));
    if let Some(owner) = schema.owner.filter(|owner| owner.column == column || is_time) {
        // Runs are by time, so without it rows are in no order that is known.
        hidden.push(owner.ordinals);
        hidden.extend(schema.summaries.drain(..).map(|summary| summary.column));
        schema.owner = None;
    }
    if let Some(owner) = &mut schema.owner
        && owner.cluster == Some(column)
    {
        // Runs are as they were; that their rows have something in common is forgotten.
        owner.cluster = None;
    }
    schema.summaries.retain(|summary| {
        let kept = summary.kind != SummaryKind::Sum(column);
        hidden.extend((!kept).then_some(summary.column));
        kept
    });
    hidden.into_iter().for_each(|hidden| forget_column(parts, schema.id, hidden));
}

/// Takes a column off what parts hold; parts that held nothing else go.
pub(super) fn forget_column(parts: &mut Vec<PartRef>, table: TableId, column: ColumnId) {
    parts.retain_mut(|part| {
        if part.table != table.0 || !part.columns.contains(&column.0) {
            return true;
        }
        part.columns.retain(|held| *held != column.0);
        !part.columns.is_empty()
    });
}
