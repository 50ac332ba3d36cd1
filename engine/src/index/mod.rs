//! What is stored of a column in a chunk, and how it is read in place.
//!
//! | column | sections of a chunk |
//! |---|---|
//! | BOOLEAN | `Sets` (code 0: the TRUE members) |
//! | numbers, dates, times | `Values`, and the range index `Order` + `Fences` |
//! | the key | `Values` or `Strings`; the way back is the key index ([`crate::member`]) |
//! | TEXT, up to [`encode::SET_CODES_MAX`] values in the chunk | `Sets` by dictionary code, `Values` of codes |
//! | TEXT, more | `Values` of codes with `Order` + `Fences` |
//! | TEXT, near-unique | `Strings` |
//! | TEXT[] | `Sets` by dictionary code, `Lists` |
//! | how many rows somebody has | `Values`, and `Thresholds` |
//! | any, with NULLs | also `Nulls` |
//! | whose the rows are, where they are clustered by that | `Owners`; columns of such tables have no range index |
//!
//! Which of them a chunk has is read from the part's table of sections, chunk by chunk, never inferred.

pub mod encode;
pub mod exceptions;
pub mod fences;
pub mod lists;
pub mod order;
pub mod owners;
pub mod strings;
pub mod thresholds;
pub mod values;
