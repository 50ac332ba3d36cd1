//! What has a name in a database: tables, and the views and audiences defined over them.

use crate::member::KeyLayout;
use crate::predicate::{AudienceId, Predicate, codec};
use crate::schema::{ColumnId, TableId, TableSchema};
use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};

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
    /// How keys are found.
    pub keys: KeyLayout,
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
    pub predicate: StoredPredicate,
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
    Dynamic(StoredPredicate),
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
    pub fn definition(&self) -> Predicate {
        match &self.kind {
            AudienceKind::Dynamic(predicate) => predicate.0.clone(),
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

/// A predicate in the catalog: the bytes of [`codec`], as a sequence of bytes.
///
/// Whoever makes one has seen to it that [`codec::encode`] takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPredicate(Predicate);

impl StoredPredicate {
    /// A predicate that can be stored.
    ///
    /// # Errors
    /// Those of [`codec::encode`].
    pub fn new(predicate: Predicate) -> crate::Result<StoredPredicate> {
        codec::encode(&predicate)?;
        Ok(StoredPredicate(predicate))
    }

    /// The predicate.
    pub fn get(&self) -> &Predicate {
        &self.0
    }
}

impl Encode for StoredPredicate {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        codec::encode(&self.0).map_err(|error| EncodeError::OtherString(error.to_string()))?.encode(encoder)
    }
}

impl<Context> Decode<Context> for StoredPredicate {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let bytes = Vec::<u8>::decode(decoder)?;
        match codec::decode(&bytes) {
            Ok(predicate) => Ok(StoredPredicate(predicate)),
            Err(error) => Err(DecodeError::OtherString(format!("a stored condition: {error}"))),
        }
    }
}

bincode::impl_borrow_decode!(StoredPredicate);
