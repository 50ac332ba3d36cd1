//! The aggregates of a grouping: one state per group.
//!
//! Sums of integers and decimals are exact (128 bits). Sums of doubles carry a second double for what rounding cut off,
//! so that the result does not depend on how chunks were shared among threads but in its last bit, if at all.

use super::Aggregate;
use crate::control::allocation;
use crate::delta::CellRef;
use crate::dictionary::Dictionary;
use crate::schema::{ColumnId, DataType};
use crate::table::{ColumnReader, TableState};
use crate::value::Value;
use crate::{Error, Result};

/// The column of an aggregate, open.
pub struct AggregateReader<'a> {
    /// The column; `count(*)` has none.
    pub column: Option<ColumnReader<'a>>,
    /// Which it is.
    id: Option<ColumnId>,
    /// True of sums and averages that are exact, of integers and decimals.
    pub sums: bool,
    dictionary: Option<&'a Dictionary>,
}

impl<'a> AggregateReader<'a> {
    /// Opens the column and checks that the aggregate takes its type.
    pub fn open(table: &'a TableState, aggregate: Aggregate) -> Result<AggregateReader<'a>> {
        let (column, takes): (_, fn(DataType) -> bool) = match aggregate {
            Aggregate::CountAll => {
                return Ok(AggregateReader { column: None, id: None, sums: false, dictionary: None });
            }
            Aggregate::Count(column) => (column, |_| true),
            Aggregate::Sum(column) | Aggregate::Avg(column) => (column, DataType::is_number),
            Aggregate::Min(column) | Aggregate::Max(column) => {
                (column, |t| !matches!(t, DataType::Boolean | DataType::TextArray))
            }
        };
        let reader = table.reader(column)?;
        if !takes(reader.data_type()) {
            let name = table.schema().column(column).map_or("?", |c| &c.name);
            return Err(Error::Invalid(format!(
                "column \"{name}\" is {}, which this aggregate does not take",
                reader.data_type()
            )));
        }
        let sums = matches!(aggregate, Aggregate::Sum(_) | Aggregate::Avg(_))
            && reader.data_type() != DataType::Double;
        let dictionary = table.dictionary(column);
        Ok(AggregateReader { column: Some(reader), id: Some(column), sums, dictionary })
    }

    /// True where both are exact sums or averages of one column.
    pub fn is_sum_of(&self, other: &AggregateReader<'_>) -> bool {
        self.sums && other.sums && self.id == other.id
    }

    fn data_type(&self) -> DataType {
        self.column.as_ref().map_or(DataType::BigInt, ColumnReader::data_type)
    }
}

/// A sum of doubles and the error it has gathered (Knuth's two-sum).
#[derive(Clone, Copy, Default)]
pub(super) struct DoubleSum {
    sum: f64,
    error: f64,
}

impl DoubleSum {
    /// One double.
    pub(super) fn of(double: f64) -> DoubleSum {
        DoubleSum { sum: double, error: 0.0 }
    }

    pub(super) fn add(&mut self, other: DoubleSum) {
        let sum = self.sum + other.sum;
        let part = sum - self.sum;
        let lost = (self.sum - (sum - part)) + (other.sum - part);
        // Beyond the finite there is nothing to correct.
        self.error += if lost.is_finite() { lost + other.error } else { 0.0 };
        self.sum = sum;
    }

    pub(super) fn value(self) -> f64 {
        self.sum + self.error
    }
}

enum States {
    Count,
    Sum(Vec<i128>),
    DoubleSum(Vec<DoubleSum>),
    Code(Vec<i64>),
    Text(Vec<Box<[u8]>>),
    /// Nothing seen yet, so the kind is not known.
    Unknown,
}

/// One aggregate for all groups.
pub struct Accumulator {
    aggregate: Aggregate,
    /// Rows (or values that are not NULL) of each group.
    counts: Vec<u64>,
    states: States,
    /// What the texts among the states hold.
    text_bytes: usize,
}

impl Accumulator {
    /// An aggregate of no groups.
    pub fn new(aggregate: Aggregate) -> Accumulator {
        Accumulator { aggregate, counts: Vec::new(), states: States::Unknown, text_bytes: 0 }
    }

    /// Makes room for groups.
    pub fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        match &mut self.states {
            States::Count | States::Unknown => {}
            States::Sum(sums) => sums.resize(groups, 0),
            States::DoubleSum(sums) => sums.resize(groups, DoubleSum::default()),
            States::Code(codes) => codes.resize(groups, 0),
            States::Text(texts) => texts.resize(groups, Box::default()),
        }
    }

    /// The bytes that it holds.
    pub fn held(&self) -> usize {
        let states = match &self.states {
            States::Count | States::Unknown => 0,
            States::Sum(sums) => sums.capacity() * size_of::<i128>(),
            States::DoubleSum(sums) => sums.capacity() * size_of::<DoubleSum>(),
            States::Code(codes) => codes.capacity() * size_of::<i64>(),
            States::Text(texts) => texts.capacity() * size_of::<Box<[u8]>>() + self.text_bytes,
        };
        self.counts.capacity() * size_of::<u64>() + states
    }

    /// Adds to `count(*)` of a group.
    pub fn add_count(&mut self, group: u32, count: u64) {
        if matches!(self.states, States::Unknown) {
            self.states = States::Count;
        }
        self.counts[group as usize] += count;
    }

    /// Adds some values and their sum to an exact sum or average.
    pub fn add_sum(&mut self, reader: &AggregateReader<'_>, group: u32, count: u64, sum: i128) {
        self.prepare(reader.data_type());
        if let States::Sum(sums) = &mut self.states {
            sums[group as usize] += sum;
            self.counts[group as usize] += count;
        }
    }

    fn prepare(&mut self, data_type: DataType) {
        if matches!(self.states, States::Unknown) {
            self.states = match (self.aggregate, data_type) {
                (Aggregate::CountAll | Aggregate::Count(_), _) => States::Count,
                (Aggregate::Sum(_) | Aggregate::Avg(_), DataType::Double) => States::DoubleSum(Vec::new()),
                (Aggregate::Sum(_) | Aggregate::Avg(_), _) => States::Sum(Vec::new()),
                (Aggregate::Min(_) | Aggregate::Max(_), DataType::Text) => States::Text(Vec::new()),
                (Aggregate::Min(_) | Aggregate::Max(_), _) => States::Code(Vec::new()),
            };
            self.grow(self.counts.len());
        }
    }

    /// Takes rows of a chunk, each with its group; returns the bytes read.
    pub fn take(
        &mut self,
        reader: &AggregateReader<'_>,
        chunk: u32,
        rows: &[u16],
        groups: &[u32],
    ) -> Result<u64> {
        self.prepare(reader.data_type());
        let Some(column) = &reader.column else {
            groups.iter().for_each(|group| self.counts[*group as usize] += 1);
            return Ok(0);
        };
        if column.is_changed(chunk) {
            let mut cells = vec![None; rows.len()];
            column.overlay(chunk, rows, |place, cell| cells[place] = Some(cell))?;
            for (cell, group) in cells.iter().zip(groups) {
                if let Some(cell) = cell {
                    self.take_cell(reader, *cell, *group as usize)?;
                }
            }
            let unchanged = rows.iter().zip(groups).zip(&cells).filter(|(_, cell)| cell.is_none());
            let (rows, groups): (Vec<u16>, Vec<u32>) =
                unchanged.map(|((row, group), _)| (*row, *group)).unzip();
            return self.take_base(reader, column, chunk, &rows, &groups);
        }
        self.take_base(reader, column, chunk, rows, groups)
    }

    /// Takes what one changed row holds.
    fn take_cell(&mut self, reader: &AggregateReader<'_>, cell: CellRef<'_>, group: usize) -> Result<()> {
        if matches!(cell, CellRef::Absent | CellRef::Null) {
            return Ok(());
        }
        let is_max = matches!(self.aggregate, Aggregate::Max(_));
        let first = self.counts[group] == 0;
        match (&mut self.states, cell) {
            (States::Sum(sums), CellRef::Code(code)) => sums[group] += i128::from(code),
            (States::DoubleSum(sums), CellRef::Code(code)) => {
                sums[group].add(DoubleSum::of(crate::code::code_to_double(code)));
            }
            (States::Code(best), CellRef::Code(code))
                if first || (if is_max { code > best[group] } else { code < best[group] }) =>
            {
                best[group] = code;
            }
            (States::Text(best), CellRef::Code(_) | CellRef::Text(_)) => {
                let view = reader.dictionary.map(Dictionary::view).transpose()?;
                let text = match (cell, view) {
                    (CellRef::Text(text), _) => text,
                    (CellRef::Code(code), Some(view)) => view.get(code as u32),
                    _ => return Ok(()),
                };
                if first || (if is_max { text > &*best[group] } else { text < &*best[group] }) {
                    self.text_bytes += allocation(text.len());
                    self.text_bytes -= allocation(best[group].len());
                    best[group] = text.into();
                }
            }
            _ => {}
        }
        self.counts[group] += 1;
        Ok(())
    }

    /// Takes rows whose values the base holds.
    fn take_base(
        &mut self,
        reader: &AggregateReader<'_>,
        column: &ColumnReader<'_>,
        chunk: u32,
        rows: &[u16],
        groups: &[u32],
    ) -> Result<u64> {
        let nulls = column.nulls(chunk)?;
        if nulls.cardinality() > 0 {
            let kept = rows.iter().zip(groups).filter(|(row, _)| !nulls.contains(**row));
            let (rows, groups): (Vec<u16>, Vec<u32>) = kept.map(|(row, group)| (*row, *group)).unzip();
            return self.take_present(reader, column, chunk, &rows, &groups);
        }
        self.take_present(reader, column, chunk, rows, groups)
    }

    fn take_present(
        &mut self,
        reader: &AggregateReader<'_>,
        column: &ColumnReader<'_>,
        chunk: u32,
        rows: &[u16],
        groups: &[u32],
    ) -> Result<u64> {
        let is_max = matches!(self.aggregate, Aggregate::Max(_));
        let counts = &mut self.counts;
        if let States::Text(texts) = &mut self.states {
            let (strings, values) = (column.strings(chunk)?, column.values(chunk)?);
            let view = reader.dictionary.map(Dictionary::view).transpose()?;
            for (row, group) in rows.iter().zip(groups) {
                let row = usize::from(*row);
                let text = match (strings, values, view) {
                    (Some(strings), _, _) => strings.get(row),
                    (None, Some(values), Some(view)) => view.get(values.get(row) as u32),
                    _ => continue,
                };
                let (best, count) = (&mut texts[*group as usize], &mut counts[*group as usize]);
                if *count == 0 || (if is_max { text > &**best } else { text < &**best }) {
                    self.text_bytes += allocation(text.len());
                    self.text_bytes -= allocation(best.len());
                    *best = text.into();
                }
                *count += 1;
            }
            return Ok(64 * rows.len() as u64);
        }
        if matches!(self.states, States::Count) {
            groups.iter().for_each(|group| counts[*group as usize] += 1);
            return Ok(0);
        }
        let Some(values) = column.values(chunk)? else { return Ok(0) };
        let mut codes = Vec::with_capacity(rows.len());
        values.gather(rows, &mut codes);
        let each = codes.into_iter().zip(groups.iter().map(|group| *group as usize));
        match &mut self.states {
            States::Sum(sums) => each.for_each(|(code, group)| {
                sums[group] += i128::from(code);
                counts[group] += 1;
            }),
            States::DoubleSum(sums) => each.for_each(|(code, group)| {
                sums[group].add(DoubleSum::of(crate::code::code_to_double(code)));
                counts[group] += 1;
            }),
            States::Code(best) => each.for_each(|(code, group)| {
                if counts[group] == 0 || (if is_max { code > best[group] } else { code < best[group] }) {
                    best[group] = code;
                }
                counts[group] += 1;
            }),
            States::Count | States::Text(_) | States::Unknown => {}
        }
        Ok((64 * rows.len()).min(values.rows * values.residuals.width()) as u64)
    }

    /// Adds the groups of another: its group i is `groups[i]` here.
    pub fn absorb(&mut self, other: &Accumulator, groups: &[u32]) {
        let is_max = matches!(self.aggregate, Aggregate::Max(_));
        if matches!(self.states, States::Unknown) {
            self.states = match &other.states {
                States::Unknown => return,
                States::Count => States::Count,
                States::Sum(_) => States::Sum(Vec::new()),
                States::DoubleSum(_) => States::DoubleSum(Vec::new()),
                States::Code(_) => States::Code(Vec::new()),
                States::Text(_) => States::Text(Vec::new()),
            };
            self.grow(self.counts.len());
        }
        for (from, count) in other.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let group = groups[from] as usize;
            let first = self.counts[group] == 0;
            match (&mut self.states, &other.states) {
                (States::Sum(sums), States::Sum(more)) => sums[group] += more[from],
                (States::DoubleSum(sums), States::DoubleSum(more)) => sums[group].add(more[from]),
                (States::Code(best), States::Code(more)) => {
                    let better = if is_max { more[from] > best[group] } else { more[from] < best[group] };
                    if first || better {
                        best[group] = more[from];
                    }
                }
                (States::Text(best), States::Text(more)) => {
                    let better = if is_max { more[from] > best[group] } else { more[from] < best[group] };
                    if first || better {
                        self.text_bytes += allocation(more[from].len());
                        self.text_bytes -= allocation(best[group].len());
                        best[group] = more[from].clone();
                    }
                }
                _ => {}
            }
            self.counts[group] += count;
        }
    }

    /// The result of one group.
    pub fn value(&self, group: u32, reader: &AggregateReader<'_>) -> Value {
        let group = group as usize;
        let count = self.counts[group];
        if matches!(self.aggregate, Aggregate::CountAll | Aggregate::Count(_)) {
            return Value::Integer(count as i64);
        }
        if count == 0 {
            return Value::Null;
        }
        let scale = match reader.data_type() {
            DataType::Decimal { scale, .. } => scale,
            _ => 0,
        };
        let is_average = matches!(self.aggregate, Aggregate::Avg(_));
        match &self.states {
            States::Sum(sums) if is_average => {
                Value::Double(sums[group] as f64 / count as f64 / 10f64.powi(i32::from(scale)))
            }
            States::Sum(sums) => Value::Decimal { unscaled: sums[group], scale },
            States::DoubleSum(sums) if is_average => Value::Double(sums[group].value() / count as f64),
            States::DoubleSum(sums) => Value::Double(sums[group].value()),
            States::Code(best) => crate::code::decode(reader.data_type(), best[group]),
            States::Text(best) => Value::Text(String::from_utf8_lossy(&best[group]).into_owned()),
            States::Count | States::Unknown => Value::Null,
        }
    }
}
