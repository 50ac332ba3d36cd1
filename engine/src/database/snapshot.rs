//! What readers hold.

use super::State;
use crate::audience;
use crate::catalog::{AudienceRecord, Relation, UserRecord, ViewRecord};
use crate::events::{RowsByOwner, Strays};
use crate::member::{self, Key, KeyLayout};
use crate::predicate::{AudienceId, Predicate};
use crate::schema::{ColumnId, DataType, TableId, TableSchema};
use crate::table::TableState;
use crate::value::Value;
use crate::{Error, Result};
use muster_storage::manifest::PartId;
use muster_storage::part::PartReader;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A read view: one LSN, one `now()`. Cheap to clone; never waits and never changes.
///
/// It keeps the files that it reads, also where the database has replaced them. Past the [`super::SnapshotLimits`] it ends:
/// whatever is begun with it is then [`Error::SnapshotEnded`], and dropping it gives the disk back.
#[derive(Clone)]
pub struct Snapshot {
    state: Arc<State>,
    now_micros: i64,
}

impl Snapshot {
    /// The view of a state, with `now()` fixed to this moment.
    pub(super) fn of(state: Arc<State>) -> Snapshot {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        Snapshot { state, now_micros: now }
    }

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

    /// What has this name: a table, a view or an audience.
    pub fn named(&self, name: &str) -> Option<Relation> {
        self.state.catalog.named(name)
    }

    /// All views, by name.
    pub fn views(&self) -> Vec<Arc<ViewRecord>> {
        let mut views = self.state.catalog.views.clone();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// The view of this name.
    pub fn view_named(&self, name: &str) -> Option<Arc<ViewRecord>> {
        self.state.catalog.views.iter().find(|view| view.name == name).cloned()
    }

    /// All audiences, by name.
    pub fn audiences(&self) -> Vec<Arc<AudienceRecord>> {
        let mut audiences = self.state.catalog.audiences.clone();
        audiences.sort_by(|a, b| a.name.cmp(&b.name));
        audiences
    }

    /// The audience of this name.
    pub fn audience_named(&self, name: &str) -> Option<Arc<AudienceRecord>> {
        self.state.catalog.audiences.iter().find(|audience| audience.name == name).cloned()
    }

    /// The audience with this id.
    pub fn audience(&self, id: AudienceId) -> Option<&Arc<AudienceRecord>> {
        self.state.catalog.audience(id)
    }

    /// All users, by name.
    pub fn users(&self) -> &[Arc<UserRecord>] {
        &self.state.catalog.users
    }

    /// The user of this name.
    pub fn user_named(&self, name: &str) -> Option<Arc<UserRecord>> {
        self.state.catalog.user(name).cloned()
    }

    /// A predicate of a table with the definitions of its audiences in the place of their ids.
    pub fn expand(&self, table: TableId, predicate: &Predicate) -> Result<Predicate> {
        let table = self.table(table)?;
        audience::expand(predicate, &|id| table.audience(id))
    }

    /// The type of a column, where there is one.
    pub fn column_type(&self, table: TableId, column: ColumnId) -> Option<DataType> {
        let schema = self.state.tables.get(&table)?.schema();
        schema.column(column).map(|column| column.data_type)
    }

    /// The schema of a table.
    pub fn schema(&self, table: TableId) -> Result<&Arc<TableSchema>> {
        Ok(self.table(table)?.schema())
    }

    /// The number of live rows of a table; 0 for one that does not exist.
    pub fn rows(&self, table: TableId) -> u64 {
        self.state.tables.get(&table).map_or(0, |table| table.rows())
    }

    /// The number of a table's chunks: ordinals are below 65,536 times as many.
    pub fn chunks(&self, table: TableId) -> Result<u32> {
        Ok(self.table(table)?.chunks())
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

    /// The ordinals of the rows of a table that belong to the member with this key, in the order of time; none where no member has
    /// the key. Rows whose time is NULL come last, those of one time (and all rows of a table without a time) as they are stored.
    ///
    /// They are the rows that live and hold the key, whenever they and their member came: rows of a key that nobody has are
    /// nobody's. [`crate::exec::project`] reads their values.
    ///
    /// Cost: some microseconds where the rows are in a cache, a miss for each span of time of the table (some sixty) where they
    /// are not; some of it is opening the table, which [`Self::rows_by_owner`] does once for many members. The first question after
    /// a commit that wrote rows finds those written since the import, as every question about rows does.
    ///
    /// # Errors
    /// A table that does not exist, or whose rows belong to nobody; a key that is no BIGINT or TEXT; damaged bytes; a snapshot
    /// that has ended.
    ///
    /// ```
    /// use muster_engine::Value;
    /// # fn shown(snapshot: &muster_engine::Snapshot, orders: muster_engine::TableId) -> muster_engine::Result<()> {
    /// let latest = snapshot.rows_of(orders, &Value::Integer(42))?.last().copied();
    /// # Ok(())
    /// # }
    /// ```
    pub fn rows_of(&self, table: TableId, key: &Value) -> Result<Vec<u32>> {
        Ok(self.rows_by_owner(table)?.of_key(key)?.unwrap_or_default())
    }

    /// The rows of a table by whose they are, opened to be asked for many members. Errors as [`Self::rows_of`].
    pub fn rows_by_owner(&self, table: TableId) -> Result<RowsByOwner<'_>> {
        RowsByOwner::new(self, table)
    }

    /// Values of a TEXT column, or tags of a TEXT[] column, that begin with `prefix` (exact bytes), in order, at most
    /// `limit` of them: what a user may be about to type. They come from the column's dictionary, so a column without one
    /// (nearly every text in it is another, or it has another type) gives none. Cost: a search, not a scan of members.
    pub fn text_values(
        &self,
        table: TableId,
        column: ColumnId,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<String>> {
        let Some(dictionary) = self.table(table)?.dictionary(column) else { return Ok(Vec::new()) };
        let dictionary = dictionary.view()?;
        let values = dictionary.beginning_with(prefix.as_bytes()).take(limit);
        Ok(values.map(|value| String::from_utf8_lossy(value).into_owned()).collect())
    }

    pub(crate) fn part(&self, part: PartId) -> Option<&PartReader> {
        self.state.parts.get(&part).map(|reader| &**reader)
    }

    /// The rows of a table that the runs of their owners do not have.
    pub(crate) fn strays(&self, table: TableId) -> Result<Arc<Strays>> {
        let table = self.table(table)?;
        let owner = table.schema().owner.map_or(table.schema().id, |owner| owner.table);
        self.state.strays.of(table, self.table(owner)?)
    }

    /// True where the strays of a table are known, or need not be found again and again: nothing was written since the checkpoint.
    pub(crate) fn is_settled(&self, table: TableId) -> Result<bool> {
        let table = self.table(table)?;
        let Some(owner) = table.schema().owner else { return Ok(false) };
        let owners = self.table(owner.table)?;
        let is_clean = table.layers.is_empty() && owners.layers.is_empty();
        Ok(is_clean || self.state.strays.knows(table, owners))
    }

    /// A table with what is kept of its rows' owners as it is now; `None` where that would take as long as going through rows.
    pub(crate) fn kept(&self, table: TableId) -> Result<Option<&TableState>> {
        let slot = self.state.kept.slot(table, self.state.tables.keys().copied());
        let Some(slot) = slot else { return Ok(None) };
        if slot.get().is_none() {
            let (rows, strays) = (self.table(table)?, self.strays(table)?);
            let owners = rows.schema().owner.map_or(table, |owner| owner.table);
            let made = strays.kept(rows, self.table(owners)?)?;
            return Ok(slot.get_or_init(|| made).as_ref());
        }
        Ok(slot.get().and_then(Option::as_ref))
    }

    pub(crate) fn key_layout(&self, table: TableId) -> KeyLayout {
        self.state.catalog.table(table).map_or(KeyLayout::None, |record| record.keys)
    }

    /// An error once the snapshot has ended.
    pub fn check(&self) -> Result<()> {
        self.state.horizon.check(self.state.lsn)
    }

    /// Where all questions begin.
    pub(crate) fn table(&self, table: TableId) -> Result<&Arc<TableState>> {
        self.check()?;
        self.state.tables.get(&table).ok_or_else(|| Error::Invalid(format!("there is no table {}", table.0)))
    }
}
