//! The commands: one table, and how each is run.

mod audience;
mod connection;
mod member;
mod statement;

use super::Service;
use super::client::Client;
use crate::resp::{Reply, Request};
use muster_engine::Snapshot;
use muster_engine::catalog::AudienceRecord;
use musterdb::{Changed, Mutation, QueryErrorKind, TableSchema};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Something a client can ask for.
#[derive(Debug)]
pub(super) struct Command {
    /// In capitals, as it is written in docs; requests may write it in any case.
    pub(super) name: &'static str,
    /// What follows the name: words in brackets may be left out, `...` repeats the word before.
    pub(super) syntax: &'static str,
    pub(super) summary: &'static str,
    pub(super) group: &'static str,
    pub(super) run: Run,
}

/// How a command is run.
#[derive(Debug)]
pub(super) enum Run {
    /// At once, in microseconds; it may find that it has to wait.
    Now(fn(&mut Call<'_>) -> Done),
    /// On a thread that may wait, one of so many.
    Statement(fn(&mut Call<'_>) -> Done),
    /// A change of rows, made together with those before and after it.
    Write(fn(&Call<'_>) -> Result<Mutation, Refusal>, Said),
}

/// What a change answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said {
    /// `OK`: what clients of Redis expect of its SET.
    Ok,
    /// How many rows were changed.
    Rows,
}

/// A command that is being run.
pub(super) struct Call<'c> {
    pub(super) service: &'c Service,
    pub(super) client: &'c mut Client,
    pub(super) reply: &'c mut Reply,
    pub(super) arguments: Vec<&'c [u8]>,
    /// True on a thread that may wait.
    pub(super) may_wait: bool,
}

pub(super) type Done = Result<(), Refusal>;

/// Why a command has no answer here.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is to be asked on a thread that may wait. Nothing was replied.
    Waits,
    /// A code in capitals, which clients go by, and a sentence.
    Error { code: &'static str, message: String },
}

impl Refusal {
    pub(super) fn new(message: impl Display) -> Refusal {
        Refusal::Error { code: "ERR", message: message.to_string() }
    }

    /// Of a statement: with the place to blame.
    pub(super) fn of_statement(error: &musterdb::Error, sql: &str) -> Refusal {
        let place = match error {
            musterdb::Error::Query { span: Some(span), .. } => {
                let before = sql.get(..span.start).map_or(span.start, |before| before.chars().count());
                format!(" (at character {})", before + 1)
            }
            _ => String::new(),
        };
        let code = match error {
            musterdb::Error::Query { kind: QueryErrorKind::ReadOnly, .. } => "READONLY",
            error if error.is_cancelled() => return Refusal::cancelled(),
            error if error.is_out_of_memory() => "OOM",
            _ => "ERR",
        };
        Refusal::Error { code, message: format!("{error}{place}") }
    }

    fn cancelled() -> Refusal {
        let message = "the statement took too long and was cancelled; nothing changed";
        Refusal::Error { code: "TIMEOUT", message: message.into() }
    }
}

impl From<muster_engine::Error> for Refusal {
    fn from(error: muster_engine::Error) -> Refusal {
        match error {
            muster_engine::Error::Cancelled => Refusal::cancelled(),
            error @ muster_engine::Error::OutOfMemory { .. } => {
                Refusal::Error { code: "OOM", message: error.to_string() }
            }
            error => Refusal::new(error),
        }
    }
}

/// All commands, by name.
#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &[
    Command { name: "AUDIENCES", syntax: "table key", group: "audience", run: Run::Statement(audience::audiences), summary: "The audiences that a member is in" },
    Command { name: "CLIENT", syntax: "subcommand [argument ...]", group: "connection", run: Run::Now(connection::client), summary: "ID, GETNAME, SETNAME, SETINFO, INFO, REPLY ON of this connection" },
    Command { name: "COMMAND", syntax: "[subcommand] [name ...]", group: "server", run: Run::Now(connection::command), summary: "The commands: COUNT, LIST, INFO, DOCS" },
    Command { name: "CONFIG", syntax: "subcommand [name ...]", group: "server", run: Run::Now(connection::config), summary: "GET: settings that tools of Redis ask for" },
    Command { name: "CONTAINS", syntax: "audience key [key ...]", group: "audience", run: Run::Now(audience::contains), summary: "1 where the member with a key is in an audience, else 0; an array for several keys" },
    Command { name: "COUNT", syntax: "audience", group: "audience", run: Run::Now(audience::count), summary: "The number of members of an audience" },
    Command { name: "DEL", syntax: "table key", group: "member", run: Run::Write(member::del, Said::Rows), summary: "Removes a member: the number removed" },
    Command { name: "ECHO", syntax: "text", group: "connection", run: Run::Now(connection::echo), summary: "The text" },
    Command { name: "EVENT", syntax: "table column value [column value ...]", group: "member", run: Run::Write(member::event, Said::Rows), summary: "Adds a row, an order or a visit: 1, or 0 where its key was there already" },
    Command { name: "EXECUTE", syntax: "name [param ...]", group: "statement", run: Run::Statement(statement::execute), summary: "Runs a prepared statement" },
    Command { name: "EXPLAIN", syntax: "text [param ...]", group: "statement", run: Run::Statement(statement::explain), summary: "How a SELECT is answered" },
    Command { name: "GET", syntax: "table key [column ...]", group: "member", run: Run::Now(member::get), summary: "A member's values by column; null where there is none" },
    Command { name: "HELLO", syntax: "[protover] [AUTH username password] [SETNAME clientname]", group: "connection", run: Run::Now(connection::hello), summary: "The server, and the version of the protocol from now on" },
    Command { name: "INFO", syntax: "[section ...]", group: "server", run: Run::Now(connection::info), summary: "Figures of the server" },
    Command { name: "MEMBERS", syntax: "audience [AFTER cursor] [LIMIT count]", group: "audience", run: Run::Statement(audience::members), summary: "A page of an audience's keys, and the cursor of the next: null at the end" },
    Command { name: "OVERLAP", syntax: "audience audience [audience ...]", group: "audience", run: Run::Statement(audience::overlap), summary: "What audiences have in common, in pairs" },
    Command { name: "PING", syntax: "[text]", group: "connection", run: Run::Now(connection::ping), summary: "PONG, or the text" },
    Command { name: "PREPARE", syntax: "name text", group: "statement", run: Run::Now(statement::prepare), summary: "Keeps a statement with $1, $2, ... under a name, for this connection" },
    Command { name: "PROFILE", syntax: "audience column [column ...]", group: "audience", run: Run::Statement(audience::profile), summary: "The values of columns within an audience, with their lift" },
    Command { name: "QUIT", syntax: "", group: "connection", run: Run::Now(connection::quit), summary: "Ends the connection" },
    Command { name: "RESET", syntax: "", group: "connection", run: Run::Now(connection::reset), summary: "The connection as it was when it began" },
    Command { name: "SELECT", syntax: "index", group: "connection", run: Run::Now(connection::select), summary: "OK for 0: there is one database" },
    Command { name: "SET", syntax: "table key [column value ...]", group: "member", run: Run::Write(member::set, Said::Ok), summary: "Gives a member values, and inserts it where there is none: OK" },
    Command { name: "SQL", syntax: "text [param ...]", group: "statement", run: Run::Statement(statement::sql), summary: "Any statement, with $1, $2, ... for the parameters" },
    Command { name: "STATEMENT", syntax: "text [param ...]", group: "statement", run: Run::Statement(statement::statement), summary: "Any statement, answered for programs: a map with columns, types and rows, or the error and its place" },
    Command { name: "TAG", syntax: "table key tag [tag ...]", group: "member", run: Run::Write(member::tag, Said::Rows), summary: "Gives a member tags: the number of members found" },
    Command { name: "UNTAG", syntax: "table key tag [tag ...]", group: "member", run: Run::Write(member::untag, Said::Rows), summary: "Takes tags from a member: the number of members found" },
];

/// The command of a name in any case.
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    let upper = |byte: &u8| byte.to_ascii_uppercase();
    let found = COMMANDS.binary_search_by(|command| command.name.bytes().cmp(name.iter().map(upper)));
    found.ok().map(|at| &COMMANDS[at])
}

impl Command {
    /// The fewest words after the name, and the most.
    pub(super) const fn arity(&self) -> (usize, Option<usize>) {
        let syntax = self.syntax.as_bytes();
        let (mut least, mut most, mut depth, mut repeats, mut at) = (0, 0, 0usize, false, 0);
        while at < syntax.len() {
            let begins = syntax[at].is_ascii_alphanumeric() && (at == 0 || !is_word(syntax[at - 1]));
            match syntax[at] {
                b'[' => depth += 1,
                b']' => depth -= 1,
                b'.' => repeats = true,
                _ if begins => {
                    least += (depth == 0) as usize;
                    most += 1;
                }
                _ => {}
            }
            at += 1;
        }
        (least, if repeats { None } else { Some(most) })
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Answers a request if that takes no waiting; false, and nothing replied, where it does.
pub(super) fn at_once(
    service: &Service,
    (client, reply): (&mut Client, &mut Reply),
    request: &Request,
    command: Option<&'static Command>,
) -> bool {
    let call = match called(service, (client, reply), request, command) {
        Ok(call) => call,
        Err(()) => return true,
    };
    let (Some(Command { run: Run::Now(run), .. }), mut call) = (command, call) else { return false };
    match run(&mut call) {
        Err(Refusal::Waits) => false,
        done => {
            refused(service, call.reply, done);
            true
        }
    }
}

/// Answers a request that may wait.
pub(super) fn waiting(
    service: &Service,
    (client, reply): (&mut Client, &mut Reply),
    request: &Request,
    command: Option<&'static Command>,
) {
    let Ok(mut call) = called(service, (client, reply), request, command) else { return };
    call.may_wait = true;
    let done = match command.map(|command| &command.run) {
        Some(Run::Now(run) | Run::Statement(run)) => run(&mut call),
        _ => Ok(()),
    };
    refused(service, call.reply, done);
}

/// Makes the changes of some requests as one group, and answers each.
pub(super) fn write(
    service: &Service,
    (client, reply): (&mut Client, &mut Reply),
    requests: &[(Request, Option<&'static Command>)],
) {
    let mut mutations: Vec<Result<Mutation, Option<Refusal>>> = Vec::with_capacity(requests.len());
    for (request, command) in requests {
        let mut scratch = Reply::new();
        let call = called(service, (&mut *client, &mut scratch), request, *command);
        mutations.push(match (call, command) {
            (Ok(call), Some(Command { run: Run::Write(change, _), .. })) => change(&call).map_err(Some),
            // The wrong number of words, which is said when its turn comes.
            _ => Err(None),
        });
    }
    let changes: Vec<Mutation> =
        mutations.iter().filter_map(|change| change.as_ref().ok()).cloned().collect();
    let mut changed = client.session(service).write_each(&changes).into_iter();
    for ((request, command), change) in requests.iter().zip(mutations) {
        let done = match change {
            Ok(_) => match changed.next() {
                Some(Ok(Changed { inserted, updated, deleted })) => {
                    match command.map(|command| &command.run) {
                        Some(Run::Write(_, Said::Ok)) => reply.ok(),
                        _ => reply.integer((inserted + updated + deleted) as i64),
                    }
                    Ok(())
                }
                Some(Err(error)) => Err(Refusal::of_statement(&error, "")),
                None => Err(Refusal::new("the writer left without an answer")),
            },
            Err(Some(refusal)) => Err(refusal),
            Err(None) => {
                let _ = called(service, (&mut *client, &mut *reply), request, *command);
                continue;
            }
        };
        refused(service, reply, done);
    }
}

/// A request that can be run; where it cannot, that was replied.
fn called<'c>(
    service: &'c Service,
    (client, reply): (&'c mut Client, &'c mut Reply),
    request: &'c Request,
    command: Option<&'static Command>,
) -> Result<Call<'c>, ()> {
    let arguments = request.arguments();
    let refusal = match command {
        None => unknown(request),
        Some(command) => {
            let (least, most) = command.arity();
            let fits = arguments.len() >= least && most.is_none_or(|most| arguments.len() <= most);
            if fits {
                return Ok(Call { service, client, reply, arguments, may_wait: false });
            }
            let (name, syntax) = (command.name, command.syntax);
            Refusal::new(format!(
                "wrong number of arguments for '{}' command: it is {}",
                name.to_lowercase(),
                format!("{name} {syntax}").trim_end()
            ))
        }
    };
    refused(service, reply, Err(refusal));
    Err(())
}

fn unknown(request: &Request) -> Refusal {
    let name = String::from_utf8_lossy(request.name()).chars().take(64).collect::<String>();
    let near = COMMANDS.iter().find(|command| {
        let (a, b) = (command.name.as_bytes(), name.to_ascii_uppercase());
        a.starts_with(b.as_bytes()) && !b.is_empty()
    });
    let advice = match near {
        Some(command) => format!("did you mean {}?", command.name),
        None => "COMMAND LIST names those there are, and SQL runs any statement".to_owned(),
    };
    Refusal::new(format!("unknown command '{name}', {advice}"))
}

fn refused(service: &Service, reply: &mut Reply, done: Done) {
    if let Err(Refusal::Error { code, message }) = done {
        service.errors.fetch_add(1, Ordering::Relaxed);
        reply.error(code, &message);
    }
}

impl<'c> Call<'c> {
    /// An argument that is a text.
    pub(super) fn text(&self, at: usize) -> Result<&'c str, Refusal> {
        let bytes = self.arguments.get(at).copied().unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|error| {
            let (nth, byte) = (at + 1, error.valid_up_to() + 1);
            Refusal::new(format!("argument {nth} is not valid UTF-8 (from its byte {byte} on)"))
        })
    }

    /// The present.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.service.database.engine().snapshot()
    }

    /// The audience that an argument names.
    pub(super) fn audience(&self, snapshot: &Snapshot, at: usize) -> Result<Arc<AudienceRecord>, Refusal> {
        let name = self.text(at)?;
        snapshot.audience_named(name).ok_or_else(|| {
            let advice = "SQL \"SHOW AUDIENCES\" names those there are";
            Refusal::new(format!("there is no audience \"{name}\": {advice}"))
        })
    }

    /// The table that an argument names.
    pub(super) fn table(&self, snapshot: &Snapshot, at: usize) -> Result<Arc<TableSchema>, Refusal> {
        let name = self.text(at)?;
        let advice = "SQL \"SHOW TABLES\" names those there are";
        snapshot
            .table_named(name)
            .ok_or_else(|| Refusal::new(format!("there is no table \"{name}\": {advice}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_any_case() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
        assert!(COMMANDS.iter().all(|command| find(command.name.as_bytes()).is_some()));
        assert_eq!(find(b"contains").map(|command| command.name), Some("CONTAINS"));
        assert!(find(b"contain").is_none() && find(b"").is_none());
    }

    #[test]
    fn arity_is_that_of_the_syntax() {
        let arity = |name: &str| find(name.as_bytes()).map(Command::arity);
        assert_eq!(arity("CONTAINS"), Some((2, None)));
        assert_eq!(arity("COUNT"), Some((1, Some(1))));
        assert_eq!(arity("MEMBERS"), Some((1, Some(5))));
        assert_eq!(arity("QUIT"), Some((0, Some(0))));
        assert_eq!(arity("EVENT"), Some((3, None)));
    }
}
