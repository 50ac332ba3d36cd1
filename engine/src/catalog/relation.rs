//! What has a name in a database: tables, and the views and audiences defined over them.

use crate::member::KeyLayout;
use crate::predicate::{AudienceId, Predicate, codec};
use crate::schema::{Column, ColumnId, Owner, Summary, TableId, TableSchema};
use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use std::collections::BTreeSet;

/// The id of a view, unique for the life of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct ViewId(pub u32);

/// Something with a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Relation {
    /// A table.
    Table(TableId),
    /// A view.
    View(ViewId),
    /// An audience.
    Audience(AudienceId),
}

impl Relation {
    /// What it is, in a word.
    pub fn kind(self) -> &'static str {
        match self {
            Relation::Table(_) => "table",
            Relation::View(_) => "view",
            Relation::Audience(_) => "audience",
        }
    }
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TableRecord {
    /// Names and types.
    pub schema: TableSchema,
    /// Live rows.
    pub rows: u64,
    /// How keys are found, of ordinals below `indexed`.
    pub keys: KeyLayout,
    /// Ordinals given so far: those of live rows and of rows that are gone.
    pub ordinals: u64,
    /// Ordinals whose keys the layout finds. Later ones are found by reading their keys when the table is opened.
    pub indexed: u64,
}

/// A schema as catalogs before version 4 had it: nobody's rows.
#[derive(Encode, Decode)]
struct LoneSchema {
    id: TableId,
    name: String,
    columns: Vec<Column>,
    key: Option<ColumnId>,
    ordinal_epoch: u32,
    next_column: ColumnId,
}

impl From<LoneSchema> for TableSchema {
    fn from(old: LoneSchema) -> TableSchema {
        let LoneSchema { id, name, columns, key, ordinal_epoch, next_column } = old;
        TableSchema {
            id,
            name,
            columns,
            key,
            ordinal_epoch,
            next_column,
            references: Vec::new(),
            owner: None,
            summaries: Vec::new(),
        }
    }
}

/// A table as catalogs before version 3 had it: every ordinal is a live row's, and indexed.
#[derive(Encode, Decode)]
pub(super) struct ImportedTable {
    schema: LoneSchema,
    rows: u64,
    keys: KeyLayout,
}

impl From<ImportedTable> for TableRecord {
    fn from(table: ImportedTable) -> TableRecord {
        TableRecord::imported(table.schema.into(), table.rows, table.keys)
    }
}

/// A table as version 3 had it.
#[derive(Encode, Decode)]
pub(super) struct LoneTable {
    schema: LoneSchema,
    rows: u64,
    keys: KeyLayout,
    ordinals: u64,
    indexed: u64,
}

impl From<LoneTable> for TableRecord {
    fn from(table: LoneTable) -> TableRecord {
        let LoneTable { schema, rows, keys, ordinals, indexed } = table;
        TableRecord { schema: schema.into(), rows, keys, ordinals, indexed }
    }
}

/// Whose rows are, as version 4 had it: clustered by no column.
#[derive(Encode, Decode)]
struct UnclusteredOwner {
    column: ColumnId,
    table: TableId,
    time: Option<ColumnId>,
    ordinals: ColumnId,
    known: u32,
}

/// A table as version 4 had it.
#[derive(Encode, Decode)]
pub(super) struct OwnedTable {
    schema: LoneSchema,
    references: Vec<(ColumnId, TableId)>,
    owner: Option<UnclusteredOwner>,
    summaries: Vec<Summary>,
    rows: u64,
    keys: KeyLayout,
    ordinals: u64,
    indexed: u64,
}

impl From<OwnedTable> for TableRecord {
    fn from(table: OwnedTable) -> TableRecord {
        let OwnedTable { schema, references, owner, summaries, rows, keys, ordinals, indexed } = table;
        let owner = owner.map(|old| {
            let UnclusteredOwner { column, table, time, ordinals, known } = old;
            Owner { column, table, time, ordinals, known, cluster: None }
        });
        let schema = TableSchema { references, owner, summaries, ..schema.into() };
        TableRecord { schema, rows, keys, ordinals, indexed }
    }
}

impl TableRecord {
    /// A table of which every ordinal is a live row's.
    pub fn imported(schema: TableSchema, rows: u64, keys: KeyLayout) -> TableRecord {
        TableRecord { schema, rows, keys, ordinals: rows, indexed: rows }
    }
}

/// A filter view: some columns, under names of its own, of the members of a table that satisfy a condition.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ViewRecord {
    /// The id.
    pub id: ViewId,
    /// The name.
    pub name: String,
    /// The table that it shows.
    pub table: TableId,
    /// What it shows of it, in order.
    pub columns: Vec<ViewColumn>,
    /// Of whom.
    pub definition: Definition,
    /// The SELECT, as it was written.
    pub source: String,
}

/// A column of a view.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ViewColumn {
    /// The table's column.
    pub column: ColumnId,
    /// Its name in the view.
    pub name: String,
}

/// An audience: a named set of members of one table.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct AudienceRecord {
    /// The id.
    pub id: AudienceId,
    /// The name.
    pub name: String,
    /// The table of its members.
    pub table: TableId,
    /// Who belongs to it.
    pub kind: AudienceKind,
    /// What it was defined by, as it was written.
    pub source: String,
    /// When it was created, in microseconds since 1970-01-01 UTC.
    pub created_micros: i64,
}

/// Who belongs to an audience. The numbers are those of the catalog, and never change.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum AudienceKind {
    /// 0: whoever satisfies a condition when it is asked.
    Dynamic(Definition),
    /// 1: the members that it was created with.
    Static {
        /// The column that is TRUE for them: of the table, but not in its schema.
        column: ColumnId,
        /// How many there are.
        members: u64,
    },
}

impl AudienceRecord {
    /// The condition that its members satisfy.
    pub fn condition(&self) -> Predicate {
        match &self.kind {
            AudienceKind::Dynamic(definition) => definition.predicate.clone(),
            AudienceKind::Static { column, .. } => Predicate::IsTrue(*column),
        }
    }

    /// The column that holds the members of a static audience.
    pub fn hidden_column(&self) -> Option<ColumnId> {
        match &self.kind {
            AudienceKind::Dynamic(_) => None,
            AudienceKind::Static { column, .. } => Some(*column),
        }
    }
}

/// Who is in a view or a dynamic audience: a condition, resolved when it was made, and the views that were named in making it.
///
/// The condition holds those views' conditions already. They are remembered since a definition cannot be without them:
/// they are neither dropped nor replaced under it.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Whoever makes one has seen to it that [`codec::encode`] takes it.
    predicate: Predicate,
    views: BTreeSet<ViewId>,
}

impl Definition {
    /// A definition that can be stored, by a condition that names these views.
    ///
    /// # Errors
    /// Those of [`codec::encode`].
    pub fn new(predicate: Predicate, views: impl IntoIterator<Item = ViewId>) -> crate::Result<Definition> {
        codec::encode(&predicate)?;
        Ok(Definition { predicate, views: views.into_iter().collect() })
    }

    /// The condition.
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }

    /// The views that were named.
    pub fn views(&self) -> &BTreeSet<ViewId> {
        &self.views
    }
}

impl Encode for Definition {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let predicate = codec::encode(&self.predicate);
        predicate.map_err(|error| EncodeError::OtherString(error.to_string()))?.encode(encoder)?;
        self.views.encode(encoder)
    }
}

impl<Context> Decode<Context> for Definition {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let refuse = |what: String| DecodeError::OtherString(what);
        let predicate = codec::decode(&Vec::<u8>::decode(decoder)?)
            .map_err(|error| refuse(format!("a stored condition: {error}")))?;
        let views = Vec::<ViewId>::decode(decoder)?;
        if !views.is_sorted_by(|a, b| a < b) {
            return Err(refuse(format!("the views of a definition do not ascend: {views:?}")));
        }
        Ok(Definition { predicate, views: views.into_iter().collect() })
    }
}

bincode::impl_borrow_decode!(Definition);
