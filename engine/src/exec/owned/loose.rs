//! Strays that satisfy a condition, by their owners.

use crate::Result;
use crate::exec::chunk::Worker;
use crate::plan::Pass;
use muster_storage::format::BITSET_WORDS;

/// Rows that are not found by the runs of their owners, and satisfy a pass.
#[derive(Debug, Default)]
pub(crate) struct Loose {
    /// The owner and the row's place in `codes`, ascending.
    rows: Vec<(u32, u32)>,
    /// The codes of each lane, `None` where NULL.
    pub(super) codes: Vec<Vec<Option<i64>>>,
}

impl Loose {
    /// Asks the strays of a pass.
    pub(crate) fn of(pass: &Pass<'_>) -> Result<Loose> {
        let mut loose = Loose { rows: Vec::new(), codes: vec![Vec::new(); pass.lanes.len()] };
        if pass.strays.owned().is_empty() {
            return Ok(loose);
        }
        let mut worker = Worker::new(&pass.plan);
        for strays in pass.strays.owned().chunk_by(|a, b| a.0 >> 16 == b.0 >> 16) {
            pass.plan.cancel.check()?;
            let chunk = strays[0].0 >> 16;
            let mut mask = Box::new([0; BITSET_WORDS]);
            strays.iter().for_each(|(row, _)| mask[(row & 0xffff) as usize / 64] |= 1 << (row % 64));
            worker.begin(chunk..chunk + 1);
            let answer = worker.members(chunk, Some(&mask))?;
            let found = answer.found(pass.table.chunk_rows(chunk));
            let mut buffer = Vec::new();
            let found = found.rows(&mut buffer);
            for (row, owner) in strays.iter().filter(|(row, _)| found.binary_search(&(*row as u16)).is_ok()) {
                loose.rows.push((*owner, loose.rows.len() as u32));
                for (codes, lane) in loose.codes.iter_mut().zip(&pass.lanes) {
                    codes.push(crate::code::encode(&crate::exec::value_at(&lane.reader, None, *row)?));
                }
            }
            worker.recycle(answer);
        }
        loose.rows.sort_unstable();
        Ok(loose)
    }

    /// True where no row is NULL in a lane.
    pub(crate) fn is_total(&self, lane: usize) -> bool {
        self.codes[lane].iter().all(Option::is_some)
    }

    pub(super) fn of_chunk(&self, owners: u32) -> &[(u32, u32)] {
        let from = self.rows.partition_point(|(owner, _)| owner >> 16 < owners);
        let to = self.rows.partition_point(|(owner, _)| owner >> 16 <= owners);
        &self.rows[from..to]
    }
}
