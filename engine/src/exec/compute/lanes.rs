//! Columns of computed values, and the loops that make one of others.

use super::coded::Coded;
use super::numbers::{Numbers, Operand, both, each};
use super::{Inputs, text_of};
use crate::calendar::{MICROS_PER_DAY, add_interval, days_of};
use crate::delta::CellRef;
use crate::dictionary::Dictionary;
use crate::eval::holds;
use crate::exec::value_at;
use crate::expr::{Function, Node, at_zone, bucket, text, time};
use crate::predicate::CompareOp;
use crate::schema::DataType;
use crate::table::ColumnReader;
use crate::value::Value;
use crate::{Result, code};
use std::borrow::Cow;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::sync::Arc;

/// What the numbers of a lane are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Decimal(u8),
    Date,
    Timestamp,
    TimestampTz,
}

impl Kind {
    /// Of a value, where it is an exact number.
    pub(super) fn of_value(value: &Value) -> Option<Kind> {
        Some(match value {
            Value::Integer(_) => Kind::Integer,
            Value::Decimal { scale, .. } => Kind::Decimal(*scale),
            Value::Date(_) => Kind::Date,
            Value::Timestamp(_) => Kind::Timestamp,
            Value::TimestampTz(_) => Kind::TimestampTz,
            _ => return None,
        })
    }

    /// Of a column's codes, where they are exact numbers.
    pub(in crate::exec) fn of(data_type: DataType) -> Option<Kind> {
        match data_type {
            DataType::SmallInt | DataType::Integer | DataType::BigInt => Some(Kind::Integer),
            DataType::Decimal { scale, .. } => Some(Kind::Decimal(scale)),
            DataType::Date => Some(Kind::Date),
            DataType::Timestamp => Some(Kind::Timestamp),
            DataType::TimestampTz => Some(Kind::TimestampTz),
            DataType::Double | DataType::Boolean | DataType::Text | DataType::TextArray => None,
        }
    }
}

/// The values of a batch.
#[derive(Clone)]
pub(crate) enum Lane<'b> {
    /// The same for all.
    Same(Value),
    /// Integers, unscaled decimals, days, microseconds.
    Exact(Kind, Numbers),
    /// Integers, unscaled decimals, days, microseconds by their places among a few: see [`Coded`].
    Coded(Kind, Coded),
    /// Doubles.
    Double(Numbers<f64>),
    /// Texts, borrowed where they are parts of what is stored.
    Text(Vec<Option<Cow<'b, str>>>),
    /// Truth values.
    Truth(Vec<Option<bool>>),
    /// Anything.
    Values(Vec<Value>),
}

impl Kind {
    fn value(self, number: i64) -> Value {
        match self {
            Kind::Integer => Value::Integer(number),
            Kind::Decimal(scale) => Value::Decimal { unscaled: i128::from(number), scale },
            Kind::Date => Value::Date(number as i32),
            Kind::Timestamp => Value::Timestamp(number),
            Kind::TimestampTz => Value::TimestampTz(number),
        }
    }
}

impl Lane<'_> {
    /// The value of the batch's row `i`.
    pub(in crate::exec) fn value(&self, i: usize) -> Value {
        match self {
            Lane::Same(value) => value.clone(),
            Lane::Exact(kind, numbers) => numbers.get(i).map_or(Value::Null, |number| kind.value(number)),
            Lane::Coded(kind, coded) => coded.get(i).map_or(Value::Null, |number| kind.value(number)),
            Lane::Double(doubles) => doubles.get(i).map_or(Value::Null, Value::Double),
            Lane::Text(texts) => {
                texts[i].as_ref().map_or(Value::Null, |text| Value::Text(text.clone().into_owned()))
            }
            Lane::Truth(truths) => truths[i].map_or(Value::Null, Value::Boolean),
            Lane::Values(values) => values[i].clone(),
        }
    }

    /// The truth of each row of a batch of so many; `None` is unknown.
    pub(in crate::exec) fn of_each(&self, count: usize) -> Cow<'_, [Option<bool>]> {
        let truth = |i| if let Value::Boolean(truth) = self.value(i) { Some(truth) } else { None };
        self.truths(count).unwrap_or_else(|| (0..count).map(truth).collect())
    }

    pub(in crate::exec) fn is_null(&self, i: usize) -> bool {
        match self {
            Lane::Same(value) => *value == Value::Null,
            Lane::Exact(_, numbers) => numbers.is_null(i),
            Lane::Coded(_, coded) => coded.get(i).is_none(),
            Lane::Double(doubles) => doubles.is_null(i),
            Lane::Text(texts) => texts[i].is_none(),
            Lane::Truth(truths) => truths[i].is_none(),
            Lane::Values(values) => values[i] == Value::Null,
        }
    }

    /// As exact numbers.
    fn exact(&self) -> Option<(Kind, Operand<'_, i64>)> {
        match self {
            Lane::Exact(kind, numbers) => Some((*kind, Operand::Each(Cow::Borrowed(numbers)))),
            Lane::Same(value) => {
                let kind = Kind::of_value(value)?;
                Some((kind, Operand::Same(code::encode(value)?)))
            }
            _ => None,
        }
    }

    fn doubles(&self) -> Option<Operand<'_, f64>> {
        match self {
            Lane::Double(doubles) => Some(Operand::Each(Cow::Borrowed(doubles))),
            Lane::Same(Value::Double(double)) => Some(Operand::Same(*double)),
            _ => None,
        }
    }

    fn truths(&self, count: usize) -> Option<Cow<'_, [Option<bool>]>> {
        match self {
            Lane::Truth(truths) => Some(truths.into()),
            Lane::Same(Value::Boolean(truth)) => Some(vec![Some(*truth); count].into()),
            Lane::Same(Value::Null) => Some(vec![None; count].into()),
            _ => None,
        }
    }
}

/// Some rows, and what is known of them.
pub(super) struct Batch<'i, 'r, 'a> {
    inputs: &'i Inputs<'r, 'a>,
    rows: Vec<u32>,
    /// The columns' values, read once however many expressions use them.
    read: RefCell<Vec<Option<Arc<Lane<'a>>>>>,
    /// What several terms compute.
    shared: RefCell<Vec<Option<Arc<Lane<'a>>>>>,
}

impl<'i, 'r, 'a> Batch<'i, 'r, 'a> {
    pub(super) fn new(inputs: &'i Inputs<'r, 'a>, rows: Vec<u32>) -> Batch<'i, 'r, 'a> {
        Batch { inputs, rows, read: RefCell::default(), shared: RefCell::default() }
    }

    pub(super) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Computes a node.
    pub(super) fn compute(&self, node: &Node) -> Result<Arc<Lane<'a>>> {
        let count = self.rows.len();
        Ok(Arc::new(match node {
            Node::Value(value) => Lane::Same(value.clone()),
            Node::Ordinal => {
                let ordinals = self.rows.iter().map(|row| Some(i64::from(self.inputs.ordinal(*row))));
                Lane::Exact(Kind::Integer, ordinals.collect())
            }
            Node::Input(number) => return self.column(*number),
            Node::Shared(number, node) => return once(&self.shared, *number, || self.compute(node)),
            Node::Match(text, matcher) => {
                let lane = self.compute(text)?;
                Lane::Truth(match &*lane {
                    Lane::Text(texts) => {
                        let matches = |text: &Cow<'_, str>| matcher.matches(text.as_bytes());
                        texts.iter().map(|text| text.as_ref().map(matches)).collect()
                    }
                    lane => {
                        let truth = |i| match lane.value(i) {
                            Value::Text(text) => Some(matcher.matches(text.as_bytes())),
                            _ => None,
                        };
                        (0..count).map(truth).collect()
                    }
                })
            }
            Node::Zone(value, zone) => {
                let lane = self.compute(value)?;
                let values = (0..count).map(|i| at_zone(lane.value(i), zone));
                Lane::Values(values.collect::<Result<_>>()?)
            }
            Node::Among(value, among) => {
                let lane = self.compute(value)?;
                let truths = (0..count).map(|i| among.holds(&lane.value(i)));
                Lane::Truth(truths.collect::<Result<_>>()?)
            }
            Node::Call(function, arguments) => {
                let mut lanes = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    lanes.push(self.compute(argument)?);
                }
                let lanes: Vec<&Lane<'a>> = lanes.iter().map(|lane| &**lane).collect();
                let is_null = |lane: &&Lane<'_>| matches!(lane, Lane::Same(Value::Null));
                if crate::expr::keeps_null(function) && lanes.iter().any(is_null) {
                    return Ok(Arc::new(Lane::Same(Value::Null)));
                }
                if let Some(lane) = looped(function, &lanes, count) {
                    return Ok(Arc::new(lane));
                }
                let mut values = Vec::with_capacity(count);
                let mut of_one = Vec::with_capacity(lanes.len());
                for i in 0..count {
                    of_one.clear();
                    of_one.extend(lanes.iter().map(|lane| lane.value(i)));
                    values.push(crate::expr::apply(function, &of_one)?);
                }
                Lane::Values(values)
            }
        }))
    }

    /// The values of a column, by its number.
    pub(super) fn column(&self, number: usize) -> Result<Arc<Lane<'a>>> {
        match self.inputs {
            Inputs::Lanes(lanes) => Ok(Lane::wide(&lanes[number])),
            _ => once(&self.read, number, || self.read(number).map(Arc::new)),
        }
    }

    fn read(&self, number: usize) -> Result<Lane<'a>> {
        let (columns, chunk) = match self.inputs {
            Inputs::Entries(view) => {
                return Ok(Lane::Text(self.rows.iter().map(|code| Some(text_of(view.get(*code)))).collect()));
            }
            Inputs::Codes(data_type, first) => {
                let codes = self.rows.iter().map(|row| Some(first + i64::from(*row)));
                return Ok(match Kind::of(*data_type) {
                    Some(kind) => Lane::Exact(kind, codes.collect()),
                    None => {
                        Lane::Values(codes.flatten().map(|code| code::decode(*data_type, code)).collect())
                    }
                });
            }
            Inputs::Members { columns, chunk } => (columns, *chunk),
            Inputs::Lanes(_) => return Ok(Lane::Same(Value::Null)),
        };
        let (reader, dictionary) = &columns[number];
        let base = self.read_base(reader, *dictionary, chunk)?;
        if reader.is_changed(chunk) { self.overlay(base, reader, *dictionary, chunk) } else { Ok(base) }
    }

    /// The values of a column with its changes over what the base holds.
    fn overlay(
        &self,
        base: Lane<'a>,
        reader: &ColumnReader<'a>,
        dictionary: Option<&'a Dictionary>,
        chunk: u32,
    ) -> Result<Lane<'a>> {
        let (count, data_type) = (self.rows.len(), reader.data_type());
        let rows: Vec<u16> = self.rows.iter().map(|row| *row as u16).collect();
        let mut lane = match (base, Kind::of(data_type)) {
            (Lane::Same(_), Some(kind)) => Lane::Exact(kind, Numbers::none(count)),
            (Lane::Same(_), None) if data_type == DataType::Text => Lane::Text(vec![None; count]),
            (Lane::Same(_), None) => Lane::Double(Numbers::none(count)),
            (base, _) => base,
        };
        let view = dictionary.map(Dictionary::view).transpose()?;
        let code = |cell| if let CellRef::Code(code) = cell { Some(code) } else { None };
        reader.overlay(chunk, &rows, |place, cell| match &mut lane {
            Lane::Truth(truths) => {
                truths[place] = if let CellRef::Truth(truth) = cell { Some(truth) } else { None };
            }
            Lane::Exact(_, codes) => codes.set(place, code(cell)),
            Lane::Double(doubles) => doubles.set(place, code(cell).map(code::code_to_double)),
            Lane::Text(texts) => {
                texts[place] = match (cell, view) {
                    (CellRef::Text(text), _) => Some(text_of(text)),
                    (CellRef::Code(code), Some(view)) => Some(text_of(view.get(code as u32))),
                    _ => None,
                };
            }
            // Tags were read with their changes.
            Lane::Same(_) | Lane::Coded(..) | Lane::Values(_) => {}
        })?;
        Ok(lane)
    }

    /// The values of a column as the base holds them.
    fn read_base(
        &self,
        reader: &ColumnReader<'a>,
        dictionary: Option<&'a Dictionary>,
        chunk: u32,
    ) -> Result<Lane<'a>> {
        let nulls = reader.nulls(chunk)?;
        let complete = nulls.cardinality() == 0;
        let known = |row: &u32| complete || !nulls.contains(*row as u16);
        match reader.data_type() {
            DataType::Boolean => {
                let set = reader.set(chunk, 0)?;
                let truth = |row: &u32| known(row).then(|| set.contains(*row as u16));
                return Ok(Lane::Truth(self.rows.iter().map(truth).collect()));
            }
            DataType::Text => {
                if let Some(strings) = reader.strings(chunk)? {
                    let text = |row: &u32| known(row).then(|| text_of(strings.get(*row as usize)));
                    return Ok(Lane::Text(self.rows.iter().map(text).collect()));
                }
            }
            DataType::TextArray => {
                let values = self.rows.iter().map(|row| value_at(reader, dictionary, chunk << 16 | row));
                return Ok(Lane::Values(values.collect::<Result<_>>()?));
            }
            _ => {}
        }
        let Some(values) = reader.values(chunk)? else { return Ok(Lane::Same(Value::Null)) };
        let codes = self.rows.iter().map(|row| {
            let known = (*row as usize) < values.rows && known(row);
            known.then(|| values.get(*row as usize))
        });
        Ok(match (Kind::of(reader.data_type()), dictionary) {
            (Some(kind), _) => Lane::Exact(kind, codes.collect()),
            (None, Some(dictionary)) => {
                let view = dictionary.view()?;
                Lane::Text(codes.map(|code| code.map(|code| text_of(view.get(code as u32)))).collect())
            }
            (None, None) if reader.data_type() == DataType::Text => Lane::Same(Value::Null),
            (None, None) => Lane::Double(codes.map(|code| code.map(code::code_to_double)).collect()),
        })
    }
}

/// What is known under a number, or is made now.
fn once<'b>(
    known: &RefCell<Vec<Option<Arc<Lane<'b>>>>>,
    number: usize,
    make: impl FnOnce() -> Result<Arc<Lane<'b>>>,
) -> Result<Arc<Lane<'b>>> {
    if let Some(Some(lane)) = known.borrow().get(number) {
        return Ok(Arc::clone(lane));
    }
    let lane = make()?;
    let mut known = known.borrow_mut();
    if known.len() <= number {
        known.resize(number + 1, None);
    }
    known[number] = Some(Arc::clone(&lane));
    Ok(lane)
}

/// A function as a loop over numbers; `None` where there is none, or a number does not fit.
fn looped<'b>(function: &Function, lanes: &[&Lane<'b>], count: usize) -> Option<Lane<'b>> {
    match (function, lanes) {
        (Function::Compare(op), [a, b]) => {
            if let (Some(a), Some(b)) = (a.doubles(), b.doubles()) {
                let order = |a: f64, b: f64| code::double_to_code(a).cmp(&code::double_to_code(b));
                return Some(Lane::Truth(both(&a, &b, |a, b| Some(holds(*op, order(a, b))))?));
            }
            if let Some(orders) = of_texts(a, b) {
                return Some(Lane::Truth(orders.map(|order| order.map(|order| holds(*op, order))).collect()));
            }
            let (a, b, _) = aligned(a, b)?;
            Some(Lane::Truth(compared(*op, &a, &b)?))
        }
        (Function::Same, [a, b]) => {
            let (numbers_a, numbers_b, _) = aligned(a, b)?;
            let equal: Vec<Option<bool>> = both(&numbers_a, &numbers_b, |a, b| Some(a == b))?;
            let equal = equal.into_iter().enumerate();
            let both_null = |i| a.is_null(i) && b.is_null(i);
            Some(Lane::Truth(equal.map(|(i, equal)| Some(equal.unwrap_or_else(|| both_null(i)))).collect()))
        }
        (Function::IsNull, [lane]) => Some(Lane::Truth((0..count).map(|i| Some(lane.is_null(i))).collect())),
        (Function::Length, [Lane::Text(texts)]) => {
            let lengths = texts.iter().map(|text| text.as_deref().map(text::length));
            Some(Lane::Exact(Kind::Integer, lengths.collect()))
        }
        (
            Function::Lower
            | Function::Upper
            | Function::Trim
            | Function::Substr
            | Function::Replace
            | Function::SplitPart
            | Function::Md5,
            [Lane::Text(texts), rest @ ..],
        ) => {
            let constant = |lane: &&Lane<'_>| {
                if let Lane::Same(value) = lane { Some(value.clone()) } else { None }
            };
            let rest: Vec<Value> = rest.iter().map(constant).collect::<Option<_>>()?;
            let of = |text: &Cow<'b, str>| -> Option<Cow<'b, str>> {
                Some(match text {
                    Cow::Borrowed(text) => text::changed(function, text, &rest)?.ok()?,
                    Cow::Owned(text) => text::changed(function, text, &rest)?.ok()?.into_owned().into(),
                })
            };
            let changed = texts.iter().map(|text| match text {
                Some(text) => of(text).map(Some),
                None => Some(None),
            });
            Some(Lane::Text(changed.collect::<Option<_>>()?))
        }
        (Function::Not, [a]) => Some(Lane::Truth(a.truths(count)?.iter().map(|a| a.map(|a| !a)).collect())),
        (Function::And | Function::Or, terms) => {
            let decisive = Some(*function == Function::Or);
            let mut result = vec![decisive.map(|truth| !truth); count];
            for term in terms {
                for (result, truth) in result.iter_mut().zip(term.truths(count)?.iter()) {
                    if *result != decisive && (*truth == decisive || truth.is_none()) {
                        *result = *truth;
                    }
                }
            }
            Some(Lane::Truth(result))
        }
        (Function::Add | Function::Subtract, [a, b]) => {
            let add = *function == Function::Add;
            if let (Some(a), Some(b)) = (a.doubles(), b.doubles()) {
                return Some(Lane::Double(both(&a, &b, |a, b| finite(if add { a + b } else { a - b }))?));
            }
            let kind = match (a.exact()?.0, b.exact()?.0) {
                (Kind::Date, Kind::Integer) => Kind::Date,
                (Kind::Integer, Kind::Date) if add => Kind::Date,
                (Kind::Date, Kind::Date) if !add => Kind::Integer,
                (Kind::Integer | Kind::Decimal(_), Kind::Integer | Kind::Decimal(_)) => aligned(a, b)?.2,
                _ => return None,
            };
            let (a, b) = match kind {
                Kind::Decimal(_) => aligned(a, b).map(|(a, b, _)| (a, b))?,
                _ => (a.exact()?.1, b.exact()?.1),
            };
            let sums: Numbers = both(&a, &b, |a, b| if add { a.checked_add(b) } else { a.checked_sub(b) })?;
            // A date beyond its type is for the one who says so.
            let date = kind == Kind::Date && sums.iter().flatten().any(|days| i32::try_from(days).is_err());
            (!date).then_some(Lane::Exact(kind, sums))
        }
        (Function::Multiply, [a, b]) => {
            if let (Some(a), Some(b)) = (a.doubles(), b.doubles()) {
                return Some(Lane::Double(both(&a, &b, |a, b| finite(a * b))?));
            }
            let ((a_kind, a), (b_kind, b)) = (a.exact()?, b.exact()?);
            let kind = match (a_kind, b_kind) {
                (Kind::Integer, Kind::Integer) => Kind::Integer,
                (Kind::Decimal(scale), Kind::Integer) | (Kind::Integer, Kind::Decimal(scale))
                    if scale <= 38 =>
                {
                    Kind::Decimal(scale)
                }
                (Kind::Decimal(a), Kind::Decimal(b)) if a.saturating_add(b) <= 38 => Kind::Decimal(a + b),
                _ => return None,
            };
            Some(Lane::Exact(kind, both(&a, &b, i64::checked_mul)?))
        }
        (Function::Divide | Function::Modulo, [a, b]) => {
            let ((Kind::Integer, a), (Kind::Integer, b)) = (a.exact()?, b.exact()?) else {
                return None;
            };
            let divide = *function == Function::Divide;
            let numbers = both(&a, &b, |a, b| if divide { a.checked_div(b) } else { a.checked_rem(b) })?;
            Some(Lane::Exact(Kind::Integer, numbers))
        }
        (Function::Negate, [Lane::Exact(kind @ (Kind::Integer | Kind::Decimal(_)), numbers)]) => {
            Some(Lane::Exact(*kind, each(numbers, i64::checked_neg)?))
        }
        (Function::AddInterval(interval), [Lane::Exact(kind, numbers)]) => {
            let kind = time_kind(*kind)?;
            let moved = match (interval.months, add_interval(0, interval)) {
                // Without months all are moved as far.
                (0, Some(micros)) => each(numbers, |number| number.checked_mul(kind.0)?.checked_add(micros)),
                _ => each(numbers, |number| add_interval(number.checked_mul(kind.0)?, interval)),
            };
            Some(Lane::Exact(kind.1, moved?))
        }
        (Function::DateTrunc(unit), [Lane::Exact(kind, numbers)]) => {
            let (kind, truncated) = (time_kind(*kind)?, time::truncation(*unit));
            Some(Lane::Exact(kind.1, each(numbers, |number| truncated(number.checked_mul(kind.0)?))?))
        }
        (Function::Extract(field), [Lane::Exact(kind, numbers)]) => {
            let kind = time_kind(*kind)?;
            let fields = each(numbers, |number| time::whole_field(*field, number.checked_mul(kind.0)?))?;
            Some(Lane::Exact(Kind::Integer, fields))
        }
        (Function::Years | Function::DaysToBirthday, [a, b]) => {
            let ((a_kind, a), (b_kind, b)) = (a.exact()?, b.exact()?);
            let (a_unit, b_unit) = (time_kind(a_kind)?.0, time_kind(b_kind)?.0);
            let days = |number: i64, unit: i64| if unit == 1 { days_of(number) } else { number };
            let years = *function == Function::Years;
            let of = |a, b| {
                let (a, b) = (days(a, a_unit), days(b, b_unit));
                Some(if years { time::full_years(a, b) } else { time::days_to_birthday(a, b) })
            };
            Some(Lane::Exact(Kind::Integer, both(&a, &b, of)?))
        }
        (Function::Bucket { salt, buckets }, [Lane::Exact(Kind::Integer, keys)]) => {
            let seed = bucket::seed(salt);
            let of = |key| Some(bucket::of_integer(key, seed, *buckets));
            Some(Lane::Exact(Kind::Integer, each(keys, of)?))
        }
        (Function::Bucket { salt, buckets }, [Lane::Text(keys)]) => {
            let seed = bucket::seed(salt);
            let of = |key: &Cow<'_, str>| bucket::of_text(key.as_bytes(), seed, *buckets);
            Some(Lane::Exact(Kind::Integer, keys.iter().map(|key| key.as_ref().map(of)).collect()))
        }
        _ => None,
    }
}

/// Microseconds of one unit of a time, and what a function of microseconds gives.
fn time_kind(kind: Kind) -> Option<(i64, Kind)> {
    match kind {
        Kind::Date => Some((MICROS_PER_DAY, Kind::Timestamp)),
        Kind::Timestamp | Kind::TimestampTz => Some((1, kind)),
        Kind::Integer | Kind::Decimal(_) => None,
    }
}

fn finite(double: f64) -> Option<f64> {
    // Infinities are for the one who tells overflow from what was infinite before.
    double.is_finite().then_some(double)
}

/// The truth of a comparison of each pair.
fn compared(op: CompareOp, a: &Operand<'_, i64>, b: &Operand<'_, i64>) -> Option<Vec<Option<bool>>> {
    // A loop for each operator: none asks it of every pair.
    match op {
        CompareOp::Eq => both(a, b, |a, b| Some(a == b)),
        CompareOp::Ne => both(a, b, |a, b| Some(a != b)),
        CompareOp::Lt => both(a, b, |a, b| Some(a < b)),
        CompareOp::Le => both(a, b, |a, b| Some(a <= b)),
        CompareOp::Gt => both(a, b, |a, b| Some(a > b)),
        CompareOp::Ge => both(a, b, |a, b| Some(a >= b)),
    }
}

/// How each pair of texts is ordered, where both are texts.
fn of_texts<'l>(a: &'l Lane<'_>, b: &'l Lane<'_>) -> Option<Box<dyn Iterator<Item = Option<Ordering>> + 'l>> {
    let order = |a: &str, b: &str| a.as_bytes().cmp(b.as_bytes());
    Some(match (a, b) {
        (Lane::Text(a), Lane::Same(Value::Text(b))) => {
            Box::new(a.iter().map(move |a| a.as_deref().map(|a| order(a, b))))
        }
        (Lane::Same(Value::Text(a)), Lane::Text(b)) => {
            Box::new(b.iter().map(move |b| b.as_deref().map(|b| order(a, b))))
        }
        (Lane::Text(a), Lane::Text(b)) => {
            Box::new(a.iter().zip(b).map(move |(a, b)| Some(order(a.as_deref()?, b.as_deref()?))))
        }
        _ => return None,
    })
}

/// Two lanes in the same unit: decimals of one scale, times of one resolution.
fn aligned<'l>(a: &'l Lane<'_>, b: &'l Lane<'_>) -> Option<(Operand<'l, i64>, Operand<'l, i64>, Kind)> {
    let ((a_kind, a), (b_kind, b)) = (a.exact()?, b.exact()?);
    let scaled = |numbers: Operand<'l, i64>, by: i64| match numbers {
        numbers if by == 1 => Some(numbers),
        Operand::Same(number) => number.checked_mul(by).map(Operand::Same),
        Operand::Each(numbers) => {
            each(&numbers, |number| number.checked_mul(by)).map(|numbers| Operand::Each(Cow::Owned(numbers)))
        }
    };
    if let (Some(a_scale), Some(b_scale)) = (scale(a_kind), scale(b_kind)) {
        let ten = |power: u8| 10_i64.checked_pow(u32::from(power));
        let most = a_scale.max(b_scale);
        let kind = if a_kind == b_kind { a_kind } else { Kind::Decimal(most) };
        return Some((scaled(a, ten(most - a_scale)?)?, scaled(b, ten(most - b_scale)?)?, kind));
    }
    let (a_time, b_time) = (time_kind(a_kind)?, time_kind(b_kind)?);
    if a_kind == b_kind {
        return Some((a, b, a_kind));
    }
    Some((scaled(a, a_time.0)?, scaled(b, b_time.0)?, a_time.1))
}

fn scale(kind: Kind) -> Option<u8> {
    match kind {
        Kind::Integer => Some(0),
        Kind::Decimal(scale) => Some(scale),
        Kind::Date | Kind::Timestamp | Kind::TimestampTz => None,
    }
}
