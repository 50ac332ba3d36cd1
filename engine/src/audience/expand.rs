//! Definitions in the place of names: for those who read predicates and know no audiences, like the naive evaluator.

use super::truth::certainly;
use crate::plan::{AUDIENCES_MAX, DEPTH_MAX};
use crate::predicate::{AudienceId, Predicate};
use crate::{Error, Result};

/// The predicate without audiences: each is replaced by its definition, made two-valued, and so on within.
///
/// # Errors
/// An audience that `definition` does not know, and more than [`AUDIENCES_MAX`] replacements or [`DEPTH_MAX`] levels.
pub fn expand<'a>(
    predicate: &Predicate,
    definition: &dyn Fn(AudienceId) -> Option<&'a Predicate>,
) -> Result<Predicate> {
    Expansion { definition, replaced: 0 }.of(predicate, 0)
}

struct Expansion<'d, 'a> {
    definition: &'d dyn Fn(AudienceId) -> Option<&'a Predicate>,
    replaced: usize,
}

impl Expansion<'_, '_> {
    fn of(&mut self, predicate: &Predicate, depth: usize) -> Result<Predicate> {
        with_leaves(predicate, depth, &mut |leaf, depth| {
            let Predicate::Audience(id) = leaf else { return Ok(leaf.clone()) };
            self.replaced += 1;
            if self.replaced > AUDIENCES_MAX {
                return Err(too_many());
            }
            let definition = (self.definition)(*id).ok_or_else(|| unknown(*id))?;
            self.of(&certainly(definition, true), depth + 1)
        })
    }
}

/// The same AND, OR and NOT of other leaves: `leaf` gives what comes in the place of each, at its depth.
pub(crate) fn with_leaves(
    predicate: &Predicate,
    depth: usize,
    leaf: &mut dyn FnMut(&Predicate, usize) -> Result<Predicate>,
) -> Result<Predicate> {
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    let mut each = |terms: &[Predicate]| -> Result<Vec<Predicate>> {
        terms.iter().map(|term| with_leaves(term, depth + 1, leaf)).collect()
    };
    Ok(match predicate {
        Predicate::And(terms) => Predicate::And(each(terms)?),
        Predicate::Or(terms) => Predicate::Or(each(terms)?),
        Predicate::Not(inner) => with_leaves(inner, depth + 1, leaf)?.not(),
        one => leaf(one, depth)?,
    })
}

/// No audience of the table asked.
pub(crate) fn unknown(id: AudienceId) -> Error {
    Error::Invalid(format!("there is no audience {} of this table", id.0))
}

/// Definitions that are deeper than can be evaluated.
pub(crate) fn too_deep() -> Error {
    Error::Invalid(format!(
        "a predicate is at most {DEPTH_MAX} levels deep, the definitions of its audiences included"
    ))
}

/// Definitions that name each other too often.
pub(crate) fn too_many() -> Error {
    Error::Invalid(format!(
        "a predicate names at most {AUDIENCES_MAX} audiences, those in the definitions of others included; \
         make one of them a static audience"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ColumnId;

    #[test]
    fn definitions_that_grow_without_end_are_refused() {
        let doubled = Predicate::Audience(AudienceId(1)).or(Predicate::Audience(AudienceId(1)).not());
        let error = expand(&doubled, &|_| Some(&doubled)).unwrap_err().to_string();
        assert!(error.contains("at most"), "{error}");
        let itself = Predicate::Audience(AudienceId(1));
        let error = expand(&itself, &|_| Some(&itself)).unwrap_err().to_string();
        assert!(error.contains("levels deep"), "{error}");
        let error = expand(&itself, &|_| None).unwrap_err().to_string();
        assert_eq!(error, "there is no audience 1 of this table");
    }

    #[test]
    fn what_is_unknown_is_outside() {
        let definition = Predicate::IsTrue(ColumnId(1));
        let outside = expand(&Predicate::Audience(AudienceId(1)).not(), &|_| Some(&definition)).unwrap();
        let truth = crate::eval::eval(&outside, 0, &|_| crate::Value::Null).unwrap();
        assert_eq!(truth, crate::predicate::Truth::True);
    }
}
