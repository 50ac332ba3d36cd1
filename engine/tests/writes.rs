//! Rows that change: what the library's mutations do, seen by snapshots.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::control::Cancel;
use muster_engine::database::{Database, Durability, Mode};
use muster_engine::exec::{Count, Scope, evaluate, project};
use muster_engine::expr::Function;
use muster_engine::mutation::{Assignment, Changed, Delete, Insert, Mutation, OnConflict, Update};
use muster_engine::predicate::{CompareOp, Literal, Predicate};
use muster_engine::schema::{ColumnSpec, TableSpec};
use muster_engine::{ColumnId, DataType, Expr, Result, TableId, Value};
use muster_storage::disk::sim::SimDisk;
use std::sync::Arc;

const ID: ColumnId = ColumnId(1);
const NAME: ColumnId = ColumnId(2);
const AGE: ColumnId = ColumnId(3);
const TAGS: ColumnId = ColumnId(4);

fn database() -> (Arc<Database>, TableId) {
    database_on(&SimDisk::new(1))
}

fn database_on(disk: &SimDisk) -> (Arc<Database>, TableId) {
    let database = Database::open_on(Arc::new(disk.clone()), Mode::ReadWrite).unwrap();
    let column = |name: &str, data_type, nullable| ColumnSpec { name: name.into(), data_type, nullable };
    let columns = [
        column("id", DataType::BigInt, false),
        column("name", DataType::Text, true),
        column("age", DataType::Integer, true),
        column("tags", DataType::TextArray, true),
    ];
    let table = database.create_table(&TableSpec::new("members", &columns, Some(0))).unwrap();
    (Arc::new(database), table)
}

fn write(database: &Database, mutation: Mutation) -> Result<Changed> {
    database.write(&mutation, 0, Durability::Synced, &Cancel::default())
}

fn insert(table: TableId, ids: std::ops::Range<i64>, conflict: OnConflict) -> Mutation {
    let row = |id: i64| {
        vec![
            Value::Integer(id),
            Value::Text(format!("n{}", id % 10)),
            Value::Integer(id % 100),
            Value::tags([format!("t{}", id % 3)]),
        ]
    };
    Mutation::Insert(Insert {
        table,
        columns: vec![ID, NAME, AGE, TAGS],
        rows: ids.map(row).collect(),
        conflict,
    })
}

fn equals(column: ColumnId, value: Value) -> Predicate {
    Predicate::Compare { column, op: CompareOp::Eq, literal: Literal::Value(value) }
}

fn count(database: &Database, table: TableId, predicate: &Predicate) -> u64 {
    evaluate(&database.snapshot(), table, predicate, &Scope::default(), &Cancel::default(), &Count).unwrap().0
}

#[test]
fn inserted_updated_and_deleted_rows_are_counted() {
    let (database, table) = database();
    let changed = write(&database, insert(table, 0..1000, OnConflict::Refuse)).unwrap();
    assert_eq!(changed, Changed { inserted: 1000, ..Changed::default() });
    assert_eq!(count(&database, table, &Predicate::everyone()), 1000);
    assert_eq!(count(&database, table, &equals(NAME, Value::Text("n3".into()))), 100);
    assert_eq!(count(&database, table, &Predicate::HasAny { column: TAGS, tags: vec!["t1".into()] }), 333);
    let before = database.snapshot();
    let assignment = Assignment { column: AGE, value: Expr::value(Value::Integer(-7)) };
    let predicate = equals(NAME, Value::Text("n3".into()));
    let changed =
        write(&database, Mutation::Update(Update { table, predicate, assignments: vec![assignment] }));
    assert_eq!(changed.unwrap().updated, 100);
    assert_eq!(count(&database, table, &equals(AGE, Value::Integer(-7))), 100);
    let predicate = equals(AGE, Value::Integer(-7));
    assert_eq!(write(&database, Mutation::Delete(Delete { table, predicate })).unwrap().deleted, 100);
    assert_eq!(count(&database, table, &Predicate::everyone()), 900);
    assert_eq!(count(&database, table, &equals(NAME, Value::Text("n3".into()))), 0);
    assert_eq!(
        database.snapshot().lookup(table, &[Value::Integer(3), Value::Integer(4)]).unwrap(),
        [None, Some(4)]
    );
    // A key that is free again is another row's.
    assert_eq!(write(&database, insert(table, 0..10, OnConflict::Nothing)).unwrap().inserted, 1);
    let ordinal = database.snapshot().lookup(table, &[Value::Integer(3)]).unwrap()[0].unwrap();
    assert_eq!(ordinal, 1000);
    let rows = project(&database.snapshot(), table, &[ordinal], &[NAME, AGE]).unwrap();
    assert_eq!(rows, [[Value::Text("n3".into()), Value::Integer(3)]]);
    // Who looks at a snapshot sees what was.
    let everyone = Predicate::everyone();
    let (then, _) =
        evaluate(&before, table, &everyone, &Scope::default(), &Cancel::default(), &Count).unwrap();
    assert_eq!(then, 1000);
}

#[test]
fn a_refused_statement_changes_nothing() {
    let (database, table) = database();
    write(&database, insert(table, 0..10, OnConflict::Refuse)).unwrap();
    let error = write(&database, insert(table, 5..20, OnConflict::Refuse)).unwrap_err().to_string();
    assert!(error.contains("key 5 is there already"), "{error}");
    assert_eq!(count(&database, table, &Predicate::everyone()), 10);
    let update = vec![Assignment { column: AGE, value: Expr::value(Value::Text("old".into())) }];
    let predicate = Predicate::everyone();
    let error =
        write(&database, Mutation::Update(Update { table, predicate, assignments: update })).unwrap_err();
    assert!(error.to_string().contains("column \"age\""), "{error}");
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    let (database, table) = database();
    let mut transaction = database.begin(&Cancel::default()).unwrap();
    transaction.write(&insert(table, 0..10, OnConflict::Refuse), 0, &Cancel::default()).unwrap();
    assert_eq!(transaction.snapshot().rows(table), 10);
    assert_eq!(database.snapshot().rows(table), 0);
    transaction.rollback();
    assert_eq!(database.snapshot().rows(table), 0);
    let mut transaction = database.begin(&Cancel::default()).unwrap();
    transaction.write(&insert(table, 0..10, OnConflict::Refuse), 0, &Cancel::default()).unwrap();
    transaction.commit(Durability::Synced).unwrap();
    assert_eq!(database.snapshot().rows(table), 10);
}

/// What an expression holds for is asked of the values between the least and the greatest: those that only a patch part
/// has were left out.
#[test]
fn codes_beyond_the_base_are_found_in_patch_parts() {
    let (database, table) = database();
    write(&database, insert(table, 0..20_000, OnConflict::Refuse)).unwrap();
    database.checkpoint(&Cancel::default()).unwrap();
    let literals = (0..10).map(|id| Literal::Value(Value::Integer(id * 100))).collect();
    let assignments = vec![Assignment { column: AGE, value: Expr::value(Value::Integer(5000)) }];
    let predicate = Predicate::In { column: ID, literals };
    write(&database, Mutation::Update(Update { table, predicate, assignments })).unwrap();
    let doubled = Expr::Call {
        function: Function::Multiply,
        arguments: vec![Expr::Column(AGE), Expr::value(Value::Integer(2))],
    };
    let arguments = vec![doubled, Expr::value(Value::Integer(9000))];
    let beyond = Predicate::Holds(Expr::Call { function: Function::Compare(CompareOp::Gt), arguments });
    assert_eq!(count(&database, table, &beyond), 10);
    let done = database.checkpoint(&Cancel::default()).unwrap();
    assert_eq!((done.folded, done.parts), (0, 1));
    assert_eq!(count(&database, table, &beyond), 10);
}

#[test]
fn a_checkpoint_changes_no_answer_and_survives_reopening() {
    let disk = SimDisk::new(1);
    let (database, table) = database_on(&disk);
    let update = |ids: std::ops::Range<i64>, age: i64| {
        let literals = ids.map(|id| Literal::Value(Value::Integer(id))).collect();
        let assignments = vec![Assignment { column: AGE, value: Expr::value(Value::Integer(age)) }];
        Mutation::Update(Update { table, predicate: Predicate::In { column: ID, literals }, assignments })
    };
    let ask = |database: &Database| {
        let questions = [
            Predicate::everyone(),
            equals(NAME, Value::Text("n3".into())),
            equals(AGE, Value::Integer(-1)),
            equals(AGE, Value::Integer(-2)),
            equals(AGE, Value::Integer(50)),
            Predicate::IsNull(AGE),
            Predicate::HasAny { column: TAGS, tags: vec!["t1".into()] },
            Predicate::HasAny { column: TAGS, tags: vec!["new".into()] },
        ];
        questions.map(|question| (count(database, table, &question), count(database, table, &question.not())))
    };
    let mut folded = 0;
    for round in 0..6_i64 {
        let first = round * 20_000;
        write(&database, insert(table, first..first + 20_000, OnConflict::Refuse)).unwrap();
        for step in 0..3 {
            write(&database, update(first / 2 + 100 * step..first / 2 + 100 * step + 150, -1 - step % 2))
                .unwrap();
            let tags = vec![Assignment { column: TAGS, value: Expr::value(Value::tags(["new".to_owned()])) }];
            let predicate = equals(AGE, Value::Integer(10 + 3 * round + step));
            write(&database, Mutation::Update(Update { table, predicate, assignments: tags })).unwrap();
            let predicate = equals(AGE, Value::Integer(70 + round));
            write(&database, Mutation::Delete(Delete { table, predicate })).unwrap();
            if step == 1 {
                let before = ask(&database);
                folded += database.checkpoint(&Cancel::default()).unwrap().folded;
                assert_eq!(ask(&database), before);
            }
        }
        let before = ask(&database);
        database.checkpoint(&Cancel::default()).unwrap();
        assert_eq!(ask(&database), before);
        let reopened = Database::open_on(Arc::new(disk.restart()), Mode::ReadOnly).unwrap();
        assert_eq!(ask(&reopened), before, "round {round}");
        let keys = [5, 90_000, 119_999].map(Value::Integer);
        assert_eq!(
            reopened.snapshot().lookup(table, &keys).unwrap(),
            database.snapshot().lookup(table, &keys).unwrap()
        );
    }
    assert!(folded > 0);
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash() {
    let disk = SimDisk::new(7);
    let (database, table) = database_on(&disk);
    write(&database, insert(table, 0..100, OnConflict::Refuse)).unwrap();
    database.checkpoint(&Cancel::default()).unwrap();
    write(&database, insert(table, 100..200, OnConflict::Refuse)).unwrap();
    let predicate = equals(NAME, Value::Text("n3".into()));
    write(&database, Mutation::Delete(Delete { table, predicate })).unwrap();
    let mut transaction = database.begin(&Cancel::default()).unwrap();
    transaction.write(&insert(table, 200..300, OnConflict::Refuse), 0, &Cancel::default()).unwrap();
    transaction.write(&insert(table, 300..400, OnConflict::Refuse), 0, &Cancel::default()).unwrap();
    transaction.commit(Durability::Synced).unwrap();
    let mut transaction = database.begin(&Cancel::default()).unwrap();
    transaction.write(&insert(table, 400..500, OnConflict::Refuse), 0, &Cancel::default()).unwrap();
    let reopened = Database::open_on(Arc::new(disk.crash()), Mode::ReadWrite).unwrap();
    drop(transaction);
    let everyone = Predicate::everyone();
    assert_eq!(count(&reopened, table, &everyone), 380);
    assert_eq!(count(&reopened, table, &everyone), count(&database, table, &everyone));
    assert_eq!(reopened.snapshot().lsn(), database.snapshot().lsn());
    let keys: Vec<Value> = (0..500).map(Value::Integer).collect();
    assert_eq!(
        reopened.snapshot().lookup(table, &keys).unwrap(),
        database.snapshot().lookup(table, &keys).unwrap()
    );
    // What follows takes the LSNs after, and is there the next time.
    write(&reopened, insert(table, 400..410, OnConflict::Refuse)).unwrap();
    let column = ColumnSpec { name: "more".into(), data_type: DataType::Text, nullable: true };
    let more = reopened.add_column(table, &column, false).unwrap();
    assert_eq!(count(&reopened, table, &Predicate::IsNull(more)), 390);
}

#[test]
fn who_opens_beside_a_writer_sees_what_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
    let columns = [ColumnSpec { name: "id".into(), data_type: DataType::BigInt, nullable: false }];
    let table = database.create_table(&TableSpec::new("t", &columns, Some(0))).unwrap();
    for id in 0..5 {
        let rows = vec![vec![Value::Integer(id)]];
        let conflict = OnConflict::Refuse;
        write(&database, Mutation::Insert(Insert { table, columns: vec![ID], rows, conflict })).unwrap();
        let reader = Database::open(directory.path(), Mode::ReadOnly).unwrap();
        assert_eq!(reader.snapshot().rows(table), id as u64 + 1);
    }
}

/// A disk in memory has no links, so that all is copied; and a backup that is cancelled leaves nothing.
#[test]
fn a_backup_on_another_disk_holds_what_was_written() {
    let (database, table) = database();
    write(&database, insert(table, 0..1_000, OnConflict::Refuse)).unwrap();
    let target = SimDisk::new(2);
    let cancelled = Cancel::default();
    cancelled.cancel();
    assert!(database.backup_on(Arc::new(target.clone()), &cancelled).is_err());
    assert_eq!(muster_storage::disk::Disk::list(&target).unwrap(), Vec::<String>::new());
    let done = database.backup_on(Arc::new(target.clone()), &Cancel::default()).unwrap();
    assert!(done.parts > 0 && done.bytes > 0 && done.lsn == database.snapshot().lsn());
    write(&database, insert(table, 1_000..1_100, OnConflict::Refuse)).unwrap();
    database.checkpoint(&Cancel::default()).unwrap();
    let copy = Database::open_on(Arc::new(target), Mode::ReadWrite).unwrap();
    assert_eq!((copy.snapshot().rows(table), database.snapshot().rows(table)), (1_000, 1_100));
    assert_eq!(copy.id(), database.id());
    copy.verify(&Cancel::default(), &mut |_, _, _| {}).unwrap();
}
