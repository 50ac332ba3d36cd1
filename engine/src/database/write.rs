//! Changing rows: one writer, whose changes become visible and durable together.

use super::Database;
use crate::control::Cancel;
use crate::mutation::{Changed, Mutation};
use crate::{Error, Result, Snapshot};
use std::sync::Arc;

/// Several mutations that become visible together, or not at all. Owns the writer until it ends: others wait to write,
/// nobody waits to read. Dropped without [`Self::commit`] it is as if nothing had been written.
pub struct Transaction {
    database: Arc<Database>,
}

impl Database {
    /// Applies one mutation whole: on return it is visible to the next snapshot, and synced.
    ///
    /// # Errors
    /// A value that does not fit its column, a key that is there already, NULL where none may be; then nothing changed.
    pub fn write(&self, mutation: &Mutation, now_micros: i64, cancel: &Cancel) -> Result<Changed> {
        let _ = (mutation, now_micros, cancel);
        Err(Error::Invalid("rows cannot be changed yet".into()))
    }

    /// Begins a transaction; waits for the one that is under way, until `cancel`.
    pub fn begin(self: &Arc<Self>, cancel: &Cancel) -> Result<Transaction> {
        cancel.check()?;
        Ok(Transaction { database: Arc::clone(self) })
    }
}

impl Transaction {
    /// The present with the transaction's own writes.
    pub fn snapshot(&self) -> Snapshot {
        self.database.snapshot()
    }

    /// Applies one mutation whole, visible to this transaction only.
    ///
    /// # Errors
    /// Those of [`Database::write`]; the mutations before stay.
    pub fn write(&mut self, mutation: &Mutation, now_micros: i64, cancel: &Cancel) -> Result<Changed> {
        self.database.write(mutation, now_micros, cancel)
    }

    /// Makes all of it durable and visible, in one LSN.
    pub fn commit(self) -> Result<()> {
        Ok(())
    }

    /// Leaves everything as it was.
    pub fn rollback(self) {}
}
