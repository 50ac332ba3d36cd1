//! Ctrl-C: stops the work that runs, or the program where none does.
//!
//! The first Ctrl-C asks the running work to stop, which leaves the database as it was; a second one, should the work
//! not listen, ends the program at once (which leaves the database as it was as well, by way of recovery). A program that
//! [`stays`], the interactive shell, is never ended so: who wants to leave it says so.

use crate::failure::{Failure, Result};
use muster_engine::Cancel;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What Ctrl-C stops at the moment.
static RUNNING: Mutex<Option<Cancel>> = Mutex::new(None);

/// True once the program has said that it stays.
static STAYS: AtomicBool = AtomicBool::new(false);

/// The exit code of a program ended by Ctrl-C: 128 + SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

/// Starts listening. Called once, before any work.
pub(crate) fn listen() -> Result<()> {
    ctrlc::set_handler(|| {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        match running.as_ref() {
            Some(cancel) if !cancel.is_cancelled() => cancel.cancel(),
            _ if STAYS.load(Ordering::Relaxed) => {}
            _ => std::process::exit(EXIT_INTERRUPTED),
        }
    })
    .map_err(|e| Failure::new(format!("cannot listen for Ctrl-C: {e}")))
}

/// From now on Ctrl-C stops the work that runs and nothing else.
pub(crate) fn stays() {
    STAYS.store(true, Ordering::Relaxed);
}

/// Runs some work that Ctrl-C cancels through `cancel`.
pub(crate) fn cancels<T>(cancel: &Cancel, work: impl FnOnce() -> T) -> T {
    cancel.reset();
    set(Some(cancel.clone()));
    let result = work();
    set(None);
    result
}

fn set(cancel: Option<Cancel>) {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = cancel;
}
