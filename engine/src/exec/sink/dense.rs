//! Grouping by columns of few values: every combination of their values is a cell of an array, known before the first row.
//!
//! ```text
//! sets or codes of the key columns ─ a cell a row (u16) ─ one pass over rows, cells and values ─ sums and counts a cell
//! ```
//!
//! A cell is the codes of the key columns side by side, each in as many bits as it needs; NULL takes the code after the
//! last. Numbers that lie close together are as good as codes: how far each is from the least.
//!
//! Where a column's sets are fewer bytes than its codes, the bits of its codes are unions of the sets, and sixty-four
//! members get their cells at a time ([`kernel::cells_of`]). The pass over the values adds the count and the residual at
//! once: a count above 48 bits of residuals, in four lanes, so that neither can overflow within a chunk. Sums stay exact:
//! a chunk's residuals are below 2^48 and become 128 bits with their frame.

use super::accumulate::{Accumulator, AggregateReader};
use super::groups::KeyReader;
use super::{Aggregate, Found};
use crate::Result;
use crate::exec::clause::{unite, words_of};
use crate::index::values::{Residuals, ValuesRef};
use crate::kernel;
use crate::schema::DataType;
use muster_storage::chunk::{ChunkRef, Words};
use muster_storage::format::{BITSET_BYTES, BITSET_WORDS, SectionKind};

/// Up to this many bits a cell has: 4,096 cells and their lanes stay in an L2 cache.
const CELL_BITS_MAX: u32 = 12;
/// And so many cells there are.
pub const CELLS_MAX: usize = 1 << CELL_BITS_MAX;
/// Of fewer rows than one in so many cells each finds its group by itself.
const ROWS_SHARE: usize = 16;
/// Columns of up to this many bits together can be read from their sets.
const SLICES_MAX: u32 = 8;
/// Rows in turn add to one of so many lanes, so that none waits for the sum that the one before it is still writing.
const LANES: usize = 4;
/// Bits of a lane below its count.
const SUM_BITS: u32 = 48;
/// How far ahead of its use a row's value is asked of the cache: where every tenth row is wanted, some 5 KiB. At 24, with the
/// processor's own prefetcher behind, profile_tier_gender took 31 ms instead of 26.
const PREFETCH_AHEAD: usize = 128;

type Lanes = [u64; LANES];

/// How the codes of some key columns make up a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    /// Bits of each column's code, the first column's lowest.
    bits: Vec<u32>,
}

impl Cells {
    /// The cells of a grouping by these columns; `None` where they have too many values, or not known beforehand.
    pub fn of(keys: &[KeyReader<'_>]) -> Option<Cells> {
        // NULL is one more than the values.
        let bits = keys.iter().map(|key| key.values().map(|values| usize::BITS - values.leading_zeros()));
        let bits = bits.collect::<Option<Vec<u32>>>()?;
        (bits.iter().sum::<u32>() <= CELL_BITS_MAX).then_some(Cells { bits })
    }

    fn count(&self) -> usize {
        1 << self.bits.iter().sum::<u32>()
    }

    /// True of so many rows of a chunk that going through all cells after them is not most of the work.
    pub fn pay(&self, rows: usize) -> bool {
        rows >= self.count() / ROWS_SHARE
    }

    /// The code of each column in a cell, in order.
    pub fn codes(&self, cell: usize) -> impl Iterator<Item = usize> + '_ {
        self.bits.iter().scan(cell, |rest, bits| {
            let code = *rest & ((1 << bits) - 1);
            *rest >>= bits;
            Some(code)
        })
    }
}

/// What was counted and summed, cell by cell, and the buffers of it.
pub struct DenseTable {
    cells: Cells,
    /// `count(*)` of each cell.
    counts: Vec<u64>,
    /// The aggregates, whose groups are the cells.
    accumulators: Vec<Accumulator>,
    lanes: Vec<Lanes>,
    cell_of_row: Vec<u16>,
    decoded: Vec<u16>,
    /// Of each aggregate in the chunk at hand: the values that are not NULL and the residuals, by cell.
    sums: Vec<Vec<(u64, u64)>>,
    slices: Vec<Box<Words>>,
}

impl DenseTable {
    /// Nothing yet.
    pub fn new(cells: Cells, aggregates: &[Aggregate]) -> DenseTable {
        let count = cells.count();
        let accumulator = |aggregate: &Aggregate| {
            let mut accumulator = Accumulator::new(*aggregate);
            accumulator.grow(count);
            accumulator
        };
        DenseTable {
            counts: vec![0; count],
            accumulators: aggregates.iter().map(accumulator).collect(),
            lanes: vec![[0; LANES]; count],
            cell_of_row: Vec::new(),
            decoded: Vec::new(),
            sums: vec![Vec::new(); aggregates.len()],
            slices: Vec::new(),
            cells,
        }
    }

    /// The cells that have members, with their counts.
    pub fn occupied(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.counts.iter().copied().enumerate().filter(|(_, count)| *count > 0)
    }

    /// The columns of cells.
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// The aggregates of all cells.
    pub fn accumulators(&self) -> &[Accumulator] {
        &self.accumulators
    }

    /// Adds the cells of another.
    pub fn absorb(&mut self, other: &DenseTable) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        let same: Vec<u32> = (0..self.counts.len() as u32).collect();
        for (accumulator, more) in self.accumulators.iter_mut().zip(&other.accumulators) {
            accumulator.absorb(more, &same);
        }
    }

    /// Takes a chunk's members; `None` where the chunk keeps a key column as plain text.
    pub fn take(
        &mut self,
        keys: &[KeyReader<'_>],
        aggregates: &[AggregateReader<'_>],
        chunk: u32,
        found: Found<'_>,
    ) -> Result<Option<u64>> {
        for key in keys {
            if key.reader.entry(chunk, SectionKind::Strings).is_some() {
                return Ok(None);
            }
        }
        let mut decoded = std::mem::take(&mut self.decoded);
        let rows = found.rows(&mut decoded);
        // Everyone is a set too, so that everyone's cells are found sixty-four at a time.
        let mut everyone = [0; BITSET_WORDS];
        let found = match found {
            Found::Everyone(count) if count > 0 => {
                kernel::set_run(&mut everyone, 0, (count - 1) as u16);
                Found::Words(&everyone, count as u32)
            }
            found => found,
        };
        let mut bytes = self.find_cells(keys, chunk, found, rows)?;
        let mut counted = false;
        for at in 0..aggregates.len() {
            let aggregate = &aggregates[at];
            let Some(column) = &aggregate.column else { continue };
            let Some(values) = column.values(chunk)?.filter(|values| aggregate.sums && is_streamed(values))
            else {
                let groups: Vec<u32> = self.cell_of_row.iter().map(|cell| u32::from(*cell)).collect();
                bytes += self.accumulators[at].take(aggregate, chunk, rows, &groups)?;
                continue;
            };
            // The average of a column that is summed too is of the same sums.
            let sums = if let Some(twin) = (0..at).rfind(|twin| aggregates[*twin].is_sum_of(aggregate)) {
                std::mem::take(&mut self.sums[twin])
            } else {
                add_up(&values.residuals, rows, &self.cell_of_row, &mut self.lanes);
                let mut sums = std::mem::take(&mut self.sums[at]);
                self.settle_lanes(&mut sums, !counted);
                counted = true;
                self.without_nulls(rows, column.nulls(chunk)?, &mut sums);
                bytes += (64 * rows.len()).min(values.rows * values.residuals.width()) as u64;
                sums
            };
            for (cell, (count, residuals)) in sums.iter().enumerate().filter(|(_, (count, _))| *count > 0) {
                let base = i128::from(values.frame.base) * i128::from(*count);
                let sum = base + i128::from(values.frame.divisor) * i128::from(*residuals);
                self.accumulators[at].add_sum(aggregate, cell as u32, *count, sum);
            }
            self.sums[at] = sums;
        }
        if !counted {
            add_up(&Residuals::None, rows, &self.cell_of_row, &mut self.lanes);
            self.settle_lanes(&mut Vec::new(), true);
        }
        self.decoded = decoded;
        Ok(Some(bytes))
    }

    /// Puts what all members of all chunks were counted to into the aggregates that count them.
    pub fn finish(&mut self, aggregates: &[AggregateReader<'_>]) {
        for (accumulator, aggregate) in self.accumulators.iter_mut().zip(aggregates) {
            if aggregate.column.is_none() {
                for (cell, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                    accumulator.add_count(cell as u32, *count);
                }
            }
        }
    }

    /// The cell of each row.
    fn find_cells(
        &mut self,
        keys: &[KeyReader<'_>],
        chunk: u32,
        found: Found<'_>,
        rows: &[u16],
    ) -> Result<u64> {
        self.cell_of_row.clear();
        let (mut bytes, mut shift) = (0, 0);
        // Columns whose sets are read, with their places in the cell, and columns whose codes are.
        let (mut sliced, mut coded) = (Vec::new(), Vec::new());
        for (key, bits) in keys.iter().zip(&self.cells.bits) {
            let fits = shift + bits <= SLICES_MAX && matches!(found, Found::Words(..));
            if fits && sets_pay(key, chunk, rows.len())? {
                sliced.push((key, shift, *bits));
            } else {
                coded.push((key, shift, *bits));
            }
            shift += bits;
        }
        match found {
            Found::Words(words, _) if !sliced.is_empty() => {
                let width = sliced.iter().map(|(_, shift, bits)| shift + bits).max().unwrap_or(0);
                self.slices.resize_with(width as usize, || Box::new([0; BITSET_WORDS]));
                self.slices.iter_mut().for_each(|slice| slice.fill(0));
                for (key, shift, bits) in sliced {
                    bytes +=
                        slice_key(key, chunk, &mut self.slices[shift as usize..(shift + bits) as usize])?;
                }
                let slices: Vec<&Words> = self.slices.iter().map(|slice| &**slice).collect();
                kernel::cells_of(words, &slices, &mut self.cell_of_row);
            }
            _ => self.cell_of_row.resize(rows.len(), 0),
        }
        for (key, shift, bits) in coded {
            bytes += add_codes(key, chunk, rows, (shift, bits), &mut self.cell_of_row)?;
        }
        Ok(bytes)
    }

    /// Takes the lanes' counts and sums, and empties them.
    fn settle_lanes(&mut self, sums: &mut Vec<(u64, u64)>, count: bool) {
        sums.clear();
        for (lanes, total) in self.lanes.iter_mut().zip(&mut self.counts) {
            let members = lanes.iter().map(|lane| lane >> SUM_BITS).sum();
            sums.push((members, lanes.iter().map(|lane| lane & ((1 << SUM_BITS) - 1)).sum()));
            if count {
                *total += members;
            }
            *lanes = [0; LANES];
        }
    }

    /// Takes those rows out of the counts that are NULL; their residuals are 0.
    fn without_nulls(&self, rows: &[u16], nulls: ChunkRef<'_>, sums: &mut [(u64, u64)]) {
        if nulls.cardinality() == 0 {
            return;
        }
        let nulls = words_of(nulls);
        for (row, cell) in rows.iter().zip(&self.cell_of_row) {
            sums[usize::from(*cell)].0 -= u64::from(kernel::has(&nulls, *row));
        }
    }
}

/// True of values whose residuals are summed in lanes: neither sequences nor eight bytes wide.
fn is_streamed(values: &ValuesRef<'_>) -> bool {
    values.frame.slope == 0 && !matches!(values.residuals, Residuals::U64(_))
}

/// True where a chunk's sets are fewer bytes to read than the codes of so many rows.
fn sets_pay(key: &KeyReader<'_>, chunk: u32, rows: usize) -> Result<bool> {
    let Some(values) = key.reader.entry(chunk, SectionKind::Values) else { return Ok(true) };
    let codes = (64 * rows as u64).min(values.length);
    let Some(sets) = key.reader.sets(chunk)? else { return Ok(false) };
    if sets.codes().len() > 4 * CELL_BITS_MAX as usize {
        return Ok(false);
    }
    let some = (0..sets.codes().len()).filter(|index| sets.codes()[*index] > 0);
    let bytes: usize = some.map(|index| (2 * sets.cardinality(index) as usize).min(BITSET_BYTES)).sum();
    Ok(bytes as u64 <= codes)
}

/// Writes the bits of a column's code into slices, which are empty.
fn slice_key(key: &KeyReader<'_>, chunk: u32, slices: &mut [Box<Words>]) -> Result<u64> {
    let reader = &key.reader;
    let mut bytes = 0;
    let mut add = |code: usize, set: ChunkRef<'_>| {
        for (bit, slice) in slices.iter_mut().enumerate() {
            if code >> bit & 1 == 1 {
                unite(set, slice);
            }
        }
        bytes += set.bytes() as u64;
    };
    add(key.values().unwrap_or(0), reader.nulls(chunk)?);
    if reader.data_type() == DataType::Boolean {
        add(1, reader.set(chunk, 0)?);
    } else if let Some(sets) = reader.sets(chunk)? {
        // Code 0 is who has no bit.
        for (index, code) in sets.codes().iter().enumerate().filter(|(_, code)| **code > 0) {
            let set =
                sets.container(index).map_err(|what| reader.malformed(chunk, SectionKind::Sets, what))?;
            add(*code as usize, set);
        }
    }
    Ok(bytes)
}

/// Adds a column's code, which has so many bits, to the cell of each row.
fn add_codes(
    key: &KeyReader<'_>,
    chunk: u32,
    rows: &[u16],
    (shift, bits): (u32, u32),
    cells: &mut [u16],
) -> Result<u64> {
    let reader = &key.reader;
    let (null, mask) = (key.values().unwrap_or(0) as u16, (1u16 << bits) - 1);
    let each = cells.iter_mut().zip(rows);
    let mut bytes = 0;
    if reader.data_type() == DataType::Boolean {
        let set = reader.set(chunk, 0)?;
        each.for_each(|(cell, row)| *cell |= u16::from(set.contains(*row)) << shift);
        bytes += set.bytes() as u64;
    } else if let Some(values) = reader.values(chunk)? {
        // Those in the chunk may share a divisor, as any numbers may.
        let (base, divisor) =
            (values.frame.base.wrapping_sub(key.least()) as u16, values.frame.divisor as u16);
        macro_rules! add {
            ($residual:expr) => {
                each.for_each(|(cell, row)| {
                    let residual: u16 = $residual(usize::from(*row));
                    *cell |= (base.wrapping_add(divisor.wrapping_mul(residual)) & mask) << shift;
                })
            };
        }
        match values.residuals {
            Residuals::U8(residuals) => add!(|row: usize| u16::from(residuals[row])),
            Residuals::U16(residuals) => add!(|row: usize| residuals[row]),
            // Numbers that are a sequence are all different, and few here.
            _ if values.frame.slope != 0 => each.for_each(|(cell, row)| {
                let code = values.get(usize::from(*row)).wrapping_sub(key.least());
                *cell |= (code as u16 & mask) << shift;
            }),
            residuals => add!(|row| residuals.get(row) as u16),
        }
        bytes += (64 * rows.len()).min(values.rows * values.residuals.width()) as u64;
    } else {
        each.for_each(|(cell, _)| *cell |= null << shift);
        return Ok(bytes);
    }
    let nulls = reader.nulls(chunk)?;
    if nulls.cardinality() > 0 {
        let nulls = words_of(nulls);
        for (cell, _) in cells.iter_mut().zip(rows).filter(|(_, row)| kernel::has(&nulls, **row)) {
            *cell = *cell & !(mask << shift) | null << shift;
        }
        bytes += BITSET_BYTES as u64;
    }
    Ok(bytes)
}

/// Adds 1 to the count and each row's residual to the sum of its cell.
fn add_up(residuals: &Residuals<'_>, rows: &[u16], cells: &[u16], lanes: &mut [Lanes]) {
    macro_rules! each {
        ($prefetch:expr, $residual:expr) => {
            for (at, (row, cell)) in rows.iter().zip(cells).enumerate() {
                if let Some(ahead) = rows.get(at + PREFETCH_AHEAD) {
                    $prefetch(usize::from(*ahead));
                }
                let residual: u64 = $residual(usize::from(*row));
                if let Some(lanes) = lanes.get_mut(usize::from(*cell)) {
                    lanes[at % LANES] += 1 << SUM_BITS | residual;
                }
            }
        };
    }
    match residuals {
        Residuals::None => each!(|_| {}, |_: usize| 0),
        Residuals::U8(values) => {
            each!(|row| kernel::prefetch(values, row), |row: usize| u64::from(values[row]))
        }
        Residuals::U16(values) => {
            each!(|row| kernel::prefetch(values, row), |row: usize| u64::from(values[row]))
        }
        Residuals::U32(values) => {
            each!(|row| kernel::prefetch(values, row), |row: usize| u64::from(values[row]))
        }
        Residuals::Excepted(low, exceptions) => {
            each!(|row| kernel::prefetch(low, row), |row: usize| exceptions.residual(low[row], row))
        }
        other => each!(|row| other.prefetch(row), |row: usize| other.get(row)),
    }
}
