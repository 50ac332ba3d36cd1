//! The steps of the README: a shell writes, another counts, the writer is killed (SIGKILL), and what it was told is there.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn muster(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(arguments).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    muster(directory, arguments).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + std::str::from_utf8(&output.stderr).unwrap()
}

const COUNT: &str = "SELECT count(*) FROM people WHERE city = 'Oslo'";

#[test]
fn one_writes_one_counts_and_a_kill_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let created =
        run(directory, &["shell", "db", "-c", "CREATE TABLE people (id BIGINT PRIMARY KEY, city TEXT)"]);
    assert_eq!(said(&created), "CREATE TABLE\n");

    let mut writer = muster(directory, &["shell", "db"]).spawn().unwrap();
    let mut to_writer = writer.stdin.take().unwrap();
    let mut from_writer = BufReader::new(writer.stdout.take().unwrap());
    let mut acknowledged = 0;
    let mut write = |rows: i64| {
        for _ in 0..rows {
            writeln!(to_writer, "INSERT INTO people VALUES ({acknowledged}, 'Oslo');").unwrap();
            to_writer.flush().unwrap();
            let mut answer = String::new();
            from_writer.read_line(&mut answer).unwrap();
            assert_eq!(answer, "INSERT 0 1\n");
            acknowledged += 1;
        }
        acknowledged
    };
    write(1);

    let mut reader = muster(directory, &["shell", "db", "--read-only", "--format", "csv"]).spawn().unwrap();
    let mut to_reader = reader.stdin.take().unwrap();
    let mut from_reader = BufReader::new(reader.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    for _ in 0..20 {
        let there = write(5);
        writeln!(to_reader, "REFRESH; {COUNT};").unwrap();
        to_reader.flush().unwrap();
        let answer: Vec<String> = from_reader.by_ref().take(3).collect();
        assert!(answer[0].starts_with("REFRESH (LSN "), "{answer:?}");
        assert_eq!(answer[1..], ["count".to_owned(), there.to_string()]);
    }

    let second = run(directory, &["shell", "db", "-c", "DELETE FROM people"]);
    assert!(
        said(&second).contains("in use by another muster process; close it, or open the database read-only")
    );
    let refused = run(directory, &["shell", "db", "--read-only", "-c", "DELETE FROM people"]);
    assert!(said(&refused).contains("DELETE cannot run: the database was opened for reading only"));

    let there = write(3);
    writer.kill().unwrap();
    writer.wait().unwrap();
    let counted = run(directory, &["shell", "db", "--format", "csv", "-c", COUNT, "-c", "BACKUP TO 'copy'"]);
    let counted = said(&counted);
    assert!(counted.starts_with(&format!("count\n{there}\n")) && counted.contains("BACKUP ("), "{counted}");
    for database in ["db", "copy"] {
        assert!(said(&run(directory, &["verify", database])).starts_with("ok: "));
    }
    drop(to_reader);
    reader.wait().unwrap();
}
