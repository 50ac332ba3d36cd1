//! The grammar of users: CREATE, ALTER and DROP USER. What is told of an error leaves the password out
//! ([`super::secrets`]).

use super::password::Password;
use crate::cursor::{Cursor, is_text};
use crate::ddl::{eat_word, is_word, names};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::parameter;
use crate::statement::{Constant, Name, Statement, TermKind};
use muster_engine::catalog::Role;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

const CREATE_SHAPE: &str = "CREATE USER ada PASSWORD '…' ROLE write";
const ALTER_SHAPE: &str = "ALTER USER ada PASSWORD '…' ROLE write";

/// What of users changes.
#[derive(Debug)]
pub(crate) enum Change {
    Create { name: Name, if_not_exists: bool, password: Password, role: Role },
    Alter { name: Name, password: Option<Password>, role: Option<Role> },
    Drop { names: Vec<Name>, if_exists: bool },
}

impl Change {
    /// The first words of the statement.
    pub(super) fn tag(&self) -> &'static str {
        match self {
            Change::Create { .. } => "CREATE USER",
            Change::Alter { .. } => "ALTER USER",
            Change::Drop { .. } => "DROP USER",
        }
    }
}

fn statement(change: Change) -> Result<Statement> {
    Ok(Statement::Users(Box::new(change)))
}

/// True where a user is ahead, or what other databases call a role.
pub(crate) fn is_ahead(cursor: &Cursor) -> bool {
    is_word(cursor.peek(), "user") || is_word(cursor.peek(), "role")
}

fn user(cursor: &mut Cursor) -> Result<()> {
    if is_word(cursor.peek(), "role") {
        return Err(Error::unsupported(cursor.span(), "roles are not made: there are read, write and admin")
            .advise(CREATE_SHAPE));
    }
    cursor.take();
    Ok(())
}

/// `USER [IF NOT EXISTS] name [WITH] PASSWORD 'text' [ROLE role]`
pub(crate) fn create(cursor: &mut Cursor) -> Result<Statement> {
    user(cursor)?;
    let if_not_exists = cursor.eat_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = cursor.name("the name of the user")?;
    let (password, role) = options(cursor)?;
    let Some(password) = password else {
        return Err(cursor.expected("PASSWORD").advise(CREATE_SHAPE));
    };
    statement(Change::Create { name, if_not_exists, password, role: role.unwrap_or(Role::Read) })
}

/// `USER name [WITH] [PASSWORD 'text'] [ROLE role]`
pub(crate) fn alter(cursor: &mut Cursor) -> Result<Statement> {
    user(cursor)?;
    let name = cursor.name("the name of the user")?;
    let (password, role) = options(cursor)?;
    if password.is_none() && role.is_none() {
        return Err(cursor.expected("PASSWORD or ROLE").advise(ALTER_SHAPE));
    }
    statement(Change::Alter { name, password, role })
}

/// `USER [IF EXISTS] name, …`
pub(crate) fn drop(cursor: &mut Cursor) -> Result<Statement> {
    user(cursor)?;
    let if_exists = cursor.eat_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let names = names(cursor, "the name of a user")?;
    statement(Change::Drop { names, if_exists })
}

/// `[WITH] [PASSWORD 'text'] [ROLE role]`, in any order.
fn options(cursor: &mut Cursor) -> Result<(Option<Password>, Option<Role>)> {
    let with = cursor.eat_keyword(Keyword::WITH);
    let (mut password, mut role) = (None, None);
    loop {
        let span = cursor.span();
        if eat_word(cursor, "password") {
            check_once(password.is_some(), span)?;
            password = Some(self::password(cursor)?);
        } else if eat_word(cursor, "role") {
            check_once(role.is_some(), span)?;
            role = Some(self::role(cursor)?);
        } else if with && password.is_none() && role.is_none() {
            return Err(cursor.expected("PASSWORD or ROLE").advise(ALTER_SHAPE));
        } else {
            return Ok((password, role));
        }
    }
}

fn check_once(is_there: bool, span: Span) -> Result<()> {
    if is_there { Err(Error::syntax(span, "this is said twice")) } else { Ok(()) }
}

/// A text in single quotes, or a parameter.
fn password(cursor: &mut Cursor) -> Result<Password> {
    let span = cursor.span();
    if let Token::Placeholder(name) = cursor.peek() {
        let term = parameter::term(name, cursor.parameters(), span)?;
        let TermKind::Constant(Constant::Unknown(text)) = term else {
            return Err(Error::query(QueryErrorKind::Type, span, "a password is a text"));
        };
        cursor.take();
        return Password::new(text, span);
    }
    if !is_text(cursor.peek()) {
        return Err(Error::syntax(span, "expected the password in single quotes, or a parameter"));
    }
    let (text, span) = cursor.text("the password")?;
    Password::new(text, span)
}

fn role(cursor: &mut Cursor) -> Result<Role> {
    let span = cursor.span();
    let Token::Word(word) = cursor.peek() else { return Err(cursor.expected("read, write or admin")) };
    let Some(role) = Role::named(&word.value) else {
        let message = format!("unknown role \"{}\"", word.value);
        return Err(
            Error::query(QueryErrorKind::Value, span, message).advise("the roles are read, write and admin")
        );
    };
    cursor.take();
    Ok(role)
}
