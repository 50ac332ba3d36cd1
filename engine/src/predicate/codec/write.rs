//! From a predicate to its bytes.

use super::numbers::{
    field_number, fold_number, function_number, op_number, pattern_number, tag, truth_number, unit_number,
    value_number,
};
use crate::expr::{Expr, Function, Pattern};
use crate::plan::DEPTH_MAX;
use crate::predicate::{Interval, Literal, Predicate, Related};
use crate::schema::ColumnId;
use crate::value::Value;
use crate::{Error, Result};
use muster_storage::codec;

/// Writes the nodes of a tree one after another.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    pub(super) depth: usize,
    /// Steps of rows.
    pub(super) steps: usize,
}

impl Writer {
    pub(super) fn u16(&mut self, number: u16) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn i64(&mut self, number: i64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn count(&mut self, count: usize) -> Result<()> {
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

    pub(super) fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::Invalid(format!("a stored condition is at most {DEPTH_MAX} levels deep")));
        }
        Ok(())
    }

    pub(super) fn predicate(&mut self, predicate: &Predicate) -> Result<()> {
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
            Predicate::Related(related) => self.related(related)?,
            Predicate::Derived(derived) => self.derived(derived)?,
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

    fn related(&mut self, related: &Related) -> Result<()> {
        self.column(tag::RELATED, related.column);
        self.bytes.push(u8::from(related.is_in));
        self.bytes.push(related.certainly.map_or(0, |truth| 1 + u8::from(truth)));
        self.count(related.rows.len())?;
        for rows in &related.rows {
            self.u32(rows.table.0);
            self.u32(rows.by.0);
            self.predicate(&rows.condition)?;
            self.count(rows.aggregates.len())?;
            for aggregate in &rows.aggregates {
                self.u16(fold_number(aggregate.function));
                let present = [aggregate.distinct, aggregate.argument.is_some(), aggregate.filter.is_some()];
                self.bytes.extend(present.map(u8::from));
                aggregate.argument.as_ref().map_or(Ok(()), |argument| self.expr(argument))?;
                aggregate.filter.as_ref().map_or(Ok(()), |filter| self.predicate(filter))?;
            }
        }
        self.expr(&related.truth)
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

    pub(super) fn expr(&mut self, expr: &Expr) -> Result<()> {
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
