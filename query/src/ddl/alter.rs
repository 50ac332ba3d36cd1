//! ALTER and DROP; of users see [`crate::users::grammar`].

use super::{Definition, Kind, names, one_change, table};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::statement::Statement;
use crate::users;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

/// `ALTER TABLE name ADD | DROP | RENAME …`, `ALTER VIEW | AUDIENCE name RENAME TO name`
pub(crate) fn alter(cursor: &mut Cursor) -> Result<Statement> {
    cursor.expect_keyword(Keyword::ALTER)?;
    if users::grammar::is_ahead(cursor) {
        return users::grammar::alter(cursor);
    }
    let Some(kind) = Kind::read(cursor) else {
        return Err(cursor.expected("TABLE, VIEW, AUDIENCE or USER"));
    };
    let name = cursor.table_name()?;
    let span = cursor.span();
    let definition = match cursor.keyword() {
        Keyword::RENAME => {
            cursor.take();
            if cursor.eat_keyword(Keyword::TO) {
                let to = cursor.name("the new name")?;
                Definition::Rename { kind, name, to }
            } else if kind == Kind::Table {
                cursor.eat_keyword(Keyword::COLUMN);
                let column = cursor.name("a column name, or TO")?;
                cursor.expect_keyword(Keyword::TO)?;
                let to = cursor.name("the new name")?;
                Definition::RenameColumn { table: name, column, to }
            } else {
                return Err(cursor.expected("TO and the new name"));
            }
        }
        Keyword::ADD if kind == Kind::Table => {
            cursor.take();
            cursor.eat_keyword(Keyword::COLUMN);
            let if_not_exists = cursor.eat_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
            let (column, is_key) = table::added_column(cursor, &name)?;
            Definition::AddColumn { table: name, column, is_key, if_not_exists }
        }
        Keyword::DROP if kind == Kind::Table => {
            cursor.take();
            cursor.eat_keyword(Keyword::COLUMN);
            let if_exists = cursor.eat_keywords(&[Keyword::IF, Keyword::EXISTS]);
            let column = cursor.name("a column name")?;
            Definition::DropColumn { table: name, column, if_exists, cascade: cascade(cursor) }
        }
        Keyword::ALTER if kind == Kind::Table => {
            return Err(Error::unsupported(span, "a column's type and constraints cannot be changed")
                .advise("add a new column, or import into a new table"));
        }
        _ if kind == Kind::Table => return Err(cursor.expected("ADD, DROP or RENAME")),
        _ => {
            let error = cursor.expected("RENAME TO");
            return Err(error.advise(format!("CREATE OR REPLACE {} changes what it shows", kind.word())));
        }
    };
    if *cursor.peek() == Token::Comma {
        return Err(one_change(cursor));
    }
    Ok(Statement::Define(Box::new(definition)))
}

/// `DROP TABLE | VIEW | AUDIENCE [IF EXISTS] name, … [CASCADE | RESTRICT]`
pub(crate) fn drop(cursor: &mut Cursor) -> Result<Statement> {
    cursor.expect_keyword(Keyword::DROP)?;
    if users::grammar::is_ahead(cursor) {
        return users::grammar::drop(cursor);
    }
    let Some(kind) = Kind::read(cursor) else {
        return Err(cursor.expected("TABLE, VIEW, AUDIENCE or USER"));
    };
    let if_exists = cursor.eat_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let names = names(cursor, "a name")?;
    if *cursor.peek() == Token::Period {
        return Err(Error::unsupported(cursor.span(), "schemas and catalogs are not supported"));
    }
    let cascade = cascade(cursor);
    Ok(Statement::Define(Box::new(Definition::Drop { kind, names, if_exists, cascade })))
}

/// `CASCADE`; RESTRICT is what happens without.
fn cascade(cursor: &mut Cursor) -> bool {
    cursor.eat_keyword(Keyword::CASCADE) || {
        cursor.eat_keyword(Keyword::RESTRICT);
        false
    }
}
