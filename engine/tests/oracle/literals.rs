//! Literals worth asking a column for: values it has, their neighbours, values it cannot have, the same number or
//! moment in other kinds, NULL.

use crate::data::{NOW_MICROS, Table};
use crate::random::Random;
use muster_engine::predicate::{Interval, Literal};
use muster_engine::schema::DataType;
use muster_engine::value::Value;

const DAY_MICROS: i64 = 86_400_000_000;

/// The literals for one column, none of them NULL, simplest first.
pub fn literals(table: &Table, column: usize, random: &mut Random) -> Vec<Literal> {
    let mut values = Vec::new();
    let present: Vec<Value> = (0..12.min(table.rows * 12))
        .map(|_| table.value(column, random.below(table.rows as u64) as usize).clone())
        .filter(|value| *value != Value::Null)
        .collect();
    match table.specs[column].data_type {
        DataType::Boolean => values.extend([Value::Boolean(true), Value::Boolean(false)]),
        DataType::Text => texts(&present, &mut values),
        DataType::TextArray => {}
        data_type if data_type.is_time() => times(&present, &mut values),
        _ => numbers(&present, &mut values),
    }
    let mut literals: Vec<Literal> = values.into_iter().map(Literal::Value).collect();
    if table.specs[column].data_type.is_time() {
        literals.extend(clocks());
    }
    literals
}

/// The tags to ask a column for: some it has, some it has not.
pub fn tags(table: &Table, column: usize, random: &mut Random) -> Vec<String> {
    let mut tags = vec!["absent".to_owned(), String::new()];
    for _ in 0..40.min(table.rows * 40) {
        if let Value::Tags(has) = table.value(column, random.below(table.rows as u64) as usize)
            && !has.is_empty()
        {
            tags.push(random.pick(has).clone());
        }
    }
    // Rare tags are found by nobody's dice.
    tags.extend(["single", "z1", "z30"].map(String::from));
    tags.sort();
    tags.dedup();
    tags
}

fn texts(present: &[Value], values: &mut Vec<Value>) {
    let edges = ["", "a", "zzzz", "\0", "\u{10FFFF}", "\u{FFFD}", "city-", "city-250"];
    values.extend(edges.map(|edge| Value::Text(edge.into())));
    for value in present {
        let Value::Text(text) = value else { continue };
        let mut shorter = text.clone();
        shorter.pop();
        values.extend([value.clone(), Value::Text(format!("{text}\0")), Value::Text(shorter)]);
        values.push(Value::Text(text.to_uppercase()));
    }
}

fn numbers(present: &[Value], values: &mut Vec<Value>) {
    let decimal = |unscaled, scale| Value::Decimal { unscaled, scale };
    values.extend([0, 1, -1, i64::MIN, i64::MAX, 32_767, -32_768, 1 << 40].map(Value::Integer));
    values.extend([
        decimal(i128::MAX, 0),
        decimal(i128::MIN, 10),
        decimal(1, 38),
        decimal(-1, 60),
        decimal(1, 255),
        decimal(-5, 1),
        decimal(92_233_720_368_547_758_075, 1),
        decimal(-92_233_720_368_547_758_085, 1),
        decimal(1000, 3),
    ]);
    values.extend(
        [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            0.1,
            -0.5,
            5e-324,
            1e300,
            -9_223_372_036_854_775_808.0,
            9_223_372_036_854_775_808.0,
        ]
        .map(Value::Double),
    );
    for value in present {
        values.push(value.clone());
        match *value {
            Value::Integer(i) => {
                values.extend([Value::Integer(i.saturating_add(1)), Value::Integer(i.saturating_sub(1))]);
                let hundred = i128::from(i) * 100;
                values.extend([decimal(hundred, 2), decimal(hundred + 1, 2), decimal(hundred - 1, 2)]);
                values.extend([Value::Double(i as f64), Value::Double(i as f64 + 0.5)]);
            }
            Value::Decimal { unscaled, scale } => {
                values.extend([decimal(unscaled + 1, scale), decimal(unscaled - 1, scale)]);
                values.extend([decimal(unscaled * 1000, scale + 3), decimal(unscaled * 10 + 1, scale + 1)]);
                let (ten, near) =
                    (10_i128.pow(u32::from(scale)), unscaled as f64 / 10_f64.powi(i32::from(scale)));
                values.extend([Value::Integer((unscaled / ten) as i64), Value::Double(near)]);
                values.push(decimal(unscaled / 10, scale.saturating_sub(1)));
            }
            Value::Double(d) => {
                values.extend([d.next_up(), d.next_down(), -d, d + 1.0].map(Value::Double));
                values.extend([Value::Integer(d as i64), decimal((d * 1000.0) as i64 as i128, 3)]);
            }
            _ => {}
        }
    }
}

fn times(present: &[Value], values: &mut Vec<Value>) {
    let today = NOW_MICROS.div_euclid(DAY_MICROS);
    values.extend([0, 1, -1, today as i32, i32::MIN, i32::MAX].map(Value::Date));
    values.extend([0, 1, -1, NOW_MICROS, i64::MIN, i64::MAX].map(Value::Timestamp));
    values.extend([0, 1, -1, NOW_MICROS, i64::MIN, i64::MAX].map(Value::TimestampTz));
    for value in present {
        let micros = match *value {
            Value::Date(days) => i64::from(days) * DAY_MICROS,
            Value::Timestamp(micros) | Value::TimestampTz(micros) => micros,
            _ => continue,
        };
        let day = micros.div_euclid(DAY_MICROS);
        values.extend([day, day + 1, day - 1].map(|day| Value::Date(day as i32)));
        values.extend([micros, micros + 1, micros - 1, micros + 1_000_000].map(Value::Timestamp));
        values.extend([micros, micros + 1, micros - 1, day * DAY_MICROS].map(Value::TimestampTz));
    }
}

fn clocks() -> Vec<Literal> {
    let interval = |months, days, micros| Interval { months, days, micros };
    let mut clocks = Vec::new();
    for date in [false, true] {
        for offsets in [
            vec![],
            vec![interval(0, -1, 0)],
            vec![interval(0, 0, -1)],
            vec![interval(-1, 0, 0), interval(0, 0, 3_600_000_000)],
            vec![interval(-12 * 60, 0, 0)],
            vec![interval(0, 5, 0), interval(0, -5, 1)],
        ] {
            clocks.push(Literal::Now { offsets, date, zone: None });
        }
    }
    clocks
}
