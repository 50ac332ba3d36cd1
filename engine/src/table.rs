//! A table as a snapshot sees it: its parts, opened, and the way from (column, chunk) to bytes.

use crate::catalog::AudienceRecord;
use crate::delta::{CellRef, ColumnLayer, Layer, PatchRef, RangeLayer, TEXTS};
use crate::dictionary::Dictionary;
use crate::index::encode::EncodedSection;
use crate::index::fences::{Bound, FencesRef, RankSearch, Zone};
use crate::index::lists::ListsRef;
use crate::index::order::OrderRef;
use crate::index::owners::OwnersRef;
use crate::index::strings::StringsRef;
use crate::index::thresholds::{Between, ThresholdsRef};
use crate::index::values::{Residuals, ValuesRef};
use crate::member::{Key, KeyIndex, NewKeys};
use crate::predicate::{AudienceId, Predicate};
use crate::schema::{ColumnId, DataType, Summary, SummaryKind, TableSchema};
use crate::{Error, Result};
use hashbrown::HashMap;
use muster_storage::chunk::{ChunkRef, Malformed, SetsRef};
use muster_storage::format::{RANGE_CHUNKS, SectionKind};
use muster_storage::part::{PartReader, SectionStats, Sections, TocEntry};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Columns by number: consulted for every range of every column of a question, so with a hash of a nanosecond.
pub type ByColumn<T> = HashMap<ColumnId, T, foldhash::fast::FixedState>;

/// The columns of one range of 64 chunks.
#[derive(Default)]
pub struct RangeParts {
    /// Which part holds a column. A column of the schema that was added after the range was written has none: it is NULL
    /// for everybody there.
    pub columns: ByColumn<Arc<PartReader>>,
    /// The parts that hold changes of a column, later ones over earlier ones.
    pub patches: ByColumn<Vec<Arc<PartReader>>>,
}

/// How many rows a table has and had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Live rows.
    pub rows: u64,
    /// Ordinals given so far.
    pub ordinals: u64,
    /// Ordinals whose keys the key index finds.
    pub indexed: u64,
}

/// A table with its parts open, and the changes over them. Immutable: a change makes a new one, which shares what it did
/// not touch.
#[derive(Clone)]
pub struct TableState {
    schema: Arc<TableSchema>,
    pub(crate) extent: Extent,
    ranges: Arc<Vec<RangeParts>>,
    pub(crate) dictionaries: Arc<ByColumn<Dictionary>>,
    keys: KeyIndex,
    /// Keys of ordinals that are not indexed.
    pub(crate) new_keys: Arc<NewKeys>,
    /// Changes in memory, later ones over earlier ones: of a checkpoint under way, then those since.
    pub(crate) layers: Vec<Arc<Layer>>,
    audiences: Arc<HashMap<AudienceId, Predicate>>,
    /// Columns that hold the members of static audiences.
    hidden: Arc<Vec<ColumnId>>,
}

impl TableState {
    /// A table of these parts, without audiences.
    pub fn new(
        schema: Arc<TableSchema>,
        extent: Extent,
        ranges: Vec<RangeParts>,
        dictionaries: ByColumn<Dictionary>,
        keys: KeyIndex,
    ) -> TableState {
        TableState {
            schema,
            extent,
            ranges: Arc::new(ranges),
            dictionaries: Arc::new(dictionaries),
            keys,
            new_keys: Arc::default(),
            layers: Vec::new(),
            audiences: Arc::default(),
            hidden: Arc::default(),
        }
    }

    /// The table with audiences of its members.
    pub fn with_audiences<'r>(mut self, records: impl Iterator<Item = &'r AudienceRecord>) -> TableState {
        let (mut audiences, mut hidden) = (HashMap::new(), Vec::new());
        for record in records {
            audiences.insert(record.id, record.condition());
            hidden.extend(record.hidden_column());
        }
        (self.audiences, self.hidden) = (Arc::new(audiences), Arc::new(hidden));
        self
    }

    /// The table with what another one of the same has in memory: changes, keys, strings. Unless rows came in from files:
    /// that is done to empty tables only.
    pub(crate) fn with_changes_of(mut self, before: &TableState) -> Result<TableState> {
        if before.extent.ordinals >= self.extent.ordinals {
            self.extent = Extent { indexed: self.extent.indexed, ..before.extent };
            self.layers.clone_from(&before.layers);
            self.new_keys = Arc::clone(&before.new_keys);
            let mut dictionaries = ByColumn::clone(&self.dictionaries);
            for (column, dictionary) in &*before.dictionaries {
                dictionaries.entry(*column).or_default().follow(dictionary)?;
            }
            self.dictionaries = Arc::new(dictionaries);
        }
        Ok(self)
    }

    /// The table with the keys of those ordinals that the key index does not know.
    pub(crate) fn with_keys_found(mut self) -> Result<TableState> {
        let Some(key) = self.schema.key else { return Ok(self) };
        let mut found = NewKeys::default();
        {
            let (reader, live) = (self.reader(key)?, self.reader(ColumnId::LIVE)?);
            for ordinal in self.extent.indexed as u32..self.extent.ordinals as u32 {
                // A row that is gone may have had the key of one that is not.
                if live.is_true(ordinal)? {
                    let value = crate::exec::value_at(&reader, None, ordinal)?;
                    found.add(Key::of_value(&value).map(|key| (key, ordinal)));
                }
            }
        }
        self.new_keys = Arc::new(found);
        Ok(self)
    }

    /// The definition of an audience of this table.
    pub fn audience(&self, id: AudienceId) -> Option<&Predicate> {
        self.audiences.get(&id)
    }

    /// True for a column that holds the members of a static audience, whose the rows are, or what is kept of an owner's: no schema has it, and it is never
    /// NULL.
    pub fn is_hidden(&self, column: ColumnId) -> bool {
        self.hidden.contains(&column) || self.is_ordinals(column) || self.summary(column).is_some()
    }

    fn summary(&self, column: ColumnId) -> Option<Summary> {
        self.schema.summaries.iter().find(|summary| summary.column == column).copied()
    }

    /// The columns that are derived from others, in words: whose the rows are, and what is kept of each owner's.
    pub fn derived(&self) -> Vec<(ColumnId, String, DataType)> {
        let owner = self.schema.owner.map(|owner| (owner.ordinals, "(owners)".to_owned(), DataType::BigInt));
        let kept = self.schema.summaries.iter().map(|summary| {
            let name = match summary.kind {
                SummaryKind::Count => "(rows of each)".to_owned(),
                SummaryKind::First => "(first of each)".to_owned(),
                SummaryKind::Last => "(last of each)".to_owned(),
                SummaryKind::Sum(column) => {
                    let name = self.schema.column(column).map_or("?", |column| &column.name);
                    format!("(sum of {name} of each)")
                }
            };
            (summary.column, name, self.type_of(*summary))
        });
        owner.into_iter().chain(kept).collect()
    }

    /// The type of what is kept of each owner's rows.
    pub fn type_of(&self, summary: Summary) -> DataType {
        let of = |column: Option<ColumnId>| column.and_then(|column| self.schema.column(column));
        match summary.kind {
            SummaryKind::Count => DataType::BigInt,
            SummaryKind::First | SummaryKind::Last => of(self.schema.owner.and_then(|owner| owner.time))
                .map_or(DataType::Timestamp, |time| time.data_type),
            SummaryKind::Sum(column) => match of(Some(column)).map(|column| column.data_type) {
                Some(DataType::Decimal { scale, .. }) => {
                    DataType::Decimal { precision: crate::schema::DECIMAL_PRECISION_MAX, scale }
                }
                _ => DataType::BigInt,
            },
        }
    }

    /// True for the column that says whose clustered rows are.
    fn is_ordinals(&self, column: ColumnId) -> bool {
        self.schema.owner.is_some_and(|owner| owner.ordinals == column)
    }

    /// The columns of static audiences.
    pub fn hidden(&self) -> &[ColumnId] {
        &self.hidden
    }

    /// Live rows of the ranges that a column of the schema was added after: NULL, without being stored.
    pub fn rows_without(&self, column: ColumnId) -> u64 {
        let ranges = self.ranges.iter().filter(|range| !range.columns.contains_key(&column));
        let live = ranges.filter_map(|range| range.columns.get(&ColumnId::LIVE));
        let sets = live.map(|part| part.sections(ColumnId::LIVE.0, SectionKind::Sets));
        sets.flat_map(|sets| sets.entries()).map(|entry| u64::from(entry.cardinality)).sum()
    }

    /// The type of a column, of the live set and of hidden columns too.
    pub fn data_type(&self, column: ColumnId) -> Result<DataType> {
        match self.schema.column(column) {
            Some(column) => Ok(column.data_type),
            None if self.is_ordinals(column) => Ok(DataType::BigInt),
            None if let Some(summary) = self.summary(column) => Ok(self.type_of(summary)),
            None if column == ColumnId::LIVE || self.is_hidden(column) => Ok(DataType::Boolean),
            None => Err(Error::Invalid(format!("no column {} in table \"{}\"", column.0, self.schema.name))),
        }
    }

    /// Names and types.
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// Live rows.
    pub fn rows(&self) -> u64 {
        self.extent.rows
    }

    /// Live rows, ordinals, indexed ordinals.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// True where some ordinals are of rows that are gone.
    pub fn has_dead(&self) -> bool {
        self.extent.rows != self.extent.ordinals
    }

    /// Chunks that ordinals may be in.
    pub fn chunks(&self) -> u32 {
        self.extent.ordinals.div_ceil(muster_storage::format::CHUNK_MEMBERS as u64) as u32
    }

    /// Ordinals given in one chunk: of live rows, and of rows that are gone.
    pub fn chunk_rows(&self, chunk: u32) -> usize {
        (self.extent.ordinals - (u64::from(chunk) << 16)).min(1 << 16) as usize
    }

    /// The ranges.
    pub fn ranges(&self) -> &[RangeParts] {
        &self.ranges
    }

    /// The way from keys to ordinals.
    pub fn keys(&self) -> &KeyIndex {
        &self.keys
    }

    /// The dictionary of a TEXT or TEXT[] column, if any chunk needed one.
    pub fn dictionary(&self, column: ColumnId) -> Option<&Dictionary> {
        self.dictionaries.get(&column)
    }

    /// A reader of one column ([`ColumnId::LIVE`] and hidden ones too). Cost: a few hash lookups a range.
    pub fn reader(&self, column: ColumnId) -> Result<ColumnReader<'_>> {
        let data_type = self.data_type(column)?;
        Ok(self.reader_of(column, data_type))
    }

    /// One section of a column, verified, with its part and its place there: for those who need no reader of all chunks.
    pub fn section(
        &self,
        column: ColumnId,
        kind: SectionKind,
        chunk: u32,
    ) -> Result<Option<(&PartReader, u64, &[u8])>> {
        let range = self.ranges.get(chunk as usize / RANGE_CHUNKS);
        let Some(part) = range.and_then(|range| range.columns.get(&column)) else { return Ok(None) };
        let (sections, within) = (part.sections(column.0, kind), (chunk as usize % RANGE_CHUNKS) as u16);
        let Some(bytes) = sections.bytes(within)? else { return Ok(None) };
        Ok(sections.entry(within).map(|entry| (&**part, entry.offset, bytes)))
    }

    fn reader_of(&self, column: ColumnId, data_type: DataType) -> ColumnReader<'_> {
        let in_schema = column != ColumnId::LIVE && !self.is_hidden(column);
        let layers: Vec<&ColumnLayer> = self.layers.iter().filter_map(|layer| layer.column(column)).collect();
        let count = layers.iter().map(|layer| layer.ranges()).max().unwrap_or(0).max(self.ranges.len());
        let ranges = (0..count).map(|number| {
            let range = self.ranges.get(number);
            let patches = range.and_then(|range| range.patches.get(&column)).into_iter().flatten();
            let patches = Changes {
                parts: patches.map(|part| part.sections(column.0, SectionKind::Patch)).collect(),
                layers: layers.iter().filter_map(|layer| layer.range(number)).collect(),
            };
            let mut sections = [None; KINDS];
            if let Some(part) = range.and_then(|range| range.columns.get(&column)) {
                for kind in kinds_of(data_type) {
                    sections[*kind as usize] =
                        Some(part.sections(column.0, *kind)).filter(|s| !s.entries().is_empty());
                }
            } else if let Some(live) =
                range.and_then(|range| range.columns.get(&ColumnId::LIVE)).filter(|_| in_schema)
            {
                // The column was added later. Who is NULL here is who lives: a set stored the same way.
                sections[SectionKind::Nulls as usize] =
                    Some(live.sections(ColumnId::LIVE.0, SectionKind::Sets));
            }
            RangeReader { sections, changes: patches }
        });
        let ranges: Vec<RangeReader<'_>> = ranges.collect();
        let parts = ranges.iter().flat_map(|range| &range.changes.parts);
        let stored = || parts.clone().flat_map(|part| part.entries()).map(|entry| (entry.low, entry.high));
        let is_texts = |bounds| data_type == DataType::Text && bounds == TEXTS;
        let texts = layers.iter().any(|layer| layer.has_texts()) || stored().any(is_texts);
        let stored = stored().filter(|bounds| bounds.0 <= bounds.1 && !is_texts(*bounds));
        let bounds = layers.iter().filter_map(|layer| layer.bounds()).chain(stored);
        let bounds = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        ColumnReader { data_type, ranges, texts, bounds }
    }
}

/// What one range has of a column.
struct RangeReader<'a> {
    sections: [Option<Sections<'a>>; KINDS],
    changes: Changes<'a>,
}

/// The kinds of sections that a chunk of a column may have.
fn kinds_of(data_type: DataType) -> &'static [SectionKind] {
    match data_type {
        DataType::Boolean => &[SectionKind::Nulls, SectionKind::Sets],
        DataType::Text => &[
            SectionKind::Nulls,
            SectionKind::Sets,
            SectionKind::Values,
            SectionKind::Order,
            SectionKind::Fences,
            SectionKind::Strings,
        ],
        DataType::TextArray => &[SectionKind::Nulls, SectionKind::Sets, SectionKind::Lists],
        _ => &[
            SectionKind::Nulls,
            SectionKind::Values,
            SectionKind::Order,
            SectionKind::Fences,
            SectionKind::Owners,
            SectionKind::Thresholds,
        ],
    }
}

/// The patch that a part has of a chunk.
fn patch_of<'a>(part: &Sections<'a>, within: usize) -> Result<Option<PatchRef<'a>>> {
    let Some(bytes) = part.bytes(within as u16)? else { return Ok(None) };
    let offset = part.entry(within as u16).map_or(0, |entry| entry.offset);
    let patch = PatchRef::read(bytes).map_err(|what| part.part().malformed(offset, what))?;
    Ok(Some(patch))
}

/// The changes of a column in a range, later ones over earlier ones.
struct Changes<'a> {
    parts: Vec<Sections<'a>>,
    layers: Vec<&'a RangeLayer>,
}

impl Changes<'_> {
    #[inline]
    fn any(&self, within: usize) -> bool {
        self.parts.iter().any(|part| part.entry(within as u16).is_some())
            || self.layers.iter().any(|layer| layer.patch(within).is_some())
    }
}

/// One more than the greatest section kind of a column's chunks.
const KINDS: usize = SectionKind::Thresholds as usize + 1;

/// The range index of a chunk as far as ranks go.
#[derive(Clone, Copy)]
pub struct Ranked<'a> {
    /// Sampled values.
    pub fences: FencesRef<'a>,
    /// Rows by rank.
    pub permutation: &'a [u16],
    /// Values by row.
    pub residuals: Residuals<'a>,
}

impl<'a> Ranked<'a> {
    /// Begins the search for the number of values below `bound`, which is neither none nor all of them.
    #[inline]
    pub fn search(&self, bound: i64) -> RankSearch<'a> {
        RankSearch::begin(self.fences, self.permutation, self.residuals, bound)
    }
}

/// Reads one column, chunk by chunk.
pub struct ColumnReader<'a> {
    data_type: DataType,
    ranges: Vec<RangeReader<'a>>,
    /// Whether changes have texts without codes.
    texts: bool,
    /// The least and the greatest code that changes have.
    bounds: Option<(i64, i64)>,
}

impl<'a> ColumnReader<'a> {
    /// The column's type.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    #[inline]
    fn sections(&self, chunk: u32, kind: SectionKind) -> Option<&Sections<'a>> {
        self.ranges.get(chunk as usize / RANGE_CHUNKS)?.sections[kind as usize].as_ref()
    }

    /// True where some rows of a chunk were changed: what the base says of them no longer holds.
    #[inline]
    pub fn is_changed(&self, chunk: u32) -> bool {
        let range = self.ranges.get(chunk as usize / RANGE_CHUNKS);
        range.is_some_and(|range| range.changes.any(chunk as usize % RANGE_CHUNKS))
    }

    /// The changes of a chunk, later ones over earlier ones. Cost: nothing where there are none.
    pub fn changes(&self, chunk: u32) -> Result<Vec<PatchRef<'a>>> {
        let within = chunk as usize % RANGE_CHUNKS;
        let mut patches = Vec::new();
        let Some(range) = self.ranges.get(chunk as usize / RANGE_CHUNKS) else { return Ok(patches) };
        for part in &range.changes.parts {
            patches.extend(patch_of(part, within)?);
        }
        let layers = range.changes.layers.iter().filter_map(|layer| layer.patch(within));
        patches.extend(layers.map(|patch| patch.by_ref()));
        Ok(patches)
    }

    /// Asks the cache for so many lines of the changes of a chunk, from their beginning.
    pub fn prefetch_changes(&self, chunk: u32, lines: usize) {
        let within = chunk as usize % RANGE_CHUNKS;
        let Some(range) = self.ranges.get(chunk as usize / RANGE_CHUNKS) else { return };
        for part in &range.changes.parts {
            if let Some(bytes) = part.verified(within as u16) {
                (0..lines).for_each(|line| crate::kernel::prefetch(bytes, 64 * line));
            }
        }
        let patches = range.changes.layers.iter().filter_map(|layer| layer.patch(within));
        patches.for_each(|patch| patch.prefetch(lines));
    }

    /// Calls `hear` with the place and the cell of each of some rows (ascending) that was changed; of a row that was
    /// changed more than once, the last call is the one that holds.
    pub fn overlay(&self, chunk: u32, rows: &[u16], mut hear: impl FnMut(usize, CellRef<'a>)) -> Result<()> {
        if self.is_changed(chunk) {
            self.changes(chunk)?.iter().for_each(|patch| patch.for_each_of(rows, &mut hear));
        }
        Ok(())
    }

    /// What a row holds by the changes alone.
    pub fn changed_cell(&self, chunk: u32, row: u16) -> Result<Option<CellRef<'a>>> {
        if !self.is_changed(chunk) {
            return Ok(None);
        }
        let within = chunk as usize % RANGE_CHUNKS;
        let Some(range) = self.ranges.get(chunk as usize / RANGE_CHUNKS) else { return Ok(None) };
        // The latest first, and no further than to where the row is found.
        let mut layers = range.changes.layers.iter().rev().filter_map(|layer| layer.patch(within));
        if let Some(cell) = layers.find_map(|patch| patch.by_ref().cell(row)) {
            return Ok(Some(cell));
        }
        for part in range.changes.parts.iter().rev() {
            if let Some(cell) = patch_of(part, within)?.and_then(|patch| patch.cell(row)) {
                return Ok(Some(cell));
            }
        }
        Ok(None)
    }

    /// True where a member's BOOLEAN is TRUE, changes included.
    pub fn is_true(&self, ordinal: u32) -> Result<bool> {
        let (chunk, row) = (ordinal >> 16, ordinal as u16);
        match self.changed_cell(chunk, row)? {
            Some(cell) => Ok(cell == CellRef::Truth(true)),
            None => Ok(self.set(chunk, 0)?.contains(row)),
        }
    }

    /// True where a row of a chunk was changed to NULL, and perhaps back.
    pub fn has_changed_nulls(&self, chunk: u32) -> bool {
        let changes = if self.is_changed(chunk) { self.changes(chunk) } else { Ok(Vec::new()) };
        // What cannot be read is no reason to believe that there are none.
        changes.map_or(true, |changes| changes.iter().any(|patch| patch.new.nulls() > 0))
    }

    /// The least and the greatest code that changed rows of a chunk hold, where all its changes are in parts, whose tables of
    /// sections tell; the least is above the greatest where they hold none.
    pub fn changed_zone(&self, chunk: u32) -> Option<(i64, i64)> {
        let within = chunk as usize % RANGE_CHUNKS;
        let changes = &self.ranges.get(chunk as usize / RANGE_CHUNKS)?.changes;
        if changes.layers.iter().any(|layer| layer.patch(within).is_some()) {
            return None;
        }
        let zones = changes.parts.iter().filter_map(|part| part.entry(within as u16));
        zones.map(|entry| (entry.low, entry.high)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// The least and the greatest code that was written.
    pub fn changed_bounds(&self) -> Option<(i64, i64)> {
        self.bounds
    }

    /// True where some text was written without a code of the dictionary.
    pub fn has_changed_texts(&self) -> bool {
        self.data_type == DataType::Text && self.texts
    }

    /// What the table of sections says of a section, without touching it.
    #[inline]
    pub fn entry(&self, chunk: u32, kind: SectionKind) -> Option<&'a TocEntry> {
        self.sections(chunk, kind)?.entry((chunk as usize % RANGE_CHUNKS) as u16)
    }

    #[inline]
    fn open<T>(
        &self,
        chunk: u32,
        kind: SectionKind,
        open: impl FnOnce(&'a [u8]) -> std::result::Result<T, Malformed>,
    ) -> Result<Option<T>> {
        let Some(sections) = self.sections(chunk, kind) else { return Ok(None) };
        let within = (chunk as usize % RANGE_CHUNKS) as u16;
        let Some(bytes) = sections.bytes(within)? else { return Ok(None) };
        open(bytes).map(Some).map_err(|what| self.malformed(chunk, kind, what))
    }

    /// Asks the cache for the first `lines` cache lines of a section, if it was used before.
    pub fn prefetch(&self, chunk: u32, kind: SectionKind, lines: usize) {
        let within = (chunk as usize % RANGE_CHUNKS) as u16;
        if let Some(bytes) = self.sections(chunk, kind).and_then(|sections| sections.verified(within)) {
            (0..lines).for_each(|line| crate::kernel::prefetch(bytes, 64 * line));
        }
    }

    /// The sets by code, if they were used before: for asking the cache for a container ahead of use.
    pub fn known_sets(&self, chunk: u32) -> Option<SetsRef<'a>> {
        let within = (chunk as usize % RANGE_CHUNKS) as u16;
        SetsRef::open(self.sections(chunk, SectionKind::Sets)?.verified(within)?).ok()
    }

    /// Says that a section is not of its format, though its checksum holds.
    pub fn malformed(&self, chunk: u32, kind: SectionKind, what: Malformed) -> Error {
        let offset = self.entry(chunk, kind).map_or(0, |entry| entry.offset);
        match self.sections(chunk, kind) {
            Some(sections) => sections.part().malformed(offset, what).into(),
            None => Error::Invalid(format!("chunk {chunk} has no {kind:?}")),
        }
    }

    /// The sets by code.
    pub fn sets(&self, chunk: u32) -> Result<Option<SetsRef<'a>>> {
        self.open(chunk, SectionKind::Sets, SetsRef::open)
    }

    /// The set of code; nobody where there is none.
    pub fn set(&self, chunk: u32, code: u32) -> Result<ChunkRef<'a>> {
        self.single(chunk, SectionKind::Sets, code)
    }

    /// The NULL rows.
    pub fn nulls(&self, chunk: u32) -> Result<ChunkRef<'a>> {
        self.single(chunk, SectionKind::Nulls, 0)
    }

    fn single(&self, chunk: u32, kind: SectionKind, code: u32) -> Result<ChunkRef<'a>> {
        Ok(self.open(chunk, kind, |bytes| SetsRef::open(bytes)?.get(code))?.unwrap_or(ChunkRef::EMPTY))
    }

    /// A code a row.
    pub fn values(&self, chunk: u32) -> Result<Option<ValuesRef<'a>>> {
        self.open(chunk, SectionKind::Values, ValuesRef::open)
    }

    /// True where a chunk has a code a row.
    pub fn has_values(&self, chunk: u32) -> bool {
        self.entry(chunk, SectionKind::Values).is_some()
    }

    /// The rows in order.
    pub fn order(&self, chunk: u32) -> Result<Option<OrderRef<'a>>> {
        let count = self.entry(chunk, SectionKind::Order).map_or(0, |entry| entry.cardinality as usize);
        self.open(chunk, SectionKind::Order, |bytes| OrderRef::open(bytes, count))
    }

    /// The rows by threshold of small numbers.
    pub fn thresholds(&self, chunk: u32) -> Result<Option<ThresholdsRef<'a>>> {
        let Some(entry) = self.entry(chunk, SectionKind::Thresholds) else { return Ok(None) };
        self.open(chunk, SectionKind::Thresholds, |bytes| {
            ThresholdsRef::open(bytes, entry.cardinality, entry.high)
        })
    }

    /// The rows of a chunk whose number is from `low` to `high`, where thresholds say it.
    pub fn between(&self, chunk: u32, (low, high): (i64, i64)) -> Result<Option<Between<'a>>> {
        let Some(thresholds) = self.thresholds(chunk)? else { return Ok(None) };
        thresholds.between(low, high).map_err(|what| self.malformed(chunk, SectionKind::Thresholds, what))
    }

    /// The sampled values in order.
    pub fn fences(&self, chunk: u32) -> Result<Option<FencesRef<'a>>> {
        self.open(chunk, SectionKind::Fences, FencesRef::open)
    }

    /// The number and the ends of the values of a chunk with a range index, from the table of sections alone.
    #[inline]
    pub fn zone(&self, chunk: u32) -> Option<Zone> {
        let entry = self.entry(chunk, SectionKind::Order)?;
        Some(Zone { count: entry.cardinality, low: entry.low, high: entry.high })
    }

    /// How many values of a chunk with a range index are below a bound.
    pub fn rank(&self, chunk: u32, zone: Zone, bound: Bound) -> Result<u32> {
        match zone.rank(bound) {
            Ok(rank) => Ok(rank),
            Err(code) => Ok(self.ranked(chunk)?.map_or(0, |ranked| ranked.search(code).run())),
        }
    }

    /// What a search for ranks needs; `None` where the chunk has no range index.
    pub fn ranked(&self, chunk: u32) -> Result<Option<Ranked<'a>>> {
        let Some(fences) = self.fences(chunk)? else { return Ok(None) };
        let count = fences.count();
        if self.zone(chunk).is_none_or(|zone| zone.count as usize != count || count == 0) {
            let what = Malformed("fences of as many values as the table of sections says");
            return Err(self.malformed(chunk, SectionKind::Fences, what));
        }
        let permutation = self.open(chunk, SectionKind::Order, |bytes| OrderRef::rows_of(bytes, count))?;
        let residuals = self.open(chunk, SectionKind::Values, |bytes| fences.residuals_of(bytes))?;
        Ok(permutation.zip(residuals).map(|(permutation, residuals)| Ranked {
            fences,
            permutation,
            residuals,
        }))
    }

    /// All sections of a chunk as they are, whatever was changed since.
    pub fn stored(&self, chunk: u32) -> Result<Vec<EncodedSection>> {
        let within = (chunk as usize % RANGE_CHUNKS) as u16;
        let mut stored = Vec::new();
        for kind in kinds_of(self.data_type).iter().copied() {
            let Some(sections) = self.sections(chunk, kind) else { continue };
            if let (Some(entry), Some(bytes)) = (sections.entry(within), sections.bytes(within)?) {
                let stats = SectionStats { cardinality: entry.cardinality, low: entry.low, high: entry.high };
                stored.push(EncodedSection { kind, bytes: bytes.to_vec(), stats });
            }
        }
        Ok(stored)
    }

    /// A string a row.
    pub fn strings(&self, chunk: u32) -> Result<Option<StringsRef<'a>>> {
        self.open(chunk, SectionKind::Strings, StringsRef::open)
    }

    /// Whose the rows of a chunk are, where they are clustered by that; rows beyond its are not.
    pub fn owners(&self, chunk: u32) -> Result<Option<OwnersRef<'a>>> {
        let within = (chunk as usize % RANGE_CHUNKS) as u16;
        let sections = self.sections(chunk, SectionKind::Owners);
        let Some(learnt) = sections.and_then(|sections| sections.learnt(within)) else { return Ok(None) };
        match learnt.load(Ordering::Acquire) {
            0 => {
                let owners = self.open(chunk, SectionKind::Owners, OwnersRef::open)?;
                learnt.store(owners.map_or(0, |owners| owners.first_runs() + 1), Ordering::Release);
                Ok(owners)
            }
            known => self.open(chunk, SectionKind::Owners, |bytes| OwnersRef::reopen(bytes, known - 1)),
        }
    }

    /// A list of codes a row.
    pub fn lists(&self, chunk: u32) -> Result<Option<ListsRef<'a>>> {
        self.open(chunk, SectionKind::Lists, ListsRef::open)
    }
}
