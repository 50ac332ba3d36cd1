//! The manifest: which parts make up the database at an LSN, and how one manifest replaces another.
//!
//! A database directory holds
//!
//! ```text
//! LOCK                            empty; locked by the one writing process
//! CURRENT                         a frame that names the LSN of the live manifest
//! manifest-0000000000000007.mus   a frame around a Manifest
//! part-0000000000000042.mus       parts, immutable
//! wal-0000000000000008.mus        the log of changes that are not in the parts yet: see [`crate::wal`]
//! ```
//!
//! # How a commit switches
//!
//! The caller has written and synced its parts. Then [`crate::store::Store::commit`] does the steps below; a crash
//! (of the process or of the machine) after each leaves what the table says. *Old* and *new* are whole databases:
//! the manifest and each part that it names.
//!
//! | crash after                        | what may be on disk                                     | opens as |
//! |------------------------------------|---------------------------------------------------------|----------|
//! | 0. parts written and synced        | new parts, whole or not, named or not                   | old; they are orphans and removed |
//! | 1. new manifest written            | also a torn or missing new manifest                     | old; it is an orphan |
//! | 2. new manifest synced             | also a whole new manifest, perhaps without a name       | old; it is an orphan |
//! | 3. `CURRENT.tmp` written           | also a torn or missing `CURRENT.tmp`                    | old; it is removed |
//! | 4. `CURRENT.tmp` synced            | also a whole `CURRENT.tmp`, perhaps without a name      | old; it is removed |
//! | 5. directory synced                | all that the new database consists of, durably          | old; the same orphans |
//! | 6. `CURRENT.tmp` renamed `CURRENT` | `CURRENT` is the old one or the new one, both whole, and both databases are there whole | old or new: the commit was not acknowledged |
//! | 7. directory synced                | `CURRENT` is the new one, durably                       | new      |
//! | 8. old manifest and parts removed  | some of them, some not                                  | new; the rest are orphans and removed |
//!
//! Step 5 is what makes step 6 safe: without it the machine could come back with the rename but without the names of
//! the new manifest or of a part. Step 7 stands before step 8 for the same reason with old and new exchanged.
//!
//! A failure, too, is a crash point. Before step 6, where no sync failed, the commit can be tried again: it begins
//! with fresh files. From step 6 on nobody knows which database is on disk, and a failed sync says nothing of what
//! became durable (a second one may succeed without having written anything); the store is then poisoned. Opening
//! again reads what is there and syncs the directory before it removes anything, so that a `CURRENT` that was seen but
//! not durable does not cost the database that an older `CURRENT` names.
//!
//! The creation of a database is a commit of an empty manifest at LSN 0, without an old one.

use std::fmt;

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};

use crate::format::{CURRENT_MAGIC, FRAME_HEADER_BYTES, MANIFEST_MAGIC};
use crate::{Error, RESTORE, Result, codec, frame};

/// The name of the file that names the live manifest.
pub const CURRENT: &str = "CURRENT";
/// What [`CURRENT`] is called until it is complete.
pub const CURRENT_TEMPORARY: &str = "CURRENT.tmp";
/// What a segment of the log is called while it is written anew.
pub const WAL_TEMPORARY: &str = "wal.tmp";
/// The name of the file that the writing process holds locked.
pub const LOCK: &str = "LOCK";

/// The id of a part: ascending, never of two parts that were committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct PartId(pub u64);

/// A log sequence number: the order of every change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Lsn(pub u64);

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a part is to its table. Stored as u16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum PartRole {
    /// Columns of a range, whole.
    Base = 1,
    /// Changes to columns of a range, over its base and earlier patches.
    Patch = 2,
    /// The strings of a column's codes.
    Dictionary = 3,
    /// Keys to ordinals.
    KeyIndex = 4,
}

impl PartRole {
    /// The role of a stored value.
    pub fn from_u16(stored: u16) -> Option<PartRole> {
        match stored {
            1 => Some(PartRole::Base),
            2 => Some(PartRole::Patch),
            3 => Some(PartRole::Dictionary),
            4 => Some(PartRole::KeyIndex),
            _ => None,
        }
    }
}

impl Encode for PartRole {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> std::result::Result<(), EncodeError> {
        (*self as u16).encode(encoder)
    }
}

impl<Context> Decode<Context> for PartRole {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> std::result::Result<Self, DecodeError> {
        let stored = u16::decode(decoder)?;
        PartRole::from_u16(stored)
            .ok_or_else(|| DecodeError::OtherString(format!("{stored} as the role of a part")))
    }
}

bincode::impl_borrow_decode!(PartRole);

/// A part as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PartRef {
    /// The part, hence its file.
    pub id: PartId,
    /// What it is.
    pub role: PartRole,
    /// The table that it belongs to.
    pub table: u32,
    /// The range of ordinals that it covers: `range * RANGE_CHUNKS` is its first chunk.
    pub range: u32,
    /// The ids of the columns that it holds, ascending.
    pub columns: Vec<u32>,
    /// The size of its file.
    pub bytes: u64,
    /// The checksum of its table of sections: it is this part, not just any.
    pub toc_checksum: u32,
}

/// Everything that makes up a database at an LSN.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    /// Which database this is; never 0, of no two databases the same.
    pub database_id: u64,
    /// The change that this is the result of.
    pub lsn: Lsn,
    /// The id that the next part gets: above that of every part below.
    pub next_part: PartId,
    /// The engine's catalog, opaque here.
    pub catalog: Vec<u8>,
    /// The live parts. Of patches to the same range, a later one stands over an earlier one.
    pub parts: Vec<PartRef>,
    /// Every change up to this one is in the parts and the catalog; the log is replayed after it. At most
    /// [`Manifest::lsn`].
    pub checkpoint: Lsn,
}

/// A manifest as it was before there was a log: all that it is the result of is in its parts.
#[derive(Decode)]
struct ManifestWithoutLog {
    database_id: u64,
    lsn: Lsn,
    next_part: PartId,
    catalog: Vec<u8>,
    parts: Vec<PartRef>,
}

impl From<ManifestWithoutLog> for Manifest {
    fn from(old: ManifestWithoutLog) -> Manifest {
        let ManifestWithoutLog { database_id, lsn, next_part, catalog, parts } = old;
        Manifest { database_id, lsn, next_part, catalog, parts, checkpoint: lsn }
    }
}

impl Manifest {
    /// The manifest of a database without anything, at LSN 0.
    pub fn empty(database_id: u64) -> Manifest {
        Manifest {
            database_id,
            lsn: Lsn(0),
            next_part: PartId(1),
            catalog: Vec::new(),
            parts: Vec::new(),
            checkpoint: Lsn(0),
        }
    }

    /// The bytes of the manifest's file.
    ///
    /// # Errors
    /// [`Error::Io`] when it is too large to be read again (see [`codec::DECODED_BYTES_MAX`]): better here than when
    /// the database is opened.
    ///
    /// # Panics
    /// When it is inconsistent: two parts of one id, or one that [`Manifest::next_part`] has not reached.
    pub fn encode(&self) -> Result<Vec<u8>> {
        if let Err((expected, found)) = self.check() {
            panic!("a manifest was made with {found} instead of {expected}");
        }
        let body = codec::encode(self);
        if let Err(error) = codec::decode::<Manifest>(&body) {
            return Err(Error::Io {
                action: "write",
                file: manifest_file_name(self.lsn),
                source: std::io::Error::new(
                    std::io::ErrorKind::FileTooLarge,
                    format!("a manifest of {} bytes could not be read again {error}", body.len()),
                ),
            });
        }
        Ok(frame::seal(MANIFEST_MAGIC, &body))
    }

    /// The manifest of a file's bytes. `file` is named in errors.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Version`].
    pub fn decode(file: &str, bytes: &[u8]) -> Result<Manifest> {
        let body = frame::open(file, MANIFEST_MAGIC, bytes)?;
        // The older body ends where the checkpoint stands in the newer one, so no bytes are both.
        let manifest: Manifest = codec::decode(body)
            .or_else(|error| codec::decode::<ManifestWithoutLog>(body).map(Manifest::from).map_err(|_| error))
            .map_err(|error| malformed(file, error))?;
        manifest.check().map_err(|(expected, found)| Error::Corrupt {
            file: file.to_owned(),
            offset: FRAME_HEADER_BYTES as u64,
            expected,
            found,
            remedy: RESTORE,
        })?;
        Ok(manifest)
    }

    /// What is inconsistent: expected and found.
    fn check(&self) -> std::result::Result<(), (String, String)> {
        if self.database_id == 0 {
            return Err(("a database id".to_owned(), "0".to_owned()));
        }
        if self.checkpoint > self.lsn {
            return Err((format!("a checkpoint of at most LSN {}", self.lsn), self.checkpoint.to_string()));
        }
        let mut ids: Vec<PartId> = self.parts.iter().map(|part| part.id).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(("each part once".to_owned(), format!("part {} twice", twice[0])));
        }
        match ids.last() {
            Some(last) if *last >= self.next_part => {
                Err((format!("parts below {}", self.next_part), format!("part {last}")))
            }
            _ => Ok(()),
        }
    }
}

/// The bytes of `CURRENT`, naming a manifest.
pub(crate) fn encode_current(lsn: Lsn) -> Vec<u8> {
    frame::seal(CURRENT_MAGIC, &codec::encode(&lsn))
}

/// The LSN of the manifest that the bytes of `CURRENT` name.
pub(crate) fn decode_current(bytes: &[u8]) -> Result<Lsn> {
    codec::decode(frame::open(CURRENT, CURRENT_MAGIC, bytes)?).map_err(|error| malformed(CURRENT, error))
}

fn malformed(file: &str, error: codec::CodecError) -> Error {
    Error::Corrupt {
        file: file.to_owned(),
        offset: FRAME_HEADER_BYTES as u64 + error.offset,
        expected: error.expected,
        found: error.found,
        remedy: RESTORE,
    }
}

/// The file of a part.
pub fn part_file_name(id: PartId) -> String {
    format!("part-{id:016}.mus", id = id.0)
}

/// The file of the manifest of an LSN.
pub fn manifest_file_name(lsn: Lsn) -> String {
    format!("manifest-{lsn:016}.mus", lsn = lsn.0)
}

/// The segment of the log that begins with an LSN.
pub fn wal_file_name(first: Lsn) -> String {
    format!("wal-{first:016}.mus", first = first.0)
}

/// The first LSN of the segment of the log whose file has exactly this name.
pub fn wal_of_file(name: &str) -> Option<Lsn> {
    let first = Lsn(name.strip_prefix("wal-")?.strip_suffix(".mus")?.parse().ok()?);
    (wal_file_name(first) == name).then_some(first)
}

/// The part whose file has exactly this name.
pub fn part_of_file(name: &str) -> Option<PartId> {
    let id = PartId(name.strip_prefix("part-")?.strip_suffix(".mus")?.parse().ok()?);
    (part_file_name(id) == name).then_some(id)
}

/// The LSN of the manifest whose file has exactly this name.
pub fn manifest_of_file(name: &str) -> Option<Lsn> {
    let lsn = Lsn(name.strip_prefix("manifest-")?.strip_suffix(".mus")?.parse().ok()?);
    (manifest_file_name(lsn) == name).then_some(lsn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let part = |id, role| PartRef {
            id: PartId(id),
            role,
            table: 2,
            range: 3,
            columns: vec![1, 4],
            bytes: 4096,
            toc_checksum: 0xdead_beef,
        };
        Manifest {
            database_id: 0x0102_0304_0506_0708,
            lsn: Lsn(9),
            next_part: PartId(12),
            catalog: vec![0xca, 0x7a],
            parts: vec![part(11, PartRole::Base), part(3, PartRole::KeyIndex)],
            checkpoint: Lsn(6),
        }
    }

    #[test]
    fn a_manifest_is_read_as_written() {
        let bytes = sample().encode().unwrap();
        assert_eq!(Manifest::decode("m", &bytes).unwrap(), sample());
        let empty = Manifest::empty(1);
        assert_eq!(Manifest::decode("m", &empty.encode().unwrap()).unwrap(), empty);
        assert_eq!(decode_current(&encode_current(Lsn(77))).unwrap(), Lsn(77));
    }

    /// These bytes are in people's files. If this test fails, the format changed, not the test.
    #[test]
    #[rustfmt::skip]
    fn the_bodies_are_golden() {
        let mut manifest = sample();
        manifest.parts.truncate(1);
        let body = [
            8, 7, 6, 5, 4, 3, 2, 1,
            9, 0, 0, 0, 0, 0, 0, 0,
            12, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 0, 0, 0, 0, 0, 0, 0xca, 0x7a,
            1, 0, 0, 0, 0, 0, 0, 0,
                11, 0, 0, 0, 0, 0, 0, 0,
                1, 0,
                2, 0, 0, 0,
                3, 0, 0, 0,
                2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0,
                0, 0x10, 0, 0, 0, 0, 0, 0,
                0xef, 0xbe, 0xad, 0xde,
            6, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(manifest.encode().unwrap()[FRAME_HEADER_BYTES..], body);
        // Before there was a log, manifests ended without a checkpoint; these are in people's files too.
        let old = frame::seal(MANIFEST_MAGIC, &body[..body.len() - size_of::<u64>()]);
        manifest.checkpoint = manifest.lsn;
        assert_eq!(Manifest::decode("m", &old).unwrap(), manifest);
    }

    #[test]
    fn names_and_ids_agree() {
        assert_eq!(part_file_name(PartId(1)), "part-0000000000000001.mus");
        assert_eq!(manifest_file_name(Lsn(12)), "manifest-0000000000000012.mus");
        for id in [0, 1, 9_999_999_999_999_999, 10_000_000_000_000_000, u64::MAX] {
            assert_eq!(part_of_file(&part_file_name(PartId(id))), Some(PartId(id)));
            assert_eq!(manifest_of_file(&manifest_file_name(Lsn(id))), Some(Lsn(id)));
            assert_eq!(wal_of_file(&wal_file_name(Lsn(id))), Some(Lsn(id)));
        }
        for name in
            ["part-1.mus", "part-+000000000000001.mus", "part-0000000000000001.mus.bak", "part-.mus", ""]
        {
            assert_eq!(part_of_file(name), None, "{name}");
        }
        assert_eq!(manifest_of_file("manifest-00000000000000012.mus"), None);
    }

    #[test]
    fn roles_keep_their_numbers() {
        for stored in 0..=u16::MAX {
            if let Some(role) = PartRole::from_u16(stored) {
                assert_eq!(role as u16, stored);
            }
        }
        assert_eq!((1..=4).filter_map(PartRole::from_u16).count(), 4);
        let error = codec::decode::<PartRole>(&[9, 0]).unwrap_err();
        assert_eq!(error.found, "9 as the role of a part");
    }

    /// A sound frame around a body that no store writes must not get through either.
    #[test]
    fn inconsistent_manifests_are_refused() {
        let refused = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = sample();
            change(&mut manifest);
            let bytes = frame::seal(MANIFEST_MAGIC, &codec::encode(&manifest));
            Manifest::decode("m", &bytes).unwrap_err().to_string()
        };
        assert!(refused(&|m| m.parts[1].id = PartId(11)).contains("part 11 twice"));
        assert!(refused(&|m| m.next_part = PartId(11)).contains("expected parts below 11, found part 11"));
        assert!(refused(&|m| m.database_id = 0).contains("a database id"));
        assert!(refused(&|m| m.checkpoint = Lsn(10)).contains("a checkpoint of at most LSN 9, found 10"));
    }

    #[test]
    fn a_manifest_too_large_to_read_again_is_not_written() {
        let mut manifest = sample();
        manifest.catalog = vec![0; codec::DECODED_BYTES_MAX];
        let error = manifest.encode().unwrap_err().to_string();
        assert!(error.contains("could not be read again"), "{error}");
    }
}
