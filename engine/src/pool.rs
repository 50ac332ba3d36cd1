//! The threads that questions share: one for each processor, each kept on its own; and those that let them go first.
//!
//! A question of a millisecond is over before the scheduler corrects a bad placement, and a virtual machine's kernel often
//! wakes a thread on the processor of the one that woke it: it takes an idle processor that its host has set aside for a
//! busy one. On such a machine every fifth question ran on one processor alone; with threads kept in place none does.

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::Cell;
use std::sync::OnceLock;

/// The pool; `None` where there is one processor, or the system gives no threads: the asking thread works alone then.
pub(crate) fn pool() -> Option<&'static ThreadPool> {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    POOL.get_or_init(build).as_ref()
}

/// The processor that this thread runs on, where the system says so.
pub(crate) fn processor() -> Option<usize> {
    placement::processor()
}

/// Lets this thread, for good, come after those that answer questions: where both want a processor it gets a quarter of it.
/// Where the system has no such thing, it is a thread as any other.
pub(crate) fn step_back() {
    placement::step_back();
}

thread_local! {
    static HOME: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The processor that this thread of the pool is kept on.
pub(crate) fn home() -> Option<usize> {
    HOME.get()
}

fn build() -> Option<ThreadPool> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if threads < 2 {
        return None;
    }
    let processors = placement::processors();
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|number| format!("muster-{number}"))
        .start_handler(move |number| {
            // Where a quota gives fewer threads than there are processors, the scheduler knows better which are free.
            if processors.len() == threads && placement::stay_on(processors[number]) {
                HOME.set(Some(processors[number]));
            }
        })
        .build()
        .ok()
}

#[cfg(target_os = "linux")]
mod placement {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

    /// The processors that this thread may run on, which are the process's where nobody bound it.
    pub(super) fn processors() -> Vec<usize> {
        let Ok(allowed) = sched_getaffinity(None) else { return Vec::new() };
        (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect()
    }

    pub(super) fn processor() -> Option<usize> {
        Some(sched_getcpu())
    }

    pub(super) fn step_back() {
        // Weights go by 1.25 a step. The system takes this thread for the process that is named.
        const NICENESS: i32 = 5;
        let _ = rustix::process::setpriority_process(None, NICENESS);
    }

    /// Keeps this thread on a processor. Where the system refuses (false), it stays where it may: slower, never wrong.
    pub(super) fn stay_on(processor: usize) -> bool {
        let mut only = CpuSet::new();
        only.set(processor);
        sched_setaffinity(None, &only).is_ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod placement {
    pub(super) fn processors() -> Vec<usize> {
        Vec::new()
    }

    pub(super) fn processor() -> Option<usize> {
        None
    }

    pub(super) fn step_back() {}

    pub(super) fn stay_on(_: usize) -> bool {
        false
    }
}
