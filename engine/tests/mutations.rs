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

use compare::compare;
use make::{MOMENT, mutation};
use model::Model;
use muster_engine::control::Cancel;
use muster_engine::database::{Database, Durability, Mode};
use muster_engine::{Result, Snapshot};
use muster_storage::disk::sim::SimDisk;
use random::Random;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

const STEPS: usize = 80;

fn open(disk: &SimDisk) -> Arc<Database> {
    Arc::new(Database::open_on(Arc::new(disk.clone()), Mode::ReadWrite).unwrap())
}

fn agree<T: std::fmt::Debug + PartialEq>(done: Result<T>, expected: Option<T>, what: &dyn std::fmt::Debug) {
    match (&done, &expected) {
        (Ok(done), Some(expected)) if done == expected => {}
        (Err(_), None) => {}
        _ => panic!("{done:?} instead of {expected:?} of {what:?}"),
    }
}

/// One statement by itself.
fn write_one(database: &Database, model: &mut Model, random: &mut Random) {
    let Some(mutation) = mutation(model, random) else { return };
    let done = database.write(&mutation, MOMENT, Durability::Synced, &Cancel::default());
    agree(done, model.write(&mutation), &mutation);
}

/// Some statements together, which nobody else sees until they are committed.
fn transact(database: &Arc<Database>, model: &mut Model, random: &mut Random) {
    let cancel = Cancel::default();
    let mut transaction = database.begin(&cancel).unwrap();
    let mut draft = model.clone();
    for _ in 0..random.below(5) {
        let Some(mutation) = mutation(&draft, random) else { break };
        let before = transaction.snapshot();
        let was = draft.clone();
        let done = transaction.write(&mutation, MOMENT, &cancel);
        agree(done, draft.write(&mutation), &mutation);
        compare(&transaction.snapshot(), &draft, random);
        compare(&before, &was, random);
    }
    compare(&database.snapshot(), model, random);
    match random.below(3) {
        0 => transaction.rollback(),
        1 => drop(transaction),
        _ => {
            transaction.commit(Durability::Synced).unwrap();
            *model = draft;
        }
    }
}

fn run(seed: u64) {
    let mut disk = SimDisk::new(seed);
    let (mut database, mut model) = (open(&disk), Model::default());
    let mut random = Random(seed * 7919 + 3);
    let mut kept: Vec<(Snapshot, Model)> = Vec::new();
    for step in 0..STEPS {
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
            match random.below(11) {
                // Cut short, it leaves a closed layer under the newest.
                10 => {
                    let cancel = Cancel::default();
                    if random.chance() {
                        cancel.cancel();
                    }
                    let done = database.checkpoint(&cancel);
                    assert!(done.is_ok() || cancel.is_cancelled(), "{done:?}");
                }
                0..=4 => write_one(&database, &mut model, &mut random),
                5 | 6 => transact(&database, &mut model, &mut random),
                _ => model.define(&database, &mut random),
            }
            compare(&database.snapshot(), &model, &mut random);
            if random.below(8) == 0 {
                kept.push((database.snapshot(), model.clone()));
            }
            if random.below(8) == 0 {
                kept.iter().for_each(|(snapshot, model)| compare(snapshot, model, &mut random));
                kept.truncate(4);
            }
        }));
        outcome.unwrap_or_else(|_| panic!("seed {seed}, step {step}"));
        if random.below(10) == 0 {
            drop((std::mem::take(&mut kept), database));
            // As after a crash: what was acknowledged is there.
            disk = disk.restart();
            database = open(&disk);
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
                compare(&database.snapshot(), &model, &mut random);
            }));
            outcome.unwrap_or_else(|_| panic!("seed {seed}, reopened after step {step}"));
        }
    }
    kept.iter().for_each(|(snapshot, model)| compare(snapshot, model, &mut random));
}

#[test]
fn random_mutations_agree_with_the_model() {
    let seeds = std::env::var("MUSTER_MUTATIONS_SEEDS").ok().map_or(40, |text| text.parse().unwrap());
    (0..seeds).for_each(run);
}
