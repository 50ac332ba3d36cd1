//! From text to tokens, and the limits that hold before any tree is built.
//!
//! The lexer is sqlparser's for PostgreSQL. Its spans count lines and letters; they are rewritten here once, so that
//! everything above reads bytes: *line 1, column c* stands for byte c − 1, and line 0 for *unknown*.
//!
//! One pass over the tokens counts before anything is parsed: nesting (parentheses, brackets, NOT), terms (AND, OR),
//! entries of lists, and the operators of one term. What is beyond the limits is refused with its place, and what is
//! within them is parsed, bound and dropped on a stack of 2 MiB.
//!
//! Why the grammar is ours and not sqlparser's parser: it nests a chain `a OR b OR c …` as deep as the chain is long, and
//! dropping a deep tree overflows the stack; it knows no place for much of what is refused here (types, IS NULL, casts,
//! clauses); and it took two thirds of the time from text to predicate, which is the time of a whole count.

use crate::error::{Error, QueryErrorKind, Result, Span};
use crate::refusals;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{self, Location, Token, TokenWithSpan, Tokenizer};

/// The longest statement, in bytes.
pub const STATEMENT_BYTES_MAX: usize = 16 << 20;
/// The deepest nesting of parentheses, brackets and NOTs. A NOT right before its parenthesis counts as one with it.
pub const DEPTH_MAX: usize = 200;
/// The most terms joined by AND and OR in one statement.
pub const TERMS_MAX: usize = 100_000;
/// The most entries of all lists of one statement.
pub const LIST_ITEMS_MAX: usize = 1_000_000;
/// The most operators and keywords of one term, those around it included.
pub const OPERATORS_MAX: usize = 1_000;

#[derive(Clone, Copy, Default)]
struct Size {
    depth: usize,
    terms: usize,
    operators: usize,
}

/// The bytes of a rewritten span; `None` where sqlparser does not know it.
pub(crate) fn span_of(span: tokenizer::Span) -> Option<Span> {
    let known = span.start.line == 1 && span.end.line == 1;
    known.then(|| Span { start: span.start.column as usize - 1, end: span.end.column as usize - 1 })
}

/// Cuts a text into tokens without white space and comments.
pub(crate) fn tokenize(sql: &str) -> Result<Vec<TokenWithSpan>> {
    if sql.len() > STATEMENT_BYTES_MAX {
        let message =
            format!("the statement has {} bytes; at most {STATEMENT_BYTES_MAX} are taken", sql.len());
        let advice = "load long lists of members into a table with COPY";
        return Err(Error::query(QueryErrorKind::Limit, None, message).advise(advice));
    }
    let mut locator = Locator { rest: sql, line: 1, column: 1, byte: 0 };
    let mut tokens = Vec::with_capacity((sql.len() / 4 + 8).min(1 << 16));
    Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize_with_location_into_buf_with_mapper(&mut tokens, |mut token| {
            token.span.start = locator.bytes(token.span.start);
            token.span.end = locator.bytes(token.span.end);
            token
        })
        .map_err(|error| {
            let at =
                Locator { rest: sql, line: 1, column: 1, byte: 0 }.bytes(error.location).column as usize - 1;
            let message = error.message.trim_end_matches(" at").to_owned();
            Error::syntax(Span { start: at, end: sql.len() }, lower_first(&message))
        })?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    Ok(tokens)
}

/// Follows the lexer's line and column, which only grow, and knows the byte.
struct Locator<'a> {
    rest: &'a str,
    line: u64,
    column: u64,
    byte: usize,
}

impl Locator<'_> {
    fn bytes(&mut self, location: Location) -> Location {
        let mut letters = self.rest.chars();
        while (self.line, self.column) < (location.line, location.column) {
            match letters.next() {
                Some('\n') => (self.line, self.column) = (self.line + 1, 1),
                Some(_) => self.column += 1,
                None => break,
            }
        }
        self.byte += self.rest.len() - letters.as_str().len();
        self.rest = letters.as_str();
        Location { line: 1, column: self.byte as u64 + 1 }
    }
}

/// Checks the limits of a statement, and refuses keywords that a SELECT does not take.
pub(crate) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut counter = Counter::default();
    for at in 0..tokens.len() {
        refusals::check_keyword(tokens, at)?;
        counter.count(&tokens[at])?;
    }
    Ok(())
}

/// The keyword of an unquoted word.
pub(crate) fn keyword(token: &Token) -> Keyword {
    match token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Counts nesting, terms, operators and list entries. Everything it admits is parsed without running out of stack.
#[derive(Default)]
struct Counter {
    open: Vec<Level>,
    current: Level,
    now: Size,
    items: usize,
}

/// What one pair of parentheses holds so far.
#[derive(Clone, Copy, Default)]
struct Level {
    /// What the parenthesis, and the NOT before it, add to the depth.
    depth: usize,
    /// NOTs since the last token of another kind.
    nots: usize,
    /// Operators and keywords since the last comma, AND or OR.
    operators: usize,
    /// BETWEENs whose AND is still to come.
    betweens: usize,
}

impl Counter {
    fn count(&mut self, token: &TokenWithSpan) -> Result<()> {
        let span = span_of(token.span);
        match &token.token {
            Token::LParen | Token::LBracket => {
                let mut level = Level { depth: self.current.nots.max(1), ..Level::default() };
                self.now.depth += level.depth;
                self.current.nots = 0;
                if token.token == Token::LBracket {
                    self.operator();
                }
                std::mem::swap(&mut level, &mut self.current);
                self.open.push(level);
            }
            Token::RParen | Token::RBracket => {
                self.now.depth = self.now.depth.saturating_sub(self.current.depth);
                self.end_term();
                self.current = self.open.pop().unwrap_or_default();
                self.current.nots = 0;
            }
            Token::Comma => {
                self.end_term();
                self.count_item(span)?;
            }
            token => match keyword(token) {
                Keyword::NOT => {
                    self.current.nots += 1;
                    self.operator();
                }
                Keyword::AND if self.current.betweens > 0 => {
                    self.current.nots = 0;
                    self.current.betweens -= 1;
                }
                Keyword::AND | Keyword::OR => {
                    self.end_term();
                    self.now.terms += 1;
                }
                Keyword::NoKeyword => {
                    self.current.nots = 0;
                    let plain = matches!(token, Token::Word(_) | Token::Number(..) | Token::Period)
                        || matches!(token, Token::SingleQuotedString(_));
                    if !plain {
                        self.operator();
                    }
                }
                other => {
                    self.current.nots = 0;
                    self.current.betweens += usize::from(other == Keyword::BETWEEN);
                    self.operator();
                }
            },
        }
        self.check(span)
    }

    fn operator(&mut self) {
        self.current.operators += 1;
        self.now.operators += 1;
    }

    fn end_term(&mut self) {
        self.now.operators -= self.current.operators;
        self.current = Level { depth: self.current.depth, ..Level::default() };
    }

    fn count_item(&mut self, span: Option<Span>) -> Result<()> {
        self.items += 1;
        if self.items < LIST_ITEMS_MAX {
            return Ok(());
        }
        let message = format!("the lists of the statement have more than {LIST_ITEMS_MAX} entries");
        let advice = "load long lists of members into a table with COPY";
        Err(Error::query(QueryErrorKind::Limit, span, message).advise(advice))
    }

    fn check(&self, span: Option<Span>) -> Result<()> {
        let depth = self.now.depth + self.current.nots;
        let refuse = |message: String, advice: &str| {
            Err(Error::query(QueryErrorKind::Limit, span, message).advise(advice))
        };
        if depth > DEPTH_MAX {
            refuse(
                format!("the statement is nested more than {DEPTH_MAX} levels deep"),
                "drop parentheses and NOTs that change nothing",
            )
        } else if self.now.terms >= TERMS_MAX {
            refuse(
                format!("the statement joins more than {TERMS_MAX} terms with AND and OR"),
                "write column = a OR column = b as column IN (a, b)",
            )
        } else if self.now.operators > OPERATORS_MAX {
            refuse(
                format!("one term has more than {OPERATORS_MAX} operators and keywords"),
                "compute the constant before it goes into the statement",
            )
        } else {
            Ok(())
        }
    }
}

/// A message of sqlparser as the end of a sentence of ours.
pub(crate) fn lower_first(message: &str) -> String {
    let mut letters = message.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
