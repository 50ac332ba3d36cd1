//! The columns of CREATE TABLE and ADD COLUMN.

use super::one_change;
use crate::cursor::Cursor;
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::statement::{ColumnDefinition, CreateTable, Name, References, Statement};
use crate::types;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

/// After CREATE: `TABLE [IF NOT EXISTS] name (column type [PRIMARY KEY] [NOT NULL] [REFERENCES table [(key)]], …,
/// PRIMARY KEY (column)) [WITH (owner = 'column', time = 'column', sums = 'column, …', cluster = 'column')]`
pub(super) fn create_table(cursor: &mut Cursor) -> Result<Statement> {
    cursor.expect_keyword(Keyword::TABLE)?;
    let if_not_exists = cursor.eat_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let mut table = CreateTable::new(cursor.table_name()?, if_not_exists);
    cursor.expect(&Token::LParen)?;
    loop {
        match cursor.keyword() {
            Keyword::PRIMARY => primary_key(cursor, &mut table)?,
            Keyword::CONSTRAINT | Keyword::FOREIGN | Keyword::UNIQUE | Keyword::CHECK => {
                return Err(refused_constraint(cursor));
            }
            _ => column(cursor, &mut table)?,
        }
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    if cursor.eat_keyword(Keyword::WITH) {
        options(cursor, &mut table)?;
    }
    if !matches!(cursor.peek(), Token::EOF | Token::SemiColon) {
        let message = format!("{} after the columns is not supported", cursor.peek());
        return Err(Error::unsupported(cursor.span(), message));
    }
    Ok(Statement::CreateTable(table))
}

/// `(owner = 'column', time = 'column', sums = 'column, …', cluster = 'column')`
fn options(cursor: &mut Cursor, table: &mut CreateTable) -> Result<()> {
    cursor.expect(&Token::LParen)?;
    loop {
        let option = cursor.name("owner, time, sums or cluster")?;
        cursor.expect(&Token::Eq)?;
        if option.text == "sums" {
            let (text, span) = cursor.text("names of columns in single quotes, with commas between them")?;
            table.sums.extend(text.split(',').map(|name| Name { text: name.trim().to_owned(), span }));
            if !cursor.eat(&Token::Comma) {
                break;
            }
            continue;
        }
        let given = match option.text.as_str() {
            "owner" => &mut table.owner,
            "time" => &mut table.time,
            "cluster" => &mut table.cluster,
            _ => {
                let message = format!("there is no option \"{}\" of a table", option.text);
                return Err(Error::syntax(option.span, message).advise(
                        "the options are owner = 'column', that says whose a row is, time = 'column', when it happened, \
                         sums = 'column, …', whose sums are kept for each owner, and cluster = 'column', by whose values \
                         rows of one span of time are kept apart",
                    ));
            }
        };
        if given.is_some() {
            let message = format!("{} is there twice", option.text);
            return Err(Error::query(QueryErrorKind::Duplicate, option.span, message));
        }
        *given = Some(if cursor.eat_keyword(Keyword::NONE) {
            None
        } else {
            let (text, span) = cursor.text("the name of a column in single quotes, or NONE")?;
            Some(Name { text, span })
        });
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)
}

/// What a column of ADD COLUMN is.
pub(super) fn added_column(cursor: &mut Cursor, table: &Name) -> Result<(ColumnDefinition, bool)> {
    let mut alone = CreateTable::new(table.clone(), false);
    let column = definition(cursor, &mut alone)?;
    if let Some(references) = alone.references.first() {
        let error = Error::unsupported(references.table.span, "a column with REFERENCES cannot be added");
        return Err(error.advise("create a table with it, and import the rows into that"));
    }
    match cursor.peek() {
        Token::Comma => Err(one_change(cursor)),
        Token::Word(word) if word.keyword != Keyword::NoKeyword => Err(refused_constraint(cursor)),
        _ => Ok((column, alone.key.is_some())),
    }
}

/// `PRIMARY KEY (column)` after the columns.
fn primary_key(cursor: &mut Cursor, table: &mut CreateTable) -> Result<()> {
    let span = cursor.span();
    cursor.expect_keyword(Keyword::PRIMARY)?;
    cursor.expect_keyword(Keyword::KEY)?;
    cursor.expect(&Token::LParen)?;
    let key = cursor.name("a column name")?;
    if *cursor.peek() == Token::Comma {
        let error = Error::unsupported(cursor.span(), "a key of several columns is not supported");
        return Err(error.advise("join them into one TEXT column"));
    }
    cursor.expect(&Token::RParen)?;
    set_key(table, key, span)
}

fn column(cursor: &mut Cursor, table: &mut CreateTable) -> Result<()> {
    let column = definition(cursor, table)?;
    match cursor.peek() {
        Token::Comma | Token::RParen => {
            table.columns.push(column);
            Ok(())
        }
        Token::Word(word) if word.keyword != Keyword::NoKeyword => Err(refused_constraint(cursor)),
        _ => Err(cursor.expected("',' or ')'")),
    }
}

/// A column's name, type and constraints; it may become the key of the table.
fn definition(cursor: &mut Cursor, table: &mut CreateTable) -> Result<ColumnDefinition> {
    let name = cursor.name("a column name")?;
    if table.columns.iter().any(|column| column.name.text == name.text) {
        let message = format!("column \"{}\" is there twice", name.text);
        return Err(Error::query(QueryErrorKind::Duplicate, name.span, message));
    }
    if matches!(cursor.peek(), Token::Comma | Token::RParen | Token::SemiColon | Token::EOF) {
        let message = format!("expected the type of column \"{}\"", name.text);
        return Err(Error::syntax(cursor.span(), message).advise(types::TYPES));
    }
    let (data_type, type_span) = types::data_type(cursor)?;
    let mut not_null = false;
    loop {
        let span = cursor.span();
        if cursor.eat_keywords(&[Keyword::PRIMARY, Keyword::KEY]) {
            set_key(table, name.clone(), span)?;
        } else if cursor.eat_keywords(&[Keyword::NOT, Keyword::NULL]) {
            not_null = true;
        } else if cursor.eat_keyword(Keyword::REFERENCES) {
            references(cursor, &name, table)?;
        } else if !cursor.eat_keyword(Keyword::NULL) {
            break;
        }
    }
    Ok(ColumnDefinition { name, data_type, type_span, not_null })
}

/// After REFERENCES: `table [(key)]`
fn references(cursor: &mut Cursor, column: &Name, table: &mut CreateTable) -> Result<()> {
    if table.references.iter().any(|known| known.column.text == column.text) {
        let message = format!("column \"{}\" refers to one table", column.text);
        return Err(Error::query(QueryErrorKind::Duplicate, column.span, message));
    }
    let other = cursor.table_name()?;
    let mut key = None;
    if cursor.eat(&Token::LParen) {
        key = Some(cursor.name("a column name")?);
        cursor.expect(&Token::RParen)?;
    }
    table.references.push(References { column: column.clone(), table: other, key });
    Ok(())
}

fn set_key(table: &mut CreateTable, key: Name, span: Span) -> Result<()> {
    if table.key.is_some() {
        return Err(Error::query(
            QueryErrorKind::Duplicate,
            span,
            "a table has one PRIMARY KEY, of one column",
        ));
    }
    table.key = Some(key);
    Ok(())
}

fn refused_constraint(cursor: &Cursor) -> Error {
    let message = format!("{} is not supported here", cursor.peek().to_string().to_uppercase());
    Error::unsupported(cursor.span(), message)
        .advise("a column may be NOT NULL and REFERENCES table, and one PRIMARY KEY")
}
