//! The innermost loops on chunks in cache: members decided per second.
//!
//! `cargo bench -p muster-benches --bench kernels`. Data: seeded bits of the density named, 8 KiB a set.

#![allow(missing_docs, reason = "criterion's macros make items without any")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use muster_engine::kernel::{Operand, decode_members, intersection_count};
use std::hint::black_box;

const WORDS: usize = 1024;
const MEMBERS: u64 = 65_536;

/// A chunk in which each member is present with a chance of `per_mille` in a thousand.
fn words(seed: u64, per_mille: u64) -> Box<[u64; WORDS]> {
    let mut state = seed;
    // SplitMix64 (Steele, Lea, Flood 2014).
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    Box::new(std::array::from_fn(|_| {
        (0..64).fold(0, |word, bit| word | u64::from(next() % 1000 < per_mille) << bit)
    }))
}

fn intersections(c: &mut Criterion) {
    let sets: Vec<_> = (0..8).map(|seed| words(seed, 500)).collect();
    let sets: Vec<&[u64; WORDS]> = sets.iter().map(|words| &**words).collect();
    let operand = |index: usize| Operand { sets: &sets[index..=index], negated: index % 3 == 2 };
    let mut group = c.benchmark_group("intersection");
    group.throughput(Throughput::Elements(MEMBERS));
    group.bench_function("of unions", |b| {
        let operands = [
            Operand { sets: &sets[..3], negated: false },
            Operand { sets: &sets[3..7], negated: false },
            operand(7),
        ];
        b.iter(|| intersection_count(black_box(&operands)));
    });
    for operands in [2, 3, 4, 8] {
        let operands: Vec<Operand<'_>> = (0..operands).map(operand).collect();
        group.bench_with_input(BenchmarkId::new("of sets", operands.len()), &operands, |b, operands| {
            b.iter(|| intersection_count(black_box(operands)));
        });
    }
    group.finish();
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for per_mille in [1, 10, 100, 500, 1000] {
        let words = words(9, per_mille);
        let cardinality = words.iter().map(|word| word.count_ones()).sum();
        let mut members = Vec::new();
        group.throughput(Throughput::Elements(u64::from(cardinality)));
        group.bench_function(BenchmarkId::from_parameter(format!("{per_mille} in 1000")), |b| {
            b.iter(|| {
                members.clear();
                decode_members(black_box(&words), cardinality, &mut members);
                members.len()
            });
        });
    }
    group.finish();
}

criterion_group!(kernels, intersections, decode);
criterion_main!(kernels);
