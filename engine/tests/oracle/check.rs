//! One question put to the engine and to the naive answers, through every sink and every scope.

use crate::data::{CHUNK, NOW_MICROS, Table};
use crate::naive;
use crate::question::{Mask, Question, column_of, id_of};
use crate::random::Random;
use muster_engine::control::Cancel;
use muster_engine::exec::{self, Aggregate, Count, First, Groups, Members, Profile, Scope, Top};
use muster_engine::predicate::{Predicate, Truth};
use muster_engine::value::Value;
use muster_engine::{ColumnId, Snapshot, TableId};
use roaring::RoaringBitmap;

/// A table as imported, with a view of it.
pub struct Subject<'a> {
    pub table: &'a Table,
    pub id: TableId,
    pub snapshot: Snapshot,
}

impl Subject<'_> {
    /// Finds the first answer that differs; the message says which and how.
    pub fn check(&self, question: &Question) -> Result<(), String> {
        let truths = naive::truths(self.table, &question.predicate, NOW_MICROS)?;
        let rows_of = |truth: Truth| -> RoaringBitmap {
            (0..truths.len() as u32).filter(|row| truths[*row as usize] == truth).collect()
        };
        let expected = rows_of(Truth::True);
        let everywhere = Scope::default();
        self.members("members", &question.predicate, &everywhere, &expected)?;
        self.count("count", &question.predicate, &everywhere, expected.len())?;
        self.members(
            "members of NOT",
            &question.predicate.clone().not(),
            &everywhere,
            &rows_of(Truth::False),
        )?;
        self.overlap(question, &truths)?;
        self.partitions(question, &expected)?;
        let (scope, within) = self.scope(question, &expected);
        self.members("members in scope", &question.predicate, &scope, &within)?;
        self.count("count in scope", &question.predicate, &scope, within.len())?;
        let rows: Vec<u32> = within.iter().collect();
        self.groups(question, &scope, &rows, &question.keys, &question.aggregates)?;
        self.groups(question, &scope, &rows, &question.few, &question.aggregates)?;
        // The commonest grouping has ways of its own.
        let one = &question.keys[..question.keys.len().min(1)];
        self.groups(question, &scope, &rows, one, &[Aggregate::CountAll])?;
        self.profile(question, &scope, &rows)?;
        self.top(question, &scope, &rows)?;
        self.first(question, &scope, &rows)?;
        self.project(question, &rows)
    }

    fn evaluate<S: exec::Sink>(
        &self,
        what: &str,
        predicate: &Predicate,
        scope: &Scope,
        sink: &S,
    ) -> Result<S::Output, String> {
        exec::evaluate(&self.snapshot, self.id, predicate, scope, &Cancel::default(), sink)
            .map(|(output, _)| output)
            .map_err(|error| format!("{what}: {error}"))
    }

    fn members(
        &self,
        what: &str,
        predicate: &Predicate,
        scope: &Scope,
        expected: &RoaringBitmap,
    ) -> Result<(), String> {
        let members = self.evaluate(what, predicate, scope, &Members)?;
        if members == *expected {
            return Ok(());
        }
        let (extra, missing) = (&members - expected, expected - &members);
        let row = extra.iter().chain(&missing).min().unwrap_or(0);
        Err(format!(
            "{what}: {} instead of {}; {} too many (first {:?}), {} missing (first {:?}); row {row}: {}; {scope:?}",
            members.len(),
            expected.len(),
            extra.len(),
            extra.min(),
            missing.len(),
            missing.min(),
            self.row(row, predicate),
        ))
    }

    /// The values that a predicate reads of a row.
    fn row(&self, row: u32, predicate: &Predicate) -> String {
        if row as usize >= self.table.rows {
            return "beyond the table".into();
        }
        if !self.table.is_live(row as usize) {
            return "gone".into();
        }
        let read = std::cell::RefCell::new(Vec::new());
        let truth = muster_engine::eval::eval(predicate, NOW_MICROS, &|id| {
            let value = self.table.value(column_of(id), row as usize).clone();
            read.borrow_mut().push(format!("{id:?} = {value:?}"));
            value
        });
        format!("{truth:?} by {}", read.borrow().join(", "))
    }

    fn count(&self, what: &str, predicate: &Predicate, scope: &Scope, expected: u64) -> Result<(), String> {
        let count = self.evaluate(what, predicate, scope, &Count)?;
        if count == expected {
            Ok(())
        } else {
            Err(format!("{what}: {count} instead of {expected}; {scope:?}"))
        }
    }

    /// Spans of chunks that tile the table: their counts add up, their members unite.
    fn partitions(&self, question: &Question, expected: &RoaringBitmap) -> Result<(), String> {
        let mut random = Random::new(question.dice);
        let chunks = self.table.rows.div_ceil(CHUNK) as u32 + 1;
        let (mut total, mut united, mut from) = (0, RoaringBitmap::new(), 0);
        while from < chunks {
            let to = from + 1 + random.below(u64::from(chunks)) as u32;
            let scope = Scope { chunks: Some(from..to), mask: None };
            total += self.evaluate("count of a span", &question.predicate, &scope, &Count)?;
            united |= self.evaluate("members of a span", &question.predicate, &scope, &Members)?;
            from = to;
        }
        if total != expected.len() || united != *expected {
            return Err(format!(
                "spans of chunks: count {total}, members {} instead of {}",
                united.len(),
                expected.len()
            ));
        }
        Ok(())
    }

    fn scope(&self, question: &Question, expected: &RoaringBitmap) -> (Scope, RoaringBitmap) {
        let rows = self.table.rows as u32;
        let mask = match question.mask {
            Mask::None => None,
            Mask::Empty => Some(RoaringBitmap::new()),
            Mask::Dense(seed) => {
                let mut random = Random::new(seed);
                Some((0..rows + 70_000).filter(|_| random.chance(0.97)).collect())
            }
            Mask::Sparse(seed) => {
                let mut random = Random::new(seed);
                Some((0..rows + 1000).filter(|_| random.chance(0.001)).collect())
            }
            Mask::Span(seed) => {
                let mut random = Random::new(seed);
                let from = random.below(u64::from(rows) + 1) as u32;
                Some((from..from + random.below(u64::from(rows) + 1) as u32).collect())
            }
        };
        let mut within = expected.clone();
        if let Some(mask) = &mask {
            within &= mask;
        }
        if let Some((from, to)) = question.chunks {
            within.remove_range(..from * CHUNK as u32);
            within.remove_range(to * CHUNK as u32..);
        }
        (Scope { chunks: question.chunks.map(|(from, to)| from..to), mask }, within)
    }

    fn groups(
        &self,
        question: &Question,
        scope: &Scope,
        rows: &[u32],
        keys: &[ColumnId],
        aggregates: &[Aggregate],
    ) -> Result<(), String> {
        let sink = Groups { keys: keys.into(), aggregates: aggregates.into() };
        let groups = self.evaluate("groups", &question.predicate, scope, &sink)?;
        let expected = naive::groups(self.table, rows, keys, aggregates);
        let mut seen = std::collections::HashSet::new();
        for group in &groups {
            let bytes = naive::group_bytes(&group.key);
            let Some(expected) = expected.get(&bytes) else {
                return Err(format!("groups: nobody is in {group:?}"));
            };
            if let Some(difference) = expected.differs_from(group) {
                return Err(format!("groups: {difference}"));
            }
            if !seen.insert(bytes) {
                return Err(format!("groups: {:?} comes twice", group.key));
            }
        }
        if groups.len() != expected.len() {
            return Err(format!("groups: {} instead of {}", groups.len(), expected.len()));
        }
        Ok(())
    }

    /// The predicate beside others, its opposite, everyone and nobody.
    fn overlap(&self, question: &Question, truths: &[Truth]) -> Result<(), String> {
        let mut predicates = vec![Predicate::everyone(), question.predicate.clone()];
        let live: Vec<bool> = (0..truths.len()).map(|row| self.table.is_live(row)).collect();
        let mut sets: Vec<Vec<bool>> = vec![live.clone()];
        sets.push(truths.iter().map(|truth| *truth == Truth::True).collect());
        for other in &question.others {
            let truths = naive::truths(self.table, other, NOW_MICROS)?;
            sets.push(truths.into_iter().map(|truth| truth == Truth::True).collect());
            predicates.push(other.clone());
        }
        sets.push(truths.iter().map(|truth| *truth == Truth::False).collect());
        predicates.push(question.predicate.clone().not());
        for all in [true, false] {
            sets.push(if all { live.clone() } else { vec![false; truths.len()] });
            predicates.push(if all { Predicate::everyone() } else { Predicate::Or(vec![]) });
        }
        let (overlap, _) = exec::overlap(&self.snapshot, self.id, &predicates, &Cancel::default())
            .map_err(|error| format!("overlap: {error}"))?;
        for (a, b) in (0..sets.len()).flat_map(|a| (0..sets.len()).map(move |b| (a, b))) {
            let expected = sets[a].iter().zip(&sets[b]).filter(|(a, b)| **a && **b).count() as u64;
            if overlap.pair(a, b) != expected {
                return Err(format!("overlap of {a} and {b}: {} instead of {expected}", overlap.pair(a, b)));
            }
        }
        Ok(())
    }

    fn profile(&self, question: &Question, scope: &Scope, rows: &[u32]) -> Result<(), String> {
        let sink = Profile { columns: question.profile.clone() };
        let expected: Vec<_> =
            question.profile.iter().map(|id| naive::profile(self.table, rows, *id)).collect();
        let profile = match self.evaluate("profile", &question.predicate, scope, &sink) {
            Ok(profile) => profile,
            Err(_) if expected.iter().any(|counts| counts.len() > exec::PROFILE_VALUES_MAX) => return Ok(()),
            Err(error) => return Err(error),
        };
        for ((id, expected), counts) in question.profile.iter().zip(&expected).zip(&profile) {
            let equal = |((a, m), (b, n)): (&(Value, u64), &(Value, u64))| naive::same(a, b) && m == n;
            if counts.len() != expected.len() || !counts.iter().zip(expected).all(equal) {
                let differs = counts.iter().zip(expected).find(|pair| !equal(*pair));
                let (many, wanted) = (counts.len(), expected.len());
                return Err(format!(
                    "profile of {id:?}: {many} values instead of {wanted}, first {differs:?}"
                ));
            }
        }
        Ok(())
    }

    fn top(&self, question: &Question, scope: &Scope, rows: &[u32]) -> Result<(), String> {
        let sink = Top { order: question.order.clone(), limit: question.limit };
        let top = self.evaluate("top", &question.predicate, scope, &sink)?;
        let expected = naive::top(self.table, rows, &question.order, question.limit);
        if top.len() != expected.len() {
            return Err(format!("top: {} instead of {} ordinals", top.len(), expected.len()));
        }
        let Some(at) = (0..top.len()).find(|i| top[*i] != expected[*i]) else { return Ok(()) };
        let show = |row: u32| {
            let value =
                |by: &exec::OrderBy| self.table.columns[column_of(by.column)].get(row as usize).cloned();
            format!("{row} {:?}", question.order.iter().map(value).collect::<Vec<_>>())
        };
        Err(format!("top: place {at} has {} instead of {}", show(top[at]), show(expected[at])))
    }

    fn first(&self, question: &Question, scope: &Scope, rows: &[u32]) -> Result<(), String> {
        let first = self.evaluate("first", &question.predicate, scope, &First { limit: question.limit })?;
        let expected = &rows[..question.limit.min(rows.len())];
        if first == expected {
            return Ok(());
        }
        let at = (0..first.len().min(expected.len())).find(|i| first[*i] != expected[*i]);
        Err(format!("first: {} ordinals instead of {}, differing at {at:?}", first.len(), expected.len()))
    }

    /// Some members, in no order and some of them twice, with their values in a random order of columns.
    fn project(&self, question: &Question, rows: &[u32]) -> Result<(), String> {
        let mut random = Random::new(question.dice);
        let many = if rows.is_empty() { 0 } else { random.below(100) };
        let mut ordinals: Vec<u32> = (0..many).map(|_| *random.pick(rows)).collect();
        // Neighbours share what a block decodes once.
        ordinals.extend(rows.iter().skip(random.below(rows.len() as u64 + 1) as usize).take(20));
        let mut columns: Vec<usize> = (0..self.table.specs.len()).collect();
        random.shuffle(&mut columns);
        columns.truncate(1 + random.below(columns.len() as u64) as usize);
        let ids: Vec<_> = columns.iter().map(|c| id_of(*c)).collect();
        let projected = exec::project(&self.snapshot, self.id, &ordinals, &ids)
            .map_err(|error| format!("project: {error}"))?;
        if projected.len() != ordinals.len() {
            return Err(format!("project: {} rows instead of {}", projected.len(), ordinals.len()));
        }
        for (row, values) in ordinals.iter().zip(&projected) {
            if values.len() != columns.len() {
                return Err(format!("project: {} values instead of {}", values.len(), columns.len()));
            }
            for (column, value) in columns.iter().zip(values) {
                let expected = self.table.value(*column, *row as usize);
                if !naive::same(expected, value) {
                    return Err(format!(
                        "project: row {row}, {:?}: {value:?} instead of {expected:?}",
                        id_of(*column)
                    ));
                }
            }
        }
        Ok(())
    }
}
