//! Expressions put to the engine and to themselves, member by member.
//!
//! Errors: where an expression is the whole predicate every member is asked, so either both sides refuse it or both know
//! the members. In a conjunction the engine may pass over members that another clause has decided; there only the members
//! without an error are compared, and an error of the engine needs a member that has one.

use crate::data::{NOW_MICROS, Table};
use crate::expressions::{Kind, Maker};
use crate::question::column_of;
use crate::random::Random;
use muster_engine::control::Cancel;
use muster_engine::eval::compare;
use muster_engine::exec::{self, Fold, FoldAggregate, FoldFunction, Members, Scope};
use muster_engine::expr::{Compiled, Expr, Function};
use muster_engine::predicate::{CompareOp, Predicate};
use muster_engine::value::Value;
use muster_engine::{Snapshot, TableId};
use rayon::prelude::*;
use roaring::RoaringBitmap;
use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::HashMap;

/// A table as imported, with a view of it.
pub struct Subject<'a> {
    pub table: &'a Table,
    pub id: TableId,
    pub snapshot: Snapshot,
    /// Expressions that some members fulfil and others not, without an error: what the test lives on.
    pub telling: Cell<u64>,
}

/// The value of an expression for every member; the outer error is of a constant part.
type Computed = Result<Vec<Result<Value, String>>, String>;

impl Subject<'_> {
    fn compute(&self, expr: &Expr) -> Computed {
        let compiled = Compiled::new(expr, NOW_MICROS).map_err(|error| error.to_string())?;
        let one = |row: usize| {
            // Nobody asks who is gone.
            if !self.table.is_live(row) {
                return Ok(Value::Null);
            }
            let inputs: Vec<Value> =
                compiled.columns().iter().map(|id| self.table.value(column_of(*id), row).clone()).collect();
            compiled.eval(row as u32, &inputs).map_err(|error| error.to_string())
        };
        Ok((0..self.table.rows).into_par_iter().map(one).collect())
    }

    fn members(&self, predicate: &Predicate) -> Result<RoaringBitmap, String> {
        exec::evaluate(&self.snapshot, self.id, predicate, &Scope::default(), &Cancel::default(), &Members)
            .map(|(members, _)| members)
            .map_err(|error| error.to_string())
    }

    /// The members of an expression and of its NOT, and of both beside another predicate.
    pub fn check(&self, expr: &Expr, beside: &Predicate, random: &mut Random) -> Result<(), String> {
        let values = self.compute(expr);
        for wanted in [true, false] {
            let holds = Predicate::Holds(expr.clone());
            let holds = if wanted { holds } else { holds.not() };
            let found = self.members(&holds);
            let Ok(values) = &values else {
                if found.is_ok() {
                    return Err(format!("{values:?}, and the engine answers"));
                }
                continue;
            };
            let is = |value: &Result<Value, String>| *value == Ok(Value::Boolean(wanted));
            let expected: RoaringBitmap =
                (0..values.len() as u32).filter(|row| is(&values[*row as usize])).collect();
            let refused = values.iter().find_map(|value| value.as_ref().err());
            match (&found, refused) {
                (Err(_), Some(_)) => {}
                (Err(error), None) => return Err(format!("IS {wanted}: the engine refuses: {error}")),
                (Ok(_), Some(error)) => {
                    return Err(format!("IS {wanted}: the engine answers, despite {error}"));
                }
                (Ok(found), None) if *found == expected => {
                    let telling = !expected.is_empty() && expected.len() < self.table.rows as u64;
                    self.telling.set(self.telling.get() + u64::from(telling));
                }
                (Ok(found), None) => {
                    return Err(self.difference(&format!("IS {wanted}"), expr, found, &expected));
                }
            }
            let truths = crate::naive::truths(self.table, beside, NOW_MICROS)?;
            let mut terms = vec![holds, beside.clone()];
            random.shuffle(&mut terms);
            let found = match self.members(&Predicate::And(terms)) {
                Ok(found) => found,
                Err(_) if refused.is_some() => continue,
                Err(error) => return Err(format!("beside another clause the engine refuses: {error}")),
            };
            let mut failed = RoaringBitmap::new();
            let mut both = RoaringBitmap::new();
            for row in 0..values.len() as u32 {
                if values[row as usize].is_err() {
                    failed.insert(row);
                } else if expected.contains(row)
                    && truths[row as usize] == muster_engine::predicate::Truth::True
                {
                    both.insert(row);
                }
            }
            let found = found - failed;
            if found != both {
                return Err(self.difference(&format!("IS {wanted}, beside {beside:?}"), expr, &found, &both));
            }
        }
        Ok(())
    }

    /// Many terms in one AND or OR, most of them about the same few expressions.
    pub fn check_terms(&self, maker: &Maker, random: &mut Random) -> Result<(), String> {
        let kinds = [Kind::Integer, Kind::Number, Kind::Text, Kind::Time];
        let compared: Vec<(Expr, Vec<Value>)> = (0..1 + random.below(3))
            .map(|_| {
                let expr = maker.expr(*random.pick(&kinds), 2, random);
                let known = self.compute(&expr).unwrap_or_default().into_iter().filter_map(Result::ok);
                let mut constants: Vec<Value> = known.take(60).collect();
                constants.push(Value::Null);
                (expr, constants)
            })
            .collect();
        let mut terms: Vec<(Expr, bool)> = Vec::new();
        for _ in 0..2 + random.below(40) {
            let (expr, constants) = random.pick(&compared);
            let mut constant = || Expr::value(random.pick(constants).clone());
            let (a, b, c) = (constant(), constant(), constant());
            let compare = Function::Compare(*random.pick(&crate::expressions::OPS));
            let expr = match random.below(12) {
                0 => maker.expr(Kind::Boolean, 1, random),
                1 => Expr::call(compare, [a, expr.clone()]),
                2 => Expr::call(Function::In, [expr.clone(), a, b, c]),
                3 => Expr::call(Function::Not, [Expr::call(compare, [expr.clone(), a])]),
                4..8 => Expr::call(Function::Compare(CompareOp::Eq), [expr.clone(), a]),
                _ => Expr::call(compare, [expr.clone(), a]),
            };
            terms.push((expr, random.chance(0.7)));
        }
        let (all, wanted) = (random.chance(0.5), random.chance(0.7));
        let one = |(expr, wanted): &(Expr, bool)| {
            let holds = Predicate::Holds(expr.clone());
            if *wanted { holds } else { holds.not() }
        };
        let predicates: Vec<Predicate> = terms.iter().map(one).collect();
        let whole = if all { Predicate::And(predicates) } else { Predicate::Or(predicates) };
        let whole = if wanted { whole } else { whole.not() };
        let what = format!("{whole:?}");
        let computed: Result<Vec<_>, String> = terms.iter().map(|(expr, _)| self.compute(expr)).collect();
        let (computed, found) = match (computed, self.members(&whole)) {
            (Err(_), Err(_)) => return Ok(()),
            (Err(error), Ok(_)) => return Err(format!("{what}: the engine answers, despite {error}")),
            (Ok(computed), found) => (computed, found),
        };
        let (mut expected, mut failed) = (RoaringBitmap::new(), RoaringBitmap::new());
        for row in 0..self.table.rows {
            // FALSE, NULL and TRUE in this order: AND is the least, OR the greatest.
            let truths: Result<Vec<u8>, ()> = computed
                .iter()
                .zip(&terms)
                .map(|(values, (_, wanted))| match &values[row] {
                    Err(_) => Err(()),
                    Ok(Value::Boolean(truth)) => Ok(if truth == wanted { 2 } else { 0 }),
                    Ok(_) => Ok(1),
                })
                .collect();
            let truth = truths.map(|truths| {
                let truths = truths.into_iter();
                if all { truths.min() } else { truths.max() }
            });
            match truth {
                Err(()) => drop(failed.insert(row as u32)),
                Ok(truth) if truth == Some(if wanted { 2 } else { 0 }) => drop(expected.insert(row as u32)),
                Ok(_) => {}
            }
        }
        match found {
            Err(_) if !failed.is_empty() => Ok(()),
            Err(error) => Err(format!("{what}: the engine refuses: {error}")),
            Ok(found) if &found - &failed == expected => {
                let telling = !expected.is_empty() && expected.len() < self.table.rows as u64;
                self.telling.set(self.telling.get() + u64::from(telling));
                Ok(())
            }
            Ok(found) => Err(self.difference(&what, &terms[0].0, &(found - failed), &expected)),
        }
    }

    fn difference(&self, what: &str, expr: &Expr, found: &RoaringBitmap, expected: &RoaringBitmap) -> String {
        let row = (found ^ expected).min().unwrap_or(0);
        let mut inputs = Vec::new();
        expr.for_each_column(&mut |id| {
            inputs.push(format!("{id:?} = {:?}", self.table.value(column_of(id), row as usize)));
        });
        format!(
            "{what}: {} members instead of {}; member {row} {} expected, of {}",
            found.len(),
            expected.len(),
            if expected.contains(row) { "is" } else { "is not" },
            inputs.join(", ")
        )
    }

    /// Groups of computed keys, with aggregates of computed values.
    pub fn check_fold(&self, maker: &Maker, random: &mut Random) -> Result<(), String> {
        let kinds = [Kind::Boolean, Kind::Integer, Kind::Number, Kind::Text, Kind::Time];
        let keys: Vec<Expr> =
            (0..random.below(3)).map(|_| maker.expr(*random.pick(&kinds), 2, random)).collect();
        let functions =
            [FoldFunction::Count, FoldFunction::Sum, FoldFunction::Avg, FoldFunction::Min, FoldFunction::Max];
        let aggregates: Vec<FoldAggregate> = (0..random.below(4))
            .map(|_| {
                let function = *random.pick(&functions);
                let adds = matches!(function, FoldFunction::Sum | FoldFunction::Avg);
                let kind = if adds { Kind::Number } else { *random.pick(&kinds) };
                let argument = (function != FoldFunction::Count || random.chance(0.7))
                    .then(|| maker.expr(kind, 2, random));
                let distinct = argument.is_some() && random.chance(0.3);
                FoldAggregate { function, argument, distinct }
            })
            .collect();
        let what = format!("keys {keys:?}, aggregates {aggregates:?}");
        let found = Fold::new(&keys, &aggregates, NOW_MICROS)
            .and_then(|fold| {
                let scope = Scope::default();
                let everyone = Predicate::everyone();
                exec::evaluate(&self.snapshot, self.id, &everyone, &scope, &Cancel::default(), &fold)
            })
            .map(|(groups, _)| groups)
            .map_err(|error| error.to_string());
        let arguments = aggregates.iter().filter_map(|aggregate| aggregate.argument.as_ref());
        let computed: Result<Vec<_>, String> =
            keys.iter().chain(arguments).map(|expr| self.compute(expr)).collect();
        let refused = match &computed {
            Err(_) => true,
            Ok(columns) => columns.iter().flatten().any(Result::is_err),
        };
        let (computed, found) = match (computed, found) {
            (_, Err(_)) if refused => return Ok(()),
            (_, Ok(_)) if refused => return Err(format!("{what}: the engine answers, despite an error")),
            (Ok(computed), found) => (computed, found),
            (Err(error), _) => return Err(error),
        };
        let value = |column: usize, row: usize| computed[column][row].clone().unwrap_or(Value::Null);
        let mut groups: HashMap<Vec<String>, Vec<usize>> = HashMap::new();
        if keys.is_empty() {
            groups.insert(Vec::new(), Vec::new());
        }
        for row in (0..self.table.rows).filter(|row| self.table.is_live(*row)) {
            let key = (0..keys.len()).map(|column| one_text(&value(column, row))).collect();
            groups.entry(key).or_default().push(row);
        }
        let mut expected: HashMap<Vec<String>, Vec<Answer>> = HashMap::new();
        for (key, rows) in groups {
            let mut column = keys.len();
            let answers = aggregates.iter().map(|aggregate| {
                let values = aggregate.argument.as_ref().map(|_| {
                    column += 1;
                    rows.iter()
                        .map(|row| value(column - 1, *row))
                        .filter(|value| *value != Value::Null)
                        .collect()
                });
                answer(aggregate, rows.len(), values)
            });
            let answers = answers.collect();
            expected.insert(key, answers);
        }
        let found = match found {
            Ok(found) => found,
            Err(_) if expected.values().flatten().any(|answer| matches!(answer, Answer::Overflow)) => {
                return Ok(());
            }
            Err(error) => return Err(format!("{what}: the engine refuses: {error}")),
        };
        if found.len() != expected.len() {
            return Err(format!("{what}: {} groups instead of {}", found.len(), expected.len()));
        }
        for group in found {
            let key: Vec<String> = group.key.iter().map(one_text).collect();
            let Some(answers) = expected.get(&key) else {
                return Err(format!("{what}: nobody is in {key:?}"));
            };
            for (value, answer) in group.values.iter().zip(answers) {
                if !answer.is(value) {
                    return Err(format!("{what}: in {key:?} {value:?} instead of {answer:?}"));
                }
            }
        }
        Ok(())
    }
}

/// Equal where two values are one group: exact numbers whatever their scale, both zeros, NaNs.
fn one_text(value: &Value) -> String {
    match value {
        Value::Integer(integer) => format!("exact {integer}"),
        Value::Decimal { .. } => {
            let digits = value.to_string();
            let short = if digits.contains('.') {
                digits.trim_end_matches('0').trim_end_matches('.')
            } else {
                &digits
            };
            format!("exact {}", if short == "-0" { "0" } else { short })
        }
        Value::Double(double) if double.is_nan() => "NaN".into(),
        Value::Double(double) => format!("double {:?}", double + 0.0),
        other => format!("{other:?}"),
    }
}

#[derive(Debug)]
enum Answer {
    /// This value, or one that compares as equal.
    Value(Value),
    Near(f64, f64),
    /// Infinities and NaN in a sum whose order is not given.
    Anything,
    /// Beyond 38 digits.
    Overflow,
}

impl Answer {
    fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Answer::Anything | Answer::Overflow, _) => true,
            (Answer::Near(near, error), Value::Double(double)) => (double - near).abs() <= *error,
            (Answer::Near(..), _) => false,
            (Answer::Value(Value::Null), value) => *value == Value::Null,
            (Answer::Value(expected), value) => {
                compare(expected, value).is_ok_and(|o| o == Some(Ordering::Equal))
            }
        }
    }
}

fn answer(aggregate: &FoldAggregate, rows: usize, values: Option<Vec<Value>>) -> Answer {
    let Some(mut values) = values else { return Answer::Value(Value::Integer(rows as i64)) };
    if aggregate.distinct {
        let mut known = std::collections::HashSet::new();
        values.retain(|value| known.insert(one_text(value)));
    }
    let best = |wanted: Ordering| {
        let better = |a: Value, b: Value| if compare(&b, &a).ok().flatten() == Some(wanted) { b } else { a };
        Answer::Value(values.iter().cloned().reduce(better).unwrap_or(Value::Null))
    };
    match aggregate.function {
        FoldFunction::Count => Answer::Value(Value::Integer(values.len() as i64)),
        FoldFunction::Min => best(Ordering::Less),
        FoldFunction::Max => best(Ordering::Greater),
        FoldFunction::Sum | FoldFunction::Avg if values.is_empty() => Answer::Value(Value::Null),
        function => {
            let average = function == FoldFunction::Avg;
            let double = |value: &Value| value.to_string().parse::<f64>().unwrap_or(f64::NAN);
            let all_exact = values.iter().all(|value| !matches!(value, Value::Double(_)));
            if all_exact && !average {
                return exact_sum(&values).map_or(Answer::Overflow, Answer::Value);
            }
            if exact_sum(&values).is_none() {
                return Answer::Overflow;
            }
            let divisor = if average { values.len() as f64 } else { 1.0 };
            let magnitude: f64 = values.iter().map(|value| double(value).abs()).sum();
            if !magnitude.is_finite() {
                return Answer::Anything;
            }
            let sum: f64 = values.iter().map(double).sum();
            Answer::Near(sum / divisor, magnitude / divisor * 1e-9)
        }
    }
}

/// The exact numbers among some, added; `None` beyond 128 bits at the greatest scale.
fn exact_sum(values: &[Value]) -> Option<Value> {
    let parts: Vec<(i128, u8)> = values
        .iter()
        .filter_map(|value| match value {
            Value::Integer(integer) => Some((i128::from(*integer), 0)),
            Value::Decimal { unscaled, scale } => Some((*unscaled, *scale)),
            _ => None,
        })
        .collect();
    let scale = parts.iter().map(|(_, scale)| *scale).max().unwrap_or(0);
    // In another order some prefix may lie beyond, so magnitudes are added.
    let scaled =
        |(unscaled, from): &(i128, u8)| unscaled.checked_mul(10_i128.checked_pow(u32::from(scale - from))?);
    parts.iter().try_fold(0_i128, |sum, part| sum.checked_add(scaled(part)?.checked_abs()?))?;
    let sum = parts.iter().try_fold(0_i128, |sum, part| sum.checked_add(scaled(part)?))?;
    Some(Value::Decimal { unscaled: sum, scale })
}
