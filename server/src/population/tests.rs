//! The population has the distributions it promises. The shares below are what the reference generator (numpy, other
//! seeds) yields for the benchmark questions at 100 million members; a million of ours must agree within five sigma.

use super::tags::{density, zipf_densities};
use super::*;
use muster_engine::batch::{Batch, ColumnValues, RowSource};
use std::collections::HashSet;
use std::sync::Arc;

const MEMBERS: u64 = 1_000_000;

fn population(options: Options) -> Population {
    Population::new(options).unwrap()
}

fn codes(batch: &Batch, column: usize) -> &[i64] {
    match &batch.columns[column].values {
        ColumnValues::Code(codes) => codes,
        other => panic!("column {column} holds {other:?}"),
    }
}

fn entries(batch: &Batch, column: usize) -> &[u32] {
    match &batch.columns[column].values {
        ColumnValues::TextDictionary { codes, .. } => codes,
        other => panic!("column {column} holds {other:?}"),
    }
}

fn tag(batch: &Batch, k: usize, row: usize) -> bool {
    match &batch.columns[12 + k].values {
        ColumnValues::Boolean(tags) => tags[row],
        other => panic!("tag {k} holds {other:?}"),
    }
}

fn assert_share(what: &str, count: u64, of: u64, share: f64) {
    let got = count as f64 / of as f64;
    let sigma = (share * (1.0 - share) / of as f64).sqrt();
    assert!((got - share).abs() < 5.0 * sigma, "{what}: {got} instead of {share} (sigma {sigma})");
}

#[test]
fn the_member_questions_have_the_shares_of_the_reference() {
    let population = population(Options::plain(MEMBERS));
    let day = 86_400_000_000;
    let now = NOW_SECONDS * 1_000_000;
    let (mut and3, mut or8, mut demo, mut range1, mut recent, mut mix8) = (0, 0, 0, 0, 0, 0);
    let (mut points, mut followers, mut orders, mut births) = (0, 0, 0, 0);
    let mut tags = [0; TAGS];
    for block in 0..population.blocks() {
        let batch = population.members_of(block);
        let (gender, city, tier) = (entries(&batch, 1), entries(&batch, 2), entries(&batch, 3));
        let channel = entries(&batch, 4);
        let (birth, registered, active) = (codes(&batch, 5), codes(&batch, 6), codes(&batch, 7));
        let spend = codes(&batch, 11);
        points += codes(&batch, 8).iter().sum::<i64>();
        followers += codes(&batch, 9).iter().map(|f| u64::from(*f >= 200)).sum::<u64>();
        orders += codes(&batch, 10).iter().sum::<i64>();
        births += birth.iter().sum::<i64>();
        for row in 0..batch.rows {
            let t = |k| tag(&batch, k, row);
            (0..TAGS).for_each(|k| tags[k] += u64::from(t(k)));
            and3 += u64::from(t(0) && t(1) && !t(2));
            or8 += u64::from((10..18).any(t));
            demo += u64::from(gender[row] == 0 && city[row] < 5 && tier[row] >= 4 && !t(3));
            range1 += u64::from(spend[row] >= 50_000);
            recent += u64::from(tier[row] >= 3 && spend[row] >= 50_000 && active[row] >= now - 30 * day);
            mix8 += u64::from(
                (t(4) || t(5) || t(6))
                    && !t(2)
                    && gender[row] == 0
                    // 1990-01-01 to 2001-12-31
                    && (7_305..=11_687).contains(&birth[row])
                    && (500..=5_000).contains(&codes(&batch, 8)[row])
                    && channel[row] != 10
                    && registered[row] >= now - 730 * day
                    && [0, 3, 10, 20, 100].contains(&city[row]),
            );
            assert!(registered[row] <= active[row] && active[row] <= now);
        }
    }
    assert_share("tag_and3", and3, MEMBERS, 0.133_289_35);
    assert_share("tag_or8", or8, MEMBERS, 0.060_492_98);
    assert_share("demo", demo, MEMBERS, 0.007_607_58);
    assert_share("range1", range1, MEMBERS, 0.204_387_68);
    assert_share("value_recent", recent, MEMBERS, 0.016_334_20);
    assert_share("mix8", mix8, MEMBERS, 0.001_648_39);
    for (k, count) in tags.into_iter().enumerate() {
        assert_share(&format!("t{k:02}"), count, MEMBERS, density(k));
    }
    // Gamma(1.2) x 900, cut to whole points; Lomax(1.1) x 20 from 200 upwards; two orders a member; 36 years old.
    let members = MEMBERS as f64;
    assert!((points as f64 / members - 1_079.5).abs() < 5.0, "{points}");
    assert_share("followers", followers, MEMBERS, 11f64.powf(-1.1));
    assert!((orders as f64 / members - 2.0).abs() < 0.015, "{orders}");
    let age = (NOW_SECONDS as f64 / 86_400.0 - births as f64 / members) / 365.25;
    assert!((age - 36.241).abs() < 0.06, "{age}");
}

#[test]
fn the_order_questions_have_the_shares_of_the_reference() {
    let population = population(Options::plain(MEMBERS));
    let now = NOW_SECONDS * 1_000_000;
    let days_ago = |days: i64| now - days * 86_400_000_000;
    let (mut recent2, mut sum90, mut full) = (0, 0, 0);
    for block in 0..population.blocks() {
        let (members, orders) = (population.members_of(block), population.orders_of(block));
        let ids = codes(&members, 0);
        let (mut spend, mut count) = (vec![0; ids.len()], vec![0; ids.len()]);
        let (mut recent, mut category3) = (vec![0; ids.len()], vec![0; ids.len()]);
        for row in 0..orders.rows {
            let member = (codes(&orders, 0)[row] - ids[0]) as usize;
            let (at, amount) = (codes(&orders, 1)[row], codes(&orders, 2)[row]);
            assert!(codes(&members, 6)[member] <= at && at <= now);
            spend[member] += amount;
            count[member] += 1;
            recent[member] += i64::from(at >= days_ago(30));
            if at >= days_ago(90) && codes(&orders, 3)[row] == 3 {
                category3[member] += amount;
            }
        }
        assert_eq!(spend, codes(&members, 11), "spend_cents is the sum of the orders");
        assert_eq!(count, codes(&members, 10), "orders_count is their number");
        recent2 += recent.iter().filter(|r| **r >= 2).count() as u64;
        sum90 += category3.iter().filter(|c| **c >= 20_000).count() as u64;
        full += spend.iter().zip(&count).filter(|(s, c)| **s >= 50_000 && **c >= 3).count() as u64;
    }
    assert_share("ev_recent2", recent2, MEMBERS, 0.061_135_21);
    assert_share("ev_sum90cat", sum90, MEMBERS, 0.006_548_30);
    assert_share("ev_full", full, MEMBERS, 0.181_775_46);
}

#[test]
fn the_same_seed_gives_the_same_rows_in_order_and_a_smaller_base_is_its_beginning() {
    let options = Options { nulls: 0.1, ..Options::plain(200_000) };
    let large = Arc::new(population(options));
    let mut source = PopulationSource::members(large.clone()).unwrap();
    let mut block = 0;
    while let Some(batch) = source.next().unwrap() {
        assert_eq!(batch, large.members_of(block));
        block += 1;
    }
    assert_eq!((block, source.progress()), (4, (Some(200_000), 1.0)));
    let small = population(Options { members: 1_000, ..options });
    assert_eq!(codes(&small.members_of(0), 11), &codes(&large.members_of(0), 11)[..1_000]);
    let other = population(Options { seed: 2, ..options });
    assert_ne!(other.members_of(0), large.members_of(0));
}

#[test]
fn array_tags_are_the_boolean_tags() {
    let booleans = population(Options::plain(10_000)).members_of(0);
    let arrays = population(Options { tags: Tags::Array, ..Options::plain(10_000) }).members_of(0);
    let ColumnValues::Tags { ends, tags, dictionary } = &arrays.columns[12].values else { panic!() };
    assert_eq!(dictionary.get(31), b"t31");
    let mut start = 0;
    for row in 0..10_000 {
        let expected: Vec<u32> = (0..32).filter(|k| tag(&booleans, *k as usize, row)).collect();
        assert_eq!(tags[start..ends[row] as usize], expected);
        start = ends[row] as usize;
    }
    assert_eq!(arrays.columns[..12], booleans.columns[..12]);
}

#[test]
fn zipf_tags_have_their_frequencies() {
    let options = Options { tags: Tags::Zipf(20_000), ..Options::plain(300_000) };
    let population = population(options);
    let mut counts = vec![0u64; 20_000];
    for block in 0..population.blocks() {
        let batch = population.members_of(block);
        let ColumnValues::Tags { ends, tags, dictionary } = &batch.columns[12].values else { panic!() };
        assert_eq!(ends.len(), batch.rows);
        assert_eq!(*ends.last().unwrap() as usize, tags.len());
        for tag in tags {
            let name = std::str::from_utf8(dictionary.get(*tag as usize)).unwrap();
            counts[name.strip_prefix("tag_").unwrap().parse::<usize>().unwrap()] += 1;
        }
    }
    let densities = zipf_densities(20_000);
    for rank in [0, 1, 10, 100, 1_000] {
        assert_share(&format!("tag {rank}"), counts[rank], 300_000, densities[rank]);
    }
    let mean = counts.iter().sum::<u64>() as f64 / 300_000.0;
    assert!((mean - 5.0).abs() < 0.05, "{mean} tags a member");
}

#[test]
fn uuid_keys_are_uuids_and_the_orders_name_them() {
    let population = population(Options { keys: Keys::Uuid, ..Options::plain(5_000) });
    let (members, orders) = (population.members_of(0), population.orders_of(0));
    let ColumnValues::Text(keys) = &members.columns[0].values else { panic!() };
    let distinct: HashSet<&[u8]> = (0..5_000).map(|row| keys.get(row)).collect();
    assert_eq!(distinct.len(), 5_000);
    assert!(distinct.iter().all(|k| k.len() == 36 && k[14] == b'4' && b"89ab".contains(&k[19])));
    let ColumnValues::Text(owners) = &orders.columns[0].values else { panic!() };
    assert!((0..orders.rows).all(|row| distinct.contains(owners.get(row))));
}

#[test]
fn nulls_have_their_share_everywhere_but_in_the_key() {
    for tags in [Tags::Boolean, Tags::Array] {
        let population = population(Options { nulls: 0.25, tags, ..Options::plain(65_536) });
        let batch = population.members_of(0);
        assert_eq!(batch.columns[0].nulls, None);
        for (column, spec) in batch.columns.iter().zip(population.member_columns()).skip(1) {
            let nulls = column.nulls.as_ref().unwrap();
            assert_share(&spec.name, nulls.iter().filter(|n| **n).count() as u64, 65_536, 0.25);
            if let ColumnValues::Tags { ends, tags, .. } = &column.values {
                let length = |row: usize| ends[row] - if row == 0 { 0 } else { ends[row - 1] };
                assert!((0..batch.rows).all(|row| !nulls[row] || length(row) == 0));
                assert_eq!(*ends.last().unwrap() as usize, tags.len());
            }
        }
    }
}

#[test]
fn wide_tables_come_in_smaller_blocks_and_have_the_columns_asked_for() {
    let population = population(Options { columns: Some(2_000), ..Options::plain(10_000) });
    let columns = population.member_columns();
    assert_eq!((columns.len(), columns[44].name.as_str()), (2_000, "a0000"));
    assert_eq!((population.block_rows(), population.blocks()), (4_096, 3));
    let batch = population.members_of(2);
    assert_eq!((batch.rows, batch.columns.len()), (10_000 - 2 * 4_096, 2_000));
    assert_eq!(codes(&batch, 0)[0], 8_192);
}

#[test]
fn impossible_options_are_refused() {
    for options in [
        Options::plain(0),
        Options { nulls: 1.0, ..Options::plain(1) },
        Options { columns: Some(43), ..Options::plain(1) },
        Options { tags: Tags::Zipf(0), ..Options::plain(1) },
    ] {
        assert!(Population::new(options).is_err());
    }
}
