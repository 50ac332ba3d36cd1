//! BACKUP and REFRESH as a user writes them: what they hold, what they refuse, and that nobody is in their way.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use musterdb::{Database, Error, Outcome, QueryErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

fn backup(db: &Database, to: &Path) -> musterdb::Result<String> {
    match db.execute(&format!("BACKUP TO '{}'", to.display()))? {
        Outcome::Done { message } => Ok(message),
        other => panic!("{other:?}"),
    }
}

fn number(db: &Database, sql: &str) -> i64 {
    db.execute(sql).unwrap().single().unwrap()
}

#[test]
fn a_backup_is_the_database_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let to = directory.path().join("deep/copy");
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, city TEXT, tags TEXT[])").unwrap();
    db.execute("INSERT INTO t VALUES (1, 'Kyoto', '{a}'), (2, 'Lima', NULL), (3, NULL, '{b}')").unwrap();
    db.execute("CREATE STATIC AUDIENCE early AS SELECT id FROM t WHERE id < 3").unwrap();
    db.execute("CHECKPOINT").unwrap();
    db.execute("UPDATE t SET city = 'Rome' WHERE id = 2").unwrap();
    db.execute("DELETE FROM t WHERE id = 3").unwrap();
    let all = "SELECT * FROM t ORDER BY id";
    let before = db.execute(all).unwrap();
    let message = backup(&db, &to).unwrap();
    assert!(message.starts_with("BACKUP (") && message.contains(" bytes, LSN "), "{message}");
    db.execute("UPDATE t SET city = 'Oslo'").unwrap();
    db.execute("INSERT INTO t (id) VALUES (9)").unwrap();
    db.execute("CHECKPOINT").unwrap();
    let rows = |outcome: &Outcome| outcome.rows().map(|row| row.values().to_vec()).collect::<Vec<_>>();
    // Both go on by themselves, whatever files they share.
    let copy = Database::open(&to).unwrap();
    assert_eq!(rows(&copy.execute(all).unwrap()), rows(&before));
    assert_eq!(number(&copy, "SELECT count(*) FROM t WHERE in_audience('early')"), 2);
    copy.execute("DELETE FROM t WHERE id = 1").unwrap();
    copy.execute("CHECKPOINT").unwrap();
    drop(copy);
    assert_eq!(number(&db, "SELECT count(*) FROM t WHERE city = 'Oslo'"), 2);
    drop(db);
    let db = Database::open(directory.path().join("db")).unwrap();
    assert_eq!(number(&db, "SELECT count(*) FROM t"), 3);
    assert_eq!(number(&Database::open(&to).unwrap(), "SELECT count(*) FROM t"), 1);
}

#[test]
fn a_backup_is_refused_where_something_is() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let to = directory.path().join("to");
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("mine.txt"), "mine").unwrap();
    for there in [&to, &directory.path().join("db")] {
        let error = backup(&db, there).unwrap_err().to_string();
        assert!(error.contains("is not empty, it holds "), "{error}");
    }
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1);
    std::fs::remove_file(to.join("mine.txt")).unwrap();
    let mut session = db.session();
    session.forbid_files();
    let sql = format!("BACKUP TO '{}'", to.display());
    assert!(session.execute(&sql).unwrap_err().to_string().contains("may not read or write files"));
    let mut session = db.session();
    session.execute("BEGIN").unwrap();
    let error = session.execute(&sql).unwrap_err();
    assert!(matches!(error, Error::Query { kind: QueryErrorKind::Transaction, .. }), "{error}");
    drop(session);
    assert!(db.execute("BACKUP").is_err() && db.execute("BACKUP TO x").is_err());
    backup(&db, &to).unwrap();
    backup(&db, &to).unwrap_err();
    drop(db);
    let db = Database::open_read_only(directory.path().join("db")).unwrap();
    let error = backup(&db, &directory.path().join("other")).unwrap_err();
    assert!(matches!(error, Error::Query { kind: QueryErrorKind::ReadOnly, .. }), "{error}");
    assert!(!directory.path().join("other").exists());
}

/// Two members always have the same number, as a transaction sees to it; checkpoints replace parts meanwhile.
#[test]
fn backups_beside_writers_and_checkpoints_are_of_one_moment() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT)").unwrap();
    db.execute("INSERT INTO t VALUES (1, 0), (2, 0)").unwrap();
    let (stop, committed) = (AtomicBool::new(false), AtomicI64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut session = db.session();
            for n in 1.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                session.execute("BEGIN").unwrap();
                for id in [1, 2] {
                    session.execute(&format!("UPDATE t SET n = {n} WHERE id = {id}")).unwrap();
                }
                session.execute(&format!("INSERT INTO t VALUES ({}, NULL)", n + 2)).unwrap();
                session.execute("COMMIT").unwrap();
                committed.store(n, Ordering::SeqCst);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                db.execute("CHECKPOINT").unwrap();
            }
        });
        for copy in 0..12 {
            let to = directory.path().join(format!("copy{copy}"));
            let at_least = committed.load(Ordering::SeqCst);
            backup(&db, &to).unwrap();
            let at_most = committed.load(Ordering::SeqCst) + 1;
            let copy = Database::open(&to).unwrap();
            let n = number(&copy, "SELECT n FROM t WHERE id = 1");
            assert_eq!(n, number(&copy, "SELECT n FROM t WHERE id = 2"));
            assert_eq!(n, number(&copy, "SELECT count(*) FROM t WHERE n IS NULL"));
            assert!((at_least..=at_most).contains(&n), "{at_least} <= {n} <= {at_most}");
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_reader_sees_what_was_written_when_it_refreshes() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path()).unwrap();
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, city TEXT)").unwrap();
    db.execute("INSERT INTO t VALUES (1, 'Kyoto')").unwrap();
    let reader = Database::open_read_only(directory.path()).unwrap();
    let counts = |db: &Database| {
        number(db, "SELECT count(*) FROM t") * 100 + number(db, "SELECT count(*) FROM t WHERE city = 'Lima'")
    };
    db.execute("INSERT INTO t VALUES (2, 'Lima'), (3, NULL)").unwrap();
    assert_eq!((counts(&db), counts(&reader)), (301, 100));
    reader.execute("REFRESH").unwrap();
    assert_eq!(counts(&reader), 301);
    // Patches, then a part that took their place, then the log again; nothing is applied twice.
    for (id, expected) in [(3, 302), (1, 303)] {
        db.execute(&format!("UPDATE t SET city = 'Lima' WHERE id = {id}")).unwrap();
        db.execute("CHECKPOINT").unwrap();
        reader.execute("REFRESH").unwrap();
        assert_eq!(counts(&reader), expected);
    }
    db.execute("DELETE FROM t WHERE id = 2").unwrap();
    for _ in 0..2 {
        reader.execute("REFRESH").unwrap();
        assert_eq!(counts(&reader), 202);
    }
    // Who writes may say so too.
    db.execute("REFRESH").unwrap();
    assert_eq!(counts(&db), 202);
}

#[test]
fn a_reader_refreshes_and_opens_beside_checkpoints() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path()).unwrap();
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)").unwrap();
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicI64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for id in 1.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                db.execute(&format!("INSERT INTO t VALUES ({id})")).unwrap();
                acknowledged.store(id, Ordering::SeqCst);
                db.execute("CHECKPOINT").unwrap();
            }
        });
        let reader = Database::open_read_only(directory.path()).unwrap();
        for _ in 0..60 {
            let at_least = acknowledged.load(Ordering::SeqCst);
            reader.execute("REFRESH").unwrap();
            assert!(number(&reader, "SELECT count(*) FROM t") >= at_least);
            let at_least = acknowledged.load(Ordering::SeqCst);
            let opened = Database::open_read_only(directory.path()).unwrap();
            assert!(number(&opened, "SELECT count(*) FROM t") >= at_least);
        }
        stop.store(true, Ordering::SeqCst);
    });
}
