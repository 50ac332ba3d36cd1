//! How work is watched and stopped: a flag polled per chunk, the memory that it may take, and a callback that hears of
//! progress.

mod memory;

pub use memory::{Held, Kept, allocation, row_bytes, value_bytes};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cancels from any thread (a signal handler, a time limit), and says how much memory a statement may take. Cloning shares
/// both.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    cancelled: AtomicBool,
    memory: memory::Budget,
}

impl Cancel {
    /// Asks the work to stop; it ends with [`crate::Error::Cancelled`] within a chunk's time.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }

    /// Makes the flag ready for the next statement.
    pub fn reset(&self) {
        self.0.cancelled.store(false, Ordering::Relaxed);
    }

    /// True once cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed)
    }

    /// An error once cancelled.
    pub fn check(&self) -> crate::Result<()> {
        if self.is_cancelled() { Err(crate::Error::Cancelled) } else { Ok(()) }
    }
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Rows taken in so far.
    pub rows: u64,
    /// Rows in all, where the source knows.
    pub rows_total: Option<u64>,
    /// The share of the input consumed, 0 to 1.
    pub share: f64,
    /// What is being done: `rows`, then `keys`, then `sync`.
    pub phase: &'static str,
}

/// Hears of progress, from the importing thread, about ten times a second.
pub type OnProgress<'a> = &'a mut (dyn FnMut(Progress) + 'a);
