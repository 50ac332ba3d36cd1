//! Tasks done by the asking thread and, where that pays, by those of the pool.

use crate::Result;
use crate::pool::{home, pool, processor};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// A question that takes less than this alone is not shared: until a sleeping thread has its processor it would be answered,
/// and then it would have to be waited for.
const WAKE_NANOS: f64 = 60_000.0;

/// The guard of a lock that nobody has. A panic of somebody who had it left nothing half-done.
fn free(lock: &Mutex<()>) -> Option<MutexGuard<'_, ()>> {
    match lock.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Does all tasks on this thread and, where they are expected to take long enough and the pool is free, on its threads; each
/// takes the next task that nobody has. Returns what every thread gathered, this one's first.
///
/// `step` says whether its thread goes on. This thread works instead of waiting: it is awake and has its processor, where a
/// thread of the pool takes as long to wake as a small question takes to answer.
pub(super) fn share<T: Send>(
    tasks: &[Range<u32>],
    nanos: f64,
    begin: impl Fn() -> T + Sync,
    step: impl Fn(&mut T, Range<u32>) -> Result<bool> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut state = begin();
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            match step(&mut state, task.clone()) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // The others stop after the task they are at.
                    next.store(tasks.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(state)
    };
    // One question at a time has the pool. Another would wait for it to be free, perhaps for long: it goes on alone.
    static SHARED: Mutex<()> = Mutex::new(());
    let pool = if tasks.len() < 2 || nanos < WAKE_NANOS { None } else { pool() };
    let (Some(pool), Some(_shared)) = (pool, free(&SHARED)) else { return Ok(vec![work()?]) };
    let others = Mutex::new(Vec::with_capacity(pool.current_num_threads()));
    let here = processor();
    let mine = pool.in_place_scope(|scope| {
        scope.spawn_broadcast(|_, _| {
            // The thread that is kept on this one's processor would only take turns with it.
            let rival = home().is_some() && home() == here;
            if !rival && next.load(Ordering::Relaxed) < tasks.len() {
                let state = work();
                others.lock().unwrap_or_else(PoisonError::into_inner).push(state);
            }
        });
        work()
    });
    let mut all = vec![mine?];
    for other in others.into_inner().unwrap_or_else(PoisonError::into_inner) {
        all.push(other?);
    }
    Ok(all)
}
