//! A server as its clients see it, for the tests that need one.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

pub const MEMBERS: &str = "CREATE TABLE members (id BIGINT PRIMARY KEY, city TEXT, spend DECIMAL(12,2), tags TEXT[], vip BOOLEAN); \
     INSERT INTO members VALUES (1, 'Kyoto', 120.50, '{new,vip}', true), (2, 'Lima', NULL, '{}', false), (3, 'Lima', 9.99, '{vip}', true); \
     CREATE AUDIENCE lima AS SELECT id FROM members WHERE city = 'Lima'; \
     CREATE STATIC AUDIENCE vips AS SELECT id FROM members WHERE vip; \
     CREATE TABLE orders (number TEXT PRIMARY KEY, member_id BIGINT REFERENCES members, at TIMESTAMP)";

/// The program in a directory of the test's own.
pub fn muster(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).env("HOME", directory);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub fn run(directory: &Path, arguments: &[&str]) -> Output {
    muster(directory, arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A server on a port of its own; it ends with the test.
pub struct Server {
    pub process: Child,
    pub port: u16,
    /// What it said when it was ready.
    pub ready: String,
}

impl Server {
    /// Of a database.
    pub fn start(directory: &Path, options: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command.arg("serve").arg(directory).args(options).stdout(Stdio::piped());
        Server::ready(command)
    }

    /// Of the database `db` in a directory, from there.
    pub fn within(directory: &Path, options: &[&str]) -> Server {
        Server::ready(muster(directory, &[&["serve", "db"], options].concat()))
    }

    fn ready(mut command: Command) -> Server {
        let mut process = command.env("MUSTER_LISTEN", "127.0.0.1:0").spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        let address = ready.split_whitespace().nth(2).and_then(|address| address.rsplit(':').next());
        let port = address.and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| {
            let mut said = String::new();
            let stderr = process.stderr.as_mut();
            stderr.map(|stderr| stderr.read_to_string(&mut said).unwrap());
            panic!("no address in {ready:?}: {said}")
        });
        Server { process, port, ready }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn of_members(directory: &Path, options: &[&str]) -> Server {
        let database = musterdb::Database::open(directory).unwrap();
        database.execute_script(MEMBERS, |_| {}).unwrap();
        drop(database);
        Server::start(directory, options)
    }

    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket
    }

    /// What comes back for some bytes until the server ends the connection.
    pub fn told(&self, bytes: &[u8]) -> String {
        let mut socket = self.connect();
        socket.write_all(bytes).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        socket.read_to_end(&mut reply).unwrap();
        String::from_utf8(reply).unwrap()
    }

    #[cfg(unix)]
    pub fn terminate(&mut self) -> (bool, String) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        let ended = self.process.wait().unwrap();
        let mut rest = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        (ended.success(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A request as clients send it.
pub fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| bytes += &format!("${}\r\n{word}\r\n", word.len()));
    bytes.into_bytes()
}

pub fn pipeline(requests: &[&[&str]]) -> Vec<u8> {
    requests.iter().flat_map(|words| request(words)).collect()
}
