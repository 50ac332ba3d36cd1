//! From a text to its outcome: a session's clock, cancel flag and progress, and the statements that change something.

use crate::analysis::grammar::Setting;
use crate::bind::{Context, Zone};
use crate::error::{Error, QueryErrorKind, Result};
use crate::outcome::Outcome;
use crate::parameter::Param;
use crate::statement::Statement;
use crate::{analysis, define, parse, script, select};
use muster_engine::control::Progress;
use muster_engine::expr::time;
use muster_engine::schema::DataType;
use muster_engine::value::Value;
use muster_engine::{Cancel, Snapshot};
use roaring::RoaringBitmap;
use std::sync::Arc;

/// One user's thread of statements over a database: what `now()` is, how a statement is cancelled, who hears of
/// progress. Each statement sees the present as it begins.
pub struct Session {
    pub(crate) engine: Arc<muster_engine::Database>,
    read_only: bool,
    now_micros: Option<i64>,
    zone: Option<Zone>,
    pub(crate) cancel: Cancel,
    pub(crate) progress: Option<Box<dyn FnMut(Progress) + Send>>,
    pub(crate) files_forbidden: bool,
}

impl Session {
    pub(crate) fn new(engine: Arc<muster_engine::Database>, read_only: bool) -> Session {
        Session {
            engine,
            read_only,
            now_micros: None,
            zone: None,
            cancel: Cancel::default(),
            progress: None,
            files_forbidden: false,
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
        let outcome = self
            .cancel
            .check()
            .map_err(Error::from)
            .and_then(|()| self.execute_parsed(parse::parse(sql, parameters)?, sql));
        self.rearmed(outcome)
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
        let members = match parse::parse(sql, &[])? {
            Statement::Select(select) => {
                let snapshot = self.snapshot();
                select::plan(*select, &self.context(&snapshot))
                    .and_then(|plan| plan.members(&snapshot, &self.cancel))
            }
            _ => Err(Error::unsupported(None, "an audience is the answer of a SELECT")),
        };
        self.rearmed(members)
    }

    /// A cancelled statement takes its cancellation with it.
    fn rearmed<T>(&self, result: Result<T>) -> Result<T> {
        if matches!(&result, Err(error) if error.is_cancelled()) {
            self.cancel.reset();
        }
        result
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let snapshot = self.engine.snapshot();
        match self.now_micros {
            Some(now) => snapshot.at(now),
            None => snapshot,
        }
    }

    /// What a statement is bound in.
    pub(crate) fn context<'a>(&'a self, snapshot: &'a Snapshot) -> Context<'a> {
        Context { snapshot, cancel: &self.cancel, zone: self.zone.as_ref(), kept: None }
    }

    fn execute_parsed(&mut self, statement: Statement, sql: &str) -> Result<Outcome> {
        let snapshot = self.snapshot();
        match statement {
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
            Statement::Describe(name) => define::describe(&name, &self.context(&snapshot)),
            Statement::CreateTable(table) => self.create_table(table, &snapshot),
            Statement::Define(definition) => self.define(*definition, &snapshot),
            Statement::Copy(copy) => self.copy_from(*copy, &snapshot),
            Statement::CopyTo(copy) => self.copy_to(*copy, &snapshot),
        }
    }

    /// `SET now = …`, `SET timezone = …`
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

    pub(crate) fn check_writable(&self, statement: &str) -> Result<()> {
        if self.read_only {
            let message = format!("{statement} cannot run: the database was opened for reading only");
            return Err(Error::query(QueryErrorKind::ReadOnly, None, message));
        }
        Ok(())
    }
}
