//! Asks a small table in SQL: `cargo run -p musterdb --example sql`

use musterdb::Database;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("members.csv");
    std::fs::write(
        &file,
        "id,city,spend,seen,tags\n\
         1,Kyoto,120.50,2026-03-30 08:00:00,\"{vip,new}\"\n\
         2,Lima,,2025-12-24 19:30:00,{}\n\
         3,Lima,9.99,2026-03-31 10:15:00,{vip}\n",
    )?;

    let db = Database::open(directory.path().join("db"))?;
    db.execute_script(
        &format!(
            "CREATE TABLE members (id BIGINT PRIMARY KEY, city TEXT, spend DECIMAL(12,2), seen TIMESTAMP, tags TEXT[]);
             COPY members FROM '{}' (FORMAT csv, HEADER);",
            file.display()
        ),
        |outcome| println!("{outcome:?}"),
    )?;

    let vips: u64 = db.execute("SELECT count(*) FROM members WHERE 'vip' = ANY(tags)")?.single()?;
    println!("{vips} members are VIPs");

    let cities =
        db.execute("SELECT city, count(*), sum(spend) FROM members GROUP BY city ORDER BY count(*) DESC")?;
    for row in cities.rows() {
        println!("{}: {} members, {} spent", row.values()[0], row.get::<u64>(1)?, row.values()[2]);
    }

    // The clock can be fixed, so that a question about the last month answers the same tomorrow.
    let mut session = db.session();
    session.set_now(1_774_958_400_000_000);
    let recent = session.execute("SELECT id FROM members WHERE seen > now() - INTERVAL '1 month'")?;
    println!("{} members were seen in the month before 31 March 2026", recent.rows().len());

    // A mistake is drawn under the statement.
    let sql = "SELECT count(*) FROM members WHERE cty = 'Lima'";
    if let Err(error) = db.execute(sql) {
        println!("{}", error.render(sql));
    }
    Ok(())
}
