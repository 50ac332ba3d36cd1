//! Conditions and terms: sqlparser's expressions to ours, chains made flat, constants folded.

use crate::constant::{self, Operator};
use crate::ddl;
use crate::dialect::{TAKEN_LIST, span_of};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::interval;
use crate::lower::column;
use crate::statement::{Condition, Constant, Is, SetOp, Term, TermKind};
use muster_engine::predicate::{CompareOp, Interval};
use muster_engine::value::Value;
use sqlparser::ast::{self, BinaryOperator, Expr, Spanned, UnaryOperator};

/// What a condition may be, for messages.
const CONDITIONS: &str =
    "a condition compares a column with a constant: =, <>, <, <=, >, >=, BETWEEN, IN, IS NULL, = ANY, @>, &&";

/// The state of one statement's lowering.
pub(crate) struct Lowering<'a> {
    lists: Vec<Vec<Term>>,
    sql: &'a str,
}

impl<'a> Lowering<'a> {
    /// `lists` are the long IN lists, by the number of their placeholder.
    pub(crate) fn new(lists: Vec<Vec<Term>>, sql: &'a str) -> Lowering<'a> {
        Lowering { lists, sql }
    }

    /// Lowers a condition. `within` is the span to blame where sqlparser knows none.
    pub(crate) fn condition(&mut self, expr: Expr, within: Span) -> Result<Condition> {
        // Only the parts that are no chain recurse, and their depth was limited with the tokens'.
        match expr {
            Expr::BinaryOp { op: BinaryOperator::And, .. } => {
                Ok(Condition::And(self.chain(expr, &BinaryOperator::And, within)?))
            }
            Expr::BinaryOp { op: BinaryOperator::Or, .. } => {
                Ok(Condition::Or(self.chain(expr, &BinaryOperator::Or, within)?))
            }
            Expr::Nested(inner) => self.condition(*inner, within),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => Ok(not(self.condition(*expr, within)?)),
            Expr::BinaryOp { left, op, right } => self.binary(*left, op, *right, within),
            Expr::Between { expr, negated, low, high } => {
                let term = self.term(*expr, within)?;
                let (low, high) = (self.term(*low, within)?, self.term(*high, within)?);
                let between = Condition::And(vec![
                    Condition::Compare { left: term.clone(), op: CompareOp::Ge, right: low },
                    Condition::Compare { left: term, op: CompareOp::Le, right: high },
                ]);
                Ok(if negated { not(between) } else { between })
            }
            Expr::InList { expr, list, negated } => {
                let left = self.term(*expr, within)?;
                let list = match taken_list(&list) {
                    Some(number) => self.lists.get_mut(number).map(std::mem::take).unwrap_or_default(),
                    None => {
                        list.into_iter().map(|item| self.term(item, left.span)).collect::<Result<Vec<_>>>()?
                    }
                };
                let found = Condition::In { left, list };
                Ok(if negated { not(found) } else { found })
            }
            Expr::IsNull(expr) => self.is(*expr, Is::Null, false, within),
            Expr::IsNotNull(expr) => self.is(*expr, Is::Null, true, within),
            Expr::IsTrue(expr) => self.is(*expr, Is::True, false, within),
            Expr::IsNotTrue(expr) => self.is(*expr, Is::True, true, within),
            Expr::IsFalse(expr) => self.is(*expr, Is::False, false, within),
            Expr::IsNotFalse(expr) => self.is(*expr, Is::False, true, within),
            Expr::IsUnknown(expr) => self.is(*expr, Is::Unknown, false, within),
            Expr::IsNotUnknown(expr) => self.is(*expr, Is::Unknown, true, within),
            Expr::AnyOp { left, compare_op, right, is_some: _ } => {
                self.quantified(*left, compare_op, false, *right, within)
            }
            Expr::AllOp { left, compare_op, right } => {
                self.quantified(*left, compare_op, true, *right, within)
            }
            other => self.term(other, within).map(Condition::Term),
        }
    }

    /// The terms of `a op b op c …`, which sqlparser nests to the left, in order.
    fn chain(&mut self, expr: Expr, operator: &BinaryOperator, within: Span) -> Result<Vec<Condition>> {
        let mut terms = Vec::new();
        let mut rest = expr;
        let first = loop {
            match rest {
                Expr::BinaryOp { left, op, right } if op == *operator => {
                    terms.push(*right);
                    rest = *left;
                }
                first => break first,
            }
        };
        terms.push(first);
        terms.into_iter().rev().map(|term| self.condition(term, within)).collect()
    }

    fn binary(&mut self, left: Expr, op: BinaryOperator, right: Expr, within: Span) -> Result<Condition> {
        let set = match op {
            BinaryOperator::AtArrow => Some(SetOp::Contains),
            BinaryOperator::ArrowAt => Some(SetOp::ContainedBy),
            BinaryOperator::PGOverlap => Some(SetOp::Overlaps),
            _ => None,
        };
        let compare = compare_op(&op);
        if set.is_none() && compare.is_none() {
            // Arithmetic is a constant, and refused as a condition by the binder; the rest is refused here.
            let whole = Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) };
            return self.term(whole, within).map(Condition::Term);
        }
        let (left, right) = (self.term(left, within)?, self.term(right, within)?);
        Ok(match (set, compare) {
            (Some(op), _) => Condition::Sets { left, op, right },
            (_, Some(op)) => Condition::Compare { left, op, right },
            _ => unreachable!("one of them was found above"),
        })
    }

    fn quantified(
        &mut self,
        left: Expr,
        op: BinaryOperator,
        all: bool,
        right: Expr,
        within: Span,
    ) -> Result<Condition> {
        let left = self.term(left, within)?;
        let right = self.term(right, left.span)?;
        match compare_op(&op) {
            Some(op) => Ok(Condition::Quantified { left, op, all, right }),
            None => Err(Error::unsupported(left.span.to(right.span), format!("{op} ANY is not supported"))
                .advise(CONDITIONS)),
        }
    }

    fn is(&mut self, expr: Expr, what: Is, negated: bool, within: Span) -> Result<Condition> {
        let span = span_of(expr.span()).unwrap_or(within);
        let inner = self.condition(expr, within)?;
        let Condition::Term(term) = inner else {
            return Err(Error::unsupported(span, "IS asks about a column here, not about a condition")
                .advise("write column IS NULL"));
        };
        let is = Condition::Is { term, what };
        Ok(if negated { not(is) } else { is })
    }

    /// Lowers a column, a constant or an array of constants; folds arithmetic.
    pub(crate) fn term(&mut self, expr: Expr, within: Span) -> Result<Term> {
        let span = span_of(expr.span()).unwrap_or(within);
        let constant = match expr {
            Expr::Nested(inner) => return self.term(*inner, within),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                return Ok(Term { kind: TermKind::Column(column(expr, within)?), span });
            }
            Expr::Value(value) => literal(value.value, span)?,
            Expr::TypedString(typed) => {
                let data_type = ddl::data_type(&typed.data_type, span)?;
                let text = match typed.value.value {
                    ast::Value::SingleQuotedString(text) => text,
                    _ => return Err(Error::syntax(span, "expected a text in single quotes")),
                };
                constant::typed(&text, data_type, span)?
            }
            Expr::Interval(interval) => self.interval(interval, span)?,
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
                let operand = self.constant(*expr, span)?;
                return Ok(Term {
                    kind: TermKind::Constant(constant::negate(operand, span)?),
                    span: self.with_sign(span),
                });
            }
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => self.constant(*expr, span)?,
            Expr::BinaryOp { .. } => self.arithmetic(expr, span)?,
            Expr::Cast {
                kind: ast::CastKind::Cast | ast::CastKind::DoubleColon,
                expr,
                data_type,
                array: false,
                format: None,
            } => {
                let data_type = ddl::data_type(&data_type, span)?;
                let inner = self.term(*expr, span)?;
                match inner.kind {
                    TermKind::Constant(constant) => constant::cast(constant, data_type, span)?,
                    TermKind::Array(_) if data_type == muster_engine::DataType::TextArray => {
                        return Ok(inner);
                    }
                    _ => {
                        return Err(Error::unsupported(span, "a cast of a column is not supported")
                            .advise("compare the column as it is; texts are read as the column's type"));
                    }
                }
            }
            Expr::Array(array) => {
                let items =
                    array.elem.into_iter().map(|item| self.term(item, span)).collect::<Result<Vec<_>>>()?;
                let span = items.iter().map(|item| item.span).fold(span, Span::to);
                return Ok(Term { kind: TermKind::Array(items), span });
            }
            Expr::Function(function) => now(&function, span)?,
            other => {
                let text = self.sql.get(span.start..span.end).unwrap_or("");
                let what = if text.is_empty() || text.len() > 60 || span == within {
                    "this expression".to_owned()
                } else {
                    format!("the expression at {text}")
                };
                drop(other);
                return Err(Error::unsupported(span, format!("{what} is not supported")).advise(CONDITIONS));
            }
        };
        Ok(Term { kind: TermKind::Constant(constant), span })
    }

    /// sqlparser's span of `-5` begins at the 5.
    fn with_sign(&self, span: Span) -> Span {
        let before = self.sql.get(..span.start).unwrap_or("").trim_end();
        if before.ends_with('-') { Span { start: before.len() - 1, end: span.end } } else { span }
    }

    fn constant(&mut self, expr: Expr, within: Span) -> Result<Constant> {
        let term = self.term(expr, within)?;
        match term.kind {
            TermKind::Constant(constant) => Ok(constant),
            TermKind::Column(_) => {
                Err(Error::unsupported(term.span, "arithmetic on a column is not supported")
                    .advise("move it to the constant's side: column > 100 - 5 instead of column + 5 > 100"))
            }
            TermKind::Array(_) => {
                Err(Error::query(QueryErrorKind::Type, term.span, "an array is not computed with"))
            }
        }
    }

    /// `a + b - c …`, nested to the left, folded from the left.
    fn arithmetic(&mut self, expr: Expr, within: Span) -> Result<Constant> {
        let mut operations = Vec::new();
        let mut rest = expr;
        let first = loop {
            match rest {
                Expr::BinaryOp { left, op, right } => {
                    let span = span_of(right.span()).unwrap_or(within);
                    let operator = match op {
                        BinaryOperator::Plus => Operator::Plus,
                        BinaryOperator::Minus => Operator::Minus,
                        BinaryOperator::Multiply => Operator::Multiply,
                        BinaryOperator::Divide => Operator::Divide,
                        other => {
                            let whole = span_of(left.span()).map_or(span, |left| left.to(span));
                            return Err(operator_refused(&other, whole));
                        }
                    };
                    operations.push((operator, *right, span));
                    rest = *left;
                }
                first => break first,
            }
        };
        let start = span_of(first.span()).unwrap_or(within);
        let mut folded = self.constant(first, within)?;
        for (operator, right, span) in operations.into_iter().rev() {
            let right = self.constant(right, span)?;
            folded = constant::fold(folded, operator, right, start.to(span))?;
        }
        Ok(folded)
    }

    fn interval(&mut self, parsed: ast::Interval, span: Span) -> Result<Constant> {
        let text = match *parsed.value {
            Expr::Value(ast::ValueWithSpan { value: ast::Value::SingleQuotedString(text), .. }) => text,
            Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), .. }) => digits,
            _ => {
                return Err(Error::syntax(span, "expected a text in single quotes after INTERVAL")
                    .advise("INTERVAL '30 days'"));
            }
        };
        if parsed.last_field.is_some()
            || parsed.leading_precision.is_some()
            || parsed.fractional_seconds_precision.is_some()
        {
            return Err(Error::unsupported(span, "this form of INTERVAL is not supported")
                .advise("INTERVAL '1 month 3 days'"));
        }
        let field = parsed.leading_field.map(|field| field.to_string());
        interval::parse(&text, field.as_deref()).map(Constant::Interval).map_err(|reason| {
            Error::query(QueryErrorKind::Value, span, format!("{text:?} is no INTERVAL: {reason}"))
        })
    }
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}

fn taken_list(list: &[Expr]) -> Option<usize> {
    match list {
        [Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(name), .. })] => {
            name.strip_prefix(TAKEN_LIST)?.parse().ok()
        }
        _ => None,
    }
}

fn compare_op(op: &BinaryOperator) -> Option<CompareOp> {
    Some(match op {
        BinaryOperator::Eq => CompareOp::Eq,
        BinaryOperator::NotEq => CompareOp::Ne,
        BinaryOperator::Lt => CompareOp::Lt,
        BinaryOperator::LtEq => CompareOp::Le,
        BinaryOperator::Gt => CompareOp::Gt,
        BinaryOperator::GtEq => CompareOp::Ge,
        _ => return None,
    })
}

fn operator_refused(op: &BinaryOperator, span: Span) -> Error {
    match op {
        BinaryOperator::And | BinaryOperator::Or => {
            Error::query(QueryErrorKind::Type, span, "expected a value, found a condition")
        }
        op if compare_op(op).is_some() => {
            Error::query(QueryErrorKind::Type, span, "expected a value, found a comparison")
                .advise("put AND or OR between comparisons, and parentheses around NOT")
        }
        op => Error::unsupported(span, format!("the operator {op} is not supported")).advise(CONDITIONS),
    }
}

fn literal(value: ast::Value, span: Span) -> Result<Constant> {
    Ok(match value {
        ast::Value::Number(digits, false) => constant::number(&digits, false, span)?,
        ast::Value::SingleQuotedString(text)
        | ast::Value::EscapedStringLiteral(text)
        | ast::Value::UnicodeStringLiteral(text) => Constant::Unknown(text),
        ast::Value::DollarQuotedString(text) => Constant::Unknown(text.value),
        ast::Value::Boolean(boolean) => Constant::Value(Value::Boolean(boolean)),
        ast::Value::Null => Constant::Null,
        ast::Value::Placeholder(name) => {
            return Err(Error::unsupported(span, format!("the parameter {name} is not supported"))
                .advise("write the value out"));
        }
        _ => {
            return Err(Error::unsupported(span, "this kind of literal is not supported")
                .advise("write 'text' or a number"));
        }
    })
}

/// `now()`, `current_timestamp`, `current_date`: the only functions of a condition.
fn now(function: &ast::Function, span: Span) -> Result<Constant> {
    let name = function.name.to_string().to_lowercase();
    let bare = match &function.args {
        ast::FunctionArguments::None => true,
        ast::FunctionArguments::List(list) => list.args.is_empty() && list.clauses.is_empty(),
        ast::FunctionArguments::Subquery(_) => false,
    };
    let called = !matches!(function.args, ast::FunctionArguments::None);
    match (name.as_str(), bare, called) {
        ("now" | "transaction_timestamp" | "statement_timestamp", true, true)
        | ("current_timestamp", true, false) => {
            Ok(Constant::Now { offsets: Vec::<Interval>::new(), date: false, is_date: false })
        }
        ("current_date", true, false) => Ok(Constant::Now { offsets: Vec::new(), date: true, is_date: true }),
        (name, _, false) => Err(Error::unsupported(span, format!("{name} is a keyword"))
            .advise(format!("write \"{name}\" in double quotes if it is a column"))),
        (name, ..) if crate::statement::Function::named(name).is_some() => Err(Error::query(
            QueryErrorKind::Grouping,
            span,
            format!("the aggregate {name} cannot stand in WHERE"),
        )),
        (name, ..) => Err(Error::unsupported(span, format!("the function {name} is not supported"))
            .advise("the functions of a condition are now(), current_date and current_timestamp")),
    }
}
