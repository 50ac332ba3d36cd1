//! See `bodies/part_reader.rs`.
#![no_main]

#[path = "../bodies/part_reader.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
