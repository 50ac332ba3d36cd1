//! Everything that can go wrong with bytes, said so that the reader knows what to do next.

/// An error of the storage layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// A verb phrase: `create`, `map`, `sync`.
        action: &'static str,
        /// The file, relative to the database directory.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Bytes are not what was written.
    #[error("{file} is damaged at byte {offset}: expected {expected}, found {found}; {remedy}")]
    Corrupt {
        /// The file, relative to the database directory.
        file: String,
        /// Where in the file the trouble begins.
        offset: u64,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A file of a format that this build does not know.
    #[error(
        "{file} has format version {found}, this muster reads version {known}; use the muster that wrote it"
    )]
    Version {
        /// The file, relative to the database directory.
        file: String,
        /// The version it carries.
        found: u32,
        /// The version this build knows.
        known: u32,
    },
    /// Another process holds the database.
    #[error("{directory} is in use by another muster process; close it, or open the database read-only")]
    Locked {
        /// The database directory.
        directory: String,
    },
    /// A backup would mix with other files.
    #[error("{directory} is not empty, it holds {name}; a backup goes to a new or an empty directory")]
    BackupTarget {
        /// The directory.
        directory: String,
        /// One of its files.
        name: String,
    },
    /// The directory holds something else.
    #[error("{directory} is not a MusterDB database: {reason}")]
    NotADatabase {
        /// The directory.
        directory: String,
        /// What was missing or in the way.
        reason: String,
    },
    /// A change was asked of a read-only database.
    #[error("the database was opened read-only")]
    ReadOnly,
    /// A sync failed earlier: what is on disk is unknown until it is read again.
    #[error("an earlier sync failed, the writer is stopped; close the database and open it again")]
    Poisoned,
}

/// The remedy named in most [`Error::Corrupt`].
pub const RESTORE: &str =
    "run `muster verify` to see the extent, and restore the file from a backup or import again";

/// The result of the storage layer.
pub type Result<T> = std::result::Result<T, Error>;
