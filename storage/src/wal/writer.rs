//! Appends to the log.

use super::{RecordHeader, SegmentEnd, SegmentHeader, padding, segments, segments_before};
use crate::disk::{DirectoryLock, Disk, WriteFile};
use crate::format::{WAL_END_KIND, WAL_HEADER_BYTES, WAL_RECORD_BYTES_MAX, WAL_RECORD_HEADER_BYTES};
use crate::manifest::{Lsn, wal_file_name};
use crate::{Error, Result};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// Bytes after which a segment is followed by another one, unless told otherwise.
pub const WAL_SEGMENT_BYTES: u64 = 64 << 20;

/// The end of the log, where records are appended.
///
/// A record is durable once a [`WalWriter::sync`] after its append has succeeded; until then a crash may take it, and
/// any that follow it, away. Who acknowledges before the sync (a relaxed mode) can lose what was appended since the
/// last one, be it the machine or only the process that dies: appended bytes wait in memory.
///
/// After any operation failed the log takes nothing more ([`Error::Poisoned`]): what is on disk is found out by opening
/// the database again. Dropped, it syncs and marks the end of the log, so that later damage to its last records is told
/// from a crash; [`WalWriter::close`] does the same and tells whether it worked.
pub struct WalWriter {
    disk: Arc<dyn Disk>,
    database: u64,
    segment_bytes: u64,
    /// The segment being written; none until there is something to write.
    segment: Option<Segment>,
    /// Where the log ended before that segment.
    previous: SegmentEnd,
    /// The LSN of the last record, or the one before the first.
    last: Lsn,
    bytes: u64,
    poisoned: bool,
    /// Nobody else writes until this is gone too.
    _lock: Option<Arc<dyn DirectoryLock>>,
}

struct Segment {
    file: Box<dyn WriteFile>,
    first: Lsn,
    salt: u32,
    length: u64,
    synced: u64,
}

impl WalWriter {
    /// The beginning of a log whose first record will have `next_lsn`. Makes no file yet.
    ///
    /// # Panics
    /// When the LSN is 0, which is that of no change.
    pub fn begin(disk: Arc<dyn Disk>, database: u64, next_lsn: Lsn) -> WalWriter {
        assert!(next_lsn > Lsn(0), "LSN 0 is that of an empty database");
        let nothing = SegmentEnd { first: Lsn(0), last: Lsn(next_lsn.0 - 1), end: 0 };
        WalWriter::after(disk, None, database, next_lsn, nothing)
    }

    /// The end of a log that goes on after `previous`.
    pub(crate) fn after(
        disk: Arc<dyn Disk>,
        lock: Option<Arc<dyn DirectoryLock>>,
        database: u64,
        next_lsn: Lsn,
        previous: SegmentEnd,
    ) -> WalWriter {
        assert!(next_lsn > previous.last, "LSN {next_lsn} was to follow {} in the log", previous.last);
        WalWriter {
            disk,
            database,
            segment_bytes: WAL_SEGMENT_BYTES,
            segment: None,
            previous,
            last: Lsn(next_lsn.0 - 1),
            bytes: 0,
            poisoned: false,
            _lock: lock,
        }
    }

    /// The same with other segments than of [`WAL_SEGMENT_BYTES`].
    pub fn with_segment_bytes(self, segment_bytes: u64) -> WalWriter {
        let mut writer = self;
        writer.segment_bytes = segment_bytes;
        writer
    }

    /// Appends a record. It may be on disk after this, and is not known to be: see [`WalWriter::sync`].
    ///
    /// # Errors
    /// [`Error::Io`] when the payload is larger than [`WAL_RECORD_BYTES_MAX`]: nothing has happened then. After any
    /// other error, [`Error::Poisoned`] for good.
    ///
    /// # Panics
    /// When the LSN is not above all before, or the kind is the log's own [`WAL_END_KIND`].
    pub fn append(&mut self, kind: u16, lsn: Lsn, payload: &[u8]) -> Result<()> {
        assert!(lsn > self.last, "LSN {lsn} was to follow {} in the log", self.last);
        assert_ne!(kind, WAL_END_KIND, "the kind of the log's own records");
        if payload.len() > WAL_RECORD_BYTES_MAX {
            return Err(Error::Io {
                action: "append to",
                file: "the log".to_owned(),
                source: std::io::Error::new(
                    std::io::ErrorKind::FileTooLarge,
                    format!(
                        "a record of {} bytes, of at most {WAL_RECORD_BYTES_MAX}; make the change in several",
                        payload.len()
                    ),
                ),
            });
        }
        self.attempt(|writer| {
            if writer.segment.as_ref().is_some_and(|segment| segment.length >= writer.segment_bytes) {
                writer.sync_segment()?;
                writer.end_segment();
            }
            if writer.segment.is_none() {
                writer.segment = Some(writer.create(lsn)?);
            }
            let segment = writer.segment.as_mut().expect("there is one now");
            writer.bytes += segment.append(kind, lsn, payload)?;
            writer.last = lsn;
            Ok(())
        })
    }

    /// Makes all records so far durable.
    ///
    /// # Errors
    /// [`Error::Io`], and from then on [`Error::Poisoned`]: no record since the last sync that succeeded may be
    /// acknowledged, and another sync would say nothing of them.
    pub fn sync(&mut self) -> Result<()> {
        self.attempt(WalWriter::sync_segment)
    }

    /// Syncs, and marks the end of the log.
    ///
    /// # Errors
    /// As [`WalWriter::sync`].
    pub fn close(mut self) -> Result<()> {
        self.attempt(WalWriter::finish)
    }

    /// Removes the segments all of whose records have LSNs up to `checkpoint`, oldest first; never the one being
    /// written. The manifest that names the checkpoint must be durable.
    ///
    /// # Errors
    /// [`Error::Io`]: some may be left, for the next time. The log goes on.
    pub fn remove_before(&mut self, checkpoint: Lsn) -> Result<()> {
        let names = self.disk.list()?;
        let done = if self.segment.is_none() && self.last <= checkpoint {
            segments(&names)
        } else {
            segments_before(&names, checkpoint)
        };
        done.into_iter().try_for_each(|first| self.disk.remove(&wal_file_name(first)))
    }

    /// True once an operation failed: nothing is taken any more.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// The bytes of records appended by this writer.
    pub fn bytes_written(&self) -> u64 {
        self.bytes
    }

    /// The LSN of the last record, or the one before the first.
    pub fn last_lsn(&self) -> Lsn {
        self.last
    }

    fn attempt(&mut self, run: impl FnOnce(&mut WalWriter) -> Result<()>) -> Result<()> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        // A panic on the way poisons too.
        self.poisoned = true;
        run(self)?;
        self.poisoned = false;
        Ok(())
    }

    /// A segment whose name and header are durable.
    fn create(&self, first: Lsn) -> Result<Segment> {
        let header = SegmentHeader::new(self.database, first, self.previous);
        let mut file = self.disk.create(&wal_file_name(first))?;
        file.append(header.as_bytes())?;
        file.sync()?;
        self.disk.sync_directory()?;
        let length = WAL_HEADER_BYTES as u64;
        Ok(Segment { file, first, salt: header.checksum, length, synced: length })
    }

    fn sync_segment(&mut self) -> Result<()> {
        self.segment.as_mut().map_or(Ok(()), Segment::sync)
    }

    fn end_segment(&mut self) {
        if let Some(segment) = self.segment.take() {
            self.previous = SegmentEnd { first: segment.first, last: self.last, end: segment.length };
        }
    }

    fn finish(&mut self) -> Result<()> {
        self.sync_segment()?;
        if let Some(segment) = &mut self.segment {
            // Says that all before it was synced, hence only now.
            let end = RecordHeader::end(segment.salt, self.last, segment.length);
            segment.file.append(end.as_bytes())?;
            segment.file.sync()?;
        }
        self.end_segment();
        Ok(())
    }
}

impl Drop for WalWriter {
    fn drop(&mut self) {
        // Whoever needs to know calls `close`, which tells.
        let _ = self.attempt(WalWriter::finish);
    }
}

impl Segment {
    /// Appends a record, and says how many bytes it takes.
    fn append(&mut self, kind: u16, lsn: Lsn, payload: &[u8]) -> Result<u64> {
        let header = RecordHeader::new(self.salt, kind, lsn, self.synced, payload);
        let padding = padding(payload.len());
        self.file.append(header.as_bytes())?;
        self.file.append(payload)?;
        self.file.append(padding)?;
        let bytes = (WAL_RECORD_HEADER_BYTES + payload.len() + padding.len()) as u64;
        self.length += bytes;
        Ok(bytes)
    }

    fn sync(&mut self) -> Result<()> {
        if self.synced < self.length {
            self.file.sync()?;
            self.synced = self.length;
        }
        Ok(())
    }
}
