//! A change into a table's newest layer. The same for a statement and for recovery.

use super::change::{Change, ColumnChange};
use crate::delta::{Cell, CellRef, Write};
use crate::dictionary::Dictionary;
use crate::member::Key;
use crate::schema::{ColumnId, DataType};
use crate::table::{ColumnReader, TableState};
use crate::value::Value;
use crate::{Error, Result, code};
use muster_storage::format::SectionKind;
use std::sync::Arc;

/// Puts a change into the newest layer of a table. Columns that the table does not have any more are passed over.
///
/// Cost: a few hundred nanoseconds a value, most of it for reading the value before.
///
/// # Errors
/// Ordinals that do not follow the table's; bytes of the base that cannot be read. The table is then in no defined state: it
/// is a draft, to be thrown away.
pub(crate) fn apply(table: &mut TableState, change: &Change) -> Result<()> {
    let extent = table.extent();
    let beyond = extent.ordinals + u64::from(change.inserted);
    let written =
        change.columns.iter().filter_map(|column| column.ordinals.last()).chain(change.deleted.last());
    if (change.inserted > 0 && u64::from(change.first) != extent.ordinals)
        || beyond > u64::from(u32::MAX)
        || written.into_iter().any(|ordinal| u64::from(*ordinal) >= beyond)
    {
        return Err(Error::Invalid(format!(
            "a change of {} new rows from ordinal {} does not follow a table of {} ordinals",
            change.inserted, change.first, extent.ordinals
        )));
    }
    if table.layers.is_empty() {
        table.layers.push(Arc::default());
    }
    let schema = Arc::clone(table.schema());
    let (first, end) = (extent.ordinals as u32, beyond as u32);
    for column in &schema.columns {
        let written = change.columns.iter().find(|one| one.column == column.id);
        if written.is_none() && change.inserted == 0 {
            continue;
        }
        let empty = ColumnChange { column: column.id, ordinals: Vec::new(), values: Vec::new() };
        let cells = new_cells(table, written.unwrap_or(&empty), column.data_type, first..end)?;
        write(table, column.id, column.data_type, cells, first)?;
        if schema.key == Some(column.id)
            && let Some(written) = written
        {
            let both = written.values.iter().zip(&written.ordinals).filter(|(_, ordinal)| **ordinal >= first);
            let keys = both.filter_map(|(value, ordinal)| Some((Key::of_value(value)?, *ordinal)));
            Arc::make_mut(&mut table.new_keys).add(keys);
        }
    }
    let born = (first..end).map(|ordinal| (ordinal, Cell::Truth(true)));
    let gone = change.deleted.iter().map(|ordinal| (*ordinal, Cell::Truth(false)));
    let lives: Vec<(u32, Cell)> = gone.chain(born).collect();
    if !lives.is_empty() {
        write(table, ColumnId::LIVE, DataType::Boolean, lives, first)?;
    }
    table.extent.rows =
        (extent.rows + u64::from(change.inserted)).saturating_sub(change.deleted.len() as u64);
    table.extent.ordinals = beyond;
    Ok(())
}

/// Gives those rows NULL in columns that were added after them: rows that are in no base part have a cell in every column.
pub(crate) fn fill_added_columns(table: &mut TableState) -> Result<()> {
    let schema = Arc::clone(table.schema());
    for chunk in 0..table.chunks() {
        let born: Vec<u16> = {
            let live = table.reader(ColumnId::LIVE)?;
            if !live.is_changed(chunk) {
                continue;
            }
            let changes = live.changes(chunk)?;
            let mut born: Vec<u16> = Vec::new();
            for patch in &changes {
                let both = patch.rows.iter().zip(patch.old.iter());
                born.extend(both.filter(|(_, old)| *old == CellRef::Absent).map(|(row, _)| *row));
            }
            born.sort_unstable();
            born.dedup();
            born
        };
        if born.is_empty() {
            continue;
        }
        for column in &schema.columns {
            let mut missing = vec![true; born.len()];
            table.reader(column.id)?.overlay(chunk, &born, |place, _| missing[place] = false)?;
            let rows = born.iter().zip(missing).filter(|(_, missing)| *missing);
            let writes: Vec<Write> =
                rows.map(|(row, _)| Write { row: *row, new: Cell::Null, old: Cell::Absent }).collect();
            if writes.is_empty() {
                continue;
            }
            if table.layers.is_empty() {
                table.layers.push(Arc::default());
            }
            if let Some(layer) = table.layers.last_mut() {
                Arc::make_mut(layer).write(column.id, chunk, &writes);
            }
        }
    }
    Ok(())
}

/// The cells of a column's rows, ascending: those that are written, and NULL for new rows that are not.
fn new_cells(
    table: &mut TableState,
    written: &ColumnChange,
    data_type: DataType,
    new: std::ops::Range<u32>,
) -> Result<Vec<(u32, Cell)>> {
    let plain = is_plain(table, written.column)?;
    let texts = || {
        written.values.iter().flat_map(|value| match value {
            Value::Text(text) => std::slice::from_ref(text),
            Value::Tags(tags) => tags,
            _ => &[],
        })
    };
    let coded = matches!(data_type, DataType::Text | DataType::TextArray) && !plain;
    if coded && texts().next().is_some() {
        let dictionaries = Arc::make_mut(&mut table.dictionaries);
        dictionaries.entry(written.column).or_default().add(texts().map(|text| text.as_bytes()))?;
    }
    let view = if coded { table.dictionary(written.column).map(Dictionary::view).transpose()? } else { None };
    let find = |text: &str| {
        let code = view.and_then(|view| view.find(text.as_bytes()));
        code.ok_or_else(|| Error::Invalid("a text that was given no code".into()))
    };
    let mut cells = Vec::with_capacity(written.ordinals.len());
    for (ordinal, value) in written.ordinals.iter().zip(&written.values) {
        let cell = match value {
            Value::Null => Cell::Null,
            Value::Boolean(boolean) => Cell::Truth(*boolean),
            Value::Text(text) if coded => Cell::Code(i64::from(find(text)?)),
            Value::Text(text) => Cell::Text(text.as_bytes().into()),
            Value::Tags(tags) => {
                let mut codes = tags.iter().map(|tag| find(tag)).collect::<Result<Vec<u32>>>()?;
                codes.sort_unstable();
                codes.dedup();
                Cell::Tags(codes.into())
            }
            number => Cell::Code(code::encode(number).unwrap_or(0)),
        };
        cells.push((*ordinal, cell));
    }
    if !new.is_empty() {
        let known = cells.iter().filter(|(ordinal, _)| new.contains(ordinal)).count();
        if known < new.len() {
            let mut missing = Vec::with_capacity(new.len() - known);
            let mut there = cells[cells.len() - known..].iter().map(|(ordinal, _)| *ordinal).peekable();
            for ordinal in new {
                if there.next_if_eq(&ordinal).is_none() {
                    missing.push((ordinal, Cell::Null));
                }
            }
            cells.extend(missing);
            cells.sort_by_key(|(ordinal, _)| *ordinal);
        }
    }
    Ok(cells)
}

/// Writes cells, ascending, of which those from ordinal `first` on are of new rows.
fn write(
    table: &mut TableState,
    column: ColumnId,
    data_type: DataType,
    cells: Vec<(u32, Cell)>,
    first: u32,
) -> Result<()> {
    let mut ordinals = Vec::with_capacity(cells.len());
    let mut writes = Vec::with_capacity(cells.len());
    {
        let before = Before::of(table, column)?;
        for (ordinal, new) in cells {
            let old = if ordinal >= first { Cell::Absent } else { before.cell(data_type, ordinal)? };
            ordinals.push(ordinal);
            writes.push(Write { row: ordinal as u16, new, old });
        }
    }
    let Some(layer) = table.layers.last_mut() else { return Ok(()) };
    let layer = Arc::make_mut(layer);
    let mut rest = &writes[..];
    for chunk in ordinals.chunk_by(|a, b| a >> 16 == b >> 16) {
        let (here, later) = rest.split_at(chunk.len());
        layer.write(column, chunk[0] >> 16, here);
        rest = later;
    }
    Ok(())
}

/// True for TEXT that is written without codes: keys, and columns of which a chunk gave its dictionary up.
fn is_plain(table: &TableState, column: ColumnId) -> Result<bool> {
    if table.schema().column(column).is_none_or(|column| column.data_type != DataType::Text) {
        return Ok(false);
    }
    if table.schema().key == Some(column) {
        return Ok(true);
    }
    let reader = table.reader(column)?;
    Ok(reader.has_changed_texts()
        || (0..table.chunks()).any(|chunk| reader.entry(chunk, SectionKind::Strings).is_some()))
}

/// What the rows of a column hold.
pub(crate) struct Before<'a> {
    reader: ColumnReader<'a>,
    dictionary: Option<&'a Dictionary>,
    plain: bool,
}

impl<'a> Before<'a> {
    pub(crate) fn of(table: &'a TableState, column: ColumnId) -> Result<Before<'a>> {
        let plain = is_plain(table, column)?;
        Ok(Before { reader: table.reader(column)?, dictionary: table.dictionary(column), plain })
    }

    /// True for TEXT that is written without codes.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// What one row holds: of a column that is written without codes a text, also where it is stored by its code.
    pub(crate) fn cell(&self, data_type: DataType, ordinal: u32) -> Result<Cell> {
        let cell = self.stored(data_type, ordinal)?;
        match (cell, self.dictionary) {
            // A patch has texts or codes, not both.
            (Cell::Code(code), Some(dictionary)) if self.plain => {
                Ok(Cell::Text(dictionary.view()?.get(code as u32).into()))
            }
            (cell, _) => Ok(cell),
        }
    }

    fn stored(&self, data_type: DataType, ordinal: u32) -> Result<Cell> {
        let (chunk, row) = (ordinal >> 16, ordinal as u16);
        let (reader, place) = (&self.reader, usize::from(row));
        if let Some(cell) = reader.changed_cell(chunk, row)? {
            return Ok(match cell {
                CellRef::Absent => Cell::Absent,
                CellRef::Null => Cell::Null,
                CellRef::Truth(truth) => Cell::Truth(truth),
                CellRef::Code(code) => Cell::Code(code),
                CellRef::Text(text) => Cell::Text(text.into()),
                CellRef::Tags(codes) => Cell::Tags(codes.into()),
            });
        }
        if reader.nulls(chunk)?.contains(row) {
            return Ok(Cell::Null);
        }
        Ok(match data_type {
            DataType::Boolean => Cell::Truth(reader.set(chunk, 0)?.contains(row)),
            DataType::TextArray => {
                let mut codes = Vec::new();
                if let Some(lists) = reader.lists(chunk)? {
                    lists.for_each(place, |code| codes.push(code));
                }
                Cell::Tags(codes.into())
            }
            _ => match (reader.strings(chunk)?, reader.values(chunk)?) {
                (Some(strings), _) => Cell::Text(strings.get(place).into()),
                (None, Some(values)) if place < values.rows => Cell::Code(values.get(place)),
                (None, _) => Cell::Null,
            },
        })
    }
}
