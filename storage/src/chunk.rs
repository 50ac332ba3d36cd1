//! A set of members within one chunk, as it lies on disk, and the table of such sets that a section holds.
//!
//! ```text
//! sets section:  count u32 │ 0 u32 │ codes u32×count │ offsets u32×count │ cardinality−1 u16×count │ kinds u8×count │ pad │ containers
//! container:     array   members u16, ascending
//!                bitset  1,024 words u64, 64-byte aligned
//!                runs    (first, last) u16 pairs, ascending, never adjacent
//! ```
//!
//! Offsets count from the section's start. Codes ascend. The kind is stored, never inferred. No container is empty: a
//! value that no member of the chunk has is simply absent, which keeps 20,000 rare tags small.

use crate::format::{
    BITSET_BYTES, BITSET_MEMBERS_MIN, BITSET_WORDS, CHUNK_MEMBERS, CONTAINER_ENTRY_BYTES, ContainerKind,
    SECTION_ALIGNMENT,
};
use zerocopy::{FromBytes, IntoBytes};

/// The words of one chunk's bitset: bit `m % 64` of word `m / 64` is member m.
pub type Words = [u64; BITSET_WORDS];

/// A set of members of a chunk, read in place.
#[derive(Clone, Copy, Debug)]
pub enum ChunkRef<'a> {
    /// Ascending members.
    Array(&'a [u16]),
    /// One bit a member.
    Bitset {
        /// The bits.
        words: &'a Words,
        /// How many are set.
        cardinality: u32,
    },
    /// Closed intervals of members.
    Runs {
        /// First and last member of each run.
        runs: &'a [[u16; 2]],
        /// Members in all runs.
        cardinality: u32,
    },
}

impl ChunkRef<'_> {
    /// Nobody.
    pub const EMPTY: ChunkRef<'static> = ChunkRef::Array(&[]);

    /// The number of members.
    pub fn cardinality(&self) -> u32 {
        match self {
            ChunkRef::Array(members) => members.len() as u32,
            ChunkRef::Bitset { cardinality, .. } | ChunkRef::Runs { cardinality, .. } => *cardinality,
        }
    }

    /// Checks that members ascend and are as many as was said. Cost: the whole container.
    pub fn check(&self) -> Result<(), Malformed> {
        let sound = match self {
            ChunkRef::Array(members) => members.windows(2).all(|pair| pair[0] < pair[1]),
            ChunkRef::Bitset { words, cardinality } => {
                words.iter().map(|word| word.count_ones()).sum::<u32>() == *cardinality
            }
            ChunkRef::Runs { runs, cardinality } => {
                let members: u32 =
                    runs.iter().map(|[first, last]| u32::from(last.saturating_sub(*first)) + 1).sum();
                runs.iter().all(|[first, last]| first <= last)
                    && runs.windows(2).all(|pair| u32::from(pair[0][1]) + 1 < u32::from(pair[1][0]))
                    && members == *cardinality
            }
        };
        if sound { Ok(()) } else { Err(Malformed("ascending members, as many as the table says")) }
    }

    /// The bytes it occupies.
    pub fn bytes(&self) -> usize {
        match self {
            ChunkRef::Array(members) => members.len() * 2,
            ChunkRef::Bitset { .. } => BITSET_BYTES,
            ChunkRef::Runs { runs, .. } => runs.len() * 4,
        }
    }

    /// True where `member` belongs to the set.
    pub fn contains(&self, member: u16) -> bool {
        match self {
            ChunkRef::Array(members) => members.binary_search(&member).is_ok(),
            ChunkRef::Bitset { words, .. } => words[usize::from(member / 64)] >> (member % 64) & 1 == 1,
            ChunkRef::Runs { runs, .. } => {
                let after = runs.partition_point(|run| run[0] <= member);
                after > 0 && member <= runs[after - 1][1]
            }
        }
    }
}

/// What is wrong with a section's bytes; the part adds file and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// The table of containers of a sets section, read in place. Opening it touches the header alone.
#[derive(Clone, Copy, Debug)]
pub struct SetsRef<'a> {
    codes: &'a [u32],
    offsets: &'a [u32],
    cardinalities: &'a [u16],
    kinds: &'a [u8],
    section: &'a [u8],
}

impl<'a> SetsRef<'a> {
    /// The table of a section. Cost: bounds checks.
    pub fn open(section: &'a [u8]) -> Result<SetsRef<'a>, Malformed> {
        let malformed = Malformed("a table of containers that fits its section");
        let count = match section.first_chunk::<4>() {
            Some(bytes) => u32::from_le_bytes(*bytes) as usize,
            None => return Err(malformed),
        };
        let table = section.get(8..8 + count.saturating_mul(CONTAINER_ENTRY_BYTES)).ok_or(malformed)?;
        let (codes, rest) = table.split_at(4 * count);
        let (offsets, rest) = rest.split_at(4 * count);
        let (cardinalities, kinds) = rest.split_at(2 * count);
        Ok(SetsRef {
            codes: <[u32]>::ref_from_bytes(codes).map_err(|_| malformed)?,
            offsets: <[u32]>::ref_from_bytes(offsets).map_err(|_| malformed)?,
            cardinalities: <[u16]>::ref_from_bytes(cardinalities).map_err(|_| malformed)?,
            kinds,
            section,
        })
    }

    /// The codes present in the chunk, ascending.
    pub fn codes(&self) -> &'a [u32] {
        self.codes
    }

    /// Bytes of the table itself.
    pub fn table_bytes(&self) -> usize {
        8 + self.codes.len() * CONTAINER_ENTRY_BYTES
    }

    /// Where `code` stands among the codes, if it is present.
    pub fn find(&self, code: u32) -> Option<usize> {
        // Codes are given in the order of arrival, so in most chunks every code up to the last is present, and is its
        // own index: one look instead of a search. Booleans, NULL sets and live sets have just code 0.
        if self.codes.get(code as usize) == Some(&code) {
            return Some(code as usize);
        }
        self.codes.binary_search(&code).ok()
    }

    /// Where those of some ascending codes stand that are present. Cost: a look or a search for each code, or for each code
    /// of the chunk if those are fewer.
    pub fn present<'c>(&self, codes: &'c [u32]) -> impl Iterator<Item = usize> + use<'a, 'c> {
        let sets = *self;
        let (few, many) = match codes.len() <= sets.codes.len() {
            true => (codes, [].as_slice()),
            false => ([].as_slice(), sets.codes),
        };
        let found = few.iter().filter_map(move |code| sets.find(*code));
        let kept = many.iter().enumerate().filter(|(_, code)| codes.binary_search(code).is_ok());
        found.chain(kept.map(|(index, _)| index))
    }

    /// Where the table most probably has a code's row (its code, offset and cardinality): for asking the cache for it
    /// ahead of [`Self::find`].
    pub fn row(&self, code: u32) -> Option<(&'a [u32], &'a [u32], &'a [u16])> {
        let at = (code as usize).min(self.codes.len());
        Some((self.codes.get(at..)?, self.offsets.get(at..)?, self.cardinalities.get(at..)?))
    }

    /// The cardinality of container `index` without touching it. Panics beyond the table.
    pub fn cardinality(&self, index: usize) -> u32 {
        u32::from(self.cardinalities[index]) + 1
    }

    /// Container `index`. Panics beyond the table.
    pub fn container(&self, index: usize) -> Result<ChunkRef<'a>, Malformed> {
        let cardinality = self.cardinality(index);
        let payload = self
            .section
            .get(self.offsets[index] as usize..)
            .ok_or(Malformed("a container offset within its section"))?;
        let outside = Malformed("a container that ends within its section");
        match ContainerKind::from_u8(self.kinds[index]).ok_or(Malformed("a known container kind"))? {
            ContainerKind::Array => {
                let bytes = payload.get(..2 * cardinality as usize).ok_or(outside)?;
                Ok(ChunkRef::Array(<[u16]>::ref_from_bytes(bytes).map_err(|_| outside)?))
            }
            ContainerKind::Bitset => {
                let bytes = payload.get(..BITSET_BYTES).ok_or(outside)?;
                Ok(ChunkRef::Bitset {
                    words: Words::ref_from_bytes(bytes).map_err(|_| outside)?,
                    cardinality,
                })
            }
            ContainerKind::Runs => {
                let count = payload.first_chunk::<2>().map(|b| u16::from_le_bytes(*b)).ok_or(outside)?;
                let bytes = payload.get(2..2 + 4 * usize::from(count)).ok_or(outside)?;
                Ok(ChunkRef::Runs {
                    runs: <[[u16; 2]]>::ref_from_bytes(bytes).map_err(|_| outside)?,
                    cardinality,
                })
            }
        }
    }

    /// The container of `code`; nobody where the code is absent.
    pub fn get(&self, code: u32) -> Result<ChunkRef<'a>, Malformed> {
        self.find(code).map_or(Ok(ChunkRef::EMPTY), |index| self.container(index))
    }
}

/// Builds a sets section.
#[derive(Debug, Default)]
pub struct SetsBuilder {
    entries: Vec<Entry>,
    bitsets: Vec<u8>,
    small: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    code: u32,
    offset: u32,
    cardinality: u32,
    kind: ContainerKind,
}

impl SetsBuilder {
    /// Adds the members of `code`: ascending, without duplicates. Codes must be added in ascending order; an empty
    /// set is passed over.
    pub fn push_members(&mut self, code: u32, members: &[u16]) {
        if members.is_empty() {
            return;
        }
        let runs = 1 + members.windows(2).filter(|pair| pair[1] - pair[0] > 1).count();
        match Self::kind_for(members.len(), runs) {
            ContainerKind::Array => {
                self.begin(code, members.len(), ContainerKind::Array);
                self.small.extend_from_slice(members.as_bytes());
            }
            ContainerKind::Runs => self.push_runs(code, members.len(), runs, members.iter().copied()),
            ContainerKind::Bitset => {
                let mut words = [0u64; BITSET_WORDS];
                members.iter().for_each(|m| words[usize::from(m / 64)] |= 1 << (m % 64));
                self.begin(code, members.len(), ContainerKind::Bitset);
                self.bitsets.extend_from_slice(words.as_bytes());
            }
        }
    }

    /// Adds the members of `code` given as a bitset; an empty one is passed over.
    pub fn push_words(&mut self, code: u32, words: &Words) {
        let cardinality: usize = words.iter().map(|w| w.count_ones() as usize).sum();
        if cardinality == 0 {
            return;
        }
        // A run starts at each set bit whose predecessor is clear.
        let (mut runs, mut carry) = (0, 0);
        for word in words {
            runs += (word & !(word << 1 | carry)).count_ones() as usize;
            carry = word >> 63;
        }
        match Self::kind_for(cardinality, runs) {
            ContainerKind::Array => {
                self.begin(code, cardinality, ContainerKind::Array);
                members_of(words).for_each(|m| self.small.extend_from_slice(&m.to_le_bytes()));
            }
            ContainerKind::Runs => self.push_runs(code, cardinality, runs, members_of(words)),
            ContainerKind::Bitset => {
                self.begin(code, cardinality, ContainerKind::Bitset);
                self.bitsets.extend_from_slice(words.as_bytes());
            }
        }
    }

    /// Arrays up to [`BITSET_MEMBERS_MIN`], then bitsets; runs where they take an eighth of either.
    fn kind_for(cardinality: usize, runs: usize) -> ContainerKind {
        let plain = if cardinality < BITSET_MEMBERS_MIN { 2 * cardinality } else { BITSET_BYTES };
        if (2 + 4 * runs) * 8 <= plain {
            ContainerKind::Runs
        } else if cardinality < BITSET_MEMBERS_MIN {
            ContainerKind::Array
        } else {
            ContainerKind::Bitset
        }
    }

    fn begin(&mut self, code: u32, cardinality: usize, kind: ContainerKind) {
        debug_assert!(self.entries.last().is_none_or(|last| last.code < code), "codes ascend");
        assert!(cardinality <= CHUNK_MEMBERS, "a chunk has {CHUNK_MEMBERS} members");
        let offset = if kind == ContainerKind::Bitset { self.bitsets.len() } else { self.small.len() };
        self.entries.push(Entry { code, offset: offset as u32, cardinality: cardinality as u32, kind });
    }

    fn push_runs(&mut self, code: u32, cardinality: usize, runs: usize, members: impl Iterator<Item = u16>) {
        self.begin(code, cardinality, ContainerKind::Runs);
        self.small.extend_from_slice(&(runs as u16).to_le_bytes());
        let mut open: Option<[u16; 2]> = None;
        for member in members {
            match &mut open {
                Some([_, last]) if *last + 1 == member => *last = member,
                _ => {
                    if let Some(run) = open {
                        self.small.extend_from_slice(run.as_bytes());
                    }
                    open = Some([member, member]);
                }
            }
        }
        if let Some(run) = open {
            self.small.extend_from_slice(run.as_bytes());
        }
    }

    /// True while nothing was added.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The section's bytes: the table, then bitsets (aligned), then arrays and runs.
    pub fn finish(self) -> Vec<u8> {
        let table = 8 + self.entries.len() * CONTAINER_ENTRY_BYTES;
        let bitsets_at = if self.bitsets.is_empty() {
            table.next_multiple_of(2)
        } else {
            table.next_multiple_of(SECTION_ALIGNMENT)
        };
        let small_at = bitsets_at + self.bitsets.len();
        let mut section = Vec::with_capacity(small_at + self.small.len());
        section.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        section.extend_from_slice(&[0; 4]);
        self.entries.iter().for_each(|e| section.extend_from_slice(&e.code.to_le_bytes()));
        for e in &self.entries {
            let base = if e.kind == ContainerKind::Bitset { bitsets_at } else { small_at };
            section.extend_from_slice(&(base as u32 + e.offset).to_le_bytes());
        }
        self.entries
            .iter()
            .for_each(|e| section.extend_from_slice(&((e.cardinality - 1) as u16).to_le_bytes()));
        self.entries.iter().for_each(|e| section.push(e.kind as u8));
        section.resize(bitsets_at, 0);
        section.extend_from_slice(&self.bitsets);
        section.extend_from_slice(&self.small);
        section
    }
}

/// The members of a bitset, ascending.
pub fn members_of(words: &Words) -> impl Iterator<Item = u16> + '_ {
    words.iter().enumerate().flat_map(|(index, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                (index * 64) as u16 + bit as u16
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Bytes;
    use proptest::prelude::*;

    fn members(set: ChunkRef<'_>) -> Vec<u16> {
        match set {
            ChunkRef::Array(members) => members.to_vec(),
            ChunkRef::Bitset { words, .. } => members_of(words).collect(),
            ChunkRef::Runs { runs, .. } => runs.iter().flat_map(|r| r[0]..=r[1]).collect(),
        }
    }

    fn round_trip(sets: &[(u32, Vec<u16>)]) {
        let (mut by_members, mut by_words) = (SetsBuilder::default(), SetsBuilder::default());
        for (code, set) in sets {
            by_members.push_members(*code, set);
            let mut words = [0u64; BITSET_WORDS];
            set.iter().for_each(|m| words[usize::from(m / 64)] |= 1 << (m % 64));
            by_words.push_words(*code, &words);
        }
        let section = by_members.finish();
        assert_eq!(section, by_words.finish(), "both ways of building agree");
        let bytes = Bytes::copied(&section);
        let table = SetsRef::open(&bytes).unwrap();
        for (code, set) in sets {
            let read = table.get(*code).unwrap();
            assert_eq!(read.cardinality() as usize, set.len());
            assert_eq!(&members(read), set);
            assert!(set.iter().all(|m| read.contains(*m)));
        }
        assert_eq!(table.get(u32::MAX).unwrap().cardinality(), 0);
        // More codes than the table has, and fewer.
        for step in [1, 17] {
            let codes: Vec<u32> = (0..60).step_by(step).collect();
            let all: Vec<usize> = codes.iter().filter_map(|code| table.find(*code)).collect();
            assert_eq!(table.present(&codes).collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn every_kind_at_its_boundaries() {
        for count in [0usize, 1, 1023, 1024, 1025, 4095, 4096, 4097, 32768] {
            round_trip(&[(7, (0..count).map(|m| (2 * m) as u16).collect())]);
        }
        round_trip(&[(0, (0..=65_535).collect()), (3, (0..65_535).collect()), (9, vec![65_535])]);
    }

    proptest! {
        #[test]
        fn any_sets_come_back(sets in proptest::collection::btree_map(0u32..50, proptest::collection::btree_set(any::<u16>(), 0..3000), 0..6)) {
            round_trip(&sets.into_iter().map(|(code, set)| (code, set.into_iter().collect())).collect::<Vec<_>>());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::copied(&bytes);
            if let Ok(table) = SetsRef::open(&bytes) {
                for index in 0..table.codes().len() {
                    let _ = table.container(index).map(|c| c.contains(9));
                }
            }
        }
    }
}
