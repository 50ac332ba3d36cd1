//! The envelope of small metadata files: magic, version, length, checksum.
//!
//! ```text
//! offset  bytes  what
//!      0      8  magic: what kind of file this is
//!      8      4  format version
//!     12      4  reserved, zero
//!     16      8  bytes of the body
//!     24      4  crc32c of bytes 0..24 and of the body
//!     28      …  the body, to the end of the file
//! ```
//!
//! The checksum covers the header too, so every single changed byte and every truncation is found. The envelope stays
//! as it is in later versions of the format: an intact file of another version is told apart from a damaged one.
//!
//! This module gives bodies no meaning. Parts, which are mapped and verified piece by piece, have a header of their own.

use crate::format::{FORMAT_VERSION, FRAME_HEADER_BYTES};
use crate::{Error, RESTORE, Result};

const VERSION_AT: usize = 8;
const RESERVED_AT: usize = 12;
const LENGTH_AT: usize = 16;
const CHECKSUM_AT: usize = 24;
const _: () = assert!(CHECKSUM_AT + 4 == FRAME_HEADER_BYTES);

/// A body in its envelope: the bytes of the whole file.
pub fn seal(magic: [u8; 8], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + body.len());
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&checksum(&bytes[..CHECKSUM_AT], body).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The body of a file's bytes, once all of them are found to be as written. `file` is named in errors.
///
/// # Errors
/// [`Error::Corrupt`] where a byte differs from what was sealed, or where the file is of another kind;
/// [`Error::Version`] where it is intact and of another version.
pub fn open<'a>(file: &str, magic: [u8; 8], bytes: &'a [u8]) -> Result<&'a [u8]> {
    let corrupt = |offset: usize, expected: String, found: String| Error::Corrupt {
        file: file.to_owned(),
        offset: offset as u64,
        expected,
        found,
        remedy: RESTORE,
    };
    let Some((header, body)) = bytes.split_at_checked(FRAME_HEADER_BYTES) else {
        return Err(corrupt(
            bytes.len(),
            format!("a header of {FRAME_HEADER_BYTES} bytes"),
            format!("the end after {} bytes", bytes.len()),
        ));
    };
    if header[..VERSION_AT] != magic {
        return Err(corrupt(
            0,
            magic.escape_ascii().to_string(),
            header[..VERSION_AT].escape_ascii().to_string(),
        ));
    }
    let length = u64::from_le_bytes(field(header, LENGTH_AT));
    if length != body.len() as u64 {
        return Err(corrupt(
            LENGTH_AT,
            format!("a body of {length} bytes, as the header says"),
            format!("{} bytes", body.len()),
        ));
    }
    let stored = u32::from_le_bytes(field(header, CHECKSUM_AT));
    let computed = checksum(&header[..CHECKSUM_AT], body);
    if stored != computed {
        return Err(corrupt(
            CHECKSUM_AT,
            format!("bytes with the checksum {stored:#010x}"),
            format!("bytes with {computed:#010x}"),
        ));
    }
    let version = u32::from_le_bytes(field(header, VERSION_AT));
    if version != FORMAT_VERSION {
        return Err(Error::Version { file: file.to_owned(), found: version, known: FORMAT_VERSION });
    }
    let reserved = u32::from_le_bytes(field(header, RESERVED_AT));
    if reserved != 0 {
        return Err(corrupt(RESERVED_AT, "0".to_owned(), reserved.to_string()));
    }
    Ok(body)
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), body)
}

fn field<const N: usize>(header: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 8] = *b"MUSTTEST";

    #[test]
    fn a_sealed_body_opens() {
        for body in [&b""[..], b"x", &[7; 1000]] {
            let bytes = seal(MAGIC, body);
            assert_eq!(bytes.len(), FRAME_HEADER_BYTES + body.len());
            assert_eq!(open("f", MAGIC, &bytes).unwrap(), body);
        }
    }

    #[test]
    #[rustfmt::skip]
    fn the_envelope_is_golden() {
        assert_eq!(seal(MAGIC, b"muster"), [
            b'M', b'U', b'S', b'T', b'T', b'E', b'S', b'T',
            1, 0, 0, 0,
            0, 0, 0, 0,
            6, 0, 0, 0, 0, 0, 0, 0,
            9, 12, 112, 81,
            b'm', b'u', b's', b't', b'e', b'r',
        ]);
    }

    #[test]
    fn every_changed_byte_is_found() {
        let bytes = seal(MAGIC, b"some body");
        for at in 0..bytes.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= mask;
                let error = open("f", MAGIC, &damaged).unwrap_err();
                assert!(matches!(error, Error::Corrupt { .. }), "byte {at} ^ {mask:#x}: {error}");
            }
        }
    }

    #[test]
    fn every_truncation_and_extension_is_found() {
        let bytes = seal(MAGIC, b"some body");
        for length in 0..bytes.len() {
            let error = open("f", MAGIC, &bytes[..length]).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{length} bytes: {error}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(open("f", MAGIC, &longer), Err(Error::Corrupt { offset: 16, .. })));
    }

    /// Seals with any version and reserved field, as another build would.
    fn seal_as(version: u32, reserved: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = seal(MAGIC, body);
        bytes[VERSION_AT..][..4].copy_from_slice(&version.to_le_bytes());
        bytes[RESERVED_AT..][..4].copy_from_slice(&reserved.to_le_bytes());
        let sum = checksum(&bytes[..CHECKSUM_AT], body);
        bytes[CHECKSUM_AT..][..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    #[test]
    fn an_intact_file_of_another_version_says_so() {
        for version in [0, FORMAT_VERSION + 1, u32::MAX] {
            match open("f", MAGIC, &seal_as(version, 0, b"body")) {
                Err(Error::Version { found, known, .. }) => {
                    assert_eq!((found, known), (version, FORMAT_VERSION));
                }
                other => panic!("{other:?}"),
            }
        }
        let error = open("f", MAGIC, &seal_as(FORMAT_VERSION, 5, b"body")).unwrap_err();
        assert!(matches!(error, Error::Corrupt { offset: 12, .. }), "{error}");
    }

    #[test]
    fn a_file_of_another_kind_names_both() {
        let error = open("CURRENT", MAGIC, &seal(*b"MUSTPART", b"")).unwrap_err().to_string();
        assert!(error.contains("CURRENT is damaged at byte 0: expected MUSTTEST, found MUSTPART"), "{error}");
    }
}
