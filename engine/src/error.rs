//! Everything that can go wrong between a predicate and its members.

use crate::batch::Place;
use crate::transfer::Format;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes, files, locks.
    #[error(transparent)]
    Storage(#[from] muster_storage::Error),
    /// The statement was cancelled; nothing changed.
    #[error("cancelled")]
    Cancelled,
    /// The statement would hold more memory than it may ([`crate::Cancel::limit_memory`]); nothing changed.
    #[error(
        "out of memory for {what}: a statement may take {} here; ask for less (LIMIT, fewer columns, a narrower WHERE), or SET memory_limit to more",
        in_units(*limit)
    )]
    OutOfMemory {
        /// What the memory was for.
        what: &'static str,
        /// The most bytes that it may hold.
        limit: u64,
    },
    /// A snapshot that kept too much of what the database has replaced, or for too long: see
    /// [`crate::database::SnapshotLimits`].
    #[error(
        "the snapshot of LSN {lsn} has ended: it kept files that the database replaced since, for too long or too many of them; ask again"
    )]
    SnapshotEnded {
        /// The change that the snapshot included last.
        lsn: u64,
    },
    /// A schema change or a predicate that cannot be. A whole sentence without a full stop.
    #[error("{0}")]
    Invalid(String),
    /// A row that was refused, with everything that helps to find it. Nothing was imported.
    #[error("{}{reason}", describe_place(place, column, value))]
    Row {
        /// File and line.
        place: Option<Place>,
        /// The column's name, where one is to blame.
        column: Option<String>,
        /// The text of the value, cut where it is long.
        value: Option<String>,
        /// What is wrong with it.
        reason: String,
    },
    /// An input file could not be read.
    #[error("cannot read {file}: {reason}")]
    Input {
        /// The file.
        file: String,
        /// What the reader said.
        reason: String,
    },
    /// An output file could not be written; under its name there is what was there before.
    #[error("cannot write {file}: {reason}")]
    Output {
        /// The file.
        file: String,
        /// What the writer said.
        reason: String,
    },
}

/// Bytes in the largest unit that they are a whole number of.
fn in_units(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = units.into_iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| format!("{bytes} bytes"), |(unit, shift)| format!("{} {unit}", bytes >> shift))
}

fn describe_place(place: &Option<Place>, column: &Option<String>, value: &Option<String>) -> String {
    let mut text = String::new();
    if let Some(place) = place {
        let is_parquet = Format::of_path(place.file.as_ref()) == Some(Format::Parquet);
        text += &format!("{}, {} {}: ", place.file, if is_parquet { "row" } else { "line" }, place.line);
    }
    if let Some(column) = column {
        text += &format!("column \"{column}\": ");
    }
    if let Some(value) = value {
        text += &format!("value {value:?}: ");
    }
    text
}

/// The result of the engine.
pub type Result<T> = std::result::Result<T, Error>;
