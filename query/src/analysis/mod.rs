//! Statements about members and about statements: PROFILE and OVERLAP ([`compare`]), EXPLAIN ([`explain`]); their
//! [`grammar`], with that of SET; and predicates as SQL again ([`render`]).

mod compare;
mod explain;
pub(crate) mod grammar;
mod naming;
mod render;
mod render_rows;

pub(crate) use compare::{overlap, profile};
pub(crate) use explain::explain;
pub(crate) use render::Renderer;
