//! Texts matched with LIKE patterns and regular expressions, in time linear in the text.

use super::{Pattern, PatternKind};
use crate::{Error, Result};
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

/// The most memory that a compiled pattern takes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A pattern, compiled.
pub(crate) enum Matcher {
    /// The text itself.
    Exact(Vec<u8>),
    /// Begins so.
    Prefix(Vec<u8>),
    /// Ends so.
    Suffix(Vec<u8>),
    /// Has this somewhere.
    Contains(Box<Finder<'static>>),
    /// Everything else.
    Regex(Regex),
}

impl Matcher {
    /// Compiles a pattern. Errors: one that is no regular expression, ends in its escape, or is too large.
    pub(crate) fn new(pattern: &Pattern) -> Result<Matcher> {
        let text = pattern.pattern.as_str();
        match pattern.kind {
            PatternKind::Like => like(text),
            PatternKind::ILike => regex(&like_as_regex(text)?, true, text),
            PatternKind::Regex => regex(text, false, text),
            PatternKind::IRegex => regex(text, true, text),
        }
    }

    /// True where the text matches.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        match self {
            Matcher::Exact(exact) => exact == text,
            Matcher::Prefix(prefix) => text.starts_with(prefix),
            Matcher::Suffix(suffix) => text.ends_with(suffix),
            Matcher::Contains(finder) => finder.find(text).is_some(),
            Matcher::Regex(regex) => regex.is_match(text),
        }
    }
}

/// A part of a LIKE pattern.
enum Piece {
    Character(char),
    One,
    Any,
}

fn pieces(pattern: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        pieces.push(match character {
            '%' => Piece::Any,
            '_' => Piece::One,
            '\\' => match characters.next() {
                Some(escaped) => Piece::Character(escaped),
                None => {
                    return Err(Error::Invalid(format!(
                        "the LIKE pattern {pattern:?} ends in a backslash, which takes the next character literally; \
                         write two for one"
                    )));
                }
            },
            other => Piece::Character(other),
        });
    }
    Ok(pieces)
}

/// The common shapes are looked for directly: `x`, `x%`, `%x`, `%x%`.
fn like(pattern: &str) -> Result<Matcher> {
    let pieces = pieces(pattern)?;
    let any = |piece: Option<&Piece>| matches!(piece, Some(Piece::Any));
    let (open_start, open_end) = (any(pieces.first()), any(pieces.last()));
    let start = pieces.iter().take_while(|piece| matches!(piece, Piece::Any)).count();
    let end = pieces.len() - pieces.iter().rev().take_while(|piece| matches!(piece, Piece::Any)).count();
    let mut literal = String::new();
    for piece in pieces.get(start..end).unwrap_or_default() {
        match piece {
            Piece::Character(character) => literal.push(*character),
            Piece::One | Piece::Any => return regex(&like_as_regex(pattern)?, false, pattern),
        }
    }
    let literal = literal.into_bytes();
    Ok(match (open_start, open_end) {
        (false, false) => Matcher::Exact(literal),
        (false, true) => Matcher::Prefix(literal),
        (true, false) => Matcher::Suffix(literal),
        (true, true) => Matcher::Contains(Box::new(Finder::new(&literal).into_owned())),
    })
}

fn like_as_regex(pattern: &str) -> Result<String> {
    let mut regex = String::from("(?s)^");
    for piece in pieces(pattern)? {
        match piece {
            Piece::Character(character) => regex.push_str(&regex::escape(character.encode_utf8(&mut [0; 4]))),
            Piece::One => regex.push('.'),
            Piece::Any => regex.push_str(".*"),
        }
    }
    regex.push('$');
    Ok(regex)
}

fn regex(text: &str, ignore_case: bool, shown: &str) -> Result<Matcher> {
    let built = RegexBuilder::new(text)
        .case_insensitive(ignore_case)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(4 * PATTERN_BYTES_MAX)
        .build();
    built.map(Matcher::Regex).map_err(|error| {
        let reason = match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            other => other.to_string().lines().last().unwrap_or_default().trim().replacen("error: ", "", 1),
        };
        Error::Invalid(format!("the pattern {shown:?} cannot be used: {reason}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(kind: PatternKind, pattern: &str, text: &str) -> bool {
        Matcher::new(&Pattern { kind, pattern: pattern.into() }).unwrap().matches(text.as_bytes())
    }

    /// LIKE as its definition reads, by recursion.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['%', rest @ ..] => (0..=text.len()).any(|skipped| naive(rest, &text[skipped..])),
            ['_', rest @ ..] => !text.is_empty() && naive(rest, &text[1..]),
            ['\\', one, rest @ ..] | [one, rest @ ..] => text.first() == Some(one) && naive(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn like_is_as_defined(pattern in "[ab%_é\n]{0,6}", text in "[abé\n.]{0,8}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(PatternKind::Like, &pattern, &text), naive(&p, &t));
            prop_assert_eq!(matches(PatternKind::ILike, &pattern.to_uppercase(), &text), naive(&p, &t));
        }
    }

    #[test]
    fn escapes_and_regular_expressions() {
        assert!(
            matches(PatternKind::Like, r"100\%", "100%") && !matches(PatternKind::Like, r"100\%", "1000")
        );
        assert!(matches(PatternKind::Like, r"a\_%", "a_b") && !matches(PatternKind::Like, r"a\_%", "acb"));
        assert!(matches(PatternKind::Like, "上_%", "上海市") && !matches(PatternKind::Like, "上__%", "上海"));
        assert!(
            matches(PatternKind::Regex, "^v[0-9]+$", "v12")
                && !matches(PatternKind::Regex, "^v[0-9]+$", "V12")
        );
        assert!(matches(PatternKind::IRegex, "corp", "x@CORP.com"));
        let refused = |kind, pattern: &str| Matcher::new(&Pattern { kind, pattern: pattern.into() }).is_err();
        assert!(refused(PatternKind::Like, "a\\"));
        assert!(refused(PatternKind::Regex, "(a"));
        assert!(refused(PatternKind::Regex, "((a{100}){100}){100}"));
    }
}
