//! Groups of rows, and what is made of each.

use super::aggregate::{Aggregate, State};
use super::{RowSet, Run, bytes_of};
use crate::Result;
use crate::control::{allocation, row_bytes};
use crate::expr::Expr;
use crate::predicate::RowAggregate;
use crate::schema::ColumnId;
use crate::value::Value;
use hashbrown::HashMap;

/// What a group takes in a table that may be half empty, beside the bytes of its key.
const GROUP_BYTES: usize = 2 * (size_of::<(Vec<u8>, usize)>() + 1);

impl Run<'_> {
    pub(super) fn group(
        &self,
        rows: &RowSet,
        keys: &[(ColumnId, Expr)],
        aggregates: &[(ColumnId, RowAggregate)],
    ) -> Result<RowSet> {
        let columns = keys.iter().map(|(id, _)| *id).chain(aggregates.iter().map(|(id, _)| *id));
        let columns: Vec<ColumnId> = columns.collect();
        let exprs: Vec<Expr> = keys.iter().map(|(_, key)| key.clone()).collect();
        let keys = self.all_computed(&exprs, rows)?;
        let one = |(_, aggregate): &(ColumnId, RowAggregate)| Aggregate::new(self, aggregate, rows);
        let aggregates: Vec<Aggregate> = aggregates.iter().map(one).collect::<Result<_>>()?;
        let begin = || aggregates.iter().map(Aggregate::begin).collect::<Vec<State>>();

        let mut held = self.cancel.holder("groups of rows");
        let of_group = size_of::<(Vec<Value>, Vec<State>)>()
            + GROUP_BYTES
            + allocation(aggregates.len() * size_of::<State>());
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut groups: Vec<(Vec<Value>, Vec<State>)> = Vec::new();
        if keys.is_empty() {
            groups.push((Vec::new(), begin()));
        }
        let mut bytes = Vec::new();
        for at in 0..rows.len() {
            self.look(at)?;
            let row = rows.row(at);
            let place = if keys.is_empty() {
                0
            } else {
                bytes_of(&keys, row, &mut bytes)?;
                match places.get(&bytes) {
                    Some(place) => *place,
                    None => {
                        let key = keys.iter().map(|key| key.of(row)).collect::<Result<Vec<_>>>()?;
                        held.add(of_group + allocation(bytes.len()) + row_bytes(&key))?;
                        groups.push((key, begin()));
                        places.insert(bytes.clone(), groups.len() - 1);
                        groups.len() - 1
                    }
                }
            };
            for (state, aggregate) in groups[place].1.iter_mut().zip(&aggregates) {
                held.add(aggregate.take(state, row)?)?;
            }
        }
        let mut made = RowSet::new(columns, self.cancel);
        for (at, (mut whole, states)) in groups.into_iter().enumerate() {
            self.look(at)?;
            for (state, aggregate) in states.into_iter().zip(&aggregates) {
                whole.push(aggregate.value(state)?);
            }
            made.push(whole)?;
        }
        Ok(made)
    }
}
