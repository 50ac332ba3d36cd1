//! Files as they come: encodings, JSON lines, bad rows, files of keys.

use crate::support::{DECIMAL, Files, Rows, drain, key, open, read, target};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use muster_engine::transfer::keys::read_keys;
use muster_engine::transfer::{Format, ReadOptions, Target, TextEncoding, infer};
use muster_engine::{DataType, Error, Value};
use parquet::arrow::ArrowWriter;
use std::path::Path;
use std::sync::Arc;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn people() -> [Target; 3] {
    [key("id", DataType::BigInt), target("name", DataType::Text), target("tags", DataType::TextArray)]
}

fn encoded(name: &str) -> ReadOptions {
    ReadOptions { encoding: TextEncoding::named(name).unwrap(), ..ReadOptions::default() }
}

#[test]
fn other_encodings_are_read_and_inferred() {
    let files = Files::new();
    let rows = [[Value::Integer(1), text("会员")], [Value::Integer(2), Value::Null]];
    let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
    };
    let csv = "id,name\r\n1,会员\r\n2,\r\n";
    let gbk = [b"id,name\r\n1,".as_slice(), b"\xbb\xe1\xd4\xb1", b"\r\n2,\r\n"].concat();
    for (bytes, options) in [
        (utf16(csv, u16::to_le_bytes), ReadOptions::default()),
        (utf16(csv, u16::to_be_bytes), ReadOptions::default()),
        (utf16(csv, u16::to_le_bytes), encoded("gbk")),
        ([b"\xef\xbb\xbf", csv.as_bytes()].concat(), encoded("gbk")),
        (gbk.clone(), encoded("gb18030")),
        (gbk.clone(), encoded("GBK")),
        (zstd::encode_all(&gbk[..], 1).unwrap(), encoded("gbk")),
    ] {
        let file = files.write("a.csv", bytes);
        assert_eq!(read(&file, &people()[..2], &options).unwrap(), rows, "{options:?}");
        let inferred = infer(&[file], &options, &[]).unwrap();
        let types: Vec<DataType> = inferred.columns.iter().map(|column| column.data_type).collect();
        assert_eq!(types, [DataType::Integer, DataType::Text]);
    }
    // A header in another encoding than the one stated says so.
    let header = files.write("b.csv", b"id,\xc3\xfb\xd7\xd6\n");
    let error = read(&header, &people(), &ReadOptions::default()).unwrap_err();
    assert_eq!(
        files.words(&error),
        "cannot read b.csv: name 2 of its header is not valid UTF-8 (state the encoding)"
    );
    assert_eq!(infer(&[header], &encoded("gbk"), &[]).unwrap().columns[1].name, "名字");
}

#[test]
fn malformed_bytes_are_a_bad_row_and_nothing_is_replaced() {
    let files = Files::new();
    let file = files.write("a.csv", b"id,name\n1,ok\n2,\xbb\xe1\xff\n");
    let error = read(&file, &people()[..2], &encoded("gb18030")).unwrap_err();
    assert_eq!(
        files.words(&error),
        "a.csv, line 3: column \"name\": value \"会\u{fffd}\": holds bytes that are no gb18030"
    );
    let file = files.write("a.jsonl", b"{\"id\":1,\"name\":\"\xbb\"}");
    let error = files.words(&read(&file, &people(), &encoded("gbk")).unwrap_err());
    assert!(error.ends_with("holds bytes that are no GBK"), "{error}");
}

#[test]
fn json_lines_are_read_and_inferred() {
    let files = Files::new();
    let file = files.write(
        "a.jsonl",
        "{\"id\":1,\"name\":\"A\\u00e9\",\"tags\":[\"b\",\"a\"]}\r\n\n{\"tags\":[],\"id\":2.0,\"extra\":null}\n{\"id\":\"3\",\"name\":4}",
    );
    let tags = |tags: &[&str]| Value::tags(tags.iter().map(|tag| tag.to_string()));
    let options = ReadOptions { skip: vec!["extra".into()], ..ReadOptions::default() };
    let rows = read(&file, &people(), &options).unwrap();
    assert_eq!(
        rows,
        [
            [Value::Integer(1), text("Aé"), tags(&["a", "b"])],
            [Value::Integer(2), Value::Null, tags(&[])],
            [Value::Integer(3), text("4"), Value::Null],
        ]
    );
    let inferred = infer(std::slice::from_ref(&file), &options, &[]).unwrap();
    let types: Vec<_> = inferred.columns.iter().map(|c| (c.name.as_str(), c.data_type)).collect();
    assert_eq!(types, [("id", DataType::Text), ("name", DataType::Text), ("tags", DataType::TextArray)]);
    let mut source = open(&[&file], &people(), &options).unwrap();
    drain(source.as_mut(), &people()).unwrap();
    assert_eq!((0..3).map(|row| source.place(row).unwrap().line).collect::<Vec<_>>(), [1, 3, 4]);
    let options = ReadOptions { rename: vec![("who".into(), "name".into())], ..ReadOptions::default() };
    let renamed = files.write("b.ndjson", "{\"ID\":1,\"who\":\"x\"}");
    assert_eq!(read(&renamed, &people()[..2], &options).unwrap(), [[Value::Integer(1), text("x")]]);
    // Where columns are listed, other members are passed over.
    let options = ReadOptions { columns: Some(vec!["id".into()]), ..ReadOptions::default() };
    assert_eq!(read(&file, &people()[..1], &options).unwrap().len(), 3);
}

#[track_caller]
fn json_refuses(line: &str, words: &str) {
    let files = Files::new();
    let targets = [
        key("id", DataType::BigInt),
        target("name", DataType::Text),
        target("spend", DECIMAL),
        target("born", DataType::Date),
    ];
    let file = files.write("a.jsonl", format!("{{\"id\":1}}\n{line}\n"));
    let error = read(&file, &targets, &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Row { .. }), "{error}");
    assert_eq!(files.words(&error), format!("a.jsonl, line 2: {words}"));
}

#[test]
fn bad_lines_of_json_say_why() {
    json_refuses("{\"id\":2,", "is no JSON object on one line");
    json_refuses("[1,2]", "is no JSON object on one line");
    json_refuses("{\"id\":2}{}", "is no JSON object on one line");
    json_refuses("{\"name\":\"x\"}", "column \"id\": a key cannot be NULL");
    json_refuses("{\"id\":1.5}", "column \"id\": value \"1.5\": is not an integer");
    json_refuses("{\"id\":2,\"id\":3}", "has two members \"id\"");
    json_refuses("{\"id\":2,\"nam\":1}", "the table has no column \"nam\", did you mean \"name\"?");
    json_refuses(
        "{\"id\":2,\"name\":{\"a\":1}}",
        "column \"name\": value \"{…}\": is an object, and nested values are not supported (flatten or skip it)",
    );
    json_refuses(
        "{\"id\":2,\"name\":[\"a\"]}",
        "column \"name\": value \"[\\\"a\\\"]\": is an array, which a TEXT column cannot hold",
    );
    json_refuses(
        "{\"id\":2,\"spend\":1.005}",
        "column \"spend\": value \"1.005\": has more than 2 digits after the point",
    );
    json_refuses(
        "{\"id\":2,\"born\":\"2021-02-29\"}",
        "column \"born\": value \"2021-02-29\": is no day of the calendar",
    );
}

/// Reads with bad rows skipped: the rows, how many were skipped, and the reject file's records.
fn skipping(files: &Files, file: &Path, targets: &[Target]) -> (Rows, u64, Vec<Vec<Value>>) {
    let rejects = files.path("rejects.csv");
    let _ = std::fs::remove_file(&rejects);
    let options = ReadOptions { rejects: Some(rejects.clone()), ..ReadOptions::default() };
    let mut source = open(&[file], targets, &options).unwrap();
    let rows = drain(source.as_mut(), targets).unwrap();
    let skipped = source.skipped().unwrap();
    let columns = [
        target("file", DataType::Text),
        target("line", DataType::BigInt),
        target("column", DataType::Text),
        target("reason", DataType::Text),
        target("row", DataType::Text),
    ];
    assert_eq!(rejects.exists(), skipped > 0, "a file exactly where rows were skipped");
    let rejected =
        if skipped > 0 { read(&rejects, &columns, &ReadOptions::default()).unwrap() } else { Vec::new() };
    assert_eq!(rejected.len() as u64, skipped);
    (rows, skipped, rejected)
}

#[test]
fn bad_rows_are_passed_over_wherever_they_stand() {
    let files = Files::new();
    let good = |id: i64| vec![Value::Integer(id), text(&format!("n{id}")), Value::tags([format!("t{id}")])];
    let bad = "x,\"two\nlines\",{new}\n";
    for (what, lines, expected) in [
        ("first", vec![bad, "1,n1,{t1}\n", "2,n2,{t2}\n"], vec![1, 2]),
        ("in the middle", vec!["1,n1,{t1}\n", bad, "2,n2,{t2}\n"], vec![1, 2]),
        ("last", vec!["1,n1,{t1}\n", "2,n2,{t2}\n", bad], vec![1, 2]),
        ("only", vec![bad], vec![]),
        ("two in a row", vec![bad, bad, "3,n3,{t3}\n"], vec![3]),
        ("none", vec!["3,n3,{t3}\n"], vec![3]),
    ] {
        let csv = format!("id,name,tags\n{}", lines.concat());
        let file = files.write("a.csv", &csv);
        let (rows, skipped, rejected) = skipping(&files, &file, &people());
        assert_eq!(rows, expected.into_iter().map(good).collect::<Rows>(), "{what}");
        assert_eq!(skipped, lines.iter().filter(|line| **line == bad).count() as u64, "{what}");
        for row in rejected {
            assert_eq!(
                row[2..],
                [text("id"), text("\"x\" is not an integer"), text("x,\"two\nlines\",{new}")]
            );
            let Value::Integer(line) = row[1] else { panic!("no line: {row:?}") };
            assert!(csv.lines().nth(line as usize - 1).unwrap().starts_with("x,"), "{what}: line {line}");
        }
    }
}

/// Each way in which a row can be bad, refused in its last column, so that the columns before it have taken it already.
#[test]
fn every_kind_of_bad_row_is_rolled_back() {
    let files = Files::new();
    let targets = [
        key("id", DataType::BigInt),
        target("flag", DataType::Boolean),
        target("name", DataType::Text),
        target("tags", DataType::TextArray),
        target("more", DataType::TextArray),
        Target { nullable: false, ..target("spend", DECIMAL) },
    ];
    let csv = b"id,flag,name,tags,more,spend\n1,t,a,{p},{},1.00\n2,f,b,\"{q,r}\",{s},x\n3,t,c,\"{q,NULL}\",{},1\n4,t,d,{q},{},\n5,t\n6,maybe,,,,1\n7,t,\xff,,,1\n8,f,e,\"{r,q}\",\"{a\",1\n9,,f,{p},{z},2.00\n10,\"open";
    let (rows, skipped, rejected) = skipping(&files, &files.write("a.csv", csv), &targets);
    let tags = |tags: &[&str]| Value::tags(tags.iter().map(|tag| tag.to_string()));
    let money = |unscaled| Value::Decimal { unscaled, scale: 2 };
    assert_eq!(
        rows,
        [
            [Value::Integer(1), Value::Boolean(true), text("a"), tags(&["p"]), tags(&[]), money(100)],
            [Value::Integer(9), Value::Null, text("f"), tags(&["p"]), tags(&["z"]), money(200)],
        ]
    );
    assert_eq!(skipped, 8);
    let lines: Vec<Value> = rejected.iter().map(|row| row[1].clone()).collect();
    assert_eq!(lines, [3, 4, 5, 6, 7, 8, 9, 11].map(Value::Integer));
    let reasons: Vec<String> = rejected.iter().map(|row| row[3].to_string()).collect();
    assert!(reasons[3].contains("2 fields, but the header has 6"), "{reasons:?}");
    assert!(reasons[7].contains("never closed"), "{reasons:?}");
    // The tags of refused rows are in no dictionary.
    let options = ReadOptions { rejects: Some(files.path("r.csv")), ..ReadOptions::default() };
    let mut source = open(&[&files.path("a.csv")], &targets, &options).unwrap();
    let batch = source.next().unwrap().unwrap();
    let muster_engine::batch::ColumnValues::Tags { dictionary, .. } = &batch.columns[3].values else {
        panic!()
    };
    assert_eq!(dictionary.bytes, b"p");
}

#[test]
fn places_are_right_after_skipped_rows() {
    let files = Files::new();
    let mut csv = "id,name,tags\n".to_owned();
    let mut lines = Vec::new();
    for line in 2..140_000u64 {
        let bad = line % 1000 == 7;
        csv += &if bad { "bad,,\n".to_owned() } else { format!("{line},,\n") };
        lines.extend((!bad).then_some(line));
    }
    let file = files.write("a.csv", csv);
    let options = ReadOptions { rejects: Some(files.path("r.csv")), ..ReadOptions::default() };
    let mut source = open(&[&file], &people(), &options).unwrap();
    let rows = drain(source.as_mut(), &people()).unwrap();
    assert_eq!((rows.len(), source.skipped()), (lines.len(), Some(140)));
    for row in (0..lines.len()).step_by(577) {
        assert_eq!(source.place(row as u64).unwrap().line, lines[row]);
    }
}

#[test]
fn json_lines_and_parquet_skip_too() {
    let files = Files::new();
    let file = files.write(
        "a.jsonl",
        "nonsense\n{\"id\":1}\n{\"id\":2,\"tags\":[\"x\",1]}\n{\"id\":3,\"tags\":[\"y\"]}\n{\"id\":null}",
    );
    let (rows, skipped, rejected) = skipping(&files, &file, &people());
    assert_eq!((rows.len(), skipped), (2, 3));
    assert_eq!(rows[1], [Value::Integer(3), Value::Null, Value::tags(["y".to_owned()])]);
    assert_eq!(rejected[1][4], text("{\"id\":2,\"tags\":[\"x\",1]}"));
    // Inference looks past the same lines.
    let options = ReadOptions { rejects: Some(files.path("r.csv")), ..ReadOptions::default() };
    assert_eq!(infer(&[file], &options, &[]).unwrap().columns.len(), 2);

    let rows_in_file = 70_000i64;
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows_in_file));
    let is_bad = |id: i64| id == 0 || id == rows_in_file - 1 || id % 5000 == 77;
    let born = |id: i64| if is_bad(id) { "never".to_owned() } else { "2020-01-01".to_owned() };
    let born: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows_in_file).map(born)));
    let batch = RecordBatch::try_from_iter([("id", ids), ("born", born)]).unwrap();
    let file = files.path("a.parquet");
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(&file).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let targets = [key("id", DataType::BigInt), target("born", DataType::Date)];
    let (rows, skipped, rejected) = skipping(&files, &file, &targets);
    let good: Vec<i64> = (0..rows_in_file).filter(|id| !is_bad(*id)).collect();
    let read: Vec<Value> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(read, good.iter().map(|id| Value::Integer(*id)).collect::<Vec<_>>());
    assert_eq!(skipped, 16);
    assert_eq!(
        rejected[1][1..4],
        [Value::Integer(78), text("born"), text("\"never\" is not a date (YYYY-MM-DD)")]
    );
    let mut source = open(&[&file], &targets, &options).unwrap();
    drain(source.as_mut(), &targets).unwrap();
    for row in [0, 75, 76, 4999, 5000, good.len() - 1] {
        assert_eq!(source.place(row as u64).unwrap().line, good[row] as u64 + 1);
    }
}

#[test]
fn files_that_fail_are_no_bad_rows() {
    let files = Files::new();
    let mut cut = zstd::encode_all(&b"id,name,tags\n1,a,{}\n2,b,{}\n"[..], 1).unwrap();
    cut.truncate(cut.len() - 3);
    let file = files.write("a.csv.zst", cut);
    let options = ReadOptions { rejects: Some(files.path("r.csv")), ..ReadOptions::default() };
    let opened = open(&[&file], &people(), &options);
    let error = opened.and_then(|mut source| drain(source.as_mut(), &people())).unwrap_err();
    assert!(files.words(&error).starts_with("cannot read a.csv.zst: "), "{error}");
    assert!(!files.path("r.csv").exists());
}

#[test]
fn several_texts_mean_null() {
    let files = Files::new();
    let options = ReadOptions { nulls: vec!["".into(), "NA".into(), "-".into()], ..ReadOptions::default() };
    let file = files.write("a.csv", "id,name\n1,NA\n2,-\n3,\n4,\"NA\"\n");
    let names: Vec<Value> =
        read(&file, &people()[..2], &options).unwrap().into_iter().map(|mut r| r.remove(1)).collect();
    assert_eq!(names, [Value::Null, Value::Null, Value::Null, text("NA")]);
}

#[test]
fn formats_go_by_names() {
    for (name, format) in [
        ("a.csv", Some(Format::Csv)),
        ("a.CSV.GZ", Some(Format::Csv)),
        ("a.csv.zst", Some(Format::Csv)),
        ("a.jsonl", Some(Format::Jsonl)),
        ("a.ndjson.zst", Some(Format::Jsonl)),
        ("a.parquet", Some(Format::Parquet)),
        ("a.json", None),
        ("csv", None),
    ] {
        assert_eq!(Format::of_path(Path::new(name)), format, "{name}");
    }
}

#[test]
fn keys_are_read_from_files() {
    let files = Files::new();
    let plain = ReadOptions { header: false, ..ReadOptions::default() };
    let keys = |bytes: &[u8], options: &ReadOptions, key_type| -> Result<Vec<Value>, String> {
        let file = files.write("keys.txt", bytes);
        let keys = read_keys(&file, options, key_type).and_then(Iterator::collect::<Result<Vec<Value>, _>>);
        keys.map_err(|error| files.words(&error))
    };
    let integers = |ids: &[i64]| Ok(ids.iter().map(|id| Value::Integer(*id)).collect());
    assert_eq!(keys(b"1\r\n-2\n\n3", &plain, DataType::BigInt), integers(&[1, -2, 3]));
    assert_eq!(keys(b"\xff\xfe1\0\n\0", &plain, DataType::BigInt), integers(&[1]));
    assert_eq!(keys(b"", &plain, DataType::BigInt), integers(&[]));
    let zipped = zstd::encode_all(&b"id,note\n7,\"a\nb\"\n8,\n"[..], 1).unwrap();
    assert_eq!(keys(&zipped, &ReadOptions::default(), DataType::BigInt), integers(&[7, 8]));
    let texts = Ok(vec![text("会员"), text("a,b"), text("")]);
    assert_eq!(keys("会员\n\"a,b\",x\n\"\"\n".as_bytes(), &plain, DataType::Text), texts);
    assert_eq!(
        keys(b"\xbb\xe1\xd4\xb1\n", &ReadOptions { header: false, ..encoded("gbk") }, DataType::Text),
        Ok(vec![text("会员")])
    );
    let refused = |words: &str| Err(words.to_owned());
    assert_eq!(
        keys(b"1\nx\n", &plain, DataType::BigInt),
        refused("keys.txt, line 2: value \"x\": is not an integer")
    );
    assert_eq!(keys(b"a\n,b\n", &plain, DataType::Text), refused("keys.txt, line 2: a key cannot be NULL"));
    let long = "k".repeat(257);
    let error = keys(long.as_bytes(), &plain, DataType::Text).unwrap_err();
    assert!(error.ends_with("has 257 bytes, a key at most 256"), "{error}");
    assert_eq!(
        keys(b"1\n\xff\n", &ReadOptions { header: false, ..encoded("gbk") }, DataType::Text),
        refused("keys.txt, line 2: value \"\u{fffd}\": holds bytes that are no GBK")
    );
    assert!(keys(b"1", &plain, DataType::Date).is_err());
    assert!(read_keys(&files.write("keys.parquet", "x"), &plain, DataType::BigInt).is_err());
}
