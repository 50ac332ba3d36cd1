//! GROUP BY: members by the values of some columns, with aggregates.
//!
//! Grouping goes through codes, never through sets of members: each key column turns a chunk's rows into small ids, and a
//! group is the pair (group of the columns before, id of this one). Ids that come from a dictionary look their group up
//! in an array; the rest in a hash table.

use super::accumulate::{Accumulator, AggregateReader};
use super::dense::{CELLS_MAX, Cells, DenseTable};
use super::histogram::count_residuals;
use super::{Found, Sink};
use crate::control::{Held, allocation, row_bytes};
use crate::delta::CellRef;
use crate::dictionary::Dictionary;
use crate::exec::overlay::split;
use crate::exec::values_bounds;
use crate::schema::{ColumnId, DataType};
use crate::table::{ColumnReader, TableState};
use crate::value::Value;
use crate::{Error, Result};
use hashbrown::HashMap;

/// One aggregate of a grouping. NULLs are passed over, as SQL has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// `count(*)`: BIGINT
    CountAll,
    /// `count(column)`: BIGINT
    Count(ColumnId),
    /// `sum(column)`: exact Decimal (scale 0 for integers), Double for doubles; NULL of no rows
    Sum(ColumnId),
    /// `avg(column)`: Double; NULL of no rows
    Avg(ColumnId),
    /// `min(column)`: any type but BOOLEAN and TEXT[]; NULL of no rows
    Min(ColumnId),
    /// `max(column)`
    Max(ColumnId),
}

/// One group: its key values, its aggregates.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The values of the grouping columns; NULL is a group of its own.
    pub key: Vec<Value>,
    /// The aggregates in the order asked.
    pub values: Vec<Value>,
}

/// GROUP BY: a `Vec<Group>` in no particular order. Without keys exactly one group, even of no rows.
pub struct Groups {
    /// The grouping columns.
    pub keys: Vec<ColumnId>,
    /// The aggregates.
    pub aggregates: Vec<Aggregate>,
}

/// The columns of a grouping, open.
pub struct GroupReader<'a> {
    keys: Vec<KeyReader<'a>>,
    aggregates: Vec<AggregateReader<'a>>,
    /// Where the key columns have few values: how they make up a cell.
    cells: Option<Cells>,
}

impl<'a> GroupReader<'a> {
    /// All columns that are read.
    fn columns(&self) -> impl Iterator<Item = &ColumnReader<'a>> {
        let keys = self.keys.iter().map(|key| &key.reader);
        keys.chain(self.aggregates.iter().filter_map(|aggregate| aggregate.column.as_ref()))
    }
}

/// One of them.
pub struct KeyReader<'a> {
    /// The column.
    pub reader: ColumnReader<'a>,
    dictionary: Option<&'a Dictionary>,
    /// Codes of the dictionary: ids 1 to this are theirs, 0 is NULL.
    codes: usize,
    /// Of numbers that lie close together, as they were imported: the least, and how many there may be.
    numbers: Option<(i64, usize)>,
}

/// What one key column has seen: an id per distinct value.
#[derive(Default)]
struct Ids {
    /// Numbers met, in the order of their ids (which start at 1).
    numbers: Vec<i64>,
    number_ids: HashMap<i64, u32, foldhash::fast::FixedState>,
    /// Texts that are in no dictionary; their ids follow the dictionary's.
    texts: Vec<Box<[u8]>>,
    text_ids: HashMap<Box<[u8]>, u32, foldhash::fast::FixedState>,
    /// What the texts hold, which are there twice.
    text_bytes: usize,
    /// Group of (group before, id): an array of `stride` columns while small, else a hash table.
    array: Vec<u32>,
    table: HashMap<(u32, u32), u32, foldhash::fast::FixedState>,
}

/// Up to this many cells a key column finds groups in an array.
const ARRAY_CELLS_MAX: usize = 1 << 20;
const NO_GROUP: u32 = u32::MAX;

/// The groups of some chunks.
pub struct GroupTable {
    ids: Vec<Ids>,
    /// Per key column: its groups, as (group before, id).
    levels: Vec<Vec<(u32, u32)>>,
    accumulators: Vec<Accumulator>,
    /// `count(*)` by code of the only key column, for the commonest question.
    histogram: Vec<u64>,
    /// The groups of columns of few values, by cell.
    dense: Option<Box<DenseTable>>,
    /// Tables of later chunks, added at the end, when the columns' readers are at hand.
    pending: Vec<GroupTable>,
}

impl KeyReader<'_> {
    /// The id of each row's value, appended to `ids`.
    fn ids(&self, seen: &mut Ids, chunk: u32, rows: &[u16], ids: &mut Vec<u32>) -> Result<u64> {
        let reader = &self.reader;
        let first = ids.len();
        let nulls = reader.nulls(chunk)?;
        let mut bytes = 0;
        if reader.data_type() == DataType::Boolean {
            let set = reader.set(chunk, 0)?;
            ids.extend(rows.iter().map(|row| 1 + u32::from(set.contains(*row))));
            bytes += set.bytes() as u64;
        } else if let Some(strings) = reader.strings(chunk)? {
            let view = self.dictionary.map(Dictionary::view).transpose()?;
            for row in rows {
                let text = strings.get(usize::from(*row));
                let known = view.and_then(|view| view.find(text)).map(|code| code + 1);
                ids.push(known.unwrap_or_else(|| seen.text(text, self.codes)));
            }
            bytes += 64 * rows.len() as u64;
        } else if let Some(values) = reader.values(chunk)? {
            let mut codes = Vec::with_capacity(rows.len());
            values.gather(rows, &mut codes);
            if reader.data_type() == DataType::Text {
                ids.extend(codes.into_iter().map(|code| code as u32 + 1));
            } else {
                ids.extend(codes.into_iter().map(|code| seen.number(code)));
            }
            bytes += touched(rows.len(), values.rows * values.residuals.width());
        } else {
            ids.resize(rows.len(), 0);
        }
        if nulls.cardinality() > 0 {
            for (id, row) in ids[first..].iter_mut().zip(rows) {
                if nulls.contains(*row) {
                    *id = 0;
                }
            }
        }
        let view = self.dictionary.map(Dictionary::view).transpose()?;
        reader.overlay(chunk, rows, |place, cell| {
            ids[first + place] = match cell {
                CellRef::Absent | CellRef::Null | CellRef::Tags(_) => 0,
                CellRef::Truth(truth) => 1 + u32::from(truth),
                CellRef::Code(code) if reader.data_type() == DataType::Text => code as u32 + 1,
                CellRef::Code(code) => seen.number(code),
                CellRef::Text(text) => {
                    let known = view.and_then(|view| view.find(text)).map(|code| code + 1);
                    known.unwrap_or_else(|| seen.text(text, self.codes))
                }
            };
        })?;
        Ok(bytes)
    }

    fn value(&self, seen: &Ids, id: u32) -> Result<Value> {
        let text = |bytes: &[u8]| Value::Text(String::from_utf8_lossy(bytes).into_owned());
        Ok(match (self.reader.data_type(), id) {
            (_, 0) => Value::Null,
            (DataType::Boolean, id) => Value::Boolean(id == 2),
            (DataType::Text, id) if id as usize <= self.codes => match self.dictionary {
                Some(dictionary) => text(dictionary.view()?.get(id - 1)),
                None => Value::Null,
            },
            (DataType::Text, id) => text(&seen.texts[id as usize - 1 - self.codes]),
            (data_type, id) => crate::code::decode(data_type, seen.numbers[id as usize - 1]),
        })
    }

    /// The id in `into` of a value that has `id` in `from`.
    fn translate(&self, into: &mut Ids, from: &Ids, id: u32) -> u32 {
        match self.reader.data_type() {
            _ if id == 0 => 0,
            DataType::Boolean => id,
            DataType::Text if id as usize <= self.codes => id,
            DataType::Text => into.text(&from.texts[id as usize - 1 - self.codes], self.codes),
            _ => into.number(from.numbers[id as usize - 1]),
        }
    }

    /// The number of values that the column may have but NULL, where it is known beforehand.
    pub fn values(&self) -> Option<usize> {
        match self.reader.data_type() {
            DataType::Boolean => Some(2),
            DataType::Text => Some(self.codes),
            _ => self.numbers.map(|(_, count)| count),
        }
    }

    /// The least of these values, as code.
    pub fn least(&self) -> i64 {
        self.numbers.map_or(0, |(least, _)| least)
    }

    /// The id of the value that is so many after the least; of the last of all, NULL.
    fn id_of(&self, seen: &mut Ids, value: usize) -> u32 {
        match self.numbers {
            _ if self.values().is_none_or(|values| value >= values) => 0,
            Some((least, _)) => seen.number(least.wrapping_add(value as i64)),
            None => value as u32 + 1,
        }
    }

    /// Ids below this are known beforehand; 0 where they grow with the data.
    fn stride(&self) -> usize {
        match self.reader.data_type() {
            DataType::Boolean => 3,
            DataType::Text if self.codes < ARRAY_CELLS_MAX => self.codes + 1,
            _ => 0,
        }
    }
}

/// The least of a column's numbers, and how many there may be, as far as chunks tell; `None` where these are too many for cells.
fn numbers_of(table: &TableState, reader: &ColumnReader<'_>) -> Option<(i64, usize)> {
    if matches!(reader.data_type(), DataType::Boolean | DataType::Text) {
        return None;
    }
    let (least, greatest) = values_bounds(reader, table.chunks())?;
    let count = usize::try_from(greatest.checked_sub(least)?).ok()?.checked_add(1)?;
    (count < CELLS_MAX).then_some((least, count))
}

/// Bytes of the cache lines that `rows` random rows of a column of `bytes` touch, at most.
fn touched(rows: usize, bytes: usize) -> u64 {
    (64 * rows).min(bytes) as u64
}

impl Ids {
    fn number(&mut self, number: i64) -> u32 {
        *self.number_ids.entry(number).or_insert_with(|| {
            self.numbers.push(number);
            self.numbers.len() as u32
        })
    }

    fn text(&mut self, text: &[u8], codes: usize) -> u32 {
        if let Some(id) = self.text_ids.get(text) {
            return *id;
        }
        self.text_bytes += 2 * allocation(text.len());
        self.texts.push(text.into());
        let id = (codes + self.texts.len()) as u32;
        self.text_ids.insert(text.into(), id);
        id
    }

    fn held(&self) -> usize {
        let numbers = self.numbers.capacity() * size_of::<i64>() + self.number_ids.allocation_size();
        let texts = self.texts.capacity() * size_of::<Box<[u8]>>() + self.text_ids.allocation_size();
        let groups = self.array.capacity() * size_of::<u32>() + self.table.allocation_size();
        numbers + texts + self.text_bytes + groups
    }

    /// The group of (group before, id), made if it is new.
    fn group(&mut self, level: &mut Vec<(u32, u32)>, stride: usize, before: u32, id: u32) -> u32 {
        let cell = before as usize * stride + id as usize;
        if (id as usize) < stride && cell < ARRAY_CELLS_MAX {
            if cell >= self.array.len() {
                self.array.resize((cell + stride).min(ARRAY_CELLS_MAX), NO_GROUP);
            }
            if self.array[cell] == NO_GROUP {
                self.array[cell] = level.len() as u32;
                level.push((before, id));
            }
            return self.array[cell];
        }
        *self.table.entry((before, id)).or_insert_with(|| {
            level.push((before, id));
            level.len() as u32 - 1
        })
    }
}

impl GroupTable {
    fn groups(&self) -> usize {
        self.levels.last().map_or(1, Vec::len)
    }

    /// The bytes that it holds. Cells of few values are not counted.
    fn held(&self) -> usize {
        let ids: usize = self.ids.iter().map(Ids::held).sum();
        let levels: usize = self.levels.iter().map(|level| level.capacity() * size_of::<(u32, u32)>()).sum();
        let accumulators: usize = self.accumulators.iter().map(Accumulator::held).sum();
        let pending: usize = self.pending.iter().map(GroupTable::held).sum();
        ids + levels + accumulators + self.histogram.capacity() * size_of::<u64>() + pending
    }

    /// Puts the histogram's counts into groups.
    fn settle(&mut self, reader: &GroupReader<'_>) {
        self.settle_cells(reader);
        let [key] = reader.keys.as_slice() else { return };
        for (code, count) in
            std::mem::take(&mut self.histogram).into_iter().enumerate().filter(|(_, c)| *c > 0)
        {
            let group = self.ids[0].group(&mut self.levels[0], key.stride(), 0, code as u32 + 1);
            let groups = self.groups();
            for accumulator in &mut self.accumulators {
                accumulator.grow(groups);
                accumulator.add_count(group, count);
            }
        }
    }
}

impl GroupTable {
    /// Puts the cells into groups.
    fn settle_cells(&mut self, reader: &GroupReader<'_>) {
        let Some(mut dense) = self.dense.take() else { return };
        dense.finish(&reader.aggregates);
        let mut groups = Vec::new();
        for (cell, _) in dense.occupied() {
            groups.resize(cell + 1, 0);
            for (level, (code, key)) in dense.cells().codes(cell).zip(&reader.keys).enumerate() {
                let id = key.id_of(&mut self.ids[level], code);
                let before = if level == 0 { 0 } else { groups[cell] };
                groups[cell] = self.ids[level].group(&mut self.levels[level], key.stride(), before, id);
            }
        }
        let count = self.groups();
        for (accumulator, more) in self.accumulators.iter_mut().zip(dense.accumulators()) {
            accumulator.grow(count);
            accumulator.absorb(more, &groups);
        }
    }
}

impl Groups {
    /// True where one dictionary column is counted and nothing else.
    fn counts_codes(&self, reader: &GroupReader<'_>) -> bool {
        matches!(reader.keys.as_slice(), [key] if key.reader.data_type() == DataType::Text && key.stride() > 0)
            && self.aggregates.iter().all(|aggregate| *aggregate == Aggregate::CountAll)
    }

    /// Counts a chunk's rows by code; false where the chunk has no codes or has NULLs.
    fn count_codes(
        &self,
        key: &KeyReader<'_>,
        table: &mut GroupTable,
        chunk: u32,
        rows: &[u16],
    ) -> Result<Option<u64>> {
        let nulls = key.reader.nulls(chunk)?;
        let Some(values) = key.reader.values(chunk)? else { return Ok(None) };
        if nulls.cardinality() > 0 || values.frame.divisor != 1 || values.frame.slope != 0 {
            return Ok(None);
        }
        table.histogram.resize(key.codes, 0);
        // The frame's base is the least code, so every residual is a code's distance from it.
        let Some(counts) = table.histogram.get_mut(values.frame.base as usize..) else { return Ok(None) };
        if !count_residuals(values.residuals, rows, counts) {
            return Ok(None);
        }
        Ok(Some(touched(rows.len(), values.rows * values.residuals.width())))
    }
}

impl Sink for Groups {
    type Reader<'a> = GroupReader<'a>;
    type Partial = GroupTable;
    type Output = Vec<Group>;
    const HOLDS: &'static str = "the groups";

    fn open<'a>(&self, table: &'a TableState) -> Result<GroupReader<'a>> {
        let key = |column: &ColumnId| {
            let reader = table.reader(*column)?;
            if reader.data_type() == DataType::TextArray {
                return Err(Error::Invalid("a TEXT[] column cannot be grouped by".into()));
            }
            let dictionary = table.dictionary(*column);
            let codes = dictionary.map(|d| d.view().map(|view| view.len())).transpose()?.unwrap_or(0);
            let numbers = numbers_of(table, &reader);
            Ok(KeyReader { reader, dictionary, codes, numbers })
        };
        let keys: Vec<KeyReader<'a>> = self.keys.iter().map(key).collect::<Result<_>>()?;
        Ok(GroupReader {
            cells: if keys.is_empty() { None } else { Cells::of(&keys) },
            keys,
            aggregates: self
                .aggregates
                .iter()
                .map(|a| AggregateReader::open(table, *a))
                .collect::<Result<_>>()?,
        })
    }

    fn begin(&self) -> GroupTable {
        GroupTable {
            ids: self.keys.iter().map(|_| Ids::default()).collect(),
            levels: self.keys.iter().map(|_| Vec::new()).collect(),
            accumulators: self.aggregates.iter().map(|a| Accumulator::new(*a)).collect(),
            histogram: Vec::new(),
            dense: None,
            pending: Vec::new(),
        }
    }

    fn take(
        &self,
        reader: &GroupReader<'_>,
        table: &mut GroupTable,
        chunk: u32,
        found: Found<'_>,
        held: &mut Held,
    ) -> Result<u64> {
        let bytes = match split(found, chunk, reader.columns())? {
            None => self.take_unchanged(reader, table, chunk, found)?,
            Some(split) => {
                let bytes = self.take_unchanged(reader, table, chunk, split.found())?;
                bytes + self.take_rows(reader, table, chunk, &split.changed)?
            }
        };
        held.set(table.held())?;
        Ok(bytes)
    }

    fn merge(&self, into: &mut GroupTable, from: GroupTable) {
        into.histogram.resize(into.histogram.len().max(from.histogram.len()), 0);
        into.histogram.iter_mut().zip(&from.histogram).for_each(|(a, b)| *a += b);
        let GroupTable { dense, .. } = from;
        match (&mut into.dense, dense) {
            (Some(cells), Some(more)) => cells.absorb(&more),
            (cells @ None, more) => *cells = more,
            (Some(_), None) => {}
        }
        into.pending.push(GroupTable { histogram: Vec::new(), dense: None, ..from });
    }

    fn finish(&self, reader: &GroupReader<'_>, mut table: GroupTable, held: &mut Held) -> Result<Vec<Group>> {
        let mut pending = std::mem::take(&mut table.pending);
        while let Some(mut from) = pending.pop() {
            pending.append(&mut from.pending);
            absorb(reader, &mut table, &from);
            drop(from);
            held.set(table.held() + pending.iter().map(GroupTable::held).sum::<usize>())?;
        }
        table.settle(reader);
        let groups = table.groups();
        table.accumulators.iter_mut().for_each(|accumulator| accumulator.grow(groups));
        held.set(table.held())?;
        held.add(groups * size_of::<Group>())?;
        (0..groups as u32)
            .map(|group| {
                let mut key = Vec::with_capacity(reader.keys.len());
                let mut at = group;
                for (level, column) in reader.keys.iter().enumerate().rev() {
                    let (before, id) = table.levels[level][at as usize];
                    key.push(column.value(&table.ids[level], id)?);
                    at = before;
                }
                key.reverse();
                let value = |(accumulator, aggregate): (&Accumulator, &AggregateReader<'_>)| {
                    accumulator.value(group, aggregate)
                };
                let values: Vec<Value> =
                    table.accumulators.iter().zip(&reader.aggregates).map(value).collect();
                held.add(row_bytes(&key) + row_bytes(&values))?;
                Ok(Group { key, values })
            })
            .collect()
    }
}

impl Groups {
    /// Takes members whose values the base holds.
    fn take_unchanged(
        &self,
        reader: &GroupReader<'_>,
        table: &mut GroupTable,
        chunk: u32,
        found: Found<'_>,
    ) -> Result<u64> {
        let mut buffer = Vec::new();
        if self.counts_codes(reader) {
            let rows = found.rows(&mut buffer);
            if let Some(bytes) = self.count_codes(&reader.keys[0], table, chunk, rows)? {
                return Ok(bytes);
            }
        }
        if let Some(cells) = reader.cells.as_ref().filter(|cells| cells.pay(found.cardinality())) {
            let new = || Box::new(DenseTable::new(cells.clone(), &self.aggregates));
            let dense = table.dense.get_or_insert_with(new);
            if let Some(bytes) = dense.take(&reader.keys, &reader.aggregates, chunk, found)? {
                return Ok(bytes);
            }
        }
        self.take_rows(reader, table, chunk, found.rows(&mut buffer))
    }

    /// Takes any members, row by row.
    fn take_rows(
        &self,
        reader: &GroupReader<'_>,
        table: &mut GroupTable,
        chunk: u32,
        rows: &[u16],
    ) -> Result<u64> {
        let mut bytes = 0;
        let mut groups = vec![0u32; rows.len()];
        let mut ids = Vec::with_capacity(rows.len());
        for (level, key) in reader.keys.iter().enumerate() {
            ids.clear();
            let (seen, stride) = (&mut table.ids[level], key.stride());
            bytes += key.ids(seen, chunk, rows, &mut ids)?;
            for (group, id) in groups.iter_mut().zip(&ids) {
                *group = seen.group(&mut table.levels[level], stride, *group, *id);
            }
        }
        let count = table.groups();
        for (accumulator, aggregate) in table.accumulators.iter_mut().zip(&reader.aggregates) {
            accumulator.grow(count);
            bytes += accumulator.take(aggregate, chunk, rows, &groups)?;
        }
        Ok(bytes)
    }
}

/// Adds the groups of `from` to `into`.
fn absorb(reader: &GroupReader<'_>, into: &mut GroupTable, from: &GroupTable) {
    // The group in `into` of each group of `from`, level by level.
    let mut groups = vec![0u32];
    for (level, key) in reader.keys.iter().enumerate() {
        let (seen, known) = (&mut into.ids[level], &mut into.levels[level]);
        groups = (from.levels[level].iter())
            .map(|(before, id)| {
                let id = key.translate(seen, &from.ids[level], *id);
                seen.group(known, key.stride(), groups[*before as usize], id)
            })
            .collect();
    }
    let count = into.groups();
    for (accumulator, more) in into.accumulators.iter_mut().zip(&from.accumulators) {
        accumulator.grow(count);
        accumulator.absorb(more, &groups);
    }
}
