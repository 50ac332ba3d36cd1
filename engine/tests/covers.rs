//! Ranges that are covered by stored sets and refined member by member, against rows asked one by one.
//!
//! A range is covered where stored sets before it leave some hundreds of members of a chunk. The random questions of
//! `oracle.rs` seldom do exactly that, so here every question does.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::Database;
use muster_engine::batch::{Batch, Place, RowSource, batch_of_values};
use muster_engine::control::Cancel;
use muster_engine::database::Mode;
use muster_engine::exec::{Count, Members, Scope, evaluate};
use muster_engine::predicate::{CompareOp, Predicate};
use muster_engine::schema::{ColumnSpec, DataType, TableSpec};
use muster_engine::value::Value;
use roaring::RoaringBitmap;

/// A full chunk, one that misses a few rows of one, and one whose values are too few for rank bitmaps.
const ROWS: [usize; 3] = [65_536, 65_536 - 3, 65_536 + 4_000];
const TYPES: [DataType; 6] = [
    DataType::Boolean,
    DataType::Boolean,
    DataType::Integer,
    DataType::BigInt,
    DataType::SmallInt,
    DataType::Boolean,
];

/// Whether a clause is TRUE of a value.
type Test = Box<dyn Fn(&Value) -> bool>;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

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

fn row(random: &mut Random) -> Vec<Value> {
    // A tenth of one column is NULL, and one value is a third of another.
    let some = if random.chance(10) { Value::Null } else { Value::Integer(random.below(50_000) as i64) };
    let wide = Value::Integer((random.below(1 << 30) as i64 - (1 << 29)) * 1_000_003);
    let skewed = if random.chance(33) { 7 } else { random.below(2_000) as i64 - 1_000 };
    let known = if random.chance(5) { Value::Null } else { Value::Boolean(random.chance(50)) };
    vec![
        Value::Boolean(random.chance(4)),
        Value::Boolean(random.chance(30)),
        some,
        wide,
        Value::Integer(skewed),
        known,
    ]
}

/// A random clause on a column, and whether it is TRUE of a value.
fn clause(
    column: usize,
    id: muster_engine::ColumnId,
    rows: &[Vec<Value>],
    random: &mut Random,
) -> (Predicate, Test) {
    let literal = loop {
        if let Value::Integer(integer) = rows[random.below(rows.len() as u64) as usize][column] {
            break integer;
        }
    };
    let other = literal.saturating_add(random.below(1 << 40) as i64 >> random.below(38));
    let compare = |op, literal| Predicate::compare(id, op, Value::Integer(literal));
    let number = |value: &Value| match value {
        Value::Integer(integer) => Some(*integer),
        _ => None,
    };
    match random.below(4) {
        0 => (compare(CompareOp::Ge, literal), Box::new(move |v| number(v).is_some_and(|v| v >= literal))),
        1 => (compare(CompareOp::Lt, literal), Box::new(move |v| number(v).is_some_and(|v| v < literal))),
        2 => (
            compare(CompareOp::Ge, literal).and(compare(CompareOp::Le, other)),
            Box::new(move |v| number(v).is_some_and(|v| (literal..=other).contains(&v))),
        ),
        _ => {
            (compare(CompareOp::Le, literal).not(), Box::new(move |v| number(v).is_some_and(|v| v > literal)))
        }
    }
}

#[test]
fn covered_ranges_leave_exactly_their_members() {
    for (seed, count) in ROWS.into_iter().enumerate() {
        let mut random = Random(seed as u64 + 1);
        let rows: Vec<Vec<Value>> = (0..count).map(|_| row(&mut random)).collect();
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
        let specs: Vec<ColumnSpec> = (TYPES.iter().enumerate())
            .map(|(at, data_type)| ColumnSpec {
                name: format!("c{at}"),
                data_type: *data_type,
                nullable: true,
            })
            .collect();
        let mut source = Rows { rows: &rows, at: 0 };
        database
            .create_and_import(
                &TableSpec::new("t", &specs, None),
                &mut source,
                &Cancel::default(),
                &mut |_| {},
            )
            .unwrap();
        let snapshot = database.snapshot();
        let table = snapshot.table_named("t").unwrap();
        let id = |column: usize| table.columns[column].id;
        for number in 0..150 {
            // 4 % and 30 % and half of a chunk: from 2,600 down to some hundred members before the ranges.
            let mut terms = vec![Predicate::IsTrue(id(0))];
            let mut holds: Vec<(usize, Test)> = vec![(0, Box::new(|v| *v == Value::Boolean(true)))];
            if random.chance(70) {
                terms.push(Predicate::IsTrue(id(1)));
                holds.push((1, Box::new(|v| *v == Value::Boolean(true))));
            }
            if random.chance(50) {
                terms.push(Predicate::IsTrue(id(5)).not());
                holds.push((5, Box::new(|v| *v == Value::Boolean(false))));
            }
            for column in 2..5 {
                if random.chance(75) {
                    let (predicate, test) = clause(column, id(column), &rows, &mut random);
                    terms.push(predicate);
                    holds.push((column, test));
                }
            }
            let predicate = Predicate::And(terms);
            let expected: RoaringBitmap = (0..count as u32)
                .filter(|row| holds.iter().all(|(column, test)| test(&rows[*row as usize][*column])))
                .collect();
            let (scope, cancel) = (Scope::default(), Cancel::default());
            let members = evaluate(&snapshot, table.id, &predicate, &scope, &cancel, &Members).unwrap().0;
            assert_eq!(members, expected, "seed {seed}, question {number}: {predicate:?}");
            let counted = evaluate(&snapshot, table.id, &predicate, &scope, &cancel, &Count).unwrap().0;
            assert_eq!(counted, expected.len(), "seed {seed}, question {number}: {predicate:?}");
        }
    }
}
