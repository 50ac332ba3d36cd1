//! The columns of files that no table exists for yet: names and types, and what has to be asked.
//!
//! Parquet states its types. Text is judged by a sample of [`SAMPLE_ROWS`] rows: the narrowest type that holds every
//! value seen. What two types hold equally well, and what only its owner can know (is `00123` a number?), is reported
//! as an [`Ambiguity`] with the safe choice first; it is never silently decided. Keys are not guessed.

use super::csv::header;
use super::evidence::{Evidence, JsonEvidence};
use super::json::{Json, Scratch, for_each_member};
use super::jsonl::Lines;
use super::records::Records;
use super::text::Refusal;
use super::{Format, ReadOptions, arrow, input_error, mapping, parquet};
use crate::schema::{ColumnSpec, DataType};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of text that are looked at, shared among the files.
pub const SAMPLE_ROWS: u64 = 100_000;

/// Columns that are inferred from JSON lines: lines with ever new names are no table.
const JSON_COLUMNS_MAX: usize = 4096;

/// What files seem to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inference {
    /// The columns in the order of the first file; all of them take NULL. Ambiguous ones have the safe type.
    pub columns: Vec<ColumnSpec>,
    /// What should be asked before these types are relied on.
    pub ambiguities: Vec<Ambiguity>,
    /// How many rows were looked at; 0 for Parquet, whose schema says it all.
    pub rows_sampled: u64,
}

/// A column whose type the files do not settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguity {
    /// The column, by its name in the table.
    pub column: String,
    /// What is unclear, with an example: `holds only 0 and 1`.
    pub question: String,
    /// The types to choose from, the safe one first.
    pub choices: Vec<DataType>,
}

impl Inference {
    /// Makes a column the key and returns its index: it refuses NULL, and a narrow integer becomes BIGINT, the type
    /// that integer keys have. An error where there is no such column or its type cannot be a key.
    pub fn set_key(&mut self, name: &str) -> Result<usize> {
        let Some(index) = self.columns.iter().position(|column| column.name == name) else {
            let names = self.columns.iter().map(|column| column.name.as_str());
            let hint = mapping::closest(name, names).map(|close| format!(", did you mean {close:?}?"));
            let hint = hint.unwrap_or_default();
            return Err(Error::Invalid(format!("the key {name:?} is no column of the files{hint}")));
        };
        let column = &mut self.columns[index];
        column.data_type = match column.data_type {
            integer if integer.is_integer() => DataType::BigInt,
            DataType::Text => DataType::Text,
            other => {
                let refusal =
                    format!("column {name:?} is {other} and cannot be the key, which is BIGINT or TEXT");
                return Err(Error::Invalid(refusal));
            }
        };
        column.nullable = false;
        Ok(index)
    }
}

/// A column so far: its name, its type, what is unclear about it.
type Found = (String, DataType, Option<Ambiguity>);

/// Proposes the columns of a table for files. `decided` holds the types that the user has stated, by the column's name
/// in the table; they are taken as they are and asked nothing about.
///
/// Cost: a footer per Parquet file; parsing at most [`SAMPLE_ROWS`] rows of text. Where bad rows are skipped they are here too.
pub fn infer(files: &[PathBuf], options: &ReadOptions, decided: &[(String, DataType)]) -> Result<Inference> {
    let format = Format::of_files(files, options.format)?;
    let (found, rows_sampled) = match format {
        Format::Parquet => (infer_parquet(files, options, decided)?, 0),
        Format::Csv => infer_csv(files, options)?,
        Format::Jsonl => infer_jsonl(files, options)?,
    };
    for (name, _) in decided {
        if !found.iter().any(|(column, ..)| column == name) {
            let names = found.iter().map(|(column, ..)| column.as_str());
            let hint = mapping::closest(name, names).map(|close| format!(", did you mean {close:?}?"));
            let hint = hint.unwrap_or_default();
            return Err(Error::Invalid(format!(
                "a type is stated for {name:?}, which is no column of the files{hint}"
            )));
        }
    }
    let mut inference = Inference { columns: Vec::new(), ambiguities: Vec::new(), rows_sampled };
    for (name, data_type, ambiguity) in found {
        let stated = decided.iter().find(|(column, _)| *column == name).map(|(_, stated)| *stated);
        if stated.is_none() {
            inference.ambiguities.extend(ambiguity);
        }
        inference.columns.push(ColumnSpec { name, data_type: stated.unwrap_or(data_type), nullable: true });
    }
    Ok(inference)
}

fn infer_parquet(
    files: &[PathBuf],
    options: &ReadOptions,
    decided: &[(String, DataType)],
) -> Result<Vec<Found>> {
    let mut found: Vec<Found> = Vec::new();
    for file in files {
        let schema = parquet::schema(file)?;
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        for (field, name) in schema.fields().iter().zip(mapping::renamed(file, &names, options)?) {
            let Some(name) = name else { continue };
            let earlier = found.iter_mut().find(|(column, ..)| *column == name);
            if let Some((_, stated)) = decided.iter().find(|(column, _)| *column == name) {
                if earlier.is_none() {
                    found.push((name, *stated, None));
                }
                continue;
            }
            let nothing = *field.data_type() == arrow_schema::DataType::Null;
            let data_type = match arrow::our_type(field.data_type()) {
                Some(data_type) => data_type,
                None if nothing => DataType::Text,
                None => {
                    let (column, has) = (field.name(), field.data_type());
                    let reason = format!(
                        "column {column:?} has the type {has}, which no column of a table can hold (convert or skip it)"
                    );
                    return Err(input_error(file, reason));
                }
            };
            let ambiguity = nothing.then(|| all_null(&name));
            match earlier {
                None => found.push((name, data_type, ambiguity)),
                Some(_) if nothing => {}
                Some(earlier) if earlier.2.is_some() => *earlier = (name, data_type, None),
                Some((_, before, _)) => {
                    *before = common_type(*before, data_type).ok_or_else(|| {
                        let reason = format!("column {name:?} is {data_type} here and {before} in the files before it (state its type)");
                        input_error(file, reason)
                    })?;
                }
            }
        }
    }
    Ok(found)
}

/// The type that holds the values of both, where one does.
fn common_type(a: DataType, b: DataType) -> Option<DataType> {
    let width = |t| [DataType::SmallInt, DataType::Integer, DataType::BigInt].iter().position(|i| *i == t);
    match (a, b) {
        _ if a == b => Some(a),
        _ if width(a) < width(b) && width(a).is_some() => Some(b),
        _ if width(b) < width(a) && width(b).is_some() => Some(a),
        (DataType::Decimal { precision: p, scale: s }, DataType::Decimal { precision: q, scale: t }) => {
            let (scale, whole) = (s.max(t), (p - s).max(q - t));
            let precision = whole + scale;
            (precision <= crate::schema::DECIMAL_PRECISION_MAX)
                .then_some(DataType::Decimal { precision, scale })
        }
        _ => None,
    }
}

fn all_null(name: &str) -> Ambiguity {
    Ambiguity {
        column: name.to_owned(),
        question: "holds nothing but NULL".to_owned(),
        choices: vec![
            DataType::Text,
            DataType::BigInt,
            DataType::Boolean,
            DataType::Date,
            DataType::Timestamp,
        ],
    }
}

/// The share of a file in the sample.
fn rows_per_file(files: &[PathBuf]) -> u64 {
    (SAMPLE_ROWS / files.len().max(1) as u64).max(1000)
}

fn infer_csv(files: &[PathBuf], options: &ReadOptions) -> Result<(Vec<Found>, u64)> {
    let mut columns: Vec<(String, Evidence)> = Vec::new();
    let (mut rows, mut complete) = (0, true);
    for file in files {
        let (read, to_end) = sample_csv(file, options, rows_per_file(files), &mut columns)?;
        rows += read;
        complete &= to_end;
    }
    let found = columns.into_iter().map(|(name, evidence)| {
        let (choices, question) = evidence.verdict(complete);
        let data_type = choices[0];
        let ambiguity = match question {
            _ if evidence.is_empty() => Some(all_null(&name)),
            Some(question) => Some(Ambiguity { column: name.clone(), question, choices }),
            None => None,
        };
        (name, data_type, ambiguity)
    });
    Ok((found.collect(), rows))
}

/// Adds a file's first rows to the evidence: how many they were, and whether that was all of them.
fn sample_csv(
    file: &Path,
    options: &ReadOptions,
    rows_max: u64,
    columns: &mut Vec<(String, Evidence)>,
) -> Result<(u64, bool)> {
    let stated = header(file, options)?;
    let mut records = Records::open(file, options, Arc::default())?;
    if options.header {
        records.advance()?;
    }
    let mut rows = 0;
    let mut evidence_of: Option<Vec<Option<usize>>> = None;
    while rows < rows_max {
        let more = match records.advance() {
            Err(Error::Row { .. }) if options.rejects.is_some() => continue,
            more => more?,
        };
        if evidence_of.is_none() {
            let fields = if more { records.len() } else { 0 };
            let names = stated.clone().or_else(|| options.columns.clone());
            let names = names.unwrap_or_else(|| (1..=fields).map(|i| format!("column{i}")).collect());
            evidence_of = Some(columns_of(file, &names, options, columns)?);
        }
        let evidence_of = evidence_of.as_deref().unwrap_or_default();
        if !more {
            return Ok((rows, true));
        }
        if records.len() != evidence_of.len() {
            if options.rejects.is_some() {
                continue;
            }
            let expected = evidence_of.len();
            return Err(records.refused(&format!("{} fields where {expected} are expected", records.len())));
        }
        for (i, column) in evidence_of.iter().enumerate() {
            let Some(column) = *column else { continue };
            if !options.is_null(records.field(i)) || records.is_quoted(i) {
                columns[column].1.see(records.field(i));
            }
        }
        rows += 1;
    }
    Ok((rows, false))
}

fn infer_jsonl(files: &[PathBuf], options: &ReadOptions) -> Result<(Vec<Found>, u64)> {
    let mut columns: Vec<(String, JsonEvidence)> = Vec::new();
    let (mut rows, mut complete, mut scratch) = (0, true, Scratch::default());
    for file in files {
        let mut lines = Lines::open(file, options, Arc::default())?;
        let mut rows_in_file = 0;
        while lines.advance()? {
            if rows_in_file == rows_per_file(files) {
                complete = false;
                break;
            }
            match see_line(&lines, &mut scratch, options, &mut columns) {
                Ok(()) => rows_in_file += 1,
                Err(_) if options.rejects.is_some() => {}
                Err(Refusal { value, reason, .. }) => {
                    let place = Some(lines.place());
                    return Err(Error::Row { place, column: None, value, reason: reason.into_owned() });
                }
            }
        }
        rows += rows_in_file;
    }
    if let (Some(file), true) = (files.first(), columns.is_empty()) {
        return Err(input_error(file, "no line of it has a member, so there are no columns"));
    }
    let mut found: Vec<Found> = Vec::with_capacity(columns.len());
    for (name, evidence) in columns {
        let (choices, question) = evidence.verdict(complete);
        let ambiguity = match question {
            _ if evidence.is_empty() => Some(all_null(&name)),
            Some(question) => Some(Ambiguity { column: name.clone(), question, choices: choices.clone() }),
            None => None,
        };
        found.push((name, choices[0], ambiguity));
    }
    Ok((found, rows))
}

/// Adds a line to the evidence. A line that is refused halfway has been seen halfway, which does no harm.
fn see_line(
    lines: &Lines,
    scratch: &mut Scratch,
    options: &ReadOptions,
    columns: &mut Vec<(String, JsonEvidence)>,
) -> std::result::Result<(), Refusal> {
    let mut at = 0;
    for_each_member(lines.text()?, scratch, |name, value| {
        if options.skip.iter().any(|skipped| skipped == name) {
            return Ok(());
        }
        let name = options.rename.iter().find(|(from, _)| from == name).map_or(name, |(_, to)| to);
        if value == Json::Object {
            let reason = format!(
                "member {name:?} is an object, and nested values are not supported (flatten or skip it)"
            );
            return Err(Refusal::of_record(reason));
        }
        // Members mostly come in the order of the line before.
        let here = columns.get(at).is_some_and(|(column, _)| column == name).then_some(at);
        let index = here.or_else(|| columns.iter().position(|(column, _)| column == name));
        let index = match index {
            Some(index) => index,
            None if columns.len() == JSON_COLUMNS_MAX => {
                let reason = format!("its members are called by more than {JSON_COLUMNS_MAX} names");
                return Err(Refusal::of_record(reason));
            }
            None => {
                columns.push((name.to_owned(), JsonEvidence::default()));
                columns.len() - 1
            }
        };
        at = index + 1;
        columns[index].1.see(value);
        Ok(())
    })
}

/// For each field of a file the column it is evidence for; new names become new columns.
fn columns_of(
    file: &Path,
    names: &[String],
    options: &ReadOptions,
    columns: &mut Vec<(String, Evidence)>,
) -> Result<Vec<Option<usize>>> {
    let mut indices = Vec::with_capacity(names.len());
    for (i, name) in mapping::renamed(file, names, options)?.into_iter().enumerate() {
        let Some(name) = name else {
            indices.push(None);
            continue;
        };
        if name.is_empty() {
            return Err(input_error(
                file,
                format!("column {} of its header has no name (state the names)", i + 1),
            ));
        }
        let index = columns.iter().position(|(column, _)| *column == name).unwrap_or_else(|| {
            columns.push((name, Evidence::default()));
            columns.len() - 1
        });
        indices.push(Some(index));
    }
    Ok(indices)
}
