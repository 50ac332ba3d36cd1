//! What a replay accepts, drops and refuses. Crashes and faults are in `tests/wal.rs`.

use super::*;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use std::sync::Arc;

const DATABASE: u64 = 0x0102_0304_0506_0708;

type Record = (u64, u16, Vec<u8>);

fn begin(disk: &SimDisk, next: u64) -> WalWriter {
    WalWriter::begin(Arc::new(disk.clone()), DATABASE, Lsn(next)).with_segment_bytes(400)
}

fn read(disk: &SimDisk, after: u64) -> Result<(Vec<Record>, Replayed)> {
    let mut found = Vec::new();
    let replayed = replay(disk, DATABASE, Lsn(after), |lsn, kind, payload| {
        found.push((lsn.0, kind, payload.to_vec()));
        Ok::<(), Error>(())
    })?;
    Ok((found, replayed))
}

fn payload(lsn: u64) -> Vec<u8> {
    (0..lsn * 5 % 41).map(|byte| byte as u8).collect()
}

/// Records of LSNs 1 to 20 in groups of 1 to 3, the last of which is not synced; and where each group begins. Closed or
/// as a process leaves it that dies.
fn sample(closed: bool) -> (SimDisk, Vec<Record>, Vec<usize>) {
    let disk = SimDisk::new(0);
    let mut writer = begin(&disk, 1);
    let (mut records, mut groups) = (Vec::new(), vec![0]);
    for lsn in 1..=20 {
        let record = (lsn, lsn as u16 % 3 + 1, payload(lsn));
        writer.append(record.1, Lsn(lsn), &record.2).unwrap();
        records.push(record);
        if lsn % 3 != 1 && lsn < 18 {
            writer.sync().unwrap();
            groups.push(records.len());
        }
    }
    if closed {
        writer.close().unwrap();
        return (disk, records, groups);
    }
    let left = disk.restart();
    drop(writer);
    (left, records, groups)
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.list().unwrap()
}

/// These bytes are in people's files. If this test fails, the format changed, not the test.
#[test]
#[rustfmt::skip]
fn a_segment_is_golden() {
    let disk = SimDisk::new(0);
    let mut writer = begin(&disk, 9);
    writer.append(3, Lsn(9), b"muster").unwrap();
    writer.close().unwrap();
    assert_eq!(disk.contents("wal-0000000000000009.mus").unwrap(), [
        b'M', b'U', b'S', b'T', b'W', b'L', b'O', b'G',
        1, 0, 0, 0, 0, 0, 0, 0,
        8, 7, 6, 5, 4, 3, 2, 1,
        9, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0,
        8, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 15, 161, 245, 120,
            6, 0, 0, 0, 3, 0, 0, 0,
            9, 0, 0, 0, 0, 0, 0, 0,
            64, 0, 0, 0, 0, 0, 0, 0,
            205, 228, 230, 219, 107, 69, 248, 255,
            b'm', b'u', b's', b't', b'e', b'r', 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0,
            9, 0, 0, 0, 0, 0, 0, 0,
            104, 0, 0, 0, 0, 0, 0, 0,
            126, 137, 141, 94, 199, 75, 103, 72,
    ]);
}

#[test]
fn what_was_written_is_read_from_any_lsn_on() {
    for closed in [true, false] {
        let (disk, records, _) = sample(closed);
        assert!(names(&disk).len() > 2, "several segments: {:?}", names(&disk));
        for after in 0..25 {
            let (found, replayed) = read(&disk, after).unwrap();
            assert_eq!(found, records[(after as usize).min(20)..], "after {after}");
            assert_eq!((replayed.last, replayed.dropped_bytes), (Lsn(after.max(20)), 0));
        }
    }
    assert_eq!(read(&SimDisk::new(0), 7).unwrap().1.last, Lsn(7));
}

#[test]
fn a_writer_that_writes_nothing_leaves_nothing() {
    let disk = SimDisk::new(0);
    let mut writer = begin(&disk, 1);
    writer.sync().unwrap();
    writer.close().unwrap();
    assert_eq!((disk.operations(), names(&disk).len()), (0, 0));
}

#[test]
fn every_changed_byte_is_an_error_or_changes_nothing_that_was_known_to_be_synced() {
    for closed in [true, false] {
        let (disk, records, groups) = sample(closed);
        let files = names(&disk);
        // A group is known to be synced by a later record; of the last two groups the second says so of the first.
        let known = if closed { records.len() } else { *groups.last().unwrap() };
        let mut dropped = 0;
        for name in &files {
            let sound = disk.contents(name).unwrap();
            for at in 0..sound.len() {
                for mask in (0..8).map(|bit| 1 << bit).chain([0xff]) {
                    let mut damaged = sound.clone();
                    damaged[at] ^= mask;
                    disk.plant(name, &damaged);
                    match read(&disk, 0) {
                        Ok((found, replayed)) => {
                            assert!(found.len() >= known && records.starts_with(&found), "{name} byte {at}");
                            assert!(replayed.dropped_bytes > 0, "{name} byte {at} was not noticed");
                            dropped += 1;
                        }
                        Err(error) => {
                            // The header of a segment that no longer follows is told where it is read, too.
                            assert!(matches!(&error, Error::Corrupt { file, .. } if file == name), "{error}");
                            assert!(error.to_string().contains("restore the file"), "{error}");
                        }
                    }
                }
            }
            disk.plant(name, &sound);
        }
        let last = disk.contents(files.last().unwrap()).unwrap().len();
        assert!(dropped > 0 && dropped < last * 9, "{dropped} of {last} bytes");
    }
}

#[test]
fn every_truncation_is_an_error_or_a_prefix() {
    for closed in [true, false] {
        let (disk, records, _) = sample(closed);
        let files = names(&disk);
        for name in &files {
            let sound = disk.contents(name).unwrap();
            let is_last = Some(name) == files.last();
            let mut read_bytes = 0;
            for length in 0..sound.len() {
                disk.plant(name, &sound[..length]);
                match read(&disk, 0) {
                    Ok((found, _)) if is_last => {
                        assert!(found.len() >= read_bytes && records.starts_with(&found), "{length}");
                        read_bytes = found.len();
                    }
                    Ok(_) => panic!("{name} of {length} bytes was read"),
                    Err(error) => {
                        assert!(
                            !is_last && matches!(error, Error::Corrupt { .. }),
                            "{name} {length}: {error}"
                        );
                    }
                }
            }
            disk.plant(name, &sound);
        }
    }
}

/// A file system may give a file its length before its bytes.
#[test]
fn zeros_and_rubbish_after_the_end_are_dropped() {
    let (disk, records, _) = sample(false);
    let name = names(&disk).pop().unwrap();
    let sound = disk.contents(&name).unwrap();
    for rest in [vec![0; 7], vec![0; 8], vec![0; 5000], vec![0xff; 5000], sound.clone()] {
        disk.plant(&name, &[&sound[..], &rest].concat());
        let (found, replayed) = read(&disk, 0).unwrap();
        assert_eq!((found, replayed.dropped_bytes), (records.clone(), rest.len() as u64));
    }
    // Nobody appends to a segment that was ended.
    let (disk, ..) = sample(true);
    let sound = disk.contents(&name).unwrap();
    disk.plant(&name, &[&sound[..], &[0; 8]].concat());
    assert!(matches!(read(&disk, 0), Err(Error::Corrupt { .. })));
}

#[test]
fn a_damaged_record_says_how_it_is_known_to_be_damaged() {
    let (disk, ..) = sample(false);
    let name = names(&disk).pop().unwrap();
    let mut bytes = disk.contents(&name).unwrap();
    bytes[WAL_HEADER_BYTES + WAL_RECORD_HEADER_BYTES] ^= 1;
    disk.plant(&name, &bytes);
    let error = read(&disk, 0).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{name} is damaged at byte 92: expected a record with the checksum")),
        "{error}"
    );
    assert!(
        error.contains("(the record at byte ") && error.contains(" was synced), found one with"),
        "{error}"
    );
}

#[test]
fn segments_that_are_missing_or_not_the_right_ones_are_named() {
    let (disk, records, _) = sample(true);
    let files = names(&disk);
    let [first, second, third, ..] = &files[..] else { panic!("{files:?}") };
    let bytes = |name: &str| disk.contents(name).unwrap();
    let refused = |change: &dyn Fn(&SimDisk), after| {
        let damaged = disk.restart();
        change(&damaged);
        read(&damaged, after).unwrap_err().to_string()
    };
    let error = refused(&|disk| disk.remove(second).unwrap(), 0);
    assert!(
        error.starts_with(&format!("{third} is damaged at byte 32: expected the log after {first} to go on")),
        "{error}"
    );
    assert!(
        error.contains(&format!("go on with {second}, with records")) && error.contains("no such file"),
        "{error}"
    );
    let error = refused(&|disk| disk.remove(first).unwrap(), 0);
    assert!(error.contains(&format!("expected the log after LSN 0 to go on with {first}")), "{error}");
    // What is not needed may be missing.
    let begins = crate::manifest::wal_of_file(second).unwrap().0;
    disk.remove(first).unwrap();
    assert_eq!(read(&disk, begins - 1).unwrap().0, records[begins as usize - 1..]);

    let error = refused(&|disk| disk.plant(second, &bytes(third)), begins - 1);
    assert!(
        error.contains(&format!("{second} is damaged at byte 24: expected the segment of LSN {begins}")),
        "{error}"
    );
    assert!(error.contains(third.as_str()), "{error}");
    let resealed = |change: &dyn Fn(&mut SegmentHeader)| {
        let mut file = bytes(second);
        let mut header = SegmentHeader::read_from_prefix(&file).unwrap().0;
        change(&mut header);
        header.checksum = header.expected_checksum();
        file[..WAL_HEADER_BYTES].copy_from_slice(header.as_bytes());
        refused(&|disk| disk.plant(second, &file), begins - 1)
    };
    let error = resealed(&|header| header.database = 9);
    assert!(
        error.contains("expected the log of database 0x0102030405060708, found that of 0x0000000000000009"),
        "{error}"
    );
    let error = resealed(&|header| header.version += 1);
    assert!(
        error.contains(&format!("{second} has format version 2, this muster reads version 1")),
        "{error}"
    );
    // A record of another segment is none of this one, and none is read twice.
    assert!(resealed(&|header| header.unused = 1).contains("the header of a record"));
}

#[test]
fn what_a_checkpoint_holds_is_removed_oldest_first_and_the_rest_still_reads() {
    for checkpoint in 0..=20 {
        let disk = SimDisk::new(0);
        let mut writer = begin(&disk, 1);
        let append = |writer: &mut WalWriter, lsn| writer.append(1, Lsn(lsn), &payload(lsn)).unwrap();
        (1..=20).for_each(|lsn| append(&mut writer, lsn));
        let before = names(&disk);
        writer.remove_before(Lsn(checkpoint)).unwrap();
        let after = names(&disk);
        assert!(before.ends_with(&after) && !after.is_empty());
        assert!((20 - checkpoint) * 74 / 400 + 2 >= after.len() as u64, "{checkpoint}: {after:?}");
        append(&mut writer, 21);
        let bytes = writer.bytes_written();
        writer.close().unwrap();
        assert_eq!(
            bytes,
            (1..=21).map(|lsn| (32 + payload(lsn).len().next_multiple_of(8)) as u64).sum::<u64>()
        );
        assert_eq!(read(&disk, checkpoint).unwrap().0.len() as u64, 21 - checkpoint);
    }
}

#[test]
fn a_record_too_large_changes_nothing() {
    let disk = SimDisk::new(0);
    let mut writer = begin(&disk, 1);
    let error = writer.append(1, Lsn(1), &vec![0; crate::format::WAL_RECORD_BYTES_MAX + 1]).unwrap_err();
    assert!(error.to_string().contains("make the change in several"), "{error}");
    writer.append(1, Lsn(1), b"small").unwrap();
    writer.close().unwrap();
    assert_eq!(read(&disk, 0).unwrap().0, [(1, 1, b"small".to_vec())]);
}

#[test]
#[should_panic(expected = "LSN 5 was to follow 5")]
fn an_lsn_is_not_logged_twice() {
    let mut writer = begin(&SimDisk::new(0), 5);
    writer.append(1, Lsn(5), b"").unwrap();
    let _ = writer.append(1, Lsn(5), b"");
}
