//! Statements of a thousand different computed terms, as machines write them, over more members than the other hostile
//! statements meet: each is answered soon. What they answer is the oracle's to check.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use musterdb::{Database, Session};
use std::fmt::Write;
use std::time::{Duration, Instant};

const TERMS: usize = 1_000;
/// In a build for tests a tenth will do.
const MEMBERS: usize = if cfg!(debug_assertions) { 15_000 } else { 150_000 };
/// What a statement may take on a machine that does other things as well; alone it takes a tenth. Pass by pass they took
/// up to 46 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// What joins the terms, and the term of each number.
type Statement = (&'static str, fn(usize) -> String);

fn opened(directory: &std::path::Path) -> Database {
    let db = Database::open(directory.join("db")).unwrap();
    let mut rows = String::from("id,n,m,i,d,s,ts\n");
    for id in 0..MEMBERS {
        let mixed = (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        // `n` is near-unique and stored plainly, `m` has a dictionary; some of each column are NULL.
        let text = if mixed.is_multiple_of(5) { mixed % 100 } else { mixed };
        let null = |one_of: u64, shown: String| {
            if mixed.is_multiple_of(one_of) { String::new() } else { shown }
        };
        writeln!(
            rows,
            "{id},{},{},{},{},{},{}",
            null(31, format!("name {text:x}")),
            null(29, format!("name {:x}", mixed % 30_000)),
            null(37, (mixed % 100_000).to_string()),
            null(41, (mixed / 7 % 1_000).to_string()),
            null(43, format!("{}.25", mixed % 977)),
            null(47, format!("20{:02}-{:02}-{:02} 11:12:13", mixed % 26, mixed % 12 + 1, mixed % 28 + 1)),
        )
        .unwrap();
    }
    std::fs::write(directory.join("t.csv"), rows).unwrap();
    let columns =
        "id BIGINT PRIMARY KEY, n TEXT, m TEXT, i INTEGER, d INTEGER, s DECIMAL(12,2), ts TIMESTAMP";
    db.execute(&format!("CREATE TABLE t ({columns})")).unwrap();
    db.execute(&format!("COPY t FROM '{}' (HEADER)", directory.join("t.csv").display())).unwrap();
    db
}

fn count(session: &mut Session, condition: &str) -> (u64, Duration) {
    let start = Instant::now();
    let outcome = session.execute(&format!("SELECT count(*) FROM t WHERE {condition}")).unwrap();
    let took = start.elapsed();
    (outcome.single().unwrap(), took)
}

#[test]
fn a_thousand_computed_terms() {
    let directory = tempfile::tempdir().unwrap();
    let db = opened(directory.path());
    let mut session = db.session();
    let kinds: [Statement; 15] = [
        ("OR", |k| format!("length(n) = {k}")),
        ("AND", |k| format!("length(n) <> {}", k + 14)),
        ("OR", |k| format!("substr(n, 1, {k}) = 'name {k:x}'")),
        ("OR", |k| format!("lower(n) LIKE '%x{k}%'")),
        ("OR", |k| format!("n LIKE '%x{k}%'")),
        ("OR", |k| format!("length(m) = {k}")),
        ("OR", |k| format!("substr(m, 1, {k}) = 'name {k:x}'")),
        ("OR", |k| format!("extract(doy FROM ts) = {}", k + 300)),
        ("OR", |k| format!("extract(doy FROM ts) * {k} = 7")),
        ("OR", |k| format!("i + d > {}", k + 90_000)),
        ("OR", |k| format!("i * {k} + d < {k}")),
        ("AND", |k| format!("i * {k} + d <> {}", k * 9)),
        ("OR", |k| format!("i % {} = d + {k}", k + 1)),
        ("OR", |k| format!("s * {k} > i + 90000000")),
        ("OR", |k| format!("NOT (i + d <> {k})")),
    ];
    let mut slow = Vec::new();
    for (join, term) in kinds {
        let terms: Vec<String> = (0..TERMS).map(term).collect();
        let (found, mut took) = count(&mut session, &terms.join(&format!(" {join} ")));
        println!("{took:?}: {found} of {join} {}", terms[7]);
        // Others may have had the machine.
        for _ in 0..2 {
            if took >= PATIENCE {
                took = count(&mut session, &terms.join(&format!(" {join} "))).1;
            }
        }
        if took >= PATIENCE {
            slow.push(format!("{took:?} for {}", terms[7]));
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}
