//! Sets, ranks and ranges at the sizes where a layout ends and another begins.
//!
//! Deterministic: Roaring bitmaps and sorted vectors say what the answers are.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use muster_engine::batch::{Batch, ColumnBatch, ColumnValues, Place, RowSource, Strings};
use muster_engine::control::Cancel;
use muster_engine::database::Mode;
use muster_engine::exec::{
    Aggregate, Count, First, Groups, Members, OrderBy, Scope, Sink, Top, evaluate, project,
};
use muster_engine::predicate::{CompareOp, Predicate};
use muster_engine::schema::{ColumnId, ColumnSpec, DataType, TableId, TableSpec};
use muster_engine::value::Value;
use muster_engine::{Database, Snapshot};
use roaring::RoaringBitmap;

const CHUNK: u32 = 65_536;
const SIZES: [u32; 10] = [0, 1, 1023, 1024, 1025, 4095, 4096, 4097, 65_535, 65_536];

/// Batches made one by one from their number.
struct Made<F> {
    next: u32,
    batches: u32,
    make: F,
}

impl<F: Fn(u32) -> Batch + Send> RowSource for Made<F> {
    fn next(&mut self) -> Result<Option<Batch>, muster_engine::Error> {
        let number = self.next;
        self.next += 1;
        Ok((number < self.batches).then(|| (self.make)(number)))
    }

    fn place(&self, _: u64) -> Option<Place> {
        None
    }

    fn progress(&self) -> (Option<u64>, f64) {
        (None, 0.0)
    }
}

struct Imported {
    // Dropped last, when the database is closed.
    snapshot: Snapshot,
    table: TableId,
    _database: Database,
    _directory: tempfile::TempDir,
}

fn imported(
    columns: &[DataType],
    nullable: bool,
    batches: u32,
    make: impl Fn(u32) -> Batch + Send,
) -> Imported {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(directory.path(), Mode::ReadWrite).unwrap();
    let specs: Vec<ColumnSpec> = (columns.iter().enumerate())
        .map(|(i, data_type)| ColumnSpec { name: format!("c{i}"), data_type: *data_type, nullable })
        .collect();
    let mut source = Made { next: 0, batches, make };
    database
        .create_and_import(&TableSpec::new("t", &specs, None), &mut source, &Cancel::default(), &mut |_| {})
        .unwrap();
    let snapshot = database.snapshot();
    let table = snapshot.table_named("t").unwrap().id;
    Imported { snapshot, table, _database: database, _directory: directory }
}

impl Imported {
    fn ask<S: Sink>(&self, predicate: &Predicate, scope: &Scope, sink: &S) -> S::Output {
        evaluate(&self.snapshot, self.table, predicate, scope, &Cancel::default(), sink)
            .unwrap_or_else(|error| panic!("{predicate:?}: {error}"))
            .0
    }

    fn count(&self, predicate: &Predicate) -> u64 {
        self.ask(predicate, &Scope::default(), &Count)
    }

    fn members(&self, predicate: &Predicate) -> RoaringBitmap {
        self.ask(predicate, &Scope::default(), &Members)
    }

    fn assert_members(&self, predicate: &Predicate, expected: &RoaringBitmap) {
        assert_eq!(self.count(predicate), expected.len(), "count of {predicate:?}");
        let members = self.members(predicate);
        let (extra, missing) = (&members - expected, expected - &members);
        assert!(
            members == *expected,
            "{predicate:?}: {} too many from {:?}, {} missing from {:?}",
            extra.len(),
            extra.min(),
            missing.len(),
            missing.min()
        );
    }
}

fn column(i: usize) -> ColumnId {
    ColumnId(ColumnId::FIRST.0 + i as u32)
}

/// How a set of a given size lies in its chunk.
#[derive(Clone, Copy, Debug)]
enum Lay {
    First,
    Last,
    Spread,
}

/// The set number `i` over two chunks: each has another size.
fn set(i: usize, lay: Lay) -> RoaringBitmap {
    let mut set = RoaringBitmap::new();
    for (chunk, size) in [(0, SIZES[i]), (1, SIZES[(i + 3) % SIZES.len()])] {
        let first = chunk * CHUNK;
        match lay {
            Lay::First => drop(set.insert_range(first..first + size)),
            Lay::Last => drop(set.insert_range(first + CHUNK - size..first + CHUNK)),
            // An odd factor permutes the chunk.
            Lay::Spread => set.extend((0..size).map(|k| first + k.wrapping_mul(40_503) % CHUNK)),
        }
    }
    set
}

fn booleans(set: &RoaringBitmap, rows: std::ops::Range<u32>) -> ColumnBatch {
    ColumnBatch { values: ColumnValues::Boolean(rows.map(|row| set.contains(row)).collect()), nulls: None }
}

fn dictionary(entries: &[&str]) -> Strings {
    let mut strings = Strings::default();
    entries.iter().for_each(|entry| strings.push(entry));
    strings
}

#[test]
fn sets_of_every_boundary_size_combine_in_pairs() {
    let lays = [Lay::First, Lay::Last, Lay::Spread];
    let mut sets = Vec::new();
    for i in 0..SIZES.len() {
        lays.iter().for_each(|lay| sets.push(set(i, *lay)));
    }
    // Columns: the sets as booleans, then the spread ones as the value of a text, as a tag, and as NULL.
    let spread: Vec<RoaringBitmap> = (0..SIZES.len()).map(|i| set(i, Lay::Spread)).collect();
    let mut types = vec![DataType::Boolean; sets.len()];
    types.extend(vec![DataType::Text; SIZES.len()]);
    types.extend(vec![DataType::TextArray; SIZES.len()]);
    types.extend(vec![DataType::Integer; SIZES.len()]);
    let make = |number: u32| {
        // Four batches of half a chunk.
        let rows = number * CHUNK / 2..(number + 1) * CHUNK / 2;
        let mut columns: Vec<ColumnBatch> = sets.iter().map(|set| booleans(set, rows.clone())).collect();
        columns.extend(spread.iter().map(|set| ColumnBatch {
            values: ColumnValues::TextDictionary {
                codes: rows.clone().map(|row| u32::from(set.contains(row))).collect(),
                dictionary: dictionary(&["out", "in"]),
            },
            nulls: None,
        }));
        columns.extend(spread.iter().map(|set| {
            let (mut ends, mut tags) = (Vec::new(), Vec::new());
            for row in rows.clone() {
                tags.extend(set.contains(row).then_some(1));
                tags.extend(row.is_multiple_of(2).then_some(0));
                ends.push(tags.len() as u32);
            }
            ColumnBatch {
                values: ColumnValues::Tags { ends, tags, dictionary: dictionary(&["even", "in"]) },
                nulls: None,
            }
        }));
        columns.extend(spread.iter().map(|set| ColumnBatch {
            values: ColumnValues::Code(rows.clone().map(|row| i64::from(row % 100)).collect()),
            nulls: Some(rows.clone().map(|row| set.contains(row)).collect()),
        }));
        Batch { rows: rows.len(), columns }
    };
    let imported = imported(&types, true, 4, make);
    let everyone: RoaringBitmap = (0..2 * CHUNK).collect();

    let mut leaves: Vec<(Predicate, &RoaringBitmap)> = Vec::new();
    leaves.extend(sets.iter().enumerate().map(|(i, set)| (Predicate::IsTrue(column(i)), set)));
    for (i, set) in spread.iter().enumerate() {
        let text = column(sets.len() + i);
        leaves.push((Predicate::compare(text, CompareOp::Eq, Value::Text("in".into())), set));
        leaves.push((Predicate::has_tag(column(sets.len() + SIZES.len() + i), "in"), set));
        leaves.push((Predicate::IsNull(column(sets.len() + 2 * SIZES.len() + i)), set));
    }
    for (predicate, set) in &leaves {
        imported.assert_members(predicate, set);
        imported.assert_members(&predicate.clone().not(), &(&everyone - *set));
    }
    for (i, (a, a_set)) in leaves.iter().enumerate() {
        for (b, b_set) in &leaves[i..] {
            let and = a.clone().and(b.clone());
            assert_eq!(imported.count(&and), a_set.intersection_len(b_set), "{and:?}");
            let or = a.clone().or(b.clone());
            assert_eq!(imported.count(&or), a_set.union_len(b_set), "{or:?}");
            let but = a.clone().and(b.clone().not());
            assert_eq!(imported.count(&but), a_set.difference_len(b_set), "{but:?}");
            let neither = a.clone().not().and(b.clone().not());
            assert_eq!(imported.count(&neither), everyone.len() - a_set.union_len(b_set), "{neither:?}");
        }
    }
    // Three at a time, with the bitmaps and not only the counts.
    for (i, (a, a_set)) in leaves.iter().enumerate() {
        let (b, b_set) = &leaves[(i * 7 + 3) % leaves.len()];
        let (c, c_set) = &leaves[(i * 13 + 5) % leaves.len()];
        let all = a.clone().or(b.clone()).and(c.clone().not());
        imported.assert_members(&all, &((*a_set | *b_set) - *c_set));
        let any = a.clone().and(b.clone().not()).or(c.clone());
        imported.assert_members(&any, &((*a_set - *b_set) | *c_set));
        imported.assert_members(&any.clone().not(), &(&everyone - ((*a_set - *b_set) | *c_set)));
    }
}

/// The value of rank `rank` in column `shape`: ascending, for some with repetitions.
fn value_of(shape: usize, rank: u32) -> i64 {
    let rank = i64::from(rank);
    match shape {
        0 => rank,
        // A common divisor, and a base before 1970.
        1 => -1_000_000_000_000 + rank * 86_400_000_000,
        2 => rank / 100,
        3 => 42,
        4 => i64::from(rank >= 16) * 7 - 3,
        // The whole domain.
        5 => i64::MIN.wrapping_add(rank.wrapping_mul(i64::MAX / 32_768)),
        _ => rank * rank,
    }
}

#[test]
fn ranks_at_both_ends_of_numeric_chunks() {
    const SHAPES: usize = 7;
    let sizes = [0, 1, 2, 15, 16, 17, 1023, 1024, 1025, 4095, 4096, 4097, 32_768, 65_535, 65_536_u32];
    // A chunk for each number of values; the other rows are NULL.
    let row_rank = |row: u32| row.wrapping_mul(40_503) % CHUNK;
    let make = |chunk: u32| {
        let present = |row: u32| row_rank(row) < sizes[chunk as usize];
        let column = |shape: usize| ColumnBatch {
            values: ColumnValues::Code(
                (0..CHUNK).map(|row| if present(row) { value_of(shape, row_rank(row)) } else { 0 }).collect(),
            ),
            nulls: Some((0..CHUNK).map(|row| !present(row)).collect()),
        };
        Batch { rows: CHUNK as usize, columns: (0..SHAPES).map(column).collect() }
    };
    let imported = imported(&[DataType::BigInt; SHAPES], true, sizes.len() as u32, make);
    for (chunk, size) in sizes.iter().copied().enumerate() {
        let scope = Scope { chunks: Some(chunk as u32..chunk as u32 + 1), mask: None };
        let mut ranks: Vec<u32> = [0, 1, 14, 15, 16, 17, 1023, 1024, 1025, 4095, 4096, size / 2].into();
        ranks.extend((1..=17).map(|back| size.wrapping_sub(back)));
        for (shape, rank) in (0..SHAPES).flat_map(|shape| ranks.iter().map(move |rank| (shape, *rank))) {
            if rank >= size {
                continue;
            }
            let values: Vec<i64> = (0..size).map(|rank| value_of(shape, rank)).collect();
            let value = values[rank as usize];
            for bound in [value, value.saturating_sub(1), value.saturating_add(1), i64::MIN, i64::MAX] {
                let below = values.partition_point(|v| *v < bound) as u64;
                let up_to = values.partition_point(|v| *v <= bound) as u64;
                let all = u64::from(size);
                for (op, expected) in [
                    (CompareOp::Lt, below),
                    (CompareOp::Le, up_to),
                    (CompareOp::Gt, all - up_to),
                    (CompareOp::Ge, all - below),
                    (CompareOp::Eq, up_to - below),
                    (CompareOp::Ne, all - (up_to - below)),
                ] {
                    let predicate = Predicate::compare(column(shape), op, Value::Integer(bound));
                    let count = imported.ask(&predicate, &scope, &Count);
                    assert_eq!(count, expected, "{size} values of shape {shape}: {predicate:?}");
                }
            }
        }
    }
    // The sets themselves, over all chunks at once.
    for shape in 0..SHAPES {
        for rank in [0, 1, 16, 1000, 4096, 30_000, 65_534, 65_535] {
            let (low, high) = (value_of(shape, rank / 2), value_of(shape, rank));
            let within = |row: u32| {
                let rank = row_rank(row % CHUNK);
                rank < sizes[(row / CHUNK) as usize] && (low..=high).contains(&value_of(shape, rank))
            };
            let expected: RoaringBitmap =
                (0..sizes.len() as u32 * CHUNK).filter(|row| within(*row)).collect();
            let between = Predicate::between(column(shape), Value::Integer(low), Value::Integer(high));
            imported.assert_members(&between, &expected);
        }
    }
}

/// A part holds 64 chunks, a task sixteen; three rows are left over.
#[test]
fn ranges_of_chunks_end_where_others_begin() {
    const ROWS: u32 = 64 * CHUNK + 3;
    const BATCH: u32 = 100_003;
    let make = |number: u32| {
        let rows = number * BATCH..((number + 1) * BATCH).min(ROWS);
        let number = ColumnValues::Code(rows.clone().map(|row| i64::from(row % 1000)).collect());
        let flag = ColumnValues::Boolean(rows.clone().map(|row| row.is_multiple_of(3)).collect());
        let text = ColumnValues::TextDictionary {
            codes: rows.clone().map(|row| row % 5).collect(),
            dictionary: dictionary(&["e", "d", "c", "b", "a"]),
        };
        let columns = [number, flag, text].map(|values| ColumnBatch { values, nulls: None });
        Batch { rows: rows.len(), columns: columns.into() }
    };
    let types = [DataType::Integer, DataType::Boolean, DataType::Text];
    let imported = imported(&types, false, ROWS.div_ceil(BATCH), make);
    let (number, flag, text) = (column(0), column(1), column(2));
    let last = Scope { chunks: Some(63..u32::MAX), mask: None };
    let rows_where =
        |from: u32, test: &dyn Fn(u32) -> bool| (from..ROWS).filter(|row| test(*row)).count() as u64;

    let both = Predicate::IsTrue(flag).and(Predicate::compare(number, CompareOp::Lt, Value::Integer(10)));
    let test = |row: u32| row.is_multiple_of(3) && row % 1000 < 10;
    assert_eq!(imported.snapshot.rows(imported.table), u64::from(ROWS));
    assert_eq!(imported.count(&Predicate::everyone()), u64::from(ROWS));
    imported.assert_members(&both, &(0..ROWS).filter(|row| test(*row)).collect());
    assert_eq!(imported.ask(&both, &last, &Count), rows_where(63 * CHUNK, &test));
    let end = Scope { chunks: Some(64..65), mask: None };
    assert_eq!(
        imported.ask(&Predicate::everyone(), &end, &Members).iter().collect::<Vec<_>>(),
        [64 * CHUNK, 64 * CHUNK + 1, 64 * CHUNK + 2]
    );

    let groups = Groups { keys: vec![text], aggregates: vec![Aggregate::CountAll, Aggregate::Sum(number)] };
    let groups = imported.ask(&Predicate::IsTrue(flag), &Scope::default(), &groups);
    assert_eq!(groups.len(), 5);
    for group in groups {
        let code =
            ["e", "d", "c", "b", "a"].iter().position(|t| group.key == [Value::Text((*t).into())]).unwrap();
        let rows = (0..ROWS).filter(|row| row.is_multiple_of(3) && row % 5 == code as u32);
        let (count, sum) = rows.fold((0, 0), |(count, sum), row| (count + 1, sum + i128::from(row % 1000)));
        let expected = [Value::Integer(count), Value::Decimal { unscaled: sum, scale: 0 }];
        assert_eq!(group.values, expected, "{:?}", group.key);
    }

    // Ties are many, so the ordinals decide: the first come from the first chunks, whichever thread is done first.
    let order = vec![
        OrderBy { column: text, descending: false, nulls_first: false },
        OrderBy { column: number, descending: true, nulls_first: true },
    ];
    let top = imported.ask(&Predicate::everyone(), &Scope::default(), &Top { order, limit: 1000 });
    let mut expected: Vec<u32> = (0..ROWS).filter(|row| row % 5 == 4 && row % 1000 == 999).collect();
    expected.truncate(1000);
    assert_eq!(top, expected);
    let first = imported.ask(&both, &last, &First { limit: 7 });
    assert_eq!(first, (63 * CHUNK..ROWS).filter(|row| test(*row)).take(7).collect::<Vec<_>>());

    let ordinals = [0, 64 * CHUNK + 2, 64 * CHUNK - 1, 64 * CHUNK, 65_535, 65_536];
    let projected = project(&imported.snapshot, imported.table, &ordinals, &[number, text, flag]).unwrap();
    for (row, values) in ordinals.iter().zip(projected) {
        let text = ["e", "d", "c", "b", "a"][(row % 5) as usize];
        let expected = [
            Value::Integer(i64::from(row % 1000)),
            Value::Text(text.into()),
            Value::Boolean(row.is_multiple_of(3)),
        ];
        assert_eq!(values, expected, "row {row}");
    }
}
