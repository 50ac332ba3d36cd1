//! What inspection says of a database whose rows change, and that verification reads changes and the log.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::control::Cancel;
use muster_engine::database::{Database, Durability, Mode};
use muster_engine::inspect::{Inspection, Verification};
use muster_engine::mutation::{Assignment, Delete, Insert, Mutation, OnConflict, Update};
use muster_engine::predicate::{CompareOp, Predicate};
use muster_engine::schema::{ColumnSpec, TableSpec};
use muster_engine::{ColumnId, DataType, Expr, TableId, Value};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const ID: ColumnId = ColumnId(1);
const CITY: ColumnId = ColumnId(2);
const ACTIVE: ColumnId = ColumnId(3);

fn open(directory: &Path) -> Database {
    Database::open(directory, Mode::ReadWrite).unwrap()
}

fn new(directory: &Path, rows: i64) -> (Database, TableId) {
    let database = open(directory);
    let column = |name: &str, data_type, nullable| ColumnSpec { name: name.into(), data_type, nullable };
    let columns = [
        column("id", DataType::BigInt, false),
        column("city", DataType::Text, true),
        column("active", DataType::Boolean, true),
    ];
    let table = database.create_table(&TableSpec::new("t", &columns, Some(0))).unwrap();
    let row = |id| vec![Value::Integer(id), Value::Text(format!("c{}", id % 4)), Value::Boolean(id % 2 == 0)];
    let rows = (0..rows).map(row).collect();
    let insert = Insert { table, columns: vec![ID, CITY, ACTIVE], rows, conflict: OnConflict::Refuse };
    write(&database, Mutation::Insert(insert));
    (database, table)
}

fn write(database: &Database, mutation: Mutation) {
    database.write(&mutation, 0, Durability::Synced, &Cancel::default()).unwrap();
}

fn below(id: i64) -> Predicate {
    Predicate::compare(ID, CompareOp::Lt, Value::Integer(id))
}

fn set(database: &Database, table: TableId, who: i64, column: ColumnId, value: Value) {
    let assignments = vec![Assignment { column, value: Expr::value(value) }];
    write(database, Mutation::Update(Update { table, predicate: below(who), assignments }));
}

fn verify(database: &Database) -> muster_engine::Result<Verification> {
    database.verify(&Cancel::default(), &mut |_, _, _| {})
}

/// Rows, NULL cities, cities of the dictionary, who is active.
fn figures(inspection: &Inspection) -> (u64, u64, Option<u64>, Option<u64>) {
    let table = &inspection.tables[0];
    (table.rows, table.columns[1].nulls, table.columns[1].cardinality, table.columns[2].cardinality)
}

#[test]
fn figures_are_of_the_live_rows_wherever_their_values_are() {
    let directory = tempfile::tempdir().unwrap();
    let (database, table) = new(directory.path(), 40_000);
    let in_memory = database.inspect().unwrap();
    assert_eq!(figures(&in_memory), (40_000, 0, Some(4), Some(20_000)));
    assert!(in_memory.tables[0].changes_bytes > 0 && in_memory.lsn > in_memory.checkpoint);
    assert!(in_memory.log.iter().map(|(_, bytes)| bytes).sum::<u64>() > 0);
    database.checkpoint(&Cancel::default()).unwrap();
    let in_parts = database.inspect().unwrap();
    assert_eq!(figures(&in_parts), figures(&in_memory));
    assert_eq!((in_parts.tables[0].changes_bytes, in_parts.tables[0].columns[1].changed), (0, 0));
    assert_eq!(in_parts.checkpoint, in_parts.lsn);
    // Few enough that they become patches.
    set(&database, table, 10, CITY, Value::Null);
    set(&database, table, 6, CITY, Value::Text("new".into()));
    set(&database, table, 4, ACTIVE, Value::Boolean(true));
    write(&database, Mutation::Delete(Delete { table, predicate: below(2) }));
    let expected = (39_998, 4, Some(5), Some(20_000));
    let changed = database.inspect().unwrap();
    assert_eq!(figures(&changed), expected);
    let rows =
        |inspection: &Inspection| inspection.tables[0].columns.iter().map(|c| c.changed).collect::<Vec<_>>();
    assert_eq!(rows(&changed)[1..], [10, 4]);
    database.checkpoint(&Cancel::default()).unwrap();
    let patched = database.inspect().unwrap();
    assert_eq!((figures(&patched), rows(&patched)), (expected, rows(&changed)));
    assert_eq!((patched.tables[0].patch_parts, patched.tables[0].changes_bytes), (1, 0));
    verify(&database).unwrap();
    // A range that is written anew has no patch, and rows that are gone are no NULLs.
    write(&database, Mutation::Delete(Delete { table, predicate: below(20_000) }));
    database.checkpoint(&Cancel::default()).unwrap();
    let folded = database.inspect().unwrap();
    assert_eq!(figures(&folded), (20_000, 0, Some(5), Some(10_000)));
    drop(database);
    let again = open(directory.path()).inspect().unwrap();
    assert_eq!(figures(&again), figures(&folded));
}

#[test]
fn verification_reads_patches_and_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let (database, table) = new(directory.path(), 40_000);
    database.checkpoint(&Cancel::default()).unwrap();
    set(&database, table, 10, CITY, Value::Null);
    database.checkpoint(&Cancel::default()).unwrap();
    set(&database, table, 20, CITY, Value::Null);
    set(&database, table, 30, ACTIVE, Value::Null);
    let done = verify(&database).unwrap();
    assert_eq!(done.log_records, 2);
    assert!(done.log_segments > 0 && done.log_bytes > 0);
    assert_eq!(verify(&Database::open(directory.path(), Mode::ReadOnly).unwrap()).unwrap(), done);
    assert_eq!(database.inspect().unwrap().tables[0].patch_parts, 1);
    // Parts and the log are both read while the database is open: a byte that changes now is found.
    let (segment, _) = database.inspect().unwrap().log.pop().unwrap();
    let segment = directory.path().join(segment);
    let sound = std::fs::read(&segment).unwrap();
    let mut damaged = sound.clone();
    // Into the payload of the first of the two records: what follows it shows that it was synced.
    damaged[sound.iter().rposition(|byte| *byte != 0).unwrap() / 2] ^= 1;
    std::fs::remove_file(&segment).unwrap();
    std::fs::write(&segment, &damaged).unwrap();
    let error = verify(&database).unwrap_err().to_string();
    assert!(error.contains(segment.file_name().unwrap().to_str().unwrap()), "{error}");
}

/// Checkpoints remove parts and segments while they are read; neither is damage.
#[test]
fn verification_and_inspection_go_on_beside_checkpoints() {
    let directory = tempfile::tempdir().unwrap();
    let (database, table) = new(directory.path(), 2_000);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                set(&database, table, round % 2_000, ACTIVE, Value::Boolean(round % 3 == 0));
                database.checkpoint(&Cancel::default()).unwrap();
            }
        });
        // A panic here must let the writer end.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let reader = Database::open(directory.path(), Mode::ReadOnly).unwrap();
            for _ in 0..100 {
                verify(&database).unwrap();
                verify(&reader).unwrap();
                database.inspect().unwrap();
                reader.inspect().unwrap();
            }
        }));
        stop.store(true, Ordering::Relaxed);
        done.unwrap();
    });
}
