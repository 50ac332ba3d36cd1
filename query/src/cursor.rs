//! A place in the tokens of one statement, and the small words of every grammar: names, numbers, what was expected.

use crate::dialect::{keyword, span_of};
use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::parameter::Param;
use crate::statement::{Name, Select};
use muster_engine::schema::NAME_BYTES_MAX;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use std::sync::Arc;

/// The most SELECTs within each other.
const SELECTS_MAX: usize = 16;

/// The most tables of all FROMs of a statement, those that names of WITH stand for each time they are named.
const FROMS_MAX: usize = 256;

/// A name of WITH.
struct Known {
    name: String,
    select: Arc<Select>,
    /// SELECTs within each other, itself included.
    levels: usize,
    froms: usize,
}

/// Reads tokens from left to right. Texts are moved out of the tokens that are passed, not copied.
pub(crate) struct Cursor {
    tokens: Vec<TokenWithSpan>,
    at: usize,
    /// Where the text ends, white space left out.
    end: usize,
    /// What `$1`, `$2`, … are.
    parameters: Vec<Param>,
    /// SELECTs that are being read, one within another.
    selects: usize,
    /// True once one has been.
    has_selects: bool,
    /// The most that were read within each other since somebody asked.
    deepest: usize,
    /// Tables that were named after FROM.
    froms: usize,
    /// The names of WITH that can be used, the last first.
    known: Vec<Known>,
}

impl Cursor {
    /// Stands before the first of a statement's tokens; `end` is where its text ends.
    pub(crate) fn new(tokens: Vec<TokenWithSpan>, end: usize, parameters: &[Param]) -> Cursor {
        Cursor {
            tokens,
            at: 0,
            end,
            parameters: parameters.to_vec(),
            selects: 0,
            has_selects: false,
            deepest: 0,
            froms: 0,
            known: Vec::new(),
        }
    }

    /// Reads `name AS (SELECT …)` of WITH by `read`; the name can be used until [`Self::forget`].
    pub(crate) fn learn(
        &mut self,
        name: Name,
        read: impl FnOnce(&mut Cursor) -> Result<Select>,
    ) -> Result<()> {
        let (before, froms) = (std::mem::replace(&mut self.deepest, self.selects), self.froms);
        let select = Arc::new(read(self)?);
        let levels = self.deepest - self.selects;
        self.deepest = self.deepest.max(before);
        self.known.push(Known { name: name.text, select, levels, froms: self.froms - froms });
        Ok(())
    }

    /// How many names of WITH are known: for [`Self::forget`].
    pub(crate) fn known(&self) -> usize {
        self.known.len()
    }

    /// Leaves only so many names of WITH.
    pub(crate) fn forget(&mut self, left: usize) {
        self.known.truncate(left);
    }

    /// What a name after FROM stands for, where WITH knows it.
    pub(crate) fn named_select(&mut self, name: &Name) -> Result<Option<Select>> {
        self.froms += 1;
        let known = self.known.iter().rev().find(|known| known.name == name.text);
        let found = known.map(|known| (Arc::clone(&known.select), known.levels, known.froms));
        let Some((select, levels, froms)) = found else { return self.check_froms(name.span).map(|()| None) };
        self.froms += froms;
        self.deepest = self.deepest.max(self.selects + levels);
        if self.deepest > SELECTS_MAX {
            return Err(self.too_deep());
        }
        self.check_froms(name.span)?;
        Ok(Some(Select::clone(&select)))
    }

    fn check_froms(&self, span: Span) -> Result<()> {
        if self.froms <= FROMS_MAX {
            return Ok(());
        }
        let message =
            format!("a statement names at most {FROMS_MAX} tables after FROM, those within WITH each time");
        Err(Error::query(QueryErrorKind::Limit, span, message))
    }

    fn too_deep(&self) -> Error {
        let message = format!("SELECTs are nested more than {SELECTS_MAX} levels deep");
        Error::query(QueryErrorKind::Limit, self.span(), message)
            .advise("give the inner ones names: CREATE VIEW, CREATE AUDIENCE")
    }

    /// Reads a SELECT within those that are being read; too many are refused before the stack runs out.
    pub(crate) fn nested<T>(&mut self, read: impl FnOnce(&mut Cursor) -> Result<T>) -> Result<T> {
        if self.selects == SELECTS_MAX {
            return Err(self.too_deep());
        }
        self.selects += 1;
        self.deepest = self.deepest.max(self.selects);
        self.has_selects = true;
        let read = read(self);
        self.selects -= 1;
        read
    }

    /// True once a SELECT has been read.
    pub(crate) fn has_selects(&self) -> bool {
        self.has_selects
    }

    /// What `$1`, `$2`, … are.
    pub(crate) fn parameters(&self) -> &[Param] {
        &self.parameters
    }

    /// The token ahead, EOF at the end.
    pub(crate) fn peek(&self) -> &Token {
        self.peek_nth(0)
    }

    /// The token after `n` others.
    pub(crate) fn peek_nth(&self, n: usize) -> &Token {
        self.tokens.get(self.at + n).map_or(&Token::EOF, |token| &token.token)
    }

    /// The keyword ahead; quoted words are none.
    pub(crate) fn keyword(&self) -> Keyword {
        keyword(self.peek())
    }

    /// The span of the token ahead; empty at the end of the text.
    pub(crate) fn span(&self) -> Span {
        let end = Span { start: self.end, end: self.end };
        self.tokens.get(self.at).map_or(end, |token| span_of(token.span).unwrap_or(end))
    }

    /// The span of the token passed last.
    pub(crate) fn last_span(&self) -> Span {
        let start = Span { start: 0, end: 0 };
        self.at.checked_sub(1).and_then(|at| span_of(self.tokens[at].span)).unwrap_or(start)
    }

    /// Passes the token ahead and takes it.
    pub(crate) fn take(&mut self) -> Token {
        let token = self.tokens.get_mut(self.at).map(|token| std::mem::replace(&mut token.token, Token::EOF));
        self.at += usize::from(token.is_some());
        token.unwrap_or(Token::EOF)
    }

    /// Passes this token if it is ahead.
    pub(crate) fn eat(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        self.at += usize::from(found);
        found
    }

    /// Passes this keyword if it is ahead.
    pub(crate) fn eat_keyword(&mut self, word: Keyword) -> bool {
        let found = self.keyword() == word;
        self.at += usize::from(found);
        found
    }

    /// Passes these keywords if all of them are ahead.
    pub(crate) fn eat_keywords(&mut self, words: &[Keyword]) -> bool {
        let found = words.iter().enumerate().all(|(n, word)| keyword(self.peek_nth(n)) == *word);
        self.at += if found { words.len() } else { 0 };
        found
    }

    pub(crate) fn expect(&mut self, token: &Token) -> Result<()> {
        if self.eat(token) { Ok(()) } else { Err(self.expected(&format!("'{token}'"))) }
    }

    pub(crate) fn expect_keyword(&mut self, word: Keyword) -> Result<()> {
        if self.eat_keyword(word) { Ok(()) } else { Err(self.expected(&format!("{word:?}"))) }
    }

    /// Passes the semicolons at the end; more is refused.
    pub(crate) fn expect_end(&mut self) -> Result<()> {
        while self.eat(&Token::SemiColon) {}
        if *self.peek() == Token::EOF { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }

    /// The error of something else standing ahead.
    pub(crate) fn expected(&self, what: &str) -> Error {
        let message = match self.peek() {
            Token::EOF => format!("expected {what}, found the end of the statement"),
            token => format!("expected {what}, found {token}"),
        };
        Error::syntax(self.span(), message)
    }

    /// The next identifier, folded as PostgreSQL does.
    pub(crate) fn name(&mut self, what: &str) -> Result<Name> {
        let Token::Word(word) = self.peek() else { return Err(self.expected(what)) };
        if is_reserved(word.keyword) {
            let message = format!("expected {what}, found the keyword {}", word.value.to_uppercase());
            let advice =
                format!("write \"{}\" in double quotes if it is the name", word.value.to_lowercase());
            return Err(Error::syntax(self.span(), message).advise(advice));
        }
        let span = self.span();
        let Token::Word(word) = self.take() else { return Err(self.expected(what)) };
        let name = Name { text: folded(word), span };
        if name.text.is_empty() || name.text.len() > NAME_BYTES_MAX {
            let message = format!("a name has 1 to {NAME_BYTES_MAX} bytes");
            return Err(Error::query(QueryErrorKind::Limit, span, message));
        }
        Ok(name)
    }

    /// The next identifier as a table's name: nothing may stand before or after it.
    pub(crate) fn table_name(&mut self) -> Result<Name> {
        let name = self.name("a table name")?;
        if *self.peek() == Token::Period {
            let error = Error::unsupported(name.span, "schemas and catalogs are not supported");
            return Err(error.advise("a database has one space of table names: write the name alone"));
        }
        Ok(name)
    }

    /// A text in quotes of any kind.
    pub(crate) fn text(&mut self, what: &str) -> Result<(String, Span)> {
        let span = self.span();
        if !is_text(self.peek()) {
            return Err(self.expected(what));
        }
        let text = match self.take() {
            Token::DollarQuotedString(text) => text.value,
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text,
            Token::UnicodeStringLiteral(text) => text,
            _ => String::new(),
        };
        Ok((text, span))
    }
}

/// True for the tokens that [`Cursor::text`] takes.
pub(crate) fn is_text(token: &Token) -> bool {
    matches!(
        token,
        Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::DollarQuotedString(_)
    )
}

fn folded(word: Word) -> String {
    let lower = word.quote_style.is_some() || !word.value.chars().any(char::is_uppercase);
    if lower { word.value } else { word.value.to_lowercase() }
}

/// The words that PostgreSQL reserves and that a statement could not tell from its grammar.
pub(crate) fn is_reserved(word: Keyword) -> bool {
    use Keyword::*;
    matches!(
        word,
        SELECT
            | FROM
            | WHERE
            | GROUP
            | ORDER
            | LIMIT
            | OFFSET
            | AND
            | OR
            | NOT
            | NULL
            | TRUE
            | FALSE
            | IN
            | IS
            | BETWEEN
            | LIKE
            | CASE
            | WHEN
            | THEN
            | ELSE
            | END
            | AS
            | ON
            | USER
            | TABLE
            | PRIMARY
            | CREATE
            | DISTINCT
            | UNION
            | EXCEPT
            | INTERSECT
            | HAVING
            | ARRAY
            | ANY
            | ALL
            | SOME
            | CAST
            | CURRENT_DATE
            | CURRENT_TIME
            | CURRENT_TIMESTAMP
            | CURRENT_USER
            | SESSION_USER
            | LOCALTIME
            | LOCALTIMESTAMP
            | DEFAULT
            | DESC
            | ASC
            | USING
            | WINDOW
            | WITH
            | FETCH
            | FOR
            | INTO
    )
}
