//! The bytes of catalogs of every version, and what depends on what.

use super::*;
use crate::member::KeyLayout;
use crate::predicate::Predicate;
use crate::schema::{Column, ColumnId, DataType, Summary, SummaryKind, TableSchema};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn table() -> TableRecord {
    let column = |id, name: &str, data_type, nullable| Column {
        id: ColumnId(id),
        name: name.into(),
        data_type,
        nullable,
    };
    let schema = TableSchema {
        id: TableId(1),
        name: "m".into(),
        columns: vec![
            column(1, "id", DataType::BigInt, false),
            column(3, "s", DataType::Decimal { precision: 9, scale: 2 }, true),
        ],
        key: Some(ColumnId(1)),
        ordinal_epoch: 1,
        next_column: ColumnId(5),
        references: Vec::new(),
        owner: None,
        summaries: Vec::new(),
    };
    TableRecord::imported(schema, 7, KeyLayout::Sequence { first: -1 })
}

fn sample() -> Catalog {
    let defined = |predicate, views: &[u32]| {
        Definition::new(predicate, views.iter().map(|view| ViewId(*view))).unwrap()
    };
    let view = ViewRecord {
        id: ViewId(2),
        name: "v".into(),
        table: TableId(1),
        columns: vec![ViewColumn { column: ColumnId(3), name: "spend".into() }],
        definition: defined(Predicate::IsNull(ColumnId(3)).not(), &[]),
        source: "SELECT".into(),
    };
    let audience = |id, name: &str, kind| {
        Arc::new(AudienceRecord {
            id: AudienceId(id),
            name: name.into(),
            table: TableId(1),
            kind,
            source: "S".into(),
            created_micros: 9,
        })
    };
    Catalog {
        next_table: TableId(2),
        next_view: ViewId(3),
        next_audience: AudienceId(6),
        tables: vec![table()],
        views: vec![Arc::new(view)],
        audiences: vec![
            audience(4, "d", AudienceKind::Dynamic(defined(Predicate::Audience(AudienceId(5)), &[2]))),
            audience(5, "s", AudienceKind::Static { column: ColumnId(4), members: 2 }),
        ],
        users: Vec::new(),
        ..Catalog::default()
    }
}

/// A schema as versions 1 to 3 write it; later ones append what it refers to and whose its rows are.
const SCHEMA: &str = "01000000 0100000000000000 6d
    0200000000000000
    01000000 0200000000000000 6964 03000000 00
    03000000 0100000000000000 73 04000000 0902 01
    01 01000000
    01000000
    05000000";
/// What follows the schema.
const ROWS: &str = "0700000000000000 01000000 ffffffffffffffff";
/// What follows that since version 3.
const ORDINALS: &str = "0700000000000000 0700000000000000";

/// What follows the schema of nobody's rows since version 4: references, owner, summaries.
const LONE: &str = "0000000000000000 00 0000000000000000";
/// What ends a catalog since version 6: users, by name.
const USERS: &str = "0300000000000000
    0300000000000000 616461 02000000 0200000000000000 2461
    0200000000000000 626f 00000000 0200000000000000 2462
    0300000000000000 6d696d 01000000 0200000000000000 2463";
const NO_USERS: &str = "0000000000000000";

fn with_users() -> Catalog {
    let user = |name: &str, role, hash: &str| {
        Arc::new(UserRecord { name: name.into(), role, password_hash: hash.into() })
    };
    let users =
        vec![user("ada", Role::Admin, "$a"), user("bo", Role::Read, "$b"), user("mim", Role::Write, "$c")];
    Catalog { users, ..sample() }
}

/// A table that belongs to another has these bytes after its schema.
#[test]
fn owners_are_golden() {
    let owner = crate::schema::Owner {
        column: ColumnId(2),
        table: TableId(1),
        time: Some(ColumnId(3)),
        ordinals: ColumnId(4),
        known: 5,
        cluster: Some(ColumnId(6)),
    };
    assert_eq!(
        hex(&codec::encode(&Some(owner))),
        "010200000001000000010300000004000000".to_owned() + "05000000" + "0106000000"
    );
    let summaries = vec![
        Summary { column: ColumnId(5), kind: SummaryKind::Last },
        Summary { column: ColumnId(6), kind: SummaryKind::Sum(ColumnId(7)) },
    ];
    assert_eq!(hex(&codec::encode(&summaries)), "02000000000000000500000002000000060000000300000007000000");
    let references = vec![(ColumnId(2), TableId(1))];
    assert_eq!(hex(&codec::encode(&references)), "01000000000000000200000001000000");
}

/// These bytes are in people's files. If this test fails, the encoder changed, not the test.
#[test]
fn the_bytes_are_golden() {
    let golden = golden("0600", &format!("{SCHEMA} {LONE} {ROWS} {ORDINALS}")) + USERS;
    assert_eq!(hex(&with_users().encode()), hex(&unhex(&golden)));
    assert_eq!(Catalog::decode(&unhex(&golden)).unwrap(), with_users());
}

/// What was written before there were users is read.
#[test]
fn version_5_is_read() {
    let old = golden("0500", &format!("{SCHEMA} {LONE} {ROWS} {ORDINALS}"));
    let read = Catalog::decode(&unhex(&old)).unwrap();
    assert_eq!(read, sample());
    assert_eq!(hex(&read.encode()), hex(&unhex(&(old.replacen("0500", "0600", 1) + NO_USERS))));
}

/// What was written before rows could change is read, and written anew as the present version.
#[test]
fn version_2_is_read() {
    let read = Catalog::decode(&unhex(&golden("0200", &format!("{SCHEMA} {ROWS}")))).unwrap();
    assert_eq!(read, sample());
    assert_eq!(read.encode()[..2], [6, 0]);
}

/// What was written before rows could belong to anybody is read.
#[test]
fn version_3_is_read() {
    let read = Catalog::decode(&unhex(&golden("0300", &format!("{SCHEMA} {ROWS} {ORDINALS}")))).unwrap();
    assert_eq!(read, sample());
    assert_eq!(read.encode()[..2], [6, 0]);
}

/// What was written before rows could be clustered by a column is read: an owner's bytes end with what is known.
#[test]
fn version_4_is_read() {
    let owned = |cluster: &str| {
        let owner = format!("01 01000000 01000000 01 03000000 04000000 05000000 {cluster}");
        let summaries = "0100000000000000 04000000 00000000";
        format!("{SCHEMA} 0100000000000000 01000000 01000000 {owner} {summaries} {ROWS} {ORDINALS}")
    };
    let old = unhex(&golden("0400", &owned("")));
    let read = Catalog::decode(&old).unwrap();
    let owner = read.tables[0].schema.owner.unwrap();
    assert_eq!(
        (owner.time, owner.ordinals, owner.known, owner.cluster),
        (Some(ColumnId(3)), ColumnId(4), 5, None)
    );
    assert_eq!(read.tables[0].schema.summaries.len(), 1);
    assert_eq!(hex(&read.encode()), hex(&unhex(&(golden("0600", &owned("00")) + NO_USERS))));
    assert_eq!(Catalog::decode(&read.encode()).unwrap(), read);
    let lone = unhex(&golden("0400", &format!("{SCHEMA} {LONE} {ROWS} {ORDINALS}")));
    assert_eq!(Catalog::decode(&lone).unwrap(), sample());
}

fn golden(version: &str, table: &str) -> String {
    format!(
        "{version} 02000000 03000000 06000000
        0100000000000000 {table}
        0100000000000000
        02000000 0100000000000000 76 01000000
        0100000000000000 03000000 0500000000000000 7370656e64
        0a00000000000000 0100 0400 0600 03000000 0000000000000000
        0600000000000000 53454c454354
        0200000000000000
        04000000 0100000000000000 64 01000000 00000000 0800000000000000 0100 0c00 05000000
        0100000000000000 02000000
        0100000000000000 53 0900000000000000
        05000000 0100000000000000 73 01000000 01000000 04000000 0200000000000000
        0100000000000000 53 0900000000000000"
    )
}

/// What version 0.1 before views and audiences wrote is read, and written anew as the present version.
#[test]
fn version_1_is_read() {
    let old = unhex(&format!("0100 02000000 0100000000000000 {SCHEMA} {ROWS}"));
    let read = Catalog::decode(&old).unwrap();
    let expected = Catalog { next_table: TableId(2), tables: vec![table()], ..Catalog::default() };
    assert_eq!(read, expected);
    assert_eq!(read.encode()[..2], [6, 0]);
    assert_eq!(Catalog::decode(&read.encode()).unwrap(), expected);
}

#[test]
fn other_versions_and_damage_are_refused() {
    let bytes = with_users().encode();
    for version in [0, 7, 0xff] {
        let mut other = bytes.clone();
        other[0] = version;
        let error = Catalog::decode(&other).unwrap_err().to_string();
        assert!(error.contains("expected at most 6"), "{error}");
    }
    for length in 1..bytes.len() {
        assert!(Catalog::decode(&bytes[..length]).is_err(), "cut to {length}");
    }
    let mut damaged = bytes.clone();
    let place = bytes.windows(4).position(|four| four == [4, 0, 6, 0]).unwrap();
    damaged[place] = 99;
    let error = Catalog::decode(&damaged).unwrap_err().to_string();
    assert!(
        error.contains("a stored condition: at byte 2: expected the tag of a predicate, found 99"),
        "{error}"
    );
}

/// Whatever a definition names exists; damage that leaves the form of a catalog is found by that.
#[test]
fn definitions_of_what_is_not_there_are_refused() {
    let refused = |change: fn(&mut Catalog), expected: &str| {
        let mut catalog = sample();
        change(&mut catalog);
        let error = Catalog::decode(&catalog.encode()).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    };
    refused(|catalog| catalog.views.clear(), "audience \"d\" needs a missing view");
    refused(|catalog| drop(catalog.audiences.pop()), "audience \"d\" needs a missing audience");
    refused(|catalog| catalog.tables.clear(), "view \"v\" needs a missing table");
    refused(|catalog| drop(catalog.tables[0].schema.columns.pop()), "view \"v\" needs a missing column, 3");
    let definition = Definition::new(Predicate::everyone(), [7, 1, 7].map(ViewId)).unwrap();
    let bytes = codec::encode(&definition);
    assert_eq!(codec::decode::<Definition>(&bytes).unwrap(), definition);
    let last = bytes.len() - 4;
    for other in [0, 1] {
        let mut damaged = bytes.clone();
        damaged[last] = other;
        let error = codec::decode::<Definition>(&damaged).unwrap_err().to_string();
        assert!(error.contains("the views of a definition do not ascend"), "{error}");
    }
}

/// Damage to users that leaves the form is found; a hash never shows, in no message and not for debugging.
#[test]
fn users_out_of_order_and_hashes_that_are_none_are_refused() {
    let refused = |change: fn(&mut Vec<Arc<UserRecord>>), expected: &str| {
        let mut catalog = with_users();
        change(&mut catalog.users);
        let error = Catalog::decode(&catalog.encode()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(|users| users.swap(0, 1), "the names of users do not ascend");
    refused(|users| users[1] = Arc::clone(&users[0]), "the names of users do not ascend");
    refused(|users| Arc::make_mut(&mut users[0]).name.clear(), "the names of users do not ascend");
    let hash = "the hash of a password is a PHC string";
    refused(|users| Arc::make_mut(&mut users[2]).password_hash = "plain".into(), hash);
    refused(|users| Arc::make_mut(&mut users[2]).password_hash = "$a\n".into(), hash);
    refused(|users| Arc::make_mut(&mut users[2]).password_hash = format!("${:512}", 0), hash);
    let shown = format!("{:?}", with_users());
    assert!(shown.contains("\"mim\"") && !shown.contains("$c"), "{shown}");
    let mut damaged = with_users().encode();
    let place = damaged.len() - 14;
    assert_eq!(damaged[place], 1, "the role of the last user");
    damaged[place] = 3;
    assert!(Catalog::decode(&damaged).is_err());
}

/// Whatever the declarations look like, these bytes are what databases hold.
#[test]
fn the_numbers_of_types_and_key_layouts_are_those_on_disk() {
    let types = [
        (DataType::Boolean, 0),
        (DataType::SmallInt, 1),
        (DataType::Integer, 2),
        (DataType::BigInt, 3),
        (DataType::Double, 5),
        (DataType::Text, 6),
        (DataType::Date, 7),
        (DataType::Timestamp, 8),
        (DataType::TimestampTz, 9),
        (DataType::TextArray, 10),
    ];
    for (data_type, number) in types {
        assert_eq!(codec::encode(&data_type), [number, 0, 0, 0], "{data_type}");
        assert_eq!(codec::decode::<DataType>(&[number, 0, 0, 0]).unwrap(), data_type);
    }
    assert_eq!(codec::encode(&DataType::Decimal { precision: 12, scale: 2 }), [4, 0, 0, 0, 12, 2]);
    assert_eq!(codec::encode(&KeyLayout::None), [0, 0, 0, 0]);
    assert_eq!(codec::encode(&KeyLayout::Sequence { first: 7 }), [1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(codec::encode(&KeyLayout::Hashed), [2, 0, 0, 0]);
}

#[test]
fn dependents_are_followed_to_the_end() {
    let catalog = sample();
    let (d, s) = (Relation::Audience(AudienceId(4)), Relation::Audience(AudienceId(5)));
    let view = Relation::View(ViewId(2));
    let of = |subject| catalog.dependents(&[subject]).into_iter().collect::<Vec<_>>();
    assert_eq!(of(Subject::Column(TableId(1), ColumnId(3))), [view, d]);
    assert_eq!(of(Subject::Relation(view)), [d]);
    assert_eq!(of(Subject::Column(TableId(1), ColumnId(1))), []);
    assert_eq!(of(Subject::Column(TableId(9), ColumnId(3))), []);
    assert_eq!(of(Subject::Relation(s)), [d]);
    assert_eq!(of(Subject::Relation(Relation::Table(TableId(1)))), [view, d, s]);
    assert_eq!(catalog.dependents(&[Subject::Relation(s), Subject::Relation(d)]).len(), 0);
}

#[test]
fn cycles_are_told_by_name() {
    let mut catalog = sample();
    assert_eq!(catalog.cycle(AudienceId(4)), None);
    let mut record = (*catalog.audiences[1]).clone();
    let back = Predicate::everyone().and(Predicate::Audience(AudienceId(4)).not());
    record.kind = AudienceKind::Dynamic(Definition::new(back, []).unwrap());
    catalog.audiences[1] = Arc::new(record);
    assert_eq!(catalog.cycle(AudienceId(4)), Some(vec!["d".into(), "s".into(), "d".into()]));
    assert_eq!(catalog.cycle(AudienceId(5)), Some(vec!["s".into(), "d".into(), "s".into()]));
    // By way of a view.
    let mut catalog = sample();
    let mut view = (*catalog.views[0]).clone();
    view.definition = Definition::new(Predicate::Audience(AudienceId(4)), []).unwrap();
    catalog.views[0] = Arc::new(view);
    assert_eq!(catalog.cycle(AudienceId(4)), Some(vec!["d".into(), "v".into(), "d".into()]));
    assert_eq!(catalog.cycle(AudienceId(5)), None);
}
