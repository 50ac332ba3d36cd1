//! Text in the cells of a terminal: what may be shown, how wide it is, and how it is cut.
//!
//! Widths are Unicode's (a Chinese letter and most emoji take two cells, a combining mark none). A control character or
//! a mark that turns the direction of writing is shown as an escape, so that a value can neither write to the terminal
//! nor move what stands beside it.

use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a cut cell ends with.
const ELLIPSIS: char = '…';

/// The joiner of emoji, which must not be the last letter of a cell.
const JOINER: char = '\u{200d}';

/// The text with its control characters as escapes.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_hidden(letter) { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    Cow::Owned(shown)
}

fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// The cells that a text takes.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { UnicodeWidthStr::width(text) }
}

/// The text in at most `cells` cells, with `…` where something is missing.
pub(crate) fn cut(text: &str, cells: usize) -> Cow<'_, str> {
    if width(text) <= cells {
        return Cow::Borrowed(text);
    }
    let Some(room) = cells.checked_sub(1) else { return Cow::Borrowed("") };
    let mut taken = 0;
    let mut end = text.len();
    for (at, letter) in text.char_indices() {
        // Letter by letter, a sequence of joined emoji counts as wider than it is: it is cut early, never late.
        taken += letter.width().unwrap_or(0);
        if taken > room {
            end = at;
            break;
        }
    }
    Cow::Owned(format!("{}{ELLIPSIS}", text[..end].trim_end_matches(JOINER)))
}

/// As many spaces as fill `text` up to `cells`.
pub(crate) fn padding(text: &str, cells: usize) -> String {
    " ".repeat(cells.saturating_sub(width(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_a_terminal() {
        let known =
            [("", 0), ("abc", 3), ("上海", 4), ("e\u{301}", 1), ("👍", 2), ("👨‍👩‍👧", 2), ("ｱ", 1), ("Ａ", 2)];
        for (text, cells) in known {
            assert_eq!(width(text), cells, "{text}");
        }
    }

    #[test]
    fn a_cut_text_fits_and_says_so() {
        assert_eq!(cut("Kyoto", 5), "Kyoto");
        assert_eq!(cut("Kyoto", 4), "Kyo…");
        // A wide letter that would end half outside is left out.
        assert_eq!(cut("上海北京", 6), "上海…");
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
        assert_eq!(cut("👨‍👩‍👧 family", 4), "👨…");
        assert_eq!((cut("abc", 1), cut("abc", 0)), ("…".into(), "".into()));
        for cells in 0..12 {
            assert!(width(&cut("a上b👍c\u{301}d海", cells)) <= cells);
        }
    }

    #[test]
    fn what_would_act_on_the_terminal_is_shown_instead() {
        assert_eq!(visible("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(visible("abc\u{202e}fdp"), "abc\\u{202e}fdp");
        assert_eq!(visible("李 伟 👍"), "李 伟 👍");
    }
}
