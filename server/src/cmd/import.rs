//! `muster import`: files into a table. A new table's columns are inferred, shown, and asked about where the files do
//! not settle them; nothing is guessed silently.

mod types;

use crate::failure::{Failure, Result};
use crate::figures::{duration, thousands};
use crate::interrupt;
use crate::progress::Bar;
use muster_engine::batch::RowSource;
use muster_engine::database::{Conflict, Database, ImportReport, Mode};
use muster_engine::schema::{ColumnSpec, TableLinks, TableSchema, TableSpec};
use muster_engine::transfer::{
    Ambiguity, Format, ReadOptions, Target, TextEncoding, default_rejects, expand, infer, open_source,
};
use muster_engine::{Cancel, DataType};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

/// Imports CSV, JSON lines (.gz and .zst too) or Parquet files into a table: all rows, or none where one is refused.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  muster import ./db households households.csv --key household_id
  muster import ./db products products.csv.gz --key product_id --types manufacturer_id=BIGINT,package_size=TEXT
  muster import ./db members part-*.parquet --key id
  muster import ./db orders orders.parquet --references member_id=members --time ordered_at --cluster category
  muster import ./db edits edits.csv --rename user=user_name --yes
  muster import ./db orders 'orders/*.jsonl.zst' --key order_id --on-error skip
  muster import ./db customers kunden.csv --encoding windows-1252 --delimiter ';' --null '' --null NULL

Where the table is new its columns are inferred and printed. Where a type is ambiguous you are asked; away from a
terminal the import stops and says which --types settles it, or takes the safe choice with --yes.")]
pub(crate) struct Arguments {
    /// The database's directory; created where there is none
    dir: PathBuf,
    /// The table
    table: String,
    /// CSV, JSON lines or Parquet files, or patterns such as 'dir/*.csv', imported in this order
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The column that identifies a row (BIGINT or TEXT), for a new table
    #[arg(long, value_name = "COLUMN")]
    key: Option<String>,
    /// A column of a new table that holds keys of another one; may be given several times
    #[arg(long, value_name = "COLUMN=TABLE", value_parser = rename)]
    references: Vec<(String, String)>,
    /// The one of them that says whose a row is; where there is one only, it is that [none: nobody's]
    #[arg(long, value_name = "COLUMN")]
    owner: Option<String>,
    /// The column that says when a row happened; where there is one of dates or times only, it is that [none: nothing does]
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// A column whose sum is kept for each owner; may be given several times
    #[arg(long, value_name = "COLUMN")]
    sum: Vec<String>,
    /// A column of few values (TEXT or whole numbers) by which rows of one owner and span of time are kept apart, so that conditions on
    /// it read few of them
    #[arg(long, value_name = "COLUMN")]
    cluster: Option<String>,
    /// The types of a new table's columns: column=TYPE,… by their names in the table
    #[arg(long, value_name = "COLUMN=TYPE,…", value_parser = types::decided)]
    types: Vec<types::Decided>,
    /// The files' format, where their names do not say
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// CSV: what separates fields
    #[arg(long, value_name = "CHAR", default_value = ",", value_parser = delimiter)]
    delimiter: u8,
    /// CSV: what fields are quoted by; none where nothing is
    #[arg(long, value_name = "CHAR", default_value = "\"", value_parser = quote)]
    quote: Quote,
    /// CSV: what stands before a quote that is part of a quoted field; else such a quote is doubled
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    escape: Option<u8>,
    /// The encoding of text files without a byte order mark: gb18030, gbk, big5, shift_jis, euc-kr, windows-1252, …
    #[arg(long, value_name = "NAME", default_value = "utf-8", value_parser = encoding)]
    encoding: TextEncoding,
    /// CSV: the first line is a row, not names (a new table's columns are then called column1, column2, …)
    #[arg(long)]
    no_header: bool,
    /// CSV: the unquoted field that means NULL; may be given several times
    #[arg(long, value_name = "TEXT", default_value = "")]
    null: Vec<String>,
    /// A column that gets another name in the table; may be given several times
    #[arg(long, value_name = "FILE_NAME=NAME", value_parser = rename)]
    rename: Vec<(String, String)>,
    /// A column of the files to leave out; may be given several times
    #[arg(long, value_name = "COLUMN")]
    skip: Vec<String>,
    /// What a bad row does: end the import, or be written to a file while the others are imported
    #[arg(long, value_enum, value_name = "WHAT", default_value = "stop")]
    on_error: OnError,
    /// Where skipped rows go, with file, line, column and reason [default: TABLE.rejects.csv]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// What a row does whose key the table has: end the import, give the member its values, or nothing
    #[arg(long, value_enum, value_name = "WHAT", default_value = "stop")]
    on_conflict: OnConflict,
    /// Take the safe choice where a type is ambiguous
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum FileFormat {
    Csv,
    Jsonl,
    Parquet,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnError {
    Stop,
    Skip,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum OnConflict {
    Stop,
    Update,
    Nothing,
}

impl From<OnConflict> for Conflict {
    fn from(said: OnConflict) -> Conflict {
        match said {
            OnConflict::Stop => Conflict::Refuse,
            OnConflict::Update => Conflict::Update,
            OnConflict::Nothing => Conflict::Nothing,
        }
    }
}

/// What fields are quoted by, if anything.
#[derive(Clone, Copy)]
struct Quote(Option<u8>);

pub(super) fn delimiter(text: &str) -> std::result::Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() => Ok(*byte),
        _ if text == "\\t" || text == "tab" => Ok(b'\t'),
        _ => Err("expected one ASCII character, or tab".into()),
    }
}

fn quote(text: &str) -> std::result::Result<Quote, String> {
    match text {
        "" | "none" => Ok(Quote(None)),
        _ => delimiter(text).map(|byte| Quote(Some(byte))),
    }
}

fn encoding(text: &str) -> std::result::Result<TextEncoding, String> {
    TextEncoding::named(text).ok_or_else(|| "there is no encoding of this name".into())
}

fn rename(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.to_owned(), to.to_owned())),
        _ => Err("expected name-in-file=name-in-table".into()),
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    if arguments.rejects.is_some() && arguments.on_error == OnError::Stop {
        return Err(Failure::new("--rejects takes skipped rows: add --on-error skip"));
    }
    if arguments.quote.0 == Some(arguments.delimiter) {
        return Err(Failure::new("--delimiter and --quote must differ"));
    }
    let mut files = Vec::with_capacity(arguments.files.len());
    for pattern in &arguments.files {
        files.extend(expand(pattern)?);
    }
    let options = ReadOptions {
        format: arguments.format.map(|format| match format {
            FileFormat::Csv => Format::Csv,
            FileFormat::Jsonl => Format::Jsonl,
            FileFormat::Parquet => Format::Parquet,
        }),
        header: !arguments.no_header,
        delimiter: arguments.delimiter,
        quote: arguments.quote.0,
        escape: arguments.escape,
        encoding: arguments.encoding,
        nulls: arguments.null.clone(),
        rejects: (arguments.on_error == OnError::Skip)
            .then(|| arguments.rejects.clone().unwrap_or_else(|| default_rejects(&arguments.table))),
        rename: arguments.rename.clone(),
        skip: arguments.skip.clone(),
        ..ReadOptions::default()
    };
    // A directory that does not exist is created only once it is clear that there is something to import.
    let existing = match arguments.dir.exists() {
        true => Some(Database::open(&arguments.dir, Mode::ReadWrite)?),
        false => None,
    };
    let schema = existing.as_ref().and_then(|database| database.snapshot().table_named(&arguments.table));
    let started;
    let (report, skipped) = match (existing, schema) {
        (Some(database), Some(schema)) => {
            started = Instant::now();
            into_existing(arguments, &files, &options, &database, &schema)?
        }
        (existing, _) => {
            let (columns, key) = proposed(arguments, &files, &options)?;
            let links = links(arguments, &columns, existing.as_ref())?;
            write!(out, "{}", create_table(arguments, &columns, key, &links))?;
            out.flush()?;
            let targets = Target::of_specs(&columns, key);
            let (delivered, mut source) = open_source(&files, &options, &targets)?;
            let columns: Vec<ColumnSpec> = delivered.iter().map(|i| columns[*i].clone()).collect();
            let place = |at: usize| delivered.iter().position(|i| *i == at);
            let key = key.and_then(place);
            let links = TableLinks {
                references: links
                    .references
                    .iter()
                    .filter_map(|(at, table)| Some((place(*at)?, *table)))
                    .collect(),
                owner: links.owner.and_then(|(owner, time)| Some((place(owner)?, time.and_then(place)))),
                sums: links.sums.iter().filter_map(|at| place(*at)).collect(),
                cluster: links.cluster.and_then(place),
            };
            let database = match existing {
                Some(database) => database,
                None => Database::open(&arguments.dir, Mode::ReadWrite)?,
            };
            started = Instant::now();
            let report = watched(&arguments.table, source.as_mut(), |source, cancel, show| {
                database.create_and_import(
                    &TableSpec { links, ..TableSpec::new(&arguments.table, &columns, key) },
                    source,
                    cancel,
                    show,
                )
            })?;
            (report, source.skipped())
        }
    };
    let took = duration(started.elapsed());
    writeln!(out, "{} rows imported into {} in {took}", thousands(report.rows), arguments.table)?;
    if report.nobodys > 0 {
        let (nobodys, all) = (thousands(report.nobodys), report.nobodys == report.rows);
        let hint = if all {
            "; import the members first, or look at the column that says whose they are"
        } else {
            ""
        };
        writeln!(out, "{nobodys} of them belong to nobody yet{hint}")?;
    }
    if let (Some(skipped @ 1..), Some(rejects)) = (skipped, &options.rejects) {
        let rows = if skipped == 1 { "row" } else { "rows" };
        writeln!(out, "{} bad {rows} skipped, see {}", thousands(skipped), rejects.display())?;
    }
    Ok(())
}

fn into_existing(
    arguments: &Arguments,
    files: &[PathBuf],
    options: &ReadOptions,
    database: &Database,
    schema: &TableSchema,
) -> Result<(ImportReport, Option<u64>)> {
    let table = &arguments.table;
    let links = [&arguments.owner, &arguments.time, &arguments.cluster].into_iter().any(Option::is_some)
        || !arguments.references.is_empty();
    if arguments.key.is_some() || !arguments.types.is_empty() || links {
        let message = format!(
            "table \"{table}\" exists already: its key, types and owner are given (leave out --key, --types, --references, \
             --owner, --time and --cluster)"
        );
        return Err(Failure::new(message));
    }
    let (delivered, mut source) = open_source(files, options, &Target::of_table(schema))?;
    let columns: Vec<_> = delivered.into_iter().map(|target| schema.columns[target].id).collect();
    let report = watched(table, source.as_mut(), |source, cancel, show| {
        database.import(schema.id, &columns, source, arguments.on_conflict.into(), cancel, show)
    })?;
    Ok((report, source.skipped()))
}

/// Runs an import with a bar, cancelled by Ctrl-C.
fn watched(
    table: &str,
    source: &mut dyn RowSource,
    import: impl FnOnce(
        &mut dyn RowSource,
        &Cancel,
        &mut dyn FnMut(muster_engine::control::Progress),
    ) -> muster_engine::Result<ImportReport>,
) -> Result<ImportReport> {
    let (bar, cancel) = (Bar::new(table), Cancel::default());
    Ok(interrupt::cancels(&cancel, || import(source, &cancel, &mut |progress| bar.show(progress)))?)
}

/// The columns of a new table and its key, after all questions are settled.
fn proposed(
    arguments: &Arguments,
    files: &[PathBuf],
    options: &ReadOptions,
) -> Result<(Vec<ColumnSpec>, Option<usize>)> {
    let mut decided: Vec<(String, DataType)> =
        arguments.types.iter().flat_map(|decided| decided.0.clone()).collect();
    let mut inference = infer(files, options, &decided)?;
    if !inference.ambiguities.is_empty() && !arguments.yes {
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Err(Failure::Message(unsettled(&inference.ambiguities)));
        }
        for ambiguity in &inference.ambiguities {
            decided.push((ambiguity.column.clone(), ask(ambiguity)?));
        }
    }
    for (name, data_type) in decided {
        if let Some(column) = inference.columns.iter_mut().find(|column| column.name == name) {
            column.data_type = data_type;
        }
    }
    let key = match &arguments.key {
        Some(key) => Some(inference.set_key(key)?),
        None => None,
    };
    Ok((inference.columns, key))
}

/// What a new table refers to, and whose its rows are.
fn links(arguments: &Arguments, columns: &[ColumnSpec], database: Option<&Database>) -> Result<TableLinks> {
    let place = |name: &String| {
        let found = columns.iter().position(|column| column.name == *name);
        found.ok_or_else(|| Failure::Message(format!("the files have no column \"{name}\"")))
    };
    let mut references = Vec::new();
    for (column, table) in &arguments.references {
        let other = database.and_then(|database| database.snapshot().table_named(table));
        let other = other.ok_or_else(|| {
            Failure::Message(format!(
                "--references {column}={table}: there is no table \"{table}\"; import it first"
            ))
        })?;
        references.push((place(column)?, other.id));
    }
    let said = |name: &Option<String>| match name.as_deref() {
        None => Ok(None),
        Some("none") => Ok(Some(None)),
        Some(_) => name.as_ref().map(place).transpose().map(Some),
    };
    let (owner, time) = (said(&arguments.owner)?, said(&arguments.time)?);
    if let (Some(Some(owner)), Some(name)) = (owner, &arguments.owner)
        && !references.iter().any(|(at, _)| *at == owner)
    {
        return Err(Failure::Message(format!(
            "--owner {name}: whose rows are they? Add --references {name}=TABLE"
        )));
    }
    let sums = arguments.sum.iter().map(place).collect::<Result<Vec<_>>>()?;
    let cluster = arguments.cluster.as_ref().map(place).transpose()?;
    Ok(TableLinks { sums, cluster, ..TableLinks::inferred(columns, references, owner, time) })
}

/// What stops an import away from a terminal: every question, and the option that answers them.
fn unsettled(ambiguities: &[Ambiguity]) -> String {
    let mut text = "the files do not settle the types of all columns".to_owned();
    for ambiguity in ambiguities {
        let choices: Vec<String> = ambiguity.choices.iter().map(ToString::to_string).collect();
        text += &format!("\n  {}: {} ({})", ambiguity.column, ambiguity.question, choices.join(" or "));
    }
    let safe = |ambiguity: &Ambiguity| {
        ambiguity.choices.first().map(|choice| format!("{}={}", ambiguity.column, types::compact(*choice)))
    };
    let safe: Vec<String> = ambiguities.iter().filter_map(safe).collect();
    text + &format!("\nState them, e.g. --types '{}', or take these safe choices with --yes", safe.join(","))
}

/// Asks on the terminal; an empty answer is the first choice.
fn ask(ambiguity: &Ambiguity) -> Result<DataType> {
    loop {
        eprintln!("{}: {}", ambiguity.column, ambiguity.question);
        for (i, choice) in ambiguity.choices.iter().enumerate() {
            eprintln!("  {} {choice}{}", i + 1, if i == 0 { " (Enter)" } else { "" });
        }
        eprint!("Which? ");
        let mut answer = String::new();
        if std::io::stdin().read_line(&mut answer)? == 0 {
            return Err(Failure::new("no answer; nothing changed"));
        }
        let number = if answer.trim().is_empty() { Ok(1) } else { answer.trim().parse::<usize>() };
        let by_number = number.ok().and_then(|n| ambiguity.choices.get(n.wrapping_sub(1)).copied());
        if let Some(choice) = by_number.or_else(|| types::parse(&answer).ok()) {
            return Ok(choice);
        }
    }
}

/// The table as the statement that creates it.
fn create_table(
    arguments: &Arguments,
    columns: &[ColumnSpec],
    key: Option<usize>,
    links: &TableLinks,
) -> String {
    let names: Vec<String> = columns.iter().map(|column| types::identifier(&column.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let line = |(i, name): (usize, &String)| {
        let of_key = if key == Some(i) { " PRIMARY KEY" } else { "" };
        let refers = arguments.references.iter().find(|(column, _)| *column == columns[i].name);
        let refers =
            refers.map_or(String::new(), |(_, table)| format!(" REFERENCES {}", types::identifier(table)));
        format!("  {name:width$} {}{of_key}{refers}", columns[i].data_type)
    };
    let lines: Vec<String> = names.iter().enumerate().map(line).collect();
    let quoted = |at: usize| format!("'{}'", columns[at].name.replace('\'', "''"));
    let with = links.owner.map_or(String::new(), |(owner, time)| {
        let time = time.map_or(String::new(), |time| format!(", time = {}", quoted(time)));
        let sums = match arguments.sum.as_slice() {
            [] => String::new(),
            sums => format!(", sums = '{}'", sums.join(", ").replace('\'', "''")),
        };
        let cluster = links.cluster.map_or(String::new(), |at| format!(", cluster = {}", quoted(at)));
        format!(" WITH (owner = {}{time}{sums}{cluster})", quoted(owner))
    });
    format!("CREATE TABLE {} (\n{}\n){with};\n", types::identifier(&arguments.table), lines.join(",\n"))
}
