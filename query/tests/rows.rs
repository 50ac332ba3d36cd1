//! Conditions about rows that are made of rows (joins, windows, groups of groups, funnels), over random tables: each is answered
//! as loops over members and rows answer it, asked, kept as an audience, and asked again after a reopening.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod asking;

use asking::{Row, belonging, ids, null_or, time_or_null};
use musterdb::Database;
use proptest::prelude::*;

/// A condition, and the loop's answer for a member.
type Asked<'r> = (String, Box<dyn Fn(i64) -> bool + 'r>);

const MEMBERS: i64 = 6;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn answers_are_those_of_loops(
        rows in proptest::collection::vec(
            (proptest::option::of(0i64..8), 0i64..3, proptest::option::weighted(0.9, 0i64..9), proptest::option::of(-2i64..4)),
            0..24,
        ),
        kinds in proptest::collection::vec((0i64..4, proptest::option::of(0i64..3)), 0..6),
        few in 0i64..4,
        belonging in belonging(),
    ) {
        let rows = belonging.stored(rows);
        let path = tempfile::tempdir().unwrap();
        let open = || Database::open(path.path().join("db")).unwrap();
        let db = open();
        let mut session = db.session();
        session.execute("CREATE TABLE members (id BIGINT PRIMARY KEY, own BIGINT, since TIMESTAMP)").unwrap();
        belonging.create(&mut session);
        session.execute("CREATE TABLE kinds (sku BIGINT, kind BIGINT)").unwrap();
        let asked: Vec<Asked<'_>> = of_joins(&rows, &kinds, few)
            .into_iter()
            .chain(of_order(&rows, few))
            .chain(of_groups(&rows, few))
            .chain(of_second_ties(&rows, few))
            .collect();
        // Defined before there are rows, they follow them.
        for (number, (condition, _)) in asked.iter().enumerate() {
            let sql = format!("CREATE AUDIENCE a{number} AS SELECT id FROM members m WHERE {condition}");
            session.execute(&sql).map_err(|error| error.render(&sql)).unwrap();
        }
        let members: Vec<String> = (0..MEMBERS).map(|id| format!("({id}, {}, {})", own_of(id), time_or_null(since_of(id)))).collect();
        session.execute(&format!("INSERT INTO members VALUES {}", members.join(", "))).unwrap();
        belonging.fill(&mut session, &rows, path.path());
        let values: Vec<String> = kinds.iter().map(|(sku, kind)| format!("({sku}, {})", null_or(*kind))).collect();
        if !values.is_empty() {
            session.execute(&format!("INSERT INTO kinds VALUES {}", values.join(", "))).unwrap();
        }
        let expected = |truth: &dyn Fn(i64) -> bool| -> Vec<i64> { (0..MEMBERS).filter(|id| truth(*id)).collect() };
        for (condition, truth) in &asked {
            prop_assert_eq!(ids(&mut session, condition), expected(truth), "{}", condition);
        }
        drop(session);
        drop(db);
        let db = open();
        let mut session = db.session();
        for (number, (condition, truth)) in asked.iter().enumerate() {
            let inside = expected(truth);
            prop_assert_eq!(&ids(&mut session, &format!("in_audience('a{number}')")), &inside, "{}", condition);
            let outside: Vec<i64> = (0..MEMBERS).filter(|id| !inside.contains(id)).collect();
            prop_assert_eq!(ids(&mut session, &format!("NOT in_audience('a{number}')")), outside, "{}", condition);
        }
        // What is shown under other names means the same.
        session.execute("ALTER TABLE rows RENAME COLUMN n TO number").unwrap();
        session.execute("ALTER TABLE rows RENAME COLUMN at TO moment").unwrap();
        let shown = session.execute("SHOW AUDIENCES").unwrap();
        let definitions: Vec<(String, String)> =
            shown.rows().map(|row| (row.get(0).unwrap(), row.get(5).unwrap())).collect();
        // Rows of a table without a key have no name that SQL could say.
        for (name, definition) in definitions.into_iter().filter(|(_, shown)| !shown.contains("<ordinal>")) {
            let number: usize = name[1..].parse().unwrap();
            let outcome = session.execute(&definition).map_err(|error| error.render(&definition)).unwrap();
            let mut found: Vec<i64> = outcome.rows().map(|row| row.get(0).unwrap()).collect();
            found.sort_unstable();
            prop_assert_eq!(found, expected(&asked[number].1), "{}", definition);
        }
    }
}

/// A member's own number.
fn own_of(id: i64) -> i64 {
    id % 3
}

/// The hour since when.
fn since_of(id: i64) -> Option<i64> {
    (id != 4).then_some(id * 2 % 7)
}

fn of<'r>(rows: &'r [Row]) -> impl Fn(i64) -> Vec<&'r Row> + Copy + 'r {
    move |id| rows.iter().filter(|row| row.0 == Some(id)).collect()
}

/// Joins, and SELECTs tied by more than an equality.
fn of_joins<'r>(rows: &'r [Row], kinds: &'r [(i64, Option<i64>)], few: i64) -> Vec<Asked<'r>> {
    let rows_of = of(rows);
    let pairs = move |id: i64| -> Vec<(&'r Row, Option<i64>)> {
        let own = rows_of(id).into_iter();
        own.flat_map(|row| kinds.iter().filter(|kind| kind.0 == row.1).map(move |kind| (row, kind.1)))
            .collect()
    };
    let after = move |id: i64| {
        let own = rows_of(id);
        let later = |a: &Row, b: &Row| a.1 == b.1 && a.2.zip(b.2).is_some_and(|(a, b)| a < b && b <= a + few);
        own.iter().any(|a| a.3 == Some(1) && own.iter().any(|b| later(a, b)))
    };
    vec![
        (
            format!("id IN (SELECT r.whose FROM rows r JOIN kinds k ON k.sku = r.sku AND k.kind = {few})"),
            Box::new(move |id| pairs(id).iter().any(|(_, kind)| *kind == Some(few))),
        ),
        (
            format!(
                "NOT EXISTS (SELECT 1 FROM rows r JOIN kinds USING (sku) WHERE r.whose = m.id AND n < {few})"
            ),
            Box::new(move |id| !pairs(id).iter().any(|(row, _)| row.3.is_some_and(|n| n < few))),
        ),
        (
            format!(
                "(SELECT count(*) FROM rows r LEFT JOIN kinds k ON k.sku = r.sku WHERE r.whose = m.id) > {few}"
            ),
            Box::new(move |id| {
                let all = rows_of(id)
                    .iter()
                    .map(|row| kinds.iter().filter(|kind| kind.0 == row.1).count().max(1))
                    .sum::<usize>();
                all as i64 > few
            }),
        ),
        (
            "(SELECT sum(n) FROM rows r WHERE r.whose = m.id) > m.own".to_owned(),
            Box::new(move |id| {
                rows_of(id)
                    .iter()
                    .filter_map(|row| row.3)
                    .reduce(|a, b| a + b)
                    .is_some_and(|sum| sum > own_of(id))
            }),
        ),
        (
            "EXISTS (SELECT 1 FROM rows r WHERE r.whose = m.id AND r.n > m.own)".to_owned(),
            Box::new(move |id| rows_of(id).iter().any(|row| row.3.is_some_and(|n| n > own_of(id)))),
        ),
        (
            format!(
                "id IN (SELECT a.whose FROM rows a JOIN rows b ON b.whose = a.whose AND b.sku = a.sku AND b.at > a.at \
                     AND b.at <= a.at + INTERVAL '{few} hours' WHERE a.n = 1)"
            ),
            Box::new(after),
        ),
        (
            format!(
                "id IN (SELECT whose FROM rows r WHERE NOT EXISTS (SELECT 1 FROM rows o WHERE o.whose = r.whose AND o.at > r.at) AND n = {few})"
            ),
            Box::new(move |id| {
                let own = rows_of(id);
                let is_last =
                    |row: &Row| !own.iter().any(|other| other.2.zip(row.2).is_some_and(|(o, r)| o > r));
                own.iter().any(|row| row.3 == Some(few) && is_last(row))
            }),
        ),
        (
            "id + 1 IN (SELECT sku FROM kinds)".to_owned(),
            Box::new(move |id| kinds.iter().any(|kind| kind.0 == id + 1)),
        ),
    ]
}

/// SELECTs tied by an equality and by more, whatever that says of the member.
fn of_second_ties<'r>(rows: &'r [Row], few: i64) -> Vec<Asked<'r>> {
    let rows_of = of(rows);
    let is_later = move |id: i64, row: &Row| row.2.zip(since_of(id)).is_some_and(|(at, since)| at > since);
    let later =
        move |id: i64| -> Vec<&'r Row> { rows_of(id).into_iter().filter(|row| is_later(id, row)).collect() };
    let above = move |id: i64, wanted: bool| -> Vec<&'r Row> {
        rows_of(id).into_iter().filter(|row| row.3.is_some_and(|n| (n > own_of(id)) == wanted)).collect()
    };
    let sum = |rows: Vec<&Row>| rows.iter().filter_map(|row| row.3).reduce(|a, b| a + b);
    let skus = |rows: Vec<&Row>| (0..3).filter(|sku| rows.iter().any(|row| row.1 == *sku)).count() as i64;
    let select = |what: &str| format!("(SELECT {what} FROM rows r WHERE r.whose = m.id AND r.at > m.since)");
    vec![
        (
            format!("{} > {few}", select("sum(n)")),
            Box::new(move |id| sum(later(id)).is_some_and(|sum| sum > few)),
        ),
        (
            format!("{} < {few}", select("count(*)")),
            Box::new(move |id| (later(id).len() as i64) < few),
        ),
        (
            format!("NOT ({} + m.own <= {few})", select("count(*) FILTER (WHERE r.sku <> m.own)")),
            Box::new(move |id| {
                let own = own_of(id);
                later(id).iter().filter(|row| row.1 != own).count() as i64 + own > few
            }),
        ),
        (
            format!("(SELECT count(*) FILTER (WHERE r.at > m.since) FROM rows r WHERE r.whose = m.id) = {few}"),
            Box::new(move |id| later(id).len() as i64 == few),
        ),
        (
            "(SELECT count(DISTINCT sku) FROM rows r WHERE r.whose = m.id AND r.n > m.own) \
                 >= (SELECT count(*) FROM rows r WHERE r.whose = m.id AND r.n <= m.own)"
                .to_owned(),
            Box::new(move |id| skus(above(id, true)) >= above(id, false).len() as i64),
        ),
        (
            format!("(SELECT count(*) FROM rows r WHERE r.whose = m.id AND r.sku = m.own) < {few}"),
            Box::new(move |id| (rows_of(id).iter().filter(|row| row.1 == own_of(id)).count() as i64) < few),
        ),
        (
            format!("(SELECT count(*) FROM rows r WHERE r.whose = m.id AND (r.at > m.since OR m.since IS NULL)) = {few}"),
            Box::new(move |id| {
                let own = rows_of(id);
                own.iter().filter(|row| since_of(id).is_none() || is_later(id, row)).count() as i64 == few
            }),
        ),
        (
            format!("(SELECT sum(r.n * m.own) - m.own FROM rows r WHERE r.whose = m.id) < {few}"),
            Box::new(move |id| sum(rows_of(id)).is_some_and(|sum| (sum - 1) * own_of(id) < few)),
        ),
        (
            format!("{} IS NULL AND {} < {few}", select("max(n) - m.own"), select("count(*)")),
            Box::new(move |id| sum(later(id)).is_none() && (later(id).len() as i64) < few),
        ),
        (
            format!(
                "(SELECT sku FROM rows r WHERE r.whose = m.id AND r.at > m.since ORDER BY abs(r.n - m.own), sku LIMIT 1) = {few}"
            ),
            Box::new(move |id| {
                let distance = |row: &&Row| row.3.map(|n| (n - own_of(id)).abs());
                let nearest = later(id).into_iter().min_by_key(|row| (distance(row).is_none(), distance(row), row.1));
                nearest.is_some_and(|row| row.1 == few)
            }),
        ),
        (
            format!("(SELECT count(*) FROM rows r WHERE r.n > m.own AND r.whose <> m.id) > {few}"),
            Box::new(move |id| {
                let others = rows.iter().filter(|row| row.0.is_some_and(|whose| whose != id));
                others.filter(|row| row.3.is_some_and(|n| n > own_of(id))).count() as i64 > few
            }),
        ),
        (
            format!(
                "id IN (SELECT whose FROM rows r WHERE n = {few} AND (SELECT count(*) FROM rows o WHERE o.whose = r.whose AND o.at < r.at) < 2 \
                     AND (SELECT sum(n) FROM rows o WHERE o.whose = r.whose AND o.sku <> r.sku) > 0)"
            ),
            Box::new(move |id| {
                let own = rows_of(id);
                let before = |row: &Row| own.iter().filter(|other| other.2.zip(row.2).is_some_and(|(o, r)| o < r)).count();
                let others = |row: &Row| sum(own.iter().copied().filter(|other| other.1 != row.1).collect());
                own.iter().any(|row| row.3 == Some(few) && before(row) < 2 && others(row) > Some(0))
            }),
        ),
        (
            "id IN (SELECT whose FROM rows r GROUP BY whose HAVING count(*) > (SELECT 1 + count(*) FROM rows o WHERE o.whose = r.whose AND o.n >= r.whose))".to_owned(),
            Box::new(move |id| {
                let own = rows_of(id);
                own.len() > 1 + own.iter().filter(|row| row.3.is_some_and(|n| n >= id)).count()
            }),
        ),
        (format!("NOT EXISTS {}", select("1")), Box::new(move |id| later(id).is_empty())),
        (
            format!("m.own IN {}", select("sku")),
            Box::new(move |id| later(id).iter().any(|row| row.1 == own_of(id))),
        ),
        (
            format!("m.own NOT IN {}", select("n")),
            Box::new(move |id| later(id).iter().all(|row| row.3.is_some_and(|n| n != own_of(id)))),
        ),
    ]
}

/// A member's rows in the order of time, of several at one time the first stored first.
fn ordered(rows: Vec<&Row>) -> Vec<&Row> {
    let mut rows = rows;
    // NULLs are the greatest.
    rows.sort_by_key(|row| (row.2.is_none(), row.2));
    rows
}

/// First and last rows, windows, funnels.
fn of_order<'r>(rows: &'r [Row], few: i64) -> Vec<Asked<'r>> {
    let rows_of = of(rows);
    let known = move |id: i64| -> Vec<&'r Row> {
        ordered(rows_of(id)).into_iter().filter(|row| row.2.is_some() && row.3.is_some()).collect()
    };
    let last = move |id: i64| -> Option<i64> {
        let known = known(id);
        let latest = known.last()?.2;
        known.iter().find(|row| row.2 == latest)?.3
    };
    let funnel = move |id: i64, strict: bool| {
        let own: Vec<&Row> = ordered(rows_of(id)).into_iter().filter(|row| row.2.is_some()).collect();
        let follows = |a: usize, b: usize| if strict { own[b].2 > own[a].2 } else { b > a };
        let within = |a: usize, b: usize| own[b].2.zip(own[a].2).is_some_and(|(b, a)| b - a <= few);
        let steps = |step: i64| (0..own.len()).filter(|at| own[*at].1 == step).collect::<Vec<_>>();
        let mut most = i64::from(!steps(0).is_empty());
        for a in steps(0) {
            for b in steps(1).into_iter().filter(|b| follows(a, *b) && within(a, *b)) {
                most = most.max(2);
                if steps(2).into_iter().any(|c| follows(b, c) && within(a, c)) {
                    most = 3;
                }
            }
        }
        most
    };
    let funnel_of =
        move |mode: &str| format!("funnel(INTERVAL '{few} hours', {mode}at, sku = 0, sku = 1, sku = 2)");
    vec![
        (
            format!("(SELECT arg_max(n, at) FROM rows r WHERE r.whose = m.id) = {few}"),
            Box::new(move |id| last(id) == Some(few)),
        ),
        (
            format!("id IN (SELECT whose FROM rows GROUP BY whose HAVING arg_min(n, at) <= {few})"),
            Box::new(move |id| known(id).first().is_some_and(|row| row.3 <= Some(few))),
        ),
        (
            format!("(SELECT sku FROM rows r WHERE r.whose = m.id ORDER BY at LIMIT 1) = {few}"),
            Box::new(move |id| ordered(rows_of(id)).first().is_some_and(|row| row.1 == few)),
        ),
        (
            format!(
                "id IN (SELECT whose FROM (SELECT whose, n, lag(n) OVER (PARTITION BY whose ORDER BY at) AS p FROM rows) t WHERE n > p AND n <= {few})"
            ),
            Box::new(move |id| {
                let own = ordered(rows_of(id));
                own.windows(2).any(|pair| pair[0].3.zip(pair[1].3).is_some_and(|(p, n)| n > p && n <= few))
            }),
        ),
        (
            format!(
                "id IN (SELECT whose FROM (SELECT whose, sku, row_number() OVER (PARTITION BY whose ORDER BY at DESC, sku) AS rn FROM rows WHERE at IS NOT NULL) t WHERE rn <= 2 AND sku = {few})"
            ),
            Box::new(move |id| {
                let mut own: Vec<&Row> = rows_of(id).into_iter().filter(|row| row.2.is_some()).collect();
                own.sort_by_key(|row| (std::cmp::Reverse(row.2), row.1));
                own.iter().take(2).any(|row| row.1 == few)
            }),
        ),
        (
            format!("(SELECT {} FROM rows r WHERE r.whose = m.id) >= 2", funnel_of("")),
            Box::new(move |id| funnel(id, false) >= 2),
        ),
        (
            format!(
                "id IN (SELECT whose FROM rows GROUP BY whose HAVING {} = 3)",
                funnel_of("'strict_increase', ")
            ),
            Box::new(move |id| funnel(id, true) == 3),
        ),
    ]
}

/// Groups of groups, parts of all, the first ones.
fn of_groups<'r>(rows: &'r [Row], few: i64) -> Vec<Asked<'r>> {
    let rows_of = of(rows);
    let owners = move || -> Vec<i64> {
        let mut owners: Vec<i64> = rows.iter().filter_map(|row| row.0).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    };
    let ranked = move || {
        let mut owners = owners();
        owners.sort_by_key(|id| (rows_of(*id).len(), *id));
        owners
    };
    let favourite = move |id: i64| {
        let count = |sku: i64| rows_of(id).iter().filter(|row| row.1 == sku).count();
        (0..3).filter(|sku| count(*sku) > 0).max_by_key(|sku| (count(*sku), -sku))
    };
    vec![
        (
            format!("id IN (SELECT whose FROM (SELECT whose, sku, row_number() OVER (PARTITION BY whose ORDER BY count(*) DESC, sku) AS rn \
                     FROM rows GROUP BY whose, sku) t WHERE rn = 1 AND sku = {few})"),
            Box::new(move |id| favourite(id) == Some(few)),
        ),
        (
            "id IN (SELECT whose FROM (SELECT whose, ntile(2) OVER (ORDER BY count(*), whose) AS half FROM rows WHERE whose IS NOT NULL GROUP BY whose) t WHERE half = 2)".to_owned(),
            Box::new(move |id| {
                let ranked = ranked();
                ranked.iter().position(|known| *known == id).is_some_and(|at| at >= ranked.len().div_ceil(2))
            }),
        ),
        (
            format!("id IN (SELECT whose FROM rows WHERE whose IS NOT NULL GROUP BY whose ORDER BY count(*) DESC, whose LIMIT {few})"),
            Box::new(move |id| {
                let mut owners = owners();
                owners.sort_by_key(|id| (std::cmp::Reverse(rows_of(*id).len()), *id));
                owners.iter().take(few as usize).any(|known| *known == id)
            }),
        ),
        (
            "(SELECT median(n) FROM rows r WHERE r.whose = m.id) < (SELECT avg(n) FROM rows)".to_owned(),
            Box::new(move |id| {
                let mut own: Vec<i64> = rows_of(id).iter().filter_map(|row| row.3).collect();
                own.sort_unstable();
                let all: Vec<i64> = rows.iter().filter_map(|row| row.3).collect();
                if own.is_empty() {
                    return false;
                }
                let median = (own[(own.len() - 1) / 2] + own[own.len() / 2]) as f64 / 2.0;
                median < all.iter().sum::<i64>() as f64 / all.len() as f64
            }),
        ),
        (
            format!("id IN (WITH t AS (SELECT whose, count(DISTINCT sku) AS skus FROM rows GROUP BY whose) SELECT a.whose FROM t a WHERE skus > {few} OR skus = (SELECT max(skus) FROM t))"),
            Box::new(move |id| {
                let skus = |rows: Vec<&Row>| (0..3).filter(|sku| rows.iter().any(|row| row.1 == *sku)).count() as i64;
                let of_nobody = skus(rows.iter().filter(|row| row.0.is_none()).collect());
                let most = owners().into_iter().map(|id| skus(rows_of(id))).chain([of_nobody]).max();
                let own = skus(rows_of(id));
                own > 0 && (own > few || Some(own) == most)
            }),
        ),
    ]
}

/// Loops over pairs hear of a cancellation.
#[test]
fn four_hundred_million_pairs_are_cancelled() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    session.execute("CREATE TABLE many (id BIGINT PRIMARY KEY)").unwrap();
    let values: Vec<String> = (0..20_000).map(|id| format!("({id})")).collect();
    session.execute(&format!("INSERT INTO many VALUES {}", values.join(", "))).unwrap();
    let cancel = session.cancel_handle();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        cancel.cancel();
    });
    let started = std::time::Instant::now();
    let error = session.execute("SELECT count(*) FROM many a JOIN many b ON a.id + b.id < 0").unwrap_err();
    canceller.join().unwrap();
    assert!(error.to_string().contains("cancelled"), "{error}");
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
