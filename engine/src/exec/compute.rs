//! Expressions of some members of one chunk, a batch at a time.
//!
//! A batch is computed node by node over columns of machine numbers; where a node has no such loop, or a number does not
//! fit, its values are computed one by one by [`crate::expr`], whose meaning is the only one. A batch that makes an error is
//! computed again member by member: SQL's AND, OR and CASE do not compute what they need not.

mod lanes;

use crate::Result;
use crate::control::Cancel;
use crate::dictionary::Dictionary;
use crate::expr::Compiled;
use crate::plan::{ComputedTest, Plan};
use crate::table::{ColumnReader, TableState};
use crate::value::Value;
use lanes::Lane;

/// Members computed at once: some columns of numbers stay in the first cache.
const BATCH: usize = 1_024;

/// The columns of an expression.
pub(crate) struct Inputs<'r, 'a> {
    columns: Vec<(&'r ColumnReader<'a>, Option<&'a Dictionary>)>,
}

impl<'r, 'a> Inputs<'r, 'a> {
    /// The columns of a test, read by the plan's readers.
    pub(super) fn of_test(plan: &'r Plan<'a>, test: &ComputedTest) -> Inputs<'r, 'a> {
        let columns = test.compiled.columns().iter().zip(&test.readers);
        let columns =
            columns.map(|(column, reader)| (&plan.readers[*reader], plan.table.dictionary(*column)));
        Inputs { columns: columns.collect() }
    }

    /// The columns of an expression, read by readers in the order of its columns.
    pub(crate) fn new(
        table: &'a TableState,
        compiled: &Compiled,
        readers: &'r [ColumnReader<'a>],
    ) -> Inputs<'r, 'a> {
        let columns = compiled.columns().iter().zip(readers);
        Inputs { columns: columns.map(|(column, reader)| (reader, table.dictionary(*column))).collect() }
    }

    /// The values of one member.
    fn values(&self, ordinal: u32) -> Result<Vec<Value>> {
        self.columns
            .iter()
            .map(|(reader, dictionary)| super::value_at(reader, *dictionary, ordinal))
            .collect()
    }
}

/// Calls `hear` with the truth of an expression for each of some members: `None` is unknown.
pub(super) fn truths(
    compiled: &Compiled,
    inputs: &Inputs<'_, '_>,
    cancel: &Cancel,
    chunk: u32,
    rows: &[u16],
    mut hear: impl FnMut(u16, Option<bool>),
) -> Result<()> {
    for batch in rows.chunks(BATCH) {
        cancel.check()?;
        if let Ok(lane) = lanes::compute(compiled.root(), inputs, chunk, batch) {
            match &lane {
                Lane::Truth(truths) => batch.iter().zip(truths).for_each(|(row, truth)| hear(*row, *truth)),
                lane => batch.iter().enumerate().for_each(|(i, row)| hear(*row, truth(&lane.value(i)))),
            }
            continue;
        }
        for row in batch {
            let ordinal = chunk << 16 | u32::from(*row);
            hear(*row, truth(&compiled.eval(ordinal, &inputs.values(ordinal)?)?));
        }
    }
    Ok(())
}

fn truth(value: &Value) -> Option<bool> {
    if let Value::Boolean(truth) = value { Some(*truth) } else { None }
}

/// The values of an expression for some members of one chunk, appended to `values`.
pub(crate) fn values(
    compiled: &Compiled,
    inputs: &Inputs<'_, '_>,
    chunk: u32,
    rows: &[u16],
    values: &mut Vec<Value>,
) -> Result<()> {
    for batch in rows.chunks(BATCH) {
        match lanes::compute(compiled.root(), inputs, chunk, batch) {
            Ok(lane) => values.extend((0..batch.len()).map(|i| lane.value(i))),
            Err(_) => {
                for row in batch {
                    let ordinal = chunk << 16 | u32::from(*row);
                    values.push(compiled.eval(ordinal, &inputs.values(ordinal)?)?);
                }
            }
        }
    }
    Ok(())
}
