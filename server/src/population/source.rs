//! A population as a source of rows: blocks made ahead by threads of its own, delivered in order.
//!
//! The threads are not the global pool's: an importer may wait for rows from within that pool, and rows that wait for
//! the same pool would never come. At most two rounds of blocks are ahead; a full channel makes the makers wait.

use super::Population;
use muster_engine::Error;
use muster_engine::batch::{Batch, Place, RowSource};
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

/// The members or the orders of a population, block by block.
pub(crate) struct PopulationSource {
    ready: Receiver<Batch>,
    /// Rows in all, where they are known without making them.
    rows_total: Option<u64>,
    blocks: u64,
    delivered: u64,
}

impl PopulationSource {
    /// The members, in the order of their keys' numbers.
    pub(crate) fn members(population: Arc<Population>) -> Result<PopulationSource, Error> {
        let total = population.options().members;
        PopulationSource::start(population, Some(total), Population::members_of)
    }

    /// The orders, in the order of their members.
    pub(crate) fn orders(population: Arc<Population>) -> Result<PopulationSource, Error> {
        PopulationSource::start(population, None, Population::orders_of)
    }

    fn start(
        population: Arc<Population>,
        rows_total: Option<u64>,
        make: fn(&Population, u64) -> Batch,
    ) -> Result<PopulationSource, Error> {
        let pool = rayon::ThreadPoolBuilder::new()
            .thread_name(|i| format!("population-{i}"))
            .build()
            .map_err(|e| Error::Invalid(format!("cannot start the generator's threads: {e}")))?;
        let round = pool.current_num_threads() as u64;
        let (sender, ready) = sync_channel(2 * round as usize);
        let blocks = population.blocks();
        std::thread::spawn(move || {
            for first in (0..blocks).step_by(round as usize) {
                let of_round = first..(first + round).min(blocks);
                let batches: Vec<Batch> =
                    pool.install(|| of_round.into_par_iter().map(|block| make(&population, block)).collect());
                for batch in batches {
                    // The reader is gone: nobody wants the rest.
                    if sender.send(batch).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(PopulationSource { ready, rows_total, blocks, delivered: 0 })
    }
}

impl RowSource for PopulationSource {
    fn next(&mut self) -> Result<Option<Batch>, Error> {
        if self.delivered == self.blocks {
            return Ok(None);
        }
        let batch = self
            .ready
            .recv()
            .map_err(|_| Error::Invalid("the population's generator stopped early".into()))?;
        self.delivered += 1;
        Ok(Some(batch))
    }

    fn place(&self, _row: u64) -> Option<Place> {
        None
    }

    fn progress(&self) -> (Option<u64>, f64) {
        (self.rows_total, self.delivered as f64 / self.blocks as f64)
    }
}
