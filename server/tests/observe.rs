//! What operators see of `muster serve`: the page of figures, health and readiness, the log. And that whoever asks oddly hurts nobody.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const MEMBERS: &str = r#"CREATE TABLE members (id BIGINT PRIMARY KEY, city TEXT, vip BOOLEAN);
     INSERT INTO members VALUES (1, 'Kyoto', true), (2, 'Lima', false), (3, 'Lima', true);
     CREATE STATIC AUDIENCE vips AS SELECT id FROM members WHERE vip;
     CREATE TABLE "od""d\name" (id BIGINT PRIMARY KEY)"#;

/// What takes minutes unless it is cancelled.
const LONG: &str = "SELECT count(*) FROM members a CROSS JOIN members b CROSS JOIN members c WHERE a.city < b.city AND b.city < c.city";

/// A server with figures, whose log goes to a file; it ends with the test.
struct Server {
    process: Child,
    out: BufReader<ChildStdout>,
    log: PathBuf,
    address: SocketAddr,
    figures: SocketAddr,
}

impl Server {
    fn start(directory: &Path, options: &[&str]) -> Server {
        let database = directory.join("db");
        if !database.exists() {
            made(directory);
        }
        let log = directory.join("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.arg("serve").arg(&database).args(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
        let command = command.args(options).stdout(Stdio::piped());
        let mut process = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut line = |from: &str, to: &str| {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            let rest =
                line.strip_prefix(from).unwrap_or_else(|| panic!("{line:?} does not begin with {from:?}"));
            rest[..rest.find(to).unwrap()].parse().unwrap()
        };
        let figures = line("figures on http://", "/metrics");
        let address = line("ready on ", " ");
        Server { process, out, log, address, figures }
    }

    fn connect(&self) -> TcpStream {
        connected(self.address)
    }

    /// What comes back for some requests until the server ends the connection.
    fn told(&self, requests: &[&[&str]]) -> String {
        let mut socket = self.connect();
        socket.write_all(&bytes_of(requests)).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        rest_of(&mut socket)
    }

    /// The status and the body of a page.
    fn page(&self, path: &str) -> (u16, String) {
        let mut socket = connected(self.figures);
        write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let response = rest_of(&mut socket);
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        (status_of(&response), body.to_owned())
    }

    fn scrape(&self) -> BTreeMap<String, f64> {
        let (status, page) = self.page("/metrics");
        assert_eq!(status, 200);
        samples(&page)
    }

    /// Waits until a figure is so.
    fn wait_for(&self, sample: &str, value: f64) {
        let began = Instant::now();
        while self.scrape()[sample] != value {
            assert!(began.elapsed() < Duration::from_secs(20), "{sample} did not become {value}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn terminate(&self) {
        assert!(Command::new("kill").arg(self.process.id().to_string()).status().unwrap().success());
    }

    /// The log of a server that was told to end.
    fn ended(mut self) -> String {
        assert!(self.process.wait().unwrap().success());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "closed\n");
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn made(directory: &Path) -> musterdb::Database {
    let database = musterdb::Database::open(directory.join("db")).unwrap();
    database.execute_script(MEMBERS, |_| {}).unwrap();
    database
}

/// Makes a database with so many members that a statement can take long.
fn fill(directory: &Path) {
    let numbers = (10..3_000).map(|id| format!("({id}, 'x{id}')")).collect::<Vec<_>>().join(", ");
    made(directory).execute(&format!("INSERT INTO members (id, city) VALUES {numbers}")).unwrap();
}

fn connected(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

fn rest_of(socket: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    String::from_utf8(rest).unwrap()
}

fn status_of(response: &str) -> u16 {
    response
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest[..3].parse().ok())
        .unwrap_or_else(|| panic!("{response:?}"))
}

/// Requests as clients send them.
fn bytes_of(requests: &[&[&str]]) -> Vec<u8> {
    let mut bytes = String::new();
    for words in requests {
        bytes += &format!("*{}\r\n", words.len());
        words.iter().for_each(|word| bytes += &format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}

/// The samples of a page, each with its labels as they stand there. A page that is not as the format wants it fails: HELP and TYPE
/// before samples, each family and sample once, counters called so, buckets that rise up to the count.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    assert!(page.ends_with('\n'), "the last line has no end");
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "{name} stands there twice");
            assert!(name.starts_with("muster_") && text.ends_with('.'), "{line}");
            (family, kind) = (name.to_owned(), String::new());
        } else if let Some(type_) = line.strip_prefix("# TYPE ") {
            let (name, type_) = type_.split_once(' ').unwrap();
            assert!(name == family && kind.is_empty(), "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&type_), "{line}");
            assert_eq!(type_ == "counter", name.ends_with("_total"), "{line}");
            kind = type_.to_owned();
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = &sample[..sample.find('{').unwrap_or(sample.len())];
            let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.contains(&suffix), "{line}");
            labels(&sample[name.len()..]);
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert!(samples.insert(sample.to_owned(), value).is_none(), "{sample} stands there twice");
        }
    }
    let buckets = page.lines().filter(|line| line.contains("_bucket{"));
    let (mut series, mut last, mut bound) = (String::new(), 0.0, 0.0);
    for line in buckets {
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let at = sample.rfind("le=\"").unwrap();
        let le: f64 = sample[at + 4..].strip_suffix("\"}").unwrap().parse().unwrap();
        if series != sample[..at] {
            (series, last, bound) = (sample[..at].to_owned(), 0.0, 0.0);
        }
        let value: f64 = value.parse().unwrap();
        assert!(value >= last && le > bound, "{line} after {last}");
        (last, bound) = (value, le);
        if le.is_infinite() {
            let count = series.replacen("_bucket{", "_count{", 1);
            let count = format!("{}}}", count.trim_end_matches(['{', ',']));
            let count = if count.contains('{') { count } else { count.trim_end_matches('}').to_owned() };
            assert_eq!(samples[&count], value, "{count}");
            assert!(samples.contains_key(&count.replacen("_count", "_sum", 1)));
        }
    }
    samples
}

/// Labels are names with quoted values, in which quotes, backslashes and line ends are escaped.
fn labels(text: &str) {
    let Some(mut rest) = text.strip_prefix('{').map(|rest| rest.strip_suffix('}').unwrap()) else {
        return assert_eq!(text, "");
    };
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").unwrap();
        assert!(
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{text}"
        );
        let mut letters = value.char_indices();
        let end = loop {
            match letters.next().unwrap() {
                (_, '\\') => assert!(['\\', '"', 'n'].contains(&letters.next().unwrap().1), "{text}"),
                (end, '"') => break end,
                _ => {}
            }
        };
        rest = &value[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

/// The events of a log in JSON, each an object with what every event has.
fn events(log: &str) -> Vec<serde_json::Value> {
    let event = |line: &str| {
        let event: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "target", "message"] {
            assert!(event[field].is_string(), "{field} is missing in {line}");
        }
        event
    };
    log.lines().map(event).collect()
}

#[test]
fn figures_are_in_the_format_and_rise_by_what_was_asked() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    // The first count of a static audience is made, the others are known.
    assert_eq!(server.told(&[&["COUNT", "vips"]]), ":2\r\n");
    let before = server.scrape();
    assert_eq!(before["muster_table_rows{table=\"members\"}"], 3.0);
    assert_eq!(before["muster_table_rows{table=\"od\\\"d\\\\name\"}"], 0.0);
    assert_eq!(before["muster_build_info{version=\"0.1.0\"}"], 1.0);
    assert_eq!(before["muster_commands_total{command=\"count\",outcome=\"ok\"}"], 1.0);
    let requests: &[&[&str]] = &[
        &["COUNT", "vips"],
        &["contains", "vips", "1"],
        &["CONTAINS", "vips", "2", "3"],
        &["CONTAINS", "vips", "x"],
        &["NOSUCH", "1"],
        &["COUNT"],
        &["SET", "members", "4", "city", "Lima"],
        &["SET", "members", "4", "town", "Lima"],
        &["DEL", "members", "4"],
        &["SQL", "INSERT INTO members VALUES (5, 'Oslo', false), (6, 'Oslo', false)"],
        &["SQL", "SELECT nothing FROM nowhere"],
        &["STATEMENT", "SELECT nothing FROM nowhere"],
        &["STATEMENT", "SELECT count(*) FROM members"],
    ];
    let replies = server.told(requests);
    server.wait_for("muster_clients", 0.0);
    let after = server.scrape();
    let rose: BTreeMap<&str, f64> = after
        .iter()
        .map(|(name, value)| (name.as_str(), value - before.get(name).copied().unwrap_or(0.0)))
        .filter(|(name, rise)| {
            *rise != 0.0 && ["_total", "_count"].iter().any(|suffix| name.contains(suffix))
        })
        .collect();
    let expected = BTreeMap::from([
        ("muster_command_duration_seconds_count{class=\"lookup\"}", 6.0),
        ("muster_command_duration_seconds_count{class=\"statement\"}", 4.0),
        ("muster_command_duration_seconds_count{class=\"write\"}", 3.0),
        ("muster_commands_total{command=\"contains\",outcome=\"error\"}", 1.0),
        ("muster_commands_total{command=\"contains\",outcome=\"ok\"}", 2.0),
        ("muster_commands_total{command=\"count\",outcome=\"error\"}", 1.0),
        ("muster_commands_total{command=\"count\",outcome=\"ok\"}", 1.0),
        ("muster_commands_total{command=\"del\",outcome=\"ok\"}", 1.0),
        ("muster_commands_total{command=\"set\",outcome=\"error\"}", 1.0),
        ("muster_commands_total{command=\"set\",outcome=\"ok\"}", 1.0),
        ("muster_commands_total{command=\"sql\",outcome=\"error\"}", 1.0),
        ("muster_commands_total{command=\"sql\",outcome=\"ok\"}", 1.0),
        ("muster_commands_total{command=\"statement\",outcome=\"error\"}", 1.0),
        ("muster_commands_total{command=\"statement\",outcome=\"ok\"}", 1.0),
        ("muster_commands_total{command=\"unknown\",outcome=\"error\"}", 1.0),
        ("muster_connections_total", 1.0),
        ("muster_permit_wait_seconds_count", 1.0),
        ("muster_received_bytes_total", bytes_of(requests).len() as f64),
        ("muster_rows_written_total", 4.0),
        ("muster_sent_bytes_total", replies.len() as f64),
    ]);
    assert_eq!(rose, expected, "{replies}");
    // Three groups had an LSN each: two of one write, and one of the INSERT.
    assert_eq!(after["muster_database_lsn"] - before["muster_database_lsn"], 3.0);
    assert!(after["muster_database_log_bytes"] > before["muster_database_log_bytes"]);
    assert_eq!(after["muster_checkpoints_total"], 0.0);
    assert!(server.told(&[&["SQL", "CHECKPOINT"]]).starts_with("+CHECKPOINT "));
    let checkpointed = server.scrape();
    assert_eq!(
        (checkpointed["muster_checkpoints_total"], checkpointed["muster_database_log_bytes"]),
        (1.0, 0.0)
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    for time in ["muster_checkpoint_timestamp_seconds", "muster_process_start_time_seconds"] {
        assert!((0.0..120.0).contains(&(now - checkpointed[time])), "{time}");
    }
    #[cfg(target_os = "linux")]
    {
        assert!(checkpointed["muster_process_resident_memory_bytes"] > 1e6);
        assert!((5.0..1e3).contains(&checkpointed["muster_process_open_fds"]));
    }
    let info = server.told(&[&["INFO", "stats"]]);
    for line in ["total_commands_processed:15", "total_error_replies:6", "total_connections_received:4"] {
        assert!(info.contains(&format!("\r\n{line}\r\n")), "{line} in {info}");
    }
}

#[test]
fn every_figure_stands_in_the_documents() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    server.told(&[&["SET", "members", "4"], &["SQL", "CHECKPOINT"]]);
    let page = server.page("/metrics").1;
    let shown = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATING.md");
    let document = std::fs::read_to_string(document).unwrap();
    let table = document.split("\n## ").find(|section| section.starts_with("Figures\n")).unwrap();
    let named = table.split('`').skip(1).step_by(2).filter(|name| name.starts_with("muster_"));
    let named: BTreeSet<&str> = named.map(|name| name.split('{').next().unwrap()).collect();
    assert_eq!(shown.collect::<BTreeSet<&str>>(), named);
}

#[test]
fn what_is_refused_or_late_is_counted_and_told_sparingly() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        ["--max-clients", "1", "--statement-seconds", "1", "--slow-query-ms", "900", "--log-format", "json"];
    fill(directory.path());
    let server = Server::start(directory.path(), &options);
    // It stays: a statement whose client is gone ends for that reason.
    let mut asks = server.connect();
    asks.write_all(&bytes_of(&[&["SQL", LONG], &["SQL", "SELECT 1"], &["QUIT"]])).unwrap();
    let replies = rest_of(&mut asks);
    assert_eq!(replies.matches("-TIMEOUT ").count(), 2, "{replies}");
    server.wait_for("muster_clients", 0.0);
    let much = "SELECT a.id, b.id FROM members a CROSS JOIN members b";
    let mut asks = server.connect();
    asks.write_all(&bytes_of(&[&["SQL", "SET memory_limit = '64kB'"], &["SQL", much], &["QUIT"]])).unwrap();
    let replies = rest_of(&mut asks);
    assert!(replies.contains("-OOM "), "{replies}");
    for _ in 0..30 {
        server.wait_for("muster_clients", 0.0);
        let mut socket = server.connect();
        socket.write_all(b"*x\r\n").unwrap();
        assert_eq!(rest_of(&mut socket), "-ERR Protocol error: invalid multibulk length\r\n");
    }
    server.wait_for("muster_clients", 0.0);
    let mut one = server.connect();
    one.write_all(&bytes_of(&[&["PING"]])).unwrap();
    one.read_exact(&mut [0; 7]).unwrap();
    assert_eq!(rest_of(&mut server.connect()), "-ERR max number of clients reached\r\n");
    let figures = server.scrape();
    for (name, value) in [
        ("muster_timeouts_total{what=\"statement\"}", 1.0),
        ("muster_timeouts_total{what=\"behind\"}", 1.0),
        ("muster_statements_out_of_memory_total", 1.0),
        ("muster_protocol_errors_total", 30.0),
        ("muster_connections_refused_total", 1.0),
        ("muster_commands_total{command=\"sql\",outcome=\"error\"}", 3.0),
        ("muster_clients", 1.0),
    ] {
        assert_eq!(figures[name], value, "{name}");
    }
    drop(one);
    server.terminate();
    let events = events(&server.ended());
    let named = |message: &str| events.iter().filter(|event| event["message"] == message).collect::<Vec<_>>();
    let protocol_errors = named("a client sent bytes that are no request");
    assert!((1..30).contains(&protocol_errors.len()), "{events:?}");
    assert_eq!(protocol_errors[0]["what"], "Protocol error: invalid multibulk length");
    assert_eq!(protocol_errors[0]["level"], "WARN");
    assert!(protocol_errors[0]["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(named("a client was one too many and was refused").len(), 1);
    assert_eq!(named("a statement took too long and was cancelled").len(), 1);
    let slow: Vec<_> = named("slow").into_iter().filter(|event| event["text"] == LONG).collect();
    assert_eq!((slow.len(), &slow[0]["command"]), (1, &"SQL".into()));
    assert!(slow[0]["error"].as_str().unwrap().starts_with("TIMEOUT "), "{slow:?}");
    assert!(slow[0]["duration_ms"].as_f64().unwrap() >= 900.0);
    assert_eq!(named("started").len(), 1);
    assert_eq!(events.last().unwrap()["message"], "ended");
}

#[test]
fn ready_ends_with_the_server_and_health_with_the_process() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.page("/ready"), (200, "ready\n".to_owned()));
    assert_eq!(server.page("/health?verbose"), (200, "alive\n".to_owned()));
    let mut asks = server.connect();
    asks.write_all(&bytes_of(&[&["SQL", LONG]])).unwrap();
    server.wait_for("muster_statements_running", 1.0);
    server.terminate();
    let began = Instant::now();
    while server.page("/ready").0 == 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "it stays ready");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(server.page("/ready"), (503, "the server ends\n".to_owned()));
    assert_eq!(server.page("/health").0, 200);
    let figures = server.scrape();
    assert_eq!((figures["muster_ready"], figures["muster_statements_running"]), (0.0, 1.0));
    // Nobody waits for the answer any more.
    drop(asks);
    let log = server.ended();
    for told in ["told to end", "a client left before its statement ended", " ended"] {
        assert!(log.contains(told), "{told} in {log}");
    }
}

#[test]
fn slow_statements_are_told_without_passwords() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(
        directory.path(),
        &["--slow-query-ms", "0", "--log-format", "json", "--log-level", "debug"],
    );
    let wrong = "CREATE USER bob PASSWORD 'very-secret-1' ROLE king";
    let created = "CREATE USER ada PASSWORD 'very-secret-2' ROLE admin";
    let replies = server.told(&[
        &["STATEMENT", wrong],
        &["SET", "members", "7", "city", "Lima\nOslo\u{1b}[31m"],
        &["SET", "members", "8", "town", "Lima"],
        &["SQL", "SELECT id FROM members WHERE city = $1", "very-secret-3"],
        &["SQL", &format!("SELECT '{}' FROM members", "ü".repeat(4_000))],
        &["PROFILE", "vips", "city"],
        &["PREPARE", "create", created],
        &["EXECUTE", "create"],
        // From here on it has to be said who asks.
        &["HELLO", "3", "AUTH", "ada", "very-secret-2"],
        &["SQL", "ALTER USER ada PASSWORD 'very-secret-4'"],
        &["AUTH", "ada", "very-secret-5"],
    ]);
    assert!(replies.contains("-WRONGPASS "), "{replies}");
    assert_eq!(server.scrape()["muster_login_failures_total"], 1.0);
    server.terminate();
    let log = server.ended();
    assert!(!log.contains("very-secret"), "{log}");
    let events = events(&log);
    let slow: Vec<&serde_json::Value> =
        events.iter().filter(|event| event["target"] == "muster::slow").collect();
    let told = |at: usize, field: &str| slow[at][field].clone();
    let commands: Vec<_> = slow.iter().map(|event| event["command"].as_str().unwrap()).collect();
    let expected = ["STATEMENT", "SET", "SQL", "SQL", "PROFILE", "PREPARE", "EXECUTE", "SQL"];
    assert_eq!(commands, expected, "{replies}");
    assert_eq!(told(0, "text"), "CREATE USER bob PASSWORD '***' ROLE king");
    assert!(told(0, "error").as_str().unwrap().starts_with("ERR ") && told(0, "rows").is_null(), "{log}");
    assert_eq!(
        (told(0, "level"), told(0, "requests"), told(0, "user")),
        ("WARN".into(), 1.into(), ().into())
    );
    assert!(told(0, "waited_ms").as_f64().unwrap() >= 0.0 && told(0, "duration_ms").as_f64().unwrap() > 0.0);
    let set = "SET members 7 city Lima\nOslo\u{1b}[31m";
    assert_eq!((told(1, "requests"), told(1, "text")), (2.into(), set.into()));
    assert!(told(1, "error").as_str().unwrap().contains("has no column \"town\""));
    assert_eq!((told(2, "rows"), told(2, "error").is_null()), (0.into(), true));
    assert!(told(2, "chunks").is_u64() && told(2, "bytes").is_u64());
    assert!(told(3, "text").as_str().unwrap().len() <= 2_048);
    assert!(told(4, "rows").as_u64() > Some(0) && told(4, "text") == "PROFILE vips city", "{log}");
    for at in [5, 6] {
        assert_eq!(told(at, "text"), "CREATE USER ada PASSWORD '***' ROLE admin");
        assert!(told(at, "error").is_null(), "{log}");
    }
    assert_eq!((told(7, "text"), told(7, "user")), ("ALTER USER ada PASSWORD '***'".into(), "ada".into()));
    assert!(events.iter().any(|event| event["message"] == "a client came" && event["level"] == "DEBUG"));
}

#[test]
fn commands_that_go_well_are_not_told() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &["--slow-query-ms", "off"]);
    let requests: Vec<&[&str]> = (0..500).map(|_| &["CONTAINS", "vips", "1"][..]).collect();
    server.told(&requests);
    server.told(&[&["SQL", "SELECT count(*) FROM members"]]);
    let metrics = server.figures.to_string();
    server.terminate();
    let log = server.ended();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    for (line, told) in
        lines.iter().zip(["muster::serve: started", "muster::serve: told to end", "muster::serve: ended"])
    {
        assert!(line.contains(" INFO ") && line.contains(told), "{told} in {line}");
    }
    assert!(lines[0].contains(&metrics) && lines[0].contains("version=\"0.1.0\""), "{}", lines[0]);
}

#[test]
fn odd_requests_end_with_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 404),
        ("GET /metrics/ HTTP/1.1\r\n\r\n", 404),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        ("DELETE /nothing HTTP/1.1\r\n\r\n", 404),
        ("GET /metrics\r\n\r\n", 400),
        ("GET /metrics HTTP/2.0\r\n\r\n", 400),
        ("GET  /metrics HTTP/1.1\r\n\r\n", 400),
        ("*1\r\n$4\r\nPING\r\n\r\n", 400),
        ("\u{0}\u{1}\r\n\r\n", 400),
        ("\r\n\r\n", 400),
        ("GET /metrics HTTP/1.1\r\nHost", 400),
        ("", 400),
        (&long, 431),
        ("GET /ready HTTP/1.0\r\n\r\n", 200),
        ("GET /health HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n", 200),
    ] {
        let mut socket = connected(server.figures);
        socket.write_all(request.as_bytes()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let response = rest_of(&mut socket);
        assert_eq!(status_of(&response), status, "{request:?}: {response}");
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{response}");
    }
    let mut socket = connected(server.figures);
    socket.write_all(b"HEAD /metrics HTTP/1.1\r\n\r\n").unwrap();
    let head = rest_of(&mut socket);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    // A request that comes in pieces is one.
    let mut socket = connected(server.figures);
    for piece in ["GET /hea", "lth HTTP/1.1\r", "\n\r", "\n"] {
        socket.write_all(piece.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(status_of(&rest_of(&mut socket)), 200);
    assert_eq!(server.told(&[&["PING"]]), "+PONG\r\n");
}

#[test]
fn whoever_never_asks_takes_a_seat_for_seconds_and_clients_notice_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let mut silent: Vec<TcpStream> = (0..32).map(|_| connected(server.figures)).collect();
    silent.iter_mut().for_each(|socket| socket.write_all(b"GET /met").unwrap());
    let began = Instant::now();
    loop {
        let response = rest_of(&mut connected(server.figures));
        // The seats are taken one after the other.
        if status_of(&response) == 503 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(4), "{response}");
    }
    assert_eq!(server.told(&[&["PING"], &["COUNT", "vips"]]), "+PONG\r\n:2\r\n");
    for socket in &mut silent {
        assert_eq!(status_of(&rest_of(socket)), 408);
    }
    assert!(began.elapsed() < Duration::from_secs(15));
    // Who gets an error keeps its seat a moment longer, so that the error arrives.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(server.page("/ready").0, 200);
}
