//! A patch of any bytes is refused or read within its bounds; writes laid over each other read as a map does.

use muster_engine::delta::{Cell, CellRef, Patch, PatchRef, Write};
use muster_storage::disk::Bytes;
use std::collections::BTreeMap;

/// An odd first byte: the rest is a section. An even one: the rest is batches of writes, four bytes each: the row, what it
/// holds, what it held. The kind of the cells is in the first byte, and a row of 255 ends a batch.
pub fn run(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    if mode % 2 == 1 {
        let section = Bytes::copied(rest);
        if let Ok(patch) = PatchRef::read(&section) {
            look_at(patch);
        }
        if let Ok(patch) = PatchRef::open(&section) {
            assert!(patch.rows.is_sorted_by(|a, b| a < b));
            let again = Bytes::copied(&patch.section());
            assert_eq!(PatchRef::open(&again).expect("a section just written"), patch);
        }
        return;
    }
    let cell = |byte: u8| match (byte % 8, mode / 2 % 4) {
        (0, _) => Cell::Null,
        (1, _) => Cell::Absent,
        (_, 0) => Cell::Truth(byte.is_multiple_of(3)),
        (_, 1) => Cell::Code(i64::from(byte) << 40),
        (_, 2) => Cell::Text(vec![byte; usize::from(byte / 16)].into()),
        _ => Cell::Tags((0..u32::from(byte / 32)).collect()),
    };
    let mut expected: BTreeMap<u16, (Cell, Cell)> = BTreeMap::new();
    let (mut batch, mut patch) = (BTreeMap::new(), None);
    for write in rest.chunks_exact(4).chain([&[255, 255, 0, 0][..]]) {
        let row = u16::from_le_bytes([write[0], write[1]]);
        if write[0] != 255 {
            batch.insert(row, (cell(write[2]), cell(write[3])));
            continue;
        }
        let mut writes = Vec::new();
        for (row, (new, old)) in std::mem::take(&mut batch) {
            let old = expected.get(&row).map_or(old, |(_, old): &(Cell, Cell)| old.clone());
            expected.insert(row, (new.clone(), old.clone()));
            writes.push(Write { row, new, old });
        }
        patch = Some(Patch::over(patch.as_ref(), &writes));
    }
    let Some(patch) = patch else { return };
    let patch = patch.by_ref();
    let found: Vec<(u16, CellRef<'_>, CellRef<'_>)> = patch
        .rows
        .iter()
        .zip(patch.new.iter().zip(patch.old.iter()))
        .map(|(row, (new, old))| (*row, new, old))
        .collect();
    let meant: Vec<_> = expected.iter().map(|(row, (new, old))| (*row, new.by_ref(), old.by_ref())).collect();
    assert_eq!(found, meant);
    let section = Bytes::copied(&patch.section());
    assert_eq!(PatchRef::open(&section).expect("a section just written"), patch);
}

/// Everything that is asked of a patch which passed its checksum only.
fn look_at(patch: PatchRef<'_>) {
    let rows: Vec<u16> = (0..=u16::MAX).step_by(301).collect();
    patch.for_each_of(&rows, |_, _| {});
    let _ = (patch.cell(7), patch.bounds(), patch.has_texts(), patch.new.trues(), patch.old.nulls());
    patch.new.mark_within([(-5, 5)].into_iter(), true, &mut Vec::new());
    patch.new.iter().chain(patch.old.iter()).for_each(drop);
    if patch.rows.is_sorted_by(|a, b| a < b) {
        let _ = Patch::merged(&[patch, patch]);
    }
}
