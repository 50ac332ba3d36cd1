//! Rows that belong to members, over several chunks of either, clustered by a column of theirs or not: they answer as those of a table that
//! belongs to nobody, as they were imported and written since.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod asking;

use asking::{copy, day_text, ids, run};
use musterdb::{Database, Session};
use std::fmt::Write;

/// Days are counted from 2024-01-01.
const DAYS: i64 = 900;

/// A time as SQL: so many days after the first.
fn time(day: i64) -> String {
    format!("TIMESTAMP '2024-01-01 00:00:00' + INTERVAL '{day}' DAY")
}

/// Chunks of owners and of rows, runs by month and day, counts beyond a byte: the table that belongs to somebody answers as the
/// one that does not.
#[test]
fn owners_make_answers_fast_and_no_other() {
    same_as_loose("");
}

/// Runs differ in their codes too, and are passed over by them.
#[test]
fn a_cluster_column_makes_answers_fast_and_no_other() {
    same_as_loose(", cluster = 'kind'");
}

/// Runs of texts, of which one is inserted that no row had; and, rare, one alone in no run.
#[test]
fn rows_clustered_by_texts_answer_the_same() {
    same_as_loose(", cluster = 'word'");
}

/// Some have no kind, and no run has rows of all.
#[test]
fn rows_without_a_time_are_clustered() {
    same_as_loose(", time = NONE, cluster = 'word'");
}

/// Where a step that comes again ends a chain, it leaves the number of the step before it, whatever steps that has before itself: that nobody
/// took one of them says nothing.
#[test]
fn a_step_that_nobody_took_is_needed_in_some_modes_only() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    run(&mut session, "CREATE TABLE members (id BIGINT PRIMARY KEY)");
    run(&mut session, "INSERT INTO members VALUES (1), (2), (3)");
    run(&mut session, "CREATE TABLE rows (whose BIGINT REFERENCES members (id), at TIMESTAMP, kind TEXT)");
    let mut lines = "whose,at,kind\n".to_owned();
    for (whose, kinds) in [(1, "abdb"), (2, "abcd"), (3, "abd")] {
        for (day, kind) in (0..).zip(kinds.chars()) {
            writeln!(lines, "{whose},{},{kind}", day_text(day)).unwrap();
        }
    }
    copy(&mut session, "rows", &lines, directory.path());
    let mut of = |mode: &str| {
        let steps = "kind = 'a', kind = 'b', kind = 'c', kind = 'd'";
        let level = format!("window_funnel(INTERVAL '9 days', {mode}at, {steps})");
        ids(&mut session, &format!("id IN (SELECT whose FROM rows GROUP BY whose HAVING {level} = 4)"))
    };
    assert_eq!((of(""), of("'strict_deduplication', ")), (vec![2], vec![1, 2]));
}

/// Rows that came in the order of their owners: of small numbers of them sets are stored, of large ones none are.
#[test]
fn numbers_of_rows_are_asked_by_their_thresholds() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    run(&mut session, "CREATE TABLE members (id BIGINT PRIMARY KEY)");
    run(&mut session, "CREATE TABLE rows (whose BIGINT REFERENCES members (id), at TIMESTAMP)");
    let members: String = (0..70_000).map(|id| format!("{}\n", 3 * id)).collect();
    copy(&mut session, "members", &format!("id\n{members}"), directory.path());
    let mut lines = "whose,at\n".to_owned();
    for id in (0..70_000).filter(|id| id % 5 == 0) {
        (0..id % 11)
            .for_each(|row| writeln!(lines, "{},{}", 3 * id, day_text((id + 7 * row) % 900)).unwrap());
    }
    copy(&mut session, "rows", &lines, directory.path());
    let count = "(SELECT count(*) FROM rows r WHERE r.whose = m.id)";
    let rows = |id: &i64| if id % 5 == 0 { id % 11 } else { 0 };
    for (low, high, way) in [
        (3, 99, "bitmaps of thresholds"),
        (0, 0, "bitmaps of thresholds"),
        (2, 7, "bitmaps of thresholds"),
        (2, 8, "values, one by one"),
        (9, 99, "values, one by one"),
    ] {
        let condition = match high {
            99 => format!("{count} >= {low}"),
            _ => format!("{count} BETWEEN {low} AND {high}"),
        };
        let expected = (0..70_000).filter(|id| (low..=high).contains(&rows(id))).map(|id| 3 * id);
        assert!(ids(&mut session, &condition) == expected.collect::<Vec<_>>(), "{condition}");
        let explained = format!("EXPLAIN ANALYZE SELECT count(*) FROM members m WHERE {condition}");
        let outcome = session.execute(&explained).unwrap();
        let told: Vec<String> = outcome.rows().map(|row| format!("{row:?}")).collect();
        assert!(told.iter().any(|line| line.contains(way)), "{way}: {told:?}");
    }
}

/// Owners' keys of a chunk that is full take two bytes and a plane; a profile left all of them out.
#[test]
fn a_profile_of_owners_counts_all_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    run(&mut session, "CREATE TABLE members (id BIGINT PRIMARY KEY)");
    run(&mut session, "CREATE TABLE rows (whose BIGINT REFERENCES members (id), at TIMESTAMP)");
    let ids = (0..40_000).map(|id| 3 * id);
    let members: String = ids.clone().map(|id| format!("{id}\n")).collect();
    copy(&mut session, "members", &format!("id\n{members}"), directory.path());
    let rows: String = ids.clone().chain(ids).map(|id| format!("{id},{}\n", day_text(id % 900))).collect();
    copy(&mut session, "rows", &format!("whose,at\n{rows}"), directory.path());
    let outcome = session.execute("PROFILE rows BY whose").unwrap();
    let counts: Vec<i64> = outcome.rows().map(|row| row.get(2).unwrap()).collect();
    assert_eq!((counts.len(), counts.iter().sum::<i64>()), (40_000, 80_000));
}

/// The answers of a table whose rows belong to members are those of one whose rows do not.
fn same_as_loose(options: &str) {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    run(&mut session, "CREATE TABLE members (id BIGINT PRIMARY KEY, grp BIGINT)");
    let columns = "whose BIGINT{}, at TIMESTAMP, kind SMALLINT, amount DECIMAL(9,2), word TEXT, cost INTEGER";
    let table = |name: &str, link: &str| format!("CREATE TABLE {name} ({})", columns.replace("{}", link));
    let rows = table("rows", " REFERENCES members (id)");
    run(&mut session, &format!("{rows} WITH (sums = 'amount'{options})"));
    run(&mut session, &table("loose", ""));
    let (members, rows) = (140_000u64, 180_000u64);
    let mut random = 7u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut lines = "id,grp\n".to_owned();
    (0..members).for_each(|id| writeln!(lines, "{},{}", 3 * id, id % 97).unwrap());
    copy(&mut session, "members", &lines, directory.path());
    let mut lines = "whose,at,kind,amount,word,cost\n".to_owned();
    for number in 0..rows {
        // One member has thousands of rows, some rows are nobody's, most are of the last days.
        let whose = match next(20) {
            0 => 300.to_string(),
            1 => (3 * next(members) + 1).to_string(),
            2 => String::new(),
            _ => (3 * next(members)).to_string(),
        };
        let day = DAYS - 1 - (next(30) * next(30)) as i64;
        let amount = if number % 11 == 0 { String::new() } else { format!("{}.{:02}", next(50), next(100)) };
        let kind = if next(50) == 0 { String::new() } else { next(5).to_string() };
        let word = match next(200) {
            0 => format!("x{}", next(40)),
            1 => String::new(),
            _ => format!("w{}", next(4)),
        };
        // Two bytes are enough for most.
        let cost = if next(100) == 0 { next(5_000_000) } else { next(700) };
        writeln!(lines, "{whose},{},{kind},{amount},{word},{cost}", day_text(day)).unwrap();
    }
    for table in ["rows", "loose"] {
        copy(&mut session, table, &lines, directory.path());
    }
    let from = time(DAYS - 30);
    let conditions = [
        "id IN (SELECT whose FROM rows)".to_owned(),
        format!("id IN (SELECT whose FROM rows WHERE at >= {from} GROUP BY whose HAVING count(*) >= 2)"),
        format!(
            "id IN (SELECT whose FROM rows WHERE at >= {from} AND kind = 3 GROUP BY whose HAVING sum(amount) >= 40)"
        ),
        format!(
            "EXISTS (SELECT 1 FROM rows r WHERE r.whose = m.id) AND NOT EXISTS (SELECT 1 FROM rows r WHERE r.whose = m.id AND at >= {from})"
        ),
        format!(
            "id IN (SELECT whose FROM rows) AND NOT EXISTS (SELECT 1 FROM rows r WHERE r.whose = m.id AND at >= {from})"
        ),
        "id IN (SELECT whose FROM rows GROUP BY whose HAVING sum(amount) >= 100 AND count(*) >= 3)"
            .to_owned(),
        "(SELECT count(*) FROM rows r WHERE r.whose = m.id) BETWEEN 254 AND 100000".to_owned(),
        "(SELECT count(*) FROM rows r WHERE r.whose = m.id AND word = 'w1') > 255".to_owned(),
        "(SELECT count(*) FROM rows r WHERE r.whose = m.id) < 2".to_owned(),
        // Numbers of rows of which sets are stored, and of which none are.
        "(SELECT count(*) FROM rows r WHERE r.whose = m.id) BETWEEN 2 AND 8".to_owned(),
        "(SELECT count(*) FROM rows r WHERE r.whose = m.id) IN (0, 3, 5)".to_owned(),
        "(SELECT count(*) FROM rows r WHERE r.whose = m.id) >= 8".to_owned(),
        "grp < 5 AND (SELECT count(*) FROM rows r WHERE r.whose = m.id) <> 1".to_owned(),
        "id IN (SELECT whose FROM rows GROUP BY whose HAVING sum(amount) >= 60 AND count(*) IN (1, 2, 9))".to_owned(),
        format!("(SELECT max(at) FROM rows r WHERE r.whose = m.id AND word <> 'w0') < {from}"),
        "(SELECT min(amount) FROM rows r WHERE r.whose = m.id) < 1.5".to_owned(),
        "(SELECT avg(amount) FROM rows r WHERE r.whose = m.id AND kind IN (1, 3)) > 30".to_owned(),
        "grp = 5 AND (SELECT sum(amount) FROM rows r WHERE r.whose = m.id) > 90".to_owned(),
        "id = 300 AND (SELECT count(amount) FROM rows r WHERE r.whose = m.id) > 1000".to_owned(),
        // What a run of a cluster column tells.
        format!("(SELECT sum(amount) FROM rows r WHERE r.whose = m.id AND kind IN (0, 2, 3) AND at >= {from}) > 60"),
        "(SELECT count(*) FROM rows r WHERE r.whose = m.id AND kind IN (0, 2) AND word IN ('w0', 'x3', 'x9')) >= 2".to_owned(),
        "EXISTS (SELECT 1 FROM rows r WHERE r.whose = m.id AND kind NOT IN (0, 2) AND word >= 'w2')".to_owned(),
        "id IN (SELECT whose FROM rows WHERE kind IS NULL OR word IS NULL GROUP BY whose HAVING count(*) >= 2)".to_owned(),
        "(SELECT max(kind) FROM rows r WHERE r.whose = m.id AND kind < 3 AND word = 'w1') = 1".to_owned(),
        "id IN (SELECT whose FROM rows WHERE word IN ('w9', 'x1') OR word LIKE 'x2%')".to_owned(),
        "id IN (SELECT whose FROM rows WHERE word = 'w9')".to_owned(),
        "id IN (SELECT whose FROM (SELECT whose, kind, count(*) AS c FROM rows WHERE kind IN (0, 4) AND word <> 'w3' GROUP BY whose, kind) x GROUP BY whose HAVING max(c) >= 2)".to_owned(),
        "id IN (SELECT whose FROM (SELECT whose, at, lag(at) OVER (PARTITION BY whose ORDER BY at) AS b FROM rows WHERE word = 'w2' AND kind = 1) x WHERE at <= b + INTERVAL '9' DAY)".to_owned(),
        // Rows made of rows, owner by owner.
        "id IN (SELECT whose FROM (SELECT whose, at, lag(at) OVER (PARTITION BY whose ORDER BY at) AS b, row_number() OVER (PARTITION BY whose ORDER BY at) AS n FROM rows) x WHERE n = 2 AND at <= b + INTERVAL '3' DAY)".to_owned(),
        "id IN (SELECT whose FROM rows WHERE kind < 3 GROUP BY whose HAVING window_funnel(INTERVAL '30 days', 'strict_increase', at, kind = 0, kind = 1, kind = 2) >= 2)".to_owned(),
        // What lies in runs that are far from each other is left out without a look.
        "id IN (SELECT whose FROM rows GROUP BY whose HAVING window_funnel(INTERVAL '4 days', 'strict_increase', at, kind = 0, kind = 1, kind = 2) = 3)".to_owned(),
        "id IN (SELECT whose FROM rows GROUP BY whose HAVING funnel(INTERVAL '70 days', 'strict_increase', at, kind = 0, kind = 3, kind = 1, kind = 4, kind = 2) >= 5)".to_owned(),
        "grp < 9 AND id IN (SELECT whose FROM (SELECT whose, kind, count(*) AS c FROM rows GROUP BY whose, kind) x GROUP BY whose HAVING max(c) >= 3)".to_owned(),
        "id IN (SELECT r.whose FROM rows r JOIN (SELECT whose, min(at) AS first FROM rows GROUP BY whose) f ON f.whose = r.whose WHERE r.at > f.first + INTERVAL '10' DAY AND r.kind = 1)".to_owned(),
        "id IN (SELECT whose FROM rows GROUP BY whose HAVING median(amount) > 25)".to_owned(),
        "id IN (SELECT whose FROM (SELECT whose, at FROM rows WHERE kind = 1 UNION ALL SELECT whose, at FROM rows WHERE word = 'w1') x GROUP BY whose HAVING count(*) = 3)".to_owned(),
        "EXISTS (SELECT 1 FROM rows a JOIN rows b ON b.whose = a.whose AND b.at > a.at AND b.kind = a.kind + 1 WHERE a.whose = m.id AND a.whose <> 300)".to_owned(),
        // Numbers of which few are large.
        "(SELECT sum(cost) FROM rows r WHERE r.whose = m.id) > 2000".to_owned(),
        format!("id IN (SELECT whose FROM rows WHERE at >= {from} AND kind = 3 GROUP BY whose HAVING sum(cost) BETWEEN 500 AND 900000)"),
        "(SELECT count(*) FROM rows r WHERE r.whose = m.id AND cost BETWEEN 100 AND 2000000) >= 2".to_owned(),
        // One interval, of which 0 is part or is not, of few rows and of many.
        "(SELECT count(*) FROM rows r WHERE r.whose = m.id AND kind = 3) BETWEEN 2 AND 3".to_owned(),
        "(SELECT count(*) FROM rows r WHERE r.whose = m.id AND kind = 2 AND word = 'x7') >= 1".to_owned(),
        format!("(SELECT sum(cost) FROM rows r WHERE r.whose = m.id AND at >= {from} AND kind = 1) <= 600"),
        "(SELECT sum(cost) FROM rows r WHERE r.whose = m.id AND word = 'x7') BETWEEN 1 AND 900".to_owned(),
        "(SELECT sum(cost - 300) FROM rows r WHERE r.whose = m.id AND kind = 2) < -100".to_owned(),
        "id IN (SELECT whose FROM rows WHERE kind = 1 GROUP BY whose HAVING sum(cost) >= 700 AND sum(cost) <> 900)".to_owned(),
        "EXISTS (SELECT 1 FROM rows r WHERE r.whose = m.id AND cost > 65534 AND kind = 1)".to_owned(),
        "(SELECT max(cost) FROM rows r WHERE r.whose = m.id AND kind <> 2) > 65535".to_owned(),
        "id IN (SELECT whose FROM (SELECT whose, cost, lag(cost) OVER (PARTITION BY whose ORDER BY at, cost) AS b FROM rows) x WHERE cost > b + 65000)".to_owned(),
        "grp = 7 AND (SELECT count(DISTINCT date_trunc('week', at)) FROM rows r WHERE r.whose = m.id) >= m.grp - 5".to_owned(),
    ];
    let statements = [
        "SELECT kind, count(*), count(DISTINCT whose), sum(amount) FROM (SELECT DISTINCT whose, kind, amount FROM rows) x GROUP BY kind ORDER BY kind",
        "SELECT kind, count(*), sum(cost), min(cost), max(cost), avg(amount) FROM rows WHERE whose IN (SELECT id FROM members WHERE grp < 40) GROUP BY kind ORDER BY kind",
        "PROFILE rows WHERE cost > 690 BY kind, word",
        "SELECT kind, word, sum(cost) FROM rows WHERE cost >= 300 GROUP BY kind, word ORDER BY kind, word",
        "SELECT cost, count(*), count(amount) FROM rows WHERE cost < 5 OR cost > 4900000 OR whose = 300 GROUP BY cost ORDER BY cost",
        "SELECT c, count(*) FROM (SELECT whose, count(*) AS c FROM rows GROUP BY whose) x GROUP BY c ORDER BY c",
        "SELECT count(*) FROM (SELECT whose FROM rows GROUP BY whose HAVING count(*) >= 3) x",
        "SELECT level, count(*), count(whose) FROM (SELECT whose, window_funnel(INTERVAL '9 days', 'strict_increase', at, kind = 0, kind = 1, kind = 2) AS level FROM rows GROUP BY whose) x GROUP BY level ORDER BY level",
        "WITH f AS (SELECT whose, date_trunc('month', min(at)) AS cohort FROM rows GROUP BY whose) SELECT cohort, date_trunc('month', r.at) AS m, count(DISTINCT r.whose), avg(amount) FROM rows r JOIN f ON r.whose = f.whose GROUP BY 1, 2 ORDER BY 1, 2",
        // Times that are cut to units, of which a run tells, or not; and one that is asked for as it is, too.
        "WITH f AS (SELECT whose, date_trunc('quarter', max(at)) AS last FROM rows WHERE kind <> 1 GROUP BY whose) SELECT last, date_trunc('week', r.at) AS w, count(*), count(DISTINCT r.whose), count(DISTINCT r.kind), max(r.at) FROM rows r LEFT JOIN f ON r.whose = f.whose WHERE r.kind <> 2 AND date_trunc('year', r.at) > f.last - INTERVAL '700' DAY GROUP BY 1, 2 ORDER BY 1, 2",
        "WITH f AS (SELECT whose, min(at) AS first, max(at) AS last FROM rows GROUP BY whose) SELECT date_trunc('day', first) AS d, date_trunc('month', first) AS m, date_trunc('year', last) AS y, date_trunc('hour', last) AS h, count(*), count(DISTINCT f.whose) FROM rows r JOIN f ON r.whose = f.whose GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
        "SELECT date_trunc('month', at) AS m, date_trunc('month', b) AS before, count(*), count(DISTINCT whose) FROM (SELECT whose, at, lag(at) OVER (PARTITION BY whose ORDER BY date_trunc('month', at), at) AS b FROM rows WHERE at IS NOT NULL AND whose <> 300) x GROUP BY 1, 2 HAVING count(*) > 40 ORDER BY 1, 2",
        "SELECT whose, at, n FROM (SELECT whose, at, row_number() OVER (PARTITION BY whose ORDER BY at DESC) AS n FROM rows WHERE kind = 2) x WHERE n <= 2 AND (whose < 600 OR whose IS NULL) ORDER BY whose, n",
    ];
    let answered = |session: &mut Session, sql: &str| -> Vec<String> {
        let outcome = session.execute(sql).map_err(|error| error.render(sql)).unwrap();
        outcome.rows().map(|row| format!("{row:?}")).collect()
    };
    let loosely = |sql: &str| {
        let other = |sql: String, word: &str| sql.replace(&format!("{word} rows"), &format!("{word} loose"));
        ["FROM", "JOIN", "PROFILE"].into_iter().fold(sql.to_owned(), other)
    };
    let compared = |session: &mut Session| {
        for sql in statements {
            let (fast, slow) = (answered(session, sql), answered(session, &loosely(sql)));
            assert_eq!(fast, slow, "{sql}");
        }
        for condition in &conditions {
            for condition in [condition.clone(), format!("NOT ({condition})")] {
                let (fast, slow) = (ids(session, &condition), ids(session, &loosely(&condition)));
                assert!(fast == slow, "{} and {} members: {condition}", fast.len(), slow.len());
            }
        }
    };
    compared(&mut session);
    // Of which no unit has a number.
    let (old, late) = (time(-20_000), time(46_000));
    for table in ["rows", "loose"] {
        run(&mut session, &format!("DELETE FROM {table} WHERE kind = 4 AND word = 'w2'"));
        run(
            &mut session,
            &format!("UPDATE {table} SET amount = 77.5, at = {from} WHERE kind = 0 AND word = 'w3'"),
        );
        run(&mut session, &format!("UPDATE {table} SET whose = 600 WHERE whose = 300 AND kind = 1"));
        run(
            &mut session,
            &format!(
                "INSERT INTO {table} VALUES (303, {from}, 3, 500, 'w1', 90000), (303, NULL, 1, NULL, 'w9', NULL), (306, {old}, 1, 3, 'w1', 1), (306, {late}, 1, 3, 'w1', 70000), (NULL, {from}, 1, 2, 'w1', 2)"
            ),
        );
    }
    // Rows of 302 were nobody's; those of 300 go with it and come back.
    run(&mut session, "INSERT INTO members VALUES (301, 5), (304, 5)");
    run(&mut session, "DELETE FROM members WHERE id IN (300, 303, 3000)");
    run(&mut session, "INSERT INTO members VALUES (300, 5)");
    compared(&mut session);
    run(&mut session, "CHECKPOINT");
    compared(&mut session);
    // Nothing is known of runs any more, in what order they are is.
    for table in ["rows", "loose"] {
        run(&mut session, &format!("ALTER TABLE {table} RENAME COLUMN word TO was"));
        run(&mut session, &format!("ALTER TABLE {table} ADD COLUMN word TEXT"));
    }
    run(&mut session, "ALTER TABLE rows DROP COLUMN was");
    compared(&mut session);
}
