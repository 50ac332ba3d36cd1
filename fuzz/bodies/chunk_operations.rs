//! Sets of one chunk, combined by the kernels, have the members that `roaring` has.

use muster_engine::kernel::{
    Lanes, Operand, cardinality, cells_of, complement_into, count_members, decode_members, difference_into,
    has, intersection_count, intersection_into, pair_counts, retain_members, set_members, set_run,
    union_into,
};
use muster_storage::chunk::{ChunkRef, SetsBuilder, SetsRef, Words, members_of};
use muster_storage::disk::Bytes;
use roaring::RoaringBitmap;

const SETS_MAX: usize = 6;
const EMPTY: Words = [0; 1024];

/// A byte says how many sets there are and how they are combined; each set is some runs: three numbers (u16, little-endian) each,
/// the first member, how many more, and which of them.
pub fn run(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let count = usize::from(mode % SETS_MAX as u8) + 1;
    let number = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let mut expected = vec![RoaringBitmap::new(); count];
    let mut words = vec![Box::new(EMPTY); count];
    for (n, run) in rest.chunks_exact(6).enumerate() {
        let (first, more, step) = (number(run, 0), number(run, 2), number(run, 4) % 100);
        let last = first.saturating_add(more);
        let set = n % count;
        if step < 2 {
            set_run(&mut words[set], first, last);
            expected[set].insert_range(u32::from(first)..=u32::from(last));
        } else {
            let members: Vec<u16> = (first..=last).step_by(usize::from(step)).collect();
            set_members(&mut words[set], &members, step % 7 != 0);
            for member in members {
                if step % 7 != 0 {
                    expected[set].insert(u32::from(member));
                } else {
                    expected[set].remove(u32::from(member));
                }
            }
        }
    }
    for (words, expected) in words.iter().zip(&expected) {
        check(words, expected);
        through_a_section(words, expected);
    }
    combined(*mode, &words, &expected);
}

/// A set has exactly these members, however it is asked.
fn check(words: &Words, expected: &RoaringBitmap) {
    let members: Vec<u16> = expected.iter().map(|member| member as u16).collect();
    assert_eq!(u64::from(cardinality(words)), expected.len());
    assert_eq!(members_of(words).collect::<Vec<u16>>(), members);
    let mut decoded = vec![7];
    decode_members(words, expected.len() as u32, &mut decoded);
    assert_eq!(decoded[1..], members);
}

/// It is the same in a section, in whatever container it was put.
fn through_a_section(words: &Words, expected: &RoaringBitmap) {
    let mut builder = SetsBuilder::default();
    builder.push_words(3, words);
    let section = Bytes::copied(&builder.finish());
    let sets = SetsRef::open(&section).expect("a section just built");
    let set = sets.get(3).expect("a set just built");
    set.check().expect("a container just built");
    assert_eq!(u64::from(set.cardinality()), expected.len());
    let mut again = Box::new(EMPTY);
    match set {
        ChunkRef::Array(members) => set_members(&mut again, members, true),
        ChunkRef::Bitset { words, .. } => union_into(words, &mut again),
        ChunkRef::Runs { runs, .. } => runs.iter().for_each(|run| set_run(&mut again, run[0], run[1])),
    }
    check(&again, expected);
    for member in (0..=u16::MAX).step_by(97).chain(expected.iter().take(50).map(|member| member as u16)) {
        assert_eq!(set.contains(member), expected.contains(u32::from(member)));
        assert_eq!(has(words, member), expected.contains(u32::from(member)));
    }
}

/// All of them together.
fn combined(mode: u8, words: &[Box<Words>], expected: &[RoaringBitmap]) {
    let everybody = RoaringBitmap::from_iter(0..=u32::from(u16::MAX));
    // The sets in operands of one or two, negated by the bits of the mode.
    let slices: Vec<Vec<&Words>> =
        words.chunks(2).map(|pair| pair.iter().map(|set| &**set).collect()).collect();
    let negated = |at: usize| mode >> (at + 4) & 1 == 1;
    let operand = |(at, sets)| Operand { sets, negated: negated(at) };
    let operands: Vec<Operand<'_>> = slices.iter().map(|sets| &sets[..]).enumerate().map(operand).collect();
    let unions = expected.chunks(2).map(|pair| pair.iter().fold(RoaringBitmap::new(), |all, set| all | set));
    let each = unions.enumerate().map(|(at, union)| if negated(at) { &everybody - &union } else { union });
    let meant: Vec<RoaringBitmap> = each.collect();
    let all = meant.iter().fold(everybody.clone(), |all, set| all & set);
    assert_eq!(u64::from(intersection_count(&operands)), all.len());
    let mut out = Box::new([u64::MAX / 3; 1024]);
    assert_eq!(u64::from(intersection_into(&operands, &mut out)), all.len());
    check(&out, &all);

    let mut members: Vec<u16> = meant[0].iter().map(|member| member as u16).collect();
    assert_eq!(u64::from(count_members(&words[0], &members)), (&meant[0] & &expected[0]).len());
    for operand in &operands[1..] {
        retain_members(&mut members, *operand);
    }
    assert_eq!(members, all.iter().map(|member| member as u16).collect::<Vec<u16>>());

    let (first, last) = (&words[0], &words[words.len() - 1]);
    difference_into(first, last, &mut out);
    check(&out, &(&expected[0] - &expected[expected.len() - 1]));
    complement_into(first, &mut out);
    check(&out, &(&everybody - &expected[0]));

    let numbered: Vec<(usize, &Words)> = words.iter().map(|set| &**set).enumerate().collect();
    let mut pairs = vec![Lanes::default(); words.len() * words.len().saturating_sub(1) / 2];
    pair_counts(&numbered, &mut pairs);
    for high in 0..words.len() {
        for low in 0..high {
            let found: u64 = pairs[high * (high - 1) / 2 + low].iter().sum();
            assert_eq!(found, (&expected[high] & &expected[low]).len());
        }
    }

    let slices: Vec<&Words> = words.iter().map(|set| &**set).collect();
    let mut cells = Vec::new();
    cells_of(first, &slices, &mut cells);
    let bits = |member: u32| {
        expected.iter().enumerate().map(move |(bit, set)| u16::from(set.contains(member)) << bit)
    };
    assert_eq!(cells, expected[0].iter().map(|member| bits(member).sum()).collect::<Vec<u16>>());
}
