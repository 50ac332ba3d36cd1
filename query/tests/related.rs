//! Conditions about the rows of a member, over random tables: each is answered as a loop over members and rows answers it, NULLs,
//! rows of nobody and members without rows included; its NOT too.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use musterdb::{Database, Session};
use proptest::prelude::*;

/// Of a row: whose, its kind, its amount.
type Row = (Option<i64>, i64, Option<i64>);

/// A condition, and the loop's answer for a member: one of SQL's three truths.
type Asked<'r> = (String, Box<dyn Fn(usize) -> Option<bool> + 'r>);

fn ids(session: &mut Session, condition: &str) -> Vec<i64> {
    let sql = format!("SELECT id FROM members m WHERE {condition} ORDER BY id");
    let outcome = session.execute(&sql).map_err(|error| error.render(&sql)).unwrap();
    outcome.rows().map(|row| row.get(0).unwrap()).collect()
}

fn null_or<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
}

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
        let directory = tempfile::tempdir().unwrap();
        let db = Database::open(directory.path().join("db")).unwrap();
        let mut session = db.session();
        session.execute("CREATE TABLE members (id BIGINT PRIMARY KEY, grp BIGINT)").unwrap();
        session.execute("CREATE TABLE rows (whose BIGINT, kind BIGINT, amount BIGINT)").unwrap();
        for (id, group) in groups.iter().enumerate() {
            session.execute(&format!("INSERT INTO members VALUES ({id}, {})", null_or(*group))).unwrap();
        }
        for (whose, kind, amount) in &rows {
            let values = format!("({}, {kind}, {})", null_or(*whose), null_or(*amount));
            session.execute(&format!("INSERT INTO rows VALUES {values}")).unwrap();
        }
        for tie in ["m.id", "m.grp"] {
            let rows_of = |id: usize| -> Vec<&Row> {
                let value = if tie == "m.id" { Some(id as i64) } else { groups[id] };
                rows.iter().filter(|row| value.is_some() && row.0 == value).collect()
            };
            let of_kind = |id: usize| -> Vec<&Row> { rows_of(id).into_iter().filter(|row| row.1 == 1).collect() };
            let select = |what: &str| format!("(SELECT {what} FROM rows r WHERE r.whose = {tie})");
            let select_kind = |what: &str| format!("(SELECT {what} FROM rows r WHERE kind = 1 AND {tie} = r.whose)");
            let conditions: Vec<Asked<'_>> = vec![
                (format!("EXISTS {}", select("1")), Box::new(|id| Some(!rows_of(id).is_empty()))),
                (format!("NOT EXISTS {}", select_kind("*")), Box::new(|id| Some(of_kind(id).is_empty()))),
                (format!("{} < {few}", select("count(*)")), Box::new(|id| Some((rows_of(id).len() as i64) < few))),
                (format!("{} >= {few}", select_kind("count(amount)")), Box::new(|id| Some(of_kind(id).iter().filter(|row| row.2.is_some()).count() as i64 >= few))),
                (format!("{} > {few}", select("sum(amount)")), Box::new(|id| sum(&rows_of(id)).map(|sum| sum > few))),
                (format!("{} IS NULL", select("max(amount)")), Box::new(|id| Some(sum(&rows_of(id)).is_none()))),
                (format!("coalesce({}, 0) = {few}", select("sum(amount)")), Box::new(|id| Some(sum(&rows_of(id)).unwrap_or(0) == few))),
                (format!("{} < 2 * {}", select_kind("sum(amount)"), select("count(*)")), Box::new(|id| sum(&of_kind(id)).map(|sum| sum < 2 * rows_of(id).len() as i64))),
                (format!("{} IN (0, {few})", select("count(*)")), Box::new(|id| Some([0, few].contains(&(rows_of(id).len() as i64))))),
            ];
            for (condition, truth) in conditions {
                let expected = |wanted: bool| -> Vec<i64> {
                    (0..groups.len()).filter(|id| truth(*id) == Some(wanted)).map(|id| id as i64).collect()
                };
                prop_assert_eq!(ids(&mut session, &condition), expected(true), "{}", condition);
                let negated = format!("NOT ({condition})");
                prop_assert_eq!(ids(&mut session, &negated), expected(false), "{}", negated);
            }
        }
    }
}
