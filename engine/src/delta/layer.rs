//! Patches by column, range and chunk. A commit makes a new layer that shares with the one before all that it did not touch.

use super::patch::{Cell, CellRef, Patch, Write};
use crate::schema::ColumnId;
use crate::table::ByColumn;
use muster_storage::format::RANGE_CHUNKS;
use std::sync::Arc;

/// The changes of one table since a checkpoint, or during one.
#[derive(Clone, Default)]
pub struct Layer {
    columns: ByColumn<Arc<ColumnLayer>>,
    bytes: usize,
}

/// The changes of one column.
#[derive(Clone, Default)]
pub struct ColumnLayer {
    ranges: Vec<Option<Arc<RangeLayer>>>,
    /// The least and the greatest code that was ever written here.
    bounds: Option<(i64, i64)>,
    texts: bool,
}

/// The changes of one column in the chunks of a range.
#[derive(Clone, Default)]
pub struct RangeLayer {
    chunks: Vec<Option<Patch>>,
}

impl RangeLayer {
    /// The patch of a chunk, by its place in the range.
    pub fn patch(&self, within: usize) -> Option<&Patch> {
        self.chunks.get(within)?.as_ref()
    }

    /// The patches, with the place of their chunk in the range.
    pub fn patches(&self) -> impl Iterator<Item = (u16, &Patch)> {
        let chunks = self.chunks.iter().enumerate();
        chunks.filter_map(|(within, patch)| Some((within as u16, patch.as_ref()?)))
    }
}

impl ColumnLayer {
    /// The patches of a range.
    pub fn range(&self, range: usize) -> Option<&RangeLayer> {
        self.ranges.get(range)?.as_deref()
    }

    /// [`Self::range`], to be kept.
    pub fn shared_range(&self, range: usize) -> Option<&Arc<RangeLayer>> {
        self.ranges.get(range)?.as_ref()
    }

    /// How many ranges it may have patches in.
    pub fn ranges(&self) -> usize {
        self.ranges.len()
    }

    /// The least and the greatest code that was written.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        self.bounds
    }

    /// True where texts were written without codes.
    pub fn has_texts(&self) -> bool {
        self.texts
    }
}

impl Layer {
    /// The changes of a column.
    pub fn column(&self, column: ColumnId) -> Option<&ColumnLayer> {
        self.columns.get(&column).map(|layer| &**layer)
    }

    /// The columns that have changes.
    pub fn columns(&self) -> impl Iterator<Item = (ColumnId, &ColumnLayer)> {
        self.columns.iter().map(|(column, layer)| (*column, &**layer))
    }

    /// True without changes.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Bytes of memory, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The patch of a column in a chunk.
    pub fn patch(&self, column: ColumnId, chunk: u32) -> Option<&Patch> {
        let (range, within) = (chunk as usize / RANGE_CHUNKS, chunk as usize % RANGE_CHUNKS);
        self.column(column)?.range(range)?.patch(within)
    }

    /// Writes some rows of a column in a chunk, in the order of the rows.
    pub fn write(&mut self, column: ColumnId, chunk: u32, writes: &[Write]) {
        let (range, within) = (chunk as usize / RANGE_CHUNKS, chunk as usize % RANGE_CHUNKS);
        let layer = Arc::make_mut(self.columns.entry(column).or_default());
        for write in writes {
            layer.texts |= matches!(write.old, Cell::Text(_));
            match &write.new {
                Cell::Code(code) => {
                    let (low, high) = layer.bounds.unwrap_or((*code, *code));
                    layer.bounds = Some((low.min(*code), high.max(*code)));
                }
                Cell::Text(_) => layer.texts = true,
                _ => {}
            }
        }
        if layer.ranges.len() <= range {
            layer.ranges.resize(range + 1, None);
        }
        let chunks = &mut Arc::make_mut(layer.ranges[range].get_or_insert_default()).chunks;
        if chunks.len() <= within {
            chunks.resize(within + 1, None);
        }
        let earlier = chunks[within].take();
        let patch = Patch::over(earlier.as_ref(), writes);
        self.bytes = (self.bytes + patch.bytes()).saturating_sub(earlier.map_or(0, |patch| patch.bytes()));
        chunks[within] = Some(patch);
    }

    /// What a row holds here.
    pub fn cell(&self, column: ColumnId, ordinal: u32) -> Option<CellRef<'_>> {
        self.patch(column, ordinal >> 16)?.by_ref().cell(ordinal as u16)
    }
}
