//! The grammar of the statements that analyse: EXPLAIN, PROFILE, OVERLAP; and of SET.

use crate::condition;
use crate::cursor::Cursor;
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::grammar;
use crate::statement::{Condition, From, FromSource, Name, Select, Statement};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

/// `PROFILE source [WHERE condition] BY column, …`
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) from: From,
    pub(crate) filter: Option<Condition>,
    pub(crate) columns: Vec<Name>,
}

/// `OVERLAP audience, …` or `OVERLAP condition [AS name], … FROM source`
#[derive(Debug)]
pub(crate) struct Overlap {
    pub(crate) sets: Vec<OverlapSet>,
    pub(crate) from: Option<From>,
}

#[derive(Debug)]
pub(crate) struct OverlapSet {
    pub(crate) condition: Condition,
    pub(crate) name: Option<Name>,
    /// Where the condition stands in the text, to be shown as its name.
    pub(crate) span: Span,
}

/// `EXPLAIN [ANALYZE] SELECT …`
#[derive(Debug)]
pub(crate) struct Explain {
    pub(crate) select: Select,
    pub(crate) analyze: bool,
}

/// `SET name = '…'`; `DEFAULT` is `None`.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: Name,
    pub(crate) value: Option<String>,
    pub(crate) span: Span,
}

fn eat_word(cursor: &mut Cursor, word: &str) -> bool {
    let found = matches!(cursor.peek(), Token::Word(next) if next.quote_style.is_none() && next.value.eq_ignore_ascii_case(word));
    if found {
        cursor.take();
    }
    found
}

/// Reads EXPLAIN.
pub(crate) fn explain(cursor: &mut Cursor) -> Result<Statement> {
    cursor.expect_keyword(Keyword::EXPLAIN)?;
    let analyze = eat_word(cursor, "analyze") || eat_word(cursor, "analyse");
    if matches!(cursor.keyword(), Keyword::INSERT | Keyword::UPDATE | Keyword::DELETE) {
        let message = format!("EXPLAIN {} is not supported", cursor.peek().to_string().to_uppercase());
        return Err(Error::unsupported(cursor.span(), message)
            .advise("EXPLAIN SELECT count(*) … WHERE … shows how its members are found"));
    }
    let asks = matches!(cursor.keyword(), Keyword::SELECT | Keyword::WITH);
    if !asks && !grammar::encloses_select(cursor) {
        return Err(cursor
            .expected("SELECT")
            .advise("EXPLAIN [ANALYZE] SELECT count(*) FROM members WHERE …"));
    }
    let select = grammar::select(cursor)?;
    Ok(Statement::Explain(Box::new(Explain { select, analyze })))
}

/// Reads PROFILE.
pub(crate) fn profile(cursor: &mut Cursor) -> Result<Statement> {
    const SHAPE: &str = "PROFILE members WHERE condition BY city, tier";
    cursor.take();
    let start = cursor.span();
    let source = if cursor.eat(&Token::LParen) {
        let select = grammar::select(cursor)?;
        cursor.expect(&Token::RParen)?;
        FromSource::Select(Box::new(select), start.to(cursor.last_span()))
    } else {
        FromSource::Named(cursor.table_name().map_err(|error| error.advise(SHAPE))?)
    };
    let from = From { source, alias: None, sample: None };
    let filter = if cursor.eat_keyword(Keyword::WHERE) { Some(condition::condition(cursor)?) } else { None };
    if !cursor.eat_keyword(Keyword::BY) {
        return Err(cursor.expected("BY and the columns").advise(SHAPE));
    }
    let columns = grammar::list(cursor, |cursor| cursor.name("a column name"))?;
    Ok(Statement::Profile(Box::new(Profile { from, filter, columns })))
}

/// Reads OVERLAP.
pub(crate) fn overlap(cursor: &mut Cursor) -> Result<Statement> {
    cursor.take();
    let sets = grammar::list(cursor, |cursor| {
        let start = cursor.span();
        let condition = condition::condition(cursor)?;
        let span = start.to(cursor.last_span());
        Ok(OverlapSet { condition, name: grammar::alias(cursor)?, span })
    })?;
    let from = if cursor.eat_keyword(Keyword::FROM) { Some(grammar::from(cursor)?) } else { None };
    Ok(Statement::Overlap(Box::new(Overlap { sets, from })))
}

/// What SET sets.
const SETTINGS: [&str; 5] =
    ["now", "timezone", "idle_in_transaction_timeout", "synchronous_commit", "memory_limit"];

/// Reads SET.
pub(crate) fn set(cursor: &mut Cursor) -> Result<Statement> {
    cursor.expect_keyword(Keyword::SET)?;
    let span = cursor.span();
    let name = if cursor.eat_keyword(Keyword::TIME) {
        cursor.expect_keyword(Keyword::ZONE)?;
        Name { text: "timezone".to_owned(), span }
    } else {
        let name = cursor.name("a setting")?;
        if !cursor.eat_keyword(Keyword::TO) {
            cursor.expect(&Token::Eq)?;
        }
        name
    };
    if !SETTINGS.contains(&name.text.as_str()) {
        let message = format!("unknown setting \"{}\"", name.text);
        return Err(Error::query(QueryErrorKind::Value, name.span, message)
            .advise(format!("the settings are {}", SETTINGS.join(", "))));
    }
    if cursor.eat_keyword(Keyword::DEFAULT) {
        return Ok(Statement::Set(Setting { name, value: None, span: cursor.last_span() }));
    }
    if let Token::Number(digits, _) = cursor.peek() {
        let value = Some(digits.clone());
        cursor.take();
        return Ok(Statement::Set(Setting { name, value, span: cursor.last_span() }));
    }
    let word = |keyword: Keyword, text: &str| (cursor.keyword() == keyword).then(|| text.to_owned());
    if let Some(value) = word(Keyword::ON, "on").or_else(|| word(Keyword::OFF, "off")) {
        cursor.take();
        return Ok(Statement::Set(Setting { name, value: Some(value), span: cursor.last_span() }));
    }
    let (value, span) = cursor.text("a text in single quotes, or DEFAULT")?;
    Ok(Statement::Set(Setting { name, value: Some(value), span }))
}
