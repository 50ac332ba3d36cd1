//! `muster serve`: the database for other services, over RESP.
//!
//! A flag is a setting of the file that `--config` names as well: see [`settings`].

mod reach;
pub(crate) mod settings;

mod observing;

use crate::failure::{Failure, Result};
use crate::serve::{Limits, Tls, ended, serve, started};
use musterdb::Database;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Serve a database to other programs, over the protocol of Redis
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The database; it is created where there is none
    directory: PathBuf,
    /// A file of settings, TOML: its keys are the flags below, which win over it, as their variables do
    #[arg(long, env = "MUSTER_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where to listen, as HOST:PORT or PORT; port 0 takes one that is free
    #[arg(long, default_value = "127.0.0.1:7878", env = "MUSTER_LISTEN", value_name = "ADDR", value_parser = address)]
    listen: SocketAddr,
    /// A certificate, PEM, with those that lead to its authority behind it: connections are TLS, and nothing else
    #[arg(long, env = "MUSTER_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, PEM
    #[arg(long, env = "MUSTER_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Seconds that the handshake of TLS may take
    #[arg(long, default_value_t = 10, env = "MUSTER_HANDSHAKE_SECONDS", value_name = "N")]
    handshake_seconds: u64,
    /// Listen beyond this machine without users or without TLS
    #[arg(long, env = "MUSTER_INSECURE")]
    insecure: bool,
    /// Answer questions only
    #[arg(long, env = "MUSTER_READ_ONLY")]
    read_only: bool,
    /// Clients at a time
    #[arg(long, default_value_t = Limits::default().clients, env = "MUSTER_MAX_CLIENTS", value_name = "N")]
    max_clients: usize,
    /// Statements at a time; look-ups do not count
    #[arg(long, default_value_t = Limits::default().statements, env = "MUSTER_MAX_STATEMENTS", value_name = "N")]
    max_statements: usize,
    /// Seconds that a statement may take
    #[arg(long, default_value_t = Limits::default().statement_time.as_secs(), env = "MUSTER_STATEMENT_SECONDS", value_name = "N")]
    statement_seconds: u64,
    /// Mebibytes that a statement may take for its rows, groups and lists
    #[arg(long, default_value_t = Limits::default().statement_memory >> 20, env = "MUSTER_STATEMENT_MEMORY", value_name = "MIB")]
    statement_memory: u64,
    /// Rows of an answer
    #[arg(long, default_value_t = Limits::default().rows, env = "MUSTER_MAX_ROWS", value_name = "N")]
    max_rows: usize,
    #[command(flatten)]
    observing: observing::ObservingArguments,
}

pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let counts = [arguments.max_statements, arguments.max_clients];
    let amounts = [arguments.statement_memory, arguments.handshake_seconds];
    if counts.contains(&0) || amounts.contains(&0) {
        return Err(Failure::new(
            "--max-statements, --max-clients, --statement-memory and --handshake-seconds are at least 1",
        ));
    }
    arguments.observing.begin_log()?;
    let began = Instant::now();
    let tls = tls(arguments)?;
    let protected = |users| {
        let protection = reach::Protection { users, tls: tls.is_some(), waived: arguments.insecure };
        reach::check(arguments.listen, protection)
    };
    if !arguments.directory.exists() {
        // It would have no users, and is not made for nothing.
        protected(false)?;
    }
    let database = match arguments.read_only {
        true => Database::open_read_only(&arguments.directory)?,
        false => Database::open(&arguments.directory)?,
    };
    protected(!database.engine().snapshot().users().is_empty())?;
    let (over, option) = match &tls {
        Some(_) => (", over TLS", "--tls --cacert CA "),
        None => ("", ""),
    };
    let limits = Limits {
        clients: arguments.max_clients,
        statements: arguments.max_statements,
        statement_time: Duration::from_secs(arguments.statement_seconds),
        statement_memory: arguments.statement_memory.saturating_mul(1 << 20),
        rows: arguments.max_rows,
        ..Limits::default()
    };
    let observing = arguments.observing.observing()?;
    serve(database, arguments.listen, limits, observing, tls, |address, metrics| {
        started(&arguments.directory, address, metrics, arguments.read_only);
        if let Some(metrics) = metrics {
            writeln!(out, "figures on http://{metrics}/metrics")?;
        }
        let port = address.port();
        writeln!(
            out,
            "ready on {address} (RESP2 and RESP3{over}): redis-cli {option}-p {port} COMMAND LIST"
        )?;
        out.flush()?;
        Ok(())
    })?;
    ended(began.elapsed());
    writeln!(out, "closed")?;
    Ok(())
}

/// An address to listen on: numbers, a name of this machine, or a port of it alone.
fn address(text: &str) -> std::result::Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let unusable = |why: &str| format!("{why}; write HOST:PORT, as in 127.0.0.1:7878");
    let mut found = text.to_socket_addrs().map_err(|error| unusable(&error.to_string()))?;
    found.next().ok_or_else(|| unusable("no address has this name"))
}

/// The certificate and its key, where there are both.
fn tls(arguments: &Arguments) -> Result<Option<Tls>> {
    match (&arguments.tls_cert, &arguments.tls_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            Tls::read(certificate, key, Duration::from_secs(arguments.handshake_seconds)).map(Some)
        }
        (Some(_), None) => Err(Failure::new("--tls-cert needs the key of the certificate, --tls-key")),
        (None, Some(_)) => {
            Err(Failure::new("--tls-key needs the certificate that the key belongs to, --tls-cert"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses_are_written_in_three_ways() {
        let of = |text: &str| address(text).map(|found| found.to_string());
        assert_eq!(of("7878").as_deref(), Ok("127.0.0.1:7878"));
        assert_eq!(of("[::1]:0").as_deref(), Ok("[::1]:0"));
        assert!(of("localhost:7878").unwrap().ends_with(":7878"));
        assert!(of("127.0.0.1").unwrap_err().ends_with("; write HOST:PORT, as in 127.0.0.1:7878"));
    }
}
