//! Conditions to predicates: leaves that an index answers where a condition compares a column with constants, and
//! computed ones for the rest.

use super::literal::{boolean, compare_constants, literal_for, tag_of, tags_of_array, tags_of_constant};
use super::related::are_equal_exactly;
use super::value::Plain;
use super::{Names, TAGS_ADVICE, type_error};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::statement::{ColumnName, Condition, Constant, Is, Name, Select, SetOp, Term, TermKind};
use crate::{select, suggest};
use muster_engine::audience::truth::certainly;
use muster_engine::predicate::{CompareOp, Literal, Predicate, Truth};
use muster_engine::schema::{Column, ColumnId, DataType};
use muster_engine::value::Value;
use std::sync::Arc;

/// The most values that a SELECT after IN may have.
pub(super) const SELECTED_MAX: usize = 1_000_000;

impl<'a> Names<'a> {
    /// Binds a condition.
    pub(crate) fn predicate(&self, condition: &Condition) -> Result<Predicate> {
        let all =
            |terms: &[Condition]| terms.iter().map(|term| self.predicate(term)).collect::<Result<Vec<_>>>();
        match condition {
            Condition::And(terms) => Ok(Predicate::And(all(terms)?)),
            Condition::Or(terms) => Ok(Predicate::Or(all(terms)?)),
            Condition::Not(inner) => Ok(self.predicate(inner)?.not()),
            leaf => self.leaf(leaf),
        }
    }

    /// A condition without AND, OR and NOT. Apart from them, so that nesting costs a small frame a level.
    #[inline(never)]
    fn leaf(&self, condition: &Condition) -> Result<Predicate> {
        let of_values = matches!(condition, Condition::Exists { .. })
            || condition.any_term(&mut |term| matches!(term.kind, TermKind::Select(_)));
        let of_column = matches!(
            condition,
            Condition::InSelect { left: Term { kind: TermKind::Column(_), .. }, .. } if !of_values
        );
        let relational =
            (of_values || !of_column) && condition.any_select(&mut |select| select.is_relational());
        if relational {
            return self.derived(condition);
        }
        let simple = self.simple_leaf(condition);
        if !condition.any_select(&mut |_| true) {
            return simple;
        }
        self.context.either(simple, || self.derived(condition))
    }

    /// [`Self::leaf`] that indexes and groups of one table answer.
    fn simple_leaf(&self, condition: &Condition) -> Result<Predicate> {
        if condition.any_term(&mut |term| matches!(term.kind, TermKind::Select(_))) {
            return self.related(condition);
        }
        match condition {
            Condition::Exists { select, span } => self.exists(select, *span),
            Condition::Term(term) => self.bare(term),
            Condition::Compare { left, op, right } => {
                let (left, right) = (self.folded(left)?, self.folded(right)?);
                match (&left.kind, &right.kind) {
                    (TermKind::Column(name), TermKind::Constant(constant)) => {
                        self.compare_column(self.column(name)?, *op, constant.clone(), right.span)
                    }
                    (TermKind::Constant(constant), TermKind::Column(name)) => {
                        self.compare_column(self.column(name)?, op.flipped(), constant.clone(), left.span)
                    }
                    (TermKind::Constant(a), TermKind::Constant(b))
                        if !matches!(a, Constant::Now { .. }) && !matches!(b, Constant::Now { .. }) =>
                    {
                        compare_constants(a.clone(), *op, b.clone(), left.span.to(right.span))
                            .map(Predicate::Const)
                    }
                    _ => self.computed(condition),
                }
            }
            Condition::In { left, list } => self.in_list(condition, left, list),
            Condition::InSelect { left, select, span } => self.in_select(left, select, *span),
            Condition::Distinct { left, right } => self.distinct(condition, left, right),
            Condition::Is { term, what } => self.is(condition, term, *what),
            Condition::Quantified { left, op, all, right } => self.quantified(left, *op, *all, right),
            Condition::Sets { left, op, right } => self.sets(left, *op, right),
            Condition::Matches { .. } | Condition::And(_) | Condition::Or(_) | Condition::Not(_) => {
                self.computed(condition)
            }
            Condition::Audience(name) => self.audience(name),
        }
    }

    /// A condition that no index has a form for.
    fn computed(&self, condition: &Condition) -> Result<Predicate> {
        Ok(Predicate::Holds(self.truth(condition, &mut Plain, 0)?))
    }

    /// A term where a condition is expected.
    fn bare(&self, term: &Term) -> Result<Predicate> {
        let constant = match &term.kind {
            TermKind::Column(name) => {
                let column = self.column(name)?;
                return match column.data_type {
                    DataType::Boolean => Ok(Predicate::IsTrue(column.id)),
                    other => Err(type_error(
                        term.span,
                        format!("expected a condition, found the {other} column \"{}\"", column.name),
                    )
                    .advise("compare it: column = …")),
                };
            }
            TermKind::Array(_) | TermKind::List(_) => {
                return Err(type_error(term.span, "expected a condition, found an array"));
            }
            TermKind::Condition(condition) => return self.predicate(condition),
            TermKind::Call(..)
            | TermKind::Aggregate(_)
            | TermKind::RowAggregate(_)
            | TermKind::Window(_)
            | TermKind::Select(_) => {
                return Ok(Predicate::Holds(self.boolean(term, &mut Plain, 0)?));
            }
            TermKind::Constant(constant) => constant,
        };
        match boolean(constant.clone(), term.span)? {
            None => Ok(Predicate::Const(Truth::Unknown)),
            Some(boolean) => Ok(Predicate::Const(if boolean { Truth::True } else { Truth::False })),
        }
    }

    fn compare_column(
        &self,
        column: &Column,
        op: CompareOp,
        constant: Constant,
        span: Span,
    ) -> Result<Predicate> {
        let literal = literal_for(column, constant, self.context.zone, span)?;
        if literal == Literal::Value(Value::Null) {
            return Ok(Predicate::Const(Truth::Unknown));
        }
        Ok(Predicate::Compare { column: column.id, op, literal })
    }

    fn in_list(&self, condition: &Condition, left: &Term, list: &[Term]) -> Result<Predicate> {
        let mut literals = Vec::with_capacity(list.len());
        if let TermKind::Column(name) = &left.kind {
            let column = self.column(name)?;
            for item in list {
                let item = self.folded(item)?;
                match &item.kind {
                    TermKind::Constant(constant) => {
                        literals.push(literal_for(column, constant.clone(), self.context.zone, item.span)?);
                    }
                    _ => break,
                }
            }
            if literals.len() == list.len() {
                return Ok(Predicate::In { column: column.id, literals });
            }
        }
        if let TermKind::Constant(_) = &left.kind {
            // `5 IN (a, b)` is `5 = a OR 5 = b`.
            let one = |item: &Term| {
                self.predicate(&Condition::Compare {
                    left: left.clone(),
                    op: CompareOp::Eq,
                    right: item.clone(),
                })
            };
            return Ok(Predicate::Or(list.iter().map(one).collect::<Result<Vec<_>>>()?));
        }
        self.computed(condition)
    }

    /// `left IN (SELECT column FROM …)`: a condition, where the SELECT is of this table's keys; else its values, now.
    pub(super) fn in_select(&self, left: &Term, select: &Arc<Select>, span: Span) -> Result<Predicate> {
        let plan = select::plan_shared(select, &self.context)?;
        let TermKind::Column(name) = &left.kind else {
            return Err(Error::unsupported(left.span, "only a column is asked for IN a SELECT")
                .advise("write column IN (SELECT column FROM …)"));
        };
        let column = self.column(name)?;
        let key = self.source.schema.key;
        if key == Some(column.id)
            && let Some(predicate) = plan.set_of_keys(self.source.schema.id, column.id)
        {
            // A key is among the selected ones or is not: who is unknown inside is outside, also of NOT IN.
            return Ok(certainly(&predicate, true));
        }
        let [output] = plan.columns() else {
            let message = format!("the SELECT after IN has one column, not {}", plan.columns().len());
            return Err(type_error(span, message));
        };
        self.check_selected(output.data_type, column, span)?;
        // What is converted, by the session's zone or to the nearest double, is asked now.
        let exact = are_equal_exactly(output.data_type, column.data_type);
        if let Some(rows) = plan.rows_by_column().filter(|_| exact)
            && let Some(related) = self.rows_in(column, rows)
        {
            return Ok(related);
        }
        if let Some(members) = plan.made().filter(|_| exact).and_then(|made| made.members(column.id)) {
            return Ok(members);
        }
        if self.context.kept.is_some() {
            let message = "the values of a SELECT would be kept as they are now";
            let refused = Error::unsupported(span, message).advise(
                "select this table's keys, name an audience with in_audience('…'), or make a STATIC AUDIENCE",
            );
            return self.context.either(Err(refused), || {
                let made = super::rows_of(select, &self.context)?;
                let members = made.members(column.id).filter(|_| exact);
                members.ok_or_else(|| Error::unsupported(span, "values of another type"))
            });
        }
        let rows = plan.run(self.context.snapshot, self.context.cancel)?;
        let mut literals = Vec::new();
        for row in rows.rows() {
            if literals.len() == SELECTED_MAX {
                return Err(too_many_selected(span));
            }
            let Some(value) = row.values().first() else { continue };
            literals.push(match value {
                Value::Null => Literal::Value(Value::Null),
                value => literal_for(column, Constant::Value(value.clone()), self.context.zone, span)?,
            });
        }
        Ok(Predicate::In { column: column.id, literals })
    }

    /// Refuses a column of a type that is never equal to what a SELECT answers.
    pub(super) fn check_selected(&self, from: DataType, column: &Column, span: Span) -> Result<()> {
        let to = column.data_type;
        let comparable =
            from == to || (from.is_number() && to.is_number()) || (from.is_time() && to.is_time());
        if comparable && to != DataType::TextArray {
            return Ok(());
        }
        let message = format!("column \"{}\" is {to} and cannot be IN a SELECT of {from}", column.name);
        Err(type_error(span, message))
    }

    /// `a IS DISTINCT FROM b`, which is never unknown.
    fn distinct(&self, condition: &Condition, left: &Term, right: &Term) -> Result<Predicate> {
        let (name, constant, span) = match (&left.kind, &right.kind) {
            (TermKind::Column(name), TermKind::Constant(constant)) => (name, constant, right.span),
            (TermKind::Constant(constant), TermKind::Column(name)) => (name, constant, left.span),
            _ => return self.computed(condition),
        };
        let column = self.column(name)?;
        if *constant == Constant::Null {
            return Ok(Predicate::IsNull(column.id).not());
        }
        let same = self.compare_column(column, CompareOp::Eq, constant.clone(), span)?;
        Ok(same.and(Predicate::IsNull(column.id).not()).not())
    }

    fn is(&self, condition: &Condition, term: &Term, what: Is) -> Result<Predicate> {
        let column = match &term.kind {
            TermKind::Column(name) => self.column(name)?,
            TermKind::Constant(constant) => {
                let constant = constant.clone();
                let holds = match what {
                    Is::Null => constant == Constant::Null,
                    Is::True => boolean(constant, term.span)? == Some(true),
                    Is::False => boolean(constant, term.span)? == Some(false),
                    Is::Unknown => boolean(constant, term.span)?.is_none(),
                };
                return Ok(Predicate::Const(if holds { Truth::True } else { Truth::False }));
            }
            TermKind::Array(_) | TermKind::List(_) => {
                return Err(type_error(term.span, "IS asks about a value here, not about an array"));
            }
            _ => return self.computed(condition),
        };
        let id = column.id;
        if what == Is::Null {
            return Ok(Predicate::IsNull(id));
        }
        if column.data_type != DataType::Boolean {
            let message = format!(
                "IS TRUE, IS FALSE and IS UNKNOWN ask about booleans; column \"{}\" is {}",
                column.name, column.data_type
            );
            return Err(type_error(term.span, message).advise("write IS NULL or IS NOT NULL"));
        }
        // Never unknown: the second term decides where the first is.
        let known = Predicate::IsNull(id).not();
        Ok(match what {
            Is::True => Predicate::IsTrue(id).and(known),
            Is::False => Predicate::IsTrue(id).not().and(known),
            Is::Unknown | Is::Null => Predicate::IsNull(id),
        })
    }

    fn audience(&self, name: &Name) -> Result<Predicate> {
        let snapshot = self.context.snapshot;
        let Some(audience) = snapshot.audience_named(&name.text) else {
            let message = format!("unknown audience \"{}\"", name.text);
            let error = Error::query(QueryErrorKind::UnknownTable, name.span, message);
            let audiences = snapshot.audiences();
            let names = audiences.iter().map(|audience| audience.name.as_str());
            return Err(match suggest::advice(&name.text, names, "the audiences are") {
                Some(advice) => error.advise(advice),
                None => error.advise("there is none yet: CREATE AUDIENCE makes one"),
            });
        };
        if audience.table != self.source.schema.id {
            let (other, this) = (&snapshot.schema(audience.table)?.name, &self.source.schema.name);
            let message = format!(
                "audience \"{}\" has members of table \"{other}\", and this statement asks \"{this}\"",
                name.text
            );
            return Err(type_error(name.span, message));
        }
        Ok(Predicate::Audience(audience.id))
    }

    fn quantified(&self, left: &Term, op: CompareOp, all: bool, right: &Term) -> Result<Predicate> {
        let span = left.span.to(right.span);
        let negated = match (op, all) {
            (CompareOp::Eq, false) => false,
            (CompareOp::Ne, true) => true,
            _ => {
                return Err(Error::unsupported(
                    span,
                    "of the comparisons with ANY and ALL, = ANY and <> ALL are supported",
                )
                .advise("'vip' = ANY(tags) finds the tag, 'vip' <> ALL(tags) its absence"));
            }
        };
        let found = match (&left.kind, &right.kind) {
            (TermKind::Constant(tag), TermKind::Column(name)) => {
                let column = self.tags_column(name, right.span)?;
                Predicate::HasAny { column, tags: vec![tag_of(tag.clone(), left.span)?] }
            }
            (_, TermKind::Array(list)) => {
                let condition = Condition::In { left: left.clone(), list: list.clone() };
                self.in_list(&condition, left, list)?
            }
            (TermKind::Column(name), TermKind::List(values)) => {
                let column = self.column(name)?;
                let mut literals = Vec::with_capacity(values.len());
                for value in values.iter() {
                    literals.push(match (value, column.data_type) {
                        (Value::Null, _) | (Value::Text(_), DataType::Text) => Literal::Value(value.clone()),
                        (Value::Text(text), _) => literal_for(
                            column,
                            Constant::Unknown(text.clone()),
                            self.context.zone,
                            right.span,
                        )?,
                        (value, _) => literal_for(
                            column,
                            Constant::Value(value.clone()),
                            self.context.zone,
                            right.span,
                        )?,
                    });
                }
                Predicate::In { column: column.id, literals }
            }
            (TermKind::Column(name), TermKind::Constant(constant)) => {
                let column = self.column(name)?;
                let texts = if column.data_type == DataType::Text {
                    tags_of_constant(constant.clone(), right.span)?
                } else {
                    return Err(type_error(right.span, "ANY and ALL take an array here")
                        .advise("write column = ANY(ARRAY[1, 2])"));
                };
                Predicate::any_of(column.id, texts.into_iter().map(Value::Text))
            }
            _ => {
                return Err(type_error(span, "ANY and ALL take a TEXT[] column or an array of constants")
                    .advise("write 'vip' = ANY(tags), or column = ANY(ARRAY['a', 'b'])"));
            }
        };
        Ok(if negated { found.not() } else { found })
    }

    fn sets(&self, left: &Term, op: SetOp, right: &Term) -> Result<Predicate> {
        let (column, op, tags) = self.set_test(left, op, right)?;
        let Some(tags) = tags else { return Ok(Predicate::Const(Truth::Unknown)) };
        Ok(match op {
            SetOp::Overlaps => Predicate::HasAny { column, tags },
            _ => Predicate::HasAll { column, tags },
        })
    }

    /// The TEXT[] column and the constant tags of `@>` and `&&`; no tags where they are NULL.
    pub(super) fn set_test(
        &self,
        left: &Term,
        op: SetOp,
        right: &Term,
    ) -> Result<(ColumnId, SetOp, Option<Vec<String>>)> {
        let span = left.span.to(right.span);
        // The array on the left turns the operator around.
        let (name, name_span, op, other) = match (&left.kind, &right.kind) {
            (TermKind::Column(name), _) => (name, left.span, op, right),
            (_, TermKind::Column(name)) => {
                let turned = match op {
                    SetOp::Contains => SetOp::ContainedBy,
                    SetOp::ContainedBy => SetOp::Contains,
                    SetOp::Overlaps => SetOp::Overlaps,
                };
                (name, right.span, turned, left)
            }
            _ => return Err(type_error(span, "expected a TEXT[] column on one side").advise(TAGS_ADVICE)),
        };
        let column = self.tags_column(name, name_span)?;
        let tags = match &other.kind {
            TermKind::Constant(Constant::Null) => return Ok((column, op, None)),
            TermKind::Constant(constant) => tags_of_constant(constant.clone(), other.span)?,
            TermKind::List(_) | TermKind::Array(_) => tags_of_array(other)?,
            _ => {
                return Err(Error::unsupported(span, "comparing two sets of tags is not supported")
                    .advise(TAGS_ADVICE));
            }
        };
        if op == SetOp::ContainedBy {
            return Err(Error::unsupported(span, "<@ is not supported").advise(TAGS_ADVICE));
        }
        Ok((column, op, Some(tags)))
    }

    pub(super) fn tags_column(&self, name: &ColumnName, span: Span) -> Result<ColumnId> {
        let column = self.column(name)?;
        if column.data_type == DataType::TextArray {
            return Ok(column.id);
        }
        let message =
            format!("expected a TEXT[] column, found the {} column \"{}\"", column.data_type, column.name);
        Err(type_error(span, message).advise(TAGS_ADVICE))
    }
}

pub(super) fn too_many_selected(span: Span) -> Error {
    let message = format!("the SELECT has more than {SELECTED_MAX} rows");
    Error::query(QueryErrorKind::Limit, span, message)
        .advise("make its members a static audience: CREATE STATIC AUDIENCE … AS SELECT …")
}
