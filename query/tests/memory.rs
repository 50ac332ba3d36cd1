//! The memory that a statement may take: whatever the limit, a statement gives its answer or says that it is out of memory, changes
//! nothing then, and hurts none after it. And the limit is kept: each kind of statement alone in a process of its own, whose
//! anonymous memory is watched.
//!
//! With more members, and the table of what each took: `MUSTER_MEMORY_MEMBERS=2000000 MUSTER_MEMORY_MIB=64 cargo test -p
//! musterdb --test memory -- --nocapture`.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "memory/statements.rs"]
mod statements;

use musterdb::{Database, Outcome, QueryErrorKind, Session};
use statements::{CHANGES, QUESTIONS, make, overlap};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A statement's answer, the rows of what has no order in one.
fn answer(session: &mut Session, sql: &str) -> musterdb::Result<Vec<String>> {
    let rows = match session.execute(sql)? {
        Outcome::Rows { rows, .. } => rows,
        Outcome::Done { message } => return Ok(vec![message]),
    };
    let mut shown: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    if !sql.contains("ORDER BY") {
        shown.sort_unstable();
    }
    Ok(shown)
}

fn count(db: &Database, sql: &str) -> u64 {
    db.execute(sql).unwrap().single().unwrap()
}

#[test]
fn whatever_the_limit_the_answer_is_right_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let db = make(directory.path(), 3_000);
    let mut session = db.session();
    let overlaps = overlap(60);
    let questions = QUESTIONS.iter().copied().chain([("overlap", overlaps.as_str())]);
    let (mut refused, mut answered) = (0, 0);
    for (name, sql) in questions {
        session.execute("SET memory_limit = DEFAULT").unwrap();
        let expected = answer(&mut session, sql).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(session.cancel_handle().memory_held(), 0, "{name} holds nothing after its end");
        for limit in (0..15).map(|power| 1_000_u64 << power) {
            session.execute(&format!("SET memory_limit = '{limit}B'")).unwrap();
            match answer(&mut session, sql) {
                Ok(found) => {
                    assert!(found == expected, "{name} under {limit} bytes answers something else");
                    answered += 1;
                }
                Err(error) => {
                    assert!(error.is_out_of_memory(), "{name} under {limit} bytes: {error}");
                    refused += 1;
                }
            }
            assert_eq!(session.cancel_handle().memory_held(), 0, "{name} under {limit} bytes");
        }
        session.execute("SET memory_limit = DEFAULT").unwrap();
        assert!(answer(&mut session, sql).unwrap() == expected, "{name} after it was refused");
    }
    assert!(refused > 50 && answered > 50, "{refused} refused, {answered} answered");
}

#[test]
fn what_is_refused_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let db = make(directory.path(), 3_000);
    let mut session = db.session();
    let state = || {
        let all = db.execute("SELECT * FROM member ORDER BY id").unwrap();
        (all, count(&db, "SELECT count(*) FROM other"), db.execute("SHOW AUDIENCES").unwrap().rows().len())
    };
    let mut refused = 0;
    for (name, sql) in CHANGES {
        let before = state();
        for limit in [1_000, 20_000, 64_000] {
            session.execute(&format!("SET memory_limit = '{limit}B'")).unwrap();
            // In a transaction too, which it ends.
            for transaction in [false, true] {
                if transaction && !sql.starts_with("CREATE") {
                    session.execute("BEGIN").unwrap();
                }
                // A set of members takes a bit or two each.
                match session.execute(sql) {
                    Err(error) => {
                        assert!(error.is_out_of_memory(), "{name} under {limit} bytes: {error}");
                        refused += 1;
                    }
                    Ok(_) => {
                        assert!(*name == "static audience", "{name} took {limit} bytes");
                        session.execute("DROP AUDIENCE kept").unwrap();
                    }
                }
                if session.transaction() != musterdb::TransactionState::None {
                    session.execute("ROLLBACK").unwrap();
                }
            }
            assert!(state() == before, "{name} under {limit} bytes changed something");
            assert_eq!(session.cancel_handle().memory_held(), 0, "{name} under {limit} bytes");
        }
    }
    assert!(refused >= 30, "{refused} refused");
    session.execute("SET memory_limit = DEFAULT").unwrap();
    for (name, sql) in CHANGES {
        session.execute(sql).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert_eq!(count(&db, "SELECT count(*) FROM member"), 0);
    assert_eq!(count(&db, "SELECT count(*) FROM other"), 3_000);
}

#[test]
fn a_session_may_ask_for_less_than_it_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let db = make(directory.path(), 3_000);
    let mut session = db.session();
    session.set_memory_limit(100_000);
    let refused = session.execute("SELECT * FROM member").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "out of memory for the rows of the answer: a statement may take 100000 bytes here; ask for less (LIMIT, fewer columns, a narrower WHERE), or SET memory_limit to more"
    );
    let more = session.execute("SET memory_limit = '1MB'").unwrap_err();
    assert!(matches!(more, musterdb::Error::Query { kind: QueryErrorKind::Limit, .. }), "{more}");
    assert_eq!(more.to_string(), "1MB is more than a statement may take here: at most 97kB");
    session.execute("SET memory_limit = '64kB'").unwrap();
    assert!(session.execute("SELECT id FROM member").unwrap_err().is_out_of_memory());
    session.execute("SELECT id, note FROM member LIMIT 100").unwrap();
    // Others have what they had.
    assert_eq!(db.execute("SELECT * FROM member").unwrap().rows().len(), 3_000);
    session.set_memory_limit(None);
    assert_eq!(session.execute("SELECT * FROM member").unwrap().rows().len(), 3_000);
}

fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// What a process of its own does for the test below: it asks what MUSTER_MEMORY_SQL says, of the database that
/// MUSTER_MEMORY_DIRECTORY names.
#[test]
fn one_statement() {
    if std::env::var_os("MUSTER_MEMORY_SQL").is_none() {
        return;
    }
    let variable = |name: &str| std::env::var(format!("MUSTER_MEMORY_{name}")).unwrap();
    let (sql, limit) = (variable("SQL"), variable("MIB").parse::<u64>().unwrap() << 20);
    let db = Database::open(Path::new(&variable("DIRECTORY")).join("db")).unwrap();
    let mut session = db.session();
    // What is there once and for all: the pool, the columns' directories.
    session.execute("SELECT city, count(*), max(points) FROM member GROUP BY city").unwrap();
    session.set_memory_limit(Some(limit).filter(|limit| *limit > 0));
    let (base, peak, done) = (anonymous_bytes(), AtomicU64::new(0), AtomicBool::new(false));
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_bytes(), Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
        });
        let outcome = session.execute(&sql);
        peak.fetch_max(anonymous_bytes(), Ordering::Relaxed);
        done.store(true, Ordering::Relaxed);
        outcome
    });
    let said = match outcome {
        Ok(outcome) => format!("{} rows", outcome.rows().len()),
        Err(error) if error.is_out_of_memory() => error.to_string().split(':').next().unwrap().to_owned(),
        Err(error) => panic!("{error}"),
    };
    println!("\ntook {} | {said}", peak.load(Ordering::Relaxed).saturating_sub(base));
}

/// What each kind of statement takes alone in a process.
#[test]
#[cfg(target_os = "linux")]
fn a_statement_keeps_to_its_memory() {
    let setting = |name: &str, default: u64| {
        std::env::var(format!("MUSTER_MEMORY_{name}")).map_or(default, |text| text.parse().unwrap())
    };
    let (members, limit) = (setting("MEMBERS", 150_000), setting("MIB", 12));
    let only = std::env::var("MUSTER_MEMORY_ONLY").unwrap_or_default();
    let directory = tempfile::tempdir().unwrap();
    drop(make(directory.path(), members));
    let overlaps = overlap(400);
    let statements = QUESTIONS.iter().chain(CHANGES).copied().chain([("overlap", overlaps.as_str())]);
    let mut over = Vec::new();
    // What does not grow: a chunk's rows and values a thread, in each form that they take.
    let fixed = 16.0;
    for (name, sql) in statements.filter(|(name, _)| name.contains(&only)) {
        // A statement that changes something finds what those before it left.
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["one_statement", "--exact", "--nocapture"])
            .env("MUSTER_MEMORY_SQL", sql)
            .env("MUSTER_MEMORY_MIB", limit.to_string())
            .env("MUSTER_MEMORY_DIRECTORY", directory.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let took = text.lines().find_map(|line| line.strip_prefix("took "));
        let Some((bytes, said)) = took.and_then(|took| took.split_once(" | ")) else {
            panic!("{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
        };
        let mib = bytes.parse::<f64>().unwrap() / f64::from(1 << 20);
        println!("{name:<26} {mib:>8.1} MiB  {:>5.2} × the limit  {said}", mib / limit.max(1) as f64);
        if limit > 0 && mib > 2.0 * limit as f64 + fixed {
            over.push(name);
        }
    }
    assert!(over.is_empty(), "more than twice the limit and {fixed} MiB: {over:?}");
}
