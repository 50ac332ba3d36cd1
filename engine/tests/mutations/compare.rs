//! A snapshot shows what the model holds: rows, keys, counts, groups, orders, audiences.

use super::make::{self, KEYS};
use super::model::{Kind, Model, Table};
use super::random::Random;
use muster_engine::control::Cancel;
use muster_engine::exec::{self, Aggregate, Count, Groups, Members, OrderBy, Scope, Top, project};
use muster_engine::predicate::Truth;
use muster_engine::{ColumnId, DataType, Predicate, Snapshot, Value, eval};
use roaring::RoaringBitmap;
use std::cmp::Ordering;
use std::collections::BTreeMap;

fn ask<S: exec::Sink>(snapshot: &Snapshot, table: &Table, predicate: &Predicate, sink: &S) -> S::Output {
    let (scope, cancel) = (Scope::default(), Cancel::default());
    exec::evaluate(snapshot, table.id, predicate, &scope, &cancel, sink).unwrap().0
}

pub fn compare(snapshot: &Snapshot, model: &Model, random: &mut Random) {
    assert_eq!(snapshot.tables().len(), model.tables.len());
    for table in &model.tables {
        let schema = snapshot.table_named(&table.name).unwrap();
        assert_eq!(schema.id, table.id);
        let columns: Vec<_> =
            schema.columns.iter().map(|c| (c.id, &c.name, c.data_type, c.nullable)).collect();
        let expected: Vec<_> =
            table.columns.iter().map(|c| (c.id, &c.name, c.data_type, c.nullable)).collect();
        assert_eq!(columns, expected);
        compare_rows(snapshot, table);
        compare_keys(snapshot, table);
        compare_sets(snapshot, table, random);
        compare_groups(snapshot, table, random);
    }
}

fn compare_rows(snapshot: &Snapshot, table: &Table) {
    let live = table.live();
    let everyone = Predicate::everyone();
    assert_eq!(snapshot.rows(table.id), live.len(), "rows of {}", table.name);
    assert_eq!(ask(snapshot, table, &everyone, &Count), live.len());
    assert_eq!(ask(snapshot, table, &everyone, &Members), live);
    assert_eq!(ask(snapshot, table, &everyone.not(), &Count), 0);
    let ordinals: Vec<u32> = live.iter().collect();
    let ids: Vec<ColumnId> = table.columns.iter().map(|column| column.id).collect();
    let rows = project(snapshot, table.id, &ordinals, &ids).unwrap();
    for (ordinal, values) in ordinals.iter().zip(rows) {
        let row = table.rows[*ordinal as usize].as_ref().unwrap();
        let expected: Vec<Value> = ids.iter().map(|id| row[&id.0].clone()).collect();
        assert_eq!(values, expected, "row {ordinal} of {}", table.name);
    }
}

fn compare_keys(snapshot: &Snapshot, table: &Table) {
    let Some(column) = table.key.and_then(|key| table.column(key)) else { return };
    let keys: Vec<Value> = (0..KEYS + 3).map(|number| make::key(column.data_type, number)).collect();
    let expected: Vec<Option<u32>> = keys.iter().map(|key| table.with_key(key)).collect();
    assert_eq!(snapshot.lookup(table.id, &keys).unwrap(), expected, "keys of {}", table.name);
    for key in keys.iter().step_by(9) {
        let predicate = Predicate::any_of(column.id, [key.clone()]);
        assert_eq!(ask(snapshot, table, &predicate, &Count), u64::from(table.with_key(key).is_some()));
    }
}

fn compare_sets(snapshot: &Snapshot, table: &Table, random: &mut Random) {
    let both = |predicate: &Predicate, inside: RoaringBitmap, outside: RoaringBitmap| {
        let name = &table.name;
        assert_eq!(ask(snapshot, table, predicate, &Members), inside, "{predicate:?} of {name}");
        assert_eq!(ask(snapshot, table, predicate, &Count), inside.len(), "count of {predicate:?} of {name}");
        let not = predicate.clone().not();
        assert_eq!(ask(snapshot, table, &not, &Members), outside, "{not:?} of {name}");
        assert_eq!(ask(snapshot, table, &not, &Count), outside.len(), "count of {not:?} of {name}");
    };
    for _ in 0..6 {
        let predicate = make::predicate(table, random);
        let (inside, outside) =
            (table.members(&predicate, Truth::True), table.members(&predicate, Truth::False));
        both(&predicate, inside, outside);
    }
    for audience in &table.audiences {
        let live = table.live();
        let (inside, outside) = match &audience.kind {
            Kind::Dynamic(predicate, _) => {
                let inside = table.members(predicate, Truth::True);
                (inside.clone(), live - inside)
            }
            Kind::Static(members) => (members & &live, live - members),
        };
        both(&Predicate::Audience(audience.id), inside, outside);
    }
}

/// Groups and orders by one column.
fn compare_groups(snapshot: &Snapshot, table: &Table, random: &mut Random) {
    let orderable = |column: &&_| -> bool {
        let column: &super::model::Column = column;
        column.data_type != DataType::TextArray
    };
    let columns: Vec<_> = table.columns.iter().filter(orderable).collect();
    let Some(column) = random.pick(&columns) else { return };
    let predicate = make::predicate(table, random);
    let members = table.members(&predicate, Truth::True);
    let value = |row: u32| &table.rows[row as usize].as_ref().unwrap()[&column.id.0];
    let sink =
        Groups { keys: vec![column.id], aggregates: vec![Aggregate::CountAll, Aggregate::Count(column.id)] };
    let mut expected: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for row in &members {
        let (all, present) = expected.entry(format!("{:?}", [value(row)])).or_default();
        *all += 1;
        *present += i64::from(*value(row) != Value::Null);
    }
    let groups = ask(snapshot, table, &predicate, &sink);
    let found: BTreeMap<String, (i64, i64)> = groups
        .iter()
        .map(|group| match group.values[..] {
            [Value::Integer(all), Value::Integer(present)] => (format!("{:?}", group.key), (all, present)),
            _ => panic!("{group:?}"),
        })
        .collect();
    assert_eq!(found, expected, "groups by {column:?} of {predicate:?}");
    let (descending, nulls_first) = (random.chance(), random.chance());
    let order = vec![OrderBy { column: column.id, descending, nulls_first }];
    let limit = [1, 3, 1000][random.below(3)];
    let mut sorted: Vec<u32> = members.iter().collect();
    sorted.sort_by(|a, b| match eval::compare(value(*a), value(*b)).unwrap() {
        Some(order) if descending => order.reverse(),
        Some(order) => order,
        None => {
            let order: Ordering = (*value(*a) == Value::Null).cmp(&(*value(*b) == Value::Null));
            if nulls_first { order.reverse() } else { order }
        }
    });
    sorted.truncate(limit);
    let top = ask(snapshot, table, &predicate, &Top { order: order.clone(), limit });
    assert_eq!(top, sorted, "{order:?} of {predicate:?}");
}
