//! A clause on one chunk as bitsets, and the conjunction of some.

use super::chunk::{Answer, Worker};
use crate::Result;
use crate::kernel::{self, Operand};
use crate::table::ColumnReader;
use muster_storage::chunk::{ChunkRef, Words};
use muster_storage::format::BITSET_WORDS;

/// Up to this many stored bitsets a clause takes as they are, to be united in the pass that intersects; a processor
/// follows about so many streams.
const STORED_MAX: usize = 8;

static NOBODY: Words = [0; BITSET_WORDS];

/// Adds a set's members to a bitset.
pub(in crate::exec) fn unite(set: ChunkRef<'_>, words: &mut Words) {
    match set {
        ChunkRef::Bitset { words: more, .. } => kernel::union_into(more, words),
        ChunkRef::Array(members) => kernel::set_members(words, members, true),
        ChunkRef::Runs { runs, .. } => runs.iter().for_each(|run| kernel::set_run(words, run[0], run[1])),
    }
}

/// A set's members as a bitset.
pub(crate) fn words_of(set: ChunkRef<'_>) -> Words {
    let mut words = [0; BITSET_WORDS];
    unite(set, &mut words);
    words
}

/// Gives the bits of some rows these values.
pub(crate) fn put(words: &mut Words, rows: &[u16], truths: &[bool]) {
    for (row, truth) in rows.iter().zip(truths) {
        let (word, bit) = (&mut words[usize::from(*row) / 64], row % 64);
        *word = *word & !(1 << bit) | u64::from(*truth) << bit;
    }
}

/// The rows of a chunk whose BOOLEAN is TRUE, or who live, changes included.
pub(crate) fn trues_of(reader: &ColumnReader<'_>, chunk: u32) -> Result<Words> {
    let mut words = words_of(reader.set(chunk, 0)?);
    let mut marks = Vec::new();
    for patch in reader.changes(chunk)? {
        patch.new.mark_truth(true, &mut marks);
        put(&mut words, patch.rows, &marks);
    }
    Ok(words)
}

/// The rows of a chunk that are NULL, changes included.
pub(crate) fn nulls_of(reader: &ColumnReader<'_>, chunk: u32) -> Result<Words> {
    let mut words = words_of(reader.nulls(chunk)?);
    let mut marks = Vec::new();
    for patch in reader.changes(chunk)? {
        patch.new.mark_nulls(false, &mut marks);
        put(&mut words, patch.rows, &marks);
    }
    Ok(words)
}

/// The union of some bitsets: stored ones, and one that was made of everything else.
pub(super) struct Clause<'a> {
    stored: [&'a Words; STORED_MAX],
    count: usize,
    pub(super) made: Option<Box<Words>>,
    /// True where everybody outside is meant.
    pub(super) negated: bool,
    /// True while stored sets are not to be read in place: some of their rows will be put right.
    pub(super) copying: bool,
}

impl<'a> Clause<'a> {
    /// The union of nothing.
    pub(super) fn new(negated: bool) -> Clause<'a> {
        Clause { stored: [&NOBODY; STORED_MAX], count: 0, made: None, negated, copying: false }
    }

    /// The buffer of what is made: `true` where its content counts for nothing yet.
    pub(super) fn made(&mut self, worker: &mut Worker<'_, 'a>) -> (&mut Words, bool) {
        let fresh = self.made.is_none();
        (self.made.get_or_insert_with(|| worker.buffer()), fresh)
    }

    /// Adds a stored set.
    pub(super) fn add(&mut self, set: ChunkRef<'a>, worker: &mut Worker<'_, 'a>) {
        worker.stats.bytes += set.bytes() as u64;
        match set {
            ChunkRef::Bitset { words, .. } if self.count < STORED_MAX && !self.copying => {
                self.stored[self.count] = words;
                self.count += 1;
            }
            set if set.cardinality() > 0 => self.add_made(set, worker),
            _ => {}
        }
    }

    /// Adds a set to what is made.
    pub(super) fn add_made(&mut self, set: ChunkRef<'_>, worker: &mut Worker<'_, 'a>) {
        let (words, fresh) = self.made(worker);
        match set {
            ChunkRef::Bitset { words: other, .. } if fresh => words.copy_from_slice(other),
            set => {
                if fresh {
                    words.fill(0);
                }
                unite(set, words);
            }
        }
    }

    /// Adds a bitset whose buffer is the worker's.
    pub(super) fn add_words(&mut self, words: Box<Words>, worker: &mut Worker<'_, 'a>) {
        self.add_answer(Answer::Words(words, 0), worker);
    }

    /// The union as one bitset.
    pub(super) fn into_words(mut self, worker: &mut Worker<'_, 'a>) -> Box<Words> {
        let mut words = match self.made.take() {
            Some(words) => words,
            None => {
                let mut words = worker.buffer();
                words.fill(0);
                words
            }
        };
        self.stored[..self.count].iter().for_each(|stored| kernel::union_into(stored, &mut words));
        words
    }

    /// Adds the members of a chunk's answer.
    pub(super) fn add_answer(&mut self, answer: Answer, worker: &mut Worker<'_, 'a>) {
        match answer {
            Answer::Nobody | Answer::Everyone => {}
            Answer::Members(members) => self.add_made(ChunkRef::Array(&members), worker),
            Answer::Words(words, _) if self.made.is_none() => self.made = Some(words),
            Answer::Words(words, cardinality) => {
                self.add_made(ChunkRef::Bitset { words: &words, cardinality }, worker);
                worker.give_back(words);
            }
        }
    }

    fn push_to<'s>(&'s self, sets: &mut Vec<&'s Words>) {
        sets.extend(&self.stored[..self.count]);
        sets.extend(self.made.as_deref());
    }

    /// Keeps those of a list that satisfy the clause.
    pub(super) fn retain(&self, members: &mut Vec<u16>) {
        let mut sets = Vec::with_capacity(STORED_MAX + 1);
        self.push_to(&mut sets);
        kernel::retain_members(members, Operand { sets: &sets, negated: self.negated });
    }

    /// Gives its buffer back.
    pub(super) fn release(self, worker: &mut Worker<'_, 'a>) {
        if let Some(words) = self.made {
            worker.give_back(words);
        }
    }
}

/// Calls `with` with the clauses as the kernels take them.
pub(super) fn with_operands<R>(clauses: &[Clause<'_>], with: impl FnOnce(&[Operand<'_>]) -> R) -> R {
    let mut sets = Vec::with_capacity(4 * clauses.len());
    let mut ends = Vec::with_capacity(clauses.len());
    for clause in clauses {
        clause.push_to(&mut sets);
        ends.push(sets.len());
    }
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let operands: Vec<Operand<'_>> = (clauses.iter().zip(starts).zip(&ends))
        .map(|((clause, start), end)| Operand { sets: &sets[start..*end], negated: clause.negated })
        .collect();
    with(&operands)
}

/// The members that satisfy all clauses so far.
pub(super) struct Conjunction<'a> {
    /// All of them, once they are few.
    pub(super) members: Option<Vec<u16>>,
    /// Otherwise: they satisfy all of these …
    pub(super) clauses: Vec<Clause<'a>>,
    /// … and are in none of these.
    pub(super) removed: Vec<&'a [u16]>,
    /// The share of the chunk expected to be left, if clauses are independent.
    pub(super) share: f64,
}

impl Conjunction<'_> {
    /// No clause yet: everyone, if `share` is 1.
    pub(super) fn new(share: f64) -> Self {
        Conjunction { members: None, clauses: Vec::new(), removed: Vec::new(), share }
    }
}
