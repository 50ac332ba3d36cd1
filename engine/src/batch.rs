//! Rows on their way in: a columnar batch, the shape every source (Parquet, CSV, the generator) delivers.
//!
//! A batch has any number of rows; the importer cuts it into chunks. Values are already checked against the
//! column's type by the source, which alone knows file and line. NULL rows hold a filler (0, false, empty).

use crate::value::Value;

/// Strings back to back: `bytes[ends[i-1]..ends[i]]` is string i. Valid UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    /// Where each string ends in `bytes`.
    pub ends: Vec<u32>,
    /// The bytes of all strings.
    pub bytes: Vec<u8>,
}

impl Strings {
    /// Appends a string.
    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len() as u32);
    }

    /// Forgets all but the first `count` strings.
    pub fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        self.bytes.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }

    /// The number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without strings.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of string `i`.
    pub fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.bytes[start..self.ends[i] as usize]
    }
}

/// The values of one column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnValues {
    /// BOOLEAN.
    Boolean(Vec<bool>),
    /// Everything stored as an ordered `i64` code; see [`crate::code`].
    Code(Vec<i64>),
    /// TEXT, one string a row.
    Text(Strings),
    /// TEXT through a dictionary of the batch: `dictionary[codes[i]]` is row i.
    TextDictionary {
        /// Row to entry; NULL rows hold 0.
        codes: Vec<u32>,
        /// The entries, each once.
        dictionary: Strings,
    },
    /// TEXT[]: `tags[ends[i-1]..ends[i]]` are row i's, in any order, duplicates allowed.
    Tags {
        /// Where each row ends in `tags`.
        ends: Vec<u32>,
        /// Tags as indices into `dictionary`.
        tags: Vec<u32>,
        /// The distinct tags of the batch.
        dictionary: Strings,
    },
}

/// One column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnBatch {
    /// The values.
    pub values: ColumnValues,
    /// True where NULL; `None` where no row is.
    pub nulls: Option<Vec<bool>>,
}

/// Some rows, column by column, in the order of the source's schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The number of rows.
    pub rows: usize,
    /// The columns.
    pub columns: Vec<ColumnBatch>,
}

/// Where a row came from, for errors found after the source let go of it (a duplicate key).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line in a CSV file (1 is the first line), or the row in a Parquet file (1 is the first row).
    pub line: u64,
}

/// Delivers rows to the importer.
pub trait RowSource: Send {
    /// The next rows, or `None` at the end.
    fn next(&mut self) -> Result<Option<Batch>, crate::Error>;
    /// Where row `row` (0 is the first row the source delivered) came from, where the source knows.
    fn place(&self, row: u64) -> Option<Place>;
    /// Rows in all, where known beforehand, and the share of input consumed so far (0 to 1): for progress.
    fn progress(&self) -> (Option<u64>, f64);
    /// How many bad rows were passed over so far; `None` where the first bad row ends the source with an error.
    fn skipped(&self) -> Option<u64> {
        None
    }
}

/// A batch built row by row from values: the slow, convenient way, for tests and small tables.
pub fn batch_of_values(types: &[crate::schema::DataType], rows: &[Vec<Value>]) -> Batch {
    let columns = types
        .iter()
        .enumerate()
        .map(|(c, data_type)| column_of_values(*data_type, rows.iter().map(|row| &row[c])))
        .collect();
    Batch { rows: rows.len(), columns }
}

fn column_of_values<'a>(
    data_type: crate::schema::DataType,
    values: impl Iterator<Item = &'a Value> + Clone,
) -> ColumnBatch {
    use crate::schema::DataType;
    let nulls: Vec<bool> = values.clone().map(|v| *v == Value::Null).collect();
    let nulls = nulls.contains(&true).then_some(nulls);
    let values = match data_type {
        DataType::Boolean => ColumnValues::Boolean(values.map(|v| *v == Value::Boolean(true)).collect()),
        DataType::Text => {
            let mut strings = Strings::default();
            values.for_each(|v| strings.push(if let Value::Text(text) = v { text } else { "" }));
            ColumnValues::Text(strings)
        }
        DataType::TextArray => {
            let (mut ends, mut tags, mut dictionary) = (Vec::new(), Vec::new(), Strings::default());
            for value in values {
                if let Value::Tags(list) = value {
                    for tag in list {
                        tags.push(dictionary.len() as u32);
                        dictionary.push(tag);
                    }
                }
                ends.push(tags.len() as u32);
            }
            ColumnValues::Tags { ends, tags, dictionary }
        }
        _ => ColumnValues::Code(values.map(|v| crate::code::encode(v).unwrap_or(0)).collect()),
    };
    ColumnBatch { values, nulls }
}
