//! Rows of members that meet each other: very many of one member, pairs of which a condition leaves few, and ties.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod asking;

use asking::{ids, run};
use musterdb::Database;
use std::fmt::Write;

/// Rows of members were taken member by member where nothing keeps to one of them, too: of equal ones the first was that of the
/// first member, not the one that is stored first.
#[test]
fn ties_are_decided_by_the_order_in_which_rows_are_stored() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    run(&mut session, "CREATE TABLE members (id BIGINT PRIMARY KEY)");
    run(&mut session, "INSERT INTO members VALUES (1), (2), (3)");
    run(&mut session, "CREATE TABLE rows (whose BIGINT REFERENCES members, at DATE, n BIGINT)");
    run(
        &mut session,
        "INSERT INTO rows VALUES (2, '2026-01-02', 5), (1, '2026-01-01', 5), (3, '2026-01-01', 4)",
    );
    assert_eq!(ids(&mut session, "id = (SELECT arg_max(whose, n) FROM rows)"), [2]);
    let numbered = "SELECT whose, row_number() OVER (ORDER BY n DESC) AS place FROM rows WHERE n > 0";
    assert_eq!(ids(&mut session, &format!("id IN (SELECT whose FROM ({numbered}) t WHERE place = 1)")), [2]);
}

/// Rows of one member were compared to each other pair by pair, and all pairs made before they were counted: for minutes, where
/// one member stands for all who buy without a name.
#[test]
fn rows_of_a_member_with_very_many_find_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    run(&mut session, "CREATE TABLE members (id BIGINT PRIMARY KEY)");
    run(&mut session, "INSERT INTO members VALUES (0), (1), (2)");
    run(&mut session, "CREATE TABLE rows (whose BIGINT REFERENCES members, at DATE, n BIGINT)");
    let mut lines = "whose,at,n\n1,2026-01-01,1\n1,2026-01-01,3\n2,2026-01-01,1\n2,2026-01-01,2\n".to_owned();
    for n in 0..30_000 {
        let n = if n % 100 == 0 { String::new() } else { (2 * n).to_string() };
        writeln!(lines, "0,2026-01-01,{n}").unwrap();
    }
    let file = directory.path().join("file.csv");
    std::fs::write(&file, lines).unwrap();
    run(&mut session, &format!("COPY rows FROM '{}' (HEADER)", file.display()));
    let next = |by: i64| {
        let rows =
            format!("SELECT a.whose FROM rows a JOIN rows b ON b.whose = a.whose AND b.n = a.n + {by}");
        format!("id IN ({rows})")
    };
    assert_eq!(ids(&mut session, &next(1)), [2]);
    assert_eq!(ids(&mut session, &next(2)), [0, 1]);
    let all = "id IN (SELECT a.whose FROM rows a JOIN rows b ON b.whose = a.whose AND b.at = a.at)";
    let error = session.execute(&format!("SELECT id FROM members WHERE {all}")).unwrap_err().to_string();
    assert!(error.contains("pairs of the rows of some owners"), "{error}");
}

/// Of rows that a condition ties, all pairs were made before it was asked of them, and refused as too many; so was EXISTS, for
/// which one pair of each row is enough.
#[test]
fn pairs_that_a_condition_leaves_are_few() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    run(&mut session, "CREATE TABLE members (id BIGINT PRIMARY KEY)");
    run(&mut session, "INSERT INTO members VALUES (0), (1)");
    run(&mut session, "CREATE TABLE rows (whose BIGINT REFERENCES members, at DATE, n BIGINT)");
    run(&mut session, "CREATE TABLE bands (low BIGINT, high BIGINT)");
    let (mut rows, mut bands) = ("whose,at,n\n1,2026-01-01,4\n".to_owned(), "low,high\n".to_owned());
    for n in 0..4_200 {
        writeln!(rows, "0,2026-01-01,{n}").unwrap();
        writeln!(bands, "{n},{}", n + 1).unwrap();
    }
    let file = directory.path().join("file.csv");
    for (table, lines) in [("rows", rows), ("bands", bands)] {
        std::fs::write(&file, lines).unwrap();
        run(&mut session, &format!("COPY {table} FROM '{}' (HEADER)", file.display()));
    }
    let banded = |from: i64| {
        format!(
            "id IN (SELECT r.whose FROM rows r JOIN bands b ON r.n >= b.low AND r.n < b.high WHERE b.low + r.n >= {from})"
        )
    };
    assert_eq!(ids(&mut session, &banded(0)), [0, 1]);
    assert_eq!(ids(&mut session, &banded(9)), [0]);
    let other = "SELECT 1 FROM rows b WHERE b.whose = a.whose AND b.n <> a.n";
    assert_eq!(ids(&mut session, &format!("id IN (SELECT whose FROM rows a WHERE EXISTS ({other}))")), [0]);
}
