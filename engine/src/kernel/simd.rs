//! Each kernel compiled for AVX2 beside the baseline, and picked at run time.
//!
//! The bodies are the safe functions of the sibling modules, inlined under wider target features; nothing here touches
//! a pointer but the prefetch. One of the files where `unsafe` may be.
#![allow(unsafe_code)]

use super::array;
use super::bitset::{self, Operand};
use muster_storage::chunk::Words;

macro_rules! dispatch {
    ($($(#[$doc:meta])* $name:ident = $source:path, ($($arg:ident : $type:ty),*) $(-> $out:ty)?;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub fn $name($($arg: $type),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,popcnt,bmi1,bmi2,lzcnt")]
                fn wide($($arg: $type),*) $(-> $out)? {
                    $source($($arg),*)
                }
                if wide_available() {
                    // SAFETY: `wide` is a safe function whose only demand is that the processor has the features it
                    // was compiled for, and `wide_available` has just read each of them from the processor.
                    return unsafe { wide($($arg),*) };
                }
            }
            $source($($arg),*)
        }
    )*};
}

dispatch! {
    /// The cardinality of the intersection of all operands.
    intersection_count = bitset::intersection_count, (operands: &[Operand<'_>]) -> u32;
    /// Writes the intersection of all operands; returns its cardinality.
    intersection_into = bitset::intersection_into, (operands: &[Operand<'_>], out: &mut Words) -> u32;
    /// The cardinality of `a AND b`.
    pair_count = bitset::pair_count, (a: Operand<'_>, b: Operand<'_>) -> u32;
    /// The cardinality of `a AND b AND c`.
    triple_count = bitset::triple_count, (a: Operand<'_>, b: Operand<'_>, c: Operand<'_>) -> u32;
    /// Adds the members of `words` to `out`.
    union_into = bitset::union_into, (words: &Words, out: &mut Words);
    /// Writes the members of `a` that are not in `b`.
    difference_into = bitset::difference_into, (a: &Words, b: &Words, out: &mut Words);
    /// Writes everybody who is not in `words`.
    complement_into = bitset::complement_into, (words: &Words, out: &mut Words);
    /// Appends the members of a bitset, ascending.
    decode_members = array::decode_members, (words: &Words, cardinality: u32, out: &mut Vec<u16>);
    /// The number of members.
    cardinality = bitset::cardinality, (words: &Words) -> u32;
    /// Sets or clears the bits of `members`.
    set_members = bitset::set_members, (out: &mut Words, members: &[u16], value: bool);
    /// Sets the bits `first..=last`.
    set_run = bitset::set_run, (out: &mut Words, first: u16, last: u16);
    /// How many of `members` the set has.
    count_members = bitset::count_members, (words: &Words, members: &[u16]) -> u32;
    /// Keeps those of `members` that are in the set, or with `negated` those that are not.
    retain_members = array::retain_members, (members: &mut Vec<u16>, words: &Words, negated: bool);
}

/// Asks the cache for the line of `slice[index]`; nothing happens beyond the end.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(element) = slice.get(index) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults and never changes memory, and the pointer is that of a live element.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(element).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, index);
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn wide_available() -> bool {
    // Each macro call is one relaxed load of a cached word after the first.
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words() -> impl Strategy<Value = Box<Words>> {
        (any::<u64>(), 0u32..4).prop_map(|(seed, density)| {
            let mut state = seed | 1;
            let mut next = move || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            Box::new(std::array::from_fn(|_| (0..density).fold(next(), |word, _| word & next())))
        })
    }

    proptest! {
        #[test]
        fn dispatched_kernels_equal_their_twins(sets in proptest::collection::vec((words(), any::<bool>()), 3..6), members in proptest::collection::vec(any::<u16>(), 0..300)) {
            let operands: Vec<Operand<'_>> = sets.iter().map(|(words, negated)| Operand { words, negated: *negated }).collect();
            prop_assert_eq!(intersection_count(&operands), bitset::intersection_count(&operands));
            let naive = (0..=u16::MAX).filter(|m| sets.iter().all(|(w, n)| (w[usize::from(m / 64)] >> (m % 64) & 1 == 1) != *n)).count();
            prop_assert_eq!(intersection_count(&operands) as usize, naive);
            let mut out = [0; 1024];
            prop_assert_eq!(intersection_into(&operands, &mut out) as usize, naive);
            prop_assert_eq!(cardinality(&out) as usize, naive);
            prop_assert_eq!(pair_count(operands[0], operands[1]), intersection_count(&operands[..2]));
            prop_assert_eq!(triple_count(operands[0], operands[1], operands[2]), intersection_count(&operands[..3]));
            let mut kept = members.clone();
            retain_members(&mut kept, &sets[0].0, sets[0].1);
            let has = |m: &u16| sets[0].0[usize::from(m / 64)] >> (m % 64) & 1 == 1;
            prop_assert_eq!(&kept, &members.iter().copied().filter(|m| has(m) != sets[0].1).collect::<Vec<_>>());
            prop_assert_eq!(count_members(&sets[0].0, &members) as usize, members.iter().filter(|m| has(m)).count());
            let mut changed = sets[1].0.clone();
            set_members(&mut changed, &members, true);
            prop_assert_eq!(count_members(&changed, &members) as usize, members.len());
            set_members(&mut changed, &members, false);
            prop_assert_eq!(count_members(&changed, &members), 0);
        }

        #[test]
        fn runs_set_exactly_their_members(a in any::<u16>(), b in any::<u16>()) {
            let mut words = [0; 1024];
            set_run(&mut words, a.min(b), a.max(b));
            prop_assert!(muster_storage::chunk::members_of(&words).eq(a.min(b)..=a.max(b)));
        }
    }
}
