//! What operators see of a server: where its figures are, and what it logs, how and where.

use crate::failure::{Failure, Result};
use crate::serve::{Audit, Observing, panicked};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{Registry, fmt};

// Its name is that of a group of arguments, which has to be another than that of the command.
#[derive(clap::Args)]
pub(super) struct ObservingArguments {
    /// Where Prometheus finds figures (/metrics, and /health and /ready); nothing listens unless this is given
    #[arg(long, env = "MUSTER_METRICS", value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// How events are written to stderr
    #[arg(long, value_enum, default_value = "text", env = "MUSTER_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Format,
    /// Which events
    #[arg(long, value_enum, default_value = "info", env = "MUSTER_LOG_LEVEL", value_name = "LEVEL")]
    log_level: Level,
    /// Milliseconds from which on a statement is logged as slow: 0 logs all, off none
    #[arg(
        long,
        default_value = "1000",
        env = "MUSTER_SLOW_QUERY_MS",
        value_name = "N",
        allow_hyphen_values = true
    )]
    slow_query_ms: Slow,
    /// Where to write down who changed what, a line of JSON each
    #[arg(long, env = "MUSTER_AUDIT_LOG", value_name = "FILE")]
    audit_log: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A line for people
    Text,
    /// An object a line
    Json,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
}

/// From which time on a statement is slow; `None` is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slow(Option<Duration>);

impl FromStr for Slow {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Slow, String> {
        match text {
            "off" | "-1" => Ok(Slow(None)),
            number => match number.parse() {
                Ok(milliseconds) => Ok(Slow(Some(Duration::from_millis(milliseconds)))),
                Err(_) => Err("it is a number of milliseconds, or off".to_owned()),
            },
        }
    }
}

/// Something that events go to.
type Sink = Box<dyn Layer<Registry> + Send + Sync>;

impl ObservingArguments {
    pub(super) fn observing(&self) -> Result<Observing> {
        let audit = self.audit_log.as_deref().map(Audit::open).transpose()?;
        Ok(Observing { metrics: self.metrics, slow: self.slow_query_ms.0, audit })
    }

    /// Events go to their sinks from now on, and panics are events. Each sink has a filter of its own.
    pub(super) fn begin_log(&self) -> Result<()> {
        let sinks = vec![self.to_stderr()];
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(sinks))
            .map_err(|error| Failure::new(format!("cannot begin the log: {error}")))?;
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            let message = panic.payload_as_str().unwrap_or("no message");
            let backtrace = std::backtrace::Backtrace::capture();
            let is_there = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
            let place = panic.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
            let backtrace = is_there.then(|| backtrace.to_string());
            panicked(thread.name().unwrap_or("unnamed"), &place, message, backtrace);
        }));
        Ok(())
    }

    fn to_stderr(&self) -> Sink {
        let level = match self.log_level {
            Level::Off => LevelFilter::OFF,
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
        };
        // Only what is ours: a library's events are not written with passwords in mind.
        let ours = Targets::new().with_target("muster", level);
        // Who reads the log may be gone. That ends no server: without this the failure would be printed, and that panics.
        let lines = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
        match self.log_format {
            Format::Text => lines.with_filter(ours).boxed(),
            Format::Json => {
                let flat = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
                flat.with_filter(ours).boxed()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_a_number_of_milliseconds_or_never() {
        assert_eq!("off".parse(), Ok(Slow(None)));
        assert_eq!("-1".parse(), Ok(Slow(None)));
        assert_eq!("0".parse(), Ok(Slow(Some(Duration::ZERO))));
        assert_eq!("250".parse(), Ok(Slow(Some(Duration::from_millis(250)))));
        for wrong in ["-2", "1s", "", "1.5"] {
            assert!(wrong.parse::<Slow>().is_err(), "{wrong}");
        }
    }
}
