//! Large changes are carried out by a thread that lets questions go first. The committer whose turn it is hands the writer
//! over with all that waits; small changes he carries out himself, which saves two switches of threads.

use super::write::{Request, Seated, Writer, WriterSeat};
use super::{Database, pool};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock, Weak};

/// Rows from which on a group of changes is handed over: some tenths of a millisecond.
const ROWS_MIN: usize = 100;

/// Takes groups of changes to the thread, where there is one.
#[derive(Default)]
pub(super) struct Relay(OnceLock<Sender<Group>>);

/// Changes, and the writer to carry them out.
pub(super) struct Group {
    pub(super) writer: Option<Writer>,
    pub(super) requests: Vec<Arc<Request>>,
}

impl Relay {
    /// Hands a group over; it comes back where it is small or where nobody takes it.
    pub(super) fn hand_over(&self, group: Group) -> Option<Group> {
        let rows: usize = group.requests.iter().fold(0, |rows, request| rows.saturating_add(request.rows()));
        match self.0.get() {
            Some(sender) if rows >= ROWS_MIN => sender.send(group).err().map(|unsent| unsent.0),
            _ => Some(group),
        }
    }
}

impl Database {
    pub(super) fn begin_relay(self: &Arc<Self>) -> std::io::Result<()> {
        let (sender, groups) = channel();
        let (database, seat) = (Arc::downgrade(self), Arc::clone(&self.writer));
        let thread = std::thread::Builder::new().name("muster-writer".into());
        thread.spawn(move || work(&groups, &database, &seat))?;
        // Where upkeep was begun before, there is a thread already; this one ends with its sender.
        let _ = self.relay.0.set(sender);
        Ok(())
    }
}

fn work(groups: &Receiver<Group>, database: &Weak<Database>, seat: &WriterSeat) {
    pool::step_back();
    while let Ok(Group { writer, requests }) = groups.recv() {
        let mut seated = Seated::of(seat, writer);
        // Those who wait have the database; it is let go before they hear, so that it ends with them and not here.
        let answers = database.upgrade().map(|database| database.answers(&mut seated, &requests));
        for (request, answer) in requests.iter().zip(answers.unwrap_or_default()) {
            request.hear(answer);
        }
    }
}
