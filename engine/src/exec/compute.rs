//! Expressions of many values, a batch at a time: of some members of one chunk, of a dictionary's entries, of codes.
//!
//! A batch is computed node by node over columns of machine numbers and borrowed texts; where a node has no such loop, or
//! a number does not fit, its values are computed one by one by [`crate::expr`], whose meaning is the only one. A batch that
//! makes an error is computed again one by one: SQL's AND, OR and CASE do not compute what they need not.

mod coded;
mod gather;
mod lanes;
mod numbers;

pub(in crate::exec) use coded::Coded;
pub(in crate::exec) use gather::NONE;
pub(in crate::exec) use lanes::{Kind, Lane};
pub(in crate::exec) use numbers::Numbers;

use crate::Result;
use crate::code;
use crate::control::Cancel;
use crate::dictionary::{Dictionary, DictionaryRef};
use crate::expr::{Compiled, Terms};
use crate::plan::{ComputedTest, Plan};
use crate::schema::DataType;
use crate::table::{ColumnReader, TableState};
use crate::value::Value;
use lanes::Batch;
use std::borrow::Cow;
use std::sync::Arc;

/// Computed at once: some columns of numbers stay in the first cache.
const BATCH: usize = 1_024;

/// Where the values of an expression's columns come from.
pub(crate) enum Inputs<'r, 'a> {
    /// The members of a chunk, by row.
    Members {
        /// The columns, in the order of the expression's.
        columns: Vec<(&'r ColumnReader<'a>, Option<&'a Dictionary>)>,
        /// The chunk.
        chunk: u32,
    },
    /// The entries of the only column's dictionary, by code.
    Entries(DictionaryRef<'a>),
    /// The codes of the only column, counted from the first.
    Codes(DataType, i64),
    /// Rows made before: their values in the order of the expression's columns.
    Lanes(&'r [Arc<Lane<'a>>]),
}

impl<'r, 'a> Inputs<'r, 'a> {
    /// The columns of a test, read by the plan's readers.
    pub(super) fn of_test(plan: &'r Plan<'a>, test: &ComputedTest, chunk: u32) -> Inputs<'r, 'a> {
        let columns = test.terms.columns().iter().zip(&test.readers);
        let columns =
            columns.map(|(column, reader)| (&plan.readers[*reader], plan.table.dictionary(*column)));
        Inputs::Members { columns: columns.collect(), chunk }
    }

    /// The columns of an expression, read by readers in the order of its columns.
    pub(crate) fn new(
        table: &'a TableState,
        compiled: &Compiled,
        readers: &'r [ColumnReader<'a>],
        chunk: u32,
    ) -> Inputs<'r, 'a> {
        let columns = compiled.columns().iter().zip(readers);
        let columns = columns.map(|(column, reader)| (reader, table.dictionary(*column)));
        Inputs::Members { columns: columns.collect(), chunk }
    }

    /// The ordinal of a row, which entries and codes have none of.
    fn ordinal(&self, row: u32) -> u32 {
        if let Inputs::Members { chunk, .. } = self { chunk << 16 | row } else { 0 }
    }

    /// The values of one row.
    fn values(&self, row: u32) -> Result<Vec<Value>> {
        match self {
            Inputs::Members { columns, .. } => columns
                .iter()
                .map(|(reader, dictionary)| super::value_at(reader, *dictionary, self.ordinal(row)))
                .collect(),
            Inputs::Entries(view) => Ok(vec![Value::Text(text_of(view.get(row)).into_owned())]),
            Inputs::Codes(data_type, first) => Ok(vec![code::decode(*data_type, first + i64::from(row))]),
            Inputs::Lanes(lanes) => Ok(lanes.iter().map(|lane| lane.value(row as usize)).collect()),
        }
    }
}

fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Calls `hear` with those of some rows for which the terms hold, in the order of the rows.
///
/// The terms are asked one after another, each of the rows that those before it have left open. So only an error of a row
/// that is still open is one.
pub(crate) fn chosen(
    terms: &Terms,
    inputs: &Inputs<'_, '_>,
    cancel: &Cancel,
    rows: &[u32],
    mut hear: impl FnMut(u32),
) -> Result<()> {
    let mut found = Vec::new();
    for rows in rows.chunks(BATCH) {
        cancel.check()?;
        let mut batch = Batch::new(inputs, rows.to_vec());
        let mut open = vec![true; rows.len()];
        for (node, wanted) in terms.each() {
            let mut left = 0;
            let mut take = |open: &mut bool, row: u32, holds: bool| {
                if *open && holds != terms.all() {
                    *open = false;
                    if holds {
                        found.push(row);
                    }
                }
                left += usize::from(*open);
            };
            match batch.compute(node) {
                Ok(lane) => {
                    let truths = lane.of_each(open.len());
                    // Most terms of a thousand decide nothing: that is one look at each truth.
                    if !truths
                        .iter()
                        .fold(false, |any, truth| any | ((*truth == Some(*wanted)) != terms.all()))
                    {
                        continue;
                    }
                    for ((open, row), truth) in open.iter_mut().zip(batch.rows()).zip(&*truths) {
                        take(open, *row, *truth == Some(*wanted));
                    }
                }
                Err(_) => {
                    for (open, row) in open.iter_mut().zip(batch.rows()) {
                        let holds = *open
                            && node.eval(inputs.ordinal(*row), &inputs.values(*row)?)?
                                == Value::Boolean(*wanted);
                        take(open, *row, holds);
                    }
                }
            }
            if left == 0 {
                break;
            }
            if left <= open.len() / 2 {
                let rows = batch.rows().iter().zip(&open).filter(|(_, open)| **open).map(|(row, _)| *row);
                batch = Batch::new(inputs, rows.collect());
                open = vec![true; left];
            }
        }
        if terms.all() {
            found.extend(batch.rows().iter().zip(&open).filter(|(_, open)| **open).map(|(row, _)| *row));
        }
        found.sort_unstable();
        found.drain(..).for_each(&mut hear);
    }
    Ok(())
}

/// The values of an expression for some members of one chunk, appended to `values`.
pub(crate) fn values(
    compiled: &Compiled,
    inputs: &Inputs<'_, '_>,
    rows: &[u16],
    values: &mut Vec<Value>,
) -> Result<()> {
    for rows in rows.chunks(BATCH) {
        let batch = Batch::new(inputs, rows.iter().map(|row| u32::from(*row)).collect());
        match batch.compute(compiled.root()) {
            Ok(lane) => values.extend((0..rows.len()).map(|i| lane.value(i))),
            Err(_) => {
                for row in batch.rows() {
                    values.push(compiled.eval(inputs.ordinal(*row), &inputs.values(*row)?)?);
                }
            }
        }
    }
    Ok(())
}

/// The columns of some rows of a chunk, read side by side.
pub(in crate::exec) fn columns<'a>(
    inputs: &Inputs<'_, 'a>,
    rows: Vec<u32>,
    count: usize,
) -> Result<Vec<Arc<Lane<'a>>>> {
    let batch = Batch::new(inputs, rows);
    (0..count).map(|number| batch.column(number)).collect()
}

/// The values of an expression for so many rows made before.
pub(in crate::exec) fn lane<'a>(
    compiled: &Compiled,
    lanes: &[Arc<Lane<'a>>],
    count: usize,
) -> Result<Arc<Lane<'a>>> {
    let inputs = Inputs::Lanes(lanes);
    let batch = Batch::new(&inputs, (0..count as u32).collect());
    if let Ok(lane) = batch.compute(compiled.root()) {
        return Ok(lane);
    }
    let values = (0..count as u32).map(|row| compiled.eval(0, &inputs.values(row)?));
    Ok(Arc::new(Lane::Values(values.collect::<Result<_>>()?)))
}
