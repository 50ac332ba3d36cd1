//! The order of rows that belong to somebody: their owner's chunk, a span of time, values of the cluster column if there is one
//! ([`super::groups`]), their owner, the time, the row as it came.
//!
//! ```text
//! owner of each row (by key) ─ chunks of owners ([`super::near`]) ─ each: its rows' times ─ spans ─ groups ─ sorted run by run
//! ```
//!
//! Cost: six bytes a row: whose it is or its slot, later the row, and half an owner.

use super::codes::{Chunked, Codes};
use super::groups::{Clusters, Groups};
use super::held::Held;
use super::near::{NO_OWNER, Near, Whose};
use crate::calendar::{MICROS_PER_DAY, civil_from_days, days_of};
use crate::control::Cancel;
use crate::exec::words_of;
use crate::index::owners::{Bounds, NOBODYS, Run};
use crate::kernel;
use crate::member::{Key, KeyIndex, lookup};
use crate::schema::{ColumnId, DataType, Owner, TableSchema};
use crate::table::TableState;
use crate::writer::apply::Before;
use crate::{Error, Result};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use muster_storage::format::CHUNK_MEMBERS;
use rayon::prelude::*;

/// Keys that are looked up together.
const KEYS_AT_ONCE: usize = 1 << 18;

/// The fewest rows that the runs of a span have on average: one that gives fewer is too fine.
const RUN_ROWS: usize = 1_024;

/// The same where the rows of a span are kept apart by a column of several values: fewer, since spans get coarser by it.
const CLUSTER_RUN_ROWS: usize = 384;

/// Keys of fewer are sorted by comparing them: counting by bytes has to look at 256 of these.
const RADIX_ROWS_MIN: usize = 128;

const MICROS_PER_HOUR: i64 = MICROS_PER_DAY / 24;

/// Days or hours that are counted in an array, from the first on; further apart they are searched for.
const ARRAY_MAX: i64 = 1 << 17;

/// Rows that are to be put in order: where they came, or at their slots.
#[derive(Clone, Copy)]
pub(super) enum Loose<'t> {
    /// In parts just written.
    Parts(&'t TableState),
    /// In memory, at their slots.
    Near(&'t Near, &'t TableSchema),
}

impl<'t> Loose<'t> {
    /// The codes of a column.
    pub(super) fn codes(&self, column: ColumnId) -> Result<Codes<'t>> {
        match self {
            Loose::Parts(table) => Ok(Codes::Chunked(Chunked::of(table, &table.reader(column)?)?)),
            Loose::Near(near, schema) => Ok(Codes::Near(near.column(place_of(schema, column)?))),
        }
    }

    /// The codes of the column that rows are clustered by; `None` where it is TEXT that has none.
    fn clusters(&self, column: ColumnId) -> Result<Option<Codes<'t>>> {
        if let Loose::Parts(table) = self
            && (Before::of(table, column)?.is_plain() || table.data_type(column)? == DataType::Boolean)
        {
            return Ok(None);
        }
        self.codes(column).map(Some)
    }

    fn data_type(&self, column: ColumnId) -> Result<DataType> {
        match self {
            Loose::Parts(table) => table.data_type(column),
            Loose::Near(_, schema) => {
                let column = schema.column(column).map(|column| column.data_type);
                column.ok_or_else(|| Error::Invalid("a time in no column".into()))
            }
        }
    }
}

fn place_of(schema: &TableSchema, column: ColumnId) -> Result<usize> {
    let place = schema.columns.iter().position(|one| one.id == column);
    place.ok_or_else(|| Error::Invalid(format!("no column {}", column.0)))
}

/// The new order of a table's rows, as far as it has been asked for ([`Order::reach`]).
pub(super) struct Order {
    /// The rows, or slots, in the new order.
    pub(super) rows: Vec<u32>,
    /// True where they are slots, which ascend from 0 on before they are in order.
    slots: bool,
    /// The row as it came of each slot, where rows are in the order of slots and somebody will ask.
    came: Option<Vec<u32>>,
    /// The low half of the ordinal of each row's owner, in the new order; 0 of nobody's.
    pub(super) halves: Vec<u16>,
    /// Runs by their first row in the new order, with what they have in the cluster column.
    pub(super) runs: Vec<(u64, Run, Option<Bounds>)>,
    /// The first row of each chunk of owners, and the end.
    pub(super) starts: Vec<usize>,
    /// Chunks of owners whose rows are in order.
    ready: usize,
}

impl Order {
    /// The rows of a chunk of the new order.
    pub(super) fn chunk(&self, chunk: usize) -> &[u32] {
        let first = chunk * CHUNK_MEMBERS;
        &self.rows[first..self.rows.len().min(first + CHUNK_MEMBERS)]
    }

    /// The row that came first, second, … of all, by its place in the new order.
    pub(super) fn came(&self, row: u32) -> u32 {
        let slot = self.rows[row as usize];
        self.came.as_ref().map_or(slot, |came| came[slot as usize])
    }

    /// Rows that belong to nobody.
    pub(super) fn nobodys(&self) -> u64 {
        let last = self.starts.len().saturating_sub(2);
        (self.rows.len() - self.starts.get(last).copied().unwrap_or(0)) as u64
    }
}

/// How long the times of a run may be apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Span {
    /// From the finest.
    const ALL: [Span; 5] = [Span::Hour, Span::Day, Span::Week, Span::Month, Span::Year];

    /// The number of the span that a time is in.
    fn of(self, data_type: DataType, code: i64) -> i64 {
        let days = if data_type == DataType::Date { code } else { days_of(code) };
        match self {
            Span::Hour if data_type == DataType::Date => days.saturating_mul(24),
            Span::Hour => code.div_euclid(MICROS_PER_HOUR),
            Span::Day => days,
            // Weeks begin on Mondays; 1970-01-01 was a Thursday.
            Span::Week => days.saturating_add(3).div_euclid(7),
            Span::Month => {
                let (year, month, _) = civil_from_days(days);
                year * 12 + i64::from(month)
            }
            Span::Year => civil_from_days(days).0,
        }
    }

    /// The next finer one.
    fn finer(self) -> Option<Span> {
        Span::ALL.iter().rev().skip_while(|span| **span != self).nth(1).copied()
    }
}

/// What rows are put in order by, besides their owners.
pub(super) struct Sorter<'t> {
    times: Option<Times<'t>>,
    cluster: Option<Codes<'t>>,
}

impl<'t> Sorter<'t> {
    pub(super) fn new(loose: Loose<'t>, owner: &Owner) -> Result<Sorter<'t>> {
        let times = match owner.time {
            Some(time) => Some(Times { data_type: loose.data_type(time)?, codes: loose.codes(time)? }),
            None => None,
        };
        let cluster = owner.cluster.map(|cluster| loose.clusters(cluster)).transpose()?;
        Ok(Sorter { times, cluster: cluster.flatten() })
    }
}

impl Order {
    /// Rows that are where [`Whose`] puts them, none yet in order.
    pub(super) fn new(loose: Loose<'_>, whose: Whose) -> Order {
        let (rows, came) = match loose {
            Loose::Parts(_) => (whose.rows(), None),
            // The slots themselves, for each chunk of owners when its turn comes.
            Loose::Near(_, schema) => (vec![0; whose.len()], schema.key.map(|_| whose.rows())),
        };
        let slots = matches!(loose, Loose::Near(..));
        let Whose { halves, starts, .. } = whose;
        Order { rows, slots, came, halves, runs: Vec::new(), starts, ready: 0 }
    }

    /// Puts rows in order, chunk of owners by chunk of owners, until the row at `end` in the new order and all before it are.
    pub(super) fn reach(&mut self, end: usize, sorter: &Sorter<'_>, cancel: &Cancel) -> Result<()> {
        let chunks = self.starts.len() - 1;
        let ready = self.starts[..chunks].partition_point(|start| *start <= end);
        let first = self.starts[self.ready.min(ready)];
        let (mut rest, mut rest_halves) = (&mut self.rows[first..], &mut self.halves[first..]);
        let mut slices = Vec::new();
        for chunk in self.ready..ready {
            let count = self.starts[chunk + 1] - self.starts[chunk];
            let (here, after) = rest.split_at_mut(count);
            let (halves_here, halves_after) = rest_halves.split_at_mut(count);
            slices.push((chunk, here, halves_here));
            (rest, rest_halves) = (after, halves_after);
        }
        let (starts, slots) = (&self.starts, self.slots);
        let runs = slices.into_par_iter().with_max_len(1).map(|(chunk, rows, halves)| {
            cancel.check()?;
            let first = starts[chunk];
            if slots {
                rows.iter_mut().zip(first as u32..).for_each(|(row, slot)| *row = slot);
            }
            let owners = if chunk + 1 == chunks { NOBODYS } else { chunk as u32 };
            Ok(sorted(rows, halves, owners, first as u64, sorter))
        });
        self.runs.extend(runs.collect::<Result<Vec<_>>>()?.concat());
        self.ready = ready.max(self.ready);
        Ok(())
    }
}

/// Sorts the rows of one chunk of owners, which begin at `first`, and the halves of their owners; its runs come back.
fn sorted(
    rows: &mut [u32],
    halves: &mut [u16],
    owners: u32,
    first: u64,
    Sorter { times, cluster }: &Sorter<'_>,
) -> Vec<(u64, Run, Option<Bounds>)> {
    let clusters = cluster.as_ref().map(|codes| Clusters::new(codes.gather(rows)));
    // Rows of each span; those without a time come last.
    let (codes, nulls, span_of, spans) = match times {
        Some(times) => {
            let (codes, nulls) = times.codes.gather(rows);
            let spans = times.spans(&codes, &nulls, clusters.as_ref().map_or(1, Clusters::several));
            let last = spans.runs.len() as u32;
            let each = codes.iter().zip(&nulls);
            let each =
                each.map(|(code, null)| if *null { last } else { spans.run_of(times.data_type, *code) });
            let span_of: Vec<u32> = each.collect();
            (codes, nulls, span_of, spans.runs.len() + 1)
        }
        None => (vec![0; rows.len()], vec![true; rows.len()], vec![0; rows.len()], 1),
    };
    let (run_of, clustered) = match &clusters {
        Some(clusters) => {
            let Groups { run_of, bounds } = clusters.split(&span_of, spans);
            (run_of, Some(bounds))
        }
        None => (span_of, None),
    };
    let mut runs = Vec::new();
    let count = clustered.as_ref().map_or(spans, Vec::len);
    let mut starts = vec![0usize; count + 1];
    run_of.iter().for_each(|run| starts[*run as usize + 1] += 1);
    (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
    let mut bounds_of = vec![(i64::MAX, i64::MIN); count];
    for ((code, null), run) in codes.iter().zip(&nulls).zip(&run_of) {
        if !null {
            let (low, high) = &mut bounds_of[*run as usize];
            (*low, *high) = ((*low).min(*code), (*high).max(*code));
        }
    }
    let mut next = starts.clone();
    let (mut keys, mut spare) = (vec![(0u64, 0u32); rows.len()], Vec::new());
    for (at, run) in run_of.iter().enumerate() {
        let slot = &mut next[*run as usize];
        // Since the first time of the run, which is a year long at most: 48 bits of microseconds are nine.
        let since = if nulls[at] { 0 } else { codes[at].wrapping_sub(bounds_of[*run as usize].0) as u64 };
        keys[*slot] = (u64::from(halves[at]) << 48 | since & (u64::MAX >> 16), rows[at]);
        *slot += 1;
    }
    for (run, bounds) in starts.windows(2).enumerate().filter(|(_, bounds)| bounds[0] < bounds[1]) {
        sort_keys(&mut keys[bounds[0]..bounds[1]], &mut spare);
        let (low, high) = bounds_of[run];
        let codes = clustered.as_ref().map(|clustered| clustered[run]);
        runs.push((first + bounds[0] as u64, Run { low, high, owners, start: 0 }, codes));
    }
    for ((row, half), key) in rows.iter_mut().zip(halves).zip(&keys) {
        (*row, *half) = (key.1, (key.0 >> 48) as u16);
    }
    runs
}

/// Sorts the keys of a run, which are an owner's half in the upper 16 bits and a time below, and the row; rows ascend before.
fn sort_keys(keys: &mut [(u64, u32)], spare: &mut Vec<(u64, u32)>) {
    let half = |key: &(u64, u32)| key.0 >> 48;
    if keys.is_sorted_by_key(half) {
        // Rows that came in the order of their owners are out of order among one's only.
        keys.chunk_by_mut(|a, b| half(a) == half(b)).for_each(<[_]>::sort_unstable);
    } else if keys.len() >= RADIX_ROWS_MIN && keys.is_sorted_by_key(|key| key.0 << 16) {
        // Those that came as time went on, among owners only: by a byte of the half, then by the other, each keeping the order of before.
        spare.clear();
        spare.resize(keys.len(), (0, 0));
        put_by_byte(keys, spare, 48);
        put_by_byte(spare, keys, 56);
    } else {
        keys.sort_unstable();
    }
}

/// Writes keys in the order of a byte of theirs, those of the same as they stand.
fn put_by_byte(keys: &[(u64, u32)], out: &mut [(u64, u32)], shift: u32) {
    let byte = |key: &(u64, u32)| (key.0 >> shift) as u8;
    let mut next = [0u32; 257];
    keys.iter().for_each(|key| next[usize::from(byte(key)) + 1] += 1);
    (1..next.len()).for_each(|at| next[at] += next[at - 1]);
    for key in keys {
        let place = &mut next[usize::from(byte(key))];
        out[*place as usize] = *key;
        *place += 1;
    }
}

/// Whose a table's rows are, which are held, or are in its parts where that was too much.
pub(super) fn whose(
    table: &TableState,
    held: Option<&Held>,
    owner: &Owner,
    owners: &TableState,
    cancel: &Cancel,
) -> Result<Whose> {
    Ok(Whose::new(owners_of(table, held, owner, owners, cancel)?, owners.chunks() as usize))
}

/// The ordinal of each row's owner.
fn owners_of(
    table: &TableState,
    held: Option<&Held>,
    owner: &Owner,
    owners: &TableState,
    cancel: &Cancel,
) -> Result<Vec<u32>> {
    let rows = held.map_or(table.extent().ordinals as usize, Held::rows);
    // Memory that is touched for the first time costs more than what is written there: that too side by side.
    let mut found = vec![0; rows];
    let codes = match held {
        Some(held) => Some(held.codes(place_of(table.schema(), owner.column)?)),
        None if table.data_type(owner.column)? == DataType::Text => None,
        None => Some(Chunked::of(table, &table.reader(owner.column)?)?),
    };
    let sequence = match owners.keys() {
        KeyIndex::Sequence(first) if owners.new_keys.is_empty() && !owners.has_dead() => Some(*first),
        _ => None,
    };
    found.par_chunks_mut(KEYS_AT_ONCE).enumerate().try_for_each(|(nth, found)| {
        cancel.check()?;
        let first = (nth * KEYS_AT_ONCE) as u32;
        found.fill(NO_OWNER);
        match &codes {
            Some(codes) => {
                if let Some(key) = sequence {
                    let known = owners.extent().indexed as i64;
                    for (at, owner) in found.iter_mut().enumerate() {
                        let code = codes.get(first + at as u32).and_then(|code| code.checked_sub(key));
                        if let Some(distance) = code.filter(|distance| (0..known).contains(distance)) {
                            *owner = distance as u32;
                        }
                    }
                    return Ok(());
                }
                let rows = (0..found.len() as u32).filter_map(|at| Some((at, codes.get(first + at)?)));
                let (places, keys): (Vec<u32>, Vec<Key<'_>>) =
                    rows.map(|(at, code)| (at, Key::Integer(code))).unzip();
                place_owners(owners, &places, &keys, found)
            }
            None => owners_in(table, owner, owners, first >> 16, found),
        }
    })?;
    Ok(found)
}

fn place_owners(owners: &TableState, places: &[u32], keys: &[Key<'_>], found: &mut [u32]) -> Result<()> {
    for (place, ordinal) in places.iter().zip(lookup(owners, keys)?) {
        if let Some(ordinal) = ordinal {
            found[*place as usize] = ordinal;
        }
    }
    Ok(())
}

/// The ordinals of the owners of the rows of some chunks, whose keys are texts.
fn owners_in(
    table: &TableState,
    owner: &Owner,
    owners: &TableState,
    first: u32,
    found: &mut [u32],
) -> Result<()> {
    let reader = table.reader(owner.column)?;
    let view = table.dictionary(owner.column).map(|dictionary| dictionary.view()).transpose()?;
    let (mut keys, mut places): (Vec<Key<'_>>, Vec<u32>) = (Vec::new(), Vec::new());
    for (chunk, base) in (first..).zip((0..found.len()).step_by(CHUNK_MEMBERS)) {
        let rows = (found.len() - base).min(CHUNK_MEMBERS);
        let nulls = words_of(reader.nulls(chunk)?);
        let (strings, values) = (reader.strings(chunk)?, reader.values(chunk)?);
        for row in (0..rows).filter(|row| !kernel::has(&nulls, *row as u16)) {
            let key = match (strings, values, view) {
                (Some(strings), _, _) => Key::Text(strings.get(row)),
                (None, Some(values), Some(view)) => Key::Text(view.get(values.get(row) as u32)),
                _ => continue,
            };
            keys.push(key);
            places.push((base + row) as u32);
        }
    }
    place_owners(owners, &places, &keys, found)
}

/// When rows happened.
struct Times<'t> {
    data_type: DataType,
    codes: Codes<'t>,
}

impl Times<'_> {
    /// The spans of rows with these times, each of which has several runs.
    fn spans(&self, codes: &[i64], nulls: &[bool], several: usize) -> Spans {
        let times = || codes.iter().zip(nulls).filter(|(_, null)| !**null).map(|(code, _)| *code);
        let (Some(first), Some(last)) = (times().min(), times().max()) else {
            return Spans { runs: Vec::new(), of_hour: Vec::new() };
        };
        let day_of = |time| Span::Day.of(self.data_type, time);
        let (first_day, last_day) = (day_of(first), day_of(last));
        let days: Vec<(i64, usize)> = if last_day - first_day < ARRAY_MAX {
            let mut counts = vec![0usize; (last_day - first_day) as usize + 1];
            times().for_each(|time| counts[(day_of(time) - first_day) as usize] += 1);
            (first_day..).zip(counts).filter(|(_, rows)| *rows > 0).collect()
        } else {
            let mut days: HashMap<i64, usize, FixedState> = HashMap::default();
            times().for_each(|time| *days.entry(day_of(time)).or_insert(0) += 1);
            let mut days: Vec<(i64, usize)> = days.into_iter().collect();
            days.sort_unstable();
            days
        };
        let mut runs = Vec::new();
        match several {
            0 | 1 => self.split(&days, Span::Year, &mut runs),
            _ => self.split_together(&days, Span::Year, several * CLUSTER_RUN_ROWS, &mut runs),
        }
        let last_hour = Span::Hour.of(self.data_type, last);
        let hours = runs.first().map_or(0, |first| last_hour.saturating_sub(*first).saturating_add(1));
        let mut of_hour = Vec::new();
        if hours <= ARRAY_MAX {
            of_hour.reserve(hours as usize);
            for (run, begins) in runs.iter().enumerate() {
                let ends = runs.get(run + 1).copied().unwrap_or(last_hour + 1);
                of_hour.resize(of_hour.len() + (ends - begins).max(0) as usize, run as u32);
            }
        }
        Spans { runs, of_hour }
    }

    /// Splits days with their rows, ascending, into spans, and those again where finer ones have enough rows:
    /// the first hour of each, counted from 1970.
    fn split(&self, days: &[(i64, usize)], span: Span, runs: &mut Vec<i64>) {
        let same = |span: Span, a: i64, b: i64| span.of(DataType::Date, a) == span.of(DataType::Date, b);
        for run in days.chunk_by(|a, b| same(span, a.0, b.0)) {
            let rows: usize = run.iter().map(|(_, rows)| rows).sum();
            match span.finer() {
                // Hours are not counted: a day of many rows has all of its.
                Some(Span::Hour) if rows >= 24 * RUN_ROWS && self.data_type != DataType::Date => {
                    runs.extend((0..24).map(|hour| run[0].0 * 24 + hour));
                }
                Some(finer) if finer != Span::Hour && rows >= 2 * RUN_ROWS => {
                    let parts = run.chunk_by(|a, b| same(finer, a.0, b.0)).count();
                    if rows >= parts * RUN_ROWS {
                        self.split(run, finer, runs);
                    } else {
                        runs.push(run[0].0 * 24);
                    }
                }
                _ => runs.push(run[0].0 * 24),
            }
        }
    }

    /// The same of spans that have several runs each: what has too few rows goes with what comes after it, and the end of a span with
    /// what was before. So the days that are dense are apart where those of the same year are not.
    fn split_together(&self, days: &[(i64, usize)], span: Span, enough: usize, runs: &mut Vec<i64>) {
        let same = |span: Span, a: i64, b: i64| span.of(DataType::Date, a) == span.of(DataType::Date, b);
        let rows_of = |days: &[(i64, usize)]| days.iter().map(|(_, rows)| rows).sum::<usize>();
        for run in days.chunk_by(|a, b| same(span, a.0, b.0)) {
            let rows = rows_of(run);
            match span.finer() {
                Some(Span::Hour) if rows >= 24 * enough && self.data_type != DataType::Date => {
                    runs.extend((0..24).map(|hour| run[0].0 * 24 + hour));
                }
                Some(finer) if finer != Span::Hour && rows >= 2 * enough => {
                    // The rows of the span that is being put together, and of all that come after it.
                    let (mut open, mut left) = (enough, rows);
                    for part in run.chunk_by(|a, b| same(finer, a.0, b.0)) {
                        let here = rows_of(part);
                        if here >= 2 * enough {
                            self.split_together(part, finer, enough, runs);
                            open = enough;
                        } else if open >= enough && (left >= enough / 2 || left == rows) {
                            runs.push(part[0].0 * 24);
                            open = here;
                        } else {
                            open += here;
                        }
                        left -= here;
                    }
                }
                _ => runs.push(run[0].0 * 24),
            }
        }
    }
}

/// Where the spans of some rows begin.
struct Spans {
    /// The first hour of each, ascending.
    runs: Vec<i64>,
    /// The run of each hour from the first run's on; empty where the hours are too many.
    of_hour: Vec<u32>,
}

impl Spans {
    /// The run of a time.
    #[inline]
    fn run_of(&self, data_type: DataType, time: i64) -> u32 {
        let hour = Span::Hour.of(data_type, time);
        let since = self.runs.first().map_or(0, |first| hour.wrapping_sub(*first));
        match self.of_hour.get(since as usize) {
            Some(run) => *run,
            None => self.runs.partition_point(|first| *first <= hour).saturating_sub(1) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::days_from_civil;
    use crate::transfer::near::NearColumn;

    /// In the order of owners, of time, or of neither.
    #[test]
    fn keys_are_sorted_whatever_order_they_came_in() {
        let mut random = 7u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for (rows, owners, times) in
            [(0, 1, 1), (127, 9, 9), (128, 65_536, 5), (3_000, 65_536, 1 << 48), (900, 3, 2)]
        {
            let came: Vec<(u64, u64)> = (0..rows).map(|_| (next(owners), next(times))).collect();
            for order in 0..3 {
                let mut came = came.clone();
                match order {
                    0 => came.sort_by_key(|(owner, _)| *owner),
                    1 => came.sort_by_key(|(_, time)| *time),
                    _ => {}
                }
                let mut keys: Vec<(u64, u32)> =
                    came.iter().zip(5..).map(|((owner, time), row)| (owner << 48 | time, row)).collect();
                let mut expected = keys.clone();
                expected.sort_unstable();
                sort_keys(&mut keys, &mut vec![(9, 9); 7]);
                assert_eq!(keys, expected, "{rows} rows, order {order}");
            }
        }
    }

    #[test]
    fn spans_are_as_fine_as_their_rows_allow() {
        let empty = NearColumn::as_it_came(&[], None);
        let codes = Codes::Near(&empty);
        let (times, january) = (Times { data_type: DataType::Date, codes }, days_from_civil(2026, 1, 1));
        let runs = |days: &[(i64, usize)]| {
            let mut runs = Vec::new();
            times.split(days, Span::Year, &mut runs);
            runs.into_iter().map(|hour| hour / 24 - january).collect::<Vec<_>>()
        };
        assert_eq!(runs(&[(january, 500), (january + 40, 500)]), [0], "a year of few rows");
        assert_eq!(runs(&[(january, 1_500), (january + 40, 1_500)]), [0, 40], "months");
        assert_eq!(runs(&[(january - 1, 1), (january, 1)]), [-1, 0], "years are apart");
        // Thursday and Friday of a week of many rows, and a Monday.
        assert_eq!(runs(&[(january, 3_000), (january + 1, 1_200), (january + 4, 1_100)]), [0, 1, 4]);
        assert!(runs(&[]).is_empty());
        let together = |days: &[(i64, usize)]| {
            let mut runs = Vec::new();
            times.split_together(days, Span::Year, 1_000, &mut runs);
            runs.into_iter().map(|hour| hour / 24 - january).collect::<Vec<_>>()
        };
        // January has weeks, two of them together and one left over; February and March are one, and of April few rows stay with them.
        let weeks = (0..4).map(|week| (january + 4 + 7 * week, [600, 600, 900, 100][week as usize]));
        let months = [(january + 31, 700), (january + 59, 700), (january + 90, 10)];
        assert_eq!(together(&weeks.chain(months).collect::<Vec<_>>()), [4, 18, 31]);
        assert_eq!(together(&[(january - 400, 5), (january, 2_500)]), [-400, 0]);
    }

    /// Distances from the first time of all took 48 bits of microseconds, nine years, and began anew within a year.
    #[test]
    fn rows_of_an_owner_are_in_the_order_of_time_after_nine_years_too() {
        let days = [(2010, 1, 1), (2018, 12, 15), (2018, 11, 15), (2030, 1, 1)];
        let codes = days.map(|(year, month, day)| days_from_civil(year, month, day) * MICROS_PER_DAY);
        let at = NearColumn::as_it_came(&codes, None);
        let times = Times { data_type: DataType::Timestamp, codes: Codes::Near(&at) };
        let (mut rows, mut halves) = ([0, 1, 2, 3], [7; 4]);
        sorted(&mut rows, &mut halves, 0, 0, &Sorter { times: Some(times), cluster: None });
        assert_eq!(rows, [0, 2, 1, 3]);
    }

    #[test]
    fn rows_of_a_span_are_kept_apart_by_the_cluster_column() {
        let day = days_from_civil(2026, 11, 2);
        let at = NearColumn::as_it_came(
            &[day, day + 1, day, day + 1, day],
            Some(&[false, false, false, false, true]),
        );
        let kinds = NearColumn::as_it_came(&[5, 3, 5, 0, 5], Some(&[false, false, false, true, false]));
        let order = |timed: bool| {
            let times = timed.then_some(Times { data_type: DataType::Date, codes: Codes::Near(&at) });
            let sorter = Sorter { times, cluster: Some(Codes::Near(&kinds)) };
            let (mut rows, mut halves) = ([0, 1, 2, 3, 4], [7, 9, 2, 1, 0]);
            let runs = sorted(&mut rows, &mut halves, 0, 10, &sorter);
            let codes = |codes: Option<Bounds>| codes.map(|codes| (codes.low, codes.high));
            (rows, runs.into_iter().map(|run| (run.0, run.1.low, codes(run.2))).collect::<Vec<_>>())
        };
        let nulls = (i64::MAX, i64::MIN);
        let (rows, runs) = order(true);
        assert_eq!(rows, [1, 2, 0, 3, 4]);
        let here = [(10, day + 1, (3, 3)), (11, day, (5, 5)), (13, day + 1, nulls), (14, i64::MAX, (5, 5))];
        assert_eq!(runs, here.map(|(first, low, codes)| (first, low, Some(codes))));
        let (rows, runs) = order(false);
        assert_eq!(rows, [1, 4, 2, 0, 3]);
        assert_eq!(
            runs,
            [(10, (3, 3)), (11, (5, 5)), (14, nulls)].map(|(first, codes)| (first, i64::MAX, Some(codes)))
        );
    }

    #[test]
    fn spans_follow_the_calendar() {
        let at = |year, month, day| days_from_civil(year, month, day) * MICROS_PER_DAY;
        let month = |code| Span::Month.of(DataType::Timestamp, code);
        assert_eq!(month(at(2026, 2, 28) + MICROS_PER_DAY - 1), month(at(2026, 2, 1)));
        assert_eq!(month(at(2026, 3, 1)), month(at(2026, 2, 1)) + 1);
        assert_eq!(month(at(1969, 12, 31)) + 1, month(at(1970, 1, 1)));
        let week = |day| Span::Week.of(DataType::Date, days_from_civil(2026, 11, day));
        assert_eq!((week(23), week(29)), (week(24), week(24)), "Monday to Sunday");
        assert_eq!(week(30), week(29) + 1);
        assert!(
            Span::ALL
                .iter()
                .all(|span| span.of(DataType::Timestamp, i64::MIN) < span.of(DataType::Timestamp, i64::MAX))
        );
    }
}
