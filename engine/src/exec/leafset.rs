//! One leaf on one chunk: its set, read in place or made; or its answer about a list of members.

use super::chunk::{Answer, Worker};
use super::clause::{Clause, words_of};
use super::codeset::CodeSet;
use super::compute::{self, Inputs};
use super::owned::{OwnedWorker, write_in_owners};
use super::relation::ByOwnerWorker;
use super::values_bounds;
use crate::Result;
use crate::index::thresholds::Between;
use crate::index::values::{Frame, Residuals, ValuesRef};
use crate::kernel;
use crate::plan::{Leaf, Node, Test};
use crate::table::ColumnReader;
use muster_storage::chunk::{ChunkRef, Words};
use muster_storage::format::{BITSET_WORDS, CHUNK_MEMBERS, SectionKind};
use std::sync::Arc;

/// A leaf of up to this many intervals has its ranks resolved for a whole task at once.
const RESOLVED_INTERVALS_MAX: usize = 4;
/// More intervals of codes than this, or more codes, are found by scanning the chunk's codes: a row is one look into a
/// [`CodeSet`], some 40 µs a chunk, where a rank takes a tenth of a microsecond and a set of its own as much.
pub(super) const SCANNED_INTERVALS_MIN: usize = 256;
/// More than this are looked up in a [`CodeSet`] for each of a list of members.
const SEARCHED_CODES_MAX: usize = 32;
/// The rows of up to so many owners are looked for one owner after another: a search in each run of their chunk, all of whose lines are
/// cold. Of more it is faster to go through all rows.
const OWNERS_ASKED_SINGLY: usize = 16;
/// A run of ranks up to this long is set row by row.
const ROWS_SET_SINGLY: usize = 2_048;

/// So many lines of a chunk's changes are asked for ahead of their use; the processor sees for itself what comes after them.
const PATCH_LINES: usize = 4;

/// Lines of the table of a chunk's thresholds.
const THRESHOLD_LINES: usize = 2;

/// How far ahead of its use a member's value is asked of the cache. A core follows some dozen misses at a time: at 24 and
/// beyond, its requests waited for each other and mix8 took a tenth to a third longer.
const PREFETCH_AHEAD: usize = 12;

impl<'a> Worker<'_, 'a> {
    /// Asks the cache for what the leaves will read of the chunk after `chunk`, and of their tables some chunks earlier.
    pub(super) fn prefetch(&self, chunk: u32) {
        let plan = self.plan;
        for (index, leaf) in plan.leaves.iter().enumerate().take(16) {
            let reader = plan.reader(leaf);
            reader.prefetch_changes(chunk + 2, PATCH_LINES);
            let codes: &[u32] = match &leaf.test {
                Test::True => &[0],
                Test::Text { codes, .. } | Test::Tags(codes) => codes,
                Test::Codes(_) => {
                    if let Some(ranges) = self.ranks[index].of(chunk + 1)
                        && let Ok(Some(order)) = reader.order(chunk + 1)
                    {
                        let exact = !self.ranks[index].covered;
                        for (low, high) in ranges {
                            order.prefetch_range(*low as usize, *high as usize, exact);
                        }
                    }
                    reader.prefetch(chunk + 1, SectionKind::Values, 1);
                    reader.prefetch(chunk + 1, SectionKind::Thresholds, THRESHOLD_LINES);
                    continue;
                }
                Test::Null
                | Test::Ordinals(_)
                | Test::Never
                | Test::Computed(_)
                | Test::Rows(_)
                | Test::InOwners(_)
                | Test::ByOwner(_) => continue,
            };
            prefetch_rows(reader, codes, chunk + 2, chunk + 3);
            if let Some(sets) = reader.known_sets(chunk + 1) {
                for index in codes.iter().take(8).filter_map(|code| sets.find(*code)) {
                    if let Ok(container) = sets.container(index) {
                        prefetch_container(container);
                    }
                }
            }
        }
    }

    /// Asks the cache for what counting the root will read some chunks later, where that is a row of each of some codes.
    pub(super) fn prefetch_count(&self, chunk: u32) {
        let plan = self.plan;
        plan.live.prefetch_changes(chunk + 4, PATCH_LINES);
        if let Node::Leaf { leaf, .. } = plan.root {
            plan.reader(&plan.leaves[leaf]).prefetch_changes(chunk + 4, PATCH_LINES);
        }
        if let Node::Leaf { leaf, .. } = plan.root
            && let Test::Text { codes, .. } | Test::Tags(codes) = &plan.leaves[leaf].test
        {
            prefetch_rows(plan.reader(&plan.leaves[leaf]), codes, chunk + 6, chunk + 12);
        }
    }

    /// A leaf's TRUE set where it is one stored container.
    pub(super) fn direct(&mut self, leaf: usize, chunk: u32) -> Result<Option<ChunkRef<'a>>> {
        if self.is_overlaid(leaf, chunk) { Ok(None) } else { self.stored(leaf, chunk) }
    }

    /// A leaf's TRUE set in the base where it is one stored container.
    pub(super) fn stored(&mut self, leaf: usize, chunk: u32) -> Result<Option<ChunkRef<'a>>> {
        let plan = self.plan;
        let leaf = &plan.leaves[leaf];
        let reader = plan.reader(leaf);
        Ok(match &leaf.test {
            Test::True => Some(reader.set(chunk, 0)?),
            Test::Null => Some(reader.nulls(chunk)?),
            Test::Never => Some(ChunkRef::EMPTY),
            Test::Tags(codes) if codes.len() == 1 => Some(reader.set(chunk, codes[0])?),
            test @ Test::Codes(_) => one_stored(reader, chunk, test)?,
            Test::Text { codes, .. }
                if codes.len() <= 1 && reader.entry(chunk, SectionKind::Sets).is_some() =>
            {
                self.stats.bytes += 64;
                Some(match codes.first() {
                    Some(code) => reader.set(chunk, *code)?,
                    None => ChunkRef::EMPTY,
                })
            }
            _ => None,
        })
    }

    /// The ranks of a leaf's intervals in a chunk; `None` where the chunk has no range index.
    pub(super) fn ranges(&mut self, leaf: usize, chunk: u32) -> Result<Option<&[(u32, u32)]>> {
        let plan = self.plan;
        let planned = &plan.leaves[leaf];
        let Test::Codes(intervals) = &planned.test else { return Ok(None) };
        if !self.ranks[leaf].know(chunk) {
            let few = intervals.len() <= RESOLVED_INTERVALS_MAX;
            let chunks = if few { self.task.clone() } else { chunk..chunk + 1 };
            self.stats.bytes += self.ranks[leaf].resolve(plan.reader(planned), chunks, intervals)?;
        }
        Ok(self.ranks[leaf].of(chunk))
    }

    /// Adds a leaf's TRUE set to a clause; at most so many are its members, and 0 is exact.
    pub(super) fn leaf_into(&mut self, leaf: usize, chunk: u32, clause: &mut Clause<'a>) -> Result<u32> {
        if !self.is_overlaid(leaf, chunk) {
            return self.base_into(leaf, chunk, clause);
        }
        self.overlaid_into(leaf, chunk, clause)
    }

    /// [`Self::leaf_into`] in the base.
    pub(super) fn base_into(&mut self, leaf: usize, chunk: u32, clause: &mut Clause<'a>) -> Result<u32> {
        if let Some(set) = self.stored(leaf, chunk)? {
            clause.add(set, self);
            return Ok(set.cardinality());
        }
        let plan = self.plan;
        let planned = &plan.leaves[leaf];
        let reader = plan.reader(planned);
        match &planned.test {
            Test::Codes(intervals) => {
                let ranked = intervals.len() <= SCANNED_INTERVALS_MIN && self.ranges(leaf, chunk)?.is_some();
                if !ranked && let Some(members) = self.between_into(leaf, chunk, intervals, clause)? {
                    return Ok(members);
                }
                if !ranked && intervals.len() <= RESOLVED_INTERVALS_MAX {
                    return self.intervals_into(leaf, chunk, intervals, clause);
                }
                if !ranked {
                    return self.scan_into(leaf, chunk, clause, |code| contains(intervals, code));
                }
                self.ranked_into(leaf, chunk, clause)
            }
            Test::Text { codes, text } => {
                if let Some(strings) = reader.strings(chunk)? {
                    let nulls = reader.nulls(chunk)?;
                    let rows = 0..strings.len();
                    self.stats.bytes +=
                        reader.entry(chunk, SectionKind::Strings).map_or(0, |entry| entry.length);
                    return Ok(self.rows_into(clause, rows, |row| {
                        text.matches(strings.get(row)) && !nulls.contains(row as u16)
                    }));
                }
                if codes.len() > SCANNED_INTERVALS_MIN {
                    return self.scan_into(leaf, chunk, clause, |code| has_code(codes, code));
                }
                if reader.entry(chunk, SectionKind::Order).is_none() {
                    return self.codes_into(planned, chunk, codes, clause);
                }
                let intervals: Vec<(i64, i64)> =
                    codes.iter().map(|c| (i64::from(*c), i64::from(*c))).collect();
                self.stats.bytes += self.ranks[leaf].resolve(reader, chunk..chunk + 1, &intervals)?;
                self.ranked_into(leaf, chunk, clause)
            }
            Test::Tags(codes) => self.codes_into(planned, chunk, codes, clause),
            Test::Ordinals(ordinals) => {
                let from = ordinals.partition_point(|o| o >> 16 < chunk);
                let here = ordinals[from..].iter().take_while(|o| *o >> 16 == chunk);
                Ok(self.rows_into(clause, here.map(|o| (o & 0xffff) as usize), |_| true))
            }
            Test::Computed(test) => {
                let rows: Vec<u32> = self.live_rows(chunk)?.into_iter().map(u32::from).collect();
                let (words, fresh) = clause.made(self);
                if fresh {
                    words.fill(0);
                }
                let mut members = 0;
                let inputs = Inputs::of_test(plan, test, chunk);
                compute::chosen(&test.terms, &inputs, &plan.cancel, &rows, |row| {
                    words[row as usize / 64] |= 1 << (row % 64);
                    members += 1;
                })?;
                self.stats.bytes += 8 * (rows.len() * test.readers.len()) as u64;
                Ok(members)
            }
            Test::Rows(owned) => {
                let mut words = self.buffer();
                let worker =
                    self.owned.entry(*owned).or_insert_with(|| OwnedWorker::new(&plan.owned[*owned]));
                let bytes = worker.write(chunk, None, &mut words)?;
                Ok(self.add_written(words, bytes, chunk, clause))
            }
            Test::ByOwner(place) => {
                let mut words = self.buffer();
                let worker = self.by_owner.entry(*place);
                let worker = worker.or_insert_with(|| ByOwnerWorker::new(&plan.by_owner[*place]));
                let bytes = worker.write(chunk, None, &mut words)?;
                Ok(self.add_written(words, bytes, chunk, clause))
            }
            Test::InOwners(place) => {
                let mut words = self.buffer();
                write_in_owners(&plan.in_owners[*place], (*place, chunk), &mut self.owners, &mut words)?;
                let bytes = 2 * plan.table.chunk_rows(chunk) as u64;
                Ok(self.add_written(words, bytes, chunk, clause))
            }
            // These are always one stored container.
            Test::True | Test::Null | Test::Never => Ok(0),
        }
    }

    /// Adds the members that were written as a bitset, of which bits beyond the chunk's rows mean nothing; so many are they.
    fn add_written(&mut self, mut words: Box<Words>, bytes: u64, chunk: u32, clause: &mut Clause<'a>) -> u32 {
        let rows = self.plan.table.chunk_rows(chunk);
        if rows < CHUNK_MEMBERS {
            words.iter_mut().enumerate().for_each(|(index, word)| *word &= kernel::first_bits(rows, index));
        }
        self.stats.bytes += bytes;
        let cardinality = kernel::cardinality(&words);
        clause.add_answer(Answer::Words(words, cardinality), self);
        cardinality
    }

    /// The sets of some codes.
    fn codes_into(&mut self, leaf: &Leaf, chunk: u32, codes: &[u32], clause: &mut Clause<'a>) -> Result<u32> {
        let reader = self.plan.reader(leaf);
        let Some(sets) = reader.sets(chunk)? else { return Ok(0) };
        self.stats.bytes += sets.table_bytes().min(64 * codes.len()) as u64;
        let mut members = 0u32;
        for index in sets.present(codes) {
            let set =
                sets.container(index).map_err(|what| reader.malformed(chunk, SectionKind::Sets, what))?;
            members = members.saturating_add(set.cardinality());
            clause.add(set, self);
        }
        Ok(members)
    }

    /// The set of a leaf's ranks, which are resolved.
    fn ranked_into(&mut self, leaf: usize, chunk: u32, clause: &mut Clause<'a>) -> Result<u32> {
        let plan = self.plan;
        let Some(order) = plan.reader(&plan.leaves[leaf]).order(chunk)? else { return Ok(0) };
        let ranks = std::mem::take(&mut self.ranks[leaf]);
        // Intervals are disjoint, and so are their ranks.
        let mut members = 0;
        for (low, high) in ranks.of(chunk).unwrap_or_default() {
            members += high - low;
            let (low, high) = (*low as usize, *high as usize);
            if low == high {
                continue;
            }
            self.stats.bytes += order.range_bytes(low, high) as u64;
            if high - low <= ROWS_SET_SINGLY {
                clause.add_made(ChunkRef::Array(&order.rows()[low..high]), self);
                continue;
            }
            let (made, fresh) = clause.made(self);
            if fresh {
                order.write_range(low, high, made);
            } else {
                let mut words = self.buffer();
                order.write_range(low, high, &mut words);
                clause.add_answer(Answer::Words(words, (high - low) as u32), self);
            }
        }
        self.ranks[leaf] = ranks;
        Ok(members)
    }

    /// By the sets of thresholds; `None` where they do not say it.
    fn between_into(
        &mut self,
        leaf: usize,
        chunk: u32,
        intervals: &[(i64, i64)],
        clause: &mut Clause<'a>,
    ) -> Result<Option<u32>> {
        let reader = self.plan.reader(&self.plan.leaves[leaf]);
        let mut each = Vec::with_capacity(intervals.len());
        for interval in intervals {
            let Some(between) = reader.between(chunk, *interval)? else { return Ok(None) };
            each.push(between);
        }
        for Between { within, numbered, without } in &each {
            let mut words = self.buffer();
            let all = || std::array::from_fn(|index| kernel::first_bits(*numbered as usize, index));
            let within_words = within.map_or_else(all, words_of);
            kernel::difference_into(&within_words, &words_of(*without), &mut words);
            self.stats.bytes += (within.map_or(0, |set| set.bytes()) + without.bytes()) as u64;
            clause.add_words(words, self);
        }
        Ok(Some(each.iter().map(Between::rows).sum()))
    }

    /// By vector, where there is no index and few intervals are asked for.
    fn intervals_into(
        &mut self,
        leaf: usize,
        chunk: u32,
        intervals: &[(i64, i64)],
        clause: &mut Clause<'a>,
    ) -> Result<u32> {
        let reader = self.plan.reader(&self.plan.leaves[leaf]);
        let Some(values) = reader.values(chunk)? else { return Ok(0) };
        let nulls = reader.nulls(chunk)?;
        let (window, mut words, mut within) = (self.window.clone(), self.buffer(), self.buffer());
        let looked_at = values.rows.min(window.end * 64).saturating_sub(window.start * 64);
        self.stats.bytes += (looked_at * values.residuals.width()) as u64;
        if intervals.is_empty() {
            words.fill(0);
        }
        for (nth, (low, high)) in intervals.iter().enumerate() {
            let some = if nth == 0 { &mut words } else { &mut within };
            some.fill(0);
            let asked = &mut some[window.clone()];
            asked.fill(u64::MAX);
            values.retain_within(*low, *high, window.start, asked);
            if nth > 0 {
                kernel::union_into(&within, &mut words);
            }
        }
        if nulls.cardinality() > 0 {
            within.copy_from_slice(&words[..]);
            kernel::difference_into(&within, &words_of(nulls), &mut words);
        }
        self.give_back(within);
        let cardinality = kernel::cardinality(&words);
        clause.add_answer(Answer::Words(words, cardinality), self);
        // Of the whole chunk there are as many more, as far as is known.
        Ok(cardinality * BITSET_WORDS as u32 / window.len().max(1) as u32)
    }

    /// Row by row, where there is no index (keys, sequences), or where many codes are asked for.
    fn scan_into(
        &mut self,
        leaf: usize,
        chunk: u32,
        clause: &mut Clause<'a>,
        holds: impl Fn(i64) -> bool,
    ) -> Result<u32> {
        let planned = &self.plan.leaves[leaf];
        let reader = self.plan.reader(planned);
        let Some(values) = reader.values(chunk)? else { return Ok(0) };
        let nulls = reader.nulls(chunk)?;
        self.stats.bytes += (values.rows * values.residuals.width()) as u64;
        let Some(codes) = self.code_set(leaf) else {
            let nulls = words_of(nulls);
            return Ok(self.rows_into(clause, 0..values.rows, |row| {
                holds(values.get(row)) && !kernel::has(&nulls, row as u16)
            }));
        };
        let mut words = self.buffer();
        codes.scan(&values, &mut words);
        if nulls.cardinality() > 0 {
            let (matching, nulls) = (*words, words_of(nulls));
            kernel::difference_into(&matching, &nulls, &mut words);
        }
        let cardinality = kernel::cardinality(&words);
        clause.add_answer(Answer::Words(words, cardinality), self);
        Ok(cardinality)
    }

    /// The codes of a leaf that asks for many of them, made once a thread; `None` where it asks for few, or the column's
    /// codes are too far apart.
    fn code_set(&mut self, leaf: usize) -> Option<Arc<CodeSet>> {
        let plan = self.plan;
        let many = match &plan.leaves[leaf].test {
            Test::Codes(intervals) => intervals.len() > SEARCHED_CODES_MAX,
            Test::Text { codes, .. } => codes.len() > SEARCHED_CODES_MAX,
            _ => false,
        };
        if !many {
            return None;
        }
        let make = || {
            let planned = &plan.leaves[leaf];
            let reader = plan.reader(planned);
            let bounds = values_bounds(reader, plan.table.chunks())?;
            match &planned.test {
                Test::Codes(intervals) => CodeSet::new(intervals.iter().copied(), bounds),
                Test::Text { codes, .. } => {
                    CodeSet::new(codes.iter().map(|code| (i64::from(*code), i64::from(*code))), bounds)
                }
                _ => None,
            }
        };
        self.code_sets.entry(leaf).or_insert_with(|| make().map(Arc::new)).clone()
    }

    /// Adds those of some rows for which `holds`; returns how many.
    fn rows_into(
        &mut self,
        clause: &mut Clause<'a>,
        rows: impl Iterator<Item = usize>,
        holds: impl Fn(usize) -> bool,
    ) -> u32 {
        let (words, fresh) = clause.made(self);
        if fresh {
            words.fill(0);
        }
        let mut members = 0;
        for row in rows {
            let holds = u64::from(holds(row));
            words[row / 64] |= holds << (row % 64);
            members += holds as u32;
        }
        members
    }

    /// Keeps those of a list for which the leaf is TRUE, or with `negated` FALSE.
    pub(super) fn probe_leaf(
        &mut self,
        leaf: usize,
        negated: bool,
        chunk: u32,
        members: &mut Vec<u16>,
    ) -> Result<()> {
        if !self.is_overlaid(leaf, chunk) {
            return self.probe_base(leaf, negated, chunk, members);
        }
        let changed = self.probe_changed(leaf, negated, chunk, members)?;
        self.probe_base(leaf, negated, chunk, members)?;
        if !changed.is_empty() {
            members.extend(changed);
            members.sort_unstable();
        }
        Ok(())
    }

    /// [`Self::probe_leaf`] of members whose values the base holds.
    fn probe_base(&mut self, leaf: usize, negated: bool, chunk: u32, members: &mut Vec<u16>) -> Result<()> {
        let plan = self.plan;
        let planned = &plan.leaves[leaf];
        let reader = plan.reader(planned);
        match &planned.test {
            Test::Computed(test) => {
                self.stats.bytes += 64 * (members.len() * test.readers.len()) as u64;
                let inputs = Inputs::of_test(plan, test, chunk);
                let rows: Vec<u32> = members.drain(..).map(u32::from).collect();
                let keep = |row| members.push(row as u16);
                return compute::chosen(&test.terms, &inputs, &plan.cancel, &rows, keep);
            }
            Test::Codes(intervals) => {
                if let Some(values) = reader.values(chunk)? {
                    if values.rows < plan.table.chunk_rows(chunk) {
                        // Rows beyond have no base, and what is kept of owners ends where these did.
                        members.retain(|member| usize::from(*member) < values.rows);
                    }
                    self.stats.bytes += 64 * members.len() as u64;
                    match intervals.as_slice() {
                        [one] => retain_interval(members, &values, *one, negated),
                        many => {
                            let prefetch = |row| values.residuals.prefetch(row);
                            match self.code_set(leaf) {
                                Some(set) => {
                                    retain(members, negated, prefetch, |row| set.has(values.get(row)));
                                }
                                None => {
                                    retain(members, negated, prefetch, |row| contains(many, values.get(row)));
                                }
                            }
                        }
                    }
                }
            }
            Test::Text { codes, text } => {
                if let Some(strings) = reader.strings(chunk)? {
                    self.stats.bytes += 64 * members.len() as u64;
                    let prefetch = |row| strings.prefetch_bytes(row);
                    retain(members, negated, prefetch, |row| text.matches(strings.get(row)));
                } else if let Some(values) = reader.values(chunk)? {
                    self.stats.bytes += 64 * members.len() as u64;
                    let prefetch = |row| values.residuals.prefetch(row);
                    match codes.as_slice() {
                        [] if !negated => members.clear(),
                        [] => {}
                        few if few.len() <= 8 => retain(members, negated, prefetch, |row| {
                            let value = values.get(row);
                            few.iter().fold(false, |any, code| any | (i64::from(*code) == value))
                        }),
                        many => match self.code_set(leaf) {
                            Some(set) => retain(members, negated, prefetch, |row| set.has(values.get(row))),
                            None => {
                                retain(members, negated, prefetch, |row| has_code(many, values.get(row)));
                            }
                        },
                    }
                }
            }
            Test::Rows(owned) if members.len() <= OWNERS_ASKED_SINGLY => {
                let mut words = self.buffer();
                let worker =
                    self.owned.entry(*owned).or_insert_with(|| OwnedWorker::new(&plan.owned[*owned]));
                self.stats.bytes += worker.write(chunk, Some(members), &mut words)?;
                members.retain(|member| kernel::has(&words, *member) != negated);
                self.give_back(words);
                return Ok(());
            }
            Test::ByOwner(place) => {
                let mut words = self.buffer();
                let worker = self.by_owner.entry(*place);
                let worker = worker.or_insert_with(|| ByOwnerWorker::new(&plan.by_owner[*place]));
                self.stats.bytes += worker.write(chunk, Some(members), &mut words)?;
                members.retain(|member| kernel::has(&words, *member) != negated);
                self.give_back(words);
                return Ok(());
            }
            _ => {
                let mut clause = Clause::new(negated);
                self.base_into(leaf, chunk, &mut clause)?;
                clause.retain(members);
                clause.release(self);
            }
        }
        if !matches!(planned.test, Test::Null) {
            let nulls = reader.nulls(chunk)?;
            if nulls.cardinality() > 0 {
                members.retain(|member| !nulls.contains(*member));
            }
        }
        Ok(())
    }
}

/// Without a branch on the answer: positions are written always and kept by the count. What is read of a member is asked
/// of the cache some members ahead.
fn retain(members: &mut Vec<u16>, negated: bool, prefetch: impl Fn(usize), holds: impl Fn(usize) -> bool) {
    let mut kept = 0;
    for at in 0..members.len() {
        if let Some(ahead) = members.get(at + PREFETCH_AHEAD) {
            prefetch(usize::from(*ahead));
        }
        let member = members[at];
        members[kept] = member;
        kept += usize::from(holds(usize::from(member)) != negated);
    }
    members.truncate(kept);
}

/// [`retain`] for one interval, compared in residuals and with the width looked at once.
fn retain_interval(members: &mut Vec<u16>, values: &ValuesRef<'_>, (low, high): (i64, i64), negated: bool) {
    let frame: Frame = values.frame;
    let prefetch = |row| values.residuals.prefetch(row);
    if frame.slope != 0 {
        return retain(members, negated, prefetch, |row| (low..=high).contains(&values.get(row)));
    }
    let first = frame.residual_at_least(low);
    let end = high.checked_add(1).map_or(u64::MAX, |next| frame.residual_at_least(next));
    if end <= first && high != i64::MAX {
        return retain(members, negated, |_| {}, |_| false);
    }
    // One unsigned comparison: residual − first < end − first.
    let span = end - first;
    macro_rules! each {
        ($residuals:expr) => {
            retain(
                members,
                negated,
                |row| kernel::prefetch($residuals, row),
                |row| $residuals.get(row).is_some_and(|r| (*r as u64).wrapping_sub(first) < span),
            )
        };
    }
    match values.residuals {
        Residuals::None => retain(members, negated, |_| {}, |_| first == 0),
        Residuals::U8(residuals) => each!(residuals),
        Residuals::U16(residuals) => each!(residuals),
        Residuals::U32(residuals) => each!(residuals),
        Residuals::Excepted(low, exceptions) => retain(members, negated, prefetch, |row| {
            let residual = low.get(row).map(|low| exceptions.residual(*low, row));
            residual.is_some_and(|residual| residual.wrapping_sub(first) < span)
        }),
        Residuals::Planes(..) | Residuals::WidePlanes(..) | Residuals::U64(_) => {
            retain(members, negated, prefetch, |row| (low..=high).contains(&values.get(row)));
        }
    }
}

/// The rows of a test where they are the one stored set of a threshold.
fn one_stored<'a>(reader: &ColumnReader<'a>, chunk: u32, test: &Test) -> Result<Option<ChunkRef<'a>>> {
    let Test::Codes(intervals) = test else { return Ok(None) };
    let [interval] = intervals.as_slice() else { return Ok(None) };
    let between = reader.between(chunk, *interval)?;
    Ok(between.filter(|between| between.without.cardinality() == 0).and_then(|between| between.within))
}

/// Asks the cache for the rows of some codes in the table of sets of one chunk, and for the head of a later one's table.
fn prefetch_rows(reader: &ColumnReader<'_>, codes: &[u32], rows_of: u32, head_of: u32) {
    reader.prefetch(head_of, SectionKind::Sets, 1);
    if let Some(sets) = reader.known_sets(rows_of) {
        for (code, offset, cardinality) in codes.iter().take(8).filter_map(|code| sets.row(*code)) {
            kernel::prefetch(code, 0);
            kernel::prefetch(offset, 0);
            kernel::prefetch(cardinality, 0);
        }
    }
}

/// Asks the cache for a container: an array as a whole, of a bitset the start.
fn prefetch_container(container: ChunkRef<'_>) {
    match container {
        ChunkRef::Bitset { words, .. } => kernel::prefetch_start(words),
        ChunkRef::Array(members) => {
            (0..members.len()).step_by(32).for_each(|at| kernel::prefetch(members, at));
        }
        ChunkRef::Runs { .. } => {}
    }
}

pub(super) fn contains(intervals: &[(i64, i64)], code: i64) -> bool {
    let after = intervals.partition_point(|(low, _)| *low <= code);
    after > 0 && code <= intervals[after - 1].1
}

pub(super) fn has_code(codes: &[u32], value: i64) -> bool {
    codes.binary_search_by(|code| i64::from(*code).cmp(&value)).is_ok()
}
