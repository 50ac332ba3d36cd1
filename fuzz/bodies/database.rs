//! A whole database and its model: bytes choose tables, mutations, transactions, definitions, checkpoints and crashes, and after
//! each the database holds what the model holds.

#[path = "../../engine/tests/mutations/compare.rs"]
mod compare;
#[path = "../../engine/tests/mutations/make.rs"]
mod make;
#[path = "../../engine/tests/mutations/model.rs"]
mod model;
#[path = "../../engine/tests/define/random.rs"]
mod random;
#[path = "../../engine/tests/define/rows.rs"]
mod rows;
#[path = "../../engine/tests/mutations/run.rs"]
mod steps;

/// Steps of one run, at most: each compares everything.
const STEPS_MAX: usize = 60;

/// Every choice takes a byte, or two among many; the run ends with them.
pub fn run(data: &[u8]) {
    let mut random = random::Random::of_bytes(data);
    steps::run(&mut random, "these bytes", |step, random| step < STEPS_MAX && !random.is_spent());
}
