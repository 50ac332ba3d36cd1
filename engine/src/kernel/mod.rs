//! The innermost loops: free functions on primitive slices. No self, no allocation, no panics on any input.
//!
//! `bitset` and `array` hold the one source of each kernel in plain Rust; `simd` compiles that source a second
//! time for AVX2 and picks at run time. So each fast kernel's scalar twin is the same text, and there is no hand-written
//! intrinsic to prove right. Bandwidth decides at 100 M members; see docs/adr/0003-kernels.md.

mod array;
mod bitset;
mod simd;

pub use array::count_below;
pub use bitset::{Lanes, Operand, first_bits, has};
pub use simd::*;
