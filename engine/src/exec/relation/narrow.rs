//! Members that other clauses leave out are not asked: in a conjunction, the truth of each member is asked of those only for
//! which its plain clauses are true.

use crate::predicate::{Derived, Predicate, Relation, Scan, Tie};
use crate::schema::ColumnId;
use std::sync::Arc;

/// A predicate that is TRUE of the same members, though not FALSE or unknown of the same ones.
pub(in crate::exec) fn narrowed(predicate: Predicate) -> Predicate {
    match predicate {
        Predicate::And(terms) => Predicate::And(conjunction(terms, &[])),
        other => other,
    }
}

fn conjunction(terms: Vec<Predicate>, around: &[Predicate]) -> Vec<Predicate> {
    let plain: Vec<Predicate> =
        around.iter().chain(terms.iter().filter(|term| is_plain(term))).cloned().collect();
    if plain.is_empty() && !terms.iter().any(|term| matches!(term, Predicate::And(_))) {
        return terms;
    }
    let narrow = |term| match term {
        Predicate::And(inner) => Predicate::And(conjunction(inner, &plain)),
        Predicate::Derived(derived) => Predicate::Derived(asked_of(derived, &plain)),
        other => other,
    };
    terms.into_iter().map(narrow).collect()
}

fn is_plain(predicate: &Predicate) -> bool {
    let mut plain = true;
    predicate.for_each_related(&mut |_| plain = false);
    predicate.for_each_derived(&mut |_| plain = false);
    plain
}

/// The condition, asked of the members of other conditions.
fn asked_of(derived: Arc<Derived>, plain: &[Predicate]) -> Arc<Derived> {
    if plain.is_empty() || !matches!(derived.tie, Tie::Truth { .. }) {
        return derived;
    }
    let mut narrowed = Derived::clone(&derived);
    match members(&mut narrowed.rows) {
        Some(scan) => {
            let known = std::mem::replace(&mut scan.condition, Predicate::everyone());
            scan.condition = Predicate::And([&[known], plain].concat());
            Arc::new(narrowed)
        }
        None => derived,
    }
}

/// Where the members are read, if every step above makes one row of each.
fn members(rows: &mut Relation) -> Option<&mut Scan> {
    match rows {
        Relation::Scan(scan) => scan.columns.iter().any(|(own, _)| *own == ColumnId::LIVE).then_some(scan),
        Relation::Filter { input, .. } | Relation::Compute { input, .. } => members(input),
        Relation::Join(join) => members(&mut join.left),
        Relation::Append { .. }
        | Relation::Group { .. }
        | Relation::Window { .. }
        | Relation::Sort { .. } => None,
    }
}
