//! What is called by name: functions, aggregates with their FILTER; CASE and EXTRACT, which have a grammar of their own.

use crate::condition::{Node, call_node, condition, condition_node, constant_node, now, value};
use crate::cursor::Cursor;
use crate::error::{Error, Result, Span};
use crate::statement::{AggregateCall, Call, Condition, Constant, Name, Term, TermKind, aggregate_named};
use muster_engine::exec::FoldFunction;
use muster_engine::predicate::CompareOp;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

/// `name(…)`: an aggregate, `now()`, `in_audience('name')`, or a function that the binder knows.
pub(crate) fn call(cursor: &mut Cursor, start: Span) -> Result<Node> {
    let Token::Word(word) = cursor.take() else { return Err(cursor.expected("a function")) };
    let name = word.value.to_lowercase();
    if let Some(function) = aggregate_named(&name) {
        return aggregate(cursor, function, &name, start);
    }
    cursor.expect(&Token::LParen)?;
    match name.as_str() {
        "now" | "transaction_timestamp" | "statement_timestamp" => {
            cursor.expect(&Token::RParen)?;
            Ok(constant_node(now(false), start.to(cursor.last_span())))
        }
        "in_audience" => {
            let (text, span) = cursor.text("the audience's name in single quotes")?;
            cursor.expect(&Token::RParen)?;
            let condition = Condition::Audience(Name { text, span });
            Ok(condition_node(condition, start.to(cursor.last_span())))
        }
        _ => {
            let arguments = arguments(cursor)?;
            Ok(call_node(Call::Function(name), arguments, start.to(cursor.last_span())))
        }
    }
}

/// Values up to the closing parenthesis, which is passed. FROM and FOR stand for commas, as in `substring(x FROM 1 FOR 2)`.
fn arguments(cursor: &mut Cursor) -> Result<Vec<Term>> {
    let mut arguments = Vec::new();
    if cursor.eat(&Token::RParen) {
        return Ok(arguments);
    }
    loop {
        arguments.push(value(cursor)?);
        if !(cursor.eat(&Token::Comma)
            || cursor.eat_keyword(Keyword::FROM)
            || cursor.eat_keyword(Keyword::FOR))
        {
            break;
        }
    }
    if *cursor.peek() != Token::RParen {
        return Err(cursor.expected("',' or ')'"));
    }
    cursor.take();
    Ok(arguments)
}

/// `count(*)`, `sum([DISTINCT] x) [FILTER (WHERE …)]`
fn aggregate(cursor: &mut Cursor, function: FoldFunction, name: &str, start: Span) -> Result<Node> {
    cursor.expect(&Token::LParen)?;
    let (mut distinct, mut argument) = (false, None);
    if !(function == FoldFunction::Count && cursor.eat(&Token::Mul)) {
        distinct = cursor.eat_keyword(Keyword::DISTINCT);
        if !distinct {
            cursor.eat_keyword(Keyword::ALL);
        }
        if *cursor.peek() == Token::RParen {
            let what = if function == FoldFunction::Count { "a value or *" } else { "a value" };
            return Err(cursor.expected(what).advise(format!("{name} takes one value")));
        }
        argument = Some(value(cursor)?);
    }
    if *cursor.peek() != Token::RParen {
        return Err(cursor.expected("')'").advise(format!("{name} takes one value")));
    }
    cursor.take();
    let mut filter = None;
    if cursor.keyword() == Keyword::FILTER && *cursor.peek_nth(1) == Token::LParen {
        cursor.take();
        cursor.take();
        // DuckDB leaves the word out.
        cursor.eat_keyword(Keyword::WHERE);
        filter = Some(condition(cursor)?);
        cursor.expect(&Token::RParen)?;
    }
    let span = start.to(cursor.last_span());
    let call = AggregateCall { function, argument, distinct, filter };
    Ok(Node::Term(Term { kind: TermKind::Aggregate(Box::new(call)), span }))
}

/// `CASE WHEN … THEN … [ELSE …] END`, `CASE x WHEN … THEN … END`
pub(crate) fn case(cursor: &mut Cursor, start: Span) -> Result<Node> {
    cursor.expect_keyword(Keyword::CASE)?;
    let of = if cursor.keyword() == Keyword::WHEN { None } else { Some(value(cursor)?) };
    let mut branches = Vec::new();
    while cursor.eat_keyword(Keyword::WHEN) {
        let when = match &of {
            None => condition(cursor)?,
            Some(of) => Condition::Compare { left: of.clone(), op: CompareOp::Eq, right: value(cursor)? },
        };
        let span = start.to(cursor.last_span());
        cursor.expect_keyword(Keyword::THEN)?;
        branches.push(Term { kind: TermKind::Condition(Box::new(when)), span });
        branches.push(value(cursor)?);
    }
    if branches.is_empty() {
        return Err(cursor.expected("WHEN"));
    }
    if cursor.eat_keyword(Keyword::ELSE) {
        branches.push(value(cursor)?);
    }
    cursor.expect_keyword(Keyword::END)?;
    Ok(call_node(Call::Case, branches, start.to(cursor.last_span())))
}

/// `extract(field FROM x)`
pub(crate) fn extract(cursor: &mut Cursor, start: Span) -> Result<Node> {
    cursor.take();
    cursor.expect(&Token::LParen)?;
    let span = cursor.span();
    let field = match cursor.take() {
        Token::Word(word) => word.value.to_lowercase(),
        Token::SingleQuotedString(text) => text.to_lowercase(),
        _ => return Err(Error::syntax(span, "expected a field: year, month, day, hour, …")),
    };
    cursor.expect_keyword(Keyword::FROM)?;
    let of = value(cursor)?;
    cursor.expect(&Token::RParen)?;
    let field = Term { kind: TermKind::Constant(Constant::Unknown(field)), span };
    Ok(call_node(Call::Extract, vec![field, of], start.to(cursor.last_span())))
}
