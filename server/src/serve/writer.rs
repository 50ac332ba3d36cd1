//! Changes of rows, made for all clients together.
//!
//! ```text
//! a client ─ its changes ─┐
//! a client ─ its changes ─┼─ one task: all that has come ─ Session::write_each, one sync ─ answers to each
//! a client ─ its changes ─┘
//! ```
//!
//! While a group waits for the disk the next one gathers. Nobody's thread is woken for a change of its own, which for one row would cost
//! more than making it.

use super::client::{Asked, Client};
use super::{Service, commands};
use crate::resp::Reply;
use musterdb::{Changed, Database, Mutation};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Changes that are made as one group; others wait for the next.
const GROUP: usize = 4_096;

type Answers = Vec<musterdb::Result<Changed>>;

/// What a client wants changed, and where it waits.
struct Job {
    mutations: Vec<Mutation>,
    answers: oneshot::Sender<Answers>,
}

/// The way to the task that makes changes.
pub(super) struct Writer(mpsc::UnboundedSender<Job>);

impl Writer {
    /// Starts the task, which ends with the last of those who know the way. A group that takes longer than `patience` is refused.
    pub(super) fn start(database: Database, patience: Duration) -> Writer {
        // Each client waits for its answer, so there are no more jobs than clients.
        let (way, jobs) = mpsc::unbounded_channel();
        tokio::spawn(make_all(database, jobs, patience));
        Writer(way)
    }

    /// Makes changes in their order, each whole and by itself; none of the answers where the writer broke off.
    async fn make(&self, mutations: Vec<Mutation>) -> Answers {
        if mutations.is_empty() {
            return Vec::new();
        }
        let (answers, answered) = oneshot::channel();
        match self.0.send(Job { mutations, answers }) {
            Ok(()) => answered.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }
}

/// Makes the changes of a client's requests together with those of others, and answers each.
pub(super) async fn write(service: &Service, (client, reply): (&mut Client, &mut Reply), requests: &[Asked]) {
    let (verdicts, mutations) = commands::changes(service, (client, reply), requests);
    let answers = service.writer.make(mutations).await;
    commands::changed(service, (client, reply), requests, verdicts, answers);
}

async fn make_all(database: Database, mut jobs: mpsc::UnboundedReceiver<Job>, patience: Duration) {
    while let Some(job) = jobs.recv().await {
        let (mut mutations, mut waiting, mut next) = (Vec::new(), Vec::new(), Some(job));
        while let Some(Job { mutations: more, answers }) = next {
            waiting.push((more.len(), answers));
            mutations.extend(more);
            next = if mutations.len() < GROUP { jobs.try_recv().ok() } else { None };
        }
        let mut session = database.session();
        let cancel = session.cancel_handle();
        let mut made = tokio::task::spawn_blocking(move || session.write_each(&mutations));
        let made = match tokio::time::timeout(patience, &mut made).await {
            Ok(made) => made,
            Err(_) => {
                cancel.cancel();
                made.await
            }
        };
        let mut made = made.unwrap_or_default().into_iter();
        for (count, answers) in waiting {
            // A client that is gone hears nothing; its changes are made all the same.
            let _ = answers.send(made.by_ref().take(count).collect());
        }
    }
}
