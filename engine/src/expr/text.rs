//! Functions of a text: parts of it are borrowed, so that a million of them are looked at without being copied.

use super::Function;
use crate::value::Value;
use crate::{Error, Result};
use md5::{Digest, Md5};
use std::borrow::Cow;

/// Characters (not bytes).
pub(crate) fn length(text: &str) -> i64 {
    text.chars().count() as i64
}

/// The text that a function makes of a text and its other arguments; `None` where it is no such function, or does not take
/// these.
pub(crate) fn changed<'t>(
    function: &Function,
    text: &'t str,
    rest: &[Value],
) -> Option<Result<Cow<'t, str>>> {
    Some(Ok(match (function, rest) {
        (Function::Lower, []) => text.to_lowercase().into(),
        (Function::Upper, []) => text.to_uppercase().into(),
        (Function::Md5, []) => {
            let hash = Md5::digest(text.as_bytes());
            hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
        }
        (Function::Trim, []) => text.trim_matches(' ').into(),
        (Function::Substr, [Value::Integer(from)]) => part(text, *from, i64::MAX).into(),
        (Function::Substr, [Value::Integer(_), Value::Integer(..0)]) => {
            return Some(Err(Error::Invalid("the length of a substr is not negative".into())));
        }
        (Function::Substr, [Value::Integer(from), Value::Integer(length)]) => {
            part(text, *from, *length).into()
        }
        (Function::Replace, [Value::Text(from), Value::Text(to)]) => replaced(text, from, to),
        (Function::SplitPart, [Value::Text(_), Value::Integer(0)]) => {
            let what = "split_part counts from 1, or from -1 at the end";
            return Some(Err(Error::Invalid(what.into())));
        }
        (Function::SplitPart, [Value::Text(separator), Value::Integer(n)]) => {
            let index = usize::try_from(n.unsigned_abs() - 1).unwrap_or(usize::MAX);
            let part = if separator.is_empty() {
                (index == 0).then_some(text)
            } else if *n > 0 {
                text.split(separator.as_str()).nth(index)
            } else {
                text.rsplit(separator.as_str()).nth(index)
            };
            part.unwrap_or_default().into()
        }
        _ => return None,
    }))
}

/// With `to` for each `from`; that there is none in a short text is found out without preparing a search.
fn replaced<'t>(text: &'t str, from: &str, to: &str) -> Cow<'t, str> {
    let is_there = !from.is_empty() && memchr::memmem::find(text.as_bytes(), from.as_bytes()).is_some();
    if is_there { text.replace(from, to).into() } else { text.into() }
}

/// So many characters from one of them, counted from 1. Those before the first count too: substr('abc', 0, 2) is 'a'.
fn part(text: &str, from: i64, length: i64) -> &str {
    let end = from.saturating_add(length).saturating_sub(1).max(0);
    let skipped = from.saturating_sub(1).max(0);
    let ascii = text.is_ascii();
    let at = |characters: i64| {
        let characters = usize::try_from(characters).unwrap_or(usize::MAX);
        if ascii {
            return characters.min(text.len());
        }
        text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
    };
    &text[at(skipped)..at(end.max(skipped))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_those_of_the_characters(text in "[aé\u{1F600}]{0,6}|[ab]{0,6}", from in -3i64..9, length in 0i64..9) {
            let wanted = |place: i64| (from..from + length).contains(&place);
            let expected: String =
                text.chars().zip(1..).filter(|(_, place)| wanted(*place)).map(|(c, _)| c).collect();
            prop_assert_eq!(part(&text, from, length), expected);
            let rest: String = text.chars().zip(1..).filter(|(_, place)| *place >= from).map(|(c, _)| c).collect();
            prop_assert_eq!(part(&text, from, i64::MAX), rest);
        }
    }
}
