//! Criterion groups live in `benches/`; the peers in `peers/`.
