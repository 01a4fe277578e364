//! Streams of protocol version 0, for backends that speak nothing newer.
//!
//! What the protocol lacks shows: no pause, no position but the answers, no end of a run but CLOSE, one volume for the
//! left and one for the right side. A backend says that it refuses, never why.

mod link;
mod stream;

pub(crate) use link::{Link, Transport};
pub use stream::OpenStream;
