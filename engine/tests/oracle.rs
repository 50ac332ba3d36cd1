//! The executor against the naive evaluator: random tables, random questions, every sink and scope.
//!
//! Each test imports one table and asks it many questions: right after the import, after closing and reopening, and
//! read-only. Other tests reach their table through live writes. A failure prints the seed, the table and the question shrunk as far as it goes. `MUSTER_ORACLE_SEED`
//! sets another seed, `MUSTER_ORACLE_CASES` multiplies the questions.

#![allow(unreachable_pub, reason = "the modules of a test are private to it")]

#[path = "oracle/check.rs"]
mod check;
#[path = "oracle/computed.rs"]
mod computed;
#[path = "oracle/data.rs"]
mod data;
#[path = "oracle/expressions.rs"]
mod expressions;
#[path = "oracle/literals.rs"]
mod literals;
#[path = "oracle/naive.rs"]
mod naive;
#[path = "oracle/question.rs"]
mod question;
#[path = "oracle/random.rs"]
mod random;
#[path = "oracle/source.rs"]
mod source;
#[path = "oracle/written.rs"]
mod written;

use data::{CHUNK, ColumnPlan, Key, NOW_MICROS, Table};
use muster_engine::Database;
use muster_engine::control::Cancel;
use muster_engine::database::Mode;
use muster_engine::predicate::{CompareOp, Predicate};
use muster_engine::schema::{ColumnSpec, DataType, TableSpec};
use muster_engine::value::Value;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use random::Random;
use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Once};
use written::Route;

/// One test: a table and the questions it is asked.
struct Run {
    rows: usize,
    key: Key,
    /// Which of all the plans are its columns.
    plans: std::ops::Range<usize>,
    /// Questions in each phase.
    cases: u32,
    /// Three: just imported, reopened, read-only. One: just imported.
    phases: usize,
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a whole number"))
}

fn run(run: &Run) {
    let seed = from_environment("MUSTER_ORACLE_SEED", 1);
    let mut random = Random::new(seed);
    let plans: Vec<ColumnPlan> = data::all_plans(&mut random)
        .into_iter()
        .cycle()
        .skip(run.plans.start)
        .take(run.plans.len())
        .collect();
    let table = data::table(run.rows, run.key, &plans, &mut random);
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("database");
    {
        let database = open(&place, Mode::ReadWrite);
        import(&database, &table, seed);
        ask("after the import", &database, &table, run.cases, seed);
    }
    let later = [("reopened", Mode::ReadWrite), ("read-only", Mode::ReadOnly)];
    for (phase, mode) in later.into_iter().take(run.phases - 1) {
        let database = open(&place, mode);
        ask(phase, &database, &table, run.cases, seed);
    }
}

fn open(place: &Path, mode: Mode) -> Database {
    Database::open(place, mode).unwrap_or_else(|error| panic!("cannot open as {mode:?}: {error}"))
}

fn import(database: &Database, table: &Table, seed: u64) {
    let mut rows = source::Rows::new(table, seed);
    let report = database
        .create_and_import(
            &TableSpec::new("t", &table.specs, table.key),
            &mut rows,
            &Cancel::default(),
            &mut |_| {},
        )
        .unwrap_or_else(|error| panic!("seed {seed}: the import fails: {error}\n{}", table.describe()));
    assert_eq!(report.rows, table.rows as u64);
}

fn ask(phase: &str, database: &Database, table: &Table, cases: u32, seed: u64) {
    let snapshot = database.snapshot().at(NOW_MICROS);
    let schema = snapshot.table_named("t").expect("the table that was imported");
    assert_eq!(snapshot.rows(schema.id), table.rows as u64 - table.dead.len());
    let subject = check::Subject { table, id: schema.id, snapshot };

    let mut random = Random::new(seed ^ phase.len() as u64);
    let mut bytes = [0; 32];
    bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&random.next().to_le_bytes()));
    let config = Config {
        cases: cases * from_environment("MUSTER_ORACLE_CASES", 1) as u32,
        failure_persistence: None,
        max_shrink_iters: 400,
        max_shrink_time: 15_000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let questions = question::questions(table, &mut random);
    let result =
        runner.run(&questions, |question| quietly(|| subject.check(&question)).map_err(TestCaseError::fail));
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, question)) => {
            panic!("seed {seed}, {phase}: {reason}\n{question:#?}\n{}", table.describe())
        }
        Err(TestError::Abort(reason)) => panic!("seed {seed}, {phase}: given up: {reason}"),
    }
}

thread_local! {
    /// While questions are asked: the last panic of this thread, which is one wrong answer among many, not the last word.
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// Makes a panic an error that says where. Shrinking panics a hundred times over; only the last is worth printing.
fn quietly(check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match ASKING.get() {
            true => LAST_PANIC.set(Some(info.to_string())),
            false => loud(info),
        }));
    });
    ASKING.set(true);
    let result = std::panic::catch_unwind(AssertUnwindSafe(check));
    ASKING.set(false);
    result.unwrap_or_else(|_| Err(LAST_PANIC.take().unwrap_or_else(|| "a panic on another thread".into())))
}

#[test]
fn no_rows() {
    run(&Run { rows: 0, key: Key::Text, plans: 0..133, cases: 60, phases: 3 });
}

#[test]
fn one_row() {
    run(&Run { rows: 1, key: Key::BigInt, plans: 0..133, cases: 150, phases: 3 });
}

#[test]
fn a_thousand_rows() {
    run(&Run { rows: 1000, key: Key::Text, plans: 0..133, cases: 250, phases: 3 });
}

#[test]
fn one_less_than_a_chunk() {
    run(&Run { rows: CHUNK - 1, key: Key::None, plans: 0..30, cases: 25, phases: 3 });
}

#[test]
fn a_chunk() {
    run(&Run { rows: CHUNK, key: Key::BigInt, plans: 30..60, cases: 25, phases: 3 });
}

#[test]
fn one_more_than_a_chunk() {
    run(&Run { rows: CHUNK + 1, key: Key::Text, plans: 60..90, cases: 25, phases: 3 });
}

#[test]
fn three_chunks_and_seven() {
    run(&Run { rows: 3 * CHUNK + 7, key: Key::None, plans: 90..133, cases: 20, phases: 3 });
}

/// Tasks have sixteen chunks: here partial results of several threads merge.
#[test]
fn seventeen_chunks_and_more() {
    run(&Run { rows: 17 * CHUNK + 12_345, key: Key::None, plans: 0..9, cases: 8, phases: 1 });
}

/// A table that is reached by writing.
fn run_written(rows: usize, key: Key, plans: std::ops::Range<usize>, route: Route, cases: u32) {
    let seed = from_environment("MUSTER_ORACLE_SEED", 1);
    let mut random = Random::new(seed ^ rows as u64);
    let all = data::all_plans(&mut random);
    let plans: Vec<ColumnPlan> = all.into_iter().cycle().skip(plans.start).take(plans.len()).collect();
    let mut table = data::table(rows, key, &plans, &mut random);
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("database");
    {
        let database = Arc::new(open(&place, Mode::ReadWrite));
        let ask = |phase: &str, table: &Table| ask(phase, &database, table, cases, seed);
        written::write(&database, &mut table, route, &mut random, &ask);
        database.checkpoint(&Cancel::default()).expect("a checkpoint");
        ask("checkpointed", &table);
    }
    ask("reopened", &open(&place, Mode::ReadOnly), &table, cases, seed);
}

#[test]
fn written_where_there_was_nothing() {
    run_written(1000, Key::BigInt, 0..133, Route { base: 0, wrong: 0.3 }, 60);
    run_written(700, Key::Text, 0..133, Route { base: 0, wrong: 0.01 }, 60);
    run_written(1, Key::None, 0..133, Route { base: 0, wrong: 1.0 }, 40);
}

#[test]
fn written_over_some_hundred_rows() {
    run_written(1000, Key::Text, 0..133, Route { base: 600, wrong: 0.3 }, 80);
    run_written(1000, Key::BigInt, 0..133, Route { base: 999, wrong: 0.01 }, 80);
    run_written(1000, Key::None, 0..133, Route { base: 300, wrong: 0.0 }, 60);
}

#[test]
fn written_over_the_end_of_a_chunk() {
    run_written(CHUNK + 500, Key::BigInt, 0..24, Route { base: CHUNK - 300, wrong: 0.001 }, 8);
    run_written(CHUNK + 500, Key::Text, 24..44, Route { base: CHUNK + 77, wrong: 0.01 }, 8);
}

#[test]
fn written_over_a_third_of_two_chunks() {
    run_written(2 * CHUNK + 500, Key::BigInt, 44..60, Route { base: CHUNK + 30_000, wrong: 0.3 }, 6);
}

#[test]
fn written_without_a_key_over_chunks() {
    run_written(2 * CHUNK + 7, Key::None, 60..76, Route { base: CHUNK, wrong: 0.0 }, 6);
}

#[test]
fn written_chunks_without_a_base() {
    run_written(CHUNK + 1000, Key::Text, 76..90, Route { base: 0, wrong: 0.1 }, 6);
}

/// A table, columns added to it that no member has a value in, and expressions over them all.
fn run_expressions(seed: u64, rows: usize, plans: std::ops::Range<usize>, cases: u64, route: Option<Route>) {
    let seed = from_environment("MUSTER_ORACLE_SEED", seed);
    let cases = cases * from_environment("MUSTER_ORACLE_CASES", 1);
    let mut random = Random::new(seed ^ rows as u64);
    let all = data::all_plans(&mut random);
    let plans: Vec<ColumnPlan> = all.iter().copied().cycle().skip(plans.start).take(plans.len()).collect();
    let mut table = data::table(rows, Key::BigInt, &plans, &mut random);
    let directory = tempfile::tempdir().expect("a directory");
    let database = Arc::new(open(&directory.path().join("database"), Mode::ReadWrite));
    match route {
        Some(route) => written::write(&database, &mut table, route, &mut random, &|_, _| {}),
        None => import(&database, &table, seed),
    }
    let id = database.snapshot().table_named("t").expect("the table that was imported").id;
    for data_type in [DataType::Boolean, DataType::BigInt, DataType::Double, DataType::Text, DataType::Date] {
        let spec = ColumnSpec { name: format!("added {data_type}"), data_type, nullable: true };
        database.add_column(id, &spec, false).expect("a new column");
        table.specs.push(spec);
        table.columns.push(vec![Value::Null; table.rows]);
    }
    let subject = computed::Subject {
        table: &table,
        id,
        snapshot: database.snapshot().at(NOW_MICROS),
        telling: Cell::new(0),
    };
    let fail = |what: String| panic!("seed {seed}: {what}\n{}", table.describe());
    for case in 0..cases {
        // Of few columns at a time, so that both sides of a comparison are often one column.
        let maker = expressions::Maker::new(&table, &mut random).of_some(&mut random);
        let expr = match random.below(3) {
            0 => maker.about_one_column(&mut random),
            1 => maker.of_some(&mut random).expr(expressions::Kind::Boolean, 3, &mut random),
            _ => maker.expr(expressions::Kind::Boolean, 4, &mut random),
        };
        let at = random.below(table.specs.len() as u64) as usize;
        let beside = match literals::literals(&table, at, &mut random).first() {
            Some(literal) => Predicate::Compare {
                column: question::id_of(at),
                op: CompareOp::Ge,
                literal: literal.clone(),
            },
            None => Predicate::IsNull(question::id_of(at)),
        };
        if let Err(what) = quietly(|| subject.check(&expr, &beside, &mut random)) {
            fail(format!("case {case}: {what}\n{expr:?}"));
        }
        if case % 3 == 0
            && let Err(what) = quietly(|| subject.check_terms(&maker, &mut random))
        {
            fail(format!("terms {case}: {what}"));
        }
        if case % 4 == 0
            && let Err(what) = quietly(|| subject.check_fold(&maker, &mut random))
        {
            fail(format!("case {case}: {what}"));
        }
    }
    // What one column decides is asked of its codes: ranges with ends to be wrong about.
    let maker = expressions::Maker::new(&table, &mut random);
    for case in 0..8 * cases {
        let expr = maker.of_one_in_order(&mut random).about_one_column(&mut random);
        if let Err(what) = quietly(|| subject.check(&expr, &Predicate::everyone(), &mut random)) {
            fail(format!("range {case}: {what}\n{expr:?}"));
        }
    }
    let telling = subject.telling.get();
    assert!(rows < 2 || telling > cases / 4, "only {telling} sets of {cases} expressions tell members apart");
}

#[test]
fn expressions_of_no_rows_and_one() {
    run_expressions(1, 0, 0..133, 50, None);
    run_expressions(1, 1, 0..133, 400, None);
    // A batch multiplied by a decimal of more digits than are kept, where a member alone was refused.
    run_expressions(13, 1, 0..133, 120, None);
}

#[test]
fn expressions_of_a_thousand_rows() {
    run_expressions(1, 1000, 0..133, 500, None);
}

#[test]
fn expressions_of_more_than_a_chunk() {
    run_expressions(1, CHUNK + 1, 20..60, 15, None);
}

#[test]
fn expressions_of_written_rows() {
    run_expressions(1, 800, 0..133, 150, Some(Route { base: 500, wrong: 0.2 }));
    run_expressions(1, 800, 0..133, 100, Some(Route { base: 0, wrong: 0.2 }));
    run_expressions(1, CHUNK + 1, 20..50, 8, Some(Route { base: CHUNK - 99, wrong: 0.02 }));
}
