//! FROM: a table, or what reduces to a set of its members: a view, an audience, a SELECT without aggregates.

use super::{Context, table};
use crate::error::{Error, Result};
use crate::select;
use crate::statement::{From, FromSource, Name, Sample};
use muster_engine::expr::{Expr, Function};
use muster_engine::predicate::{CompareOp, Predicate};
use muster_engine::schema::{ColumnId, TableSchema};
use muster_engine::value::Value;
use std::sync::Arc;

/// What a statement asks.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) schema: Arc<TableSchema>,
    /// The name before a column: the alias, where there is one.
    pub(crate) name: String,
    /// The columns that can be named, in the order of `*`.
    pub(crate) visible: Vec<(String, ColumnId)>,
    /// The members that are meant; `None` is all.
    pub(crate) members: Option<Predicate>,
}

impl Source {
    /// The whole of a table.
    pub(crate) fn of_table(schema: Arc<TableSchema>) -> Source {
        let visible = schema.columns.iter().map(|column| (column.name.clone(), column.id)).collect();
        Source { name: schema.name.clone(), schema, visible, members: None }
    }

    /// What a name stands for: a table, or the members of a view or audience of one.
    pub(crate) fn named(name: &Name, context: &Context<'_>) -> Result<Source> {
        let snapshot = context.snapshot;
        if let Some(view) = snapshot.view_named(&name.text) {
            if let Some(views) = context.kept {
                views.borrow_mut().insert(view.id);
            }
            let schema = Arc::clone(snapshot.schema(view.table)?);
            let visible = view.columns.iter().map(|column| (column.name.clone(), column.column)).collect();
            let members = Some(view.definition.predicate().clone());
            return Ok(Source { schema, name: view.name.clone(), visible, members });
        }
        if let Some(audience) = snapshot.audience_named(&name.text) {
            let mut source = Source::of_table(Arc::clone(snapshot.schema(audience.table)?));
            source.name.clone_from(&audience.name);
            source.members = Some(Predicate::Audience(audience.id));
            return Ok(source);
        }
        Ok(Source::of_table(table(snapshot, name)?))
    }

    /// Resolves FROM.
    pub(crate) fn resolve(from: From, context: &Context<'_>) -> Result<Source> {
        let mut source = match from.source {
            FromSource::Named(name) => Source::named(&name, context)?,
            FromSource::Sets(sets) => return Err(not_a_set(sets.span)),
            FromSource::Select(inner, span) => select::plain(&inner, context)?.into_source(context, span)?,
        };
        if let Some(alias) = from.alias {
            source.name = alias.text;
        }
        if let Some(sample) = from.sample {
            source.narrow(sampled(&sample));
        }
        Ok(source)
    }

    /// Leaves only members of a predicate.
    pub(crate) fn narrow(&mut self, predicate: Predicate) {
        self.members = Some(match self.members.take() {
            None => predicate,
            Some(members) => members.and(predicate),
        });
    }
}

/// A hash of the ordinal decides, so the same seed gives the same members.
fn sampled(sample: &Sample) -> Predicate {
    let buckets = u32::MAX;
    let bucket = Function::Bucket { salt: format!("sample {}", sample.seed), buckets };
    let below = (sample.percent / 100.0 * f64::from(buckets)).round() as i64;
    let bucket = Expr::call(bucket, [Expr::Ordinal]);
    Predicate::Holds(Expr::call(
        Function::Compare(CompareOp::Lt),
        [bucket, Expr::value(Value::Integer(below))],
    ))
}

/// The error of a FROM that is no set of members.
pub(crate) fn not_a_set(span: crate::error::Span) -> Error {
    Error::unsupported(span, "this SELECT is no set of members, so nothing can be selected from it")
        .advise("aggregates stand in the outer SELECT; HAVING asks about groups")
}
