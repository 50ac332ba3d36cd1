//! Replays the corpora of the fuzz targets of the engine; see fuzz/README.md.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "../../fuzz/bodies/catalog.rs"]
mod catalog;
#[path = "../../fuzz/bodies/chunk_operations.rs"]
mod chunk_operations;
#[path = "../../fuzz/bodies/csv.rs"]
mod csv;
#[path = "../../fuzz/bodies/database.rs"]
mod database;
#[path = "../../fuzz/bodies/jsonl.rs"]
mod jsonl;
#[path = "../../fuzz/bodies/patch.rs"]
mod patch;

fn replay(target: &str, run: fn(&[u8])) {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort_unstable();
    assert!(files.len() > 5, "the corpus of {target} is gone");
    for file in files {
        println!("{}", file.display());
        run(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn csv_survives_its_corpus() {
    replay("csv", csv::run);
}

#[test]
fn catalogs_survive_their_corpus() {
    replay("catalog", catalog::run);
}

#[test]
fn json_lines_survive_their_corpus() {
    replay("jsonl", jsonl::run);
}

#[test]
fn chunk_operations_survive_their_corpus() {
    replay("chunk_operations", chunk_operations::run);
}

#[test]
fn patches_survive_their_corpus() {
    replay("patch", patch::run);
}

#[test]
fn databases_survive_their_corpus() {
    replay("database", database::run);
}
