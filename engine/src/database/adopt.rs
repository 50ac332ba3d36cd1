//! Rows that came before their owners: put in order when these are imported.
//!
//! ```text
//! orders imported ─ all are nobody's ─ members imported: one LSN ─ orders written anew by their members: the next LSN
//! ```
//!
//! The second step is apart: where it does not come to its commit, all answers are the same, and take longer. Rows get other
//! ordinals, so it is for tables of which nothing else names any: no change is in memory or in patches, none is in the log after
//! the checkpoint, no row is gone, no static audience has members, no rows of another table are in the order of these. Snapshots
//! keep the parts they have.

use super::{Database, unchecked};
use crate::Result;
use crate::catalog::Catalog;
use crate::control::{Cancel, OnProgress};
use crate::schema::TableId;
use crate::table::TableState;
use crate::transfer::import::cluster_again;
use muster_storage::manifest::{PartRef, PartRole};

impl Database {
    /// Puts the rows of tables that belong to `owners` in order, where all of them came before these. The caller has the writer.
    ///
    /// Cost: an import of the rows, without reading files.
    pub(super) fn adopt_rows(
        &self,
        owners: TableId,
        cancel: &Cancel,
        progress: OnProgress<'_>,
    ) -> Result<()> {
        let tables: Vec<TableId> = self.state().tables.keys().copied().collect();
        for id in tables {
            let state = self.state();
            let (Some(rows), Some(owners)) = (state.tables.get(&id), state.tables.get(&owners)) else {
                continue;
            };
            let parts: Vec<&PartRef> = state.part_refs.iter().filter(|part| part.table == id.0).collect();
            let owned = rows.schema().owner.filter(|owner| owner.table == owners.schema().id);
            let mut others = state.tables.values().filter_map(|other| other.schema().owner);
            let are_owners = others.any(|owner| owner.table == id && owner.known > 0);
            if owned.is_none_or(|owner| owner.known > 0) || are_owners || !may_move(rows, &parts) {
                continue;
            }
            let mut catalog = Catalog::clone(&state.catalog);
            let record = catalog.table_mut(id)?;
            let ordered = cluster_again(&self.store, rows, record, owners, cancel, progress)?;
            *record = ordered.record;
            let stays = |part: &&PartRef| part.table != id.0 || part.role == PartRole::Dictionary;
            let parts = state.part_refs.iter().filter(stays).cloned().chain(ordered.parts);
            self.publish(&state, &catalog, parts.collect(), unchecked)?;
        }
        Ok(())
    }
}

/// True of a table of which nothing but its parts names an ordinal.
fn may_move(rows: &TableState, parts: &[&PartRef]) -> bool {
    rows.rows() > 0
        && !rows.has_dead()
        && rows.layers.iter().all(|layer| layer.is_empty())
        && rows.new_keys.is_empty()
        && rows.hidden().is_empty()
        && parts.iter().all(|part| part.role != PartRole::Patch)
}
