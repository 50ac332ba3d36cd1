//! Names to ids, and constants to the types of what they stand beside: our statements become the engine's predicates and
//! expressions.
//!
//! A string literal beside a column is read as the column's type, as PostgreSQL reads literals of unknown type. What
//! cannot be compared is refused here, with the span, before the engine sees it. `now()` stays symbolic. A comparison
//! with NULL, and one between constants, becomes a constant truth.
//!
//! | module | makes |
//! |---|---|
//! | `source` | of FROM: a table, the columns that can be named, the members that are meant |
//! | `condition` | of a condition: a [`Predicate`], from leaves that indexes answer where it can |
//! | `related` | of a condition about the rows of another table that belong to a member: a [`Predicate`] |
//! | `rows` | of a SELECT of more than one table, or with windows: a tree of steps over rows |
//! | `truth` | of a condition that is computed: a BOOLEAN expression |
//! | `value` | of any value: a typed [`muster_engine::Expr`] |
//! | `function` | of a function's name: what the engine calls it, and its type |
//! | `literal` | of a constant: a literal of a column's type |
//! | `assign` | of a value: what a column is assigned |

mod assign;
mod condition;
mod function;
mod literal;
mod related;
mod rows;
mod source;
mod truth;
mod value;

pub(crate) use assign::Excluded;
pub use function::FUNCTIONS;
pub(crate) use rows::{Made, select as rows_of};
pub(crate) use source::{Source, not_a_set};
pub(crate) use value::{Plain, Scope, Typed};

use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::statement::{ColumnName, Name};
use crate::suggest;
use muster_engine::catalog::ViewId;
use muster_engine::expr::time::TimeZone;
use muster_engine::schema::{Column, TableSchema};
use muster_engine::{Cancel, Snapshot};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a statement is bound in.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) cancel: &'a Cancel,
    /// The session's time zone; `None` is UTC.
    pub(crate) zone: Option<&'a Zone>,
    /// Where what is bound is kept, to be asked later: collects the views that it names.
    pub(crate) kept: Option<&'a RefCell<BTreeSet<ViewId>>>,
    /// How often a part of the statement was bound a second way.
    pub(crate) second_ways: &'a AtomicUsize,
}

/// The most parts of a statement that are bound a second way: within each other they would double the work again and again.
const SECOND_WAYS_MAX: usize = 64;

impl Context<'_> {
    /// `first`, or `second` where the first way has no form for it and there were not too many of them. Of two refusals the
    /// first is told, unless only the second says what is wrong.
    pub(crate) fn either<T>(&self, first: Result<T>, second: impl FnOnce() -> Result<T>) -> Result<T> {
        match first {
            // A name that is not known may be one of the row around.
            Err(refused) if refused.is_unsupported() || refused.is_unknown_name() => {
                if self.second_ways.fetch_add(1, Ordering::Relaxed) >= SECOND_WAYS_MAX {
                    return Err(refused);
                }
                second().map_err(|error| {
                    let is_told = refused.is_unsupported() && !error.is_unsupported();
                    if is_told && !error.is_unknown_table() { error } else { refused }
                })
            }
            bound => bound,
        }
    }
}

/// A time zone under its IANA name.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub(crate) name: Arc<str>,
    pub(crate) zone: TimeZone,
}

/// The table of this name, or an error that suggests one.
pub(crate) fn table(snapshot: &Snapshot, name: &Name) -> Result<Arc<TableSchema>> {
    snapshot.table_named(&name.text).ok_or_else(|| {
        let error =
            Error::query(QueryErrorKind::UnknownTable, name.span, format!("unknown table \"{}\"", name.text));
        let (tables, views, audiences) = (snapshot.tables(), snapshot.views(), snapshot.audiences());
        let names = tables.iter().map(|table| table.name.as_str());
        let names = names.chain(views.iter().map(|view| view.name.as_str()));
        let names = names.chain(audiences.iter().map(|audience| audience.name.as_str()));
        match suggest::advice(&name.text, names, "there are") {
            Some(advice) => error.advise(advice),
            None => error.advise("there is none yet: CREATE TABLE makes one"),
        }
    })
}

/// The column of this name, or an error that suggests one.
pub(crate) fn column_named<'a>(schema: &'a TableSchema, name: &Name) -> Result<&'a Column> {
    schema
        .column_named(&name.text)
        .ok_or_else(|| unknown_column(name, schema.columns.iter().map(|column| column.name.as_str())))
}

fn unknown_column<'n>(name: &Name, known: impl Iterator<Item = &'n str> + Clone) -> Error {
    let message = format!("unknown column \"{}\"", name.text);
    let error = Error::query(QueryErrorKind::UnknownColumn, name.span, message);
    match suggest::advice(&name.text, known, "the columns are") {
        Some(advice) => error.advise(advice),
        None => error,
    }
}

/// The names that a statement over one source can use.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) source: &'a Source,
    pub(crate) context: Context<'a>,
}

impl<'a> Names<'a> {
    /// Refuses another table's name before a column or a `*`.
    pub(crate) fn check_qualifier(&self, qualifier: Option<&Name>) -> Result<()> {
        let table = &self.source.name;
        match qualifier {
            Some(name) if name.text != *table => {
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
        let visible = &self.source.visible;
        let found = visible.iter().find(|(known, _)| *known == name.name.text);
        found
            .and_then(|(_, id)| self.source.schema.column(*id))
            .ok_or_else(|| unknown_column(&name.name, visible.iter().map(|(known, _)| known.as_str())))
    }
}

const TAGS_ADVICE: &str =
    "tags are asked by 'vip' = ANY(tags), tags @> ARRAY['a', 'b'] and tags && ARRAY['a', 'b']";

fn type_error(span: Span, message: impl Into<String>) -> Error {
    Error::query(QueryErrorKind::Type, span, message)
}
