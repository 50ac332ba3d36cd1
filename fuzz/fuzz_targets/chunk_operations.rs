//! See `bodies/chunk_operations.rs`.
#![no_main]

#[path = "../bodies/chunk_operations.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
