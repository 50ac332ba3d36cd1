//! Changes a share of a table's members through the batch API, in batches of 1,000 at random, from some threads:
//! `cargo run --release -p muster-benches --example changed DIR TABLE [--share 0.01] [--threads 8] [--batch 1000] [--columns a,b,…] [--one]`
//!
//! Checkpoints run beside it as they do in `muster`.
//! Each member gets the values of another one, of the named columns (else of all but the key), or with `--one` of one of them,
//! drawn by lot. Prints members a second. The changes stay in the log: `muster bench DIR` then measures over them.

use muster_engine::control::Cancel;
use muster_engine::database::{Database, Durability, Mode};
use muster_engine::exec::project;
use muster_engine::mutation::{Assignment, Insert, Mutation, OnConflict};
use muster_engine::{ColumnId, Expr, Value};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        arguments.iter().position(|one| one == name).and_then(|at| arguments.get(at + 1)).map(String::as_str)
    };
    let (Some(directory), Some(table)) = (arguments.first(), arguments.get(1)) else {
        return Err("name a database and a table".into());
    };
    let share: f64 = option("--share").unwrap_or("0.01").parse()?;
    let batch: usize = option("--batch").unwrap_or("1000").parse()?;
    let threads: u64 = option("--threads").unwrap_or("8").parse()?;
    let one = arguments.iter().any(|argument| argument == "--one");
    let opened = Instant::now();
    let database = std::sync::Arc::new(Database::open(directory.as_ref(), Mode::ReadWrite)?);
    database.begin_upkeep()?;
    println!("opened in {:.2} s", opened.elapsed().as_secs_f64());
    let snapshot = database.snapshot();
    let schema = snapshot.table_named(table).ok_or("there is no such table")?;
    let key = schema.key.ok_or("the table has no key")?;
    let named: Option<Vec<&str>> = option("--columns").map(|names| names.split(',').collect());
    let columns: Vec<ColumnId> = (schema.columns.iter())
        .filter(|column| column.id != key)
        .filter(|column| named.as_ref().is_none_or(|names| names.contains(&column.name.as_str())))
        .map(|column| column.id)
        .collect();
    let rows = snapshot.rows(schema.id);
    let batches = (rows as f64 * share / batch as f64).ceil() as u64;
    let (next, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (database, snapshot, schema, columns, next, bytes) =
                (&database, &snapshot, &schema, &columns, &next, &bytes);
            scope.spawn(move || {
                let mut random = 0x9e37_79b9_7f4a_7c15 ^ (thread + 1).wrapping_mul(0xd134_2543_de82_ef95);
                let mut draw = move |below: u64| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    random % below
                };
                while next.fetch_add(1, Ordering::Relaxed) < batches {
                    let written: Vec<ColumnId> = if one {
                        vec![columns[draw(columns.len() as u64) as usize]]
                    } else {
                        columns.clone()
                    };
                    let mut members: Vec<u32> = (0..batch).map(|_| draw(rows) as u32).collect();
                    members.sort_unstable();
                    members.dedup();
                    let others: Vec<u32> = members.iter().map(|_| draw(rows) as u32).collect();
                    let keys = project(snapshot, schema.id, &members, &[key]).expect("keys");
                    let values = project(snapshot, schema.id, &others, &written).expect("values");
                    let rows: Vec<Vec<Value>> = keys
                        .into_iter()
                        .zip(values)
                        .map(|(key, values)| key.into_iter().chain(values).collect())
                        .collect();
                    bytes.fetch_add(rows.len() as u64 * 20 * written.len() as u64, Ordering::Relaxed);
                    let column = |column: &ColumnId| Assignment {
                        column: *column,
                        value: Expr::Column(column.excluded()),
                    };
                    let mutation = Mutation::Insert(Insert {
                        table: schema.id,
                        columns: std::iter::once(key).chain(written.iter().copied()).collect(),
                        rows,
                        conflict: OnConflict::Update(written.iter().map(column).collect()),
                    });
                    database.write(&mutation, 0, Durability::Synced, &Cancel::default()).expect("a batch");
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let members = batches as f64 * batch as f64;
    println!(
        "{members} members in {seconds:.2} s: {:.0} a second; {:.2} ms a batch of {batch} and thread",
        members / seconds,
        seconds * 1e3 * threads as f64 / batches as f64
    );
    println!("logical bytes (key 8, column 4, value 8): {}", bytes.into_inner());
    Ok(())
}
