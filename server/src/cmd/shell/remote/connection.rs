//! The socket: blocking, but for Ctrl-C, which is looked for while nothing comes. TLS, where it is spoken, stands on top of it.

use super::answer::Broken;
use super::failed;
use super::tls::{self, Trust};
use crate::resp::{Replies, Token};
use musterdb::{Cancel, Result};
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

/// How long a server may take to take a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How often Ctrl-C is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// A server, and who asks it.
#[derive(Clone)]
pub(in crate::cmd::shell) struct Login {
    /// `HOST:PORT`
    pub(in crate::cmd::shell) address: String,
    /// A user's name and password.
    pub(in crate::cmd::shell) user: Option<(String, String)>,
    /// Whose certificates are taken; `None` without TLS.
    pub(in crate::cmd::shell) trust: Option<Trust>,
}

/// A connection that speaks RESP3.
pub(in crate::cmd::shell) struct Connection {
    replies: Replies<BufReader<Wire>>,
}

impl Connection {
    /// Connects, and says who it is.
    pub(in crate::cmd::shell) fn open(login: &Login, cancel: Cancel) -> Result<Connection> {
        let server = &login.address;
        let cannot = |error: io::Error| failed(format!("cannot connect to {server}: {error}"));
        let addresses = server.to_socket_addrs().map_err(|error| {
            failed(format!("{server} is no address ({error}): write HOST:PORT, as in localhost:7878"))
        })?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        let mut stream = None;
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(connected) => {
                    stream = Some(connected);
                    break;
                }
                Err(error) => last = error,
            }
        }
        let Some(stream) = stream else { return Err(cannot(last)) };
        // Statements are small and waited for.
        stream.set_nodelay(true).map_err(cannot)?;
        stream.set_read_timeout(Some(LOOK)).map_err(cannot)?;
        stream.set_write_timeout(Some(LOOK)).map_err(cannot)?;
        let mut socket = Socket { stream, cancel, until: None };
        let wire = match &login.trust {
            None => Wire::Plain(socket),
            Some(trust) => {
                socket.until = Some(Instant::now() + CONNECT);
                let mut encrypted = tls::shake_hands(server, trust, socket)?;
                encrypted.sock.until = None;
                Wire::Encrypted(Box::new(encrypted))
            }
        };
        let mut connection = Connection { replies: Replies::new(BufReader::with_capacity(1 << 16, wire)) };
        connection.hello(login)?;
        Ok(connection)
    }

    fn hello(&mut self, login: &Login) -> Result<()> {
        let mut words: Vec<Vec<u8>> = vec![b"HELLO".to_vec(), b"3".to_vec()];
        if let Some((user, password)) = &login.user {
            words.extend([b"AUTH".to_vec(), user.as_bytes().to_vec(), password.as_bytes().to_vec()]);
        }
        let server = &login.address;
        let tls = if login.trust.is_none() { tls::PERHAPS } else { "" };
        let broken =
            |error: io::Error| failed(format!("{server} does not answer as MusterDB does: {error}{tls}"));
        self.say(&words).map_err(|_| failed(format!("{server} closed the connection")))?;
        let pairs = match self.replies.next().map_err(broken)? {
            Token::Map(pairs) => pairs,
            Token::Error(message) => {
                let message = message.strip_prefix("ERR ").unwrap_or(&message);
                return Err(failed(format!("{server} does not let this shell in: {message}")));
            }
            _ => return Err(failed(format!("{server} speaks no RESP3"))),
        };
        for _ in 0..pairs.saturating_mul(2) {
            self.replies.skip().map_err(broken)?;
        }
        Ok(())
    }

    /// What is read from here on must have come after so long.
    pub(super) fn until(&mut self, deadline: Instant) {
        self.replies.source().get_mut().socket().until = Some(deadline);
    }

    /// Sends a request.
    pub(super) fn say(&mut self, words: &[Vec<u8>]) -> std::result::Result<(), Broken> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.replies.forget();
        let wire = self.replies.source().get_mut();
        wire.write_all(&bytes).and_then(|()| wire.flush()).map_err(Broken::Connection)
    }

    pub(super) fn replies(&mut self) -> &mut Replies<BufReader<Wire>> {
        &mut self.replies
    }
}

/// What bytes of requests and replies go through.
pub(super) enum Wire {
    Plain(Socket),
    Encrypted(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Wire {
    fn socket(&mut self) -> &mut Socket {
        match self {
            Wire::Plain(socket) => socket,
            Wire::Encrypted(stream) => &mut stream.sock,
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.read(buffer),
            Wire::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.write(buffer),
            Wire::Encrypted(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.flush(),
            Wire::Encrypted(stream) => stream.flush(),
        }
    }
}

/// The connection's bytes, which a cancellation ends.
pub(super) struct Socket {
    stream: TcpStream,
    cancel: Cancel,
    until: Option<Instant>,
}

impl Socket {
    /// Does what may have to be waited for.
    fn wait(&self, mut work: impl FnMut(&TcpStream) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cancelled"));
            }
            match work(&self.stream) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if self.until.is_some_and(|until| Instant::now() > until) {
                        return Err(error);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(|mut stream| stream.read(buffer))
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.wait(|mut stream| stream.write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
