//! When checkpoints are made, and when writers wait for one.

use super::{Database, pool};
use crate::Result;
use crate::control::Cancel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// A checkpoint begins when changes take so much memory, or so much of the log: some ten million changed values. The log counts
/// by itself because members that are changed again and again take no more memory.
pub const CHECKPOINT_BYTES: u64 = 96 << 20;

/// Writers wait when changes take so much: checkpoints are behind. It bounds what a crash leaves to be replayed.
pub const CHANGES_BYTES_MAX: u64 = 2 * CHECKPOINT_BYTES;

/// How long after a checkpoint failed the next is tried, and how often a waiting writer looks whether he is to go on.
const PATIENCE: Duration = Duration::from_millis(200);

/// How much there is to be checkpointed.
#[derive(Default)]
pub(super) struct Pressure {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Of memory.
    bytes: u64,
    /// Of the log, since it was begun …
    logged: u64,
    /// … and those of them that a checkpoint has put into parts.
    checkpointed: u64,
    /// True while somebody makes checkpoints.
    relieved: bool,
    stopped: bool,
}

impl State {
    fn pressure(&self) -> u64 {
        self.bytes.max(self.logged.saturating_sub(self.checkpointed))
    }
}

impl Pressure {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, bytes: u64, logged: u64) {
        let mut state = self.state();
        (state.bytes, state.logged) = (bytes, logged);
        self.changed.notify_all();
    }

    /// The log up to there is in parts.
    pub(super) fn checkpointed(&self, logged: u64) {
        self.state().checkpointed = logged;
        self.changed.notify_all();
    }

    /// Bytes of memory, and of the log, that are in no parts yet.
    pub(super) fn to_be_checkpointed(&self) -> (u64, u64) {
        let state = self.state();
        (state.bytes, state.logged.saturating_sub(state.checkpointed))
    }

    /// Waits until there is room for more changes.
    pub(super) fn wait_for_room(&self, cancel: &Cancel) -> Result<()> {
        let mut state = self.state();
        while state.relieved && !state.stopped && state.pressure() > CHANGES_BYTES_MAX {
            cancel.check()?;
            state = self.changed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Waits until there is a checkpoint to be made; false when it is time to stop.
    fn wait_for_work(&self) -> bool {
        let mut state = self.state();
        while !state.stopped && state.pressure() <= CHECKPOINT_BYTES {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.stopped
    }

    /// Waits a moment, or until it is time to stop.
    fn pause(&self) {
        let state = self.state();
        if !state.stopped {
            drop(self.changed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Database {
    /// Begins what goes on beside readers and writers, in threads that end with the database: checkpoints, as
    /// [`CHECKPOINT_BYTES`] says; large changes, so that questions go before them; syncs of relaxed changes, and the end of
    /// old snapshots. Where nobody calls this, changes stay in memory and in the log until [`Database::checkpoint`], and all
    /// are synced before they are acknowledged.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn begin_upkeep(self: &Arc<Self>) -> std::io::Result<()> {
        let (pressure, database) = (Arc::clone(&self.pressure), Arc::downgrade(self));
        let thread = std::thread::Builder::new().name("muster-checkpoint".into());
        thread.spawn(move || work(&pressure, &database))?;
        self.pressure.state().relieved = true;
        self.begin_relay()?;
        self.begin_keeping()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.pressure.state().stopped = true;
        self.pressure.changed.notify_all();
        self.keeper.stop();
        self.writer.close();
    }
}

fn work(pressure: &Pressure, database: &Weak<Database>) {
    pool::step_back();
    while pressure.wait_for_work() {
        let Some(database) = database.upgrade() else { return };
        if database.checkpoint(&Cancel::default()).is_err() {
            // A full disk can be emptied. Writers wait meanwhile once memory is full, and hear of it when they write.
            drop(database);
            pressure.pause();
        }
    }
}
