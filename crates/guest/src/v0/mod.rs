//! Streams of protocol version 0, for backends that speak nothing newer.

mod areas;
mod exchange;
mod stream;
mod transport;

pub(crate) use exchange::Exchange;
pub(crate) use stream::Stream;
pub(crate) use transport::Transport;
