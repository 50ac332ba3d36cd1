//! DDL against a model: random tables, columns, views and audiences come, change and go, and after each change the
//! database holds what the model holds, opened anew now and then.
//!
//! A failure prints the seed and the step that replay it.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "define/model.rs"]
mod model;
#[path = "define/random.rs"]
mod random;
#[path = "define/rows.rs"]
mod rows;

use model::{Model, Named, Table};
use muster_engine::catalog::Definition;
use muster_engine::control::Cancel;
use muster_engine::database::{AudienceSpec, Dependents, Mode, ViewSpec};
use muster_engine::eval;
use muster_engine::exec::{
    Aggregate, Count, Groups, Members, OrderBy, Profile, Scope, Top, evaluate, project,
};
use muster_engine::schema::{ColumnId, ColumnSpec, DataType, TableSpec};
use muster_engine::{Database, Predicate, Snapshot, Value};
use muster_storage::disk::sim::SimDisk;
use muster_storage::manifest::Lsn;
use muster_storage::store::Store;
use random::Random;
use roaring::RoaringBitmap;
use rows::Rows;
use std::sync::Arc;

fn open(disk: &SimDisk) -> Database {
    Database::open_on(Arc::new(disk.clone()), Mode::ReadWrite).unwrap()
}

fn verify(database: &Database) {
    database.verify(&Cancel::default(), &mut |_, _, _| {}).unwrap();
}

/// The database has what the model has, and every audience its members.
fn compare(database: &Database, model: &Model) {
    let snapshot = database.snapshot();
    let (scope, cancel) = (Scope::default(), Cancel::default());
    assert_eq!(
        snapshot.tables().iter().map(|table| table.name.clone()).collect::<Vec<_>>(),
        model.names(|named| matches!(named, Named::Table(_)))
    );
    assert_eq!(
        snapshot.views().iter().map(|view| view.name.clone()).collect::<Vec<_>>(),
        model.names(|named| matches!(named, Named::View(_)))
    );
    assert_eq!(
        snapshot.audiences().iter().map(|audience| audience.name.clone()).collect::<Vec<_>>(),
        model.names(|named| matches!(named, Named::Audience(_)))
    );
    for table in model.tables() {
        let schema = snapshot.table_named(&table.name).unwrap();
        let columns: Vec<_> = schema.columns.iter().map(|c| (c.id, c.name.clone(), c.data_type)).collect();
        let expected: Vec<_> = table.columns.iter().map(|c| (c.id, c.name.clone(), c.data_type)).collect();
        assert_eq!(columns, expected, "columns of {}", table.name);
        let ordinals: Vec<u32> = (0..table.rows as u32).collect();
        let ids: Vec<ColumnId> = schema.columns.iter().map(|column| column.id).collect();
        for (row, values) in project(&snapshot, schema.id, &ordinals, &ids).unwrap().iter().enumerate() {
            let expected: Vec<Value> =
                table.columns.iter().map(|column| column.values[row].clone()).collect();
            assert_eq!(*values, expected, "row {row} of {}", table.name);
        }
    }
    for table in model.tables() {
        compare_sinks(&snapshot, table);
    }
    for audience in model.audiences() {
        let record = snapshot.audience_named(&audience.name).unwrap();
        let inside = Predicate::Audience(record.id);
        let expected = model.members(audience);
        let rows = model.table(audience.table).rows as u64;
        let members = evaluate(&snapshot, record.table, &inside, &scope, &cancel, &Members).unwrap().0;
        assert_eq!(members, expected, "members of {}", audience.name);
        let outside = evaluate(&snapshot, record.table, &inside.clone().not(), &scope, &cancel, &Count);
        assert_eq!(outside.unwrap().0, rows - expected.len(), "outside {}", audience.name);
        // What the naive evaluator is given means the same.
        let expanded = snapshot.expand(record.table, &inside.not()).unwrap();
        let outside = evaluate(&snapshot, record.table, &expanded, &scope, &cancel, &Count);
        assert_eq!(outside.unwrap().0, rows - expected.len(), "outside {}, expanded", audience.name);
    }
}

/// Groups, orders and aggregates by each column, whether or not all rows have it.
fn compare_sinks(snapshot: &Snapshot, table: &Table) {
    let (scope, cancel, everyone) = (Scope::default(), Cancel::default(), Predicate::everyone());
    for column in table.columns.iter().filter(|column| column.data_type != DataType::TextArray) {
        let context = format!("column {} of {}", column.name, table.name);
        let groups = Groups {
            keys: vec![column.id],
            aggregates: vec![Aggregate::CountAll, Aggregate::Count(column.id)],
        };
        let groups = evaluate(snapshot, table.id, &everyone, &scope, &cancel, &groups).unwrap().0;
        let mut found: Vec<String> =
            groups.iter().map(|group| format!("{:?} {:?}", group.key, group.values)).collect();
        let mut expected: Vec<String> = Vec::new();
        for value in &column.values {
            let count = column.values.iter().filter(|other| *other == value).count() as i64;
            let present = if *value == Value::Null { 0 } else { count };
            let values = [Value::Integer(count), Value::Integer(present)];
            expected.push(format!("{:?} {values:?}", std::slice::from_ref(value)));
        }
        expected.sort();
        expected.dedup();
        found.sort();
        assert_eq!(found, expected, "groups by {context}");
        let profile = Profile { columns: vec![column.id] };
        let profile = evaluate(snapshot, table.id, &everyone, &scope, &cancel, &profile).unwrap().0;
        for (value, count) in &profile[0] {
            let expected = column.values.iter().filter(|other| *other == value).count() as u64;
            assert_eq!(*count, expected, "profile of {context}: {value:?}");
        }
        assert_eq!(profile[0].len(), expected.len(), "profile of {context}");
        for (descending, nulls_first) in [(false, false), (true, true), (false, true), (true, false)] {
            let order = vec![OrderBy { column: column.id, descending, nulls_first }];
            for limit in [1, 7, usize::MAX] {
                let top = Top { order: order.clone(), limit };
                let top = evaluate(snapshot, table.id, &everyone, &scope, &cancel, &top).unwrap().0;
                let mut expected: Vec<u32> = (0..table.rows as u32).collect();
                expected.sort_by(|a, b| {
                    let (a, b) = (&column.values[*a as usize], &column.values[*b as usize]);
                    match eval::compare(a, b).unwrap() {
                        Some(order) if descending => order.reverse(),
                        Some(order) => order,
                        None => {
                            let order = (*a == Value::Null).cmp(&(*b == Value::Null));
                            if nulls_first { order.reverse() } else { order }
                        }
                    }
                });
                expected.truncate(limit);
                assert_eq!(top, expected, "order by {context}, {descending} {nulls_first}");
            }
        }
    }
}

/// A database of the version before views and audiences: it opens, answers, and goes on from there.
#[test]
fn a_database_with_a_catalog_of_version_1_goes_on() {
    let disk = SimDisk::new(3);
    let database = open(&disk);
    let table = import(&database, 70_000);
    drop(database);
    // What version 1 wrote of the same table: version, id of the next table, tables without their ordinals, and without what they
    // refer to and belong to, which stands before the number of rows.
    let store = Store::open(Arc::new(disk.clone()), Mode::ReadWrite).unwrap();
    let manifest = store.manifest();
    let tables = &manifest.catalog[14..manifest.catalog.len() - 40];
    let rows = tables.windows(8).rposition(|bytes| bytes == 70_000u64.to_le_bytes()).unwrap();
    let (schema, rows) = (&tables[..rows - 17], &tables[rows..]);
    let old = [&1u16.to_le_bytes()[..], &manifest.catalog[2..6], schema, rows].concat();
    let next = Lsn(manifest.lsn.0 + 1);
    store.commit(next, next, old, manifest.parts.clone()).unwrap();
    drop(store);
    let database = open(&disk);
    verify(&database);
    let snapshot = database.snapshot();
    assert_eq!((snapshot.rows(table), snapshot.audiences().len()), (70_000, 0));
    let column = ColumnSpec { name: "tier".into(), data_type: DataType::Text, nullable: true };
    let tier = database.add_column(table, &column, false).unwrap();
    assert_eq!(tier, ColumnId(2));
    let spec = AudienceSpec { name: "a".into(), table, source: String::new(), created_micros: 0 };
    let odd = (1..70_000).step_by(2).collect();
    let id = database.create_static_audience(spec, &odd, false, &Cancel::default()).unwrap();
    drop((snapshot, database));
    let database = open(&disk);
    let (scope, cancel) = (Scope::default(), Cancel::default());
    let inside = Predicate::Audience(id).and(Predicate::IsNull(tier));
    let members = evaluate(&database.snapshot(), table, &inside, &scope, &cancel, &Members).unwrap().0;
    assert_eq!(members, odd);
}

#[test]
fn random_changes_agree_with_the_model() {
    for seed in 0..12 {
        let disk = SimDisk::new(seed);
        let (mut database, mut model) = (open(&disk), Model::default());
        let mut random = Random::seeded(seed * 7919 + 1);
        let mut refused = 0;
        for step in 0..70 {
            let lsn = database.snapshot().lsn();
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let changed = model.step(&database, &mut random);
                compare(&database, &model);
                changed
            }));
            let changed = outcome.unwrap_or_else(|_| panic!("seed {seed}, step {step}"));
            let expected = lsn + u64::from(changed);
            assert_eq!(database.snapshot().lsn(), expected, "seed {seed}, step {step}: one change, one LSN");
            refused += usize::from(!changed);
            if random.below(9) == 0 {
                verify(&database);
                drop(database);
                database = open(&disk);
                compare(&database, &model);
            }
        }
        verify(&database);
        assert!((2..60).contains(&refused), "seed {seed}: {refused} of 70 changes were refused");
    }
}

/// A table of one column, as long as it takes.
fn import(database: &Database, rows: i64) -> muster_engine::TableId {
    let columns = [ColumnSpec { name: "id".into(), data_type: DataType::BigInt, nullable: false }];
    let mut source = Rows::of(vec![DataType::BigInt], rows, |row| vec![Value::Integer(row)]);
    let cancel = Cancel::default();
    database
        .create_and_import(&TableSpec::new("m", &columns, Some(0)), &mut source, &cancel, &mut |_| {})
        .unwrap();
    database.snapshot().table_named("m").unwrap().id
}

/// Chunks and ranges: members at their edges, ranges without any, columns that no range has.
#[test]
fn static_audiences_and_new_columns_over_several_ranges() {
    const RANGE: u32 = 64 << 16;
    let disk = SimDisk::new(1);
    let database = open(&disk);
    let rows = i64::from(2 * RANGE) + 70_000;
    let table = import(&database, rows);
    let column = ColumnSpec { name: "tier".into(), data_type: DataType::Text, nullable: true };
    let tier = database.add_column(table, &column, false).unwrap();
    let (scope, cancel) = (Scope::default(), Cancel::default());
    let parts = |database: &Database| database.inspect().unwrap().parts;
    let before = parts(&database);
    let last = rows as u32 - 1;
    let sets: Vec<(usize, RoaringBitmap)> = vec![
        (0, RoaringBitmap::new()),
        (1, RoaringBitmap::from([0])),
        (2, RoaringBitmap::from([RANGE - 1, RANGE, RANGE + 65_535, RANGE + 65_536])),
        (1, RoaringBitmap::from([2 * RANGE, last])),
        (3, (0..=last).collect()),
    ];
    for (ranges, members) in sets {
        let spec = AudienceSpec { name: "a".into(), table, source: String::new(), created_micros: 0 };
        let id = database.create_static_audience(spec, &members, true, &cancel).unwrap();
        assert_eq!(parts(&database), before + ranges, "parts of {} members", members.len());
        verify(&database);
        let snapshot = open(&disk.restart()).snapshot();
        for snapshot in [&snapshot, &database.snapshot()] {
            let ask = |predicate: &Predicate| {
                evaluate(snapshot, table, predicate, &scope, &cancel, &Members).unwrap().0
            };
            let inside = Predicate::Audience(id);
            assert_eq!(ask(&inside), members);
            let outside: RoaringBitmap = RoaringBitmap::from_iter(0..=last) - &members;
            assert_eq!(ask(&inside.clone().not()), outside);
            assert_eq!(ask(&inside.and(Predicate::IsNull(tier))), members);
        }
    }
    let snapshot = database.snapshot();
    let count = |predicate: &Predicate| {
        evaluate(&snapshot, table, predicate, &scope, &cancel, &Count).unwrap().0 as i64
    };
    assert_eq!(count(&Predicate::IsNull(tier)), rows);
    assert_eq!(count(&Predicate::IsNull(tier).not()), 0);
    assert_eq!(count(&Predicate::any_of(tier, [Value::Text("x".into())]).not()), 0);
    let inspection = database.inspect().unwrap();
    assert_eq!(inspection.tables[0].columns[1].nulls, rows as u64);
    assert_eq!(inspection.tables[0].audiences[0].cardinality, Some(rows as u64));
    database.drop_relations(&[snapshot.named("a").unwrap()], Dependents::Refuse).unwrap();
    assert_eq!(parts(&database), before);
}

/// Two sessions: what one resolved over a view that the other replaced or dropped meanwhile is refused.
#[test]
fn a_definition_over_a_view_that_went_meanwhile_is_refused() {
    let database = open(&SimDisk::new(4));
    let table = import(&database, 10);
    let view = |predicate: Predicate, replace| {
        let definition = Definition::new(predicate, []).unwrap();
        let columns = vec![(ColumnId(1), "id".into())];
        database.create_view(
            ViewSpec { name: "v".into(), table, columns, definition, source: String::new() },
            replace,
        )
    };
    let over = |view| {
        let spec = AudienceSpec { name: "a".into(), table, source: String::new(), created_micros: 0 };
        let definition = Definition::new(Predicate::everyone(), [view]).unwrap();
        database.create_audience(spec, definition, true)
    };
    let old = view(Predicate::everyone(), false).unwrap();
    assert_eq!(view(Predicate::everyone(), true).unwrap(), old);
    let new = view(Predicate::everyone().not(), true).unwrap();
    assert_ne!(new, old);
    let error = over(old).unwrap_err().to_string();
    assert!(error.contains("audience \"a\" needs a missing view"), "{error}");
    assert!(database.snapshot().audiences().is_empty());
    over(new).unwrap();
    view(Predicate::everyone(), true).unwrap_err();
    database.drop_relations(&[database.snapshot().named("v").unwrap()], Dependents::Drop).unwrap();
    assert!(database.snapshot().audiences().is_empty());
    over(new).unwrap_err();
}

/// A reader keeps what it began with, whatever is dropped under it.
#[test]
fn a_snapshot_outlives_what_is_dropped() {
    let disk = SimDisk::new(2);
    let database = open(&disk);
    let table = import(&database, 100_000);
    let snapshot = database.snapshot();
    database.drop_relations(&[snapshot.named("m").unwrap()], Dependents::Refuse).unwrap();
    assert_eq!(database.inspect().unwrap().parts, 0);
    assert!(database.snapshot().table_named("m").is_none());
    let (scope, cancel) = (Scope::default(), Cancel::default());
    let everyone = evaluate(&snapshot, table, &Predicate::everyone(), &scope, &cancel, &Count);
    assert_eq!(everyone.unwrap().0, 100_000);
    // Ids are not used again.
    assert!(import(&database, 10) > table);
}
