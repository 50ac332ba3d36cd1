//! What depends on what: columns on their table, views and audiences on the table, columns and audiences that they name.
//!
//! A view or audience that was defined over a view depends on what that view named, not on the view: the definition was
//! resolved when it was made.

use super::{AudienceKind, Catalog, Relation};
use crate::predicate::{AudienceId, Dependency, Predicate};
use crate::schema::{ColumnId, TableId};
use std::collections::BTreeSet;

/// Something that may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// Something with a name of its own.
    Relation(Relation),
    /// A column of a table.
    Column(TableId, ColumnId),
}

impl Catalog {
    /// Views and audiences that cannot be without one of `subjects`, themselves excepted: those that depend on one, on
    /// one of those, and so on.
    pub fn dependents(&self, subjects: &[Subject]) -> BTreeSet<Relation> {
        let mut gone: BTreeSet<Subject> = subjects.iter().copied().collect();
        loop {
            let before = gone.len();
            for (relation, table, predicate, columns) in self.definitions() {
                let mut lost = gone.contains(&Subject::Relation(Relation::Table(table)));
                let mut needs = |subject| lost |= gone.contains(&subject);
                columns.into_iter().for_each(|column| needs(Subject::Column(table, column)));
                if let Some(predicate) = predicate {
                    predicate.for_each_dependency(&mut |dependency| match dependency {
                        Dependency::Column(column) => needs(Subject::Column(table, column)),
                        Dependency::Audience(audience) => {
                            needs(Subject::Relation(Relation::Audience(audience)));
                        }
                    });
                }
                if lost {
                    gone.insert(Subject::Relation(relation));
                }
            }
            if gone.len() == before {
                break;
            }
        }
        let others = gone.into_iter().filter(|subject| !subjects.contains(subject));
        others
            .filter_map(|subject| match subject {
                Subject::Relation(relation) => Some(relation),
                Subject::Column(..) => None,
            })
            .collect()
    }

    /// Each view and audience with its table, its condition, and the columns that it names beside.
    fn definitions(&self) -> Vec<(Relation, TableId, Option<&Predicate>, Vec<ColumnId>)> {
        let views = self.views.iter().map(|view| {
            let columns = view.columns.iter().map(|column| column.column).collect();
            (Relation::View(view.id), view.table, Some(view.predicate.get()), columns)
        });
        let audiences = self.audiences.iter().map(|audience| {
            let predicate = match &audience.kind {
                AudienceKind::Dynamic(predicate) => Some(predicate.get()),
                AudienceKind::Static { .. } => None,
            };
            (Relation::Audience(audience.id), audience.table, predicate, Vec::new())
        });
        views.chain(audiences).collect()
    }

    /// The way from an audience back to itself, in names, if there is one.
    pub fn cycle(&self, from: AudienceId) -> Option<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut path = Vec::new();
        self.leads_back(from, from, &mut seen, &mut path).then_some(path)
    }

    fn leads_back(
        &self,
        at: AudienceId,
        from: AudienceId,
        seen: &mut BTreeSet<AudienceId>,
        path: &mut Vec<String>,
    ) -> bool {
        let Some(record) = self.audience(at) else { return false };
        let mut next = BTreeSet::new();
        if let AudienceKind::Dynamic(predicate) = &record.kind {
            predicate.get().for_each_dependency(&mut |dependency| {
                if let Dependency::Audience(audience) = dependency {
                    next.insert(audience);
                }
            });
        }
        path.push(record.name.clone());
        if next.contains(&from) {
            path.extend(self.audience(from).map(|record| record.name.clone()));
            return true;
        }
        if next
            .into_iter()
            .any(|audience| seen.insert(audience) && self.leads_back(audience, from, seen, path))
        {
            return true;
        }
        path.pop();
        false
    }
}
