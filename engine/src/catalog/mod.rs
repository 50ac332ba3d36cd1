//! What the manifest carries for the engine: every table's schema, what is true of all its parts together, the views and
//! audiences defined over tables, and the users.
//!
//! Tables, views and audiences share one space of names. Ids are never used again, so that bytes and definitions that
//! name one can never come to mean another. Nothing names a user, so users have names alone, in a space of their own.
//!
//! Catalogs of version 1 (tables alone), 2 (tables that are imported and never written to), 3 (tables whose rows are
//! nobody's), 4 (rows clustered by owner and time alone) and 5 (no users) are read as well; what is written is always of
//! `CATALOG_VERSION`.

mod depends;
mod relation;
mod user;

use relation::{ImportedTable, LoneTable, OwnedTable};

pub use depends::Subject;
pub use relation::{
    AudienceKind, AudienceRecord, Definition, Relation, TableRecord, ViewColumn, ViewId, ViewRecord,
};
pub(crate) use user::check_hash;
pub use user::{PASSWORD_HASH_BYTES_MAX, Role, UserRecord};

use crate::predicate::AudienceId;
use crate::schema::TableId;
use crate::{Error, Result};
use bincode::{Decode, Encode};
use muster_storage::codec;
use std::sync::Arc;

/// The version of the catalog's encoding.
const CATALOG_VERSION: u16 = 6;

/// All tables, views, audiences and users of a database.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Catalog {
    version: u16,
    /// The id of the next table.
    pub next_table: TableId,
    /// The id of the next view.
    pub next_view: ViewId,
    /// The id of the next audience.
    pub next_audience: AudienceId,
    /// The tables, by id.
    pub tables: Vec<TableRecord>,
    /// The views, by id.
    pub views: Vec<Arc<ViewRecord>>,
    /// The audiences, by id.
    pub audiences: Vec<Arc<AudienceRecord>>,
    /// The users, by name.
    pub users: Vec<Arc<UserRecord>>,
}

/// A catalog of version 1.
#[derive(Encode, Decode)]
struct TablesOnly {
    version: u16,
    next_table: TableId,
    tables: Vec<ImportedTable>,
}

/// A catalog of version 2 to 5, by its tables.
#[derive(Encode, Decode)]
struct Older<T> {
    version: u16,
    next_table: TableId,
    next_view: ViewId,
    next_audience: AudienceId,
    tables: Vec<T>,
    views: Vec<Arc<ViewRecord>>,
    audiences: Vec<Arc<AudienceRecord>>,
}

impl<T: Into<TableRecord>> From<Older<T>> for Catalog {
    fn from(old: Older<T>) -> Catalog {
        Catalog {
            version: CATALOG_VERSION,
            next_table: old.next_table,
            next_view: old.next_view,
            next_audience: old.next_audience,
            tables: old.tables.into_iter().map(T::into).collect(),
            views: old.views,
            audiences: old.audiences,
            users: Vec::new(),
        }
    }
}

impl Default for Catalog {
    fn default() -> Catalog {
        Catalog {
            version: CATALOG_VERSION,
            next_table: TableId(1),
            next_view: ViewId(1),
            next_audience: AudienceId(1),
            tables: Vec::new(),
            views: Vec::new(),
            audiences: Vec::new(),
            users: Vec::new(),
        }
    }
}

impl Catalog {
    /// The catalog of a manifest; an empty one is that of a new database.
    pub fn decode(bytes: &[u8]) -> Result<Catalog> {
        if bytes.is_empty() {
            return Ok(Catalog::default());
        }
        let refuse =
            |found: String| Error::Invalid(format!("the catalog is not one this muster reads: {found}"));
        // The version comes first and is looked at before anything it might have changed.
        match bytes.first_chunk::<2>().map(|b| u16::from_le_bytes(*b)) {
            Some(version @ (2..=CATALOG_VERSION)) => {
                let catalog = match version {
                    2 => codec::decode(bytes).map(|old: Older<ImportedTable>| Catalog::from(old)),
                    3 => codec::decode(bytes).map(|old: Older<LoneTable>| Catalog::from(old)),
                    4 => codec::decode(bytes).map(|old: Older<OwnedTable>| Catalog::from(old)),
                    5 => codec::decode(bytes).map(|old: Older<TableRecord>| Catalog::from(old)),
                    _ => codec::decode(bytes),
                };
                let catalog: Catalog = catalog.map_err(|error| refuse(error.to_string()))?;
                catalog.check_needs().map_err(|error| refuse(error.to_string()))?;
                catalog.check_users().map_err(|error| refuse(error.to_string()))?;
                Ok(catalog)
            }
            Some(1) => {
                let old: TablesOnly = codec::decode(bytes).map_err(|error| refuse(error.to_string()))?;
                let tables = old.tables.into_iter().map(TableRecord::from).collect();
                Ok(Catalog { next_table: old.next_table, tables, ..Catalog::default() })
            }
            version => Err(refuse(format!("version {version:?}, expected at most {CATALOG_VERSION}"))),
        }
    }

    /// The bytes for a manifest.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Refuses users out of order, or without a name or hash: damage that leaves the form of a catalog.
    fn check_users(&self) -> Result<()> {
        if self.users.first().is_some_and(|user| user.name.is_empty())
            || !self.users.is_sorted_by(|a, b| a.name < b.name)
        {
            return Err(Error::Invalid("the names of users do not ascend".into()));
        }
        self.users.iter().try_for_each(|user| check_hash(&user.password_hash))
    }

    /// What has this name.
    pub fn named(&self, name: &str) -> Option<Relation> {
        let table = self.tables.iter().find(|t| t.schema.name == name).map(|t| Relation::Table(t.schema.id));
        let view = || self.views.iter().find(|v| v.name == name).map(|v| Relation::View(v.id));
        let audience = || self.audiences.iter().find(|a| a.name == name).map(|a| Relation::Audience(a.id));
        table.or_else(view).or_else(audience)
    }

    /// A relation as messages show it: `audience "gold"`.
    pub fn describe(&self, relation: Relation) -> String {
        match self.name(relation) {
            Some(name) => format!("{} \"{name}\"", relation.kind()),
            None => format!("a missing {}", relation.kind()),
        }
    }

    /// The name of what exists.
    fn name(&self, relation: Relation) -> Option<&String> {
        match relation {
            Relation::Table(id) => self.tables.iter().find(|t| t.schema.id == id).map(|t| &t.schema.name),
            Relation::View(id) => self.views.iter().find(|v| v.id == id).map(|v| &v.name),
            Relation::Audience(id) => self.audiences.iter().find(|a| a.id == id).map(|a| &a.name),
        }
    }

    /// Whether it exists.
    pub fn has(&self, relation: Relation) -> bool {
        self.name(relation).is_some()
    }

    /// The table with this id.
    pub fn table(&self, id: TableId) -> Result<&TableRecord> {
        self.tables.iter().find(|table| table.schema.id == id).ok_or_else(|| no_table(id))
    }

    /// The table with this id, to be changed.
    pub fn table_mut(&mut self, id: TableId) -> Result<&mut TableRecord> {
        self.tables.iter_mut().find(|table| table.schema.id == id).ok_or_else(|| no_table(id))
    }

    /// The view with this id.
    pub fn view(&self, id: ViewId) -> Option<&Arc<ViewRecord>> {
        self.views.iter().find(|view| view.id == id)
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Option<&Arc<UserRecord>> {
        self.users.iter().find(|user| user.name == name)
    }

    /// The audience with this id.
    pub fn audience(&self, id: AudienceId) -> Option<&Arc<AudienceRecord>> {
        self.audiences.iter().find(|audience| audience.id == id)
    }
}

fn no_table(id: TableId) -> Error {
    Error::Invalid(format!("there is no table {}", id.0))
}

#[cfg(test)]
mod tests;
