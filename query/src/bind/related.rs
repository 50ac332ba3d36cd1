//! Conditions about the rows of another table that belong to a member: `EXISTS (SELECT … WHERE t.member_id = m.id …)`, and
//! aggregates of them in a comparison, `(SELECT count(*) FROM t WHERE t.member_id = m.id …) < 3`.
//!
//! What ties the rows to their member is one equality of a column of theirs with a column of the statement's table. Grouped by
//! theirs, each group tells the truth of the members with that value; who has no rows gets the truth of no rows, where a count
//! is 0 and every other aggregate NULL.

use super::condition::{SELECTED_MAX, too_many_selected};
use super::literal::literal_for;
use super::value::{Plain, Scope, Typed};
use super::{Names, Source, type_error};
use crate::error::{Error, Result, Span};
use crate::outcome::Outcome;
use crate::select::{self, has_aggregate, slot_id};
use crate::statement::{ColumnName, Condition, Constant, Item, Key, Select, Term, TermKind};
use muster_engine::audience::truth::certainly;
use muster_engine::exec::key_bytes;
use muster_engine::expr::{Compiled, Expr};
use muster_engine::predicate::{CompareOp, Predicate, Truth};
use muster_engine::schema::{Column, ColumnId};
use muster_engine::value::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A SELECT about the rows of a member.
struct Tied<'a, 's> {
    /// Their column, as the SELECT names it.
    inner: &'s Term,
    /// The member's column that it equals.
    outer: &'a Column,
    /// The member's column, as the SELECT names it.
    outer_term: &'s Term,
    /// The SELECT's other conditions.
    rest: Vec<Condition>,
}

impl<'a> Names<'a> {
    /// `EXISTS (SELECT …)`, which is never unknown.
    pub(super) fn exists(&self, select: &Select, span: Span) -> Result<Predicate> {
        if !select.group_by.is_empty()
            || select.having.is_some()
            || select.offset > 0
            || select.limit == Some(0)
        {
            let message = "the SELECT of EXISTS has no GROUP BY, HAVING, LIMIT and OFFSET";
            return Err(
                Error::unsupported(span, message).advise("write id IN (SELECT … GROUP BY … HAVING …)")
            );
        }
        let Some(tied) = self.tied(select, span)? else {
            let some = Select { limit: Some(1), ..select.clone() };
            let truth = if self.answered(some, span)?.is_empty() { Truth::False } else { Truth::True };
            return Ok(Predicate::Const(truth));
        };
        let inner = Item::Output { term: tied.inner.clone(), alias: None };
        let keys = Select { distinct: true, items: vec![inner], ..tied.select(select) };
        Ok(certainly(&self.in_select(tied.outer_term, &Arc::new(keys), span)?, true))
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
        let mut scope = Related::default();
        let truth = self.truth(condition, &mut scope, 0)?;
        let truth = Compiled::new(&truth, self.context.snapshot.now_micros())?;
        let truth_of = |values: &dyn Fn(usize) -> Value| -> Result<Truth> {
            let slot = |column: &ColumnId| values(column.0 as usize - slot_id(0).0 as usize);
            let inputs: Vec<Value> = truth.columns().iter().map(slot).collect();
            Ok(match truth.eval(0, &inputs)? {
                Value::Boolean(true) => Truth::True,
                Value::Boolean(false) => Truth::False,
                _ => Truth::Unknown,
            })
        };
        let nobody = truth_of(&|at| scope.aggregates[at].of_nobody.clone())?;
        let Some((column, span)) = &scope.column else { return Ok(Predicate::Const(nobody)) };
        let mut keys: BTreeMap<&[u8], &Value> = BTreeMap::new();
        for aggregate in &scope.aggregates {
            keys.extend(aggregate.groups.iter().map(|(bytes, (key, _))| (bytes.as_slice(), key)));
        }
        let (mut trues, mut falses, mut unknowns) = (Vec::new(), Vec::new(), Vec::new());
        for (bytes, key) in keys {
            let value = |at: usize| {
                let aggregate = &scope.aggregates[at];
                aggregate.groups.get(bytes).map_or(&aggregate.of_nobody, |(_, value)| value).clone()
            };
            let literal = literal_for(column, Constant::Value(key.clone()), self.context.zone, *span)?;
            match truth_of(&value)? {
                Truth::True => trues.push(literal),
                Truth::False => falses.push(literal),
                Truth::Unknown => unknowns.push(literal),
            }
        }
        let among = |literals| certainly(&Predicate::In { column: column.id, literals }, true);
        let unknown = || Predicate::Const(Truth::Unknown);
        Ok(match nobody {
            Truth::True => {
                let mut others = falses;
                others.extend_from_slice(&unknowns);
                among(others).not().or(unknown().and(among(unknowns)))
            }
            Truth::False => among(trues).or(unknown().and(among(unknowns))),
            Truth::Unknown => among(trues).or(unknown().and(among(falses).not())),
        })
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
                    tied = Some(Tied { inner, outer: column, outer_term: outer, rest: Vec::new() });
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

fn column_name(term: &Term) -> Result<&ColumnName> {
    match &term.kind {
        TermKind::Column(name) => Ok(name),
        _ => Err(type_error(term.span, "expected a column")),
    }
}

/// An aggregate of the rows of a member.
struct RelatedAggregate {
    /// By the bytes of their key: the key, and the value.
    groups: HashMap<Vec<u8>, (Value, Value)>,
    /// Its value without rows.
    of_nobody: Value,
}

/// What a comparison with SELECTs refers to: each of them, as the column of a group.
#[derive(Default)]
struct Related {
    /// The member's column that all are tied to.
    column: Option<(Column, Span)>,
    aggregates: Vec<RelatedAggregate>,
}

impl Related {
    fn aggregate(&mut self, names: &Names<'_>, select: &Select, span: Span) -> Result<Typed> {
        let term = aggregated(select, span)?;
        let Some(tied) = names.tied(select, span)? else {
            let message = "a SELECT that is the same for everyone is compared as it is, not computed with";
            return Err(Error::unsupported(span, message));
        };
        if self.column.as_ref().is_some_and(|(column, _)| column.id != tied.outer.id) {
            let message = "the SELECTs of a comparison are tied to different columns";
            return Err(Error::unsupported(span, message));
        }
        self.column = Some((tied.outer.clone(), tied.outer_term.span));
        let items = [tied.inner, term].map(|term| Item::Output { term: term.clone(), alias: None });
        let group_by = vec![Key::Term(tied.inner.clone())];
        let grouped = Select { items: items.into(), group_by, ..tied.select(select) };
        let never = TermKind::Constant(Constant::Value(Value::Boolean(false)));
        let never = Condition::Term(Term { kind: never, span });
        let of_nobody = single(names.answered(Select { filter: Some(never), ..select.clone() }, span)?);
        let plan = select::plan(grouped.clone(), &names.context)?;
        let [key, value] = plan.columns() else { return Err(one_column(span)) };
        names.check_selected(key.data_type, tied.outer, span)?;
        let data_type = value.data_type;
        let mut groups = HashMap::new();
        for row in names.answered(grouped, span)? {
            let Ok([key, value]) = <[Value; 2]>::try_from(row) else { continue };
            // Rows without a member's key belong to nobody.
            if key != Value::Null {
                let mut bytes = Vec::new();
                key_bytes(&key, &mut bytes);
                groups.insert(bytes, (key, value));
            }
        }
        if groups.len() > SELECTED_MAX {
            return Err(too_many_selected(span));
        }
        self.aggregates.push(RelatedAggregate { groups, of_nobody });
        Ok(Typed::new(Expr::Column(slot_id(self.aggregates.len() - 1)), data_type, span))
    }
}

impl Scope for Related {
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
