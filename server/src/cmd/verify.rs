//! `muster verify`: reads every byte of a database and says whether it is what was written.

use crate::failure::Result;
use crate::figures::{bytes, duration, thousands};
use crate::interrupt;
use crate::progress::Bar;
use muster_engine::Cancel;
use muster_engine::control::Progress;
use muster_engine::database::{Database, Mode};
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// Checks every checksum, form and padding byte of a database, and its log. The first damage found ends it with exit code 1 and
/// the file and place.
///
/// Changes nothing, and can run while the database is in use.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The database's directory
    dir: PathBuf,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let started = Instant::now();
    let database = Database::open(&arguments.dir, Mode::ReadOnly)?;
    let total: u64 = database.inspect()?.bytes;
    let (bar, cancel, mut read) = (Bar::new("verify"), Cancel::default(), 0u64);
    let done = interrupt::cancels(&cancel, || {
        database.verify(&cancel, &mut |part, parts, bytes_of_part| {
            read += bytes_of_part;
            bar.show(Progress {
                rows: part as u64,
                rows_total: Some(parts as u64),
                share: read as f64 / total.max(1) as f64,
                phase: "parts",
            });
        })
    })?;
    drop(bar);
    writeln!(
        out,
        "ok: {} in {} part files, {} sections; {} of log, {} records since the checkpoint; in {}",
        bytes(done.bytes),
        thousands(done.parts),
        thousands(done.sections),
        bytes(done.log_bytes),
        thousands(done.log_records),
        duration(started.elapsed())
    )?;
    Ok(())
}
