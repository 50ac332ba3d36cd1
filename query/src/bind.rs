//! Names to ids, and literals to the types of their columns: our conditions become the engine's predicates.
//!
//! A string literal beside a column is read as the column's type, as PostgreSQL reads literals of unknown type. What
//! cannot be compared is refused here, with the span, before the engine sees it. `now()` stays symbolic. A comparison
//! with NULL, and one between constants, becomes a constant truth.

use crate::constant::{self, as_double, describe, is_number};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::order::compare_values;
use crate::statement::{ColumnName, Condition, Constant, Is, Name, SetOp, Term, TermKind};
use crate::suggest;
use muster_engine::calendar::MICROS_PER_DAY;
use muster_engine::predicate::{CompareOp, Literal, Predicate, Truth};
use muster_engine::schema::{Column, DataType, TableSchema};
use muster_engine::value::Value;
use muster_engine::{ColumnId, Snapshot};
use std::sync::Arc;

/// The table of this name, or an error that suggests one.
pub(crate) fn table(snapshot: &Snapshot, name: &Name) -> Result<Arc<TableSchema>> {
    snapshot.table_named(&name.text).ok_or_else(|| {
        let error =
            Error::query(QueryErrorKind::UnknownTable, name.span, format!("unknown table \"{}\"", name.text));
        let tables = snapshot.tables();
        match suggest::advice(&name.text, tables.iter().map(|table| table.name.as_str()), "the tables are") {
            Some(advice) => error.advise(advice),
            None => error.advise("there is none yet: CREATE TABLE makes one"),
        }
    })
}

/// The column of this name, or an error that suggests one.
pub(crate) fn column_named<'a>(schema: &'a TableSchema, name: &Name) -> Result<&'a Column> {
    schema.column_named(&name.text).ok_or_else(|| {
        let error = Error::query(
            QueryErrorKind::UnknownColumn,
            name.span,
            format!("unknown column \"{}\"", name.text),
        );
        match suggest::advice(&name.text, schema.columns.iter().map(|c| c.name.as_str()), "the columns are") {
            Some(advice) => error.advise(advice),
            None => error,
        }
    })
}

/// The names that a statement over one table can use.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) schema: &'a TableSchema,
    /// The table's alias, which hides its name.
    pub(crate) alias: Option<&'a str>,
}

impl<'a> Names<'a> {
    /// Refuses another table's name before a column or a `*`.
    pub(crate) fn check_qualifier(&self, qualifier: Option<&Name>) -> Result<()> {
        let table = self.alias.unwrap_or(&self.schema.name);
        match qualifier {
            Some(name) if name.text != table => {
                let message = format!("unknown table \"{}\"", name.text);
                Err(Error::query(QueryErrorKind::UnknownTable, name.span, message)
                    .advise(format!("this statement asks \"{table}\"")))
            }
            _ => Ok(()),
        }
    }

    /// Resolves a column.
    pub(crate) fn column(&self, name: &ColumnName) -> Result<&'a Column> {
        self.check_qualifier(name.qualifier.as_ref())?;
        column_named(self.schema, &name.name)
    }

    /// Binds a condition.
    pub(crate) fn predicate(&self, condition: Condition) -> Result<Predicate> {
        let all = |terms: Vec<Condition>| {
            terms.into_iter().map(|term| self.predicate(term)).collect::<Result<Vec<_>>>()
        };
        match condition {
            Condition::And(terms) => Ok(Predicate::And(all(terms)?)),
            Condition::Or(terms) => Ok(Predicate::Or(all(terms)?)),
            Condition::Not(inner) => Ok(self.predicate(*inner)?.not()),
            Condition::Term(term) => self.bare(term),
            Condition::Compare { left, op, right } => self.compare(left, op, right),
            Condition::In { left, list } => self.in_list(left, list),
            Condition::Is { term, what } => self.is(term, what),
            Condition::Quantified { left, op, all, right } => self.quantified(left, op, all, right),
            Condition::Sets { left, op, right } => self.sets(left, op, right),
        }
    }

    /// A term where a condition is expected.
    fn bare(&self, term: Term) -> Result<Predicate> {
        let constant = match term.kind {
            TermKind::Column(name) => {
                let column = self.column(&name)?;
                return match column.data_type {
                    DataType::Boolean => Ok(Predicate::IsTrue(column.id)),
                    other => Err(type_error(
                        term.span,
                        format!("expected a condition, found the {other} column \"{}\"", column.name),
                    )
                    .advise("compare it: column = …")),
                };
            }
            TermKind::Array(_) => return Err(type_error(term.span, "expected a condition, found an array")),
            TermKind::Constant(constant) => constant,
        };
        match boolean(constant, term.span)? {
            None => Ok(Predicate::Const(Truth::Unknown)),
            Some(boolean) => Ok(Predicate::Const(if boolean { Truth::True } else { Truth::False })),
        }
    }

    fn compare(&self, left: Term, op: CompareOp, right: Term) -> Result<Predicate> {
        match (left.kind, right.kind) {
            (TermKind::Column(name), TermKind::Constant(constant)) => {
                self.compare_column(self.column(&name)?, op, constant, right.span)
            }
            (TermKind::Constant(constant), TermKind::Column(name)) => {
                self.compare_column(self.column(&name)?, op.flipped(), constant, left.span)
            }
            (TermKind::Constant(a), TermKind::Constant(b)) => {
                compare_constants(a, op, b, left.span.to(right.span)).map(Predicate::Const)
            }
            (TermKind::Column(a), TermKind::Column(b)) => {
                self.column(&a)?;
                self.column(&b)?;
                Err(Error::unsupported(left.span.to(right.span), "comparing two columns is not supported")
                    .advise("compare a column with a constant"))
            }
            (TermKind::Array(_), _) | (_, TermKind::Array(_)) => {
                Err(type_error(left.span.to(right.span), "an array is not compared like that")
                    .advise(TAGS_ADVICE))
            }
        }
    }

    fn compare_column(
        &self,
        column: &Column,
        op: CompareOp,
        constant: Constant,
        span: Span,
    ) -> Result<Predicate> {
        let literal = literal_for(column, constant, span)?;
        if literal == Literal::Value(Value::Null) {
            return Ok(Predicate::Const(Truth::Unknown));
        }
        Ok(Predicate::Compare { column: column.id, op, literal })
    }

    fn in_list(&self, left: Term, list: Vec<Term>) -> Result<Predicate> {
        let all_constant = list.iter().all(|item| matches!(item.kind, TermKind::Constant(_)));
        if let (TermKind::Column(name), true) = (&left.kind, all_constant) {
            let column = self.column(name)?;
            let mut literals = Vec::with_capacity(list.len());
            for item in list {
                if let TermKind::Constant(constant) = item.kind {
                    literals.push(literal_for(column, constant, item.span)?);
                }
            }
            return Ok(Predicate::In { column: column.id, literals });
        }
        // `5 IN (a, b)` is `5 = a OR 5 = b`.
        let terms = list.into_iter().map(|item| self.compare(left.clone(), CompareOp::Eq, item));
        Ok(Predicate::Or(terms.collect::<Result<Vec<_>>>()?))
    }

    fn is(&self, term: Term, what: Is) -> Result<Predicate> {
        let column = match term.kind {
            TermKind::Column(name) => self.column(&name)?,
            TermKind::Constant(constant) => {
                let holds = match what {
                    Is::Null => constant == Constant::Null,
                    Is::True => boolean(constant, term.span)? == Some(true),
                    Is::False => boolean(constant, term.span)? == Some(false),
                    Is::Unknown => boolean(constant, term.span)?.is_none(),
                };
                return Ok(Predicate::Const(if holds { Truth::True } else { Truth::False }));
            }
            TermKind::Array(_) => {
                return Err(type_error(term.span, "IS asks about a column here, not about an array"));
            }
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

    fn quantified(&self, left: Term, op: CompareOp, all: bool, right: Term) -> Result<Predicate> {
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
        let found = match (left.kind, right.kind) {
            (TermKind::Constant(tag), TermKind::Column(name)) => {
                let column = self.tags_column(&name, right.span)?;
                Predicate::HasAny { column, tags: vec![tag_of(tag, left.span)?] }
            }
            (kind @ TermKind::Column(_), TermKind::Array(list)) => {
                self.in_list(Term { kind, span: left.span }, list)?
            }
            (TermKind::Column(name), TermKind::Constant(constant)) => {
                let column = self.column(&name)?;
                let texts = if column.data_type == DataType::Text {
                    tags_of_constant(constant, right.span)?
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

    fn sets(&self, left: Term, op: SetOp, right: Term) -> Result<Predicate> {
        let span = left.span.to(right.span);
        // The array on the left turns the operator around.
        let (name, name_span, op, other) = match (left.kind, right.kind) {
            (TermKind::Column(name), kind) => (name, left.span, op, Term { kind, span: right.span }),
            (kind, TermKind::Column(name)) => {
                let turned = match op {
                    SetOp::Contains => SetOp::ContainedBy,
                    SetOp::ContainedBy => SetOp::Contains,
                    SetOp::Overlaps => SetOp::Overlaps,
                };
                (name, right.span, turned, Term { kind, span: left.span })
            }
            _ => return Err(type_error(span, "expected a TEXT[] column on one side").advise(TAGS_ADVICE)),
        };
        let column = self.tags_column(&name, name_span)?;
        let tags = match other.kind {
            TermKind::Constant(Constant::Null) => return Ok(Predicate::Const(Truth::Unknown)),
            TermKind::Constant(constant) => tags_of_constant(constant, other.span)?,
            TermKind::Array(items) => items
                .into_iter()
                .map(|item| match item.kind {
                    TermKind::Constant(constant) => tag_of(constant, item.span),
                    _ => Err(type_error(item.span, "expected a text in single quotes")),
                })
                .collect::<Result<Vec<_>>>()?,
            TermKind::Column(_) => {
                return Err(
                    Error::unsupported(span, "comparing two columns is not supported").advise(TAGS_ADVICE)
                );
            }
        };
        match op {
            SetOp::Contains => Ok(Predicate::HasAll { column, tags }),
            SetOp::Overlaps => Ok(Predicate::HasAny { column, tags }),
            SetOp::ContainedBy => Err(Error::unsupported(span, "<@ is not supported").advise(TAGS_ADVICE)),
        }
    }

    fn tags_column(&self, name: &ColumnName, span: Span) -> Result<ColumnId> {
        let column = self.column(name)?;
        if column.data_type == DataType::TextArray {
            return Ok(column.id);
        }
        let message =
            format!("expected a TEXT[] column, found the {} column \"{}\"", column.data_type, column.name);
        Err(type_error(span, message).advise(TAGS_ADVICE))
    }
}

const TAGS_ADVICE: &str =
    "tags are asked by 'vip' = ANY(tags), tags @> ARRAY['a', 'b'] and tags && ARRAY['a', 'b']";

fn type_error(span: Span, message: impl Into<String>) -> Error {
    Error::query(QueryErrorKind::Type, span, message)
}

fn boolean(constant: Constant, span: Span) -> Result<Option<bool>> {
    match constant {
        Constant::Null => Ok(None),
        Constant::Value(Value::Boolean(boolean)) => Ok(Some(boolean)),
        Constant::Unknown(text) => match Value::parse(&text, DataType::Boolean) {
            Ok(Value::Boolean(boolean)) => Ok(Some(boolean)),
            _ => Err(type_error(span, "expected a condition, found a text")
                .advise("put a column's name in double quotes, or in none")),
        },
        other => Err(type_error(span, format!("expected a condition, found {}", describe(&other)))),
    }
}

/// One tag.
fn tag_of(constant: Constant, span: Span) -> Result<String> {
    match constant {
        Constant::Unknown(text) | Constant::Value(Value::Text(text)) => Ok(text),
        Constant::Null => {
            Err(type_error(span, "a tag is never NULL").advise("tags IS NULL finds members without a list"))
        }
        other => Err(type_error(span, format!("a tag is a text, not {}", describe(&other)))
            .advise("put it in single quotes")),
    }
}

/// The tags of `'{a,b}'`.
fn tags_of_constant(constant: Constant, span: Span) -> Result<Vec<String>> {
    match constant {
        Constant::Unknown(text) => match Value::parse(&text, DataType::TextArray) {
            Ok(Value::Tags(tags)) => Ok(tags),
            Ok(_) => Err(type_error(span, "expected an array")),
            Err(error) => {
                Err(Error::query(QueryErrorKind::Value, span, error.reason).advise("write ARRAY['a', 'b']"))
            }
        },
        Constant::Value(Value::Tags(tags)) => Ok(tags),
        other => Err(type_error(span, format!("expected an array, found {}", describe(&other)))
            .advise("write ARRAY['a', 'b']")),
    }
}

/// A constant as the literal that its column is compared with.
fn literal_for(column: &Column, constant: Constant, span: Span) -> Result<Literal> {
    let data_type = column.data_type;
    let value = match constant {
        Constant::Null => return Ok(Literal::Value(Value::Null)),
        _ if data_type == DataType::TextArray => {
            let message = format!("column \"{}\" is TEXT[] and is not compared like that", column.name);
            return Err(type_error(span, message).advise(TAGS_ADVICE));
        }
        Constant::Unknown(text) => return literal_from_text(column, text, span),
        Constant::Now { offsets, date, .. } if data_type.is_time() => {
            return Ok(Literal::Now { offsets, date, zone: None });
        }
        other @ (Constant::Now { .. } | Constant::Interval(_)) => {
            return Err(incomparable(column, &other, span));
        }
        Constant::Value(value) => value,
    };
    Ok(Literal::Value(match (data_type, value) {
        (DataType::Boolean, value @ Value::Boolean(_)) | (DataType::Text, value @ Value::Text(_)) => value,
        // PostgreSQL compares a DOUBLE PRECISION column with the double nearest to the literal.
        (DataType::Double, value) if is_number(&value) => Value::Double(as_double(&value)),
        (data_type, value) if data_type.is_number() && is_number(&value) => value,
        (DataType::Date, value @ (Value::Date(_) | Value::Timestamp(_))) => value,
        (DataType::Date, Value::TimestampTz(micros)) => Value::Timestamp(micros),
        (DataType::Timestamp, Value::Date(days)) => Value::Timestamp(i64::from(days) * MICROS_PER_DAY),
        (DataType::Timestamp, Value::Timestamp(micros) | Value::TimestampTz(micros)) => {
            Value::Timestamp(micros)
        }
        (DataType::TimestampTz, Value::Date(days)) => Value::TimestampTz(i64::from(days) * MICROS_PER_DAY),
        (DataType::TimestampTz, Value::Timestamp(micros) | Value::TimestampTz(micros)) => {
            Value::TimestampTz(micros)
        }
        (_, value) => return Err(incomparable(column, &Constant::Value(value), span)),
    }))
}

fn literal_from_text(column: &Column, text: String, span: Span) -> Result<Literal> {
    if column.data_type == DataType::Text {
        return Ok(Literal::Value(Value::Text(text)));
    }
    let constant = constant::typed(&text, column.data_type, span);
    match constant {
        Ok(Constant::Value(value)) => Ok(Literal::Value(value)),
        Ok(_) => Ok(Literal::Value(Value::Null)),
        Err(Error::Query { message, .. }) => {
            let message = format!("{message}; column \"{}\" is {}", column.name, column.data_type);
            Err(Error::query(QueryErrorKind::Value, span, message))
        }
        Err(other) => Err(other),
    }
}

fn incomparable(column: &Column, constant: &Constant, span: Span) -> Error {
    let (name, data_type) = (&column.name, column.data_type);
    let error = type_error(
        span,
        format!("column \"{name}\" is {data_type} and cannot be compared with {}", describe(constant)),
    );
    match data_type {
        DataType::Text => error.advise("put the text in single quotes"),
        DataType::Boolean => error.advise(format!("write {name}, NOT {name}, or {name} = TRUE")),
        DataType::Date => error.advise("write DATE '2026-01-31'"),
        DataType::Timestamp | DataType::TimestampTz => error.advise("write TIMESTAMP '2026-01-31 12:00:00'"),
        _ => error.advise("write a number"),
    }
}

/// `constant op constant`: the same for every member.
fn compare_constants(a: Constant, op: CompareOp, b: Constant, span: Span) -> Result<Truth> {
    let (a, b) = match (a, b) {
        (Constant::Null, _) | (_, Constant::Null) => return Ok(Truth::Unknown),
        (Constant::Unknown(a), Constant::Unknown(b)) => (Value::Text(a), Value::Text(b)),
        (Constant::Unknown(text), Constant::Value(value)) => (text_as(&text, &value, span)?, value),
        (Constant::Value(value), Constant::Unknown(text)) => {
            let other = text_as(&text, &value, span)?;
            (value, other)
        }
        (Constant::Value(a), Constant::Value(b)) => (a, b),
        _ => {
            return Err(Error::unsupported(span, "this comparison of constants is not supported")
                .advise("compare a column"));
        }
    };
    let Some(order) = compare_values(&a, &b) else {
        let message = format!(
            "{} cannot be compared with {}",
            describe(&Constant::Value(a)),
            describe(&Constant::Value(b))
        );
        return Err(type_error(span, message));
    };
    let holds = match op {
        CompareOp::Eq => order.is_eq(),
        CompareOp::Ne => order.is_ne(),
        CompareOp::Lt => order.is_lt(),
        CompareOp::Le => order.is_le(),
        CompareOp::Gt => order.is_gt(),
        CompareOp::Ge => order.is_ge(),
    };
    Ok(if holds { Truth::True } else { Truth::False })
}

/// A string literal as the type of the constant beside it.
fn text_as(text: &str, beside: &Value, span: Span) -> Result<Value> {
    let data_type = match beside {
        Value::Boolean(_) => DataType::Boolean,
        Value::Date(_) => DataType::Date,
        Value::Timestamp(_) => DataType::Timestamp,
        Value::TimestampTz(_) => DataType::TimestampTz,
        Value::Tags(_) => DataType::TextArray,
        Value::Text(_) | Value::Null => return Ok(Value::Text(text.to_owned())),
        Value::Integer(_) => DataType::BigInt,
        Value::Decimal { .. } => DataType::Decimal { precision: 18, scale: 0 },
        Value::Double(_) => DataType::Double,
    };
    match constant::typed(text, data_type, span)? {
        Constant::Value(value) => Ok(value),
        _ => Ok(Value::Null),
    }
}
