//! DROP: what depends on what goes is named and refused, or goes too.

use super::columns::{Dependents, forget_column, unlink};
use super::{Database, unchecked};
use crate::catalog::{Catalog, Relation, Subject, TableRecord};
use crate::schema::{ColumnId, TableId};
use crate::{Error, Result};
use muster_storage::manifest::PartRef;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Dependents that a refusal names.
const NAMED_MAX: usize = 10;

impl Database {
    /// Drops tables, views and audiences in one step. With [`Dependents::Drop`] the views and audiences that need them go
    /// too; they are described in the answer.
    ///
    /// Files that only they had are removed. A snapshot taken before still answers: it holds their bytes.
    pub fn drop_relations(&self, relations: &[Relation], dependents: Dependents) -> Result<Vec<String>> {
        self.change(
            |state, catalog| {
                let mut what = Vec::with_capacity(relations.len());
                for relation in relations {
                    if !catalog.has(*relation) {
                        return Err(Error::Invalid(format!("there is no such {}", relation.kind())));
                    }
                    what.push(catalog.describe(*relation));
                }
                let subjects: Vec<Subject> = relations.iter().copied().map(Subject::Relation).collect();
                let mut parts = state.part_refs.to_vec();
                let referring = catalog.referring(relations);
                if let (Some(table), Dependents::Refuse) = (referring.first(), dependents) {
                    return Err(Error::Invalid(format!(
                        "cannot drop {}: rows of table \"{table}\" refer to it; drop that too, or only what they refer to \
                         with CASCADE",
                        what.join(", ")
                    )));
                }
                let mut gone = catalog.drop_dependents(&subjects, &what.join(", "), dependents, &mut parts)?;
                gone.extend(referring.into_iter().map(|table| format!("what table \"{table}\" refers to")));
                relations.iter().for_each(|relation| catalog.remove(*relation, &mut parts));
                Ok((gone, parts))
            },
            unchecked,
        )
    }
}

impl Catalog {
    /// The tables that refer to some that are dropped, and stay.
    fn referring(&self, dropped: &[Relation]) -> Vec<String> {
        let stays = |table: &&TableRecord| !dropped.contains(&Relation::Table(table.schema.id));
        let refers = |table: &&TableRecord| {
            table.schema.references.iter().any(|(_, other)| dropped.contains(&Relation::Table(*other)))
        };
        self.tables.iter().filter(stays).filter(refers).map(|table| table.schema.name.clone()).collect()
    }

    /// Removes what depends on `subjects`, or refuses; describes what went.
    pub(super) fn drop_dependents(
        &mut self,
        subjects: &[Subject],
        what: &str,
        dependents: Dependents,
        parts: &mut Vec<PartRef>,
    ) -> Result<Vec<String>> {
        let gone = self.dependents(subjects);
        if dependents == Dependents::Refuse && !gone.is_empty() {
            return Err(Error::Invalid(format!(
                "cannot drop {what}: {}; CASCADE drops that too",
                self.depend_on_it(&gone)
            )));
        }
        let described = gone.iter().map(|relation| self.describe(*relation)).collect();
        gone.into_iter().for_each(|relation| self.remove(relation, parts));
        Ok(described)
    }

    /// Dependents as a refusal names them: `view "v", audience "a" depend on it`.
    pub(super) fn depend_on_it(&self, dependents: &BTreeSet<Relation>) -> String {
        let named: Vec<String> =
            dependents.iter().take(NAMED_MAX).map(|relation| self.describe(*relation)).collect();
        let more = match dependents.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let verb = if dependents.len() == 1 { "depends" } else { "depend" };
        format!("{}{more} {verb} on it", named.join(", "))
    }

    /// Removes one thing and its bytes.
    pub(super) fn remove(&mut self, relation: Relation, parts: &mut Vec<PartRef>) {
        match relation {
            Relation::Table(id) => {
                self.tables.retain(|table| table.schema.id != id);
                parts.retain(|part| part.table != id.0);
                for table in &mut self.tables {
                    let refers = |(_, other): &(ColumnId, TableId)| *other == id;
                    let columns: Vec<ColumnId> = table
                        .schema
                        .references
                        .iter()
                        .filter(|one| refers(one))
                        .map(|(column, _)| *column)
                        .collect();
                    columns.into_iter().for_each(|column| unlink(&mut table.schema, column, parts));
                }
            }
            Relation::View(id) => self.views.retain(|view| view.id != id),
            Relation::Audience(id) => {
                if let Some(audience) = self.audience(id).cloned()
                    && let Some(column) = audience.hidden_column()
                {
                    forget_column(parts, audience.table, column);
                }
                self.audiences.retain(|audience| audience.id != id);
            }
        }
    }

    pub(super) fn rename(&mut self, relation: Relation, name: &str) -> Result<()> {
        let renamed = match relation {
            Relation::Table(id) => self.table_mut(id).map(|table| table.schema.name = name.into()).is_ok(),
            Relation::View(id) => {
                let view = self.views.iter_mut().find(|view| view.id == id);
                view.map(|view| Arc::make_mut(view).name = name.into()).is_some()
            }
            Relation::Audience(id) => {
                let audience = self.audiences.iter_mut().find(|audience| audience.id == id);
                audience.map(|audience| Arc::make_mut(audience).name = name.into()).is_some()
            }
        };
        if renamed { Ok(()) } else { Err(Error::Invalid(format!("there is no such {}", relation.kind()))) }
    }
}
