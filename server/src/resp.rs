//! RESP, the protocol of Redis, in its versions 2 and 3: requests from bytes, replies to bytes.
//!
//! ```text
//! socket ─ Decoder ─ Words (a command and its arguments) ─ serve::commands ─ Reply ─ socket
//! ```
//!
//! Requests are decoded by our own reader, since every length in them is bounded before anything is kept; replies are
//! encoded by `redis-protocol`, but for the heads of arrays and maps, which it has no call for, and for constants. The shell reads
//! them with a reader as bounded as that of requests: [`Replies`].

mod replies;
mod reply;
mod request;

pub(crate) use replies::{Replies, Token};
pub(crate) use reply::{Protocol, Reply};
pub(crate) use request::{Decoder, Limits, ProtocolError, Request, TLS_HANDSHAKE, Words};
