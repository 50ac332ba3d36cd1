//! Statements through a pipe: each is executed, answered and flushed as soon as its semicolon has come, so that a
//! program can converse. What is left at the end of the input is a statement too.

use super::Shell;
use crate::failure::{Failure, Result};
use std::io::BufRead;

pub(super) fn run(shell: &mut Shell<'_>, mut input: impl BufRead) -> Result<()> {
    let mut pending = String::new();
    loop {
        let start = pending.len();
        let read = input
            .read_line(&mut pending)
            .map_err(|e| Failure::new(format!("cannot read the statements: {e}")))?;
        // Only a semicolon can end a statement: long ones are not looked through again with every line.
        let may_end = pending[start..].contains(';') && musterdb::is_complete(&pending);
        if read == 0 || may_end {
            shell.run_script(&pending)?;
            pending.clear();
        }
        if read == 0 {
            return Ok(());
        }
    }
}
