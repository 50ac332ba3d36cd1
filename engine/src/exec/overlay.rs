//! Changed rows in the executor: the base is asked as if nothing had changed, then the changed rows are put right.
//!
//! Where few rows of a chunk were changed in what a predicate asks, the whole predicate is asked of the base, and of those
//! rows once more. Else it is leaf by leaf: a leaf's set is the base's set without the changed rows and with those whose new
//! cells satisfy it. The count of a single leaf is the base's, less the old cells that satisfied it, plus the new ones that
//! do. A sink takes the members that did not change from the base, and the others row by row.

use super::Found;
use super::chunk::{Answer, Worker};
use super::clause::{Clause, unite, words_of};
use crate::Result;
use crate::delta::{CellRef, CellsRef};
use crate::kernel;
use crate::plan::{Node, Test};
use crate::table::ColumnReader;
use muster_storage::chunk::Words;
use muster_storage::format::{BITSET_WORDS, SectionKind};

/// Up to so many changed rows a predicate is asked again of each, at some nanoseconds a leaf; with more, a copy of each leaf's
/// set is put right, which costs as much as a third of a microsecond a leaf and a nanosecond a row.
const FEW_CHANGES: usize = 256;

/// Whether a test is TRUE, or with `negated` FALSE, of a row that holds `cell`.
pub(super) fn holds(test: &Test, cell: CellRef<'_>, negated: bool) -> bool {
    let truth = match (test, cell) {
        (_, CellRef::Absent) => None,
        (Test::Null, cell) => Some(cell == CellRef::Null),
        (_, CellRef::Null) => None,
        (Test::Never, _) => Some(false),
        (Test::True, CellRef::Truth(truth)) => Some(truth),
        (Test::Codes(intervals), CellRef::Code(code)) => Some(super::leafset::contains(intervals, code)),
        (Test::Text { codes, .. }, CellRef::Code(code)) => Some(super::leafset::has_code(codes, code)),
        (Test::Text { text, .. }, CellRef::Text(bytes)) => Some(text.matches(bytes)),
        (Test::Tags(codes), CellRef::Tags(tags)) => {
            Some(tags.iter().any(|tag| codes.binary_search(tag).is_ok()))
        }
        _ => None,
    };
    truth == Some(!negated)
}

/// How many cells a test is TRUE of.
fn matching(test: &Test, cells: CellsRef<'_>) -> u32 {
    match test {
        Test::True => cells.trues(),
        Test::Null => cells.nulls(),
        Test::Never => 0,
        Test::Codes(intervals) => intervals.iter().map(|(low, high)| cells.codes_within(*low, *high)).sum(),
        Test::Text { codes, .. } if codes.len() == 1 && !cells.are_texts() => {
            cells.codes_within(i64::from(codes[0]), i64::from(codes[0]))
        }
        test => cells.iter().map(|cell| u32::from(holds(test, cell, false))).sum(),
    }
}

impl<'a> Worker<'_, 'a> {
    /// True where changed rows stand over the base that a leaf asks. Keys never change, and what is computed reads its
    /// columns with their changes.
    #[inline]
    pub(super) fn is_overlaid(&self, leaf: usize, chunk: u32) -> bool {
        let leaf = &self.plan.leaves[leaf];
        !self.base_only
            && !matches!(leaf.test, Test::Ordinals(_) | Test::Computed(_))
            && self.plan.reader(leaf).is_changed(chunk)
    }

    /// The rows of a chunk, within `mask`, that were changed in what leaves ask, where these are few; `None` where there are
    /// none, or the changes are better put into the leaves' sets.
    pub(super) fn few_changes(&self, chunk: u32, mask: Option<&Words>) -> Result<Option<Vec<u16>>> {
        let plan = self.plan;
        if matches!(plan.root, Node::Leaf { .. } | Node::Nobody | Node::Everyone) {
            return Ok(None);
        }
        let mut rows: Vec<u16> = Vec::new();
        for reader in plan.readers.iter().filter(|reader| reader.is_changed(chunk)) {
            for patch in reader.changes(chunk)? {
                if rows.len() + patch.rows.len() > FEW_CHANGES {
                    return Ok(None);
                }
                rows.extend(patch.rows);
            }
        }
        rows.sort_unstable();
        rows.dedup();
        if let Some(mask) = mask {
            rows.retain(|row| kernel::has(mask, *row));
        }
        Ok((!rows.is_empty()).then_some(rows))
    }

    /// Those of some rows for which the plan holds.
    pub(super) fn satisfied(&mut self, chunk: u32, rows: &[u16]) -> Result<Vec<u16>> {
        let (plan, mut satisfied) = (self.plan, rows.to_vec());
        self.probe(&plan.root, chunk, &mut satisfied)?;
        self.retain_live(chunk, &mut satisfied)?;
        Ok(satisfied)
    }

    /// The members of the base, of which some rows were changed, and the plan holds for `now` of those.
    pub(super) fn put_right(
        &mut self,
        chunk: u32,
        base: Answer,
        changed: &[u16],
        now: &[u16],
    ) -> Result<Answer> {
        let (mut words, mut cardinality) = match base {
            Answer::Nobody if now.is_empty() => return Ok(Answer::Nobody),
            Answer::Everyone if now.len() == changed.len() => return Ok(Answer::Everyone),
            Answer::Nobody => return Ok(Answer::Members(now.to_vec())),
            Answer::Members(mut members) => {
                members.retain(|member| changed.binary_search(member).is_err());
                members.extend(now);
                members.sort_unstable();
                return Ok(if members.is_empty() { Answer::Nobody } else { Answer::Members(members) });
            }
            Answer::Everyone => {
                let mut live = Clause::new(false);
                self.live_into(chunk, &mut live)?;
                (live.into_words(self), self.live_cardinality(chunk)?)
            }
            Answer::Words(words, cardinality) => (words, cardinality),
        };
        for row in changed {
            let word = &mut words[usize::from(*row) / 64];
            cardinality -= (*word >> (row % 64) & 1) as u32;
            *word &= !(1 << (row % 64));
        }
        kernel::set_members(&mut words, now, true);
        cardinality += now.len() as u32;
        if cardinality == 0 {
            self.give_back(words);
            return Ok(Answer::Nobody);
        }
        Ok(Answer::Words(words, cardinality))
    }

    /// What changes add to the number of members that a leaf of the base has, and take from it.
    pub(super) fn gained(&self, leaf: usize, chunk: u32) -> Result<i64> {
        let leaf = &self.plan.leaves[leaf];
        let changes = self.plan.reader(leaf).changes(chunk)?;
        let gained = |cells| i64::from(matching(&leaf.test, cells));
        Ok(changes.iter().map(|patch| gained(patch.new) - gained(patch.old)).sum())
    }

    /// NULLs of a leaf's column in a chunk.
    pub(super) fn null_cardinality(&self, leaf: usize, chunk: u32) -> Result<u32> {
        let reader = self.plan.reader(&self.plan.leaves[leaf]);
        let base = reader.entry(chunk, SectionKind::Nulls).map_or(0, |entry| entry.cardinality);
        let mut nulls = i64::from(base);
        if reader.is_changed(chunk) {
            for patch in reader.changes(chunk)? {
                nulls += i64::from(patch.new.nulls()) - i64::from(patch.old.nulls());
            }
        }
        Ok(nulls as u32)
    }

    /// Live rows of a chunk.
    pub(super) fn live_cardinality(&self, chunk: u32) -> Result<u32> {
        let live = &self.plan.live;
        let base = live.entry(chunk, SectionKind::Sets).map_or(0, |entry| entry.cardinality);
        let mut cardinality = i64::from(base);
        if live.is_changed(chunk) {
            for patch in live.changes(chunk)? {
                cardinality += i64::from(patch.new.trues()) - i64::from(patch.old.trues());
            }
        }
        Ok(cardinality as u32)
    }

    /// True where every ordinal of a chunk is a live row's.
    pub(super) fn all_live(&self, chunk: u32) -> Result<bool> {
        let table = self.plan.table;
        Ok(!table.has_dead() || self.live_cardinality(chunk)? as usize == table.chunk_rows(chunk))
    }

    /// Adds the live rows of a chunk to a clause.
    pub(super) fn live_into(&mut self, chunk: u32, clause: &mut Clause<'a>) -> Result<()> {
        let live = &self.plan.live;
        let base = live.set(chunk, 0)?;
        if !live.is_changed(chunk) {
            clause.add(base, self);
            return Ok(());
        }
        let mut words = self.buffer();
        words.fill(0);
        unite(base, &mut words);
        for patch in live.changes(chunk)? {
            set_where(&mut words, patch.rows, patch.new, |cell| cell == CellRef::Truth(true));
        }
        clause.add_words(words, self);
        Ok(())
    }

    /// The live rows of a chunk, as a list.
    pub(super) fn live_rows(&mut self, chunk: u32) -> Result<Vec<u16>> {
        let mut clause = Clause::new(false);
        self.live_into(chunk, &mut clause)?;
        let words = clause.into_words(self);
        let mut rows = Vec::new();
        kernel::decode_members(&words, kernel::cardinality(&words), &mut rows);
        self.give_back(words);
        Ok(rows)
    }

    /// The members of a chunk for which an overlaid leaf is TRUE, or with `negated` FALSE.
    pub(super) fn overlaid(&mut self, leaf: usize, negated: bool, chunk: u32) -> Result<Box<Words>> {
        let plan = self.plan;
        let (planned, reader) = (&plan.leaves[leaf], plan.reader(&plan.leaves[leaf]));
        let mut clause = Clause::new(false);
        self.base_into(leaf, chunk, &mut clause)?;
        let mut words = clause.into_words(self);
        if negated {
            words.iter_mut().for_each(|word| *word = !*word);
            let nulls = reader.nulls(chunk)?;
            if planned.test != Test::Null && nulls.cardinality() > 0 {
                let nulls = words_of(nulls);
                words.iter_mut().zip(&nulls).for_each(|(word, nulls)| *word &= !nulls);
            }
        }
        for patch in reader.changes(chunk)? {
            set_where(&mut words, patch.rows, patch.new, |cell| holds(&planned.test, cell, negated));
        }
        if negated && self.live_cardinality(chunk)? < 1 << 16 {
            let mut live = Clause::new(false);
            self.live_into(chunk, &mut live)?;
            let live = live.into_words(self);
            words.iter_mut().zip(live.iter()).for_each(|(word, live)| *word &= live);
            self.give_back(live);
        }
        Ok(words)
    }

    /// Takes those of a list out whose rows an overlaid leaf's column was changed in; of them those come back that satisfy it.
    pub(super) fn probe_changed(
        &self,
        leaf: usize,
        negated: bool,
        chunk: u32,
        members: &mut Vec<u16>,
    ) -> Result<Vec<u16>> {
        let leaf = &self.plan.leaves[leaf];
        let mut cells = vec![None; members.len()];
        self.plan.reader(leaf).overlay(chunk, members, |place, cell| cells[place] = Some(cell))?;
        let both = members.iter().zip(&cells);
        let satisfied =
            |cell: &Option<CellRef<'_>>| cell.is_some_and(|cell| holds(&leaf.test, cell, negated));
        let kept = both.filter(|(_, cell)| satisfied(cell)).map(|(member, _)| *member).collect();
        let mut cells = cells.into_iter();
        members.retain(|_| cells.next().flatten().is_none());
        Ok(kept)
    }
}

/// Sets the bits of the rows whose cells satisfy `holds`, and clears those of the others.
fn set_where(words: &mut Words, rows: &[u16], cells: CellsRef<'_>, holds: impl Fn(CellRef<'_>) -> bool) {
    for (row, cell) in rows.iter().zip(cells.iter()) {
        let (word, bit) = (&mut words[usize::from(*row) / 64], row % 64);
        *word = *word & !(1 << bit) | u64::from(holds(cell)) << bit;
    }
}

/// A chunk's members apart.
pub(super) struct Split {
    /// Those whose values the base holds.
    pub(super) unchanged: Box<Words>,
    /// Those with a changed value, ascending.
    pub(super) changed: Vec<u16>,
}

impl Split {
    /// The members whose values the base holds, as a sink takes them.
    pub(super) fn found(&self) -> Found<'_> {
        Found::Words(&self.unchanged, kernel::cardinality(&self.unchanged))
    }
}

/// Sets apart the members that were changed in some columns; `None` where there are none.
pub(super) fn split<'r, 'a: 'r>(
    found: Found<'_>,
    chunk: u32,
    readers: impl Iterator<Item = &'r ColumnReader<'a>>,
) -> Result<Option<Split>> {
    let mut changed: Vec<u16> = Vec::new();
    for reader in readers.filter(|reader| reader.is_changed(chunk)) {
        reader.changes(chunk)?.iter().for_each(|patch| changed.extend(patch.rows));
    }
    if changed.is_empty() {
        return Ok(None);
    }
    let mut unchanged = Box::new([0; BITSET_WORDS]);
    match found {
        Found::Words(words, _) => unchanged.copy_from_slice(words),
        Found::Members(members) => kernel::set_members(&mut unchanged, members, true),
        Found::Everyone(0) => {}
        Found::Everyone(rows) => kernel::set_run(&mut unchanged, 0, (rows - 1) as u16),
    }
    changed.retain(|row| kernel::has(&unchanged, *row));
    if changed.is_empty() {
        return Ok(None);
    }
    changed.sort_unstable();
    changed.dedup();
    kernel::set_members(&mut unchanged, &changed, false);
    Ok(Some(Split { unchanged, changed }))
}
