//! The shell at a pseudo-terminal: keys go in, and what stands on the screen is read back from an emulator.

use super::{people, text};
use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take; a test that fails waits as long.
const PATIENCE: Duration = Duration::from_secs(60);
const ROWS: NonZero<u16> = NonZero::new(24).unwrap();
const COLUMNS: NonZero<u16> = NonZero::new(80).unwrap();

/// A shell with its keyboard and its screen.
struct Terminal {
    keyboard: Arc<pty_process::blocking::Pty>,
    screen: Arc<(Mutex<vt100::Parser>, Condvar)>,
    shell: Child,
}

impl Terminal {
    /// Starts `muster shell` in a directory and waits for its prompt.
    fn start(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Terminal {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(ROWS.get(), COLUMNS.get())).unwrap();
        let shell = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(["shell", "db"])
            .args(arguments)
            .current_dir(directory)
            .env("HOME", directory)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("XDG_STATE_HOME")
            .env_remove("MUSTER_HISTORY")
            .env("MUSTER_PAGER", "")
            .envs(environment.iter().copied())
            .spawn(pts)
            .unwrap();
        let keyboard = Arc::new(pty);
        let screen = Arc::new((Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)), Condvar::new()));
        let (output, shown) = (Arc::clone(&keyboard), Arc::clone(&screen));
        std::thread::spawn(move || show(&output, &shown));
        let terminal = Terminal { keyboard, screen, shell };
        terminal.until("the first prompt", |lines| lines.iter().any(|line| line.starts_with("muster>")));
        terminal
    }

    fn press(&self, keys: &str) {
        (&*self.keyboard).write_all(keys.as_bytes()).unwrap();
        // What is typed while the shell turns to its prompt can be lost: a user sees it and types again.
        let typed: String = keys.chars().take_while(|key| !key.is_control()).take(16).collect();
        if typed.len() < 4 {
            return;
        }
        for _ in 0..5 {
            let end = Instant::now() + Duration::from_secs(3);
            while Instant::now() < end {
                if self.shows(typed.trim_end()) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            (&*self.keyboard).write_all(keys.as_bytes()).unwrap();
        }
    }

    /// True where a line of the screen contains a text now.
    fn shows(&self, wanted: &str) -> bool {
        let parser = self.screen.0.lock().unwrap();
        parser.screen().rows(0, COLUMNS.get()).any(|line| line.contains(wanted))
    }

    /// Waits until the lines of the screen are as they should be, and returns them.
    fn until(&self, what: &str, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
        let (parser, changed) = &*self.screen;
        let end = Instant::now() + PATIENCE;
        let mut parser = parser.lock().unwrap();
        loop {
            let lines: Vec<String> =
                parser.screen().rows(0, COLUMNS.get()).map(|line| line.trim_end().to_owned()).collect();
            if holds(&lines) {
                return lines;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}:\n{}", lines.join("\n"));
            parser = changed.wait_timeout(parser, left.min(Duration::from_millis(100))).unwrap().0;
        }
    }

    /// Waits until a line of the screen contains a text.
    fn sees(&self, wanted: &str) -> Vec<String> {
        self.until(wanted, |lines| lines.iter().any(|line| line.contains(wanted)))
    }

    /// Waits until the shell asks for the next statement.
    fn prompt(&self) {
        self.until("a prompt", |lines| {
            lines.iter().rfind(|line| !line.is_empty()).is_some_and(|l| l == "muster>")
        });
    }

    /// Clears the line, and the menu before it, by Ctrl-C. A key that comes before the next prompt would be lost.
    fn clear(&self) {
        self.press("\u{3}");
        self.prompt();
    }

    /// Leaves by Ctrl-D, and expects success.
    fn leave(mut self) {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            // A key that comes while the shell turns to its prompt can be lost.
            let _ = (&*self.keyboard).write_all(b"\x04");
            std::thread::sleep(Duration::from_millis(200));
            match self.shell.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < end, "the shell does not leave"),
            }
        };
        assert!(status.success(), "{status}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Shows what the shell writes, and answers what it asks of a terminal: where the cursor is.
fn show(mut output: &pty_process::blocking::Pty, screen: &(Mutex<vt100::Parser>, Condvar)) {
    let mut bytes = [0; 4096];
    let mut asked = Vec::new();
    // A closed terminal is an error to its other end: the shell has left.
    while let Ok(length @ 1..) = output.read(&mut bytes) {
        let mut parser = screen.0.lock().unwrap();
        for byte in &bytes[..length] {
            parser.process(&[*byte]);
            asked.push(*byte);
            if asked.ends_with(b"\x1b[6n") {
                let (row, column) = parser.screen().cursor_position();
                let _ = output.write_all(format!("\x1b[{};{}R", row + 1, column + 1).as_bytes());
            }
        }
        asked.drain(..asked.len().saturating_sub(8));
        screen.1.notify_all();
    }
}

#[test]
fn statements_are_typed_over_several_lines_and_completed() {
    let people = people();
    let terminal = Terminal::start(people.path(), &[], &[]);
    terminal.press("SELECT count(*)\r");
    terminal.sees("     ->");
    terminal.press("FROM peo\t");
    terminal.sees("-> FROM people");
    terminal.press(" WHERE spe\t");
    terminal.sees("WHERE spend");
    terminal.press(" IS NOT NULL AND city = 'K\t");
    terminal.sees("city = 'Kyoto'");
    terminal.press(";\r");
    terminal.sees("(1 row, ");
    terminal.prompt();
    // Several candidates are a menu: the columns of the table that the statement names.
    terminal.press("SELECT  FROM people;");
    terminal.press(&"\u{1b}[D".repeat(13));
    terminal.press("\t");
    let lines = terminal.sees("born");
    assert!(lines.iter().any(|line| line.contains("spend") && line.contains("DECIMAL(12,2)")), "{lines:#?}");
    terminal.clear();
    terminal.leave();
}

#[test]
fn errors_leave_the_shell_alive_and_history_goes_on_in_the_next_one() {
    let people = people();
    let terminal = Terminal::start(people.path(), &[], &[]);
    terminal.press("SELECT cty FROM people;\r");
    terminal.sees("did you mean \"city\"?");
    terminal.sees("       ^^^");
    terminal.prompt();
    terminal.press("\\d people\r");
    terminal.sees("Table people: 4 rows, key id");
    terminal.prompt();
    terminal.leave();
    let kept = people.path().join(".local/state/muster/history");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "SELECT cty FROM people;\n\\d people\n");

    let terminal = Terminal::start(people.path(), &[], &[]);
    terminal.press("\u{1b}[A");
    terminal.sees("muster> \\d people");
    terminal.clear();
    terminal.leave();

    let forgetful = Terminal::start(people.path(), &["--no-history"], &[]);
    forgetful.press("\\x on\r");
    forgetful.sees("A line per column.");
    forgetful.leave();
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "SELECT cty FROM people;\n\\d people\n");

    // A history that cannot be written is done without.
    let nowhere = Terminal::start(people.path(), &[], &[("MUSTER_HISTORY", "/dev/null/no/history")]);
    nowhere.press("SELECT count(*) FROM people;\r");
    nowhere.sees("(1 row, ");
    nowhere.prompt();
    nowhere.leave();
}

/// A password is on the screen while it is typed, and in no file: neither of a statement that was executed nor of one that
/// was refused.
#[test]
fn history_keeps_no_password() {
    let people = people();
    let terminal = Terminal::start(people.path(), &[], &[]);
    terminal.press("CREATE USER ada PASSWORD 'hush hush' ROLE admin;\r");
    terminal.sees("CREATE USER");
    terminal.prompt();
    terminal.press("ALTER USER zoe PASSWORD 'hush hush';\r");
    terminal.sees("unknown user \"zoe\"");
    terminal.prompt();
    terminal.leave();
    let kept = people.path().join(".local/state/muster/history");
    assert_eq!(
        std::fs::read_to_string(&kept).unwrap(),
        "CREATE USER ada PASSWORD '***' ROLE admin;\nALTER USER zoe PASSWORD '***';\n"
    );
}

#[test]
fn ctrl_c_stops_what_runs_and_not_the_shell() {
    let people = people();
    let terminal = Terminal::start(people.path(), &[], &[]);
    terminal.press("SELECT count(*) FROM people;\\watch 0.05\r");
    terminal.sees("UTC, every 0.05 s");
    terminal.press("\u{3}");
    terminal.prompt();
    // Half a statement is dropped, and the shell still answers.
    terminal.press("SELECT nonsense");
    terminal.sees("SELECT nonsense");
    terminal.clear();
    terminal.press("SELECT id FROM people WHERE city = '上海';\r");
    terminal.sees("│  4 │");
    terminal.prompt();
    terminal.leave();
}

#[test]
fn ctrl_c_cancels_a_long_statement() {
    let directory = tempfile::tempdir().unwrap();
    let rows = 3_000_000;
    let mut csv = String::from("id,name\n");
    (0..rows).for_each(|id| csv += &format!("{id},member {id}\n"));
    std::fs::write(directory.path().join("m.csv"), csv).unwrap();
    let terminal = Terminal::start(directory.path(), &[], &[]);
    terminal.press("CREATE TABLE m (id BIGINT PRIMARY KEY, name TEXT);\r");
    // Some hundred microseconds or some milliseconds, as the machine has time.
    terminal.until("the time", |lines| lines.iter().any(|line| line.ends_with("s)")));
    terminal.prompt();
    terminal.press("\\copy m from m.csv (header)\r");
    // The bar says that the import runs.
    terminal.sees("importing [");
    terminal.press("\u{3}");
    terminal.sees("cancelled");
    terminal.prompt();
    terminal.press("SELECT count(*) FROM m;\r");
    terminal.sees("│     0 │");
    terminal.prompt();
    terminal.leave();
}

#[test]
fn long_answers_go_through_the_pager_and_wide_ones_are_fitted() {
    let people = people();
    let rows: String = (0..100).map(|id| format!("{id},{}\n", "long text ".repeat(12))).collect();
    std::fs::write(people.path().join("long.csv"), rows).unwrap();
    let terminal = Terminal::start(people.path(), &[], &[("MUSTER_PAGER", "tail -n 3")]);
    terminal.press("CREATE TABLE long (id BIGINT PRIMARY KEY, note TEXT);\\copy long from long.csv\r");
    terminal.sees("COPY 100");
    terminal.prompt();
    terminal.press("SELECT * FROM long ORDER BY id;\r");
    // The pager shows the end, and the table fits: eighty cells, its texts cut.
    let lines = terminal.sees("(100 rows, ");
    assert!(lines.iter().any(|line| line.starts_with("│ 99 ┆ long") && line.ends_with("… │")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("cut to fit; \\x shows all")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("│ 50 ┆")), "{lines:#?}");
    terminal.prompt();
    terminal.press("\\pset pager off\r");
    terminal.sees("The pager is off.");
    terminal.press("SELECT id FROM long ORDER BY id;\r");
    terminal.sees("│ 90 │");
    terminal.prompt();
    terminal.leave();
}

#[test]
fn no_color_is_respected() {
    let people = people();
    let coloured = |environment: &[(&str, &str)]| {
        let terminal = Terminal::start(people.path(), &[], environment);
        terminal.press("SELECT spend FROM people WHERE id = 2;");
        terminal.sees("id = 2;");
        let (parser, _) = &*terminal.screen;
        let screen = parser.lock().unwrap();
        let screen = screen.screen();
        (0..ROWS.get()).any(|row| {
            (0..COLUMNS.get()).any(|column| {
                screen
                    .cell(row, column)
                    .is_some_and(|cell| cell.contents() == "S" && cell.fgcolor() != vt100::Color::Default)
            })
        })
    };
    assert!(coloured(&[]));
    assert!(!coloured(&[("NO_COLOR", "1")]));
    // A pipe has no colours either.
    let output = super::piped(people.path(), &[], "SELECT spend FROM people WHERE id = 2;");
    assert!(!text(&output.stdout).contains('\u{1b}'));
}
