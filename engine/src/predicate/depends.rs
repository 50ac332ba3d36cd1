//! What a predicate needs: without it, the predicate cannot be asked.

use super::{AudienceId, Predicate};
use crate::schema::ColumnId;

/// Something that a predicate names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dependency {
    /// A column of its table.
    Column(ColumnId),
    /// Another audience of its table.
    Audience(AudienceId),
}

impl Predicate {
    /// Names every column and audience that is needed, perhaps more than once.
    pub fn for_each_dependency(&self, hear: &mut impl FnMut(Dependency)) {
        match self {
            Predicate::Const(_) | Predicate::Members(_) => {}
            Predicate::And(terms) | Predicate::Or(terms) => {
                terms.iter().for_each(|term| term.for_each_dependency(hear));
            }
            Predicate::Not(inner) => inner.for_each_dependency(hear),
            Predicate::IsTrue(column)
            | Predicate::IsNull(column)
            | Predicate::Compare { column, .. }
            | Predicate::In { column, .. }
            | Predicate::HasAny { column, .. }
            | Predicate::HasAll { column, .. } => hear(Dependency::Column(*column)),
            Predicate::Holds(expr) => expr.for_each_column(&mut |column| hear(Dependency::Column(column))),
            Predicate::Audience(audience) => hear(Dependency::Audience(*audience)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Expr, Function};
    use crate::value::Value;

    #[test]
    fn every_name_is_heard() {
        let sum = Expr::call(Function::Add, [Expr::Column(ColumnId(5)), Expr::value(Value::Integer(1))]);
        let predicate = Predicate::IsTrue(ColumnId(1))
            .and(Predicate::has_tag(ColumnId(2), "vip").not())
            .and(Predicate::Audience(AudienceId(3)).or(Predicate::any_of(ColumnId(4), [])))
            .and(Predicate::Holds(Expr::call(Function::IsNull, [sum])));
        let mut heard = Vec::new();
        predicate.for_each_dependency(&mut |dependency| heard.push(dependency));
        let column = |id| Dependency::Column(ColumnId(id));
        assert_eq!(heard, [column(1), column(2), Dependency::Audience(AudienceId(3)), column(4), column(5)]);
    }
}
