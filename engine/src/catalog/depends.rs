//! What depends on what: columns on their table; views and audiences on their table and on the columns, audiences and
//! views that they name.

use super::{AudienceKind, Catalog, Definition, Relation};
use crate::predicate::{AudienceId, Dependency};
use crate::schema::{ColumnId, TableId};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

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
        let needs = self.needs();
        let mut gone: BTreeSet<Subject> = subjects.iter().copied().collect();
        loop {
            let before = gone.len();
            for (relation, needed) in &needs {
                if !needed.is_disjoint(&gone) {
                    gone.insert(Subject::Relation(*relation));
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

    /// Refuses a view or audience that needs what does not exist.
    pub(crate) fn check_needs(&self) -> Result<()> {
        for (relation, needed) in self.needs() {
            for subject in needed {
                let missing = match subject {
                    Subject::Relation(needed) if !self.has(needed) => self.describe(needed),
                    Subject::Column(table, column) if self.table(table)?.schema.column(column).is_none() => {
                        format!("a missing column, {}", column.0)
                    }
                    _ => continue,
                };
                return Err(Error::Invalid(format!("{} needs {missing}", self.describe(relation))));
            }
        }
        Ok(())
    }

    /// What each view and audience cannot be without, directly.
    fn needs(&self) -> BTreeMap<Relation, BTreeSet<Subject>> {
        let views = self.views.iter().map(|view| {
            let mut needed = needed(view.table, Some(&view.definition));
            needed.extend(view.columns.iter().map(|shown| Subject::Column(view.table, shown.column)));
            (Relation::View(view.id), needed)
        });
        let audiences = self.audiences.iter().map(|audience| {
            let definition = match &audience.kind {
                AudienceKind::Dynamic(definition) => Some(definition),
                AudienceKind::Static { .. } => None,
            };
            (Relation::Audience(audience.id), needed(audience.table, definition))
        });
        views.chain(audiences).collect()
    }

    /// The way from an audience back to itself, in names, if there is one.
    pub fn cycle(&self, from: AudienceId) -> Option<Vec<String>> {
        let from = Relation::Audience(from);
        let (mut seen, mut path) = (BTreeSet::new(), Vec::new());
        let found = leads_back(&self.needs(), from, from, &mut seen, &mut path);
        found.then(|| path.into_iter().filter_map(|relation| self.name(relation).cloned()).collect())
    }
}

/// What a definition over a table names.
fn needed(table: TableId, definition: Option<&Definition>) -> BTreeSet<Subject> {
    let mut needed = BTreeSet::from([Subject::Relation(Relation::Table(table))]);
    if let Some(definition) = definition {
        needed.extend(definition.views().iter().map(|view| Subject::Relation(Relation::View(*view))));
        definition.predicate().for_each_dependency(&mut |dependency| {
            if let Dependency::ColumnOf(table, _) = dependency {
                needed.insert(Subject::Relation(Relation::Table(table)));
            }
            needed.insert(match dependency {
                Dependency::Column(column) => Subject::Column(table, column),
                Dependency::ColumnOf(table, column) => Subject::Column(table, column),
                Dependency::Audience(audience) => Subject::Relation(Relation::Audience(audience)),
            });
        });
    }
    needed
}

fn leads_back(
    needs: &BTreeMap<Relation, BTreeSet<Subject>>,
    at: Relation,
    from: Relation,
    seen: &mut BTreeSet<Relation>,
    path: &mut Vec<Relation>,
) -> bool {
    path.push(at);
    for subject in needs.get(&at).into_iter().flatten() {
        let Subject::Relation(next) = *subject else { continue };
        if next == from {
            path.push(from);
            return true;
        }
        if seen.insert(next) && leads_back(needs, next, from, seen, path) {
            return true;
        }
    }
    path.pop();
    false
}
