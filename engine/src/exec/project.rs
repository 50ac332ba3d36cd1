//! The values of chosen members, for showing them.

use crate::delta::CellRef;
use crate::dictionary::Dictionary;
use crate::schema::{ColumnId, DataType, TableId};
use crate::table::ColumnReader;
use crate::value::Value;
use crate::{Error, Result, Snapshot};

/// The values of some members: a row per ordinal in the order given, a value per column.
///
/// Cost: a few cache misses a value. Ordinals beyond the table give NULLs.
pub fn project(
    snapshot: &Snapshot,
    table: TableId,
    ordinals: &[u32],
    columns: &[ColumnId],
) -> Result<Vec<Vec<Value>>> {
    let table = snapshot.table(table)?;
    let mut rows: Vec<Vec<Value>> = ordinals.iter().map(|_| Vec::with_capacity(columns.len())).collect();
    for column in columns {
        let reader = table.reader(*column)?;
        let dictionary = table.dictionary(*column);
        for (row, ordinal) in rows.iter_mut().zip(ordinals) {
            row.push(value_at(&reader, dictionary, *ordinal)?);
        }
    }
    Ok(rows)
}

/// Which of some members have TRUE in a BOOLEAN column; false for those that are `None`. Cost: a cache miss or two a member.
pub fn are_true(
    snapshot: &Snapshot,
    table: TableId,
    column: ColumnId,
    ordinals: &[Option<u32>],
) -> Result<Vec<bool>> {
    let reader = snapshot.table(table)?.reader(column)?;
    ordinals.iter().map(|ordinal| ordinal.map_or(Ok(false), |ordinal| reader.is_true(ordinal))).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The value that a changed row holds.
pub(crate) fn value_of(
    data_type: DataType,
    dictionary: Option<&Dictionary>,
    cell: CellRef<'_>,
) -> Result<Value> {
    let view = || match dictionary {
        Some(dictionary) => dictionary.view(),
        None => Err(Error::Invalid("a code of a column that has no dictionary".into())),
    };
    Ok(match cell {
        CellRef::Absent | CellRef::Null => Value::Null,
        CellRef::Truth(truth) => Value::Boolean(truth),
        CellRef::Code(code) if data_type == DataType::Text => Value::Text(text(view()?.get(code as u32))),
        CellRef::Code(code) => crate::code::decode(data_type, code),
        CellRef::Text(bytes) => Value::Text(text(bytes)),
        CellRef::Tags([]) => Value::Tags(Vec::new()),
        CellRef::Tags(codes) => {
            let view = view()?;
            Value::tags(codes.iter().map(|code| text(view.get(*code))).collect::<Vec<_>>())
        }
    })
}

/// The value of one member.
pub fn value_at(reader: &ColumnReader<'_>, dictionary: Option<&Dictionary>, ordinal: u32) -> Result<Value> {
    let (chunk, row) = (ordinal >> 16, (ordinal & 0xffff) as usize);
    if let Some(cell) = reader.changed_cell(chunk, row as u16)? {
        return value_of(reader.data_type(), dictionary, cell);
    }
    if reader.nulls(chunk)?.contains(row as u16) {
        return Ok(Value::Null);
    }
    Ok(match reader.data_type() {
        DataType::Boolean => Value::Boolean(reader.set(chunk, 0)?.contains(row as u16)),
        DataType::TextArray => match (reader.lists(chunk)?, dictionary) {
            (Some(lists), Some(dictionary)) => {
                let view = dictionary.view()?;
                let mut tags = Vec::new();
                lists.for_each(row, |code| tags.push(text(view.get(code))));
                Value::tags(tags)
            }
            // A chunk without lists, or a column without a single tag: the empty set.
            _ => Value::Tags(Vec::new()),
        },
        DataType::Text => match reader.strings(chunk)? {
            Some(strings) => Value::Text(text(strings.get(row))),
            None => match (reader.values(chunk)?, dictionary) {
                (Some(values), Some(dictionary)) if row < values.rows => {
                    Value::Text(text(dictionary.view()?.get(values.get(row) as u32)))
                }
                _ => Value::Null,
            },
        },
        data_type => match reader.values(chunk)? {
            Some(values) if row < values.rows => crate::code::decode(data_type, values.get(row)),
            _ => Value::Null,
        },
    })
}

/// The code of a row of a column that has codes; `None` where it is NULL, or beyond the rows.
pub(crate) fn code_at(reader: &ColumnReader<'_>, ordinal: u32) -> Result<Option<i64>> {
    Ok(codes_at(reader, ordinal >> 16, &[ordinal as u16])?[0])
}

/// [`code_at`] of some rows of a chunk, ascending. Cost: some nanoseconds a row.
pub(crate) fn codes_at(reader: &ColumnReader<'_>, chunk: u32, rows: &[u16]) -> Result<Vec<Option<i64>>> {
    let mut codes = match reader.values(chunk)? {
        Some(values) => {
            let code = |row: &u16| (usize::from(*row) < values.rows).then(|| values.get(usize::from(*row)));
            rows.iter().map(code).collect()
        }
        None => vec![None; rows.len()],
    };
    let nulls = reader.nulls(chunk)?;
    if nulls.cardinality() > 0 {
        let both = rows.iter().zip(&mut codes);
        both.filter(|(row, _)| nulls.contains(**row)).for_each(|(_, code)| *code = None);
    }
    reader.overlay(chunk, rows, |place, cell| {
        codes[place] = if let CellRef::Code(code) = cell { Some(code) } else { None };
    })?;
    Ok(codes)
}
