//! The members of a block, column by column.

use super::draw::{Purpose, Weighted, hits, unit};
use super::tags::strings;
use super::{CHANNELS, CITIES, GENDERS, Keys, NOW_SECONDS, Population, TIERS};
use muster_engine::batch::{Batch, ColumnBatch, ColumnValues, Strings};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Gamma, LogNormal, Normal, Pareto};

/// Microseconds of a second: the population is drawn in seconds, timestamps are stored in microseconds.
pub(super) const MICROS: i64 = 1_000_000;

/// How far back registrations reach: five years of 365 days, in seconds.
const HISTORY_SECONDS: f64 = 5.0 * 365.0 * 86_400.0;

impl Population {
    /// The members of a block as one batch, in the order of [`Population::member_columns`].
    pub(crate) fn members_of(&self, block: u64) -> Batch {
        let rows = self.rows_of(block);
        let registered = self.registered_of(block, rows);
        let counts = self.orders_counts_of(block, rows);
        let mut columns = vec![
            self.keys_of(block, rows),
            self.text(block, rows, Purpose::Gender, &self.gender, strings(GENDERS)),
            self.text(block, rows, Purpose::City, &self.city, strings(cities())),
            self.text(block, rows, Purpose::Tier, &self.tier, strings(TIERS)),
            self.text(block, rows, Purpose::Channel, &self.channel, strings(CHANNELS)),
            ColumnValues::Code(self.births_of(block, rows)),
            ColumnValues::Code(registered.iter().map(|seconds| seconds * MICROS).collect()),
            ColumnValues::Code(self.last_active_of(block, &registered)),
            ColumnValues::Code(self.points_of(block, rows)),
            ColumnValues::Code(self.followers_of(block, rows)),
            ColumnValues::Code(counts.iter().map(|count| i64::from(*count)).collect()),
            ColumnValues::Code(self.spend_of(block, &counts)),
        ];
        columns.extend(self.tags_of(block, rows));
        columns.extend((0..self.extras).map(|k| self.extra_of(k, block, rows)));
        let columns = columns
            .into_iter()
            .enumerate()
            .map(|(c, values)| {
                if c == 0 { ColumnBatch { values, nulls: None } } else { self.blank(c, block, values, rows) }
            })
            .collect();
        Batch { rows, columns }
    }

    /// The keys of a block; the orders name their members by them again.
    pub(super) fn keys_of(&self, block: u64, rows: usize) -> ColumnValues {
        let first = block * self.block_rows() as u64;
        if self.options.keys == Keys::Sequence {
            return ColumnValues::Code((first as i64..first as i64 + rows as i64).collect());
        }
        let mut stream = self.stream(block, Purpose::Key);
        let mut keys = Strings { ends: Vec::with_capacity(rows), bytes: Vec::with_capacity(rows * 36) };
        for _ in 0..rows {
            // 122 random bits, the version (4) and the variant where RFC 9562 wants them.
            let high = stream.next_u64() & !0xF000 | 0x4000;
            let low = stream.next_u64() & !(0b11 << 62) | (0b10 << 62);
            push_uuid(&mut keys, high, low);
        }
        ColumnValues::Text(keys)
    }

    /// When each member registered, in seconds: more of them lately than long ago.
    pub(super) fn registered_of(&self, block: u64, rows: usize) -> Vec<i64> {
        let mut stream = self.stream(block, Purpose::RegisteredAt);
        let mut draw = || {
            let u = unit(&mut stream);
            (NOW_SECONDS as f64 - u * u.sqrt() * HISTORY_SECONDS) as i64
        };
        (0..rows).map(|_| draw()).collect()
    }

    /// How many orders each member has.
    pub(super) fn orders_counts_of(&self, block: u64, rows: usize) -> Vec<u32> {
        let mut stream = self.stream(block, Purpose::OrdersCount);
        (0..rows).map(|_| self.orders_count.draw(&mut stream)).collect()
    }

    /// The amounts of this many orders, in cents, in the order of their members.
    pub(super) fn amounts_of(&self, block: u64, orders: usize) -> impl Iterator<Item = i64> {
        let mut stream = self.stream(block, Purpose::Amount);
        let amount = LogNormal::new(4.6f64, 0.9).expect("finite parameters");
        (0..orders).map(move |_| (amount.sample(&mut stream) * 100.0).min(2e8) as i64)
    }

    fn spend_of(&self, block: u64, counts: &[u32]) -> Vec<i64> {
        let mut amounts = self.amounts_of(block, counts.iter().map(|count| *count as usize).sum());
        counts.iter().map(|count| amounts.by_ref().take(*count as usize).sum()).collect()
    }

    /// One entry of a fixed dictionary a row.
    pub(super) fn text(
        &self,
        block: u64,
        rows: usize,
        purpose: Purpose,
        choice: &Weighted,
        dictionary: Strings,
    ) -> ColumnValues {
        let mut stream = self.stream(block, purpose);
        ColumnValues::TextDictionary {
            codes: (0..rows).map(|_| choice.draw(&mut stream)).collect(),
            dictionary,
        }
    }

    fn births_of(&self, block: u64, rows: usize) -> Vec<i64> {
        let mut stream = self.stream(block, Purpose::Birth);
        let age = Normal::new(36.0f64, 13.0).expect("finite parameters");
        let today = (NOW_SECONDS / 86_400) as f64;
        (0..rows).map(|_| (today - age.sample(&mut stream).clamp(14.0, 90.0) * 365.25) as i64).collect()
    }

    fn last_active_of(&self, block: u64, registered: &[i64]) -> Vec<i64> {
        let mut stream = self.stream(block, Purpose::LastActiveAt);
        let mut draw = |registered: &i64| {
            let u = unit(&mut stream);
            (NOW_SECONDS as f64 - (NOW_SECONDS - registered) as f64 * (u * u * u)) as i64 * MICROS
        };
        registered.iter().map(&mut draw).collect()
    }

    fn points_of(&self, block: u64, rows: usize) -> Vec<i64> {
        let mut stream = self.stream(block, Purpose::Points);
        let points = Gamma::new(1.2f64, 900.0).expect("positive parameters");
        (0..rows).map(|_| points.sample(&mut stream) as i64).collect()
    }

    fn followers_of(&self, block: u64, rows: usize) -> Vec<i64> {
        let mut stream = self.stream(block, Purpose::Followers);
        let pareto = Pareto::new(1.0f64, 1.1).expect("positive parameters");
        (0..rows).map(|_| ((pareto.sample(&mut stream) - 1.0) * 20.0).min(5e6) as i64).collect()
    }

    /// Extra column `k`: mostly 0 where it is sparse. Densities and numbers of distinct values cycle with coprime
    /// periods, so that a wide table has flags, codes and measures, each dense and sparse.
    fn extra_of(&self, k: usize, block: u64, rows: usize) -> ColumnValues {
        let density = [0.9, 0.5, 0.1, 0.01, 0.001][k % 5];
        let distinct = [1, 10, 1_000, 1_000_000][k % 4];
        let mut places = Vec::new();
        let mut stream = self.stream(block, Purpose::Extra(k as u32));
        hits(&mut stream, density, rows, |row| places.push(row));
        let mut column = vec![0; rows];
        places.into_iter().for_each(|row| column[row] = stream.random_range(1..=distinct));
        ColumnValues::Code(column)
    }

    /// Blanks the share of rows that the options ask for; a NULL row holds its type's filler.
    fn blank(&self, c: usize, block: u64, mut values: ColumnValues, rows: usize) -> ColumnBatch {
        if self.options.nulls == 0.0 {
            return ColumnBatch { values, nulls: None };
        }
        let mut nulls = vec![false; rows];
        let mut stream = self.stream(block, Purpose::Nulls(c as u32));
        hits(&mut stream, self.options.nulls, rows, |row| nulls[row] = true);
        let blanked = nulls.iter().enumerate().filter_map(|(row, null)| null.then_some(row));
        match &mut values {
            ColumnValues::Boolean(column) => blanked.for_each(|row| column[row] = false),
            ColumnValues::Code(column) => blanked.for_each(|row| column[row] = 0),
            ColumnValues::TextDictionary { codes, .. } => blanked.for_each(|row| codes[row] = 0),
            ColumnValues::Tags { ends, tags, .. } => blank_lists(ends, tags, &nulls),
            ColumnValues::Text(_) => unreachable!("only the key is plain text, and keys are never NULL"),
        }
        ColumnBatch { values, nulls: Some(nulls) }
    }
}

fn blank_lists(ends: &mut [u32], tags: &mut Vec<u32>, nulls: &[bool]) {
    let (mut start, mut kept) = (0, 0);
    for (end, null) in ends.iter_mut().zip(nulls) {
        let list = start..*end as usize;
        start = list.end;
        if !null {
            tags.copy_within(list.clone(), kept);
            kept += list.len();
        }
        *end = kept as u32;
    }
    tags.truncate(kept);
}

fn cities() -> impl Iterator<Item = String> {
    (0..CITIES).map(|k| format!("city_{k:03}"))
}

fn push_uuid(keys: &mut Strings, high: u64, low: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (i, byte) in high.to_be_bytes().into_iter().chain(low.to_be_bytes()).enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            keys.bytes.push(b'-');
        }
        keys.bytes.push(DIGITS[usize::from(byte >> 4)]);
        keys.bytes.push(DIGITS[usize::from(byte & 15)]);
    }
    keys.ends.push(keys.bytes.len() as u32);
}
