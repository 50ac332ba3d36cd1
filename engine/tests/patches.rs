//! Patches against vectors: laid over each other, merged, written, read back, and read of bytes that are not theirs.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::delta::{Cell, CellRef, Patch, PatchRef, Write};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Rows with their new and old cells.
type Rows = BTreeMap<u16, (Cell, Cell)>;

/// Cells of one kind, as a column has them.
fn cells(kind: u8) -> BoxedStrategy<Cell> {
    let value = match kind {
        0 => any::<bool>().prop_map(Cell::Truth).boxed(),
        1 => prop_oneof![any::<i64>(), -3..3_i64].prop_map(Cell::Code).boxed(),
        2 => vec(any::<u8>(), 0..20).prop_map(|text| Cell::Text(text.into())).boxed(),
        _ => vec(0..50_u32, 0..5).prop_map(|codes| Cell::Tags(codes.into())).boxed(),
    };
    prop_oneof![6 => value, 1 => Just(Cell::Null), 1 => Just(Cell::Absent)].boxed()
}

fn batches() -> BoxedStrategy<Vec<Rows>> {
    let row = || prop_oneof![0..20_u16, 65_500..=65_535_u16, any::<u16>()];
    (0..4_u8)
        .prop_flat_map(move |kind| vec(btree_map(row(), (cells(kind), cells(kind)), 0..60), 1..5))
        .boxed()
}

fn writes(rows: &Rows) -> Vec<Write> {
    rows.iter().map(|(row, (new, old))| Write { row: *row, new: new.clone(), old: old.clone() }).collect()
}

/// What is read of a patch, every way there is.
fn read(patch: PatchRef<'_>) -> Vec<(u16, Cell, Cell)> {
    let owned = |cell: CellRef<'_>| match cell {
        CellRef::Absent => Cell::Absent,
        CellRef::Null => Cell::Null,
        CellRef::Truth(truth) => Cell::Truth(truth),
        CellRef::Code(code) => Cell::Code(code),
        CellRef::Text(text) => Cell::Text(text.into()),
        CellRef::Tags(codes) => Cell::Tags(codes.into()),
    };
    let both = patch.new.iter().zip(patch.old.iter());
    let all: Vec<_> =
        patch.rows.iter().zip(both).map(|(row, (new, old))| (*row, owned(new), owned(old))).collect();
    let is = |wanted: CellRef<'_>| all.iter().filter(|(_, new, _)| new.by_ref() == wanted).count() as u32;
    assert_eq!(patch.new.nulls(), is(CellRef::Null));
    assert_eq!(patch.new.trues(), is(CellRef::Truth(true)));
    let within = all.iter().filter(|(_, new, _)| matches!(new, Cell::Code(-2..=1))).count() as u32;
    let mut marks = vec![true];
    patch.new.mark_within([(-2, 0), (1, 1)].into_iter(), false, &mut marks);
    assert_eq!(marks.iter().filter(|mark| **mark).count(), within as usize);
    for row in 0..=u16::MAX {
        let place = all.binary_search_by_key(&row, |(row, ..)| *row);
        assert_eq!(patch.cell(row), place.ok().map(|place| all[place].1.by_ref()));
    }
    all
}

/// Bytes at an address with this remainder by eight.
fn at(bytes: &[u8], remainder: usize) -> (Vec<u8>, std::ops::Range<usize>) {
    let mut place = vec![0; bytes.len() + 16];
    let start = (place.as_ptr().addr().next_multiple_of(8) - place.as_ptr().addr()) + remainder;
    place[start..start + bytes.len()].copy_from_slice(bytes);
    (place, start..start + bytes.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn later_cells_stand_over_earlier_ones(batches in batches()) {
        let mut expected = Rows::new();
        let mut patch = None;
        let mut apart = Vec::new();
        for rows in &batches {
            for (row, (new, old)) in rows {
                // The layers below are the same for all of them.
                let old = expected.get(row).map_or(old.clone(), |(_, old)| old.clone());
                expected.insert(*row, (new.clone(), old));
            }
            patch = Some(Patch::over(patch.as_ref(), &writes(rows)));
            apart.push(Patch::over(None, &writes(rows)));
        }
        let expected: Vec<_> = expected.into_iter().map(|(row, (new, old))| (row, new, old)).collect();
        let patch = patch.unwrap();
        prop_assert_eq!(&read(patch.by_ref()), &expected);
        let apart: Vec<PatchRef<'_>> = apart.iter().map(Patch::by_ref).collect();
        prop_assert_eq!(&read(Patch::merged(&apart).by_ref()), &expected);
        let section = patch.by_ref().section();
        let (place, range) = at(&section, 0);
        prop_assert_eq!(&read(PatchRef::open(&place[range]).unwrap()), &expected);
    }

    #[test]
    fn some_rows_are_found_whatever_their_number(
        batches in batches(),
        asked in prop_oneof![vec(any::<u16>(), 0..4), vec(0..30_u16, 0..40), vec(any::<u16>(), 2000..3000)],
    ) {
        let patch = Patch::over(None, &writes(&batches[0]));
        let mut asked = asked;
        asked.sort_unstable();
        asked.dedup();
        let mut heard = BTreeMap::new();
        patch.by_ref().for_each_of(&asked, |place, cell| {
            assert!(heard.insert(asked[place], format!("{cell:?}")).is_none());
        });
        let here = batches[0].iter().filter(|(row, _)| asked.binary_search(row).is_ok());
        let expected: BTreeMap<u16, String> =
            here.map(|(row, (new, _))| (*row, format!("{:?}", new.by_ref()))).collect();
        prop_assert_eq!(heard, expected);
    }

    #[test]
    fn bytes_that_are_wrong_are_refused_or_read_within_bounds(
        batches in batches(),
        dice in vec((any::<prop::sample::Index>(), any::<u8>()), 30),
        remainder in 0..8_usize,
    ) {
        let section = Patch::over(None, &writes(&batches[0])).by_ref().section();
        // A section begins where its part says; anywhere else it may be refused.
        let (place, range) = at(&section, remainder);
        if let Ok(patch) = PatchRef::open(&place[range]) {
            read_some(patch);
        }
        for (index, byte) in dice {
            let mut wrong = section.clone();
            let place = index.index(wrong.len());
            wrong[place] = byte;
            let (aligned, range) = at(&wrong, 0);
            if let Ok(patch) = PatchRef::open(&aligned[range]) {
                read_some(patch);
            }
            let (aligned, range) = at(&section[..place], 0);
            prop_assert!(PatchRef::open(&aligned[range]).is_err(), "cut at {}", place);
        }
    }
}

/// Reads all cells, whatever they are.
fn read_some(patch: PatchRef<'_>) {
    assert_eq!(patch.rows.len(), patch.new.iter().count());
    assert_eq!(patch.rows.len(), patch.old.iter().count());
    let _ = (patch.new.nulls(), patch.new.trues());
    patch.new.mark_within([(i64::MIN, i64::MAX)].into_iter(), true, &mut Vec::new());
    patch.for_each_of(&[0, 1, 65_535], |place, _| assert!(place < 3));
    let _ = Patch::merged(&[patch, patch]);
    let _ = patch.section();
}
