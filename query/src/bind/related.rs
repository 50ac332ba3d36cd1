//! Conditions about the rows of another table that belong to a member: `EXISTS (SELECT … WHERE t.member_id = m.id …)`, and
//! aggregates of them in a comparison, `(SELECT count(*) FROM t WHERE t.member_id = m.id …) < 3`.
//!
//! What ties the rows to their member is one equality of a column of theirs with a column of the statement's table. Grouped by
//! theirs, each group tells the truth of the members with that value; who has no rows gets the truth of no rows, where a count
//! is 0 and every other aggregate NULL.

use super::value::{Plain, Scope, Typed};
use super::{Names, Source, type_error};
use crate::error::{Error, Result, Span};
use crate::outcome::Outcome;
use crate::select::{self, RowsByColumn, has_aggregate};
use crate::statement::{ColumnName, Condition, Constant, Item, Key, Select, Term, TermKind};
use muster_engine::expr::{Expr, Function};
use muster_engine::predicate::{CompareOp, GroupAggregate, Predicate, Related, RelatedRows, Truth, slot_id};
use muster_engine::schema::{Column, ColumnId, DataType};
use muster_engine::value::Value;
use std::sync::Arc;

/// A SELECT about the rows of a member.
struct Tied<'a, 's> {
    /// Their column, as the SELECT names it.
    inner: &'s Term,
    /// The member's column that it equals.
    outer: &'a Column,
    /// The SELECT's other conditions.
    rest: Vec<Condition>,
}

impl<'a> Names<'a> {
    /// `EXISTS (SELECT …)`, which is never unknown.
    pub(super) fn exists(&self, select: &Select, span: Span) -> Result<Predicate> {
        let aggregates = |item: &Item| matches!(item, Item::Output { term, .. } if has_aggregate(term));
        let grouped = !select.group_by.is_empty() || select.having.is_some();
        let cut = select.limit.is_some() || select.offset > 0;
        if grouped || cut || select.items.iter().any(aggregates) {
            let message = "the SELECT of EXISTS has no aggregates, GROUP BY, HAVING, LIMIT and OFFSET";
            return Err(
                Error::unsupported(span, message).advise("write id IN (SELECT … GROUP BY … HAVING …)")
            );
        }
        let Some(tied) = self.tied(select, span)? else {
            let some = Select { limit: Some(1), ..select.clone() };
            let truth = if self.answered(some, span)?.is_empty() { Truth::False } else { Truth::True };
            return Ok(Predicate::Const(truth));
        };
        // What it lists is of no account, but has to be there.
        select::plan(tied.select(select), &self.context)?;
        let items = vec![Item::Output { term: tied.inner.clone(), alias: None }];
        let keys = Select { items, distinct: false, order_by: Vec::new(), ..tied.select(select) };
        let plan = select::plan(keys, &self.context)?;
        let [key] = plan.columns() else { return Err(one_column(span)) };
        check_tied(key.data_type, tied.outer, span)?;
        let RowsByColumn { mut rows, .. } = plan.rows_by_column().ok_or_else(|| only_columns(span))?;
        rows.aggregates.push(GroupAggregate::count());
        let some = Function::Compare(CompareOp::Gt);
        let some = Expr::call(some, [Expr::Column(slot_id(0)), Expr::value(Value::Integer(0))]);
        Ok(related(tied.outer.id, vec![rows], some))
    }

    /// A condition that has a SELECT as a value.
    pub(super) fn related(&self, condition: &Condition) -> Result<Predicate> {
        if let Condition::Compare { left, op, right } = condition {
            let (known_left, known_right) = (self.for_everyone(left)?, self.for_everyone(right)?);
            if known_left.is_some() || known_right.is_some() {
                let left = known_left.unwrap_or_else(|| left.clone());
                let right = known_right.unwrap_or_else(|| right.clone());
                return self.predicate(&Condition::Compare { left, op: *op, right });
            }
        }
        let mut scope = Tie::default();
        let truth = self.truth(condition, &mut scope, 0)?;
        let Some(column) = scope.column else { return Err(is_everyones(scope.span)) };
        Ok(related(column, scope.rows, truth))
    }

    /// `column IN (SELECT by FROM … [GROUP BY by HAVING …])`
    pub(super) fn rows_in(&self, column: &Column, rows: RowsByColumn) -> Option<Predicate> {
        // A group's columns without its key.
        let slot = |id: ColumnId| id.0.checked_sub(slot_id(1).0).map(|at| slot_id(at as usize));
        let truth = match &rows.having {
            None => Expr::value(Value::Boolean(true)),
            Some(having) => having.with_columns(&slot)?,
        };
        let (column, rows) = (column.id, vec![rows.rows]);
        Some(Predicate::Related(Arc::new(Related { column, rows, truth, is_in: true, certainly: None })))
    }

    /// The constant that a SELECT is, where nothing ties it to a member.
    fn for_everyone(&self, term: &Term) -> Result<Option<Term>> {
        let TermKind::Select(select) = &term.kind else { return Ok(None) };
        if self.tied(select, term.span)?.is_some() {
            return Ok(None);
        }
        aggregated(select, term.span)?;
        let constant = match single(self.answered(Select::clone(select), term.span)?) {
            Value::Null => Constant::Null,
            value => Constant::Value(value),
        };
        Ok(Some(Term { kind: TermKind::Constant(constant), span: term.span }))
    }

    /// What ties the rows of a SELECT to a member; `None` where nothing does, and it is the same for everyone.
    fn tied<'s>(&self, select: &'s Select, span: Span) -> Result<Option<Tied<'a, 's>>> {
        let inner = Source::resolve(select.from.clone(), &self.context)?;
        let is_outer = |term: &Term| {
            let TermKind::Column(name) = &term.kind else { return false };
            let has = |source: &Source| source.visible.iter().any(|(known, _)| *known == name.name.text);
            match &name.qualifier {
                Some(qualifier) => qualifier.text != inner.name && qualifier.text == self.source.name,
                None => !has(&inner) && has(self.source),
            }
        };
        let terms = match &select.filter {
            Some(Condition::And(terms)) => terms.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        let mut tied: Option<Tied<'a, 's>> = None;
        let mut rest = Vec::new();
        for term in terms {
            let sides = match term {
                Condition::Compare { left, op: CompareOp::Eq, right } if is_outer(left) => {
                    Some((right, left))
                }
                Condition::Compare { left, op: CompareOp::Eq, right } if is_outer(right) => {
                    Some((left, right))
                }
                _ => None,
            };
            match sides {
                Some((inner, outer))
                    if tied.is_none() && matches!(inner.kind, TermKind::Column(_)) && !is_outer(inner) =>
                {
                    let column = self.column(column_name(outer)?)?;
                    tied = Some(Tied { inner, outer: column, rest: Vec::new() });
                }
                _ if term.any_term(&mut |term| is_outer(term)) => return Err(only_ties(span)),
                _ => rest.push(term.clone()),
            }
        }
        let names_outer = |item: &Item| match item {
            Item::Output { term, .. } => term.any(&mut |term| is_outer(term)),
            Item::Star { .. } => false,
        };
        if select.items.iter().any(names_outer) {
            return Err(only_ties(span));
        }
        Ok(tied.map(|tied| Tied { rest, ..tied }))
    }

    /// The rows of a SELECT that is asked now.
    fn answered(&self, select: Select, span: Span) -> Result<Vec<Vec<Value>>> {
        if self.context.kept.is_some() {
            let message = "what a SELECT of other rows answers would be kept as it is now";
            return Err(Error::unsupported(span, message).advise("make a STATIC AUDIENCE"));
        }
        match select::plan(select, &self.context)?.run(self.context.snapshot, self.context.cancel)? {
            Outcome::Rows { rows, .. } => Ok(rows),
            Outcome::Done { .. } => Ok(Vec::new()),
        }
    }
}

impl Tied<'_, '_> {
    /// The SELECT without its tie.
    fn select(&self, select: &Select) -> Select {
        let filter = (!self.rest.is_empty()).then(|| Condition::And(self.rest.clone()));
        Select { filter, ..select.clone() }
    }
}

fn only_ties(span: Span) -> Error {
    let message = "one equality ties the rows of a SELECT to a member; it names nothing else of the statement around it";
    Error::unsupported(span, message).advise("write WHERE t.member_id = m.id AND …")
}

fn related(column: ColumnId, rows: Vec<RelatedRows>, truth: Expr) -> Predicate {
    Predicate::Related(Arc::new(Related { column, rows, truth, is_in: false, certainly: None }))
}

/// True of types whose values are equal without a conversion; a DOUBLE PRECISION beside another number is the nearest one.
pub(super) fn are_equal_exactly(a: DataType, b: DataType) -> bool {
    let exact = |data_type: DataType| data_type.is_number() && data_type != DataType::Double;
    a == b || (exact(a) && exact(b))
}

/// Refuses a column that is never equal to the one that ties.
fn check_tied(from: DataType, column: &Column, span: Span) -> Result<()> {
    let to = column.data_type;
    if to != DataType::TextArray && are_equal_exactly(from, to) {
        return Ok(());
    }
    let message = format!("column \"{}\" is {to} and equals no {from}", column.name);
    Err(type_error(span, message)
        .advise("columns that tie rows to their member are of one type, or both exact numbers"))
}

fn only_columns(span: Span) -> Error {
    Error::unsupported(span, "rows are tied to their member by a column of theirs, not by what is computed")
}

fn is_everyones(span: Option<Span>) -> Error {
    let message = "a SELECT that is the same for everyone is compared as it is, not computed with";
    Error::unsupported(span, message)
}

fn column_name(term: &Term) -> Result<&ColumnName> {
    match &term.kind {
        TermKind::Column(name) => Ok(name),
        _ => Err(type_error(term.span, "expected a column")),
    }
}

/// What a comparison with SELECTs refers to: their aggregates, as the columns of a group.
#[derive(Default)]
struct Tie {
    /// The member's column that all are tied to.
    column: Option<ColumnId>,
    /// The type of the rows' columns.
    key: Option<DataType>,
    rows: Vec<RelatedRows>,
    span: Option<Span>,
}

impl Tie {
    fn aggregate(&mut self, names: &Names<'_>, select: &Select, span: Span) -> Result<Typed> {
        let term = aggregated(select, span)?;
        self.span = Some(span);
        let Some(tied) = names.tied(select, span)? else { return Err(is_everyones(self.span)) };
        if self.column.is_some_and(|column| column != tied.outer.id) {
            let message = "the SELECTs of a comparison are tied to different columns";
            return Err(Error::unsupported(span, message));
        }
        self.column = Some(tied.outer.id);
        let items = [tied.inner, term].map(|term| Item::Output { term: term.clone(), alias: None });
        let group_by = vec![Key::Term(tied.inner.clone())];
        let grouped = Select { items: items.into(), group_by, ..tied.select(select) };
        let plan = select::plan(grouped, &names.context)?;
        let [key, value] = plan.columns() else { return Err(one_column(span)) };
        check_tied(key.data_type, tied.outer, span)?;
        if self.key.replace(key.data_type).is_some_and(|known| known != key.data_type) {
            let message = "the SELECTs of a comparison are tied by columns of different types";
            return Err(type_error(span, message));
        }
        let data_type = value.data_type;
        let first = self.rows.iter().map(|rows| rows.aggregates.len()).sum::<usize>();
        let slot = |id: ColumnId| id.0.checked_sub(slot_id(1).0).map(|at| slot_id(first + at as usize));
        let rows = plan.rows_by_column().ok_or_else(|| only_columns(span))?;
        let value = rows.outputs.first().and_then(|value| value.with_columns(&slot));
        self.rows.push(rows.rows);
        Ok(Typed::new(value.ok_or_else(|| only_columns(span))?, data_type, span))
    }
}

impl Scope for Tie {
    fn take(&mut self, names: &Names<'_>, term: &Term) -> Result<Option<Typed>> {
        match &term.kind {
            TermKind::Select(select) => self.aggregate(names, select, term.span).map(Some),
            TermKind::Column(_) => {
                let message = "a SELECT of a member's rows is not computed with the member's own columns";
                Err(Error::unsupported(term.span, message)
                    .advise("it is compared with constants, and with other such SELECTs"))
            }
            _ => Plain.take(names, term),
        }
    }
}

/// The aggregate that a SELECT is as a value.
fn aggregated(select: &Select, span: Span) -> Result<&Term> {
    let [Item::Output { term, .. }] = select.items.as_slice() else { return Err(one_column(span)) };
    let grouped = !select.group_by.is_empty() || select.having.is_some() || select.distinct;
    let cut = !select.order_by.is_empty() || select.limit.is_some() || select.offset > 0;
    if grouped || cut || !has_aggregate(term) {
        let message = "a SELECT is a value where it is an aggregate, without GROUP BY, ORDER BY and LIMIT";
        return Err(Error::unsupported(span, message)
            .advise("write (SELECT count(*) FROM t WHERE t.member_id = m.id AND …) < 3"));
    }
    Ok(term)
}

fn one_column(span: Span) -> Error {
    type_error(span, "a SELECT that is a value has one column")
}

/// The value of an aggregate without groups.
fn single(rows: Vec<Vec<Value>>) -> Value {
    rows.into_iter().flatten().next().unwrap_or(Value::Null)
}
