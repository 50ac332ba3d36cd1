//! Rows that belong to somebody, written in the order of their owners.
//!
//! ```text
//! loose rows ─ their order ([`super::order`]) ─ columns gathered, chunk by chunk ─ parts
//!                                             └ what is kept of each owner, by chunks of owners ─ parts
//! ```
//!
//! Cost: each column is read once in the new order, from wherever the rows are held ([`super::codes`]).

use super::codes::Codes;
use super::held::coded_sections;
use super::import::append;
use super::order::{Loose, Order};
use crate::batch::{ColumnValues, Strings};
use crate::control::Cancel;
use crate::delta::Cell;
use crate::exec::words_of;
use crate::index::encode::{
    EncodedSection, encode_cells, encode_codes, encode_counts, encode_owner_keys, set_section,
    words_of as words_of_bits,
};
use crate::index::owners::{NOBODYS, Run, owners_section};
use crate::kernel;
use crate::member::{Key, KeyCollector};
use crate::schema::{Column, ColumnId, DataType, Owner, Summary, SummaryKind, TableSchema};
use crate::table::{ColumnReader, TableState};
use crate::writer::apply::Before;
use crate::{Error, Result};
use muster_storage::chunk::Words;
use muster_storage::format::{CHUNK_MEMBERS, RANGE_CHUNKS, SectionKind};
use muster_storage::part::{PartWriter, SectionStats};
use rayon::prelude::*;
use std::ops::Range;

/// Chunks that are made while as many are written.
const CHUNKS_AT_ONCE: usize = 16;

/// A column that is read in the new order.
enum Source<'t> {
    /// By its codes.
    Codes(Codes<'t>),
    /// Its TRUE rows and its NULLs, chunk by chunk.
    Truths(Vec<(Box<Words>, Box<Words>)>),
    /// Row by row.
    Cells(Before<'t>),
}

/// Writes rows in their order.
pub(super) struct Clustered<'t> {
    columns: Vec<(&'t Column, Source<'t>, usize)>,
    key: Option<usize>,
    /// The column that holds the owners' keys.
    owner: ColumnId,
    ordinals: ColumnId,
    /// The run that the next chunk begins in.
    run: usize,
}

impl<'t> Clustered<'t> {
    /// Prepares rows of a schema; `entries` are the strings that the dictionary of each column has.
    pub(super) fn new(
        schema: &'t TableSchema,
        loose: Loose<'t>,
        entries: &[usize],
        owner: &Owner,
    ) -> Result<Clustered<'t>> {
        let columns = schema.columns.iter().zip(entries).map(|(column, entries)| {
            let Loose::Parts(table) = loose else {
                return Ok((column, Source::Codes(loose.codes(column.id)?), *entries));
            };
            let before = Before::of(table, column.id)?;
            let source = match column.data_type {
                DataType::Boolean => Source::Truths(truths(table, &table.reader(column.id)?)?),
                DataType::TextArray => Source::Cells(before),
                DataType::Text if before.is_plain() || *entries == 0 => Source::Cells(before),
                _ => Source::Codes(loose.codes(column.id)?),
            };
            Ok((column, source, *entries))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let key = schema.columns.iter().position(|column| schema.key == Some(column.id));
        Ok(Clustered { columns, key, owner: owner.column, ordinals: owner.ordinals, run: 0 })
    }

    /// Writes the chunks of a range, in order: their columns to `part`, whose their rows are to `owners`, their keys to `keys`.
    /// While some chunks are written, the next are made. The order reaches beyond the range's end.
    pub(super) fn write(
        &mut self,
        order: &Order,
        chunks: Range<usize>,
        part: &mut PartWriter,
        owners: &mut PartWriter,
        keys: &mut KeyCollector,
        cancel: &Cancel,
    ) -> Result<()> {
        let batches: Vec<Range<usize>> = (chunks.clone().step_by(CHUNKS_AT_ONCE))
            .map(|first| first..chunks.end.min(first + CHUNKS_AT_ONCE))
            .collect();
        let mut made: Option<(Range<usize>, Vec<Gathered>)> = None;
        for batch in batches.into_iter().map(Some).chain([None]) {
            cancel.check()?;
            let (written, next) = rayon::join(
                || match made {
                    Some((chunks, made)) => self.append(order, chunks, made, part, keys),
                    None => Ok(()),
                },
                || batch.map(|batch| self.gather(order, batch.clone()).map(|made| (batch, made))).transpose(),
            );
            written?;
            made = next?;
        }
        for chunk in chunks {
            let first = chunk * CHUNK_MEMBERS;
            let rows = first..order.rows.len().min(first + CHUNK_MEMBERS);
            let section = self.owners_section(order, rows);
            append(owners, self.ordinals, (chunk % RANGE_CHUNKS) as u16, [section])?;
        }
        Ok(())
    }

    /// The sections of some chunks, chunk by chunk and column by column.
    fn gather(&self, order: &Order, chunks: Range<usize>) -> Result<Vec<Gathered>> {
        let (first, width) = (chunks.start, self.columns.len());
        let each = (0..chunks.len() * width).into_par_iter().with_max_len(1).map(|at| {
            let (rows, (column, source, entries)) =
                (order.chunk(first + at / width), &self.columns[at % width]);
            gathered(column, source, *entries, rows, self.key == Some(at % width), column.id == self.owner)
        });
        each.collect()
    }

    fn append(
        &self,
        order: &Order,
        chunks: Range<usize>,
        made: Vec<Gathered>,
        part: &mut PartWriter,
        keys: &mut KeyCollector,
    ) -> Result<()> {
        let mut made = made.into_iter();
        for chunk in chunks {
            let within = (chunk % RANGE_CHUNKS) as u16;
            let live =
                set_section(SectionKind::Sets, &words_of_bits(order.chunk(chunk).iter().map(|_| true)));
            append(part, ColumnId::LIVE, within, live)?;
            for ((column, ..), (sections, values)) in self.columns.iter().zip(&mut made) {
                append(part, column.id, within, sections)?;
                match values {
                    Some(ColumnValues::Code(codes)) => {
                        codes.iter().for_each(|code| keys.push(Key::Integer(*code)));
                    }
                    Some(ColumnValues::Text(texts)) => {
                        (0..texts.len()).for_each(|row| keys.push(Key::Text(texts.get(row))));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn owners_section(&mut self, order: &Order, rows: Range<usize>) -> EncodedSection {
        let runs = &order.runs;
        let (mut here, mut codes) = (Vec::new(), Vec::new());
        while let Some((start, run, of_run)) =
            runs.get(self.run).filter(|(start, ..)| (*start as usize) < rows.end)
        {
            here.push(Run { start: (*start as usize).saturating_sub(rows.start) as u32, ..*run });
            codes.extend(*of_run);
            if runs.get(self.run + 1).is_none_or(|(next, ..)| *next as usize > rows.end) {
                // It goes on in the next chunk.
                break;
            }
            self.run += 1;
        }
        let halves = &order.halves[rows];
        let ends = |run: Option<&Run>| run.map_or(i64::from(NOBODYS), |run| i64::from(run.owners));
        let (low, high) = (ends(here.first()), ends(here.last()));
        let stats = SectionStats { cardinality: halves.len() as u32, low, high };
        EncodedSection { kind: SectionKind::Owners, bytes: owners_section(&here, &codes, halves), stats }
    }
}

/// What is kept of each owner's rows, by chunks of owners.
pub(super) struct Summaries<'t> {
    order: &'t Order,
    /// Ordinals of owners.
    owners: usize,
    each: Vec<(Summary, DataType)>,
    /// The columns that something is kept of, each once.
    sources: Vec<(ColumnId, Codes<'t>)>,
    time: Option<ColumnId>,
}

impl<'t> Summaries<'t> {
    pub(super) fn new(
        table: &TableState,
        loose: Loose<'t>,
        owner: &Owner,
        owners: &TableState,
        order: &'t Order,
    ) -> Result<Summaries<'t>> {
        let summaries = &table.schema().summaries;
        let mut sources: Vec<(ColumnId, Codes<'t>)> = Vec::new();
        for summary in summaries {
            if let Some(column) = source_of(summary.kind, owner.time)
                && sources.iter().all(|(known, _)| *known != column)
            {
                sources.push((column, loose.codes(column)?));
            }
        }
        let each = summaries.iter().map(|summary| (*summary, table.type_of(*summary))).collect();
        let owners = owners.extent().ordinals as usize;
        Ok(Summaries { order, owners, each, sources, time: owner.time })
    }

    /// Chunks of owners.
    pub(super) fn chunks(&self) -> usize {
        self.owners.div_ceil(CHUNK_MEMBERS)
    }

    /// The columns, as parts name them.
    pub(super) fn columns(&self) -> Vec<u32> {
        self.each.iter().map(|(summary, _)| summary.column.0).collect()
    }

    /// Writes some chunks of owners, all of one range. A sum that 64 bits do not hold is an error.
    pub(super) fn write(&self, chunks: Range<usize>, part: &mut PartWriter) -> Result<()> {
        let made = chunks.clone().into_par_iter().with_max_len(1).map(|chunk| self.sections(chunk));
        for (chunk, made) in chunks.zip(made.collect::<Result<Vec<_>>>()?) {
            for ((summary, _), sections) in self.each.iter().zip(made) {
                append(part, summary.column, (chunk % RANGE_CHUNKS) as u16, sections)?;
            }
        }
        Ok(())
    }

    /// The sections of each summary of a chunk of owners.
    fn sections(&self, chunk: usize) -> Result<Vec<Vec<EncodedSection>>> {
        let here = self.order.starts[chunk]..self.order.starts[chunk + 1];
        let (rows, halves) = (&self.order.rows[here.clone()], &self.order.halves[here]);
        let gathered: Vec<_> =
            self.sources.iter().map(|(column, codes)| (*column, codes.gather(rows))).collect();
        let each = self.each.iter().map(|(summary, data_type)| {
            let of = source_of(summary.kind, self.time);
            let values = of.and_then(|of| gathered.iter().find(|(column, _)| *column == of));
            self.kept(
                chunk,
                *summary,
                *data_type,
                halves,
                values.map(|(_, (codes, nulls))| (&codes[..], &nulls[..])),
            )
        });
        each.collect()
    }

    fn kept(
        &self,
        chunk: usize,
        summary: Summary,
        data_type: DataType,
        halves: &[u16],
        values: Option<(&[i64], &[bool])>,
    ) -> Result<Vec<EncodedSection>> {
        let here = self.owners.saturating_sub(chunk * CHUNK_MEMBERS).min(CHUNK_MEMBERS);
        let (mut kept, mut nulls) = (vec![0i64; here], vec![summary.kind != SummaryKind::Count; here]);
        let Some((codes, absent)) = values else {
            halves.iter().for_each(|half| kept[usize::from(*half)] += 1);
            return Ok(encode_counts(data_type, &kept));
        };
        let rows = halves.iter().zip(codes).zip(absent).filter(|(_, absent)| !**absent);
        let rows = rows.map(|((half, code), _)| (usize::from(*half), *code));
        rows.clone().for_each(|(owner, _)| nulls[owner] = false);
        match summary.kind {
            SummaryKind::First => {
                kept.fill(i64::MAX);
                rows.for_each(|(owner, code)| kept[owner] = kept[owner].min(code));
            }
            SummaryKind::Last => {
                kept.fill(i64::MIN);
                rows.for_each(|(owner, code)| kept[owner] = kept[owner].max(code));
            }
            SummaryKind::Sum(_) | SummaryKind::Count => {
                let mut fits = true;
                for (owner, code) in rows {
                    let (sum, overflows) = kept[owner].overflowing_add(code);
                    (kept[owner], fits) = (sum, fits & !overflows);
                }
                if !fits {
                    let why = "the sum of an owner's rows does not fit 64 bits; import without keeping sums";
                    return Err(Error::Invalid(why.into()));
                }
            }
        }
        // The first time is asked for less than the last.
        let indexed = matches!(summary.kind, SummaryKind::Last | SummaryKind::Sum(_));
        Ok(encode_codes(data_type, indexed, 0, &kept, &nulls))
    }
}

/// The column that something is kept of.
fn source_of(kind: SummaryKind, time: Option<ColumnId>) -> Option<ColumnId> {
    match kind {
        SummaryKind::Count => None,
        SummaryKind::First | SummaryKind::Last => time,
        SummaryKind::Sum(column) => Some(column),
    }
}

fn truths(table: &TableState, reader: &ColumnReader<'_>) -> Result<Vec<(Box<Words>, Box<Words>)>> {
    let both =
        |chunk| Ok((Box::new(words_of(reader.set(chunk, 0)?)), Box::new(words_of(reader.nulls(chunk)?))));
    (0..table.chunks()).map(both).collect()
}

/// The sections of a column of a chunk; of the key its values too.
type Gathered = (Vec<EncodedSection>, Option<ColumnValues>);

fn gathered(
    column: &Column,
    source: &Source<'_>,
    entries: usize,
    rows: &[u32],
    is_key: bool,
    owns: bool,
) -> Result<Gathered> {
    match source {
        Source::Codes(stored) => {
            let (codes, nulls) = stored.gather(rows);
            let sections = match column.data_type {
                DataType::BigInt if owns => encode_owner_keys(&codes, &nulls),
                data_type => coded_sections(data_type, entries, &codes, &nulls),
            };
            Ok((sections, is_key.then_some(ColumnValues::Code(codes))))
        }
        Source::Truths(chunks) => {
            let bits = |nulls: bool| {
                words_of_bits(rows.iter().map(|row| {
                    let of_chunk = chunks.get((row >> 16) as usize);
                    let words = of_chunk.map(|(trues, null)| if nulls { null } else { trues });
                    words.is_some_and(|words| kernel::has(words, *row as u16))
                }))
            };
            let nulls = set_section(SectionKind::Nulls, &bits(true));
            Ok((nulls.into_iter().chain(set_section(SectionKind::Sets, &bits(false))).collect(), None))
        }
        Source::Cells(before) => {
            let cells =
                rows.iter().map(|row| before.cell(column.data_type, *row)).collect::<Result<Vec<Cell>>>()?;
            let texts = || -> Result<Strings> {
                let mut texts = Strings::default();
                for cell in &cells {
                    let Cell::Text(text) = cell else {
                        return Err(Error::Invalid("a key without a text was written".into()));
                    };
                    texts.bytes.extend_from_slice(text);
                    texts.ends.push(texts.bytes.len() as u32);
                }
                Ok(texts)
            };
            let values = if is_key { Some(ColumnValues::Text(texts()?)) } else { None };
            Ok((encode_cells(column.data_type, false, entries, &cells), values))
        }
    }
}
