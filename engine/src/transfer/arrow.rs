//! Arrow's columns as ours: which types fit which, and the loops that convert them.
//!
//! Fixed widths are converted in two passes that the compiler vectorises: widen everything (NULL rows become 0), then
//! check and scale. Only a failed check looks for the row to blame. Dictionaries stay dictionaries.
//!
//! Timestamps finer than microseconds are cut to the microsecond before them; everything else is exact or refused.

use super::column::{ColumnBuilder, check_key_length, check_null};
use super::intern::Interner;
use super::{BATCH_ROWS, Target};
use crate::batch::{ColumnBatch, ColumnValues, Strings};
use crate::calendar::MICROS_PER_DAY;
use crate::code::double_to_code;
use crate::schema::{DECIMAL_PRECISION_MAX, DataType};
use crate::value::{Reason, shortened};
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, GenericListArray, GenericStringArray};
use arrow_array::{OffsetSizeTrait, PrimitiveArray};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{DataType as ArrowType, TimeUnit};
use std::sync::Arc;

/// A value that its column refuses.
pub(super) struct Refused {
    /// The row in the array.
    pub(super) row: usize,
    /// The value as text; `None` where it is NULL.
    pub(super) value: Option<String>,
    /// Why.
    pub(super) reason: Reason,
}

/// The column type that keeps everything of an Arrow type, where there is one.
pub(super) fn our_type(arrow: &ArrowType) -> Option<DataType> {
    Some(match arrow {
        ArrowType::Boolean => DataType::Boolean,
        ArrowType::Int8 | ArrowType::Int16 | ArrowType::UInt8 => DataType::SmallInt,
        ArrowType::Int32 | ArrowType::UInt16 => DataType::Integer,
        ArrowType::Int64 | ArrowType::UInt32 | ArrowType::UInt64 => DataType::BigInt,
        ArrowType::Float32 | ArrowType::Float64 => DataType::Double,
        ArrowType::Decimal32(precision, scale)
        | ArrowType::Decimal64(precision, scale)
        | ArrowType::Decimal128(precision, scale)
            if *precision <= DECIMAL_PRECISION_MAX && *scale >= 0 =>
        {
            DataType::Decimal { precision: *precision, scale: *scale as u8 }
        }
        ArrowType::Date32 | ArrowType::Date64 => DataType::Date,
        ArrowType::Timestamp(_, None) => DataType::Timestamp,
        ArrowType::Timestamp(_, Some(_)) => DataType::TimestampTz,
        ArrowType::Dictionary(_, value) => return our_type(value),
        ArrowType::List(item) | ArrowType::LargeList(item) if is_text(item.data_type()) => {
            DataType::TextArray
        }
        text if is_text(text) => DataType::Text,
        _ => return None,
    })
}

/// True for strings, through a dictionary or not.
pub(super) fn is_text(arrow: &ArrowType) -> bool {
    match arrow {
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => true,
        ArrowType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

/// True where values of an Arrow type can be read into a column, all of them or at least those that fit.
pub(super) fn is_readable(arrow: &ArrowType, into: DataType) -> bool {
    match (arrow, into) {
        (ArrowType::Null, _) => true,
        (ArrowType::Dictionary(_, value), _) => is_readable(value, into),
        (text, _) if is_text(text) => true,
        (ArrowType::Boolean, _) => into == DataType::Boolean,
        (integer, _) if integer.is_integer() => into.is_number(),
        (ArrowType::Float32 | ArrowType::Float64, _) => into == DataType::Double,
        (
            ArrowType::Decimal32(_, from) | ArrowType::Decimal64(_, from) | ArrowType::Decimal128(_, from),
            DataType::Decimal { scale, .. },
        ) => (0..=scale as i8).contains(from),
        (ArrowType::Date32 | ArrowType::Date64, _) => into.is_time(),
        (ArrowType::Timestamp(_, None), _) => matches!(into, DataType::Timestamp | DataType::TimestampTz),
        (ArrowType::Timestamp(_, Some(_)), _) => into == DataType::TimestampTz,
        (ArrowType::List(item) | ArrowType::LargeList(item), _) => {
            into == DataType::TextArray && is_text(item.data_type())
        }
        _ => false,
    }
}

/// Converts one column of a record batch. The type must be [readable](is_readable) into the target's.
pub(super) fn convert(array: &ArrayRef, target: &Target) -> Result<ColumnBatch, Refused> {
    let converted = match array.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
        None => values(array, None, target).map(|values| ColumnBatch { values, nulls: None }),
        Some(nulls) => {
            let nulls = expand(&BooleanArray::new(nulls.into_inner(), None), true);
            let row = nulls.iter().position(|null| *null).unwrap_or(0);
            check_null(target.nullable, target.key)
                .map_err(|reason| (row, reason))
                .and_then(|()| values(array, Some(&nulls), target))
                .map(|values| ColumnBatch { values, nulls: Some(nulls) })
        }
    };
    converted.map_err(|(row, reason)| {
        let value = (!array.is_null(row)).then(|| array_value_to_string(array, row).unwrap_or_default());
        Refused { row, value: value.map(|value| shortened(value.as_bytes())), reason }
    })
}

/// Bits as booleans, word by word.
fn expand(bits: &BooleanArray, invert: bool) -> Vec<bool> {
    let mut booleans = Vec::with_capacity(bits.len() + 64);
    let chunks = bits.values().bit_chunks();
    for word in chunks.iter().chain([chunks.remainder_bits()]) {
        let mut expanded = [false; 64];
        for (i, boolean) in expanded.iter_mut().enumerate() {
            *boolean = (word >> i & 1 == 1) != invert;
        }
        booleans.extend_from_slice(&expanded);
    }
    booleans.truncate(bits.len());
    booleans
}

type Converted<T> = Result<T, (usize, Reason)>;

fn values(array: &ArrayRef, nulls: Option<&[bool]>, target: &Target) -> Converted<ColumnValues> {
    let into = target.data_type;
    let codes = match array.data_type() {
        ArrowType::Boolean => {
            let mut booleans = expand(array.as_boolean(), false);
            blank(&mut booleans, nulls);
            return Ok(ColumnValues::Boolean(booleans));
        }
        ArrowType::Null => return parsed(array.len(), |_| None, target),
        ArrowType::Utf8 => return text(array.as_string::<i32>(), nulls, target),
        ArrowType::LargeUtf8 => return text(array.as_string::<i64>(), nulls, target),
        ArrowType::List(_) => return tags(array.as_list::<i32>(), nulls),
        ArrowType::LargeList(_) => return tags(array.as_list::<i64>(), nulls),
        ArrowType::Dictionary(_, value) if is_text(value) && into == DataType::Text => {
            return text_dictionary(&int32_dictionary(array)?, nulls, target);
        }
        ArrowType::Dictionary(_, value) => return values(&cast(array, value)?, nulls, target),
        ArrowType::Utf8View => return values(&cast(array, &ArrowType::LargeUtf8)?, nulls, target),
        ArrowType::Int8 => integers(widened::<Int8Type>(array, nulls, i64::from), into)?,
        ArrowType::Int16 => integers(widened::<Int16Type>(array, nulls, i64::from), into)?,
        ArrowType::Int32 => integers(widened::<Int32Type>(array, nulls, i64::from), into)?,
        ArrowType::Int64 => integers(widened::<Int64Type>(array, nulls, |v| v), into)?,
        ArrowType::UInt8 => integers(widened::<UInt8Type>(array, nulls, i64::from), into)?,
        ArrowType::UInt16 => integers(widened::<UInt16Type>(array, nulls, i64::from), into)?,
        ArrowType::UInt32 => integers(widened::<UInt32Type>(array, nulls, i64::from), into)?,
        ArrowType::UInt64 => {
            // What is too large for an i64 shows as negative.
            let codes = widened::<UInt64Type>(array, nulls, |v| v as i64);
            let reason = || Reason::from(format!("is out of the range of {into}"));
            check_range(&codes, 0, i64::MAX, reason)?;
            integers(codes, into)?
        }
        ArrowType::Float32 => widened::<Float32Type>(array, nulls, |v| double_to_code(f64::from(v))),
        ArrowType::Float64 => widened::<Float64Type>(array, nulls, double_to_code),
        ArrowType::Decimal32(_, scale) => decimals::<Decimal32Type>(array, *scale, nulls, into, i128::from)?,
        ArrowType::Decimal64(_, scale) => decimals::<Decimal64Type>(array, *scale, nulls, into, i128::from)?,
        ArrowType::Decimal128(_, scale) => decimals::<Decimal128Type>(array, *scale, nulls, into, |v| v)?,
        ArrowType::Date32 => {
            let days = widened::<Date32Type>(array, nulls, i64::from);
            if into == DataType::Date { days } else { scaled(days, MICROS_PER_DAY, into)? }
        }
        ArrowType::Date64 => {
            let micros = scaled(widened::<Date64Type>(array, nulls, |v| v), 1000, into)?;
            if into == DataType::Date { whole_days(micros)? } else { micros }
        }
        ArrowType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => scaled(widened::<TimestampSecondType>(array, nulls, |v| v), 1_000_000, into)?,
            TimeUnit::Millisecond => {
                scaled(widened::<TimestampMillisecondType>(array, nulls, |v| v), 1000, into)?
            }
            TimeUnit::Microsecond => widened::<TimestampMicrosecondType>(array, nulls, |v| v),
            TimeUnit::Nanosecond => widened::<TimestampNanosecondType>(array, nulls, |v| v.div_euclid(1000)),
        },
        other => return Err((0, format!("has the type {other}, which cannot be read as {into}").into())),
    };
    Ok(ColumnValues::Code(codes))
}

/// Every value as an `i64`; NULL rows become 0.
fn widened<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    nulls: Option<&[bool]>,
    widen: impl Fn(T::Native) -> i64,
) -> Vec<i64> {
    let array: &PrimitiveArray<T> = array.as_primitive();
    let mut codes: Vec<i64> = array.values().iter().map(|value| widen(*value)).collect();
    blank(&mut codes, nulls);
    codes
}

fn blank<T: Default>(values: &mut [T], nulls: Option<&[bool]>) {
    for (value, null) in values.iter_mut().zip(nulls.unwrap_or_default()) {
        if *null {
            *value = T::default();
        }
    }
}

/// Refuses the first value outside `low..=high`. NULL rows hold 0, which must lie within.
fn check_range(codes: &[i64], low: i64, high: i64, reason: impl Fn() -> Reason) -> Converted<()> {
    let outside = |code: i64| code < low || code > high;
    // No early exit, so that the loop is vectorised.
    if !codes.iter().fold(false, |found, code| found | outside(*code)) {
        return Ok(());
    }
    let row = codes.iter().position(|code| outside(*code)).unwrap_or(0);
    Err((row, reason()))
}

/// Integers as the codes of a number's type.
fn integers(mut codes: Vec<i64>, into: DataType) -> Converted<Vec<i64>> {
    let range = |low: i64, high: i64| {
        move || Reason::from(format!("is out of the range of {into} ({low} to {high})"))
    };
    match into {
        DataType::SmallInt => {
            let (low, high) = (i64::from(i16::MIN), i64::from(i16::MAX));
            check_range(&codes, low, high, range(low, high))?;
        }
        DataType::Integer => {
            let (low, high) = (i64::from(i32::MIN), i64::from(i32::MAX));
            check_range(&codes, low, high, range(low, high))?;
        }
        DataType::Decimal { precision, scale } => {
            let high = 10i64.pow(u32::from(precision - scale)) - 1;
            check_range(&codes, -high, high, range(-high, high))?;
            let factor = 10i64.pow(u32::from(scale));
            codes.iter_mut().for_each(|code| *code *= factor);
        }
        DataType::Double => {
            let exact = 1 << f64::MANTISSA_DIGITS;
            check_range(&codes, -exact, exact, || "has more digits than a DOUBLE PRECISION keeps".into())?;
            codes.iter_mut().for_each(|code| *code = double_to_code(*code as f64));
        }
        _ => {}
    }
    Ok(codes)
}

fn decimals<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    from_scale: i8,
    nulls: Option<&[bool]>,
    into: DataType,
    widen: impl Fn(T::Native) -> i128,
) -> Converted<Vec<i64>> {
    let DataType::Decimal { precision, scale } = into else {
        return Err((0, format!("is a decimal, which cannot be read as {into}").into()));
    };
    let factor = 10i128.pow(u32::from(scale - from_scale as u8));
    let high = (10i128.pow(u32::from(precision)) - 1) / factor;
    let array: &PrimitiveArray<T> = array.as_primitive();
    let outside = |value: i128| value > high || value < -high;
    if array.values().iter().fold(false, |found, value| found | outside(widen(*value))) {
        let is_null = |row: usize| nulls.is_some_and(|nulls| nulls[row]);
        let to_blame = (0..array.len()).find(|row| !is_null(*row) && outside(widen(array.value(*row))));
        if let Some(row) = to_blame {
            return Err((row, format!("is out of the range of {into}").into()));
        }
    }
    let factor = factor as i64;
    let mut codes: Vec<i64> =
        array.values().iter().map(|value| (widen(*value) as i64).wrapping_mul(factor)).collect();
    blank(&mut codes, nulls);
    Ok(codes)
}

/// Multiplies into microseconds.
fn scaled(mut codes: Vec<i64>, factor: i64, into: DataType) -> Converted<Vec<i64>> {
    check_range(&codes, i64::MIN / factor, i64::MAX / factor, || {
        format!("is out of the range of {into}").into()
    })?;
    codes.iter_mut().for_each(|code| *code *= factor);
    Ok(codes)
}

fn whole_days(mut micros: Vec<i64>) -> Converted<Vec<i64>> {
    if let Some(row) = micros.iter().position(|micros| micros % MICROS_PER_DAY != 0) {
        return Err((row, "has a time of day, which a DATE does not keep".into()));
    }
    micros.iter_mut().for_each(|micros| *micros /= MICROS_PER_DAY);
    Ok(micros)
}

fn cast(array: &ArrayRef, to: &ArrowType) -> Converted<ArrayRef> {
    arrow_cast::cast(array, to).map_err(|error| (0, error.to_string().into()))
}

fn int32_dictionary(array: &ArrayRef) -> Converted<ArrayRef> {
    let wanted = ArrowType::Dictionary(Box::new(ArrowType::Int32), Box::new(ArrowType::Utf8));
    if *array.data_type() == wanted { Ok(Arc::clone(array)) } else { cast(array, &wanted) }
}

/// Strings into a column of any type: TEXT keeps them, the others parse them.
fn text<O: OffsetSizeTrait>(
    array: &GenericStringArray<O>,
    nulls: Option<&[bool]>,
    target: &Target,
) -> Converted<ColumnValues> {
    let is_null = |row: usize| nulls.is_some_and(|nulls| nulls[row]);
    let offsets = array.value_offsets();
    let (first, last) = (offsets[0].as_usize(), offsets[array.len()].as_usize());
    let null_has_bytes =
        nulls.is_some() && (0..array.len()).any(|row| is_null(row) && offsets[row] != offsets[row + 1]);
    if target.data_type != DataType::Text || null_has_bytes || u32::try_from(last - first).is_err() {
        return parsed(array.len(), |row| (!is_null(row)).then(|| array.value(row)), target);
    }
    if target.key {
        for row in 0..array.len() {
            check_key_length((offsets[row + 1] - offsets[row]).as_usize()).map_err(|reason| (row, reason))?;
        }
    }
    let ends = offsets[1..].iter().map(|end| (end.as_usize() - first) as u32).collect();
    Ok(ColumnValues::Text(Strings { ends, bytes: array.value_data()[first..last].to_vec() }))
}

/// Row by row through the text parser.
fn parsed<'a>(
    rows: usize,
    row_text: impl Fn(usize) -> Option<&'a str>,
    target: &Target,
) -> Converted<ColumnValues> {
    let mut builder = ColumnBuilder::new(target);
    let mut bytes = 0;
    for row in 0..rows {
        let pushed = match row_text(row) {
            Some(text) => {
                bytes += text.len();
                if u32::try_from(bytes).is_err() {
                    return Err((
                        row,
                        format!("ends a batch of {BATCH_ROWS} rows with over 4 GiB of text").into(),
                    ));
                }
                builder.push(text.as_bytes())
            }
            None => builder.push_null(),
        };
        pushed.map_err(|reason| (row, reason))?;
    }
    Ok(builder.finish().values)
}

/// Numbers the used entries of a dictionary anew, each string once; unused entries get no number.
struct Renumbered<'a> {
    entries: &'a GenericStringArray<i32>,
    numbers: Vec<u32>,
    interner: Interner,
}

impl<'a> Renumbered<'a> {
    const UNUSED: u32 = u32::MAX;

    fn new(entries: &'a GenericStringArray<i32>) -> Renumbered<'a> {
        Renumbered { entries, numbers: vec![Self::UNUSED; entries.len()], interner: Interner::default() }
    }

    #[inline]
    fn number(&mut self, key: i32) -> u32 {
        let number = &mut self.numbers[key as usize];
        if *number == Self::UNUSED {
            *number = self.interner.intern(self.entries.value(key as usize));
        }
        *number
    }
}

fn text_dictionary(array: &ArrayRef, nulls: Option<&[bool]>, target: &Target) -> Converted<ColumnValues> {
    let array = array.as_dictionary::<Int32Type>();
    let mut renumbered = Renumbered::new(array.values().as_string::<i32>());
    let keys = array.keys().values();
    let codes: Vec<u32> = match nulls {
        None => keys.iter().map(|key| renumbered.number(*key)).collect(),
        Some(nulls) => keys
            .iter()
            .zip(nulls)
            .map(|(key, null)| if *null { 0 } else { renumbered.number(*key) })
            .collect(),
    };
    let dictionary = renumbered.interner.take();
    if target.key {
        for i in 0..dictionary.len() {
            let row = || codes.iter().position(|code| *code == i as u32).unwrap_or(0);
            check_key_length(dictionary.get(i).len()).map_err(|reason| (row(), reason))?;
        }
    }
    Ok(ColumnValues::TextDictionary { codes, dictionary })
}

fn tags<O: OffsetSizeTrait>(array: &GenericListArray<O>, nulls: Option<&[bool]>) -> Converted<ColumnValues> {
    const NULL_ELEMENT: &str = "has a NULL element, which a set of tags cannot hold";
    let offsets = array.value_offsets();
    let items = array.values();
    let item_nulls = items.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    let (mut ends, mut tags) = (Vec::with_capacity(array.len()), Vec::with_capacity(items.len()));
    let mut each_row = |number: &mut dyn FnMut(usize) -> u32| {
        for row in 0..array.len() {
            if !nulls.is_some_and(|nulls| nulls[row]) {
                for item in offsets[row].as_usize()..offsets[row + 1].as_usize() {
                    if item_nulls.as_ref().is_some_and(|nulls| nulls.is_null(item)) {
                        return Err((row, NULL_ELEMENT.into()));
                    }
                    tags.push(number(item));
                }
            }
            ends.push(tags.len() as u32);
        }
        Ok(())
    };
    let dictionary = if matches!(items.data_type(), ArrowType::Dictionary(..)) {
        let items = int32_dictionary(items)?;
        let items = items.as_dictionary::<Int32Type>();
        let keys = items.keys().values();
        let mut renumbered = Renumbered::new(items.values().as_string::<i32>());
        each_row(&mut |item| renumbered.number(keys[item]))?;
        renumbered.interner.take()
    } else {
        let items = cast(items, &ArrowType::LargeUtf8)?;
        let items = items.as_string::<i64>();
        let mut interner = Interner::default();
        each_row(&mut |item| interner.intern(items.value(item)))?;
        interner.take()
    };
    Ok(ColumnValues::Tags { ends, tags, dictionary })
}
