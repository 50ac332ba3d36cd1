//! Snapshots stay what they are while the database goes on, and end where they alone would keep too much of the disk.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::control::Cancel;
use muster_engine::database::{Database, Durability, Mode, SnapshotLimits};
use muster_engine::exec::{Count, Scope, evaluate, project};
use muster_engine::mutation::{Assignment, Insert, Mutation, OnConflict, Update};
use muster_engine::predicate::{CompareOp, Predicate};
use muster_engine::schema::{ColumnSpec, TableSpec};
use muster_engine::{ColumnId, DataType, Error, Expr, Snapshot, TableId, Value};
use muster_storage::disk::sim::SimDisk;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TABLE: TableId = TableId(1);
const ID: ColumnId = ColumnId(1);
const SCORE: ColumnId = ColumnId(2);
const ROWS: i64 = 1_000;

const NO_LIMITS: SnapshotLimits = SnapshotLimits { age: Duration::MAX, bytes: Some(u64::MAX) };

fn prepared() -> Arc<Database> {
    let disk = Arc::new(SimDisk::new(1));
    let database = Arc::new(Database::open_on(disk, Mode::ReadWrite).unwrap());
    let column =
        |name: &str, nullable| ColumnSpec { name: name.into(), data_type: DataType::BigInt, nullable };
    database
        .create_table(&TableSpec::new("t", &[column("id", false), column("score", true)], Some(0)))
        .unwrap();
    let rows = (0..ROWS).map(|id| vec![Value::Integer(id), Value::Integer(0)]).collect();
    let conflict = OnConflict::Refuse;
    write(&database, &Mutation::Insert(Insert { table: TABLE, columns: vec![ID, SCORE], rows, conflict }));
    database
}

fn write(database: &Database, mutation: &Mutation) {
    database.write(mutation, 0, Durability::Synced, &Cancel::default()).unwrap();
}

/// Gives all rows a score and makes a checkpoint, which writes them anew.
fn rewrite(database: &Database, score: i64) {
    let assignments = vec![Assignment { column: SCORE, value: Expr::value(Value::Integer(score)) }];
    let predicate = Predicate::everyone();
    write(database, &Mutation::Update(Update { table: TABLE, predicate, assignments }));
    let checkpoint = database.checkpoint(&Cancel::default()).unwrap();
    assert!(checkpoint.folded > 0, "{checkpoint:?}");
}

fn count(snapshot: &Snapshot, score: i64) -> muster_engine::Result<u64> {
    let predicate = Predicate::compare(SCORE, CompareOp::Eq, Value::Integer(score));
    let (scope, cancel) = (Scope::default(), Cancel::default());
    Ok(evaluate(snapshot, TABLE, &predicate, &scope, &cancel, &Count)?.0)
}

fn assert_ended(snapshot: &Snapshot) {
    assert!(matches!(count(snapshot, 0), Err(Error::SnapshotEnded { .. })));
    let row = project(snapshot, TABLE, &[0], &[SCORE]);
    let error = row.unwrap_err().to_string();
    assert!(error.contains("has ended") && error.contains("ask again"), "{error}");
}

#[test]
fn a_snapshot_within_its_limits_stays_what_it_is() {
    let database = prepared();
    database.set_snapshot_limits(NO_LIMITS);
    let mut snapshots = Vec::new();
    for score in 1..6 {
        rewrite(&database, score);
        snapshots.push((score, database.snapshot()));
    }
    for (score, snapshot) in snapshots {
        assert_eq!(count(&snapshot, score).unwrap(), ROWS as u64);
        assert_eq!(project(&snapshot, TABLE, &[7], &[SCORE]).unwrap(), [[Value::Integer(score)]]);
    }
}

#[test]
fn the_oldest_snapshots_end_where_they_keep_too_many_bytes() {
    let database = prepared();
    database.set_snapshot_limits(NO_LIMITS);
    rewrite(&database, 1);
    let oldest = database.snapshot();
    rewrite(&database, 2);
    let older = database.snapshot();
    rewrite(&database, 3);
    let bytes = database.inspect().unwrap().bytes;
    // Room for what one of them keeps.
    database.set_snapshot_limits(SnapshotLimits { bytes: Some(bytes * 3 / 2), ..NO_LIMITS });
    assert_ended(&oldest);
    assert_eq!(count(&older, 2).unwrap(), ROWS as u64);
    // Who lets go keeps nothing: the next one has room.
    drop((oldest, older));
    let old = database.snapshot();
    rewrite(&database, 4);
    assert_eq!(count(&old, 3).unwrap(), ROWS as u64);
    rewrite(&database, 5);
    assert_eq!(count(&old, 3).unwrap(), ROWS as u64, "the files of LSNs in between are nobody's");
    database.set_snapshot_limits(SnapshotLimits { bytes: Some(0), ..NO_LIMITS });
    assert_ended(&old);
    assert_eq!(count(&database.snapshot(), 5).unwrap(), ROWS as u64);
}

#[test]
fn a_snapshot_ends_when_it_keeps_something_for_too_long() {
    let database = prepared();
    database.begin_upkeep().unwrap();
    let age = Duration::from_millis(300);
    database.set_snapshot_limits(SnapshotLimits { age, bytes: Some(u64::MAX) });
    rewrite(&database, 1);
    let old = database.snapshot();
    // As long as it is the present it keeps nothing.
    std::thread::sleep(2 * age);
    assert_eq!(count(&old, 1).unwrap(), ROWS as u64);
    rewrite(&database, 2);
    let replaced = Instant::now();
    while old.check().is_ok() && replaced.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(replaced.elapsed() >= age - Duration::from_millis(50), "{:?}", replaced.elapsed());
    assert_ended(&old);
    assert_eq!(count(&database.snapshot(), 2).unwrap(), ROWS as u64);
}
