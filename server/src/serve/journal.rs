//! What the server tells of itself: events, each with named fields, for whoever reads the log.
//!
//! Nothing is told of a request or a connection that went well. What a client can bring about as often as it likes (refusals, bytes
//! that are no request) is told sparingly: the counters have all of it. A text of a statement passes through [`secrets_masked`], and
//! of commands about connections, where passwords stand, no word is told.

use super::client::Client;
use super::commands::Command;
use super::metrics::Metrics;
use crate::resp::Request;
use musterdb::secrets_masked;
use std::borrow::Cow;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{debug, error, info, warn};

/// Events of a kind that are told in a time; the others are counted, and their number is told with the next one.
const SPARING: (u32, Duration) = (10, Duration::from_secs(10));

/// What is told of a statement's text, and of an error.
const TEXT_BYTES_MAX: usize = 2 * 1024;

/// Words of a request that are told; a look-up may have a million.
const WORDS_MAX: usize = 64;

/// Tells, and knows what it did not tell.
#[derive(Debug)]
pub(super) struct Journal {
    /// From which time on statements are told; `None` tells of none.
    slow: Option<Duration>,
    refusals: Sparing,
    protocol_errors: Sparing,
    late_requests: Sparing,
    login_failures: Sparing,
    accept_failures: Sparing,
    no_permits: Sparing,
    late_statements: Sparing,
}

/// What was run, and how long it took.
pub(super) struct Ran<'r> {
    pub(super) request: &'r Request,
    pub(super) command: Option<&'static Command>,
    /// How many requests there were with it, itself included.
    pub(super) requests: usize,
    pub(super) took: Duration,
    /// How long it waited for a permit before.
    pub(super) waited: Duration,
}

impl Journal {
    pub(super) fn new(slow: Option<Duration>) -> Journal {
        Journal {
            slow,
            refusals: Sparing::default(),
            protocol_errors: Sparing::default(),
            late_requests: Sparing::default(),
            login_failures: Sparing::default(),
            accept_failures: Sparing::default(),
            no_permits: Sparing::default(),
            late_statements: Sparing::default(),
        }
    }

    pub(super) fn connected(&self, peer: SocketAddr, id: u64) {
        debug!(target: "muster::serve", %peer, id, "a client came");
    }

    pub(super) fn disconnected(&self, peer: SocketAddr, id: u64) {
        debug!(target: "muster::serve", %peer, id, "a client left");
    }

    pub(super) fn refused(&self, peer: SocketAddr) {
        self.refusals.tell(|untold| {
            warn!(target: "muster::serve", %peer, untold, "a client was one too many and was refused");
        });
    }

    pub(super) fn protocol_error(&self, peer: SocketAddr, what: &str) {
        self.protocol_errors.tell(|untold| {
            warn!(target: "muster::serve", %peer, what, untold, "a client sent bytes that are no request");
        });
    }

    pub(super) fn late_request(&self, peer: SocketAddr, what: &str) {
        self.late_requests.tell(|untold| {
            warn!(target: "muster::serve", %peer, what, untold, "a client was too slow and was left");
        });
    }

    pub(super) fn login_refused(&self, peer: SocketAddr) {
        self.login_failures.tell(|untold| {
            warn!(target: "muster::serve", %peer, untold, "a name and a password did not fit");
        });
    }

    pub(super) fn accept_failed(&self, error: &std::io::Error) {
        self.accept_failures.tell(|untold| {
            error!(target: "muster::serve", %error, untold, "a connection could not be accepted");
        });
    }

    pub(super) fn no_permit(&self, peer: SocketAddr) {
        self.no_permits.tell(|untold| {
            warn!(target: "muster::serve", %peer, untold, "a statement found no permit in time");
        });
    }

    pub(super) fn late_statement(&self, peer: SocketAddr) {
        self.late_statements.tell(|untold| {
            warn!(target: "muster::serve", %peer, untold, "a statement took too long and was cancelled");
        });
    }

    pub(super) fn abandoned(&self, peer: SocketAddr) {
        info!(target: "muster::serve", %peer, "a client left before its statement ended, which was cancelled");
    }

    pub(super) fn ending(&self, clients: usize) {
        info!(target: "muster::serve", clients, "told to end: no more clients are taken");
    }

    pub(super) fn left_behind(&self, clients: usize) {
        warn!(target: "muster::serve", clients, "what runs is left unfinished: its time is over");
    }

    /// Tells of a statement, or a group of writes, that took long.
    pub(super) fn ran(&self, metrics: &Metrics, client: &Client, ran: &Ran<'_>) {
        if self.slow.is_none_or(|slow| ran.took + ran.waited < slow) {
            return;
        }
        metrics.slow.one();
        let answer = &client.noted.answer;
        // The sentence of an error may have words of the request in it.
        let error = answer.error.as_deref().map(|error| match is_private(ran.command) {
            true => error.split(' ').next().unwrap_or_default(),
            false => cut(error),
        });
        warn!(
            target: "muster::slow",
            peer = %client.peer,
            user = client.user(),
            command = ran.command.map_or("unknown", |command| command.name),
            text = text_of(ran, client).as_deref(),
            requests = ran.requests,
            duration_ms = milliseconds(ran.took),
            waited_ms = milliseconds(ran.waited),
            rows = answer.rows,
            chunks = answer.stats.chunks,
            bytes = answer.stats.bytes,
            error,
            "slow"
        );
    }
}

/// Of commands about connections no word is told, and of what is no command neither: a password may be among them.
fn is_private(command: Option<&'static Command>) -> bool {
    command.is_none_or(|command| ["connection", "server"].contains(&command.group))
}

/// What may be told of a request's words.
fn text_of(ran: &Ran<'_>, client: &Client) -> Option<String> {
    let command = ran.command.filter(|_| !is_private(ran.command))?;
    let words: Vec<Cow<'_, str>> =
        ran.request.words().iter().take(WORDS_MAX).map(String::from_utf8_lossy).collect();
    let text = match (command.group, command.name) {
        ("statement", "EXECUTE") => Cow::Borrowed(client.prepared.get(&**words.get(1)?)?.as_str()),
        ("statement", "PREPARE") => words.get(2)?.clone(),
        ("statement", _) => words.get(1)?.clone(),
        _ => Cow::Owned(words.join(" ")),
    };
    Some(shown(&text))
}

/// A statement's text as others may see it: without passwords, and not without end.
pub(super) fn shown(text: &str) -> String {
    cut(&secrets_masked(text)).to_owned()
}

/// As much of a text as is told.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

/// Lets a few events through in a time.
#[derive(Debug, Default)]
struct Sparing(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    since: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Sparing {
    /// Tells an event with the number of those before it that were not, or only counts it.
    fn tell(&self, tell: impl FnOnce(u64)) {
        let untold = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (most, time) = SPARING;
            if state.since.is_none_or(|since| since.elapsed() >= time) {
                (state.since, state.told) = (Some(Instant::now()), 0);
            }
            if state.told == most {
                state.untold += 1;
                return;
            }
            state.told += 1;
            std::mem::take(&mut state.untold)
        };
        tell(untold);
    }
}

/// The server takes clients from now on.
pub(crate) fn started(
    directory: &std::path::Path,
    listen: SocketAddr,
    metrics: Option<SocketAddr>,
    read_only: bool,
) {
    info!(
        target: "muster::serve",
        version = env!("CARGO_PKG_VERSION"),
        directory = &*directory.to_string_lossy(),
        %listen,
        metrics = metrics.map(tracing::field::display),
        read_only,
        "started"
    );
}

/// What was done could not be written down.
pub(super) fn audit_failed(file: &std::path::Path, error: &std::io::Error) {
    error!(target: "muster::audit", file = &*file.to_string_lossy(), %error, "the audit log cannot be written");
}

/// The database is closed.
pub(crate) fn ended(uptime: Duration) {
    info!(target: "muster::serve", uptime_seconds = uptime.as_secs_f64(), "ended");
}

/// A thread broke off: a fault of the server's.
pub(crate) fn panicked(thread: &str, place: &dyn Display, message: &str, backtrace: Option<String>) {
    let message = secrets_masked(message);
    error!(target: "muster::serve", thread, %place, reason = cut(&message), backtrace, "a thread panicked");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_events_a_few_are_told_and_the_others_counted() {
        let (sparing, mut told) = (Sparing::default(), 0);
        (0..100).for_each(|_| sparing.tell(|_| told += 1));
        assert_eq!(told, SPARING.0);
        // As after its time.
        sparing.0.lock().unwrap_or_else(PoisonError::into_inner).since = None;
        sparing.tell(|untold| assert_eq!(untold, 90));
    }

    #[test]
    fn a_text_is_cut_between_letters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"ü".repeat(2_000)).len(), 2_048);
        assert_eq!(cut(&format!("a{}", "ü".repeat(2_000))).len(), 2_047);
    }
}
