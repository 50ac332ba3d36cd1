//! CREATE, ALTER, DROP, SHOW and DESCRIBE: what is defined, as it is written.
//!
//! Names are looked up when a statement is executed ([`crate::define`]).

mod alter;
mod create;
mod table;

use crate::cursor::Cursor;
use crate::error::{Error, Result, Span};
use crate::statement::{ColumnDefinition, CopyOptions, Name, Select, Statement};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

pub(crate) use alter::{alter, drop};
pub(crate) use create::create;

/// What is changed.
#[derive(Debug)]
pub(crate) enum Definition {
    AddColumn { table: Name, column: ColumnDefinition, is_key: bool, if_not_exists: bool },
    DropColumn { table: Name, column: Name, if_exists: bool, cascade: bool },
    RenameColumn { table: Name, column: Name, to: Name },
    Rename { kind: Kind, name: Name, to: Name },
    Drop { kind: Kind, names: Vec<Name>, if_exists: bool, cascade: bool },
    CreateView(CreateView),
    CreateAudience(CreateAudience),
}

/// What has a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Table,
    View,
    Audience,
}

#[derive(Debug)]
pub(crate) struct CreateView {
    pub(crate) name: Name,
    pub(crate) or_replace: bool,
    pub(crate) columns: Vec<Name>,
    pub(crate) select: Box<Select>,
    pub(crate) source: Source,
}

#[derive(Debug)]
pub(crate) struct CreateAudience {
    pub(crate) name: Name,
    pub(crate) or_replace: bool,
    pub(crate) if_not_exists: bool,
    pub(crate) members: AudienceMembers,
    pub(crate) source: Source,
}

/// Whom an audience has.
#[derive(Debug)]
pub(crate) enum AudienceMembers {
    /// Whoever the SELECT gives when the audience is asked.
    Dynamic(Box<Select>),
    /// Whoever the SELECT gives now.
    Frozen(Box<Select>),
    /// Those whose keys stand in a file.
    Keys(KeysFile),
}

/// `ON table FROM 'file' [(options)]`
#[derive(Debug)]
pub(crate) struct KeysFile {
    pub(crate) table: Name,
    pub(crate) file: String,
    pub(crate) file_span: Span,
    pub(crate) options: CopyOptions,
}

/// The part of the text that says who or what is meant, for the catalog.
#[derive(Debug)]
pub(crate) struct Source {
    span: Span,
    pub(crate) text: String,
}

impl Definition {
    /// Takes the source out of the statement's text.
    pub(crate) fn keep_source(&mut self, sql: &str) {
        let source = match self {
            Definition::CreateView(view) => &mut view.source,
            Definition::CreateAudience(audience) => &mut audience.source,
            _ => return,
        };
        source.text = sql.get(source.span.start..source.span.end).unwrap_or_default().to_owned();
    }
}

impl Kind {
    /// Its word in a statement.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Table => "TABLE",
            Kind::View => "VIEW",
            Kind::Audience => "AUDIENCE",
        }
    }

    fn read(cursor: &mut Cursor) -> Option<Kind> {
        if cursor.eat_keyword(Keyword::TABLE) {
            Some(Kind::Table)
        } else if cursor.eat_keyword(Keyword::VIEW) {
            Some(Kind::View)
        } else if eat_word(cursor, "audience") {
            Some(Kind::Audience)
        } else {
            None
        }
    }
}

/// `SHOW TABLES`, `SHOW VIEWS`, `SHOW AUDIENCES`, `SHOW USERS`
pub(crate) fn show(cursor: &mut Cursor) -> Result<Statement> {
    cursor.expect_keyword(Keyword::SHOW)?;
    if cursor.eat_keyword(Keyword::TABLES) {
        Ok(Statement::ShowTables)
    } else if eat_word(cursor, "views") {
        Ok(Statement::ShowViews)
    } else if eat_word(cursor, "audiences") {
        Ok(Statement::ShowAudiences)
    } else if eat_word(cursor, "users") {
        Ok(Statement::ShowUsers)
    } else {
        Err(cursor.expected("TABLES, VIEWS, AUDIENCES or USERS"))
    }
}

/// `DESCRIBE name`
pub(crate) fn describe(cursor: &mut Cursor) -> Result<Statement> {
    cursor.take();
    // A table may be called "audience": the word is a kind only where a name follows.
    if matches!(cursor.peek_nth(1), Token::Word(_)) {
        Kind::read(cursor);
    }
    Ok(Statement::Describe(cursor.table_name()?))
}

/// Passes a word that the lexer does not know as a keyword, if it is ahead.
pub(crate) fn eat_word(cursor: &mut Cursor, word: &str) -> bool {
    let found = is_word(cursor.peek(), word);
    if found {
        cursor.take();
    }
    found
}

pub(crate) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// `name, name, …`
pub(crate) fn names(cursor: &mut Cursor, what: &str) -> Result<Vec<Name>> {
    let mut names = vec![cursor.name(what)?];
    while cursor.eat(&Token::Comma) {
        names.push(cursor.name(what)?);
    }
    Ok(names)
}

fn one_change(cursor: &Cursor) -> Error {
    Error::unsupported(cursor.span(), "several changes in one ALTER TABLE are not supported")
        .advise("write a statement for each")
}
