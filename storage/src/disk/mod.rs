//! The disk as the store sees it: one flat directory of files, named by short ASCII names.
//!
//! Two implementations: [`real`] (std::fs and memory maps) and [`sim`] (in memory, with seeded crashes, torn writes and
//! faults, for tests). Nothing above this module touches `std::fs`.

pub mod real;
pub mod sim;

use crate::Result;
use std::path::Path;

/// A directory of files.
///
/// Durability contract: a file's bytes survive a crash after [`WriteFile::sync`]; its name (a create, rename or remove)
/// after [`Disk::sync_directory`]. `rename` replaces atomically.
pub trait Disk: Send + Sync {
    /// Creates or truncates a file for writing.
    fn create(&self, name: &str) -> Result<Box<dyn WriteFile>>;
    /// The whole file, read in place. The file must not change while the bytes live.
    fn map(&self, name: &str) -> Result<Bytes>;
    /// A copy of what a file holds now, also of one that is being appended to: then all that was appended before this
    /// was called, and perhaps a piece of what comes after.
    fn read(&self, name: &str) -> Result<Bytes>;
    /// Gives a file a second name, its own, on another disk that has no such file yet. False where that cannot be: then
    /// nothing has happened. The file must not be one that is still written.
    fn link(&self, name: &str, to: &dyn Disk) -> bool {
        let _ = (name, to);
        false
    }
    /// The directory of the file system that this is, if it is one.
    fn directory(&self) -> Option<&Path> {
        None
    }
    /// Renames a file over another.
    fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// Removes a file; a missing one is an error.
    fn remove(&self, name: &str) -> Result<()>;
    /// The names of all files, sorted.
    fn list(&self) -> Result<Vec<String>>;
    /// Makes creates, renames and removes durable.
    fn sync_directory(&self) -> Result<()>;
    /// Takes the directory for writing until the lock is dropped.
    fn lock(&self) -> Result<Box<dyn DirectoryLock>>;
    /// The directory, for messages.
    fn describe(&self) -> String;
}

/// A held lock; released on drop.
pub trait DirectoryLock: Send + Sync {}

/// A file being written.
pub trait WriteFile: Send {
    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;
    /// Overwrites bytes at an offset below the end (a header written last).
    fn overwrite(&mut self, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Makes everything written so far durable.
    fn sync(&mut self) -> Result<()>;
}

/// The bytes of a whole file: 64-byte aligned at least, immutable.
pub struct Bytes(Inner);

enum Inner {
    Mapped(memmap2::Mmap),
    Owned { words: Vec<AlignedLine>, length: usize },
}

/// A cache line, so that owned bytes are aligned as mapped ones are.
#[derive(Clone, Copy, zerocopy::IntoBytes, zerocopy::FromBytes, zerocopy::Immutable)]
#[repr(C, align(64))]
struct AlignedLine([u8; 64]);

impl Bytes {
    /// Wraps a memory map.
    pub(crate) fn mapped(map: memmap2::Mmap) -> Bytes {
        Bytes(Inner::Mapped(map))
    }

    /// Tells the system that some bytes will be read soon, so that it fetches them meanwhile. A hint: nothing fails.
    pub fn will_need(&self, range: std::ops::Range<usize>) {
        #[cfg(unix)]
        if let Inner::Mapped(map) = &self.0 {
            let _ = map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Copies bytes into aligned memory.
    pub fn copied(bytes: &[u8]) -> Bytes {
        use zerocopy::IntoBytes;
        let mut words = vec![AlignedLine([0; 64]); bytes.len().div_ceil(64)];
        words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        Bytes(Inner::Owned { words, length: bytes.len() })
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        use zerocopy::IntoBytes;
        match &self.0 {
            Inner::Mapped(map) => map,
            Inner::Owned { words, length } => &words.as_bytes()[..*length],
        }
    }
}
