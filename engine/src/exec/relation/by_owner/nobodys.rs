//! The rows of nobody: those that belong to none of the owners, nor to a row that does.

use super::shape::Owners;
use crate::control::Cancel;
use crate::exec::trues_of;
use crate::index::owners::NOBODYS;
use crate::kernel;
use crate::predicate::Relation;
use crate::schema::{ColumnId, Owner, TableId};
use crate::{Result, Snapshot};
use hashbrown::HashMap;
use muster_storage::chunk::Words;
use muster_storage::format::BITSET_WORDS;
use roaring::RoaringBitmap;

/// The rows of some tables that belong to none of the members of one.
pub(in super::super) struct Nobodys {
    owners: TableId,
    tables: HashMap<TableId, RoaringBitmap>,
}

impl Nobodys {
    /// Of the tables that a relation reads; `None` where there is no such row.
    pub(super) fn find(
        snapshot: &Snapshot,
        owners: Owners,
        relation: &Relation,
        cancel: &Cancel,
    ) -> Result<Option<Nobodys>> {
        let (mut tables, mut scanned) = (HashMap::new(), Vec::new());
        relation.for_each_scan(&mut |scan| scanned.push(scan.table));
        for table in scanned {
            let way = owners.way_from(snapshot, table)?.unwrap_or_default();
            if way.is_empty() || tables.contains_key(&table) {
                continue;
            }
            let mut rows = RoaringBitmap::new();
            for (table, owner) in way.iter().rev() {
                rows = unowned(snapshot, *table, owner, &rows, cancel)?;
            }
            tables.insert(table, rows);
        }
        let any = tables.values().any(|rows| !rows.is_empty());
        Ok(any.then_some(Nobodys { owners: owners.table, tables }))
    }

    /// The rows of a table that are asked; `None` is all.
    pub(in super::super) fn of(&self, table: TableId) -> Option<RoaringBitmap> {
        if table == self.owners {
            return Some(RoaringBitmap::new());
        }
        self.tables.get(&table).cloned()
    }
}

/// The live rows of a table that belong to none of its owners, or to one of whom that is true.
fn unowned(
    snapshot: &Snapshot,
    table: TableId,
    owner: &Owner,
    unowned: &RoaringBitmap,
    cancel: &Cancel,
) -> Result<RoaringBitmap> {
    let (strays, table, owners) =
        (snapshot.strays(table)?, snapshot.table(table)?, snapshot.table(owner.table)?);
    let (ordinals, live) = (table.reader(owner.ordinals)?, table.reader(ColumnId::LIVE)?);
    let owners_live = owners.reader(ColumnId::LIVE)?;
    let all_own = !owners.has_dead() && unowned.is_empty();
    let who_own = |chunk: u32| -> Result<Words> {
        let mut own = trues_of(&owners_live, chunk)?;
        for one in unowned.range(chunk << 16..=(chunk << 16 | 0xffff)) {
            own[(one & 0xffff) as usize / 64] &= !(1 << (one % 64));
        }
        Ok(own)
    };
    let mut nobodys = RoaringBitmap::new();
    let mut known: Option<(u32, Words)> = None;
    for chunk in 0..table.chunks() {
        cancel.check()?;
        let mut left = trues_of(&live, chunk)?;
        let mut owned: Words = [0; BITSET_WORDS];
        if let Some(stored) = ordinals.owners(chunk)? {
            for (at, run) in stored.runs.iter().enumerate().filter(|(_, run)| run.owners != NOBODYS) {
                let end = stored.runs.get(at + 1).map_or(stored.halves.len(), |next| next.start as usize);
                let rows = run.start as usize..end;
                if all_own {
                    kernel::set_run(&mut owned, rows.start as u16, (rows.end - 1) as u16);
                    continue;
                }
                if known.as_ref().is_none_or(|(chunk, _)| *chunk != run.owners) {
                    known = Some((run.owners, who_own(run.owners)?));
                }
                let Some((_, own)) = &known else { continue };
                for row in rows.filter(|row| kernel::has(own, stored.halves[*row])) {
                    owned[row / 64] |= 1 << (row % 64);
                }
            }
        }
        if let Some(excluded) = strays.excluded(chunk) {
            owned.iter_mut().zip(excluded).for_each(|(word, excluded)| *word &= !excluded);
        }
        left.iter_mut().zip(&owned).for_each(|(word, owned)| *word &= !owned);
        if left.iter().any(|word| *word != 0) {
            let mut rows = Vec::new();
            kernel::decode_members(&left, kernel::cardinality(&left), &mut rows);
            nobodys.extend(rows.iter().map(|row| chunk << 16 | u32::from(*row)));
        }
    }
    strays.owned().iter().filter(|(_, owner)| !unowned.contains(*owner)).for_each(|(row, _)| {
        nobodys.remove(*row);
    });
    Ok(nobodys)
}
