//! See `bodies/patch.rs`.
#![no_main]

#[path = "../bodies/patch.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
