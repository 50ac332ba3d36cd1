//! The shell at a terminal: reads, answers, and goes on until it is told to end.

use super::editor::{self, MusterPrompt};
use super::{Flow, Shell};
use crate::failure::{Failure, Result};
use crate::interrupt;
use musterdb::Outcome;
use reedline::Signal;

/// Runs the shell until `\q` or Ctrl-D. What fails is shown, and nothing but a closed output ends the shell.
pub(super) fn run(shell: &mut Shell<'_>, persistent_history: bool) -> Result<()> {
    interrupt::stays();
    (shell.interactive, shell.timing, shell.keep_going) = (true, true, true);
    shell.answerer.is_interactive();
    let tables = shell.answerer.execute("SHOW TABLES", &[]).map(|outcome: Outcome| outcome.rows().len());
    let of_what = match tables? {
        0 => "no tables yet".to_owned(),
        1 => "1 table".to_owned(),
        n => format!("{n} tables"),
    };
    writeln!(shell.out, "MusterDB {} on {}: {of_what}.", env!("CARGO_PKG_VERSION"), shell.answerer.place())?;
    writeln!(shell.out, "End a statement with a semicolon. Tab completes, \\? helps, \\q ends.")?;
    shell.out.flush()?;
    let mut editor = editor::new(shell.answerer.names(), persistent_history, shell.colour);
    loop {
        match editor.read_line(&MusterPrompt(shell.answerer.transaction())) {
            Ok(Signal::Success(text)) => {
                // Kept at once: a history that cannot be written is no reason to stop, nor is one that can lost later.
                let _ = editor.sync_history();
                match shell.run_text(&text) {
                    Ok(Flow::On) => {}
                    Ok(Flow::Quit) => return Ok(()),
                    Err(Failure::ClosedPipe) => return Err(Failure::ClosedPipe),
                    Err(failure) => failure.show(),
                }
                shell.out.flush()?;
            }
            Ok(Signal::CtrlD) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(Failure::new(format!("cannot read from the terminal: {error}"))),
        }
    }
}
