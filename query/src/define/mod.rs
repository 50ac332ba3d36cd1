//! What statements define, carried out: tables, columns, views and audiences come, change and go.
//!
//! Names become ids here, against the snapshot of the statement; the engine checks again under its lock, so that a
//! definition never names what another session dropped meanwhile.

mod audience;
mod show;

pub(crate) use show::{describe, show_audiences, show_tables, show_users, show_views};

use crate::bind;
use crate::ddl::{CreateView, Definition, Kind};
use crate::error::{Error, QueryErrorKind, Result};
use crate::outcome::Outcome;
use crate::select;
use crate::session::Session;
use crate::statement::{ColumnDefinition, CreateTable, Name};
use crate::suggest;
use muster_engine::Snapshot;
use muster_engine::catalog::{self, Relation};
use muster_engine::database::{Dependents, ViewSpec};
use muster_engine::schema::{ColumnSpec, DataType, TableLinks, TableSchema, TableSpec};
use std::sync::Arc;

fn done(message: impl Into<String>) -> Result<Outcome> {
    Ok(Outcome::Done { message: message.into() })
}

/// The tag of a statement, and what went with what it dropped.
fn done_with(tag: &str, gone: &[String]) -> Result<Outcome> {
    match gone {
        [] => done(tag),
        gone => done(format!("{tag} (and with it {})", gone.join(", "))),
    }
}

impl Session {
    /// Carries out what [`crate::ddl`] read.
    pub(crate) fn define(&mut self, definition: Definition, snapshot: &Snapshot) -> Result<Outcome> {
        match definition {
            Definition::AddColumn { table, column, is_key, if_not_exists } => {
                self.check_writable("ALTER TABLE")?;
                let schema = alterable(snapshot, &table)?;
                if schema.column_named(&column.name.text).is_some() {
                    if if_not_exists {
                        return done("ALTER TABLE");
                    }
                    let message =
                        format!("table \"{}\" has a column \"{}\" already", schema.name, column.name.text);
                    return Err(Error::query(QueryErrorKind::Duplicate, column.name.span, message)
                        .advise("ADD COLUMN IF NOT EXISTS leaves it"));
                }
                check_key_type(&column, is_key)?;
                self.engine.add_column(schema.id, &spec_of(&column, is_key), is_key)?;
                done("ALTER TABLE")
            }
            Definition::DropColumn { table, column, if_exists, cascade } => {
                self.check_writable("ALTER TABLE")?;
                let schema = alterable(snapshot, &table)?;
                if if_exists && schema.column_named(&column.text).is_none() {
                    return done("ALTER TABLE");
                }
                let column = bind::column_named(&schema, &column)?.id;
                let gone = self.engine.drop_column(schema.id, column, dependents(cascade))?;
                done_with("ALTER TABLE", &gone)
            }
            Definition::RenameColumn { table, column, to } => {
                self.check_writable("ALTER TABLE")?;
                let schema = alterable(snapshot, &table)?;
                let column = bind::column_named(&schema, &column)?.id;
                if schema.column_named(&to.text).is_some() {
                    let message = format!("table \"{}\" has a column \"{}\" already", schema.name, to.text);
                    return Err(Error::query(QueryErrorKind::Duplicate, to.span, message));
                }
                self.engine.rename_column(schema.id, column, &to.text)?;
                done("ALTER TABLE")
            }
            Definition::Rename { kind, name, to } => {
                let tag = format!("ALTER {}", kind.word());
                self.check_writable(&tag)?;
                let relation = find(snapshot, kind, &name)?;
                if snapshot.named(&to.text).is_some() {
                    return Err(taken(snapshot, &to));
                }
                self.engine.rename(relation, &to.text)?;
                done(tag)
            }
            Definition::Drop { kind, names, if_exists, cascade } => {
                let tag = format!("DROP {}", kind.word());
                self.check_writable(&tag)?;
                let mut relations = Vec::with_capacity(names.len());
                for name in &names {
                    if if_exists && snapshot.named(&name.text).is_none() {
                        continue;
                    }
                    let relation = find(snapshot, kind, name)?;
                    if !relations.contains(&relation) {
                        relations.push(relation);
                    }
                }
                if relations.is_empty() {
                    return done(tag);
                }
                let gone = self.engine.drop_relations(&relations, dependents(cascade))?;
                done_with(&tag, &gone)
            }
            Definition::CreateView(view) => self.create_view(view, snapshot),
            Definition::CreateAudience(audience) => self.create_audience(audience, snapshot),
        }
    }

    pub(crate) fn create_table(&mut self, table: CreateTable, snapshot: &Snapshot) -> Result<Outcome> {
        self.check_writable("CREATE TABLE")?;
        let done = Outcome::Done { message: "CREATE TABLE".to_owned() };
        let name = &table.name;
        match snapshot.named(&name.text) {
            Some(Relation::Table(_)) if table.if_not_exists => return Ok(done),
            Some(Relation::Table(_)) => {
                return Err(taken(snapshot, name).advise("CREATE TABLE IF NOT EXISTS leaves it"));
            }
            Some(_) => return Err(taken(snapshot, name)),
            None => {}
        }
        let mut columns: Vec<ColumnSpec> =
            table.columns.iter().map(|column| spec_of(column, false)).collect();
        let key = match &table.key {
            None => None,
            Some(key) => {
                let Some(index) = columns.iter().position(|column| column.name == key.text) else {
                    let message = format!("unknown column \"{}\" in PRIMARY KEY", key.text);
                    return Err(Error::query(QueryErrorKind::UnknownColumn, key.span, message));
                };
                check_key_type(&table.columns[index], true)?;
                columns[index].nullable = false;
                Some(index)
            }
        };
        let links = links(&table, &columns, snapshot)?;
        self.engine.create_table(&TableSpec { links, ..TableSpec::new(&name.text, &columns, key) })?;
        Ok(done)
    }

    fn create_view(&mut self, view: CreateView, snapshot: &Snapshot) -> Result<Outcome> {
        self.check_writable("CREATE VIEW")?;
        match snapshot.named(&view.name.text) {
            Some(Relation::View(_)) if view.or_replace => {}
            Some(Relation::View(_)) => {
                return Err(taken(snapshot, &view.name).advise("CREATE OR REPLACE VIEW replaces it"));
            }
            Some(_) => return Err(taken(snapshot, &view.name)),
            None => {}
        }
        let (plan, views) = select::plan_kept(*view.select, &self.context(snapshot))?;
        let shown = plan.shown_columns()?;
        let (table, predicate) = plan.predicate_of_set()?;
        let mut columns = Vec::with_capacity(shown.len());
        for (index, (column, name)) in shown.into_iter().enumerate() {
            let renamed = view.columns.get(index).map(|name| name.text.clone());
            columns.push((column, renamed.unwrap_or(name)));
        }
        if let Some(beyond) = view.columns.get(columns.len()) {
            let message = format!("the view shows {} columns, and more are named", columns.len());
            return Err(Error::query(QueryErrorKind::UnknownColumn, beyond.span, message));
        }
        let definition = catalog::Definition::new(predicate, views)?;
        let spec = ViewSpec { name: view.name.text, table, columns, definition, source: view.source.text };
        self.engine.create_view(spec, view.or_replace)?;
        done("CREATE VIEW")
    }
}

/// What a table refers to, and whose its rows are.
fn links(table: &CreateTable, columns: &[ColumnSpec], snapshot: &Snapshot) -> Result<TableLinks> {
    let place = |name: &Name| {
        columns.iter().position(|column| column.name == name.text).ok_or_else(|| {
            let message = format!("unknown column \"{}\"", name.text);
            let names = columns.iter().map(|column| column.name.as_str());
            let error = Error::query(QueryErrorKind::UnknownColumn, name.span, message);
            match suggest::advice(&name.text, names, "the columns are") {
                Some(advice) => error.advise(advice),
                None => error,
            }
        })
    };
    let mut references = Vec::new();
    for reference in &table.references {
        if reference.table.text == table.name.text {
            let message = format!("\"{}\" refers to itself, which is not supported", table.name.text);
            return Err(Error::unsupported(reference.table.span, message).advise(
                "leave REFERENCES out: rows are tied by any columns of theirs, as in a.boss = b.id",
            ));
        }
        let other = alterable(snapshot, &reference.table)?;
        let key = other.key.and_then(|key| other.column(key));
        if let Some(named) =
            reference.key.as_ref().filter(|named| key.is_none_or(|key| key.name != named.text))
        {
            let message = format!("\"{}\" is not the PRIMARY KEY of \"{}\"", named.text, other.name);
            return Err(Error::unsupported(named.span, message).advise("a column refers to a key"));
        }
        references.push((place(&reference.column)?, other.id));
    }
    let said = |name: &Option<Option<Name>>| match name {
        None => Ok(None),
        Some(None) => Ok(Some(None)),
        Some(Some(name)) => place(name).map(|at| Some(Some(at))),
    };
    let sums = table.sums.iter().map(place).collect::<Result<Vec<_>>>()?;
    let cluster = said(&table.cluster)?.flatten();
    Ok(TableLinks {
        sums,
        cluster,
        ..TableLinks::inferred(columns, references, said(&table.owner)?, said(&table.time)?)
    })
}

fn dependents(cascade: bool) -> Dependents {
    if cascade { Dependents::Drop } else { Dependents::Refuse }
}

fn spec_of(column: &ColumnDefinition, is_key: bool) -> ColumnSpec {
    ColumnSpec {
        name: column.name.text.clone(),
        data_type: column.data_type,
        nullable: !column.not_null && !is_key,
    }
}

fn check_key_type(column: &ColumnDefinition, is_key: bool) -> Result<()> {
    if is_key && !matches!(column.data_type, DataType::BigInt | DataType::Text) {
        let message = format!("a PRIMARY KEY is BIGINT or TEXT, not {}", column.data_type);
        return Err(Error::query(QueryErrorKind::Type, column.type_span, message));
    }
    Ok(())
}

/// A name that something has already: `view "v" exists already`.
fn taken(snapshot: &Snapshot, name: &Name) -> Error {
    let kind = snapshot.named(&name.text).map_or("something", Relation::kind);
    Error::query(QueryErrorKind::Duplicate, name.span, format!("{kind} \"{}\" exists already", name.text))
}

/// The table of this name, to be altered.
fn alterable(snapshot: &Snapshot, name: &Name) -> Result<Arc<TableSchema>> {
    find(snapshot, Kind::Table, name)?;
    bind::table(snapshot, name)
}

/// What is of this kind and has this name.
fn find(snapshot: &Snapshot, kind: Kind, name: &Name) -> Result<Relation> {
    let of_kind = |relation: &Relation| match relation {
        Relation::Table(_) => Kind::Table,
        Relation::View(_) => Kind::View,
        Relation::Audience(_) => Kind::Audience,
    };
    match snapshot.named(&name.text) {
        Some(relation) if of_kind(&relation) == kind => Ok(relation),
        Some(relation) => {
            let (word, found) = (of_kind(&relation).word(), relation.kind());
            let article = if found == "audience" { "an" } else { "a" };
            let message =
                format!("\"{}\" is {article} {found}, not a {}", name.text, kind.word().to_lowercase());
            Err(Error::query(QueryErrorKind::UnknownTable, name.span, message)
                .advise(format!("write {word} instead of {}", kind.word())))
        }
        None => Err(unknown(snapshot, Some(kind), name)),
    }
}

/// Nothing has this name; of all that has one, or of a kind, the nearest is suggested.
fn unknown(snapshot: &Snapshot, kind: Option<Kind>, name: &Name) -> Error {
    let wanted = |of: Kind| kind.is_none_or(|kind| kind == of);
    let mut names: Vec<String> = Vec::new();
    if wanted(Kind::Table) {
        names.extend(snapshot.tables().iter().map(|table| table.name.clone()));
    }
    if wanted(Kind::View) {
        names.extend(snapshot.views().iter().map(|view| view.name.clone()));
    }
    if wanted(Kind::Audience) {
        names.extend(snapshot.audiences().iter().map(|audience| audience.name.clone()));
    }
    let word = kind.map_or("table".to_owned(), |kind| kind.word().to_lowercase());
    let message = format!("unknown {word} \"{}\"", name.text);
    let error = Error::query(QueryErrorKind::UnknownTable, name.span, message);
    let listed = if kind.is_some() { format!("the {word}s are") } else { "there are".to_owned() };
    match suggest::advice(&name.text, names.iter().map(String::as_str), &listed) {
        Some(advice) => error.advise(advice),
        None => {
            error.advise(format!("there is none yet: CREATE {} makes one", kind.map_or("TABLE", Kind::word)))
        }
    }
}
