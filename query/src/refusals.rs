//! What SQL has and this version does not answer, told at the keyword that asks for it.
//!
//! A table of keywords, checked on the tokens before anything is parsed, so that the span is exact and the message
//! says what to write instead. What has no keyword of its own is refused in the grammar.

use crate::dialect::{keyword, span_of};
use crate::error::{Error, Result};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::TokenWithSpan;

/// What a SELECT may look like, for messages.
pub(crate) const SELECT_SHAPE: &str = "a SELECT here is [WITH name AS (…)] SELECT values and aggregates FROM table [JOIN table ON …] WHERE … GROUP BY … HAVING … ORDER BY … LIMIT … OFFSET …";

/// Refuses the token at `at` where it is a keyword that no SELECT of ours takes.
pub(crate) fn check_keyword(tokens: &[TokenWithSpan], at: usize) -> Result<()> {
    let word = keyword(&tokens[at].token);
    let (what, advice) = match word {
        Keyword::NoKeyword | Keyword::AND | Keyword::OR | Keyword::NOT => return Ok(()),
        Keyword::SIMILAR => ("SIMILAR TO", "write LIKE, or ~ with a regular expression"),
        Keyword::LATERAL | Keyword::QUALIFY => ("this clause", SELECT_SHAPE),
        Keyword::FETCH => ("FETCH FIRST", "write LIMIT n"),
        Keyword::COLLATE => ("COLLATE", "TEXT is compared and ordered by its UTF-8 bytes"),
        Keyword::ROLLUP | Keyword::CUBE | Keyword::GROUPING => {
            ("GROUP BY with grouping sets", "ask one statement per grouping")
        }
        _ => return Ok(()),
    };
    let verb = if what.contains(" and ") { "are" } else { "is" };
    Err(Error::unsupported(span_of(tokens[at].span), format!("{what} {verb} not supported")).advise(advice))
}
