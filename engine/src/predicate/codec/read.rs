//! From bytes to a predicate, or to the offset at which they are not one.

use super::numbers::{field_of, fold_of, op_of, pattern_of, plain_function, tag, truth_of, unit_of};
use crate::expr::{Expr, Function, Pattern};
use crate::plan::DEPTH_MAX;
use crate::predicate::{AudienceId, GroupAggregate, Interval, Literal, Predicate, Related, RelatedRows};
use crate::schema::{ColumnId, DataType, TableId};
use crate::value::Value;
use muster_storage::codec::{self, CodecError};
use std::sync::Arc;

/// Elements that room is made for before they are read: a count that lies costs no memory.
const ROOM_MAX: usize = 1 << 10;

/// Reads the nodes of a tree one after another.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// The next byte.
    pub(super) at: usize,
    pub(super) depth: usize,
    /// Steps of rows.
    pub(super) steps: usize,
}

pub(super) type Read<T> = std::result::Result<T, CodecError>;

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, depth: 0, steps: 0 }
    }

    pub(super) fn refuse(&self, at: usize, expected: &str, found: impl std::fmt::Display) -> CodecError {
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

    pub(super) fn u8(&mut self) -> Read<u8> {
        Ok(self.take::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Read<u16> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    pub(super) fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    pub(super) fn i64(&mut self) -> Read<i64> {
        Ok(i64::from_le_bytes(self.take()?))
    }

    pub(super) fn boolean(&mut self) -> Read<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.refuse(self.at - 1, "0 or 1", other)),
        }
    }

    /// A number that `of` knows.
    pub(super) fn number<T>(&mut self, what: &str, of: impl Fn(u16) -> Option<T>) -> Read<T> {
        let number = self.u16()?;
        of(number).ok_or_else(|| self.refuse(self.at - 2, what, number))
    }

    pub(super) fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
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

    pub(super) fn deeper(&mut self) -> Read<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.refuse(self.at, &format!("at most {DEPTH_MAX} levels"), "one more"));
        }
        Ok(())
    }

    pub(super) fn column(&mut self) -> Read<ColumnId> {
        self.u32().map(ColumnId)
    }

    pub(super) fn predicate(&mut self) -> Read<Predicate> {
        self.deeper()?;
        let at = self.at;
        let predicate = match self.u16()? {
            tag::AND => Predicate::And(self.list(Self::predicate)?),
            tag::OR => Predicate::Or(self.list(Self::predicate)?),
            tag::NOT => Predicate::Not(Box::new(self.predicate()?)),
            tag::HOLDS => Predicate::Holds(self.expr()?),
            tag::RELATED => Predicate::Related(Arc::new(self.related()?)),
            tag::DERIVED => Predicate::Derived(Arc::new(self.derived()?)),
            leaf => self.leaf(at, leaf)?,
        };
        self.depth -= 1;
        Ok(predicate)
    }

    #[inline(never)]
    fn related(&mut self) -> Read<Related> {
        let column = self.column()?;
        let is_in = self.boolean()?;
        let certainly = self.certainly()?;
        Ok(Related { column, is_in, certainly, rows: self.list(Self::related_rows)?, truth: self.expr()? })
    }

    pub(super) fn certainly(&mut self) -> Read<Option<bool>> {
        Ok(match self.u8()? {
            0 => None,
            1 => Some(false),
            2 => Some(true),
            other => return Err(self.refuse(self.at - 1, "0, 1 or 2", other)),
        })
    }

    fn related_rows(&mut self) -> Read<RelatedRows> {
        Ok(RelatedRows {
            table: TableId(self.u32()?),
            by: self.column()?,
            condition: self.predicate()?,
            aggregates: self.list(|reader| {
                let function = reader.number("an aggregate", fold_of)?;
                let (distinct, argument, filter) = (reader.boolean()?, reader.boolean()?, reader.boolean()?);
                Ok(GroupAggregate {
                    function,
                    distinct,
                    argument: argument.then(|| reader.expr()).transpose()?,
                    filter: filter.then(|| reader.predicate()).transpose()?,
                })
            })?,
        })
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

    pub(super) fn expr(&mut self) -> Read<Expr> {
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
