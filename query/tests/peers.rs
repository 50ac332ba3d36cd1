//! The cases of other engines, and questions about real data, from outside the repository: `MUSTER_DATA`, or `../shared/data` beside it.
//! Absent, the tests say so and pass. What is not taken is named, with the reason.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "peers/json.rs"]
mod json;

use json::Json;
use musterdb::{Database, Session};
use std::path::{Path, PathBuf};

/// A folder of the data; says loudly where it is absent.
fn data(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let directory = std::env::var_os("MUSTER_DATA").map_or(beside, PathBuf::from).join(folder);
    if !directory.exists() {
        eprintln!(
            "SKIPPED: {} is absent; set MUSTER_DATA to the directory of the real data",
            directory.display()
        );
        return None;
    }
    Some(directory)
}

fn read(file: &Path) -> Json {
    Json::parse(&std::fs::read_to_string(file).unwrap())
}

/// A database for a test.
fn with_session(test: impl FnOnce(&mut Session)) {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    test(&mut db.session());
}

fn run(session: &mut Session, sql: &str) {
    session.execute(sql).unwrap_or_else(|error| panic!("{}", error.render(sql)));
}

/// The rows of an answer as texts; NULL is empty.
fn rows(session: &mut Session, sql: &str) -> Vec<Vec<String>> {
    asked(session, sql).unwrap_or_else(|error| panic!("{error}"))
}

fn asked(session: &mut Session, sql: &str) -> Result<Vec<Vec<String>>, String> {
    let outcome = session.execute(sql).map_err(|error| error.render(sql))?;
    let shown = |value: &musterdb::Value| match value {
        musterdb::Value::Null => String::new(),
        value => value.to_string(),
    };
    Ok(outcome.rows().map(|row| row.values().iter().map(shown).collect()).collect())
}

/// The rows of a file of comma-separated values, without its header.
fn csv(file: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(file).unwrap();
    let row = |line: &str| {
        let (mut fields, mut quoted) = (vec![String::new()], false);
        for next in line.chars() {
            match next {
                '"' => quoted = !quoted,
                ',' if !quoted => fields.push(String::new()),
                other => fields.last_mut().unwrap().push(other),
            }
        }
        fields
    };
    text.lines().skip(1).map(row).collect()
}

/// Numbers compared as numbers, midnight as its day, everything else byte for byte.
fn is_same(a: &str, b: &str) -> bool {
    let day = |text: &str| text.strip_suffix(" 00:00:00").unwrap_or(text).to_owned();
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= 1e-6 * a.abs().max(1.0),
        _ => day(a) == day(b),
    }
}

fn check(name: &str, mut found: Vec<Vec<String>>, mut expected: Vec<Vec<String>>, ordered: bool) {
    if !ordered {
        found.sort();
        expected.sort();
    }
    let same =
        |a: &Vec<String>, b: &Vec<String>| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b));
    let all = found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| same(a, b));
    assert!(all, "{name}: found {found:?}, expected {expected:?}");
}

#[test]
fn funnels_are_those_of_clickhouse_and_doris() {
    let Some(folder) = data("peer_cases") else { return };
    let mut taken = 0;
    for case in read(&folder.join("window_funnel.json")).at("cases").list() {
        let id = case.at("id").text();
        with_session(|session| {
            let names: Vec<String> =
                case.at("columns").list().iter().map(|name| format!("\"{}\"", name.text())).collect();
            let kinds = case.at("rows").list()[0].list().iter();
            let types = kinds.map(|value| if matches!(value, Json::Text(_)) { "TEXT" } else { "BIGINT" });
            let columns: Vec<String> =
                names.iter().zip(types).map(|(name, kind)| format!("{name} {kind}")).collect();
            run(session, &format!("CREATE TABLE events ({}, at TIMESTAMP)", columns.join(", ")));
            let place = case.at("columns").list().iter().position(|name| name.text() == "ts").unwrap();
            for row in case.at("rows").list() {
                let values: Vec<String> = row.list().iter().map(Json::sql).collect();
                let seconds = row.list()[place].text();
                run(
                    session,
                    &format!(
                        "INSERT INTO events VALUES ({}, TIMESTAMP '1970-01-01' + INTERVAL '{seconds} seconds')",
                        values.join(", ")
                    ),
                );
            }
            let steps: Vec<String> = case.at("steps").list().iter().map(Json::text).collect();
            let modes = case.at("mode").list().iter().map(Json::text).filter(|mode| mode != "default");
            let modes: String = modes.map(|mode| format!("'{mode}', ")).collect();
            let sql = format!(
                "SELECT \"user\", window_funnel(INTERVAL '{} seconds', {modes}at, {}) FROM events GROUP BY \"user\"",
                case.at("window").text(),
                steps.join(", ")
            );
            let expected = case.at("expected_level_per_user").members().iter();
            let expected = expected.map(|(user, level)| vec![user.clone(), level.text()]).collect();
            check(&id, rows(session, &sql), expected, false);
        });
        taken += 1;
    }
    assert_eq!(taken, 14, "all of them");
}

#[test]
fn retention_is_a_condition_for_each_column() {
    let Some(folder) = data("peer_cases") else { return };
    let cases = read(&folder.join("retention.json"));
    let [case] = cases.at("cases").list() else { panic!("one case") };
    with_session(|session| {
        run(session, "CREATE TABLE visits (\"date\" DATE, uid BIGINT)");
        for (day, users) in [("2018-08-06", 80), ("2018-08-07", 50), ("2018-08-08", 60)] {
            let values: Vec<String> = (0..users).map(|uid| format!("('{day}', {uid})")).collect();
            run(session, &format!("INSERT INTO visits VALUES {}", values.join(", ")));
        }
        let conditions: Vec<String> = case.at("conditions").list().iter().map(Json::text).collect();
        let met = |at: usize| format!("count(*) FILTER (WHERE {}) > 0", conditions[at]);
        let sql = format!(
            "SELECT count(*) FILTER (WHERE r1), count(*) FILTER (WHERE r2) FROM \
             (SELECT uid, {} AS r1, {} AND {} AS r2 FROM visits WHERE {} GROUP BY uid) t",
            met(0),
            met(0),
            met(1),
            case.at("where").text()
        );
        let expected = case.at("expected").list().iter().map(Json::text).collect();
        check("retention", rows(session, &sql), vec![expected], true);
    });
}

/// A node of a segment as a condition about `m`.
fn condition(node: &Json, nodes: &[Json]) -> String {
    let equals = |property: &Json| {
        format!("{} = {}", column(&property.at("path").text()), property.at("operator").at("value").sql())
    };
    let event = || format!("FROM events e WHERE e.uid = m.uid AND e.event = {}", node.at("event").sql());
    let and = |properties: &Json| -> String {
        properties.list().iter().map(|one| format!(" AND e.{}", equals(one))).collect()
    };
    match node.at("type").text().as_str() {
        "And" => {
            let children = node.at("children").list().iter();
            let children = children.map(|id| nodes.iter().find(|node| node.at("id") == id).unwrap());
            children.map(|node| condition(node, nodes)).collect::<Vec<_>>().join(" AND ")
        }
        "Trait" => {
            let (path, operator) = (column(&node.at("path").text()), node.at("operator"));
            match operator.at("type").text().as_str() {
                "Equals" => equals(node),
                "GreaterThanOrEqual" => format!("{path} >= {}", operator.at("value").sql()),
                "Within" => format!(
                    "{path} > now() - INTERVAL '{} seconds' AND {path} <= now()",
                    operator.at("windowSeconds").text()
                ),
                other => panic!("{other}"),
            }
        }
        "Performed" => {
            let op = if node.at("timesOperator").text() == "Equals" { "=" } else { ">=" };
            format!(
                "(SELECT count(*) {}{}) {op} {}",
                event(),
                and(node.at("properties")),
                node.at("times").text()
            )
        }
        "LastPerformed" => {
            let [has] = node.at("hasProperties").list() else { panic!("one property") };
            let (shown, wanted) = (column(&has.at("path").text()), has.at("operator").at("value").sql());
            format!(
                "(SELECT {shown} {}{} ORDER BY at DESC LIMIT 1) = {wanted}",
                event(),
                and(node.at("whereProperties"))
            )
        }
        other => panic!("{other}"),
    }
}

fn column(path: &str) -> String {
    format!("\"{path}\"")
}

#[test]
fn dynamic_audiences_follow_events_and_the_clock() {
    let Some(folder) = data("peer_cases") else { return };
    let cases = read(&folder.join("dynamic_audiences_dittofeed.json"));
    let (mut taken, mut asserted) = (0, 0);
    for case in cases.at("cases").list() {
        let about = case.at("description").text();
        with_session(|session| {
            run(
                session,
                "CREATE TABLE members (uid TEXT PRIMARY KEY, env TEXT, status TEXT, age DOUBLE PRECISION, \"createdAt\" TIMESTAMPTZ, email TEXT)",
            );
            run(
                session,
                "CREATE TABLE events (uid TEXT, event TEXT, at TIMESTAMPTZ, status TEXT, kind TEXT, \"group\" TEXT)",
            );
            for segment in case.at("segments").list() {
                let definition = segment.at("definition");
                let condition = condition(definition.at("entryNode"), definition.at("nodes").list());
                let name = column(&segment.at("name").text());
                run(
                    session,
                    &format!("CREATE AUDIENCE {name} AS SELECT uid FROM members m WHERE {condition}"),
                );
            }
            for step in case.at("steps").list() {
                let user = || step.at("user_id").sql();
                match step.at("op").text().as_str() {
                    "event" => {
                        run(
                            session,
                            &format!("INSERT INTO members (uid) VALUES ({}) ON CONFLICT DO NOTHING", user()),
                        );
                        for (path, value) in step.at("traits").members() {
                            run(
                                session,
                                &format!(
                                    "UPDATE members SET {} = {} WHERE uid = {}",
                                    column(path),
                                    value.sql(),
                                    user()
                                ),
                            );
                        }
                        if step.at("type").text() == "Track" {
                            let named = step.at("properties").members();
                            let names: String =
                                named.iter().map(|(path, _)| format!(", {}", column(path))).collect();
                            let values: String =
                                named.iter().map(|(_, value)| format!(", {}", value.sql())).collect();
                            run(
                                session,
                                &format!(
                                    "INSERT INTO events (uid, event, at{names}) VALUES ({}, {}, {}{values})",
                                    user(),
                                    step.at("event").sql(),
                                    step.at("ts").sql()
                                ),
                            );
                        }
                    }
                    "evaluate" => {
                        let now = step.at("now").text().replace('T', " ").replace('Z', "");
                        run(session, &format!("SET now = '{now}'"));
                    }
                    "assert_membership" => {
                        for expected in step.at("users").list() {
                            for (segment, is_in) in expected.at("segments").members() {
                                let sql = format!(
                                    "SELECT count(*) FROM {} WHERE uid = {}",
                                    column(segment),
                                    expected.at("user_id").sql()
                                );
                                let found = rows(session, &sql);
                                let wanted = if *is_in == Json::Bool(true) { "1" } else { "0" };
                                assert_eq!(found, [[wanted]], "{about}: {sql}");
                                asserted += 1;
                            }
                        }
                    }
                    _ => {}
                }
            }
        });
        taken += 1;
    }
    assert_eq!(taken, 8, "all of them");
    assert!(asserted >= 20, "{asserted}");
}

/// Statements of FeatureBase that mean something else here, and why.
const NOT_OF_FEATUREBASE: [(&str, &str); 7] = [
    ("select b1 between true and false from between_all_types", "refused there: booleans have an order here"),
    ("select s1 between 'foo' and 'bar' from between_all_types", "refused there: texts have an order here"),
    ("select b1 not between true and false from not_between_all_types", "as above"),
    ("select s1 not between 'foo' and 'bar' from not_between_all_types", "as above"),
    ("insert into singleboolfield", "an INSERT of a key that is there replaces there, and is refused here"),
    ("select * from singleboolfield", "after the INSERT above"),
    ("select top(2) * from unkeyed", "LIMIT 2 here"),
];

#[test]
fn statements_are_those_of_featurebase() {
    let Some(folder) = data("peer_cases") else { return };
    let cases = read(&folder.join("featurebase_sql3.json"));
    let (mut taken, mut others) = (0, Vec::new());
    with_session(|session| {
        for case in cases.at("tables").list() {
            let table = case.at("table");
            let columns = table.at("columns").list();
            let kind = |column: &Json| match column.at("type").text().as_str() {
                "ID" => "BIGINT",
                "Int" => "INTEGER",
                "Bool" => "BOOLEAN",
                "Decimal2" => "DECIMAL(10,2)",
                "String" => "TEXT",
                "Timestamp" => "TIMESTAMPTZ",
                _ => "TEXT[]",
            };
            let listed: Vec<String> = columns
                .iter()
                .map(|column| {
                    let key = if column.at("name").text() == "_id" { " PRIMARY KEY" } else { "" };
                    format!("\"{}\" {}{key}", column.at("name").text(), kind(column))
                })
                .collect();
            run(session, &format!("CREATE TABLE {} ({})", table.at("name").text(), listed.join(", ")));
            for row in table.at("rows").list() {
                let values: Vec<String> = row.list().iter().map(featurebase).collect();
                let values: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
                run(
                    session,
                    &format!("INSERT INTO {} VALUES ({})", table.at("name").text(), values.join(", ")),
                );
            }
            for test in case.at("tests").list() {
                for sql in test.at("sqls").list() {
                    let sql = sql.text();
                    let found = asked(session, &sql);
                    let is_taken = match (test.at("error_contains"), &found) {
                        (Json::Null, Ok(found)) => {
                            let expected = test.at("rows").list().iter();
                            let mut expected: Vec<Vec<String>> =
                                expected.map(|row| row.list().iter().map(featurebase).collect()).collect();
                            let mut found = found.clone();
                            if test.at("compare").text() != "CompareExactOrdered" {
                                found.sort();
                                expected.sort();
                            }
                            expected.len() == found.len()
                                && expected
                                    .iter()
                                    .flatten()
                                    .zip(found.iter().flatten())
                                    .all(|(a, b)| is_same(a, b))
                        }
                        (Json::Null, Err(_)) => false,
                        (_, found) => found.is_err(),
                    };
                    if is_taken { taken += 1 } else { others.push((sql, found)) }
                }
            }
        }
    });
    let is_named = others.len() == NOT_OF_FEATUREBASE.len()
        && others.iter().zip(NOT_OF_FEATUREBASE).all(|((sql, _), (begins, _))| sql.starts_with(begins));
    assert!(is_named, "{taken} taken; {others:#?}");
    assert_eq!(taken, 42);
}

/// A value of FeatureBase as text.
fn featurebase(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::List(items) => format!("{{{}}}", items.iter().map(Json::text).collect::<Vec<_>>().join(",")),
        Json::Map(_) if *value.at("decimal") != Json::Null => value.at("decimal").text(),
        // Its tests' knownTimestamp().
        Json::Map(_) => "2012-11-01 22:08:41+00".into(),
        other => other.text(),
    }
}

/// A table of a folder, and its file.
fn load(session: &mut Session, folder: &Path, table: &str, columns: &str) {
    run(session, &format!("CREATE TABLE {table} ({columns})"));
    let packed = folder.join(format!("{table}.csv.gz"));
    let file = if packed.exists() { packed } else { folder.join(format!("{table}.csv")) };
    run(session, &format!("COPY {table} FROM '{}' (FORMAT csv, HEADER)", file.display()));
}

/// The questions of a folder, with its answers.
fn answer(session: &mut Session, folder: &Path) -> usize {
    let questions = read(&folder.join("questions.json"));
    for question in questions.at("questions").list() {
        let expected = csv(&folder.join(question.at("answer_file").text()));
        let found = rows(session, &question.at("sql").text());
        check(&question.at("id").text(), found, expected, *question.at("ordered") == Json::Bool(true));
    }
    questions.at("questions").list().len()
}

#[test]
fn a_grocers_questions_are_answered() {
    let Some(folder) = data("completejourney") else { return };
    with_session(|session| {
        let money = "sales_value DECIMAL(10,2), retail_disc DECIMAL(10,2), coupon_disc DECIMAL(10,2), coupon_match_disc DECIMAL(10,2)";
        load(
            session,
            &folder,
            "transactions",
            &format!(
                "line_id INTEGER, household_id INTEGER, store_id INTEGER, basket_id BIGINT, product_id INTEGER, quantity INTEGER, {money}, week INTEGER, ts TIMESTAMP"
            ),
        );
        load(
            session,
            &folder,
            "households",
            "household_id BIGINT PRIMARY KEY, age TEXT, income TEXT, home_ownership TEXT, marital_status TEXT, household_size TEXT, household_comp TEXT, kids_count TEXT",
        );
        load(
            session,
            &folder,
            "products",
            "product_id BIGINT, manufacturer_id INTEGER, department TEXT, brand TEXT, product_category TEXT, product_type TEXT, package_size TEXT",
        );
        load(
            session,
            &folder,
            "campaign_descriptions",
            "campaign_id INTEGER, campaign_type TEXT, start_date DATE, end_date DATE",
        );
        load(session, &folder, "campaigns", "campaign_id INTEGER, household_id INTEGER");
        load(
            session,
            &folder,
            "coupon_redemptions",
            "household_id INTEGER, coupon_upc BIGINT, campaign_id INTEGER, redemption_date DATE",
        );
        assert_eq!(answer(session, &folder), 12);
    });
}

#[test]
fn an_encyclopedias_questions_and_funnels_are_answered() {
    let Some(folder) = data("wikiticker_dev") else { return };
    with_session(|session| {
        load(
            session,
            &folder,
            "events",
            "event_id INTEGER, ts TIMESTAMP, \"user\" TEXT, anonymous BOOLEAN, robot BOOLEAN, new_page BOOLEAN, minor BOOLEAN, unpatrolled BOOLEAN, channel TEXT, namespace TEXT, page TEXT, country_iso TEXT, added INTEGER, deleted INTEGER, delta INTEGER, comment TEXT",
        );
        run(session, "ALTER TABLE events RENAME COLUMN \"user\" TO user_name");
        assert_eq!(answer(session, &folder), 7);
        let funnels = read(&folder.join("funnels.json"));
        for one in funnels.at("funnels").list() {
            let steps: Vec<String> = one.at("steps").list().iter().map(Json::text).collect();
            let millis: i64 = one.at("window_ms").text().parse().unwrap();
            let levels = |session: &mut Session, call: &str| -> Vec<i64> {
                // The rows of one time follow each other by their number: as they are sorted.
                let sql = format!(
                    "SELECT level FROM (SELECT user_name, {call}ts, {}) AS level FROM \
                     (SELECT * FROM events WHERE {} ORDER BY ts, event_id) e GROUP BY user_name) t",
                    steps.join(", "),
                    one.at("where").text()
                );
                rows(session, &sql).iter().map(|row| row[0].parse().unwrap()).collect()
            };
            let reached = |levels: &[i64], expected: &Json| {
                for (step, users) in expected.members() {
                    let step: i64 = step.parse().unwrap();
                    let found = levels.iter().filter(|level| **level >= step).count();
                    assert_eq!(found.to_string(), users.text(), "{} from step {step}", one.at("id").text());
                }
            };
            let id = one.at("id").text();
            let is_consecutive = one.at("mode").text() == "consecutive";
            let option = if is_consecutive { "'consecutive', " } else { "" };
            let found = levels(session, &format!("funnel(INTERVAL '{} seconds', {option}", millis / 1_000));
            reached(&found, one.at("users_reaching_step_at_least"));
            let peer = one.at("clickhouse_windowFunnel");
            let mode = peer.at("mode").list()[0].text();
            let mode = if mode == "default" { String::new() } else { format!("'{mode}', ") };
            let found =
                levels(session, &format!("window_funnel(INTERVAL '{} seconds', {mode}", millis / 1_000));
            reached(&found, peer.at("users_reaching_step_at_least"));
            for pair in peer.at("rows_level_users").list() {
                let level: i64 = pair.list()[0].text().parse().unwrap();
                let users = found.iter().filter(|found| **found == level).count();
                assert_eq!(users.to_string(), pair.list()[1].text(), "{id} at level {level}");
            }
        }
        assert_eq!(funnels.at("funnels").list().len(), 3);
    });
}

#[test]
fn lifetimes_are_summed_up() {
    let Some(folder) = data("rfm_lifetimes") else { return };
    let cases = read(&folder.join("cases.json"));
    with_session(|session| {
        run(session, "CREATE TABLE tx (row_id INTEGER, customer_id INTEGER, ts TIMESTAMP)");
        run(
            session,
            &format!("COPY tx FROM '{}' (FORMAT csv, HEADER)", folder.join("transactions.csv").display()),
        );
        let big = cases.at("big");
        check("big", rows(session, &big.at("sql").text()), csv(&folder.join("summary_expected.csv")), true);
        let mut taken = 0;
        for (number, case) in cases.at("cases").list().iter().enumerate() {
            let table = format!("case{number}");
            let columns = if case.at("columns").list().len() == 3 {
                "id BIGINT, day DATE, amount INTEGER"
            } else {
                "id BIGINT, day DATE"
            };
            run(session, &format!("CREATE TABLE {table} ({columns})"));
            for row in case.at("rows").list() {
                let values: Vec<String> = row.list().iter().map(Json::sql).collect();
                run(session, &format!("INSERT INTO {table} VALUES ({})", values.join(", ")));
            }
            // A period is a day, or a week that begins on Monday.
            let (unit, days) = if case.at("freq").text() == "D" { ("day", 1) } else { ("week", 7) };
            let period = |day: &str| format!("CAST(date_trunc('{unit}', {day}) AS DATE)");
            let amount = if columns.contains("amount") { "sum(amount)" } else { "0" };
            let sql = format!(
                "WITH p AS (SELECT id, {} AS period, {amount} AS amount FROM {table} GROUP BY 1, 2), \
                 n AS (SELECT id, period, amount, row_number() OVER (PARTITION BY id ORDER BY period) AS n FROM p) \
                 SELECT id, count(*) - 1 AS frequency, (max(period) - min(period)) / {days} AS recency, \
                 ({} - min(period)) / {days} AS t, coalesce(avg(amount) FILTER (WHERE n > 1), 0) AS monetary \
                 FROM n GROUP BY id ORDER BY id",
                period("day"),
                period(&format!("DATE {}", case.at("end").sql())),
            );
            let out: Vec<usize> = case
                .at("out")
                .list()
                .iter()
                .map(|name| match name.text().as_str() {
                    "id" => 0,
                    "frequency" => 1,
                    "recency" => 2,
                    "T" => 3,
                    _ => 4,
                })
                .collect();
            let found = rows(session, &sql)
                .into_iter()
                .map(|row| out.iter().map(|at| row[*at].clone()).collect())
                .collect();
            let expected = case.at("expected").list().iter();
            let expected = expected.map(|row| row.list().iter().map(Json::text).collect()).collect();
            check(&case.at("id").text(), found, expected, true);
            taken += 1;
        }
        assert_eq!(taken, 4, "all of them");
    });
}

/// Not taken: `bitmap_basics.json`, 12 statements about arrays and bitmaps as values. Here sets are tables and audiences: what they compute is asked by
/// these statements.
#[test]
fn bitmaps_are_sets_of_rows() {
    let Some(folder) = data("peer_cases") else { return };
    let statements = read(&folder.join("bitmap_basics.json"));
    assert_eq!(statements.at("statements").list().len(), 12);
    with_session(|session| {
        run(session, "CREATE TABLE a (x BIGINT)");
        run(session, "CREATE TABLE b (x BIGINT)");
        run(session, "INSERT INTO a VALUES (1), (2), (3)");
        run(session, "INSERT INTO b VALUES (3), (4), (5)");
        for (word, at) in [("INTERSECT", 1), ("UNION", 2), ("EXCEPT", 4)] {
            let found = rows(session, &format!("SELECT x FROM a {word} SELECT x FROM b ORDER BY x"));
            let found: Vec<String> = found.into_iter().flatten().collect();
            let expected = statements.at("statements").list()[at].at("result").list()[0].text();
            assert_eq!(format!("[{}]", found.join(",")), expected, "{word}");
        }
    });
}
