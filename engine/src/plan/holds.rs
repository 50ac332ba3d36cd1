//! Boolean expressions as leaves. What depends on one column is decided on the column's values where they are few or in
//! order, so that the indexes answer it; the rest is computed member by member.
//!
//! | one column that is | is asked |
//! |---|---|
//! | BOOLEAN | of its two values |
//! | TEXT | of each entry of the dictionary |
//! | a number, date or time whose function only rises or only falls | of some sixty codes, by bisection: a range |
//! | a number, date or time of up to [`DOMAIN_MAX`] different codes between its ends | of each of these codes |
//!
//! An error at a value that no member may have is no error: then the members are asked.

use super::leaf::{Leaf, Test, TextMatch};
use super::{Node, Planner, combine, constant};
use crate::expr::{Compiled, Expr, Function, Matcher, Node as Computed, TimeField};
use crate::pool::pool;
use crate::predicate::CompareOp;
use crate::schema::{ColumnId, DataType};
use crate::value::Value;
use crate::{Result, code};
use muster_storage::format::SectionKind;
use std::fmt;
use std::sync::Arc;

/// Between the least and the greatest code of a column at most so many are tried.
const DOMAIN_MAX: i64 = 1 << 17;
/// So many values are tried whatever the number of members.
const VALUES_MIN: u64 = 1_024;
/// A test that falls apart into more ranges of codes is computed instead.
const INTERVALS_MAX: usize = 4_096;
/// Entries of a dictionary that one task looks at.
const TASK_ENTRIES: usize = 16_384;

/// A test that is computed: what of, and which truth is wanted.
#[derive(Clone)]
pub struct ComputedTest {
    /// The expression as it was planned.
    pub(crate) compiled: Arc<Compiled>,
    expr: Expr,
    /// The plan's reader of each of its columns.
    pub(crate) readers: Vec<usize>,
    /// TRUE, or FALSE under a NOT.
    pub(crate) wanted: bool,
}

impl fmt::Debug for ComputedTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} IS {}", self.expr, self.wanted)
    }
}

impl PartialEq for ComputedTest {
    fn eq(&self, other: &ComputedTest) -> bool {
        self.wanted == other.wanted && self.readers == other.readers && self.expr == other.expr
    }
}

impl ComputedTest {
    /// True of a text, the only column.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        if let Computed::Match(inner, matcher) = self.compiled.root()
            && let Computed::Input(_) = **inner
        {
            return matcher.matches(text) == self.wanted;
        }
        let value = Value::Text(String::from_utf8_lossy(text).into_owned());
        matches!(self.compiled.eval(0, &[value]), Ok(Value::Boolean(truth)) if truth == self.wanted)
    }
}

impl Planner<'_, '_> {
    /// The members for which an expression is TRUE, or with `negated` FALSE.
    pub(super) fn holds(&mut self, expr: &Expr, negated: bool) -> Result<Node> {
        self.cancel.check()?;
        let compiled = Arc::new(Compiled::new(expr, self.now_micros)?);
        if let Some(value) = compiled.constant() {
            return Ok(constant(*value == Value::Boolean(!negated)));
        }
        let mut readers = Vec::with_capacity(compiled.columns().len());
        for column in compiled.columns() {
            readers.push(self.reader(*column)?);
        }
        let test = ComputedTest { compiled, expr: expr.clone(), readers, wanted: !negated };
        if let ([column], false) = (test.compiled.columns(), names_ordinal(expr))
            && let Some(node) = self.by_values(*column, &test)?
        {
            return Ok(node);
        }
        let column = test.compiled.columns().first().copied().unwrap_or(ColumnId::LIVE);
        self.leaf(column, Test::Computed(test), false)
    }

    /// The members by the column's values for which the test holds; `None` where the values are too many.
    fn by_values(&mut self, column: ColumnId, test: &ComputedTest) -> Result<Option<Node>> {
        let holds =
            |value: Value| test.compiled.eval(0, &[value]).map(|truth| truth == Value::Boolean(test.wanted));
        let mut children = Vec::new();
        match self.data_type(column)? {
            DataType::Boolean => {
                let (Ok(no), Ok(yes)) = (holds(Value::Boolean(false)), holds(Value::Boolean(true))) else {
                    return Ok(None);
                };
                for (holds, negated) in [(yes, false), (no, true)] {
                    if holds {
                        children.push(self.leaf(column, Test::True, negated)?);
                    }
                }
            }
            DataType::TextArray => return Ok(None),
            DataType::Text => {
                let Some(codes) = self.text_codes(column, test)? else { return Ok(None) };
                children.push(self.leaf(
                    column,
                    Test::Text { codes, text: TextMatch::Holds(test.clone()) },
                    false,
                )?);
            }
            data_type => match self.code_intervals(column, data_type, test) {
                None => return Ok(None),
                Some(intervals) if intervals.is_empty() => {}
                Some(intervals) => children.push(self.leaf(column, Test::Codes(intervals), false)?),
            },
        }
        match holds(Value::Null) {
            Ok(false) => {}
            Ok(true) => children.push(self.leaf(column, Test::Null, false)?),
            Err(_) => return Ok(None),
        }
        Ok(Some(combine(children, false)))
    }

    /// The codes of the dictionary's texts for which the test holds; `None` where one of them makes an error.
    fn text_codes(&self, column: ColumnId, test: &ComputedTest) -> Result<Option<Vec<u32>>> {
        let Some(dictionary) = self.table.dictionary(column) else {
            // Texts without a dictionary: an error is only found at a text.
            return Ok(matches!(test.compiled.root(), Computed::Match(..)).then(Vec::new));
        };
        let plain = |chunk| self.readers[test.readers[0]].entry(chunk, SectionKind::Strings).is_some();
        if !matches!(test.compiled.root(), Computed::Match(..))
            && ((0..self.table.chunks()).any(plain) || self.readers[test.readers[0]].has_changed_texts())
        {
            return Ok(None);
        }
        let view = dictionary.view()?;
        if let Computed::Match(inner, Matcher::Contains(finder)) = test.compiled.root()
            && let (Computed::Input(_), true) = (&**inner, test.wanted)
        {
            return Ok(Some(view.containing(finder)));
        }
        let direct = matches!(test.compiled.root(), Computed::Match(inner, _) if matches!(**inner, Computed::Input(_)));
        let some = |task: std::ops::Range<usize>| {
            if self.cancel.is_cancelled() {
                return None;
            }
            let mut codes = Vec::new();
            for code in task {
                let text = view.get(code as u32);
                let holds = if direct {
                    test.matches(text)
                } else {
                    let value = Value::Text(String::from_utf8_lossy(text).into_owned());
                    test.compiled.eval(0, &[value]).ok()? == Value::Boolean(test.wanted)
                };
                if holds {
                    codes.push(code as u32);
                }
            }
            Some(codes)
        };
        let tasks: Vec<_> = (0..view.len())
            .step_by(TASK_ENTRIES)
            .map(|start| start..(start + TASK_ENTRIES).min(view.len()))
            .collect();
        let parts: Option<Vec<Vec<u32>>> = match pool() {
            Some(pool) if tasks.len() > 1 => {
                use rayon::prelude::*;
                pool.install(|| tasks.into_par_iter().map(some).collect())
            }
            _ => tasks.into_iter().map(some).collect(),
        };
        self.cancel.check()?;
        Ok(parts.map(|parts| parts.concat()))
    }

    /// The least and the greatest code of a column, where the table of sections knows them.
    fn ends(&self, column: ColumnId) -> Option<(i64, i64)> {
        let reader = &self.readers[self.columns.iter().position(|known| *known == column)?];
        let mut ends: Option<(i64, i64)> = reader.changed_bounds();
        for chunk in 0..self.table.chunks() {
            match reader.zone(chunk) {
                Some(zone) if zone.count > 0 => {
                    ends = Some(ends.map_or((zone.low, zone.high), |(low, high)| {
                        (low.min(zone.low), high.max(zone.high))
                    }));
                }
                Some(_) => {}
                // A chunk of NULLs alone has no values; one without a range index hides them.
                None if reader.has_values(chunk) => return None,
                None => {}
            }
        }
        ends
    }

    fn code_intervals(
        &self,
        column: ColumnId,
        data_type: DataType,
        test: &ComputedTest,
    ) -> Option<Vec<(i64, i64)>> {
        let (low, high) = self.ends(column)?;
        let value = |code| code::decode(data_type, code);
        // NaN is above every number, and what is computed of it is mostly NaN again, also where a function falls. So it
        // is asked for itself, and bisection goes up to infinity.
        let infinity = code::double_to_code(f64::INFINITY);
        let nan = data_type == DataType::Double && high > infinity;
        let number_high = if nan { infinity } else { high };
        // Infinity times two is infinity, the greatest double times two is out of range: they are ends as well.
        let finite = match data_type {
            DataType::Double => {
                [low.max(code::double_to_code(f64::MIN)), number_high.min(code::double_to_code(f64::MAX))]
            }
            _ => [low, number_high],
        };
        let bisected = if low > number_high {
            Some(Vec::new())
        } else {
            bisected(test, low, number_high, finite, &value)
        };
        if let Some(mut intervals) = bisected {
            if nan && test.compiled.eval(0, &[value(high)]).ok()? == Value::Boolean(test.wanted) {
                intervals.push((low.max(infinity + 1), high));
            }
            return Some(intervals);
        }
        // More values than members are no gain over asking the members.
        let most = DOMAIN_MAX.min(self.table.rows().max(VALUES_MIN) as i64);
        if data_type == DataType::Double || high.checked_sub(low)? >= most {
            return None;
        }
        let mut intervals: Vec<(i64, i64)> = Vec::new();
        for code in low..=high {
            if test.compiled.eval(0, &[value(code)]).ok()? == Value::Boolean(test.wanted) {
                match intervals.last_mut() {
                    Some((_, end)) if *end + 1 == code => *end = code,
                    _ => intervals.push((code, code)),
                }
            }
        }
        (intervals.len() <= INTERVALS_MAX).then_some(intervals)
    }
}

impl Leaf {
    /// The computed test, if it is one.
    pub(crate) fn computed(&self) -> Option<&ComputedTest> {
        if let Test::Computed(test) = &self.test { Some(test) } else { None }
    }
}

fn names_ordinal(expr: &Expr) -> bool {
    match expr {
        Expr::Ordinal => true,
        Expr::Column(_) | Expr::Literal(_) => false,
        Expr::Call { arguments, .. } => arguments.iter().any(names_ordinal),
    }
}

/// The codes from `low` to `high` for which `function(column) op constant` is as wanted, where the function only rises or
/// only falls: it is then so on one side of a code, or between two. `finite` are the ends among finite numbers.
fn bisected(
    test: &ComputedTest,
    low: i64,
    high: i64,
    finite: [i64; 2],
    value: &impl Fn(i64) -> Value,
) -> Option<Vec<(i64, i64)>> {
    let Computed::Call(Function::Compare(op), sides) = test.compiled.root() else { return None };
    let (function, op, constant) = match sides.as_slice() {
        [function, Computed::Value(constant)] => (function, *op, constant),
        [Computed::Value(constant), function] => (function, op.flipped(), constant),
        _ => return None,
    };
    let rises = rises(function, &value(low))?;
    // The first code, if any, at which the function compared with the constant is no longer on the near side.
    let first = |op: CompareOp| -> Option<i64> {
        let reached = |code: i64| -> Option<bool> {
            let compared = function.eval(0, &[value(code)]).ok()?;
            crate::eval::compare(&compared, constant).ok()?.map(|ordering| crate::eval::holds(op, ordering))
        };
        let (mut from, mut to) = (i128::from(low), i128::from(high) + 1);
        // The ends are computed, so that nothing between them makes an error.
        for end in [low, high, finite[0], finite[1]] {
            reached(end)?;
        }
        while from < to {
            let middle = (from + to).div_euclid(2);
            if reached(middle as i64)? { to = middle } else { from = middle + 1 }
        }
        i64::try_from(from).ok()
    };
    let (touches, passes) = if rises {
        (first(CompareOp::Ge)?, first(CompareOp::Gt)?)
    } else {
        (first(CompareOp::Le)?, first(CompareOp::Lt)?)
    };
    // Three stretches of codes: before the constant, at it, beyond it.
    let truths = |at: std::cmp::Ordering| crate::eval::holds(op, at) == test.wanted;
    let (before, beyond) = if rises {
        (std::cmp::Ordering::Less, std::cmp::Ordering::Greater)
    } else {
        (std::cmp::Ordering::Greater, std::cmp::Ordering::Less)
    };
    let mut intervals: Vec<(i64, i64)> = Vec::new();
    for (from, end, holds) in [
        (low, i128::from(touches), truths(before)),
        (touches, i128::from(passes), truths(std::cmp::Ordering::Equal)),
        (passes, i128::from(high) + 1, truths(beyond)),
    ] {
        if holds && i128::from(from) < end {
            let last = (end - 1) as i64;
            match intervals.last_mut() {
                Some((_, before)) if before.checked_add(1) == Some(from) => *before = last,
                _ => intervals.push((from, last)),
            }
        }
    }
    Some(intervals)
}

/// True where a function of the column never falls, false where it never rises; `None` where neither is known. `sample` is
/// one of the column's values.
fn rises(node: &Computed, sample: &Value) -> Option<bool> {
    match node {
        Computed::Input(_) => Some(true),
        Computed::Zone(inner, zone) if *zone == jiff::tz::TimeZone::UTC => rises(inner, sample),
        Computed::Call(function, arguments) => match (function, arguments.as_slice()) {
            // Infinity less infinity and infinity times zero are NaN, which is above the numbers on both sides of it.
            (Function::Add | Function::Subtract | Function::Multiply | Function::Divide, sides)
                if sides
                    .iter()
                    .any(|side| matches!(side, Computed::Value(Value::Double(d)) if !d.is_finite())) =>
            {
                None
            }
            (Function::Add, [inner, Computed::Value(_)] | [Computed::Value(_), inner])
            | (Function::Subtract, [inner, Computed::Value(_)])
            | (Function::Years, [Computed::Value(_), inner])
            | (
                Function::Floor
                | Function::Ceil
                | Function::Round
                | Function::DateTrunc(_)
                | Function::Sqrt
                | Function::Ln
                | Function::Log10
                | Function::Extract(TimeField::Year | TimeField::IsoYear | TimeField::Epoch),
                [inner],
            )
            | (Function::Round, [inner, Computed::Value(_)]) => rises(inner, sample),
            (Function::Subtract, [Computed::Value(_), inner])
            | (Function::Years, [inner, Computed::Value(_)])
            | (Function::Negate, [inner]) => rises(inner, sample).map(|rises| !rises),
            (Function::Multiply | Function::Divide, [inner, Computed::Value(by)])
            | (Function::Multiply, [Computed::Value(by), inner]) => {
                let zero = crate::eval::compare(by, &Value::Integer(0)).ok()??;
                let up = rises(inner, sample)?;
                match zero {
                    std::cmp::Ordering::Greater => Some(up),
                    std::cmp::Ordering::Less => Some(!up),
                    std::cmp::Ordering::Equal => None,
                }
            }
            // A month later the 30th and the 31st can be one day: two times of these days change places.
            (Function::AddInterval(interval), [inner]) => {
                let of_date = matches!((inner, sample), (Computed::Input(_), Value::Date(_)));
                if interval.months == 0 || of_date { rises(inner, sample) } else { None }
            }
            (Function::Cast(to), [inner]) if to.is_number() || to.is_time() => {
                let number = !matches!(sample, Value::Text(_) | Value::Boolean(_));
                if number { rises(inner, sample) } else { None }
            }
            _ => None,
        },
        _ => None,
    }
}
