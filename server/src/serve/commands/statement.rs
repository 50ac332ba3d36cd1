//! Statements of the language, and how their values are replied.

use super::{Call, Done, Refusal};
use crate::resp::Reply;
use musterdb::{Outcome, Param, Value};

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

/// Runs a statement. Rows are an array: the columns' names first, then each row's values; anything else is the word that it is done.
pub(super) fn run(call: &mut Call<'_>, sql: &str, parameters: &[Param]) -> Done {
    let outcome = call.client.session(call.service).execute_with(sql, parameters);
    match outcome.map_err(|error| Refusal::of_statement(&error, sql))? {
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
