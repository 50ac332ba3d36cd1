//! Rows of some owners side by side: a lane a value, owner after owner.

use super::super::RowSet;
use super::stored::Stored;
use crate::Result;
use crate::control::{Cancel, Held};
use crate::exec::compute::{Lane, NONE};
use crate::exec::key_bytes;
use crate::kernel;
use crate::schema::ColumnId;
use crate::value::Value;
use std::cell::OnceCell;
use std::ops::{Deref, Range};
use std::rc::Rc;
use std::sync::Arc;

/// Rows of some owners of one chunk, in the order of their owners.
#[derive(Default)]
pub(super) struct Batch<'a> {
    /// The values, in the order of the columns.
    pub(super) lanes: Vec<Arc<Lane<'a>>>,
    pub(super) len: usize,
    /// The owners that have rows, ascending.
    pub(super) segments: Rc<Segments>,
}

/// Rows of owners of one chunk, however they come.
#[derive(Clone, Copy)]
pub(super) enum Rows<'b, 'a> {
    ByOwner(&'b Batch<'a>),
    Stored(&'b Stored<'a>),
}

impl<'b, 'a> Rows<'b, 'a> {
    pub(super) fn lanes(&self) -> &'b [Arc<Lane<'a>>] {
        match self {
            Rows::ByOwner(rows) => &rows.lanes,
            Rows::Stored(rows) => &rows.lanes,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Rows::ByOwner(rows) => rows.len,
            Rows::Stored(rows) => rows.halves.len(),
        }
    }
}

/// Owners that have rows, ascending; batches of the same rows share them.
#[derive(Default)]
pub(super) struct Segments {
    each: Vec<Segment>,
    /// For each row the place of its owner, once somebody has asked.
    numbers: OnceCell<Vec<u32>>,
}

impl FromIterator<Segment> for Segments {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Segments {
        Segments::from(Vec::from_iter(segments))
    }
}

impl From<Vec<Segment>> for Segments {
    fn from(each: Vec<Segment>) -> Segments {
        Segments { each, numbers: OnceCell::new() }
    }
}

impl Deref for Segments {
    type Target = [Segment];

    fn deref(&self) -> &[Segment] {
        &self.each
    }
}

/// The rows of one owner: from where those of the one before end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// The low half of the owner's ordinal.
    pub(super) half: u16,
    pub(super) end: u32,
}

impl<'a> Batch<'a> {
    /// The owners, each with its rows.
    pub(super) fn owners(&self) -> impl Iterator<Item = (u16, Range<usize>)> + '_ {
        let mut start = 0;
        self.segments.iter().map(move |segment| {
            let rows = start..segment.end as usize;
            start = rows.end;
            (segment.half, rows)
        })
    }

    /// Some of the rows, ascending; values that are not wanted are left out.
    pub(super) fn retained(self, rows: &[u32], wanted: &[bool]) -> Batch<'a> {
        if rows.len() == self.len {
            return self;
        }
        let lanes = selected(&self.lanes, rows, wanted);
        Batch { lanes, len: rows.len(), segments: Rc::new(self.segments_of(rows).into()) }
    }

    /// Rows of several batches of as many values: those of one owner together, in the order of the batches.
    pub(super) fn appended(parts: &[Batch<'a>], wanted: &[bool]) -> Batch<'a> {
        let (mut places, mut first) = (Vec::new(), 0u32);
        for part in parts {
            for (half, rows) in part.owners() {
                places.extend(rows.map(|row| (half, first + row as u32)));
            }
            first += part.len as u32;
        }
        places.sort_by_key(|(half, _)| *half);
        let order: Vec<u32> = places.iter().map(|(_, row)| *row).collect();
        let lane = |(at, wanted): (usize, &bool)| match wanted {
            true => {
                let whole = parts.iter().map(|part| (Arc::clone(&part.lanes[at]), part.len));
                Arc::new(Lane::concat(whole.collect()).select(&order))
            }
            false => Arc::new(Lane::Same(Value::Null)),
        };
        let lanes = wanted.iter().enumerate().map(lane).collect();
        let mut end = 0;
        let segments = places.chunk_by(|a, b| a.0 == b.0).map(|owned| {
            end += owned.len() as u32;
            Segment { half: owned[0].0, end }
        });
        Batch { lanes, len: order.len(), segments: Rc::new(segments.collect()) }
    }

    /// For each row 1 where an owner's rows begin, else 0: a loop over all rows is faster than one over owners of a few rows each,
    /// whose ends are hard to foresee.
    pub(super) fn begins(&self) -> Vec<u32> {
        let mut begins = vec![0; self.len];
        let starts = self.segments.iter().map(|segment| segment.end as usize);
        if let Some(first) = begins.first_mut() {
            *first = 1;
        }
        starts.filter(|start| *start < self.len).for_each(|start| begins[start] = 1);
        begins
    }

    /// For each row the place of its owner among all.
    pub(super) fn numbered(&self) -> &[u32] {
        self.segments.numbers.get_or_init(|| {
            let (mut numbers, mut owner) = (self.begins(), u32::MAX);
            for number in &mut numbers {
                owner = owner.wrapping_add(*number);
                *number = owner;
            }
            numbers
        })
    }

    /// The owners of some rows, in ascending order of these.
    pub(super) fn segments_of(&self, rows: &[u32]) -> Vec<Segment> {
        let (numbers, mut last, mut count) = (self.numbered(), NONE, 0);
        let mut segments = vec![Segment { half: 0, end: 0 }; self.segments.len().min(rows.len()) + 1];
        for (end, row) in (1..).zip(rows) {
            let owner = numbers[*row as usize];
            count += usize::from(owner != last);
            last = owner;
            segments[count] = Segment { half: self.segments[owner as usize].half, end };
        }
        segments.truncate(count + 1);
        segments.remove(0);
        segments
    }

    /// The values row by row.
    pub(super) fn to_rows(&self, columns: &[ColumnId], cancel: &Cancel) -> Result<RowSet> {
        let mut rows = RowSet::new(columns.to_vec(), cancel);
        for at in 0..self.len {
            rows.push(self.lanes.iter().map(|lane| lane.value(at)))?;
        }
        Ok(rows)
    }
}

/// The places of the bits that are set among so many.
pub(super) fn places_of(selected: &[u64], count: usize) -> Vec<u32> {
    let (all, mut places): (Vec<u32>, _) = ((0..count as u32).collect(), Vec::with_capacity(count));
    kernel::select_u32(&all, selected, &mut places);
    places
}

/// The values of some rows; those that are not wanted are NULL.
pub(super) fn selected<'a>(lanes: &[Arc<Lane<'a>>], rows: &[u32], wanted: &[bool]) -> Vec<Arc<Lane<'a>>> {
    let lane = |(lane, wanted): (&Arc<Lane<'a>>, &bool)| {
        Arc::new(if *wanted { lane.select(rows) } else { Lane::Same(Value::Null) })
    };
    lanes.iter().zip(wanted).map(lane).collect()
}

impl RowSet {
    /// What it holds, for who takes its values.
    pub(super) fn release(&mut self) -> Held {
        let none = self.held.another();
        std::mem::replace(&mut self.held, none)
    }

    /// The values of each column.
    pub(super) fn lanes(&self) -> Vec<Lane<'static>> {
        let column = |place: usize| (0..self.len()).map(|at| self.row(at)[place].clone()).collect();
        (0..self.columns.len()).map(|place| Lane::of_values(column(place))).collect()
    }

    /// The rows in the order of a value, equal ones together, each a segment: rows of nobody, who are whoever their key names.
    pub(super) fn by_value(&self, place: Option<usize>) -> Batch<'static> {
        let mut order: Vec<(Vec<u8>, u32)> = Vec::with_capacity(self.len());
        for at in 0..self.len() {
            let mut bytes = Vec::new();
            key_bytes(place.map_or(&Value::Null, |place| &self.row(at)[place]), &mut bytes);
            order.push((bytes, at as u32));
        }
        order.sort();
        let rows: Vec<u32> = order.iter().map(|(_, at)| *at).collect();
        let lanes = self.lanes().iter().map(|lane| Arc::new(lane.select(&rows))).collect();
        let mut end = 0;
        let segments = order.chunk_by(|a, b| a.0 == b.0).map(|same| {
            end += same.len() as u32;
            Segment { half: 0, end }
        });
        Batch { lanes, len: rows.len(), segments: Rc::new(segments.collect()) }
    }
}
