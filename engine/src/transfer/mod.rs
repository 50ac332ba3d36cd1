//! Rows across the border: reading Parquet and CSV into batches.
