//! One patch: the rows of a chunk that a column was written in, what they hold now, and what they held before.
//!
//! ```text
//! 0   rows u32 │ kind of new u8 │ kind of old u8 │ 0 u16 │ items of new u32 │ items of old u32 │ 0…
//! 64  rows u16×n │ new cells │ old cells           each array at a multiple of 8
//! cells: states u8×n │ by kind: nothing │ codes i64×n │ ends u32×n, bytes │ ends u32×n, codes u32
//! ```
//!
//! In memory it is the same bytes in one piece: a chunk's patch costs one cache miss, and what the processor fetches after it.

use crate::kernel;
use muster_storage::chunk::Malformed;
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const HEADER_BYTES: usize = 64;

/// There is no row yet.
const ABSENT: u8 = 0;
/// NULL.
const NULL: u8 = 1;
/// A value; of BOOLEAN, false.
const VALUE: u8 = 2;
/// Of BOOLEAN, true.
const TRUE: u8 = 3;

/// What a row holds in one column, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// There is no such row.
    Absent,
    /// NULL.
    Null,
    /// Of BOOLEAN and the live set.
    Truth(bool),
    /// Of numbers, dates and times, and of TEXT by its dictionary.
    Code(i64),
    /// Of TEXT without a dictionary.
    Text(Box<[u8]>),
    /// Of TEXT[]: ascending codes of its dictionary.
    Tags(Box<[u32]>),
}

/// What a row holds in one column, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellRef<'a> {
    /// See [`Cell::Absent`].
    Absent,
    /// See [`Cell::Null`].
    Null,
    /// See [`Cell::Truth`].
    Truth(bool),
    /// See [`Cell::Code`].
    Code(i64),
    /// See [`Cell::Text`].
    Text(&'a [u8]),
    /// See [`Cell::Tags`].
    Tags(&'a [u32]),
}

impl Cell {
    /// The same in place.
    pub fn by_ref(&self) -> CellRef<'_> {
        match self {
            Cell::Absent => CellRef::Absent,
            Cell::Null => CellRef::Null,
            Cell::Truth(truth) => CellRef::Truth(*truth),
            Cell::Code(code) => CellRef::Code(*code),
            Cell::Text(text) => CellRef::Text(text),
            Cell::Tags(codes) => CellRef::Tags(codes),
        }
    }
}

impl Cell {
    /// The code; 0 where there is none.
    fn code(&self) -> i64 {
        if let Cell::Code(code) = self { *code } else { 0 }
    }
}

impl CellRef<'_> {
    fn state(self) -> u8 {
        match self {
            CellRef::Absent => ABSENT,
            CellRef::Null => NULL,
            CellRef::Truth(true) => TRUE,
            _ => VALUE,
        }
    }
}

/// A row's new cell and the one that it stands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The row in its chunk.
    pub row: u16,
    /// What it holds from now on.
    pub new: Cell,
    /// What it held in the layers below.
    pub old: Cell,
}

/// The cells of a patch: a state each, and the values side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    states: Vec<u8>,
    data: Data,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Data {
    Truths,
    Codes(Vec<i64>),
    Texts { ends: Vec<u32>, bytes: Vec<u8> },
    Lists { ends: Vec<u32>, codes: Vec<u32> },
}

/// The kinds of data, as they are stored.
const TRUTHS: u8 = 1;
const CODES: u8 = 2;
const TEXTS: u8 = 3;
const LISTS: u8 = 4;

impl Cells {
    /// Cells of the kind that holds `like`, none yet; NULL fits every kind.
    fn like<'c>(mut cells: impl Iterator<Item = CellRef<'c>>) -> Cells {
        let data = cells.find_map(|cell| match cell {
            CellRef::Absent | CellRef::Null => None,
            CellRef::Truth(_) => Some(Data::Truths),
            CellRef::Code(_) => Some(Data::Codes(Vec::new())),
            CellRef::Text(_) => Some(Data::Texts { ends: Vec::new(), bytes: Vec::new() }),
            CellRef::Tags(_) => Some(Data::Lists { ends: Vec::new(), codes: Vec::new() }),
        });
        Cells { states: Vec::new(), data: data.unwrap_or(Data::Truths) }
    }

    fn push(&mut self, cell: CellRef<'_>) {
        self.states.push(cell.state());
        match &mut self.data {
            Data::Truths => {}
            Data::Codes(codes) => codes.push(if let CellRef::Code(code) = cell { code } else { 0 }),
            Data::Texts { ends, bytes } => {
                bytes.extend_from_slice(if let CellRef::Text(text) = cell { text } else { &[] });
                ends.push(bytes.len() as u32);
            }
            Data::Lists { ends, codes } => {
                codes.extend_from_slice(if let CellRef::Tags(tags) = cell { tags } else { &[] });
                ends.push(codes.len() as u32);
            }
        }
    }

    fn by_ref(&self) -> CellsRef<'_> {
        CellsRef {
            states: &self.states,
            data: match &self.data {
                Data::Truths => DataRef::Truths,
                Data::Codes(codes) => DataRef::Codes(codes),
                Data::Texts { ends, bytes } => DataRef::Texts { ends, bytes },
                Data::Lists { ends, codes } => DataRef::Lists { ends, codes },
            },
        }
    }
}

/// The cells of a patch, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellsRef<'a> {
    states: &'a [u8],
    data: DataRef<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DataRef<'a> {
    Truths,
    Codes(&'a [i64]),
    Texts { ends: &'a [u32], bytes: &'a [u8] },
    Lists { ends: &'a [u32], codes: &'a [u32] },
}

/// The items of one cell.
fn slice_of<'a, T>(ends: &[u32], items: &'a [T], index: usize) -> &'a [T] {
    let start = if index == 0 { 0 } else { ends[index - 1] as usize };
    items.get(start..ends[index] as usize).unwrap_or(&[])
}

impl<'a> CellsRef<'a> {
    /// One cell.
    pub fn get(&self, index: usize) -> CellRef<'a> {
        match (self.states[index], self.data) {
            (ABSENT, _) => CellRef::Absent,
            (NULL, _) => CellRef::Null,
            (state, DataRef::Truths) => CellRef::Truth(state == TRUE),
            (_, DataRef::Codes(codes)) => CellRef::Code(codes[index]),
            (_, DataRef::Texts { ends, bytes }) => CellRef::Text(slice_of(ends, bytes, index)),
            (_, DataRef::Lists { ends, codes }) => CellRef::Tags(slice_of(ends, codes, index)),
        }
    }

    /// All cells.
    pub fn iter(self) -> impl Iterator<Item = CellRef<'a>> {
        (0..self.states.len()).map(move |index| self.get(index))
    }

    /// How many are TRUE.
    pub fn trues(&self) -> u32 {
        self.states.iter().map(|state| u32::from(*state == TRUE)).sum()
    }

    /// How many are NULL.
    pub fn nulls(&self) -> u32 {
        self.states.iter().map(|state| u32::from(*state == NULL)).sum()
    }

    /// Marks those that are this truth.
    pub fn mark_truth(&self, truth: bool, marks: &mut Vec<bool>) {
        let wanted = if truth { TRUE } else { VALUE };
        let truths = matches!(self.data, DataRef::Truths);
        self.mark_states(|state| (state == wanted) & truths, marks);
    }

    /// Marks those that are NULL; negated, those that hold something.
    pub fn mark_nulls(&self, negated: bool, marks: &mut Vec<bool>) {
        if negated {
            self.mark_states(|state| state > NULL, marks);
        } else {
            self.mark_states(|state| state == NULL, marks);
        }
    }

    /// Marks those that have a code within one of some intervals; negated, a code outside of all.
    pub fn mark_within(
        &self,
        intervals: impl Iterator<Item = (i64, i64)>,
        negated: bool,
        marks: &mut Vec<bool>,
    ) {
        self.mark_states(|_| false, marks);
        if let DataRef::Codes(codes) = self.data {
            intervals.for_each(|(low, high)| kernel::mark_within(codes, low, high, marks));
            let both = marks.iter_mut().zip(self.states);
            both.for_each(|(mark, state)| *mark = (*mark != negated) & (*state == VALUE));
        }
    }

    fn mark_states(&self, marked: impl Fn(u8) -> bool, marks: &mut Vec<bool>) {
        marks.clear();
        marks.extend(self.states.iter().map(|state| marked(*state)));
    }

    /// True where texts stand here without their codes.
    pub fn are_texts(&self) -> bool {
        matches!(self.data, DataRef::Texts { .. })
    }

    fn kind(&self) -> u8 {
        match self.data {
            DataRef::Truths => TRUTHS,
            DataRef::Codes(_) => CODES,
            DataRef::Texts { .. } => TEXTS,
            DataRef::Lists { .. } => LISTS,
        }
    }

    /// Bytes of texts, or codes of lists.
    fn items(&self) -> usize {
        match self.data {
            DataRef::Truths | DataRef::Codes(_) => 0,
            DataRef::Texts { bytes, .. } => bytes.len(),
            DataRef::Lists { codes, .. } => codes.len(),
        }
    }

    /// True where a cell can be one of these, all of which are of one size.
    fn holds(&self, cell: &Cell) -> bool {
        match self.data {
            DataRef::Truths => matches!(cell, Cell::Truth(_) | Cell::Null | Cell::Absent),
            DataRef::Codes(_) => matches!(cell, Cell::Code(_) | Cell::Null | Cell::Absent),
            DataRef::Texts { .. } | DataRef::Lists { .. } => false,
        }
    }

    /// Bytes in a section of so many such cells, which are of one size.
    fn bytes_of(&self, rows: usize) -> usize {
        rows.next_multiple_of(8) + if let DataRef::Codes(_) = self.data { 8 * rows } else { 0 }
    }

    /// Bytes in a section.
    fn bytes(&self) -> usize {
        let rows = self.states.len();
        let arrays = match self.data {
            DataRef::Truths => [0, 0],
            DataRef::Codes(_) => [8 * rows, 0],
            DataRef::Texts { bytes, .. } => [4 * rows, bytes.len()],
            DataRef::Lists { codes, .. } => [4 * rows, 4 * codes.len()],
        };
        [rows, arrays[0], arrays[1]].iter().map(|length| length.next_multiple_of(8)).sum()
    }

    fn write(&self, out: &mut Vec<u8>) {
        put(out, self.states);
        match self.data {
            DataRef::Truths => {}
            DataRef::Codes(codes) => put(out, codes.as_bytes()),
            DataRef::Texts { ends, bytes } => {
                put(out, ends.as_bytes());
                put(out, bytes);
            }
            DataRef::Lists { ends, codes } => {
                put(out, ends.as_bytes());
                put(out, codes.as_bytes());
            }
        }
    }

    fn read(bytes: &mut Take<'a>, rows: usize, kind: u8, items: usize) -> Result<CellsRef<'a>, Malformed> {
        let states = bytes.take::<u8>(rows)?;
        let data = match kind {
            TRUTHS => DataRef::Truths,
            CODES => DataRef::Codes(bytes.take::<i64>(rows)?),
            TEXTS => DataRef::Texts { ends: bytes.take::<u32>(rows)?, bytes: bytes.take::<u8>(items)? },
            LISTS => DataRef::Lists { ends: bytes.take::<u32>(rows)?, codes: bytes.take::<u32>(items)? },
            _ => return Err(Malformed("a kind of cells")),
        };
        Ok(CellsRef { states, data })
    }

    /// Looks for what [`Self::read`] does not.
    fn check(&self) -> Result<(), Malformed> {
        let truths = matches!(self.data, DataRef::Truths);
        if self.states.iter().any(|state| *state > TRUE || (*state == TRUE && !truths)) {
            return Err(Malformed("states of cells"));
        }
        let (ends, items) = match self.data {
            DataRef::Truths | DataRef::Codes(_) => return Ok(()),
            DataRef::Texts { ends, bytes } => (ends, bytes.len()),
            DataRef::Lists { ends, codes } => (ends, codes.len()),
        };
        if !ends.is_sorted() || ends.last().map_or(0, |end| *end as usize) != items {
            return Err(Malformed("ascending ends of cells"));
        }
        Ok(())
    }
}

fn write_header(header: &mut [u8; HEADER_BYTES], rows: usize, kinds: [u8; 2], items: [usize; 2]) {
    header[..4].copy_from_slice(&(rows as u32).to_le_bytes());
    header[4..6].copy_from_slice(&kinds);
    header[8..12].copy_from_slice(&(items[0] as u32).to_le_bytes());
    header[12..16].copy_from_slice(&(items[1] as u32).to_le_bytes());
}

/// Where a write comes among the rows that are there.
struct Spot {
    /// Before this one, or in its place.
    at: usize,
    /// True where the row is there already.
    again: bool,
}

/// Copies an array of a patch with an item more, or another one, at each spot. Where a row is there already its item
/// gives way only if `replaces`.
fn spread<T: Copy>(from: &[T], into: &mut [T], spots: &[Spot], replaces: bool, written: impl Fn(usize) -> T) {
    let (mut read, mut wrote) = (0, 0);
    for (n, spot) in spots.iter().enumerate() {
        let end = wrote + spot.at - read;
        into[wrote..end].copy_from_slice(&from[read..spot.at]);
        into[end] = if spot.again && !replaces { from[spot.at] } else { written(n) };
        (read, wrote) = (spot.at + usize::from(spot.again), end + 1);
    }
    into[wrote..].copy_from_slice(&from[read..]);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(8), 0);
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    pad(out);
}

/// Takes arrays off the front of a section, each at a multiple of eight bytes.
struct Take<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Take<'a> {
    fn take<T: FromBytes + Immutable + KnownLayout>(&mut self, count: usize) -> Result<&'a [T], Malformed> {
        let end = count.checked_mul(size_of::<T>()).and_then(|length| self.at.checked_add(length));
        let bytes =
            end.and_then(|end| self.bytes.get(self.at..end)).ok_or(Malformed("cells to their end"))?;
        self.at = (self.at + bytes.len()).next_multiple_of(8);
        <[T]>::ref_from_bytes(bytes).map_err(|_| Malformed("aligned cells"))
    }
}

/// Gives arrays of a section away to be written, as [`Take`] reads them.
struct Rest<'a>(&'a mut [u8]);

impl<'a> Rest<'a> {
    fn take<T: FromBytes + IntoBytes + KnownLayout>(&mut self, count: usize) -> Option<&'a mut [T]> {
        let length = count * size_of::<T>();
        let (array, rest) = std::mem::take(&mut self.0).split_at_mut_checked(length.next_multiple_of(8))?;
        self.0 = rest;
        <[T]>::mut_from_bytes(&mut array[..length]).ok()
    }
}

/// A patch in memory. Cloning shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch(Arc<[u64]>);

impl Patch {
    /// A patch with some writes, in the order of their rows, laid over another of the same layer: a row that was there
    /// keeps what it held before.
    ///
    /// Cost: a copy of the patch, in one piece and without a look at its cells unless they are texts or lists.
    pub fn over(earlier: Option<&Patch>, writes: &[Write]) -> Patch {
        let earlier = earlier.map_or(PatchRef::EMPTY, Patch::by_ref);
        earlier.spread(writes).unwrap_or_else(|| earlier.rebuilt(writes))
    }
    /// One patch in the place of several, of which later ones stand over earlier ones.
    pub fn merged(patches: &[PatchRef<'_>]) -> Patch {
        let mut cells: Vec<(u16, CellRef<'_>, CellRef<'_>)> = Vec::new();
        for patch in patches {
            let news = patch.new.iter().zip(patch.old.iter());
            cells.extend(patch.rows.iter().zip(news).map(|(row, (new, old))| (*row, new, old)));
        }
        // Stable: of one row the earliest comes first, which has the oldest cell, the latest last.
        cells.sort_by_key(|(row, ..)| *row);
        let mut new = Cells::like(cells.iter().map(|(_, new, _)| *new));
        let mut old = Cells::like(cells.iter().map(|(.., old)| *old));
        let mut rows = Vec::with_capacity(cells.len());
        for same in cells.chunk_by(|a, b| a.0 == b.0) {
            rows.push(same[0].0);
            old.push(same[0].2);
            new.push(same[same.len() - 1].1);
        }
        Patch::of(&rows, &new, &old)
    }

    fn of(rows: &[u16], new: &Cells, old: &Cells) -> Patch {
        let section = PatchRef { rows, new: new.by_ref(), old: old.by_ref() }.section();
        let mut words = vec![0; section.len() / 8];
        words.as_mut_bytes().copy_from_slice(&section);
        Patch(words.into())
    }

    /// The same in place. Cost: the first cache line.
    #[inline]
    pub fn by_ref(&self) -> PatchRef<'_> {
        // Nobody else makes these bytes.
        PatchRef::read(self.0.as_bytes()).unwrap_or(PatchRef::EMPTY)
    }

    /// True of one that shares its bytes.
    pub fn is(&self, other: &Patch) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Asks the cache for its first lines.
    pub fn prefetch(&self, lines: usize) {
        (0..lines).for_each(|line| kernel::prefetch(&self.0, 8 * line));
    }

    /// Bytes of memory that it holds.
    pub fn bytes(&self) -> usize {
        8 * self.0.len()
    }
}

/// A patch in place, in memory or in a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchRef<'a> {
    /// Ascending.
    pub rows: &'a [u16],
    /// What each row holds.
    pub new: CellsRef<'a>,
    /// What it held below.
    pub old: CellsRef<'a>,
}

impl<'a> PatchRef<'a> {
    /// No rows.
    pub const EMPTY: PatchRef<'static> = PatchRef {
        rows: &[],
        new: CellsRef { states: &[], data: DataRef::Truths },
        old: CellsRef { states: &[], data: DataRef::Truths },
    };

    /// Reads a section, and looks at every cell.
    ///
    /// # Errors
    /// Whatever is not as [`Self::section`] writes it.
    pub fn open(section: &'a [u8]) -> Result<PatchRef<'a>, Malformed> {
        let patch = PatchRef::read(section)?;
        if section.len() != patch.bytes() {
            return Err(Malformed("a patch to its end"));
        }
        if patch.rows.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Malformed("ascending rows of a patch"));
        }
        patch.new.check()?;
        patch.old.check()?;
        Ok(patch)
    }

    /// Reads a section within its bounds, and trusts the rest: its checksum says that it is as it was written.
    pub fn read(section: &'a [u8]) -> Result<PatchRef<'a>, Malformed> {
        let header = section.first_chunk::<HEADER_BYTES>().ok_or(Malformed("a header of a patch"))?;
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let rows = word(0) as usize;
        let mut bytes = Take { bytes: section, at: HEADER_BYTES };
        Ok(PatchRef {
            rows: bytes.take::<u16>(rows)?,
            new: CellsRef::read(&mut bytes, rows, header[4], word(8) as usize)?,
            old: CellsRef::read(&mut bytes, rows, header[5], word(12) as usize)?,
        })
    }

    /// The same with some writes, cell by cell.
    fn rebuilt(&self, writes: &[Write]) -> Patch {
        let (known, news, olds) = (self.rows, self.new, self.old);
        let count = known.len() + writes.len();
        let mut new = Cells::like(writes.iter().map(|write| write.new.by_ref()).chain(news.iter()));
        let mut old = Cells::like(writes.iter().map(|write| write.old.by_ref()).chain(olds.iter()));
        let mut rows = Vec::with_capacity(count);
        let (mut at, mut writes) = (0, writes.iter().peekable());
        loop {
            let next = writes.peek().map(|write| write.row);
            match (known.get(at), next) {
                (None, None) => break,
                (Some(row), next) if next.is_none_or(|next| *row < next) => {
                    rows.push(*row);
                    new.push(news.get(at));
                    old.push(olds.get(at));
                    at += 1;
                }
                (row, _) => {
                    let Some(write) = writes.next() else { break };
                    let again = row == Some(&write.row);
                    rows.push(write.row);
                    new.push(write.new.by_ref());
                    old.push(if again { olds.get(at) } else { write.old.by_ref() });
                    at += usize::from(again);
                }
            }
        }
        Patch::of(&rows, &new, &old)
    }

    /// The same with some writes, whose cells must be of the same kinds and of one size: what is between them is copied
    /// as it is.
    fn spread(&self, writes: &[Write]) -> Option<Patch> {
        let (known, new, old) = (self.rows, self.new, self.old);
        let fits = writes.iter().all(|write| new.holds(&write.new) && old.holds(&write.old));
        if !fits || writes.is_empty() || known.is_empty() {
            return None;
        }
        let mut at = 0;
        let spot = |write: &Write| {
            at += known[at..].partition_point(|row| *row < write.row);
            Spot { at, again: known.get(at) == Some(&write.row) }
        };
        let spots: Vec<Spot> = writes.iter().map(spot).collect();
        let rows = known.len() + spots.iter().filter(|spot| !spot.again).count();
        let bytes = HEADER_BYTES + (2 * rows).next_multiple_of(8) + new.bytes_of(rows) + old.bytes_of(rows);
        // In place: neither zeroed apart nor copied once more.
        let mut words: Arc<[u64]> = std::iter::repeat_n(0, bytes / 8).collect();
        let (header, out) = Arc::get_mut(&mut words)?.as_mut_bytes().split_first_chunk_mut()?;
        write_header(header, rows, [new.kind(), old.kind()], [0, 0]);
        let mut rest = Rest(out);
        spread(known, rest.take(rows)?, &spots, true, |n| writes[n].row);
        spread(new.states, rest.take(rows)?, &spots, true, |n| writes[n].new.by_ref().state());
        if let DataRef::Codes(codes) = new.data {
            spread(codes, rest.take(rows)?, &spots, true, |n| writes[n].new.code());
        }
        spread(old.states, rest.take(rows)?, &spots, false, |n| writes[n].old.by_ref().state());
        if let DataRef::Codes(codes) = old.data {
            spread(codes, rest.take(rows)?, &spots, false, |n| writes[n].old.code());
        }
        Some(Patch(words))
    }

    /// The least and the greatest of the codes that rows hold now.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        let codes =
            self.new.iter().filter_map(|cell| if let CellRef::Code(code) = cell { Some(code) } else { None });
        codes.map(|code| (code, code)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// True where texts stand here without their codes, now or before.
    pub fn has_texts(&self) -> bool {
        self.new.are_texts() || self.old.are_texts()
    }

    /// Bytes of the section.
    fn bytes(&self) -> usize {
        let rows = (2 * self.rows.len()).next_multiple_of(8);
        HEADER_BYTES + rows + self.new.bytes() + self.old.bytes()
    }

    /// The bytes of the section: a multiple of eight.
    pub fn section(&self) -> Vec<u8> {
        let mut header = [0; HEADER_BYTES];
        let items = [self.new.items(), self.old.items()];
        write_header(&mut header, self.rows.len(), [self.new.kind(), self.old.kind()], items);
        let mut out = header.to_vec();
        put(&mut out, self.rows.as_bytes());
        self.new.write(&mut out);
        self.old.write(&mut out);
        out
    }

    /// What a row holds here.
    pub fn cell(&self, row: u16) -> Option<CellRef<'a>> {
        self.rows.binary_search(&row).ok().map(|index| self.new.get(index))
    }

    /// Calls `hear` with the place and the cell of each of `rows` (ascending) that is here.
    pub fn for_each_of(&self, rows: &[u16], mut hear: impl FnMut(usize, CellRef<'a>)) {
        if rows.len() * 4 < self.rows.len() {
            rows.iter().enumerate().for_each(|(place, row)| {
                if let Some(cell) = self.cell(*row) {
                    hear(place, cell);
                }
            });
        } else if self.rows.len() * 4 < rows.len() {
            self.rows.iter().enumerate().for_each(|(index, row)| {
                if let Ok(place) = rows.binary_search(row) {
                    hear(place, self.new.get(index));
                }
            });
        } else {
            let mut at = 0;
            for (index, row) in self.rows.iter().enumerate() {
                while rows.get(at).is_some_and(|other| other < row) {
                    at += 1;
                }
                if rows.get(at) == Some(row) {
                    hear(at, self.new.get(index));
                }
            }
        }
    }
}
