//! COPY as a client executes it whose files are on its machine, and whose database is on another one.
//!
//! The text is read as the database reads it, and the same options make the same file. What only the database knows, the client asks of
//! it: [`ClientCopy::select`] are the rows of a `COPY … TO`, and for both directions whether table and columns are there.

use crate::error::{Error, Result, Span};
use crate::parameter::Param;
use crate::statement::{CopyFormat, CopyWhat, Name, Statement};
use crate::{parse, transfer};
use muster_engine::database::Conflict;
use muster_engine::transfer::export::ExportOptions;
use muster_engine::transfer::{Format, ReadOptions};
use std::path::PathBuf;

/// What a COPY asks of the machine that has the files.
#[derive(Clone, Debug)]
pub struct ClientCopy {
    /// The table; empty where a SELECT is written.
    pub table: String,
    /// The SELECT of the rows to write; of those that there are before some are read, and none of them.
    pub select: String,
    /// The files and how they are written or read.
    pub files: ClientFiles,
    /// Which parts of the SELECT stand where in the COPY.
    places: Vec<(Span, Span)>,
}

/// The direction of a [`ClientCopy`].
#[derive(Clone, Debug)]
pub enum ClientFiles {
    /// `COPY table FROM`
    From {
        /// The files, in their order.
        files: Vec<PathBuf>,
        /// How they are read.
        options: ReadOptions,
        /// What a row does whose key the table has.
        conflict: Conflict,
    },
    /// `COPY … TO`
    To {
        /// The file.
        file: PathBuf,
        /// Its format.
        format: Format,
        /// How it is written.
        options: ExportOptions,
    },
}

impl ClientCopy {
    /// The COPY that a text is; `None` for other statements, which are not read. Errors are those that the database would give.
    pub fn of(sql: &str, parameters: &[Param]) -> Result<Option<ClientCopy>> {
        let is_copy = sql.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("copy"));
        if !is_copy {
            return Ok(None);
        }
        match parse::parse(sql, parameters)? {
            Statement::Copy(copy) => {
                let files = transfer::files_of(&copy)?;
                let (mut select, places) = selected(&copy.table, &copy.columns);
                select.push_str(" LIMIT 0");
                let rejects = transfer::rejects_of(&copy.options, &copy.table.text);
                let names = copy.columns.iter().map(|column| column.text.clone()).collect();
                let conflict = copy.options.conflict;
                let options = transfer::read_options(copy.options, names, rejects);
                let files = ClientFiles::From { files, options, conflict };
                Ok(Some(ClientCopy { table: copy.table.text, select, files, places }))
            }
            Statement::CopyTo(copy) => {
                let format = match transfer::format_of(&copy)? {
                    CopyFormat::Csv => Format::Csv,
                    CopyFormat::Parquet => Format::Parquet,
                    CopyFormat::Jsonl => Format::Jsonl,
                    CopyFormat::Roaring => {
                        let message = "a Roaring bitmap is written only where the database is";
                        return Err(Error::unsupported(copy.file_span, message)
                            .advise("export the keys as csv, jsonl or parquet"));
                    }
                };
                let options = transfer::export_options(&copy.options)?;
                let files = ClientFiles::To { file: PathBuf::from(copy.file), format, options };
                let (table, select, places) = match copy.what {
                    CopyWhat::Table { table, columns } => {
                        let (select, places) = selected(&table, &columns);
                        (table.text, select, places)
                    }
                    CopyWhat::Select { text, span, .. } => {
                        let places = vec![(Span { start: 0, end: text.len() }, span)];
                        (String::new(), text, places)
                    }
                };
                Ok(Some(ClientCopy { table, select, files, places }))
            }
            _ => Ok(None),
        }
    }

    /// An error of the SELECT, with its place in the COPY.
    pub fn of_select(&self, mut error: Error) -> Error {
        if let Error::Query { span, .. } = &mut error {
            let inside = |part: &Span, span: &Span| part.start <= span.start && span.end <= part.end;
            *span = span.and_then(|span| {
                let (part, place) = self.places.iter().find(|(part, _)| inside(part, &span))?;
                // A name is one word, whatever quotes it has here and there.
                let whole = part.end - part.start != place.end - place.start;
                let shifted = |at: usize| at - part.start + place.start;
                Some(match whole {
                    true => *place,
                    false => Span { start: shifted(span.start), end: shifted(span.end) },
                })
            });
        }
        error
    }
}

/// The SELECT of a table's columns, or all of them, and where its names stand in the COPY.
fn selected(table: &Name, columns: &[Name]) -> (String, Vec<(Span, Span)>) {
    let (mut select, mut places) = ("SELECT ".to_owned(), Vec::new());
    let mut name = |select: &mut String, name: &Name| {
        let start = select.len();
        select.push_str(&format!("\"{}\"", name.text.replace('"', "\"\"")));
        places.push((Span { start, end: select.len() }, name.span));
    };
    for (c, column) in columns.iter().enumerate() {
        select.push_str(if c > 0 { ", " } else { "" });
        name(&mut select, column);
    }
    select.push_str(if columns.is_empty() { "* FROM " } else { " FROM " });
    name(&mut select, table);
    (select, places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::QueryErrorKind;

    fn copy(sql: &str) -> ClientCopy {
        ClientCopy::of(sql, &[]).unwrap().unwrap()
    }

    #[test]
    fn the_select_is_asked_elsewhere_and_its_errors_stand_here() {
        let sql = "COPY people (ID, \"a b\") TO 'x.csv' (DELIMITER ';')";
        let asked = copy(sql);
        assert_eq!(asked.select, "SELECT \"id\", \"a b\" FROM \"people\"");
        let place = |of: &ClientCopy, part: &str| {
            let start = of.select.find(part).unwrap();
            let span = Span { start, end: start + part.len() };
            match of.of_select(Error::query(QueryErrorKind::UnknownColumn, span, "")) {
                Error::Query { span: Some(span), .. } => span,
                _ => panic!("no place"),
            }
        };
        for (there, here) in [("\"id\"", "ID"), ("\"a b\"", "\"a b\""), ("\"people\"", "people")] {
            let span = place(&asked, there);
            assert_eq!(&sql[span.start..span.end], here);
        }
        let sql = "copy (SELECT cty FROM people) TO 'x.jsonl'";
        let asked = copy(sql);
        let span = place(&asked, "cty");
        assert_eq!((asked.select.as_str(), &sql[span.start..span.end]), ("SELECT cty FROM people", "cty"));
        assert!(matches!(asked.files, ClientFiles::To { format: Format::Jsonl, .. }));
    }

    #[test]
    fn other_statements_are_left_alone_and_bitmaps_refused() {
        assert!(ClientCopy::of("SELECT copy", &[]).unwrap().is_none());
        assert!(ClientCopy::of("COPY t TO 'x.roaring'", &[]).is_err());
        assert!(ClientCopy::of("COPY t FROM 'no-such-file.csv'", &[]).is_err());
    }
}
