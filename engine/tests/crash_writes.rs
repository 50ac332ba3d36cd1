//! Writes, transactions and checkpoints on a simulated disk: whatever happens after whichever operation, what was acknowledged
//! is there, what was in flight is there whole or not at all, and it is the same again after the next power cut. And whatever
//! byte of whatever file is changed: an error that names a file, or the right answer.
//!
//! Each failure prints the fault and the operation that replay it.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::control::Cancel;
use muster_engine::database::{Database, Durability, Mode};
use muster_engine::exec::{Count, Members, Scope, evaluate, project};
use muster_engine::mutation::{Assignment, Delete, Insert, Mutation, OnConflict, Update};
use muster_engine::predicate::{CompareOp, Predicate};
use muster_engine::schema::{ColumnSpec, TableSpec};
use muster_engine::{ColumnId, DataType, Expr, Result, TableId, Value};
use muster_storage::disk::Disk;
use muster_storage::disk::sim::{Fault, SimDisk};
use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TABLE: TableId = TableId(1);
const ID: ColumnId = ColumnId(1);
const CITY: ColumnId = ColumnId(2);
const TAGS: ColumnId = ColumnId(3);

fn open(disk: &SimDisk) -> Result<Arc<Database>> {
    let database = Arc::new(Database::open_on(Arc::new(disk.clone()), Mode::ReadWrite)?);
    database.begin_upkeep().unwrap();
    Ok(database)
}

fn prepared(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let column = |name: &str, data_type, nullable| ColumnSpec { name: name.into(), data_type, nullable };
    let columns = [
        column("id", DataType::BigInt, false),
        column("city", DataType::Text, true),
        column("tags", DataType::TextArray, true),
    ];
    let database = open(&disk).unwrap();
    assert_eq!(database.create_table(&TableSpec::new("t", &columns, Some(0))).unwrap(), TABLE);
    disk
}

fn insert(ids: Range<i64>, city: &str, conflict: OnConflict) -> Mutation {
    let row = |id| vec![Value::Integer(id), Value::Text(city.into()), Value::tags([format!("t{}", id % 3)])];
    let rows = ids.map(row).collect();
    Mutation::Insert(Insert { table: TABLE, columns: vec![ID, CITY, TAGS], rows, conflict })
}

fn upsert(ids: Range<i64>, city: &str) -> Mutation {
    let assignment = |column: ColumnId| Assignment { column, value: Expr::Column(column.excluded()) };
    insert(ids, city, OnConflict::Update(vec![assignment(CITY), assignment(TAGS)]))
}

fn below(id: i64) -> Predicate {
    Predicate::compare(ID, CompareOp::Lt, Value::Integer(id))
}

fn update(id: i64, city: Option<&str>) -> Mutation {
    let value = city.map_or(Value::Null, |city| Value::Text(city.into()));
    let assignments = vec![Assignment { column: CITY, value: Expr::value(value) }];
    Mutation::Update(Update { table: TABLE, predicate: below(id), assignments })
}

fn delete(id: i64) -> Mutation {
    Mutation::Delete(Delete { table: TABLE, predicate: below(id) })
}

/// What becomes durable together.
enum Step {
    Write(Mutation),
    /// Acknowledged before it is durable.
    Relaxed(Mutation),
    Transaction(Vec<Mutation>),
    Checkpoint,
}

/// Each kind of change over memory, over patches and over a base, and with a checkpoint behind it.
fn steps() -> Vec<Step> {
    use Step::{Checkpoint, Transaction, Write};
    vec![
        Write(insert(0..200, "Kyoto", OnConflict::Refuse)),
        Checkpoint,
        Write(update(8, Some("Lima"))),
        Transaction(vec![upsert(195..205, "Oslo"), update(4, None), delete(2)]),
        Checkpoint,
        Write(upsert(0..3, "Rome")),
        Write(delete(1)),
        Checkpoint,
        Transaction(vec![update(100, Some("Quito")), insert(300..330, "Lima", OnConflict::Nothing)]),
        Checkpoint,
        Write(update(20, Some("Kyoto"))),
    ]
}

/// Changes that are acknowledged before they are durable, and what makes them durable.
fn relaxed_steps() -> Vec<Step> {
    use Step::{Checkpoint, Relaxed, Transaction, Write};
    vec![
        Relaxed(insert(0..200, "Kyoto", OnConflict::Refuse)),
        Relaxed(update(8, Some("Lima"))),
        Write(upsert(195..205, "Oslo")),
        Relaxed(delete(2)),
        Checkpoint,
        Relaxed(upsert(0..3, "Rome")),
        Relaxed(update(4, None)),
        Transaction(vec![update(100, Some("Quito")), delete(1)]),
        Relaxed(update(20, Some("Kyoto"))),
        Relaxed(delete(5)),
    ]
}

fn take(database: &Arc<Database>, step: &Step) -> Result<()> {
    let cancel = Cancel::default();
    match step {
        Step::Write(mutation) => database.write(mutation, 0, Durability::Synced, &cancel).map(drop),
        Step::Relaxed(mutation) => database.write(mutation, 0, Durability::Relaxed, &cancel).map(drop),
        Step::Transaction(mutations) => {
            let mut transaction = database.begin(&cancel)?;
            for mutation in mutations {
                transaction.write(mutation, 0, &cancel)?;
            }
            transaction.commit(Durability::Synced)
        }
        Step::Checkpoint => database.checkpoint(&cancel).map(drop),
    }
}

/// The rows, and what the indexes say of them, as text.
fn describe(database: &Database) -> String {
    let (snapshot, scope, cancel) = (database.snapshot(), Scope::default(), Cancel::default());
    let everyone = Predicate::everyone();
    let members = evaluate(&snapshot, TABLE, &everyone, &scope, &cancel, &Members).unwrap().0;
    let ordinals: Vec<u32> = members.iter().collect();
    let mut rows: Vec<String> = project(&snapshot, TABLE, &ordinals, &[ID, CITY, TAGS])
        .unwrap()
        .iter()
        .map(|row| format!("{row:?}"))
        .collect();
    rows.sort_unstable();
    let mut text = rows.join("\n");
    let cities = ["Kyoto", "Lima", "Oslo", "Rome", "Quito"];
    let cities = cities.map(|city| Predicate::compare(CITY, CompareOp::Eq, Value::Text(city.into())));
    let tagged = Predicate::HasAny { column: TAGS, tags: vec!["t1".into()] };
    for predicate in cities.into_iter().chain([Predicate::IsNull(CITY), tagged, below(50)]) {
        let count = evaluate(&snapshot, TABLE, &predicate, &scope, &cancel, &Count).unwrap().0;
        write!(text, " {count}").unwrap();
    }
    text
}

/// What is seen after each number of steps, and the disk operations of all of them and of opening.
fn undisturbed(steps: &[Step]) -> (Vec<String>, u64) {
    let disk = prepared(1).restart();
    let started = disk.operations();
    let database = open(&disk).unwrap();
    let mut seen = vec![describe(&database)];
    for step in steps {
        take(&database, step).unwrap();
        seen.push(describe(&database));
    }
    (seen, disk.operations() - started)
}

/// Opens what is left, which must be what some number of steps leave, of these; and again after a power cut.
fn examine(left: &SimDisk, allowed: &[String], context: &str) {
    let database = open(left).unwrap_or_else(|error| panic!("{context}: {error}"));
    let found = describe(&database);
    assert!(allowed.contains(&found), "{context}: found\n{found}\nexpected one of {allowed:#?}");
    let verified = database.verify(&Cancel::default(), &mut |_, _, _| {});
    verified.unwrap_or_else(|error| panic!("{context}: {error}"));
    drop(database);
    let again = open(&left.crash()).unwrap_or_else(|error| panic!("{context}, then a power cut: {error}"));
    assert_eq!(describe(&again), found, "{context}, then a power cut");
    // It goes on from there.
    take(&again, &Step::Write(upsert(900..903, "Oslo"))).unwrap();
    take(&again, &Step::Checkpoint).unwrap();
}

fn meet(fault: Fault, steps: &[Step]) {
    let (seen, operations) = undisturbed(steps);
    assert!(operations > 30, "{operations}");
    for operation in 0..=operations {
        let context = format!("{fault:?} at operation {operation} of {operations}");
        let disk = prepared(operation).restart();
        disk.fail_after(operation, fault);
        let mut acknowledged = 0;
        if let Ok(database) = open(&disk) {
            let mut steps = steps.iter();
            acknowledged = steps.by_ref().take_while(|step| take(&database, step).is_ok()).count();
            // Who reads in this process sees what was acknowledged, and a writer is told or goes on.
            assert_eq!(describe(&database), seen[acknowledged], "{context}");
        }
        // The step after the acknowledged ones may have happened; relaxed ones after the last of the others may be gone.
        let is_synced = |step: &Step| !matches!(step, Step::Relaxed(_));
        let durable = steps[..acknowledged].iter().rposition(is_synced).map_or(0, |last| last + 1);
        let allowed = &seen[durable..seen.len().min(acknowledged + 2)];
        examine(&disk.restart(), allowed, &context);
        examine(&disk.crash(), allowed, &context);
    }
}

#[test]
fn a_crash_after_any_operation_loses_nothing_acknowledged() {
    meet(Fault::Crash, &steps());
    meet(Fault::Crash, &relaxed_steps());
}

#[test]
fn a_failing_operation_loses_nothing_acknowledged() {
    meet(Fault::IoError, &steps());
    meet(Fault::IoError, &relaxed_steps());
}

#[test]
fn a_full_disk_loses_nothing_acknowledged() {
    meet(Fault::NoSpace, &steps());
    meet(Fault::NoSpace, &relaxed_steps());
}

/// Backs a written database up to a disk that fails at each operation: there is a whole copy, or nothing that opens.
fn back_up_to_a_disk_that_fails(fault: Fault) {
    let disk = prepared(1);
    let database = open(&disk).unwrap();
    for step in steps() {
        take(&database, &step).unwrap();
    }
    let (seen, cancel) = (describe(&database), Cancel::default());
    let healthy = SimDisk::new(1);
    database.backup_on(Arc::new(healthy.clone()), &cancel).unwrap();
    let operations = healthy.operations();
    assert!(operations > 10, "{operations}");
    for operation in 0..=operations {
        let context = format!("{fault:?} at operation {operation} of {operations} of a backup");
        let target = SimDisk::new(operation);
        target.fail_after(operation, fault);
        let made = database.backup_on(Arc::new(target.clone()), &cancel);
        for left in [target.restart(), target.crash()] {
            match Database::open_on(Arc::new(left), Mode::ReadOnly).map(|copy| describe(&copy)) {
                Ok(found) => assert_eq!(found, seen, "{context}"),
                Err(error) => assert!(made.is_err(), "{context}: {error}"),
            }
        }
        assert_eq!(describe(&database), seen, "{context}");
    }
}

#[test]
fn a_backup_is_whole_or_is_none() {
    [Fault::Crash, Fault::IoError, Fault::NoSpace].into_iter().for_each(back_up_to_a_disk_that_fails);
}

#[test]
fn a_relaxed_write_is_soon_durable() {
    let disk = prepared(1).restart();
    let database = open(&disk).unwrap();
    // The first makes a segment of the log.
    take(&database, &Step::Write(insert(0..2, "Lima", OnConflict::Refuse))).unwrap();
    let begun = Instant::now();
    let mut seen = vec![describe(&database)];
    for city in ["Kyoto", "Oslo", "Rome"] {
        take(&database, &Step::Relaxed(update(2, Some(city)))).unwrap();
        seen.push(describe(&database));
    }
    let found = describe(&open(&disk.crash()).unwrap());
    assert!(seen.contains(&found), "found {found}");
    let after = describe(&database);
    while describe(&open(&disk.crash()).unwrap()) != after {
        assert!(begun.elapsed() < Duration::from_secs(20), "it was never synced");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A database with every kind of file, and what is seen in it: at the end, and before the last record of the log.
fn written() -> (SimDisk, [String; 2]) {
    let disk = prepared(1);
    let database = open(&disk).unwrap();
    let mut before = String::new();
    for step in steps() {
        before = describe(&database);
        take(&database, &step).unwrap();
    }
    let after = describe(&database);
    drop(database);
    (disk, [after, before])
}

/// Opens a damaged database. Only the end of the log may be taken for what a crash tore.
fn examine_damage(disk: &SimDisk, name: &str, seen: &[String; 2], context: &str) -> bool {
    let opened = Database::open_on(Arc::new(disk.clone()), Mode::ReadOnly);
    let verified = opened.and_then(|database| {
        database.verify(&Cancel::default(), &mut |_, _, _| {})?;
        Ok(describe(&database))
    });
    match verified {
        Ok(found) => {
            let allowed = if name.starts_with("wal-") { &seen[..] } else { &seen[..1] };
            assert!(allowed.contains(&found), "{context}: a wrong answer\n{found}");
            false
        }
        Err(error) => {
            let said = error.to_string();
            let names_file = disk
                .list()
                .unwrap()
                .iter()
                .chain([&name.to_owned()])
                .any(|file| said.contains(file.as_str()));
            assert!(names_file, "{context}: {said}");
            true
        }
    }
}

/// A copy of a disk, but for one file.
fn with_file(disk: &SimDisk, name: &str, bytes: Option<&[u8]>) -> SimDisk {
    let copy = SimDisk::new(1);
    for file in disk.list().unwrap() {
        match (file == name, bytes) {
            (true, Some(bytes)) => copy.plant(&file, bytes),
            (true, None) => {}
            (false, _) => copy.plant(&file, &disk.contents(&file).unwrap()),
        }
    }
    copy
}

#[test]
fn a_changed_file_is_an_error_that_names_it_or_harmless() {
    let (disk, seen) = written();
    let (foreign, _) = written();
    let files: Vec<String> = disk.list().unwrap().into_iter().filter(|name| name != "LOCK").collect();
    assert!(files.len() >= 5 && files.iter().any(|name| name.starts_with("wal-")), "{files:?}");
    for name in &files {
        let bytes = disk.contents(name).unwrap();
        let (mut flips, mut noticed) = (0, 0);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let left = with_file(&disk, name, Some(&flipped));
            flips += 1;
            noticed += usize::from(examine_damage(&left, name, &seen, &format!("{name}, byte {at} flipped")));
        }
        if !name.starts_with("wal-") {
            assert_eq!(noticed, flips, "{name}: changes that nobody noticed");
        }
        for length in (0..bytes.len()).step_by(bytes.len().div_ceil(50)) {
            let left = with_file(&disk, name, Some(&bytes[..length]));
            examine_damage(&left, name, &seen, &format!("{name} cut to {length}"));
        }
        if !name.starts_with("wal-") {
            let gone = with_file(&disk, name, None);
            let context = format!("{name} missing");
            assert!(examine_damage(&gone, name, &seen, &context), "{context}");
        }
        if let Some(of_another) = foreign.contents(name).filter(|others| *others != bytes) {
            let context = format!("{name} of another database");
            let left = with_file(&disk, name, Some(&of_another));
            assert!(examine_damage(&left, name, &seen, &context), "{context}");
        }
        for other in files.iter().filter(|other| *other != name) {
            let left = with_file(&disk, name, Some(&disk.contents(other).unwrap()));
            let context = format!("{name} holds {other}");
            // A last segment shorter than its header is what a crash leaves of a new one.
            let noticed = examine_damage(&left, name, &seen, &context);
            assert!(noticed || name.starts_with("wal-"), "{context}");
        }
    }
}
