//! JSON lines of any bytes become rows of the table's columns, or an error; and inference ends with one or the other.

use muster_engine::DataType;
use muster_engine::transfer::{Format, ReadOptions, Target, infer, open_source};
use std::sync::OnceLock;

/// The first byte: bit 0 bad rows are skipped, bit 1 only three members are read. The rest is the file.
pub fn run(data: &[u8]) {
    let Some((switches, content)) = data.split_first() else { return };
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| tempfile::tempdir().expect("a temporary directory"));
    let file = directory.path().join("rows.jsonl");
    std::fs::write(&file, content).expect("space");
    let skips = switches & 1 == 1;
    let options = ReadOptions {
        format: Some(Format::Jsonl),
        rejects: skips.then(|| directory.path().join("rejects.csv")),
        columns: (switches & 2 == 2).then(|| ["a", "b", "d"].map(str::to_owned).to_vec()),
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
    let (delivers, mut source) =
        open_source(std::slice::from_ref(&file), &options, &targets).expect("lines have no header to refuse");
    let mut rows = 0;
    let error = loop {
        match source.next() {
            Ok(Some(batch)) => {
                assert_eq!(batch.columns.len(), delivers.len());
                rows += batch.rows as u64;
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    if rows > 0 {
        assert!(source.place(rows - 1).is_some());
    }
    let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
    let plain = !content.starts_with(&[0x1f, 0x8b]) && !content.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let utf16 = content.starts_with(&[0xff, 0xfe]) || content.starts_with(&[0xfe, 0xff]);
    if error.is_none() && plain && !utf16 && !content.starts_with(&[0xef, 0xbb, 0xbf]) {
        assert_eq!(rows + source.skipped().unwrap_or(0), lines as u64, "each line is a row or a refused one");
    }
    let _ = infer(&[file], &options, &[]);
}
