//! The names of types, in CREATE TABLE, casts and typed literals.

use crate::cursor::Cursor;
use crate::error::{Error, Result, Span};
use muster_engine::schema::{DECIMAL_PRECISION_MAX, DataType};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

/// The types, for messages.
pub(crate) const TYPES: &str = "the types are BOOLEAN, SMALLINT, INTEGER, BIGINT, DECIMAL(p,s), DOUBLE PRECISION, TEXT, DATE, TIMESTAMP, \
     TIMESTAMPTZ and TEXT[]";

/// Reads a type and says where it stands.
pub(crate) fn data_type(cursor: &mut Cursor) -> Result<(DataType, Span)> {
    let start = cursor.span();
    let Token::Word(word) = cursor.peek() else { return Err(cursor.expected("a type").advise(TYPES)) };
    let name = word.value.to_uppercase();
    cursor.take();
    let parameters = parameters(cursor)?;
    let mut data_type = match (name.as_str(), parameters.as_slice()) {
        ("DECIMAL" | "NUMERIC" | "DEC", _) => decimal(&parameters, start.to(cursor.last_span()))?,
        ("BOOLEAN" | "BOOL", []) => DataType::Boolean,
        ("SMALLINT" | "INT2", []) => DataType::SmallInt,
        ("INTEGER" | "INT" | "INT4", []) => DataType::Integer,
        ("BIGINT" | "INT8", []) => DataType::BigInt,
        ("FLOAT8", []) => DataType::Double,
        // DuckDB's name is the first word alone.
        ("DOUBLE", []) => {
            cursor.eat_keyword(Keyword::PRECISION);
            DataType::Double
        }
        ("TEXT", []) => DataType::Text,
        ("DATE", []) => DataType::Date,
        ("TIMESTAMPTZ", []) => DataType::TimestampTz,
        ("TIMESTAMP", []) if cursor.eat_keywords(&[Keyword::WITH, Keyword::TIME, Keyword::ZONE]) => {
            DataType::TimestampTz
        }
        ("TIMESTAMP", []) => {
            cursor.eat_keywords(&[Keyword::WITHOUT, Keyword::TIME, Keyword::ZONE]);
            DataType::Timestamp
        }
        _ => return Err(refused(&name, &parameters, start.to(cursor.last_span()))),
    };
    if cursor.eat(&Token::LBracket) {
        cursor.expect(&Token::RBracket)?;
        if data_type != DataType::Text || *cursor.peek() == Token::LBracket {
            let span = start.to(cursor.last_span());
            return Err(Error::unsupported(span, "arrays of this type are not supported")
                .advise("a set of tags is a TEXT[]"));
        }
        data_type = DataType::TextArray;
    }
    Ok((data_type, start.to(cursor.last_span())))
}

/// `(12, 2)` after a type's name.
fn parameters(cursor: &mut Cursor) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    if !cursor.eat(&Token::LParen) {
        return Ok(numbers);
    }
    loop {
        match cursor.peek() {
            Token::Number(digits, _) => match digits.parse() {
                Ok(number) => numbers.push(number),
                Err(_) => return Err(cursor.expected("a small whole number")),
            },
            _ => return Err(cursor.expected("a number")),
        }
        cursor.take();
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(numbers)
}

fn refused(name: &str, parameters: &[u64], span: Span) -> Error {
    let shown = match parameters {
        [] => name.to_owned(),
        numbers => {
            let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
            format!("{name}({})", numbers.join(","))
        }
    };
    let error = Error::unsupported(span, format!("the type {shown} is not supported"));
    match name {
        "VARCHAR" | "CHAR" | "CHARACTER" | "UUID" | "STRING" | "NVARCHAR" | "BPCHAR" => {
            error.advise("use TEXT")
        }
        "DOUBLE" | "REAL" | "FLOAT" | "FLOAT4" => error.advise("write DOUBLE PRECISION"),
        "TIMESTAMP" | "TIMESTAMPTZ" => error.advise("microseconds are always kept: leave the digits out"),
        _ => error.advise(TYPES),
    }
}

fn decimal(parameters: &[u64], span: Span) -> Result<DataType> {
    let refuse = |message: String, advice: &str| Err(Error::unsupported(span, message).advise(advice));
    let (precision, scale) = match *parameters {
        [precision] => (precision, 0),
        [precision, scale] => (precision, scale),
        _ => {
            let advice = "write DECIMAL(12,2) for amounts with cents, or DOUBLE PRECISION";
            return refuse("a DECIMAL needs its precision and scale".to_owned(), advice);
        }
    };
    if !(1..=u64::from(DECIMAL_PRECISION_MAX)).contains(&precision) {
        return refuse(
            format!("a DECIMAL has 1 to {DECIMAL_PRECISION_MAX} digits, not {precision}"),
            "DECIMAL(18,2) holds amounts up to 9,999,999,999,999,999.99",
        );
    }
    if scale > precision {
        let message = format!("{scale} digits after the point do not fit into {precision}");
        return refuse(message, "write DECIMAL(12,2): 12 digits, 2 of them after the point");
    }
    Ok(DataType::Decimal { precision: precision as u8, scale: scale as u8 })
}
