//! Who changed what: a line of JSON for each change, login and refusal, in a file that is only added to.
//!
//! A change is written down when it is durable and before its client hears of it. Values are not: they are the members' own, and the
//! log is read by others than the database is. Of a statement the text is, without passwords and parameters.

use super::client::Client;
use super::journal;
use crate::failure::{Failure, Result};
use crate::resp::Words;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub(crate) struct Audit {
    path: PathBuf,
    file: Mutex<File>,
}

impl Audit {
    /// Opens the file, which is made where there is none.
    pub(crate) fn open(path: &Path) -> Result<Audit> {
        let mut options = File::options();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| {
            Failure::new(format!("cannot write the audit log {}: {error}", path.display()))
        })?;
        Ok(Audit { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Adds lines that belong together, all or none but for a crash.
    pub(super) fn write(&self, lines: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(lines.as_bytes()) {
            journal::audit_failed(&self.path, &error);
        }
    }
}

/// Lines for the audit log.
#[derive(Default)]
pub(super) struct Entries(String);

impl Entries {
    /// Something that a client did, or was not allowed to do: `event` says which, `what` says more.
    pub(super) fn add(&mut self, client: &Client, event: &str, what: Value) {
        let at = format!("{:.6}", jiff::Timestamp::now());
        let mut line = json!({ "at": at, "event": event, "user": client.user(), "peer": client.peer.to_string(), "client": client.id });
        if let (Value::Object(line), Value::Object(what)) = (&mut line, what) {
            line.extend(what);
        }
        self.0 += &line.to_string();
        self.0.push('\n');
    }

    /// A change of a row by a command: which row, and of what.
    pub(super) fn add_write(&mut self, client: &Client, words: Words<'_>, rows: u64) {
        let word = |at| words.get(at).map(String::from_utf8_lossy).unwrap_or_default();
        let command = word(0).to_uppercase();
        let mut what = json!({ "command": command, "table": word(1), "rows": rows });
        let every = |from: usize, step| (from..words.len()).step_by(step).map(word).collect::<Vec<_>>();
        match command.as_str() {
            "EVENT" => what["columns"] = json!(every(2, 2)),
            "SET" => (what["key"], what["columns"]) = (json!(word(2)), json!(every(3, 2))),
            "TAG" | "UNTAG" => (what["key"], what["tags"]) = (json!(word(2)), json!(every(3, 1))),
            _ => what["key"] = json!(word(2)),
        }
        self.add(client, "change", what);
    }

    pub(super) fn lines(&self) -> &str {
        &self.0
    }
}
