//! The binary `muster`: one program to make, fill, ask and measure a MusterDB database.
//!
//! ```text
//! main (arguments, exit code) ─ cmd::{demo, shell, import, export, generate, bench, inspect, verify, serve} ─ musterdb, muster-engine
//! ```
//!
//! Answers go to stdout, everything else (errors, progress, questions) to stderr. Exit code 0 is success, 1 a failure
//! (`error: …` says which), 2 wrong usage, 130 Ctrl-C. A closed pipe ends the program quietly.

mod cmd;
mod failure;
mod figures;
mod interrupt;
mod output;
mod population;
mod progress;
mod questions;
mod resp;
mod serve;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use failure::{Failure, Result};
use std::io::{BufWriter, Write};
use std::process::ExitCode;

/// Steps over rows take and give back columns all the time; what gives pages back to the system each time spends a quarter of it on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// MusterDB says who belongs to an audience: exactly, and in milliseconds for 100 million members.
#[derive(Parser)]
#[command(name = "muster", version, about, long_about = None, arg_required_else_help = true)]
#[command(after_help = "Begin with:
  muster demo                                      a population, some questions, and their times
  muster import ./db people people.csv --key id    your own members
  muster shell ./db                                ask them")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(cmd::demo::Arguments),
    Shell(cmd::shell::Arguments),
    Import(Box<cmd::import::Arguments>),
    Export(cmd::export::Arguments),
    Generate(cmd::generate::Arguments),
    Bench(cmd::bench::Arguments),
    Inspect(cmd::inspect::Arguments),
    Verify(cmd::verify::Arguments),
    Serve(cmd::serve::Arguments),
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| run(&arguments.command)) {
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(Failure::Reported) => ExitCode::FAILURE,
        Err(failure) => {
            failure.show();
            ExitCode::FAILURE
        }
    }
}

/// The arguments of the command line, the environment, and the file of settings that they name.
fn arguments() -> Result<Arguments> {
    let arguments = Arguments::parse();
    let Command::Serve(cmd::serve::Arguments { config: Some(file), .. }) = &arguments.command else {
        return Ok(arguments);
    };
    let command = cmd::serve::settings::under(Arguments::command(), file)?;
    Arguments::from_arg_matches(&command.get_matches()).map_err(|error| error.exit())
}

fn run(command: &Command) -> Result<()> {
    // The server listens for signals itself.
    if !matches!(command, Command::Serve(_)) {
        interrupt::listen()?;
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    match command {
        Command::Demo(arguments) => cmd::demo::run(arguments, &mut out),
        Command::Shell(arguments) => cmd::shell::run(arguments, &mut out),
        Command::Import(arguments) => cmd::import::run(arguments, &mut out),
        Command::Export(arguments) => cmd::export::run(arguments, &mut out),
        Command::Generate(arguments) => cmd::generate::run(arguments, &mut out),
        Command::Bench(arguments) => cmd::bench::run(arguments, &mut out),
        Command::Inspect(arguments) => cmd::inspect::run(arguments, &mut out),
        Command::Verify(arguments) => cmd::verify::run(arguments, &mut out),
        Command::Serve(arguments) => cmd::serve::run(arguments, &mut out),
    }?;
    out.flush()?;
    Ok(())
}
