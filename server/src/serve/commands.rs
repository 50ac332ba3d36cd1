//! The commands: one table, and how each is run.

mod audience;
mod connection;
mod member;
mod statement;
mod subscribe;

pub(super) use subscribe::Subscriptions;

use super::Service;
use super::access::Credentials;
use super::audit::Entries;
use super::client::{Asked, Client};
use crate::resp::{Reply, Words};
use muster_engine::Snapshot;
use muster_engine::catalog::AudienceRecord;
use musterdb::{Changed, Mutation, QueryErrorKind, Role, Session, TableSchema};
use serde_json::json;
use std::fmt::Display;
use std::sync::Arc;

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
    /// The fewest words after the name, and the most.
    pub(super) arity: (usize, Option<usize>),
}

/// How a command is run.
#[derive(Debug)]
pub(super) enum Run {
    /// At once, in microseconds; it may find that it has to wait.
    Now(fn(&mut Call<'_>) -> Done),
    /// At once where the password is known, and otherwise when it was looked at: who the client is changes before what follows is begun.
    Login(fn(&mut Call<'_>) -> Done),
    /// Under a permit, of which there are so many.
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
    /// The present.
    pub(super) snapshot: &'c Snapshot,
    /// What the client may do.
    pub(super) role: Option<Role>,
    pub(super) arguments: Words<'c>,
    /// True where nobody waits for the thread.
    pub(super) may_wait: bool,
}

/// The code of what would hold more memory than it may.
const OUT_OF_MEMORY: &str = "OOM";

pub(super) type Done = Result<(), Refusal>;

/// Why a command has no answer here.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is to be asked where it may wait. Nothing was replied.
    Waits,
    /// It is to be asked again when this password was found to be right. Nothing was replied.
    LogsIn(Credentials),
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
            musterdb::Error::Query { kind, .. } => code_of(*kind),
            error if error.is_cancelled() => return Refusal::cancelled(),
            error if error.is_out_of_memory() => OUT_OF_MEMORY,
            _ => "ERR",
        };
        Refusal::Error { code, message: format!("{error}{place}") }
    }

    fn cancelled() -> Refusal {
        let message = "the statement took too long and was cancelled; nothing changed";
        Refusal::Error { code: "TIMEOUT", message: message.into() }
    }
}

/// The code of what a statement was refused for.
fn code_of(kind: QueryErrorKind) -> &'static str {
    match kind {
        QueryErrorKind::ReadOnly => "READONLY",
        QueryErrorKind::Forbidden => "NOPERM",
        _ => "ERR",
    }
}

impl From<muster_engine::Error> for Refusal {
    fn from(error: muster_engine::Error) -> Refusal {
        match error {
            muster_engine::Error::Cancelled => Refusal::cancelled(),
            error @ muster_engine::Error::OutOfMemory { .. } => {
                Refusal::Error { code: OUT_OF_MEMORY, message: error.to_string() }
            }
            error => Refusal::new(error),
        }
    }
}

/// All commands, by name.
#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &[
    command("AUDIENCES", "table key", "audience", Run::Statement(audience::audiences), "The audiences that a member is in"),
    command("AUTH", "[username] password", "connection", Run::Login(connection::auth), "Says who this client is"),
    command("CLIENT", "subcommand [argument ...]", "connection", Run::Now(connection::client), "ID, GETNAME, SETNAME, SETINFO, INFO, REPLY ON of this connection"),
    command("COMMAND", "[subcommand] [name ...]", "server", Run::Now(connection::command), "The commands: COUNT, LIST, INFO, DOCS"),
    command("CONFIG", "subcommand [name ...]", "server", Run::Now(connection::config), "GET: settings that tools of Redis ask for"),
    command("CONTAINS", "audience key [key ...]", "audience", Run::Now(audience::contains), "1 where the member with a key is in an audience, else 0; an array for several keys"),
    command("COUNT", "audience", "audience", Run::Now(audience::count), "The number of members of an audience"),
    command("DEL", "table key", "member", Run::Write(member::del, Said::Rows), "Removes a member: the number removed"),
    command("ECHO", "text", "connection", Run::Now(connection::echo), "The text"),
    command("EVENT", "table column value [column value ...]", "member", Run::Write(member::event, Said::Rows), "Adds a row, an order or a visit: 1, or 0 where its key was there already"),
    command("EXECUTE", "name [param ...]", "statement", Run::Statement(statement::execute), "Runs a prepared statement"),
    command("EXPLAIN", "text [param ...]", "statement", Run::Statement(statement::explain), "How a SELECT is answered"),
    command("GET", "table key [column ...]", "member", Run::Now(member::get), "A member's values by column; null where there is none"),
    command("HELLO", "[protover] [AUTH username password] [SETNAME clientname]", "connection", Run::Login(connection::hello), "The server, and the version of the protocol from now on"),
    command("INFO", "[section ...]", "server", Run::Now(connection::info), "Figures of the server"),
    command("MEMBERS", "audience [AFTER cursor] [LIMIT count]", "audience", Run::Statement(audience::members), "A page of an audience's keys, and the cursor of the next: null at the end"),
    command("OVERLAP", "audience audience [audience ...]", "audience", Run::Statement(audience::overlap), "What audiences have in common, in pairs"),
    command("PING", "[text]", "connection", Run::Now(connection::ping), "PONG, or the text"),
    command("PREPARE", "name text", "statement", Run::Now(statement::prepare), "Keeps a statement with $1, $2, ... under a name, for this connection"),
    command("PROFILE", "audience column [column ...]", "audience", Run::Statement(audience::profile), "The values of columns within an audience, with their lift"),
    command("QUIT", "", "connection", Run::Now(connection::quit), "Ends the connection"),
    command("RESET", "", "connection", Run::Login(connection::reset), "The connection as it was when it began"),
    command("SELECT", "index", "connection", Run::Now(connection::select), "OK for 0: there is one database"),
    command("SET", "table key [column value ...]", "member", Run::Write(member::set, Said::Ok), "Gives a member values, and inserts it where there is none: OK"),
    command("SQL", "text [param ...]", "statement", Run::Statement(statement::sql), "Any statement, with $1, $2, ... for the parameters"),
    command("STATEMENT", "text [param ...]", "statement", Run::Statement(statement::statement), "Any statement, answered for programs: a map with columns, types and rows, or the error and its place"),
    command("SUBSCRIBE", "table [table ...]", "connection", Run::Now(subscribe::subscribe), "Tells of each commit that changes a table: its LSN"),
    command("TAG", "table key tag [tag ...]", "member", Run::Write(member::tag, Said::Rows), "Gives a member tags: the number of members found"),
    command("UNSUBSCRIBE", "[table ...]", "connection", Run::Now(subscribe::unsubscribe), "Tells no more, of these tables or of all"),
    command("UNTAG", "table key tag [tag ...]", "member", Run::Write(member::untag, Said::Rows), "Takes tags from a member: the number of members found"),
];

/// The command of a name in any case.
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    let upper = |byte: &u8| byte.to_ascii_uppercase();
    let found = COMMANDS.binary_search_by(|command| command.name.bytes().cmp(name.iter().map(upper)));
    found.ok().map(|at| &COMMANDS[at])
}

const fn command(
    name: &'static str,
    syntax: &'static str,
    group: &'static str,
    run: Run,
    summary: &'static str,
) -> Command {
    Command { name, syntax, summary, group, run, arity: arity(syntax) }
}

const fn arity(syntax: &str) -> (usize, Option<usize>) {
    let syntax = syntax.as_bytes();
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

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// The command of a request.
pub(super) fn find_of(words: Words<'_>) -> Option<&'static Command> {
    find(words.get(0).unwrap_or_default())
}

/// What became of a request.
pub(super) enum Answered {
    /// It was replied to.
    Yes,
    /// Nothing was replied: it is to be asked where it may wait.
    Waits,
    /// Nothing was replied: it is to be asked again when this password was found to be right.
    LogsIn(Credentials),
}

/// Answers a request if that takes no waiting.
pub(super) fn at_once(
    service: &Service,
    (client, reply): (&mut Client, &mut Reply),
    snapshot: &Snapshot,
    role: Option<Role>,
    words: Words<'_>,
) -> Answered {
    let command = find_of(words);
    let mut call = Call { service, client, reply, snapshot, role, arguments: words.from(1), may_wait: false };
    if call.begins(words, command) {
        let done = match command.map(|command| &command.run) {
            Some(Run::Now(run) | Run::Login(run)) => run(&mut call),
            _ => Err(Refusal::Waits),
        };
        match done {
            Err(Refusal::Waits) => return Answered::Waits,
            Err(Refusal::LogsIn(credentials)) => return Answered::LogsIn(credentials),
            done => refused(service, call.reply, done),
        }
    }
    call.client.noted.at_once(command, call.reply.error.take());
    Answered::Yes
}

/// Answers a request that may wait.
pub(super) fn waiting(
    service: &Service,
    (client, reply): (&mut Client, &mut Reply),
    words: Words<'_>,
    command: Option<&'static Command>,
) {
    let snapshot = service.database.engine().snapshot();
    let role = service.access.role(client, &snapshot);
    let arguments = words.from(1);
    let mut call = Call { service, client, reply, snapshot: &snapshot, role, arguments, may_wait: true };
    if call.begins(words, command) {
        let done = match command.map(|command| &command.run) {
            Some(Run::Now(run) | Run::Statement(run)) => run(&mut call),
            _ => Ok(()),
        };
        refused(service, call.reply, done);
    }
    call.client.noted.answered(command, call.reply.error.take());
}

/// Makes the changes of some requests as one group in their client's session, and answers each.
pub(super) fn write(service: &Service, (client, reply): (&mut Client, &mut Reply), requests: &[Asked]) {
    let (verdicts, mutations) = changes(service, (client, reply), requests);
    let role = service.access.role(client, &service.database.engine().snapshot());
    let answers = client.session(service, role.unwrap_or(Role::Read)).write_each(&mutations);
    changed(service, (client, reply), requests, verdicts, answers);
}

/// What some requests change, in their order, of those that can be run; of each whether it can.
pub(super) fn changes(
    service: &Service,
    (client, reply): (&mut Client, &mut Reply),
    requests: &[Asked],
) -> (Vec<Done>, Vec<Mutation>) {
    let snapshot = service.database.engine().snapshot();
    let role = service.access.role(client, &snapshot);
    let mut mutations = Vec::with_capacity(requests.len());
    let verdict = |(request, command): &Asked| {
        let (words, mut scratch) = (request.words(), Reply::new());
        scratch.protocol = reply.protocol;
        let (client, reply) = (&mut *client, &mut scratch);
        let arguments = words.from(1);
        let call = Call { service, client, reply, snapshot: &snapshot, role, arguments, may_wait: true };
        call.may_begin(words, *command).inspect_err(|why| call.denied(words, why))?;
        let Some(Command { run: Run::Write(change, _), .. }) = command else { return Err(Refusal::Waits) };
        mutations.push(change(&call)?);
        Ok(())
    };
    (requests.iter().map(verdict).collect(), mutations)
}

/// Answers requests by what became of their changes.
pub(super) fn changed(
    service: &Service,
    (client, reply): (&mut Client, &mut Reply),
    requests: &[Asked],
    verdicts: Vec<Done>,
    answers: Vec<musterdb::Result<Changed>>,
) {
    let (mut answers, mut entries) = (answers.into_iter(), Entries::default());
    for ((request, command), verdict) in requests.iter().zip(verdicts) {
        let done = verdict.and_then(|()| match answers.next() {
            Some(Ok(Changed { inserted, updated, deleted })) => {
                let rows = inserted + updated + deleted;
                client.noted.rows_written += rows;
                if service.audit.is_some() {
                    entries.add_write(client, request.words(), rows);
                }
                match command.map(|command| &command.run) {
                    Some(Run::Write(_, Said::Ok)) => reply.ok(),
                    _ => reply.integer(rows as i64),
                }
                Ok(())
            }
            Some(Err(error)) => Err(Refusal::of_statement(&error, "")),
            None => Err(Refusal::new("the writer left without an answer")),
        });
        refused(service, reply, done);
        client.noted.answered(*command, reply.error.take());
    }
    if let Some(audit) = &service.audit {
        audit.write(entries.lines());
    }
}

impl Call<'_> {
    /// Whether a request can be run; where it cannot, that was replied.
    fn begins(&mut self, words: Words<'_>, command: Option<&'static Command>) -> bool {
        let may = self.may_begin(words, command).inspect_err(|why| self.denied(words, why));
        let begins = may.is_ok();
        refused(self.service, self.reply, may);
        begins
    }

    /// Writes down what this client was not allowed to do.
    fn denied(&self, words: Words<'_>, why: &Refusal) {
        if let (Some(audit), Refusal::Error { code: "NOPERM", message }) = (&self.service.audit, why) {
            let command = find_of(words).map(|command| command.name);
            let mut entries = Entries::default();
            entries.add(self.client, "denied", json!({ "command": command, "error": message }));
            audit.write(entries.lines());
        }
    }

    /// Whether a request can be run by this client.
    fn may_begin(&self, words: Words<'_>, command: Option<&'static Command>) -> Done {
        let is_open = |command: &Command| ["AUTH", "HELLO", "QUIT", "RESET"].contains(&command.name);
        if self.role.is_none() && !command.is_some_and(is_open) {
            return Err(Refusal::Error { code: "NOAUTH", message: "Authentication required.".into() });
        }
        let Some(command) = command else { return Err(unknown(words)) };
        let (name, (least, most)) = (command.name, command.arity);
        if self.arguments.len() < least || most.is_some_and(|most| self.arguments.len() > most) {
            return Err(Refusal::new(format!(
                "wrong number of arguments for '{}' command: it is {}",
                name.to_lowercase(),
                format!("{name} {}", command.syntax).trim_end()
            )));
        }
        subscribe::check_mode(self.client, self.reply, name)?;
        if matches!(command.run, Run::Write(..)) && self.role < Some(Role::Write) {
            let message = format!(
                "this user may only read: {name} needs the role write, ask an admin for ALTER USER … ROLE write"
            );
            return Err(Refusal::Error { code: "NOPERM", message });
        }
        Ok(())
    }
}

fn unknown(words: Words<'_>) -> Refusal {
    let name = String::from_utf8_lossy(words.get(0).unwrap_or_default()).chars().take(64).collect::<String>();
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
        if code == OUT_OF_MEMORY {
            service.metrics.out_of_memory.one();
        }
        reply.error(code, &message);
    }
}

impl<'c> Call<'c> {
    /// An argument that is a text.
    pub(super) fn text(&self, at: usize) -> Result<&'c str, Refusal> {
        let bytes = self.arguments.get(at).unwrap_or_default();
        std::str::from_utf8(bytes).map_err(|error| {
            let (nth, byte) = (at + 1, error.valid_up_to() + 1);
            Refusal::new(format!("argument {nth} is not valid UTF-8 (from its byte {byte} on)"))
        })
    }

    /// The session of the client, in its role.
    pub(super) fn session(&mut self) -> &mut Session {
        self.client.session(self.service, self.role.unwrap_or(Role::Read))
    }

    /// The audience that an argument names.
    pub(super) fn audience(&self, at: usize) -> Result<Arc<AudienceRecord>, Refusal> {
        let name = self.text(at)?;
        self.service.audiences.named(self.snapshot, name).ok_or_else(|| {
            let advice = "SQL \"SHOW AUDIENCES\" names those there are";
            Refusal::new(format!("there is no audience \"{name}\": {advice}"))
        })
    }

    /// The table that an argument names.
    pub(super) fn table(&self, at: usize) -> Result<Arc<TableSchema>, Refusal> {
        let name = self.text(at)?;
        let advice = "SQL \"SHOW TABLES\" names those there are";
        self.snapshot
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
        let arity = |name: &str| find(name.as_bytes()).map(|command| command.arity);
        assert_eq!(arity("CONTAINS"), Some((2, None)));
        assert_eq!(arity("COUNT"), Some((1, Some(1))));
        assert_eq!(arity("MEMBERS"), Some((1, Some(5))));
        assert_eq!(arity("QUIT"), Some((0, Some(0))));
        assert_eq!(arity("EVENT"), Some((3, None)));
    }
}
