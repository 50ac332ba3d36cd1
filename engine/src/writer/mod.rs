//! The one way to change rows.
//!
//! ```text
//! Mutation ─ resolve (against a draft) ─ Change: ordinals and values ─ log ─ sync ─┐
//!                                            └─ apply: a new draft of the table ───┴─ publish ─ acknowledge
//! ```
//!
//! `resolve` says which rows hold what afterwards, and refuses; [`Change`] is that, and what the log holds;
//! `apply` puts it into a table's newest layer. Recovery reads changes from the log and goes through the same
//! `apply`.

pub(crate) mod apply;
pub(crate) mod change;
pub(crate) mod record;
pub(crate) mod resolve;

pub use change::{Change, ColumnChange};
