//! Every number of the on-disk format. docs/FORMAT.md repeats them and a test compares the two.
//!
//! All integers are little-endian with explicit widths; on-disk enums have explicit values that are never renumbered.

/// Members of a chunk: the low 16 bits of an ordinal.
pub const CHUNK_MEMBERS: usize = 65_536;
/// Words of a chunk's bitset.
pub const BITSET_WORDS: usize = CHUNK_MEMBERS / 64;
/// Bytes of a chunk's bitset.
pub const BITSET_BYTES: usize = CHUNK_MEMBERS / 8;
/// Chunks of a range: what one part covers.
pub const RANGE_CHUNKS: usize = 64;
/// Alignment of sections and bitsets in a file, in bytes: a cache line.
pub const SECTION_ALIGNMENT: usize = 64;
/// A set of a chunk with at least this many members may be stored as a bitset; fewer are an array.
///
/// Roaring switches at 4,096, where the sizes meet. Here arrays end earlier: a bitset is combined at memory speed, an
/// array at one branch or store a member, and the space costs about one byte a member of a typical table.
pub const BITSET_MEMBERS_MIN: usize = 1_024;

/// First bytes of a part file.
pub const PART_MAGIC: [u8; 8] = *b"MUSTPART";
/// First bytes of a manifest file.
pub const MANIFEST_MAGIC: [u8; 8] = *b"MUSTMANI";
/// First bytes of `CURRENT`, the file that names the live manifest.
pub const CURRENT_MAGIC: [u8; 8] = *b"MUSTCURR";
/// First bytes of a segment of the log.
pub const WAL_MAGIC: [u8; 8] = *b"MUSTWLOG";
/// The version of every file this build writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes of the envelope of a metadata file, before its body.
pub const FRAME_HEADER_BYTES: usize = 28;
/// Bytes of a part's header.
pub const PART_HEADER_BYTES: usize = 64;
/// Bytes of one entry of a part's table of sections.
pub const TOC_ENTRY_BYTES: usize = 48;
/// Bytes of the table of containers per container of a sets section: code, offset, cardinality, kind.
pub const CONTAINER_ENTRY_BYTES: usize = 4 + 4 + 2 + 1;
/// Bytes of the header of a segment of the log.
pub const WAL_HEADER_BYTES: usize = 64;
/// Bytes of the header of a record of the log.
pub const WAL_RECORD_HEADER_BYTES: usize = 32;
/// Records of the log begin at multiples of as many bytes.
pub const WAL_ALIGNMENT: usize = 8;
/// The most bytes of the payload of a record of the log.
pub const WAL_RECORD_BYTES_MAX: usize = 256 << 20;
/// The kind of the record that says that a segment of the log ends there, whole. All other kinds are the engine's.
pub const WAL_END_KIND: u16 = 0;

/// What a section holds. Stored as u16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum SectionKind {
    /// A table of containers, one per value code present in the chunk; booleans and the live set have the one code 0.
    Sets = 1,
    /// The set of NULL rows: a table with the one container of code 0. Absent where no row is NULL.
    Nulls = 2,
    /// A value per row in a fixed width under a frame of reference.
    Values = 3,
    /// The rows in the order of their values: permutation and rank bitmaps.
    Order = 4,
    /// Sampled values in order: the way from a value to its rank.
    Fences = 5,
    /// A string per row, back to back.
    Strings = 6,
    /// A list of codes per row.
    Lists = 7,
    /// The strings of a column's dictionary, by code.
    DictionaryStrings = 8,
    /// The codes of a column's dictionary in the order of their strings.
    DictionaryOrder = 9,
    /// A segment of the key index: hash tag and ordinal of each key, by bucket.
    Keys = 10,
    /// Changed rows of a column: what they hold now, what they held before.
    Patch = 11,
    /// Whose the rows of a clustered chunk are: runs of rows of one chunk of owners and one span of time.
    Owners = 12,
    /// A table of containers: code k is the rows whose small number is k or more.
    Thresholds = 13,
}

impl SectionKind {
    /// The kind of a stored value.
    pub fn from_u16(stored: u16) -> Option<SectionKind> {
        use SectionKind::*;
        [
            Sets,
            Nulls,
            Values,
            Order,
            Fences,
            Strings,
            Lists,
            DictionaryStrings,
            DictionaryOrder,
            Keys,
            Patch,
            Owners,
            Thresholds,
        ]
        .into_iter()
        .find(|kind| *kind as u16 == stored)
    }
}

/// The encoding of one chunk's set. Stored as u8, never inferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ContainerKind {
    /// Sorted u16 members.
    Array = 1,
    /// 1,024 u64 words.
    Bitset = 2,
    /// Pairs of u16: first and last member of a run, ascending, not adjacent.
    Runs = 3,
}

impl ContainerKind {
    /// The kind of a stored value.
    pub fn from_u8(stored: u8) -> Option<ContainerKind> {
        match stored {
            1 => Some(ContainerKind::Array),
            2 => Some(ContainerKind::Bitset),
            3 => Some(ContainerKind::Runs),
            _ => None,
        }
    }
}

const _: () = assert!(BITSET_BYTES.is_multiple_of(SECTION_ALIGNMENT));
const _: () = assert!(PART_HEADER_BYTES.is_multiple_of(SECTION_ALIGNMENT));
const _: () = assert!(CHUNK_MEMBERS == 1 << 16);
