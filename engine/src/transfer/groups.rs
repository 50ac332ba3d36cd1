//! Rows of one span of time kept apart by the values of the cluster column.
//!
//! ```text
//! codes of a chunk of owners ─ by span ─ sorted ─ groups of values, each a run: 0 │ 1 │ 2 │ 3 4 5 │ 6 │ … │ NULL
//! ```
//!
//! A value is alone in its run unless it is rare: values that together have no more than a [`GROUPS`]th of their span share one, so that a
//! column of many values costs no more runs than one of a few dozen. Rows without a value are in a run of their own.

use crate::index::owners::Bounds;
use foldhash::fast::FixedState;
use hashbrown::HashSet;

/// Values that have fewer than one in so many of a span's rows share runs.
const GROUPS: usize = 64;

/// Spans are chosen for so many values at most: more are grouped.
const VALUES_MAX: usize = 32;

/// The codes of some rows in the cluster column.
pub(super) struct Clusters {
    codes: Vec<i64>,
    nulls: Vec<bool>,
}

/// Runs of rows that are of one span and have values of one group.
pub(super) struct Groups {
    /// The run of each row.
    pub(super) run_of: Vec<u32>,
    /// The values of each run.
    pub(super) bounds: Vec<Bounds>,
}

impl Clusters {
    pub(super) fn new((codes, nulls): (Vec<i64>, Vec<bool>)) -> Clusters {
        Clusters { codes, nulls }
    }

    /// How many runs there are of a span, about.
    pub(super) fn several(&self) -> usize {
        let mut values: HashSet<i64, FixedState> = HashSet::default();
        for (code, _) in self.codes.iter().zip(&self.nulls).filter(|(_, null)| !**null) {
            if values.insert(*code) && values.len() == VALUES_MAX {
                break;
            }
        }
        values.len().max(1)
    }

    /// The runs of rows whose spans these are, of so many: by spans, then by values.
    pub(super) fn split(&self, span_of: &[u32], spans: usize) -> Groups {
        let rows = || span_of.iter().zip(self.codes.iter().zip(&self.nulls));
        let mut starts = vec![0usize; spans + 1];
        let mut has_nulls = vec![false; spans];
        for (span, (_, null)) in rows() {
            starts[*span as usize + 1] += usize::from(!null);
            has_nulls[*span as usize] |= null;
        }
        (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
        let mut next = starts.clone();
        let mut codes = vec![0i64; starts[spans]];
        for (span, (code, _)) in rows().filter(|(_, (_, null))| !**null) {
            let slot = &mut next[*span as usize];
            codes[*slot] = *code;
            *slot += 1;
        }
        let mut bounds = Vec::new();
        // The runs of each span, those of NULLs last.
        let mut first_run = Vec::with_capacity(spans + 1);
        for span in 0..spans {
            first_run.push(bounds.len());
            grouped(&mut codes[starts[span]..starts[span + 1]], &mut bounds);
            bounds.extend(has_nulls[span].then_some(Bounds::of_nulls()));
        }
        first_run.push(bounds.len());
        let run_of = rows().map(|(span, (code, null))| {
            let (first, end) = (first_run[*span as usize], first_run[*span as usize + 1]);
            let here = &bounds[first..end];
            let within = if *null { here.len() } else { here.partition_point(|run| run.low <= *code) };
            // The run of NULLs has the greatest least of all.
            let nulls = usize::from(!null && within == here.len() && has_nulls[*span as usize]);
            (first + within - 1 - nulls) as u32
        });
        Groups { run_of: run_of.collect(), bounds }
    }
}

/// Sorts the codes of a span and adds the bounds of their groups.
fn grouped(codes: &mut [i64], groups: &mut Vec<Bounds>) {
    codes.sort_unstable();
    let enough = codes.len().div_ceil(GROUPS);
    // The group that may still get values, and its rows.
    let mut open: Option<(Bounds, usize)> = None;
    for same in codes.chunk_by(|a, b| a == b) {
        let value = Bounds { low: same[0], high: same[0] };
        open = match open {
            Some((group, rows)) if rows < enough && same.len() < enough => {
                Some((group.and(value), rows + same.len()))
            }
            full => {
                groups.extend(full.map(|(group, _)| group));
                Some((value, same.len()))
            }
        };
    }
    groups.extend(open.map(|(group, _)| group));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bounds(low: i64, high: i64) -> Bounds {
        Bounds { low, high }
    }

    #[test]
    fn values_are_alone_unless_they_are_rare() {
        let mut groups = Vec::new();
        grouped(&mut [5, 3, 3, 9, 5], &mut groups);
        assert_eq!(groups, [bounds(3, 3), bounds(5, 5), bounds(9, 9)]);
        // 640 rows: a group has ten.
        let mut codes: Vec<i64> = (0..20).chain(std::iter::repeat_n(20, 600)).chain(21..41).collect();
        groups.clear();
        grouped(&mut codes, &mut groups);
        assert_eq!(groups, [bounds(0, 9), bounds(10, 19), bounds(20, 20), bounds(21, 30), bounds(31, 40)]);
        let mut all: Vec<i64> = (0..100_000).collect();
        groups.clear();
        grouped(&mut all, &mut groups);
        assert_eq!(groups.len(), GROUPS);
    }

    proptest! {
        #[test]
        fn each_row_is_in_a_run_of_its_span_and_value(
            rows in proptest::collection::vec((0u32..4, proptest::option::weighted(0.8, prop_oneof![0i64..6, any::<i64>()])), 0..300),
        ) {
            let span_of: Vec<u32> = rows.iter().map(|(span, _)| *span).collect();
            let codes = rows.iter().map(|(_, code)| code.unwrap_or(0)).collect();
            let nulls = rows.iter().map(|(_, code)| code.is_none()).collect();
            let groups = Clusters::new((codes, nulls)).split(&span_of, 4);
            let mut span_of_run = vec![None; groups.bounds.len()];
            for ((span, code), run) in rows.iter().zip(&groups.run_of) {
                let of = groups.bounds[*run as usize];
                match code {
                    Some(code) => prop_assert!((of.low..=of.high).contains(code)),
                    None => prop_assert_eq!(of, Bounds::of_nulls()),
                }
                prop_assert_eq!(*span_of_run[*run as usize].get_or_insert(*span), *span);
            }
            // Every run has rows, and runs ascend by span.
            prop_assert!(span_of_run.iter().all(Option::is_some) && span_of_run.is_sorted());
        }
    }
}
