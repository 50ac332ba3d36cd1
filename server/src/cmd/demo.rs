//! `muster demo`: a population, a handful of questions about it with their times, and what to try next.

use crate::cmd::generate;
use crate::failure::{Failure, Result};
use crate::figures::{duration, thousands};
use crate::interrupt;
use crate::output::{self, Format, Style};
use crate::population::{COLUMNS, NOW_TEXT, Options, Population};
use musterdb::{Database, Outcome, Session};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Makes a population, asks it audience questions, and shows what to try next.
///
/// The database stays in the directory; a second demo asks the one that is there.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many members to make
    #[arg(long, default_value_t = 1_000_000)]
    members: u64,
    /// Where the database is made
    #[arg(long, default_value = "./muster-demo")]
    dir: PathBuf,
}

/// A question in plain words and in SQL.
const QUESTIONS: [(&str, &str); 9] = [
    (
        "Who could we write to? Everybody with tag t00 (newsletter) but not t02 (complained).",
        "SELECT count(*) FROM members WHERE t00 AND NOT t02",
    ),
    (
        "Women of the gold and black tiers in the five biggest cities who have not opted out (t03).",
        "SELECT count(*) FROM members
WHERE gender = 'f' AND tier IN ('gold', 'black') AND NOT t03
  AND city IN ('city_000', 'city_001', 'city_002', 'city_003', 'city_004')",
    ),
    (
        "Valuable and around: spent 500 or more, and was active within 30 days of 2026-11-01.",
        "SELECT count(*) FROM members
WHERE spend_cents >= 50000 AND last_active_at >= TIMESTAMP '2026-11-01' - INTERVAL '30 days'",
    ),
    (
        "Eight conditions at once, as campaigns have them.",
        "SELECT count(*) FROM members
WHERE (t04 OR t05 OR t06) AND NOT t02 AND gender = 'f' AND channel <> 'sms'
  AND birth BETWEEN DATE '1990-01-01' AND DATE '2001-12-31' AND points BETWEEN 500 AND 5000
  AND registered_at >= TIMESTAMP '2026-11-01' - INTERVAL '730 days'
  AND city IN ('city_000', 'city_003', 'city_010', 'city_020', 'city_100')",
    ),
    (
        "Where do our gold members with tag t00 live?",
        "SELECT city, count(*) FROM members WHERE t00 AND tier = 'gold'
GROUP BY city ORDER BY 2 DESC LIMIT 5",
    ),
    (
        "Which tiers are worth most, among those who came by wechat?",
        "SELECT tier, count(*), avg(spend_cents), max(spend_cents) FROM members WHERE channel = 'wechat'
GROUP BY tier ORDER BY tier",
    ),
    (
        "Who are the five best customers with tag t03 in the biggest city?",
        "SELECT id, tier, spend_cents, last_active_at FROM members WHERE t03 AND city = 'city_000'
ORDER BY spend_cents DESC, id LIMIT 5",
    ),
    (
        "Who of the gold tier ordered at least twice within 30 days of 2026-11-01?",
        "SELECT count(*) FROM members m WHERE tier = 'gold' AND (SELECT count(*) FROM orders o
  WHERE o.member_id = m.id AND ordered_at >= TIMESTAMP '2026-11-01' - INTERVAL '30 days') >= 2",
    ),
    (
        "Who has ordered, but not for 180 days, and can be written to?",
        "SELECT count(*) FROM members m WHERE t00 AND NOT t02
  AND EXISTS (SELECT 1 FROM orders o WHERE o.member_id = m.id)
  AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.member_id = m.id
    AND ordered_at >= TIMESTAMP '2026-11-01' - INTERVAL '180 days')",
    ),
];

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let directory = arguments.dir.display();
    let (database, members) = population(arguments, out)?;
    writeln!(
        out,
        "Times are from the text of a question to its answer: the first time, and again once warm."
    )?;
    let mut session = database.session();
    let mut warm_counts = Vec::new();
    let has_orders = database.table("orders").is_ok();
    for (words, sql) in QUESTIONS.into_iter().filter(|(_, sql)| has_orders || !sql.contains("orders")) {
        writeln!(out, "\n{words}\n")?;
        sql.lines().try_for_each(|line| writeln!(out, "    {line}"))?;
        out.flush()?;
        let (outcome, first) = ask(&mut session, sql)?;
        let (_, again) = ask(&mut session, sql)?;
        writeln!(out)?;
        if let Ok(count) = outcome.single::<u64>()
            && outcome.columns().len() == 1
        {
            warm_counts.push(again);
            writeln!(out, "  {} members", thousands(count))?;
        } else {
            output::write(out, &outcome, &Style::plain(Format::Table))?;
        }
        writeln!(out, "  {}, again {}", duration(first), duration(again))?;
    }
    let slowest = warm_counts.iter().max().copied().unwrap_or_default();
    writeln!(
        out,
        "\nAll counts are exact; the slowest took {} over {} members.\n
Try next:
  muster shell {directory} --now '{NOW_TEXT}'      your own questions; \\d members shows what there is
  muster bench {directory}      the benchmark questions, measured
  muster import ./mydb people people.csv --key id      your own members",
        duration(slowest),
        thousands(members)
    )?;
    Ok(())
}

/// The database that is there, or a new one.
fn population(arguments: &Arguments, out: &mut dyn Write) -> Result<(Database, u64)> {
    let directory = arguments.dir.display();
    let database = Database::open(&arguments.dir)?;
    let snapshot = database.engine().snapshot();
    if let Some(table) = snapshot.table_named("members") {
        if table.column_named("t00").is_none() || table.column_named("spend_cents").is_none() {
            let message =
                format!("{directory} holds another table called members; choose another place with --dir");
            return Err(Failure::Message(message));
        }
        let members = snapshot.rows(table.id);
        writeln!(out, "{directory} is there already, with {} members: asking it.", thousands(members))?;
        return Ok((database, members));
    }
    let population = Arc::new(Population::new(Options::plain(arguments.members)).map_err(Failure::Message)?);
    writeln!(out, "Making {} members with {COLUMNS} columns in {directory} …", thousands(arguments.members))?;
    out.flush()?;
    let started = Instant::now();
    let members = generate::table_into(database.engine(), &population, "members")?;
    let took = started.elapsed();
    let rate = members as f64 / took.as_secs_f64().max(1e-6);
    writeln!(out, "Made and indexed in {} ({} members/s).", duration(took), thousands(rate as u64))?;
    let started = Instant::now();
    let orders = generate::table_into(database.engine(), &population, "orders")?;
    writeln!(out, "And {} orders of theirs in {}.", thousands(orders), duration(started.elapsed()))?;
    Ok((database, members))
}

fn ask(session: &mut Session, sql: &str) -> Result<(Outcome, Duration)> {
    let cancel = session.cancel_handle();
    let started = Instant::now();
    let result = interrupt::cancels(&cancel, || session.execute(sql));
    let elapsed = started.elapsed();
    Ok((result.map_err(|error| Failure::of_statement(&error, sql))?, elapsed))
}
