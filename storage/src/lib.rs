//! Bytes: immutable memory-mapped parts, the manifest, checksums.

pub mod disk;
mod error;
pub mod format;

pub use error::{Error, RESTORE, Result};
