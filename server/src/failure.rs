//! How a command fails: with a message and exit code 1, or quietly because nobody reads its output any more.

use std::io::{self, Write};

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A sentence without a full stop; shown as `error: …`.
    Message(String),
    /// An error that is already rendered with its place in the statement.
    Rendered(String),
    /// All that went wrong was shown when it did; only the exit code is left to say so.
    Reported,
    /// Whoever read the output closed it, as `head` does: no error.
    ClosedPipe,
}

impl Failure {
    /// A failure with this message.
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure::Message(message.into())
    }

    /// Writes the failure to stderr. Where that is closed as well, the exit code has to say it all.
    pub(crate) fn show(&self) {
        let _ = match self {
            Failure::Message(message) => writeln!(io::stderr(), "error: {message}"),
            Failure::Rendered(text) => writeln!(io::stderr(), "{text}"),
            Failure::Reported | Failure::ClosedPipe => Ok(()),
        };
    }

    /// What it says.
    pub(crate) fn text(&self) -> &str {
        match self {
            Failure::Message(text) | Failure::Rendered(text) => text,
            Failure::Reported | Failure::ClosedPipe => "",
        }
    }

    /// The failure of a statement, drawn with the place to blame.
    pub(crate) fn of_statement(error: &musterdb::Error, sql: &str) -> Failure {
        Failure::Rendered(error.render(sql))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::Message(error.to_string()),
        }
    }
}

impl From<muster_engine::Error> for Failure {
    fn from(error: muster_engine::Error) -> Failure {
        match error {
            muster_engine::Error::Cancelled => Failure::new("cancelled; nothing changed"),
            other => Failure::Message(other.to_string()),
        }
    }
}

impl From<musterdb::Error> for Failure {
    fn from(error: musterdb::Error) -> Failure {
        match error {
            musterdb::Error::Engine(engine) => engine.into(),
            other => Failure::Message(other.to_string()),
        }
    }
}

impl From<parquet::errors::ParquetError> for Failure {
    fn from(error: parquet::errors::ParquetError) -> Failure {
        Failure::Message(error.to_string())
    }
}

/// The result of a command.
pub(crate) type Result<T> = std::result::Result<T, Failure>;
