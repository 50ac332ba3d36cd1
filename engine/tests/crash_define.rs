//! DDL on a simulated disk: whatever happens after whichever operation, a change is there whole or not at all, what is
//! there can be asked, and no file is left over.
//!
//! Each failure prints the change and the operation that replay it.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "define/rows.rs"]
mod rows;

use muster_engine::catalog::{Definition, Role, UserRecord};
use muster_engine::control::Cancel;
use muster_engine::database::{AudienceSpec, Dependents, Mode, UserChange, ViewSpec};
use muster_engine::exec::{Members, Scope, evaluate, project};
use muster_engine::predicate::Predicate;
use muster_engine::schema::{ColumnId, ColumnSpec, DataType, TableId, TableSpec};
use muster_engine::{Database, Result, Value};
use muster_storage::disk::Disk;
use muster_storage::disk::sim::{Fault, SimDisk};
use muster_storage::manifest::{CURRENT, LOCK, manifest_file_name, part_file_name};
use muster_storage::store::{OpenMode, Store};
use roaring::RoaringBitmap;
use rows::Rows;
use std::fmt::Write;
use std::sync::Arc;

const TABLE: TableId = TableId(1);
const ROWS: i64 = 500;

fn open(disk: &SimDisk) -> Result<Database> {
    Database::open_on(Arc::new(disk.clone()), Mode::ReadWrite)
}

fn spec(name: &str) -> AudienceSpec {
    AudienceSpec { name: name.into(), table: TABLE, source: "S".into(), created_micros: 1 }
}

fn put_static(database: &Database, name: &str, every: u32, replace: bool) -> Result<()> {
    let members: RoaringBitmap = (0..ROWS as u32).step_by(every as usize).collect();
    database.create_static_audience(spec(name), &members, replace, &Cancel::default()).map(drop)
}

fn put_view(database: &Database, name: &str, column: u32, replace: bool) -> Result<()> {
    let spec = ViewSpec {
        name: name.into(),
        table: TABLE,
        columns: vec![(ColumnId(column), "place".into())],
        definition: Definition::new(Predicate::IsNull(ColumnId(column)).not(), [])?,
        source: "S".into(),
    };
    database.create_view(spec, replace).map(drop)
}

fn user(name: &str, role: Role) -> UserRecord {
    UserRecord { name: name.into(), role, password_hash: "$of a password".replace(' ', "-") }
}

fn relation(database: &Database, name: &str) -> muster_engine::catalog::Relation {
    database.snapshot().named(name).unwrap()
}

/// A table with views and audiences of both kinds; one depends on another, one on a view. A user.
fn prepared(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let database = open(&disk).unwrap();
    let column = |name: &str, data_type, nullable| ColumnSpec { name: name.into(), data_type, nullable };
    let columns = [
        column("id", DataType::BigInt, false),
        column("city", DataType::Text, true),
        column("active", DataType::Boolean, true),
    ];
    let types = columns.iter().map(|column| column.data_type).collect();
    let mut source = Rows::of(types, ROWS, |row| {
        let city = if row % 7 == 0 { Value::Null } else { Value::Text(format!("city {}", row % 5)) };
        vec![Value::Integer(row * row), city, Value::Boolean(row % 3 == 0)]
    });
    let cancel = Cancel::default();
    database
        .create_and_import(&TableSpec::new("m", &columns, Some(0)), &mut source, &cancel, &mut |_| {})
        .unwrap();
    put_static(&database, "frozen", 9, false).unwrap();
    let predicate = Predicate::IsTrue(ColumnId(3))
        .and(Predicate::Audience(database.snapshot().audience_named("frozen").unwrap().id));
    database.create_audience(spec("both"), Definition::new(predicate, []).unwrap(), false).unwrap();
    put_view(&database, "places", 2, false).unwrap();
    put_view(&database, "unused", 2, false).unwrap();
    let places = database.snapshot().view_named("places").unwrap();
    database.create_user(user("ada", Role::Admin)).unwrap();
    let predicate = places.definition.predicate().clone().and(Predicate::IsTrue(ColumnId(3)));
    let placed = Definition::new(predicate, [places.id]).unwrap();
    database.create_audience(spec("placed"), placed, false).unwrap();
    drop(database);
    disk
}

type Change = fn(&Database) -> Result<()>;

const CHANGES: [(&str, Change); 14] = [
    ("add a column", |database| {
        let column = ColumnSpec { name: "tier".into(), data_type: DataType::Text, nullable: true };
        database.add_column(TABLE, &column, false).map(drop)
    }),
    ("drop a column, a view with it", |database| {
        database.drop_column(TABLE, ColumnId(2), Dependents::Drop).map(drop)
    }),
    ("rename a column", |database| database.rename_column(TABLE, ColumnId(2), "town")),
    ("rename the table", |database| database.rename(relation(database, "m"), "people")),
    ("create a static audience", |database| put_static(database, "more", 2, false)),
    ("replace a static audience", |database| put_static(database, "frozen", 4, true)),
    ("drop a static audience, one that needs it with it", |database| {
        database.drop_relations(&[relation(database, "frozen")], Dependents::Drop).map(drop)
    }),
    ("create a view", |database| put_view(database, "more", 2, false)),
    ("replace a view", |database| put_view(database, "unused", 3, true)),
    ("drop a view, an audience over it with it", |database| {
        database.drop_relations(&[relation(database, "places")], Dependents::Drop).map(drop)
    }),
    ("create a user", |database| database.create_user(user("bo", Role::Read))),
    ("change a user", |database| {
        let change = UserChange { role: Some(Role::Write), password_hash: Some("$another".into()) };
        database.alter_user("ada", change)
    }),
    ("drop a user", |database| database.drop_users(&["ada".to_owned()])),
    ("drop the table and all on it", |database| {
        database.drop_relations(&[relation(database, "m")], Dependents::Drop).map(drop)
    }),
];

/// Everything there is and what it answers, as text.
fn describe(database: &Database) -> String {
    let snapshot = database.snapshot();
    let mut text = String::new();
    for table in snapshot.tables() {
        let ids: Vec<ColumnId> = table.columns.iter().map(|column| column.id).collect();
        let ordinals: Vec<u32> = (0..ROWS as u32).collect();
        let rows = project(&snapshot, table.id, &ordinals, &ids).unwrap();
        writeln!(text, "{table:?} {rows:?}").unwrap();
    }
    for view in snapshot.views() {
        writeln!(text, "{view:?}").unwrap();
    }
    for user in snapshot.users() {
        writeln!(text, "{user:?} {}", user.password_hash).unwrap();
    }
    for audience in snapshot.audiences() {
        let (scope, cancel, predicate) =
            (Scope::default(), Cancel::default(), Predicate::Audience(audience.id));
        let members = evaluate(&snapshot, audience.table, &predicate, &scope, &cancel, &Members).unwrap().0;
        writeln!(text, "{audience:?} {:?}", members.iter().collect::<Vec<_>>()).unwrap();
    }
    text
}

/// Opens what is left and looks at all of it.
fn examine(disk: &SimDisk, context: &str) -> String {
    let database = open(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let described = describe(&database);
    // What is built on a view still is.
    if let Some(places) = database.snapshot().named("places") {
        let error = database.drop_relations(&[places], Dependents::Refuse).unwrap_err().to_string();
        assert!(error.contains("audience \"placed\" depends on it"), "{context}: {error}");
    }
    let verified = database.verify(&Cancel::default(), &mut |_, _, _| {});
    verified.unwrap_or_else(|error| panic!("{context}: {error}"));
    drop(database);
    let store = Store::open(Arc::new(disk.clone()), OpenMode::ReadOnly).unwrap();
    let manifest = store.manifest();
    let mut names = vec![CURRENT.to_owned(), LOCK.to_owned(), manifest_file_name(manifest.lsn)];
    names.extend(manifest.parts.iter().map(|part| part_file_name(part.id)));
    names.sort_unstable();
    assert_eq!(disk.list().unwrap(), names, "{context}: not exactly the files of the database");
    described
}

/// What is there before and after a change, and the operations of opening and making it.
fn undisturbed(change: Change) -> (String, String, u64) {
    let disk = prepared(1).restart();
    let before = examine(&disk, "before");
    let started = disk.operations();
    let database = open(&disk).unwrap();
    change(&database).unwrap();
    let operations = disk.operations() - started;
    drop(database);
    let after = examine(&disk, "after");
    assert_ne!(before, after);
    (before, after, operations)
}

#[test]
fn a_crash_after_any_operation_leaves_a_change_whole_or_undone() {
    for (name, change) in CHANGES {
        let (before, after, operations) = undisturbed(change);
        let (mut done, mut undone) = (0, 0);
        for operation in 0..=operations {
            let disk = prepared(operation).restart();
            disk.fail_after(operation, Fault::Crash);
            let ended = open(&disk).and_then(|database| change(&database));
            for (left, what) in [(disk.restart(), "process"), (disk.crash(), "machine")] {
                let context = format!("{name}: crash of the {what} after operation {operation}");
                let found = examine(&left, &context);
                assert!(found == before || found == after, "{context}: half a change\n{found}");
                assert!(found == after || ended.is_err(), "{context}: an acknowledged change is gone");
                *(if found == after { &mut done } else { &mut undone }) += 1;
            }
        }
        assert!(done > 0 && undone > 10, "{name}: {done} with the change, {undone} without");
    }
}

#[test]
fn a_fault_at_any_operation_leaves_a_change_whole_or_undone() {
    for fault in [Fault::IoError, Fault::NoSpace] {
        for (name, change) in CHANGES {
            let (before, after, operations) = undisturbed(change);
            for operation in 0..=operations {
                let context = format!("{name}: {fault:?} at operation {operation}");
                let disk = prepared(operation).restart();
                disk.fail_after(operation, fault);
                let Ok(database) = open(&disk) else {
                    assert_eq!(examine(&disk.restart(), &context), before, "{context}");
                    continue;
                };
                let ended = change(&database);
                // What a reader of the same process sees is what was acknowledged.
                let seen = describe(&database);
                assert_eq!(seen, if ended.is_ok() { after.clone() } else { before.clone() }, "{context}");
                drop(database);
                for left in [disk.restart(), disk.crash()] {
                    let found = examine(&left, &context);
                    assert!(found == before || found == after, "{context}: half a change");
                    assert!(found == after || ended.is_err(), "{context}: an acknowledged change is gone");
                }
            }
        }
    }
}
