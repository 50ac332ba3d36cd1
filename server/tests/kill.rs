//! A process that writes is killed (SIGKILL) at random moments, again and again: every acknowledged write is there, one that
//! was in flight is there whole or not at all, every count equals a model's, and verification finds no damage.
//!
//! The child is this test binary again. Its writers own a range of keys each and number their batches; a batch is a function
//! of its number, and leaves the number in the table. So the number that is found says what everything must be.
//!
//! `MUSTER_KILL_ROUNDS=1000 cargo test --test kill -- --nocapture` is the soak; `MUSTER_KILL_SEED` replays.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use musterdb::{Database, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const WRITERS: i64 = 4;
/// Members of a writer come and go among these.
const MEMBERS: i64 = 300;
/// The test, which is also the child.
const TEST: &str = "killed_at_any_moment_nothing_acknowledged_is_lost";
/// Says the child where to write, and that it is the child.
const DIRECTORY: &str = "MUSTER_KILL_DIRECTORY";

/// Where the keys of a writer begin.
fn base(writer: i64) -> i64 {
    writer * 1_000
}

/// The member that has the number of a writer's last batch.
fn marker(writer: i64) -> i64 {
    base(writer) + 999
}

/// The statements of a batch, which become durable together. Half of the writers use transactions, half one statement.
fn batch(writer: i64, number: i64) -> Vec<String> {
    let rows = upserted(writer, number).into_iter().chain([marker(writer)]);
    let rows: Vec<String> = rows.map(|id| format!("({id}, {number}, 'c{}')", number % 5)).collect();
    let upsert = format!(
        "INSERT INTO t (id, n, city) VALUES {} ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n, city = EXCLUDED.city",
        rows.join(", ")
    );
    if writer % 2 == 1 {
        return vec![upsert];
    }
    let (from, to) = tagged(writer, number);
    vec![
        "BEGIN".into(),
        upsert,
        format!("UPDATE t SET tags = tags || 't{}' WHERE id BETWEEN {from} AND {to}", number % 4),
        format!("UPDATE t SET tags = array_remove(tags, 't1'), city = NULL WHERE id = {from}"),
        format!("DELETE FROM t WHERE id = {}", deleted(writer, number)),
        "COMMIT".into(),
    ]
}

fn upserted(writer: i64, number: i64) -> Vec<i64> {
    (0..20).map(|row| base(writer) + (number * 7 + row * 3) % MEMBERS).collect()
}

fn tagged(writer: i64, number: i64) -> (i64, i64) {
    let from = base(writer) + number * 11 % MEMBERS;
    (from, from + 30)
}

fn deleted(writer: i64, number: i64) -> i64 {
    base(writer) + number * 13 % MEMBERS
}

/// What a member is: number, city, tags.
type Member = (i64, Option<String>, Option<BTreeSet<String>>);

/// A writer's members, and the last batch that they have seen.
#[derive(Default)]
struct Model {
    number: i64,
    members: BTreeMap<i64, Member>,
}

impl Model {
    fn advance(&mut self, writer: i64, to: i64) {
        while self.number < to {
            self.number += 1;
            let number = self.number;
            for id in upserted(writer, number).into_iter().chain([marker(writer)]) {
                let member = self.members.entry(id).or_default();
                (member.0, member.1) = (number, Some(format!("c{}", number % 5)));
            }
            if writer % 2 == 1 {
                continue;
            }
            let (from, to) = tagged(writer, number);
            for member in self.members.range_mut(from..=to).map(|(_, member)| member) {
                member.2.get_or_insert_default().insert(format!("t{}", number % 4));
            }
            if let Some(member) = self.members.get_mut(&from) {
                member.1 = None;
                member.2.get_or_insert_default().remove("t1");
            }
            self.members.remove(&deleted(writer, number));
        }
    }
}

/// What the child does, until it is killed.
fn write_for_ever(directory: &str) {
    let db = Database::open(directory).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let mut session = db.session();
            let mut number = last_batch(&db, writer);
            scope.spawn(move || {
                loop {
                    number += 1;
                    for statement in batch(writer, number) {
                        session.execute(&statement).unwrap();
                    }
                    println!("acknowledged {writer} {number}");
                }
            });
        }
        loop {
            db.execute("CHECKPOINT").unwrap();
            std::thread::sleep(Duration::from_millis(7));
        }
    });
}

fn last_batch(db: &Database, writer: i64) -> i64 {
    number(db, &format!("SELECT coalesce(max(n), 0) FROM t WHERE id = {}", marker(writer)))
}

fn number(db: &Database, sql: &str) -> i64 {
    db.execute(sql).unwrap().single().unwrap()
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost() {
    if let Ok(directory) = std::env::var(DIRECTORY) {
        return write_for_ever(&directory);
    }
    let setting = |name: &str, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let rounds: u64 = setting("MUSTER_KILL_ROUNDS", 10);
    let seed: u64 = setting("MUSTER_KILL_SEED", 1);
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path()).unwrap();
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL, city TEXT, tags TEXT[])").unwrap();
    drop(db);
    let mut models: Vec<Model> = (0..WRITERS).map(|_| Model::default()).collect();
    let (mut random, mut unacknowledged, started) = (seed, 0, Instant::now());
    for round in 0..rounds {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let acknowledged = write_and_kill(directory.path(), Duration::from_micros((random >> 33) % 250_000));
        let told = format!("round {round} of seed {seed}");
        let db = Database::open(directory.path()).unwrap_or_else(|error| panic!("{told}: {error}"));
        for (writer, model) in (0..).zip(&mut models) {
            let at_least = acknowledged.get(&writer).copied().unwrap_or(model.number);
            let found = last_batch(&db, writer);
            assert!(
                (at_least..=at_least + 1).contains(&found),
                "{told}: writer {writer} was told of {at_least}, found {found}"
            );
            unacknowledged += found - at_least;
            model.advance(writer, found);
            assert!(members(&db, writer) == model.members, "{told}: writer {writer}, batch {found}");
        }
        compare_counts(&db, &models, &told);
        drop(db);
        let mut verify = Command::new(env!("CARGO_BIN_EXE_muster"));
        let verified = verify.arg("verify").arg(directory.path()).output().unwrap();
        assert!(verified.status.success(), "{told}: {}", String::from_utf8_lossy(&verified.stderr));
        if (round + 1) % 100 == 0 {
            println!("{} rounds in {:.0?}", round + 1, started.elapsed());
        }
    }
    let batches: i64 = models.iter().map(|model| model.number).sum();
    println!("{rounds} rounds, {batches} batches, {unacknowledged} of them found though not acknowledged");
    assert!(batches > 0, "no child had the time to write");
}

/// The last batch of each writer that a child acknowledged before it was killed.
fn write_and_kill(directory: &Path, after: Duration) -> BTreeMap<i64, i64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).map(|_| text)
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.stderr.is_empty(), "the child failed: {}", String::from_utf8_lossy(&ended.stderr));
    let text = reader.join().unwrap().unwrap();
    // A line is whole where its end is there.
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let acknowledged = lines.filter_map(|line| line.split_once("acknowledged "));
    acknowledged
        .map(|(_, rest)| {
            let (writer, number) = rest.split_once(' ').unwrap();
            (writer.parse().unwrap(), number.parse().unwrap())
        })
        .collect()
}

fn members(db: &Database, writer: i64) -> BTreeMap<i64, Member> {
    let sql =
        format!("SELECT id, n, city, tags FROM t WHERE id >= {} AND id < {}", base(writer), base(writer + 1));
    let outcome = db.execute(&sql).unwrap();
    let integer = |value: &Value| match value {
        Value::Integer(integer) => *integer,
        other => panic!("{other:?}"),
    };
    let member = |values: &[Value]| {
        let city = match &values[2] {
            Value::Text(city) => Some(city.clone()),
            _ => None,
        };
        let tags = match &values[3] {
            Value::Tags(tags) => Some(tags.iter().cloned().collect()),
            _ => None,
        };
        (integer(&values[0]), (integer(&values[1]), city, tags))
    };
    outcome.rows().map(|row| member(row.values())).collect()
}

/// The indexes say what the rows do.
fn compare_counts(db: &Database, models: &[Model], told: &str) {
    let all = || models.iter().flat_map(|model| model.members.values());
    let compare = |condition: &str, holds: &dyn Fn(&Member) -> bool| {
        let found = number(db, &format!("SELECT count(*) FROM t WHERE {condition}"));
        let expected = all().filter(|member| holds(member)).count() as i64;
        assert_eq!(found, expected, "{told}: {condition}");
    };
    compare("true", &|_| true);
    compare("city IS NULL", &|member| member.1.is_none());
    compare("tags IS NULL", &|member| member.2.is_none());
    compare("n % 2 = 0", &|member| member.0 % 2 == 0);
    compare("n BETWEEN 50 AND 500", &|member| (50..=500).contains(&member.0));
    for kind in 0..5 {
        let (city, tag) = (format!("c{kind}"), format!("t{kind}"));
        compare(&format!("city = '{city}'"), &|member| member.1.as_ref() == Some(&city));
        compare(&format!("'{tag}' = ANY(tags)"), &|member| {
            member.2.as_ref().is_some_and(|tags| tags.contains(&tag))
        });
    }
}
