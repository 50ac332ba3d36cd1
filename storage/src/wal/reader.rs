//! Reads the log: each record once, in order, up to where it was torn.

use super::{RecordHeader, SegmentEnd, SegmentHeader, corrupt, padding, segments};
use crate::disk::{Bytes, Disk};
use crate::format::{WAL_ALIGNMENT, WAL_END_KIND, WAL_HEADER_BYTES, WAL_RECORD_HEADER_BYTES};
use crate::manifest::{Lsn, WAL_TEMPORARY, wal_file_name};
use crate::{Error, Result};
use std::io::ErrorKind;
use std::mem::offset_of;
use zerocopy::IntoBytes;

/// What a replay came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The LSN of the last record, or that after which the log was to be replayed.
    pub last: Lsn,
    /// Records handed over.
    pub records: u64,
    /// The bytes of their payloads.
    pub bytes: u64,
    /// Bytes at the end of the log that were being written when a crash came.
    pub dropped_bytes: u64,
}

/// Replays the log on a disk after an LSN: `visit` is given the LSN, kind and payload of each record, once, in the order of
/// the LSNs. Nothing is changed; a database does this through [`crate::store::Store::replay`].
///
/// # Errors
/// [`Error::Corrupt`] where bytes that had been synced are not as they were written, or a segment is missing, of another
/// database or in another's place; [`Error::Version`]; [`Error::Io`]; and those of `visit`. Records before the trouble have
/// been handed over.
pub fn replay<E: From<Error>>(
    disk: &dyn Disk,
    database: u64,
    after: Lsn,
    visit: impl FnMut(Lsn, u16, &[u8]) -> std::result::Result<(), E>,
) -> std::result::Result<Replayed, E> {
    Ok(Log::open(disk, database, after, false)?.replay(visit)?.0)
}

/// The segments of a log, mapped: those that were there, whatever is removed meanwhile.
pub(crate) struct Log {
    segments: Vec<Segment>,
    database: u64,
    after: Lsn,
}

struct Segment {
    name: String,
    first: Lsn,
    bytes: Bytes,
}

/// The state of the log's end after a replay.
pub(crate) struct Tail {
    /// The segments that hold records to be kept.
    kept: std::ops::Range<usize>,
    end: SegmentEnd,
    /// Up to which byte the last one of them is known to be durable.
    synced: u64,
}

/// What a segment held.
struct Extent {
    last: Lsn,
    end: usize,
    synced: usize,
    dropped: usize,
}

impl Log {
    /// Maps the segments of a directory.
    ///
    /// `beside_writer`: a last one that is being written is read as far as it is; one that goes just now is left out, because
    /// only a writer that opens removes the last one, when no record is in it.
    pub(crate) fn open(disk: &dyn Disk, database: u64, after: Lsn, beside_writer: bool) -> Result<Log> {
        let firsts = segments(&disk.list()?);
        let mut found = Vec::new();
        for (i, &first) in firsts.iter().enumerate() {
            let name = wal_file_name(first);
            let is_last = i + 1 == firsts.len();
            match if beside_writer && is_last { disk.read(&name) } else { disk.map(&name) } {
                Ok(bytes) => found.push(Segment { name, first, bytes }),
                Err(Error::Io { source, .. })
                    if beside_writer && is_last && source.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Log { segments: found, database, after })
    }

    /// The segments by name, with their bytes.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (String, u64)> {
        self.segments.iter().map(|segment| (segment.name.clone(), segment.bytes.len() as u64))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Hands over each record after the LSN that the log was opened for.
    pub(crate) fn replay<E: From<Error>>(
        &self,
        mut visit: impl FnMut(Lsn, u16, &[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(Replayed, Tail), E> {
        let mut replayed = Replayed { last: self.after, records: 0, bytes: 0, dropped_bytes: 0 };
        let nothing = SegmentEnd { first: Lsn(0), last: self.after, end: 0 };
        let mut tail = Tail { kept: 0..0, end: nothing, synced: 0 };
        let (start, headers) = self.headers()?;
        for (i, header) in headers.iter().enumerate() {
            let segment = &self.segments[start + i];
            let extent = segment.read(header, headers.get(i + 1), |lsn, kind, payload| {
                if lsn > self.after {
                    replayed.records += 1;
                    replayed.bytes += payload.len() as u64;
                    visit(lsn, kind, payload)?;
                }
                Ok::<(), E>(())
            })?;
            replayed.dropped_bytes = extent.dropped as u64;
            if extent.last > self.after {
                replayed.last = extent.last;
                tail.kept = if tail.kept.is_empty() {
                    start + i..start + i + 1
                } else {
                    tail.kept.start..start + i + 1
                };
                tail.end = SegmentEnd { first: segment.first, last: extent.last, end: extent.end as u64 };
                tail.synced = extent.synced as u64;
            }
        }
        Ok((replayed, tail))
    }

    /// Makes what a replay read durable, removes the rest, and says where the log goes on.
    ///
    /// Bytes that a process saw are not on disk for that: the last one may have died before its sync, or the sync may
    /// have failed, and then a later sync of the same file says nothing (Rebello et al., "Can Applications Recover from
    /// fsync Failures?", 2020). So a last segment that is not known to be durable is written anew.
    pub(crate) fn settle(self, disk: &dyn Disk, tail: &Tail) -> Result<SegmentEnd> {
        for (i, segment) in self.segments.iter().enumerate() {
            if !tail.kept.contains(&i) {
                disk.remove(&segment.name)?;
            }
        }
        if let Some(last) = tail.kept.clone().next_back()
            && tail.synced < tail.end.end
        {
            let Segment { name, first, bytes } = &self.segments[last];
            let header = SegmentHeader::read(name, bytes, self.database, *first)?;
            let mut file = disk.create(WAL_TEMPORARY)?;
            file.append(&bytes[..tail.end.end as usize])?;
            file.append(RecordHeader::end(header.checksum, tail.end.last, tail.end.end).as_bytes())?;
            file.sync()?;
            drop(file);
            disk.rename(WAL_TEMPORARY, name)?;
            disk.sync_directory()?;
        }
        Ok(tail.end)
    }

    /// The headers of the segments that are needed, and which is the first of them. Each follows the one before.
    fn headers(&self) -> Result<(usize, Vec<SegmentHeader>)> {
        let mut headers: Vec<SegmentHeader> = Vec::new();
        let mut start = self.segments.len();
        for (i, segment) in self.segments.iter().enumerate().rev() {
            // A crash while a segment was begun: no record is in it, and the log ends before it.
            if i + 1 == self.segments.len() && SegmentHeader::is_torn(&segment.bytes) {
                continue;
            }
            let header = SegmentHeader::read(&segment.name, &segment.bytes, self.database, segment.first)?;
            if let Some(next) = headers.last()
                && next.previous_first != header.first
            {
                return Err(missing(next, &format!("after {}", segment.name)));
            }
            headers.push(header);
            start = i;
            if header.previous_last <= self.after.0 {
                break;
            }
        }
        if let Some(first) = headers.last()
            && first.previous_last > self.after.0
        {
            return Err(missing(first, &format!("after LSN {}", self.after)));
        }
        headers.reverse();
        Ok((start, headers))
    }
}

/// The error of a segment that the header of the one after it speaks of.
fn missing(next: &SegmentHeader, what: &str) -> Error {
    corrupt(
        &wal_file_name(Lsn(next.first)),
        offset_of!(SegmentHeader, previous_first),
        format!(
            "the log {what} to go on with {}, with records up to LSN {}",
            wal_file_name(Lsn(next.previous_first)),
            next.previous_last
        ),
        "no such file".to_owned(),
    )
}

/// What is wrong with a record.
struct Damage {
    offset: usize,
    expected: String,
    found: String,
}

/// The record at an offset: its header, payload, and where the next one begins.
fn record(bytes: &[u8], at: usize, salt: u32) -> std::result::Result<(RecordHeader, &[u8], usize), Damage> {
    let damage = |offset, expected, found| Damage { offset, expected, found };
    let rest = &bytes[at..];
    let Some(header) = RecordHeader::at(bytes, at, salt) else {
        let found = if rest.len() < WAL_RECORD_HEADER_BYTES {
            format!("the end after {} bytes", rest.len())
        } else {
            "bytes with another checksum".to_owned()
        };
        return Err(damage(at, "the header of a record".to_owned(), found));
    };
    let start = at + WAL_RECORD_HEADER_BYTES;
    let length = header.length as usize;
    let Some(padded) = bytes[start..].get(..length + padding(length).len()) else {
        return Err(damage(
            start,
            format!("{length} bytes of a record"),
            format!("the end after {}", bytes.len() - start),
        ));
    };
    let computed = header.expected_checksum(salt, &[padded]);
    if header.checksum != computed {
        return Err(damage(
            at + offset_of!(RecordHeader, checksum),
            format!("a record with the checksum {:#010x}", header.checksum),
            format!("one with {computed:#010x}"),
        ));
    }
    Ok((header, &padded[..length], start + padded.len()))
}

/// A record after a damaged one at `damaged` that was appended when that had been synced: where it is, and up to where
/// all had been.
fn synced_beyond(bytes: &[u8], damaged: usize, salt: u32) -> Option<(usize, u64)> {
    let mut places = (damaged + WAL_ALIGNMENT..bytes.len()).step_by(WAL_ALIGNMENT);
    places.find_map(|at| {
        // Read before the checksum is computed: most places fail here.
        let synced = bytes.get(at + offset_of!(RecordHeader, synced)..)?.first_chunk()?;
        let synced = u64::from_le_bytes(*synced);
        let says_so = synced > damaged as u64 && synced <= at as u64;
        (says_so && RecordHeader::at(bytes, at, salt).is_some()).then_some((at, synced))
    })
}

impl Segment {
    /// Reads the records up to where the segment after it, or a crash, says that they end.
    fn read<E: From<Error>>(
        &self,
        header: &SegmentHeader,
        next: Option<&SegmentHeader>,
        mut visit: impl FnMut(Lsn, u16, &[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<Extent, E> {
        let fail = |offset, expected: String, found: String| corrupt(&self.name, offset, expected, found);
        let salt = header.checksum;
        self.bytes.will_need(0..self.bytes.len());
        let bytes = match next {
            None => &self.bytes[..],
            Some(next) => usize::try_from(next.previous_end)
                .ok()
                .and_then(|end| self.bytes.get(..end))
                .filter(|bytes| bytes.len() >= WAL_HEADER_BYTES)
                .ok_or_else(|| {
                    let expected =
                        format!("records up to byte {}, as the segment after it says", next.previous_end);
                    fail(self.bytes.len(), expected, "the end".to_owned())
                })?,
        };
        let mut extent = Extent { last: Lsn(0), end: WAL_HEADER_BYTES, synced: WAL_HEADER_BYTES, dropped: 0 };
        while extent.end < bytes.len() {
            let at = extent.end;
            let (record, payload, end) = match record(bytes, at, salt) {
                Ok(record) => record,
                Err(Damage { offset, expected, found }) => {
                    let expected = match (next, synced_beyond(bytes, at, salt)) {
                        (None, None) => {
                            extent.dropped = bytes.len() - at;
                            break;
                        }
                        (None, Some((later, synced))) => format!(
                            "{expected} (the record at byte {later} says that all up to byte {synced} was synced)"
                        ),
                        (Some(_), _) => expected,
                    };
                    return Err(fail(offset, expected, found).into());
                }
            };
            // A record whose checksums hold is as it was written.
            let lsn = Lsn(record.lsn);
            let first = at == WAL_HEADER_BYTES;
            let is_end = record.kind == WAL_END_KIND;
            let in_order = if is_end {
                lsn == extent.last && end == bytes.len()
            } else if first {
                lsn == self.first
            } else {
                lsn > extent.last
            };
            if !in_order || record.synced > at as u64 {
                let expected = format!("the record that follows LSN {}", extent.last);
                let found = format!("kind {}, LSN {lsn}, synced up to byte {}", record.kind, record.synced);
                return Err(fail(at, expected, found).into());
            }
            extent.synced = record.synced as usize;
            if is_end {
                break;
            }
            visit(lsn, record.kind, payload)?;
            (extent.last, extent.end) = (lsn, end);
        }
        if let Some(next) = next
            && (extent.end != bytes.len() || extent.last.0 != next.previous_last)
        {
            let expected = format!("records up to LSN {}, as the segment after it says", next.previous_last);
            return Err(fail(extent.end, expected, format!("up to LSN {}", extent.last)).into());
        }
        Ok(extent)
    }
}
