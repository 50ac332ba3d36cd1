//! Bitsets of one chunk: 1,024 words, 8 KiB, four of them in an L1 cache.

use super::simd::prefetch;
use muster_storage::chunk::Words;
use muster_storage::format::BITSET_WORDS;

/// One side of an intersection: the union of some sets, or its complement.
#[derive(Clone, Copy)]
pub struct Operand<'a> {
    /// The sets.
    pub sets: &'a [&'a Words],
    /// True where everybody else is meant.
    pub negated: bool,
}

/// Words combined at a time: what stays in the registers of AVX2 beside one operand.
const BLOCK: usize = 32;

/// The cardinality of the intersection of all operands, in one pass that writes nothing.
#[inline(always)]
pub(super) fn intersection_count(operands: &[Operand<'_>]) -> u32 {
    let mut count = 0;
    for block in 0..BITSET_WORDS / BLOCK {
        count += block_of(operands, block).iter().map(|w| w.count_ones()).sum::<u32>();
    }
    count
}

/// Writes the intersection of all operands to `out`; returns its cardinality.
#[inline(always)]
pub(super) fn intersection_into(operands: &[Operand<'_>], out: &mut Words) -> u32 {
    let mut count = 0;
    for block in 0..BITSET_WORDS / BLOCK {
        let words = block_of(operands, block);
        count += words.iter().map(|w| w.count_ones()).sum::<u32>();
        out[block * BLOCK..(block + 1) * BLOCK].copy_from_slice(&words);
    }
    count
}

/// How many blocks ahead of its use a set's words are asked of the cache.
const BLOCKS_AHEAD: usize = 4;

#[inline(always)]
fn block_of(operands: &[Operand<'_>], block: usize) -> [u64; BLOCK] {
    let mut result = [u64::MAX; BLOCK];
    for operand in operands {
        let flip = if operand.negated { u64::MAX } else { 0 };
        let mut union = [0; BLOCK];
        for set in operand.sets {
            let words = &set[block * BLOCK..(block + 1) * BLOCK];
            if block + BLOCKS_AHEAD < BITSET_WORDS / BLOCK {
                let ahead = &set[(block + BLOCKS_AHEAD) * BLOCK..(block + BLOCKS_AHEAD + 1) * BLOCK];
                (0..BLOCK).step_by(8).for_each(|word| prefetch(ahead, word));
            }
            union.iter_mut().zip(words).for_each(|(u, w)| *u |= w);
        }
        result.iter_mut().zip(&union).for_each(|(r, u)| *r &= u ^ flip);
    }
    result
}

/// Words of a set that meet those of all others before the next are looked at: so many of twenty sets fit the L1 cache.
pub(super) const PAIR_BLOCK: usize = 128;

/// Numbers whose sum is the count of a pair's members: how much each of them has of it is of no meaning.
pub type Lanes = [u64; 8];

/// Adds to `pairs` the cardinality of the intersection of each two sets: of i with j < i at `i × (i − 1) / 2 + j`, where i
/// and j are the numbers that stand beside the sets, ascending.
///
#[inline(always)]
pub(super) fn pair_counts(sets: &[(usize, &Words)], pairs: &mut [Lanes]) {
    for block in (0..BITSET_WORDS).step_by(PAIR_BLOCK) {
        for (at, (high, set)) in sets.iter().enumerate() {
            let row = high * high.saturating_sub(1) / 2;
            let Some(a) = set[block..].first_chunk::<PAIR_BLOCK>() else { return };
            for (low, other) in &sets[..at] {
                let Some(b) = other[block..].first_chunk::<PAIR_BLOCK>() else { return };
                pairs[row + low][0] +=
                    a.iter().zip(b).map(|(a, b)| u64::from((a & b).count_ones())).sum::<u64>();
            }
        }
    }
}

/// Adds the members of `words` to `out`.
#[inline(always)]
pub(super) fn union_into(words: &Words, out: &mut Words) {
    out.iter_mut().zip(words).for_each(|(o, w)| *o |= w);
}

/// Writes the members of `a` that are not in `b`.
#[inline(always)]
pub(super) fn difference_into(a: &Words, b: &Words, out: &mut Words) {
    for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
        *o = a & !b;
    }
}

/// Writes everybody who is not in `words`.
#[inline(always)]
pub(super) fn complement_into(words: &Words, out: &mut Words) {
    out.iter_mut().zip(words).for_each(|(o, w)| *o = !w);
}

/// The number of members.
#[inline(always)]
pub(super) fn cardinality(words: &Words) -> u32 {
    words.iter().map(|w| w.count_ones()).sum()
}

/// Sets (or clears) the bits of `members`. Duplicates are harmless.
#[inline(always)]
pub(super) fn set_members(out: &mut Words, members: &[u16], value: bool) {
    if value {
        members.iter().for_each(|m| out[usize::from(m >> 6)] |= 1 << (m & 63));
    } else {
        members.iter().for_each(|m| out[usize::from(m >> 6)] &= !(1 << (m & 63)));
    }
}

/// Sets the bits `first..=last`.
#[inline(always)]
pub(super) fn set_run(out: &mut Words, first: u16, last: u16) {
    let (low, high) = (usize::from(first >> 6), usize::from(last >> 6));
    let (from, to) = (u64::MAX << (first & 63), u64::MAX >> (63 - (last & 63)));
    if low == high {
        out[low] |= from & to;
    } else {
        out[low] |= from;
        out[low + 1..high].fill(u64::MAX);
        out[high] |= to;
    }
}

/// The bits that word `index` of a set of the first `rows` members has.
#[inline]
pub fn first_bits(rows: usize, index: usize) -> u64 {
    match rows.saturating_sub(index * 64) {
        0 => 0,
        few @ 1..64 => u64::MAX >> (64 - few),
        _ => u64::MAX,
    }
}

/// True where the set has the member.
#[inline(always)]
pub fn has(words: &Words, member: u16) -> bool {
    words[usize::from(member >> 6)] >> (member & 63) & 1 == 1
}

/// Writes a bit for each member: whether the set has it. Words beyond are 0.
#[inline(always)]
pub(super) fn has_each(words: &Words, members: &[u16], out: &mut [u64]) {
    let mut members = members.chunks(64);
    for word in out {
        let some = members.next().unwrap_or(&[]);
        *word = (0..).zip(some).fold(0, |word, (at, member)| word | u64::from(has(words, *member)) << at);
    }
}

/// How many of `members` the set has.
#[inline(always)]
pub(super) fn count_members(words: &Words, members: &[u16]) -> u32 {
    members.iter().map(|m| (words[usize::from(m >> 6)] >> (m & 63) & 1) as u32).sum()
}
