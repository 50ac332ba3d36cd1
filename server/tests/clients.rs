//! The examples of docs/CLIENTS.md against a server: those whose language and library are here.
//!
//! Libraries that are of no system package are looked for in `target/clients`, where `.ci/run` puts them: `node/node_modules`,
//! `java/*.jar`, and `go` with a `go.mod` that names go-redis.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod served;

use served::Server;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn example(name: &str) -> PathBuf {
    repository().join("docs/clients").join(name)
}

fn libraries(language: &str) -> PathBuf {
    repository().join("target/clients").join(language)
}

/// True where a command ends well.
fn goes(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn skipped(client: &str, reason: &str) {
    println!("SKIPPED: the example in {client}: {reason}");
}

/// Runs a client with the port of a new server as its last argument.
fn runs(client: &mut Command) {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("db"), &[]);
    let output = client.arg(server.port.to_string()).output().unwrap();
    let (said, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{error}");
    for expected in [
        "written: 5000 refused: ",
        "count: 1250\n",
        "members: 1250\n",
        "Kyoto",
        "there is no audience \"nobody\"",
    ] {
        assert!(said.contains(expected), "no {expected:?} in\n{said}{error}");
    }
    let contains = said.lines().find(|line| line.starts_with("contains 1, 2, 9999: ")).unwrap();
    let digits: String = contains[20..].chars().filter(char::is_ascii_digit).collect();
    assert_eq!(digits, "100", "{contains}");
}

#[test]
fn python() {
    if !goes("python3", &["-c", "import redis"]) {
        return skipped("Python", "redis-py is not installed (PyPI: redis)");
    }
    runs(Command::new("python3").arg(example("python.py")));
}

#[test]
fn node() {
    let modules = libraries("node").join("node_modules");
    if !goes("node", &["--version"]) || !modules.join("redis").is_dir() {
        return skipped("Node", "node, or npm's redis in target/clients/node, is not there");
    }
    // Node looks for modules beside the file that asks for them.
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(modules, directory.path().join("node_modules")).unwrap();
    std::fs::copy(example("node.mjs"), directory.path().join("node.mjs")).unwrap();
    runs(Command::new("node").arg(directory.path().join("node.mjs")));
}

#[test]
fn java() {
    let jars = libraries("java");
    if !goes("java", &["--version"]) || !jars.is_dir() {
        return skipped("Java", "java, or the jars of Jedis in target/clients/java, are not there");
    }
    runs(Command::new("java").arg("-cp").arg(jars.join("*")).arg(example("Java.java")));
}

#[test]
fn go() {
    let module = libraries("go");
    if !goes("go", &["version"]) || !module.join("go.mod").is_file() {
        return skipped("Go", "go, or a module with go-redis in target/clients/go, is not there");
    }
    let built = tempfile::tempdir().unwrap();
    let (source, program) = (example("go.go"), built.path().join("client"));
    let mut build = Command::new("go");
    build.current_dir(&module).args(["build", "-o"]).args([&program, &source]);
    let built = build.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    runs(&mut Command::new(program));
}

/// Nobody reads a long example, and the page shows those that run.
#[test]
fn examples_are_short_and_those_of_the_page() {
    let page = std::fs::read_to_string(repository().join("docs/CLIENTS.md")).unwrap();
    for (name, language) in
        [("python.py", "python"), ("node.mjs", "js"), ("Java.java", "java"), ("go.go", "go")]
    {
        let text = std::fs::read_to_string(example(name)).unwrap();
        let lines = text.lines().count();
        assert!(lines <= 60, "{name} has {lines} lines");
        assert!(page.contains(&format!("```{language}\n{text}```\n")), "docs/CLIENTS.md has another {name}");
    }
}
