//! A copy of the database in another directory, made while it is used.
//!
//! [`Store::begin_backup`] takes hold of everything at one moment: hard links, or where there can be none open maps, which
//! outlive a commit that removes the files; so whoever keeps writers away meanwhile keeps them for an instant.
//! [`Backup::finish`] copies what could not be linked, and writes `CURRENT` last: before, nothing opens the copy.
//!
//! A file of a part never changes, and a name that is written again is a new file: so two databases can share it.

use super::{Store, switch, write_synced};
use crate::disk::{Bytes, DirectoryLock, Disk};
use crate::manifest::{Lsn, Manifest, part_file_name, wal_of_file};
use crate::{Error, Result};
use std::sync::{Arc, PoisonError};

/// A backup that is under way. Dropped before it is finished it removes what it made.
pub struct Backup {
    target: Arc<dyn Disk>,
    manifest: Arc<Manifest>,
    /// What is to be copied.
    files: Vec<(String, Bytes)>,
    finished: bool,
    _lock: Box<dyn DirectoryLock>,
}

impl Store {
    /// Takes hold of the live manifest, its parts and the log, for a copy in a directory that is empty. Who appends to the
    /// log must be kept away meanwhile.
    ///
    /// # Errors
    /// [`Error::BackupTarget`] when something is there already; [`Error::Locked`]; [`Error::Io`].
    pub fn begin_backup(&self, target: Arc<dyn Disk>) -> Result<Backup> {
        check_backup_target(&*target)?;
        let lock = target.lock()?;
        let _no_commit = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let manifest = self.manifest();
        let mut backup = Backup { target, manifest, files: Vec::new(), finished: false, _lock: lock };
        for part in &backup.manifest.parts {
            let name = part_file_name(part.id);
            if !self.disk.link(&name, &*backup.target) {
                backup.files.push((name.clone(), self.disk.map(&name)?));
            }
        }
        for name in self.disk.list()?.into_iter().filter(|name| wal_of_file(name).is_some()) {
            let bytes = self.disk.read(&name)?;
            backup.files.push((name, bytes));
        }
        Ok(backup)
    }
}

/// Refuses a directory that holds something.
///
/// # Errors
/// [`Error::BackupTarget`]; [`Error::Io`].
pub fn check_backup_target(target: &dyn Disk) -> Result<()> {
    match target.list()?.into_iter().next() {
        Some(name) => Err(Error::BackupTarget { directory: target.describe(), name }),
        None => Ok(()),
    }
}

impl Backup {
    /// The last commit that it holds. What the log has after it is there too.
    pub fn lsn(&self) -> Lsn {
        self.manifest.lsn
    }

    /// Writes what is not there yet, and makes all of it durable. `check` is asked between files.
    ///
    /// # Errors
    /// [`Error::Io`] and those of `check`; then the directory is empty again.
    pub fn finish<E: From<Error>>(
        mut self,
        mut check: impl FnMut() -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        for (name, bytes) in &self.files {
            check()?;
            write_synced(&*self.target, name, bytes).map_err(Error::from)?;
        }
        check()?;
        // As a commit does it: the names of all others are durable before CURRENT is there.
        switch(&*self.target, &self.manifest).map_err(Error::from)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        if !self.finished {
            // It was empty, and is locked: all of it is ours.
            for name in self.target.list().unwrap_or_default() {
                let _ = self.target.remove(&name);
            }
        }
    }
}
