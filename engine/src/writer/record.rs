//! The payload of a log record: the changes that become visible together.
//!
//! ```text
//! record of kind CHANGES: for each change its length u32, then its bytes
//! ```

use super::change::Change;
use crate::schema::{ColumnId, DataType, TableId};
use crate::{Error, Result};

/// The kind of a record that holds changes of rows. Never another's.
pub(crate) const CHANGES: u16 = 1;

/// The payload of some changes.
pub(crate) fn encode(changes: &[Change]) -> Vec<u8> {
    let mut payload = Vec::new();
    for change in changes {
        let start = payload.len();
        payload.extend_from_slice(&[0; 4]);
        change.encode(&mut payload);
        let length = (payload.len() - start - 4) as u32;
        payload[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
    payload
}

/// The changes of a record.
///
/// # Errors
/// A kind or bytes that this muster does not write.
pub(crate) fn decode(
    kind: u16,
    mut payload: &[u8],
    type_of: &dyn Fn(TableId, ColumnId) -> Option<DataType>,
) -> Result<Vec<Change>> {
    if kind != CHANGES {
        return Err(Error::Invalid(format!(
            "the log has a record of kind {kind}, which this muster does not read"
        )));
    }
    let mut changes = Vec::new();
    while let Some((length, rest)) = payload.split_first_chunk::<4>() {
        let bytes = rest.split_at_checked(u32::from_le_bytes(*length) as usize);
        let (change, rest) =
            bytes.ok_or_else(|| Error::Invalid("a change in the log is longer than its record".into()))?;
        changes.push(Change::decode(change, type_of)?);
        payload = rest;
    }
    if payload.is_empty() {
        Ok(changes)
    } else {
        Err(Error::Invalid("a record in the log ends within the length of a change".into()))
    }
}
