//! The shell at a terminal: lines with history until the semicolon, times, and a few commands that begin with `\`.

use super::Shell;
use crate::failure::{Failure, Result};
use crate::figures::{duration, thousands};
use crate::output;
use musterdb::{Database, Outcome};
use reedline::{
    FileBackedHistory, Prompt, PromptEditMode, PromptHistorySearch, Reedline, Signal, ValidationResult,
    Validator,
};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const HELP: &str = r"Ask in SQL and end with a semicolon:

  SELECT count(*) FROM members WHERE city = 'Kyoto' AND NOT unsubscribed;
  SELECT tier, count(*), avg(spend) FROM members GROUP BY tier ORDER BY 2 DESC;
  SELECT id FROM members WHERE 'vip' = ANY(tags) ORDER BY spend DESC LIMIT 10;
  COPY members FROM 'members.csv' (FORMAT csv, HEADER);

  \d          the tables            \timing     times on or off
  \d TABLE    its columns           \?          this help
  \q          the end (Ctrl-D too)  Ctrl-C      cancels the statement, or clears the line";

/// The most statements that the history keeps.
const HISTORY_MAX: usize = 10_000;

pub(super) fn run(shell: &mut Shell<'_>, database: &Database, directory: &Path) -> Result<()> {
    let tables = database.tables();
    let of_what = match tables.len() {
        0 => "no tables yet".to_owned(),
        1 => "1 table".to_owned(),
        n => format!("{n} tables"),
    };
    writeln!(shell.out, "MusterDB {} on {}: {of_what}.", env!("CARGO_PKG_VERSION"), directory.display())?;
    writeln!(shell.out, "End a statement with a semicolon. \\d lists tables, \\? helps, \\q ends.")?;
    shell.out.flush()?;
    let mut editor = Reedline::create().with_validator(Box::new(Semicolons));
    if let Some(history) = history() {
        editor = editor.with_history(Box::new(history));
    }
    let mut timing = true;
    loop {
        match editor.read_line(&MusterPrompt) {
            Ok(Signal::Success(text)) => {
                let command = text.trim();
                if let Some(command) = command.strip_prefix('\\') {
                    if !obey(shell, command, &mut timing)? {
                        return Ok(());
                    }
                } else {
                    musterdb::split_statements(command)
                        .into_iter()
                        .try_for_each(|sql| answer(shell, sql, timing))?;
                }
                shell.out.flush()?;
            }
            Ok(Signal::CtrlD) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(Failure::new(format!("cannot read from the terminal: {error}"))),
        }
    }
}

/// Executes one statement. An error of the statement is shown, and the shell goes on.
fn answer(shell: &mut Shell<'_>, sql: &str, timing: bool) -> Result<()> {
    let started = Instant::now();
    let result = shell.execute(sql);
    let elapsed = started.elapsed();
    match result {
        Ok(outcome) => {
            output::write(shell.out, &outcome, shell.format)?;
            if let Some(line) = footer(&outcome, timing.then_some(elapsed)) {
                writeln!(shell.out, "{line}")?;
            }
        }
        Err(error) if error.is_cancelled() => writeln!(shell.out, "cancelled")?,
        Err(error) => writeln!(shell.out, "{}", error.render(sql))?,
    }
    shell.out.flush()?;
    Ok(())
}

fn footer(outcome: &Outcome, elapsed: Option<Duration>) -> Option<String> {
    let rows = match outcome {
        Outcome::Rows { rows, .. } if rows.len() == 1 => Some("1 row".to_owned()),
        Outcome::Rows { rows, .. } => Some(format!("{} rows", thousands(rows.len() as u64))),
        Outcome::Done { .. } => None,
    };
    let parts: Vec<String> = rows.into_iter().chain(elapsed.map(duration)).collect();
    (!parts.is_empty()).then(|| format!("({})", parts.join(", ")))
}

/// Obeys a command; false ends the shell.
fn obey(shell: &mut Shell<'_>, command: &str, timing: &mut bool) -> Result<bool> {
    let command = command.trim_end_matches(';').trim();
    let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    match (word, rest.trim()) {
        ("q" | "quit", _) => return Ok(false),
        ("?" | "h" | "help", _) => writeln!(shell.out, "{HELP}")?,
        ("d" | "dt", "") => answer(shell, "SHOW TABLES", false)?,
        ("d", table) => answer(shell, &format!("DESCRIBE {table}"), false)?,
        ("timing", _) => {
            *timing = !*timing;
            writeln!(shell.out, "Timing is {}.", if *timing { "on" } else { "off" })?;
        }
        _ => writeln!(shell.out, "There is no command \\{word}. \\? shows those there are.")?,
    }
    Ok(true)
}

/// The history is a comfort: where its file cannot be used, the shell works without.
fn history() -> Option<FileBackedHistory> {
    let home = std::env::var_os("HOME")?;
    FileBackedHistory::with_file(HISTORY_MAX, PathBuf::from(home).join(".muster_history")).ok()
}

/// A statement is whole after its semicolon, a command after its line.
struct Semicolons;

impl Validator for Semicolons {
    fn validate(&self, text: &str) -> ValidationResult {
        if text.trim_start().starts_with('\\') || musterdb::is_complete(text) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

struct MusterPrompt;

impl Prompt for MusterPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed("muster")
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("     -> ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search: {}) ", search.term))
    }
}
