//! Replays the corpora of the fuzz targets that read bytes; see fuzz/README.md.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "../../fuzz/bodies/manifest.rs"]
mod manifest;
#[path = "../../fuzz/bodies/part_reader.rs"]
mod part_reader;
#[path = "../../fuzz/bodies/sets_section.rs"]
mod sets_section;
#[path = "../../fuzz/bodies/wal.rs"]
mod wal;

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
fn part_readers_survive_their_corpus() {
    replay("part_reader", part_reader::run);
}

#[test]
fn manifests_survive_their_corpus() {
    replay("manifest", manifest::run);
}

#[test]
fn sets_sections_survive_their_corpus() {
    replay("sets_section", sets_section::run);
}

#[test]
fn logs_survive_their_corpus() {
    replay("wal", wal::run);
}

/// The target's own claim, for every byte: no single change of a part is read without an error.
#[test]
fn every_changed_byte_of_a_part_is_noticed() {
    for at in 0..2000u16 {
        for mask in [1, 0x80, 0xff] {
            let [low, high] = at.to_le_bytes();
            part_reader::run(&[0, low, high, mask]);
        }
    }
}

/// Likewise of a log that was closed, and of one whose process died.
#[test]
fn every_changed_byte_of_a_log_is_noticed() {
    for at in 0..1500u16 {
        for mode in [0, 2] {
            let [low, high] = at.to_le_bytes();
            wal::run(&[mode, low, high, 0x10]);
        }
    }
}
