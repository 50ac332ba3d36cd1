//! The server: who listens, what clients share, how it ends.
//!
//! ```text
//! listener ─ a task for each client: bytes ─ resp::Decoder ─ commands ─┬─ at once, on the task's thread: look-ups
//!                                                                      ├─ by one writer for all clients: changes of rows
//!                                                                      └─ with a permit, the thread's other clients sent away: statements
//! ```
//!
//! What a client has sent in one go is answered in one go. From the first command that may wait, the rest of it waits together: changes alone for
//! the writer, which makes them with those of others; what has a statement in it for one permit of a few. The thread that has read it then runs
//! it, which is cheaper than waking another, and its other clients go to a thread that is free: look-ups never stand behind statements.

mod access;
mod audiences;
mod audit;
mod client;
mod commands;
mod exposition;
mod http;
mod journal;
mod limits;
mod metrics;
mod running;
mod socket;
mod tls;
mod writer;

pub(crate) use audit::Audit;
pub(crate) use journal::{ended, panicked, started};
pub(crate) use limits::Limits;
pub(crate) use tls::Tls;

use crate::failure::{Failure, Result};
use access::Access;
use audiences::Audiences;
use journal::Journal;
use metrics::Metrics;
use muster_engine::database::Commit;
use musterdb::Database;
use running::Running;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast, watch};
use writer::Writer;

/// How long clients have to end what runs when the server is told to.
const FAREWELL: Duration = Duration::from_secs(30);

/// How long to wait after a client that could not be accepted: the process may have no files left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Changes that the writer does not make, large ones and those of sessions that do not wait for the disk: so many at a time.
const CHANGES: usize = 8;

/// Threads that may wait, beside those: for the writer, a password, the one transaction that is open.
const OTHERS: usize = 8;

/// Commits that are kept for clients that listen and read slowly; one that misses some hears of the last.
const COMMITS: usize = 1_024;

/// What is seen of a server from outside.
pub(crate) struct Observing {
    /// Where figures are asked for.
    pub(crate) metrics: Option<SocketAddr>,
    /// From which time on statements are told of.
    pub(crate) slow: Option<Duration>,
    /// Where it is written down who changed what.
    pub(crate) audit: Option<Audit>,
}

/// What all clients share.
pub(crate) struct Service {
    database: Database,
    limits: Limits,
    access: Arc<Access>,
    audit: Option<Audit>,
    /// `None` where connections are not encrypted.
    tls: Option<Arc<Tls>>,
    writer: Writer,
    /// Permits of statements.
    statements: Semaphore,
    /// Permits of changes that the writer does not make.
    changes: Semaphore,
    running: Running,
    /// True when the server is about to end.
    ending: watch::Receiver<bool>,
    started: Instant,
    address: SocketAddr,
    clients: AtomicUsize,
    next_client: AtomicU64,
    metrics: Metrics,
    journal: Journal,
    audiences: Audiences,
    /// What those hear who listen to commits.
    commits: broadcast::Sender<Arc<Commit>>,
}

impl Service {
    /// Why no requests are to be sent here any more.
    fn unready(&self) -> Option<&'static str> {
        match *self.ending.borrow() {
            true => Some("the server ends"),
            false if self.database.engine().is_poisoned() => {
                Some("the disk failed a write: nothing is written until the server is started again")
            }
            false => None,
        }
    }
}

/// Serves a database until the process is told to end, by SIGTERM or Ctrl-C. `ready` hears of the addresses, of clients
/// and of figures, when clients are taken.
pub(crate) fn serve(
    database: Database,
    listen: SocketAddr,
    limits: Limits,
    observing: Observing,
    tls: Option<Tls>,
    ready: impl FnOnce(SocketAddr, Option<SocketAddr>) -> Result<()>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("muster-serve")
        .max_blocking_threads(limits.statements + CHANGES + OTHERS)
        .build()
        .map_err(|error| Failure::new(format!("cannot start the server's threads: {error}")))?;
    let served = runtime.block_on(listen_on(database, listen, limits, observing, tls.map(Arc::new), ready));
    // Whoever is still at work after the farewell is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn listen_on(
    database: Database,
    listen: SocketAddr,
    limits: Limits,
    observing: Observing,
    tls: Option<Arc<Tls>>,
    ready: impl FnOnce(SocketAddr, Option<SocketAddr>) -> Result<()>,
) -> Result<()> {
    let (listener, address) = bound(listen).await?;
    #[cfg(unix)]
    if let Some(tls) = &tls {
        tls::read_again_when_told(tls)?;
    }
    let watched = match observing.metrics {
        Some(metrics) => Some(bound(metrics).await?),
        None => None,
    };
    let (end, ending) = watch::channel(false);
    let commits = broadcast::Sender::new(COMMITS);
    let tell = commits.clone();
    // Nobody may listen.
    let _listening = database.engine().on_commit(move |commit| drop(tell.send(Arc::new(commit.clone()))));
    let writer = Writer::start(database.clone(), limits.statement_memory);
    let service = Arc::new(Service {
        database,
        writer,
        statements: Semaphore::new(limits.statements),
        changes: Semaphore::new(CHANGES),
        running: Running::default(),
        limits,
        access: Arc::new(Access::new()),
        audit: observing.audit,
        tls,
        ending,
        started: Instant::now(),
        address,
        clients: AtomicUsize::new(0),
        next_client: AtomicU64::new(1),
        metrics: Metrics::new(),
        journal: Journal::new(observing.slow),
        audiences: Audiences::default(),
        commits,
    });
    let told = told_to_end()?;
    tokio::pin!(told);
    ready(address, watched.as_ref().map(|(_, metrics)| *metrics))?;
    tokio::spawn(running::see_to(Arc::clone(&service)));
    if let Some((metrics, _)) = watched {
        tokio::spawn(http::listen(metrics, Arc::clone(&service)));
    }
    loop {
        let accepted = tokio::select! {
            () = &mut told => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                service.metrics.connections.one();
                let service = Arc::clone(&service);
                tokio::spawn(client::serve(service, socket, peer));
            }
            Err(error) => {
                service.metrics.accept_failures.one();
                service.journal.accept_failed(&error);
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    let _ = end.send(true);
    service.journal.ending(service.clients.load(Ordering::Acquire));
    let farewell = Instant::now();
    while service.clients.load(Ordering::Acquire) > 0 && farewell.elapsed() < FAREWELL {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    match service.clients.load(Ordering::Acquire) {
        0 => {}
        clients => service.journal.left_behind(clients),
    }
    Ok(())
}

async fn bound(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let cannot = |error: std::io::Error| Failure::new(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    Ok((listener, address))
}

#[cfg(unix)]
fn told_to_end() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let heard =
        |kind| signal(kind).map_err(|error| Failure::new(format!("cannot listen for signals: {error}")));
    let (mut terminate, mut interrupt) = (heard(SignalKind::terminate())?, heard(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn told_to_end() -> Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
