//! Who may do what over the wire: users, roles, wrong passwords, and what is written down of it.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod served;

use served::{Server, pipeline, request};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const USERS: &str = "CREATE USER boss PASSWORD 'password of boss' ROLE admin; \
     CREATE USER writer PASSWORD 'password of writer' ROLE write; \
     CREATE USER reader PASSWORD 'password of reader'; \
     CREATE USER \"default\" PASSWORD 'password of default'";

const NOAUTH: &str = "-NOAUTH Authentication required.";
const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.";

fn with_users(directory: &Path, options: &[&str]) -> Server {
    let database = musterdb::Database::open(directory).unwrap();
    database.execute_script(USERS, |_| {}).unwrap();
    drop(database);
    Server::of_members(directory, options)
}

fn lines(replies: &str) -> Vec<&str> {
    replies.trim_end().split("\r\n").collect()
}

#[test]
fn nothing_is_answered_before_a_password() {
    let directory = tempfile::tempdir().unwrap();
    let server = with_users(&directory.path().join("db"), &[]);
    let commands = [
        "PING",
        "COUNT",
        "CONTAINS",
        "AUDIENCES",
        "MEMBERS",
        "GET",
        "SET",
        "SQL",
        "STATEMENT",
        "PREPARE",
        "EXECUTE",
        "INFO",
        "COMMAND",
        "CONFIG",
        "CLIENT",
        "SELECT",
        "ECHO",
        "nonsense",
    ];
    for command in commands {
        let replies = server.told(&request(&[command, "vips", "1"]));
        assert_eq!(replies, format!("{NOAUTH}\r\n"), "{command}");
    }
    let replies = server.told(&pipeline(&[&["HELLO", "3"], &["RESET"], &["QUIT"], &["PING"]]));
    assert!(replies.starts_with("-NOAUTH HELLO must be called"), "{replies}");
    assert!(replies.ends_with("\r\n+RESET\r\n+OK\r\n"), "{replies}");
    // A stranger's requests are small ones.
    let words = vec!["x"; 11];
    assert_eq!(server.told(&request(&words)), "-ERR Protocol error: unauthenticated multibulk length\r\n");
    let long = "x".repeat(16 * 1024 + 1);
    let replies = server.told(&request(&["AUTH", &long]));
    assert_eq!(replies, "-ERR Protocol error: unauthenticated bulk length\r\n");
}

#[test]
fn who_says_the_password_may_do_what_the_role_may() {
    let directory = tempfile::tempdir().unwrap();
    let server = with_users(&directory.path().join("db"), &[]);
    let long = "x".repeat(20_000);
    let replies = server.told(&pipeline(&[
        &["PING"],
        &["AUTH", "reader", "password of reader"],
        &["COUNT", "vips"],
        &["SET", "members", "4", "city", "Lima"],
        &["SQL", "DELETE FROM members"],
        &["ECHO", &long],
        &["AUTH", "writer", "password of writer"],
        &["SET", "members", "4", "city", "Lima"],
        &["SQL", "SHOW USERS"],
        &["RESET"],
        &["PING"],
        &["AUTH", "password of default"],
        &["CLIENT", "ID"],
    ]));
    let denied = "this user may only read";
    let expected = [
        NOAUTH,
        "+OK",
        ":2",
        &format!("-NOPERM {denied}: SET needs the role write, ask an admin for ALTER USER … ROLE write"),
        &format!("-NOPERM {denied}: DELETE needs the role write, ask an admin for ALTER USER … ROLE write"),
        "$20000",
        &long,
        "+OK",
        "+OK",
        "-NOPERM this user has the role write: SHOW USERS needs admin, ask an admin for ALTER USER … ROLE admin",
        "+RESET",
        NOAUTH,
        "+OK",
        ":1",
    ];
    assert!(lines(&replies) == expected, "{}", replies.replace(&long, "x..."));
    let replies = server.told(&pipeline(&[
        &["HELLO", "3", "AUTH", "boss", "password of boss", "SETNAME", "me"],
        &["SQL", "SHOW USERS"],
    ]));
    assert!(replies.starts_with("%7\r\n") && replies.contains("$6\r\nreader\r\n"), "{replies}");
    assert!(!replies.contains("argon2"), "{replies}");
}

#[test]
fn a_wrong_password_takes_its_time_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let server = with_users(&directory.path().join("db"), &[]);
    let begun = Instant::now();
    let replies = server.told(&pipeline(&[
        &["AUTH", "reader", "password of reader"],
        &["AUTH", "writer", "password of reader"],
        &["AUTH", "nobody", "password of reader"],
        &["AUTH", "wrong"],
        &["HELLO", "3", "AUTH", "boss", ""],
        &["COUNT", "vips"],
        &["CLIENT", "INFO"],
    ]));
    // 0.25, 0.5, 1 and 2 seconds.
    assert!(begun.elapsed() >= Duration::from_millis(3_750), "{:?}", begun.elapsed());
    let found = lines(&replies);
    assert_eq!(found[..6], ["+OK", WRONGPASS, WRONGPASS, WRONGPASS, WRONGPASS, ":2"]);
    assert!(replies.contains(" user=reader ") && replies.contains(" resp=2 "), "{replies}");
    // Meanwhile, and after it, who is known is let in at once.
    let begun = Instant::now();
    let replies = server.told(&pipeline(&[&["AUTH", "reader", "password of reader"], &["PING"]]));
    assert_eq!(lines(&replies), ["+OK", "+PONG"]);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn a_role_counts_as_it_is_now() {
    let directory = tempfile::tempdir().unwrap();
    let server = with_users(&directory.path().join("db"), &[]);
    let mut reader = server.connect();
    let mut ask = |words: &[&str]| {
        reader.write_all(&request(words)).unwrap();
        let mut reply = [0; 256];
        let bytes = reader.read(&mut reply).unwrap();
        String::from_utf8_lossy(&reply[..bytes]).trim_end().to_owned()
    };
    let boss = |sql: &str| {
        let replies = server.told(&pipeline(&[&["AUTH", "boss", "password of boss"], &["SQL", sql]]));
        assert!(!replies.contains("-ERR"), "{replies}");
    };
    assert_eq!(ask(&["AUTH", "reader", "password of reader"]), "+OK");
    assert!(ask(&["TAG", "members", "1", "x"]).starts_with("-NOPERM"));
    boss("ALTER USER reader ROLE write");
    assert_eq!(ask(&["TAG", "members", "1", "x"]), ":1");
    boss("ALTER USER reader ROLE read");
    assert!(ask(&["TAG", "members", "1", "y"]).starts_with("-NOPERM"));
    assert_eq!(ask(&["COUNT", "vips"]), ":2");
    boss("DROP USER reader");
    assert_eq!(ask(&["COUNT", "vips"]), NOAUTH);
}

#[test]
fn a_database_without_users_asks_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &[]);
    let replies = server.told(&pipeline(&[
        &["AUTH", "secret"],
        &["COUNT", "vips"],
        &["SQL", "CREATE USER boss PASSWORD 'password of boss' ROLE admin"],
        &["COUNT", "vips"],
        &["AUTH", "boss", "password of boss"],
        &["COUNT", "vips"],
    ]));
    let found = lines(&replies);
    assert!(found[0].starts_with("-ERR AUTH called without any user in this database"), "{replies}");
    assert_eq!(found[1..], [":2", "+CREATE USER", NOAUTH, "+OK", ":2"]);
    // Who drops the last one opens the database to nobody.
    let replies = server.told(&pipeline(&[
        &["AUTH", "boss", "password of boss"],
        &["SQL", "DROP USER boss"],
        &["COUNT", "vips"],
    ]));
    assert_eq!(lines(&replies), ["+OK", "+DROP USER", NOAUTH]);
    assert_eq!(server.told(&request(&["COUNT", "vips"])), format!("{NOAUTH}\r\n"));
    let late = server.told(&request(&["AUTH", "boss", "password of boss"]));
    assert!(late.ends_with("the last was dropped, and the server has to be started anew\r\n"), "{late}");
}

/// Each byte of a request begins a new wait for the next one, but not for who it is.
#[test]
fn a_stranger_has_its_time_however_slowly_it_speaks() {
    let directory = tempfile::tempdir().unwrap();
    let server = with_users(&directory.path().join("db"), &[]);
    let (mut stranger, began) = (server.connect(), Instant::now());
    stranger.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut said = [0; 256];
    let bytes = loop {
        stranger.write_all(b"x").unwrap();
        match stranger.read(&mut said) {
            Ok(bytes) => break bytes,
            Err(_) => assert!(began.elapsed() < Duration::from_secs(40), "it still has its place"),
        }
    };
    assert_eq!(&said[..bytes], b"-ERR nobody said who this client is\r\n");
    assert!(began.elapsed() >= Duration::from_secs(29), "{:?}", began.elapsed());
}

#[test]
fn changes_logins_and_refusals_are_written_down_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.jsonl");
    let server = with_users(&directory.path().join("db"), &["--audit-log", log.to_str().unwrap()]);
    server.told(&pipeline(&[
        &["AUTH", "boss", "password of boss"],
        &["COUNT", "vips"],
        &["SET", "members", "7", "city", "Quito"],
        &["TAG", "members", "7", "new"],
        &["DEL", "members", "8"],
        &["SQL", "UPDATE members SET spend = $1 WHERE id = 7", "12.50"],
        &["SQL", "SELECT count(*) FROM members"],
        &["SQL", "BEGIN"],
        &["SQL", "DELETE FROM members WHERE id = 7"],
        &["SQL", "ROLLBACK"],
        &["STATEMENT", "CREATE USER late PASSWORD 'a secret of mine'"],
        &["AUTH", "reader", "a wrong secret"],
        &["AUTH", "reader", "password of reader"],
        &["DEL", "members", "7"],
        &["SQL", "DROP TABLE members"],
    ]));
    let text = std::fs::read_to_string(&log).unwrap();
    for secret in ["password of", "a secret of mine", "a wrong secret", "Quito", "12.50"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
    let entries: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<String> = entries
        .iter()
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            assert!(text("at").ends_with('Z') && text("peer").starts_with("127.0.0.1:"), "{entry}");
            let what = text("command") + &text("statement");
            format!("{} {} {what} {}", text("user"), text("event"), text("answer")).trim_end().to_owned()
        })
        .collect();
    let expected = [
        "boss login",
        "boss change SET",
        "boss change TAG",
        "boss change DEL",
        "boss change UPDATE members SET spend = $1 WHERE id = 7 UPDATE 1",
        "boss change BEGIN BEGIN",
        "boss change DELETE FROM members WHERE id = 7 DELETE 1",
        "boss change ROLLBACK ROLLBACK",
        "boss change CREATE USER late PASSWORD '***' CREATE USER",
        "boss login refused",
        "reader login",
        "reader denied DEL",
        "reader denied DROP TABLE members",
    ];
    assert_eq!(found, expected);
    assert_eq!(entries[1]["columns"], serde_json::json!(["city"]));
    assert_eq!((&entries[3]["rows"], &entries[3]["key"]), (&0.into(), &"8".into()));
}

/// Redis's own client, with a password in each way it has.
#[test]
fn redis_cli_says_passwords() {
    if Command::new("redis-cli").arg("--version").output().is_err() {
        eprintln!("SKIPPED: redis-cli is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let server = with_users(&directory.path().join("db"), &[]);
    let cli = |options: &[&str]| {
        let port = server.port.to_string();
        let output = Command::new("redis-cli")
            .args(["--no-auth-warning", "-p", &port])
            .args(options)
            .args(["COUNT", "vips"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(cli(&["--user", "reader", "--pass", "password of reader"]), "2");
    assert_eq!(cli(&["-3", "--user", "reader", "--pass", "password of reader"]), "2");
    assert_eq!(cli(&["-a", "password of default"]), "2");
    assert_eq!(cli(&[]), "NOAUTH Authentication required.");
}
