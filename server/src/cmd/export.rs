//! `muster export`: a table or the answer of a SELECT into a file, by way of COPY … TO.

use crate::failure::{Failure, Result};
use crate::figures::thousands;
use crate::interrupt;
use crate::progress::Bar;
use musterdb::{Database, Outcome};
use std::io::Write;
use std::path::PathBuf;

/// Writes a table, or the answer of a SELECT, to a CSV, JSON lines, Parquet or Roaring file.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  muster export ./db people people.parquet
  muster export ./db \"SELECT id, city FROM people WHERE 'vip' = ANY(tags)\" vips.csv.gz
  muster export ./db \"SELECT id FROM people WHERE city = 'Lima'\" lima.roaring

The file appears when it is whole; one of the same name is replaced then, and stays where the export fails.")]
pub(crate) struct Arguments {
    /// The database's directory
    dir: PathBuf,
    /// A table's name, or a SELECT
    #[arg(value_name = "TABLE|SELECT")]
    what: String,
    /// The file: .csv, .jsonl (each also .gz and .zst), .parquet or .roaring
    file: PathBuf,
    /// The file's format, where its name does not say
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// CSV: what separates fields
    #[arg(long, value_name = "CHAR", default_value = ",", value_parser = super::import::delimiter)]
    delimiter: u8,
    /// CSV: leave out the line of names
    #[arg(long)]
    no_header: bool,
    /// CSV: the text that NULL is written as
    #[arg(long, value_name = "TEXT", default_value = "")]
    null: String,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum FileFormat {
    Csv,
    Jsonl,
    Parquet,
    Roaring,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let database = Database::open_read_only(&arguments.dir)?;
    let mut session = database.session();
    let bar = Bar::new(&arguments.file.display().to_string());
    session.on_progress(move |progress| bar.show(progress));
    let (sql, select_at) = statement(arguments)?;
    let cancel = session.cancel_handle();
    let outcome = interrupt::cancels(&cancel, || session.execute(&sql)).map_err(|error| {
        // The user wrote the SELECT alone, so that is what an error is drawn under.
        match error {
            musterdb::Error::Query { kind, message, span: Some(span), suggestion }
                if span.start >= select_at && span.end <= select_at + arguments.what.len() =>
            {
                let span = musterdb::Span { start: span.start - select_at, end: span.end - select_at };
                let error = musterdb::Error::Query { kind, message, span: Some(span), suggestion };
                Failure::of_statement(&error, &arguments.what)
            }
            error => Failure::from(error),
        }
    })?;
    drop(session);
    let Outcome::Done { message } = outcome else { return Ok(()) };
    let rows: u64 = message.trim_start_matches("COPY ").parse().unwrap_or_default();
    let plural = if rows == 1 { "row" } else { "rows" };
    writeln!(out, "{} {plural} written to {}", thousands(rows), arguments.file.display())?;
    Ok(())
}

/// The COPY of the arguments, and where in it the table or the SELECT stands.
fn statement(arguments: &Arguments) -> Result<(String, usize)> {
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let file = arguments.file.to_str().ok_or_else(|| Failure::new("the file's name is not valid UTF-8"))?;
    let first = arguments.what.split_whitespace().next().unwrap_or_default();
    let (what, select_at) = if first.eq_ignore_ascii_case("select") {
        (format!("({})", arguments.what.trim_end().trim_end_matches(';')), "COPY (".len())
    } else {
        (format!("\"{}\"", arguments.what.replace('"', "\"\"")), "COPY \"".len())
    };
    let delimiter = char::from(arguments.delimiter).to_string();
    let mut options = vec![
        format!("HEADER {}", !arguments.no_header),
        format!("DELIMITER {}", text(&delimiter)),
        format!("NULL {}", text(&arguments.null)),
    ];
    if let Some(format) = arguments.format {
        options.push(match format {
            FileFormat::Csv => "FORMAT csv".to_owned(),
            FileFormat::Jsonl => "FORMAT jsonl".to_owned(),
            FileFormat::Parquet => "FORMAT parquet".to_owned(),
            FileFormat::Roaring => "FORMAT roaring".to_owned(),
        });
    }
    Ok((format!("COPY {what} TO {} ({})", text(file), options.join(", ")), select_at))
}
