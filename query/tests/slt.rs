//! Runs the chapters of the language's specification: every `slt/*.slt` against a fresh database.
//!
//! The members of every SELECT are found a second time, by the naive evaluator, and must be the same.
//!
//! `$DIR` in a chapter is the directory of its database and of the CSV files below; `now()` is 2026-03-31 12:00 UTC.
//! Run one chapter with `cargo test -p musterdb --test slt chapter_name`.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use musterdb::{Database, Outcome, Session, Value};
use sqllogictest::{DBOutput, DefaultColumnType, Runner};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Noon of 31 March 2026: a month's last day, so that a month back ends on 28 February.
const NOW_MICROS: i64 = 1_774_958_400_000_000;

/// Nine members: each value, tag and NULL that the chapters ask about.
const MEMBERS: &str = "\
id,name,city,age,spend,score,active,birth,seen,joined,tags
1,Aiko,Kyoto,31,120.50,0.5,true,1995-02-28,2026-03-31 11:59:59,2026-03-31 11:59:59+00,\"{vip,new}\"
2,Luis,Lima,,0.00,-1.25,false,1960-12-31,2026-03-01 00:00:00,2026-03-01 00:00:00+00,{vip}
3,María,Lima,44,9.99,,true,,2026-02-28 12:00:00,2026-02-28 12:00:00+00,{}
4,李雷,北京,18,,3e10,,2008-02-29,,,
5,O'Neil,,67,1000000000.01,NaN,false,1959-01-01,2025-12-31 23:59:59.999999,2025-12-31 23:59:59.999999+00,\"{gone,vip}\"
6,Zoë,lima,-1,-5.25,0.1,true,1970-01-01,1969-12-31 23:59:59,1969-12-31 23:59:59+00,{new}
7,\"a \"\"quoted\"\" name\",Kyoto,31,120.5,Infinity,,2000-01-01,2026-04-01 00:00:00,2026-04-01 00:00:00+00,\"{\"\"two words\"\",北京}\"
8,\"\",\"\",0,0.01,0,false,1999-12-31,2026-03-31 12:00:00,2026-03-31 12:00:00+00,
9,,,,,,,,,,
";

/// Keys of members among others: one unknown, one twice, a line of nobody.
const KEYS: &str = "id,why\n3,a\n\"7\",\"b\"\n\n99,c\n+3,d\n";

struct Adapter {
    session: Session,
    /// How many SELECTs were answered twice.
    compared: Arc<AtomicUsize>,
}

impl Adapter {
    /// Finds the members of a SELECT by the indexes and one by one.
    fn compare(&mut self, sql: &str) -> Result<(), musterdb::Error> {
        if let Some((found, naively)) = self.session.members_naively(sql)? {
            assert_eq!(found, naively, "the indexes and the naive evaluator find other members: {sql}");
            self.compared.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl sqllogictest::DB for Adapter {
    type Error = musterdb::Error;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, musterdb::Error> {
        let outcome = self.session.execute(sql)?;
        self.compare(sql)?;
        match outcome {
            done @ Outcome::Done { .. } => {
                Ok(DBOutput::StatementComplete(done.rows_changed().unwrap_or_default()))
            }
            Outcome::Rows { columns, rows, .. } => Ok(DBOutput::Rows {
                types: vec![DefaultColumnType::Any; columns.len()],
                rows: rows.into_iter().map(|row| row.iter().map(show).collect()).collect(),
            }),
        }
    }
}

/// An empty text is shown as such, so that a row of it can be seen.
fn show(value: &Value) -> String {
    match value {
        Value::Text(text) if text.is_empty() => "(empty)".to_owned(),
        value => value.to_string(),
    }
}

fn run(chapter: &str) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("members.csv"), MEMBERS).unwrap();
    std::fs::write(directory.path().join("keys.csv"), KEYS).unwrap();
    let db = Database::open(directory.path().join("db")).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt").join(chapter).with_extension("slt");
    let text =
        std::fs::read_to_string(file).unwrap().replace("$DIR", &directory.path().display().to_string());
    let compared = Arc::new(AtomicUsize::new(0));
    let mut runner = Runner::new(|| async {
        let mut session = db.session();
        session.set_now(NOW_MICROS);
        Ok(Adapter { session, compared: Arc::clone(&compared) })
    });
    runner
        .run_script_with_name(&text, format!("{chapter}.slt"))
        .unwrap_or_else(|error| panic!("{}", error.display(false)));
    assert_ne!(compared.load(Ordering::Relaxed), 0, "{chapter}.slt asks for no members");
}

macro_rules! chapters {
    ($($chapter:ident)*) => {
        $(
            #[test]
            fn $chapter() {
                run(stringify!($chapter));
            }
        )*

        /// A chapter that no test runs proves nothing.
        #[test]
        fn every_file_is_a_chapter() {
            let chapters = [$(stringify!($chapter)),*];
            for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt")).unwrap() {
                let path = file.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                assert!(chapters.contains(&name.as_str()), "{name}.slt is run by no test");
            }
        }
    };
}

chapters!(
    types comparisons nulls tags times groups rows errors ddl audiences views
    expressions text grouping subqueries zones samples_buckets analysis differences
    writes transactions tags_writes related joins windows sets ties users
);
