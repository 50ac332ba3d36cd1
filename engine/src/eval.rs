//! The naive evaluator: one predicate, one member, its values; no codes, no indexes, no chunks.
//!
//! It is the oracle that the executor is tested against, and the before/after test of a changed member. It therefore
//! shares nothing with the planner: comparisons are made on [`Value`]s, as the predicate's documentation reads.
//!
//! * Numbers of any kind are compared exactly: no integer or decimal is ever rounded to a double to be compared with
//!   one. NaN equals itself and is greater than every other number; the two zeros are equal.
//! * A DATE is its midnight; a TIMESTAMP beside a TIMESTAMPTZ is read in UTC.
//! * Text is compared by its UTF-8 bytes; FALSE is less than TRUE.
//!
//! What it does not do: check a predicate against a schema. It sees values only, so a text literal beside a number is
//! found out when a member has a number there, not when it has NULL, nor where an earlier term has already decided.

use crate::calendar::MICROS_PER_DAY;
use crate::expr::clock::{self, Beside};
use crate::expr::{Compiled, Expr};
use crate::predicate::{CompareOp, Literal, Predicate, Truth};
use crate::schema::ColumnId;
use crate::value::Value;
use crate::{Error, Result};
use std::borrow::Cow;
use std::cmp::Ordering;

/// The truth of `predicate` for the member whose columns `value_of` gives, when the clock shows `now_micros`
/// (microseconds since 1970-01-01 00:00:00 UTC).
///
/// AND stops at the first FALSE and OR at the first TRUE. Stack use grows with the depth of the predicate (some
/// hundred bytes a level), not with the number of terms; time with the number of terms and literals.
///
/// Errors: [`Error::Invalid`] for two values that cannot be compared, a bare column that is no BOOLEAN, tags asked of
/// a column without tags, and a clock that its offsets carry out of the calendar.
///
/// The ordinal of the member, for [`Predicate::Members`] and [`Expr::Ordinal`], is what `value_of` gives as a BIGINT for
/// [`ColumnId::LIVE`]. Audiences are expanded before.
pub fn eval(predicate: &Predicate, now_micros: i64, value_of: &dyn Fn(ColumnId) -> Value) -> Result<Truth> {
    match predicate {
        Predicate::Const(truth) => Ok(*truth),
        Predicate::And(terms) => {
            let mut result = Truth::True;
            for term in terms {
                match eval(term, now_micros, value_of)? {
                    Truth::True => {}
                    Truth::False => return Ok(Truth::False),
                    Truth::Unknown => result = Truth::Unknown,
                }
            }
            Ok(result)
        }
        Predicate::Or(terms) => {
            let mut result = Truth::False;
            for term in terms {
                match eval(term, now_micros, value_of)? {
                    Truth::True => return Ok(Truth::True),
                    Truth::False => {}
                    Truth::Unknown => result = Truth::Unknown,
                }
            }
            Ok(result)
        }
        Predicate::Not(inner) => Ok(match eval(inner, now_micros, value_of)? {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
        }),
        Predicate::IsTrue(column) => match value_of(*column) {
            Value::Null => Ok(Truth::Unknown),
            Value::Boolean(is) => Ok(known(is)),
            other => Err(Error::Invalid(format!("{} is not a boolean", kind_of(&other)))),
        },
        Predicate::IsNull(column) => Ok(known(value_of(*column) == Value::Null)),
        Predicate::Compare { column, op, literal } => {
            let value = value_of(*column);
            Ok(match compare(&value, &*resolve(literal, now_micros, &value)?)? {
                None => Truth::Unknown,
                Some(ordering) => known(holds(*op, ordering)),
            })
        }
        Predicate::In { column, literals } => eval_in(&value_of(*column), literals, now_micros),
        Predicate::HasAny { column, tags } => {
            has_tags(&value_of(*column), |has| tags.iter().any(|tag| has.contains(tag)))
        }
        Predicate::HasAll { column, tags } => {
            has_tags(&value_of(*column), |has| tags.iter().all(|tag| has.contains(tag)))
        }
        Predicate::Holds(expr) => match eval_expr(expr, now_micros, value_of)? {
            Value::Null => Ok(Truth::Unknown),
            Value::Boolean(is) => Ok(known(is)),
            other => Err(Error::Invalid(format!("{} is not a boolean", kind_of(&other)))),
        },
        Predicate::Members(members) => Ok(known(members.contains(ordinal(value_of)))),
        Predicate::Audience(_) => Err(Error::Invalid("an audience stands for its definition here".into())),
        Predicate::Related(_) | Predicate::Derived(_) => {
            Err(Error::Invalid("rows of other tables stand for what they say here".into()))
        }
    }
}

fn known(truth: bool) -> Truth {
    if truth { Truth::True } else { Truth::False }
}

/// `value IN (literals)` is `value = literals[0] OR value = literals[1] OR …`: FALSE of an empty list, whatever the
/// value.
fn eval_in(value: &Value, literals: &[Literal], now_micros: i64) -> Result<Truth> {
    let mut result = Truth::False;
    for literal in literals {
        match compare(value, &*resolve(literal, now_micros, value)?)? {
            Some(Ordering::Equal) => return Ok(Truth::True),
            Some(_) => {}
            None => result = Truth::Unknown,
        }
    }
    Ok(result)
}

fn has_tags(value: &Value, wanted: impl Fn(&[String]) -> bool) -> Result<Truth> {
    match value {
        Value::Null => Ok(Truth::Unknown),
        Value::Tags(has) => Ok(known(wanted(has))),
        other => Err(Error::Invalid(format!("{} has no tags", kind_of(other)))),
    }
}

pub(crate) fn holds(op: CompareOp, ordering: Ordering) -> bool {
    match op {
        CompareOp::Eq => ordering == Ordering::Equal,
        CompareOp::Ne => ordering != Ordering::Equal,
        CompareOp::Lt => ordering == Ordering::Less,
        CompareOp::Le => ordering != Ordering::Greater,
        CompareOp::Gt => ordering == Ordering::Greater,
        CompareOp::Ge => ordering != Ordering::Less,
    }
}

/// The literal as it is read beside a value.
fn resolve<'a>(literal: &'a Literal, now_micros: i64, value: &Value) -> Result<Cow<'a, Value>> {
    let local = matches!(value, Value::Date(_) | Value::Timestamp(_));
    clock::resolve(literal, now_micros, if local { Beside::Local } else { Beside::Instant })
}

/// The value of an expression for the member whose columns `value_of` gives.
pub fn eval_expr(expr: &Expr, now_micros: i64, value_of: &dyn Fn(ColumnId) -> Value) -> Result<Value> {
    let compiled = Compiled::new(expr, now_micros)?;
    let inputs: Vec<Value> = compiled.columns().iter().map(|column| value_of(*column)).collect();
    compiled.eval(ordinal(value_of), &inputs)
}

/// A member's ordinal goes by the id of the live set.
fn ordinal(value_of: &dyn Fn(ColumnId) -> Value) -> u32 {
    match value_of(ColumnId::LIVE) {
        Value::Integer(ordinal) => u32::try_from(ordinal).unwrap_or(u32::MAX),
        _ => u32::MAX,
    }
}

/// How two values compare, of any kinds that can be; `None` where either is NULL.
///
/// Errors: [`Error::Invalid`] for kinds that cannot be compared (a text and a number, tags and anything).
pub fn compare(left: &Value, right: &Value) -> Result<Option<Ordering>> {
    use Value::{Boolean, Double, Null, Text};
    if matches!(left, Null) || matches!(right, Null) {
        return Ok(None);
    }
    let ordering = match (left, right) {
        (Boolean(a), Boolean(b)) => Some(a.cmp(b)),
        (Text(a), Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Double(a), Double(b)) => Some(doubles(*a, *b)),
        (Double(a), b) => Exact::of(b).map(|b| double_with_exact(*a, b)),
        (a, Double(b)) => Exact::of(a).map(|a| double_with_exact(*b, a).reverse()),
        (a, b) => match (Exact::of(a), Exact::of(b), micros_of(a), micros_of(b)) {
            (Some(a), Some(b), _, _) => Some(exacts(a, b)),
            (_, _, Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => None,
        },
    };
    match ordering {
        Some(ordering) => Ok(Some(ordering)),
        None => Err(Error::Invalid(format!("{} cannot be compared with {}", kind_of(left), kind_of(right)))),
    }
}

pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) => "an integer",
        Value::Decimal { .. } => "a decimal",
        Value::Double(_) => "a double",
        Value::Text(_) => "a text",
        Value::Date(_) => "a date",
        Value::Timestamp(_) => "a timestamp",
        Value::TimestampTz(_) => "a timestamp with time zone",
        Value::Tags(_) => "a set of tags",
    }
}

/// Microseconds since 1970 began, in UTC; wide, because the last days of an `i32` lie beyond an `i64` of microseconds.
fn micros_of(value: &Value) -> Option<i128> {
    match value {
        Value::Date(days) => Some(i128::from(*days) * i128::from(MICROS_PER_DAY)),
        Value::Timestamp(micros) | Value::TimestampTz(micros) => Some(i128::from(*micros)),
        _ => None,
    }
}

/// An integer or decimal: `unscaled / 10^scale`.
#[derive(Clone, Copy)]
struct Exact {
    unscaled: i128,
    scale: u8,
}

impl Exact {
    fn of(value: &Value) -> Option<Exact> {
        match value {
            Value::Integer(integer) => Some(Exact { unscaled: i128::from(*integer), scale: 0 }),
            Value::Decimal { unscaled, scale } => Some(Exact { unscaled: *unscaled, scale: *scale }),
            _ => None,
        }
    }
}

fn exacts(a: Exact, b: Exact) -> Ordering {
    if a.scale > b.scale {
        return exacts(b, a).reverse();
    }
    // Brought to b's scale, a may leave 128 bits; then it lies beyond every b, on the side of its sign.
    let widened =
        10_i128.checked_pow(u32::from(b.scale - a.scale)).and_then(|ten| a.unscaled.checked_mul(ten));
    match widened {
        Some(unscaled) => unscaled.cmp(&b.unscaled),
        None if a.unscaled == 0 => 0.cmp(&b.unscaled),
        None => a.unscaled.cmp(&0),
    }
}

fn doubles(a: f64, b: f64) -> Ordering {
    match a.partial_cmp(&b) {
        Some(ordering) => ordering,
        None => a.is_nan().cmp(&b.is_nan()),
    }
}

fn double_with_exact(double: f64, exact: Exact) -> Ordering {
    if double.is_nan() || double == f64::INFINITY {
        return Ordering::Greater;
    }
    if double == f64::NEG_INFINITY {
        return Ordering::Less;
    }
    // A whole number that 128 bits hold converts without loss.
    if double.fract() == 0.0 && double.abs() < 2_f64.powi(100) {
        return exacts(Exact { unscaled: double as i128, scale: 0 }, exact);
    }
    // Rounding errs by a few parts in 10^16 here, so a gap of one in 10^9 is no rounding.
    let near = exact.unscaled as f64 / 10_f64.powi(i32::from(exact.scale));
    if (double - near).abs() > 1e-9 * double.abs().max(near.abs()) {
        return doubles(double, near);
    }
    // Both are now of one sign. Every double has at most 1074 digits after its point, and is printed exactly.
    let ordering = digits_of_double(double.abs()).cmp(&digits_of_exact(exact));
    if double < 0.0 { ordering.reverse() } else { ordering }
}

/// The digits of a magnitude: how many before the point, all of them, those after the point without trailing zeros.
/// Ordered as the magnitudes are.
type Digits = (usize, String, String);

fn digits_of_double(magnitude: f64) -> Digits {
    let text = format!("{magnitude:.1074}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    (whole.len(), whole.to_owned(), fraction.trim_end_matches('0').to_owned())
}

fn digits_of_exact(exact: Exact) -> Digits {
    let scale = usize::from(exact.scale);
    let text = format!("{:0>width$}", exact.unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = text.split_at(text.len() - scale);
    (whole.len(), whole.to_owned(), fraction.trim_end_matches('0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predicate::Interval;
    use Truth::{False, True, Unknown};

    const COLUMN: ColumnId = ColumnId(1);

    fn truth(predicate: &Predicate, value: Value) -> Truth {
        eval(predicate, 0, &|_| value.clone()).unwrap()
    }

    fn decimal(unscaled: i128, scale: u8) -> Value {
        Value::Decimal { unscaled, scale }
    }

    fn assert_ordered(left: Value, right: Value, ordering: Ordering) {
        assert_eq!(compare(&left, &right).unwrap(), Some(ordering), "{left:?} against {right:?}");
        assert_eq!(compare(&right, &left).unwrap(), Some(ordering.reverse()), "{right:?} against {left:?}");
    }

    #[test]
    fn connectives_follow_the_truth_tables() {
        let all = [True, False, Unknown];
        let and = [True, False, Unknown, False, False, False, Unknown, False, Unknown];
        let or = [True, True, True, True, False, Unknown, True, Unknown, Unknown];
        for (i, (a, b)) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))).enumerate() {
            let terms = vec![Predicate::Const(*a), Predicate::Const(*b)];
            assert_eq!(truth(&Predicate::And(terms.clone()), Value::Null), and[i], "{a:?} AND {b:?}");
            assert_eq!(truth(&Predicate::Or(terms), Value::Null), or[i], "{a:?} OR {b:?}");
        }
        for (inner, outer) in [(True, False), (False, True), (Unknown, Unknown)] {
            assert_eq!(truth(&Predicate::Const(inner).not(), Value::Null), outer);
        }
        assert_eq!(truth(&Predicate::And(vec![]), Value::Null), True);
        assert_eq!(truth(&Predicate::Or(vec![]), Value::Null), False);
    }

    #[test]
    fn comparisons_with_null_are_unknown() {
        for op in [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge] {
            let with_null = Predicate::compare(COLUMN, op, Value::Null);
            assert_eq!(truth(&with_null, Value::Integer(1)), Unknown);
            assert_eq!(truth(&with_null, Value::Null), Unknown);
            assert_eq!(truth(&Predicate::compare(COLUMN, op, Value::Integer(1)), Value::Null), Unknown);
        }
        assert_eq!(truth(&Predicate::IsNull(COLUMN), Value::Null), True);
        assert_eq!(truth(&Predicate::IsNull(COLUMN), Value::Text(String::new())), False);
        assert_eq!(truth(&Predicate::IsTrue(COLUMN), Value::Null), Unknown);
        assert_eq!(truth(&Predicate::IsTrue(COLUMN), Value::Boolean(false)), False);
    }

    #[test]
    fn each_operator_reads_each_ordering() {
        let table = [
            (CompareOp::Eq, [False, True, False]),
            (CompareOp::Ne, [True, False, True]),
            (CompareOp::Lt, [True, False, False]),
            (CompareOp::Le, [True, True, False]),
            (CompareOp::Gt, [False, False, True]),
            (CompareOp::Ge, [False, True, True]),
        ];
        for (op, expected) in table {
            for (value, expected) in [6, 7, 8].into_iter().zip(expected) {
                let predicate = Predicate::compare(COLUMN, op, Value::Integer(7));
                assert_eq!(truth(&predicate, Value::Integer(value)), expected, "{value} {op:?} 7");
            }
        }
    }

    #[test]
    fn in_lists_follow_sql() {
        let of = |values: &[Value]| Predicate::any_of(COLUMN, values.to_vec());
        let (one, two) = (Value::Integer(1), Value::Integer(2));
        assert_eq!(truth(&of(&[]), one.clone()), False);
        assert_eq!(truth(&of(&[]), Value::Null), False);
        assert_eq!(truth(&of(&[two.clone(), one.clone()]), one.clone()), True);
        assert_eq!(truth(&of(&[Value::Null, one.clone()]), one.clone()), True);
        assert_eq!(truth(&of(&[Value::Null, two.clone()]), one.clone()), Unknown);
        assert_eq!(truth(&of(std::slice::from_ref(&two)), one), False);
        assert_eq!(truth(&of(&[two]), Value::Null), Unknown);
    }

    #[test]
    fn tags_follow_array_operators() {
        let has = |tags: &[&str]| Value::Tags(tags.iter().map(ToString::to_string).collect());
        let any = |tags: &[&str]| Predicate::HasAny {
            column: COLUMN,
            tags: tags.iter().map(ToString::to_string).collect(),
        };
        let all = |tags: &[&str]| Predicate::HasAll {
            column: COLUMN,
            tags: tags.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(truth(&any(&["a", "x"]), has(&["a", "b"])), True);
        assert_eq!(truth(&any(&["x"]), has(&["a", "b"])), False);
        assert_eq!(truth(&any(&[]), has(&["a"])), False);
        assert_eq!(truth(&all(&["a", "b"]), has(&["a", "b", "c"])), True);
        assert_eq!(truth(&all(&["a", "x"]), has(&["a", "b"])), False);
        assert_eq!(truth(&all(&[]), has(&[])), True);
        for predicate in [any(&[]), any(&["a"]), all(&[]), all(&["a"])] {
            assert_eq!(truth(&predicate, Value::Null), Unknown);
        }
    }

    #[test]
    fn numbers_of_all_kinds_compare_exactly() {
        use Ordering::{Equal, Greater, Less};
        let integer = Value::Integer;
        let double = Value::Double;
        assert_ordered(integer(2), decimal(200, 2), Equal);
        assert_ordered(integer(2), decimal(201, 2), Less);
        assert_ordered(integer(-2), decimal(-201, 2), Greater);
        assert_ordered(integer(i64::MIN), decimal(i128::MIN, 0), Greater);
        assert_ordered(integer(i64::MAX), decimal(i128::MAX, 20), Greater);
        assert_ordered(decimal(1, 255), decimal(0, 0), Greater);
        assert_ordered(decimal(0, 0), decimal(-1, 255), Greater);
        assert_ordered(decimal(i128::MIN, 0), decimal(i128::MIN, 1), Less);
        // 2^53 + 1 and the neighbours that a cast would confuse it with.
        assert_ordered(integer((1 << 53) + 1), double(9_007_199_254_740_992.0), Greater);
        assert_ordered(integer(i64::MAX), double(9_223_372_036_854_775_808.0), Less);
        assert_ordered(integer(i64::MIN), double(-9_223_372_036_854_775_808.0), Equal);
        // The double 0.1 is a little more than a tenth, 0.3 a little less than three.
        assert_ordered(decimal(1, 1), double(0.1), Less);
        assert_ordered(decimal(3, 1), double(0.3), Greater);
        assert_ordered(decimal(-1, 1), double(-0.1), Greater);
        assert_ordered(decimal(1_000_000_000_000_000_055_511_151_231_257_827, 34), double(0.1), Less);
        assert_ordered(decimal(25, 2), double(0.25), Equal);
        assert_ordered(decimal(-125, 2), double(-1.25), Equal);
        assert_ordered(decimal(1, 255), double(5e-324), Greater);
        assert_ordered(decimal(-1, 255), double(-5e-324), Less);
        assert_ordered(decimal(0, 3), double(5e-324), Less);
        assert_ordered(decimal(0, 3), double(-0.0), Equal);
        assert_ordered(decimal(i128::MAX, 0), double(1e300), Less);
        assert_ordered(decimal(i128::MAX, 0), double(2_f64.powi(127)), Less);
        assert_ordered(decimal(i128::MIN, 0), double(-(2_f64.powi(127))), Equal);
        assert_ordered(double(0.0), double(-0.0), Equal);
        assert_ordered(double(f64::NAN), double(-f64::NAN), Equal);
        assert_ordered(double(f64::NAN), double(f64::INFINITY), Greater);
        assert_ordered(double(f64::NAN), integer(i64::MAX), Greater);
        assert_ordered(double(f64::INFINITY), decimal(i128::MAX, 0), Greater);
        assert_ordered(double(f64::NEG_INFINITY), decimal(i128::MIN, 0), Less);
    }

    #[test]
    fn times_texts_and_booleans_compare() {
        use Ordering::{Equal, Greater, Less};
        assert_ordered(Value::Date(1), Value::Timestamp(MICROS_PER_DAY), Equal);
        assert_ordered(Value::Date(-1), Value::TimestampTz(-MICROS_PER_DAY + 1), Less);
        assert_ordered(Value::Timestamp(5), Value::TimestampTz(5), Equal);
        assert_ordered(Value::Date(i32::MAX), Value::Timestamp(i64::MAX), Greater);
        assert_ordered(Value::Date(i32::MIN), Value::Timestamp(i64::MIN), Less);
        let text = |s: &str| Value::Text(s.to_owned());
        assert_ordered(text(""), text("\0"), Less);
        assert_ordered(text("Z"), text("a"), Less);
        assert_ordered(text("z"), text("é"), Less);
        // Sorted as UTF-16 these two would stand the other way round.
        assert_ordered(text("\u{FFFD}"), text("\u{1F600}"), Less);
        assert_ordered(Value::Boolean(false), Value::Boolean(true), Less);
    }

    #[test]
    fn kinds_that_cannot_be_compared_are_refused() {
        let text = Value::Text("1".into());
        let tags = Value::Tags(vec!["1".into()]);
        for (left, right) in [
            (&text, &Value::Integer(1)),
            (&Value::Double(1.0), &text),
            (&Value::Boolean(true), &Value::Integer(1)),
            (&Value::Date(1), &decimal(1, 0)),
            (&Value::Double(1.0), &Value::Timestamp(1)),
            (&tags, &text),
            (&tags, &tags),
        ] {
            assert!(matches!(compare(left, right), Err(Error::Invalid(_))), "{left:?} with {right:?}");
        }
        assert!(eval(&Predicate::IsTrue(COLUMN), 0, &|_| Value::Integer(1)).is_err());
        assert!(eval(&Predicate::has_tag(COLUMN, "1"), 0, &|_| text.clone()).is_err());
    }

    #[test]
    fn now_is_moved_in_order_and_cut_to_its_day_first() {
        // 2024-03-31 12:00:00 UTC.
        let now = 1_711_886_400_000_000;
        let at = |date: bool, offsets: Vec<Interval>| Predicate::Compare {
            column: COLUMN,
            op: CompareOp::Eq,
            literal: Literal::Now { offsets, date, zone: None },
        };
        let month = Interval { months: -1, ..Interval::default() };
        let hour = Interval { micros: 3_600_000_000, ..Interval::default() };
        let is = |predicate: &Predicate, value: Value| eval(predicate, now, &|_| value.clone()).unwrap();
        assert_eq!(is(&at(false, vec![]), Value::TimestampTz(now)), True);
        assert_eq!(is(&at(true, vec![]), Value::Timestamp(now - MICROS_PER_DAY / 2)), True);
        assert_eq!(is(&at(true, vec![]), Value::Date(19_813)), True);
        assert_eq!(is(&at(false, vec![]), Value::Date(19_813)), False);
        // A month before 31 March is 29 February, 31 days earlier.
        assert_eq!(is(&at(true, vec![month]), Value::Date(19_813 - 31)), True);
        assert_eq!(
            is(
                &at(true, vec![month, hour]),
                Value::Timestamp((19_813 - 31) * MICROS_PER_DAY + 3_600_000_000)
            ),
            True
        );
        assert_eq!(is(&at(false, vec![]), Value::Null), Unknown);
        let beyond = Interval { months: i32::MAX, ..Interval::default() };
        assert!(eval(&at(false, vec![beyond; 3]), now, &|_| Value::TimestampTz(now)).is_err());
    }

    #[test]
    fn wide_and_deep_predicates_fit_a_small_stack() {
        let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(|| {
            let leaf = |i: i64| Predicate::compare(COLUMN, CompareOp::Eq, Value::Integer(i));
            let wide = Predicate::Or((0..10_000).map(leaf).collect());
            assert_eq!(truth(&wide, Value::Integer(9_999)), True);
            assert_eq!(truth(&wide, Value::Integer(10_000)), False);
            let deep = (0..200).fold(leaf(1), |inner, _| Predicate::And(vec![inner.not(), leaf(2).not()]));
            assert_eq!(truth(&deep, Value::Integer(1)), True);
        });
        thread.unwrap().join().unwrap();
    }
}
