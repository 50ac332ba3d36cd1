//! The counters as Prometheus reads them: its text format, version 0.0.4.
//!
//! Written by hand. A counter of the usual libraries costs a look-up by name and labels each time, which look-ups of members cannot
//! afford; what is left of such a library is this page.

use super::Service;
use super::metrics::{BOUNDS, Class, Histogram, Late};
use std::fmt::{Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// The page of a server at this moment.
pub(super) fn page(service: &Service) -> String {
    let mut page = Page::default();
    of_process(&mut page, service);
    of_clients(&mut page, service);
    of_commands(&mut page, service);
    of_statements(&mut page, service);
    of_database(&mut page, service);
    page.text
}

fn of_process(page: &mut Page, service: &Service) {
    page.family("muster_build_info", "gauge", "The version that runs.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge(
        "muster_process_start_time_seconds",
        "When the server was started, in Unix time.",
        unix_seconds(service.metrics.started),
    );
    if let Some(bytes) = resident_bytes() {
        page.gauge(
            "muster_process_resident_memory_bytes",
            "Memory that is in use, files read in place included.",
            bytes,
        );
    }
    if let Some(files) = open_files() {
        page.gauge("muster_process_open_fds", "Open files and sockets.", files);
    }
    let is_ready = u8::from(service.unready().is_none());
    page.gauge(
        "muster_ready",
        "1 while requests are taken, 0 while the server ends or cannot write.",
        is_ready,
    );
}

fn of_clients(page: &mut Page, service: &Service) {
    let metrics = &service.metrics;
    let clients = service.clients.load(std::sync::atomic::Ordering::Relaxed);
    page.gauge("muster_clients", "Clients that are connected.", clients);
    page.gauge("muster_clients_max", "Clients that may be connected.", service.limits.clients);
    for (name, help, counter) in [
        (
            "muster_connections_total",
            "Connections accepted, those refused again among them.",
            &metrics.connections,
        ),
        ("muster_connections_refused_total", "Connections that were one too many.", &metrics.refused),
        ("muster_accept_failures_total", "Connections that could not be accepted.", &metrics.accept_failures),
        (
            "muster_protocol_errors_total",
            "Connections ended for bytes that are no request.",
            &metrics.protocol_errors,
        ),
        (
            "muster_tls_handshake_failures_total",
            "Connections ended for a handshake of TLS that failed or took too long.",
            &metrics.handshake_failures,
        ),
        ("muster_login_failures_total", "Names and passwords that did not fit.", &metrics.login_failures),
        ("muster_received_bytes_total", "Bytes of requests.", &metrics.bytes_received),
        ("muster_sent_bytes_total", "Bytes of replies.", &metrics.bytes_sent),
    ] {
        page.counter(name, help, counter.get());
    }
}

fn of_commands(page: &mut Page, service: &Service) {
    page.family("muster_commands_total", "counter", "Requests answered, by command and outcome.");
    for (name, outcomes) in service.metrics.commands() {
        for (outcome, number) in ["ok", "error"].into_iter().zip(outcomes) {
            page.sample(&[("command", &name), ("outcome", outcome)], number);
        }
    }
    page.family(
        "muster_command_duration_seconds",
        "histogram",
        "Time of requests: answered where they were read (lookup), as statements, and as writes. Those answered together have the time of all of them.",
    );
    for (class, name) in Class::ALL {
        page.histogram(&[("class", name)], service.metrics.durations(class));
    }
    page.counter(
        "muster_rows_written_total",
        "Rows inserted, updated and deleted, those of transactions that were rolled back included.",
        service.metrics.rows_written(),
    );
}

fn of_statements(page: &mut Page, service: &Service) {
    let (metrics, most) = (&service.metrics, service.limits.statements);
    let running = most.saturating_sub(service.statements.available_permits());
    page.gauge("muster_statements_running", "Statements that have a permit.", running);
    page.gauge(
        "muster_statements_waiting",
        "Clients whose statement waits for a permit.",
        metrics.waiting.get(),
    );
    page.gauge("muster_statements_max", "Permits for statements.", most);
    page.family("muster_permit_wait_seconds", "histogram", "Time that statements waited for a permit.");
    page.histogram(&[], &metrics.permit_wait);
    page.family(
        "muster_timeouts_total",
        "counter",
        "Requests that did not arrive whole, clients that did not say who they are, requests that found no permit, were cancelled as statements, or not begun behind one, and clients that took nothing of their replies.",
    );
    for (what, name) in Late::ALL {
        page.sample(&[("what", name)], metrics.late(what).get());
    }
    for (name, help, counter) in [
        (
            "muster_statements_abandoned_total",
            "Statements cancelled because their client was gone.",
            &metrics.abandoned,
        ),
        (
            "muster_statements_out_of_memory_total",
            "Statements and changes refused because they would have held more memory than they may.",
            &metrics.out_of_memory,
        ),
        (
            "muster_statement_panics_total",
            "Statements and changes that broke off: faults of the server.",
            &metrics.panics,
        ),
        (
            "muster_slow_queries_total",
            "Statements and groups of writes in the log of slow ones.",
            &metrics.slow,
        ),
    ] {
        page.counter(name, help, counter.get());
    }
}

fn of_database(page: &mut Page, service: &Service) {
    let figures = service.database.engine().figures();
    page.gauge("muster_database_lsn", "The number of the last change.", figures.lsn);
    page.gauge("muster_database_audiences", "Audiences, static and dynamic.", figures.audiences);
    page.family("muster_table_rows", "gauge", "Rows of a table.");
    for (table, rows) in &figures.rows {
        page.sample(&[("table", table)], rows);
    }
    page.gauge("muster_database_parts", "Files of parts.", figures.parts);
    page.gauge("muster_database_parts_bytes", "Bytes of parts.", figures.parts_bytes);
    page.gauge(
        "muster_database_changes_bytes",
        "Memory of changes since the last checkpoint.",
        figures.changes_bytes,
    );
    page.gauge("muster_database_log_bytes", "Bytes of the log since the last checkpoint.", figures.log_bytes);
    page.counter("muster_checkpoints_total", "Checkpoints that wrote something.", figures.checkpoints);
    page.counter("muster_checkpoint_failures_total", "Checkpoints that failed.", figures.checkpoint_failures);
    if let Some((ended, took)) = figures.checkpoint {
        page.gauge(
            "muster_checkpoint_timestamp_seconds",
            "When the last checkpoint ended, in Unix time.",
            unix_seconds(ended),
        );
        page.gauge(
            "muster_checkpoint_duration_seconds",
            "How long the last checkpoint took.",
            took.as_secs_f64(),
        );
    }
    page.gauge(
        "muster_database_poisoned",
        "1 once the disk failed a write: nothing is written until the server is started again.",
        u8::from(figures.is_poisoned),
    );
}

/// A page under way.
#[derive(Default)]
struct Page {
    text: String,
    /// The family that samples are of.
    name: &'static str,
}

impl Page {
    /// Begins a family: the samples after it are its own. The help is ours: it has no backslash and no line end.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(&[], value);
    }

    fn counter(&mut self, name: &'static str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(&[], value);
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, None, value);
    }

    fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        // The count is that of the buckets, so that the page agrees with itself while others count.
        let cumulative = histogram.cumulative();
        for (bound, number) in BOUNDS.iter().zip(cumulative) {
            let bound = (*bound as f64 / 1e9).to_string();
            self.line("_bucket", labels, Some(&bound), number);
        }
        let all = cumulative[BOUNDS.len()];
        self.line("_bucket", labels, Some("+Inf"), all);
        self.line("_sum", labels, None, histogram.seconds());
        self.line("_count", labels, None, all);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let labels = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut before = '{';
        for (name, value) in labels {
            let _ = write!(self.text, "{before}{name}=\"{}\"", escaped(value));
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// The value of a label, as it stands between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_millis() as f64 / 1e3)
}

/// What Linux says of this process; other systems say nothing.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// The folder's size is their number since Linux 6.2; before that they are counted one by one.
fn open_files() -> Option<u64> {
    let folder = "/proc/self/fd";
    match std::fs::metadata(folder).ok()?.len() {
        0 => Some(std::fs::read_dir(folder).ok()?.count() as u64),
        files => Some(files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_bounds_come_last() {
        let mut page = Page::default();
        page.family("x", "gauge", "Help.");
        page.sample(&[("table", "a\"b\\c\nd"), ("le", "no")], 1.5);
        page.sample(&[], 2);
        assert_eq!(
            page.text,
            "# HELP x Help.\n# TYPE x gauge\nx{table=\"a\\\"b\\\\c\\nd\",le=\"no\"} 1.5\nx 2\n"
        );
    }
}
