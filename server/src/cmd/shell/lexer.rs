//! A statement as it is being typed, cut into coloured pieces: unlike the parser's lexer it never fails, and keeps every
//! byte, spaces and comments too.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Space,
    Comment,
    /// `'…'`, `E'…'` or `$tag$…$tag$`, perhaps still open.
    Text {
        open: bool,
    },
    /// `"…"`, perhaps still open.
    Quoted {
        open: bool,
    },
    Number,
    /// A keyword, a name or a function.
    Word,
    /// A command from its backslash to the end of its line.
    Command,
    /// Anything else, a letter at a time.
    Symbol,
}

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// The byte it begins at.
    pub(super) start: usize,
}

impl Token<'_> {
    /// The byte after it.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// The tokens of a text; together they are the text.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    // True where a statement, and so a command, can begin.
    let mut opening = true;
    while start < text.len() {
        let rest = &text[start..];
        let (kind, length) = match rest.strip_prefix('\\') {
            Some(_) if opening => (Kind::Command, rest.find('\n').unwrap_or(rest.len())),
            _ => token(rest),
        };
        let token = Token { kind, text: &rest[..length], start };
        match kind {
            Kind::Space | Kind::Comment => {}
            Kind::Command => opening = true,
            _ => opening = token.text == ";",
        }
        tokens.push(token);
        start += length;
    }
    tokens
}

/// The first token: what it is and how many bytes it has, at least one letter.
fn token(rest: &str) -> (Kind, usize) {
    let mut letters = rest.chars();
    let first = letters.next().unwrap_or(' ');
    let second = letters.next();
    let run = |end: &dyn Fn(char) -> bool| rest.find(end).unwrap_or(rest.len());
    match (first, second) {
        (letter, _) if letter.is_whitespace() => (Kind::Space, run(&|c| !c.is_whitespace())),
        ('-', Some('-')) => (Kind::Comment, run(&|c| c == '\n')),
        ('/', Some('*')) => (Kind::Comment, comment(rest)),
        ('\'', _) => quoted(rest, 0, false),
        ('e' | 'E', Some('\'')) => quoted(rest, 1, true),
        ('"', _) => match quoted(rest, 0, false) {
            (Kind::Text { open }, length) => (Kind::Quoted { open }, length),
            other => other,
        },
        ('$', _) => dollar(rest),
        (digit, _) if digit.is_ascii_digit() => {
            (Kind::Number, run(&|c| !c.is_ascii_alphanumeric() && c != '.' && c != '_'))
        }
        (letter, _) if letter.is_alphabetic() || letter == '_' => {
            (Kind::Word, run(&|c| !c.is_alphanumeric() && c != '_' && c != '$'))
        }
        (other, _) => (Kind::Symbol, other.len_utf8()),
    }
}

fn comment(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// A text whose quote stands at `quote`; a doubled one is a letter, and with `escapes` one after a backslash too.
fn quoted(rest: &str, quote: usize, escapes: bool) -> (Kind, usize) {
    let bytes = rest.as_bytes();
    let mut at = quote + 1;
    while at < bytes.len() {
        if bytes[at] == b'\\' && escapes {
            at += 2;
        } else if bytes[at] != bytes[quote] {
            at += 1;
        } else if bytes.get(at + 1) == Some(&bytes[quote]) {
            at += 2;
        } else {
            return (Kind::Text { open: false }, at + 1);
        }
    }
    (Kind::Text { open: true }, rest.len())
}

/// `$tag$…$tag$`, a parameter, or a lone `$`.
fn dollar(rest: &str) -> (Kind, usize) {
    let word = rest[1..].find(|c: char| !c.is_alphanumeric() && c != '_').map_or(rest.len(), |at| at + 1);
    if rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return (Kind::Number, word);
    }
    if !rest[word..].starts_with('$') {
        return (Kind::Symbol, 1);
    }
    let tag = &rest[..=word];
    match rest[tag.len()..].find(tag) {
        Some(length) => (Kind::Text { open: false }, length + 2 * tag.len()),
        None => (Kind::Text { open: true }, rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        tokens(text).iter().filter(|t| t.kind != Kind::Space).map(|t| (t.kind, t.text)).collect()
    }

    #[test]
    fn a_statement_is_cut_as_it_is_read() {
        use Kind::*;
        let text = "\\d x\nSELECT count(*) -- all\nFROM \"My t\" WHERE 城市 = 'a''b' AND n>=1.5e3 AND $1 = E'\\'' /* ; /* */ */ AND x = 'op";
        let expected = [
            (Command, "\\d x"),
            (Word, "SELECT"),
            (Word, "count"),
            (Symbol, "("),
            (Symbol, "*"),
            (Symbol, ")"),
            (Comment, "-- all"),
            (Word, "FROM"),
            (Quoted { open: false }, "\"My t\""),
            (Word, "WHERE"),
            (Word, "城市"),
            (Symbol, "="),
            (Text { open: false }, "'a''b'"),
            (Word, "AND"),
            (Word, "n"),
            (Symbol, ">"),
            (Symbol, "="),
            (Number, "1.5e3"),
            (Word, "AND"),
            (Number, "$1"),
            (Symbol, "="),
            (Text { open: false }, "E'\\''"),
            (Comment, "/* ; /* */ */"),
            (Word, "AND"),
            (Word, "x"),
            (Symbol, "="),
            (Text { open: true }, "'op"),
        ];
        assert_eq!(kinds(text), expected);
    }

    #[test]
    fn whatever_is_typed_is_kept_whole() {
        let letters =
            ["'", "\"", "$", "$a$", "--", "/*", "*/", ";", "\\", "e", "E'", "城", "\n", " ", "7", "👍"];
        let mut state = 11_u64;
        for _ in 0..3000 {
            let mut text = String::new();
            for _ in 0..10 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                text += letters[(state >> 33) as usize % letters.len()];
            }
            let tokens = tokens(&text);
            assert_eq!(tokens.iter().map(|token| token.text).collect::<String>(), text);
            assert!(
                tokens
                    .iter()
                    .all(|token| !token.text.is_empty() && &text[token.start..token.end()] == token.text)
            );
        }
    }
}
