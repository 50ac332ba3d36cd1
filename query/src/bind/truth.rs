//! Conditions as values: TRUE, FALSE or NULL of a member, where no index has a form for them, and of a group.

use super::literal::tag_of;
use super::value::Scope;
use super::{Names, function, type_error};
use crate::error::{Error, Result, Span};
use crate::statement::{Condition, Is, SetOp, Term, TermKind};
use muster_engine::expr::{Expr, Function, Pattern};
use muster_engine::predicate::CompareOp;
use muster_engine::schema::DataType;
use muster_engine::value::Value;

impl Names<'_> {
    /// A value that is a condition.
    pub(super) fn boolean(&self, term: &Term, scope: &mut dyn Scope, depth: usize) -> Result<Expr> {
        let typed = self.value_at(term, scope, depth + 1)?;
        let typed = self.as_type(typed, DataType::Boolean)?;
        match typed.data_type {
            Some(DataType::Boolean) => Ok(typed.expr),
            None if typed.is_null() => Ok(typed.expr),
            _ => Err(type_error(typed.span, format!("expected a condition, found {}", typed.describe()))),
        }
    }

    /// A condition as a value, TRUE, FALSE or NULL.
    pub(crate) fn truth(&self, condition: &Condition, scope: &mut dyn Scope, depth: usize) -> Result<Expr> {
        let (function, terms) = match condition {
            Condition::And(terms) => (Function::And, terms.as_slice()),
            Condition::Or(terms) => (Function::Or, terms.as_slice()),
            Condition::Not(inner) => (Function::Not, std::slice::from_ref(&**inner)),
            leaf => return self.truth_of_leaf(leaf, scope, depth),
        };
        let mut arguments = Vec::with_capacity(terms.len());
        for term in terms {
            arguments.push(self.truth(term, scope, depth + 1)?);
        }
        Ok(Expr::call(function, arguments))
    }

    /// A condition without AND, OR and NOT. Apart from them, so that nesting costs a small frame a level.
    #[inline(never)]
    fn truth_of_leaf(&self, condition: &Condition, scope: &mut dyn Scope, depth: usize) -> Result<Expr> {
        if let Some(known) = scope.take_condition(self, condition)? {
            return Ok(known);
        }
        let mut value = |term: &Term| self.value_at(term, scope, depth + 1);
        Ok(match condition {
            Condition::And(_) | Condition::Or(_) | Condition::Not(_) => {
                self.truth(condition, scope, depth + 1)?
            }
            Condition::Term(term) => self.boolean(term, scope, depth)?,
            Condition::Compare { left, op, right } => {
                let (left, right) = (value(left)?, value(right)?);
                if left.is_null() || right.is_null() {
                    return Ok(Expr::value(Value::Null));
                }
                let (left, right) = self.comparable(left, right)?;
                Expr::call(Function::Compare(*op), [left, right])
            }
            Condition::Distinct { left, right } => {
                let (left, right) = self.comparable(value(left)?, value(right)?)?;
                Expr::call(Function::Not, [Expr::call(Function::Same, [left, right])])
            }
            Condition::In { left, list } => {
                let left = value(left)?;
                let mut arguments = vec![left.expr.clone()];
                for item in list {
                    let (needle, item) = self.comparable(left.clone(), value(item)?)?;
                    if needle != left.expr {
                        return Err(type_error(left.span, "the values of IN have several types")
                            .advise("write column = a OR column = b"));
                    }
                    arguments.push(item);
                }
                Expr::call(Function::In, arguments)
            }
            Condition::Matches { left, kind, pattern } => {
                let (left, pattern) = (value(left)?, value(pattern)?);
                let left = self.as_type(left, DataType::Text)?;
                if pattern.is_null() {
                    return Ok(Expr::value(Value::Null));
                }
                let Some(text) = pattern.text() else {
                    return Err(type_error(pattern.span, "a pattern is a constant text in single quotes"));
                };
                if left.known_type() != DataType::Text {
                    let message = format!("expected a text to match, found {}", left.describe());
                    return Err(type_error(left.span, message).advise("CAST(value AS TEXT) makes one"));
                }
                let pattern = Pattern { kind: *kind, pattern: text.to_owned() };
                function::check_pattern(&pattern, pattern_span(condition))?;
                Expr::call(Function::Like(pattern), [left.expr])
            }
            Condition::Is { term, what } => {
                let typed = value(term)?;
                if *what == Is::Null {
                    return Ok(Expr::call(Function::IsNull, [typed.expr]));
                }
                let typed = self.as_type(typed, DataType::Boolean)?;
                if typed.data_type != Some(DataType::Boolean) && !typed.is_null() {
                    let message = format!(
                        "IS TRUE, IS FALSE and IS UNKNOWN ask about booleans, not {}",
                        typed.describe()
                    );
                    return Err(type_error(term.span, message).advise("write IS NULL or IS NOT NULL"));
                }
                match what {
                    Is::True | Is::False => {
                        let wanted = Expr::value(Value::Boolean(*what == Is::True));
                        Expr::call(Function::Same, [typed.expr, wanted])
                    }
                    Is::Unknown | Is::Null => Expr::call(Function::IsNull, [typed.expr]),
                }
            }
            Condition::Quantified { left, op, all, right } => {
                let found = match (&left.kind, &right.kind) {
                    (TermKind::Constant(tag), TermKind::Column(name)) => {
                        let tags = value(right)?.expr;
                        self.tags_column(name, right.span)?;
                        Expr::call(Function::HasAny(vec![tag_of(tag.clone(), left.span)?]), [tags])
                    }
                    (_, TermKind::Array(list)) => self.truth(
                        &Condition::In { left: left.clone(), list: list.clone() },
                        scope,
                        depth + 1,
                    )?,
                    (_, TermKind::List(values)) => {
                        let left = value(left)?;
                        let items = values.iter().cloned().map(Expr::value);
                        Expr::call(Function::In, std::iter::once(left.expr).chain(items))
                    }
                    _ => {
                        return Err(type_error(
                            right.span,
                            "ANY and ALL take a TEXT[] column or an array of constants",
                        ));
                    }
                };
                match (op, all) {
                    (CompareOp::Eq, false) => found,
                    (CompareOp::Ne, true) => Expr::call(Function::Not, [found]),
                    _ => {
                        let message = "of the comparisons with ANY and ALL, = ANY and <> ALL are supported";
                        return Err(Error::unsupported(left.span.to(right.span), message));
                    }
                }
            }
            Condition::Sets { left, op, right } => {
                for side in [left, right] {
                    if let TermKind::Column(_) = side.kind {
                        value(side)?;
                    }
                }
                let (column, op, tags) = self.set_test(left, *op, right)?;
                let Some(tags) = tags else { return Ok(Expr::value(Value::Null)) };
                let function =
                    if op == SetOp::Overlaps { Function::HasAny(tags) } else { Function::HasAll(tags) };
                Expr::call(function, [Expr::Column(column)])
            }
            Condition::InSelect { span, .. } | Condition::Exists { span, .. } => {
                return Err(Error::unsupported(*span, "a SELECT inside a value is not supported")
                    .advise("it can stand in WHERE, joined by AND, OR and NOT"));
            }
            Condition::Audience(name) => {
                return Err(Error::unsupported(name.span, "an audience inside a value is not supported")
                    .advise("it can stand in WHERE, joined by AND, OR and NOT"));
            }
        })
    }
}

fn pattern_span(condition: &Condition) -> Span {
    match condition {
        Condition::Matches { pattern, .. } => pattern.span,
        _ => Span { start: 0, end: 0 },
    }
}
