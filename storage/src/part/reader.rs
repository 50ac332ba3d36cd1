//! Reads a part in place. Opening costs the header and the table of sections; a section's bytes are touched, and its
//! checksum verified, when it is first asked for.

use super::toc::{PartHeader, TocEntry};
use crate::chunk::Malformed;
use crate::disk::Bytes;
use crate::format::{SECTION_ALIGNMENT, SectionKind, TOC_ENTRY_BYTES};
use crate::manifest::PartRef;
use crate::{Error, RESTORE, Result};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use zerocopy::FromBytes;

/// Sections of one column and kind that are asked for ahead of their use: some hundred kilobytes.
const FETCHED_AHEAD: usize = 32;

/// An open part. Share it by `Arc`; all methods take `&self`.
pub struct PartReader {
    file: String,
    bytes: Bytes,
    header: PartHeader,
    /// The table of sections, copied: it is consulted for every section of every chunk.
    entries: Vec<TocEntry>,
    /// The rows of each column and kind, in the table's order.
    groups: Vec<((u32, u16), Range<usize>)>,
    verified: Vec<AtomicBool>,
    /// What was learnt of each section by who looked at all of it once; 0 until then.
    learnt: Vec<AtomicU32>,
}

impl PartReader {
    /// Opens a part's bytes and checks that they are the file the manifest means.
    pub fn open(file: &str, bytes: Bytes, database: u64, expected: &PartRef) -> Result<PartReader> {
        let header = PartHeader::read(file, &bytes)?;
        let corrupt = |offset: u64, expected: String, found: String| {
            Err(Error::Corrupt { file: file.into(), offset, expected, found, remedy: RESTORE })
        };
        if bytes.len() as u64 != expected.bytes {
            return corrupt(
                bytes.len() as u64,
                format!("{} bytes", expected.bytes),
                format!("{} bytes", bytes.len()),
            );
        }
        if (header.database, header.part, header.table) != (database, expected.id.0, expected.table) {
            return corrupt(
                12,
                format!("part {} of table {} of database {database:016x}", expected.id.0, expected.table),
                format!(
                    "part {} of table {} of database {:016x}",
                    header.part, header.table, header.database
                ),
            );
        }
        if let Ok(start) = usize::try_from(header.toc_offset) {
            bytes.will_need(start.min(bytes.len())..bytes.len());
        }
        let toc_bytes = usize::try_from(header.toc_offset)
            .ok()
            .and_then(|start| bytes.get(start..))
            .filter(|toc| toc.len() == header.toc_entries as usize * TOC_ENTRY_BYTES)
            .unwrap_or(&[]);
        let found = crc32c::crc32c(toc_bytes);
        if found != header.toc_checksum || found != expected.toc_checksum {
            return corrupt(
                header.toc_offset,
                format!("a table of sections with checksum {:08x}", expected.toc_checksum),
                format!("{found:08x}"),
            );
        }
        let entries = <[TocEntry]>::ref_from_bytes(toc_bytes).unwrap_or(&[]).to_vec();
        let mut groups: Vec<((u32, u16), Range<usize>)> = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let end = entry.offset.checked_add(entry.length);
            let within = end.is_some_and(|end| end <= header.toc_offset);
            let aligned = entry.offset.is_multiple_of(SECTION_ALIGNMENT as u64);
            let sorted = index == 0 || entries[index - 1].sort_key() < entry.sort_key();
            if !within || !aligned || !sorted {
                let at = header.toc_offset + (index * TOC_ENTRY_BYTES) as u64;
                let expected = "a section within the file, after those before it in the table".into();
                return corrupt(at, expected, format!("{entry:?}"));
            }
            let (column, kind, _) = entry.sort_key();
            let group = (column, kind);
            match groups.last_mut() {
                Some((last, rows)) if *last == group => rows.end = index + 1,
                _ => groups.push((group, index..index + 1)),
            }
        }
        let verified = entries.iter().map(|_| AtomicBool::new(false)).collect();
        let learnt = entries.iter().map(|_| AtomicU32::new(0)).collect();
        Ok(PartReader { file: file.into(), header, entries, groups, verified, learnt, bytes })
    }

    /// The file's name, for messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The file's size in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// All sections, sorted by column, kind, chunk.
    pub fn entries(&self) -> &[TocEntry] {
        &self.entries
    }

    /// The sections of one column and kind, by chunk.
    pub fn sections(&self, column: u32, kind: SectionKind) -> Sections<'_> {
        let group = self.groups.binary_search_by_key(&(column, kind as u16), |(group, _)| *group);
        let range = group.map_or(0..0, |at| self.groups[at].1.clone());
        Sections { part: self, first: range.start, entries: &self.entries()[range] }
    }

    /// The bytes of the section in row `index` of the table; its checksum is verified the first time.
    #[inline]
    pub fn section_at(&self, index: usize) -> Result<&[u8]> {
        let entry = &self.entries()[index];
        let bytes = &self.bytes[entry.offset as usize..(entry.offset + entry.length) as usize];
        if !self.verified[index].load(Ordering::Acquire) {
            self.fetch(index);
            let found = crc32c::crc32c(bytes);
            if found != entry.checksum {
                return Err(Error::Corrupt {
                    file: self.file.clone(),
                    offset: entry.offset,
                    expected: format!(
                        "{:?} of column {}, chunk {} ({} bytes) with checksum {:08x}",
                        entry.kind(),
                        entry.column,
                        entry.chunk,
                        entry.length,
                        entry.checksum
                    ),
                    found: format!("{found:08x}"),
                    remedy: RESTORE,
                });
            }
            self.verified[index].store(true, Ordering::Release);
        }
        Ok(bytes)
    }

    /// Asks the system for a section that is used for the first time, and for those of the next chunks, which are likely to
    /// follow: a disk answers many requests in the time of one.
    fn fetch(&self, index: usize) {
        let entry = &self.entries()[index];
        let same = |other: &TocEntry| (other.column, other.kind()) == (entry.column, entry.kind());
        let in_sequence =
            index > 0 && same(&self.entries()[index - 1]) && self.verified[index - 1].load(Ordering::Acquire);
        let first = if in_sequence { index + FETCHED_AHEAD } else { index };
        for ahead in first..=index + FETCHED_AHEAD {
            let Some(entry) = self.entries().get(ahead).filter(|entry| same(entry)) else { break };
            self.bytes.will_need(entry.offset as usize..(entry.offset + entry.length) as usize);
        }
    }

    /// Checks that the bytes between sections are the zeros that were written.
    pub fn check_padding(&self) -> Result<()> {
        let mut ends: Vec<(u64, u64)> =
            self.entries().iter().map(|e| (e.offset, e.offset + e.length)).collect();
        ends.sort_unstable();
        let starts = ends.iter().skip(1).map(|(start, _)| *start).chain([self.header.toc_offset]);
        for ((_, end), next) in ends.iter().zip(starts) {
            let padding = self.bytes.get(*end as usize..next as usize).unwrap_or(&[1]);
            if let Some(at) = padding.iter().position(|byte| *byte != 0) {
                return Err(self.malformed(end + at as u64, Malformed("zeros between two sections")));
            }
        }
        Ok(())
    }

    /// Says that a section's bytes, though their checksum holds, are not of their format.
    pub fn malformed(&self, offset: u64, what: Malformed) -> Error {
        Error::Corrupt {
            file: self.file.clone(),
            offset,
            expected: what.0.into(),
            found: "something else".into(),
            remedy: RESTORE,
        }
    }
}

/// The sections of one column and kind in a part.
#[derive(Clone, Copy)]
pub struct Sections<'a> {
    part: &'a PartReader,
    first: usize,
    entries: &'a [TocEntry],
}

impl<'a> Sections<'a> {
    /// Their rows of the table, by chunk; chunks without the section are absent.
    pub fn entries(&self) -> &'a [TocEntry] {
        self.entries
    }

    /// The part they are in.
    pub fn part(&self) -> &'a PartReader {
        self.part
    }

    #[inline]
    fn position(&self, chunk: u16) -> Option<usize> {
        // Most columns have a section in every chunk.
        match self.entries.get(usize::from(chunk)) {
            Some(entry) if entry.chunk == chunk => Some(usize::from(chunk)),
            _ => self.entries.binary_search_by_key(&chunk, |e| e.chunk).ok(),
        }
    }

    /// The row of the table for `chunk` of the range.
    #[inline]
    pub fn entry(&self, chunk: u16) -> Option<&'a TocEntry> {
        self.position(chunk).map(|position| &self.entries[position])
    }

    /// The bytes for `chunk` of the range if they were verified before: for asking the cache for them ahead of use.
    #[inline]
    pub fn verified(&self, chunk: u16) -> Option<&'a [u8]> {
        let index = self.first + self.position(chunk)?;
        let entry = self.part.entries().get(index)?;
        let verified = self.part.verified[index].load(Ordering::Acquire);
        verified.then(|| &self.part.bytes[entry.offset as usize..(entry.offset + entry.length) as usize])
    }

    /// A place for what is learnt of the section for `chunk` of the range by looking at all of it, which is done once; 0 until then.
    #[inline]
    pub fn learnt(&self, chunk: u16) -> Option<&'a AtomicU32> {
        self.position(chunk).map(|position| &self.part.learnt[self.first + position])
    }

    /// The bytes for `chunk` of the range, verified on first use; `None` where there is no such section.
    #[inline]
    pub fn bytes(&self, chunk: u16) -> Result<Option<&'a [u8]>> {
        self.position(chunk).map(|position| self.part.section_at(self.first + position)).transpose()
    }
}
