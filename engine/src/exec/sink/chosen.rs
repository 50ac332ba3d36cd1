//! Members chunk by chunk, as they are found: for who asks of one after another whether it is among them.

use super::{Found, Sink};
use crate::Result;
use crate::control::Held;
use crate::kernel;
use crate::table::TableState;
use muster_storage::chunk::Words;
use muster_storage::format::BITSET_WORDS;
use std::borrow::Cow;

/// The members as [`Chosen`].
pub(crate) struct Choose;

/// Some members of a table.
#[derive(Default)]
pub(crate) struct Chosen {
    /// Those of the chunks that have some, which ascend.
    chunks: Vec<(u32, OfChunk)>,
    count: u64,
}

/// Members of a chunk: a bitset, or where it was found as a list, that.
enum OfChunk {
    Words(Box<Words>),
    Listed(Vec<u16>),
}

impl Chosen {
    /// How many.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// True where an ordinal is among them.
    pub(crate) fn contains(&self, ordinal: u32) -> bool {
        let low = ordinal as u16;
        self.of(ordinal >> 16).is_some_and(|members| match members {
            OfChunk::Words(words) => kernel::has(words, low),
            OfChunk::Listed(members) => members.binary_search(&low).is_ok(),
        })
    }

    /// Those of a chunk as a bitset; `None` where it has none.
    pub(crate) fn words(&self, chunk: u32) -> Option<Cow<'_, Words>> {
        self.of(chunk).map(|members| match members {
            OfChunk::Words(words) => Cow::Borrowed(&**words),
            OfChunk::Listed(members) => Cow::Owned(Found::Members(members).words().into_owned()),
        })
    }

    fn of(&self, chunk: u32) -> Option<&OfChunk> {
        let place = self.chunks.binary_search_by_key(&chunk, |(chunk, _)| *chunk);
        place.ok().map(|place| &self.chunks[place].1)
    }
}

impl Sink for Choose {
    type Reader<'a> = ();
    /// The members, and the bytes that they take.
    type Partial = (Chosen, usize);
    type Output = Chosen;

    fn open(&self, _: &TableState) -> Result<()> {
        Ok(())
    }

    fn begin(&self) -> (Chosen, usize) {
        (Chosen::default(), 0)
    }

    fn take(
        &self,
        (): &(),
        (partial, bytes): &mut (Chosen, usize),
        chunk: u32,
        found: Found<'_>,
        held: &mut Held,
    ) -> Result<u64> {
        let count = found.cardinality();
        if count > 0 {
            let members = match found {
                Found::Members(members) => OfChunk::Listed(members.to_vec()),
                found => OfChunk::Words(Box::new(found.words().into_owned())),
            };
            *bytes += size_of::<(u32, OfChunk)>()
                + match &members {
                    OfChunk::Words(_) => 8 * BITSET_WORDS,
                    OfChunk::Listed(members) => 2 * members.capacity(),
                };
            partial.count += count as u64;
            partial.chunks.push((chunk, members));
            held.set(*bytes)?;
        }
        Ok(0)
    }

    fn merge(&self, into: &mut (Chosen, usize), from: (Chosen, usize)) {
        into.0.count += from.0.count;
        into.0.chunks.extend(from.0.chunks);
        into.1 += from.1;
    }

    fn finish(&self, (): &(), (mut chosen, _): (Chosen, usize), _: &mut Held) -> Result<Chosen> {
        chosen.chunks.sort_unstable_by_key(|(chunk, _)| *chunk);
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Cancel;

    #[test]
    fn members_are_those_that_were_found() {
        let (mut first, mut second) = (Choose.begin(), Choose.begin());
        let mut held = Cancel::default().holder("members");
        let mut words = [0; BITSET_WORDS];
        kernel::set_members(&mut words, &[3, 70, 65_535], true);
        Choose.take(&(), &mut first, 4, Found::Words(&words, 3), &mut held).unwrap();
        Choose.take(&(), &mut first, 5, Found::Members(&[]), &mut held).unwrap();
        Choose.take(&(), &mut second, 1, Found::Members(&[0, 9]), &mut held).unwrap();
        Choose.take(&(), &mut second, 2, Found::Everyone(65), &mut held).unwrap();
        Choose.merge(&mut first, second);
        let chosen = Choose.finish(&(), first, &mut held).unwrap();
        assert_eq!((chosen.len(), chosen.is_empty()), (70, false));
        let all = [0x1_0000, 0x1_0009, 0x2_0000, 0x2_0040, 0x4_0003, 0x4_0046, 0x4_ffff];
        assert!(all.into_iter().all(|ordinal| chosen.contains(ordinal)));
        assert!(
            [0, 0x1_0001, 0x2_0041, 0x4_0004, 0x5_0000].into_iter().all(|ordinal| !chosen.contains(ordinal))
        );
        assert_eq!(chosen.words(4).as_deref(), Some(&words));
        assert_eq!(chosen.words(1).map(|words| words[0]), Some(1 | 1 << 9));
        assert_eq!(chosen.words(2).map(|words| (words[0], words[1], words[2])), Some((u64::MAX, 1, 0)));
        assert!(chosen.words(3).is_none() && chosen.words(5).is_none());
    }
}
