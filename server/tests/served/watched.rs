//! What a server holds of the machine, and a client that reads replies: for tests of endurance.

#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use crate::served::{Server, request};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

impl Server {
    /// Of a new database that a script has filled.
    pub fn of(directory: &Path, script: &str, options: &[&str]) -> Server {
        let database = musterdb::Database::open(directory).unwrap();
        database.execute_script(script, |_| {}).unwrap();
        drop(database);
        Server::start(directory, options)
    }

    pub fn client(&self) -> Client {
        let socket = self.connect();
        socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        socket.set_nodelay(true).unwrap();
        Client { replies: BufReader::new(socket) }
    }

    /// What comes back for bytes that may be refused before they are all sent, until the server ends the connection.
    pub fn heard(&self, bytes: &[u8]) -> Vec<u8> {
        let mut socket = self.connect();
        let _ = socket.write_all(bytes);
        let _ = socket.shutdown(Shutdown::Write);
        let mut reply = Vec::new();
        let _ = socket.read_to_end(&mut reply);
        reply
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Memory of its own, in KiB.
    pub fn memory(&self) -> u64 {
        self.status("RssAnon:")
    }

    pub fn threads(&self) -> u64 {
        self.status("Threads:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// File descriptors.
    pub fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// Waits until something holds of the server.
    pub fn until(&self, what: &str, holds: impl Fn(&Server) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            let (memory, files) = (self.memory(), self.files());
            assert!(began.elapsed() < Duration::from_secs(60), "{what}: {memory} KiB, {files} files");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A reply in version 2.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Null,
    Integer(i64),
    Text(String),
    Error(String),
    Array(Vec<Answer>),
}

/// A connection that asks and reads.
pub struct Client {
    replies: BufReader<TcpStream>,
}

impl Client {
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.replies.get_mut().write_all(bytes)
    }

    pub fn ask(&mut self, words: &[&str]) -> io::Result<Answer> {
        self.send(&request(words))?;
        self.answer()
    }

    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        self.replies.read_line(&mut line)?;
        let Some(line) = line.strip_suffix("\r\n") else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        let (sign, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().map_err(io::Error::other);
        Ok(match sign {
            "+" => Answer::Text(rest.to_owned()),
            "-" => Answer::Error(rest.to_owned()),
            ":" => Answer::Integer(number()?),
            "$" => match number()? {
                -1 => Answer::Null,
                length => {
                    let mut text = vec![0; length as usize + 2];
                    self.replies.read_exact(&mut text)?;
                    text.truncate(length as usize);
                    Answer::Text(String::from_utf8(text).map_err(io::Error::other)?)
                }
            },
            "*" => Answer::Array((0..number()?).map(|_| self.answer()).collect::<io::Result<_>>()?),
            _ => return Err(io::Error::other(format!("no reply: {line:?}"))),
        })
    }
}

/// A setting by an environment variable.
pub fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// Numbers that a seed repeats.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
