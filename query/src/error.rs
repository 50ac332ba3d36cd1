//! Everything that can go wrong between a text and its answer, and how it is shown.
//!
//! A refused statement carries a span of bytes into the text as it was given, what was expected there, and where it
//! can be known a suggestion. [`Error::render`] draws it under the line.

use crate::users::secrets;
use std::fmt;

/// A range of bytes of the statement's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// The smallest span around both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The same bytes of a text that has `bytes` more in front.
    pub(crate) fn shifted(self, bytes: usize) -> Span {
        Span { start: self.start + bytes, end: self.end + bytes }
    }
}

/// What kind of refusal it is, for wires that map it to codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueryErrorKind {
    /// The text is no SQL.
    Syntax,
    /// SQL, but not in the part that is answered here.
    Unsupported,
    /// No table of that name.
    UnknownTable,
    /// No column of that name.
    UnknownColumn,
    /// Types that do not go together.
    Type,
    /// A text that is no value of the type, or a number out of range.
    Value,
    /// A column that is neither grouped by nor aggregated.
    Grouping,
    /// A table or column that is there already, or is named twice.
    Duplicate,
    /// More than a limit allows.
    Limit,
    /// The database is open for reading only.
    ReadOnly,
    /// A transaction is needed, or failed, or in the way.
    Transaction,
    /// The session's role does not allow it.
    Forbidden,
    /// No user of that name.
    UnknownUser,
}

/// An error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The statement was refused; nothing happened.
    #[error("{}", Refusal { message, suggestion })]
    Query {
        /// The kind.
        kind: QueryErrorKind,
        /// What is wrong: a sentence without a full stop.
        message: String,
        /// Where, in bytes of the text given.
        span: Option<Span>,
        /// What to do: `did you mean "city"?`, or advice without a full stop.
        suggestion: Option<String>,
    },
    /// The engine failed, or was cancelled.
    #[error(transparent)]
    Engine(#[from] muster_engine::Error),
}

/// The result of the library.
pub type Result<T> = std::result::Result<T, Error>;

struct Refusal<'a> {
    message: &'a str,
    suggestion: &'a Option<String>,
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.suggestion {
            None => f.write_str(self.message),
            Some(question) if question.ends_with('?') => write!(f, "{}, {question}", self.message),
            Some(advice) => write!(f, "{}: {advice}", self.message),
        }
    }
}

impl Error {
    pub(crate) fn query(
        kind: QueryErrorKind,
        span: impl Into<Option<Span>>,
        message: impl Into<String>,
    ) -> Error {
        Error::Query { kind, message: message.into(), span: span.into(), suggestion: None }
    }

    pub(crate) fn unsupported(span: impl Into<Option<Span>>, message: impl Into<String>) -> Error {
        Error::query(QueryErrorKind::Unsupported, span, message)
    }

    /// True where a name is not known.
    pub(crate) fn is_unknown_name(&self) -> bool {
        let kind = if let Error::Query { kind, .. } = self { Some(kind) } else { None };
        matches!(kind, Some(QueryErrorKind::UnknownColumn | QueryErrorKind::UnknownTable))
    }

    /// True where a table is not known.
    pub(crate) fn is_unknown_table(&self) -> bool {
        matches!(self, Error::Query { kind: QueryErrorKind::UnknownTable, .. })
    }

    /// True of SQL that is not answered in this form.
    pub(crate) fn is_unsupported(&self) -> bool {
        matches!(self, Error::Query { kind: QueryErrorKind::Unsupported, .. })
    }

    pub(crate) fn syntax(span: impl Into<Option<Span>>, message: impl Into<String>) -> Error {
        Error::query(QueryErrorKind::Syntax, span, message)
    }

    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Error {
        if let Error::Query { suggestion, .. } = &mut self {
            *suggestion = Some(advice.into());
        }
        self
    }

    /// The same error for a text that has `bytes` more in front.
    pub(crate) fn shifted(mut self, bytes: usize) -> Error {
        if let Error::Query { span: Some(span), .. } = &mut self {
            *span = span.shifted(bytes);
        }
        self
    }

    /// True where the statement ended because it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Error::Engine(muster_engine::Error::Cancelled))
    }

    /// True where the statement ended because it would have held more memory than it may.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Error::Engine(muster_engine::Error::OutOfMemory { .. }))
    }

    /// The error with the line it stands on and carets under the part to blame; `sql` is the text that was executed. What
    /// stands after PASSWORD is masked, as by [`crate::secrets_masked`].
    ///
    /// ```text
    /// error: unknown column "cty", did you mean "city"?
    ///   line 1, column 29
    ///     SELECT count(*) FROM t WHERE cty = 'x'
    ///                                  ^^^
    /// ```
    pub fn render(&self, sql: &str) -> String {
        let mut text = format!("error: {self}");
        let Error::Query { span: Some(span), .. } = self else { return text };
        if !sql.is_char_boundary(span.start) || !sql.is_char_boundary(span.end) || span.end < span.start {
            return text;
        }
        let line_start = sql[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let line_number = sql[..line_start].matches('\n').count() + 1;
        let column = sql[line_start..span.start].chars().count() + 1;
        let (sql, span) = secrets::masked_around(sql, *span);
        let line_start = sql[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = sql[span.start..].find('\n').map_or(sql.len(), |at| span.start + at);
        let before = excerpt_start(&sql[line_start..span.start]);
        let marked = excerpt_end(&sql[span.start..span.end.clamp(span.start, line_end)], EXCERPT_WIDTH);
        let marked_end = span.start + marked.len();
        let after = excerpt_end(&sql[marked_end..line_end.max(marked_end)], EXCERPT_WIDTH);
        let show = |part: &str| part.replace(['\t', '\r'], " ");
        text += &format!(
            "\n  line {line_number}, column {column}\n    {}{}{}",
            show(before),
            show(marked),
            show(after)
        );
        text += &format!("\n    {}{}", " ".repeat(width(before)), "^".repeat(width(marked).max(1)));
        text
    }
}

/// How many cells of a long line are shown on each side of the part to blame.
const EXCERPT_WIDTH: usize = 60;

/// The end of `text` that fits in [`EXCERPT_WIDTH`].
fn excerpt_start(text: &str) -> &str {
    let mut cells = 0;
    for (at, letter) in text.char_indices().rev() {
        cells += letter_width(letter);
        if cells > EXCERPT_WIDTH {
            return &text[at + letter.len_utf8()..];
        }
    }
    text
}

/// The start of `text` that fits in `limit` cells.
fn excerpt_end(text: &str, limit: usize) -> &str {
    let mut cells = 0;
    for (at, letter) in text.char_indices() {
        cells += letter_width(letter);
        if cells > limit {
            return &text[..at];
        }
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().map(letter_width).sum()
}

/// The cells a terminal gives to a letter: two for the wide blocks of East Asian scripts and emoji (the ranges of
/// Unicode's East Asian Width W and F, rounded to blocks), none for combining marks, else one.
fn letter_width(letter: char) -> usize {
    match u32::from(letter) {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
        0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(start: usize, end: usize) -> Error {
        Error::syntax(Span { start, end }, "wrong")
    }

    #[test]
    fn carets_stand_under_the_part_to_blame() {
        let sql = "SELECT count(*)\nFROM t WHERE 城市 = 5";
        let start = sql.find('5').unwrap();
        let drawn = error(start, start + 1).render(sql);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[1], "  line 2, column 19");
        // Two wide letters take four cells.
        assert_eq!(lines[3].find('^').unwrap(), 4 + 20);
    }

    #[test]
    fn any_span_is_drawn_without_a_panic() {
        let sql = "SELECT '城'\r\n\tFROM t";
        for start in 0..=sql.len() + 2 {
            for end in 0..=sql.len() + 2 {
                error(start, end).render(sql);
            }
        }
    }
}
