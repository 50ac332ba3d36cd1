//! Members of a chunk within masks.

use super::*;
use crate::batch::{Batch, Place, RowSource, batch_of_values};
use crate::control::Cancel;
use crate::database::Mode;
use crate::predicate::{CompareOp, Predicate};
use crate::schema::{ColumnId, ColumnSpec, DataType, TableSpec};
use crate::value::Value;
use crate::{Database, Error};

const ROWS: i64 = 60_000;

/// A key in no order and a truth of each row, one batch.
struct Rows(bool);

fn key(row: i64) -> i64 {
    row * 7_919 % ROWS * 1_000
}

impl RowSource for Rows {
    fn next(&mut self) -> std::result::Result<Option<Batch>, Error> {
        let row = |row| vec![Value::Integer(key(row)), Value::Boolean(row % 3 == 0)];
        let rows: Vec<Vec<Value>> = (0..ROWS).map(row).collect();
        let first = std::mem::replace(&mut self.0, false);
        Ok(first.then(|| batch_of_values(&[DataType::BigInt, DataType::Boolean], &rows)))
    }

    fn place(&self, _: u64) -> Option<Place> {
        None
    }

    fn progress(&self) -> (Option<u64>, f64) {
        (None, 0.0)
    }
}

/// Keys have no range index: they are compared, and only in the words of a mask. What a mask leaves out never matters, and the next
/// question is asked of all again.
#[test]
fn members_in_a_mask_are_the_members_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
    let spec = |name: &str, data_type| ColumnSpec { name: name.into(), data_type, nullable: false };
    let specs = [spec("id", DataType::BigInt), spec("truth", DataType::Boolean)];
    let spec = TableSpec::new("t", &specs, Some(0));
    database.create_and_import(&spec, &mut Rows(true), &Cancel::default(), &mut |_| {}).unwrap();
    let snapshot = database.snapshot();
    let table = snapshot.table_named("t").unwrap();
    let (id, truth): (ColumnId, ColumnId) = (table.columns[0].id, table.columns[1].id);
    let below = |number: i64| Predicate::compare(id, CompareOp::Lt, Value::Integer(number * 1_000));
    let some = |low, high| below(high).and(below(low).not());
    let predicates = [
        below(20_000),
        below(20_000).not(),
        Predicate::Or(vec![some(10, 500), some(7_000, 30_000), Predicate::IsTrue(truth)]),
        Predicate::Or(vec![some(10, 500), some(7_000, 30_000)]).not(),
        Predicate::IsTrue(truth).and(below(59_000)).and(some(3, 4_000).not()),
        Predicate::IsTrue(truth).not().and(Predicate::Or(vec![below(9), some(50_000, 70_000)])),
    ];
    let words = |answer: &Answer| {
        let mut words = [0; BITSET_WORDS];
        let mut buffer = Vec::new();
        kernel::set_members(&mut words, answer.found(ROWS as usize).rows(&mut buffer), true);
        words
    };
    for predicate in &predicates {
        let plan = Plan::in_snapshot(&snapshot, table.id, predicate, &Cancel::default(), 0).unwrap();
        let mut worker = Worker::new(&plan);
        let mut members = |mask: Option<&Words>| {
            worker.begin(0..1);
            let (found, count) = (words(&worker.members(0, mask).unwrap()), worker.count(0, mask).unwrap());
            assert_eq!(kernel::cardinality(&found), count, "{predicate:?}");
            found
        };
        let all = members(None);
        for rows in [0..0, 0..1, 0..64, 63..65, 700..9_000, 59_990..60_000, 0..60_000] {
            let mut mask = [0; BITSET_WORDS];
            rows.clone().for_each(|row: usize| mask[row / 64] |= 1 << (row % 64));
            let expected: Vec<u64> = all.iter().zip(&mask).map(|(all, mask)| all & mask).collect();
            assert!(members(Some(&mask))[..] == expected[..], "{rows:?} {predicate:?}");
            assert!(members(None) == all, "after {rows:?} {predicate:?}");
        }
    }
}
