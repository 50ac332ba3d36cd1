//! CSV in.

use crate::support::{DECIMAL, Files, Rows, drain, every_type, key, open, read, real_data, target};
use flate2::Compression;
use flate2::write::GzEncoder;
use muster_engine::transfer::{ReadOptions, Target, TextSource};
use muster_engine::{DataType, Error, Value};
use std::io::Write;

fn quote(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        other => format!("\"{}\"", other.to_string().replace('"', "\"\"")),
    }
}

fn csv_of(targets: &[Target], rows: &Rows) -> String {
    let line = |fields: Vec<String>| fields.join(",") + "\n";
    let header = line(targets.iter().map(|t| format!("\"{}\"", t.name)).collect());
    rows.iter().fold(header, |text, row| text + &line(row.iter().map(quote).collect()))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn every_type_comes_back() {
    let files = Files::new();
    let (targets, rows) = every_type();
    let file = files.write("all.csv", csv_of(&targets, &rows));
    assert_eq!(read(&file, &targets, &ReadOptions::default()).unwrap(), rows);
}

#[test]
fn an_unquoted_empty_field_is_null_and_a_quoted_one_is_not() {
    let files = Files::new();
    let columns = [target("a", DataType::Text), target("b", DataType::Text), target("c", DataType::Integer)];
    let text = |text: &str| Value::Text(text.to_owned());
    let file = files.write("a.csv", "a,b,c\n\"\",,1\nx,\"\",\n\"a\"\"b\",\"\",\n");
    let rows = read(&file, &columns, &ReadOptions::default()).unwrap();
    assert_eq!(
        rows,
        [
            [text(""), Value::Null, Value::Integer(1)],
            [text("x"), text(""), Value::Null],
            [text("a\"b"), text(""), Value::Null]
        ]
    );
    let options = ReadOptions { nulls: vec!["\\N".to_owned()], delimiter: b';', ..ReadOptions::default() };
    let file = files.write("b.csv", "a;b;c\n\\N;;\\N\n\"\\N\";x;2\n");
    let rows = read(&file, &columns, &options).unwrap();
    assert_eq!(rows, [[Value::Null, text(""), Value::Null], [text("\\N"), text("x"), Value::Integer(2)]]);
}

#[test]
fn gzip_marks_and_line_ends_do_not_matter() {
    let files = Files::new();
    let (targets, rows) = every_type();
    let plain = csv_of(&targets, &rows);
    let half = plain.len() / 2;
    let members = [gzip(&plain.as_bytes()[..half]), gzip(&plain.as_bytes()[half..])].concat();
    let options = ReadOptions::default();
    // Recognised by content: neither name says gzip.
    assert_eq!(read(&files.write("a.csv", gzip(plain.as_bytes())), &targets, &options).unwrap(), rows);
    assert_eq!(read(&files.write("b.csv", members), &targets, &options).unwrap(), rows);
    let marked = format!("\u{feff}{plain}");
    assert_eq!(read(&files.write("c.csv", marked), &targets, &options).unwrap(), rows);
    let column = [target("a", DataType::Integer)];
    let file = files.write("d.csv", "a\r\n1\r\n\r\n2");
    let expected = [[Value::Integer(1)], [Value::Null], [Value::Integer(2)]];
    assert_eq!(read(&file, &column, &options).unwrap(), expected, "one column: a blank line is a NULL");
    let two = [target("a", DataType::Integer), target("b", DataType::Integer)];
    let file = files.write("e.csv", "a,b\r\n1,2\r\n\r\n3,4\n\n");
    assert_eq!(read(&file, &two, &options).unwrap().len(), 2, "blank lines are skipped");
    let mut cut = gzip(plain.as_bytes());
    cut.truncate(cut.len() - 9);
    let error = read(&files.write("cut.csv.gz", cut), &targets, &options).unwrap_err();
    assert!(files.words(&error).starts_with("cannot read cut.csv.gz: "), "{error}");
}

#[track_caller]
fn refuses(text: impl AsRef<[u8]>, words: &str) {
    let columns = [
        key("id", DataType::BigInt),
        target("name", DataType::Text),
        target("spend", DECIMAL),
        target("born", DataType::Date),
        Target { nullable: false, ..target("vip", DataType::Boolean) },
        target("tags", DataType::TextArray),
    ];
    let files = Files::new();
    let file = files.write("people.csv", [b"id,name,spend,born,vip,tags\n", text.as_ref()].concat());
    let error = read(&file, &columns, &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Row { .. }));
    assert_eq!(files.words(&error), words);
}

#[test]
fn bad_rows_stop_with_line_column_value_and_reason() {
    refuses(
        "1,a,1.5,2020-01-01,t,{}\nx,b,,,f,\n",
        "people.csv, line 3: column \"id\": value \"x\": is not an integer",
    );
    refuses(
        "1,,1.505,,t,\n",
        "people.csv, line 2: column \"spend\": value \"1.505\": has more than 2 digits after the point",
    );
    refuses(
        "1,,10000000000,,t,\n",
        "people.csv, line 2: column \"spend\": value \"10000000000\": has more than 10 digits before the point, too many \
         for DECIMAL(12,2)",
    );
    refuses(
        "1,,,2021-02-29,t,\n",
        "people.csv, line 2: column \"born\": value \"2021-02-29\": is no day of the calendar",
    );
    refuses("1,,,,t,\n2,,,,,\n", "people.csv, line 3: column \"vip\": the column is NOT NULL");
    refuses(",,,,t,\n", "people.csv, line 2: column \"id\": a key cannot be NULL");
    refuses(
        "1,,,,t,\"{a,NULL}\"\n",
        "people.csv, line 2: column \"tags\": value \"{a,NULL}\": has a NULL element, which a set of tags cannot hold",
    );
    refuses("1,,,,t\n", "people.csv, line 2: 5 fields, but the header has 6");
    refuses("1,,,,t,,\n", "people.csv, line 2: 7 fields, but the header has 6");
    refuses("1\n", "people.csv, line 2: 1 field, but the header has 6");
    refuses(
        b"1,ab\xff,,,t,\n",
        "people.csv, line 2: column \"name\": value \"ab\u{fffd}\": is not valid UTF-8 (from its byte 3 on)",
    );
    refuses("1,\"a,,,t,\n2,b,,,t,\n", "people.csv, line 2: a quote of this record is never closed");
}

#[test]
fn lines_are_right_after_quoted_newlines_and_blank_lines() {
    refuses(
        "1,\"two\nlines\",,,t,\n\n2,\"three\r\n\r\nlines\",,,t,\n3,,,,maybe,\n",
        "people.csv, line 8: column \"vip\": value \"maybe\": is not a boolean (true, false, t, f, yes, no, 1, 0)",
    );
}

#[test]
fn keys_of_text_have_a_length() {
    let files = Files::new();
    let columns = [key("id", DataType::Text)];
    let file = files.write("a.csv", format!("id\n{}\n{}\n", "k".repeat(256), "é".repeat(129)));
    let error = files.words(&read(&file, &columns, &ReadOptions::default()).unwrap_err());
    assert!(error.starts_with("a.csv, line 3: column \"id\": value \"éé"), "{error}");
    assert!(error.ends_with("…\": has 258 bytes, a key at most 256"), "{error}");
}

#[test]
fn columns_find_theirs_by_name() {
    let files = Files::new();
    let columns =
        [key("id", DataType::BigInt), target("city", DataType::Text), target("tier", DataType::Text)];
    let options = ReadOptions::default();
    let one = files.write("one.csv", "CITY,id\nOslo,1\n");
    let two = files.write("two.csv", "id,tier\n2,gold\n");
    let paths = [one.clone(), two.clone()];
    assert_eq!(TextSource::open(&paths[..1], &options, &columns).unwrap().delivers(), [0, 1]);
    let rows = drain(open(&[&one, &two], &columns, &options).unwrap().as_mut(), &columns).unwrap();
    let text = |text: &str| Value::Text(text.to_owned());
    assert_eq!(
        rows,
        [[Value::Integer(1), text("Oslo"), Value::Null], [Value::Integer(2), Value::Null, text("gold")]]
    );
    let refusal = |name: &str, text: &str, options: &ReadOptions| {
        let error = open(&[&files.write(name, text)], &columns, options).err().unwrap();
        files.words(&error)
    };
    assert_eq!(
        refusal("a.csv", "id,cty\n", &options),
        "cannot read a.csv: the table has no column \"cty\", did you mean \"city\"?"
    );
    assert_eq!(
        refusal("a.csv", "id,something\n", &options),
        "cannot read a.csv: the table has no column \"something\" (rename or skip it)"
    );
    assert_eq!(
        refusal("a.csv", "city\n", &options),
        "cannot read a.csv: it has no column \"id\", which is the table's key"
    );
    assert_eq!(
        refusal("a.csv", "id,city,city\n", &options),
        "cannot read a.csv: it has two columns \"city\" (rename or skip one)"
    );
    assert_eq!(refusal("a.csv", "", &options), "cannot read a.csv: it is empty, without even a header");
    let options = ReadOptions {
        rename: vec![("town".to_owned(), "city".to_owned())],
        skip: vec!["junk".to_owned()],
        ..options
    };
    let file = files.write("b.csv", "junk,town,id\n!,Rome,3\n");
    assert_eq!(read(&file, &columns[..2], &options).unwrap(), [[Value::Integer(3), text("Rome")]]);
    let options = ReadOptions { header: false, ..ReadOptions::default() };
    let file = files.write("c.csv", "4,Bonn,\n");
    assert_eq!(read(&file, &columns, &options).unwrap(), [[Value::Integer(4), text("Bonn"), Value::Null]]);
    assert_eq!(
        files.words(&read(&files.write("d.csv", "4,Bonn\n"), &columns, &options).unwrap_err()),
        "d.csv, line 1: 2 fields, but the table has 3"
    );
}

/// More rows than a batch, over two files, with quoted newlines here and there: `place` must find every one.
#[test]
fn places_are_found_across_batches_and_files() {
    let files = Files::new();
    let (mut text, mut lines, mut line) = ("id,note\n".to_owned(), Vec::new(), 2);
    for id in 0..70_000 {
        let broken = id % 10_007 == 5;
        text += &format!("{id},\"a{}b\"\n", if broken { "\n\n" } else { "" });
        lines.push(line);
        line += if broken { 3 } else { 1 };
    }
    let one = files.write("one.csv", &text);
    let two = files.write("two.csv.gz", gzip(text.as_bytes()));
    let columns = [key("id", DataType::BigInt), target("note", DataType::Text)];
    let mut source = open(&[&one, &two], &columns, &ReadOptions::default()).unwrap();
    assert_eq!(source.progress(), (None, 0.0));
    let rows = drain(source.as_mut(), &columns).unwrap();
    assert_eq!((rows.len(), source.progress()), (140_000, (None, 1.0)));
    assert!(rows.iter().enumerate().all(|(row, values)| values[0] == Value::Integer((row % 70_000) as i64)));
    for row in (0..140_000u64).step_by(333).chain([4, 5, 6, 7, 69_999, 70_000, 139_999]) {
        let place = source.place(row).unwrap();
        assert_eq!(place.line, lines[row as usize % 70_000]);
        assert!(place.file.ends_with(if row < 70_000 { "one.csv" } else { "two.csv.gz" }));
    }
    assert_eq!(source.place(140_000), None);
}

#[test]
fn the_households_are_read() {
    let Some(file) = real_data("completejourney/households.csv") else { return };
    let columns = [
        key("household_id", DataType::BigInt),
        target("age", DataType::Text),
        target("income", DataType::Text),
        target("home_ownership", DataType::Text),
        target("marital_status", DataType::Text),
        target("household_size", DataType::Text),
        target("household_comp", DataType::Text),
        target("kids_count", DataType::Text),
    ];
    let rows = read(&file, &columns, &ReadOptions::default()).unwrap();
    assert_eq!(rows.len(), 2379);
    assert_eq!(rows.iter().filter(|row| row[1] != Value::Null).count(), 801);
}
