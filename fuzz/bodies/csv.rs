//! CSV files of any bytes become rows of the table's columns, or an error; and inference ends with one or the other.

use muster_engine::DataType;
use muster_engine::transfer::{Format, ReadOptions, Target, TextEncoding, infer, open_source};
use std::sync::OnceLock;

/// The first byte: bit 0 header, bit 1 semicolons, bit 2 another NULL, bit 3 backslashes, bit 4 GB18030, bit 5 bad rows
/// are skipped. The rest is the file.
pub fn run(data: &[u8]) {
    let Some((switches, content)) = data.split_first() else { return };
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| tempfile::tempdir().expect("a temporary directory"));
    let file = directory.path().join("rows.csv");
    std::fs::write(&file, content).expect("space");
    let options = ReadOptions {
        format: Some(Format::Csv),
        header: switches & 1 == 1,
        delimiter: if switches & 2 == 2 { b';' } else { b',' },
        nulls: vec![if switches & 4 == 4 { "NULL".into() } else { String::new() }],
        escape: (switches & 8 == 8).then_some(b'\\'),
        encoding: TextEncoding::named(if switches & 16 == 16 { "gb18030" } else { "utf8" }).expect("known"),
        rejects: (switches & 32 == 32).then(|| directory.path().join("rejects.csv")),
        ..ReadOptions::default()
    };
    let types =
        [DataType::BigInt, DataType::Text, DataType::Timestamp, DataType::TextArray, DataType::Boolean];
    let target = |(i, data_type): (usize, &DataType)| Target {
        name: ["a", "b", "c", "d", "e"][i].to_owned(),
        data_type: *data_type,
        nullable: i > 0,
        key: false,
    };
    let targets: Vec<Target> = types.iter().enumerate().map(target).collect();
    if let Ok((delivers, mut source)) = open_source(std::slice::from_ref(&file), &options, &targets) {
        let mut rows = 0;
        while let Ok(Some(batch)) = source.next() {
            assert_eq!(batch.columns.len(), delivers.len());
            rows += batch.rows as u64;
        }
        if rows > 0 {
            let _ = source.place(rows - 1);
        }
    }
    let _ = infer(&[file], &options, &[]);
}
