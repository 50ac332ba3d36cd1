//! Bytes: immutable memory-mapped parts, the manifest, the log, checksums.

pub mod chunk;
pub mod codec;
pub mod disk;
mod error;
pub mod format;
pub mod frame;
pub mod manifest;
pub mod part;
pub mod store;
pub mod wal;

pub use error::{Error, RESTORE, Result};
