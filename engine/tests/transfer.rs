//! Files in: every type through CSV and Parquet, the exact words of refusals, and where rows came from.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "transfer/csv.rs"]
mod csv;
#[path = "transfer/export.rs"]
mod export;
#[path = "transfer/infer.rs"]
mod infer;
#[path = "transfer/parquet.rs"]
mod parquet;
#[path = "transfer/reality.rs"]
mod reality;
#[path = "transfer/support.rs"]
mod support;
