//! The members of a static audience as a column: one BOOLEAN, TRUE for them, in base parts of its own.
//!
//! A range without a member has no part, a chunk without one no section: who is in none of them is outside.

use crate::control::Cancel;
use crate::index::encode::set_section;
use crate::schema::{ColumnId, TableId};
use crate::{Error, Result};
use muster_storage::format::{BITSET_WORDS, CHUNK_MEMBERS, RANGE_CHUNKS, SectionKind};
use muster_storage::manifest::{PartId, PartRef, PartRole, part_file_name};
use muster_storage::part::{FinishedPart, PartWriter};
use muster_storage::store::Store;
use roaring::RoaringBitmap;

/// Ordinals of a range.
const RANGE_MEMBERS: u64 = (RANGE_CHUNKS * CHUNK_MEMBERS) as u64;

/// Writes the parts of a column that is TRUE for these members. Until a commit names them nothing does; on an error
/// those already written are discarded.
pub fn write_members(
    store: &Store,
    table: TableId,
    column: ColumnId,
    members: &RoaringBitmap,
    cancel: &Cancel,
) -> Result<Vec<PartRef>> {
    let mut allocated = Vec::new();
    let result = write_ranges(store, table, column, members, cancel, &mut allocated);
    if result.is_err() {
        for part in allocated {
            // What cannot be removed now is removed when the database is next opened.
            let _ = store.discard_part(part);
        }
    }
    result
}

fn write_ranges(
    store: &Store,
    table: TableId,
    column: ColumnId,
    members: &RoaringBitmap,
    cancel: &Cancel,
    allocated: &mut Vec<PartId>,
) -> Result<Vec<PartRef>> {
    let ranges = members.max().map_or(0, |last| u64::from(last) / RANGE_MEMBERS + 1);
    let mut parts = Vec::new();
    for range in 0..ranges {
        let (first, end) = (range * RANGE_MEMBERS, (range + 1) * RANGE_MEMBERS);
        if members.range_cardinality(first as u32..=(end - 1) as u32) == 0 {
            continue;
        }
        let id = store.allocate_part()?;
        allocated.push(id);
        let database = store.manifest().database_id;
        let mut part = PartWriter::create(&**store.disk(), &part_file_name(id), database, id.0, table.0)?;
        for chunk in 0..RANGE_CHUNKS {
            cancel.check()?;
            let start = first + (chunk * CHUNK_MEMBERS) as u64;
            let mut words = Box::new([0u64; BITSET_WORDS]);
            for member in members.range(start as u32..=(start + CHUNK_MEMBERS as u64 - 1) as u32) {
                words[(member & 0xffff) as usize / 64] |= 1 << (member % 64);
            }
            if let Some(section) = set_section(SectionKind::Sets, &words) {
                part.append(column.0, section.kind, chunk as u16, &section.bytes, section.stats)?;
            }
        }
        let FinishedPart { bytes, toc_checksum } = part.finish()?;
        parts.push(PartRef {
            id,
            role: PartRole::Base,
            table: table.0,
            range: u32::try_from(range).map_err(|_| Error::Invalid("an ordinal has 32 bits".into()))?,
            columns: vec![column.0],
            bytes,
            toc_checksum,
        });
    }
    Ok(parts)
}
