//! What a client may take at most.

use crate::resp;
use musterdb::Role;
use std::time::Duration;

/// Bytes a second of a request that may take long because it is large.
const SLOWEST: usize = 64 * 1024;

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
    /// How long a request may take to arrive; it has a second more for each [`SLOWEST`] bytes that are there.
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

    /// How long a request may be under way of which so many bytes are there. However few come at a time, they keep no place for ever.
    pub(super) fn time_to_arrive(&self, bytes: usize) -> Duration {
        self.request_time + Duration::from_secs((bytes / SLOWEST) as u64)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_requests_have_more_time_and_a_few_bytes_have_none() {
        let limits = Limits::default();
        let seconds = |bytes| limits.time_to_arrive(bytes).as_secs();
        assert_eq!((seconds(0), seconds(100), seconds(65_536), seconds(64 << 20)), (30, 30, 31, 30 + 1_024));
    }
}
