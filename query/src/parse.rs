//! From a text to one of our statements: picks the grammar by the first word, and the stack by the size.
//!
//! SELECT is parsed by sqlparser and lowered by [`crate::lower`]; the other statements are short and are read from the
//! tokens by [`crate::ddl`] and [`crate::copy`], whose spans are then exact.

use crate::dialect::{self, Prepared, keyword, lower_first, span_of};
use crate::error::{Error, Result, Span};
use crate::statement::{Select, Statement};
use crate::{copy, ddl, lower};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// What can be executed, for messages.
const STATEMENTS: &str = "SELECT, CREATE TABLE, COPY … FROM, SHOW TABLES and DESCRIBE are";

/// The recursion that sqlparser is granted on the caller's stack: about two calls per level of nesting.
const RECURSION_SMALL: usize = 60;
/// The same on a stack of its own, for [`dialect::DEPTH_MAX`] levels.
const RECURSION_LARGE: usize = 2 * dialect::DEPTH_MAX + 100;
/// The stack of that thread. Only touched pages take memory. A chain of 10,000 ORs drops in a few MiB.
const STACK_BYTES_LARGE: usize = 64 << 20;

/// Parses one statement. Cost: a few microseconds per hundred bytes; no more than a thread on top where it is large.
pub(crate) fn parse(sql: &str) -> Result<Statement> {
    let tokens = dialect::tokenize(sql)?;
    let end = Span { start: sql.trim_end().len(), end: sql.len() };
    let Some(first) = tokens.first() else {
        return Err(Error::syntax(None, "the statement is empty").advise("SELECT count(*) FROM a_table"));
    };
    let span = span_of(first.span);
    let read: fn(&mut Parser<'_>, &str) -> Result<Statement> = match keyword(&first.token) {
        Keyword::SELECT | Keyword::WITH => {
            return select(sql, tokens, end).map(|select| Statement::Select(Box::new(select)));
        }
        Keyword::CREATE => ddl::create_table,
        Keyword::COPY => copy::copy_from,
        Keyword::SHOW => ddl::show_tables,
        Keyword::DESCRIBE | Keyword::DESC => ddl::describe,
        Keyword::NoKeyword => {
            let message = format!("expected a statement, found {}", first.token);
            return Err(Error::syntax(span, message).advise(format!("{STATEMENTS} answered")));
        }
        _ => {
            let message = format!("{} is not supported", first.token.to_string().to_uppercase());
            return Err(Error::unsupported(span, message).advise(format!("{STATEMENTS} answered")));
        }
    };
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let statement = read(&mut parser, sql)?;
    expect_end(&mut parser)?;
    Ok(statement)
}

fn select(sql: &str, tokens: Vec<TokenWithSpan>, end: Span) -> Result<Select> {
    let prepared = dialect::prepare(tokens)?;
    if !prepared.large {
        return select_here(sql, prepared, RECURSION_SMALL, end);
    }
    let on_large_stack = || select_here(sql, prepared, RECURSION_LARGE, end);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("muster-parse".into()).stack_size(STACK_BYTES_LARGE);
        match thread.spawn_scoped(scope, on_large_stack) {
            Ok(running) => running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => Err(Error::query(
                crate::error::QueryErrorKind::Limit,
                None,
                format!("the statement needs a thread to be parsed, and none could be started ({error})"),
            )),
        }
    })
}

/// Parses, lowers and drops the tree of sqlparser on the stack it runs on.
fn select_here(sql: &str, prepared: Prepared, recursion: usize, end: Span) -> Result<Select> {
    let dialect = PostgreSqlDialect {};
    let mut parser =
        Parser::new(&dialect).with_recursion_limit(recursion).with_tokens_with_locations(prepared.tokens);
    let query = parser.parse_query().map_err(|error| from_parser(error, sql))?;
    expect_end(&mut parser)?;
    lower::select(*query, prepared.lists, sql, end)
}

fn expect_end(parser: &mut Parser<'_>) -> Result<()> {
    while parser.consume_token(&Token::SemiColon) {}
    let next = parser.peek_token_ref();
    if next.token == Token::EOF {
        return Ok(());
    }
    Err(Error::syntax(span_of(next.span), format!("expected the end of the statement, found {}", next.token)))
}

/// An error of sqlparser as one of ours: its place is a byte, its sentence continues ours.
pub(crate) fn from_parser(error: ParserError, sql: &str) -> Error {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
        ParserError::RecursionLimitExceeded => {
            return Error::query(
                crate::error::QueryErrorKind::Limit,
                None,
                "the statement is nested too deeply",
            )
            .advise(format!("at most {} levels are taken", dialect::DEPTH_MAX));
        }
    };
    let (sentence, at) = match text.rsplit_once(" at Line: 1, Column: ") {
        Some((sentence, column)) => {
            (sentence, column.trim().parse::<usize>().ok().and_then(|c| c.checked_sub(1)))
        }
        None => (text.as_str(), None),
    };
    let span = at.map_or(Span { start: sql.trim_end().len(), end: sql.len() }, |start| word_at(sql, start));
    let message = match sentence.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found: ")) {
        Some((expected, "EOF")) => format!("expected {expected}, found the end of the statement"),
        Some((expected, found)) => format!("expected {expected}, found {found}"),
        None => lower_first(sentence.trim_start_matches("sql parser error: ")),
    };
    Error::syntax(span, message)
}

/// The word or sign that starts at a byte.
fn word_at(sql: &str, start: usize) -> Span {
    let rest = sql.get(start..).unwrap_or("");
    let word = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
    let length = if word > 0 { word } else { rest.chars().next().map_or(0, char::len_utf8) };
    Span { start: start.min(sql.len()), end: start.min(sql.len()) + length }
}

#[cfg(test)]
mod tests;
