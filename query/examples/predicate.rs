//! Builds an audience without SQL: `cargo run -p musterdb --example predicate`

use musterdb::{CompareOp, Database, Interval, Literal, Predicate, Value};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("members.csv");
    std::fs::write(
        &file,
        "id,city,seen,tags\n1,Kyoto,2026-03-30 08:00:00,{vip}\n2,Lima,,{}\n3,Lima,2020-01-01 00:00:00,{vip}\n",
    )?;
    let db = Database::open(directory.path().join("db"))?;
    db.execute("CREATE TABLE members (id BIGINT PRIMARY KEY, city TEXT, seen TIMESTAMP, tags TEXT[])")?;
    db.execute(&format!("COPY members FROM '{}' (FORMAT csv, HEADER)", file.display()))?;

    // Names are looked up once; a predicate holds ids, and stays true while the data change.
    let members = db.table("members")?;
    let column = |name: &str| members.column_named(name).map(|column| column.id).ok_or("no such column");
    let vip = Predicate::has_tag(column("tags")?, "vip");
    let from_lima = Predicate::compare(column("city")?, CompareOp::Eq, Value::Text("Lima".into()));
    let a_year = Interval { months: -12, ..Interval::default() };
    let seen_lately = Predicate::Compare {
        column: column("seen")?,
        op: CompareOp::Gt,
        literal: Literal::Now { offsets: vec![a_year], date: false, zone: None },
    };

    println!("{} VIPs", db.count("members", &vip)?);
    println!("{} VIPs from Lima", db.count("members", &vip.clone().and(from_lima))?);

    // Audiences are Roaring bitmaps of ordinals: set algebra is theirs.
    let lapsed = db.members("members", &vip)? - db.members("members", &seen_lately)?;
    println!("ordinals of the VIPs not seen for a year: {:?}", lapsed.iter().collect::<Vec<u32>>());
    Ok(())
}
