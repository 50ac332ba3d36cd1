//! What runs for clients, and who sees to it that it ends: with its time, or soon after its client is gone.
//!
//! - Work is cancelled only while it is among what runs: whoever takes it from there is not cancelled afterwards.
//! - Nothing waits for anything else while it has the lock, and nothing is logged.
//! - It ends no work by itself: what is cancelled gives up where it looks for that.

use super::Service;
use super::metrics::Late;
use musterdb::Cancel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often it is looked at. What is over is told to end each time: each statement takes its own cancellation with it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks at nothing before the looking stops: a server with nothing to do sleeps.
const IDLE_LOOKS: u32 = 50;

/// How long a statement goes on whose client says no more: it may have closed its side only, as a script does that waits for the
/// answer.
const GONE_AFTER: Duration = Duration::from_millis(500);

/// The statements that run.
#[derive(Default)]
pub(super) struct Running {
    work: Mutex<AllWork>,
    begun: Notify,
}

#[derive(Default)]
struct AllWork {
    next: u64,
    by_number: HashMap<u64, Work>,
    is_looked_at: bool,
}

struct Work {
    peer: SocketAddr,
    /// The client's connection, where the work is for one that has to be there.
    socket: Option<socket2::Socket>,
    /// Since when it says no more.
    silent_since: Option<Instant>,
    is_abandoned: bool,
    deadline: Instant,
    is_late: bool,
    cancel: Cancel,
}

/// Work that is seen to until this is dropped; nobody cancels it afterwards.
pub(super) struct Seen<'r> {
    running: &'r Running,
    number: u64,
}

impl Drop for Seen<'_> {
    fn drop(&mut self) {
        let work = self.running.lock().by_number.remove(&self.number);
        // Its socket is closed without the lock.
        drop(work);
    }
}

impl Running {
    /// Work that is cancelled after a deadline, and when the client behind a socket is gone.
    pub(super) fn begin(
        &self,
        peer: SocketAddr,
        socket: Option<socket2::Socket>,
        deadline: Instant,
        cancel: Cancel,
    ) -> Seen<'_> {
        let mut work = self.lock();
        let number = work.next;
        work.next += 1;
        let begun =
            Work { peer, socket, silent_since: None, is_abandoned: false, deadline, is_late: false, cancel };
        work.by_number.insert(number, begun);
        if !std::mem::replace(&mut work.is_looked_at, true) {
            self.begun.notify_one();
        }
        Seen { running: self, number }
    }

    fn lock(&self) -> MutexGuard<'_, AllWork> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees to what runs, as long as the server does.
pub(super) async fn see_to(service: Arc<Service>) {
    loop {
        service.running.begun.notified().await;
        let mut idle = 0;
        while idle < IDLE_LOOKS {
            tokio::time::sleep(LOOK_EVERY).await;
            let mut ended = Vec::new();
            {
                let mut all = service.running.lock();
                idle = if all.by_number.is_empty() { idle + 1 } else { 0 };
                all.is_looked_at = idle < IDLE_LOOKS;
                let now = Instant::now();
                ended.extend(all.by_number.values_mut().flat_map(|work| work.look(now)));
            }
            for end in ended {
                end.tell(&service);
            }
        }
    }
}

/// Why work was told to end.
enum End {
    Late(SocketAddr),
    Abandoned(SocketAddr),
}

impl End {
    fn tell(self, service: &Service) {
        match self {
            End::Late(peer) => {
                service.metrics.late(Late::Statement).one();
                service.journal.late_statement(peer);
            }
            End::Abandoned(peer) => {
                service.metrics.abandoned.one();
                service.journal.abandoned(peer);
            }
        }
    }
}

impl Work {
    /// Cancels it where it is over; why, the first time.
    fn look(&mut self, now: Instant) -> impl Iterator<Item = End> + use<> {
        if self.silent_since.is_none() && self.socket.as_ref().is_some_and(says_no_more) {
            self.silent_since = Some(now);
        }
        let is_late = now >= self.deadline;
        let late = (is_late && !std::mem::replace(&mut self.is_late, true)).then_some(End::Late(self.peer));
        let is_abandoned = self.silent_since.is_some_and(|since| now - since >= GONE_AFTER);
        let abandoned = (is_abandoned && !std::mem::replace(&mut self.is_abandoned, true))
            .then_some(End::Abandoned(self.peer));
        if is_late || is_abandoned {
            self.cancel.cancel();
        }
        late.into_iter().chain(abandoned)
    }
}

/// True of a client that has closed its side, whatever it sent before that is not read yet.
fn says_no_more(socket: &socket2::Socket) -> bool {
    #[cfg(target_os = "linux")]
    let closed = PollFlags::RDHUP;
    #[cfg(not(target_os = "linux"))]
    let closed = PollFlags::empty();
    let mut polled = [PollFd::new(socket, closed)];
    // Errors and ends of both sides are always told.
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|told| told > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{Shutdown, TcpListener, TcpStream};

    #[test]
    fn who_has_closed_says_no_more_also_behind_bytes_that_nobody_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = socket2::Socket::from(listener.accept().unwrap().0);
        assert!(!says_no_more(&socket));
        client.write_all(b"PING\r\n").unwrap();
        assert!(!says_no_more(&socket));
        #[cfg(target_os = "linux")]
        {
            client.shutdown(Shutdown::Write).unwrap();
            assert!(says_no_more(&socket));
        }
        client.shutdown(Shutdown::Both).unwrap();
        drop(client);
        let until = Instant::now() + Duration::from_secs(5);
        while !says_no_more(&socket) {
            assert!(Instant::now() < until);
        }
    }
}
