//! What a predicate needs: without it, the predicate cannot be asked.

use super::{AudienceId, Derived, Predicate, Related, Tie};
use crate::schema::{ColumnId, TableId};

/// Something that a predicate names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dependency {
    /// A column of its table.
    Column(ColumnId),
    /// A column of another table.
    ColumnOf(TableId, ColumnId),
    /// An audience.
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
            Predicate::Related(related) => related.for_each_dependency(hear),
            Predicate::Derived(derived) => derived.for_each_dependency(hear),
        }
    }
}

impl Related {
    /// The names apart from the recursion above: they are heard through a function of one type.
    fn for_each_dependency(&self, hear: &mut dyn FnMut(Dependency)) {
        hear(Dependency::Column(self.column));
        for rows in &self.rows {
            let mut elsewhere = |dependency| match dependency {
                Dependency::Column(column) => hear(Dependency::ColumnOf(rows.table, column)),
                dependency => hear(dependency),
            };
            elsewhere(Dependency::Column(rows.by));
            let elsewhere: &mut dyn FnMut(Dependency) = &mut elsewhere;
            rows.condition.for_each_dependency(&mut |dependency| elsewhere(dependency));
            for aggregate in &rows.aggregates {
                if let Some(argument) = &aggregate.argument {
                    argument.for_each_column(&mut |column| elsewhere(Dependency::Column(column)));
                }
                if let Some(filter) = &aggregate.filter {
                    filter.for_each_dependency(&mut |dependency| elsewhere(dependency));
                }
            }
        }
    }
}

impl Derived {
    /// As [`Related::for_each_dependency`].
    fn for_each_dependency(&self, hear: &mut dyn FnMut(Dependency)) {
        if let Tie::In { column, .. } = self.tie {
            hear(Dependency::Column(column));
        }
        self.rows.for_each_scan(&mut |scan| {
            let mut elsewhere = |dependency| match dependency {
                Dependency::Column(column) => hear(Dependency::ColumnOf(scan.table, column)),
                dependency => hear(dependency),
            };
            let columns = scan.columns.iter().map(|(column, _)| *column);
            columns
                .filter(|column| *column != ColumnId::LIVE)
                .for_each(|column| elsewhere(Dependency::Column(column)));
            let elsewhere: &mut dyn FnMut(Dependency) = &mut elsewhere;
            scan.condition.for_each_dependency(&mut |dependency| elsewhere(dependency));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Expr, Function};
    use crate::predicate::{GroupAggregate, RelatedRows};
    use crate::value::Value;
    use std::sync::Arc;

    #[test]
    fn every_name_is_heard() {
        let sum = Expr::call(Function::Add, [Expr::Column(ColumnId(5)), Expr::value(Value::Integer(1))]);
        let predicate = Predicate::IsTrue(ColumnId(1))
            .and(Predicate::has_tag(ColumnId(2), "vip").not())
            .and(Predicate::Audience(AudienceId(3)).or(Predicate::any_of(ColumnId(4), [])))
            .and(Predicate::Holds(Expr::call(Function::IsNull, [sum])));
        let rows = RelatedRows {
            table: TableId(7),
            by: ColumnId(8),
            condition: Predicate::IsTrue(ColumnId(9)).and(Predicate::Audience(AudienceId(10))),
            aggregates: vec![GroupAggregate {
                argument: Some(Expr::Column(ColumnId(11))),
                filter: Some(Predicate::IsNull(ColumnId(12))),
                ..GroupAggregate::count()
            }],
        };
        let (truth, column) = (Expr::Column(ColumnId(1)), ColumnId(6));
        let related = Related { column, rows: vec![rows], truth, is_in: false, certainly: None };
        let predicate = predicate.and(Predicate::Related(Arc::new(related)));
        let mut heard = Vec::new();
        predicate.for_each_dependency(&mut |dependency| heard.push(dependency));
        let column = |id| Dependency::Column(ColumnId(id));
        let of = |id| Dependency::ColumnOf(TableId(7), ColumnId(id));
        let audience = |id| Dependency::Audience(AudienceId(id));
        let own = [column(1), column(2), audience(3), column(4), column(5), column(6)];
        let theirs = [of(8), of(9), audience(10), of(11), of(12)];
        assert_eq!(heard, [own.as_slice(), &theirs].concat());
    }
}
