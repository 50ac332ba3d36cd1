//! Few changed rows: the base is asked as if nothing had changed, and then those are looked at whom a change lets in or out.
//!
//! A patch says what each row held before. Most changed rows satisfy a leaf as they did, and are passed over for two compares;
//! of the others the whole predicate is asked twice, of the base and of now, row by row: some tens of nanoseconds each, for
//! which the stored sets are read in place, in the one pass of a question without changes. Where many rows are changed it is
//! less to put each leaf's set right ([`super::overlay`]).

use super::chunk::{Answer, Worker};
use super::leafset::{contains, has_code};
use super::overlay::{holds, satisfied};
use crate::Result;
use crate::delta::PatchRef;
use crate::index::strings::StringsRef;
use crate::index::values::ValuesRef;
use crate::kernel;
use crate::plan::{Leaf, Node, Plan, Test};
use crate::table::ColumnReader;
use muster_storage::chunk::{ChunkRef, Words};
use muster_storage::format::SectionKind;

/// Changed rows of a chunk, of all leaves together, up to which this is less work.
const CHANGED_MAX: usize = 400;

/// A leaf of more codes than this has too many sets to be looked into for a row.
const CODES_MAX: usize = 8;

/// True where every leaf of a plan can be asked of single rows.
pub(super) fn are_possible(plan: &Plan<'_>) -> bool {
    plan.leaves.iter().all(|leaf| match &leaf.test {
        Test::True | Test::Null | Test::Never | Test::Codes(_) | Test::Text { .. } => true,
        Test::Tags(codes) => codes.len() <= CODES_MAX,
        Test::Ordinals(_) | Test::Computed(_) => false,
    })
}

/// The rows of a chunk that may satisfy the plan otherwise than the base says.
pub(super) struct Flips<'a> {
    rows: Vec<u16>,
    /// The changes of each leaf.
    changes: Vec<Vec<PatchRef<'a>>>,
    chunk: u32,
}

impl<'a> Worker<'_, 'a> {
    /// The flips of a chunk; `None` where nothing is changed there, or too much.
    pub(super) fn flips(&mut self, chunk: u32) -> Result<Option<Flips<'a>>> {
        let plan = self.plan;
        if !self.flips_possible || !(0..plan.leaves.len()).any(|leaf| self.is_overlaid(leaf, chunk)) {
            return Ok(None);
        }
        if !self.all_live(chunk)? {
            return Ok(None);
        }
        let mut flips = Flips { rows: Vec::new(), changes: Vec::with_capacity(plan.leaves.len()), chunk };
        let mut changed = 0;
        for leaf in &plan.leaves {
            let reader = plan.reader(leaf);
            let changes = if reader.is_changed(chunk) { reader.changes(chunk)? } else { Vec::new() };
            changed += changes.iter().map(|patch| patch.rows.len()).sum::<usize>();
            // Of rows that are not in the base it says nothing that could be put right.
            if changed > CHANGED_MAX || changes.iter().any(|patch| patch.old.has_absent()) {
                return Ok(None);
            }
            changes.iter().for_each(|patch| flips.rows.extend(turned(&leaf.test, patch)));
            flips.changes.push(changes);
        }
        flips.rows.sort_unstable();
        flips.rows.dedup();
        Ok(Some(flips))
    }
}

/// The rows of a patch that satisfy a leaf, or its NOT, otherwise than before.
fn turned(test: &Test, patch: &PatchRef<'_>) -> Vec<u16> {
    let (new, old) = (satisfied(test, patch.new, false), satisfied(test, patch.old, false));
    let turned = patch.rows.iter().zip(new.iter().zip(&old)).filter(|(_, (new, old))| new != old);
    let mut rows: Vec<u16> = turned.map(|(row, _)| *row).collect();
    if *test != Test::Null && patch.new.nulls() + patch.old.nulls() > 0 {
        // What is neither TRUE now nor was before may have been FALSE.
        let (new, old) = (satisfied(&Test::Null, patch.new, false), satisfied(&Test::Null, patch.old, false));
        let turned = patch.rows.iter().zip(new.iter().zip(&old)).filter(|(_, (new, old))| new != old);
        rows.extend(turned.map(|(row, _)| *row));
    }
    rows
}

impl<'a> Flips<'a> {
    /// What changes add to the count of the base.
    pub(super) fn gained(&self, plan: &Plan<'a>, mask: Option<&Words>) -> Result<i64> {
        let mut asked = Asked::new(plan, self);
        let mut gained = 0;
        for row in self.rows.iter().filter(|row| mask.is_none_or(|mask| kernel::has(mask, **row))) {
            gained += i64::from(asked.now(*row)?) - i64::from(asked.before(*row)?);
        }
        Ok(gained)
    }

    /// The members of now, from those of the base.
    pub(super) fn applied(
        &self,
        worker: &mut Worker<'_, 'a>,
        base: Answer,
        mask: Option<&Words>,
    ) -> Result<Answer> {
        let plan = worker.plan;
        let mut asked = Asked::new(plan, self);
        let (mut comes, mut goes) = (Vec::new(), Vec::new());
        for row in self.rows.iter().filter(|row| mask.is_none_or(|mask| kernel::has(mask, **row))) {
            match (asked.before(*row)?, asked.now(*row)?) {
                (false, true) => comes.push(*row),
                (true, false) => goes.push(*row),
                _ => {}
            }
        }
        if comes.is_empty() && goes.is_empty() {
            return Ok(base);
        }
        let (mut words, cardinality) = match base {
            Answer::Nobody => return Ok(Answer::Members(comes)),
            Answer::Members(mut members) => {
                members.retain(|member| goes.binary_search(member).is_err());
                members.extend(comes);
                members.sort_unstable();
                return Ok(if members.is_empty() { Answer::Nobody } else { Answer::Members(members) });
            }
            Answer::Words(words, cardinality) => (words, cardinality as usize),
            Answer::Everyone => {
                let (mut words, rows) = (worker.buffer(), plan.table.chunk_rows(self.chunk));
                words.fill(0);
                kernel::set_run(&mut words, 0, (rows - 1) as u16);
                (words, rows)
            }
        };
        kernel::set_members(&mut words, &comes, true);
        kernel::set_members(&mut words, &goes, false);
        match cardinality + comes.len() - goes.len() {
            0 => {
                worker.give_back(words);
                Ok(Answer::Nobody)
            }
            left => Ok(Answer::Words(words, left as u32)),
        }
    }
}

/// The plan, asked of single rows.
struct Asked<'f, 'p, 'a> {
    plan: &'p Plan<'a>,
    flips: &'f Flips<'a>,
    /// What leaves are read from, once they were asked.
    stored: Vec<Option<Stored<'a>>>,
}

/// Where the base says what a leaf is of a row.
struct Stored<'a> {
    nulls: ChunkRef<'a>,
    holds: Holds<'a>,
}

enum Holds<'a> {
    /// The row is in one of these.
    Sets(Vec<ChunkRef<'a>>),
    /// The row's code is one of the leaf's.
    Values(ValuesRef<'a>),
    /// The row's text matches.
    Strings(StringsRef<'a>),
}

impl<'a> Stored<'a> {
    fn of(leaf: &Leaf, reader: &ColumnReader<'a>, chunk: u32) -> Result<Stored<'a>> {
        let sets =
            |codes: &[u32]| codes.iter().map(|code| reader.set(chunk, *code)).collect::<Result<Vec<_>>>();
        let values = || -> Result<Holds<'a>> {
            Ok(match (reader.values(chunk)?, reader.strings(chunk)?) {
                (Some(values), _) => Holds::Values(values),
                (None, Some(strings)) => Holds::Strings(strings),
                // All of them are NULL.
                (None, None) => Holds::Sets(Vec::new()),
            })
        };
        let holds = match &leaf.test {
            Test::True => Holds::Sets(sets(&[0])?),
            Test::Tags(codes) => Holds::Sets(sets(codes)?),
            Test::Text { codes, .. }
                if codes.len() <= CODES_MAX && reader.entry(chunk, SectionKind::Sets).is_some() =>
            {
                Holds::Sets(sets(codes)?)
            }
            Test::Text { .. } | Test::Codes(_) => values()?,
            Test::Null | Test::Never | Test::Ordinals(_) | Test::Computed(_) => Holds::Sets(Vec::new()),
        };
        Ok(Stored { nulls: reader.nulls(chunk)?, holds })
    }

    /// Whether the leaf is TRUE of a row, or with `negated` FALSE.
    fn holds(&self, test: &Test, row: u16, negated: bool) -> bool {
        let null = self.nulls.cardinality() > 0 && self.nulls.contains(row);
        if *test == Test::Null {
            return null != negated;
        }
        let place = usize::from(row);
        let truth = match (&self.holds, test) {
            (Holds::Sets(sets), _) => sets.iter().any(|set| set.contains(row)),
            (Holds::Values(values), Test::Codes(intervals)) => contains(intervals, values.get(place)),
            (Holds::Values(values), Test::Text { codes, .. }) => has_code(codes, values.get(place)),
            (Holds::Strings(strings), Test::Text { text, .. }) => text.matches(strings.get(place)),
            _ => false,
        };
        !null && truth != negated
    }
}

impl<'a> Asked<'_, '_, 'a> {
    fn new<'f, 'p>(plan: &'p Plan<'a>, flips: &'f Flips<'a>) -> Asked<'f, 'p, 'a> {
        let stored = plan.leaves.iter().map(|_| None).collect();
        Asked { plan, flips, stored }
    }

    fn before(&mut self, row: u16) -> Result<bool> {
        self.node(&self.plan.root, row, false)
    }

    fn now(&mut self, row: u16) -> Result<bool> {
        self.node(&self.plan.root, row, true)
    }

    fn node(&mut self, node: &Node, row: u16, now: bool) -> Result<bool> {
        match node {
            Node::Nobody => Ok(false),
            Node::Everyone => Ok(true),
            Node::And(children) => {
                for child in children {
                    if !self.node(child, row, now)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Node::Or(children) => {
                for child in children {
                    if self.node(child, row, now)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Node::Leaf { leaf, negated } => self.leaf(*leaf, row, *negated, now),
        }
    }

    fn leaf(&mut self, index: usize, row: u16, negated: bool, now: bool) -> Result<bool> {
        let leaf = &self.plan.leaves[index];
        if now && let Some(cell) = self.flips.changes[index].iter().rev().find_map(|patch| patch.cell(row)) {
            return Ok(holds(&leaf.test, cell, negated));
        }
        if self.stored[index].is_none() {
            let stored = Stored::of(leaf, self.plan.reader(leaf), self.flips.chunk)?;
            self.stored[index] = Some(stored);
        }
        Ok(self.stored[index].as_ref().is_some_and(|stored| stored.holds(&leaf.test, row, negated)))
    }
}
