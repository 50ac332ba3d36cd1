//! Terms that compare the same expression become one: `f = 1 OR f = 2` is `f IN (1, 2)`, `f > 1 OR f > 2` is `f > 1`.
//!
//! What is unknown stays so, and an error is the same error: each term computes `f` and nothing else that could fail, and
//! is NULL where it is NULL.

use super::holds::Term;
use crate::eval::compare;
use crate::expr::{Expr, Function};
use crate::predicate::{CompareOp, Literal};
use crate::value::Value;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::cmp::Ordering;

/// `of op values`: with `=` any of them, with `<>` none of them.
struct Comparison {
    of: Expr,
    op: CompareOp,
    values: Vec<Value>,
}

/// The terms of an AND (`all`) or OR, those merged that can be; each stays where the first of its kind was.
pub(super) fn merged(terms: Vec<Term>, all: bool) -> Vec<Term> {
    let mut kept: Vec<Result<Comparison, Term>> = Vec::with_capacity(terms.len());
    let mut places = HashMap::new();
    for term in terms {
        let new =
            Comparison::of(&term).filter(|new| new.op != if all { CompareOp::Eq } else { CompareOp::Ne });
        let Some(new) = new else {
            kept.push(Err(term));
            continue;
        };
        let lower = matches!(new.op, CompareOp::Gt | CompareOp::Ge);
        let list = matches!(new.op, CompareOp::Eq | CompareOp::Ne);
        match places.entry((format!("{:?}", new.of), lower, list)) {
            Entry::Vacant(place) => drop(place.insert(kept.len())),
            Entry::Occupied(place) => {
                if let Ok(first) = &mut kept[*place.get()]
                    && first.join(&new, all)
                {
                    continue;
                }
            }
        }
        kept.push(Ok(new));
    }
    kept.into_iter().map(|kept| kept.map_or_else(|term| term, Comparison::into_term)).collect()
}

impl Comparison {
    /// A comparison with constants, if the term is one.
    fn of((expr, wanted): &Term) -> Option<Comparison> {
        let Expr::Call { function, arguments } = expr else { return None };
        let literal = |expr: &Expr| match expr {
            Expr::Literal(Literal::Value(value)) if *value != Value::Null => Some(value.clone()),
            _ => None,
        };
        let (of, op, values) = match (function, arguments.as_slice()) {
            (Function::Not, [inner]) => return Comparison::of(&(inner.clone(), !wanted)),
            (Function::In, [of, list @ ..]) => {
                (of, CompareOp::Eq, list.iter().map(literal).collect::<Option<Vec<_>>>()?)
            }
            (Function::Compare(op), [of, constant]) if literal(constant).is_some() => {
                (of, *op, vec![literal(constant)?])
            }
            (Function::Compare(op), [constant, of]) => (of, op.flipped(), vec![literal(constant)?]),
            _ => return None,
        };
        let op = if *wanted { op } else { op.negated() };
        (!values.is_empty()).then(|| Comparison { of: of.clone(), op, values })
    }

    /// Takes in another comparison of the same expression, both below or above something or both with lists; false where
    /// the constants cannot be compared.
    fn join(&mut self, other: &Comparison, all: bool) -> bool {
        if matches!(self.op, CompareOp::Eq | CompareOp::Ne) {
            self.values.extend_from_slice(&other.values);
            return true;
        }
        let Ok(Some(order)) = compare(&other.values[0], &self.values[0]) else { return false };
        // Of one that is above both the lower bound says more in an OR, the upper one in an AND; at the same place the open
        // bound is the stricter.
        let stricter = match (order, self.op) {
            (Ordering::Equal, _) => matches!(other.op, CompareOp::Gt | CompareOp::Lt),
            (order, CompareOp::Gt | CompareOp::Ge) => order.is_gt(),
            (order, _) => order.is_lt(),
        };
        if stricter == all {
            self.op = other.op;
            self.values.clone_from(&other.values);
        }
        true
    }

    fn into_term(self) -> Term {
        let mut arguments = vec![self.of];
        arguments.extend(self.values.into_iter().map(Expr::value));
        if arguments.len() == 2 {
            return (Expr::call(Function::Compare(self.op), arguments), true);
        }
        (Expr::call(Function::In, arguments), self.op == CompareOp::Eq)
    }
}
