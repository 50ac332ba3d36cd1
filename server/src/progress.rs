//! The progress bar of imports, generators and verification: how much, rate, time to go. Only on a terminal, and on stderr.

use crate::figures::thousands;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use muster_engine::control::Progress;
use std::io::IsTerminal;
use std::time::Instant;

/// The bar counts shares of the input in these steps: rows in all are often unknown.
const STEPS: f64 = 10_000.0;

/// A bar that is not there unless stderr is a terminal. It leaves the screen when dropped.
pub(crate) struct Bar {
    bar: ProgressBar,
    started: Instant,
}

impl Bar {
    /// A bar for the work on `what`.
    pub(crate) fn new(what: &str) -> Bar {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(STEPS as u64), target);
        if let Ok(style) =
            ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3} % {msg}, {eta} to go")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what.to_owned());
        Bar { bar, started: Instant::now() }
    }

    /// Shows how far it is.
    pub(crate) fn show(&self, progress: Progress) {
        let rate = progress.rows as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let phase = if progress.phase == "rows" { String::new() } else { format!(" ({})", progress.phase) };
        self.bar.set_position((progress.share.clamp(0.0, 1.0) * STEPS) as u64);
        self.bar.set_message(format!(
            "{} rows{phase}, {} rows/s",
            thousands(progress.rows),
            thousands(rate as u64)
        ));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
