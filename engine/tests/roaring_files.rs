//! Portable Roaring files of real sets: read, stored, combined pair by pair, written back and agreed with.
//!
//! The files and the expected cardinalities (made by CRoaring and by sets of another language) are not in the
//! repository: MUSTER_DATA, or `../shared/data` beside it. Absent, the tests say so and pass.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::batch::{Batch, ColumnBatch, ColumnValues, Place, RowSource, Strings};
use muster_engine::control::Cancel;
use muster_engine::database::Mode;
use muster_engine::exec::{Count, Members, Scope, evaluate};
use muster_engine::schema::{ColumnId, ColumnSpec, DataType, TableId, TableSpec};
use muster_engine::{Database, Error, Predicate, Snapshot};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

const CHUNK: u32 = 65_536;

fn real_data(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let directory = std::env::var_os("MUSTER_DATA").map_or(beside, PathBuf::from).join(folder);
    if !directory.exists() {
        eprintln!(
            "SKIPPED: {} is absent; set MUSTER_DATA to the directory of the real data",
            directory.display()
        );
        return None;
    }
    Some(directory)
}

/// The files of a ZIP archive by name: as much of the format (APPNOTE 6.3, 4.3.7 and 4.3.12) as these archives use.
fn unzipped(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let archive = std::fs::read(path).unwrap();
    let u16_at = |at: usize| usize::from(u16::from_le_bytes(archive[at..at + 2].try_into().unwrap()));
    let u32_at = |at: usize| u32::from_le_bytes(archive[at..at + 4].try_into().unwrap()) as usize;
    let end = archive.windows(4).rposition(|window| window == b"PK\x05\x06").unwrap();
    let (count, mut at) = (u16_at(end + 10), u32_at(end + 16));
    let mut files = BTreeMap::new();
    for _ in 0..count {
        assert_eq!(archive[at..at + 4], *b"PK\x01\x02", "a file header at {at}");
        let (method, packed_bytes, bytes) = (u16_at(at + 10), u32_at(at + 20), u32_at(at + 24));
        let (name_bytes, local) = (u16_at(at + 28), u32_at(at + 42));
        let name = String::from_utf8(archive[at + 46..at + 46 + name_bytes].to_vec()).unwrap();
        let start = local + 30 + u16_at(local + 26) + u16_at(local + 28);
        let packed = &archive[start..start + packed_bytes];
        let mut content = Vec::with_capacity(bytes);
        match method {
            0 => content.extend_from_slice(packed),
            8 => drop(flate2::read::DeflateDecoder::new(packed).read_to_end(&mut content).unwrap()),
            other => panic!("{name}: compression method {other}"),
        }
        assert_eq!(content.len(), bytes, "{name}");
        files.insert(name, content);
        at += 46 + name_bytes + u16_at(at + 30) + u16_at(at + 32);
    }
    files
}

/// The rows of a CSV file without quotes, after its header.
fn csv(path: &Path, header: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with(header), "{}", path.display());
    lines.map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// A table whose row numbers are the ids: all sets as tags of one column, and some as booleans too.
struct Stored {
    // Dropped first, while the database is open.
    snapshot: Snapshot,
    table: TableId,
    booleans: Vec<usize>,
    _database: Database,
    _directory: tempfile::TempDir,
}

struct Chunks<'a> {
    sets: &'a [RoaringBitmap],
    booleans: &'a [usize],
    names: Strings,
    rows: u32,
    next: u32,
}

impl RowSource for Chunks<'_> {
    fn next(&mut self) -> Result<Option<Batch>, Error> {
        let rows = self.next..self.rows.min(self.next + CHUNK);
        self.next = rows.end;
        if rows.is_empty() {
            return Ok(None);
        }
        // (row, set) in the order of rows, as the lists of tags want it.
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for (number, set) in self.sets.iter().enumerate() {
            pairs.extend(set.range(rows.clone()).map(|id| (id - rows.start, number as u32)));
        }
        pairs.sort_unstable();
        let (mut ends, mut tags) = (Vec::with_capacity(rows.len()), Vec::with_capacity(pairs.len()));
        let mut pairs = pairs.into_iter().peekable();
        for row in 0..rows.len() as u32 {
            while let Some((_, tag)) = pairs.next_if(|pair| pair.0 == row) {
                tags.push(tag);
            }
            ends.push(tags.len() as u32);
        }
        let tags = ColumnValues::Tags { ends, tags, dictionary: self.names.clone() };
        let mut columns = vec![ColumnBatch { values: tags, nulls: None }];
        for number in self.booleans {
            let mut values = vec![false; rows.len()];
            self.sets[*number].range(rows.clone()).for_each(|id| values[(id - rows.start) as usize] = true);
            columns.push(ColumnBatch { values: ColumnValues::Boolean(values), nulls: None });
        }
        Ok(Some(Batch { rows: rows.len(), columns }))
    }

    fn place(&self, _: u64) -> Option<Place> {
        None
    }

    fn progress(&self) -> (Option<u64>, f64) {
        (None, 0.0)
    }
}

impl Stored {
    fn of(sets: &[RoaringBitmap], booleans: Vec<usize>) -> Stored {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
        let mut names = Strings::default();
        (0..sets.len()).for_each(|number| names.push(&format!("s{number}")));
        let mut specs =
            vec![ColumnSpec { name: "sets".into(), data_type: DataType::TextArray, nullable: false }];
        specs.extend(booleans.iter().map(|number| ColumnSpec {
            name: format!("s{number}"),
            data_type: DataType::Boolean,
            nullable: false,
        }));
        let rows = sets.iter().filter_map(RoaringBitmap::max).max().unwrap() + 1;
        let mut source = Chunks { sets, booleans: &booleans, names, rows, next: 0 };
        database
            .create_and_import(
                &TableSpec::new("t", &specs, None),
                &mut source,
                &Cancel::default(),
                &mut |_| {},
            )
            .unwrap();
        let snapshot = database.snapshot();
        let table = snapshot.table_named("t").unwrap().id;
        Stored { snapshot, table, booleans, _database: database, _directory: directory }
    }

    /// Set `number` as a tag.
    fn tag(&self, number: usize) -> Predicate {
        Predicate::has_tag(ColumnId::FIRST, format!("s{number}"))
    }

    /// Set `number` as a boolean, where it is stored as one too.
    fn boolean(&self, number: usize) -> Option<Predicate> {
        let index = self.booleans.iter().position(|stored| *stored == number)?;
        Some(Predicate::IsTrue(ColumnId(ColumnId::FIRST.0 + 1 + index as u32)))
    }

    fn count(&self, predicate: &Predicate) -> u64 {
        let (scope, cancel) = (Scope::default(), Cancel::default());
        evaluate(&self.snapshot, self.table, predicate, &scope, &cancel, &Count).unwrap().0
    }

    /// The members, written as a portable Roaring file and read again.
    fn written_and_read(&self, predicate: &Predicate) -> RoaringBitmap {
        let (scope, cancel) = (Scope::default(), Cancel::default());
        let members = evaluate(&self.snapshot, self.table, predicate, &scope, &cancel, &Members).unwrap().0;
        let read = RoaringBitmap::deserialize_from(&written(members.clone())[..]).unwrap();
        assert_eq!(read, members, "{predicate:?}");
        read
    }
}

/// A portable Roaring file, with runs where they are smaller.
fn written(mut set: RoaringBitmap) -> Vec<u8> {
    set.optimize();
    let mut bytes = Vec::with_capacity(set.serialized_size());
    set.serialize_into(&mut bytes).unwrap();
    bytes
}

/// AND, OR, AND NOT and XOR of two sets, in the order of pairs.csv.
fn combined(a: &Predicate, b: &Predicate) -> [Predicate; 4] {
    let but = |a: &Predicate, b: &Predicate| a.clone().and(b.clone().not());
    [a.clone().and(b.clone()), a.clone().or(b.clone()), but(a, b), but(a, b).or(but(b, a))]
}

/// Pair by pair: what is stored of `name`'s sets agrees with the expectations; every `members_each`th pair is compared
/// member by member too.
fn agree_pair_by_pair(name: &str, booleans: usize, members_each: usize) {
    let Some(directory) = real_data("bitmaps") else { return };
    let files = unzipped(&directory.join(format!("{name}.roaring.zip")));
    let mut sets = Vec::new();
    for row in csv(&directory.join(format!("{name}.sets.csv")), "set,listed,cardinality,min,max,sum") {
        let file = &files[&format!("{name}.{}.bin", row[0])];
        let set = RoaringBitmap::deserialize_from(&file[..]).unwrap();
        assert_eq!(row[0], sets.len().to_string(), "sets are numbered in order");
        assert_eq!(set.len().to_string(), row[2], "cardinality of set {}", row[0]);
        assert_eq!(set.min().unwrap().to_string(), row[3], "least id of set {}", row[0]);
        assert_eq!(set.max().unwrap().to_string(), row[4], "greatest id of set {}", row[0]);
        assert_eq!(set.iter().map(u64::from).sum::<u64>().to_string(), row[5], "sum of set {}", row[0]);
        sets.push(set);
    }
    assert_eq!(sets.len(), files.len());

    // As booleans: neighbours, so that there are pairs of them, beginning where the sets are largest.
    let largest = (0..sets.len() - booleans).max_by_key(|number| sets[*number].len()).unwrap();
    let stored = Stored::of(&sets, (largest..largest + booleans).collect());
    for (number, set) in sets.iter().enumerate() {
        let members = stored.written_and_read(&stored.tag(number));
        assert!(members == *set, "set {number} as a tag");
        assert_eq!(written(members), files[&format!("{name}.{number}.bin")], "the file of set {number}");
        if let Some(boolean) = stored.boolean(number) {
            assert!(stored.written_and_read(&boolean) == *set, "set {number} as a boolean");
        }
    }

    let pairs = csv(&directory.join(format!("{name}.pairs.csv")), "a,b,and,or,a_andnot_b,xor");
    let (mut counted, mut by_members, mut as_booleans) = (0, 0, 0);
    for (number, row) in pairs.iter().enumerate() {
        let figures: Vec<u64> = row.iter().map(|figure| figure.parse().unwrap()).collect();
        let (a, b) = (figures[0] as usize, figures[1] as usize);
        let questions = combined(&stored.tag(a), &stored.tag(b));
        for (question, expected) in questions.iter().zip(&figures[2..]) {
            assert_eq!(stored.count(question), *expected, "{name}, {question:?}");
            counted += 1;
        }
        if let (Some(boolean_a), Some(boolean_b)) = (stored.boolean(a), stored.boolean(b)) {
            // A boolean with a boolean, and a boolean with a tag.
            for other in [boolean_b, stored.tag(b)] {
                for (question, expected) in combined(&boolean_a, &other).iter().zip(&figures[2..]) {
                    assert_eq!(stored.count(question), *expected, "{name}, {question:?}");
                }
            }
            as_booleans += 1;
        }
        if number % members_each == 0 {
            let (a, b) = (&sets[a], &sets[b]);
            for (question, expected) in questions.iter().zip([a & b, a | b, a - b, a ^ b]) {
                assert!(stored.written_and_read(question) == expected, "{name}, members of {question:?}");
            }
            by_members += 1;
        }
    }
    println!(
        "{name}: {} sets, {counted} combinations of {} pairs counted, {by_members} pairs member by member, \
         {as_booleans} as booleans",
        sets.len(),
        pairs.len()
    );
}

#[test]
fn sets_of_the_census_of_1881_agree_pair_by_pair() {
    agree_pair_by_pair("census1881", 8, 1);
}

/// Ids go up to 33 million: five hundred chunks, nearly all empty.
#[test]
fn sets_of_the_census_of_2000_agree_pair_by_pair() {
    agree_pair_by_pair("uscensus2000", 1, 4);
}

#[test]
fn the_format_specifications_files_are_read_stored_and_written() {
    let Some(directory) = real_data("roaring_format") else { return };
    let thousands = (0..100_000).step_by(1000);
    let threes = (100_000..200_000).map(|k| 3 * k);
    let expected: RoaringBitmap = thousands.chain(threes).chain(700_000..800_000).collect();
    assert_eq!(expected.len(), 200_100);
    for (file, runs) in [("bitmapwithruns.bin", true), ("bitmapwithoutruns.bin", false)] {
        let bytes = std::fs::read(directory.join(file)).unwrap();
        let read = RoaringBitmap::deserialize_from(&bytes[..]).unwrap();
        assert!(read == expected, "{file}");
        let stored = Stored::of(&[read], vec![0]);
        for predicate in [stored.tag(0), stored.boolean(0).unwrap()] {
            assert_eq!(stored.count(&predicate), expected.len(), "{file}");
            assert_eq!(stored.count(&predicate.clone().not()), 800_000 - expected.len(), "{file}");
            let mut members = stored.written_and_read(&predicate);
            assert!(members == expected, "{file}");
            if runs {
                assert_eq!(written(members), bytes, "{file}");
            } else {
                members.remove_run_compression();
                let mut plain = Vec::new();
                members.serialize_into(&mut plain).unwrap();
                assert_eq!(plain, bytes, "{file}");
            }
        }
    }
}
