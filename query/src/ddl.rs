//! CREATE TABLE, SHOW TABLES and DESCRIBE, read from the tokens.

use crate::dialect::{keyword, span_of};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::parse::from_parser;
use crate::statement::{ColumnDefinition, CreateTable, Name, Statement};
use muster_engine::schema::{DECIMAL_PRECISION_MAX, DataType, NAME_BYTES_MAX};
use sqlparser::ast::{self, ArrayElemTypeDef, ExactNumberInfo, TimezoneInfo};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

const COLUMN_TYPES: &str = "BOOLEAN, SMALLINT, INTEGER, BIGINT, DECIMAL(p,s), DOUBLE PRECISION, TEXT, DATE, TIMESTAMP, \
                            TIMESTAMPTZ and TEXT[]";

/// `CREATE TABLE [IF NOT EXISTS] name (column type [PRIMARY KEY] [NOT NULL], …, PRIMARY KEY (column))`
pub(crate) fn create_table(parser: &mut Parser<'_>, sql: &str) -> Result<Statement> {
    parser.next_token();
    expect_keyword(parser, Keyword::TABLE)?;
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = self::name(parser, "a table name")?;
    let mut table = CreateTable { name, if_not_exists, columns: Vec::new(), key: None };
    expect(parser, &Token::LParen)?;
    loop {
        let next = keyword(&parser.peek_token_ref().token);
        match next {
            Keyword::PRIMARY => {
                let span = current_span(parser);
                parser.next_token();
                expect_keyword(parser, Keyword::KEY)?;
                expect(parser, &Token::LParen)?;
                let key = self::name(parser, "a column name")?;
                if parser.peek_token_ref().token == Token::Comma {
                    let error =
                        Error::unsupported(current_span(parser), "a key of several columns is not supported");
                    return Err(error.advise("join them into one TEXT column"));
                }
                expect(parser, &Token::RParen)?;
                set_key(&mut table, key, span)?;
            }
            Keyword::CONSTRAINT | Keyword::FOREIGN | Keyword::UNIQUE | Keyword::CHECK | Keyword::EXCLUDE => {
                return Err(refused_constraint(parser));
            }
            _ => column(parser, sql, &mut table)?,
        }
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    expect(parser, &Token::RParen)?;
    if matches!(parser.peek_token_ref().token, Token::EOF | Token::SemiColon) {
        return Ok(Statement::CreateTable(table));
    }
    let found = parser.peek_token_ref();
    Err(Error::unsupported(
        span_of(found.span),
        format!("{} after the columns is not supported", found.token),
    ))
}

/// `SHOW TABLES`
pub(crate) fn show_tables(parser: &mut Parser<'_>, _sql: &str) -> Result<Statement> {
    parser.next_token();
    expect_keyword(parser, Keyword::TABLES)?;
    Ok(Statement::ShowTables)
}

/// `DESCRIBE table`
pub(crate) fn describe(parser: &mut Parser<'_>, _sql: &str) -> Result<Statement> {
    parser.next_token();
    let _optional = parser.parse_keyword(Keyword::TABLE);
    Ok(Statement::Describe(name(parser, "a table name")?))
}

fn column(parser: &mut Parser<'_>, sql: &str, table: &mut CreateTable) -> Result<()> {
    let name = name(parser, "a column name")?;
    if let Some(first) = table.columns.iter().find(|column| column.name.text == name.text) {
        let message = format!("column \"{}\" is there twice", first.name.text);
        return Err(Error::query(QueryErrorKind::Duplicate, name.span, message));
    }
    let start = current_span(parser);
    let ends_here = matches!(parser.peek_token_ref().token, Token::Comma | Token::RParen | Token::EOF);
    if ends_here {
        let message = format!("expected the type of column \"{}\"", name.text);
        return Err(Error::syntax(start, message).advise(format!("the types are {COLUMN_TYPES}")));
    }
    let parsed = parser.parse_data_type().map_err(|error| from_parser(error, sql))?;
    let end = span_of(parser.get_current_token().span);
    let type_span = start.zip(end).map_or(name.span, |(start, end)| start.to(end));
    let data_type = data_type(&parsed, type_span)?;
    let mut not_null = false;
    loop {
        let next = parser.peek_token_ref();
        let span = span_of(next.span).unwrap_or(name.span);
        match keyword(&next.token) {
            _ if matches!(next.token, Token::Comma | Token::RParen) => break,
            Keyword::PRIMARY => {
                parser.next_token();
                expect_keyword(parser, Keyword::KEY)?;
                set_key(table, name.clone(), Some(span))?;
            }
            Keyword::NOT => {
                parser.next_token();
                expect_keyword(parser, Keyword::NULL)?;
                not_null = true;
            }
            Keyword::NULL => {
                parser.next_token();
            }
            _ if next.token == Token::EOF => return Err(expected(parser, "',' or ')'")),
            _ => return Err(refused_constraint(parser)),
        }
    }
    table.columns.push(ColumnDefinition { name, data_type, type_span, not_null });
    Ok(())
}

fn set_key(table: &mut CreateTable, key: Name, span: Option<Span>) -> Result<()> {
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

fn refused_constraint(parser: &Parser<'_>) -> Error {
    let next = parser.peek_token_ref();
    let message = format!("{} is not supported here", next.token.to_string().to_uppercase());
    Error::unsupported(span_of(next.span), message).advise("a column may be NOT NULL, and one PRIMARY KEY")
}

/// The type of ours that a type of sqlparser names; also read by casts and typed literals.
pub(crate) fn data_type(parsed: &ast::DataType, span: Span) -> Result<DataType> {
    use ast::DataType as Parsed;
    let refuse = |message: String, advice: &str| Err(Error::unsupported(span, message).advise(advice));
    Ok(match parsed {
        Parsed::Boolean | Parsed::Bool => DataType::Boolean,
        Parsed::SmallInt(None) | Parsed::Int2(None) => DataType::SmallInt,
        Parsed::Integer(None) | Parsed::Int(None) | Parsed::Int4(None) => DataType::Integer,
        Parsed::BigInt(None) | Parsed::Int8(None) => DataType::BigInt,
        Parsed::DoublePrecision | Parsed::Float8 => DataType::Double,
        Parsed::Text => DataType::Text,
        Parsed::Date => DataType::Date,
        Parsed::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => DataType::Timestamp,
        Parsed::Timestamp(None, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => DataType::TimestampTz,
        Parsed::Timestamp(Some(_), _) => {
            return refuse(
                "a TIMESTAMP of fewer digits is not supported".into(),
                "microseconds are kept: write TIMESTAMP",
            );
        }
        Parsed::Array(ArrayElemTypeDef::SquareBracket(element, None)) if **element == Parsed::Text => {
            DataType::TextArray
        }
        Parsed::Array(_) => {
            return refuse("arrays of this type are not supported".into(), "a set of tags is a TEXT[]");
        }
        Parsed::Decimal(info) | Parsed::Numeric(info) => decimal(*info, span)?,
        Parsed::Float(_) | Parsed::Real | Parsed::Float4 | Parsed::Double(_) => {
            return refuse(format!("the type {parsed} is not supported"), "write DOUBLE PRECISION");
        }
        Parsed::Varchar(_)
        | Parsed::CharacterVarying(_)
        | Parsed::Char(_)
        | Parsed::Character(_)
        | Parsed::Uuid => {
            return refuse(format!("the type {parsed} is not supported"), "use TEXT");
        }
        other => {
            return refuse(
                format!("the type {other} is not supported"),
                &format!("the types are {COLUMN_TYPES}"),
            );
        }
    })
}

fn decimal(info: ExactNumberInfo, span: Span) -> Result<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::None => {
            let error = Error::unsupported(span, "a DECIMAL needs its precision and scale");
            return Err(error.advise("write DECIMAL(12,2) for amounts with cents, or DOUBLE PRECISION"));
        }
    };
    let refuse = |message: String, advice: &str| Err(Error::unsupported(span, message).advise(advice));
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(1..=DECIMAL_PRECISION_MAX), Ok(scale)) if u64::from(scale) <= precision => {
            Ok(DataType::Decimal { precision: precision as u8, scale })
        }
        (Ok(1..=DECIMAL_PRECISION_MAX), _) => refuse(
            format!("the scale of a DECIMAL({precision}) lies between 0 and {precision}, not at {scale}"),
            "write DECIMAL(12,2)",
        ),
        _ => refuse(
            format!("a DECIMAL has 1 to {DECIMAL_PRECISION_MAX} digits, not {precision}"),
            "DECIMAL(18,2) holds amounts up to 9,999,999,999,999,999.99",
        ),
    }
}

/// The next identifier, folded as PostgreSQL does.
pub(crate) fn name(parser: &mut Parser<'_>, what: &str) -> Result<Name> {
    let next = parser.peek_token_ref();
    let Token::Word(word) = &next.token else { return Err(expected(parser, what)) };
    if is_reserved(word.keyword) {
        let message = format!("expected {what}, found the keyword {}", word.value.to_uppercase());
        let advice = format!("write \"{}\" in double quotes if it is the name", word.value.to_lowercase());
        return Err(Error::syntax(span_of(next.span), message).advise(advice));
    }
    let ident = ast::Ident { value: word.value.clone(), quote_style: word.quote_style, span: next.span };
    parser.next_token();
    let name = folded(&ident);
    if parser.peek_token_ref().token == Token::Period {
        let error = Error::unsupported(Some(name.span), "schemas and catalogs are not supported");
        return Err(error.advise("a database has one space of table names: write the name alone"));
    }
    if name.text.is_empty() || name.text.len() > NAME_BYTES_MAX {
        let message = format!("a name has 1 to {NAME_BYTES_MAX} bytes");
        return Err(Error::query(QueryErrorKind::Limit, name.span, message));
    }
    Ok(name)
}

/// An identifier: lower case unless quoted.
pub(crate) fn folded(ident: &ast::Ident) -> Name {
    let text = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
    Name { text, span: span_of(ident.span).unwrap_or(Span { start: 0, end: 0 }) }
}

/// The words that PostgreSQL reserves and that a SELECT could not name without quotes.
fn is_reserved(word: Keyword) -> bool {
    use Keyword::*;
    matches!(
        word,
        SELECT
            | FROM
            | WHERE
            | GROUP
            | ORDER
            | BY
            | LIMIT
            | OFFSET
            | AND
            | OR
            | NOT
            | NULL
            | TRUE
            | FALSE
            | IN
            | IS
            | BETWEEN
            | LIKE
            | CASE
            | WHEN
            | THEN
            | ELSE
            | END
            | AS
            | ON
            | USER
            | TABLE
            | PRIMARY
            | CREATE
            | DISTINCT
            | UNION
            | EXCEPT
            | INTERSECT
            | HAVING
            | JOIN
            | ARRAY
            | ANY
            | ALL
            | CAST
            | CURRENT_DATE
            | CURRENT_TIMESTAMP
            | CURRENT_USER
            | DEFAULT
            | DESC
            | ASC
            | USING
            | WINDOW
            | WITH
            | FETCH
            | FOR
            | INTO
    )
}

pub(crate) fn expect(parser: &mut Parser<'_>, token: &Token) -> Result<()> {
    if parser.consume_token(token) { Ok(()) } else { Err(expected(parser, &format!("'{token}'"))) }
}

pub(crate) fn expect_keyword(parser: &mut Parser<'_>, word: Keyword) -> Result<()> {
    if parser.parse_keyword(word) { Ok(()) } else { Err(expected(parser, &format!("{word:?}"))) }
}

pub(crate) fn current_span(parser: &Parser<'_>) -> Option<Span> {
    span_of(parser.peek_token_ref().span)
}

/// What should stand where the next token stands.
pub(crate) fn expected(parser: &Parser<'_>, what: &str) -> Error {
    let next = parser.peek_token_ref();
    if next.token == Token::EOF {
        return Error::syntax(
            span_of(parser.get_current_token().span),
            format!("expected {what} after this"),
        );
    }
    Error::syntax(span_of(next.span), format!("expected {what}, found {}", next.token))
}
