//! The shell as its users drive it: through pipes, from files, and at a terminal of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[cfg(unix)]
#[path = "shell/terminal.rs"]
mod terminal;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const PEOPLE: &str = "id,city,spend,tags,born
1,Kyoto,120.50,\"{vip,new}\",1990-05-17
2,Lima,,{},
3,Lima,9.99,{vip},2001-12-31
4,上海,55.00,{new},1999-01-01
";

fn muster(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.current_dir(directory).stdin(Stdio::null()).env("HOME", directory);
    command
}

/// A directory with a database `db` of four people.
fn people() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("people.csv"), PEOPLE).unwrap();
    let types = "id=BIGINT,city=TEXT,spend=DECIMAL(12,2),tags=TEXT[],born=DATE";
    let arguments = ["import", "db", "people", "people.csv", "--key", "id", "--types", types];
    let imported = muster(directory.path()).args(arguments).output().unwrap();
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    directory
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Pipes an input into the shell.
fn piped(directory: &Path, options: &[&str], input: &str) -> Output {
    let mut shell = muster(directory)
        .args(["shell", "db"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    shell.wait_with_output().unwrap()
}

/// Pipes an input that must succeed, and returns the answers.
fn answers(directory: &Path, input: &str) -> String {
    let output = piped(directory, &[], input);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Pipes an input that must fail, and returns what is said of it.
fn refusal(directory: &Path, input: &str) -> String {
    let output = piped(directory, &[], input);
    assert_eq!(output.status.code(), Some(1), "{input}: {}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn every_format_can_be_chosen_and_changed() {
    let people = people();
    let of = |format: &str| {
        let output = piped(
            people.path(),
            &["--format", format],
            "SELECT id, city, spend, tags FROM people WHERE id < 3 ORDER BY id",
        );
        text(&output.stdout)
    };
    assert_eq!(of("csv"), "id,city,spend,tags\n1,Kyoto,120.50,\"{new,vip}\"\n2,Lima,,{}\n");
    assert_eq!(
        of("jsonl"),
        "{\"id\":1,\"city\":\"Kyoto\",\"spend\":120.50,\"tags\":[\"new\",\"vip\"]}\n{\"id\":2,\"city\":\"Lima\",\"spend\":null,\"tags\":[]}\n"
    );
    assert!(of("json").starts_with("[{\"id\":1,"));
    assert_eq!(of("markdown").lines().next(), Some("| id | city | spend | tags |"));
    let changed = answers(
        people.path(),
        "\\format csv\nSELECT spend FROM people WHERE id = 2;\n\\pset null none\nSELECT spend FROM people WHERE id = 2;\\format jsonl\nSELECT id FROM people WHERE id = 2;",
    );
    assert_eq!(changed, "spend\n\nspend\nnone\n{\"id\":2}\n");
    assert!(refusal(people.path(), "\\format xml\n").contains("table, csv, json, jsonl, markdown"));
}

#[test]
fn tables_are_listed_and_described() {
    let people = people();
    let listed = answers(people.path(), "\\format csv\n\\d\n\\dt\n");
    assert_eq!(listed, "name,columns,key,rows\npeople,5,id,4\n".repeat(2));
    let described = answers(people.path(), "\\format csv\n\\d people\n");
    assert!(described.contains("\ntags,TEXT[],true,false\n"), "{described}");
    let defined = "CREATE VIEW limans AS SELECT id FROM people WHERE city = 'Lima';CREATE AUDIENCE vips AS SELECT id FROM people WHERE 'vip' = ANY(tags);\n";
    answers(people.path(), defined);
    let all = answers(people.path(), "\\format csv\n\\d\n\\dv\n\\da\n");
    let (views, audiences) = ("\nlimans,people,id,", "\nvips,people,dynamic,2,");
    assert_eq!((all.matches(views).count(), all.matches(audiences).count()), (2, 2), "{all}");
    let unknown = refusal(people.path(), "\\d peple\n");
    assert!(unknown.contains("did you mean \"people\"?") && unknown.contains('^'), "{unknown}");
}

#[test]
fn records_and_charts_are_drawn() {
    let people = people();
    let records = answers(people.path(), "\\x on\nSELECT id, city FROM people WHERE id = 4;\n");
    assert_eq!(records, "─[ 1 ]─────\nid   │ 4\ncity │ 上海\n");
    let grouped = "SELECT city, count(*) FROM people GROUP BY city ORDER BY 2 DESC, 1;\n";
    let drawn = answers(people.path(), &format!("\\o ignored\n{grouped}\\o\n\\chart\n"));
    let lines: Vec<&str> = drawn.lines().collect();
    assert_eq!((lines[0], lines.len()), ("count", 4));
    assert_eq!(lines[1], format!("Lima  {} 2", "█".repeat(72)));
    assert_eq!(lines[3], format!("上海  {}{} 1", "█".repeat(36), " ".repeat(36)));
    // Once charts are on, what can be drawn is, and what cannot is a table.
    let always = answers(people.path(), &format!("\\chart on\n{grouped}\\chart off\n{grouped}"));
    assert!(always.starts_with(&drawn) && always.contains("┌───"), "{always}");
    assert!(refusal(people.path(), "\\chart\n").contains("no answer to draw yet"));
    assert!(refusal(people.path(), "SELECT city FROM people;\\chart\n").contains("column of numbers"));
}

#[test]
fn files_are_executed_and_written() {
    let people = people();
    let path = people.path();
    std::fs::write(path.join("inner.sql"), "SELECT count(*)\nFROM people;").unwrap();
    std::fs::write(path.join("outer.sql"), "\\format csv\n\\i inner.sql\n\\i 'inner.sql'\n").unwrap();
    assert_eq!(answers(path, "\\i outer.sql\n"), "count\n4\n".repeat(2));
    let to_file = "\\format csv\n\\o out.csv\nSELECT id FROM people WHERE id = 1;\nSELECT id FROM people WHERE id = 2;\n\\o\nSELECT id FROM people WHERE id = 3;\n";
    assert_eq!(answers(path, to_file), "id\n3\n");
    assert_eq!(std::fs::read_to_string(path.join("out.csv")).unwrap(), "id\n1\nid\n2\n");
    std::fs::write(path.join("self.sql"), "\\i self.sql\n").unwrap();
    assert!(refusal(path, "\\i self.sql\n").contains("more than 16 deep"));
    assert!(refusal(path, "\\i nothing.sql\n").contains("cannot read nothing.sql"));
    assert!(refusal(path, "\\o no/such/folder\n").contains("cannot write to no/such/folder"));
}

#[test]
fn copy_takes_a_file_without_quotes() {
    let people = people();
    let table = "CREATE TABLE again (id BIGINT PRIMARY KEY, city TEXT, spend DECIMAL(12,2), tags TEXT[], born DATE);\n";
    let copied = answers(people.path(), &format!("{table}\\copy again from people.csv (header)\n"));
    assert_eq!(copied, "CREATE TABLE\nCOPY 4\n");
    assert!(refusal(people.path(), "\\copy again\n").contains("write \\copy TABLE FROM FILE"));
}

#[test]
fn a_statement_is_repeated_as_often_as_asked() {
    let people = people();
    let repeated = answers(people.path(), "\\format csv\nSELECT count(*) FROM people;\\watch 0.05 2\n");
    assert_eq!(repeated, "count\n4\n".repeat(3));
    assert!(refusal(people.path(), "\\watch\n").contains("no statement to repeat"));
    assert!(refusal(people.path(), "\\watch never\n").contains("seconds between"));
}

#[test]
fn parameters_are_bound_for_one_statement() {
    let people = people();
    let count = "SELECT count(*) FROM people WHERE city = $1 AND id > $2;";
    let bound = format!("\\format csv\n\\bind Lima '2'\n{count}\\watch 0.05 1\n");
    assert_eq!(answers(people.path(), &bound), "count\n1\n".repeat(2));
    let once = format!("\\bind Lima 0\n\\d\n{count}{count}");
    assert!(refusal(people.path(), &once).contains("parameter $1, but 0 were given"));
}

#[test]
fn times_are_told_when_they_are_wanted() {
    let people = people();
    let count = "SELECT count(*) FROM people;\n";
    let timed = answers(people.path(), &format!("\\timing on\n{count}\\timing\n{count}"));
    let times: Vec<&str> = timed.lines().filter(|line| line.starts_with("(1 row, ")).collect();
    assert_eq!(times.len(), 1, "{timed}");
    // What programs read stays as it is; the time goes to stderr.
    let output = piped(people.path(), &["--format", "csv"], &format!("\\timing on\n{count}"));
    assert_eq!(text(&output.stdout), "count\n4\n");
    assert!(text(&output.stderr).ends_with("s)\n"), "{}", text(&output.stderr));
}

#[test]
fn help_names_every_statement_and_settings_are_shown() {
    let people = people();
    let help = answers(people.path(), "\\?\n\\h\n");
    for word in ["\\watch", "\\chart", "select", "create table"] {
        assert!(help.contains(word), "{word}\n{help}");
    }
    assert!(answers(people.path(), "\\h copy\n").starts_with("COPY: "));
    assert!(refusal(people.path(), "\\h slect\n").contains("did you mean select?"));
    let settings = answers(people.path(), "\\pset null ∅\n\\x on\n\\pset\n");
    assert!(settings.contains("null      \"∅\"") && settings.contains("expanded  on"), "{settings}");
    assert!(refusal(people.path(), "\\pset border 2\n").contains("not border"));
    assert!(refusal(people.path(), "\\tming\n").contains("did you mean \\timing?"));
    assert!(refusal(people.path(), "\\dt people\n").contains("takes nothing behind it"));
}

#[test]
fn a_script_stops_at_an_error_or_goes_on_and_says_so_at_the_end() {
    let people = people();
    let script = "SELECT id FROM people WHERE id = 1;\nSELECT x FROM people;\n\\nonsense\nSELECT id FROM people WHERE id = 2;\n";
    let stopped = piped(people.path(), &["--format", "csv"], script);
    assert_eq!((stopped.status.code(), text(&stopped.stdout).as_str()), (Some(1), "id\n1\n"));
    let went_on = piped(people.path(), &["--format", "csv", "--keep-going"], script);
    assert_eq!((went_on.status.code(), text(&went_on.stdout).as_str()), (Some(1), "id\n1\nid\n2\n"));
    let errors = text(&went_on.stderr);
    assert!(errors.contains("unknown column \"x\"") && errors.contains("no command \\nonsense"), "{errors}");
    let ended =
        piped(people.path(), &["--format", "csv"], "SELECT id FROM people WHERE id = 1;\\q\nnonsense;\n");
    assert_eq!((ended.status.code(), text(&ended.stdout).as_str()), (Some(0), "id\n1\n"));
    // Commands are obeyed from -c too.
    let listed =
        muster(people.path()).args(["shell", "db", "--format", "csv", "-c", "\\dt"]).output().unwrap();
    assert_eq!(text(&listed.stdout), "name,columns,key,rows\npeople,5,id,4\n");
}
