//! The commands that begin with a backslash, in psql's manner.
//!
//! [`COMMANDS`] is what there is: help, completion and the suggestion for a mistyped name read it; a test compares it
//! with what is obeyed.

use super::{Flow, Shell, help};
use crate::failure::{Failure, Result};
use crate::figures::thousands;
use crate::output::{Expanded, Format, chart};
use clap::ValueEnum;
use musterdb::{Outcome, Param, Row, Value};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// A command as the help shows it.
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) arguments: &'static str,
    pub(super) what: &'static str,
}

const fn command(name: &'static str, arguments: &'static str, what: &'static str) -> Command {
    Command { name, arguments, what }
}

/// All commands, in the order of the help.
pub(super) const COMMANDS: [Command; 17] = [
    command("d", "[NAME]", "tables, views, audiences; or what one is made of"),
    command("dt", "", "the tables"),
    command("dv", "", "the views"),
    command("da", "", "the audiences"),
    command("x", "[on|off|auto]", "a line per column instead of a line per row"),
    command("chart", "[COLUMN|on|off]", "the last answer as bars; on draws all answers so"),
    command("watch", "[SECONDS [TIMES]]", "the last statement again and again, until Ctrl-C"),
    command("bind", "VALUE …", "what $1, $2, … are in the next statement"),
    command("timing", "[on|off]", "how long statements take"),
    command("format", "[FORMAT]", "table, csv, json, jsonl or markdown"),
    command("pset", "[null TEXT]", "how NULL is shown; pager on|off; alone: all settings"),
    command("i", "FILE", "execute a file"),
    command("o", "[FILE]", "answers into a file; alone: to the screen again"),
    command("copy", "TABLE FROM FILE …", "COPY; the file's name needs no quotes"),
    command("h", "[STATEMENT]", "how statements are written"),
    command("?", "", "this help"),
    command("q", "", "the end"),
];

/// How deep files may execute files.
const DEPTH_MAX: usize = 16;

impl Shell<'_> {
    /// Obeys a command, given without its backslash.
    pub(super) fn obey(&mut self, command: &str) -> Result<Flow> {
        let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        match (word, rest) {
            ("q" | "quit", _) => return Ok(Flow::Quit),
            ("?" | "help", _) => self.write_answer(|out| Ok(writeln!(out, "{}", help::commands())?))?,
            ("h", statement) => {
                let text = help::statements(statement).map_err(Failure::new)?;
                self.write_answer(|out| Ok(writeln!(out, "{text}")?))?;
            }
            ("d", "") => self.list_all()?,
            ("d", name) => self.describe(name)?,
            ("dt", "") => self.list("SHOW TABLES")?,
            ("dv", "") => self.list("SHOW VIEWS")?,
            ("da", "") => self.list("SHOW AUDIENCES")?,
            ("timing", wanted) => {
                self.timing = switched(word, wanted, self.timing)?;
                self.say(&format!("Timing is {}.", on_off(self.timing)))?;
            }
            ("x", wanted) => self.expand(wanted)?,
            ("format", wanted) => self.set_format(wanted)?,
            ("pset", option) => self.set(option)?,
            ("chart", wanted) => self.chart(wanted)?,
            ("bind", values) => self.parameters = parameters(values).map_err(Failure::new)?,
            ("watch", times) => self.watch(times)?,
            ("i", file) if !file.is_empty() => return self.include(Path::new(&unquoted(file))),
            ("i", _) => return Err(Failure::new("\\i needs the name of a file")),
            ("o", file) => self.redirect(file)?,
            ("copy", rest) => self.answer(&copy_statement(rest).map_err(Failure::new)?)?,
            (known, _) if COMMANDS.iter().any(|command| command.name == known) => {
                return Err(Failure::new(format!("\\{known} takes nothing behind it")));
            }
            (unknown, _) => return Err(Failure::new(unknown_command(unknown))),
        }
        Ok(Flow::On)
    }

    /// A word to the person who typed the command; programs that read answers are spared it.
    fn say(&mut self, text: &str) -> Result<()> {
        if self.interactive {
            writeln!(self.out, "{text}")?;
        }
        Ok(())
    }

    /// Executes a statement that a command stands for. It is not the user's: it is neither timed nor drawn, and \watch and
    /// \chart go on with the one before.
    fn list(&mut self, sql: &str) -> Result<()> {
        let (timing, charts, last) = (self.timing, self.charts, self.last.take());
        let parameters = std::mem::take(&mut self.parameters);
        (self.timing, self.charts) = (false, false);
        let answered = self.answer(sql);
        (self.timing, self.charts, self.last, self.parameters) = (timing, charts, last, parameters);
        Ok(answered?)
    }

    /// Tables, and views and audiences where there are any.
    fn list_all(&mut self) -> Result<()> {
        self.list("SHOW TABLES")?;
        for others in ["SHOW VIEWS", "SHOW AUDIENCES"] {
            let outcome = self.answerer.execute(others, &[])?;
            if outcome.rows().len() > 0 {
                self.write_outcome(&outcome, None)?;
            }
        }
        Ok(())
    }

    fn describe(&mut self, name: &str) -> Result<()> {
        if self.interactive
            && let Ok(tables) = self.answerer.execute("SHOW TABLES", &[])
        {
            let is_it =
                |row: &Row<'_>| row.get_named::<String>("name").is_ok_and(|found| found == folded(name));
            if let Some(row) = tables.rows().find(is_it) {
                let rows: u64 = row.get_named("rows").unwrap_or_default();
                let key: Option<String> = row.get_named("key").unwrap_or_default();
                let key = key.map_or_else(String::new, |key| format!(", key {key}"));
                self.say(&format!("Table {}: {} rows{key}", folded(name), thousands(rows)))?;
            }
        }
        self.list(&format!("DESCRIBE {name}"))
    }

    fn expand(&mut self, wanted: &str) -> Result<()> {
        self.style.expanded = match (wanted, self.style.expanded) {
            ("on", _) | ("", Expanded::Off | Expanded::Auto) => Expanded::On,
            ("off", _) => Expanded::Off,
            ("auto", _) => Expanded::Auto,
            ("", Expanded::On) => {
                if self.terminal {
                    Expanded::Auto
                } else {
                    Expanded::Off
                }
            }
            (other, _) => return Err(Failure::new(format!("\\x is on, off or auto, not {other}"))),
        };
        self.say(match self.style.expanded {
            Expanded::On => "A line per column.",
            Expanded::Off => "A line per row.",
            Expanded::Auto => "A line per row, or per column where rows are too wide.",
        })
    }

    fn set_format(&mut self, wanted: &str) -> Result<()> {
        if !wanted.is_empty() {
            self.style.format = Format::from_str(wanted, true).map_err(|_| {
                Failure::new(format!("{wanted} is no format; there are table, csv, json, jsonl, markdown"))
            })?;
        }
        self.say(&format!("The format is {}.", format_name(self.style.format)))
    }

    /// `\pset`, with those settings that have no command of their own.
    fn set(&mut self, option: &str) -> Result<()> {
        let (name, value) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        match (name, value.trim()) {
            ("", _) => {
                let settings = self.settings();
                self.write_answer(|out| Ok(out.write_all(settings.as_bytes())?))
            }
            ("null", text) => {
                self.style.null = Some(unquoted(text));
                self.say(&format!("NULL is shown as \"{}\".", unquoted(text)))
            }
            ("pager", wanted) => {
                self.pager = switched("pset pager", wanted, self.pager)?;
                self.say(&format!("The pager is {}.", on_off(self.pager)))
            }
            ("format", wanted) => self.set_format(wanted),
            ("expanded", wanted) => self.expand(wanted),
            (other, _) => {
                Err(Failure::new(format!("\\pset knows null, pager, format and expanded, not {other}")))
            }
        }
    }

    fn settings(&self) -> String {
        let expanded = match self.style.expanded {
            Expanded::On => "on",
            Expanded::Off => "off",
            Expanded::Auto => "auto",
        };
        let null = self.style.null.as_ref().map_or("its default".to_owned(), |text| format!("\"{text}\""));
        let output =
            self.file.as_ref().map_or("the screen".to_owned(), |(path, _)| path.display().to_string());
        format!(
            "chart     {}\nexpanded  {expanded}\nformat    {}\nnull      {null}\noutput    {output}\npager     {}\ntiming    {}\n",
            on_off(self.charts),
            format_name(self.style.format),
            on_off(self.pager),
            on_off(self.timing)
        )
    }

    /// `\chart`: the last answer as bars, or all answers from now on.
    fn chart(&mut self, wanted: &str) -> Result<()> {
        if matches!(wanted, "on" | "off") {
            self.charts = wanted == "on";
            return self.say(&format!("Charts are {}.", on_off(self.charts)));
        }
        let Some(last) = self.last.take() else {
            return Err(Failure::new("there is no answer to draw yet: ask first, then \\chart"));
        };
        let drawn = self.draw(&last.outcome, wanted);
        self.last = Some(last);
        drawn
    }

    fn draw(&mut self, outcome: &Outcome, value: &str) -> Result<()> {
        let Outcome::Rows { columns, rows, .. } = outcome else {
            return Err(Failure::new("the last statement answered no rows to draw"));
        };
        let value = (!value.is_empty()).then(|| folded(value));
        let choice = chart::choose(columns, value.as_deref()).map_err(Failure::new)?;
        let style = self.style();
        self.write_answer(|out| Ok(chart::write(out, columns, rows, &choice, &style)?))
    }

    fn include(&mut self, file: &Path) -> Result<Flow> {
        if self.depth == DEPTH_MAX {
            return Err(Failure::new(format!("files execute files more than {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let result = self.run_file(file);
        self.depth -= 1;
        result
    }

    fn redirect(&mut self, file: &str) -> Result<()> {
        self.file = None;
        if file.is_empty() {
            return Ok(());
        }
        let path = PathBuf::from(unquoted(file));
        let created = File::create(&path)
            .map_err(|e| Failure::new(format!("cannot write to {}: {e}", path.display())))?;
        self.file = Some((path, BufWriter::new(created)));
        Ok(())
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// A switch after a command: turned where nothing is said.
fn switched(command: &str, wanted: &str, now: bool) -> Result<bool> {
    match wanted {
        "on" => Ok(true),
        "off" => Ok(false),
        "" => Ok(!now),
        other => Err(Failure::new(format!("\\{command} is on or off, not {other}"))),
    }
}

fn format_name(format: Format) -> String {
    format.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// An argument, perhaps in quotes as a statement would have it.
fn unquoted(text: &str) -> String {
    let inner = |quote: char| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    match inner('\'').or_else(|| inner('"')) {
        Some(inner) => inner.replace("''", "'"),
        None => text.to_owned(),
    }
}

/// A name as a statement reads it: lower case unless it is quoted.
fn folded(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

/// The values of `\bind`: words, or texts in quotes. NULL is NULL, and a text takes the type of what it stands beside.
fn parameters(text: &str) -> std::result::Result<Vec<Param>, &'static str> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('\'') {
            let mut value = String::new();
            let mut tail = quoted;
            loop {
                let end = tail.find('\'').ok_or("a quote of \\bind does not end")?;
                value.push_str(&tail[..end]);
                tail = &tail[end + 1..];
                match tail.strip_prefix('\'') {
                    Some(after) => {
                        value.push('\'');
                        tail = after;
                    }
                    None => break,
                }
            }
            found.push(Param::Value(Value::Text(value)));
            rest = tail.trim_start();
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let word = &rest[..end];
            let null = word.eq_ignore_ascii_case("null");
            found.push(Param::Value(if null { Value::Null } else { Value::Text(word.to_owned()) }));
            rest = rest[end..].trim_start();
        }
    }
    Ok(found)
}

/// The COPY that a `\copy` stands for: the same text, but for quotes around the file's name. Files of COPY are those of
/// the shell's machine, so their names mean the same in both.
fn copy_statement(rest: &str) -> std::result::Result<String, &'static str> {
    const FORM: &str = "write \\copy TABLE FROM FILE (FORMAT csv, HEADER)";
    let mut depth = 0_usize;
    let mut direction = None;
    for (at, letter) in rest.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 && letter.is_whitespace() => {
                let word = rest[at..].trim_start();
                let is = |name: &str| {
                    word.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                        && word[name.len()..].starts_with(char::is_whitespace)
                };
                let length = if is("from") {
                    4
                } else if is("to") {
                    2
                } else {
                    continue;
                };
                direction = Some(rest.len() - word.len() + length);
                break;
            }
            _ => {}
        }
    }
    let (head, tail) = rest.split_at(direction.ok_or(FORM)?);
    let tail = tail.trim_start();
    if tail.is_empty() {
        return Err(FORM);
    }
    if tail.starts_with('\'') {
        return Ok(format!("COPY {rest}"));
    }
    let (file, options) = tail.split_at(tail.find(char::is_whitespace).unwrap_or(tail.len()));
    let home = std::env::var("HOME").ok();
    let file = match (file.strip_prefix("~/"), home) {
        (Some(inside), Some(home)) => format!("{home}/{inside}"),
        _ => file.to_owned(),
    };
    Ok(format!("COPY {head} '{}'{options}", file.replace('\'', "''")))
}

/// What is said of a command that there is not, with the nearest one that there is.
fn unknown_command(name: &str) -> String {
    let nearest = COMMANDS
        .iter()
        .map(|command| (super::words::distance(name, command.name), command.name))
        .min()
        .filter(|(distance, known)| *distance <= (known.len() / 2).max(1) && !name.is_empty());
    match nearest {
        Some((_, known)) => format!("there is no command \\{name}, did you mean \\{known}?"),
        None => format!("there is no command \\{name}; \\? shows those there are"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_copy_needs_no_quotes() {
        let cases = [
            ("t FROM x.csv (FORMAT csv)", "COPY t FROM 'x.csv' (FORMAT csv)"),
            ("t (a, b) from it's.csv", "COPY t (a, b) from 'it''s.csv'"),
            ("t FROM 'a b.csv', 'c.csv' (HEADER)", "COPY t FROM 'a b.csv', 'c.csv' (HEADER)"),
            ("(SELECT a FROM t) TO out.csv", "COPY (SELECT a FROM t) TO 'out.csv'"),
        ];
        for (given, expected) in cases {
            assert_eq!(copy_statement(given).as_deref(), Ok(expected));
        }
        assert!(copy_statement("t").is_err() && copy_statement("t FROM").is_err());
        assert!(copy_statement("t FROM ").is_err() && copy_statement("").is_err());
    }

    #[test]
    fn bound_values_are_words_or_quoted() {
        let text = |text: &str| Param::Value(Value::Text(text.to_owned()));
        assert_eq!(
            parameters("5 'it''s' null ''"),
            Ok(vec![text("5"), text("it's"), Param::Value(Value::Null), text("")])
        );
        assert_eq!(parameters(""), Ok(Vec::new()));
        assert!(parameters("'open").is_err());
    }

    #[test]
    fn a_mistyped_command_is_told_the_nearest() {
        assert_eq!(unknown_command("tming"), "there is no command \\tming, did you mean \\timing?");
        assert_eq!(unknown_command("dtt"), "there is no command \\dtt, did you mean \\dt?");
        assert_eq!(unknown_command("connect"), "there is no command \\connect; \\? shows those there are");
        assert_eq!(unknown_command(""), "there is no command \\; \\? shows those there are");
    }
}
