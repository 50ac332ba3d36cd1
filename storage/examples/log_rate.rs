//! How fast the log takes records and gives them back, beside a bare fsync of the same file system.
//!
//! `cargo run --release -p muster-storage --example log_rate -- DIRECTORY`

use muster_storage::disk::real::RealDisk;
use muster_storage::manifest::Lsn;
use muster_storage::store::{OpenMode, Store};
use muster_storage::{Error, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const RECORD: [u8; 1024] = [7; 1024];

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(directory)?;
    let syncs = 2000;
    let bare = bare(&directory.path().join("bare"), syncs)?;
    println!("write 1 KiB, fsync: {bare:.0} a second");
    let database = directory.path().join("database");
    for group in [1, 10, 100, 1000] {
        let started = Instant::now();
        let rate = append(&database, syncs, group)?;
        println!(
            "{group} records of 1 KiB, sync: {rate:.0} syncs a second, {:.2} of bare, {:.0} records a second ({:.1} s)",
            rate / bare,
            rate * group as f64,
            started.elapsed().as_secs_f64()
        );
    }
    for _ in 0..3 {
        let store = Store::open(Arc::new(RealDisk::open(&database)?), OpenMode::ReadOnly)?;
        let (started, mut sum) = (Instant::now(), 0);
        let replayed = store.replay(|_, _, payload| {
            sum += u64::from(payload[0]);
            Ok::<(), Error>(())
        })?;
        let (seconds, bytes) = (started.elapsed().as_secs_f64(), replayed.bytes as f64);
        println!("replay of {:.0} MB: {:.0} MB/s ({sum})", bytes / 1e6, bytes / 1e6 / seconds);
    }
    Ok(())
}

fn bare(path: &Path, syncs: u32) -> std::io::Result<f64> {
    let mut file = std::fs::File::create(path)?;
    let started = Instant::now();
    for _ in 0..syncs {
        file.write_all(&RECORD)?;
        file.sync_all()?;
    }
    Ok(f64::from(syncs) / started.elapsed().as_secs_f64())
}

fn append(database: &Path, syncs: u32, group: u64) -> Result<f64> {
    let store = Store::open(Arc::new(RealDisk::create(database)?), OpenMode::ReadWrite)?;
    let mut last = store.replay(|_, _, _| Ok::<(), Error>(()))?.last.max(store.manifest().lsn);
    let mut writer = store.wal_writer(Lsn(last.0 + 1))?;
    let syncs = if group < 1000 { syncs } else { syncs / 4 };
    let started = Instant::now();
    for _ in 0..syncs {
        for _ in 0..group {
            last.0 += 1;
            writer.append(1, last, &RECORD)?;
        }
        writer.sync()?;
    }
    let rate = f64::from(syncs) / started.elapsed().as_secs_f64();
    writer.close()?;
    Ok(rate)
}
