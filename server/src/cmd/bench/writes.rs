//! What writing takes: single commits, many committers, batches for minutes beside checkpoints, questions meanwhile.

use super::{Measured, machine, percentile};
use crate::failure::{Failure, Result};
use crate::figures::{bytes, duration, thousands};
use crate::interrupt;
use muster_engine::control::Cancel;
use muster_engine::database::Durability;
use muster_engine::exec::project;
use muster_engine::mutation::{Assignment, Insert, Mutation, OnConflict};
use muster_engine::schema::Column;
use muster_engine::{ColumnId, DataType, Expr, Snapshot, TableId, Value};
use musterdb::Database;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Members that a batch changes.
const BATCH: usize = 1_000;
/// Who writes batches at once.
const COMMITTERS: usize = 8;
/// Who writes single members at once, to see syncs shared.
const CROWD: usize = 64;
/// How long single members are written.
const SINGLE_TIME: Duration = Duration::from_secs(3);
/// The rate is also told of each such time, and its lowest.
const SLICE: Duration = Duration::from_secs(10);
/// How long each question is asked beside writers.
const BESIDE: Duration = Duration::from_secs(5);
/// Values of each column that are written again to others.
const POOL: usize = 20_000;
/// Bytes of a bare write and sync: those of a small commit.
const PROBE_BYTES: usize = 128;

/// What is written: one attribute of members drawn by lot, each batch another one.
struct Stream {
    table: TableId,
    key: ColumnId,
    rows: u64,
    /// Each column with values that members have.
    columns: Vec<(Column, Vec<Value>)>,
}

impl Stream {
    fn of(snapshot: &Snapshot, table: TableId) -> Result<Stream> {
        let schema = snapshot.schema(table)?;
        let key = schema.key.ok_or_else(|| Failure::new("the table has no key to write by"))?;
        let rows = snapshot.rows(table);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut columns = Vec::new();
        for column in schema.columns.iter().filter(|column| column.id != key) {
            let values = project(snapshot, table, &drawn(&mut random, rows, POOL), &[column.id])?;
            columns.push((column.clone(), values.into_iter().flatten().collect()));
        }
        Ok(Stream { table, key, rows, columns })
    }

    /// Some members' new values, and how many bytes they are: key, column and value of each.
    fn batch(
        &self,
        snapshot: &Snapshot,
        random: &mut Xoshiro256PlusPlus,
        members: usize,
    ) -> muster_engine::Result<(Mutation, u64)> {
        let (column, values) = &self.columns[random.random_range(0..self.columns.len())];
        // Twice the same member in one statement is refused.
        let mut ordinals = drawn(random, self.rows, members);
        ordinals.sort_unstable();
        ordinals.dedup();
        let mut rows = project(snapshot, self.table, &ordinals, &[self.key])?;
        let mut logical = 0;
        for row in &mut rows {
            row.push(values[random.random_range(0..values.len())].clone());
            logical +=
                4 + row.iter().zip([DataType::BigInt, column.data_type]).map(logical_bytes).sum::<u64>();
        }
        let assignment = Assignment { column: column.id, value: Expr::Column(column.id.excluded()) };
        let conflict = OnConflict::Update(vec![assignment]);
        let columns = vec![self.key, column.id];
        Ok((Mutation::Insert(Insert { table: self.table, columns, rows, conflict }), logical))
    }
}

fn drawn(random: &mut Xoshiro256PlusPlus, rows: u64, count: usize) -> Vec<u32> {
    (0..count).map(|_| random.random_range(0..rows) as u32).collect()
}

/// Bytes of a value as its type has them; none of NULL.
fn logical_bytes((value, data_type): (&Value, DataType)) -> u64 {
    match (value, data_type) {
        (Value::Null, _) => 0,
        (Value::Text(text), _) => text.len() as u64,
        (Value::Tags(tags), _) => tags.iter().map(|tag| tag.len() as u64).sum(),
        (_, DataType::Boolean) => 1,
        (_, DataType::SmallInt) => 2,
        (_, DataType::Integer | DataType::Date) => 4,
        _ => 8,
    }
}

/// What some committers did.
#[derive(Default)]
struct Written {
    elapsed: Duration,
    members: u64,
    logical: u64,
    /// Of each commit, ascending.
    times: Vec<Duration>,
    /// Members in each [`SLICE`].
    slices: Vec<u64>,
}

impl Written {
    fn rate(&self) -> f64 {
        self.members as f64 / self.elapsed.as_secs_f64()
    }

    fn commits_a_second(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Lets committers write until `done`.
fn write(
    database: &Database,
    stream: &Stream,
    committers: usize,
    members: usize,
    done: &(dyn Fn() -> bool + Sync),
) -> Result<Written> {
    let (count, logical) = (AtomicU64::new(0), AtomicU64::new(0));
    let times = Mutex::new(Vec::new());
    let (failure, stopped) = (Mutex::new(None), AtomicBool::new(false));
    let started = Instant::now();
    let mut slices = Vec::new();
    std::thread::scope(|scope| {
        for committer in 0..committers {
            let (count, logical, times, failure, stopped) = (&count, &logical, &times, &failure, &stopped);
            scope.spawn(move || {
                let mut random = Xoshiro256PlusPlus::seed_from_u64(committer as u64 + 2);
                let mut mine = Vec::new();
                while !stopped.load(Ordering::Relaxed) {
                    let engine = database.engine();
                    let written = stream.batch(&engine.snapshot(), &mut random, members).and_then(|batch| {
                        let begun = Instant::now();
                        let changed = engine.write(&batch.0, 0, Durability::Synced, &Cancel::default())?;
                        Ok((changed.updated, batch.1, begun.elapsed()))
                    });
                    match written {
                        Ok((updated, bytes, time)) => {
                            mine.push(time);
                            count.fetch_add(updated, Ordering::Relaxed);
                            logical.fetch_add(bytes, Ordering::Relaxed);
                        }
                        Err(error) => {
                            *failure.lock().unwrap_or_else(|e| e.into_inner()) = Some(error);
                            stopped.store(true, Ordering::Relaxed);
                        }
                    }
                }
                times.lock().unwrap_or_else(|e| e.into_inner()).append(&mut mine);
            });
        }
        let (mut last, mut sliced) = (0, Instant::now());
        while !done() && !stopped.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
            if sliced.elapsed() >= SLICE {
                let now = count.load(Ordering::Relaxed);
                slices.push(now - last);
                (last, sliced) = (now, Instant::now());
            }
        }
        stopped.store(true, Ordering::Relaxed);
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(|e| e.into_inner()) {
        return Err(error.into());
    }
    let mut times = times.into_inner().unwrap_or_else(|e| e.into_inner());
    times.sort_unstable();
    Ok(Written {
        elapsed: started.elapsed(),
        members: count.into_inner(),
        logical: logical.into_inner(),
        times,
        slices,
    })
}

/// Asks the questions, each for so long or as often as by default.
type Ask<'a> = dyn Fn(&Database, Option<Duration>) -> Result<Vec<Measured>> + Sync + 'a;

/// Writes to the members for so long, tells what it took, and lets the questions be asked beside it.
pub(super) fn run(directory: &Path, seconds: u64, ask: &Ask<'_>, out: &mut dyn Write) -> Result<()> {
    let opened = Instant::now();
    let database = Database::open(directory)?;
    let opened = opened.elapsed();
    let snapshot = database.engine().snapshot();
    let table =
        snapshot.table_named("members").ok_or_else(|| Failure::new("there is no table members here"))?;
    let stream = Stream::of(&snapshot, table.id)?;
    drop(snapshot);
    let probe = bare_sync(directory)?;
    writeln!(
        out,
        "opened in {}; a bare write of {PROBE_BYTES} bytes and fsync: {}",
        duration(opened),
        duration(probe)
    )?;

    let cancel = Cancel::default();
    let writing = |committers, members, time| {
        let started = Instant::now();
        let done = || started.elapsed() >= time || cancel.is_cancelled();
        let written = interrupt::cancels(&cancel, || write(&database, &stream, committers, members, &done))?;
        cancel.check()?;
        Ok::<Written, Failure>(written)
    };
    out.flush()?;
    let single = writing(1, 1, SINGLE_TIME)?;
    let (median, p99) = (percentile(&single.times, 50), percentile(&single.times, 99));
    writeln!(
        out,
        "one committer, one member: {} (p99 {}), {:.2} of the bare fsync",
        duration(median),
        duration(p99),
        median.as_secs_f64() / probe.as_secs_f64()
    )?;
    let crowd = writing(CROWD, 1, SINGLE_TIME)?;
    writeln!(
        out,
        "{CROWD} committers, one member each: {} commits a second, {:.1} a bare fsync",
        thousands(crowd.commits_a_second() as u64),
        crowd.commits_a_second() * probe.as_secs_f64()
    )?;

    out.flush()?;
    let before = machine::written_bytes();
    let checkpoint = database.engine().inspect()?.checkpoint;
    let load = writing(COMMITTERS, BATCH, Duration::from_secs(seconds))?;
    let lowest = load.slices.iter().min().map(|least| *least as f64 / SLICE.as_secs_f64());
    writeln!(
        out,
        "{COMMITTERS} committers, batches of {}: {} members a second for {:.0} s{}; a batch {} (p99 {})",
        thousands(BATCH as u64),
        thousands(load.rate() as u64),
        load.elapsed.as_secs_f64(),
        lowest.map_or(String::new(), |least| format!(
            " (of {} s at least {})",
            SLICE.as_secs(),
            thousands(least as u64)
        )),
        duration(percentile(&load.times, 50)),
        duration(percentile(&load.times, 99)),
    )?;
    out.flush()?;
    // What a last checkpoint would write is part of what the load costs.
    database.engine().checkpoint(&Cancel::default())?;
    let inspection = database.engine().inspect()?;
    if let (Some(before), Some(after)) = (before, machine::written_bytes()) {
        writeln!(
            out,
            "written {} for {} of keys, columns and values: {:.1} times; checkpoints from LSN {} to {}",
            bytes(after - before),
            bytes(load.logical),
            (after - before) as f64 / load.logical as f64,
            checkpoint,
            inspection.checkpoint
        )?;
    }

    out.flush()?;
    let idle = ask(&database, None)?;
    let asked = AtomicBool::new(false);
    let (loaded, beside) = std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let answers = ask(&database, Some(BESIDE));
            asked.store(true, Ordering::Relaxed);
            answers
        });
        let done = || asked.load(Ordering::Relaxed);
        let beside = write(&database, &stream, COMMITTERS, BATCH, &done);
        (asker.join(), beside)
    });
    let loaded = loaded.map_err(|_| Failure::new("the thread that asks has died"))??;
    writeln!(out, "questions beside {} members a second, p99:", thousands(beside?.rate() as u64))?;
    for (idle, loaded) in idle.iter().zip(&loaded) {
        let goal = 2 * idle.p99 + Duration::from_millis(10);
        writeln!(
            out,
            "  {:<20} {:>9} at rest, {:>9} beside writers ({} runs); 2 times and 10 ms: {:>9}{}",
            idle.name,
            duration(idle.p99),
            duration(loaded.p99),
            loaded.runs,
            duration(goal),
            if loaded.p99 > goal { ", missed" } else { "" }
        )?;
    }
    Ok(())
}

/// The median time of a small write to a file here and its fsync.
fn bare_sync(directory: &Path) -> Result<Duration> {
    let path = directory.join("fsync.probe");
    let probe = || -> std::io::Result<Duration> {
        let mut file = std::fs::File::create(&path)?;
        let mut times = Vec::new();
        for _ in 0..1_001 {
            let started = Instant::now();
            file.write_all(&[0; PROBE_BYTES])?;
            file.sync_all()?;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        Ok(percentile(&times, 50))
    };
    let measured = probe();
    let _ = std::fs::remove_file(&path);
    measured.map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}
