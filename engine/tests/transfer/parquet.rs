//! Parquet in.

use crate::support::{DECIMAL, Files, Rows, drain, every_type, key, open, read, target};
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::*;
use arrow_schema::DataType as ArrowType;
use muster_engine::batch::ColumnValues;
use muster_engine::transfer::{ParquetSource, ReadOptions, Target};
use muster_engine::{DataType, Value, calendar, code};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn write(path: &Path, columns: &[(&str, ArrayRef)], rows_per_group: usize) {
    let batch = RecordBatch::try_from_iter(columns.iter().map(|(n, a)| (*n, Arc::clone(a)))).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows_per_group)).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// One column of a file, read as a type.
fn column(array: ArrayRef, into: DataType) -> Result<Vec<Value>, String> {
    let files = Files::new();
    let file = files.path("a.parquet");
    write(&file, &[("c", array)], 1 << 20);
    let rows =
        read(&file, &[target("c", into)], &ReadOptions::default()).map_err(|error| files.words(&error))?;
    Ok(rows.into_iter().map(|mut row| row.remove(0)).collect())
}

fn integers(values: &[i64]) -> Vec<Value> {
    values.iter().map(|v| Value::Integer(*v)).collect()
}

fn texts(values: &[Option<&str>]) -> Vec<Value> {
    values.iter().map(|v| v.map_or(Value::Null, |text| Value::Text(text.to_owned()))).collect()
}

fn list_of(rows: &[Option<Vec<&str>>]) -> ListArray {
    let mut builder = builder::ListBuilder::new(builder::StringBuilder::new());
    for row in rows {
        builder.append_option(row.as_ref().map(|tags| tags.iter().map(|tag| Some(*tag)).collect::<Vec<_>>()));
    }
    builder.finish()
}

/// The column of a value table as Arrow's array.
fn array_of(rows: &Rows, column: usize, data_type: DataType) -> ArrayRef {
    let codes = || rows.iter().map(move |row| code::encode(&row[column]));
    match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from_iter(rows.iter().map(|row| match row[column] {
            Value::Boolean(boolean) => Some(boolean),
            _ => None,
        }))),
        DataType::SmallInt => Arc::new(Int16Array::from_iter(codes().map(|c| c.map(|c| c as i16)))),
        DataType::Integer => Arc::new(Int32Array::from_iter(codes().map(|c| c.map(|c| c as i32)))),
        DataType::BigInt => Arc::new(Int64Array::from_iter(codes())),
        DataType::Decimal { precision, scale } => {
            let array = Decimal128Array::from_iter(codes().map(|c| c.map(i128::from)));
            Arc::new(array.with_precision_and_scale(precision, scale as i8).unwrap())
        }
        DataType::Double => Arc::new(Float64Array::from_iter(codes().map(|c| c.map(code::code_to_double)))),
        DataType::Date => Arc::new(Date32Array::from_iter(codes().map(|c| c.map(|c| c as i32)))),
        DataType::Timestamp => Arc::new(TimestampMicrosecondArray::from_iter(codes())),
        DataType::TimestampTz => Arc::new(TimestampMicrosecondArray::from_iter(codes()).with_timezone("UTC")),
        DataType::Text => Arc::new(StringArray::from_iter(rows.iter().map(|row| match &row[column] {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }))),
        DataType::TextArray => {
            let lists: Vec<_> = (rows.iter())
                .map(|row| match &row[column] {
                    Value::Tags(tags) => Some(tags.iter().map(String::as_str).collect()),
                    _ => None,
                })
                .collect();
            Arc::new(list_of(&lists))
        }
    }
}

#[test]
fn every_type_comes_back() {
    let files = Files::new();
    let (targets, rows) = every_type();
    let arrays: Vec<(&str, ArrayRef)> = (targets.iter().enumerate())
        .map(|(i, t)| (t.name.as_str(), array_of(&rows, i, t.data_type)))
        .collect();
    let file = files.path("all.parquet");
    for rows_per_group in [1, 4, 1000] {
        write(&file, &arrays, rows_per_group);
        assert_eq!(read(&file, &targets, &ReadOptions::default()).unwrap(), rows);
    }
}

#[test]
fn other_widths_and_units_are_converted() {
    assert_eq!(
        column(Arc::new(Int8Array::from(vec![-128, 127])), DataType::BigInt),
        Ok(integers(&[-128, 127]))
    );
    assert_eq!(column(Arc::new(UInt8Array::from(vec![255])), DataType::SmallInt), Ok(integers(&[255])));
    assert_eq!(column(Arc::new(UInt16Array::from(vec![65_535])), DataType::Integer), Ok(integers(&[65_535])));
    let ids = UInt32Array::from(vec![0, u32::MAX]);
    assert_eq!(column(Arc::new(ids), DataType::BigInt), Ok(integers(&[0, u32::MAX.into()])));
    let narrow = Int64Array::from(vec![Some(7), None]);
    assert_eq!(column(Arc::new(narrow), DataType::SmallInt), Ok(vec![Value::Integer(7), Value::Null]));
    let cents = Int32Array::from(vec![5]);
    assert_eq!(column(Arc::new(cents), DECIMAL), Ok(vec![Value::Decimal { unscaled: 500, scale: 2 }]));
    assert_eq!(column(Arc::new(Int32Array::from(vec![-3])), DataType::Double), Ok(vec![Value::Double(-3.0)]));
    assert_eq!(
        column(Arc::new(Float32Array::from(vec![1.5])), DataType::Double),
        Ok(vec![Value::Double(1.5)])
    );
    let decimal = Decimal128Array::from(vec![Some(-15), None]).with_precision_and_scale(30, 1).unwrap();
    let expected = vec![Value::Decimal { unscaled: -150, scale: 2 }, Value::Null];
    assert_eq!(column(Arc::new(decimal), DECIMAL), Ok(expected));
    let day = calendar::MICROS_PER_DAY;
    assert_eq!(
        column(Arc::new(Date32Array::from(vec![-1])), DataType::Timestamp),
        Ok(vec![Value::Timestamp(-day)])
    );
    assert_eq!(
        column(Arc::new(Date64Array::from(vec![86_400_000])), DataType::Date),
        Ok(vec![Value::Date(1)])
    );
    let at = |array: ArrayRef| column(array, DataType::Timestamp);
    assert_eq!(at(Arc::new(TimestampSecondArray::from(vec![-2]))), Ok(vec![Value::Timestamp(-2_000_000)]));
    assert_eq!(at(Arc::new(TimestampMillisecondArray::from(vec![3]))), Ok(vec![Value::Timestamp(3000)]));
    assert_eq!(
        at(Arc::new(TimestampNanosecondArray::from(vec![-1, 1999]))),
        Ok(vec![Value::Timestamp(-1), Value::Timestamp(1)])
    );
    let zoned = TimestampSecondArray::from(vec![1]).with_timezone("+02:00");
    assert_eq!(column(Arc::new(zoned), DataType::TimestampTz), Ok(vec![Value::TimestampTz(1_000_000)]));
    let words = StringArray::from(vec![Some("2020-01-02"), None]);
    assert_eq!(column(Arc::new(words), DataType::Date), Ok(vec![Value::Date(18_263), Value::Null]));
    assert_eq!(column(Arc::new(NullArray::new(2)), DataType::Integer), Ok(vec![Value::Null, Value::Null]));
}

#[test]
fn strings_come_in_every_clothing() {
    let values = [Some("Oslo"), None, Some(""), Some("会员"), Some("Oslo")];
    let expected = Ok(texts(&values));
    assert_eq!(column(Arc::new(StringArray::from(values.to_vec())), DataType::Text), expected);
    assert_eq!(column(Arc::new(LargeStringArray::from(values.to_vec())), DataType::Text), expected);
    assert_eq!(column(Arc::new(StringViewArray::from(values.to_vec())), DataType::Text), expected);
    let small: DictionaryArray<Int8Type> = values.into_iter().collect();
    assert_eq!(column(Arc::new(small), DataType::Text), expected);
    let nothing: DictionaryArray<Int32Type> = [None, None].into_iter().collect();
    assert_eq!(column(Arc::new(nothing), DataType::Text), Ok(texts(&[None, None])));
    let arrays = StringArray::from(vec![Some("{b,a,b}"), Some("[\"c\"]"), None]);
    let tags = |tags: &[&str]| Value::tags(tags.iter().map(|t| t.to_string()));
    assert_eq!(
        column(Arc::new(arrays), DataType::TextArray),
        Ok(vec![tags(&["a", "b"]), tags(&["c"]), Value::Null])
    );
    let lists = list_of(&[Some(vec!["b", "a", "b"]), Some(vec![]), None]);
    let large = arrow_cast::cast(&lists, &ArrowType::new_large_list(ArrowType::Utf8, true)).unwrap();
    for array in [Arc::new(lists) as ArrayRef, large] {
        assert_eq!(column(array, DataType::TextArray), Ok(vec![tags(&["a", "b"]), tags(&[]), Value::Null]));
    }
}

/// Plain string columns whose pages have dictionaries must arrive as dictionaries, near-unique ones as text.
#[test]
fn repeated_strings_stay_a_dictionary() {
    let files = Files::new();
    let file = files.path("a.parquet");
    let cities = StringArray::from_iter_values((0..100_000).map(|i| format!("city_{}", i % 300)));
    let names =
        StringArray::from_iter_values((0..100_000).map(|i| format!("a rather long and unique name {i}")));
    write(&file, &[("city", Arc::new(cities)), ("name", Arc::new(names))], 60_000);
    let columns = [target("city", DataType::Text), target("name", DataType::Text)];
    let mut source = open(&[&file], &columns, &ReadOptions::default()).unwrap();
    let batch = source.next().unwrap().unwrap();
    assert_eq!(batch.rows, 60_000, "a batch ends with its row group");
    match &batch.columns[0].values {
        ColumnValues::TextDictionary { dictionary, .. } => assert_eq!(dictionary.len(), 300),
        other => panic!("{other:?}"),
    }
    assert!(matches!(batch.columns[1].values, ColumnValues::Text(_)));
}

#[test]
fn what_does_not_fit_is_refused() {
    let refusal = |array: ArrayRef, into| column(array, into).unwrap_err();
    assert_eq!(
        refusal(Arc::new(Int64Array::from(vec![Some(1), None, Some(40_000)])), DataType::SmallInt),
        "a.parquet, row 3: column \"c\": value \"40000\": is out of the range of SMALLINT (-32768 to 32767)"
    );
    assert_eq!(
        refusal(Arc::new(UInt64Array::from(vec![u64::MAX])), DataType::BigInt),
        "a.parquet, row 1: column \"c\": value \"18446744073709551615\": is out of the range of BIGINT"
    );
    let decimal = Decimal128Array::from(vec![1, 1_000_000_000_000]).with_precision_and_scale(20, 2).unwrap();
    assert_eq!(
        refusal(Arc::new(decimal), DECIMAL),
        "a.parquet, row 2: column \"c\": value \"10000000000.00\": is out of the range of DECIMAL(12,2)"
    );
    assert!(
        refusal(Arc::new(TimestampSecondArray::from(vec![i64::MAX / 1000])), DataType::Timestamp)
            .ends_with("is out of the range of TIMESTAMP")
    );
    assert!(
        refusal(Arc::new(StringArray::from(vec!["x"])), DataType::Date)
            .ends_with("value \"x\": is not a date (YYYY-MM-DD)")
    );
    let mut with_null = builder::ListBuilder::new(builder::StringBuilder::new());
    with_null.append_value([Some("a"), None]);
    assert!(
        refusal(Arc::new(with_null.finish()), DataType::TextArray)
            .ends_with("has a NULL element, which a set of tags cannot hold")
    );
    assert_eq!(
        refusal(Arc::new(Float64Array::from(vec![1.0])), DataType::BigInt),
        "cannot read a.parquet: column \"c\" has the type Float64, which cannot be read as BIGINT (convert or skip it)"
    );
    let zoned = TimestampSecondArray::from(vec![1]).with_timezone("UTC");
    assert!(refusal(Arc::new(zoned), DataType::Timestamp).contains("cannot be read as TIMESTAMP"));
    assert!(
        refusal(Arc::new(BinaryArray::from(vec![&b"x"[..]])), DataType::Text).contains("has the type Binary")
    );
    let fields = vec![Arc::new(arrow_schema::Field::new("x", ArrowType::Int32, true))];
    let nested = StructArray::new(fields.into(), vec![Arc::new(Int32Array::from(vec![1]))], None);
    assert!(refusal(Arc::new(nested), DataType::Text).contains("column \"c\" has the type Struct"));
}

#[test]
fn nulls_and_long_texts_are_refused_in_keys() {
    let files = Files::new();
    let file = files.path("a.parquet");
    write(&file, &[("id", Arc::new(Int64Array::from(vec![Some(1), None])))], 10);
    let error = read(&file, &[key("id", DataType::BigInt)], &ReadOptions::default()).unwrap_err();
    assert_eq!(files.words(&error), "a.parquet, row 2: column \"id\": a key cannot be NULL");
    for repeats in [1, 200] {
        let long = "k".repeat(257);
        let keys = ["k", &long].repeat(repeats);
        write(&file, &[("id", Arc::new(StringArray::from(keys)))], 1000);
        let error =
            files.words(&read(&file, &[key("id", DataType::Text)], &ReadOptions::default()).unwrap_err());
        assert!(error.starts_with("a.parquet, row 2: "), "{error}");
        assert!(error.ends_with("has 257 bytes, a key at most 256"), "{error}");
    }
}

/// Two threads decode; rows must come in the files' order, and every row must be found again.
#[test]
fn row_groups_and_files_come_in_order() {
    let files = Files::new();
    let (one, two) = (files.path("one.parquet"), files.path("two.parquet"));
    let ids = |from: i64, to: i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(from..to)) };
    let notes: ArrayRef = Arc::new(StringArray::from_iter_values((0..30_000).map(|i| (i % 7).to_string())));
    write(&one, &[("id", ids(0, 100_000))], 9_999);
    write(&two, &[("note", notes), ("id", ids(100_000, 130_000))], 70_000);
    let columns = [key("id", DataType::BigInt), target("note", DataType::Text)];
    let mut source = open(&[&one, &two], &columns, &ReadOptions::default()).unwrap();
    assert_eq!(source.progress(), (Some(130_000), 0.0));
    let rows = drain(source.as_mut(), &columns).unwrap();
    assert_eq!(rows.len(), 130_000);
    assert!(rows.iter().enumerate().all(|(i, row)| row[0] == Value::Integer(i as i64)));
    assert!(rows.iter().enumerate().all(|(i, row)| (row[1] == Value::Null) == (i < 100_000)));
    assert_eq!(source.progress(), (Some(130_000), 1.0));
    for row in [0, 9_998, 9_999, 99_999, 100_000, 129_999u64] {
        let place = source.place(row).unwrap();
        assert_eq!((place.file.ends_with("one.parquet"), place.line), (row < 100_000, row % 100_000 + 1));
    }
    assert_eq!(source.place(130_000), None);
    // A source that is dropped early must not leave threads waiting.
    let mut source = open(&[&one, &two], &columns, &ReadOptions::default()).unwrap();
    source.next().unwrap().unwrap();
    drop(source);
}

#[test]
fn skipped_columns_are_not_read() {
    let files = Files::new();
    let file = files.path("a.parquet");
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    write(&file, &[("odd", Arc::new(BinaryArray::from(vec![&b"x"[..]]))), ("member", id)], 10);
    let options = ReadOptions {
        skip: vec!["odd".to_owned()],
        rename: vec![("member".to_owned(), "id".to_owned())],
        ..ReadOptions::default()
    };
    let columns = [target("gone", DataType::Text), key("id", DataType::BigInt)];
    let paths: Vec<PathBuf> = vec![file.clone()];
    assert_eq!(ParquetSource::open(&paths, &options, &columns).unwrap().delivers(), [1]);
    assert_eq!(read(&file, &columns[1..], &options).unwrap(), [[Value::Integer(1)]]);
}

/// Wherever a file is cut or a byte is flipped, the source ends in rows or an error, never a hang or a panic of ours.
#[test]
fn damaged_files_end_in_an_error() {
    let files = Files::new();
    let file = files.path("a.parquet");
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..500).map(|i| i * i)));
    let notes: ArrayRef = Arc::new(StringArray::from_iter_values((0..500).map(|i| (i % 7).to_string())));
    write(&file, &[("id", ids), ("note", notes)], 200);
    let bytes = std::fs::read(&file).unwrap();
    let columns: [Target; 2] = [key("id", DataType::BigInt), target("note", DataType::Text)];
    for length in [0, 3, 8, bytes.len() / 2, bytes.len() - 1] {
        let cut = files.write("cut.parquet", &bytes[..length]);
        let error = read(&cut, &columns, &ReadOptions::default()).unwrap_err();
        assert!(files.words(&error).starts_with("cannot read cut.parquet: "), "{error}");
    }
    for at in (4..bytes.len()).step_by(bytes.len() / 60) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x41;
        let flipped = files.write("flipped.parquet", flipped);
        let _ = read(&flipped, &columns, &ReadOptions::default());
    }
}
