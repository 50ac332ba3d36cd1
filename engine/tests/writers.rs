//! Many writers and readers at once: a snapshot has whole statements and whole transactions, and nobody waits for ever.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::control::Cancel;
use muster_engine::database::{Database, Durability, Mode};
use muster_engine::exec::{Aggregate, Count, Groups, Scope, evaluate};
use muster_engine::expr::{Expr, Function};
use muster_engine::mutation::{Assignment, Changed, Delete, Insert, Mutation, OnConflict, Update};
use muster_engine::predicate::Predicate;
use muster_engine::schema::{ColumnSpec, TableSpec};
use muster_engine::{ColumnId, DataType, Error, Snapshot, TableId, Value};
use muster_storage::disk::sim::SimDisk;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ID: ColumnId = ColumnId(1);
/// Whose batch a row is of.
const BATCH: ColumnId = ColumnId(2);
/// Written together, always the same.
const LEFT: ColumnId = ColumnId(3);
const RIGHT: ColumnId = ColumnId(4);

const WRITERS: i64 = 8;
const ROUNDS: i64 = 25;
/// Rows of a batch, inserted, updated and deleted together.
const ROWS: i64 = 40;

fn database() -> (Arc<Database>, TableId, SimDisk) {
    let disk = SimDisk::new(1);
    let database = Database::open_on(Arc::new(disk.clone()), Mode::ReadWrite).unwrap();
    let column =
        |name: &str, nullable| ColumnSpec { name: name.into(), data_type: DataType::BigInt, nullable };
    let columns = [column("id", false), column("batch", false), column("left", true), column("right", true)];
    let table = database.create_table(&TableSpec::new("t", &columns, Some(0))).unwrap();
    (Arc::new(database), table, disk)
}

fn insert(table: TableId, batch: i64) -> Mutation {
    let row = |row: i64| [batch * ROWS + row, batch, 0, 0].map(Value::Integer).to_vec();
    Mutation::Insert(Insert {
        table,
        columns: vec![ID, BATCH, LEFT, RIGHT],
        rows: (0..ROWS).map(row).collect(),
        conflict: OnConflict::Refuse,
    })
}

fn of_batch(batch: i64) -> Predicate {
    Predicate::any_of(BATCH, [Value::Integer(batch)])
}

/// Adds one to both columns of some rows.
fn bump(table: TableId, predicate: Predicate) -> Mutation {
    let one = |column| {
        let arguments = vec![Expr::Column(column), Expr::value(Value::Integer(1))];
        Assignment { column, value: Expr::Call { function: Function::Add, arguments } }
    };
    Mutation::Update(Update { table, predicate, assignments: vec![one(LEFT), one(RIGHT)] })
}

fn count(snapshot: &Snapshot, table: TableId, predicate: &Predicate) -> u64 {
    evaluate(snapshot, table, predicate, &Scope::default(), &Cancel::default(), &Count).unwrap().0
}

/// What holds in every snapshot: batches are whole, and of each all rows are the same.
fn check(snapshot: &Snapshot, table: TableId) {
    let rows = snapshot.rows(table);
    assert_eq!(rows % ROWS as u64, 0, "{rows} rows");
    assert_eq!(count(snapshot, table, &Predicate::everyone()), rows);
    let arguments = vec![Expr::Column(LEFT), Expr::Column(RIGHT)];
    let equal = Expr::Call { function: Function::Same, arguments };
    assert_eq!(count(snapshot, table, &Predicate::Holds(equal)), rows, "left is right");
    let sink =
        Groups { keys: vec![BATCH, LEFT], aggregates: vec![Aggregate::CountAll, Aggregate::Min(RIGHT)] };
    let (scope, cancel) = (Scope::default(), Cancel::default());
    let groups = evaluate(snapshot, table, &Predicate::everyone(), &scope, &cancel, &sink).unwrap().0;
    for group in &groups {
        assert_eq!(group.values, [Value::Integer(ROWS), group.key[1].clone()], "batch {:?}", group.key);
    }
    assert_eq!(groups.len() as u64 * ROWS as u64, rows);
}

#[test]
fn snapshots_have_whole_batches() {
    let (database, table, disk) = database();
    let (done, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Relaxed) {
                        let snapshot = database.snapshot();
                        assert!(snapshot.lsn() >= last, "back from {last} to {}", snapshot.lsn());
                        last = snapshot.lsn();
                        check(&snapshot, table);
                        // The same again: a snapshot does not move.
                        check(&snapshot, table);
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let database = Arc::clone(&database);
                scope.spawn(move || {
                    let cancel = Cancel::default();
                    for round in 0..ROUNDS {
                        let batch = writer * ROUNDS + round;
                        let all = Changed { updated: ROWS as u64, ..Changed::default() };
                        if round % 5 == 4 {
                            let mut transaction = database.begin(&cancel).unwrap();
                            transaction.write(&insert(table, batch), 0, &cancel).unwrap();
                            check(&transaction.snapshot(), table);
                            assert_eq!(
                                transaction.write(&bump(table, of_batch(batch)), 0, &cancel).unwrap(),
                                all
                            );
                            transaction.write(&insert(table, batch), 0, &cancel).unwrap_err();
                            if round % 2 == 0 {
                                transaction.commit(Durability::Synced).unwrap();
                            } else {
                                drop(transaction);
                            }
                            continue;
                        }
                        database.write(&insert(table, batch), 0, Durability::Synced, &cancel).unwrap();
                        assert_eq!(
                            database
                                .write(&bump(table, of_batch(batch)), 0, Durability::Synced, &cancel)
                                .unwrap(),
                            all
                        );
                        database
                            .write(&bump(table, Predicate::everyone()), 0, Durability::Synced, &cancel)
                            .unwrap();
                        if round % 3 == 0 {
                            let delete = Mutation::Delete(Delete { table, predicate: of_batch(batch) });
                            assert_eq!(
                                database.write(&delete, 0, Durability::Synced, &cancel).unwrap().deleted,
                                ROWS as u64
                            );
                        }
                        if round % 8 == 7 {
                            database.checkpoint(&cancel).unwrap();
                        }
                    }
                })
            })
            .collect();
        let written: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Relaxed);
        let read: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        assert!(written.into_iter().chain(read).all(|thread| thread.is_ok()));
    });
    assert!(seen.into_inner() > 0);
    let snapshot = database.snapshot();
    check(&snapshot, table);
    // Of each writer: what it inserted, less what it deleted or took back.
    let kept = |round: &i64| if round % 5 == 4 { round % 2 == 0 } else { round % 3 != 0 };
    let batches = (0..ROUNDS).filter(kept).count() as u64 * WRITERS as u64;
    assert_eq!(snapshot.rows(table), batches * ROWS as u64);
    drop((snapshot, database));
    let reopened = Database::open_on(Arc::new(disk.restart()), Mode::ReadOnly).unwrap();
    check(&reopened.snapshot(), table);
    assert_eq!(reopened.snapshot().rows(table), batches * ROWS as u64);
}

#[test]
fn who_waits_for_the_writer_can_give_up() {
    let (database, table, _) = database();
    let transaction = database.begin(&Cancel::default()).unwrap();
    let cancel = Cancel::default();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| database.write(&insert(table, 1), 0, Durability::Synced, &cancel));
        let beginner = scope.spawn(|| database.begin(&cancel).map(drop));
        let patient =
            scope.spawn(|| database.write(&insert(table, 2), 0, Durability::Synced, &Cancel::default()));
        std::thread::sleep(Duration::from_millis(60));
        assert!(!writer.is_finished() && !beginner.is_finished() && !patient.is_finished());
        cancel.cancel();
        assert!(matches!(writer.join().unwrap(), Err(Error::Cancelled)));
        assert!(matches!(beginner.join().unwrap(), Err(Error::Cancelled)));
        assert!(begun.elapsed() < Duration::from_secs(30), "as long as {:?}", begun.elapsed());
        drop(transaction);
        assert_eq!(patient.join().unwrap().unwrap().inserted, ROWS as u64);
    });
    // What was given up was not done later.
    assert_eq!(database.snapshot().rows(table), ROWS as u64);
    check(&database.snapshot(), table);
}
