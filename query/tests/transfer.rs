//! COPY in both directions, as a user writes it.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use musterdb::{Database, Error, Outcome, RoaringBitmap, Session, Value};
use std::path::PathBuf;
use tempfile::TempDir;

const TABLE: &str = "(id BIGINT PRIMARY KEY, name TEXT, city TEXT, spend DECIMAL(12,2), active BOOLEAN, born DATE, \
                     seen TIMESTAMP, joined TIMESTAMPTZ, score DOUBLE PRECISION, tags TEXT[])";

const ROWS: &str = "\
1,Aiko,Kyoto,120.50,true,1995-02-28,2026-03-31 11:59:59,2026-03-31 11:59:59+00,0.5,\"{new,vip}\"
2,\"\",Lima,0.00,false,1960-12-31,,,-1.25,{}
3,\"O\"\"Neil, x\",,,,,,,,
4,李雷,Lima,9.99,true,2008-02-29,2026-02-28 12:00:00.000001,1969-12-31 23:59:59+00,1e+300,\"{\"\"two words\"\"}\"
";

struct Place {
    directory: TempDir,
    db: Database,
}

impl Place {
    /// A database with a table `t` of four rows.
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let db = Database::open(directory.path().join("db")).unwrap();
        let place = Place { directory, db };
        place.write("rows.csv", ROWS);
        place.done(&format!("CREATE TABLE t {TABLE}"));
        assert_eq!(place.done("COPY t FROM '$/rows.csv'"), "COPY 4");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// `$` is the directory.
    fn sql(&self, sql: &str) -> String {
        sql.replace('$', &self.directory.path().display().to_string())
    }

    fn done(&self, sql: &str) -> String {
        match self.db.execute(&self.sql(sql)) {
            Ok(Outcome::Done { message }) => message,
            other => panic!("{sql}: {other:?}"),
        }
    }

    fn refuses(&self, sql: &str) -> String {
        let error = self.db.execute(&self.sql(sql)).unwrap_err();
        error.to_string().replace(&self.sql("$/"), "")
    }

    fn rows(&self, sql: &str) -> Vec<Vec<Value>> {
        self.db.execute(sql).unwrap().rows().map(|row| row.values().to_vec()).collect()
    }

    /// The files of the directory besides the database.
    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "db");
        names.sort_unstable();
        names
    }
}

#[test]
fn a_table_comes_back_from_every_format() {
    let place = Place::new();
    let all = place.rows("SELECT * FROM t ORDER BY id");
    for (i, (file, options)) in [
        ("a.csv", ""),
        ("a.csv.gz", "(HEADER)"),
        ("a.csv.zst", "WITH (FORMAT csv, DELIMITER ';', QUOTE '''', ESCAPE '\\', NULL 'NULL')"),
        ("a.jsonl", ""),
        ("a.ndjson.gz", ""),
        ("a.parquet", ""),
        ("plain", "(FORMAT jsonl)"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(place.done(&format!("COPY t TO '$/{file}' {options}")), "COPY 4");
        place.done(&format!("CREATE TABLE back{i} {TABLE}"));
        assert_eq!(place.done(&format!("COPY back{i} FROM '$/{file}' {options}")), "COPY 4");
        assert_eq!(place.rows(&format!("SELECT * FROM back{i} ORDER BY id")), all, "{file}");
    }
    assert_eq!(place.read("a.csv"), ROWS);
}

#[test]
fn answers_are_written_as_they_are_shown() {
    let place = Place::new();
    let groups = "SELECT city, count(*) AS n, sum(spend) FROM t GROUP BY city ORDER BY n DESC, city";
    assert_eq!(place.done(&format!("COPY ({groups}) TO '$/g.csv' (HEADER true)")), "COPY 3");
    assert_eq!(place.read("g.csv"), "city,n,sum\nLima,2,9.99\nKyoto,1,120.50\n,1,\n");
    let some = "SELECT name, tags FROM t WHERE city IS NOT NULL ORDER BY id DESC LIMIT 2";
    assert_eq!(place.done(&format!("COPY ({some}) TO '$/s.jsonl';")), "COPY 2");
    assert_eq!(
        place.read("s.jsonl"),
        "{\"name\":\"李雷\",\"tags\":[\"two words\"]}\n{\"name\":\"\",\"tags\":[]}\n"
    );
    assert_eq!(place.done("COPY t (born, id) TO '$/c.csv'"), "COPY 4");
    assert!(place.read("c.csv").starts_with("1995-02-28,1\n"));
    assert_eq!(place.done("COPY (SELECT id FROM t WHERE id > 100) TO '$/none.csv' (HEADER)"), "COPY 0");
    assert_eq!(place.read("none.csv"), "id\n");
    let mut session = place.db.session();
    let wanted = format!("COPY (SELECT id FROM t WHERE city = $1) TO '{}'", place.path("p.csv").display());
    session.execute_with(&wanted, &["Lima".into()]).unwrap();
    assert_eq!(place.read("p.csv"), "2\n4\n");
}

#[test]
fn members_are_written_with_what_makes_sense_of_them() {
    let place = Place::new();
    let select = "SELECT name FROM t WHERE extract(year FROM born) > 1990 OR city IS NULL";
    assert_eq!(place.done(&format!("COPY ({select}) TO '$/m.roaring'")), "COPY 3");
    let bytes = std::fs::read(place.path("m.roaring")).unwrap();
    let members = RoaringBitmap::deserialize_from(&bytes[..]).unwrap();
    assert_eq!(members.iter().collect::<Vec<_>>(), [0, 2, 3]);
    let sidecar = place.read("m.roaring.json");
    let keys = "SELECT \\\"id\\\" FROM t WHERE extract(year FROM born) > 1990 OR city IS NULL";
    for line in [
        "\"table\": \"t\"".to_owned(),
        "\"cardinality\": 3".to_owned(),
        "\"key_column\": \"id\"".to_owned(),
        format!("\"select\": \"{select}\""),
        format!("\"keys\": \"{keys}\""),
        format!("\"database_id\": \"{:016x}\"", place.db.engine().id()),
    ] {
        assert!(sidecar.contains(&line), "{line} is not in {sidecar}");
    }
    let keys = place.rows(&keys.replace("\\\"", "\""));
    assert_eq!(keys, [[Value::Integer(1)], [Value::Integer(3)], [Value::Integer(4)]]);
    assert_eq!(place.done("COPY t TO '$/all' (FORMAT roaring)"), "COPY 4");
    for select in ["SELECT count(*) FROM t", "SELECT city FROM t GROUP BY city", "SELECT id FROM t LIMIT 1"] {
        let refused = place.refuses(&format!("COPY ({select}) TO '$/no.roaring'"));
        assert!(refused.starts_with("a bitmap holds all members of a condition"), "{refused}");
    }
    let refused = place.refuses("COPY (SELECT id FROM t ORDER BY name) TO '$/no.roaring'");
    assert!(refused.starts_with("a bitmap has no order"), "{refused}");
    assert!(!place.files().iter().any(|name| name.contains("no.")), "{:?}", place.files());
}

#[test]
fn a_failed_or_cancelled_export_leaves_what_was_there() {
    let place = Place::new();
    place.write("out.csv", "as it was");
    let before = place.files();
    place.refuses("COPY (SELECT 10 / (id - 3) FROM t) TO '$/out.csv'");
    place.refuses("COPY (SELECT id, id FROM t) TO '$/new.jsonl'");
    place.refuses("COPY (SELECT nothing FROM t) TO '$/out.csv'");
    place.refuses("COPY t TO '$/no/such/directory.csv'");
    place.refuses("COPY t TO '$/db' (FORMAT csv)");
    // A cancel that comes while the rows are written: the table of values is large enough for many portions.
    let rows: String = (0..200_000).map(|i| format!("{i}\n")).collect();
    place.write("many.csv", rows);
    place.done("CREATE TABLE many (id BIGINT PRIMARY KEY)");
    place.done("COPY many FROM '$/many.csv'");
    std::fs::remove_file(place.path("many.csv")).unwrap();
    for format in ["csv", "jsonl", "parquet"] {
        let mut session: Session = place.db.session();
        let cancel = session.cancel_handle();
        session.on_progress(move |progress| {
            assert!(progress.rows <= 200_000 && progress.rows_total == Some(200_000));
            cancel.cancel();
        });
        // Progress is told ten times a second: ask until a statement lived that long.
        let sql = place.sql(&format!("COPY (SELECT id, id, id FROM many) TO '$/out.csv' (FORMAT {format})"));
        let sql = sql.replace("id, id, id", "id AS a, id AS b, id AS c");
        let cancelled = (0..5).any(|_| {
            place.write("out.csv", "as it was");
            session.execute(&sql).is_err_and(|error| error.is_cancelled())
        });
        if cancelled {
            assert_eq!(place.read("out.csv"), "as it was", "{format}");
        }
        place.write("out.csv", "as it was");
        session.cancel_handle().cancel();
        assert!(session.execute(&sql).is_err_and(|error| error.is_cancelled()));
        assert_eq!((place.read("out.csv"), place.files()), ("as it was".to_owned(), before.clone()));
    }
}

#[test]
fn bad_rows_are_skipped_counted_and_written() {
    let place = Place::new();
    place.write("bad.csv", "1;a\nx;b\n2;c;d\n3;\n");
    place.done("CREATE TABLE s (id BIGINT PRIMARY KEY, name TEXT)");
    let refused = place.refuses("COPY s FROM '$/bad.csv' (DELIMITER ';')");
    assert_eq!(refused, "bad.csv, line 2: column \"id\": value \"x\": is not an integer");
    let message =
        place.done("COPY s FROM '$/bad.csv' (DELIMITER ';', ON_ERROR skip, REJECTS '$/bad rows.csv')");
    assert_eq!(message, place.sql("COPY 2 (2 skipped, see $/bad rows.csv)"));
    assert_eq!(
        place.read("bad rows.csv").replace(&place.sql("$/"), ""),
        "file,line,column,reason,row\nbad.csv,2,id,\"\"\"x\"\" is not an integer\",x;b\n\
         bad.csv,3,,\"3 fields, but the table has 2\",2;c;d\n"
    );
    // A repeated key is found too late to be skipped, and says so; there is no table then, and no half of one.
    place.write("twice.csv", "1,a\nx,b\n7,c\n1,d\n");
    place.done("CREATE TABLE twice (id BIGINT PRIMARY KEY, name TEXT)");
    let refused = place.refuses("COPY twice FROM '$/twice.csv' (ON_ERROR skip, REJECTS '$/r.csv')");
    assert_eq!(
        refused,
        "twice.csv, line 4: column \"id\": value \"1\": this key was already given by twice.csv, line 1; keys are unique, \
         and a repeated one cannot be skipped"
    );
    assert_eq!(place.rows("SELECT count(*) FROM twice"), [[Value::Integer(0)]]);
    place.write("good.csv", "1,a\n");
    assert_eq!(place.done("COPY twice FROM '$/good.csv' (ON_ERROR skip, REJECTS '$/none.csv')"), "COPY 1");
    assert!(!place.path("none.csv").exists());
}

#[test]
fn several_files_patterns_and_encodings() {
    let place = Place::new();
    place.done("CREATE TABLE g (id BIGINT PRIMARY KEY, name TEXT)");
    place.write("part-2.csv", b"2,\xbb\xe1\xd4\xb1\n");
    place.write("part-1.csv", b"1,N/A\n");
    place.write("more.csv", b"3,-\n");
    let message =
        place.done("COPY g FROM '$/part-*.csv', '$/more.csv' (ENCODING 'gb18030', NULL 'N/A', NULL '-')");
    assert_eq!(message, "COPY 3");
    let names = place.rows("SELECT name FROM g ORDER BY id");
    assert_eq!(names, [[Value::Null], [Value::Text("会员".into())], [Value::Null]]);
    place.done("CREATE TABLE h (id BIGINT PRIMARY KEY)");
    assert_eq!(
        place.refuses("COPY h FROM '$/nothing-*.csv'"),
        "cannot read nothing-*.csv: no file matches the pattern"
    );
    assert!(place.refuses("COPY h FROM '$/missing.csv'").starts_with("cannot read missing.csv: "));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    let place = Place::new();
    for (sql, words) in [
        ("COPY t TO 'x.dat'", "the name of x.dat does not say its format"),
        ("COPY t TO 'x.csv' (ENCODING 'gbk')", "ENCODING is an option of COPY … FROM"),
        ("COPY t FROM 'x.csv' (ENCODING 'klingon')", "there is no encoding 'klingon'"),
        ("COPY t FROM 'x.csv' (REJECTS 'r.csv')", "REJECTS names a file for skipped rows"),
        ("COPY t FROM 'x.csv' (ON_ERROR perhaps)", "expected stop or skip, found perhaps"),
        ("COPY t FROM 'x' (FORMAT roaring)", "a Roaring bitmap cannot be imported"),
        ("COPY t FROM 'x' (FORMAT xml)", "the format xml is not supported"),
        ("COPY t FROM 'x.csv' (QUOTE ',')", "DELIMITER and QUOTE must differ"),
        ("COPY t FROM 'x.csv' (QUOTE 'ab')", "a quote is one ASCII letter"),
        ("COPY t FROM 'x.csv' (HEADER, HEADER)", "HEADER is given twice"),
        ("COPY (SELECT id FROM t TO 'x.csv'", "expected"),
        ("COPY (SELECT id FROM nowhere) TO 'x.csv'", "unknown table \"nowhere\""),
        ("COPY nowhere TO 'x.csv'", "unknown table \"nowhere\""),
        ("COPY t (nothing) TO 'x.csv'", "unknown column \"nothing\""),
        ("COPY t 'x.csv'", "expected FROM or TO"),
        ("COPY t TO 'x.csv' (NULL 'a', NULL 'b')", "NULL is written as one text"),
    ] {
        let error = place.db.execute(sql).unwrap_err();
        assert!(error.to_string().starts_with(words), "{sql}: {error}");
        if let Error::Query { span: Some(span), .. } = &error {
            assert!(span.end <= sql.len() && span.start <= span.end, "{sql}: {span:?}");
            assert!(!error.render(sql).is_empty());
        }
    }
    assert_eq!(place.files(), ["rows.csv"]);
}

#[test]
fn a_reader_may_export_and_a_stranger_may_not_touch_files() {
    let place = Place::new();
    let Place { directory, db } = place;
    drop(db);
    let place = Place { db: Database::open_read_only(directory.path().join("db")).unwrap(), directory };
    assert_eq!(place.done("COPY t TO '$/out.csv'"), "COPY 4");
    assert!(place.refuses("COPY t FROM '$/out.csv'").contains("reading only"));
    let mut session = place.db.session();
    session.forbid_files();
    let error = session.execute(&place.sql("COPY t TO '$/secret.csv'")).unwrap_err();
    assert!(error.to_string().starts_with("this session may not read or write files"), "{error}");
    assert!(!place.path("secret.csv").exists());
    let Place { directory, db } = place;
    drop((session, db));
    let mut session = Database::open(directory.path().join("db")).unwrap().session();
    session.forbid_files();
    for sql in ["COPY t FROM '/etc/passwd'", "CREATE STATIC AUDIENCE a ON t FROM '/etc/passwd'"] {
        let error = session.execute(sql).unwrap_err();
        assert!(error.to_string().starts_with("this session may not read or write files"), "{error}");
    }
}

#[test]
fn an_audience_is_read_from_any_file_of_keys() {
    let place = Place::new();
    let utf16: Vec<u8> = "\u{feff}id\r\n4\r\n1\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    place.write("keys.txt", utf16);
    let told = place.done("CREATE STATIC AUDIENCE a ON t FROM '$/keys.txt' (HEADER)");
    assert!(told.contains("2 members of 2 keys"), "{told}");
    assert!(place.refuses("CREATE STATIC AUDIENCE b ON t FROM '$/keys.txt'").contains("is not an integer"));
}

#[test]
fn a_stranger_makes_no_audience_of_a_file() {
    let place = Place::new();
    let mut session = place.db.session();
    session.forbid_files();
    let error = session.execute(&place.sql("CREATE STATIC AUDIENCE a ON t FROM '$/keys'")).unwrap_err();
    assert!(error.to_string().starts_with("this session may not read or write files"), "{error}");
}

#[test]
fn rows_come_to_a_table_that_has_some() {
    let place = Place::new();
    place.write("more.csv", "5,Ines,Porto\n6,,Lima\n");
    assert_eq!(place.done("COPY t (id, name, city) FROM '$/more.csv'"), "COPY 2");
    let ids = "SELECT id FROM t ORDER BY id";
    let of = |ids: &[i64]| ids.iter().map(|id| vec![Value::Integer(*id)]).collect::<Vec<_>>();
    assert_eq!(place.rows(ids), of(&[1, 2, 3, 4, 5, 6]));
    // A key that is there, or that comes twice, ends all of it and says where it stands.
    place.write("known.csv", "7,x\n1,y\n");
    place.write("twice.csv", "8,x\n9,z\n8,y\n");
    for (file, line, key) in [("known.csv", 2, 1), ("twice.csv", 3, 8)] {
        let refused = place.refuses(&format!("COPY t (id, name) FROM '$/{file}'"));
        let expected = format!(
            "{file}, line {line}: column \"id\": value \"{key}\": the key is there already; ON_CONFLICT update or \
             nothing says what to do then"
        );
        assert_eq!(refused, expected);
    }
    assert_eq!(place.rows(ids), of(&[1, 2, 3, 4, 5, 6]));
    // The table is one that had rows, also when they are gone.
    place.done("DELETE FROM t");
    assert_eq!(place.done("COPY t FROM '$/rows.csv'"), "COPY 4");
    assert_eq!(place.rows(ids), of(&[1, 2, 3, 4]));
}

#[test]
fn a_key_that_is_there_is_updated_or_passed_over() {
    let place = Place::new();
    place.write("news.csv", "1,Aiko,Osaka\n7,Ines,Porto\n7,Inês,Porto\n2,,\n");
    let copy = |what| place.done(&format!("COPY t (id, name, city) FROM '$/news.csv' (ON_CONFLICT {what})"));
    let all = "SELECT id, name, city, spend FROM t ORDER BY id";
    let before = place.rows(all);
    assert_eq!(copy("nothing"), "COPY 1");
    let text = |text: &str| Value::Text(text.into());
    let mut expected = before;
    expected.push(vec![Value::Integer(7), text("Ines"), text("Porto"), Value::Null]);
    assert_eq!(place.rows(all), expected);
    assert_eq!(copy("update"), "COPY 4");
    expected[0][2] = text("Osaka");
    (expected[1][1], expected[1][2]) = (Value::Null, Value::Null);
    expected[4][1] = text("Inês");
    assert_eq!(place.rows(all), expected);
    // A bad row is skipped here as elsewhere.
    place.write("bad.csv", "8,Ada,Rome\nx,Bad,Rome\n1,Aiko,Nara\n");
    let skip = "(ON_CONFLICT update, ON_ERROR skip, REJECTS '$/rejects.csv')";
    let done = place.done(&format!("COPY t (id, name, city) FROM '$/bad.csv' {skip}"));
    assert!(done.starts_with("COPY 2 (1 skipped, see "), "{done}");
    // A table without a key takes what comes, and knows no conflict.
    place.done("CREATE TABLE log (what TEXT)");
    place.write("log.csv", "a\nb\n");
    for rows in [2, 4] {
        assert_eq!(place.done("COPY log FROM '$/log.csv'"), "COPY 2");
        assert_eq!(place.rows("SELECT count(*) FROM log"), [[Value::Integer(rows)]]);
    }
    let refused = place.refuses("COPY log FROM '$/log.csv' (ON_CONFLICT nothing)");
    assert!(refused.contains("has no key, so no row of it is in conflict"), "{refused}");
}

#[test]
fn many_rows_come_whole_or_not_at_all_in_every_format() {
    let place = Place::new();
    place.done(
        "CREATE TABLE big (id BIGINT PRIMARY KEY, city TEXT, tags TEXT[], spend DECIMAL(12,2), on_ BOOLEAN)",
    );
    let row = |id: i64| format!("{id},c{},\"{{t{},x}}\",{id}.25,{}\n", id % 7, id % 3, id % 2 == 0);
    let rows = |ids: std::ops::Range<i64>| ids.map(row).collect::<String>();
    place.write("a.csv", rows(0..50_000));
    place.write("b.csv", rows(50_000..140_000) + &row(17));
    place.done("COPY big FROM '$/a.csv'");
    let refused = place.refuses("COPY big FROM '$/b.csv'");
    assert!(
        refused.starts_with("b.csv, line 90001: column \"id\": value \"17\": the key is there"),
        "{refused}"
    );
    assert_eq!(place.rows("SELECT count(*) FROM big"), [[Value::Integer(50_000)]]);
    assert_eq!(place.done("COPY big FROM '$/b.csv' (ON_CONFLICT nothing)"), "COPY 90000");
    let sums = "SELECT city, count(*), sum(spend), count(*) FILTER (WHERE on_ AND 't1' = ANY(tags)) FROM big \
                GROUP BY city ORDER BY city";
    let all = place.rows(sums);
    place.write("whole.csv", rows(0..140_000));
    place.done(
        "CREATE TABLE fast (id BIGINT PRIMARY KEY, city TEXT, tags TEXT[], spend DECIMAL(12,2), on_ BOOLEAN)",
    );
    place.done("COPY fast FROM '$/whole.csv'");
    assert_eq!(all, place.rows(&sums.replace("big", "fast")));
    for file in ["c.parquet", "c.jsonl.gz", "c.csv"] {
        place.done(&format!("COPY big TO '$/{file}'"));
        place.done("UPDATE big SET city = NULL, tags = NULL, spend = 0");
        place.done("DELETE FROM big WHERE id < 30000");
        assert_eq!(place.done(&format!("COPY big FROM '$/{file}' (ON_CONFLICT update)")), "COPY 140000");
        assert_eq!(place.rows(sums), all, "{file}");
        place.done("CHECKPOINT");
    }
}
