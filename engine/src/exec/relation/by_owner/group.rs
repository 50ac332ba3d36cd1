//! Groups of the rows of owners, by lanes.

use super::super::aggregate::minds_others;
use super::super::funnel::{funnel, window_funnel};
use super::batch::{Batch, Segment, selected};
use super::tree::{Aggregating, Grouped};
use crate::Result;
use crate::calendar::MICROS_PER_DAY;
use crate::exec::compute::{Kind, Lane, NONE, Numbers};
use crate::exec::{FoldFunction, key_bytes};
use crate::predicate::RowFunction;
use hashbrown::HashMap;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

/// In so many groups of one owner a row's is looked for one by one.
const GROUPS_LOOKED_THROUGH: usize = 16;

/// The group that each row is in, and the first row of each.
struct Grouping<'r> {
    of: Cow<'r, [u32]>,
    firsts: Vec<u32>,
    segments: Vec<Segment>,
}

/// A row for each group; `None` where some aggregate has no loop.
pub(super) fn grouped<'a>(rows: &Batch<'a>, asked: &Grouped, wanted: &[bool]) -> Result<Option<Batch<'a>>> {
    let keys = asked.formulas.iter().map(|key| key.of(&rows.lanes, rows.len)).collect::<Result<Vec<_>>>()?;
    let others = keys.iter().zip(&asked.named).filter(|(_, named)| !**named).map(|(key, _)| &**key);
    let grouping = Grouping::of(rows, &others.collect::<Vec<_>>());
    let mut lanes: Vec<Arc<Lane<'a>>> = Vec::with_capacity(keys.len() + asked.making.len());
    lanes.extend(selected(&keys, &grouping.firsts, &wanted[..keys.len()]));
    for aggregate in &asked.making {
        match made(rows, &grouping, aggregate)? {
            Some(lane) => lanes.push(Arc::new(lane)),
            None => return Ok(None),
        }
    }
    Ok(Some(Batch { lanes, len: grouping.firsts.len(), segments: Rc::new(grouping.segments.into()) }))
}

impl<'r> Grouping<'r> {
    fn of(rows: &'r Batch<'_>, others: &[&Lane<'_>]) -> Grouping<'r> {
        if others.is_empty() {
            let segments =
                (1..).zip(rows.segments.iter()).map(|(end, owner)| Segment { half: owner.half, end });
            let firsts = std::iter::once(0).chain(rows.segments.iter().map(|segment| segment.end));
            let firsts = firsts.take(rows.segments.len()).collect();
            return Grouping { of: Cow::Borrowed(rows.numbered()), firsts, segments: segments.collect() };
        }
        let mut of = Vec::with_capacity(rows.len);
        let mut firsts: Vec<u32> = Vec::with_capacity(rows.segments.len());
        let mut segments = Vec::with_capacity(rows.segments.len());
        let mut bytes = Vec::new();
        for (half, owned) in rows.owners() {
            let first = firsts.len();
            let mut places: HashMap<Vec<u8>, u32> = HashMap::new();
            for row in owned {
                let here = &firsts[first..];
                let found = if here.len() <= GROUPS_LOOKED_THROUGH {
                    let same = |known: &u32| others.iter().all(|lane| lane.is_same(*known as usize, row));
                    here.iter().position(same).map(|at| (first + at) as u32)
                } else {
                    if places.is_empty() {
                        for (group, known) in (first as u32..).zip(here) {
                            bytes.clear();
                            others
                                .iter()
                                .for_each(|lane| key_bytes(&lane.value(*known as usize), &mut bytes));
                            places.insert(bytes.clone(), group);
                        }
                    }
                    bytes.clear();
                    others.iter().for_each(|lane| key_bytes(&lane.value(row), &mut bytes));
                    let new = firsts.len() as u32;
                    let group = *places.entry_ref(bytes.as_slice()).or_insert(new);
                    (group != new).then_some(group)
                };
                of.push(found.unwrap_or(firsts.len() as u32));
                if found.is_none() {
                    firsts.push(row as u32);
                }
            }
            segments.push(Segment { half, end: firsts.len() as u32 });
        }
        Grouping { of: Cow::Owned(of), firsts, segments }
    }

    fn len(&self) -> usize {
        self.firsts.len()
    }
}

/// What is made of each group; `None` where there is no loop for it.
fn made<'a>(rows: &Batch<'a>, groups: &Grouping<'_>, aggregating: &Aggregating) -> Result<Option<Lane<'a>>> {
    let arguments = aggregating.arguments.iter().map(|argument| argument.of(&rows.lanes, rows.len));
    let arguments = arguments.collect::<Result<Vec<_>>>()?;
    let filter = aggregating.filter.as_ref().map(|filter| filter.of(&rows.lanes, rows.len)).transpose()?;
    let filter = filter.as_ref().map(|filter| filter.of_each(rows.len));
    let taken = |row: usize| filter.as_ref().is_none_or(|filter| filter[row] == Some(true));
    let distinct = aggregating.distinct;
    if let (RowFunction::Fold(function @ (FoldFunction::Min | FoldFunction::Max)), None) =
        (aggregating.function, &filter)
        && let [Lane::Coded(kind, coded)] = arguments.iter().map(|lane| &**lane).collect::<Vec<_>>()[..]
    {
        let best = coded.best(&groups.of, groups.len(), function == FoldFunction::Min);
        return Ok(Some(Lane::Coded(*kind, best)));
    }
    let arguments: Vec<Arc<Lane<'a>>> = arguments.iter().map(Lane::wide).collect();
    let arguments: Vec<&Lane<'a>> = arguments.iter().map(|lane| &**lane).collect();
    Ok(match (aggregating.function, arguments.as_slice()) {
        (RowFunction::Fold(FoldFunction::Count), []) => Some(counted(groups, taken)),
        (RowFunction::Fold(FoldFunction::Count), [lane]) if !distinct => {
            Some(counted(groups, |row| taken(row) && !lane.is_null(row)))
        }
        (RowFunction::Fold(FoldFunction::Count), [Lane::Exact(_, numbers)]) => {
            Some(counted_distinct(groups, numbers, taken))
        }
        (RowFunction::Fold(function), [Lane::Exact(kind, numbers)])
            if !distinct || matches!(function, FoldFunction::Min | FoldFunction::Max) =>
        {
            folded(groups, function, *kind, numbers, filter.as_deref())
        }
        (RowFunction::ArgMin | RowFunction::ArgMax, [shown, Lane::Exact(_, by)]) => {
            let least = aggregating.function == RowFunction::ArgMin;
            let mut best: Vec<u32> = vec![NONE; groups.len()];
            for (row, (group, by_value)) in groups.of.iter().zip(by.iter()).enumerate() {
                let Some(value) = by_value.filter(|_| taken(row) && !shown.is_null(row)) else { continue };
                let best = &mut best[*group as usize];
                let known = (*best != NONE).then(|| by.values()[*best as usize]);
                if known.is_none_or(|known| if least { value < known } else { value > known }) {
                    *best = row as u32;
                }
            }
            Some(shown.select(&best))
        }
        (
            function @ (RowFunction::Funnel { .. } | RowFunction::WindowFunnel { .. }),
            [Lane::Exact(kind, times), steps @ ..],
        ) if !minds_others(function) => {
            let unit = match kind {
                Kind::Date => MICROS_PER_DAY,
                Kind::Timestamp | Kind::TimestampTz => 1,
                Kind::Integer | Kind::Decimal(_) => return Ok(None),
            };
            let mut masks = vec![0u32; rows.len];
            for (step, lane) in steps.iter().enumerate() {
                for (mask, truth) in masks.iter_mut().zip(&*lane.of_each(rows.len)) {
                    *mask |= u32::from(*truth == Some(true)) << step;
                }
            }
            Some(funnels(groups, times, unit, &masks, taken, |taken| match function {
                RowFunction::Funnel { micros, strict } => funnel(taken, steps.len(), micros, strict),
                RowFunction::WindowFunnel { micros, modes } => {
                    window_funnel(taken, steps.len(), micros, modes)
                }
                _ => 0,
            }))
        }
        _ => None,
    })
}

fn counted<'a>(groups: &Grouping<'_>, counts: impl Fn(usize) -> bool) -> Lane<'a> {
    let mut found = vec![0i64; groups.len()];
    groups.of.iter().enumerate().for_each(|(row, group)| found[*group as usize] += i64::from(counts(row)));
    Lane::Exact(Kind::Integer, found.into())
}

fn counted_distinct<'a>(groups: &Grouping<'_>, numbers: &Numbers, taken: impl Fn(usize) -> bool) -> Lane<'a> {
    let rows = groups.of.iter().zip(numbers.iter()).enumerate().filter(|(row, _)| taken(*row));
    let mut seen: Vec<(u32, i64)> = rows.filter_map(|(_, (group, number))| Some((*group, number?))).collect();
    seen.sort_unstable();
    seen.dedup();
    let mut found = vec![0i64; groups.len()];
    seen.iter().for_each(|(group, _)| found[*group as usize] += 1);
    Lane::Exact(Kind::Integer, found.into())
}

fn folded<'a>(
    groups: &Grouping<'_>,
    function: FoldFunction,
    kind: Kind,
    numbers: &Numbers,
    taken: Option<&[Option<bool>]>,
) -> Option<Lane<'a>> {
    let all = groups.of.iter().zip(numbers.values());
    // Of every group there is a row: what is the least of them, or the greatest, is not NULL.
    let best = match (function, numbers.nulls(), taken) {
        (FoldFunction::Min, None, None) => Some(best(groups, all.clone(), i64::MAX, i64::min)),
        (FoldFunction::Max, None, None) => Some(best(groups, all.clone(), i64::MIN, i64::max)),
        _ => None,
    };
    if let Some(best) = best {
        return Some(Lane::Exact(kind, best.into()));
    }
    let mut made = Made { numbers: vec![0; groups.len()], counts: vec![0; groups.len()] };
    let fits = match (function, numbers.nulls(), taken) {
        (FoldFunction::Sum | FoldFunction::Avg, None, None) => made.fold(all, 0, i64::overflowing_add),
        _ => {
            let taken = |row: usize| taken.is_none_or(|taken| taken[row] == Some(true));
            let some = all.enumerate().filter(|(row, _)| !numbers.is_null(*row) && taken(*row));
            let some = some.map(|(_, one)| one);
            match function {
                FoldFunction::Min => made.fold(some, i64::MAX, |a, b| (a.min(b), false)),
                FoldFunction::Max => made.fold(some, i64::MIN, |a, b| (a.max(b), false)),
                _ => made.fold(some, 0, i64::overflowing_add),
            }
        }
    };
    let scale = match kind {
        Kind::Integer => 0,
        Kind::Decimal(scale) => scale,
        _ if matches!(function, FoldFunction::Min | FoldFunction::Max) => 0,
        _ => return None,
    };
    if !fits {
        return None;
    }
    Some(match function {
        FoldFunction::Min | FoldFunction::Max => Lane::Exact(kind, made.values()),
        FoldFunction::Sum => Lane::Exact(Kind::Decimal(scale), made.values()),
        FoldFunction::Avg => {
            let unit = 10f64.powi(i32::from(scale));
            let mean =
                |(sum, count): (&i64, &u32)| (*count > 0).then(|| *sum as f64 / f64::from(*count) / unit);
            Lane::Double(made.numbers.iter().zip(&made.counts).map(mean).collect())
        }
        FoldFunction::Count => return None,
    })
}

/// The best number of each group.
fn best<'r>(
    groups: &Grouping<'_>,
    rows: impl Iterator<Item = (&'r u32, &'r i64)>,
    worst: i64,
    better: impl Fn(i64, i64) -> i64,
) -> Vec<i64> {
    let mut best = vec![worst; groups.len()];
    rows.for_each(|(group, number)| best[*group as usize] = better(best[*group as usize], *number));
    best
}

/// A number of each group, and how many it was made of.
struct Made {
    numbers: Vec<i64>,
    counts: Vec<u32>,
}

impl Made {
    /// Makes one number of two, beginning with one that changes nothing; false where one did not fit.
    fn fold<'r>(
        &mut self,
        rows: impl Iterator<Item = (&'r u32, &'r i64)>,
        neutral: i64,
        of_two: impl Fn(i64, i64) -> (i64, bool),
    ) -> bool {
        let mut fits = true;
        self.numbers.fill(neutral);
        for (group, number) in rows {
            let (known, count) = (&mut self.numbers[*group as usize], &mut self.counts[*group as usize]);
            let (folded, over) = of_two(*known, *number);
            fits &= !over;
            *known = folded;
            *count += 1;
        }
        fits
    }

    /// The number of each group, NULL of nothing.
    fn values(self) -> Numbers {
        let nulls = self.counts.contains(&0).then(|| self.counts.iter().map(|count| *count == 0).collect());
        Numbers::with_nulls(self.numbers, nulls)
    }
}

/// The level of each group: of the steps that its rows take at all, `level` says how far they go in time.
fn funnels<'a>(
    groups: &Grouping<'_>,
    times: &Numbers,
    unit: i64,
    masks: &[u32],
    taken: impl Fn(usize) -> bool,
    level: impl Fn(Vec<(i64, u32)>) -> i64,
) -> Lane<'a> {
    let mut levels = vec![0i64; groups.len()];
    let mask_of = |row: usize| if taken(row) && !times.is_null(row) { masks[row] } else { 0 };
    let mut steps = vec![0u32; groups.len()];
    groups.of.iter().enumerate().for_each(|(row, group)| steps[*group as usize] |= mask_of(row));
    // Who takes the first step, and the second never, needs no look at times.
    let far: Vec<bool> = steps.iter().map(|steps| steps.trailing_ones() > 1).collect();
    for (found, steps) in levels.iter_mut().zip(&steps) {
        *found = i64::from(steps.trailing_ones().min(1));
    }
    let rows =
        groups.of.iter().enumerate().filter(|(row, group)| far[**group as usize] && mask_of(*row) != 0);
    let mut events: Vec<(u32, u32)> = rows.map(|(row, group)| (*group, row as u32)).collect();
    events.sort_by_key(|(group, _)| *group);
    for of_group in events.chunk_by(|a, b| a.0 == b.0) {
        let event = |(_, row): &(u32, u32)| {
            let time = times.values()[*row as usize].checked_mul(unit)?;
            Some((time, masks[*row as usize]))
        };
        levels[of_group[0].0 as usize] = level(of_group.iter().filter_map(event).collect());
    }
    Lane::Exact(Kind::Integer, levels.into())
}
