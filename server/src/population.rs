//! The benchmark population: members with attributes and tags, and their orders over five years.
//!
//! It is what a retailer's base looks like: cities and channels of Zipf-like frequency, a heavy-tailed number of
//! followers, 32 tags from every second member down to one in fifty thousand, and two orders a member on average
//! (most have none). "Now" is 2026-11-01.
//!
//! Invariants:
//! - The same seed and options give the same rows, whatever the number of threads: a *block* of rows (65,536; fewer in
//!   very wide tables) depends on nothing but the seed, its own number and the options.
//! - A smaller population is the beginning of a larger one.
//! - `spend_cents` is the sum of the member's orders, `orders_count` their number (unless `nulls` blanks them).
//!
//! It does not write files or databases: it delivers batches.

mod draw;
mod members;
mod orders;
mod source;
mod tags;
#[cfg(test)]
mod tests;

pub(crate) use source::PopulationSource;

use draw::Weighted;
use muster_engine::DataType;
use muster_engine::schema::ColumnSpec;

/// The population's present, 2026-11-01 00:00:00 UTC, in seconds since 1970-01-01.
pub(crate) const NOW_SECONDS: i64 = 20_758 * 86_400;

/// The population's present as the shell's `--now` takes it.
pub(crate) const NOW_TEXT: &str = "2026-11-01 00:00:00";

/// The number of boolean tags, t00 to t31.
pub(crate) const TAGS: usize = 32;

/// The columns of the plain population.
pub(crate) const COLUMNS: usize = 44;

/// What `id` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// BIGINT, 0 upwards.
    Sequence,
    /// TEXT: random UUIDs of 36 bytes.
    Uuid,
}

/// How tags are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// 32 BOOLEAN columns t00 to t31.
    Boolean,
    /// One TEXT[] column `tags` with the same tags by name: the same members have them.
    Array,
    /// One TEXT[] column `tags` with this many tags `tag_00000`… of Zipf frequency, about five a member.
    Zipf(u32),
}

/// Which population.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Options {
    /// How many members.
    pub(crate) members: u64,
    /// The seed of everything random.
    pub(crate) seed: u64,
    /// What `id` is.
    pub(crate) keys: Keys,
    /// How tags are kept.
    pub(crate) tags: Tags,
    /// Columns in all; those beyond the plain ones are INTEGER columns `a0000`… of mixed densities.
    pub(crate) columns: Option<usize>,
    /// The share of NULLs in every column but the key.
    pub(crate) nulls: f64,
}

impl Options {
    /// The plain population of this size.
    pub(crate) fn plain(members: u64) -> Options {
        Options { members, seed: 1, keys: Keys::Sequence, tags: Tags::Boolean, columns: None, nulls: 0.0 }
    }
}

/// A population, ready to deliver any of its blocks.
pub(crate) struct Population {
    options: Options,
    /// INTEGER columns beyond the plain ones.
    extras: usize,
    gender: Weighted,
    city: Weighted,
    tier: Weighted,
    channel: Weighted,
    orders_count: Weighted,
    category: Weighted,
}

/// The names of `gender`, in the order of its codes.
const GENDERS: [&str; 3] = ["f", "m", "u"];
/// The names of `tier`.
const TIERS: [&str; 6] = ["fan", "customer", "member", "silver", "gold", "black"];
/// The names of `channel`, for members and orders.
const CHANNELS: [&str; 12] = [
    "wechat", "tmall", "jd", "miniapp", "store", "app", "douyin", "weibo", "site", "email", "sms", "partner",
];
/// Cities are called `city_000` and so on.
const CITIES: usize = 334;
/// Order categories are 0 to 29.
const CATEGORIES: usize = 30;
/// No member has more orders.
const ORDERS_MAX: usize = 500;

impl Population {
    /// The population of these options.
    ///
    /// Errors: options that no population can have, as a sentence without a full stop.
    pub(crate) fn new(options: Options) -> Result<Population, String> {
        if options.members == 0 || options.members > u64::from(u32::MAX) {
            return Err(format!("{} members: 1 to {} can be made", options.members, u32::MAX));
        }
        if !(0.0..1.0).contains(&options.nulls) {
            return Err(format!(
                "a share of {} NULLs: 0 up to, but not including, 1 can be had",
                options.nulls
            ));
        }
        if matches!(options.tags, Tags::Zipf(0) | Tags::Zipf(100_001..)) {
            return Err("the number of Zipf tags must be 1 to 100000".into());
        }
        let plain = if options.tags == Tags::Boolean { COLUMNS } else { COLUMNS - TAGS + 1 };
        let columns = options.columns.unwrap_or(plain);
        if columns < plain || columns > 10_000 {
            return Err(format!("{columns} columns: {plain} (the plain population) to 10000 can be had"));
        }
        let zipf = |n: usize, exponent: f64| -> Vec<f64> {
            (1..=n).map(|rank| (rank as f64).powf(-exponent)).collect()
        };
        // P(⌊30 u^1.6⌋ = k) for uniform u.
        let category_below = |k: usize| (k as f64 / CATEGORIES as f64).powf(1.0 / 1.6);
        let category: Vec<f64> = (0..CATEGORIES).map(|k| category_below(k + 1) - category_below(k)).collect();
        Ok(Population {
            extras: columns - plain,
            gender: Weighted::new(&[0.52, 0.41, 0.07]),
            city: Weighted::new(&zipf(CITIES, 0.8)),
            tier: Weighted::new(&[0.35, 0.25, 0.22, 0.10, 0.06, 0.02]),
            channel: Weighted::new(&zipf(CHANNELS.len(), 0.9)),
            orders_count: Weighted::new(&negative_binomial(0.6, 0.6 / (0.6 + 2.0), ORDERS_MAX)),
            category: Weighted::new(&category),
            options,
        })
    }

    /// The options it was made with.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Rows of a block: a whole chunk, or fewer where that many columns would weigh a gigabyte.
    pub(crate) fn block_rows(&self) -> usize {
        if self.extras <= 64 { 65_536 } else { 4_096 }
    }

    /// The number of blocks.
    pub(crate) fn blocks(&self) -> u64 {
        self.options.members.div_ceil(self.block_rows() as u64)
    }

    /// The members of a block.
    fn rows_of(&self, block: u64) -> usize {
        let start = block * self.block_rows() as u64;
        (self.options.members - start).min(self.block_rows() as u64) as usize
    }

    fn stream(&self, block: u64, purpose: draw::Purpose) -> draw::Stream {
        draw::stream(self.options.seed, block, purpose)
    }

    /// The columns of the members; `id` comes first and is the key.
    pub(crate) fn member_columns(&self) -> Vec<ColumnSpec> {
        let key = match self.options.keys {
            Keys::Sequence => DataType::BigInt,
            Keys::Uuid => DataType::Text,
        };
        let mut columns = vec![ColumnSpec { name: "id".into(), data_type: key, nullable: false }];
        let mut add = |name: &str, data_type| {
            columns.push(ColumnSpec { name: name.into(), data_type, nullable: true });
        };
        ["gender", "city", "tier", "channel"].iter().for_each(|name| add(name, DataType::Text));
        add("birth", DataType::Date);
        ["registered_at", "last_active_at"].iter().for_each(|name| add(name, DataType::Timestamp));
        ["points", "followers", "orders_count"].iter().for_each(|name| add(name, DataType::Integer));
        add("spend_cents", DataType::BigInt);
        match self.options.tags {
            Tags::Boolean => (0..TAGS).for_each(|k| add(&format!("t{k:02}"), DataType::Boolean)),
            Tags::Array | Tags::Zipf(_) => add("tags", DataType::TextArray),
        }
        (0..self.extras).for_each(|k| add(&format!("a{k:04}"), DataType::Integer));
        columns
    }

    /// The columns of the orders. `member_id` has the type of the members' `id`.
    pub(crate) fn order_columns(&self) -> Vec<ColumnSpec> {
        let member_id = self.member_columns()[0].data_type;
        [
            ("member_id", member_id),
            ("ordered_at", DataType::Timestamp),
            ("amount_cents", DataType::Integer),
            ("category", DataType::SmallInt),
            ("channel", DataType::Text),
        ]
        .map(|(name, data_type)| ColumnSpec { name: name.into(), data_type, nullable: false })
        .into()
    }
}

/// The probabilities of 0 to `max` of a negative binomial (the rest of the tail falls to `max`): an order count is a
/// Poisson number whose rate is gamma-distributed, and a table of its 501 probabilities draws it in one step.
fn negative_binomial(shape: f64, success: f64, max: usize) -> Vec<f64> {
    let mut probabilities = vec![success.powf(shape)];
    for k in 1..=max {
        let previous = probabilities[k - 1];
        probabilities.push(previous * (shape + k as f64 - 1.0) / k as f64 * (1.0 - success));
    }
    let rest = 1.0 - probabilities.iter().sum::<f64>();
    probabilities[max] += rest.max(0.0);
    probabilities
}
