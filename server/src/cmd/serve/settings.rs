//! The file of settings, `muster serve DIR --config FILE`: TOML whose keys are the long names of the flags.
//!
//! A value of the file becomes the default of its flag, before the arguments are read. So a flag and an environment variable win over the
//! file, the file wins over what is built in, and a flag that is added to the command is a setting without another word. Paths begin where
//! the file is. All that is wrong with a file is said at once, with its lines.

use crate::cmd::shell::distance;
use crate::failure::{Failure, Result};
use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command, Id};
use std::any::TypeId;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// The subcommand that has such a file.
const SUBCOMMAND: &str = "serve";

/// The flag that names the file, and no setting of it.
const FILE: &str = "config";

/// Flags, and the values that a file gives them.
type Settings = Vec<(Id, OsString)>;

/// The program's command whose defaults are those of a file.
pub(crate) fn under(command: Command, file: &Path) -> Result<Command> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(format!("the file of settings {} cannot be read: {error}", file.display()))
    })?;
    let flags = flags(&command);
    let settings = read(&flags, &text, file.parent().unwrap_or(Path::new(""))).map_err(|wrong| {
        let lines = wrong.iter().map(|(line, what)| format!("{}:{line}: {what}", file.display()));
        Failure::new(lines.collect::<Vec<_>>().join("\n       "))
    })?;
    Ok(command.mut_subcommand(SUBCOMMAND, |serve| {
        settings
            .into_iter()
            .fold(serve, |serve, (flag, value)| serve.mut_arg(flag, |flag| flag.default_value(value)))
    }))
}

/// What may be set, by name.
fn flags(command: &Command) -> Vec<(String, Arg)> {
    let serve = command.find_subcommand(SUBCOMMAND).into_iter();
    let named = serve.flat_map(Command::get_arguments).filter_map(|flag| Some((flag.get_long()?, flag)));
    named.filter(|(name, _)| *name != FILE).map(|(name, flag)| (name.to_owned(), flag.clone())).collect()
}

/// The values that a file gives to flags, or what is wrong in which of its lines.
fn read(
    flags: &[(String, Arg)],
    text: &str,
    folder: &Path,
) -> std::result::Result<Settings, Vec<(usize, String)>> {
    let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        vec![(line(at), error.message().to_owned())]
    })?;
    let (mut values, mut wrong) = (Vec::new(), Vec::new());
    for (key, value) in table.get_ref() {
        let name: &str = key.get_ref();
        let read = match flags.iter().find(|(known, _)| known == name) {
            None => Err(unknown(name, flags)),
            Some((_, flag)) => match argument(flag, value.get_ref(), folder) {
                Ok(argument) => Ok((flag.get_id().clone(), argument)),
                Err(why) => Err(format!("{name} {why}")),
            },
        };
        match read {
            Ok(value) => values.push(value),
            Err(what) => wrong.push((line(key.span().start), what)),
        }
    }
    wrong.sort();
    if wrong.is_empty() { Ok(values) } else { Err(wrong) }
}

fn unknown(name: &str, flags: &[(String, Arg)]) -> String {
    let written = name.replace('_', "-");
    let near = (flags.iter().map(|(known, _)| (distance(&written, known), known)))
        .min()
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .map(|(_, known)| known);
    let advice = match near {
        Some(known) => format!("did you mean {known}?"),
        None => {
            let all: Vec<&str> = flags.iter().map(|(known, _)| known.as_str()).collect();
            format!("the settings are {}", all.join(", "))
        }
    };
    format!("there is no setting {name}; {advice}")
}

/// A value as the command line would have it, or why it cannot be that of this flag.
fn argument(flag: &Arg, value: &DeValue<'_>, folder: &Path) -> std::result::Result<OsString, String> {
    let parser = flag.get_value_parser();
    let is = match (flag.get_action(), is_number(parser)) {
        (ArgAction::SetTrue, _) => "true or false",
        (_, true) => "a number",
        (_, false) => "a text, in quotes",
    };
    let (written, fits) = match value {
        DeValue::Boolean(value) => (value.to_string(), is == "true or false"),
        DeValue::Integer(value) => {
            let digits = i128::from_str_radix(value.as_str(), value.radix());
            (digits.map_err(|error| error.to_string())?.to_string(), is == "a number")
        }
        // A number may be written with a unit, if the flag takes that.
        DeValue::String(value) => (
            value.to_string(),
            is == "a text, in quotes" || is == "a number" && value.parse::<f64>().is_err(),
        ),
        _ => (String::new(), false),
    };
    if !fits {
        let kind = match value.type_str() {
            "string" => "text",
            other => other,
        };
        return Err(format!("is {is}, and not of the type {kind}"));
    }
    if is != "true or false" {
        check(parser, &written)?;
    }
    match parser.type_id() == TypeId::of::<PathBuf>() {
        true => Ok(folder.join(written).into_os_string()),
        false => Ok(written.into()),
    }
}

fn is_number(parser: &ValueParser) -> bool {
    let parsed = parser.type_id();
    [TypeId::of::<u8>(), TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<usize>()]
        .iter()
        .any(|number| parsed == *number)
}

/// Lets the flag's own parser judge a value: what it says of a default that is wrong would name no file.
fn check(parser: &ValueParser, value: &str) -> std::result::Result<(), String> {
    let flag = Arg::new("value").long("value").value_parser(parser.clone());
    let command = Command::new(SUBCOMMAND).no_binary_name(true).arg(flag);
    let Err(error) = command.try_get_matches_from([format!("--value={value}")]) else { return Ok(()) };
    Err(match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(why), _) => format!("cannot be {value:?}: {why}"),
        (None, Some(ContextValue::Strings(known))) => {
            format!("cannot be {value:?}: it is one of {}", known.join(", "))
        }
        _ => format!("cannot be {value:?}"),
    })
}
