//! `muster serve` and `muster shell --connect` over TLS: who is trusted, what ends a connection, and what is said when it cannot begin.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod served;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use served::{Server, muster, run, text};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Writes an authority `NAME.pem`, and a certificate of it for these names, `NAME-cert.pem` with `NAME-key.pem`.
fn certify(directory: &Path, name: &str, names: &[&str], until: i32) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    // OpenSSL takes a certificate for one that signed itself where both have the same name.
    authority.distinguished_name.push(DnType::CommonName, format!("authority {name}"));
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let signed = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut own = CertificateParams::new(names).unwrap();
    own.not_after = date_time_ymd(until, 1, 1);
    let own = own.signed_by(&key, &Issuer::from_params(&authority, &authority_key)).unwrap();
    for (file, pem) in [
        (format!("{name}.pem"), signed.pem()),
        (format!("{name}-authority-key.pem"), authority_key.serialize_pem()),
        (format!("{name}-cert.pem"), own.pem()),
        (format!("{name}-key.pem"), key.serialize_pem()),
    ] {
        std::fs::write(directory.join(file), pem).unwrap();
    }
}

const HERE: [&str; 2] = ["localhost", "127.0.0.1"];
const MEMBERS: &str = "CREATE TABLE people (id BIGINT PRIMARY KEY, city TEXT); INSERT INTO people VALUES (1, 'Kyoto'), (2, 'Lima')";

/// A directory with the database `db`, an authority `ca.pem` and its certificate for this machine.
fn place() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    certify(directory.path(), "ca", &HERE, 2100);
    let made = run(directory.path(), &["shell", "db", "-c", MEMBERS]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    directory
}

impl Server {
    /// With the certificate of an authority of [`certify`].
    fn of(directory: &Path, name: &str, options: &[&str]) -> Server {
        let (certificate, key) = (format!("{name}-cert.pem"), format!("{name}-key.pem"));
        Server::within(directory, &[&["--tls-cert", &certificate, "--tls-key", &key], options].concat())
    }

    fn shell(&self, directory: &Path, host: &str, arguments: &[&str]) -> Output {
        let address = format!("{host}:{}", self.port);
        run(directory, &[&["shell", "--connect", &address], arguments].concat())
    }

    /// A client that trusts `ca.pem`.
    fn client(&self, directory: &Path) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(directory.join("ca.pem")).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), self.connect())
    }

    #[cfg(unix)]
    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

fn ping(client: &mut (impl Read + Write)) -> std::io::Result<()> {
    let mut pong = [0; 7];
    client.write_all(b"PING\r\n")?;
    client.flush()?;
    client.read_exact(&mut pong)?;
    assert_eq!(&pong, b"+PONG\r\n");
    Ok(())
}

#[test]
fn the_shell_asks_over_tls() {
    let place = place();
    let directory = place.path();
    let server = Server::of(directory, "ca", &[]);
    assert!(server.ready.contains("over TLS") && server.ready.contains("--tls"), "{}", server.ready);
    let count = ["--format", "csv", "-c", "SELECT count(*) FROM people"];
    for host in HERE {
        let said = server.shell(directory, host, &[&["--tls", "--ca", "ca.pem"], &count[..]].concat());
        assert_eq!((text(&said.stdout).as_str(), text(&said.stderr).as_str()), ("count\n2\n", ""), "{host}");
    }
    // Much in both directions: records of TLS are of 16 KiB.
    let rows: String = (0..20_000).map(|id| format!("{},city-of-{id}\n", id + 10)).collect();
    std::fs::write(directory.join("more.csv"), format!("id,city\n{rows}")).unwrap();
    let copy = "COPY people FROM 'more.csv' (HEADER)";
    let back = "SELECT id, city FROM people WHERE id >= 10 ORDER BY id";
    let tls = ["--tls", "--ca", "ca.pem", "--format", "csv"];
    let copied = server.shell(directory, "localhost", &[&tls[..], &["-c", copy]].concat());
    assert!(copied.status.success(), "{}", text(&copied.stderr));
    let answer = server.shell(directory, "localhost", &[&tls[..], &["-c", back]].concat());
    assert_eq!(text(&answer.stdout), format!("id,city\n{rows}"));
    // Without --ca the system is asked whom it trusts.
    for (trusted, success) in [("ca.pem", true), ("other.pem", false)] {
        certify(directory, "other", &HERE, 2100);
        let address = format!("localhost:{}", server.port);
        let said = muster(directory, &[&["shell", "--connect", &address, "--tls"], &count[..]].concat())
            .env("SSL_CERT_FILE", directory.join(trusted))
            .output()
            .unwrap();
        assert_eq!(said.status.success(), success, "{trusted}: {}", text(&said.stderr));
        assert_eq!(text(&said.stderr).contains("--ca FILE names another one"), !success);
    }
}

#[test]
fn whom_the_shell_does_not_trust_is_told_with_what_to_do() {
    let place = place();
    let directory = place.path();
    certify(directory, "other", &["db.example.com", "10.0.0.1"], 2100);
    certify(directory, "old", &HERE, 2020);
    std::fs::write(directory.join("none.pem"), "no certificate\n").unwrap();
    std::fs::copy(directory.join("ca.pem"), directory.join("alone-cert.pem")).unwrap();
    std::fs::copy(directory.join("ca-authority-key.pem"), directory.join("alone-key.pem")).unwrap();
    let plain = Server::within(directory, &[]);
    let refused = |server: &Server, options: &[&str], expected: &str| {
        let began = Instant::now();
        let said = server.shell(directory, "localhost", &[options, &["-c", "SHOW TABLES"]].concat());
        let error = text(&said.stderr);
        assert_eq!((said.status.code(), text(&said.stdout).as_str()), (Some(1), ""), "{error}");
        assert!(error.contains(expected), "{options:?}: {error}");
        assert!(began.elapsed() < Duration::from_secs(5), "{options:?} waits");
    };
    refused(&plain, &["--tls", "--ca", "ca.pem"], "speaks no TLS: leave --tls away");
    refused(&plain, &["--tls", "--ca", "missing.pem"], "the authorities missing.pem cannot be read: No such");
    refused(&plain, &["--tls", "--ca", "none.pem"], "there is no certificate in none.pem");
    drop(plain);
    let server = Server::of(directory, "ca", &["--max-clients", "2"]);
    refused(&server, &[], "this server speaks TLS only: connect with TLS (muster shell --tls");
    refused(
        &server,
        &["--tls", "--ca", "other.pem"],
        "is not trusted: no authority of other.pem has signed it",
    );
    let mut guests = [server.client(directory), server.client(directory)];
    guests.iter_mut().for_each(|guest| ping(guest).unwrap());
    refused(&server, &["--tls", "--ca", "ca.pem"], "speaks no TLS, or takes no more clients");
    drop((guests, server));
    let server = Server::of(directory, "other", &[]);
    let names = "is not for localhost, but for db.example.com, 10.0.0.1: connect by a name";
    refused(&server, &["--tls", "--ca", "other.pem"], names);
    drop(server);
    let server = Server::of(directory, "old", &[]);
    refused(&server, &["--tls", "--ca", "old.pem"], "it has expired");
    drop(server);
    let server = Server::of(directory, "alone", &[]);
    refused(&server, &["--tls", "--ca", "ca.pem"], "is that of an authority");
    for wrong in [&["shell", "db", "--tls"][..], &["shell", "--connect", "x:1", "--ca", "ca.pem"]] {
        assert_eq!(run(directory, wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_server_of_tls_elsewhere_is_recognised() {
    // What servers of other makes reply to bytes that are no handshake: an alert.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        assert!(client.read(&mut [0; 4096]).unwrap() > 0);
        client.write_all(b"\x15\x03\x01\x00\x02\x02\x46\r\n").unwrap();
    });
    let directory = tempfile::tempdir().unwrap();
    let said = run(directory.path(), &["shell", "--connect", &address, "-c", "SHOW TABLES"]);
    assert!(text(&said.stderr).contains("a server that speaks TLS is asked with --tls"));
    thread.join().unwrap();
}

#[test]
fn a_certificate_that_cannot_serve_is_said_at_the_start() {
    let place = place();
    let directory = place.path();
    certify(directory, "other", &HERE, 2100);
    std::fs::write(directory.join("none.pem"), "").unwrap();
    for (options, expected) in [
        (
            &["--tls-cert", "missing.pem", "--tls-key", "ca-key.pem"][..],
            "the certificate missing.pem cannot be read: No such file",
        ),
        (&["--tls-cert", "none.pem", "--tls-key", "ca-key.pem"], "there is no certificate in none.pem"),
        (&["--tls-cert", "ca-key.pem", "--tls-key", "ca-key.pem"], "there is no certificate in ca-key.pem"),
        (
            &["--tls-cert", "ca-cert.pem", "--tls-key", "missing.pem"],
            "the key missing.pem cannot be read: No such file",
        ),
        (&["--tls-cert", "ca-cert.pem", "--tls-key", "ca-cert.pem"], "there is no key in ca-cert.pem"),
        (
            &["--tls-cert", "ca-cert.pem", "--tls-key", "other-key.pem"],
            "the key other-key.pem is not that of the certificate ca-cert.pem",
        ),
        (&["--tls-cert", "ca-cert.pem"], "--tls-cert needs the key of the certificate, --tls-key"),
        (&["--tls-key", "ca-key.pem"], "--tls-key needs the certificate that the key belongs to, --tls-cert"),
    ] {
        let said = run(directory, &[&["serve", "new", "--listen", "127.0.0.1:0"], options].concat());
        let error = text(&said.stderr);
        assert_eq!((said.status.code(), text(&said.stdout).as_str()), (Some(1), ""), "{error}");
        assert!(error.contains(expected), "{options:?}: {error}");
        assert!(!directory.join("new").exists(), "{options:?}");
    }
}

#[test]
fn nobody_hangs_who_does_not_shake_hands() {
    let place = place();
    let directory = place.path();
    let server = Server::of(directory, "ca", &["--handshake-seconds", "1", "--max-clients", "2"]);
    // A client without TLS is told so, in its own words.
    let mut plain = server.connect();
    plain.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let mut said = String::new();
    plain.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("-ERR this server speaks TLS only") && said.ends_with("\r\n"), "{said}");
    drop(plain);
    // It has a place until the server has seen that.
    std::thread::sleep(Duration::from_millis(300));
    // One that is silent, and one that stops in mid-handshake, are clients, and leave in time.
    let began = Instant::now();
    let (mut silent, mut midway) = (server.connect(), server.connect());
    midway.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.connect().read(&mut [0; 9]).unwrap_or(0), 0, "it is one client too many");
    assert!(began.elapsed() < Duration::from_millis(900), "at once");
    for client in [&mut silent, &mut midway] {
        assert_eq!(client.read(&mut [0; 9]).unwrap_or(0), 0);
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(10), "{took:?}");
    ping(&mut server.client(directory)).unwrap();
    // A client of TLS at a server without it.
    let other = tempfile::tempdir().unwrap();
    let server = Server::within(other.path(), &[]);
    let began = Instant::now();
    let error = ping(&mut server.client(directory)).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5), "{error}");
}

#[test]
fn both_sides_close_cleanly_and_who_is_gone_is_gone() {
    let place = place();
    let directory = place.path();
    let server = Server::of(directory, "ca", &[]);
    // Without the word that TLS has for it, this would be an error of the reader.
    let mut quits = server.client(directory);
    quits.write_all(b"PING\r\nQUIT\r\nPING\r\n").unwrap();
    let mut said = String::new();
    quits.read_to_string(&mut said).unwrap();
    assert_eq!(said, "+PONG\r\n+OK\r\n");
    let mut closes = server.client(directory);
    closes.write_all(b"SQL \"SELECT city FROM people ORDER BY id\"\r\n").unwrap();
    closes.conn.send_close_notify();
    closes.flush().unwrap();
    said.clear();
    closes.read_to_string(&mut said).unwrap();
    assert_eq!(said, "*3\r\n*1\r\n$4\r\ncity\r\n*1\r\n$5\r\nKyoto\r\n*1\r\n$4\r\nLima\r\n");
    let mut wrong = server.client(directory);
    wrong.write_all(b"*x\r\n").unwrap();
    said.clear();
    wrong.read_to_string(&mut said).unwrap();
    assert_eq!(said, "-ERR Protocol error: invalid multibulk length\r\n");
    // Who leaves without a word, and whose bytes are forged, hurts nobody.
    let mut gone = server.client(directory);
    ping(&mut gone).unwrap();
    drop(gone);
    let mut forged = server.client(directory);
    ping(&mut forged).unwrap();
    forged.sock.write_all(b"\x17\x03\x03\x00\x20 nothing that was ever encrypted..").unwrap();
    assert!(forged.read(&mut [0; 9]).is_err() || ping(&mut forged).is_err());
    ping(&mut server.client(directory)).unwrap();
}

#[cfg(unix)]
#[test]
fn a_client_of_tls_that_is_gone_leaves_no_statement_behind() {
    let place = place();
    let directory = place.path();
    let ids: String = (0..3_000).map(|id| format!("{id}\n")).collect();
    std::fs::write(directory.join("rows.csv"), format!("id\n{ids}")).unwrap();
    assert!(run(directory, &["import", "db", "rows", "rows.csv", "--key", "id", "--yes"]).status.success());
    let server = Server::of(directory, "ca", &["--max-statements", "1"]);
    let address = format!("localhost:{}", server.port);
    let long = "SELECT count(*) FROM rows a JOIN rows b ON a.id < b.id JOIN rows c ON b.id < c.id WHERE a.id + b.id * c.id < 0";
    let ask = |sql: &str| {
        muster(directory, &["shell", "--connect", &address, "--tls", "--ca", "ca.pem", "-c", sql])
    };
    for signal in ["-INT", "-KILL"] {
        let mut shell = ask(long).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(1_000));
        assert!(shell.try_wait().unwrap().is_none(), "the statement is long");
        assert!(Command::new("kill").args([signal, &shell.id().to_string()]).status().unwrap().success());
        shell.wait().unwrap();
        let began = Instant::now();
        let said = ask("SELECT count(*) FROM rows").output().unwrap();
        assert!(said.status.success() && began.elapsed() < Duration::from_secs(20), "{}", text(&said.stderr));
    }
}

#[cfg(unix)]
#[test]
fn sigterm_ends_tls_cleanly_and_sighup_reads_the_certificate_again() {
    let place = place();
    let directory = place.path();
    certify(directory, "new", &HERE, 2100);
    let mut server = Server::of(directory, "ca", &[]);
    let mut old = server.client(directory);
    ping(&mut old).unwrap();
    let is_trusted = |server: &Server, ca: &str| {
        server.shell(directory, "localhost", &["--tls", "--ca", ca, "-c", "SHOW TABLES"]).status.success()
    };
    let replace = |from: &str| {
        for part in ["cert", "key"] {
            let [from, to] = [from, "ca"].map(|name| directory.join(format!("{name}-{part}.pem")));
            std::fs::copy(from, to).unwrap();
        }
    };
    let mut log = BufReader::new(server.process.stderr.take().unwrap());
    // Reads the log up to what it is to say.
    let mut told = |text: &str| {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the log ended before {text:?}");
        }
    };
    std::fs::write(directory.join("broken-cert.pem"), "").unwrap();
    std::fs::write(directory.join("broken-key.pem"), "").unwrap();
    replace("broken");
    server.signal("-HUP");
    told("there is no certificate in ca-cert.pem");
    assert!(is_trusted(&server, "ca.pem"), "the old one is still shown");
    replace("new");
    server.signal("-HUP");
    told("the certificate and its key were read again");
    assert!(is_trusted(&server, "new.pem") && !is_trusted(&server, "ca.pem"));
    ping(&mut old).unwrap();
    // Neither an idle client nor one that has not shaken hands yet holds up the end.
    let (silent, began) = (server.connect(), Instant::now());
    server.signal("-TERM");
    let mut nothing = Vec::new();
    assert_eq!(old.read_to_end(&mut nothing).unwrap(), 0);
    assert!(server.process.wait().unwrap().success() && began.elapsed() < Duration::from_secs(5));
    drop(silent);
}

#[test]
fn beyond_the_machine_there_have_to_be_users_and_tls() {
    let place = place();
    let directory = place.path();
    let tls = ["--tls-cert", "ca-cert.pem", "--tls-key", "ca-key.pem"];
    let everywhere = ["serve", "db", "--listen", "0.0.0.0:0"];
    let refused = |options: &[&str]| {
        let said = run(directory, &[&everywhere, options].concat());
        assert_eq!(said.status.code(), Some(1));
        text(&said.stderr)
    };
    let said = refused(&[]);
    assert!(said.contains("CREATE USER") && said.contains("and TLS (--tls-cert"), "{said}");
    let said = refused(&tls);
    assert!(said.contains("CREATE USER") && !said.contains("--tls-cert"), "{said}");
    let user = run(directory, &["shell", "db", "-c", "CREATE USER anna PASSWORD 'sesame-open' ROLE admin"]);
    assert!(user.status.success(), "{}", text(&user.stderr));
    let said = refused(&[]);
    assert!(!said.contains("CREATE USER") && said.contains("--tls-cert"), "{said}");
    drop(Server::within(directory, &[&["--listen", "0.0.0.0:0"], &tls[..]].concat()));
    drop(Server::within(directory, &["--listen", "0.0.0.0:0", "--insecure"]));
}

#[test]
fn redis_cli_speaks_tls() {
    let place = place();
    let server = Server::of(place.path(), "ca", &[]);
    let asked = |options: &[&str]| {
        let port = server.port.to_string();
        Command::new("redis-cli")
            .current_dir(place.path())
            .args(["-p", &port, "--no-raw"])
            .args(options)
            .output()
    };
    if !asked(&["--help"]).is_ok_and(|output| text(&output.stdout).contains("--cacert")) {
        println!("SKIPPED: redis-cli is not installed, or knows no TLS (Debian: redis-tools)");
        return;
    }
    let ask = ["SQL", "SELECT city FROM people WHERE id = 1"];
    let said = asked(&[&["--tls", "--cacert", "ca.pem"], &ask[..]].concat()).unwrap();
    assert_eq!(text(&said.stdout), "1) 1) \"city\"\n2) 1) \"Kyoto\"\n", "{}", text(&said.stderr));
    let said =
        asked(&[&["-3", "--tls", "--cacert", "ca.pem"], &["GET", "people", "2"][..]].concat()).unwrap();
    assert_eq!(text(&said.stdout), "1# \"id\" => (integer) 2\n2# \"city\" => \"Lima\"\n");
    let said = asked(&ask).unwrap();
    assert!(text(&said.stdout).contains("this server speaks TLS only"), "{}", text(&said.stdout));
}

#[test]
fn redis_py_speaks_tls() {
    let place = place();
    let server = Server::of(place.path(), "ca", &[]);
    let is_there = Command::new("python3").args(["-c", "import redis"]).output();
    if !is_there.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: redis-py is not installed (PyPI: redis)");
        return;
    }
    let script = "
import redis, ssl, sys
port, ca = int(sys.argv[1]), sys.argv[2]
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    muster = redis.Redis(host='localhost', port=port, ssl=True, ssl_ca_certs=ca, ssl_min_version=version, decode_responses=True)
    many = muster.pipeline(transaction=False)
    for key in range(100, 1100):
        many.execute_command('SET', 'people', key, 'city', 'Quito')
    assert many.execute() == [True] * 1000
    assert muster.execute_command('SQL', \"SELECT count(*) FROM people WHERE city = 'Quito'\")[1] == [1000]
    text = 'x' * 1_000_000
    assert muster.echo(text) == text
    muster.close()
try:
    redis.Redis(host='localhost', port=port, ssl=True).ping()
except redis.ConnectionError as error:
    assert 'CERTIFICATE_VERIFY_FAILED' in str(error), error
else:
    raise AssertionError('an authority that nobody knows is trusted')
";
    let output = Command::new("python3")
        .args(["-c", script, &server.port.to_string()])
        .arg(place.path().join("ca.pem"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}
