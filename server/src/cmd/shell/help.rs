//! `\?`: the commands on one screen. `\h`: how statements are written.

use super::commands::COMMANDS;
use super::syntax::{STATEMENTS, Statement};
use super::words;

/// The commands, on a screen of 80 by 24.
pub(super) fn commands() -> String {
    let mut text = String::from("Ask in SQL, over as many lines as you like, and end with a semicolon.\n\n");
    for command in &COMMANDS {
        let form = format!("\\{} {}", command.name, command.arguments);
        text += &format!("  {form:<26}{}\n", command.what);
    }
    text += "\nTab completes names, keywords and, in quotes, values. Up goes back in\n";
    text += "the history, Ctrl-R searches it. Ctrl-C cancels a statement, or clears the line.";
    text
}

/// The statements, or those whose name begins with `wanted`. The error is a sentence without a full stop.
pub(super) fn statements(wanted: &str) -> Result<String, String> {
    let wanted = wanted.trim().trim_end_matches(';').to_uppercase();
    // A name may be cut, or go on: `ins`, `insert into`.
    let asked = |name: &str| {
        name.starts_with(&wanted) || wanted.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '))
    };
    let named: Vec<_> = STATEMENTS.iter().filter(|statement| statement.names().any(asked)).collect();
    if wanted.is_empty() {
        let lines: Vec<String> = (named.iter())
            .map(|statement| format!("  {:<24}{}", statement.name.to_lowercase(), statement.what))
            .collect();
        return Ok(format!("\\h and one of these shows how it is written:\n\n{}", lines.join("\n")));
    }
    if named.is_empty() {
        let names = STATEMENTS.iter().flat_map(Statement::names);
        let nearest = names.min_by_key(|name| words::distance(&wanted, name));
        let nearest = nearest.map_or_else(String::new, str::to_lowercase);
        return Err(format!("there is no statement {wanted}, did you mean {nearest}? \\h lists them"));
    }
    let texts: Vec<String> = named
        .iter()
        .map(|statement| format!("{}: {}\n\n{}", statement.name, statement.what, statement.syntax))
        .collect();
    Ok(texts.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::text::width;

    #[test]
    fn the_help_fits_a_screen() {
        for text in [commands(), statements("").unwrap()] {
            assert!(text.lines().count() <= 23, "{} lines\n{text}", text.lines().count());
            let long: Vec<&str> = text.lines().filter(|line| width(line) > 80).collect();
            assert!(long.is_empty(), "{long:#?}");
        }
        for statement in &STATEMENTS {
            for name in statement.names() {
                let text = statements(name).unwrap();
                assert!(text.lines().all(|line| width(line) <= 80), "{text}");
                let verb = name.split(' ').next().unwrap();
                assert!(statement.syntax.lines().any(|line| line.starts_with(verb)), "{text}");
            }
        }
    }

    #[test]
    fn a_statement_is_found_by_its_beginning_and_a_mistyped_one_by_its_nearest() {
        assert!(statements("sel").unwrap().starts_with("SELECT: "));
        assert!(statements("commit").unwrap().contains("COMMIT | END"));
        assert!(statements("drop table").unwrap().starts_with("DROP: "));
        let tables = statements("create t").unwrap();
        assert!(tables.contains("PRIMARY KEY") && !tables.contains("SELECT: "), "{tables}");
        let error = statements("selct").unwrap_err();
        assert_eq!(error, "there is no statement SELCT, did you mean select? \\h lists them");
    }
}
