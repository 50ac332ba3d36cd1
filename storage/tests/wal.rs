//! The log of a store on a simulated disk: whatever happens after whichever operation, replay gives a prefix of what was
//! appended that has all that was synced, and what it gave once it gives again.
//!
//! Each failure prints the seed, the plan and the operation that replay it.

#![allow(clippy::unwrap_used, reason = "in the functions of a test it is the failure of the test")]

use std::sync::Arc;

use muster_storage::disk::sim::{Fault, SimDisk};
use muster_storage::manifest::Lsn;
use muster_storage::store::{OpenMode, Store};
use muster_storage::wal::WalWriter;
use muster_storage::{Error, Result};
use proptest::prelude::*;

/// So small that a handful of records fills one.
const SEGMENT_BYTES: u64 = 700;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A record of as many bytes, after skipping as many LSNs.
    Append(usize, u64),
    Sync,
    /// Commits with a checkpoint as many records before the last, and removes what it holds.
    Checkpoint(usize),
    /// Commits without another checkpoint.
    Commit,
    /// Closes the database, or drops it, and opens it again.
    Reopen(bool),
}

type Record = (u64, u16, Vec<u8>);

/// What the workload has asked for, and what it was told.
#[derive(Clone, Default)]
struct Told {
    appended: Vec<Record>,
    /// How many of them were synced.
    synced: usize,
    /// The checkpoint that is durable, and the one that may be.
    checkpoint: u64,
    in_flight: u64,
    /// Tells records of the same LSN in different lives apart.
    life: u8,
}

struct Open {
    store: Store,
    writer: WalWriter,
    next: u64,
}

fn read(store: &Store) -> Result<(Vec<Record>, Lsn)> {
    let mut found = Vec::new();
    let replayed = store.replay(|lsn, kind, payload| {
        found.push((lsn.0, kind, payload.to_vec()));
        Ok::<(), Error>(())
    })?;
    Ok((found, replayed.last))
}

fn open(disk: &SimDisk) -> Result<Open> {
    let store = Store::open(Arc::new(disk.clone()), OpenMode::ReadWrite)?;
    let (_, last) = read(&store)?;
    let next = last.max(store.manifest().lsn).0 + 1;
    let writer = store.wal_writer(Lsn(next))?.with_segment_bytes(SEGMENT_BYTES);
    Ok(Open { store, writer, next })
}

/// Once an operation on the log has failed, it takes nothing more.
fn assert_poisoned(writer: &mut WalWriter, next: u64) {
    assert!(matches!(writer.append(1, Lsn(next), b""), Err(Error::Poisoned)), "it takes records");
    assert!(matches!(writer.sync(), Err(Error::Poisoned)), "it syncs");
}

fn work(disk: &SimDisk, plan: &[Step], told: &mut Told) -> Result<()> {
    let mut at = open(disk)?;
    for step in plan {
        match *step {
            Step::Append(bytes, skipped) => {
                at.next += skipped;
                let payload: Vec<u8> = (0..bytes).map(|i| (at.next as usize + i) as u8 ^ told.life).collect();
                told.appended.push((at.next, bytes as u16 | 1, payload.clone()));
                at.next += 1;
                at.writer
                    .append(bytes as u16 | 1, Lsn(at.next - 1), &payload)
                    .inspect_err(|_| assert_poisoned(&mut at.writer, at.next))?;
            }
            Step::Sync => {
                at.writer.sync().inspect_err(|_| assert_poisoned(&mut at.writer, at.next))?;
                told.synced = told.appended.len();
            }
            Step::Checkpoint(back) => {
                at.writer.sync()?;
                told.synced = told.appended.len();
                let checkpoint = match back {
                    0 => at.next,
                    _ => told.appended.iter().rev().nth(back).map_or(0, |record| record.0),
                };
                told.in_flight = checkpoint.max(told.checkpoint);
                at.store.commit(Lsn(at.next), Lsn(told.in_flight), vec![], vec![])?;
                told.checkpoint = told.in_flight;
                at.next += 1;
                at.writer.remove_before(Lsn(told.checkpoint))?;
            }
            Step::Commit => {
                at.store.commit(Lsn(at.next), Lsn(told.checkpoint), vec![], vec![])?;
                at.next += 1;
            }
            Step::Reopen(closing) => {
                let Open { store, writer, .. } = at;
                // The writer holds the lock until it has written its end.
                drop(store);
                if closing {
                    writer.close()?;
                    told.synced = told.appended.len();
                } else {
                    drop(writer);
                }
                at = open(disk)?;
            }
        }
    }
    at.writer.close()?;
    told.synced = told.appended.len();
    Ok(())
}

/// Opens what is left and replays it: what the workload is told by that.
fn examine(disk: &SimDisk, told: &Told, context: &str) -> Told {
    let store = Store::open(Arc::new(disk.clone()), OpenMode::ReadWrite)
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let checkpoint = store.manifest().checkpoint.0;
    assert!([told.checkpoint, told.in_flight].contains(&checkpoint), "{context}: checkpoint {checkpoint}");
    let (found, _) = read(&store).unwrap_or_else(|error| panic!("{context}: {error}"));
    let needed = |records: &[Record]| records.iter().filter(|record| record.0 > checkpoint).count();
    let skipped = told.appended.len() - needed(&told.appended);
    let synced = needed(&told.appended[..told.synced]);
    assert!(told.appended[skipped..].starts_with(&found), "{context}: not a prefix: {found:?}");
    assert!(found.len() >= synced, "{context}: {} of {synced} synced records", found.len());
    Told {
        synced: found.len(),
        appended: found,
        checkpoint,
        in_flight: checkpoint,
        life: told.life.wrapping_add(101),
    }
}

/// Also what was seen once is seen again after a power cut, and by readers.
fn examine_twice(disk: &SimDisk, told: &Told, context: &str) {
    let seen = examine(disk, told, context);
    let reader = Store::open(Arc::new(disk.clone()), OpenMode::ReadOnly).unwrap();
    assert_eq!(read(&reader).unwrap().0, seen.appended, "{context}: a reader");
    let again = examine(&disk.crash(), &seen, &format!("{context}, opened, and a power cut"));
    assert_eq!(again.appended, seen.appended, "{context}");
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (prop_oneof![0..90usize, 0..90usize, 500..1600usize], prop_oneof![Just(0u64), 0..3u64])
            .prop_map(|(bytes, skipped)| Step::Append(bytes, skipped)),
        3 => Just(Step::Sync),
        1 => (0..6usize).prop_map(Step::Checkpoint),
        1 => Just(Step::Commit),
        1 => any::<bool>().prop_map(Step::Reopen),
    ];
    prop::collection::vec(step, 1..24)
}

fn operations(seed: u64, plan: &[Step]) -> u64 {
    let disk = SimDisk::new(seed);
    let mut told = Told::default();
    work(&disk, plan, &mut told).unwrap();
    let operations = disk.operations();
    examine_twice(&disk, &told, &format!("seed {seed}, undisturbed, {plan:?}"));
    operations
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_after_any_operation_loses_nothing_that_was_synced(seed: u64, plan in steps()) {
        for operation in 0..=operations(seed, &plan) {
            let disk = SimDisk::new(seed);
            disk.fail_after(operation, Fault::Crash);
            let mut told = Told::default();
            let _ = work(&disk, &plan, &mut told);
            let context = format!("seed {seed}, crash after operation {operation}");
            examine_twice(&disk.restart(), &told, &format!("{context}, of the process"));
            for cut in 0..3 {
                examine_twice(&disk.crash(), &told, &format!("{context}, of the machine, {cut}"));
            }
        }
    }

    #[test]
    fn a_fault_at_any_operation_poisons_and_loses_nothing_that_was_synced(seed: u64, plan in steps()) {
        for fault in [Fault::IoError, Fault::NoSpace] {
            for operation in 0..operations(seed, &plan) {
                let disk = SimDisk::new(seed);
                disk.fail_after(operation, fault);
                let mut told = Told::default();
                let ended = work(&disk, &plan, &mut told);
                let context = format!("seed {seed}, {fault:?} at operation {operation}");
                prop_assert!(matches!(ended, Ok(()) | Err(Error::Io { .. })), "{context}: {ended:?}");
                examine_twice(&disk.restart(), &told, &format!("{context}, opened again"));
                examine_twice(&disk.crash(), &told, &format!("{context}, and a power cut"));
            }
        }
    }

    /// Each life goes on from what the one before left, whose last LSNs may come again with other records.
    #[test]
    fn many_lives_end_in_crashes_and_recoveries_too(
        seed: u64,
        lives in prop::collection::vec((steps(), 0..120u64, 0..30u64, any::<bool>()), 2..6),
    ) {
        let mut disk = SimDisk::new(seed);
        let mut told = Told::default();
        for (plan, operation, recovering, machine) in lives {
            let after = |disk: &SimDisk| if machine { disk.crash() } else { disk.restart() };
            disk.fail_after(operation, Fault::Crash);
            let _ = work(&disk, &plan, &mut told);
            disk = after(&disk);
            disk.fail_after(recovering, Fault::Crash);
            let _ = open(&disk);
            disk = after(&disk);
            told = examine(&disk, &told, &format!("seed {seed}, {operation}, {recovering}, {machine}"));
        }
    }
}

/// The log's name is durable before its records are: a database whose process wrote nothing has no log.
#[test]
fn opening_and_closing_leaves_no_litter() {
    let disk = SimDisk::new(0);
    let files = ["CURRENT", "LOCK", "manifest-0000000000000000.mus"];
    for _ in 0..2 {
        drop(open(&disk).unwrap());
        assert_eq!(muster_storage::disk::Disk::list(&disk).unwrap(), files);
    }
    // Neither does a log that a checkpoint has passed.
    let mut at = open(&disk).unwrap();
    at.writer.append(1, Lsn(1), b"x").unwrap();
    at.writer.sync().unwrap();
    at.store.commit(Lsn(2), Lsn(2), vec![], vec![]).unwrap();
    at.writer.remove_before(Lsn(2)).unwrap();
    assert!(disk.contents("wal-0000000000000001.mus").is_some(), "the one being written stays");
    drop(at);
    drop(open(&disk).unwrap());
    let files = ["CURRENT", "LOCK", "manifest-0000000000000002.mus"];
    assert_eq!(muster_storage::disk::Disk::list(&disk).unwrap(), files);
}
