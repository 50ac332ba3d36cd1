//! Changing rows: one writer, whose changes become visible and durable together.
//!
//! Whoever has the writer takes all mutations that wait, resolves and applies them one after the other to a draft of the
//! state, logs them, syncs once, publishes the draft and tells all of them. Meanwhile others queue up: so many committers
//! share a sync.

use super::relay::Group;
use super::{Database, State};
use crate::control::{Cancel, Held};
use crate::mutation::{Changed, Mutation};
use crate::schema::TableId;
use crate::writer::Change;
use crate::writer::apply::apply;
use crate::writer::record;
use crate::writer::resolve::resolve;
use crate::{Error, Result, Snapshot};
use muster_storage::manifest::Lsn;
use muster_storage::wal::WalWriter;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often somebody who waits for the writer looks whether he is still to wait.
const PATIENCE: Duration = Duration::from_millis(20);

/// When a change that was acknowledged is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is acknowledged.
    #[default]
    Synced,
    /// Within [`super::RELAXED_WINDOW`] of that, and the time of the writes that are then under way. If the process or the
    /// machine dies before, the last changes are gone: always the last ones, each whole, never one before another that
    /// is kept. A synced change, a definition, an import or a checkpoint after it makes it durable at once.
    Relaxed,
}

/// What only the writer has.
pub(super) struct Writer {
    /// The end of the log; a database that is only read has none.
    pub(super) log: Option<WalWriter>,
}

impl Writer {
    /// Appends groups of changes to the log, each under an LSN of its own, and syncs them together unless they are to be durable
    /// later. The state gets to know of it.
    fn log(&mut self, state: &mut State, groups: &[Vec<Change>], durability: Durability) -> Result<()> {
        let log = self.log.as_mut().ok_or(muster_storage::Error::ReadOnly)?;
        let before = log.bytes_written();
        for changes in groups {
            state.lsn = Lsn(state.lsn.0 + 1);
            log.append(record::CHANGES, state.lsn, &record::encode(changes))?;
        }
        if durability == Durability::Synced {
            log.sync()?;
        }
        state.logged += log.bytes_written() - before;
        Ok(())
    }
}

/// Where the writer is when nobody has it.
pub(super) struct WriterSeat {
    writer: Mutex<Option<Writer>>,
    free: Condvar,
}

/// The writer, until it is dropped.
pub(super) struct Seated<'s> {
    seat: &'s WriterSeat,
    writer: Option<Writer>,
}

impl WriterSeat {
    pub(super) fn new(writer: Writer) -> WriterSeat {
        WriterSeat { writer: Mutex::new(Some(writer)), free: Condvar::new() }
    }

    fn seat(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the writer is free. Everything that was acknowledged is then durable, so that what is to be done, too,
    /// comes after it.
    pub(super) fn take(&self, cancel: &Cancel) -> Result<Seated<'_>> {
        let writer = self.take_unless(cancel, || false)?;
        self.synced(writer)
    }

    fn synced(&self, writer: Option<Writer>) -> Result<Seated<'_>> {
        let mut seated = Seated::of(self, writer);
        seated.log().map_or(Ok(()), WalWriter::sync)?;
        Ok(seated)
    }

    /// Makes durable what was acknowledged before it was, unless it is no more wanted.
    pub(super) fn sync(&self, done: impl Fn() -> bool) -> Result<()> {
        let writer = self.take_unless(&Cancel::default(), done)?;
        self.synced(writer).map(drop)
    }

    /// Waits until the writer is free, and ends it: the log is synced, closed, and somebody else's.
    pub(super) fn close(&self) {
        let seat = self.free.wait_while(self.seat(), |writer| writer.is_none());
        drop(seat.unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Waits until the writer is free, or until it is no more wanted.
    fn take_unless(&self, cancel: &Cancel, done: impl Fn() -> bool) -> Result<Option<Writer>> {
        let mut seat = self.seat();
        loop {
            if done() {
                return Ok(None);
            }
            // After a failure nobody knows what is on disk, and which LSNs are there.
            if seat.as_ref().and_then(|writer| writer.log.as_ref()).is_some_and(WalWriter::is_poisoned) {
                return Err(muster_storage::Error::Poisoned.into());
            }
            if let Some(writer) = seat.take() {
                return Ok(Some(writer));
            }
            cancel.check()?;
            seat = self.free.wait_timeout(seat, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// True once a sync of the log failed. Whoever has the writer at the moment has one that was well.
    pub(super) fn is_poisoned(&self) -> bool {
        self.seat().as_ref().and_then(|writer| writer.log.as_ref()).is_some_and(WalWriter::is_poisoned)
    }

    fn give_back(&self, writer: Option<Writer>) {
        if writer.is_some() {
            *self.seat() = writer;
            // All: those whose mutations were done by another look at that.
            self.free.notify_all();
        }
    }
}

impl Seated<'_> {
    pub(super) fn of(seat: &WriterSeat, writer: Option<Writer>) -> Seated<'_> {
        Seated { seat, writer }
    }

    /// Takes the writer along; it is to be given back.
    fn keep(mut self) -> Option<Writer> {
        self.writer.take()
    }

    /// The end of the log, of a database that is written.
    pub(super) fn log(&mut self) -> Option<&mut WalWriter> {
        self.writer.as_mut()?.log.as_mut()
    }
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        self.seat.give_back(self.writer.take());
    }
}

/// Mutations that wait for the writer.
#[derive(Default)]
pub(super) struct Queue(Mutex<Vec<Arc<Request>>>);

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Vec<Arc<Request>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One mutation that waits, and what came of it.
pub(super) struct Request {
    mutation: Mutation,
    now_micros: i64,
    durability: Durability,
    cancel: Cancel,
    answer: Mutex<Option<Result<Changed>>>,
}

impl Request {
    fn answer(&self) -> MutexGuard<'_, Option<Result<Changed>>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hear(&self, answer: Result<Changed>) {
        *self.answer() = Some(answer);
    }

    /// How many rows it changes, as far as that is known before it is tried.
    pub(super) fn rows(&self) -> usize {
        match &self.mutation {
            Mutation::Insert(insert) => insert.rows.len(),
            Mutation::Update(_) | Mutation::Delete(_) => usize::MAX,
        }
    }
}

/// The state that is about to be, and the changes that lead to it: one group an LSN.
pub(super) struct Draft {
    state: State,
    groups: Vec<Vec<Change>>,
    /// What the changes hold, of each statement or session that made some.
    held: Vec<Held>,
}

impl Draft {
    pub(super) fn of(state: &State) -> Draft {
        Draft { state: state.clone(), groups: Vec::new(), held: Vec::new() }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::of(Arc::new(self.state.clone()))
    }

    /// Bytes of a table's changes in memory, about.
    pub(super) fn bytes(&self, table: TableId) -> u64 {
        let layers = self.state.tables.get(&table).into_iter().flat_map(|table| &table.layers);
        layers.map(|layer| layer.bytes() as u64).sum()
    }

    /// Lets all changes be one group: they become durable together, under one LSN.
    pub(super) fn join(&mut self) {
        if self.groups.len() > 1 {
            self.groups = vec![std::mem::take(&mut self.groups).concat()];
        }
    }

    /// Applies a mutation whole, or leaves the draft as it was.
    pub(super) fn write(&mut self, mutation: &Mutation, now_micros: i64, cancel: &Cancel) -> Result<Changed> {
        let snapshot = Snapshot::of(Arc::new(self.state.clone())).at(now_micros);
        let (change, changed, held) = resolve(&snapshot, mutation, cancel)?;
        drop(snapshot);
        if change.is_empty() {
            return Ok(changed);
        }
        match self.held.last_mut() {
            Some(last) if last.is_of(cancel) => last.absorb(held)?,
            _ => self.held.push(held),
        }
        let Some(table) = self.state.tables.get_mut(&change.table) else {
            return Err(Error::Invalid(format!("there is no table {}", change.table.0)));
        };
        let mut next = (**table).clone();
        apply(&mut next, &change)?;
        *table = Arc::new(next);
        self.groups.push(vec![change]);
        Ok(changed)
    }
}

impl Database {
    /// Applies one mutation whole: on return it is visible to the next snapshot, and as durable as asked for.
    ///
    /// # Errors
    /// A value that does not fit its column, a key that is there already, NULL where none may be; then nothing changed.
    pub fn write(
        &self,
        mutation: &Mutation,
        now_micros: i64,
        durability: Durability,
        cancel: &Cancel,
    ) -> Result<Changed> {
        let mut changed = self.write_each(std::slice::from_ref(mutation), now_micros, durability, cancel);
        changed.pop().unwrap_or_else(|| Err(Error::Invalid("the writer left without an answer".into())))
    }

    /// [`Self::write`] of several mutations in their order, each whole and by itself: one that is refused leaves the others. They share
    /// a sync, with each other and with all who write meanwhile. There is an answer for each.
    pub fn write_each(
        &self,
        mutations: &[Mutation],
        now_micros: i64,
        durability: Durability,
        cancel: &Cancel,
    ) -> Vec<Result<Changed>> {
        if self.pressure.wait_for_room(cancel).is_err() {
            return mutations.iter().map(|_| Err(Error::Cancelled)).collect();
        }
        let mine = mutations.iter().map(|mutation| {
            let (mutation, cancel, answer) = (mutation.clone(), cancel.clone(), Mutex::new(None));
            Arc::new(Request { mutation, now_micros, durability, cancel, answer })
        });
        let mine: Vec<Arc<Request>> = mine.collect();
        self.queue.waiting().extend(mine.iter().cloned());
        let waited = self.answered(&mine, cancel);
        let unanswered = || match &waited {
            Ok(()) => Error::Invalid("the writer left without an answer".into()),
            Err(error) => lost(error),
        };
        mine.iter().map(|request| request.answer().take().unwrap_or_else(|| Err(unanswered()))).collect()
    }

    /// Waits until these requests are answered, by whoever has the writer.
    fn answered(&self, mine: &[Arc<Request>], cancel: &Cancel) -> Result<()> {
        let done = || mine.iter().all(|request| request.answer().is_some());
        let taken = match self.writer.take_unless(cancel, done) {
            Ok(taken) => taken,
            Err(error) => {
                let mut waiting = self.queue.waiting();
                waiting.retain(|waiting| {
                    let is_mine = mine.iter().any(|request| Arc::ptr_eq(waiting, request));
                    if is_mine {
                        waiting.hear(Err(lost(&error)));
                    }
                    !is_mine
                });
                drop(waiting);
                // Somebody has the others already, and comes to an answer.
                self.writer.take_unless(&Cancel::default(), done)?
            }
        };
        if taken.is_some() {
            let requests = std::mem::take(&mut *self.queue.waiting());
            if let Some(Group { writer, requests }) = self.relay.hand_over(Group { writer: taken, requests })
            {
                let mut seated = Seated::of(&self.writer, writer);
                let answers = self.answers(&mut seated, &requests);
                requests.iter().zip(answers).for_each(|(request, answer)| request.hear(answer));
            } else {
                let taken = self.writer.take_unless(&Cancel::default(), done)?;
                self.writer.give_back(taken);
            }
        }
        Ok(())
    }

    /// Does what waits, with one sync, or none where nobody waits for it.
    pub(super) fn answers(&self, seated: &mut Seated<'_>, requests: &[Arc<Request>]) -> Vec<Result<Changed>> {
        let mut draft = Draft::of(&self.state());
        let done: Vec<Result<Changed>> = requests
            .iter()
            .map(|request| draft.write(&request.mutation, request.now_micros, &request.cancel))
            .collect();
        let all_relaxed = requests.iter().all(|request| request.durability == Durability::Relaxed);
        let durability = if all_relaxed { Durability::Relaxed } else { Durability::Synced };
        let Err(error) = self.commit(&mut seated.writer, draft, durability) else { return done };
        let lost = || Error::Invalid(format!("the change could not be made durable: {error}"));
        done.into_iter().map(|done| done.and_then(|_| Err(lost()))).collect()
    }

    /// Logs a draft's changes, syncs them or leaves that to the keeper, and shows them to the next snapshot.
    fn commit(&self, writer: &mut Option<Writer>, mut draft: Draft, durability: Durability) -> Result<()> {
        if draft.groups.is_empty() {
            return Ok(());
        }
        let writer = writer.as_mut().ok_or_else(|| Error::Invalid("somebody else has the writer".into()))?;
        let durability = if self.keeper.is_there() { durability } else { Durability::Synced };
        writer.log(&mut draft.state, &draft.groups, durability)?;
        self.show_commit(draft.state);
        if durability == Durability::Relaxed {
            self.keeper.wake();
        }
        Ok(())
    }

    /// [`Self::commit`] of who has the writer.
    pub(super) fn commit_seated(&self, seated: &mut Seated<'_>, draft: Draft) -> Result<()> {
        self.commit(&mut seated.writer, draft, Durability::Synced)
    }

    /// Begins a transaction; waits for the one that is under way, until `cancel`.
    pub fn begin(self: &Arc<Self>, cancel: &Cancel) -> Result<Transaction> {
        self.pressure.wait_for_room(cancel)?;
        // A transaction may have the writer for long, and others' changes are not to wait for their sync meanwhile.
        let writer = self.writer.take(cancel)?.keep();
        let draft = Draft::of(&self.state());
        Ok(Transaction { database: Arc::clone(self), writer, draft })
    }
}

/// Why who waited for the writer does not get it, said once more.
fn lost(error: &Error) -> Error {
    match error {
        Error::Cancelled => Error::Cancelled,
        _ => muster_storage::Error::Poisoned.into(),
    }
}

/// Several mutations that become visible together, or not at all. Owns the writer until it ends: others wait to write,
/// nobody waits to read. Dropped without [`Self::commit`] it is as if nothing had been written.
pub struct Transaction {
    database: Arc<Database>,
    writer: Option<Writer>,
    draft: Draft,
}

impl Transaction {
    /// The present with the transaction's own writes.
    pub fn snapshot(&self) -> Snapshot {
        self.draft.snapshot()
    }

    /// Applies one mutation whole, visible to this transaction only.
    ///
    /// # Errors
    /// Those of [`Database::write`]; the mutations before stay.
    pub fn write(&mut self, mutation: &Mutation, now_micros: i64, cancel: &Cancel) -> Result<Changed> {
        self.draft.write(mutation, now_micros, cancel)
    }

    /// Makes all of it visible, in one LSN, and as durable as asked for.
    pub fn commit(mut self, durability: Durability) -> Result<()> {
        let mut draft = std::mem::replace(&mut self.draft, Draft::of(&self.database.state()));
        draft.join();
        self.database.commit(&mut self.writer, draft, durability)
    }

    /// Leaves everything as it was.
    pub fn rollback(self) {}
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.database.writer.give_back(self.writer.take());
    }
}
