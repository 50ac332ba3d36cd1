//! From a text to its outcome: a session's clock, cancel flag and progress, and the statements that change something.

use crate::analysis::grammar::Setting;
use crate::bind::{Context, Zone};
use crate::error::{Error, QueryErrorKind, Result};
use crate::outcome::Outcome;
use crate::parameter::Param;
use crate::statement::Statement;
use crate::users::secrets;
use crate::{analysis, define, parse, script, select, transaction};
use muster_engine::catalog::Role;
use muster_engine::control::Progress;
use muster_engine::database::Durability;
use muster_engine::expr::time;
use muster_engine::mutation::{Changed, Mutation};
use muster_engine::schema::DataType;
use muster_engine::value::Value;
use muster_engine::{Cancel, Snapshot};
use roaring::RoaringBitmap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// One user's thread of statements over a database: what `now()` is, how a statement is cancelled, who hears of
/// progress. Each statement sees the present as it begins, and between `BEGIN` and `COMMIT` what the session has written.
/// Dropped in a transaction it is rolled back.
pub struct Session {
    pub(crate) engine: Arc<muster_engine::Database>,
    read_only: bool,
    pub(crate) role: Role,
    /// The role that the last statement asked for.
    pub(crate) needed: Role,
    now_micros: Option<i64>,
    zone: Option<Zone>,
    pub(crate) cancel: Cancel,
    /// The most that `SET memory_limit` can allow.
    pub(crate) memory_ceiling: Option<u64>,
    pub(crate) progress: Option<Box<dyn FnMut(Progress) + Send>>,
    pub(crate) files_forbidden: bool,
    pub(crate) transaction: Option<transaction::Open>,
    /// How long a transaction may go unused; `None` is for ever.
    pub(crate) idle_timeout: Option<Duration>,
    /// When what the session writes is on disk.
    pub(crate) durability: Durability,
    /// How often a part of the statement was bound a second way.
    second_ways: AtomicUsize,
}

impl Session {
    pub(crate) fn new(engine: Arc<muster_engine::Database>, read_only: bool) -> Session {
        Session {
            engine,
            read_only,
            role: Role::Admin,
            needed: Role::Read,
            now_micros: None,
            zone: None,
            cancel: Cancel::default(),
            memory_ceiling: None,
            progress: None,
            files_forbidden: false,
            transaction: None,
            idle_timeout: Some(transaction::IDLE_TIMEOUT),
            durability: Durability::Synced,
            second_ways: AtomicUsize::new(0),
        }
    }

    /// Fixes `now()` to microseconds since 1970-01-01 00:00:00 UTC, or with `None` lets it run again.
    pub fn set_now(&mut self, micros: impl Into<Option<i64>>) {
        self.now_micros = micros.into();
    }

    /// A handle that cancels this session's statement from any thread: the one that runs, or else the next one, which
    /// then ends with [`muster_engine::Error::Cancelled`] and changes nothing. Call [`Cancel::reset`] before a statement
    /// to drop what came too late for the last.
    pub fn cancel_handle(&self) -> Cancel {
        self.cancel.clone()
    }

    /// True where a change is acknowledged when it is on disk: unless the session has `SET synchronous_commit = off`.
    pub fn is_synced(&self) -> bool {
        self.durability == Durability::Synced
    }

    /// Hears of the progress of imports and exports, about ten times a second.
    pub fn on_progress(&mut self, hear: impl FnMut(Progress) + Send + 'static) {
        self.progress = Some(Box::new(hear));
    }

    /// Executes one statement. A semicolon may end it.
    pub fn execute(&mut self, sql: &str) -> Result<Outcome> {
        self.execute_with(sql, &[])
    }

    /// Executes one statement whose `$1`, `$2`, … are these.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = musterdb::Database::open(directory.path().join("db"))?;
    /// # db.execute("CREATE TABLE members (id BIGINT PRIMARY KEY, city TEXT)")?;
    /// let question = "SELECT count(*) FROM members WHERE city = $1 OR id = ANY($2)";
    /// let found: u64 = db.session().execute_with(question, &["Lima".into(), vec![1, 2, 3].into()])?.single()?;
    /// # assert_eq!(found, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn execute_with(&mut self, sql: &str, parameters: &[Param]) -> Result<Outcome> {
        self.needed = Role::Read;
        let _kept = self.cancel.keeping();
        let outcome =
            self.cancel.check().map_err(Error::from).and_then(|()| match parse::parse(sql, parameters) {
                Ok(Statement::Control(control)) => self.control(control),
                parsed => self.in_transaction(|session| session.execute_parsed(parsed?, sql)),
            });
        self.rearmed(outcome).map_err(|error| secrets::concealed(error, sql))
    }

    /// Applies a change that is described without SQL, in the session's transaction if it is in one. Returns when it is
    /// visible and durable (unless the session has `SET synchronous_commit = off`), or refuses the whole of it.
    pub fn write(&mut self, mutation: &Mutation) -> Result<Changed> {
        let _kept = self.cancel.keeping();
        let changed = self.in_transaction(|session| {
            session.check_writable("a write")?;
            let now_micros = session.snapshot()?.now_micros();
            session.apply(mutation, now_micros)
        });
        self.rearmed(changed)
    }

    /// [`Self::write`] of several changes in their order, each whole and by itself: one that is refused leaves the others. Outside a
    /// transaction they share a sync. There is an answer for each; the first error in a transaction ends it.
    pub fn write_each(&mut self, mutations: &[Mutation]) -> Vec<Result<Changed>> {
        let now_micros = match self.snapshot() {
            Ok(snapshot) if self.transaction.is_none() && !self.read_only && self.role >= Role::Write => {
                snapshot.now_micros()
            }
            _ => return mutations.iter().map(|mutation| self.write(mutation)).collect(),
        };
        let changed = self.engine.write_each(mutations, now_micros, self.durability, &self.cancel);
        changed.into_iter().map(|changed| self.rearmed(changed.map_err(Error::from))).collect()
    }

    /// Executes the statements of a script one by one and hands over each outcome as soon as it is there. Stops at the
    /// first error, whose span counts from the start of the script.
    pub fn execute_script(&mut self, sql: &str, mut hear: impl FnMut(Outcome)) -> Result<()> {
        for span in script::spans(sql).0 {
            let outcome =
                self.execute(&sql[span.start..span.end]).map_err(|error| error.shifted(span.start))?;
            hear(outcome);
        }
        Ok(())
    }

    /// The members of a `SELECT columns FROM table WHERE …` as a bitmap of ordinals.
    pub fn audience(&mut self, sql: &str) -> Result<RoaringBitmap> {
        let _kept = self.cancel.keeping();
        let members = self.in_transaction(|session| match parse::parse(sql, &[])? {
            Statement::Select(select) => {
                let snapshot = session.snapshot()?;
                select::plan(*select, &session.context(&snapshot))?.members(&snapshot, &session.cancel)
            }
            _ => Err(Error::unsupported(None, "an audience is the answer of a SELECT")),
        });
        self.rearmed(members).map_err(|error| secrets::concealed(error, sql))
    }

    /// A cancelled statement takes its cancellation with it.
    fn rearmed<T>(&self, result: Result<T>) -> Result<T> {
        if matches!(&result, Err(error) if error.is_cancelled()) {
            self.cancel.reset();
        }
        result
    }

    /// A snapshot under the session's clock.
    pub(crate) fn at_its_time(&self, snapshot: Snapshot) -> Snapshot {
        match self.now_micros {
            Some(now) => snapshot.at(now),
            None => snapshot,
        }
    }

    /// What a statement is bound in.
    pub(crate) fn context<'a>(&'a self, snapshot: &'a Snapshot) -> Context<'a> {
        self.second_ways.store(0, Ordering::Relaxed);
        Context {
            snapshot,
            cancel: &self.cancel,
            zone: self.zone.as_ref(),
            kept: None,
            second_ways: &self.second_ways,
        }
    }

    fn execute_parsed(&mut self, statement: Statement, sql: &str) -> Result<Outcome> {
        let snapshot = self.snapshot()?;
        match statement {
            Statement::Change(change) => self.change(*change, &snapshot),
            Statement::Control(control) => self.control(control),
            Statement::Checkpoint => self.checkpoint(),
            Statement::Refresh => self.refresh(),
            Statement::Backup { directory, span } => self.backup(&directory, span),
            Statement::Select(select) => {
                select::plan(*select, &self.context(&snapshot))?.run(&snapshot, &self.cancel)
            }
            Statement::Explain(explain) => {
                let plan = select::plan(explain.select, &self.context(&snapshot))?;
                analysis::explain(plan, explain.analyze, &snapshot, &self.cancel)
            }
            Statement::Profile(profile) => analysis::profile(*profile, &self.context(&snapshot)),
            Statement::Overlap(overlap) => analysis::overlap(*overlap, sql, &self.context(&snapshot)),
            Statement::Set(setting) => self.set(setting),
            Statement::ShowTables => Ok(define::show_tables(&snapshot)),
            Statement::ShowViews => define::show_views(&self.context(&snapshot)),
            Statement::ShowAudiences => define::show_audiences(&self.context(&snapshot)),
            Statement::ShowUsers => {
                self.check_role("SHOW USERS", Role::Admin)?;
                Ok(define::show_users(&snapshot))
            }
            Statement::Describe(name) => define::describe(&name, &self.context(&snapshot)),
            Statement::CreateTable(table) => {
                self.check_alone("CREATE TABLE")?;
                self.create_table(table, &snapshot)
            }
            Statement::Define(definition) => {
                self.check_alone("CREATE, ALTER and DROP")?;
                self.define(*definition, &snapshot)
            }
            Statement::Users(change) => {
                self.check_alone("CREATE, ALTER and DROP")?;
                self.change_users(*change, &snapshot)
            }
            Statement::Copy(copy) => {
                self.check_alone("COPY … FROM")?;
                self.copy_from(*copy, &snapshot)
            }
            Statement::CopyTo(copy) => self.copy_to(*copy, &snapshot),
        }
    }

    /// `SET name = …`
    fn set(&mut self, setting: Setting) -> Result<Outcome> {
        let refuse = |message: String, advice: &str| {
            Err(Error::query(QueryErrorKind::Value, setting.span, message).advise(advice))
        };
        match (setting.name.text.as_str(), &setting.value) {
            ("now", None) => self.now_micros = None,
            ("now", Some(text)) => {
                // Without a zone it is the session's local time.
                let local = Value::parse(text, DataType::Timestamp)
                    .or_else(|_| Value::parse(text, DataType::TimestampTz));
                self.now_micros = match (local, &self.zone) {
                    (Ok(Value::Timestamp(micros)), Some(zone)) => time::to_instant(&zone.zone, micros),
                    (Ok(Value::Timestamp(micros) | Value::TimestampTz(micros)), _) => Some(micros),
                    _ => return refuse(format!("{text:?} is no time"), "SET now = '2026-06-30 10:00:00'"),
                };
            }
            ("idle_in_transaction_timeout", None) => self.set_idle_timeout(Some(transaction::IDLE_TIMEOUT)),
            ("idle_in_transaction_timeout", Some(text)) => match transaction::duration(text) {
                Some(timeout) => self.set_idle_timeout((!timeout.is_zero()).then_some(timeout)),
                None => {
                    let advice = "SET idle_in_transaction_timeout = '60s'; '0' never ends a transaction";
                    return refuse(format!("{text:?} is no length of time"), advice);
                }
            },
            ("synchronous_commit", value) => {
                self.durability = match value.as_deref().map(str::to_ascii_lowercase).as_deref() {
                    None | Some("on") => Durability::Synced,
                    Some("off") => Durability::Relaxed,
                    Some(other) => {
                        return refuse(
                            format!("{other:?} is neither on nor off"),
                            "SET synchronous_commit = off",
                        );
                    }
                };
            }
            ("memory_limit", value) => self.limit_memory(value.as_deref(), setting.span)?,
            (_, None) => self.zone = None,
            (_, Some(name)) => {
                let Some(zone) = time::zone_named(name) else {
                    return refuse(
                        format!("there is no time zone {name:?}"),
                        "SET timezone = 'Asia/Shanghai'",
                    );
                };
                // UTC is what there is without a zone, and needs no conversions.
                let utc = zone == time::TimeZone::UTC;
                let iana = zone.iana_name().unwrap_or(name).into();
                self.zone = (!utc).then_some(Zone { name: iana, zone });
            }
        }
        Ok(Outcome::Done { message: "SET".to_owned() })
    }

    /// Refuses what changes the database where the session's role, or the database, is for reading only.
    pub(crate) fn check_writable(&mut self, statement: &str) -> Result<()> {
        self.check_role(statement, Role::Write)?;
        if self.read_only {
            let message = format!("{statement} cannot run: the database was opened for reading only");
            return Err(Error::query(QueryErrorKind::ReadOnly, None, message));
        }
        Ok(())
    }
}
