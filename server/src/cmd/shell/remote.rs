//! A server as the shell's database, over RESP3: `muster shell --connect HOST:PORT`.
//!
//! ```text
//! statement ─┬─ COPY: files of this machine, rows of the server (copy)
//!            └─ STATEMENT text, parameters ─ connection ─ a map ─ Outcome │ Error with its place
//! ```
//!
//! The protocol has no word that cancels: Ctrl-C closes the connection, and the server ends what runs for it. A person's shell connects
//! again with the next statement, and says so; a script's does not, since the settings of its session are gone. A transaction that ended
//! with its connection has failed, until ROLLBACK.

mod answer;
mod connection;
mod copy;
mod names;
mod tls;

pub(super) use connection::{Connection, Login};
pub(super) use tls::Trust;

use super::answerer::Answerer;
use super::complete::Names;
use answer::ServersAnswer;
use musterdb::{Cancel, ClientCopy, Error, Outcome, Param, QueryErrorKind, Result, TransactionState, Value};
use std::io;

/// A session of a server.
pub(super) struct Remote {
    login: Login,
    /// `None` after it was lost.
    connection: Option<Connection>,
    cancel: Cancel,
    now: Option<i64>,
    transaction: TransactionState,
    /// True after a connection ended in a transaction, until that is rolled back.
    lost_transaction: bool,
    interactive: bool,
}

impl Remote {
    pub(super) fn new(login: Login, now: Option<i64>) -> Result<Remote> {
        let mut remote = Remote {
            login,
            connection: None,
            cancel: Cancel::default(),
            now,
            transaction: TransactionState::None,
            lost_transaction: false,
            interactive: false,
        };
        remote.connect()?;
        Ok(remote)
    }

    fn connect(&mut self) -> Result<()> {
        let connection = Connection::open(&self.login, self.cancel.clone())?;
        self.connection = Some(connection);
        self.transaction = TransactionState::None;
        if let Some(now) = self.now {
            self.ask(&format!("SET now = '{}'", Value::TimestampTz(now)), &[])?;
        }
        Ok(())
    }

    /// Executes a statement of the server.
    fn ask(&mut self, sql: &str, parameters: &[Param]) -> Result<Outcome> {
        let mut all = Vec::new();
        let answer = self.asked(sql, parameters, &mut |_, rows| {
            all.append(rows);
            Ok(())
        })?;
        Ok(answer.into_outcome(all))
    }

    /// Executes a statement of the server, whose rows are handed over as they come, a few at a time.
    fn asked(
        &mut self,
        sql: &str,
        parameters: &[Param],
        hear: &mut answer::Hear<'_>,
    ) -> Result<ServersAnswer> {
        let words = words(sql, parameters)?;
        let connection = self.connection.as_mut().ok_or_else(|| failed("there is no connection"))?;
        match connection.say(&words).and_then(|()| answer::read(connection.replies(), hear)) {
            Ok(answer) => {
                self.transaction = answer.transaction;
                match answer.refusal {
                    Some(error) => Err(error),
                    None => Ok(answer),
                }
            }
            Err(answer::Broken::Heard(error)) => {
                self.lose();
                Err(error)
            }
            Err(answer::Broken::Connection(error)) => {
                self.lose();
                if self.cancel.is_cancelled() {
                    return Err(Error::Engine(muster_engine::Error::Cancelled));
                }
                let server = &self.login.address;
                Err(failed(match error.kind() {
                    io::ErrorKind::InvalidData => format!("what {server} sent is no answer: {error}"),
                    io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe => {
                        format!(
                            "{server} closed the connection before it had answered: whether the statement was done is not known"
                        )
                    }
                    _ => format!("the connection to {server} failed before it had answered: {error}"),
                }))
            }
        }
    }

    /// The connection has no use any more.
    fn lose(&mut self) {
        self.connection = None;
        self.lost_transaction |= self.transaction != TransactionState::None;
        self.transaction = TransactionState::None;
    }

    /// The connection, again where that is right. An answer where the statement needs no server.
    fn again(&mut self, sql: &str) -> Result<Option<Outcome>> {
        if self.lost_transaction {
            let word = sql.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
            if !matches!(word.as_str(), "rollback" | "abort") {
                let message = "the transaction ended with its connection, and nothing of it is kept";
                return Err(Error::Query {
                    kind: QueryErrorKind::Transaction,
                    message: message.to_owned(),
                    span: None,
                    suggestion: Some("ROLLBACK ends it".to_owned()),
                });
            }
            self.lost_transaction = false;
            return Ok(Some(Outcome::Done { message: "ROLLBACK".to_owned() }));
        }
        if self.connection.is_none() {
            if !self.interactive {
                return Err(failed(format!("the connection to {} is lost", self.login.address)));
            }
            self.connect()?;
            eprintln!("(connected again; what SET had set in the session is as it was at first)");
        }
        Ok(None)
    }
}

impl Answerer for Remote {
    fn execute(&mut self, sql: &str, parameters: &[Param]) -> Result<Outcome> {
        if let Some(outcome) = self.again(sql)? {
            return Ok(outcome);
        }
        match ClientCopy::of(sql, parameters)? {
            Some(copy) => self.copy(&copy, parameters),
            None => self.ask(sql, parameters),
        }
    }

    fn cancel_handle(&self) -> Cancel {
        self.cancel.clone()
    }

    fn transaction(&self) -> TransactionState {
        if self.lost_transaction { TransactionState::Failed } else { self.transaction }
    }

    fn names(&self) -> Box<dyn Names> {
        Box::new(names::OfServer::new(self.login.clone()))
    }

    fn place(&self) -> String {
        self.login.address.clone()
    }

    fn is_interactive(&mut self) {
        self.interactive = true;
    }
}

/// The words of a request.
fn words(sql: &str, parameters: &[Param]) -> Result<Vec<Vec<u8>>> {
    let mut words = vec![b"STATEMENT".to_vec(), sql.as_bytes().to_vec()];
    for parameter in parameters {
        match parameter {
            Param::Value(Value::Text(text)) => words.push(text.as_bytes().to_vec()),
            _ => {
                return Err(failed(
                    "a parameter that goes to a server is a text: write NULL in the statement",
                ));
            }
        }
    }
    Ok(words)
}

/// An error that has no place in the text.
fn failed(message: impl Into<String>) -> Error {
    Error::Query { kind: QueryErrorKind::Value, message: message.into(), span: None, suggestion: None }
}
