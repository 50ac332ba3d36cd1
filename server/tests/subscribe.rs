//! Hearing of commits over the wire.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod served;

use served::{Server, pipeline, request};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

/// What comes until it has so many lines.
fn lines(socket: &mut TcpStream, count: usize) -> Vec<String> {
    let mut text = String::new();
    while text.matches("\r\n").count() < count {
        let mut bytes = [0; 4096];
        let read = socket.read(&mut bytes).unwrap();
        assert!(read > 0, "the end after {text:?}");
        text += std::str::from_utf8(&bytes[..read]).unwrap();
    }
    text.split_terminator("\r\n").map(str::to_owned).collect()
}

#[test]
fn each_commit_is_told_to_those_who_listen_to_its_table() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &[]);
    let mut listener = server.connect();
    listener.write_all(&request(&["SUBSCRIBE", "members", "orders"])).unwrap();
    let subscribed = lines(&mut listener, 12);
    assert_eq!(subscribed[..6], ["*3", "$9", "subscribe", "$7", "members", ":1"]);
    assert_eq!(subscribed[6..], ["*3", "$9", "subscribe", "$6", "orders", ":2"]);
    let lsn = |server: &Server| {
        let info = server.told(&request(&["INFO", "database"]));
        let line = info.lines().find_map(|line| line.strip_prefix("lsn:")).unwrap().to_owned();
        line.trim().to_owned()
    };
    for (words, table) in [
        (&["SET", "members", "1", "city", "Oslo"][..], "members"),
        (&["EVENT", "orders", "number", "a1", "member_id", "1"], "orders"),
        (&["SQL", "ALTER TABLE orders ADD COLUMN total BIGINT"], "orders"),
        (&["SQL", "CREATE STATIC AUDIENCE one AS SELECT id FROM members WHERE id = 1"], "members"),
    ] {
        server.told(&request(words));
        let told = lines(&mut listener, 7);
        assert_eq!(
            (&told[2][..], &told[4][..], &told[6][..]),
            ("message", table, &lsn(&server)[..]),
            "{words:?}"
        );
    }
    // A checkpoint changes nothing, and neither does a table that nobody listens to.
    server.told(&pipeline(&[
        &["SQL", "CHECKPOINT"],
        &["SQL", "CREATE TABLE others (id BIGINT PRIMARY KEY)"],
        &["SET", "others", "1"],
        &["DEL", "members", "3"],
    ]));
    let told = lines(&mut listener, 7);
    assert_eq!((&told[4][..], told[6].clone()), ("members", lsn(&server)));
    // In this mode the second version says nothing that could be taken for news.
    listener
        .write_all(&pipeline(&[
            &["COUNT", "vips"],
            &["PING"],
            &["UNSUBSCRIBE", "orders"],
            &["UNSUBSCRIBE"],
            &["COUNT", "vips"],
        ]))
        .unwrap();
    let answers = lines(&mut listener, 1 + 5 + 6 + 6 + 1);
    assert!(answers[0].starts_with("-ERR Can't execute 'count': only"), "{answers:?}");
    assert_eq!(answers[1..6], ["*2", "$4", "pong", "$0", ""]);
    assert_eq!(answers[6..12], ["*3", "$11", "unsubscribe", "$6", "orders", ":1"]);
    assert_eq!(answers[12..18], ["*3", "$11", "unsubscribe", "$7", "members", ":0"]);
    assert_eq!(answers[18], ":1");
}

#[test]
fn the_third_version_pushes_between_answers() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &[]);
    let mut listener = server.connect();
    listener
        .write_all(&pipeline(&[
            &["HELLO", "3"],
            &["SUBSCRIBE", "members"],
            &["SET", "members", "9", "city", "Rome"],
            &["COUNT", "lima"],
        ]))
        .unwrap();
    let mut text = String::new();
    while !text.contains("message") || !text.contains(":2\r\n") {
        text += &lines(&mut listener, 1).join("\r\n");
        text += "\r\n";
    }
    assert!(text.contains(">3\r\n$9\r\nsubscribe\r\n$7\r\nmembers\r\n:1\r\n+OK\r\n"), "{text}");
    assert!(text.contains(">3\r\n$7\r\nmessage\r\n$7\r\nmembers\r\n$"), "{text}");
    let unknown = server.told(&request(&["SUBSCRIBE", "membres"]));
    assert!(unknown.starts_with("-ERR there is no table \"membres\""), "{unknown}");
}

#[test]
fn who_is_dropped_hears_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &[]);
    let create = "CREATE USER boss PASSWORD 'password of boss' ROLE admin";
    server.told(&pipeline(&[&["SQL", create]]));
    let as_boss = |words: &[&str]| server.told(&pipeline(&[&["AUTH", "boss", "password of boss"], words]));
    as_boss(&["SQL", "CREATE USER ear PASSWORD 'password of ear'"]);
    let mut listener = server.connect();
    listener.write_all(&pipeline(&[&["AUTH", "ear", "password of ear"], &["SUBSCRIBE", "members"]])).unwrap();
    lines(&mut listener, 7);
    as_boss(&["SQL", "DROP USER ear"]);
    as_boss(&["SET", "members", "1", "city", "Oslo"]);
    listener.write_all(&request(&["PING"])).unwrap();
    assert_eq!(lines(&mut listener, 1), ["-NOAUTH Authentication required."]);
}

/// A thousand commits, each of them told or included in one that is.
#[test]
fn a_slow_listener_hears_of_the_last() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &[]);
    let mut listener = server.connect();
    listener.write_all(&request(&["SUBSCRIBE", "members"])).unwrap();
    lines(&mut listener, 6);
    let writes: Vec<Vec<String>> = (0..3_000)
        .map(|id| ["SET", "members", &id.to_string(), "city", "Bern"].map(str::to_owned).to_vec())
        .collect();
    let writes: Vec<u8> = writes
        .iter()
        .flat_map(|words| request(&words.iter().map(String::as_str).collect::<Vec<_>>()))
        .collect();
    assert_eq!(server.told(&writes).matches("+OK\r\n").count(), 3_000);
    let info = server.told(&request(&["INFO", "database"]));
    let last = info.lines().find_map(|line| line.strip_prefix("lsn:")).unwrap().trim().to_owned();
    let (mut heard, mut highest) = (0, 0);
    while highest < last.parse::<u64>().unwrap() {
        let told = lines(&mut listener, 7);
        for message in told.chunks(7) {
            let lsn = message[6].parse().unwrap();
            assert!(lsn > highest, "in the order of the commits: {lsn} after {highest}");
            (heard, highest) = (heard + 1, lsn);
        }
    }
    assert!(heard >= 1, "{heard}");
}

#[test]
fn redis_py_listens() {
    let python = Command::new("python3").args(["-c", "import redis"]).output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: redis-py is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &[]);
    let script = "
import sys, redis
for protocol in (2, 3):
    db = redis.Redis(port=int(sys.argv[1]), protocol=protocol, decode_responses=True)
    news = db.pubsub(ignore_subscribe_messages=True)
    news.subscribe('members')
    assert news.get_message(timeout=5) is None
    db.execute_command('SET', 'members', 1, 'city', 'Oslo')
    message = news.get_message(timeout=5)
    assert message['type'] == 'message' and message['channel'] == 'members' and int(message['data']) > 0, message
    news.unsubscribe()
    news.close()
print('heard')
";
    let output = Command::new("python3").args(["-c", script, &server.port.to_string()]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "heard\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
