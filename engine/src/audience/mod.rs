//! Audiences: named sets of members.
//!
//! A dynamic audience is its condition, asked whenever the audience is. A static one is a column of its table that is in
//! no schema: TRUE for its members, stored like any BOOLEAN ([`members`]). Either way the planner puts the definition in
//! the place of the name.
//!
//! Whoever is asked belongs to an audience or does not: where the definition is unknown for a member, the member does not
//! belong. Under NOT that makes a difference, so there the definition is made two-valued first ([`truth`]).

pub mod expand;
pub mod members;
pub mod truth;

pub use expand::expand;
