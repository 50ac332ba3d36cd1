//! Replays the corpus of the fuzz target `sql`; see fuzz/README.md.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "../../fuzz/bodies/sql.rs"]
mod sql;

#[test]
fn the_corpus_is_survived() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/sql");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort_unstable();
    assert!(files.len() > 5, "the corpus is gone");
    for file in files {
        println!("{}", file.display());
        sql::run(&std::fs::read(&file).unwrap());
    }
}
