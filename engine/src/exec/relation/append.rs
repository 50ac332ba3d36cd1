//! Rows of several trees, one tree after the other.

use super::{RowSet, Run};
use crate::predicate::Relation;
use crate::schema::ColumnId;
use crate::{Error, Result};

impl Run<'_> {
    pub(super) fn append(
        &mut self,
        columns: &[ColumnId],
        inputs: &[(Vec<ColumnId>, Relation)],
    ) -> Result<RowSet> {
        let mut made = RowSet::new(columns.to_vec(), self.cancel);
        for (ids, input) in inputs {
            if ids.len() != columns.len() {
                return Err(Error::Invalid(format!(
                    "rows of {} values are appended to rows of {}: this condition is damaged",
                    ids.len(),
                    columns.len()
                )));
            }
            let rows = self.rows(input)?;
            let places: Vec<usize> = ids.iter().map(|id| rows.place(*id)).collect::<Result<_>>()?;
            for at in 0..rows.len() {
                self.look(at)?;
                let row = rows.row(at);
                made.push(places.iter().map(|place| row[*place].clone()))?;
            }
        }
        Ok(made)
    }
}
