//! Changed rows in the executor: the base is asked as if nothing had changed, then the changed rows are put right.
//!
//! A leaf's set is the base's set with those rows turned for which the leaf holds of one of the old and the new cell only: a
//! patch has both, and most changes turn nothing. A count is the base's count, less the old cells that satisfied it, plus the
//! new ones that do. A sink takes the members that did not change from the base, and the others row by row.
//!
//! To ask the whole predicate of the base, and once more of the few rows that were changed, was tried and takes longer: as lists
//! that go through the tree three to six times, as rows whose truth has turned, 64 at a time, half as long again.
//! Buffers that grow with the changes are the worker's: two threads that allocated them a chunk waited for each other, and took up
//! to three times as long.

use super::Found;
use super::chunk::Worker;
use super::clause::{Clause, put, unite, words_of};
use crate::Result;
use crate::delta::{CellRef, CellsRef, PatchRef};
use crate::kernel;
use crate::plan::Test;
use crate::table::ColumnReader;
use muster_storage::chunk::Words;
use muster_storage::format::SectionKind;

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

/// Up to so many intervals or codes are compared one after the other with all cells: a look for a cell among more is shorter.
const COMPARED_MAX: usize = 64;

/// Marks each cell that [`holds`], without a look at the test for each.
fn mark_satisfied(test: &Test, cells: CellsRef<'_>, negated: bool, marks: &mut Vec<bool>) {
    match test {
        Test::True => cells.mark_truth(!negated, marks),
        Test::Null => cells.mark_nulls(negated, marks),
        Test::Codes(intervals) if intervals.len() <= COMPARED_MAX => {
            cells.mark_within(intervals.iter().copied(), negated, marks);
        }
        Test::Text { codes, .. } if !cells.are_texts() && codes.len() <= COMPARED_MAX => {
            let intervals = codes.iter().map(|code| (i64::from(*code), i64::from(*code)));
            cells.mark_within(intervals, negated, marks);
        }
        test => {
            marks.clear();
            marks.extend(cells.iter().map(|cell| holds(test, cell, negated)));
        }
    }
}

/// What the changes of a leaf are looked at in.
#[derive(Default)]
pub(super) struct Scratch {
    /// Of each changed row, whether it satisfied the leaf and whether it does.
    old: Vec<bool>,
    new: Vec<bool>,
    /// The places of rows that turned, the rows, and what they are now.
    places: Vec<u16>,
    rows: Vec<u16>,
    truths: Vec<bool>,
}

impl Scratch {
    fn compare(&mut self, patch: &PatchRef<'_>, test: &Test) {
        mark_satisfied(test, patch.old, false, &mut self.old);
        mark_satisfied(test, patch.new, false, &mut self.new);
    }

    /// Lists the rows for which a test has become TRUE by some changes, or is so no longer, in the order of the changes: of a row
    /// that turned more than once the last one holds.
    fn list_turned(&mut self, changes: &[PatchRef<'_>], test: &Test) {
        self.rows.clear();
        self.truths.clear();
        for patch in changes {
            self.compare(patch, test);
            self.places.clear();
            kernel::differing(&self.old, &self.new, &mut self.places);
            self.rows.extend(self.places.iter().map(|place| patch.rows[usize::from(*place)]));
            self.truths.extend(self.places.iter().map(|place| self.new[usize::from(*place)]));
        }
    }
}

impl<'a> Worker<'_, 'a> {
    /// True where changed rows stand over the base that a leaf asks. Keys never change, and what is computed reads its
    /// columns with their changes.
    #[inline]
    pub(super) fn is_overlaid(&self, leaf: usize, chunk: u32) -> bool {
        let leaf = &self.plan.leaves[leaf];
        !matches!(
            leaf.test,
            Test::Ordinals(_) | Test::Computed(_) | Test::Rows(_) | Test::InOwners(_) | Test::ByOwner(_)
        ) && self.plan.reader(leaf).is_changed(chunk)
    }

    /// What changes add to the number of members that a leaf of the base has, and take from it.
    pub(super) fn gained(&mut self, leaf: usize, chunk: u32) -> Result<i64> {
        let leaf = &self.plan.leaves[leaf];
        let changes = self.plan.reader(leaf).changes(chunk)?;
        let marks = &mut self.scratch.new;
        let mut matching = |cells| {
            mark_satisfied(&leaf.test, cells, false, marks);
            marks.iter().map(|mark| i64::from(*mark)).sum::<i64>()
        };
        Ok(changes.iter().map(|patch| matching(patch.new) - matching(patch.old)).sum())
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
            patch.new.mark_truth(true, &mut self.scratch.new);
            put(&mut words, patch.rows, &self.scratch.new);
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

    /// Adds an overlaid leaf's TRUE set to a clause; at most so many are its members, and 0 is exact.
    pub(super) fn overlaid_into(&mut self, leaf: usize, chunk: u32, clause: &mut Clause<'a>) -> Result<u32> {
        let plan = self.plan;
        let planned = &plan.leaves[leaf];
        let changes = plan.reader(planned).changes(chunk)?;
        let mut scratch = std::mem::take(&mut self.scratch);
        let members = self.turned_into(leaf, chunk, clause, &changes, &mut scratch);
        self.scratch = scratch;
        members
    }

    fn turned_into(
        &mut self,
        leaf: usize,
        chunk: u32,
        clause: &mut Clause<'a>,
        changes: &[PatchRef<'_>],
        scratch: &mut Scratch,
    ) -> Result<u32> {
        let test = &self.plan.leaves[leaf].test;
        let gained = |new: &[bool]| new.iter().map(|truth| u32::from(*truth)).sum::<u32>();
        let Some(words) = &clause.made else {
            // Nobody else is there yet: what turned is turned in place.
            clause.copying = true;
            let mut members = self.base_into(leaf, chunk, clause)?;
            clause.copying = false;
            let (words, fresh) = clause.made(self);
            if fresh {
                words.fill(0);
            }
            for patch in changes {
                scratch.compare(patch, test);
                members = members.saturating_add(gained(&scratch.new));
                kernel::turn_members(words, patch.rows, &scratch.old, &scratch.new);
            }
            return Ok(members);
        };
        scratch.list_turned(changes, test);
        let gained = gained(&scratch.truths);
        // What other leaves have put there stays.
        let both = scratch.truths.iter_mut().zip(&scratch.rows);
        both.for_each(|(truth, row)| *truth |= kernel::has(words, *row));
        clause.copying = !scratch.rows.is_empty();
        let members = self.base_into(leaf, chunk, clause)?;
        clause.copying = false;
        let (words, _) = clause.made(self);
        put(words, &scratch.rows, &scratch.truths);
        Ok(members.saturating_add(gained))
    }

    /// True where an overlaid leaf is NULL for somebody, or was changed to it.
    pub(super) fn has_nulls(&self, leaf: usize, chunk: u32) -> bool {
        let reader = self.plan.reader(&self.plan.leaves[leaf]);
        reader.entry(chunk, SectionKind::Nulls).is_some() || reader.has_changed_nulls(chunk)
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
            mark_satisfied(&planned.test, patch.new, negated, &mut self.scratch.new);
            put(&mut words, patch.rows, &self.scratch.new);
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
    let mut unchanged = Box::new(found.words().into_owned());
    changed.retain(|row| kernel::has(&unchanged, *row));
    if changed.is_empty() {
        return Ok(None);
    }
    changed.sort_unstable();
    changed.dedup();
    kernel::set_members(&mut unchanged, &changed, false);
    Ok(Some(Split { unchanged, changed }))
}
