//! A database: a directory, its one writer, and the snapshots readers hold.
//!
//! ```text
//! Store (manifest, LSN) ─ Catalog ─ TableState per table ─┐
//!                                                         ├─ Arc<State>: what a snapshot holds
//! import, define: the writer's lock ─ new parts ─ a new State ─ Store::commit ─ published in one switch
//! ```

mod adopt;
mod append;
mod backup;
mod checkpoint;
mod columns;
mod commits;
mod define;
mod drop;
mod figures;
mod fold;
mod horizon;
mod keeper;
mod names;
mod pressure;
mod relay;
mod snapshot;
mod users;
mod write;

pub use append::Conflict;
pub use backup::BackedUp;
pub use checkpoint::Checkpointed;
pub use columns::Dependents;
pub use commits::{Commit, Listening};
pub use define::{AudienceSpec, ViewSpec};
pub use figures::Figures;
pub use horizon::SnapshotLimits;
pub use keeper::RELAXED_WINDOW;
pub use pressure::{CHANGES_BYTES_MAX, CHECKPOINT_BYTES};
pub use snapshot::Snapshot;
pub use users::UserChange;
pub use write::{Durability, Transaction};

use append::Append;
use figures::Checkpoints;
use horizon::Horizon;
use keeper::Keeper;
use pressure::Pressure;
use relay::Relay;
use write::{Queue, Writer, WriterSeat};

use crate::batch::RowSource;
use crate::catalog::{Catalog, TableRecord};
use crate::control::{Cancel, OnProgress};
use crate::dictionary::Dictionary;
use crate::events::{KeptTables, KnownStrays};
use crate::member::{KeyIndex, KeyLayout};
use crate::pool;
use crate::schema::{ColumnId, TableId, TableSchema, TableSpec};
use crate::table::{ByColumn, Extent, RangeParts, TableState};
use crate::transfer::import::import;
use crate::writer::apply::{apply, fill_added_columns};
use crate::writer::record;
use crate::{Error, Result};
use muster_storage::disk::Disk;
use muster_storage::disk::real::RealDisk;
use muster_storage::manifest::{Lsn, PartId, PartRef, PartRole, part_file_name};
use muster_storage::part::PartReader;
use muster_storage::store::{OpenMode, Store};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub use muster_storage::store::OpenMode as Mode;

/// An open database.
///
/// Lock order: `writer` before `state`.
pub struct Database {
    store: Store,
    /// There is one: whoever has it changes the database.
    writer: Arc<WriterSeat>,
    /// Mutations that wait for whoever has the writer next.
    queue: Queue,
    /// Held by the one checkpoint that is under way.
    checkpoint: Mutex<()>,
    checkpoints: Checkpoints,
    pressure: Arc<Pressure>,
    keeper: Arc<Keeper>,
    relay: Relay,
    horizon: Horizon,
    listeners: commits::Listeners,
    state: RwLock<Arc<State>>,
}

/// Everything at one LSN.
#[derive(Clone)]
pub(crate) struct State {
    lsn: Lsn,
    /// Bytes of the log that were replayed and appended to come here.
    logged: u64,
    catalog: Arc<Catalog>,
    tables: HashMap<TableId, Arc<TableState>>,
    part_refs: Arc<Vec<PartRef>>,
    parts: Arc<HashMap<PartId, Arc<PartReader>>>,
    /// That of the database which shows the state.
    horizon: Horizon,
    strays: KnownStrays,
    kept: KeptTables,
}

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// Rows that are new, and those whose members got new values.
    pub rows: u64,
    /// Rows of a table that belongs to another one that belong to nobody yet; 0 where they were inserted through the log.
    pub nobodys: u64,
}

impl Database {
    /// Opens a directory; with [`Mode::ReadWrite`] it is created where there is nothing yet.
    ///
    /// Cost: a map and the table of sections of each part; 100 M members open in milliseconds.
    pub fn open(directory: &Path, mode: Mode) -> Result<Database> {
        let disk = match mode {
            OpenMode::ReadWrite => RealDisk::create(directory)?,
            OpenMode::ReadOnly => RealDisk::open(directory)?,
        };
        Database::open_on(Arc::new(disk), mode)
    }

    /// Opens a database on any disk.
    pub fn open_on(disk: Arc<dyn Disk>, mode: Mode) -> Result<Database> {
        let store = Store::open(disk, mode)?;
        let state = match State::opened(&store) {
            // A writer's checkpoint may have removed what this manifest names.
            Err(_) if mode == OpenMode::ReadOnly => State::refreshed(&store)?,
            opened => opened?,
        };
        let log = match mode {
            OpenMode::ReadWrite => Some(store.wal_writer(Lsn(state.lsn.0 + 1))?),
            OpenMode::ReadOnly => None,
        };
        let database = Database {
            store,
            writer: Arc::new(WriterSeat::new(Writer { log })),
            queue: Queue::default(),
            checkpoint: Mutex::new(()),
            checkpoints: Checkpoints::default(),
            pressure: Arc::default(),
            keeper: Arc::default(),
            relay: Relay::default(),
            horizon: Horizon::default(),
            listeners: commits::Listeners::default(),
            state: RwLock::new(Arc::new(state.clone())),
        };
        database.show(state);
        Ok(database)
    }

    /// Lets a database that was opened for reading see every change that its writer acknowledged before this was called.
    /// Snapshots stay what they are. The LSN it shows now comes back; a writer's own shows all there is at any time.
    ///
    /// Cost: as opening it.
    ///
    /// # Errors
    /// Those of opening it; then it shows what it did.
    pub fn refresh(&self) -> Result<u64> {
        if self.store.mode() == OpenMode::ReadOnly {
            // One at a time: a reader makes no checkpoints.
            let _one = self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
            self.show_refreshed(State::refreshed(&self.store)?);
            self.horizon.end_the_old();
        }
        Ok(self.state().lsn.0)
    }

    /// The present, with `now()` fixed to this moment.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.state())
    }

    /// The id of the database, drawn when it was created.
    pub fn id(&self) -> u64 {
        self.store.manifest().database_id
    }

    /// The directory's store, for verification.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Imports rows: all of them, or none where it fails or is cancelled. The source delivers `columns` (ids of the table's,
    /// in the source's order); the others become NULL.
    ///
    /// A table that never had rows gets parts of its own, and a key that the source repeats is refused. Into another the
    /// rows are inserted through the log, and `conflict` says what a key does that is there already.
    pub fn import(
        &self,
        table: TableId,
        columns: &[ColumnId],
        source: &mut dyn RowSource,
        conflict: Conflict,
        cancel: &Cancel,
        progress: OnProgress<'_>,
    ) -> Result<ImportReport> {
        self.pressure.wait_for_room(cancel)?;
        let mut writer = self.writer.take(cancel)?;
        let state = self.state();
        let mut catalog = Catalog::clone(&state.catalog);
        let record = catalog.table_mut(table)?;
        let extent = state.tables.get(&table).map_or_else(Extent::default, |table| table.extent());
        if extent.ordinals > 0 {
            let schema = record.schema.clone();
            let append = Append::new(&schema, columns, conflict)?;
            return append.run(self, &mut writer, source, cancel, progress);
        }
        let owners = state.owners_of(&record.schema);
        let imported = import(&self.store, &record.schema, owners, columns, source, cancel, progress)?;
        *record = imported.record;
        let (rows, nobodys) = (record.rows, imported.nobodys);
        self.publish(&state, &catalog, with(&state, imported.parts), unchecked)?;
        // The rows are in, whatever comes of that.
        let _ = self.adopt_rows(table, cancel, progress);
        Ok(ImportReport { rows, nobodys })
    }

    /// [`Self::create_table`] and its rows in one step, one LSN: where it fails there is no table either.
    pub fn create_and_import(
        &self,
        table: &TableSpec<'_>,
        source: &mut dyn RowSource,
        cancel: &Cancel,
        progress: OnProgress<'_>,
    ) -> Result<ImportReport> {
        let _writer = self.writer.take(cancel)?;
        let state = self.state();
        let mut catalog = Catalog::clone(&state.catalog);
        let schema = names::new_schema(&mut catalog, table)?;
        let ids: Vec<ColumnId> = schema.columns.iter().map(|c| c.id).collect();
        let owners = state.owners_of(&schema);
        let imported = import(&self.store, &schema, owners, &ids, source, cancel, progress)?;
        let (rows, nobodys) = (imported.record.rows, imported.nobodys);
        catalog.tables.push(imported.record);
        self.publish(&state, &catalog, with(&state, imported.parts), unchecked)?;
        Ok(ImportReport { rows, nobodys })
    }

    /// Commits a catalog and its parts under one LSN and shows them to the next snapshot.
    ///
    /// The new state is made first, as opening would make it from the bytes, and asked by `check`: after the commit
    /// nothing can fail any more, so that a change which is durable is also acknowledged and seen. Parts that the old
    /// state does not have are discarded where it comes to no commit.
    fn publish(
        &self,
        old: &State,
        catalog: &Catalog,
        parts: Vec<PartRef>,
        check: impl FnOnce(&State) -> Result<()>,
    ) -> Result<()> {
        let fresh: Vec<PartId> =
            parts.iter().map(|part| part.id).filter(|part| !old.parts.contains_key(part)).collect();
        self.publish_at(old, catalog, parts, None, check).inspect_err(|_| {
            for part in fresh {
                // What cannot be removed now is removed when the database is next opened.
                let _ = self.store.discard_part(part);
            }
        })
    }

    /// [`Self::publish`], and from now on the log is needed after `checkpoint` only; parts are left where it fails.
    fn publish_at(
        &self,
        old: &State,
        catalog: &Catalog,
        parts: Vec<PartRef>,
        checkpoint: Option<Lsn>,
        check: impl FnOnce(&State) -> Result<()>,
    ) -> Result<()> {
        let bytes = catalog.encode();
        let mut new = State::load(&self.store, Catalog::decode(&bytes)?, &parts, Some(old))?;
        check(&new)?;
        new.lsn = Lsn(old.lsn.0 + 1);
        let all_in_parts = new.tables.values().all(|table| table.layers.iter().all(|layer| layer.is_empty()));
        let written =
            if all_in_parts { new.lsn } else { checkpoint.unwrap_or(self.store.manifest().checkpoint) };
        self.store.commit(new.lsn, written, bytes, parts)?;
        match checkpoint {
            // It changes nothing that can be asked for.
            Some(_) => self.show(new),
            None => self.show_commit(new),
        }
        Ok(())
    }

    /// Lets the next snapshot be of a state.
    fn show(&self, mut state: State) {
        let layers = state.tables.values().flat_map(|table| &table.layers);
        self.pressure.set(layers.map(|layer| layer.bytes() as u64).sum(), state.logged);
        state.horizon = self.horizon.clone();
        let new = Arc::new(state);
        let old = std::mem::replace(
            &mut *self.state.write().unwrap_or_else(PoisonError::into_inner),
            Arc::clone(&new),
        );
        if self.horizon.advance(&old, &new) {
            self.keeper.wake();
        }
    }

    /// How long and how much of the disk snapshots may keep of what the database has no more use for.
    pub fn set_snapshot_limits(&self, limits: SnapshotLimits) {
        self.horizon.set_limits(limits);
    }
}

/// The parts of a state and new ones.
fn with(state: &State, new: Vec<PartRef>) -> Vec<PartRef> {
    state.part_refs.iter().cloned().chain(new).collect()
}

/// Nothing to be asked of a new state.
fn unchecked(_: &State) -> Result<()> {
    Ok(())
}

impl State {
    /// The owners of a table's rows.
    fn owners_of(&self, schema: &TableSchema) -> Option<&TableState> {
        self.tables.get(&schema.owner?.table).map(|table| &**table)
    }

    /// What a store's manifest names, and the log after it.
    fn opened(store: &Store) -> Result<State> {
        let manifest = store.manifest();
        let catalog = Catalog::decode(&manifest.catalog)?;
        let mut state = State::load(store, catalog, &manifest.parts, None)?;
        state.recover(store)?;
        Ok(state)
    }

    /// [`Self::opened`] of what is on disk now. It is tried again while a writer goes on: its checkpoints remove what an
    /// older manifest names.
    fn refreshed(store: &Store) -> Result<State> {
        let mut failed_at = None;
        loop {
            store.refresh()?;
            let lsn = store.manifest().lsn;
            match State::opened(store) {
                Err(_) if failed_at != Some(lsn) => failed_at = Some(lsn),
                opened => return opened,
            }
        }
    }

    /// Opens parts under a catalog; those that `old` has open stay open, and verified, and what its tables have in memory
    /// stays with them.
    fn load(store: &Store, catalog: Catalog, part_refs: &[PartRef], old: Option<&State>) -> Result<State> {
        let mut parts = HashMap::new();
        for part in part_refs {
            let reader = match old.and_then(|old| old.parts.get(&part.id)) {
                Some(reader) => Arc::clone(reader),
                None => open_part(store, part)?,
            };
            parts.insert(part.id, reader);
        }
        let mut tables = HashMap::new();
        for record in &catalog.tables {
            let table = open_table(store, record, part_refs, &parts)?;
            let audiences = catalog.audiences.iter().map(|audience| &**audience);
            let table = table.with_audiences(audiences.filter(|audience| audience.table == record.schema.id));
            let before = old.and_then(|old| old.tables.get(&record.schema.id));
            let mut table = match before {
                Some(before) => table.with_changes_of(before)?,
                None => table.with_keys_found()?,
            };
            fill_added_columns(&mut table)?;
            tables.insert(record.schema.id, Arc::new(table));
        }
        Ok(State {
            lsn: store.manifest().lsn,
            logged: old.map_or(0, |old| old.logged),
            catalog: Arc::new(catalog),
            tables,
            part_refs: Arc::new(part_refs.to_vec()),
            parts: Arc::new(parts),
            horizon: old.map_or_else(Horizon::default, |old| old.horizon.clone()),
            strays: old.map_or_else(KnownStrays::default, |old| old.strays.clone()),
            kept: KeptTables::default(),
        })
    }
}

impl State {
    /// Applies what the log holds beyond the parts, as it was applied when it was written. Tables and columns that were
    /// dropped later are passed over.
    fn recover(&mut self, store: &Store) -> Result<()> {
        let State { lsn, logged, tables, .. } = self;
        store.replay(|at, kind, payload| {
            let type_of = |table: TableId, column: ColumnId| {
                tables.get(&table)?.schema().column(column).map(|column| column.data_type)
            };
            let changes = record::decode(kind, payload, &type_of)?;
            for change in changes {
                if let Some(table) = tables.get_mut(&change.table) {
                    apply(Arc::make_mut(table), &change)?;
                }
            }
            *lsn = at.max(*lsn);
            *logged += payload.len() as u64;
            Ok::<(), Error>(())
        })?;
        Ok(())
    }
}

fn open_part(store: &Store, part: &PartRef) -> Result<Arc<PartReader>> {
    let name = part_file_name(part.id);
    let bytes = store.disk().map(&name)?;
    Ok(Arc::new(PartReader::open(&name, bytes, store.manifest().database_id, part)?))
}

/// A table of its parts among `parts`; those not in `open` are opened.
pub(crate) fn open_table(
    store: &Store,
    record: &TableRecord,
    parts: &[PartRef],
    open: &HashMap<PartId, Arc<PartReader>>,
) -> Result<TableState> {
    let mut ranges: Vec<RangeParts> = Vec::new();
    let mut dictionaries = ByColumn::default();
    let mut keys = match record.keys {
        KeyLayout::Sequence { first } => KeyIndex::Sequence(first),
        KeyLayout::None | KeyLayout::Hashed => KeyIndex::None,
    };
    for part in parts.iter().filter(|part| part.table == record.schema.id.0) {
        let reader = match open.get(&part.id) {
            Some(reader) => Arc::clone(reader),
            None => open_part(store, part)?,
        };
        match part.role {
            PartRole::Base => {
                let range = part.range as usize;
                if ranges.len() <= range {
                    ranges.resize_with(range + 1, RangeParts::default);
                }
                for column in &part.columns {
                    ranges[range].columns.insert(ColumnId(*column), Arc::clone(&reader));
                }
            }
            PartRole::Dictionary => {
                for column in part.columns.iter().copied() {
                    dictionaries.insert(ColumnId(column), Dictionary::open(Arc::clone(&reader), column));
                }
            }
            PartRole::KeyIndex => keys = KeyIndex::Hashed(reader),
            PartRole::Patch => {
                let range = part.range as usize;
                if ranges.len() <= range {
                    ranges.resize_with(range + 1, RangeParts::default);
                }
                for column in &part.columns {
                    let patches = ranges[range].patches.entry(ColumnId(*column)).or_default();
                    patches.push(Arc::clone(&reader));
                }
            }
        }
    }
    let extent = Extent { rows: record.rows, ordinals: record.ordinals, indexed: record.indexed };
    Ok(TableState::new(Arc::new(record.schema.clone()), extent, ranges, dictionaries, keys))
}
