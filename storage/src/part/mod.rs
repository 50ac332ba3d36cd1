//! A part: an immutable file of sections, one per column, kind and chunk.
//!
//! ```text
//! header (64 B) │ section │ pad │ section │ pad │ … │ table of sections
//! ```
//!
//! Sections start at multiples of 64 bytes and are read in place. Each carries its own checksum in the table, verified
//! on its first use after opening; the table's checksum stands in the header, the header's in itself.

mod reader;
mod toc;
mod writer;

pub use reader::{PartReader, Sections};
pub use toc::{PartHeader, SectionStats, TocEntry};
pub use writer::{FinishedPart, PartWriter};
