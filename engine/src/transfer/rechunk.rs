//! Batches as a source delivers them, cut into the chunks that are encoded.
//!
//! Invariants: rows keep their order; every chunk but the last has 65,536 of them; a dictionary that comes again with the
//! next batch is kept once. It neither checks values nor knows the table.

use crate::batch::{Batch, ColumnBatch, ColumnValues, Strings};
use muster_storage::format::CHUNK_MEMBERS;

/// At most so many bytes of texts are made room for before they are there.
const RESERVED_MAX: usize = 8 << 20;

/// Cuts batches of any size into chunks of 65,536 rows.
#[derive(Default)]
pub(super) struct Rechunker {
    waiting: Option<Batch>,
}

impl Rechunker {
    /// Takes a batch (`None` is the end) and gives the chunks that are full; at the end also the rest.
    pub(super) fn take(&mut self, batch: Option<Batch>) -> Vec<Batch> {
        let Some(mut batch) = batch else { return self.waiting.take().into_iter().collect() };
        if self.waiting.is_none() && batch.rows == CHUNK_MEMBERS {
            return vec![batch];
        }
        let mut full = Vec::new();
        let mut from = 0;
        while from < batch.rows {
            let waiting = self.waiting.get_or_insert_with(|| empty_like(&batch));
            let count = (CHUNK_MEMBERS - waiting.rows).min(batch.rows - from);
            extend(waiting, &mut batch, from..from + count);
            from += count;
            if waiting.rows == CHUNK_MEMBERS {
                full.extend(self.waiting.take());
            }
        }
        full
    }
}

fn empty_like(batch: &Batch) -> Batch {
    let empty = |column: &ColumnBatch| {
        let values = match &column.values {
            ColumnValues::Boolean(_) => ColumnValues::Boolean(Vec::new()),
            ColumnValues::Code(_) => ColumnValues::Code(Vec::with_capacity(CHUNK_MEMBERS)),
            ColumnValues::Text(_) => ColumnValues::Text(Strings::default()),
            ColumnValues::TextDictionary { .. } => {
                ColumnValues::TextDictionary { codes: Vec::new(), dictionary: Strings::default() }
            }
            ColumnValues::Tags { .. } => {
                ColumnValues::Tags { ends: Vec::new(), tags: Vec::new(), dictionary: Strings::default() }
            }
        };
        ColumnBatch { values, nulls: None }
    };
    Batch { rows: 0, columns: batch.columns.iter().map(empty).collect() }
}

fn extend(to: &mut Batch, from: &mut Batch, rows: std::ops::Range<usize>) {
    for (to_column, from_column) in to.columns.iter_mut().zip(&from.columns) {
        if to_column.nulls.is_some() || from_column.nulls.is_some() {
            let nulls = to_column.nulls.get_or_insert_with(|| vec![false; to.rows]);
            match &from_column.nulls {
                Some(more) => nulls.extend_from_slice(&more[rows.clone()]),
                None => nulls.resize(nulls.len() + rows.len(), false),
            }
        }
        extend_values(&mut to_column.values, &from_column.values, rows.clone());
    }
    to.rows += rows.len();
}

fn extend_values(to: &mut ColumnValues, from: &ColumnValues, rows: std::ops::Range<usize>) {
    match (&mut *to, from) {
        (ColumnValues::Boolean(to), ColumnValues::Boolean(from)) => to.extend_from_slice(&from[rows]),
        (ColumnValues::Code(to), ColumnValues::Code(from)) => to.extend_from_slice(&from[rows]),
        (ColumnValues::Text(to), ColumnValues::Text(from)) => {
            let start = if rows.start == 0 { 0 } else { from.ends[rows.start - 1] };
            let end = if rows.end == 0 { 0 } else { from.ends[rows.end - 1] };
            let base = to.bytes.len() as u32;
            if to.is_empty() {
                // A chunk's worth of such rows, at once, unless these few are long.
                to.ends.reserve(CHUNK_MEMBERS);
                let expected = (end - start) as usize / rows.len().max(1) * CHUNK_MEMBERS;
                to.bytes.reserve(expected.min(RESERVED_MAX));
            }
            to.bytes.extend_from_slice(&from.bytes[start as usize..end as usize]);
            to.ends.extend(from.ends[rows].iter().map(|end| end - start + base));
        }
        (ColumnValues::Text(to), from) => {
            for row in rows {
                to.bytes.extend_from_slice(text_of(from, row));
                to.ends.push(to.bytes.len() as u32);
            }
        }
        (
            ColumnValues::TextDictionary { codes, dictionary },
            ColumnValues::TextDictionary { codes: more, dictionary: entries },
        ) => {
            let offset = append_entries(dictionary, entries);
            codes.extend(more[rows].iter().map(|code| code + offset));
        }
        (
            ColumnValues::Tags { ends, tags, dictionary },
            ColumnValues::Tags { ends: more_ends, tags: more, dictionary: entries },
        ) => {
            let offset = append_entries(dictionary, entries);
            for row in rows {
                let start = if row == 0 { 0 } else { more_ends[row - 1] as usize };
                tags.extend(more[start..more_ends[row] as usize].iter().map(|tag| tag + offset));
                ends.push(tags.len() as u32);
            }
        }
        // One source may deliver a text column now with a dictionary and now without: plain text takes both.
        (ColumnValues::TextDictionary { codes, dictionary }, from @ ColumnValues::Text(_)) => {
            let mut strings = Strings::default();
            codes.iter().for_each(|code| {
                strings.bytes.extend_from_slice(dictionary.get(*code as usize));
                strings.ends.push(strings.bytes.len() as u32);
            });
            *to = ColumnValues::Text(strings);
            extend_values(to, from, rows);
        }
        (to, from) => unreachable!("a source changed a column from {to:?} to {from:?}"),
    }
}

/// Adds `entries` to a dictionary; where its last entries are the very same, they are shared.
fn append_entries(dictionary: &mut Strings, entries: &Strings) -> u32 {
    if let Some(before) = dictionary.len().checked_sub(entries.len()) {
        let start = if before == 0 { 0 } else { dictionary.ends[before - 1] };
        let same_bytes = dictionary.bytes[start as usize..] == entries.bytes;
        if same_bytes && dictionary.ends[before..].iter().zip(&entries.ends).all(|(a, b)| a - start == *b) {
            return before as u32;
        }
    }
    let (offset, base) = (dictionary.len() as u32, dictionary.bytes.len() as u32);
    dictionary.bytes.extend_from_slice(&entries.bytes);
    dictionary.ends.extend(entries.ends.iter().map(|end| end + base));
    offset
}

/// The text of a row, empty where the column has none.
pub(super) fn text_of(values: &ColumnValues, row: usize) -> &[u8] {
    match values {
        ColumnValues::Text(strings) => strings.get(row),
        // A column of nothing but NULLs may come with an empty dictionary.
        ColumnValues::TextDictionary { codes, dictionary } if !dictionary.is_empty() => {
            dictionary.get(codes[row] as usize)
        }
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(texts: &[String]) -> Batch {
        let mut strings = Strings::default();
        texts.iter().for_each(|text| strings.push(text));
        let column = ColumnBatch { values: ColumnValues::Text(strings), nulls: None };
        Batch { rows: texts.len(), columns: vec![column] }
    }

    /// One row of a mebibyte was taken for the first of 65,536 alike, and room for 64 GiB was made.
    #[test]
    fn a_few_long_texts_take_no_more_room_than_they_need() {
        let mut rechunker = Rechunker::default();
        assert!(rechunker.take(Some(batch(&["x".repeat(1 << 20)]))).is_empty());
        let chunks = rechunker.take(None);
        let ColumnValues::Text(strings) = &chunks[0].columns[0].values else { panic!("no texts") };
        assert_eq!(strings.bytes.len(), 1 << 20);
        assert!(strings.bytes.capacity() <= 2 * RESERVED_MAX, "{}", strings.bytes.capacity());
    }

    #[test]
    fn texts_keep_their_order_across_batches_of_every_size() {
        let texts: Vec<String> = (0..150_000).map(|row| "y".repeat(row % 5) + &row.to_string()).collect();
        let mut rechunker = Rechunker::default();
        let (mut chunks, mut from) = (Vec::new(), 0);
        for size in [1usize, 65_535, 3, 40_000, 44_461].into_iter().cycle() {
            let to = (from + size).min(texts.len());
            chunks.extend(rechunker.take(Some(batch(&texts[from..to]))));
            from = to;
            if from == texts.len() {
                break;
            }
        }
        chunks.extend(rechunker.take(None));
        let sizes: Vec<usize> = chunks.iter().map(|chunk| chunk.rows).collect();
        assert_eq!(sizes, [65_536, 65_536, 18_928]);
        let found = chunks
            .iter()
            .flat_map(|chunk| (0..chunk.rows).map(|row| text_of(&chunk.columns[0].values, row).to_vec()));
        assert!(found.eq(texts.iter().map(|text| text.clone().into_bytes())));
    }
}
