//! Each kernel compiled for AVX2 and AVX-512 beside the baseline, and picked at run time.
//!
//! The bodies are the safe functions of the sibling modules, inlined under wider target features. Two things here touch
//! a pointer: the prefetch, and the kernels whose vector form the compiler does not find. One of the files where
//! `unsafe` may be.
#![allow(unsafe_code)]

use super::array;
use super::bitset::{self, Lanes, Operand};
use muster_storage::chunk::Words;
use muster_storage::format::BITSET_WORDS;

/// What the processor can do, as far as the kernels are compiled for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// What every processor of the target has.
    Baseline,
    /// AVX2 and the bit manipulations that came with it (Haswell, Zen).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with population counts and compression of 16-bit lanes (Ice Lake, Zen 4).
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// The processor's level, read once.
#[inline(always)]
fn level() -> Level {
    #[cfg(test)]
    if let Some(forced) = tests::FORCED.get() {
        return forced;
    }
    static LEVEL: std::sync::LazyLock<Level> = std::sync::LazyLock::new(available);
    *LEVEL
}

fn available() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vpopcntdq")
            && is_x86_feature_detected!("avx512vbmi2");
        match (avx2, avx512) {
            (true, true) => return Level::Avx512,
            (true, false) => return Level::Avx2,
            (false, _) => {}
        }
    }
    Level::Baseline
}

macro_rules! dispatch {
    (@widest $source:path) => { $source };
    (@widest $source:path, $widest:path) => { $widest };
    ($($(#[$doc:meta])* $name:ident = $source:path $(, in AVX-512 $widest:path)?;
        ($($arg:ident : $type:ty),*) $(-> $out:ty)?;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub fn $name($($arg: $type),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,popcnt,bmi1,bmi2,lzcnt")]
                fn wide($($arg: $type),*) $(-> $out)? {
                    $source($($arg),*)
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx512vbmi2")]
                #[target_feature(enable = "avx2,popcnt,bmi1,bmi2,lzcnt")]
                fn widest($($arg: $type),*) $(-> $out)? {
                    dispatch!(@widest $source $(, $widest)?)($($arg),*)
                }
                match level() {
                    // SAFETY: `widest` is a safe function whose only demand is that the processor has the features it was
                    // compiled for, and `level` says so only after `available` has read each of them from the processor.
                    Level::Avx512 => return unsafe { widest($($arg),*) },
                    // SAFETY: the same of `wide` and its features.
                    Level::Avx2 => return unsafe { wide($($arg),*) },
                    Level::Baseline => {}
                }
            }
            $source($($arg),*)
        }
    )*};
}

dispatch! {
    /// The cardinality of the intersection of all operands.
    intersection_count = bitset::intersection_count; (operands: &[Operand<'_>]) -> u32;
    /// Adds to `pairs` the cardinality of the intersection of each two sets: of i with j < i at `i × (i − 1) / 2 + j`, where i
    /// and j are the numbers that stand beside the sets, ascending.
    pair_counts = bitset::pair_counts, in AVX-512 pair_lanes; (sets: &[(usize, &Words)], pairs: &mut [Lanes]);
    /// Writes the intersection of all operands; returns its cardinality.
    intersection_into = bitset::intersection_into; (operands: &[Operand<'_>], out: &mut Words) -> u32;
    /// Adds the members of `words` to `out`.
    union_into = bitset::union_into; (words: &Words, out: &mut Words);
    /// Writes the members of `a` that are not in `b`.
    difference_into = bitset::difference_into; (a: &Words, b: &Words, out: &mut Words);
    /// Writes everybody who is not in `words`.
    complement_into = bitset::complement_into; (words: &Words, out: &mut Words);
    /// Appends the members of a bitset, ascending.
    decode_members = array::decode_members, in AVX-512 decode_compressed; (words: &Words, cardinality: u32, out: &mut Vec<u16>);
    /// The number of members.
    cardinality = bitset::cardinality; (words: &Words) -> u32;
    /// Sets or clears the bits of `members`.
    set_members = bitset::set_members; (out: &mut Words, members: &[u16], value: bool);
    /// Sets the bits `first..=last`.
    set_run = bitset::set_run; (out: &mut Words, first: u16, last: u16);
    /// How many of `members` the set has.
    count_members = bitset::count_members; (words: &Words, members: &[u16]) -> u32;
    /// Writes a bit for each member: whether the set has it. Words beyond are 0.
    has_each = bitset::has_each, in AVX-512 has_each_gathered; (words: &Words, members: &[u16], out: &mut [u64]);
    /// Appends a number for each member, ascending: bit k of it says whether `slices[k]` has the member. At most 8 slices count.
    cells_of = array::cells_of, in AVX-512 cells_compressed; (members: &Words, slices: &[&Words], out: &mut Vec<u16>);
    /// The least and the greatest of the codes that are not NULL; where all are, what is greater and less than any other.
    bounds_of = array::bounds_of; (codes: &[i64], nulls: Option<&[bool]>) -> (i64, i64);
    /// Writes how far each code is from `low`, 0 where it is NULL.
    distances = array::distances; (codes: &[i64], nulls: Option<&[bool]>, low: i64, out: &mut [u64]);
    /// Divides microseconds by a million where all are whole seconds; false, and nothing done, elsewhere.
    whole_seconds = array::whole_seconds; (micros: &mut [u64]) -> bool;
    /// Marks the codes from `low` to `high`; other marks stay.
    mark_within = array::mark_within; (codes: &[i64], low: i64, high: i64, marks: &mut [bool]);
    /// Writes a bit for each value: whether it lies from `low` to `high`, which is not below it. Words beyond are 0.
    within_u8 = array::within_u8, in AVX-512 within_u8_masks; (values: &[u8], low: u8, high: u8, out: &mut [u64]);
    /// Writes a bit for each count, as [`within_u8`] does (none where `high` is below `low`), leaves 0 in its place, and returns the
    /// sum of all.
    drain_u8 = array::drain_u8, in AVX-512 drain_u8_masks; (counts: &mut [u8], low: u8, high: u8, out: &mut [u64]) -> u64;
    /// [`drain_u8`] of wider counts.
    drain_u32 = array::drain_u32; (counts: &mut [u32], low: u32, high: u32, out: &mut [u64]) -> u64;
    /// [`within_u8`] of wider values.
    within_u16 = array::within_u16, in AVX-512 within_u16_masks; (values: &[u16], low: u16, high: u16, out: &mut [u64]);
    /// [`within_u8`] of wider values.
    within_u32 = array::within_u32, in AVX-512 within_u32_masks; (values: &[u32], low: u32, high: u32, out: &mut [u64]);
    /// [`within_u8`] of wider values.
    within_i64 = array::within_i64, in AVX-512 within_i64_masks; (values: &[i64], low: i64, high: i64, out: &mut [u64]);
    /// Appends the values whose bits are set; there are none beyond the last.
    select_u16 = array::select_u16, in AVX-512 select_u16_compressed; (values: &[u16], selected: &[u64], out: &mut Vec<u16>);
    /// [`select_u16`] of wider values.
    select_u32 = array::select_u32, in AVX-512 select_u32_compressed; (values: &[u32], selected: &[u64], out: &mut Vec<u32>);
    /// Appends the places, ascending, where two lists of truths differ; at most 65,536 are compared.
    differing = array::differing; (a: &[bool], b: &[bool], out: &mut Vec<u16>);
    /// Turns the bits of those `members`, which are distinct, of whom two truths differ.
    turn_members = array::turn_members; (out: &mut Words, members: &[u16], a: &[bool], b: &[bool]);
    /// Keeps those of `members` that satisfy the operand.
    retain_members = array::retain_members; (members: &mut Vec<u16>, operand: Operand<'_>);
}

/// Appends the members of a bitset, ascending: the positions in a word with those of the absent squeezed out.
///
/// Squeezing takes the time of about nine members of a word written one by one, so it is for sets of more.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2")]
fn decode_compressed(words: &Words, cardinality: u32, out: &mut Vec<u16>) {
    use std::arch::x86_64::{
        _mm512_add_epi16, _mm512_castsi512_si256, _mm512_cvtepu8_epi16, _mm512_extracti64x4_epi64,
        _mm512_maskz_compress_epi8, _mm512_set_epi64, _mm512_set1_epi16, _mm512_storeu_epi16,
    };
    if cardinality <= array::THIN_MEMBERS_MAX {
        return array::decode_members(words, cardinality, out);
    }
    // The bytes 0 to 63.
    let positions = _mm512_set_epi64(
        0x3f3e_3d3c_3b3a_3938,
        0x3736_3534_3332_3130,
        0x2f2e_2d2c_2b2a_2928,
        0x2726_2524_2322_2120,
        0x1f1e_1d1c_1b1a_1918,
        0x1716_1514_1312_1110,
        0x0f0e_0d0c_0b0a_0908,
        0x0706_0504_0302_0100,
    );
    // The bits are counted here, so that what is written depends on no caller's word for it.
    let count = bitset::cardinality(words) as usize;
    out.reserve(count + 64);
    let mut end = out.len();
    for (index, word) in words.iter().enumerate() {
        let (members, base) = (_mm512_maskz_compress_epi8(*word, positions), (index << 6) as i16);
        let here = word.count_ones() as usize;
        // SAFETY: `end` has grown by the bits of the words before this one, so it is at most the old length and `count`,
        // and room for 64 members was reserved beyond that: the most that is written here.
        unsafe {
            let to = out.as_mut_ptr().add(end);
            let base = _mm512_set1_epi16(base);
            let first = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(members));
            _mm512_storeu_epi16(to.cast(), _mm512_add_epi16(first, base));
            if here > 32 {
                let second = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(members));
                _mm512_storeu_epi16(to.add(32).cast(), _mm512_add_epi16(second, base));
            }
        }
        end += here;
    }
    // SAFETY: all elements below `end` have been written: each step wrote at least as many from its `end` on as it added.
    unsafe { out.set_len(end) };
}

/// [`array::cells_of`] for sixty-four members at a time: the numbers of all in bytes, then those of the absent squeezed out.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2")]
fn cells_compressed(members: &Words, slices: &[&Words], out: &mut Vec<u16>) {
    use std::arch::x86_64::{
        _mm512_castsi512_si256, _mm512_cvtepu8_epi16, _mm512_extracti64x4_epi64, _mm512_mask_add_epi8,
        _mm512_maskz_compress_epi8, _mm512_set1_epi8, _mm512_setzero_si512, _mm512_storeu_epi16,
    };
    let slices = &slices[..slices.len().min(array::CELL_SLICES_MAX)];
    // The bits are counted here, so that what is written depends on no caller's word for it.
    let count = bitset::cardinality(members) as usize;
    out.reserve(count + 64);
    let mut end = out.len();
    for (index, word) in members.iter().enumerate() {
        let mut cells = _mm512_setzero_si512();
        for (bit, slice) in slices.iter().enumerate() {
            cells = _mm512_mask_add_epi8(cells, slice[index], cells, _mm512_set1_epi8((1u8 << bit) as i8));
        }
        let (cells, here) = (_mm512_maskz_compress_epi8(*word, cells), word.count_ones() as usize);
        // SAFETY: `end` has grown by the bits of the words before this one, so it is at most the old length and `count`,
        // and room for 64 numbers was reserved beyond that: the most that is written here.
        unsafe {
            let to = out.as_mut_ptr().add(end);
            _mm512_storeu_epi16(to.cast(), _mm512_cvtepu8_epi16(_mm512_castsi512_si256(cells)));
            if here > 32 {
                let second = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(cells));
                _mm512_storeu_epi16(to.add(32).cast(), second);
            }
        }
        end += here;
    }
    // SAFETY: all elements below `end` have been written: each step wrote at least as many from its `end` on as it added.
    unsafe { out.set_len(end) };
}

/// [`bitset::pair_counts`] with a count in each lane of a register, which are added up once, at the end.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn pair_lanes(sets: &[(usize, &Words)], pairs: &mut [Lanes]) {
    use std::arch::x86_64::{
        _mm512_add_epi64, _mm512_and_si512, _mm512_loadu_epi64, _mm512_popcnt_epi64, _mm512_storeu_epi64,
    };
    for block in (0..BITSET_WORDS).step_by(bitset::PAIR_BLOCK) {
        for (at, (high, set)) in sets.iter().enumerate() {
            let row = high * high.saturating_sub(1) / 2;
            let (a, _) = set[block..block + bitset::PAIR_BLOCK].as_chunks::<8>();
            // More sets than the processor sees the streams of: what is counted next is asked for.
            let next =
                set[block + bitset::PAIR_BLOCK..].chunks(bitset::PAIR_BLOCK).next().unwrap_or_default();
            (0..next.len()).step_by(8).for_each(|word| prefetch(next, word));
            for (low, other) in &sets[..at] {
                let (b, _) = other[block..block + bitset::PAIR_BLOCK].as_chunks::<8>();
                let pair = &mut pairs[row + low];
                // SAFETY: each load and store is of a live array of eight words.
                unsafe {
                    let mut count = _mm512_loadu_epi64(pair.as_ptr().cast());
                    for (a, b) in a.iter().zip(b) {
                        let (a, b) =
                            (_mm512_loadu_epi64(a.as_ptr().cast()), _mm512_loadu_epi64(b.as_ptr().cast()));
                        count = _mm512_add_epi64(count, _mm512_popcnt_epi64(_mm512_and_si512(a, b)));
                    }
                    _mm512_storeu_epi64(pair.as_mut_ptr().cast(), count);
                }
            }
        }
    }
}

/// Defines a kernel that compares a vector of values at once: its mask is bits of the word.
#[cfg(target_arch = "x86_64")]
macro_rules! within_masks {
    ($($name:ident of $type:ty, safe $safe:path: $lanes:literal at once, $set:ident, $load:ident, $subtract:ident, $compare:ident;)*) => {$(
        #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
        fn $name(values: &[$type], low: $type, high: $type, out: &mut [u64]) {
            use std::arch::x86_64::{$compare, $load, $set, $subtract};
            let (least, span) = ($set(low as _), $set(high.wrapping_sub(low) as _));
            let whole = (values.len() / 64).min(out.len());
            let (whole_out, rest) = out.split_at_mut(whole);
            for (word, values) in whole_out.iter_mut().zip(values.chunks_exact(64)) {
                *word = 0;
                for (nth, lanes) in values.chunks_exact($lanes).enumerate() {
                    // SAFETY: `lanes` has as many values as the vector, which is loaded without demands on its alignment.
                    let lanes = unsafe { $load(lanes.as_ptr().cast()) };
                    *word |= ($compare($subtract(lanes, least), span) as u64) << (nth * $lanes);
                }
            }
            $safe(&values[whole * 64..], low, high, rest);
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
within_masks! {
    within_u8_masks of u8, safe array::within_u8: 64 at once, _mm512_set1_epi8, _mm512_loadu_epi8, _mm512_sub_epi8, _mm512_cmple_epu8_mask;
    within_u16_masks of u16, safe array::within_u16: 32 at once, _mm512_set1_epi16, _mm512_loadu_epi16, _mm512_sub_epi16, _mm512_cmple_epu16_mask;
    within_u32_masks of u32, safe array::within_u32: 16 at once, _mm512_set1_epi32, _mm512_loadu_epi32, _mm512_sub_epi32, _mm512_cmple_epu32_mask;
    within_i64_masks of i64, safe array::within_i64: 8 at once, _mm512_set1_epi64, _mm512_loadu_epi64, _mm512_sub_epi64, _mm512_cmple_epu64_mask;
}

/// [`array::drain_u8`] for sixty-four counts at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn drain_u8_masks(counts: &mut [u8], low: u8, high: u8, out: &mut [u64]) -> u64 {
    use std::arch::x86_64::{
        _mm512_add_epi64, _mm512_cmpge_epu8_mask, _mm512_cmple_epu8_mask, _mm512_loadu_epi8,
        _mm512_reduce_add_epi64, _mm512_sad_epu8, _mm512_set1_epi8, _mm512_setzero_si512, _mm512_storeu_epi8,
    };
    let (least, most) = (_mm512_set1_epi8(low as i8), _mm512_set1_epi8(high as i8));
    let (none, mut sums) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    let whole = (counts.len() / 64).min(out.len());
    let (whole_out, rest) = out.split_at_mut(whole);
    for (word, counts) in whole_out.iter_mut().zip(counts.chunks_exact_mut(64)) {
        // SAFETY: sixty-four counts are loaded and stored, without demands on their alignment.
        let some = unsafe {
            let some = _mm512_loadu_epi8(counts.as_ptr().cast());
            _mm512_storeu_epi8(counts.as_mut_ptr().cast(), none);
            some
        };
        *word = _mm512_cmpge_epu8_mask(some, least) & _mm512_cmple_epu8_mask(some, most);
        sums = _mm512_add_epi64(sums, _mm512_sad_epu8(some, none));
    }
    _mm512_reduce_add_epi64(sums) as u64 + array::drain_u8(&mut counts[whole * 64..], low, high, rest)
}

/// [`bitset::has_each`] for sixteen members at a time. Neighbours in a list that ascends mostly lie within 1,024 bits: these are
/// looked up in two registers, others gathered one by one.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn has_each_gathered(words: &Words, members: &[u16], out: &mut [u64]) {
    use std::arch::x86_64::{
        _mm256_loadu_epi16, _mm512_and_si512, _mm512_cmple_epu32_mask, _mm512_cvtepu16_epi32,
        _mm512_i32gather_epi32, _mm512_loadu_epi32, _mm512_permutex2var_epi32, _mm512_set1_epi32,
        _mm512_sllv_epi32, _mm512_srli_epi32, _mm512_sub_epi32, _mm512_test_epi32_mask,
    };
    const LANES: usize = 16;
    /// Members ahead of their use: those of half a page, which took a third of the time of a list that no cache has.
    const AHEAD: usize = 1_024;
    /// Words are read by halves of 32 bits: half m / 32 has the bit of m at m % 32, little-endian as the processor is.
    const HALVES: usize = 2 * BITSET_WORDS;
    let whole = (members.len() / 64).min(out.len());
    let (whole_out, rest) = out.split_at_mut(whole);
    let (one, low) = (_mm512_set1_epi32(1), _mm512_set1_epi32(31));
    let from = words.as_ptr().cast::<i32>();
    for (at, (word, some)) in whole_out.iter_mut().zip(members.chunks_exact(64)).enumerate() {
        *word = 0;
        prefetch(members, 64 * at + AHEAD);
        prefetch(members, 64 * at + AHEAD + 32);
        for (nth, lanes) in some.chunks_exact(LANES).enumerate() {
            let start = usize::from(lanes[0] / 32).min(HALVES - 2 * LANES);
            // SAFETY: `lanes` has as many members as are loaded, without demands on their alignment.
            let members = _mm512_cvtepu16_epi32(unsafe { _mm256_loadu_epi16(lanes.as_ptr().cast()) });
            let places = _mm512_srli_epi32::<5>(members);
            let near = _mm512_sub_epi32(places, _mm512_set1_epi32(start as i32));
            let halves = if _mm512_cmple_epu32_mask(near, low) == u16::MAX {
                // SAFETY: `start` is at most `HALVES` less two registers, which are loaded without demands on their alignment.
                let (first, second) = unsafe {
                    (_mm512_loadu_epi32(from.add(start)), _mm512_loadu_epi32(from.add(start + LANES)))
                };
                _mm512_permutex2var_epi32(first, near, second)
            } else {
                // SAFETY: a member of 16 bits shifted by five is below `HALVES`, and so many there are.
                unsafe { _mm512_i32gather_epi32::<4>(places, from) }
            };
            let bits = _mm512_sllv_epi32(one, _mm512_and_si512(members, low));
            *word |= u64::from(_mm512_test_epi32_mask(halves, bits)) << (nth * LANES);
        }
    }
    bitset::has_each(words, &members[whole * 64..], rest);
}

/// Defines a kernel that squeezes out of a vector of values those whose bits are not set.
#[cfg(target_arch = "x86_64")]
macro_rules! select_compressed {
    ($($name:ident of $type:ty, safe $safe:path: $lanes:literal at once, $mask:ty, $load:ident, $compress:ident, $store:ident;)*) => {$(
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
        fn $name(values: &[$type], selected: &[u64], out: &mut Vec<$type>) {
            use std::arch::x86_64::{$compress, $load, $store};
            let whole = (values.len() / 64).min(selected.len());
            let (words, rest) = selected.split_at(whole);
            // The bits are counted here, so that what is written depends on no caller's word for it.
            let count: usize = words.iter().map(|word| word.count_ones() as usize).sum();
            out.reserve(count + 64);
            let mut end = out.len();
            for (word, values) in words.iter().zip(values.chunks_exact(64)).filter(|(word, _)| **word != 0) {
                for (nth, lanes) in values.chunks_exact($lanes).enumerate() {
                    let mask = (word >> (nth * $lanes)) as $mask;
                    // SAFETY: `lanes` has as many values as the vector. `end` has grown by the bits before these, so it is at
                    // most the old length and `count`, and room for 64 values was reserved beyond that: more than a vector has.
                    // Neither address has to be aligned.
                    unsafe {
                        let squeezed = $compress(mask, $load(lanes.as_ptr().cast()));
                        $store(out.as_mut_ptr().add(end).cast(), squeezed);
                    }
                    end += mask.count_ones() as usize;
                }
            }
            // SAFETY: all elements below `end` have been written: each step wrote at least as many from its `end` on as it added.
            unsafe { out.set_len(end) };
            $safe(&values[whole * 64..], rest, out);
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
select_compressed! {
    select_u16_compressed of u16, safe array::select_u16: 32 at once, u32, _mm512_loadu_epi16, _mm512_maskz_compress_epi16, _mm512_storeu_epi16;
    select_u32_compressed of u32, safe array::select_u32: 16 at once, u16, _mm512_loadu_epi32, _mm512_maskz_compress_epi32, _mm512_storeu_epi32;
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

/// Asks the cache for the first lines of a bitset. The rest comes by the processor's own prefetcher once it has seen
/// those read; asking for all 128 lines was measured to be slower.
#[inline(always)]
pub fn prefetch_start(words: &Words) {
    prefetch(words, 0);
    prefetch(words, 8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    thread_local! {
        /// The level that this test wants, instead of the processor's.
        pub(super) static FORCED: Cell<Option<Level>> = const { Cell::new(None) };
    }

    #[cfg(target_arch = "x86_64")]
    const LEVELS: [Level; 3] = [Level::Baseline, Level::Avx2, Level::Avx512];
    #[cfg(not(target_arch = "x86_64"))]
    const LEVELS: [Level; 1] = [Level::Baseline];

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
        fn values_within_bounds_are_marked_at_every_level(values in proptest::collection::vec(any::<i64>(), 0..300), shift in 0u32..64, a in any::<i64>(), b in any::<i64>(), words in 0usize..7) {
            // Small numbers too, so that some lie within.
            let values: Vec<i64> = values.into_iter().map(|value| value >> shift).collect();
            let ends = [a >> shift, b >> shift];
            macro_rules! check {
                ($kernel:ident, $type:ty) => {{
                    let narrow: Vec<$type> = values.iter().map(|value| *value as $type).collect();
                    let (a, b) = (ends[0] as $type, ends[1] as $type);
                    let (low, high) = (a.min(b), a.max(b));
                    let mut out = vec![u64::MAX; words];
                    $kernel(&narrow, low, high, &mut out);
                    for bit in 0..words * 64 {
                        let expected = narrow.get(bit).is_some_and(|value| (low..=high).contains(value));
                        prop_assert_eq!(out[bit / 64] >> (bit % 64) & 1 == 1, expected, "{} at {}", stringify!($kernel), bit);
                    }
                    (narrow, low, high, out)
                }};
            }
            macro_rules! check_drain {
                ($drain:ident, $kernel:ident, $type:ty) => {{
                    let (mut counts, low, high, within) = check!($kernel, $type);
                    if low < high {
                        let mut out = vec![u64::MAX; words];
                        $drain(&mut counts.clone(), high, low, &mut out);
                        prop_assert!(out.iter().all(|word| *word == 0));
                    }
                    let mut out = vec![u64::MAX; words];
                    let taken = counts.len().min(64 * words);
                    let sum: u64 = counts[..taken].iter().map(|count| u64::from(*count)).sum();
                    prop_assert_eq!($drain(&mut counts, low, high, &mut out), sum);
                    prop_assert_eq!(out, within);
                    prop_assert!(counts[..taken].iter().all(|count| *count == 0));
                }};
            }
            for level in LEVELS.into_iter().filter(|level| *level <= available()) {
                FORCED.set(Some(level));
                check_drain!(drain_u8, within_u8, u8);
                check_drain!(drain_u32, within_u32, u32);
                check!(within_u16, u16);
                check!(within_i64, i64);
            }
            FORCED.set(None);
        }

        #[test]
        fn values_are_selected_at_every_level(values in proptest::collection::vec(any::<u32>(), 0..300), selected in proptest::collection::vec(prop_oneof![Just(0), Just(u64::MAX), any::<u64>()], 0..7)) {
            let chosen = |row: &usize| selected.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1);
            let expected: Vec<u32> = std::iter::once(7).chain((0..values.len()).filter(chosen).map(|row| values[row])).collect();
            let halves = |values: &[u32]| values.iter().map(|value| *value as u16).collect::<Vec<u16>>();
            for level in LEVELS.into_iter().filter(|level| *level <= available()) {
                FORCED.set(Some(level));
                let (mut narrow, mut wide) = (vec![7], vec![7]);
                select_u16(&halves(&values), &selected, &mut narrow);
                select_u32(&values, &selected, &mut wide);
                prop_assert_eq!(&wide, &expected, "{:?}", level);
                prop_assert_eq!(narrow, halves(&expected), "{:?}", level);
            }
            FORCED.set(None);
        }

        #[test]
        fn kernels_of_every_level_equal_the_definition(sets in proptest::collection::vec(words(), 1..7), ends in proptest::collection::vec((1usize..4, any::<bool>()), 1..4), members in proptest::collection::vec(any::<u16>(), 0..300)) {
            let sets: Vec<&Words> = sets.iter().map(|words| &**words).collect();
            let operands: Vec<Operand<'_>> = ends.iter().scan(0, |start, (length, negated)| {
                let from = (*start).min(sets.len());
                *start = (from + length).min(sets.len());
                Some(Operand { sets: &sets[from..*start], negated: *negated })
            }).collect();
            let has = |words: &Words, member: u16| words[usize::from(member / 64)] >> (member % 64) & 1 == 1;
            let holds = |operand: &Operand<'_>, member| operand.sets.iter().any(|words| has(words, member)) != operand.negated;
            let expected: Vec<u16> = (0..=u16::MAX).filter(|m| operands.iter().all(|o| holds(o, *m))).collect();
            let mut listed = vec![false; 1 << 16];
            members.iter().for_each(|m| listed[usize::from(*m)] = true);
            let kept: Vec<u16> = members.iter().copied().filter(|m| holds(&operands[0], *m)).collect();
            for level in LEVELS.into_iter().filter(|level| *level <= available()) {
                FORCED.set(Some(level));
                prop_assert_eq!(intersection_count(&operands) as usize, expected.len());
                let mut out = [0; 1024];
                prop_assert_eq!(intersection_into(&operands, &mut out) as usize, expected.len());
                prop_assert_eq!(cardinality(&out) as usize, expected.len());
                let mut decoded = vec![7];
                decode_members(&out, expected.len() as u32, &mut decoded);
                prop_assert_eq!(&decoded[1..], &expected[..]);
                // Every other number has no set.
                let numbered: Vec<_> = sets.iter().enumerate().map(|(index, set)| (2 * index + 1, *set)).collect();
                let mut pairs = vec![[1; 8]; 2 * sets.len() * (2 * sets.len() - 1) / 2];
                pair_counts(&numbered, &mut pairs);
                for (high, low) in (0..2 * sets.len()).flat_map(|high| (0..high).map(move |low| (high, low))) {
                    let both = match (high % 2, low % 2) {
                        (1, 1) => sets[high / 2].iter().zip(sets[low / 2]).map(|(a, b)| u64::from((a & b).count_ones())).sum(),
                        _ => 0,
                    };
                    prop_assert_eq!(pairs[high * (high - 1) / 2 + low].iter().sum::<u64>(), 8 + both);
                }
                let mut cells = vec![7];
                cells_of(&out, &sets, &mut cells);
                let cell = |m: &u16| sets.iter().enumerate().map(|(bit, set)| u16::from(has(set, *m)) << bit).sum::<u16>();
                prop_assert_eq!(&cells[1..], &expected.iter().map(cell).collect::<Vec<_>>()[..]);
                let mut retained = members.clone();
                retain_members(&mut retained, operands[0]);
                prop_assert_eq!(&retained, &kept);
                prop_assert_eq!(count_members(sets[0], &members) as usize, members.iter().filter(|m| has(sets[0], **m)).count());
                // Far from each other, and near at either end.
                for (divisor, base) in [(1, 0), (64, 0), (64, 0xfc00)] {
                    let some: Vec<u16> = members.iter().map(|m| base + m / divisor).collect();
                    let mut each = [u64::MAX; 5];
                    has_each(sets[0], &some, &mut each);
                    prop_assert!((0..5 * 64).all(|at| (each[at / 64] >> (at % 64) & 1 == 1) == some.get(at).is_some_and(|m| has(sets[0], *m))));
                }
                let mut changed = out;
                set_members(&mut changed, &members, true);
                prop_assert!((0..=u16::MAX).all(|m| has(&changed, m) == (has(&out, m) || listed[usize::from(m)])));
                set_members(&mut changed, &members, false);
                prop_assert_eq!(count_members(&changed, &members), 0);
                let (mut union, mut difference, mut complement) = (out, [0; 1024], [0; 1024]);
                union_into(sets[0], &mut union);
                difference_into(&out, sets[0], &mut difference);
                complement_into(&out, &mut complement);
                prop_assert!((0..1024).all(|w| union[w] == out[w] | sets[0][w] && difference[w] == out[w] & !sets[0][w] && complement[w] == !out[w]));
            }
            FORCED.set(None);
        }

        #[test]
        fn codes_are_measured_as_defined(
            codes in proptest::collection::vec(prop_oneof![any::<i64>(), -9i64..9], 0..300),
            nulls in proptest::collection::vec(any::<bool>(), 300),
            has_nulls in any::<bool>(),
            seconds in proptest::collection::vec(0..u64::MAX / 1_000_000, 0..3_000),
            fraction in proptest::option::of((any::<usize>(), 1u64..1_000_000)),
        ) {
            let nulls = has_nulls.then_some(&nulls[..codes.len()]);
            let is_null = |row: usize| nulls.is_some_and(|nulls| nulls[row]);
            let present: Vec<i64> = (0..codes.len()).filter(|row| !is_null(*row)).map(|row| codes[row]).collect();
            let mut micros: Vec<u64> = seconds.iter().map(|second| second * 1_000_000).collect();
            let broken = fraction.filter(|_| !micros.is_empty()).map(|(at, more)| (at % micros.len(), more));
            broken.iter().for_each(|(at, more)| micros[*at] += more);
            for level in LEVELS.into_iter().filter(|level| *level <= available()) {
                FORCED.set(Some(level));
                let (low, high) = bounds_of(&codes, nulls);
                prop_assert_eq!(low, present.iter().copied().min().unwrap_or(i64::MAX));
                prop_assert_eq!(high, present.iter().copied().max().unwrap_or(i64::MIN));
                let mut far = vec![7; codes.len()];
                distances(&codes, nulls, low, &mut far);
                for (row, far) in far.iter().enumerate() {
                    prop_assert_eq!(*far, if is_null(row) { 0 } else { codes[row].abs_diff(low) });
                }
                let mut divided = micros.clone();
                prop_assert_eq!(whole_seconds(&mut divided), broken.is_none());
                prop_assert_eq!(&divided, if broken.is_none() { &seconds } else { &micros });
            }
            FORCED.set(None);
        }

        #[test]
        fn codes_are_marked_and_truths_compared_as_defined(codes in proptest::collection::vec(-9i64..9, 0..300), bounds in (-9i64..9, -9i64..9), other in proptest::collection::vec(any::<bool>(), 0..300)) {
            let within = |code: &i64| (bounds.0..=bounds.1).contains(code);
            for level in LEVELS.into_iter().filter(|level| *level <= available()) {
                FORCED.set(Some(level));
                let mut marks = other.clone();
                mark_within(&codes, bounds.0, bounds.1, &mut marks);
                for (at, mark) in marks.iter().enumerate() {
                    prop_assert_eq!(*mark, other[at] || codes.get(at).is_some_and(within));
                }
                let mut places = vec![7];
                differing(&marks, &other, &mut places);
                let expected = (0..marks.len() as u16).filter(|at| marks[usize::from(*at)] != other[usize::from(*at)]);
                prop_assert_eq!(&places[1..], &expected.collect::<Vec<u16>>()[..]);
                let spread: Vec<u16> = (0..marks.len() as u16).map(|at| at.wrapping_mul(219)).collect();
                let mut turned = [u64::MAX; 1024];
                turn_members(&mut turned, &spread, &marks, &other);
                for (at, member) in spread.iter().enumerate() {
                    prop_assert_eq!(bitset::has(&turned, *member), marks[at] == other[at]);
                }
                prop_assert_eq!(cardinality(&turned) as usize, (1 << 16) - (places.len() - 1));
            }
            FORCED.set(None);
        }

        #[test]
        fn runs_set_exactly_their_members(a in any::<u16>(), b in any::<u16>()) {
            let mut words = [0; 1024];
            set_run(&mut words, a.min(b), a.max(b));
            prop_assert!(muster_storage::chunk::members_of(&words).eq(a.min(b)..=a.max(b)));
        }
    }
}
