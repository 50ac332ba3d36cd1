//! What a mutation comes to: rows by ordinal, values by column. This is what the log holds.
//!
//! ```text
//! version u16 │ table u32 │ first new ordinal u32 │ new rows u32
//! deleted: count u32, ordinals u32×n
//! columns: count u32, then each: column u32, rows u32, ordinals u32×n, cells
//! cells: a tag u8 each, then its value: boolean u8 │ number i64 │ text u32 + bytes │ tags u16, texts
//! ```

use crate::control::value_bytes;
use crate::schema::{ColumnId, DataType, TableId};
use crate::value::Value;
use crate::{Error, Result, code};

const CHANGE_VERSION: u16 = 1;

/// The change of one table by one mutation.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The table.
    pub table: TableId,
    /// The ordinal of the first new row; the others follow.
    pub first: u32,
    /// How many rows are new. A column that says nothing of one is NULL there.
    pub inserted: u32,
    /// Ordinals of rows that go, ascending.
    pub deleted: Vec<u32>,
    /// The columns that are written, by id.
    pub columns: Vec<ColumnChange>,
}

/// What becomes of one column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnChange {
    /// The column.
    pub column: ColumnId,
    /// The rows, ascending.
    pub ordinals: Vec<u32>,
    /// The value of each, of the column's type or NULL.
    pub values: Vec<Value>,
}

/// What a changed value takes in the forms that it goes through until it is committed, beside its own: a cell, the one before, the
/// patch, the log's bytes. Measured of a million rows that are updated and deleted, where a text is there in so many forms.
pub(super) const CHANGED_BYTES: usize = 96;
pub(super) const FORMS: usize = 4;

impl Change {
    /// The bytes that it holds, and those of what it goes through until it is committed.
    pub(super) fn held(&self) -> usize {
        let columns = self.columns.iter().map(|column| {
            let each = size_of::<u32>() + size_of::<Value>() + CHANGED_BYTES;
            column.ordinals.len() * each + FORMS * column.values.iter().map(value_bytes).sum::<usize>()
        });
        self.deleted.len() * (size_of::<u32>() + CHANGED_BYTES) + columns.sum::<usize>()
    }

    /// True where no row changes.
    pub fn is_empty(&self) -> bool {
        self.inserted == 0
            && self.deleted.is_empty()
            && self.columns.iter().all(|column| column.ordinals.is_empty())
    }

    /// Appends the bytes for the log.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let put = |out: &mut Vec<u8>, number: u32| out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&CHANGE_VERSION.to_le_bytes());
        for number in [self.table.0, self.first, self.inserted, self.deleted.len() as u32] {
            put(out, number);
        }
        self.deleted.iter().for_each(|ordinal| put(out, *ordinal));
        put(out, self.columns.len() as u32);
        for column in &self.columns {
            put(out, column.column.0);
            put(out, column.ordinals.len() as u32);
            column.ordinals.iter().for_each(|ordinal| put(out, *ordinal));
            column.values.iter().for_each(|value| encode_value(value, out));
        }
    }

    /// Reads the bytes of a log record.
    ///
    /// # Errors
    /// Bytes that no change has; `type_of` tells a column's type, of dropped ones too where it can, else `None`: its numbers
    /// are then taken for BIGINT, and nobody will look at them.
    pub fn decode(bytes: &[u8], type_of: &dyn Fn(TableId, ColumnId) -> Option<DataType>) -> Result<Change> {
        let mut bytes = Reader { bytes };
        let version = bytes.u16()?;
        if version != CHANGE_VERSION {
            return Err(Error::Invalid(format!(
                "a change in the log has version {version}, which this muster does not read: expected {CHANGE_VERSION}"
            )));
        }
        let table = TableId(bytes.u32()?);
        let (first, inserted) = (bytes.u32()?, bytes.u32()?);
        let deleted = bytes.ordinals()?;
        let count = bytes.u32()? as usize;
        let mut columns = Vec::new();
        for _ in 0..count {
            let column = ColumnId(bytes.u32()?);
            let ordinals = bytes.ordinals()?;
            let data_type = type_of(table, column).unwrap_or(DataType::BigInt);
            let values = (0..ordinals.len()).map(|_| bytes.value(data_type)).collect::<Result<_>>()?;
            columns.push(ColumnChange { column, ordinals, values });
        }
        if !bytes.bytes.is_empty() {
            return Err(malformed("the end of a change"));
        }
        Ok(Change { table, first, inserted, deleted, columns })
    }
}

/// Tags of values.
const NULL: u8 = 0;
const BOOLEAN: u8 = 1;
const NUMBER: u8 = 2;
const TEXT: u8 = 3;
const TAGS: u8 = 4;

fn encode_value(value: &Value, out: &mut Vec<u8>) {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    };
    match value {
        Value::Null => out.push(NULL),
        Value::Boolean(boolean) => out.extend_from_slice(&[BOOLEAN, u8::from(*boolean)]),
        Value::Text(string) => {
            out.push(TEXT);
            text(out, string);
        }
        Value::Tags(tags) => {
            out.push(TAGS);
            out.extend_from_slice(&(tags.len() as u32).to_le_bytes());
            tags.iter().for_each(|tag| text(out, tag));
        }
        number => {
            out.push(NUMBER);
            out.extend_from_slice(&code::encode(number).unwrap_or(0).to_le_bytes());
        }
    }
}

fn malformed(expected: &str) -> Error {
    Error::Invalid(format!("a change in the log is not one this muster wrote: expected {expected}"))
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(|| malformed("more bytes"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or_else(|| malformed("more bytes"))?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn ordinals(&mut self) -> Result<Vec<u32>> {
        let count = self.u32()? as usize;
        let bytes = self.take(count.checked_mul(4).ok_or_else(|| malformed("a count"))?)?;
        let (words, _) = bytes.as_chunks::<4>();
        let ordinals: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        if ordinals.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(malformed("ascending ordinals"));
        }
        Ok(ordinals)
    }

    fn text(&mut self) -> Result<String> {
        let length = self.u32()? as usize;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| malformed("UTF-8"))
    }

    fn value(&mut self, data_type: DataType) -> Result<Value> {
        let [tag] = self.array()?;
        let fits = match tag {
            NULL => true,
            BOOLEAN => data_type == DataType::Boolean,
            NUMBER => data_type.is_numeric_code(),
            TEXT => data_type == DataType::Text,
            TAGS => data_type == DataType::TextArray,
            _ => return Err(malformed("the tag of a value")),
        };
        let value = match tag {
            NULL => Value::Null,
            BOOLEAN => Value::Boolean(self.array::<1>()? != [0]),
            NUMBER => {
                let number = i64::from_le_bytes(self.array()?);
                let data_type = if fits { data_type } else { DataType::BigInt };
                code::decode(data_type, number)
            }
            TEXT => Value::Text(self.text()?),
            _ => {
                let count = self.u32()?;
                let tags = (0..count).map(|_| self.text()).collect::<Result<Vec<_>>>()?;
                Value::tags(tags)
            }
        };
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(_: TableId, column: ColumnId) -> Option<DataType> {
        let decimal = DataType::Decimal { precision: 10, scale: 2 };
        let types = [
            DataType::BigInt,
            DataType::Text,
            DataType::TextArray,
            DataType::Boolean,
            DataType::Date,
            decimal,
        ];
        types.get((column.0 as usize).checked_sub(1)?).copied()
    }

    fn change() -> Change {
        let column = |column: u32, values: Vec<Value>| ColumnChange {
            column: ColumnId(column),
            ordinals: (0..values.len() as u32).map(|row| 3 * row).collect(),
            values,
        };
        Change {
            table: TableId(7),
            first: 100,
            inserted: 2,
            deleted: vec![4, 9],
            columns: vec![
                column(1, vec![Value::Integer(-5), Value::Null]),
                column(2, vec![Value::Text("naïve".into()), Value::Text(String::new())]),
                column(3, vec![Value::tags(["b".to_owned(), "a".to_owned()]), Value::tags([])]),
                column(4, vec![Value::Boolean(true), Value::Boolean(false), Value::Null]),
                column(5, vec![Value::Date(-1)]),
                column(6, vec![Value::Decimal { unscaled: 125, scale: 2 }]),
            ],
        }
    }

    #[test]
    fn a_change_reads_back_and_no_cut_or_flipped_byte_panics() {
        let (change, mut bytes) = (change(), Vec::new());
        change.encode(&mut bytes);
        assert_eq!(Change::decode(&bytes, &types).unwrap(), change);
        for end in 0..bytes.len() {
            assert!(Change::decode(&bytes[..end], &types).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let _ = Change::decode(&flipped, &types);
            }
        }
    }
}
