//! Conditions with set operations, outer joins, frames, patterns and the later aggregates, over random tables with NULLs and ties in time:
//! each is answered as loops over rows answer it, asked, kept as an audience, and asked again after a reopening and as it is
//! shown.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod asking;

use asking::{Row, belonging, ids};
use musterdb::Database;
use proptest::prelude::*;

/// A condition, and the loop's answer for a member.
type Asked<'r> = (String, Box<dyn Fn(i64) -> bool + 'r>);

const MEMBERS: i64 = 5;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn answers_are_those_of_loops(
        rows in proptest::collection::vec(
            (proptest::option::weighted(0.9, 0i64..4), 0i64..3, proptest::option::weighted(0.9, 0i64..7), proptest::option::weighted(0.8, 0i64..4)),
            0..20,
        ),
        few in 0i64..4,
        belonging in belonging(),
    ) {
        let rows = belonging.stored(rows);
        let path = tempfile::tempdir().unwrap();
        let open = || Database::open(path.path().join("db")).unwrap();
        let db = open();
        let mut session = db.session();
        session.execute("CREATE TABLE members (id BIGINT PRIMARY KEY)").unwrap();
        belonging.create(&mut session);
        let asked: Vec<Asked<'_>> =
            of_sets(&rows, few).into_iter().chain(of_joins(&rows, few)).chain(of_frames(&rows, few)).chain(of_order(&rows, few)).collect();
        for (number, (condition, _)) in asked.iter().enumerate() {
            let sql = format!("CREATE AUDIENCE a{number} AS SELECT id FROM members m WHERE {condition}");
            session.execute(&sql).map_err(|error| error.render(&sql)).unwrap();
        }
        let members: Vec<String> = (0..MEMBERS).map(|id| format!("({id})")).collect();
        session.execute(&format!("INSERT INTO members VALUES {}", members.join(", "))).unwrap();
        belonging.fill(&mut session, &rows, path.path());
        let expected = |truth: &dyn Fn(i64) -> bool| -> Vec<i64> { (0..MEMBERS).filter(|id| truth(*id)).collect() };
        for (condition, truth) in &asked {
            prop_assert_eq!(ids(&mut session, condition), expected(truth), "{}", condition);
        }
        drop(session);
        drop(db);
        let db = open();
        let mut session = db.session();
        for (number, (condition, truth)) in asked.iter().enumerate() {
            prop_assert_eq!(ids(&mut session, &format!("in_audience('a{number}')")), expected(truth), "{}", condition);
        }
        session.execute("ALTER TABLE rows RENAME COLUMN n TO number").unwrap();
        session.execute("ALTER TABLE rows RENAME COLUMN at TO moment").unwrap();
        let shown = session.execute("SHOW AUDIENCES").unwrap();
        let definitions: Vec<(String, String)> =
            shown.rows().map(|row| (row.get(0).unwrap(), row.get(5).unwrap())).collect();
        for (name, definition) in definitions.into_iter().filter(|(_, shown)| !shown.contains("<ordinal>")) {
            let number: usize = name[1..].parse().unwrap();
            let outcome = session.execute(&definition).map_err(|error| error.render(&definition)).unwrap();
            let mut found: Vec<i64> = outcome.rows().map(|row| row.get(0).unwrap()).collect();
            found.sort_unstable();
            prop_assert_eq!(found, expected(&asked[number].1), "{}", definition);
        }
    }
}

fn of<'r>(rows: &'r [Row]) -> impl Fn(i64) -> Vec<&'r Row> + Copy + 'r {
    move |id| rows.iter().filter(|row| row.0 == Some(id)).collect()
}

fn of_sets<'r>(rows: &'r [Row], few: i64) -> Vec<Asked<'r>> {
    let some = move |is: fn(&Row, i64) -> bool| rows.iter().filter(move |row| is(row, few));
    vec![
        (
            format!("id IN (SELECT whose FROM rows WHERE n = {few} UNION SELECT sku FROM rows WHERE whose = 1)"),
            Box::new(move |id| {
                some(|row, few| row.3 == Some(few)).any(|row| row.0 == Some(id))
                    || rows.iter().any(|row| row.0 == Some(1) && row.1 == id)
            }),
        ),
        (
            "id IN (SELECT whose FROM rows EXCEPT SELECT sku FROM rows WHERE n IS NULL)".to_owned(),
            Box::new(move |id| {
                rows.iter().any(|row| row.0 == Some(id))
                    && !rows.iter().any(|row| row.3.is_none() && row.1 == id)
            }),
        ),
        (
            format!("id IN (SELECT whose FROM rows WHERE n > 0 INTERSECT SELECT whose FROM rows WHERE sku = {few})"),
            Box::new(move |id| {
                some(|row, few| row.1 == few).any(|row| row.0 == Some(id))
                    && rows.iter().any(|row| row.3 > Some(0) && row.0 == Some(id))
            }),
        ),
        (
            "(SELECT count(*) FROM (SELECT n FROM rows WHERE sku = 0 EXCEPT ALL SELECT n FROM rows WHERE sku = 1) t) > m.id".to_owned(),
            Box::new(move |id| {
                let mut left: Vec<_> = rows.iter().filter(|row| row.1 == 0).map(|row| row.3).collect();
                for row in rows.iter().filter(|row| row.1 == 1) {
                    if let Some(at) = left.iter().position(|n| *n == row.3) {
                        left.remove(at);
                    }
                }
                left.len() as i64 > id
            }),
        ),
        (
            "(SELECT count(*) FROM (SELECT n FROM rows WHERE sku = 0 INTERSECT ALL SELECT n FROM rows WHERE sku = 1 UNION ALL SELECT whose FROM rows WHERE sku = 2) t) > m.id".to_owned(),
            Box::new(move |id| {
                let mut right: Vec<_> = rows.iter().filter(|row| row.1 == 1).map(|row| row.3).collect();
                let mut both = rows.iter().filter(|row| row.1 == 2).count();
                for row in rows.iter().filter(|row| row.1 == 0) {
                    if let Some(at) = right.iter().position(|n| *n == row.3) {
                        right.remove(at);
                        both += 1;
                    }
                }
                both as i64 > id
            }),
        ),
    ]
}

/// IN of tied rows; joins that keep the rows of their right side.
fn of_joins<'r>(rows: &'r [Row], few: i64) -> Vec<Asked<'r>> {
    let rows_of = of(rows);
    vec![
        (
            format!("{few} NOT IN (SELECT n FROM rows r WHERE r.whose = m.id)"),
            Box::new(move |id| rows_of(id).iter().all(|row| row.3.is_some_and(|n| n != few))),
        ),
        (
            format!("({few} IN (SELECT n FROM rows r WHERE r.whose = m.id AND r.sku >= m.id)) IS NULL"),
            Box::new(move |id| {
                let own: Vec<_> = rows_of(id).into_iter().filter(|row| row.1 >= id).map(|row| row.3).collect();
                own.contains(&None) && !own.contains(&Some(few))
            }),
        ),
        (
            "id IN (SELECT sku FROM rows r WHERE r.n > m.id)".to_owned(),
            Box::new(move |id| rows.iter().any(|row| row.1 == id && row.3.is_some_and(|n| n > id))),
        ),
        (
            format!("id IN (SELECT b.whose FROM rows a RIGHT JOIN rows b ON a.whose = b.whose AND a.n = {few} WHERE a.sku IS NULL)"),
            Box::new(move |id| {
                !rows_of(id).is_empty() && rows_of(id).iter().all(|row| row.3 != Some(few))
            }),
        ),
        (
            format!("(SELECT count(*) FROM (SELECT whose, n FROM rows WHERE sku = 0) a FULL JOIN (SELECT whose, n FROM rows WHERE sku = 1) b ON a.whose = b.whose AND b.n >= {few}) > m.id"),
            Box::new(move |id| {
                let pairs = |a: &Row, b: &Row| a.0.is_some() && a.0 == b.0 && b.3.is_some_and(|n| n >= few);
                let lefts = || rows.iter().filter(|row| row.1 == 0);
                let rights = || rows.iter().filter(|row| row.1 == 1);
                let both: usize = lefts().map(|a| rights().filter(|b| pairs(a, b)).count().max(1)).sum();
                let alone = rights().filter(|b| !lefts().any(|a| pairs(a, b))).count();
                (both + alone) as i64 > id
            }),
        ),
        (
            "id IN (SELECT c.sku FROM rows a JOIN rows b ON b.whose = a.whose AND b.n = 1 AND a.n = 0 RIGHT JOIN rows c ON c.whose = b.whose WHERE b.sku IS NULL)".to_owned(),
            Box::new(move |id| {
                let kept = |whose: Option<i64>| {
                    let own = |n: i64| rows.iter().any(|row| row.0.is_some() && row.0 == whose && row.3 == Some(n));
                    own(0) && own(1)
                };
                rows.iter().any(|row| row.1 == id && !kept(row.0))
            }),
        ),
    ]
}

/// A member's rows in the order of time, NULLs last, of several at one time the first stored first.
fn ordered(mut rows: Vec<&Row>) -> Vec<&Row> {
    rows.sort_by_key(|row| (row.2.is_none(), row.2));
    rows
}

/// Windows of a part of the neighbours.
fn of_frames<'r>(rows: &'r [Row], few: i64) -> Vec<Asked<'r>> {
    let own = move |id: i64| ordered(of(rows)(id));
    let sum = |rows: &[&Row]| rows.iter().filter_map(|row| row.3).reduce(|a, b| a + b);
    // Where rows of one time begin, and where they end.
    let peers = |own: &[&Row], at: usize| {
        let same = |row: &&Row| row.2 == own[at].2;
        (own.iter().position(same).unwrap(), own.iter().rposition(same).unwrap() + 1)
    };
    let over = |call: &str, frame: &str, asks: String| {
        format!(
            "id IN (SELECT whose FROM (SELECT whose, {call} OVER (PARTITION BY whose ORDER BY at {frame}) AS x FROM rows) t WHERE x {asks})"
        )
    };
    vec![
        (
            over("sum(n)", "ROWS BETWEEN 1 PRECEDING AND CURRENT ROW", format!("= {few}")),
            Box::new(move |id| {
                let own = own(id);
                (0..own.len()).any(|at| sum(&own[at.saturating_sub(1)..=at]) == Some(few))
            }),
        ),
        (
            over("sum(n)", "", format!("= {few}")),
            Box::new(move |id| {
                let own = own(id);
                (0..own.len()).any(|at| sum(&own[..peers(&own, at).1]) == Some(few))
            }),
        ),
        (
            over("count(n)", "ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING", format!("= {few}")),
            Box::new(move |id| {
                let own = own(id);
                (0..own.len())
                    .any(|at| own[at + 1..].iter().filter(|row| row.3.is_some()).count() as i64 == few)
            }),
        ),
        (
            over(
                "count(*)",
                "RANGE BETWEEN INTERVAL '2 hours' PRECEDING AND INTERVAL '1 hour' FOLLOWING",
                format!("= {few}"),
            ),
            Box::new(move |id| {
                let own = own(id);
                let near = |a: &Row, b: &Row| match (a.2, b.2) {
                    (Some(a), Some(b)) => (a - 2..=a + 1).contains(&b),
                    (a, b) => a == b,
                };
                own.iter().any(|a| own.iter().filter(|b| near(a, b)).count() as i64 == few)
            }),
        ),
        (
            over(
                "min(n)",
                "DESC RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW",
                format!("= {few}"),
            ),
            Box::new(move |id| {
                let own = own(id);
                let near = |a: &Row, b: &Row| match (a.2, b.2) {
                    (Some(a), Some(b)) => (a..=a + 1).contains(&b),
                    (a, b) => a == b,
                };
                own.iter().any(|a| own.iter().filter(|b| near(a, b)).filter_map(|b| b.3).min() == Some(few))
            }),
        ),
        (
            over(
                "nth_value(sku, 2)",
                "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
                format!("= {few}"),
            ),
            Box::new(move |id| own(id).get(1).is_some_and(|row| row.1 == few)),
        ),
        (
            over("last_value(sku)", "GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING", format!("= {few}")),
            Box::new(move |id| {
                let own = own(id);
                (0..own.len()).any(|at| {
                    let end = peers(&own, at).1;
                    let end = if end < own.len() { peers(&own, end).1 } else { end };
                    own[end - 1].1 == few
                })
            }),
        ),
        (
            over("first_value(sku)", "GROUPS 1 PRECEDING", format!("= {few}")),
            Box::new(move |id| {
                let own = own(id);
                (0..own.len()).any(|at| {
                    let start = peers(&own, at).0;
                    let start = if start > 0 { peers(&own, start - 1).0 } else { start };
                    own[start].1 == few
                })
            }),
        ),
    ]
}

/// Sequences, and aggregates that see all values.
fn of_order<'r>(rows: &'r [Row], few: i64) -> Vec<Asked<'r>> {
    let rows_of = of(rows);
    let known = move |id: i64| -> Vec<&'r Row> {
        ordered(rows_of(id)).into_iter().filter(|row| row.2.is_some()).collect()
    };
    let grouped = |value: String| format!("id IN (SELECT whose FROM rows GROUP BY whose HAVING {value})");
    let hours = |a: &Row, b: &Row| b.2.zip(a.2).map_or(i64::MAX, |(b, a)| b - a);
    vec![
        (
            grouped(format!("window_funnel(INTERVAL '{few} hours', at, sku = 0, sku = 1, sku = 2) = 3")),
            Box::new(move |id| {
                let own = known(id);
                let of = |sku: i64| own.iter().filter(move |row| row.1 == sku);
                of(0).any(|a| {
                    of(1).any(|b| hours(a, b) >= 0 && of(2).any(|c| hours(b, c) >= 0 && hours(a, c) <= few))
                })
            }),
        ),
        (
            grouped(format!("funnel(INTERVAL '{few} hours', 'consecutive', at, sku = 0, n > 0) = 2")),
            Box::new(move |id| {
                let own = known(id);
                own.windows(2)
                    .any(|pair| pair[0].1 == 0 && pair[1].3 > Some(0) && hours(pair[0], pair[1]) <= few)
            }),
        ),
        (
            grouped(format!(
                "sequence_match('(?1)(?!3)(?t<={})(?2)', at, sku = 0, sku = 1, sku = 2)",
                few * 3_600
            )),
            Box::new(move |id| {
                let own = known(id);
                let all = 0..own.len();
                all.clone().filter(|a| own[*a].1 == 0).any(|a| {
                    all.clone()
                        .filter(|b| *b > a && own[*b].1 == 1)
                        .any(|b| hours(own[a], own[b]) <= few && own[a + 1..b].iter().all(|row| row.1 != 2))
                })
            }),
        ),
        (
            grouped(format!("sequence_count('(?1).*(?2)', at, sku = 0, sku = 1) = {few}")),
            Box::new(move |id| {
                let own = known(id);
                let (mut count, mut wanted) = (0, 0);
                for row in &own {
                    if row.1 == wanted {
                        (count, wanted) = (count + wanted, 1 - wanted);
                    }
                }
                !rows_of(id).is_empty() && count == few
            }),
        ),
        (
            grouped(format!("sequence_match('(?1)(?!2)', at, sku = 0, n = {few})")),
            Box::new(move |id| {
                let own = known(id);
                let last = own.iter().rposition(|row| row.1 == 0);
                last.is_some_and(|last| own[last + 1..].iter().all(|row| row.3 != Some(few)))
            }),
        ),
        // The same article: groups by it.
        (
            format!(
                "id IN (SELECT whose FROM rows GROUP BY whose, sku HAVING funnel(INTERVAL '{few} hours', 'strict_increase', at, n = 0, n = 1) = 2)"
            ),
            Box::new(move |id| {
                let own = known(id);
                own.iter().any(|a| {
                    a.3 == Some(0)
                        && own
                            .iter()
                            .any(|b| b.1 == a.1 && b.3 == Some(1) && hours(a, b) > 0 && hours(a, b) <= few)
                })
            }),
        ),
        (
            grouped(format!("count(DISTINCT sku, n) = {few}")),
            Box::new(move |id| {
                let own = rows_of(id);
                let mut pairs: Vec<_> =
                    own.iter().filter(|row| row.3.is_some()).map(|row| (row.1, row.3)).collect();
                pairs.sort_unstable();
                pairs.dedup();
                !own.is_empty() && pairs.len() as i64 == few
            }),
        ),
        (
            grouped(format!("quantile_disc(n, 0.5) = {few}")),
            Box::new(move |id| {
                let mut own: Vec<i64> = rows_of(id).iter().filter_map(|row| row.3).collect();
                own.sort_unstable();
                !own.is_empty() && own[own.len().div_ceil(2) - 1] == few
            }),
        ),
        (
            grouped(format!("percentile_cont(0.8) WITHIN GROUP (ORDER BY n) > {few}")),
            Box::new(move |id| {
                let mut own: Vec<i64> = rows_of(id).iter().filter_map(|row| row.3).collect();
                own.sort_unstable();
                let Some(most) = own.len().checked_sub(1) else { return false };
                let place = most as f64 * 0.8;
                let (low, high) = (own[place.floor() as usize], own[place.ceil() as usize]);
                low as f64 + (high - low) as f64 * place.fract() > few as f64
            }),
        ),
        (
            grouped(format!("mode(n) = {few} OR mode() WITHIN GROUP (ORDER BY n DESC) = {few}")),
            Box::new(move |id| {
                let count = |n: i64| rows_of(id).iter().filter(|row| row.3 == Some(n)).count();
                let most = (0..4).map(count).max().unwrap();
                let tops: Vec<i64> = (0..4).filter(|n| most > 0 && count(*n) == most).collect();
                tops.first() == Some(&few) || tops.last() == Some(&few)
            }),
        ),
    ]
}
