//! See `bodies/database.rs`.
#![no_main]

#[path = "../bodies/database.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
