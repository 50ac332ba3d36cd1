//! The values of a column by prefix, as a shell asks for them while a user types.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::batch::{Batch, Place, RowSource, batch_of_values};
use muster_engine::control::Cancel;
use muster_engine::database::Mode;
use muster_engine::schema::{ColumnId, ColumnSpec, DataType, TableSpec};
use muster_engine::{Database, Error, Value};

const TYPES: [DataType; 3] = [DataType::BigInt, DataType::Text, DataType::TextArray];
const CITIES: [&str; 6] = ["Lima", "Kyoto", "Köln", "上海", "Kyo", ""];
const ROWS: i64 = 3000;

/// Members with a city and tags.
struct Members(i64);

impl RowSource for Members {
    fn next(&mut self) -> Result<Option<Batch>, Error> {
        if self.0 == ROWS {
            return Ok(None);
        }
        let first = std::mem::replace(&mut self.0, ROWS);
        let row = |id: i64| {
            let city = match CITIES.get(id as usize % (CITIES.len() + 1)) {
                Some(city) => Value::Text((*city).to_owned()),
                None => Value::Null,
            };
            let tags = Value::tags([format!("t{}", id % 25), "vip".to_owned()]);
            vec![Value::Integer(id), city, tags]
        };
        Ok(Some(batch_of_values(&TYPES, &(first..ROWS).map(row).collect::<Vec<_>>())))
    }

    fn place(&self, _row: u64) -> Option<Place> {
        None
    }

    fn progress(&self) -> (Option<u64>, f64) {
        (None, 0.0)
    }
}

#[test]
fn values_come_in_order_by_their_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
    let columns: Vec<ColumnSpec> = ["id", "city", "tags"]
        .iter()
        .zip(TYPES)
        .map(|(name, data_type)| ColumnSpec { name: (*name).to_owned(), data_type, nullable: true })
        .collect();
    database
        .create_and_import(
            &TableSpec::new("m", &columns, Some(0)),
            &mut Members(0),
            &Cancel::default(),
            &mut |_| {},
        )
        .unwrap();
    let snapshot = database.snapshot();
    let table = snapshot.table_named("m").unwrap();
    let column = |name: &str| table.column_named(name).unwrap().id;
    let values = |name, prefix, limit| snapshot.text_values(table.id, column(name), prefix, limit).unwrap();

    assert_eq!(values("city", "", 10), ["", "Kyo", "Kyoto", "Köln", "Lima", "上海"]);
    assert_eq!(values("city", "K", 10), ["Kyo", "Kyoto", "Köln"]);
    assert_eq!(values("city", "Kyo", 10), ["Kyo", "Kyoto"]);
    assert_eq!(values("city", "Kyoto", 10), ["Kyoto"]);
    assert_eq!(values("city", "上", 10), ["上海"]);
    assert_eq!(values("city", "", 2), ["", "Kyo"]);
    for nowhere in ["k", "Kyotos", "\u{10ffff}", "M"] {
        assert!(values("city", nowhere, 10).is_empty(), "{nowhere}");
    }
    assert!(values("city", "K", 0).is_empty());
    assert_eq!(values("tags", "t1", 3), ["t1", "t10", "t11"]);
    assert_eq!(values("tags", "v", 9), ["vip"]);
    // A column without a dictionary has no list, and neither has one that is not there.
    assert!(values("id", "", 9).is_empty());
    assert!(snapshot.text_values(table.id, ColumnId(99), "", 9).unwrap().is_empty());
}
