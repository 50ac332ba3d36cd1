//! What a column is assigned: PostgreSQL's assignment casts, and the names that stand in VALUES and after DO UPDATE.

use super::value::{Plain, Scope, Typed};
use super::{Names, column_named, type_error};
use crate::error::{Error, QueryErrorKind, Result};
use crate::statement::{Term, TermKind};
use muster_engine::expr::{Compiled, Expr};
use muster_engine::predicate::Literal;
use muster_engine::schema::{Column, DataType};
use muster_engine::value::Value;

impl Names<'_> {
    /// A value as its column takes it: numbers are rounded to it, texts in quotes read, times moved to its kind.
    pub(crate) fn assigned(&self, typed: Typed, column: &Column) -> Result<Expr> {
        let to = column.data_type;
        let of_column = |error| of_column(column, error);
        let typed = self.as_type(typed, to).map_err(of_column)?;
        let from = match typed.data_type {
            Some(from) => from,
            None if typed.is_null() => return Ok(typed.expr),
            None => return Err(refused(column, &typed)),
        };
        let assignable = from == to
            || to == DataType::Text
            || (from.is_number() && to.is_number())
            || (from.is_time() && to.is_time());
        if !assignable {
            return Err(refused(column, &typed));
        }
        if from == to {
            return Ok(typed.expr);
        }
        let span = typed.span;
        self.cast(typed, to, span).map(|typed| typed.expr)
    }

    /// A constant as its column takes it.
    pub(crate) fn constant_for(&self, term: &Term, column: &Column) -> Result<Value> {
        self.value_for(self.value(term, &mut Constants)?, column)
    }

    /// A value without columns as its column takes it.
    pub(crate) fn value_for(&self, typed: Typed, column: &Column) -> Result<Value> {
        let span = typed.span;
        let expr = match self.assigned(typed, column)? {
            Expr::Literal(Literal::Value(value)) => return Ok(value),
            computed => computed,
        };
        let compiled = Compiled::new(&expr, self.context.snapshot.now_micros()).map_err(|error| {
            of_column(column, Error::query(QueryErrorKind::Value, span, error.to_string()))
        })?;
        compiled.constant().cloned().ok_or_else(|| no_column(span))
    }
}

fn of_column(column: &Column, error: Error) -> Error {
    match error {
        Error::Query { kind, message, span, suggestion } => {
            let message = format!("{message}; column \"{}\" is {}", column.name, column.data_type);
            Error::Query { kind, message, span, suggestion }
        }
        other => other,
    }
}

fn refused(column: &Column, typed: &Typed) -> Error {
    let (name, to) = (&column.name, column.data_type);
    let message = format!("column \"{name}\" is {to} and cannot be assigned {}", typed.describe());
    type_error(typed.span, message).advise(match to {
        DataType::TextArray => {
            format!("write ARRAY['a', 'b'], or {name} || 'a' to add a tag")
        }
        _ => format!("CAST(value AS {to}) may turn it into one"),
    })
}

fn no_column(span: crate::error::Span) -> Error {
    Error::query(QueryErrorKind::UnknownColumn, span, "a column cannot stand in VALUES")
        .advise("put a text in single quotes; INSERT … SELECT takes values of columns")
}

/// Constants and nothing else: VALUES.
struct Constants;

impl Scope for Constants {
    fn take(&mut self, names: &Names<'_>, term: &Term) -> Result<Option<Typed>> {
        match &term.kind {
            TermKind::Column(_) => Err(no_column(term.span)),
            _ => Plain.take(names, term),
        }
    }
}

/// After DO UPDATE: the member's columns, and as `EXCLUDED.column` those of the row that was to be inserted.
pub(crate) struct Excluded;

impl Scope for Excluded {
    fn take(&mut self, names: &Names<'_>, term: &Term) -> Result<Option<Typed>> {
        match &term.kind {
            TermKind::Column(name)
                if name.qualifier.as_ref().is_some_and(|qualifier| qualifier.text == "excluded") =>
            {
                let column = column_named(&names.source.schema, &name.name)?;
                Ok(Some(Typed::new(Expr::Column(column.id.excluded()), column.data_type, term.span)))
            }
            _ => Plain.take(names, term),
        }
    }
}
