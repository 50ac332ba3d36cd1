//! What is done some time after a change, in a thread of its own: relaxed changes synced, old snapshots ended.

use super::Database;
use super::horizon::Horizon;
use super::write::WriterSeat;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long after it was acknowledged a relaxed change is made durable.
pub const RELAXED_WINDOW: Duration = Duration::from_millis(200);

/// Wakes the thread that keeps the database.
#[derive(Default)]
pub(super) struct Keeper {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// True while there is a thread.
    there: bool,
    /// True from a change on until it was looked after.
    wanted: bool,
    stopped: bool,
}

impl Keeper {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while somebody looks after what is left for later.
    pub(super) fn is_there(&self) -> bool {
        self.state().there
    }

    /// Something is to be looked after.
    pub(super) fn wake(&self) {
        let mut state = self.state();
        if !state.wanted {
            state.wanted = true;
            self.changed.notify_all();
        }
    }

    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Waits until something is wanted, and then as long as that may wait; false when it is time to stop.
    fn wait(&self) -> bool {
        let mut state = self.state();
        while !state.stopped && !state.wanted {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let until_stopped = |state: &mut State| !state.stopped;
        let waited = self.changed.wait_timeout_while(state, RELAXED_WINDOW, until_stopped);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.wanted = false;
        !state.stopped
    }
}

impl Database {
    pub(super) fn begin_keeping(&self) -> std::io::Result<()> {
        let (keeper, writer, horizon) =
            (Arc::clone(&self.keeper), Arc::clone(&self.writer), self.horizon.clone());
        let thread = std::thread::Builder::new().name("muster-keeper".into());
        thread.spawn(move || keep(&keeper, &writer, &horizon))?;
        self.keeper.state().there = true;
        Ok(())
    }
}

fn keep(keeper: &Keeper, writer: &WriterSeat, horizon: &Horizon) {
    while keeper.wait() {
        // A failure poisons the log, and who writes next hears of it.
        let _ = writer.sync(|| keeper.is_stopped());
        if horizon.end_the_old() {
            keeper.wake();
        }
    }
}
