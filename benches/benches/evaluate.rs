//! Whole questions on a small table, from a bound predicate to its count: a million rows, sixteen chunks, all cores.
//!
//! `cargo bench -p muster-benches --bench evaluate`. For 100 M members and for other databases see `peers/` and
//! `muster bench`.

#![allow(missing_docs, reason = "criterion's macros make items without any")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set up its table stops")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use muster_engine::batch::{Batch, ColumnBatch, ColumnValues, Place, RowSource, Strings};
use muster_engine::control::Cancel;
use muster_engine::database::Mode;
use muster_engine::exec::{Aggregate, Count, Groups, Members, Scope, Sink, evaluate};
use muster_engine::predicate::CompareOp;
use muster_engine::schema::{ColumnSpec, TableSpec};
use muster_engine::{ColumnId, DataType, Database, Error, Predicate, Value};
use std::hint::black_box;

const ROWS: u32 = 1 << 20;
const BATCH: u32 = 65_536;

/// Two booleans, a text of a hundred values, a number: all scattered, none following from another.
struct Rows {
    next: u32,
}

fn scattered(row: u32, salt: u32) -> u32 {
    let mixed = (row ^ salt.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
    (mixed ^ (mixed >> 15)).wrapping_mul(0xc2b2_ae35) >> 8
}

impl RowSource for Rows {
    fn next(&mut self) -> Result<Option<Batch>, Error> {
        let rows = self.next..(self.next + BATCH).min(ROWS);
        self.next = rows.end;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut cities = Strings::default();
        (0..100).for_each(|city| cities.push(&format!("city {city:02}")));
        let values = [
            ColumnValues::Boolean(rows.clone().map(|row| scattered(row, 1).is_multiple_of(2)).collect()),
            ColumnValues::Boolean(rows.clone().map(|row| scattered(row, 2).is_multiple_of(5)).collect()),
            ColumnValues::TextDictionary {
                codes: rows.clone().map(|row| scattered(row, 3) % 100).collect(),
                dictionary: cities,
            },
            ColumnValues::Code(rows.clone().map(|row| i64::from(scattered(row, 4) % 100_000)).collect()),
        ];
        let columns = values.map(|values| ColumnBatch { values, nulls: None });
        Ok(Some(Batch { rows: rows.len(), columns: columns.into() }))
    }

    fn place(&self, _: u64) -> Option<Place> {
        None
    }

    fn progress(&self) -> (Option<u64>, f64) {
        (Some(u64::from(ROWS)), f64::from(self.next) / f64::from(ROWS))
    }
}

fn questions(c: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
    let types = [
        ("vip", DataType::Boolean),
        ("lapsed", DataType::Boolean),
        ("city", DataType::Text),
        ("spend", DataType::Integer),
    ];
    let specs = types.map(|(name, data_type)| ColumnSpec { name: name.into(), data_type, nullable: false });
    database
        .create_and_import(
            &TableSpec::new("t", &specs, None),
            &mut Rows { next: 0 },
            &Cancel::default(),
            &mut |_| {},
        )
        .unwrap();
    let snapshot = database.snapshot();
    let table = snapshot.table_named("t").unwrap();
    let column = |name: &str| -> ColumnId { table.column_named(name).unwrap().id };

    let vip = Predicate::IsTrue(column("vip"));
    let lapsed = Predicate::IsTrue(column("lapsed"));
    let cities = Predicate::any_of(column("city"), (0..5).map(|city| Value::Text(format!("city {city:02}"))));
    let spend = Predicate::compare(column("spend"), CompareOp::Ge, Value::Integer(70_000));
    let mixed = vip.clone().and(lapsed.clone().not()).and(cities.clone()).and(spend.clone());

    let mut group = c.benchmark_group("evaluate");
    group.throughput(Throughput::Elements(u64::from(ROWS)));
    let scope = Scope::default();
    let cancel = Cancel::default();
    fn ask<S: Sink>(
        snapshot: &muster_engine::Snapshot,
        table: muster_engine::TableId,
        predicate: &Predicate,
        (scope, cancel): (&Scope, &Cancel),
        sink: &S,
    ) -> S::Output {
        evaluate(snapshot, table, black_box(predicate), scope, cancel, sink).unwrap().0
    }
    let with = (&scope, &cancel);
    for (name, predicate) in [
        ("tag", vip.clone()),
        ("tag and not tag", vip.clone().and(lapsed.not())),
        ("five cities", cities),
        ("range", spend),
        ("mixed", mixed.clone()),
    ] {
        group.bench_function(format!("count, {name}"), |b| {
            b.iter(|| ask(&snapshot, table.id, &predicate, with, &Count));
        });
    }
    group.bench_function("members, mixed", |b| {
        b.iter(|| ask(&snapshot, table.id, &mixed, with, &Members));
    });
    let by_city = Groups { keys: vec![column("city")], aggregates: vec![Aggregate::CountAll] };
    group.bench_function("group by city, tag", |b| {
        b.iter(|| ask(&snapshot, table.id, &vip, with, &by_city));
    });
    group.finish();
}

criterion_group!(evaluation, questions);
criterion_main!(evaluation);
