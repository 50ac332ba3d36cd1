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
//!
//! The terms of one AND or OR that are walks over the same values, or over the members, are walked together
//! ([`Terms`]), and those that compare the same expression are one comparison first (`comparisons`): a thousand of them
//! read each value once.

use super::leaf::{Leaf, Test, TextMatch};
use super::{Node, Planner, combine, comparisons, constant};
use crate::exec::compute::{self, Inputs};
use crate::expr::{Expr, Function, Matcher, Node as Computed, Terms, TimeField};
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
/// Values that one task looks at.
const TASK_VALUES: usize = 16_384;

/// An expression, and the truth that is wanted of it: FALSE under a NOT.
pub(super) type Term = (Expr, bool);

/// A test that is computed: what of, and which truths are wanted.
#[derive(Clone)]
pub struct ComputedTest {
    /// The terms, ready to be computed.
    pub(crate) terms: Arc<Terms>,
    exprs: Vec<Term>,
    /// The plan's reader of each of their columns.
    pub(crate) readers: Vec<usize>,
}

impl fmt::Debug for ComputedTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if self.terms.all() { " AND " } else { " OR " };
        for (i, (expr, wanted)) in self.exprs.iter().enumerate() {
            write!(f, "{}{expr:?} IS {wanted}", if i > 0 { between } else { "" })?;
        }
        Ok(())
    }
}

impl PartialEq for ComputedTest {
    fn eq(&self, other: &ComputedTest) -> bool {
        self.terms.all() == other.terms.all() && self.readers == other.readers && self.exprs == other.exprs
    }
}

impl ComputedTest {
    /// How many expressions are computed.
    pub(super) fn count(&self) -> usize {
        self.exprs.len()
    }

    /// True of a text, the only column.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        self.terms.match_text(text)
    }
}

impl Planner<'_, '_> {
    /// The members for which all of these terms are as wanted, or any, as clauses of such a conjunction or disjunction.
    pub(super) fn holds(&mut self, terms: Vec<Term>, all: bool) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        // Terms of one column by their column, in the order in which they are written; and those of several.
        let mut by_column: Vec<(ColumnId, Vec<Term>)> = Vec::new();
        let mut by_member = Vec::new();
        for term in terms {
            self.cancel.check()?;
            let test = self.computed_test(vec![term.clone()], all)?;
            match (test.terms.columns(), test.terms.single()) {
                (_, Some((Computed::Value(value), wanted))) => {
                    nodes.push(constant(*value == Value::Boolean(*wanted)));
                }
                ([column], Some((node, wanted))) if !names_ordinal(&term.0) => {
                    if let Some(node) = self.directly(*column, &test, node, *wanted)? {
                        nodes.push(node);
                    } else if let Some((_, terms)) = by_column.iter_mut().find(|(known, _)| known == column) {
                        terms.push(term);
                    } else {
                        by_column.push((*column, vec![term]));
                    }
                }
                _ => by_member.push(term),
            }
        }
        for (column, terms) in by_column {
            self.by_values(column, comparisons::merged(terms, all), all, &mut nodes, &mut by_member)?;
        }
        if !by_member.is_empty() {
            let test = self.computed_test(comparisons::merged(by_member, all), all)?;
            let column = test.terms.columns().first().copied().unwrap_or(ColumnId::LIVE);
            nodes.push(self.leaf(column, Test::Computed(test), false)?);
        }
        Ok(nodes)
    }

    fn computed_test(&mut self, exprs: Vec<Term>, all: bool) -> Result<ComputedTest> {
        let terms = Arc::new(Terms::new(&exprs, all, self.now_micros)?);
        let readers = terms.columns().iter().map(|column| self.reader(*column)).collect::<Result<_>>()?;
        Ok(ComputedTest { terms, exprs, readers })
    }

    /// The members for which a term of one column is as wanted, where that takes no walk over its values.
    fn directly(
        &mut self,
        column: ColumnId,
        test: &ComputedTest,
        node: &Computed,
        wanted: bool,
    ) -> Result<Option<Node>> {
        let mut children = Vec::new();
        match self.data_type(column)? {
            DataType::Boolean => {
                let holds = |truth| test.terms.hold(0, &[Value::Boolean(truth)]);
                let (Ok(no), Ok(yes)) = (holds(false), holds(true)) else { return Ok(None) };
                for (holds, negated) in [(yes, false), (no, true)] {
                    if holds {
                        children.push(self.leaf(column, Test::True, negated)?);
                    }
                }
            }
            DataType::TextArray => return Ok(None),
            DataType::Text => {
                let Computed::Match(inner, Matcher::Contains(finder)) = node else { return Ok(None) };
                let (Computed::Input(_), true, Some(dictionary)) =
                    (&**inner, wanted, self.table.dictionary(column))
                else {
                    return Ok(None);
                };
                let codes = dictionary.view()?.containing(finder);
                let text = TextMatch::Holds(test.clone());
                children.push(self.leaf(column, Test::Text { codes, text }, false)?);
            }
            data_type => match self.bisected(column, data_type, node, wanted) {
                None => return Ok(None),
                Some(intervals) if intervals.is_empty() => {}
                Some(intervals) => children.push(self.leaf(column, Test::Codes(intervals), false)?),
            },
        }
        self.with_nulls(column, test, children)
    }

    /// Pushes the members by the column's values for which the terms hold. Terms whose values are too many, or make an
    /// error, go to `by_member`, the others of the same column without them.
    fn by_values(
        &mut self,
        column: ColumnId,
        mut terms: Vec<Term>,
        all: bool,
        nodes: &mut Vec<Node>,
        by_member: &mut Vec<Term>,
    ) -> Result<()> {
        let test = self.computed_test(terms.clone(), all)?;
        let mut children = Vec::new();
        let is_leaf = match self.data_type(column)? {
            DataType::Boolean | DataType::TextArray => false,
            DataType::Text => match self.text_codes(column, &test)? {
                None => false,
                Some(codes) => {
                    let text = TextMatch::Holds(test.clone());
                    children.push(self.leaf(column, Test::Text { codes, text }, false)?);
                    true
                }
            },
            data_type => {
                let Some(low) = self.few_values(column, data_type) else {
                    by_member.extend(terms);
                    return Ok(());
                };
                match self.code_intervals(data_type, low, &test)? {
                    None => false,
                    Some(intervals) => {
                        if !intervals.is_empty() {
                            children.push(self.leaf(column, Test::Codes(intervals), false)?);
                        }
                        true
                    }
                }
            }
        };
        if is_leaf && let Some(node) = self.with_nulls(column, &test, children)? {
            nodes.push(node);
        } else if terms.len() == 1 {
            by_member.append(&mut terms);
        } else {
            let later = terms.split_off(terms.len() / 2);
            for half in [terms, later] {
                self.by_values(column, half, all, nodes, by_member)?;
            }
        }
        Ok(())
    }

    /// The members of some leaves, and those without a value where the test holds of NULL; `None` where that is an error.
    fn with_nulls(
        &mut self,
        column: ColumnId,
        test: &ComputedTest,
        mut children: Vec<Node>,
    ) -> Result<Option<Node>> {
        match test.terms.hold(0, &[Value::Null]) {
            Ok(false) => {}
            Ok(true) => children.push(self.leaf(column, Test::Null, false)?),
            Err(_) => return Ok(None),
        }
        Ok(Some(combine(children, false)))
    }

    /// The codes of the dictionary's texts for which the test holds; `None` where one of them makes an error.
    fn text_codes(&self, column: ColumnId, test: &ComputedTest) -> Result<Option<Vec<u32>>> {
        // LIKE of the column itself makes no error, whatever the text.
        let matches_only = test.terms.each().iter().all(
            |(node, _)| matches!(node, Computed::Match(inner, _) if matches!(**inner, Computed::Input(_))),
        );
        let Some(dictionary) = self.table.dictionary(column) else {
            return Ok(matches_only.then(Vec::new));
        };
        let plain = |chunk| self.readers[test.readers[0]].entry(chunk, SectionKind::Strings).is_some();
        if !matches_only
            && ((0..self.table.chunks()).any(plain) || self.readers[test.readers[0]].has_changed_texts())
        {
            return Ok(None);
        }
        let view = dictionary.view()?;
        self.walked(test, &Inputs::Entries(view), view.len())
    }

    /// Those of so many values for which the test holds, ascending; `None` where one of them makes an error.
    fn walked(&self, test: &ComputedTest, inputs: &Inputs<'_, '_>, count: usize) -> Result<Option<Vec<u32>>> {
        let some = |start: usize| {
            let rows: Vec<u32> = (start..(start + TASK_VALUES).min(count)).map(|row| row as u32).collect();
            let mut found = Vec::new();
            compute::chosen(&test.terms, inputs, self.cancel, &rows, |row| found.push(row)).map(|()| found)
        };
        let tasks: Vec<usize> = (0..count).step_by(TASK_VALUES).collect();
        let parts: Result<Vec<Vec<u32>>> = match pool() {
            Some(pool) if tasks.len() > 1 => {
                use rayon::prelude::*;
                pool.install(|| tasks.into_par_iter().map(some).collect())
            }
            _ => tasks.into_iter().map(some).collect(),
        };
        self.cancel.check()?;
        Ok(parts.ok().map(|parts| parts.concat()))
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

    /// The codes for which a term is as wanted, where its function is known to only rise or only fall.
    fn bisected(
        &self,
        column: ColumnId,
        data_type: DataType,
        node: &Computed,
        wanted: bool,
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
        let mut intervals = if low > number_high {
            Vec::new()
        } else {
            bisected((node, wanted), low, number_high, finite, &value)?
        };
        if nan && node.eval(0, &[value(high)]).ok()? == Value::Boolean(wanted) {
            intervals.push((low.max(infinity + 1), high));
        }
        Some(intervals)
    }

    /// The least code of a column and how many there are up to the greatest, where each of them may be tried.
    fn few_values(&self, column: ColumnId, data_type: DataType) -> Option<(i64, usize)> {
        let (low, high) = self.ends(column)?;
        // More values than members are no gain over asking the members.
        let most = DOMAIN_MAX.min(self.table.rows().max(VALUES_MIN) as i64);
        let span = high.checked_sub(low)?;
        (data_type != DataType::Double && span < most).then_some((low, span as usize + 1))
    }

    /// The codes for which the test holds, of so many from `low`; `None` where one of them makes an error, or they fall
    /// apart into too many intervals.
    fn code_intervals(
        &self,
        data_type: DataType,
        (low, count): (i64, usize),
        test: &ComputedTest,
    ) -> Result<Option<Vec<(i64, i64)>>> {
        let Some(found) = self.walked(test, &Inputs::Codes(data_type, low), count)? else { return Ok(None) };
        let mut intervals: Vec<(i64, i64)> = Vec::new();
        for code in found.into_iter().map(|row| low + i64::from(row)) {
            match intervals.last_mut() {
                Some((_, end)) if *end + 1 == code => *end = code,
                _ => intervals.push((code, code)),
            }
        }
        Ok((intervals.len() <= INTERVALS_MAX).then_some(intervals))
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
    (node, wanted): (&Computed, bool),
    low: i64,
    high: i64,
    finite: [i64; 2],
    value: &impl Fn(i64) -> Value,
) -> Option<Vec<(i64, i64)>> {
    let Computed::Call(Function::Compare(op), sides) = node else { return None };
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
    let truths = |at: std::cmp::Ordering| crate::eval::holds(op, at) == wanted;
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
