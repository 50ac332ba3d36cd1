//! Clients that mean harm or fall over: whatever they send, and however they leave, others are served, and the server has its
//! memory and its files back.
//!
//! `MUSTER_STORM_CONNECTIONS=10000` is the whole storm of connections; `cargo test` makes some hundreds.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod served;
#[path = "served/watched.rs"]
mod watched;

use served::{Server, request};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use watched::{Answer, Random, setting};

const MEMBERS: &str = "CREATE TABLE members (id BIGINT PRIMARY KEY, city TEXT); \
     INSERT INTO members VALUES (1, 'Kyoto'), (2, 'Lima'), (3, 'Lima'); \
     CREATE STATIC AUDIENCE lima AS SELECT id FROM members WHERE city = 'Lima'";

/// How long a look-up of a bystander may take on a machine that does other things, too.
const PROMPT: Duration = Duration::from_secs(5);

fn members(options: &[&str]) -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::of(&directory.path().join("db"), MEMBERS, options);
    // What the first client costs once is not counted.
    for _ in 0..50 {
        served(&server);
    }
    (directory, server)
}

/// A bystander asks, and writes.
fn served(server: &Server) {
    let (began, mut bystander) = (Instant::now(), server.client());
    assert_eq!(bystander.ask(&["COUNT", "lima"]).unwrap(), Answer::Integer(2));
    assert_eq!(bystander.ask(&["SET", "members", "4", "city", "Oslo"]).unwrap(), Answer::Text("OK".into()));
    assert!(began.elapsed() < PROMPT, "a bystander waited for {:?}", began.elapsed());
}

/// The files are back at what they were, and memory within so many MiB of it.
fn is_back(server: &Server, files: usize, memory: u64, mib: u64) {
    server.until("files", |server| server.files() <= files);
    server.until("memory", |server| server.memory() <= memory + mib * 1024);
}

#[test]
fn what_is_no_request_hurts_nobody() {
    let (_directory, server) = members(&[]);
    let (files, memory) = (server.files(), server.memory());
    let text = |text: &str| text.as_bytes().to_vec();
    let many_words = [text("*1048576\r\n"), b"$0\r\n\r\n".repeat(1 << 20)].concat();
    let large_words = [text("*3\r\n$67108864\r\n"), vec![b'x'; 64 << 20], text("\r\n$67108864\r\n")].concat();
    let hostile: Vec<(Vec<u8>, &str)> = vec![
        (b"*1\r\n".repeat(100_000), "-ERR Protocol error: expected '$', got '*'"),
        (text("*1048577\r\n"), "-ERR Protocol error: invalid multibulk length"),
        (text("*9223372036854775808\r\n"), "-ERR Protocol error: invalid multibulk length"),
        (text("*2\r\n$67108865\r\n"), "-ERR Protocol error: invalid bulk length"),
        (text("*1\r\n$-1\r\n"), "-ERR Protocol error: invalid bulk length"),
        (large_words, "-ERR Protocol error: invalid bulk length"),
        (many_words, "-ERR unknown command ''"),
        (vec![b'x'; 1 << 20], "-ERR Protocol error: too big inline request"),
        (vec![b'*'; 1 << 20], "-ERR Protocol error: too big mbulk count string"),
        ([text("*1\r\n"), vec![b'$'; 1 << 20]].concat(), "-ERR Protocol error: too big bulk count string"),
        (vec![0; 1 << 20], "-ERR Protocol error: too big inline request"),
        (text("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "-ERR "),
        (text("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\n"), "-ERR "),
        (text("'\r\n"), "-ERR Protocol error: unbalanced quotes in request"),
        (request(&["COUNT", &"x".repeat(16 << 20)]), "-ERR "),
        (request(&["SQL", &format!("SELECT {}1{}", "(".repeat(1 << 20), ")".repeat(1 << 20))]), "-ERR "),
    ];
    for (bytes, expected) in &hostile {
        let told = server.heard(bytes);
        let told = String::from_utf8_lossy(&told[..told.len().min(200)]).into_owned();
        let began = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        assert!(told.starts_with(expected), "{began:?} was told {told:?}");
        served(&server);
    }
    let mut random = Random(1);
    for _ in 0..200 {
        let noise: Vec<u8> = (0..random.below(300)).map(|_| random.below(256) as u8).collect();
        server.heard(&noise);
        server.heard(&[b"*2\r\n", &noise[..]].concat());
    }
    is_back(&server, files, memory, 30);
    served(&server);
}

#[test]
fn requests_cut_anywhere_do_nothing_by_halves() {
    let (_directory, server) = members(&[]);
    let (files, memory) = (server.files(), server.memory());
    let write = request(&["SET", "members", "9", "city", "Quito"]);
    for end in 0..write.len() {
        assert_eq!(server.heard(&write[..end]), b"", "{end} bytes");
    }
    assert_eq!(server.heard(&request(&["GET", "members", "9"])), b"$-1\r\n");
    assert_eq!(server.heard(&write), b"+OK\r\n");
    is_back(&server, files, memory, 10);
}

/// Once a go of 1,024 requests was answered whole before anything of it was sent: 64 KB of requests for pages of members were
/// gigabytes of replies.
#[test]
fn replies_that_nobody_reads_are_not_kept() {
    let (_directory, server) = members(&[]);
    let rows: Vec<String> = (100..20_100).map(|id| format!("({id}, 'Rome')")).collect();
    let fill = format!("INSERT INTO members VALUES {}", rows.join(", "));
    let mut client = server.client();
    assert_eq!(client.ask(&["SQL", &fill]).unwrap(), Answer::Text("INSERT 0 20000".into()));
    let rome = "CREATE STATIC AUDIENCE rome AS SELECT id FROM members WHERE city = 'Rome'";
    client.ask(&["SQL", rome]).unwrap();
    let pages = request(&["MEMBERS", "rome", "LIMIT", "100000"]);
    let page = 100_000;
    assert!(server.heard(&pages).len() > page);
    let (files, memory) = (server.files(), server.memory());
    for requests in [request(&["ECHO", &"x".repeat(1_000)]), request(&["COMMAND", "DOCS"]), pages] {
        let many = requests.repeat(2_000);
        // How much of them each has sent, of as many as there are.
        let mut deaf: Vec<(TcpStream, usize)> = (0..8).map(|_| (server.connect(), 0)).collect();
        for (socket, _) in &mut deaf {
            // A long request first: the server reads as much at a time from then on.
            socket.write_all(&request(&["ECHO", &"x".repeat(60_000)])).unwrap();
            socket.set_nonblocking(true).unwrap();
        }
        // They go on for as long as the server takes something, or thinks about it.
        let (mut began, mut sent, mut most) = (Instant::now(), 0, memory);
        while began.elapsed() < Duration::from_secs(2) && sent < 1 << 30 {
            for (socket, at) in &mut deaf {
                match socket.write(&many[*at..]) {
                    Ok(bytes) => {
                        sent += bytes;
                        *at = (*at + bytes) % many.len();
                        began = Instant::now();
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            if server.memory() > most + 256 {
                most = server.memory();
                began = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let told = String::from_utf8_lossy(&requests[..20]).into_owned();
        assert!(sent < 200 << 20, "{told:?}: the server took {sent} bytes and sent nothing");
        let grown = most.saturating_sub(memory) / 1024;
        println!("{told:?}: {} KiB taken of 8 clients, {grown} MiB kept", sent / 1024);
        assert!(grown < 50, "{told:?}: the server kept {grown} MiB");
        served(&server);
        drop(deaf);
        is_back(&server, files, memory, 30);
    }
}

/// What a pipeline is told does not depend on how its replies are read.
#[test]
fn a_long_pipeline_that_is_read_late_is_answered_whole() {
    let (_directory, server) = members(&[]);
    let mut client = server.connect();
    let one = [
        request(&["COMMAND", "DOCS"]),
        request(&["COUNT", "lima"]),
        request(&["SQL", "SELECT count(*) FROM members"]),
    ]
    .concat();
    let mut whole = server.heard(&one);
    let mut writer = client.try_clone().unwrap();
    let requests = [one.repeat(1_500), b"*x\r\n".to_vec()].concat();
    let sender = std::thread::spawn(move || writer.write_all(&requests));
    std::thread::sleep(Duration::from_millis(300));
    whole = whole.repeat(1_500);
    whole.extend_from_slice(b"-ERR Protocol error: invalid multibulk length\r\n");
    let mut told = Vec::new();
    client.read_to_end(&mut told).unwrap();
    sender.join().unwrap().unwrap();
    assert!(told == whole, "{} bytes instead of {}", told.len(), whole.len());
}

#[test]
fn slow_and_half_open_clients_are_left_and_others_do_not_wait() {
    let (_directory, server) = members(&["--max-clients", "400"]);
    let (files, memory) = (server.files(), server.memory());
    let whole = request(&["SET", "members", "9", "city", "Quito"]);
    let mut slow: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    // Others say nothing at all, and stay; and one closed its side alone.
    let silent: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    let seconds = setting("MUSTER_STORM_SECONDS", 5) as usize;
    for second in 0..seconds {
        for socket in &mut slow {
            let _ = socket.write_all(&whole[second % whole.len()..][..1]);
        }
        served(&server);
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(server.files() >= files + 100, "who waits is not thrown out at once");
    assert!(server.memory() < memory + 30 * 1024, "{} KiB", server.memory() - memory);
    drop((slow, silent));
    is_back(&server, files, memory, 10);
}

#[test]
fn clients_that_die_within_a_request_leave_nothing() {
    let (_directory, server) = members(&[]);
    let files = server.files();
    let announced = [b"*2\r\n$4\r\nECHO\r\n$60000000\r\n".to_vec(), vec![b'x'; 4 << 20]].concat();
    let long = request(&["SQL", "SELECT count(*) FROM members a CROSS JOIN members b"]).repeat(50);
    let die = |clients: usize| {
        for client in 0..clients {
            let bytes = if client % 2 == 0 { &announced } else { &long };
            let mut socket = server.connect();
            let _ = socket.write_all(bytes);
            // Unread replies make the kernel send a reset; a half-sent request ends in silence.
            drop(socket);
        }
        served(&server);
        server.until("files", |server| server.files() <= files);
    };
    // What threads and the allocator keep is there after some.
    die(60);
    let memory = server.memory();
    die(180);
    is_back(&server, files, memory, 30);
}

#[test]
fn connections_come_and_go_and_nothing_is_left_of_them() {
    let (_directory, server) = members(&[]);
    let connections = setting("MUSTER_STORM_CONNECTIONS", 500);
    let visit = |visits: u64| {
        std::thread::scope(|scope| {
            for visitor in 0..4 {
                let server = &server;
                scope.spawn(move || {
                    for visit in (0..visits / 4).map(|visit| visit * 4 + visitor) {
                        let mut client = server.client();
                        match visit % 5 {
                            0 => {}
                            1 => client.send(b"*1\r\n$4\r\nPI").unwrap(),
                            2 => assert_eq!(client.ask(&["PING"]).unwrap(), Answer::Text("PONG".into())),
                            3 => assert_eq!(client.ask(&["COUNT", "lima"]).unwrap(), Answer::Integer(2)),
                            _ => {
                                let answer = client.ask(&["SQL", "SHOW TABLES"]).unwrap();
                                assert!(matches!(answer, Answer::Array(_)), "{answer:?}");
                            }
                        }
                    }
                });
            }
        });
    };
    // What threads and the allocator keep is there after some.
    visit(400);
    server.until("the first visitors", |server| {
        server.client().ask(&["INFO", "clients"]).is_ok_and(one_is_here)
    });
    let (files, memory) = (server.files(), server.memory());
    let began = Instant::now();
    visit(connections);
    println!("{connections} connections in {:.1?}", began.elapsed());
    is_back(&server, files, memory, 5);
    println!("{memory} KiB before, {} KiB after; {files} files", server.memory());
    served(&server);
}

fn one_is_here(answer: Answer) -> bool {
    matches!(answer, Answer::Text(text) if text.contains("connected_clients:1\r\n"))
}

#[test]
fn places_of_clients_that_left_are_free_again() {
    let (_directory, server) = members(&["--max-clients", "20"]);
    let (files, memory) = (server.files(), server.memory());
    for _ in 0..10 {
        server.until("a free server", |server| server.files() <= files);
        let mut guests: Vec<_> = (0..20).map(|_| server.client()).collect();
        for guest in &mut guests {
            assert_eq!(guest.ask(&["PING"]).unwrap(), Answer::Text("PONG".into()));
        }
        for _ in 0..20 {
            assert_eq!(server.heard(b""), b"-ERR max number of clients reached\r\n");
        }
    }
    is_back(&server, files, memory, 5);
}

/// A machine that lost its power says nothing: the kernel asks it, where it is told to.
#[test]
fn machines_of_silent_clients_are_asked_whether_they_are_there() {
    let (_directory, server) = members(&[]);
    let mut silent = server.client();
    assert_eq!(silent.ask(&["PING"]).unwrap(), Answer::Text("PONG".into()));
    let ours = format!(":{:04X}", server.port);
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    // Where it stands, its place, the other's place, its state (01 is established), its queues, and its timer (02 is that of the silence).
    let timers: Vec<&str> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words[1].ends_with(&ours) && words[3] == "01")
        .map(|words| words[5])
        .collect();
    assert!(!timers.is_empty() && timers.iter().all(|timer| timer.starts_with("02:")), "{timers:?}");
}
