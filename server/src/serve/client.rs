//! One client: bytes in, replies out, in the order of the requests.

use super::Service;
use super::commands::{self, Command, Run};
use crate::resp::{Decoder, Limits, ProtocolError, Reply, Request};
use musterdb::{Cancel, Session};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is kept of a buffer that was larger.
const BUFFER_BYTES: usize = 16 * 1024;

/// How long, and how much, is read of a client that gets an error and is left: it could lose the error otherwise.
const DRAIN: Duration = Duration::from_millis(200);
const DRAIN_BYTES: usize = 1 << 20;

/// How long a statement goes on whose client says no more: it may have closed its side only, as a script does that waits for the
/// answer.
const GONE_AFTER: Duration = Duration::from_millis(500);

/// How often the statements of a client that is gone are told to end: each takes its own cancellation with it.
const CANCEL_AGAIN: Duration = Duration::from_millis(20);

/// What is read of a client while a statement of it runs; the rest waits in the socket.
const AHEAD_BYTES: usize = 64 * 1024;

/// What the server knows of a client.
pub(super) struct Client {
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    pub(super) name: String,
    pub(super) library: (String, String),
    /// Its thread of statements, from the first one on.
    session: Option<Session>,
    pub(super) prepared: HashMap<String, String>,
    pub(super) leaves: bool,
}

impl Client {
    fn new(id: u64, peer: SocketAddr) -> Client {
        let library = (String::new(), String::new());
        let (name, prepared) = (String::new(), HashMap::new());
        Client { id, peer, name, library, session: None, prepared, leaves: false }
    }

    /// Its session. Files of the server's machine are not a client's.
    pub(super) fn session(&mut self, service: &Service) -> &mut Session {
        self.session.get_or_insert_with(|| {
            let mut session = service.database.session();
            session.forbid_files();
            session.set_memory_limit(service.limits.statement_memory);
            session
        })
    }

    /// As it was when it came.
    pub(super) fn reset(&mut self) {
        (self.session, self.name) = (None, String::new());
        self.prepared.clear();
    }
}

/// Counts a client while it is there.
struct Guest(Arc<Service>);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Release);
    }
}

/// Serves a client until it leaves, breaks the protocol, or the server ends.
pub(super) async fn serve(service: Arc<Service>, mut socket: TcpStream, peer: SocketAddr) {
    let _guest = Guest(Arc::clone(&service));
    if service.clients.fetch_add(1, Ordering::Acquire) >= service.limits.clients {
        service.refused.fetch_add(1, Ordering::Relaxed);
        let _ = socket.write_all(b"-ERR max number of clients reached\r\n").await;
        return;
    }
    // Replies are small and waited for.
    let _ = socket.set_nodelay(true);
    let id = service.next_client.fetch_add(1, Ordering::Relaxed);
    let conversation = Conversation {
        decoder: Decoder::default(),
        state: Some(State { client: Client::new(id, peer), reply: Reply::new() }),
        service,
    };
    // A client that is gone is no failure of the server.
    let _ = conversation.go_on(&mut socket).await;
}

/// What goes to the thread that may wait, and comes back.
struct State {
    client: Client,
    reply: Reply,
}

struct Conversation {
    service: Arc<Service>,
    decoder: Decoder,
    state: Option<State>,
}

impl Conversation {
    async fn go_on<S: AsyncRead + AsyncWrite + Unpin>(mut self, socket: &mut S) -> std::io::Result<()> {
        let mut ending = self.service.ending.clone();
        loop {
            let (requests, error) = self.requests();
            let served = !requests.is_empty();
            if served {
                self.answer(requests, socket).await;
            }
            let Some(state) = &mut self.state else { return Ok(()) };
            if let Some(ProtocolError(error)) = &error {
                self.service.errors.fetch_add(1, Ordering::Relaxed);
                state.reply.error("ERR", error);
            }
            if !state.reply.bytes.is_empty() {
                socket.write_all(&state.reply.bytes).await?;
                socket.flush().await?;
                state.reply.bytes.clear();
                if state.reply.bytes.capacity() > BUFFER_BYTES {
                    state.reply.bytes = bytes::BytesMut::new();
                }
            }
            if error.is_some() || state.client.leaves {
                return leave(socket).await;
            }
            if served {
                // More may have come already.
                continue;
            }
            if self.decoder.buffer.is_empty() {
                // Nothing is kept for clients that say nothing.
                self.decoder.buffer = bytes::BytesMut::new();
            }
            let midway = self.decoder.is_midway();
            let patience = self.service.limits.request_time;
            let waiting = async {
                match midway {
                    true => tokio::time::sleep(patience).await,
                    false => std::future::pending().await,
                }
            };
            let buffer = &mut self.decoder.buffer;
            let read = tokio::select! {
                read = socket.read_buf(buffer) => read?,
                () = waiting => {
                    let error = format!("-ERR a request did not arrive whole within {} s\r\n", patience.as_secs());
                    socket.write_all(error.as_bytes()).await?;
                    return leave(socket).await;
                }
                () = async { drop(ending.wait_for(|ending| *ending).await) } => return leave(socket).await,
            };
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// The requests that have arrived, as many as are answered in one go, and what is wrong with what comes after them.
    fn requests(&mut self) -> (VecDeque<(Request, Option<&'static Command>)>, Option<ProtocolError>) {
        let mut requests = VecDeque::new();
        let limits: &Limits = &self.service.limits.request;
        while requests.len() < self.service.limits.pipeline {
            match self.decoder.next(limits) {
                Ok(Some(request)) => {
                    let command = commands::find(request.name());
                    requests.push_back((request, command));
                }
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
        (requests, None)
    }

    /// Answers requests in their order: look-ups here, and from the first one that may wait on, on a thread that may.
    async fn answer<S: AsyncRead + Unpin>(
        &mut self,
        mut requests: VecDeque<(Request, Option<&'static Command>)>,
        socket: &mut S,
    ) {
        let service = &self.service;
        service.commands.fetch_add(requests.len() as u64, Ordering::Relaxed);
        let Some(state) = &mut self.state else { return };
        while let Some((request, command)) = requests.front() {
            if state.client.leaves {
                return;
            }
            if !commands::at_once(service, state.parts(), request, *command) {
                break;
            }
            requests.pop_front();
        }
        if requests.is_empty() {
            return;
        }
        let (service, Some(mut state)) = (Arc::clone(service), self.state.take()) else { return };
        let deadline = tokio::time::Instant::now() + service.limits.statement_time;
        let is_statement = |(_, command): &(Request, Option<&'static Command>)| {
            command.is_some_and(|command| !matches!(command.run, Run::Write(..)))
        };
        let waits_for_statement = requests.iter().any(is_statement);
        let permit = match waits_for_statement {
            false => None,
            true => {
                let permits = Arc::clone(&service.statements);
                match tokio::time::timeout_at(deadline, permits.acquire_owned()).await {
                    Ok(permit) => permit.ok(),
                    Err(_) => {
                        let text =
                            "too many statements run at the moment, and this one's time is over; ask again";
                        requests.iter().for_each(|_| state.reply.error("BUSY", text));
                        self.state = Some(state);
                        return;
                    }
                }
            }
        };
        let cancel = state.client.session(&service).cancel_handle();
        cancel.reset();
        let mut waiting = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            rest(&service, &mut state, requests, deadline.into_std());
            state
        });
        let buffer = &mut self.decoder.buffer;
        // Writes that have arrived are made, whether their client stays or not.
        let gone = async {
            match waits_for_statement {
                true => gone(socket, buffer).await,
                false => std::future::pending().await,
            }
        };
        self.state = tokio::select! {
            state = until(deadline, &cancel, &mut waiting) => state,
            () = gone => abandoned(&cancel, &mut waiting).await,
        };
    }
}

/// Waits for a thread's work, which is cancelled when its time is over.
async fn until(
    deadline: tokio::time::Instant,
    cancel: &Cancel,
    work: &mut tokio::task::JoinHandle<State>,
) -> Option<State> {
    match tokio::time::timeout_at(deadline, &mut *work).await {
        Ok(done) => done.ok(),
        Err(_) => {
            cancel.cancel();
            let state = work.await.ok();
            cancel.reset();
            state
        }
    }
}

/// Waits until a client is gone. What it says meanwhile is kept for later.
async fn gone<S: AsyncRead + Unpin>(socket: &mut S, buffer: &mut bytes::BytesMut) {
    while buffer.len() < AHEAD_BYTES {
        match socket.read_buf(buffer).await {
            Ok(0) => return tokio::time::sleep(GONE_AFTER).await,
            Ok(_) => {}
            Err(_) => return,
        }
    }
    std::future::pending::<()>().await;
}

/// Ends the work for a client that is gone: the statement that runs, and those behind it.
async fn abandoned(cancel: &Cancel, work: &mut tokio::task::JoinHandle<State>) -> Option<State> {
    let state = loop {
        cancel.cancel();
        if let Ok(done) = tokio::time::timeout(CANCEL_AGAIN, &mut *work).await {
            break done.ok();
        }
    };
    cancel.reset();
    state
}

/// Answers requests on a thread that may wait. Writes that follow each other are one group. All together they have the time of one
/// statement: what is not begun by then is refused.
fn rest(
    service: &Service,
    state: &mut State,
    mut requests: VecDeque<(Request, Option<&'static Command>)>,
    deadline: Instant,
) {
    while let Some((request, command)) = requests.pop_front() {
        if state.client.leaves {
            return;
        }
        if Instant::now() >= deadline {
            let text = "the requests before it took too long; it was not begun";
            state.reply.error("TIMEOUT", text);
            continue;
        }
        let Some(Command { run: Run::Write(..), .. }) = command else {
            commands::waiting(service, state.parts(), &request, command);
            continue;
        };
        let mut group = vec![(request, command)];
        while let Some((_, Some(Command { run: Run::Write(..), .. }))) = requests.front() {
            group.extend(requests.pop_front());
        }
        commands::write(service, state.parts(), &group);
    }
}

impl State {
    fn parts(&mut self) -> (&mut Client, &mut Reply) {
        (&mut self.client, &mut self.reply)
    }
}

/// Ends a connection so that its last reply arrives.
async fn leave<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut S) -> std::io::Result<()> {
    socket.shutdown().await?;
    let mut rest = socket.take(DRAIN_BYTES as u64);
    let drained = async {
        while rest.read(&mut [0; 4096]).await? > 0 {}
        std::io::Result::Ok(())
    };
    tokio::time::timeout(DRAIN, drained).await.unwrap_or(Ok(()))
}
