//! The header and the table of sections: the two fixed records of a part.

use crate::format::{FORMAT_VERSION, PART_HEADER_BYTES, PART_MAGIC, SectionKind, TOC_ENTRY_BYTES};
use crate::{Error, RESTORE, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first bytes of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PartHeader {
    magic: [u8; 8],
    version: u32,
    /// The table the part belongs to.
    pub table: u32,
    /// The database it was written for: a part swapped in from another one is refused.
    pub database: u64,
    /// Its own id, for the same reason.
    pub part: u64,
    /// Where the table of sections begins, in bytes.
    pub toc_offset: u64,
    /// Sections in the table.
    pub toc_entries: u32,
    /// crc32c of the table.
    pub toc_checksum: u32,
    reserved: [u8; 12],
    /// crc32c of the header before this field.
    checksum: u32,
}

const _: () = assert!(size_of::<PartHeader>() == PART_HEADER_BYTES);
const _: () = assert!(size_of::<TocEntry>() == TOC_ENTRY_BYTES);

impl PartHeader {
    /// A header with its checksum.
    pub(super) fn new(
        database: u64,
        part: u64,
        table: u32,
        toc_offset: u64,
        toc_entries: u32,
        toc_checksum: u32,
    ) -> PartHeader {
        let mut header = PartHeader {
            magic: PART_MAGIC,
            version: FORMAT_VERSION,
            table,
            database,
            part,
            toc_offset,
            toc_entries,
            toc_checksum,
            reserved: [0; 12],
            checksum: 0,
        };
        header.checksum = header.expected_checksum();
        header
    }

    fn expected_checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..PART_HEADER_BYTES - 4])
    }

    /// The header of a file's bytes, checked.
    pub(super) fn read(file: &str, bytes: &[u8]) -> Result<PartHeader> {
        let corrupt = |offset, expected: String, found: String| Error::Corrupt {
            file: file.into(),
            offset,
            expected,
            found,
            remedy: RESTORE,
        };
        let header = bytes
            .get(..PART_HEADER_BYTES)
            .and_then(|b| PartHeader::read_from_bytes(b).ok())
            .ok_or_else(|| {
                corrupt(0, format!("a header of {PART_HEADER_BYTES} bytes"), format!("{} bytes", bytes.len()))
            })?;
        if header.magic != PART_MAGIC {
            return Err(corrupt(0, format!("{PART_MAGIC:?}"), format!("{:?}", header.magic)));
        }
        if header.checksum != header.expected_checksum() {
            return Err(corrupt(
                60,
                format!("header checksum {:08x}", header.expected_checksum()),
                format!("{:08x}", header.checksum),
            ));
        }
        if header.version != FORMAT_VERSION {
            return Err(Error::Version { file: file.into(), found: header.version, known: FORMAT_VERSION });
        }
        Ok(header)
    }
}

/// What a section tells about itself without being read: enough to skip a chunk or to answer from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SectionStats {
    /// Rows that it describes: members of a boolean's set, NULLs, non-NULL values.
    pub cardinality: u32,
    /// The least value code, where it holds values.
    pub low: i64,
    /// The greatest value code, where it holds values.
    pub high: i64,
}

/// One row of the table of sections. Rows are sorted by column, kind, chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TocEntry {
    /// The column's id.
    pub column: u32,
    kind: u16,
    /// The chunk within the range (or the segment of a dictionary or key index).
    pub chunk: u16,
    /// Where the section begins in the file, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Its crc32c.
    pub checksum: u32,
    /// See [`SectionStats::cardinality`].
    pub cardinality: u32,
    /// See [`SectionStats::low`].
    pub low: i64,
    /// See [`SectionStats::high`].
    pub high: i64,
}

impl TocEntry {
    pub(super) fn new(
        column: u32,
        kind: SectionKind,
        chunk: u16,
        offset: u64,
        bytes: &[u8],
        stats: SectionStats,
    ) -> TocEntry {
        TocEntry {
            column,
            kind: kind as u16,
            chunk,
            offset,
            length: bytes.len() as u64,
            checksum: crc32c::crc32c(bytes),
            cardinality: stats.cardinality,
            low: stats.low,
            high: stats.high,
        }
    }

    /// The kind, unless it is of a future format.
    pub fn kind(&self) -> Option<SectionKind> {
        SectionKind::from_u16(self.kind)
    }

    /// The order of the table.
    pub(super) fn sort_key(&self) -> (u32, u16, u16) {
        (self.column, self.kind, self.chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was said to be of another version, and a newer program asked for, where a bit had flipped.
    #[test]
    fn a_flipped_version_is_damage_and_a_sealed_one_another_version() {
        let mut header = PartHeader::new(1, 2, 3, 64, 0, 0);
        header.version += 1;
        let flipped = PartHeader::read("part", header.as_bytes()).unwrap_err();
        assert!(matches!(flipped, Error::Corrupt { offset: 60, .. }), "{flipped}");
        header.checksum = header.expected_checksum();
        let newer = PartHeader::read("part", header.as_bytes()).unwrap_err();
        assert!(matches!(newer, Error::Version { known: FORMAT_VERSION, .. }), "{newer}");
    }
}
