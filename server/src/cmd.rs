//! The subcommands, one module each.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod verify;
