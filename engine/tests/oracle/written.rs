//! A table reached through live writes: a part of its rows is imported with wrong values, put right by upserts that patch
//! some rows twice, continued by inserts; then updates and deletes by conditions, and keys that come back.

use crate::data::{NOW_MICROS, Table};
use crate::random::Random;
use crate::{import, naive, question};
use muster_engine::control::Cancel;
use muster_engine::database::{Database, Durability};
use muster_engine::expr::Expr;
use muster_engine::mutation::{Assignment, Changed, Delete, Insert, Mutation, OnConflict, Update};
use muster_engine::predicate::{Predicate, Truth};
use muster_engine::schema::{DataType, TableSpec};
use muster_engine::{TableId, Value};
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use question::id_of;
use roaring::RoaringBitmap;
use std::sync::Arc;

/// The way to a table.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// How many of its first rows are imported.
    pub base: usize,
    /// The share of their values that are wrong at first; only rows with a key can be put right.
    pub wrong: f64,
}

const BATCHES: [usize; 5] = [1, 350, 7, 30_011, 2];

/// Makes the table "t" and writes to it until it holds what `table` does; then changes both. `ask` is called with a name
/// of the phase whenever they should agree.
pub fn write(
    database: &Arc<Database>,
    table: &mut Table,
    route: Route,
    random: &mut Random,
    ask: &dyn Fn(&str, &Table),
) {
    let wrong = if table.key.is_some() { route.wrong } else { 0.0 };
    let base = scrambled(table, route.base, wrong, random);
    if route.base == 0 {
        database.create_table(&TableSpec::new("t", &table.specs, table.key)).expect("a table");
    } else {
        import(database, &base, 1);
    }
    let id = database.snapshot().table_named("t").expect("the table").id;
    let writer = Writer { database, id };
    if wrong > 0.0 {
        put_right(&writer, table, &base, random);
    }
    let mut at = route.base;
    let mut batch = random.below(5) as usize;
    while at < table.rows {
        let end = (at + BATCHES[batch % BATCHES.len()]).min(table.rows);
        batch += 1;
        let rows: Vec<u32> = (at as u32..end as u32).collect();
        let changed = writer.insert(table, &rows, OnConflict::Refuse, random);
        assert_eq!(changed, Changed { inserted: rows.len() as u64, ..Changed::default() });
        at = end;
    }
    ask("written", table);
    update(&writer, table, random);
    ask("updated", table);
    delete(&writer, table, random);
    ask("deleted", table);
    let dead: Vec<u32> = table.dead.iter().collect();
    if !dead.is_empty() {
        let mut back: Vec<u32> = (0..20).map(|_| *random.pick(&dead)).collect();
        back.sort_unstable();
        back.dedup();
        for column in &mut table.columns {
            let values: Vec<Value> = back.iter().map(|row| column[*row as usize].clone()).collect();
            column.extend(values);
        }
        let rows: Vec<u32> = (table.rows as u32..).take(back.len()).collect();
        table.rows += back.len();
        writer.insert(table, &rows, OnConflict::Refuse, random);
        update(&writer, table, random);
        ask("come back", table);
    }
    check_keys(database, id, table);
}

/// Every key leads to its member, and those of members that are gone to nobody.
fn check_keys(database: &Database, id: TableId, table: &Table) {
    let Some(key) = table.key else { return };
    let mut expected: std::collections::HashMap<String, Option<u32>> = std::collections::HashMap::new();
    for (row, value) in table.columns[key].iter().enumerate() {
        let place = expected.entry(format!("{value:?}")).or_default();
        *place = table.is_live(row).then_some(row as u32).or(*place);
    }
    let keys = &table.columns[key];
    let found = database.snapshot().lookup(id, keys).expect("ordinals");
    for (value, found) in keys.iter().zip(found) {
        assert_eq!(found, expected[&format!("{value:?}")], "key {value:?}");
    }
}

/// The first rows, a share of their values another one.
fn scrambled(table: &Table, rows: usize, share: f64, random: &mut Random) -> Table {
    let column = |column: usize| {
        (0..rows)
            .map(|row| match share > 0.0 && table.key != Some(column) && random.chance(share) {
                true => another(table, column, random),
                false => table.value(column, row).clone(),
            })
            .collect()
    };
    let columns = (0..table.specs.len()).map(column).collect();
    Table { rows, specs: table.specs.clone(), key: table.key, columns, dead: RoaringBitmap::new() }
}

/// Some value that a column can hold.
fn another(table: &Table, column: usize, random: &mut Random) -> Value {
    let spec = &table.specs[column];
    match random.below(6) {
        0 | 1 if spec.nullable => Value::Null,
        2 if spec.data_type == DataType::Text => Value::Text(format!("fresh-{}", random.below(50))),
        2 if spec.data_type == DataType::TextArray => {
            Value::tags((0..random.below(4)).map(|_| format!("fresh-{}", random.below(50))))
        }
        _ => table.value(column, random.below(table.rows as u64) as usize).clone(),
    }
}

struct Writer<'d> {
    database: &'d Arc<Database>,
    id: TableId,
}

impl Writer<'_> {
    /// Writes, now and then in a transaction after something that is taken back.
    fn write(&self, mutation: &Mutation, random: &mut Random) -> Changed {
        let cancel = Cancel::default();
        let written = match random.below(4) {
            0 => self.database.begin(&cancel).and_then(|mut transaction| {
                let changed = transaction.write(mutation, NOW_MICROS, &cancel)?;
                transaction.commit(Durability::Synced).map(|()| changed)
            }),
            1 => self.database.begin(&cancel).and_then(|mut transaction| {
                transaction.write(mutation, NOW_MICROS, &cancel)?;
                transaction.rollback();
                self.database.write(mutation, NOW_MICROS, Durability::Synced, &cancel)
            }),
            _ => self.database.write(mutation, NOW_MICROS, Durability::Synced, &cancel),
        };
        self.checkpoint(random);
        written.unwrap_or_else(|error| panic!("a write is refused: {error}"))
    }

    /// A checkpoint now and then; cut short, it leaves a closed layer under the newest.
    fn checkpoint(&self, random: &mut Random) {
        let cancel = Cancel::default();
        match random.below(8) {
            0 => {
                self.database.checkpoint(&cancel).expect("a checkpoint");
            }
            1 => {
                cancel.cancel();
                // Of nothing it is done at once.
                let _ = self.database.checkpoint(&cancel);
            }
            _ => {}
        }
    }

    fn insert(&self, table: &Table, rows: &[u32], conflict: OnConflict, random: &mut Random) -> Changed {
        let mut columns: Vec<usize> = (0..table.specs.len()).collect();
        random.shuffle(&mut columns);
        // What nobody gives is NULL.
        let is_null =
            |column: &usize| rows.iter().all(|row| *table.value(*column, *row as usize) == Value::Null);
        if conflict == OnConflict::Refuse {
            columns.retain(|column| !table.specs[*column].nullable || !is_null(column) || random.chance(0.5));
        }
        let values = |row: &u32| columns.iter().map(|c| table.value(*c, *row as usize).clone()).collect();
        let insert = Insert {
            table: self.id,
            columns: columns.iter().map(|column| id_of(*column)).collect(),
            rows: rows.iter().map(values).collect(),
            conflict,
        };
        self.write(&Mutation::Insert(insert), random)
    }
}

/// Upserts the wrong values of the base away, a few columns at a time, some after another wrong value.
fn put_right(writer: &Writer<'_>, table: &Table, base: &Table, random: &mut Random) {
    let mut columns: Vec<usize> =
        (0..table.specs.len()).filter(|column| table.key != Some(*column)).collect();
    random.shuffle(&mut columns);
    for columns in columns.chunks(7) {
        let differs =
            |row: usize| columns.iter().any(|c| !naive::same(base.value(*c, row), table.value(*c, row)));
        let mut rows: Vec<u32> = (0..base.rows).filter(|row| differs(*row)).map(|row| row as u32).collect();
        random.shuffle(&mut rows);
        let assignments = |of: &[usize]| {
            let one = |column: &usize| {
                let column = id_of(*column);
                Assignment { column, value: Expr::Column(column.excluded()) }
            };
            OnConflict::Update(of.iter().map(one).collect())
        };
        // A detour for a third of them.
        let third = &rows[..rows.len() / 3];
        if random.chance(0.5) && !third.is_empty() {
            let mut detour = Table {
                rows: table.rows,
                specs: table.specs.clone(),
                key: table.key,
                columns: table.columns.clone(),
                dead: RoaringBitmap::new(),
            };
            for column in columns {
                for row in third {
                    detour.columns[*column][*row as usize] = another(table, *column, random);
                }
            }
            let changed = writer.insert(&detour, third, assignments(columns), random);
            assert_eq!(changed, Changed { updated: third.len() as u64, ..Changed::default() });
        }
        for rows in rows.chunks(20_000) {
            let changed = writer.insert(table, rows, assignments(columns), random);
            assert_eq!(changed, Changed { updated: rows.len() as u64, ..Changed::default() });
        }
    }
}

fn drawn(strategy: &BoxedStrategy<Predicate>, random: &mut Random) -> Predicate {
    let mut bytes = [0; 32];
    bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&random.next().to_le_bytes()));
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    strategy.new_tree(&mut runner).expect("a predicate").current()
}

fn rows_of(table: &Table, predicate: &Predicate) -> RoaringBitmap {
    let truths = naive::truths(table, predicate, NOW_MICROS).expect("truths");
    (0..table.rows as u32).filter(|row| truths[*row as usize] == Truth::True).collect()
}

/// Updates by conditions, of both.
fn update(writer: &Writer<'_>, table: &mut Table, random: &mut Random) {
    let strategy = question::predicates(table, random);
    for _ in 0..8 {
        let predicate = drawn(&strategy, random);
        let rows = rows_of(table, &predicate);
        let (mut assignments, mut values) = (Vec::new(), Vec::new());
        let mut columns: Vec<usize> =
            (0..table.specs.len()).filter(|column| table.key != Some(*column)).collect();
        random.shuffle(&mut columns);
        columns.truncate(4);
        for column in columns {
            let spec = &table.specs[column];
            let like = |other: &usize| {
                let other = &table.specs[*other];
                other.data_type == spec.data_type && (spec.nullable || !other.nullable)
            };
            let sources: Vec<usize> = (0..table.specs.len()).filter(like).collect();
            let (value, new): (Expr, Vec<Value>) = if random.chance(0.4) {
                let from = *random.pick(&sources);
                let new = rows.iter().map(|row| table.value(from, row as usize).clone());
                (Expr::Column(id_of(from)), new.collect())
            } else {
                let constant = another(table, column, random);
                (Expr::value(constant.clone()), vec![constant; rows.len() as usize])
            };
            assignments.push(Assignment { column: id_of(column), value });
            values.push((column, new));
        }
        for (column, new) in values {
            for (row, value) in rows.iter().zip(new) {
                table.columns[column][row as usize] = value;
            }
        }
        let update = Update { table: writer.id, predicate, assignments };
        let changed = writer.write(&Mutation::Update(update), random);
        assert_eq!(changed, Changed { updated: rows.len(), ..Changed::default() });
    }
}

/// Deletes by conditions and by key, of both.
fn delete(writer: &Writer<'_>, table: &mut Table, random: &mut Random) {
    let strategy = question::predicates(table, random);
    let mut predicates: Vec<Predicate> = (0..6).map(|_| drawn(&strategy, random)).collect();
    if let Some(key) = table.key
        && table.rows > 0
    {
        let some = (0..=table.rows as u64 / 50).map(|_| random.below(table.rows as u64) as usize);
        let keys: Vec<Value> = some.map(|row| table.value(key, row).clone()).collect();
        predicates.push(Predicate::any_of(id_of(key), keys));
    }
    for predicate in predicates {
        let rows = rows_of(table, &predicate);
        // Enough have to stay to be asked for.
        if rows.len() * 3 > table.rows as u64 - table.dead.len() {
            continue;
        }
        let changed = writer.write(&Mutation::Delete(Delete { table: writer.id, predicate }), random);
        assert_eq!(changed, Changed { deleted: rows.len(), ..Changed::default() });
        table.dead |= rows;
    }
}
