//! Several statements in one text: where each begins and ends, and whether the last one is whole.
//!
//! Follows PostgreSQL's lexical rules and nothing else: `'…'`, `E'…\'…'`, `"…"`, `$tag$…$tag$`, `-- …` and nested
//! `/* … */` hide semicolons.

use crate::error::Span;

/// The statements of a script, without their semicolons, surrounding white space and empty ones.
///
/// ```
/// let script = "SELECT count(*) FROM a; -- one; two\nSELECT ';' FROM b";
/// assert_eq!(musterdb::split_statements(script).len(), 2);
/// ```
pub fn split_statements(sql: &str) -> Vec<&str> {
    spans(sql).0.into_iter().map(|span| &sql[span.start..span.end]).collect()
}

/// True where a text can be executed as it stands: it ends after a semicolon, or is blank. A shell asks for another
/// line otherwise.
pub fn is_complete(sql: &str) -> bool {
    spans(sql).1
}

/// The spans of the statements, and whether the text ends after the last of them.
pub(crate) fn spans(sql: &str) -> (Vec<Span>, bool) {
    let bytes = sql.as_bytes();
    let mut spans = Vec::new();
    let mut first = None; // The first byte of the statement that is neither white space nor comment.
    let mut last = 0; // The byte after the last such one.
    let mut whole = true; // False inside quotes and comments that do not end.
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at = line_end(bytes, at);
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                (at, whole) = comment_end(bytes, at);
                continue;
            }
            b';' => {
                at += 1;
                if let Some(first) = first.take() {
                    spans.push(Span { start: first, end: last });
                }
                continue;
            }
            b'\'' => (at, whole) = quote_end(bytes, at, escapes(bytes, at)),
            b'"' => (at, whole) = quote_end(bytes, at, false),
            b'$' if !continues_word(bytes, at) => (at, whole) = dollar_end(sql, at),
            _ => at += 1,
        }
        first.get_or_insert(start);
        last = at;
    }
    let open = first.is_some();
    if let Some(first) = first {
        spans.push(Span { start: first, end: last });
    }
    (spans, !open && whole)
}

pub(crate) fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .position(|byte| *byte == b'\n' || *byte == b'\r')
        .map_or(bytes.len(), |length| at + length)
}

pub(crate) fn comment_end(bytes: &[u8], mut at: usize) -> (usize, bool) {
    let mut depth = 0;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return (at, true);
        }
    }
    (bytes.len(), false)
}

/// The byte after the closing quote of the one at `at`; a doubled quote is a letter.
pub(crate) fn quote_end(bytes: &[u8], at: usize, escapes: bool) -> (usize, bool) {
    let quote = bytes[at];
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            byte if byte == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return (at + 1, true),
            _ => at += 1,
        }
    }
    (bytes.len(), false)
}

/// True where the quote at `at` opens an `E'…'`.
fn escapes(bytes: &[u8], at: usize) -> bool {
    at > 0 && matches!(bytes[at - 1], b'e' | b'E') && !continues_word(bytes, at - 1)
}

/// True where the byte at `at` belongs to a word begun before.
fn continues_word(bytes: &[u8], at: usize) -> bool {
    at > 0
        && (bytes[at - 1].is_ascii_alphanumeric()
            || matches!(bytes[at - 1], b'_' | b'$')
            || !bytes[at - 1].is_ascii())
}

pub(crate) fn dollar_end(sql: &str, at: usize) -> (usize, bool) {
    let rest = &sql[at + 1..];
    let name = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
    let opens = rest[name..].starts_with('$') && !rest.starts_with(|letter: char| letter.is_ascii_digit());
    if !opens {
        return (at + 1, true);
    }
    let tag = &sql[at..at + name + 2];
    let body = at + tag.len();
    match sql[body..].find(tag) {
        Some(length) => (body + length + tag.len(), true),
        None => (sql.len(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_hide_in_quotes_and_comments() {
        let script = "SELECT 'a;''b' ; SELECT E'\\';' -- ; \n, \";\" /* ; /* ; */ ; */;; $$;$$ x; $t$ ; $$ $t$;  tail ";
        assert_eq!(
            split_statements(script),
            ["SELECT 'a;''b'", "SELECT E'\\';' -- ; \n, \";\"", "$$;$$ x", "$t$ ; $$ $t$", "tail"]
        );
    }

    #[test]
    fn complete_texts_end_after_a_semicolon() {
        for complete in ["", "  \n", "SELECT 1;", "SELECT 1; -- done", "-- only", "SELECT ';';"] {
            assert!(is_complete(complete), "{complete:?}");
        }
        for open in ["SELECT 1", "SELECT ';", "SELECT 1; /* ;", "$$ ;", "SELECT \";", "SELECT 1; SELECT"] {
            assert!(!is_complete(open), "{open:?}");
        }
    }

    #[test]
    fn any_bytes_are_split_without_a_panic() {
        let letters = ["'", "\"", "$", "$a$", "--", "/*", "*/", ";", "\\", "e", "城", "\n", " "];
        let mut state = 7_u64;
        for _ in 0..2000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                text += letters[(state >> 33) as usize % letters.len()];
            }
            let statements = split_statements(&text);
            assert!(statements.iter().all(|statement| !statement.is_empty()));
        }
    }
}
