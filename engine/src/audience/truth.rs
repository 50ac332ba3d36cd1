//! `(condition) IS TRUE` and `(condition) IS FALSE` without a third truth value, from the structure of the condition.
//!
//! NOT and the connectives move inwards (De Morgan), down to conditions on one column. Those are unknown exactly where
//! the column is NULL, but for NULLs among their literals, which are dealt with here.

use crate::expr::{Expr, Function};
use crate::predicate::{Derived, Literal, Predicate, Related, Truth};
use crate::value::Value;
use std::sync::Arc;

/// A condition that is TRUE where `predicate` is `truth`, and FALSE everywhere else: it is never unknown.
pub fn certainly(predicate: &Predicate, truth: bool) -> Predicate {
    let each = |terms: &[Predicate]| terms.iter().map(|term| certainly(term, truth)).collect();
    let directed = |leaf: Predicate| if truth { leaf } else { leaf.not() };
    match predicate {
        Predicate::Const(known) => {
            let wanted = if truth { Truth::True } else { Truth::False };
            Predicate::Const(if *known == wanted { Truth::True } else { Truth::False })
        }
        Predicate::And(terms) if truth => Predicate::And(each(terms)),
        Predicate::And(terms) => Predicate::Or(each(terms)),
        Predicate::Or(terms) if truth => Predicate::Or(each(terms)),
        Predicate::Or(terms) => Predicate::And(each(terms)),
        Predicate::Not(inner) => certainly(inner, !truth),
        Predicate::IsNull(_) | Predicate::Audience(_) | Predicate::Members(_) => directed(predicate.clone()),
        // Said of what it comes to.
        Predicate::Related(related) if related.certainly.is_none() => {
            Predicate::Related(Arc::new(Related { certainly: Some(truth), ..Related::clone(related) }))
        }
        Predicate::Derived(derived) if derived.certainly.is_none() => {
            Predicate::Derived(Arc::new(Derived { certainly: Some(truth), ..Derived::clone(derived) }))
        }
        Predicate::Related(_) | Predicate::Derived(_) => directed(predicate.clone()),
        Predicate::Holds(expr) => {
            let wanted = Expr::value(Value::Boolean(truth));
            Predicate::Holds(Expr::call(Function::Same, [expr.clone(), wanted]))
        }
        Predicate::Compare { literal: Literal::Value(Value::Null), .. } => Predicate::Const(Truth::False),
        Predicate::In { column, literals } => {
            let is_null = |literal: &Literal| *literal == Literal::Value(Value::Null);
            if literals.is_empty() {
                // FALSE whatever the column has, NULL too.
                return Predicate::Const(if truth { Truth::False } else { Truth::True });
            }
            if !truth && literals.iter().any(is_null) {
                // A hit is TRUE, a miss unknown.
                return Predicate::Const(Truth::False);
            }
            let literals = literals.iter().filter(|literal| !is_null(literal)).cloned().collect();
            directed(Predicate::In { column: *column, literals }).and(Predicate::IsNull(*column).not())
        }
        Predicate::IsTrue(column)
        | Predicate::Compare { column, .. }
        | Predicate::HasAny { column, .. }
        | Predicate::HasAll { column, .. } => {
            directed(predicate.clone()).and(Predicate::IsNull(*column).not())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::eval;
    use crate::predicate::CompareOp;
    use crate::schema::ColumnId;
    use proptest::prelude::*;

    const NUMBER: ColumnId = ColumnId(1);
    const YES: ColumnId = ColumnId(2);
    const TAGS: ColumnId = ColumnId(3);

    fn any_predicate() -> impl Strategy<Value = Predicate> {
        let literal = prop_oneof![3 => (0i64..3).prop_map(Value::Integer), 1 => Just(Value::Null)];
        let truths = vec![Truth::True, Truth::False, Truth::Unknown];
        let leaf = prop_oneof![
            proptest::sample::select(truths).prop_map(Predicate::Const),
            Just(Predicate::IsTrue(YES)),
            Just(Predicate::IsNull(NUMBER)),
            literal.clone().prop_map(|literal| Predicate::compare(NUMBER, CompareOp::Le, literal)),
            proptest::collection::vec(literal, 0..3).prop_map(|list| Predicate::any_of(NUMBER, list)),
            Just(Predicate::has_tag(TAGS, "a")),
            Just(Predicate::HasAll { column: TAGS, tags: vec![] }),
        ];
        leaf.prop_recursive(4, 16, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Predicate::And),
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Predicate::Or),
                inner.prop_map(Predicate::not),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_true_or_false_as_the_condition_is_certain(predicate in any_predicate()) {
            let null_or = |null: bool, value: Value| if null { Value::Null } else { value };
            for member in 0..32 {
                let value_of = |column: ColumnId| match column {
                    NUMBER => null_or(member % 4 == 3, Value::Integer(member % 4)),
                    YES => null_or(member / 4 % 3 == 2, Value::Boolean(member / 4 % 3 == 1)),
                    _ => null_or(member % 7 == 6, Value::tags((0..member % 2).map(|_| "a".into()))),
                };
                let known = eval(&predicate, 0, &value_of).unwrap();
                for (truth, wanted) in [(true, Truth::True), (false, Truth::False)] {
                    let expected = if known == wanted { Truth::True } else { Truth::False };
                    prop_assert_eq!(eval(&certainly(&predicate, truth), 0, &value_of).unwrap(), expected);
                }
            }
        }
    }
}
