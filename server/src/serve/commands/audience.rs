//! Who is in an audience, how many, and what sets have in common.

use super::{Call, Done, Refusal};
use crate::serve::commands::statement;
use muster_engine::catalog::{AudienceKind, AudienceRecord};
use muster_engine::exec::{Count, Members, Scope, are_true, evaluate, project};
use muster_engine::member::Key;
use muster_engine::{Snapshot, TableId};
use musterdb::{DataType, RoaringBitmap};
use std::sync::Arc;

/// Members of a page, unless the client says.
const PAGE: usize = 1_000;

/// The most that a page has.
const PAGE_MAX: usize = 100_000;

/// Chunks that are looked through at a time for a page.
const PAGE_CHUNKS: u32 = 64;

/// `CONTAINS audience key [key ...]`
///
/// A static audience is looked up at once; the condition of another is asked of these members only.
pub(super) fn contains(call: &mut Call<'_>) -> Done {
    let snapshot = call.snapshot;
    let audience = call.audience(0)?;
    if !call.may_wait && matches!(audience.kind, AudienceKind::Dynamic(_)) {
        return Err(Refusal::Waits);
    }
    let ordinals = ordinals(snapshot, audience.table, call.arguments.from(1).iter())?;
    let within = within(call, &audience, &ordinals)?;
    if let [one] = within[..] {
        call.reply.integer(i64::from(one));
        return Ok(());
    }
    call.reply.array(within.len());
    within.into_iter().for_each(|one| call.reply.integer(i64::from(one)));
    Ok(())
}

/// `COUNT audience`
pub(super) fn count(call: &mut Call<'_>) -> Done {
    let (snapshot, name) = (call.snapshot, call.text(0)?);
    if let Some(members) = call.service.audiences.count(snapshot, name) {
        call.reply.integer(members as i64);
        return Ok(());
    }
    let audience = call.audience(0)?;
    if !call.may_wait && matches!(audience.kind, AudienceKind::Dynamic(_)) {
        return Err(Refusal::Waits);
    }
    let cancel = call.session().cancel_handle();
    let condition = snapshot.expand(audience.table, &audience.condition())?;
    let (members, _) = evaluate(snapshot, audience.table, &condition, &Scope::default(), &cancel, &Count)?;
    call.service.audiences.counted(snapshot, &audience, members);
    call.reply.integer(members as i64);
    Ok(())
}

/// `AUDIENCES table key`
pub(super) fn audiences(call: &mut Call<'_>) -> Done {
    let snapshot = call.snapshot;
    let table = call.table(0)?.id;
    let ordinals = ordinals(snapshot, table, call.arguments.from(1).iter())?;
    let mut names = Vec::new();
    for audience in snapshot.audiences().into_iter().filter(|audience| audience.table == table) {
        if within(call, &audience, &ordinals)?.contains(&true) {
            names.push(audience.name.clone());
        }
    }
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk(name.as_bytes()));
    Ok(())
}

/// `MEMBERS audience [AFTER cursor] [LIMIT count]`
///
/// A cursor is the place of the last member (`@` and its ordinal), which no write moves: nothing is kept for it. Members are in the
/// order in which they came; one who enters or leaves meanwhile is seen or not, everybody else exactly once.
pub(super) fn members(call: &mut Call<'_>) -> Done {
    let snapshot = call.snapshot;
    let audience = call.audience(0)?;
    let (mut after, mut limit) = (None, PAGE);
    for at in (1..call.arguments.len()).step_by(2) {
        let (word, value) = (call.text(at)?, call.text(at + 1)?);
        match word.to_ascii_uppercase().as_str() {
            "AFTER" => after = Some(cursor(snapshot, audience.table, value)?),
            "LIMIT" => {
                let wanted = value.parse::<usize>().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                limit = wanted.ok_or_else(|| {
                    Refusal::new(format!("LIMIT is a number from 1 to {PAGE_MAX}, not '{value}'"))
                })?;
            }
            other => return Err(Refusal::new(format!("'{other}' is neither AFTER nor LIMIT"))),
        }
    }
    let schema = Arc::clone(snapshot.schema(audience.table)?);
    let key = schema.key.ok_or_else(|| Refusal::new(format!("table \"{}\" has no key", schema.name)))?;
    let cancel = call.session().cancel_handle();
    let condition = snapshot.expand(audience.table, &audience.condition())?;
    // One more than the page tells whether there is another.
    let (first, mut found) = (after.map_or(0, |after| u64::from(after) + 1), Vec::with_capacity(limit + 1));
    let chunks = snapshot.chunks(audience.table)?;
    let mut chunk = (first >> 16) as u32;
    while chunk < chunks && found.len() <= limit {
        let range = chunk..chunks.min(chunk + PAGE_CHUNKS);
        let scope = Scope { chunks: Some(range.clone()), mask: None };
        let (members, _) = evaluate(snapshot, audience.table, &condition, &scope, &cancel, &Members)?;
        let beyond = members.iter().filter(|member| u64::from(*member) >= first);
        found.extend(beyond.take(limit + 1 - found.len()));
        chunk = range.end;
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let keys = project(snapshot, audience.table, &found, &[key])?;
    call.reply.array(2);
    match found.last().filter(|_| more) {
        Some(last) => call.reply.bulk(format!("@{last}").as_bytes()),
        None => call.reply.null(),
    }
    call.reply.array(keys.len());
    keys.iter().flatten().for_each(|key| statement::value(call.reply, key));
    Ok(())
}

/// `OVERLAP audience audience [audience ...]`
pub(super) fn overlap(call: &mut Call<'_>) -> Done {
    let names = (0..call.arguments.len()).map(|at| call.text(at).map(quoted));
    let sql = format!("OVERLAP {}", names.collect::<Result<Vec<_>, _>>()?.join(", "));
    statement::run(call, &sql, &[])
}

/// `PROFILE audience column [column ...]`
pub(super) fn profile(call: &mut Call<'_>) -> Done {
    let names = (0..call.arguments.len()).map(|at| call.text(at).map(quoted));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let sql = format!("PROFILE {} BY {}", names[0], names[1..].join(", "));
    statement::run(call, &sql, &[])
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The ordinals of members by their keys as clients write them; `None` of those that are no member's.
pub(super) fn ordinals<'k>(
    snapshot: &Snapshot,
    table: TableId,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<Vec<Option<u32>>, Refusal> {
    let schema = snapshot.schema(table)?;
    let key = schema.key.and_then(|key| schema.column(key));
    let key = key.ok_or_else(|| Refusal::new(format!("table \"{}\" has no key", schema.name)))?;
    let parsed = keys.map(|text| match key.data_type {
        DataType::BigInt => {
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            number.map(Key::Integer).ok_or_else(|| {
                let text = String::from_utf8_lossy(text);
                Refusal::new(format!(
                    "'{}' is no key of \"{}\": keys are BIGINT",
                    text.escape_debug(),
                    schema.name
                ))
            })
        }
        _ => Ok(Key::Text(text)),
    });
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    Ok(snapshot.lookup_keys(table, &parsed)?)
}

/// Which of some members are in an audience.
fn within(
    call: &mut Call<'_>,
    audience: &AudienceRecord,
    ordinals: &[Option<u32>],
) -> Result<Vec<bool>, Refusal> {
    let snapshot = call.snapshot;
    if let AudienceKind::Static { column, .. } = audience.kind {
        return Ok(are_true(snapshot, audience.table, column, ordinals)?);
    }
    let cancel = call.session().cancel_handle();
    let there: Vec<u32> = ordinals.iter().flatten().copied().collect();
    let (Some(first), Some(last)) = (there.iter().min(), there.iter().max()) else {
        return Ok(vec![false; ordinals.len()]);
    };
    let chunks = Some(first >> 16..(last >> 16) + 1);
    let scope = Scope { chunks, mask: Some(there.iter().collect::<RoaringBitmap>()) };
    let condition = snapshot.expand(audience.table, &audience.condition())?;
    let (found, _) = evaluate(snapshot, audience.table, &condition, &scope, &cancel, &Members)?;
    Ok(ordinals.iter().map(|ordinal| ordinal.is_some_and(|ordinal| found.contains(ordinal))).collect())
}

/// The ordinal that a page begins after: of a cursor, or of the member with a key.
fn cursor(snapshot: &Snapshot, table: TableId, text: &str) -> Result<u32, Refusal> {
    if let Some(ordinal) = text.strip_prefix('@').and_then(|ordinal| ordinal.parse().ok()) {
        return Ok(ordinal);
    }
    let found = ordinals(snapshot, table, std::iter::once(text.as_bytes()))?;
    found[0].ok_or_else(|| {
        let advice = "give the cursor that came with the page before";
        Refusal::new(format!("no member has the key '{}': {advice}", text.escape_debug()))
    })
}
