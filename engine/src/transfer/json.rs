//! One line of JSON as the members of an object, without building a tree and without copying what need not be.
//!
//! Strict where a value is read: RFC 8259's numbers, strings and words. What is nested is only measured, not looked
//! into; no depth of nesting costs stack.

use crate::value::json_string;

/// The value of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Json<'a> {
    Null,
    Boolean(bool),
    /// A number as it is written.
    Number(&'a str),
    /// A text, its escapes resolved.
    Text(&'a str),
    /// An array as it is written, brackets included.
    Array(&'a str),
    /// An object.
    Object,
}

/// Texts with escapes are resolved here, so that a line need not allocate.
#[derive(Default)]
pub(super) struct Scratch {
    name: String,
    text: String,
}

const BROKEN: &str = "is no JSON object on one line";

/// Calls `take` with each member in order of appearance, and stops at its first error. Members may repeat.
pub(super) fn for_each_member<E: From<&'static str>>(
    line: &str,
    scratch: &mut Scratch,
    mut take: impl FnMut(&str, Json<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let Scratch { name, text } = scratch;
    let mut rest = spaces(line).strip_prefix('{').ok_or(BROKEN)?;
    rest = spaces(rest);
    if let Some(after) = rest.strip_prefix('}') {
        return if spaces(after).is_empty() { Ok(()) } else { Err(BROKEN.into()) };
    }
    loop {
        name.clear();
        rest = spaces(json_string(spaces(rest), name).ok_or(BROKEN)?);
        rest = spaces(rest.strip_prefix(':').ok_or(BROKEN)?);
        let (value, after) = value(rest, text).ok_or(BROKEN)?;
        take(name, value)?;
        rest = spaces(after);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => {
                let end = rest.strip_prefix('}').ok_or(BROKEN)?;
                return if spaces(end).is_empty() { Ok(()) } else { Err(BROKEN.into()) };
            }
        }
    }
}

fn spaces(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
}

/// The value at the front, and what follows it.
fn value<'t, 'a: 't>(rest: &'a str, text: &'t mut String) -> Option<(Json<'t>, &'a str)> {
    let word = |word: &str, value| rest.strip_prefix(word).map(|after| (value, after));
    match rest.as_bytes().first()? {
        b'"' => {
            text.clear();
            let after = json_string(rest, text)?;
            Some((Json::Text(text), after))
        }
        b'n' => word("null", Json::Null),
        b't' => word("true", Json::Boolean(true)),
        b'f' => word("false", Json::Boolean(false)),
        b'[' => nested_end(rest).map(|end| (Json::Array(&rest[..end]), &rest[end..])),
        b'{' => nested_end(rest).map(|end| (Json::Object, &rest[end..])),
        _ => number_end(rest.as_bytes()).map(|end| (Json::Number(&rest[..end]), &rest[end..])),
    }
}

/// Where the bracket at the front is closed again.
fn nested_end(rest: &str) -> Option<usize> {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Where the number at the front ends.
fn number_end(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && bytes[at] == b'0') {
        return None;
    }
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        at += 1 + fraction;
        if fraction == 0 {
            return None;
        }
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        at += exponent;
        if exponent == 0 {
            return None;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(line: &str) -> Result<Vec<(String, String)>, &'static str> {
        let mut members = Vec::new();
        for_each_member(line, &mut Scratch::default(), |name, value| {
            members.push((name.to_owned(), format!("{value:?}")));
            Ok::<(), &'static str>(())
        })?;
        Ok(members)
    }

    #[test]
    fn members_are_read() {
        let line = r#" {"a" : 1, "b":"x\u00e9\"", "c":null,"d":[true , "]"], "e":{"f":[{}]}, "g":-0.5e+10 , "a":false} "#;
        let expected = [
            ("a", "Number(\"1\")"),
            ("b", "Text(\"xé\\\"\")"),
            ("c", "Null"),
            ("d", "Array(\"[true , \\\"]\\\"]\")"),
            ("e", "Object"),
            ("g", "Number(\"-0.5e+10\")"),
            ("a", "Boolean(false)"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(members(line).unwrap(), expected);
        assert_eq!(members("{}").unwrap(), []);
        // No depth overflows the stack.
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(members(&deep).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for line in [
            "",
            "1",
            "[1]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":1e}",
            "{\"a\":nul}",
            "{\"a\":nan}",
            "{a:1}",
            "{\"a\":'x'}",
            "{\"a\":1}}",
            "{\"a\":1} {}",
            "{\"a\":[1}",
            "{\"a\":\"x}",
            "{\"a\":truely}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"\\x\"}",
        ] {
            assert_eq!(members(line), Err(BROKEN), "{line}");
        }
        assert!(members("{\"a\":1E310}").is_ok());
    }

    proptest! {
        /// What serde_json takes for an object of plain values is read here with the same members.
        #[test]
        fn agrees_with_serde_json(line in r#"\{("a":(0|-?[1-9][0-9]{0,3}|"\PC*"|null|true|[0-9.eE+-]{1,5}),?){0,2}\}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&line);
            // Where a number is beyond a double, it is all that they say of the line.
            prop_assert!(overflows(&line) || members(&line).is_ok() == theirs.is_ok(), "{}", line);
        }
    }

    /// A number beyond a double is no error of ours: the column's type decides.
    fn overflows(line: &str) -> bool {
        serde_json::from_str::<serde_json::Value>(line)
            .is_err_and(|error| error.to_string().contains("out of range"))
    }
}
