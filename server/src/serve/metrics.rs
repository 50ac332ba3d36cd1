//! What is counted while the server runs.
//!
//! Look-ups come by the million a second: what they count is first noted beside their client ([`Noted`]), and added to what all share
//! once for all requests that arrived together. There the order between counters does not matter, so each is a relaxed addition.

use super::commands::{COMMANDS, Command};
use musterdb::Stats;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// The commands, and one more for names that are none.
const KINDS: usize = COMMANDS.len() + 1;

/// The bounds of a histogram's buckets, in nanoseconds: 50 µs to 60 s.
pub(super) const BOUNDS: [u64; 19] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    pub(super) fn one(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many are at something at the moment.
#[derive(Debug, Default)]
pub(super) struct Gauge(AtomicUsize);

impl Gauge {
    /// Counts until what comes back is dropped.
    pub(super) fn hold(&self) -> Held<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self)
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One that is counted.
pub(super) struct Held<'g>(&'g Gauge);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Durations by their length.
#[derive(Debug)]
pub(super) struct Histogram {
    /// How many fell between the bound before and this one; the last are beyond all bounds.
    buckets: [Counter; BOUNDS.len() + 1],
    nanos: Counter,
}

impl Histogram {
    const fn new() -> Histogram {
        Histogram { buckets: [const { Counter::new() }; BOUNDS.len() + 1], nanos: Counter::new() }
    }

    /// So many took so long, each.
    pub(super) fn observe(&self, took: Duration, times: u64) {
        let nanos = took.as_nanos() as u64;
        self.buckets[BOUNDS.partition_point(|bound| *bound < nanos)].add(times);
        self.nanos.add(nanos.saturating_mul(times));
    }

    /// How many took at most as long as each bound, and how many there are at all.
    pub(super) fn cumulative(&self) -> [u64; BOUNDS.len() + 1] {
        let mut sum = 0;
        std::array::from_fn(|at| {
            sum += self.buckets[at].get();
            sum
        })
    }

    /// Seconds of all together.
    pub(super) fn seconds(&self) -> f64 {
        self.nanos.get() as f64 / 1e9
    }
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Where it was read.
    Lookup,
    /// Under a permit.
    Statement,
    /// As one of a group that shared a sync.
    Write,
}

impl Class {
    pub(super) const ALL: [(Class, &str); 3] =
        [(Class::Lookup, "lookup"), (Class::Statement, "statement"), (Class::Write, "write")];
}

/// What took too long.
#[derive(Clone, Copy, Debug)]
pub(super) enum Late {
    /// A request did not arrive whole.
    Request,
    /// Nobody said who a client is.
    Login,
    /// No permit for a statement became free.
    Permit,
    /// A statement, which was cancelled.
    Statement,
    /// What stood before a request, which was not begun.
    Behind,
    /// A client that takes nothing of its replies.
    Reply,
}

impl Late {
    pub(super) const ALL: [(Late, &str); 6] = [
        (Late::Request, "request"),
        (Late::Login, "login"),
        (Late::Permit, "permit"),
        (Late::Statement, "statement"),
        (Late::Behind, "behind"),
        (Late::Reply, "reply"),
    ];
}

/// All counters of a server.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) started: SystemTime,
    /// Clients that were accepted, those refused again among them.
    pub(super) connections: Counter,
    /// Clients that were one too many.
    pub(super) refused: Counter,
    pub(super) accept_failures: Counter,
    pub(super) protocol_errors: Counter,
    pub(super) handshake_failures: Counter,
    /// Names and passwords that do not fit.
    pub(super) login_failures: Counter,
    pub(super) bytes_received: Counter,
    pub(super) bytes_sent: Counter,
    /// Statements that wait for a permit.
    pub(super) waiting: Gauge,
    pub(super) permit_wait: Histogram,
    /// Statements whose client was gone.
    pub(super) abandoned: Counter,
    /// Statements and changes that would have held more memory than they may.
    pub(super) out_of_memory: Counter,
    pub(super) panics: Counter,
    pub(super) slow: Counter,
    rows_written: Counter,
    /// Of each command those that went well, and those that ended in an error.
    commands: [[Counter; 2]; KINDS],
    durations: [Histogram; Class::ALL.len()],
    late: [Counter; Late::ALL.len()],
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        Metrics {
            started: SystemTime::now(),
            connections: Counter::new(),
            refused: Counter::new(),
            accept_failures: Counter::new(),
            protocol_errors: Counter::new(),
            handshake_failures: Counter::new(),
            login_failures: Counter::new(),
            bytes_received: Counter::new(),
            bytes_sent: Counter::new(),
            waiting: Gauge::default(),
            permit_wait: Histogram::new(),
            abandoned: Counter::new(),
            out_of_memory: Counter::new(),
            panics: Counter::new(),
            slow: Counter::new(),
            rows_written: Counter::new(),
            commands: [const { [const { Counter::new() }; 2] }; KINDS],
            durations: [const { Histogram::new() }; Class::ALL.len()],
            late: [const { Counter::new() }; Late::ALL.len()],
        }
    }

    /// Adds what was noted, and what is noted from now on begins at nothing. The answer of the last statement is forgotten.
    pub(super) fn add(&self, noted: &mut Noted) {
        for (counters, noted) in self.commands.iter().zip(&mut noted.commands) {
            for (counter, noted) in counters.iter().zip(noted) {
                if *noted > 0 {
                    counter.add(u64::from(std::mem::take(noted)));
                }
            }
        }
        if noted.rows_written > 0 {
            self.rows_written.add(std::mem::take(&mut noted.rows_written));
        }
        noted.answer = Answer::default();
    }

    pub(super) fn durations(&self, class: Class) -> &Histogram {
        &self.durations[class as usize]
    }

    pub(super) fn late(&self, what: Late) -> &Counter {
        &self.late[what as usize]
    }

    pub(super) fn rows_written(&self) -> u64 {
        self.rows_written.get()
    }

    /// Each command in small letters, how often it went well, and how often not.
    pub(super) fn commands(&self) -> impl Iterator<Item = (String, [u64; 2])> {
        let names = COMMANDS.iter().map(|command| command.name.to_lowercase());
        let counted = self.commands.iter().map(|outcomes| [outcomes[0].get(), outcomes[1].get()]);
        names.chain(["unknown".to_owned()]).zip(counted)
    }

    /// Requests that were answered, however.
    pub(super) fn answered(&self) -> u64 {
        self.commands.iter().flatten().map(Counter::get).sum()
    }

    /// Errors that were replied.
    pub(super) fn errors(&self) -> u64 {
        self.commands.iter().map(|outcomes| outcomes[1].get()).sum::<u64>() + self.protocol_errors.get()
    }
}

/// What is noted of a client's requests, until it is added to what all share.
#[derive(Debug)]
pub(super) struct Noted {
    commands: [[u32; 2]; KINDS],
    /// Those of them that were answered where they were read.
    pub(super) at_once: u64,
    pub(super) rows_written: u64,
    pub(super) answer: Answer,
}

/// What a statement, or a group of writes, came to.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Rows of the answer, of statements that have some.
    pub(super) rows: Option<u64>,
    pub(super) stats: Stats,
    /// The first error.
    pub(super) error: Option<String>,
}

impl Noted {
    pub(super) fn new() -> Noted {
        Noted { commands: [[0; 2]; KINDS], at_once: 0, rows_written: 0, answer: Answer::default() }
    }

    /// [`Self::answered`] where it was read.
    pub(super) fn at_once(&mut self, command: Option<&'static Command>, error: Option<String>) {
        self.at_once += 1;
        self.answered(command, error);
    }

    /// Takes note of a request that was answered, and with which error if so.
    pub(super) fn answered(&mut self, command: Option<&'static Command>, error: Option<String>) {
        let kind = command.and_then(|command| COMMANDS.element_offset(command)).unwrap_or(KINDS - 1);
        self.commands[kind][usize::from(error.is_some())] += 1;
        if self.answer.error.is_none() {
            self.answer.error = error;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::commands::find;
    use super::*;

    #[test]
    fn a_duration_falls_in_the_bucket_of_the_bound_that_it_does_not_pass() {
        let histogram = Histogram::new();
        histogram.observe(Duration::from_micros(50), 2);
        histogram.observe(Duration::from_nanos(50_001), 1);
        histogram.observe(Duration::from_secs(60), 1);
        histogram.observe(Duration::from_secs(61), 3);
        let cumulative = histogram.cumulative();
        assert_eq!((cumulative[0], cumulative[1], cumulative[17], cumulative[18]), (2, 3, 3, 4));
        assert_eq!(cumulative[19], 7);
        assert!((histogram.seconds() - 243.000_150_001).abs() < 1e-9);
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn what_was_noted_is_added_once() {
        let (metrics, mut noted) = (Metrics::new(), Noted::new());
        noted.answered(find(b"count"), None);
        noted.answered(find(b"count"), None);
        noted.answered(find(b"untag"), Some("ERR no".into()));
        noted.answered(None, Some("ERR what".into()));
        noted.rows_written = 3;
        metrics.add(&mut noted);
        metrics.add(&mut noted);
        let counted: Vec<(String, [u64; 2])> = metrics.commands().filter(|(_, n)| *n != [0, 0]).collect();
        let named = |name: &str, outcomes| (name.to_owned(), outcomes);
        assert_eq!(counted, [named("count", [2, 0]), named("untag", [0, 1]), named("unknown", [0, 1])]);
        assert_eq!((metrics.answered(), metrics.errors(), metrics.rows_written()), (4, 2, 3));
    }

    #[test]
    fn classes_and_kinds_of_lateness_stand_in_their_order() {
        assert!(Class::ALL.iter().enumerate().all(|(at, (class, _))| *class as usize == at));
        assert!(Late::ALL.iter().enumerate().all(|(at, (what, _))| *what as usize == at));
    }
}
