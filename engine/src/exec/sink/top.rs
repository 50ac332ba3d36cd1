//! ORDER BY … LIMIT: the first members in an order of columns.

use super::{Found, Sink};
use crate::control::{Held, allocation};
use crate::delta::CellRef;
use crate::dictionary::Dictionary;
use crate::schema::{ColumnId, DataType};
use crate::table::{ColumnReader, TableState};
use crate::{Error, Result};
use muster_storage::format::SectionKind;
use std::cmp::Ordering;

/// One ORDER BY column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// The column; TEXT orders by UTF-8 bytes, BOOLEAN false before true. TEXT[] cannot be ordered by.
    pub column: ColumnId,
    /// True for DESC.
    pub descending: bool,
    /// True where NULLs come before every value. By default PostgreSQL takes them for greater than every value: last
    /// ascending, first descending.
    pub nulls_first: bool,
}

impl OrderBy {
    /// The order of two keys.
    fn compare(self, a: &SortKey, b: &SortKey) -> Ordering {
        match (a, b) {
            (SortKey::Null, SortKey::Null) => Ordering::Equal,
            (SortKey::Null, _) if self.nulls_first => Ordering::Less,
            (SortKey::Null, _) => Ordering::Greater,
            (_, SortKey::Null) => self.compare(b, a).reverse(),
            _ if self.descending => b.cmp(a),
            _ => a.cmp(b),
        }
    }
}

/// The first `limit` ordinals in this order; ties by ordinal.
pub struct Top {
    /// The order.
    pub order: Vec<OrderBy>,
    /// How many; `usize::MAX` sorts everything.
    pub limit: usize,
}

/// What a value is sorted by: codes as numbers, dictionary text by its rank, other text by its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortKey {
    /// A number, or the rank of a text.
    Code(i64),
    /// A text.
    Text(Box<[u8]>),
    /// NULL.
    Null,
}

/// A candidate.
pub struct Entry {
    keys: Vec<SortKey>,
    ordinal: u32,
}

/// The candidates so far, and the first key that later ones must not be worse than.
#[derive(Default)]
pub struct Candidates {
    entries: Vec<Entry>,
    threshold: Option<SortKey>,
    /// What the keys of the entries hold.
    bytes: usize,
}

impl Entry {
    fn bytes(&self) -> usize {
        let text = |key: &SortKey| if let SortKey::Text(text) = key { allocation(text.len()) } else { 0 };
        allocation(self.keys.capacity() * size_of::<SortKey>()) + self.keys.iter().map(text).sum::<usize>()
    }
}

/// One ORDER BY column, open.
pub struct OrderReader<'a> {
    reader: ColumnReader<'a>,
    dictionary: Option<&'a Dictionary>,
    /// The rank of each code, where every chunk stores codes.
    ranks: Option<Vec<u32>>,
}

impl OrderReader<'_> {
    fn keys(&self, chunk: u32, rows: &[u16]) -> Result<Vec<SortKey>> {
        let reader = &self.reader;
        let nulls = reader.nulls(chunk)?;
        let text = |bytes: &[u8]| SortKey::Text(bytes.into());
        let mut keys: Vec<SortKey> = match reader.data_type() {
            DataType::Boolean => {
                let set = reader.set(chunk, 0)?;
                rows.iter().map(|row| SortKey::Code(i64::from(set.contains(*row)))).collect()
            }
            _ => match (reader.strings(chunk)?, reader.values(chunk)?) {
                (Some(strings), _) => rows.iter().map(|row| text(strings.get(usize::from(*row)))).collect(),
                (None, Some(values)) => {
                    let mut codes = Vec::with_capacity(rows.len());
                    values.gather(rows, &mut codes);
                    match (&self.ranks, self.dictionary) {
                        (Some(ranks), _) => {
                            let rank = |code: i64| ranks.get(code as usize).copied().unwrap_or(0);
                            codes.into_iter().map(|code| SortKey::Code(i64::from(rank(code)))).collect()
                        }
                        (None, Some(dictionary)) => {
                            let view = dictionary.view()?;
                            codes.into_iter().map(|code| text(view.get(code as u32))).collect()
                        }
                        (None, None) => codes.into_iter().map(SortKey::Code).collect(),
                    }
                }
                (None, None) => vec![SortKey::Null; rows.len()],
            },
        };
        if nulls.cardinality() > 0 {
            for (key, row) in keys.iter_mut().zip(rows) {
                if nulls.contains(*row) {
                    *key = SortKey::Null;
                }
            }
        }
        let view = self.dictionary.map(Dictionary::view).transpose()?;
        reader.overlay(chunk, rows, |place, cell| {
            keys[place] = match (cell, &self.ranks, view) {
                (CellRef::Truth(truth), ..) => SortKey::Code(i64::from(truth)),
                (CellRef::Code(code), Some(ranks), _) => {
                    SortKey::Code(i64::from(ranks.get(code as usize).copied().unwrap_or(0)))
                }
                (CellRef::Code(code), None, Some(view)) => text(view.get(code as u32)),
                (CellRef::Code(code), None, None) => SortKey::Code(code),
                (CellRef::Text(bytes), ..) => text(bytes),
                (CellRef::Absent | CellRef::Null | CellRef::Tags(_), ..) => SortKey::Null,
            };
        })?;
        Ok(keys)
    }

    /// The best first key a chunk can have, where its statistics tell.
    fn best(&self, chunk: u32, order: OrderBy) -> Option<SortKey> {
        if !self.reader.data_type().is_numeric_code() || self.reader.is_changed(chunk) {
            return None;
        }
        let has_nulls = self.reader.entry(chunk, SectionKind::Nulls).is_some();
        let values = self.reader.entry(chunk, SectionKind::Values)?;
        Some(match order {
            OrderBy { nulls_first: true, .. } if has_nulls => SortKey::Null,
            OrderBy { descending: true, .. } => SortKey::Code(values.high),
            OrderBy { descending: false, .. } => SortKey::Code(values.low),
        })
    }
}

impl Top {
    fn compare(&self, a: &Entry, b: &Entry) -> Ordering {
        for (order, (x, y)) in self.order.iter().zip(a.keys.iter().zip(&b.keys)) {
            let compared = order.compare(x, y);
            if compared.is_ne() {
                return compared;
            }
        }
        a.ordinal.cmp(&b.ordinal)
    }

    /// Drops what can no longer be among the first.
    fn prune(&self, candidates: &mut Candidates) {
        if candidates.entries.len() > self.limit {
            let last = self.limit.max(1) - 1;
            candidates.entries.select_nth_unstable_by(last, |a, b| self.compare(a, b));
            candidates.entries.truncate(self.limit);
            candidates.bytes = candidates.entries.iter().map(Entry::bytes).sum();
            candidates.threshold = candidates.entries.get(last).and_then(|entry| entry.keys.first()).cloned();
        }
    }
}

impl Sink for Top {
    type Reader<'a> = Vec<OrderReader<'a>>;
    type Partial = Candidates;
    type Output = Vec<u32>;
    const HOLDS: &'static str = "what the rows are ordered by";

    fn open<'a>(&self, table: &'a TableState) -> Result<Vec<OrderReader<'a>>> {
        let open = |order: &OrderBy| {
            let reader = table.reader(order.column)?;
            if reader.data_type() == DataType::TextArray {
                return Err(Error::Invalid("a TEXT[] column has no order".into()));
            }
            let plain = reader.has_changed_texts()
                || (0..table.chunks()).any(|chunk| reader.entry(chunk, SectionKind::Strings).is_some());
            let dictionary = table.dictionary(order.column);
            let ranks = match dictionary {
                Some(dictionary) if !plain => Some(dictionary.view()?.ranks()),
                _ => None,
            };
            Ok(OrderReader { reader, dictionary, ranks })
        };
        self.order.iter().map(open).collect()
    }

    fn begin(&self) -> Candidates {
        Candidates::default()
    }

    fn take(
        &self,
        reader: &Vec<OrderReader<'_>>,
        partial: &mut Candidates,
        chunk: u32,
        found: Found<'_>,
        held: &mut Held,
    ) -> Result<u64> {
        let order = self.order.first();
        let worse = |key: &SortKey, threshold: &SortKey| {
            order.is_some_and(|order| order.compare(key, threshold).is_gt())
        };
        if let (Some(threshold), Some(first), Some(order)) = (&partial.threshold, reader.first(), order)
            && first.best(chunk, *order).is_some_and(|best| worse(&best, threshold))
        {
            return Ok(0);
        }
        let mut buffer = Vec::new();
        let mut rows = found.rows(&mut buffer).to_vec();
        let mut bytes = 64 * rows.len() as u64;
        let mut columns: Vec<Vec<SortKey>> = Vec::with_capacity(reader.len());
        if let Some(first) = reader.first() {
            let mut keys = first.keys(chunk, &rows)?;
            if let Some(threshold) = &partial.threshold {
                let keep: Vec<bool> = keys.iter().map(|key| !worse(key, threshold)).collect();
                let mut kept = keep.iter();
                rows.retain(|_| kept.next().copied().unwrap_or(false));
                let mut kept = keep.iter();
                keys.retain(|_| kept.next().copied().unwrap_or(false));
            }
            columns.push(keys);
        }
        for more in reader.iter().skip(1) {
            columns.push(more.keys(chunk, &rows)?);
            bytes += 64 * rows.len() as u64;
        }
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        for row in rows {
            let mut keys = Vec::with_capacity(columns.len());
            keys.extend(columns.iter_mut().filter_map(Iterator::next));
            let entry = Entry { keys, ordinal: chunk << 16 | u32::from(row) };
            partial.bytes += entry.bytes();
            partial.entries.push(entry);
        }
        if partial.entries.len() > self.limit.saturating_mul(2).saturating_add(1_024) {
            self.prune(partial);
        }
        held.set(partial.bytes + partial.entries.capacity() * size_of::<Entry>())?;
        Ok(bytes)
    }

    fn front(&self) -> Option<(OrderBy, usize)> {
        self.order.first().map(|order| (*order, self.limit))
    }

    fn merge(&self, into: &mut Candidates, from: Candidates) {
        into.entries.extend(from.entries);
        into.bytes += from.bytes;
        self.prune(into);
    }

    fn finish(&self, _: &Vec<OrderReader<'_>>, mut partial: Candidates, held: &mut Held) -> Result<Vec<u32>> {
        self.prune(&mut partial);
        held.add(partial.entries.len() * size_of::<u32>())?;
        partial.entries.sort_unstable_by(|a, b| self.compare(a, b));
        Ok(partial.entries.into_iter().map(|entry| entry.ordinal).take(self.limit).collect())
    }
}
