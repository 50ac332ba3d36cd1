//! The rows of a table that a tree reads, found one chunk of owners at a time.

use super::cut::Cut;
use super::found::{Found, Ordered};
use super::opened::{Opened, Place};
use super::shape::Owners;
use crate::control::Cancel;
use crate::dictionary::Dictionary;
use crate::exec::chunk::{Answer, Worker};
use crate::exec::compute::Kind;
use crate::exec::resolve_at;
use crate::expr::TimeUnit;
use crate::index::owners::RunBounds;
use crate::kernel;
use crate::plan::{Node, Plan, Test, runs_by};
use crate::predicate::{Predicate, Scan};
use crate::schema::{ColumnId, Owner, TableId};
use crate::table::{ColumnReader, TableState};
use crate::{Error, Result, Snapshot};
use muster_storage::chunk::Words;
use muster_storage::format::BITSET_WORDS;

/// Where at least this share of rows is to be looked at, all are asked whose they are.
const ROWS_ASKED_SHARE: usize = 8;

/// A table that is read.
pub(super) struct Source<'a> {
    table: &'a TableState,
    plan: Plan<'a>,
    condition: Predicate,
    /// The columns that are read, but for the ordinal, and what reads them.
    columns: Vec<ColumnId>,
    pub(super) readers: Vec<(ColumnReader<'a>, Option<&'a Dictionary>)>,
    /// Times that are cut when they are read.
    pub(super) cuts: Vec<Cut>,
    owned: Option<Owned<'a>>,
}

/// Rows that belong to others.
struct Owned<'a> {
    /// The table's rows, those among the strays that satisfy the condition.
    rows: Ordered<'a>,
    /// The rows that they belong to by way of others, those of the owners first; with the tables' names.
    between: Vec<(&'a str, Ordered<'a>)>,
    /// When rows happened.
    time: Option<ColumnId>,
    /// The times that rows have to be in, and the codes of the cluster column: each in one of some intervals.
    times: Vec<Vec<(i64, i64)>>,
    codes: Vec<Vec<(i64, i64)>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        scan: &Scan,
        owners: Owners,
        cancel: &Cancel,
        tables: usize,
    ) -> Result<Source<'a>> {
        let table = snapshot.table(scan.table)?;
        let (condition, _) = resolve_at(snapshot, scan.table, &scan.condition, cancel, tables)?;
        let plan = Plan::in_snapshot(snapshot, scan.table, &condition, cancel, tables)?;
        let way = owners.way_from(snapshot, scan.table)?.unwrap_or_default();
        let owned = way.split_first().map(|((_, owner), way)| Owned::new(snapshot, scan, owner, way, &plan));
        let owned = owned.transpose()?;
        Ok(Source {
            table,
            plan,
            condition: scan.condition.clone(),
            columns: Vec::new(),
            readers: Vec::new(),
            cuts: Vec::new(),
            owned,
        })
    }

    /// True where it has the rows of a scan.
    pub(super) fn is_of(&self, scan: &Scan) -> bool {
        self.table.schema().id == scan.table && self.condition == scan.condition
    }

    /// Where the values of a column are found from now on.
    pub(super) fn place(&mut self, column: ColumnId) -> Result<Place> {
        if column == ColumnId::LIVE {
            return Ok(Place::Ordinal);
        }
        let known = self.columns.iter().position(|known| *known == column);
        if known.is_none() {
            self.columns.push(column);
            self.readers.push((self.table.reader(column)?, self.table.dictionary(column)));
        }
        Ok(Place::Column(known.unwrap_or(self.columns.len() - 1)))
    }

    /// Where the beginnings of the units that a column's times lie in are found from now on.
    pub(super) fn place_of_cut(&mut self, column: ColumnId, unit: TimeUnit) -> Result<Place> {
        let Place::Column(column) = self.place(column)? else {
            return Err(Error::Invalid("an ordinal was to be cut to its month".into()));
        };
        let known = self.cuts.iter().position(|cut| cut.is_of(column, unit));
        if known.is_none() {
            self.cuts.push(Cut::new(column, unit, self.readers[column].0.data_type())?);
        }
        Ok(Place::Cut(known.unwrap_or(self.cuts.len() - 1)))
    }

    /// Where the time is, if it is read, of rows that belong to owners themselves: they are stored as it goes on.
    pub(super) fn place_of_time(&self) -> Option<usize> {
        let owned = self.owned.as_ref().filter(|owned| owned.between.is_empty())?;
        self.columns.iter().position(|column| Some(*column) == owned.time)
    }

    /// True of that time.
    pub(super) fn is_time(&self, place: Place) -> bool {
        matches!(place, Place::Column(column) if self.place_of_time() == Some(column))
    }

    /// True of that time, also cut to months or other units.
    pub(super) fn is_of_time(&self, place: Place) -> bool {
        self.is_time(if let Place::Cut(cut) = place { Place::Column(self.cuts[cut].column) } else { place })
    }

    /// True where values are exact numbers.
    pub(super) fn is_exact(&self, place: Place) -> bool {
        match place {
            Place::Ordinal | Place::Cut(_) => true,
            Place::Column(column) => Kind::of(self.readers[column].0.data_type()).is_some(),
        }
    }

    /// How it is read, for EXPLAIN.
    pub(super) fn way(&self) -> String {
        let mut how = String::new();
        if let Some(owned) = &self.owned {
            how.push_str(" by owner");
            owned.between.iter().rev().for_each(|(table, _)| how.push_str(&format!(" of {table}")));
            how.push_str(runs_by(!owned.times.is_empty(), !owned.codes.is_empty()));
        }
        format!("rows of {}{how}", self.table.schema().name)
    }

    /// Rows of a chunk of owners on average.
    pub(super) fn rows_a_chunk(&self, owner_chunks: u32) -> u64 {
        self.table.rows() / u64::from(owner_chunks.max(1))
    }

    /// Opens a chunk of owners, for `only` some where not all are asked.
    pub(super) fn open<'s>(
        &'s self,
        worker: &mut Worker<'s, 'a>,
        owners: u32,
        only: Option<&Words>,
    ) -> Result<Opened<'s, 'a>> {
        if let (Some(owned), None, Node::Everyone) = (&self.owned, only, &self.plan.root)
            && owned.between.is_empty()
            && let Some(runs) = owned.rows.runs(owners, |run| owned.can_have(run))?
        {
            return Ok(Opened::new(self, runs));
        }
        let mut found = Found::default();
        match &self.owned {
            None if owners < self.table.chunks() => {
                worker.begin(owners..owners + 1);
                let answer = worker.members(owners, only)?;
                let selected = selected_of(&answer, self.table.chunk_rows(owners));
                worker.recycle(answer);
                let mut members = Vec::new();
                kernel::decode_members(&selected, kernel::cardinality(&selected), &mut members);
                found.rows.extend(members.iter().map(|member| owners << 16 | u32::from(*member)));
                found.halves = members;
            }
            None => {}
            Some(owned) => {
                found = match owned.between.split_first() {
                    None => self.find(owned, worker, owners, only)?,
                    Some(((_, first), between)) => {
                        let mut rows = first.found(owners, only)?;
                        for (_, next) in between {
                            rows = rows.through(|chunk, some| next.found(chunk, Some(some)))?;
                        }
                        rows.through(|chunk, some| self.find(owned, worker, chunk, Some(some)))?
                    }
                };
            }
        }
        if let Some(only) = only {
            found.retain(only);
        }
        Ok(Opened::new(self, found.into_runs()))
    }

    /// The rows of a chunk of those whose they are at once, for `only` some where not all are asked: there may be more.
    fn find<'s>(
        &'s self,
        owned: &Owned<'a>,
        worker: &mut Worker<'s, 'a>,
        owners: u32,
        only: Option<&Words>,
    ) -> Result<Found> {
        let mut found = Found::default();
        let can_have = |run: &RunBounds| owned.can_have(run);
        owned.rows.for_each_chunk(owners, only, can_have, |chunk, stored, runs, excluded| {
            let first = chunk << 16;
            if excluded.is_none() && self.plan.root == Node::Everyone {
                for (times, rows) in runs {
                    found.halves.extend_from_slice(&stored.halves[rows.clone()]);
                    found.rows.extend(rows.map(|row| first | row as u32));
                    found.timed.push((times, found.rows.len()));
                }
                return Ok(());
            }
            let mut mask = Box::new([0; BITSET_WORDS]);
            for (_, rows) in &runs {
                kernel::set_run(&mut mask, rows.start as u16, (rows.end - 1) as u16);
            }
            if let Some(excluded) = excluded {
                mask.iter_mut().zip(excluded).for_each(|(word, out)| *word &= !out);
            }
            let count: usize = runs.iter().map(|(_, rows)| rows.len()).sum();
            let within =
                runs.first().map_or(0, |run| run.1.start) / 64 * 64..runs.last().map_or(0, |run| run.1.end);
            if let Some(only) = only.filter(|_| count > within.len() / ROWS_ASKED_SHARE) {
                // Whose a row is is asked by vector, what it is of those that are left.
                let mut of_asked = [0; BITSET_WORDS];
                let words = &mut of_asked[within.start / 64..within.end.div_ceil(64)];
                kernel::has_each(only, &stored.halves[within], words);
                mask.iter_mut().zip(&of_asked).for_each(|(word, asked)| *word &= asked);
            }
            worker.begin(chunk..chunk + 1);
            let answer = worker.members(chunk, Some(&mask))?;
            let mut buffer = Vec::new();
            let answered = answer.found(self.table.chunk_rows(chunk));
            let rows = answered.rows(&mut buffer);
            let before = found.rows.len();
            let ends = runs.iter().map(|(times, of_run)| {
                (*times, before + rows.partition_point(|row| usize::from(*row) < of_run.end))
            });
            found.timed.extend(ends);
            found.halves.extend(rows.iter().map(|row| stored.halves[usize::from(*row)]));
            found.rows.extend(rows.iter().map(|row| first | u32::from(*row)));
            worker.recycle(answer);
            Ok(())
        })?;
        owned.rows.add_strays(owners, &mut found);
        Ok(found)
    }

    pub(super) fn worker(&self) -> Worker<'_, 'a> {
        Worker::new(&self.plan)
    }
}

impl<'a> Owned<'a> {
    /// False where no row of a run can be asked for.
    fn can_have(&self, run: &RunBounds) -> bool {
        self.times.iter().all(|times| run.times.may_lie_in(times))
            && run.codes.is_none_or(|codes| self.codes.iter().all(|asked| codes.may_lie_in(asked)))
    }

    fn new(
        snapshot: &'a Snapshot,
        scan: &Scan,
        owner: &Owner,
        way: &[(TableId, Owner)],
        plan: &Plan<'a>,
    ) -> Result<Owned<'a>> {
        let (table, strays) = (snapshot.table(scan.table)?, snapshot.strays(scan.table)?);
        let terms = match &plan.root {
            Node::And(terms) => terms.as_slice(),
            one => std::slice::from_ref(one),
        };
        let (mut times, mut codes) = (Vec::new(), Vec::new());
        for term in terms {
            let Node::Leaf { leaf, negated: false } = term else { continue };
            let leaf = &plan.leaves[*leaf];
            if let (Test::Codes(intervals), true) = (&leaf.test, owner.time == Some(leaf.column)) {
                times.push(intervals.clone());
            } else if owner.cluster == Some(leaf.column) {
                codes.extend(leaf.test.codes_of_runs(&table.reader(leaf.column)?, table.chunks()));
            }
        }
        let mut loose = Vec::new();
        let mut worker = Worker::new(plan);
        for some in strays.owned().chunk_by(|a, b| a.0 >> 16 == b.0 >> 16) {
            plan.cancel.check()?;
            let chunk = some[0].0 >> 16;
            let mut mask = Box::new([0; BITSET_WORDS]);
            some.iter().for_each(|(row, _)| mask[(row & 0xffff) as usize / 64] |= 1 << (row % 64));
            worker.begin(chunk..chunk + 1);
            let answer = worker.members(chunk, Some(&mask))?;
            let selected = selected_of(&answer, table.chunk_rows(chunk));
            worker.recycle(answer);
            let here = some.iter().filter(|(row, _)| kernel::has(&selected, *row as u16));
            loose.extend(here.map(|(row, owner)| (*owner, *row)));
        }
        let mut between = Vec::with_capacity(way.len());
        for (table, owner) in way.iter().rev() {
            let name = snapshot.schema(*table)?.name.as_str();
            between.push((name, Ordered::new(snapshot, *table, owner, None)?));
        }
        let rows = Ordered::new(snapshot, scan.table, owner, Some(loose))?;
        Ok(Owned { rows, between, time: owner.time, times, codes })
    }
}

fn selected_of(answer: &Answer, rows: usize) -> Box<Words> {
    let mut words = Box::new([0; BITSET_WORDS]);
    match answer {
        Answer::Nobody => {}
        Answer::Everyone => {
            (0..BITSET_WORDS).for_each(|index| words[index] = kernel::first_bits(rows, index));
        }
        Answer::Members(members) => kernel::set_members(&mut words, members, true),
        Answer::Words(answer, _) => words.copy_from_slice(&answer[..]),
    }
    words
}
