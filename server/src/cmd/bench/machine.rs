//! What the machine gives: memory bandwidth, and how much anonymous memory this process holds.

use std::time::Instant;

/// The buffer that is streamed: far beyond any cache.
const BUFFER_BYTES: usize = 1 << 30;

/// Passes over the buffer; the best one counts, the others were disturbed.
const PASSES: usize = 5;

/// How many threads answer questions, and the bytes a second that they read from memory when they do nothing else.
///
/// Cost: a gigabyte of memory and about a second.
pub(super) fn memory_bandwidth() -> (usize, f64) {
    let threads = rayon::current_num_threads();
    // Ones, not zeros: untouched zero pages would all be the same page, and would come from the cache.
    let buffer = vec![1u64; BUFFER_BYTES / 8];
    let share = buffer.len().div_ceil(threads);
    let mut best = f64::INFINITY;
    for _ in 0..PASSES {
        let started = Instant::now();
        let sum: u64 = std::thread::scope(|scope| {
            let readers: Vec<_> =
                buffer.chunks(share).map(|part| scope.spawn(|| part.iter().sum::<u64>())).collect();
            readers.into_iter().map(|reader| reader.join().unwrap_or(0)).sum()
        });
        best = best.min(started.elapsed().as_secs_f64());
        assert_eq!(std::hint::black_box(sum), buffer.len() as u64, "every word was read");
    }
    (threads, BUFFER_BYTES as f64 / best)
}

/// The anonymous resident memory of this process, where the system says so (Linux).
pub(super) fn anonymous_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What this process has had written to disks so far, where the system says so (Linux).
pub(super) fn written_bytes() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}
