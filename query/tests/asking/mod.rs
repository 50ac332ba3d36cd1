//! What tests of conditions about members share: asking one, and writing values down.

use musterdb::Session;
use std::path::Path;

/// The members for whom a condition is TRUE; `m` is their table in it.
pub fn ids(session: &mut Session, condition: &str) -> Vec<i64> {
    let sql = format!("SELECT id FROM members m WHERE {condition} ORDER BY id");
    let outcome = session.execute(&sql).map_err(|error| error.render(&sql)).unwrap();
    outcome.rows().map(|row| row.get(0).unwrap()).collect()
}

/// Executes a statement.
#[allow(dead_code, reason = "not every test writes")]
pub fn run(session: &mut Session, sql: &str) {
    session.execute(sql).map_err(|error| error.render(sql)).unwrap();
}

/// Imports the lines of a CSV file, the first of which names the columns.
#[allow(dead_code, reason = "not every test imports")]
pub fn copy(session: &mut Session, table: &str, lines: &str, directory: &Path) {
    let file = directory.join("file.csv");
    std::fs::write(&file, lines).unwrap();
    run(session, &format!("COPY {table} FROM '{}' (HEADER)", file.display()));
}

/// A value as SQL has it.
pub fn null_or<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
}

/// An hour of one day as SQL has it.
#[allow(dead_code, reason = "not every test has times")]
pub fn time_or_null(hours: Option<i64>) -> String {
    hours.map_or_else(|| "NULL".to_owned(), |hours| format!("TIMESTAMP '2026-01-01 {hours:02}:00:00'"))
}

/// A day as a CSV file has it: so many days after 2024-01-01.
#[allow(dead_code, reason = "not every test has days")]
pub fn day_text(day: i64) -> String {
    let (mut year, mut left) = (2024, day);
    loop {
        let days = if year % 4 == 0 { 366 } else { 365 };
        if left < days {
            break;
        }
        left -= days;
        year += 1;
    }
    let february = if year % 4 == 0 { 29 } else { 28 };
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < days {
            break;
        }
        left -= days;
        month += 1;
    }
    format!("{year}-{month:02}-{:02} 00:00:00", left + 1)
}

/// Whose the rows of a table are, and how they came: what they say is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "not every test has rows of several kinds")]
pub enum Belonging {
    /// They belong to nobody.
    Nobodys,
    /// They belong to members, and were inserted.
    Inserted,
    /// They belong to members; the first half was imported, so put in the order of members and times, the others inserted.
    Imported,
}

/// A row of `rows`: whose, an article, when (in hours), how much.
pub type Row = (Option<i64>, i64, Option<i64>, Option<i64>);

#[allow(dead_code, reason = "not every test has rows of several kinds")]
impl Belonging {
    /// The table of rows.
    pub fn create(self, session: &mut Session) {
        let (reference, owner) = match self {
            Belonging::Nobodys => ("", ""),
            _ => (" REFERENCES members", " WITH (owner = 'whose', time = 'at')"),
        };
        let columns = format!("(whose BIGINT{reference}, sku BIGINT, at TIMESTAMP, n BIGINT)");
        session.execute(&format!("CREATE TABLE rows {columns}{owner}")).unwrap();
    }

    /// The rows in the order in which they will be stored, where that matters: those of one member.
    pub fn stored(self, mut rows: Vec<Row>) -> Vec<Row> {
        let imported = self.imported(&rows);
        rows[..imported].sort_by_key(|row| (row.0, row.2.is_none(), row.2));
        rows
    }

    fn imported(self, rows: &[Row]) -> usize {
        if self == Belonging::Imported { rows.len().div_ceil(2) } else { 0 }
    }

    /// Puts the rows into the table.
    pub fn fill(self, session: &mut Session, rows: &[Row], directory: &Path) {
        let (imported, inserted) = rows.split_at(self.imported(rows));
        if !imported.is_empty() {
            let cell = |value: Option<i64>| value.map_or_else(String::new, |value| value.to_string());
            let time = |hours: Option<i64>| {
                hours.map_or_else(String::new, |hours| format!("2026-01-01 {hours:02}:00:00"))
            };
            let line = |row: &Row| format!("{},{},{},{}\n", cell(row.0), row.1, time(row.2), cell(row.3));
            let file = directory.join("rows.csv");
            let lines: String = imported.iter().map(line).collect();
            std::fs::write(&file, format!("whose,sku,at,n\n{lines}")).unwrap();
            session.execute(&format!("COPY rows FROM '{}' (HEADER)", file.display())).unwrap();
        }
        let value = |row: &Row| {
            format!("({}, {}, {}, {})", null_or(row.0), row.1, time_or_null(row.2), null_or(row.3))
        };
        let values: Vec<String> = inserted.iter().map(value).collect();
        if !values.is_empty() {
            session.execute(&format!("INSERT INTO rows VALUES {}", values.join(", "))).unwrap();
        }
    }
}

/// How rows may belong.
#[allow(dead_code, reason = "not every test has rows of several kinds")]
pub fn belonging() -> impl proptest::strategy::Strategy<Value = Belonging> {
    use proptest::prelude::*;
    prop_oneof![Just(Belonging::Nobodys), Just(Belonging::Inserted), Just(Belonging::Imported)]
}
