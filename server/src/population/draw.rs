//! Drawing: one random stream per column and block, weighted choices in constant time, sparse hits by skipping.
//!
//! Every column of every block has a random stream of its own, derived from the seed, the block's number and the
//! column. So blocks can be made in any order by any number of threads, one column can be made again without the
//! others (the orders need the registration of their member, and nothing else), and an option that adds a column
//! changes no other.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1};

/// The generator of all streams: named, not "the small one", so that a newer library draws the same population.
pub(super) type Stream = Xoshiro256PlusPlus;

/// What a stream is drawn for. The numbers are part of the population: never renumber them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Key,
    Gender,
    City,
    Tier,
    Channel,
    Birth,
    RegisteredAt,
    LastActiveAt,
    Points,
    Followers,
    OrdersCount,
    Amount,
    OrderedAt,
    Category,
    OrderChannel,
    ZipfTags,
    /// Boolean tag k.
    Tag(u32),
    /// Extra column k.
    Extra(u32),
    /// Where column k is NULL.
    Nulls(u32),
}

impl Purpose {
    fn number(self) -> u64 {
        match self {
            Purpose::Key => 1,
            Purpose::Gender => 2,
            Purpose::City => 3,
            Purpose::Tier => 4,
            Purpose::Channel => 5,
            Purpose::Birth => 6,
            Purpose::RegisteredAt => 7,
            Purpose::LastActiveAt => 8,
            Purpose::Points => 9,
            Purpose::Followers => 10,
            Purpose::OrdersCount => 11,
            Purpose::Amount => 12,
            Purpose::OrderedAt => 13,
            Purpose::Category => 14,
            Purpose::OrderChannel => 15,
            Purpose::ZipfTags => 16,
            Purpose::Tag(k) => (1 << 32) | u64::from(k),
            Purpose::Extra(k) => (2 << 32) | u64::from(k),
            Purpose::Nulls(k) => (3 << 32) | u64::from(k),
        }
    }
}

/// The stream of one purpose in one block.
pub(super) fn stream(seed: u64, block: u64, purpose: Purpose) -> Stream {
    Stream::seed_from_u64(mix(mix(mix(seed) ^ block) ^ purpose.number()))
}

/// A bijection that scatters neighbouring numbers (the finaliser of SplitMix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A weighted choice among `0..n` by Vose's alias method: one random word and one table entry a draw, exact to 2⁻³².
pub(super) struct Weighted {
    /// Below `threshold` the slot itself, else its alias.
    slots: Vec<(u32, u32)>,
}

impl Weighted {
    /// The choice with these weights, which need not sum to one.
    pub(super) fn new(weights: &[f64]) -> Weighted {
        let n = weights.len();
        let total: f64 = weights.iter().sum();
        let mut scaled: Vec<f64> = weights.iter().map(|w| w * n as f64 / total).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| scaled[i] < 1.0);
        // What rounding leaves over keeps the full threshold and itself as alias.
        let mut slots: Vec<(u32, u32)> = (0..n).map(|i| (u32::MAX, i as u32)).collect();
        while let (Some(&l), Some(s)) = (large.last(), small.pop()) {
            slots[s] = ((scaled[s] * 4_294_967_296.0) as u32, l as u32);
            scaled[l] -= 1.0 - scaled[s];
            if scaled[l] < 1.0 {
                large.pop();
                small.push(l);
            }
        }
        Weighted { slots }
    }

    /// One draw.
    pub(super) fn draw(&self, stream: &mut Stream) -> u32 {
        let word = stream.next_u64();
        let slot = (((word >> 32) * self.slots.len() as u64) >> 32) as usize;
        let (threshold, alias) = self.slots[slot];
        if (word as u32) < threshold { slot as u32 } else { alias }
    }
}

/// A uniform number in `[0, 1)`.
pub(super) fn unit(stream: &mut Stream) -> f64 {
    stream.random::<f64>()
}

/// Densities from here on are drawn row by row, rarer ones by skipping: a skip costs about sixteen comparisons.
const SKIP_DENSITY_MAX: f64 = 1.0 / 16.0;

/// Calls `hit` with each of the rows `0..rows` that a coin of this density picks, in order.
///
/// Cost: a comparison a row where hits are frequent, else one exponential draw a hit: the gap to the next hit of a
/// coin with density d is geometric, and ⌊Exp(1) / −ln(1 − d)⌋ is exactly that.
pub(super) fn hits(stream: &mut Stream, density: f64, rows: usize, mut hit: impl FnMut(usize)) {
    if density <= 0.0 {
        return;
    }
    if density > SKIP_DENSITY_MAX {
        let threshold = (density.min(1.0) * 4_294_967_296.0) as u64;
        for pair in 0..rows.div_ceil(2) {
            let word = stream.next_u64();
            if (word >> 32) < threshold {
                hit(pair * 2);
            }
            if (word & 0xFFFF_FFFF) < threshold && pair * 2 + 1 < rows {
                hit(pair * 2 + 1);
            }
        }
        return;
    }
    let rate = -(-density).ln_1p();
    let mut row = 0.0;
    loop {
        let exponential: f64 = Exp1.sample(stream);
        row += (exponential / rate).floor();
        if row >= rows as f64 {
            return;
        }
        hit(row as usize);
        row += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weighted_choice_has_its_weights() {
        let weights = [0.35, 0.25, 0.22, 0.10, 0.06, 0.02];
        let choice = Weighted::new(&weights);
        let mut stream = stream(1, 0, Purpose::Tier);
        let mut counts = [0u32; 6];
        (0..1_000_000).for_each(|_| counts[choice.draw(&mut stream) as usize] += 1);
        for (count, weight) in counts.iter().zip(weights) {
            assert!((f64::from(*count) / 1e6 - weight).abs() < 0.002, "{counts:?}");
        }
    }

    #[test]
    fn hits_have_their_density_on_both_paths_and_stay_in_range() {
        for density in [1.0, 0.5, 0.07, 0.06, 0.01, 0.0001] {
            let mut stream = stream(2, 0, Purpose::Tag(0));
            let (mut count, mut last) = (0u64, None);
            hits(&mut stream, density, 999_999, |row| {
                assert!(row < 999_999 && last.is_none_or(|l| l < row));
                last = Some(row);
                count += 1;
            });
            let expected = density * 999_999.0;
            let five_sigma = 5.0 * (expected * (1.0 - density)).sqrt() + 1.0;
            assert!((count as f64 - expected).abs() < five_sigma, "density {density}: {count}");
        }
    }

    #[test]
    fn streams_differ_by_seed_block_and_purpose() {
        let first = |seed, block, purpose| stream(seed, block, purpose).next_u64();
        let all = [
            first(1, 0, Purpose::Key),
            first(2, 0, Purpose::Key),
            first(1, 1, Purpose::Key),
            first(1, 0, Purpose::City),
            first(1, 0, Purpose::Tag(2)),
            first(1, 0, Purpose::Extra(2)),
        ];
        let distinct: std::collections::HashSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
