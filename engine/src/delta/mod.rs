//! Changes since the base parts were written: patches per column and chunk, laid over the base when a question is evaluated.
//!
//! ```text
//! base part          value of every row, sets, range index                      immutable, mapped
//! patch parts        ┐
//! frozen layer       ├ per column and chunk: rows │ what they hold now │ before   a later one stands over an earlier one
//! active layer       ┘                                                          replaced by each commit, never changed
//! ```
//!
//! A write touches the patches of its rows and columns, and copies nothing of the base. An inserted row has a cell in every
//! column of its table; a deleted one only in the live set.

mod layer;
mod patch;

pub use layer::{ColumnLayer, Layer, RangeLayer};
pub use patch::{Cell, CellRef, Cells, CellsRef, Patch, PatchRef, Write};
