//! Questions that ask for thousands of values at once, against rows asked one by one: lists of codes and of numbers, by
//! sets, by ranks and by scanning; and predicates of thousands of terms, whose planning must not grow with their square.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::batch::{Batch, Place, RowSource, batch_of_values};
use muster_engine::control::Cancel;
use muster_engine::database::Mode;
use muster_engine::exec::{Count, Members, Scope, evaluate};
use muster_engine::predicate::{CompareOp, Predicate};
use muster_engine::schema::{ColumnSpec, DataType, TableSpec};
use muster_engine::value::Value;
use muster_engine::{ColumnId, Database, Snapshot, TableId};
use roaring::RoaringBitmap;
use std::time::{Duration, Instant};

const ROWS: usize = 2 * 65_536 + 4_097;
/// Few enough values in a chunk for sets, too many for sets, numbers close together, and numbers far apart.
const TYPES: [DataType; 5] =
    [DataType::Text, DataType::Text, DataType::Integer, DataType::BigInt, DataType::Boolean];

struct Rows<'a> {
    rows: &'a [Vec<Value>],
    at: usize,
}

impl RowSource for Rows<'_> {
    fn next(&mut self) -> Result<Option<Batch>, muster_engine::Error> {
        let rows = &self.rows[self.at..(self.at + 30_000).min(self.rows.len())];
        self.at += rows.len();
        Ok((!rows.is_empty()).then(|| batch_of_values(&TYPES, rows)))
    }

    fn place(&self, _: u64) -> Option<Place> {
        None
    }

    fn progress(&self) -> (Option<u64>, f64) {
        (None, 0.0)
    }
}

fn scattered(row: usize, salt: u64) -> u64 {
    let mixed = (row as u64 ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 20
}

fn value(column: usize, number: u64) -> Value {
    match column {
        0 => Value::Text(format!("city {number}")),
        1 => Value::Text(format!("store {number}")),
        2 => Value::Integer(number as i64 - 1_000),
        _ => Value::Integer((number as i64 - 9_000) * 1_000_000_007),
    }
}

const DISTINCT: [u64; 4] = [6_000, 20_000, 30_000, 20_000];

fn row(row: usize) -> Vec<Value> {
    let mut values: Vec<Value> = (0..4)
        .map(|column| match scattered(row, 10 + column as u64) % 20 {
            0 => Value::Null,
            _ => value(column, scattered(row, column as u64) % DISTINCT[column]),
        })
        .collect();
    values.push(Value::Boolean(scattered(row, 99).is_multiple_of(50)));
    values
}

struct Subject {
    rows: Vec<Vec<Value>>,
    snapshot: Snapshot,
    table: TableId,
    _directory: tempfile::TempDir,
}

fn subject() -> Subject {
    let rows: Vec<Vec<Value>> = (0..ROWS).map(row).collect();
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(&directory.path().join("database"), Mode::ReadWrite).unwrap();
    let specs: Vec<ColumnSpec> = TYPES
        .iter()
        .enumerate()
        .map(|(i, data_type)| ColumnSpec { name: format!("c{i}"), data_type: *data_type, nullable: true })
        .collect();
    let mut source = Rows { rows: &rows, at: 0 };
    database
        .create_and_import(&TableSpec::new("t", &specs, None), &mut source, &Cancel::default(), &mut |_| {})
        .unwrap();
    let snapshot = database.snapshot();
    let table = snapshot.table_named("t").unwrap().id;
    Subject { rows, snapshot, table, _directory: directory }
}

fn id(column: usize) -> ColumnId {
    ColumnId(ColumnId::FIRST.0 + column as u32)
}

impl Subject {
    fn check(&self, what: &str, predicate: &Predicate, holds: impl Fn(&[Value]) -> bool) {
        let expected: RoaringBitmap =
            (0..ROWS as u32).filter(|row| holds(&self.rows[*row as usize])).collect();
        let (scope, cancel) = (Scope::default(), Cancel::default());
        let members = evaluate(&self.snapshot, self.table, predicate, &scope, &cancel, &Members).unwrap().0;
        assert_eq!(members, expected, "{what}");
        let count = evaluate(&self.snapshot, self.table, predicate, &scope, &cancel, &Count).unwrap().0;
        assert_eq!(count, expected.len(), "{what}");
    }
}

#[test]
fn long_lists_are_the_values_in_them() {
    let subject = subject();
    for column in 0..4 {
        for many in [33, 256, 257, 3_000] {
            // Every other value of a stretch, and some that no row has.
            let wanted = |number: u64| number.is_multiple_of(2) && number / 2 < many;
            let values = (0..2 * many).filter(|number| wanted(*number)).chain([1_000_000, 1_000_001]);
            let list = Predicate::any_of(id(column), values.map(|number| value(column, number)));
            let known: std::collections::HashSet<String> =
                (0..2 * many).filter(|n| wanted(*n)).map(|n| format!("{:?}", value(column, n))).collect();
            let within = |row: &[Value]| known.contains(&format!("{:?}", row[column]));
            let what = format!("{many} values of column {column}");
            subject.check(&what, &list, within);
            subject.check(&format!("not {what}"), &list.clone().not(), |row| {
                row[column] != Value::Null && !within(row)
            });
            // Few members before it: each is asked.
            let few = Predicate::IsTrue(id(4)).and(list.clone());
            let flagged = |row: &[Value]| row[4] == Value::Boolean(true);
            subject.check(&format!("few and {what}"), &few, |row| flagged(row) && within(row));
            let not_few = Predicate::IsTrue(id(4)).and(list.clone().not());
            subject.check(&format!("few and not {what}"), &not_few, |row| {
                flagged(row) && row[column] != Value::Null && !within(row)
            });
            let either = Predicate::IsTrue(id(4)).or(list);
            subject.check(&format!("few or {what}"), &either, |row| flagged(row) || within(row));
        }
    }
}

/// Planning once compared each leaf with all before it: a hundred thousand took minutes.
#[test]
fn many_different_terms_are_planned_in_time() {
    let subject = subject();
    let equal =
        |column: usize, number: u64| Predicate::compare(id(column), CompareOp::Eq, value(column, number));
    let terms = (0..100_000).map(|term: u64| equal(term as usize % 4, term / 8));
    let terms: Vec<Predicate> = terms.collect();
    let holds = |row: &[Value]| {
        (0..4).any(|column| {
            (0..12_500).contains(&number_of(column, &row[column])) && row[column] != Value::Null
        })
    };
    let started = Instant::now();
    subject.check("or of terms", &Predicate::Or(terms), holds);
    let pairs =
        |term: u64| equal(2, term).and(Predicate::compare(id(3), CompareOp::Gt, value(3, term % 17_000)));
    let scope = Scope { chunks: Some(0..0), mask: None };
    let pairs = Predicate::Or((0..100_000).map(pairs).collect());
    let count =
        evaluate(&subject.snapshot, subject.table, &pairs, &scope, &Cancel::default(), &Count).unwrap().0;
    assert_eq!(count, 0, "no chunk was asked");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

fn number_of(column: usize, value: &Value) -> i64 {
    match value {
        Value::Text(text) => text.rsplit(' ').next().unwrap().parse().unwrap(),
        Value::Integer(integer) if column == 2 => integer + 1_000,
        Value::Integer(integer) => integer / 1_000_000_007 + 9_000,
        _ => -1,
    }
}
