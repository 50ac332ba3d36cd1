//! Where the names and values come from.

use super::context::Relation;
use muster_engine::Snapshot;
use musterdb::{ColumnId, DataType, Database, TableId};

/// A column and its type.
pub(in crate::cmd::shell) struct Column {
    pub(in crate::cmd::shell) name: String,
    pub(in crate::cmd::shell) data_type: String,
    /// True for TEXT[].
    pub(in crate::cmd::shell) is_tags: bool,
}

/// The names that there are. What cannot be had is not offered: no method fails.
pub(in crate::cmd::shell) trait Names: Send {
    /// Tables, views and audiences.
    fn relations(&self) -> Vec<(String, Relation)>;
    /// The columns of one of them.
    fn columns(&self, relation: &str) -> Vec<Column>;
    /// Values of a column that begin so, in order.
    fn values(&self, relation: &str, column: &str, prefix: &str, limit: usize) -> Vec<String>;
}

impl Names for Database {
    fn relations(&self) -> Vec<(String, Relation)> {
        let snapshot = self.engine().snapshot();
        let named = |name: &String, kind| (name.clone(), kind);
        let mut relations: Vec<(String, Relation)> =
            snapshot.tables().iter().map(|table| named(&table.name, Relation::Table)).collect();
        relations.extend(snapshot.views().iter().map(|view| named(&view.name, Relation::View)));
        relations.extend(snapshot.audiences().iter().map(|found| named(&found.name, Relation::Audience)));
        relations
    }

    fn columns(&self, relation: &str) -> Vec<Column> {
        let snapshot = self.engine().snapshot();
        let shown = shown(&snapshot, relation);
        let found = shown.iter().filter_map(|(table, id, name)| {
            let data_type = snapshot.column_type(*table, *id)?;
            Some(Column {
                name: name.clone(),
                data_type: data_type.to_string(),
                is_tags: data_type == DataType::TextArray,
            })
        });
        found.collect()
    }

    fn values(&self, relation: &str, column: &str, prefix: &str, limit: usize) -> Vec<String> {
        let snapshot = self.engine().snapshot();
        let shown = shown(&snapshot, relation);
        let Some((table, id, _)) = shown.iter().find(|(_, _, name)| name == column) else {
            return Vec::new();
        };
        snapshot.text_values(*table, *id, prefix, limit).unwrap_or_default()
    }
}

/// The columns that a relation shows: of which table, and under which name. An audience has those of its table.
fn shown(snapshot: &Snapshot, relation: &str) -> Vec<(TableId, ColumnId, String)> {
    if let Some(view) = snapshot.view_named(relation) {
        return view.columns.iter().map(|column| (view.table, column.column, column.name.clone())).collect();
    }
    let table = match snapshot.audience_named(relation) {
        Some(audience) => snapshot.schema(audience.table).ok().cloned(),
        None => snapshot.table_named(relation),
    };
    let Some(table) = table else { return Vec::new() };
    table.columns.iter().map(|column| (table.id, column.id, column.name.clone())).collect()
}
