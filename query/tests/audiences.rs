//! The audiences of `retailer/audiences.sql`, over the tables of a small synthetic retailer, have exactly the members that another
//! engine found (`retailer/answers`).

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use musterdb::{Database, Outcome};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn retailer(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/retailer").join(file)
}

fn text(file: &str) -> String {
    std::fs::read_to_string(retailer(file)).unwrap()
}

/// The audiences by number.
fn audiences() -> Vec<(String, String)> {
    let text = text("audiences.sql");
    let parts = text.split("\n-- ").skip(1);
    let audience = |part: &str| {
        let (title, sql) = part.split_once('\n').unwrap();
        (title[..3].to_owned(), sql.trim().to_owned())
    };
    parts.map(audience).collect()
}

#[test]
fn every_audience_of_the_retailer_has_its_members() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    for statement in musterdb::split_statements(&text("schema.sql")) {
        session.execute(statement).unwrap();
    }
    let tables = session.execute("SHOW TABLES").unwrap();
    for table in tables.rows() {
        let name: String = table.get(0).unwrap();
        let packed = retailer(&format!("{name}.csv.gz"));
        let file = if packed.exists() { packed } else { retailer(&format!("{name}.csv")) };
        session.execute(&format!("COPY {name} FROM '{}' (FORMAT csv, HEADER)", file.display())).unwrap();
    }
    session.execute("SET now = '2026-06-30 10:00:00'").unwrap();
    let audiences = audiences();
    for (name, sql) in &audiences {
        let outcome = session.execute(sql).map_err(|error| error.render(sql)).unwrap();
        assert!(matches!(&outcome, Outcome::Rows { columns, .. } if columns.len() == 1), "{name}");
        let found: BTreeSet<i64> = outcome.rows().map(|row| row.get(0).unwrap()).collect();
        let answers = text(&format!("answers/{name}.csv"));
        let expected: BTreeSet<i64> =
            answers.lines().skip(1).map(|line| line.trim().parse().unwrap()).collect();
        assert_eq!(found, expected, "{name}: {sql}");
        assert_eq!(outcome.rows().count(), expected.len(), "{name}: a member twice");
        session.execute(&format!("CREATE AUDIENCE {name} AS {sql}")).unwrap();
        let kept = session.execute(&format!("SELECT id FROM {name}")).unwrap();
        let kept: BTreeSet<i64> = kept.rows().map(|row| row.get(0).unwrap()).collect();
        assert_eq!(kept, expected, "{name} as an audience");
    }
    assert_eq!(audiences.len(), 42);
}
