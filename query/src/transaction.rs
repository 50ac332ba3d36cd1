//! A session's transaction: BEGIN, COMMIT, ROLLBACK, and what ends it otherwise.
//!
//! The engine's transaction owns the one writer, so it ends as early as it can: with the first statement that fails, with
//! the session, and when it has not been used for a time. A thread watches over that time, from BEGIN to the end. What is
//! left of a failed transaction is the word that it failed, until ROLLBACK.

use crate::cursor::Cursor;
use crate::error::{Error, QueryErrorKind, Result};
use crate::outcome::Outcome;
use crate::session::Session;
use crate::statement::Statement;
use muster_engine::database::{Durability, Transaction};
use muster_engine::mutation::{Changed, Mutation};
use muster_engine::{Cancel, Snapshot};
use sqlparser::keywords::Keyword;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a transaction may go unused, unless the session says otherwise.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a session stands between BEGIN and COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// In no transaction: each statement is one.
    None,
    /// In one.
    Open,
    /// In one that failed and is rolled back: only ROLLBACK is answered.
    Failed,
}

/// What a statement does to the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Begin,
    Commit,
    Rollback,
}

/// `BEGIN [WORK | TRANSACTION]`, `START TRANSACTION`
pub(crate) fn begin(cursor: &mut Cursor) -> Result<Statement> {
    if cursor.eat_keyword(Keyword::START) {
        cursor.expect_keyword(Keyword::TRANSACTION)?;
        return Ok(Statement::Control(Control::Begin));
    }
    control(cursor, Control::Begin)
}

/// `COMMIT [WORK | TRANSACTION]`, `END`
pub(crate) fn commit(cursor: &mut Cursor) -> Result<Statement> {
    control(cursor, Control::Commit)
}

/// `ROLLBACK [WORK | TRANSACTION]`, `ABORT`
pub(crate) fn rollback(cursor: &mut Cursor) -> Result<Statement> {
    let statement = control(cursor, Control::Rollback)?;
    if cursor.keyword() == Keyword::TO {
        return Err(Error::unsupported(cursor.span(), "savepoints are not supported")
            .advise("ROLLBACK ends the whole transaction"));
    }
    Ok(statement)
}

fn control(cursor: &mut Cursor, control: Control) -> Result<Statement> {
    cursor.take();
    if !cursor.eat_keyword(Keyword::WORK) {
        cursor.eat_keyword(Keyword::TRANSACTION);
    }
    Ok(Statement::Control(control))
}

/// A transaction that BEGIN has begun. Dropped it is rolled back.
pub(crate) struct Open(Arc<Watched>);

/// What the session and the thread that watches over it share.
struct Watched {
    state: Mutex<State>,
    /// Told when there is nothing to watch any more, or another time.
    changed: Condvar,
}

struct State {
    stage: Stage,
    /// `None` while a statement runs.
    unused_since: Option<Instant>,
    idle_timeout: Option<Duration>,
}

enum Stage {
    Writing(Box<Transaction>),
    Failed(Why),
    Ended,
}

#[derive(Clone, Copy)]
enum Why {
    /// A statement failed.
    Statement,
    /// It was not used for so long.
    Idle(Duration),
}

impl Why {
    fn error(self) -> Error {
        let (message, advice) = match self {
            Why::Statement => {
                ("the current transaction is aborted, because a statement of it failed".to_owned(), "")
            }
            Why::Idle(timeout) => (
                format!("the current transaction is aborted, because it was not used for {timeout:?}"),
                "; SET idle_in_transaction_timeout allows more",
            ),
        };
        transaction_error(message, format!("nothing of it is kept, and ROLLBACK ends it{advice}"))
    }
}

impl Open {
    fn new(transaction: Transaction, idle_timeout: Option<Duration>) -> Result<Open> {
        let state = State {
            stage: Stage::Writing(Box::new(transaction)),
            unused_since: Some(Instant::now()),
            idle_timeout,
        };
        let watched = Arc::new(Watched { state: Mutex::new(state), changed: Condvar::new() });
        let theirs = Arc::clone(&watched);
        let thread = std::thread::Builder::new().name("muster-transaction".to_owned());
        thread.spawn(move || theirs.watch()).map_err(|error| {
            transaction_error(
                format!("a transaction needs a thread, and there is none: {error}"),
                "end other transactions first",
            )
        })?;
        Ok(Open(watched))
    }

    /// A statement begins; refused where the transaction has failed.
    fn enter(&self) -> Result<()> {
        let mut state = self.0.lock();
        if let Stage::Failed(why) = state.stage {
            return Err(why.error());
        }
        state.unused_since = None;
        Ok(())
    }

    /// A statement ends, and where it failed the transaction does.
    fn leave(&self, failed: bool) {
        let mut state = self.0.lock();
        state.unused_since = Some(Instant::now());
        if failed {
            state.stage = Stage::Failed(Why::Statement);
        }
        self.0.changed.notify_one();
    }

    fn state(&self) -> TransactionState {
        match self.0.lock().stage {
            Stage::Writing(_) => TransactionState::Open,
            Stage::Failed(_) | Stage::Ended => TransactionState::Failed,
        }
    }

    fn set_idle_timeout(&self, timeout: Option<Duration>) {
        self.0.lock().idle_timeout = timeout;
        self.0.changed.notify_one();
    }

    /// The present with the transaction's own writes.
    fn snapshot(&self) -> Result<Snapshot> {
        match &self.0.lock().stage {
            Stage::Writing(transaction) => Ok(transaction.snapshot()),
            stage => Err(stage.error()),
        }
    }

    fn write(&self, mutation: &Mutation, now_micros: i64, cancel: &Cancel) -> Result<Changed> {
        match &mut self.0.lock().stage {
            Stage::Writing(transaction) => Ok(transaction.write(mutation, now_micros, cancel)?),
            stage => Err(stage.error()),
        }
    }

    fn commit(self, durability: Durability) -> Result<()> {
        match self.0.end() {
            Stage::Writing(transaction) => Ok(transaction.commit(durability)?),
            stage => Err(stage.error()),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        drop(self.0.end());
    }
}

impl Stage {
    fn error(&self) -> Error {
        if let Stage::Failed(why) = self { why.error() } else { Why::Statement.error() }
    }
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the transaction out.
    fn end(&self) -> Stage {
        let stage = std::mem::replace(&mut self.lock().stage, Stage::Ended);
        self.changed.notify_one();
        stage
    }

    /// Waits until the transaction ends, or has not been used for too long.
    fn watch(&self) {
        let mut state = self.lock();
        while let Stage::Writing(_) = state.stage {
            let (Some(since), Some(timeout)) = (state.unused_since, state.idle_timeout) else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = timeout.saturating_sub(since.elapsed());
            if left.is_zero() {
                state.stage = Stage::Failed(Why::Idle(timeout));
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Session {
    /// Where the session stands between BEGIN and COMMIT.
    pub fn transaction(&self) -> TransactionState {
        self.transaction.as_ref().map_or(TransactionState::None, Open::state)
    }

    pub(crate) fn is_in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// BEGIN, COMMIT, ROLLBACK.
    pub(crate) fn control(&mut self, control: Control) -> Result<Outcome> {
        let done = |tag: &str| Ok(Outcome::Done { message: tag.to_owned() });
        match (control, self.transaction.take()) {
            (Control::Begin, None) => {
                self.check_writable("BEGIN")?;
                let transaction = self.engine.begin(&self.cancel)?;
                self.transaction = Some(Open::new(transaction, self.idle_timeout)?);
                done("BEGIN")
            }
            (Control::Begin, open) => {
                self.transaction = open;
                Err(transaction_error("a transaction is under way already", "COMMIT or ROLLBACK ends it"))
            }
            (Control::Commit, Some(open)) => open.commit(self.durability).and_then(|()| done("COMMIT")),
            (Control::Rollback, Some(open)) => {
                drop(open);
                done("ROLLBACK")
            }
            (_, None) => Err(transaction_error("no transaction is under way", "BEGIN begins one")),
        }
    }

    /// Does something in the session's transaction, if it is in one. What fails there ends it.
    pub(crate) fn in_transaction<T>(&mut self, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        if let Some(open) = &self.transaction {
            open.enter()?;
        }
        let result = work(self);
        if let Some(open) = &self.transaction {
            open.leave(result.is_err());
        }
        result
    }

    /// Refuses what is no part of a transaction.
    pub(crate) fn check_alone(&self, what: &str) -> Result<()> {
        if self.is_in_transaction() {
            let message = format!("{what} cannot be part of a transaction");
            return Err(transaction_error(message, "write it before BEGIN or after COMMIT"));
        }
        Ok(())
    }

    /// What the session sees now.
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        let snapshot = match &self.transaction {
            Some(open) => open.snapshot()?,
            None => self.engine.snapshot(),
        };
        Ok(self.at_its_time(snapshot))
    }

    /// Writes to the session's transaction, or as one of its own.
    pub(crate) fn apply(&mut self, mutation: &Mutation, now_micros: i64) -> Result<Changed> {
        match &self.transaction {
            Some(open) => open.write(mutation, now_micros, &self.cancel),
            None => Ok(self.engine.write(mutation, now_micros, self.durability, &self.cancel)?),
        }
    }

    /// `SET idle_in_transaction_timeout`: of the transaction that is under way too. `None` is for ever.
    pub(crate) fn set_idle_timeout(&mut self, timeout: Option<Duration>) {
        self.idle_timeout = timeout;
        if let Some(open) = &self.transaction {
            open.set_idle_timeout(timeout);
        }
    }
}

/// A time as PostgreSQL's settings have it: `'60s'`, `'5min'`, `'500ms'`; a number alone counts milliseconds.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let millis = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

fn transaction_error(message: impl Into<String>, advice: impl Into<String>) -> Error {
    Error::query(QueryErrorKind::Transaction, None, message).advise(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_settings_have_them() {
        let millis = |text| duration(text).map(|time| time.as_millis());
        assert_eq!(
            ["60s", " 5 min", "500ms", "250", "2h", "1d", "0"].map(millis),
            [60_000, 300_000, 500, 250, 7_200_000, 86_400_000, 0].map(Some)
        );
        assert_eq!(
            ["", "s", "-1", "1.5s", "1 week", "99999999999999999999", "18446744073709551615d"].map(millis),
            [None; 7]
        );
    }
}
