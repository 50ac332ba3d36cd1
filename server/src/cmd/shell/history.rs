//! The statements of earlier sessions: a comfort, and never a reason to fail.

use reedline::FileBackedHistory;
use std::path::PathBuf;

/// The most statements that are kept.
const ENTRIES_MAX: usize = 10_000;

/// The history: that of the user's file, or where it cannot be used (or is not wanted) one that ends with the shell.
pub(super) fn open(persistent: bool) -> Option<FileBackedHistory> {
    let of_file = || FileBackedHistory::with_file(ENTRIES_MAX, file()?).ok();
    let of_file = if persistent { of_file() } else { None };
    of_file.or_else(|| FileBackedHistory::new(ENTRIES_MAX).ok())
}

/// `MUSTER_HISTORY`, or `muster/history` where the system keeps the state of programs.
fn file() -> Option<PathBuf> {
    let of = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = of("MUSTER_HISTORY") {
        return Some(file);
    }
    let state = of("XDG_STATE_HOME")
        .or_else(|| of("LOCALAPPDATA"))
        .or_else(|| of("HOME").map(|home| home.join(".local").join("state")))?;
    Some(state.join("muster").join("history"))
}
