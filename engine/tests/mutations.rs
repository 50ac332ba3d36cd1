//! Mutations against a model: random statements and transactions, with changes of the tables in between, and after each of
//! them the database holds what the model holds; a snapshot goes on showing what was when it was taken.
//!
//! A failure prints the seed and the step that replay it. `MUSTER_MUTATIONS_SEEDS` says how many seeds are tried.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "mutations/compare.rs"]
mod compare;
#[path = "mutations/make.rs"]
mod make;
#[path = "mutations/model.rs"]
mod model;
#[path = "define/random.rs"]
mod random;
#[path = "define/rows.rs"]
mod rows;
#[path = "mutations/run.rs"]
mod run;

use random::Random;

const STEPS: usize = 80;

#[test]
fn random_mutations_agree_with_the_model() {
    let seeds = std::env::var("MUSTER_MUTATIONS_SEEDS").ok().map_or(40, |text| text.parse().unwrap());
    for seed in 0..seeds {
        let mut random = Random::seeded(seed * 7919 + 3);
        run::run(&mut random, &format!("seed {seed}"), |step, _| step < STEPS);
    }
}
