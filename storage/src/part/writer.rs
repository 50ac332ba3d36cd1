//! Writes a part: sections as they come, the table of sections at the end, the header last of all.

use super::toc::{PartHeader, SectionStats, TocEntry};
use crate::Result;
use crate::disk::{Disk, WriteFile};
use crate::format::{PART_HEADER_BYTES, SECTION_ALIGNMENT, SectionKind};
use zerocopy::IntoBytes;

/// A part being written. Dropping it unfinished leaves a file whose header is zero, which no reader accepts.
pub struct PartWriter {
    file: Box<dyn WriteFile>,
    database: u64,
    part: u64,
    table: u32,
    position: u64,
    entries: Vec<TocEntry>,
}

/// What the manifest records of a finished, synced part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishedPart {
    /// The file's size.
    pub bytes: u64,
    /// The checksum of the table of sections: the manifest's proof that this is the very file it means.
    pub toc_checksum: u32,
}

impl PartWriter {
    /// Begins the file `name`.
    pub fn create(disk: &dyn Disk, name: &str, database: u64, part: u64, table: u32) -> Result<PartWriter> {
        let mut file = disk.create(name)?;
        file.append(&[0; PART_HEADER_BYTES])?;
        Ok(PartWriter {
            file,
            database,
            part,
            table,
            position: PART_HEADER_BYTES as u64,
            entries: Vec::new(),
        })
    }

    /// Appends a section. Any order of columns and chunks will do; each (column, kind, chunk) at most once.
    pub fn append(
        &mut self,
        column: u32,
        kind: SectionKind,
        chunk: u16,
        bytes: &[u8],
        stats: SectionStats,
    ) -> Result<()> {
        self.entries.push(TocEntry::new(column, kind, chunk, self.position, bytes, stats));
        self.file.append(bytes)?;
        self.position += bytes.len() as u64;
        self.pad()
    }

    fn pad(&mut self) -> Result<()> {
        let padded = self.position.next_multiple_of(SECTION_ALIGNMENT as u64);
        self.file.append(&[0; SECTION_ALIGNMENT][..(padded - self.position) as usize])?;
        self.position = padded;
        Ok(())
    }

    /// Writes table and header and makes the file durable (its name becomes durable with the next commit).
    pub fn finish(self) -> Result<FinishedPart> {
        let (mut file, finished) = self.written()?;
        file.sync()?;
        Ok(finished)
    }

    /// Writes table and header of a part that is read at once and discarded: no commit may name it, since nothing makes it
    /// durable.
    pub fn finish_passing(self) -> Result<FinishedPart> {
        self.written().map(|(_, finished)| finished)
    }

    fn written(mut self) -> Result<(Box<dyn WriteFile>, FinishedPart)> {
        self.entries.sort_unstable_by_key(TocEntry::sort_key);
        assert!(
            self.entries.windows(2).all(|pair| pair[0].sort_key() < pair[1].sort_key()),
            "a section is written once"
        );
        let toc = self.entries.as_bytes();
        let toc_checksum = crc32c::crc32c(toc);
        self.file.append(toc)?;
        let count = self.entries.len() as u32;
        let header =
            PartHeader::new(self.database, self.part, self.table, self.position, count, toc_checksum);
        self.file.overwrite(0, header.as_bytes())?;
        let bytes = self.position + toc.len() as u64;
        Ok((self.file, FinishedPart { bytes, toc_checksum }))
    }
}
