//! Groups of the rows of many owners: each thread has its own, and they are put together at the end.

use super::super::{ROWS_VALUES_MAX, RowSet, too_many};
use super::batch::Rows;
use super::codes::{Codes, Key};
use super::tree::{Aggregating, Formula, Node};
use crate::Result;
use crate::control::{Cancel, allocation, row_bytes};
use crate::exec::compute::{Kind, Lane, NONE};
use crate::exec::sink::Folding;
use crate::exec::{FoldFunction, key_bytes};
use crate::expr::Expr;
use crate::index::owners::NOBODYS;
use crate::predicate::{RowAggregate, RowFunction};
use crate::schema::ColumnId;
use crate::value::Value;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use muster_storage::format::CHUNK_MEMBERS;
use std::borrow::Cow;

/// So many keys are numbers side by side; more are bytes.
const PACKED_KEYS: usize = 4;

/// The kind of a truth, beside those of numbers.
const TRUTH: u8 = 5;

/// A grouping that may be made in parts.
pub(super) struct Merging {
    columns: Vec<ColumnId>,
    keys: Vec<Formula>,
    making: Vec<Aggregating>,
}

/// Groups so far.
#[derive(Default)]
pub(super) struct Groups {
    packed: HashMap<Packed, u32, FixedState>,
    bytes: HashMap<Vec<u8>, u32, FixedState>,
    keys: Vec<Vec<Value>>,
    /// What the keys and the distinct values hold.
    value_bytes: usize,
    /// Where the first row of each came from: groups come in this order.
    firsts: Vec<u64>,
    /// What is made, aggregate by aggregate.
    totals: Vec<Totals>,
    /// Rows of the present chunk, and owners of all.
    rows: u64,
    owners: u64,
    chunk: u32,
    codes: Codes,
    /// The group of each row of a batch.
    of: Vec<u32>,
}

/// The keys of a group where they are numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Packed {
    numbers: [i64; PACKED_KEYS],
    kinds: u64,
}

/// What is made of each group.
enum Totals {
    Counts(Vec<i64>),
    Owners(OwnersOf),
    Folded(Vec<Folding>),
}

/// How many owners have rows in each group.
#[derive(Default)]
struct OwnersOf {
    /// With the last one that was counted of each group.
    counts: Vec<(i64, u64)>,
    /// The last group in which each owner of the chunk was counted, where rows come as they are stored.
    groups: Vec<u32>,
}

impl OwnersOf {
    /// Of rows owner by owner.
    fn take(&mut self, rows: impl Iterator<Item = (u32, u64)>) {
        let counts = self.counts.as_mut_slice();
        rows.for_each(|(group, owner)| {
            let (count, last) = &mut counts[group as usize];
            *count += i64::from(*last != owner);
            *last = owner;
        });
    }

    /// Of rows as they are stored: those of an owner in one group have none in another between them.
    fn take_stored(&mut self, rows: impl Iterator<Item = (u32, u16)>) {
        self.groups.resize(CHUNK_MEMBERS, NONE);
        let (counts, groups) = (self.counts.as_mut_slice(), self.groups.as_mut_slice());
        rows.for_each(|(group, half)| {
            let last = std::mem::replace(&mut groups[usize::from(half)], group);
            counts[group as usize].0 += i64::from(last != group);
        });
    }
}

impl Merging {
    /// True where what is made of two parts can be put together.
    pub(super) fn takes(aggregates: &[(ColumnId, RowAggregate)]) -> bool {
        aggregates.iter().all(|(_, aggregate)| matches!(aggregate.function, RowFunction::Fold(_)))
    }

    /// Of aggregates that it takes.
    pub(super) fn new(
        keys: &[(ColumnId, Expr)],
        aggregates: &[(ColumnId, RowAggregate)],
        input: &Node,
        now_micros: i64,
    ) -> Result<Merging> {
        let columns = keys.iter().map(|(id, _)| *id).chain(aggregates.iter().map(|(id, _)| *id)).collect();
        let keys = keys.iter().map(|(_, key)| Formula::new(key, &input.columns, now_micros));
        let making = aggregates.iter().map(|(_, aggregate)| Aggregating::new(aggregate, input, now_micros));
        Ok(Merging { columns, keys: keys.collect::<Result<_>>()?, making: making.collect::<Result<_>>()? })
    }

    /// The values that it reads.
    pub(super) fn needs(&self, input: &Node) -> Vec<bool> {
        let mut needed = vec![false; input.columns.len()];
        let making = self.making.iter().flat_map(|making| {
            let arguments = making.arguments.iter().filter(|_| !(making.of_owner && counts(making)));
            arguments.chain(&making.filter)
        });
        self.keys.iter().chain(making).flat_map(Formula::inputs).for_each(|at| needed[*at] = true);
        needed
    }

    pub(super) fn begin(&self) -> Groups {
        let totals = self.making.iter().map(|making| match counts(making) {
            true if counts_owners(making) => Totals::Owners(OwnersOf::default()),
            true => Totals::Counts(Vec::new()),
            false => Totals::Folded(Vec::new()),
        });
        Groups { totals: totals.collect(), ..Groups::default() }
    }

    /// True where rows as they are stored can be taken: where owners are counted, no group of an owner comes back after another one.
    pub(super) fn takes_stored(&self, goes_on: impl Fn(&Formula) -> bool) -> bool {
        !self.counts_owners() || self.keys.iter().all(goes_on)
    }

    /// True where owners are counted.
    pub(super) fn counts_owners(&self) -> bool {
        self.making.iter().any(counts_owners)
    }

    /// Takes rows of a chunk: of some owners, each owner's all at once, or as they are stored.
    pub(super) fn take(&self, groups: &mut Groups, chunk: u32, rows: Rows<'_, '_>) -> Result<()> {
        if chunk != groups.chunk {
            (groups.chunk, groups.rows) = (chunk, 0);
            groups.totals.iter_mut().for_each(|totals| {
                if let Totals::Owners(owners) = totals {
                    owners.groups.clear();
                }
            });
        }
        let (lanes, len) = (rows.lanes(), rows.len());
        let keys = self.keys.iter().map(|key| key.of(lanes, len)).collect::<Result<Vec<_>>>()?;
        let keys: Vec<&Lane<'_>> = keys.iter().map(|key| &**key).collect();
        groups.find(&keys, len);
        groups.rows += len as u64;
        let count = groups.keys.len();
        // What would not be taken at the end is refused before it fills the memory.
        if count.saturating_mul(self.columns.len()) > ROWS_VALUES_MAX {
            return Err(too_many());
        }
        for (making, totals) in self.making.iter().zip(&mut groups.totals) {
            let argument = making.arguments.first().map(|argument| argument.of(lanes, len)).transpose()?;
            let filter = making.filter.as_ref().map(|filter| filter.of(lanes, len)).transpose()?;
            let filter = filter.as_ref().map(|filter| filter.of_each(len));
            // Whose a row is was not read of those that are somebody's.
            let is_known = making.of_owner && counts(making) && chunk != NOBODYS;
            let taken = |row: usize| {
                filter.as_ref().is_none_or(|filter| filter[row] == Some(true))
                    && (is_known || argument.as_ref().is_none_or(|argument| !argument.is_null(row)))
            };
            match totals {
                Totals::Owners(owners) => {
                    owners.counts.resize(count, (0, u64::MAX));
                    let (all, of) = (is_known && filter.is_none(), groups.of.iter().copied());
                    match rows {
                        Rows::ByOwner(rows) => {
                            let numbers =
                                rows.numbered().iter().map(|owner| groups.owners + u64::from(*owner));
                            match all {
                                true => owners.take(of.zip(numbers)),
                                false => owners.take(some(of.zip(numbers), taken)),
                            }
                        }
                        Rows::Stored(rows) => {
                            let halves = rows.halves.iter().copied();
                            match all {
                                true => owners.take_stored(of.zip(halves)),
                                false => owners.take_stored(some(of.zip(halves), taken)),
                            }
                        }
                    }
                }
                Totals::Counts(counts) => {
                    counts.resize(count, 0);
                    if filter.is_none() && argument.is_none() {
                        groups.of.iter().for_each(|group| counts[*group as usize] += 1);
                        continue;
                    }
                    for (row, group) in groups.of.iter().enumerate() {
                        counts[*group as usize] += i64::from(taken(row));
                    }
                }
                Totals::Folded(folded) => {
                    let RowFunction::Fold(function) = making.function else { continue };
                    folded.resize_with(count, || Folding::new(function, making.distinct));
                    for (row, group) in groups.of.iter().enumerate().filter(|(row, _)| taken(*row)) {
                        let value = argument.as_ref().map_or(Value::Null, |argument| argument.value(row));
                        groups.value_bytes += folded[*group as usize].take(value)?;
                    }
                }
            }
        }
        if let Rows::ByOwner(rows) = rows {
            groups.owners += rows.segments.len() as u64;
        }
        Ok(())
    }

    /// The groups of all parts, in the order of their first rows.
    pub(super) fn finish(&self, parts: Vec<Groups>, cancel: &Cancel) -> Result<RowSet> {
        let mut held = cancel.holder("groups of rows");
        let mut all: HashMap<Vec<u8>, Whole, FixedState> = HashMap::default();
        for part in parts {
            let mut columns: Vec<_> = part.totals.into_iter().map(Totals::into_iter).collect();
            for (key, first) in part.keys.into_iter().zip(part.firsts) {
                let mut bytes = Vec::new();
                key.iter().for_each(|value| key_bytes(value, &mut bytes));
                let totals: Vec<Total> = columns.iter_mut().filter_map(Iterator::next).collect();
                match all.entry(bytes) {
                    Entry::Vacant(place) => {
                        let of_key = WHOLE_BYTES + allocation(place.key().capacity());
                        held.add(of_key + allocation(totals.capacity() * size_of::<Total>()))?;
                        place.insert(Whole { first, key, totals });
                    }
                    Entry::Occupied(mut known) => {
                        let known = known.get_mut();
                        known.first = known.first.min(first);
                        for (known, more) in known.totals.iter_mut().zip(totals) {
                            held.add(known.merge(more)?)?;
                        }
                    }
                }
            }
        }
        if self.keys.is_empty() && all.is_empty() {
            let totals = self.making.iter().map(|making| match making.function {
                RowFunction::Fold(function) if !counts(making) => {
                    Total::Folded(Box::new(Folding::new(function, making.distinct)))
                }
                _ => Total::Count(0),
            });
            all.insert(Vec::new(), Whole { first: 0, key: Vec::new(), totals: totals.collect() });
        }
        let mut groups: Vec<Whole> = all.into_values().collect();
        groups.sort_by_key(|group| group.first);
        let mut rows = RowSet::new(self.columns.clone(), cancel);
        for group in groups {
            let totals = group.totals.into_iter().map(Total::value).collect::<Result<Vec<_>>>()?;
            rows.push(group.key.into_iter().chain(totals))?;
        }
        Ok(rows)
    }
}

/// True of what is counted by adding: rows, values, owners.
fn counts(making: &Aggregating) -> bool {
    making.function == RowFunction::Fold(FoldFunction::Count)
        && (!making.distinct || making.arguments.is_empty() || making.of_owner)
}

/// True where it is owners that are counted, each once.
fn counts_owners(making: &Aggregating) -> bool {
    counts(making) && making.distinct && !making.arguments.is_empty()
}

/// Of what rows have, that of those that are taken.
fn some<T>(rows: impl Iterator<Item = T>, taken: impl Fn(usize) -> bool) -> impl Iterator<Item = T> {
    rows.enumerate().filter(move |(row, _)| taken(*row)).map(|(_, one)| one)
}

/// What a group takes in a table that may be half empty, beside what its key and its totals hold.
const WHOLE_BYTES: usize = 2 * (size_of::<(Vec<u8>, Whole)>() + 1);

/// A group with all that was made of it.
struct Whole {
    first: u64,
    key: Vec<Value>,
    totals: Vec<Total>,
}

enum Total {
    Count(i64),
    Folded(Box<Folding>),
}

impl Totals {
    fn into_iter(self) -> Box<dyn Iterator<Item = Total>> {
        match self {
            Totals::Counts(counts) => Box::new(counts.into_iter().map(Total::Count)),
            Totals::Owners(owners) => {
                Box::new(owners.counts.into_iter().map(|(count, _)| Total::Count(count)))
            }
            Totals::Folded(folded) => Box::new(folded.into_iter().map(|one| Total::Folded(Box::new(one)))),
        }
    }
}

impl Total {
    /// Takes what another was made of; returns the bytes that are held for it from now on.
    fn merge(&mut self, other: Total) -> Result<usize> {
        match (self, other) {
            (Total::Count(count), Total::Count(more)) => *count += more,
            (Total::Folded(folded), Total::Folded(more)) => return folded.merge(*more),
            _ => {}
        }
        Ok(0)
    }

    fn value(self) -> Result<Value> {
        match self {
            Total::Count(count) => Ok(Value::Integer(count)),
            Total::Folded(folded) => folded.value(),
        }
    }
}

impl Groups {
    /// The bytes that it holds.
    pub(super) fn held(&self) -> usize {
        let tables = self.packed.allocation_size() + self.bytes.allocation_size();
        let keys = self.keys.capacity() * size_of::<Vec<Value>>() + self.firsts.capacity() * size_of::<u64>();
        let totals = self.totals.iter().map(|totals| match totals {
            Totals::Counts(counts) => counts.capacity() * size_of::<i64>(),
            Totals::Owners(owners) => {
                owners.counts.capacity() * size_of::<(i64, u64)>()
                    + owners.groups.capacity() * size_of::<u32>()
            }
            Totals::Folded(folded) => folded.capacity() * size_of::<Folding>(),
        });
        tables + self.codes.held() + keys + self.value_bytes + totals.sum::<usize>()
    }

    /// Finds the group of each row.
    fn find(&mut self, keys: &[&Lane<'_>], rows: usize) {
        let mut of = std::mem::take(&mut self.of);
        of.clear();
        let numbers: Option<Vec<Key<'_>>> = keys.iter().map(|lane| key_of(lane)).collect();
        match numbers.filter(|numbers| numbers.len() <= PACKED_KEYS) {
            Some(numbers) => {
                let mut codes = std::mem::take(&mut self.codes);
                if !codes.find(&numbers, rows, &mut of, |row| self.packed(&numbers, keys, row)) {
                    of.extend((0..rows).map(|row| self.packed(&numbers, keys, row)));
                }
                self.codes = codes;
            }
            None => {
                let mut bytes = Vec::new();
                of.extend((0..rows).map(|row| {
                    bytes.clear();
                    keys.iter().for_each(|key| key_bytes(&key.value(row), &mut bytes));
                    let known = self.bytes.get(&bytes).copied();
                    known.unwrap_or_else(|| {
                        let group = self.add(keys, row);
                        self.value_bytes += allocation(bytes.len());
                        self.bytes.insert(bytes.clone(), group);
                        group
                    })
                }));
            }
        }
        self.of = of;
    }

    /// The group of a row whose keys are numbers.
    fn packed(&mut self, numbers: &[Key<'_>], keys: &[&Lane<'_>], row: usize) -> u32 {
        let mut packed = Packed::default();
        for (at, key) in numbers.iter().enumerate() {
            if let Some((kind, number)) = key.get(row) {
                packed.kinds |= u64::from(kind) << (8 * at);
                packed.numbers[at] = number;
            }
        }
        let known = self.packed.get(&packed).copied();
        known.unwrap_or_else(|| {
            let group = self.add(keys, row);
            self.packed.insert(packed, group);
            group
        })
    }

    fn add(&mut self, keys: &[&Lane<'_>], row: usize) -> u32 {
        let key: Vec<Value> = keys.iter().map(|key| key.value(row)).collect();
        self.value_bytes += row_bytes(&key);
        self.keys.push(key);
        self.firsts.push(u64::from(self.chunk) << 32 | (self.rows + row as u64));
        (self.keys.len() - 1) as u32
    }
}

/// A key that is a number or a truth.
fn key_of<'l>(lane: &'l Lane<'_>) -> Option<Key<'l>> {
    let byte = |kind: &Kind| match kind {
        Kind::Integer => 1,
        Kind::Date => 2,
        Kind::Timestamp => 3,
        Kind::TimestampTz => 4,
        Kind::Decimal(scale) => 8 + scale,
    };
    Some(match lane {
        Lane::Exact(kind, numbers) => Key::Numbers(byte(kind), Cow::Borrowed(numbers)),
        Lane::Coded(kind, coded) => Key::Coded(byte(kind), coded),
        Lane::Truth(truths) => {
            Key::Numbers(TRUTH, Cow::Owned(truths.iter().map(|truth| truth.map(i64::from)).collect()))
        }
        Lane::Same(Value::Null) => Key::Null,
        _ => return None,
    })
}
