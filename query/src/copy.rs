//! The grammar of COPY, in both directions:
//!
//! ```text
//! COPY table [(columns)] FROM 'file' [, …]  [[WITH] (options)]
//! COPY table [(columns)] TO 'file'          [[WITH] (options)]
//! COPY (SELECT …)        TO 'file'          [[WITH] (options)]
//! ```

use crate::cursor::Cursor;
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::grammar;
use crate::statement::{CopyFormat, CopyFrom, CopyOptions, CopyTo, CopyWhat, Name, Statement};
use muster_engine::database::Conflict;
use muster_engine::transfer::TextEncoding;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

const OPTIONS: &str = "the options are FORMAT csv, parquet, jsonl or roaring, HEADER, DELIMITER ',', QUOTE '\"', ESCAPE '\"', \
                       NULL 'text'; of COPY … FROM also ENCODING 'name', ON_ERROR skip, REJECTS 'file' and \
                       ON_CONFLICT update or nothing";

/// Reads the statement; the files are looked at when it is executed.
pub(crate) fn copy(cursor: &mut Cursor) -> Result<Statement> {
    cursor.expect_keyword(Keyword::COPY)?;
    if cursor.eat(&Token::LParen) {
        let start = cursor.span();
        let select = Box::new(grammar::select(cursor)?);
        let span = start.to(cursor.last_span());
        cursor.expect(&Token::RParen)?;
        let select = CopyWhat::Select { select, span, text: String::new() };
        return copy_to(cursor, select);
    }
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
        return copy_to(cursor, CopyWhat::Table { table, columns });
    }
    copy_from(cursor, table, columns)
}

fn copy_from(cursor: &mut Cursor, table: Name, columns: Vec<Name>) -> Result<Statement> {
    if !cursor.eat_keyword(Keyword::FROM) {
        return Err(cursor.expected("FROM or TO"));
    }
    let mut files = vec![cursor.text("the name of a file in single quotes")?];
    while cursor.eat(&Token::Comma) {
        files.push(cursor.text("the name of a file in single quotes")?);
    }
    let (options, given) = options(cursor)?;
    if options.format == Some(CopyFormat::Roaring) {
        let error = Error::unsupported(span_of(&given, "format"), "a Roaring bitmap cannot be imported");
        return Err(error.advise("it holds ordinals of members that are there already"));
    }
    if options.rejects.is_some() && !options.skips_bad_rows {
        let span = span_of(&given, "rejects");
        return Err(Error::syntax(span, "REJECTS names a file for skipped rows").advise("add ON_ERROR skip"));
    }
    Ok(Statement::Copy(Box::new(CopyFrom { table, columns, files, options })))
}

fn copy_to(cursor: &mut Cursor, what: CopyWhat) -> Result<Statement> {
    cursor.expect_keyword(Keyword::TO)?;
    let (file, file_span) = cursor.text("the name of a file in single quotes")?;
    let (options, given) = options(cursor)?;
    for (option, span) in given {
        if matches!(option.as_str(), "encoding" | "on_error" | "rejects" | "on_conflict") {
            let message = format!("{} is an option of COPY … FROM", option.to_uppercase());
            return Err(
                Error::unsupported(span, message).advise("files are written in UTF-8, all rows or none")
            );
        }
    }
    Ok(Statement::CopyTo(Box::new(CopyTo { what, file, file_span, options })))
}

/// Options by name and where they stand.
pub(crate) type Given = Vec<(String, Span)>;

fn span_of(given: &Given, option: &str) -> Option<Span> {
    given.iter().find(|(name, _)| name == option).map(|(_, span)| *span)
}

/// `[[WITH] (option value, …)]`
pub(crate) fn options(cursor: &mut Cursor) -> Result<(CopyOptions, Given)> {
    let (mut options, mut given) = (CopyOptions::default(), Given::new());
    if cursor.eat_keyword(Keyword::WITH) || *cursor.peek() == Token::LParen {
        cursor.expect(&Token::LParen)?;
        loop {
            let span = cursor.span();
            let name = word(cursor, "an option")?;
            if name != "null" && span_of(&given, &name).is_some() {
                let message = format!("{} is given twice", name.to_uppercase());
                return Err(Error::query(QueryErrorKind::Duplicate, span, message));
            }
            option(cursor, &name, span, &mut options)?;
            given.push((name, span));
            if !cursor.eat(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen)?;
    }
    let (delimiter, quote) = (options.delimiter.unwrap_or(b','), options.quote.unwrap_or(Some(b'"')));
    if quote == Some(delimiter) {
        let span = span_of(&given, "delimiter").or(span_of(&given, "quote"));
        return Err(Error::query(QueryErrorKind::Value, span, "DELIMITER and QUOTE must differ"));
    }
    Ok((options, given))
}

fn option(cursor: &mut Cursor, name: &str, span: Span, options: &mut CopyOptions) -> Result<()> {
    let value_span = cursor.span();
    let refuse = |message: String| Error::query(QueryErrorKind::Value, value_span, message);
    match name {
        "format" => {
            options.format = Some(match word(cursor, "csv, parquet, jsonl or roaring")?.as_str() {
                "csv" => CopyFormat::Csv,
                "parquet" => CopyFormat::Parquet,
                "jsonl" | "ndjson" => CopyFormat::Jsonl,
                "roaring" => CopyFormat::Roaring,
                other => {
                    let error =
                        Error::unsupported(value_span, format!("the format {other} is not supported"));
                    return Err(error.advise("FORMAT is csv, parquet, jsonl or roaring"));
                }
            });
        }
        "header" if matches!(cursor.peek(), Token::Comma | Token::RParen) => options.header = Some(true),
        "header" => {
            options.header = Some(match word(cursor, "true or false")?.as_str() {
                "true" | "on" | "1" => true,
                "false" | "off" | "0" => false,
                other => {
                    let message = format!("expected true or false after HEADER, found {other}");
                    return Err(Error::syntax(value_span, message));
                }
            });
        }
        "delimiter" => {
            let (text, _) = cursor.text("one letter in single quotes")?;
            let tab = (text == "\\t").then_some(b'\t');
            options.delimiter = Some(tab.or_else(|| one_byte(&text)).ok_or_else(|| {
                refuse("a delimiter is one ASCII letter, and no line end".into())
                    .advise("write DELIMITER ';' or DELIMITER E'\\t'")
            })?);
        }
        "quote" => {
            let (text, _) = cursor.text("one letter in single quotes")?;
            options.quote = Some(match one_byte(&text) {
                _ if text.is_empty() => None,
                Some(byte) => Some(byte),
                None => return Err(refuse("a quote is one ASCII letter, or '' for none".into())),
            });
        }
        "escape" => {
            let (text, _) = cursor.text("one letter in single quotes")?;
            let escape = one_byte(&text).ok_or_else(|| refuse("an escape is one ASCII letter".into()))?;
            options.escape = Some(escape);
        }
        "null" => options.nulls.push(cursor.text("a text in single quotes")?.0),
        "encoding" => {
            let (text, _) = cursor.text("the name of an encoding in single quotes")?;
            options.encoding = Some(TextEncoding::named(&text).ok_or_else(|| {
                refuse(format!("there is no encoding '{text}'"))
                    .advise("UTF8, GB18030, GBK, Big5, Shift_JIS, EUC_KR, windows-1252, UTF-16LE and others are known")
            })?);
        }
        "on_error" => {
            options.skips_bad_rows = match word(cursor, "stop or skip")?.as_str() {
                "stop" => false,
                "skip" | "ignore" => true,
                other => {
                    return Err(Error::syntax(value_span, format!("expected stop or skip, found {other}")));
                }
            }
        }
        "on_conflict" => {
            options.conflict = match word(cursor, "update, nothing or stop")?.as_str() {
                "stop" => Conflict::Refuse,
                "nothing" => Conflict::Nothing,
                "update" => Conflict::Update,
                other => {
                    let message = format!("expected update, nothing or stop, found {other}");
                    return Err(Error::syntax(value_span, message));
                }
            }
        }
        "rejects" => options.rejects = Some(cursor.text("the name of a file in single quotes")?.0),
        other => {
            let message = format!("the option {other} is not supported");
            return Err(Error::unsupported(span, message).advise(OPTIONS));
        }
    }
    Ok(())
}

/// The byte of a text of one ASCII letter that is no line end.
fn one_byte(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Some(*byte),
        _ => None,
    }
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
