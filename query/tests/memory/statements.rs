//! Statements of every kind that holds memory, over a table of members, their orders, and guests.

use musterdb::Database;
use std::fmt::Write;
use std::path::Path;

/// Those that only read, by name.
pub const QUESTIONS: &[(&str, &str)] = &[
    ("rows", "SELECT * FROM member"),
    ("rows of texts", "SELECT id, mail, note FROM member WHERE points >= 0"),
    ("rows, computed", "SELECT id, upper(mail), points * 2 FROM member"),
    ("rows, counted", "SELECT count(*) FROM member WHERE points > 5 AND note LIKE '%7%'"),
    ("distinct texts", "SELECT DISTINCT mail FROM member"),
    ("groups by number", "SELECT id, count(*), sum(points), max(note) FROM member GROUP BY id"),
    ("groups by text", "SELECT mail, count(*), max(note) FROM member GROUP BY mail ORDER BY 2 DESC, 1"),
    ("groups, computed", "SELECT lower(mail), count(*) FROM member GROUP BY 1"),
    (
        "groups, filtered",
        "SELECT mail, count(*) FILTER (WHERE points > 5), sum(points) FROM member GROUP BY mail",
    ),
    ("count distinct", "SELECT count(DISTINCT mail) FROM member"),
    (
        "count distinct by city",
        "SELECT city, count(DISTINCT mail), count(DISTINCT lower(note)) FROM member GROUP BY city",
    ),
    ("order by text", "SELECT id FROM member ORDER BY mail"),
    ("order by computed", "SELECT id FROM member ORDER BY upper(note), id"),
    ("order, the first", "SELECT id FROM member ORDER BY note LIMIT 10"),
    ("window", "SELECT id, row_number() OVER (PARTITION BY city ORDER BY note) FROM member"),
    (
        "window of frames",
        "SELECT id, sum(points) OVER (ORDER BY id ROWS BETWEEN 3 PRECEDING AND CURRENT ROW), lag(mail) OVER (ORDER BY id) FROM member",
    ),
    ("join by owner", "SELECT m.id, o.amount, m.note FROM member m JOIN orders o ON o.member_id = m.id"),
    (
        "join by owner, grouped",
        "SELECT m.mail, count(*), sum(o.amount) FROM member m JOIN orders o ON o.member_id = m.id GROUP BY m.mail",
    ),
    ("join by text", "SELECT count(*) FROM member a JOIN guest b ON a.mail = b.mail"),
    (
        "join looked up",
        "SELECT count(*) FROM member m JOIN orders o ON o.member_id = m.id JOIN guest g ON g.id = o.amount",
    ),
    ("in, by text", "SELECT count(*) FROM member WHERE mail IN (SELECT mail FROM guest)"),
    (
        "exists, by value",
        "SELECT count(*) FROM member m WHERE EXISTS (SELECT 1 FROM guest g WHERE g.id = m.points)",
    ),
    (
        "of rows, by owner",
        "SELECT count(*) FROM member m WHERE (SELECT sum(o.amount) FROM orders o WHERE o.member_id = m.id) > 100",
    ),
    (
        "of rows, grouped",
        "SELECT count(*) FROM guest g WHERE (SELECT count(*) FROM member m WHERE m.mail = g.mail AND m.id >= g.id) > 0",
    ),
    (
        "values of groups",
        "SELECT city, median(points), mode(mail), quantile_disc(note, 0.5) FROM member GROUP BY city",
    ),
    ("union", "SELECT mail FROM member UNION SELECT note FROM member"),
    (
        "groups of groups",
        "SELECT n, count(*) FROM (SELECT mail, count(*) AS n FROM member GROUP BY mail) t GROUP BY n",
    ),
    ("profile", "PROFILE member BY points, city"),
];

/// OVERLAP of many sets.
pub fn overlap(sets: usize) -> String {
    let sets: Vec<String> = (0..sets).map(|set| format!("points > {set} AS s{set}")).collect();
    format!("OVERLAP {} FROM member", sets.join(", "))
}

/// Those that change something, by name.
pub const CHANGES: &[(&str, &str)] = &[
    ("insert of rows", "INSERT INTO other SELECT id, mail, note FROM member WHERE id <= 1000000"),
    ("update", "UPDATE member SET note = upper(note), points = points + 1"),
    ("update to constants", "UPDATE member SET note = 'the same text for everybody'"),
    ("static audience", "CREATE STATIC AUDIENCE kept AS SELECT id FROM member WHERE points % 3 = 1"),
    (
        "static audience, ordered",
        "CREATE STATIC AUDIENCE first AS SELECT id FROM member ORDER BY note LIMIT 1500",
    ),
    ("delete", "DELETE FROM member WHERE points >= 0"),
];

/// Makes a database with so many members, an order or two each, and a guest for every fourth.
pub fn make(directory: &Path, members: u64) -> Database {
    let db = Database::open(directory.join("db")).unwrap();
    let file = directory.join("rows.csv");
    let import = |table: &str, columns: &str, rows: &mut dyn FnMut(u64, &mut String)| {
        db.execute(&format!("CREATE TABLE {table} ({columns}")).unwrap();
        let mut text = String::new();
        (0..members).for_each(|number| rows(number, &mut text));
        std::fs::write(&file, text).unwrap();
        db.execute(&format!("COPY {table} FROM '{}' (FORMAT csv)", file.display())).unwrap();
    };
    // Spread, and the same each time.
    let mixed = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    import(
        "member",
        "id BIGINT PRIMARY KEY, mail TEXT, note TEXT, city TEXT, points INTEGER)",
        &mut |n, text| {
            let (city, points) = (["Kyoto", "Lima", "Oslo", ""][n as usize % 4], mixed(n) % 40_000);
            writeln!(
                text,
                "{n},{}.{n}@mail.example,a note about member {} of them all,{city},{points}",
                mixed(n),
                mixed(n + 1)
            )
            .unwrap();
        },
    );
    let orders = "member_id BIGINT REFERENCES member, day DATE, amount INTEGER) WITH (owner = 'member_id', time = 'day')";
    import("orders", orders, &mut |n, text| {
        for order in 0..=n % 2 {
            writeln!(
                text,
                "{},2024-0{}-1{},{}",
                mixed(n) % members,
                1 + order,
                n % 9,
                mixed(n + order) % 1_000
            )
            .unwrap();
        }
    });
    import("guest", "id BIGINT PRIMARY KEY, mail TEXT)", &mut |n, text| {
        if n % 4 == 0 {
            writeln!(text, "{n},{}.{n}@mail.example", mixed(n)).unwrap();
        }
    });
    db.execute("CREATE TABLE other (id BIGINT PRIMARY KEY, mail TEXT, note TEXT)").unwrap();
    db.execute("CHECKPOINT").unwrap();
    std::fs::remove_file(file).unwrap();
    db
}
