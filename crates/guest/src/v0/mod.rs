//! Streams of protocol version 0, for backends that speak nothing newer.
//!
//! The limits of the protocol show: no pause, no position but the answers, no end of a run but CLOSE, one volume for
//! the left and one for the right side. A backend tells that it refuses, never the reason.

mod link;
mod stream;

pub(crate) use link::Link;
pub use stream::OpenStream;
