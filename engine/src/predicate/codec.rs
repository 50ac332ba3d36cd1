//! Predicates as bytes: what the catalog stores of audiences and views.
//!
//! A u16 version, then the tree, depth first. Every node begins with a u16 tag. Tags stand in `numbers`, are explicit,
//! and are never renumbered or used again; docs/FORMAT.md repeats them. [`RESERVED`] is kept free among the tags of
//! predicates and of expressions for leaves about child tables (orders, visits). Otherwise the bytes follow the
//! conventions of `muster_storage::codec`: little-endian, fixed widths, a count before its elements (here u32).
//!
//! Reading is bounded: by depth ([`crate::plan::DEPTH_MAX`]), and by the bytes themselves, of which every element takes
//! some. What is read is well formed; whether its columns and audiences exist is for whoever asks it to say.

mod numbers;
mod read;
mod read_rows;
mod write;
mod write_rows;

use crate::Result;
use crate::predicate::Predicate;
use muster_storage::codec::CodecError;
use read::Reader;
use std::ops::RangeInclusive;
use write::Writer;

/// The version of the encoding.
pub const PREDICATE_VERSION: u16 = 1;

/// Tags of predicates and expressions for leaves about child tables; only the first two are used, of predicates.
pub const RESERVED: RangeInclusive<u16> = 0x0100..=0x01ff;

/// The bytes of a predicate.
///
/// # Errors
/// [`crate::Error::Invalid`] for [`Predicate::Members`], which is true of one snapshot only, and for a predicate deeper than
/// [`crate::plan::DEPTH_MAX`].
pub fn encode(predicate: &Predicate) -> Result<Vec<u8>> {
    let mut writer = Writer::default();
    writer.u16(PREDICATE_VERSION);
    writer.predicate(predicate)?;
    Ok(writer.bytes)
}

/// The predicate of bytes that hold it and nothing more.
///
/// # Errors
/// With the offset at which the bytes are not those of a predicate.
pub fn decode(bytes: &[u8]) -> std::result::Result<Predicate, CodecError> {
    let mut reader = Reader::new(bytes);
    match reader.u16()? {
        PREDICATE_VERSION => {}
        other => return Err(reader.refuse(0, &format!("predicate version {PREDICATE_VERSION}"), other)),
    }
    let predicate = reader.predicate()?;
    if reader.at < bytes.len() {
        return Err(CodecError {
            offset: reader.at as u64,
            expected: "the end".into(),
            found: format!("{} more bytes", bytes.len() - reader.at),
        });
    }
    Ok(predicate)
}

#[cfg(test)]
mod tests;
