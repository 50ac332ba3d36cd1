//! DROP: what depends on what goes is named and refused, or goes too.

use super::columns::{Dependents, forget_column};
use super::{Database, unchecked};
use crate::catalog::{Catalog, Relation, Subject};
use crate::{Error, Result};
use muster_storage::manifest::PartRef;
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
                let mut parts = state.part_refs.clone();
                let gone = catalog.drop_dependents(&subjects, &what.join(", "), dependents, &mut parts)?;
                relations.iter().for_each(|relation| catalog.remove(*relation, &mut parts));
                Ok((gone, parts))
            },
            unchecked,
        )
    }
}

impl Catalog {
    /// Removes what depends on `subjects`, or refuses; describes what went.
    pub(super) fn drop_dependents(
        &mut self,
        subjects: &[Subject],
        what: &str,
        dependents: Dependents,
        parts: &mut Vec<PartRef>,
    ) -> Result<Vec<String>> {
        let gone = self.dependents(subjects);
        let described: Vec<String> = gone.iter().map(|relation| self.describe(*relation)).collect();
        if dependents == Dependents::Refuse && !gone.is_empty() {
            let mut named = described[..described.len().min(NAMED_MAX)].join(", ");
            if described.len() > NAMED_MAX {
                named += &format!(" and {} more", described.len() - NAMED_MAX);
            }
            let verb = if described.len() == 1 { "depends" } else { "depend" };
            return Err(Error::Invalid(format!(
                "cannot drop {what}: {named} {verb} on it; CASCADE drops that too"
            )));
        }
        gone.into_iter().for_each(|relation| self.remove(relation, parts));
        Ok(described)
    }

    /// Removes one thing and its bytes.
    pub(super) fn remove(&mut self, relation: Relation, parts: &mut Vec<PartRef>) {
        match relation {
            Relation::Table(id) => {
                self.tables.retain(|table| table.schema.id != id);
                parts.retain(|part| part.table != id.0);
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

    fn has(&self, relation: Relation) -> bool {
        match relation {
            Relation::Table(id) => self.table(id).is_ok(),
            Relation::View(id) => self.views.iter().any(|view| view.id == id),
            Relation::Audience(id) => self.audience(id).is_some(),
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
