//! Drives the built binary as its users do: arguments, pipes, files, exit codes.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const PEOPLE: &str = "id,city,spend,tags,born
1,Kyoto,120.50,\"{vip,new}\",1990-05-17
2,Lima,,{},
3,Lima,9.99,{vip},2001-12-31
";

fn muster(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.current_dir(directory).stdin(Stdio::null()).env("HOME", directory);
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    muster(directory).args(arguments).output().unwrap()
}

/// Runs what must succeed and returns its stdout.
fn ok(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}\nstdout: {out}\nstderr: {err}");
    assert_eq!(err, "", "nothing on stderr");
    out
}

/// Runs what must fail with this exit code and returns its stderr.
fn fails(directory: &Path, code: i32, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A directory with a database `db` of three people.
fn people() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("people.csv"), PEOPLE).unwrap();
    let types = "id=BIGINT,city=TEXT,spend=DECIMAL(12,2),tags=TEXT[],born=DATE";
    ok(directory.path(), &["import", "db", "people", "people.csv", "--key", "id", "--types", types]);
    directory
}

#[test]
fn commands_print_the_answer_and_nothing_else() {
    let people = people();
    let count = "SELECT count(*) FROM people WHERE 'vip' = ANY(tags)";
    assert_eq!(ok(people.path(), &["shell", "db", "-c", count, "--format", "csv"]), "count\n2\n");
    let two =
        ["shell", "db", "-c", "SELECT city FROM people WHERE id = 1; SELECT id FROM people WHERE id = 3"];
    let table = ok(people.path(), &two);
    assert!(table.contains("Kyoto") && table.contains("3") && !table.contains("rows"), "{table}");
}

#[test]
fn formats_are_exact() {
    let people = people();
    let all = "SELECT id, city, spend, tags, born FROM people ORDER BY id";
    let csv = ok(people.path(), &["shell", "db", "-c", all, "--format", "csv"]);
    assert_eq!(
        csv,
        "id,city,spend,tags,born\n1,Kyoto,120.50,\"{new,vip}\",1990-05-17\n2,Lima,,{},\n3,Lima,9.99,{vip},2001-12-31\n"
    );
    let json = ok(people.path(), &["shell", "db", "-c", all, "--format", "json"]);
    assert!(json.contains("\"spend\":120.50"), "{json}");
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(rows[0]["tags"], serde_json::json!(["new", "vip"]));
    assert_eq!(rows[1]["spend"], serde_json::Value::Null);
    let table = ok(people.path(), &["shell", "db", "-c", all]);
    assert!(table.contains("NULL") && table.contains("120.50"), "{table}");
}

#[test]
fn an_error_shows_its_place_and_ends_with_one() {
    let people = people();
    let err =
        fails(people.path(), 1, &["shell", "db", "-c", "SELECT count(*) FROM people WHERE cty = 'Lima'"]);
    assert!(err.starts_with("error: unknown column \"cty\""), "{err}");
    assert!(err.contains("did you mean \"city\"?") && err.contains("^^^"), "{err}");
    // In a file the place is that in the file, and what stands before the error has been answered.
    std::fs::write(people.path().join("q.sql"), "SELECT count(*) FROM people;\n\nSELECT cty FROM people;\n")
        .unwrap();
    let output = run(people.path(), &["shell", "db", "-f", "q.sql", "--format", "csv"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), "count\n3\n"));
    assert!(text(&output.stderr).contains("line 3, column 8"), "{}", text(&output.stderr));
}

#[test]
fn wrong_usage_ends_with_two_and_help_with_zero() {
    let directory = tempfile::tempdir().unwrap();
    fails(directory.path(), 2, &["shell"]);
    fails(directory.path(), 2, &["generate", "1000"]);
    fails(directory.path(), 2, &["generate", "1000", "--into", "db", "--tags", "zipf:x"]);
    fails(directory.path(), 2, &["shell", "db", "--now", "yesterday"]);
    for command in ["demo", "shell", "import", "generate", "bench", "inspect", "verify"] {
        assert!(ok(directory.path(), &[command, "--help"]).contains("Usage"), "{command}");
    }
    assert!(fails(directory.path(), 1, &["bench", "nowhere"]).starts_with("error: "));
}

#[test]
fn a_pipe_answers_each_statement_before_the_next_one_comes() {
    let people = people();
    let mut shell = muster(people.path())
        .args(["shell", "db", "--format", "csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shell.stdin.take().unwrap();
    let mut answers = BufReader::new(shell.stdout.take().unwrap()).lines();
    let mut next = || answers.next().unwrap().unwrap();
    for (question, answer) in [("id = 1", "1"), ("city = 'Lima'", "2"), ("city = ';'", "0")] {
        write!(input, "SELECT count(*)\n  FROM people\n  WHERE {question}; -- done\n").unwrap();
        input.flush().unwrap();
        assert_eq!((next().as_str(), next().as_str()), ("count", answer));
    }
    // The last statement needs no semicolon.
    write!(input, "SELECT count(*) FROM people").unwrap();
    drop(input);
    assert_eq!((next().as_str(), next().as_str()), ("count", "3"));
    assert!(shell.wait().unwrap().success());
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let directory = tempfile::tempdir().unwrap();
    ok(directory.path(), &["generate", "50000", "--into", "db", "--no-orders"]);
    let mut shell = muster(directory.path())
        .args(["shell", "db", "--format", "csv", "-c", "SELECT id, city, tier, spend_cents FROM members"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(shell.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    drop(reader);
    let output = shell.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn now_is_what_the_caller_says() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("v.csv"), "id,at\n1,2020-01-01 10:00:00\n2,2020-01-31 10:00:00\n")
        .unwrap();
    ok(directory.path(), &["import", "db", "visits", "v.csv", "--types", "id=BIGINT,at=TIMESTAMP"]);
    let recent = "SELECT count(*) FROM visits WHERE at >= now() - INTERVAL '7 days'";
    let at = |now| ok(directory.path(), &["shell", "db", "--format", "csv", "--now", now, "-c", recent]);
    assert_eq!([at("2020-02-01 00:00:00"), at("2020-01-02 00:00:00")], ["count\n1\n", "count\n2\n"]);
}

#[test]
fn an_ambiguous_import_stops_says_what_settles_it_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("p.csv"), "user,zip,active\nann,01234,1\nbob,98765,0\n").unwrap();
    let import = ["import", "db", "p", "p.csv", "--rename", "user=user_name"];
    let err = fails(directory.path(), 1, &import);
    assert!(err.contains("zip") && err.contains("--types"), "{err}");
    assert!(!directory.path().join("db").exists(), "nothing was created");
    let out = ok(directory.path(), &[&import[..], &["--types", "zip=TEXT,active=BOOLEAN"]].concat());
    assert!(out.contains("CREATE TABLE p (") && out.contains("user_name TEXT"), "{out}");
    assert!(out.contains("2 rows imported into p"), "{out}");
    let zips = ["shell", "db", "--format", "csv", "-c", "SELECT user_name, zip FROM p WHERE active"];
    assert_eq!(ok(directory.path(), &zips), "user_name,zip\nann,01234\n");
    // With --yes the safe choice is taken: a leading zero survives.
    ok(directory.path(), &[&["import", "db", "q"][..], &import[3..], &["--yes"]].concat());
    let zips = ["shell", "db", "--format", "csv", "-c", "SELECT zip FROM q WHERE user_name = 'ann'"];
    assert_eq!(ok(directory.path(), &zips), "zip\n01234\n");
}

#[test]
fn a_refused_row_is_named_and_leaves_the_database_as_it_was() {
    let people = people();
    std::fs::write(people.path().join("bad.csv"), "id,age\n1,20\n2,old\n1,30\n").unwrap();
    let types = ["--types", "id=BIGINT,age=INTEGER", "--key", "id"];
    let err = fails(people.path(), 1, &[&["import", "db", "bad", "bad.csv"][..], &types].concat());
    assert!(err.contains("bad.csv, line 3") && err.contains("\"age\"") && err.contains("old"), "{err}");
    std::fs::write(people.path().join("bad.csv"), "id,age\n1,20\n2,21\n1,30\n").unwrap();
    let err = fails(people.path(), 1, &[&["import", "db", "bad", "bad.csv"][..], &types].concat());
    assert!(err.contains("line 4"), "a duplicate key: {err}");
    let tables = ok(people.path(), &["shell", "db", "--format", "csv", "-c", "SHOW TABLES"]);
    assert_eq!(tables.lines().count(), 2, "{tables}");
}

#[test]
fn a_generated_population_is_the_same_through_parquet_and_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    ok(path, &["generate", "70000", "--into", "db"]);
    ok(path, &["generate", "70000", "--parquet", "out"]);
    assert!(!path.join("out/members.parquet.partial").exists());
    ok(path, &["import", "db2", "members", "out/members.parquet", "--key", "id"]);
    ok(path, &["import", "db2", "orders", "out/orders.parquet"]);
    for question in [
        "SELECT count(*), sum(spend_cents), min(birth), max(registered_at), min(last_active_at) FROM members WHERE t00",
        "SELECT city, tier, count(*) FROM members WHERE NOT t01 GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 20",
        "SELECT channel, count(*), sum(amount_cents), max(ordered_at) FROM orders GROUP BY 1 ORDER BY 1",
    ] {
        let of = |db| ok(path, &["shell", db, "--format", "csv", "-c", question]);
        assert_eq!(of("db"), of("db2"), "{question}");
    }
    let spend = ok(path, &["shell", "db", "--format", "csv", "-c", "SELECT sum(spend_cents) FROM members"]);
    let amounts = ok(path, &["shell", "db", "--format", "csv", "-c", "SELECT sum(amount_cents) FROM orders"]);
    assert_eq!(spend, amounts);
    let report: serde_json::Value =
        serde_json::from_str(&ok(path, &["bench", "db", "--runs", "2", "--json"])).unwrap();
    assert_eq!(
        (report["members"].as_u64(), report["questions"].as_array().unwrap().len()),
        (Some(70_000), 18)
    );
    assert_eq!(report["keys"]["batch_keys"].as_u64(), Some(70_000));
    let only = ok(path, &["bench", "db", "--runs", "1", "--only", "tag1"]);
    assert!(only.contains("tag1") && !only.contains("mix8"), "{only}");
    assert!(fails(path, 1, &["bench", "db", "--only", "tag9"]).contains("tag_and3"));
    assert!(fails(path, 1, &["generate", "10", "--into", "db"]).contains("exists already"));
}

#[test]
fn the_bench_asks_the_same_of_tag_lists() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    ok(path, &["generate", "20000", "--into", "booleans", "--no-orders"]);
    ok(path, &["generate", "20000", "--into", "arrays", "--no-orders", "--tags", "array"]);
    let answers = |db| -> Vec<serde_json::Value> {
        let report: serde_json::Value =
            serde_json::from_str(&ok(path, &["bench", db, "--runs", "1", "--json"])).unwrap();
        report["questions"].as_array().unwrap().iter().map(|q| q["answer"].clone()).collect()
    };
    // Groups come in no particular order unless the question asks for one.
    let (booleans, arrays) = (answers("booleans"), answers("arrays"));
    for question in [0, 1, 2, 3, 4, 5, 6, 9] {
        assert_eq!(booleans[question], arrays[question]);
    }
}

#[test]
fn every_kind_of_population_can_be_generated() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let kinds: [(&str, &[&str]); 4] = [
        ("uuid", &["--keys", "uuid"]),
        ("zipf", &["--tags", "zipf:2000"]),
        ("wide", &["--columns", "200", "--no-orders"]),
        ("nulls", &["--nulls", "0.3", "--tags", "array"]),
    ];
    for (kind, options) in kinds {
        let (db, out, again) = (format!("{kind}.db"), format!("{kind}.out"), format!("{kind}.again"));
        ok(path, &[&["generate", "5000", "--into", &db][..], options].concat());
        ok(path, &[&["generate", "5000", "--parquet", &out][..], options].concat());
        ok(path, &["import", &again, "members", &format!("{out}/members.parquet"), "--key", "id"]);
        let rows = |db: &str| {
            ok(path, &["shell", db, "--format", "csv", "-c", "SELECT * FROM members ORDER BY id LIMIT 50"])
        };
        assert_eq!(rows(&db), rows(&again), "{kind}");
        ok(path, &["bench", &db, "--runs", "1", "--only", "range1"]);
    }
}

#[test]
fn the_demo_asks_its_population_and_asks_it_again() {
    let directory = tempfile::tempdir().unwrap();
    let first = ok(directory.path(), &["demo", "--members", "20000"]);
    assert!(first.contains("muster shell ./muster-demo") && first.contains("20,000 members"), "{first}");
    let second = ok(directory.path(), &["demo", "--members", "20000"]);
    assert!(second.contains("is there already, with 20,000 members"), "{second}");
}

#[test]
fn inspect_shows_what_there_is_and_verify_finds_a_flipped_byte() {
    let people = people();
    let shown = ok(people.path(), &["inspect", "db"]);
    assert!(shown.contains("people: 3 rows") && shown.contains("DECIMAL(12,2)"), "{shown}");
    let report: serde_json::Value =
        serde_json::from_str(&ok(people.path(), &["inspect", "db", "--json"])).unwrap();
    let city = &report["tables"][0]["columns"][1];
    assert_eq!((city["name"].as_str(), city["cardinality"].as_u64()), (Some("city"), Some(2)));
    assert!(fails(people.path(), 1, &["inspect", "db", "nobody"]).contains("unknown table"));
    assert!(ok(people.path(), &["verify", "db"]).starts_with("ok: "));
    // Any byte of any part: the first one, one in the middle, the last one.
    let part = std::fs::read_dir(people.path().join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let sound = std::fs::read(&part).unwrap();
    for at in [0, sound.len() / 2, sound.len() - 1] {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        std::fs::remove_file(&part).unwrap();
        std::fs::write(&part, damaged).unwrap();
        let err = fails(people.path(), 1, &["verify", "db"]);
        assert!(
            err.starts_with("error: ") && err.contains(part.file_name().unwrap().to_str().unwrap()),
            "{err}"
        );
    }
}

#[test]
fn an_import_into_rows_says_what_a_known_key_does() {
    let people = people();
    let write = |text: &str| std::fs::write(people.path().join("news.csv"), text).unwrap();
    write("id,city\n1,Osaka\n90,Rome\n");
    let import = ["import", "db", "people", "news.csv"];
    let refused = fails(people.path(), 1, &import);
    assert!(
        refused.contains("news.csv, line 2: column \"id\": value \"1\": the key is there already"),
        "{refused}"
    );
    let city = |id| {
        let select = format!("SELECT city FROM people WHERE id = {id}");
        ok(people.path(), &["shell", "db", "-c", &select, "--format", "csv"])
    };
    assert_eq!(city(90), "city\n");
    let out = ok(people.path(), &[&import[..], &["--on-conflict", "nothing"]].concat());
    assert!(out.contains("1 rows imported into people"), "{out}");
    assert_ne!(city(1), "city\nOsaka\n");
    let out = ok(people.path(), &[&import[..], &["--on-conflict", "update"]].concat());
    assert!(out.contains("2 rows imported into people"), "{out}");
    assert_eq!([city(1), city(90)], ["city\nOsaka\n", "city\nRome\n"]);
}

/// Everything that can be wrong with a file at once, set right by flags.
#[test]
fn an_import_meets_files_as_they_come() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).unwrap();
    // GB18030, semicolons, single quotes with backslashes, two NULLs.
    write("kunden-1.csv", b"id;name;city\n1;'\xbb\xe1\\';\xd4\xb1';NULL\n2;;K\n");
    write("kunden-2.csv", b"id;name;city\n3;-;'-'\n");
    let flags = ["--encoding", "gb18030", "--delimiter", ";", "--quote", "'", "--escape", "\\"];
    let import = ["import", "db", "kunden", "kunden-*.csv", "--key", "id", "--null", "NULL", "--null", "-"];
    let out = ok(directory.path(), &[&import[..], &flags[..]].concat());
    assert!(out.contains("id   BIGINT PRIMARY KEY"), "{out}");
    assert!(out.contains("3 rows imported into kunden"), "{out}");
    let all = ["shell", "db", "-c", "SELECT * FROM kunden ORDER BY id", "--format", "csv"];
    assert_eq!(ok(directory.path(), &all), "id,name,city\n1,会';员,\n2,\"\",K\n3,,-\n");
    write(
        "bad.jsonl",
        b"{\"id\":1,\"tags\":[\"a\"],\"at\":\"2026-01-02T03:04:05Z\"}\n{\"id\":\n{\"id\":2,\"spend\":1.50}\n",
    );
    let import = ["import", "db", "lines", "bad.jsonl", "--key", "id"];
    let refused = fails(directory.path(), 1, &import);
    assert_eq!(refused, "error: bad.jsonl, line 2: is no JSON object on one line\n");
    let out = ok(directory.path(), &[&import[..], &["--on-error", "skip"]].concat());
    assert!(out.contains("tags  TEXT[]") && out.contains("at    TIMESTAMPTZ"), "{out}");
    assert!(out.ends_with("1 bad row skipped, see lines.rejects.csv\n"), "{out}");
    let rejects = std::fs::read_to_string(directory.path().join("lines.rejects.csv")).unwrap();
    assert_eq!(
        rejects,
        "file,line,column,reason,row\nbad.jsonl,2,,is no JSON object on one line,\"{\"\"id\"\":\"\n"
    );
    fails(directory.path(), 1, &["import", "db", "x", "bad.jsonl", "--rejects", "r.csv"]);
    fails(directory.path(), 2, &["import", "db", "x", "bad.jsonl", "--encoding", "klingon"]);
    let refused = fails(directory.path(), 1, &["import", "db", "x", "no-*.csv"]);
    assert_eq!(refused, "error: cannot read no-*.csv: no file matches the pattern\n");
}

#[test]
fn what_is_exported_is_imported_again() {
    let people = people();
    let question = "SELECT id, city, spend, tags, born FROM people WHERE spend IS NOT NULL";
    for file in ["out.csv", "out.jsonl.zst", "out.parquet"] {
        assert_eq!(
            ok(people.path(), &["export", "db", question, file]),
            format!("2 rows written to {file}\n")
        );
        let table = file.replace('.', "_");
        ok(
            people.path(),
            &["import", "db", &table, file, "--key", "id", "--types", "spend=DECIMAL(12,2),tags=TEXT[]"],
        );
        let all = |table: &str| {
            format!("SELECT id, city, spend, tags, born FROM {table} WHERE spend > 0 ORDER BY id")
        };
        let shown = |table: &str| ok(people.path(), &["shell", "db", "-c", &all(table), "--format", "csv"]);
        assert_eq!(shown(&table), shown("people"), "{file}");
    }
    ok(
        people.path(),
        &["export", "db", "people", "plain", "--format", "csv", "--no-header", "--delimiter", "tab"],
    );
    let plain = std::fs::read_to_string(people.path().join("plain")).unwrap();
    assert!(plain.starts_with("1\tKyoto\t120.50\t{new,vip}\t1990-05-17\n"), "{plain}");
    ok(people.path(), &["export", "db", "SELECT id FROM people WHERE city = 'Lima'", "lima.roaring"]);
    assert!(people.path().join("lima.roaring.json").exists());
    let refused = fails(people.path(), 1, &["export", "db", "SELECT cty FROM people", "x.csv"]);
    assert!(refused.contains("unknown column \"cty\"") && !people.path().join("x.csv").exists(), "{refused}");
    fails(people.path(), 1, &["export", "nowhere", "people", "x.csv"]);
}

/// Rows that belong to members: declared by options, shown, and those of nobody told.
#[test]
fn rows_of_members_are_imported_with_their_owners() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("members.csv"), "id,city\n1,Oslo\n2,Cusco\n").unwrap();
    std::fs::write(
        path.join("orders.csv"),
        "member,day,cents\n1,2026-01-01,5\n2,2026-01-02,7\n9,2026-01-02,8\n",
    )
    .unwrap();
    ok(path, &["import", "db", "members", "members.csv", "--key", "id", "--yes"]);
    let import =
        ["import", "db", "orders", "orders.csv", "--yes", "--references", "member=members", "--sum", "cents"];
    let told = ok(path, &import);
    assert!(told.contains("INTEGER REFERENCES members"), "{told}");
    assert!(told.contains("WITH (owner = 'member', time = 'day', sums = 'cents')"), "{told}");
    assert!(told.contains("1 of them belong to nobody yet"), "{told}");
    let shown = ok(path, &["shell", "db", "--format", "csv", "-c", "DESCRIBE orders"]);
    assert!(shown.contains("owner: members (id)") && shown.contains("sum kept"), "{shown}");
    let question =
        "SELECT id FROM members m WHERE (SELECT sum(cents) FROM orders o WHERE o.member = m.id) > 5";
    assert_eq!(ok(path, &["shell", "db", "--format", "csv", "-c", question]), "id\n2\n");
    let again = fails(path, 1, &["import", "db", "more", "orders.csv", "--yes", "--owner", "member"]);
    assert!(again.contains("--references member=TABLE"), "{again}");
}
