//! What watches the server asks it by HTTP: figures, whether it lives, whether it takes requests.
//!
//! Three fixed pages, one request a connection, nothing of a request but its first line is understood. Whoever is slow, long or odd
//! gets an error, and takes one of a few seats for some seconds at most; clients of the database notice nothing.

use super::{ACCEPT_AGAIN, Service, exposition, socket};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Bytes of a request, its head's lines together.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// How long a request may take to arrive, and its answer to leave.
const PATIENCE: Duration = Duration::from_secs(5);

/// Requests at a time; one more is refused at once.
const SEATS: usize = 32;

/// Answers until the process ends, also while clients say farewell.
pub(super) async fn listen(listener: TcpListener, service: Arc<Service>) {
    let seats = Arc::new(Semaphore::new(SEATS));
    loop {
        match listener.accept().await {
            Ok((socket, _)) => match Arc::clone(&seats).try_acquire_owned() {
                Ok(seat) => {
                    let service = Arc::clone(&service);
                    tokio::spawn(async move {
                        let _seat = seat;
                        // Who is gone needs no answer.
                        let _ = answer(socket, &service).await;
                    });
                }
                Err(_) => refuse(socket),
            },
            Err(error) => {
                service.metrics.accept_failures.one();
                service.journal.accept_failed(&error);
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Says that there is no seat, without waiting for anybody: whose request has arrived already may see a broken connection instead.
fn refuse(socket: TcpStream) {
    let response = Response::new(503, "too many requests at a time");
    if let Ok(mut socket) = socket.into_std() {
        let _ = socket.write_all(&response.bytes(true));
    }
}

async fn answer(mut socket: TcpStream, service: &Service) -> std::io::Result<()> {
    let (response, with_body) = match tokio::time::timeout(PATIENCE, head(&mut socket)).await {
        Ok(head) => match head? {
            Head::Whole(head) => respond(&head, service),
            Head::TooLong => (Response::new(431, "a request has 8 KiB at most"), true),
            Head::Broken => (Response::new(400, "the request ended before its head did"), true),
        },
        Err(_) => (Response::new(408, "the request did not arrive in time"), true),
    };
    let sent = async {
        socket.write_all(&response.bytes(with_body)).await?;
        socket::leave(&mut socket).await
    };
    tokio::time::timeout(PATIENCE, sent).await.unwrap_or(Ok(()))
}

enum Head {
    Whole(Vec<u8>),
    TooLong,
    Broken,
}

/// Reads up to the empty line.
async fn head(socket: &mut TcpStream) -> std::io::Result<Head> {
    let mut head = Vec::new();
    loop {
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(Head::Whole(head));
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Ok(Head::TooLong);
        }
        let room = HEAD_BYTES_MAX - head.len();
        if (&mut *socket).take(room as u64).read_buf(&mut head).await? == 0 {
            return Ok(Head::Broken);
        }
    }
}

/// The response to a request, and whether its body is wanted.
fn respond(head: &[u8], service: &Service) -> (Response, bool) {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<&str> = std::str::from_utf8(line).map_or(Vec::new(), |line| line.split(' ').collect());
    let [method, target, version] = words[..] else {
        return (Response::new(400, "this is no request of HTTP"), true);
    };
    if !version.starts_with("HTTP/1.") {
        return (Response::new(400, "ask in HTTP/1.1"), true);
    }
    let page = target.split('?').next().unwrap_or_default();
    if !["/metrics", "/health", "/ready"].contains(&page) {
        return (Response::new(404, "there are /metrics, /health and /ready"), method != "HEAD");
    }
    if !["GET", "HEAD"].contains(&method) {
        return (Response::new(405, "there is GET, and HEAD"), true);
    }
    let response = match (page, service.unready()) {
        ("/metrics", _) => Response {
            status: 200,
            kind: "text/plain; version=0.0.4; charset=utf-8",
            body: exposition::page(service),
        },
        ("/ready", Some(reason)) => Response::new(503, reason),
        ("/ready", None) => Response::new(200, "ready"),
        _ => Response::new(200, "alive"),
    };
    (response, method == "GET")
}

struct Response {
    status: u16,
    kind: &'static str,
    body: String,
}

impl Response {
    /// A line of text.
    fn new(status: u16, line: &str) -> Response {
        Response { status, kind: "text/plain; charset=utf-8", body: format!("{line}\n") }
    }

    fn bytes(&self, with_body: bool) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let allow = if self.status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let (status, kind, length) = (self.status, self.kind, self.body.len());
        let mut text = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        );
        if with_body {
            text.push_str(&self.body);
        }
        text.into_bytes()
    }
}
