//! One column of a batch under construction, value by value from text.

use super::intern::Interner;
use super::{BATCH_ROWS, Target};
use crate::batch::{ColumnBatch, ColumnValues, Strings};
use crate::schema::{DataType, KEY_BYTES_MAX};
use crate::value::{Reason, boolean, code, for_each_tag};

/// Takes texts, gives a [`ColumnBatch`]; its buffers grow to a batch's size once a batch.
pub(super) struct ColumnBuilder {
    data_type: DataType,
    nullable: bool,
    key: bool,
    nulls: Vec<bool>,
    any_null: bool,
    values: Building,
    scratch: String,
    /// Tags in the dictionary before the newest row that has any.
    tags_before: usize,
}

enum Building {
    Boolean(Vec<bool>),
    Code(Vec<i64>),
    Text(Strings),
    Tags { ends: Vec<u32>, tags: Vec<u32>, dictionary: Interner },
}

impl ColumnBuilder {
    pub(super) fn new(target: &Target) -> ColumnBuilder {
        let values = match target.data_type {
            DataType::Boolean => Building::Boolean(Vec::new()),
            DataType::Text => Building::Text(Strings::default()),
            DataType::TextArray => {
                Building::Tags { ends: Vec::new(), tags: Vec::new(), dictionary: Interner::default() }
            }
            _ => Building::Code(Vec::new()),
        };
        let (data_type, nullable, key) = (target.data_type, target.nullable, target.key);
        let (nulls, any_null, scratch) = (Vec::new(), false, String::new());
        ColumnBuilder { data_type, nullable, key, nulls, any_null, values, scratch, tags_before: 0 }
    }

    /// Appends the value of this text. A refusal says why, the value left out of the sentence.
    pub(super) fn push(&mut self, text: &[u8]) -> Result<(), Reason> {
        match &mut self.values {
            Building::Code(codes) => codes.push(code(text, self.data_type)?),
            Building::Boolean(booleans) => booleans.push(boolean(text)?),
            Building::Text(strings) => {
                let text = utf8(text)?;
                if self.key {
                    check_key_length(text.len())?;
                }
                strings.push(text);
            }
            Building::Tags { ends, tags, dictionary } => {
                self.tags_before = dictionary.len();
                for_each_tag(utf8(text)?, &mut self.scratch, |tag| tags.push(dictionary.intern(tag)))?;
                ends.push(tags.len() as u32);
            }
        }
        self.nulls.push(false);
        Ok(())
    }

    /// Appends a NULL.
    pub(super) fn push_null(&mut self) -> Result<(), Reason> {
        check_null(self.nullable, self.key)?;
        match &mut self.values {
            Building::Code(codes) => codes.push(0),
            Building::Boolean(booleans) => booleans.push(false),
            Building::Text(strings) => strings.push(""),
            Building::Tags { ends, tags, .. } => ends.push(tags.len() as u32),
        }
        self.nulls.push(true);
        self.any_null = true;
        Ok(())
    }

    /// Forgets what a refused row has left behind after the first `rows` rows of the batch: at most one row, whole or
    /// in part.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        match &mut self.values {
            Building::Boolean(booleans) => booleans.truncate(rows),
            Building::Code(codes) => codes.truncate(rows),
            Building::Text(strings) => strings.truncate(rows),
            Building::Tags { ends, tags, dictionary } => {
                ends.truncate(rows);
                let end = ends.last().map_or(0, |end| *end as usize);
                if tags.len() > end {
                    tags.truncate(end);
                    dictionary.truncate(self.tags_before);
                }
            }
        }
    }

    /// The rows since the last call.
    pub(super) fn finish(&mut self) -> ColumnBatch {
        self.tags_before = 0;
        let nulls = std::mem::take(&mut self.nulls);
        let nulls = std::mem::take(&mut self.any_null).then_some(nulls);
        let values = match &mut self.values {
            Building::Boolean(booleans) => {
                ColumnValues::Boolean(std::mem::replace(booleans, Vec::with_capacity(BATCH_ROWS)))
            }
            Building::Code(codes) => {
                ColumnValues::Code(std::mem::replace(codes, Vec::with_capacity(BATCH_ROWS)))
            }
            Building::Text(strings) => ColumnValues::Text(std::mem::take(strings)),
            Building::Tags { ends, tags, dictionary } => ColumnValues::Tags {
                ends: std::mem::take(ends),
                tags: std::mem::take(tags),
                dictionary: dictionary.take(),
            },
        };
        ColumnBatch { values, nulls }
    }
}

fn utf8(text: &[u8]) -> Result<&str, Reason> {
    std::str::from_utf8(text).map_err(|error| {
        Reason::from(format!("is not valid UTF-8 (from its byte {} on)", error.valid_up_to() + 1))
    })
}

/// Refuses a NULL where the column does.
pub(super) fn check_null(nullable: bool, key: bool) -> Result<(), Reason> {
    if key {
        Err("a key cannot be NULL".into())
    } else if !nullable {
        Err("the column is NOT NULL".into())
    } else {
        Ok(())
    }
}

/// Refuses the text of a key that is too long.
pub(super) fn check_key_length(bytes: usize) -> Result<(), Reason> {
    if bytes > KEY_BYTES_MAX {
        Err(format!("has {bytes} bytes, a key at most {KEY_BYTES_MAX}").into())
    } else {
        Ok(())
    }
}
