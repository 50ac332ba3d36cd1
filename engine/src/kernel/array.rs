//! Sorted members and sampled values.

use muster_storage::chunk::Words;

/// Appends the members of a bitset to `out`, ascending.
///
/// Writes four members a step whether they are there or not and moves on by the true count: the branch predictor sees
/// one branch per word instead of one per member.
#[inline(always)]
pub(super) fn decode_members(words: &Words, cardinality: u32, out: &mut Vec<u16>) {
    let start = out.len();
    out.resize(start + cardinality as usize + 64, 0);
    let mut at = start;
    for (index, word) in words.iter().enumerate() {
        let (mut rest, base) = (*word, (index as u16) << 6);
        let count = rest.count_ones() as usize;
        let slots = &mut out[at..at + 64];
        let mut slot = 0;
        while slot < count {
            for step in &mut slots[slot..(slot + 4).min(64)] {
                *step = base + (rest.trailing_zeros() as u16 & 63);
                rest &= rest.wrapping_sub(1);
            }
            slot += 4;
        }
        at += count;
    }
    out.truncate(at);
}

/// Keeps those of `members` that are in the set (or, `negated`, those that are not), in place.
#[inline(always)]
pub(super) fn retain_members(members: &mut Vec<u16>, words: &Words, negated: bool) {
    let flip = u64::from(negated);
    let mut kept = 0;
    for i in 0..members.len() {
        let member = members[i];
        members[kept] = member;
        kept += ((words[usize::from(member >> 6)] >> (member & 63) & 1) ^ flip) as usize;
    }
    members.truncate(kept);
}

/// How many of an ascending slice are below `bound`.
pub fn count_below<T: Copy + Ord>(ascending: &[T], bound: T) -> usize {
    ascending.partition_point(|value| *value < bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoding_gives_every_member(set in proptest::collection::btree_set(any::<u16>(), 0..5000), dense in any::<bool>()) {
            let mut words = [if dense { u64::MAX } else { 0 }; 1024];
            set.iter().for_each(|m| words[usize::from(m / 64)] |= 1 << (m % 64));
            let mut decoded = vec![7];
            let cardinality = words.iter().map(|w| w.count_ones()).sum();
            decode_members(&words, cardinality, &mut decoded);
            let expected: Vec<u16> = std::iter::once(7).chain(muster_storage::chunk::members_of(&words)).collect();
            prop_assert_eq!(decoded, expected);
        }
    }
}
