//! `muster shell`: SQL from the command line, a file, a pipe or the keyboard, one answer after the other.

mod interactive;
mod piped;

use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::output::{self, Format};
use musterdb::{Database, Error, Outcome, Session, split_statements};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// Asks a database: with -c and -f, through a pipe, or interactively.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  muster shell ./db
  muster shell ./db -c \"SELECT count(*) FROM members WHERE t00 AND NOT t01\"
  muster shell ./db -f questions.sql --format csv > answers.csv
  echo \"SHOW TABLES\" | muster shell ./db --format json

With -c nothing but the answers is printed. The first statement that fails ends the run with exit code 1.")]
pub(crate) struct Arguments {
    /// The database's directory; created where there is none
    dir: PathBuf,
    /// Execute this, print the answer, and end; may be given several times
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    commands: Vec<String>,
    /// Execute the statements of this file (after those of -c), and end
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Option<PathBuf>,
    /// How answers are written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// What now() is, e.g. '2026-11-01 00:00:00' (UTC); the clock otherwise
    #[arg(long, value_name = "TIMESTAMP", value_parser = timestamp)]
    now: Option<i64>,
    /// Open for reading only: several processes can do so at once
    #[arg(long)]
    read_only: bool,
}

/// Reads `--now` into microseconds since 1970-01-01 UTC.
fn timestamp(text: &str) -> std::result::Result<i64, String> {
    use musterdb::{DataType, Value};
    match Value::parse(text, DataType::TimestampTz) {
        Ok(Value::TimestampTz(micros)) => Ok(micros),
        Ok(_) => Err("expected a timestamp".into()),
        Err(error) => Err(error.reason),
    }
}

/// A session with somewhere to write its answers.
struct Shell<'a> {
    session: Session,
    out: &'a mut dyn Write,
    format: Format,
}

impl Shell<'_> {
    /// Executes one statement; Ctrl-C cancels it.
    fn execute(&mut self, sql: &str) -> std::result::Result<Outcome, Error> {
        let cancel = self.session.cancel_handle();
        interrupt::cancels(&cancel, || self.session.execute(sql))
    }

    /// Executes a script and writes each answer as soon as it is there. Stops at the first error, which shows its
    /// place in the whole script.
    fn run_script(&mut self, script: &str) -> Result<()> {
        for statement in split_statements(script) {
            let outcome = self.execute(statement).map_err(|error| {
                let start = statement.as_ptr() as usize - script.as_ptr() as usize;
                Failure::of_statement(&shifted(error, start), script)
            })?;
            output::write(self.out, &outcome, self.format)?;
            self.out.flush()?;
        }
        Ok(())
    }
}

/// The same error for a text that has `bytes` more in front.
fn shifted(mut error: Error, bytes: usize) -> Error {
    if let Error::Query { span: Some(span), .. } = &mut error {
        span.start += bytes;
        span.end += bytes;
    }
    error
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let database = if arguments.read_only {
        Database::open_read_only(&arguments.dir)?
    } else {
        Database::open(&arguments.dir)?
    };
    let mut session = database.session();
    session.set_now(arguments.now);
    let mut shell = Shell { session, out, format: arguments.format };
    if !arguments.commands.is_empty() || arguments.file.is_some() {
        for command in &arguments.commands {
            shell.run_script(command)?;
        }
        if let Some(file) = &arguments.file {
            let script = std::fs::read_to_string(file)
                .map_err(|e| Failure::new(format!("cannot read {}: {e}", file.display())))?;
            shell.run_script(&script)?;
        }
        return Ok(());
    }
    if std::io::stdin().is_terminal() {
        interactive::run(&mut shell, &database, &arguments.dir)
    } else {
        piped::run(&mut shell, std::io::stdin().lock())
    }
}
