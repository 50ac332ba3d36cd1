//! From a text to one of our statements: picks the grammar by the first word.

use crate::cursor::Cursor;
use crate::dialect::{self, keyword, span_of};
use crate::error::{Error, Result};
use crate::parameter::Param;
use crate::statement::{CopyWhat, Statement};
use crate::write::grammar as write;
use crate::{analysis, copy, ddl, grammar, maintain, transaction};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// What can be executed, for messages.
const STATEMENTS: &str = "SELECT, INSERT, UPDATE, DELETE, BEGIN, COMMIT, ROLLBACK, EXPLAIN, PROFILE, OVERLAP, CREATE, ALTER, DROP, COPY, CHECKPOINT, \
     BACKUP, REFRESH, SHOW, DESCRIBE and SET are answered";

/// Parses one statement; a semicolon may end it. Cost: a few microseconds per hundred bytes, most of it in the lexer.
pub(crate) fn parse(sql: &str, parameters: &[Param]) -> Result<Statement> {
    let tokens = dialect::tokenize(sql)?;
    let Some(first) = tokens.first() else {
        return Err(Error::syntax(None, "the statement is empty").advise("SELECT count(*) FROM a_table"));
    };
    let asks = |token: &TokenWithSpan| {
        matches!(keyword(&token.token), Keyword::SELECT | Keyword::WHERE | Keyword::VALUES | Keyword::SET)
    };
    if let Some(question) = tokens.iter().position(asks) {
        // What stands before a definition's SELECT has keywords of its own.
        let start = if keyword(&first.token) == Keyword::CREATE { question } else { 0 };
        dialect::check(&tokens[start..])?;
    }
    let read: fn(&mut Cursor) -> Result<Statement> = match keyword(&first.token) {
        _ if first.token == Token::LParen
            && tokens
                .iter()
                .find(|next| next.token != Token::LParen)
                .is_some_and(|next| matches!(keyword(&next.token), Keyword::SELECT | Keyword::WITH)) =>
        {
            |cursor| grammar::select(cursor).map(|select| Statement::Select(Box::new(select)))
        }
        Keyword::SELECT | Keyword::WITH => {
            |cursor| grammar::select(cursor).map(|select| Statement::Select(Box::new(select)))
        }
        Keyword::CREATE => ddl::create,
        Keyword::ALTER => ddl::alter,
        Keyword::DROP => ddl::drop,
        Keyword::EXPLAIN => analysis::grammar::explain,
        Keyword::SET => analysis::grammar::set,
        Keyword::INSERT => write::insert,
        Keyword::UPDATE => write::update,
        Keyword::DELETE => write::delete,
        Keyword::TRUNCATE => write::truncate,
        Keyword::BEGIN | Keyword::START => transaction::begin,
        Keyword::COMMIT | Keyword::END => transaction::commit,
        Keyword::ROLLBACK | Keyword::ABORT => transaction::rollback,
        Keyword::COPY => copy::copy,
        Keyword::SHOW => ddl::show,
        Keyword::DESCRIBE | Keyword::DESC => ddl::describe,
        _ if is_word(&first.token, "checkpoint") => maintain::checkpoint,
        _ if is_word(&first.token, "backup") => maintain::backup,
        _ if is_word(&first.token, "refresh") => maintain::refresh,
        _ if is_word(&first.token, "profile") => analysis::grammar::profile,
        _ if is_word(&first.token, "overlap") => analysis::grammar::overlap,
        Keyword::NoKeyword => {
            let message = format!("expected a statement, found {}", first.token);
            return Err(Error::syntax(span_of(first.span), message).advise(STATEMENTS));
        }
        _ => {
            let message = format!("{} is not supported", first.token.to_string().to_uppercase());
            return Err(Error::unsupported(span_of(first.span), message).advise(STATEMENTS));
        }
    };
    let mut cursor = Cursor::new(tokens, sql.trim_end().len(), parameters);
    let mut statement = read(&mut cursor)?;
    cursor.expect_end()?;
    if let Statement::Define(definition) = &mut statement {
        definition.keep_source(sql);
    }
    if let Statement::CopyTo(copy) = &mut statement
        && let CopyWhat::Select { span, text, .. } = &mut copy.what
    {
        *text = sql[span.start..span.end].to_owned();
    }
    Ok(statement)
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
