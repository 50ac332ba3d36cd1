//! See `bodies/catalog.rs`.
#![no_main]

#[path = "../bodies/catalog.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
