//! Steps that take rows as they are stored, over two chunks of owners and runs of months: they answer as those over a table that belongs to
//! nobody, as rows were imported, imported in parts, and written since.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod asking;

use asking::{copy, day_text, ids, run};
use musterdb::{Database, Session};
use std::fmt::Write;

const MEMBERS: u64 = 70_000;
const DAYS: u64 = 1_500;

/// So many rows, from a number on; some of one member happened at once.
fn lines(numbers: std::ops::Range<u64>) -> String {
    let mut lines = "whose,at,kind,amount,cost,score\n".to_owned();
    let mut random = numbers.start.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for number in numbers {
        // Some members have many rows, most have one or two; some rows are nobody's.
        let whose = match next(12) {
            0 => (next(20) * 3_000).to_string(),
            1 => (next(MEMBERS) + MEMBERS).to_string(),
            2 => String::new(),
            _ => next(MEMBERS).to_string(),
        };
        let day = (DAYS - 1 - next(39) * next(39)) as i64;
        let midnight = day_text(day);
        let (date, seconds) = (midnight.split_once(' ').unwrap().0, number % 86_400);
        let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        let amount = if next(5) == 0 { String::new() } else { format!("{}.{:02}", next(50), next(100)) };
        // Quarters, of which the sum is the same in any order.
        let score = next(40) as f64 / 4.0;
        writeln!(lines, "{whose},{date} {time},{},{amount},{},{score}", next(4), next(900)).unwrap();
    }
    lines
}

const BEFORE: &str = "SELECT whose, at, kind, amount, cost, lag(at) OVER (PARTITION BY whose ORDER BY at) AS b, lag(amount) OVER (PARTITION BY whose ORDER BY at) AS before, row_number() OVER (PARTITION BY whose ORDER BY at) AS n FROM rows";

fn conditions() -> Vec<String> {
    [
        "WHERE n = 2 AND at <= b + INTERVAL '30' DAY",
        "WHERE n = 1 AND kind = 3",
        // Of some numbers only, asked in either order, twice, and of none.
        "WHERE at > b + INTERVAL '20' DAY AND 3 >= n AND n > 1 AND kind <> 1",
        "WHERE n BETWEEN 2 AND 5 AND amount > before",
        "WHERE n > 300 AND before IS NOT NULL",
        "WHERE n = 260 AND at >= b",
        "WHERE n = 2 OR n = 4 AND kind = 2",
        "WHERE n <= 2 GROUP BY whose HAVING count(*) = 2 AND max(at) > min(at) + INTERVAL '300' DAY",
        "WHERE before > amount + 10",
        "WHERE before IS NULL AND n > 1",
        // Gaps of an owner, of all and of some rows.
        "GROUP BY whose HAVING count(*) FILTER (WHERE at > b + INTERVAL '40' DAY) >= 2",
        "WHERE n > 2 GROUP BY whose HAVING sum(cost) > 1000 AND min(before) < 5",
        "GROUP BY whose HAVING max(n) >= 4 AND count(before) < 3",
    ]
    .map(|rest| format!("id IN (SELECT whose FROM ({BEFORE}) x {rest})"))
    .into_iter()
    .chain([
        // Neighbours among some of the rows.
        "id IN (SELECT whose FROM (SELECT whose, kind, lag(kind) OVER (PARTITION BY whose ORDER BY at) AS k FROM rows WHERE kind < 3) x WHERE kind = 1 AND k = 2)".to_owned(),
        // A number of what another number has let through, and another window beside it.
        format!("id IN (SELECT whose FROM (SELECT whose, row_number() OVER (PARTITION BY whose ORDER BY at) AS k FROM ({BEFORE}) y WHERE n >= 2 AND kind < 2) x WHERE k = 2)"),
        format!("id IN (SELECT whose FROM (SELECT whose, n, lag(cost) OVER (PARTITION BY whose ORDER BY at) AS c FROM ({BEFORE}) y) x WHERE n = 2 AND c > 500)"),
        "id IN (SELECT whose FROM (SELECT whose, at, lag(at) OVER (PARTITION BY whose ORDER BY at) AS a, row_number() OVER (PARTITION BY whose ORDER BY at) AS n FROM rows) x WHERE n <= 2 AND at < a + INTERVAL '40' DAY)".to_owned(),
        format!("id IN (SELECT whose FROM (SELECT whose, cost, lag(cost) OVER (PARTITION BY whose ORDER BY at) AS c FROM ({BEFORE}) y WHERE n <> 2) x WHERE cost > c + 300)"),
        // Rows beside what groups say.
        "id IN (SELECT r.whose FROM rows r JOIN (SELECT whose, min(at) AS first FROM rows GROUP BY whose) f ON f.whose = r.whose WHERE r.at > f.first AND r.at < f.first + INTERVAL '20' DAY AND r.kind = 1)".to_owned(),
        "id IN (SELECT r.whose FROM rows r JOIN (SELECT whose, sum(cost) AS s, count(amount) AS c FROM rows WHERE kind <> 2 GROUP BY whose HAVING count(*) >= 3) f ON f.whose = r.whose WHERE r.cost * 4 > f.s AND f.c > 1)".to_owned(),
        "id IN (SELECT r.whose FROM rows r JOIN (SELECT whose, max(at) FILTER (WHERE kind = 1) AS last, min(amount) AS least FROM rows GROUP BY whose) f ON f.whose = r.whose WHERE r.at > f.last AND r.amount <= f.least)".to_owned(),
        "id IN (SELECT r.whose FROM rows r JOIN (SELECT whose, min(at) AS first, count(*) AS c FROM rows GROUP BY whose) f ON f.whose = r.whose AND r.at > f.first + INTERVAL '90' DAY AND r.cost > 100 * f.c)".to_owned(),
        "id IN (SELECT r.whose FROM rows r JOIN (SELECT whose, min(cost + 1) AS least FROM rows WHERE cost > 5 GROUP BY whose) f ON f.whose = r.whose WHERE r.cost > 2 * f.least)".to_owned(),
        "grp < 20 AND id IN (SELECT r.whose FROM rows r JOIN (SELECT whose, max(at) AS last FROM rows GROUP BY whose) f ON f.whose = r.whose WHERE r.at >= f.last AND r.kind = 0)".to_owned(),
        "EXISTS (SELECT 1 FROM (SELECT whose, row_number() OVER (PARTITION BY whose ORDER BY at) AS n FROM rows WHERE kind = 1) x WHERE x.whose = m.id AND n = 3)".to_owned(),
    ])
    .collect()
}

fn statements() -> Vec<String> {
    let firsts = "WITH f AS (SELECT whose, date_trunc('month', min(at)) AS cohort, count(*) AS c FROM rows GROUP BY whose)";
    let lasts = "WITH f AS (SELECT whose, date_trunc('month', max(at)) AS last FROM rows WHERE kind < 2 GROUP BY whose)";
    vec![
        format!("SELECT count(*) FROM ({BEFORE}) x WHERE n < 4 AND n = 9 AND at >= b"),
        // Numbers that no row has.
        format!("SELECT count(*), min(n) FROM ({BEFORE}) x WHERE n < 0"),
        format!("SELECT count(*) FROM ({BEFORE}) x WHERE n BETWEEN -5 AND -1"),
        format!("SELECT count(*), max(at) FROM ({BEFORE}) x WHERE n > 3 AND n < 0"),
        format!("SELECT count(*) FROM ({BEFORE}) x WHERE n = -1 OR n = 0"),
        format!("SELECT count(*) FROM ({BEFORE}) x WHERE n = 5000000000"),
        format!("SELECT count(*), sum(cost) FROM ({BEFORE}) x WHERE n > -3 AND n <= 5000000000"),
        format!("SELECT n, count(*), sum(cost), min(before) FROM ({BEFORE}) x WHERE n > 1 AND 6 > n GROUP BY n ORDER BY n"),
        format!(
            "{firsts} SELECT cohort, date_trunc('month', r.at) AS m, count(DISTINCT r.whose), count(*), sum(r.cost) FROM rows r JOIN f ON f.whose = r.whose GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        format!(
            "{firsts} SELECT cohort, date_trunc('month', r.at) AS m, count(DISTINCT r.whose) FILTER (WHERE r.kind = 1), count(DISTINCT r.kind) FROM rows r JOIN f ON f.whose = r.whose WHERE c > 1 GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        // A group of an owner comes back after another one.
        format!(
            "{firsts} SELECT cohort, r.kind, count(DISTINCT r.whose) FROM rows r JOIN f ON f.whose = r.whose GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        format!(
            "{lasts} SELECT last, date_trunc('year', r.at) AS y, count(DISTINCT r.whose) FROM rows r JOIN f ON f.whose = r.whose GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        format!(
            "SELECT count(*), count(DISTINCT whose), sum(cost), min(before), max(b) FROM ({BEFORE}) x WHERE n = 2 AND at <= b + INTERVAL '30' DAY"
        ),
        format!(
            "SELECT n, kind, count(*), count(before), avg(amount) FROM ({BEFORE}) x WHERE n <= 4 GROUP BY n, kind ORDER BY n, kind"
        ),
        format!(
            "SELECT s, count(*) FROM (SELECT whose, count(*) AS s FROM ({BEFORE}) x WHERE before < amount GROUP BY whose) y GROUP BY s ORDER BY s"
        ),
        // Sums that have no loop, and a filter of truths.
        "SELECT r.kind, count(*), sum(f.s) FROM rows r JOIN (SELECT whose, sum(score) AS s FROM rows GROUP BY whose) f ON f.whose = r.whose WHERE r.score < f.s GROUP BY r.kind ORDER BY r.kind".to_owned(),
        "SELECT r.kind, count(*), count(f.least) FROM rows r JOIN (SELECT whose, min(date_trunc('month', at)) FILTER (WHERE kind = 2) AS least, max(kind) FILTER (WHERE cost < 300) AS k FROM rows GROUP BY whose) f ON f.whose = r.whose WHERE f.k IS NOT NULL GROUP BY r.kind ORDER BY r.kind".to_owned(),
        // Rows in the order of those whose they are.
        format!(
            "SELECT whose, at, n, before FROM ({BEFORE}) x WHERE n BETWEEN 3 AND 4 AND kind = 2 ORDER BY whose, n LIMIT 500"
        ),
    ]
}

#[test]
fn rows_as_they_are_stored_say_what_rows_in_the_order_of_owners_say() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    run(&mut session, "CREATE TABLE members (id BIGINT PRIMARY KEY, grp BIGINT)");
    let columns = "at TIMESTAMP, kind SMALLINT, amount DECIMAL(9,2), cost INTEGER, score DOUBLE PRECISION";
    run(
        &mut session,
        &format!(
            "CREATE TABLE rows (whose BIGINT REFERENCES members (id), {columns}) WITH (owner = 'whose', time = 'at')"
        ),
    );
    run(&mut session, &format!("CREATE TABLE loose (whose BIGINT, {columns})"));
    let members: String = (0..MEMBERS).map(|id| format!("{id},{}\n", id % 97)).collect();
    copy(&mut session, "members", &format!("id,grp\n{members}"), directory.path());
    let both = |session: &mut Session, lines: &str| {
        ["rows", "loose"].into_iter().for_each(|table| copy(session, table, lines, directory.path()));
    };
    let loosely = |sql: &str| sql.replace("FROM rows", "FROM loose");
    let compared = |session: &mut Session| {
        let answered = |session: &mut Session, sql: &str| -> Vec<String> {
            let outcome = session.execute(sql).map_err(|error| error.render(sql)).unwrap();
            outcome.rows().map(|row| format!("{row:?}")).collect()
        };
        for sql in statements() {
            let (stored, loose) = (answered(session, &sql), answered(session, &loosely(&sql)));
            assert!(!stored.is_empty(), "{sql}");
            assert_eq!(stored, loose, "{sql}");
        }
        for condition in conditions() {
            let (stored, loose) = (ids(session, &condition), ids(session, &loosely(&condition)));
            assert!(
                !stored.is_empty() && stored == loose,
                "{} and {}: {condition}",
                stored.len(),
                loose.len()
            );
        }
    };
    both(&mut session, &lines(0..90_000));
    compared(&mut session);
    for condition in conditions().into_iter().filter(|condition| condition.contains("id IN")) {
        let explained =
            session.execute(&format!("EXPLAIN ANALYZE SELECT count(*) FROM members m WHERE {condition}"));
        let explained: String = explained.unwrap().rows().map(|row| format!("{row:?}")).collect();
        assert!(explained.contains("as they are stored"), "{condition}: {explained}");
    }
    // Rows of later days in a part of their own; then those of any.
    both(&mut session, &lines(90_000..92_000));
    compared(&mut session);
    for table in ["rows", "loose"] {
        run(&mut session, &format!("DELETE FROM {table} WHERE cost = 7"));
        run(
            &mut session,
            &format!("UPDATE {table} SET at = at - INTERVAL '60' DAY WHERE cost BETWEEN 8 AND 11"),
        );
        run(&mut session, &format!("UPDATE {table} SET amount = NULL WHERE cost = 12"));
        run(
            &mut session,
            &format!(
                "INSERT INTO {table} VALUES (5, NULL, 1, 3, 9, 1.5), (5, '2026-03-01 00:00:00', 1, 2, 8, NULL)"
            ),
        );
    }
    compared(&mut session);
    run(&mut session, "DELETE FROM members WHERE id % 1000 = 17");
    for table in ["rows", "loose"] {
        run(&mut session, &format!("DELETE FROM {table} WHERE whose % 1000 = 17 OR whose >= {MEMBERS}"));
    }
    run(&mut session, "CHECKPOINT");
    compared(&mut session);
}
