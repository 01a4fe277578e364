//! Streams of protocol version 2.

mod buffer;
mod captured;
mod exchange;
mod recovery;
mod stream;
mod transport;

pub(crate) use exchange::Exchange;
pub(crate) use stream::Stream;
pub(crate) use transport::Transport;
