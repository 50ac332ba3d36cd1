//! Tags: 32 of falling density as booleans or as a list, or many of Zipf frequency.

use super::draw::{Purpose, hits};
use super::{Population, TAGS, Tags};
use muster_engine::batch::{ColumnValues, Strings};

/// How many Zipf tags a member has on average, before the most frequent are capped at one each.
const ZIPF_TAGS_MEAN: f64 = 5.0;

/// The density of boolean tag `k`: a half, and 28 % less with each.
pub(super) fn density(k: usize) -> f64 {
    0.5 * 0.72f64.powi(k as i32)
}

/// The densities of `n` Zipf tags: in proportion to 1/rank, summing to about five tags a member.
pub(super) fn zipf_densities(n: u32) -> Vec<f64> {
    let harmonic: f64 = (1..=n).map(|rank| 1.0 / f64::from(rank)).sum();
    (1..=n).map(|rank| (ZIPF_TAGS_MEAN / harmonic / f64::from(rank)).min(1.0)).collect()
}

impl Population {
    /// The tag columns of a block.
    pub(super) fn tags_of(&self, block: u64, rows: usize) -> Vec<ColumnValues> {
        match self.options.tags {
            Tags::Boolean => (0..TAGS).map(|k| ColumnValues::Boolean(self.tag_of(k, block, rows))).collect(),
            Tags::Array => vec![self.tag_lists(block, rows)],
            Tags::Zipf(n) => vec![self.zipf_lists(n, block, rows)],
        }
    }

    fn tag_of(&self, k: usize, block: u64, rows: usize) -> Vec<bool> {
        let mut column = vec![false; rows];
        hits(&mut self.stream(block, Purpose::Tag(k as u32)), density(k), rows, |row| column[row] = true);
        column
    }

    fn tag_lists(&self, block: u64, rows: usize) -> ColumnValues {
        let mut masks = vec![0u32; rows];
        for k in 0..TAGS {
            let mut stream = self.stream(block, Purpose::Tag(k as u32));
            hits(&mut stream, density(k), rows, |row| masks[row] |= 1 << k);
        }
        let (mut ends, mut tags) = (Vec::with_capacity(rows), Vec::with_capacity(rows * 2));
        for mut mask in masks {
            while mask != 0 {
                tags.push(mask.trailing_zeros());
                mask &= mask - 1;
            }
            ends.push(tags.len() as u32);
        }
        ColumnValues::Tags { ends, tags, dictionary: strings((0..TAGS).map(|k| format!("t{k:02}"))) }
    }

    /// Tag by tag over the whole block, then turned into a list per row by counting: a tag that three members of a
    /// block have costs three draws, not 65,536. The last block is drawn whole as well, so that a smaller population
    /// stays the beginning of a larger one.
    fn zipf_lists(&self, n: u32, block: u64, rows: usize) -> ColumnValues {
        let mut stream = self.stream(block, Purpose::ZipfTags);
        let mut pairs: Vec<(u32, u32)> = Vec::with_capacity(rows * 6);
        let mut starts = vec![0u32; rows + 1];
        for (tag, density) in zipf_densities(n).into_iter().enumerate() {
            hits(&mut stream, density, self.block_rows(), |row| {
                if row < rows {
                    pairs.push((row as u32, tag as u32));
                    starts[row + 1] += 1;
                }
            });
        }
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        // Only the tags of this block go into its dictionary.
        let mut used = vec![u32::MAX; n as usize];
        let mut dictionary = Strings::default();
        let mut tags = vec![0; pairs.len()];
        let mut next = starts.clone();
        for (row, tag) in pairs {
            let entry = &mut used[tag as usize];
            if *entry == u32::MAX {
                *entry = dictionary.len() as u32;
                dictionary.push(&format!("tag_{tag:05}"));
            }
            tags[next[row as usize] as usize] = *entry;
            next[row as usize] += 1;
        }
        ColumnValues::Tags { ends: starts[1..].to_vec(), tags, dictionary }
    }
}

/// A dictionary of these names.
pub(super) fn strings(names: impl IntoIterator<Item = impl AsRef<str>>) -> Strings {
    let mut strings = Strings::default();
    names.into_iter().for_each(|name| strings.push(name.as_ref()));
    strings
}
