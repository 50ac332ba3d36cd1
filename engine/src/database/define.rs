//! CREATE: tables, views and audiences.
//!
//! A condition that is stored has been planned once against the state that it becomes part of, and so has every audience
//! that names a replaced one: what is in the catalog can be asked.

use super::columns::take_column_id;
use super::names::{check_free, check_name, new_schema};
use super::{Database, State, unchecked};
use crate::audience::members::write_members;
use crate::catalog::{
    AudienceKind, AudienceRecord, Catalog, Definition, Relation, Subject, TableRecord, ViewColumn, ViewId,
    ViewRecord,
};
use crate::control::Cancel;
use crate::expr::{Expr, Function};
use crate::member::KeyLayout;
use crate::plan::Plan;
use crate::predicate::{AudienceId, Predicate};
use crate::schema::{ColumnId, TableId, TableSpec};
use crate::table::Extent;
use crate::{Error, Result};
use muster_storage::manifest::PartRef;
use roaring::RoaringBitmap;
use std::collections::HashSet;
use std::sync::Arc;

/// A view before it has an id.
#[derive(Clone, Debug)]
pub struct ViewSpec {
    /// The name.
    pub name: String,
    /// The table that it shows.
    pub table: TableId,
    /// The columns that it shows, each under a name.
    pub columns: Vec<(ColumnId, String)>,
    /// Of whom.
    pub definition: Definition,
    /// The SELECT, as it was written.
    pub source: String,
}

/// An audience before it has an id.
#[derive(Clone, Debug)]
pub struct AudienceSpec {
    /// The name.
    pub name: String,
    /// The table of its members.
    pub table: TableId,
    /// What it is defined by, as it was written.
    pub source: String,
    /// The present, in microseconds since 1970-01-01 UTC.
    pub created_micros: i64,
}

impl Database {
    /// Creates an empty table.
    pub fn create_table(&self, table: &TableSpec<'_>) -> Result<TableId> {
        self.change(
            |state, catalog| {
                let schema = new_schema(catalog, table)?;
                let id = schema.id;
                catalog.tables.push(TableRecord::imported(schema, 0, KeyLayout::None));
                Ok((id, state.part_refs.to_vec()))
            },
            unchecked,
        )
    }

    /// Creates a view; with `replace`, in the place of one of that name.
    ///
    /// What is built on a view was resolved over it, so it is replaced by another one only where nothing is. The new one
    /// has an id of its own: what a session resolves meanwhile over the old one is refused.
    pub fn create_view(&self, spec: ViewSpec, replace: bool) -> Result<ViewId> {
        let (table, predicate) = (spec.table, spec.definition.predicate().clone());
        self.change(
            |state, catalog| {
                let schema = &catalog.table(spec.table)?.schema;
                let mut seen = HashSet::new();
                for (column, name) in &spec.columns {
                    check_name(name)?;
                    if schema.column(*column).is_none() {
                        return Err(Error::Invalid(format!(
                            "no column {} in table \"{}\"",
                            column.0, schema.name
                        )));
                    }
                    if !seen.insert(name) {
                        return Err(Error::Invalid(format!("a view shows column \"{name}\" once")));
                    }
                }
                if spec.columns.is_empty() {
                    return Err(Error::Invalid(format!("view \"{}\" needs at least one column", spec.name)));
                }
                let replaced = match catalog.named(&spec.name) {
                    Some(Relation::View(id)) if replace => catalog.view(id).cloned(),
                    _ => None,
                };
                if replaced.is_none() {
                    check_free(catalog, &spec.name)?;
                }
                let columns = spec.columns.into_iter().map(|(column, name)| ViewColumn { column, name });
                let mut record = ViewRecord {
                    id: catalog.next_view,
                    name: spec.name,
                    table: spec.table,
                    columns: columns.collect(),
                    definition: spec.definition,
                    source: spec.source,
                };
                if let Some(old) = replaced {
                    catalog.make_way(&old, &mut record)?;
                }
                let id = record.id;
                catalog.next_view = catalog.next_view.max(ViewId(id.0 + 1));
                catalog.views.push(Arc::new(record));
                catalog.views.sort_by_key(|view| view.id);
                catalog.check_needs()?;
                Ok((id, state.part_refs.to_vec()))
            },
            |state| check_predicate(state, table, &predicate),
        )
    }

    /// Creates an audience of whoever satisfies a condition when it is asked; with `replace`, in the place of one of that
    /// name.
    pub fn create_audience(
        &self,
        spec: AudienceSpec,
        definition: Definition,
        replace: bool,
    ) -> Result<AudienceId> {
        let kind = AudienceKind::Dynamic(definition);
        self.put_audience(spec, replace, |_, _, _| Ok((kind, Vec::new())))
    }

    /// Creates an audience of these members, whatever happens to them; with `replace`, in the place of one of that name.
    pub fn create_static_audience(
        &self,
        spec: AudienceSpec,
        members: &RoaringBitmap,
        replace: bool,
        cancel: &Cancel,
    ) -> Result<AudienceId> {
        let table = spec.table;
        self.put_audience(spec, replace, |database, state, catalog| {
            let record = catalog.table_mut(table)?;
            let Extent { rows, ordinals, .. } =
                state.tables.get(&table).map_or_else(Extent::default, |table| table.extent());
            if let Some(beyond) = members.max().filter(|last| u64::from(*last) >= ordinals) {
                return Err(Error::Invalid(format!(
                    "table \"{}\" has {rows} rows and no ordinal {beyond}",
                    record.schema.name
                )));
            }
            let column = take_column_id(&mut record.schema);
            let parts = write_members(&database.store, table, column, members, cancel)?;
            Ok((AudienceKind::Static { column, members: members.len() }, parts))
        })
    }

    fn put_audience(
        &self,
        spec: AudienceSpec,
        replace: bool,
        kind: impl FnOnce(&Database, &State, &mut Catalog) -> Result<(AudienceKind, Vec<PartRef>)>,
    ) -> Result<AudienceId> {
        let changed = std::cell::Cell::new(AudienceId(0));
        self.change(
            |state, catalog| {
                catalog.table(spec.table)?;
                let replaced = match catalog.named(&spec.name) {
                    Some(Relation::Audience(id)) if replace => catalog.audience(id).cloned(),
                    _ => None,
                };
                let mut old_parts = state.part_refs.to_vec();
                let id = match &replaced {
                    None => {
                        check_free(catalog, &spec.name)?;
                        let id = catalog.next_audience;
                        catalog.next_audience = AudienceId(id.0 + 1);
                        id
                    }
                    Some(old) => {
                        let relation = Relation::Audience(old.id);
                        let users = catalog.dependents(&[Subject::Relation(relation)]);
                        if !users.is_empty() && old.table != spec.table {
                            return Err(Error::Invalid(format!(
                                "audience \"{}\" cannot move to another table: {}",
                                spec.name,
                                catalog.depend_on_it(&users)
                            )));
                        }
                        catalog.remove(relation, &mut old_parts);
                        old.id
                    }
                };
                let (kind, parts) = kind(self, state, catalog)?;
                let AudienceSpec { name, table, source, created_micros } = spec;
                let record = AudienceRecord { id, name, table, kind, source, created_micros };
                catalog.audiences.push(Arc::new(record));
                catalog.audiences.sort_by_key(|audience| audience.id);
                catalog.check_needs()?;
                if let Some(cycle) = catalog.cycle(id) {
                    return Err(Error::Invalid(format!(
                        "an audience cannot be defined by itself: {}",
                        cycle.join(" → ")
                    )));
                }
                changed.set(id);
                old_parts.extend(parts);
                Ok((id, old_parts))
            },
            |state| check_audience(state, changed.get()),
        )
    }

    /// One change of the catalog, and perhaps of the parts: `change` makes them, `check` may still refuse what came of it.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&State, &mut Catalog) -> Result<(T, Vec<PartRef>)>,
        check: impl FnOnce(&State) -> Result<()>,
    ) -> Result<T> {
        let _writer = self.writer.take(&Cancel::default())?;
        let state = self.state();
        let mut catalog = Catalog::clone(&state.catalog);
        let (done, parts) = change(&state, &mut catalog)?;
        self.publish(&state, &catalog, parts, check)?;
        Ok(done)
    }
}

impl Catalog {
    /// Removes a view that is replaced. Under others it is replaced by its like only, which takes its id; so that scripts
    /// can be run again.
    fn make_way(&mut self, old: &ViewRecord, new: &mut ViewRecord) -> Result<()> {
        let same = (new.table, &new.columns, &new.definition) == (old.table, &old.columns, &old.definition);
        if same {
            new.id = old.id;
        } else if new.definition.views().contains(&old.id) {
            return Err(Error::Invalid(format!("view \"{}\" cannot be defined by itself", old.name)));
        } else {
            let users = self.dependents(&[Subject::Relation(Relation::View(old.id))]);
            if !users.is_empty() {
                return Err(Error::Invalid(format!(
                    "cannot replace view \"{}\": {} as it is; drop that first, or all with DROP VIEW … CASCADE",
                    old.name,
                    self.depend_on_it(&users)
                )));
            }
        }
        self.views.retain(|view| view.id != old.id);
        Ok(())
    }
}

/// Plans a condition, to see that it can be asked.
fn check_predicate(state: &State, table: TableId, predicate: &Predicate) -> Result<()> {
    let open = |table: TableId| {
        state.tables.get(&table).ok_or_else(|| Error::Invalid(format!("there is no table {}", table.0)))
    };
    let asked = open(table)?;
    Plan::check(asked, predicate)?;
    let definition = match predicate {
        Predicate::Audience(audience) => asked.audience(*audience).unwrap_or(predicate),
        predicate => predicate,
    };
    let mut checked = Ok(());
    definition.for_each_related(&mut |related| {
        for rows in &related.rows {
            let check = || {
                let columns = rows.aggregates.iter().filter_map(|aggregate| aggregate.argument.as_ref());
                let columns = columns
                    .cloned()
                    .map(|argument| Predicate::Holds(Expr::call(Function::IsNull, [argument])));
                let filters = rows.aggregates.iter().filter_map(|aggregate| aggregate.filter.clone());
                let all = [rows.condition.clone(), Predicate::IsNull(rows.by)];
                check_predicate(
                    state,
                    rows.table,
                    &Predicate::And(all.into_iter().chain(columns).chain(filters).collect()),
                )
            };
            if checked.is_ok() {
                checked = check();
            }
        }
    });
    definition.for_each_derived(&mut |derived| {
        derived.rows.for_each_scan(&mut |scan| {
            if checked.is_ok() {
                let columns = scan.columns.iter().map(|(column, _)| *column);
                let columns = columns.filter(|column| *column != ColumnId::LIVE).map(Predicate::IsNull);
                let all = columns.chain([scan.condition.clone()]);
                checked = check_predicate(state, scan.table, &Predicate::And(all.collect()));
            }
        });
    });
    checked
}

/// Plans an audience and all that name it, inside and outside.
fn check_audience(state: &State, id: AudienceId) -> Result<()> {
    let changed = Relation::Audience(id);
    let users = state.catalog.dependents(&[Subject::Relation(changed)]);
    for relation in users.into_iter().chain([changed]) {
        if let Relation::Audience(id) = relation
            && let Some(audience) = state.catalog.audience(id)
        {
            check_predicate(state, audience.table, &Predicate::Audience(id))?;
            check_predicate(state, audience.table, &Predicate::Audience(id).not())?;
        }
    }
    Ok(())
}
