//! Rows in memory.

use muster_engine::batch::{Batch, Place, RowSource, batch_of_values};
use muster_engine::{DataType, Result, Value};

pub struct Rows {
    types: Vec<DataType>,
    row: Box<dyn Fn(i64) -> Vec<Value> + Send>,
    next: i64,
    rows: i64,
}

impl Rows {
    pub fn of(types: Vec<DataType>, rows: i64, row: impl Fn(i64) -> Vec<Value> + Send + 'static) -> Rows {
        Rows { types, row: Box::new(row), next: 0, rows }
    }
}

impl RowSource for Rows {
    fn next(&mut self) -> Result<Option<Batch>> {
        let end = (self.next + 65_536).min(self.rows);
        let rows: Vec<Vec<Value>> = (self.next..end).map(&self.row).collect();
        self.next = end;
        Ok((!rows.is_empty()).then(|| batch_of_values(&self.types, &rows)))
    }

    fn place(&self, _: u64) -> Option<Place> {
        None
    }

    fn progress(&self) -> (Option<u64>, f64) {
        (None, 0.0)
    }
}
