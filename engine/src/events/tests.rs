//! What is known of strays from another state never differs from what is found anew: whatever was written in between, in which
//! order states are asked, and whether what was asked in between came to be at all.

use super::Strays;
use crate::batch::{Batch, Place, RowSource, batch_of_values};
use crate::control::Cancel;
use crate::database::{Conflict, Database, Durability, Mode, SnapshotLimits};
use crate::expr::Expr;
use crate::mutation::{Assignment, Delete, Insert, Mutation, OnConflict, Update};
use crate::predicate::{CompareOp, Predicate};
use crate::schema::{ColumnId, ColumnSpec, DataType, TableId, TableLinks, TableSpec};
use crate::value::Value;
use crate::{Error, Snapshot};
use muster_storage::disk::sim::SimDisk;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const MEMBERS: TableId = TableId(1);
const ROWS: TableId = TableId(2);

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<(Option<i64>, Option<i64>)>),
    /// Rows of one number get another owner, or another number.
    Give(i64, Option<i64>),
    Renumber(i64, i64),
    Delete(i64),
    Leave(i64),
    Join(i64),
    /// A transaction that writes, is asked, and is taken back.
    Undone(Option<i64>, i64),
    Checkpoint,
    /// Asks a snapshot that was kept.
    Ask(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let whose = || proptest::option::weighted(0.9, 0i64..9);
    let row = (whose(), proptest::option::weighted(0.9, 0i64..5));
    prop_oneof![
        3 => proptest::collection::vec(row, 1..4).prop_map(Step::Insert),
        2 => (0i64..5, whose()).prop_map(|(number, whose)| Step::Give(number, whose)),
        2 => (0i64..5, 0i64..5).prop_map(|(number, other)| Step::Renumber(number, other)),
        1 => (0i64..5).prop_map(Step::Delete),
        2 => (0i64..9).prop_map(Step::Leave),
        3 => (0i64..9).prop_map(Step::Join),
        2 => (whose(), 0i64..9).prop_map(|(whose, join)| Step::Undone(whose, join)),
        1 => Just(Step::Checkpoint),
        4 => (0usize..99).prop_map(Step::Ask),
    ]
}

struct Rows(Option<Batch>);

impl RowSource for Rows {
    fn next(&mut self) -> Result<Option<Batch>, Error> {
        Ok(self.0.take())
    }

    fn place(&self, _: u64) -> Option<Place> {
        None
    }

    fn progress(&self) -> (Option<u64>, f64) {
        (None, 0.0)
    }
}

fn value(number: Option<i64>) -> Value {
    number.map_or(Value::Null, Value::Integer)
}

fn is(column: u32, number: i64) -> Predicate {
    Predicate::compare(ColumnId(column), CompareOp::Eq, Value::Integer(number))
}

fn insert(table: TableId, rows: Vec<Vec<Value>>) -> Mutation {
    let columns = (1..=rows[0].len() as u32).map(ColumnId).collect();
    Mutation::Insert(Insert { table, columns, rows, conflict: OnConflict::Nothing })
}

fn set(column: u32, to: Option<i64>, number: i64) -> Mutation {
    let assignments = vec![Assignment { column: ColumnId(column), value: Expr::value(value(to)) }];
    Mutation::Update(Update { table: ROWS, predicate: is(3, number), assignments })
}

fn prepared(text: bool, imported: &[(Option<i64>, Option<i64>)]) -> Arc<Database> {
    let database = Arc::new(Database::open_on(Arc::new(SimDisk::new(1)), Mode::ReadWrite).unwrap());
    let column = |name: &str, data_type, nullable| ColumnSpec { name: name.into(), data_type, nullable };
    let key = if text { DataType::Text } else { DataType::BigInt };
    database.set_snapshot_limits(SnapshotLimits { age: Duration::MAX, bytes: Some(u64::MAX) });
    database.create_table(&TableSpec::new("members", &[column("id", key, false)], Some(0))).unwrap();
    let links = TableLinks {
        references: vec![(0, MEMBERS)],
        owner: Some((0, Some(1))),
        sums: vec![2],
        cluster: None,
    };
    let columns = [
        column("whose", key, true),
        column("at", DataType::Timestamp, true),
        column("number", DataType::BigInt, true),
    ];
    database.create_table(&TableSpec { links, ..TableSpec::new("rows", &columns, None) }).unwrap();
    write(&database, &insert(MEMBERS, (0..5).map(|id| vec![key_of(text, Some(id))]).collect()));
    let row = |(at, (whose, number)): (usize, &(Option<i64>, Option<i64>))| {
        let time = Value::Timestamp(at as i64);
        vec![key_of(text, *whose), time, value(*number)]
    };
    let rows: Vec<Vec<Value>> = imported.iter().enumerate().map(row).collect();
    if !rows.is_empty() {
        let types = [key, DataType::Timestamp, DataType::BigInt];
        let mut source = Rows(Some(batch_of_values(&types, &rows)));
        let ids = [ColumnId(1), ColumnId(2), ColumnId(3)];
        database.import(ROWS, &ids, &mut source, Conflict::Refuse, &Cancel::default(), &mut |_| {}).unwrap();
    }
    database
}

fn key_of(text: bool, id: Option<i64>) -> Value {
    match id {
        Some(id) if text => Value::Text(format!("member {id}")),
        id => value(id),
    }
}

fn write(database: &Database, mutation: &Mutation) {
    database.write(mutation, 0, Durability::Synced, &Cancel::default()).unwrap();
}

/// Asks a state for its strays and what is kept, and finds both anew.
fn check(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    let (rows, owners) = (snapshot.table(ROWS).unwrap(), snapshot.table(MEMBERS).unwrap());
    let owner = rows.schema().owner.unwrap();
    let (known, anew) = (snapshot.strays(ROWS).unwrap(), Strays::find(rows, &owner, owners, None).unwrap());
    prop_assert_eq!(&known.owned, &anew.owned);
    prop_assert_eq!(&known.unsettled, &anew.unsettled);
    prop_assert_eq!(&known.clustered, &anew.clustered);
    for chunk in 0..rows.chunks() {
        prop_assert_eq!(known.excluded(chunk), anew.excluded(chunk));
    }
    let kept = snapshot.kept(ROWS).unwrap().unwrap();
    let kept_anew = anew.kept(rows, owners).unwrap().unwrap();
    for summary in &rows.schema().summaries {
        let read = |table: &crate::table::TableState| {
            let reader = table.reader(summary.column).unwrap();
            let all = 0..owners.extent().ordinals as u32;
            all.map(|one| crate::exec::code_at(&reader, one).unwrap()).collect::<Vec<_>>()
        };
        prop_assert_eq!(read(kept), read(&kept_anew), "{:?}", summary);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_known_is_what_is_found_anew(
        text in any::<bool>(),
        imported in proptest::collection::vec((proptest::option::weighted(0.9, 0i64..7), proptest::option::weighted(0.9, 0i64..5)), 0..30),
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let database = prepared(text, &imported);
        let mut kept = vec![database.snapshot()];
        for step in &steps {
            match step {
                Step::Insert(rows) => {
                    let row = |(whose, number): &(Option<i64>, Option<i64>)| {
                        let time = number.map_or(Value::Null, |number| Value::Timestamp(100 + number));
                        vec![key_of(text, *whose), time, value(*number)]
                    };
                    write(&database, &insert(ROWS, rows.iter().map(row).collect()));
                }
                Step::Give(number, whose) => {
                    let assignments = vec![Assignment { column: ColumnId(1), value: Expr::value(key_of(text, *whose)) }];
                    write(&database, &Mutation::Update(Update { table: ROWS, predicate: is(3, *number), assignments }));
                }
                Step::Renumber(number, other) => write(&database, &set(3, Some(*other), *number)),
                Step::Delete(number) => {
                    write(&database, &Mutation::Delete(Delete { table: ROWS, predicate: is(3, *number) }));
                }
                Step::Leave(id) => {
                    let predicate = Predicate::compare(ColumnId(1), CompareOp::Eq, key_of(text, Some(*id)));
                    write(&database, &Mutation::Delete(Delete { table: MEMBERS, predicate }));
                }
                Step::Join(id) => write(&database, &insert(MEMBERS, vec![vec![key_of(text, Some(*id))]])),
                Step::Undone(whose, join) => {
                    let mut transaction = database.begin(&Cancel::default()).unwrap();
                    let row = vec![key_of(text, *whose), Value::Null, value(Some(1))];
                    transaction.write(&insert(MEMBERS, vec![vec![key_of(text, Some(*join))]]), 0, &Cancel::default()).unwrap();
                    transaction.write(&insert(ROWS, vec![row]), 0, &Cancel::default()).unwrap();
                    check(&transaction.snapshot())?;
                    transaction.rollback();
                }
                Step::Checkpoint => {
                    database.checkpoint(&Cancel::default()).unwrap();
                }
                Step::Ask(which) => check(&kept[which % kept.len()])?,
            }
            kept.push(database.snapshot());
            if kept.len() % 2 == 0 {
                check(&database.snapshot())?;
            }
        }
        check(&database.snapshot())?;
    }
}
