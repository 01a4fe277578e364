//! Streams of protocol version 0, for backends that speak nothing newer.

mod areas;
mod link;
mod stream;
mod transport;

pub(crate) use link::Link;
pub(crate) use stream::Stream;
pub(crate) use transport::Transport;
