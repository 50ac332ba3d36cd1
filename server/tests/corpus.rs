//! Replays the corpus of the fuzz target `requests`; see fuzz/README.md.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "../../fuzz/bodies/requests.rs"]
mod requests;

#[test]
fn the_corpus_is_survived() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/requests");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 5, "the corpus is gone");
    for file in files {
        println!("{}", file.display());
        requests::run(&std::fs::read(file).unwrap());
    }
}
