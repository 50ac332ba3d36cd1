//! Users by the library: whether a password is somebody's, what each role may do, and that no password is anywhere but in the
//! statement that sets it.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use musterdb::{Database, Error, Param, QueryErrorKind, Role, Session, Value};
use std::path::Path;

/// A database with a user of each role, whose passwords are `password of NAME`.
fn database() -> (tempfile::TempDir, Database) {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, n INTEGER)").unwrap();
    for (name, role) in [("reader", "read"), ("writer", "write"), ("boss", "admin")] {
        db.execute(&format!("CREATE USER {name} PASSWORD 'password of {name}' ROLE {role}")).unwrap();
    }
    (directory, db)
}

fn authenticate(db: &Database, user: &str, password: &str) -> Option<Role> {
    db.authenticate(user, password.as_bytes()).unwrap()
}

fn as_role(db: &Database, role: Role) -> Session {
    let mut session = db.session();
    session.set_role(role);
    session
}

#[test]
fn a_password_is_its_users_alone() {
    let (_directory, db) = database();
    assert_eq!(authenticate(&db, "reader", "password of reader"), Some(Role::Read));
    assert_eq!(authenticate(&db, "writer", "password of writer"), Some(Role::Write));
    assert_eq!(authenticate(&db, "boss", "password of boss"), Some(Role::Admin));
    for (user, password) in [
        ("reader", "password of boss"),
        ("reader", ""),
        ("reader", "Password of reader"),
        ("reader", "password of reader "),
        ("Reader", "password of reader"),
        ("nobody", "password of reader"),
        ("", ""),
    ] {
        assert_eq!(authenticate(&db, user, password), None, "{user} {password}");
    }
    assert_eq!(db.authenticate("boss", &[0xff; 2000]).unwrap(), None);
    assert_eq!((db.role_of("boss"), db.role_of("nobody")), (Some(Role::Admin), None));
}

#[test]
fn changes_hold_at_once_and_after_reopening() {
    let (directory, db) = database();
    db.execute("ALTER USER reader PASSWORD 'another one'").unwrap();
    db.execute("ALTER USER writer ROLE admin").unwrap();
    db.execute("DROP USER boss").unwrap();
    let check = |db: &Database| {
        assert_eq!(authenticate(db, "reader", "password of reader"), None);
        assert_eq!(authenticate(db, "reader", "another one"), Some(Role::Read));
        assert_eq!(authenticate(db, "writer", "password of writer"), Some(Role::Admin));
        assert_eq!(authenticate(db, "boss", "password of boss"), None);
        assert_eq!(db.role_of("boss"), None);
    };
    check(&db);
    db.execute("INSERT INTO t VALUES (1, 2)").unwrap();
    drop(db);
    let db = Database::open(directory.path().join("db")).unwrap();
    check(&db);
    db.execute("CHECKPOINT").unwrap();
    let copy = directory.path().join("copy");
    db.execute(&format!("BACKUP TO '{}'", copy.display())).unwrap();
    check(&Database::open(copy).unwrap());
    drop(db);
    let db = Database::open_read_only(directory.path().join("db")).unwrap();
    check(&db);
    let error = db.execute("DROP USER reader").unwrap_err();
    assert!(error.to_string().contains("the database was opened for reading only"), "{error}");
}

#[test]
fn a_password_may_be_a_parameter() {
    let (_directory, db) = database();
    let mut session = db.session();
    session.execute_with("ALTER USER reader PASSWORD $1", &["it's $1 long".into()]).unwrap();
    assert_eq!(authenticate(&db, "reader", "it's $1 long"), Some(Role::Read));
    let refused = |session: &mut Session, parameter: Param| {
        let error = session.execute_with("ALTER USER reader PASSWORD $1", &[parameter]).unwrap_err();
        assert!(!error.to_string().contains("1234"), "{error}");
        error.to_string()
    };
    assert_eq!(refused(&mut session, "1234".into()), "a password has 8 to 1024 bytes");
    assert_eq!(refused(&mut session, "1234".repeat(300).as_str().into()), "a password has 8 to 1024 bytes");
    for other in [Value::Integer(12_345_678).into(), Value::Null.into(), vec![1_234_i64].into()] {
        assert_eq!(refused(&mut session, other), "a password is a text");
    }
    assert_eq!(authenticate(&db, "reader", "it's $1 long"), Some(Role::Read));
}

/// Statements, and the least role that may execute each.
const STATEMENTS: [(&str, Role); 34] = [
    ("SELECT count(*) FROM t", Role::Read),
    ("EXPLAIN ANALYZE SELECT count(*) FROM t", Role::Read),
    ("PROFILE t BY n", Role::Read),
    ("OVERLAP n = 1, n = 2 FROM t", Role::Read),
    ("SHOW TABLES", Role::Read),
    ("SHOW VIEWS", Role::Read),
    ("SHOW AUDIENCES", Role::Read),
    ("DESCRIBE t", Role::Read),
    ("SET timezone = 'Asia/Shanghai'", Role::Read),
    ("REFRESH", Role::Read),
    ("INSERT INTO t VALUES (1, 2)", Role::Write),
    ("UPDATE t SET n = 3", Role::Write),
    ("DELETE FROM t", Role::Write),
    ("BEGIN", Role::Write),
    ("ROLLBACK", Role::Write),
    ("CHECKPOINT", Role::Write),
    ("CREATE TABLE u (id BIGINT PRIMARY KEY)", Role::Write),
    ("CREATE TABLE IF NOT EXISTS u (id BIGINT PRIMARY KEY)", Role::Write),
    ("COPY u FROM '$DIR/u.csv' (HEADER)", Role::Write),
    ("ALTER TABLE u ADD COLUMN n INTEGER", Role::Write),
    ("ALTER TABLE u RENAME COLUMN n TO m", Role::Write),
    ("ALTER TABLE u DROP COLUMN m", Role::Write),
    ("CREATE VIEW v AS SELECT * FROM t WHERE n > 1", Role::Write),
    ("CREATE AUDIENCE a AS SELECT id FROM v", Role::Write),
    ("CREATE STATIC AUDIENCE s AS SELECT id FROM v", Role::Write),
    ("ALTER AUDIENCE s RENAME TO s2", Role::Write),
    ("DROP AUDIENCE a, s2", Role::Write),
    ("DROP VIEW v", Role::Write),
    ("DROP TABLE u", Role::Write),
    ("SHOW USERS", Role::Admin),
    ("CREATE USER new PASSWORD 'a long one'", Role::Admin),
    ("ALTER USER new ROLE admin", Role::Admin),
    ("DROP USER new", Role::Admin),
    ("BACKUP TO '$DIR/backup'", Role::Admin),
];

/// Each statement is refused to those below, and leaves everything as it was; then whoever may executes it.
#[test]
fn each_role_may_do_what_it_may() {
    let (directory, db) = database();
    std::fs::write(directory.path().join("u.csv"), "id\n1\n").unwrap();
    let mut sessions = Role::ALL.map(|role| as_role(&db, role));
    for (statement, needed) in STATEMENTS {
        let sql = statement.replace("$DIR", &directory.path().display().to_string());
        // The transaction ends where it was begun.
        for session in
            sessions.iter_mut().filter(|session| session.role() < needed && statement != "ROLLBACK")
        {
            let lsn = db.engine().snapshot().lsn();
            let error = session.execute(&sql).unwrap_err();
            let Error::Query { kind, .. } = &error else { panic!("{sql}: {error}") };
            assert_eq!(*kind, QueryErrorKind::Forbidden, "{sql}: {error}");
            let advice = format!("ask an admin for ALTER USER … ROLE {}", needed.word());
            assert!(error.to_string().ends_with(&advice), "{sql}: {error}");
            assert_eq!(db.engine().snapshot().lsn(), lsn, "{sql}");
        }
        let session = sessions.iter_mut().find(|session| session.role() == needed).unwrap();
        session.execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let message = sessions[0].execute("DELETE FROM t").unwrap_err().to_string();
    assert_eq!(
        message,
        "this user may only read: DELETE needs the role write, ask an admin for ALTER USER … ROLE write"
    );
    let message = sessions[1].execute("SHOW USERS").unwrap_err().to_string();
    assert_eq!(
        message,
        "this user has the role write: SHOW USERS needs admin, ask an admin for ALTER USER … ROLE admin"
    );
    // A change without SQL is one too.
    let table = db.table("t").unwrap().id;
    let delete =
        musterdb::Mutation::Delete(musterdb::Delete { table, predicate: musterdb::Predicate::everyone() });
    assert!(matches!(sessions[0].write(&delete), Err(Error::Query { kind: QueryErrorKind::Forbidden, .. })));
    sessions[1].write(&delete).unwrap();
    assert_eq!(db.session().role(), Role::Admin);
}

/// Whatever a database claims, nobody waits for hours or gigabytes.
#[test]
fn hostile_hashes_are_refused() {
    let (_directory, db) = database();
    for hash in [
        "$argon2id$v=19$m=4194304,t=1,p=1$VGhpcyBpcyBub2JvZHlzIQ$QWxsIG9mIHRoaXMgaXMgbm8gaGFzaCBvZiBhbnl0aGk",
        "$argon2id$v=19$m=7168,t=4000000,p=1$VGhpcyBpcyBub2JvZHlzIQ$QWxsIG9mIHRoaXMgaXMgbm8gaGFzaCBvZiBhbnl0aGk",
        "$plain$",
    ] {
        let change = muster_engine::database::UserChange {
            password_hash: Some(hash.to_owned()),
            ..Default::default()
        };
        db.engine().alter_user("boss", change).unwrap();
        let error = db.authenticate("boss", b"password of boss").unwrap_err().to_string();
        assert!(
            error.contains("the password of user \"boss\" is stored in a form that is not verified"),
            "{error}"
        );
        assert!(!error.contains(hash), "{error}");
    }
    db.execute("ALTER USER boss PASSWORD 'password of boss'").unwrap();
    assert_eq!(authenticate(&db, "boss", "password of boss"), Some(Role::Admin));
}

fn files(directory: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(directory).unwrap() {
        bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    bytes
}

/// Only the hash is written: not in the log, not in the catalog, and not of what was refused.
#[test]
fn no_password_reaches_the_disk_or_an_answer() {
    let (directory, db) = database();
    db.execute("ALTER USER reader PASSWORD 'another one'").unwrap();
    db.execute("CREATE USER writer PASSWORD 'never taken'").unwrap_err();
    let mut looked_at = 0;
    let mut check = |bytes: &[u8]| {
        let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(has("$argon2id$v=19$"), "the hashes");
        assert!(!has("password of") && !has("another one") && !has("never taken"));
        looked_at += 1;
    };
    check(&files(&directory.path().join("db")));
    db.execute("CHECKPOINT").unwrap();
    check(&files(&directory.path().join("db")));
    assert_eq!(looked_at, 2);
    let shown = format!("{:?}", db.execute("SHOW USERS").unwrap());
    assert!(shown.contains("reader") && !shown.contains("argon2"), "{shown}");
    assert!(!format!("{:?}", db.engine().snapshot().users()).contains("argon2"));
}
