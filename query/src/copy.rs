//! `COPY table [(columns)] FROM 'file' [, …] [[WITH] (FORMAT parquet|csv, HEADER [bool], DELIMITER ',', NULL '')]`

use crate::ddl::{current_span, expect, expect_keyword, expected, name};
use crate::dialect::span_of;
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::statement::{CopyFormat, CopyFrom, Statement};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

const OPTIONS: &str = "the options are FORMAT csv or parquet, HEADER, DELIMITER ',' and NULL 'text'";

/// Reads the statement; the files are looked at when it is executed.
pub(crate) fn copy_from(parser: &mut Parser<'_>, _sql: &str) -> Result<Statement> {
    parser.next_token();
    let table = name(parser, "a table name")?;
    let mut columns = Vec::new();
    if parser.consume_token(&Token::LParen) {
        loop {
            columns.push(name(parser, "a column name")?);
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        expect(parser, &Token::RParen)?;
    }
    if parser.peek_keyword(Keyword::TO) {
        return Err(Error::unsupported(current_span(parser), "COPY … TO is not supported"));
    }
    expect_keyword(parser, Keyword::FROM)?;
    let mut files = vec![text(parser, "the name of a file in single quotes")?];
    while parser.consume_token(&Token::Comma) {
        files.push(text(parser, "the name of a file in single quotes")?);
    }
    let mut copy =
        CopyFrom { table, columns, files, format: None, header: None, delimiter: None, null: None };
    let with = parser.parse_keyword(Keyword::WITH);
    if with || parser.peek_token_ref().token == Token::LParen {
        expect(parser, &Token::LParen)?;
        loop {
            option(parser, &mut copy)?;
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        expect(parser, &Token::RParen)?;
    }
    Ok(Statement::Copy(copy))
}

fn option(parser: &mut Parser<'_>, copy: &mut CopyFrom) -> Result<()> {
    let span = current_span(parser);
    let word = word(parser, "an option")?;
    match word.as_str() {
        "format" => {
            let span = current_span(parser);
            copy.format = Some(match self::word(parser, "csv or parquet")?.as_str() {
                "csv" => CopyFormat::Csv,
                "parquet" => CopyFormat::Parquet,
                other => {
                    let error = Error::unsupported(span, format!("the format {other} is not supported"));
                    return Err(error.advise("FORMAT is csv or parquet"));
                }
            });
        }
        "header" => {
            let bare = matches!(parser.peek_token_ref().token, Token::Comma | Token::RParen);
            let span = current_span(parser);
            copy.header = Some(
                match if bare { "true".to_owned() } else { self::word(parser, "true or false")? }.as_str() {
                    "true" | "on" | "1" => true,
                    "false" | "off" | "0" => false,
                    other => {
                        return Err(Error::syntax(
                            span,
                            format!("expected true or false after HEADER, found {other}"),
                        ));
                    }
                },
            );
        }
        "delimiter" => {
            let (delimiter, span) = text(parser, "one letter in single quotes")?;
            copy.delimiter = Some(match (delimiter.as_str(), delimiter.as_bytes()) {
                ("\\t", _) => b'\t',
                (_, [byte]) if !matches!(byte, b'"' | b'\n' | b'\r') && byte.is_ascii() => *byte,
                _ => {
                    let error = Error::query(
                        QueryErrorKind::Value,
                        span,
                        "a delimiter is one ASCII letter, no quote and no line end",
                    );
                    return Err(error.advise("write DELIMITER ';' or DELIMITER E'\\t'"));
                }
            });
        }
        "null" => copy.null = Some(text(parser, "a text in single quotes")?.0),
        other => {
            return Err(
                Error::unsupported(span, format!("the option {other} is not supported")).advise(OPTIONS)
            );
        }
    }
    Ok(())
}

fn word(parser: &mut Parser<'_>, what: &str) -> Result<String> {
    let word = match &parser.peek_token_ref().token {
        Token::Word(word) => word.value.to_lowercase(),
        Token::Number(digits, _) => digits.clone(),
        Token::SingleQuotedString(text) => text.to_lowercase(),
        _ => return Err(expected(parser, what).advise(OPTIONS)),
    };
    parser.next_token();
    Ok(word)
}

fn text(parser: &mut Parser<'_>, what: &str) -> Result<(String, Span)> {
    let next = parser.peek_token_ref();
    let span = span_of(next.span).unwrap_or(Span { start: 0, end: 0 });
    let text = match &next.token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
        _ => return Err(expected(parser, what)),
    };
    parser.next_token();
    Ok((text, span))
}
