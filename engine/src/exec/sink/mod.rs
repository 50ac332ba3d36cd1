//! Where members go: a count, a bitmap, groups, profiles, the first in an order.

mod accumulate;
mod chosen;
mod dense;
mod fold;
mod groups;
mod histogram;
mod profile;
mod simple;
mod top;

pub(crate) use chosen::{Choose, Chosen};
pub(crate) use fold::Folding;
pub use fold::{Fold, FoldAggregate, FoldFunction, key_bytes};
pub use groups::{Aggregate, Group, Groups};
pub use profile::{PROFILE_VALUES_MAX, Profile};
pub use simple::{Count, First, Members};
pub use top::{OrderBy, Top};

use super::Found;
use crate::Result;
use crate::control::Held;
use crate::table::TableState;

/// Takes members chunk by chunk. A thread takes its chunks ascending; partial results of different chunks merge in any order.
pub trait Sink: Sync {
    /// What it reads of the table besides the members.
    type Reader<'a>: Sync;
    /// The result of some chunks.
    type Partial: Send;
    /// The result.
    type Output;
    /// True where it wants counts only ([`Self::take_count`]), so that no set need be made.
    const COUNTS: bool = false;
    /// True where chunks must come in order, on one thread.
    const SEQUENTIAL: bool = false;
    /// What its memory is for, as [`crate::control::Held`] says it.
    const HOLDS: &'static str = "the members of a condition";

    /// Opens the columns it needs.
    fn open<'a>(&self, table: &'a TableState) -> Result<Self::Reader<'a>>;
    /// Nothing yet.
    fn begin(&self) -> Self::Partial;
    /// Takes a chunk's members; returns the bytes it read for them. `held` hears of what the result holds then.
    fn take(
        &self,
        reader: &Self::Reader<'_>,
        partial: &mut Self::Partial,
        chunk: u32,
        found: Found<'_>,
        held: &mut Held,
    ) -> Result<u64>;
    /// Takes a chunk's count.
    fn take_count(&self, _partial: &mut Self::Partial, _count: u32) {}
    /// Adds the result of other chunks.
    fn merge(&self, into: &mut Self::Partial, from: Self::Partial);
    /// Where only the first so many members in the order of a column matter, and those equal to the last of them: the order
    /// and the number. It may then be given no others.
    fn front(&self) -> Option<(OrderBy, usize)> {
        None
    }
    /// True once further chunks cannot change the result.
    fn is_full(&self, _partial: &Self::Partial) -> bool {
        false
    }
    /// The result of all chunks. `held` has what the partial results hold, and hears of what is made of them.
    fn finish(
        &self,
        reader: &Self::Reader<'_>,
        partial: Self::Partial,
        held: &mut Held,
    ) -> Result<Self::Output>;
}
