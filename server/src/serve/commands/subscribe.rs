//! Hearing of commits, in the shape that Redis's clients know from its channels.

use super::{Call, Done, Refusal};
use crate::resp::{Protocol, Reply};
use crate::serve::client::Client;
use muster_engine::database::Commit;
use musterdb::TableId;
use std::sync::Arc;
use tokio::sync::broadcast::Receiver;

/// What a client hears of.
#[derive(Default)]
pub(in crate::serve) struct Subscriptions {
    tables: Vec<(TableId, String)>,
    /// There is one where there are tables.
    commits: Option<Receiver<Arc<Commit>>>,
}

impl Subscriptions {
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The next commit; `None` where some were missed, for ever where nothing is listened to.
    pub(in crate::serve) async fn next(&mut self) -> Option<Arc<Commit>> {
        match &mut self.commits {
            Some(commits) => commits.recv().await.ok(),
            None => std::future::pending().await,
        }
    }

    /// Tells of a commit, of each table that it touched.
    pub(in crate::serve) fn tell(&self, commit: &Commit, reply: &mut Reply) {
        for (table, name) in &self.tables {
            if commit.tables.contains(table) {
                reply.push(3);
                reply.bulk(b"message");
                reply.bulk(name.as_bytes());
                reply.bulk(commit.lsn.to_string().as_bytes());
            }
        }
    }

    /// Tells of all tables where some commits were missed: each of them is included in this LSN.
    pub(in crate::serve) fn tell_all(&self, lsn: u64, reply: &mut Reply) {
        self.tell(&Commit { lsn, tables: self.tables.iter().map(|(table, _)| *table).collect() }, reply);
    }
}

/// Clients of the second version cannot tell replies from news, so they only hear of news once they listen.
pub(super) fn check_mode(client: &Client, reply: &Reply, command: &str) -> Done {
    let listens = reply.protocol == Protocol::Resp2 && !client.subscriptions.is_empty();
    match !listens || ["SUBSCRIBE", "UNSUBSCRIBE", "PING", "QUIT", "RESET"].contains(&command) {
        true => Ok(()),
        false => Err(Refusal::new(format!(
            "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            command.to_lowercase()
        ))),
    }
}

/// `SUBSCRIBE table [table ...]`
pub(super) fn subscribe(call: &mut Call<'_>) -> Done {
    let tables = (0..call.arguments.len()).map(|at| Ok((call.table(at)?.id, call.text(at)?.to_owned())));
    let tables = tables.collect::<Result<Vec<_>, Refusal>>()?;
    let service = call.service;
    let subscriptions = &mut call.client.subscriptions;
    subscriptions.commits.get_or_insert_with(|| service.commits.subscribe());
    for (id, name) in tables {
        if !subscriptions.tables.iter().any(|(_, known)| *known == name) {
            subscriptions.tables.push((id, name.clone()));
        }
        answer(call.reply, "subscribe", Some(&name), subscriptions.tables.len());
    }
    Ok(())
}

/// `UNSUBSCRIBE [table ...]`
pub(super) fn unsubscribe(call: &mut Call<'_>) -> Done {
    let names = (0..call.arguments.len()).map(|at| call.text(at).map(str::to_owned));
    let mut names = names.collect::<Result<Vec<_>, _>>()?;
    let subscriptions = &mut call.client.subscriptions;
    if names.is_empty() {
        names = subscriptions.tables.iter().map(|(_, name)| name.clone()).collect();
    }
    if names.is_empty() {
        answer(call.reply, "unsubscribe", None, 0);
    }
    for name in names {
        subscriptions.tables.retain(|(_, known)| *known != name);
        answer(call.reply, "unsubscribe", Some(&name), subscriptions.tables.len());
    }
    if subscriptions.tables.is_empty() {
        subscriptions.commits = None;
    }
    Ok(())
}

fn answer(reply: &mut Reply, kind: &str, name: Option<&str>, left: usize) {
    reply.push(3);
    reply.bulk(kind.as_bytes());
    match name {
        Some(name) => reply.bulk(name.as_bytes()),
        None => reply.null(),
    }
    reply.integer(left as i64);
}
