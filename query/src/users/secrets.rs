//! Texts of statements without the passwords in them, for whatever shows or keeps a text: errors, logs, histories.
//!
//! Works on any text, whole or not, by PostgreSQL's lexical rules alone ([`crate::script`]): a statement that does not parse is the
//! one that is most surely shown. What is taken for a password:
//!
//! - what stands in quotes after the word PASSWORD, an equals sign between them or not, in any statement;
//! - in CREATE and ALTER USER (or ROLE) whatever stands in quotes, from the first quote to the last, and an unquoted word after
//!   PASSWORD. Where a quote is never closed, everything up to the end of the text.
//!
//! A text too much is masked now and then; no answer depends on it.

use crate::error::{Error, Span};
use crate::script::{comment_end, dollar_end, line_end, quote_end};
use std::borrow::Cow;

/// What stands in the place of a password.
const MASK: &str = "'***'";

/// The text with `'***'` in the place of what stands after PASSWORD, for logs and histories. Also of statements that do not
/// parse, and of scripts. Cost: one pass over the text; without a password it is handed back as it is.
///
/// ```
/// let masked = musterdb::secrets_masked("ALTER USER ada PASSWORD E'it\\'s secret' ROLE write; SELECT 'x'");
/// assert_eq!(masked, "ALTER USER ada PASSWORD '***' ROLE write; SELECT 'x'");
/// ```
pub fn secrets_masked(sql: &str) -> Cow<'_, str> {
    masked_around(sql, Span { start: 0, end: 0 }).0
}

/// The masked text, and where in it a span of the text is.
pub(crate) fn masked_around(sql: &str, span: Span) -> (Cow<'_, str>, Span) {
    let secrets = spans(sql);
    if secrets.is_empty() {
        return (Cow::Borrowed(sql), span);
    }
    let (mut masked, mut at, mut moved) = (String::with_capacity(sql.len()), 0, span);
    for secret in secrets {
        masked += &sql[at..secret.start];
        let start = masked.len();
        masked += MASK;
        at = secret.end;
        // What began or ended in the secret begins or ends with its mask.
        let place = |old: usize, inside: usize, moved: usize| match old {
            old if old >= secret.end => masked.len() + (old - secret.end),
            old if old > secret.start => inside,
            _ => moved,
        };
        moved = Span {
            start: place(span.start, start, moved.start),
            end: place(span.end, masked.len(), moved.end),
        };
    }
    masked += &sql[at..];
    (Cow::Owned(masked), moved)
}

/// An error of this statement without its passwords.
pub(crate) fn concealed(mut error: Error, sql: &str) -> Error {
    let Error::Query { message, suggestion, span, .. } = &mut error else { return error };
    for secret in spans(sql) {
        if span.is_some_and(|span| span.start < secret.end && secret.start < span.end)
            && let Some(found) = message.find(", found ")
        {
            message.truncate(found);
        }
        let quoted = &sql[secret.start..secret.end];
        let bare = quoted.trim_matches(|letter: char| !letter.is_alphanumeric());
        for text in [Some(message as &mut String), suggestion.as_mut()].into_iter().flatten() {
            for secret in [quoted, bare].into_iter().filter(|secret| secret.len() > 3) {
                if text.contains(secret) {
                    *text = text.replace(secret, MASK);
                }
            }
        }
    }
    error
}

/// The word that was passed last, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Definer,
    Password,
    Other,
}

/// The secrets, from left to right.
fn spans(sql: &str) -> Vec<Span> {
    let bytes = sql.as_bytes();
    let mut found: Vec<Span> = Vec::new();
    let mut last = Last::Other;
    // In CREATE or ALTER USER, the number of secrets before it; and that of the last one that had any.
    let (mut of_user, mut before): (Option<usize>, Option<usize>) = (None, None);
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            byte if byte.is_ascii_whitespace() => at += 1,
            b'-' if bytes.get(at + 1) == Some(&b'-') => at = line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => at = comment_end(bytes, at).0,
            b';' => (at, last, of_user) = (at + 1, Last::Other, None),
            b'=' if last == Last::Password => at += 1,
            _ => {
                let (end, quote) = piece(sql, at);
                at = end;
                let word = if quote == Quote::None { &sql[start..end] } else { "" };
                let after_password = last == Last::Password;
                let is = |words: &[&str]| words.iter().any(|one| word.eq_ignore_ascii_case(one));
                let is_secret = match quote {
                    Quote::Text { .. } => after_password || of_user.is_some(),
                    Quote::Name { .. } => after_password,
                    Quote::None => {
                        let is_grammar = word.starts_with('$') || is(&["role", "with", "password"]);
                        after_password && of_user.is_some() && !is_grammar
                    }
                };
                if is_secret {
                    if of_user.is_some() {
                        at = run_end(bytes, at);
                    }
                    found.push(Span { start, end: at });
                }
                if let Some(first) = of_user.filter(|first| *first < found.len()) {
                    // One secret, from the first to the last.
                    found[first].end = found[found.len() - 1].end;
                    found.truncate(first + 1);
                    before = Some(first);
                }
                if let (Quote::Text { whole: false } | Quote::Name { whole: false }, Some(first)) =
                    (quote, before)
                {
                    found[first].end = bytes.len();
                    found.truncate(first + 1);
                }
                if last == Last::Definer && is(&["user", "role"]) {
                    of_user = Some(found.len());
                }
                last = match () {
                    () if is(&["password"]) => Last::Password,
                    () if is(&["create", "alter"]) => Last::Definer,
                    () => Last::Other,
                };
            }
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    /// `'…'`, `E'…'`, `$$…$$`
    Text {
        whole: bool,
    },
    /// `"…"`
    Name {
        whole: bool,
    },
}

/// The end of the word, text, name or sign at `at`, and which it is.
fn piece(sql: &str, at: usize) -> (usize, Quote) {
    let bytes = sql.as_bytes();
    let quoted = |at: usize, escapes: bool| {
        let (end, whole) = quote_end(bytes, at, escapes);
        let end = end.min(bytes.len());
        (end, if bytes[at] == b'"' { Quote::Name { whole } } else { Quote::Text { whole } })
    };
    match &bytes[at..] {
        [b'\'' | b'"', ..] => quoted(at, false),
        [b'e' | b'E', b'\'', ..] => quoted(at + 1, true),
        [b'n' | b'N' | b'b' | b'B' | b'x' | b'X', b'\'', ..] => quoted(at + 1, false),
        [b'u' | b'U', b'&', b'\'' | b'"', ..] => quoted(at + 2, false),
        [b'$', ..] => match dollar_end(sql, at) {
            (end, whole) if end > at + 1 => (end, Quote::Text { whole }),
            _ => (word_end(bytes, at + 1), Quote::None),
        },
        [first, ..] if is_of_word(*first) => (word_end(bytes, at), Quote::None),
        _ => (at + 1, Quote::None),
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

fn word_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| !is_of_word(*byte)).map_or(bytes.len(), |length| at + length)
}

/// The end of what adjoins a password: the rest of one that was quoted wrongly.
fn run_end(bytes: &[u8], at: usize) -> usize {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b';' | b'\'' | b'"');
    bytes[at..].iter().position(ends).map_or(bytes.len(), |length| at + length)
}

#[cfg(test)]
mod tests;
