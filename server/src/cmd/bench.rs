//! `muster bench`: the benchmark's questions on a generated population, from text to rows.

mod keys;
mod machine;
mod writes;

use crate::failure::{Failure, Result};
use crate::figures::{bytes, duration, thousands};
use crate::interrupt;
use crate::output::shown;
use crate::population::NOW_SECONDS;
use crate::questions::{EVENTS, QUESTIONS, with_tag_lists};
use comfy_table::{Cell, CellAlignment, Table, presets};
use musterdb::{Database, Outcome, Session};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Asks the benchmark questions of a generated population and measures them.
///
/// Each is asked twice to warm up and then at least 15 times and for about a second. Times are from the text of the
/// statement to its rows, parsing included. Bytes are those of the index sections that the question reads; GB/s are
/// these bytes over the median, to be compared with what the machine's memory delivers to as many threads. A question
/// whose sections fit the processor's cache can be faster than memory. Without `--only`, keys of random members are looked
/// up too: one at a time, and up to a million in one batch. Questions about orders are asked where there are any.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  muster generate 10000000 --into ./db --no-orders && muster bench ./db
  muster bench ./db --only mix8 --runs 100
  muster bench ./db --json > bench.json
  muster bench ./copy --writes 300")]
pub(crate) struct Arguments {
    /// The database's directory, as `muster generate --into` made it
    dir: PathBuf,
    /// How often each question is asked (default: at least 15 times and about a second)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    /// Only this question; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// JSON instead of a table
    #[arg(long, conflicts_with = "writes")]
    json: bool,
    /// Changes members for so long: single commits, many committers, batches beside checkpoints, the questions beside
    /// writers. The database is another one afterwards: give it a copy
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    writes: Option<u64>,
}

/// Runs of a question where none are asked for: at least this many …
const RUNS_MIN: usize = 15;
/// … and until this much time has gone …
const RUNS_TIME: Duration = Duration::from_secs(1);
/// … but no more than this: a question of a microsecond needs no million runs.
const RUNS_MAX: usize = 10_000;

/// What was measured of one question.
struct Measured {
    name: &'static str,
    sql: String,
    answer: String,
    runs: usize,
    median: Duration,
    p99: Duration,
    bytes: u64,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let all = || QUESTIONS.iter().chain(&EVENTS);
    if let Some(unknown) = arguments.only.iter().find(|only| all().all(|(name, _)| name != only)) {
        let names: Vec<&str> = all().map(|(name, _)| *name).collect();
        return Err(Failure::new(format!("no question \"{unknown}\"; there are {}", names.join(", "))));
    }
    if let Some(seconds) = arguments.writes {
        let ask = |database: &Database, time: Option<Duration>| ask_all(database, arguments, time);
        return writes::run(&arguments.dir, seconds, &ask, out);
    }
    let database = Database::open_read_only(&arguments.dir)?;
    let members = members(&database)?;
    // Measured first, and its buffer given back, so that it is not counted among the questions' memory.
    let (threads, bandwidth) = machine::memory_bandwidth();
    let before = machine::anonymous_bytes();
    let measured = ask_all(&database, arguments, None)?;
    let after = machine::anonymous_bytes();
    let keys = if arguments.only.is_empty() { keys::measure(&database)? } else { None };
    if arguments.json {
        return write_json(out, members, (threads, bandwidth), (before, after), &measured, keys.as_ref());
    }
    writeln!(
        out,
        "{} members; memory streams {:.1} GB/s to {threads} threads",
        thousands(members),
        bandwidth / 1e9
    )?;
    writeln!(out, "{}", table(&measured))?;
    if let (Some(before), Some(after)) = (before, after) {
        writeln!(out, "anonymous memory of the questions: {} before, {} after", bytes(before), bytes(after))?;
    }
    if let Some(keys) = keys {
        writeln!(
            out,
            "keys of random members: one in {} (p99 {}), {} in one batch in {}",
            duration(keys.single),
            duration(keys.single_p99),
            thousands(keys.batch_keys as u64),
            duration(keys.batch)
        )?;
    }
    Ok(())
}

/// Measures the questions that were chosen, each for so long or as the arguments say.
fn ask_all(database: &Database, arguments: &Arguments, time: Option<Duration>) -> Result<Vec<Measured>> {
    let zipf = tag_style(database)?;
    let mut session = database.session();
    session.set_now(NOW_SECONDS * 1_000_000);
    let mut measured = Vec::new();
    let events: &[_] = if has_orders(database) { &EVENTS } else { &[] };
    for (name, sql) in QUESTIONS.iter().chain(events).copied() {
        if arguments.only.is_empty() || arguments.only.iter().any(|only| only == name) {
            let sql = zipf.map_or(sql.to_owned(), |zipf| with_tag_lists(sql, zipf));
            measured.push(measure(&mut session, name, sql, arguments.runs, time)?);
        }
    }
    Ok(measured)
}

fn members(database: &Database) -> Result<u64> {
    let snapshot = database.engine().snapshot();
    let table = snapshot.table_named("members").ok_or_else(|| {
        Failure::new(
            "there is no table members here; `muster generate 1000000 --into DIR` makes the population",
        )
    })?;
    Ok(snapshot.rows(table.id))
}

/// True where the population has orders, by their members.
fn has_orders(database: &Database) -> bool {
    database.table("orders").is_ok_and(|orders| orders.owner.is_some())
}

/// How the population keeps its tags: `None` as booleans, else whether they are Zipf tags.
fn tag_style(database: &Database) -> Result<Option<bool>> {
    let table = database.table("members")?;
    if table.column_named("t00").is_some() || table.column_named("tags").is_none() {
        return Ok(None);
    }
    let zipf: Option<u64> =
        database.execute("SELECT count(*) FROM members WHERE 'tag_00000' = ANY(tags)")?.single().ok();
    Ok(Some(zipf.is_some_and(|count| count > 0)))
}

fn measure(
    session: &mut Session,
    name: &'static str,
    sql: String,
    runs: Option<u64>,
    time: Option<Duration>,
) -> Result<Measured> {
    let cancel = session.cancel_handle();
    let mut ask = || {
        let started = Instant::now();
        let result = interrupt::cancels(&cancel, || session.execute(&sql));
        let elapsed = started.elapsed();
        result.map(|outcome| (outcome, elapsed)).map_err(|error| Failure::of_statement(&error, &sql))
    };
    ask()?;
    let (outcome, _) = ask()?;
    let mut times = Vec::new();
    let started = Instant::now();
    let done = |times: &Vec<Duration>| match (runs, time) {
        (_, Some(time)) => started.elapsed() >= time,
        (Some(runs), None) => times.len() as u64 >= runs,
        (None, None) => {
            times.len() >= RUNS_MAX || (times.len() >= RUNS_MIN && started.elapsed() >= RUNS_TIME)
        }
    };
    while !done(&times) {
        times.push(ask()?.1);
    }
    times.sort_unstable();
    let touched = match &outcome {
        Outcome::Rows { stats, .. } => stats.bytes,
        Outcome::Done { .. } => 0,
    };
    Ok(Measured {
        name,
        answer: answer(&outcome),
        runs: times.len(),
        median: percentile(&times, 50),
        p99: percentile(&times, 99),
        bytes: touched,
        sql,
    })
}

/// The nearest-rank percentile of sorted times.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)]
}

/// The count, or how many rows and the first of them.
fn answer(outcome: &Outcome) -> String {
    let first =
        outcome.rows().next().map(|row| row.values().iter().map(shown).collect::<Vec<_>>().join(", "));
    match (outcome.rows().len(), outcome.columns().len(), first) {
        (1, 1, Some(first)) => first,
        (rows, _, Some(first)) => format!("{rows} rows, first {first}"),
        (_, _, None) => "no rows".to_owned(),
    }
}

fn gigabytes_per_second(measured: &Measured) -> f64 {
    measured.bytes as f64 / measured.median.as_secs_f64().max(1e-9) / 1e9
}

fn table(measured: &[Measured]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["question", "median", "p99", "runs", "bytes", "GB/s", "answer"]);
    for m in measured {
        let figures = [
            duration(m.median),
            duration(m.p99),
            m.runs.to_string(),
            bytes(m.bytes),
            format!("{:.1}", gigabytes_per_second(m)),
        ];
        let figures = figures.into_iter().map(|figure| Cell::new(figure).set_alignment(CellAlignment::Right));
        table.add_row(
            [Cell::new(m.name)].into_iter().chain(figures).chain([Cell::new(&m.answer)]).collect::<Vec<_>>(),
        );
    }
    table
}

fn write_json(
    out: &mut dyn Write,
    members: u64,
    (threads, bandwidth): (usize, f64),
    (before, after): (Option<u64>, Option<u64>),
    measured: &[Measured],
    keys: Option<&keys::Keys>,
) -> Result<()> {
    let question = |m: &Measured| {
        serde_json::json!({
            "name": m.name,
            "sql": m.sql,
            "answer": m.answer,
            "runs": m.runs,
            "median_micros": m.median.as_secs_f64() * 1e6,
            "p99_micros": m.p99.as_secs_f64() * 1e6,
            "bytes": m.bytes,
            "gigabytes_per_second": gigabytes_per_second(m),
        })
    };
    let report = serde_json::json!({
        "members": members,
        "threads": threads,
        "memory_gigabytes_per_second": bandwidth / 1e9,
        "anonymous_bytes_before": before,
        "anonymous_bytes_after": after,
        "questions": measured.iter().map(question).collect::<Vec<_>>(),
        "keys": keys.map(|keys| serde_json::json!({
            "single_micros": keys.single.as_secs_f64() * 1e6,
            "single_p99_micros": keys.single_p99.as_secs_f64() * 1e6,
            "batch_keys": keys.batch_keys,
            "batch_micros": keys.batch.as_secs_f64() * 1e6,
        })),
    });
    writeln!(out, "{report:#}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_micros).collect();
        assert_eq!(percentile(&times, 50), Duration::from_micros(50));
        assert_eq!(percentile(&times, 99), Duration::from_micros(99));
        assert_eq!(percentile(&times[..1], 99), Duration::from_micros(1));
        assert_eq!(percentile(&times[..15], 50), Duration::from_micros(8));
    }
}
