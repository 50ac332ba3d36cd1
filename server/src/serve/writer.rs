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

/// Jobs that are done together.
#[derive(Default)]
struct Group {
    mutations: Vec<Mutation>,
    bytes: usize,
    /// Of whoever waits longest.
    deadline: Option<Instant>,
    /// How many changes are whose.
    waiting: Vec<(usize, oneshot::Sender<Answers>)>,
}

impl Group {
    /// Adds a job, or says that its time was over before it was begun.
    fn add(&mut self, job: Job, now: Instant) {
        if job.deadline <= now {
            let late = job.mutations.iter().map(|_| Err(muster_engine::Error::Cancelled.into()));
            // A client that is gone hears nothing.
            let _ = job.answers.send(late.collect());
            return;
        }
        self.waiting.push((job.mutations.len(), job.answers));
        self.mutations.extend(job.mutations);
        self.bytes += job.bytes;
        self.deadline = Some(self.deadline.map_or(job.deadline, |deadline| deadline.min(job.deadline)));
    }

    fn is_full(&self) -> bool {
        self.mutations.len() >= GROUP || self.bytes >= GROUP_BYTES
    }

    /// Makes its changes, and tells those who wait. Where that breaks off they hear that nobody is there.
    async fn make(self, database: &Database, memory: u64) {
        let (Some(deadline), is_shared) = (self.deadline, self.waiting.len() > 1) else { return };
        let Some((mutations, made)) = made(database, memory, self.mutations, deadline).await else { return };
        let (mut mutations, mut made) = (mutations.into_iter(), made.into_iter());
        let has_nothing = |answer: &musterdb::Result<Changed>| {
            answer.as_ref().is_err_and(musterdb::Error::is_out_of_memory)
        };
        for (count, hears) in self.waiting {
            let own: Vec<Mutation> = mutations.by_ref().take(count).collect();
            let mut answers: Answers = made.by_ref().take(count).collect();
            if is_shared && answers.iter().all(has_nothing) {
                let Some((_, again)) = self::made(database, memory, own, deadline).await else { continue };
                answers = again;
            }
            // Its changes are made, whether a client is there or not.
            let _ = hears.send(answers);
        }
    }
}

async fn make_all(database: Database, memory: u64, mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        let (mut group, mut next) = (Group::default(), Some(job));
        while let Some(job) = next {
            group.add(job, Instant::now());
            next = if group.is_full() { None } else { jobs.try_recv().ok() };
        }
        group.make(&database, memory).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use musterdb::{OnConflict, Value};
    use std::time::Duration;

    fn inserted(database: &Database, id: i64, note: &str) -> Mutation {
        let snapshot = database.engine().snapshot();
        let table = snapshot.table_named("members").unwrap();
        let columns = table.columns.iter().map(|column| column.id).collect();
        let row = vec![Value::Integer(id), Value::Text(note.into())];
        Mutation::Insert(musterdb::Insert {
            table: table.id,
            columns,
            rows: vec![row],
            conflict: OnConflict::Refuse,
        })
    }

    /// Whose time is over takes nobody else's, and who asks for more than there is leaves the others theirs.
    #[test]
    fn clients_of_a_group_do_not_end_each_others_changes() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path().join("db")).unwrap();
        let mut session = database.session();
        session.execute("CREATE TABLE members (id BIGINT PRIMARY KEY, note TEXT)").unwrap();
        let (now, long) = (Instant::now(), "x".repeat(1 << 20));
        let job = |ids: std::ops::Range<i64>, note: &str, deadline| {
            let (answers, answered) = oneshot::channel();
            let mutations = ids.map(|id| inserted(&database, id, note)).collect();
            (Job { mutations, bytes: 9, deadline, answers }, answered)
        };
        let later = now + Duration::from_secs(60);
        let (late, late_answers) = job(0..2, "", now);
        let (hog, hogs_answers) = job(10..26, &long, later);
        let (other, others_answers) = job(30..32, "", later + Duration::from_secs(1));
        let mut group = Group::default();
        for job in [late, hog, other] {
            group.add(job, now);
        }
        assert_eq!((group.deadline, group.waiting.len()), (Some(later), 2));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(group.make(&database, 16 << 20));
        let of = |answered: oneshot::Receiver<Answers>| answered.blocking_recv().unwrap();
        assert!(
            of(late_answers).iter().all(|answer| answer.as_ref().is_err_and(musterdb::Error::is_cancelled))
        );
        let hogs = of(hogs_answers);
        assert!(hogs[0].is_ok(), "{:?}", hogs[0]);
        assert!(hogs.iter().any(|answer| answer.as_ref().is_err_and(musterdb::Error::is_out_of_memory)));
        let others = of(others_answers);
        assert!(others.len() == 2 && others.iter().all(Result::is_ok), "{others:?}");
    }
}
