//! When a checkpoint comes, what it writes anew, and that what is written meanwhile is there after it, in memory and on disk.
//!
//! The last was found by `writers.rs` on a busy machine: a table without changes when a checkpoint began lost what was written to it before
//! that checkpoint ended, and with it the log that had it.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::control::Cancel;
use muster_engine::database::{Database, Durability, Mode};
use muster_engine::mutation::{Assignment, Delete, Insert, Mutation, OnConflict, Update};
use muster_engine::predicate::{CompareOp, Predicate};
use muster_engine::schema::{ColumnSpec, TableSpec};
use muster_engine::{ColumnId, DataType, Expr, TableId, Value};
use muster_storage::Result;
use muster_storage::disk::sim::SimDisk;
use muster_storage::disk::{Bytes, DirectoryLock, Disk, WriteFile};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type Hook = Box<dyn FnOnce() + Send>;

/// A disk on which something happens when the next part is begun.
#[derive(Clone)]
struct Hooked {
    disk: SimDisk,
    at_next_part: Arc<Mutex<Option<Hook>>>,
}

impl Disk for Hooked {
    fn create(&self, name: &str) -> Result<Box<dyn WriteFile>> {
        let hook = name.starts_with("part-").then(|| self.at_next_part.lock().unwrap().take()).flatten();
        if let Some(hook) = hook {
            hook();
        }
        self.disk.create(name)
    }

    fn map(&self, name: &str) -> Result<Bytes> {
        self.disk.map(name)
    }

    fn read(&self, name: &str) -> Result<Bytes> {
        self.disk.read(name)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.disk.remove(name)
    }

    fn list(&self) -> Result<Vec<String>> {
        self.disk.list()
    }

    fn sync_directory(&self) -> Result<()> {
        self.disk.sync_directory()
    }

    fn lock(&self) -> Result<Box<dyn DirectoryLock>> {
        self.disk.lock()
    }

    fn describe(&self) -> String {
        self.disk.describe()
    }
}

fn insert(database: &Database, table: TableId, id: i64) {
    let rows = vec![vec![Value::Integer(id)]];
    let mutation =
        Mutation::Insert(Insert { table, columns: vec![ColumnId(1)], rows, conflict: OnConflict::Refuse });
    database.write(&mutation, 0, Durability::Synced, &Cancel::default()).unwrap();
}

fn write(database: &Database, mutation: &Mutation) {
    database.write(mutation, 0, Durability::Synced, &Cancel::default()).unwrap();
}

fn number(name: &str, data_type: DataType, nullable: bool) -> ColumnSpec {
    ColumnSpec { name: name.into(), data_type, nullable }
}

/// A row that is written again and again takes no more memory, but the log grows.
#[test]
fn a_checkpoint_comes_when_the_log_has_grown() {
    let database = Arc::new(Database::open_on(Arc::new(SimDisk::new(1)), Mode::ReadWrite).unwrap());
    let columns = [number("id", DataType::BigInt, false), number("note", DataType::Text, true)];
    let table = database.create_table(&TableSpec::new("t", &columns, Some(0))).unwrap();
    insert(&database, table, 1);
    database.begin_upkeep().unwrap();
    let before = database.inspect().unwrap().checkpoint;
    let begun = Instant::now();
    let text = "x".repeat(900_000);
    for n in 0..u64::MAX {
        if n % 10 == 0 && database.inspect().unwrap().checkpoint > before {
            assert!(n >= 100, "after {n} texts");
            return;
        }
        assert!(n < 400 || begun.elapsed() < Duration::from_secs(60), "none came after {n} texts");
        let value = Expr::value(Value::Text(format!("{text}{}", n % 3)));
        let assignments = vec![Assignment { column: ColumnId(2), value }];
        write(&database, &Mutation::Update(Update { table, predicate: Predicate::everyone(), assignments }));
    }
}

#[test]
fn a_range_is_written_anew_when_a_quarter_of_its_rows_are_gone() {
    let database = Database::open_on(Arc::new(SimDisk::new(1)), Mode::ReadWrite).unwrap();
    let mut columns = vec![number("id", DataType::BigInt, false)];
    columns.extend((0..10).map(|n| number(&format!("c{n}"), DataType::BigInt, true)));
    let table = database.create_table(&TableSpec::new("t", &columns, Some(0))).unwrap();
    let rows =
        (0..1_000).map(|id| (0..11).map(|n| Value::Integer(id * 7919 % (n + 900))).collect::<Vec<_>>());
    let rows = rows.enumerate().map(|(id, mut row)| {
        row[0] = Value::Integer(id as i64);
        row
    });
    let (columns, conflict) = ((1..12).map(ColumnId).collect(), OnConflict::Refuse);
    write(&database, &Mutation::Insert(Insert { table, columns, rows: rows.collect(), conflict }));
    let cancel = Cancel::default();
    // What is in no base gets one.
    assert_eq!(database.checkpoint(&cancel).unwrap().folded, 1);
    for (below, folded) in [(100, 0), (200, 0), (300, 1), (350, 0)] {
        let predicate = Predicate::compare(ColumnId(1), CompareOp::Lt, Value::Integer(below));
        write(&database, &Mutation::Delete(Delete { table, predicate }));
        assert_eq!(database.checkpoint(&cancel).unwrap().folded, folded, "below {below}");
        assert_eq!(database.snapshot().rows(table), 1_000 - below as u64);
    }
}

#[test]
fn what_is_written_during_a_checkpoint_is_kept() {
    let disk = Hooked { disk: SimDisk::new(1), at_next_part: Arc::default() };
    let database = Arc::new(Database::open_on(Arc::new(disk.clone()), Mode::ReadWrite).unwrap());
    let id = ColumnSpec { name: "id".into(), data_type: DataType::BigInt, nullable: false };
    let [busy, quiet] = ["busy", "quiet"].map(|name| {
        database.create_table(&TableSpec::new(name, std::slice::from_ref(&id), Some(0))).unwrap()
    });
    let cancel = Cancel::default();
    for table in [busy, quiet] {
        insert(&database, table, 1);
    }
    database.checkpoint(&cancel).unwrap();
    // Only one of them has changes when the next one begins; both are written before it ends.
    insert(&database, busy, 2);
    let writer = Arc::clone(&database);
    *disk.at_next_part.lock().unwrap() = Some(Box::new(move || {
        insert(&writer, busy, 3);
        insert(&writer, quiet, 2);
    }));
    database.checkpoint(&cancel).unwrap();
    assert!(disk.at_next_part.lock().unwrap().is_none(), "a part was written");
    let rows = |database: &Database| [busy, quiet].map(|table| database.snapshot().rows(table));
    let found = |database: &Database| {
        let keys = [1, 2, 3].map(Value::Integer);
        [busy, quiet].map(|table| database.snapshot().lookup(table, &keys).unwrap().iter().flatten().count())
    };
    assert_eq!((rows(&database), found(&database)), ([3, 2], [3, 2]));
    database.checkpoint(&cancel).unwrap();
    assert_eq!((rows(&database), found(&database)), ([3, 2], [3, 2]));
    drop(database);
    let database = Database::open_on(Arc::new(disk.disk.crash()), Mode::ReadOnly).unwrap();
    assert_eq!((rows(&database), found(&database)), ([3, 2], [3, 2]));
}
