//! The bytes of predicates: golden, bounded, and read back as they were written.

use super::numbers::{function_number, tag, value_number};
use super::*;
use crate::exec::FoldFunction;
use crate::expr::{Expr, Function, Pattern, PatternKind, TimeField, TimeUnit};
use crate::plan::DEPTH_MAX;
use crate::predicate::{
    AudienceId, CompareOp, GroupAggregate, Interval, Literal, Related, RelatedRows, Truth,
};
use crate::schema::{ColumnId, DataType, TableId};
use crate::value::Value;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

mod rows;

/// One predicate a line, as `codec` of this version writes it, in hexadecimal: the samples below in their order.
const GOLDEN: &str = include_str!("golden.txt");

const COLUMN: ColumnId = ColumnId(0x0102);

const UNITS: [TimeUnit; 10] = [
    TimeUnit::Microseconds,
    TimeUnit::Milliseconds,
    TimeUnit::Second,
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

const OPS: [CompareOp; 6] =
    [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];

const AGGREGATES: [FoldFunction; 5] =
    [FoldFunction::Count, FoldFunction::Sum, FoldFunction::Avg, FoldFunction::Min, FoldFunction::Max];

const PATTERNS: [PatternKind; 4] =
    [PatternKind::Like, PatternKind::ILike, PatternKind::Regex, PatternKind::IRegex];

fn interval() -> Interval {
    Interval { months: -1, days: 2, micros: 3 }
}

fn values() -> Vec<Value> {
    vec![
        Value::Null,
        Value::Boolean(true),
        Value::Integer(-2),
        Value::Decimal { unscaled: -(1 << 100), scale: 7 },
        Value::Double(-0.5),
        Value::Text("né 城".into()),
        Value::Date(-3),
        Value::Timestamp(4),
        Value::TimestampTz(5),
        Value::tags(["b".into(), String::new()]),
    ]
}

fn functions() -> Vec<Function> {
    let mut functions = vec![
        Function::Same,
        Function::IsNull,
        Function::And,
        Function::Or,
        Function::Not,
        Function::Add,
        Function::Subtract,
        Function::Multiply,
        Function::Divide,
        Function::Modulo,
        Function::Negate,
        Function::Abs,
        Function::Floor,
        Function::Ceil,
        Function::Round,
        Function::AddInterval(interval()),
        Function::Lower,
        Function::Upper,
        Function::Length,
        Function::Substr,
        Function::Trim,
        Function::Concat,
        Function::Cardinality,
        Function::Years,
        Function::DaysToBirthday,
        Function::Bucket { salt: "s".into(), buckets: 9 },
        Function::AtZone("Asia/Shanghai".into()),
        Function::Cast(DataType::Boolean),
        Function::Cast(DataType::TextArray),
        Function::Cast(DataType::Decimal { precision: 12, scale: 2 }),
        Function::Coalesce,
        Function::NullIf,
        Function::Case,
        Function::Greatest,
        Function::Least,
        Function::In,
        Function::Power,
        Function::Sqrt,
        Function::Ln,
        Function::Log10,
        Function::Replace,
        Function::SplitPart,
        Function::HasAny(vec!["vip".into()]),
        Function::HasAll(vec![]),
    ];
    functions.extend(OPS.map(Function::Compare));
    functions.extend(PATTERNS.map(|kind| Function::Like(Pattern { kind, pattern: "a%".into() })));
    functions.extend(UNITS.map(Function::DateTrunc));
    functions.extend(FIELDS.map(Function::Extract));
    functions.extend([Function::AddTags, Function::RemoveTag]);

    functions
}

/// Those that came after rows of other tables: their lines stand behind.
const LATER_FUNCTIONS: [Function; 6] =
    [Function::Sin, Function::Cos, Function::Asin, Function::Acos, Function::Radians, Function::Md5];

/// A predicate for each tag and each number.
fn sample_of(function: FoldFunction) -> GroupAggregate {
    let bare = function == FoldFunction::Count;
    GroupAggregate {
        function,
        argument: (!bare).then_some(Expr::Column(COLUMN)),
        distinct: function == FoldFunction::Sum,
        filter: (function == FoldFunction::Max).then(Predicate::everyone),
    }
}

fn samples() -> Vec<Predicate> {
    let compare = |op, literal| Predicate::Compare { column: COLUMN, op, literal };
    let now = |date, zone: Option<&str>| Literal::Now {
        offsets: vec![interval()],
        date,
        zone: zone.map(Arc::from),
    };
    let mut samples = vec![
        Predicate::Const(Truth::False),
        Predicate::Const(Truth::True),
        Predicate::Const(Truth::Unknown),
        Predicate::And(vec![Predicate::everyone(), Predicate::IsTrue(COLUMN).not()]),
        Predicate::Or(vec![Predicate::And(vec![]), Predicate::IsNull(COLUMN)]),
        Predicate::In { column: COLUMN, literals: vec![now(false, None), now(true, Some("Europe/Berlin"))] },
        Predicate::HasAny { column: COLUMN, tags: vec!["vip".into(), String::new()] },
        Predicate::HasAll { column: COLUMN, tags: vec![] },
        Predicate::Audience(AudienceId(0x0304)),
        Predicate::Holds(Expr::Column(COLUMN)),
        Predicate::Holds(Expr::value(Value::Boolean(false))),
    ];
    samples.extend(OPS.map(|op| compare(op, Literal::Value(Value::Integer(1)))));
    samples.extend(values().into_iter().map(|value| compare(CompareOp::Eq, Literal::Value(value))));
    samples.extend(
        functions()
            .into_iter()
            .map(|function| Predicate::Holds(Expr::call(function, [Expr::Ordinal, Expr::Column(COLUMN)]))),
    );
    samples.push(Predicate::Related(Arc::new(Related {
        column: COLUMN,
        rows: vec![RelatedRows {
            table: TableId(0x0506),
            by: COLUMN,
            condition: Predicate::IsTrue(COLUMN),
            aggregates: AGGREGATES.map(sample_of).into(),
        }],
        truth: Expr::Column(ColumnId(1)),
        is_in: false,
        certainly: None,
    })));
    samples.extend([(true, Some(false)), (false, Some(true))].map(|(is_in, certainly)| {
        let truth = Expr::value(Value::Boolean(true));
        Predicate::Related(Arc::new(Related { column: COLUMN, rows: vec![], truth, is_in, certainly }))
    }));
    samples.extend(
        LATER_FUNCTIONS.map(|function| Predicate::Holds(Expr::call(function, [Expr::Column(COLUMN)]))),
    );
    samples.extend(rows::samples());
    samples
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// These bytes are in people's databases. If this test fails, the encoder changed, not the test: new tags are appended
/// with new samples, and old lines stay.
#[test]
fn the_bytes_are_golden() {
    let lines: Vec<&str> = GOLDEN.lines().collect();
    let samples = samples();
    for (number, sample) in samples.iter().enumerate() {
        let bytes = encode(sample).unwrap();
        assert_eq!(Some(&&*hex(&bytes)), lines.get(number), "line {}: {sample:?}", number + 1);
        assert_eq!(decode(&bytes).as_ref(), Ok(sample));
    }
    assert_eq!(lines.len(), samples.len());
}

#[test]
fn every_function_has_a_sample() {
    let numbers: BTreeSet<u16> = functions().iter().chain(&LATER_FUNCTIONS).map(function_number).collect();
    assert_eq!(numbers, (1..=54).collect());
    let numbers: BTreeSet<u16> = values().iter().map(value_number).collect();
    assert_eq!(numbers, (1..=10).collect());
}

#[test]
fn reserved_tags_are_refused_for_now() {
    for reserved in [*RESERVED.start() + 2, *RESERVED.end(), 0, 13] {
        let mut bytes = PREDICATE_VERSION.to_le_bytes().to_vec();
        bytes.extend(reserved.to_le_bytes());
        let error = decode(&bytes).unwrap_err();
        assert_eq!((error.offset, error.found), (2, reserved.to_string()));
        assert_eq!(error.expected, "the tag of a predicate");
    }
}

#[test]
fn another_version_is_named() {
    let mut bytes = encode(&Predicate::everyone()).unwrap();
    bytes[0] = 9;
    assert_eq!(decode(&bytes).unwrap_err().to_string(), "at byte 0: expected predicate version 1, found 9");
}

#[test]
fn members_of_one_snapshot_are_not_stored() {
    let members = Predicate::IsNull(COLUMN).or(Predicate::Members(Arc::default()).not());
    let error = encode(&members).unwrap_err().to_string();
    assert!(error.contains("CREATE STATIC AUDIENCE"), "{error}");
}

/// On the stack that a thread of Rust's has, unoptimised: what is admitted is also read and dropped.
#[test]
fn depth_is_limited_both_ways() {
    let nested = |levels: usize| (1..levels).fold(Predicate::IsNull(COLUMN), |inner, _| inner.not());
    let deepest = nested(DEPTH_MAX);
    let bytes = encode(&deepest).unwrap();
    assert_eq!(decode(&bytes).unwrap(), deepest);
    let error = encode(&nested(DEPTH_MAX + 1)).unwrap_err().to_string();
    assert!(error.contains("levels deep"), "{error}");
    let mut deeper = bytes;
    deeper.splice(2..2, tag::NOT.to_le_bytes());
    assert!(decode(&deeper).unwrap_err().expected.contains("levels"));
    let call = |inner| Expr::call(Function::Negate, [inner]);
    let deepest = Predicate::Holds((2..DEPTH_MAX).fold(Expr::Ordinal, |inner, _| call(inner)));
    assert_eq!(decode(&encode(&deepest).unwrap()).unwrap(), deepest);
}

#[test]
fn a_count_out_of_all_proportion_takes_no_memory() {
    for tag in [tag::AND, tag::OR] {
        let mut bytes = PREDICATE_VERSION.to_le_bytes().to_vec();
        bytes.extend(tag.to_le_bytes());
        bytes.extend(u32::MAX.to_le_bytes());
        assert_eq!(decode(&bytes).unwrap_err().expected, "a count of what follows");
    }
}

#[test]
fn damaged_bytes_are_an_error_or_another_predicate_and_never_a_panic() {
    for sample in samples() {
        let bytes = encode(&sample).unwrap();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{sample:?} cut to {length}");
        }
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                if let Ok(other) = decode(&damaged) {
                    assert_ne!(other, sample, "byte {at} says nothing");
                }
            }
        }
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Integer),
        (any::<i128>(), any::<u8>()).prop_map(|(unscaled, scale)| Value::Decimal { unscaled, scale }),
        // A NaN is not equal to itself.
        any::<f64>().prop_filter("equal to itself", |double| !double.is_nan()).prop_map(Value::Double),
        ".{0,8}".prop_map(Value::Text),
        any::<i32>().prop_map(Value::Date),
        any::<i64>().prop_map(Value::Timestamp),
        any::<i64>().prop_map(Value::TimestampTz),
        proptest::collection::vec(".{0,4}", 0..4).prop_map(Value::tags),
    ]
}

fn any_literal() -> impl Strategy<Value = Literal> {
    let interval = (any::<i32>(), any::<i32>(), any::<i64>()).prop_map(|(months, days, micros)| Interval {
        months,
        days,
        micros,
    });
    let now = (proptest::collection::vec(interval, 0..3), any::<bool>(), proptest::option::of("[A-Z]{1,5}"))
        .prop_map(|(offsets, date, zone)| Literal::Now { offsets, date, zone: zone.map(Arc::from) });
    prop_oneof![4 => any_value().prop_map(Literal::Value), 1 => now]
}

fn any_column() -> impl Strategy<Value = ColumnId> {
    any::<u32>().prop_map(ColumnId)
}

fn any_expr() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        any_column().prop_map(Expr::Column),
        any_literal().prop_map(Expr::Literal),
        Just(Expr::Ordinal),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        (
            proptest::sample::select([functions(), LATER_FUNCTIONS.into()].concat()),
            proptest::collection::vec(inner, 0..4),
        )
            .prop_map(|(function, arguments)| Expr::Call { function, arguments })
    })
}

fn any_rows(inner: impl Strategy<Value = Predicate> + Clone) -> impl Strategy<Value = RelatedRows> {
    let function = proptest::sample::select(AGGREGATES.to_vec());
    let filter = proptest::option::of(inner.clone());
    let aggregate = (function, proptest::option::of(any_expr()), any::<bool>(), filter).prop_map(
        |(function, argument, distinct, filter)| GroupAggregate { function, argument, distinct, filter },
    );
    (any::<u32>(), any_column(), inner, proptest::collection::vec(aggregate, 0..3)).prop_map(
        |(table, by, condition, aggregates)| RelatedRows { table: TableId(table), by, condition, aggregates },
    )
}

fn any_predicate() -> impl Strategy<Value = Predicate> {
    let texts = || proptest::collection::vec(".{0,5}", 0..4);
    let leaf = prop_oneof![
        proptest::sample::select(vec![Truth::False, Truth::True, Truth::Unknown]).prop_map(Predicate::Const),
        any_column().prop_map(Predicate::IsTrue),
        any_column().prop_map(Predicate::IsNull),
        (any_column(), proptest::sample::select(OPS.to_vec()), any_literal())
            .prop_map(|(column, op, literal)| Predicate::Compare { column, op, literal }),
        (any_column(), proptest::collection::vec(any_literal(), 0..5))
            .prop_map(|(column, literals)| Predicate::In { column, literals }),
        (any_column(), texts()).prop_map(|(column, tags)| Predicate::HasAny { column, tags }),
        (any_column(), texts()).prop_map(|(column, tags)| Predicate::HasAll { column, tags }),
        any::<u32>().prop_map(|id| Predicate::Audience(AudienceId(id))),
        any_expr().prop_map(Predicate::Holds),
    ];
    leaf.prop_recursive(6, 48, 5, |inner| {
        let inner_of_rows = inner.clone();
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Predicate::And),
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Predicate::Or),
            inner.clone().prop_map(Predicate::not),
            (
                any_column(),
                proptest::collection::vec(any_rows(inner), 0..3),
                any_expr(),
                any::<bool>(),
                any::<Option<bool>>()
            )
                .prop_map(|(column, rows, truth, is_in, certainly)| Predicate::Related(
                    Arc::new(Related { column, rows, truth, is_in, certainly })
                )),
            rows::any_derived(inner_of_rows),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(predicate in any_predicate()) {
        prop_assert_eq!(decode(&encode(&predicate).unwrap()), Ok(predicate));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(mut bytes in proptest::collection::vec(0u8..40, 0..200)) {
        bytes.splice(0..0, PREDICATE_VERSION.to_le_bytes());
        if let Ok(predicate) = decode(&bytes) {
            prop_assert_eq!(encode(&predicate).unwrap(), bytes);
        }
    }
}
