//! Rows that belong to members, imported in their owners' order and written since: conditions about them are answered as a loop
//! over members and rows answers them, whatever is inserted, updated, deleted, adopted and left, after a checkpoint and a
//! reopening too; and a table that belongs to nobody gives the same answers.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod asking;

use asking::{day_text, ids, null_or, run};
use muster_engine::exec::project;
use musterdb::{Database, Session, Value};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Days are counted from 2024-01-01.
const DAYS: i64 = 900;

#[derive(Clone, Debug)]
struct Row {
    whose: Option<i64>,
    day: Option<i64>,
    kind: i64,
    amount: Option<i64>,
}

#[derive(Clone, Debug)]
enum Change {
    Insert(Row),
    Update(usize, Row),
    Delete(usize),
    Leave(i64),
    Join(i64),
    Checkpoint,
    Reopen,
}

/// What a loop knows: members with their groups, rows by their numbers.
#[derive(Clone, Debug, Default)]
struct Model {
    members: BTreeMap<i64, i64>,
    rows: BTreeMap<usize, Row>,
}

fn row() -> impl Strategy<Value = Row> {
    let day = proptest::option::weighted(0.9, 0..DAYS);
    (proptest::option::weighted(0.9, 0i64..12), day, 0i64..3, proptest::option::weighted(0.8, -3i64..6))
        .prop_map(|(whose, day, kind, amount)| Row { whose, day, kind, amount })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => row().prop_map(Change::Insert),
        4 => (0usize..60, row()).prop_map(|(number, row)| Change::Update(number, row)),
        2 => (0usize..60).prop_map(Change::Delete),
        2 => (0i64..12).prop_map(Change::Leave),
        2 => (0i64..12).prop_map(Change::Join),
        1 => Just(Change::Checkpoint),
        1 => Just(Change::Reopen),
    ]
}

/// A time as SQL: so many days after the first.
fn time(day: i64) -> String {
    format!("TIMESTAMP '2024-01-01 00:00:00' + INTERVAL '{day}' DAY")
}

fn values(number: usize, row: &Row) -> String {
    let day = row.day.map_or_else(|| "NULL".to_owned(), time);
    format!("({number}, {}, {day}, {}, {})", null_or(row.whose), row.kind, null_or(row.amount))
}

type Truth = Option<bool>;
type Asked = (String, Box<dyn Fn(&Model, i64) -> Truth>);

fn of(model: &Model, id: i64, holds: impl Fn(&Row) -> bool) -> Vec<&Row> {
    model.rows.values().filter(|row| row.whose == Some(id) && holds(row)).collect()
}

fn sum(rows: &[&Row]) -> Option<i64> {
    rows.iter().filter_map(|row| row.amount).reduce(|a, b| a + b)
}

fn since(row: &Row, day: i64) -> bool {
    row.day.is_some_and(|at| at >= day)
}

/// `id IN (SELECT whose …)` where these are the values: who is no NULL is in it or not, unless a NULL is.
fn within(id: i64, values: &[Option<i64>]) -> Truth {
    match () {
        () if values.contains(&Some(id)) => Some(true),
        () if values.contains(&None) => None,
        () => Some(false),
    }
}

/// The values of `whose` for which a condition on their rows holds.
fn groups(model: &Model, taken: impl Fn(&Row) -> bool, holds: impl Fn(&[&Row]) -> bool) -> Vec<Option<i64>> {
    let mut all: BTreeMap<Option<i64>, Vec<&Row>> = BTreeMap::new();
    model.rows.values().filter(|row| taken(row)).for_each(|row| all.entry(row.whose).or_default().push(row));
    all.into_iter().filter(|(_, rows)| holds(rows)).map(|(whose, _)| whose).collect()
}

fn asked(few: i64, day: i64) -> Vec<Asked> {
    let from = time(day);
    let select = |what: &str, more: &str| format!("(SELECT {what} FROM rows r WHERE r.whose = m.id{more})");
    let all = |_: &Row| true;
    vec![
        (format!("EXISTS {}", select("1", "")), Box::new(move |m, id| Some(!of(m, id, all).is_empty()))),
        (
            format!("NOT EXISTS {}", select("1", &format!(" AND at >= {from}"))),
            Box::new(move |m, id| Some(of(m, id, |row| since(row, day)).is_empty())),
        ),
        (
            format!("id IN (SELECT whose FROM rows WHERE at >= {from})"),
            Box::new(move |m, id| within(id, &groups(m, |row| since(row, day), |_| true))),
        ),
        (
            "id IN (SELECT whose FROM rows)".to_owned(),
            Box::new(move |m, id| within(id, &groups(m, all, |_| true))),
        ),
        (
            "id IN (SELECT whose FROM rows WHERE kind <> 1 GROUP BY whose HAVING count(*) >= 2)".to_owned(),
            Box::new(move |m, id| within(id, &groups(m, |row| row.kind != 1, |rows| rows.len() >= 2))),
        ),
        (
            format!("id IN (SELECT whose FROM rows GROUP BY whose HAVING sum(amount) >= {few} AND count(*) >= 2)"),
            Box::new(move |m, id| {
                let holds = |rows: &[&Row]| sum(rows).is_some_and(|sum| sum >= few) && rows.len() >= 2;
                within(id, &groups(m, all, holds))
            }),
        ),
        (
            format!("{} < {few}", select("count(*)", "")),
            Box::new(move |m, id| Some((of(m, id, all).len() as i64) < few)),
        ),
        (
            format!("{} = {few}", select("count(*)", "")),
            Box::new(move |m, id| Some(of(m, id, all).len() as i64 == few)),
        ),
        (
            format!("{} <> {few}", select("count(*)", "")),
            Box::new(move |m, id| Some(of(m, id, all).len() as i64 != few)),
        ),
        (
            format!("{} BETWEEN {few} AND {few} + 6", select("count(*)", "")),
            Box::new(move |m, id| Some((few..=few + 6).contains(&(of(m, id, all).len() as i64)))),
        ),
        (
            format!("id IN (SELECT whose FROM rows GROUP BY whose HAVING count(*) > {few} AND count(*) <> 4 AND min(kind) = 0)"),
            Box::new(move |m, id| {
                let number = move |rows: &[&Row]| rows.len() as i64 > few && rows.len() != 4;
                let holds = move |rows: &[&Row]| number(rows) && rows.iter().any(|row| row.kind == 0);
                within(id, &groups(m, all, holds))
            }),
        ),
        (
            format!("{} <> {few}", select("sum(amount)", "")),
            Box::new(move |m, id| sum(&of(m, id, all)).map(|sum| sum != few)),
        ),
        (
            format!("{} >= 1", select("count(*)", " AND kind >= 1 AND amount / kind > 1")),
            Box::new(move |m, id| {
                let holds = |row: &Row| row.kind >= 1 && row.amount.is_some_and(|amount| amount / row.kind > 1);
                Some(!of(m, id, holds).is_empty())
            }),
        ),
        (
            format!("{} > {few}", select("sum(amount)", "")),
            Box::new(move |m, id| sum(&of(m, id, all)).map(|sum| sum > few)),
        ),
        (
            format!("{} > {few}", select("sum(amount)", &format!(" AND kind = 1 AND at < {from}"))),
            Box::new(move |m, id| {
                let rows = of(m, id, |row| row.kind == 1 && row.day.is_some_and(|at| at < day));
                sum(&rows).map(|sum| sum > few)
            }),
        ),
        (
            format!("{} > {few}", select("sum(amount)", &format!(" AND kind IN (0, 2) AND amount IN (-1, 2, 4) AND at >= {from}"))),
            Box::new(move |m, id| {
                let holds = |row: &Row| row.kind != 1 && matches!(row.amount, Some(-1 | 2 | 4)) && since(row, day);
                sum(&of(m, id, holds)).map(|sum| sum > few)
            }),
        ),
        (
            format!("{} = {few}", select("count(*)", " AND kind = 1 AND amount >= 2")),
            Box::new(move |m, id| {
                let holds = |row: &Row| row.kind == 1 && row.amount.is_some_and(|amount| amount >= 2);
                Some(of(m, id, holds).len() as i64 == few)
            }),
        ),
        (
            format!("id IN (SELECT whose FROM (SELECT whose, row_number() OVER (PARTITION BY whose ORDER BY at) AS n FROM rows WHERE kind IN (0, 1) AND amount < {few}) x WHERE n = 2)"),
            Box::new(move |m, id| {
                let holds = |row: &Row| row.kind < 2 && row.amount.is_some_and(|amount| amount < few);
                within(id, &groups(m, holds, |rows| rows.len() >= 2))
            }),
        ),
        (
            format!("{} < {from}", select("max(at)", "")),
            Box::new(move |m, id| of(m, id, all).iter().filter_map(|row| row.day).max().map(|last| last < day)),
        ),
        (
            format!("{} IS NULL", select("min(at)", " AND kind = 2")),
            Box::new(move |m, id| Some(of(m, id, |row| row.kind == 2).iter().all(|row| row.day.is_none()))),
        ),
        (
            format!("{} = {few}", select("count(amount)", "")),
            Box::new(move |m, id| {
                Some(of(m, id, |row| row.amount.is_some()).len() as i64 == few)
            }),
        ),
        (
            format!("{} > 1", select("avg(amount)", "")),
            Box::new(move |m, id| {
                let rows = of(m, id, |row| row.amount.is_some());
                sum(&rows).map(|sum| sum > rows.len() as i64)
            }),
        ),
        (
            format!(
                "coalesce({}, 0) < {}",
                select("sum(amount)", &format!(" AND at >= {from}")),
                select("count(*)", &format!(" AND at < {from}"))
            ),
            Box::new(move |m, id| {
                let after = sum(&of(m, id, |row| since(row, day))).unwrap_or(0);
                let before = of(m, id, |row| row.day.is_some_and(|at| at < day)).len() as i64;
                Some(after < before)
            }),
        ),
        (
            "id IN (SELECT whose FROM rows GROUP BY whose HAVING count(*) FILTER (WHERE kind = 0) > 0 AND max(amount) < 4)"
                .to_owned(),
            Box::new(move |m, id| {
                let holds = |rows: &[&Row]| {
                    rows.iter().any(|row| row.kind == 0)
                        && rows.iter().filter_map(|row| row.amount).max().is_some_and(|most| most < 4)
                };
                within(id, &groups(m, all, holds))
            }),
        ),
        (
            format!("grp = 1 AND ({} >= 1 OR id = {few})", select("count(*)", " AND kind = 0")),
            Box::new(move |m, id| {
                let some = !of(m, id, |row| row.kind == 0).is_empty() || id == few;
                Some(m.members[&id] == 1 && some)
            }),
        ),
    ]
}

fn check(session: &mut Session, model: &Model, asked: &[Asked]) -> Result<(), TestCaseError> {
    for (number, (condition, truth)) in asked.iter().enumerate() {
        let expected = |wanted: Truth| -> Vec<i64> {
            model.members.keys().copied().filter(|id| truth(model, *id) == wanted).collect()
        };
        prop_assert_eq!(ids(session, condition), expected(Some(true)), "{}", condition);
        prop_assert_eq!(
            ids(session, &format!("NOT ({condition})")),
            expected(Some(false)),
            "NOT {}",
            condition
        );
        let of_group: Vec<i64> =
            expected(Some(true)).into_iter().filter(|id| model.members[id] == 1).collect();
        prop_assert_eq!(
            ids(session, &format!("grp = 1 AND {condition}")),
            of_group,
            "of a group: {}",
            condition
        );
        prop_assert_eq!(
            ids(session, &format!("in_audience('a{number}')")),
            expected(Some(true)),
            "as an audience: {}",
            condition
        );
    }
    check_rows(session, model)
}

/// The rows of each key: in the order of time by the engine, and by the statement.
fn check_rows_of(db: &Database, model: &Model) -> Result<(), TestCaseError> {
    let snapshot = db.engine().snapshot();
    let table = snapshot.table_named("rows").unwrap();
    let (number, at) = (table.column_named("n").unwrap().id, table.column_named("at").unwrap().id);
    let by_owner = snapshot.rows_by_owner(table.id).unwrap();
    for id in 0..13 {
        let expected: Vec<(i64, &Row)> = model
            .rows
            .iter()
            .filter(|(_, row)| row.whose == Some(id))
            .map(|(n, row)| (*n as i64, row))
            .collect();
        let numbers: Vec<i64> = expected.iter().map(|(n, _)| *n).collect();
        let outcome = db.execute(&format!("SELECT n FROM rows WHERE whose = {id} ORDER BY n")).unwrap();
        prop_assert_eq!(
            outcome.rows().map(|row| row.get(0).unwrap()).collect::<Vec<i64>>(),
            numbers,
            "of {}",
            id
        );
        let rows = snapshot.rows_of(table.id, &Value::Integer(id)).unwrap();
        prop_assert_eq!(&by_owner.of_key(&Value::Integer(id)).unwrap().unwrap_or_default(), &rows);
        if !model.members.contains_key(&id) {
            prop_assert!(rows.is_empty(), "rows of {}, who is nobody", id);
            continue;
        }
        let found = project(&snapshot, table.id, &rows, &[number, at]).unwrap();
        let numbered = |row: &Vec<Value>| if let Value::Integer(n) = row[0] { n } else { -1 };
        let mut found_numbers: Vec<i64> = found.iter().map(numbered).collect();
        let day = |n: i64| model.rows[&(n as usize)].day;
        let in_time = |a: &i64, b: &i64| (day(*a).is_none(), day(*a)) <= (day(*b).is_none(), day(*b));
        prop_assert!(found_numbers.is_sorted_by(in_time), "{:?} of {}", found, id);
        let as_stored = |pair: &[u32]| pair[0] < pair[1];
        let same_time = rows.windows(2).zip(found_numbers.windows(2)).filter(|(_, n)| day(n[0]) == day(n[1]));
        prop_assert!(same_time.into_iter().all(|(pair, _)| as_stored(pair)), "{:?} of {}", rows, id);
        found_numbers.sort_unstable();
        prop_assert_eq!(found_numbers, expected.iter().map(|(n, _)| *n).collect::<Vec<_>>(), "of {}", id);
    }
    Ok(())
}

/// Rows by their owners: the numbers of those whose owner is of a group, and of those that have another owner's key.
fn check_rows(session: &mut Session, model: &Model) -> Result<(), TestCaseError> {
    let listed = |id: i64| model.members.get(&id) == Some(&1);
    let rows = |sql: &str, session: &mut Session| -> Vec<i64> {
        let outcome = session.execute(sql).map_err(|error| error.render(sql)).unwrap();
        outcome.rows().map(|row| row.get(0).unwrap()).collect()
    };
    let expected = |wanted: bool| -> Vec<i64> {
        let of = |row: &Row| match row.whose {
            None => !wanted && !model.members.values().any(|group| *group == 1),
            Some(id) => listed(id) == wanted,
        };
        model.rows.iter().filter(|(_, row)| of(row)).map(|(number, _)| *number as i64).collect()
    };
    let list = "whose IN (SELECT id FROM members WHERE grp = 1)";
    let sql = format!("SELECT n FROM rows WHERE {list} ORDER BY n");
    prop_assert_eq!(rows(&sql, session), expected(true), "{}", sql);
    let sql = format!("SELECT n FROM rows WHERE NOT {list} ORDER BY n");
    prop_assert_eq!(rows(&sql, session), expected(false), "{}", sql);
    Ok(())
}

fn apply(change: &Change, session: &mut Session, model: &mut Model) {
    match change {
        Change::Insert(row) => {
            let number = model.rows.keys().last().map_or(0, |last| last + 1);
            run(session, &format!("INSERT INTO rows VALUES {}", values(number, row)));
            model.rows.insert(number, row.clone());
        }
        Change::Update(number, row) => {
            let day = row.day.map_or_else(|| "NULL".to_owned(), time);
            let set = format!(
                "whose = {}, at = {day}, kind = {}, amount = {}",
                null_or(row.whose),
                row.kind,
                null_or(row.amount)
            );
            run(session, &format!("UPDATE rows SET {set} WHERE n = {number}"));
            if let Some(known) = model.rows.get_mut(number) {
                *known = row.clone();
            }
        }
        Change::Delete(number) => {
            run(session, &format!("DELETE FROM rows WHERE n = {number}"));
            model.rows.remove(number);
        }
        Change::Leave(id) => {
            run(session, &format!("DELETE FROM members WHERE id = {id}"));
            model.members.remove(id);
        }
        Change::Join(id) => {
            run(session, &format!("INSERT INTO members VALUES ({id}, 1) ON CONFLICT (id) DO NOTHING"));
            model.members.entry(*id).or_insert(1);
        }
        Change::Checkpoint | Change::Reopen => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn answers_are_those_of_a_loop(
        members in proptest::collection::btree_map(0i64..10, 0i64..3, 1..9),
        rows in proptest::collection::vec(row(), 0..50),
        changes in proptest::collection::vec(change(), 0..24),
        few in 0i64..4,
        day in 0..DAYS,
        cluster in prop_oneof![Just(""), Just(", cluster = 'kind'"), Just(", cluster = 'amount'")],
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut model = Model { members, rows: rows.into_iter().enumerate().collect() };
        let open = || Database::open(directory.path().join("db")).unwrap();
        let mut db = open();
        let mut session = db.session();
        run(&mut session, "CREATE TABLE members (id BIGINT PRIMARY KEY, grp BIGINT)");
        let links = format!("WITH (owner = 'whose', time = 'at', sums = 'amount'{cluster})");
        let columns = "n BIGINT, whose BIGINT REFERENCES members, at TIMESTAMP, kind SMALLINT, amount INTEGER";
        run(&mut session, &format!("CREATE TABLE rows ({columns}) {links}"));
        let asked = asked(few, day);
        for (number, (condition, _)) in asked.iter().enumerate() {
            run(&mut session, &format!("CREATE AUDIENCE a{number} AS SELECT id FROM members m WHERE {condition}"));
        }
        for (id, group) in &model.members {
            run(&mut session, &format!("INSERT INTO members VALUES ({id}, {group})"));
        }
        let csv = directory.path().join("rows.csv");
        let mut lines = "n,whose,at,kind,amount\n".to_owned();
        for (number, row) in &model.rows {
            let day = row.day.map_or_else(String::new, day_text);
            let or_nothing = |value: Option<i64>| value.map_or_else(String::new, |value| value.to_string());
            writeln!(lines, "{number},{},{day},{},{}", or_nothing(row.whose), row.kind, or_nothing(row.amount)).unwrap();
        }
        std::fs::write(&csv, lines).unwrap();
        run(&mut session, &format!("COPY rows FROM '{}' (HEADER)", csv.display()));
        check(&mut session, &model, &asked)?;
        for (nth, change) in changes.iter().enumerate() {
            apply(change, &mut session, &mut model);
            match change {
                Change::Checkpoint => run(&mut session, "CHECKPOINT"),
                Change::Reopen => {
                    drop(session);
                    drop(db);
                    db = open();
                    session = db.session();
                }
                _ if nth % 8 != 7 => continue,
                _ => {}
            }
            check_rows_of(&db, &model)?;
            check(&mut session, &model, &asked)?;
            check_rows_of(&db, &model)?;
        }
        check(&mut session, &model, &asked)?;
        check_rows_of(&db, &model)?;
    }
}

/// Rows belong to rows that belong to members: what is kept of the former stands in a condition on the latter.
#[test]
fn rows_of_rows_of_members() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    run(&mut session, "CREATE TABLE members (id BIGINT PRIMARY KEY, grp BIGINT)");
    run(&mut session, "INSERT INTO members VALUES (1, 1), (2, 1), (3, 2)");
    run(
        &mut session,
        "CREATE TABLE orders (id BIGINT PRIMARY KEY, whose BIGINT REFERENCES members, at DATE)",
    );
    run(&mut session, "CREATE TABLE items (n BIGINT, whose BIGINT REFERENCES orders, price INTEGER)");
    let file = directory.path().join("file.csv");
    for (table, rows) in [
        ("orders", "id,whose,at\n10,1,2026-01-01\n11,2,2026-01-02\n12,2,2026-02-01\n13,9,2026-02-01\n"),
        ("items", "n,whose,price\n1,10,5\n2,12,7\n3,12,\n4,,9\n"),
    ] {
        std::fs::write(&file, rows).unwrap();
        run(&mut session, &format!("COPY {table} FROM '{}' (HEADER)", file.display()));
    }
    let of_items = "EXISTS (SELECT 1 FROM orders o WHERE o.whose = m.id AND o.id IN (SELECT whose FROM items WHERE price > 5))";
    let any_items =
        "EXISTS (SELECT 1 FROM orders o WHERE o.whose = m.id AND o.id IN (SELECT whose FROM items))";
    let check = |session: &mut Session, some: &[i64], any: &[i64]| {
        assert_eq!(ids(session, of_items), some);
        assert_eq!(ids(session, any_items), any);
        let others: Vec<i64> = [1, 2, 3].into_iter().filter(|id| !any.contains(id)).collect();
        assert_eq!(ids(session, &format!("NOT {any_items}")), others);
    };
    check(&mut session, &[2], &[1, 2]);
    run(&mut session, "UPDATE items SET whose = 13 WHERE n = 1");
    check(&mut session, &[2], &[2]);
    run(&mut session, "UPDATE orders SET whose = 3 WHERE id = 13");
    check(&mut session, &[2], &[2, 3]);
    run(&mut session, "ALTER TABLE items DROP COLUMN whose");
    run(&mut session, "DROP TABLE items");
    let error = session.execute("DROP TABLE members").unwrap_err().to_string();
    assert!(error.contains("rows of table \"orders\" refer to it"), "{error}");
    run(&mut session, "DROP TABLE members CASCADE");
    let rows = session.execute("SELECT count(*) FROM orders").unwrap();
    assert_eq!(rows.single::<i64>().unwrap(), 4);
}

/// Audiences of audiences, through rows: refused beyond a depth, and until then no slower with each.
#[test]
fn rows_ask_rows_so_often_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    run(&mut session, "CREATE TABLE members (id BIGINT PRIMARY KEY, grp BIGINT)");
    run(&mut session, "INSERT INTO members VALUES (1, 7), (2, 7), (3, 8)");
    run(&mut session, "CREATE TABLE rows (whose BIGINT REFERENCES members, at DATE)");
    let file = directory.path().join("file.csv");
    std::fs::write(&file, "whose,at\n1,2026-01-01\n2,2026-01-02\n2,2026-02-01\n").unwrap();
    run(&mut session, &format!("COPY rows FROM '{}' (HEADER)", file.display()));
    run(&mut session, "CREATE AUDIENCE a0 AS SELECT id FROM members WHERE id = 2");
    for level in 1..=9 {
        let below = format!("SELECT id FROM members WHERE in_audience('a{}')", level - 1);
        let rows = format!("SELECT 1 FROM rows r WHERE r.whose = m.id AND r.whose IN ({below})");
        run(
            &mut session,
            &format!("CREATE AUDIENCE a{level} AS SELECT id FROM members m WHERE EXISTS ({rows})"),
        );
    }
    assert_eq!(ids(&mut session, "in_audience('a7')"), [2]);
    let error = session.execute("SELECT id FROM a9").unwrap_err().to_string();
    assert!(error.contains("at most 16 times in a row"), "{error}");
}

/// Orders that come before their members are put in order when these are imported, and belong to them.
#[test]
fn rows_that_came_first_are_put_in_the_order_of_their_owners() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    run(&mut session, "CREATE TABLE members (id BIGINT PRIMARY KEY, grp BIGINT)");
    let columns =
        "n BIGINT PRIMARY KEY, whose BIGINT REFERENCES members, at TIMESTAMP, kind SMALLINT, amount INTEGER";
    let links = "WITH (owner = 'whose', time = 'at', sums = 'amount', cluster = 'kind')";
    run(&mut session, &format!("CREATE TABLE rows ({columns}) {links}"));
    let mut model = Model::default();
    let mut lines = "n,whose,at,kind,amount\n".to_owned();
    for number in 0..60 {
        let (whose, day, kind, amount) =
            (number as i64 * 7 % 13, number as i64 * 11 % DAYS, number as i64 % 3, 1);
        writeln!(lines, "{number},{whose},{},{kind},{amount}", day_text(day)).unwrap();
        model.rows.insert(number, Row { whose: Some(whose), day: Some(day), kind, amount: Some(amount) });
    }
    let files = ["rows", "members"].map(|name| directory.path().join(format!("{name}.csv")));
    std::fs::write(&files[0], lines).unwrap();
    run(&mut session, &format!("COPY rows FROM '{}' (HEADER)", files[0].display()));
    model.members = (0..10).map(|id| (id, id % 3)).collect();
    let members: String = model.members.iter().map(|(id, group)| format!("{id},{group}\n")).collect();
    std::fs::write(&files[1], format!("id,grp\n{members}")).unwrap();
    run(&mut session, &format!("COPY members FROM '{}' (HEADER)", files[1].display()));
    let first = session.execute("SELECT whose FROM rows LIMIT 4").unwrap();
    // Those of kind 0 in the first year; as they came, they are 0, 7, 1 and 8.
    assert_eq!(first.rows().map(|row| row.get::<i64>(0).unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let asked = asked(2, 100);
    for (number, (condition, _)) in asked.iter().enumerate() {
        run(
            &mut session,
            &format!("CREATE AUDIENCE a{number} AS SELECT id FROM members m WHERE {condition}"),
        );
    }
    check(&mut session, &model, &asked).unwrap();
    for change in [Change::Leave(3), Change::Delete(9), Change::Join(11), Change::Join(3)] {
        apply(&change, &mut session, &mut model);
        check(&mut session, &model, &asked).unwrap();
    }
    drop((session, db));
    let db = Database::open(directory.path().join("db")).unwrap();
    check(&mut db.session(), &model, &asked).unwrap();
}
