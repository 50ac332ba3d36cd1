//! What could be typed at the cursor: read from the tokens around it, without a parser, because a statement that is
//! being typed is no statement yet.

use crate::cmd::shell::lexer::{Kind, Token, tokens};
use crate::cmd::shell::words::is_keyword;

/// What is wanted at the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) what: What,
    /// What has been typed of it already, without quotes.
    pub(super) prefix: String,
    /// The bytes of the text that the choice takes the place of.
    pub(super) span: (usize, usize),
    /// The tables, views and audiences that the statement names, with the names it gives them.
    pub(super) relations: Vec<(String, Option<String>)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The name of a command.
    Command,
    /// What stands behind a command.
    Argument { command: String },
    /// The first word of a statement.
    Opening,
    /// A table, view or audience; only one kind where the word before says which.
    Relation(Option<Relation>),
    /// A column, a function, a keyword; a column alone where a table's name and a dot stand before.
    Term { qualifier: Option<String> },
    /// A value of a column, in quotes.
    Value { qualifier: Option<String>, column: String },
    /// A text where a condition begins: a tag of any column of tags.
    Tag,
    /// The name of an audience, in quotes.
    Audience,
    /// The name of a file, in quotes.
    File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cmd::shell) enum Relation {
    Table,
    View,
    Audience,
}

/// What is wanted at byte `at`; `None` where nothing can be said, as in a comment.
pub(super) fn request(text: &str, at: usize) -> Option<Request> {
    let all = tokens(text);
    let statement = statement_around(&all, at);
    // The token that is being typed: the cursor stands in it or right behind it.
    let here = statement.iter().find(|token| token.start < at && at <= token.end());
    let before: Vec<Token<'_>> = significant(statement.iter().filter(|token| {
        token.end() < at || {
            token.end() == at
                && !here.is_some_and(|here| here.start == token.start && is_open_ended(here, at))
        }
    }));
    let after: Vec<Token<'_>> = significant(statement.iter().filter(|token| token.start >= at));
    let relations = relations(&significant(statement.iter()), at);
    let with = |what, prefix: &str, span| Some(Request { what, prefix: prefix.to_owned(), span, relations });
    match here {
        Some(token) if token.kind == Kind::Command => {
            let typed = &text[token.start + 1..at];
            match typed.split_once(char::is_whitespace) {
                None => with(What::Command, typed, (token.start, at)),
                Some((command, rest)) => {
                    let prefix = rest.rsplit(char::is_whitespace).next().unwrap_or("");
                    let command = command.to_owned();
                    with(What::Argument { command }, prefix, (at - prefix.len(), at))
                }
            }
        }
        Some(token) if token.kind == Kind::Comment => None,
        Some(token) if is_text_at(token, at) => {
            let what = quoted(&before, &after)?;
            let prefix = text[token.start + 1..at].replace("''", "'");
            let open = token.kind == (Kind::Text { open: true });
            with(what, &prefix, (token.start, if open { at } else { token.end() }))
        }
        Some(token) if matches!(token.kind, Kind::Word | Kind::Quoted { open: true }) => {
            let quote = usize::from(token.text.starts_with('"'));
            with(term(&before), &text[token.start + quote..at], (token.start, at))
        }
        // What is closed or counted has no other ending.
        Some(token) if matches!(token.kind, Kind::Number | Kind::Text { .. } | Kind::Quoted { .. }) => None,
        _ => with(term(&before), "", (at, at)),
    }
}

/// The tokens of the statement or command that the byte stands in.
fn statement_around<'t, 'a>(all: &'t [Token<'a>], at: usize) -> &'t [Token<'a>] {
    let ends = |token: &Token<'_>| token.text == ";" && token.kind == Kind::Symbol;
    let first = all.iter().rposition(|token| {
        (ends(token) && token.end() <= at) || (token.kind == Kind::Command && token.end() < at)
    });
    let first = first.map_or(0, |index| index + 1);
    let length = all[first..].iter().position(ends).unwrap_or(all.len() - first);
    &all[first..first + length]
}

fn significant<'t, 'a: 't>(tokens: impl Iterator<Item = &'t Token<'a>>) -> Vec<Token<'a>> {
    tokens.filter(|token| !matches!(token.kind, Kind::Space | Kind::Comment)).copied().collect()
}

/// True where more letters at `at` would still belong to the token.
fn is_open_ended(token: &Token<'_>, at: usize) -> bool {
    matches!(token.kind, Kind::Word | Kind::Number | Kind::Command | Kind::Comment)
        || matches!(token.kind, Kind::Text { open: true } | Kind::Quoted { open: true })
        || at < token.end()
}

/// True where the cursor stands in a text in plain quotes.
fn is_text_at(token: &Token<'_>, at: usize) -> bool {
    let inside = token.kind == (Kind::Text { open: true })
        || (token.kind == (Kind::Text { open: false }) && at < token.end());
    inside && token.text.starts_with('\'')
}

fn word(token: &Token<'_>) -> String {
    if token.kind == Kind::Word { token.text.to_uppercase() } else { String::new() }
}

/// The name that a token is: in lower case unless it is quoted.
fn name(token: &Token<'_>) -> Option<String> {
    match token.kind {
        Kind::Word => Some(token.text.to_lowercase()),
        Kind::Quoted { open: false } => Some(token.text[1..token.text.len() - 1].replace("\"\"", "\"")),
        _ => None,
    }
}

/// What kind of word stands behind these tokens.
fn term(before: &[Token<'_>]) -> What {
    let Some(last) = before.last() else { return What::Opening };
    if last.text == "."
        && let Some(qualifier) = before.len().checked_sub(2).and_then(|index| name(&before[index]))
    {
        return What::Term { qualifier: Some(qualifier) };
    }
    match word(last).as_str() {
        "FROM" | "JOIN" | "INTO" | "COPY" | "DESCRIBE" | "PROFILE" | "OVERLAP" => {
            return What::Relation(None);
        }
        // After DO it is no statement: SET follows.
        "UPDATE" if before.len() == 1 => return What::Relation(Some(Relation::Table)),
        "TABLE" => return What::Relation(Some(Relation::Table)),
        "VIEW" => return What::Relation(Some(Relation::View)),
        "AUDIENCE" => return What::Relation(Some(Relation::Audience)),
        "EXPLAIN" | "ANALYZE" => return What::Opening,
        _ => {}
    }
    // A comma goes on with what the clause is about.
    let clause = before.iter().rev().map(word).find(|word| {
        matches!(word.as_str(), "FROM" | "SELECT" | "WHERE" | "BY" | "OVERLAP" | "HAVING" | "IN" | "VALUES")
    });
    match clause.as_deref() {
        Some("FROM" | "OVERLAP") if last.text == "," => What::Relation(None),
        _ => What::Term { qualifier: None },
    }
}

/// What a text in quotes is compared with, by the tokens on both sides of it.
fn quoted(before: &[Token<'_>], after: &[Token<'_>]) -> Option<What> {
    if matches!(before.first().map(word).as_deref(), Some("COPY")) {
        // Options have texts too, in parentheses.
        let open = before.iter().filter(|token| token.text == "(").count();
        let closed = before.iter().filter(|token| token.text == ")").count();
        if open == closed {
            return Some(What::File);
        }
    }
    // 'tag' = ANY(tags), with the cursor in the text.
    let any = after.iter().take(3).position(|token| matches!(word(token).as_str(), "ANY" | "ALL"));
    if let Some(any) = any
        && after[..any].iter().all(|token| token.kind == Kind::Symbol)
        && let [open, column, ..] = &after[any + 1..]
        && open.text == "("
        && let Some(column) = name(column)
    {
        return Some(What::Value { qualifier: None, column });
    }
    // Back over the texts of a list, to what opens it.
    let mut rest = before;
    while let [head @ .., text, comma] = rest
        && comma.text == ","
        && matches!(text.kind, Kind::Text { .. } | Kind::Number)
    {
        rest = head;
    }
    if let [head @ .., opening] = rest
        && matches!(opening.text, "(" | "[")
    {
        match head.last().map(word).as_deref() {
            Some("IN") => {
                let head = &head[..head.len() - 1];
                return Some(column_at_the_end(head.strip_suffix_word("NOT")));
            }
            Some("ARRAY") => return Some(column_at_the_end(without_operator(&head[..head.len() - 1]))),
            Some("IN_AUDIENCE") => return Some(What::Audience),
            _ => return Some(What::Tag),
        }
    }
    match before.last().map(word).as_deref() {
        Some("LIKE" | "ILIKE") => {
            let head = &before[..before.len() - 1];
            return Some(column_at_the_end(head.strip_suffix_word("NOT")));
        }
        Some("BETWEEN") => return Some(column_at_the_end(&before[..before.len() - 1])),
        Some("WHERE" | "OR" | "NOT" | "AND") => return Some(What::Tag),
        _ => {}
    }
    let head = without_operator(before);
    (head.len() < before.len()).then(|| column_at_the_end(head))
}

trait StripSuffixWord {
    fn strip_suffix_word(&self, suffix: &str) -> &Self;
}

impl StripSuffixWord for [Token<'_>] {
    fn strip_suffix_word(&self, suffix: &str) -> &Self {
        match self.split_last() {
            Some((last, head)) if word(last) == suffix => head,
            _ => self,
        }
    }
}

fn without_operator<'t, 'a>(mut tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    while let [head @ .., last] = tokens
        && matches!(last.text, "=" | "<" | ">" | "!" | "@" | "&" | "~" | "*")
    {
        tokens = head;
    }
    tokens
}

/// The column that the tokens end with.
fn column_at_the_end(tokens: &[Token<'_>]) -> What {
    let Some(column) = tokens.last().and_then(name) else { return What::Tag };
    let qualifier = match tokens {
        [.., table, dot, _] if dot.text == "." => name(table),
        _ => None,
    };
    What::Value { qualifier, column }
}

/// The relations that a statement names. A name that is being typed at `at` is none yet.
fn relations(statement: &[Token<'_>], at: usize) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut tokens = statement.iter().peekable();
    let mut listing = false;
    while let Some(token) = tokens.next() {
        match word(token).as_str() {
            "FROM" | "JOIN" | "INTO" | "DESCRIBE" | "PROFILE" | "COPY" | "UPDATE" => listing = true,
            _ if listing && token.text == "," => {}
            _ => {
                listing = false;
                continue;
            }
        }
        let Some(relation) = tokens.peek().filter(|token| token.end() < at || at <= token.start) else {
            continue;
        };
        let Some(relation) = name(relation).filter(|name| !is_keyword(name)) else { continue };
        tokens.next();
        tokens.next_if(|token| word(token) == "AS");
        let alias = tokens.next_if(|token| name(token).is_some_and(|name| !is_keyword(&name)));
        found.push((relation, alias.and_then(|alias| name(alias))));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request at the `|` of a text.
    fn at(text: &str) -> Request {
        let at = text.find('|').unwrap();
        request(&text.replacen('|', "", 1), at).unwrap_or_else(|| panic!("nothing is wanted at {text}"))
    }

    fn value(column: &str) -> What {
        What::Value { qualifier: None, column: column.to_owned() }
    }

    #[test]
    fn names_are_wanted_where_names_stand() {
        let term = || What::Term { qualifier: None };
        let cases = [
            ("|", What::Opening),
            ("sel|", What::Opening),
            ("SELECT 1; EXPLAIN s|", What::Opening),
            ("SELECT | FROM members", term()),
            ("SELECT count(*) FROM |", What::Relation(None)),
            ("SELECT count(*) FROM a, m|", What::Relation(None)),
            ("SELECT a, c|", term()),
            ("SELECT count(*) FROM members WHERE ci|", term()),
            ("SELECT m.ci| FROM members m", What::Term { qualifier: Some("m".into()) }),
            ("DROP AUDIENCE g|", What::Relation(Some(Relation::Audience))),
            ("DROP TABLE |", What::Relation(Some(Relation::Table))),
            ("INSERT INTO m|", What::Relation(None)),
            ("UPDATE m|", What::Relation(Some(Relation::Table))),
            ("UPDATE members SET |", term()),
            ("INSERT INTO members (id) VALUES (1) ON CONFLICT (id) DO UPDATE |", term()),
            ("\\ti|", What::Command),
            ("SELECT 1;\\ti|", What::Command),
            ("\\d mem|", What::Argument { command: "d".into() }),
        ];
        for (text, what) in cases {
            assert_eq!(at(text).what, what, "{text}");
        }
        assert_eq!(request("SELECT 1 -- no", 14), None);
    }

    #[test]
    fn values_are_wanted_in_quotes() {
        let cases = [
            ("SELECT 1 FROM m WHERE city = '|", value("city")),
            ("SELECT 1 FROM m WHERE city <> 'K|' AND x", value("city")),
            ("SELECT 1 FROM m WHERE NOT city>='K|", value("city")),
            ("SELECT 1 FROM m WHERE \"City\" LIKE 'K|", value("City")),
            ("SELECT 1 FROM m WHERE city NOT IN ('a', 'b', '|", value("city")),
            ("SELECT 1 FROM m WHERE city BETWEEN 'K|", value("city")),
            ("SELECT 1 FROM m WHERE tags @> ARRAY['a', '|", value("tags")),
            ("SELECT 1 FROM m WHERE '|' = ANY(tags)", value("tags")),
            ("SELECT 1 FROM m WHERE 'v|' <> ALL(tags)", value("tags")),
            ("SELECT 1 FROM m WHERE 'v|", What::Tag),
            ("SELECT 1 FROM m WHERE (a OR '|", What::Tag),
            ("SELECT 1 FROM m WHERE in_audience('g|", What::Audience),
            ("COPY m FROM 'da|", What::File),
        ];
        for (text, what) in cases {
            assert_eq!(at(text).what, what, "{text}");
        }
        let qualified = at("SELECT 1 FROM m AS x WHERE x.city = 'it''s|");
        assert_eq!(qualified.what, What::Value { qualifier: Some("x".into()), column: "city".into() });
        assert_eq!((qualified.prefix.as_str(), qualified.span), ("it's", (36, 42)));
        assert_eq!(qualified.relations, [("m".to_owned(), Some("x".to_owned()))]);
        // Where the quote is closed already, the choice takes its place too.
        assert_eq!(at("SELECT 1 FROM m WHERE city = 'K|' AND x").span, (29, 32));
    }

    #[test]
    fn the_relations_of_a_statement_are_its_own() {
        let named = |text| at(text).relations.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(named("SELECT 1 FROM x; SELECT | FROM members m, \"Big\" WHERE a"), ["members", "Big"]);
        assert_eq!(named("SELECT | FROM a WHERE id IN (SELECT id FROM b)"), ["a", "b"]);
        assert_eq!(named("UPDATE members SET a = 1, |"), ["members"]);
        assert_eq!(named("INSERT INTO a (x) VALUES (1) ON CONFLICT (x) DO UPDATE SET |"), ["a"]);
        assert!(named("SELECT a FROM mem|").is_empty());
    }
}
