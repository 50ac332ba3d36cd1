//! See `bodies/wal.rs`.
#![no_main]

#[path = "../bodies/wal.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
