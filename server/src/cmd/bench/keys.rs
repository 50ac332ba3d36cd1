//! Look-ups of keys: one at a time, and many in one batch.

use super::percentile;
use crate::failure::{Failure, Result};
use muster_engine::exec::project;
use muster_engine::member::Key;
use muster_engine::{Snapshot, TableId};
use musterdb::Database;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::time::{Duration, Instant};

/// Keys of a batch, at most.
const BATCH: u64 = 1_000_000;
/// Keys that are looked up one by one, at most.
const SINGLE: usize = 20_000;
/// Runs of a batch.
const RUNS: usize = 9;

/// What was measured of keys of random members, all of them present.
pub(super) struct Keys {
    pub(super) single: Duration,
    pub(super) single_p99: Duration,
    pub(super) batch: Duration,
    pub(super) batch_keys: usize,
}

/// Looks up keys of random members, each time once before to warm up. `None` of a table without keys or members.
pub(super) fn measure(database: &Database) -> Result<Option<Keys>> {
    let snapshot = database.engine().snapshot();
    let Some(table) = snapshot.table_named("members") else { return Ok(None) };
    let (Some(key), rows @ 1..) = (table.key, snapshot.rows(table.id)) else { return Ok(None) };
    // Seeded, so that every run asks for the same members; drawn, so that no two neighbours are neighbours on disk.
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let ordinals: Vec<u32> = (0..BATCH.min(rows)).map(|_| random.random_range(0..rows) as u32).collect();
    let values = project(&snapshot, table.id, &ordinals, &[key])?;
    let keys: Vec<Key<'_>> = values.iter().flatten().filter_map(Key::of_value).collect();
    let single = keys.len().min(SINGLE);
    let mut times = Vec::with_capacity(single);
    for warm in [false, true] {
        for (key, ordinal) in keys[..single].iter().zip(&ordinals) {
            let elapsed =
                look_up(&snapshot, table.id, std::slice::from_ref(key), std::slice::from_ref(ordinal))?;
            times.extend(warm.then_some(elapsed));
        }
    }
    times.sort_unstable();
    let mut batches = (0..=RUNS)
        .map(|_| look_up(&snapshot, table.id, &keys, &ordinals))
        .collect::<Result<Vec<_>>>()?
        .split_off(1);
    batches.sort_unstable();
    Ok(Some(Keys {
        single: percentile(&times, 50),
        single_p99: percentile(&times, 99),
        batch: percentile(&batches, 50),
        batch_keys: keys.len(),
    }))
}

/// The time of one call, whose answer is checked.
fn look_up(snapshot: &Snapshot, table: TableId, keys: &[Key<'_>], ordinals: &[u32]) -> Result<Duration> {
    let started = Instant::now();
    let found = snapshot.lookup_keys(table, keys)?;
    let elapsed = started.elapsed();
    match found.iter().zip(ordinals).find(|(found, ordinal)| **found != Some(**ordinal)) {
        None => Ok(elapsed),
        Some((found, ordinal)) => {
            Err(Failure::new(format!("the key of member {ordinal} was looked up and gave {found:?}")))
        }
    }
}
