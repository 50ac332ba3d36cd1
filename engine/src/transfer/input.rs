//! A text file as a stream of UTF-8: opened, counted, decompressed and decoded.
//!
//! Compression is recognised by the first bytes, not by the name: gzip and zstd, both with any number of members or
//! frames. A stream that ends too early is an error.

use super::encoding::{TextEncoding, as_utf8};
use super::input_error;
use crate::Result;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is read from a file at a time.
pub(super) const READ_BYTES: usize = 256 << 10;

/// Opens a file; also says which encoding it has. `bytes_read` counts what is read of the file itself.
pub(super) fn open(
    path: &Path,
    stated: TextEncoding,
    bytes_read: Arc<AtomicU64>,
) -> Result<(Box<dyn Read + Send>, TextEncoding)> {
    let failed = |error: std::io::Error| input_error(path, error);
    let counted = Counted { file: File::open(path).map_err(failed)?, bytes_read };
    let mut raw = BufReader::with_capacity(READ_BYTES, counted);
    let source: Box<dyn Read + Send> = match raw.fill_buf().map_err(failed)? {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(zstd::stream::read::Decoder::with_buffer(raw).map_err(failed)?)
        }
        // A Parquet file begins with its magic and a binary header, and ends with its magic. A text can do some of that.
        [b'P', b'A', b'R', b'1', byte, ..]
            if *byte < b' ' && !byte.is_ascii_whitespace() && ends_in_parquet_magic(path) =>
        {
            return Err(input_error(path, "it is a Parquet file, not text"));
        }
        _ => Box::new(raw),
    };
    as_utf8(source, stated).map_err(failed)
}

/// True where the last bytes of a file are those of a Parquet file; of a pipe they are not known.
fn ends_in_parquet_magic(path: &Path) -> bool {
    let read = || -> std::io::Result<[u8; 4]> {
        let mut file = File::open(path)?;
        let mut last = [0; 4];
        file.seek(SeekFrom::End(-4))?;
        file.read_exact(&mut last)?;
        Ok(last)
    };
    path.is_file() && read().is_ok_and(|last| last == *b"PAR1")
}

/// A file that counts what is read of it.
struct Counted {
    file: File,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(into)?;
        self.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
