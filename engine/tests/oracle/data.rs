//! Random tables: every type in every shape that makes the importer choose another container or layout.
//!
//! A table is described by its seed, its size and its column plans; the values follow from these alone.

use crate::random::Random;
use muster_engine::schema::{ColumnSpec, DataType};
use muster_engine::value::Value;
use roaring::RoaringBitmap;

pub const CHUNK: usize = 65_536;
/// 2024-05-05 13:37:00 UTC, the clock of every question.
pub const NOW_MICROS: i64 = 1_714_916_220_000_000;
const DAY_MICROS: i64 = 86_400_000_000;
/// 0001-01-01 and 9999-12-31.
const DAYS: (i64, i64) = (-719_162, 2_932_896);

/// How the values of a column are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    Constant,
    /// Ascending or descending by one step, as far as the type's domain reaches.
    Sequence,
    /// Ascending in runs of 777 members.
    Runs,
    /// Five values.
    Few,
    /// Some thousand values.
    Many,
    /// Anything the type can hold; near-unique.
    Wide,
    /// The ends of the domain, and what is special to the type.
    Extremes,
    /// Around zero, both signs.
    Small,
    /// A base and multiples of a unit: a second, a week, a thousand; a long common prefix.
    Multiples,
    /// Few values on nearly all members, very many on a handful.
    Skewed,
    /// A constant chunk, a wide chunk, an ascending chunk.
    Blocks,
}

const SHAPES: [Shape; 11] = [
    Shape::Constant,
    Shape::Sequence,
    Shape::Runs,
    Shape::Few,
    Shape::Many,
    Shape::Wide,
    Shape::Extremes,
    Shape::Small,
    Shape::Multiples,
    Shape::Skewed,
    Shape::Blocks,
];

/// Which members have NULL.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nulls {
    /// The column is NOT NULL.
    Refused,
    /// None has, though they might.
    None,
    /// A random share.
    Share(f64),
    /// Everybody.
    All,
    /// The first or the last member alone.
    First,
    Last,
    /// The whole first chunk and nobody else.
    Chunk,
    /// Every other thousand.
    Runs,
}

const NULLS: [Nulls; 12] = [
    Nulls::Refused,
    Nulls::Refused,
    Nulls::None,
    Nulls::Share(0.5),
    Nulls::Share(0.01),
    Nulls::Share(0.1),
    Nulls::Share(0.99),
    Nulls::All,
    Nulls::First,
    Nulls::Last,
    Nulls::Chunk,
    Nulls::Runs,
];

#[derive(Clone, Copy, Debug)]
pub struct ColumnPlan {
    pub data_type: DataType,
    pub shape: Shape,
    pub nulls: Nulls,
}

/// The key of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    None,
    BigInt,
    Text,
}

/// A table in memory: what is imported, and what the answers are compared with.
pub struct Table {
    pub rows: usize,
    pub specs: Vec<ColumnSpec>,
    pub key: Option<usize>,
    /// Column by column.
    pub columns: Vec<Vec<Value>>,
    /// Rows that are gone: their ordinals stay, and nobody has them.
    pub dead: RoaringBitmap,
}

impl Table {
    pub fn value(&self, column: usize, row: usize) -> &Value {
        &self.columns[column][row]
    }

    pub fn is_live(&self, row: usize) -> bool {
        !self.dead.contains(row as u32)
    }

    /// The table, as a failure shows it.
    pub fn describe(&self) -> String {
        let (dead, key) = (self.dead.len(), self.key.map(|k| &self.specs[k].name));
        let mut text = format!("{} rows, {dead} of them gone; key {key:?}", self.rows);
        for (i, spec) in self.specs.iter().enumerate() {
            let first: Vec<String> = self.columns[i].iter().take(3).map(|v| cut(&format!("{v:?}"))).collect();
            text +=
                &format!("\n  ColumnId({}) {} {}: {}", i + 1, spec.name, spec.data_type, first.join(", "));
        }
        text
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= 60 {
        text.to_owned()
    } else {
        text.chars().take(57).chain("...".chars()).collect()
    }
}

/// Every type in every shape, in a random order with random NULLs: dealt out to tables, so that a few tables together
/// hold them all.
pub fn all_plans(random: &mut Random) -> Vec<ColumnPlan> {
    let mut plans = Vec::new();
    for shape in SHAPES {
        let precision = 1 + random.below(18) as u8;
        let decimal = DataType::Decimal { precision, scale: random.below(u64::from(precision) + 1) as u8 };
        for data_type in [
            DataType::Boolean,
            DataType::SmallInt,
            DataType::Integer,
            DataType::BigInt,
            decimal,
            DataType::Double,
            DataType::Text,
            DataType::Date,
            DataType::Timestamp,
            DataType::TimestampTz,
            DataType::TextArray,
        ] {
            plans.push(ColumnPlan { data_type, shape, nulls: *random.pick(&NULLS) });
        }
    }
    // The layouts that NULLs could be mistaken for values in, whatever the dice above said.
    for shape in [Shape::Sequence, Shape::Many, Shape::Multiples, Shape::Wide] {
        for data_type in [DataType::BigInt, DataType::Double, DataType::Text] {
            plans.push(ColumnPlan { data_type, shape, nulls: Nulls::Share(0.1) });
        }
    }
    random.shuffle(&mut plans);
    plans
}

/// The table of these plans.
pub fn table(rows: usize, key: Key, plans: &[ColumnPlan], random: &mut Random) -> Table {
    let (mut specs, mut columns) = (Vec::new(), Vec::new());
    for (i, plan) in plans.iter().enumerate() {
        specs.push(ColumnSpec {
            name: format!("c{}_{:?}_{:?}", i + 1, plan.shape, plan.nulls),
            data_type: plan.data_type,
            nullable: plan.nulls != Nulls::Refused,
        });
        columns.push(column(rows, plan, random));
    }
    let mut key_column = None;
    if key != Key::None {
        let at = random.below(plans.len() as u64 + 1) as usize;
        let data_type = if key == Key::BigInt { DataType::BigInt } else { DataType::Text };
        specs.insert(at, ColumnSpec { name: "id".into(), data_type, nullable: false });
        columns.insert(at, (0..rows).map(|row| key_of(key, row)).collect());
        key_column = Some(at);
    }
    Table { rows, specs, key: key_column, columns, dead: RoaringBitmap::new() }
}

/// Distinct and in no order: an odd factor permutes the 64-bit numbers.
fn key_of(key: Key, row: usize) -> Value {
    let mixed = (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    match key {
        Key::BigInt => Value::Integer(mixed as i64),
        // The longest keys have 256 bytes, the shortest none.
        _ if row == 3 => Value::Text(String::new()),
        _ if row % 1000 == 5 => Value::Text(format!("{mixed:0>256x}")),
        _ => Value::Text(format!("ключ-{mixed:x}")),
    }
}

fn column(rows: usize, plan: &ColumnPlan, random: &mut Random) -> Vec<Value> {
    let mut make = Maker::new(plan, random);
    (0..rows)
        .map(|row| {
            let value = make.value(row, random);
            let null = match plan.nulls {
                Nulls::Refused | Nulls::None => false,
                Nulls::Share(share) => random.chance(share),
                Nulls::All => true,
                Nulls::First => row == 0,
                Nulls::Last => row + 1 == rows,
                Nulls::Chunk => row < CHUNK,
                Nulls::Runs => row / 1000 % 2 == 1,
            };
            if null { Value::Null } else { value }
        })
        .collect()
}

struct Maker {
    data_type: DataType,
    shape: Shape,
    /// The least and the greatest code.
    domain: (i64, i64),
    base: i64,
    unit: i64,
    step: i64,
}

impl Maker {
    fn new(plan: &ColumnPlan, random: &mut Random) -> Maker {
        let (domain, unit) = match plan.data_type {
            DataType::SmallInt => ((i64::from(i16::MIN), i64::from(i16::MAX)), 10),
            DataType::Integer => ((i64::from(i32::MIN), i64::from(i32::MAX)), 1000),
            DataType::Decimal { precision, .. } => {
                let end = 10_i64.pow(u32::from(precision)) - 1;
                ((-end, end), 1 + end.min(100) / 2)
            }
            DataType::Date => (DAYS, 7),
            DataType::Timestamp | DataType::TimestampTz => {
                ((DAYS.0 * DAY_MICROS, DAYS.1 * DAY_MICROS), *random.pick(&[1_000_000, DAY_MICROS, 1]))
            }
            _ => ((i64::MIN, i64::MAX), 1000),
        };
        let base = match plan.data_type {
            // Windows that slide with the clock should cut the data.
            DataType::Date => NOW_MICROS / DAY_MICROS - random.between(0, 30_000),
            DataType::Timestamp | DataType::TimestampTz => {
                NOW_MICROS - random.between(0, 3) * 5_000_000_000 - random.between(0, 1) * DAY_MICROS * 30_000
            }
            _ => random.between(domain.0 / 4, domain.1 / 4),
        };
        let step = *random.pick(&[1, -1, 7, unit]);
        Maker { data_type: plan.data_type, shape: plan.shape, domain, base, unit, step }
    }

    fn value(&mut self, row: usize, random: &mut Random) -> Value {
        match self.data_type {
            DataType::Boolean => Value::Boolean(self.boolean(row, random)),
            DataType::Double => Value::Double(self.double(row, random)),
            DataType::Text => Value::Text(self.text(row, random)),
            DataType::TextArray => {
                let mut tags = self.tags(row, random);
                tags.sort();
                tags.dedup();
                Value::Tags(tags)
            }
            data_type => muster_engine::code::decode(data_type, self.code(row, random)),
        }
    }

    fn code(&self, row: usize, random: &mut Random) -> i64 {
        let (min, max) = self.domain;
        let offset = match self.shape {
            Shape::Constant => 0,
            Shape::Sequence => row as i64 * self.step,
            Shape::Runs => row as i64 / 777,
            Shape::Few => random.below(5) as i64 * self.unit,
            Shape::Many => random.below(5000) as i64,
            Shape::Wide => return random.between(min, max),
            Shape::Extremes => return *random.pick(&[min, max, min + 1, max - 1, 0, 1, -1]),
            Shape::Small => return random.between(-50, 50).clamp(min, max),
            Shape::Multiples => random.below(3000) as i64 * self.unit,
            Shape::Skewed => (random.unit() * random.unit() * 12.0).exp() as i64,
            Shape::Blocks => match row / CHUNK % 3 {
                0 => 1,
                1 => return random.between(min, max),
                _ => row as i64,
            },
        };
        self.base.saturating_add(offset).clamp(min, max)
    }

    fn double(&self, row: usize, random: &mut Random) -> f64 {
        let specials = [
            f64::NAN,
            -f64::NAN,
            0.0,
            -0.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN,
            5e-324,
            -5e-324,
            0.1,
            -0.1,
            9_007_199_254_740_993.0,
            9_223_372_036_854_775_808.0,
        ];
        match self.shape {
            Shape::Constant => 0.1,
            Shape::Sequence => row as f64,
            Shape::Runs => (row / 777) as f64 * 0.5 - 20.0,
            Shape::Few => *random.pick(&[0.0, -0.0, 1.5, -1.5, 0.1]),
            Shape::Many => random.below(5000) as f64 / 100.0 - 10.0,
            Shape::Wide => f64::from_bits(random.next()),
            Shape::Extremes => *random.pick(&specials),
            Shape::Small => random.between(-50, 50) as f64,
            Shape::Multiples => 1e6 + random.below(1000) as f64 * 0.25,
            Shape::Skewed => (random.unit() * random.unit() * 12.0).exp().floor(),
            Shape::Blocks => match row / CHUNK % 3 {
                0 => -2.5,
                1 => random.unit() * 1e9,
                _ => row as f64 / 3.0,
            },
        }
    }

    fn boolean(&self, row: usize, random: &mut Random) -> bool {
        match self.shape {
            Shape::Constant | Shape::Sequence => true,
            Shape::Small => false,
            Shape::Runs => (row / 777).is_multiple_of(2),
            Shape::Few | Shape::Wide | Shape::Multiples => random.chance(0.5),
            Shape::Many => random.chance(0.999),
            Shape::Skewed => random.chance(0.001),
            Shape::Extremes => row.is_multiple_of(2),
            Shape::Blocks => match row / CHUNK % 3 {
                0 => true,
                1 => random.chance(0.3),
                _ => false,
            },
        }
    }

    fn text(&self, row: usize, random: &mut Random) -> String {
        match self.shape {
            Shape::Constant => "always".into(),
            Shape::Sequence => format!("{row:08}"),
            Shape::Runs => format!("run {:05}", row / 777),
            Shape::Few => random.pick(&["", "a", "b", "ab", "é"]).to_string(),
            Shape::Many => format!("city-{}", random.below(5000)),
            Shape::Wide => format!("{:x}.müller+{row}@example.com", random.below(1 << 40)),
            Shape::Extremes => match random.below(8) {
                0 => String::new(),
                1 => "\0".into(),
                2 => "x".repeat(random.below(300) as usize),
                3 => "😀".repeat(random.below(200) as usize),
                4 => "日本語".repeat(1 + random.below(3) as usize),
                5 => char::from_u32(random.below(0xD800) as u32).map(String::from).unwrap_or_default(),
                6 if random.chance(0.01) => "long ".repeat(4000),
                _ => "\u{10FFFF}".into(),
            },
            Shape::Small => char::from(b' ' + random.below(95) as u8).to_string(),
            Shape::Multiples => format!("https://example.com/a/rather/long/path/{}", random.below(20_000)),
            Shape::Skewed => format!("w{}", (random.unit() * random.unit() * 12.0).exp() as u64),
            Shape::Blocks => match row / CHUNK % 3 {
                0 => "first".into(),
                1 => format!("{:x}", random.next()),
                _ => format!("{row}"),
            },
        }
    }

    fn tags(&self, row: usize, random: &mut Random) -> Vec<String> {
        let some = |random: &mut Random, many: u64, of: u64| {
            let many = random.below(many + 1);
            (0..many).map(|_| format!("tag{}", random.below(of))).collect()
        };
        match self.shape {
            Shape::Constant => vec!["vip".into()],
            Shape::Sequence => Vec::new(),
            Shape::Runs => vec![format!("run{}", row / 777), format!("phase{}", row / 20_000)],
            Shape::Few => some(random, 3, 5),
            Shape::Many => some(random, 4, 3000),
            Shape::Wide => vec![format!("only-{row}"), "all".into()],
            Shape::Extremes => match random.below(40) {
                0 => vec![String::new()],
                1 => vec!["日本語".repeat(50), "\0".into()],
                2 => (0..40).map(|i| format!("t{i}")).collect(),
                _ => Vec::new(),
            },
            Shape::Small => some(random, 1, 2),
            Shape::Multiples => some(random, 40, 40),
            Shape::Skewed => {
                let mut tags: Vec<String> = (1..40)
                    .filter(|i| random.chance(0.98 / f64::from(i * i)))
                    .map(|i| format!("z{i}"))
                    .collect();
                if row == 17 {
                    tags.push("single".into());
                }
                tags
            }
            Shape::Blocks => match row / CHUNK % 3 {
                0 => vec!["first".into()],
                1 => some(random, 6, 100),
                _ => Vec::new(),
            },
        }
    }
}
