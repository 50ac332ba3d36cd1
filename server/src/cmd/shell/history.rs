//! The statements of earlier sessions, without the passwords in them: a comfort, and never a reason to fail.

use musterdb::secrets_masked;
use reedline::{
    FileBackedHistory, History, HistoryItem, HistoryItemId, HistorySessionId, Result, SearchQuery,
};
use std::borrow::Cow;
use std::path::PathBuf;

/// The most statements that are kept.
const ENTRIES_MAX: usize = 10_000;

/// The history: that of the user's file, or where it cannot be used (or is not wanted) one that ends with the shell.
pub(super) fn open(persistent: bool) -> Option<Masked> {
    let of_file = || FileBackedHistory::with_file(ENTRIES_MAX, file()?).ok();
    let of_file = if persistent { of_file() } else { None };
    of_file.or_else(|| FileBackedHistory::new(ENTRIES_MAX).ok()).map(Masked)
}

/// A history that is given statements as they are typed, and keeps `'***'` where a password stood: in memory as in the file.
pub(super) struct Masked(FileBackedHistory);

impl History for Masked {
    fn save(&mut self, mut item: HistoryItem) -> Result<HistoryItem> {
        if let Cow::Owned(masked) = secrets_masked(&item.command_line) {
            item.command_line = masked;
        }
        self.0.save(item)
    }

    fn load(&self, id: HistoryItemId) -> Result<HistoryItem> {
        self.0.load(id)
    }

    fn count(&self, query: SearchQuery) -> Result<i64> {
        self.0.count(query)
    }

    fn search(&self, query: SearchQuery) -> Result<Vec<HistoryItem>> {
        self.0.search(query)
    }

    fn update(&mut self, id: HistoryItemId, updater: &dyn Fn(HistoryItem) -> HistoryItem) -> Result<()> {
        self.0.update(id, updater)
    }

    fn clear(&mut self) -> Result<()> {
        self.0.clear()
    }

    fn delete(&mut self, id: HistoryItemId) -> Result<()> {
        self.0.delete(id)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.0.sync()
    }

    fn session(&self) -> Option<HistorySessionId> {
        self.0.session()
    }
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
