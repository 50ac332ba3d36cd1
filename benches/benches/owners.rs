//! All rows of one member: 262,144 members with a dozen rows each over five years, 48 chunks of rows.
//!
//! `cargo bench -p muster-benches --bench owners`; `MUSTER_DB=DIR` asks a database that `muster generate --into DIR` made.
//! Members are asked in a scattered order: the sections are in memory, but rarely in a cache. "one member again" is the same
//! member each time.

#![allow(missing_docs, reason = "criterion's macros make items without any")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set up its tables stops")]

use criterion::{Criterion, criterion_group, criterion_main};
use muster_engine::batch::{Batch, ColumnBatch, ColumnValues, Place, RowSource};
use muster_engine::control::Cancel;
use muster_engine::database::Mode;
use muster_engine::exec::project;
use muster_engine::schema::{ColumnSpec, TableLinks, TableSpec};
use muster_engine::{DataType, Database, Error, Value};
use std::hint::black_box;

const MEMBERS: u32 = 1 << 18;
const ROWS_A_MEMBER: u32 = 12;
const DAYS: i64 = 5 * 365;
const DAY_MICROS: i64 = 86_400_000_000;
const BATCH: u32 = 65_536;

/// Keys, and where there is more than one row a member, times and amounts, in the order of time.
struct Rows {
    next: u32,
    end: u32,
}

impl RowSource for Rows {
    fn next(&mut self) -> Result<Option<Batch>, Error> {
        let rows = self.next..(self.next + BATCH).min(self.end);
        self.next = rows.end;
        if rows.is_empty() {
            return Ok(None);
        }
        let spread = |row: u32| i64::from(row.wrapping_mul(0x9e37_79b1) % MEMBERS);
        let mut values = vec![ColumnValues::Code(match self.end {
            MEMBERS => rows.clone().map(i64::from).collect(),
            _ => rows.clone().map(spread).collect(),
        })];
        if self.end > MEMBERS {
            let time = |row| i64::from(row) * DAYS / i64::from(self.end) * DAY_MICROS + spread(row);
            values.push(ColumnValues::Code(rows.clone().map(time).collect()));
            values.push(ColumnValues::Code(rows.clone().map(|row| i64::from(row % 97)).collect()));
        }
        let columns = values.into_iter().map(|values| ColumnBatch { values, nulls: None });
        Ok(Some(Batch { rows: rows.len(), columns: columns.collect() }))
    }

    fn place(&self, _: u64) -> Option<Place> {
        None
    }

    fn progress(&self) -> (Option<u64>, f64) {
        (Some(u64::from(self.end)), f64::from(self.next) / f64::from(self.end))
    }
}

/// Makes the tables.
fn fill(database: &Database) {
    let column = |name: &str, data_type| ColumnSpec { name: name.into(), data_type, nullable: false };
    let import = |spec: &TableSpec<'_>, end| {
        let rows = &mut Rows { next: 0, end };
        database.create_and_import(spec, rows, &Cancel::default(), &mut |_| {}).unwrap();
    };
    import(&TableSpec::new("members", &[column("id", DataType::BigInt)], Some(0)), MEMBERS);
    let members = database.snapshot().table_named("members").unwrap().id;
    let columns = [
        column("member_id", DataType::BigInt),
        column("ordered_at", DataType::Timestamp),
        column("amount_cents", DataType::Integer),
    ];
    let links =
        TableLinks { references: vec![(0, members)], owner: Some((0, Some(1))), ..TableLinks::default() };
    import(&TableSpec { links, ..TableSpec::new("orders", &columns, None) }, MEMBERS * ROWS_A_MEMBER);
}

fn rows_of_members(c: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let made = std::env::var_os("MUSTER_DB");
    let path = made.as_deref().map_or(directory.path(), std::path::Path::new);
    let mode = if made.is_some() { Mode::ReadOnly } else { Mode::ReadWrite };
    let database = Database::open(path, mode).unwrap();
    if made.is_none() {
        fill(&database);
    }
    let snapshot = database.snapshot();
    let orders = snapshot.table_named("orders").unwrap();
    let members = snapshot.rows(snapshot.table_named("members").unwrap().id) as i64;
    let shown: Vec<_> = orders.columns.iter().map(|column| column.id).collect();
    let mut at = 0_i64;
    let mut next = move || {
        at = (at + 0x9e_3779) % members;
        Value::Integer(at + 1)
    };
    let mut group = c.benchmark_group("owners");
    group.bench_function("rows of one member again", |b| {
        b.iter(|| snapshot.rows_of(orders.id, black_box(&Value::Integer(42))).unwrap());
    });
    group.bench_function("rows of a member", |b| {
        b.iter(|| snapshot.rows_of(orders.id, &next()).unwrap());
    });
    let by_owner = snapshot.rows_by_owner(orders.id).unwrap();
    group.bench_function("rows of a member, opened before", |b| {
        b.iter(|| by_owner.of_key(&next()).unwrap());
    });
    group.bench_function("rows of a member, and their values", |b| {
        b.iter(|| {
            let rows = by_owner.of_key(&next()).unwrap().unwrap_or_default();
            project(&snapshot, orders.id, &rows, &shown).unwrap()
        });
    });
    let mut session = musterdb::Database::open_read_only(path).unwrap().session();
    group.bench_function("SELECT *", |b| {
        b.iter(|| {
            let sql = format!("SELECT * FROM orders WHERE member_id = {}", next());
            session.execute(&sql).unwrap()
        });
    });
    group.finish();
}

criterion_group!(owners, rows_of_members);
criterion_main!(owners);
