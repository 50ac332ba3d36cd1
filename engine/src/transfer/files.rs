//! Files by pattern: what a shell would make of `dir/*.csv`.

use super::input_error;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The files that a name means: itself where there is such a file or no `*`, `?` or `[`, else all files that match it, in
/// the order of their names. As in a shell `*` leaves out hidden files; `**` is any number of directories. A pattern
/// that matches no file is an error.
pub fn expand(pattern: &Path) -> Result<Vec<PathBuf>> {
    let Some(text) = pattern.to_str() else { return Ok(vec![pattern.to_owned()]) };
    if !text.contains(['*', '?', '[']) || pattern.exists() {
        return Ok(vec![pattern.to_owned()]);
    }
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::default() };
    let paths = glob::glob_with(text, options)
        .map_err(|error| input_error(pattern, format!("it is no pattern of file names: {error}")))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|error| Error::Input {
            file: error.path().display().to_string(),
            reason: error.error().to_string(),
        })?;
        if !path.is_dir() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(input_error(pattern, "no file matches the pattern"));
    }
    files.sort_unstable();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_a_shell_makes_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("sub.csv")).unwrap();
        for name in ["b.csv", "a.csv", ".hidden.csv", "a.txt", "x[1].csv", "sub.csv/c.csv"] {
            std::fs::write(path(name), "").unwrap();
        }
        let expanded = |name: &str| expand(&path(name)).unwrap();
        assert_eq!(expanded("*.csv"), ["a.csv", "b.csv", "x[1].csv"].map(path));
        assert_eq!(expanded("?.csv"), ["a.csv", "b.csv"].map(path));
        assert_eq!(expanded("**/c.csv"), ["sub.csv/c.csv"].map(path));
        // A file of that very name is meant, and a name without wildcards need not exist yet.
        assert_eq!(expanded("x[1].csv"), ["x[1].csv"].map(path));
        assert_eq!(expanded("missing.csv"), ["missing.csv"].map(path));
        let error = expand(&path("*.tsv")).unwrap_err().to_string();
        assert!(error.ends_with("*.tsv: no file matches the pattern"), "{error}");
        assert!(expand(&path("[.csv")).is_err());
    }
}
