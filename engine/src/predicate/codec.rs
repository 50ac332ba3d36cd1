//! Predicates as bytes: what the catalog stores of audiences and views.
//!
//! A u16 version, then the tree, depth first. Every node begins with a u16 tag. Tags stand in the tables below, are
//! explicit, and are never renumbered or used again; docs/FORMAT.md repeats them. [`RESERVED`] is kept free among the
//! tags of predicates and of expressions for leaves about child tables (orders, visits). Otherwise the bytes follow the
//! conventions of `muster_storage::codec`: little-endian, fixed widths, a count before its elements (here u32).
//!
//! Reading is bounded: by depth ([`DEPTH_MAX`]), and by the bytes themselves, of which every element takes some. What
//! is read is well formed; whether its columns and audiences exist is for whoever asks it to say.

use crate::expr::{Expr, Function, Pattern, PatternKind, TimeField, TimeUnit};
use crate::plan::DEPTH_MAX;
use crate::predicate::{AudienceId, CompareOp, Interval, Literal, Predicate, Truth};
use crate::schema::{ColumnId, DataType};
use crate::value::Value;
use crate::{Error, Result};
use muster_storage::codec::{self, CodecError};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The version of the encoding.
pub const PREDICATE_VERSION: u16 = 1;

/// Tags of predicates and expressions that nothing uses yet: for leaves about child tables.
pub const RESERVED: RangeInclusive<u16> = 0x0100..=0x01ff;

/// Elements that room is made for before they are read: a count that lies costs no memory.
const ROOM_MAX: usize = 1 << 10;

mod tag {
    pub const CONST: u16 = 1;
    pub const AND: u16 = 2;
    pub const OR: u16 = 3;
    pub const NOT: u16 = 4;
    pub const IS_TRUE: u16 = 5;
    pub const IS_NULL: u16 = 6;
    pub const COMPARE: u16 = 7;
    pub const IN: u16 = 8;
    pub const HAS_ANY: u16 = 9;
    pub const HAS_ALL: u16 = 10;
    pub const HOLDS: u16 = 11;
    pub const AUDIENCE: u16 = 12;

    pub const EXPR_COLUMN: u16 = 1;
    pub const EXPR_LITERAL: u16 = 2;
    pub const EXPR_ORDINAL: u16 = 3;
    pub const EXPR_CALL: u16 = 4;

    pub const LITERAL_VALUE: u16 = 1;
    pub const LITERAL_NOW: u16 = 2;
}

/// The numbers of an enum without fields, both ways.
macro_rules! numbers {
    ($type:ident, $to:ident, $from:ident, $($variant:ident = $number:literal),+ $(,)?) => {
        fn $to(value: $type) -> u16 {
            match value {
                $($type::$variant => $number,)+
            }
        }

        fn $from(number: u16) -> Option<$type> {
            match number {
                $($number => Some($type::$variant),)+
                _ => None,
            }
        }
    };
}

numbers!(Truth, truth_number, truth_of, False = 0, True = 1, Unknown = 2);
numbers!(CompareOp, op_number, op_of, Eq = 1, Ne = 2, Lt = 3, Le = 4, Gt = 5, Ge = 6);
numbers!(PatternKind, pattern_number, pattern_of, Like = 1, ILike = 2, Regex = 3, IRegex = 4);
numbers!(
    TimeUnit,
    unit_number,
    unit_of,
    Microseconds = 1,
    Milliseconds = 2,
    Second = 3,
    Minute = 4,
    Hour = 5,
    Day = 6,
    Week = 7,
    Month = 8,
    Quarter = 9,
    Year = 10,
);
numbers!(
    TimeField,
    field_number,
    field_of,
    Year = 1,
    Quarter = 2,
    Month = 3,
    Week = 4,
    IsoYear = 5,
    Day = 6,
    DayOfWeek = 7,
    IsoDayOfWeek = 8,
    DayOfYear = 9,
    Hour = 10,
    Minute = 11,
    Second = 12,
    Epoch = 13,
);

/// The bytes of a predicate.
///
/// # Errors
/// [`Error::Invalid`] for [`Predicate::Members`], which is true of one snapshot only, and for a predicate deeper than
/// [`DEPTH_MAX`].
pub fn encode(predicate: &Predicate) -> Result<Vec<u8>> {
    let mut writer = Writer { bytes: Vec::new(), depth: 0 };
    writer.u16(PREDICATE_VERSION);
    writer.predicate(predicate)?;
    Ok(writer.bytes)
}

/// The predicate of bytes that hold it and nothing more.
///
/// # Errors
/// With the offset at which the bytes are not those of a predicate.
pub fn decode(bytes: &[u8]) -> std::result::Result<Predicate, CodecError> {
    let mut reader = Reader { bytes, at: 0, depth: 0 };
    match reader.u16()? {
        PREDICATE_VERSION => {}
        other => return Err(reader.refuse(0, &format!("predicate version {PREDICATE_VERSION}"), other)),
    }
    let predicate = reader.predicate()?;
    if reader.at < bytes.len() {
        return Err(CodecError {
            offset: reader.at as u64,
            expected: "the end".into(),
            found: format!("{} more bytes", bytes.len() - reader.at),
        });
    }
    Ok(predicate)
}

struct Writer {
    bytes: Vec<u8>,
    depth: usize,
}

impl Writer {
    fn u16(&mut self, number: u16) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn i64(&mut self, number: i64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn count(&mut self, count: usize) -> Result<()> {
        let count = u32::try_from(count)
            .map_err(|_| Error::Invalid("a stored condition has fewer than 2^32 terms".into()))?;
        self.u32(count);
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<()> {
        self.count(text.len())?;
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn texts(&mut self, texts: &[String]) -> Result<()> {
        self.count(texts.len())?;
        texts.iter().try_for_each(|text| self.text(text))
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::Invalid(format!("a stored condition is at most {DEPTH_MAX} levels deep")));
        }
        Ok(())
    }

    fn predicate(&mut self, predicate: &Predicate) -> Result<()> {
        self.deeper()?;
        match predicate {
            Predicate::Const(truth) => {
                self.u16(tag::CONST);
                self.u16(truth_number(*truth));
            }
            Predicate::And(terms) => self.terms(tag::AND, terms)?,
            Predicate::Or(terms) => self.terms(tag::OR, terms)?,
            Predicate::Not(inner) => {
                self.u16(tag::NOT);
                self.predicate(inner)?;
            }
            Predicate::IsTrue(column) => self.column(tag::IS_TRUE, *column),
            Predicate::IsNull(column) => self.column(tag::IS_NULL, *column),
            Predicate::Compare { column, op, literal } => {
                self.column(tag::COMPARE, *column);
                self.u16(op_number(*op));
                self.literal(literal)?;
            }
            Predicate::In { column, literals } => {
                self.column(tag::IN, *column);
                self.count(literals.len())?;
                literals.iter().try_for_each(|literal| self.literal(literal))?;
            }
            Predicate::HasAny { column, tags } => {
                self.column(tag::HAS_ANY, *column);
                self.texts(tags)?;
            }
            Predicate::HasAll { column, tags } => {
                self.column(tag::HAS_ALL, *column);
                self.texts(tags)?;
            }
            Predicate::Holds(expr) => {
                self.u16(tag::HOLDS);
                self.expr(expr)?;
            }
            Predicate::Audience(audience) => {
                self.u16(tag::AUDIENCE);
                self.u32(audience.0);
            }
            Predicate::Members(_) => {
                return Err(Error::Invalid(
                    "a list of members cannot be part of a stored condition; \
                     CREATE STATIC AUDIENCE keeps them, and the condition can name it"
                        .into(),
                ));
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn terms(&mut self, tag: u16, terms: &[Predicate]) -> Result<()> {
        self.u16(tag);
        self.count(terms.len())?;
        terms.iter().try_for_each(|term| self.predicate(term))
    }

    fn column(&mut self, tag: u16, column: ColumnId) {
        self.u16(tag);
        self.u32(column.0);
    }

    fn literal(&mut self, literal: &Literal) -> Result<()> {
        match literal {
            Literal::Value(value) => {
                self.u16(tag::LITERAL_VALUE);
                self.value(value)
            }
            Literal::Now { offsets, date, zone } => {
                self.u16(tag::LITERAL_NOW);
                self.count(offsets.len())?;
                offsets.iter().for_each(|offset| self.interval(*offset));
                self.bytes.push(u8::from(*date));
                self.bytes.push(u8::from(zone.is_some()));
                zone.as_ref().map_or(Ok(()), |zone| self.text(zone))
            }
        }
    }

    fn interval(&mut self, interval: Interval) {
        self.u32(interval.months as u32);
        self.u32(interval.days as u32);
        self.i64(interval.micros);
    }

    fn value(&mut self, value: &Value) -> Result<()> {
        self.u16(value_number(value));
        match value {
            Value::Null => {}
            Value::Boolean(boolean) => self.bytes.push(u8::from(*boolean)),
            Value::Integer(number) | Value::Timestamp(number) | Value::TimestampTz(number) => {
                self.i64(*number);
            }
            Value::Decimal { unscaled, scale } => {
                self.bytes.extend_from_slice(&unscaled.to_le_bytes());
                self.bytes.push(*scale);
            }
            Value::Double(double) => self.bytes.extend_from_slice(&double.to_bits().to_le_bytes()),
            Value::Text(text) => self.text(text)?,
            Value::Date(days) => self.u32(*days as u32),
            Value::Tags(tags) => self.texts(tags)?,
        }
        Ok(())
    }

    fn expr(&mut self, expr: &Expr) -> Result<()> {
        self.deeper()?;
        match expr {
            Expr::Column(column) => self.column(tag::EXPR_COLUMN, *column),
            Expr::Literal(literal) => {
                self.u16(tag::EXPR_LITERAL);
                self.literal(literal)?;
            }
            Expr::Ordinal => self.u16(tag::EXPR_ORDINAL),
            Expr::Call { function, arguments } => {
                self.u16(tag::EXPR_CALL);
                self.function(function)?;
                self.count(arguments.len())?;
                arguments.iter().try_for_each(|argument| self.expr(argument))?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn function(&mut self, function: &Function) -> Result<()> {
        self.u16(function_number(function));
        match function {
            Function::Compare(op) => self.u16(op_number(*op)),
            Function::AddInterval(interval) => self.interval(*interval),
            Function::Like(Pattern { kind, pattern }) => {
                self.u16(pattern_number(*kind));
                self.text(pattern)?;
            }
            Function::DateTrunc(unit) => self.u16(unit_number(*unit)),
            Function::Extract(field) => self.u16(field_number(*field)),
            Function::Bucket { salt, buckets } => {
                self.text(salt)?;
                self.u32(*buckets);
            }
            Function::AtZone(zone) => self.text(zone)?,
            Function::HasAny(tags) | Function::HasAll(tags) => self.texts(tags)?,
            // As the catalog stores the types of columns.
            Function::Cast(data_type) => self.bytes.extend(codec::encode(data_type)),
            _ => {}
        }
        Ok(())
    }
}

fn value_number(value: &Value) -> u16 {
    match value {
        Value::Null => 1,
        Value::Boolean(_) => 2,
        Value::Integer(_) => 3,
        Value::Decimal { .. } => 4,
        Value::Double(_) => 5,
        Value::Text(_) => 6,
        Value::Date(_) => 7,
        Value::Timestamp(_) => 8,
        Value::TimestampTz(_) => 9,
        Value::Tags(_) => 10,
    }
}

/// The numbers of functions: of those without fields both ways, of the others one way, since their fields follow.
macro_rules! functions {
    (plain: $($plain:ident = $number:literal),+; with_fields: $($variant:pat => $tag:literal),+ $(,)?) => {
        fn function_number(function: &Function) -> u16 {
            match function {
                $(Function::$plain => $number,)+
                $($variant => $tag,)+
            }
        }

        fn plain_function(number: u16) -> Option<Function> {
            match number {
                $($number => Some(Function::$plain),)+
                _ => None,
            }
        }
    };
}

functions!(
    plain: Same = 2, IsNull = 3, And = 4, Or = 5, Not = 6, Add = 7, Subtract = 8, Multiply = 9, Divide = 10,
    Modulo = 11, Negate = 12, Abs = 13, Floor = 14, Ceil = 15, Round = 16, Lower = 18, Upper = 19, Length = 20,
    Substr = 21, Trim = 22, Concat = 23, Cardinality = 25, Years = 28, DaysToBirthday = 29, Coalesce = 33, NullIf = 34,
    Case = 35, Greatest = 36, Least = 37, In = 38, Power = 41, Sqrt = 42, Ln = 43, Log10 = 44, Replace = 45,
    SplitPart = 46;
    with_fields:
    Function::Compare(_) => 1,
    Function::AddInterval(_) => 17,
    Function::Like(_) => 24,
    Function::DateTrunc(_) => 26,
    Function::Extract(_) => 27,
    Function::Bucket { .. } => 30,
    Function::AtZone(_) => 31,
    Function::Cast(_) => 32,
    Function::HasAny(_) => 39,
    Function::HasAll(_) => 40,
);

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

type Read<T> = std::result::Result<T, CodecError>;

impl Reader<'_> {
    fn refuse(&self, at: usize, expected: &str, found: impl std::fmt::Display) -> CodecError {
        CodecError { offset: at as u64, expected: expected.into(), found: found.to_string() }
    }

    fn take<const N: usize>(&mut self) -> Read<[u8; N]> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(taken) => {
                self.at += N;
                Ok(*taken)
            }
            None => Err(self.refuse(self.at, &format!("{N} more bytes of a predicate"), "the end")),
        }
    }

    fn u8(&mut self) -> Read<u8> {
        Ok(self.take::<1>()?[0])
    }

    fn u16(&mut self) -> Read<u16> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn i64(&mut self) -> Read<i64> {
        Ok(i64::from_le_bytes(self.take()?))
    }

    fn boolean(&mut self) -> Read<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.refuse(self.at - 1, "0 or 1", other)),
        }
    }

    /// A number that `of` knows.
    fn number<T>(&mut self, what: &str, of: impl Fn(u16) -> Option<T>) -> Read<T> {
        let number = self.u16()?;
        of(number).ok_or_else(|| self.refuse(self.at - 2, what, number))
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let count = self.u32()? as usize;
        // Every element takes at least a byte.
        if count > self.bytes.len() - self.at {
            return Err(self.refuse(self.at - 4, "a count of what follows", count));
        }
        let mut list = Vec::with_capacity(count.min(ROOM_MAX));
        for _ in 0..count {
            list.push(one(self)?);
        }
        Ok(list)
    }

    fn text(&mut self) -> Read<String> {
        let length = self.u32()? as usize;
        let start = self.at;
        let Some(bytes) = self.bytes[start..].get(..length) else {
            return Err(self.refuse(start - 4, "a length of what follows", length));
        };
        let text = std::str::from_utf8(bytes).map_err(|error| self.refuse(start, "UTF-8", error))?;
        self.at += length;
        Ok(text.to_owned())
    }

    fn deeper(&mut self) -> Read<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.refuse(self.at, &format!("at most {DEPTH_MAX} levels"), "one more"));
        }
        Ok(())
    }

    fn column(&mut self) -> Read<ColumnId> {
        self.u32().map(ColumnId)
    }

    fn predicate(&mut self) -> Read<Predicate> {
        self.deeper()?;
        let at = self.at;
        let predicate = match self.u16()? {
            tag::AND => Predicate::And(self.list(Self::predicate)?),
            tag::OR => Predicate::Or(self.list(Self::predicate)?),
            tag::NOT => Predicate::Not(Box::new(self.predicate()?)),
            tag::HOLDS => Predicate::Holds(self.expr()?),
            leaf => self.leaf(at, leaf)?,
        };
        self.depth -= 1;
        Ok(predicate)
    }

    /// What has no predicates inside; a function of its own, so that the recursion above has a small frame.
    fn leaf(&mut self, at: usize, tag: u16) -> Read<Predicate> {
        Ok(match tag {
            tag::CONST => Predicate::Const(self.number("a truth value", truth_of)?),
            tag::IS_TRUE => Predicate::IsTrue(self.column()?),
            tag::IS_NULL => Predicate::IsNull(self.column()?),
            tag::COMPARE => Predicate::Compare {
                column: self.column()?,
                op: self.number("a comparison", op_of)?,
                literal: self.literal()?,
            },
            tag::IN => Predicate::In { column: self.column()?, literals: self.list(Self::literal)? },
            tag::HAS_ANY => Predicate::HasAny { column: self.column()?, tags: self.list(Self::text)? },
            tag::HAS_ALL => Predicate::HasAll { column: self.column()?, tags: self.list(Self::text)? },
            tag::AUDIENCE => Predicate::Audience(AudienceId(self.u32()?)),
            other => return Err(self.refuse(at, "the tag of a predicate", other)),
        })
    }

    fn literal(&mut self) -> Read<Literal> {
        let at = self.at;
        match self.u16()? {
            tag::LITERAL_VALUE => self.value().map(Literal::Value),
            tag::LITERAL_NOW => Ok(Literal::Now {
                offsets: self.list(Self::interval)?,
                date: self.boolean()?,
                zone: if self.boolean()? { Some(Arc::from(self.text()?)) } else { None },
            }),
            other => Err(self.refuse(at, "the tag of a literal", other)),
        }
    }

    fn interval(&mut self) -> Read<Interval> {
        Ok(Interval { months: self.u32()? as i32, days: self.u32()? as i32, micros: self.i64()? })
    }

    fn value(&mut self) -> Read<Value> {
        let at = self.at;
        Ok(match self.u16()? {
            1 => Value::Null,
            2 => Value::Boolean(self.boolean()?),
            3 => Value::Integer(self.i64()?),
            4 => Value::Decimal { unscaled: i128::from_le_bytes(self.take()?), scale: self.u8()? },
            5 => Value::Double(f64::from_bits(u64::from_le_bytes(self.take()?))),
            6 => Value::Text(self.text()?),
            7 => Value::Date(self.u32()? as i32),
            8 => Value::Timestamp(self.i64()?),
            9 => Value::TimestampTz(self.i64()?),
            10 => Value::Tags(self.list(Self::text)?),
            other => return Err(self.refuse(at, "the tag of a value", other)),
        })
    }

    fn expr(&mut self) -> Read<Expr> {
        self.deeper()?;
        let at = self.at;
        let expr = match self.u16()? {
            tag::EXPR_COLUMN => Expr::Column(self.column()?),
            tag::EXPR_LITERAL => Expr::Literal(self.literal()?),
            tag::EXPR_ORDINAL => Expr::Ordinal,
            tag::EXPR_CALL => {
                let function = self.function()?;
                Expr::Call { function, arguments: self.list(Self::expr)? }
            }
            other => return Err(self.refuse(at, "the tag of an expression", other)),
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn function(&mut self) -> Read<Function> {
        let at = self.at;
        Ok(match self.u16()? {
            1 => Function::Compare(self.number("a comparison", op_of)?),
            17 => Function::AddInterval(self.interval()?),
            24 => Function::Like(Pattern {
                kind: self.number("a kind of pattern", pattern_of)?,
                pattern: self.text()?,
            }),
            26 => Function::DateTrunc(self.number("a unit of time", unit_of)?),
            27 => Function::Extract(self.number("a field of a time", field_of)?),
            30 => Function::Bucket { salt: self.text()?, buckets: self.u32()? },
            31 => Function::AtZone(self.text()?),
            32 => Function::Cast(self.data_type()?),
            39 => Function::HasAny(self.list(Self::text)?),
            40 => Function::HasAll(self.list(Self::text)?),
            plain => {
                let function = plain_function(plain);
                return function.ok_or_else(|| self.refuse(at, "the tag of a function", plain));
            }
        })
    }

    fn data_type(&mut self) -> Read<DataType> {
        /// Bytes of a DECIMAL, the only type with more than its number.
        const DECIMAL_BYTES: usize = 6;
        let start = self.at;
        let rest = &self.bytes[start..];
        let types = [&rest[..rest.len().min(4)], &rest[..rest.len().min(DECIMAL_BYTES)]];
        let data_type = codec::decode::<DataType>(types[0]).or_else(|_| codec::decode(types[1]));
        let data_type =
            data_type.map_err(|error| self.refuse(start + error.offset as usize, "a type", error.found))?;
        self.at += codec::encode(&data_type).len();
        Ok(data_type)
    }
}

#[cfg(test)]
mod tests;
