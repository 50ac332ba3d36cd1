//! A set of members as a Roaring bitmap in the portable format, with what is needed to make sense of it beside it.
//!
//! The bitmap holds ordinals, which mean something only in one table of one database. `FILE.json` names them, and the
//! statement that gives the members' keys in the order of the ordinals.

use super::file::PartialFile;
use super::jsonl::append_text;
use super::output_error;
use crate::Result;
use crate::schema::TableSchema;
use roaring::RoaringBitmap;
use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// A set of members and where it comes from.
pub struct Members<'a> {
    /// The ordinals.
    pub ordinals: RoaringBitmap,
    /// The database's id.
    pub database_id: u64,
    /// The table that the ordinals count.
    pub table: &'a TableSchema,
    /// The change that was seen last.
    pub lsn: u64,
    /// The clock of the statement, microseconds since 1970-01-01 UTC.
    pub now_micros: i64,
    /// The SELECT that chose them.
    pub select: &'a str,
    /// The SELECT that gives their keys, row by row in the order of the ordinals; `None` for a table without a key.
    pub keys: Option<&'a str>,
}

/// Writes the bitmap and `FILE.json`. Both are whole on disk before either gets its name.
pub fn write_members(path: &Path, mut members: Members<'_>) -> Result<()> {
    members.ordinals.optimize();
    let mut beside = path.as_os_str().to_owned();
    beside.push(".json");
    let beside = PathBuf::from(beside);
    let mut sidecar = PartialFile::create(&beside)?;
    sidecar.write_all(describe(&members).as_bytes()).map_err(|error| output_error(&beside, error))?;
    let mut bitmap = BufWriter::new(PartialFile::create(path)?);
    members.ordinals.serialize_into(&mut bitmap).map_err(|error| output_error(path, error))?;
    let bitmap = bitmap.into_inner().map_err(|error| output_error(path, error.into_error()))?;
    bitmap.commit()?;
    sidecar.commit()
}

fn describe(members: &Members<'_>) -> String {
    let mut out = String::from("{\n  \"format\": \"roaring\"");
    let mut member = |name: &str, value: &str| {
        // Writing to a String does not fail.
        let _ = write!(out, ",\n  \"{name}\": {value}");
    };
    let text = |text: &str| {
        let mut quoted = String::new();
        append_text(&mut quoted, text);
        quoted
    };
    let or_null = |value: Option<&str>| value.map_or_else(|| "null".to_owned(), text);
    let table = members.table;
    let key = table.key.and_then(|id| table.column(id)).map(|column| column.name.as_str());
    // The id has 64 bits, more than a double of JSON keeps.
    member("database_id", &format!("\"{:016x}\"", members.database_id));
    member("table_id", &table.id.0.to_string());
    member("table", &text(&table.name));
    member("ordinal_epoch", &table.ordinal_epoch.to_string());
    member("lsn", &members.lsn.to_string());
    member("now", &text(&crate::Value::TimestampTz(members.now_micros).to_string()));
    member("cardinality", &members.ordinals.len().to_string());
    member("key_column", &or_null(key));
    member("select", &text(members.select));
    member("keys", &or_null(members.keys));
    out + "\n}\n"
}
