//! The text of a TEXT[]: PostgreSQL's `{a,"b c"}` and JSON's `["a","b c"]`.
//!
//! Elements are handed out one by one, borrowed, so that an import need not own them. Sorting and removing duplicates
//! are the caller's. A NULL element is refused: a set has no place for one.

use super::parse::Reason;
use std::fmt;

const NULL_ELEMENT: &str = "has a NULL element, which a set of tags cannot hold";

/// Calls `take` with each element in order of appearance; `scratch` is reused for elements with escapes.
pub(crate) fn for_each_tag(text: &str, scratch: &mut String, take: impl FnMut(&str)) -> Result<(), Reason> {
    let text = text.trim_ascii();
    if let Some(inside) = text.strip_prefix('{') {
        braces(inside, scratch, take)
    } else if let Some(inside) = text.strip_prefix('[') {
        json(inside, scratch, take)
    } else {
        Err("is not an array ({a,\"b c\"} or [\"a\",\"b c\"])".into())
    }
}

/// The elements after `{`.
fn braces(inside: &str, scratch: &mut String, mut take: impl FnMut(&str)) -> Result<(), Reason> {
    const BROKEN: &str = "is a malformed array ({a,\"b c\"} is expected)";
    let mut rest = inside.trim_ascii_start();
    if let Some(after) = rest.strip_prefix('}') {
        return if after.is_empty() { Ok(()) } else { Err(BROKEN.into()) };
    }
    loop {
        rest = rest.trim_ascii_start();
        if let Some(quoted) = rest.strip_prefix('"') {
            scratch.clear();
            let mut chars = quoted.char_indices();
            loop {
                match chars.next().ok_or(BROKEN)? {
                    (at, '"') => {
                        rest = quoted[at + 1..].trim_ascii_start();
                        break;
                    }
                    (_, '\\') => scratch.push(chars.next().ok_or(BROKEN)?.1),
                    (_, other) => scratch.push(other),
                }
            }
            take(scratch);
        } else {
            let end = rest.find([',', '}', '{', '"', '\\']).ok_or(BROKEN)?;
            if !rest[end..].starts_with([',', '}']) {
                return Err(BROKEN.into());
            }
            let element = rest[..end].trim_ascii_end();
            if element.is_empty() {
                return Err(BROKEN.into());
            }
            if element.eq_ignore_ascii_case("null") {
                return Err(NULL_ELEMENT.into());
            }
            take(element);
            rest = &rest[end..];
        }
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => return if rest == "}" { Ok(()) } else { Err(BROKEN.into()) },
        }
    }
}

/// The elements after `[`.
fn json(inside: &str, scratch: &mut String, mut take: impl FnMut(&str)) -> Result<(), Reason> {
    const BROKEN: &str = "is a malformed JSON array of strings ([\"a\",\"b c\"] is expected)";
    let mut rest = inside.trim_ascii_start();
    if let Some(after) = rest.strip_prefix(']') {
        return if after.is_empty() { Ok(()) } else { Err(BROKEN.into()) };
    }
    loop {
        rest = rest.trim_ascii_start();
        if rest.starts_with("null") {
            return Err(NULL_ELEMENT.into());
        }
        scratch.clear();
        rest = json_string(rest, scratch).ok_or(BROKEN)?.trim_ascii_start();
        take(scratch);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => return if rest == "]" { Ok(()) } else { Err(BROKEN.into()) },
        }
    }
}

/// Appends the JSON string at the front of `text` to `out`; gives what follows, `None` where it is malformed.
pub(crate) fn json_string<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    let text = text.strip_prefix('"')?;
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some(&text[at + 1..]),
            (_, '\\') => match chars.next()?.1 {
                'b' => out.push('\u{8}'),
                'f' => out.push('\u{c}'),
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                'u' => {
                    let mut unit = four_hex_digits(&mut chars)?;
                    // Characters beyond the first plane are written as two halves.
                    if (0xd800..0xdc00).contains(&unit) {
                        if (chars.next()?.1, chars.next()?.1) != ('\\', 'u') {
                            return None;
                        }
                        let low =
                            four_hex_digits(&mut chars)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                        unit = 0x1_0000 + ((unit - 0xd800) << 10) + low;
                    }
                    out.push(char::from_u32(unit)?);
                }
                escaped @ ('"' | '\\' | '/') => out.push(escaped),
                _ => return None,
            },
            (_, control) if control < ' ' => return None,
            (_, other) => out.push(other),
        }
    }
}

fn four_hex_digits(chars: &mut std::str::CharIndices<'_>) -> Option<u32> {
    (0..4).try_fold(0, |unit, _| Some(unit * 16 + chars.next()?.1.to_digit(16)?))
}

/// One element as PostgreSQL writes it in an array: quoted only where it must be.
pub(crate) struct Element<'a>(pub(crate) &'a str);

impl fmt::Display for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let special =
            |c: char| matches!(c, '{' | '}' | '"' | ',' | '\\') || c.is_ascii_whitespace() || c == '\u{b}';
        if !self.0.is_empty() && !self.0.contains(special) && !self.0.eq_ignore_ascii_case("null") {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for part in self.0.split_inclusive(['"', '\\']) {
            match part.strip_suffix(['"', '\\']) {
                Some(plain) => write!(f, "{plain}\\{}", &part[plain.len()..])?,
                None => f.write_str(part)?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<String>, String> {
        let mut tags = Vec::new();
        for_each_tag(text, &mut String::new(), |tag| tags.push(tag.to_owned()))
            .map_err(Reason::into_owned)?;
        Ok(tags)
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(parse("{}"), Ok(vec![]));
        assert_eq!(parse(" [ ] "), Ok(vec![]));
        assert_eq!(parse(r#"{ b , "b c" , "q\"\\",""}"#).unwrap(), ["b", "b c", "q\"\\", ""]);
        assert_eq!(parse(r#"[ "b" , "é\n\u00e9\ud83d\ude00" ]"#).unwrap(), ["b", "é\né😀"]);
        assert_eq!(parse("{会员,fan club}").unwrap(), ["会员", "fan club"]);
        assert_eq!(parse(r#"{"null"}"#).unwrap(), ["null"]);
    }

    #[test]
    fn broken_arrays_are_refused() {
        for text in ["{", "{a", "{a,}", "{,a}", "{a}b", "{}x", "{\"a}", "{a\"b\"}", "{{a}}", "{\"a\\"] {
            assert!(parse(text).unwrap_err().starts_with("is a malformed array"), "{text}");
        }
        for text in
            ["[", "[\"a\"", "[\"a\",]", "[1]", "[\"\\ud83d\"]", "[\"\\x\"]", "[\"a\"]x", "[\"\u{1}\"]"]
        {
            assert!(parse(text).unwrap_err().starts_with("is a malformed JSON array"), "{text}");
        }
        assert_eq!(parse("{a,NULL}"), Err(NULL_ELEMENT.to_owned()));
        assert_eq!(parse("[\"a\",null]"), Err(NULL_ELEMENT.to_owned()));
        assert!(parse("a,b").unwrap_err().starts_with("is not an array"));
    }
}
