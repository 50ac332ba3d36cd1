//! What is known of strays, for whoever asks the same tables again.

use super::Strays;
use crate::schema::TableId;
use crate::table::TableState;
use crate::{Error, Result};
use hashbrown::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// What is known of strays, by the tables as they were when it was found.
#[derive(Clone, Default)]
pub(crate) struct KnownStrays(Arc<Mutex<HashMap<TableId, Vec<Known>>>>);

/// States of a table of which strays are known at once: the present one, and that of a snapshot which somebody holds.
const KNOWN_STATES: usize = 2;

struct Known {
    table: Weak<TableState>,
    owners: Weak<TableState>,
    strays: Arc<Strays>,
}

impl Known {
    fn is_of(&self, table: &Arc<TableState>, owners: &Arc<TableState>) -> bool {
        std::ptr::eq(self.table.as_ptr(), Arc::as_ptr(table))
            && std::ptr::eq(self.owners.as_ptr(), Arc::as_ptr(owners))
    }
}

impl KnownStrays {
    /// True where [`Self::of`] costs nothing.
    pub(crate) fn knows(&self, table: &Arc<TableState>, owners: &Arc<TableState>) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let states = all.get(&table.schema().id).map_or(&[][..], Vec::as_slice);
        states.iter().any(|known| known.is_of(table, owners))
    }

    /// The strays of a table. Cost: nothing where they are known; where those of another state are, a look at every chunk's
    /// patches, and of each chunk that was written since, its strays; else a look at every chunk, and of each row that was
    /// written since the import its key and a look-up.
    pub(crate) fn of(&self, table: &Arc<TableState>, owners: &Arc<TableState>) -> Result<Arc<Strays>> {
        let Some(owner) = &table.schema().owner else {
            return Err(Error::Invalid(format!("the rows of \"{}\" are nobody's", table.schema().name)));
        };
        let id = table.schema().id;
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = {
            let all = lock();
            let states = all.get(&id).map_or(&[][..], Vec::as_slice);
            if let Some(known) = states.iter().find(|known| known.is_of(table, owners)) {
                return Ok(Arc::clone(&known.strays));
            }
            states.first().map(|known| Arc::clone(&known.strays))
        };
        let strays = Arc::new(Strays::find(table, owner, owners, before.as_deref())?);
        let known = Known {
            table: Arc::downgrade(table),
            owners: Arc::downgrade(owners),
            strays: Arc::clone(&strays),
        };
        let mut all = lock();
        // What nobody can ask any more goes but for the last, which the next begins with; also that of tables that were dropped.
        let is_asked = |known: &Known| known.table.strong_count() > 0 && known.owners.strong_count() > 0;
        all.retain(|other, states| *other == id || states.iter().any(is_asked));
        let states = all.entry(id).or_default();
        states.retain(is_asked);
        states.insert(0, known);
        states.truncate(KNOWN_STATES);
        Ok(strays)
    }
}

/// Tables of one state with what is kept of their rows' owners as it is then, each made when it is first asked for.
#[derive(Default)]
pub(crate) struct KeptTables(OnceLock<HashMap<TableId, OnceLock<Option<TableState>>>>);

impl Clone for KeptTables {
    /// Nothing: a copy of a state is made to become another one.
    fn clone(&self) -> KeptTables {
        KeptTables::default()
    }
}

impl KeptTables {
    /// The place of a table, of these that the state has.
    pub(crate) fn slot(
        &self,
        table: TableId,
        tables: impl Iterator<Item = TableId>,
    ) -> Option<&OnceLock<Option<TableState>>> {
        self.0.get_or_init(|| tables.map(|table| (table, OnceLock::new())).collect()).get(&table)
    }
}
