//! The orders of a block's members: made again from the same streams, in the order of their members.

use super::draw::{Purpose, unit};
use super::members::MICROS;
use super::tags::strings;
use super::{CHANNELS, NOW_SECONDS, Population};
use muster_engine::batch::{Batch, ColumnBatch, ColumnValues, Strings};

impl Population {
    /// The orders of a block as one batch, in the order of [`Population::order_columns`].
    pub(crate) fn orders_of(&self, block: u64) -> Batch {
        let members = self.rows_of(block);
        let registered = self.registered_of(block, members);
        let counts = self.orders_counts_of(block, members);
        let rows = counts.iter().map(|count| *count as usize).sum();
        let mut times = self.stream(block, Purpose::OrderedAt);
        let mut at = Vec::with_capacity(rows);
        for (registered, count) in registered.iter().zip(&counts) {
            let span = (NOW_SECONDS - registered) as f64;
            at.extend((0..*count).map(|_| (*registered as f64 + span * unit(&mut times)) as i64 * MICROS));
        }
        let mut categories = self.stream(block, Purpose::Category);
        let columns = [
            repeat(self.keys_of(block, members), &counts, rows),
            ColumnValues::Code(at),
            ColumnValues::Code(self.amounts_of(block, rows).collect()),
            ColumnValues::Code((0..rows).map(|_| i64::from(self.category.draw(&mut categories))).collect()),
            self.text(block, rows, Purpose::OrderChannel, &self.channel, strings(CHANNELS)),
        ];
        let columns = columns.map(|values| ColumnBatch { values, nulls: None }).into();
        Batch { rows, columns }
    }
}

/// Each member's key once per order.
fn repeat(keys: ColumnValues, counts: &[u32], rows: usize) -> ColumnValues {
    match keys {
        ColumnValues::Code(ids) => {
            let mut repeated = Vec::with_capacity(rows);
            for (id, count) in ids.iter().zip(counts) {
                repeated.extend(std::iter::repeat_n(*id, *count as usize));
            }
            ColumnValues::Code(repeated)
        }
        ColumnValues::Text(ids) => {
            let mut repeated =
                Strings { ends: Vec::with_capacity(rows), bytes: Vec::with_capacity(rows * 36) };
            for (row, count) in counts.iter().enumerate() {
                for _ in 0..*count {
                    repeated.bytes.extend_from_slice(ids.get(row));
                    repeated.ends.push(repeated.bytes.len() as u32);
                }
            }
            ColumnValues::Text(repeated)
        }
        _ => unreachable!("keys are BIGINT or TEXT"),
    }
}
