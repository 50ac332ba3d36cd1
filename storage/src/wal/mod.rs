//! The log: changes in the order of their LSNs, durable before anybody is told of them.
//!
//! ```text
//! wal-0000000000000008.mus        SegmentHeader, then records of LSN 8 and later
//!   64 bytes   SegmentHeader      database, first LSN, where the segment before ends
//!   32 bytes   RecordHeader       length, kind, LSN, synced, two checksums
//!      …       payload            the engine's; zeros up to a multiple of 8 bytes
//!   32 bytes   RecordHeader …
//! ```
//!
//! Invariants:
//! - A segment is written by one process, once, from its beginning to its end; opening a database begins another one.
//! - A segment begins only when all that is valid in those before it is durable. Its header says where the one before
//!   ends: what is damaged before that byte is an error, what stands after it was never acknowledged.
//! - A record's header says up to which byte the segment was synced when the record was appended. So in the last
//!   segment an invalid record is a torn tail (a crash met it while it was being written) unless a later record says
//!   that it had been synced, and then it is an error.
//! - The name and the header of a segment are durable before its first record is written.
//! - What a replay has read is durable before the store says so: what is not known to be is written anew.
//!
//! The reasons, and what is promised of a damaged last group, are in `docs/adr/0011-the-log.md`. This module gives
//! payloads and kinds no meaning and does no grouping: whoever appends decides when to sync.

mod reader;
mod writer;

pub(crate) use reader::Log;
pub use reader::{Replayed, replay};
pub use writer::{WAL_SEGMENT_BYTES, WalWriter};

use crate::format::{
    FORMAT_VERSION, WAL_ALIGNMENT, WAL_END_KIND, WAL_HEADER_BYTES, WAL_MAGIC, WAL_RECORD_HEADER_BYTES,
};
use crate::manifest::{Lsn, wal_file_name};
use crate::{Error, RESTORE, Result};
use std::mem::offset_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Where a segment ends, and with it the log so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentEnd {
    /// The segment's first LSN; 0 where there is none.
    pub first: Lsn,
    /// The LSN of its last record; where there is none, that up to which no record is needed.
    pub last: Lsn,
    /// The byte after its last record.
    pub end: u64,
}

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SegmentHeader {
    magic: [u8; 8],
    version: u32,
    reserved: u32,
    /// The database it was written for.
    database: u64,
    /// The LSN of its first record, as in its name.
    first: u64,
    /// The first LSN of the segment before; 0 where none was left.
    previous_first: u64,
    /// The last LSN of the segment before; where none was left, that up to which no record is needed.
    previous_last: u64,
    /// Where the records of the segment before end, in bytes.
    previous_end: u64,
    unused: u32,
    /// crc32c of the header before this field. Checksums of records go on from it, so that a record is of this segment.
    checksum: u32,
}

/// The first bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RecordHeader {
    /// Bytes of the payload, without the zeros after it.
    length: u32,
    kind: u16,
    reserved: u16,
    lsn: u64,
    /// Up to which byte the segment was synced when this was appended.
    synced: u64,
    /// crc32c of the fields before, after the segment's: the length can be believed before the payload is read.
    header_checksum: u32,
    /// crc32c of all fields before, the payload and the zeros after it, after the segment's.
    checksum: u32,
}

const _: () = assert!(size_of::<SegmentHeader>() == WAL_HEADER_BYTES);
const _: () = assert!(size_of::<RecordHeader>() == WAL_RECORD_HEADER_BYTES);
const _: () = assert!(WAL_HEADER_BYTES.is_multiple_of(WAL_ALIGNMENT));
const _: () = assert!(WAL_RECORD_HEADER_BYTES.is_multiple_of(WAL_ALIGNMENT));

impl SegmentHeader {
    fn new(database: u64, first: Lsn, previous: SegmentEnd) -> SegmentHeader {
        let mut header = SegmentHeader {
            magic: WAL_MAGIC,
            version: FORMAT_VERSION,
            reserved: 0,
            database,
            first: first.0,
            previous_first: previous.first.0,
            previous_last: previous.last.0,
            previous_end: previous.end,
            unused: 0,
            checksum: 0,
        };
        header.checksum = header.expected_checksum();
        header
    }

    fn expected_checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..offset_of!(SegmentHeader, checksum)])
    }

    /// Whether these are the bytes of a segment whose header was not whole when a crash came: the header is synced
    /// before anything follows it.
    fn is_torn(bytes: &[u8]) -> bool {
        let header = SegmentHeader::read_from_bytes(bytes);
        bytes.len() < WAL_HEADER_BYTES || header.is_ok_and(|h| h.checksum != h.expected_checksum())
    }

    /// The header of a file's bytes, checked; `first` is the LSN in the file's name.
    fn read(file: &str, bytes: &[u8], database: u64, first: Lsn) -> Result<SegmentHeader> {
        let fail = |offset, expected: String, found: String| Err(corrupt(file, offset, expected, found));
        let Ok((header, _)) = SegmentHeader::read_from_prefix(bytes) else {
            return fail(
                bytes.len(),
                format!("a header of {WAL_HEADER_BYTES} bytes"),
                format!("the end after {} bytes", bytes.len()),
            );
        };
        if header.magic != WAL_MAGIC {
            return fail(0, WAL_MAGIC.escape_ascii().to_string(), header.magic.escape_ascii().to_string());
        }
        let computed = header.expected_checksum();
        if header.checksum != computed {
            return fail(
                offset_of!(SegmentHeader, checksum),
                format!("a header with the checksum {:#010x}", header.checksum),
                format!("one with {computed:#010x}"),
            );
        }
        if header.version != FORMAT_VERSION {
            return Err(Error::Version { file: file.into(), found: header.version, known: FORMAT_VERSION });
        }
        if header.database != database {
            return fail(
                offset_of!(SegmentHeader, database),
                format!("the log of database {database:#018x}"),
                format!("that of {:#018x}", header.database),
            );
        }
        if header.first != first.0 {
            return fail(
                offset_of!(SegmentHeader, first),
                format!("the segment of LSN {first}"),
                format!("that of LSN {}, {}", header.first, wal_file_name(Lsn(header.first))),
            );
        }
        Ok(header)
    }
}

impl RecordHeader {
    fn new(salt: u32, kind: u16, lsn: Lsn, synced: u64, payload: &[u8]) -> RecordHeader {
        let length = u32::try_from(payload.len()).expect("the size of a record is bounded");
        let mut header =
            RecordHeader { length, kind, reserved: 0, lsn: lsn.0, synced, header_checksum: 0, checksum: 0 };
        header.header_checksum = header.expected_header_checksum(salt);
        header.checksum = header.expected_checksum(salt, &[payload, padding(payload.len())]);
        header
    }

    /// The record that says that the segment ends here, whole.
    fn end(salt: u32, last: Lsn, end: u64) -> RecordHeader {
        RecordHeader::new(salt, WAL_END_KIND, last, end, &[])
    }

    /// The header at an offset, if its own checksum holds.
    fn at(bytes: &[u8], at: usize, salt: u32) -> Option<RecordHeader> {
        let (header, _) = RecordHeader::read_from_prefix(bytes.get(at..)?).ok()?;
        (header.header_checksum == header.expected_header_checksum(salt)).then_some(header)
    }

    fn expected_header_checksum(&self, salt: u32) -> u32 {
        crc32c::crc32c_append(salt, &self.as_bytes()[..offset_of!(RecordHeader, header_checksum)])
    }

    fn expected_checksum(&self, salt: u32, payload: &[&[u8]]) -> u32 {
        let header = crc32c::crc32c_append(salt, &self.as_bytes()[..offset_of!(RecordHeader, checksum)]);
        payload.iter().fold(header, |sum, bytes| crc32c::crc32c_append(sum, bytes))
    }
}

/// The zeros after a payload.
fn padding(length: usize) -> &'static [u8] {
    &[0; WAL_ALIGNMENT][..length.next_multiple_of(WAL_ALIGNMENT) - length]
}

fn corrupt(file: &str, offset: usize, expected: String, found: String) -> Error {
    Error::Corrupt { file: file.to_owned(), offset: offset as u64, expected, found, remedy: RESTORE }
}

/// The segments among the names of files, in the order of their LSNs.
fn segments(names: &[String]) -> Vec<Lsn> {
    let mut found: Vec<Lsn> = names.iter().filter_map(|name| crate::manifest::wal_of_file(name)).collect();
    found.sort_unstable();
    found
}

/// The segments among the names of files that hold no record after a checkpoint, as their successors' names show. The
/// last one has no successor.
pub(crate) fn segments_before(names: &[String], checkpoint: Lsn) -> Vec<Lsn> {
    let all = segments(names);
    all.windows(2).filter(|pair| pair[1].0 <= checkpoint.0.saturating_add(1)).map(|pair| pair[0]).collect()
}

#[cfg(test)]
mod tests;
