//! The front door as an embedding program uses it: sessions, cancelling, errors with places, the limits end to end.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use musterdb::{CompareOp, DEPTH_MAX, Database, Error, Outcome, Predicate, QueryErrorKind, TERMS_MAX, Value};

fn database() -> (tempfile::TempDir, Database) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("t.csv");
    let rows: String = (0..1000).map(|i| format!("{i},{},{}\n", i % 10, i % 2 == 0)).collect();
    std::fs::write(&file, format!("id,a,b\n{rows}")).unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, a INTEGER, b BOOLEAN)").unwrap();
    let copied = db.execute(&format!("COPY t FROM '{}' (HEADER)", file.display())).unwrap();
    assert_eq!(copied, Outcome::Done { message: "COPY 1000".into() });
    (directory, db)
}

#[test]
fn the_limits_hold_end_to_end_on_two_mebibytes() {
    let (_directory, db) = database();
    let ask = |condition: String| {
        db.execute(&format!("SELECT count(*) FROM t WHERE {condition}"))
            .map(|outcome| outcome.single::<u64>().unwrap())
    };
    let nested = |depth: usize| format!("{}a = 1{}", "NOT (b AND ".repeat(depth), ")".repeat(depth));
    let chained = |terms: usize| (0..terms).map(|i| format!("a = {i}")).collect::<Vec<_>>().join(" OR ");
    let limit = |error: Error| matches!(error, Error::Query { kind: QueryErrorKind::Limit, .. });
    std::thread::scope(|scope| {
        let work = || {
            // True for the 500 without b; with b it is a = 1, negated an even number of times, and a is even there.
            assert_eq!(ask(nested(DEPTH_MAX)).unwrap(), 500);
            assert_eq!(ask(chained(TERMS_MAX)).unwrap(), 1000);
            assert!(limit(ask(nested(DEPTH_MAX + 1)).unwrap_err()));
            assert!(limit(ask(chained(TERMS_MAX + 1)).unwrap_err()));
            let list = (0..100_000).map(|i| (i * 2).to_string()).collect::<Vec<_>>().join(",");
            assert_eq!(ask(format!("id IN ({list})")).unwrap(), 500);
        };
        std::thread::Builder::new().stack_size(2 << 20).spawn_scoped(scope, work).unwrap().join().unwrap();
    });
}

#[test]
fn a_cancelled_statement_changes_nothing_and_the_next_one_runs() {
    let (_directory, db) = database();
    let mut session = db.session();
    session.cancel_handle().cancel();
    assert!(session.execute("SELECT count(*) FROM t").unwrap_err().is_cancelled());
    assert_eq!(session.execute("SELECT count(*) FROM t").unwrap().single::<u64>().unwrap(), 1000);
}

#[test]
fn a_script_stops_at_its_first_error_and_says_where() {
    let (_directory, db) = database();
    let script = "SELECT count(*) FROM t;\n-- two\nSELECT x FROM t;\nSELECT 1 FROM t";
    let mut answered = 0;
    let error = db.execute_script(script, |_| answered += 1).unwrap_err();
    assert_eq!(answered, 1);
    match &error {
        Error::Query { span: Some(span), .. } => assert_eq!(&script[span.start..span.end], "x"),
        other => panic!("{other}"),
    }
    assert!(error.render(script).contains("line 3, column 8"), "{}", error.render(script));
}

#[test]
fn a_read_only_database_answers_and_refuses_changes() {
    let (directory, db) = database();
    drop(db);
    let db = Database::open_read_only(directory.path().join("db")).unwrap();
    assert_eq!(db.execute("SELECT count(*) FROM t").unwrap().single::<u64>().unwrap(), 1000);
    let refused = db.execute("CREATE TABLE u (a TEXT)").unwrap_err();
    assert!(matches!(refused, Error::Query { kind: QueryErrorKind::ReadOnly, .. }), "{refused}");
}

#[test]
fn predicates_bitmaps_and_statements_agree() {
    let (_directory, db) = database();
    let table = db.table("t").unwrap();
    let a = table.column_named("a").unwrap().id;
    let predicate = Predicate::compare(a, CompareOp::Lt, Value::Integer(3));
    let members = db.members("t", &predicate).unwrap();
    assert_eq!(members, db.audience("SELECT id FROM t WHERE a < 3").unwrap());
    assert_eq!(members.len(), db.count("t", &predicate).unwrap());
    let unknown = db.count("T", &predicate).unwrap_err();
    assert_eq!(unknown.to_string(), "unknown table \"T\", did you mean \"t\"?");
}

#[test]
fn rows_give_rust_types_and_refuse_what_does_not_fit() {
    let (_directory, db) = database();
    let outcome = db.execute("SELECT id, b, a AS kind FROM t ORDER BY id DESC LIMIT 1").unwrap();
    let row = outcome.rows().next().unwrap();
    assert_eq!(row.get::<i64>(0), Ok(999));
    assert_eq!(row.get::<Option<bool>>(1), Ok(Some(false)));
    assert_eq!(row.get_named::<f64>("kind"), Ok(9.0));
    assert!(row.get::<String>(0).is_err() && row.get::<i64>(3).is_err());
}

#[test]
fn values_of_a_column_are_found_by_their_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("t.csv");
    let rows: String = (0..1000).map(|i| format!("{i},{}\n", ["Kyoto", "Köln", "Lima"][i % 3])).collect();
    std::fs::write(&file, rows).unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, city TEXT)").unwrap();
    assert!(db.text_values("t", "city", "", 10).unwrap().is_empty());
    db.execute(&format!("COPY t FROM '{}'", file.display())).unwrap();
    assert_eq!(db.text_values("t", "city", "K", 10).unwrap(), ["Kyoto", "Köln"]);
    let unknown = db.text_values("t", "cty", "K", 10).unwrap_err();
    assert_eq!(unknown.to_string(), "unknown column \"cty\", did you mean \"city\"?");
}
