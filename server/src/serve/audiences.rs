//! Audiences by name, as clients ask for them thousands of times a second: found without a search, counted once.

use muster_engine::Snapshot;
use muster_engine::catalog::{AudienceKind, AudienceRecord};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names that are kept. A database has fewer audiences; others were renamed or dropped.
const NAMES_MAX: usize = 20_000;

struct Known {
    record: Arc<AudienceRecord>,
    /// The LSN at which its members were counted, and how many they were.
    counted: Option<(u64, u64)>,
}

impl Known {
    /// True where a snapshot has the audience as it is here.
    fn holds(&self, snapshot: &Snapshot) -> bool {
        snapshot.audience(self.record.id).is_some_and(|record| Arc::ptr_eq(record, &self.record))
    }
}

/// What is known of audiences. Whatever it says is checked against the snapshot that it is asked with.
#[derive(Default)]
pub(super) struct Audiences(Mutex<HashMap<String, Known>>);

impl Audiences {
    /// The audience of this name.
    pub(super) fn named(&self, snapshot: &Snapshot, name: &str) -> Option<Arc<AudienceRecord>> {
        if let Some(known) = self.known().get(name).filter(|known| known.holds(snapshot)) {
            return Some(Arc::clone(&known.record));
        }
        let record = snapshot.audience_named(name)?;
        let mut names = self.known();
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        names.insert(name.to_owned(), Known { record: Arc::clone(&record), counted: None });
        Some(record)
    }

    /// How many members an audience has, where they were counted and nothing was written since.
    pub(super) fn count(&self, snapshot: &Snapshot, name: &str) -> Option<u64> {
        let names = self.known();
        let known = names.get(name).filter(|known| known.holds(snapshot))?;
        known.counted.filter(|(lsn, _)| *lsn == snapshot.lsn()).map(|(_, members)| members)
    }

    /// Keeps how many members an audience has. A dynamic one may have others without a write: as time passes.
    pub(super) fn counted(&self, snapshot: &Snapshot, audience: &Arc<AudienceRecord>, members: u64) {
        if let AudienceKind::Static { .. } = audience.kind
            && let Some(known) = self.known().get_mut(&audience.name)
            && Arc::ptr_eq(&known.record, audience)
        {
            known.counted = Some((snapshot.lsn(), members));
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
