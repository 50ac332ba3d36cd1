//! `muster shell --connect` beside `muster shell DIR`: the same statements give the same bytes, whoever answers.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod served;

use served::{Server, muster, run, text};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

impl Server {
    fn shell(&self, directory: &Path, arguments: &[&str]) -> Output {
        run(directory, &[&["shell", "--connect", &self.address()], arguments].concat())
    }
}

const TYPES: &str = "CREATE TABLE people (id BIGINT PRIMARY KEY, city TEXT, spend DECIMAL(12,2), score DOUBLE PRECISION,
  tags TEXT[], born DATE, seen TIMESTAMP, paid TIMESTAMPTZ, vip BOOLEAN, age SMALLINT, visits INTEGER);
INSERT INTO people VALUES
  (1, 'Kyoto', 120.50, 0.1, ARRAY['vip', 'new'], '1990-05-17', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05+02', true, -5, 70000),
  (2, '', -0.05, 'NaN', ARRAY[]::TEXT[], '0001-01-01', '1969-12-31 23:59:59.999999', '1900-01-01 00:00:00Z', false, 0, 0),
  (3, E'a\\nb\\t\"|''', 9999999999.99, 'Infinity', ARRAY['b c', 'NULL', '', 'q\"'], '9999-12-31', '9999-12-31 23:59:59', '2026-06-30 12:00:00+00', NULL, 32767, -2147483648),
  (9223372036854775807, '上海 👍', 0, '-Infinity', ARRAY['上海'], NULL, NULL, NULL, NULL, NULL, NULL),
  (5, NULL, NULL, 1.5e300, NULL, '2026-02-28', NULL, NULL, true, NULL, NULL);
CREATE VIEW limans AS SELECT id, city FROM people WHERE city = 'Kyoto';
CREATE AUDIENCE vips AS SELECT id FROM people WHERE 'vip' = ANY(tags);";

/// A directory with the same database twice: `db` is served, `local` is not.
fn twins() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let made = run(directory.path(), &["shell", "db", "-c", TYPES]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let copied =
        Command::new("cp").args(["-r", "db", "local"]).current_dir(directory.path()).status().unwrap();
    assert!(copied.success());
    directory
}

/// Runs the same of both and compares all that is seen of it.
fn alike(directory: &Path, server: &Server, arguments: &[&str]) -> (Output, Output) {
    let arguments = [arguments, &["--now", "2026-11-01 00:00:00"]].concat();
    let there = server.shell(directory, &arguments);
    let here = run(directory, &[&["shell", "local"], &arguments[..]].concat());
    assert_eq!(text(&there.stdout), text(&here.stdout), "{arguments:?}: {}", text(&there.stderr));
    assert_eq!(text(&there.stderr), text(&here.stderr), "{arguments:?}");
    assert_eq!(there.status.code(), here.status.code(), "{arguments:?}");
    (there, here)
}

#[test]
fn every_answer_and_every_error_is_the_same_over_the_wire() {
    let twins = twins();
    let server = Server::within(twins.path(), &[]);
    let all = "SELECT * FROM people ORDER BY id";
    for format in ["table", "csv", "json", "jsonl", "markdown"] {
        let (answer, _) = alike(twins.path(), &server, &["--format", format, "-c", all]);
        assert!(answer.status.success(), "{}", text(&answer.stderr));
    }
    for statement in [
        "SELECT sum(visits), avg(spend), sum(spend), min(born), max(paid), count(*) FROM people",
        "SELECT city, count(*) FROM people GROUP BY city ORDER BY 1; SELECT now(); SHOW TABLES",
        "SELECT id FROM people WHERE false",
        "SELECT score, spend * 1.001, age / 2, vip AND NULL FROM people ORDER BY id",
        "\\d",
        "\\d people",
        "\\d limans",
        "\\dv",
        "\\d peple",
        "\\x on\nSELECT * FROM people ORDER BY id",
        "PROFILE vips BY city",
        "EXPLAIN SELECT count(*) FROM people WHERE city = 'Kyoto'",
        "\\bind Kyoto 'it''s'\nSELECT id, $2 FROM people WHERE city = $1",
        "\\pset null -\n\\format csv\nSELECT city FROM people WHERE city IS NULL; SELECT 1 AS x, 2 AS x FROM people LIMIT 1",
        "SELECT count(*)\nFROM people\nWHERE 城市 = 5",
        "SELECT 1; SELECT cty FROM people",
        "SELEC 1",
        "SELECT '",
        "",
        "SELECT 1/0 FROM people",
        "INSERT INTO people (id) VALUES (1)",
        "COMMIT",
        "SELECT $1 FROM people",
        "BEGIN; INSERT INTO people (id) VALUES (77); SELECT count(*) FROM people; ROLLBACK; SELECT count(*) FROM people",
        "BEGIN; SELECT nothing FROM people; SELECT 1 FROM people",
        "SET timezone = 'Asia/Tokyo'; SELECT paid FROM people ORDER BY id",
        "\\nosuch",
        "\\chart\n",
        "\\q\nSELECT",
        "INSERT INTO people (id, city) VALUES (6, 'Oslo'); UPDATE people SET city = 'Bergen' WHERE id = 6; SELECT city FROM people WHERE id = 6; DELETE FROM people WHERE id = 6",
    ] {
        alike(twins.path(), &server, &["-c", statement]);
        alike(twins.path(), &server, &["--keep-going", "--format", "csv", "-c", statement]);
    }
    std::fs::write(twins.path().join("q.sql"), "SELECT count(*) FROM people;\n\nSELECT cty\nFROM people;\n")
        .unwrap();
    let (failed, _) = alike(twins.path(), &server, &["-f", "q.sql"]);
    assert!(text(&failed.stderr).contains("line 3, column 8"), "{}", text(&failed.stderr));
}

#[test]
fn a_pipe_converses_and_files_of_copy_are_the_clients() {
    let twins = twins();
    let (here, there) = (twins.path(), tempfile::tempdir().unwrap());
    let server = Server::within(here, &[]);
    let client = there.path();
    for (file, options) in
        [("x.csv", ""), ("y.csv", "(HEADER, DELIMITER ';', NULL 'none')"), ("x.jsonl", ""), ("x.parquet", "")]
    {
        for what in [
            "people",
            "people (id, city, tags)",
            "(SELECT id, spend FROM people WHERE id < 4 ORDER BY id DESC)",
        ] {
            let copy = format!("COPY {what} TO '{file}' {options}");
            let said = server.shell(client, &["-c", &copy]);
            assert_eq!(text(&said.stderr), "", "{copy}");
            let local = run(here, &["shell", "local", "-c", &copy]);
            assert_eq!(text(&said.stdout), text(&local.stdout), "{copy}");
            let [ours, theirs] = [client, here].map(|place| std::fs::read(place.join(file)).unwrap());
            assert_eq!(ours, theirs, "{copy}");
        }
    }
    // Back into tables of the server and of the local twin.
    let create = TYPES.split(';').next().unwrap().replace("people", "again");
    std::fs::write(client.join("bad.csv"), "id,city\n100,Oslo\nx,Lima\n101,\"it's, \"\"quoted\"\"\"\n")
        .unwrap();
    std::fs::copy(client.join("bad.csv"), here.join("bad.csv")).unwrap();
    assert!(server.shell(client, &["-c", &create, "-c", "COPY people TO 'all.parquet'"]).status.success());
    assert!(run(here, &["shell", "local", "-c", &create]).status.success());
    std::fs::copy(client.join("all.parquet"), here.join("all.parquet")).unwrap();
    for copy in [
        "\\copy again FROM all.parquet",
        "COPY again FROM 'all.parquet' (ON_CONFLICT nothing)",
        "COPY again FROM 'all.parquet' (ON_CONFLICT update)",
        "COPY again FROM 'bad.csv' (HEADER)",
        "COPY again FROM 'bad.csv' (HEADER, ON_ERROR skip)",
        "COPY again (id, nocolumn) FROM 'bad.csv' (HEADER)",
        "COPY nowhere FROM 'bad.csv'",
        "COPY again FROM 'missing.csv'",
        "COPY again (cty) TO 'none.csv'",
        "COPY (SELECT id, cty FROM again) TO 'none.csv'",
        "COPY again TO 'none.xyz'",
        "BEGIN; COPY again FROM 'bad.csv' (HEADER); ROLLBACK",
        "SELECT * FROM again ORDER BY id",
    ] {
        let (ours, theirs) =
            (server.shell(client, &["-c", copy]), run(here, &["shell", "local", "-c", copy]));
        assert_eq!(text(&ours.stdout), text(&theirs.stdout), "{copy}: {}", text(&ours.stderr));
        assert_eq!(text(&ours.stderr), text(&theirs.stderr), "{copy}");
        assert_eq!(ours.status.code(), theirs.status.code(), "{copy}");
    }
    assert!(client.join("again.rejects.csv").exists() && !client.join("none.csv").exists());
    let twice = server.shell(client, &["-c", "COPY again FROM 'all.parquet'"]);
    assert!(text(&twice.stderr).contains("key"), "{}", text(&twice.stderr));
    let bitmap = server.shell(client, &["-c", "COPY (SELECT id FROM people) TO 'x.roaring'"]);
    assert!(text(&bitmap.stderr).contains("only where the database is"), "{}", text(&bitmap.stderr));

    let mut shell = muster(client, &["shell", "--connect", &server.address(), "--format", "csv"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = BufReader::new(shell.stdout.take().unwrap());
    let mut input = shell.stdin.take().unwrap();
    for id in [1, 2, 3] {
        writeln!(input, "SELECT id FROM people\nWHERE id = {id};").unwrap();
        let mut lines = [String::new(), String::new()];
        for line in &mut lines {
            answers.read_line(line).unwrap();
        }
        assert_eq!(lines, ["id\n".to_owned(), format!("{id}\n")]);
    }
    drop(input);
    assert!(shell.wait().unwrap().success());
}

#[test]
fn who_is_not_let_in_or_finds_nobody_is_told() {
    let twins = twins();
    let server = Server::within(twins.path(), &[]);
    let with_user = ["shell", "--connect", &server.address(), "--user", "anna", "-c", "SHOW TABLES"];
    let refused = run(twins.path(), &with_user);
    assert_eq!((refused.status.code(), text(&refused.stdout).as_str()), (Some(1), ""));
    assert!(text(&refused.stderr).contains("MUSTER_PASSWORD"), "{}", text(&refused.stderr));
    let refused = muster(twins.path(), &with_user).env("MUSTER_PASSWORD", "s3cret").output().unwrap();
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("does not let this shell in") && !said.contains("s3cret"), "{said}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = text(&run(twins.path(), &["shell", "--connect", &nobody, "-c", "SHOW TABLES"]).stderr);
    assert!(said.starts_with(&format!("error: cannot connect to {nobody}: ")), "{said}");
    let said = text(&run(twins.path(), &["shell", "--connect", "nowhere", "-c", "SHOW TABLES"]).stderr);
    assert!(said.contains("write HOST:PORT"), "{said}");
    for wrong in [&["shell", "db", "--connect", "x:1"][..], &["shell", "db", "--user", "anna"], &["shell"]] {
        assert_eq!(run(twins.path(), wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// A server that says HELLO, reads a statement, and replies with these bytes before it is gone.
fn hostile(reply: &[u8]) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let reply = reply.to_vec();
    let thread = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut bytes = [0; 4096];
        assert!(client.read(&mut bytes).unwrap() > 0);
        client.write_all(b"%1\r\n$5\r\nproto\r\n:3\r\n").unwrap();
        assert!(client.read(&mut bytes).unwrap() > 0);
        // The shell may have left before all of it is written.
        let _ = client.write_all(&reply);
    });
    (address, thread)
}

#[test]
fn a_server_that_dies_or_lies_ends_the_shell_with_one() {
    let directory = tempfile::tempdir().unwrap();
    let half = b"%5\r\n$7\r\ncolumns\r\n*1\r\n*2\r\n$1\r\nn\r\n$6\r\nBIGINT\r\n$4\r\nrows\r\n*3\r\n*1\r\n$1\r\n1\r\n";
    for (reply, said) in [
        (&half[..], "closed the connection before it had answered"),
        (b"", "closed the connection before it had answered"),
        (b"*1000000000\r\n*1000000000\r\n", "is no answer: expected a map"),
        (b"$99999999999\r\n", "is no answer: a text of 99999999999 bytes"),
        (b"%1\r\n$7\r\ncolumns\r\n*1\r\n*2\r\n$1\r\nn\r\n$4\r\nBLOB\r\n", "there is no type BLOB"),
    ] {
        let (address, thread) = hostile(reply);
        let shell =
            run(directory.path(), &["shell", "--connect", &address, "-c", "SELECT 1", "-c", "SELECT 2"]);
        assert_eq!((shell.status.code(), text(&shell.stdout).as_str()), (Some(1), ""));
        assert!(text(&shell.stderr).contains(said), "{}", text(&shell.stderr));
        thread.join().unwrap();
    }
}

/// A statement that takes minutes, and little memory: billions of triples, none of which is counted.
const LONG: &str = "SELECT count(*) FROM rows a JOIN rows b ON a.id < b.id JOIN rows c ON b.id < c.id WHERE a.id + b.id * c.id < 0";

/// A database whose `rows` make [`LONG`] long.
fn rows() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let ids: String = (0..3_000).map(|id| format!("{id}\n")).collect();
    std::fs::write(directory.path().join("rows.csv"), format!("id\n{ids}")).unwrap();
    let imported = run(directory.path(), &["import", "db", "rows", "rows.csv", "--key", "id", "--yes"]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    directory
}

/// True once nobody's statement runs: two permits are all there are, and this takes both.
fn is_idle_within(address: &str, time: Duration) -> bool {
    let started = Instant::now();
    let mut clients: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
    for client in &mut clients {
        client.set_read_timeout(Some(time)).unwrap();
        client.write_all(b"SQL \"SELECT count(*) FROM rows\"\r\n").unwrap();
    }
    clients.iter_mut().all(|client| client.read(&mut [0; 256]).is_ok_and(|read| read > 0))
        && started.elapsed() < time
}

#[test]
fn a_client_that_is_gone_leaves_no_statement_behind() {
    let directory = rows();
    let server = Server::within(directory.path(), &[]);
    let mut shells: Vec<Child> = (0..2)
        .map(|_| {
            muster(directory.path(), &["shell", "--connect", &server.address(), "-c", LONG]).spawn().unwrap()
        })
        .collect();
    std::thread::sleep(Duration::from_millis(700));
    assert!(!is_idle_within(&server.address(), Duration::from_millis(300)), "two statements run");
    for shell in &mut shells {
        assert!(shell.try_wait().unwrap().is_none(), "the statement is long");
        shell.kill().unwrap();
        shell.wait().unwrap();
    }
    assert!(is_idle_within(&server.address(), Duration::from_secs(10)), "both were cancelled");
}

#[cfg(unix)]
#[test]
fn ctrl_c_cancels_over_the_wire() {
    let directory = rows();
    let server = Server::within(directory.path(), &[]);
    let shell =
        muster(directory.path(), &["shell", "--connect", &server.address(), "-c", LONG]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert!(Command::new("kill").args(["-INT", &shell.id().to_string()]).status().unwrap().success());
    let ended = shell.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), text(&ended.stderr).as_str()), (Some(1), "cancelled\n"));
    assert!(is_idle_within(&server.address(), Duration::from_secs(10)));
}

#[cfg(unix)]
#[test]
fn a_server_that_is_killed_in_mid_answer_is_missed() {
    let directory = rows();
    let mut server = Server::within(directory.path(), &[]);
    let shell =
        muster(directory.path(), &["shell", "--connect", &server.address(), "-c", LONG]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    server.process.kill().unwrap();
    let ended = shell.wait_with_output().unwrap();
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1));
    assert!(said.contains("closed the connection before it had answered"), "{said}");
}
