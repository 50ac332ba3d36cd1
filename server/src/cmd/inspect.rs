//! `muster inspect`: what a database holds, and where its bytes are.

use crate::failure::Result;
use crate::figures::{bytes, thousands};
use comfy_table::{Cell, CellAlignment, Table, presets};
use muster_engine::DataType;
use muster_engine::database::{Database, Mode};
use muster_engine::inspect::{ColumnInspection, Inspection, TableInspection};
use muster_engine::member::KeyLayout;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

/// Shows tables, columns, cardinalities, and the bytes of each index.
///
/// Reads the tables of contents only, and what has changed, so that it is quick at any size. Cardinality is the number of different texts or
/// tags of a column, and for BOOLEAN how many rows are true.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The database's directory
    dir: PathBuf,
    /// Only this table
    table: Option<String>,
    /// JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let database = Database::open(&arguments.dir, Mode::ReadOnly)?;
    let mut inspection = database.inspect()?;
    if let Some(only) = &arguments.table {
        if !inspection.tables.iter().any(|table| table.schema.name == *only) {
            return Err(crate::failure::Failure::new(format!("unknown table \"{only}\"")));
        }
        inspection.tables.retain(|table| table.schema.name == *only);
    }
    if arguments.json {
        writeln!(out, "{:#}", as_json(&inspection))?;
        return Ok(());
    }
    writeln!(
        out,
        "database {:016x} at LSN {}: {} in {} part files",
        inspection.database_id,
        inspection.lsn,
        bytes(inspection.bytes),
        inspection.parts
    )?;
    let log: u64 = inspection.log.iter().map(|(_, bytes)| bytes).sum();
    writeln!(
        out,
        "checkpoint at LSN {}, the log since: {} in {}",
        inspection.checkpoint,
        bytes(log),
        match inspection.log.len() {
            1 => "1 segment".to_owned(),
            segments => format!("{segments} segments"),
        }
    )?;
    for (name, size) in &inspection.log {
        writeln!(out, "  {name} {}", bytes(*size))?;
    }
    for table in &inspection.tables {
        writeln!(
            out,
            "\n{}: {} rows in {} chunks, {} ({:.1} bytes a row), {}",
            table.schema.name,
            thousands(table.rows),
            table.chunks,
            bytes(table.bytes),
            per_row(table.bytes, table.rows),
            key(table)
        )?;
        if table.patch_parts > 0 || table.changes_bytes > 0 {
            writeln!(
                out,
                "changes: {} in memory, {} patch parts",
                bytes(table.changes_bytes),
                table.patch_parts
            )?;
        }
        writeln!(out, "{}", columns(table))?;
    }
    Ok(())
}

fn per_row(bytes: u64, rows: u64) -> f64 {
    bytes as f64 / rows.max(1) as f64
}

fn key(table: &TableInspection) -> String {
    let name = table.schema.key.and_then(|id| table.schema.column(id)).map(|column| column.name.as_str());
    match (name, table.keys) {
        (None, _) => "no key".to_owned(),
        (Some(name), KeyLayout::None) => format!("key {name}"),
        (Some(name), KeyLayout::Sequence { first }) => {
            format!("key {name} (a sequence from {first}: no index needed)")
        }
        (Some(name), KeyLayout::Hashed) => format!("key {name} (hashed)"),
    }
}

fn columns(table: &TableInspection) -> Table {
    let mut shown = Table::new();
    shown.load_style(presets::UTF8_FULL_CONDENSED);
    shown.set_header(["column", "type", "NULLs", "cardinality", "changed", "bytes", "a row", "of which"]);
    let named =
        table.columns.iter().map(|column| (column.name.clone(), column.data_type.to_string(), column));
    let audiences = table
        .audiences
        .iter()
        .map(|audience| (audience.name.clone(), "static audience".to_owned(), audience));
    let derived = table.derived.iter().map(|column| (column.name.clone(), "derived".to_owned(), column));
    for (name, kind, column) in named.chain(audiences).chain(derived) {
        let total = total(column);
        let figures = [
            thousands(column.nulls),
            cardinality(column),
            thousands(column.changed),
            bytes(total),
            format!("{:.2}", per_row(total, table.rows)),
        ];
        let figures = figures.into_iter().map(|figure| Cell::new(figure).set_alignment(CellAlignment::Right));
        let names = [Cell::new(name), Cell::new(kind)];
        let parts = Cell::new(breakdown(column));
        shown.add_row(names.into_iter().chain(figures).chain([parts]).collect::<Vec<_>>());
    }
    shown
}

fn total(column: &ColumnInspection) -> u64 {
    column.bytes.values().sum()
}

fn cardinality(column: &ColumnInspection) -> String {
    match (column.cardinality, column.data_type) {
        (Some(count), DataType::Boolean) => format!("{} true", thousands(count)),
        (Some(count), _) => thousands(count),
        (None, _) => String::new(),
    }
}

/// The sections of a column by name and size, the largest first.
fn breakdown(column: &ColumnInspection) -> String {
    let mut parts: Vec<(String, u64)> = named(column).into_iter().filter(|(_, bytes)| *bytes > 0).collect();
    parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    parts.iter().map(|(name, size)| format!("{name} {}", bytes(*size))).collect::<Vec<_>>().join(", ")
}

fn named(column: &ColumnInspection) -> BTreeMap<String, u64> {
    column.bytes.iter().map(|(kind, bytes)| (words(&format!("{kind:?}")), *bytes)).collect()
}

/// `DictionaryStrings` as `dictionary strings`.
fn words(name: &str) -> String {
    let mut text = String::new();
    for (i, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && i > 0 {
            text.push(' ');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

fn as_json(inspection: &Inspection) -> serde_json::Value {
    let column = |column: &ColumnInspection| {
        serde_json::json!({
            "name": column.name,
            "type": column.data_type.to_string(),
            "nulls": column.nulls,
            "cardinality": column.cardinality,
            "changed": column.changed,
            "bytes": total(column),
            "sections": named(column),
        })
    };
    let table = |table: &TableInspection| {
        serde_json::json!({
            "name": table.schema.name,
            "rows": table.rows,
            "chunks": table.chunks,
            "key": table.schema.key.and_then(|id| table.schema.column(id)).map(|column| &column.name),
            "bytes": table.bytes,
            "patch_parts": table.patch_parts,
            "changes_bytes": table.changes_bytes,
            "columns": table.columns.iter().map(column).collect::<Vec<_>>(),
            "static_audiences": table.audiences.iter().map(column).collect::<Vec<_>>(),
            "derived": table.derived.iter().map(column).collect::<Vec<_>>(),
        })
    };
    let segment = |(name, bytes): &(String, u64)| serde_json::json!({ "file": name, "bytes": bytes });
    serde_json::json!({
        "database_id": format!("{:016x}", inspection.database_id),
        "lsn": inspection.lsn,
        "checkpoint": inspection.checkpoint,
        "log": inspection.log.iter().map(segment).collect::<Vec<_>>(),
        "parts": inspection.parts,
        "bytes": inspection.bytes,
        "tables": inspection.tables.iter().map(table).collect::<Vec<_>>(),
    })
}
