//! Long answers go through a pager: the screen shows one page, and the reader turns it.
//!
//! What fits on the screen is written as it is. Once it does not, the pager is started and given everything, from the
//! first line on. A pager that cannot be started is done without; one that is left early takes nothing more, which is no
//! error.

use musterdb::Cancel;
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};

/// The default: keeps colours, ends by itself on a short text, leaves the text on the screen, cuts long lines.
const PAGER_DEFAULT: &str = "less -RFXS";

/// The size of a terminal, in cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Screen {
    /// The terminal's size now; `None` where it does not say.
    pub(super) fn now() -> Option<Screen> {
        let (width, height) = crossterm::terminal::size().ok()?;
        (width > 0 && height > 0).then_some(Screen { width: width.into(), height: height.into() })
    }
}

/// The user's pager: `MUSTER_PAGER`, `PAGER`, or the default. An empty one means none.
pub(super) fn command() -> Option<String> {
    let of = |name| std::env::var(name).ok();
    let pager = of("MUSTER_PAGER").or_else(|| of("PAGER")).unwrap_or_else(|| PAGER_DEFAULT.to_owned());
    (!pager.trim().is_empty()).then_some(pager)
}

/// A writer for one answer. What is written after a cancellation is dropped.
pub(super) struct Paged<'a> {
    out: &'a mut dyn Write,
    cancel: Cancel,
    /// Where pages are turned: how many lines fit, and with what. `None` writes through.
    pages: Option<(Screen, String)>,
    held: Vec<u8>,
    lines: usize,
    pager: Option<Child>,
}

impl<'a> Paged<'a> {
    /// A writer that turns pages where there are some.
    pub(super) fn new(out: &'a mut dyn Write, cancel: Cancel, pages: Option<(Screen, String)>) -> Paged<'a> {
        Paged { out, cancel, pages, held: Vec::new(), lines: 0, pager: None }
    }

    /// Writes what is held, and waits until the reader has left the pager.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&std::mem::take(&mut self.held))?;
        if let Some(mut pager) = self.pager.take() {
            drop(pager.stdin.take());
            pager.wait()?;
        }
        self.out.flush()
    }

    fn start_pager(&mut self, command: &str) -> io::Result<()> {
        self.out.flush()?;
        let mut words = command.split_whitespace();
        let mut pager = Command::new(words.next().unwrap_or_default());
        pager.args(words).stdin(Stdio::piped());
        // The answer is UTF-8, whatever the locale makes less believe.
        if std::env::var_os("LESSCHARSET").is_none() {
            pager.env("LESSCHARSET", "utf-8");
        }
        self.pager = pager.spawn().ok();
        let held = std::mem::take(&mut self.held);
        self.deliver(&held)
    }

    fn deliver(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(pager) = &mut self.pager else { return self.out.write_all(bytes) };
        let Some(input) = &mut pager.stdin else { return Ok(()) };
        if input.write_all(bytes).is_err() {
            pager.stdin = None;
        }
        Ok(())
    }
}

impl Write for Paged<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Ok(bytes.len());
        }
        let Some((screen, _)) = &self.pages else {
            self.deliver(bytes)?;
            return Ok(bytes.len());
        };
        self.held.extend_from_slice(bytes);
        self.lines += bytes.iter().filter(|byte| **byte == b'\n').count();
        // The last line of the screen is the prompt's.
        if self.lines >= screen.height
            && let Some((_, command)) = self.pages.take()
        {
            self.start_pager(&command)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(command: &str, text: &str) -> String {
        let mut out = Vec::new();
        let screen = Screen { width: 80, height: 3 };
        let mut paged = Paged::new(&mut out, Cancel::default(), Some((screen, command.to_owned())));
        text.split_inclusive('\n').for_each(|line| paged.write_all(line.as_bytes()).unwrap());
        paged.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_fits_needs_no_pager_and_what_does_not_survives_a_missing_one() {
        assert_eq!(written("no-such-pager", "a\nb\n"), "a\nb\n");
        let long: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert_eq!(written("no-such-pager --option", &long), long);
    }

    #[cfg(unix)]
    #[test]
    fn a_pager_takes_all_of_it_and_may_leave_early() {
        let long = "line\n".repeat(100_000);
        // `true` reads nothing: its end of the pipe is closed long before all is written.
        assert_eq!(written("true", &long), "");
    }

    #[test]
    fn nothing_follows_a_cancellation() {
        let mut out = Vec::new();
        let cancel = Cancel::default();
        let mut paged = Paged::new(&mut out, cancel.clone(), None);
        paged.write_all(b"before").unwrap();
        cancel.cancel();
        paged.write_all(b"after").unwrap();
        paged.finish().unwrap();
        assert_eq!(out, b"before");
    }
}
