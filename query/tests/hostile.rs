//! Text that nobody means: statements cut, joined, repeated and nested a thousandfold. Each is answered or refused, soon, on
//! a small stack; none panics, and what is refused changes nothing.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use musterdb::{Database, Session, split_statements};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the slowest statement may take, in a test's build on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(1);
/// The stack that the language promises to do with.
const STACK_BYTES: usize = 2 << 20;
const MUTATIONS: usize = 4_000;
/// Longer statements are cut.
const BYTES_MAX: usize = 200_000;

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

/// Every statement of the page and of the chapters, each once.
fn statements() -> Vec<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = BTreeSet::new();
    let page = std::fs::read_to_string(here.join("../docs/QUERY.md")).unwrap();
    for block in page.split("```sql\n").skip(1) {
        let block = block.split("```").next().unwrap();
        all.extend(split_statements(block).into_iter().map(str::to_owned));
    }
    for chapter in std::fs::read_dir(here.join("tests/slt")).unwrap() {
        let text = std::fs::read_to_string(chapter.unwrap().path()).unwrap();
        for record in text.split("\n\n") {
            let lines = record
                .lines()
                .skip_while(|line| !line.starts_with("query") && !line.starts_with("statement"));
            let sql: Vec<&str> = lines.skip(1).take_while(|line| *line != "----").collect();
            if !sql.is_empty() {
                all.insert(sql.join("\n"));
            }
        }
    }
    assert!(all.len() > 500, "only {} statements are found", all.len());
    all.into_iter().collect()
}

/// Where tokens begin: at every change between letters, digits, spaces and signs.
fn tokens(text: &str) -> Vec<&str> {
    let kind = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => 0,
        c if c.is_whitespace() => 1,
        _ => 2,
    };
    let mut tokens = Vec::new();
    let mut start = 0;
    let mut before = None;
    for (at, c) in text.char_indices() {
        if before.is_some_and(|before| before != kind(c) || before == 2) {
            tokens.push(&text[start..at]);
            start = at;
        }
        before = Some(kind(c));
    }
    tokens.push(&text[start..]);
    tokens
}

const WORDS: [&str; 32] = [
    "(",
    ")",
    "'",
    "\"",
    ",",
    ";",
    "$1",
    "$$",
    "::",
    "[",
    "NULL",
    "NOT",
    "SELECT",
    "FROM",
    "WHERE",
    "CASE",
    "END",
    "INTERVAL",
    "ARRAY[",
    "IN",
    "LIKE",
    "~",
    "--",
    "/*",
    "99999999999999999999999999999999999999999999",
    "1e999999999",
    "0.00000000000000000000000000000000000000000000001",
    "'\u{0}'",
    "\u{FEFF}",
    "DATE '9999-12-31'",
    "INTERVAL '2147483647 years'",
    "-9223372036854775808",
];

fn mutated(all: &[String], random: &mut Random) -> String {
    let sql = &all[random.below(all.len())];
    let mut parts: Vec<String> = tokens(sql).into_iter().map(str::to_owned).collect();
    for _ in 0..1 + random.below(2) * random.below(4) {
        let at = random.below(parts.len());
        let other = random.below(parts.len());
        match random.below(11) {
            0 if parts.len() > 1 => drop(parts.remove(at)),
            1 => parts.insert(at, parts[other].clone()),
            2 => parts.swap(at, other),
            3 => parts[at] = WORDS[random.below(WORDS.len())].to_owned(),
            4 => parts.insert(at, format!(" {} ", WORDS[random.below(WORDS.len())])),
            5 => {
                // The end of another statement.
                let more =
                    tokens(&all[random.below(all.len())]).into_iter().map(str::to_owned).collect::<Vec<_>>();
                parts.truncate(at);
                parts.extend(more.into_iter().skip(random.below(9)));
            }
            7..=10 => {
                // A word for a word, a sign for a sign: that is often a statement again.
                let more = tokens(&all[random.below(all.len())]);
                let like = |part: &str| part.chars().next().map(|c| (c.is_alphabetic(), c.is_ascii_digit()));
                let same: Vec<&&str> = more.iter().filter(|part| like(part) == like(&parts[at])).collect();
                if !same.is_empty() {
                    parts[at] = same[random.below(same.len())].to_string();
                }
            }
            _ => {
                // A part many times over.
                let from = at.min(other);
                let some = parts[from..=at.max(other)].concat();
                parts.insert(from, some.repeat(1 + random.below(300)));
            }
        }
        if parts.is_empty() {
            parts.push(String::new());
        }
    }
    // The time that a statement takes grows with its length, and up to 16 MiB are taken: patience is for these.
    let mut sql = parts.concat();
    let end = (0..=sql.len().min(BYTES_MAX)).rev().find(|at| sql.is_char_boundary(*at)).unwrap_or(0);
    sql.truncate(end);
    sql
}

/// Every construct of the language within itself.
fn nested() -> Vec<String> {
    let mut all = Vec::new();
    for depth in [10, 100, 199, 200, 201, 250, 251, 1_000, 20_000] {
        let mut around = |before: &str, inner: &str, after: &str| {
            let value = format!("{}{inner}{}", before.repeat(depth), after.repeat(depth));
            all.push(format!("SELECT count(*) FROM t WHERE {value}"));
            all.push(format!("SELECT {value} FROM t"));
            all.push(format!("SELECT count(*) FROM t GROUP BY {value} HAVING {value} ORDER BY {value}"));
        };
        around("(", "active", ")");
        around("NOT ", "active", "");
        around("NOT (", "active", ")");
        around("- ", "id", " = 1");
        around("-(", "id", ")");
        around("lower(", "city", ")");
        around("coalesce(", "id", ", 1)");
        around("CASE WHEN active THEN ", "id", " ELSE 1 END");
        around("CASE WHEN ", "active", " THEN active END");
        around("CASE id WHEN ", "id", " THEN 1 END");
        around("CAST(", "id", " AS BIGINT)");
        around("", "id", "::BIGINT");
        around("id + ", "id", "");
        around("id + (", "id", ")");
        around("city || ", "city", "");
        around("", "active", " AND active");
        around("", "active", " OR NOT active");
        around("active AND (active OR ", "active", ")");
        around("", "active", " IS TRUE");
        around("", "active", " = active");
        around("id IN (", "1", ")");
        around("id IN (SELECT id FROM t WHERE ", "active", ")");
        around("(SELECT max(id) FROM t WHERE id = ", "1", ") = 1");
        around("1 + (SELECT count(*) FROM t o WHERE o.id = t.id AND o.id > ", "1", ")");
        around("EXISTS (SELECT 1 FROM t a JOIN t b USING (id) WHERE ", "a.active", ")");
        around("id IN (SELECT a.id FROM t a JOIN t b USING (id) WHERE a.", "active", ")");
        around("id + 1 IN (SELECT id FROM t WHERE ", "active", ")");
        around("lag(", "id", ") OVER (ORDER BY id)");
        around("arg_max(", "id", ", id)");
        around("CASE WHEN EXISTS (SELECT 1 FROM t) THEN ", "id", " END");
        around("ARRAY[", "1", "]");
        around("tags && ARRAY[", "'a'", "]");
        around("", "born", " + INTERVAL '1 day'");
        around("", "born", " AT TIME ZONE 'Asia/Shanghai'");
        around("extract(year FROM ", "born", ")");
        around("count(", "*", ")");
        around("\"", "id", "\"");
        around("'", "id", "'");
        around("/*", "*/ active", "*/");
        around("id BETWEEN ", "1", " AND 2");
        around("tags || ", "'a'", "");
        around("array_append(", "tags", ", 'a')");
        let from = "SELECT id FROM (";
        all.push(format!("{}SELECT id FROM t{}", from.repeat(depth), ") x".repeat(depth)));
        all.push(format!("EXPLAIN {}SELECT id FROM t", "EXPLAIN ANALYZE ".repeat(depth)));
        all.push(format!("SELECT {} FROM t", vec!["id"; depth].join(", ")));
        all.push(format!(
            "INSERT INTO t (id) VALUES {} ON CONFLICT DO NOTHING",
            vec!["(-1)"; depth].join(", ")
        ));
        all.push(format!("INSERT INTO t (id) VALUES ({}-1{})", "(".repeat(depth), ")".repeat(depth)));
        all.push(format!(
            "INSERT INTO t ({}) VALUES ({})",
            vec!["id"; depth].join(", "),
            vec!["1"; depth].join(", ")
        ));
        all.push(format!("UPDATE t SET {}", vec!["city = 'x'"; depth].join(", ")));
        all.push(format!("UPDATE t SET city = {}'x'{}", "lower(".repeat(depth), ")".repeat(depth)));
        all.push(format!("UPDATE t SET tags = tags{}", " || 'a'".repeat(depth)));
        all.push(format!("DELETE FROM t WHERE {}", vec!["id = -1"; depth].join(" OR ")));
        all.push("BEGIN;".repeat(depth));
        all.push(format!("SELECT id FROM t WHERE id IN ({})", vec!["1"; depth].join(", ")));
        // A thousand conditions are half a million pairs, which are shown; these are some thousand, or refused.
        if depth != 1_000 {
            all.push(format!("OVERLAP {} FROM t", vec!["active"; depth].join(", ")));
        }
        all.push(format!("SELECT count(*) FROM t WHERE city LIKE '{}'", "%".repeat(depth)));
        all.push(format!("SELECT count(*) FROM t WHERE city LIKE '{}'", "%a_".repeat(depth)));
        all.push(format!("SELECT count(*) FROM t WHERE city ILIKE '{}'", "%a".repeat(depth)));
        all.push(format!(
            "SELECT count(*) FROM t WHERE city ~ '{}a{}'",
            "(".repeat(depth),
            ")".repeat(depth)
        ));
        all.push(format!("SELECT count(*) FROM t WHERE city ~ '{}'", "(a|b)*".repeat(depth)));
        all.push(format!("SELECT count(*) FROM t WHERE spend > {}", "9".repeat(depth)));
        all.push(format!("SELECT count(*) FROM t WHERE spend > 0.{}", "9".repeat(depth)));
        all.push(format!("SELECT count(*) FROM t WHERE spend * {}1 > 0", "0.1 * ".repeat(depth)));
        all.push(format!("SELECT count(*) FROM t WHERE spend > 1e{depth} OR spend > 1e-{depth}"));
        all.push(format!("SELECT count(*) FROM t WHERE id = ${depth}"));
        all.push(format!("SELECT {} FROM t", "x".repeat(depth)));
        all.push(format!("SELECT id FROM t LIMIT {depth}{depth}{depth}{depth}{depth} OFFSET 1{depth}"));
    }
    for depth in 1..=17_usize {
        let (mut joined, mut grouped, mut with) = ("t".to_owned(), "t".to_owned(), Vec::new());
        for level in 0..depth {
            joined =
                format!("(SELECT a.id FROM t a JOIN {joined} b USING (id) WHERE a.id IN (SELECT id FROM t))");
            grouped = format!("(SELECT id, count(*) AS n FROM {grouped} t WHERE nothing = 1 GROUP BY id)");
            let from = level.checked_sub(1).map_or_else(|| "t".to_owned(), |below| format!("w{below}"));
            with.push(format!("w{level} AS (SELECT x.id FROM {from} x JOIN {from} y USING (id))"));
        }
        all.push(format!("SELECT count(*) FROM {joined} j"));
        all.push(format!("SELECT count(*) FROM {grouped} g"));
        all.push(format!("WITH {} SELECT count(*) FROM w{}", with.join(", "), depth - 1));
        let many = (1..depth * 6).map(|at| format!(" JOIN t a{at} USING (id)"));
        all.push(format!("SELECT count(*) FROM t{}", many.collect::<String>()));
    }
    for pattern in [
        "((a{100}){100}){100}",
        "(((((a*)*)*)*)*)*b",
        "\\p{L}{1000}",
        "(?i)(a|aa)+$",
        "[[:alpha:]]{5000}",
        "(?P<n",
        "x{2,1}",
    ] {
        all.push(format!("SELECT count(*) FROM t WHERE city ~ '{pattern}'"));
        all.push(format!("SELECT count(*) FROM t WHERE city || city !~* '{pattern}'"));
    }
    for end in ["'", "\"", "$$", "$x$", "E'\\", "/*", "/* /* */", "U&'", "x'", "b'", "--"] {
        all.push(format!("SELECT count(*) FROM t WHERE city = {end}abc"));
    }
    all
}

/// A session over a table of some hundred members, without files.
fn opened(directory: &Path) -> (Database, Session) {
    let db = Database::open(directory.join("db")).unwrap();
    let rows: String = (0..200)
        .map(|i| {
            format!(
                "{i},c{},{i}.5,{},2026-01-{:02},\"{{a,t{}}}\",{i}\n",
                i % 7,
                i % 2 == 0,
                i % 28 + 1,
                i % 3
            )
        })
        .collect();
    let members: String = (0..200)
        .map(|i| {
            let day = format!("2026-03-{:02}", i % 31 + 1);
            format!(
                "{i},n{i},c{},{},{i}.5,{i},{},{day},{day} 12:00:00,{day} 12:00:00+00,{{a}}\n",
                i % 7,
                i % 90,
                i % 2 == 0
            )
        })
        .collect();
    let header = "id,name,city,age,spend,score,active,birth,seen,joined,tags";
    std::fs::write(directory.join("members.csv"), format!("{header}\n{members}")).unwrap();
    std::fs::write(directory.join("t.csv"), format!("id,city,spend,active,born,tags,score\n{rows}")).unwrap();
    // The tables that the page, the chapters and the nests ask.
    let columns = [
        (
            "t",
            "t.csv",
            "id BIGINT PRIMARY KEY, city TEXT, spend DECIMAL(12,2), active BOOLEAN, born DATE, tags TEXT[], score DOUBLE PRECISION",
        ),
        (
            "members",
            "members.csv",
            "id BIGINT PRIMARY KEY, name TEXT, city TEXT, age INTEGER, spend DECIMAL(12,2), score DOUBLE PRECISION, \
             active BOOLEAN, birth DATE, seen TIMESTAMP, joined TIMESTAMPTZ, tags TEXT[]",
        ),
    ];
    for (name, file, columns) in columns {
        db.execute(&format!("CREATE TABLE {name} ({columns})")).unwrap();
        db.execute(&format!("COPY {name} FROM '{}' (HEADER)", directory.join(file).display())).unwrap();
    }
    let retailer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/retailer/member.csv");
    db.execute(
        "CREATE TABLE member (id BIGINT PRIMARY KEY, gender TEXT, birthday DATE, city TEXT, tier TEXT, points INTEGER, \
         points_expire DATE, reg_at TIMESTAMP, source TEXT, email TEXT, fans BIGINT, role TEXT, inviter BIGINT, \
         wx_follow_at TIMESTAMP, sms_ok BOOLEAN, lat DOUBLE PRECISION, lon DOUBLE PRECISION)",
    )
    .unwrap();
    db.execute(&format!("COPY member FROM '{}' (HEADER)", retailer.display())).unwrap();
    let mut session = db.session();
    session.set_now(1_774_958_400_000_000);
    session.forbid_files();
    (db, session)
}

/// Runs on a stack of the size that the language promises to do with.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Answers each statement; prints how many were, and the slowest.
fn survive(what: &str, statements: impl Iterator<Item = String>) {
    let directory = tempfile::tempdir().unwrap();
    let (db, mut session) = opened(directory.path());
    let (mut answered, mut refused, mut slowest) = (0, 0, (Duration::ZERO, String::new()));
    for sql in statements {
        let shown: String = sql.chars().take(300).collect();
        let lsn = db.engine().snapshot().lsn();
        let start = Instant::now();
        match session.execute(&sql) {
            Ok(_) => answered += 1,
            Err(error) => {
                // What fails in a transaction ends it, and only ROLLBACK is answered.
                let _ = session.execute("ROLLBACK");
                refused += 1;
                assert!(!error.render(&sql).is_empty());
                assert_eq!(
                    db.engine().snapshot().lsn(),
                    lsn,
                    "refused, and yet it changed something: {shown}"
                );
            }
        }
        let mut took = start.elapsed();
        // Others may have had the machine; a statement that is slow itself is slow again.
        for _ in 0..3 {
            if took >= PATIENCE {
                let again = Instant::now();
                let _ = session.execute(&sql);
                took = again.elapsed();
            }
        }
        assert!(took < PATIENCE, "{took:?} for {} bytes: {shown}", sql.len());
        if took > slowest.0 {
            slowest = (took, shown);
        }
    }
    assert!(answered > 100 && refused > 100, "{answered} answered, {refused} refused");
    println!(
        "{what}: {answered} answered, {refused} refused; the slowest took {:?}: {}",
        slowest.0, slowest.1
    );
}

#[test]
fn statements_cut_at_every_byte() {
    on_a_small_stack(|| {
        let all = statements();
        let mut random = Random(1);
        let mut cut = Vec::new();
        for _ in 0..160 {
            let sql = &all[random.below(all.len())];
            cut.extend((0..sql.len()).filter(|at| sql.is_char_boundary(*at)).map(|at| sql[..at].to_owned()));
        }
        survive("cut", cut.into_iter());
    });
}

#[test]
fn statements_mutated() {
    on_a_small_stack(|| {
        let seed = std::env::var("MUSTER_HOSTILE_SEED").map_or(1, |seed| seed.parse().unwrap());
        println!("MUSTER_HOSTILE_SEED={seed}");
        let all = statements();
        let mut random = Random(seed);
        survive("mutated", (0..MUTATIONS).map(move |_| mutated(&all, &mut random)));
    });
}

#[test]
fn constructs_within_themselves() {
    on_a_small_stack(|| survive("nested", nested().into_iter()));
}
