//! EXPLAIN: how a WHERE is answered, clause by clause in the order in which they are asked; with ANALYZE, what each left.

use super::compare::rows_of;
use super::render::Renderer;
use crate::error::Result;
use crate::outcome::Outcome;
use crate::select::{Ask, Plan};
use muster_engine::catalog::AudienceKind;
use muster_engine::exec::{Count, Stats};
use muster_engine::plan::{Explained, explain as explained};
use muster_engine::predicate::{CompareOp, Truth};
use muster_engine::schema::DataType;
use muster_engine::value::Value;
use muster_engine::{Cancel, Predicate, Snapshot};
use std::time::Instant;

/// Clauses that have a line of their own.
const CLAUSES_SHOWN_MAX: usize = 100;

/// How often a short count is repeated for its time.
const REPEATED: usize = 5;
/// Counts longer than this many milliseconds are timed once.
const REPEATED_MILLIS_MAX: f64 = 20.0;

/// A clause of the conjunction, with what the planner expects of it.
struct Clause {
    predicate: Predicate,
    expected: Explained,
}

/// Answers EXPLAIN.
pub(crate) fn explain(plan: Plan, analyze: bool, snapshot: &Snapshot, cancel: &Cancel) -> Result<Outcome> {
    let table = plan.source().schema.id;
    let rows = snapshot.rows(table);
    let mut clauses = Vec::new();
    for predicate in conjunction(plan.predicate(), snapshot) {
        let expected = explained(snapshot, table, &predicate, analyze)?;
        clauses.push(Clause { predicate, expected });
    }
    clauses.sort_by(|a, b| a.expected.rank().total_cmp(&b.expected.rank()));
    if clauses.len() > CLAUSES_SHOWN_MAX {
        // Each line asks all clauses before it again: of thousands the rest is one line.
        let rest = clauses.split_off(CLAUSES_SHOWN_MAX - 1).into_iter().map(|clause| clause.predicate);
        let predicate = Predicate::And(rest.collect());
        let expected = explained(snapshot, table, &predicate, analyze)?;
        clauses.push(Clause { predicate, expected });
    }
    let source = plan.source().clone();
    let renderer = Renderer { source: &source, snapshot, slots: &[] };
    let goal = plan.describe(&renderer);
    if !analyze {
        return Ok(expected(&source.schema.name, rows, &clauses, &renderer, goal));
    }
    let mut shown = vec![vec![
        Value::Text(format!("all of {}", source.schema.name)),
        Value::Text(String::new()),
        integer(rows),
        integer(rows),
        Value::Null,
        Value::Null,
    ]];
    let mut so_far: Vec<Predicate> = Vec::new();
    for clause in &clauses {
        let count = |predicate: &Predicate| -> Result<(u64, Stats, f64)> {
            let ask = Ask { snapshot, table, predicate, cancel };
            let timed = || -> Result<(u64, Stats, f64)> {
                let started = Instant::now();
                let (count, stats) = ask.evaluate(&Count)?;
                Ok((count, stats, started.elapsed().as_secs_f64() * 1e3))
            };
            let mut best = timed()?;
            for _ in 1..REPEATED {
                if best.2 > REPEATED_MILLIS_MAX {
                    break;
                }
                let again = timed()?;
                best.2 = best.2.min(again.2);
            }
            Ok(best)
        };
        let (alone, _, _) = count(&clause.predicate)?;
        so_far.push(clause.predicate.clone());
        let (left, stats, millis) = count(&Predicate::And(so_far.clone()))?;
        shown.push(vec![
            Value::Text(renderer.predicate(&clause.predicate)),
            Value::Text(clause.expected.access.clone()),
            integer(alone),
            integer(left),
            integer(stats.bytes),
            Value::Double(rounded(millis)),
        ]);
    }
    let started = Instant::now();
    let outcome = plan.run(snapshot, cancel)?;
    let millis = started.elapsed().as_secs_f64() * 1e3;
    let (answered, stats) = match &outcome {
        Outcome::Rows { rows, stats, .. } => (rows.len() as u64, *stats),
        Outcome::Done { .. } => (0, Stats::default()),
    };
    shown.push(vec![
        Value::Text(format!("answer: {goal}, {answered} {}", if answered == 1 { "row" } else { "rows" })),
        Value::Text(String::new()),
        Value::Null,
        Value::Null,
        integer(stats.bytes),
        Value::Double(rounded(millis)),
    ]);
    let columns = [
        ("clause", DataType::Text),
        ("asked by", DataType::Text),
        ("alone", DataType::BigInt),
        ("left", DataType::BigInt),
        ("bytes", DataType::BigInt),
        ("ms", DataType::Double),
    ];
    Ok(rows_of(&columns, shown, stats))
}

fn expected(table: &str, rows: u64, clauses: &[Clause], renderer: &Renderer<'_>, goal: String) -> Outcome {
    let mut shown = vec![vec![
        Value::Text(format!("all of {table}")),
        Value::Text(String::new()),
        integer(rows),
        integer(rows),
        Value::Null,
    ]];
    let mut left = rows as f64;
    for clause in clauses {
        let mut line = vec![
            Value::Text(renderer.predicate(&clause.predicate)),
            Value::Text(clause.expected.access.clone()),
        ];
        match &clause.expected.expected {
            Some(expected) => {
                left *= expected.share;
                line.push(integer((rows as f64 * expected.share).round() as u64));
                line.push(integer(left.round() as u64));
                line.push(integer(expected.bytes));
            }
            None => line.extend([Value::Null, Value::Null, Value::Null]),
        }
        shown.push(line);
    }
    shown.push(vec![
        Value::Text(format!("answer: {goal}")),
        Value::Text(String::new()),
        Value::Null,
        Value::Null,
        Value::Null,
    ]);
    let columns = [
        ("clause", DataType::Text),
        ("asked by", DataType::Text),
        ("expected alone", DataType::BigInt),
        ("expected left", DataType::BigInt),
        ("expected bytes", DataType::BigInt),
    ];
    rows_of(&columns, shown, Stats::default())
}

/// The clauses that AND joins, those of an audience among them; a BETWEEN stays one.
fn conjunction(predicate: &Predicate, snapshot: &Snapshot) -> Vec<Predicate> {
    match predicate {
        Predicate::Const(Truth::True) => Vec::new(),
        Predicate::And(terms) if !is_between(terms) => {
            terms.iter().flat_map(|term| conjunction(term, snapshot)).collect()
        }
        Predicate::Audience(id) => match snapshot.audience(*id).map(|audience| &audience.kind) {
            // What is TRUE of a member there is TRUE here: nothing is negated on the way.
            Some(AudienceKind::Dynamic(_)) => snapshot
                .audience(*id)
                .map_or_else(Vec::new, |audience| conjunction(&audience.condition(), snapshot)),
            _ => vec![predicate.clone()],
        },
        other => vec![other.clone()],
    }
}

fn is_between(terms: &[Predicate]) -> bool {
    matches!(
        terms,
        [
            Predicate::Compare { column: a, op: CompareOp::Ge, .. },
            Predicate::Compare { column: b, op: CompareOp::Le, .. },
        ] if a == b
    )
}

fn integer(number: u64) -> Value {
    Value::Integer(number as i64)
}

fn rounded(millis: f64) -> f64 {
    (millis * 1e3).round() / 1e3
}
