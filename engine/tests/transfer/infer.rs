//! What files seem to hold.

use crate::support::{Files, read, real_data};
use arrow_array::{ArrayRef, BinaryArray, Int32Array, Int64Array, NullArray, RecordBatch};
use muster_engine::transfer::{Inference, ReadOptions, Target, infer};
use muster_engine::{DataType, Value};
use parquet::arrow::ArrowWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn types(inference: &Inference) -> Vec<(&str, DataType)> {
    inference.columns.iter().map(|column| (column.name.as_str(), column.data_type)).collect()
}

fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path.to_owned()
}

#[test]
fn csv_is_judged_by_its_rows() {
    let files = Files::new();
    let one = files.write(
        "one.csv",
        "id,zip,vip,flag,spend,joined,seen,tags,none\n1,01067,t,0,1.25,2020-01-01,,\"{a,b}\",\n2,,,1,,,2020-01-01 10:00,,\n",
    );
    let two = files.write("two.csv", "id,extra\n3000000000,x\n");
    let inference = infer(&[one.clone(), two], &ReadOptions::default(), &[]).unwrap();
    assert_eq!(inference.rows_sampled, 3);
    assert_eq!(
        types(&inference),
        [
            ("id", DataType::BigInt),
            ("zip", DataType::Text),
            ("vip", DataType::Boolean),
            ("flag", DataType::Integer),
            ("spend", DataType::Decimal { precision: 3, scale: 2 }),
            ("joined", DataType::Date),
            ("seen", DataType::Timestamp),
            ("tags", DataType::TextArray),
            ("none", DataType::Text),
            ("extra", DataType::Text),
        ]
    );
    let asked: Vec<&str> = inference.ambiguities.iter().map(|a| a.column.as_str()).collect();
    assert_eq!(asked, ["zip", "flag", "tags", "none"]);
    assert!(inference.ambiguities.iter().all(|a| types(&inference).contains(&(&a.column, a.choices[0]))));
    let decided = [("zip", DataType::Text), ("flag", DataType::Boolean), ("none", DataType::Date)];
    let decided: Vec<(String, DataType)> = decided.map(|(name, t)| (name.to_owned(), t)).to_vec();
    let inference = infer(std::slice::from_ref(&one), &ReadOptions::default(), &decided).unwrap();
    assert_eq!(inference.ambiguities.len(), 1);
    assert_eq!(inference.columns[3].data_type, DataType::Boolean);
    let error = infer(&[one], &ReadOptions::default(), &[("zipp".to_owned(), DataType::Text)]).unwrap_err();
    let words = "a type is stated for \"zipp\", which is no column of the files, did you mean \"zip\"?";
    assert_eq!(error.to_string(), words);
}

#[test]
fn names_come_from_the_options_or_are_numbered() {
    let files = Files::new();
    let file = files.write("a.csv", "1,x\n");
    let options = ReadOptions { header: false, ..ReadOptions::default() };
    let inference = infer(std::slice::from_ref(&file), &options, &[]).unwrap();
    assert_eq!(inference.columns.iter().map(|c| &c.name[..]).collect::<Vec<_>>(), ["column1", "column2"]);
    let options = ReadOptions {
        columns: Some(vec!["id".to_owned(), "b".to_owned()]),
        rename: vec![("b".to_owned(), "name".to_owned())],
        ..options
    };
    let inference = infer(&[file], &options, &[]).unwrap();
    assert_eq!(inference.columns.iter().map(|c| &c.name[..]).collect::<Vec<_>>(), ["id", "name"]);
    assert!(infer(&[files.path("a.txt")], &ReadOptions::default(), &[]).is_err());
}

#[test]
fn a_key_is_a_bigint_or_a_text_and_never_null() {
    let files = Files::new();
    let file = files.write("a.csv", "id,name,spend\n1,x,0.5\n");
    let mut inference = infer(&[file], &ReadOptions::default(), &[]).unwrap();
    assert_eq!(inference.set_key("id").unwrap(), 0);
    assert_eq!((inference.columns[0].data_type, inference.columns[0].nullable), (DataType::BigInt, false));
    assert_eq!(inference.set_key("name").unwrap(), 1);
    let words = "column \"spend\" is DECIMAL(1,1) and cannot be the key, which is BIGINT or TEXT";
    assert_eq!(inference.set_key("spend").unwrap_err().to_string(), words);
    let words = "the key \"nam\" is no column of the files, did you mean \"name\"?";
    assert_eq!(inference.set_key("nam").unwrap_err().to_string(), words);
}

#[test]
fn parquet_states_its_types() {
    let files = Files::new();
    let one = write_parquet(
        &files.path("one.parquet"),
        vec![("id", Arc::new(Int32Array::from(vec![1]))), ("empty", Arc::new(NullArray::new(1)))],
    );
    let two = write_parquet(&files.path("two.parquet"), vec![("id", Arc::new(Int64Array::from(vec![1])))]);
    let inference = infer(&[one.clone(), two], &ReadOptions::default(), &[]).unwrap();
    assert_eq!(types(&inference), [("id", DataType::BigInt), ("empty", DataType::Text)]);
    assert_eq!(inference.ambiguities[0].column, "empty");
    let odd = write_parquet(
        &files.path("odd.parquet"),
        vec![("raw", Arc::new(BinaryArray::from(vec![&b"x"[..]])))],
    );
    let error = infer(&[odd], &ReadOptions::default(), &[]).unwrap_err();
    assert_eq!(
        files.words(&error),
        "cannot read odd.parquet: column \"raw\" has the type Binary, which no column of a table can hold (convert or \
         skip it)"
    );
}

/// The products and the edits go from file to rows without a word from the user but the asked-for ones.
#[test]
fn real_files_are_inferred_and_read() {
    for (file, rows_expected) in [
        ("completejourney/households.csv", 2379),
        ("completejourney/products.csv.gz", 92_331),
        ("completejourney/transactions.csv.gz", 75_000),
        ("wikiticker_dev/events.csv.gz", 13_310),
    ] {
        let Some(path) = real_data(file) else { continue };
        let options = ReadOptions {
            rename: vec![("user".to_owned(), "user_name".to_owned())],
            ..ReadOptions::default()
        };
        let inference = infer(std::slice::from_ref(&path), &options, &[]).unwrap();
        let targets = Target::of_specs(&inference.columns, None);
        let rows = read(&path, &targets, &options).unwrap();
        assert_eq!(rows.len(), rows_expected, "{file}");
        assert!(rows.iter().all(|row| row[0] != Value::Null));
        if file.starts_with("wiki") {
            let type_of = |name: &str| types(&inference).iter().find(|(n, _)| *n == name).map(|(_, t)| *t);
            assert_eq!(type_of("ts"), Some(DataType::Timestamp));
            assert_eq!(type_of("user_name"), Some(DataType::Text));
            assert_eq!(type_of("robot"), Some(DataType::Boolean));
            assert_eq!(type_of("delta"), Some(DataType::Integer));
        }
        println!("{file}: {:?}; asked: {:?}", types(&inference), inference.ambiguities);
    }
}
