//! A profile: every value of some columns with its count among the members, all columns in one pass.
//!
//! While a chunk's members are in the cache, each column is counted: where its sets are few bytes, by intersecting them
//! with the members and counting bits; else by a histogram of the members' codes. Of everyone the stored cardinalities are
//! the counts, so the profile of the whole table, with which an audience is compared, reads no sets at all.

use super::histogram::count_residuals;
use super::{Found, Sink};
use crate::control::{Held, allocation};
use crate::delta::CellRef;
use crate::dictionary::Dictionary;
use crate::exec::clause::words_of;
use crate::exec::overlay::split;
use crate::index::values::Residuals;
use crate::kernel::{self, Operand};
use crate::schema::{ColumnId, DataType};
use crate::table::{ColumnReader, TableState};
use crate::value::Value;
use crate::{Error, Result};
use hashbrown::HashMap;
use muster_storage::chunk::{ChunkRef, SetsRef, Words};
use muster_storage::format::SectionKind;

/// More distinct values than this a column of a profile may not have among the members.
pub const PROFILE_VALUES_MAX: usize = 65_536;

/// Sets are intersected where they are at most so many times the bytes of the codes that would be read instead: they are
/// read in sequence, sixty-four members at a time.
const SETS_PER_CODES_MAX: u64 = 2;

/// The counts of every value of some columns: per column in the order asked a `Vec<(Value, u64)>`, ascending by value, NULL
/// last; values that no member has are left out. Of TEXT[] every tag is counted, so the counts may add up to more than the
/// members; who has no tags is in none of them.
///
/// The profile of everyone ([`crate::Predicate::everyone`]) comes from stored cardinalities where there are some.
///
/// Error: a column with more than [`PROFILE_VALUES_MAX`] distinct values among the members.
pub struct Profile {
    /// The columns.
    pub columns: Vec<ColumnId>,
}

/// A column of a profile, open.
pub struct ProfileReader<'a> {
    name: String,
    reader: ColumnReader<'a>,
    dictionary: Option<&'a Dictionary>,
    codes: usize,
}

type Counts<K> = HashMap<K, u64, foldhash::fast::FixedState>;

/// What a column's values were counted to.
#[derive(Default)]
pub struct Tally {
    nulls: u64,
    /// By code of the dictionary, or for BOOLEAN false and true.
    codes: Vec<u64>,
    numbers: Counts<i64>,
    /// Texts of chunks that are stored without the dictionary.
    texts: Counts<Box<[u8]>>,
    /// What these hold.
    text_bytes: usize,
    /// A buffer: by residual.
    residuals: Vec<u64>,
}

impl Tally {
    fn held(&self) -> usize {
        let codes = (self.codes.capacity() + self.residuals.capacity()) * size_of::<u64>();
        codes + self.numbers.allocation_size() + self.texts.allocation_size() + self.text_bytes
    }
}

/// A chunk's members, in the forms that counting wants.
struct Chunk<'s> {
    number: u32,
    found: Found<'s>,
    /// The members as bits; `None` for everyone.
    words: Option<&'s Words>,
    /// The members as a list, made when first wanted.
    rows: Vec<u16>,
    bytes: u64,
}

impl Chunk<'_> {
    fn rows(&mut self) -> &[u16] {
        if self.rows.is_empty() {
            let mut buffer = Vec::new();
            let rows = self.found.rows(&mut buffer);
            self.rows = rows.to_vec();
        }
        &self.rows
    }

    /// How many of the members a set has.
    fn count(&mut self, set: ChunkRef<'_>) -> u64 {
        let Some(words) = self.words else { return u64::from(set.cardinality()) };
        self.bytes += set.bytes() as u64;
        let both = |other: &Words| {
            let operand = |set| Operand { sets: set, negated: false };
            kernel::intersection_count(&[operand(&[words]), operand(&[other])])
        };
        u64::from(match set {
            ChunkRef::Bitset { words: set, .. } => both(set),
            ChunkRef::Array(members) => kernel::count_members(words, members),
            ChunkRef::Runs { .. } => both(&words_of(set)),
        })
    }
}

impl ProfileReader<'_> {
    fn take(&self, tally: &mut Tally, chunk: &mut Chunk<'_>) -> Result<()> {
        let reader = &self.reader;
        let nulls = reader.nulls(chunk.number)?;
        let null_members = if nulls.cardinality() > 0 { chunk.count(nulls) } else { 0 };
        tally.nulls += null_members;
        tally.codes.resize(self.codes, 0);
        match reader.data_type() {
            DataType::Boolean => {
                let members = match chunk.words {
                    None => reader
                        .entry(chunk.number, SectionKind::Sets)
                        .map_or(0, |entry| u64::from(entry.cardinality)),
                    Some(_) => chunk.count(reader.set(chunk.number, 0)?),
                };
                tally.codes[0] += (chunk.found.cardinality() as u64).saturating_sub(null_members + members);
                tally.codes[1] += members;
            }
            DataType::TextArray => self.take_tags(tally, chunk)?,
            DataType::Text => match (reader.strings(chunk.number)?, reader.sets(chunk.number)?) {
                (Some(strings), _) => {
                    let nulls = words_of(nulls);
                    for row in chunk.rows().iter().filter(|row| !kernel::has(&nulls, **row)) {
                        let text = strings.get(usize::from(*row));
                        match tally.texts.get_mut(text) {
                            Some(count) => *count += 1,
                            None => {
                                tally.text_bytes += allocation(text.len());
                                tally.texts.insert(text.into(), 1);
                            }
                        }
                    }
                    chunk.bytes += 64 * chunk.rows.len() as u64;
                }
                (None, Some(sets)) if self.sets_pay(chunk) => self.take_sets(tally, chunk, sets)?,
                (None, _) => self.take_codes(tally, chunk, nulls, null_members)?,
            },
            _ => self.take_codes(tally, chunk, nulls, null_members)?,
        }
        let distinct = tally.numbers.len().max(tally.texts.len());
        if distinct > PROFILE_VALUES_MAX { Err(self.too_many()) } else { Ok(()) }
    }

    /// Counts what changed rows hold.
    fn take_changed(&self, tally: &mut Tally, chunk: u32, rows: &[u16]) -> Result<()> {
        let mut cells = vec![CellRef::Null; rows.len()];
        self.reader.overlay(chunk, rows, |place, cell| cells[place] = cell)?;
        let is_text = self.reader.data_type() == DataType::Text;
        let mut count = |code: usize| {
            if let Some(total) = tally.codes.get_mut(code) {
                *total += 1;
            }
        };
        for cell in cells {
            match cell {
                CellRef::Absent | CellRef::Null => tally.nulls += 1,
                CellRef::Truth(truth) => count(usize::from(truth)),
                CellRef::Code(code) if is_text => count(code as usize),
                CellRef::Code(code) => *tally.numbers.entry(code).or_insert(0) += 1,
                CellRef::Text(text) => {
                    tally.text_bytes += allocation(text.len());
                    *tally.texts.entry(text.into()).or_insert(0) += 1;
                }
                CellRef::Tags(codes) => codes.iter().for_each(|code| count(*code as usize)),
            }
        }
        Ok(())
    }

    fn too_many(&self) -> Error {
        Error::Invalid(format!(
            "column \"{}\" has more than {PROFILE_VALUES_MAX} distinct values among the members: too many for a profile",
            self.name
        ))
    }

    /// True where the sets of a chunk are rather read than the members' codes.
    fn sets_pay(&self, chunk: &Chunk<'_>) -> bool {
        let length = |kind| self.reader.entry(chunk.number, kind).map_or(0, |entry| entry.length);
        let members = chunk.found.cardinality() as u64;
        let codes = (64 * members).min(length(SectionKind::Values) + length(SectionKind::Lists));
        chunk.words.is_none() || length(SectionKind::Sets) <= SETS_PER_CODES_MAX * codes
    }

    fn take_sets(&self, tally: &mut Tally, chunk: &mut Chunk<'_>, sets: SetsRef<'_>) -> Result<()> {
        chunk.bytes += sets.table_bytes() as u64;
        for (index, code) in sets.codes().iter().enumerate() {
            let count = match chunk.words {
                None => u64::from(sets.cardinality(index)),
                Some(_) => chunk.count(
                    sets.container(index)
                        .map_err(|what| self.reader.malformed(chunk.number, SectionKind::Sets, what))?,
                ),
            };
            if let Some(total) = tally.codes.get_mut(*code as usize) {
                *total += count;
            }
        }
        Ok(())
    }

    fn take_tags(&self, tally: &mut Tally, chunk: &mut Chunk<'_>) -> Result<()> {
        let lists = self.reader.lists(chunk.number)?;
        match (lists, self.reader.sets(chunk.number)?) {
            (Some(lists), Some(_)) if !self.sets_pay(chunk) => {
                for row in chunk.rows() {
                    lists.for_each(usize::from(*row), |code| {
                        if let Some(total) = tally.codes.get_mut(code as usize) {
                            *total += 1;
                        }
                    });
                }
                chunk.bytes += 128 * chunk.rows.len() as u64;
                Ok(())
            }
            (_, Some(sets)) => self.take_sets(tally, chunk, sets),
            (_, None) => Ok(()),
        }
    }

    /// Counts the members' codes; those that are NULL hold residual 0.
    fn take_codes(
        &self,
        tally: &mut Tally,
        chunk: &mut Chunk<'_>,
        nulls: ChunkRef<'_>,
        null_members: u64,
    ) -> Result<()> {
        let Some(values) = self.reader.values(chunk.number)? else { return Ok(()) };
        let rows = chunk.rows();
        let frame = values.frame;
        let codes = usize::from(u16::MAX) + 1;
        let narrow = match values.residuals {
            Residuals::None | Residuals::U8(_) | Residuals::Planes(..) | Residuals::U16(_) => {
                frame.slope == 0
            }
            _ => false,
        };
        let is_text = self.reader.data_type() == DataType::Text;
        let mut add = |value: i64, count: u64| {
            if is_text {
                if let Some(total) = usize::try_from(value).ok().and_then(|code| tally.codes.get_mut(code)) {
                    *total += count;
                }
            } else if count > 0 {
                *tally.numbers.entry(value).or_insert(0) += count;
            }
        };
        if narrow {
            tally.residuals.clear();
            tally.residuals.resize(if values.residuals.width() < 2 { 1 << 12 } else { codes }, 0);
            let counted = count_residuals(values.residuals, rows, &mut tally.residuals);
            debug_assert!(counted, "residuals of one or two bytes are");
            tally.residuals[0] = tally.residuals[0].saturating_sub(null_members);
            for (residual, count) in tally.residuals.iter().enumerate().filter(|(_, count)| **count > 0) {
                add(frame.value(0, residual as u64), *count);
            }
        } else {
            let nulls = words_of(nulls);
            for row in rows.iter().filter(|row| !kernel::has(&nulls, **row)) {
                add(values.get(usize::from(*row)), 1);
            }
        }
        chunk.bytes += (64 * chunk.rows.len()).min(values.rows * values.residuals.width()) as u64;
        Ok(())
    }

    /// The counts in the order of the values.
    fn finish(&self, mut tally: Tally) -> Result<Vec<(Value, u64)>> {
        let view = self.dictionary.map(Dictionary::view).transpose()?;
        let mut counts: Vec<(Value, u64)> = match self.reader.data_type() {
            DataType::Boolean => {
                [false, true].map(Value::Boolean).into_iter().zip(tally.codes.iter().copied()).collect()
            }
            DataType::Text | DataType::TextArray => {
                let mut texts = Vec::new();
                for (text, count) in std::mem::take(&mut tally.texts) {
                    match view.and_then(|view| view.find(&text)) {
                        Some(code) => tally.codes[code as usize] += count,
                        None => texts.push((text.into_vec(), count)),
                    }
                }
                let some = (0..).zip(&tally.codes).filter(|(_, count)| **count > 0);
                if let Some(view) = view {
                    texts.extend(some.map(|(code, count)| (view.get(code).to_vec(), *count)));
                }
                texts.sort_unstable();
                let value = |bytes: Vec<u8>| Value::Text(String::from_utf8_lossy(&bytes).into_owned());
                texts.into_iter().map(|(text, count)| (value(text), count)).collect()
            }
            data_type => {
                let mut numbers: Vec<(i64, u64)> = tally.numbers.into_iter().collect();
                numbers.sort_unstable();
                let value = |code| crate::code::decode(data_type, code);
                numbers.into_iter().map(|(code, count)| (value(code), count)).collect()
            }
        };
        counts.push((Value::Null, tally.nulls));
        counts.retain(|(_, count)| *count > 0);
        if counts.len() > PROFILE_VALUES_MAX + usize::from(tally.nulls > 0) {
            return Err(self.too_many());
        }
        Ok(counts)
    }
}

impl Sink for Profile {
    type Reader<'a> = Vec<ProfileReader<'a>>;
    type Partial = Vec<Tally>;
    type Output = Vec<Vec<(Value, u64)>>;
    const HOLDS: &'static str = "the values of a profile";

    fn open<'a>(&self, table: &'a TableState) -> Result<Vec<ProfileReader<'a>>> {
        let open = |column: &ColumnId| {
            let reader = table.reader(*column)?;
            let name = table.schema().column(*column).map_or_else(String::new, |column| column.name.clone());
            let dictionary = table.dictionary(*column);
            let codes = match reader.data_type() {
                DataType::Boolean => 2,
                _ => dictionary.map(|d| d.view().map(|view| view.len())).transpose()?.unwrap_or(0),
            };
            Ok(ProfileReader { name, reader, dictionary, codes })
        };
        self.columns.iter().map(open).collect()
    }

    fn begin(&self) -> Vec<Tally> {
        self.columns.iter().map(|_| Tally::default()).collect()
    }

    fn take(
        &self,
        reader: &Vec<ProfileReader<'_>>,
        partial: &mut Vec<Tally>,
        chunk: u32,
        found: Found<'_>,
        held: &mut Held,
    ) -> Result<u64> {
        let made;
        let words = match found {
            Found::Everyone(_) => None,
            Found::Words(words, _) => Some(words),
            Found::Members(members) => {
                made = words_of(ChunkRef::Array(members));
                Some(&made)
            }
        };
        let mut bytes = 0;
        let mut chunk = Chunk { number: chunk, found, words, rows: Vec::new(), bytes: 0 };
        for (column, tally) in reader.iter().zip(&mut *partial) {
            let Some(split) = split(found, chunk.number, std::iter::once(&column.reader))? else {
                column.take(tally, &mut chunk)?;
                continue;
            };
            let (number, words) = (chunk.number, Some(&*split.unchanged));
            let mut unchanged = Chunk { number, found: split.found(), words, rows: Vec::new(), bytes: 0 };
            column.take(tally, &mut unchanged)?;
            column.take_changed(tally, number, &split.changed)?;
            bytes += unchanged.bytes;
        }
        held.set(partial.iter().map(Tally::held).sum())?;
        Ok(bytes + chunk.bytes)
    }

    fn merge(&self, into: &mut Vec<Tally>, from: Vec<Tally>) {
        for (tally, more) in into.iter_mut().zip(from) {
            tally.text_bytes += more.text_bytes;
            tally.nulls += more.nulls;
            tally.codes.resize(tally.codes.len().max(more.codes.len()), 0);
            tally.codes.iter_mut().zip(&more.codes).for_each(|(count, more)| *count += more);
            for (number, count) in more.numbers {
                *tally.numbers.entry(number).or_insert(0) += count;
            }
            for (text, count) in more.texts {
                *tally.texts.entry(text).or_insert(0) += count;
            }
        }
    }

    fn finish(
        &self,
        reader: &Vec<ProfileReader<'_>>,
        partial: Vec<Tally>,
        _: &mut Held,
    ) -> Result<Self::Output> {
        reader.iter().zip(partial).map(|(column, tally)| column.finish(tally)).collect()
    }
}
