//! Owners that are imported after the rows that belong to them, on a simulated disk: whatever happens after whichever operation, the
//! owners are there whole or not at all, and the rows are all there under their keys, in the old order or in that of their owners.
//!
//! Each failure prints the operation that replays it.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::batch::{Batch, Place, RowSource, batch_of_values};
use muster_engine::control::Cancel;
use muster_engine::database::{Conflict, Mode};
use muster_engine::exec::project;
use muster_engine::schema::{ColumnId, ColumnSpec, DataType, TableId, TableLinks, TableSpec};
use muster_engine::{Database, Result, Snapshot, Value};
use muster_storage::disk::sim::{Fault, SimDisk};
use std::sync::Arc;

const MEMBERS: TableId = TableId(1);
const ROWS: TableId = TableId(2);
const MEMBER_COUNT: i64 = 40;
const ROW_COUNT: i64 = 300;

fn member(i: i64) -> Vec<Value> {
    vec![Value::Integer(i * 31 % 101)]
}

fn row(i: i64) -> Vec<Value> {
    let whose = if i % 9 == 0 { Value::Null } else { Value::Integer(i * 17 % 101) };
    vec![
        Value::Integer(i * 7 % 401),
        whose,
        Value::Timestamp(i * 13 % 97),
        Value::Text(format!("kind {}", i % 5)),
    ]
}

struct Rows(Option<Batch>);

impl RowSource for Rows {
    fn next(&mut self) -> Result<Option<Batch>> {
        Ok(self.0.take())
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

fn import(database: &Database, table: TableId, types: &[DataType], rows: &[Vec<Value>]) -> Result<()> {
    let ids: Vec<ColumnId> = (1..=types.len() as u32).map(ColumnId).collect();
    let mut source = Rows(Some(batch_of_values(types, rows)));
    database.import(table, &ids, &mut source, Conflict::Refuse, &Cancel::default(), &mut |_| {}).map(drop)
}

fn import_members(database: &Database) -> Result<()> {
    let members: Vec<Vec<Value>> = (0..MEMBER_COUNT).map(member).collect();
    import(database, MEMBERS, &[DataType::BigInt], &members)
}

/// A disk with rows whose owners are yet to come.
fn prepared(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let database = open(&disk).unwrap();
    let column = |name: &str, data_type, nullable| ColumnSpec { name: name.into(), data_type, nullable };
    let id = [column("id", DataType::BigInt, false)];
    assert_eq!(database.create_table(&TableSpec::new("members", &id, Some(0))).unwrap(), MEMBERS);
    let types = [DataType::BigInt, DataType::BigInt, DataType::Timestamp, DataType::Text];
    let columns: Vec<ColumnSpec> = ["n", "whose", "at", "kind"]
        .into_iter()
        .zip(types)
        .map(|(name, data_type)| column(name, data_type, name != "n"))
        .collect();
    let links =
        TableLinks { references: vec![(1, MEMBERS)], owner: Some((1, Some(2))), ..TableLinks::default() };
    let spec = TableSpec { links, ..TableSpec::new("rows", &columns, Some(0)) };
    assert_eq!(database.create_table(&spec).unwrap(), ROWS);
    let rows: Vec<Vec<Value>> = (0..ROW_COUNT).map(row).collect();
    import(&database, ROWS, &types, &rows).unwrap();
    disk
}

/// Every row is found by its key, and is what it was.
fn assert_whole(snapshot: &Snapshot, context: &str) {
    let rows: Vec<Vec<Value>> = (0..ROW_COUNT).map(row).collect();
    let keys: Vec<Value> = rows.iter().map(|row| row[0].clone()).collect();
    let found = snapshot.lookup(ROWS, &keys).unwrap();
    let ordinals: Vec<u32> = found.into_iter().map(|found| found.unwrap()).collect();
    let all: Vec<ColumnId> = (1..=4).map(ColumnId).collect();
    assert_eq!(project(snapshot, ROWS, &ordinals, &all).unwrap(), rows, "{context}");
    assert_eq!(snapshot.rows(ROWS), ROW_COUNT as u64, "{context}");
}

/// Opens what is left. Whether the owners are there, and whether the rows are in their order.
fn examine(disk: &SimDisk, context: &str) -> (bool, bool) {
    let database = open(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let snapshot = database.snapshot();
    assert_whole(&snapshot, context);
    let owner = snapshot.schema(ROWS).unwrap().owner.unwrap();
    let members = snapshot.rows(MEMBERS);
    assert!([0, MEMBER_COUNT as u64].contains(&members), "{context}: {members} members");
    assert!(owner.known == 0 || u64::from(owner.known) == members, "{context}: {} known", owner.known);
    if owner.known > 0 {
        let ordinals: Vec<u32> = (0..ROW_COUNT as u32).collect();
        let whose = project(&snapshot, ROWS, &ordinals, &[ColumnId(2)]).unwrap();
        let places: Vec<Value> = whose.into_iter().map(|mut row| row.swap_remove(0)).collect();
        let known: Vec<u32> = places
            .iter()
            .map(|key| match key {
                Value::Null => u32::MAX,
                key => snapshot.lookup(MEMBERS, std::slice::from_ref(key)).unwrap()[0].unwrap_or(u32::MAX),
            })
            .collect();
        // A run for each year; all are of one.
        assert!(known.is_sorted(), "{context}: rows are not in the order of their owners");
    }
    database
        .verify(&Cancel::default(), &mut |_, _, _| {})
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    (members > 0, owner.known > 0)
}

#[test]
fn a_crash_after_any_operation_leaves_rows_whole() {
    let disk = prepared(1).restart();
    let before = disk.operations();
    let database = open(&disk).unwrap();
    let kept = database.snapshot();
    import_members(&database).unwrap();
    assert_whole(&kept, "a snapshot from before");
    drop((kept, database));
    let operations = disk.operations() - before;
    assert_eq!(examine(&disk, "undisturbed"), (true, true));
    let mut seen = [0; 3];
    for operation in 0..=operations {
        let disk = prepared(operation).restart();
        disk.fail_after(operation, Fault::Crash);
        let ended = open(&disk).and_then(|database| import_members(&database));
        for (left, what) in [(disk.restart(), "process"), (disk.crash(), "machine")] {
            let context = format!("crash of the {what} after operation {operation}");
            let (owners, ordered) = examine(&left, &context);
            assert!(owners || ended.is_err(), "{context}: an acknowledged import is gone");
            seen[usize::from(owners) + usize::from(ordered)] += 1;
        }
    }
    assert!(seen.iter().all(|times| *times > 0), "{seen:?}");
}

#[test]
fn rows_that_were_written_stay_where_they_are() {
    let disk = prepared(7);
    let database = open(&disk).unwrap();
    let rows = vec![vec![Value::Integer(1_000), Value::Integer(1), Value::Null, Value::Null]];
    let columns = (1..=4).map(ColumnId).collect();
    let conflict = muster_engine::mutation::OnConflict::Refuse;
    let insert = muster_engine::mutation::Insert { table: ROWS, columns, rows, conflict };
    let mutation = muster_engine::mutation::Mutation::Insert(insert);
    let durability = muster_engine::database::Durability::Synced;
    database.write(&mutation, 0, durability, &Cancel::default()).unwrap();
    import_members(&database).unwrap();
    let snapshot = database.snapshot();
    assert_eq!(snapshot.schema(ROWS).unwrap().owner.unwrap().known, 0);
    assert_eq!(snapshot.rows(ROWS), ROW_COUNT as u64 + 1);
    assert_eq!(snapshot.lookup(ROWS, &[Value::Integer(1_000)]).unwrap(), [Some(ROW_COUNT as u32)]);
}
