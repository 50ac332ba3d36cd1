//! The bytes of the sets of the generated tags beside the same sets as portable Roaring files:
//! `cargo run --release -p muster-benches --example portable_size DIR`, after
//! `muster generate N --into DIR --no-orders --tags zipf:20000`.

use muster_engine::Database;
use muster_engine::control::Cancel;
use muster_engine::database::Mode;
use muster_engine::exec::{Members, Scope, evaluate};
use muster_engine::predicate::Predicate;
use muster_storage::format::SectionKind;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("give the directory of a database")?;
    let database = Database::open(directory.as_ref(), Mode::ReadOnly)?;
    let snapshot = database.snapshot();
    let inspection = database.inspect()?;
    let table = inspection.tables.iter().find(|table| table.schema.name == "members").ok_or("no members")?;
    let tags = table.columns.iter().find(|column| column.name == "tags").ok_or("no column tags")?;
    let bytes = tags.bytes.get(&SectionKind::Sets).copied().unwrap_or(0);

    let (mut members, mut portable) = (0, 0);
    let count = tags.cardinality.unwrap_or(0);
    for tag in 0..count {
        let predicate = Predicate::has_tag(tags.id, format!("tag_{tag:05}"));
        let (scope, cancel) = (Scope::default(), Cancel::default());
        let (set, _) = evaluate(&snapshot, table.schema.id, &predicate, &scope, &cancel, &Members)?;
        members += set.len();
        portable += set.serialized_size();
    }
    println!("{count} tags, which members have {members} times");
    println!(
        "{bytes} bytes of sets, {portable} as portable Roaring: {:.2} ×",
        bytes as f64 / portable as f64
    );
    Ok(())
}
