//! What opening accepts and refuses, and what a commit leaves. Crashes and faults are in `tests/crash.rs`.

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

/// A commit of everything at the next LSN.
fn commit(store: &Store, catalog: &[u8], parts: Vec<PartRef>) -> Result<()> {
    let next = Lsn(store.manifest().lsn.0 + 1);
    store.commit(next, next, catalog.to_vec(), parts)
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
    commit(&store, b"one", vec![first.clone(), second.clone()]).unwrap();
    let mapped = disk.map(&part_file_name(first.id)).unwrap();
    commit(&store, b"two", vec![second.clone()]).unwrap();
    assert_eq!((held.lsn, &*mapped), (Lsn(0), &b"part"[..]));
    let names = [CURRENT.to_owned(), LOCK.to_owned(), manifest_file_name(Lsn(2)), part_file_name(second.id)];
    assert_eq!(disk.list().unwrap(), names);
    let live = store.manifest();
    assert_eq!((&live.catalog[..], &live.parts[..], live.next_part), (&b"two"[..], &[second][..], PartId(3)));
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
    assert!(matches!(commit(&reader, b"", vec![]), Err(Error::ReadOnly)));
    assert!(matches!(reader.discard_part(PartId(1)), Err(Error::ReadOnly)));
    commit(&store, b"new", vec![]).unwrap();
    assert_eq!(reader.manifest().lsn, Lsn(0));
    assert_eq!(open(&disk, OpenMode::ReadOnly).unwrap().manifest().lsn, Lsn(1));
}

#[test]
fn orphans_go_when_a_writer_opens_and_only_then() {
    let disk = SimDisk::new(0);
    let live = {
        let store = open(&disk, OpenMode::ReadWrite).unwrap();
        let live = part(&store);
        commit(&store, b"", vec![live.clone()]).unwrap();
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
    for lost in ["part-0000000000000007.mus", "manifest-0000000000000003.mus", "wal-0000000000000001.mus"] {
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
        commit(&store, b"", vec![lost.clone()]).unwrap();
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
    commit(&store, b"", vec![live.clone()]).unwrap();
    let _ = store.discard_part(live.id);
}

/// A bug of the caller costs the caller its commit, not the store.
#[test]
fn a_part_never_allocated_is_not_committed() {
    let store = open(&SimDisk::new(0), OpenMode::ReadWrite).unwrap();
    let invented = PartRef { id: PartId(70), ..part(&store) };
    let invalid = std::panic::AssertUnwindSafe(|| commit(&store, b"", vec![invented]));
    assert!(std::panic::catch_unwind(invalid).is_err());
    commit(&store, b"", vec![part(&store)]).unwrap();
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
            commit(&store, b"", vec![part(&store), part(&store)]).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > Lsn(0));
    });
    assert!(matches!(Store::open(disk(), OpenMode::ReadWrite), Err(Error::Locked { .. })));
}

/// A reader sees the log but for the segment that a writer has open, and needs nothing that a writer removes later.
#[test]
fn readers_are_shown_the_log_beside_a_writer() {
    let disk = SimDisk::new(0);
    let lsns = |store: &Store| {
        let mut lsns = Vec::new();
        store
            .replay(|lsn, _, _| {
                lsns.push(lsn.0);
                Ok::<(), Error>(())
            })
            .unwrap();
        lsns
    };
    let store = open(&disk, OpenMode::ReadWrite).unwrap();
    assert_eq!(lsns(&store), []);
    let mut writer = store.wal_writer(Lsn(1)).unwrap().with_segment_bytes(1);
    for lsn in 1..=3 {
        writer.append(1, Lsn(lsn), b"x").unwrap();
    }
    let reader = open(&disk, OpenMode::ReadOnly).unwrap();
    store.commit(Lsn(4), Lsn(3), vec![], vec![]).unwrap();
    writer.remove_before(Lsn(3)).unwrap();
    assert_eq!(lsns(&reader), [1, 2, 3]);
    assert_eq!(lsns(&open(&disk, OpenMode::ReadOnly).unwrap()), []);
    assert!(matches!(reader.wal_writer(Lsn(9)), Err(Error::ReadOnly)));
}

#[test]
#[should_panic(expected = "a log that nobody has read")]
fn a_commit_does_not_pass_a_log_unread() {
    let disk = SimDisk::new(0);
    {
        let store = open(&disk, OpenMode::ReadWrite).unwrap();
        store.replay(|_, _, _| Ok::<(), Error>(())).unwrap();
        store.wal_writer(Lsn(1)).unwrap().append(1, Lsn(1), b"x").unwrap();
    }
    let store = open(&disk, OpenMode::ReadWrite).unwrap();
    store.commit(Lsn(2), Lsn(0), vec![], vec![]).unwrap();
    let _ = store.commit(Lsn(3), Lsn(3), vec![], vec![]);
}

#[test]
#[should_panic(expected = "a commit was to take LSN 1 after 1")]
fn lsns_of_commits_ascend() {
    let store = open(&SimDisk::new(0), OpenMode::ReadWrite).unwrap();
    commit(&store, b"", vec![]).unwrap();
    let _ = store.commit(Lsn(1), Lsn(1), vec![], vec![]);
}
