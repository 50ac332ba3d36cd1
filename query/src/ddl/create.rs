//! CREATE of views and audiences; of tables see [`super::table`], of users [`crate::users::grammar`].

use super::{
    AudienceMembers, CreateAudience, CreateView, Definition, KeysFile, Source, eat_word, is_word, names,
    table,
};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::statement::{Name, Select, Statement};
use crate::{copy, grammar, users};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

/// `CREATE TABLE …`, `CREATE [OR REPLACE] VIEW …`, `CREATE [OR REPLACE] [STATIC] AUDIENCE …`
pub(crate) fn create(cursor: &mut Cursor) -> Result<Statement> {
    cursor.expect_keyword(Keyword::CREATE)?;
    let span = cursor.span();
    let or_replace = cursor.eat_keywords(&[Keyword::OR, Keyword::REPLACE]);
    let replaces = span.to(cursor.last_span());
    if cursor.keyword() == Keyword::TABLE {
        if or_replace {
            let error = Error::unsupported(replaces, "a table is not replaced");
            return Err(error.advise("DROP TABLE first, or CREATE TABLE IF NOT EXISTS"));
        }
        return table::create_table(cursor);
    }
    if cursor.eat_keyword(Keyword::VIEW) {
        return view(cursor, or_replace);
    }
    if !or_replace && users::grammar::is_ahead(cursor) {
        return users::grammar::create(cursor);
    }
    let is_static = is_word(cursor.peek(), "static") && is_word(cursor.peek_nth(1), "audience");
    if is_static {
        cursor.take();
    }
    if eat_word(cursor, "audience") {
        return audience(cursor, or_replace, is_static);
    }
    Err(cursor.expected("TABLE, VIEW, AUDIENCE, STATIC AUDIENCE or USER"))
}

/// `name [(columns)] AS SELECT …`
fn view(cursor: &mut Cursor, or_replace: bool) -> Result<Statement> {
    let name = cursor.name("the name of the view")?;
    let mut columns = Vec::new();
    if cursor.eat(&Token::LParen) {
        columns = names(cursor, "a column name")?;
        cursor.expect(&Token::RParen)?;
    }
    cursor.expect_keyword(Keyword::AS)?;
    let (select, source) = select(cursor)?;
    let view = CreateView { name, or_replace, columns, select, source };
    Ok(Statement::Define(Box::new(Definition::CreateView(view))))
}

/// `[IF NOT EXISTS] name AS SELECT …`, and of a static one also `name ON table FROM 'file' [(options)]`
fn audience(cursor: &mut Cursor, or_replace: bool, is_static: bool) -> Result<Statement> {
    let span = cursor.span();
    let if_not_exists = cursor.eat_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    if if_not_exists && or_replace {
        let message = "OR REPLACE and IF NOT EXISTS contradict each other";
        return Err(Error::syntax(span.to(cursor.last_span()), message));
    }
    let name = cursor.name("the name of the audience")?;
    let start = cursor.span();
    let (members, source) = if cursor.eat_keyword(Keyword::ON) {
        if !is_static {
            return Err(Error::unsupported(start, "only a static audience is made from a file")
                .advise(format!("write CREATE STATIC AUDIENCE {}", name.text)));
        }
        let keys = keys_file(cursor)?;
        (AudienceMembers::Keys(keys), Source { span: start.to(cursor.last_span()), text: String::new() })
    } else {
        if cursor.keyword() != Keyword::AS {
            return Err(cursor.expected(if is_static { "AS SELECT, or ON a table" } else { "AS SELECT" }));
        }
        cursor.take();
        let (select, source) = select(cursor)?;
        let members =
            if is_static { AudienceMembers::Frozen(select) } else { AudienceMembers::Dynamic(select) };
        (members, source)
    };
    let audience = CreateAudience { name, or_replace, if_not_exists, members, source };
    Ok(Statement::Define(Box::new(Definition::CreateAudience(audience))))
}

fn select(cursor: &mut Cursor) -> Result<(Box<Select>, Source)> {
    if cursor.keyword() != Keyword::SELECT {
        return Err(cursor.expected("SELECT"));
    }
    let start = cursor.span();
    let select = grammar::select(cursor)?;
    Ok((Box::new(select), Source { span: start.to(cursor.last_span()), text: String::new() }))
}

fn keys_file(cursor: &mut Cursor) -> Result<KeysFile> {
    let table: Name = cursor.table_name()?;
    cursor.expect_keyword(Keyword::FROM)?;
    let (file, file_span) = cursor.text("the name of a file in single quotes")?;
    let (options, given) = copy::options(cursor)?;
    for (option, span) in given {
        if matches!(option.as_str(), "on_error" | "rejects") {
            let message = format!("{} is an option of COPY", option.to_uppercase());
            return Err(Error::unsupported(span, message)
                .advise("keys of nobody are counted, and a line that is no key is an error"));
        }
    }
    Ok(KeysFile { table, file, file_span, options })
}
