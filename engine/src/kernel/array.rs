//! Sorted members and sampled values.

use super::bitset::Operand;
use crate::calendar;
use muster_storage::chunk::Words;
use muster_storage::format::BITSET_WORDS;

/// Up to this many members, most words of a bitset are empty.
pub(super) const SPARSE_MEMBERS_MAX: u32 = 1_024;

/// Up to this many members, most words have no more than [`AT_ONCE`].
pub(super) const THIN_MEMBERS_MAX: u32 = 4_096;
const MICROS_PER_SECOND: u64 = calendar::MICROS_PER_SECOND as u64;

/// How often two divides a million.
const TWOS_OF_MILLION: u32 = MICROS_PER_SECOND.trailing_zeros();

/// What the rest of it, which is odd, has to be multiplied by to be 1 in 64 bits: each step doubles the bits that are right.
const INVERSE_OF_ODD: u64 = {
    let odd = MICROS_PER_SECOND >> TWOS_OF_MILLION;
    let (mut inverse, mut bits) = (odd, 3);
    while bits < u64::BITS {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
};

/// So many times are looked at before it is asked whether all were whole seconds.
const SECONDS_AT_ONCE: usize = 1_024;

/// Members of a word that are written whether they are there or not.
const AT_ONCE: usize = 4;

/// Marks the codes from `low` to `high`; other marks stay.
#[inline(always)]
pub(super) fn mark_within(codes: &[i64], low: i64, high: i64, marks: &mut [bool]) {
    if low > high {
        return;
    }
    // One unsigned comparison: code − low ≤ high − low.
    let span = high.wrapping_sub(low) as u64;
    for (mark, code) in marks.iter_mut().zip(codes) {
        *mark |= code.wrapping_sub(low) as u64 <= span;
    }
}

/// The least and the greatest of the codes that are not NULL; where all are, what is greater and less than any other.
#[inline(always)]
pub(super) fn bounds_of(codes: &[i64], nulls: Option<&[bool]>) -> (i64, i64) {
    let (mut low, mut high) = (i64::MAX, i64::MIN);
    match nulls {
        None => codes.iter().for_each(|code| (low, high) = (low.min(*code), high.max(*code))),
        // Which are NULL cannot be foreseen: nothing is jumped over.
        Some(nulls) => codes.iter().zip(nulls).for_each(|(code, null)| {
            let null = i64::from(*null).wrapping_neg();
            low = low.min(code & !null | i64::MAX & null);
            high = high.max(code & !null | i64::MIN & null);
        }),
    }
    (low, high)
}

/// Writes how far each code is from `low`, 0 where it is NULL.
#[inline(always)]
pub(super) fn distances(codes: &[i64], nulls: Option<&[bool]>, low: i64, out: &mut [u64]) {
    let distance = |code: &i64| code.wrapping_sub(low) as u64;
    match nulls {
        None => out.iter_mut().zip(codes).for_each(|(out, code)| *out = distance(code)),
        Some(nulls) => (out.iter_mut().zip(codes).zip(nulls))
            .for_each(|((out, code), null)| *out = distance(code) & u64::from(*null).wrapping_sub(1)),
    }
}

/// Divides microseconds by a million where all are whole seconds; false, and nothing done, elsewhere.
#[inline(always)]
pub(super) fn whole_seconds(micros: &mut [u64]) -> bool {
    let whole = |some: &[u64]| some.iter().fold(true, |all, one| all & one.is_multiple_of(MICROS_PER_SECOND));
    if !micros.chunks(SECONDS_AT_ONCE).all(whole) {
        return false;
    }
    // Nothing is left over: the odd part of the million is divided by with its inverse.
    micros.iter_mut().for_each(|one| *one = one.wrapping_mul(INVERSE_OF_ODD) >> TWOS_OF_MILLION);
    true
}

macro_rules! within {
    ($($name:ident of $type:ty as $unsigned:ty;)*) => {$(
        /// Writes a bit for each value: whether it lies from `low` to `high`, which is not below it. Words beyond are 0.
        #[inline(always)]
        pub(super) fn $name(values: &[$type], low: $type, high: $type, out: &mut [u64]) {
            // One unsigned comparison: value − low ≤ high − low.
            let span = high.wrapping_sub(low) as $unsigned;
            let mut values = values.chunks(64);
            for word in out {
                let some = values.next().unwrap_or(&[]);
                let bit = |value: &$type| u64::from(value.wrapping_sub(low) as $unsigned <= span);
                *word = (0..).zip(some).fold(0, |word, (row, value)| word | bit(value) << row);
            }
        }
    )*};
}

within! {
    within_u8 of u8 as u8;
    within_u16 of u16 as u16;
    within_u32 of u32 as u32;
    within_i64 of i64 as u64;
}

macro_rules! drain {
    ($($name:ident of $type:ty;)*) => {$(
        /// Writes a bit for each count, as [`within_u8`] does (none where `high` is below `low`), leaves 0 in its place, and returns
        /// the sum of all.
        #[inline(always)]
        pub(super) fn $name(counts: &mut [$type], low: $type, high: $type, out: &mut [u64]) -> u64 {
            let mut sum = 0;
            let mut counts = counts.chunks_mut(64);
            for word in out {
                *word = 0;
                for (place, count) in counts.next().unwrap_or_default().iter_mut().enumerate() {
                    let count = std::mem::take(count);
                    sum += u64::from(count);
                    *word |= u64::from((low <= count) & (count <= high)) << place;
                }
            }
            sum
        }
    )*};
}

drain! {
    drain_u8 of u8;
    drain_u32 of u32;
}

macro_rules! select {
    ($($name:ident of $type:ty;)*) => {$(
        /// Appends the values whose bits are set.
        #[inline(always)]
        pub(super) fn $name(values: &[$type], selected: &[u64], out: &mut Vec<$type>) {
            for (word, values) in selected.iter().zip(values.chunks(64)) {
                let mut rest = *word;
                while rest != 0 {
                    out.extend(values.get(rest.trailing_zeros() as usize));
                    rest &= rest - 1;
                }
            }
        }
    )*};
}

select! {
    select_u16 of u16;
    select_u32 of u32;
}

/// Truths in a step.
const STEP: usize = 8;

/// Eight truths that differ are 1 in their bytes.
#[inline(always)]
fn differences(a: &[bool; STEP], b: &[bool; STEP]) -> u64 {
    u64::from_le_bytes(a.map(u8::from)) ^ u64::from_le_bytes(b.map(u8::from))
}

/// Appends the places, ascending, where two lists of truths differ; at most 65,536 are compared.
///
/// Steps without a difference take hardly more than being read; in the others all places are written, and kept by the count.
#[inline(always)]
pub(super) fn differing(a: &[bool], b: &[bool], out: &mut Vec<u16>) {
    let length = a.len().min(b.len()).min(1 << 16);
    let ((a, ends_of_a), (b, ends_of_b)) = (a[..length].as_chunks::<STEP>(), b[..length].as_chunks::<STEP>());
    let mut end = out.len();
    out.resize(end + length, 0);
    for (step, (a, b)) in a.iter().zip(b).enumerate() {
        let differences = differences(a, b);
        if differences == 0 {
            continue;
        }
        let Some(slots) = out.get_mut(end..).and_then(|slots| slots.first_chunk_mut::<STEP>()) else { break };
        let mut kept = 0;
        for within in 0..STEP {
            slots[kept & (STEP - 1)] = (STEP * step + within) as u16;
            kept += (differences >> (8 * within) & 1) as usize;
        }
        end += kept;
    }
    out.truncate(end);
    let ends = ends_of_a.iter().zip(ends_of_b).zip(STEP * a.len()..);
    out.extend(ends.filter(|((a, b), _)| a != b).map(|(_, place)| place as u16));
}

/// Turns the bits of those `members`, which are distinct, of whom two truths differ.
#[inline(always)]
pub(super) fn turn_members(out: &mut Words, members: &[u16], a: &[bool], b: &[bool]) {
    let length = members.len().min(a.len()).min(b.len());
    let (steps, ends) = members[..length].as_chunks::<STEP>();
    let ((a, ends_of_a), (b, ends_of_b)) = (a[..length].as_chunks::<STEP>(), b[..length].as_chunks::<STEP>());
    for (members, (a, b)) in steps.iter().zip(a.iter().zip(b)) {
        let differences = differences(a, b);
        if differences == 0 {
            continue;
        }
        for (within, member) in members.iter().enumerate() {
            out[usize::from(member >> 6)] ^= (differences >> (8 * within) & 1) << (member & 63);
        }
    }
    for (member, (a, b)) in ends.iter().zip(ends_of_a.iter().zip(ends_of_b)) {
        out[usize::from(member >> 6)] ^= u64::from(a != b) << (member & 63);
    }
}

/// Appends the members of a bitset to `out`, ascending.
#[inline(always)]
pub(super) fn decode_members(words: &Words, cardinality: u32, out: &mut Vec<u16>) {
    if cardinality <= SPARSE_MEMBERS_MAX {
        decode_sparse(words, cardinality, out);
    } else {
        decode_thin(words, cardinality, out);
    }
}

/// The words that are not empty are found without a branch; a branch a word would be mispredicted for each of them.
#[inline(always)]
pub(super) fn decode_sparse(words: &Words, cardinality: u32, out: &mut Vec<u16>) {
    let mut occupied = [0u16; BITSET_WORDS + 1];
    let mut count = 0;
    for (index, word) in words.iter().enumerate() {
        occupied[count.min(BITSET_WORDS)] = index as u16;
        count += usize::from(*word != 0);
    }
    out.reserve(cardinality as usize);
    for index in &occupied[..count] {
        let (mut rest, base) = (words[usize::from(*index)], index << 6);
        while rest != 0 {
            out.push(base + rest.trailing_zeros() as u16);
            rest &= rest - 1;
        }
    }
}

/// Writes four members of a word whether they are there or not and moves on by the true count: the branch predictor
/// sees one branch per word instead of one per member, and it is rarely taken.
#[inline(always)]
pub(super) fn decode_thin(words: &Words, cardinality: u32, out: &mut Vec<u16>) {
    const WORD: usize = u64::BITS as usize;
    let mut at = out.len();
    out.resize(at + cardinality as usize + WORD, 0);
    for (index, word) in words.iter().enumerate() {
        let (mut rest, base) = (*word, (index as u16) << 6);
        let count = rest.count_ones() as usize;
        let Some(slots) = out.get_mut(at..).and_then(|slots| slots.first_chunk_mut::<WORD>()) else { break };
        for slot in &mut slots[..AT_ONCE] {
            *slot = base.wrapping_add(rest.trailing_zeros() as u16);
            rest &= rest.wrapping_sub(1);
        }
        for slot in &mut slots[AT_ONCE.min(count)..count] {
            *slot = base + rest.trailing_zeros() as u16;
            rest &= rest.wrapping_sub(1);
        }
        at += count;
    }
    out.truncate(at);
}

/// Slices that [`cells_of`] looks at.
pub(super) const CELL_SLICES_MAX: usize = 8;

/// Appends a number for each member of a bitset, ascending: bit k of it says whether `slices[k]` has the member.
#[inline(always)]
pub(super) fn cells_of(members: &Words, slices: &[&Words], out: &mut Vec<u16>) {
    let slices = &slices[..slices.len().min(CELL_SLICES_MAX)];
    for (index, word) in members.iter().enumerate() {
        let mut rest = *word;
        while rest != 0 {
            let place = rest.trailing_zeros();
            let bit = |(bit, slice): (usize, &&Words)| ((slice[index] >> place & 1) as u16) << bit;
            out.push(slices.iter().enumerate().map(bit).sum());
            rest &= rest - 1;
        }
    }
}

/// Keeps those of `members` that satisfy the operand, in place.
#[inline(always)]
pub(super) fn retain_members(members: &mut Vec<u16>, operand: Operand<'_>) {
    let flip = u64::from(operand.negated);
    let mut kept = 0;
    for i in 0..members.len() {
        let member = members[i];
        members[kept] = member;
        let word = operand.sets.iter().fold(0, |word, set| word | set[usize::from(member >> 6)]);
        kept += ((word >> (member & 63) & 1) ^ flip) as usize;
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
