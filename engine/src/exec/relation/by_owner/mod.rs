//! Relations evaluated one chunk of owners at a time: rows that belong to members never meet those of others where every step
//! keeps to one owner.
//!
//! ```text
//! Relation ─ shape: does every step keep to one owner? ─ Tree: the steps, the tables, prepared
//!    for each chunk of owners, some owners at a time:
//!      source ─ rows of these owners, owner after owner ─ filter, compute, group, window, join ─ Batch
//!    or all owners of a chunk, their rows as they are stored, with what is known of each so far ─ Stored
//!    ─▶ ByOwner: a leaf of the owners' plan (their truths, beside other clauses)
//!    ─▶ rows, or groups of the rows of all owners (each thread its own, put together at the end)
//! ```
//!
//! Rows belong to members by their own column, or by that of the rows that they belong to: members' orders' lines.
//!
//! Rows are lanes, so that a step is a loop; what has no loop is done row by row as in whole relations, of a few thousand rows at a
//! time. The rows of nobody are a relation of their own, evaluated as a whole.

mod as_stored;
mod batch;
mod before;
mod codes;
mod cut;
mod found;
mod group;
mod join;
mod known;
mod merge;
mod near;
mod needs;
mod nobodys;
mod numbered;
mod opened;
mod shape;
mod source;
mod steps;
mod stored;
mod tree;
mod window;

use super::{ROWS_VALUES_MAX, RowSet, Run};
use crate::control::{Cancel, Held};
use crate::exec::chunk::Worker;
use crate::exec::share::share;
use crate::exec::{check_depth, trues_of};
use crate::expr::Expr;
use crate::index::owners::NOBODYS;
use crate::kernel;
use crate::predicate::{Derived, Relation, RowAggregate, Tie};
use crate::schema::{ColumnId, TableId};
use crate::table::ColumnReader;
use crate::value::Value;
use crate::{Error, Result, Snapshot};
use as_stored::AsStored;
use batch::{Batch, Rows};
use cut::{CutTime, cut_early, cut_late};
use merge::Merging;
use muster_storage::chunk::Words;
use muster_storage::format::{BITSET_WORDS, CHUNK_MEMBERS};
use needs::{Need, needs_of};
pub(super) use nobodys::Nobodys;
use shape::{Name, NamedBy, Owners, Shape, candidates, shape};
use source::Source;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use steps::Chunk;
use tree::{Builder, Node};

/// Rows that are taken at once on average: a dozen lanes of them stay in a second-level cache.
const ROWS_AT_ONCE: u64 = 8_192;

/// The fewest owners that are taken at once.
const OWNERS_AT_ONCE_MIN: u64 = 64;

/// What their memory is for, as [`Held`] says it.
const HOLDS: &str = "the rows of members";

/// What a row is expected to take.
const ROW_NANOS: f64 = 20.0;

/// Keys of groups, and what is made of these, under their ids.
type Keys = [(ColumnId, Expr)];
type Aggregates = [(ColumnId, RowAggregate)];

/// Steps over the rows of the members of a table.
struct Tree<'a> {
    snapshot: &'a Snapshot,
    cancel: Cancel,
    tables: usize,
    sources: Vec<Source<'a>>,
    root: Node,
    /// What an owner needs for any row to be left.
    needs: Vec<Need<'a>>,
    owners: Owners,
    /// Who lives, where some of the owners do not.
    live: Option<ColumnReader<'a>>,
    owner_chunks: u32,
    /// How rows may be taken as they are stored, which is so only where who hears of them minds no order.
    as_stored: Option<AsStored>,
}

impl<'a> Tree<'a> {
    /// Prepares a relation whose shape is split; perhaps by the steps of `cut`, which come to the same, with the values that are cut.
    fn new(
        snapshot: &'a Snapshot,
        run: &mut Run<'_>,
        owners: Owners,
        relation: &Relation,
        cut: Option<(&Relation, &[CutTime])>,
    ) -> Result<Tree<'a>> {
        let (cancel, tables) = (run.cancel.clone(), run.tables);
        let (steps, cuts) = cut.unwrap_or((relation, &[]));
        let mut builder = Builder { snapshot, owners, run, sources: Vec::new(), cuts };
        let mut root = builder.node(steps)?;
        root.want(vec![true; root.columns.len()]);
        let (sources, table) = (builder.sources, snapshot.table(owners.table)?);
        let live = table.has_dead().then(|| table.reader(ColumnId::LIVE)).transpose()?;
        let needs = needs_of(snapshot, owners.table, relation, &cancel, tables + 1)?;
        let owner_chunks = table.chunks();
        let as_stored = None;
        Ok(Tree { snapshot, cancel, tables, sources, root, needs, owners, live, owner_chunks, as_stored })
    }

    /// Takes rows as they are stored where steps allow it; `in_time` where who hears of them needs that.
    fn take_as_stored(&mut self, in_time: bool) {
        self.as_stored = AsStored::of(&self.sources, &self.root, in_time);
    }

    fn workers<'s>(&'s self) -> Vec<Worker<'s, 'a>> {
        self.sources.iter().map(Source::worker).chain(self.needs.iter().flat_map(Need::workers)).collect()
    }

    fn rows_a_chunk(&self) -> u64 {
        self.sources.iter().map(|source| source.rows_a_chunk(self.owner_chunks)).sum()
    }

    /// Hears of the rows of a chunk of owners, some owners at a time, of `only` those where not all are asked.
    fn chunk<'s>(
        &'s self,
        workers: &mut [Worker<'s, 'a>],
        owners: u32,
        only: Option<&Words>,
        mut hear: impl FnMut(Rows<'_, 'a>) -> Result<()>,
    ) -> Result<()> {
        self.cancel.check()?;
        let mut held = self.cancel.holder(HOLDS);
        let mut asked = only.copied();
        if let Some(live) = &self.live {
            let lives = trues_of(live, owners)?;
            match &mut asked {
                Some(asked) => asked.iter_mut().zip(&lives).for_each(|(word, lives)| *word &= lives),
                None => asked = Some(lives),
            }
        }
        let (workers, mut of_needs) = workers.split_at_mut(self.sources.len());
        for need in &self.needs {
            let (of_need, others) = of_needs.split_at_mut(need.steps());
            let asked = asked.get_or_insert([u64::MAX; BITSET_WORDS]);
            if asked.iter().any(|word| *word != 0) {
                need.retain(of_need, owners, asked)?;
            }
            of_needs = others;
        }
        if asked.as_ref().is_some_and(|asked| asked.iter().all(|word| *word == 0)) {
            return Ok(());
        }
        let chunk = Chunk::open(self, workers, owners, asked.as_ref())?;
        held.add(chunk.held())?;
        if let Some(way) = self.as_stored.as_ref().filter(|way| way.takes(chunk.rows_found()))
            && chunk.are_in_time(&way.in_time)?
        {
            held.add(way.bytes)?;
            if stored::heard(&chunk, &self.root, &mut hear)? {
                return Ok(());
            }
        }
        let at_once = ROWS_AT_ONCE * CHUNK_MEMBERS as u64 / chunk.rows_found().max(1);
        let at_once = nearest_power(at_once.clamp(OWNERS_AT_ONCE_MIN, CHUNK_MEMBERS as u64)) as u32;
        for first in (0..CHUNK_MEMBERS as u32).step_by(at_once as usize) {
            let span = first..first + at_once;
            let words = first as usize / 64..(first + at_once) as usize / 64;
            if asked.as_ref().is_some_and(|asked| asked[words].iter().all(|word| *word == 0)) {
                continue;
            }
            self.cancel.check()?;
            let rows = chunk.rows(&self.root, &span, asked.as_ref())?;
            if rows.len > 0 {
                hear(Rows::ByOwner(&rows))?;
            }
        }
        Ok(())
    }

    /// Hears of the rows of all owners, on all cores; what each thread made comes back.
    fn each<P: Send>(
        &self,
        begin: impl Fn() -> P + Sync,
        take: impl Fn(&mut P, u32, Rows<'_, 'a>) -> Result<()> + Sync,
    ) -> Result<Vec<P>> {
        let tasks: Vec<Range<u32>> = (0..self.owner_chunks).map(|chunk| chunk..chunk + 1).collect();
        let nanos = self.rows_a_chunk() as f64 * f64::from(self.owner_chunks) * ROW_NANOS;
        let states = share(
            &tasks,
            nanos,
            || (self.workers(), begin()),
            |(workers, made), task| {
                self.chunk(workers, task.start, None, |rows| take(made, task.start, rows))?;
                Ok(true)
            },
        )?;
        Ok(states.into_iter().map(|(_, made)| made).collect())
    }

    /// The rows that are nobody's, those of equal names together.
    fn nobodys(&self, relation: &Relation) -> Result<Option<(Batch<'static>, Held)>> {
        let nobodys = Nobodys::find(self.snapshot, self.owners, relation, &self.cancel)?;
        let Some(nobodys) = nobodys else { return Ok(None) };
        let mut run = Run::new(self.snapshot, &self.cancel, self.tables);
        run.nobodys = Some(nobodys);
        let mut rows = run.rows(relation)?;
        let place = self.root.names.first().map(|(id, _)| rows.place(*id)).transpose()?;
        let batch = rows.by_value(place);
        Ok(Some((batch, rows.release())))
    }
}

/// What is grouped, by which keys, and what is made of each group.
fn grouping(relation: &Relation) -> Result<(&Relation, &Keys, &Aggregates)> {
    match relation {
        Relation::Group { input, keys, aggregates } => Ok((input, keys, aggregates)),
        _ => Err(Error::Invalid("rows of several owners were to be grouped".into())),
    }
}

/// The owners of the rows that a relation reads, where every step keeps to one of them.
fn split_by(snapshot: &Snapshot, relation: &Relation) -> Result<Option<Owners>> {
    for owners in candidates(snapshot, relation) {
        if let Shape::Split(_) = shape(snapshot, owners, relation)? {
            return Ok(Some(owners));
        }
    }
    Ok(None)
}

/// True of rows of one table and values computed of each.
fn is_one_table(relation: &Relation) -> bool {
    match relation {
        Relation::Scan(_) => true,
        Relation::Filter { input, .. } | Relation::Compute { input, .. } => is_one_table(input),
        _ => false,
    }
}

impl<'a> Run<'a> {
    /// The rows of a relation, if every step keeps to one owner, or every step but a grouping above. Rows of one table, to which
    /// nothing is joined, are not worth it: as they are stored, they come in the order by which ties are decided.
    pub(super) fn by_owner(&mut self, relation: &Relation) -> Result<Option<RowSet>> {
        if self.nobodys.is_some() || is_one_table(relation) {
            return Ok(None);
        }
        if let Some(owners) = split_by(self.snapshot, relation)? {
            let tree = Tree::new(self.snapshot, self, owners, relation, None)?;
            return self.gathered(&tree, relation).map(Some);
        }
        let Relation::Group { input, aggregates, .. } = relation else { return Ok(None) };
        if !Merging::takes(aggregates) {
            return Ok(None);
        }
        let Some(owners) = split_by(self.snapshot, input)? else { return Ok(None) };
        if let Some((cut, cuts)) = cut_early(self.snapshot, owners, relation)? {
            match self.merged(owners, relation, (&cut, &cuts)) {
                Ok(groups) => return Ok(Some(groups)),
                Err(error @ (Error::Cancelled | Error::OutOfMemory { .. })) => return Err(error),
                // A time that cannot be cut may be one that no step would have asked.
                Err(_) => {}
            }
        }
        self.merged(owners, relation, (relation, &[])).map(Some)
    }

    /// Groups of the rows of all owners, by steps that come to the same.
    fn merged(
        &mut self,
        owners: Owners,
        relation: &Relation,
        (steps, cuts): (&Relation, &[CutTime]),
    ) -> Result<RowSet> {
        let (rows, ..) = grouping(relation)?;
        let (input, keys, aggregates) = grouping(steps)?;
        let now = self.snapshot.now_micros();
        let mut tree = Tree::new(self.snapshot, self, owners, rows, Some((input, cuts)))?;
        let merging = Merging::new(keys, aggregates, &tree.root, now)?;
        tree.root.want(merging.needs(&tree.root));
        if merging.takes_stored(|key| as_stored::goes_on(&tree.sources, &tree.root, key)) {
            tree.take_as_stored(merging.counts_owners());
        }
        let (mut groups, mut held) = (Vec::new(), self.cancel.holder(HOLDS));
        let begin = || (merging.begin(), tree.cancel.holder(HOLDS));
        let parts = tree.each(begin, |(groups, held), chunk, rows| {
            merging.take(groups, chunk, rows)?;
            held.set(groups.held())
        })?;
        for (part, held_by_it) in parts {
            groups.push(part);
            held.absorb(held_by_it)?;
        }
        let late = cut_late(steps, cuts);
        let (input, keys, aggregates) = grouping(&late)?;
        if let Some((rows, _held)) = tree.nobodys(input)? {
            let merging = Merging::new(keys, aggregates, &tree.root, now)?;
            let mut more = merging.begin();
            merging.take(&mut more, NOBODYS, Rows::ByOwner(&rows))?;
            held.add(more.held())?;
            groups.push(more);
        }
        merging.finish(groups, self.cancel)
    }

    fn gathered(&mut self, tree: &Tree<'a>, relation: &Relation) -> Result<RowSet> {
        let (values, columns) = (AtomicUsize::new(0), &tree.root.columns);
        let begin = || (Vec::new(), tree.cancel.holder(HOLDS));
        let parts = tree.each(begin, |(parts, held): &mut (Vec<(u32, RowSet)>, Held), chunk, rows| {
            let Rows::ByOwner(rows) = rows else {
                return Err(Error::Invalid("rows were to come owner by owner".into()));
            };
            let more = rows.len * columns.len();
            if values.fetch_add(more, Ordering::Relaxed) + more > ROWS_VALUES_MAX {
                return Err(super::too_many());
            }
            let mut rows = rows.to_rows(columns, &tree.cancel)?;

            held.absorb(rows.release())?;
            held.add(size_of::<(u32, RowSet)>())?;
            parts.push((chunk, rows));
            Ok(())
        })?;
        let mut all = RowSet::new(columns.clone(), self.cancel);
        let mut whole: Vec<(u32, RowSet)> = Vec::new();
        for (parts, held) in parts {
            whole.extend(parts);
            all.held.absorb(held)?;
        }
        let mut parts = whole;
        parts.sort_by_key(|(chunk, _)| *chunk);
        if let Some((rows, _held)) = tree.nobodys(relation)? {
            parts.push((u32::MAX, rows.to_rows(columns, self.cancel)?));
        }
        for (_, part) in parts {
            all.append(part)?;
        }
        Ok(all)
    }
}

/// What rows made of rows say of each owner, as a leaf of the owners' plan.
pub(crate) struct ByOwner<'a> {
    tree: Tree<'a>,
    says: Says,
    /// Whether those are wanted for whom it is TRUE, or those for whom it is FALSE.
    wanted: bool,
}

/// What tells the truth.
#[derive(Clone, Copy)]
enum Says {
    /// That there is a row.
    Rows,
    /// A value: its place.
    Truth(usize),
}

/// True of a condition that [`ByOwner`] answers.
pub(crate) fn takes_derived(snapshot: &Snapshot, table: TableId, derived: &Derived) -> bool {
    matches!(taken_by(snapshot, table, derived), Ok(Some(_)))
}

/// The members of a table as the owners of the rows that a condition about them reads; `None` where some step does not keep to one.
fn taken_by(snapshot: &Snapshot, table: TableId, derived: &Derived) -> Result<Option<Owners>> {
    let key = snapshot.schema(table)?.key;
    for owners in candidates(snapshot, &derived.rows).into_iter().filter(|owners| owners.table == table) {
        let Shape::Split(names) = shape(snapshot, owners, &derived.rows)? else { continue };
        let (value, by) = match derived.tie {
            Tie::In { column, value } if key == Some(column) => (value, NamedBy::Key),
            Tie::In { .. } => continue,
            Tie::Truth { ordinal, .. } => (ordinal, NamedBy::Ordinal),
        };
        if names.contains(&(value, Name { table, by })) {
            return Ok(Some(owners));
        }
    }
    Ok(None)
}

impl<'a> ByOwner<'a> {
    /// The plan of a condition that [`takes_derived`] says is taken; `None` where it is so of nobody.
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        table: TableId,
        derived: &Derived,
        cancel: &Cancel,
        tables: usize,
        wanted: bool,
    ) -> Result<Option<ByOwner<'a>>> {
        check_depth(tables)?;
        let Some(owners) = taken_by(snapshot, table, derived)? else {
            return Err(Error::Invalid("rows of several owners were asked for owner by owner".into()));
        };
        let mut tree =
            Tree::new(snapshot, &mut Run::new(snapshot, cancel, tables), owners, &derived.rows, None)?;
        let says = match derived.tie {
            Tie::In { value, .. } => {
                // Whoever is not in a list for certain: everybody else, unless some row is nobody's.
                if !wanted && let Some((rows, _held)) = tree.nobodys(&derived.rows)? {
                    let place = super::place(&tree.root.columns, value)?;
                    if (0..rows.len).any(|row| rows.lanes[place].value(row) == Value::Null) {
                        return Ok(None);
                    }
                }
                Says::Rows
            }
            Tie::Truth { truth, .. } => Says::Truth(super::place(&tree.root.columns, truth)?),
        };
        let needed = |at| matches!(says, Says::Truth(place) if place == at);
        tree.root.want((0..tree.root.columns.len()).map(needed).collect());
        tree.take_as_stored(false);
        Ok(Some(ByOwner { tree, says, wanted }))
    }

    /// How rows are taken, for EXPLAIN.
    pub(crate) fn way(&self) -> String {
        let mut ways: Vec<String> = self.tree.sources.iter().map(Source::way).collect();
        ways.dedup();
        let of_needs = match self.tree.needs.len() {
            0 => String::new(),
            1 => ", of who has a row that is needed".to_owned(),
            many => format!(", of who has each of {many} rows that are needed"),
        };
        let as_stored =
            if self.tree.as_stored.is_some() { ", as they are stored where that is in time" } else { "" };
        format!("steps over {}{as_stored}{of_needs}", ways.join(" + "))
    }

    /// Rows of a chunk of owners on average.
    pub(crate) fn rows_a_chunk(&self) -> u64 {
        self.tree.rows_a_chunk()
    }
}

/// What one thread needs to ask a [`ByOwner`].
pub(in crate::exec) struct ByOwnerWorker<'p, 'a> {
    asked: &'p ByOwner<'a>,
    workers: Vec<Worker<'p, 'a>>,
}

impl<'p, 'a> ByOwnerWorker<'p, 'a> {
    pub(in crate::exec) fn new(asked: &'p ByOwner<'a>) -> ByOwnerWorker<'p, 'a> {
        ByOwnerWorker { asked, workers: asked.tree.workers() }
    }

    /// Writes the owners of a chunk that have the wanted outcome, also those that are gone; of `only` those where not all are
    /// asked, what is written of others is nothing.
    pub(in crate::exec) fn write(
        &mut self,
        owners: u32,
        only: Option<&[u16]>,
        out: &mut Words,
    ) -> Result<u64> {
        let (asked, mut bytes) = (self.asked, 0);
        let mask = only.map(|members| {
            let mut words = [0; BITSET_WORDS];
            kernel::set_members(&mut words, members, true);
            words
        });
        out.fill(0);
        // Where FALSE is wanted, who has it is who has neither TRUE nor NULL.
        let not_false = |truth: &Value| *truth == Value::Boolean(true) || *truth == Value::Null;
        asked.tree.chunk(&mut self.workers, owners, mask.as_ref(), |rows| {
            bytes += 8 * (rows.len() * rows.lanes().len()) as u64;
            let says = |row: usize| match asked.says {
                Says::Rows => true,
                Says::Truth(place) => {
                    let truth = rows.lanes()[place].value(row);
                    if asked.wanted { truth == Value::Boolean(true) } else { not_false(&truth) }
                }
            };
            let mut add =
                |half: u16, says: bool| out[usize::from(half) / 64] |= u64::from(says) << (half % 64);
            match rows {
                Rows::ByOwner(rows) => rows.owners().for_each(|(half, mut of)| add(half, of.any(&says))),
                Rows::Stored(rows) => {
                    rows.halves.iter().enumerate().for_each(|(row, half)| add(*half, says(row)));
                }
            }
            Ok(())
        })?;
        if !asked.wanted {
            out.iter_mut().for_each(|word| *word = !*word);
        }
        Ok(bytes)
    }
}

/// The power of two that is nearest: a chunk of a few rows more than another is taken as that one is.
fn nearest_power(number: u64) -> u64 {
    let above = number.next_power_of_two();
    if 4 * number < 3 * above { above / 2 } else { above }
}
