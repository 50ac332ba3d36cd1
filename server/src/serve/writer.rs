//! Changes of rows, made for all clients together.
//!
//! ```text
//! a client ─ its changes ─┐
//! a client ─ its changes ─┼─ one task: all that has come ─ Session::write_each, one sync ─ answers to each
//! a client ─ its changes ─┘
//! ```
//!
//! While a group waits for the disk the next one gathers. Nobody's thread is woken for a change of its own, which for one row would cost
//! more than making it. A group ends with the time of whoever waits longest; what a change may hold in memory its group may, and clients
//! who have nothing left because of others' changes are asked again by themselves.

use super::client::{Asked, Client};
use super::metrics::Late;
use super::{Service, commands};
use crate::resp::Reply;
use musterdb::{Changed, Database, Mutation};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tokio::task::block_in_place;

/// Changes that are made as one group, and bytes of the requests for them; others wait for the next.
const GROUP: usize = 4_096;
const GROUP_BYTES: usize = 1 << 20;

type Answers = Vec<musterdb::Result<Changed>>;

/// What a client wants changed, and where it waits.
struct Job {
    mutations: Vec<Mutation>,
    /// Of the requests.
    bytes: usize,
    deadline: Instant,
    answers: oneshot::Sender<Answers>,
}

/// The way to the task that makes changes.
pub(super) struct Writer(mpsc::UnboundedSender<Job>);

impl Writer {
    /// Starts the task, which ends with the last of those who know the way. A group may hold so many bytes.
    pub(super) fn start(database: Database, memory: u64) -> Writer {
        // Each client waits for its answer, so there are no more jobs than clients.
        let (way, jobs) = mpsc::unbounded_channel();
        tokio::spawn(make_all(database, memory, jobs));
        Writer(way)
    }

    /// Makes changes in their order, each whole and by itself; `None` where the writer broke off.
    async fn make(&self, mutations: Vec<Mutation>, bytes: usize, deadline: Instant) -> Option<Answers> {
        if mutations.is_empty() {
            return Some(Vec::new());
        }
        let (answers, answered) = oneshot::channel();
        self.0.send(Job { mutations, bytes, deadline, answers }).ok()?;
        answered.await.ok()
    }
}

/// Makes the changes of a client's requests together with those of others, and answers each; false where the writer broke off, and nobody
/// knows what it has made.
pub(super) async fn write(
    service: &Service,
    (client, reply): (&mut Client, &mut Reply),
    requests: &[Asked],
    deadline: Instant,
) -> bool {
    let (verdicts, mutations) = commands::changes(service, (client, reply), requests);
    let bytes = requests.iter().map(|(request, _)| request.bytes()).sum();
    let Some(answers) = service.writer.make(mutations, bytes, deadline).await else { return false };
    if answers.iter().any(|answer| answer.as_ref().is_err_and(musterdb::Error::is_cancelled)) {
        service.metrics.late(Late::Statement).one();
        service.journal.late_statement(client.peer);
    }
    let answer = || commands::changed(service, (client, reply), requests, verdicts, answers);
    match service.audit {
        // A disk that is slow holds up nobody else.
        Some(_) => block_in_place(answer),
        None => answer(),
    }
    true
}

async fn make_all(database: Database, memory: u64, mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        let (mut mutations, mut bytes, mut deadline) = (Vec::new(), 0, job.deadline);
        let (mut waiting, mut next) = (Vec::new(), Some(job));
        while let Some(job) = next {
            if job.deadline <= Instant::now() {
                let late = job.mutations.iter().map(|_| Err(muster_engine::Error::Cancelled.into()));
                let _ = job.answers.send(late.collect());
            } else {
                waiting.push((job.mutations.len(), job.answers));
                mutations.extend(job.mutations);
                (bytes, deadline) = (bytes + job.bytes, deadline.min(job.deadline));
            }
            let is_full = mutations.len() >= GROUP || bytes >= GROUP_BYTES;
            next = if is_full { None } else { jobs.try_recv().ok() };
        }
        let is_shared = waiting.len() > 1;
        let Some((mutations, made)) = made(&database, memory, mutations, deadline).await else { continue };
        let (mut mutations, mut made) = (mutations.into_iter(), made.into_iter());
        for (count, hears) in waiting {
            let own: Vec<Mutation> = mutations.by_ref().take(count).collect();
            let mut answers: Answers = made.by_ref().take(count).collect();
            let nothing = |answer: &musterdb::Result<Changed>| {
                answer.as_ref().is_err_and(musterdb::Error::is_out_of_memory)
            };
            if is_shared && answers.iter().all(nothing) {
                let Some((_, again)) = self::made(&database, memory, own, deadline).await else { continue };
                answers = again;
            }
            // A client that is gone hears nothing; its changes are made all the same.
            let _ = hears.send(answers);
        }
    }
}

/// Makes some changes by a deadline, and gives them back; `None` where that broke off.
async fn made(
    database: &Database,
    memory: u64,
    mutations: Vec<Mutation>,
    deadline: Instant,
) -> Option<(Vec<Mutation>, Answers)> {
    let mut session = database.session();
    session.set_memory_limit(memory);
    let cancel = session.cancel_handle();
    let mut making = tokio::task::spawn_blocking(move || {
        let answers = session.write_each(&mutations);
        (mutations, answers)
    });
    match tokio::time::timeout_at(deadline.into(), &mut making).await {
        Ok(made) => made.ok(),
        Err(_) => {
            cancel.cancel();
            making.await.ok()
        }
    }
}
