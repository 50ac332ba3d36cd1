//! Random expressions over the columns of a table, each of a type that is known, so that most of them can be computed.

use crate::data::Table;
use crate::literals;
use crate::question::id_of;
use crate::random::Random;
use muster_engine::expr::{Expr, Function, Pattern, PatternKind, TimeField, TimeUnit};
use muster_engine::predicate::{CompareOp, Interval, Literal};
use muster_engine::schema::{ColumnId, DataType};
use muster_engine::value::Value;

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    Integer,
    Number,
    Text,
    /// A DATE, TIMESTAMP or TIMESTAMPTZ.
    Time,
    Tags,
}

pub const OPS: [CompareOp; 6] =
    [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];
const UNITS: [TimeUnit; 7] = [
    TimeUnit::Minute,
    TimeUnit::Hour,
    TimeUnit::Day,
    TimeUnit::Week,
    TimeUnit::Month,
    TimeUnit::Quarter,
    TimeUnit::Year,
];
const FIELDS: [TimeField; 13] = [
    TimeField::Year,
    TimeField::Quarter,
    TimeField::Month,
    TimeField::Week,
    TimeField::IsoYear,
    TimeField::Day,
    TimeField::DayOfWeek,
    TimeField::IsoDayOfWeek,
    TimeField::DayOfYear,
    TimeField::Hour,
    TimeField::Minute,
    TimeField::Second,
    TimeField::Epoch,
];
const ZONES: [&str; 4] = ["UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York"];

/// The columns that expressions are made of, and literals worth comparing each with.
pub struct Maker {
    columns: Vec<(ColumnId, DataType, Vec<Literal>)>,
}

fn kind_of(data_type: DataType) -> Kind {
    match data_type {
        DataType::Boolean => Kind::Boolean,
        DataType::Text => Kind::Text,
        DataType::TextArray => Kind::Tags,
        data_type if data_type.is_time() => Kind::Time,
        data_type if data_type.is_integer() => Kind::Integer,
        _ => Kind::Number,
    }
}

impl Maker {
    /// Of the columns of a table.
    pub fn new(table: &Table, random: &mut Random) -> Maker {
        let columns = (0..table.specs.len())
            .map(|at| (id_of(at), table.specs[at].data_type, literals::literals(table, at, random)))
            .collect();
        Maker { columns }
    }

    /// Of some of these columns, one of each type at most.
    pub fn of_some(&self, random: &mut Random) -> Maker {
        let mut columns = self.columns.clone();
        random.shuffle(&mut columns);
        columns.truncate(1 + random.below(columns.len() as u64) as usize);
        let mut kinds = Vec::new();
        columns.retain(|(_, data_type, _)| {
            let new = !kinds.contains(data_type);
            kinds.push(*data_type);
            new
        });
        Maker { columns }
    }

    /// Of one of the columns that have codes in order; doubles, which have infinities and NaN, as often as all integers.
    pub fn of_one_in_order(&self, random: &mut Random) -> Maker {
        let kinds: [fn(DataType) -> bool; 4] = [
            DataType::is_integer,
            DataType::is_time,
            |data_type| data_type == DataType::Double,
            |data_type| data_type.is_number() && !data_type.is_integer() && data_type != DataType::Double,
        ];
        let wanted = random.pick(&kinds);
        let all: Vec<_> =
            self.columns.iter().filter(|(_, data_type, _)| wanted(*data_type)).cloned().collect();
        match all.is_empty() {
            true => self.of_one_in_order(random),
            false => Maker { columns: vec![random.pick(&all).clone()] },
        }
    }

    fn column(&self, kind: Kind, random: &mut Random) -> Option<&(ColumnId, DataType, Vec<Literal>)> {
        let fits = |known: Kind| known == kind || (kind == Kind::Number && known == Kind::Integer);
        let all: Vec<_> = self.columns.iter().filter(|(_, data_type, _)| fits(kind_of(*data_type))).collect();
        (!all.is_empty()).then(|| *random.pick(&all))
    }

    /// A constant of a kind: mostly one that a column of it has or nearly has.
    fn constant(&self, kind: Kind, random: &mut Random) -> Expr {
        let small = Value::Integer(random.between(-3, 40));
        if random.chance(0.04) {
            return Expr::value(Value::Null);
        }
        if random.chance(0.5)
            && let Some((_, _, literals)) = self.column(kind, random)
            && !literals.is_empty()
        {
            let literal = random.pick(literals).clone();
            let whole = matches!(literal, Literal::Value(Value::Integer(_)));
            if kind != Kind::Integer || whole {
                return Expr::Literal(literal);
            }
        }
        Expr::value(match kind {
            Kind::Boolean => Value::Boolean(random.chance(0.5)),
            Kind::Integer => small,
            Kind::Number => match random.below(3) {
                0 => small,
                1 => Value::Decimal { unscaled: i128::from(random.between(-9999, 9999)), scale: 2 },
                _ => Value::Double(random.between(-200, 200) as f64 / 8.0),
            },
            Kind::Text => Value::Text(random.pick(&["", "a", "b", "city-25", "é", "run"]).to_string()),
            Kind::Time => match random.below(3) {
                0 => Value::Date(random.between(-20_000, 25_000) as i32),
                1 => Value::Timestamp(random.between(-1 << 50, 1 << 51)),
                _ => Value::TimestampTz(random.between(-1 << 50, 1 << 51)),
            },
            Kind::Tags => Value::Tags(vec!["vip".into()]),
        })
    }

    /// Few columns make the expressions whose members an index answers: often the one of a whole expression.
    fn leaf(&self, kind: Kind, random: &mut Random) -> Expr {
        match self.column(kind, random) {
            Some((id, _, _)) if random.chance(0.75) => Expr::Column(*id),
            _ => self.constant(kind, random),
        }
    }

    /// A BOOLEAN about one column, in the form that ranges of codes are bisected for: `function(column) op constant`.
    pub fn about_one_column(&self, random: &mut Random) -> Expr {
        let (id, data_type, _) = random.pick(&self.columns);
        let (mut expr, mut kind) = (Expr::Column(*id), kind_of(*data_type));
        if matches!(kind, Kind::Boolean | Kind::Text | Kind::Tags) {
            return self.expr(Kind::Boolean, 2, random);
        }
        for _ in 0..random.below(3) {
            let constant = |kind, random: &mut Random| self.constant(kind, random);
            (expr, kind) = match (kind, random.below(9)) {
                (Kind::Time, 0 | 1) => {
                    (Expr::call(Function::DateTrunc(*random.pick(&UNITS)), [expr]), Kind::Time)
                }
                (Kind::Time, 2) => {
                    (Expr::call(Function::Extract(*random.pick(&FIELDS)), [expr]), Kind::Number)
                }
                (Kind::Time, 3) => (Expr::call(Function::AddInterval(interval(random)), [expr]), Kind::Time),
                (Kind::Time, 4) => {
                    (Expr::call(Function::Years, [expr, constant(Kind::Time, random)]), Kind::Integer)
                }
                (Kind::Time, 5) => {
                    (Expr::call(Function::Years, [constant(Kind::Time, random), expr]), Kind::Integer)
                }
                (Kind::Time, 6) => (
                    Expr::call(Function::DaysToBirthday, [expr, constant(Kind::Time, random)]),
                    Kind::Integer,
                ),
                (Kind::Time, _) => (Expr::call(Function::Cast(DataType::Date), [expr]), Kind::Time),
                (kind, at @ 0..=4) => {
                    let function = [
                        Function::Add,
                        Function::Subtract,
                        Function::Multiply,
                        Function::Divide,
                        Function::Coalesce,
                    ][at as usize]
                        .clone();
                    let mut sides = vec![expr, constant(kind, random)];
                    if at < 3 && random.chance(0.4) {
                        sides.reverse();
                    }
                    (Expr::call(function, sides), Kind::Number)
                }
                (_, 5) => (Expr::call(Function::Negate, [expr]), kind),
                (_, 6) => (
                    Expr::call(
                        random
                            .pick(&[Function::Floor, Function::Ceil, Function::Round, Function::Abs])
                            .clone(),
                        [expr],
                    ),
                    kind,
                ),
                (_, 7) => (
                    Expr::call(
                        random
                            .pick(&[
                                Function::Sqrt,
                                Function::Ln,
                                Function::Log10,
                                Function::Sin,
                                Function::Radians,
                            ])
                            .clone(),
                        [expr],
                    ),
                    Kind::Number,
                ),
                _ => (Expr::call(Function::Cast(*random.pick(&CASTS)), [expr]), Kind::Number),
            };
        }
        let mut sides = vec![expr, self.constant(kind, random)];
        if random.chance(0.3) {
            sides.reverse();
        }
        let compared = Expr::call(Function::Compare(*random.pick(&OPS)), sides);
        // What is unknown becomes true, or false again.
        match random.below(8) {
            0 => Expr::call(Function::Not, [compared]),
            1 => Expr::call(Function::Coalesce, [compared, Expr::value(Value::Boolean(true))]),
            2 => Expr::call(Function::Same, [compared, Expr::value(Value::Boolean(false))]),
            3 => Expr::call(Function::IsNull, [compared]),
            _ => compared,
        }
    }

    /// An expression of a kind, of some depth.
    pub fn expr(&self, kind: Kind, depth: u32, random: &mut Random) -> Expr {
        if depth == 0 || random.chance(0.15) {
            return self.leaf(kind, random);
        }
        let mut of = |kind| self.expr(kind, depth - 1, random);
        // The arguments are drawn before the function, so that one generator serves both.
        match kind {
            Kind::Boolean => self.boolean(depth, random),
            Kind::Integer => {
                let (a, b, text, time, at) =
                    (of(Kind::Integer), of(Kind::Integer), of(Kind::Text), of(Kind::Time), of(Kind::Time));
                match random.below(11) {
                    0 => Expr::call(Function::Add, [a, b]),
                    1 => Expr::call(Function::Subtract, [a, b]),
                    2 => Expr::call(Function::Multiply, [a, b]),
                    3 => Expr::call(Function::Divide, [a, b]),
                    4 => Expr::call(Function::Modulo, [a, b]),
                    5 => Expr::call(Function::Length, [text]),
                    6 => Expr::call(Function::Years, [time, at]),
                    7 => Expr::call(Function::DaysToBirthday, [time, at]),
                    8 => Expr::call(Function::Bucket { salt: "s".into(), buckets: 7 }, [a]),
                    9 => Expr::call(Function::Bucket { salt: "s".into(), buckets: 7 }, [text]),
                    _ => {
                        let tags = self.leaf(Kind::Tags, random);
                        let tags = match random.below(3) {
                            0 => Expr::call(Function::AddTags, [tags, text]),
                            1 => Expr::call(Function::RemoveTag, [tags, text]),
                            _ => tags,
                        };
                        Expr::call(Function::Cardinality, [tags])
                    }
                }
            }
            Kind::Number => {
                let (a, b, time) = (of(Kind::Number), of(Kind::Number), of(Kind::Time));
                match random.below(12) {
                    0 => Expr::call(Function::Add, [a, b]),
                    1 => Expr::call(Function::Subtract, [a, b]),
                    2 => Expr::call(Function::Multiply, [a, b]),
                    3 => Expr::call(Function::Divide, [a, b]),
                    4 => Expr::call(Function::Negate, [a]),
                    5 => Expr::call(Function::Abs, [a]),
                    6 => Expr::call(random.pick(&[Function::Floor, Function::Ceil]).clone(), [a]),
                    7 => Expr::call(Function::Round, [a, Expr::value(Value::Integer(random.between(-3, 5)))]),
                    8 => Expr::call(Function::Extract(*random.pick(&FIELDS)), [time]),
                    9 => Expr::call(random.pick(&[Function::Greatest, Function::Least]).clone(), [a, b]),
                    10 => Expr::call(Function::NullIf, [a, b]),
                    _ => Expr::call(Function::Cast(*random.pick(&CASTS)), [a]),
                }
            }
            Kind::Text => {
                let (a, b, number, truth) =
                    (of(Kind::Text), of(Kind::Text), of(Kind::Integer), of(Kind::Boolean));
                match random.below(9) {
                    0 => Expr::call(Function::Lower, [a]),
                    1 => Expr::call(Function::Upper, [a]),
                    2 => Expr::call(Function::Trim, [a]),
                    3 => Expr::call(Function::Concat, [a, b]),
                    4 => Expr::call(Function::Replace, [a, b, Expr::value(Value::Text("-".into()))]),
                    5 => Expr::call(Function::Coalesce, [a, b]),
                    6 => Expr::call(Function::Case, [truth, a, b]),
                    7 => Expr::call(Function::Cast(DataType::Text), [number]),
                    _ => {
                        let from = Expr::value(Value::Integer(random.between(-2, 6)));
                        Expr::call(
                            Function::Substr,
                            [a, from, Expr::value(Value::Integer(random.between(0, 5)))],
                        )
                    }
                }
            }
            Kind::Time => {
                let (a, b, truth) = (of(Kind::Time), of(Kind::Time), of(Kind::Boolean));
                match random.below(8) {
                    0 | 1 => Expr::call(Function::DateTrunc(*random.pick(&UNITS)), [a]),
                    2 => Expr::call(Function::AddInterval(interval(random)), [a]),
                    3 => Expr::call(Function::AtZone(random.pick(&ZONES).to_string()), [a]),
                    4 => Expr::call(Function::Coalesce, [a, b]),
                    5 => Expr::call(Function::Case, [truth, a, b]),
                    6 => Expr::call(random.pick(&[Function::Greatest, Function::Least]).clone(), [a, b]),
                    _ => Expr::call(Function::Cast(*random.pick(&TIMES)), [a]),
                }
            }
            Kind::Tags => self.leaf(Kind::Tags, random),
        }
    }

    fn boolean(&self, depth: u32, random: &mut Random) -> Expr {
        let kind =
            *random.pick(&[Kind::Integer, Kind::Number, Kind::Number, Kind::Text, Kind::Time, Kind::Boolean]);
        let of = |kind, random: &mut Random| self.expr(kind, depth - 1, random);
        match random.below(12) {
            0..=3 => {
                let (a, b) = (of(kind, random), of(kind, random));
                Expr::call(Function::Compare(*random.pick(&OPS)), [a, b])
            }
            4 => Expr::call(Function::Same, [of(kind, random), of(kind, random)]),
            5 => Expr::call(Function::IsNull, [of(kind, random)]),
            6 => {
                let function = random.pick(&[Function::And, Function::Or]).clone();
                let terms: Vec<Expr> = (0..=random.below(3)).map(|_| of(Kind::Boolean, random)).collect();
                Expr::call(function, terms)
            }
            7 => Expr::call(Function::Not, [of(Kind::Boolean, random)]),
            8 => {
                let items: Vec<Expr> = (0..=random.below(4)).map(|_| self.leaf(kind, random)).collect();
                Expr::call(Function::In, std::iter::once(of(kind, random)).chain(items))
            }
            9 => {
                let tags = vec!["vip".to_owned(), "z1".into(), "tag3".into()];
                let function =
                    if random.chance(0.5) { Function::HasAny(tags) } else { Function::HasAll(tags) };
                Expr::call(function, [self.leaf(Kind::Tags, random)])
            }
            10 => Expr::call(Function::Case, [of(Kind::Boolean, random), of(Kind::Boolean, random)]),
            _ => {
                let (kind, pattern) = *random.pick(&[
                    (PatternKind::Like, "%1%"),
                    (PatternKind::Like, "a%"),
                    (PatternKind::Like, "%é"),
                    (PatternKind::Like, "_"),
                    (PatternKind::Like, "city-2__"),
                    (PatternKind::ILike, "%CITY%"),
                    (PatternKind::Regex, "[0-9]{3}"),
                    (PatternKind::Regex, "^$"),
                    (PatternKind::IRegex, "É|W1"),
                ]);
                let pattern = Pattern { kind, pattern: pattern.into() };
                Expr::call(Function::Like(pattern), [of(Kind::Text, random)])
            }
        }
    }
}

const CASTS: [DataType; 5] = [
    DataType::SmallInt,
    DataType::BigInt,
    DataType::Double,
    DataType::Decimal { precision: 18, scale: 2 },
    DataType::Decimal { precision: 38, scale: 4 },
];
const TIMES: [DataType; 3] = [DataType::Date, DataType::Timestamp, DataType::TimestampTz];

fn interval(random: &mut Random) -> Interval {
    Interval {
        months: if random.chance(0.5) { random.between(-14, 14) as i32 } else { 0 },
        days: random.between(-40, 40) as i32,
        micros: if random.chance(0.3) { random.between(-90_000_000_000, 90_000_000_000) } else { 0 },
    }
}
