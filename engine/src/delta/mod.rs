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

/// What the table of sections says as least and greatest code of a patch that has texts without codes: codes of texts are
/// not negative.
pub const TEXTS: (i64, i64) = (-1, -1);
/// The same of one without codes.
pub const NO_CODES: (i64, i64) = (0, -1);

mod layer;
mod patch;

pub use layer::{ColumnLayer, Layer, RangeLayer};
pub use patch::{Cell, CellRef, Cells, CellsRef, Patch, PatchRef, Write};
