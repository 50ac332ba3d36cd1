//! A backup: a directory that opens as the database was.

use super::Database;
use crate::Result;
use crate::control::Cancel;
use muster_storage::disk::Disk;
use muster_storage::disk::real::RealDisk;
use muster_storage::store::check_backup_target;
use std::path::Path;
use std::sync::Arc;

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// Every change up to this LSN, and none after it.
    pub lsn: u64,
    /// Parts.
    pub parts: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Database {
    /// Writes the database as it is to a directory that is empty, or is made. Opening it there is restoring it.
    ///
    /// Parts are hard links where the file system has them between the two directories, else copies. Readers go on
    /// meanwhile, and writers wait for an instant.
    ///
    /// Cost: a checkpoint, and the bytes of what is copied.
    ///
    /// # Errors
    /// The directory holds something, or cannot be written; then it is left as it was.
    pub fn backup(&self, directory: &Path, cancel: &Cancel) -> Result<BackedUp> {
        self.backup_on(Arc::new(RealDisk::create(directory)?), cancel)
    }

    /// [`Self::backup`] on any disk.
    pub fn backup_on(&self, target: Arc<dyn Disk>, cancel: &Cancel) -> Result<BackedUp> {
        check_backup_target(&*target)?;
        // So that little of the log is to be copied, and replayed.
        self.checkpoint(cancel)?;
        let (backup, lsn, manifest) = {
            let _writer = self.writer.take(cancel)?;
            (self.store.begin_backup(target)?, self.state().lsn.0, self.store.manifest())
        };
        backup.finish(|| cancel.check())?;
        let bytes = manifest.parts.iter().map(|part| part.bytes).sum();
        Ok(BackedUp { lsn, parts: manifest.parts.len(), bytes })
    }
}
