//! One column of one chunk on its way to the disk: values in, sections out.
//!
//! An encoder lives for an import and keeps what outlives a chunk: the column's dictionary. All else is decided chunk by
//! chunk from the values themselves.

use super::exceptions::small_section;
use super::lists::lists_section;
use super::order::order_sections;
use super::strings::strings_section;
use super::thresholds::thresholds_section;
use super::values::{Framed, codes_section, frame_of, packed_section, values_section};
use crate::batch::{ColumnValues, Strings};
use crate::delta::Cell;
use crate::dictionary::DictionaryBuilder;
use crate::schema::DataType;
use muster_storage::chunk::{SetsBuilder, Words};
use muster_storage::format::{BITSET_WORDS, SectionKind};
use muster_storage::part::SectionStats;

/// Up to this many distinct values in a chunk, TEXT gets a set per value; above, sets would average fewer than eight
/// members and the range index over codes is smaller.
pub const SET_CODES_MAX: usize = 8_192;

/// TEXT of a chunk in which more than this share of the rows have a value that is new to the column goes without the dictionary.
const NEAR_UNIQUE_SHARE: f64 = 0.5;

/// After so many such chunks the column is near-unique, and goes without a dictionary for good. A million distinct values in
/// random order fill the first ten chunks with new ones, and are a dictionary for all later ones.
const NEAR_UNIQUE_CHUNKS_MAX: u32 = 24;

/// Chunks smaller than this say nothing about uniqueness.
const NEAR_UNIQUE_ROWS_MIN: usize = 4_096;

/// The strings of a dictionary never pass this many bytes; later text goes without one.
const DICTIONARY_BYTES_MAX: usize = 256 << 20;

/// A section ready to be appended to a part.
pub struct EncodedSection {
    /// What it holds.
    pub kind: SectionKind,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What the table of sections says of it.
    pub stats: SectionStats,
}

/// Turns the values of one column into sections, chunk after chunk.
pub struct ColumnEncoder {
    data_type: DataType,
    /// True where numbers get a range index.
    indexed: bool,
    dictionary: DictionaryBuilder,
    /// True once a chunk has codes of the dictionary.
    used: bool,
    /// Chunks so far whose texts were mostly new.
    near_unique_chunks: u32,
    plain: bool,
}

impl ColumnEncoder {
    /// An encoder of a column; keys get no dictionary, numbers that are not `indexed` no range index.
    pub fn new(data_type: DataType, is_key: bool, indexed: bool) -> ColumnEncoder {
        ColumnEncoder {
            data_type,
            indexed,
            dictionary: DictionaryBuilder::default(),
            used: false,
            near_unique_chunks: 0,
            plain: is_key,
        }
    }

    /// The dictionary, where the column has one.
    pub fn dictionary(&self) -> Option<&DictionaryBuilder> {
        let has = matches!(self.data_type, DataType::Text | DataType::TextArray) && self.used;
        (has && !self.dictionary.is_empty()).then_some(&self.dictionary)
    }

    /// Strings that have a code.
    pub fn entries(&self) -> usize {
        self.dictionary.len()
    }

    /// The sections of one chunk.
    pub fn encode(&mut self, values: &ColumnValues, nulls: Option<&[bool]>) -> Vec<EncodedSection> {
        let nulls = nulls.filter(|nulls| nulls.contains(&true));
        let mut sections = Vec::new();
        if let Some(nulls) = nulls {
            sections.extend(set_section(SectionKind::Nulls, &words_of(nulls.iter().copied())));
        }
        match values {
            ColumnValues::Boolean(values) => {
                let words =
                    words_of(values.iter().enumerate().map(|(row, v)| *v && nulls.is_none_or(|n| !n[row])));
                sections.extend(set_section(SectionKind::Sets, &words));
            }
            ColumnValues::Code(codes) => code_sections(codes, self.indexed, nulls, &mut sections),
            ColumnValues::Text(strings) => self.encode_text(strings, nulls, &mut sections),
            ColumnValues::TextDictionary { codes, dictionary } => {
                self.encode_entries(codes, dictionary, nulls, &mut sections);
            }
            ColumnValues::Tags { ends, tags, dictionary } => {
                self.encode_tags(ends, tags, dictionary, &mut sections);
            }
        }
        sections
    }

    fn encode_text(&mut self, strings: &Strings, nulls: Option<&[bool]>, sections: &mut Vec<EncodedSection>) {
        match self.codes_of_text(strings, nulls) {
            Some(codes) => self.encode_text_codes(&codes, nulls, sections),
            None => sections.push(plain_section(strings, nulls)),
        }
    }

    /// The dictionary codes of a chunk's texts, of a NULL row any; where they go without, its sections.
    ///
    /// Panics on values that are no TEXT.
    pub fn text_codes(
        &mut self,
        values: &ColumnValues,
        nulls: Option<&[bool]>,
    ) -> Result<Vec<u32>, Vec<EncodedSection>> {
        let nulls = nulls.filter(|nulls| nulls.contains(&true));
        let without = |strings: &Strings| {
            let of_nulls =
                nulls.and_then(|nulls| set_section(SectionKind::Nulls, &words_of(nulls.iter().copied())));
            of_nulls.into_iter().chain([plain_section(strings, nulls)]).collect::<Vec<_>>()
        };
        let codes = match values {
            ColumnValues::Text(strings) => {
                self.codes_of_text(strings, nulls).ok_or_else(|| without(strings))?
            }
            ColumnValues::TextDictionary { codes, dictionary } => {
                self.codes_of_entries(codes, dictionary, nulls).map_err(|strings| without(&strings))?
            }
            values => unreachable!("texts were asked of {values:?}"),
        };
        self.used = true;
        Ok(codes)
    }

    /// The codes of texts; `None` where they are to be stored as they are.
    fn codes_of_text(&mut self, strings: &Strings, nulls: Option<&[bool]>) -> Option<Vec<u32>> {
        if self.plain {
            return None;
        }
        let (rows, known) = (strings.len(), self.dictionary.len());
        let codes: Vec<u32> = (0..rows)
            .map(|row| {
                if nulls.is_some_and(|nulls| nulls[row]) { 0 } else { self.dictionary.code(strings.get(row)) }
            })
            .collect();
        let new = self.dictionary.len() - known;
        let near_unique = rows >= NEAR_UNIQUE_ROWS_MIN && new as f64 > NEAR_UNIQUE_SHARE * rows as f64;
        let too_long = self.dictionary.text_bytes() > DICTIONARY_BYTES_MAX;
        if !near_unique && !too_long {
            return Some(codes);
        }
        self.near_unique_chunks += u32::from(near_unique);
        self.plain = too_long || self.near_unique_chunks >= NEAR_UNIQUE_CHUNKS_MAX;
        if self.plain && !self.used {
            self.dictionary = DictionaryBuilder::default();
        }
        None
    }

    fn encode_entries(
        &mut self,
        entries: &[u32],
        dictionary: &Strings,
        nulls: Option<&[bool]>,
        sections: &mut Vec<EncodedSection>,
    ) {
        match self.codes_of_entries(entries, dictionary, nulls) {
            Ok(codes) => self.encode_text_codes(&codes, nulls, sections),
            Err(strings) => sections.push(plain_section(&strings, nulls)),
        }
    }

    /// The codes of entries of a batch's dictionary; the texts where they are to be stored as they are.
    fn codes_of_entries(
        &mut self,
        entries: &[u32],
        dictionary: &Strings,
        nulls: Option<&[bool]>,
    ) -> Result<Vec<u32>, Strings> {
        if self.plain || dictionary.len() > entries.len() / 2 {
            let mut strings = Strings::default();
            for (row, entry) in entries.iter().enumerate() {
                let null = nulls.is_some_and(|nulls| nulls[row]);
                strings.bytes.extend_from_slice(if null { &[] } else { dictionary.get(*entry as usize) });
                strings.ends.push(strings.bytes.len() as u32);
            }
            return self.codes_of_text(&strings, nulls).ok_or(strings);
        }
        // Entries that no row of the chunk uses get no code.
        let mut translated = vec![None; dictionary.len()];
        let code = |(row, entry): (usize, &u32)| {
            if nulls.is_some_and(|nulls| nulls[row]) {
                return 0;
            }
            let slot = &mut translated[*entry as usize];
            *slot.get_or_insert_with(|| self.dictionary.code(dictionary.get(*entry as usize)))
        };
        Ok(entries.iter().enumerate().map(code).collect())
    }

    fn encode_text_codes(
        &mut self,
        codes: &[u32],
        nulls: Option<&[bool]>,
        sections: &mut Vec<EncodedSection>,
    ) {
        self.used = true;
        text_code_sections(codes, self.dictionary.len(), nulls, sections);
    }

    fn encode_tags(
        &mut self,
        ends: &[u32],
        tags: &[u32],
        dictionary: &Strings,
        sections: &mut Vec<EncodedSection>,
    ) {
        self.used = true;
        let mut translated = vec![None; dictionary.len()];
        let (mut list, mut codes) = (Vec::new(), Vec::with_capacity(tags.len()));
        let (mut list_ends, mut start) = (Vec::with_capacity(ends.len()), 0);
        for end in ends {
            list.clear();
            for tag in &tags[start..*end as usize] {
                let slot = &mut translated[*tag as usize];
                list.push(*slot.get_or_insert_with(|| self.dictionary.code(dictionary.get(*tag as usize))));
            }
            list.sort_unstable();
            list.dedup();
            codes.extend_from_slice(&list);
            list_ends.push(codes.len() as u32);
            start = *end as usize;
        }
        tag_sections(&list_ends, &codes, self.dictionary.len(), sections);
    }
}

/// Texts as they are.
fn plain_section(strings: &Strings, nulls: Option<&[bool]>) -> EncodedSection {
    let rows = strings.len();
    let bytes = strings_section((0..rows).map(|row| strings.get(row)));
    let stats = SectionStats { cardinality: present(rows, nulls), ..SectionStats::default() };
    EncodedSection { kind: SectionKind::Strings, bytes, stats }
}

/// The sections of numbers; of a NULL row any number.
fn code_sections(codes: &[i64], indexed: bool, nulls: Option<&[bool]>, sections: &mut Vec<EncodedSection>) {
    let framed = frame_of(codes, nulls);
    let stats = stats_of(&framed, nulls);
    let bytes = if indexed { values_section(&framed) } else { small_section(&framed) };
    sections.push(EncodedSection { kind: SectionKind::Values, bytes, stats });
    if indexed && framed.frame.slope == 0 {
        push_order(&framed, nulls, stats, sections);
    }
}

/// The sections of texts that have codes; of a NULL row any code.
fn text_code_sections(
    codes: &[u32],
    dictionary_len: usize,
    nulls: Option<&[bool]>,
    sections: &mut Vec<EncodedSection>,
) {
    let wide: Vec<i64> = codes.iter().map(|c| i64::from(*c)).collect();
    let mut framed = frame_of(&wide, nulls);
    if framed.frame.slope != 0 {
        // Codes are never a sequence by meaning; keep them indexable.
        framed = frame_of_codes(&wide);
    }
    let stats = stats_of(&framed, nulls);
    let mut groups = Groups::new(dictionary_len);
    for (row, code) in codes.iter().enumerate() {
        if nulls.is_none_or(|nulls| !nulls[row]) {
            groups.count(*code);
        }
    }
    if groups.distinct() <= SET_CODES_MAX {
        let rows = (0..codes.len()).filter(|row| nulls.is_none_or(|nulls| !nulls[*row]));
        let sets = groups.sets(rows.map(|row| (codes[row], row as u16)));
        sections.push(EncodedSection { kind: SectionKind::Values, bytes: codes_section(&framed), stats });
        sections.extend(sets_section(sets));
    } else {
        sections.push(EncodedSection { kind: SectionKind::Values, bytes: values_section(&framed), stats });
        push_order(&framed, nulls, stats, sections);
    }
}

/// The sections of lists of codes: row i has `codes[list_ends[i-1]..list_ends[i]]`, ascending.
fn tag_sections(list_ends: &[u32], codes: &[u32], dictionary_len: usize, sections: &mut Vec<EncodedSection>) {
    let mut groups = Groups::new(dictionary_len);
    codes.iter().for_each(|code| groups.count(*code));
    let rows = (0..list_ends.len()).flat_map(|row| {
        let start = if row == 0 { 0 } else { list_ends[row - 1] };
        codes[start as usize..list_ends[row] as usize].iter().map(move |code| (*code, row as u16))
    });
    sections.extend(sets_section(groups.sets(rows)));
    let stats = SectionStats { cardinality: codes.len() as u32, ..SectionStats::default() };
    sections.push(EncodedSection { kind: SectionKind::Lists, bytes: lists_section(list_ends, codes), stats });
}

/// The sections of one chunk's cells, whose texts have the codes that they are to keep: as [`ColumnEncoder::encode`] makes
/// them of values. Rows that are absent are NULL.
pub fn encode_cells(
    data_type: DataType,
    indexed: bool,
    dictionary_len: usize,
    cells: &[Cell],
) -> Vec<EncodedSection> {
    let mut sections = Vec::new();
    let nulls: Vec<bool> = cells.iter().map(|cell| matches!(cell, Cell::Null | Cell::Absent)).collect();
    let nulls = nulls.contains(&true).then_some(&nulls[..]);
    if let Some(nulls) = nulls {
        sections.extend(set_section(SectionKind::Nulls, &words_of(nulls.iter().copied())));
    }
    let code = |cell: &Cell| if let Cell::Code(code) = cell { *code } else { 0 };
    match data_type {
        DataType::Boolean => {
            let words = words_of(cells.iter().map(|cell| *cell == Cell::Truth(true)));
            sections.extend(set_section(SectionKind::Sets, &words));
        }
        DataType::Text if cells.iter().any(|cell| matches!(cell, Cell::Text(_))) => {
            let texts = cells.iter().map(|cell| if let Cell::Text(text) = cell { &**text } else { &[][..] });
            let bytes = strings_section(texts);
            let stats = SectionStats { cardinality: present(cells.len(), nulls), ..SectionStats::default() };
            sections.push(EncodedSection { kind: SectionKind::Strings, bytes, stats });
        }
        DataType::TextArray => {
            let (mut ends, mut codes) = (Vec::with_capacity(cells.len()), Vec::new());
            for cell in cells {
                codes.extend_from_slice(if let Cell::Tags(tags) = cell { tags } else { &[] });
                ends.push(codes.len() as u32);
            }
            tag_sections(&ends, &codes, dictionary_len, &mut sections);
        }
        _ => {
            let codes: Vec<i64> = cells.iter().map(code).collect();
            push_codes(data_type, indexed, dictionary_len, &codes, nulls, &mut sections);
        }
    }
    sections
}

/// [`encode_cells`] of numbers, or of texts by their codes; of a NULL row any.
pub fn encode_codes(
    data_type: DataType,
    indexed: bool,
    dictionary_len: usize,
    codes: &[i64],
    nulls: &[bool],
) -> Vec<EncodedSection> {
    let mut sections = Vec::new();
    let nulls = nulls.contains(&true).then_some(nulls);
    if let Some(nulls) = nulls {
        sections.extend(set_section(SectionKind::Nulls, &words_of(nulls.iter().copied())));
    }
    push_codes(data_type, indexed, dictionary_len, codes, nulls, &mut sections);
    sections
}

/// [`encode_codes`] of how many rows each owner has: small numbers, of which those are asked for that are large enough.
pub fn encode_counts(data_type: DataType, counts: &[i64]) -> Vec<EncodedSection> {
    let mut sections = encode_codes(data_type, false, 0, counts, &[]);
    sections.extend(thresholds_section(counts));
    sections
}

/// [`encode_codes`] of the keys of owners, of rows that are clustered by them.
pub fn encode_owner_keys(codes: &[i64], nulls: &[bool]) -> Vec<EncodedSection> {
    let nulls = nulls.contains(&true).then_some(nulls);
    let mut sections = Vec::new();
    if let Some(nulls) = nulls {
        sections.extend(set_section(SectionKind::Nulls, &words_of(nulls.iter().copied())));
    }
    let framed = frame_of(codes, nulls);
    let (bytes, stats) = (packed_section(&framed), stats_of(&framed, nulls));
    sections.push(EncodedSection { kind: SectionKind::Values, bytes, stats });
    sections
}

fn push_codes(
    data_type: DataType,
    indexed: bool,
    dictionary_len: usize,
    codes: &[i64],
    nulls: Option<&[bool]>,
    sections: &mut Vec<EncodedSection>,
) {
    match data_type {
        DataType::Text if nulls.is_some_and(|nulls| !nulls.contains(&false)) => {}
        DataType::Text => {
            let codes: Vec<u32> = codes.iter().map(|code| *code as u32).collect();
            text_code_sections(&codes, dictionary_len, nulls, sections);
        }
        _ => code_sections(codes, indexed, nulls, sections),
    }
}

/// Members by code: a counting sort, so that each set is built from its ascending members.
struct Groups {
    counts: Vec<u32>,
}

impl Groups {
    fn new(codes: usize) -> Groups {
        Groups { counts: vec![0; codes] }
    }

    fn count(&mut self, code: u32) {
        self.counts[code as usize] += 1;
    }

    fn distinct(&self) -> usize {
        self.counts.iter().filter(|count| **count > 0).count()
    }

    fn sets(self, members: impl Iterator<Item = (u32, u16)>) -> SetsBuilder {
        let mut starts = Vec::with_capacity(self.counts.len());
        let mut total = 0usize;
        for count in &self.counts {
            starts.push(total);
            total += *count as usize;
        }
        let mut sorted = vec![0u16; total];
        for (code, member) in members {
            sorted[starts[code as usize]] = member;
            starts[code as usize] += 1;
        }
        let mut sets = SetsBuilder::default();
        for (code, count) in self.counts.iter().enumerate() {
            sets.push_members(code as u32, &sorted[starts[code] - *count as usize..starts[code]]);
        }
        sets
    }
}

fn frame_of_codes(codes: &[i64]) -> Framed {
    // One more row than the sequence has breaks it; the row is dropped again.
    let mut broken = codes.to_vec();
    broken.push(codes[0]);
    let mut framed = frame_of(&broken, None);
    framed.residuals.pop();
    framed
}

fn present(rows: usize, nulls: Option<&[bool]>) -> u32 {
    (rows - nulls.map_or(0, |nulls| nulls.iter().filter(|null| **null).count())) as u32
}

fn stats_of(framed: &Framed, nulls: Option<&[bool]>) -> SectionStats {
    SectionStats { cardinality: present(framed.residuals.len(), nulls), low: framed.low, high: framed.high }
}

fn push_order(
    framed: &Framed,
    nulls: Option<&[bool]>,
    stats: SectionStats,
    sections: &mut Vec<EncodedSection>,
) {
    let (order, fences) = order_sections(framed, nulls);
    sections.push(EncodedSection { kind: SectionKind::Order, bytes: order, stats });
    sections.push(EncodedSection { kind: SectionKind::Fences, bytes: fences, stats });
}

/// The bits of a chunk's rows.
pub fn words_of(bits: impl Iterator<Item = bool>) -> Box<Words> {
    let mut words = Box::new([0u64; BITSET_WORDS]);
    bits.enumerate().for_each(|(row, bit)| words[row / 64] |= u64::from(bit) << (row % 64));
    words
}

/// A section of the one set `words` under code 0; none where the set is empty.
pub fn set_section(kind: SectionKind, words: &Words) -> Option<EncodedSection> {
    let mut sets = SetsBuilder::default();
    sets.push_words(0, words);
    let cardinality = words.iter().map(|w| w.count_ones()).sum();
    let stats = SectionStats { cardinality, ..SectionStats::default() };
    (!sets.is_empty()).then(|| EncodedSection { kind, bytes: sets.finish(), stats })
}

fn sets_section(sets: SetsBuilder) -> Option<EncodedSection> {
    let stats = SectionStats::default();
    (!sets.is_empty()).then(|| EncodedSection { kind: SectionKind::Sets, bytes: sets.finish(), stats })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds of a chunk's sections; its texts are numbers.
    fn kinds(encoder: &mut ColumnEncoder, numbers: impl Iterator<Item = u64>) -> Vec<SectionKind> {
        let mut strings = Strings::default();
        numbers.for_each(|number| strings.push(&number.to_string()));
        let sections = encoder.encode(&ColumnValues::Text(strings), None);
        sections.into_iter().map(|section| section.kind).collect()
    }

    /// A column of a million values in random order once had no dictionary at all, since its first chunk has few twice:
    /// every LIKE read the text of every row.
    #[test]
    fn a_column_of_many_values_gets_its_dictionary_after_some_chunks() {
        let rows = NEAR_UNIQUE_ROWS_MIN as u64;
        let mut encoder = ColumnEncoder::new(DataType::Text, false, true);
        let mut state = 7u64;
        let mut plain = 0;
        for chunk in 0..40 {
            let numbers = (0..rows).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) % (16 * rows)
            });
            let numbers: Vec<u64> = numbers.collect();
            if kinds(&mut encoder, numbers.into_iter()).contains(&SectionKind::Strings) {
                assert_eq!(plain, chunk, "no chunk goes without the dictionary after one with it");
                plain += 1;
                assert!(encoder.dictionary().is_none());
            }
        }
        assert!((1..20).contains(&plain), "{plain}");
        assert!(encoder.dictionary().is_some());
    }

    #[test]
    fn a_unique_column_gives_its_dictionary_up() {
        let rows = NEAR_UNIQUE_ROWS_MIN as u64;
        let mut encoder = ColumnEncoder::new(DataType::Text, false, true);
        for chunk in 0..2 * u64::from(NEAR_UNIQUE_CHUNKS_MAX) {
            assert_eq!(kinds(&mut encoder, chunk * rows..(chunk + 1) * rows), [SectionKind::Strings]);
            assert!(encoder.dictionary().is_none());
        }
        assert!(encoder.dictionary.is_empty(), "what no chunk uses is not kept");
    }
}
