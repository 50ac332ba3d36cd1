//! Statements of the language, and how their values are replied.

use super::{Call, Done, Refusal};
use crate::resp::Reply;
use crate::serve::audit::Entries;
use crate::serve::journal;
use musterdb::{Outcome, Param, QueryErrorKind, Role, Span, TransactionState, Value};
use serde_json::json;

/// The most statements that a connection keeps under names.
const PREPARED_MAX: usize = 1_000;

/// `SQL text [param ...]`
pub(super) fn sql(call: &mut Call<'_>) -> Done {
    let text = call.text(0)?;
    let parameters = parameters(call)?;
    run(call, text, &parameters)
}

/// `EXPLAIN text [param ...]`
pub(super) fn explain(call: &mut Call<'_>) -> Done {
    let text = format!("EXPLAIN {}", call.text(0)?);
    let parameters = parameters(call)?;
    run(call, &text, &parameters)
}

/// `PREPARE name text`
pub(super) fn prepare(call: &mut Call<'_>) -> Done {
    let (name, text) = (call.text(0)?, call.text(1)?);
    if call.client.prepared.len() >= PREPARED_MAX && !call.client.prepared.contains_key(name) {
        return Err(Refusal::new(format!("a connection keeps at most {PREPARED_MAX} statements")));
    }
    call.client.prepared.insert(name.to_owned(), text.to_owned());
    call.reply.ok();
    Ok(())
}

/// `EXECUTE name [param ...]`
pub(super) fn execute(call: &mut Call<'_>) -> Done {
    let name = call.text(0)?;
    let Some(text) = call.client.prepared.get(name).cloned() else {
        let advice = "PREPARE keeps one, for its connection";
        return Err(Refusal::new(format!("there is no statement '{}': {advice}", name.escape_debug())));
    };
    let parameters = parameters(call)?;
    run(call, &text, &parameters)
}

fn parameters(call: &Call<'_>) -> Result<Vec<Param>, Refusal> {
    (1..call.arguments.len()).map(|at| call.text(at).map(Param::from)).collect()
}

/// Executes a statement, and writes down what it changed, or was not allowed to.
fn execute_audited(call: &mut Call<'_>, sql: &str, parameters: &[Param]) -> musterdb::Result<Outcome> {
    let session = call.session();
    let was_open = session.transaction() != TransactionState::None;
    let outcome = session.execute_with(sql, parameters);
    let ends = was_open && session.transaction() == TransactionState::None;
    let changes = session.needed_role() > Role::Read || ends;
    let (Some(audit), true) = (&call.service.audit, changes) else { return outcome };
    let (statement, mut entries) = (journal::shown(sql), Entries::default());
    match &outcome {
        Ok(Outcome::Done { message }) => {
            entries.add(call.client, "change", json!({ "statement": statement, "answer": message }));
        }
        Ok(Outcome::Rows { rows, .. }) => {
            entries.add(call.client, "change", json!({ "statement": statement, "rows": rows.len() }));
        }
        Err(musterdb::Error::Query { kind: QueryErrorKind::Forbidden, message, .. }) => {
            entries.add(call.client, "denied", json!({ "statement": statement, "error": message }));
        }
        Err(_) => {}
    }
    audit.write(entries.lines());
    outcome
}

/// Runs a statement. Rows are an array: the columns' names first, then each row's values; anything else is the word that it is done.
pub(super) fn run(call: &mut Call<'_>, sql: &str, parameters: &[Param]) -> Done {
    let outcome = execute_audited(call, sql, parameters);
    let outcome = outcome.map_err(|error| Refusal::of_statement(&error, sql))?;
    note(call, &outcome);
    match outcome {
        Outcome::Done { message } => call.reply.simple(&message),
        Outcome::Rows { columns, rows, .. } => {
            let most = call.service.limits.rows;
            if rows.len() > most {
                let advice = "ask for less with LIMIT, or page with MEMBERS";
                return Err(Refusal::new(format!(
                    "the answer has {} rows, more than {most}: {advice}",
                    rows.len()
                )));
            }
            call.reply.array(rows.len() + 1);
            call.reply.array(columns.len());
            columns.iter().for_each(|column| call.reply.bulk(column.name.as_bytes()));
            for row in rows {
                call.reply.array(row.len());
                row.iter().for_each(|one| value(call.reply, one));
            }
        }
    }
    Ok(())
}

/// What is known of a statement when it is done.
fn note(call: &mut Call<'_>, outcome: &Outcome) {
    let noted = &mut call.client.noted;
    noted.rows_written += outcome.rows_changed().unwrap_or(0);
    if let Outcome::Rows { rows, stats, .. } = outcome {
        (noted.answer.rows, noted.answer.stats) = (Some(rows.len() as u64), *stats);
    }
}

/// `STATEMENT text [param ...]`: a map that programs understand without knowing the statement. Every value is the text that SQL has
/// for it, or null, and reads back to the same value by its column's type.
pub(super) fn statement(call: &mut Call<'_>) -> Done {
    let sql = call.text(0)?;
    let parameters = parameters(call)?;
    let answered = execute_audited(call, sql, &parameters);
    if let Ok(outcome) = &answered {
        note(call, outcome);
    }
    let transaction = match call.session().transaction() {
        TransactionState::None => "none",
        TransactionState::Open => "open",
        TransactionState::Failed => "failed",
    };
    let most = call.service.limits.rows;
    let reply = &mut *call.reply;
    match answered {
        Ok(Outcome::Rows { columns, rows, stats }) if rows.len() <= most => {
            reply.map(5);
            field(reply, "transaction", transaction);
            reply.bulk(b"columns");
            reply.array(columns.len());
            for column in &columns {
                reply.array(2);
                reply.bulk(column.name.as_bytes());
                reply.bulk(column.data_type.to_string().as_bytes());
            }
            for (name, number) in [("chunks", stats.chunks), ("bytes", stats.bytes)] {
                reply.bulk(name.as_bytes());
                reply.integer(number as i64);
            }
            reply.bulk(b"rows");
            reply.array(rows.len());
            for row in rows {
                reply.array(row.len());
                for value in row {
                    match value {
                        Value::Null => reply.null(),
                        Value::Text(text) => reply.bulk(text.as_bytes()),
                        other => reply.bulk(other.to_string().as_bytes()),
                    }
                }
            }
        }
        Ok(Outcome::Rows { rows, .. }) => {
            let message = format!("the answer has {} rows, more than {most}", rows.len());
            refusal(reply, transaction, "ERR", &message, None, Some("ask for less with LIMIT"));
        }
        Ok(Outcome::Done { message }) => {
            reply.map(2);
            field(reply, "transaction", transaction);
            field(reply, "message", &message);
        }
        Err(musterdb::Error::Query { kind, message, span, suggestion }) => {
            let code = super::code_of(kind);
            refusal(reply, transaction, code, &message, span, suggestion.as_deref());
        }
        Err(error) => match Refusal::of_statement(&error, sql) {
            Refusal::Error { code, message } => refusal(reply, transaction, code, &message, None, None),
            other => return Err(other),
        },
    }
    Ok(())
}

/// Why there is no answer, and where in the text, in bytes.
fn refusal(
    reply: &mut Reply,
    transaction: &str,
    code: &str,
    message: &str,
    span: Option<Span>,
    suggestion: Option<&str>,
) {
    reply.error = Some(format!("{code} {message}"));
    reply.map(6);
    field(reply, "transaction", transaction);
    field(reply, "code", code);
    field(reply, "error", message);
    for (name, place) in [("start", span.map(|span| span.start)), ("end", span.map(|span| span.end))] {
        reply.bulk(name.as_bytes());
        match place {
            Some(byte) => reply.integer(byte as i64),
            None => reply.null(),
        }
    }
    reply.bulk(b"suggestion");
    match suggestion {
        Some(suggestion) => reply.bulk(suggestion.as_bytes()),
        None => reply.null(),
    }
}

fn field(reply: &mut Reply, name: &str, text: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(text.as_bytes());
}

/// Replies a value: numbers, booleans and sets as such, everything else as the text that SQL has for it.
pub(super) fn value(reply: &mut Reply, value: &Value) {
    match value {
        Value::Null => reply.null(),
        Value::Boolean(truth) => reply.boolean(*truth),
        Value::Integer(integer) => reply.integer(*integer),
        Value::Double(number) => reply.double(*number),
        Value::Text(text) => reply.bulk(text.as_bytes()),
        Value::Tags(tags) => {
            reply.set(tags.len());
            tags.iter().for_each(|tag| reply.bulk(tag.as_bytes()));
        }
        other => reply.bulk(other.to_string().as_bytes()),
    }
}
