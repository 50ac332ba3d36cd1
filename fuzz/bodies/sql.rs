//! Statements of any text get an answer or an error that can be drawn beside them.

use musterdb::Database;
use std::sync::OnceLock;

/// The text as one statement, as an audience, and as a script. The database is open for reading only, and files are
/// forbidden: a fuzzer that may COPY would read and write the machine's.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let database = database();
    let mut session = database.session();
    session.set_now(1_793_000_000_000_000);
    session.forbid_files();
    if let Err(error) = session.execute(text) {
        assert!(!error.render(text).is_empty());
    }
    if let Err(error) = session.audience(text) {
        assert!(!error.render(text).is_empty());
    }
    let _ = musterdb::is_complete(text);
    if let Err(error) = session.execute_script(text, drop) {
        assert!(!error.render(text).is_empty());
    }
}

fn database() -> &'static Database {
    static DATABASE: OnceLock<(tempfile::TempDir, Database)> = OnceLock::new();
    let (_, database) = DATABASE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("t.csv");
        let rows: String = (0..200)
            .map(|i| format!("{i},c{},{}.5,{},2026-01-{:02},\"{{a,t{}}}\",\n", i % 7, i, i % 2 == 0, i % 28 + 1, i % 3))
            .collect();
        std::fs::write(&file, format!("id,city,spend,active,born,tags,score\n{rows}")).expect("space");
        let path = directory.path().join("db");
        let database = Database::open(&path).expect("an empty directory");
        let columns = "id BIGINT PRIMARY KEY, city TEXT, spend DECIMAL(12,2), active BOOLEAN, born DATE, tags TEXT[], \
                       score DOUBLE PRECISION";
        database.execute(&format!("CREATE TABLE t ({columns})")).expect("a new table");
        database.execute(&format!("COPY t FROM '{}' (HEADER)", file.display())).expect("sound rows");
        drop(database);
        (directory, Database::open_read_only(&path).expect("just written"))
    });
    database
}
