//! The facade: a database directory with one live manifest, and the switch to the next.
//!
//! Invariants: the live manifest and all that it names is on disk, whole and durable; LSNs ascend; an id of a
//! part is given out once per process, and once ever if it was committed; once a writer has opened it and replayed
//! the log, the directory holds no file that is not needed. The order of the steps of a commit, and why, stands in
//! [`crate::manifest`].
//!
//! It does not know what is in a part or in the catalog, and it is not the engine's snapshot: a reader keeps the
//! manifest it took and the maps it made, and both outlive any commit.

mod backup;

pub use backup::{Backup, check_backup_target};

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::disk::{DirectoryLock, Disk};
use crate::format::FRAME_HEADER_BYTES;
use crate::manifest::{
    CURRENT, CURRENT_TEMPORARY, LOCK, Lsn, Manifest, PartId, PartRef, WAL_TEMPORARY, decode_current,
    encode_current, manifest_file_name, manifest_of_file, part_file_name, part_of_file, wal_file_name,
    wal_of_file,
};
use crate::wal::{self, Log, Replayed, SegmentEnd, WalWriter};
use crate::{Error, RESTORE, Result};

/// How often a reader begins anew when a writer's commit removes files under it. Each time means a whole commit within
/// the milliseconds between two reads, so the bound is there for a clock gone wild, not for load.
const READ_ATTEMPTS: usize = 100;

/// What an opened store may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Takes the lock; makes a database where the directory holds nothing; removes files that nothing names.
    ReadWrite,
    /// Writes nothing at all, and takes no lock: a writer may be at work. Sees the manifest of the moment of opening.
    /// A writer's later commit removes the parts that it replaces, so a part that is mapped only then may be missing:
    /// whoever finds one missing opens again.
    ReadOnly,
}

/// An open database directory.
///
/// Lock order: `commit` before `log` before `current`.
pub struct Store {
    disk: Arc<dyn Disk>,
    mode: OpenMode,
    /// Held for a whole commit, so that there is one at a time.
    commit: Mutex<()>,
    /// Held for a clone or an exchange of the pointer: nobody waits for a commit to see what is live.
    current: Mutex<Arc<Manifest>>,
    next_part: AtomicU64,
    poisoned: AtomicBool,
    log: Mutex<LogState>,
    /// Shared with the log's writer, which writes once more when it is dropped.
    lock: Option<Arc<dyn DirectoryLock>>,
}

/// How far the log was taken up.
enum LogState {
    /// Opened, to be replayed.
    Unread(Log),
    /// Replayed and durable up to here, to be written.
    Settled(SegmentEnd),
    /// Given away, or not taken up because its replay failed.
    Taken,
}

impl Store {
    /// Opens the database of a directory.
    ///
    /// Costs the reading of `CURRENT` and of the manifest and one listing of the directory; for a writer a sync of it
    /// too. Parts are looked for by name, not read.
    ///
    /// # Errors
    /// [`Error::Locked`] when another writer has it; [`Error::NotADatabase`] when the directory holds other things, or
    /// nothing and is to be read only; [`Error::Corrupt`] and [`Error::Version`] of `CURRENT` and the manifest, also
    /// when a part is missing; [`Error::Io`].
    pub fn open(disk: Arc<dyn Disk>, mode: OpenMode) -> Result<Store> {
        let (lock, (manifest, log)) = match mode {
            OpenMode::ReadOnly => (None, open_to_read(&*disk)?),
            OpenMode::ReadWrite => {
                // A directory that is refused is left without a LOCK of ours.
                refuse_foreign(&*disk, &disk.list()?)?;
                let lock = disk.lock()?;
                (Some(Arc::from(lock)), open_to_write(&*disk)?)
            }
        };
        Ok(Store {
            disk,
            mode,
            commit: Mutex::new(()),
            next_part: AtomicU64::new(manifest.next_part.0),
            current: Mutex::new(Arc::new(manifest)),
            poisoned: AtomicBool::new(false),
            log: Mutex::new(LogState::Unread(log)),
            lock,
        })
    }

    /// Takes up what is on disk now, for a reader: the live manifest, and the log to be replayed after it.
    ///
    /// # Errors
    /// Those of [`Self::open`]; then it stays with what it had.
    ///
    /// # Panics
    /// For a writer, who knows of every change.
    pub fn refresh(&self) -> Result<()> {
        assert!(self.mode == OpenMode::ReadOnly, "a writer was to be refreshed");
        let (manifest, log) = open_to_read(&*self.disk)?;
        *self.current() = Arc::new(manifest);
        *self.log() = LogState::Unread(log);
        Ok(())
    }

    /// The live manifest.
    pub fn manifest(&self) -> Arc<Manifest> {
        Arc::clone(&self.current())
    }

    /// The disk, to write and map parts on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// How it was opened.
    pub fn mode(&self) -> OpenMode {
        self.mode
    }

    /// True once a commit failed in a way that leaves it in doubt; see [`Self::commit`].
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// An id for a new part, given out to nobody else.
    ///
    /// It is a part of the database from the commit that names it. If the process ends before, the file is removed when
    /// a writer opens again, and only then the id can come again.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] and [`Error::Poisoned`].
    pub fn allocate_part(&self) -> Result<PartId> {
        self.writable()?;
        Ok(PartId(self.next_part.fetch_add(1, Ordering::Relaxed)))
    }

    /// Hands over the LSN, kind and payload of each record of the log after the manifest's checkpoint, in the order of
    /// the LSNs.
    ///
    /// For a writer all of them are durable when this returns, what a crash tore off is gone, and so are segments
    /// without a record after the checkpoint. A reader is shown the log as of its opening; what a writer has not yet
    /// synced, or a process that died had not, may be among it.
    ///
    /// # Errors
    /// Those of [`wal::replay`].
    ///
    /// # Panics
    /// The second time.
    pub fn replay<E: From<Error>>(
        &self,
        visit: impl FnMut(Lsn, u16, &[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Replayed, E> {
        let mut state = self.log();
        let LogState::Unread(log) = std::mem::replace(&mut *state, LogState::Taken) else {
            panic!("the log was to be replayed twice");
        };
        let (replayed, tail) = log.replay(visit)?;
        if self.mode == OpenMode::ReadWrite {
            *state = LogState::Settled(log.settle(&*self.disk, &tail)?);
        }
        Ok(replayed)
    }

    /// The files of the log and their bytes, in the order of their LSNs.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn log_segments(&self) -> Result<Vec<(String, u64)>> {
        Ok(self.log_as_it_is()?.sizes().collect())
    }

    /// Reads the log once more, as [`Self::replay`] did, also while it is written; changes nothing.
    ///
    /// # Errors
    /// Those of [`wal::replay`].
    pub fn read_log<E: From<Error>>(
        &self,
        visit: impl FnMut(Lsn, u16, &[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Replayed, E> {
        Ok(self.log_as_it_is()?.replay(visit)?.0)
    }

    fn log_as_it_is(&self) -> Result<Log> {
        let manifest = self.manifest();
        Log::open(&*self.disk, manifest.database_id, manifest.checkpoint, true)
    }

    /// The end of the log, to append to from `next_lsn` on. The database stays locked until it, too, is dropped.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] and [`Error::Poisoned`].
    ///
    /// # Panics
    /// When the log has not been replayed, has been given away, or the LSN is not above all that were.
    pub fn wal_writer(&self, next_lsn: Lsn) -> Result<WalWriter> {
        self.writable()?;
        let mut state = self.log();
        let LogState::Settled(end) = std::mem::replace(&mut *state, LogState::Taken) else {
            panic!("the log is replayed first, and has one writer");
        };
        let manifest = self.manifest();
        assert!(next_lsn > manifest.lsn, "LSN {next_lsn} was to follow {}", manifest.lsn);
        Ok(WalWriter::after(Arc::clone(&self.disk), self.lock.clone(), manifest.database_id, next_lsn, end))
    }

    /// Makes these the catalog and the parts of the database, durably and in one switch, which takes an LSN of its own.
    /// Every change up to `checkpoint` must be in them: the log is replayed only after it.
    ///
    /// The files of `parts` must be complete and synced; their names are made durable here. Files of parts no longer
    /// named are removed afterwards; maps of them live on. Costs four syncs. Segments of the log that are no longer
    /// needed are for [`WalWriter::remove_before`] to remove.
    ///
    /// # Errors
    /// After [`Error::Poisoned`], or once one came with a failed sync or switch, the store takes no more changes, and
    /// whether this commit happened is found out by opening the database again. After any other error it did not happen
    /// and may be tried again.
    ///
    /// # Panics
    /// When `parts` names one twice, or one with an id that was not allocated; when the LSN is not above that of the
    /// last commit, or the checkpoint is before the last one or after the LSN; when it passes a log that has not been
    /// replayed.
    pub fn commit(&self, lsn: Lsn, checkpoint: Lsn, catalog: Vec<u8>, parts: Vec<PartRef>) -> Result<()> {
        let _one_at_a_time = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        self.writable()?;
        let old = self.manifest();
        assert!(lsn > old.lsn, "a commit was to take LSN {lsn} after {}", old.lsn);
        assert!(checkpoint >= old.checkpoint, "checkpoint {checkpoint} was to follow {}", old.checkpoint);
        let unread = matches!(&*self.log(), LogState::Unread(log) if !log.is_empty());
        assert!(!unread || checkpoint == old.checkpoint, "a commit was to pass a log that nobody has read");
        let new = Manifest {
            database_id: old.database_id,
            lsn,
            next_part: PartId(self.next_part.load(Ordering::Relaxed)),
            catalog,
            parts,
            checkpoint,
        };
        let kept: HashSet<PartId> = new.parts.iter().map(|part| part.id).collect();
        switch(&*self.disk, &new).inspect_err(|failure| {
            if failure.poisons {
                self.poisoned.store(true, Ordering::Release);
            }
        })?;
        *self.current() = Arc::new(new);
        // What cannot be removed now is an orphan and goes at the next opening.
        let _ = self.disk.remove(&manifest_file_name(old.lsn));
        for part in old.parts.iter().filter(|part| !kept.contains(&part.id)) {
            let _ = self.disk.remove(&part_file_name(part.id));
        }
        Ok(())
    }

    /// Removes the file of a part that will not be committed after all. That there is none is fine.
    ///
    /// # Errors
    /// [`Error::ReadOnly`]; [`Error::Io`]; and [`Error::Poisoned`], because then a commit that seemed to fail may have
    /// named the part. The file is in all cases removed at the next opening, if nothing names it then.
    ///
    /// # Panics
    /// When the live manifest names the part.
    pub fn discard_part(&self, id: PartId) -> Result<()> {
        // Not while a commit runs: it may be about to name the part, or to fail in a way that leaves it in doubt.
        let _one_at_a_time = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        self.writable()?;
        assert!(
            self.manifest().parts.iter().all(|part| part.id != id),
            "part {id} is live and was to be discarded"
        );
        match self.disk.remove(&part_file_name(id)) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn writable(&self) -> Result<()> {
        match self.mode {
            OpenMode::ReadOnly => Err(Error::ReadOnly),
            OpenMode::ReadWrite if self.is_poisoned() => Err(Error::Poisoned),
            OpenMode::ReadWrite => Ok(()),
        }
    }

    fn log(&self) -> MutexGuard<'_, LogState> {
        // Whoever panicked while taking it up left it taken.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> MutexGuard<'_, Arc<Manifest>> {
        // The pointer is whole whoever panicked: it is only ever exchanged.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A commit that failed.
struct Failure {
    error: Error,
    /// Whether what is on disk is in doubt.
    poisons: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
}

/// Steps 1 to 7 of a commit, as numbered in [`crate::manifest`].
fn switch(disk: &dyn Disk, new: &Manifest) -> std::result::Result<(), Failure> {
    let harmless = |error| Failure { error, poisons: false };
    let in_doubt = |error| Failure { error, poisons: true };
    let bytes = new.encode().map_err(harmless)?;
    let written = write_synced(disk, &manifest_file_name(new.lsn), &bytes)
        .and_then(|()| write_synced(disk, CURRENT_TEMPORARY, &encode_current(new.lsn)));
    if let Err(failure) = written {
        // Space may be what was missing. What stays is an orphan.
        let _ = disk.remove(CURRENT_TEMPORARY);
        let _ = disk.remove(&manifest_file_name(new.lsn));
        return Err(failure);
    }
    disk.sync_directory().map_err(in_doubt)?;
    disk.rename(CURRENT_TEMPORARY, CURRENT).map_err(in_doubt)?;
    disk.sync_directory().map_err(in_doubt)
}

fn write_synced(disk: &dyn Disk, name: &str, bytes: &[u8]) -> std::result::Result<(), Failure> {
    let mut file = disk.create(name).map_err(|error| Failure { error, poisons: false })?;
    file.append(bytes).map_err(|error| Failure { error, poisons: false })?;
    file.sync().map_err(|error| Failure { error, poisons: true })
}

/// Opens under the lock: reads, or creates, and tidies up.
fn open_to_write(disk: &dyn Disk) -> Result<(Manifest, Log)> {
    let names = disk.list()?;
    let manifest = if names.iter().any(|name| name == CURRENT) {
        let manifest = read_manifest(disk, read_current(disk)?)?;
        refuse_missing(&names, &manifest)?;
        // A process that died after the switch may have left a CURRENT that is seen but not durable, and what the
        // durable one names are orphans now. The same goes for a segment of the log that was written anew.
        disk.sync_directory()?;
        remove_orphans(disk, &names, Some(&manifest))?;
        manifest
    } else {
        refuse_foreign(disk, &names)?;
        let manifest = Manifest::empty(new_database_id());
        remove_orphans(disk, &names, None)?;
        switch(disk, &manifest)?;
        manifest
    };
    let log = Log::open(disk, manifest.database_id, manifest.checkpoint, false)?;
    Ok((manifest, log))
}

/// Opens beside a writer: begins anew when CURRENT moved on while its files were looked for.
fn open_to_read(disk: &dyn Disk) -> Result<(Manifest, Log)> {
    let mut attempts = READ_ATTEMPTS;
    loop {
        let names = disk.list()?;
        if !names.iter().any(|name| name == CURRENT) {
            let reason = match names.iter().find(|name| *name != LOCK) {
                Some(other) => format!("it holds {other}, but no {CURRENT}"),
                None => "it is empty".to_owned(),
            };
            return Err(Error::NotADatabase { directory: disk.describe(), reason });
        }
        let lsn = read_current(disk)?;
        let found = read_manifest(disk, lsn).and_then(|manifest| {
            refuse_missing(&disk.list()?, &manifest)?;
            let log = Log::open(disk, manifest.database_id, manifest.checkpoint, true)?;
            Ok((manifest, log))
        });
        attempts -= 1;
        // Also where all was found: the segments of the log that this manifest needs may have been gone already.
        if attempts == 0 || read_current(disk)? == lsn {
            return found;
        }
    }
}

fn read_current(disk: &dyn Disk) -> Result<Lsn> {
    decode_current(&disk.map(CURRENT)?)
}

fn read_manifest(disk: &dyn Disk, lsn: Lsn) -> Result<Manifest> {
    let name = manifest_file_name(lsn);
    let bytes = disk.map(&name).map_err(|error| match error {
        Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => Error::Corrupt {
            file: CURRENT.to_owned(),
            offset: FRAME_HEADER_BYTES as u64,
            expected: "the LSN of a manifest".to_owned(),
            found: format!("{lsn}, and no file {name}"),
            remedy: RESTORE,
        },
        other => other,
    })?;
    let manifest = Manifest::decode(&name, &bytes)?;
    if manifest.lsn != lsn {
        return Err(Error::Corrupt {
            file: name,
            offset: FRAME_HEADER_BYTES as u64 + size_of::<u64>() as u64,
            expected: format!("LSN {lsn}"),
            found: format!("LSN {}", manifest.lsn),
            remedy: RESTORE,
        });
    }
    Ok(manifest)
}

fn refuse_missing(names: &[String], manifest: &Manifest) -> Result<()> {
    for part in &manifest.parts {
        let name = part_file_name(part.id);
        if names.binary_search(&name).is_err() {
            return Err(Error::Corrupt {
                file: name,
                offset: 0,
                expected: format!("a part of {} bytes", part.bytes),
                found: "no such file".to_owned(),
                remedy: RESTORE,
            });
        }
    }
    Ok(())
}

/// Refuses a directory that is neither a database nor empty nor left by a creation that did not come to its end.
///
/// Such a creation leaves the manifest of LSN 0 and `CURRENT.tmp`, nothing else: there are no parts and no later
/// manifests before `CURRENT` is durable. Where those are and `CURRENT` is not, somebody lost it, and to begin anew
/// would remove a database.
fn refuse_foreign(disk: &dyn Disk, names: &[String]) -> Result<()> {
    if names.iter().any(|name| name == CURRENT) {
        return Ok(());
    }
    let creation = manifest_file_name(Lsn(0));
    let Some(other) =
        names.iter().find(|name| ![LOCK, CURRENT_TEMPORARY, &creation].contains(&name.as_str()))
    else {
        return Ok(());
    };
    let ours = part_of_file(other).is_some()
        || manifest_of_file(other).is_some()
        || wal_of_file(other).is_some()
        || other == WAL_TEMPORARY;
    let remedy = if ours { "restore it from a backup" } else { "use an empty directory" };
    let reason = format!("it holds {other}, but no {CURRENT}; {remedy}");
    Err(Error::NotADatabase { directory: disk.describe(), reason })
}

/// Removes files that only a commit which did not happen, or a removal that did not, can have left, and segments of the
/// log without a record after the checkpoint, but for the last.
fn remove_orphans(disk: &dyn Disk, names: &[String], manifest: Option<&Manifest>) -> Result<()> {
    let live: HashSet<PartId> = manifest.iter().flat_map(|m| &m.parts).map(|part| part.id).collect();
    for first in manifest.map_or(Vec::new(), |m| wal::segments_before(names, m.checkpoint)) {
        disk.remove(&wal_file_name(first))?;
    }
    for name in names {
        let orphan = name == CURRENT_TEMPORARY
            || name == WAL_TEMPORARY
            || part_of_file(name).is_some_and(|id| !live.contains(&id))
            || manifest_of_file(name).is_some_and(|lsn| manifest.is_none_or(|m| m.lsn != lsn));
        if orphan {
            disk.remove(name)?;
        }
    }
    Ok(())
}

/// A number that no other database has: 64 bits from the system's randomness (which keys `RandomState`), the time and
/// the process. Not 0.
fn new_database_id() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    RandomState::new().hash_one((since, std::process::id())).max(1)
}

#[cfg(test)]
mod tests;
