//! The shape of a SELECT: its list, its table, and its clauses in their order.
//!
//! Conditions are read by [`crate::condition`]. Keywords of clauses that are not answered have been refused on the
//! tokens ([`crate::refusals`]); what remains is told here by what was expected.

use crate::condition;
use crate::cursor::{Cursor, is_reserved, is_text};
use crate::error::{Error, QueryErrorKind, Result};
use crate::refusals::SELECT_SHAPE;
use crate::statement::{
    AggregateCall, ColumnName, Constant, Function, Item, Key, Name, Order, Output, Select, TermKind,
};
use muster_engine::value::Value;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

/// Reads a SELECT.
pub(crate) fn select(cursor: &mut Cursor) -> Result<Select> {
    cursor.expect_keyword(Keyword::SELECT)?;
    cursor.eat_keyword(Keyword::ALL);
    let items = list(cursor, item)?;
    if *cursor.peek() == Token::EOF || *cursor.peek() == Token::SemiColon {
        return Err(
            Error::syntax(cursor.span(), "expected FROM and a table").advise("SELECT count(*) FROM a_table")
        );
    }
    if cursor.keyword() != Keyword::FROM {
        let error = cursor.expected("',' or FROM");
        return Err(error.advise("a SELECT lists columns, *, and count, sum, avg, min and max of columns"));
    }
    cursor.take();
    let table = cursor.table_name()?;
    let alias = alias(cursor)?;
    if *cursor.peek() == Token::Comma {
        return Err(Error::unsupported(cursor.span(), "a second table is not supported")
            .advise("one statement asks one table"));
    }
    let filter = if cursor.eat_keyword(Keyword::WHERE) { Some(condition::condition(cursor)?) } else { None };
    let group_by =
        if cursor.eat_keywords(&[Keyword::GROUP, Keyword::BY]) { list(cursor, key)? } else { Vec::new() };
    let order_by =
        if cursor.eat_keywords(&[Keyword::ORDER, Keyword::BY]) { list(cursor, order)? } else { Vec::new() };
    let (mut limit, mut offset) = (None, None);
    loop {
        if limit.is_none() && cursor.eat_keyword(Keyword::LIMIT) {
            limit =
                Some(if cursor.eat_keyword(Keyword::ALL) { None } else { whole_number(cursor, "LIMIT")? });
        } else if offset.is_none() && cursor.eat_keyword(Keyword::OFFSET) {
            offset = Some(whole_number(cursor, "OFFSET")?);
            if !cursor.eat_keyword(Keyword::ROWS) {
                cursor.eat_keyword(Keyword::ROW);
            }
        } else {
            break;
        }
    }
    if !matches!(cursor.peek(), Token::EOF | Token::SemiColon) {
        return Err(unexpected(cursor));
    }
    let (limit, offset) = (limit.flatten(), offset.flatten().unwrap_or(0));
    Ok(Select { items, table, alias, filter, group_by, order_by, limit, offset })
}

/// What is ahead is no clause: an operator that no condition has, or something out of place.
fn unexpected(cursor: &Cursor) -> Error {
    match cursor.peek() {
        Token::Word(_) | Token::Number(..) | Token::LParen | Token::RParen | Token::Comma => {
            cursor.expected("the end of the statement").advise(SELECT_SHAPE)
        }
        token if is_text(token) => cursor.expected("the end of the statement").advise(SELECT_SHAPE),
        operator => Error::unsupported(cursor.span(), format!("the operator {operator} is not supported"))
            .advise(condition::CONDITIONS),
    }
}

fn list<T>(cursor: &mut Cursor, one: impl Fn(&mut Cursor) -> Result<T>) -> Result<Vec<T>> {
    let mut list = vec![one(cursor)?];
    while cursor.eat(&Token::Comma) {
        list.push(one(cursor)?);
    }
    Ok(list)
}

/// `[AS] name`
fn alias(cursor: &mut Cursor) -> Result<Option<Name>> {
    if cursor.eat_keyword(Keyword::AS) {
        return cursor.name("a name after AS").map(Some);
    }
    match cursor.peek() {
        Token::Word(word) if !is_reserved(word.keyword) => cursor.name("an alias").map(Some),
        _ => Ok(None),
    }
}

fn item(cursor: &mut Cursor) -> Result<Item> {
    let start = cursor.span();
    if cursor.eat(&Token::Mul) {
        return Ok(Item::Star { qualifier: None, span: start });
    }
    let stars = matches!(cursor.peek(), Token::Word(_))
        && *cursor.peek_nth(1) == Token::Period
        && *cursor.peek_nth(2) == Token::Mul;
    if stars {
        let qualifier = cursor.name("a table name")?;
        cursor.take();
        cursor.take();
        return Ok(Item::Star { qualifier: Some(qualifier), span: start.to(cursor.last_span()) });
    }
    let output = output(cursor, "a column")?;
    let span = start.to(cursor.last_span());
    if !matches!(cursor.peek(), Token::Comma | Token::EOF | Token::SemiColon | Token::Word(_)) {
        let message = "an expression is not supported here";
        return Err(Error::unsupported(cursor.span(), message)
            .advise("name a column, or count, sum, avg, min or max of one"));
    }
    Ok(Item::Output { output, alias: alias(cursor)?, span })
}

/// A column or an aggregate.
fn output(cursor: &mut Cursor, what: &str) -> Result<Output> {
    if !matches!(cursor.peek(), Token::Word(_)) {
        return Err(cursor.expected(what).advise("name a column, or count, sum, avg, min or max of one"));
    }
    if *cursor.peek_nth(1) == Token::LParen {
        return aggregate(cursor).map(Output::Aggregate);
    }
    column(cursor, what).map(Output::Column)
}

/// A column's name, perhaps behind its table's.
pub(crate) fn column(cursor: &mut Cursor, what: &str) -> Result<ColumnName> {
    let first = cursor.name(what)?;
    if !cursor.eat(&Token::Period) {
        return Ok(ColumnName { qualifier: None, name: first });
    }
    let name = cursor.name("a column name")?;
    if *cursor.peek() == Token::Period {
        let error = Error::unsupported(first.span.to(name.span), "schemas and catalogs are not supported");
        return Err(error.advise("write table.column"));
    }
    Ok(ColumnName { qualifier: Some(first), name })
}

fn aggregate(cursor: &mut Cursor) -> Result<AggregateCall> {
    let start = cursor.span();
    let name = cursor.name("a column")?.text;
    let Some(function) = Function::named(&name) else {
        return Err(Error::unsupported(start, format!("the function {name} is not supported"))
            .advise("the functions of a SELECT are count, sum, avg, min and max"));
    };
    cursor.expect(&Token::LParen)?;
    let column = if function == Function::Count && cursor.eat(&Token::Mul) {
        None
    } else if matches!(cursor.peek(), Token::Word(_)) && *cursor.peek_nth(1) != Token::LParen {
        Some(column(cursor, "a column")?)
    } else {
        let what = if function == Function::Count { "a column or *" } else { "a column" };
        return Err(cursor.expected(what).advise(format!("{name} takes one column")));
    };
    if *cursor.peek() != Token::RParen {
        return Err(cursor.expected("')'").advise(format!("{name} takes one column")));
    }
    cursor.take();
    Ok(AggregateCall { function, column, span: start.to(cursor.last_span()) })
}

fn key(cursor: &mut Cursor) -> Result<Key> {
    let span = cursor.span();
    if let Token::Number(digits, _) = cursor.peek() {
        let Ok(position) = digits.parse() else {
            return Err(cursor.expected("a name, or a position from 1"));
        };
        cursor.take();
        return Ok(Key::Position(position, span));
    }
    output(cursor, "a name, or a position from 1").map(Key::Output)
}

fn order(cursor: &mut Cursor) -> Result<Order> {
    let key = key(cursor)?;
    let descending = cursor.eat_keyword(Keyword::DESC);
    if !descending {
        cursor.eat_keyword(Keyword::ASC);
    }
    let span = cursor.span();
    let first = cursor.eat_keywords(&[Keyword::NULLS, Keyword::FIRST]);
    let last = !first && cursor.eat_keywords(&[Keyword::NULLS, Keyword::LAST]);
    // NULLs count as greater than every value: saying so again is allowed, asking for the contrary is not.
    if (first && !descending) || (last && descending) {
        return Err(Error::unsupported(span.to(cursor.last_span()), "this order of NULLs is not supported")
            .advise("NULLs come last in ascending order and first in descending order"));
    }
    Ok(Order { key, descending })
}

/// The constant of LIMIT and OFFSET; NULL is none.
fn whole_number(cursor: &mut Cursor, clause: &str) -> Result<Option<u64>> {
    let term = condition::term(cursor)?;
    let refuse = || {
        let message = format!("expected a whole number from 0 after {clause}");
        Err(Error::query(QueryErrorKind::Value, term.span, message))
    };
    match &term.kind {
        TermKind::Constant(Constant::Null) => Ok(None),
        TermKind::Constant(Constant::Value(Value::Integer(integer))) => {
            u64::try_from(*integer).map(Some).or_else(|_| refuse())
        }
        _ => refuse(),
    }
}
