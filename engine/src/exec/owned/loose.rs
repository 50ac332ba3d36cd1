//! Strays that satisfy a condition, by their owners.

use crate::Result;
use crate::exec::chunk::{Answer, Worker};
use crate::exec::codes_at;
use crate::kernel;
use crate::plan::{Node, Pass};
use crate::schema::DataType;
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
        // Tests of codes are done here, for these rows only; the plan is asked for what is left, if anything.
        let by_codes = pass.tests.iter().all(|test| test.reader.data_type() != DataType::Text);
        let rest = if by_codes { &pass.rest } else { &pass.plan.root };
        let tests = if by_codes { pass.tests.as_slice() } else { &[] };
        let mut worker = Worker::new(&pass.plan);
        for strays in pass.strays.owned().chunk_by(|a, b| a.0 >> 16 == b.0 >> 16) {
            pass.plan.cancel.check()?;
            let chunk = strays[0].0 >> 16;
            let mut owners: Vec<u32> = strays.iter().map(|(_, owner)| *owner).collect();
            let mut rows: Vec<u16> = strays.iter().map(|(row, _)| *row as u16).collect();
            for test in tests {
                let codes = codes_at(&test.reader, chunk, &rows)?;
                let within =
                    |code: i64| test.intervals.iter().any(|(low, high)| (*low..=*high).contains(&code));
                let holds = |code: &Option<i64>| code.is_some_and(within);
                retain(&mut rows, &mut owners, codes.iter().map(holds));
            }
            if *rest != Node::Everyone && !rows.is_empty() {
                let mut mask = Box::new([0; BITSET_WORDS]);
                kernel::set_members(&mut mask, &rows, true);
                worker.begin(chunk..chunk + 1);
                let answer = worker.members_under(rest, chunk, Some(&mask))?;
                let mut found = [0; BITSET_WORDS];
                match &answer {
                    Answer::Nobody => {}
                    Answer::Everyone => found.fill(u64::MAX),
                    Answer::Members(members) => kernel::set_members(&mut found, members, true),
                    Answer::Words(words, _) => found.copy_from_slice(&**words),
                }
                worker.recycle(answer);
                let holds: Vec<bool> = rows.iter().map(|row| kernel::has(&found, *row)).collect();
                retain(&mut rows, &mut owners, holds.into_iter());
            }
            if rows.is_empty() {
                continue;
            }
            let first = loose.rows.len() as u32;
            loose.rows.extend(owners.iter().copied().zip(first..));
            for (codes, lane) in loose.codes.iter_mut().zip(&pass.lanes) {
                codes.extend(codes_at(&lane.reader, chunk, &rows)?);
            }
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

/// Keeps those rows, with their owners, that hold.
fn retain(rows: &mut Vec<u16>, owners: &mut Vec<u32>, mut holds: impl Iterator<Item = bool> + Clone) {
    let mut again = holds.clone();
    rows.retain(|_| holds.next().unwrap_or(false));
    owners.retain(|_| again.next().unwrap_or(false));
}
