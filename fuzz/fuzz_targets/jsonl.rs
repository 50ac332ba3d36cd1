//! See `bodies/jsonl.rs`.
#![no_main]

#[path = "../bodies/jsonl.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
