//! `muster serve` as its clients see it: bytes over a socket, redis-cli and redis-py where they are installed.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod served;

use served::{Server, pipeline, request};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// A statement that takes long after [`fill`].
const LONG: &str = "SELECT count(*) FROM members a CROSS JOIN members b CROSS JOIN members c WHERE a.city < b.city AND b.city < c.city";

fn fill(server: &Server) {
    let numbers = (10..3_000).map(|id| format!("({id}, 'x{id}')")).collect::<Vec<_>>().join(", ");
    let filled = server.told(&request(&["SQL", &format!("INSERT INTO members (id, city) VALUES {numbers}")]));
    assert_eq!(filled, "+INSERT 0 2990\r\n");
}

#[test]
fn a_pipeline_is_answered_in_its_order() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &[]);
    let replies = server.told(&pipeline(&[
        &["ping"],
        &["COUNT", "vips"],
        &["CONTAINS", "vips", "1"],
        &["CONTAINS", "vips", "000000000002", "3", "9"],
        &["CONTAINS", "lima", "2"],
        &["SET", "members", "4", "city", "Lima", "vip", "f"],
        &["TAG", "members", "4", "b", "a"],
        &["UNTAG", "members", "4", "b"],
        &["COUNT", "lima"],
        &["GET", "members", "4", "tags", "city", "spend"],
        &["AUDIENCES", "members", "3"],
        &["MEMBERS", "lima", "LIMIT", "2"],
        &["MEMBERS", "lima", "AFTER", "@2"],
        &["EVENT", "orders", "number", "a1", "member_id", "4"],
        &["EVENT", "orders", "number", "a1", "member_id", "4"],
        &["DEL", "members", "4"],
        &["DEL", "members", "4"],
        &["PREPARE", "q", "SELECT count(*) FROM members WHERE city = $1"],
        &["EXECUTE", "q", "Lima"],
        &["SQL", "SELECT spend FROM members WHERE id = $1", "1"],
        &["QUIT"],
        &["PING"],
    ]));
    let expected = [
        "+PONG", ":2", ":1", "*3", ":0", ":1", ":0", ":1", "+OK", ":1", ":1", ":3", "*6", "$4", "tags", "*1",
        "$1", "a", "$4", "city", "$4", "Lima", "$5", "spend", "$-1", "*2", "$4", "lima", "$4", "vips", "*2",
        "$2", "@2", "*2", ":2", ":3", "*2", "$-1", "*1", ":4", ":1", ":0", ":1", ":0", "+OK", "*2", "*1",
        "$5", "count", "*1", ":2", "*2", "*1", "$5", "spend", "*1", "$6", "120.50", "+OK", "",
    ];
    assert_eq!(replies.split("\r\n").collect::<Vec<_>>(), expected);
}

#[test]
fn the_third_version_has_maps_sets_and_booleans() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &[]);
    let replies = server.told(&pipeline(&[
        &["HELLO", "3", "SETNAME", "me"],
        &["GET", "members", "1", "tags", "vip"],
        &["CLIENT", "GETNAME"],
        &["RESET"],
        &["CLIENT", "GETNAME"],
    ]));
    assert!(replies.starts_with("%7\r\n$6\r\nserver\r\n$8\r\nmusterdb\r\n"), "{replies}");
    assert!(replies.ends_with(
        "%2\r\n$4\r\ntags\r\n~2\r\n$3\r\nnew\r\n$3\r\nvip\r\n$3\r\nvip\r\n#t\r\n$2\r\nme\r\n+RESET\r\n$-1\r\n"
    ));
}

#[test]
fn what_cannot_be_done_is_said_and_hurts_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &["--max-rows", "2"]);
    let bystander = server.connect();
    for (words, error) in [
        (&["CONTA"][..], "-ERR unknown command 'CONTA', did you mean CONTAINS?"),
        (&["COUNT"], "-ERR wrong number of arguments for 'count' command: it is COUNT audience"),
        (
            &["COUNT", "nobody"],
            "-ERR there is no audience \"nobody\": SQL \"SHOW AUDIENCES\" names those there are",
        ),
        (&["CONTAINS", "vips", "x"], "-ERR 'x' is no key of \"members\": keys are BIGINT"),
        (
            &["SET", "members", "1", "city"],
            "-ERR columns and values come in pairs: the last column has no value",
        ),
        (
            &["SET", "members", "1", "spend", "much"],
            "-ERR column \"spend\": \"much\" is not a decimal number",
        ),
        (&["TAG", "orders", "1", "x"], "-ERR table \"orders\" has no column of tags (TEXT[])"),
        (&["MEMBERS", "vips", "LIMIT", "0"], "-ERR LIMIT is a number from 1 to 100000, not '0'"),
        (
            &["SQL", "SELECT citi FROM members"],
            "-ERR unknown column \"citi\", did you mean \"city\"? (at character 8)",
        ),
        (
            &["SQL", "SELECT id FROM members"],
            "-ERR the answer has 3 rows, more than 2: ask for less with LIMIT, or page with MEMBERS",
        ),
        (
            &["SQL", "COPY members TO 'x.csv'"],
            "-ERR this session may not read or write files: send or take the rows themselves (at character 17)",
        ),
        (&["HELLO", "4"], "-NOPROTO unsupported protocol version"),
    ] {
        assert_eq!(server.told(&request(words)).trim_end(), error, "{words:?}");
    }
    // What came before bytes that are no request is answered.
    assert_eq!(
        server.told(b"PING\r\n*x\r\nPING\r\n"),
        "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n"
    );
    // A request without an end, and one that is given up.
    let mut half = server.connect();
    half.write_all(b"*2\r\n$4\r\nECHO\r\n$100\r\nabc").unwrap();
    assert_eq!(server.told(b"COUNT vips\r\n"), ":2\r\n");
    drop(half);
    let (mut bystander, mut pong) = (bystander, [0; 7]);
    bystander.write_all(b"PING\r\n").unwrap();
    bystander.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
}

#[test]
fn one_client_too_many_is_told_so_and_the_others_stay() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &["--max-clients", "2"]);
    let mut guests = [server.connect(), server.connect()];
    let ping = |guest: &mut TcpStream| {
        let mut pong = [0; 7];
        guest.write_all(b"PING\r\n").unwrap();
        guest.read_exact(&mut pong).unwrap();
        pong
    };
    // Who was answered has been counted.
    guests.iter_mut().for_each(|guest| assert_eq!(&ping(guest), b"+PONG\r\n"));
    let mut refused = String::new();
    server.connect().read_to_string(&mut refused).unwrap();
    assert_eq!(refused, "-ERR max number of clients reached\r\n");
    guests.iter_mut().for_each(|guest| assert_eq!(&ping(guest), b"+PONG\r\n"));
}

#[test]
fn a_database_that_is_only_read_refuses_writes_by_their_code() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("db");
    drop(Server::of_members(&database, &[]));
    let server = Server::start(&database, &["--read-only"]);
    let replies = server.told(&pipeline(&[&["SET", "members", "1", "city", "Oslo"], &["COUNT", "lima"]]));
    assert!(replies.starts_with("-READONLY ") && replies.ends_with("\r\n:2\r\n"), "{replies}");
}

#[test]
fn an_ad_hoc_statement_ends_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &["--statement-seconds", "1"]);
    fill(&server);
    let began = Instant::now();
    // A client that stays: the statements of others are ended sooner.
    let (mut socket, mut replies) = (server.connect(), String::new());
    socket.write_all(&pipeline(&[&["SQL", LONG], &["SQL", "SELECT 1"], &["QUIT"]])).unwrap();
    socket.read_to_string(&mut replies).unwrap();
    let lines: Vec<&str> = replies.split_terminator("\r\n").collect();
    assert!(lines.len() == 3 && lines[..2].iter().all(|line| line.starts_with("-TIMEOUT ")), "{replies}");
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(server.told(b"COUNT vips\r\n"), ":2\r\n");
}

/// Who is in a transaction has the database's writer: those who wait for it hold all permits, and keep nobody from ending it.
#[test]
fn a_transaction_ends_while_others_wait_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &["--max-statements", "2"]);
    let mut within = Connection::of(&server);
    assert_eq!(within.asked(&["SQL", "BEGIN"]), "+BEGIN");
    assert_eq!(within.asked(&["SET", "members", "1", "city", "Oslo"]), "+OK");
    let waiting: Vec<Connection> = (20..23)
        .map(|id| {
            let mut other = Connection::of(&server);
            other.send(&["SQL", &format!("INSERT INTO members (id) VALUES ({id})")]);
            other
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    assert_eq!(within.asked(&["SET", "members", "1", "city", "Rome"]), "+OK");
    assert_eq!(within.asked(&["SQL", "COMMIT"]), "+COMMIT");
    for mut other in waiting {
        assert_eq!(other.line(), "+INSERT 0 1");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// A change has the time of a statement, also in the queue of the writer, and none of it is made when that is over.
#[test]
fn changes_that_wait_for_a_transaction_end_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &["--statement-seconds", "2"]);
    let mut within = Connection::of(&server);
    assert_eq!(within.asked(&["SQL", "BEGIN"]), "+BEGIN");
    let mut others: Vec<Connection> = (0..3).map(|_| Connection::of(&server)).collect();
    let began = Instant::now();
    for other in &mut others {
        other.send(&["SET", "members", "1", "city", "Oslo"]);
        std::thread::sleep(Duration::from_millis(300));
    }
    for other in &mut others {
        let line = other.line();
        assert!(line.starts_with("-TIMEOUT "), "{line}");
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1_900) && took < Duration::from_secs(8), "{took:?}");
    assert_eq!(within.asked(&["SQL", "COMMIT"]), "+COMMIT");
    let oslo = server.told(&request(&["SQL", "SELECT count(*) FROM members WHERE city = 'Oslo'"]));
    assert!(oslo.ends_with(":0\r\n"), "{oslo}");
    assert_eq!(server.told(&request(&["SET", "members", "1", "city", "Rome"])), "+OK\r\n");
}

/// A statement that is begun after RESET, in a session of its own, has its end as any other.
#[test]
fn a_pipeline_with_a_reset_in_it_ends_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &["--statement-seconds", "1"]);
    fill(&server);
    let mut client = Connection::of(&server);
    let began = Instant::now();
    client.send_all(&pipeline(&[&["SQL", "SHOW TIMEZONE"], &["RESET"], &["SQL", LONG]]));
    let lines: Vec<String> =
        std::iter::repeat_with(|| client.line()).take_while(|line| line != "+RESET").collect();
    assert!(!lines.is_empty());
    let line = client.line();
    assert!(line.starts_with("-TIMEOUT "), "{line}");
    assert!(began.elapsed() < Duration::from_secs(15));
}

/// What is no statement waits for none, whatever stands before it in its pipeline.
#[test]
fn changes_and_look_ups_in_one_pipeline_wait_for_no_permit() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &["--max-statements", "1"]);
    fill(&server);
    let mut busy = Connection::of(&server);
    busy.send(&["SQL", LONG]);
    std::thread::sleep(Duration::from_millis(300));
    let mut client = Connection::of(&server);
    let began = Instant::now();
    client.send_all(&pipeline(&[
        &["SET", "members", "1", "city", "Oslo"],
        &["COUNT", "vips"],
        &["TAG", "members", "1", "new"],
        &["PING"],
    ]));
    let lines: Vec<String> = (0..4).map(|_| client.line()).collect();
    assert_eq!(lines, ["+OK", ":2", ":1", "+PONG"]);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn thousands_of_tags_at_once_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &[]);
    let tags = vec!["t"; 100_000];
    for command in ["UNTAG", "TAG"] {
        let words: Vec<&str> = [command, "members", "1"].into_iter().chain(tags.iter().copied()).collect();
        let said = server.told(&request(&words));
        assert_eq!(said, "-ERR at most 1000 tags at once; send the others in another request\r\n");
    }
    assert_eq!(server.told(b"COUNT vips\r\n"), ":2\r\n");
}

#[test]
fn beyond_the_machine_it_has_to_be_said_twice() {
    let directory = tempfile::tempdir().unwrap();
    let muster = Command::new(env!("CARGO_BIN_EXE_muster"))
        .arg("serve")
        .arg(directory.path().join("db"))
        .args(["--listen", "0.0.0.0:0"])
        .output()
        .unwrap();
    let error = String::from_utf8(muster.stderr).unwrap();
    assert!(!muster.status.success() && error.contains("--insecure"), "{error}");
    assert!(!directory.path().join("db").exists(), "what is refused leaves nothing");
}

#[cfg(unix)]
#[test]
fn sigterm_ends_it_cleanly_and_what_was_acknowledged_stays() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("db");
    let mut server = Server::of_members(&database, &[]);
    let mut idle = server.connect();
    assert_eq!(server.told(&request(&["SET", "members", "77", "city", "Oslo"])), "+OK\r\n");
    let (success, said) = server.terminate();
    assert!(success && said.ends_with("closed\n"), "{said:?}");
    let mut nothing = Vec::new();
    assert_eq!(idle.read_to_end(&mut nothing).unwrap_or(0), 0);
    // And what a kill left in the log.
    let server = Server::start(&database, &[]);
    assert_eq!(server.told(&request(&["SET", "members", "78", "city", "Oslo"])), "+OK\r\n");
    drop(server);
    let database = musterdb::Database::open(&database).unwrap();
    let found: u64 =
        database.execute("SELECT count(*) FROM members WHERE city = 'Oslo'").unwrap().single().unwrap();
    assert_eq!(found, 2);
}

#[test]
fn redis_cli_shows_answers() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &[]);
    let port = server.port.to_string();
    let shown = |options: &[&str], words: &[&str]| {
        let output =
            Command::new("redis-cli").args(["-p", &port, "--no-raw"]).args(options).args(words).output();
        output.ok().map(|output| String::from_utf8(output.stdout).unwrap())
    };
    let Some(count) = shown(&[], &["COUNT", "vips"]) else {
        println!("SKIPPED: redis-cli is not installed (Debian: redis-tools)");
        return;
    };
    assert_eq!(count, "(integer) 2\n");
    let rows =
        shown(&[], &["SQL", "SELECT city, count(*) FROM members GROUP BY city ORDER BY city"]).unwrap();
    assert_eq!(
        rows,
        "1) 1) \"city\"\n   2) \"count\"\n2) 1) \"Kyoto\"\n   2) (integer) 1\n3) 1) \"Lima\"\n   2) (integer) 2\n"
    );
    let member = shown(&["-3"], &["GET", "members", "1", "city", "vip"]).unwrap();
    assert_eq!(member, "1# \"city\" => \"Kyoto\"\n2# \"vip\" => (true)\n");
}

#[test]
fn redis_py_asks_and_writes() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of_members(&directory.path().join("db"), &[]);
    let is_there = Command::new("python3").args(["-c", "import redis"]).output();
    if !is_there.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: redis-py is not installed (PyPI: redis)");
        return;
    }
    let script = "
import redis, sys
for protocol in (2, 3):
    muster = redis.Redis(port=int(sys.argv[1]), protocol=protocol, decode_responses=True)
    assert muster.ping()
    assert muster.execute_command('CONTAINS', 'vips', 1, 2) == [1, 0]
    many = muster.pipeline(transaction=False)
    for key in range(100, 200):
        many.execute_command('SET', 'members', key, 'city', 'Quito')
    assert many.execute() == [True] * 100
    header, *rows = muster.execute_command('SQL', 'SELECT count(*) FROM members WHERE city = $1', 'Quito')
    assert header == ['count'] and rows == [[100]], rows
    try:
        muster.execute_command('COUNT', 'nobody')
    except redis.ResponseError as error:
        assert 'there is no audience' in str(error)
    else:
        raise AssertionError('no error')
";
    let output = Command::new("python3").args(["-c", script, &server.port.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A connection that is asked line by line.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn of(server: &Server) -> Connection {
        let socket = server.connect();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Connection(BufReader::new(socket))
    }

    fn send_all(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    fn send(&mut self, words: &[&str]) {
        self.send_all(&request(words));
    }

    /// The next line, without its end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn asked(&mut self, words: &[&str]) -> String {
        self.send(words);
        self.line()
    }
}
