//! Files in: every type through CSV and Parquet, the exact words of refusals, and where rows came from.

#[path = "transfer/csv.rs"]
mod csv;
#[path = "transfer/infer.rs"]
mod infer;
#[path = "transfer/parquet.rs"]
mod parquet;
#[path = "transfer/support.rs"]
mod support;
