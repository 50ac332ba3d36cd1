//! One client: bytes in, replies out, in the order of the requests.

use super::access::Credentials;
use super::audit::Entries;
use super::commands::{self, Answered, Command, Run, Subscriptions};
use super::journal::Ran;
use super::metrics::{Class, Late, Noted};
use super::socket::{BUFFER_BYTES, Socket, leave, read, send};
use super::{Service, Tls, writer};
use crate::resp::{Decoder, ProtocolError, Reply, Request};
use musterdb::{Role, Session, TransactionState};
use serde_json::json;
use socket2::{SockRef, TcpKeepalive};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::SemaphorePermit;
use tokio::time::error::Elapsed;

/// When so much is to be sent it is, before more requests are answered: a few bytes can ask for pages of thousands of members.
const REPLY_BYTES: usize = 256 * 1024;

/// Requests for changes of so many bytes all in all are read where others wait for it.
const SMALL_BYTES: usize = 256 * 1024;

/// How long a client says nothing before its machine is asked whether it is still there; Redis's.
const SILENCE: Duration = Duration::from_secs(300);

/// What the server knows of a client.
pub(super) struct Client {
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    /// Who it is, once it has said so.
    user: Option<String>,
    /// True where that has changed since what it may do was looked up.
    is_another: bool,
    pub(super) name: String,
    pub(super) library: (String, String),
    pub(super) noted: Noted,
    /// Its thread of statements, from the first one on.
    session: Option<Session>,
    pub(super) prepared: HashMap<String, String>,
    pub(super) subscriptions: Subscriptions,
    pub(super) leaves: bool,
}

impl Client {
    fn new(id: u64, peer: SocketAddr) -> Client {
        let library = (String::new(), String::new());
        let (name, prepared) = (String::new(), HashMap::new());
        let subscriptions = Subscriptions::default();
        Client {
            id,
            peer,
            user: None,
            is_another: false,
            name,
            library,
            noted: Noted::new(),
            session: None,
            prepared,
            subscriptions,
            leaves: false,
        }
    }

    /// Its session, in a role. Files of the server's machine are not a client's.
    pub(super) fn session(&mut self, service: &Service, role: Role) -> &mut Session {
        let session = self.session.get_or_insert_with(|| {
            let mut session = service.database.session();
            session.forbid_files();
            session.set_memory_limit(service.limits.statement_memory);
            session
        });
        session.set_role(role);
        session
    }

    /// True where its changes are not like those of others: in a transaction, or acknowledged before they are on disk.
    fn writes_alone(&self) -> bool {
        let is_plain =
            |session: &Session| session.transaction() == TransactionState::None && session.is_synced();
        self.session.as_ref().is_some_and(|session| !is_plain(session))
    }

    /// True where others wait for it: its transaction has the database's writer.
    fn has_writer(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.transaction() == TransactionState::Open)
    }

    /// Who it is, once it has said so.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// From now on it is this user.
    pub(super) fn become_user(&mut self, user: String) {
        (self.user, self.is_another) = (Some(user), true);
    }

    /// As it was when it came.
    pub(super) fn reset(&mut self) {
        (self.session, self.user, self.name) = (None, None, String::new());
        (self.subscriptions, self.is_another) = (Subscriptions::default(), true);
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
    let tls = service.tls.clone();
    if service.clients.fetch_add(1, Ordering::Acquire) >= service.limits.clients {
        service.metrics.refused.one();
        service.journal.refused(peer);
        if tls.is_some() {
            // It would understand this after a handshake only, which costs more than a refusal may.
            return;
        }
        let _ = socket.write_all(b"-ERR max number of clients reached\r\n").await;
        return;
    }
    // Replies are small and waited for.
    let _ = socket.set_nodelay(true);
    // A machine that is gone without a word would keep its place for ever.
    let _ = SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE));
    let id = service.next_client.fetch_add(1, Ordering::Relaxed);
    service.journal.connected(peer, id);
    let conversation = Conversation {
        decoder: Decoder::default(),
        is_stranger: false,
        began: Instant::now(),
        midway_since: None,
        state: Some(State { client: Client::new(id, peer), reply: Reply::new() }),
        service: Arc::clone(&service),
    };
    // A client that is gone is no failure of the server.
    let _ = match tls {
        None => conversation.go_on(&mut socket).await,
        // In a box, as clients without TLS would have to have the room for it, too.
        Some(tls) => Box::pin(encrypted(conversation, tls, socket)).await,
    };
    service.journal.disconnected(peer, id);
}

/// Serves a client after its handshake.
async fn encrypted(conversation: Conversation, tls: Arc<Tls>, socket: TcpStream) -> std::io::Result<()> {
    let mut ending = conversation.service.ending.clone();
    let mut stream = tokio::select! {
        stream = tls.accept(socket) => stream.inspect_err(|_| conversation.service.metrics.handshake_failures.one())?,
        () = async { drop(ending.wait_for(|ending| *ending).await) } => return Ok(()),
    };
    conversation.go_on(&mut stream).await
}

/// A client, and what is replied to it.
struct State {
    client: Client,
    reply: Reply,
}

/// Where the next request is.
#[derive(Debug, PartialEq, Eq)]
enum More {
    /// It may have arrived.
    MayBeThere,
    /// It has not arrived.
    IsToCome,
}

struct Conversation {
    service: Arc<Service>,
    decoder: Decoder,
    /// True where it has to be said first who the client is.
    is_stranger: bool,
    /// When the requests that are answered at the moment were begun with.
    began: Instant,
    /// Since when a request is under way of which a part has arrived.
    midway_since: Option<tokio::time::Instant>,
    state: Option<State>,
}

impl Conversation {
    async fn go_on<S: Socket>(mut self, socket: &mut S) -> std::io::Result<()> {
        let (mut ending, came) = (self.service.ending.clone(), tokio::time::Instant::now());
        loop {
            self.began = Instant::now();
            let answered = self.answer(socket).await;
            self.add_noted();
            let Some(state) = &mut self.state else { return Ok(()) };
            if let Err(ProtocolError(error)) = &answered {
                self.service.metrics.protocol_errors.one();
                self.service.journal.protocol_error(state.client.peer, error);
                state.reply.error("ERR", error);
            }
            state.send(&self.service, socket).await?;
            if answered.is_err() || state.client.leaves {
                return leave(socket).await;
            }
            if answered == Ok(More::MayBeThere) {
                continue;
            }
            self.decoder.rest();
            if !self.decoder.is_midway() {
                self.midway_since = None;
            }
            let limits = &self.service.limits;
            let (until, late, error) = match (self.decoder.is_midway(), self.is_stranger) {
                // However it sends what it has to say.
                (_, true) => {
                    let error = "nobody said who this client is".to_owned();
                    (Some(came + limits.login_time), Late::Login, error)
                }
                (true, false) => {
                    let since = *self.midway_since.get_or_insert_with(tokio::time::Instant::now);
                    let time = limits.time_to_arrive(self.decoder.buffer.len());
                    let error = format!("a request did not arrive whole within {} s", time.as_secs());
                    (Some(since + time), Late::Request, error)
                }
                (false, false) => (None, Late::Login, String::new()),
            };
            let waiting = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::pin!(waiting);
            let buffer = &mut self.decoder.buffer;
            let read = loop {
                tokio::select! {
                    biased;
                    read = read(socket, buffer) => break read?,
                    () = &mut waiting => {
                        self.service.metrics.late(late).one();
                        self.service.journal.late_request(state.client.peer, &error);
                        state.reply.error("ERR", &error);
                        state.send(&self.service, socket).await?;
                        return leave(socket).await;
                    }
                    () = async { drop(ending.wait_for(|ending| *ending).await) } => return leave(socket).await,
                    commit = state.client.subscriptions.next() => {
                        let snapshot = self.service.database.engine().snapshot();
                        if self.service.access.role(&state.client, &snapshot).is_none() {
                            // It is nobody any more.
                            state.client.reset();
                            continue;
                        }
                        match commit {
                            Some(commit) => state.client.subscriptions.tell(&commit, &mut state.reply),
                            None => state.client.subscriptions.tell_all(snapshot.lsn(), &mut state.reply),
                        }
                        state.send(&self.service, socket).await?;
                    }
                }
            };
            if read == 0 {
                // Whoever closes its side of TLS waits for the word that the other one is closed as well.
                return leave(socket).await;
            }
            self.service.metrics.bytes_received.add(read as u64);
        }
    }

    /// Answers the requests that have arrived, in their order and as many as are answered in one go: whether there may be more, or what is
    /// wrong with what comes after them. Look-ups are answered at once; from the first one that may wait on, the rest with permission.
    async fn answer<S: Socket>(&mut self, socket: &mut S) -> Result<More, ProtocolError> {
        // How many there were, and whether the one that was given last has no answer yet.
        let (mut given, mut is_open) = (0, false);
        'role: while let Some(state) = &mut self.state {
            let service = &*self.service;
            let snapshot = service.database.engine().snapshot();
            let role = service.access.role(&state.client, &snapshot);
            self.is_stranger = role.is_none();
            let limits = service.limits.request_of(role);
            let answered = loop {
                if !is_open {
                    if given == service.limits.pipeline || state.reply.bytes.len() > REPLY_BYTES {
                        return Ok(More::MayBeThere);
                    }
                    if state.client.leaves || self.decoder.next(&limits)?.is_none() {
                        return Ok(More::IsToCome);
                    }
                    given += 1;
                    self.midway_since = None;
                }
                is_open = false;
                match commands::at_once(service, state.parts(), &snapshot, role, self.decoder.last()) {
                    Answered::Yes if std::mem::take(&mut state.client.is_another) => continue 'role,
                    Answered::Yes => {}
                    other => break other,
                }
            };
            if let Answered::LogsIn(credentials) = answered {
                is_open = self.log_in(credentials).await;
                continue;
            }
            let (mut requests, mut error) = (VecDeque::new(), None);
            requests.push_back(self.kept());
            let are_changes = is_write(requests[0].1);
            while given < self.service.limits.pipeline {
                match self.decoder.next(&limits) {
                    Ok(None) => break,
                    Ok(Some(_)) => given += 1,
                    Err(wrong) => {
                        error = Some(wrong);
                        break;
                    }
                }
                let command = commands::find_of(self.decoder.last());
                let is_login = command.is_some_and(|command| matches!(command.run, Run::Login(_)));
                // What follows changes that wait for no permit waits for none because of them.
                let ends_changes = are_changes && !is_write(command);
                if is_login || ends_changes {
                    is_open = true;
                    break;
                }
                requests.push_back((self.decoder.keep(), command));
            }
            self.wait(requests, socket).await;
            if let Some(error) = error {
                return Err(error);
            }
        }
        Ok(More::IsToCome)
    }

    fn kept(&mut self) -> Asked {
        let command = commands::find_of(self.decoder.last());
        (self.decoder.keep(), command)
    }

    /// Looks at a password; true where it was right. Where it was not, that was replied.
    async fn log_in(&mut self, credentials: Credentials) -> bool {
        let Some(state) = &mut self.state else { return false };
        let (access, database) = (Arc::clone(&self.service.access), self.service.database.clone());
        let (user, address) = (credentials.user.clone(), state.client.peer.ip());
        let error = match access.verify(database, credentials, address).await {
            Ok(true) => return true,
            Ok(false) => None,
            Err(error) => Some(error),
        };
        if let Some(audit) = &self.service.audit {
            let mut entries = Entries::default();
            entries.add(&state.client, "login refused", json!({ "name": user }));
            audit.write(entries.lines());
        }
        match error {
            Some(error) => state.reply.error("ERR", &error),
            None => {
                self.service.metrics.login_failures.one();
                self.service.journal.login_refused(state.client.peer);
                state.reply.error("WRONGPASS", "invalid username-password pair or user is disabled.");
            }
        }
        state.client.noted.at_once(commands::find_of(self.decoder.last()), state.reply.error.take());
        false
    }

    /// Answers requests that may wait. Where their replies are many, they are sent before the rest is answered.
    async fn wait<S: Socket>(&mut self, mut requests: VecDeque<Asked>, socket: &mut S) {
        loop {
            requests = self.work(requests, socket).await;
            let Some(state) = &mut self.state else { return };
            if requests.is_empty() || state.client.leaves {
                return;
            }
            if state.send(&self.service, socket).await.is_err() {
                // Nobody hears the answers to the rest.
                self.state = None;
            }
        }
    }

    /// Answers requests by the writer, or on this thread when there is a permit for them. Gives back those that stand behind many replies.
    async fn work<S: Socket>(&mut self, requests: VecDeque<Asked>, socket: &S) -> VecDeque<Asked> {
        self.add_noted();
        let shared = Arc::clone(&self.service);
        let (service, Some(state)) = (&*shared, &mut self.state) else { return VecDeque::new() };
        let (waits, peer) = (Instant::now(), state.client.peer);
        let deadline = waits + service.limits.statement_time;
        if are_small_writes(&requests) && !state.client.writes_alone() {
            let requests = Vec::from(requests);
            if !writer::write(service, state.parts(), &requests, deadline).await {
                self.broke_off();
                return VecDeque::new();
            }
            let (request, command) = &requests[0];
            let (took, waited) = (waits.elapsed(), Duration::ZERO);
            let ran = Ran { request, command: *command, requests: requests.len(), took, waited };
            state.ran(service, Class::Write, &ran);
            self.began = Instant::now();
            return VecDeque::new();
        }
        let has_statement = requests.iter().any(|(_, command)| !is_write(*command));
        let permit = match state.client.has_writer() {
            true => Ok(None),
            false => permit(service, has_statement, deadline).await,
        };
        let Ok(_permit) = permit else {
            let text = "too much runs at the moment, and the time of this is over; ask again";
            for (_, command) in &requests {
                state.reply.error("BUSY", text);
                state.client.noted.answered(*command, state.reply.error.take());
            }
            service.metrics.add(&mut state.client.noted);
            service.metrics.late(Late::Permit).add(requests.len() as u64);
            service.journal.no_permit(peer);
            return VecDeque::new();
        };
        let waited = if has_statement { waits.elapsed() } else { Duration::ZERO };
        let cancel = state.client.session(service, Role::Read).cancel_handle();
        cancel.reset();
        // Changes that have arrived are made, whether their client stays or not.
        let listener = if has_statement { socket.another() } else { None };
        let running = service.running.begin(peer, listener, deadline, cancel.clone());
        let work = || rest(service, state, requests, deadline, waited);
        // The thread's other clients go to another one, which is woken while this one is at work.
        let left = tokio::task::block_in_place(|| catch_unwind(AssertUnwindSafe(work)));
        drop(running);
        cancel.reset();
        self.began = Instant::now();
        left.unwrap_or_else(|_| {
            self.broke_off();
            VecDeque::new()
        })
    }

    /// Nobody knows what became of the requests: their client is left without an answer.
    fn broke_off(&mut self) {
        self.service.metrics.panics.one();
        self.state = None;
    }

    /// Adds what was noted of requests that were answered here to what all share.
    fn add_noted(&mut self) {
        let Some(State { client: Client { noted, .. }, .. }) = &mut self.state else { return };
        if noted.at_once > 0 {
            let durations = self.service.metrics.durations(Class::Lookup);
            durations.observe(self.began.elapsed(), std::mem::take(&mut noted.at_once));
            self.service.metrics.add(noted);
        }
    }
}

/// A request, and the command that it is for.
pub(super) type Asked = (Request, Option<&'static Command>);

fn is_write(command: Option<&Command>) -> bool {
    command.is_some_and(|command| matches!(command.run, Run::Write(..)))
}

/// A permit by a deadline: for statements, or for changes that the writer does not make.
async fn permit(
    service: &Service,
    has_statement: bool,
    deadline: Instant,
) -> Result<Option<SemaphorePermit<'_>>, Elapsed> {
    if !has_statement {
        let permit = tokio::time::timeout_at(deadline.into(), service.changes.acquire()).await?;
        return Ok(permit.ok());
    }
    let (waits, waiting) = (Instant::now(), service.metrics.waiting.hold());
    let permit = tokio::time::timeout_at(deadline.into(), service.statements.acquire()).await;
    drop(waiting);
    service.metrics.permit_wait.observe(waits.elapsed(), 1);
    Ok(permit?.ok())
}

/// True of changes that are read in no time.
fn are_small_writes(requests: &VecDeque<Asked>) -> bool {
    let bytes: usize = requests.iter().map(|(request, _)| request.bytes()).sum();
    bytes <= SMALL_BYTES && requests.iter().all(|(_, command)| is_write(*command))
}

/// Answers requests that may wait. Writes that follow each other are one group. All together they have the time of one
/// statement: what is not begun by then is refused. What stands behind many replies is given back.
fn rest(
    service: &Service,
    state: &mut State,
    mut requests: VecDeque<Asked>,
    deadline: Instant,
    mut waited: Duration,
) -> VecDeque<Asked> {
    while !state.client.leaves && state.reply.bytes.len() <= REPLY_BYTES {
        let Some((request, command)) = requests.pop_front() else { break };
        let costs_nothing = command.is_some_and(|command| command.group == "connection");
        if Instant::now() >= deadline && !costs_nothing {
            let text = "the requests before it took too long; it was not begun";
            state.reply.error("TIMEOUT", text);
            state.client.noted.answered(command, state.reply.error.take());
            service.metrics.late(Late::Behind).one();
            service.metrics.add(&mut state.client.noted);
            continue;
        }
        let began = Instant::now();
        let Some(Command { run: Run::Write(..), .. }) = command else {
            commands::waiting(service, state.parts(), request.words(), command);
            let (took, waited) = (began.elapsed(), std::mem::take(&mut waited));
            state.ran(
                service,
                Class::Statement,
                &Ran { request: &request, command, requests: 1, took, waited },
            );
            continue;
        };
        let mut group = vec![(request, command)];
        while let Some((_, Some(Command { run: Run::Write(..), .. }))) = requests.front() {
            group.extend(requests.pop_front());
        }
        commands::write(service, state.parts(), &group);
        let (took, waited) = (began.elapsed(), std::mem::take(&mut waited));
        let (request, command) = &group[0];
        let ran = Ran { request, command: *command, requests: group.len(), took, waited };
        state.ran(service, Class::Write, &ran);
    }
    requests
}

impl State {
    fn parts(&mut self) -> (&mut Client, &mut Reply) {
        (&mut self.client, &mut self.reply)
    }

    /// Tells and counts what was run.
    fn ran(&mut self, service: &Service, class: Class, ran: &Ran<'_>) {
        service.journal.ran(&service.metrics, &self.client, ran);
        service.metrics.durations(class).observe(ran.took, ran.requests as u64);
        service.metrics.add(&mut self.client.noted);
    }

    /// Sends what was replied.
    async fn send<S: Socket>(&mut self, service: &Service, socket: &mut S) -> std::io::Result<()> {
        let bytes = &mut self.reply.bytes;
        if bytes.is_empty() {
            return Ok(());
        }
        send(socket, bytes, service.limits.reply_time).await.inspect_err(|error| {
            if error.kind() == std::io::ErrorKind::TimedOut {
                service.metrics.late(Late::Reply).one();
            }
        })?;
        service.metrics.bytes_sent.add(bytes.len() as u64);
        bytes.clear();
        if bytes.capacity() > BUFFER_BYTES {
            *bytes = bytes::BytesMut::new();
        }
        Ok(())
    }
}
