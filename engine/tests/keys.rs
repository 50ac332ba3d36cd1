//! Keys: duplicates refused with their place, NULLs and long texts too, look-ups of every kind of key; and what else an
//! import or a question refuses.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::batch::{Batch, Place, RowSource, batch_of_values};
use muster_engine::control::Cancel;
use muster_engine::database::Mode;
use muster_engine::exec::{Aggregate, Count, Groups, Members, OrderBy, Scope, Top, evaluate, project};
use muster_engine::predicate::{CompareOp, Predicate};
use muster_engine::schema::{ColumnId, ColumnSpec, DataType, KEY_BYTES_MAX, TableSpec};
use muster_engine::value::Value;
use muster_engine::{Database, Error, Snapshot, TableId};

const KEY: ColumnId = ColumnId::FIRST;

/// Keys with their ordinal beside them, in batches of 40,001 rows.
struct Keys<'a> {
    data_type: DataType,
    rows: u32,
    key: &'a (dyn Fn(u32) -> Value + Sync),
    at: u32,
    /// Fails or cancels before this row.
    stop: Option<(u32, Stop)>,
}

enum Stop {
    Fail,
    Cancel(Cancel),
}

impl RowSource for Keys<'_> {
    fn next(&mut self) -> Result<Option<Batch>, Error> {
        if let Some((row, stop)) = &self.stop
            && self.at >= *row
        {
            match stop {
                Stop::Fail => return Err(Error::Input { file: "f".into(), reason: "torn".into() }),
                Stop::Cancel(cancel) => cancel.cancel(),
            }
        }
        if self.at == self.rows {
            return Ok(None);
        }
        let rows = self.at..(self.at + 40_001).min(self.rows);
        self.at = rows.end;
        let rows: Vec<Vec<Value>> =
            rows.map(|row| vec![(self.key)(row), Value::Integer(i64::from(row))]).collect();
        Ok(Some(batch_of_values(&[self.data_type, DataType::BigInt], &rows)))
    }

    fn place(&self, row: u64) -> Option<Place> {
        Some(Place { file: "keys.csv".into(), line: row + 2 })
    }

    fn progress(&self) -> (Option<u64>, f64) {
        (None, 0.0)
    }
}

fn specs(data_type: DataType) -> [ColumnSpec; 2] {
    [
        ColumnSpec { name: "id".into(), data_type, nullable: false },
        ColumnSpec { name: "row".into(), data_type: DataType::BigInt, nullable: false },
    ]
}

fn import(
    database: &Database,
    name: &str,
    data_type: DataType,
    rows: u32,
    key: &(dyn Fn(u32) -> Value + Sync),
) -> Result<(), Error> {
    let mut source = Keys { data_type, rows, key, at: 0, stop: None };
    database
        .create_and_import(
            &TableSpec::new(name, &specs(data_type), Some(0)),
            &mut source,
            &Cancel::default(),
            &mut |_| {},
        )
        .map(drop)
}

fn integer(integer: i64) -> Value {
    Value::Integer(integer)
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

fn count(snapshot: &Snapshot, table: TableId, predicate: &Predicate) -> Result<u64, Error> {
    evaluate(snapshot, table, predicate, &Scope::default(), &Cancel::default(), &Count)
        .map(|(count, _)| count)
}

#[test]
fn a_duplicate_key_is_refused_with_its_place() {
    let mixed = |row: u32| u64::from(row).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    // Rows in all, the row that repeats, the row it repeats.
    for (rows, second, first) in [
        (2, 1, 0),
        (1000, 999, 0),
        (65_537, 65_536, 65_535),
        (200_000, 131_072, 3),
        (200_000, 70_000, 69_999),
    ] {
        let twin = |row: u32| if row == second { first } else { row };
        let sequence = |row: u32| integer(i64::from(twin(row)) + 5);
        let hashed = |row: u32| integer(mixed(twin(row)) as i64);
        let name = |row: u32| text(format!("{:x}@example.com", mixed(twin(row))));
        let cases: [(DataType, &(dyn Fn(u32) -> Value + Sync)); 3] =
            [(DataType::BigInt, &sequence), (DataType::BigInt, &hashed), (DataType::Text, &name)];
        for (case, (data_type, key)) in cases.into_iter().enumerate() {
            let directory = tempfile::tempdir().unwrap();
            let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
            match import(&database, "t", data_type, rows, key) {
                Err(Error::Row { place, column, value, reason }) => {
                    let told = format!("case {case}, {rows} rows: {place:?} {column:?} {value:?} {reason}");
                    assert_eq!(place.map(|p| p.line), Some(u64::from(second) + 2), "{told}");
                    assert_eq!(column.as_deref(), Some("id"), "{told}");
                    let key = match key(second) {
                        Value::Integer(integer) => integer.to_string(),
                        Value::Text(text) => text,
                        other => panic!("{other:?}"),
                    };
                    assert_eq!(value, Some(key), "{told}");
                }
                other => panic!("case {case}, {rows} rows: {other:?}"),
            }
            assert!(database.snapshot().table_named("t").is_none());
            drop(database);
            let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
            assert!(database.snapshot().tables().is_empty());
            import(&database, "t", DataType::BigInt, 10, &|row| integer(i64::from(row))).unwrap();
        }
    }
}

#[test]
fn the_first_of_several_duplicates_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
    // Rows 500, 501, … repeat rows 0, 1, …; and one key comes three times.
    for period in [500, 3] {
        match import(&database, "t", DataType::Text, 1000, &|row| text(format!("k{}", row % period))) {
            Err(Error::Row { place: Some(place), .. }) => assert_eq!(place.line, u64::from(period) + 2),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn null_and_overlong_keys_are_refused_with_their_place() {
    let long =
        |row: u32| text(if row == 77 { "é".repeat(KEY_BYTES_MAX / 2) + "x" } else { format!("{row}") });
    let null = |row: u32| if row == 77 { Value::Null } else { integer(i64::from(row) * 3) };
    let null_text = |row: u32| if row == 77 { Value::Null } else { text(format!("{row}")) };
    let cases: [(DataType, &(dyn Fn(u32) -> Value + Sync)); 3] =
        [(DataType::Text, &long), (DataType::BigInt, &null), (DataType::Text, &null_text)];
    for (case, (data_type, key)) in cases.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
        match import(&database, "t", data_type, 1000, key) {
            Err(Error::Row { place: Some(place), column, .. }) => {
                assert_eq!((place.line, column.as_deref()), (79, Some("id")), "case {case}");
            }
            other => panic!("case {case}: {other:?}"),
        }
    }
}

#[test]
fn keys_are_looked_up_and_asked_for() {
    let mixed = |row: u32| u64::from(row).wrapping_mul(0x9E37_79B9_7F4A_7C15) as i64;
    let sequence = |row: u32| integer(i64::from(row) - 100);
    let last_of_all = |row: u32| integer(i64::MAX - 70_000 + 1 + i64::from(row));
    let backwards = |row: u32| integer(-i64::from(row));
    let steps = |row: u32| integer(i64::from(row) * 10);
    let broken = |row: u32| integer(if row == 69_999 { -5 } else { i64::from(row) });
    let hashed = |row: u32| integer(mixed(row));
    let uuid = |row: u32| text(format!("{:016x}-{:016x}", mixed(row), mixed(row + 1)));
    let lengths = |row: u32| {
        text(if row < 257 {
            "x".repeat(row as usize)
        } else {
            format!("ключ {}", "é".repeat(row as usize % 100) + &row.to_string())
        })
    };
    let cases: [(DataType, &(dyn Fn(u32) -> Value + Sync)); 8] = [
        (DataType::BigInt, &sequence),
        (DataType::BigInt, &last_of_all),
        (DataType::BigInt, &backwards),
        (DataType::BigInt, &steps),
        (DataType::BigInt, &broken),
        (DataType::BigInt, &hashed),
        (DataType::Text, &uuid),
        (DataType::Text, &lengths),
    ];
    for (case, (data_type, key)) in cases.into_iter().enumerate() {
        for rows in [0, 1, 2, 257, 70_000_u32] {
            let directory = tempfile::tempdir().unwrap();
            let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
            import(&database, "t", data_type, rows, key)
                .unwrap_or_else(|e| panic!("case {case}, {rows} rows: {e}"));
            drop(database);
            let database = Database::open(directory.path(), Mode::ReadOnly).unwrap();
            let snapshot = database.snapshot();
            let table = snapshot.table_named("t").unwrap().id;
            // All of them in another order, with strangers between.
            let strangers = [i64::MIN, -101, -70_001, i64::MAX - 70_000, 12_345_678_901].map(integer);
            let strange_texts = ["y", "xy", "é", "\0", "0000000000000000-0000000000000000"].map(text);
            let (mut keys, mut expected) = (Vec::new(), Vec::new());
            for k in 0..rows {
                let row = (k.wrapping_mul(40_503)) % rows;
                keys.push(key(row));
                expected.push((0..rows).contains(&row).then_some(row));
                if k % 1000 == 0 {
                    let all = if data_type == DataType::Text { &strange_texts } else { &strangers };
                    keys.push(all[(k / 1000) as usize % all.len()].clone());
                    expected.push((0..rows).find(|row| key(*row) == keys[keys.len() - 1]));
                }
            }
            let found = snapshot.lookup(table, &keys).unwrap();
            assert_eq!(found.len(), expected.len());
            for ((key, found), expected) in keys.iter().zip(&found).zip(&expected) {
                assert_eq!(found, expected, "case {case}, {rows} rows, key {key:?}");
            }
            // Keys of the other kind are nobody's, or refused; never found and never a panic.
            let other = if data_type == DataType::Text { integer(1) } else { text("1") };
            assert!(
                snapshot.lookup(table, std::slice::from_ref(&other)).map_or(true, |found| found == [None]),
                "case {case}, {rows} rows: {other:?} is found"
            );

            for row in (0..rows).step_by(997).chain(rows.checked_sub(1)) {
                let equals = Predicate::compare(KEY, CompareOp::Eq, key(row));
                let scope = Scope::default();
                let members =
                    evaluate(&snapshot, table, &equals, &scope, &Cancel::default(), &Members).unwrap().0;
                assert_eq!(members.iter().collect::<Vec<_>>(), [row], "case {case}, {rows} rows: {equals:?}");
                let shown = project(&snapshot, table, &[row], &[KEY, ColumnId(2)]).unwrap();
                assert_eq!(shown, [vec![key(row), integer(i64::from(row))]], "case {case}, {rows} rows");
            }
            let listed = Predicate::any_of(
                KEY,
                (0..rows)
                    .step_by(3)
                    .map(key)
                    .chain([strangers[0].clone()])
                    .filter(|k| matches!(k, Value::Integer(_)) == (data_type == DataType::BigInt)),
            );
            assert_eq!(
                count(&snapshot, table, &listed).unwrap(),
                u64::from(rows.div_ceil(3)),
                "case {case}, {rows} rows"
            );
            assert_eq!(count(&snapshot, table, &listed.not()).unwrap(), u64::from(rows - rows.div_ceil(3)));
            if rows > 0 {
                let middle = key(rows / 2);
                let expected = (0..rows).filter(|row| match (key(*row), &middle) {
                    (Value::Integer(a), Value::Integer(b)) => a < *b,
                    (Value::Text(a), Value::Text(b)) => a.as_bytes() < b.as_bytes(),
                    _ => false,
                });
                let below = Predicate::compare(KEY, CompareOp::Lt, middle.clone());
                let expected = expected.count() as u64;
                assert_eq!(count(&snapshot, table, &below).unwrap(), expected, "case {case}, {rows} rows");
            }
        }
    }
}

#[test]
fn an_import_that_fails_or_is_cancelled_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
    import(&database, "kept", DataType::BigInt, 100, &|row| integer(i64::from(row))).unwrap();
    let files = || -> Vec<_> {
        let mut names: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    let cancel = Cancel::default();
    for (row, stop) in [
        (0, Stop::Fail),
        (150_000, Stop::Fail),
        (0, Stop::Cancel(cancel.clone())),
        (150_000, Stop::Cancel(cancel.clone())),
    ] {
        let cancelled = matches!(stop, Stop::Cancel(_));
        let mut source = Keys {
            data_type: DataType::BigInt,
            rows: 300_000,
            key: &|row| integer(i64::from(row)),
            at: 0,
            stop: Some((row, stop)),
        };
        let result = database.create_and_import(
            &TableSpec::new("gone", &specs(DataType::BigInt), Some(0)),
            &mut source,
            &cancel,
            &mut |_| {},
        );
        match result {
            Err(Error::Cancelled) if cancelled => {}
            Err(Error::Input { .. }) if !cancelled => {}
            other => panic!("{other:?}"),
        }
        cancel.reset();
        assert!(database.snapshot().table_named("gone").is_none());
        assert_eq!(files(), before, "no file is left behind");
    }
    drop(database);
    let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
    let names: Vec<String> = database.snapshot().tables().iter().map(|table| table.name.clone()).collect();
    assert_eq!(names, ["kept"]);
}

#[test]
fn questions_that_cannot_be_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
    let types = [
        DataType::Boolean,
        DataType::Integer,
        DataType::Decimal { precision: 5, scale: 2 },
        DataType::Double,
        DataType::Text,
        DataType::Date,
        DataType::TimestampTz,
        DataType::TextArray,
    ];
    let values = [
        Value::Boolean(true),
        integer(1),
        Value::Decimal { unscaled: 100, scale: 2 },
        Value::Double(1.0),
        text("1"),
        Value::Date(1),
        Value::TimestampTz(1),
        Value::Tags(vec!["1".into()]),
    ];
    let specs: Vec<ColumnSpec> = (types.iter().enumerate())
        .map(|(i, data_type)| ColumnSpec { name: format!("c{i}"), data_type: *data_type, nullable: true })
        .collect();
    struct Once(Option<Batch>);
    impl RowSource for Once {
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
    let mut source = Once(Some(batch_of_values(&types, &[values.to_vec()])));
    database
        .create_and_import(&TableSpec::new("t", &specs, None), &mut source, &Cancel::default(), &mut |_| {})
        .unwrap();
    let snapshot = database.snapshot();
    let table = snapshot.table_named("t").unwrap().id;
    let column = |i: usize| ColumnId(ColumnId::FIRST.0 + i as u32);

    // Every column with a literal of every kind: the planner refuses what the naive evaluator refuses.
    for (i, (c, literal)) in (0..types.len()).flat_map(|c| values.iter().map(move |v| (c, v))).enumerate() {
        for predicate in [
            Predicate::compare(column(c), CompareOp::Eq, literal.clone()),
            Predicate::compare(column(c), CompareOp::Lt, literal.clone()),
            Predicate::any_of(column(c), [literal.clone()]),
        ] {
            let naive = muster_engine::eval::eval(&predicate, 0, &|id| values[(id.0 - 1) as usize].clone());
            let fast = count(&snapshot, table, &predicate);
            match (naive, fast) {
                (Ok(truth), Ok(count)) => {
                    assert_eq!(count == 1, truth == muster_engine::predicate::Truth::True, "{predicate:?}");
                }
                (Err(_), Err(Error::Invalid(_))) => {}
                (naive, fast) => panic!("question {i}, {predicate:?}: {naive:?} but {fast:?}"),
            }
        }
    }
    for c in (0..types.len()).filter(|c| types[*c] != DataType::Boolean) {
        assert!(count(&snapshot, table, &Predicate::IsTrue(column(c))).is_err(), "column {c}");
    }
    for c in (0..types.len()).filter(|c| types[*c] != DataType::TextArray) {
        assert!(count(&snapshot, table, &Predicate::has_tag(column(c), "1")).is_err(), "column {c}");
        let all = Predicate::HasAll { column: column(c), tags: vec!["1".into()] };
        assert!(count(&snapshot, table, &all).is_err(), "column {c}");
    }
    assert!(count(&snapshot, table, &Predicate::IsNull(column(types.len()))).is_err(), "an unknown column");
    assert!(count(&snapshot, TableId(99), &Predicate::everyone()).is_err(), "an unknown table");
    assert!(project(&snapshot, table, &[0], &[column(types.len())]).is_err());

    // Sinks refuse what their documentation says; whatever they do not, they answer.
    let groups = |keys: Vec<ColumnId>, aggregate: Aggregate| {
        let sink = Groups { keys, aggregates: vec![aggregate] };
        evaluate(&snapshot, table, &Predicate::everyone(), &Scope::default(), &Cancel::default(), &sink)
    };
    for (c, data_type) in types.iter().enumerate() {
        let ordered = !matches!(data_type, DataType::Boolean | DataType::TextArray);
        assert_eq!(
            groups(vec![], Aggregate::Sum(column(c))).is_ok(),
            data_type.is_number(),
            "sum, column {c}"
        );
        assert_eq!(
            groups(vec![], Aggregate::Avg(column(c))).is_ok(),
            data_type.is_number(),
            "avg, column {c}"
        );
        assert_eq!(groups(vec![], Aggregate::Min(column(c))).is_ok(), ordered, "min, column {c}");
        assert_eq!(groups(vec![], Aggregate::Max(column(c))).is_ok(), ordered, "max, column {c}");
        assert!(groups(vec![], Aggregate::Count(column(c))).is_ok(), "count, column {c}");
        if *data_type != DataType::TextArray {
            assert!(groups(vec![column(c)], Aggregate::CountAll).is_ok(), "a group by column {c}");
        }
        let order = vec![OrderBy { column: column(c), descending: true, nulls_first: true }];
        let top = Top { order, limit: 1 };
        let top =
            evaluate(&snapshot, table, &Predicate::everyone(), &Scope::default(), &Cancel::default(), &top);
        assert_eq!(top.is_ok(), *data_type != DataType::TextArray, "an order by column {c}");
    }
    assert!(groups(vec![column(types.len())], Aggregate::CountAll).is_err(), "a group by an unknown column");
    assert!(groups(vec![], Aggregate::Count(column(types.len()))).is_err(), "a count of an unknown column");

    // Ten thousand terms and two hundred levels, on the stack of a thread.
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let equals = |i: i64| Predicate::compare(column(1), CompareOp::Eq, integer(i));
        let wide = Predicate::Or((-5000..5000).map(|i| equals(i * 2 + 1)).collect());
        assert_eq!(count(&snapshot, table, &wide).unwrap(), 1);
        assert_eq!(count(&snapshot, table, &wide.not()).unwrap(), 0);
        let deep = (0..100).fold(equals(1), |inner, i| {
            Predicate::Or(vec![Predicate::And(vec![inner, equals(i).not().or(equals(1))]), equals(-1)])
        });
        assert_eq!(count(&snapshot, table, &deep).unwrap(), 1);
        assert_eq!(count(&snapshot, table, &deep.not()).unwrap(), 0);
    });
    thread.unwrap().join().unwrap();
}
