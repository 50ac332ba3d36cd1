//! What a database has at a moment, told without reading a byte of it: for whoever watches a server.

use super::Database;
use super::checkpoint::Checkpointed;
use crate::Result;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Figures of a database, of about the same moment. Cost: microseconds, and some nanoseconds for each table and part.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The change that is seen last.
    pub lsn: u64,
    /// Live rows by table, by name.
    pub rows: Vec<(String, u64)>,
    /// Audiences, static and dynamic.
    pub audiences: usize,
    /// Part files …
    pub parts: usize,
    /// … and their bytes.
    pub parts_bytes: u64,
    /// Bytes of memory that changes since the last checkpoint take.
    pub changes_bytes: u64,
    /// Bytes of the log that are in no part yet: what a crash leaves to be replayed.
    pub log_bytes: u64,
    /// Checkpoints since the database was opened that wrote something …
    pub checkpoints: u64,
    /// … and those that failed.
    pub checkpoint_failures: u64,
    /// When the last one that wrote something ended, and how long it took.
    pub checkpoint: Option<(SystemTime, Duration)>,
    /// True once a sync has failed: what is on disk is in doubt, and nothing is written until the database is opened again.
    pub is_poisoned: bool,
}

/// What checkpoints came to.
#[derive(Default)]
pub(super) struct Checkpoints(Mutex<Done>);

#[derive(Clone, Copy, Default)]
struct Done {
    written: u64,
    failed: u64,
    last: Option<(SystemTime, Duration)>,
}

impl Checkpoints {
    fn done(&self) -> MutexGuard<'_, Done> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, began: Instant, outcome: &Result<Checkpointed>) {
        let mut done = self.done();
        match outcome {
            Ok(checkpointed) if checkpointed.parts == 0 => {}
            Ok(_) => {
                done.written += 1;
                done.last = Some((SystemTime::now(), began.elapsed()));
            }
            Err(_) => done.failed += 1,
        }
    }
}

impl Database {
    /// What the database has now.
    pub fn figures(&self) -> Figures {
        let state = self.state();
        let mut rows: Vec<(String, u64)> =
            state.tables.values().map(|table| (table.schema().name.clone(), table.rows())).collect();
        rows.sort();
        let (changes_bytes, log_bytes) = self.pressure.to_be_checkpointed();
        let done = *self.checkpoints.done();
        Figures {
            lsn: state.lsn.0,
            rows,
            audiences: state.catalog.audiences.len(),
            parts: state.part_refs.len(),
            parts_bytes: state.part_refs.iter().map(|part| part.bytes).sum(),
            changes_bytes,
            log_bytes,
            checkpoints: done.written,
            checkpoint_failures: done.failed,
            checkpoint: done.last,
            is_poisoned: self.is_poisoned(),
        }
    }

    /// True once a sync has failed: the database answers, and takes no change until it is opened again.
    pub fn is_poisoned(&self) -> bool {
        self.store.is_poisoned() || self.writer.is_poisoned()
    }
}
