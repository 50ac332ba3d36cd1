//! `COPY table [(columns)] FROM 'file' [, …] [[WITH] (FORMAT parquet|csv, HEADER [bool], DELIMITER ',', NULL '')]`

use crate::cursor::Cursor;
use crate::error::{Error, QueryErrorKind, Result};
use crate::statement::{CopyFormat, CopyFrom, Statement};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

const OPTIONS: &str = "the options are FORMAT csv or parquet, HEADER, DELIMITER ',' and NULL 'text'";

/// Reads the statement; the files are looked at when it is executed.
pub(crate) fn copy_from(cursor: &mut Cursor) -> Result<Statement> {
    cursor.expect_keyword(Keyword::COPY)?;
    let table = cursor.table_name()?;
    let mut columns = Vec::new();
    if cursor.eat(&Token::LParen) {
        loop {
            columns.push(cursor.name("a column name")?);
            if !cursor.eat(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen)?;
    }
    if cursor.keyword() == Keyword::TO {
        return Err(Error::unsupported(cursor.span(), "COPY … TO is not supported"));
    }
    cursor.expect_keyword(Keyword::FROM)?;
    let mut files = vec![cursor.text("the name of a file in single quotes")?];
    while cursor.eat(&Token::Comma) {
        files.push(cursor.text("the name of a file in single quotes")?);
    }
    let mut copy =
        CopyFrom { table, columns, files, format: None, header: None, delimiter: None, null: None };
    if cursor.eat_keyword(Keyword::WITH) || *cursor.peek() == Token::LParen {
        cursor.expect(&Token::LParen)?;
        loop {
            option(cursor, &mut copy)?;
            if !cursor.eat(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen)?;
    }
    Ok(Statement::Copy(copy))
}

fn option(cursor: &mut Cursor, copy: &mut CopyFrom) -> Result<()> {
    let span = cursor.span();
    let option = word(cursor, "an option")?;
    let value_span = cursor.span();
    match option.as_str() {
        "format" => {
            copy.format = Some(match word(cursor, "csv or parquet")?.as_str() {
                "csv" => CopyFormat::Csv,
                "parquet" => CopyFormat::Parquet,
                other => {
                    let error =
                        Error::unsupported(value_span, format!("the format {other} is not supported"));
                    return Err(error.advise("FORMAT is csv or parquet"));
                }
            });
        }
        "header" if matches!(cursor.peek(), Token::Comma | Token::RParen) => copy.header = Some(true),
        "header" => {
            copy.header = Some(match word(cursor, "true or false")?.as_str() {
                "true" | "on" | "1" => true,
                "false" | "off" | "0" => false,
                other => {
                    let message = format!("expected true or false after HEADER, found {other}");
                    return Err(Error::syntax(value_span, message));
                }
            });
        }
        "delimiter" => {
            let (delimiter, span) = cursor.text("one letter in single quotes")?;
            copy.delimiter = Some(match (delimiter.as_str(), delimiter.as_bytes()) {
                ("\\t", _) => b'\t',
                (_, [byte]) if !matches!(byte, b'"' | b'\n' | b'\r') && byte.is_ascii() => *byte,
                _ => {
                    let message = "a delimiter is one ASCII letter, no quote and no line end";
                    let error = Error::query(QueryErrorKind::Value, span, message);
                    return Err(error.advise("write DELIMITER ';' or DELIMITER E'\\t'"));
                }
            });
        }
        "null" => copy.null = Some(cursor.text("a text in single quotes")?.0),
        other => {
            let message = format!("the option {other} is not supported");
            return Err(Error::unsupported(span, message).advise(OPTIONS));
        }
    }
    Ok(())
}

fn word(cursor: &mut Cursor, what: &str) -> Result<String> {
    match cursor.peek() {
        Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) => {}
        _ => return Err(cursor.expected(what).advise(OPTIONS)),
    }
    Ok(match cursor.take() {
        Token::Word(word) => word.value.to_lowercase(),
        Token::Number(digits, _) => digits,
        Token::SingleQuotedString(text) => text.to_lowercase(),
        _ => String::new(),
    })
}
