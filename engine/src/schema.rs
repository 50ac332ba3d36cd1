//! Tables and their columns: names, types, ids.
//!
//! Ids are never reused: a dropped column's id stays burnt, so bytes on disk that name it can never be taken for
//! another column's. Everything below the language speaks in ids; names live here and in the catalog alone.

use bincode::{Decode, Encode};

/// The id of a table, unique for the life of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct TableId(pub u32);

/// The id of a column, unique within its table for the life of the table. User columns start at
/// [`ColumnId::FIRST`]; 0 is the live set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct ColumnId(pub u32);

impl ColumnId {
    /// The pseudo-column that holds each chunk's live set.
    pub const LIVE: ColumnId = ColumnId(0);
    /// The first id a user's column gets.
    pub const FIRST: ColumnId = ColumnId(1);

    /// In what is assigned where a key is there already: the value of this column in the row that was to be inserted.
    /// No table has such a column.
    pub fn excluded(self) -> ColumnId {
        ColumnId(self.0 | 1 << 31)
    }
}

/// The greatest precision of a DECIMAL: its unscaled value fits an `i64`.
pub const DECIMAL_PRECISION_MAX: u8 = 18;

/// The longest key of a TEXT primary key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;

/// The longest name of a table or column, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// The type of a column, under its PostgreSQL name. The numbers are those of the catalog, and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[repr(u32)]
pub enum DataType {
    /// `BOOLEAN`
    Boolean = 0,
    /// `SMALLINT`, 16 bits
    SmallInt = 1,
    /// `INTEGER`, 32 bits
    Integer = 2,
    /// `BIGINT`, 64 bits
    BigInt = 3,
    /// `DECIMAL(precision, scale)`, exact; precision at most [`DECIMAL_PRECISION_MAX`]
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    } = 4,
    /// `DOUBLE PRECISION`, IEEE 754 binary64
    Double = 5,
    /// `TEXT`, any Unicode
    Text = 6,
    /// `DATE`, days
    Date = 7,
    /// `TIMESTAMP`, microseconds without a zone
    Timestamp = 8,
    /// `TIMESTAMPTZ`, microseconds in UTC
    TimestampTz = 9,
    /// `TEXT[]`, a set of tags
    TextArray = 10,
}

impl TableLinks {
    /// Links as they are meant where they are not said: one reference is the owner's, one time column is when rows happen.
    ///
    /// `owner` and `time` are what was said; `Some(None)` that there is none.
    pub fn inferred(
        columns: &[ColumnSpec],
        references: Vec<(usize, TableId)>,
        owner: Option<Option<usize>>,
        time: Option<Option<usize>>,
    ) -> TableLinks {
        let owner = owner.unwrap_or(match references.as_slice() {
            [(only, _)] => Some(*only),
            _ => None,
        });
        let mut times = (0..columns.len()).filter(|at| columns[*at].data_type.is_time());
        let only = times.next().filter(|_| times.next().is_none());
        TableLinks {
            references,
            owner: owner.map(|owner| (owner, time.unwrap_or(only))),
            ..TableLinks::default()
        }
    }
}

impl DataType {
    /// True for the types stored as an ordered `i64` code (everything but BOOLEAN, TEXT and TEXT[]).
    pub fn is_numeric_code(self) -> bool {
        !matches!(self, DataType::Boolean | DataType::Text | DataType::TextArray)
    }

    /// True for SMALLINT, INTEGER and BIGINT.
    pub fn is_integer(self) -> bool {
        matches!(self, DataType::SmallInt | DataType::Integer | DataType::BigInt)
    }

    /// True for what `sum` and `avg` take: integers, decimals, doubles.
    pub fn is_number(self) -> bool {
        self.is_integer() || matches!(self, DataType::Decimal { .. } | DataType::Double)
    }

    /// True for the types that rows can be clustered by: those that have few values, each with a code a row.
    pub fn is_clusterable(self) -> bool {
        self.is_integer() || self == DataType::Text
    }

    /// True for DATE, TIMESTAMP and TIMESTAMPTZ.
    pub fn is_time(self) -> bool {
        matches!(self, DataType::Date | DataType::Timestamp | DataType::TimestampTz)
    }
}

impl std::fmt::Display for DataType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DataType::Boolean => f.write_str("BOOLEAN"),
            DataType::SmallInt => f.write_str("SMALLINT"),
            DataType::Integer => f.write_str("INTEGER"),
            DataType::BigInt => f.write_str("BIGINT"),
            DataType::Decimal { precision, scale } => write!(f, "DECIMAL({precision},{scale})"),
            DataType::Double => f.write_str("DOUBLE PRECISION"),
            DataType::Text => f.write_str("TEXT"),
            DataType::Date => f.write_str("DATE"),
            DataType::Timestamp => f.write_str("TIMESTAMP"),
            DataType::TimestampTz => f.write_str("TIMESTAMPTZ"),
            DataType::TextArray => f.write_str("TEXT[]"),
        }
    }
}

/// A column before it has an id: what CREATE TABLE says and what inference proposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// The name, as it is shown.
    pub name: String,
    /// The type.
    pub data_type: DataType,
    /// False where NULL is refused (keys, NOT NULL).
    pub nullable: bool,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Column {
    /// The id under which its bytes are stored.
    pub id: ColumnId,
    /// The name, unique in the table.
    pub name: String,
    /// The type.
    pub data_type: DataType,
    /// False where NULL is refused (keys, NOT NULL).
    pub nullable: bool,
}

/// A table: columns in the order of `SELECT *`, and which of them is the key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TableSchema {
    /// The id.
    pub id: TableId,
    /// The name, unique in the database.
    pub name: String,
    /// The columns in declaration order.
    pub columns: Vec<Column>,
    /// The PRIMARY KEY, a BIGINT or TEXT column; `None` where members have no outside name.
    pub key: Option<ColumnId>,
    /// Changes only when ordinals are renumbered offline; exports of ordinals carry it.
    pub ordinal_epoch: u32,
    /// The id the next added column gets.
    pub next_column: ColumnId,
    /// The columns that hold keys of other tables, and which tables'.
    pub references: Vec<(ColumnId, TableId)>,
    /// Whose its rows are; `None` where they are nobody's.
    pub owner: Option<Owner>,
    /// What is kept of each owner's rows as it was when they were clustered.
    pub summaries: Vec<Summary>,
}

/// Something that is kept of each owner's rows, so that questions about all of them need not go through them. It is derived: of
/// owners whose rows were written since, the rows are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Summary {
    /// Where it is stored, by the ordinals of owners: a column of no schema.
    pub column: ColumnId,
    /// What it is.
    pub kind: SummaryKind,
}

/// What is kept of an owner's rows. The numbers are those of the catalog, and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SummaryKind {
    /// 0: how many rows there are. Never NULL.
    Count,
    /// 1: the first time that is not NULL.
    First,
    /// 2: the last.
    Last,
    /// 3: the sum of a column, exact, NULL where all are.
    Sum(ColumnId),
}

/// Whose the rows of a table are: orders, visits and touches belong to members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Owner {
    /// The column that holds the owner's key. A row where it is NULL, or a key that no owner has, is nobody's.
    pub column: ColumnId,
    /// The table of the owners.
    pub table: TableId,
    /// When a row happened: its table's rows are clustered by owners and this.
    pub time: Option<ColumnId>,
    /// Where ordinals of owners are stored for the rows that are clustered: a column of no schema.
    pub ordinals: ColumnId,
    /// Ordinals of owners that there were when rows were clustered.
    pub known: u32,
    /// The column by whose values the rows of a chunk of owners and a span of time are kept apart: of few values.
    pub cluster: Option<ColumnId>,
}

/// A table before it has ids.
#[derive(Clone, Debug)]
pub struct TableSpec<'a> {
    /// The name.
    pub name: &'a str,
    /// The columns, in order.
    pub columns: &'a [ColumnSpec],
    /// Which of them is the key: BIGINT or TEXT, never NULL.
    pub key: Option<usize>,
    /// What it refers to, and whose its rows are.
    pub links: TableLinks,
}

impl<'a> TableSpec<'a> {
    /// A table that refers to nothing.
    pub fn new(name: &'a str, columns: &'a [ColumnSpec], key: Option<usize>) -> TableSpec<'a> {
        TableSpec { name, columns, key, links: TableLinks::default() }
    }
}

/// Whose the rows of a table are to be, before its columns have ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableLinks {
    /// Columns that hold keys of other tables, by their place.
    pub references: Vec<(usize, TableId)>,
    /// The one of them that says whose a row is, and the column that says when it happened, by their places.
    pub owner: Option<(usize, Option<usize>)>,
    /// Columns whose sums are kept for each owner, by their places.
    pub sums: Vec<usize>,
    /// The column by whose values rows are clustered within their owners and spans of time, by its place.
    pub cluster: Option<usize>,
}

impl TableSchema {
    /// The column of this name (exact bytes).
    pub fn column_named(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// True where the numbers of a column get a range index: a key is found by the key index, and rows that belong to somebody
    /// are read by their owners and times.
    pub fn is_indexed(&self, id: ColumnId) -> bool {
        self.key != Some(id) && self.owner.is_none()
    }

    /// The column with this id.
    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        self.columns.iter().find(|c| c.id == id)
    }
}
