//! Files for tests, and batches as plain rows.

use muster_engine::batch::{Batch, ColumnValues, RowSource};
use muster_engine::transfer::{ReadOptions, Target, open_source};
use muster_engine::{DataType, Error, Value, code};
use std::path::{Path, PathBuf};

pub type Rows = Vec<Vec<Value>>;

pub const DECIMAL: DataType = DataType::Decimal { precision: 12, scale: 2 };

/// A directory whose files vanish with it.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// An error's words without the directory's random name.
    pub fn words(&self, error: &Error) -> String {
        error.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

pub fn target(name: &str, data_type: DataType) -> Target {
    Target { name: name.to_owned(), data_type, nullable: true, key: false }
}

pub fn key(name: &str, data_type: DataType) -> Target {
    Target { name: name.to_owned(), data_type, nullable: false, key: true }
}

pub fn open(files: &[&Path], targets: &[Target], options: &ReadOptions) -> Result<Box<dyn RowSource>, Error> {
    let files: Vec<PathBuf> = files.iter().map(|file| file.to_path_buf()).collect();
    Ok(open_source(&files, options, targets)?.1)
}

/// All rows of one file, every target delivered.
pub fn read(file: &Path, targets: &[Target], options: &ReadOptions) -> Result<Rows, Error> {
    drain(open(&[file], targets, options)?.as_mut(), targets)
}

pub fn drain(source: &mut dyn RowSource, targets: &[Target]) -> Result<Rows, Error> {
    let mut rows = Rows::new();
    while let Some(batch) = source.next()? {
        assert_eq!(batch.columns.len(), targets.len());
        rows.extend((0..batch.rows).map(|row| row_of(&batch, row, targets)));
    }
    Ok(rows)
}

fn row_of(batch: &Batch, row: usize, targets: &[Target]) -> Vec<Value> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let value = |(column, target): (&muster_engine::batch::ColumnBatch, &Target)| {
        let null = column.nulls.as_ref().is_some_and(|nulls| {
            assert_eq!(nulls.len(), batch.rows);
            nulls[row]
        });
        let value = match &column.values {
            ColumnValues::Boolean(booleans) => Value::Boolean(booleans[row]),
            ColumnValues::Code(codes) => {
                assert!(!null || codes[row] == 0, "NULL rows hold the filler");
                code::decode(target.data_type, codes[row])
            }
            ColumnValues::Text(strings) => Value::Text(text(strings.get(row))),
            ColumnValues::TextDictionary { codes, dictionary } if !null => {
                Value::Text(text(dictionary.get(codes[row] as usize)))
            }
            ColumnValues::TextDictionary { codes, .. } => {
                assert_eq!(codes[row], 0, "NULL rows hold the filler");
                Value::Null
            }
            ColumnValues::Tags { ends, tags, dictionary } => {
                let start = if row == 0 { 0 } else { ends[row - 1] };
                let tags = &tags[start as usize..ends[row] as usize];
                assert!(!null || tags.is_empty(), "NULL rows hold the filler");
                Value::tags(tags.iter().map(|tag| text(dictionary.get(*tag as usize))))
            }
        };
        if null { Value::Null } else { value }
    };
    batch.columns.iter().zip(targets).map(value).collect()
}

/// One column of each type, and rows that reach for its limits; the last row is all NULL.
pub fn every_type() -> (Vec<Target>, Rows) {
    let types = [
        DataType::Boolean,
        DataType::SmallInt,
        DataType::Integer,
        DataType::BigInt,
        DECIMAL,
        DataType::Double,
        DataType::Text,
        DataType::Date,
        DataType::Timestamp,
        DataType::TimestampTz,
        DataType::TextArray,
    ];
    let targets: Vec<Target> = types.iter().map(|t| target(&format!("c {t}"), *t)).collect();
    let row = |integer: i64, text: &str, tags: &[&str]| {
        vec![
            Value::Boolean(integer > 0),
            Value::Integer(integer.clamp(i16::MIN.into(), i16::MAX.into())),
            Value::Integer(integer.clamp(i32::MIN.into(), i32::MAX.into())),
            Value::Integer(integer),
            Value::Decimal { unscaled: (integer % 1_000_000_000_000).into(), scale: 2 },
            Value::Double(integer as f64 / 3.0),
            Value::Text(text.to_owned()),
            Value::Date((integer % 1_000_000) as i32),
            Value::Timestamp(integer),
            Value::TimestampTz(-(integer / 2)),
            Value::tags(tags.iter().map(|tag| tag.to_string())),
        ]
    };
    let rows = vec![
        row(1, "plain", &["vip"]),
        row(0, "会员 \"quoted\", é\r\n😀", &["b c", "a,\"b\"", ""]),
        row(-1, " spaces ", &[]),
        row(i64::MAX, "NULL", &["null", "vip"]),
        row(i64::MIN + 1, "{x}", &["会员"]),
        vec![Value::Null; types.len()],
    ];
    (targets, rows)
}

/// The directory of real data: `MUSTER_DATA`, or `../shared/data` beside the repository. Says so loudly where absent.
pub fn real_data(file: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let directory = std::env::var_os("MUSTER_DATA").map_or(beside, PathBuf::from);
    let path = directory.join(file);
    if !path.exists() {
        eprintln!("SKIPPED: {} is absent; set MUSTER_DATA to the directory of the real data", path.display());
        return None;
    }
    Some(path)
}
