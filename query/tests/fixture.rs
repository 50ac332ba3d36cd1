//! A whole database of the current format, kept in `fixture/`: base, patch, dictionary and key parts, a static audience, users, and a log
//! after the checkpoint. What it answers is kept beside it. A change of the format that forgets its version fails here.
//!
//! After a change of the format that is meant, with its version raised: `MUSTER_FIXTURE=write cargo test --test fixture` makes both anew.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use musterdb::{Cancel, Database, Outcome, Role};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// All of it, as the repository carries it.
const BYTES_MAX: u64 = 100_000;

const QUESTIONS: [&str; 10] = [
    "SELECT * FROM members ORDER BY id",
    "SELECT city, count(*), sum(points) FROM members GROUP BY city ORDER BY city NULLS LAST",
    "SELECT count(*) FROM members WHERE 'vip' = ANY(tags)",
    "SELECT count(*) FROM members WHERE points BETWEEN 100 AND 900 AND NOT active",
    "SELECT id FROM members WHERE signed_up >= DATE '2024-03-01' ORDER BY points DESC, id LIMIT 5",
    "SELECT id, note FROM members WHERE note LIKE '%7 of%' ORDER BY id LIMIT 5",
    "SELECT count(*) FROM members WHERE in_audience('early') AND in_audience('rich')",
    "SELECT id FROM members WHERE id IN ('member-0003', 'member-0250', 'fresh-1', 'nobody') ORDER BY id",
    "SHOW AUDIENCES",
    "SHOW USERS",
];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(|file| file.unwrap()).filter(|f| f.file_name() != "LOCK")
    {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn answers(db: &Database) -> String {
    let mut text = String::new();
    for question in QUESTIONS {
        writeln!(text, "{question}").unwrap();
        for row in db.execute(question).unwrap().rows() {
            writeln!(text, "  {:?}", row.values()).unwrap();
        }
    }
    text
}

/// Makes the database with everything that one has on disk.
fn make(directory: &Path) -> Database {
    let csv = directory.with_extension("csv");
    let mut rows = "id,city,tags,points,signed_up,active,note\n".to_owned();
    for n in 0..300 {
        let city = ["Kyoto", "Lima", "", "Oslo"][n % 4];
        let tags = if n % 5 == 0 { "{vip,new}" } else { "{}" };
        let day = format!("2024-{:02}-{:02}", 1 + n % 6, 1 + n % 28);
        writeln!(
            rows,
            "member-{n:04},{city},\"{tags}\",{},{day},{},number {n} of them",
            n * 7 % 1000,
            n % 3 == 0
        )
        .unwrap();
    }
    std::fs::write(&csv, rows).unwrap();
    let db = Database::open(directory).unwrap();
    let columns = "id TEXT PRIMARY KEY, city TEXT, tags TEXT[], points INTEGER, signed_up DATE, active BOOLEAN, note TEXT";
    let steps = [
        &format!("CREATE TABLE members ({columns})"),
        &format!("COPY members FROM '{}' WITH (HEADER)", csv.display()),
        "CREATE VIEW active AS SELECT * FROM members WHERE active",
        "CREATE AUDIENCE rich AS SELECT id FROM members WHERE points > 500",
        "CREATE STATIC AUDIENCE early AS SELECT id FROM members WHERE signed_up < DATE '2024-03-01'",
        "UPDATE members SET city = 'Quito', tags = tags || 'moved' WHERE id = 'member-0003'",
        "DELETE FROM members WHERE id = 'member-0004'",
        "CREATE USER ada PASSWORD 'kept for long' ROLE admin",
        "CREATE USER bo PASSWORD 'kept for long too'",
        "CHECKPOINT",
        "ALTER TABLE members ADD COLUMN score DOUBLE PRECISION",
        "INSERT INTO members (id, city, points, active) VALUES ('fresh-1', 'Rome', 123, TRUE), ('fresh-2', NULL, 456, FALSE)",
        "UPDATE members SET score = 0.5, points = points + 1 WHERE id < 'member-0007'",
        "DELETE FROM members WHERE id = 'fresh-2'",
    ];
    for step in steps {
        db.execute(step).unwrap();
    }
    db
}

#[test]
fn a_database_of_the_current_format_is_read_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (kept, golden) = (fixture().join("database"), fixture().join("answers.txt"));
    if std::env::var_os("MUSTER_FIXTURE").is_some_and(|wish| wish == "write") {
        let made = directory.path().join("made");
        let db = make(&made);
        let expected = answers(&db);
        drop(db);
        let _ = std::fs::remove_dir_all(fixture());
        copy(&made, &kept);
        std::fs::write(&golden, expected).unwrap();
    }
    let files: Vec<_> = std::fs::read_dir(&kept).unwrap().map(|file| file.unwrap()).collect();
    assert!(files.iter().map(|file| file.metadata().unwrap().len()).sum::<u64>() < BYTES_MAX);
    let expected = std::fs::read_to_string(golden).unwrap();

    let here = directory.path().join("db");
    copy(&kept, &here);
    let db = Database::open_read_only(&here).unwrap();
    let inspection = db.engine().inspect().unwrap();
    let table = &inspection.tables[0];
    assert!(table.columns.iter().any(|column| column.changed > 0), "patches and changes of the log");
    assert!(
        !inspection.log.is_empty() && inspection.lsn > inspection.checkpoint,
        "a log after the checkpoint"
    );
    db.engine().verify(&Cancel::default(), &mut |_, _, _| {}).unwrap();
    assert_eq!(answers(&db), expected);
    assert_eq!(db.authenticate("ada", b"kept for long").unwrap(), Some(Role::Admin));
    assert_eq!(db.authenticate("ada", b"kept for long too").unwrap(), None);
    drop(db);

    let db = Database::open(&here).unwrap();
    assert_eq!(answers(&db), expected);
    db.execute("CHECKPOINT").unwrap();
    assert_eq!(answers(&db), expected);
    let Outcome::Done { message } = db.execute("UPDATE members SET city = 'Lima'").unwrap() else { panic!() };
    assert_eq!(message, "UPDATE 300");
    drop(db);
    let db = Database::open(&here).unwrap();
    let everybody: i64 =
        db.execute("SELECT count(*) FROM members WHERE city = 'Lima'").unwrap().single().unwrap();
    assert_eq!(everybody, 300);
}
