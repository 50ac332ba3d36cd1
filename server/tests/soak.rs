//! A mixed load for as long as one likes: memory, files and threads stay level, and look-ups stay quick.
//!
//! ```sh
//! MUSTER_SOAK_MINUTES=60 cargo test --release -p muster-server --test soak -- --nocapture
//! ```
//!
//! It prints a line every ten seconds; at the end the last third is held against the second. `cargo test` runs it for some seconds,
//! which shows that every client of it is served.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod served;
#[path = "served/watched.rs"]
mod watched;

use served::{Server, request};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use watched::{Answer, Client, Random, setting};

const MEMBERS: u64 = 20_000;
/// Between two samples.
const SAMPLE: Duration = Duration::from_secs(10);
/// How much higher than in the second third memory may be in the last, in percent.
const RISE_MAX: f64 = 5.0;

const TABLES: &str = "CREATE TABLE members (id BIGINT PRIMARY KEY, city TEXT, spend DECIMAL(12,2), tags TEXT[]); \
     CREATE TABLE orders (number TEXT PRIMARY KEY, member_id BIGINT REFERENCES members, total DECIMAL(12,2)); \
     CREATE AUDIENCE lima AS SELECT id FROM members WHERE city = 'c1'; \
     CREATE AUDIENCE vips AS SELECT id FROM members WHERE 'vip' = ANY(tags) AND spend > 50";

/// What clients tell of themselves.
#[derive(Default)]
struct Tally {
    look_ups: AtomicU64,
    writes: AtomicU64,
    statements: AtomicU64,
    visits: AtomicU64,
    /// The slowest look-up since the last sample, in microseconds.
    slowest: AtomicU64,
    ends: AtomicBool,
}

impl Tally {
    fn go_on(&self) -> bool {
        !self.ends.load(Ordering::Relaxed)
    }
}

fn answered(client: &mut Client, words: &[&str]) -> Answer {
    match client.ask(words).unwrap() {
        Answer::Error(error) => panic!("{words:?}: {error}"),
        answer => answer,
    }
}

/// Sends some requests together, and reads as many replies.
fn pipelined(client: &mut Client, requests: &[Vec<u8>]) {
    client.send(&requests.concat()).unwrap();
    for _ in requests {
        let answer = client.answer().unwrap();
        assert!(!matches!(answer, Answer::Error(_)), "{answer:?}");
    }
}

fn look_up(mut client: Client, tally: &Tally) {
    let mut random = Random(11);
    while tally.go_on() {
        let key = random.below(MEMBERS).to_string();
        for words in [
            &["CONTAINS", "chosen", &key][..],
            &["COUNT", "chosen"],
            &["GET", "members", &key, "city", "tags"],
        ] {
            let began = Instant::now();
            answered(&mut client, words);
            tally.slowest.fetch_max(began.elapsed().as_micros() as u64, Ordering::Relaxed);
            tally.look_ups.fetch_add(1, Ordering::Relaxed);
        }
        let many: Vec<Vec<u8>> =
            (0..64).map(|_| request(&["CONTAINS", "chosen", &random.below(MEMBERS).to_string()])).collect();
        pipelined(&mut client, &many);
        tally.look_ups.fetch_add(64, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Members change and orders come and go, among as many as there were.
fn write(mut client: Client, tally: &Tally) {
    let mut random = Random(13);
    let mut order = 0u64;
    while tally.go_on() {
        let mut many = Vec::new();
        for _ in 0..8 {
            let key = random.below(MEMBERS).to_string();
            let (city, spend) = (format!("c{}", random.below(20)), random.below(100).to_string());
            many.push(request(&["SET", "members", &key, "city", &city, "spend", &spend]));
            let tag = ["vip", "new", "old"][random.below(3) as usize];
            many.push(request(&[["TAG", "UNTAG"][random.below(2) as usize], "members", &key, tag]));
            let number = format!("o{}", order % 2_000);
            many.push(request(&["DEL", "orders", &number]));
            many.push(request(&["EVENT", "orders", "number", &number, "member_id", &key, "total", &spend]));
            order += 1;
        }
        pipelined(&mut client, &many);
        tally.writes.fetch_add(many.len() as u64, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn state(mut client: Client, tally: &Tally) {
    let mut random = Random(17);
    answered(&mut client, &["PREPARE", "above", "SELECT count(*) FROM members WHERE spend > $1"]);
    while tally.go_on() {
        let number = random.below(100).to_string();
        for words in [
            &["EXECUTE", "above", &number][..],
            &["SQL", "SELECT city, count(*), avg(spend) FROM members GROUP BY city ORDER BY city"],
            &[
                "SQL",
                "SELECT count(*) FROM members m WHERE EXISTS (SELECT 1 FROM orders o WHERE o.member_id = m.id)",
            ],
            &["COUNT", "vips"],
            &["AUDIENCES", "members", &number],
            &["OVERLAP", "lima", "vips"],
            &["PROFILE", "vips", "city"],
            &["MEMBERS", "lima", "AFTER", &number, "LIMIT", "200"],
            &["SQL", "BEGIN"],
            &["SQL", "UPDATE members SET spend = $1 WHERE id = 7", &number],
            &["SQL", "COMMIT"],
        ] {
            answered(&mut client, words);
            tally.statements.fetch_add(1, Ordering::Relaxed);
        }
        let wrong = client.ask(&["SQL", "SELECT nothing FROM nowhere"]).unwrap();
        assert!(matches!(wrong, Answer::Error(_)), "{wrong:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Clients that come for a moment: politely, or not.
fn visit(server: &Server, tally: &Tally) {
    let mut visits = 0;
    while tally.go_on() {
        let mut client = server.client();
        match visits % 6 {
            0 => drop(answered(&mut client, &["COUNT", "chosen"])),
            1 => client.send(b"*3\r\n$3\r\nSET\r\n$7\r\nmem").unwrap(),
            2 => drop(answered(&mut client, &["SQL", "SHOW TABLES"])),
            3 => drop(client.send(&request(&["MEMBERS", "lima", "LIMIT", "100000"]).repeat(50))),
            4 => assert!(server.heard(b"*x\r\n").starts_with(b"-ERR Protocol error")),
            _ => drop(answered(&mut client, &["CLIENT", "SETNAME", "visitor"])),
        }
        visits += 1;
        tally.visits.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the server holds at a moment.
struct Sample {
    memory: u64,
    files: usize,
    threads: u64,
}

#[test]
fn under_a_mixed_load_everything_stays_level() {
    let minutes = setting("MUSTER_SOAK_MINUTES", 0);
    let time = if minutes == 0 { Duration::from_secs(4) } else { Duration::from_secs(60 * minutes) };
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of(&directory.path().join("db"), TABLES, &[]);
    fill(&server);
    let (tally, began, mut samples) = (Tally::default(), Instant::now(), Vec::new());
    println!(
        "   s  KiB of its own  files  threads  look-ups/s  writes/s  statements/s  visits/s  slowest look-up ms"
    );
    std::thread::scope(|scope| {
        // Whoever fails ends the load, so that the failure is seen.
        let ends = Ends(&tally);
        let mut clients = Vec::new();
        for _ in 0..2 {
            clients.push(scope.spawn(|| look_up(server.client(), &tally)));
            clients.push(scope.spawn(|| write(server.client(), &tally)));
        }
        clients.push(scope.spawn(|| state(server.client(), &tally)));
        clients.push(scope.spawn(|| visit(&server, &tally)));
        let (mut last, every) = (Instant::now(), SAMPLE.min(time / 4));
        while began.elapsed() < time {
            std::thread::sleep(every);
            let seconds = last.elapsed().as_secs_f64();
            last = Instant::now();
            let sample = Sample { memory: server.memory(), files: server.files(), threads: server.threads() };
            let each = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed) as f64 / seconds;
            let Tally { look_ups, writes, statements, visits, slowest, .. } = &tally;
            let rates = [look_ups, writes, statements, visits].map(each);
            println!(
                "{:>4}  {:>14}  {:>5}  {:>7}  {:>10.0}  {:>8.0}  {:>12.0}  {:>8.0}  {:>8.1}",
                began.elapsed().as_secs(),
                sample.memory,
                sample.files,
                sample.threads,
                rates[0],
                rates[1],
                rates[2],
                rates[3],
                slowest.swap(0, Ordering::Relaxed) as f64 / 1000.0
            );
            let _ = std::io::stdout().flush();
            assert!(rates.iter().all(|rate| *rate > 0.0), "somebody is not served");
            assert!(clients.iter().all(|client| !client.is_finished()), "somebody failed");
            samples.push(sample);
        }
        drop(ends);
    });
    if minutes > 0 {
        is_level(&samples);
    }
}

struct Ends<'t>(&'t Tally);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.ends.store(true, Ordering::Relaxed);
    }
}

fn fill(server: &Server) {
    let mut client = server.client();
    for first in (0..MEMBERS).step_by(1_000) {
        let rows: Vec<String> = (first..first + 1_000)
            .map(|id| format!("({id}, 'c{}', {}, '{{new}}')", id % 20, id % 100))
            .collect();
        answered(&mut client, &["SQL", &format!("INSERT INTO members VALUES {}", rows.join(", "))]);
    }
    let chosen = "CREATE STATIC AUDIENCE chosen AS SELECT id FROM members WHERE id % 3 = 0";
    answered(&mut client, &["SQL", chosen]);
    answered(&mut client, &["SQL", "CHECKPOINT"]);
}

/// The last third against the second: what comes with the first minutes is there by then.
fn is_level(samples: &[Sample]) {
    let third = samples.len() / 3;
    let (second, last) = (&samples[third..2 * third], &samples[samples.len() - third..]);
    let mean = |samples: &[Sample]| {
        samples.iter().map(|sample| sample.memory as f64).sum::<f64>() / samples.len() as f64
    };
    let rise = (mean(last) / mean(second) - 1.0) * 100.0;
    println!(
        "memory: {:.0} KiB in the second third, {:.0} in the last: {rise:+.1} %",
        mean(second),
        mean(last)
    );
    assert!(rise < RISE_MAX, "memory rose by {rise:.1} %");
    let most = |samples: &[Sample], of: fn(&Sample) -> u64| samples.iter().map(of).max();
    assert!(
        most(last, |sample| sample.files as u64) <= most(second, |sample| sample.files as u64 + 10),
        "files"
    );
    assert!(most(last, |sample| sample.threads) <= most(second, |sample| sample.threads + 4), "threads");
}
