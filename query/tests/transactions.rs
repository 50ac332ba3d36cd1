//! Transactions as an embedding program uses them: who is in one, what ends it, and that nobody waits for one that is
//! forgotten. And changes that are described without SQL.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use musterdb::{
    Assignment, Changed, Database, Delete, Error, Expr, Function, Insert, Mutation, OnConflict, Outcome,
    Predicate, QueryErrorKind, Session, TransactionState, Value,
};
use std::time::{Duration, Instant};

fn database() -> (tempfile::TempDir, Database) {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, a INTEGER, tags TEXT[])").unwrap();
    let inserted = db.execute("INSERT INTO t (id, a) VALUES (1, 10), (2, 20)").unwrap();
    assert_eq!(inserted, Outcome::Done { message: "INSERT 0 2".into() });
    assert_eq!(inserted.rows_changed(), Some(2));
    (directory, db)
}

fn count(session: &mut Session) -> u64 {
    session.execute("SELECT count(*) FROM t").unwrap().single().unwrap()
}

fn is_of_transaction(error: &Error) -> bool {
    matches!(error, Error::Query { kind: QueryErrorKind::Transaction, .. })
}

#[test]
fn a_session_says_where_it_stands() {
    let (_directory, db) = database();
    let mut session = db.session();
    assert_eq!(session.transaction(), TransactionState::None);
    session.execute("BEGIN").unwrap();
    assert_eq!(session.transaction(), TransactionState::Open);
    session.execute("nonsense").unwrap_err();
    assert_eq!(session.transaction(), TransactionState::Failed);
    session.execute("ROLLBACK").unwrap();
    assert_eq!(session.transaction(), TransactionState::None);
}

#[test]
fn a_session_that_is_dropped_is_rolled_back() {
    let (_directory, db) = database();
    let mut session = db.session();
    session.execute("BEGIN").unwrap();
    session.execute("DELETE FROM t").unwrap();
    assert_eq!(count(&mut session), 0);
    drop(session);
    assert_eq!(count(&mut db.session()), 2);
    db.execute("DELETE FROM t WHERE id = 1").unwrap();
    assert_eq!(count(&mut db.session()), 1);
}

/// A session that began a transaction and was forgotten kept the writer for itself.
#[test]
fn a_forgotten_transaction_frees_the_writer() {
    let (_directory, db) = database();
    let mut forgotten = db.session();
    forgotten.execute("SET idle_in_transaction_timeout = '100ms'").unwrap();
    forgotten.execute("BEGIN").unwrap();
    forgotten.execute("DELETE FROM t").unwrap();
    let start = Instant::now();
    db.execute("INSERT INTO t (id) VALUES (3)").unwrap();
    assert!(start.elapsed() < Duration::from_secs(30));
    let error = forgotten.execute("SELECT count(*) FROM t").unwrap_err();
    assert!(is_of_transaction(&error));
    assert_eq!(
        error.to_string(),
        "the current transaction is aborted, because it was not used for 100ms: nothing of it is kept, and ROLLBACK ends \
         it; SET idle_in_transaction_timeout allows more"
    );
    assert!(is_of_transaction(&forgotten.execute("COMMIT").unwrap_err()));
    assert_eq!(count(&mut forgotten), 3);
}

#[test]
fn a_transaction_that_is_used_goes_on() {
    let (_directory, db) = database();
    let mut session = db.session();
    session.execute("BEGIN").unwrap();
    // Of the transaction that is under way too.
    session.execute("SET idle_in_transaction_timeout = '2s'").unwrap();
    for id in 3..9 {
        std::thread::sleep(Duration::from_millis(400));
        session.execute(&format!("INSERT INTO t (id) VALUES ({id})")).unwrap();
    }
    session.execute("COMMIT").unwrap();
    assert_eq!(count(&mut db.session()), 8);
}

#[test]
fn who_waits_for_the_writer_can_be_cancelled() {
    let (_directory, db) = database();
    let mut first = db.session();
    first.execute("BEGIN").unwrap();
    let mut second = db.session();
    let cancel = second.cancel_handle();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| second.execute("BEGIN").unwrap_err().is_cancelled());
        std::thread::sleep(Duration::from_millis(50));
        cancel.cancel();
        assert!(waits.join().unwrap());
    });
    assert_eq!(second.transaction(), TransactionState::None);
    first.execute("COMMIT").unwrap();
    second.execute("BEGIN").unwrap();
}

#[test]
fn changes_without_sql_are_part_of_the_transaction() {
    let (_directory, db) = database();
    let table = db.table("t").unwrap();
    let [id, a, tags] = ["id", "a", "tags"].map(|name| table.column_named(name).unwrap().id);
    let merged = Expr::call(Function::AddTags, [Expr::Column(tags), Expr::Column(tags.excluded())]);
    let row = |key: i64, tag: &str| vec![Value::Integer(key), Value::tags([tag.to_owned()])];
    let insert = Mutation::Insert(Insert {
        table: table.id,
        columns: vec![id, tags],
        rows: vec![row(1, "x"), row(9, "y")],
        conflict: OnConflict::Update(vec![Assignment { column: tags, value: merged }]),
    });
    let mut session = db.session();
    session.execute("BEGIN").unwrap();
    assert_eq!(session.write(&insert).unwrap(), Changed { inserted: 1, updated: 1, deleted: 0 });
    let gone = Mutation::Delete(Delete { table: table.id, predicate: Predicate::IsNull(a).not() });
    assert_eq!(session.write(&gone).unwrap().deleted, 2);
    assert_eq!(count(&mut session), 1);
    session.execute("ROLLBACK").unwrap();
    assert_eq!(count(&mut session), 2);
    assert_eq!(db.write(&gone).unwrap().deleted, 2);
    assert_eq!(count(&mut session), 0);
}

#[test]
fn a_read_only_database_says_so() {
    let (directory, db) = database();
    drop(db);
    let db = Database::open_read_only(directory.path().join("db")).unwrap();
    for sql in ["INSERT INTO t (id) VALUES (3)", "UPDATE t SET a = 1", "DELETE FROM t", "BEGIN", "CHECKPOINT"]
    {
        let error = db.execute(sql).unwrap_err();
        assert!(matches!(error, Error::Query { kind: QueryErrorKind::ReadOnly, .. }), "{sql}: {error}");
    }
}

#[test]
fn a_checkpoint_writes_what_changed() {
    let (directory, db) = database();
    let message = |db: &Database| match db.execute("checkpoint;").unwrap() {
        Outcome::Done { message } => message,
        other => panic!("{other:?}"),
    };
    let first = message(&db);
    assert!(first.starts_with("CHECKPOINT (") && !first.starts_with("CHECKPOINT (0 parts"), "{first}");
    let again = message(&db);
    assert!(again.starts_with("CHECKPOINT (0 parts, 0 bytes, LSN "), "{again}");
    db.execute("CHECKPOINT now").unwrap_err();
    let mut session = db.session();
    session.execute("BEGIN").unwrap();
    assert!(is_of_transaction(&session.execute("CHECKPOINT").unwrap_err()));
    session.execute("ROLLBACK").unwrap();
    drop((session, db));
    let db = Database::open(directory.path().join("db")).unwrap();
    assert_eq!(count(&mut db.session()), 2);
}
