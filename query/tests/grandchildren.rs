//! Rows that belong to members by way of others: the lines of orders. Conditions that join the two are answered as loops over
//! members, orders and lines answer them, in whatever order the tables were imported, and whatever is inserted, moved to another
//! order or member, deleted and inserted again, after a checkpoint and a reopening too.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod asking;

use asking::{ids, null_or, run};
use musterdb::{Database, Session};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const MEMBERS: i64 = 8;
const ORDERS: i64 = 14;

#[derive(Clone, Debug)]
struct Line {
    order: Option<i64>,
    day: Option<i64>,
    sku: i64,
    amount: Option<i64>,
}

#[derive(Clone, Debug)]
enum Change {
    AddLine(Line),
    SetLine(i64, Line),
    DropLine(i64),
    AddOrder(i64, Option<i64>),
    MoveOrder(i64, Option<i64>),
    DropOrder(i64),
    Leave(i64),
    Join(i64),
    Checkpoint,
    Reopen,
}

/// What loops know: members with their groups, orders with their members, lines by their numbers.
#[derive(Clone, Debug, Default)]
struct Model {
    members: BTreeMap<i64, i64>,
    orders: BTreeMap<i64, Option<i64>>,
    lines: BTreeMap<i64, Line>,
}

fn whose() -> impl Strategy<Value = Option<i64>> {
    proptest::option::weighted(0.9, 0..MEMBERS)
}

fn line() -> impl Strategy<Value = Line> {
    let (order, day) =
        (proptest::option::weighted(0.9, 0..ORDERS), proptest::option::weighted(0.9, 0i64..40));
    (order, day, 0i64..3, proptest::option::weighted(0.8, -3i64..6))
        .prop_map(|(order, day, sku, amount)| Line { order, day, sku, amount })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => line().prop_map(Change::AddLine),
        3 => (0i64..50, line()).prop_map(|(n, line)| Change::SetLine(n, line)),
        1 => (0i64..50).prop_map(Change::DropLine),
        3 => (0..ORDERS, whose()).prop_map(|(id, whose)| Change::AddOrder(id, whose)),
        3 => (0..ORDERS, whose()).prop_map(|(id, whose)| Change::MoveOrder(id, whose)),
        2 => (0..ORDERS).prop_map(Change::DropOrder),
        2 => (0..MEMBERS).prop_map(Change::Leave),
        2 => (0..MEMBERS).prop_map(Change::Join),
        1 => Just(Change::Checkpoint),
        1 => Just(Change::Reopen),
    ]
}

fn date(day: i64) -> String {
    format!("2026-{:02}-{:02} 00:00:00", 1 + day / 28, 1 + day % 28)
}

fn moment(day: Option<i64>) -> String {
    day.map_or_else(|| "NULL".to_owned(), |day| format!("TIMESTAMP '{}'", date(day)))
}

/// When an order is: by its number.
fn day_of(order: i64) -> i64 {
    order * 3 % 40
}

type Truth = Option<bool>;
type Asked = (String, Box<dyn Fn(&Model, i64) -> Truth>);

/// A line with its number and its order, which there is.
type Bought<'m> = (i64, i64, &'m Line);

impl Model {
    /// The lines of the orders of whoever that is.
    fn bought(&self, whose: Option<i64>) -> Vec<Bought<'_>> {
        let of = |(n, line): (&i64, &'_ Line)| -> Option<(i64, i64)> {
            let order = line.order?;
            (*self.orders.get(&order)? == whose).then_some((*n, order))
        };
        self.lines.iter().filter_map(|(n, line)| of((n, line)).map(|(n, order)| (n, order, line))).collect()
    }

    /// What `o.member_id` may be.
    fn known(&self) -> BTreeSet<Option<i64>> {
        self.orders.values().copied().collect()
    }

    /// `id IN (SELECT member_id …)` of those of whose lines a condition is true.
    fn within(&self, id: i64, holds: impl Fn(&[Bought<'_>]) -> bool) -> Truth {
        let holds = |whose: Option<i64>| {
            let lines = self.bought(whose);
            !lines.is_empty() && holds(&lines)
        };
        match () {
            () if holds(Some(id)) => Some(true),
            () if self.known().contains(&None) && holds(None) => None,
            () => Some(false),
        }
    }
}

fn sum<'m>(lines: impl IntoIterator<Item = &'m Bought<'m>>) -> Option<i64> {
    lines.into_iter().filter_map(|(_, _, line)| line.amount).reduce(|a, b| a + b)
}

fn median<'m>(lines: impl IntoIterator<Item = &'m Bought<'m>>) -> Option<f64> {
    let mut amounts: Vec<i64> = lines.into_iter().filter_map(|(_, _, line)| line.amount).collect();
    amounts.sort_unstable();
    let last = amounts.len().checked_sub(1)?;
    Some((amounts[last / 2] + amounts[amounts.len() / 2]) as f64 / 2.0)
}

fn by_order<'m>(lines: &[Bought<'m>]) -> BTreeMap<i64, Vec<Bought<'m>>> {
    let mut orders: BTreeMap<i64, Vec<Bought<'m>>> = BTreeMap::new();
    lines.iter().for_each(|line| orders.entry(line.1).or_default().push(*line));
    orders
}

/// By time, NULLs last, then by number.
fn by_time<'m>(lines: &[Bought<'m>]) -> Vec<Bought<'m>> {
    let mut lines = lines.to_vec();
    lines.sort_by_key(|(n, _, line)| (line.day.is_none(), line.day, *n));
    lines
}

const JOINED: &str = "FROM lines l JOIN orders o ON o.id = l.order_id";

fn of_joins(few: i64) -> Vec<Asked> {
    vec![
        (
            format!("id IN (SELECT o.member_id {JOINED} WHERE l.sku = 1 GROUP BY o.member_id HAVING sum(l.amount) > {few})"),
            Box::new(move |m, id| {
                m.within(id, |lines| {
                    sum(lines.iter().filter(|(.., line)| line.sku == 1)).is_some_and(|sum| sum > few)
                })
            }),
        ),
        (
            format!("id IN (SELECT o.member_id FROM orders o JOIN lines l ON l.order_id = o.id WHERE l.amount > {few})"),
            Box::new(move |m, id| m.within(id, |lines| lines.iter().any(|(.., line)| line.amount > Some(few)))),
        ),
        (
            "EXISTS (SELECT 1 FROM orders o WHERE o.member_id = m.id AND EXISTS (SELECT 1 FROM lines l WHERE l.order_id = o.id AND l.sku = 2 AND l.at > o.at))"
                .to_owned(),
            Box::new(|m, id| {
                let later = |(_, order, line): &Bought<'_>| line.sku == 2 && line.day > Some(day_of(*order));
                Some(m.bought(Some(id)).iter().any(later))
            }),
        ),
        (
            format!("NOT EXISTS (SELECT 1 {JOINED} WHERE o.member_id = m.id AND l.at >= {})", moment(Some(9 * few))),
            Box::new(move |m, id| Some(!m.bought(Some(id)).iter().any(|(.., line)| line.day >= Some(9 * few)))),
        ),
        (
            "EXISTS (SELECT 1 FROM orders o LEFT JOIN lines l ON l.order_id = o.id WHERE o.member_id = m.id AND l.n IS NULL)".to_owned(),
            Box::new(|m, id| {
                let lines = by_order(&m.bought(Some(id)));
                let mut own = m.orders.iter().filter(|(_, whose)| **whose == Some(id));
                Some(own.any(|(order, _)| !lines.contains_key(order)))
            }),
        ),
        (
            "id IN (SELECT o.member_id FROM lines a JOIN lines b ON b.order_id = a.order_id AND b.sku = a.sku + 1 JOIN orders o ON o.id = a.order_id)"
                .to_owned(),
            Box::new(|m, id| {
                m.within(id, |lines| {
                    lines.iter().any(|a| lines.iter().any(|b| a.1 == b.1 && b.2.sku == a.2.sku + 1))
                })
            }),
        ),
        (
            "id IN (SELECT a.member_id FROM orders a JOIN lines x ON x.order_id = a.id JOIN orders b ON b.member_id = a.member_id \
             JOIN lines y ON y.order_id = b.id AND y.sku = x.sku WHERE b.id > a.id)"
                .to_owned(),
            Box::new(|m, id| {
                let lines = m.bought(Some(id));
                Some(lines.iter().any(|a| lines.iter().any(|b| b.1 > a.1 && b.2.sku == a.2.sku)))
            }),
        ),
        (
            "id IN (SELECT own.id FROM members own JOIN orders o ON o.member_id = own.id JOIN lines l ON l.order_id = o.id WHERE l.sku = own.grp)"
                .to_owned(),
            Box::new(|m, id| Some(m.bought(Some(id)).iter().any(|(.., line)| line.sku == m.members[&id]))),
        ),
        (
            "id IN (SELECT o.member_id FROM orders o WHERE o.at >= TIMESTAMP '2026-02-01 00:00:00' OR o.id IN (SELECT order_id FROM lines WHERE sku = 1))"
                .to_owned(),
            Box::new(|m, id| {
                let has = |order: i64| m.lines.values().any(|line| line.order == Some(order) && line.sku == 1);
                let some = |whose: Option<i64>| m.orders.iter().any(|(order, of)| *of == whose && (day_of(*order) >= 28 || has(*order)));
                if some(Some(id)) { Some(true) } else if some(None) { None } else { Some(false) }
            }),
        ),
        (
            format!("grp = 1 AND (SELECT sum(l.amount) {JOINED} WHERE o.member_id = m.id) > m.grp + {few}"),
            Box::new(move |m, id| {
                let more = sum(&m.bought(Some(id))).map(|sum| sum > m.members[&id] + few);
                if m.members[&id] == 1 { more } else { Some(false) }
            }),
        ),
    ]
}

fn of_groups(few: i64) -> Vec<Asked> {
    vec![
        (
            format!("(SELECT count(DISTINCT l.sku) {JOINED} WHERE o.member_id = m.id) >= 2"),
            Box::new(|m, id| {
                let skus: BTreeSet<i64> = m.bought(Some(id)).iter().map(|(.., line)| line.sku).collect();
                Some(skus.len() >= 2)
            }),
        ),
        (
            format!("(SELECT l.sku {JOINED} WHERE o.member_id = m.id ORDER BY l.at, l.n LIMIT 1) = {few}"),
            Box::new(move |m, id| by_time(&m.bought(Some(id))).first().map(|(.., line)| line.sku == few)),
        ),
        (
            format!("(SELECT median(l.amount) {JOINED} WHERE o.member_id = m.id) > {few}"),
            Box::new(move |m, id| median(&m.bought(Some(id))).map(|median| median > few as f64)),
        ),
        (
            format!(
                "id IN (SELECT o.member_id FROM orders o JOIN (SELECT order_id, sum(amount) AS total FROM lines GROUP BY order_id) t \
                 ON t.order_id = o.id WHERE total > {few} GROUP BY o.member_id HAVING count(*) >= 2)"
            ),
            Box::new(move |m, id| {
                m.within(id, |lines| {
                    let orders = by_order(lines);
                    orders.values().filter(|lines| sum(*lines).is_some_and(|sum| sum > few)).count() >= 2
                })
            }),
        ),
        (
            format!(
                "id IN (SELECT o.member_id FROM orders o JOIN (SELECT order_id, median(amount) AS middle FROM lines GROUP BY order_id) t \
                 ON t.order_id = o.id WHERE middle > {few})"
            ),
            Box::new(move |m, id| {
                m.within(id, |lines| {
                    by_order(lines)
                        .values()
                        .any(|lines| median(lines).is_some_and(|middle| middle > few as f64))
                })
            }),
        ),
        (
            format!(
                "id IN (SELECT member_id FROM (SELECT o.member_id, l.amount, lag(l.amount) OVER (PARTITION BY o.member_id ORDER BY l.at, l.n) AS before \
                 {JOINED}) t WHERE amount > before)"
            ),
            Box::new(|m, id| {
                m.within(id, |lines| {
                    let lines = by_time(lines);
                    lines
                        .windows(2)
                        .any(|two| two[0].2.amount.zip(two[1].2.amount).is_some_and(|(a, b)| b > a))
                })
            }),
        ),
        (
            format!(
                "id IN (SELECT member_id FROM (SELECT o.member_id, l.sku, row_number() OVER (PARTITION BY l.order_id ORDER BY l.at, l.n) AS place \
                 {JOINED}) t WHERE place = 2 AND sku = {few})"
            ),
            Box::new(move |m, id| {
                m.within(id, |lines| {
                    let orders = by_order(lines);
                    orders
                        .values()
                        .any(|lines| by_time(lines).get(1).is_some_and(|(.., line)| line.sku == few))
                })
            }),
        ),
    ]
}

/// What statements over the lines of all say.
fn check_groups(session: &mut Session, model: &Model) -> Result<(), TestCaseError> {
    type Found = Vec<Vec<Option<i64>>>;
    let mut found = |sql: &str, width: usize| -> Found {
        let outcome = session.execute(sql).map_err(|error| error.render(sql)).unwrap();
        outcome.rows().map(|row| (0..width).map(|at| row.get(at).unwrap()).collect()).collect()
    };
    let all: Vec<(Option<i64>, Bought<'_>)> = model
        .known()
        .into_iter()
        .flat_map(|whose| model.bought(whose).into_iter().map(move |line| (whose, line)))
        .collect();
    let sql = format!(
        "SELECT l.sku, count(*), sum(l.amount), count(DISTINCT o.member_id), count(DISTINCT o.id) {JOINED} GROUP BY l.sku ORDER BY l.sku"
    );
    let of_sku = |sku: i64| {
        let own: Vec<_> = all.iter().filter(|(_, (.., line))| line.sku == sku).collect();
        let members: BTreeSet<i64> = own.iter().filter_map(|(whose, _)| *whose).collect();
        let orders: BTreeSet<i64> = own.iter().map(|(_, line)| line.1).collect();
        let total = sum(own.iter().map(|(_, line)| line));
        let count = |count: usize| Some(count as i64);
        let row = vec![Some(sku), count(own.len()), total, count(members.len()), count(orders.len())];
        (!own.is_empty()).then_some(row)
    };
    prop_assert_eq!(found(&sql, 5), (0..3).filter_map(of_sku).collect::<Found>(), "{}", sql);

    let mut of_each: BTreeMap<(bool, Option<i64>), Vec<&Bought<'_>>> = BTreeMap::new();
    all.iter().for_each(|(whose, line)| of_each.entry((whose.is_none(), *whose)).or_default().push(line));
    let sql = format!("SELECT o.member_id, count(*), max(l.sku) {JOINED} GROUP BY o.member_id ORDER BY 1");
    let rows = of_each.iter().map(|((_, whose), lines)| {
        vec![*whose, Some(lines.len() as i64), lines.iter().map(|(.., line)| line.sku).max()]
    });
    prop_assert_eq!(found(&sql, 3), rows.collect::<Found>(), "{}", sql);

    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    for lines in of_each.values() {
        let skus: BTreeSet<i64> = lines.iter().map(|(.., line)| line.sku).collect();
        *counts.entry(skus.len() as i64).or_default() += 1;
    }
    let sql = format!(
        "SELECT skus, count(*) FROM (SELECT o.member_id, count(DISTINCT l.sku) AS skus {JOINED} GROUP BY o.member_id) t GROUP BY skus ORDER BY skus"
    );
    let rows = counts.iter().map(|(skus, count)| vec![Some(*skus), Some(*count)]);
    prop_assert_eq!(found(&sql, 2), rows.collect::<Found>(), "{}", sql);
    Ok(())
}

fn check(session: &mut Session, model: &Model, asked: &[Asked]) -> Result<(), TestCaseError> {
    for (number, (condition, truth)) in asked.iter().enumerate() {
        let expected = |wanted: Truth| -> Vec<i64> {
            model.members.keys().copied().filter(|id| truth(model, *id) == wanted).collect()
        };
        prop_assert_eq!(ids(session, condition), expected(Some(true)), "{}", condition);
        let not = format!("NOT ({condition})");
        prop_assert_eq!(ids(session, &not), expected(Some(false)), "{}", not);
        let audience = format!("in_audience('a{number}')");
        prop_assert_eq!(ids(session, &audience), expected(Some(true)), "as an audience: {}", condition);
    }
    check_groups(session, model)
}

/// How the tables came.
#[derive(Clone, Debug)]
struct Arrival {
    /// The tables, in the order in which they came.
    tables: Vec<&'static str>,
    /// So many rows of each were imported, the others inserted.
    imported: usize,
    /// Lines have a PRIMARY KEY.
    keyed: bool,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let tables = Just(vec!["members", "orders", "lines"]);
    let tables = prop_oneof![2 => tables.clone().boxed(), 1 => tables.prop_shuffle().boxed()];
    (tables, 0usize..60, any::<bool>()).prop_map(|(tables, imported, keyed)| Arrival {
        tables,
        imported,
        keyed,
    })
}

fn fill(session: &mut Session, model: &Model, arrival: &Arrival, directory: &Path) {
    let null = || "NULL".to_owned();
    let day = |day: Option<i64>| day.map_or_else(null, date);
    for table in &arrival.tables {
        let (header, rows): (_, Vec<Vec<String>>) = match *table {
            "members" => (
                "id,grp",
                model.members.iter().map(|(id, group)| vec![id.to_string(), group.to_string()]).collect(),
            ),
            "orders" => {
                let row = |(id, whose): (&i64, &Option<i64>)| {
                    vec![id.to_string(), null_or(*whose), day(Some(day_of(*id)))]
                };
                ("id,member_id,at", model.orders.iter().map(row).collect())
            }
            _ => {
                let row = |(n, line): (&i64, &Line)| {
                    let Line { order, day: at, sku, amount } = line;
                    vec![n.to_string(), null_or(*order), day(*at), sku.to_string(), null_or(*amount)]
                };
                ("n,order_id,at,sku,amount", model.lines.iter().map(row).collect())
            }
        };
        let (imported, inserted) = rows.split_at(arrival.imported.min(rows.len()));
        if !imported.is_empty() {
            let lines: Vec<String> = imported.iter().map(|row| row.join(",").replace("NULL", "")).collect();
            let file = directory.join("rows.csv");
            std::fs::write(&file, format!("{header}\n{}\n", lines.join("\n"))).unwrap();
            run(session, &format!("COPY {table} FROM '{}' (HEADER)", file.display()));
        }
        for row in inserted {
            let cells = row.iter().map(|cell| {
                if cell.contains('-') && cell.contains(':') {
                    format!("TIMESTAMP '{cell}'")
                } else {
                    cell.clone()
                }
            });
            run(session, &format!("INSERT INTO {table} VALUES ({})", cells.collect::<Vec<_>>().join(", ")));
        }
    }
}

fn create(session: &mut Session, keyed: bool) {
    run(session, "CREATE TABLE members (id BIGINT PRIMARY KEY, grp BIGINT)");
    run(
        session,
        "CREATE TABLE orders (id BIGINT PRIMARY KEY, member_id BIGINT REFERENCES members, at TIMESTAMP) WITH (owner = 'member_id', time = 'at')",
    );
    let key = if keyed { " PRIMARY KEY" } else { "" };
    run(
        session,
        &format!(
            "CREATE TABLE lines (n BIGINT{key}, order_id BIGINT REFERENCES orders, at TIMESTAMP, sku BIGINT, amount INTEGER) \
             WITH (owner = 'order_id', time = 'at')"
        ),
    );
}

fn apply(change: &Change, session: &mut Session, model: &mut Model) {
    match change {
        Change::AddLine(line) => {
            let n = model.lines.keys().last().map_or(0, |last| last + 1);
            let Line { order, day, sku, amount } = line;
            let values = format!("{n}, {}, {}, {sku}, {}", null_or(*order), moment(*day), null_or(*amount));
            run(session, &format!("INSERT INTO lines VALUES ({values})"));
            model.lines.insert(n, line.clone());
        }
        Change::SetLine(n, line) => {
            let Line { order, day, sku, amount } = line;
            let set = format!(
                "order_id = {}, at = {}, sku = {sku}, amount = {}",
                null_or(*order),
                moment(*day),
                null_or(*amount)
            );
            run(session, &format!("UPDATE lines SET {set} WHERE n = {n}"));
            if let Some(known) = model.lines.get_mut(n) {
                *known = line.clone();
            }
        }
        Change::DropLine(n) => {
            run(session, &format!("DELETE FROM lines WHERE n = {n}"));
            model.lines.remove(n);
        }
        Change::AddOrder(id, whose) => {
            let values = format!("{id}, {}, {}", null_or(*whose), moment(Some(day_of(*id))));
            run(session, &format!("INSERT INTO orders VALUES ({values}) ON CONFLICT (id) DO NOTHING"));
            model.orders.entry(*id).or_insert(*whose);
        }
        Change::MoveOrder(id, whose) => {
            run(session, &format!("UPDATE orders SET member_id = {} WHERE id = {id}", null_or(*whose)));
            if let Some(known) = model.orders.get_mut(id) {
                *known = *whose;
            }
        }
        Change::DropOrder(id) => {
            run(session, &format!("DELETE FROM orders WHERE id = {id}"));
            model.orders.remove(id);
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
    fn answers_are_those_of_loops(
        members in proptest::collection::btree_map(0..MEMBERS, 0i64..3, 1..8),
        orders in proptest::collection::btree_map(0..ORDERS, whose(), 0..12),
        lines in proptest::collection::vec(line(), 0..40),
        changes in proptest::collection::vec(change(), 0..24),
        arrival in arrival(),
        few in 0i64..3,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut model = Model { members, orders, lines: (0..).zip(lines).collect() };
        let open = || Database::open(directory.path().join("db")).unwrap();
        let mut db = open();
        let mut session = db.session();
        create(&mut session, arrival.keyed);
        let asked: Vec<Asked> = of_joins(few).into_iter().chain(of_groups(few)).collect();
        for (number, (condition, _)) in asked.iter().enumerate() {
            run(&mut session, &format!("CREATE AUDIENCE a{number} AS SELECT id FROM members m WHERE {condition}"));
        }
        fill(&mut session, &model, &arrival, directory.path());
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
            check(&mut session, &model, &asked)?;
        }
        check(&mut session, &model, &asked)?;
    }
}

/// Lines and orders meet one chunk of members at a time, and a table says by way of what its rows belong to members.
#[test]
fn lines_are_taken_by_the_owners_of_their_orders() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    create(&mut session, true);
    let lines = |n, order| (n, Line { order: Some(order), day: Some(n), sku: n, amount: Some(n) });
    let model = Model {
        members: BTreeMap::from([(1, 1), (2, 1)]),
        orders: BTreeMap::from([(1, Some(1)), (2, Some(2)), (3, Some(2)), (4, None)]),
        lines: BTreeMap::from([lines(1, 3), lines(2, 1), lines(3, 2), lines(4, 4), lines(5, 9)]),
    };
    let arrival = Arrival { tables: vec!["members", "orders", "lines"], imported: 60, keyed: true };
    fill(&mut session, &model, &arrival, directory.path());
    let condition = format!("id IN (SELECT o.member_id {JOINED} WHERE l.at >= {})", moment(Some(3)));
    assert_eq!(ids(&mut session, &condition), [2]);
    let plan = session.execute(&format!("EXPLAIN ANALYZE SELECT id FROM members WHERE {condition}")).unwrap();
    let plan: Vec<String> = plan.rows().map(|row| row.get(1).unwrap()).collect();
    let plan = plan.join("\n");
    assert!(
        plan.contains("rows of lines by owner of orders, runs by time + rows of orders by owner"),
        "{plan}"
    );
    let described = session.execute("DESCRIBE lines").unwrap();
    let roles: Vec<Option<String>> = described.rows().map(|row| row.get(4).unwrap()).collect();
    let chain = "owner: orders (id) → member_id → members (id)";
    assert_eq!(roles[1..3], [Some(chain.to_owned()), Some("time".to_owned())]);
}

/// Orders in whose order lines were put keep their places when their members come.
#[test]
fn lines_stay_with_their_orders_when_the_members_come_last() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    create(&mut session, true);
    let line = |n: i64| (n, Line { order: Some(n % 10), day: Some(n), sku: n % 10, amount: Some(n) });
    let model = Model {
        members: (0..5).map(|id| (id, 0)).collect(),
        orders: (0..10).map(|id| (id, Some(4 - id % 5))).collect(),
        lines: (0..30).map(line).collect(),
    };
    let arrival = Arrival { tables: vec!["orders", "lines", "members"], imported: 60, keyed: true };
    fill(&mut session, &model, &arrival, directory.path());
    for sku in 0..10 {
        let own = format!("id IN (SELECT o.member_id {JOINED} WHERE l.sku = {sku})");
        assert_eq!(ids(&mut session, &own), [4 - sku % 5], "{own}");
        let sql = format!(
            "SELECT id FROM orders o WHERE (SELECT count(*) FROM lines l WHERE l.order_id = o.id AND l.sku = {sku}) = 3"
        );
        let orders = session.execute(&sql).unwrap();
        assert_eq!(orders.rows().map(|row| row.get(0).unwrap()).collect::<Vec<i64>>(), [sku], "{sql}");
    }
}

/// Several chunks of members, orders and lines, some of which moved; a member with ten thousand orders.
#[test]
fn chunks_of_members_have_the_lines_of_their_orders() {
    const MANY: i64 = 70_000;
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let mut session = db.session();
    create(&mut session, false);
    let whose = |order: i64| if order < 10_000 { 66_000 } else { order * 7 % (MANY + 50) };
    let order_of = |n: i64| n * 11 % 150_100;
    let line = |n: i64| Line { order: Some(order_of(n)), day: Some(n % 40), sku: n % 3, amount: Some(n % 7) };
    let mut model = Model {
        members: (0..MANY).map(|id| (id, id % 3)).collect(),
        orders: (0..150_000).map(|id| (id, Some(whose(id)))).collect(),
        lines: (0..180_000).map(|n| (n, line(n))).collect(),
    };
    let arrival = Arrival { tables: vec!["members", "orders", "lines"], imported: 200_000, keyed: false };
    fill(&mut session, &model, &arrival, directory.path());
    let ask = |session: &mut Session, model: &Model| {
        let mut sums = BTreeMap::<i64, i64>::new();
        let (mut skus, mut paired) = (BTreeMap::<i64, BTreeSet<i64>>::new(), BTreeSet::<i64>::new());
        let mut of_orders = BTreeMap::<i64, BTreeSet<i64>>::new();
        for line in model.lines.values() {
            let Some((order, Some(whose))) =
                line.order.and_then(|order| Some((order, *model.orders.get(&order)?)))
            else {
                continue;
            };
            *sums.entry(whose).or_default() += line.amount.unwrap();
            skus.entry(whose).or_default().insert(line.sku);
            let of_order = of_orders.entry(order).or_default();
            if !of_order.insert(line.sku) || of_order.len() > 1 {
                paired.insert(whose);
            }
        }
        let live = |of: &mut dyn Iterator<Item = i64>| -> Vec<i64> {
            of.filter(|id| model.members.contains_key(id)).collect()
        };
        let condition =
            format!("id IN (SELECT o.member_id {JOINED} GROUP BY o.member_id HAVING sum(l.amount) >= 12)");
        let expected = live(&mut sums.iter().filter(|(_, sum)| **sum >= 12).map(|(id, _)| *id));
        assert!(expected.len() > 1_000);
        assert_eq!(ids(session, &condition), expected, "{condition}");
        let condition = format!("(SELECT count(DISTINCT l.sku) {JOINED} WHERE o.member_id = m.id) = 3");
        let expected = live(&mut skus.iter().filter(|(_, skus)| skus.len() == 3).map(|(id, _)| *id));
        assert_eq!(ids(session, &condition), expected, "{condition}");
        let condition = "EXISTS (SELECT 1 FROM orders o JOIN lines a ON a.order_id = o.id JOIN lines b ON b.order_id = o.id AND b.n > a.n WHERE o.member_id = m.id)";
        assert_eq!(ids(session, condition), live(&mut paired.iter().copied()), "{condition}");
    };
    ask(&mut session, &model);
    run(&mut session, "UPDATE orders SET member_id = 69999 WHERE id BETWEEN 20000 AND 20100");
    model.orders.range_mut(20_000..=20_100).for_each(|(_, whose)| *whose = Some(69_999));
    run(&mut session, "UPDATE lines SET order_id = 149999 WHERE n BETWEEN 50 AND 90");
    model.lines.range_mut(50..=90).for_each(|(_, line)| line.order = Some(149_999));
    run(&mut session, "DELETE FROM orders WHERE id BETWEEN 30000 AND 30300");
    model.orders.retain(|id, _| !(30_000..=30_300).contains(id));
    run(&mut session, "INSERT INTO orders VALUES (30005, 3, NULL), (150001, 4, NULL)");
    model.orders.extend([(30_005, Some(3)), (150_001, Some(4))]);
    run(&mut session, "DELETE FROM members WHERE id BETWEEN 100 AND 200");
    model.members.retain(|id, _| !(100..=200).contains(id));
    ask(&mut session, &model);
}
