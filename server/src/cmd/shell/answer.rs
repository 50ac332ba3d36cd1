//! From a statement to its answer on the screen, in a pager or in a file.

use super::pager::{self, Paged, Screen};
use super::pieces::{Piece, pieces};
use super::{Flow, Last, Shell};
use crate::failure::{Failure, Result};
use crate::figures::{duration, thousands};
use crate::interrupt;
use crate::output::{self, Format, Shape, Style, chart};
use musterdb::{Error, Outcome, Param};
use std::io::Write;
use std::time::{Duration, Instant};

impl Shell<'_> {
    /// Executes the statements and commands of a text. Stops at the first error, unless it is to keep going.
    pub(super) fn run_text(&mut self, text: &str) -> Result<Flow> {
        for piece in pieces(text).0 {
            let result = match piece {
                Piece::Command(command) => self.obey(command),
                Piece::Statement(sql) => {
                    let start = sql.as_ptr() as usize - text.as_ptr() as usize;
                    match self.answer(sql) {
                        Ok(()) => Ok(Flow::On),
                        // Who cancels a statement does not want the ones behind it either.
                        Err(Unanswered::Refused(error, _)) if error.is_cancelled() => {
                            return Err(Failure::Rendered("cancelled".to_owned()));
                        }
                        Err(unanswered) => Err(unanswered.within(text, start)),
                    }
                }
            };
            self.out.flush()?;
            match result {
                Ok(Flow::On) => {}
                Ok(Flow::Quit) => return Ok(Flow::Quit),
                Err(failure) => self.survive(failure)?,
            }
        }
        Ok(Flow::On)
    }

    /// Shows a failure and goes on, where the shell is to; passes it on otherwise.
    pub(super) fn survive(&mut self, failure: Failure) -> Result<()> {
        if !self.keep_going || matches!(failure, Failure::ClosedPipe) {
            return Err(failure);
        }
        self.failed = true;
        failure.show();
        Ok(())
    }

    /// Executes one statement and writes its answer.
    pub(super) fn answer(&mut self, sql: &str) -> std::result::Result<(), Unanswered> {
        let cancel = self.answerer.cancel_handle();
        let parameters = std::mem::take(&mut self.parameters);
        let work = |shell: &mut Self| {
            let started = Instant::now();
            let result = shell.answerer.execute(sql, &parameters);
            (result, started.elapsed())
        };
        if !self.interactive {
            // Ctrl-C between statements ends a script.
            let (result, elapsed) = interrupt::cancels(&cancel, || work(self));
            return self.take(sql, &parameters, result, elapsed);
        }
        // At a terminal it also stops the writing of an answer.
        interrupt::cancels(&cancel, || {
            let (result, elapsed) = work(self);
            self.take(sql, &parameters, result, elapsed)
        })
    }

    fn take(
        &mut self,
        sql: &str,
        parameters: &[Param],
        result: musterdb::Result<Outcome>,
        elapsed: Duration,
    ) -> std::result::Result<(), Unanswered> {
        let outcome = result.map_err(|error| Unanswered::Refused(Box::new(error), sql.to_owned()))?;
        let written = self.write_outcome(&outcome, Some(elapsed));
        self.last = Some(Last { sql: sql.to_owned(), parameters: parameters.to_vec(), outcome });
        written.map_err(Unanswered::Unwritten)
    }

    /// Writes an answer where answers go, as they are to look.
    pub(super) fn write_outcome(&mut self, outcome: &Outcome, elapsed: Option<Duration>) -> Result<()> {
        let charted = match (outcome, self.charts) {
            (Outcome::Rows { columns, .. }, true) => chart::choose(columns, None).ok(),
            _ => None,
        };
        let timed = elapsed.filter(|_| self.timing);
        let to_file = self.file.is_some();
        let style = self.style();
        let footed = style.format == Format::Table && (self.interactive || timed.is_some());
        self.write_answer(|out| {
            let shape = match (&charted, outcome) {
                (Some(choice), Outcome::Rows { columns, rows, .. }) => {
                    chart::write(out, columns, rows, choice, &style)?;
                    Shape::Whole
                }
                _ => output::write(out, outcome, &style)?,
            };
            match footer(outcome, timed.filter(|_| !to_file), shape).filter(|_| footed) {
                Some(line) => Ok(writeln!(out, "{line}")?),
                None => Ok(()),
            }
        })?;
        // What is not a table goes to programs: the time stays with the person.
        if let Some(elapsed) = timed.filter(|_| !footed || to_file) {
            eprint_line(&format!("({})", duration(elapsed)));
        }
        Ok(())
    }

    /// Lets `write` write to where answers go: the file of `\o`, a pager, or the output.
    pub(super) fn write_answer(&mut self, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        if let Some((path, file)) = &mut self.file {
            let written = write(file).and_then(|()| Ok(file.flush()?));
            return written.map_err(|failure| match failure {
                Failure::Message(message) => {
                    Failure::new(format!("cannot write to {}: {message}", path.display()))
                }
                other => other,
            });
        }
        let turns = self.interactive && self.terminal && self.pager && !self.watching;
        let pages = if turns { Screen::now().zip(pager::command()) } else { None };
        let mut paged = Paged::new(self.out, self.answerer.cancel_handle(), pages);
        let written = write(&mut paged);
        paged.finish()?;
        written
    }

    /// How answers look now: a terminal may have changed its size.
    pub(super) fn style(&self) -> Style {
        let on_terminal = self.terminal && self.file.is_none();
        let mut style = self.style.clone();
        style.width = if on_terminal { Screen::now().map(|screen| screen.width) } else { None };
        style.colour = on_terminal && self.colour;
        style
    }
}

/// Why a statement has no answer.
pub(super) enum Unanswered {
    /// The statement failed.
    Refused(Box<Error>, String),
    /// Its answer could not be written.
    Unwritten(Failure),
}

impl Unanswered {
    /// The failure, with its place in the text that the statement begins in at `start`.
    fn within(self, text: &str, start: usize) -> Failure {
        match self {
            Unanswered::Refused(error, _) => Failure::of_statement(&shifted(*error, start), text),
            Unanswered::Unwritten(failure) => failure,
        }
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Failure {
        match unanswered {
            Unanswered::Refused(error, sql) => Failure::of_statement(&error, &sql),
            Unanswered::Unwritten(failure) => failure,
        }
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

/// What stands below a table: rows, time, and what was done to make it fit.
fn footer(outcome: &Outcome, elapsed: Option<Duration>, shape: Shape) -> Option<String> {
    let mut parts = Vec::new();
    match outcome {
        Outcome::Rows { rows, .. } if rows.len() == 1 => parts.push("1 row".to_owned()),
        Outcome::Rows { rows, .. } => parts.push(format!("{} rows", thousands(rows.len() as u64))),
        _ => {}
    }
    parts.extend(elapsed.map(duration));
    match shape {
        Shape::Whole => {}
        Shape::Cut => parts.push("cut to fit; \\x shows all".to_owned()),
        Shape::Expanded => parts.push("too wide for a table; \\x off shows it nevertheless".to_owned()),
    }
    (!parts.is_empty()).then(|| format!("({})", parts.join(", ")))
}

/// A line to the person at the terminal, past whatever reads the answers.
fn eprint_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
