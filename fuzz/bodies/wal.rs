//! A segment of the log of any bytes, or a sound log with changes, is refused or read as a prefix of what was written.

use muster_storage::disk::Disk;
use muster_storage::disk::sim::SimDisk;
use muster_storage::manifest::{Lsn, wal_file_name};
use muster_storage::wal::{WalWriter, replay};
use muster_storage::{Error, Result};
use std::sync::Arc;

const DATABASE: u64 = 1;

type Records = Vec<(u64, u16, Vec<u8>)>;

/// The first byte chooses: odd, the rest is the first segment; even, the rest is changes to a sound log of some segments,
/// each an offset in all of them (u16, little-endian) and a mask. With 2 the log was closed.
pub fn run(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let closed = mode & 2 != 0;
    let (disk, written) = sound(closed);
    if mode % 2 == 1 {
        disk.plant(&wal_file_name(Lsn(1)), rest);
    } else {
        let changes = rest.chunks_exact(3).map(|c| (usize::from(u16::from_le_bytes([c[0], c[1]])), c[2]));
        for (at, mask) in changes.clone() {
            change(&disk, at, mask);
        }
        let found = read(&disk);
        if let Ok(found) = &found {
            assert!(written.starts_with(found), "a changed log was read without an error");
        }
        if closed && changes.count() == 1 {
            assert!(found.is_err() || found.is_ok_and(|found| found == written), "a closed log lost records");
        }
    }
    let _ = read(&disk);
}

fn change(disk: &SimDisk, at: usize, mask: u8) {
    let mut at = at;
    for name in disk.list().expect("a disk") {
        let mut bytes = disk.contents(&name).expect("listed");
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= mask;
            disk.plant(&name, &bytes);
            return;
        }
        at -= bytes.len();
    }
}

fn read(disk: &SimDisk) -> Result<Records> {
    let mut found = Vec::new();
    replay(disk, DATABASE, Lsn(0), |lsn, kind, payload| {
        found.push((lsn.0, kind, payload.to_vec()));
        Ok::<(), Error>(())
    })?;
    Ok(found)
}

fn sound(closed: bool) -> (SimDisk, Records) {
    let disk = SimDisk::new(1);
    let mut writer = WalWriter::begin(Arc::new(disk.clone()), DATABASE, Lsn(1)).with_segment_bytes(500);
    let records: Records = (1..=16u64).map(|lsn| (lsn, 1, vec![lsn as u8; lsn as usize * 13 % 80])).collect();
    for (lsn, kind, payload) in &records {
        writer.append(*kind, Lsn(*lsn), payload).expect("space");
        if lsn % 3 == 0 {
            writer.sync().expect("a disk");
        }
    }
    if closed {
        writer.close().expect("a disk");
        return (disk, records);
    }
    let left = disk.restart();
    drop(writer);
    (left, records)
}
