//! A store on a simulated disk: whatever happens after whichever operation, it opens as it was before the commit in
//! flight or after it, whole, with nothing left over.
//!
//! Each failure prints the seed and the operation that replay it.

#![allow(clippy::unwrap_used, reason = "in the functions of a test it is the failure of the test")]

use std::sync::Arc;

use muster_storage::disk::Disk;
use muster_storage::disk::sim::{Fault, SimDisk};
use muster_storage::manifest::{
    CURRENT, LOCK, Lsn, Manifest, PartId, PartRef, PartRole, manifest_file_name, part_file_name,
};
use muster_storage::store::{OpenMode, Store};
use muster_storage::{Error, Result};

const SEEDS: u64 = 16;
const COMMITS: u64 = 4;

fn open(disk: &SimDisk, mode: OpenMode) -> Result<Store> {
    Store::open(Arc::new(disk.clone()), mode)
}

/// What the file of a part holds: as many bytes as tell it from others.
fn bytes_of(id: PartId) -> Vec<u8> {
    format!("the bytes of part {id}, ").into_bytes().repeat(1 + id.0 as usize % 3)
}

fn write_part(store: &Store) -> Result<PartRef> {
    let id = store.allocate_part()?;
    let bytes = bytes_of(id);
    let mut file = store.disk().create(&part_file_name(id))?;
    let (head, tail) = bytes.split_at(7);
    file.append(&vec![0; head.len()])?;
    file.append(tail)?;
    file.overwrite(0, head)?;
    file.sync()?;
    Ok(PartRef {
        id,
        role: PartRole::Base,
        table: 1,
        range: id.0 as u32,
        columns: vec![1, 2],
        bytes: bytes.len() as u64,
        toc_checksum: 0,
    })
}

/// A commit of everything at the next LSN.
fn commit(store: &Store, catalog: Vec<u8>, parts: Vec<PartRef>) -> Result<()> {
    let next = Lsn(store.manifest().lsn.0 + 1);
    store.commit(next, next, catalog, parts)
}

/// What the workload was told, and what it has asked for since.
#[derive(Default)]
struct Told {
    acknowledged: Option<Arc<Manifest>>,
    in_flight: Option<(Vec<u8>, Vec<PartRef>)>,
}

impl Told {
    /// Whether a database found on disk is one that the workload can have left.
    fn allows(&self, found: &Manifest) -> bool {
        let lsn = self.acknowledged.as_ref().map_or(0, |manifest| manifest.lsn.0);
        let old = match &self.acknowledged {
            Some(manifest) => **manifest == *found,
            None => found.lsn.0 == 0 && found.parts.is_empty() && found.catalog.is_empty(),
        };
        let same_database =
            self.acknowledged.as_ref().is_none_or(|manifest| manifest.database_id == found.database_id);
        let new = self.in_flight.as_ref().is_some_and(|(catalog, parts)| {
            found.lsn.0 == lsn + 1 && found.catalog == *catalog && found.parts == *parts
        });
        old || same_database && new
    }
}

/// Some commits, each of which adds parts, drops one and leaves one unused; as an engine does, it discards its parts
/// when a commit fails.
fn work(disk: &SimDisk, told: &mut Told) -> Result<()> {
    let store = open(disk, OpenMode::ReadWrite)?;
    told.acknowledged = Some(store.manifest());
    for round in 0..COMMITS {
        let unused = write_part(&store)?;
        let added = [write_part(&store)?, write_part(&store)?];
        let mut parts = store.manifest().parts.clone();
        if !parts.is_empty() {
            parts.remove(0);
        }
        parts.extend_from_slice(&added);
        let catalog = vec![round as u8; 5];
        told.in_flight = Some((catalog.clone(), parts.clone()));
        if let Err(error) = commit(&store, catalog, parts) {
            let in_doubt = matches!(store.allocate_part(), Err(Error::Poisoned));
            if !in_doubt {
                told.in_flight = None;
            }
            for part in &added {
                let discarded = store.discard_part(part.id);
                assert!(
                    !in_doubt || matches!(discarded, Err(Error::Poisoned)),
                    "a part in doubt was removed"
                );
            }
            return Err(error);
        }
        told.acknowledged = Some(store.manifest());
        told.in_flight = None;
        store.discard_part(unused.id)?;
    }
    Ok(())
}

/// Opens what is left and looks at all of it; `context` is printed where something is wrong.
fn examine(disk: &SimDisk, told: &Told, context: &str) {
    let store = open(disk, OpenMode::ReadWrite).unwrap_or_else(|error| panic!("{context}: {error}"));
    let found = store.manifest();
    assert!(told.allows(&found), "{context}: neither old nor new: {found:?}");
    let mut names = vec![CURRENT.to_owned(), LOCK.to_owned(), manifest_file_name(found.lsn)];
    for part in &found.parts {
        let name = part_file_name(part.id);
        assert_eq!(*disk.map(&name).unwrap(), bytes_of(part.id)[..], "{context}: {name}");
        names.push(name);
    }
    names.sort_unstable();
    assert_eq!(disk.list().unwrap(), names, "{context}: not exactly the files of the database");
}

/// The operations of a workload that nothing happens to.
fn operations(seed: u64) -> u64 {
    let disk = SimDisk::new(seed);
    let mut told = Told::default();
    work(&disk, &mut told).unwrap();
    assert_eq!(told.acknowledged.as_ref().unwrap().lsn.0, COMMITS);
    let operations = disk.operations();
    examine(&disk, &told, "undisturbed");
    assert!(operations > 60, "the workload shrank to {operations} operations");
    operations
}

#[test]
fn a_crash_after_any_operation_leaves_old_or_new() {
    for seed in 0..SEEDS {
        for operation in 0..=operations(seed) {
            let disk = SimDisk::new(seed);
            disk.fail_after(operation, Fault::Crash);
            let mut told = Told::default();
            let ended = work(&disk, &mut told);
            let context = format!("seed {seed}, crash after operation {operation}");
            examine(&disk.restart(), &told, &format!("{context}, of the process"));
            examine(&disk.crash(), &told, &format!("{context}, of the machine"));
            if ended.is_ok() {
                assert!(operation >= operations(seed) - 2, "{context}: nobody noticed");
            }
        }
    }
}

#[test]
fn a_crash_while_recovering_from_a_crash_leaves_the_same() {
    for seed in 0..SEEDS {
        for operation in 0..=operations(seed) {
            let disk = SimDisk::new(seed);
            disk.fail_after(operation, Fault::Crash);
            let mut told = Told::default();
            let _ = work(&disk, &mut told);
            for first in [disk.restart(), disk.crash()] {
                for recovering in 0.. {
                    let again = first.restart();
                    again.fail_after(recovering, Fault::Crash);
                    let opened = open(&again, OpenMode::ReadWrite).is_ok();
                    let context = format!("seed {seed}, crash after {operation}, again after {recovering}");
                    examine(&again.restart(), &told, &format!("{context}, of the process"));
                    examine(&again.crash(), &told, &format!("{context}, of the machine"));
                    if opened {
                        break;
                    }
                }
            }
        }
    }
}

/// What survives a crash goes on as if there had been none: the ids and LSNs of before do not get in the way.
#[test]
fn work_goes_on_after_a_crash() {
    for seed in 0..SEEDS {
        for operation in 0..=operations(seed) {
            let disk = SimDisk::new(seed);
            disk.fail_after(operation, Fault::Crash);
            let _ = work(&disk, &mut Told::default());
            let disk = disk.crash();
            let mut told = Told::default();
            let context = format!("seed {seed}, crash after operation {operation}, then more work");
            work(&disk, &mut told).unwrap_or_else(|error| panic!("{context}: {error}"));
            examine(&disk.crash(), &told, &context);
        }
    }
}

#[test]
fn a_fault_at_any_operation_leaves_old_or_new() {
    for fault in [Fault::IoError, Fault::NoSpace] {
        for seed in 0..SEEDS {
            for operation in 0..operations(seed) {
                let disk = SimDisk::new(seed);
                disk.fail_after(operation, fault);
                let mut told = Told::default();
                let ended = work(&disk, &mut told);
                let context = format!("seed {seed}, {fault:?} at operation {operation}");
                if let Err(error) = &ended {
                    assert!(matches!(error, Error::Io { .. }), "{context}: {error}");
                }
                examine(&disk.restart(), &told, &format!("{context}, opened again"));
                examine(&disk.crash(), &told, &format!("{context}, and a power cut"));
                // Opened again, tidied up, and then the power goes: what was seen must still be there.
                let seen = disk.restart();
                let manifest = open(&seen, OpenMode::ReadWrite).unwrap().manifest();
                let told = Told { acknowledged: Some(manifest), in_flight: None };
                examine(&seen.crash(), &told, &format!("{context}, opened again and a power cut"));
            }
        }
    }
}

/// Where the failure of a commit is not in doubt, the same store tries again; where it is, it refuses everything.
#[test]
fn a_commit_that_failed_is_tried_again_or_refused() {
    let (mut retried, mut refused) = (0, 0);
    for fault in [Fault::IoError, Fault::NoSpace] {
        for seed in 0..SEEDS {
            for operation in 0..16 {
                let disk = SimDisk::new(seed);
                let store = open(&disk, OpenMode::ReadWrite).unwrap();
                let parts = vec![write_part(&store).unwrap()];
                let mut told = Told { acknowledged: Some(store.manifest()), in_flight: None };
                told.in_flight = Some((b"c".to_vec(), parts.clone()));
                disk.fail_after(operation, fault);
                let context = format!("seed {seed}, {fault:?} at operation {operation} of a commit");
                if commit(&store, b"c".to_vec(), parts.clone()).is_err() {
                    match commit(&store, b"c".to_vec(), parts) {
                        Ok(()) => {
                            told = Told { acknowledged: Some(store.manifest()), in_flight: None };
                            retried += 1;
                        }
                        Err(Error::Poisoned) => {
                            assert!(matches!(store.allocate_part(), Err(Error::Poisoned)), "{context}");
                            assert_eq!(store.manifest().lsn.0, 0, "{context}");
                            refused += 1;
                        }
                        Err(error) => panic!("{context}: {error}"),
                    }
                }
                drop(store);
                disk.fail_after(u64::MAX, fault);
                examine(&disk.crash(), &told, &context);
                examine(&disk, &told, &context);
            }
        }
    }
    assert!(retried > 100 && refused > 100, "{retried} tried again, {refused} refused");
}

#[test]
fn every_changed_byte_of_the_metadata_is_an_error_and_removes_nothing() {
    let disk = SimDisk::new(1);
    let mut told = Told::default();
    work(&disk, &mut told).unwrap();
    let files = disk.list().unwrap();
    for name in [CURRENT, &manifest_file_name(told.acknowledged.as_ref().unwrap().lsn)] {
        let sound = disk.contents(name).unwrap();
        let mut damages: Vec<Vec<u8>> = (0..sound.len()).map(|length| sound[..length].to_vec()).collect();
        for at in 0..sound.len() {
            for mask in (0..8).map(|bit| 1 << bit).chain([0xff]) {
                let mut damaged = sound.clone();
                damaged[at] ^= mask;
                damages.push(damaged);
            }
        }
        for damaged in damages {
            disk.plant(name, &damaged);
            for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
                let error = open(&disk, mode).err().unwrap_or_else(|| panic!("{name}: {damaged:?}"));
                assert!(matches!(&error, Error::Corrupt { file, .. } if file == name), "{name}: {error}");
            }
        }
        disk.plant(name, &sound);
        assert_eq!(disk.list().unwrap(), files, "an opening that failed removed something");
    }
    examine(&disk, &told, "restored");
}
