//! Asks `count(*) … WHERE key = ANY($1)` with a million keys of a table:
//! `cargo run --release -p muster-benches --example many_keys DIR TABLE`
//!
//! Half of the keys are the table's, spread evenly; half are nobody's. The time is from the text and the list to the count.

use musterdb::{Database, Param, Value};
use std::time::Instant;

const KEYS: usize = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(table)) = (arguments.next(), arguments.next()) else {
        return Err("name a database and a table".into());
    };
    let db = Database::open_read_only(directory)?;
    let schema = db.table(&table)?;
    let key = schema.key.and_then(|id| schema.column(id)).ok_or("the table has no key")?.name.clone();
    let rows: u64 = db.execute(&format!("SELECT count(*) FROM {table}"))?.single()?;
    let percent = 100.0 * KEYS as f64 / 2.0 / rows as f64;
    let sampled = format!("SELECT {key} FROM {table} TABLESAMPLE BERNOULLI ({percent:.9}) REPEATABLE (1)");
    let mut keys: Vec<Value> =
        db.execute(&sampled)?.rows().filter_map(|row| row.values().first().cloned()).collect();
    let known = keys.len();
    while keys.len() < KEYS {
        let absent = format!("nobody-{:09}", keys.len());
        keys.push(if let Some(Value::Integer(_)) = keys.first() {
            Value::Integer(-(keys.len() as i64))
        } else {
            Value::Text(absent)
        });
    }
    let list = [Param::from(keys)];
    let question = format!("SELECT count(*) FROM {table} WHERE {key} = ANY($1)");
    let mut session = db.session();
    let mut millis = Vec::new();
    for _ in 0..9 {
        let started = Instant::now();
        let found: u64 = session.execute_with(&question, &list)?.single()?;
        millis.push(started.elapsed().as_secs_f64() * 1e3);
        assert_eq!(found, known as u64, "every sampled key is found");
    }
    millis.sort_by(f64::total_cmp);
    println!(
        "{rows} rows, {KEYS} keys, {known} of them there: median {:.1} ms, first to last {:.1} to {:.1}",
        millis[millis.len() / 2],
        millis[0],
        millis[millis.len() - 1]
    );
    Ok(())
}
