//! Grouping by computed values, with aggregates of computed values, of distinct ones too.
//!
//! [`super::Groups`] is the fast way of plain columns, through their codes; this is the general one, through values. A
//! group is found by the bytes of its key. A key's values are of one type, and equal ones have equal bytes.

use super::accumulate::DoubleSum;
use super::groups::Group;
use super::{Found, Sink};
use crate::control::{Held, allocation, row_bytes, value_bytes};
use crate::eval::compare;
use crate::exec::compute::{self, Inputs};
use crate::expr::{Compiled, Expr};
use crate::table::{ColumnReader, TableState};
use crate::value::Value;
use crate::{Error, Result, code};
use hashbrown::{HashMap, HashSet};
use std::cmp::Ordering;

/// What a distinct value takes in a list and in a set that may be half empty, beside its bytes.
const DISTINCT_BYTES: usize = 2 * size_of::<Value>() + 2 * (size_of::<Box<[u8]>>() + 1);

/// Rows whose values are held at once.
const BATCH_ROWS: usize = 4_096;

/// What an aggregate makes of values. NULLs are passed over, as SQL has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldFunction {
    /// How many: BIGINT.
    Count,
    /// The sum: exact Decimal, or Double of doubles.
    Sum,
    /// The mean: Double.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
}

/// One aggregate.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldAggregate {
    /// What is made.
    pub function: FoldFunction,
    /// Of what; `None` is `count(*)`.
    pub argument: Option<Expr>,
    /// True where equal values count once.
    pub distinct: bool,
}

/// GROUP BY of expressions: a `Vec<Group>` in no particular order. Without keys exactly one group, even of no rows.
///
/// Cost: some hundred nanoseconds a member, and memory for the groups and the distinct values of each.
pub struct Fold {
    keys: Vec<Compiled>,
    aggregates: Vec<Prepared>,
}

struct Prepared {
    function: FoldFunction,
    argument: Option<Compiled>,
    distinct: bool,
}

impl Fold {
    /// Prepares a grouping for a statement whose clock shows `now_micros`.
    pub fn new(keys: &[Expr], aggregates: &[FoldAggregate], now_micros: i64) -> Result<Fold> {
        let compile = |expr: &Expr| Compiled::new(expr, now_micros);
        let keys = keys.iter().map(compile).collect::<Result<_>>()?;
        let prepared = aggregates.iter().map(|aggregate| {
            Ok(Prepared {
                function: aggregate.function,
                argument: aggregate.argument.as_ref().map(compile).transpose()?,
                distinct: aggregate.distinct,
            })
        });
        Ok(Fold { keys, aggregates: prepared.collect::<Result<_>>()? })
    }

    fn merged(&self, into: Result<FoldTable>, from: Result<FoldTable>) -> Result<FoldTable> {
        let (mut table, from) = (into?, from?);
        let mut bytes = Vec::new();
        for (key, states) in from.keys.into_iter().zip(from.states) {
            bytes.clear();
            key.iter().for_each(|value| key_bytes(value, &mut bytes));
            let group = table.group(&bytes, || key, self.aggregates.len());
            let pairs = table.states[group].iter_mut().zip(states).zip(&self.aggregates);
            for ((state, more), aggregate) in pairs {
                table.bytes += state.merge(aggregate, more)?;
            }
        }
        Ok(table)
    }

    /// All expressions in the order of their readers.
    fn expressions(&self) -> impl Iterator<Item = &Compiled> {
        self.keys.iter().chain(self.aggregates.iter().filter_map(|one| one.argument.as_ref()))
    }
}

/// The columns of a [`Fold`], open.
pub struct FoldReader<'a> {
    table: &'a TableState,
    readers: Vec<Vec<ColumnReader<'a>>>,
}

/// The groups of some chunks.
#[derive(Default)]
pub struct FoldTable {
    groups: HashMap<Box<[u8]>, usize, foldhash::fast::FixedState>,
    keys: Vec<Vec<Value>>,
    states: Vec<Vec<State>>,
    /// What the keys and the distinct values of the groups hold.
    bytes: usize,
}

impl FoldTable {
    fn held(&self) -> usize {
        let lists =
            self.keys.capacity() * size_of::<Vec<Value>>() + self.states.capacity() * size_of::<Vec<State>>();
        self.bytes + self.groups.allocation_size() + lists
    }
}

/// One aggregate of one group.
#[derive(Clone, Default)]
struct State {
    count: u64,
    sum: Sum,
    best: Option<Value>,
    seen: HashSet<Box<[u8]>, foldhash::fast::FixedState>,
    distinct: Vec<Value>,
}

#[derive(Clone, Copy, Default)]
enum Sum {
    #[default]
    None,
    Exact(i128, u8),
    Double(DoubleSum),
}

impl Sum {
    fn add(&mut self, other: Sum) -> Result<()> {
        let overflow = || Error::Invalid("a sum is out of range: it does not fit 38 digits".into());
        *self = match (*self, other) {
            (Sum::None, sum) | (sum, Sum::None) => sum,
            (Sum::Exact(a, a_scale), Sum::Exact(b, b_scale)) => {
                let scale = a_scale.max(b_scale);
                let scaled = |unscaled: i128, from: u8| {
                    10_i128.checked_pow(u32::from(scale - from)).and_then(|ten| unscaled.checked_mul(ten))
                };
                let sum = scaled(a, a_scale).zip(scaled(b, b_scale)).and_then(|(a, b)| a.checked_add(b));
                Sum::Exact(sum.ok_or_else(overflow)?, scale)
            }
            (Sum::Double(mut a), Sum::Double(b)) => {
                a.add(b);
                Sum::Double(a)
            }
            (Sum::Double(mut double), Sum::Exact(unscaled, scale))
            | (Sum::Exact(unscaled, scale), Sum::Double(mut double)) => {
                double.add(DoubleSum::of(unscaled as f64 / 10f64.powi(i32::from(scale))));
                Sum::Double(double)
            }
        };
        Ok(())
    }

    fn of(value: &Value) -> Result<Sum> {
        Ok(match value {
            Value::Integer(integer) => Sum::Exact(i128::from(*integer), 0),
            Value::Decimal { unscaled, scale } => Sum::Exact(*unscaled, *scale),
            Value::Double(double) => Sum::Double(DoubleSum::of(*double)),
            other => return Err(Error::Invalid(format!("a sum takes numbers, not {other}"))),
        })
    }
}

impl State {
    /// Takes a value; returns the bytes that are held for it from now on.
    fn take(&mut self, aggregate: &Prepared, value: Value) -> Result<usize> {
        if aggregate.distinct {
            let mut bytes = Vec::new();
            key_bytes(&value, &mut bytes);
            let mut held = allocation(bytes.len()) + DISTINCT_BYTES + value_bytes(&value);
            if self.seen.insert(bytes.into()) {
                self.distinct.push(value);
            } else {
                held = 0;
            }
            return Ok(held);
        }
        self.fold(aggregate.function, value).map(|()| 0)
    }

    fn fold(&mut self, function: FoldFunction, value: Value) -> Result<()> {
        self.count += 1;
        match function {
            FoldFunction::Count => {}
            FoldFunction::Sum | FoldFunction::Avg => self.sum.add(Sum::of(&value)?)?,
            FoldFunction::Min => self.keep(value, Ordering::Less)?,
            FoldFunction::Max => self.keep(value, Ordering::Greater)?,
        }
        Ok(())
    }

    fn keep(&mut self, value: Value, wanted: Ordering) -> Result<()> {
        let better = match &self.best {
            None => true,
            Some(best) => compare(&value, best)? == Some(wanted),
        };
        if better {
            self.best = Some(value);
        }
        Ok(())
    }

    /// Takes what another was made of; returns the bytes that are held for it from now on.
    fn merge(&mut self, aggregate: &Prepared, other: State) -> Result<usize> {
        drop(other.seen);
        let mut held = 0;
        for value in other.distinct {
            held += self.take(aggregate, value)?;
        }
        self.count += other.count;
        self.sum.add(other.sum)?;
        if let Some(best) = other.best {
            let wanted =
                if aggregate.function == FoldFunction::Min { Ordering::Less } else { Ordering::Greater };
            self.keep(best, wanted)?;
        }
        Ok(held)
    }

    fn value(mut self, aggregate: &Prepared) -> Result<Value> {
        for value in std::mem::take(&mut self.distinct) {
            self.fold(aggregate.function, value)?;
        }
        Ok(match aggregate.function {
            FoldFunction::Count => Value::Integer(self.count as i64),
            FoldFunction::Min | FoldFunction::Max => self.best.unwrap_or(Value::Null),
            FoldFunction::Sum => match self.sum {
                Sum::None => Value::Null,
                Sum::Exact(unscaled, scale) => Value::Decimal { unscaled, scale },
                Sum::Double(sum) => Value::Double(sum.value()),
            },
            FoldFunction::Avg => match self.sum {
                Sum::None => Value::Null,
                Sum::Exact(unscaled, scale) => {
                    Value::Double(unscaled as f64 / self.count as f64 / 10f64.powi(i32::from(scale)))
                }
                Sum::Double(sum) => Value::Double(sum.value() / self.count as f64),
            },
        })
    }
}

/// Appends the bytes by which a value is found: equal values have equal bytes, and none is another's beginning.
pub fn key_bytes(value: &Value, bytes: &mut Vec<u8>) {
    let mut number = |tag: u8, number: i64| {
        bytes.push(tag);
        bytes.extend_from_slice(&number.to_le_bytes());
    };
    match value {
        Value::Null => bytes.push(0),
        Value::Boolean(boolean) => bytes.extend_from_slice(&[1, u8::from(*boolean)]),
        Value::Integer(integer) => exact_bytes(i128::from(*integer), 0, bytes),
        Value::Decimal { unscaled, scale } => exact_bytes(*unscaled, *scale, bytes),
        Value::Double(double) => number(3, code::double_to_code(*double)),
        Value::Date(days) => number(4, i64::from(*days)),
        Value::Timestamp(micros) => number(5, *micros),
        Value::TimestampTz(micros) => number(6, *micros),
        Value::Text(text) => text_bytes(7, text, bytes),
        Value::Tags(tags) => {
            bytes.push(8);
            bytes.extend_from_slice(&(tags.len() as u64).to_le_bytes());
            tags.iter().for_each(|tag| text_bytes(7, tag, bytes));
        }
    }
}

fn exact_bytes(mut unscaled: i128, mut scale: u8, bytes: &mut Vec<u8>) {
    while scale > 0 && unscaled % 10 == 0 {
        unscaled /= 10;
        scale -= 1;
    }
    bytes.extend_from_slice(&[2, scale]);
    bytes.extend_from_slice(&unscaled.to_le_bytes());
}

fn text_bytes(tag: u8, text: &str, bytes: &mut Vec<u8>) {
    bytes.push(tag);
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

impl FoldTable {
    fn group(&mut self, bytes: &[u8], key: impl FnOnce() -> Vec<Value>, aggregates: usize) -> usize {
        if let Some(group) = self.groups.get(bytes) {
            return *group;
        }
        let group = self.keys.len();
        self.groups.insert(bytes.into(), group);
        let key = key();
        let states = allocation(aggregates * size_of::<State>());
        self.bytes += allocation(bytes.len()) + row_bytes(&key) + states;
        self.keys.push(key);
        self.states.push(vec![State::default(); aggregates]);
        group
    }
}

impl Sink for Fold {
    type Reader<'a> = FoldReader<'a>;
    type Partial = Result<FoldTable>;
    type Output = Vec<Group>;
    const HOLDS: &'static str = "the groups and their distinct values";

    fn open<'a>(&self, table: &'a TableState) -> Result<FoldReader<'a>> {
        let of_one =
            |compiled: &Compiled| compiled.columns().iter().map(|column| table.reader(*column)).collect();
        Ok(FoldReader { table, readers: self.expressions().map(of_one).collect::<Result<_>>()? })
    }

    fn begin(&self) -> Result<FoldTable> {
        Ok(FoldTable::default())
    }

    fn take(
        &self,
        reader: &FoldReader<'_>,
        partial: &mut Result<FoldTable>,
        chunk: u32,
        found: Found<'_>,
        held: &mut Held,
    ) -> Result<u64> {
        let Ok(table) = partial else { return Ok(0) };
        let mut buffer = Vec::new();
        let rows = found.rows(&mut buffer);
        let mut bytes = Vec::new();
        let mut columns: Vec<Vec<Value>> = reader.readers.iter().map(|_| Vec::new()).collect();
        for batch in rows.chunks(BATCH_ROWS) {
            for ((compiled, readers), values) in self.expressions().zip(&reader.readers).zip(&mut columns) {
                values.clear();
                compute::values(
                    compiled,
                    &Inputs::new(reader.table, compiled, readers, chunk),
                    batch,
                    values,
                )?;
            }
            // A chunk of new groups is tens of megabytes.
            held.set(table.held())?;
            let (keys, inputs) = columns.split_at(self.keys.len());
            for row in 0..batch.len() {
                bytes.clear();
                keys.iter().for_each(|key| key_bytes(&key[row], &mut bytes));
                let key = || keys.iter().map(|key| key[row].clone()).collect();
                let group = table.group(&bytes, key, self.aggregates.len());
                let mut inputs = inputs.iter();
                for (state, aggregate) in table.states[group].iter_mut().zip(&self.aggregates) {
                    let argument = aggregate.argument.as_ref().and_then(|_| inputs.next());
                    match argument.map(|argument| &argument[row]) {
                        None => state.count += 1,
                        Some(Value::Null) => {}
                        Some(value) => table.bytes += state.take(aggregate, value.clone())?,
                    }
                }
            }
        }
        held.set(table.held())?;
        Ok(8 * rows.len() as u64 * reader.readers.iter().map(|readers| readers.len() as u64).sum::<u64>())
    }

    fn merge(&self, into: &mut Result<FoldTable>, from: Result<FoldTable>) {
        let earlier = std::mem::replace(into, Ok(FoldTable::default()));
        *into = self.merged(earlier, from);
    }

    fn finish(&self, _: &FoldReader<'_>, partial: Result<FoldTable>, held: &mut Held) -> Result<Vec<Group>> {
        let mut table = partial?;
        // The groups take over the keys; what was made of them comes beside.
        held.set(table.held())?;
        held.add(
            table.keys.len() * (size_of::<Group>() + allocation(self.aggregates.len() * size_of::<Value>())),
        )?;
        if self.keys.is_empty() && table.keys.is_empty() {
            table.group(&[], Vec::new, self.aggregates.len());
        }
        let groups = table.keys.into_iter().zip(table.states).map(|(key, states)| {
            let values = states.into_iter().zip(&self.aggregates).map(|(state, one)| state.value(one));
            Ok(Group { key, values: values.collect::<Result<_>>()? })
        });
        groups.collect()
    }
}

/// One aggregate of one group, for who finds its rows another way.
pub(crate) struct Folding {
    aggregate: Prepared,
    state: State,
}

impl Folding {
    pub(crate) fn new(function: FoldFunction, distinct: bool) -> Folding {
        let aggregate = Prepared { function, argument: None, distinct };
        Folding { aggregate, state: State::default() }
    }

    /// Takes a row of `count(*)`.
    pub(crate) fn take_row(&mut self) {
        self.state.count += 1;
    }

    /// Takes a value; NULLs are passed over. Returns the bytes that are held for it from now on.
    pub(crate) fn take(&mut self, value: Value) -> Result<usize> {
        if value == Value::Null { Ok(0) } else { self.state.take(&self.aggregate, value) }
    }

    /// Takes what another was made of; returns the bytes that are held for it from now on.
    pub(crate) fn merge(&mut self, other: Folding) -> Result<usize> {
        self.state.merge(&self.aggregate, other.state)
    }

    /// What it comes to so far.
    pub(crate) fn so_far(&self) -> Result<Value> {
        self.state.clone().value(&self.aggregate)
    }

    pub(crate) fn value(self) -> Result<Value> {
        self.state.value(&self.aggregate)
    }
}
