//! Values: terms to typed expressions.

use super::literal;
use super::{Names, function, type_error};
use crate::constant::{Operator, as_double, describe, is_number};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::statement::{Call, Condition, Constant, Term, TermKind};
use muster_engine::expr::{Compiled, Expr, Function, time};
use muster_engine::predicate::{Interval, Literal};
use muster_engine::schema::DataType;
use muster_engine::value::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// Values nested deeper than this are refused, so that they are computed on a small stack.
pub(crate) const VALUE_DEPTH_MAX: usize = 250;

/// A bound value.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) expr: Expr,
    /// `None` for NULL and for a text whose type its other side decides.
    pub(crate) data_type: Option<DataType>,
    /// The constant, where it is one.
    constant: Option<Constant>,
    pub(crate) span: Span,
}

impl Typed {
    pub(crate) fn new(expr: Expr, data_type: DataType, span: Span) -> Typed {
        Typed { expr, data_type: Some(data_type), constant: None, span }
    }

    /// The type, a text where nothing decides it.
    pub(crate) fn known_type(&self) -> DataType {
        self.data_type.unwrap_or(DataType::Text)
    }

    /// True of an INTERVAL, which is a constant.
    pub(super) fn interval(&self) -> Option<Interval> {
        if let Some(Constant::Interval(interval)) = &self.constant { Some(*interval) } else { None }
    }

    /// The constant's whole number.
    pub(crate) fn whole_number(&self) -> Option<i64> {
        if let Some(Constant::Value(Value::Integer(integer))) = &self.constant {
            Some(*integer)
        } else {
            None
        }
    }

    /// The constant's number.
    pub(crate) fn constant_number(&self) -> Option<f64> {
        match &self.constant {
            Some(Constant::Value(value)) if is_number(value) => Some(as_double(value)),
            _ => None,
        }
    }

    /// The constant's text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.constant {
            Some(Constant::Unknown(text) | Constant::Value(Value::Text(text))) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.constant == Some(Constant::Null)
    }

    /// Its type with an article, for messages.
    pub(crate) fn describe(&self) -> String {
        match (&self.constant, self.data_type) {
            (Some(constant), _) => describe(constant).to_owned(),
            (None, Some(data_type)) => format!("{data_type}"),
            (None, None) => "NULL".to_owned(),
        }
    }
}

/// What a value may refer to besides columns.
pub(crate) trait Scope {
    /// Takes a term as something that is there already: an aggregate, a column that is grouped by. `None` leaves it to be
    /// bound from its parts.
    fn take(&mut self, names: &Names<'_>, term: &Term) -> Result<Option<Typed>>;

    /// Takes a condition without AND, OR and NOT as a value that is there already.
    fn take_condition(&mut self, names: &Names<'_>, condition: &Condition) -> Result<Option<Expr>> {
        let _ = (names, condition);
        Ok(None)
    }
}

/// Columns and nothing else.
pub(crate) struct Plain;

impl Scope for Plain {
    fn take(&mut self, _: &Names<'_>, term: &Term) -> Result<Option<Typed>> {
        match &term.kind {
            TermKind::Aggregate(call) => {
                let name = crate::statement::aggregate_name(call.function);
                let message = format!("the aggregate {name} cannot stand here");
                Err(Error::query(QueryErrorKind::Grouping, term.span, message)
                    .advise("HAVING asks about aggregates, WHERE about members"))
            }
            _ => Ok(None),
        }
    }
}

impl Names<'_> {
    /// Binds a value.
    pub(crate) fn value(&self, term: &Term, scope: &mut dyn Scope) -> Result<Typed> {
        self.value_at(term, scope, 0)
    }

    pub(super) fn value_at(&self, term: &Term, scope: &mut dyn Scope, depth: usize) -> Result<Typed> {
        if depth > VALUE_DEPTH_MAX {
            return Err(too_deep(term.span));
        }
        if let Some(typed) = scope.take(self, term)? {
            return Ok(typed);
        }
        let span = term.span;
        match &term.kind {
            TermKind::Column(name) => {
                let column = self.column(name)?;
                Ok(Typed::new(Expr::Column(column.id), column.data_type, span))
            }
            TermKind::Constant(constant) => Ok(self.constant(constant.clone(), span)),
            TermKind::Condition(condition) => {
                Ok(Typed::new(self.truth(condition, scope, depth + 1)?, DataType::Boolean, span))
            }
            TermKind::Array(_) | TermKind::List(_) => {
                let tags = Value::tags(literal::tags_of_array(term)?);
                Ok(self.constant(Constant::Value(tags), span))
            }
            TermKind::Aggregate(_) | TermKind::RowAggregate(_) => {
                Err(type_error(span, "an aggregate cannot stand here"))
            }
            TermKind::Window(_) => Err(type_error(span, "a window function cannot stand here")
                .advise("write it in the select list of a SELECT after FROM, and ask of that")),
            TermKind::Select(_) => Err(Error::unsupported(span, "a SELECT is no value here")
                .advise("it can be compared in WHERE, joined by AND, OR and NOT")),
            TermKind::Call(call, terms) => {
                let mut arguments = Vec::with_capacity(terms.len());
                for term in terms {
                    arguments.push(self.value_at(term, scope, depth + 1)?);
                }
                self.call(call, arguments, span)
            }
        }
    }

    #[inline(never)]
    fn constant(&self, constant: Constant, span: Span) -> Typed {
        let (literal, data_type) = match &constant {
            Constant::Null | Constant::Interval(_) => (Literal::Value(Value::Null), None),
            Constant::Unknown(text) => (Literal::Value(Value::Text(text.clone())), None),
            Constant::Value(value) => (Literal::Value(value.clone()), type_of(value)),
            Constant::Now { offsets, date, is_date } => {
                let zone = self.context.zone.map(|zone| Arc::clone(&zone.name));
                let data_type = match (is_date, date) {
                    (true, _) => DataType::Date,
                    (false, true) => DataType::Timestamp,
                    (false, false) => DataType::TimestampTz,
                };
                let literal = Expr::Literal(Literal::Now { offsets: offsets.clone(), date: *date, zone });
                // A day moved by days is a TIMESTAMP to the engine.
                let expr = if *is_date && !offsets.is_empty() {
                    Expr::call(Function::Cast(DataType::Date), [literal])
                } else {
                    literal
                };
                return Typed { expr, data_type: Some(data_type), constant: Some(constant), span };
            }
        };
        Typed { expr: Expr::Literal(literal), data_type, constant: Some(constant), span }
    }

    /// A value as this type, where it is a text without one.
    pub(crate) fn as_type(&self, typed: Typed, data_type: DataType) -> Result<Typed> {
        let Some(Constant::Unknown(text)) = &typed.constant else { return Ok(typed) };
        if data_type == DataType::Text {
            return Ok(Typed { data_type: Some(DataType::Text), ..typed });
        }
        let constant = literal::typed(text, data_type, self.context.zone, typed.span)?;
        Ok(self.constant(constant, typed.span))
    }

    /// Two values that can be compared, as what they are compared.
    pub(crate) fn comparable(&self, a: Typed, b: Typed) -> Result<(Expr, Expr)> {
        let (a_type, b_type) = (a.data_type, b.data_type);
        let a = match b_type {
            Some(data_type) => self.as_type(a, data_type)?,
            None => a,
        };
        let b = match a_type {
            Some(data_type) => self.as_type(b, data_type)?,
            None => b,
        };
        let (Some(a_type), Some(b_type)) = (a.data_type, b.data_type) else { return Ok((a.expr, b.expr)) };
        let span = a.span.to(b.span);
        if a_type.is_number() && b_type.is_number() {
            // PostgreSQL compares a DOUBLE PRECISION with the double nearest to a literal.
            let a_expr = if b_type == DataType::Double { nearest_double(&a) } else { a.expr };
            let b_expr = if a_type == DataType::Double { nearest_double(&b) } else { b.expr };
            return Ok((a_expr, b_expr));
        }
        if a_type.is_time() && b_type.is_time() {
            let instant = |typed: Typed, other: DataType| match (typed.data_type, other) {
                (Some(DataType::Date | DataType::Timestamp), DataType::TimestampTz) => {
                    self.at_zone(typed.expr)
                }
                _ => typed.expr,
            };
            return Ok((instant(a, b_type), instant(b, a_type)));
        }
        let same = a_type == b_type && a_type != DataType::TextArray;
        if !same {
            let message = format!("{} cannot be compared with {}", a.describe(), b.describe());
            let error = type_error(span, message);
            return Err(if a_type == DataType::TextArray || b_type == DataType::TextArray {
                error.advise(super::TAGS_ADVICE)
            } else {
                error.advise("CAST(value AS type) turns one into the other's type")
            });
        }
        Ok((a.expr, b.expr))
    }

    /// A local time as an instant of the session's zone, or the reverse.
    fn at_zone(&self, expr: Expr) -> Expr {
        let zone = self.context.zone.map_or("UTC", |zone| &*zone.name).to_owned();
        Expr::call(Function::AtZone(zone), [expr])
    }

    /// A date or time as the local time that its fields are of.
    pub(super) fn local(&self, typed: Typed) -> Result<Expr> {
        match typed.data_type {
            Some(DataType::TimestampTz) => Ok(self.at_zone(typed.expr)),
            Some(DataType::Date | DataType::Timestamp) => Ok(typed.expr),
            None if typed.is_null() => Ok(typed.expr),
            _ => Err(type_error(typed.span, format!("expected a date or time, found {}", typed.describe()))
                .advise("write DATE '2026-01-31' or TIMESTAMP '2026-01-31 12:00:00'")),
        }
    }

    /// An instant cut to a unit of the session's zone, or a local time.
    pub(super) fn truncated(&self, function: Function, typed: Typed) -> Result<Typed> {
        let span = typed.span;
        let zoned = typed.data_type == Some(DataType::TimestampTz);
        let cut = Expr::call(function, [self.local(typed)?]);
        Ok(if zoned {
            Typed::new(self.at_zone(cut), DataType::TimestampTz, span)
        } else {
            Typed::new(cut, DataType::Timestamp, span)
        })
    }

    #[inline(never)]
    fn call(&self, call: &Call, arguments: Vec<Typed>, span: Span) -> Result<Typed> {
        match (call, <[Typed; 2]>::try_from(arguments)) {
            (Call::Operator(operator), Ok([a, b])) => self.operator(*operator, a, b, span),
            (Call::Zone, Ok([value, zone])) => {
                let known = zone.text().filter(|name| time::zone_named(name).is_some());
                let Some(name) = known else {
                    return Err(type_error(zone.span, "expected the name of a time zone")
                        .advise("write AT TIME ZONE 'Asia/Shanghai'"));
                };
                let to = match value.data_type {
                    Some(DataType::TimestampTz) => DataType::Timestamp,
                    Some(DataType::Timestamp | DataType::Date) => DataType::TimestampTz,
                    _ => return self.local(value).map(|expr| Typed::new(expr, DataType::Timestamp, span)),
                };
                Ok(Typed::new(Expr::call(Function::AtZone(name.to_owned()), [value.expr]), to, span))
            }
            (Call::Extract, Ok([field, of])) => function::extract(self, field, of, span),
            (Call::Function(name), Ok(pair)) => function::call(self, name, pair.into(), span),
            (Call::Function(name), Err(arguments)) => function::call(self, name, arguments, span),
            (Call::Case, Ok(pair)) => self.case(pair.into(), span),
            (Call::Case, Err(branches)) => self.case(branches, span),
            (Call::Negate, Err(mut arguments)) => {
                let Some(argument) = arguments.pop() else {
                    return Err(type_error(span, "expected a value"));
                };
                let data_type = self.number(&argument)?;
                Ok(Typed::new(Expr::call(Function::Negate, [argument.expr]), wide(data_type), span))
            }
            (Call::Cast(data_type), Err(mut arguments)) => {
                let Some(argument) = arguments.pop() else {
                    return Err(type_error(span, "expected a value"));
                };
                self.cast(argument, *data_type, span)
            }
            _ => Err(type_error(span, "this cannot be computed")),
        }
    }

    pub(super) fn cast(&self, argument: Typed, to: DataType, span: Span) -> Result<Typed> {
        // A text without a zone is read in the session's, a number with all its digits, to be rounded.
        let argument = match (&argument.constant, to) {
            (Some(Constant::Unknown(_)), DataType::TimestampTz | DataType::Decimal { .. }) => {
                self.as_type(argument, to)?
            }
            _ => argument,
        };
        let from = argument.known_type();
        let text = |data_type: DataType| data_type == DataType::Text;
        let allowed = from == to
            || text(from)
            || text(to)
            || (from.is_number() && to.is_number())
            || (from.is_time() && to.is_time())
            || (from == DataType::Boolean && to.is_integer())
            || (from.is_integer() && to == DataType::Boolean);
        if !allowed {
            return Err(type_error(span, format!("{} cannot be cast to {to}", argument.describe())));
        }
        let expr = match (from, to) {
            (DataType::TimestampTz, DataType::Date | DataType::Timestamp)
            | (DataType::Date | DataType::Timestamp, DataType::TimestampTz) => self.at_zone(argument.expr),
            _ => argument.expr,
        };
        Ok(Typed::new(Expr::call(Function::Cast(to), [expr]), to, span))
    }

    /// A constant that was left to be computed, as it is beside a column: an index then answers.
    pub(super) fn folded<'t>(&self, term: &'t Term) -> Result<Cow<'t, Term>> {
        if !matches!(term.kind, TermKind::Call(..)) || !is_fixed(term) {
            return Ok(Cow::Borrowed(term));
        }
        let typed = self.value(term, &mut Plain)?;
        let compiled = Compiled::new(&typed.expr, 0)
            .map_err(|error| Error::query(QueryErrorKind::Value, term.span, error.to_string()))?;
        let (Some(value), Some(_)) = (compiled.constant(), typed.data_type) else {
            return Ok(Cow::Borrowed(term));
        };
        let constant = if *value == Value::Null { Constant::Null } else { Constant::Value(value.clone()) };
        Ok(Cow::Owned(Term { kind: TermKind::Constant(constant), span: term.span }))
    }

    /// The type of a number; anything else is refused.
    pub(super) fn number(&self, typed: &Typed) -> Result<DataType> {
        match typed.data_type {
            Some(data_type) if data_type.is_number() => Ok(data_type),
            None if typed.is_null() => Ok(DataType::BigInt),
            _ => Err(type_error(typed.span, format!("expected a number, found {}", typed.describe()))),
        }
    }

    pub(crate) fn operator(&self, operator: Operator, a: Typed, b: Typed, span: Span) -> Result<Typed> {
        let tags = |typed: &Typed| typed.data_type == Some(DataType::TextArray);
        if operator == Operator::Concat && (tags(&a) || tags(&b)) {
            let sides = [self.tags_or_tag(a)?, self.tags_or_tag(b)?];
            return Ok(Typed::new(Expr::call(Function::AddTags, sides), DataType::TextArray, span));
        }
        if operator == Operator::Concat {
            return Ok(Typed::new(Expr::call(Function::Concat, [a.expr, b.expr]), DataType::Text, span));
        }
        if let (Operator::Plus | Operator::Minus, Some(interval)) = (operator, b.interval()) {
            let interval = if operator == Operator::Minus { negated(interval, span)? } else { interval };
            return self.moved(a, interval, span);
        }
        if let (Operator::Plus, Some(interval)) = (operator, a.interval()) {
            return self.moved(b, interval, span);
        }
        let function = operator.function();
        let whole = |typed: &Typed| typed.data_type.is_some_and(DataType::is_integer);
        let date = |typed: &Typed| typed.data_type == Some(DataType::Date);
        let of_dates = match operator {
            Operator::Plus if (date(&a) && whole(&b)) || (whole(&a) && date(&b)) => Some(DataType::Date),
            Operator::Minus if date(&a) && whole(&b) => Some(DataType::Date),
            Operator::Minus if date(&a) && date(&b) => Some(DataType::BigInt),
            _ => None,
        };
        if let Some(data_type) = of_dates {
            return Ok(Typed::new(Expr::call(function, [a.expr, b.expr]), data_type, span));
        }
        if a.data_type.is_some_and(DataType::is_time) || b.data_type.is_some_and(DataType::is_time) {
            let message = format!("{} {} {} is not computed", a.describe(), operator.symbol(), b.describe());
            return Err(Error::unsupported(span, message).advise(
                "days between: a::date - b::date; seconds: extract(epoch FROM a) - extract(epoch FROM b)",
            ));
        }
        let a = match b.data_type {
            Some(to) => self.as_type(a, to)?,
            None => a,
        };
        let b = match a.data_type {
            Some(to) => self.as_type(b, to)?,
            None => b,
        };
        let (x, y) = (self.number(&a)?, self.number(&b)?);
        if operator == Operator::Modulo && (x == DataType::Double || y == DataType::Double) {
            return Err(no_remainder(span));
        }
        let data_type = match (wide(x), wide(y)) {
            (DataType::Double, _) | (_, DataType::Double) => DataType::Double,
            (DataType::BigInt, DataType::BigInt) => DataType::BigInt,
            _ if operator == Operator::Divide => DataType::Double,
            (x, y) if operator == Operator::Multiply => decimal(scale(x).saturating_add(scale(y))),
            (x, y) => decimal(scale(x).max(scale(y))),
        };
        Ok(Typed::new(Expr::call(function, [a.expr, b.expr]), data_type, span))
    }

    /// A side of `tags || …`: tags, or a text that is one. A text in quotes is an array where it begins like one.
    fn tags_or_tag(&self, typed: Typed) -> Result<Expr> {
        match &typed.constant {
            Some(Constant::Unknown(text)) if text.starts_with('{') => self.tags(typed),
            _ if typed.data_type == Some(DataType::TextArray) => Ok(typed.expr),
            _ => self.tag(typed),
        }
    }

    /// A value that is a set of tags.
    pub(super) fn tags(&self, typed: Typed) -> Result<Expr> {
        let typed = self.as_type(typed, DataType::TextArray)?;
        match typed.data_type {
            Some(DataType::TextArray) => Ok(typed.expr),
            None if typed.is_null() => Ok(typed.expr),
            _ => Err(type_error(typed.span, format!("expected a TEXT[], found {}", typed.describe()))
                .advise("write ARRAY['a', 'b']")),
        }
    }

    /// A value that is one tag.
    pub(super) fn tag(&self, typed: Typed) -> Result<Expr> {
        let typed = self.as_type(typed, DataType::Text)?;
        match typed.data_type {
            Some(DataType::Text) => Ok(typed.expr),
            None if typed.is_null() => Ok(typed.expr),
            _ => Err(type_error(typed.span, format!("a tag is a text, not {}", typed.describe()))
                .advise("CAST(value AS TEXT) makes one")),
        }
    }

    fn moved(&self, time: Typed, interval: Interval, span: Span) -> Result<Typed> {
        let data_type = match time.data_type {
            Some(DataType::TimestampTz) => {
                // Days and months are the calendar's of the session's zone.
                if self.context.zone.is_some() && (interval.months != 0 || interval.days != 0) {
                    let local = self.at_zone(time.expr);
                    let calendar = Interval { micros: 0, ..interval };
                    let moved = self.at_zone(Expr::call(Function::AddInterval(calendar), [local]));
                    let hours = Interval { months: 0, days: 0, ..interval };
                    let moved = if hours.micros == 0 {
                        moved
                    } else {
                        Expr::call(Function::AddInterval(hours), [moved])
                    };
                    return Ok(Typed::new(moved, DataType::TimestampTz, span));
                }
                DataType::TimestampTz
            }
            Some(DataType::Date | DataType::Timestamp) => DataType::Timestamp,
            _ => {
                let message = format!("an INTERVAL cannot be added to {}", time.describe());
                return Err(
                    type_error(span, message).advise("write DATE '…' or TIMESTAMP '…' before the text")
                );
            }
        };
        Ok(Typed::new(Expr::call(Function::AddInterval(interval), [time.expr]), data_type, span))
    }

    fn case(&self, branches: Vec<Typed>, span: Span) -> Result<Typed> {
        let last = branches.len() - 1;
        let is_value = |at: usize| at % 2 == 1 || (at == last && branches.len() % 2 == 1);
        let values = branches.iter().enumerate().filter(|(at, _)| is_value(*at)).map(|(_, typed)| typed);
        let data_type = self.common_type(values, span)?;
        let mut arguments = Vec::with_capacity(branches.len());
        for (at, branch) in branches.iter().enumerate() {
            let branch = branch.clone();
            arguments.push(if is_value(at) { self.brought_to(branch, data_type)? } else { branch.expr });
        }
        Ok(Typed::new(Expr::call(Function::Case, arguments), data_type, span))
    }

    /// A value as the common type of several, so that equal values of several types are one value: one group, one
    /// type in a file.
    pub(super) fn brought_to(&self, typed: Typed, common: DataType) -> Result<Expr> {
        let typed = self.as_type(typed, common)?;
        let already = match (typed.data_type, common) {
            (None, _) => true,
            (Some(from), DataType::Double) => from == DataType::Double,
            (Some(from), DataType::Decimal { scale, .. }) => {
                matches!(from, DataType::Decimal { scale: known, .. } if known == scale)
            }
            _ => true,
        };
        Ok(if already { typed.expr } else { Expr::call(Function::Cast(common), [typed.expr]) })
    }

    /// The type that all values have or become.
    pub(super) fn common_type<'t>(
        &self,
        values: impl Iterator<Item = &'t Typed>,
        span: Span,
    ) -> Result<DataType> {
        let mut common: Option<DataType> = None;
        for value in values {
            let Some(data_type) = value.data_type else { continue };
            common = Some(match common {
                None => data_type,
                Some(known) if known == data_type => known,
                Some(known) if known.is_number() && data_type.is_number() => {
                    match (wide(known), wide(data_type)) {
                        (DataType::Double, _) | (_, DataType::Double) => DataType::Double,
                        (DataType::BigInt, DataType::BigInt) => DataType::BigInt,
                        (a, b) => decimal(scale(a).max(scale(b))),
                    }
                }
                Some(known) => {
                    let message = format!("one value is {known}, another {data_type}");
                    return Err(
                        type_error(span, message).advise("CAST(value AS type) gives all of them one type")
                    );
                }
            });
        }
        Ok(common.unwrap_or(DataType::Text))
    }
}

/// True of a value without columns whose constants the clock does not complete.
fn is_fixed(term: &Term) -> bool {
    match &term.kind {
        TermKind::Constant(constant) => !matches!(constant, Constant::Now { .. }),
        TermKind::Call(Call::Operator(_) | Call::Cast(_) | Call::Negate, arguments) => {
            arguments.iter().all(is_fixed)
        }
        _ => false,
    }
}

fn too_deep(span: Span) -> Error {
    let message = format!("a value is nested more than {VALUE_DEPTH_MAX} levels deep");
    Error::query(QueryErrorKind::Limit, span, message)
        .advise("compute the constant before it goes into the statement")
}

/// PostgreSQL has no remainder of doubles either.
pub(super) fn no_remainder(span: Span) -> Error {
    type_error(span, "a DOUBLE PRECISION has no remainder").advise("CAST(value AS DECIMAL(18,6)) has one")
}

fn negated(interval: Interval, span: Span) -> Result<Interval> {
    interval
        .checked_neg()
        .ok_or_else(|| Error::query(QueryErrorKind::Value, span, "the result is out of range"))
}

/// The double nearest to a constant number; any other value as it is.
fn nearest_double(typed: &Typed) -> Expr {
    match &typed.constant {
        Some(Constant::Value(value)) if is_number(value) => Expr::value(Value::Double(as_double(value))),
        _ => typed.expr.clone(),
    }
}

/// The type of a constant.
fn type_of(value: &Value) -> Option<DataType> {
    Some(match value {
        Value::Null => return None,
        Value::Boolean(_) => DataType::Boolean,
        Value::Integer(_) => DataType::BigInt,
        Value::Decimal { scale, .. } => decimal(*scale),
        Value::Double(_) => DataType::Double,
        Value::Text(_) => DataType::Text,
        Value::Date(_) => DataType::Date,
        Value::Timestamp(_) => DataType::Timestamp,
        Value::TimestampTz(_) => DataType::TimestampTz,
        Value::Tags(_) => DataType::TextArray,
    })
}

/// The type of computed decimals.
pub(super) fn decimal(scale: u8) -> DataType {
    DataType::Decimal { precision: 38, scale }
}

/// The type in which numbers of a type are computed.
pub(super) fn wide(data_type: DataType) -> DataType {
    match data_type {
        DataType::Decimal { scale, .. } => decimal(scale),
        DataType::Double => DataType::Double,
        _ => DataType::BigInt,
    }
}

pub(super) fn scale(data_type: DataType) -> u8 {
    if let DataType::Decimal { scale, .. } = data_type { scale } else { 0 }
}
