//! What is kept of owners, as it is now: of those with strays it is made anew of their rows.
//!
//! ```text
//! columns of what is kept ─ as stored when rows were clustered
//!                         └ patches over them: owners with strays, and those who came later ─ their rows by runs and by keys
//! ```
//!
//! The executor asks these columns with their patches like any others, so that a few strays cost what a few changed values
//! cost. After a commit only the owners of rows that were written are made anew.

use super::Strays;
use crate::delta::{Cell, Layer, Write};
use crate::exec::{code_at, codes_at};
use crate::kernel;
use crate::schema::{ColumnId, Owner, Summary, SummaryKind};
use crate::table::{ColumnReader, TableState};
use crate::{Error, Result};
use std::sync::Arc;

/// Of more owners than one of so many what is kept is not made anew: going through all rows is as good.
const UNSETTLED_SHARE: usize = 16;

/// So many are always worth it.
const UNSETTLED_FEW: usize = 4_096;

/// Patches over what is stored.
#[derive(Default)]
pub(super) struct Kept {
    layer: Arc<Layer>,
    any: bool,
}

impl Strays {
    /// The rows' table with what is kept of owners as it is now; `None` where strays are too many for that.
    ///
    /// Cost: some microseconds for each owner with strays, where nothing is known from before; else for each of those whose rows
    /// were written since.
    pub(crate) fn kept(&self, table: &TableState, owners: &TableState) -> Result<Option<TableState>> {
        let Some(owner) = table.schema().owner else {
            return Err(Error::Invalid(format!("the rows of \"{}\" are nobody's", table.schema().name)));
        };
        let ordinals = owners.extent().ordinals as u32;
        let known = owner.known.min(ordinals);
        let unsettled = self.unsettled.len() + (ordinals - known) as usize;
        if unsettled > UNSETTLED_FEW && unsettled > ordinals as usize / UNSETTLED_SHARE {
            return Ok(None);
        }
        let kept = match self.kept.get() {
            Some(kept) => kept,
            None => {
                let made = match &self.kept_before {
                    Some((before, written)) => self.corrected(table, &owner, Some(before), written)?,
                    None => {
                        let all: Vec<u32> = self.unsettled.iter().copied().chain(known..ordinals).collect();
                        self.corrected(table, &owner, None, &all)?
                    }
                };
                self.kept.get_or_init(|| Arc::new(made))
            }
        };
        let mut table = table.clone();
        if kept.any {
            table.layers.push(Arc::clone(&kept.layer));
        }
        Ok(Some(table))
    }

    /// What is kept, that of some owners (ascending) made anew.
    fn corrected(
        &self,
        table: &TableState,
        owner: &Owner,
        before: Option<&Kept>,
        owners: &[u32],
    ) -> Result<Kept> {
        let mut layer = before.map_or_else(Layer::default, |before| Layer::clone(&before.layer));
        let any = before.is_some_and(|before| before.any) || !owners.is_empty();
        let summaries = table.schema().summaries.iter().map(|summary| {
            let of = match summary.kind {
                SummaryKind::Count => None,
                SummaryKind::First | SummaryKind::Last => owner.time,
                SummaryKind::Sum(column) => Some(column),
            };
            Ok(Kind { summary: *summary, stored: table.reader(summary.column)?, of })
        });
        let summaries = summaries.collect::<Result<Vec<Kind<'_>>>>()?;
        let mut sources: Vec<(ColumnId, ColumnReader<'_>)> = Vec::new();
        for column in summaries.iter().filter_map(|kind| kind.of) {
            if sources.iter().all(|(known, _)| *known != column) {
                sources.push((column, table.reader(column)?));
            }
        }
        let ordinals = table.reader(owner.ordinals)?;
        let mut strays: Vec<(u32, u32)> = Vec::new();
        if !owners.is_empty() {
            strays.extend(self.owned.iter().map(|(row, owner)| (*owner, *row)));
            strays.retain(|(owner, _)| owners.binary_search(owner).is_ok());
            strays.sort_unstable();
        }
        for here in owners.chunk_by(|a, b| a >> 16 == b >> 16) {
            let chunk = here[0] >> 16;
            let halves: Vec<u16> = here.iter().map(|one| *one as u16).collect();
            let mut gathered = Gathered::of(&summaries, here.len());
            for rows in self.chunks_of(chunk) {
                let Some(stored) = ordinals.owners(rows)? else { continue };
                let mut found: Vec<(u16, u16)> = Vec::new();
                for (_, run) in stored.runs_of(chunk) {
                    for span in stored.rows_of(run, &halves) {
                        found.extend(span.map(|row| (row as u16, stored.halves[row])));
                    }
                }
                if let Some(excluded) = self.excluded(rows) {
                    found.retain(|(row, _)| !kernel::has(excluded, *row));
                }
                found.sort_unstable();
                let places: Vec<u16> = found.iter().map(|(row, _)| *row).collect();
                let columns = sources.iter().map(|(_, reader)| codes_at(reader, rows, &places));
                let columns = columns.collect::<Result<Vec<_>>>()?;
                for (at, (_, half)) in found.iter().enumerate() {
                    let Ok(place) = halves.binary_search(half) else { continue };
                    gathered.take(place, &summaries, |column| {
                        let source = sources.iter().position(|(known, _)| *known == column)?;
                        columns[source][at]
                    });
                }
            }
            let from = strays.partition_point(|(owner, _)| owner >> 16 < chunk);
            for (owner, row) in strays[from..].iter().take_while(|(owner, _)| owner >> 16 == chunk) {
                let Ok(place) = here.binary_search(owner) else { continue };
                let columns = sources.iter().map(|(_, reader)| code_at(reader, *row));
                let columns = columns.collect::<Result<Vec<_>>>()?;
                gathered.take(place, &summaries, |column| {
                    let source = sources.iter().position(|(known, _)| *known == column)?;
                    columns[source]
                });
            }
            for (nth, kind) in summaries.iter().enumerate() {
                let old = kind.stored_cells(chunk, &halves)?;
                let writes = halves.iter().zip(old).enumerate().map(|(at, (half, old))| {
                    let new = gathered.made[nth][at].map_or(Cell::Null, Cell::Code);
                    Write { row: *half, new, old }
                });
                layer.write(kind.summary.column, chunk, &writes.collect::<Vec<Write>>());
            }
        }
        Ok(Kept { layer: Arc::new(layer), any })
    }
}

/// Something that is kept.
struct Kind<'a> {
    summary: Summary,
    stored: ColumnReader<'a>,
    /// The column that it is of.
    of: Option<ColumnId>,
}

impl Kind<'_> {
    /// What is stored of some owners of a chunk.
    fn stored_cells(&self, chunk: u32, halves: &[u16]) -> Result<Vec<Cell>> {
        let Some(values) = self.stored.values(chunk)? else { return Ok(vec![Cell::Absent; halves.len()]) };
        let nulls = self.stored.nulls(chunk)?;
        let cell = |half: &u16| match () {
            () if usize::from(*half) >= values.rows => Cell::Absent,
            () if nulls.contains(*half) => Cell::Null,
            () => Cell::Code(values.get(usize::from(*half))),
        };
        Ok(halves.iter().map(cell).collect())
    }
}

/// What is made of the rows of some owners: by what is kept, then by owner.
struct Gathered {
    made: Vec<Vec<Option<i64>>>,
}

impl Gathered {
    fn of(summaries: &[Kind<'_>], owners: usize) -> Gathered {
        let nothing = |kind: &Kind<'_>| if kind.summary.kind == SummaryKind::Count { Some(0) } else { None };
        Gathered { made: summaries.iter().map(|kind| vec![nothing(kind); owners]).collect() }
    }

    /// Takes a row of an owner.
    fn take(&mut self, owner: usize, summaries: &[Kind<'_>], code: impl Fn(ColumnId) -> Option<i64>) {
        for (kind, made) in summaries.iter().zip(&mut self.made) {
            let made = &mut made[owner];
            let Some(column) = kind.of else {
                *made = made.map(|count| count + 1);
                continue;
            };
            let Some(code) = code(column) else { continue };
            *made = Some(match (*made, kind.summary.kind) {
                (None, _) => code,
                (Some(made), SummaryKind::First) => made.min(code),
                (Some(made), SummaryKind::Last) => made.max(code),
                // Sums that could overflow are not asked of what is kept.
                (Some(made), SummaryKind::Sum(_) | SummaryKind::Count) => made.wrapping_add(code),
            });
        }
    }
}
