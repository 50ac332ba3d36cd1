//! `\watch`: a statement again and again, until Ctrl-C, an error, or as often as was asked.

use super::Shell;
use crate::failure::{Failure, Result};
use crate::interrupt;
use musterdb::Param;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The seconds between two times where nothing is said.
const SECONDS_DEFAULT: f64 = 2.0;
/// The shortest and the longest wait.
const SECONDS: std::ops::RangeInclusive<f64> = 0.05..=86_400.0;
/// How long Ctrl-C may have to wait.
const NAP: Duration = Duration::from_millis(20);

impl Shell<'_> {
    /// Repeats the last statement, the first time at once.
    pub(super) fn watch(&mut self, arguments: &str) -> Result<()> {
        let mut words = arguments.split_whitespace();
        let seconds = match words.next() {
            None => SECONDS_DEFAULT,
            Some(word) => (word.parse().ok().filter(|seconds| SECONDS.contains(seconds)))
                .ok_or_else(|| Failure::new("\\watch takes the seconds between two times, 0.05 to 86400"))?,
        };
        let times = match words.next() {
            None => u64::MAX,
            Some(word) => word.parse().map_err(|_| {
                Failure::new("\\watch takes a number of times behind the seconds, as in \\watch 2 10")
            })?,
        };
        let last = self.last.as_ref().map(|last| (last.sql.clone(), last.parameters.clone()));
        let Some((sql, parameters)) = last else {
            return Err(Failure::new("there is no statement to repeat yet: ask first, then \\watch"));
        };
        self.watching = true;
        let result = self.repeat(&sql, &parameters, Duration::from_secs_f64(seconds), times);
        self.watching = false;
        result
    }

    fn repeat(&mut self, sql: &str, parameters: &[Param], pause: Duration, times: u64) -> Result<()> {
        let cancel = self.answerer.cancel_handle();
        for time in 0..times {
            let began = Instant::now();
            if self.interactive {
                writeln!(self.out, "{} UTC, every {} s", time_of_day(), pause.as_secs_f64())?;
            }
            self.parameters = parameters.to_vec();
            self.answer(sql)?;
            self.out.flush()?;
            // Ctrl-C that came while the answer was written counts as well.
            let stopped = cancel.is_cancelled()
                || interrupt::cancels(&cancel, || {
                    while time + 1 < times && began.elapsed() < pause && !cancel.is_cancelled() {
                        std::thread::sleep(NAP.min(pause));
                    }
                    cancel.is_cancelled()
                });
            if stopped {
                cancel.reset();
                break;
            }
        }
        Ok(())
    }
}

/// The time of day in UTC, as `now()` has it.
fn time_of_day() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
