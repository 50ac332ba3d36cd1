//! The file of settings of `muster serve`: what wins over what, what is said of a file that is wrong, and the example in docs.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The server, in a directory of the test's own, on any port.
fn serve(directory: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(["serve", "db"]).args(options).current_dir(directory).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a server says that does not start.
fn refusal(directory: &Path, options: &[&str]) -> String {
    let Output { status, stdout, stderr } = serve(directory, options).output().unwrap();
    assert_eq!((status.code(), text(&stdout).as_str()), (Some(1), ""), "{}", text(&stderr));
    text(&stderr)
}

/// What a server replies to a request, and where it listens.
fn reply(server: &mut Command, request: &str) -> (String, String) {
    let mut process = server.spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    let Some(address) = ready.strip_prefix("ready on ").and_then(|line| line.split(' ').next()) else {
        panic!("{}", text(&process.wait_with_output().unwrap().stderr));
    };
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    (reply, address.to_owned())
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/serve.toml")
}

#[test]
fn a_flag_wins_over_its_variable_over_the_file_over_what_is_built_in() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let database = musterdb::Database::open(directory.join("db")).unwrap();
    database
        .execute_script(
            "CREATE TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3), (4), (5)",
            |_| {},
        )
        .unwrap();
    drop(database);
    std::fs::write(directory.join("m.toml"), "listen = '127.0.0.1:0'\nmax-rows = 1\nread-only = true\n")
        .unwrap();
    let ask = "SQL \"SELECT id FROM t\"\r\n";
    let config = ["--config", "m.toml"];
    let limit = |server: &mut Command| {
        let (reply, _) = reply(server, ask);
        let more = reply.split_once("rows, more than ").unwrap_or_else(|| panic!("{reply}"));
        more.1.split(':').next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(limit(&mut serve(directory, &config)), 1);
    assert_eq!(limit(serve(directory, &config).env("MUSTER_MAX_ROWS", "2")), 2);
    let flag = [&config[..], &["--max-rows", "3"]].concat();
    assert_eq!(limit(serve(directory, &flag).env("MUSTER_MAX_ROWS", "2")), 3);
    assert_eq!(limit(serve(directory, &["--max-rows", "4"]).env("MUSTER_CONFIG", "m.toml")), 4);
    let (answer, _) = reply(&mut serve(directory, &["--listen", "127.0.0.1:0"]), ask);
    assert!(answer.starts_with("*6\r\n"), "{answer}");
    // What is true or false, too.
    let insert = "SQL \"INSERT INTO t VALUES (6)\"\r\n";
    assert!(reply(&mut serve(directory, &config), insert).0.starts_with("-READONLY "));
    let (done, address) = reply(serve(directory, &config).env("MUSTER_READ_ONLY", "false"), insert);
    assert!(done == "+INSERT 0 1\r\n" && address.starts_with("127.0.0.1:"), "{done}");
}

#[test]
fn a_file_that_is_wrong_is_refused_with_its_lines() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for (file, expected) in [
        ("max-client = 5\n", "m.toml:1: there is no setting max-client; did you mean max-clients?"),
        ("\n# a\nmax_rows = 5", "m.toml:3: there is no setting max_rows; did you mean max-rows?"),
        ("tls-crt = 'x'", "m.toml:1: there is no setting tls-crt; did you mean tls-cert?"),
        ("colour = 'red'", "m.toml:1: there is no setting colour; the settings are listen, "),
        ("config = 'm.toml'", "m.toml:1: there is no setting config; "),
        ("directory = 'db'", "m.toml:1: there is no setting directory; "),
        ("\n[tls]\ncert = 'x'", "m.toml:2: there is no setting tls; "),
        ("max-rows = '5'", "m.toml:1: max-rows is a number, and not of the type text"),
        ("max-rows = 5.5", "m.toml:1: max-rows is a number, and not of the type float"),
        ("max-rows = true", "m.toml:1: max-rows is a number, and not of the type boolean"),
        ("max-rows = -1", "m.toml:1: max-rows cannot be \"-1\": "),
        ("max-rows = 'many'", "m.toml:1: max-rows cannot be \"many\": invalid digit"),
        ("read-only = 'yes'", "m.toml:1: read-only is true or false, and not of the type text"),
        ("read-only = 1", "m.toml:1: read-only is true or false, and not of the type integer"),
        ("listen = 7878", "m.toml:1: listen is a text, in quotes, and not of the type integer"),
        ("listen = 'here'", "m.toml:1: listen cannot be \"here\": invalid socket address"),
        ("listen = ['127.0.0.1:1']", "m.toml:1: listen is a text, in quotes, and not of the type array"),
        ("tls-cert = ''", "m.toml:1: tls-cert cannot be \"\""),
        ("max-rows = 5\n\nmax-rows = 6", "m.toml:3: duplicate key"),
        ("max-rows = 5\nlisten = 127.0.0.1", "m.toml:2: "),
    ] {
        std::fs::write(directory.join("m.toml"), file).unwrap();
        let said = refusal(directory, &["--config", "m.toml", "--listen", "127.0.0.1:0"]);
        assert!(said.starts_with(&format!("error: {expected}")), "{file}: {said}");
    }
    // All that is wrong, in the order of the lines.
    std::fs::write(directory.join("m.toml"), "read-only = 1\nmax-rows = 5\ninsecur = true\n").unwrap();
    let said = refusal(directory, &["--config", "m.toml"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("m.toml:1:") && lines[1].contains("m.toml:3:"), "{said}");
    let said = refusal(directory, &["--config", "missing.toml"]);
    assert!(
        said.starts_with("error: the file of settings missing.toml cannot be read: No such file"),
        "{said}"
    );
    assert!(!directory.join("db").exists());
}

#[test]
fn limits_of_nothing_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for limit in ["--max-statements", "--max-clients", "--statement-memory", "--handshake-seconds"] {
        let said = refusal(directory.path(), &[limit, "0", "--listen", "127.0.0.1:0"]);
        assert!(said.contains(limit) && said.contains("at least 1"), "{said}");
    }
}

#[test]
fn paths_begin_where_the_file_is() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("etc");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("m.toml"), "tls-cert = 'server.pem'\ntls-key = '/keys/server.key'\n").unwrap();
    let said = refusal(directory.path(), &["--config", "etc/m.toml"]);
    assert!(said.contains("the certificate etc/server.pem cannot be read"), "{said}");
    std::fs::write(folder.join("server.pem"), "").unwrap();
    let said = refusal(directory.path(), &["--config", "etc/m.toml", "--tls-cert", "other.pem"]);
    assert!(said.contains("the certificate other.pem cannot be read"), "{said}");
}

#[test]
fn the_example_says_all_settings_as_they_are_built_in() {
    let directory = tempfile::tempdir().unwrap();
    let file = example();
    let (said, _) = reply(
        &mut serve(directory.path(), &["--config", file.to_str().unwrap(), "--listen", "127.0.0.1:0"]),
        "PING\r\n",
    );
    assert_eq!(said, "+PONG\r\n");
    let help = text(&serve(directory.path(), &["--help"]).output().unwrap().stdout);
    let example = std::fs::read_to_string(file).unwrap();
    // `  --max-rows <N>`, and further on the line `[default: 1000000]`.
    let mut known = 0;
    for flag in help.split("\n      --").skip(1) {
        let name: String = flag.chars().take_while(|letter| !letter.is_whitespace()).collect();
        if name == "config" {
            continue;
        }
        known += 1;
        let setting = |line: &str| line.strip_prefix(&format!("{name} = ")).map(str::to_owned);
        let built_in = flag.split_once("[default: ").and_then(|(_, rest)| rest.split(']').next());
        match built_in {
            Some(value) => {
                let told = example.lines().find_map(setting);
                let told = told.unwrap_or_else(|| panic!("docs/serve.toml does not say {name} = {value}"));
                assert_eq!(told.replace('_', "").trim_matches('"'), value, "{name} in docs/serve.toml");
            }
            None => assert!(
                example.lines().any(|line| line == format!("{name} = false")
                    || line.strip_prefix("# ").is_some_and(|line| setting(line).is_some())),
                "docs/serve.toml does not say what {name} is"
            ),
        }
    }
    let told = example.lines().filter(|line| {
        let line = line.trim_start_matches("# ");
        line.split_once(" = ")
            .is_some_and(|(name, _)| name.chars().all(|letter| letter == '-' || letter.is_ascii_lowercase()))
    });
    assert_eq!(told.count(), known, "docs/serve.toml says settings that there are not");
}
