//! INSERT, UPDATE and DELETE: from names to the engine's [`Mutation`], and its count to a command tag.

pub(crate) mod grammar;
#[cfg(test)]
mod tests;

use crate::bind::{self, Context, Excluded, Names, Plain, Scope, Source, Typed};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::outcome::Outcome;
use crate::select::{self, Plan};
use crate::session::Session;
use crate::statement::{Condition, Name, Term};
use grammar::{Change, Conflict, Rows, Set, What};
use muster_engine::catalog::Relation;
use muster_engine::control::{Held, row_bytes};
use muster_engine::expr::Expr;
use muster_engine::mutation::{Assignment, Changed, Delete, Insert, Mutation, OnConflict, Update};
use muster_engine::schema::{Column, TableSchema};
use muster_engine::value::Value;
use muster_engine::{Predicate, Snapshot};
use std::sync::Arc;

/// What their memory is for, as [`Held`] says it.
const HOLDS: &str = "the rows to insert";

/// The most rows of an INSERT … SELECT: they are held in memory, and in one record of the log.
const SELECTED_MAX: usize = 1_000_000;

impl Session {
    /// Carries out INSERT, UPDATE or DELETE.
    pub(crate) fn change(&mut self, change: Change, snapshot: &Snapshot) -> Result<Outcome> {
        let word = change.word();
        self.check_writable(word)?;
        let changed = if change.reads && !self.is_in_transaction() {
            // What it reads is what it finds when it writes: nobody writes in between.
            let mut transaction = self.engine.begin(&self.cancel)?;
            let snapshot = self.at_its_time(transaction.snapshot());
            let mut held = self.cancel.holder(HOLDS);
            let mutation = mutation(change, &self.context(&snapshot), &mut held)?;
            let changed = transaction.write(&mutation, snapshot.now_micros(), &self.cancel)?;
            transaction.commit(self.durability)?;
            changed
        } else {
            let mut held = self.cancel.holder(HOLDS);
            let mutation = mutation(change, &self.context(snapshot), &mut held)?;
            self.apply(&mutation, snapshot.now_micros())?
        };
        let Changed { inserted, updated, deleted } = changed;
        let message = match word {
            "INSERT" => format!("INSERT 0 {}", inserted + updated),
            "UPDATE" => format!("UPDATE {updated}"),
            _ => format!("DELETE {deleted}"),
        };
        Ok(Outcome::Done { message })
    }
}

/// Resolves the names of a statement.
fn mutation(change: Change, context: &Context<'_>, held: &mut Held) -> Result<Mutation> {
    let schema = target(context.snapshot, &change.table)?;
    let mut source = Source::of_table(Arc::clone(&schema));
    if let Some(alias) = change.alias {
        source.name = alias.text;
    }
    let names = Names { source: &source, context: *context };
    let filtered = |filter: Option<Condition>| match filter {
        None => Ok(Predicate::everyone()),
        Some(filter) => names.predicate(&filter),
    };
    Ok(match change.what {
        What::Insert { columns, rows, conflict } => {
            let named = inserted_columns(&schema, columns.as_deref())?;
            // Where none are named, those at the end may be left out.
            let given = |width: usize| match &columns {
                None => &named[..width.min(named.len())],
                Some(_) => named.as_slice(),
            };
            let (columns, rows) = match rows {
                Rows::Values(rows) => {
                    let columns = given(rows.first().map_or(0, |(row, _)| row.len()));
                    (columns, of_values(&names, columns, &rows, held)?)
                }
                Rows::Select(select, span) => {
                    let plan = select::plan(*select, context)?;
                    let columns = given(plan.columns().len());
                    (columns, of_select(&names, columns, plan, span, held)?)
                }
            };
            let conflict = on_conflict(&names, conflict)?;
            let columns = columns.iter().map(|column| column.id).collect();
            Mutation::Insert(Insert { table: schema.id, columns, rows, conflict })
        }
        What::Update { set, filter } => {
            let assignments = assignments(&names, &set, &mut Plain)?;
            Mutation::Update(Update { table: schema.id, predicate: filtered(filter)?, assignments })
        }
        What::Delete { filter } => {
            Mutation::Delete(Delete { table: schema.id, predicate: filtered(filter)? })
        }
    })
}

/// The table of this name; a view or an audience is refused.
fn target(snapshot: &Snapshot, name: &Name) -> Result<Arc<TableSchema>> {
    let (kind, table) = match snapshot.named(&name.text) {
        Some(Relation::View(_)) => ("a view", snapshot.view_named(&name.text).map(|view| view.table)),
        Some(Relation::Audience(_)) => {
            ("an audience", snapshot.audience_named(&name.text).map(|audience| audience.table))
        }
        _ => return bind::table(snapshot, name),
    };
    let message = format!("\"{}\" is {kind}, whose rows are its table's", name.text);
    let error = Error::unsupported(name.span, message);
    Err(match table.and_then(|table| snapshot.schema(table).ok()) {
        Some(schema) => error.advise(format!("change them in \"{}\"", schema.name)),
        None => error,
    })
}

fn inserted_columns<'s>(schema: &'s TableSchema, named: Option<&[Name]>) -> Result<Vec<&'s Column>> {
    let Some(named) = named else { return Ok(schema.columns.iter().collect()) };
    let mut columns: Vec<&Column> = Vec::with_capacity(named.len());
    for name in named {
        let column = bind::column_named(schema, name)?;
        if columns.iter().any(|known| known.id == column.id) {
            return Err(twice(name));
        }
        columns.push(column);
    }
    Ok(columns)
}

fn twice(name: &Name) -> Error {
    let message = format!("column \"{}\" is assigned twice", name.text);
    Error::query(QueryErrorKind::Duplicate, name.span, message)
}

fn of_values(
    names: &Names<'_>,
    columns: &[&Column],
    rows: &[(Vec<Option<Term>>, Span)],
    held: &mut Held,
) -> Result<Vec<Vec<Value>>> {
    let mut bound = Vec::with_capacity(rows.len());
    for (row, span) in rows {
        check_width(columns, row.len(), "the row", *span)?;
        let values = row.iter().zip(columns).map(|(term, column)| match term {
            Some(term) => names.constant_for(term, column),
            None => Ok(Value::Null),
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        // The writer takes a copy.
        held.add(2 * (size_of::<Vec<Value>>() + row_bytes(&values)))?;
        bound.push(values);
        if bound.len() % 4_096 == 0 {
            names.context.cancel.check()?;
        }
    }
    Ok(bound)
}

fn of_select(
    names: &Names<'_>,
    columns: &[&Column],
    plan: Plan,
    span: Span,
    held: &mut Held,
) -> Result<Vec<Vec<Value>>> {
    let context = &names.context;
    check_width(columns, plan.columns().len(), "the SELECT", span)?;
    let types: Vec<_> = plan.columns().iter().map(|column| column.data_type).collect();
    for (column, data_type) in columns.iter().zip(&types) {
        // Refused before anything is read.
        names.assigned(Typed::new(Expr::Column(column.id), *data_type, span), column)?;
    }
    let mut bound = Vec::new();
    plan.stream(context.snapshot, context.cancel, &mut |rows| {
        if bound.len() + rows.len() > SELECTED_MAX {
            let message = format!("the SELECT has more than {SELECTED_MAX} rows to insert");
            return Err(Error::query(QueryErrorKind::Limit, span, message)
                .advise("insert a part at a time, or COPY … TO a file and import that"));
        }
        for row in rows {
            let values = row.into_iter().zip(columns.iter().zip(&types));
            let values = values.map(|(value, (column, data_type))| match value {
                value if *data_type == column.data_type || value == Value::Null => Ok(value),
                value => names.value_for(Typed::new(Expr::value(value), *data_type, span), column),
            });
            let values = values.collect::<Result<Vec<_>>>()?;
            held.add(size_of::<Vec<Value>>() + row_bytes(&values))?;
            bound.push(values);
        }
        Ok(())
    })?;
    Ok(bound)
}

fn check_width(columns: &[&Column], values: usize, what: &str, span: Span) -> Result<()> {
    if values == columns.len() {
        return Ok(());
    }
    let listed: Vec<&str> = columns.iter().take(12).map(|column| column.name.as_str()).collect();
    let more = if columns.len() > listed.len() { ", …" } else { "" };
    let message = format!("{what} has {values} values for {} columns", columns.len());
    Err(Error::query(QueryErrorKind::Value, span, message)
        .advise(format!("the columns are {}{more}", listed.join(", "))))
}

fn on_conflict(names: &Names<'_>, conflict: Conflict) -> Result<OnConflict> {
    let schema = &names.source.schema;
    let key = schema.key.and_then(|key| schema.column(key));
    let check_target = |target: &Name| {
        bind::column_named(schema, target)?;
        match key {
            Some(key) if key.name == target.text => Ok(()),
            Some(key) => {
                let message = format!("\"{}\" is not the key of \"{}\"", target.text, schema.name);
                Err(Error::query(QueryErrorKind::Value, target.span, message)
                    .advise(format!("write ON CONFLICT (\"{}\")", key.name)))
            }
            None => Err(no_key(schema, target.span)),
        }
    };
    match conflict {
        Conflict::Refuse => Ok(OnConflict::Refuse),
        Conflict::Nothing { target } => {
            target.as_ref().map_or(Ok(()), check_target)?;
            Ok(OnConflict::Nothing)
        }
        Conflict::Update { target: Some(target), set, .. } => {
            check_target(&target)?;
            Ok(OnConflict::Update(assignments(names, &set, &mut Excluded)?))
        }
        Conflict::Update { target: None, span, .. } => Err(match key {
            Some(key) => Error::syntax(span, "ON CONFLICT … DO UPDATE names the key")
                .advise(format!("write ON CONFLICT (\"{}\") DO UPDATE", key.name)),
            None => no_key(schema, span),
        }),
    }
}

fn no_key(schema: &TableSchema, span: Span) -> Error {
    let message = format!("table \"{}\" has no key, so no row of it is in conflict", schema.name);
    Error::query(QueryErrorKind::Value, span, message).advise("leave ON CONFLICT out")
}

fn assignments(names: &Names<'_>, set: &[Set], scope: &mut dyn Scope) -> Result<Vec<Assignment>> {
    let schema = &names.source.schema;
    let mut assignments: Vec<Assignment> = Vec::with_capacity(set.len());
    for Set { column: name, value } in set {
        let column = bind::column_named(schema, name)?;
        if Some(column.id) == schema.key {
            let message = format!("the key \"{}\" cannot be changed", column.name);
            return Err(Error::unsupported(name.span, message)
                .advise("DELETE the member and INSERT it under its new key"));
        }
        if assignments.iter().any(|known| known.column == column.id) {
            return Err(twice(name));
        }
        let value = match value {
            Some(term) => names.assigned(names.value(term, scope)?, column)?,
            None => Expr::value(Value::Null),
        };
        assignments.push(Assignment { column: column.id, value });
    }
    Ok(assignments)
}
