//! MusterDB: an embedded analytical database that says who belongs to an audience, now, exactly.
//!
//! A database is a directory. It holds tables of members (customers, households, devices), each with attributes and
//! tags, and answers questions about them in PostgreSQL's SQL: how many, grouped how, and who.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let file = directory.path().join("members.csv");
//! std::fs::write(&file, "id,city,spend,tags\n1,Kyoto,120.50,{vip}\n2,Lima,,{}\n3,Lima,9.99,{vip}\n")?;
//!
//! let db = musterdb::Database::open(directory.path().join("db"))?;
//! db.execute("CREATE TABLE members (id BIGINT PRIMARY KEY, city TEXT, spend DECIMAL(12,2), tags TEXT[])")?;
//! db.execute(&format!("COPY members FROM '{}' (FORMAT csv, HEADER)", file.display()))?;
//!
//! // A count is one number.
//! let vips: u64 = db.execute("SELECT count(*) FROM members WHERE 'vip' = ANY(tags)")?.single()?;
//! assert_eq!(vips, 2);
//!
//! // Rows have typed columns; NULL is `None`.
//! let cities = db.execute("SELECT city, count(*), sum(spend) FROM members GROUP BY city ORDER BY city")?;
//! for row in cities.rows() {
//!     let (city, members): (String, u64) = (row.get(0)?, row.get(1)?);
//!     println!("{city}: {members} members");
//! }
//!
//! // An audience is a Roaring bitmap of ordinals, ready to be intersected with others.
//! let audience = db.audience("SELECT id FROM members WHERE city = 'Lima' AND spend IS NOT NULL")?;
//! assert_eq!(audience.iter().collect::<Vec<u32>>(), [2]);
//! # Ok(())
//! # }
//! ```
//!
//! # Without SQL
//!
//! A [`Predicate`] says the same without a text. It names columns by id and holds literals; [`Database::count`] and
//! [`Database::members`] answer it:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let db = musterdb::Database::open(directory.path().join("db"))?;
//! # db.execute("CREATE TABLE members (id BIGINT PRIMARY KEY, city TEXT, tags TEXT[])")?;
//! use musterdb::{CompareOp, Predicate, Value};
//! let members = db.table("members")?;
//! let city = members.column_named("city").expect("created above").id;
//! let tags = members.column_named("tags").expect("created above").id;
//! let audience = Predicate::compare(city, CompareOp::Eq, Value::Text("Lima".into()))
//!     .and(Predicate::has_tag(tags, "vip").not());
//! assert_eq!(db.count("members", &audience)?, 0);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Mutation`] changes rows: typed values, whole or not at all. [`Database::write`] applies one, [`Session::write`] in the
//! session's transaction:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let db = musterdb::Database::open(directory.path().join("db"))?;
//! # db.execute("CREATE TABLE members (id BIGINT PRIMARY KEY, city TEXT, tags TEXT[])")?;
//! use musterdb::{Assignment, Expr, Function, Insert, Mutation, OnConflict, Value};
//! let members = db.table("members")?;
//! let [id, city, tags] =
//!     ["id", "city", "tags"].map(|name| members.column_named(name).expect("created above").id);
//! // Who is there already keeps the city, and gets the tags beside those of before.
//! let merged = Expr::call(Function::AddTags, [Expr::Column(tags), Expr::Column(tags.excluded())]);
//! let visit = |member: i64, place: &str, tag: &str| {
//!     vec![Value::Integer(member), Value::Text(place.into()), Value::tags([tag.to_owned()])]
//! };
//! let visits = Mutation::Insert(Insert {
//!     table: members.id,
//!     columns: vec![id, city, tags],
//!     rows: vec![visit(1, "Kyoto", "new"), visit(2, "Lima", "new")],
//!     conflict: OnConflict::Update(vec![Assignment { column: tags, value: merged }]),
//! });
//! assert_eq!(db.write(&visits)?.inserted, 2);
//! assert_eq!(db.write(&visits)?.updated, 2);
//! # Ok(())
//! # }
//! ```
//!
//! # How a statement flows
//!
//! ```text
//! text ─ dialect (tokens, limits) ─ parse: grammar, condition, ddl, copy ─ bind (ids, types) ─ select ─ engine
//!                                   our statement, constants folded         Predicate           sinks    Outcome
//!                                                                           Mutation            write
//! ```
//!
//! Errors carry the place in the text: [`Error::render`] draws it, `unknown column "cty", did you mean "city"?`.
//! What is answered, and where it differs from PostgreSQL, stands in `docs/QUERY.md`.

mod analysis;
mod bind;
mod calls;
mod client_copy;
mod condition;
mod constant;
mod copy;
mod cursor;
mod ddl;
mod define;
mod dialect;
mod error;
mod grammar;
mod interval;
mod maintain;
mod memory;
mod naive;
mod order;
mod outcome;
mod parameter;
mod parse;
mod refusals;
mod script;
mod select;
mod session;
mod statement;
mod suggest;
mod transaction;
mod transfer;
mod types;
mod users;
mod write;

pub use bind::FUNCTIONS;
pub use client_copy::{ClientCopy, ClientFiles};
pub use dialect::{DEPTH_MAX, LIST_ITEMS_MAX, OPERATORS_MAX, STATEMENT_BYTES_MAX, TERMS_MAX};
pub use error::{Error, QueryErrorKind, Result, Span};
pub use muster_engine::catalog::Role;
pub use muster_engine::control::{Cancel, Progress};
pub use muster_engine::exec::Stats;
pub use muster_engine::expr::{Expr, Function};
pub use muster_engine::mutation::{Assignment, Changed, Delete, Insert, Mutation, OnConflict, Update};
pub use muster_engine::predicate::{CompareOp, Interval, Literal, Predicate, Truth};
pub use muster_engine::schema::{Column, ColumnId, DataType, TableId, TableSchema};
pub use muster_engine::value::{Value, ValueError};
pub use outcome::{AccessError, FromValue, Outcome, OutcomeColumn, Row};
pub use parameter::Param;
pub use roaring::RoaringBitmap;
pub use script::{is_complete, split_statements};
pub use session::Session;
pub use transaction::TransactionState;
pub use users::secrets::secrets_masked;

use muster_engine::database::Mode;
use muster_engine::exec::{Count, Members, Scope, Sink};
use std::path::Path;
use std::sync::Arc;

/// An open database. Cloning is cheap and shares it; it closes with its last clone and session.
#[derive(Clone)]
pub struct Database {
    engine: Arc<muster_engine::Database>,
    read_only: bool,
}

impl Database {
    /// Opens a directory for reading and writing, and creates the database where there is none. Only one process at a
    /// time can do so.
    pub fn open(directory: impl AsRef<Path>) -> Result<Database> {
        Database::open_in(directory.as_ref(), Mode::ReadWrite)
    }

    /// Opens an existing database for reading only.
    pub fn open_read_only(directory: impl AsRef<Path>) -> Result<Database> {
        Database::open_in(directory.as_ref(), Mode::ReadOnly)
    }

    fn open_in(directory: &Path, mode: Mode) -> Result<Database> {
        let engine = Arc::new(muster_engine::Database::open(directory, mode)?);
        if mode == Mode::ReadWrite {
            // Without threads for it changes only stay longer in memory and in the log, and all are synced.
            let _ = engine.begin_upkeep();
        }
        Ok(Database { engine, read_only: mode == Mode::ReadOnly })
    }

    /// A session: its own clock, cancel flag and progress.
    pub fn session(&self) -> Session {
        Session::new(Arc::clone(&self.engine), self.read_only)
    }

    /// Executes one statement in a session of its own.
    pub fn execute(&self, sql: &str) -> Result<Outcome> {
        self.session().execute(sql)
    }

    /// Executes the statements of a script; see [`Session::execute_script`].
    pub fn execute_script(&self, sql: &str, hear: impl FnMut(Outcome)) -> Result<()> {
        self.session().execute_script(sql, hear)
    }

    /// The members of a `SELECT columns FROM table WHERE …` as ordinals (row numbers from 0).
    ///
    /// Ordinals of one table can be intersected, united and subtracted; they are not keys.
    pub fn audience(&self, sql: &str) -> Result<RoaringBitmap> {
        self.session().audience(sql)
    }

    /// The tables, by name.
    pub fn tables(&self) -> Vec<Arc<TableSchema>> {
        self.engine.snapshot().tables()
    }

    /// The table of this name (exact bytes).
    pub fn table(&self, name: &str) -> Result<Arc<TableSchema>> {
        bind::table(&self.engine.snapshot(), &statement::Name::outside(name))
    }

    /// Values of a TEXT column, or tags of a TEXT[] column, that begin with `prefix` (exact bytes), in order, at most
    /// `limit` of them: for a user who is about to type one. A column whose texts hardly repeat has no list to look in and
    /// gives none. Cost: a search in the column's dictionary, whatever the number of members.
    pub fn text_values(&self, table: &str, column: &str, prefix: &str, limit: usize) -> Result<Vec<String>> {
        let snapshot = self.engine.snapshot();
        let table = bind::table(&snapshot, &statement::Name::outside(table))?;
        let column = bind::column_named(&table, &statement::Name::outside(column))?.id;
        Ok(snapshot.text_values(table.id, column, prefix, limit)?)
    }

    /// The number of members of a predicate.
    pub fn count(&self, table: &str, predicate: &Predicate) -> Result<u64> {
        self.evaluate(table, predicate, &Count)
    }

    /// The members of a predicate as ordinals (row numbers from 0).
    pub fn members(&self, table: &str, predicate: &Predicate) -> Result<RoaringBitmap> {
        self.evaluate(table, predicate, &Members)
    }

    /// Applies a change that is described without SQL, as a transaction of its own. Returns when it is durable and visible,
    /// or refuses the whole of it.
    pub fn write(&self, mutation: &Mutation) -> Result<Changed> {
        self.session().write(mutation)
    }

    /// The engine below: snapshots, sinks, scopes.
    pub fn engine(&self) -> &muster_engine::Database {
        &self.engine
    }

    fn evaluate<S: Sink>(&self, table: &str, predicate: &Predicate, sink: &S) -> Result<S::Output> {
        let snapshot = self.engine.snapshot();
        let table = bind::table(&snapshot, &statement::Name::outside(table))?.id;
        let (output, _) = muster_engine::evaluate(
            &snapshot,
            table,
            predicate,
            &Scope::default(),
            &Cancel::default(),
            sink,
        )?;
        Ok(output)
    }
}
