//! Rows out, and in again.

use crate::support::{DECIMAL, Files, Rows, every_type, read, target};
use arrow_schema::{DataType as ArrowType, TimeUnit};
use muster_engine::schema::{Column, TableSchema};
use muster_engine::transfer::export::{ExportOptions, Members, create, write_members};
use muster_engine::transfer::{Format, ReadOptions, Target};
use muster_engine::{ColumnId, DataType, TableId, Value};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use roaring::RoaringBitmap;
use std::path::Path;

fn columns(targets: &[Target]) -> Vec<(String, DataType)> {
    targets.iter().map(|target| (target.name.clone(), target.data_type)).collect()
}

/// Writes rows in batches of three.
fn write(path: &Path, format: Format, options: &ExportOptions, targets: &[Target], rows: &Rows) {
    let mut sink = create(path, format, options, &columns(targets)).unwrap();
    rows.chunks(3).for_each(|some| sink.write(some).unwrap());
    assert!(!path.exists(), "the file has no name before it is whole");
    sink.finish().unwrap();
}

/// How a file is read that was written so.
fn reading(options: &ExportOptions) -> ReadOptions {
    ReadOptions {
        header: options.header,
        delimiter: options.delimiter,
        quote: Some(options.quote),
        escape: options.escape,
        nulls: vec![options.null.clone()],
        ..ReadOptions::default()
    }
}

#[test]
fn every_type_comes_back_from_every_format() {
    let (targets, rows) = every_type();
    let options = ExportOptions { header: true, ..ExportOptions::default() };
    for (name, format) in [
        ("a.csv", Format::Csv),
        ("a.csv.gz", Format::Csv),
        ("a.csv.zst", Format::Csv),
        ("a.jsonl", Format::Jsonl),
        ("a.jsonl.gz", Format::Jsonl),
        ("a.ndjson.zst", Format::Jsonl),
        ("a.parquet", Format::Parquet),
    ] {
        let files = Files::new();
        let path = files.path(name);
        write(&path, format, &options, &targets, &rows);
        assert_eq!(read(&path, &targets, &ReadOptions::default()).unwrap(), rows, "{name}");
        let magic: &[u8] = match path.extension().unwrap().to_str().unwrap() {
            "gz" => &[0x1f, 0x8b],
            "zst" => &[0x28, 0xb5],
            _ => &[],
        };
        assert!(std::fs::read(&path).unwrap().starts_with(magic), "{name}");
        // Cut anywhere, a compressed file is an error.
        if !magic.is_empty() {
            let whole = std::fs::read(&path).unwrap();
            for length in [whole.len() - 1, whole.len() - 9, whole.len() / 2, 5] {
                let error = read(&files.write(name, &whole[..length]), &targets, &ReadOptions::default());
                let error = files.words(&error.unwrap_err());
                assert!(
                    error.starts_with(&format!("cannot read {name}: ")),
                    "{name} cut to {length}: {error}"
                );
            }
        }
    }
}

#[test]
fn csv_is_quoted_only_where_it_must_be() {
    let files = Files::new();
    let path = files.path("a.csv");
    let targets = [target("a,b", DataType::Text), target("n", DataType::Integer)];
    let text = |text: &str| Value::Text(text.to_owned());
    let rows = vec![
        vec![text("plain text"), Value::Integer(-1)],
        vec![Value::Null, Value::Null],
        vec![text(""), Value::Integer(0)],
        vec![text("a\"b"), Value::Integer(1)],
        vec![text("two\nlines"), Value::Integer(2)],
    ];
    write(&path, Format::Csv, &ExportOptions { header: true, ..Default::default() }, &targets, &rows);
    let expected = "\"a,b\",n\nplain text,-1\n,\n\"\",0\n\"a\"\"b\",1\n\"two\nlines\",2\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    let options = ExportOptions {
        delimiter: b';',
        quote: b'\'',
        escape: Some(b'\\'),
        null: "-1".to_owned(),
        ..Default::default()
    };
    let path = files.path("b.csv");
    write(&path, Format::Csv, &options, &targets, &rows);
    let expected = "plain text;'-1'\n-1;-1\n'';0\na\"b;1\n'two\nlines';2\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    let refused =
        create(&path, Format::Csv, &ExportOptions { null: "a,b".into(), ..Default::default() }, &[]);
    assert!(refused.err().unwrap().to_string().contains("the text of NULL may not hold ','"));
}

#[test]
fn json_lines_are_what_other_programs_expect() {
    let files = Files::new();
    let path = files.path("a.jsonl");
    let (targets, rows) = every_type();
    write(&path, Format::Jsonl, &ExportOptions::default(), &targets, &rows);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), rows.len());
    assert_eq!(lines[0]["c BOOLEAN"], serde_json::json!(true));
    assert_eq!(lines[0]["c BIGINT"], serde_json::json!(1));
    assert_eq!(lines[0]["c TEXT[]"], serde_json::json!(["vip"]));
    assert_eq!(lines[0]["c TIMESTAMP"], serde_json::json!("1970-01-01T00:00:00.000001"));
    assert_eq!(lines[1]["c TIMESTAMPTZ"], serde_json::json!("1970-01-01T00:00:00Z"));
    assert_eq!(lines[1]["c TEXT"], serde_json::json!("会员 \"quoted\", é\r\n😀"));
    assert!(lines[5].as_object().unwrap().values().all(serde_json::Value::is_null));
    assert!(text.lines().next().unwrap().contains("\"c DECIMAL(12,2)\":0.01,"), "{text}");
    let twice = [target("a", DECIMAL), target("a", DECIMAL)];
    let refused = create(&path, Format::Jsonl, &ExportOptions::default(), &columns(&twice)).err().unwrap();
    assert_eq!(refused.to_string(), "two columns are called \"a\" (give one another name with AS)");
}

#[test]
fn parquet_has_the_logical_types() {
    let files = Files::new();
    let path = files.path("a.parquet");
    let (mut targets, mut rows) = every_type();
    let sum = DataType::Decimal { precision: 38, scale: 2 };
    targets.push(target("sum", sum));
    rows.iter_mut()
        .for_each(|row| row.push(Value::Decimal { unscaled: i128::from(i64::MAX) * 10, scale: 2 }));
    write(&path, Format::Parquet, &ExportOptions::default(), &targets, &rows);
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
    let types: Vec<ArrowType> = reader.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    let micros = |zone: Option<&str>| ArrowType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let item = arrow_schema::Field::new("item", ArrowType::Utf8, false);
    let expected = [
        ArrowType::Boolean,
        ArrowType::Int16,
        ArrowType::Int32,
        ArrowType::Int64,
        ArrowType::Decimal128(12, 2),
        ArrowType::Float64,
        ArrowType::Utf8,
        ArrowType::Date32,
        micros(None),
        micros(Some("UTC")),
        ArrowType::List(item.into()),
        ArrowType::Decimal128(38, 2),
    ];
    assert_eq!(types, expected);
}

#[test]
fn what_is_not_finished_leaves_what_was_there() {
    let (targets, rows) = every_type();
    for format in [Format::Csv, Format::Jsonl, Format::Parquet] {
        let files = Files::new();
        let path = files.write("out.csv", "as it was");
        let mut sink = create(&path, format, &ExportOptions::default(), &columns(&targets)).unwrap();
        sink.write(&rows).unwrap();
        drop(sink);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "as it was");
        let directory = path.parent().unwrap();
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), 1, "nothing is left over");
        let mut sink = create(&path, format, &ExportOptions::default(), &columns(&targets)).unwrap();
        sink.write(&rows).unwrap();
        sink.finish().unwrap();
        assert_ne!(std::fs::read(&path).unwrap(), b"as it was");
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), 1);
        let error = create(directory, format, &ExportOptions::default(), &columns(&targets)).err().unwrap();
        assert!(error.to_string().ends_with(": it is a directory"), "{error}");
        let nowhere = directory.join("no/such.csv");
        assert!(create(&nowhere, format, &ExportOptions::default(), &columns(&targets)).is_err());
    }
}

#[cfg(unix)]
#[test]
fn links_stay_and_devices_are_written_to() {
    let files = Files::new();
    let real = files.write("real.csv", "old");
    let link = files.path("link.csv");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let columns = [("a".to_owned(), DataType::Integer)];
    for path in [link.as_path(), Path::new("/dev/null")] {
        let mut sink = create(path, Format::Csv, &ExportOptions::default(), &columns).unwrap();
        sink.write(&[vec![Value::Integer(7)]]).unwrap();
        sink.finish().unwrap();
    }
    assert_eq!(std::fs::read_to_string(&real).unwrap(), "7\n");
    assert!(link.is_symlink());
}

#[test]
fn members_are_portable_and_described() {
    let files = Files::new();
    let path = files.path("vips.roaring");
    // An array, a bitset and runs: each kind of container.
    let ordinals: RoaringBitmap =
        (0..100).chain((65_536..131_072).step_by(2)).chain(200_000..260_000).collect();
    let column =
        Column { id: ColumnId(1), name: "i\"d".into(), data_type: DataType::BigInt, nullable: false };
    let table = TableSchema {
        id: TableId(3),
        name: "members".into(),
        columns: vec![column],
        key: Some(ColumnId(1)),
        ordinal_epoch: 2,
        references: Vec::new(),
        owner: None,
        summaries: Vec::new(),
        next_column: ColumnId(2),
    };
    let members = Members {
        ordinals: ordinals.clone(),
        database_id: 0xfeed_0000_0000_0001,
        table: &table,
        lsn: 12,
        now_micros: 0,
        select: "SELECT *\nFROM members",
        keys: Some("SELECT \"i\"\"d\" FROM members"),
    };
    write_members(&path, members).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(RoaringBitmap::deserialize_from(&bytes[..]).unwrap(), ordinals);
    // The portable format's cookie: 12347 with runs in the low half, the number of containers less one in the high half.
    let cookie = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    assert_eq!((cookie & 0xffff, cookie >> 16), (12_347, u32::try_from(containers(&ordinals)).unwrap() - 1));
    let sidecar: serde_json::Value =
        serde_json::from_slice(&std::fs::read(files.path("vips.roaring.json")).unwrap()).unwrap();
    assert_eq!(
        sidecar,
        serde_json::json!({
            "format": "roaring", "database_id": "feed000000000001", "table_id": 3, "table": "members",
            "ordinal_epoch": 2, "lsn": 12, "now": "1970-01-01 00:00:00+00", "cardinality": ordinals.len(),
            "key_column": "i\"d", "select": "SELECT *\nFROM members", "keys": "SELECT \"i\"\"d\" FROM members",
        })
    );
}

fn containers(ordinals: &RoaringBitmap) -> usize {
    ordinals.iter().map(|ordinal| ordinal >> 16).collect::<std::collections::BTreeSet<_>>().len()
}

fn any_type() -> impl Strategy<Value = DataType> {
    prop_oneof![
        Just(DataType::Boolean),
        Just(DataType::SmallInt),
        Just(DataType::Integer),
        Just(DataType::BigInt),
        (0u8..=18).prop_map(|scale| DataType::Decimal { precision: 18, scale }),
        Just(DataType::Double),
        Just(DataType::Text),
        Just(DataType::Date),
        Just(DataType::Timestamp),
        Just(DataType::TimestampTz),
        Just(DataType::TextArray),
    ]
}

/// Texts that could be taken for something else, among any others.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "",
            "NULL",
            "\\N",
            "1",
            " ",
            "\"",
            "\\",
            "\n",
            "\u{feff}x",
            "{a}",
            "PAR1\u{15}"
        ])
        .prop_map(str::to_owned),
        "[\"'\\\\,;\n\r1{]{0,5}",
    ]
}

fn any_value(data_type: DataType) -> BoxedStrategy<Value> {
    let value = match data_type {
        DataType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        DataType::SmallInt => any::<i16>().prop_map(|v| Value::Integer(v.into())).boxed(),
        DataType::Integer => any::<i32>().prop_map(|v| Value::Integer(v.into())).boxed(),
        DataType::BigInt => any::<i64>().prop_map(Value::Integer).boxed(),
        DataType::Decimal { scale, .. } => (-999_999_999_999_999_999i128..=999_999_999_999_999_999)
            .prop_map(move |unscaled| Value::Decimal { unscaled, scale })
            .boxed(),
        DataType::Double => any::<f64>().prop_filter("NaN", |v| !v.is_nan()).prop_map(Value::Double).boxed(),
        DataType::Text => any_text().prop_map(Value::Text).boxed(),
        DataType::Date => any::<i32>().prop_map(Value::Date).boxed(),
        DataType::Timestamp => any::<i64>().prop_map(Value::Timestamp).boxed(),
        DataType::TimestampTz => any::<i64>().prop_map(Value::TimestampTz).boxed(),
        DataType::TextArray => prop::collection::vec(any_text(), 0..3).prop_map(Value::tags).boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 4 => value].boxed()
}

fn any_table() -> impl Strategy<Value = (Vec<Target>, Rows)> {
    prop::collection::vec(any_type(), 1..5).prop_flat_map(|types| {
        let row: Vec<_> = types.iter().map(|data_type| any_value(*data_type)).collect();
        let target = |(i, data_type): (usize, DataType)| target(&format!("c{i}"), data_type);
        let targets: Vec<Target> = types.into_iter().enumerate().map(target).collect();
        (Just(targets), prop::collection::vec(row, 0..12))
    })
}

fn any_options() -> impl Strategy<Value = ExportOptions> {
    let choose = |bytes: &'static [u8]| prop::sample::select(bytes.to_vec());
    let null = prop::sample::select(vec!["", "NULL", "\\N", "1"]);
    let escape = prop::option::of(Just(b'\\'));
    (any::<bool>(), choose(b",;\t|1"), choose(b"\"'{"), escape, null)
        .prop_filter("a NULL that delimits", |(_, delimiter, _, _, null)| {
            !null.contains(char::from(*delimiter))
        })
        .prop_map(|(header, delimiter, quote, escape, null)| ExportOptions {
            header,
            delimiter,
            quote,
            escape,
            null: null.to_owned(),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_table_comes_back_from_csv((targets, rows) in any_table(), options in any_options()) {
        let files = Files::new();
        let path = files.path("a.csv");
        write(&path, Format::Csv, &options, &targets, &rows);
        let text = std::fs::read_to_string(&path).unwrap();
        prop_assert_eq!(read(&path, &targets, &reading(&options)).unwrap(), rows, "{}", text);
    }

    #[test]
    fn any_table_comes_back_from_json_lines((targets, rows) in any_table()) {
        let files = Files::new();
        let path = files.path("a.jsonl");
        write(&path, Format::Jsonl, &ExportOptions::default(), &targets, &rows);
        prop_assert_eq!(read(&path, &targets, &ReadOptions::default()).unwrap(), rows);
    }

    #[test]
    fn any_table_comes_back_from_parquet((targets, rows) in any_table()) {
        let files = Files::new();
        let path = files.path("a.parquet");
        write(&path, Format::Parquet, &ExportOptions::default(), &targets, &rows);
        prop_assert_eq!(read(&path, &targets, &ReadOptions::default()).unwrap(), rows);
    }
}
