//! `muster generate`: the benchmark population as Parquet files, or straight into a database.

mod parquet;

use crate::failure::{Failure, Result};
use crate::figures::{duration, thousands};
use crate::interrupt;
use crate::population::{Keys, Options, Population, PopulationSource, Tags};
use crate::progress::Bar;
use muster_engine::Cancel;
use muster_engine::batch::RowSource;
use muster_engine::database::{Database, Mode};
use muster_engine::schema::{ColumnSpec, TableLinks, TableSpec};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Makes the benchmark population: members with 44 columns, and their orders over five years.
///
/// The same seed gives the same rows on any machine, and a smaller population is the beginning of a larger one.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  muster generate 1000000 --into ./db
  muster generate 100000000 --parquet ./data --seed 7
  muster generate 1000000 --into ./db --keys uuid --tags zipf:20000 --nulls 0.1")]
#[command(group(clap::ArgGroup::new("target").required(true).args(["parquet", "into"])))]
pub(crate) struct Arguments {
    /// How many members
    members: u64,
    /// Write members.parquet and orders.parquet into this directory
    #[arg(long, value_name = "OUT_DIR")]
    parquet: Option<PathBuf>,
    /// Import the tables members (key: id) and orders into the database in this directory
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// The seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What `id` is: sequence (BIGINT) or uuid (TEXT)
    #[arg(long, default_value = "sequence", value_parser = keys)]
    keys: Keys,
    /// How tags are kept: boolean (columns t00 to t31), array (the same in one TEXT[] column), or zipf:N (one TEXT[]
    /// column with N tags of Zipf frequency, five a member)
    #[arg(long, default_value = "boolean", value_parser = tags)]
    tags: Tags,
    /// Columns in all; those beyond the plain ones are INTEGER columns a0000, a0001, … of mixed densities
    #[arg(long, value_name = "N")]
    columns: Option<usize>,
    /// The share of NULLs in every column but the key
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    nulls: f64,
    /// Make the members only
    #[arg(long)]
    no_orders: bool,
}

fn keys(text: &str) -> std::result::Result<Keys, String> {
    match text {
        "sequence" => Ok(Keys::Sequence),
        "uuid" => Ok(Keys::Uuid),
        _ => Err("expected sequence or uuid".into()),
    }
}

fn tags(text: &str) -> std::result::Result<Tags, String> {
    match (text, text.strip_prefix("zipf:").map(str::parse)) {
        ("boolean", _) => Ok(Tags::Boolean),
        ("array", _) => Ok(Tags::Array),
        (_, Some(Ok(n))) => Ok(Tags::Zipf(n)),
        _ => Err("expected boolean, array or zipf:N, e.g. zipf:20000".into()),
    }
}

/// What is made: a table's name, its columns, its key, and its rows.
struct Made {
    name: &'static str,
    columns: Vec<ColumnSpec>,
    key: Option<usize>,
    source: PopulationSource,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let options = Options {
        members: arguments.members,
        seed: arguments.seed,
        keys: arguments.keys,
        tags: arguments.tags,
        columns: arguments.columns,
        nulls: arguments.nulls,
    };
    let population = Arc::new(Population::new(options).map_err(Failure::Message)?);
    let database = match &arguments.into {
        Some(directory) => Some(Database::open(directory, Mode::ReadWrite)?),
        None => None,
    };
    if let Some(directory) = &arguments.parquet {
        std::fs::create_dir_all(directory)
            .map_err(|e| Failure::new(format!("cannot create {}: {e}", directory.display())))?;
    }
    let tables = if arguments.no_orders { &["members"][..] } else { &["members", "orders"] };
    if let Some(database) = &database {
        refuse_existing(database, tables)?;
    }
    for table in tables {
        let mut made = make(&population, table)?;
        let (bar, cancel, started) = (Bar::new(made.name), Cancel::default(), Instant::now());
        let rows = interrupt::cancels(&cancel, || match (&database, &arguments.parquet) {
            (Some(database), _) => import(database, &mut made, &cancel, &bar),
            (None, Some(directory)) => write(directory, &mut made, &cancel, &bar),
            (None, None) => unreachable!("clap asks for one of the two"),
        })?;
        drop(bar);
        writeln!(out, "{}: {} rows in {}", made.name, thousands(rows), duration(started.elapsed()))?;
        out.flush()?;
    }
    Ok(())
}

/// Makes a table and imports it into an open database: what the demo needs.
pub(crate) fn table_into(database: &Database, population: &Arc<Population>, table: &str) -> Result<u64> {
    let mut made = make(population, table)?;
    let (bar, cancel) = (Bar::new(made.name), Cancel::default());
    interrupt::cancels(&cancel, || import(database, &mut made, &cancel, &bar))
}

fn make(population: &Arc<Population>, table: &str) -> Result<Made> {
    let population = Arc::clone(population);
    Ok(if table == "members" {
        Made {
            name: "members",
            columns: population.member_columns(),
            key: Some(0),
            source: PopulationSource::members(population)?,
        }
    } else {
        Made {
            name: "orders",
            columns: population.order_columns(),
            key: None,
            source: PopulationSource::orders(population)?,
        }
    })
}

/// Says before an hour of work what would fail after it.
fn refuse_existing(database: &Database, tables: &[&str]) -> Result<()> {
    let snapshot = database.snapshot();
    match tables.iter().find(|table| snapshot.table_named(table).is_some()) {
        Some(table) => {
            Err(Failure::new(format!("table \"{table}\" exists already; generate into another directory")))
        }
        None => Ok(()),
    }
}

fn import(database: &Database, made: &mut Made, cancel: &Cancel, bar: &Bar) -> Result<u64> {
    let mut show = |progress| bar.show(progress);
    let links = match (made.name, database.snapshot().table_named("members")) {
        ("orders", Some(members)) => TableLinks {
            sums: vec![2],
            ..TableLinks::inferred(&made.columns, vec![(0, members.id)], None, None)
        },
        _ => TableLinks::default(),
    };
    let report = database.create_and_import(
        &TableSpec { links, ..TableSpec::new(made.name, &made.columns, made.key) },
        &mut made.source as &mut dyn RowSource,
        cancel,
        &mut show,
    )?;
    Ok(report.rows)
}

fn write(directory: &Path, made: &mut Made, cancel: &Cancel, bar: &Bar) -> Result<u64> {
    let file = directory.join(format!("{}.parquet", made.name));
    parquet::write(&file, &made.columns, &mut made.source, cancel, bar)
}
