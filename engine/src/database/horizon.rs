//! How far back snapshots see: those that alone keep files on the disk end.

use super::State;
use crate::{Error, Result};
use muster_storage::manifest::Lsn;
use muster_storage::part::PartReader;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Bytes that snapshots may keep of a database however small.
const KEPT_ALWAYS: u64 = 1 << 30;

/// How long, and how much of the disk, snapshots may keep of what the database itself has no more use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotLimits {
    /// Since the first of a snapshot's files was replaced.
    pub age: Duration,
    /// Bytes of files that were replaced, of all snapshots together; with `None` as many as the database has, and
    /// 1 GiB in any case, so that a large one takes at most twice its size.
    pub bytes: Option<u64>,
}

impl Default for SnapshotLimits {
    /// An hour; as many bytes as the database has, and 1 GiB in any case.
    fn default() -> SnapshotLimits {
        SnapshotLimits { age: Duration::from_secs(3_600), bytes: None }
    }
}

/// The first LSN whose snapshots may still be asked. Cloning shares it.
#[derive(Clone, Default)]
pub(super) struct Horizon(Arc<Shared>);

#[derive(Default)]
struct Shared {
    first: AtomicU64,
    retired: Mutex<Retired>,
}

#[derive(Default)]
struct Retired {
    limits: SnapshotLimits,
    /// Bytes of the parts that the database has.
    live: u64,
    /// In the order in which they were replaced.
    parts: Vec<RetiredPart>,
}

/// A part that the present does not have any more.
struct RetiredPart {
    /// Snapshots keep it.
    reader: Weak<PartReader>,
    bytes: u64,
    /// From this LSN on nobody has it.
    replaced_by: Lsn,
    since: Instant,
}

impl Horizon {
    fn retired(&self) -> MutexGuard<'_, Retired> {
        self.0.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_limits(&self, limits: SnapshotLimits) {
        self.retired().limits = limits;
        self.end_the_old();
    }

    /// An error for a snapshot before the horizon.
    #[inline]
    pub(super) fn check(&self, lsn: Lsn) -> Result<()> {
        if lsn.0 < self.0.first.load(Ordering::Relaxed) {
            Err(Error::SnapshotEnded { lsn: lsn.0 })
        } else {
            Ok(())
        }
    }

    /// Takes notice of the parts that one state has and the next has not. True where there are such.
    pub(super) fn advance(&self, from: &State, to: &State) -> bool {
        if Arc::ptr_eq(&from.part_refs, &to.part_refs) {
            return false;
        }
        let gone = from.part_refs.iter().filter(|part| !to.parts.contains_key(&part.id));
        let now = Instant::now();
        let gone = gone.filter_map(|part| {
            let reader = Arc::downgrade(from.parts.get(&part.id)?);
            Some(RetiredPart { reader, bytes: part.bytes, replaced_by: to.lsn, since: now })
        });
        let mut retired = self.retired();
        let before = retired.parts.len();
        retired.parts.extend(gone);
        retired.live = to.part_refs.iter().map(|part| part.bytes).sum();
        retired.parts.len() > before
    }

    /// Ends the snapshots that keep too much, or keep something for too long. True while there are others that keep
    /// something.
    pub(super) fn end_the_old(&self) -> bool {
        let mut retired = self.retired();
        retired.parts.retain(|part| part.reader.strong_count() > 0);
        let SnapshotLimits { age, bytes } = retired.limits;
        let bytes_max = bytes.unwrap_or(retired.live.max(KEPT_ALWAYS));
        let (mut kept, mut first) = (0, 0);
        // Newest first: all before the one that is too much end.
        for part in retired.parts.iter().rev() {
            kept += part.bytes;
            if kept > bytes_max || part.since.elapsed() > age {
                first = part.replaced_by.0;
                break;
            }
        }
        self.0.first.fetch_max(first, Ordering::Relaxed);
        !retired.parts.is_empty()
    }
}
