//! A database: a directory, its one writer, and the snapshots readers hold.
//!
//! ```text
//! Store (manifest, LSN) ─ Catalog ─ TableState per table ─┐
//!                                                         ├─ Arc<State>: what a snapshot holds
//! create_table, import: the writer's lock ─ new parts ─ Store::commit ─ a new State, published in one switch
//! ```

use crate::batch::RowSource;
use crate::catalog::{Catalog, TableRecord};
use crate::control::{Cancel, OnProgress};
use crate::dictionary::Dictionary;
use crate::member::{self, Key, KeyIndex, KeyLayout};
use crate::schema::{
    Column, ColumnId, ColumnSpec, DECIMAL_PRECISION_MAX, DataType, NAME_BYTES_MAX, TableId, TableSchema,
};
use crate::table::{ByColumn, RangeParts, TableState};
use crate::transfer::import::{Imported, import};
use crate::value::Value;
use crate::{Error, Result};
use muster_storage::disk::Disk;
use muster_storage::disk::real::RealDisk;
use muster_storage::manifest::{Lsn, PartId, PartRef, PartRole, part_file_name};
use muster_storage::part::PartReader;
use muster_storage::store::{OpenMode, Store};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

pub use muster_storage::store::OpenMode as Mode;

/// An open database.
///
/// Lock order: `writer` before `state`.
pub struct Database {
    store: Store,
    /// Held for a whole change: there is one writer.
    writer: Mutex<()>,
    state: RwLock<Arc<State>>,
}

/// Everything at one LSN.
pub(crate) struct State {
    lsn: Lsn,
    catalog: Catalog,
    tables: HashMap<TableId, Arc<TableState>>,
    parts: HashMap<PartId, Arc<PartReader>>,
}

/// A read view: one LSN, one `now()`. Cheap to clone; never waits and never changes.
#[derive(Clone)]
pub struct Snapshot {
    state: Arc<State>,
    now_micros: i64,
}

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// Rows imported.
    pub rows: u64,
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
        let state = State::load(&store, &HashMap::new())?;
        Ok(Database { store, writer: Mutex::new(()), state: RwLock::new(Arc::new(state)) })
    }

    /// The present, with `now()` fixed to this moment.
    pub fn snapshot(&self) -> Snapshot {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        Snapshot { state: self.state(), now_micros: now }
    }

    /// The directory's store, for verification.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Creates an empty table. `key` indexes `columns`; a key is BIGINT or TEXT and never NULL.
    pub fn create_table(&self, name: &str, columns: &[ColumnSpec], key: Option<usize>) -> Result<TableId> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state();
        let mut catalog = state.catalog.clone();
        let schema = new_schema(&mut catalog, name, columns, key)?;
        let id = schema.id;
        catalog.tables.push(TableRecord { schema, rows: 0, keys: KeyLayout::None });
        self.publish(&state, catalog, Vec::new())?;
        Ok(id)
    }

    /// Imports rows into an empty table: all of them, or none where it fails or is cancelled. The source delivers
    /// `columns` (ids of the table's, in the source's order); the others become NULL.
    pub fn import(
        &self,
        table: TableId,
        columns: &[ColumnId],
        source: &mut dyn RowSource,
        cancel: &Cancel,
        progress: OnProgress<'_>,
    ) -> Result<ImportReport> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state();
        let mut catalog = state.catalog.clone();
        let Some(record) = catalog.tables.iter_mut().find(|record| record.schema.id == table) else {
            return Err(Error::Invalid(format!("there is no table {}", table.0)));
        };
        if record.rows > 0 {
            return Err(Error::Invalid(format!(
                "table \"{}\" already has {} rows; rows are imported into an empty table, all files at once",
                record.schema.name, record.rows
            )));
        }
        let imported = import(&self.store, &record.schema, columns, source, cancel, progress)?;
        *record = imported.record.clone();
        let rows = record.rows;
        self.publish_imported(&state, catalog, imported)?;
        Ok(ImportReport { rows })
    }

    /// Creates a table and imports its rows in one step, one LSN: where it fails there is no table either.
    pub fn create_and_import(
        &self,
        name: &str,
        columns: &[ColumnSpec],
        key: Option<usize>,
        source: &mut dyn RowSource,
        cancel: &Cancel,
        progress: OnProgress<'_>,
    ) -> Result<ImportReport> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.state();
        let mut catalog = state.catalog.clone();
        let schema = new_schema(&mut catalog, name, columns, key)?;
        let ids: Vec<ColumnId> = schema.columns.iter().map(|c| c.id).collect();
        let imported = import(&self.store, &schema, &ids, source, cancel, progress)?;
        let rows = imported.record.rows;
        catalog.tables.push(imported.record.clone());
        self.publish_imported(&state, catalog, imported)?;
        Ok(ImportReport { rows })
    }

    fn publish_imported(&self, state: &State, catalog: Catalog, imported: Imported) -> Result<()> {
        let parts: Vec<PartId> = imported.parts.iter().map(|part| part.id).collect();
        self.publish(state, catalog, imported.parts).inspect_err(|_| {
            for part in parts {
                let _ = self.store.discard_part(part);
            }
        })
    }

    /// Commits a catalog and new parts under one LSN and shows them to the next snapshot.
    ///
    /// The new parts are opened first: after the commit nothing can fail any more, so that a change which is durable is
    /// also acknowledged and seen.
    fn publish(&self, old: &State, catalog: Catalog, new_parts: Vec<PartRef>) -> Result<()> {
        let mut open = old.parts.clone();
        for part in &new_parts {
            open.insert(part.id, open_part(&self.store, part)?);
        }
        let mut parts = self.store.manifest().parts.clone();
        parts.extend(new_parts);
        self.store.commit(catalog.encode(), parts)?;
        let new = State::load(&self.store, &open)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }
}

impl State {
    /// Opens what the manifest names; parts already open stay open, and verified.
    fn load(store: &Store, open: &HashMap<PartId, Arc<PartReader>>) -> Result<State> {
        let manifest = store.manifest();
        let catalog = Catalog::decode(&manifest.catalog)?;
        let mut parts = HashMap::new();
        for part in &manifest.parts {
            let reader = match open.get(&part.id) {
                Some(reader) => Arc::clone(reader),
                None => open_part(store, part)?,
            };
            parts.insert(part.id, reader);
        }
        let mut tables = HashMap::new();
        for record in &catalog.tables {
            let table = open_table(store, record, &manifest.parts, &parts)?;
            tables.insert(record.schema.id, Arc::new(table));
        }
        Ok(State { lsn: manifest.lsn, catalog, tables, parts })
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
                return Err(Error::Invalid(format!(
                    "part {} holds changes, which this muster cannot read",
                    part.id
                )));
            }
        }
    }
    Ok(TableState::new(Arc::new(record.schema.clone()), record.rows, ranges, dictionaries, keys))
}

/// Checks names and types and gives out ids.
fn new_schema(
    catalog: &mut Catalog,
    name: &str,
    columns: &[ColumnSpec],
    key: Option<usize>,
) -> Result<TableSchema> {
    let invalid = |text: String| Err(Error::Invalid(text));
    if catalog.tables.iter().any(|record| record.schema.name == name) {
        return invalid(format!("table \"{name}\" already exists"));
    }
    if columns.is_empty() {
        return invalid(format!("table \"{name}\" needs at least one column"));
    }
    for name in std::iter::once(name).chain(columns.iter().map(|c| c.name.as_str())) {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return invalid(format!("a name has 1 to {NAME_BYTES_MAX} bytes, \"{name}\" has {}", name.len()));
        }
    }
    let mut seen = HashSet::new();
    if let Some(twice) = columns.iter().find(|c| !seen.insert(&c.name)) {
        return invalid(format!("column \"{}\" is declared twice", twice.name));
    }
    for column in columns {
        if let DataType::Decimal { precision, scale } = column.data_type
            && (precision == 0 || precision > DECIMAL_PRECISION_MAX || scale > precision)
        {
            return invalid(format!(
                "column \"{}\": DECIMAL({precision},{scale}) is not supported; precision is 1 to {DECIMAL_PRECISION_MAX} \
                 and scale 0 to the precision",
                column.name
            ));
        }
    }
    if let Some(key) = key.and_then(|key| columns.get(key))
        && !matches!(key.data_type, DataType::BigInt | DataType::Text)
    {
        return invalid(format!(
            "column \"{}\" cannot be the key: a key is BIGINT or TEXT, not {}",
            key.name, key.data_type
        ));
    }
    let columns: Vec<Column> = (columns.iter().enumerate())
        .map(|(index, spec)| Column {
            id: ColumnId(ColumnId::FIRST.0 + index as u32),
            name: spec.name.clone(),
            data_type: spec.data_type,
            nullable: spec.nullable && key != Some(index),
        })
        .collect();
    let id = catalog.next_table;
    catalog.next_table = TableId(id.0 + 1);
    let next_column = ColumnId(ColumnId::FIRST.0 + columns.len() as u32);
    let key = key.and_then(|key| columns.get(key)).map(|column| column.id);
    Ok(TableSchema { id, name: name.into(), columns, key, ordinal_epoch: 1, next_column })
}

impl Snapshot {
    /// The same view with another `now()` (microseconds since 1970-01-01 UTC): for tests and `--now`.
    pub fn at(self, now_micros: i64) -> Snapshot {
        Snapshot { now_micros, ..self }
    }

    /// This statement's clock: microseconds since 1970-01-01 UTC.
    pub fn now_micros(&self) -> i64 {
        self.now_micros
    }

    /// The change that this view includes last.
    pub fn lsn(&self) -> u64 {
        self.state.lsn.0
    }

    /// All tables, by name.
    pub fn tables(&self) -> Vec<Arc<TableSchema>> {
        let mut tables: Vec<_> = self.state.tables.values().map(|table| Arc::clone(table.schema())).collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables
    }

    /// The table of this name.
    pub fn table_named(&self, name: &str) -> Option<Arc<TableSchema>> {
        self.state.tables.values().map(|table| table.schema()).find(|schema| schema.name == name).cloned()
    }

    /// The type of a column, where there is one.
    pub fn column_type(&self, table: TableId, column: ColumnId) -> Option<DataType> {
        let schema = self.state.tables.get(&table)?.schema();
        schema.column(column).map(|column| column.data_type)
    }

    /// The number of live rows of a table; 0 for one that does not exist.
    pub fn rows(&self, table: TableId) -> u64 {
        self.state.tables.get(&table).map_or(0, |table| table.rows())
    }

    /// The ordinals of some keys, in their order; `None` for a key that no member has. See [`member::lookup`].
    pub fn lookup(&self, table: TableId, keys: &[Value]) -> Result<Vec<Option<u32>>> {
        let keys: Option<Vec<Key<'_>>> = keys.iter().map(Key::of_value).collect();
        let keys = keys.ok_or_else(|| Error::Invalid("a key is a BIGINT or a TEXT".into()))?;
        self.lookup_keys(table, &keys)
    }

    /// [`Self::lookup`] without a copy of the keys.
    pub fn lookup_keys(&self, table: TableId, keys: &[Key<'_>]) -> Result<Vec<Option<u32>>> {
        member::lookup(self.table(table)?, keys)
    }

    pub(crate) fn part(&self, part: PartId) -> Option<&PartReader> {
        self.state.parts.get(&part).map(|reader| &**reader)
    }

    pub(crate) fn key_layout(&self, table: TableId) -> KeyLayout {
        let records = self.state.catalog.tables.iter();
        records
            .filter(|record| record.schema.id == table)
            .map(|record| record.keys)
            .next()
            .unwrap_or(KeyLayout::None)
    }

    pub(crate) fn table(&self, table: TableId) -> Result<&Arc<TableState>> {
        self.state.tables.get(&table).ok_or_else(|| Error::Invalid(format!("there is no table {}", table.0)))
    }
}
