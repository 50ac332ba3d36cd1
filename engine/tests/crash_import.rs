//! An import on a simulated disk: whatever happens after whichever operation, the table is there whole or as it was
//! before, and nothing is left over. Damaged bytes end in an error or do not matter, and never in a wrong answer.
//!
//! Each failure prints the operation, or the file and offset, that replays it.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::batch::{Batch, Place, RowSource, batch_of_values};
use muster_engine::control::Cancel;
use muster_engine::database::{Conflict, Mode};
use muster_engine::exec::{Aggregate, Count, Groups, Members, OrderBy, Scope, Top, evaluate, project};
use muster_engine::predicate::{CompareOp, Predicate};
use muster_engine::schema::{ColumnId, ColumnSpec, DataType, TableId, TableSpec};
use muster_engine::{Database, Error, Result, Snapshot, Value};
use muster_storage::disk::Disk;
use muster_storage::disk::sim::{Fault, SimDisk};
use muster_storage::manifest::{CURRENT, LOCK, manifest_file_name, part_file_name};
use muster_storage::store::{OpenMode, Store};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Rows of the table that is imported while something happens: batches of a thousand.
const ROWS: i64 = 3000;
/// Rows of the table that was there before.
const KEPT_ROWS: i64 = 100;

fn columns() -> Vec<ColumnSpec> {
    let types = [
        ("id", DataType::Text),
        ("city", DataType::Text),
        ("note", DataType::Text),
        ("spend", DataType::Decimal { precision: 12, scale: 2 }),
        ("active", DataType::Boolean),
        ("tags", DataType::TextArray),
        ("score", DataType::Double),
    ];
    types
        .iter()
        .map(|(name, data_type)| ColumnSpec {
            name: (*name).into(),
            data_type: *data_type,
            nullable: *name != "id",
        })
        .collect()
}

fn column(index: u32) -> ColumnId {
    ColumnId(ColumnId::FIRST.0 + index)
}

/// Row `i` of every table here.
fn row(i: i64) -> Vec<Value> {
    let null_or = |null: bool, value: Value| if null { Value::Null } else { value };
    vec![
        Value::Text(format!("key-{:05}", i * 7919 % 100_003)),
        null_or(i % 11 == 0, Value::Text(format!("city {}", i * i % 13))),
        Value::Text(format!("a note of its own, {i}, 备注")),
        null_or(i % 5 == 0, Value::Decimal { unscaled: i128::from(i * 37 % 5000 - 100), scale: 2 }),
        null_or(i % 17 == 0, Value::Boolean(i % 3 == 0)),
        null_or(i % 19 == 0, Value::tags((0..i % 4).map(|k| format!("tag {}", (i + k) % 9)))),
        Value::Double(i as f64 / 8.0),
    ]
}

/// The rows in batches; cancels before a given batch, where it is told to.
struct Rows {
    next: i64,
    rows: i64,
    batch: i64,
    cancel_at: Option<(i64, Cancel)>,
}

impl Rows {
    fn new(rows: i64) -> Rows {
        Rows { next: 0, rows, batch: 1000, cancel_at: None }
    }
}

impl RowSource for Rows {
    fn next(&mut self) -> Result<Option<Batch>> {
        if let Some((_, cancel)) = self.cancel_at.as_ref().filter(|(at, _)| self.next >= *at) {
            cancel.cancel();
        }
        let rows: Vec<Vec<Value>> = (self.next..(self.next + self.batch).min(self.rows)).map(row).collect();
        self.next += rows.len() as i64;
        let types: Vec<DataType> = columns().iter().map(|column| column.data_type).collect();
        Ok((!rows.is_empty()).then(|| batch_of_values(&types, &rows)))
    }

    fn place(&self, _: u64) -> Option<Place> {
        None
    }

    fn progress(&self) -> (Option<u64>, f64) {
        (None, 0.0)
    }
}

fn open(disk: &SimDisk) -> Result<Database> {
    Database::open_on(Arc::new(disk.clone()), Mode::ReadWrite)
}

/// How the table comes to its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// CREATE TABLE was committed before, and the import fills it.
    IntoTable,
    /// One step makes the table and its rows.
    InOneStep,
}

/// A disk with a table "kept", and for [`Way::IntoTable`] an empty "t".
fn prepared(seed: u64, way: Way) -> SimDisk {
    let disk = SimDisk::new(seed);
    let database = open(&disk).unwrap();
    import_in_one_step(&database, "kept", Rows::new(KEPT_ROWS), &Cancel::default()).unwrap();
    if way == Way::IntoTable {
        database.create_table(&TableSpec::new("t", &columns(), Some(0))).unwrap();
    }
    drop(database);
    disk
}

fn import_in_one_step(database: &Database, name: &str, mut rows: Rows, cancel: &Cancel) -> Result<()> {
    database
        .create_and_import(&TableSpec::new(name, &columns(), Some(0)), &mut rows, cancel, &mut |_| {})
        .map(drop)
}

/// The import that something happens to.
fn import(database: &Database, way: Way, mut rows: Rows, cancel: &Cancel) -> Result<()> {
    match way {
        Way::InOneStep => import_in_one_step(database, "t", rows, cancel),
        Way::IntoTable => {
            let table = database.snapshot().table_named("t").unwrap().id;
            let ids: Vec<ColumnId> = (0..columns().len() as u32).map(column).collect();
            database.import(table, &ids, &mut rows, Conflict::Refuse, cancel, &mut |_| {}).map(drop)
        }
    }
}

/// Everything that is asked of a table of `rows` rows; an error, or the answers as text.
fn answers(snapshot: &Snapshot, table: TableId, rows: i64) -> Vec<Result<String>> {
    let text = |value: &str| Value::Text(value.into());
    let spend = Predicate::compare(column(3), CompareOp::Ge, Value::Decimal { unscaled: 2000, scale: 2 });
    let questions = [
        Predicate::everyone(),
        Predicate::IsTrue(column(4)).not(),
        Predicate::any_of(column(1), [text("city 1"), text("city 12")]).and(Predicate::IsTrue(column(4))),
        Predicate::has_tag(column(5), "tag 3").or(spend.clone()),
        spend.not().and(Predicate::IsNull(column(1)).not()),
        Predicate::compare(column(6), CompareOp::Lt, Value::Double(10.5)),
        Predicate::compare(column(2), CompareOp::Eq, text("a note of its own, 42, 备注")),
        Predicate::compare(column(0), CompareOp::Eq, row(3)[0].clone()),
    ];
    let (scope, cancel) = (Scope::default(), Cancel::default());
    let mut answers = Vec::new();
    for question in &questions {
        let count = evaluate(snapshot, table, question, &scope, &cancel, &Count);
        answers.push(count.map(|(count, _)| count.to_string()));
        let members = evaluate(snapshot, table, question, &scope, &cancel, &Members);
        answers.push(members.map(|(members, _)| format!("{:?}", members.iter().collect::<Vec<_>>())));
    }
    for key in [1, 3] {
        let aggregates = vec![Aggregate::CountAll, Aggregate::Sum(column(3)), Aggregate::Max(column(6))];
        let groups = Groups { keys: vec![column(key)], aggregates };
        let groups = evaluate(snapshot, table, &Predicate::everyone(), &scope, &cancel, &groups);
        answers.push(groups.map(|(groups, _)| {
            let mut groups: Vec<String> = groups.iter().map(|group| format!("{group:?}")).collect();
            groups.sort_unstable();
            format!("{groups:?}")
        }));
    }
    let top =
        Top { order: vec![OrderBy { column: column(3), descending: true, nulls_first: true }], limit: 20 };
    let top = evaluate(snapshot, table, &Predicate::everyone(), &scope, &cancel, &top);
    answers.push(top.map(|(top, _)| format!("{top:?}")));
    let ordinals: Vec<u32> = (0..rows as u32).collect();
    for index in 0..columns().len() as u32 {
        answers.push(project(snapshot, table, &ordinals, &[column(index)]).map(|rows| format!("{rows:?}")));
    }
    let keys: Vec<Value> = (0..rows + 10).map(|i| row(i)[0].clone()).collect();
    answers.push(snapshot.lookup(table, &keys).map(|found| format!("{found:?}")));
    answers
}

/// The rows of a table are those of `row`, and its keys find them.
fn assert_whole(snapshot: &Snapshot, table: TableId, rows: i64, context: &str) {
    assert_eq!(snapshot.rows(table), rows as u64, "{context}");
    let ordinals: Vec<u32> = (0..rows as u32).collect();
    let all: Vec<ColumnId> = (0..columns().len() as u32).map(column).collect();
    let projected = project(snapshot, table, &ordinals, &all).unwrap();
    for (i, found) in projected.iter().enumerate() {
        assert_eq!(*found, row(i as i64), "{context}: row {i}");
    }
    let keys: Vec<Value> = projected.into_iter().map(|mut row| row.swap_remove(0)).collect();
    let found = snapshot.lookup(table, &keys).unwrap();
    assert!(found.iter().zip(0..).all(|(found, i)| *found == Some(i)), "{context}: keys");
}

/// Opens what is left: the old table whole, the new one whole or as before, no file too many. Returns whether the rows
/// are there.
fn examine(disk: &SimDisk, way: Way, context: &str) -> bool {
    let database = open(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let snapshot = database.snapshot();
    assert_whole(&snapshot, snapshot.table_named("kept").unwrap().id, KEPT_ROWS, context);
    let table = snapshot.table_named("t").map(|table| table.id);
    assert!(way == Way::InOneStep || table.is_some(), "{context}: the empty table is gone");
    let arrived = match table {
        Some(table) if way == Way::InOneStep || snapshot.rows(table) > 0 => {
            assert_whole(&snapshot, table, ROWS, context);
            true
        }
        _ => false,
    };
    database
        .verify(&Cancel::default(), &mut |_, _, _| {})
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    drop((snapshot, database));
    assert_no_orphans(disk, context);
    arrived
}

fn assert_no_orphans(disk: &SimDisk, context: &str) {
    let store = Store::open(Arc::new(disk.clone()), OpenMode::ReadOnly).unwrap();
    let manifest = store.manifest();
    let mut names = vec![CURRENT.to_owned(), LOCK.to_owned(), manifest_file_name(manifest.lsn)];
    names.extend(manifest.parts.iter().map(|part| part_file_name(part.id)));
    names.sort_unstable();
    assert_eq!(disk.list().unwrap(), names, "{context}: not exactly the files of the database");
}

/// The operations of opening and importing, undisturbed.
fn operations(way: Way) -> u64 {
    let disk = prepared(1, way).restart();
    let before = disk.operations();
    import(&open(&disk).unwrap(), way, Rows::new(ROWS), &Cancel::default()).unwrap();
    let operations = disk.operations() - before;
    assert!(examine(&disk, way, "undisturbed"));
    assert!(operations > 30, "the import shrank to {operations} operations");
    operations
}

#[test]
fn a_crash_after_any_operation_leaves_all_rows_or_none() {
    for way in [Way::IntoTable, Way::InOneStep] {
        let (mut with, mut without) = (0, 0);
        for operation in 0..=operations(way) {
            let disk = prepared(operation, way).restart();
            disk.fail_after(operation, Fault::Crash);
            let ended =
                open(&disk).and_then(|database| import(&database, way, Rows::new(ROWS), &Cancel::default()));
            for (left, what) in [(disk.restart(), "process"), (disk.crash(), "machine")] {
                let context = format!("{way:?}, crash of the {what} after operation {operation}");
                let arrived = examine(&left, way, &context);
                assert!(arrived || ended.is_err(), "{context}: an acknowledged import is gone");
                *(if arrived { &mut with } else { &mut without }) += 1;
            }
        }
        assert!(with > 0 && without > 30, "{way:?}: {with} with rows, {without} without");
    }
}

#[test]
fn a_fault_at_any_operation_leaves_all_rows_or_none() {
    for (way, fault) in [
        (Way::IntoTable, Fault::IoError),
        (Way::InOneStep, Fault::IoError),
        (Way::IntoTable, Fault::NoSpace),
        (Way::InOneStep, Fault::NoSpace),
    ] {
        let mut repeated = 0;
        for operation in 0..=operations(way) {
            let context = format!("{way:?}, {fault:?} at operation {operation}");
            let disk = prepared(operation, way).restart();
            disk.fail_after(operation, fault);
            let Ok(database) = open(&disk) else {
                assert!(!examine(&disk.restart(), way, &context));
                continue;
            };
            let ended = import(&database, way, Rows::new(ROWS), &Cancel::default());
            let acknowledged = match ended {
                Ok(()) => true,
                Err(Error::Storage(_)) => {
                    // What a reader of the same process sees is whole too, and trying again works or is refused.
                    let snapshot = database.snapshot();
                    assert_whole(&snapshot, snapshot.table_named("kept").unwrap().id, KEPT_ROWS, &context);
                    let again = import(&database, way, Rows::new(ROWS), &Cancel::default());
                    repeated += u32::from(again.is_ok());
                    again.is_ok()
                }
                Err(error) => panic!("{context}: {error}"),
            };
            drop(database);
            for left in [disk.restart(), disk.crash()] {
                let arrived = examine(&left, way, &context);
                assert!(arrived || !acknowledged, "{context}: an acknowledged import is gone");
            }
        }
        assert!(repeated > 10, "{way:?}, {fault:?}: repeated {repeated} times");
    }
}

#[test]
fn a_cancelled_import_leaves_the_database_as_it_was() {
    for way in [Way::IntoTable, Way::InOneStep] {
        // Before the first batch, between batches, and once the source has no more.
        for cancel_at in [0, 1000, 2000, ROWS] {
            let disk = prepared(2, way);
            let (files, lsn) = (disk.list().unwrap(), open(&disk).unwrap().snapshot().lsn());
            let database = open(&disk).unwrap();
            let cancel = Cancel::default();
            let mut rows = Rows::new(ROWS);
            rows.cancel_at = Some((cancel_at, cancel.clone()));
            let context = format!("{way:?}, cancelled at row {cancel_at}");
            let ended = import(&database, way, rows, &cancel);
            assert!(matches!(ended, Err(Error::Cancelled)), "{context}: {ended:?}");
            assert_eq!(disk.list().unwrap(), files, "{context}: files");
            assert_eq!(database.snapshot().lsn(), lsn, "{context}");
            cancel.reset();
            import(&database, way, Rows::new(ROWS), &cancel).unwrap();
            drop(database);
            assert!(examine(&disk, way, &context));
        }
    }
}

/// Opens a database one of whose files is damaged and asks everything. A panic or a wrong answer is the test's failure.
fn ask_damaged(disk: &SimDisk, sound: &[String], context: &str) {
    let Ok(database) = open(disk) else { return };
    let snapshot = database.snapshot();
    let Some(table) = snapshot.table_named("kept") else {
        panic!("{context}: the table is gone without an error")
    };
    for (number, (answer, sound)) in answers(&snapshot, table.id, KEPT_ROWS).iter().zip(sound).enumerate() {
        if let Ok(answer) = answer {
            assert_eq!(answer, sound, "{context}: answer {number} is wrong");
        }
    }
    let verified = database.verify(&Cancel::default(), &mut |_, _, _| {});
    assert!(verified.is_err(), "{context}: verify did not notice");
}

#[test]
fn a_changed_byte_anywhere_is_an_error_or_harmless_and_verify_notices() {
    let disk = prepared(3, Way::InOneStep);
    let database = open(&disk).unwrap();
    let snapshot = database.snapshot();
    let table = snapshot.table_named("kept").unwrap().id;
    let sound: Vec<String> = answers(&snapshot, table, KEPT_ROWS).into_iter().map(|a| a.unwrap()).collect();
    drop((snapshot, database));
    let mut damages = 0;
    for name in disk.list().unwrap() {
        let bytes = disk.contents(&name).unwrap();
        // Every 97th byte, and all of the headers.
        let header = bytes.len().min(64);
        for at in (0..header).chain((header..bytes.len()).step_by(97)) {
            for mask in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= mask;
                disk.plant(&name, &damaged);
                let context = format!("{name}, byte {at} of {} ^ {mask:#04x}", bytes.len());
                let asked = catch_unwind(AssertUnwindSafe(|| ask_damaged(&disk, &sound, &context)));
                assert!(asked.is_ok(), "{context}: see the panic above");
                damages += 1;
            }
        }
        // Cut short, which a header's length or a section's end gives away at the latest.
        for at in (0..bytes.len()).step_by(997) {
            disk.plant(&name, &bytes[..at]);
            let context = format!("{name}, cut from {} to {at} bytes", bytes.len());
            let asked = catch_unwind(AssertUnwindSafe(|| ask_damaged(&disk, &sound, &context)));
            assert!(asked.is_ok(), "{context}: see the panic above");
        }
        disk.plant(&name, &bytes);
    }
    assert!(damages > 500, "only {damages} damages");
    assert_eq!(answers(&open(&disk).unwrap().snapshot(), table, KEPT_ROWS).len(), sound.len(), "restored");
}
