//! Batches into a Parquet file: zstd, row groups of about a million rows, the columns of a group encoded in parallel.
//!
//! The file appears under its name when it is whole; until then it is called `….partial`, which is removed where the
//! work fails or is cancelled. Memory: the encoded pages of one row group and one batch.

use crate::failure::{Failure, Result};
use crate::progress::Bar;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{ArrayRef, BooleanArray, DictionaryArray, PrimitiveArray, StringArray};
use arrow_schema::{DataType as ArrowType, Field, Schema, TimeUnit};
use muster_engine::Cancel;
use muster_engine::DataType;
use muster_engine::batch::{ColumnBatch, ColumnValues, RowSource, Strings};
use muster_engine::control::Progress;
use muster_engine::schema::ColumnSpec;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use rayon::prelude::*;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of a row group of an ordinary table: sixteen blocks of the population.
const GROUP_ROWS: usize = 16 * 65_536;

/// Values of a row group: a wide table has fewer rows in one, so that its encoded pages stay within some 100 MB.
const GROUP_VALUES: usize = 64 << 20;

/// Writes all rows of a source and returns how many there were.
pub(super) fn write(
    path: &Path,
    columns: &[ColumnSpec],
    source: &mut dyn RowSource,
    cancel: &Cancel,
    bar: &Bar,
) -> Result<u64> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Partial(PathBuf::from(partial));
    let failed = |e: std::io::Error| Failure::new(format!("cannot write {}: {e}", partial.0.display()));
    let file = File::create(&partial.0).map_err(failed)?;
    let rows = write_file(file, columns, source, cancel, bar)?;
    std::fs::rename(&partial.0, path).map_err(failed)?;
    Ok(rows)
}

/// A file that goes away unless it has been renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // After the rename there is nothing under this name, and nothing to report.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn write_file(
    file: File,
    columns: &[ColumnSpec],
    source: &mut dyn RowSource,
    cancel: &Cancel,
    bar: &Bar,
) -> Result<u64> {
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let properties = Arc::new(
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?)).build(),
    );
    let parquet_schema = ArrowSchemaConverter::new().convert(&schema)?;
    let mut writer = SerializedFileWriter::new(file, parquet_schema.root_schema_ptr(), properties)?;
    let factory = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(&schema));
    let group_rows = GROUP_ROWS.min(GROUP_VALUES / columns.len());
    let (mut group, mut rows, mut ended) = (0, 0u64, false);
    while !ended {
        // The pages of a group, column by column, while batches come.
        let mut open = factory.create_column_writers(group)?;
        let mut rows_in_group = 0;
        while rows_in_group < group_rows {
            cancel.check()?;
            let Some(batch) = source.next()? else {
                ended = true;
                break;
            };
            let encode =
                |(writer, (column, field)): (&mut ArrowColumnWriter, (&ColumnBatch, &Arc<Field>))| {
                    // Every column here has one leaf: lists hold texts, nothing nests deeper.
                    for leaf in compute_leaves(field, &array(column, field))? {
                        writer.write(&leaf)?;
                    }
                    Ok::<(), parquet::errors::ParquetError>(())
                };
            open.par_iter_mut()
                .zip(batch.columns.par_iter().zip(schema.fields().par_iter()))
                .try_for_each(encode)?;
            rows_in_group += batch.rows;
            rows += batch.rows as u64;
            let (rows_total, share) = source.progress();
            bar.show(Progress { rows, rows_total, share, phase: "rows" });
        }
        if rows_in_group > 0 {
            let mut row_group = writer.next_row_group()?;
            for chunk in open.into_par_iter().map(ArrowColumnWriter::close).collect::<Vec<_>>() {
                chunk?.append_to_row_group(&mut row_group)?;
            }
            row_group.close()?;
            group += 1;
        }
    }
    writer.close()?;
    Ok(rows)
}

/// The Arrow field of a column; TEXT goes through a dictionary unless it is a key.
fn field(column: &ColumnSpec) -> Field {
    let arrow_type = match column.data_type {
        DataType::Boolean => ArrowType::Boolean,
        DataType::SmallInt => ArrowType::Int16,
        DataType::Integer => ArrowType::Int32,
        DataType::BigInt => ArrowType::Int64,
        DataType::Date => ArrowType::Date32,
        DataType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Text if matches!(column.name.as_str(), "id" | "member_id") => ArrowType::Utf8,
        DataType::Text => ArrowType::Dictionary(Box::new(ArrowType::Int32), Box::new(ArrowType::Utf8)),
        DataType::TextArray => ArrowType::List(Arc::new(Field::new("item", ArrowType::Utf8, true))),
        other => unreachable!("no population has a {other} column"),
    };
    Field::new(&column.name, arrow_type, column.nullable)
}

fn array(column: &ColumnBatch, field: &Field) -> ArrayRef {
    let nulls = column.nulls.as_deref();
    match &column.values {
        ColumnValues::Boolean(values) => {
            let value = |(row, value): (usize, &bool)| (!is_null(nulls, row)).then_some(*value);
            Arc::new(values.iter().enumerate().map(value).collect::<BooleanArray>())
        }
        ColumnValues::Code(codes) => match field.data_type() {
            ArrowType::Int16 => primitive::<Int16Type>(codes, nulls, |code| code as i16),
            ArrowType::Int32 => primitive::<Int32Type>(codes, nulls, |code| code as i32),
            ArrowType::Date32 => primitive::<Date32Type>(codes, nulls, |code| code as i32),
            ArrowType::Int64 => primitive::<Int64Type>(codes, nulls, |code| code),
            _ => primitive::<TimestampMicrosecondType>(codes, nulls, |code| code),
        },
        ColumnValues::Text(strings) => {
            Arc::new(StringArray::from_iter_values((0..strings.len()).map(|i| text(strings, i))))
        }
        ColumnValues::TextDictionary { codes, dictionary } => {
            let codes: Vec<i32> = codes.iter().map(|code| *code as i32).collect();
            let keys = PrimitiveArray::<Int32Type>::new(codes.into(), validity(nulls));
            let values = StringArray::from_iter_values((0..dictionary.len()).map(|i| text(dictionary, i)));
            Arc::new(DictionaryArray::new(keys, Arc::new(values)))
        }
        ColumnValues::Tags { ends, tags, dictionary } => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            let mut start = 0;
            for (row, end) in ends.iter().enumerate() {
                tags[start..*end as usize]
                    .iter()
                    .for_each(|tag| lists.values().append_value(text(dictionary, *tag as usize)));
                lists.append(!is_null(nulls, row));
                start = *end as usize;
            }
            Arc::new(lists.finish())
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(
    codes: &[i64],
    nulls: Option<&[bool]>,
    narrow: impl Fn(i64) -> T::Native,
) -> ArrayRef {
    let values: Vec<T::Native> = codes.iter().map(|code| narrow(*code)).collect();
    Arc::new(PrimitiveArray::<T>::new(values.into(), validity(nulls)))
}

/// Arrow marks what is there, a batch what is not.
fn validity<V: From<Vec<bool>>>(nulls: Option<&[bool]>) -> Option<V> {
    nulls.map(|nulls| nulls.iter().map(|null| !null).collect::<Vec<bool>>().into())
}

fn is_null(nulls: Option<&[bool]>, row: usize) -> bool {
    nulls.is_some_and(|nulls| nulls[row])
}

fn text(strings: &Strings, i: usize) -> &str {
    // Strings are UTF-8 by their contract; the population writes ASCII.
    std::str::from_utf8(strings.get(i)).unwrap_or_default()
}
