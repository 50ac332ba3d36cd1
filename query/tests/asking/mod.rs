//! What tests of conditions about members share: asking one, and writing values down.

use musterdb::Session;

/// The members for whom a condition is TRUE; `m` is their table in it.
pub fn ids(session: &mut Session, condition: &str) -> Vec<i64> {
    let sql = format!("SELECT id FROM members m WHERE {condition} ORDER BY id");
    let outcome = session.execute(&sql).map_err(|error| error.render(&sql)).unwrap();
    outcome.rows().map(|row| row.get(0).unwrap()).collect()
}

/// A value as SQL has it.
pub fn null_or<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
}
