//! `muster shell`: SQL from the command line, a file, a pipe or the keyboard, one answer after the other.
//!
//! ```text
//! -c, -f, pipe, editor ─ pieces ─┬─ statement ─ answerer: a database │ a server ─ answer ─ output ─ pager │ \o file │ stdout
//!                                └─ command ─── commands
//! ```
//!
//! Statements and commands mean the same wherever they come from. Answers go to stdout, errors to stderr. What only a
//! person needs (row counts, times, pages, colours) is left out where no terminal is.

mod answer;
mod answerer;
mod commands;
mod complete;
mod editor;
mod help;
mod highlight;
mod history;
mod interactive;
mod lexer;
mod pager;
mod password;
mod pieces;
mod remote;
mod syntax;
mod watch;
mod words;

pub(crate) use words::distance;

use crate::failure::{Failure, Result};
use crate::output::{Expanded, Format, Style};
use answerer::{Answerer, Local};
use musterdb::{Database, Outcome, Param};
use remote::{Login, Remote, Trust};
use std::fs::File;
use std::io::{BufRead, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Asks a database: with -c and -f, through a pipe, or interactively.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  muster shell ./db
  muster shell ./db -c \"SELECT count(*) FROM members WHERE t00 AND NOT t01\"
  muster shell ./db -f questions.sql --format csv > answers.csv
  echo \"SHOW TABLES\" | muster shell ./db --format json
  muster shell --connect localhost:7878 --user anna
  muster shell --connect db.example.com:7878 --tls --user anna

With -c nothing but the answers is printed. The first statement that fails ends the run with exit code 1, unless
--keep-going is given. -c, files and pipes also take commands such as \\d; \\? lists them.")]
pub(crate) struct Arguments {
    /// The database's directory; created where there is none
    #[arg(required_unless_present = "connect", conflicts_with = "connect")]
    dir: Option<PathBuf>,
    /// Ask a server (muster serve) instead; files of COPY are this machine's
    #[arg(long, value_name = "HOST:PORT")]
    connect: Option<String>,
    /// Who asks the server; the password is MUSTER_PASSWORD, or typed
    #[arg(long, value_name = "NAME", requires = "connect", conflicts_with = "dir")]
    user: Option<String>,
    /// Speak TLS with the server, whose certificate has to be signed by an authority that this system trusts
    #[arg(long, requires = "connect", conflicts_with = "dir")]
    tls: bool,
    /// Trust these authorities, PEM, and not the system's
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
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
    #[arg(long, conflicts_with = "connect")]
    read_only: bool,
    /// Go on after an error; the exit code is 1 all the same
    #[arg(long)]
    keep_going: bool,
    /// Neither read nor write the file of earlier statements
    #[arg(long)]
    no_history: bool,
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

/// Who answers, how answers look, and where they go.
struct Shell<'a> {
    answerer: Box<dyn Answerer>,
    out: &'a mut dyn Write,
    style: Style,
    /// True where a person types the statements.
    interactive: bool,
    /// True where stdout is a terminal.
    terminal: bool,
    /// True where that terminal shows colours.
    colour: bool,
    timing: bool,
    pager: bool,
    /// True where answers are drawn as bars if they can be.
    charts: bool,
    /// True while `\watch` repeats a statement: nobody is there to turn pages.
    watching: bool,
    keep_going: bool,
    /// True once something failed and the shell went on.
    failed: bool,
    /// How many `\i` are open.
    depth: usize,
    /// Where `\o` sends the answers.
    file: Option<(PathBuf, BufWriter<File>)>,
    /// What `\bind` gave for the next statement.
    parameters: Vec<Param>,
    last: Option<Last>,
}

/// The last statement that was answered.
struct Last {
    sql: String,
    parameters: Vec<Param>,
    outcome: Outcome,
}

/// Whether the shell goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Quit,
}

impl<'a> Shell<'a> {
    fn new(arguments: &Arguments, answerer: Box<dyn Answerer>, out: &'a mut dyn Write) -> Shell<'a> {
        let terminal = std::io::stdout().is_terminal();
        let expanded = if terminal { Expanded::Auto } else { Expanded::Off };
        Shell {
            answerer,
            out,
            style: Style { expanded, ..Style::plain(arguments.format) },
            interactive: false,
            terminal,
            colour: terminal && shows_colours(),
            timing: false,
            pager: true,
            charts: false,
            watching: false,
            keep_going: arguments.keep_going,
            failed: false,
            depth: 0,
            file: None,
            parameters: Vec::new(),
            last: None,
        }
    }

    /// Executes a file of statements and commands.
    fn run_file(&mut self, file: &Path) -> Result<Flow> {
        let text = std::fs::read_to_string(file)
            .map_err(|e| Failure::new(format!("cannot read {}: {e}", file.display())))?;
        self.run_text(&text)
    }

    /// Executes what comes through a pipe: each statement is answered and flushed as soon as its semicolon has come, so
    /// that a program can converse. What is left at the end of the input is a statement too.
    fn run_piped(&mut self, mut input: impl BufRead) -> Result<Flow> {
        let mut pending = String::new();
        loop {
            let start = pending.len();
            let read = input
                .read_line(&mut pending)
                .map_err(|e| Failure::new(format!("cannot read the statements: {e}")))?;
            // Only these end something: long statements are not looked through again with every line.
            let may_end = pending[start..].contains([';', '\\']) && pieces::pieces(&pending).1;
            if read == 0 || may_end {
                if self.run_text(&pending)? == Flow::Quit {
                    return Ok(Flow::Quit);
                }
                pending.clear();
            }
            if read == 0 {
                return Ok(Flow::On);
            }
        }
    }
}

/// True unless the user or the terminal wants no colours (<https://no-color.org>).
fn shows_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Who answers: the database of a directory, or a server.
fn answerer(arguments: &Arguments) -> Result<Box<dyn Answerer>> {
    if let Some(address) = &arguments.connect {
        let trust = match arguments.tls {
            true => Some(Trust::read(arguments.ca.as_deref())?),
            false => None,
        };
        let user = match &arguments.user {
            Some(user) => Some((user.clone(), password::of(user)?)),
            None => None,
        };
        return Ok(Box::new(Remote::new(Login { address: address.clone(), user, trust }, arguments.now)?));
    }
    let Some(directory) = &arguments.dir else { return Err(Failure::new("there is no directory")) };
    let database = match arguments.read_only {
        true => Database::open_read_only(directory)?,
        false => Database::open(directory)?,
    };
    Ok(Box::new(Local::new(database, directory, arguments.now)))
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let mut shell = Shell::new(arguments, answerer(arguments)?, out);
    if !arguments.commands.is_empty() || arguments.file.is_some() {
        for command in &arguments.commands {
            if shell.run_text(command)? == Flow::Quit {
                return shell.end();
            }
        }
        if let Some(file) = &arguments.file {
            shell.run_file(file)?;
        }
    } else if std::io::stdin().is_terminal() {
        return interactive::run(&mut shell, !arguments.no_history);
    } else {
        shell.run_piped(std::io::stdin().lock())?;
    }
    shell.end()
}

impl Shell<'_> {
    /// The end of a script that went on after errors.
    fn end(&self) -> Result<()> {
        if self.failed { Err(Failure::Reported) } else { Ok(()) }
    }
}
