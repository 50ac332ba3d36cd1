//! Conditions about the rows of a member, over random tables: each is answered as a loop over members and rows answers it, NULLs,
//! rows of nobody and members without rows included; its NOT too.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod asking;

use asking::{ids, null_or};
use musterdb::Database;
use proptest::prelude::*;

/// Of a row: whose, its kind, its amount.
type Row = (Option<i64>, i64, Option<i64>);

/// A condition, and the loop's answer for a member: one of SQL's three truths.
type Asked<'r> = (String, Box<dyn Fn(usize) -> Option<bool> + 'r>);

fn sum(rows: &[&Row]) -> Option<i64> {
    rows.iter().filter_map(|row| row.2).reduce(|a, b| a + b)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn answers_are_those_of_a_loop(
        groups in proptest::collection::vec(proptest::option::of(0i64..6), 1..12),
        rows in proptest::collection::vec((proptest::option::of(0i64..14), 0i64..3, proptest::option::of(-2i64..4)), 0..40),
        few in 0i64..3,
    ) {
        let path = tempfile::tempdir().unwrap();
        let open = || Database::open(path.path().join("db")).unwrap();
        let db = open();
        let mut session = db.session();
        session.execute("CREATE TABLE members (id BIGINT PRIMARY KEY, grp BIGINT)").unwrap();
        session.execute("CREATE TABLE rows (whose BIGINT, kind BIGINT, amount BIGINT)").unwrap();
        let asked: Vec<Asked<'_>> = ["m.id", "m.grp"].into_iter().flat_map(|tie| asked(tie, &groups, &rows, few)).collect();
        // Defined before there are rows, they follow them.
        for (number, (condition, _)) in asked.iter().enumerate() {
            let sql = format!("CREATE AUDIENCE a{number} AS SELECT id FROM members m WHERE {condition}");
            session.execute(&sql).map_err(|error| error.render(&sql)).unwrap();
        }
        for (id, group) in groups.iter().enumerate() {
            session.execute(&format!("INSERT INTO members VALUES ({id}, {})", null_or(*group))).unwrap();
        }
        for (whose, kind, amount) in &rows {
            let values = format!("({}, {kind}, {})", null_or(*whose), null_or(*amount));
            session.execute(&format!("INSERT INTO rows VALUES {values}")).unwrap();
        }
        let expected = |truth: &dyn Fn(usize) -> Option<bool>, wanted: bool| -> Vec<i64> {
            (0..groups.len()).filter(|id| truth(*id) == Some(wanted)).map(|id| id as i64).collect()
        };
        for (condition, truth) in &asked {
            prop_assert_eq!(ids(&mut session, condition), expected(truth, true), "{}", condition);
            let negated = format!("NOT ({condition})");
            prop_assert_eq!(ids(&mut session, &negated), expected(truth, false), "{}", negated);
        }
        drop(session);
        drop(db);
        let db = open();
        let mut session = db.session();
        for (number, (condition, truth)) in asked.iter().enumerate() {
            let known = expected(truth, true);
            prop_assert_eq!(&ids(&mut session, &format!("in_audience('a{number}')")), &known, "{}", condition);
            // Who is unknown is outside.
            let outside: Vec<i64> = (0..groups.len() as i64).filter(|id| !known.contains(id)).collect();
            prop_assert_eq!(ids(&mut session, &format!("NOT in_audience('a{number}')")), outside, "{}", condition);
        }
    }
}

/// Conditions by one tie, with a loop's answers.
fn asked<'r>(tie: &'static str, groups: &'r [Option<i64>], rows: &'r [Row], few: i64) -> Vec<Asked<'r>> {
    let rows_of = move |id: usize| -> Vec<&'r Row> {
        let value = if tie == "m.id" { Some(id as i64) } else { groups[id] };
        rows.iter().filter(|row| value.is_some() && row.0 == value).collect()
    };
    let of_kind =
        move |id: usize| -> Vec<&'r Row> { rows_of(id).into_iter().filter(|row| row.1 == 1).collect() };
    let count = move |id: usize| rows_of(id).len() as i64;
    let known = move |id: usize| of_kind(id).iter().filter(|row| row.2.is_some()).count() as i64;
    let own = move |id: usize| if tie == "m.id" { Some(id as i64) } else { groups[id] };
    // `x IN`: a hit, else unknown beside a NULL on either side, unless there is nothing to be in.
    let within = move |id: usize, values: Vec<Option<i64>>| match own(id) {
        _ if values.is_empty() => Some(false),
        None => None,
        Some(own) if values.contains(&Some(own)) => Some(true),
        Some(_) if values.contains(&None) => None,
        Some(_) => Some(false),
    };
    let select = |what: &str| format!("(SELECT {what} FROM rows r WHERE r.whose = {tie})");
    let select_kind = |what: &str| format!("(SELECT {what} FROM rows r WHERE kind = 1 AND {tie} = r.whose)");
    let at_least = move |kind: i64, wanted: usize| -> Vec<Option<i64>> {
        let count = |value: Option<i64>| rows.iter().filter(|row| row.0 == value && row.1 >= kind).count();
        let all = rows.iter().filter(|row| row.1 >= kind).map(|row| row.0);
        all.filter(|value| count(*value) >= wanted).collect()
    };
    vec![
        (format!("EXISTS {}", select("1")), Box::new(move |id| Some(count(id) > 0))),
        (format!("NOT EXISTS {}", select_kind("*")), Box::new(move |id| Some(of_kind(id).is_empty()))),
        (format!("{} < {few}", select("count(*)")), Box::new(move |id| Some(count(id) < few))),
        (format!("{} >= {few}", select_kind("count(amount)")), Box::new(move |id| Some(known(id) >= few))),
        (
            format!("{} > {few}", select("sum(amount)")),
            Box::new(move |id| sum(&rows_of(id)).map(|sum| sum > few)),
        ),
        (format!("{} IS NULL", select("max(amount)")), Box::new(move |id| Some(sum(&rows_of(id)).is_none()))),
        (
            format!("coalesce({}, 0) = {few}", select("sum(amount)")),
            Box::new(move |id| Some(sum(&rows_of(id)).unwrap_or(0) == few)),
        ),
        (
            format!("{} < 2 * {}", select_kind("sum(amount)"), select("count(*)")),
            Box::new(move |id| sum(&of_kind(id)).map(|sum| sum < 2 * count(id))),
        ),
        (
            format!("{} IN (0, {few})", select("count(*)")),
            Box::new(move |id| Some([0, few].contains(&count(id)))),
        ),
        (
            format!("{tie} IN (SELECT whose FROM rows WHERE kind >= {few})"),
            Box::new(move |id| within(id, at_least(few, 1))),
        ),
        (
            format!("{tie} IN (SELECT whose FROM rows GROUP BY whose HAVING count(*) >= 2)"),
            Box::new(move |id| within(id, at_least(0, 2))),
        ),
    ]
}

/// Each level evaluates the one below: without a limit a chain of some thousand ended the stack.
#[test]
fn rows_ask_rows_so_often_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    session.execute("CREATE TABLE members (id BIGINT PRIMARY KEY, grp BIGINT)").unwrap();
    session.execute("INSERT INTO members VALUES (1, 7), (2, 7), (3, 8)").unwrap();
    session.execute("CREATE AUDIENCE a0 AS SELECT id FROM members WHERE id = 1").unwrap();
    for level in 1..=17 {
        let below = format!("SELECT grp FROM members WHERE in_audience('a{}')", level - 1);
        let sql = format!("CREATE AUDIENCE a{level} AS SELECT id FROM members WHERE grp IN ({below})");
        session.execute(&sql).unwrap();
    }
    assert_eq!(ids(&mut session, "in_audience('a16')"), [1, 2]);
    let error = session.execute("SELECT id FROM a17").unwrap_err().to_string();
    assert!(error.contains("at most 16 times in a row"), "{error}");
}
