//! Funnels: how many steps were taken one after another.
//!
//! Three functions, for engines differ. [`funnel`] tries every way, in effect. [`consecutive`] takes neighbours only.
//! [`window_funnel`] is ClickHouse's, which goes through the rows once: one row may take several steps, rows of one time are taken in the order
//! of the steps, and of all ways to a step it remembers the last.

use crate::predicate::FunnelModes;

/// The time of a row, and which steps it is: a bit each.
pub(super) type Stepped = (i64, u32);

/// The most steps that follow each other in time, the last at most `micros` after the first. Rows of one time come as they are stored.
///
/// Of all ways to have come to a step, the one that began last is as good as any other: what it allows to follow is more. So one
/// pass in order of time is enough, with the last beginning for each step. A row takes one step only, so a row's later steps are
/// looked at first; where steps are to be later than those before, rows of one time see only what was before it.
pub(super) fn funnel(mut rows: Vec<Stepped>, steps: usize, micros: i64, strict: bool) -> i64 {
    rows.sort_by_key(|(time, _)| *time);
    let mut began: Vec<Option<i64>> = vec![None; steps];
    let mut start = 0;
    while start < rows.len() {
        let time = rows[start].0;
        let same = rows[start..].iter().take_while(|(other, _)| *other == time).count();
        let together = if strict { same } else { 1 };
        // Rows together are one row with all their steps: each sees what was before all of them.
        let mask = rows[start..start + together].iter().fold(0, |all, (_, mask)| all | mask);
        step(&mut began, time, mask, micros);
        start += together;
    }
    reached(&began)
}

/// A row takes one step, after those that were taken before it.
fn step(began: &mut [Option<i64>], time: i64, mask: u32, micros: i64) {
    for step in (0..began.len()).rev().filter(|step| mask >> step & 1 == 1) {
        let beginning = match step.checked_sub(1) {
            None => Some(time),
            Some(before) => began[before].filter(|first| is_within(*first, time, micros)),
        };
        began[step] = began[step].max(beginning);
    }
}

/// As [`funnel`], of rows that are neighbours: those that are no step stand between others, too.
pub(super) fn consecutive(mut rows: Vec<Stepped>, steps: usize, micros: i64) -> i64 {
    rows.sort_by_key(|(time, _)| *time);
    let (mut began, mut most) = (vec![None; steps], 0);
    for (time, mask) in rows {
        let before = std::mem::replace(&mut began, vec![None; steps]);
        for step in (0..steps).filter(|step| mask >> step & 1 == 1) {
            began[step] = match step.checked_sub(1) {
                None => Some(time),
                Some(last) => before[last].filter(|first| is_within(*first, time, micros)),
            };
        }
        most = most.max(reached(&began));
    }
    most
}

/// As ClickHouse's `windowFunnel` counts. In strict order, rows that are no step have to be among the rows.
pub(super) fn window_funnel(mut rows: Vec<Stepped>, steps: usize, micros: i64, modes: FunnelModes) -> i64 {
    if modes.has(FunnelModes::STRICT_ONCE) {
        return if modes.has(FunnelModes::STRICT_INCREASE) {
            funnel(rows, steps, micros, true)
        } else {
            rows.sort_by_key(|(time, _)| *time);
            once(&rows, steps, micros)
        };
    }
    let [deduplicates, ordered, increases, reenters] = [
        FunnelModes::STRICT_DEDUPLICATION,
        FunnelModes::STRICT_ORDER,
        FunnelModes::STRICT_INCREASE,
        FunnelModes::ALLOW_REENTRY,
    ]
    .map(|mode| modes.has(mode));
    // A row that is no step is step 0, the others are numbered from 1.
    let mut taken: Vec<(i64, usize)> = Vec::with_capacity(rows.len());
    for (time, mask) in rows {
        if mask == 0 {
            taken.push((time, 0));
        }
        taken.extend((0..steps).filter(|step| mask >> step & 1 == 1).map(|step| (time, step + 1)));
    }
    taken.sort_unstable();
    // When the way to each step began, and when the step was taken.
    let mut ways: Vec<Option<(i64, i64)>> = vec![None; steps];
    for (at, (time, number)) in taken.iter().copied().enumerate() {
        let is_begun = ways[0].is_some();
        let Some(step) = number.checked_sub(1) else {
            if ordered && is_begun {
                break;
            }
            continue;
        };
        let Some(before) = step.checked_sub(1) else {
            ways[0] = Some((time, time));
            continue;
        };
        if deduplicates && ways[step].is_some() {
            return at.checked_sub(1).map_or(0, |last| taken[last].1 as i64);
        }
        match ways[before] {
            Some((first, last)) if is_within(first, time, micros) && (!increases || last < time) => {
                ways[step] = Some((first, time));
                if step + 1 == steps {
                    return steps as i64;
                }
            }
            None if ordered && is_begun && !reenters => {
                return ways.iter().position(Option::is_none).unwrap_or(steps) as i64;
            }
            _ => {}
        }
    }
    reached(&ways)
}

/// A row takes one step, and rows of one time follow each other as the steps do.
///
/// Of the rows of one time, those that take the steps from one on are a matching of steps and rows: it grows by one step at a time,
/// along a path that changes places.
fn once(rows: &[Stepped], steps: usize, micros: i64) -> i64 {
    let mut began: Vec<Option<i64>> = vec![None; steps];
    for some in rows.chunk_by(|a, b| a.0 == b.0) {
        let time = some[0].0;
        if let [(_, mask)] = some {
            step(&mut began, time, *mask, micros);
            continue;
        }
        let before = began.clone();
        let candidates = candidates(some, steps);
        for start in 0..steps {
            let first = match start.checked_sub(1) {
                None => Some(time),
                Some(last) => before[last].filter(|first| is_within(*first, time, micros)),
            };
            if first.is_none() {
                continue;
            }
            let mut takes: Vec<Option<usize>> = vec![None; some.len()];
            for (step, best) in began.iter_mut().enumerate().skip(start) {
                let mut seen = vec![false; some.len()];
                if !is_placed(step, &candidates, &mut takes, &mut seen) {
                    break;
                }
                *best = (*best).max(first);
            }
        }
    }
    reached(&began)
}

/// For each step some rows that are it: as many as there are steps are enough.
fn candidates(rows: &[Stepped], steps: usize) -> Vec<Vec<usize>> {
    let of = |step: usize| {
        let found = rows.iter().enumerate().filter(|(_, (_, mask))| mask >> step & 1 == 1);
        found.map(|(at, _)| at).take(steps).collect()
    };
    (0..steps).map(of).collect()
}

/// Gives a step a row, if need be by giving others theirs anew. As deep as there are steps.
fn is_placed(step: usize, candidates: &[Vec<usize>], takes: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    for row in &candidates[step] {
        if std::mem::replace(&mut seen[*row], true) {
            continue;
        }
        if takes[*row].is_none_or(|other| is_placed(other, candidates, takes, seen)) {
            takes[*row] = Some(step);
            return true;
        }
    }
    false
}

fn is_within(first: i64, time: i64, micros: i64) -> bool {
    time.saturating_sub(first) <= micros
}

fn reached<T>(ways: &[Option<T>]) -> i64 {
    ways.iter().rposition(Option::is_some).map_or(0, |step| step as i64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By trying every way: rows for the steps one after another, each as `follows` says.
    fn tried(
        rows: &[Stepped],
        steps: usize,
        micros: i64,
        follows: &dyn Fn(usize, usize) -> bool,
        chosen: &[usize],
    ) -> usize {
        let step = chosen.len();
        let mut most = step;
        if step == steps {
            return most;
        }
        for (at, (time, mask)) in rows.iter().enumerate() {
            let next = chosen.last().is_none_or(|last| follows(*last, at));
            let within = chosen.first().is_none_or(|first| time - rows[*first].0 <= micros);
            if mask >> step & 1 == 1 && next && within && !chosen.contains(&at) {
                let chosen: Vec<usize> = chosen.iter().copied().chain([at]).collect();
                most = most.max(tried(rows, steps, micros, follows, &chosen));
            }
        }
        most
    }

    proptest! {
        #[test]
        fn a_funnel_is_the_longest_way(
            rows in proptest::collection::vec((0i64..8, 0u32..8), 0..9),
            micros in 0i64..6,
        ) {
            let later = |a: usize, b: usize| rows[b].0 > rows[a].0;
            let stored = |a: usize, b: usize| later(a, b) || (rows[b].0 == rows[a].0 && b > a);
            let any = |a: usize, b: usize| rows[b].0 >= rows[a].0;
            let longest = |follows: &dyn Fn(usize, usize) -> bool| tried(&rows, 3, micros, follows, &[]) as i64;
            prop_assert_eq!(funnel(rows.clone(), 3, micros, false), longest(&stored));
            prop_assert_eq!(funnel(rows.clone(), 3, micros, true), longest(&later));
            let once = FunnelModes::STRICT_ONCE;
            prop_assert_eq!(window_funnel(rows.clone(), 3, micros, once), longest(&any));
            let both = once.and(FunnelModes::STRICT_INCREASE);
            prop_assert_eq!(window_funnel(rows.clone(), 3, micros, both), longest(&later));
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by_key(|at| rows[*at].0);
            let place = |row: usize| order.iter().position(|at| *at == row);
            let next = |a: usize, b: usize| place(b) == place(a).map(|place| place + 1);
            prop_assert_eq!(consecutive(rows.clone(), 3, micros), longest(&next));
        }

        /// Without rows of one time and rows of several steps, engines agree.
        #[test]
        fn without_ties_the_window_is_the_longest_way(
            gaps in proptest::collection::vec((1i64..4, 0u32..4), 0..12),
            micros in 0i64..9,
        ) {
            let mut time = 0;
            let rows: Vec<Stepped> = gaps.iter().map(|(gap, step)| {
                time += gap;
                (time, if *step == 3 { 0 } else { 1 << step })
            }).collect();
            let expected = funnel(rows.clone(), 3, micros, false);
            for modes in [FunnelModes::default(), FunnelModes::STRICT_INCREASE, FunnelModes::STRICT_ONCE] {
                prop_assert_eq!(window_funnel(rows.clone(), 3, micros, modes), expected, "{:?}", modes);
            }
        }
    }

    /// The events of ClickHouse's pull requests 6548, 9773 and 86916, and of its issues 27469, 37177 and 93789.
    #[test]
    fn modes_are_those_of_clickhouse() {
        let events = |text: &str, steps: &str| -> Vec<Stepped> {
            let of = |event: char| {
                let bits = steps.chars().enumerate().filter(|(_, step)| *step == event);
                bits.fold(0, |mask, (step, _)| mask | 1 << step)
            };
            text.chars().enumerate().map(|(at, event)| (at as i64, of(event))).collect()
        };
        let [order, once, dedup] =
            [FunnelModes::STRICT_ORDER, FunnelModes::STRICT_ONCE, FunnelModes::STRICT_DEDUPLICATION];
        let increase = FunnelModes::STRICT_INCREASE;
        let reentry = order.and(FunnelModes::ALLOW_REENTRY);
        for (text, steps, modes, expected) in [
            ("ABC", "ABC", order, 3),
            ("ADBC", "ABC", FunnelModes::default(), 3),
            ("ADBC", "ABC", order, 1),
            ("AABBCC", "ABC", order, 3),
            ("AABBDCC", "ABC", order, 2),
            ("BBCCAA", "ABC", order, 1),
            ("ABBC", "ABC", dedup, 2),
            ("ABCBD", "ABCD", dedup, 3),
            ("IsliS", "Isli", dedup, 4),
            ("ISLISISLE", "ISLE", dedup, 1),
            ("ABAC", "ABAC", order, 1),
            ("ABAC", "ABAC", reentry, 4),
            ("FS", "FFS", FunnelModes::default(), 3),
            ("FS", "FFS", once, 1),
            ("FFS", "FFS", once, 3),
        ] {
            assert_eq!(
                window_funnel(events(text, steps), steps.len(), 100, modes),
                expected,
                "{text} {steps} {modes:?}"
            );
        }
        // A later beginning of the same time hides the earlier one, unless rows are taken once.
        let rows = vec![(0, 1), (5, 1), (5, 2)];
        assert_eq!(window_funnel(rows.clone(), 2, 10, increase), 1);
        assert_eq!(window_funnel(rows.clone(), 2, 10, increase.and(once)), 2);
        assert_eq!(funnel(rows, 2, 10, true), 2);
    }

    #[test]
    fn many_rows_of_one_time_are_quick() {
        let rows = vec![(0, u32::MAX); 20_000];
        assert_eq!(window_funnel(rows, 32, 10, FunnelModes::STRICT_ONCE), 32);
        let rows = vec![(0, u32::MAX); 31];
        assert_eq!(window_funnel(rows, 32, 10, FunnelModes::STRICT_ONCE), 31);
    }
}
