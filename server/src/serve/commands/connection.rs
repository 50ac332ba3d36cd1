//! The connection itself, and the server: what clients of Redis ask before they ask anything else.

use super::{COMMANDS, Call, Command, Done, Refusal};
use crate::resp::Protocol;
use crate::serve::access::Credentials;
use crate::serve::audit::Entries;
use serde_json::json;
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// `PING [text]`
pub(super) fn ping(call: &mut Call<'_>) -> Done {
    let listens = call.reply.protocol == Protocol::Resp2 && !call.client.subscriptions.is_empty();
    match call.arguments.get(0) {
        text if listens => {
            call.reply.array(2);
            call.reply.bulk(b"pong");
            call.reply.bulk(text.unwrap_or_default());
        }
        Some(text) => call.reply.bulk(text),
        None => call.reply.bytes.extend_from_slice(b"+PONG\r\n"),
    }
    Ok(())
}

/// `ECHO text`
pub(super) fn echo(call: &mut Call<'_>) -> Done {
    call.reply.bulk(call.arguments.get(0).unwrap_or_default());
    Ok(())
}

/// `QUIT`
pub(super) fn quit(call: &mut Call<'_>) -> Done {
    call.client.leaves = true;
    call.reply.ok();
    Ok(())
}

/// `RESET`
pub(super) fn reset(call: &mut Call<'_>) -> Done {
    call.client.reset();
    call.reply.protocol = Protocol::Resp2;
    call.reply.simple("RESET");
    Ok(())
}

/// `SELECT index`
pub(super) fn select(call: &mut Call<'_>) -> Done {
    match call.text(0)?.parse::<i64>() {
        Ok(0) => call.reply.ok(),
        Ok(_) => return Err(Refusal::new("DB index is out of range: a server has one database, 0")),
        Err(_) => {
            return Err(Refusal::new(
                "value is not an integer or out of range: a SELECT of the language is SQL \"SELECT ...\"",
            ));
        }
    }
    Ok(())
}

/// `AUTH [username] password`
pub(super) fn auth(call: &mut Call<'_>) -> Done {
    let (user, password) = match call.arguments.len() {
        1 => ("default", 0),
        _ => (call.text(0)?, 1),
    };
    log_in(call, user, password)?;
    call.reply.ok();
    Ok(())
}

/// Lets a client in as a user, where the argument at `password` is its password and that is known.
fn log_in(call: &mut Call<'_>, user: &str, password: usize) -> Done {
    let password = call.arguments.get(password).unwrap_or_default();
    if call.snapshot.users().is_empty() {
        let advice = match call.role {
            Some(_) => "SQL \"CREATE USER name PASSWORD '...' ROLE admin\" makes the first",
            None => "the last was dropped, and the server has to be started anew",
        };
        return Err(Refusal::new(format!("AUTH called without any user in this database: {advice}")));
    }
    let known = call.snapshot.user_named(user).filter(|user| call.service.access.knows(user, password));
    if known.is_none() {
        let (user, password) = (user.to_owned(), password.to_vec());
        return Err(Refusal::LogsIn(Credentials { user, password }));
    }
    call.client.become_user(user.to_owned());
    if let Some(audit) = &call.service.audit {
        let mut entries = Entries::default();
        entries.add(call.client, "login", json!({}));
        audit.write(entries.lines());
    }
    Ok(())
}

/// `HELLO [protover [AUTH username password] [SETNAME clientname]]`
pub(super) fn hello(call: &mut Call<'_>) -> Done {
    let protocol = match call.arguments.get(0).map(|_| call.text(0)).transpose()? {
        None => call.reply.protocol,
        Some(version) => match version.parse::<i64>() {
            Ok(2) => Protocol::Resp2,
            Ok(3) => Protocol::Resp3,
            Ok(_) => {
                return Err(Refusal::Error {
                    code: "NOPROTO",
                    message: "unsupported protocol version".into(),
                });
            }
            Err(_) => return Err(Refusal::new("Protocol version is not an integer or out of range")),
        },
    };
    let (mut at, mut name, mut user) = (1, None, None);
    while at < call.arguments.len() {
        let option = call.text(at)?.to_ascii_uppercase();
        match (option.as_str(), call.arguments.len() - at) {
            ("SETNAME", 2..) => {
                name = Some(client_name(call.text(at + 1)?)?);
                at += 2;
            }
            ("AUTH", 3..) => {
                user = Some((call.text(at + 1)?, at + 2));
                at += 3;
            }
            _ => return Err(Refusal::new(format!("Syntax error in HELLO option '{option}'"))),
        }
    }
    match user {
        Some((user, password)) => log_in(call, user, password)?,
        None if call.role.is_none() => {
            let message = "HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
            return Err(Refusal::Error { code: "NOAUTH", message: message.into() });
        }
        None => {}
    }
    if let Some(name) = name {
        call.client.name = name;
    }
    call.reply.protocol = protocol;
    let reply = &mut *call.reply;
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"musterdb");
    reply.bulk(b"version");
    reply.bulk(env!("CARGO_PKG_VERSION").as_bytes());
    reply.bulk(b"proto");
    reply.integer(if protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(call.client.id as i64);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

/// A name that a line of CLIENT INFO can hold.
fn client_name(name: &str) -> Result<String, Refusal> {
    if name.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) && name.len() <= 256 {
        return Ok(name.to_owned());
    }
    Err(Refusal::new("Client names cannot contain spaces, newlines or special characters."))
}

/// `CLIENT subcommand [argument ...]`
pub(super) fn client(call: &mut Call<'_>) -> Done {
    let subcommand = call.text(0)?.to_ascii_uppercase();
    let words = call.arguments.len();
    match (subcommand.as_str(), words) {
        ("ID", 1) => call.reply.integer(call.client.id as i64),
        ("GETNAME", 1) if call.client.name.is_empty() => call.reply.null(),
        ("GETNAME", 1) => call.reply.bulk(call.client.name.as_bytes()),
        ("SETNAME", 2) => {
            call.client.name = client_name(call.text(1)?)?;
            call.reply.ok();
        }
        ("SETINFO", 3) => {
            let value = client_name(call.text(2)?)?;
            match call.text(1)?.to_ascii_lowercase().as_str() {
                "lib-name" => call.client.library.0 = value,
                "lib-ver" => call.client.library.1 = value,
                other => return Err(Refusal::new(format!("Unrecognized option '{other}'"))),
            }
            call.reply.ok();
        }
        ("INFO", 1) => {
            let (client, protocol) = (&*call.client, call.reply.protocol);
            let (library, version) = &client.library;
            let protocol = if protocol == Protocol::Resp3 { 3 } else { 2 };
            let line = format!(
                "id={} addr={} name={} user={} db=0 resp={protocol} lib-name={library} lib-ver={version}\n",
                client.id,
                client.peer,
                client.name,
                client.user().unwrap_or("default")
            );
            call.reply.verbatim(&line);
        }
        ("NO-EVICT" | "NO-TOUCH", 2) => call.reply.ok(),
        ("REPLY", 2) if call.text(1)?.eq_ignore_ascii_case("on") => call.reply.ok(),
        _ => {
            return Err(Refusal::new(format!("unknown subcommand '{subcommand}'. Try COMMAND DOCS CLIENT.")));
        }
    }
    Ok(())
}

/// `CONFIG GET name`: what redis-benchmark asks.
pub(super) fn config(call: &mut Call<'_>) -> Done {
    if !call.text(0)?.eq_ignore_ascii_case("get") {
        return Err(Refusal::new("settings are given when the server is started: muster serve --help"));
    }
    let known = |name: &str| match name.to_ascii_lowercase().as_str() {
        "save" => Some(("save", "")),
        "appendonly" => Some(("appendonly", "yes")),
        _ => None,
    };
    let names = (1..call.arguments.len()).map(|at| call.text(at)).collect::<Result<Vec<_>, _>>()?;
    let found: Vec<(&str, &str)> = names.into_iter().filter_map(known).collect();
    call.reply.map(found.len());
    for (name, value) in found {
        call.reply.bulk(name.as_bytes());
        call.reply.bulk(value.as_bytes());
    }
    Ok(())
}

/// `INFO [section ...]`
pub(super) fn info(call: &mut Call<'_>) -> Done {
    let wanted = (0..call.arguments.len()).map(|at| Ok(call.text(at)?.to_ascii_lowercase()));
    let wanted = wanted.collect::<Result<Vec<String>, Refusal>>()?;
    let all = wanted.is_empty()
        || wanted.iter().any(|name| ["all", "default", "everything"].contains(&name.as_str()));
    let (service, snapshot) = (call.service, call.snapshot);
    let metrics = &service.metrics;
    let tables = snapshot.tables();
    let rows: u64 = tables.iter().map(|table| snapshot.rows(table.id)).sum();
    let sections: [(&str, Vec<(&str, String)>); 4] = [
        (
            "Server",
            vec![
                ("musterdb_version", env!("CARGO_PKG_VERSION").to_owned()),
                ("process_id", std::process::id().to_string()),
                ("tcp_port", service.address.port().to_string()),
                ("uptime_in_seconds", service.started.elapsed().as_secs().to_string()),
            ],
        ),
        (
            "Clients",
            vec![
                ("connected_clients", service.clients.load(Ordering::Relaxed).to_string()),
                ("maxclients", service.limits.clients.to_string()),
            ],
        ),
        (
            "Stats",
            vec![
                ("total_connections_received", metrics.connections.get().to_string()),
                ("total_commands_processed", metrics.answered().to_string()),
                ("total_error_replies", metrics.errors().to_string()),
                ("rejected_connections", metrics.refused.get().to_string()),
            ],
        ),
        (
            "Database",
            vec![
                ("lsn", snapshot.lsn().to_string()),
                ("tables", tables.len().to_string()),
                ("rows", rows.to_string()),
                ("audiences", snapshot.audiences().len().to_string()),
            ],
        ),
    ];
    let mut text = String::new();
    for (name, lines) in
        sections.iter().filter(|(name, _)| all || wanted.contains(&name.to_ascii_lowercase()))
    {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let _ = write!(text, "# {name}\r\n");
        lines.iter().for_each(|(key, value)| {
            let _ = write!(text, "{key}:{value}\r\n");
        });
    }
    call.reply.verbatim(&text);
    Ok(())
}

/// `COMMAND [COUNT | LIST | INFO [name ...] | DOCS [name ...]]`
pub(super) fn command(call: &mut Call<'_>) -> Done {
    let subcommand = call.arguments.get(0).map(|_| call.text(0)).transpose()?.unwrap_or("INFO");
    let named: Vec<Option<&Command>> = match call.arguments.len() {
        0 | 1 => COMMANDS.iter().map(Some).collect(),
        words => (1..words).map(|at| super::find(call.arguments.get(at).unwrap_or_default())).collect(),
    };
    match subcommand.to_ascii_uppercase().as_str() {
        "COUNT" => call.reply.integer(COMMANDS.len() as i64),
        "LIST" => {
            call.reply.array(COMMANDS.len());
            COMMANDS.iter().for_each(|command| call.reply.bulk(command.name.to_lowercase().as_bytes()));
        }
        "INFO" => {
            call.reply.array(named.len());
            named.into_iter().for_each(|command| describe(call, command));
        }
        "DOCS" => {
            let known: Vec<&Command> = named.into_iter().flatten().collect();
            call.reply.map(known.len());
            known.into_iter().for_each(|command| document(call, command));
        }
        other => {
            return Err(Refusal::new(format!("unknown subcommand '{other}'. Try COMMAND DOCS COMMAND.")));
        }
    }
    Ok(())
}

/// An entry of COMMAND INFO: the name, how many words, and seven things that are of Redis's keys.
fn describe(call: &mut Call<'_>, command: Option<&Command>) {
    let reply = &mut *call.reply;
    let Some(command) = command else { return reply.null() };
    let (least, most) = command.arity;
    let words = least as i64 + 1;
    reply.array(10);
    reply.bulk(command.name.to_lowercase().as_bytes());
    reply.integer(if most == Some(least) { words } else { -words });
    reply.set(1);
    reply.simple(if matches!(command.run, super::Run::Write(..)) { "write" } else { "readonly" });
    (0..3).for_each(|_| reply.integer(0));
    (0..3).for_each(|_| reply.set(0));
    reply.array(0);
}

/// An entry of COMMAND DOCS, as redis-cli shows it while a command is typed.
fn document(call: &mut Call<'_>, command: &Command) {
    let reply = &mut *call.reply;
    reply.bulk(command.name.to_lowercase().as_bytes());
    reply.map(4);
    for (key, text) in [("summary", command.summary), ("since", "0.1.0"), ("group", command.group)] {
        reply.bulk(key.as_bytes());
        reply.bulk(text.as_bytes());
    }
    // `[key ...]` repeats the word before it.
    let words = command.syntax.replace("...", "").replace(['[', ']'], " ");
    let mut names: Vec<&str> = words.split_whitespace().collect();
    names.dedup();
    reply.bulk(b"arguments");
    reply.array(names.len());
    let (least, most) = command.arity;
    for (at, name) in names.iter().enumerate() {
        let optional = at >= least;
        let multiple = most.is_none() && at + 1 == names.len();
        reply.map(3 + usize::from(optional || multiple));
        for (key, text) in [("name", *name), ("type", "string"), ("display_text", *name)] {
            reply.bulk(key.as_bytes());
            reply.bulk(text.as_bytes());
        }
        if optional || multiple {
            reply.bulk(b"flags");
            reply.set(usize::from(optional) + usize::from(multiple));
            optional.then(|| reply.simple("optional"));
            multiple.then(|| reply.simple("multiple"));
        }
    }
}
