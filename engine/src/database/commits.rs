//! Who hears of commits.

use super::{Database, State};
use crate::schema::TableId;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What became visible at once: a change, or a group of changes that shared a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The change that snapshots include last from now on.
    pub lsn: u64,
    /// The tables whose rows, columns or audiences may be others than before.
    pub tables: Vec<TableId>,
}

type Listener = dyn Fn(&Commit) + Send + Sync;

/// Those who listen, as long as each keeps its [`Listening`].
#[derive(Default)]
pub(super) struct Listeners(Arc<Mutex<Vec<Arc<Listener>>>>);

/// Ends the listening when it is dropped.
#[must_use = "it ends the listening when it is dropped"]
pub struct Listening {
    listener: Arc<Listener>,
    listeners: Weak<Mutex<Vec<Arc<Listener>>>>,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listening")
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(listeners) = self.listeners.upgrade() {
            locked(&listeners).retain(|listener| !Arc::ptr_eq(listener, &self.listener));
        }
    }
}

impl Listeners {
    /// Tells of a state that snapshots see by now.
    fn tell(&self, state: &State, tables: impl FnOnce() -> Vec<TableId>) {
        let listeners = locked(&self.0).clone();
        if listeners.is_empty() {
            return;
        }
        let mut commit = Commit { lsn: state.lsn.0, tables: tables() };
        commit.tables.sort_unstable();
        listeners.iter().for_each(|listener| listener(&commit));
    }
}

fn locked(listeners: &Mutex<Vec<Arc<Listener>>>) -> MutexGuard<'_, Vec<Arc<Listener>>> {
    listeners.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tables that are not as they were. Of a table that was opened again its record and its parts tell.
fn touched(old: &State, new: &State) -> Vec<TableId> {
    let record =
        |state: &State, id| state.catalog.tables.iter().find(|record| record.schema.id == id).cloned();
    let parts = |state: &State, id: TableId| {
        let of_table = state.part_refs.iter().filter(|part| part.table == id.0);
        of_table.map(|part| part.id).collect::<Vec<_>>()
    };
    let is_touched = |id: TableId| match (old.tables.get(&id), new.tables.get(&id)) {
        (Some(before), Some(after)) if Arc::ptr_eq(before, after) => false,
        _ if Arc::ptr_eq(&old.part_refs, &new.part_refs) => true,
        _ => record(old, id) != record(new, id) || parts(old, id) != parts(new, id),
    };
    new.tables.keys().copied().filter(|id| is_touched(*id)).collect()
}

impl Database {
    /// Calls `hear` after each commit, once snapshots see it, in the order of the commits, until what comes back is dropped.
    ///
    /// Whoever commits calls it, and holds up every other writer meanwhile: it is to hand the news on, not to work. Checkpoints
    /// change nothing that can be asked for and are not told. A database that is only read hears of what [`Self::refresh`] finds, of
    /// all tables at once.
    ///
    /// ```
    /// # use muster_engine::schema::{ColumnSpec, DataType, TableSpec};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let database = muster_engine::Database::open(&directory.path().join("db"), muster_engine::database::Mode::ReadWrite)?;
    /// let (tell, heard) = std::sync::mpsc::channel();
    /// let listening = database.on_commit(move |commit| drop(tell.send(commit.clone())));
    /// let id = ColumnSpec { name: "id".into(), data_type: DataType::BigInt, nullable: false };
    /// let table = database.create_table(&TableSpec::new("members", &[id], Some(0)))?;
    /// assert_eq!(heard.recv()?.tables, [table]);
    /// # drop(listening);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_commit(&self, hear: impl Fn(&Commit) + Send + Sync + 'static) -> Listening {
        let listener: Arc<Listener> = Arc::new(hear);
        locked(&self.listeners.0).push(Arc::clone(&listener));
        Listening { listener, listeners: Arc::downgrade(&self.listeners.0) }
    }

    /// Lets the next snapshot be of a state that changes something, and tells of it.
    pub(super) fn show_commit(&self, state: State) {
        let old = self.state();
        self.show(state);
        let new = self.state();
        self.listeners.tell(&new, || touched(&old, &new));
    }

    /// Lets the next snapshot be of a state in which anything may have changed.
    pub(super) fn show_refreshed(&self, state: State) {
        let old = self.state();
        self.show(state);
        let new = self.state();
        if new.lsn > old.lsn {
            self.listeners.tell(&new, || new.tables.keys().copied().collect());
        }
    }
}
