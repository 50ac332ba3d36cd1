//! Sets and meaning: tables, predicates, indexes, and the executor that evaluates a whole predicate tree one chunk of
//! 65,536 members at a time.
//!
//! ```text
//! import : RowSource ─ batch::Batch ─ transfer::import ─ index::encode ─ storage part ─ writer (one LSN)
//! read   : Predicate ─ plan ─ exec (chunk by chunk) ─ sink (count, members, groups, top, rows)
//! ```
//!
//! Imports run one way: this crate knows storage, and nothing of the language above it.

pub mod audience;
pub mod batch;
pub mod calendar;
pub mod catalog;
pub mod code;
pub mod control;
pub mod database;
pub mod delta;
pub mod dictionary;
mod error;
pub mod eval;
mod events;
pub mod exec;
pub mod expr;
pub mod index;
pub mod inspect;
pub mod kernel;
pub mod member;
pub mod mutation;
pub mod plan;
mod pool;
pub mod predicate;
pub mod schema;
pub mod table;
pub mod transfer;
pub mod value;
pub mod writer;

pub use control::Cancel;
pub use database::{Database, Snapshot};
pub use error::{Error, Result};
pub use events::RowsByOwner;
pub use exec::evaluate;
pub use expr::Expr;
pub use predicate::Predicate;
pub use schema::{ColumnId, DataType, TableId};
pub use value::Value;
