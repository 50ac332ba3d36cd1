//! A file that appears under its name only when it is whole.

use super::output_error;
use crate::Result;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What is written at a time.
const WRITE_BYTES: usize = 256 << 10;

/// Makes the names of two files written at once by one process differ.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A hidden file beside the target; removed when dropped, renamed by [`PartialFile::commit`].
pub(super) struct PartialFile {
    file: File,
    target: PathBuf,
    /// `None` where the target is no regular file and is written directly.
    temporary: Option<PathBuf>,
}

impl PartialFile {
    pub(super) fn create(path: &Path) -> Result<PartialFile> {
        let failed = |error: io::Error| output_error(path, error);
        // Through a link its target is replaced, not the link.
        let target = if path.is_symlink() { path.canonicalize().map_err(failed)? } else { path.to_owned() };
        match target.metadata() {
            Ok(found) if found.is_dir() => return Err(output_error(path, "it is a directory")),
            Ok(found) if !found.is_file() => {
                let file = OpenOptions::new().write(true).open(&target).map_err(failed)?;
                return Ok(PartialFile { file, target, temporary: None });
            }
            _ => {}
        }
        let Some(name) = target.file_name() else { return Err(output_error(path, "it names no file")) };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{number}.partial", std::process::id()));
        let temporary = target.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(failed)?;
        Ok(PartialFile { file, target, temporary: Some(temporary) })
    }

    /// Brings the file to disk and gives it its name, which replaces what had that name.
    pub(super) fn commit(mut self) -> Result<()> {
        let Some(temporary) = &self.temporary else { return Ok(()) };
        let failed = |error: io::Error| output_error(&self.target, error);
        self.file.sync_all().map_err(failed)?;
        std::fs::rename(temporary, &self.target).map_err(failed)?;
        self.temporary = None;
        // The new name is durable when its directory is; where directories cannot be opened that is left to the system.
        let directory = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Ok(directory) = File::open(directory.unwrap_or(Path::new("."))) {
            let _ = directory.sync_all();
        }
        Ok(())
    }
}

impl Write for PartialFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // A file that cannot be removed has a name that says what it is.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

/// A text file, compressed where its name says so.
pub(super) struct TextFile {
    path: PathBuf,
    output: Output,
}

enum Output {
    Plain(BufWriter<PartialFile>),
    Gzip(BufWriter<flate2::write::GzEncoder<PartialFile>>),
    Zstd(BufWriter<zstd::stream::write::Encoder<'static, PartialFile>>),
}

impl TextFile {
    pub(super) fn create(path: &Path) -> Result<TextFile> {
        let file = PartialFile::create(path)?;
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        let output = match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("gz") => {
                let encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
                Output::Gzip(BufWriter::with_capacity(WRITE_BYTES, encoder))
            }
            Some("zst") => {
                let encoder = zstd::stream::write::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)
                    .map_err(|error| output_error(path, error))?;
                Output::Zstd(BufWriter::with_capacity(WRITE_BYTES, encoder))
            }
            _ => Output::Plain(BufWriter::with_capacity(WRITE_BYTES, file)),
        };
        Ok(TextFile { path: path.to_owned(), output })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = match &mut self.output {
            Output::Plain(output) => output.write_all(bytes),
            Output::Gzip(output) => output.write_all(bytes),
            Output::Zstd(output) => output.write_all(bytes),
        };
        written.map_err(|error| output_error(&self.path, error))
    }

    pub(super) fn commit(self) -> Result<()> {
        let file = match self.output {
            Output::Plain(output) => output.into_inner().map_err(|error| error.into_error()),
            Output::Gzip(output) => {
                output.into_inner().map_err(|error| error.into_error()).and_then(|encoder| encoder.finish())
            }
            Output::Zstd(output) => {
                output.into_inner().map_err(|error| error.into_error()).and_then(|encoder| encoder.finish())
            }
        };
        file.map_err(|error| output_error(&self.path, error))?.commit()
    }
}
