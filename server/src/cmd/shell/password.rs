//! A password: from the environment, or typed at the terminal, which does not show it.

use crate::failure::{Failure, Result};
use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, read};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use std::io::{IsTerminal, Write};

/// Where programs leave it.
const VARIABLE: &str = "MUSTER_PASSWORD";

/// The password of a user.
pub(super) fn of(user: &str) -> Result<String> {
    if let Some(password) = std::env::var_os(VARIABLE) {
        let no_text = |_| Failure::new(format!("{VARIABLE} is not valid UTF-8"));
        return password.into_string().map_err(no_text);
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::new(format!(
            "--user needs a password: set {VARIABLE}, or type it at a terminal"
        )));
    }
    eprint!("Password of {user}: ");
    std::io::stderr().flush()?;
    enable_raw_mode()?;
    let typed = typed();
    disable_raw_mode()?;
    eprintln!();
    typed
}

fn typed() -> Result<String> {
    let mut password = String::new();
    loop {
        let Event::Key(key) = read()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match key.code {
            KeyCode::Enter => return Ok(password),
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Err(Failure::new("no password; nothing was asked"));
            }
            KeyCode::Char(letter) => password.push(letter),
            KeyCode::Backspace => drop(password.pop()),
            _ => {}
        }
    }
}
