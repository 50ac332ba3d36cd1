//! A server is killed (SIGKILL) at random moments while connections write in pipelines and transactions beside look-ups and
//! statements, again and again: every acknowledged write is there, none is half there, and the rest of a pipeline is there in its order.
//!
//! A connection owns a range of keys and numbers its steps. A step is a function of its number, and what stands in the database
//! shows which steps it has seen: so what was acknowledged, and what may be there beyond it, is known exactly.
//!
//! `MUSTER_KILL_SERVED_ROUNDS=200 cargo test --test kill_served -- --nocapture` is the long run; `MUSTER_KILL_SEED` replays.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod served;
#[path = "served/watched.rs"]
mod watched;

use musterdb::{Database, Value};
use served::{Server, request};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use watched::{Answer, Client, Random, setting};

const WRITERS: u64 = 4;
/// Members of a writer, of which some are there.
const MEMBERS: u64 = 40;
/// Steps that a writer sends before it reads.
const PIPELINE: u64 = 24;

const TABLES: &str = "CREATE TABLE members (id BIGINT PRIMARY KEY, n BIGINT, city TEXT, tags TEXT[]); \
     CREATE TABLE orders (number TEXT PRIMARY KEY, member_id BIGINT REFERENCES members, n BIGINT); \
     CREATE TABLE pairs (id BIGINT PRIMARY KEY, n BIGINT); \
     CREATE AUDIENCE tagged AS SELECT id FROM members WHERE 't1' = ANY(tags); \
     CREATE STATIC AUDIENCE nobody AS SELECT id FROM members";

/// What a step does to the member that it is about.
#[derive(Clone, Copy)]
enum Step {
    Set,
    Tag,
    Event,
    Del,
}

impl Step {
    fn of(number: u64) -> Step {
        [Step::Set, Step::Tag, Step::Set, Step::Event, Step::Tag, Step::Del, Step::Set, Step::Event]
            [number as usize % 8]
    }
}

fn member(writer: u64, number: u64) -> u64 {
    writer * 1_000 + number * 7 % MEMBERS
}

/// The step as a request, and the member that keeps the number of the last one: they are sent together, in this order.
fn requests(writer: u64, number: u64) -> [Vec<u8>; 2] {
    let (id, n) = (member(writer, number).to_string(), number.to_string());
    let step = match Step::of(number) {
        Step::Set => request(&["SET", "members", &id, "n", &n, "city", &format!("c{}", number % 5)]),
        Step::Tag => request(&["TAG", "members", &id, &format!("t{}", number % 3)]),
        Step::Event => {
            request(&["EVENT", "orders", "number", &format!("{writer}/{n}"), "member_id", &id, "n", &n])
        }
        Step::Del => request(&["DEL", "members", &id]),
    };
    [step, request(&["SET", "members", &marker(writer).to_string(), "n", &n])]
}

/// The member that has the number of a writer's last step.
fn marker(writer: u64) -> u64 {
    writer * 1_000 + 999
}

type Member = (Option<i64>, Option<String>, Option<BTreeSet<String>>);

/// A writer's rows after so many steps.
#[derive(Clone, Default, Debug, PartialEq)]
struct Model {
    members: BTreeMap<i64, Member>,
    orders: BTreeSet<String>,
}

impl Model {
    fn step(&mut self, writer: u64, number: u64) {
        let id = member(writer, number) as i64;
        match Step::of(number) {
            Step::Set => {
                let member = self.members.entry(id).or_default();
                (member.0, member.1) = (Some(number as i64), Some(format!("c{}", number % 5)));
            }
            Step::Tag => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.2.get_or_insert_default().insert(format!("t{}", number % 3));
                }
            }
            Step::Event => {
                self.orders.insert(format!("{writer}/{number}"));
            }
            Step::Del => {
                self.members.remove(&id);
            }
        }
    }
}

/// A pipelining writer, until the server is gone: the last step whose two requests were answered, and the last that was sent.
fn write(mut client: Client, writer: u64, mut number: u64, told: &str) -> (u64, u64) {
    let (mut acknowledged, mut sent) = (number, number);
    loop {
        let bytes: Vec<u8> =
            (number + 1..=number + PIPELINE).flat_map(|n| requests(writer, n).concat()).collect();
        sent += PIPELINE;
        if client.send(&bytes).is_err() {
            return (acknowledged, sent);
        }
        for _ in 0..PIPELINE {
            number += 1;
            for _ in 0..2 {
                match client.answer() {
                    Ok(Answer::Error(error)) => panic!("{told}: step {number} of {writer}: {error}"),
                    Ok(_) => {}
                    Err(_) => return (acknowledged, sent),
                }
            }
            acknowledged = number;
        }
    }
}

/// A writer of transactions over two rows that must stay equal: the last number acknowledged.
fn transact(mut client: Client, mut number: u64) -> u64 {
    loop {
        let next = (number + 1).to_string();
        let statement = |id: &str| {
            let text = "INSERT INTO pairs VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n";
            request(&["SQL", text, id, &next])
        };
        let all = [request(&["SQL", "BEGIN"]), statement("1"), statement("2"), request(&["SQL", "COMMIT"])];
        if client.send(&all.concat()).is_err() {
            return number;
        }
        for at in 0..4 {
            match client.answer() {
                Ok(Answer::Error(error)) => panic!("statement {at} of transaction {next}: {error}"),
                Ok(_) => {}
                Err(_) => return number,
            }
        }
        number += 1;
    }
}

/// Look-ups and statements beside the writers.
fn ask(mut client: Client) {
    loop {
        for words in [
            &["COUNT", "tagged"][..],
            &["CONTAINS", "nobody", "1", "2"],
            &["GET", "members", "1001"],
            &["MEMBERS", "tagged", "LIMIT", "10"],
            &["SQL", "SELECT city, count(*) FROM members GROUP BY city"],
            &["AUDIENCES", "members", "1"],
            &["SQL", "SELECT n FROM pairs ORDER BY id"],
        ] {
            match client.ask(words) {
                Ok(Answer::Error(error)) => panic!("{words:?}: {error}"),
                Ok(Answer::Array(rows)) if words[1].contains("FROM pairs") => {
                    assert!(rows.len() < 3 || rows[1] == rows[2], "half a transaction: {rows:?}");
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// Checkpoints, which move what was written.
fn checkpoint(mut client: Client, ends: &AtomicBool) {
    while !ends.load(Ordering::Relaxed) && client.ask(&["SQL", "CHECKPOINT"]).is_ok() {
        std::thread::sleep(Duration::from_millis(7));
    }
}

#[test]
fn killed_at_any_moment_a_server_has_what_it_acknowledged() {
    let rounds = setting("MUSTER_KILL_SERVED_ROUNDS", 4);
    let seed = setting("MUSTER_KILL_SEED", 1);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let database = Database::open(&path).unwrap();
    database.execute_script(TABLES, |_| {}).unwrap();
    drop(database);
    let mut models = vec![(0u64, Model::default()); WRITERS as usize];
    let (mut pairs, mut beyond, mut random, began) = (0u64, 0, Random(seed), Instant::now());
    for round in 0..rounds {
        let told = format!("round {round} of seed {seed}");
        let mut server = Server::start(&path, &[]);
        let (after, ends) = (Duration::from_micros(20_000 + random.below(400_000)), AtomicBool::new(false));
        let (ends, told) = (&ends, told.as_str());
        let (written, transacted) = std::thread::scope(|scope| {
            let writers: Vec<_> = (1..)
                .zip(&models)
                .map(|(writer, (number, _))| {
                    let client = server.client();
                    scope.spawn(move || write(client, writer, *number, told))
                })
                .collect();
            let (client, before) = (server.client(), pairs);
            let transactions = scope.spawn(move || transact(client, before));
            let client = server.client();
            scope.spawn(move || ask(client));
            let client = server.client();
            scope.spawn(move || checkpoint(client, ends));
            std::thread::sleep(after);
            server.kill();
            ends.store(true, Ordering::Relaxed);
            let written: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
            (written, transactions.join().unwrap())
        });
        let database = Database::open(&path).unwrap_or_else(|error| panic!("{told}: {error}"));
        for ((writer, (number, model)), (acknowledged, sent)) in (1..).zip(&mut models).zip(written) {
            let found = last_step(&database, writer);
            assert!(
                (acknowledged..=sent).contains(&found),
                "{told}: writer {writer} was told of {acknowledged} of {sent}, found {found}"
            );
            beyond += found - acknowledged;
            (*number + 1..=found).for_each(|step| model.step(writer, step));
            let there = rows(&database, writer);
            if there != *model {
                // The step after the last, whose number was not written yet: each request is whole by itself.
                assert!(
                    found < sent,
                    "{told}: writer {writer}, step {found}: {there:?} instead of {model:?}"
                );
                model.step(writer, found + 1);
                assert!(
                    there == *model,
                    "{told}: writer {writer}, step {found}: {there:?} instead of {model:?}"
                );
                // It is made again when the writer goes on. All steps but EVENT, which answers 0 then, are the same twice.
            }
            *number = found;
        }
        let found: Vec<u64> = (1..=2)
            .map(|id| number(&database, &format!("SELECT coalesce(max(n), 0) FROM pairs WHERE id = {id}")))
            .collect();
        assert!(found[0] == found[1], "{told}: half a transaction: {found:?}");
        assert!(
            (transacted..=transacted + 1).contains(&found[0]),
            "{told}: {transacted} acknowledged, {found:?}"
        );
        pairs = found[0];
        compare_counts(&database, &models, told);
        drop(database);
        let mut verify = std::process::Command::new(env!("CARGO_BIN_EXE_muster"));
        let verified = verify.arg("verify").arg(&path).output().unwrap();
        assert!(verified.status.success(), "{told}: {}", String::from_utf8_lossy(&verified.stderr));
        if (round + 1) % 50 == 0 {
            println!("{} rounds in {:.0?}", round + 1, began.elapsed());
        }
    }
    let steps: u64 = models.iter().map(|(number, _)| number).sum();
    println!(
        "{rounds} rounds in {:.0?}: {steps} steps of two requests and {pairs} transactions; {beyond} steps were there that had not been acknowledged",
        began.elapsed()
    );
    assert!(steps > 0 && pairs > 0, "no writer had the time to write");
}

fn number(database: &Database, sql: &str) -> u64 {
    database.execute(sql).unwrap().single().unwrap()
}

fn last_step(database: &Database, writer: u64) -> u64 {
    number(database, &format!("SELECT coalesce(max(n), 0) FROM members WHERE id = {}", marker(writer)))
}

fn rows(database: &Database, writer: u64) -> Model {
    let (from, to) = (writer * 1_000, marker(writer));
    let sql = format!("SELECT id, n, city, tags FROM members WHERE id >= {from} AND id < {to}");
    let member = |values: &[Value]| {
        let [Value::Integer(id), n, city, tags] = values else { panic!("{values:?}") };
        let n = if let Value::Integer(n) = n { Some(*n) } else { None };
        let city = if let Value::Text(city) = city { Some(city.clone()) } else { None };
        let tags = if let Value::Tags(tags) = tags { Some(tags.iter().cloned().collect()) } else { None };
        (*id, (n, city, tags))
    };
    let members = database.execute(&sql).unwrap().rows().map(|row| member(row.values())).collect();
    let sql = format!("SELECT number FROM orders WHERE number LIKE '{writer}/%'");
    let order = |values: &[Value]| match values {
        [Value::Text(number)] => number.clone(),
        other => panic!("{other:?}"),
    };
    let orders = database.execute(&sql).unwrap().rows().map(|row| order(row.values())).collect();
    Model { members, orders }
}

/// The indexes and the audience say what the rows do.
fn compare_counts(database: &Database, models: &[(u64, Model)], told: &str) {
    let members = || models.iter().flat_map(|(_, model)| model.members.values());
    let tagged = members().filter(|member| member.2.as_ref().is_some_and(|tags| tags.contains("t1"))).count();
    let lived = members().filter(|member| member.1.as_deref() == Some("c2")).count();
    let orders: usize = models.iter().map(|(_, model)| model.orders.len()).sum();
    for (sql, expected) in [
        ("SELECT count(*) FROM members WHERE 't1' = ANY(tags)", tagged),
        ("SELECT count(*) FROM members WHERE in_audience('tagged')", tagged),
        ("SELECT count(*) FROM members WHERE city = 'c2'", lived),
        ("SELECT count(*) FROM orders", orders),
    ] {
        assert_eq!(number(database, sql), expected as u64, "{told}: {sql}");
    }
}
