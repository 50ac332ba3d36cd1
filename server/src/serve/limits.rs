//! What a client may take at most.

use crate::resp;
use musterdb::Role;
use std::time::Duration;

/// Each ends in an error that says so, and hurts nobody else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Clients at a time.
    pub(crate) clients: usize,
    /// What a request may be.
    pub(crate) request: resp::Limits,
    /// Requests of a client that are answered in one go; the others wait in the socket.
    pub(crate) pipeline: usize,
    /// Statements at a time; others wait.
    pub(crate) statements: usize,
    /// How long a statement may take, waiting included.
    pub(crate) statement_time: Duration,
    /// The bytes that a statement may hold.
    pub(crate) statement_memory: u64,
    /// How long a request may take to arrive.
    pub(crate) request_time: Duration,
    /// How long a client may take to say who it is, where users are asked.
    pub(crate) login_time: Duration,
    /// How long a client may take nothing of its replies.
    pub(crate) reply_time: Duration,
    /// Rows of an answer.
    pub(crate) rows: usize,
}

impl Limits {
    /// What a request may be of a client in a role, or of a stranger.
    pub(super) fn request_of(&self, role: Option<Role>) -> resp::Limits {
        match role {
            Some(_) => self.request,
            None => resp::Limits::BEFORE_AUTH,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        let request = resp::Limits { arguments: 1 << 20, argument_bytes: 64 << 20, request_bytes: 128 << 20 };
        Limits {
            clients: 10_000,
            request,
            pipeline: 1_024,
            statements: 2,
            statement_time: Duration::from_secs(60),
            statement_memory: 1 << 30,
            request_time: Duration::from_secs(30),
            login_time: Duration::from_secs(30),
            reply_time: Duration::from_secs(300),
            rows: 1_000_000,
        }
    }
}
