//! `muster serve`: the database for other services, over RESP.

mod observing;

use crate::failure::{Failure, Result};
use crate::serve::{Limits, ended, serve, started};
use musterdb::Database;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Serve a database to other programs, over the protocol of Redis
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The database; it is created where there is none
    directory: PathBuf,
    /// Where to listen; port 0 takes one that is free
    #[arg(long, default_value = "127.0.0.1:7878", env = "MUSTER_LISTEN", value_name = "ADDR")]
    listen: SocketAddr,
    /// Listen beyond this machine without passwords and encryption: who reaches the address may do everything
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
    /// Rows of an answer
    #[arg(long, default_value_t = Limits::default().rows, env = "MUSTER_MAX_ROWS", value_name = "N")]
    max_rows: usize,
    #[command(flatten)]
    observing: observing::ObservingArguments,
}

pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    if !arguments.listen.ip().is_loopback() && !arguments.insecure {
        return Err(Failure::new(format!(
            "{} is reached from other machines, and there are neither passwords nor encryption yet: \
             listen on 127.0.0.1, behind something that has both, or say --insecure",
            arguments.listen
        )));
    }
    if arguments.max_statements == 0 || arguments.max_clients == 0 {
        return Err(Failure::new("--max-statements and --max-clients are at least 1"));
    }
    arguments.observing.begin_log()?;
    let began = Instant::now();
    let database = match arguments.read_only {
        true => Database::open_read_only(&arguments.directory)?,
        false => Database::open(&arguments.directory)?,
    };
    let limits = Limits {
        clients: arguments.max_clients,
        statements: arguments.max_statements,
        statement_time: Duration::from_secs(arguments.statement_seconds),
        rows: arguments.max_rows,
        ..Limits::default()
    };
    let observing = arguments.observing.observing()?;
    serve(database, arguments.listen, limits, observing, |address, metrics| {
        started(&arguments.directory, address, metrics, arguments.read_only);
        if let Some(metrics) = metrics {
            writeln!(out, "figures on http://{metrics}/metrics")?;
        }
        writeln!(out, "ready on {address} (RESP2 and RESP3): redis-cli -p {} COMMAND LIST", address.port())?;
        out.flush()?;
        Ok(())
    })?;
    ended(began.elapsed());
    writeln!(out, "closed")?;
    Ok(())
}
