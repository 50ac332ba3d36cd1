//! Random values, conditions and mutations: mostly such as are allowed, over so few keys and values that they meet.

use super::model::{Column, Model, Table};
use super::random::Random;
use muster_engine::expr::{Expr, Function};
use muster_engine::mutation::{Assignment, Delete, Insert, Mutation, OnConflict, Update};
use muster_engine::predicate::CompareOp;
use muster_engine::{ColumnId, DataType, Predicate, TableId, Value};

/// The clock of every statement: 2024-05-05.
pub const MOMENT: i64 = 1_714_916_220_000_000;

pub const TYPES: [DataType; 7] = [
    DataType::Text,
    DataType::Integer,
    DataType::BigInt,
    DataType::Boolean,
    DataType::TextArray,
    DataType::Double,
    DataType::Date,
];
/// Keys are drawn from so many.
pub const KEYS: usize = 80;

pub fn key(data_type: DataType, number: usize) -> Value {
    match data_type {
        DataType::BigInt => Value::Integer(number as i64 - 5),
        _ if number == 7 => Value::Text(String::new()),
        _ => Value::Text(format!("k{number}")),
    }
}

pub fn value(data_type: DataType, random: &mut Random) -> Value {
    let n = random.below(12) as i64;
    match data_type {
        DataType::Text if n == 11 => Value::Text(format!("rare-{}", random.below(100_000))),
        DataType::Text => Value::Text(["", "a", "b", "é", "ab", "z\0"][n as usize % 6].into()),
        DataType::Integer if n == 11 => Value::Integer(i64::from([i32::MIN, i32::MAX][random.below(2)])),
        DataType::BigInt if n == 11 => Value::Integer([i64::MIN, i64::MAX][random.below(2)]),
        DataType::Integer | DataType::BigInt => Value::Integer(n - 5),
        DataType::Boolean => Value::Boolean(n % 2 == 0),
        DataType::Double => Value::Double(n as f64 / 4.0 - 1.0),
        DataType::Date => Value::Date(n as i32 * 1000),
        _ => Value::tags((0..n % 4).map(|tag| format!("t{}", tag + n % 3))),
    }
}

/// A condition about one column.
pub fn about(table: &Table, column: &Column, random: &mut Random) -> Predicate {
    let id = column.id;
    let of = |random: &mut Random| match table.key {
        Some(key_id) if key_id == id => key(column.data_type, random.below(KEYS)),
        _ => value(column.data_type, random),
    };
    let operators =
        [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];
    let predicate = match random.below(6) {
        0 => Predicate::IsNull(id),
        _ if column.data_type == DataType::TextArray => {
            let tags = (0..random.below(3)).map(|_| format!("t{}", random.below(6))).collect();
            match random.chance() {
                true => Predicate::HasAny { column: id, tags },
                false => Predicate::HasAll { column: id, tags },
            }
        }
        1 if column.data_type == DataType::Boolean => Predicate::IsTrue(id),
        1 | 2 => {
            let values: Vec<Value> = (0..random.below(5)).map(|_| of(random)).collect();
            Predicate::any_of(id, values)
        }
        _ => Predicate::compare(id, operators[random.below(6)], of(random)),
    };
    if random.below(4) == 0 { predicate.not() } else { predicate }
}

/// A condition about some columns.
pub fn predicate(table: &Table, random: &mut Random) -> Predicate {
    let some = |random: &mut Random| {
        let column = &table.columns[random.below(table.columns.len())];
        about(table, column, random)
    };
    match random.below(8) {
        0 => Predicate::everyone(),
        1 => some(random).and(some(random)),
        2 => some(random).or(some(random)).not(),
        3 => some(random).or(some(random)),
        _ => some(random),
    }
}

/// What a column may be assigned; `excluded` where there is a row that was to be inserted.
fn expr(table: &Table, column: &Column, excluded: bool, random: &mut Random) -> Expr {
    let like: Vec<ColumnId> =
        table.columns.iter().filter(|one| one.data_type == column.data_type).map(|one| one.id).collect();
    let operand = |random: &mut Random| {
        let id = *random.pick(&like).unwrap();
        Expr::Column(if excluded && random.chance() { id.excluded() } else { id })
    };
    let constant = |random: &mut Random| match random.below(6) {
        0 => Expr::value(Value::Null),
        _ => Expr::value(value(column.data_type, random)),
    };
    let call = |function, arguments| Expr::Call { function, arguments };
    match (random.below(4), column.data_type) {
        (0, _) => constant(random),
        (1, DataType::Integer | DataType::BigInt) => {
            call(Function::Add, vec![operand(random), Expr::value(Value::Integer(1))])
        }
        (1, DataType::Text) => call(Function::Concat, vec![operand(random), constant(random)]),
        (2, DataType::Text | DataType::Integer | DataType::Boolean | DataType::Double) => {
            call(Function::Coalesce, vec![operand(random), operand(random)])
        }
        _ => operand(random),
    }
}

fn assignments(table: &Table, excluded: bool, random: &mut Random) -> Vec<Assignment> {
    let mut all = Vec::new();
    for column in &table.columns {
        // The key, now and then, which is refused.
        let many = if table.key == Some(column.id) { 60 } else { 2 };
        if random.below(many) == 0 {
            all.push(Assignment { column: column.id, value: expr(table, column, excluded, random) });
        }
    }
    if random.below(30) == 0
        && let Some(twice) = all.first().cloned()
    {
        all.push(twice);
    }
    all
}

fn insert(table: &Table, random: &mut Random) -> Insert {
    let mut columns: Vec<&Column> = Vec::new();
    for column in &table.columns {
        let left_out = if column.nullable { 4 } else { 50 };
        if random.below(left_out) > 0 {
            columns.insert(random.below(columns.len() + 1), column);
        }
    }
    if random.below(30) == 0
        && let Some(twice) = columns.first().copied()
    {
        columns.push(twice);
    }
    let mut rows = Vec::new();
    for _ in 0..random.below(9) {
        let mut row = Vec::new();
        for column in &columns {
            let null = if column.nullable { 5 } else { 200 };
            row.push(match random.below(null) {
                0 => Value::Null,
                _ if table.key == Some(column.id) => key(column.data_type, random.below(KEYS)),
                _ => value(column.data_type, random),
            });
        }
        if random.below(100) == 0 {
            row.pop();
        }
        rows.push(row);
    }
    let conflict = match random.below(3) {
        0 => OnConflict::Refuse,
        1 => OnConflict::Nothing,
        _ => OnConflict::Update(assignments(table, true, random)),
    };
    Insert { table: table.id, columns: columns.iter().map(|column| column.id).collect(), rows, conflict }
}

/// Any mutation of any table; of none that there is, now and then.
pub fn mutation(model: &Model, random: &mut Random) -> Option<Mutation> {
    let table = random.pick(&model.tables)?;
    if random.below(40) == 0 {
        let predicate = Predicate::everyone();
        return Some(Mutation::Delete(Delete { table: TableId(9999), predicate }));
    }
    Some(match random.below(7) {
        0..=3 => Mutation::Insert(insert(table, random)),
        4 | 5 => Mutation::Update(Update {
            table: table.id,
            predicate: predicate(table, random),
            assignments: assignments(table, false, random),
        }),
        _ => Mutation::Delete(Delete {
            table: table.id,
            predicate: predicate(table, random).and(predicate(table, random)),
        }),
    })
}
