//! Which column of a file is which column of the table: by name, with a suggestion where there is none.

use super::{ReadOptions, Target, input_error};
use crate::Result;
use std::path::Path;

/// For each column of one file the target it fills; `None` where it is skipped.
pub(super) type Mapping = Vec<Option<usize>>;

/// The names of a file's columns as the table has them, and which of them are skipped.
pub(super) fn renamed(file: &Path, names: &[String], options: &ReadOptions) -> Result<Vec<Option<String>>> {
    let renamed = |name: &String| {
        if options.skip.contains(name) {
            return None;
        }
        let to = options.rename.iter().find(|(from, _)| from == name).map_or(name, |(_, to)| to);
        Some(to.clone())
    };
    let renamed: Vec<_> = names.iter().map(renamed).collect();
    for (i, name) in renamed.iter().enumerate() {
        if let Some(name) = name
            && renamed[..i].iter().flatten().any(|earlier| earlier == name)
        {
            return Err(input_error(file, format!("it has two columns {name:?} (rename or skip one)")));
        }
    }
    Ok(renamed)
}

/// Maps a file's columns to the targets.
pub(super) fn map(
    file: &Path,
    names: &[String],
    options: &ReadOptions,
    targets: &[Target],
) -> Result<Mapping> {
    let mut mapping = Mapping::new();
    for name in renamed(file, names, options)? {
        let target =
            name.map(|name| find(&name, targets).map_err(|reason| input_error(file, reason))).transpose()?;
        if let Some(target) = target
            && mapping.contains(&Some(target))
        {
            let reason = format!("two of its columns are {:?} (rename or skip one)", targets[target].name);
            return Err(input_error(file, reason));
        }
        mapping.push(target);
    }
    Ok(mapping)
}

/// The target of a name: exactly, or else without regard to ASCII case; otherwise why there is none.
pub(super) fn find(name: &str, targets: &[Target]) -> std::result::Result<usize, String> {
    if let Some(exact) = targets.iter().position(|t| t.name == name) {
        return Ok(exact);
    }
    let mut alike = (0..targets.len()).filter(|i| targets[*i].name.eq_ignore_ascii_case(name));
    if let (Some(only), None) = (alike.next(), alike.next()) {
        return Ok(only);
    }
    let suggestion = match closest(name, targets.iter().map(|t| t.name.as_str())) {
        Some(close) => format!(", did you mean {close:?}?"),
        None => " (rename or skip it)".to_owned(),
    };
    Err(format!("the table has no column {name:?}{suggestion}"))
}

/// The targets that any file fills, in the table's order. One that refuses NULL must be filled by every file.
pub(super) fn delivered(files: &[(&Path, &Mapping)], targets: &[Target]) -> Result<Vec<usize>> {
    for (i, target) in targets.iter().enumerate().filter(|(_, t)| t.key || !t.nullable) {
        if let Some((file, _)) = files.iter().find(|(_, mapping)| !mapping.contains(&Some(i))) {
            let what = if target.key { "is the table's key" } else { "is NOT NULL" };
            return Err(input_error(file, format!("it has no column {:?}, which {what}", target.name)));
        }
    }
    let filled = |i: &usize| files.iter().any(|(_, mapping)| mapping.contains(&Some(*i)));
    let delivered: Vec<usize> = (0..targets.len()).filter(filled).collect();
    match files.first() {
        Some((file, _)) if delivered.is_empty() => {
            Err(input_error(file, "none of its columns is left to read"))
        }
        _ => Ok(delivered),
    }
}

/// The candidate that a misspelt name most likely meant, if any is close enough.
pub(super) fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let distance_max = (name.len() / 3).max(1);
    candidates
        .map(|candidate| (distance(&name, &candidate.to_lowercase().chars().collect::<Vec<_>>()), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance: how many characters to insert, delete or replace.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_find_theirs() {
        let columns = ["city", "birth", "registered_at"];
        assert_eq!(closest("cty", columns.into_iter()), Some("city"));
        assert_eq!(closest("Registred", columns.into_iter()), None);
        assert_eq!(closest("registredat", columns.into_iter()), Some("registered_at"));
        assert_eq!(closest("x", columns.into_iter()), None);
        assert_eq!(distance(&['a', 'b'], &[]), 2);
    }
}
