//! Audiences in a plan: the definition takes the place of the name, so that its clauses are merged, ordered and costed
//! with all others.

use super::{AUDIENCES_MAX, Node, Planner};
use crate::Result;
use crate::audience::expand::{too_many, unknown};
use crate::audience::truth::certainly;
use crate::predicate::{AudienceId, Predicate};

impl Planner<'_, '_> {
    /// The members of an audience, or with `negated` everybody else.
    pub(super) fn lower_audience(&mut self, id: AudienceId, negated: bool, depth: usize) -> Result<Node> {
        self.audiences += 1;
        if self.audiences > AUDIENCES_MAX {
            return Err(too_many());
        }
        let table = self.table;
        let definition = table.audience(id).ok_or_else(|| unknown(id))?;
        match definition {
            // The members of a static audience: never unknown.
            Predicate::IsTrue(column) if table.is_hidden(*column) => {
                self.lower(definition, negated, depth + 1)
            }
            definition if negated => self.lower(&certainly(definition, true), true, depth + 1),
            // Of those inside it does not matter who is outside and who unknown.
            definition => self.lower(definition, false, depth + 1),
        }
    }
}
