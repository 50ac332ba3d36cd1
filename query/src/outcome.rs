//! What a statement answers: named, typed columns and rows of values, or a word that it is done.

use muster_engine::exec::Stats;
use muster_engine::schema::DataType;
use muster_engine::value::Value;

/// The answer of one statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Rows.
    Rows {
        /// The columns, in the order of the select list.
        columns: Vec<OutcomeColumn>,
        /// The rows, each with one value per column.
        rows: Vec<Vec<Value>>,
        /// What the evaluation cost.
        stats: Stats,
    },
    /// A statement without rows has been done.
    Done {
        /// PostgreSQL's command tag: `CREATE TABLE`, `COPY 1000`, `INSERT 0 3`.
        message: String,
    },
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeColumn {
    /// The column's name or alias; an aggregate without one goes by its function.
    pub name: String,
    /// The type of its values. Sums of integers are DECIMAL(38,0).
    pub data_type: DataType,
}

impl Outcome {
    /// The columns; none for a statement without rows.
    pub fn columns(&self) -> &[OutcomeColumn] {
        match self {
            Outcome::Rows { columns, .. } => columns,
            Outcome::Done { .. } => &[],
        }
    }

    /// The rows; none for a statement without rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        let (columns, rows): (&[OutcomeColumn], &[Vec<Value>]) = match self {
            Outcome::Rows { columns, rows, .. } => (columns, rows),
            Outcome::Done { .. } => (&[], &[]),
        };
        rows.iter().map(move |values| Row { columns, values })
    }

    /// How many rows the statement inserted, updated, deleted or copied: the number at the end of its tag. `None` for
    /// other statements.
    pub fn rows_changed(&self) -> Option<u64> {
        let Outcome::Done { message } = self else { return None };
        let mut words = message.split(' ');
        match words.next() {
            Some("INSERT") => words.nth(1)?.parse().ok(),
            Some("UPDATE" | "DELETE" | "COPY") => words.next()?.parse().ok(),
            _ => None,
        }
    }

    /// The first value of the first row, as `count(*)` gives it; an error where there is none.
    pub fn single<T: FromValue>(&self) -> Result<T, AccessError> {
        self.rows().next().ok_or(AccessError::NoRow)?.get(0)
    }
}

/// One row of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    columns: &'a [OutcomeColumn],
    values: &'a [Value],
}

impl<'a> Row<'a> {
    /// The values.
    pub fn values(&self) -> &'a [Value] {
        self.values
    }

    /// The value at an index (from 0) as a Rust type; `Option` takes NULL as `None`.
    pub fn get<T: FromValue>(&self, index: usize) -> Result<T, AccessError> {
        let value = self.values.get(index).ok_or(AccessError::NoColumn { column: index.to_string() })?;
        T::from_value(value).ok_or_else(|| AccessError::Type {
            column: self.columns[index].name.clone(),
            value: value.clone(),
            wanted: std::any::type_name::<T>(),
        })
    }

    /// The value of the first column of a name.
    pub fn get_named<T: FromValue>(&self, name: &str) -> Result<T, AccessError> {
        let index = self.columns.iter().position(|column| column.name == name);
        self.get(index.ok_or_else(|| AccessError::NoColumn { column: name.to_owned() })?)
    }
}

/// Why a value was not had.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The answer has no rows.
    #[error("the answer has no row")]
    NoRow,
    /// The answer has no such column.
    #[error("the answer has no column {column}")]
    NoColumn {
        /// The name or index asked for.
        column: String,
    },
    /// The value does not fit the Rust type.
    #[error("column {column} holds {value}, which is no {wanted}")]
    Type {
        /// The column.
        column: String,
        /// Its value.
        value: Value,
        /// The Rust type asked for.
        wanted: &'static str,
    },
}

/// A Rust type that values are read as. Nothing is rounded: what does not fit exactly is refused.
pub trait FromValue: Sized {
    /// The value as this type, or `None` where it is another one.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for Value {
    fn from_value(value: &Value) -> Option<Value> {
        Some(value.clone())
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Option<T>> {
        if *value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<bool> {
        if let Value::Boolean(boolean) = value { Some(*boolean) } else { None }
    }
}

impl FromValue for i128 {
    fn from_value(value: &Value) -> Option<i128> {
        match value {
            Value::Integer(integer) => Some(i128::from(*integer)),
            Value::Decimal { unscaled, scale: 0 } => Some(*unscaled),
            _ => None,
        }
    }
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<i64> {
        i128::from_value(value)?.try_into().ok()
    }
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Option<u64> {
        i128::from_value(value)?.try_into().ok()
    }
}

impl FromValue for i32 {
    fn from_value(value: &Value) -> Option<i32> {
        i128::from_value(value)?.try_into().ok()
    }
}

/// Doubles, and other numbers as the nearest double.
impl FromValue for f64 {
    fn from_value(value: &Value) -> Option<f64> {
        crate::constant::is_number(value).then(|| crate::constant::as_double(value))
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<String> {
        if let Value::Text(text) = value { Some(text.clone()) } else { None }
    }
}

impl FromValue for Vec<String> {
    fn from_value(value: &Value) -> Option<Vec<String>> {
        if let Value::Tags(tags) = value { Some(tags.clone()) } else { None }
    }
}
