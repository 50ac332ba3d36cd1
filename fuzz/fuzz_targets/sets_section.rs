//! See `bodies/sets_section.rs`.
#![no_main]

#[path = "../bodies/sets_section.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
