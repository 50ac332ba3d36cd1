//! What the rows of a range are made of, remembered, to see later what of it is another.
//!
//! Nothing is compared but who it is: parts are never changed, and a commit gives a chunk that it writes a new patch. What is
//! remembered keeps the patches in memory, so that no other can come to stand in their place, and no file.

use crate::delta::{Patch, RangeLayer};
use crate::schema::ColumnId;
use crate::table::TableState;
use muster_storage::format::RANGE_CHUNKS;
use muster_storage::part::PartReader;
use std::sync::{Arc, Weak};

/// What some columns of a range were made of.
#[derive(Default)]
pub(super) struct RangeStamp {
    parts: Vec<(ColumnId, Weak<PartReader>)>,
    layers: Vec<(ColumnId, Arc<RangeLayer>)>,
    /// Ordinals of the table that are before the end of the range.
    ordinals: u64,
}

impl RangeStamp {
    /// The stamps of all ranges of a table.
    pub(super) fn all(table: &TableState, columns: &[ColumnId]) -> Vec<RangeStamp> {
        let ranges = (table.chunks() as usize).div_ceil(RANGE_CHUNKS);
        (0..ranges).map(|range| RangeStamp::of(table, columns, range)).collect()
    }

    fn of(table: &TableState, columns: &[ColumnId], range: usize) -> RangeStamp {
        let mut stamp = RangeStamp::default();
        for column in columns {
            if let Some(parts) = table.ranges().get(range) {
                let base = parts.columns.get(column).into_iter();
                let patches = parts.patches.get(column).into_iter().flatten();
                stamp.parts.extend(base.chain(patches).map(|part| (*column, Arc::downgrade(part))));
            }
            let layers = table.layers.iter().filter_map(|layer| layer.column(*column)?.shared_range(range));
            stamp.layers.extend(layers.map(|layer| (*column, Arc::clone(layer))));
        }
        let end = ((range + 1) * RANGE_CHUNKS) as u64 * muster_storage::format::CHUNK_MEMBERS as u64;
        stamp.ordinals = table.extent().ordinals.min(end);
        stamp
    }

    /// True where all is as it was.
    pub(super) fn is(&self, other: &RangeStamp) -> bool {
        let same_layers = self.layers.len() == other.layers.len()
            && self.layers.iter().zip(&other.layers).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(&a.1, &b.1));
        same_layers && self.ordinals == other.ordinals && self.has_parts_of(other)
    }

    /// True where the parts are those that there were.
    pub(super) fn has_parts_of(&self, other: &RangeStamp) -> bool {
        self.parts.len() == other.parts.len()
            && self.parts.iter().zip(&other.parts).all(|(a, b)| a.0 == b.0 && Weak::ptr_eq(&a.1, &b.1))
    }

    /// True where a chunk has the patches that it had, given that the parts are the same.
    pub(super) fn has_chunk_of(&self, other: &RangeStamp, within: usize) -> bool {
        let (mut here, mut there) = (self.patches(within), other.patches(within));
        loop {
            match (here.next(), there.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a.0 == b.0 && a.1.is(b.1) => {}
                _ => return false,
            }
        }
    }

    /// The patches of a chunk in memory, by column.
    fn patches(&self, within: usize) -> impl Iterator<Item = (ColumnId, &Patch)> {
        self.layers.iter().filter_map(move |(column, layer)| Some((*column, layer.patch(within)?)))
    }

    /// Adds the rows of a chunk of which some patch says what the other's does not, or the other way round.
    pub(super) fn differing(&self, other: &RangeStamp, within: usize, rows: &mut Vec<u16>) {
        let (here, there): (Vec<_>, Vec<_>) =
            (self.patches(within).collect(), other.patches(within).collect());
        let alike = here.len() == there.len() && here.iter().zip(&there).all(|(a, b)| a.0 == b.0);
        if !alike {
            here.iter().chain(&there).for_each(|(_, patch)| rows.extend(patch.by_ref().rows));
            return;
        }
        for ((_, a), (_, b)) in here.iter().zip(&there).filter(|(a, b)| !a.1.is(b.1)) {
            let (a, b) = (a.by_ref(), b.by_ref());
            let (mut at, mut other_at) = (0, 0);
            loop {
                match (a.rows.get(at), b.rows.get(other_at)) {
                    (None, None) => break,
                    (Some(row), Some(other)) if row == other => {
                        if a.new.get(at) != b.new.get(other_at) {
                            rows.push(*row);
                        }
                        (at, other_at) = (at + 1, other_at + 1);
                    }
                    (Some(row), other) if other.is_none_or(|other| row < other) => {
                        rows.push(*row);
                        at += 1;
                    }
                    (_, Some(other)) => {
                        rows.push(*other);
                        other_at += 1;
                    }
                    (Some(_), None) => unreachable!("taken above"),
                }
            }
        }
    }
}
