//! PROFILE and OVERLAP: what members have more of than others do, and what sets have in common.

use super::grammar::{Overlap, Profile};
use crate::bind::{Context, Names, Source};
use crate::error::{Error, QueryErrorKind, Result};
use crate::outcome::{Outcome, OutcomeColumn};
use crate::select::HOLDS_ROWS;
use crate::statement::{ColumnName, Condition, Name, TermKind};
use muster_engine::control::{Held, allocation, row_bytes, value_bytes};
use muster_engine::exec::{self, Scope, Stats, evaluate};
use muster_engine::schema::{ColumnId, DataType, TableId};
use muster_engine::value::Value;
use muster_engine::{Predicate, exec::key_bytes};
use std::collections::HashMap;

/// The values of some columns, counted among some members.
struct Counted {
    size: u64,
    /// Per column.
    counts: Vec<Vec<(Value, u64)>>,
    stats: Stats,
    _held: Held,
}

/// Answers PROFILE: per column the values of the members, the commonest first, each with its share among them, its share in
/// the whole table, and the lift: the first share over the second.
pub(crate) fn profile(profile: Profile, context: &Context<'_>) -> Result<Outcome> {
    let mut source = Source::resolve(profile.from, context)?;
    let names = Names { source: &source, context: *context };
    let mut columns = Vec::with_capacity(profile.columns.len());
    for name in profile.columns {
        let id = names.column(&ColumnName { qualifier: None, name: name.clone() })?.id;
        if columns.iter().any(|(_, known)| *known == id) {
            let message = format!("column \"{}\" is there twice", name.text);
            return Err(Error::query(QueryErrorKind::Duplicate, name.span, message));
        }
        columns.push((name.text, id));
    }
    let filter = profile.filter.map(|filter| names.predicate(&filter)).transpose()?;
    if let Some(filter) = filter {
        source.narrow(filter);
    }
    let table = source.schema.id;
    let predicate = source.members.unwrap_or_else(Predicate::everyone);
    let ids: Vec<ColumnId> = columns.iter().map(|(_, id)| *id).collect();
    let counted = |predicate: &Predicate| -> Result<Counted> {
        let scope = Scope::default();
        let (size, _) = evaluate(context.snapshot, table, predicate, &scope, context.cancel, &exec::Count)?;
        let sink = exec::Profile { columns: ids.clone() };
        let (counts, stats) = evaluate(context.snapshot, table, predicate, &scope, context.cancel, &sink)?;
        let mut held = context.cancel.holder("the values of a profile");
        for (value, _) in counts.iter().flatten() {
            held.add(size_of::<(Value, u64)>() + value_bytes(value))?;
        }
        Ok(Counted { size, counts, stats, _held: held })
    };
    let Counted { size: members, counts, mut stats, _held } = counted(&predicate)?;
    let Counted { size: everyone, counts: base, stats: cost, _held: _base_held } =
        counted(&Predicate::everyone())?;
    let mut held = context.cancel.holder(HOLDS_ROWS);
    stats.chunks += cost.chunks;
    stats.bytes += cost.bytes;
    let mut rows = Vec::new();
    for (((name, _), counts), base) in columns.iter().zip(counts).zip(base) {
        let base: HashMap<Vec<u8>, u64> =
            base.iter().map(|(value, count)| (bytes_of(value), *count)).collect();
        let mut held_by_base = context.cancel.holder(HOLDS_ROWS);
        held_by_base.add(base.capacity() * (size_of::<(Vec<u8>, u64)>() + 1))?;
        held_by_base.add(base.keys().map(|bytes| allocation(bytes.capacity())).sum())?;
        let mut counts = counts;
        // Stable: values of one count stay in their order.
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (value, count) in counts {
            let in_base = base.get(&bytes_of(&value)).copied().unwrap_or(count);
            let (share, base_share) = (ratio(count, members), ratio(in_base, everyone));
            let lift = if base_share > 0.0 { shown(share / base_share) } else { Value::Null };
            let row = vec![
                Value::Text(name.clone()),
                if value == Value::Null { Value::Null } else { Value::Text(value.to_string()) },
                integer(count),
                shown(share),
                integer(in_base),
                shown(base_share),
                lift,
            ];
            held.add(size_of::<Vec<Value>>() + row_bytes(&row))?;
            rows.push(row);
        }
    }
    let columns = [
        ("attribute", DataType::Text),
        ("value", DataType::Text),
        ("members", DataType::BigInt),
        ("share", DataType::Double),
        ("base", DataType::BigInt),
        ("base_share", DataType::Double),
        ("lift", DataType::Double),
    ];
    Ok(rows_of(&columns, rows, stats))
}

/// Answers OVERLAP: a row for each two sets, with their sizes, what they have in common, and its share of their union
/// (Jaccard's index).
pub(crate) fn overlap(overlap: Overlap, sql: &str, context: &Context<'_>) -> Result<Outcome> {
    let mut sets: Vec<(String, Predicate)> = Vec::with_capacity(overlap.sets.len());
    let table = match overlap.from {
        Some(from) => {
            let source = Source::resolve(from, context)?;
            let names = Names { source: &source, context: *context };
            for set in overlap.sets {
                let shown =
                    set.name.map_or_else(|| sql[set.span.start..set.span.end].to_owned(), |name| name.text);
                let predicate = names.predicate(&set.condition)?;
                sets.push((
                    shown,
                    match &source.members {
                        None => predicate,
                        Some(members) => members.clone().and(predicate),
                    },
                ));
            }
            source.schema.id
        }
        None => {
            let mut table: Option<TableId> = None;
            for set in overlap.sets {
                let Some(name) = audience_name(&set.condition) else {
                    let message = "expected the name of an audience";
                    return Err(Error::query(QueryErrorKind::Type, set.span, message)
                        .advise("with conditions it is OVERLAP condition AS name, … FROM table"));
                };
                let source = Source::named(name, context)?;
                if *table.get_or_insert(source.schema.id) != source.schema.id {
                    let message = format!("\"{}\" is of another table than those before it", name.text);
                    return Err(Error::query(QueryErrorKind::Type, name.span, message));
                }
                sets.push((name.text.clone(), source.members.unwrap_or_else(Predicate::everyone)));
            }
            table.ok_or_else(|| Error::syntax(None, "OVERLAP takes at least one set"))?
        }
    };
    let (names, predicates): (Vec<String>, Vec<Predicate>) = sets.into_iter().unzip();
    let (found, stats) = exec::overlap(context.snapshot, table, &predicates, context.cancel)?;
    let mut held = context.cancel.holder(HOLDS_ROWS);
    let mut rows = Vec::with_capacity(names.len() * names.len().saturating_sub(1) / 2);
    for (b, b_name) in names.iter().enumerate() {
        for (a, a_name) in names.iter().enumerate().take(b) {
            let both = found.pair(a, b);
            let union = found.sizes[a] + found.sizes[b] - both;
            let jaccard = if union > 0 { shown(ratio(both, union)) } else { Value::Null };
            let row = vec![
                Value::Text(a_name.clone()),
                Value::Text(b_name.clone()),
                integer(found.sizes[a]),
                integer(found.sizes[b]),
                integer(both),
                jaccard,
            ];
            // Once more when they are in order.
            held.add(size_of::<(usize, usize, Vec<Value>)>() + size_of::<Vec<Value>>() + row_bytes(&row))?;
            rows.push((a, b, row));
        }
    }
    rows.sort_by_key(|(a, b, _)| (*a, *b));
    let columns = [
        ("a", DataType::Text),
        ("b", DataType::Text),
        ("a_members", DataType::BigInt),
        ("b_members", DataType::BigInt),
        ("both", DataType::BigInt),
        ("jaccard", DataType::Double),
    ];
    Ok(rows_of(&columns, rows.into_iter().map(|(_, _, row)| row).collect(), stats))
}

/// The name in a condition that is nothing but one.
fn audience_name(condition: &Condition) -> Option<&Name> {
    match condition {
        Condition::Term(term) => match &term.kind {
            TermKind::Column(name) if name.qualifier.is_none() => Some(&name.name),
            _ => None,
        },
        Condition::Audience(name) => Some(name),
        _ => None,
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// To six significant digits: more would be noise beside the exact counts.
fn shown(ratio: f64) -> Value {
    Value::Double(format!("{ratio:.5e}").parse().unwrap_or(ratio))
}

fn integer(count: u64) -> Value {
    Value::Integer(count as i64)
}

fn bytes_of(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    key_bytes(value, &mut bytes);
    bytes
}

/// An answer of these columns.
pub(crate) fn rows_of(columns: &[(&str, DataType)], rows: Vec<Vec<Value>>, stats: Stats) -> Outcome {
    let columns = columns
        .iter()
        .map(|(name, data_type)| OutcomeColumn { name: (*name).to_owned(), data_type: *data_type });
    Outcome::Rows { columns: columns.collect(), rows, stats }
}
