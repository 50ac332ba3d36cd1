//! A text cut into what is executed one after the other: statements, which end with a semicolon, and commands, which
//! begin with `\` where a statement could begin and end with their line.

use musterdb::{is_complete, split_statements};

/// A statement or a command, as a part of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A statement without its semicolon.
    Statement(&'a str),
    /// A command without its backslash.
    Command(&'a str),
}

/// The pieces of a text, and whether it ends after the last of them: a shell asks for another line otherwise.
pub(super) fn pieces(text: &str) -> (Vec<Piece<'_>>, bool) {
    let mut pieces = Vec::new();
    let mut rest = text;
    'commands: loop {
        for statement in split_statements(rest) {
            if let Some(command) = statement.strip_prefix('\\') {
                // The splitter knows nothing of commands: what it found behind this one's line is looked at again.
                let start = command.as_ptr() as usize - rest.as_ptr() as usize;
                let line = rest[start..].lines().next().unwrap_or("");
                pieces.push(Piece::Command(line.trim().trim_end_matches(';').trim_end()));
                rest = &rest[start + line.len()..];
                continue 'commands;
            }
            pieces.push(Piece::Statement(statement));
        }
        return (pieces, is_complete(rest));
    }
}

#[cfg(test)]
mod tests {
    use super::Piece::{Command, Statement};
    use super::*;

    #[test]
    fn commands_stand_between_statements_and_end_with_their_line() {
        let text = "-- first\n\\pset null don't;\nSELECT '\n\\d' FROM t; SELECT 2;\\watch 1\n\\q";
        let expected = [
            Command("pset null don't"),
            Statement("SELECT '\n\\d' FROM t"),
            Statement("SELECT 2"),
            Command("watch 1"),
            Command("q"),
        ];
        assert_eq!(pieces(text), (expected.to_vec(), true));
    }

    #[test]
    fn a_text_is_whole_after_a_command_or_a_semicolon() {
        for whole in ["", "\\d", "SELECT 1; \\x", "SELECT 1;", "\\pset null '"] {
            assert!(pieces(whole).1, "{whole}");
        }
        for open in ["SELECT 1", "\\d\nSELECT 1", "SELECT '\\d", "SELECT 1 \\d"] {
            assert!(!pieces(open).1, "{open}");
        }
    }
}
