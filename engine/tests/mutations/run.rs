//! Steps taken by the database and by its model alike.

use super::compare::compare;
use super::make::{MOMENT, mutation};
use super::model::Model;
use super::random::Random;
use muster_engine::control::Cancel;
use muster_engine::database::{Database, Durability, Mode};
use muster_engine::{Result, Snapshot};
use muster_storage::disk::sim::SimDisk;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

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

/// Random steps as long as `goes_on` says; `what` names the run where it fails.
pub fn run(random: &mut Random, what: &str, goes_on: impl Fn(usize, &Random) -> bool) {
    let mut disk = SimDisk::new(1);
    let (mut database, mut model) = (open(&disk), Model::default());
    let mut kept: Vec<(Snapshot, Model)> = Vec::new();
    for step in 0.. {
        if !goes_on(step, random) {
            break;
        }
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
                0..=4 => write_one(&database, &mut model, random),
                5 | 6 => transact(&database, &mut model, random),
                _ => model.define(&database, random),
            }
            compare(&database.snapshot(), &model, random);
            if random.below(8) == 0 {
                kept.push((database.snapshot(), model.clone()));
            }
            if random.below(8) == 0 {
                kept.iter().for_each(|(snapshot, model)| compare(snapshot, model, random));
                kept.truncate(4);
            }
        }));
        outcome.unwrap_or_else(|_| panic!("{what}, step {step}"));
        if random.below(10) == 0 {
            drop((std::mem::take(&mut kept), database));
            // As after a crash: what was acknowledged is there.
            disk = disk.restart();
            database = open(&disk);
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
                compare(&database.snapshot(), &model, random);
            }));
            outcome.unwrap_or_else(|_| panic!("{what}, reopened after step {step}"));
        }
    }
    kept.iter().for_each(|(snapshot, model)| compare(snapshot, model, random));
}
