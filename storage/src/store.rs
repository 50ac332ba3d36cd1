//! The facade: a database directory with one live manifest, and the switch to the next.
//!
//! Invariants: the live manifest and all that it names is on disk, whole and durable; LSNs of commits are gapless; an
//! id of a part is given out once per process, and once ever if it was committed; the directory holds no file that
//! nothing names once a writer has opened it. The order of the steps of a commit, and why, stands in
//! [`crate::manifest`].
//!
//! It does not know what is in a part or in the catalog, and it is not the engine's snapshot: a reader keeps the
//! manifest it took and the maps it made, and both outlive any commit.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::disk::{DirectoryLock, Disk};
use crate::format::FRAME_HEADER_BYTES;
use crate::manifest::{
    CURRENT, CURRENT_TEMPORARY, LOCK, Lsn, Manifest, PartId, PartRef, decode_current, encode_current,
    manifest_file_name, manifest_of_file, part_file_name, part_of_file,
};
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
/// Lock order: `commit` before `current`.
pub struct Store {
    disk: Arc<dyn Disk>,
    mode: OpenMode,
    /// Held for a whole commit, so that there is one at a time.
    commit: Mutex<()>,
    /// Held for a clone or an exchange of the pointer: nobody waits for a commit to see what is live.
    current: Mutex<Arc<Manifest>>,
    next_part: AtomicU64,
    poisoned: AtomicBool,
    _lock: Option<Box<dyn DirectoryLock>>,
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
        let (lock, manifest) = match mode {
            OpenMode::ReadOnly => (None, open_to_read(&*disk)?),
            OpenMode::ReadWrite => {
                // A directory that is refused is left without a LOCK of ours.
                refuse_foreign(&*disk, &disk.list()?)?;
                let lock = disk.lock()?;
                (Some(lock), open_to_write(&*disk)?)
            }
        };
        Ok(Store {
            disk,
            mode,
            commit: Mutex::new(()),
            next_part: AtomicU64::new(manifest.next_part.0),
            current: Mutex::new(Arc::new(manifest)),
            poisoned: AtomicBool::new(false),
            _lock: lock,
        })
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

    /// Makes these the catalog and the parts of the database, durably and in one switch, and gives the LSN of that.
    ///
    /// The files of `parts` must be complete and synced; their names are made durable here. Files of parts no longer
    /// named are removed afterwards; maps of them live on. Costs four syncs.
    ///
    /// # Errors
    /// After [`Error::Poisoned`], or once one came with a failed sync or switch, the store takes no more changes, and
    /// whether this commit happened is found out by opening the database again. After any other error it did not happen
    /// and may be tried again.
    ///
    /// # Panics
    /// When `parts` names one twice, or one with an id that was not allocated.
    pub fn commit(&self, catalog: Vec<u8>, parts: Vec<PartRef>) -> Result<Lsn> {
        let _one_at_a_time = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        self.writable()?;
        let old = self.manifest();
        let new = Manifest {
            database_id: old.database_id,
            lsn: Lsn(old.lsn.0 + 1),
            next_part: PartId(self.next_part.load(Ordering::Relaxed)),
            catalog,
            parts,
        };
        let lsn = new.lsn;
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
        Ok(lsn)
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
            OpenMode::ReadWrite if self.poisoned.load(Ordering::Acquire) => Err(Error::Poisoned),
            OpenMode::ReadWrite => Ok(()),
        }
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
fn open_to_write(disk: &dyn Disk) -> Result<Manifest> {
    let names = disk.list()?;
    if !names.iter().any(|name| name == CURRENT) {
        refuse_foreign(disk, &names)?;
        let manifest = Manifest::empty(new_database_id());
        remove_orphans(disk, &names, None)?;
        switch(disk, &manifest)?;
        return Ok(manifest);
    }
    let manifest = read_manifest(disk, read_current(disk)?)?;
    refuse_missing(&names, &manifest)?;
    // A process that died after the switch may have left a CURRENT that is seen but not durable, and what the durable
    // one names are orphans now.
    disk.sync_directory()?;
    remove_orphans(disk, &names, Some(&manifest))?;
    Ok(manifest)
}

/// Opens beside a writer: begins anew when CURRENT moved on while its files were looked for.
fn open_to_read(disk: &dyn Disk) -> Result<Manifest> {
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
            Ok(manifest)
        });
        attempts -= 1;
        match found {
            Err(_) if attempts > 0 && read_current(disk)? != lsn => {}
            found => return found,
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
    let ours = part_of_file(other).is_some() || manifest_of_file(other).is_some();
    let remedy = if ours { "restore it from a backup" } else { "use an empty directory" };
    let reason = format!("it holds {other}, but no {CURRENT}; {remedy}");
    Err(Error::NotADatabase { directory: disk.describe(), reason })
}

/// Removes files that only a commit which did not happen, or a removal that did not, can have left.
fn remove_orphans(disk: &dyn Disk, names: &[String], manifest: Option<&Manifest>) -> Result<()> {
    let live: HashSet<PartId> = manifest.iter().flat_map(|m| &m.parts).map(|part| part.id).collect();
    for name in names {
        let orphan = name == CURRENT_TEMPORARY
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
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::manifest::PartRole;

    fn open(disk: &SimDisk, mode: OpenMode) -> Result<Store> {
        Store::open(Arc::new(disk.clone()), mode)
    }

    fn part(store: &Store) -> PartRef {
        let id = store.allocate_part().unwrap();
        let mut file = store.disk().create(&part_file_name(id)).unwrap();
        file.append(b"part").unwrap();
        file.sync().unwrap();
        PartRef { id, role: PartRole::Base, table: 0, range: 0, columns: vec![], bytes: 4, toc_checksum: 0 }
    }

    #[test]
    fn stores_are_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Store>();
    }

    #[test]
    fn a_new_database_is_empty_and_has_an_id() {
        let disk = SimDisk::new(0);
        let manifest = open(&disk, OpenMode::ReadWrite).unwrap().manifest();
        assert_eq!((manifest.lsn, manifest.next_part, manifest.parts.len()), (Lsn(0), PartId(1), 0));
        assert_ne!(manifest.database_id, 0);
        assert_eq!(open(&disk, OpenMode::ReadOnly).unwrap().manifest(), manifest);
        let other = open(&SimDisk::new(0), OpenMode::ReadWrite).unwrap();
        assert_ne!(other.manifest().database_id, manifest.database_id);
    }

    #[test]
    fn commits_replace_one_another() {
        let disk = SimDisk::new(0);
        let store = open(&disk, OpenMode::ReadWrite).unwrap();
        let (first, second) = (part(&store), part(&store));
        let held = store.manifest();
        assert_eq!(store.commit(b"one".to_vec(), vec![first.clone(), second.clone()]).unwrap(), Lsn(1));
        let mapped = disk.map(&part_file_name(first.id)).unwrap();
        assert_eq!(store.commit(b"two".to_vec(), vec![second.clone()]).unwrap(), Lsn(2));
        assert_eq!((held.lsn, &*mapped), (Lsn(0), &b"part"[..]));
        let names =
            [CURRENT.to_owned(), LOCK.to_owned(), manifest_file_name(Lsn(2)), part_file_name(second.id)];
        assert_eq!(disk.list().unwrap(), names);
        let live = store.manifest();
        assert_eq!(
            (&live.catalog[..], &live.parts[..], live.next_part),
            (&b"two"[..], &[second][..], PartId(3))
        );
        drop(store);
        assert_eq!(open(&disk, OpenMode::ReadWrite).unwrap().manifest(), live);
    }

    #[test]
    fn one_writes_and_others_read() {
        let disk = SimDisk::new(0);
        let store = open(&disk, OpenMode::ReadWrite).unwrap();
        assert!(matches!(open(&disk, OpenMode::ReadWrite), Err(Error::Locked { .. })));
        let reader = open(&disk, OpenMode::ReadOnly).unwrap();
        assert!(matches!(reader.allocate_part(), Err(Error::ReadOnly)));
        assert!(matches!(reader.commit(vec![], vec![]), Err(Error::ReadOnly)));
        assert!(matches!(reader.discard_part(PartId(1)), Err(Error::ReadOnly)));
        store.commit(b"new".to_vec(), vec![]).unwrap();
        assert_eq!(reader.manifest().lsn, Lsn(0));
        assert_eq!(open(&disk, OpenMode::ReadOnly).unwrap().manifest().lsn, Lsn(1));
    }

    #[test]
    fn orphans_go_when_a_writer_opens_and_only_then() {
        let disk = SimDisk::new(0);
        let live = {
            let store = open(&disk, OpenMode::ReadWrite).unwrap();
            let live = part(&store);
            store.commit(vec![], vec![live.clone()]).unwrap();
            part(&store);
            live
        };
        for orphan in ["part-0000000000000099.mus", "manifest-0000000000000000.mus", CURRENT_TEMPORARY] {
            disk.plant(orphan, b"?");
        }
        disk.plant("notes.txt", b"not ours, hence not removed");
        let before = disk.list().unwrap();
        open(&disk, OpenMode::ReadOnly).unwrap();
        assert_eq!(disk.list().unwrap(), before);
        let store = open(&disk, OpenMode::ReadWrite).unwrap();
        let after = [CURRENT, LOCK, &manifest_file_name(Lsn(1)), "notes.txt", &part_file_name(live.id)]
            .map(str::to_owned);
        assert_eq!(disk.list().unwrap(), after);
        assert_eq!(store.allocate_part().unwrap(), PartId(2));
    }

    #[test]
    fn directories_of_other_things_are_refused_untouched() {
        let refused = |names: &[&str], mode| {
            let disk = SimDisk::new(0);
            for name in names {
                disk.plant(name, b"");
            }
            match open(&disk, mode) {
                Err(Error::NotADatabase { reason, .. }) => {
                    assert_eq!(disk.list().unwrap(), names);
                    reason
                }
                other => panic!("{:?}", other.map(|store| store.manifest())),
            }
        };
        let reason = refused(&["LOCK", "holiday.jpg"], OpenMode::ReadWrite);
        assert_eq!(reason, "it holds holiday.jpg, but no CURRENT; use an empty directory");
        // A database that lost its CURRENT is not an empty one.
        for lost in ["part-0000000000000007.mus", "manifest-0000000000000003.mus"] {
            let reason = refused(&["CURRENT.tmp", lost], OpenMode::ReadWrite);
            assert_eq!(reason, format!("it holds {lost}, but no CURRENT; restore it from a backup"));
        }
        assert_eq!(refused(&[], OpenMode::ReadOnly), "it is empty");
        assert_eq!(refused(&["LOCK"], OpenMode::ReadOnly), "it is empty");
        refused(&["holiday.jpg"], OpenMode::ReadOnly);
    }

    #[test]
    fn what_a_crashed_creation_left_is_begun_anew() {
        for names in [&["LOCK"][..], &["CURRENT.tmp", "LOCK", "manifest-0000000000000000.mus"]] {
            let disk = SimDisk::new(0);
            for name in names {
                disk.plant(name, b"");
            }
            assert_eq!(open(&disk, OpenMode::ReadWrite).unwrap().manifest().lsn, Lsn(0));
            assert_eq!(disk.list().unwrap(), ["CURRENT", "LOCK", "manifest-0000000000000000.mus"]);
        }
    }

    #[test]
    fn missing_files_are_named() {
        for mode in [OpenMode::ReadWrite, OpenMode::ReadOnly] {
            let disk = SimDisk::new(0);
            let store = open(&disk, OpenMode::ReadWrite).unwrap();
            let lost = part(&store);
            store.commit(vec![], vec![lost.clone()]).unwrap();
            drop(store);
            disk.remove(&part_file_name(lost.id)).unwrap();
            let error = open(&disk, mode).err().unwrap().to_string();
            assert!(error.contains("part-0000000000000001.mus is damaged"), "{error}");
            assert!(error.contains("expected a part of 4 bytes, found no such file"), "{error}");
            disk.remove(&manifest_file_name(Lsn(1))).unwrap();
            let error = open(&disk, mode).err().unwrap().to_string();
            assert!(error.contains("found 1, and no file manifest-0000000000000001.mus"), "{error}");
        }
    }

    #[test]
    fn a_manifest_under_another_name_is_refused() {
        let disk = SimDisk::new(0);
        let lsn = open(&disk, OpenMode::ReadWrite).unwrap().manifest().lsn;
        let other = Manifest { lsn: Lsn(5), ..Manifest::empty(1) };
        disk.plant(&manifest_file_name(lsn), &other.encode().unwrap());
        let error = open(&disk, OpenMode::ReadWrite).err().unwrap().to_string();
        assert!(error.contains("expected LSN 0, found LSN 5"), "{error}");
    }

    #[test]
    fn discarding_forgives_a_missing_file() {
        let disk = SimDisk::new(0);
        let store = open(&disk, OpenMode::ReadWrite).unwrap();
        let abandoned = part(&store);
        store.discard_part(abandoned.id).unwrap();
        store.discard_part(abandoned.id).unwrap();
        assert_eq!(disk.list().unwrap(), ["CURRENT", "LOCK", "manifest-0000000000000000.mus"]);
    }

    #[test]
    #[should_panic(expected = "part 1 is live")]
    fn discarding_a_live_part_is_a_bug() {
        let store = open(&SimDisk::new(0), OpenMode::ReadWrite).unwrap();
        let live = part(&store);
        store.commit(vec![], vec![live.clone()]).unwrap();
        let _ = store.discard_part(live.id);
    }

    /// A bug of the caller costs the caller its commit, not the store.
    #[test]
    fn a_part_never_allocated_is_not_committed() {
        let store = open(&SimDisk::new(0), OpenMode::ReadWrite).unwrap();
        let invented = PartRef { id: PartId(70), ..part(&store) };
        let commit = std::panic::AssertUnwindSafe(|| store.commit(vec![], vec![invented]));
        assert!(std::panic::catch_unwind(commit).is_err());
        assert_eq!(store.commit(vec![], vec![part(&store)]).unwrap(), Lsn(1));
    }

    /// On a real directory, because what is shown is that names going away under a reader are not damage.
    #[test]
    fn readers_open_while_a_writer_commits() {
        let directory = tempfile::tempdir().unwrap();
        let disk = || Arc::new(crate::disk::real::RealDisk::open(directory.path()).unwrap());
        let store = Store::open(disk(), OpenMode::ReadWrite).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = Lsn(0);
                while !done.load(Ordering::Relaxed) {
                    let manifest = Store::open(disk(), OpenMode::ReadOnly).unwrap().manifest();
                    assert!(manifest.lsn >= last);
                    last = manifest.lsn;
                }
                last
            });
            for _ in 0..60 {
                store.commit(vec![], vec![part(&store), part(&store)]).unwrap();
            }
            done.store(true, Ordering::Relaxed);
            assert!(reader.join().unwrap() > Lsn(0));
        });
        assert!(matches!(Store::open(disk(), OpenMode::ReadWrite), Err(Error::Locked { .. })));
    }
}
