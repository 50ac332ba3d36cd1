//! The rows of one CSV file: fields into columns.
//!
//! An unquoted field equal to one of the NULL texts (by default an empty one) is NULL; quoted, it is a value.

use super::column::ColumnBuilder;
use super::encoding::MALFORMED;
use super::mapping::Mapping;
use super::records::Records;
use super::text::Refusal;
use super::{ReadOptions, Target, TextEncoding, input_error};
use crate::Result;
use crate::value::{Reason, shortened};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Reads a file past its header.
pub(super) struct CsvRows {
    records: Records,
    nulls: Vec<String>,
    /// What gives the number of fields, for messages.
    fields_of: &'static str,
    /// For each field the builder it feeds; builders no field feeds get NULLs.
    field_builders: Vec<Option<usize>>,
    absent_builders: Vec<usize>,
}

impl CsvRows {
    pub(super) fn open(
        path: &Path,
        options: &ReadOptions,
        mapping: &Mapping,
        delivers: &[usize],
        targets: &[Target],
        bytes_read: Arc<AtomicU64>,
    ) -> Result<CsvRows> {
        let mut records = Records::open(path, options, bytes_read)?;
        if options.header {
            records.advance()?;
        }
        // A blank line of a file with one column that takes NULL is what a NULL is written as.
        if let [Some(only)] = mapping[..]
            && targets[only].nullable
            && options.is_null(b"")
        {
            records.take_blank_lines();
        }
        let builder_of = |target: &usize| delivers.iter().position(|delivered| delivered == target);
        Ok(CsvRows {
            records,
            nulls: options.nulls.clone(),
            fields_of: if options.header { "the header" } else { "the table" },
            field_builders: mapping.iter().map(|target| target.as_ref().and_then(builder_of)).collect(),
            absent_builders: (0..delivers.len()).filter(|i| !mapping.contains(&Some(delivers[*i]))).collect(),
        })
    }

    pub(super) fn advance(&mut self) -> Result<bool> {
        self.records.advance()
    }

    pub(super) fn push(&mut self, builders: &mut [ColumnBuilder]) -> std::result::Result<(), Refusal> {
        let records = &mut self.records;
        let (has, expected) = (records.len(), self.field_builders.len());
        if has != expected {
            let plural = if has == 1 { "" } else { "s" };
            let reason = format!("{has} field{plural}, but {} has {expected}", self.fields_of);
            return Err(Refusal::of_record(reason));
        }
        for (field, builder) in self.field_builders.iter().enumerate() {
            let Some(builder) = *builder else { continue };
            let is_null_text = self.nulls.iter().any(|null| records.field(field) == null.as_bytes());
            let null = is_null_text && !records.is_quoted(field);
            let column = &mut builders[builder];
            let pushed = if null { column.push_null() } else { column.push(records.field(field)) };
            pushed.map_err(|reason| Refusal {
                builder: Some(builder),
                value: (!null).then(|| shortened(records.field(field))),
                reason: reason_in(records.encoding(), records.field(field), reason),
            })?;
        }
        for builder in &self.absent_builders {
            // The mapping has already refused files that lack a column that must not be NULL.
            builders[*builder].push_null().map_err(Refusal::of_record)?;
        }
        Ok(())
    }

    pub(super) fn line(&self) -> u64 {
        self.records.line()
    }

    pub(super) fn raw(&self) -> &[u8] {
        self.records.raw()
    }
}

/// The reason, or that of bytes which mean nothing in the file's encoding.
pub(super) fn reason_in(encoding: TextEncoding, field: &[u8], reason: Reason) -> Reason {
    if encoding != TextEncoding::UTF_8 && field.contains(&MALFORMED) {
        encoding.refusal().into()
    } else {
        reason
    }
}

/// The names in a file's header, or those stated in its place; `None` without a header.
pub(super) fn header(file: &Path, options: &ReadOptions) -> Result<Option<Vec<String>>> {
    if !options.header {
        return Ok(None);
    }
    let mut records = Records::open(file, options, Arc::default())?;
    if !records.advance()? {
        return Err(input_error(file, "it is empty, without even a header"));
    }
    let mut names = Vec::with_capacity(records.len());
    for i in 0..records.len() {
        let name = std::str::from_utf8(records.field(i)).map_err(|_| {
            let encoding = records.encoding();
            input_error(
                file,
                format!("name {} of its header is not valid {encoding} (state the encoding)", i + 1),
            )
        })?;
        names.push(name.to_owned());
    }
    match &options.columns {
        Some(stated) if stated.len() != names.len() => Err(input_error(
            file,
            format!("its header has {} columns, but {} names are stated", names.len(), stated.len()),
        )),
        Some(stated) => Ok(Some(stated.clone())),
        None => Ok(Some(names)),
    }
}
