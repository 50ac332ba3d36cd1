//! stub

use crate::batch::RowSource;
use crate::control::{Cancel, OnProgress};
use crate::schema::{ColumnSpec, TableId, TableSchema};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// How a database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Takes the directory's lock; creates the database where there is none.
    ReadWrite,
    /// Takes no lock; the database must exist.
    ReadOnly,
}

/// An open database.
pub struct Database {}

/// A read view: one LSN, one `now()`. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot {}

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportReport {
    /// Rows imported.
    pub rows: u64,
}

impl Database {
    /// Opens a directory.
    pub fn open(_directory: &Path, _mode: Mode) -> Result<Database> {
        stub()
    }
    /// The present, with `now` fixed.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {}
    }
    /// Creates an empty table. `key` indexes `columns`; a key column must be BIGINT or TEXT and is never NULL.
    pub fn create_table(&self, _name: &str, _columns: &[ColumnSpec], _key: Option<usize>) -> Result<TableId> {
        stub()
    }
    /// Imports rows into an empty table: all of them, or none where it fails or is cancelled. The source delivers
    /// `columns` (ids of the table's, in the source's order); the others become NULL.
    pub fn import(
        &self,
        _table: TableId,
        _columns: &[crate::ColumnId],
        _source: &mut dyn RowSource,
        _cancel: &Cancel,
        _progress: OnProgress<'_>,
    ) -> Result<ImportReport> {
        stub()
    }
    /// Creates a table and imports its rows in one step, one LSN: where it fails there is no table either.
    pub fn create_and_import(
        &self,
        _name: &str,
        _columns: &[ColumnSpec],
        _key: Option<usize>,
        _source: &mut dyn RowSource,
        _cancel: &Cancel,
        _progress: OnProgress<'_>,
    ) -> Result<ImportReport> {
        stub()
    }
}

fn stub<T>() -> Result<T> {
    Err(Error::Invalid("not built yet".into()))
}

impl Snapshot {
    /// The same view with another `now()` (microseconds since 1970-01-01 UTC): for tests and `--now`.
    pub fn at(self, _now_micros: i64) -> Snapshot {
        self
    }
    /// This statement's clock: microseconds since 1970-01-01 UTC.
    pub fn now_micros(&self) -> i64 {
        0
    }
    /// All tables, by name.
    pub fn tables(&self) -> Vec<Arc<TableSchema>> {
        Vec::new()
    }
    /// The table of this name.
    pub fn table_named(&self, _name: &str) -> Option<Arc<TableSchema>> {
        None
    }
    /// The number of live rows of a table.
    pub fn rows(&self, _table: TableId) -> u64 {
        0
    }
}
