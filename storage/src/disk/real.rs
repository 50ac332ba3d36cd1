//! The disk of the operating system: one flat directory, written through buffers and read through memory maps.
//!
//! Invariants: a name that is created again gets a new file, so only the writer that made a file ever writes to it; a
//! writer holds the system's lock on its file, and a file that is locked so is not mapped. Hence mapped bytes stay, in
//! this process and in others. It does not retry, does not look into subdirectories, and does not know what the files
//! mean.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Bytes, DirectoryLock, Disk, WriteFile};
use crate::manifest::LOCK;
use crate::{Error, Result};

/// Bytes that a file being written collects before they go to the system, at a multiple of as many: the size of a huge
/// page, so that the system may keep them, and map them later, as one.
const BUFFER_BYTES: usize = 2 << 20;

/// A directory of the file system.
pub struct RealDisk {
    directory: PathBuf,
}

impl RealDisk {
    /// The disk of a directory that exists.
    ///
    /// # Errors
    /// [`Error::NotADatabase`] when there is no such directory; [`Error::Io`] when it cannot be looked at.
    pub fn open(directory: &Path) -> Result<RealDisk> {
        let refused = |reason: &str| {
            Err(Error::NotADatabase { directory: directory.display().to_string(), reason: reason.to_owned() })
        };
        match std::fs::metadata(directory) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return refused("it is not a directory"),
            Err(error) if error.kind() == ErrorKind::NotFound => return refused("it does not exist"),
            Err(source) => {
                return Err(Error::Io { action: "open", file: directory.display().to_string(), source });
            }
        }
        Ok(RealDisk { directory: directory.to_owned() })
    }

    /// The disk of a directory that is made where it is missing, with those above it.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made.
    pub fn create(directory: &Path) -> Result<RealDisk> {
        let failed = |action, source| Error::Io { action, file: directory.display().to_string(), source };
        if !directory.exists() {
            std::fs::create_dir_all(directory).map_err(|source| failed("create", source))?;
            // The name of the directory must survive a crash as well as what is in it. Where the parent cannot be
            // opened for that (it may be unreadable), the system's own pace is as good as it gets.
            let path = std::path::absolute(directory).map_err(|source| failed("find", source))?;
            if let Some(parent) = path.parent().and_then(|parent| File::open(parent).ok()) {
                parent.sync_all().map_err(|source| failed("sync the directory above", source))?;
            }
        }
        RealDisk::open(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        debug_assert!(!name.contains(['/', '\\']) && name != "..", "names are flat: {name}");
        self.directory.join(name)
    }
}

fn failed(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> Error + use<> {
    let file = name.to_owned();
    move |source| Error::Io { action, file, source }
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> Result<Box<dyn WriteFile>> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("replace", name)(error)),
            _ => {}
        }
        // `create_new`, so that a file that is mapped, or that another process put here, is never opened for writing.
        let file =
            OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed("create", name))?;
        // Waits for nobody but a `map` that looks at the file just now, sees that it is empty, and leaves.
        file.lock().map_err(failed("lock", name))?;
        Ok(Box::new(RealFile { file, buffer: Vec::new(), name: name.to_owned() }))
    }

    #[allow(unsafe_code)]
    fn map(&self, name: &str) -> Result<Bytes> {
        let file = File::open(self.path(name)).map_err(failed("map", name))?;
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let busy = io::Error::new(ErrorKind::ResourceBusy, "it is still being written");
                return Err(failed("map", name)(busy));
            }
            Err(TryLockError::Error(source)) => return Err(failed("map", name)(source)),
        }
        let length = file.metadata().map_err(failed("map", name))?.len();
        if length == 0 {
            // The system maps no empty file; and this one may yet get its bytes, from a writer about to lock it.
            return Ok(Bytes::copied(&[]));
        }
        // SAFETY: the map is sound if the bytes of this file do not change and it is not truncated while the map lives.
        // - All writing goes through a `RealFile`, in this process and in every other that uses this type. Its file was
        //   made by the `create` that returned it (`create_new` fails on a file that exists), and no `RealFile` is
        //   made for a file twice. So this file has one writer in its life, or none.
        // - That writer locks the file, exclusively, before the first byte and until it is dropped. The shared lock was
        //   granted above, so the writer has not yet locked it or is gone. Had it not yet, the file would be empty and
        //   not mapped. So it is gone, and nobody writes to this file again.
        // - `remove` and `rename` change names, not files: the system keeps the file as long as the map lives.
        // - Programs that write to the files of a database behind its back are excluded by the contract of
        //   `Disk::map`; no reader of memory maps can be protected from them.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(failed("map", name))?;
        // Walking page tables costs as much as memory itself where a question touches a few lines on each of many
        // pages. A system that cannot map files by huge pages refuses, and nothing else is different.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        // A question reads a few sections of each file, and says which: the system is not to read what lies around them.
        #[cfg(unix)]
        let _ = map.advise(memmap2::Advice::Random);
        Ok(Bytes::mapped(map))
    }

    fn read(&self, name: &str) -> Result<Bytes> {
        let whole = || {
            let mut file = File::open(self.path(name))?;
            let length = file.metadata()?.len();
            read_whole(&mut file, length)
        };
        whole().map(|bytes| Bytes::copied(&bytes)).map_err(failed("read", name))
    }

    fn link(&self, name: &str, to: &dyn Disk) -> bool {
        // Another file system, one without links, a limit of them: a copy does as well.
        to.directory().is_some_and(|to| std::fs::hard_link(self.path(name), to.join(name)).is_ok())
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.directory)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        std::fs::rename(self.path(from), self.path(to)).map_err(failed("rename", from))
    }

    fn remove(&self, name: &str) -> Result<()> {
        std::fs::remove_file(self.path(name)).map_err(failed("remove", name))
    }

    fn list(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(failed("list", "the directory"))? {
            let entry = entry.map_err(failed("list", "the directory"))?;
            // A name that is not Unicode is not one of ours; whatever it is shown as will not be either.
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_directory(&self) -> Result<()> {
        let directory = File::open(&self.directory).map_err(failed("sync", "the directory"))?;
        directory.sync_all().map_err(failed("sync", "the directory"))
    }

    fn lock(&self) -> Result<Box<dyn DirectoryLock>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(self.path(LOCK)).map_err(failed("open", LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { file })),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { directory: self.describe() }),
            Err(TryLockError::Error(source)) => Err(failed("lock", LOCK)(source)),
        }
    }

    fn describe(&self) -> String {
        self.directory.display().to_string()
    }
}

/// The lock is the open file's: the system releases it when the file closes, also when the process dies.
struct RealLock {
    file: File,
}

impl Drop for RealLock {
    fn drop(&mut self) {
        // As for a `RealFile`.
        let _ = self.file.unlock();
    }
}

impl DirectoryLock for RealLock {}

/// A file being written, and locked: always at its end, but within `overwrite`.
struct RealFile {
    file: File,
    buffer: Vec<u8>,
    name: String,
}

impl RealFile {
    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        failed(action, &self.name)
    }

    fn flush(&mut self) -> Result<()> {
        // What a failed write leaves is cut off by nobody: the buffer goes in any case, so that a later flush cannot
        // write the same bytes twice. The caller gets the error and gives the file up.
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(self.failed("write"))
    }
}

/// Everything to the end, which is an error before `length` bytes: a log whose end were missing would pass for one that a crash
/// tore. More is fine, somebody appends.
fn read_whole(source: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length as usize);
    source.read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        let message = format!("{} bytes came of {length}", bytes.len());
        return Err(io::Error::new(ErrorKind::UnexpectedEof, message));
    }
    Ok(bytes)
}

impl WriteFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(BUFFER_BYTES);
        }
        let mut rest = bytes;
        while self.buffer.len() + rest.len() >= BUFFER_BYTES {
            let (now, later) = rest.split_at(BUFFER_BYTES - self.buffer.len());
            self.buffer.extend_from_slice(now);
            self.flush()?;
            rest = later;
        }
        self.buffer.extend_from_slice(rest);
        Ok(())
    }

    fn overwrite(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.flush()?;
        let end = self.file.stream_position().map_err(self.failed("write"))?;
        assert!(
            offset.checked_add(bytes.len() as u64).is_some_and(|last| last <= end),
            "{}: {} bytes at {offset} are not below the end at {end}",
            self.name,
            bytes.len()
        );
        self.file.seek(SeekFrom::Start(offset)).map_err(self.failed("write"))?;
        self.file.write_all(bytes).map_err(self.failed("write"))?;
        self.file.seek(SeekFrom::Start(end)).map_err(self.failed("write"))?;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.file.sync_all().map_err(self.failed("sync"))
    }
}

impl Drop for RealFile {
    fn drop(&mut self) {
        // Whoever needs to know calls `sync`, which tells. An unsynced file is promised nothing.
        let _ = self.flush();
        // A process that is being started has copies of our files until it becomes another program: closing ours would leave it the lock.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, RealDisk) {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(directory.path()).unwrap();
        (directory, disk)
    }

    /// Delivers a byte at a time, and ends early.
    struct Short<'b>(&'b [u8]);

    impl Read for Short<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut out[..1])
        }
    }

    #[test]
    fn a_short_read_goes_on_and_a_missing_end_is_an_error() {
        assert_eq!(read_whole(&mut Short(b"abcdef"), 6).unwrap(), b"abcdef");
        assert_eq!(read_whole(&mut Short(b"abcdef"), 4).unwrap(), b"abcdef");
        let error = read_whole(&mut Short(b"abc"), 6).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::UnexpectedEof, "3 bytes came of 6")
        );
    }

    fn put(disk: &RealDisk, name: &str, bytes: &[u8]) {
        disk.create(name).unwrap().append(bytes).unwrap();
    }

    #[test]
    fn what_is_written_is_mapped() {
        let (_directory, disk) = disk();
        for length in [0, 1, 63, 4096, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 3 * BUFFER_BYTES + 5]
        {
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let mut file = disk.create("f").unwrap();
            for piece in bytes.chunks(700_001) {
                file.append(piece).unwrap();
            }
            file.sync().unwrap();
            drop(file);
            assert_eq!(*disk.map("f").unwrap(), bytes[..], "{length} bytes");
        }
    }

    #[test]
    fn overwriting_keeps_the_end() {
        let (_directory, disk) = disk();
        let mut file = disk.create("f").unwrap();
        file.append(b"______ and").unwrap();
        file.overwrite(0, b"header").unwrap();
        file.append(b" tail").unwrap();
        drop(file);
        assert_eq!(&*disk.map("f").unwrap(), b"header and tail");
    }

    #[test]
    #[should_panic(expected = "not below the end")]
    fn overwriting_beyond_the_end_is_a_bug() {
        let (_directory, disk) = disk();
        let mut file = disk.create("f").unwrap();
        file.append(b"four").unwrap();
        let _ = file.overwrite(2, b"more");
    }

    /// The proof beside `map` stands on these two.
    #[test]
    fn mapped_bytes_stay_whatever_happens_to_the_name() {
        let (_directory, disk) = disk();
        put(&disk, "f", b"first");
        let first = disk.map("f").unwrap();
        put(&disk, "f", b"2nd");
        let second = disk.map("f").unwrap();
        put(&disk, "g", b"third");
        disk.rename("g", "f").unwrap();
        disk.remove("f").unwrap();
        assert_eq!((&*first, &*second), (&b"first"[..], &b"2nd"[..]));
    }

    #[test]
    fn a_file_is_mapped_once_its_writer_is_gone() {
        let (directory, disk) = disk();
        let other = RealDisk::open(directory.path()).unwrap();
        let mut file = disk.create("f").unwrap();
        file.append(b"bytes").unwrap();
        file.sync().unwrap();
        disk.rename("f", "g").unwrap();
        for disk in [&disk, &other] {
            let error = disk.map("g").err().unwrap().to_string();
            assert_eq!(error, "cannot map g: it is still being written");
        }
        // A second writer of the name is one of another file.
        put(&disk, "g", b"second");
        drop(file);
        assert_eq!(&*other.map("g").unwrap(), b"second");
        assert_eq!(disk.list().unwrap(), ["g"]);
    }

    /// What starting a process does for a moment.
    #[test]
    fn a_copy_of_an_open_file_keeps_no_lock() {
        let (_directory, disk) = disk();
        let file = OpenOptions::new().write(true).create_new(true).open(disk.path("f")).unwrap();
        file.lock().unwrap();
        let copy = file.try_clone().unwrap();
        let mut file = RealFile { file, buffer: Vec::new(), name: "f".into() };
        file.append(b"bytes").unwrap();
        drop(file);
        assert_eq!(&*disk.map("f").unwrap(), b"bytes");
        drop(copy);
    }

    #[test]
    fn the_lock_is_for_one() {
        let (directory, disk) = disk();
        let held = disk.lock().unwrap();
        let again = RealDisk::open(directory.path()).unwrap();
        assert!(
            matches!(again.lock().err(), Some(Error::Locked { directory: said }) if said == disk.describe())
        );
        drop(held);
        again.lock().unwrap();
        assert_eq!(disk.list().unwrap(), [LOCK]);
    }

    #[test]
    fn errors_name_the_file() {
        let (directory, disk) = disk();
        let missing = disk.map("missing").err().unwrap().to_string();
        assert!(missing.starts_with("cannot map missing: "), "{missing}");
        assert!(disk.remove("missing").is_err());
        disk.sync_directory().unwrap();
        let below = directory.path().join("a/b");
        let error = RealDisk::open(&below).err().unwrap().to_string();
        assert!(error.ends_with("is not a MusterDB database: it does not exist"), "{error}");
        assert_eq!(RealDisk::create(&below).unwrap().describe(), below.display().to_string());
        RealDisk::create(&below).unwrap();
    }
}
