//! The statements that change rows, as they are written:
//!
//! ```text
//! INSERT INTO table [[AS] alias] [(column, …)] VALUES (value | DEFAULT, …), … | SELECT …
//!   [ON CONFLICT [(key)] DO NOTHING | DO UPDATE SET column = value, …]
//! UPDATE table [[AS] alias] SET column = value | DEFAULT, … [WHERE condition]
//! DELETE FROM table [[AS] alias] [WHERE condition]
//! ```

use crate::condition;
use crate::cursor::{Cursor, is_reserved};
use crate::error::{Error, Result, Span};
use crate::grammar;
use crate::statement::{Condition, Name, Select, Statement, Term};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

/// A statement that changes rows.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) table: Name,
    pub(crate) alias: Option<Name>,
    pub(crate) what: What,
    /// True where a SELECT stands in it: what it reads and what it changes are of one moment.
    pub(crate) reads: bool,
}

#[derive(Debug)]
pub(crate) enum What {
    Insert { columns: Option<Vec<Name>>, rows: Rows, conflict: Conflict },
    Update { set: Vec<Set>, filter: Option<Condition> },
    Delete { filter: Option<Condition> },
}

/// The rows of an INSERT.
#[derive(Debug)]
pub(crate) enum Rows {
    /// Each with its place; `None` is DEFAULT.
    Values(Vec<(Vec<Option<Term>>, Span)>),
    Select(Box<Select>, Span),
}

/// After ON CONFLICT.
#[derive(Debug)]
pub(crate) enum Conflict {
    Refuse,
    Nothing { target: Option<Name> },
    Update { target: Option<Name>, set: Vec<Set>, span: Span },
}

/// `column = value`; `None` is DEFAULT.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) column: Name,
    pub(crate) value: Option<Term>,
}

impl Change {
    /// The statement's first word.
    pub(crate) fn word(&self) -> &'static str {
        match &self.what {
            What::Insert { .. } => "INSERT",
            What::Update { .. } => "UPDATE",
            What::Delete { .. } => "DELETE",
        }
    }
}

/// Reads INSERT.
pub(crate) fn insert(cursor: &mut Cursor) -> Result<Statement> {
    cursor.expect_keyword(Keyword::INSERT)?;
    cursor.expect_keyword(Keyword::INTO)?;
    let table = cursor.table_name()?;
    let alias = alias(cursor, &[Keyword::VALUES])?;
    let asks = |cursor: &Cursor| {
        matches!(cursor.keyword(), Keyword::SELECT | Keyword::WITH) || grammar::encloses_select(cursor)
    };
    let columns = if *cursor.peek() == Token::LParen && !asks(cursor) {
        cursor.take();
        let columns = grammar::list(cursor, |cursor| cursor.name("a column name"))?;
        cursor.expect(&Token::RParen)?;
        Some(columns)
    } else {
        None
    };
    let rows = if cursor.eat_keyword(Keyword::VALUES) {
        Rows::Values(rows(cursor)?)
    } else if asks(cursor) {
        let start = cursor.span();
        let select = Box::new(grammar::select(cursor)?);
        Rows::Select(select, start.to(cursor.last_span()))
    } else {
        return Err(cursor
            .expected("VALUES or SELECT")
            .advise("INSERT INTO members (id, city) VALUES (1, 'Lima'), (2, DEFAULT)"));
    };
    let conflict = if cursor.eat_keywords(&[Keyword::ON, Keyword::CONFLICT]) {
        conflict(cursor)?
    } else {
        Conflict::Refuse
    };
    finish(cursor, table, alias, What::Insert { columns, rows, conflict })
}

/// Reads UPDATE.
pub(crate) fn update(cursor: &mut Cursor) -> Result<Statement> {
    cursor.expect_keyword(Keyword::UPDATE)?;
    let table = cursor.table_name()?;
    let alias = alias(cursor, &[Keyword::SET])?;
    let set = assignments(cursor)?;
    if cursor.keyword() == Keyword::FROM {
        return Err(second_table(cursor, "UPDATE … FROM"));
    }
    let filter = filter(cursor)?;
    finish(cursor, table, alias, What::Update { set, filter })
}

/// Reads DELETE.
pub(crate) fn delete(cursor: &mut Cursor) -> Result<Statement> {
    cursor.expect_keyword(Keyword::DELETE)?;
    cursor.expect_keyword(Keyword::FROM)?;
    let table = cursor.table_name()?;
    let alias = alias(cursor, &[])?;
    if cursor.keyword() == Keyword::USING {
        return Err(second_table(cursor, "DELETE … USING"));
    }
    let filter = filter(cursor)?;
    finish(cursor, table, alias, What::Delete { filter })
}

/// Refuses TRUNCATE.
pub(crate) fn truncate(cursor: &mut Cursor) -> Result<Statement> {
    let error = Error::unsupported(cursor.span(), "TRUNCATE is not supported");
    Err(error.advise("DELETE FROM table removes every row"))
}

fn finish(cursor: &Cursor, table: Name, alias: Option<Name>, what: What) -> Result<Statement> {
    if cursor.keyword() == Keyword::RETURNING {
        let error = Error::unsupported(cursor.span(), "RETURNING is not supported");
        return Err(error.advise("ask with a SELECT, in the same transaction if nobody may write in between"));
    }
    Ok(Statement::Change(Box::new(Change { table, alias, what, reads: cursor.has_selects() })))
}

fn second_table(cursor: &Cursor, what: &str) -> Error {
    Error::unsupported(cursor.span(), format!("{what} is not supported"))
        .advise("a condition asks another table by column IN (SELECT …)")
}

/// `[AS] name`, unless the word is one of those that follow.
fn alias(cursor: &mut Cursor, not: &[Keyword]) -> Result<Option<Name>> {
    if cursor.eat_keyword(Keyword::AS) {
        return cursor.name("a name after AS").map(Some);
    }
    match cursor.peek() {
        Token::Word(word)
            if !is_reserved(word.keyword)
                && !not.contains(&word.keyword)
                && word.keyword != Keyword::RETURNING =>
        {
            cursor.name("an alias").map(Some)
        }
        _ => Ok(None),
    }
}

fn filter(cursor: &mut Cursor) -> Result<Option<Condition>> {
    if cursor.eat_keyword(Keyword::WHERE) { condition::condition(cursor).map(Some) } else { Ok(None) }
}

/// `(value, …), …`
fn rows(cursor: &mut Cursor) -> Result<Vec<(Vec<Option<Term>>, Span)>> {
    let mut rows = Vec::new();
    loop {
        let start = cursor.span();
        cursor.expect(&Token::LParen)?;
        let mut row = Vec::new();
        loop {
            row.push(value(cursor)?);
            if !cursor.eat(&Token::Comma) {
                break;
            }
        }
        if *cursor.peek() != Token::RParen {
            return Err(cursor.expected("',' or ')'"));
        }
        cursor.take();
        rows.push((row, start.to(cursor.last_span())));
        if !cursor.eat(&Token::Comma) {
            return Ok(rows);
        }
    }
}

/// A value, or DEFAULT.
fn value(cursor: &mut Cursor) -> Result<Option<Term>> {
    if cursor.eat_keyword(Keyword::DEFAULT) { Ok(None) } else { condition::value(cursor).map(Some) }
}

/// After ON CONFLICT.
fn conflict(cursor: &mut Cursor) -> Result<Conflict> {
    let span = cursor.last_span();
    if cursor.keyword() == Keyword::ON {
        return Err(Error::unsupported(cursor.span(), "ON CONFLICT ON CONSTRAINT is not supported")
            .advise("name the key: ON CONFLICT (id)"));
    }
    let mut target = None;
    if cursor.eat(&Token::LParen) {
        target = Some(cursor.name("the table's key")?);
        if *cursor.peek() != Token::RParen {
            return Err(cursor.expected("')'").advise("a table's key is one column"));
        }
        cursor.take();
    }
    cursor.expect_keyword(Keyword::DO)?;
    if cursor.eat_keyword(Keyword::NOTHING) {
        return Ok(Conflict::Nothing { target });
    }
    if !cursor.eat_keyword(Keyword::UPDATE) {
        return Err(cursor.expected("NOTHING or UPDATE"));
    }
    let set = assignments(cursor)?;
    if cursor.keyword() == Keyword::WHERE {
        return Err(Error::unsupported(cursor.span(), "WHERE after DO UPDATE is not supported")
            .advise("a CASE can keep the old value: SET a = CASE WHEN … THEN EXCLUDED.a ELSE a END"));
    }
    Ok(Conflict::Update { target, set, span })
}

/// `SET column = value, …`
fn assignments(cursor: &mut Cursor) -> Result<Vec<Set>> {
    cursor.expect_keyword(Keyword::SET)?;
    grammar::list(cursor, |cursor| {
        if *cursor.peek() == Token::LParen {
            return Err(Error::unsupported(cursor.span(), "SET of several columns at once is not supported")
                .advise("write SET a = …, b = …"));
        }
        let column = cursor.name("a column name")?;
        if *cursor.peek() == Token::Period {
            return Err(cursor.expected("'='").advise("after SET a column stands without its table"));
        }
        cursor.expect(&Token::Eq)?;
        Ok(Set { column, value: value(cursor)? })
    })
}
