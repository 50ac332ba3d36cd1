//! Rows whose owners are some members: the other way.

use crate::Result;
use crate::index::owners::NOBODYS;
use crate::kernel;
use crate::plan::InOwners;
use muster_storage::chunk::Words;
use std::borrow::Cow;

/// Writes the rows of a chunk whose owners are some members, or those that have an owner's key and are not; `known` holds the
/// members of the chunk of owners that was asked for last.
pub(in crate::exec) fn write_in_owners<'p>(
    asked: &'p InOwners<'_>,
    (place, chunk): (usize, u32),
    known: &mut Option<(usize, u32, Option<Cow<'p, Words>>)>,
    out: &mut Words,
) -> Result<()> {
    out.fill(0);
    if let Some(stored) = asked.ordinals.owners(chunk)? {
        // The runs of one chunk of owners are taken as one.
        let mut chunks = stored.runs.chunk_by(|a, b| a.owners == b.owners).peekable();
        while let Some([run, ..]) = chunks.next().filter(|runs| runs[0].owners != NOBODYS) {
            let start = run.start as usize;
            let end = chunks.peek().map_or(stored.halves.len(), |next| next[0].start as usize);
            if known.as_ref().is_none_or(|known| (known.0, known.1) != (place, run.owners)) {
                *known = Some((place, run.owners, asked.members.words(run.owners)));
            }
            let Some((_, _, Some(members))) = known else { continue };
            let whole = start.next_multiple_of(64).min(end);
            for (row, half) in (start..whole).zip(&stored.halves[start..whole]) {
                out[row / 64] |= u64::from(kernel::has(members, *half)) << (row % 64);
            }
            // Rows come ascending: nothing was written of these words.
            if whole < end {
                let words = &mut out[whole / 64..end.div_ceil(64)];
                kernel::has_each(members, &stored.halves[whole..end], words);
            }
        }
    }
    if let Some(excluded) = asked.strays.excluded(chunk) {
        out.iter_mut().zip(excluded).for_each(|(word, excluded)| *word &= !excluded);
    }
    let strays = asked.strays.owned();
    let from = strays.partition_point(|(row, _)| row >> 16 < chunk);
    for (row, owner) in strays[from..].iter().take_while(|(row, _)| row >> 16 == chunk) {
        let bit = u64::from(asked.members.contains(*owner)) << (row % 64);
        out[(row & 0xffff) as usize / 64] |= bit;
    }
    if !asked.wanted {
        let nulls = crate::exec::nulls_of(&asked.whose, chunk)?;
        out.iter_mut().zip(&nulls).for_each(|(word, null)| *word = !(*word | null));
    }
    Ok(())
}
