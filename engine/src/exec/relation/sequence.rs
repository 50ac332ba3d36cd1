//! Patterns of events: whether one is found, and how often.
//!
//! Backwards, it is settled for each row whether an event of the pattern may be that row so that the rest follows: of the rows that may be the next
//! event, the first one is as good as any other. So the time is rows × events, whatever the pattern; trying every way would double it with each gap.

use super::funnel::Stepped;
use crate::predicate::{Gap, PatternEvent, SequencePattern};

/// How many times a pattern is found without two of them sharing a row, or overlapping; `once` stops at the first. Each begins as early as it can, and
/// each of its events comes as early as it can.
pub(super) fn count(pattern: &SequencePattern, mut rows: Vec<Stepped>, once: bool) -> i64 {
    rows.sort_by_key(|(time, _)| *time);
    let fits = completions(pattern, &rows);
    let (mut found, mut from) = (0, 0);
    while let Some(last) = chain(pattern, &rows, &fits, from) {
        found += 1;
        from = last + 1;
        if once {
            break;
        }
    }
    found
}

/// For each row, a bit for each event of the pattern that it may be so that the rest follows.
fn completions(pattern: &SequencePattern, rows: &[Stepped]) -> Vec<u64> {
    let mut fits = vec![0_u64; rows.len()];
    // From each row on, the first one that the next event may be, and the first one that is forbidden.
    let mut next = vec![rows.len(); rows.len() + 1];
    let mut forbidden = vec![rows.len(); rows.len() + 1];
    for (number, (event, gap)) in pattern.events.iter().zip(&pattern.gaps).enumerate().rev() {
        let is_last = number + 1 == pattern.events.len();
        for at in (0..rows.len()).rev() {
            forbidden[at] = if rows[at].1 & gap.forbidden != 0 { at } else { forbidden[at + 1] };
            next[at] = if !is_last && fits[at] >> (number + 1) & 1 == 1 { at } else { next[at + 1] };
        }
        for at in 0..rows.len() {
            let is_followed = || match is_last {
                true => is_closed(gap, rows, &forbidden, at),
                false => {
                    let after = earliest(gap, rows, at);
                    let found = next[after.min(rows.len())];
                    is_near(gap, rows, at, found) && forbidden[at + 1] >= found
                }
            };
            if meets(*event, rows[at].1) && is_followed() {
                fits[at] |= 1 << number;
            }
        }
    }
    fits
}

/// Where the first chain from a row on ends.
fn chain(pattern: &SequencePattern, rows: &[Stepped], fits: &[u64], from: usize) -> Option<usize> {
    let first = |number: usize, from: usize| (from..rows.len()).find(|at| fits[*at] >> number & 1 == 1);
    let mut at = first(0, from)?;
    for number in 1..pattern.events.len() {
        at = first(number, earliest(&pattern.gaps[number - 1], rows, at))?;
    }
    Some(at)
}

fn meets(event: PatternEvent, mask: u32) -> bool {
    match event {
        PatternEvent::Any => true,
        PatternEvent::Meets(condition) => mask >> condition & 1 == 1,
    }
}

/// The first row after one at which a gap may end.
fn earliest(gap: &Gap, rows: &[Stepped], at: usize) -> usize {
    if gap.least <= 0 {
        return at + 1;
    }
    let least = rows[at].0.saturating_add(gap.least);
    at + 1 + rows[at + 1..].partition_point(|(time, _)| *time < least)
}

/// True where a row may end the gap after another one, whatever is between.
fn is_near(gap: &Gap, rows: &[Stepped], at: usize, next: usize) -> bool {
    next < rows.len()
        && (gap.is_open || next == at + 1)
        && rows[next].0.saturating_sub(rows[at].0) <= gap.most
}

/// True where nothing forbidden follows the last event, within the times of the gap.
fn is_closed(gap: &Gap, rows: &[Stepped], forbidden: &[usize], at: usize) -> bool {
    gap.forbidden == 0 || !is_near(gap, rows, at, forbidden[earliest(gap, rows, at)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By trying every way: the rows that the events may be, the earliest first.
    fn tried(
        pattern: &SequencePattern,
        rows: &[Stepped],
        from: usize,
        chosen: &mut Vec<usize>,
    ) -> Option<usize> {
        let number = chosen.len();
        let Some(event) = pattern.events.get(number) else {
            let (last, gap) = (*chosen.last()?, pattern.gaps.last()?);
            let within = |row: &Stepped| (gap.least..=gap.most).contains(&(row.0 - rows[last].0));
            let mut after = rows[last + 1..].iter();
            return after.all(|row| row.1 & gap.forbidden == 0 || !within(row)).then_some(last);
        };
        for at in from..rows.len() {
            let fits = match number.checked_sub(1) {
                None => true,
                Some(before) => {
                    let (last, gap) = (chosen[before], pattern.gaps[before]);
                    (gap.is_open || at == last + 1)
                        && (gap.least..=gap.most).contains(&(rows[at].0 - rows[last].0))
                        && rows[last + 1..at].iter().all(|row| row.1 & gap.forbidden == 0)
                }
            };
            if fits && meets(*event, rows[at].1) {
                chosen.push(at);
                if let Some(end) = tried(pattern, rows, at + 1, chosen) {
                    return Some(end);
                }
                chosen.pop();
            }
        }
        None
    }

    fn any_pattern() -> impl Strategy<Value = String> {
        let event =
            prop_oneof![3 => (1..4).prop_map(|number| format!("(?{number})")), 1 => Just(".".to_owned())];
        let part = prop_oneof![
            Just(".*".to_owned()),
            (1..4).prop_map(|number| format!("(?!{number})")),
            (proptest::sample::select(vec!["<", "<=", ">", ">=", "=="]), 0..4)
                .prop_map(|(operator, seconds)| format!("(?t{operator}{seconds})")),
        ];
        let gap = proptest::collection::vec(part, 0..3).prop_map(|parts| parts.concat());
        let last =
            prop_oneof![Just(String::new()), Just("(?!2)".to_owned()), Just("(?!3)(?t<=2)".to_owned())];
        (event.clone(), proptest::collection::vec((gap, event), 0..4), last).prop_map(
            |(first, rest, last)| {
                let rest: String = rest.into_iter().map(|(gap, event)| gap + &event).collect();
                format!("{first}{rest}{last}")
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn chains_are_those_of_trying_every_way(
            text in any_pattern(),
            rows in proptest::collection::vec((0i64..8, 1u32..8), 0..10),
        ) {
            let pattern = SequencePattern::parse(&text, 3).unwrap();
            let mut rows: Vec<Stepped> = rows.into_iter().map(|(seconds, mask)| (seconds * 1_000_000, mask)).collect();
            rows.sort_by_key(|(time, _)| *time);
            let (mut expected, mut from) = (0, 0);
            while let Some(last) = tried(&pattern, &rows, from, &mut Vec::new()) {
                expected += 1;
                from = last + 1;
            }
            prop_assert_eq!(count(&pattern, rows.clone(), false), expected, "{}", text);
            prop_assert_eq!(count(&pattern, rows, true), expected.min(1), "{}", text);
        }
    }

    #[test]
    fn patterns_that_double_with_each_gap_are_quick() {
        let pattern = SequencePattern::parse(&("(?1).*".repeat(60) + "(?1)(?t<=9)(?1)"), 2);
        let rows: Vec<Stepped> = (0..100_000).map(|second| (second * 1_000_000, 1)).collect();
        assert!(count(&pattern.unwrap(), rows.clone(), false) > 0);
        let never = SequencePattern::parse(&("(?1).*".repeat(60) + "(?2)"), 2).unwrap();
        assert_eq!(count(&never, rows, false), 0);
    }
}
