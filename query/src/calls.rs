//! What is called by name: functions, aggregates with their FILTER; CASE and EXTRACT, which have a grammar of their own.

use crate::condition::{Node, call_node, condition, condition_node, constant_node, now, value};
use crate::cursor::Cursor;
use crate::error::{Error, Result, Span};
use crate::grammar;
use crate::statement::{
    AggregateCall, Call, Condition, Constant, Key, Name, Over, OverBound, OverFrame, RowCall, RowCallName,
    Term, TermKind, WindowTerm, Windowed, aggregate_named,
};
use muster_engine::exec::FoldFunction;
use muster_engine::predicate::{CompareOp, FrameUnit};
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
    if let Some(name) = RowCallName::named(&name) {
        let mut arguments = arguments(cursor)?;
        let mut descending = false;
        if cursor.eat_keywords(&[Keyword::WITHIN, Keyword::GROUP]) {
            let (value, is_descending) = within_group(cursor, name, start)?;
            arguments.insert(0, value);
            descending = is_descending;
        }
        let filter = filter(cursor)?;
        let span = start.to(cursor.last_span());
        let call = RowCall { name, arguments, descending, filter };
        return Ok(Node::Term(Term { kind: TermKind::RowAggregate(Box::new(call)), span }));
    }
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
            if over_follows(cursor) {
                return windowed(cursor, Windowed::Function(name, arguments), start);
            }
            Ok(call_node(Call::Function(name), arguments, start.to(cursor.last_span())))
        }
    }
}

/// `(ORDER BY x [DESC])` after WITHIN GROUP: the value, and true where it descends.
fn within_group(cursor: &mut Cursor, name: RowCallName, start: Span) -> Result<(Term, bool)> {
    use RowCallName::{Mode, QuantileCont, QuantileDisc};
    if !matches!(name, Mode | QuantileCont | QuantileDisc) {
        let message = format!("{} has no order within its group", name.text());
        return Err(Error::unsupported(start, message)
            .advise("WITHIN GROUP follows percentile_cont(0.5), percentile_disc(0.5) and mode()"));
    }
    cursor.expect(&Token::LParen)?;
    cursor.expect_keyword(Keyword::ORDER)?;
    cursor.expect_keyword(Keyword::BY)?;
    let order = grammar::order(cursor)?;
    cursor.expect(&Token::RParen)?;
    match order.key {
        Key::Term(term) => Ok((term, order.descending)),
        Key::Position(_, span) => Err(Error::syntax(span, "WITHIN GROUP orders by a value, not a position")),
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
    if distinct && function == FoldFunction::Count && *cursor.peek() == Token::Comma {
        return count_distinct(cursor, argument, start);
    }
    if *cursor.peek() != Token::RParen {
        return Err(cursor.expected("')'").advise(format!("{name} takes one value")));
    }
    cursor.take();
    let filter = filter(cursor)?;
    let call = AggregateCall { function, argument, distinct, filter };
    if over_follows(cursor) {
        return windowed(cursor, Windowed::Aggregate(Box::new(call)), start);
    }
    let span = start.to(cursor.last_span());
    Ok(Node::Term(Term { kind: TermKind::Aggregate(Box::new(call)), span }))
}

/// `count(DISTINCT a, b)`, from the first comma on.
fn count_distinct(cursor: &mut Cursor, first: Option<Term>, start: Span) -> Result<Node> {
    cursor.take();
    let arguments = first.into_iter().chain(arguments(cursor)?).collect();
    let filter = filter(cursor)?;
    let span = start.to(cursor.last_span());
    let call = RowCall { name: RowCallName::CountDistinct, arguments, descending: false, filter };
    Ok(Node::Term(Term { kind: TermKind::RowAggregate(Box::new(call)), span }))
}

/// `FILTER (WHERE …)`
fn filter(cursor: &mut Cursor) -> Result<Option<Condition>> {
    if cursor.keyword() != Keyword::FILTER || *cursor.peek_nth(1) != Token::LParen {
        return Ok(None);
    }
    cursor.take();
    cursor.take();
    // DuckDB leaves the word out.
    cursor.eat_keyword(Keyword::WHERE);
    let filter = condition(cursor)?;
    cursor.expect(&Token::RParen)?;
    Ok(Some(filter))
}

fn over_follows(cursor: &Cursor) -> bool {
    cursor.keyword() == Keyword::OVER && matches!(cursor.peek_nth(1), Token::LParen | Token::Word(_))
}

/// After a call: `OVER (…)`, `OVER name`
fn windowed(cursor: &mut Cursor, call: Windowed, start: Span) -> Result<Node> {
    cursor.take();
    let over = if *cursor.peek() == Token::LParen {
        over(cursor)?
    } else {
        Over { named: Some(cursor.name("the name of a window")?), ..Over::default() }
    };
    let span = start.to(cursor.last_span());
    Ok(Node::Term(Term { kind: TermKind::Window(Box::new(WindowTerm { call, over })), span }))
}

/// `([name] [PARTITION BY …] [ORDER BY …] [ROWS …])`
pub(crate) fn over(cursor: &mut Cursor) -> Result<Over> {
    cursor.expect(&Token::LParen)?;
    let mut over = Over::default();
    use Keyword::{GROUPS, ORDER, PARTITION, RANGE, ROWS};
    let starts = matches!(cursor.keyword(), PARTITION | ORDER | ROWS | RANGE | GROUPS);
    if matches!(cursor.peek(), Token::Word(_)) && !starts {
        over.named = Some(cursor.name("the name of a window, PARTITION BY or ORDER BY")?);
    }
    if cursor.eat_keywords(&[Keyword::PARTITION, Keyword::BY]) {
        over.partition = grammar::list(cursor, value)?;
    }
    if cursor.eat_keywords(&[Keyword::ORDER, Keyword::BY]) {
        over.order = grammar::list(cursor, grammar::order)?;
    }
    over.frame = frame(cursor)?;
    cursor.expect(&Token::RParen)?;
    Ok(over)
}

/// `ROWS BETWEEN 2 PRECEDING AND CURRENT ROW`, `RANGE INTERVAL '7 days' PRECEDING`
fn frame(cursor: &mut Cursor) -> Result<Option<OverFrame>> {
    let unit = match cursor.keyword() {
        Keyword::ROWS => FrameUnit::Rows,
        Keyword::GROUPS => FrameUnit::Groups,
        Keyword::RANGE => FrameUnit::Range,
        _ => return Ok(None),
    };
    let start = cursor.span();
    cursor.take();
    let (first, last) = if cursor.eat_keyword(Keyword::BETWEEN) {
        let first = bound(cursor)?;
        cursor.expect_keyword(Keyword::AND)?;
        (first, bound(cursor)?)
    } else {
        (bound(cursor)?, OverBound::Current)
    };
    let span = start.to(cursor.last_span());
    if cursor.keyword() == Keyword::EXCLUDE {
        return Err(Error::unsupported(cursor.span(), "EXCLUDE is not supported in a frame"));
    }
    Ok(Some(OverFrame { unit, start: first, end: last, span }))
}

/// An end of a frame: `UNBOUNDED PRECEDING`, `3 FOLLOWING`, `CURRENT ROW`
fn bound(cursor: &mut Cursor) -> Result<OverBound> {
    if cursor.eat_keyword(Keyword::CURRENT) {
        cursor.expect_keyword(Keyword::ROW)?;
        return Ok(OverBound::Current);
    }
    let offset =
        if cursor.eat_keyword(Keyword::UNBOUNDED) { None } else { Some(crate::condition::term(cursor)?) };
    let is_before = cursor.eat_keyword(Keyword::PRECEDING);
    if !is_before && !cursor.eat_keyword(Keyword::FOLLOWING) {
        return Err(cursor
            .expected("PRECEDING or FOLLOWING")
            .advise("write ROWS BETWEEN 2 PRECEDING AND CURRENT ROW"));
    }
    Ok(match (offset, is_before) {
        (None, true) => OverBound::First,
        (None, false) => OverBound::Last,
        (Some(offset), true) => OverBound::Before(offset),
        (Some(offset), false) => OverBound::After(offset),
    })
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
