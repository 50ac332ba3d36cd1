//! Rows as Parquet, each type as the logical type that other programs know it by.

use super::file::PartialFile;
use super::{RowSink, output_error};
use crate::schema::DataType;
use crate::value::Value;
use crate::{Error, Result};
use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int16Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType as ArrowType, Field, Schema, SchemaRef, TimeUnit};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of a row group: what a reader decodes as one piece of work, and what the writer keeps in memory, encoded.
const GROUP_ROWS: usize = 1 << 18;

/// Writes a Parquet file, compressed by zstd.
pub(super) struct ParquetSink {
    path: PathBuf,
    schema: SchemaRef,
    columns: Vec<(String, DataType)>,
    writer: ArrowWriter<PartialFile>,
}

impl ParquetSink {
    pub(super) fn create(path: &Path, columns: &[(String, DataType)]) -> Result<ParquetSink> {
        let field = |(name, data_type): &(String, DataType)| Field::new(name, arrow_type(*data_type), true);
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(PartialFile::create(path)?, Arc::clone(&schema), Some(properties))
            .map_err(|error| output_error(path, error))?;
        Ok(ParquetSink { path: path.to_owned(), schema, columns: columns.to_vec(), writer })
    }
}

impl RowSink for ParquetSink {
    fn write(&mut self, rows: &[Vec<Value>]) -> Result<()> {
        let arrays = (self.columns.iter().enumerate())
            .map(|(i, (name, data_type))| {
                array(rows, i, *data_type).ok_or_else(|| {
                    Error::Invalid(format!("a value of column \"{name}\" does not fit its type {data_type}"))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let written = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|error| output_error(&self.path, error))
            .map(|batch| self.writer.write(&batch));
        written?.map_err(|error| output_error(&self.path, error))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.writer.into_inner().map_err(|error| output_error(&self.path, error))?.commit()
    }
}

fn arrow_type(data_type: DataType) -> ArrowType {
    match data_type {
        DataType::Boolean => ArrowType::Boolean,
        DataType::SmallInt => ArrowType::Int16,
        DataType::Integer => ArrowType::Int32,
        DataType::BigInt => ArrowType::Int64,
        DataType::Decimal { precision, scale } => ArrowType::Decimal128(precision, scale as i8),
        DataType::Double => ArrowType::Float64,
        DataType::Text => ArrowType::Utf8,
        DataType::Date => ArrowType::Date32,
        DataType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, None),
        DataType::TimestampTz => ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::TextArray => ArrowType::List(Arc::new(tag_field())),
    }
}

/// The elements of a list of tags, which are never NULL.
fn tag_field() -> Field {
    Field::new("item", ArrowType::Utf8, false)
}

/// One column of the rows; `None` where a value has another type.
fn array(rows: &[Vec<Value>], column: usize, data_type: DataType) -> Option<ArrayRef> {
    /// Each value through `get`; NULL stays NULL.
    fn each<'a, T>(
        rows: &'a [Vec<Value>],
        column: usize,
        get: impl Fn(&'a Value) -> Option<T>,
    ) -> Option<Vec<Option<T>>> {
        rows.iter()
            .map(|row| match row.get(column)? {
                Value::Null => Some(None),
                value => get(value).map(Some),
            })
            .collect()
    }
    fn integer<T: TryFrom<i64>>(value: &Value) -> Option<T> {
        if let Value::Integer(integer) = value { T::try_from(*integer).ok() } else { None }
    }
    Some(match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from(each(rows, column, |value| match value {
            Value::Boolean(boolean) => Some(*boolean),
            _ => None,
        })?)),
        DataType::SmallInt => Arc::new(Int16Array::from(each(rows, column, integer)?)),
        DataType::Integer => Arc::new(Int32Array::from(each(rows, column, integer)?)),
        DataType::BigInt => Arc::new(Int64Array::from(each(rows, column, integer)?)),
        DataType::Decimal { precision, scale } => {
            let array = Decimal128Array::from(each(rows, column, |value| match value {
                Value::Decimal { unscaled, scale: has } => {
                    unscaled.checked_mul(10i128.checked_pow(u32::from(scale.checked_sub(*has)?))?)
                }
                _ => None,
            })?);
            Arc::new(array.with_precision_and_scale(precision, scale as i8).ok()?)
        }
        DataType::Double => Arc::new(Float64Array::from(each(rows, column, |value| match value {
            Value::Double(double) => Some(*double),
            _ => None,
        })?)),
        DataType::Text => Arc::new(StringArray::from(each(rows, column, |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })?)),
        DataType::Date => Arc::new(Date32Array::from(each(rows, column, |value| match value {
            Value::Date(days) => Some(*days),
            _ => None,
        })?)),
        DataType::Timestamp => Arc::new(TimestampMicrosecondArray::from(each(rows, column, |value| {
            if let Value::Timestamp(micros) = value { Some(*micros) } else { None }
        })?)),
        DataType::TimestampTz => {
            let array = TimestampMicrosecondArray::from(each(rows, column, |value| match value {
                Value::TimestampTz(micros) => Some(*micros),
                _ => None,
            })?);
            Arc::new(array.with_timezone("UTC"))
        }
        DataType::TextArray => {
            let lists = each(rows, column, |value| match value {
                Value::Tags(tags) => Some(tags),
                _ => None,
            })?;
            let mut builder = ListBuilder::new(StringBuilder::new()).with_field(tag_field());
            for tags in lists {
                builder.append_option(tags.map(|tags| tags.iter().map(Some)));
            }
            Arc::new(builder.finish())
        }
    })
}
